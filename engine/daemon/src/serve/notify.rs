//! What systemd is told, over `NOTIFY_SOCKET` (sd_notify(3)): ready, stopping, a status line, and that we live.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// See the module. Without `NOTIFY_SOCKET` nothing is sent.
#[derive(Debug, Default)]
pub struct Notify(Option<(UnixDatagram, SocketAddr)>);

impl Notify {
    /// As the environment says.
    #[must_use]
    pub fn from_env() -> Self {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return Self::default() };
        let address = match name.as_encoded_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(&name),
        };
        match address.and_then(|address| Ok((UnixDatagram::unbound()?, address))) {
            Ok(socket) => Self(Some(socket)),
            Err(error) => {
                tracing::warn!("NOTIFY_SOCKET cannot be used, so systemd is told nothing: {error}");
                Self::default()
            }
        }
    }

    /// Send a message such as `READY=1`.
    pub fn send(&self, message: &str) {
        if let Some((socket, address)) = &self.0
            && let Err(error) = socket.send_to_addr(message.as_bytes(), address)
        {
            tracing::warn!("systemd did not take {message:?}: {error}");
        }
    }
}

/// How often systemd wants to hear from us, if at all: half of its limit.
#[must_use]
pub fn watchdog() -> Option<Duration> {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    if number("WATCHDOG_PID").is_some_and(|pid| pid != u64::from(std::process::id())) {
        return None;
    }
    number("WATCHDOG_USEC").filter(|limit| *limit > 0).map(|limit| Duration::from_micros(limit / 2))
}
