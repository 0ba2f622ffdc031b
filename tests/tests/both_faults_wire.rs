//! Bothsides mode over a connection that ends, loses, repeats or changes bytes: at any of them the job fails, and what
//! came back is right.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gdd_rig::Release;
use gdd_tests::bacula::assert_restored;
use gdd_tests::bothsides::{BothSides, backup_fails, restore_fails};
use gdd_tests::effort::sized;
use gdd_tests::meter::{Meter, Next, Way};
use gdd_tests::random::Random;

const FILES: usize = 20;
const SIZE: usize = 200_000;

/// What is done to a direction at a byte of it.
#[derive(Clone, Copy, Debug)]
enum Harm {
    Fin,
    Cut,
    Stall,
    /// One bit changes.
    Flip,
    /// All that is there from then on is other bytes.
    Garbage,
    /// Bytes are missing.
    Lose,
    /// Bytes come a second time.
    Twice,
}

/// Do `harm` once, at byte `at` of `way`. Whether it was done is in the answer.
fn strike(meter: &Meter, way: Way, at: u64, harm: Harm) -> Arc<AtomicBool> {
    let done = Arc::new(AtomicBool::new(false));
    let struck = Arc::clone(&done);
    meter.watch(move |of, before, burst| {
        if of != way || before + burst.len() as u64 <= at || struck.swap(true, Ordering::SeqCst) {
            return Next::Pass;
        }
        let from = usize::try_from(at.saturating_sub(before)).unwrap();
        let next = match harm {
            Harm::Fin => Next::Fin,
            Harm::Cut => Next::Cut,
            Harm::Stall => Next::Stall,
            _ => Next::Pass,
        };
        match harm {
            Harm::Fin | Harm::Cut | Harm::Stall => burst.truncate(from),
            Harm::Flip => burst[from] ^= 8,
            Harm::Garbage => Random::new(at).fill(&mut burst[from..]),
            Harm::Lose => drop(burst.drain(from..(from + 32).min(burst.len()))),
            Harm::Twice => burst.extend_from_within(from..),
        }
        next
    });
    done
}

/// Bytes of each direction of what `body` does.
fn count<T>(meter: &Meter, body: impl FnOnce() -> T) -> (T, [u64; 2]) {
    let counted = Arc::new(std::sync::Mutex::new([0; 2]));
    let counter = Arc::clone(&counted);
    meter.watch(move |way, before, burst| {
        counter.lock().unwrap()[usize::from(way == Way::ToClient)] = before + burst.len() as u64;
        Next::Pass
    });
    let result = body();
    meter.unwatch();
    let counted = *counted.lock().unwrap();
    println!("{} bytes to the daemon, {} to the client", counted[0], counted[1]);
    (result, counted)
}

/// So many thousandths of each direction, and what happens there.
type Row = (Way, u64, Harm, &'static [&'static str]);

/// Each row's harm fails the job and is told; without it all is well again.
fn a_bad_line(backups: &[Row], restores: &[Row]) {
    let Some(mut site) = BothSides::new(Release::V9) else { return };
    site.fill(1, FILES, SIZE);
    let meter = Meter::before(site.port());
    let rig = site.client.start(&site.string_at(meter.port(), ":patience=1"), &[]);
    let ((good, _), of_backup) = count(&meter, || site.full(&rig));
    let ((), of_restore) = count(&meter, || assert_restored(&rig, &[&good], &site.client.tree()));
    let place = |bytes: [u64; 2], way, part| bytes[usize::from(way == Way::ToClient)] * part / 1000;
    for (way, part, harm, words) in restores {
        println!("restore: {harm:?} {way:?} at {part}");
        let done = strike(&meter, *way, place(of_restore, *way, *part), *harm);
        let job = restore_fails(&site, &rig, &good, words);
        println!("{}", job.log);
        assert!(done.load(Ordering::SeqCst), "nothing was done");
    }
    for (seed, (way, part, harm, words)) in (2..).zip(backups) {
        site.fill(seed, FILES, SIZE); // What the daemon does not know, so that all of it travels.
        println!("backup: {harm:?} {way:?} at {part}");
        let done = strike(&meter, *way, place(of_backup, *way, *part), *harm);
        let connections = meter.connections();
        let job = backup_fails(&site, &rig, words);
        println!("{}", job.log);
        assert!(done.load(Ordering::SeqCst), "nothing was done");
        assert_eq!(meter.connections(), connections + 1, "a job has one connection");
    }
    meter.unwatch();
    let (good, _) = site.full(&rig);
    assert_restored(&rig, &[&good], &site.client.tree());
    site.stop_and_check();
}

const LOST: &[&str] = &["GDD-FD-0101"];
/// GDD-FD-0101 or 0108: where bytes have moved, the daemon reads any byte as the header of a record. It leaves a record
/// that does not verify without a word, and says so of a header that cannot be.
const REFUSED: &[&str] = &["GDD-FD-010"];
const SHORT: &[&str] = &["GDD-FD-0101", "data is missing"];
const CHANGED: &[&str] = &["GDD-FD-0101", "does not verify"];
const SILENT: &[&str] = &["GDD-FD-0101", "silent too long"];

#[test]
fn what_the_client_says_is_cut_lost_or_changed() {
    // What is said a second time behind the commit comes too late to matter: one burst may have all of the end.
    let of_backup = [
        (Way::ToDaemon, 500, Harm::Fin, LOST),
        (Way::ToDaemon, 500, Harm::Flip, LOST),
        (Way::ToDaemon, 600, Harm::Twice, REFUSED),
        (Way::ToDaemon, 700, Harm::Cut, LOST),
        (Way::ToDaemon, 300, Harm::Lose, REFUSED),
        (Way::ToDaemon, 500, Harm::Garbage, REFUSED),
        // The daemon does not answer what it does not understand: to a client all of that is a wrong key.
        (Way::ToDaemon, 0, Harm::Garbage, &["GDD-FD-0103", "during the handshake"]),
        (Way::ToDaemon, 500, Harm::Stall, LOST),
    ];
    let of_restore = [(Way::ToDaemon, 500, Harm::Fin, LOST), (Way::ToDaemon, 700, Harm::Flip, LOST)];
    a_bad_line(&of_backup[..sized(3, of_backup.len())], &of_restore[..sized(1, of_restore.len())]);
}

#[test]
fn what_the_daemon_says_is_cut_lost_or_changed() {
    let of_backup = [
        (Way::ToClient, 800, Harm::Flip, CHANGED),
        (Way::ToClient, 500, Harm::Fin, SHORT),
        (Way::ToClient, 500, Harm::Stall, SILENT),
    ];
    let of_restore = [
        (Way::ToClient, 500, Harm::Fin, SHORT),
        (Way::ToClient, 999, Harm::Fin, SHORT),
        (Way::ToClient, 500, Harm::Flip, CHANGED),
        (Way::ToClient, 0, Harm::Garbage, &["GDD-FD-0101", "first bytes of a daemon"]),
        (Way::ToClient, 700, Harm::Stall, SILENT),
        (Way::ToClient, 700, Harm::Cut, SHORT),
        (Way::ToClient, 300, Harm::Lose, CHANGED),
        (Way::ToClient, 500, Harm::Twice, LOST),
        (Way::ToClient, 500, Harm::Garbage, LOST),
    ];
    a_bad_line(&of_backup[..sized(1, of_backup.len())], &of_restore[..sized(3, of_restore.len())]);
}
