//! A daemon on a place's store.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::Place;

/// A running daemon; killed when dropped.
pub struct Daemon(pub Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Daemon {
    /// Stop it as systemd does, and wait; it must end well.
    pub fn stop(&mut self) {
        kill_process(Pid::from_child(&self.0), Signal::TERM).expect("it runs");
        let ended = self.0.wait().expect("a child can be waited for");
        assert!(ended.success(), "{ended}");
    }
}

/// Start a daemon with this configuration and wait until it says READY.
pub fn serve_with(place: &Place, config: &str) -> Daemon {
    serve_at(place, config, &place.join("gdd.sock"))
}

/// The same at another socket.
pub fn serve_at(place: &Place, config: &str, at: &Path) -> Daemon {
    let path = place.join("notify");
    let _ = std::fs::remove_file(&path);
    let socket = UnixDatagram::bind(&path).expect("the place is writable");
    let mut command = place.command(&["serve"]);
    std::fs::write(place.join("gdd.toml"), config).expect("the place is writable");
    command.env("GDD_SOCKET", at).env("NOTIFY_SOCKET", &path).env("GDD_CONFIG", place.join("gdd.toml"));
    let daemon = Daemon(command.spawn().expect("gdd starts"));
    socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket takes a limit");
    let mut buffer = [0; 1000];
    loop {
        let len = socket.recv(&mut buffer).expect("READY=1 comes");
        if buffer[..len].starts_with(b"READY=1") {
            return daemon;
        }
    }
}
