//! Debian's unmodified Bacula: installed with apt-get where it is missing, found where it is, its versions told.
//!
//! Nothing of it is started or reconfigured: a policy-rc.d file (Debian Policy 9.3.3.1's gate for services) stands in
//! the way while apt works, and the rig uses configuration files of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::geteuid;

use crate::execution::Execution;
use crate::{Error, Progress, Result, spawner, trixie};

/// What Debian 12 calls the parts; `bacula-bscan` has bls, bextract, bscan and bcopy in it or beside it.
const PACKAGES: [&str; 7] = [
    "bacula-director-sqlite3",
    "bacula-director",
    "bacula-sd",
    "bacula-fd",
    "bacula-console",
    "bacula-bscan",
    "sqlite3",
];
/// The director's package wants a mail program, and that a mail server: by default one that runs as a daemon. This one
/// has no daemon. It is not installed where there is a mail server.
const MAIL: &str = "dma";
const SENDMAIL: &str = "/usr/sbin/sendmail";
/// The programs that the rig runs.
pub(crate) const PROGRAMS: [&str; 8] =
    ["bacula-dir", "bacula-sd", "bacula-fd", "bconsole", "bls", "bextract", "bscan", "bcopy"];

const POLICY: &str = "/usr/sbin/policy-rc.d";
const SQL: &str = "usr/share/dbconfig-common/data/bacula-director-sqlite3/install/sqlite3";

/// apt may have to wait for another apt, then for a mirror.
const INSTALL_LIMIT: Duration = Duration::from_secs(900);
const QUERY_LIMIT: Duration = Duration::from_secs(30);

/// Which Bacula.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Release {
    /// 9.6.7, as Debian 12 has it, installed on this machine.
    #[default]
    V9,
    /// 15.0.3, as Debian 13 has it, in a tree of its own ([`Packages::trixie`]).
    V15,
}

/// An installed Bacula.
#[derive(Clone, Debug)]
pub struct Packages {
    release: Release,
    /// The tree it lies in; `None` for the machine's own.
    tree: Option<PathBuf>,
    version: String,
}

impl Packages {
    /// The Bacula of `release`, installed first where it is missing.
    ///
    /// # Errors
    /// As [`Packages::ensure`] and [`Packages::trixie`].
    pub fn of(release: Release, progress: &Progress) -> Result<Self> {
        match release {
            Release::V9 => Self::ensure(progress),
            Release::V15 => Self::trixie(progress),
        }
    }

    /// The machine's own Bacula 9, installed with apt-get where it is missing.
    ///
    /// # Errors
    /// It is missing and this is not root, or apt-get fails (no network, not Debian 12), or another version is there.
    pub fn ensure(progress: &Progress) -> Result<Self> {
        if !missing().is_empty() {
            let mail = (!Path::new(SENDMAIL).exists()).then_some(MAIL);
            let packages: Vec<_> = PACKAGES.into_iter().chain(mail).collect();
            install(&packages, progress)?;
        }
        let missing = missing();
        if !missing.is_empty() {
            let what = missing.join(", ");
            return Err(Error::Packages(format!("Bacula's packages are installed, but there is no {what}")));
        }
        let version = version_of(&own_program("bacula-sd"))?;
        if !version.starts_with("9.") {
            return Err(Error::Packages(format!(
                "expected Bacula 9 (Debian 12), found {version}; a machine has one Bacula at a time"
            )));
        }
        progress.say(format!("Bacula {version} from this machine's packages"));
        Ok(Self { release: Release::V9, tree: None, version })
    }

    /// Debian 13's Bacula 15 in a tree of its own under `GDD_RIG_CACHE`, or target/bacula-15; made by debootstrap where
    /// it is missing (root and network are needed then, and about a minute). The machine's own packages stay as they
    /// are.
    ///
    /// # Errors
    /// It cannot be made, with the reason and the remedy.
    pub fn trixie(progress: &Progress) -> Result<Self> {
        let tree = trixie::ensure(progress)?;
        let packages = Self { release: Release::V15, tree: Some(tree), version: String::new() };
        let version = version_of(&packages.words("bacula-sd")?)?;
        if !version.starts_with("15.") {
            return Err(Error::Packages(format!("expected Bacula 15 in Debian 13's tree, found {version}")));
        }
        progress.say(format!("Bacula {version} from Debian 13's packages, in a tree of its own"));
        Ok(Self { version, ..packages })
    }

    /// Which release it is.
    #[must_use]
    pub fn release(&self) -> Release {
        self.release
    }

    /// Its version as it says itself, such as `9.6.7`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The file name under which this version looks for a storage driver in `slot` (`cloud`).
    #[must_use]
    pub fn driver_file(&self, slot: &str) -> String {
        format!("bacula-sd-{slot}-driver-{}.so", self.version)
    }

    /// Where a file of the packages lies; `path` is relative to the root that they are installed in.
    #[must_use]
    pub fn file(&self, path: &str) -> PathBuf {
        self.tree.as_deref().unwrap_or_else(|| Path::new("/")).join(path)
    }

    /// The SQL that makes an empty catalog, as the package itself uses it.
    pub(crate) fn catalog_sql(&self) -> PathBuf {
        self.file(SQL)
    }

    /// `program` (one of Bacula's), ready for arguments.
    ///
    /// # Errors
    /// The tree is damaged.
    pub fn command(&self, program: &str) -> Result<Command> {
        let words = self.words(program)?;
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        Ok(command)
    }

    /// The same, tied to the life of this process.
    pub(crate) fn tied(&self, program: &str) -> Result<Command> {
        self.tied_with(program, std::iter::empty())
    }

    /// The same, with the `privileges` that these options of setpriv(1) give it.
    pub(crate) fn tied_with<'a>(
        &self,
        program: &str,
        privileges: impl Iterator<Item = &'a str>,
    ) -> Result<Command> {
        let mut command = Command::new(spawner::TIED[0]);
        command.args(privileges).args(&spawner::TIED[1..]).args(self.words(program)?);
        Ok(command)
    }

    fn words(&self, program: &str) -> Result<Vec<PathBuf>> {
        match &self.tree {
            None => Ok(own_program(program)),
            Some(tree) => trixie::words(tree, program),
        }
    }
}

/// Install packages of this machine's Debian, and start nothing.
///
/// # Errors
/// This is not root, or apt-get fails.
pub(crate) fn install(packages: &[&str], progress: &Progress) -> Result {
    let line = format!("apt-get install --no-install-recommends {}", packages.join(" "));
    if !geteuid().is_root() {
        return Err(Error::Packages(format!(
            "packages are missing and only root can install them: `{line}`"
        )));
    }
    let _alone = lock(&std::env::temp_dir().join("gdd-rig-apt.lock"))?;
    let _policy = Policy::stand()?;
    progress.say(format!("installing, without starting any service: {line}"));
    let error = match apt_get("install", packages) {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    progress.say(format!("that failed ({}); once more with fresh package lists", first_line(&error)));
    apt_get("update", &[]).and_then(|()| apt_get("install", packages)).map_err(|error| {
        let hint = "is there a network, and is this Debian 12?";
        Error::Packages(format!("`{line}` failed; {hint}\n{error}"))
    })
}

fn apt_get(verb: &str, packages: &[&str]) -> Result {
    let mut command = Command::new("apt-get");
    command.args(["-y", "-o", "DPkg::Lock::Timeout=600", "-o", "Acquire::Retries=2", verb]);
    if verb == "install" {
        command.arg("--no-install-recommends").args(packages);
    }
    command.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C.UTF-8");
    Execution::new(command, INSTALL_LIMIT).succeed().map(drop)
}

fn first_line(error: &Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// Wait until this process alone holds the lock `path`; it is freed when the file is dropped.
pub(crate) fn lock(path: &Path) -> Result<File> {
    let what = || format!("cannot lock {}", path.display());
    let file = File::create(path).map_err(Error::io(what()))?;
    file.lock().map_err(Error::io(what()))?;
    Ok(file)
}

/// The gate in the way of services, where the machine has none of its own; removed on drop.
struct Policy {
    ours: bool,
}

impl Policy {
    fn stand() -> Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        if Path::new(POLICY).exists() {
            return Ok(Self { ours: false });
        }
        let what = || format!("cannot write {POLICY}");
        fs::write(POLICY, "#!/bin/sh\nexit 101\n").map_err(Error::io(what()))?;
        fs::set_permissions(POLICY, PermissionsExt::from_mode(0o755)).map_err(Error::io(what()))?;
        Ok(Self { ours: true })
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        if self.ours {
            let _gone = fs::remove_file(POLICY);
        }
    }
}

/// What of the machine's own Bacula is not there.
fn missing() -> Vec<String> {
    let programs = PROGRAMS.iter().map(|program| PathBuf::from("/usr/sbin").join(program));
    let files = programs.chain([PathBuf::from("/usr/bin/sqlite3"), Path::new("/").join(SQL)]);
    files.filter(|path| !path.exists()).map(|path| path.display().to_string()).collect()
}

fn own_program(program: &str) -> Vec<PathBuf> {
    vec![Path::new("/usr/sbin").join(program)]
}

/// The number after `Version: ` in what the program says about itself.
fn version_of(words: &[PathBuf]) -> Result<String> {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).arg("-?");
    let printed = Execution::new(command, QUERY_LIMIT).finish()?;
    let text = printed.all();
    let version = text.split("Version:").nth(1).and_then(|rest| rest.split_whitespace().next());
    version.map(str::to_owned).ok_or_else(|| {
        Error::Packages(format!("`{}` does not name its version; it printed:\n{text}", printed.line))
    })
}
