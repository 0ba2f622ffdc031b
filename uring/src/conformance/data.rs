//! Cases about bytes: every operation, its errors, and its buffer.

use super::*;

pub(super) fn round_trip(io: &mut dyn Io, dir: &Path) {
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

pub(super) fn many_in_flight(io: &mut dyn Io, dir: &Path) {
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

pub(super) fn full_queue(io: &mut dyn Io, dir: &Path) {
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

pub(super) fn errors_return_buffers(io: &mut dyn Io, dir: &Path) {
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
pub(super) fn unaligned(io: &mut dyn Io, dir: &Path) {
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

pub(super) fn end_of_file(io: &mut dyn Io, dir: &Path) {
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

pub(super) fn allocate(io: &mut dyn Io, dir: &Path) {
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

pub(super) fn truncate(io: &mut dyn Io, dir: &Path) {
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

pub(super) fn registered(io: &mut dyn Io, dir: &Path) {
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

pub(super) fn sync(io: &mut dyn Io, dir: &Path) {
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
