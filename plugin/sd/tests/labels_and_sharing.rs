//! What Bacula does with volumes besides appending: labels are replaced, volumes truncated, read while they grow,
//! closed in the middle of a job, and sometimes the file is not ours at all.

mod common;

use std::fs::OpenOptions;

use common::blocks::{Job, label};
use common::{Rig, append, id_of, read_all};
use gdd_sd::block::Kind;
use gdd_sd::error::Error;
use gdd_sd::volume::Whence;

#[test]
fn the_first_use_replaces_the_label() {
    let rig = Rig::new();
    let (unused, used) = (label(Kind::Bb02, false), label(Kind::Bb02, true));
    assert_ne!(unused.len(), used.len());
    let mut device = rig.device(true);
    append(&mut device, std::slice::from_ref(&unused)).expect("labelled");
    let id = device.volume().and_then(|volume| volume.id()).expect("an id");
    device.close().expect("closed");
    for _ in 0..3 {
        let mut device = rig.device(true);
        assert_eq!(
            device.volume().and_then(|volume| volume.id()),
            Some(id),
            "a label does not change the id"
        );
        for next in [&unused, &used] {
            device.seek(0, Whence::Start).expect("the start");
            assert_eq!(device.write(next).expect("a label may be replaced"), next.len());
            assert_eq!(device.seek(0, Whence::End), Some(next.len() as u64));
            assert_eq!(device.seek(0, Whence::Current), Some(next.len() as u64));
            assert!(read_all(&mut device, 1 << 20).expect("readable") == *next);
        }
        device.close().expect("closed");
    }
    let mut device = rig.device(true);
    let job = Job::new(Kind::Bb02, 1, 64_512, 1).run(3, 9_000);
    append(&mut device, &job.blocks).expect("written");
    device.seek(0, Whence::Start).expect("the start");
    let error = device.write(&unused).expect_err("there is more than a label now");
    assert!(matches!(error, Error::Middle { .. }), "{error}");
    let expected = [used, job.blocks.concat()].concat();
    assert!(read_all(&mut device, 1 << 20).expect("readable") == expected);
    device.close().expect("closed");
    assert!(read_all(&mut rig.device(false), 1 << 20).expect("readable") == expected);
}

#[test]
fn truncation_gives_up_the_streams_and_the_id() {
    let rig = Rig::new();
    let job = Job::new(Kind::Bb02, 1, 64_512, 1).run(3, 90_000);
    let mut device = rig.device(true);
    append(&mut device, &[label(Kind::Bb02, true)]).expect("labelled");
    append(&mut device, &job.blocks).expect("written");
    device.close().expect("closed");
    let mut device = rig.device(true);
    let id = device.volume().and_then(|volume| volume.id()).expect("an id");

    rig.world.state().absent = true;
    assert_eq!(id_of(&device.before_truncate().expect_err("nobody could be told")), "GDD-SD-0001");
    rig.world.state().absent = false;

    let asked = device.before_truncate().expect("the daemon is there");
    OpenOptions::new().write(true).open(rig.path()).and_then(|file| file.set_len(0)).expect("truncated");
    device.after_truncate(rig.file(true), asked).expect("taken up");
    assert_eq!(rig.world.state().retired, [id]);
    assert!(rig.world.state().streams.is_empty());
    assert_eq!(device.volume().map(|volume| (volume.size(), volume.id())), Some((0, None)));

    append(&mut device, &[label(Kind::Bb02, true)]).expect("labelled");
    assert_ne!(device.volume().and_then(|volume| volume.id()), Some(id));
    let again = Job::new(Kind::Bb02, 2, 64_512, 2).run(3, 90_000);
    append(&mut device, &again.blocks).expect("written");
    device.close().expect("closed");
    let expected = [label(Kind::Bb02, true), again.blocks.concat()].concat();
    assert!(read_all(&mut rig.device(false), 1 << 20).expect("readable") == expected);
}

#[test]
fn a_reader_sees_what_a_writer_adds() {
    let rig = Rig::new();
    let mut writer = rig.device(true);
    append(&mut writer, &[label(Kind::Bb02, true)]).expect("labelled");
    let mut reader = rig.device(false);
    let mut expected = label(Kind::Bb02, true);
    assert!(read_all(&mut reader, 1 << 20).expect("readable") == expected);
    let job = Job::new(Kind::Bb02, 1, 4_096, 1).run(30, 9_000);
    let mut buffer = vec![0; 1 << 20];
    for block in &job.blocks {
        append(&mut writer, std::slice::from_ref(block)).expect("written");
        expected.extend_from_slice(block);
        assert_eq!(reader.read(&mut buffer).expect("it is there now"), block.len());
        assert!(buffer[..block.len()] == *block);
        assert_eq!(reader.read(&mut buffer).expect("the end again"), 0);
    }
    assert!(read_all(&mut reader, 1 << 20).expect("readable") == expected);
}

#[test]
fn a_volume_that_is_closed_in_the_middle_of_a_job_goes_on_with_another_stream() {
    let rig = Rig::new();
    let job = Job::new(Kind::Bb02, 1, 4_096, 1).run(30, 9_000);
    let mut device = rig.device(true);
    append(&mut device, &[label(Kind::Bb02, true)]).expect("labelled");
    for part in job.blocks.chunks(7) {
        append(&mut device, part).expect("written");
        device.close().expect("closed");
        device.open(rig.file(true), true).expect("opened again");
    }
    device.close().expect("closed");
    let expected = [label(Kind::Bb02, true), job.blocks.concat()].concat();
    assert!(read_all(&mut rig.device(false), 1 << 20).expect("readable") == expected);
    let state = rig.world.state();
    assert!(state.streams.values().all(|stream| stream.finished));
    let mut parts: Vec<_> = state.streams.iter().collect();
    parts.sort_by_key(|(id, _)| **id);
    let payload: Vec<u8> = parts.iter().flat_map(|(_, stream)| stream.bytes.clone()).collect();
    assert!(payload == job.payload, "also addresses of sparse records that were cut stayed out");
}

#[test]
fn what_cannot_be_written_is_refused_and_moves_nothing() {
    let rig = Rig::new();
    let job = Job::new(Kind::Bb02, 1, 4_096, 1).run(3, 9_000);
    let mut device = rig.device(true);
    assert!(matches!(device.write(&[]), Err(Error::Size { found: 0, .. })));
    assert!(matches!(device.write(&vec![0; 20_000_001]), Err(Error::Size { found: 20_000_001, .. })));
    append(&mut device, &[label(Kind::Bb02, true)]).expect("labelled");
    append(&mut device, &job.blocks).expect("written");
    let size = device.volume().expect("open").size();
    let next = Job::new(Kind::Bb02, 2, 4_096, 1).run(3, 9_000);
    for position in [1, 4_000, size - 1, size + 1] {
        device.seek(i64::try_from(position).expect("small"), Whence::Start).expect("a position");
        let error = device.write(&next.blocks[0]).expect_err("not the end");
        assert!(matches!(error, Error::Middle { .. } | Error::Dead(_)), "{error}");
        assert_eq!(device.volume().map(|volume| (volume.position(), volume.size())), Some((position, size)));
    }
    assert_eq!(device.seek(-1, Whence::Start), None);
    assert_eq!(device.seek(i64::MIN, Whence::End), None);
    device.close().expect("closed");
    assert!(matches!(device.write(&next.blocks[0]), Err(Error::Closed)));
    assert!(matches!(device.read(&mut [0; 9]), Err(Error::Closed)));
    let mut device = rig.device(false);
    let error = append(&mut device, &next.blocks).expect_err("open for reading");
    assert!(matches!(error, Error::ReadOnly(_)), "{error}");
}

#[test]
fn a_file_that_is_not_ours_is_refused_and_left_alone() {
    let rig = Rig::new();
    let plain = label(Kind::Bb02, true);
    for foreign in [
        plain.clone(),
        b"GDDVOLU2 and so on".to_vec(),
        b"x".to_vec(),
        [b"GDDVOLU1".as_slice(), &[9; 60]].concat(),
    ] {
        rig.put(&foreign);
        let error = rig.bare().open(rig.file(true), true).expect_err("not a volume");
        assert!(
            matches!(error, Error::NotOurs { .. } | Error::Damaged { .. } | Error::Version { .. }),
            "{foreign:?}: {error}"
        );
        assert!(rig.bytes() == foreign);
    }
    // A header that was torn while the first label was written is an empty volume.
    let mut device = {
        rig.put(&[]);
        rig.device(true)
    };
    append(&mut device, std::slice::from_ref(&plain)).expect("labelled");
    device.close().expect("closed");
    let whole = rig.bytes();
    for version in [1_u32, 2] {
        let start = [&whole[..8], &version.to_le_bytes(), &whole[12..]].concat();
        for cut in 0..64 {
            rig.put(&start[..cut]);
            let found = rig.bare().open(rig.file(true), true);
            assert!(found.is_ok(), "{cut} of version {version}: {found:?}");
        }
    }
}

/// A labelled volume with a job on it.
fn written(rig: &Rig) -> Vec<u8> {
    let job = Job::new(Kind::Bb02, 1, 64_512, 1).run(3, 9_000);
    let mut device = rig.device(true);
    append(&mut device, &[label(Kind::Bb02, true)]).expect("labelled");
    append(&mut device, &job.blocks).expect("written");
    device.close().expect("closed");
    [label(Kind::Bb02, true), job.blocks.concat()].concat()
}

#[test]
fn a_volume_names_its_store_and_is_refused_with_another() {
    let rig = Rig::new();
    let expected = written(&rig);
    let file = rig.bytes();
    assert_eq!((&file[8..12], &file[28..44]), (&2_u32.to_le_bytes()[..], &[5; 16][..]));
    rig.world.state().store = [9; 16];
    let next = Job::new(Kind::Bb02, 2, 64_512, 2).run(3, 9_000);
    let mut device = rig.device(true);
    let mut buffer = vec![0; 1 << 20];
    assert!(device.read(&mut buffer).expect("the label can be read") > 0);
    let read = device.read(&mut buffer).expect_err("another store");
    let written = append(&mut device, &next.blocks).expect_err("another store");
    for error in [read, written] {
        let text = error.to_string();
        assert_eq!(id_of(&error), "GDD-SD-0116");
        assert!(text.contains(&"05".repeat(16)) && text.contains(&"09".repeat(16)), "{text}");
    }
    device.close().expect("closed");
    assert_eq!(rig.world.state().streams.len(), 1, "nothing was sent");
    rig.world.state().store = [5; 16];
    let mut device = rig.device(true);
    assert!(read_all(&mut device, 1 << 20).expect("readable") == expected);
    // Another daemon after it was mounted takes nothing.
    rig.world.state().store = [9; 16];
    assert_eq!(id_of(&append(&mut device, &next.blocks).expect_err("another store")), "GDD-SD-0116");
    assert_eq!(device.volume().expect("open").size(), expected.len() as u64);
    device.close().expect("closed");
    // It may be truncated, and belongs to the new store then.
    let mut device = rig.device(true);
    let id = device.before_truncate().expect("the daemon is there");
    OpenOptions::new().write(true).open(rig.path()).and_then(|file| file.set_len(0)).expect("truncated");
    device.after_truncate(rig.file(true), id).expect("taken up");
    append(&mut device, &[label(Kind::Bb02, true)]).expect("labelled");
    append(&mut device, &next.blocks).expect("written");
    device.close().expect("closed");
    assert_eq!(rig.bytes()[28..44], [9; 16]);
}

#[test]
fn volumes_that_name_no_store_are_taken_by_any() {
    let rig = Rig::new();
    // Of version 1.
    let expected = written(&rig);
    let mut file = rig.bytes();
    file[8..12].copy_from_slice(&1_u32.to_le_bytes());
    file[28..44].fill(0);
    let crc = crc32fast::hash(&file[..60]);
    file[60..64].copy_from_slice(&crc.to_le_bytes());
    rig.put(&file);
    rig.world.state().store = [9; 16];
    assert!(read_all(&mut rig.device(true), 1 << 20).expect("readable") == expected);
    // Labelled while no daemon was there.
    rig.put(&[]);
    rig.world.state().absent = true;
    let mut device = rig.device(true);
    append(&mut device, &[label(Kind::Bb02, true)]).expect("labelled");
    device.close().expect("closed");
    rig.world.state().absent = false;
    assert_eq!(rig.device(true).volume().expect("open").store(), None);
}
