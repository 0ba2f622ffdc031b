//! Bothsides mode as it is in the product: a stock Bacula whose file daemon loads our plugin, and our daemon at the
//! other end of a TCP connection.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use gdd_rig::{JobResult, Level, Release, Rig};
use serde_json::Value;

use crate::bacula::assert_failed;
use crate::client::ClientSite;
use crate::faults::Faults;
use crate::gdd::Gdd;
use crate::random::Random;
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
        Self::with_settings(release, &[])
    }

    /// The same with these settings of the store.
    ///
    /// # Panics
    /// As [`BothSides::new`].
    #[must_use]
    pub fn with_settings(release: Release, settings: &[&str]) -> Option<Self> {
        let client = ClientSite::with_product(release)?;
        let store = client.folder().join("gdd-store");
        Some(Self::of(client, &store, |gdd| gdd, settings))
    }

    /// The same, where both ends suffer: the file daemon from the first, `gdd` from the second.
    ///
    /// # Panics
    /// As [`BothSides::new`].
    #[must_use]
    pub fn with_faults(release: Release) -> Option<(Self, Faults, Faults)> {
        let client = ClientSite::with_product(release)?;
        let store = client.folder().join("gdd-store");
        Some(Self::suffering(client, &store, &[]))
    }

    /// The same with a store in `store` and these settings of it.
    ///
    /// # Panics
    /// As [`BothSides::new`].
    #[must_use]
    pub fn with_faults_in(
        release: Release,
        store: &Path,
        settings: &[&str],
    ) -> Option<(Self, Faults, Faults)> {
        Some(Self::suffering(ClientSite::with_product(release)?, store, settings))
    }

    fn suffering(mut client: ClientSite, store: &Path, settings: &[&str]) -> (Self, Faults, Faults) {
        let folder = client.folder().to_owned();
        let [near, far] = ["client-faults", "daemon-faults"].map(|name| Faults::new(&folder.join(name)));
        near.environment().iter().for_each(|(name, value)| client.set(name, value));
        let suffers = |gdd: Gdd| {
            let environment = far.environment();
            environment.iter().fold(gdd, |gdd, (name, value)| gdd.with_env(name, value))
        };
        (Self::of(client, store, suffers, settings), near, far)
    }

    fn of(client: ClientSite, store: &Path, change: impl FnOnce(Gdd) -> Gdd, settings: &[&str]) -> Self {
        let socket = client.folder().join("gdd.sock");
        let words = ["--socket", socket.to_str().expect("the build folder's name is text")];
        let gdd = change(Gdd::at(store).with_flags(&words));
        gdd.init_with(settings);
        let mut site = Self { port: free_port(), client, gdd, serving: None };
        site.make_key(&site.key_file());
        site.serve();
        site
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
        self.serve_with("");
    }

    /// The same with more `lines` about the network in its configuration.
    ///
    /// # Panics
    /// As [`BothSides::serve`].
    pub fn serve_with(&mut self, lines: &str) {
        assert!(self.serving.is_none(), "one daemon at a time");
        let lines = format!(
            "[net]\nlisten = [\"127.0.0.1:{}\"]\n{lines}\n[net.domains.site]\nkey = \"{}\"\n",
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

    /// Look at the daemon.
    ///
    /// # Panics
    /// When none runs.
    #[must_use]
    pub fn serving(&self) -> &Serving {
        self.serving.as_ref().expect("a daemon runs")
    }

    /// Kill the daemon, and start another on its store.
    ///
    /// # Panics
    /// When none runs, or the next one does not become ready.
    pub fn kill_and_serve(&mut self) {
        self.daemon().kill();
        self.serve();
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

    /// Files of `size` bytes in the tree, `f0000` and so on, none like another and none like those of another `seed`.
    ///
    /// # Panics
    /// When the disk takes no files.
    pub fn fill(&self, seed: u64, files: usize, size: usize) {
        let mut random = Random::new(seed);
        let mut bytes = vec![0; size];
        for number in 0..files {
            random.fill(&mut bytes);
            fs::write(self.client.tree().join(format!("f{number:04}")), &bytes)
                .expect("the tree takes files");
        }
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

impl BothSides {
    /// What `gdd status --json` says of a job that has ended, as soon as its session has.
    ///
    /// # Panics
    /// When it says nothing within a minute.
    #[must_use]
    #[track_caller]
    pub fn told(&self, job: &JobResult) -> Value {
        let start = Instant::now();
        loop {
            let status = self.gdd.json(&["status"]);
            let jobs = status["services"]["net"]["jobs"].as_array().cloned().unwrap_or_default();
            let is_it = |told: &Value| told["run"].as_str().is_some_and(|run| job.log.contains(run));
            if let Some(told) = jobs.into_iter().find(is_it) {
                return told;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "no word of the job in {status}");
            thread::sleep(Duration::from_millis(20));
        }
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

/// A full backup that must fail with each of `words` in its log, and no receipt; nothing of it comes back wrong.
///
/// # Panics
/// When it does not.
#[track_caller]
pub fn backup_fails(site: &BothSides, rig: &Rig, words: &[&str]) -> JobResult {
    let job = rig.run("files", Level::Full).expect("a job runs");
    assert_no_backup(site, rig, &job, words);
    job
}

/// The same of a job that has ended.
///
/// # Panics
/// When it does not hold.
#[track_caller]
pub fn assert_no_backup(site: &BothSides, rig: &Rig, job: &JobResult, words: &[&str]) {
    assert_failed(job, words);
    assert!(!job.log.contains("savings"), "a report without a receipt:\n{}", job.log);
    // What the catalog has of it may be named by somebody all the same; mostly it has nothing.
    let rows = rig.query_catalog(&format!("SELECT COUNT(*) FROM File WHERE JobId={}", job.id));
    if rows.expect("the catalog can be asked") != [["0"]] {
        let back = rig.restore(&[job.id]).expect("a restore runs");
        assert_nothing_made_up(site, &back.path(&site.client.tree()));
    }
}

/// A restore that must fail with each of `words` in its log; all that came back are whole files of the tree.
///
/// # Panics
/// When it does not.
#[track_caller]
pub fn restore_fails(site: &BothSides, rig: &Rig, job: &JobResult, words: &[&str]) -> JobResult {
    let back = rig.restore(&[job.id]).expect("a restore runs");
    assert_failed(&back.result, words);
    assert_nothing_made_up(site, &back.path(&site.client.tree()));
    back.result
}

/// Nothing in `folder` is anything but a whole file of the tree; how many there are.
///
/// # Panics
/// When something is.
#[track_caller]
pub fn assert_nothing_made_up(site: &BothSides, folder: &Path) -> usize {
    let Ok(files) = fs::read_dir(folder) else { return 0 };
    let same = |file: fs::DirEntry| {
        let expected = fs::read(site.client.tree().join(file.file_name())).expect("a file of the tree");
        let found = fs::read(file.path()).expect("a file can be read");
        assert!(found == expected, "{} was made up", file.path().display());
    };
    files.map(|file| file.expect("a folder can be read")).map(same).count()
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
