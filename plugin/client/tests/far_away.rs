//! A daemon that is 50 ms away: the same data come back. How long it took is printed and not judged.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use common::{load, noise, save_over, settings};
use gdd_client::Restore;
use gdd_fake_daemon::Daemon;
use gdd_wire::Transport;

/// Passes on what comes from `from`, with the time at which it is due.
fn receive(mut from: UnixStream, to: &Sender<(Instant, Vec<u8>)>, delay: Duration) {
    let mut block = vec![0; 256 << 10];
    while let Ok(count @ 1..) = from.read(&mut block) {
        if to.send((Instant::now() + delay, block[..count].to_vec())).is_err() {
            return;
        }
    }
}

fn deliver(from: &Receiver<(Instant, Vec<u8>)>, mut to: UnixStream) {
    for (due, bytes) in from {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&bytes).is_err() {
            return;
        }
    }
    let _ = to.hang_up();
}

/// A connection to `daemon` whose round trip takes `round_trip`.
fn far(daemon: &Daemon, round_trip: Duration) -> UnixStream {
    let (ours, near) = UnixStream::pair().unwrap();
    let (remote, theirs) = UnixStream::pair().unwrap();
    daemon.serve(theirs);
    for (from, to) in [(&near, &remote), (&remote, &near)] {
        let (from, to, (sender, receiver)) = (from.second().unwrap(), to.second().unwrap(), channel());
        thread::spawn(move || receive(from, &sender, round_trip / 2));
        thread::spawn(move || deliver(&receiver, to));
    }
    ours
}

#[test]
fn distance_changes_no_byte() {
    let files = vec![noise(1, 40 << 20), noise(2, 1 << 20), noise(3, 20 << 20)];
    for (name, round_trip) in [("near", Duration::ZERO), ("far", Duration::from_millis(50))] {
        let daemon = Daemon::default();
        let mut places = Vec::new();
        for pass in ["new", "known"] {
            let since = Instant::now();
            places = save_over(far(&daemon, round_trip), &settings(&daemon), &files).unwrap().0;
            println!("{name}, {pass}: saved in {:?}", since.elapsed());
        }
        let since = Instant::now();
        let mut restore = Restore::begin(far(&daemon, round_trip), &settings(&daemon)).unwrap();
        for (file, place) in files.iter().zip(&places) {
            assert!(load(&mut restore, place).unwrap() == *file);
        }
        println!("{name}: restored in {:?}", since.elapsed());
    }
}
