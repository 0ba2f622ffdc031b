//! A stock Bacula whose storage daemon loads our driver, with our daemon behind it: what the tests of storage mode run.

use std::path::{Path, PathBuf};

use gdd_rig::{Builder, Daemon, Device, JobResult, Packages, Pool, Progress, Release, Rig};
use tempfile::TempDir;

use crate::gdd::Gdd;
use crate::serving::Serving;
use crate::workspace;

/// The deduplicated device, and the slot of the driver that serves it.
pub const DEVICE: &str = "Dedup";
/// Its pool; volumes are named `Dedup-0001` and so on.
pub const POOL: &str = "Daily";
/// The first volume of the pool.
pub const VOLUME: &str = "Dedup-0001";

/// A store with a daemon, and a folder of drivers; everything but Bacula itself.
#[derive(Debug)]
pub struct Site {
    /// The command line, on the store and through the daemon.
    pub gdd: Gdd,
    packages: Packages,
    serving: Option<Serving>,
    folder: TempDir,
}

impl Site {
    /// A new store, and a daemon on it. `None`, with the reason printed, when the environment switches these tests off.
    ///
    /// # Panics
    /// When Bacula cannot be installed, or the driver was not built.
    #[must_use]
    pub fn new(release: Release) -> Option<Self> {
        let mut site = Self::without_daemon(release)?;
        site.gdd.init();
        site.serve();
        Some(site)
    }

    /// The same with neither store nor daemon.
    ///
    /// # Panics
    /// As [`Site::new`].
    #[must_use]
    pub fn without_daemon(release: Release) -> Option<Self> {
        let folder = workspace::scratch("bacula");
        let store = folder.path().join("store");
        Self::at(release, folder, &store)
    }

    /// The same, with neither store nor daemon, for a store in `store`.
    ///
    /// # Panics
    /// As [`Site::new`].
    #[must_use]
    pub fn with_store(release: Release, store: &Path) -> Option<Self> {
        Self::at(release, workspace::scratch("bacula"), store)
    }

    fn at(release: Release, folder: TempDir, store: &Path) -> Option<Self> {
        if let Some(reason) = gdd_rig::switched_off() {
            println!("{reason}");
            return None;
        }
        let packages = Packages::of(release, &Progress::printed()).expect("Bacula is there");
        let drivers = folder.path().join("drivers");
        std::fs::create_dir(&drivers).expect("a new folder takes a folder");
        let driver = drivers.join(packages.driver_file("cloud"));
        std::fs::copy(workspace::driver(), driver).expect("the driver was built: `cargo build --release`");
        let socket = folder.path().join("gdd.sock");
        let words = ["--socket", socket.to_str().expect("the build folder's name is text")];
        let gdd = Gdd::at(store).with_flags(&words);
        Some(Self { gdd, packages, serving: None, folder })
    }

    /// The folder of everything that is not Bacula's.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Start the daemon.
    ///
    /// # Panics
    /// When one runs already, or it does not become ready.
    pub fn serve(&mut self) {
        assert!(self.serving.is_none(), "one daemon at a time");
        self.serving = Some(Serving::start(&self.gdd, self.folder.path()));
    }

    /// Have a daemon that was started otherwise, on this store and in this folder.
    ///
    /// # Panics
    /// When one runs already.
    pub fn adopt(&mut self, serving: Serving) {
        assert!(self.serving.is_none(), "one daemon at a time");
        self.serving = Some(serving);
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

    /// A Bacula with the deduplicated device and its pool.
    pub fn bacula(&self) -> Builder {
        self.bacula_with(Device::new(DEVICE, "Cloud"), Pool::new(POOL, DEVICE).label_format("Dedup-"))
    }

    /// A Bacula with `device` and `pool` of the same names, set otherwise.
    pub fn bacula_with(&self, device: Device, pool: Pool) -> Builder {
        let socket = self.folder.path().join("gdd.sock");
        let plugins = self.folder.path().join("drivers");
        Rig::builder()
            .packages(self.packages.clone())
            .folder(self.folder.path())
            .storage_plugins(&plugins)
            .env(Daemon::Storage, "GDD_SOCKET", &socket.to_string_lossy())
            .device(device)
            .pool(pool)
    }

    /// A number of `gdd stats --json`, such as `streams` or `stored_bytes`.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn stat(&self, key: &str) -> u64 {
        let stats = self.gdd.json(&["stats"]);
        stats[key].as_u64().unwrap_or_else(|| unreachable!("no number {key:?} in {stats}"))
    }

    /// Bytes of file data that have come from sessions that are connected now.
    ///
    /// # Panics
    /// When the daemon does not answer.
    #[must_use]
    pub fn bytes_in(&self) -> u64 {
        self.of_sessions("bytes_in")
    }

    /// Bytes of file data that were given back to sessions that are connected now.
    ///
    /// # Panics
    /// When the daemon does not answer.
    #[must_use]
    pub fn bytes_out(&self) -> u64 {
        self.of_sessions("bytes_out")
    }

    fn of_sessions(&self, key: &str) -> u64 {
        let status = self.gdd.json(&["status"]);
        let sessions = status["services"]["storage"]["sessions"].as_array().cloned().unwrap_or_default();
        sessions.iter().filter_map(|session| session[key].as_u64()).sum()
    }

    /// Stop the daemon well, and read and verify the whole store.
    ///
    /// # Panics
    /// When the daemon ends badly, or the store is not clean.
    pub fn stop_and_check(&mut self) {
        self.daemon().stop();
        self.gdd.expect(0, &["fsck"]);
    }
}

/// Restore everything that `jobs` saved of `tree`, and demand that it is equal.
///
/// # Panics
/// When the restore fails, or anything differs.
#[track_caller]
pub fn assert_restored(rig: &Rig, jobs: &[&JobResult], tree: &Path) {
    let ids: Vec<_> = jobs.iter().map(|job| job.id).collect();
    let back = rig.restore(&ids).expect("a restore runs");
    back.result.clone().demand_ok().expect("the restore ends well");
    assert_equal(tree, &back.path(tree));
}

/// Both trees are equal; otherwise the differences are the message.
///
/// # Panics
/// When they are not.
#[track_caller]
pub fn assert_equal(original: &Path, restored: &Path) {
    let differences = gdd_rig::compare(original, restored).expect("both trees can be read");
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

/// A job that must not have ended well: its log has each of `words`.
///
/// # Panics
/// When it did end well, or a word is missing.
#[track_caller]
pub fn assert_failed(job: &JobResult, words: &[&str]) {
    assert!("fE".contains(job.status) && job.console_status == job.status, "{job:?}");
    assert!(!job.log.contains("Backup OK") && !job.log.contains("Restore OK"), "{}", job.log);
    for word in words {
        assert!(job.log.contains(word), "no {word:?} in\n{}", job.log);
    }
}

/// The bytes of a volume's file.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn volume_size(rig: &Rig, volume: &str) -> u64 {
    let file: PathBuf = rig.volume_file(DEVICE, volume).expect("the device is there");
    std::fs::metadata(file).expect("the volume is there").len()
}
