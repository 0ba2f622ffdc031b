//! A running `gdd serve`, which can be asked, stopped, frozen and killed.

use std::fs::File;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::gdd::Gdd;

/// How long a daemon may take to open its store, with recovery.
const READY_LIMIT: Duration = Duration::from_secs(120);
/// How long one may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// A daemon. Dropped, it is killed.
#[derive(Debug)]
pub struct Serving {
    child: Child,
    socket: PathBuf,
    log: PathBuf,
}

impl Serving {
    /// Start a daemon on the store of `gdd`; its socket and its log lie in `folder`. Returns when it is ready.
    ///
    /// # Panics
    /// When it does not become ready, with its log.
    #[must_use]
    pub fn start(gdd: &Gdd, folder: &Path) -> Self {
        Self::start_with(gdd, folder, &[])
    }

    /// The same with further words on its command line.
    ///
    /// # Panics
    /// When it does not become ready, with its log.
    #[must_use]
    pub fn start_with(gdd: &Gdd, folder: &Path, words: &[&str]) -> Self {
        Self::launch(gdd, folder, words, "")
    }

    /// The same with further lines in its configuration.
    ///
    /// # Panics
    /// When it does not become ready, with its log.
    #[must_use]
    pub fn configured(gdd: &Gdd, folder: &Path, lines: &str) -> Self {
        Self::launch(gdd, folder, &[], lines)
    }

    /// The same with both.
    ///
    /// # Panics
    /// When it does not become ready, with its log.
    #[must_use]
    pub fn arranged(gdd: &Gdd, folder: &Path, words: &[&str], lines: &str) -> Self {
        Self::launch(gdd, folder, words, lines)
    }

    fn launch(gdd: &Gdd, folder: &Path, words: &[&str], lines: &str) -> Self {
        let (socket, log) = (folder.join("gdd.sock"), folder.join("gdd.log"));
        let notes = folder.join("notify");
        let _ = std::fs::remove_file(&notes); // Of the one before.
        let notify = UnixDatagram::bind(&notes).expect("the folder takes a socket");
        notify.set_read_timeout(Some(READY_LIMIT)).expect("a socket takes a time limit");
        let sink = File::options().create(true).append(true).open(&log).expect("the folder takes a log");
        let configuration = folder.join("gdd.toml");
        let lines = format!("workers = 2\nmemory = \"512m\"\n{lines}");
        std::fs::write(&configuration, lines).expect("the folder takes a file");
        let mut command = gdd.command();
        command.arg("serve").arg("--config").arg(&configuration).arg("--socket").arg(&socket).args(words);
        command.env("NOTIFY_SOCKET", &notes).stdout(Stdio::null()).stderr(sink);
        let child = command.spawn().expect("gdd starts");
        let serving = Self { child, socket, log };
        let mut buffer = [0; 1000];
        loop {
            let len = match notify.recv(&mut buffer) {
                Ok(len) => len,
                // A process that was stopped and continued meanwhile (signal(7): of a call with a time limit).
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => unreachable!("no READY: {error}\n{}", serving.log()),
            };
            if buffer[..len].starts_with(b"READY=1") {
                return serving;
            }
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it writes its log.
    #[must_use]
    pub fn log_file(&self) -> &Path {
        &self.log
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Send it a signal.
    ///
    /// # Panics
    /// When it is gone.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the daemon runs");
    }

    /// Ask it to stop, and demand that it ends well.
    ///
    /// # Panics
    /// When it does not, with its log.
    pub fn stop(mut self) {
        self.signal(Signal::TERM);
        let until = Instant::now() + STOP_LIMIT;
        loop {
            match self.child.try_wait().expect("a child can be waited for") {
                Some(status) => {
                    assert!(status.success(), "the daemon ended with {status}\n{}", self.log());
                    return;
                }
                None if Instant::now() > until => unreachable!("the daemon does not stop\n{}", self.log()),
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Kill it (SIGKILL); it is gone when this returns.
    ///
    /// # Panics
    /// When it cannot be waited for.
    pub fn kill(mut self) {
        self.end().expect("a child can be killed");
    }

    fn end(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.end(); // It may have ended by itself.
    }
}
