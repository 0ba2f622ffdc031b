//! What is written through one door to the disk is read through every other: a store does not remember how it was
//! written.

use gdd_tests::gdd::Gdd;
use gdd_tests::json::{number, text};
use gdd_tests::stream::{Content, Stream};
use gdd_tests::workspace::scratch;

const MODES: [&str; 4] = ["uring", "pwrite", "buffered", "auto"];

fn stream(seed: u64) -> Stream {
    Stream::new(Content::Repeats { percent: 30 }, seed, (20 << 20) + 7 * seed)
}

#[test]
fn every_mode_reads_what_every_mode_wrote() {
    let folder = scratch("modes");
    let gdd = Gdd::at(&folder.path().join("store"));
    gdd.init_with(&["--container-size", "8m"]);
    for (seed, mode) in (1..).zip(MODES) {
        gdd.with_flags(&["--io", mode]).put(mode, stream(seed));
    }
    for reader in MODES {
        let reading = gdd.with_flags(&["--io", reader]);
        let shown = text(&reading.json(&["stats"]), "io_mode").to_owned();
        assert!(reader == "auto" || shown.contains(reader), "{reader} was asked for, {shown} is shown");
        for (seed, writer) in (1..).zip(MODES) {
            assert_eq!(reading.digest(writer).0, stream(seed).digest(), "{writer} wrote, {reader} reads");
        }
        reading.expect(0, &["fsck"]);
    }
}

#[test]
fn every_mode_knows_what_every_mode_stored() {
    for writer in MODES {
        let folder = scratch("modes-known");
        let gdd = Gdd::at(&folder.path().join("store"));
        gdd.with_flags(&["--io", writer]).init();
        gdd.with_flags(&["--io", writer]).put("first", stream(9));
        for mode in MODES {
            let put = gdd.with_flags(&["--io", mode]).put(mode, stream(9));
            assert_eq!(number(&put, "new_bytes"), 0, "{writer} wrote, {mode} writes again: {put}");
        }
    }
}
