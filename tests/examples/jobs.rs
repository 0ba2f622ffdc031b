//! How fast jobs are on our device and on Bacula's plain one, in one run: files that nothing compresses, new and known.
//!
//! `cargo run --release -p gdd-tests --example jobs [MEGABYTES [RUNS]]` prints a table of medians and their ratios. The
//! two devices take turns, so that a slow moment of the machine meets both.
#![allow(clippy::expect_used, clippy::print_stdout)]

use std::fs;
use std::path::Path;

use gdd_rig::{Device, Job, JobResult, Level, Pool, Rig};
use gdd_tests::bacula::{DEVICE, POOL, Site};
use gdd_tests::random::Random;

/// Lengths of files, in turn, in bytes: most are small, most bytes are in large ones.
const LENGTHS: [usize; 8] = [4 << 10, 20 << 10, 64 << 10, 200 << 10, 700 << 10, 1 << 20, 2 << 20, 5 << 20];

fn main() {
    let mut words = std::env::args().skip(1).map(|word| word.parse::<u64>().expect("a number"));
    let (megabytes, runs) = (words.next().unwrap_or(1000), words.next().unwrap_or(3));
    let mut site = Site::new(gdd_rig::Release::V9).expect("GDD_RIG is not off");
    let source = site.folder().join("source");
    let plain = Pool::new("Plain", "Plain").label_format("Plain-").recycle();
    let rig = site
        .bacula()
        .device(Device::file("Plain"))
        .pool(plain)
        .backup("deduplicated", &source)
        .job(Job::backup("plain", "deduplicated").pool("Plain"))
        .start()
        .expect("Bacula starts");
    println!(
        "{megabytes} MB of incompressible files, {runs} runs; pool {POOL} on device {DEVICE} and pool Plain"
    );
    let mut rates: [Vec<f64>; 4] = Default::default();
    for run in 0..runs {
        let _ = fs::remove_dir_all(&source);
        let bytes = make(&source, run, megabytes * 1_000_000);
        let order = if run % 2 == 0 { ["deduplicated", "plain"] } else { ["plain", "deduplicated"] };
        let mut rate = |kind: usize, job: &str| {
            let result = timed(&rig, job);
            let slot = 2 * kind + usize::from(job == "plain");
            rates[slot].push(bytes as f64 / 1e6 / result.running.as_secs_f64());
        };
        order.iter().for_each(|job| rate(0, job));
        order.iter().for_each(|job| rate(1, job));
    }
    println!("\n{:<6} {:>14} {:>14} {:>8}", "data", "gdd MB/s", "plain MB/s", "ratio");
    for (kind, name) in ["new", "known"].iter().enumerate() {
        let [ours, theirs] = [2 * kind, 2 * kind + 1].map(|slot| median(&mut rates[slot].clone()));
        println!("{name:<6} {ours:>14.0} {theirs:>14.0} {:>8.2}", ours / theirs);
    }
    println!(
        "all runs, MB/s: gdd new {:.0?}, plain new {:.0?}, gdd known {:.0?}, plain again {:.0?}",
        rates[0], rates[1], rates[2], rates[3]
    );
    site.stop_and_check();
}

/// Files of `bytes` in all; the same for the same `seed`.
fn make(root: &Path, seed: u64, bytes: u64) -> u64 {
    let mut random = Random::new(seed + 1);
    let mut buffer = vec![0; 5 << 20];
    let (mut done, mut number) = (0, 0);
    while done < bytes {
        let folder = root.join(format!("{:03}", number / 64));
        fs::create_dir_all(&folder).expect("a folder is made");
        let length = LENGTHS[number % LENGTHS.len()];
        random.fill(&mut buffer[..length]);
        fs::write(folder.join(format!("{number:05}")), &buffer[..length]).expect("a file is written");
        done += length as u64;
        number += 1;
    }
    done
}

/// One job. What others left to be written is on the disk before it begins: our device waits for the disk, the plain
/// one leaves that to the kernel, so that each would pay for the one before otherwise.
fn timed(rig: &Rig, job: &str) -> JobResult {
    rustix::fs::sync();
    rig.run(job, Level::Full).and_then(JobResult::demand_ok).expect("the job ends well")
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
