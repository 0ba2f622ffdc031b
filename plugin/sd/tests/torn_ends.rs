//! The storage daemon is killed in the middle of a write, or the machine loses power: the file ends anywhere.

mod common;

use common::blocks::{Job, interleave, label};
use common::{Rig, append, read_all, starts};
use gdd_sd::block::Kind;
use gdd_sd::error::Error;

/// A finished job and an unfinished one behind it; how long the file was after each block.
fn volume() -> (Rig, Vec<Vec<u8>>, Vec<u64>) {
    let rig = Rig::new();
    rig.world.state().eager = true;
    let first = Job::new(Kind::Bb02, 1, 4_096, 1).run(3, 9_000);
    let mut second = Job::new(Kind::Bb03, 2, 4_096, 2);
    second.sos();
    (0..6).for_each(|_| second.file(9_000));
    let mut third = Job::new(Kind::Bb02, 3, 4_096, 3);
    third.sos();
    (0..4).for_each(|_| third.file(9_000));
    let mut blocks = vec![label(Kind::Bb02, true)];
    blocks.extend(first.blocks);
    let acknowledged = blocks.len();
    blocks.extend(interleave(&[&second, &third], 4));
    let mut device = rig.device(true);
    let mut ends = Vec::new();
    for block in &blocks {
        append(&mut device, std::slice::from_ref(block)).expect("written");
        ends.push(rig.bytes().len() as u64);
    }
    // No close: the process is gone, and its ring is drained by the daemon.
    drop(device);
    let ends = ends.into_iter().enumerate().map(|(n, end)| if n < acknowledged { 0 } else { end }).collect();
    (rig, blocks, ends)
}

#[test]
fn a_volume_that_ends_anywhere_keeps_every_whole_block_and_can_be_appended_to() {
    let (rig, blocks, ends) = volume();
    let whole = rig.bytes();
    let all = blocks.concat();
    let block_starts = starts(&blocks);
    let last_acknowledged = ends.iter().filter(|end| **end == 0).count();
    let barrier = block_starts[last_acknowledged];
    let more = Job::new(Kind::Bb02, 9, 4_096, 5).run(2, 9_000);
    let from = usize::try_from(ends[last_acknowledged]).expect("small") - 400;
    assert!(whole.len() - from > 600, "enough places to cut at");
    for cut in from..whole.len() {
        let good = ends.iter().filter(|end| **end <= cut as u64).count();
        let size = block_starts.get(good).copied().unwrap_or(all.len() as u64);
        rig.put(&whole[..cut]);
        let mut device = rig.device(true);
        let found = device.volume().expect("open").size();
        // Before the first unacknowledged block lies the receipt: cut inside, the end label's block may still be whole.
        assert!(
            found == size || (good == last_acknowledged && found <= barrier),
            "cut at {cut}: {found}, {size}"
        );
        let expected = &all[..usize::try_from(found).expect("small")];
        assert!(read_all(&mut device, 1 << 20).expect("readable") == expected, "cut at {cut}");
        append(&mut device, &more.blocks).expect("appended");
        device.close().expect("closed");
        let mut device = rig.device(false);
        let again = read_all(&mut device, 1 << 20).expect("readable");
        assert!(again == [expected, &more.blocks.concat()].concat(), "cut at {cut}");
    }
}

#[test]
fn what_the_store_never_got_is_a_torn_end() {
    let (rig, blocks, ends) = volume();
    let all = blocks.concat();
    let acknowledged = starts(&blocks)[ends.iter().filter(|end| **end == 0).count()];
    // Power fails: the store has less and less of one of the unfinished streams.
    let (id, full) = {
        let state = rig.world.state();
        let (id, stream) =
            state.streams.iter().find(|(_, stream)| stream.job == "job.3").expect("its stream");
        (*id, stream.bytes.clone())
    };
    let mut sizes = std::collections::BTreeSet::new();
    for len in (0..=full.len()).rev().step_by(97) {
        rig.world.state().streams.get_mut(&id).expect("it is there").bytes.truncate(len);
        let mut device = rig.device(true);
        let notes = device.take_notes();
        let size = device.volume().expect("open").size();
        sizes.insert(size);
        assert!(size >= acknowledged, "acknowledged blocks are never cut off");
        assert_eq!(size < all.len() as u64, notes.iter().any(|(_, note)| note.contains("GDD-SD-0202")));
        let expected = &all[..usize::try_from(size).expect("small")];
        assert!(read_all(&mut device, 1 << 20).expect("readable") == expected, "{len} bytes of the stream");
    }
    assert!(sizes.len() > 4, "the end went down step by step: {sizes:?}");
    // The next job goes on there, and its bytes are not mistaken for the old ones.
    let mut device = rig.device(true);
    let end = usize::try_from(device.volume().expect("open").size()).expect("small");
    let more = Job::new(Kind::Bb02, 9, 4_096, 5).run(8, 9_000);
    append(&mut device, &more.blocks).expect("appended");
    device.close().expect("closed");
    let again = read_all(&mut rig.device(false), 1 << 20).expect("readable");
    assert!(again == [&all[..end], &more.blocks.concat()].concat());
}

#[test]
fn a_stream_that_was_acknowledged_and_is_gone_is_an_error_and_no_end() {
    let (rig, blocks, ends) = volume();
    rig.world.state().streams.retain(|_, stream| stream.job != "job.1");
    let mut device = rig.device(false);
    assert_eq!(device.volume().expect("open").size(), blocks.concat().len() as u64);
    let error = read_all(&mut device, 1 << 20).expect_err("blocks need it");
    assert!(matches!(error, Error::Store(_)), "{error}");
    // What does not need it is readable.
    let first = ends.iter().filter(|end| **end == 0).count();
    let read = common::read_each(&mut device, &starts(&blocks)[first..]);
    assert!(read.iter().zip(&blocks[first..]).all(|(read, block)| read.as_ref() == Some(block)));
}

#[test]
fn an_end_that_could_not_be_checked_is_not_appended_to_once_it_turns_out_bad() {
    let (rig, blocks, _) = volume();
    rig.world.state().absent = true;
    let mut device = rig.device(true);
    assert_eq!(device.volume().expect("open").size(), blocks.concat().len() as u64);
    rig.world.state().absent = false;
    rig.world.state().streams.retain(|_, stream| stream.job != "job.3");
    let job = Job::new(Kind::Bb02, 9, 4_096, 5).run(2, 9_000);
    let error = append(&mut device, &job.blocks).expect_err("Bacula was told another size");
    assert!(matches!(error, Error::Sealed { .. }), "{error}");
}
