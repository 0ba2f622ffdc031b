//! From a completion to a [`Done`], or to the next attempt.
//!
//! # Invariants
//! - A sync is never begun twice: after a failed one the kernel may have dropped the data, and a second would lie.
//! - "Again" and "interrupted" are answered with another attempt, in a kernel worker that may block, a bounded number
//!   of times; every attempt that moves bytes resets the count.

use std::io;

use crate::in_flight::{Token, Work};
use crate::io::Done;
use crate::ring::Ring;
use crate::submit::WAKE;
use crate::transfer::Next;

/// "Again" in a row before it becomes the operation's error.
const REFUSALS_MAX: u32 = 1000;

/// What to do with an operation after one completion.
enum Verdict {
    Again { patient: bool },
    Over(io::Result<usize>),
}

impl Ring {
    /// Take all completions out of the ring. Returns how many there were, wake-ups included.
    ///
    /// # Errors
    /// A completion that names no operation under way, or completions lost: the ring cannot be trusted any more.
    pub(crate) fn reap(&mut self) -> io::Result<usize> {
        let mut count = 0;
        loop {
            let mut completions = self.ring.completion();
            let lost = completions.overflow();
            let Some(entry) = completions.next() else { break };
            drop(completions);
            if lost > 0 {
                return Err(io::Error::other(format!("io_uring lost {lost} completions")));
            }
            count += 1;
            let token = Token(entry.user_data());
            if token == WAKE {
                self.watching = false;
                // Nothing to read means that the alarm was silenced before.
                let _silenced = rustix::io::read(&self.alarm.event, &mut [0_u8; 8]);
            } else {
                self.complete(token, entry.result())?;
            }
        }
        Ok(count)
    }

    pub(crate) fn complete(&mut self, token: Token, result: i32) -> io::Result<()> {
        let closing = self.closing;
        let pending = self.in_flight.get(token).map_err(io::Error::other)?;
        let again = result == -libc::EAGAIN || result == -libc::EINTR;
        let retriable = !matches!(pending.work, Work::Datasync);
        let verdict = match usize::try_from(result) {
            Err(_) if again && retriable && pending.refusals < REFUSALS_MAX => {
                pending.refusals += 1;
                Verdict::Again { patient: true }
            }
            Err(_) => Verdict::Over(Err(io::Error::from_raw_os_error(-result))),
            Ok(count) => {
                pending.refusals = 0;
                match &mut pending.work {
                    Work::Datasync | Work::Allocate(_) => Verdict::Over(Ok(0)),
                    Work::Move(transfer, _) => match transfer.advance(count) {
                        Next::Again => Verdict::Again { patient: false },
                        Next::Finished(total) => Verdict::Over(Ok(total)),
                        Next::Failed(error) => Verdict::Over(Err(error)),
                    },
                }
            }
        };
        let result = match verdict {
            Verdict::Again { patient } if !closing => {
                self.start(token, patient);
                return Ok(());
            }
            Verdict::Again { .. } => Err(io::ErrorKind::Interrupted.into()),
            Verdict::Over(result) => result,
        };
        let pending = self.in_flight.remove(token).map_err(io::Error::other)?;
        self.ready.push(Done { tag: pending.tag, result, buffer: pending.into_buffer() });
        Ok(())
    }
}
