//! A job leaves the device while others write on, and without an end label of its own, as a virtual full does whose
//! last source was not read to its end: it is told "synced", and what it has written is as safe as after a label.

mod common;

use std::thread;

use common::blocks::{Job, label};
use common::{Rig, append, id_of, read_all};
use gdd_sd::block::Kind;
use gdd_sd::device::Device;
use gdd_sd::error::Error;

fn job(id: u32) -> Job {
    Job::new(Kind::Bb02, id, 4_096, u64::from(id)).run(20, 9_000)
}

/// A device with a label.
fn device(rig: &Rig) -> Device {
    let mut device = rig.device(true);
    append(&mut device, &[label(Kind::Bb02, true)]).expect("labelled");
    device
}

/// Writes from a thread of its own, as every job does.
fn append_elsewhere(device: &mut Device, blocks: &[Vec<u8>]) {
    thread::scope(|scope| scope.spawn(|| append(device, blocks)).join().expect("no panic")).expect("written");
}

#[test]
fn a_job_without_an_end_label_is_safe_once_it_was_synced() {
    let rig = Rig::new();
    let whole = job(1);
    let (_, blocks) = whole.blocks.split_last().expect("blocks");
    let mut device = device(&rig);
    append(&mut device, blocks).expect("written");
    device.sync().expect("synced");
    assert!(device.take_notes().iter().any(|(_, note)| note.contains("GDD-SD-0200")), "it has its receipt");
    // Now everything stops: the driver's memory is gone, and the daemon keeps what was durable.
    drop(device);
    rig.world.die();
    let expected = [label(Kind::Bb02, true), blocks.concat()].concat();
    assert!(read_all(&mut rig.device(false), 1 << 20).expect("readable") == expected);
    assert!(rig.world.state().streams.values().all(|stream| stream.finished));
}

#[test]
fn jobs_that_go_on_keep_their_stream_and_are_durable_too() {
    let rig = Rig::new();
    let (goes_on, leaves) = (job(1), job(2));
    let (before, after) = goes_on.blocks.split_at(4);
    let leaving = &leaves.blocks[..5];
    let mut device = device(&rig);
    append_elsewhere(&mut device, before);
    append(&mut device, leaving).expect("written");
    device.sync().expect("synced");
    for (job, finished) in [("job.1", false), ("job.2", true)] {
        let state = rig.world.state();
        let stream = state.streams.values().find(|stream| stream.job == job).expect("its stream");
        assert_eq!((stream.durable, stream.finished), (stream.bytes.len(), finished), "{job}");
    }
    let file = rig.bytes();
    append_elsewhere(&mut device, after);
    assert_eq!(rig.world.state().streams.len(), 2, "one stream for each job");
    device.close().expect("closed");
    let expected = [vec![label(Kind::Bb02, true)], before.to_vec(), leaving.to_vec()].concat().concat();
    let all = [expected.clone(), after.concat()].concat();
    assert!(read_all(&mut rig.device(false), 1 << 20).expect("readable") == all);
    // The same, had everything stopped after the sync.
    rig.put(&file);
    assert!(read_all(&mut rig.device(false), 1 << 20).expect("readable") == expected);
}

#[test]
fn a_sync_that_fails_ends_all_jobs_and_their_blocks_stay_readable() {
    let rig = Rig::new();
    let (goes_on, leaves) = (job(1), job(2));
    let mut device = device(&rig);
    append_elsewhere(&mut device, &goes_on.blocks[..4]);
    append(&mut device, &leaves.blocks[..5]).expect("written");
    rig.world.die();
    assert_eq!(id_of(&device.sync().expect_err("the daemon is another one")), "GDD-SD-0007");
    for rest in [&goes_on.blocks[4], &leaves.blocks[5]] {
        let error = append(&mut device, std::slice::from_ref(rest)).expect_err("the session is dead");
        assert!(matches!(error, Error::Dead(_)), "{error}");
    }
    device.close().expect("closed");
    let parts = [&label(Kind::Bb02, true), &goes_on.blocks[..4].concat(), &leaves.blocks[..5].concat()];
    let expected: Vec<u8> = parts.into_iter().flatten().copied().collect();
    assert!(read_all(&mut rig.device(false), 1 << 20).expect("readable") == expected);
}

#[test]
fn a_wrong_receipt_is_told_to_the_job_that_leaves() {
    let rig = Rig::new();
    let mut device = device(&rig);
    append(&mut device, &job(1).blocks[..5]).expect("written");
    rig.world.state().wrong_receipt = true;
    let error = device.sync().expect_err("the digests differ");
    assert!(matches!(error, Error::Receipt { .. }), "{error}");
    device.close().expect("nothing is open any more");
}
