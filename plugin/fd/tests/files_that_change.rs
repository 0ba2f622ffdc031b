//! Files that vanish, grow, shrink or cannot be read, and stores that count otherwise: what the job is told, without a
//! Bacula.
#![allow(clippy::unwrap_used)]

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use gdd_fd::backup::{self, Entry};
use gdd_fd::config::Config;
use gdd_fd::error::{Kind, StoreError};
use gdd_fd::job::{Answer, Context, Severity, Voice};
use gdd_fd::reference::{Place, Reference, SIZE, StoreId};
use gdd_fd::store::{About, Costs, Fetch, Put, Receipt, Session, Store, Totals};

/// Takes a write lease of a file, says so, and dies of the signal by which the kernel wants it back.
const LEASE: &str = "import fcntl, sys, time\nfile = open(sys.argv[1], 'r+b')\n\
                     fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)\nprint('taken', flush=True)\ntime.sleep(60)\n";

type Said = Arc<Mutex<Vec<(Severity, String)>>>;

/// Bacula's log, and the severity that its Messages resource drops.
struct Listener(Said, Option<Severity>);

impl Voice for Listener {
    fn say(&self, severity: Severity, text: &str) {
        self.0.lock().unwrap().push((severity, text.to_owned()));
    }

    fn is_heard(&self, severity: Severity) -> bool {
        self.1 != Some(severity)
    }

    fn name(&self) -> (u32, String) {
        (1, "job".to_owned())
    }

    fn file_index(&self) -> Option<i32> {
        Some(0)
    }

    fn has_ended(&self) -> bool {
        false
    }
}

/// Counts, and does `grow` to a file at the first write.
#[derive(Clone, Default)]
struct Counting {
    grow: Option<PathBuf>,
    lies: bool,
    panics: bool,
    totals: (u64, u64, blake3::Hasher),
}

impl Store for Counting {
    fn connect(&self, _: &Config, _: &About) -> Result<Box<dyn Session>, StoreError> {
        Ok(Box::new(self.clone()))
    }
}

impl Session for Counting {
    fn store(&self) -> StoreId {
        [5; 16]
    }

    fn put(&mut self) -> Result<Box<dyn Put + '_>, StoreError> {
        assert!(!self.panics, "told to panic");
        Ok(Box::new(One(self)))
    }

    fn commit(&mut self, _: &Totals) -> Result<Receipt, StoreError> {
        let files = self.totals.0 + u64::from(self.lies);
        let totals = Totals { files, bytes: self.totals.1, digest: *self.totals.2.finalize().as_bytes() };
        Ok(Receipt { totals, costs: Costs::default() })
    }

    fn fetch(&mut self, _: &Reference) -> Result<Box<dyn Fetch + '_>, StoreError> {
        Err(StoreError::new(Kind::Missing, "none"))
    }
}

struct One<'a>(&'a mut Counting);

impl Put for One<'_> {
    fn write(&mut self, _: &[u8]) -> Result<(), StoreError> {
        if let Some(path) = self.0.grow.take() {
            OpenOptions::new().append(true).open(path).unwrap().write_all(b"more").unwrap();
        }
        Ok(())
    }

    fn finish(self: Box<Self>, length: u64, digest: &[u8; 32]) -> Result<Place, StoreError> {
        self.0.totals.0 += 1;
        self.0.totals.1 += length;
        self.0.totals.2.update(&length.to_le_bytes()).update(digest);
        Ok(Place { stream: [6; 16], offset: 0 })
    }
}

struct Rig {
    context: Context,
    said: Said,
}

impl Rig {
    fn new(store: Counting) -> Self {
        Self::deaf_to(None, store)
    }

    fn deaf_to(severity: Option<Severity>, store: Counting) -> Self {
        let said = Said::default();
        let store = Box::leak(Box::new(store));
        let listener = Box::new(Listener(Arc::clone(&said), severity));
        Self { context: Context::new(1, listener, store, None), said }
    }

    fn entry(&self, path: &Path, size: u64, command: &str) -> Answer {
        let name = path.as_os_str().as_bytes();
        let (mode, command) = (libc::S_IFREG | 0o644, command.as_bytes());
        self.context
            .with(|job| backup::entry(&self.context, job, &Entry { name, link: name, mode, size, command }))
    }

    fn open(&self, path: &Path) -> Result<(), i32> {
        backup::open(&self.context, &mut self.context.job.lock().unwrap(), path.as_os_str().as_bytes())
    }

    /// All that Bacula would get, in pieces of 50 bytes.
    fn read(&self) -> Result<Vec<u8>, i32> {
        let (mut bytes, mut piece) = (Vec::new(), [0; 50]);
        loop {
            match backup::read(&self.context, &mut self.context.job.lock().unwrap(), &mut piece)? {
                0 => return Ok(bytes),
                count => bytes.extend_from_slice(&piece[..count]),
            }
        }
    }

    fn close(&self) -> Answer {
        self.context.with(|job| backup::close(&self.context, job))
    }

    fn end(&self) -> Answer {
        self.context.with(|job| backup::end(&self.context, job))
    }

    #[track_caller]
    fn assert_said(&self, severity: Severity, word: &str) {
        let said = self.said.lock().unwrap();
        assert!(said.iter().any(|(had, text)| *had == severity && text.contains(word)), "{said:?}");
    }

    fn has_said(&self, severity: Severity) -> bool {
        self.said.lock().unwrap().iter().any(|(had, _)| *had == severity)
    }
}

fn file(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

#[test]
fn a_file_that_grows_comes_back_as_it_was_read() {
    let (_folder, path) = file(&[1; 1000]);
    let rig = Rig::new(Counting { grow: Some(path.clone()), ..Counting::default() });
    assert_eq!(rig.entry(&path, 1000, "gdd:"), Answer::Done);
    rig.open(&path).unwrap();
    let reference = Reference::decode(&rig.read().unwrap()).unwrap();
    assert_eq!((reference.length, reference.stat_length), (1004, 1000));
    assert_eq!(&reference.digest, blake3::hash(&fs::read(&path).unwrap()).as_bytes());
    assert_eq!((rig.close(), rig.end()), (Answer::Done, Answer::Done));
    rig.assert_said(Severity::Warning, "GDD-FD-0203");
    rig.assert_said(Severity::Info, "logical 1004 B");
    assert!(!rig.has_said(Severity::Fatal));
}

#[test]
fn a_file_that_shrinks_comes_back_as_it_was_read() {
    let (_folder, path) = file(&[1; 1000]);
    let rig = Rig::new(Counting::default());
    assert_eq!(rig.entry(&path, 2000, "gdd:"), Answer::Done);
    rig.open(&path).unwrap();
    assert_eq!(Reference::decode(&rig.read().unwrap()).unwrap().length, 1000);
    rig.assert_said(Severity::Warning, "had 2000 bytes, 1000 were read");
}

#[test]
fn a_file_that_was_emptied_or_cannot_be_read_leaves_no_reference() {
    let (_folder, path) = file(b"");
    for (path, errno) in [(path.as_path(), libc::EIO), (Path::new("/proc/self/mem"), libc::EIO)] {
        let rig = Rig::new(Counting::default());
        assert_eq!(rig.entry(path, 1000, "gdd:"), Answer::Done);
        rig.open(path).unwrap();
        assert_eq!(rig.read(), Err(errno));
        assert_eq!((rig.close(), rig.end()), (Answer::Done, Answer::Done));
        rig.assert_said(Severity::Error, "GDD-FD-0201");
        rig.assert_said(Severity::Info, "gdd: 0 files");
        assert!(!rig.has_said(Severity::Fatal));
    }
}

/// As when a Samba client has the file open.
#[test]
fn a_file_that_somebody_has_a_lease_of_is_waited_for() {
    let (_folder, path) = file(&[1; 1000]);
    let mut command = Command::new("python3");
    let Ok(mut holder) = command.args(["-c", LEASE]).arg(&path).stdout(Stdio::piped()).spawn() else {
        return println!("skipped: there is no python3 to take a lease with");
    };
    let mut taken = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut taken).unwrap();
    if taken != "taken\n" {
        return println!("skipped: this file system or user takes no lease");
    }
    let rig = Rig::new(Counting::default());
    assert_eq!(rig.entry(&path, 1000, "gdd:"), Answer::Done);
    rig.open(&path).unwrap();
    assert_eq!(Reference::decode(&rig.read().unwrap()).unwrap().length, 1000);
    holder.wait().unwrap();
}

#[test]
fn a_file_that_vanishes_is_what_it_is_for_bacula() {
    let (_folder, path) = file(&[1; 1000]);
    let rig = Rig::new(Counting::default());
    assert_eq!(rig.entry(&path, 1000, "gdd:"), Answer::Done);
    fs::remove_file(&path).unwrap();
    assert_eq!(rig.open(&path), Err(libc::ENOENT));
    assert_eq!(rig.end(), Answer::Done);
}

#[test]
fn files_without_data_in_a_row_open_the_breaker_and_all_later_ones_are_refused() {
    let (_folder, path) = file(b"");
    let rig = Rig::new(Counting::default());
    for number in 1..=8 {
        assert_eq!(rig.entry(&path, 1000, "gdd:"), Answer::Done);
        rig.open(&path).unwrap();
        assert!(rig.read().is_err());
        assert_eq!(rig.has_said(Severity::Fatal), number == 8, "after {number}");
    }
    rig.assert_said(Severity::Fatal, "GDD-FD-0204");
    assert_eq!(rig.entry(&path, 1000, "gdd:"), Answer::Failed);
    assert_eq!(rig.end(), Answer::Failed);
    assert!(!rig.has_said(Severity::Info), "a dead job has no report");
}

/// A socket opens as a device that has gone away does: with ENXIO.
#[test]
fn files_that_a_device_in_trouble_does_not_open_count_too() {
    let folder = tempfile::tempdir().unwrap();
    let (away, vanished) = (folder.path().join("socket"), folder.path().join("vanished"));
    let _socket = std::os::unix::net::UnixListener::bind(&away).unwrap();
    let rig = Rig::new(Counting::default());
    // Files that are gone are an ordinary thing, however many.
    for _ in 0..20 {
        assert_eq!(rig.entry(&vanished, 1000, "gdd:"), Answer::Done);
        assert_eq!(rig.open(&vanished), Err(libc::ENOENT));
    }
    assert!(!rig.has_said(Severity::Fatal));
    for number in 1..=8 {
        assert_eq!(rig.entry(&away, 1000, "gdd:"), Answer::Done);
        assert_eq!(rig.open(&away), Err(if number < 8 { libc::ENXIO } else { libc::EIO }));
        assert_eq!(rig.has_said(Severity::Fatal), number == 8, "after {number}");
    }
    rig.assert_said(Severity::Fatal, "GDD-FD-0204");
    assert_eq!((rig.entry(&vanished, 1000, "gdd:"), rig.end()), (Answer::Failed, Answer::Failed));
}

#[test]
fn a_receipt_for_something_else_is_none() {
    let (_folder, path) = file(&[1; 1000]);
    let rig = Rig::new(Counting { lies: true, ..Counting::default() });
    assert_eq!(rig.entry(&path, 1000, "gdd:"), Answer::Done);
    rig.open(&path).unwrap();
    assert_eq!(rig.read().unwrap().len(), SIZE);
    assert_eq!(rig.end(), Answer::Failed);
    rig.assert_said(Severity::Fatal, "GDD-FD-0206");
}

#[test]
fn a_log_that_drops_failures_is_told_once_in_a_job() {
    let (_folder, path) = file(&[1; 1000]);
    for (severity, word) in
        [(Severity::Fatal, "sends fatal nowhere"), (Severity::Error, "sends error nowhere")]
    {
        let rig = Rig::deaf_to(Some(severity), Counting::default());
        for _ in 0..2 {
            assert_eq!(rig.entry(&path, 1000, "gdd:"), Answer::Done);
        }
        rig.assert_said(Severity::Warning, "GDD-FD-0010");
        rig.assert_said(Severity::Warning, word);
        assert_eq!(rig.said.lock().unwrap().len(), 1);
    }
    let rig = Rig::new(Counting::default());
    assert_eq!(rig.entry(&path, 1000, "gdd:"), Answer::Done);
    assert!(!rig.has_said(Severity::Warning));
}

#[test]
fn one_job_has_one_plugin_string() {
    let rig = Rig::new(Counting::default());
    assert_eq!(rig.entry(Path::new("/a"), 1000, "gdd:"), Answer::Done);
    assert_eq!(rig.entry(Path::new("/b"), 1000, "gdd:patience=9"), Answer::Failed);
    rig.assert_said(Severity::Fatal, "GDD-FD-0004");
}

#[test]
fn a_reference_that_was_taken_in_part_ends_the_job() {
    let (_folder, path) = file(&[1; 1000]);
    let rig = Rig::new(Counting::default());
    assert_eq!(rig.entry(&path, 1000, "gdd:"), Answer::Done);
    rig.open(&path).unwrap();
    let mut piece = [0; 50];
    let count = backup::read(&rig.context, &mut rig.context.job.lock().unwrap(), &mut piece);
    assert_eq!(count, Ok(50));
    assert_eq!(rig.close(), Answer::Failed);
    rig.assert_said(Severity::Fatal, "GDD-FD-0205");
}

#[test]
fn after_a_panic_nothing_is_believed() {
    let (_folder, path) = file(&[1; 1000]);
    let rig = Rig::new(Counting { panics: true, ..Counting::default() });
    assert_eq!(rig.entry(&path, 1000, "gdd:"), Answer::Done);
    rig.open(&path).unwrap();
    std::thread::scope(|scope| assert!(scope.spawn(|| rig.read()).join().is_err()));
    assert_eq!(rig.end(), Answer::Failed);
    rig.assert_said(Severity::Fatal, "GDD-FD-0003");
}

#[test]
fn a_cancelled_job_stops_between_two_blocks() {
    let (_folder, path) = file(&[1; 1000]);
    let rig = Rig::new(Counting::default());
    assert_eq!(rig.entry(&path, 1000, "gdd:"), Answer::Done);
    rig.open(&path).unwrap();
    rig.context.cancelled.store(true, Ordering::SeqCst);
    assert_eq!(rig.read(), Err(libc::EIO));
    assert_eq!(rig.end(), Answer::Failed);
    assert!(!rig.has_said(Severity::Info), "a cancelled job has no report");
}

#[test]
fn what_is_not_a_plain_file_of_some_size_is_left_to_bacula() {
    let rig = Rig::new(Counting::default());
    assert_eq!(rig.entry(Path::new("/a"), 511, "gdd:"), Answer::Core);
    assert_eq!(rig.entry(Path::new("/a"), 512, "gdd:"), Answer::Done);
    for (mode, link) in [(libc::S_IFDIR, "/a"), (libc::S_IFLNK, "/a"), (libc::S_IFREG, "/first name")] {
        let (name, link, command) = (&b"/a"[..], link.as_bytes(), &b"gdd:"[..]);
        let answer = rig
            .context
            .with(|job| backup::entry(&rig.context, job, &Entry { name, link, mode, size: 9000, command }));
        assert_eq!(answer, Answer::Core);
    }
}
