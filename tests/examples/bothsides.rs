//! What bothsides mode costs and saves with stock Bacula: bytes on the wire, counted outside of both ends, and rates
//! beside the plain file daemon.
//!
//! `cargo run --release -p gdd-tests --example bothsides -- [DIR...]` copies the folders (/usr/bin, /usr/sbin and
//! /usr/share/doc unless told), and backs them up with the plugin (new, then known) and without it, in turn. Both
//! daemons, the director and gdd share this machine. With `--wire-only` as first argument it ends after the two fulls
//! and the restore that count what travels: for a profiler.
#![allow(clippy::expect_used, clippy::print_stdout, clippy::cast_precision_loss)]

use std::fs;
use std::path::Path;
use std::process::Command;

use gdd_rig::{FileSet, Job, JobResult, Level, Release, Rig};
use gdd_tests::bacula::assert_restored;
use gdd_tests::bothsides::{BothSides, Report};
use gdd_tests::meter::Meter;
use gdd_tests::random::Random;

const RUNS: usize = 3;

fn main() {
    let mut folders: Vec<String> = std::env::args().skip(1).collect();
    let wire_only = folders.first().is_some_and(|word| word == "--wire-only");
    if wire_only {
        folders.remove(0);
    }
    if folders.is_empty() {
        folders = ["/usr/bin", "/usr/sbin", "/usr/share/doc"].map(str::to_owned).into();
    }
    let mut site = BothSides::new(Release::V9).expect("GDD_RIG is not off");
    for folder in &folders {
        let copied = Command::new("cp")
            .args(["-a", "--parents", folder])
            .arg(site.client.tree())
            .current_dir("/")
            .status();
        println!("{folder}: copied, {}", copied.expect("cp runs"));
    }
    wire(&site);
    if !wire_only {
        rates(&site);
    }
    site.stop_and_check();
}

/// What travels, as a third party counts it.
fn wire(site: &BothSides) {
    let meter = Meter::before(site.port());
    let rig = site.client.start(&site.string_at(meter.port(), ""), &[]);
    for what in ["first", "second"] {
        let before = meter.bytes();
        let (job, report) = site.full(&rig);
        let counted = meter.bytes() - before;
        let percent = counted as f64 * 100.0 / report.logical as f64;
        println!("{what} full: {} client bytes, {counted} on the wire, {percent:.4} %", report.logical);
        if what == "second" {
            assert_restored(&rig, &[&job], &site.client.tree());
        }
    }
}

/// With the plugin and without it, in turn: data that are the same in each run, and data that nobody has seen.
fn rates(site: &BothSides) {
    let (tree, fresh) = (site.client.tree(), site.client.folder().join("fresh"));
    let plugin = format!("Plugin = \"{}\"", site.string(""));
    let rig = site.client.bacula(&site.string(""), &[]).job(Job::backup("known", "files"));
    let rig = rig
        .file_set(FileSet::new("plain").include(&tree))
        .job(Job::backup("known-plain", "plain"))
        .file_set(FileSet::new("fresh").include(&fresh).option(&plugin))
        .job(Job::backup("new", "fresh"))
        .file_set(FileSet::new("fresh-plain").include(&fresh))
        .job(Job::backup("new-plain", "fresh-plain"))
        .start()
        .expect("Bacula starts");
    for (what, names, source) in
        [("known", ["known", "known-plain"], &tree), ("new", ["new", "new-plain"], &fresh)]
    {
        let mut rows: [Vec<f64>; 2] = Default::default();
        for run in 0..RUNS {
            if what == "new" {
                make(&fresh, run);
            }
            let order = if run % 2 == 0 { [0, 1] } else { [1, 0] };
            for row in order {
                rows[row].push(rate(&run_one(&rig, names[row]), source));
            }
        }
        print_ratio(what, &mut rows);
    }
}

/// 400 files of 1 MB that nobody has seen.
fn make(folder: &Path, run: usize) {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).expect("a folder is made");
    let (mut random, mut bytes) = (Random::new(1000 + run as u64), vec![0; 1_000_000]);
    for number in 0..400 {
        random.fill(&mut bytes);
        fs::write(folder.join(number.to_string()), &bytes).expect("a file is written");
    }
}

fn run_one(rig: &Rig, job: &str) -> JobResult {
    rustix::fs::sync();
    let job = rig.run(job, Level::Full).and_then(JobResult::demand_ok).expect("the job ends well");
    if job.log.contains(" savings ") {
        let _ = Report::of(&job); // Prints it.
    }
    job
}

fn rate(job: &JobResult, tree: &Path) -> f64 {
    let output = Command::new("du").args(["-sb", "--apparent-size"]).arg(tree).output().expect("du runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let bytes: f64 =
        text.split_whitespace().next().and_then(|word| word.parse().ok()).expect("du prints bytes");
    bytes / 1e6 / job.running.as_secs_f64().max(0.05)
}

fn print_ratio(what: &str, rows: &mut [Vec<f64>; 2]) {
    println!("{what}: every run, plugin {:.0?} MB/s, plain {:.0?} MB/s", rows[0], rows[1]);
    let [ours, plain] = rows.each_mut().map(|row| {
        row.sort_by(f64::total_cmp);
        row[row.len() / 2]
    });
    println!("{what}: medians {ours:.0} and {plain:.0} MB/s, ratio {:.2}", ours / plain);
}
