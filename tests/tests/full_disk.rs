//! A disk that fills up under a put: a clear refusal, nothing lost, and all is well once there is room.

use std::fs;
use std::io::{self, Read};

use gdd_tests::gdd::Gdd;
use gdd_tests::json::{list, number, text};
use gdd_tests::small_disk::SmallDisk;
use gdd_tests::stream::{Content, Stream};

const MIB: u64 = 1 << 20;

fn random(seed: u64, length: u64) -> Stream {
    Stream::new(Content::Random, seed, length)
}

#[test]
fn a_full_disk_loses_nothing_and_recovers() {
    let disk = match SmallDisk::new(320) {
        Ok(disk) => disk,
        Err(why) => return println!("skipped: {why}"),
    };
    let ballast = disk.root().join("ballast");
    fs::write(&ballast, vec![7; 128 << 20]).unwrap();
    let gdd = Gdd::at(&disk.root().join("store"));
    gdd.init_with(&["--container-size", "8m"]);
    let earlier = [random(1, 10 * MIB), random(2, 5 * MIB + 3)];
    for (index, stream) in earlier.iter().enumerate() {
        gdd.put(&format!("earlier-{index}"), stream.clone());
    }
    let whole = |after: &str| {
        for (index, stream) in earlier.iter().enumerate() {
            assert_eq!(gdd.digest(&format!("earlier-{index}")).0, stream.digest(), "{after}");
        }
        gdd.expect(0, &["fsck"]);
    };
    // More than once, because the second meets what the first has left.
    for round in 0..3 {
        let refused = gdd.try_put("too-much", random(10 + round, 400 * MIB));
        refused.demand(1);
        refused.demand_said(&["free space"]);
        assert!(text(&refused.json(), "error").contains("free space"), "{refused:?}");
        whole(&format!("full in round {round}"));
        let listed = gdd.json(&["ls"]);
        let names: Vec<_> = list(&listed, "streams").iter().map(|stream| text(stream, "name")).collect();
        assert_eq!(names, ["earlier-0", "earlier-1"]);
    }
    // To the last byte, so that not even a small file can be written.
    let mut filler = fs::File::create(disk.root().join("filler")).unwrap();
    io::copy(&mut io::repeat(7).take(u64::MAX), &mut filler).expect_err("the disk is full");
    whole("not one byte free");
    let refused = gdd.try_put("tiny", random(20, 1000));
    if refused.code != Some(0) {
        refused.demand(1);
        refused.demand_said(&["free space"]);
    }
    whole("a put with not one byte free");
    fs::remove_file(&ballast).unwrap();
    let put = gdd.put("fits", random(21, 20 * MIB));
    assert_eq!(number(&put, "bytes"), 20 * MIB);
    assert_eq!(gdd.digest("fits").0, random(21, 20 * MIB).digest());
    whole("room again");
}
