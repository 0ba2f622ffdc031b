//! What systemd is told, over `NOTIFY_SOCKET` (sd_notify(3)): ready, stopping, a status line, and that we live.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::LOOK_EVERY;

/// A message that is not taken within this time is given up: whoever does not read must not hold the daemon up.
const SEND_LIMIT: Duration = Duration::from_secs(2);

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
        let made = address.and_then(|address| {
            let socket = UnixDatagram::unbound()?;
            socket.set_write_timeout(Some(SEND_LIMIT))?;
            Ok((socket, address))
        });
        match made {
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

    /// Do `work`, which may take long; meanwhile systemd hears `text` and that we live, at least as often as it wants
    /// that, and `look` is called some times a second.
    pub fn telling<T>(
        &self,
        every: Duration,
        text: impl Fn() -> String + Sync,
        look: impl Fn() + Sync,
        work: impl FnOnce() -> T,
    ) -> T {
        let every = watchdog().map_or(every, |limit| limit.min(every));
        let is_done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let ticker = scope.spawn(|| {
                let mut told = Instant::now();
                while !is_done.load(Ordering::Acquire) {
                    look();
                    if told.elapsed() >= every {
                        self.send(&format!("STATUS={}\nWATCHDOG=1", text()));
                        told = Instant::now();
                    }
                    std::thread::park_timeout(LOOK_EVERY.min(every));
                }
            });
            let _done = Done(&is_done, ticker.thread().clone());
            work()
        })
    }
}

/// The work has ended, well or in a panic: whoever tells of it ends too.
struct Done<'a>(&'a AtomicBool, std::thread::Thread);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release); // Pairs with the load in `telling`.
        self.1.unpark();
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
