//! The story that this project began with: a deduplicating daemon was replaced while a job ran, the job went on with
//! the session of the old one, and 37,000 files were saved as records of 0 bytes, with "Backup OK".
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use gdd_rig::{Daemon, JobId, Level, Release, Rig};
use gdd_tests::bacula::{DEVICE, Site, VOLUME, assert_failed, assert_restored};
use gdd_tests::random::Random;

/// Files of the tree: most of them come after the swap.
const FILES: u32 = 6000;
const FILE_SIZE: usize = 8 << 10;

/// Thousands of files, none of them empty, none like another.
fn tree(root: &Path) {
    let mut random = Random::new(37_000);
    let mut bytes = vec![0; FILE_SIZE];
    for file in 0..FILES {
        let folder = root.join(format!("{:03}", file / 100));
        fs::create_dir_all(&folder).unwrap();
        random.fill(&mut bytes);
        fs::write(folder.join(format!("{file:05}")), &bytes).unwrap();
    }
}

/// Start the job and wait until a good part of it has arrived in the store.
fn under_way(site: &Site, rig: &Rig) -> JobId {
    let id = rig.submit("tree", Level::Full).unwrap();
    rig.wait_for("bytes in the daemon", || Ok(site.bytes_in() > 4 << 20)).unwrap();
    id
}

fn the_daemon_is_swapped(release: Release) {
    let Some(mut site) = Site::new(release) else { return };
    let source = site.folder().join("source");
    tree(&source);
    let rig = site.bacula().backup("tree", &source);
    let rig = rig.line(Daemon::File(0), "Maximum Bandwidth Per Job = 8 mb/s").start().unwrap();

    let id = under_way(&site, &rig);
    let arrived = site.bytes_in() / FILE_SIZE as u64;
    site.daemon().kill();
    site.serve();
    let failed = rig.wait(id).unwrap();
    assert_failed(&failed, &["[GDD-SD-0007]", "is lost", "gdd status"]);
    println!("{arrived} files had arrived, the job took {} of {FILES}", failed.files);
    // Some were on their way through Bacula's buffers; none of the thousands behind them was taken.
    let most = arrived + u64::from(FILES) / 4;
    assert!(failed.files < most && most < u64::from(FILES), "it ended at once: {failed:?}");

    check_what_is_left(&rig, &source);

    // The same job again is whole.
    let again = rig.run("tree", Level::Full).unwrap().demand_ok().unwrap();
    assert_restored(&rig, &[&again], &source);
    site.stop_and_check();
}

/// What bextract makes of the failed job's volume: every file is whole. Only of the very last one the data may be
/// missing, wholly or in part: its attributes were at the end of a block that was written, its data in the block that
/// was refused. Every device of Bacula leaves that to a job that ended in error.
fn check_what_is_left(rig: &Rig, source: &Path) {
    let listed = rig.bls(DEVICE, VOLUME, &["-j"]).unwrap();
    println!("{}", listed.all());
    let (printed, folder) = rig.bextract(DEVICE, VOLUME, &[]).unwrap();
    let mut files = printed.output.lines().filter(|line| line.contains(" JobId 0: -"));
    let last = files.next_back().and_then(|line| line.split_whitespace().last()).unwrap_or_default();
    let mut found = 0;
    for path in walk(&folder) {
        if path == Path::new(last) {
            continue;
        }
        let original =
            source.join(path.strip_prefix(folder.join(source.strip_prefix("/").unwrap())).unwrap());
        assert!(fs::read(&path).unwrap() == fs::read(original).unwrap(), "{} is not whole", path.display());
        found += 1;
    }
    println!("{found} files were extracted of what the failed job had written, and {last}");
    assert!(found > 0, "{}", printed.all());
}

fn walk(root: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                folders.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
    }
    files
}

#[test]
fn a_swapped_daemon_ends_the_job_on_bacula_9() {
    the_daemon_is_swapped(Release::V9);
}

#[test]
fn a_swapped_daemon_ends_the_job_on_bacula_15() {
    the_daemon_is_swapped(Release::V15);
}
