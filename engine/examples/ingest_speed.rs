//! Scratch prototype; not committed.
use gdd_engine::{
    core::*,
    driver::{self, Sleep},
    filter::*,
    format::{StoreId, superblock::Settings},
    ids::Epoch,
    index::{Index, rocks::RocksIndex},
    ingest::front::Front,
    options::Budget,
    paths::Paths,
};
use gdd_kernels::{Chunker, Params};
use gdd_uring::{buffer::*, probe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
fn fill(b: &mut [u8], seed: u64) {
    let mut s = seed.wrapping_mul(0x9e3779b97f4a7c15) | 1;
    for c in b.chunks_exact_mut(8) {
        s ^= s << 13;
        s ^= s >> 7;
        s ^= s << 17;
        c.copy_from_slice(&s.wrapping_mul(0x2545F4914F6CDD1D).to_le_bytes());
    }
}
fn main() {
    let root = std::path::PathBuf::from(std::env::args().nth(1).unwrap_or("/var/tmp/gddspeed".into()));
    let _ = std::fs::remove_dir_all(&root);
    let paths = Paths::new(&root);
    for d in [paths.containers(), paths.pool()] {
        std::fs::create_dir_all(d).unwrap();
    }
    let store = StoreId([7; 16]);
    let workers = std::thread::available_parallelism().unwrap().get();
    let index: Arc<dyn Index> = Arc::new(RocksIndex::create(&paths.index(), store, 128 << 20).unwrap());
    let (filter, _) = Filter::open(None, FilterConfig::new(store, Epoch(1))).unwrap();
    filter.begin_rebuild();
    filter.finish_rebuild();
    let source = probe::probe(&root, probe::Mode::Auto, false).unwrap();
    println!("{} workers {} ", source.mode(), workers);
    let seed = Seed {
        paths,
        store,
        settings: Settings::default(),
        epoch: Epoch(1),
        index,
        filter: Arc::new(filter),
        source,
        damaged: Arc::default(),
        begun: vec![],
        workers,
        budget: Budget::of(1 << 30),
        poison: Default::default(),
        prepare: Default::default(),
        commit: Default::default(),
        stop: Arc::new(AtomicBool::new(false)),
        unix_seconds: || 0,
    };
    let counters: Vec<Arc<_>> = (0..workers).map(|_| Arc::default()).collect();
    let mut threads = vec![];
    let mut doors = vec![];
    let cores = core_affinity::get_core_ids().unwrap();
    for n in 0..workers {
        let (s, c, core) = (seed.clone(), Arc::clone(&counters[n]), cores[n]);
        let (tx, rx) = std::sync::mpsc::channel();
        threads.push(std::thread::spawn(move || {
            core_affinity::set_for_current(core);
            let io = s.source.open().unwrap();
            let (mut sh, d) = s.shard(n, io, c).unwrap();
            tx.send(d).unwrap();
            driver::run(&mut sh);
        }));
        doors.push(rx.recv().unwrap());
    }
    let mut com = seed.committer();
    threads.push(std::thread::spawn(move || driver::run(&mut com)));
    let s2 = seed.clone();
    threads.push(std::thread::spawn(move || {
        let io = s2.source.open().unwrap();
        driver::run(&mut s2.preparer(io))
    }));
    let core = Core::new(seed, doors, counters).unwrap();
    // single core rate
    let total = 2usize << 30;
    let n = total / (4 << 20);
    let mut extents: Vec<Shared> = vec![];
    for i in 0..n {
        let mut b = IoBuf::zeroed(4 << 20);
        fill(&mut b, 1 + i as u64);
        extents.push(b.freeze());
    }
    let ch = Chunker::new(Params::default());
    let t = Instant::now();
    let mut out = vec![];
    for e in &extents[..n / 4] {
        out.clear();
        ch.cut_and_hash(e, false, &mut out);
    }
    let single = (total / 4) as f64 / t.elapsed().as_secs_f64() / 1e9;
    println!("single-core cut+hash {single:.2} GB/s  level {}", ch.level());
    for round in 0..std::env::args().nth(2).map_or(6,|v|v.parse().unwrap()) {
        if round % 3 == 0 && round > 0 || std::env::args().nth(3).is_some() && round>0 {
            for i in 0..n {
                let mut b = IoBuf::zeroed(4 << 20);
                fill(&mut b, 100000 + i as u64);
                extents[i] = b.freeze();
            }
        }
        let t = Instant::now();
        let mut f = Front::new(&core.doors, 1, Chunker::new(core.params), Box::new(Sleep));
        for e in &extents {
            f.send(e.clone()).unwrap();
            f.take_chunks();
        }
        f.finish().unwrap();
        let s = t.elapsed().as_secs_f64();
        println!(
            "round {round}: {:.2} GB/s  ({:.0}% of 2x single) added {:?}",
            total as f64 / s / 1e9,
            100.0 * total as f64 / s / 1e9 / (2.0 * single),
            f.added()
        );
    }
    for c in &core.counters {
        println!("{c:?}");
    }
    core.stop.store(true, Ordering::Release);
    core.doors.iter().for_each(|d| d.wake());
    core.prepare.close();
    for t in threads {
        t.join().unwrap();
    }
}
