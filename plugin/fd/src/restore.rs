//! Restore: Bacula brings the reference, the file is fetched beside its place, verified, and renamed into it.
//!
//! # Invariants
//! - Nothing appears under the file's name before its length and BLAKE3 are right. What was there before stays until
//!   then.
//! - A job in which one file failed ends in error, also when all others came back: a fatal message at its end.
//! - So does one whose files may not have reached their disk ([`crate::written`]).

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::error::StoreError;
use crate::job::{Answer, Context, Job, Severity};
use crate::reference::{Reference, SIZE};
use crate::store::{Purpose, Session};
use crate::written::Disks;

/// Bytes of one fetch.
const BLOCK: usize = 1 << 20;
/// After so long a job says that it waits for another one.
const WAIT_TOLD: Duration = Duration::from_secs(30);
/// Runs of zeros of this many bytes, aligned, become holes.
const PAGE: usize = 4096;
/// What a file is called until it is right.
const PARTIAL: &str = ".gdd-restore-";
/// Bytes of a stream that are kept: one more than a reference, which shows that it is none.
const KEPT: usize = SIZE + 1;

/// A file that Bacula wants restored.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// Where.
    pub path: &'a [u8],
    /// Whether it is a regular file whose data come with it: not the update of its owner, mode and times that 13.0.0
    /// and later send where nothing else has changed.
    pub has_data: bool,
    /// Its modification time in seconds since 1970.
    pub modified: i64,
    /// Bacula's letter for what happens to a file that is there: a, w, o or n.
    pub replace: u8,
}

/// What happens to the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Creation {
    /// What is there stays.
    Skip,
    /// It cannot be restored; a message was sent.
    Failed,
    /// We write it.
    Ours,
    /// Bacula writes it.
    Core,
}

/// Files of one job on their way back.
#[derive(Default)]
pub struct Restore {
    current: Option<Current>,
    begun: bool,
    failed: u64,
    block: Vec<u8>,
    disks: Disks,
}

/// The file that is being restored.
struct Current {
    path: PathBuf,
    stream: Vec<u8>,
    /// Its length, once it is in its place.
    length: Option<u64>,
}

/// Why a file did not come back.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("[GDD-FD-0301] {path}: {what}; nothing was put in its place: take it from another job")]
    File { path: String, what: String },
}

/// Bacula is about to restore a file that was saved with the plugin string `command`.
pub fn begin(context: &Context, job: &mut Job, command: &[u8]) -> Answer {
    if context.is_dead() {
        return Answer::Failed;
    }
    job.restore.begun = true;
    let Ok(command) = std::str::from_utf8(command) else {
        return context
            .fatal("[GDD-FD-0001] expected a plugin string in UTF-8 in the volume, found other bytes");
    };
    if let Some(lock) = context.lock
        && !lock.acquire(context.id, waiting(context))
    {
        return context.fatal("[GDD-FD-0107] the job was cancelled while it waited for another restore");
    }
    match context.connect(job, command, Purpose::Restore) {
        Ok(()) => Answer::Done,
        Err(failed) => failed,
    }
}

/// Asked while the job waits for another restore: whether it is over. Says once that it waits: the other one may wait
/// for a volume that this one's storage daemon holds.
fn waiting(context: &Context) -> impl Fn() -> bool {
    let (since, told) = (Instant::now(), Cell::new(false));
    move || {
        if since.elapsed() >= WAIT_TOLD && !told.replace(true) {
            let text = "[GDD-FD-0303] waits for a file of another restore of this client, since Bacula 9.6.7 restores \
                        one at a time; if both wait for a volume, cancel one of them";
            context.voice.say(Severity::Info, text);
        }
        context.is_over()
    }
}

/// Make room for a file.
pub fn create(context: &Context, job: &mut Job, wanted: &Wanted<'_>) -> Creation {
    if context.is_dead() {
        return Creation::Failed;
    }
    job.restore.current = None;
    if !wanted.has_data {
        return Creation::Core;
    }
    let path = PathBuf::from(OsString::from_vec(wanted.path.to_vec()));
    if let Ok(there) = fs::symlink_metadata(&path) {
        let keep = match wanted.replace {
            b'w' => wanted.modified <= there.mtime(),
            b'o' => wanted.modified >= there.mtime(),
            b'n' => true,
            _ => false,
        };
        if keep {
            return Creation::Skip;
        }
    }
    if let Some(parent) = path.parent()
        && let Err(error) = fs::create_dir_all(parent)
    {
        let what = format!("cannot make its folder: {error}");
        failed(context, job, &Trouble::File { path: path.display().to_string(), what });
        return Creation::Failed;
    }
    job.restore.current = Some(Current { path, stream: Vec::with_capacity(KEPT), length: None });
    Creation::Ours
}

/// Whether a file is being restored.
#[must_use]
pub fn is_restoring(job: &Job) -> bool {
    job.restore.begun
}

/// Bacula brings bytes of the volume.
///
/// # Errors
/// The number of the error. The message was sent.
pub fn write(context: &Context, job: &mut Job, bytes: &[u8]) -> Result<usize, i32> {
    let Some(current) = job.restore.current.as_mut().filter(|_| !context.is_dead()) else {
        return Err(libc::EIO);
    };
    let room = KEPT - current.stream.len();
    current.stream.extend_from_slice(&bytes[..bytes.len().min(room)]);
    Ok(bytes.len())
}

/// All bytes are there, and Bacula is about to set owner, mode and time: put the file in its place.
pub fn finish(context: &Context, job: &mut Job) -> Answer {
    if context.is_dead() {
        return Answer::Failed;
    }
    let Job { session, restore, .. } = job;
    let Restore { current, block, disks, .. } = restore;
    let Some(current) = current else { return Answer::Core };
    let Some(session) = session else {
        return context.fatal("[GDD-FD-0006] a file was restored without a session; report this as a bug");
    };
    block.resize(BLOCK, 0);
    match fetch(context, session.as_mut(), current, block, disks) {
        Ok(length) => {
            current.length = Some(length);
            Answer::Core
        }
        Err(trouble) => {
            failed(context, job, &trouble);
            Answer::Failed
        }
    }
}

/// Say it: one file is an error, the store is the end.
fn failed(context: &Context, job: &mut Job, trouble: &Trouble) {
    job.restore.failed += 1;
    match trouble {
        Trouble::Store(error) if !error.kind.is_of_one_file() => {
            context.fatal(&error.to_string());
        }
        Trouble::Store(error) => {
            let path = job.restore.current.as_ref().map(|current| current.path.display().to_string());
            let text = format!("{error} (file {})", path.unwrap_or_default());
            context.voice.say(Severity::Error, &text);
        }
        Trouble::File { .. } => context.voice.say(Severity::Error, &trouble.to_string()),
    }
}

fn fetch(
    context: &Context,
    session: &mut dyn Session,
    current: &Current,
    block: &mut [u8],
    disks: &mut Disks,
) -> Result<u64, Trouble> {
    let wrong = |what: String| Trouble::File { path: current.path.display().to_string(), what };
    if current.stream.is_empty() {
        return Err(wrong("the volume has no data for it: the backup could not read it, see its log".into()));
    }
    let reference = Reference::decode(&current.stream).map_err(|why| wrong(why.to_string()))?;
    let store = session.store();
    if reference.store != store {
        return Err(wrong(format!("expected store {:02x?}, connected to {store:02x?}", reference.store)));
    }
    let partial = Partial::new(&current.path)
        .and_then(|partial| disks.note(&partial.file).map(|()| partial))
        .map_err(|error| wrong(format!("cannot be made: {error}")))?;
    let mut fetch = session.fetch(&reference)?;
    let (mut length, mut hasher) = (0_u64, blake3::Hasher::new());
    loop {
        if context.is_over() {
            return Err(StoreError::new(crate::error::Kind::Cancelled, "the job was cancelled").into());
        }
        let count = fetch.read(block)?;
        if count == 0 {
            break;
        }
        let bytes = &block[..count];
        if length + count as u64 > reference.length {
            return Err(wrong(format!("expected {} bytes, the store gave more", reference.length)));
        }
        hasher.update(bytes);
        write_sparse(&partial.file, length, bytes)
            .map_err(|error| wrong(format!("cannot be written: {error}")))?;
        length += count as u64;
    }
    if length != reference.length {
        return Err(wrong(format!("expected {} bytes, the store gave {length}", reference.length)));
    }
    let found = hasher.finalize();
    if *found.as_bytes() != reference.digest {
        let expected = blake3::Hash::from_bytes(reference.digest);
        return Err(wrong(format!("expected BLAKE3 {expected}, found {found}")));
    }
    partial.place(length, disks).map_err(|error| wrong(format!("cannot be put in its place: {error}")))?;
    Ok(length)
}

/// Write `bytes` at `at`, but leave holes for zeros.
fn write_sparse(file: &File, at: u64, bytes: &[u8]) -> io::Result<()> {
    let mut from = 0;
    while from < bytes.len() {
        let mut to = from;
        let page = |start: usize| &bytes[start..bytes.len().min(start + PAGE)];
        while to < bytes.len() && page(to).iter().any(|&byte| byte != 0) {
            to += page(to).len();
        }
        if to > from {
            file.write_all_at(&bytes[from..to], at + from as u64)?;
        }
        from = bytes.len().min(to + PAGE);
    }
    Ok(())
}

/// A file that is not right yet; removed on drop.
struct Partial<'a> {
    file: File,
    path: PathBuf,
    target: &'a Path,
}

impl<'a> Partial<'a> {
    fn new(target: &'a Path) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let folder = target.parent().unwrap_or_else(|| Path::new("/"));
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = folder
                .join(OsStr::from_bytes(format!("{PARTIAL}{}-{number}", std::process::id()).as_bytes()));
            let open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
            match open {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => return other.map(|file| Self { file, path, target }),
            }
        }
    }

    fn place(self, length: u64, disks: &Disks) -> io::Result<()> {
        self.file.set_len(length)?; // A hole at the end is not written.
        disks.written(&self.file)?;
        fs::rename(&self.path, self.target)
    }
}

impl Drop for Partial<'_> {
    fn drop(&mut self) {
        // After the rename there is nothing under this name; otherwise nobody could use what is left.
        let _ = fs::remove_file(&self.path);
    }
}

/// How many bytes the restored file has, for Bacula's own check.
#[must_use]
pub fn length(job: &Job) -> u64 {
    job.restore.current.as_ref().and_then(|current| current.length).unwrap_or(0)
}

/// Bacula is done with the file.
pub fn end_file(context: &Context, job: &mut Job) -> Answer {
    job.restore.current = None;
    if let Some(lock) = context.lock {
        lock.release(context.id);
    }
    Answer::Done
}

/// The job restores nothing more: another restore may go on.
pub fn leave(context: &Context) {
    if let Some(lock) = context.lock {
        lock.leave(context.id);
    }
}

/// The job is about to end: it ends well only when every file came back.
pub fn end(context: &Context, job: &mut Job) -> Answer {
    leave(context);
    job.session = None;
    if let Err(error) = job.restore.disks.settle() {
        let text = format!(
            "[GDD-FD-0304] a disk that was restored to has lost data, of this job, or of others since the last sync: \
             {error}; see that it is good and has room, also below it, and restore again"
        );
        return context.fatal(&text);
    }
    if job.restore.failed > 0 {
        let text = format!(
            "[GDD-FD-0302] {} files did not come back, see the messages above; correct the cause and restore them",
            job.restore.failed
        );
        return context.fatal(&text);
    }
    Answer::Done
}
