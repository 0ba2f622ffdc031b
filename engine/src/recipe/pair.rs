//! Doing one thing to both copies at once: two operations in flight cost about as much time as one.

use std::path::PathBuf;
use std::time::Duration;

use gdd_uring::buffer::IoBuf;
use gdd_uring::io::{Done, FileId, Io, Op, Tag, Wait};

use crate::error::{Error, Result};

/// An open file, for operations and for messages.
#[derive(Clone, Debug)]
pub struct Target {
    /// The file.
    pub file: FileId,
    /// Its name.
    pub path: PathBuf,
}

/// Write `bytes` at `offset`, both aligned, into every target.
///
/// # Errors
/// The first failure, after all operations have ended.
pub fn write_all(io: &mut dyn Io, targets: &[Target], offset: u64, bytes: &[u8]) -> Result<()> {
    each(io, targets, "write", |target| {
        let mut buffer = IoBuf::zeroed(bytes.len());
        buffer.copy_from_slice(bytes);
        Op::Write { file: target.file, offset, buffer }
    })
}

/// Make every target's completed writes durable. Never retried.
///
/// # Errors
/// As [`write_all`].
pub fn sync_all(io: &mut dyn Io, targets: &[Target]) -> Result<()> {
    each(io, targets, "sync", |target| Op::Datasync { file: target.file })
}

fn each(io: &mut dyn Io, targets: &[Target], action: &'static str, op: impl Fn(&Target) -> Op) -> Result<()> {
    assert!(!targets.is_empty() && io.in_flight() == 0, "a blocking helper has work, and an idle ring");
    for (number, target) in targets.iter().enumerate() {
        let room = io.submit(Tag(number as u64), op(target)).is_ok();
        assert!(room, "an idle ring takes one operation for each copy");
    }
    let mut first_failure = None;
    let mut done = Vec::new();
    let mut pending = targets.len();
    while pending > 0 {
        io.poll(&mut done, Wait::For(Duration::from_secs(1))).map_err(Error::io(action, &targets[0].path))?;
        for Done { tag, result, .. } in done.drain(..) {
            pending -= 1;
            let target = usize::try_from(tag.0).ok().and_then(|number| targets.get(number));
            let target =
                target.ok_or_else(|| Error::Invalid("a completion that nobody asked for".to_owned()))?;
            if let Err(error) = result {
                first_failure.get_or_insert((target, error));
            }
        }
    }
    match first_failure {
        None => Ok(()),
        Some((target, error)) => Err(Error::io(action, &target.path)(error)),
    }
}
