//! What every backend must do, as one suite: the ring, `pread`/`pwrite` and the simulator all pass it.
//!
//! The engine is proven on the simulator and runs on a ring. That is worth something only while the two cannot be told
//! apart, so whatever the engine relies on stands here once and is asked of each backend.
//!
//! # What it does not do
//! Crashes and faults belong to the simulator's own tests; the remedies of a refused level to those of `probe`.

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
        ("round_trip", round_trip),
        ("many_in_flight", many_in_flight),
        ("full_queue", full_queue),
        ("errors_return_buffers", errors_return_buffers),
        ("unaligned", unaligned),
        ("end_of_file", end_of_file),
        ("allocate", allocate),
        ("truncate", truncate),
        ("create", create),
        ("names", names),
        ("list", list),
        ("file_ids", file_ids),
        ("registered", registered),
        ("waits", waits),
        ("wakes", wakes),
        ("sync", sync),
        ("space", space),
    ];
    for (name, case) in cases {
        let mut io = source.open().expect("the source opens a door");
        let folder = dir.join(name);
        io.create_dir(&folder).expect("a folder can be made");
        case(io.as_mut(), &folder);
    }
    dropped_in_flight(source, &dir.join("dropped_in_flight"));
    two_doors(source, &dir.join("two_doors"));
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

fn round_trip(io: &mut dyn Io, dir: &Path) {
    let file = new_file(io, &dir.join("file"));
    let mut offset = 0;
    for (seed, blocks) in (0..).zip([1_usize, 2, 3, 7, 31, 129, 257, 1024]) {
        let len = blocks * ALIGN;
        write_at(io, file, offset, paint(seed, len)).expect("a write works");
        let back = read_at(io, file, offset, len).expect("a read works");
        assert_eq!(&*back, &*paint(seed, len), "{blocks} blocks come back");
        offset += len as u64;
    }
    assert_eq!(io.size(file).expect("an open file has a size"), offset);
    let (count, buffer) =
        run(io, Op::Read { file, offset: 0, buffer: IoBuf::zeroed(0) }).expect("nothing is read");
    assert_eq!((count, buffer.map(|b| b.len())), (0, Some(0)));
    let hole = offset + 64 * ALIGN as u64;
    write_at(io, file, hole, paint(9, ALIGN)).expect("a write beyond the end works");
    assert_eq!(
        &*read_at(io, file, offset, ALIGN).expect("a hole reads"),
        &[0; ALIGN][..],
        "a hole reads as zeros"
    );
}

fn many_in_flight(io: &mut dyn Io, dir: &Path) {
    const BLOCKS: u64 = 300;
    let file = new_file(io, &dir.join("file"));
    let len = 3 * ALIGN;
    let mut done = Vec::new();
    for block in (0..BLOCKS).rev() {
        push(io, &mut done, block, Op::Write { file, offset: block * len as u64, buffer: paint(block, len) });
    }
    drain(io, &mut done);
    for block in 0..BLOCKS {
        push(
            io,
            &mut done,
            BLOCKS + block,
            Op::Read { file, offset: block * len as u64, buffer: IoBuf::zeroed(len) },
        );
    }
    drain(io, &mut done);
    let mut by_tag: BTreeMap<u64, Done> = BTreeMap::new();
    for one in done {
        assert_eq!(one.result.as_ref().ok(), Some(&len), "every operation moves all its bytes: {one:?}");
        assert!(by_tag.insert(one.tag.0, one).is_none(), "each operation completes once");
    }
    assert_eq!(by_tag.len() as u64, 2 * BLOCKS);
    for (tag, one) in by_tag {
        let buffer = one.buffer.expect("a buffer comes back");
        assert_eq!(&*buffer, &*paint(tag % BLOCKS, len), "operation {tag} has its own bytes");
    }
}

fn full_queue(io: &mut dyn Io, dir: &Path) {
    let file = new_file(io, &dir.join("file"));
    let capacity = io.capacity();
    assert!(capacity >= 2, "an Io keeps several operations in flight");
    for slot in 0..capacity as u64 {
        let buffer = paint(slot, ALIGN);
        io.submit(Tag(slot), Op::Write { file, offset: slot * ALIGN as u64, buffer }).expect("there is room");
    }
    assert_eq!(io.in_flight(), capacity);
    let refused = io.submit(Tag(0), Op::Write { file, offset: 0, buffer: paint(99, 2 * ALIGN) });
    let Err(Op::Write { offset: 0, buffer, .. }) = refused else {
        unreachable!("a full queue gives the operation back: {refused:?}")
    };
    assert_eq!(&*buffer, &*paint(99, 2 * ALIGN), "unchanged");
    let mut done = Vec::new();
    drain(io, &mut done);
    assert_eq!(done.len(), capacity);
    assert_eq!(
        &*read_at(io, file, 0, ALIGN).expect("a read works"),
        &*paint(0, ALIGN),
        "the refused one did not run"
    );
}

fn errors_return_buffers(io: &mut dyn Io, dir: &Path) {
    let path = dir.join("file");
    let file = new_file(io, &path);
    write_at(io, file, 0, paint(1, 4 * ALIGN)).expect("a write works");
    let never = FileId(u32::MAX - 1);
    let read_only = io.open(&path, Open::Read).expect("the file exists");
    for file in [never, read_only] {
        let mut buffer = paint(5, 4 * ALIGN);
        let tail = buffer.split_off(2 * ALIGN);
        let address = tail.as_ptr();
        let done = complete(io, Op::Write { file, offset: 0, buffer: tail });
        assert!(done.result.is_err(), "writing is refused: {done:?}");
        let tail = done.buffer.expect("a failed write gives its buffer back");
        assert_eq!((tail.as_ptr(), tail.len()), (address, 2 * ALIGN), "with the range it had");
        buffer.unsplit(tail).expect("it is the same part");
        assert_eq!(&*buffer, &*paint(5, 4 * ALIGN));
    }
    let done = complete(io, Op::Read { file: never, offset: 0, buffer: IoBuf::zeroed(ALIGN) });
    assert!(done.result.is_err() && done.buffer.is_some_and(|b| b.len() == ALIGN));
    let back = read_at(io, read_only, 0, 4 * ALIGN).expect("reading is allowed");
    assert_eq!(&*back, &*paint(1, 4 * ALIGN), "nothing was written");
}

/// Direct I/O refuses such operations, a page cache would not: all backends do, so that no test is kinder than a disk.
fn unaligned(io: &mut dyn Io, dir: &Path) {
    let file = new_file(io, &dir.join("file"));
    write_at(io, file, 0, paint(1, 2 * ALIGN)).expect("a write works");
    let mut short = IoBuf::zeroed(ALIGN);
    short.truncate(ALIGN - 512);
    let shifted = IoBuf::zeroed(2 * ALIGN).split_off(8);
    let mut shifted_whole = shifted;
    shifted_whole.truncate(ALIGN);
    for (what, offset, buffer) in
        [("length", 0, short), ("offset", 512, IoBuf::zeroed(ALIGN)), ("address", 0, shifted_whole)]
    {
        let len = buffer.len();
        let done = complete(io, Op::Write { file, offset, buffer });
        assert_eq!(done.result.map_err(|e| e.kind()), Err(ErrorKind::InvalidInput), "unaligned {what}");
        assert_eq!(done.buffer.map(|b| b.len()), Some(len));
    }
    assert_eq!(
        &*read_at(io, file, 0, 2 * ALIGN).expect("a read works"),
        &*paint(1, 2 * ALIGN),
        "nothing was written"
    );
}

fn end_of_file(io: &mut dyn Io, dir: &Path) {
    let file = new_file(io, &dir.join("file"));
    assert_eq!(read_at(io, file, 0, ALIGN).expect("an empty file reads").len(), 0);
    write_at(io, file, 0, paint(3, 5 * ALIGN)).expect("a write works");
    let back = read_at(io, file, 2 * ALIGN as u64, 16 * ALIGN).expect("a read works");
    assert_eq!(&*back, &paint(3, 5 * ALIGN)[2 * ALIGN..], "short at the end");
    assert_eq!(
        read_at(io, file, 5 * ALIGN as u64, ALIGN).expect("a read works").len(),
        0,
        "nothing at the end"
    );
    assert_eq!(read_at(io, file, 999 * ALIGN as u64, ALIGN).expect("a read works").len(), 0, "nor beyond");
    let odd = 3 * ALIGN + 777;
    io.truncate(file, odd as u64).expect("a file can be cut");
    let back = read_at(io, file, 0, 8 * ALIGN).expect("a read works");
    assert_eq!(
        &*back,
        &paint(3, 5 * ALIGN)[..odd],
        "a file that ends inside a block is read to its last byte"
    );
}

fn allocate(io: &mut dyn Io, dir: &Path) {
    let file = new_file(io, &dir.join("file"));
    let len = 64 * ALIGN as u64;
    let done = complete(io, Op::Allocate { file, len });
    assert_eq!(done.result.expect("space is there"), 0);
    assert!(done.buffer.is_none());
    assert_eq!(io.size(file).expect("an open file has a size"), len, "allocation extends");
    write_at(io, file, 8 * ALIGN as u64, paint(4, ALIGN)).expect("a write works");
    assert_eq!(io.size(file).expect("an open file has a size"), len, "a write inside does not");
    let back = read_at(io, file, 7 * ALIGN as u64, 3 * ALIGN).expect("a read works");
    assert_eq!(&back[..ALIGN], &[0; ALIGN][..], "allocated space reads as zeros");
    assert_eq!(&back[ALIGN..2 * ALIGN], &*paint(4, ALIGN));
    assert_eq!(&back[2 * ALIGN..], &[0; ALIGN][..]);
    assert_eq!(complete(io, Op::Allocate { file, len: len / 2 }).result.expect("less is there already"), 0);
    assert_eq!(io.size(file).expect("an open file has a size"), len, "allocation never shrinks");
    assert!(complete(io, Op::Allocate { file: FileId(u32::MAX - 1), len }).result.is_err());
}

fn truncate(io: &mut dyn Io, dir: &Path) {
    let file = new_file(io, &dir.join("file"));
    write_at(io, file, 0, paint(2, 4 * ALIGN)).expect("a write works");
    io.truncate(file, ALIGN as u64).expect("a file can be cut");
    assert_eq!(io.size(file).expect("an open file has a size"), ALIGN as u64);
    io.truncate(file, 3 * ALIGN as u64).expect("a file can be lengthened");
    let back = read_at(io, file, 0, 4 * ALIGN).expect("a read works");
    assert_eq!(back.len(), 3 * ALIGN);
    assert_eq!(&back[..ALIGN], &paint(2, 4 * ALIGN)[..ALIGN]);
    assert!(back[ALIGN..].iter().all(|&byte| byte == 0), "what was cut off does not come back");
    assert!(io.truncate(FileId(u32::MAX - 1), 0).is_err());
}

fn create(io: &mut dyn Io, dir: &Path) {
    let path = dir.join("file");
    for how in [Open::Read, Open::Write] {
        assert_eq!(io.open(&path, how).map_err(|e| e.kind()), Err(ErrorKind::NotFound));
    }
    let file = new_file(io, &path);
    write_at(io, file, 0, paint(1, ALIGN)).expect("a write works");
    assert_eq!(io.open(&path, Open::Create).map_err(|e| e.kind()), Err(ErrorKind::AlreadyExists));
    let again = io.open(&path, Open::Write).expect("the file exists");
    assert_eq!(
        &*read_at(io, again, 0, ALIGN).expect("a read works"),
        &*paint(1, ALIGN),
        "opening does not empty it"
    );
    assert_eq!(io.open(&dir.join("no/file"), Open::Create).map_err(|e| e.kind()), Err(ErrorKind::NotFound));
    io.create_dir(dir).expect("a folder that exists is fine");
}

fn names(io: &mut dyn Io, dir: &Path) {
    let (old, new) = (dir.join("old"), dir.join("new"));
    let first = new_file(io, &old);
    let second = new_file(io, &new);
    write_at(io, first, 0, paint(1, ALIGN)).expect("a write works");
    write_at(io, second, 0, paint(2, 2 * ALIGN)).expect("a write works");
    io.close(second);
    io.rename(&old, &new).expect("a rename replaces");
    assert_eq!(io.open(&old, Open::Read).map_err(|e| e.kind()), Err(ErrorKind::NotFound));
    write_at(io, first, ALIGN as u64, paint(3, ALIGN)).expect("an open file follows its name");
    let file = io.open(&new, Open::Read).expect("the new name exists");
    let back = read_at(io, file, 0, 4 * ALIGN).expect("a read works");
    assert_eq!(back.len(), 2 * ALIGN);
    assert_eq!((&back[..ALIGN], &back[ALIGN..]), (&*paint(1, ALIGN), &*paint(3, ALIGN)));
    io.close(file);
    io.close(first);
    io.unlink(&new).expect("a name can be removed");
    assert_eq!(io.unlink(&new).map_err(|e| e.kind()), Err(ErrorKind::NotFound));
    assert_eq!(io.rename(&old, &new).map_err(|e| e.kind()), Err(ErrorKind::NotFound));
    io.sync_dir(dir).expect("a folder can be synced");
    assert!(io.sync_dir(&dir.join("none")).is_err());
}

fn list(io: &mut dyn Io, dir: &Path) {
    assert!(io.list(dir).expect("a folder can be listed").is_empty());
    for (name, blocks) in [("b", 2), ("a", 0), ("c10", 1), ("c9", 3)] {
        let file = new_file(io, &dir.join(name));
        write_at(io, file, 0, paint(0, blocks * ALIGN)).expect("a write works");
        io.close(file);
    }
    io.create_dir(&dir.join("bb")).expect("a folder can be made");
    let entries = io.list(dir).expect("a folder can be listed");
    let found: Vec<_> = entries.iter().map(|e| (e.name.as_str(), e.size, e.is_dir)).collect();
    let block = ALIGN as u64;
    let expected = [
        ("a", 0, false),
        ("b", 2 * block, false),
        ("bb", 0, true),
        ("c10", block, false),
        ("c9", 3 * block, false),
    ];
    assert_eq!(found, expected, "sorted by name");
    assert_eq!(io.list(&dir.join("none")).map_err(|e| e.kind()), Err(ErrorKind::NotFound));
}

fn file_ids(io: &mut dyn Io, dir: &Path) {
    let stale = new_file(io, &dir.join("first"));
    write_at(io, stale, 0, paint(1, ALIGN)).expect("a write works");
    io.close(stale);
    io.close(stale);
    io.close(FileId(u32::MAX - 1));
    let second = new_file(io, &dir.join("second"));
    assert_ne!(stale, second, "a name of a closed file is not given out again");
    assert!(complete(io, Op::Write { file: stale, offset: 0, buffer: paint(2, ALIGN) }).result.is_err());
    assert!(complete(io, Op::Datasync { file: stale }).result.is_err());
    assert!(io.sync_all(stale).is_err());
    assert!(io.size(stale).is_err());
    assert_eq!(io.size(second).expect("an open file has a size"), 0, "the other file is untouched");
    let mut open = Vec::new();
    for number in 0..200_u64 {
        let file = new_file(io, &dir.join(format!("many-{number}")));
        write_at(io, file, 0, paint(number, ALIGN)).expect("a write works");
        open.push((number, file));
    }
    for (number, file) in open {
        assert_eq!(
            &*read_at(io, file, 0, ALIGN).expect("a read works"),
            &*paint(number, ALIGN),
            "file {number}"
        );
        io.close(file);
    }
}

fn registered(io: &mut dyn Io, dir: &Path) {
    let file = new_file(io, &dir.join("file"));
    let pool = Pool::new(8 * ALIGN, 4);
    let _only_speed = io.register(&pool);
    for part in 0..4_u64 {
        let mut buffer = pool.take().expect("a buffer is free");
        buffer.copy_from_slice(&paint(part, 8 * ALIGN));
        let mut middle = buffer.split_off(ALIGN);
        let _tail = middle.split_off(4 * ALIGN);
        write_at(io, file, part * 4 * ALIGN as u64, middle).expect("a part of a pool buffer is written");
    }
    assert_eq!(pool.available(), 4, "every part came back and was dropped");
    for part in 0..4_u64 {
        let mut buffer = pool.take().expect("a buffer is free");
        let tail = buffer.split_off(4 * ALIGN);
        let (count, buffer) =
            run(io, Op::Read { file, offset: part * 4 * ALIGN as u64, buffer: tail }).expect("a read works");
        assert_eq!(count, 4 * ALIGN);
        let buffer = buffer.expect("a buffer comes back");
        assert_eq!(&*buffer, &paint(part, 8 * ALIGN)[ALIGN..5 * ALIGN], "part {part}");
    }
}

fn waits(io: &mut dyn Io, dir: &Path) {
    let mut done = Vec::new();
    let before = io.now();
    io.poll(&mut done, Wait::No).expect("the ring works");
    io.poll(&mut done, Wait::For(Duration::from_millis(1))).expect("the ring works");
    io.poll(&mut done, Wait::For(Duration::ZERO)).expect("the ring works");
    assert!(done.is_empty() && io.in_flight() == 0, "nothing was asked for");
    assert!(io.now() >= before, "time does not go back");
    let file = new_file(io, &dir.join("file"));
    io.submit(Tag(1), Op::Write { file, offset: 0, buffer: paint(1, ALIGN) }).expect("there is room");
    io.submit(Tag(1), Op::Write { file, offset: ALIGN as u64, buffer: paint(1, ALIGN) })
        .expect("there is room");
    while io.in_flight() > 0 {
        io.poll(&mut done, Wait::No).expect("polling without waiting also makes progress");
        std::thread::yield_now();
    }
    assert_eq!(done.len(), 2, "a tag may be used twice");
}

fn wakes(io: &mut dyn Io, dir: &Path) {
    const ROUNDS: usize = 2000;
    let file = new_file(io, &dir.join("file"));
    let mut done = Vec::new();
    let waker = io.waker();
    waker.wake();
    waker.wake();
    io.poll(&mut done, PATIENCE).expect("a wake-up before the wait ends it");
    waker.wake();
    io.poll(&mut done, Wait::No).expect("the ring works");
    io.poll(&mut done, PATIENCE).expect("only a wait uses a wake-up up");
    let (asked, seen) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=ROUNDS {
                asked.store(round, Ordering::Relaxed); // Published by the wake-up itself; see `Waker::wake`.
                waker.wake();
                while seen.load(Ordering::Acquire) < round {
                    std::thread::yield_now();
                }
            }
        });
        for round in 1..=ROUNDS {
            while asked.load(Ordering::Relaxed) < round {
                io.poll(&mut done, PATIENCE).expect("the ring works");
            }
            seen.store(round, Ordering::Release);
        }
    });
    assert!(done.is_empty(), "a wake-up is no completion");
    let waker = io.waker();
    std::thread::scope(|scope| {
        scope.spawn(|| (0..ROUNDS).for_each(|_| waker.wake()));
        for round in 0..ROUNDS as u64 {
            let offset = round % 8 * ALIGN as u64;
            push(io, &mut done, round, Op::Write { file, offset, buffer: IoBuf::zeroed(ALIGN) });
        }
    });
    drain(io, &mut done);
    assert_eq!(done.len(), ROUNDS, "wake-ups lose no completion");
    assert!(done.iter().all(|one| one.result.is_ok()));
}

fn sync(io: &mut dyn Io, dir: &Path) {
    let file = new_file(io, &dir.join("file"));
    write_at(io, file, 0, paint(1, ALIGN)).expect("a write works");
    datasync(io, file).expect("a file can be synced");
    io.sync_all(file).expect("a file can be synced");
    io.close(file);
    for gone in [file, FileId(u32::MAX - 1)] {
        assert!(datasync(io, gone).is_err(), "a file that is not open cannot be synced");
        assert!(io.sync_all(gone).is_err());
    }
}

fn space(io: &mut dyn Io, dir: &Path) {
    assert!(io.free_bytes(dir).expect("the folder exists") > 0);
    assert!(io.free_bytes(&dir.join("none")).is_err());
}

/// A door dropped with operations under way: buffers go back to their pool only after the backend is done with them.
fn dropped_in_flight(source: &dyn IoSource, dir: &Path) {
    const LEN: usize = 64 * ALIGN;
    let mut io = source.open().expect("the source opens a door");
    io.create_dir(dir).expect("a folder can be made");
    let path = dir.join("file");
    let file = new_file(io.as_mut(), &path);
    for slot in 0..8 {
        write_at(io.as_mut(), file, slot * LEN as u64, paint(1, LEN)).expect("a write works");
    }
    let pool = Pool::new(LEN, 8);
    let _only_speed = io.register(&pool);
    for slot in 0..8_u64 {
        let mut buffer = pool.take().expect("a buffer is free");
        let op = if slot % 2 == 0 {
            buffer.copy_from_slice(&paint(2, LEN));
            Op::Write { file, offset: slot * LEN as u64, buffer }
        } else {
            Op::Read { file, offset: slot * LEN as u64, buffer }
        };
        io.submit(Tag(slot), op).expect("there is room");
    }
    let waker = io.waker();
    io.poll(&mut Vec::new(), Wait::No).expect("the ring works");
    drop(io);
    waker.wake(); // A waker may outlive its door.
    assert_eq!(pool.available(), 8, "every buffer came back");
    // Were one still being filled, this would be overwritten.
    let mut buffers: Vec<IoBuf> = (0..8).map(|_| pool.take().expect("a buffer is free")).collect();
    buffers.iter_mut().for_each(|buffer| buffer.fill(0xee));
    let mut io = source.open().expect("the source opens a door");
    let file = io.open(&path, Open::Read).expect("the file exists");
    for slot in 0..8 {
        let back = read_at(io.as_mut(), file, slot * LEN as u64, LEN).expect("a read works");
        for (block, bytes) in back.chunks(ALIGN).enumerate() {
            let range = block * ALIGN..(block + 1) * ALIGN;
            let fits = |seed| bytes == &paint(seed, LEN)[range.clone()];
            assert!(fits(1) || (slot % 2 == 0 && fits(2)), "slot {slot} block {block} is old or new");
        }
    }
    assert!(buffers.iter().all(|buffer| buffer.iter().all(|&byte| byte == 0xee)));
}

/// Two threads, each with a door of its own; what one wrote, the other reads.
fn two_doors(source: &dyn IoSource, dir: &Path) {
    source.open().expect("the source opens a door").create_dir(dir).expect("a folder can be made");
    let paths: [PathBuf; 2] = [dir.join("left"), dir.join("right")];
    std::thread::scope(|scope| {
        for (seed, path) in (0..).zip(&paths) {
            scope.spawn(move || {
                let mut io = source.open().expect("the source opens a door");
                let file = new_file(io.as_mut(), path);
                let mut done = Vec::new();
                for block in 0..64 {
                    let buffer = paint(seed * 100 + block, 4 * ALIGN);
                    push(
                        io.as_mut(),
                        &mut done,
                        block,
                        Op::Write { file, offset: block * 4 * ALIGN as u64, buffer },
                    );
                }
                drain(io.as_mut(), &mut done);
                assert!(done.len() == 64 && done.iter().all(|one| one.result.is_ok()));
            });
        }
    });
    let mut io = source.open().expect("the source opens a door");
    for (seed, path) in (0..).zip(&paths) {
        let file = io.open(path, Open::Read).expect("the other thread made it");
        for block in 0..64 {
            let back = read_at(io.as_mut(), file, block * 4 * ALIGN as u64, 4 * ALIGN).expect("a read works");
            assert_eq!(&*back, &*paint(seed * 100 + block, 4 * ALIGN));
        }
    }
}
