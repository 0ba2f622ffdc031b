//! What is saved comes back, and what is known is not sent again.
#![allow(clippy::unwrap_used)]

mod common;

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{Counted, files, load, noise, restore, save, save_over, settings};
use gdd_client::{Backup, ClientError, Restore};
use gdd_fake_daemon::{Daemon, Fault};

#[test]
fn what_was_saved_comes_back_in_any_order() {
    let (daemon, files) = (Daemon::default(), files(1));
    let (places, outcome) = save(&daemon, &files);
    let bytes: u64 = files.iter().map(|file| file.len() as u64).sum();
    assert_eq!((outcome.totals.files, outcome.totals.bytes), (files.len() as u64, bytes));
    assert!(outcome.new_bytes < bytes, "a file that came twice, and zeros");
    let mut restore = restore(&daemon);
    for (file, place) in files.iter().zip(&places).rev() {
        assert!(load(&mut restore, place).unwrap() == *file, "{place:?}");
    }
    restore.finish();
}

#[test]
fn small_windows_cut_chunks_and_nothing_else() {
    let (daemon, files) = (Daemon::default(), files(2));
    let (places, _) = save(&daemon, &files);
    for window in [4 * 777, 4 * 50_000] {
        let (ours, theirs) = UnixStream::pair().unwrap();
        daemon.serve(theirs);
        let mut settings = settings(&daemon);
        settings.limits.window = window;
        let mut restore = Restore::begin(ours, &settings).unwrap();
        for (file, place) in files.iter().zip(&places) {
            assert!(load(&mut restore, place).unwrap() == *file, "{place:?} with {window}");
        }
        // A part of a file that is given up leaves the next one whole.
        let (stream, offset) = (places[9].stream, places[9].offset);
        let mut fetching = restore.fetch(stream, offset + 5, 2 << 20).unwrap();
        let mut start = [0; 3000];
        let count = fetching.read(&mut start).unwrap();
        assert_eq!(start[..count], files[9][5..5 + count]);
        drop(fetching);
        assert!(load(&mut restore, &places[8]).unwrap() == files[8]);
    }
}

#[test]
fn a_second_backup_sends_segments_only() {
    let (daemon, files) = (Daemon::default(), [files(3), vec![noise(30, 20 << 20)]].concat());
    let logical: u64 = files.iter().map(|file| file.len() as u64).sum();
    let mut sent = Vec::new();
    for _ in 0..2 {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let serving = daemon.serve(theirs);
        let written = Arc::new(AtomicU64::new(0));
        let line = Counted { line: ours, written: Arc::clone(&written) };
        let (places, outcome) = save_over(line, &settings(&daemon), &files).unwrap();
        assert_eq!(places.len(), files.len());
        serving.join().unwrap();
        sent.push((written.load(Ordering::Relaxed), outcome.new_bytes));
    }
    println!("logical {logical}, sent and new: {sent:?}");
    assert!(sent[0].0 > logical / 2);
    assert!(sent[1].1 == 0 && sent[1].0 < logical / 5000, "{sent:?} of {logical}");
}

#[test]
fn files_are_found_again_after_an_insertion() {
    let daemon = Daemon::default();
    let mut all = vec![noise(40, 10 << 20), noise(41, 10 << 20)];
    let first = save(&daemon, &all).1;
    all[0].splice(3_000_000..3_000_000, *b"inserted");
    let (places, second) = save(&daemon, &all);
    assert!(second.new_bytes < first.new_bytes / 100, "{second:?}");
    let mut restore = restore(&daemon);
    for (file, place) in all.iter().zip(&places) {
        assert!(load(&mut restore, place).unwrap() == *file);
    }
}

#[test]
fn tight_bounds_change_nothing_but_the_pace() {
    let files = files(5);
    let loose = save(&Daemon::default(), &files);
    for (ahead_max, memory) in [(1, 64 << 20), (100, 0), (1 << 16, 1)] {
        let daemon = Daemon { ahead_max, ..Daemon::default() };
        let (ours, theirs) = UnixStream::pair().unwrap();
        let serving = daemon.serve(theirs);
        let mut settings = settings(&daemon);
        settings.limits.memory = memory;
        let (places, outcome) = save_over(ours, &settings, &files).unwrap();
        serving.join().unwrap();
        assert_eq!((places, outcome.totals), (loose.0.clone(), loose.1.totals));
    }
}

#[test]
fn a_file_that_was_not_ended_is_in_nobodys_way() {
    let (daemon, file) = (Daemon::default(), noise(6, 100_000));
    let (ours, theirs) = UnixStream::pair().unwrap();
    let serving = daemon.serve(theirs);
    let mut backup = Backup::begin(ours, &settings(&daemon), "job", "").unwrap();
    backup.file_start().unwrap();
    backup.write(&noise(7, 33_333)).unwrap();
    backup.file_start().unwrap();
    backup.write(&file).unwrap();
    let place = backup.file_end().unwrap();
    assert_eq!((place.offset, place.length), (33_333, 100_000));
    let outcome = backup.commit(1, [0; 32]).unwrap();
    assert_eq!(outcome.totals.bytes, 133_333);
    serving.join().unwrap();
    assert!(load(&mut restore(&daemon), &place).unwrap() == file);
}

#[test]
fn a_backup_without_files_has_a_receipt() {
    let outcome = save(&Daemon::default(), &[]).1;
    assert_eq!((outcome.totals.files, outcome.totals.bytes, outcome.totals.chunks), (0, 0, 0));
}

#[test]
fn an_empty_range_is_nothing_and_an_unknown_one_an_error_of_its_own() {
    let (daemon, files) = (Daemon::default(), files(8));
    let (places, _) = save(&daemon, &files);
    let mut restore = restore(&daemon);
    let mut empty = places[8];
    empty.length = 0;
    assert_eq!(load(&mut restore, &empty).unwrap(), []);
    let mut unknown = places[9];
    unknown.stream = [77; 16];
    let error = load(&mut restore, &unknown).unwrap_err();
    assert!(error.is_of_one_request() && error.to_string().contains("GDD-TEST-2"), "{error}");
    assert!(load(&mut restore, &places[9]).unwrap() == files[9], "others still come");
}

#[test]
fn pings_are_answered_whatever_the_job_does() {
    let daemon = Daemon::default().with(Fault::Pings);
    // The fake gives no receipt before its pings are answered.
    save(&daemon, &files(9));
}

#[test]
fn full_buffers_do_not_wait_for_each_other() {
    let daemon = Daemon::default().with(Fault::Chatty);
    save(&daemon, &[noise(10, 2 << 20)]);
}

#[test]
fn another_key_is_refused() {
    let daemon = Daemon::default();
    let (ours, theirs) = UnixStream::pair().unwrap();
    daemon.serve(theirs);
    let mut settings = settings(&daemon);
    settings.key = gdd_wire::Key::from_secret(&[8; 32]).unwrap();
    let refused = Backup::begin(ours, &settings, "job", "").err().unwrap();
    assert!(matches!(refused, ClientError::Wire(gdd_wire::WireError::Refused)), "{refused}");
}

/// So many files of a job, none like another.
fn small_files(count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|seed| noise(seed, 600 + usize::try_from(seed * 37 % 5000).unwrap())).collect()
}

#[test]
fn small_files_cost_no_round_trip_each() {
    let (daemon, files) = (Daemon::default(), small_files(3000));
    let (places, _) = save(&daemon, &files);
    let (ours, theirs) = UnixStream::pair().unwrap();
    let serving = daemon.serve(theirs);
    let mut restore = Restore::begin(ours, &settings(&daemon)).unwrap();
    // In order and with some left out, as a restore of a selection does; then again from the start.
    for step in [1, 3] {
        for (file, place) in files.iter().zip(&places).step_by(step) {
            assert!(load(&mut restore, place).unwrap() == *file, "{place:?}");
        }
    }
    restore.finish();
    let messages = serving.join().unwrap();
    println!("{} files: {messages} messages", files.len() + files.len() / 3);
    assert!(messages < 100, "{messages} messages");
}

#[test]
fn a_file_here_and_there_is_asked_for_alone() {
    let (daemon, files) = (Daemon::default(), small_files(1000));
    let (places, _) = save(&daemon, &files);
    let mut restore = restore(&daemon);
    for index in (0..1000).rev().step_by(7) {
        assert!(load(&mut restore, &places[index]).unwrap() == files[index]);
    }
    restore.finish();
}
