//! The daemon dies, or is swapped, in the middle of a job: the job ends in error at once and stays so, and what other
//! jobs have on the volume stays readable.

mod common;

use common::blocks::{Job, interleave, label};
use common::{Rig, append, id_of, read_all};
use gdd_sd::block::Kind;
use gdd_sd::error::Error;
use gdd_sd::volume::Whence;

#[test]
fn a_stale_session_never_goes_on() {
    let rig = Rig::new();
    let mut device = rig.device(true);
    let mut job = Job::new(Kind::Bb02, 1, 4_096, 1);
    job.sos();
    (0..3).for_each(|_| job.file(20_000));
    let before = job.blocks.len();
    (0..2_000).for_each(|_| job.file(3_000));
    job.eos();
    append(&mut device, &[label(Kind::Bb02, true)]).expect("labelled");
    append(&mut device, &job.blocks[..before]).expect("written");
    let size = device.volume().expect("open").size();
    // Another daemon, with the same streams as far as they were durable.
    rig.world.die();
    let mut refused = 0;
    for block in &job.blocks[before..] {
        device.seek(0, Whence::End).expect("the end");
        let error = device.write(block).expect_err("the daemon does not know this job");
        assert!(matches!(error, Error::Dead(_)) == (refused > 0), "{error}");
        refused += 1;
    }
    assert!(refused > 500);
    assert_eq!(device.volume().expect("open").size(), size, "nothing was added");
    // The next job finds the new daemon.
    let next = Job::new(Kind::Bb02, 2, 4_096, 2).run(5, 20_000);
    append(&mut device, &next.blocks).expect("a new session");
    device.close().expect("closed");
    let expected = [label(Kind::Bb02, true), job.blocks[..before].concat(), next.blocks.concat()].concat();
    assert!(read_all(&mut rig.device(false), 1 << 20).expect("all blocks are readable") == expected);
}

#[test]
fn dying_at_any_append_leaves_every_written_block_readable() {
    let mut hits = 0;
    for dies_in in 1..40 {
        for eager in [false, true] {
            let rig = Rig::new();
            let done = Job::new(Kind::Bb02, 1, 4_096, 1).run(3, 9_000);
            let jobs = [2, 3, 4].map(|id| Job::new(Kind::Bb03, id, 4_096, u64::from(id)).run(6, 9_000));
            let mut device = rig.device(true);
            append(&mut device, &[label(Kind::Bb02, true)]).expect("labelled");
            append(&mut device, &done.blocks).expect("written");
            rig.world.state().eager = eager;
            rig.world.state().dies_in = Some(dies_in);
            let mut written = [label(Kind::Bb02, true), done.blocks.concat()].concat();
            let mut failed = 0;
            for block in interleave(&jobs.each_ref(), dies_in) {
                device.seek(0, Whence::End).expect("the end");
                match device.write(&block) {
                    Ok(_) => written.extend_from_slice(&block),
                    Err(_) => failed += 1,
                }
            }
            assert_eq!(
                failed > 0,
                rig.world.state().dies_in.is_none(),
                "a death is noticed, and nothing else fails"
            );
            hits += u32::from(failed > 0);
            let notes = device.take_notes();
            assert!(!notes.iter().any(|(_, note)| note.contains("GDD-SD-0203")), "{notes:?}");
            device.close().expect("closed");
            let mut device = rig.device(false);
            assert!(read_all(&mut device, 1 << 20).expect("readable") == written, "died at {dies_in}");
        }
    }
    assert!(hits > 30, "the daemon died {hits} times");
}

#[test]
fn nothing_follows_blocks_that_a_dead_daemon_lost() {
    let rig = Rig::new();
    let [done, lost, next] =
        [1, 2, 3].map(|id| Job::new(Kind::Bb02, id, 4_096, u64::from(id)).run(20, 20_000));
    let mut device = rig.device(true);
    append(&mut device, &[label(Kind::Bb02, true)]).expect("labelled");
    append(&mut device, &done.blocks).expect("written");
    rig.world.state().eager = true;
    append(&mut device, &lost.blocks[..8]).expect("written");
    rig.world.die();
    append(&mut device, &lost.blocks[8..]).expect_err("the daemon is another one");
    // It had said that most of this is durable, and could not save it.
    rig.world.state().streams.values_mut().filter(|stream| !stream.finished).for_each(|stream| {
        stream.bytes.clear();
    });
    let error = append(&mut device, &next.blocks).expect_err("the volume's end is not what it was");
    assert!(matches!(error, Error::Sealed { .. }) && error.to_string().contains("GDD-SD-0113"), "{error}");
    device.close().expect("closed");
    let mut device = rig.device(true);
    assert!(device.take_notes().iter().any(|(_, note)| note.contains("GDD-SD-0202")), "it is cut off");
    append(&mut device, &next.blocks).expect("a new session");
    device.close().expect("closed");
    let all = read_all(&mut rig.device(false), 1 << 20).expect("from end to end");
    assert!(all.starts_with(&[label(Kind::Bb02, true), done.blocks.concat()].concat()));
    assert!(all.ends_with(&next.blocks.concat()));
}

#[test]
fn a_job_without_payload_notices_too() {
    let rig = Rig::new();
    let mut device = rig.device(true);
    let mut job = Job::new(Kind::Bb02, 1, 4_096, 1);
    job.sos();
    for index in 1..200 {
        job.record(index, 1, &[b'a'; 100]);
    }
    job.eos();
    append(&mut device, &[label(Kind::Bb02, true)]).expect("labelled");
    append(&mut device, &job.blocks[..2]).expect("written");
    rig.world.die();
    let error = append(&mut device, &job.blocks[2..3]).expect_err("the daemon is another one");
    assert_eq!(id_of(&error), "GDD-SD-0007");
}

#[test]
fn an_absent_daemon_refuses_the_first_block_and_every_read_of_payload() {
    let rig = Rig::new();
    let job = Job::new(Kind::Bb02, 1, 64_512, 1).run(10, 30_000);
    let mut device = rig.device(true);
    append(&mut device, &[label(Kind::Bb02, true)]).expect("labelled");
    append(&mut device, &job.blocks).expect("written");
    device.close().expect("closed");
    rig.world.state().absent = true;
    let mut device = rig.device(true);
    let size = device.volume().expect("open").size();
    let next = Job::new(Kind::Bb02, 2, 64_512, 2).run(10, 30_000);
    let error = append(&mut device, &next.blocks).expect_err("nobody is there");
    assert_eq!(id_of(&error), "GDD-SD-0001");
    assert_eq!(device.volume().expect("open").size(), size);
    device.seek(0, Whence::Start).expect("the start");
    let mut buffer = vec![0; 1 << 20];
    assert!(device.read(&mut buffer).expect("the label needs no daemon") > 0);
    assert_eq!(id_of(&device.read(&mut buffer).expect_err("payload does")), "GDD-SD-0001");
    assert_eq!(id_of(&device.read(&mut buffer).expect_err("and again")), "GDD-SD-0001");
}

#[test]
fn a_wrong_receipt_is_no_success() {
    let rig = Rig::new();
    let job = Job::new(Kind::Bb02, 1, 64_512, 1).run(10, 30_000);
    let mut device = rig.device(true);
    append(&mut device, &[label(Kind::Bb02, true)]).expect("labelled");
    let (last, rest) = job.blocks.split_last().expect("blocks");
    append(&mut device, rest).expect("written");
    rig.world.state().wrong_receipt = true;
    let error = append(&mut device, std::slice::from_ref(last)).expect_err("the digests differ");
    assert!(matches!(error, Error::Receipt { .. }), "{error}");
    assert!(
        device.volume().expect("open").index().expect("labelled").streams.values().all(|at| at.end.is_none())
    );
    rig.world.state().wrong_receipt = false;
    let error = append(&mut device, std::slice::from_ref(last)).expect_err("the session is dead");
    assert!(matches!(error, Error::Dead(_)), "{error}");
    device.close().expect("nothing else is open");
}

#[test]
fn a_full_store_ends_the_job_and_spares_the_others() {
    let rig = Rig::new();
    let jobs = [1, 2].map(|id| Job::new(Kind::Bb02, id, 4_096, u64::from(id)).run(6, 9_000));
    let mut device = rig.device(true);
    append(&mut device, &[label(Kind::Bb02, true)]).expect("labelled");
    append(&mut device, &jobs[0].blocks[..3]).expect("written");
    append(&mut device, &jobs[1].blocks[..3]).expect("written");
    rig.world.state().full = true;
    let error = append(&mut device, &jobs[0].blocks[3..]).expect_err("full");
    assert_eq!(id_of(&error), "GDD-SD-0009");
    rig.world.state().full = false;
    append(&mut device, &jobs[1].blocks[3..]).expect("the other job is well");
    device.close().expect("closed");
    let parts =
        [vec![label(Kind::Bb02, true)], jobs[0].blocks[..3].to_vec(), jobs[1].blocks.clone()].concat();
    assert!(read_all(&mut rig.device(false), 1 << 20).expect("readable") == parts.concat());
}

#[test]
fn the_other_jobs_blocks_are_durable_when_one_is_acknowledged() {
    let rig = Rig::new();
    let jobs = [1, 2].map(|id| Job::new(Kind::Bb02, id, 4_096, u64::from(id)).run(6, 9_000));
    let mut device = rig.device(true);
    append(&mut device, &[label(Kind::Bb02, true)]).expect("labelled");
    append(&mut device, &jobs[1].blocks[..4]).expect("written");
    append(&mut device, &jobs[0].blocks).expect("acknowledged");
    // Now everything stops: the driver's memory is gone, and the daemon keeps what was durable.
    drop(device);
    rig.world.die();
    let parts =
        [vec![label(Kind::Bb02, true)], jobs[1].blocks[..4].to_vec(), jobs[0].blocks.clone()].concat();
    assert!(read_all(&mut rig.device(false), 1 << 20).expect("readable") == parts.concat());
}
