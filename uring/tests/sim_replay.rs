//! One seed tells one story: the same log, the same bytes, the same crash.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::path::Path;
use std::time::{Duration, Instant};

use gdd_uring::buffer::{ALIGN, IoBuf};
use gdd_uring::io::{Done, FileId, Io, IoSource, Op, Open, Tag, Wait};
use gdd_uring::sim::{Faults, Rng, SimDisk, SimEntry};

fn random_op(rng: &mut Rng, file: FileId) -> Op {
    let offset = rng.below(64) * ALIGN as u64;
    let mut buffer = IoBuf::zeroed(ALIGN * (1 + rng.index(4)));
    buffer.fill(u8::try_from(rng.below(256)).unwrap());
    match rng.below(10) {
        0 => Op::Datasync { file },
        1 => Op::Allocate { file, len: rng.below(128) * ALIGN as u64 },
        2 | 3 => Op::Read { file, offset, buffer },
        _ => Op::Write { file, offset, buffer },
    }
}

/// Two doors, stepped in turn, do `steps` random things to four files.
fn play(disk: &SimDisk, seed: u64, steps: u32) {
    let mut rng = Rng::new(seed);
    let mut doors: Vec<Box<dyn Io>> = (0..2).map(|_| disk.source().open().unwrap()).collect();
    let mut files = Vec::new();
    for number in 0..4 {
        let door = number % 2;
        if let Ok(file) = doors[door].open(Path::new(&format!("/file-{number}")), Open::Create) {
            files.push((door, file));
        }
    }
    let mut done: Vec<Done> = Vec::new();
    for step in 0..steps {
        let (door, file) = files[rng.index(files.len())];
        // A full door refuses; the poll below makes room.
        let _refused = doors[door].submit(Tag(u64::from(step)), random_op(&mut rng, file)).is_err();
        let wait = if rng.coin() { Wait::No } else { Wait::For(Duration::from_micros(50)) };
        doors[step as usize % 2].poll(&mut done, wait).unwrap();
        if step % 64 == 0 {
            // It may fail by a drawn fault, at the same place in every run of the seed.
            let _failed = doors[0].sync_dir(Path::new("/"));
        }
    }
}

fn story(seed: u64) -> (Vec<String>, Vec<SimEntry>, Vec<u8>, Duration, u64) {
    let disk = SimDisk::with_faults(seed, Faults::swarm(seed));
    disk.keep_log(100_000);
    play(&disk, seed, 400);
    let image = disk.crash(seed);
    let bytes = image.files().iter().flat_map(|file| image.contents(&file.path).unwrap()).collect();
    (disk.log(), image.files(), bytes, disk.now(), disk.op_count())
}

#[test]
fn the_same_seed_twice_gives_identical_logs_and_images() {
    let mut lines = 0;
    for seed in 0..30 {
        let (first, second) = (story(seed), story(seed));
        assert_eq!(first, second, "seed {seed}");
        assert_ne!(first.0, story(seed + 1000).0, "another seed is another story");
        lines += first.0.len();
    }
    assert!(lines > 30 * 400, "there was something to compare: {lines} lines");
}

#[test]
fn the_log_is_bounded_and_off_at_first() {
    let disk = SimDisk::new(1);
    play(&disk, 1, 50);
    assert!(disk.log().is_empty());
    disk.keep_log(10);
    disk.create_dir_all(Path::new("/d")).unwrap();
    let mut io = disk.source().open().unwrap();
    for _ in 0..50 {
        io.list(Path::new("/d")).unwrap();
    }
    assert_eq!(disk.log().len(), 10);
    assert!(disk.log()[9].contains("List /d"), "{:?}", disk.log());
}

#[test]
fn a_snapshot_goes_its_own_way() {
    let disk = SimDisk::new(3);
    play(&disk, 3, 200);
    let before = story_of(&disk);
    let snapshot = disk.snapshot(9);
    assert_eq!(story_of(&snapshot), before);
    let mut io = snapshot.source().open().unwrap();
    io.unlink(Path::new("/file-0")).unwrap();
    assert_eq!((disk.files().len(), snapshot.files().len()), (4, 3));
    assert_eq!(story_of(&disk), before);
}

fn story_of(disk: &SimDisk) -> Vec<(SimEntry, Vec<u8>)> {
    let entry = |file: SimEntry| (file.clone(), disk.contents(&file.path).unwrap());
    disk.files().into_iter().map(entry).collect()
}

#[test]
fn many_short_runs_count_every_operation() {
    const RUNS: u64 = 300;
    const STEPS: u32 = 500;
    let start = Instant::now();
    let mut ops = 0;
    for seed in 0..RUNS {
        let disk = SimDisk::new(seed);
        play(&disk, seed, STEPS);
        drop(disk.crash(seed));
        ops += disk.op_count();
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{ops} simulated operations, {:.0} per second, {RUNS} crashes included", ops as f64 / seconds);
    let asked = RUNS * u64::from(STEPS);
    assert!(ops > asked / 2 && ops < asked * 2, "{ops}: most were accepted, none was counted twice");
}
