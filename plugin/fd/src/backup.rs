//! Backup: a claimed file is read to its end into the store, and only then its reference goes to Bacula.
//!
//! # Invariants
//! - Bytes of a reference leave [`read`] only after [`Put::finish`](crate::store::Put::finish).
//! - What was counted here and what the store counted are compared before the job may end well.
//!
//! A file that cannot be opened or read is what it is for Bacula itself: an error in the job's log, the job goes on. It
//! leaves nothing in the volume, and its restore fails. A file that shrank or grew gets a warning, and what was read is
//! what comes back.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{Advice, OFlags, fadvise, fcntl_getfl, fcntl_setfl};

use crate::breaker::Breaker;
use crate::job::{Answer, Context, Job, Severity};
use crate::reference::{FILE_SIZE_MIN, Reference, SIZE};
use crate::store::{Purpose, Totals};

/// Bytes of one read.
const BLOCK: usize = 1 << 20;
/// What opening a file says when its device or file system is in trouble (errno(3)), and not the file: it has vanished
/// or may not be read in no case of these.
const AWAY: &[i32] = &[
    libc::EIO,
    libc::ENXIO,
    libc::ENODEV,
    libc::ESTALE,
    libc::ENOTCONN,
    libc::ESHUTDOWN,
    libc::ETIMEDOUT,
    libc::EHOSTDOWN,
    libc::EREMOTEIO,
    libc::EUCLEAN,
];

/// An entry of the FileSet, as Bacula shows it.
#[derive(Debug)]
pub struct Entry<'a> {
    /// Its path.
    pub name: &'a [u8],
    /// The path itself, for a regular file that is no second name of another.
    pub link: &'a [u8],
    /// st_mode.
    pub mode: u32,
    /// st_size in bytes.
    pub size: u64,
    /// The plugin string of its Options.
    pub command: &'a [u8],
}

/// Files of one job on their way to the store.
#[derive(Default)]
pub struct Backup {
    current: Option<Current>,
    files: u64,
    bytes: u64,
    digest: blake3::Hasher,
    breaker: Breaker,
    block: Vec<u8>,
}

/// A claimed file.
struct Current {
    name: String,
    size: u64,
    file: Option<File>,
    /// The reference, and how much of it Bacula has.
    reference: Option<([u8; SIZE], usize)>,
}

/// Why a file has no reference.
enum Trouble {
    /// The file: the job goes on.
    File(io::Error),
    /// Anything else: it does not. The message was sent.
    Job,
}

impl From<Answer> for Trouble {
    fn from(_: Answer) -> Self {
        Self::Job
    }
}

/// A backup begins: anew, or it is none. Bacula goes on with an incomplete job (its client was killed, or stopped)
/// under the same number, and leaves out what the first run has brought to the catalog. References of that run have
/// no receipt and never get one, and Bacula would call the whole job good. Whether that run had any cannot be known
/// here.
pub fn start(context: &Context) -> Answer {
    match context.voice.file_index() {
        Some(0) => Answer::Done,
        Some(entries) => {
            let text = format!(
                "[GDD-FD-0208] this goes on with an incomplete job: references among its first {entries} entries \
                 have no receipt of the store; run the job anew, and set Reschedule Incomplete Jobs = no in its Job \
                 resource"
            );
            context.fatal(&text)
        }
        None => context.fatal(
            "[GDD-FD-0208] expected from bacula-fd whether this job begins anew, found nothing; this build of \
             Bacula is not supported",
        ),
    }
}

/// An entry is about to be saved: take it, or leave it to Bacula.
pub fn entry(context: &Context, job: &mut Job, entry: &Entry<'_>) -> Answer {
    if context.is_dead() {
        return Answer::Failed;
    }
    job.backup.current = None;
    let Ok(command) = std::str::from_utf8(entry.command) else {
        return context.fatal("[GDD-FD-0001] expected a plugin string in UTF-8; correct the FileSet");
    };
    if let Err(failed) = context.connect(job, command, Purpose::Backup) {
        return failed;
    }
    let is_regular = entry.mode & libc::S_IFMT == libc::S_IFREG;
    if !is_regular || entry.size < FILE_SIZE_MIN || entry.link != entry.name {
        return Answer::Core;
    }
    let name = String::from_utf8_lossy(entry.name).into_owned();
    job.backup.current = Some(Current { name, size: entry.size, file: None, reference: None });
    Answer::Done
}

/// Bacula opens the file at `path`.
///
/// # Errors
/// The number of the error, for Bacula's own message.
pub fn open(context: &Context, job: &mut Job, path: &[u8]) -> Result<(), i32> {
    let Backup { current, breaker, .. } = &mut job.backup;
    let current = match current {
        Some(current) if !context.is_dead() => current,
        _ => return Err(unexpected(context, "opened")),
    };
    let file = match open_quietly(Path::new(OsStr::from_bytes(path))) {
        Ok(file) => file,
        Err(error) => {
            let number = error.raw_os_error().unwrap_or(libc::EIO);
            if !AWAY.contains(&number) {
                return Err(number);
            }
            // It ends the job, or Bacula says what it says of its own files.
            let Trouble::File(_) = lost_file(context, breaker, current.size, error) else {
                return Err(libc::EIO);
            };
            return Err(number);
        }
    };
    // Advice is only that: a file system without it reads as well.
    let _ = fadvise(&file, 0, None, Advice::Sequential);
    current.file = Some(file);
    Ok(())
}

/// Without a new access time where the owner allows it, and without waiting for a fifo that took the file's place.
fn open_quietly(path: &Path) -> io::Result<File> {
    let flags = libc::O_CLOEXEC | libc::O_NOCTTY;
    let file = match open_unnoticed(path, flags | libc::O_NONBLOCK) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => open_leased(path, flags)?,
        other => other?,
    };
    // Something else has its name now: the file that Bacula looked at is gone.
    if !file.metadata()?.is_file() {
        return Err(io::Error::from_raw_os_error(libc::ENOENT));
    }
    // Some file systems go by it when a file is read, too.
    fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
    Ok(file)
}

fn open_unnoticed(path: &Path, flags: i32) -> io::Result<File> {
    let open = |flags| OpenOptions::new().read(true).custom_flags(flags).open(path);
    match open(flags | libc::O_NOATIME) {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => open(flags),
        other => other,
    }
}

/// Somebody has a lease of the file, as Samba takes one for its clients: who waits for the file makes him give it up
/// (fcntl(2); after 45 s the kernel takes it away). The name is resolved once, so that no fifo is waited for.
fn open_leased(path: &Path, flags: i32) -> io::Result<File> {
    let there = OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_CLOEXEC).open(path)?;
    if !there.metadata()?.is_file() {
        return Err(io::Error::from_raw_os_error(libc::ENOENT));
    }
    open_unnoticed(Path::new(&format!("/proc/self/fd/{}", there.as_raw_fd())), flags)
}

fn unexpected(context: &Context, what: &str) -> i32 {
    if !context.is_dead() {
        let text = format!("[GDD-FD-0006] a file was {what} that was not claimed; report this as a bug");
        context.fatal(&text);
    }
    libc::EIO
}

/// Bacula reads: the first time the file goes to the store. The count of bytes in `buffer`, 0 at the reference's end.
///
/// # Errors
/// The number of the error. The message was sent.
pub fn read(context: &Context, job: &mut Job, buffer: &mut [u8]) -> Result<usize, i32> {
    if context.is_dead() {
        return Err(libc::EIO);
    }
    if job.backup.current.as_ref().is_none_or(|current| current.file.is_none()) {
        return Err(unexpected(context, "read"));
    }
    let has = job.backup.current.as_ref().is_some_and(|current| current.reference.is_some());
    if !has && let Err(trouble) = take(context, job) {
        return Err(match trouble {
            Trouble::Job => libc::EIO,
            Trouble::File(error) => {
                let name = job.backup.current.as_ref().map_or("", |current| &current.name);
                let text = format!(
                    "[GDD-FD-0201] {name}: {error}; nothing of this file is in the backup, find out why and \
                     run the job again"
                );
                context.voice.say(Severity::Error, &text);
                error.raw_os_error().unwrap_or(libc::EIO)
            }
        });
    }
    let Some(Current { reference: Some((bytes, at)), .. }) = &mut job.backup.current else {
        return Err(unexpected(context, "read"));
    };
    let count = buffer.len().min(SIZE - *at);
    buffer[..count].copy_from_slice(&bytes[*at..*at + count]);
    *at += count;
    Ok(count)
}

/// Read the file into the store.
fn take(context: &Context, job: &mut Job) -> Result<(), Trouble> {
    let Job { session, backup, config, .. } = job;
    let (Some(session), Some(current)) = (session, &mut backup.current) else {
        return Err(context
            .fatal("[GDD-FD-0006] a file was read without a session; report this as a bug")
            .into());
    };
    let Some(file) = &mut current.file else {
        return Err(Trouble::File(io::Error::from_raw_os_error(libc::EBADF)));
    };
    let fatal = |error: crate::error::StoreError| Trouble::from(context.fatal(&error.to_string()));
    let store = session.store();
    backup.block.resize(BLOCK, 0);
    let (mut length, mut hasher) = (0_u64, blake3::Hasher::new());
    let mut put = session.put().map_err(fatal)?;
    loop {
        if context.is_over() {
            let text =
                "[GDD-FD-0107] the job was cancelled or has failed while a file was read; run it again";
            return Err(context.fatal(text).into());
        }
        let count = match file.read(&mut backup.block) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                drop(put);
                return Err(lost_file(context, &mut backup.breaker, current.size, error));
            }
        };
        put.write(&backup.block[..count]).map_err(fatal)?;
        hasher.update(&backup.block[..count]);
        length += count as u64;
    }
    if length == 0 {
        drop(put);
        let still = file.metadata().map_err(Trouble::File)?.len();
        if still > 0 && config.zero_read_is_fatal {
            let text = format!(
                "[GDD-FD-0202] {}: expected {still} bytes, read none; exclude it from the FileSet, or set \
                 zero_read=error",
                current.name
            );
            return Err(context.fatal(&text).into());
        }
        let error = io::Error::other(format!("expected {} bytes, read none", current.size));
        return Err(lost_file(context, &mut backup.breaker, current.size, error));
    }
    let digest = *hasher.finalize().as_bytes();
    let place = put.finish(length, &digest).map_err(fatal)?;
    if let Some(reason) = backup.breaker.saw(current.size, length) {
        return Err(open_breaker(context, &reason));
    }
    if length != current.size {
        let text = format!(
            "[GDD-FD-0203] {}: had {} bytes, {length} were read; it changed during the backup, and comes back \
             with {length}",
            current.name, current.size
        );
        context.voice.say(Severity::Warning, &text);
    }
    let reference = Reference { store, place, length, stat_length: current.size, digest };
    current.reference = Some((reference.encode(), 0));
    backup.files += 1;
    backup.bytes += length;
    backup.digest.update(&length.to_le_bytes()).update(&digest);
    Ok(())
}

/// A file that gave nothing: counted by the circuit breaker.
fn lost_file(context: &Context, breaker: &mut Breaker, size: u64, error: io::Error) -> Trouble {
    match breaker.saw(size, 0) {
        Some(reason) => open_breaker(context, &reason),
        None => Trouble::File(error),
    }
}

fn open_breaker(context: &Context, reason: &str) -> Trouble {
    let text = format!("[GDD-FD-0204] {reason}; see what is wrong with the disk, then run the job again");
    context.fatal(&text).into()
}

/// Bacula closes the file.
pub fn close(context: &Context, job: &mut Job) -> Answer {
    let Some(current) = job.backup.current.take() else { return Answer::Done };
    if let Some(file) = &current.file {
        let _ = fadvise(file, 0, None, Advice::DontNeed);
    }
    match current.reference {
        Some((_, at)) if at < SIZE && !context.is_over() => {
            let text = format!(
                "[GDD-FD-0205] {}: the volume took {at} of the {SIZE} bytes of its reference; run the job again",
                current.name
            );
            context.fatal(&text)
        }
        _ => Answer::Done,
    }
}

/// The job is about to end: nothing is good without the store's receipt.
pub fn end(context: &Context, job: &mut Job) -> Answer {
    if context.is_dead() {
        return context.fatal("[GDD-FD-0207] the job has failed before; it has no receipt, run it again");
    }
    let Some(mut session) = job.session.take() else { return Answer::Done };
    if context.is_over() {
        // Said once more: should Bacula have changed its mind, the job must still not end well.
        return context
            .fatal("[GDD-FD-0107] the job was cancelled or has failed; it has no receipt, run it again");
    }
    let backup = &job.backup;
    let totals =
        Totals { files: backup.files, bytes: backup.bytes, digest: *backup.digest.finalize().as_bytes() };
    let receipt = match session.commit(&totals) {
        Ok(receipt) => receipt,
        Err(error) => return context.fatal(&error.to_string()),
    };
    if receipt.totals != totals {
        let text = format!(
            "[GDD-FD-0206] expected a receipt for {totals:?}, found one for {:?}; run the job again",
            receipt.totals
        );
        return context.fatal(&text);
    }
    context.voice.say(Severity::Info, &report(&receipt));
    Answer::Done
}

/// The line for the job's log.
fn report(receipt: &crate::store::Receipt) -> String {
    let (Totals { files, bytes, .. }, costs) = (&receipt.totals, receipt.costs);
    let report = gdd_wire::Report {
        files: *files,
        logical_bytes: *bytes,
        wire_bytes: costs.wire,
        new_bytes: costs.new,
        stored_bytes: costs.stored,
    };
    format!("gdd: {report}")
}
