//! Compression changes what lies on disk, and nothing else.

use gdd_tests::gdd::Gdd;
use gdd_tests::json::{number, text};
use gdd_tests::random::Random;
use gdd_tests::serial::Serial;
use gdd_tests::workspace::scratch;

/// A web server's log.
fn log(seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let lines = (0..60_000).map(|second| {
        let [host, page, size] = [250, 5000, 100_000].map(|bound| random.below(bound));
        format!("192.0.2.{host} - - [{second:08}] \"GET /shop/item/{page}.html HTTP/1.1\" 200 {size}\n")
    });
    lines.collect::<String>().into_bytes()
}

fn noise(seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; 4_000_001];
    Random::new(seed).fill(&mut bytes);
    bytes
}

#[test]
fn every_codec_gives_back_what_it_took() {
    for codec in ["lz4", "zstd", "zstd:9", "auto"] {
        let folder = scratch("compressed");
        let gdd = Gdd::at(&folder.path().join("store"));
        gdd.init_with(&["--compression", codec, "--container-size", "2m"]);
        let streams = [
            ("log", log(1)),
            ("noise", noise(2)),
            ("both", [log(1), noise(2), vec![0; 1 << 20], log(3)].concat()),
        ];
        let mut serial = Serial::default();
        for (name, stream) in &streams {
            let put = gdd.put(name, &stream[..]);
            let expected = serial.add(&stream[..]);
            assert_eq!(
                number(&put, "new_bytes"),
                expected.new_bytes,
                "{codec}: cut and counted before compression"
            );
            let (new, stored) = (number(&put, "new_bytes"), number(&put, "stored_bytes"));
            match *name {
                "noise" => assert_eq!(stored, new, "{codec}: what does not shrink is kept as it is"),
                _ => assert!(stored * 2 < new, "{codec}: {put}"),
            }
        }
        let whole = |when: &str| {
            for (name, stream) in &streams {
                assert_eq!(gdd.digest(name).0, blake3::hash(stream), "{codec}: {name} {when}");
            }
            gdd.expect(0, &["fsck", "--level", "3"]);
        };
        whole("as stored");
        let stats = gdd.json(&["stats"]);
        assert!(number(&stats, "stored_bytes") < number(&stats, "unique_bytes"), "{codec}: {stats}");
        std::fs::remove_dir_all(gdd.store().join("index")).unwrap();
        gdd.expect(0, &["rebuild-index"]);
        whole("after a rebuild");
    }
}

#[test]
fn without_compression_bytes_are_stored_as_they_are() {
    let folder = scratch("plain");
    let gdd = Gdd::at(&folder.path().join("store"));
    gdd.init();
    let put = gdd.put("log", &log(1)[..]);
    assert_eq!(number(&put, "stored_bytes"), number(&put, "new_bytes"));
    assert_eq!(text(&gdd.json(&["stats"]), "settings.compression"), "none");
}
