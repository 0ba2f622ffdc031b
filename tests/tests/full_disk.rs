//! A disk that fills up under a put: a clear refusal, nothing lost, and all is well once there is room.

use std::fs;
use std::io::{self, Read};

use gdd_tests::gdd::Gdd;
use gdd_tests::json::{list, number, text};
use gdd_tests::serving::Serving;
use gdd_tests::small_disk::SmallDisk;
use gdd_tests::stream::{Content, Stream};
use gdd_tests::workspace::scratch;

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

#[test]
fn space_is_freed_on_a_disk_without_any() {
    let disk = match SmallDisk::new(512) {
        Ok(disk) => disk,
        Err(why) => return println!("skipped: {why}"),
    };
    let gdd = Gdd::at(&disk.root().join("store"));
    gdd.init_with(&["--container-size", "4m"]);
    let folder = scratch("full");
    let ballast = gdd.store().join("ballast");
    Serving::start(&gdd, folder.path()).stop();
    assert!(ballast.exists(), "the daemon keeps one");
    // Side by side, so that no container is dead as a whole.
    for number in 0..40 {
        gdd.put(&format!("s-{number}"), random(100 + number, 5 * MIB));
    }
    let mut filler = fs::File::create(disk.root().join("filler")).unwrap();
    io::copy(&mut io::repeat(7).take(u64::MAX), &mut filler).expect_err("the disk is full");
    (0..40).filter(|number| number % 4 > 0).for_each(|number| {
        gdd.expect(0, &["rm", &format!("s-{number}")]);
    });
    assert!(!ballast.exists(), "it was given up");
    let report = gdd.json(&["vacuum", "--dead-percent", "0"]);
    assert!(number(&report, "freed_bytes") > 100 * MIB, "{report}");
    gdd.put("fits", random(7, 60 * MIB));
    for number in (0..40).step_by(4) {
        let name = format!("s-{number}");
        assert_eq!(gdd.digest(&name).0, random(100 + number, 5 * MIB).digest(), "{name}");
    }
    assert_eq!(gdd.json(&["fsck"])["clean"], true);
    drop(filler);
    fs::remove_file(disk.root().join("filler")).unwrap();
    Serving::start(&gdd, folder.path()).stop();
    assert!(ballast.exists(), "and is there again");
}

#[test]
fn a_restart_on_a_full_disk_gives_the_ballast_up_and_vacuums_at_once() {
    let disk = match SmallDisk::new(512) {
        Ok(disk) => disk,
        Err(why) => return println!("skipped: {why}"),
    };
    let gdd = Gdd::at(&disk.root().join("store"));
    gdd.init_with(&["--container-size", "4m"]);
    let folder = scratch("full");
    let ballast = gdd.store().join("ballast");
    // The daemon's vacuum is due in a day: nothing but the lack of room makes it run.
    Serving::start(&gdd, folder.path()).stop();
    for number in 0..40 {
        gdd.put(&format!("s-{number}"), random(100 + number, 5 * MIB));
    }
    (0..40).filter(|number| number % 4 > 0).for_each(|number| {
        gdd.expect(0, &["rm", &format!("s-{number}")]);
    });
    assert!(ballast.exists());
    let mut filler = fs::File::create(disk.root().join("filler")).unwrap();
    io::copy(&mut io::repeat(7).take(u64::MAX), &mut filler).expect_err("the disk is full");
    let socket = folder.path().join("gdd.sock");
    let asking = gdd.clone().with_env("GDD_SOCKET", socket.to_str().expect("a plain name"));
    let daemon = Serving::start(&asking, folder.path());
    let last = || asking.json(&["status"])["services"]["vacuum"]["last"].clone();
    while last().is_null() {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let report = last();
    assert!(number(&report, "freed_bytes") > 50 * MIB, "{report}");
    let log = daemon.log();
    assert!(log.contains("ballast"), "it was given up: {log}");
    daemon.stop();
    for number in (0..40).step_by(4) {
        let name = format!("s-{number}");
        assert_eq!(gdd.digest(&name).0, random(100 + number, 5 * MIB).digest(), "{name}");
    }
    assert_eq!(gdd.json(&["fsck"])["clean"], true);
}
