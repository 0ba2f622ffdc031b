//! Bothsides mode at some size, with stock Bacula: an image of which a hundredth changes, many small files, and a
//! daemon that is 50 ms away.
//!
//! `cargo xtask corpora FOLDER` makes the images; `cargo run --release -p gdd-tests --example both_scale -- FOLDER`
//! backs FOLDER/image-a and then FOLDER/image-b up under one name. Without a folder that part is left out.
#![allow(clippy::expect_used, clippy::print_stdout, clippy::cast_precision_loss)]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use gdd_rig::{FileSet, Job, JobResult, Level, Release, Rig};
use gdd_tests::bacula::assert_restored;
use gdd_tests::bothsides::{BothSides, Report};
use gdd_tests::far;
use gdd_tests::meter::Meter;
use gdd_tests::tree::{self, Shape};

const RUNS: usize = 3;
/// One way; there and back it is twice that.
const DELAY: Duration = Duration::from_millis(25);

fn main() {
    match std::env::args().nth(1) {
        Some(folder) => image(Path::new(&folder)),
        None => println!("no folder with image-a and image-b: the image is left out"),
    }
    small_files();
    far_away();
}

fn site() -> BothSides {
    BothSides::new(Release::V9).expect("GDD_RIG is not off")
}

fn image(folder: &Path) {
    let mut site = site();
    let name = site.client.tree().join("image");
    let meter = Meter::before(site.port());
    let rig = site.client.start(&site.string_at(meter.port(), ""), &[]);
    for image in ["image-a", "image-b"] {
        let _ = fs::remove_file(&name);
        let copied = Command::new("cp").arg(folder.join(image)).arg(&name).status().expect("cp runs");
        assert!(copied.success(), "{image} is there");
        let before = meter.bytes();
        let (job, report) = site.full(&rig);
        let counted = meter.bytes() - before;
        let percent = counted as f64 * 100.0 / report.logical as f64;
        println!(
            "{image}: {} bytes, {counted} on the wire ({percent:.3} %), {} new, {:.0} MB/s",
            report.logical,
            report.new,
            report.logical as f64 / 1e6 / job.running.as_secs_f64()
        );
    }
    site.stop_and_check();
}

fn small_files() {
    let mut site = site();
    let tree = site.client.tree();
    let shape = Shape { files: 25_000, file_size_max: 4000, ..Shape::SMALL };
    tree::build(&tree.join("built"), 8, shape).expect("the tree is built");
    let rig = site.client.bacula(&site.string(""), &[]).job(Job::backup("gdd", "files"));
    let rig = rig.file_set(FileSet::new("plain").include(&tree)).job(Job::backup("plain", "plain"));
    let rig = rig.start().expect("Bacula starts");
    for run in 0..RUNS {
        for job in ["gdd", "plain"] {
            let done = run_one(&rig, job);
            let back = rig.restore(&[done.id]).expect("a restore runs");
            let restored = back.result.clone().demand_ok().expect("it ends well");
            drop(fs::remove_dir_all(back.path(&tree)));
            let [backup, restore] = [done.running, restored.running].map(|time| time.as_secs_f64());
            let files = done.files as f64;
            println!(
                "small files, run {run}, {job}: {files} files, backup {backup:.1} s ({:.0} files/s), \
                 restore {restore:.1} s ({:.0} files/s)",
                files / backup,
                files / restore
            );
        }
    }
    site.stop_and_check();
}

/// The same known data, near and far, in turn.
fn far_away() {
    let mut site = site();
    let tree = site.client.tree();
    for folder in ["/usr/bin", "/usr/sbin", "/usr/lib/x86_64-linux-gnu"] {
        let copied =
            Command::new("cp").args(["-a", "--parents", folder]).arg(&tree).current_dir("/").status();
        println!("{folder}: copied, {}", copied.expect("cp runs"));
    }
    let far = far::from(site.port(), DELAY);
    let string = |port| format!("Plugin = \"{}\"", site.string_at(port, ""));
    let rig = site.client.bacula(&site.string(""), &[]).job(Job::backup("near", "files"));
    let far = FileSet::new("far").include(&tree).option(&string(far));
    let rig = rig.file_set(far).job(Job::backup("far", "far")).start().expect("Bacula starts");
    let mut times: [[Vec<f64>; 2]; 2] = Default::default();
    for run in 0..=RUNS {
        for (row, job) in ["near", "far"].into_iter().enumerate() {
            let done = run_one(&rig, job);
            let back = rig.restore(&[done.id]).expect("a restore runs");
            let restored = back.result.clone().demand_ok().expect("it ends well");
            drop(fs::remove_dir_all(back.path(&tree)));
            let [backup, restore] = [done.running, restored.running].map(|time| time.as_secs_f64());
            println!("{job}, run {run}: backup {backup:.2} s, restore {restore:.2} s");
            if run > 0 {
                times[row][0].push(backup);
                times[row][1].push(restore);
            } else {
                assert_restored(&rig, &[&done], &tree);
            }
        }
    }
    let [near, far] = times.map(|row| row.map(median));
    println!(
        "50 ms there and back: known data {:.2} s near, {:.2} far, ratio {:.2}; restore {:.2} and {:.2}, ratio {:.2}",
        near[0],
        far[0],
        far[0] / near[0],
        near[1],
        far[1],
        far[1] / near[1]
    );
    site.stop_and_check();
}

fn run_one(rig: &Rig, job: &str) -> JobResult {
    rustix::fs::sync();
    let done = rig.run(job, Level::Full).and_then(JobResult::demand_ok).expect("the job ends well");
    if done.log.contains(" savings ") {
        let _ = Report::of(&done); // Prints it.
    }
    done
}

fn median(mut row: Vec<f64>) -> f64 {
    row.sort_by(f64::total_cmp);
    row[row.len() / 2]
}
