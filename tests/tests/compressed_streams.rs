//! Compression changes what lies on disk, and nothing else.

use std::io::Read;

use gdd_tests::gdd::Gdd;
use gdd_tests::joined::Joined;
use gdd_tests::json::{number, text};
use gdd_tests::serial::Serial;
use gdd_tests::stream::{Content, Stream};
use gdd_tests::workspace::scratch;

const MIB: u64 = 1 << 20;

fn words(seed: u64) -> Stream {
    Stream::new(Content::Text, seed, 6 * MIB + 3)
}

fn noise() -> Stream {
    Stream::new(Content::Random, 2, 6 * MIB + 5)
}

#[test]
fn every_codec_gives_back_what_it_took() {
    for codec in ["lz4", "zstd", "zstd:19", "auto"] {
        let folder = scratch("compressed");
        let gdd = Gdd::at(&folder.path().join("store"));
        gdd.init_with(&["--compression", codec, "--container-size", "2m"]);
        let streams = [
            ("text", Joined::new([words(1)])),
            ("noise", Joined::new([noise()])),
            ("both", Joined::new([words(1), noise(), Stream::new(Content::Zeros, 0, MIB), words(3)])),
        ];
        let mut serial = Serial::default();
        for (name, stream) in &streams {
            let put = gdd.put(name, stream.clone());
            let expected = serial.add(stream.clone());
            assert_eq!(
                number(&put, "new_bytes"),
                expected.new_bytes,
                "{codec}: cut and counted before compression"
            );
            let (new, stored) = (number(&put, "new_bytes"), number(&put, "stored_bytes"));
            match *name {
                "noise" => assert_eq!(stored, new, "{codec}: what does not shrink is kept as it is"),
                _ => assert!(stored * 10 < new * 8, "{codec}: {put}"),
            }
        }
        for (name, stream) in &streams {
            assert_eq!(gdd.digest(name).0, stream.digest(), "{codec}: {name}");
        }
        let stats = gdd.json(&["stats"]);
        assert!(number(&stats, "stored_bytes") < number(&stats, "unique_bytes"), "{codec}: {stats}");
        gdd.expect(0, &["fsck", "--level", "3"]);
        std::fs::remove_dir_all(gdd.store().join("index")).unwrap();
        gdd.expect(0, &["rebuild-index"]);
        assert_eq!(gdd.digest("both").0, streams[2].1.digest(), "{codec}: after a rebuild");
    }
}

#[test]
fn without_compression_bytes_are_stored_as_they_are() {
    let folder = scratch("plain");
    let gdd = Gdd::at(&folder.path().join("store"));
    gdd.init();
    let put = gdd.put("text", words(1).take(3 * MIB));
    assert_eq!(number(&put, "stored_bytes"), number(&put, "new_bytes"));
    assert_eq!(text(&gdd.json(&["stats"]), "settings.compression"), "none");
}
