//! Cases about waiting, waking, dropping, and several doors at once.

use super::*;

pub(super) fn waits(io: &mut dyn Io, dir: &Path) {
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

pub(super) fn wakes(io: &mut dyn Io, dir: &Path) {
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

/// A door dropped with operations under way: buffers go back to their pool only after the backend is done with them.
pub(super) fn dropped_in_flight(source: &dyn IoSource, dir: &Path) {
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
pub(super) fn two_doors(source: &dyn IoSource, dir: &Path) {
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
