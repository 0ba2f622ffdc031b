//! The catalog knows of more than the volume's file has: an older copy was put back, its end is lost, or was cut off.
//! To Bacula, a read of 0 bytes is a volume's regular end, and a restore that meets it there is "OK" without its data.

mod common;

use common::blocks::{Job, label};
use common::{Rig, append, read_all, starts};
use gdd_sd::block::Kind;
use gdd_sd::device::Device;
use gdd_sd::error::{Error, Result};
use gdd_sd::volume::Whence;

/// Two jobs on a volume; the blocks, and how many of them are before the second one.
fn two_jobs(rig: &Rig) -> (Vec<Vec<u8>>, usize) {
    let jobs = [1, 2].map(|id| Job::new(Kind::Bb02, id, 4_096, u64::from(id)).run(20, 9_000));
    let [first, second] = jobs.map(|job| job.blocks);
    let blocks = [vec![label(Kind::Bb02, true)], first, second.clone()].concat();
    let before = blocks.len() - second.len();
    for part in [&blocks[..before], &blocks[before..]] {
        let mut device = rig.device(true);
        append(&mut device, part).expect("written");
        device.close().expect("closed");
        if part.len() == before {
            std::fs::copy(rig.path(), rig.folder.path().join("old")).expect("a copy");
        }
    }
    (blocks, before)
}

fn put_old_copy_back(rig: &Rig) {
    rig.put(&std::fs::read(rig.folder.path().join("old")).expect("the copy"));
}

/// As Bacula comes to where a job begins.
fn read_at(device: &mut Device, position: u64) -> Result<usize> {
    device.seek(i64::try_from(position).expect("small"), Whence::Start).expect("a position");
    assert_eq!(device.seek(0, Whence::Current), Some(position), "Bacula asks where it is");
    device.read(&mut [0; 8_192])
}

#[test]
fn a_job_that_is_not_in_an_older_copy_is_an_error() {
    let rig = Rig::new();
    let (blocks, before) = two_jobs(&rig);
    let starts = starts(&blocks);
    put_old_copy_back(&rig);
    for writable in [false, true] {
        let mut device = rig.device(writable);
        let end = device.volume().expect("open").size();
        assert_eq!(end, starts[before], "the second job would begin at the end");
        for position in &starts[before..] {
            let error = read_at(&mut device, *position).expect_err("it is not there");
            assert!(matches!(error, Error::Damaged { .. }), "{error}");
            let text = error.to_string();
            assert!(text.contains(&end.to_string()) && text.contains(&position.to_string()), "{text}");
        }
        // What is there is read, and has a regular end, where Bacula goes on asking.
        let all = read_all(&mut device, 1 << 20).expect("readable");
        assert!(all == blocks[..before].concat());
        assert_eq!(device.seek(0, Whence::Current), Some(end));
        assert_eq!(device.seek(i64::try_from(end).expect("small"), Whence::Start), Some(end), "no way to go");
        assert_eq!(device.read(&mut [0; 100]).expect("the end"), 0);
        read_at(&mut device, starts[before - 1]).expect("the last block");
        assert_eq!(device.seek(0, Whence::End), Some(end));
        assert_eq!(device.read(&mut [0; 100]).expect("the end"), 0);
    }
}

#[test]
fn a_job_that_comes_while_it_is_waited_for_is_no_error() {
    let rig = Rig::new();
    let (blocks, before) = two_jobs(&rig);
    let whole = rig.bytes();
    put_old_copy_back(&rig);
    let mut device = rig.device(false);
    read_at(&mut device, starts(&blocks)[before]).expect_err("not yet");
    rig.put(&whole);
    let len = read_at(&mut device, starts(&blocks)[before]).expect("now it is there");
    assert_eq!(len, blocks[before].len());
}

#[test]
fn an_end_that_is_lost_or_was_cut_off_is_told_and_not_read_over() {
    let rig = Rig::new();
    let (blocks, before) = two_jobs(&rig);
    let whole = rig.bytes();
    // The last sector is gone, with the receipt and the last block of the second job.
    rig.put(&whole[..whole.len() - 200]);
    let mut device = rig.device(false);
    assert!(
        device.take_notes().iter().any(|(_, note)| note.contains("GDD-SD-0201")),
        "readers are told, too"
    );
    let end = device.volume().expect("open").size();
    let lost = *starts(&blocks).last().expect("blocks");
    assert!(end <= lost, "the last block is lost");
    assert!(matches!(read_at(&mut device, lost), Err(Error::Damaged { .. })));
    // Now without its receipt, the store has nothing of it either: the whole job is cut off.
    let mut state = rig.world.state();
    state.streams.values_mut().filter(|stream| stream.job == "job.2").for_each(|stream| stream.bytes.clear());
    drop(state);
    let mut device = rig.device(false);
    assert!(device.take_notes().iter().any(|(_, note)| note.contains("GDD-SD-0202")), "it was cut off");
    assert!(device.volume().expect("open").size() < end);
    for start in &starts(&blocks)[before + 2..] {
        assert!(matches!(read_at(&mut device, *start), Err(Error::Damaged { .. })), "{start}");
    }
}

#[test]
fn an_empty_file_has_its_end_at_the_start() {
    let rig = Rig::new();
    let mut device = rig.device(true);
    assert_eq!(read_at(&mut device, 0).expect("no label yet"), 0);
    assert!(matches!(read_at(&mut device, 1), Err(Error::Damaged { .. })));
}
