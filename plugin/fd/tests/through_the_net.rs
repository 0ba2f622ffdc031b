//! The plugin with the store of the product, in front of a daemon in memory: files come back, references are of 120
//! bytes, and what the daemon does wrong ends the job or costs one file.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use gdd_fake_daemon::{Daemon, Fault};
use gdd_fd::backup::{self, Entry};
use gdd_fd::job::{Answer, Context, Severity, Voice};
use gdd_fd::reference::{Reference, SIZE};
use gdd_fd::restore::{self, Creation, Wanted};
use gdd_fd::store::net::Net;

#[derive(Clone, Default)]
struct Listener(Arc<Mutex<Vec<(Severity, String)>>>);

impl Voice for Listener {
    fn say(&self, severity: Severity, text: &str) {
        self.0.lock().unwrap().push((severity, text.to_owned()));
    }

    fn is_heard(&self, _: Severity) -> bool {
        true
    }

    fn name(&self) -> (u32, String) {
        (7, "files.2026-01-01_00.00.00_07".to_owned())
    }

    fn file_index(&self) -> Option<i32> {
        Some(0)
    }

    fn has_ended(&self) -> bool {
        false
    }
}

/// A Bacula job.
struct Job {
    context: Context,
    said: Listener,
    string: String,
}

impl Job {
    fn new(string: &str) -> Self {
        let said = Listener::default();
        let context = Context::new(1, Box::new(said.clone()), &Net, None);
        Self { context, said, string: string.to_owned() }
    }

    /// What the volume gets of `path`.
    fn save(&self, path: &Path) -> Result<Vec<u8>, Answer> {
        let (name, command) = (path.as_os_str().as_bytes(), self.string.as_bytes());
        let (mode, size) = (libc::S_IFREG | 0o644, fs::metadata(path).unwrap().len());
        let entry = Entry { name, link: name, mode, size, command };
        match self.context.with(|job| backup::entry(&self.context, job, &entry)) {
            Answer::Done => {}
            other => return Err(other),
        }
        let mut job = self.context.job.lock().unwrap();
        backup::open(&self.context, &mut job, name).unwrap();
        let mut reference = vec![0; 1000];
        let count = backup::read(&self.context, &mut job, &mut reference).map_err(|_| Answer::Failed)?;
        reference.truncate(count);
        assert_eq!(backup::read(&self.context, &mut job, &mut [0; 10]), Ok(0));
        assert_eq!(backup::close(&self.context, &mut job), Answer::Done);
        Ok(reference)
    }

    fn end_backup(&self) -> Answer {
        self.context.with(|job| backup::end(&self.context, job))
    }

    fn load(&self, reference: &[u8], path: &Path) -> Answer {
        let mut job = self.context.job.lock().unwrap();
        let wanted = Wanted { path: path.as_os_str().as_bytes(), has_data: true, modified: 0, replace: b'a' };
        assert_ne!(
            restore::begin(&self.context, &mut job, self.string.as_bytes()),
            Answer::Failed,
            "{self:?}"
        );
        if restore::create(&self.context, &mut job, &wanted) != Creation::Ours {
            return Answer::Failed;
        }
        restore::write(&self.context, &mut job, reference).unwrap();
        let answer = restore::finish(&self.context, &mut job);
        restore::end_file(&self.context, &mut job);
        answer
    }

    fn end_restore(&self) -> Answer {
        self.context.with(|job| restore::end(&self.context, job))
    }

    #[track_caller]
    fn assert_said(&self, severity: Severity, words: &[&str]) {
        let said = self.said.0.lock().unwrap();
        let has = |(had, text): &(Severity, String)| {
            *had == severity && words.iter().all(|word| text.contains(word))
        };
        assert!(said.iter().any(has), "expected {words:?} in {said:?}");
    }
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.said.0.lock())
    }
}

struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let site = Self { folder: tempfile::tempdir().unwrap() };
        site.write_key("key", 7);
        site
    }

    /// A key file whose 32 bytes are all `byte`; the fake daemon's are 7.
    fn write_key(&self, name: &str, byte: u8) {
        let id = gdd_wire::Key::from_secret(&[byte; 32]).unwrap().id();
        let text = format!("gdd-key 1 {id}\n{}\n", format!("{byte:02x}").repeat(32));
        let options = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.path(name));
        std::io::Write::write_all(&mut options.unwrap(), text.as_bytes()).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The plugin string for `daemon`.
    fn string(&self, daemon: &Daemon, key: &str) -> String {
        let key = self.path(key);
        format!("gdd:server={}:key_file={}:client=c-fd:patience=20", daemon.listen(), key.display())
    }

    /// Three files, seeded.
    fn files(&self) -> Vec<PathBuf> {
        let names = [("small", 600), ("middle", 70_001), ("large", (5 << 20) + 3)];
        names
            .map(|(name, size)| {
                let mut bytes = vec![0; size];
                blake3::Hasher::new().update(name.as_bytes()).finalize_xof().fill(&mut bytes);
                fs::write(self.path(name), bytes).unwrap();
                self.path(name)
            })
            .to_vec()
    }
}

#[test]
fn files_come_back_and_the_second_backup_is_known() {
    let (site, daemon) = (Site::new(), Daemon::default());
    let (files, string) = (site.files(), site.string(&daemon, "key"));
    let logical: u64 = files.iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    let mut references = Vec::new();
    for new in [logical, 0] {
        let job = Job::new(&string);
        references = files.iter().map(|path| job.save(path).unwrap()).collect();
        assert_eq!(job.end_backup(), Answer::Done, "{job:?}");
        let ratio =
            if new == 0 { "ratio all known, savings 100.00 %" } else { "ratio 1.00:1, savings 0.00 %" };
        let report =
            [&format!("gdd: 3 files, logical {logical} B, wire "), &format!(" new {new} B, "), ratio];
        job.assert_said(Severity::Info, &report);
    }
    let decoded: Vec<_> = references.iter().map(|bytes| Reference::decode(bytes).unwrap()).collect();
    assert!(references.iter().all(|bytes| bytes.len() == SIZE));
    assert_eq!(decoded.iter().map(|it| it.place.offset).collect::<Vec<_>>(), [0, 600, 70_601]);
    let job = Job::new(&string);
    for (reference, path) in references.iter().zip(&files) {
        let back = path.with_extension("back");
        assert_eq!(job.load(reference, &back), Answer::Core, "{job:?}");
        assert!(fs::read(back).unwrap() == fs::read(path).unwrap());
    }
    assert_eq!(job.end_restore(), Answer::Done, "{job:?}");
}

#[test]
fn what_the_daemon_does_wrong_ends_the_backup() {
    let site = Site::new();
    let files = site.files();
    for (fault, words) in [
        (Fault::DieAt(0), ["GDD-FD-0101", "server "]),
        (Fault::DieAt(2), ["GDD-FD-0101", ""]),
        (Fault::FatalAt(3), ["GDD-FD-0108", "the daemon says [GDD-TEST-1] no room; buy some;"]),
        (Fault::WrongReceipt, ["GDD-FD-0105", "receipt"]),
    ] {
        let job = Job::new(&site.string(&Daemon::default().with(fault), "key"));
        let _ = files.iter().try_for_each(|path| job.save(path).map(drop));
        assert_eq!(job.end_backup(), Answer::Failed, "{fault:?}");
        job.assert_said(Severity::Fatal, &words);
        let said = job.said.0.lock().unwrap();
        assert!(
            !said.iter().any(|(_, text)| text.contains("savings")),
            "a report without a receipt: {said:?}"
        );
    }
}

#[test]
fn one_damaged_file_costs_no_other() {
    let (site, daemon) = (Site::new(), Daemon::default());
    let files = site.files();
    let job = Job::new(&site.string(&daemon, "key"));
    let references: Vec<_> = files.iter().map(|path| job.save(path).unwrap()).collect();
    assert_eq!(job.end_backup(), Answer::Done);
    let job = Job::new(&site.string(&daemon.with(Fault::MissingPiece(2)), "key"));
    let back: Vec<_> = files.iter().map(|path| path.with_extension("back")).collect();
    let answers: Vec<_> =
        references.iter().zip(&back).map(|(reference, path)| job.load(reference, path)).collect();
    assert_eq!(answers, [Answer::Core, Answer::Failed, Answer::Core], "{job:?}");
    job.assert_said(Severity::Error, &["GDD-FD-0105", "middle.back"]);
    assert!(!back[1].exists() && fs::read(&back[2]).unwrap() == fs::read(&files[2]).unwrap());
    assert_eq!(job.end_restore(), Answer::Failed);
    job.assert_said(Severity::Fatal, &["GDD-FD-0302"]);
}

#[test]
fn a_reference_that_leads_nowhere_is_what_the_daemon_says() {
    let (site, daemon) = (Site::new(), Daemon::default());
    let files = site.files();
    let job = Job::new(&site.string(&daemon, "key"));
    let reference = job.save(&files[0]).unwrap();
    drop(job); // No receipt: the daemon has no such stream.
    let job = Job::new(&site.string(&daemon, "key"));
    assert_eq!(job.load(&reference, &site.path("back")), Answer::Failed);
    job.assert_said(Severity::Error, &["GDD-FD-0109", "the daemon says [GDD-TEST-2]"]);
    assert!(!site.path("back").exists());
}

#[test]
fn without_a_server_or_with_a_wrong_key_no_job_begins() {
    let (site, daemon) = (Site::new(), Daemon::default());
    let files = site.files();
    site.write_key("other", 8);
    for (string, words) in [
        ("gdd:".to_owned(), ["GDD-FD-0101", "no way to the server"]),
        (site.string(&daemon, "other"), ["GDD-FD-0103", "does not have this key"]),
        (site.string(&daemon, "none"), ["GDD-FD-0103", "cannot open the key file"]),
        (
            format!("gdd:server=127.0.0.1:1:key_file={}", site.path("key").display()),
            ["GDD-FD-0101", "127.0.0.1:1"],
        ),
    ] {
        let job = Job::new(&string);
        assert_eq!(job.save(&files[0]), Err(Answer::Failed));
        job.assert_said(Severity::Fatal, &words);
    }
}
