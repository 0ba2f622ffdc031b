//! How fast jobs are on our device and on Bacula's plain one, in one run: files that nothing compresses, new and known,
//! and back again.
//!
//! `cargo run --release -p gdd-tests --example jobs -- [MEGABYTES [RUNS]]` prints a table of medians and their ratios.
//! The devices take turns, so that a slow moment of the machine meets all. Ours is durable when the job ends; the plain
//! one leaves its last gigabytes to the kernel. Ours is there twice: the second has `Block Checksum = no`, which spares
//! bacula-sd a checksum of each block beside the driver's own, and gets data of its own, since the store is the same.
#![allow(clippy::expect_used, clippy::print_stdout, clippy::cast_precision_loss)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use gdd_rig::{Device, Job, JobId, JobResult, Level, Pool, Rig};
use gdd_tests::bacula::Site;
use gdd_tests::random::Random;

/// Lengths of files, in turn, in bytes. Mixed: most are small, most bytes are in large ones.
const SETS: [(&str, &[usize]); 2] = [
    ("mixed", &[4 << 10, 20 << 10, 64 << 10, 200 << 10, 700 << 10, 1 << 20, 2 << 20, 5 << 20]),
    ("small", &[500, 2000, 4 << 10, 9000]),
];
/// Bytes of the small files, as a part of those of the others: the catalog takes most of their time.
const SMALL_SHARE: u64 = 40;

/// The jobs, and their devices for people.
const JOBS: [(&str, &str); 3] = [("gdd", "gdd"), ("bare", "no checksum"), ("plain", "plain")];

/// Rates of the devices in MB/s, by set and kind of data.
type Rates = BTreeMap<(&'static str, &'static str), [Vec<f64>; JOBS.len()]>;

fn main() {
    let mut words = std::env::args().skip(1).map(|word| word.parse::<u64>().expect("a number"));
    let (megabytes, runs) = (words.next().unwrap_or(1000), words.next().unwrap_or(3));
    let mut site = Site::new(gdd_rig::Release::V9).expect("GDD_RIG is not off");
    let source = site.folder().join("source");
    let other = site.folder().join("other");
    let rig = site
        .bacula()
        .device(Device::new("Bare", "Cloud").line("Block Checksum = no"))
        .pool(Pool::new("Bare", "Bare").label_format("Bare-"))
        .device(Device::file("Plain"))
        .pool(Pool::new("Plain", "Plain").label_format("Plain-"))
        .backup("gdd", &source)
        .backup("bare-set", &other)
        .job(Job::backup("bare", "bare-set").pool("Bare"))
        .job(Job::backup("plain", "gdd").pool("Plain"))
        .start()
        .expect("Bacula starts");
    println!("{megabytes} MB of mixed files, a fortieth of that in small ones; {runs} runs");
    let mut rates = Rates::new();
    for (seed, (set, lengths)) in (0..runs).flat_map(|run| SETS.map(|set| (run, set))) {
        let bytes = megabytes * 1_000_000 / if set == "small" { SMALL_SHARE } else { 1 };
        let made = make(&source, seed, bytes, lengths);
        assert_eq!(made, make(&other, seed + runs, bytes, lengths), "the same lengths");
        let mut devices = [0, 1, 2];
        devices.rotate_left(usize::try_from(seed).expect("few runs") % 3);
        let mut note = |kind, device: usize, result: &JobResult| {
            let rate = made as f64 / 1e6 / result.running.as_secs_f64().max(0.05);
            rates.entry((set, kind)).or_default()[device].push(rate);
        };
        for device in devices {
            note("new", device, &backup(&rig, JOBS[device].0));
        }
        for device in devices {
            let known = backup(&rig, JOBS[device].0);
            note("known", device, &known);
            note("restore", device, &restore(&rig, known.id));
        }
    }
    print(&rates);
    site.stop_and_check();
}

/// Medians, their ratios to the plain device's, and every run.
fn print(rates: &Rates) {
    println!("\n{:<14} {:<12} {:>8} {:>8}   every run", "data", "device", "MB/s", "ratio");
    for ((set, kind), all) in rates {
        let plain = median(&all[JOBS.len() - 1]);
        for (device, runs) in all.iter().enumerate() {
            let (rate, data) = (median(runs), format!("{set} {kind}"));
            println!("{data:<14} {:<12} {rate:>8.0} {:>8.2}   {runs:.0?}", JOBS[device].1, rate / plain);
        }
    }
}

/// Files of `bytes` in all, and nothing else; the same for the same `seed`.
fn make(root: &Path, seed: u64, bytes: u64, lengths: &[usize]) -> u64 {
    let _ = fs::remove_dir_all(root);
    let mut random = Random::new(seed + 1);
    let mut buffer = vec![0; 5 << 20];
    let (mut done, mut number) = (0, 0);
    while done < bytes {
        let folder = root.join(format!("{:03}", number / 64));
        fs::create_dir_all(&folder).expect("a folder is made");
        let length = lengths[number % lengths.len()];
        random.fill(&mut buffer[..length]);
        fs::write(folder.join(format!("{number:05}")), &buffer[..length]).expect("a file is written");
        done += length as u64;
        number += 1;
    }
    done
}

/// One job. What others left to be written is on the disk before it begins: our device waits for the disk, the plain
/// one leaves that to the kernel, so that each would pay for the one before otherwise.
fn backup(rig: &Rig, job: &str) -> JobResult {
    rustix::fs::sync();
    rig.run(job, Level::Full).and_then(JobResult::demand_ok).expect("the job ends well")
}

fn restore(rig: &Rig, job: JobId) -> JobResult {
    rustix::fs::sync();
    let back = rig.restore(&[job]).expect("the restore runs");
    let _ = fs::remove_dir_all(back.path(Path::new("/")));
    back.result.demand_ok().expect("the restore ends well")
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
