//! SIGINT and SIGTERM end a command cleanly: what is half done is taken back, and the exit code says which it was.
//!
//! The first signal is noted, and wakes a read that waits for a slow pipe. A second one ends the process at once, which
//! is as safe for the store as a crash.

use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::event::{PollFd, PollFlags};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::{flag, low_level};

use crate::failure::{Failure, Result};

/// The signals that are noted.
const NOTED: &[i32] = &[SIGINT, SIGTERM];
/// Those, and what a terminal sends when it goes.
const NOTED_ALL: &[i32] = &[SIGINT, SIGTERM, SIGHUP, SIGQUIT];

/// End the process as `signal` would, at once: as safe for the store as a crash.
pub fn end(signal: i32) -> ! {
    low_level::exit(128 + signal)
}

/// See the module. Signals stay noted, and not fatal, until the process ends.
#[derive(Debug)]
pub struct Signals {
    /// The number of the last signal; 0 when there was none.
    caught: Arc<AtomicUsize>,
    /// Becomes readable with the first signal, and is never read.
    wake: UnixStream,
}

impl Signals {
    /// Note signals from here on.
    ///
    /// # Errors
    /// The system has no descriptors left.
    pub fn note() -> Result<Self> {
        Self::install(NOTED, true)
            .map_err(|error| Failure::Failed(format!("cannot watch for signals: {error}")))
    }

    /// The same, also when the terminal goes, and no second signal ends the process: for short steps that must be taken
    /// back, because what they leave behind is not as safe as a crash.
    ///
    /// # Errors
    /// As [`Signals::note`].
    pub fn note_all() -> Result<Self> {
        Self::install(NOTED_ALL, false)
            .map_err(|error| Failure::Failed(format!("cannot watch for signals: {error}")))
    }

    fn install(signals: &[i32], is_second_fatal: bool) -> io::Result<Self> {
        let (caught, armed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (wake, source) = UnixStream::pair()?;
        for &signal in signals {
            // In this order: the second signal finds the flag set that the first one left.
            if is_second_fatal {
                flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&armed))?;
                flag::register(signal, Arc::clone(&armed))?;
            }
            let number = usize::try_from(signal).map_err(io::Error::other)?;
            flag::register_usize(signal, Arc::clone(&caught), number)?;
            low_level::pipe::register(signal, source.try_clone()?)?;
        }
        Ok(Self { caught, wake })
    }

    /// Fail when a signal has come.
    ///
    /// # Errors
    /// Which one.
    pub fn check(&self) -> Result<()> {
        match i32::try_from(self.caught.load(Ordering::Relaxed)) {
            Ok(0) | Err(_) => Ok(()),
            Ok(signal) => Err(Failure::Signal(signal)),
        }
    }

    /// Wait until `file` can be read without waiting, has ended, or a signal comes.
    ///
    /// # Errors
    /// As `poll(2)`.
    pub fn wait_readable(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        let mut watched =
            [PollFd::from_borrowed_fd(file, PollFlags::IN), PollFd::new(&self.wake, PollFlags::IN)];
        match rustix::event::poll(&mut watched, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// A signal's name for people.
#[must_use]
pub fn name(signal: i32) -> String {
    low_level::signal_name(signal).map_or_else(|| format!("signal {signal}"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_signal_is_noted_and_ends_a_wait() {
        let signals = Signals::note().unwrap();
        assert!(signals.check().is_ok());
        let (silent, _open) = UnixStream::pair().unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| signals.wait_readable(silent.as_fd()));
            low_level::raise(SIGTERM).unwrap();
            waiting.join().unwrap().unwrap(); // Would wait for ever, were it not for the signal.
        });
        assert!(matches!(signals.check(), Err(Failure::Signal(SIGTERM))));
        assert_eq!(name(SIGTERM), "SIGTERM");
    }
}
