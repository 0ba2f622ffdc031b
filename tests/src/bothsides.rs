//! Bothsides mode as it is in the product: a stock Bacula whose file daemon loads our plugin, and our daemon at the
//! other end of a TCP connection.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use gdd_rig::{JobResult, Level, Release, Rig};

use crate::client::ClientSite;
use crate::gdd::Gdd;
use crate::serving::Serving;

/// A client with a tree, a store and its daemon.
#[derive(Debug)]
pub struct BothSides {
    /// The client's part.
    pub client: ClientSite,
    /// The command line, on the store and through the daemon.
    pub gdd: Gdd,
    port: u16,
    serving: Option<Serving>,
}

/// The line that a job's report is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Of the files.
    pub logical: u64,
    /// Over the wire, both ways.
    pub wire: u64,
    /// Of chunks that the store did not have.
    pub new: u64,
    /// That those take.
    pub stored: u64,
}

impl BothSides {
    /// A new key, a new store, and a daemon on it. `None` when the environment switches these tests off.
    ///
    /// # Panics
    /// When Bacula cannot be installed, or something was not built.
    #[must_use]
    pub fn new(release: Release) -> Option<Self> {
        let client = ClientSite::with_product(release)?;
        let folder = client.folder();
        let socket = folder.join("gdd.sock");
        let words = ["--socket", socket.to_str().expect("the build folder's name is text")];
        let gdd = Gdd::at(&folder.join("gdd-store")).with_flags(&words);
        gdd.init();
        let mut site = Self { port: free_port(), client, gdd, serving: None };
        site.make_key(&site.key_file());
        site.serve();
        Some(site)
    }

    /// The key of this site.
    #[must_use]
    pub fn key_file(&self) -> PathBuf {
        self.client.folder().join("site.key")
    }

    /// Make a key.
    ///
    /// # Panics
    /// When `gdd key new` does not.
    pub fn make_key(&self, file: &Path) {
        self.gdd.expect(0, &["key", "new", file.to_str().expect("the build folder's name is text")]);
    }

    /// Start the daemon.
    ///
    /// # Panics
    /// When one runs already, or it does not become ready.
    pub fn serve(&mut self) {
        assert!(self.serving.is_none(), "one daemon at a time");
        let lines = format!(
            "[net]\nlisten = [\"127.0.0.1:{}\"]\n[net.domains.site]\nkey = \"{}\"\n",
            self.port,
            self.key_file().display()
        );
        self.serving = Some(Serving::configured(&self.gdd, self.client.folder(), &lines));
    }

    /// The daemon, taken away: to kill or stop it.
    ///
    /// # Panics
    /// When none runs.
    pub fn daemon(&mut self) -> Serving {
        self.serving.take().expect("a daemon runs")
    }

    /// Stop the daemon, and demand that the store is whole.
    ///
    /// # Panics
    /// When it is not.
    pub fn stop_and_check(&mut self) {
        self.daemon().stop();
        self.gdd.expect(0, &["fsck"]);
    }

    /// The plugin string that names this daemon, and more options.
    #[must_use]
    pub fn string(&self, options: &str) -> String {
        self.string_at(self.port, options)
    }

    /// The same for another port, behind which this daemon is.
    #[must_use]
    pub fn string_at(&self, port: u16, options: &str) -> String {
        let key = self.key_file();
        format!("gdd:server=127.0.0.1:{port}:key_file={}:patience=20{options}", key.display())
    }

    /// Where the daemon listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A Bacula with a job `files` of the tree.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(&self, options: &[&str]) -> Rig {
        self.client.start(&self.string(""), options)
    }

    /// A full backup that must end well, and its report.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn full(&self, rig: &Rig) -> (JobResult, Report) {
        let job = rig.run("files", Level::Full).expect("a job runs").demand_ok().expect("it ends well");
        let report = Report::of(&job);
        (job, report)
    }
}

impl Report {
    /// Of a job that ended well.
    ///
    /// # Panics
    /// When its log has none.
    #[must_use]
    #[track_caller]
    pub fn of(job: &JobResult) -> Self {
        let line = job.log.lines().find(|line| line.contains(" savings ")).expect("the job has a report");
        println!("{line}");
        Self::of_line(line)
    }

    /// Of the report's line.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    #[track_caller]
    pub fn of_line(line: &str) -> Self {
        let number = |word: &str| {
            let mut words = line.split_whitespace().skip_while(|found| *found != word);
            words.nth(1).and_then(|number| number.parse().ok()).expect("a report has its numbers")
        };
        Self {
            logical: number("logical"),
            wire: number("wire"),
            new: number("new"),
            stored: number("stored"),
        }
    }
}

/// A port that nobody listens at now.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("a listener has an address").port()
}
