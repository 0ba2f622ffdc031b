//! What every backend must do, as one suite: the ring, `pread`/`pwrite` and the simulator all pass it.
//!
//! The engine is proven on the simulator and runs on a ring. That is worth something only while the two cannot be told
//! apart, so whatever the engine relies on stands here once and is asked of each backend.
//!
//! # What it does not do
//! Crashes and faults belong to the simulator's own tests; the remedies of a refused level to those of `probe`.

mod data;
mod names;
mod threads;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::buffer::{ALIGN, IoBuf, Pool};
use crate::io::{Done, FileId, Io, IoSource, Op, Open, Tag, Wait, datasync, read_at, run, write_at};

/// Longer than any operation takes. A wake-up that is lost shows as a test that hangs for this long.
const PATIENCE: Wait = Wait::For(Duration::from_secs(120));

/// Run every case on fresh doors of `source`, in new folders below `dir`, which exists.
///
/// # Panics
/// When the backend breaks the contract of [`Io`]; the message says where.
pub fn check(source: &dyn IoSource, dir: &Path) {
    type Case = fn(&mut dyn Io, &Path);
    let cases: [(&str, Case); 17] = [
        ("round_trip", data::round_trip),
        ("many_in_flight", data::many_in_flight),
        ("full_queue", data::full_queue),
        ("errors_return_buffers", data::errors_return_buffers),
        ("unaligned", data::unaligned),
        ("end_of_file", data::end_of_file),
        ("allocate", data::allocate),
        ("truncate", data::truncate),
        ("create", names::create),
        ("names", names::names),
        ("list", names::list),
        ("file_ids", names::file_ids),
        ("registered", data::registered),
        ("waits", threads::waits),
        ("wakes", threads::wakes),
        ("sync", data::sync),
        ("space", names::space),
    ];
    for (name, case) in cases {
        let mut io = source.open().expect("the source opens a door");
        let folder = dir.join(name);
        io.create_dir(&folder).expect("a folder can be made");
        case(io.as_mut(), &folder);
    }
    threads::dropped_in_flight(source, &dir.join("dropped_in_flight"));
    threads::two_doors(source, &dir.join("two_doors"));
}

/// `len` bytes that differ for each `seed`; a prime period, so that swapped blocks cannot look right.
fn paint(seed: u64, len: usize) -> IoBuf {
    let mut buffer = IoBuf::zeroed(len);
    for (position, byte) in buffer.iter_mut().enumerate() {
        *byte = u8::try_from((position as u64 + seed * 97) % 251).expect("251 fits a byte");
    }
    buffer
}

fn new_file(io: &mut dyn Io, path: &Path) -> FileId {
    io.open(path, Open::Create).expect("a new file can be created")
}

/// Submit, reaping when the queue is full, so that no case depends on the capacity.
fn push(io: &mut dyn Io, done: &mut Vec<Done>, tag: u64, mut op: Op) {
    while let Err(back) = io.submit(Tag(tag), op) {
        op = back;
        io.poll(done, PATIENCE).expect("the ring works");
    }
}

fn drain(io: &mut dyn Io, done: &mut Vec<Done>) {
    while io.in_flight() > 0 {
        io.poll(done, PATIENCE).expect("the ring works");
    }
}

/// Run one operation and keep the whole completion, also of a failure.
fn complete(io: &mut dyn Io, op: Op) -> Done {
    let mut done = Vec::new();
    push(io, &mut done, 7, op);
    drain(io, &mut done);
    assert_eq!(done.len(), 1, "one operation completes once");
    let one = done.remove(0);
    assert_eq!(one.tag, Tag(7), "the tag comes back");
    one
}
