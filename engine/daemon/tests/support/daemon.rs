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
    start_told(place, config, at, &[]).0
}

/// The same, with `environment`, and what it tells systemd.
pub fn serve_told(place: &Place, config: &str, environment: &[(&str, &str)]) -> (Daemon, Told) {
    start_told(place, config, &place.join("gdd.sock"), environment)
}

fn start_told(place: &Place, config: &str, at: &Path, environment: &[(&str, &str)]) -> (Daemon, Told) {
    let path = place.join("notify");
    let _ = std::fs::remove_file(&path);
    let socket = UnixDatagram::bind(&path).expect("the place is writable");
    socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket takes a limit");
    let mut command = place.command(&["serve"]);
    std::fs::write(place.join("gdd.toml"), config).expect("the place is writable");
    command.env("GDD_SOCKET", at).env("NOTIFY_SOCKET", &path).env("GDD_CONFIG", place.join("gdd.toml"));
    command.envs(environment.iter().copied());
    let daemon = Daemon(command.spawn().expect("gdd starts"));
    let mut told = Told { socket, messages: Vec::new() };
    told.until("READY=1");
    (daemon, told)
}

/// What a daemon tells systemd.
pub struct Told {
    socket: UnixDatagram,
    /// In the order in which it came, as far as it was waited for.
    pub messages: Vec<String>,
}

impl Told {
    /// Wait for a message with `words` in it, and return it.
    pub fn until(&mut self, words: &str) -> String {
        let mut buffer = [0; 1000];
        loop {
            let len = self.socket.recv(&mut buffer);
            let len =
                len.unwrap_or_else(|error| unreachable!("{words:?} comes: {error}: {:?}", self.messages));
            let message = String::from_utf8_lossy(&buffer[..len]).into_owned();
            self.messages.push(message.clone());
            if message.contains(words) {
                return message;
            }
        }
    }
}
