//! Bytes of the volume's file rot after they were synced: what they belonged to is an error, all else is readable, and
//! nothing ever comes back wrong or is left out in silence.

mod common;

use common::blocks::{Job, label};
use common::{Rig, append, read_each, starts};
use gdd_sd::block::Kind;
use gdd_sd::error::Error;
use gdd_sd::volume::Whence;

#[test]
fn a_rotten_byte_anywhere_is_noticed() {
    let rig = Rig::new();
    let mut blocks = vec![label(Kind::Bb02, true)];
    for id in 1..4 {
        blocks.extend(Job::new(Kind::Bb02, id, 4_096, u64::from(id)).run(12, 30_000).blocks);
    }
    let mut device = rig.device(true);
    append(&mut device, &blocks).expect("written");
    device.close().expect("closed");
    let (good, size) = (rig.bytes(), blocks.concat().len() as u64);
    let starts = starts(&blocks);
    // The note at the very end, that everything before is synced, has nothing behind it that would miss it.
    let note = good.windows(8).rposition(|run| run == b"GDDGROUP").expect("a note") - 2;
    let mut lost_most = 0;
    for at in (0..note).step_by(7) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        rig.put(&bad);
        let mut device = rig.bare();
        if let Err(error) = device.open(rig.file(true), true) {
            assert!(at < 64, "only the header keeps a volume from being opened: {at}: {error}");
            continue;
        }
        assert!(at >= 64, "a rotten header is noticed: {at}");
        assert_eq!(device.volume().expect("open").size(), size, "byte {at}");
        let read = read_each(&mut device, &starts);
        let lost = read.iter().filter(|read| read.is_none()).count();
        lost_most = lost_most.max(lost);
        for (number, read) in read.iter().enumerate() {
            assert!(read.as_ref().is_none_or(|read| *read == blocks[number]), "byte {at}, block {number}");
        }
        let job = Job::new(Kind::Bb02, 9, 4_096, 5).run(1, 100);
        let error = append(&mut device, &job.blocks).expect_err("a damaged volume is not appended to");
        assert!(matches!(error, Error::Sealed { .. }), "byte {at}: {error}");
    }
    assert!((1..=64).contains(&lost_most), "a group at most: {lost_most}");
}

#[test]
fn reading_through_damage_ends_in_an_error() {
    let rig = Rig::new();
    let mut blocks = vec![label(Kind::Bb02, true)];
    for id in 1..3 {
        blocks.extend(Job::new(Kind::Bb02, id, 4_096, u64::from(id)).run(40, 30_000).blocks);
    }
    let mut device = rig.device(true);
    append(&mut device, &blocks).expect("written");
    device.close().expect("closed");
    let mut bad = rig.bytes();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    rig.put(&bad);
    let mut device = rig.device(false);
    assert!(device.take_notes().iter().any(|(_, note)| note.contains("GDD-SD-0104")), "the operator is told");
    let error = common::read_all(&mut device, 1 << 20).expect_err("in the middle");
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    assert!(device.seek(0, Whence::End).is_some());
    assert_eq!(device.read(&mut [0; 10]).expect("the end is the end"), 0);
}

#[test]
fn a_wrong_payload_is_never_handed_out() {
    let rig = Rig::new();
    let job = Job::new(Kind::Bb03, 1, 64_512, 1).run(12, 300_000);
    let mut device = rig.device(true);
    append(&mut device, &[label(Kind::Bb03, true)]).expect("labelled");
    append(&mut device, &job.blocks).expect("written");
    device.close().expect("closed");
    for stream in rig.world.state().streams.values_mut() {
        let middle = stream.bytes.len() / 2;
        stream.bytes[middle] ^= 1;
    }
    let error = common::read_all(&mut rig.device(false), 1 << 20).expect_err("one bit differs");
    assert!(matches!(error, Error::Digest { .. }), "{error}");
}
