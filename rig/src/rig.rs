//! A running Bacula: its start, its daemons' lives, its end.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::builder::Builder;
use crate::config::{self, Site};
use crate::daemon::{Running, tail};
use crate::settings::{Device, Pool};
use crate::{Daemon, Error, Packages, Progress, Result, Signal, catalog};

/// How long a daemon may take to end when it is asked to; then it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Director, storage daemon and file daemons, running. It can be shared between threads.
///
/// Dropped, it kills them and removes its folder; after a panic the folder stays, and is named.
#[derive(Debug)]
pub struct Rig {
    pub(crate) packages: Packages,
    pub(crate) site: Site,
    pub(crate) devices: Vec<Device>,
    pub(crate) pools: Vec<Pool>,
    pub(crate) progress: Progress,
    pub(crate) job_limit: Duration,
    pub(crate) call_limit: Duration,
    settings: Builder,
    // Dropped in this order: nobody writes to the folder while it is removed.
    daemons: Mutex<BTreeMap<Daemon, Running>>,
    folder: Option<TempDir>,
}

impl Rig {
    /// A rig to be.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Start what `settings` says.
    pub(crate) fn start(settings: Builder) -> Result<Self> {
        let began = Instant::now();
        let packages = match settings.packages.clone() {
            Some(packages) => packages,
            None => Packages::of(settings.release, &settings.progress)?,
        };
        let parent = settings.folder.clone().unwrap_or_else(std::env::temp_dir);
        let folder = tempfile::Builder::new().prefix("rig-").tempdir_in(&parent);
        let mut folder =
            folder.map_err(Error::io(format!("cannot make a folder in {}", parent.display())))?;
        folder.disable_cleanup(settings.keep);
        let rig = Self {
            packages,
            site: Site::new(folder.path(), settings.clients, &settings.devices)?,
            devices: settings.devices.clone(),
            pools: settings.pools.clone(),
            progress: settings.progress.clone(),
            job_limit: settings.job_limit,
            call_limit: settings.call_limit,
            settings,
            daemons: Mutex::default(),
            folder: Some(folder),
        };
        let started = rig.launch();
        if let Err(error) = started {
            rig.leave_folder("the start failed");
            return Err(error);
        }
        rig.progress.say(format!("Bacula runs after {:.1} s", began.elapsed().as_secs_f64()));
        Ok(rig)
    }

    fn launch(&self) -> Result {
        config::write(&self.site, &self.settings)?;
        catalog::create(&self.catalog(), &self.packages.catalog_sql(), self.call_limit)?;
        let daemons: Vec<_> = Daemon::all(self.settings.clients).collect();
        for &daemon in &daemons {
            let running = self.spawn(daemon)?;
            self.daemons().insert(daemon, running);
        }
        for daemon in daemons {
            self.wait_until_listening(daemon)?;
        }
        self.console_expecting("version", "Version").map(drop)
    }

    /// Start `daemon`, which has ended or was stopped, and wait until it listens.
    ///
    /// # Errors
    /// It does not start; its log is in the error.
    pub fn start_daemon(&self, daemon: Daemon) -> Result {
        self.daemons().remove(&daemon);
        let running = self.spawn(daemon)?;
        self.daemons().insert(daemon, running);
        self.wait_until_listening(daemon)
    }

    /// End `daemon` as a service manager does: ask, then kill.
    ///
    /// # Errors
    /// It is not there.
    pub fn stop_daemon(&self, daemon: Daemon) -> Result {
        let mut running = self.daemons().remove(&daemon).ok_or_else(|| self.absent(daemon))?;
        running.signal(Signal::Terminate)?;
        if !running.wait(STOP_LIMIT)? {
            self.progress.say(format!("{} was asked to end and had to be killed", daemon.name()));
        }
        Ok(())
    }

    /// Stop `daemon` if it runs, and start it.
    ///
    /// # Errors
    /// It does not start; its log is in the error.
    pub fn restart(&self, daemon: Daemon) -> Result {
        let runs = self.daemons().get_mut(&daemon).is_some_and(|running| running.demand_alive().is_ok());
        if runs {
            self.stop_daemon(daemon)?;
        }
        self.start_daemon(daemon)
    }

    /// Send it a signal; after [`Signal::Kill`] it is gone when this returns.
    ///
    /// # Errors
    /// It is not there.
    pub fn signal(&self, daemon: Daemon, signal: Signal) -> Result {
        let mut daemons = self.daemons();
        let running = daemons.get_mut(&daemon).ok_or_else(|| self.absent(daemon))?;
        running.signal(signal)?;
        if signal == Signal::Kill {
            running.wait(STOP_LIMIT)?;
        }
        Ok(())
    }

    /// Its process id; `None` when it has ended.
    #[must_use]
    pub fn pid(&self, daemon: Daemon) -> Option<u32> {
        let mut daemons = self.daemons();
        let running = daemons.get_mut(&daemon)?;
        running.demand_alive().ok().map(|()| running.pid())
    }

    /// The log of `daemon`: all that it printed.
    #[must_use]
    pub fn log(&self, daemon: Daemon) -> PathBuf {
        self.site.log(&daemon.name())
    }

    /// The rig's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.site.folder
    }

    /// The Bacula that runs.
    #[must_use]
    pub fn packages(&self) -> &Packages {
        &self.packages
    }

    /// Where lines of progress go.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Every row that the catalog answers to `sql`, as text.
    ///
    /// # Errors
    /// sqlite3 refuses it.
    pub fn query_catalog(&self, sql: &str) -> Result<Vec<Vec<String>>> {
        catalog::query(&self.catalog(), sql, self.call_limit)
    }

    /// The catalog's file.
    #[must_use]
    pub fn catalog(&self) -> PathBuf {
        self.site.working(&Daemon::Director.name()).join("bacula.db")
    }

    /// An error, with its log, when `daemon` has ended.
    pub(crate) fn demand_alive(&self, daemon: Daemon) -> Result {
        self.daemons().get_mut(&daemon).ok_or_else(|| self.absent(daemon))?.demand_alive()
    }

    /// The last lines of every log, for errors about deadlines.
    pub(crate) fn tails(&self) -> String {
        let names = Daemon::all(self.settings.clients).map(Daemon::name).chain(["jobs".to_owned()]);
        names.map(|name| format!("--- {name}:\n{}\n", tail(&self.site.log(&name)))).collect()
    }

    /// The environment that the settings have for `daemon`.
    pub(crate) fn environment(&self, daemon: Daemon) -> impl Iterator<Item = (&str, &str)> {
        let ours = self.settings.environment.iter().filter(move |entry| entry.0 == daemon);
        ours.map(|entry| (entry.1.as_str(), entry.2.as_str()))
    }

    fn spawn(&self, daemon: Daemon) -> Result<Running> {
        let working = self.site.working(&daemon.name());
        remove_pid_files(&working);
        let privileges = self.settings.privileges.iter().filter(|entry| entry.0 == daemon);
        let privileges = privileges.map(|entry| entry.1.as_str());
        let mut command: Command = self.packages.tied_with(daemon.program(), privileges)?;
        command.arg("-f").arg("-c").arg(self.site.file(&daemon.configuration())).current_dir(&working);
        if self.settings.debug_level > 0 {
            command.args(["-d", &self.settings.debug_level.to_string(), "-dt"]);
        }
        command.envs(self.environment(daemon));
        Running::start(command, daemon.name(), &self.log(daemon))
    }

    fn wait_until_listening(&self, daemon: Daemon) -> Result {
        let at = (self.site.address, self.site.port(daemon));
        let mut daemons = self.daemons();
        let running = daemons.get_mut(&daemon).ok_or_else(|| self.absent(daemon))?;
        running.wait_until_listening(at, self.call_limit)
    }

    fn daemons(&self) -> MutexGuard<'_, BTreeMap<Daemon, Running>> {
        self.daemons.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn absent(&self, daemon: Daemon) -> Error {
        let log = self.log(daemon);
        let reason = "was stopped or never started".into();
        Error::Daemon { daemon: daemon.name(), reason, tail: tail(&log), log }
    }

    fn leave_folder(mut self, why: &str) {
        self.keep_folder(why);
    }

    fn keep_folder(&mut self, why: &str) {
        if let Some(folder) = &mut self.folder {
            folder.disable_cleanup(true);
            self.progress.say(format!("{why}; everything is left in {}", folder.path().display()));
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.daemons().clear();
        if std::thread::panicking() {
            self.keep_folder("the test failed");
        } else if self.settings.keep {
            self.keep_folder("asked to keep the folder");
        }
    }
}

/// A killed daemon leaves its file; another process may have its number by now, and the next start would take that one
/// for itself.
fn remove_pid_files(working: &Path) {
    for entry in fs::read_dir(working).into_iter().flatten().flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "pid") {
            let _gone = fs::remove_file(entry.path());
        }
    }
}
