//! A `gdd put` that is fed by hand: it holds the store for as long as a test wants, and can be watched.

use std::io::{self, Read, Write};
use std::process::{Child, ChildStdin, Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::gdd::{Gdd, Outcome, piped};
use crate::memory;

/// How often a watched process is looked at.
const WATCH_INTERVAL: Duration = Duration::from_millis(10);

/// A put whose pipe is still open. Dropped, it is killed.
#[derive(Debug)]
pub struct Running {
    command: Command,
    child: Option<Child>,
    pipe: Option<ChildStdin>,
}

impl Running {
    /// Start `gdd put NAME - --json`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn put(gdd: &Gdd, name: &str) -> Self {
        let mut command = gdd.command();
        command.args(["put", name, "-", "--json"]);
        let mut child = piped(&mut command);
        let pipe = child.stdin.take();
        Self { command, child: Some(child), pipe }
    }

    /// Its process id.
    ///
    /// # Panics
    /// Never: it runs until it is finished or dropped.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Give it bytes; returns when it has taken all but what the pipe holds (64 KiB).
    ///
    /// # Errors
    /// It has ended.
    ///
    /// # Panics
    /// Never: the pipe is open until it is finished.
    pub fn feed(&mut self, mut stream: impl Read) -> io::Result<u64> {
        let pipe = self.pipe.as_mut().expect("the pipe is open");
        let bytes = io::copy(&mut stream, pipe)?;
        pipe.flush().map(|()| bytes)
    }

    /// Close the pipe, and wait.
    ///
    /// # Panics
    /// When it cannot be waited for.
    pub fn finish(mut self) -> Outcome {
        drop(self.pipe.take());
        let child = self.child.take().expect("it runs");
        let output = child.wait_with_output().expect("a child can be waited for");
        let Output { status, stdout, stderr } = output;
        Outcome::new(&self.command, status, &stdout, &stderr)
    }

    /// Feed it all of `stream`, wait, and tell how much memory it has held at most, in bytes.
    ///
    /// # Panics
    /// When it cannot be waited for.
    pub fn finish_watched(mut self, stream: impl Read) -> (Outcome, u64) {
        let (pid, done) = (self.pid(), Arc::new(AtomicBool::new(false)));
        let watching = Arc::clone(&done);
        let watcher = thread::spawn(move || {
            let mut peak = 0;
            while !watching.load(Ordering::Relaxed) {
                peak = peak.max(memory::peak(pid).unwrap_or(0));
                thread::sleep(WATCH_INTERVAL);
            }
            peak
        });
        // When it has ended early, the exit code and the message say why.
        let _ = self.feed(stream);
        let outcome = self.finish();
        done.store(true, Ordering::Relaxed);
        (outcome, watcher.join().expect("watching does not fail"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gdd::tests::stand_in;

    #[test]
    fn what_is_fed_arrives_and_the_end_is_seen() {
        let (_folder, gdd) = stand_in("wc -c; echo over >&2; exit 4");
        let mut running = Running::put(&gdd, "name");
        assert_eq!(running.feed(&[1; 100_000][..]).unwrap(), 100_000);
        assert_eq!(running.feed(&[1; 11][..]).unwrap(), 11);
        let outcome = running.finish();
        assert_eq!(
            (outcome.code, outcome.stdout.trim(), outcome.stderr.as_str()),
            (Some(4), "100011", "over\n")
        );
    }

    #[test]
    fn its_memory_is_watched() {
        // The shell replaces itself, so that the process that is watched is the one that holds the memory.
        let (_folder, gdd) = stand_in("exec dd of=/dev/null bs=100M count=2 iflag=fullblock status=none");
        let (outcome, peak) = Running::put(&gdd, "name").finish_watched(io::repeat(1).take(150 << 20));
        outcome.demand(0);
        assert!((100 << 20..200 << 20).contains(&peak), "{peak}");
    }

    #[test]
    fn a_dropped_put_is_dead() {
        let (_folder, gdd) = stand_in("cat");
        let running = Running::put(&gdd, "name");
        let pid = running.pid();
        drop(running);
        assert_eq!(memory::peak(pid), None);
    }
}
