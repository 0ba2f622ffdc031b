//! Two processes, of which one dies, stops, or leaves a child behind. The other learns of it, keeps what was published,
//! sees nothing of what was not, and goes on serving others.
//!
//! Each test starts itself a second time; the second process finds the socket in its environment and plays the plugin
//! (or, where the test says so, the daemon).

mod common;

use std::process::Command;
use std::thread;
use std::time::Duration;

use common::{Other, PATIENCE, Rng, connect, me, other_role, push, serve, stream, take};
use gdd_ring::{Endpoint, Gone, Listener, Offer, Peer, WaitError, Wanted, Woken};
use rustix::event::{PollFd, PollFlags};
use rustix::process::Signal;

/// A folder with a socket in it, and who listens there.
fn listen() -> (tempfile::TempDir, Listener) {
    let folder = tempfile::tempdir().expect("a folder");
    let listener = Listener::bind(&folder.path().join("socket")).expect("a socket");
    (folder, listener)
}

fn start(name: &str, folder: &tempfile::TempDir) -> Other {
    Other::start(name, &folder.path().join("socket"))
}

/// Take messages until there are `count`, releasing all.
fn take_until(endpoint: &mut Endpoint, peer: &Peer, taken: &mut u64, count: u64) {
    while *taken < count {
        let woken = endpoint.wait(Wanted::MESSAGE, peer, PATIENCE).expect("a peer that lives");
        assert_eq!(woken, Woken::Ready);
        while take(endpoint, *taken) {
            *taken += 1;
        }
        endpoint.consumer.release_all();
    }
}

/// Take what is left of a dead peer; how its death was told.
fn take_rest(endpoint: &mut Endpoint, peer: &Peer, taken: &mut u64) -> WaitError {
    loop {
        while take(endpoint, *taken) {
            *taken += 1;
        }
        match endpoint.wait(Wanted::MESSAGE, peer, PATIENCE) {
            Ok(woken) => assert_eq!(woken, Woken::Ready),
            Err(error) => return error,
        }
    }
}

#[test]
fn a_producer_that_is_killed_at_any_moment_leaves_whole_messages() {
    if let Some(socket) = other_role() {
        return stream(&socket);
    }
    for seed in 0..12 {
        let (folder, listener) = listen();
        let mut other = start("a_producer_that_is_killed_at_any_moment_leaves_whole_messages", &folder);
        let (mut endpoint, peer) = serve(&listener);
        let mut taken = 0;
        take_until(&mut endpoint, &peer, &mut taken, Rng(seed).below(2000) + 1);
        other.kill();
        let error = take_rest(&mut endpoint, &peer, &mut taken);
        assert!(matches!(error, WaitError::Gone(Gone::Ended { .. })), "seed {seed}: {error}");
    }
}

#[test]
fn a_message_that_its_dead_producer_did_not_publish_was_never_there() {
    if let Some(socket) = other_role() {
        let (mut endpoint, peer) = connect(&socket);
        assert!(push(&mut endpoint, &peer, 0));
        let mut half = endpoint.producer.reserve(20_000).expect("room");
        half.write(&[1; 10_000]);
        peer.send(b"half", &[]).expect("a daemon that lives");
        thread::sleep(PATIENCE);
        unreachable!("killed before");
    }
    let (folder, listener) = listen();
    let mut other = start("a_message_that_its_dead_producer_did_not_publish_was_never_there", &folder);
    let (mut endpoint, peer) = serve(&listener);
    let packet = peer.receive(PATIENCE).expect("a plugin that lives").expect("a packet");
    assert_eq!(packet.bytes, b"half");
    other.kill();
    assert!(take(&mut endpoint, 0), "what was published is there");
    assert_eq!(endpoint.consumer.peek(), Ok(None));
    let gone = endpoint.wait(Wanted::MESSAGE, &peer, PATIENCE).expect_err("it is dead");
    assert!(matches!(gone, WaitError::Gone(Gone::Ended { .. })), "{gone}");
}

#[test]
fn a_daemon_that_is_killed_leaves_the_plugin_everything_it_has_not_released() {
    if let Some(socket) = other_role() {
        let listener = Listener::bind(&socket).expect("a socket");
        let (mut endpoint, peer) = serve(&listener);
        let mut ends = Vec::new();
        while ends.len() < 20 {
            endpoint.wait(Wanted::MESSAGE, &peer, PATIENCE).expect("a plugin that lives");
            while let Some(incoming) = endpoint.consumer.take().expect("an honest plugin") {
                ends.push(incoming.message().end);
            }
        }
        endpoint.consumer.release(ends[7]);
        peer.send(b"eight", &[]).expect("a plugin that lives");
        thread::sleep(PATIENCE);
        unreachable!("killed before");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("socket");
    let mut other =
        start("a_daemon_that_is_killed_leaves_the_plugin_everything_it_has_not_released", &folder);
    let (mut endpoint, peer) = connect(&socket);
    let text = |seq: u64| [b"message ", seq.to_string().as_bytes()].concat();
    for seq in 0..20 {
        endpoint.producer.try_push(4, 0, &[&text(seq)]).expect("room");
    }
    peer.receive(PATIENCE).expect("a daemon that lives").expect("a packet");
    other.kill();
    let gone = endpoint.wait(Wanted::MESSAGE, &peer, PATIENCE).expect_err("it is dead");
    assert!(matches!(gone, WaitError::Gone(Gone::Ended { .. })), "{gone}");
    let left: Vec<_> =
        endpoint.producer.unreleased().map(|message| (message.seq(), message.payload())).collect();
    let expected: Vec<_> = (8..20).map(|seq| (seq, text(seq))).collect();
    assert_eq!(left, expected);
}

#[test]
fn a_stopped_producer_is_not_dead_and_does_not_hold_up_another() {
    if let Some(socket) = other_role() {
        return stream(&socket);
    }
    let name = "a_stopped_producer_is_not_dead_and_does_not_hold_up_another";
    let (folder, listener) = listen();
    let first = start(name, &folder);
    let (mut slow, slow_peer) = serve(&listener);
    let second = start(name, &folder);
    let (mut fast, fast_peer) = serve(&listener);
    let (mut slow_taken, mut fast_taken) = (0, 0);
    take_until(&mut slow, &slow_peer, &mut slow_taken, 100);
    first.signal(Signal::STOP);
    while take(&mut slow, slow_taken) {
        slow_taken += 1;
    }
    slow.consumer.release_all();
    let woken = slow.wait(Wanted::MESSAGE, &slow_peer, Duration::from_millis(250));
    // One message may have been under way as the signal came.
    assert!(matches!(woken, Ok(Woken::Elapsed | Woken::Ready)), "{woken:?}");
    slow_peer.check().expect("stopped is not dead");
    take_until(&mut fast, &fast_peer, &mut fast_taken, 3000);
    first.signal(Signal::CONT);
    let more = slow_taken + 1000;
    take_until(&mut slow, &slow_peer, &mut slow_taken, more);
    drop((slow, slow_peer, fast, fast_peer));
    first.finish();
    second.finish();
}

#[test]
fn a_child_that_holds_the_socket_does_not_hide_the_death_of_its_parent() {
    if let Some(socket) = other_role() {
        let (mut endpoint, peer) = connect(&socket);
        assert!(push(&mut endpoint, &peer, 0));
        rustix::io::fcntl_setfd(&peer, rustix::io::FdFlags::empty()).expect("our own socket");
        rustix::io::fcntl_setfd(endpoint.bell(), rustix::io::FdFlags::empty()).expect("our own bell");
        let mut child = Command::new("sleep").arg("60").spawn().expect("sleep");
        peer.send(&child.id().to_le_bytes(), &[]).expect("a daemon that lives");
        child.wait().expect("our own child");
        unreachable!("killed before");
    }
    let (folder, listener) = listen();
    let mut other = start("a_child_that_holds_the_socket_does_not_hide_the_death_of_its_parent", &folder);
    let (mut endpoint, peer) = serve(&listener);
    let packet = peer.receive(PATIENCE).expect("a plugin that lives").expect("a packet");
    let child = i32::from_le_bytes(packet.bytes.try_into().expect("four bytes"));
    let child = rustix::process::Pid::from_raw(child).expect("a number");
    assert!(take(&mut endpoint, 0));
    other.kill();
    let gone = endpoint.wait(Wanted::MESSAGE, &peer, PATIENCE);
    let mut socket = [PollFd::new(&peer, PollFlags::IN | PollFlags::RDHUP)];
    let open = rustix::event::poll(&mut socket, Some(&rustix::event::Timespec::default()));
    rustix::process::kill_process(child, Signal::KILL).expect("nobody has waited for it");
    assert!(matches!(gone, Err(WaitError::Gone(Gone::Ended { .. }))), "{gone:?}");
    assert_eq!(open, Ok(0), "the socket knew nothing: the child had it");
}

#[test]
fn a_peer_that_closes_and_lives_on_is_gone() {
    if let Some(socket) = other_role() {
        let (endpoint, peer) = connect(&socket);
        drop((endpoint, peer));
        thread::sleep(PATIENCE);
        unreachable!("killed before");
    }
    let (folder, listener) = listen();
    let _other = start("a_peer_that_closes_and_lives_on_is_gone", &folder);
    let (mut endpoint, peer) = serve(&listener);
    let gone = endpoint.wait(Wanted::MESSAGE, &peer, PATIENCE).expect_err("it has closed");
    assert!(matches!(gone, WaitError::Gone(Gone::HungUp { .. } | Gone::Deaf)), "{gone}");
}

#[test]
fn a_peer_that_closes_its_bell_alone_is_gone_too() {
    let (one, _other) = rustix::net::socketpair(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::SEQPACKET,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )
    .expect("a pair");
    let peer = Peer::new(one, &me()).expect("ourselves");
    let (mut endpoint, handover) = Endpoint::create(Offer::new(1, 1)).expect("a channel");
    drop(handover);
    let gone = endpoint.wait(Wanted::MESSAGE, &peer, PATIENCE).expect_err("nobody can ring");
    assert!(matches!(gone, WaitError::Gone(Gone::Deaf)), "{gone}");
}

#[test]
fn a_reader_that_releases_late_and_a_writer_that_fills_the_ring_both_sleep_and_wake() {
    if let Some(socket) = other_role() {
        return stream(&socket);
    }
    let name = "a_reader_that_releases_late_and_a_writer_that_fills_the_ring_both_sleep_and_wake";
    let (folder, listener) = listen();
    let other = start(name, &folder);
    let (mut endpoint, peer) = serve(&listener);
    let (mut rng, mut taken) = (Rng(1), 0);
    while taken < 5000 {
        endpoint.wait(Wanted::MESSAGE, &peer, PATIENCE).expect("a plugin that lives");
        while take(&mut endpoint, taken) {
            taken += 1;
        }
        if endpoint.consumer.held() > rng.below(common::CAPACITY / 2) {
            endpoint.consumer.release_all();
        }
    }
    drop((endpoint, peer));
    other.finish();
}
