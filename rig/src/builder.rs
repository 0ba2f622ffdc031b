//! The settings of a rig, checked before anything is written: what Bacula would refuse with a line number in a
//! generated file is refused here with the name that is wrong.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::settings::{Device, FileSet, Job, Pool};
use crate::{Daemon, Error, Packages, Progress, Release, Result, Rig};

/// A rig to be.
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    pub(crate) release: Release,
    pub(crate) packages: Option<Packages>,
    pub(crate) folder: Option<PathBuf>,
    pub(crate) keep: bool,
    pub(crate) progress: Progress,
    pub(crate) devices: Vec<Device>,
    pub(crate) pools: Vec<Pool>,
    pub(crate) file_sets: Vec<FileSet>,
    pub(crate) jobs: Vec<Job>,
    pub(crate) clients: u8,
    pub(crate) storage_plugins: Option<PathBuf>,
    pub(crate) file_plugins: Option<PathBuf>,
    pub(crate) environment: Vec<(Daemon, String, String)>,
    pub(crate) lines: Vec<(Daemon, String)>,
    pub(crate) messages: Vec<(Daemon, String)>,
    pub(crate) privileges: Vec<(Daemon, String)>,
    pub(crate) debug_level: u32,
    pub(crate) job_limit: Duration,
    pub(crate) call_limit: Duration,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            release: Release::default(),
            packages: None,
            folder: None,
            keep: std::env::var_os("GDD_RIG_KEEP").is_some(),
            progress: Progress::default(),
            devices: Vec::new(),
            pools: Vec::new(),
            file_sets: Vec::new(),
            jobs: Vec::new(),
            clients: 1,
            storage_plugins: None,
            file_plugins: None,
            environment: Vec::new(),
            lines: Vec::new(),
            messages: Vec::new(),
            privileges: Vec::new(),
            debug_level: 0,
            job_limit: Duration::from_secs(300),
            call_limit: Duration::from_secs(60),
        }
    }
}

impl Builder {
    /// Which Bacula; 9.6.7 unless said.
    pub fn bacula(mut self, release: Release) -> Self {
        self.release = release;
        self
    }

    /// A Bacula that has been looked up before, instead of looking again.
    pub fn packages(mut self, packages: Packages) -> Self {
        self.release = packages.release();
        self.packages = Some(packages);
        self
    }

    /// The rig's folder is made inside `folder` instead of the system's place for temporary files.
    pub fn folder(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// The folder stays when the rig goes; so it does with `GDD_RIG_KEEP` in the environment, and after a panic.
    pub fn keep(mut self) -> Self {
        self.keep = true;
        self
    }

    /// Where progress lines go; standard output unless said.
    pub fn progress(mut self, progress: Progress) -> Self {
        self.progress = progress;
        self
    }

    /// Add a device. A rig without any gets a plain one named `File`.
    pub fn device(mut self, device: Device) -> Self {
        self.devices.push(device);
        self
    }

    /// Add a pool. A rig without any gets one named `Default` on the first device.
    pub fn pool(mut self, pool: Pool) -> Self {
        self.pools.push(pool);
        self
    }

    /// Add a file set.
    pub fn file_set(mut self, file_set: FileSet) -> Self {
        self.file_sets.push(file_set);
        self
    }

    /// Add a job.
    pub fn job(mut self, job: Job) -> Self {
        self.jobs.push(job);
        self
    }

    /// Add a file set and a backup job of it, both named `name`, for the tree at `path`, to the first pool.
    pub fn backup(self, name: &str, path: &Path) -> Self {
        self.file_set(FileSet::new(name).include(path)).job(Job::backup(name, name))
    }

    /// How many file daemons; 1 unless said.
    pub fn clients(mut self, count: u8) -> Self {
        self.clients = count;
        self
    }

    /// The folder in which the storage daemon and its tools look for device drivers ([`Packages::driver_file`]).
    pub fn storage_plugins(mut self, folder: &Path) -> Self {
        self.storage_plugins = Some(folder.into());
        self
    }

    /// The folder in which the file daemons look for plugins (`*-fd.so`).
    pub fn file_plugins(mut self, folder: &Path) -> Self {
        self.file_plugins = Some(folder.into());
        self
    }

    /// An environment variable of one daemon; that of the storage daemon is also its tools'.
    pub fn env(mut self, daemon: Daemon, name: &str, value: &str) -> Self {
        self.environment.push((daemon, name.into(), value.into()));
        self
    }

    /// Any other directive of a daemon's own resource.
    pub fn line(mut self, daemon: Daemon, line: &str) -> Self {
        self.lines.push((daemon, line.into()));
        self
    }

    /// Which messages a storage or file daemon sends to the director, in the words of its Messages resource; all but
    /// `skipped` and `restored` unless said.
    pub fn messages(mut self, daemon: Daemon, types: &str) -> Self {
        self.messages.push((daemon, types.into()));
        self
    }

    /// Start one daemon with other privileges: options of setpriv(1), such as `--reuid=65534`.
    pub fn privileges(mut self, daemon: Daemon, options: &[&str]) -> Self {
        self.privileges.extend(options.iter().map(|&option| (daemon, option.into())));
        self
    }

    /// Bacula's debug level, for the daemons' logs; 0 unless said.
    pub fn debug_level(mut self, level: u32) -> Self {
        self.debug_level = level;
        self
    }

    /// How long a job may take; 300 s unless said.
    pub fn job_limit(mut self, limit: Duration) -> Self {
        self.job_limit = limit;
        self
    }

    /// How long a console call, a tool or a start may take; 60 s unless said.
    pub fn call_limit(mut self, limit: Duration) -> Self {
        self.call_limit = limit;
        self
    }

    /// Install what is missing, write the configuration, make the catalog, start the daemons, wait until they answer.
    ///
    /// # Errors
    /// A setting is wrong, Bacula cannot be installed, or a daemon does not start (its log is in the error).
    pub fn start(mut self) -> Result<Rig> {
        self.complete();
        self.check()?;
        Rig::start(self)
    }

    /// Add the device and the pool that everything needs.
    fn complete(&mut self) {
        if self.devices.is_empty() {
            self.devices.push(Device::file("File"));
        }
        if self.pools.is_empty() {
            self.pools.push(Pool::new("Default", &self.devices[0].name).label_format("Default-"));
        }
    }

    fn check(&self) -> Result {
        let devices = names("device", self.devices.iter().map(|device| &device.name))?;
        let pools = names("pool", self.pools.iter().map(|pool| &pool.name))?;
        let file_sets = names("file set", self.file_sets.iter().map(|file_set| &file_set.name))?;
        names("job", self.jobs.iter().map(|job| &job.name))?;
        for pool in &self.pools {
            known("pool", &pool.name, "device", Some(&pool.device), &devices)?;
        }
        for job in &self.jobs {
            known("job", &job.name, "pool", job.pool.as_ref(), &pools)?;
            known("job", &job.name, "file set", job.file_set.as_ref(), &file_sets)?;
            if job.client >= self.clients {
                let (name, index, count) = (&job.name, job.client, self.clients);
                return Err(Error::Settings(format!("job {name:?} wants client {index}, there are {count}")));
            }
        }
        Ok(())
    }
}

/// The names of one kind: unique, and plain enough for a console command without quotes.
fn names<'a>(kind: &str, all: impl Iterator<Item = &'a String>) -> Result<BTreeSet<&'a str>> {
    let mut names = BTreeSet::new();
    for name in all {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > 100 || !name.chars().all(plain) {
            return Err(Error::Settings(format!("{kind} {name:?}: expected letters, digits, - _ and .")));
        }
        if !names.insert(name.as_str()) || (kind == "job" && name == "Restore") {
            return Err(Error::Settings(format!("there are two {kind}s named {name:?}")));
        }
    }
    Ok(names)
}

fn known(kind: &str, name: &str, what: &str, wanted: Option<&String>, there: &BTreeSet<&str>) -> Result {
    match wanted {
        Some(wanted) if !there.contains(wanted.as_str()) => Err(Error::Settings(format!(
            "{kind} {name:?} wants {what} {wanted:?}; there is {}",
            there.iter().copied().collect::<Vec<_>>().join(", ")
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(builder: Builder) -> String {
        builder.check().unwrap_err().to_string()
    }

    #[test]
    fn names_that_lead_nowhere_are_refused() {
        let error = refused(Builder::default().device(Device::file("A")).pool(Pool::new("P", "B")));
        assert!(error.contains("\"P\" wants device \"B\"; there is A"), "{error}");
        let error = refused(Builder::default().job(Job::backup("j", "nothing")));
        assert!(error.contains("file set \"nothing\""), "{error}");
        let error = refused(Builder::default().backup("j", Path::new("/")).job(Job::backup("j", "j")));
        assert!(error.contains("two jobs"), "{error}");
        let error = refused(Builder::default().device(Device::file("two words")));
        assert!(error.contains("two words"), "{error}");
        let error =
            refused(Builder::default().file_set(FileSet::new("f")).job(Job::backup("j", "f").client(1)));
        assert!(error.contains("client 1"), "{error}");
    }

    #[test]
    fn nothing_but_a_backup_is_enough() {
        let mut builder = Builder::default().backup("j", Path::new("/"));
        builder.complete();
        builder.check().unwrap();
        assert_eq!((builder.devices.len(), builder.pools.len()), (1, 1));
    }
}
