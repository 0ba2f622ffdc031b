//! A job that was incomplete goes on under its session: on the device of its first run, on another one, or with a
//! bacula-sd that was started since. It goes on only where it is known that nothing of the first run is missing.

mod common;

use std::sync::Arc;

use common::blocks::{Job, label};
use common::{Rig, append, id_of, read_all};
use gdd_sd::block::Kind;
use gdd_sd::device::Device;
use gdd_sd::error::Error;
use gdd_sd::process::Process;

fn first_run() -> Job {
    Job::new(Kind::Bb02, 1, 4_096, 1).run(20, 9_000)
}

/// The same session, other blocks.
fn second_run() -> Job {
    Job::new(Kind::Bb02, 1, 4_096, 2).run(20, 9_000)
}

/// The bacula-sd that both runs say they are of.
fn process() -> Arc<Process> {
    Arc::new(Process::new(Some(first_run().session.time)))
}

/// A device of `process` on the rig's volume, which is labelled if it is new.
fn device(rig: &Rig, process: &Arc<Process>) -> Device {
    let mut device = Device::of(Arc::clone(process), Box::new(rig.world.connect()));
    device.open(rig.file(true), true).expect("the volume opens");
    if device.volume().is_some_and(|volume| volume.size() == 0) {
        append(&mut device, &[label(Kind::Bb02, true)]).expect("labelled");
    }
    device
}

#[test]
fn a_job_that_was_stopped_goes_on_with_the_same_bacula_sd() {
    let (rig, process) = (Rig::new(), process());
    let runs = [first_run(), second_run()];
    for run in &runs {
        let mut device = device(&rig, &process);
        append(&mut device, &run.blocks).expect("written");
        device.sync().expect("synced");
        device.close().expect("closed");
    }
    let [first, second] = runs;
    let expected = [label(Kind::Bb02, true), first.blocks.concat(), second.blocks.concat()].concat();
    assert!(read_all(&mut rig.device(false), 1 << 20).expect("readable") == expected);
}

#[test]
fn a_job_that_failed_does_not_go_on_on_another_device() {
    let ([here, there], process) = ([Rig::new(), Rig::new()], process());
    let run = first_run();
    let (last, rest) = run.blocks.split_last().expect("blocks");
    let mut device_here = device(&here, &process);
    append(&mut device_here, rest).expect("written");
    here.world.die();
    append(&mut device_here, std::slice::from_ref(last)).expect_err("the daemon is another one");
    let mut device_there = device(&there, &process);
    let size = device_there.volume().expect("open").size();
    for block in &second_run().blocks {
        let error = append(&mut device_there, std::slice::from_ref(block)).expect_err("it is dead");
        assert!(matches!(error, Error::Dead(_)), "{error}");
    }
    assert_eq!(device_there.volume().expect("open").size(), size);
    let next = Job::new(Kind::Bb02, 2, 4_096, 3).run(3, 9_000);
    append(&mut device_there, &next.blocks).expect("another job is well");
}

#[test]
fn a_job_does_not_go_on_with_a_bacula_sd_that_was_started_since() {
    for kind in [Kind::Bb01, Kind::Bb02, Kind::Bb03] {
        let rig = Rig::new();
        let restarted = Arc::new(Process::new(Some(first_run().session.time + 60)));
        let mut device = device(&rig, &restarted);
        let size = device.volume().expect("open").size();
        let resumed = Job::new(kind, 1, 4_096, 2).run(20, 9_000);
        let error = append(&mut device, &resumed.blocks).expect_err("it was begun by another one");
        assert_eq!(id_of(&error), "GDD-SD-0117");
        assert!(append(&mut device, &resumed.blocks[1..]).is_err(), "nor does it later");
        assert_eq!(device.volume().expect("open").size(), size);
        assert!(rig.world.state().streams.is_empty(), "nothing was sent");
        let mut own = Job::new(kind, 1, 4_096, 3);
        own.session.time += 60;
        append(&mut device, &own.run(3, 9_000).blocks).expect("its own jobs are well");
    }
}

#[test]
fn an_encrypted_block_of_such_a_job_is_refused_too() {
    let rig = Rig::new();
    let restarted = Arc::new(Process::new(Some(first_run().session.time + 60)));
    let mut device = device(&rig, &restarted);
    let mut block = Job::new(Kind::Bb03, 1, 4_096, 2).run(3, 9_000).blocks.remove(0);
    block[3] = 4;
    let error = append(&mut device, &[block]).expect_err("it was begun by another one");
    assert_eq!(id_of(&error), "GDD-SD-0117");
}

#[test]
fn tools_copy_blocks_of_any_session() {
    let rig = Rig::new();
    let mut device = device(&rig, &Arc::new(Process::new(None)));
    for session_time in [1, 2] {
        let mut job = Job::new(Kind::Bb02, 1, 4_096, 1);
        job.session.time = session_time;
        append(&mut device, &job.run(3, 9_000).blocks).expect("copied");
    }
}
