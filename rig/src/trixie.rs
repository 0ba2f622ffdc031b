//! Debian 13's Bacula 15 on a machine that is not Debian 13, without a container and without chroot.
//!
//! debootstrap resolves and fetches the packages, checks their signatures, and runs nothing of them (`--foreign`). They
//! are unpacked beside each other, and a program is run by the tree's own loader with the tree's libraries
//! (`ld.so --library-path`, ld.so(8)). So paths in the rig's configuration mean the same inside and outside, and no
//! mount, no user and no service is needed. Bacula's plugins are opened by path and find the same libraries.
//!
//! The director's package drags in the PostgreSQL catalog. Both catalogs are unpacked, and the SQLite one takes the
//! name that the programs load, which Debian does by letting the packages conflict.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::geteuid;

use crate::execution::Execution;
use crate::packages::{PROGRAMS, install, lock};
use crate::{Error, Progress, Result};

const INCLUDE: &str = "bacula-director,bacula-director-sqlite3,bacula-common-sqlite3,bacula-sd,bacula-fd,\
                       bacula-console,bacula-bscan";
/// Archives that the programs need; the rest of the base system is not unpacked.
const WANTED: [&str; 3] = ["bacula-", "lib", "zlib1g"];
/// The last thing made: with it the tree is whole.
const READY: &str = "ready";

const FETCH_LIMIT: Duration = Duration::from_secs(900);
const UNPACK_LIMIT: Duration = Duration::from_secs(60);

/// The tree, made where it is missing.
pub(crate) fn ensure(progress: &Progress) -> Result<PathBuf> {
    let cache = cache();
    let tree = cache.join("tree");
    if cache.join(READY).exists() {
        return Ok(tree);
    }
    fs::create_dir_all(&cache).map_err(Error::io(format!("cannot make {}", cache.display())))?;
    let _alone = lock(&cache.join("lock"))?;
    if cache.join(READY).exists() {
        return Ok(tree); // Another process made it while we waited.
    }
    if !geteuid().is_root() {
        let remedy = "run once as root, or set GDD_RIG_CACHE to a folder in which root has made it";
        return Err(Error::Packages(format!(
            "{} has no Bacula 15, and debootstrap needs root: {remedy}",
            cache.display()
        )));
    }
    if !Path::new("/usr/sbin/debootstrap").exists() {
        install(&["debootstrap", "debian-archive-keyring"], progress)?;
    }
    let base = cache.join("base");
    for old in [&base, &tree] {
        remove(old)?;
    }
    progress.say(format!("fetching Debian 13's Bacula 15 into {} (once; about a minute)", cache.display()));
    fetch(&base)?;
    unpack(&base.join("var/cache/apt/archives"), &tree)?;
    use_sqlite(&tree)?;
    check(&tree)?;
    remove(&base)?;
    fs::write(cache.join(READY), "").map_err(Error::io("cannot mark the tree of Bacula 15 as ready"))?;
    Ok(tree)
}

/// The words that run `program` of the tree.
pub(crate) fn words(tree: &Path, program: &str) -> Result<Vec<PathBuf>> {
    let libraries = format!("{}:{}", multiarch(tree)?.display(), tree.join("usr/lib/bacula").display());
    let program = tree.join("usr/sbin").join(program);
    Ok(vec![loader(tree)?, "--library-path".into(), libraries.into(), program])
}

fn cache() -> PathBuf {
    let target = || {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| Path::new("."));
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from)
    };
    std::env::var_os("GDD_RIG_CACHE").map_or_else(|| target().join("bacula-15"), PathBuf::from)
}

fn fetch(base: &Path) -> Result {
    let mut command = Command::new("debootstrap");
    command.args([
        "--foreign",
        "--variant=minbase",
        "--force-check-gpg",
        &format!("--include={INCLUDE}"),
        "trixie",
    ]);
    command.arg(base);
    command.args(std::env::var_os("GDD_RIG_MIRROR"));
    Execution::new(command, FETCH_LIMIT).succeed().map(drop).map_err(|error| {
        Error::Packages(format!(
            "debootstrap cannot fetch Debian 13's Bacula 15; is there a network? GDD_RIG_MIRROR names another \
             mirror\n{error}"
        ))
    })
}

fn unpack(archives: &Path, tree: &Path) -> Result {
    let what = || format!("cannot list {}", archives.display());
    for entry in fs::read_dir(archives).map_err(Error::io(what()))? {
        let entry = entry.map_err(Error::io(what()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".deb") && WANTED.iter().any(|wanted| name.starts_with(wanted)) {
            let mut command = Command::new("dpkg-deb");
            command.arg("--extract").arg(entry.path()).arg(tree);
            Execution::new(command, UNPACK_LIMIT).succeed()?;
        }
    }
    Ok(())
}

/// Let the name that the programs load be the SQLite catalog.
fn use_sqlite(tree: &Path) -> Result {
    let folder = tree.join("usr/lib/bacula");
    let found = |prefix: &str| -> Result<String> {
        let names = fs::read_dir(&folder).map_err(Error::io(format!("cannot list {}", folder.display())))?;
        let mut names = names.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        names
            .find(|name| name.starts_with(prefix))
            .ok_or_else(|| Error::Packages(format!("expected {prefix}* in {}, found none", folder.display())))
    };
    let sqlite = found("libbaccats-sqlite3-")?;
    let loaded = folder.join(sqlite.replacen("-sqlite3", "", 1));
    if loaded.symlink_metadata().is_ok() {
        fs::remove_file(&loaded).map_err(Error::io(format!("cannot replace {}", loaded.display())))?;
    }
    std::os::unix::fs::symlink(&sqlite, &loaded)
        .map_err(Error::io(format!("cannot make {}", loaded.display())))
}

/// Every program finds all its libraries, and finds them in the tree.
fn check(tree: &Path) -> Result {
    for program in PROGRAMS {
        let words = words(tree, program)?;
        let mut command = Command::new(&words[0]);
        command.arg("--list").args(&words[1..]);
        let printed = Execution::new(command, UNPACK_LIMIT).succeed()?;
        let inside = tree.to_string_lossy();
        let strange = printed.output.lines().find(|line| line.contains("=> ") && !line.contains(&*inside));
        if let Some(line) = strange {
            return Err(Error::Packages(format!(
                "{program} of Debian 13 uses a library from outside: {line}"
            )));
        }
    }
    Ok(())
}

/// The folder of the architecture's libraries, such as usr/lib/x86_64-linux-gnu.
fn multiarch(tree: &Path) -> Result<PathBuf> {
    first(&tree.join("usr/lib"), |name| name.ends_with("-linux-gnu"))
}

/// The dynamic loader, such as usr/lib64/ld-linux-x86-64.so.2 or usr/lib/ld-linux-aarch64.so.1.
fn loader(tree: &Path) -> Result<PathBuf> {
    let is_loader = |name: &str| name.starts_with("ld-linux");
    first(&tree.join("usr/lib64"), is_loader).or_else(|_| first(&tree.join("usr/lib"), is_loader))
}

fn first(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).map_err(Error::io(format!("cannot list {}", folder.display())))?;
    let mut names = entries.flatten().map(|entry| entry.file_name());
    let found = names.find(|name| wanted(&name.to_string_lossy()));
    found.map(|name| folder.join(name)).ok_or_else(|| {
        Error::Packages(format!("{} lacks what the tree of Bacula 15 must have; remove it", folder.display()))
    })
}

fn remove(folder: &Path) -> Result {
    if !folder.exists() {
        return Ok(());
    }
    fs::remove_dir_all(folder).map_err(Error::io(format!("cannot remove {}", folder.display())))
}
