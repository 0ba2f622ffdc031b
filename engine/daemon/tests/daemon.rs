//! The daemon: its start and end, and what it does for the command line meanwhile.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod support;

use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::Child;

use support::{Place, random};

/// A running daemon; killed when dropped.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Start a daemon and wait until it says READY.
fn serve(place: &Place) -> Daemon {
    let path = place.join("notify");
    let _ = std::fs::remove_file(&path);
    let socket = UnixDatagram::bind(&path).unwrap();
    let mut command = place.command(&["serve"]);
    std::fs::write(place.join("gdd.toml"), "workers = 2\n").unwrap();
    command.env("NOTIFY_SOCKET", &path).env("GDD_CONFIG", place.join("gdd.toml"));
    let daemon = Daemon(command.spawn().unwrap());
    socket.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    let mut buffer = [0; 1000];
    loop {
        let len = socket.recv(&mut buffer).expect("READY=1 comes");
        if buffer[..len].starts_with(b"READY=1") {
            return daemon;
        }
    }
}

#[test]
fn streams_go_through_the_daemon() {
    let place = Place::new();
    let mut daemon = serve(&place);
    let bytes = random(1, 5_000_000);
    place.put("one", &bytes);
    assert_eq!(place.ok(&["get", "one"]).out, bytes);
    place.ok(&["get", "one", "-o", "restored"]);
    assert_eq!(std::fs::read(place.join("restored")).unwrap(), bytes);
    assert_eq!(place.names(), ["one"]);
    let status = place.ok(&["status", "--json"]).object();
    assert_eq!(status["state"], "ready", "{status}");
    assert!(status["epoch"].is_u64() && status["recall_ns"].is_array(), "{status}");
    assert_eq!(place.run(&["fsck"]).code, Some(4));
    assert_eq!(place.run(&["serve"]).code, Some(4), "a second daemon");
    place.ok(&["rm", "one"]);
    assert_eq!(place.run(&["get", "one"]).code, Some(1));
    let pid = daemon.0.id().to_string();
    assert!(std::process::Command::new("kill").arg(&pid).status().unwrap().success());
    assert_eq!(daemon.0.wait().unwrap().code(), Some(0));
    assert_eq!(place.run(&["status"]).code, Some(4));
    assert!(place.ok(&["fsck"]).text().ends_with("clean\n"));
}

#[test]
fn a_killed_daemon_starts_again() {
    let place = Place::new();
    let daemon = serve(&place);
    let bytes = random(2, 1_000_000);
    place.put("kept", &bytes);
    drop(daemon);
    assert!(place.join("gdd.sock").exists(), "a stale socket");
    let _daemon = serve(&place);
    assert_eq!(place.ok(&["get", "kept"]).out, bytes);
}

#[test]
fn garbage_and_long_requests_are_refused() {
    let place = Place::new();
    let _daemon = serve(&place);
    for request in [b"garbage\n".to_vec(), vec![b'x'; 1 << 16]] {
        let mut stream = UnixStream::connect(place.join("gdd.sock")).unwrap();
        stream.write_all(&request).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.lines().last().unwrap().contains("\"code\":2"), "{answer}");
    }
    assert_eq!(place.names(), [""; 0]);
}

#[test]
fn the_configuration_is_checked() {
    let place = Place::new();
    std::fs::write(place.join("bad.toml"), "\nstroe = 1\n").unwrap();
    let bad = place.run(&["serve", "--check", "--config", "bad.toml"]);
    assert!(bad.code == Some(2) && bad.err.contains("bad.toml:2") && bad.err.contains("stroe"), "{bad:?}");
    std::fs::write(place.join("good.toml"), "memory = \"512m\"\n").unwrap();
    let good = place.ok(&["serve", "--check", "--config", "good.toml"]);
    assert!(good.text().contains("memory = \"536870912\""), "{good:?}");
}
