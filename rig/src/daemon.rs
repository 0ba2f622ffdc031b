//! One daemon as a child of this process: in the foreground, its output in a log file, killed when dropped.

use std::collections::VecDeque;
use std::fs::{self, OpenOptions};
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, kill_process};

use crate::{Error, Result, execution, spawner};

/// Between two looks at a daemon that is starting.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// What is quoted of a log.
const TAIL_LINES: usize = 40;

/// Which daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Daemon {
    /// bacula-dir.
    Director,
    /// bacula-sd.
    Storage,
    /// bacula-fd number so and so; most rigs have number 0 only.
    File(u8),
}

/// What to send it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGKILL.
    Kill,
    /// SIGSTOP: it stops where it is, its connections stay open.
    Stop,
    /// SIGCONT.
    Continue,
    /// SIGTERM: it ends as a service manager ends it.
    Terminate,
}

/// A daemon that was started.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Daemon {
    /// All daemons of a rig with `clients` file daemons, in the order in which they are started.
    pub(crate) fn all(clients: u8) -> impl Iterator<Item = Self> {
        [Self::Storage, Self::Director].into_iter().chain((0..clients).map(Self::File))
    }

    /// The name of its resource, and of its log.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Director => "rig-dir".into(),
            Self::Storage => "rig-sd".into(),
            Self::File(client) => format!("rig-fd-{client}"),
        }
    }

    /// Its program.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Director => "bacula-dir",
            Self::Storage => "bacula-sd",
            Self::File(_) => "bacula-fd",
        }
    }

    /// Its configuration file.
    pub(crate) fn configuration(self) -> String {
        match self {
            Self::File(client) => format!("bacula-fd-{client}.conf"),
            other => format!("{}.conf", other.program()),
        }
    }
}

impl Running {
    /// Start `command`, with its output at the end of `log`.
    pub(crate) fn start(mut command: Command, name: String, log: &Path) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(log);
        let file = file.map_err(Error::io(format!("cannot write {}", log.display())))?;
        let again = file.try_clone().map_err(Error::io("cannot duplicate a file descriptor"))?;
        command.stdin(Stdio::null()).stdout(file).stderr(again);
        let child = spawner::spawn(command).map_err(Error::io(format!("cannot start {name}")))?;
        Ok(Self { child, name, log: log.into() })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Wait until it listens on `port`.
    pub(crate) fn wait_until_listening(&mut self, at: (Ipv4Addr, u16), limit: Duration) -> Result {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            self.demand_alive()?;
            if listens(at).map_err(Error::io("cannot read /proc/net/tcp"))? {
                return Ok(());
            }
            thread::sleep(LOOK_INTERVAL);
        }
        Err(self.error(format!("does not listen on {}:{} after {limit:?}", at.0, at.1)))
    }

    /// An error, with its log, when it has ended.
    pub(crate) fn demand_alive(&mut self) -> Result {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.error(format!("has ended: {status}"))),
            Err(error) => Err(self.error(format!("cannot be waited for: {error}"))),
        }
    }

    pub(crate) fn signal(&mut self, signal: Signal) -> Result {
        self.demand_alive()?;
        let signal = match signal {
            Signal::Kill => rustix::process::Signal::KILL,
            Signal::Stop => rustix::process::Signal::STOP,
            Signal::Continue => rustix::process::Signal::CONT,
            Signal::Terminate => rustix::process::Signal::TERM,
        };
        kill_process(Pid::from_child(&self.child), signal)
            .map_err(|errno| self.error(format!("cannot be signalled: {errno}")))
    }

    /// Whether it ended by itself within `limit`; it is killed otherwise.
    pub(crate) fn wait(&mut self, limit: Duration) -> Result<bool> {
        let status = execution::wait(&mut self.child, limit);
        Ok(status.map_err(Error::io(format!("cannot wait for {}", self.name)))?.is_some())
    }

    fn error(&self, reason: String) -> Error {
        Error::Daemon { daemon: self.name.clone(), reason, log: self.log.clone(), tail: tail(&self.log) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended before; then there is nothing to kill.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// The last lines of a log; a log that cannot be read has none.
pub(crate) fn tail(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let mut lines = VecDeque::new();
    for line in text.lines() {
        if lines.len() == TAIL_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }
    Vec::from(lines).join("\n")
}

/// Whether somebody listens there, without connecting: a daemon takes a connection that says nothing for an intruder.
/// /proc/net/tcp has the local address in the second column as machine words in hexadecimal, and state 0A for LISTEN
/// (proc(5)).
fn listens((address, port): (Ipv4Addr, u16)) -> io::Result<bool> {
    let word = u32::from_le_bytes(address.octets());
    let wanted = format!("{word:08X}:{port:04X}");
    let table = fs::read_to_string("/proc/net/tcp")?;
    let listening = |line: &str| {
        let mut columns = line.split_whitespace().skip(1);
        columns.next() == Some(&*wanted) && columns.nth(1) == Some("0A")
    };
    Ok(table.lines().any(listening))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_listener_is_seen_and_a_closed_one_is_not() {
        let listener = TcpListener::bind((crate::place::address(), 0)).unwrap();
        let at = (crate::place::address(), listener.local_addr().unwrap().port());
        assert!(listens(at).unwrap());
        drop(listener);
        assert!(!listens(at).unwrap());
    }

    #[test]
    fn a_daemon_that_ends_is_reported_with_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo bad configuration; exit 4"]);
        let mut daemon = Running::start(command, "sh".into(), &folder.path().join("log")).unwrap();
        let error =
            daemon.wait_until_listening((Ipv4Addr::LOCALHOST, 1), Duration::from_secs(60)).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("exit status: 4") && text.contains("bad configuration"), "{text}");
    }
}
