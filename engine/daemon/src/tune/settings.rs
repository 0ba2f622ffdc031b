//! Settings of the kernel that are changed for a while, and put back however that ends.
//!
//! # Invariants
//! - Before the first change, what was found is written to a file in /run and synced. A killed run can be undone from
//!   it; a restart empties /run and forgets the settings with it.
//! - While that file exists no other measurement begins, and while its run lives nobody else undoes it: it is locked.
//! - After each change, and after putting back, the setting is read and compared: the kernel takes some values in
//!   silence and does not keep them.
//! - Only files below /sys and /proc/sys that exist are written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use gdd_tuning::finding::{Trial, Write};
use rustix::fs::FlockOperation;
use serde_json::Value;

use crate::failure::{Failure, Result};

/// Where it is written down, below the root.
const UNDO: &str = "run/gdd-tune.undo";
/// Longer than any trial's list.
const UNDO_SIZE_MAX: u64 = 1 << 16;

/// A trial's settings while it runs. Dropped, also in a panic, it puts them back.
#[derive(Debug)]
pub(super) struct Changed<'trial> {
    root: PathBuf,
    trial: &'trial Trial,
    undo: PathBuf,
    /// Locked as long as this is open.
    _lock: File,
    is_over: bool,
}

impl<'trial> Changed<'trial> {
    /// Write down what was found. Nothing is changed yet.
    ///
    /// # Errors
    /// Another measurement runs, or one was killed; /run cannot be written; a path is not the kernel's.
    pub(super) fn begin(root: &Path, trial: &'trial Trial) -> Result<Self> {
        for write in trial.present.iter().chain(&trial.other) {
            place(root, &write.path)?;
        }
        let undo = root.join(UNDO);
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&undo);
        let mut file = made.map_err(|error| begin_refused(&undo, error))?;
        lock(&file, &undo)?;
        let text = serde_json::to_vec(&trial.present).map_err(io::Error::other);
        let written = text.and_then(|text| file.write_all(&text)).and_then(|()| file.sync_all());
        if let Err(error) = written {
            let _ = fs::remove_file(&undo); // Nothing was changed that it could tell of.
            return Err(Failure::file("write", &undo)(error));
        }
        Ok(Self { root: root.to_owned(), trial, undo, _lock: file, is_over: false })
    }

    /// Change to the other state, or back.
    ///
    /// # Errors
    /// The kernel refuses the value, or does not keep it.
    pub(super) fn set(&self, other: bool) -> Result<()> {
        apply(&self.root, if other { &self.trial.other } else { &self.trial.present })
    }

    /// Put back, and forget.
    ///
    /// # Errors
    /// A setting cannot be put back: it is named, and stays written down.
    pub(super) fn end(mut self) -> Result<()> {
        self.is_over = true;
        self.put_back()
    }

    fn put_back(&self) -> Result<()> {
        apply(&self.root, &self.trial.present).map_err(|failure| {
            Failure::Failed(format!(
                "{}; what was found stands in {}, and gdd tune --restore tries again",
                failure.line(),
                self.undo.display()
            ))
        })?;
        fs::remove_file(&self.undo).map_err(Failure::file("remove", &self.undo))
    }
}

impl Drop for Changed<'_> {
    fn drop(&mut self) {
        if !self.is_over
            && let Err(failure) = self.put_back()
        {
            tracing::error!("{}", failure.line());
        }
    }
}

/// What is wrong when a measurement runs or was killed: the settings are not those that the machine has otherwise.
pub(super) fn trouble(root: &Path) -> Option<String> {
    let undo = root.join(UNDO);
    undo.exists().then(|| in_use(&undo))
}

fn in_use(undo: &Path) -> String {
    format!(
        "{} exists: another measurement is running, or was killed; then gdd tune --restore puts its settings back",
        undo.display()
    )
}

/// Put back what a killed measurement left; returns it.
///
/// # Errors
/// A measurement is running; the file makes no sense; a setting cannot be put back.
pub(super) fn restore(root: &Path) -> Result<Vec<Write>> {
    let undo = root.join(UNDO);
    let file = match File::open(&undo) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Failure::file("read", &undo)(error)),
    };
    lock(&file, &undo)?;
    let mut text = String::new();
    io::Read::read_to_string(&mut io::Read::take(&file, UNDO_SIZE_MAX), &mut text)
        .map_err(Failure::file("read", &undo))?;
    let writes = parse(&text).ok_or_else(|| {
        Failure::Failed(format!(
            "{} makes no sense: put the settings back by hand, or restart the machine, and remove it",
            undo.display()
        ))
    })?;
    apply(root, &writes)?;
    fs::remove_file(&undo).map_err(Failure::file("remove", &undo))?;
    Ok(writes)
}

fn parse(text: &str) -> Option<Vec<Write>> {
    let list: Value = serde_json::from_str(text).ok()?;
    let field = |one: &Value, name: &str| one[name].as_str().map(str::to_owned);
    let write = |one: &Value| Some(Write { path: field(one, "path")?, value: field(one, "value")? });
    list.as_array()?.iter().map(write).collect()
}

fn begin_refused(undo: &Path, error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::Busy(in_use(undo)),
        _ => Failure::file("write down the present settings in", undo)(error),
    }
}

fn lock(file: &File, undo: &Path) -> Result<()> {
    rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        Failure::Busy(format!("{} is locked: a measurement is running; wait for it to end", undo.display()))
    })
}

/// The file of a setting, which must be the kernel's.
fn place(root: &Path, path: &str) -> Result<PathBuf> {
    let allowed = ["/sys/", "/proc/sys/"].iter().any(|prefix| path.starts_with(prefix));
    if !allowed || path.split('/').any(|part| part == "..") {
        return Err(Failure::Failed(format!("{path} is no setting of the kernel's")));
    }
    Ok(root.join(path.trim_start_matches('/')))
}

fn apply(root: &Path, writes: &[Write]) -> Result<()> {
    for Write { path, value } in writes {
        let place = place(root, path)?;
        let file = OpenOptions::new().write(true).truncate(true).open(&place);
        let written = file.and_then(|mut file| file.write_all(format!("{value}\n").as_bytes()));
        written.map_err(Failure::file(&format!("write {value} to"), &place))?;
    }
    for Write { path, value } in writes {
        let place = place(root, path)?;
        let text = fs::read_to_string(&place).map_err(Failure::file("read", &place))?;
        if !holds(&text, value) {
            return Err(Failure::Failed(format!(
                "{path} was set to {value} and is {}: the kernel did not take it",
                text.trim()
            )));
        }
    }
    Ok(())
}

/// Whether a file says `value`, alone or in brackets among others.
fn holds(text: &str, value: &str) -> bool {
    let chosen = format!("[{value}]");
    text.trim() == value || text.split_whitespace().any(|word| word == chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/sys/block/vda/queue/scheduler";

    fn machine() -> (tempfile::TempDir, Trial) {
        let root = tempfile::tempdir().unwrap();
        for folder in ["run", "sys/block/vda/queue"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        fs::write(root.path().join(&PATH[1..]), "none [mq-deadline]\n").unwrap();
        let write = |value: &str| vec![Write { path: PATH.to_owned(), value: value.to_owned() }];
        (root, Trial { present: write("mq-deadline"), other: write("none"), workloads: Vec::new() })
    }

    fn now(root: &Path) -> String {
        fs::read_to_string(root.join(&PATH[1..])).unwrap().trim().to_owned()
    }

    #[test]
    fn a_setting_is_put_back_at_the_end() {
        let (root, trial) = machine();
        let changed = Changed::begin(root.path(), &trial).unwrap();
        assert_eq!(now(root.path()), "none [mq-deadline]", "nothing is changed yet");
        changed.set(true).unwrap();
        assert_eq!(now(root.path()), "none");
        changed.end().unwrap();
        assert_eq!(now(root.path()), "mq-deadline");
        assert!(!root.path().join(UNDO).exists() && restore(root.path()).unwrap().is_empty());
    }

    #[test]
    fn a_panic_puts_it_back() {
        let (root, trial) = machine();
        let caught = std::panic::catch_unwind(|| {
            let changed = Changed::begin(root.path(), &trial).unwrap();
            changed.set(true).unwrap();
            panic!("in the middle");
        });
        assert!(caught.is_err());
        assert_eq!((now(root.path()).as_str(), root.path().join(UNDO).exists()), ("mq-deadline", false));
    }

    #[test]
    fn what_a_killed_run_left_is_put_back() {
        let (root, trial) = machine();
        let changed = Changed::begin(root.path(), &trial).unwrap();
        changed.set(true).unwrap();
        assert!(matches!(restore(root.path()), Err(Failure::Busy(_))), "its run lives");
        assert!(matches!(Changed::begin(root.path(), &trial), Err(Failure::Busy(_))));
        let left = fs::read(root.path().join(UNDO)).unwrap();
        drop(changed);
        fs::write(root.path().join(&PATH[1..]), "none").unwrap();
        fs::write(root.path().join(UNDO), left).unwrap();
        assert!(matches!(Changed::begin(root.path(), &trial), Err(Failure::Busy(_))), "it was killed");
        assert!(trouble(root.path()).is_some_and(|said| said.contains("--restore")));
        assert_eq!(restore(root.path()).unwrap(), trial.present);
        assert_eq!((now(root.path()).as_str(), root.path().join(UNDO).exists()), ("mq-deadline", false));
    }

    #[test]
    fn only_settings_of_the_kernel_are_written() {
        let (root, mut trial) = machine();
        for path in ["/etc/passwd", "/sys/../etc/passwd", "sys/x", "/proc/1/oom_adj"] {
            path.clone_into(&mut trial.other[0].path);
            assert!(Changed::begin(root.path(), &trial).is_err(), "{path}");
        }
        for text in ["", "{}", "[{\"path\":1}]", "[{\"path\":\"/etc/passwd\",\"value\":\"x\"}]"] {
            fs::write(root.path().join(UNDO), text).unwrap();
            assert!(matches!(restore(root.path()), Err(Failure::Failed(_))), "{text}");
            assert!(root.path().join(UNDO).exists(), "it stays for whoever can read it");
        }
    }

    #[test]
    fn a_value_that_was_not_taken_is_told() {
        let (root, mut trial) = machine();
        "/sys/block/vdb/queue/scheduler".clone_into(&mut trial.other[0].path);
        let changed = Changed::begin(root.path(), &trial).unwrap();
        assert!(changed.set(true).unwrap_err().line().contains("vdb"), "it does not exist, and is not made");
        assert!(!root.path().join("sys/block/vdb").exists());
        assert!(holds("a [b] c\n", "b") && holds("7\n", "7") && !holds("a [b] c", "a") && !holds("17", "7"));
    }
}
