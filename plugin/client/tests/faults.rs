//! Whatever the daemon does wrong: an error, in bounded time, and never a receipt or a wrong byte.
#![allow(clippy::unwrap_used)]

mod common;

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use common::{files, load, noise, restore, save, save_over, settings};
use gdd_client::{Backup, ClientError};
use gdd_fake_daemon::{Daemon, Fault};

/// What a backup with `fault` ends with, and the messages that the daemon saw.
fn failed(daemon: &Daemon, fault: Fault, files: &[Vec<u8>]) -> (Option<ClientError>, usize) {
    let daemon = daemon.with(fault);
    let (ours, theirs) = UnixStream::pair().unwrap();
    let serving = daemon.serve(theirs);
    let error = save_over(ours, &settings(&daemon), files).err();
    (error, serving.join().unwrap())
}

#[test]
fn a_daemon_that_dies_at_any_message_leaves_no_receipt() {
    let files = vec![noise(1, 900_000), noise(2, 20_000), noise(1, 900_000)];
    let (none, messages) = failed(&Daemon::default(), Fault::None, &files);
    assert!(none.is_none() && messages > 100, "{none:?} after {messages} messages");
    for at in 0..messages {
        for fault in [Fault::DieAt(at), Fault::GoodbyeAt(at)] {
            let error = failed(&Daemon::default(), fault, &files).0;
            assert!(error.is_some(), "a receipt in spite of {fault:?}");
        }
    }
}

#[test]
fn a_fatal_trouble_is_the_reason_wherever_it_comes() {
    let files = vec![noise(3, 900_000)];
    let (_, messages) = failed(&Daemon::default(), Fault::None, &files);
    for at in [0, 1, 2, 3, messages / 2, messages - 1] {
        let error = failed(&Daemon::default(), Fault::FatalAt(at), &files).0.unwrap();
        let ClientError::Trouble { id, fatal: true, .. } = &error else { unreachable!("{at}: {error}") };
        assert_eq!(id, "GDD-TEST-1");
    }
}

#[test]
fn a_receipt_for_something_else_is_none() {
    for fault in [Fault::WrongReceipt, Fault::WrongRecipe] {
        let error = failed(&Daemon::default(), fault, &files(4)).0.unwrap();
        assert!(matches!(error, ClientError::Receipt { .. }), "{error}");
    }
}

#[test]
fn an_answer_to_no_question_is_refused() {
    let error = failed(&Daemon::default(), Fault::StrayAnswer, &files(5)).0.unwrap();
    assert!(matches!(error, ClientError::Unexpected { .. }), "{error}");
}

#[test]
fn after_an_error_everything_fails() {
    let daemon = Daemon::default().with(Fault::DieAt(1));
    let (ours, theirs) = UnixStream::pair().unwrap();
    let serving = daemon.serve(theirs);
    let mut backup = Backup::begin(ours, &settings(&daemon), "job", "").unwrap();
    let noise = noise(6, 1 << 20);
    let error = (0..200).find_map(|_| backup.write(&noise).err()).unwrap();
    assert!(!matches!(error, ClientError::Over), "{error}");
    assert!(matches!(backup.write(b"x"), Err(ClientError::Over)));
    assert!(matches!(backup.file_end(), Err(ClientError::Over)));
    assert!(matches!(backup.file_start(), Err(ClientError::Over)));
    assert!(matches!(backup.commit(0, [0; 32]), Err(ClientError::Over)));
    serving.join().unwrap();
}

#[test]
fn a_damaged_piece_is_an_error_of_its_file() {
    let (daemon, files) = (Daemon::default(), files(7));
    let (places, _) = save(&daemon, &files);
    for fault in [Fault::WrongPiece(0), Fault::WrongPiece(3), Fault::MissingPiece(0), Fault::MissingPiece(5)]
    {
        let mut restore = restore(&daemon.with(fault));
        let error = load(&mut restore, &places[8]).unwrap_err();
        assert!(
            matches!(error, ClientError::Damaged { .. }) && error.is_of_one_request(),
            "{fault:?}: {error}"
        );
        if matches!(fault, Fault::MissingPiece(_)) {
            assert!(
                load(&mut restore, &places[9]).unwrap() == files[9],
                "the next file comes after {fault:?}"
            );
        }
    }
    // The last piece of a file that is missing shows at the end of its request.
    let mut restore = restore(&daemon.with(Fault::MissingPiece(0)));
    let error = load(&mut restore, &places[0]).unwrap_err();
    assert!(error.to_string().contains("length"), "{error}");
}

#[test]
fn what_goes_wrong_ahead_is_no_fault_of_the_file_before() {
    let daemon = Daemon::default();
    let files: Vec<_> = (0..400).map(|seed| noise(seed, 20_000)).collect();
    let (places, _) = save(&daemon, &files);
    // It is asked for again, and comes.
    for piece in [40, 100, 399] {
        let mut restore = restore(&daemon.with(Fault::MissingPiece(piece)));
        for (file, place) in files.iter().zip(&places) {
            assert!(load(&mut restore, place).unwrap() == *file, "{place:?} of missing piece {piece}");
        }
    }
    // It is wrong again: the files from there on fail, and none before, and none is handed out that is wrong.
    let mut restore = restore(&daemon.with(Fault::WrongPiece(100)));
    let good = files.iter().zip(&places).take_while(|(file, place)| match load(&mut restore, place) {
        Ok(found) => {
            assert!(found == **file);
            true
        }
        Err(error) => {
            assert!(matches!(error, ClientError::Damaged { .. }), "{error}");
            false
        }
    });
    let good = good.count();
    assert!((10..400).contains(&good), "{good} files came");
}

#[test]
fn what_is_lost_between_two_files_is_no_fault_of_the_second() {
    let daemon = Daemon::default();
    let files: Vec<_> = (0..60).map(|seed| noise(seed, 20_000)).collect();
    let (places, _) = save(&daemon, &files);
    for lost in [2, 20, 58] {
        let mut restore = restore(&daemon.with(Fault::LostAt(places[lost].offset + 10_000)));
        for (index, (file, place)) in
            files.iter().zip(&places).enumerate().filter(|(index, _)| *index != lost)
        {
            assert!(load(&mut restore, place).unwrap() == *file, "{index}, {lost} is lost");
        }
        assert!(load(&mut restore, &places[lost]).unwrap_err().is_of_one_request());
    }
}

#[test]
fn a_piece_that_nobody_asked_for_ends_the_restore() {
    let (daemon, files) = (Daemon::default(), files(8));
    let (places, _) = save(&daemon, &files);
    let mut restore = restore(&daemon.with(Fault::StrayPiece));
    let error = load(&mut restore, &places[8]).unwrap_err();
    assert!(matches!(error, ClientError::Unexpected { .. }), "{error}");
    assert!(matches!(load(&mut restore, &places[8]), Err(ClientError::Over)));
}

/// A daemon that stalls at message `at`, and a job that gives it more than any buffer takes.
fn stalled(at: usize, silence: Duration, cancel_after: Option<Duration>) -> ClientError {
    let daemon = Daemon::default().with(Fault::StallAt(at));
    let (ours, theirs) = UnixStream::pair().unwrap();
    let serving = daemon.serve(theirs);
    let mut settings = settings(&daemon);
    settings.limits.silence = silence;
    settings.limits.long_silence = silence;
    let cancelled = Arc::clone(&settings.cancelled);
    let canceller = cancel_after.map(|after| {
        thread::spawn(move || {
            thread::sleep(after);
            cancelled.store(true, Ordering::Relaxed);
        })
    });
    let since = Instant::now();
    let error = save_over(ours, &settings, &[noise(9, 8 << 20)]).unwrap_err();
    println!("stalled at {at}: {error} after {:?}", since.elapsed());
    daemon.released.store(true, Ordering::Relaxed);
    serving.join().unwrap();
    canceller.into_iter().for_each(|thread| thread.join().unwrap());
    error
}

#[test]
fn a_stalled_daemon_is_noticed() {
    for at in [0, 1, 2, 10] {
        let error = stalled(at, Duration::from_millis(600), None);
        let is_silence =
            matches!(error, ClientError::Silent(_) | ClientError::Wire(gdd_wire::WireError::Timeout { .. }));
        assert!(is_silence, "{error}");
    }
}

#[test]
fn a_slow_disk_is_waited_for_and_not_for_ever() {
    let file = noise(11, 100_000);
    let (_, messages) = failed(&Daemon::default(), Fault::None, std::slice::from_ref(&file));
    for (long, is_good) in [(Duration::from_secs(600), true), (Duration::from_secs(1), false)] {
        let daemon = Daemon::default().with(Fault::SlowAt(messages - 1, Duration::from_secs(2)));
        let (ours, theirs) = UnixStream::pair().unwrap();
        let serving = daemon.serve(theirs);
        let mut settings = settings(&daemon);
        (settings.limits.silence, settings.limits.long_silence) = (Duration::from_secs(1), long);
        let saved = save_over(ours, &settings, std::slice::from_ref(&file));
        assert_eq!(saved.is_ok(), is_good, "{saved:?}");
        serving.join().unwrap();
    }
}

#[test]
fn a_cancelled_job_ends_long_before_the_silence() {
    for at in [0, 1, 10] {
        let error = stalled(at, Duration::from_secs(3600), Some(Duration::from_millis(200)));
        assert!(matches!(error, ClientError::Cancelled), "{error}");
    }
}

#[test]
fn a_daemon_that_stalls_in_a_restore_is_noticed() {
    let (daemon, files) = (Daemon::default(), files(10));
    let (places, _) = save(&daemon, &files);
    let stalling = daemon.with(Fault::StallAt(0));
    let (ours, theirs) = UnixStream::pair().unwrap();
    let serving = stalling.serve(theirs);
    let mut settings = settings(&daemon);
    settings.limits.silence = Duration::from_millis(500);
    let mut restore = gdd_client::Restore::begin(ours, &settings).unwrap();
    let error = load(&mut restore, &places[8]).unwrap_err();
    assert!(matches!(error, ClientError::Silent(_)), "{error}");
    stalling.released.store(true, Ordering::Relaxed);
    serving.join().unwrap();
}
