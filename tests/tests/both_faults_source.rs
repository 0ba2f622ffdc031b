//! Bothsides mode with files that cannot be read, vanish, shrink or grow while they are read: the job says which, and
//! what comes back is what was read of a file, or the restore says that it has nothing.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::path::PathBuf;
use std::thread;

use gdd_rig::{FileSet, Job, JobResult, Level, Release, Rig};
use gdd_tests::bacula::{assert_failed, assert_restored};
use gdd_tests::bothsides::{BothSides, assert_nothing_made_up, backup_fails, restore_fails};
use gdd_tests::faults::Faults;
use gdd_tests::meter::{Meter, Next, Way};

const SIZE: usize = 3_000_000;

fn a_site(files: usize, size: usize) -> Option<(BothSides, Faults, Rig)> {
    let (site, near, _) = BothSides::with_faults(Release::V9)?;
    site.fill(1, files, size);
    let rig = site.start(&[]);
    Some((site, near, rig))
}

/// A job that went on, and said what it lacks: no "Backup OK" without a word.
fn assert_said(job: &JobResult, words: &[&str]) {
    assert!(job.status == 'T' && job.errors > 0, "{job:?}");
    assert!(job.log.contains("Backup OK -- with warnings"), "{}", job.log);
    for word in words {
        assert!(job.log.contains(word), "no {word:?} in\n{}", job.log);
    }
}

fn count(job: &JobResult, id: &str) -> usize {
    job.log.matches(id).count()
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_never_made_up() {
    let Some((mut site, near, rig)) = a_site(4, SIZE) else { return };
    for offset in [0, 1_500_000, SIZE as u64] {
        println!("EIO from byte {offset} on");
        near.fail_reads("/f0002", offset);
        let job = rig.run("files", Level::Full).unwrap();
        println!("{}", job.log);
        assert_said(&job, &["GDD-FD-0201", "/f0002: Input/output error"]);
        let back = rig.restore(&[job.id]).unwrap();
        assert_failed(&back.result, &["GDD-FD-0301", "no data for it", "GDD-FD-0302] 1 files"]);
        let folder = back.path(&site.client.tree());
        assert_eq!(assert_nothing_made_up(&site, &folder), 3, "the others came back");
        assert!(!folder.join("f0002").exists());
    }
    near.release();
    let (good, _) = site.full(&rig);
    // And the key file, of which nothing can be made up either.
    near.fail_reads("/site.key", 0);
    let words = ["GDD-FD-0103", "site.key", "Input/output error"];
    backup_fails(&site, &rig, &words);
    restore_fails(&site, &rig, &good, &words);
    near.release();
    assert_restored(&rig, &[&good], &site.client.tree());
    site.stop_and_check();
}

/// Run the job to where it is about to read `f0001` at `offset`, do `change` to that file, and let it go on.
fn changed(
    site: &BothSides,
    near: &Faults,
    rig: &Rig,
    offset: u64,
    change: impl FnOnce(PathBuf),
) -> JobResult {
    near.hold_reads("/f0001", offset);
    let job = thread::scope(|scope| {
        let job = scope.spawn(|| rig.run("files", Level::Full).unwrap());
        near.wait_until_held();
        change(site.client.tree().join("f0001"));
        near.release();
        job.join().unwrap()
    });
    println!("{}", job.log);
    job
}

/// `f0001` comes back as `expected`, and the others as they are. Bacula itself says that it is not as long as it was
/// when it was looked at, when it is not.
fn assert_comes_back(site: &BothSides, rig: &Rig, job: &JobResult, expected: &[u8]) {
    let back = rig.restore(&[job.id]).unwrap();
    if expected.len() == SIZE {
        back.result.clone().demand_ok().unwrap();
    } else {
        assert_failed(&back.result, &[&not_correct(expected.len())]);
        assert_eq!(
            count(&back.result, "Error: "),
            2,
            "and the one that says how it ended: {}",
            back.result.log
        );
    }
    let folder = back.path(&site.client.tree());
    assert!(fs::read(folder.join("f0001")).unwrap() == expected, "other bytes came back than were read");
    fs::remove_file(folder.join("f0001")).unwrap();
    assert_eq!(assert_nothing_made_up(site, &folder), 2);
}

fn not_correct(size: usize) -> String {
    format!("f0001 not correct. Original {SIZE}, restored {size}.")
}

fn resize(file: PathBuf, size: u64) {
    File::options().write(true).open(file).unwrap().set_len(size).unwrap();
}

#[test]
fn a_file_that_changes_its_size_comes_back_as_it_was_read() {
    let Some((mut site, near, rig)) = a_site(3, SIZE) else { return };
    let file = site.client.tree().join("f0001");
    let original = fs::read(&file).unwrap();
    // The plugin reads blocks of 1 MiB: the one that is held is the third. First to less than the file, then to less
    // than was read of it; those bytes are the file.
    for (size, expected) in [(2_500_000, 2_500_000), (10, 2 << 20)] {
        let job = changed(&site, &near, &rig, 1_500_000, |file| resize(file, size));
        fs::write(&file, &original).unwrap();
        job.clone().demand_ok().unwrap();
        let words = format!("GDD-FD-0203] {}: had 3000000 bytes, {expected} were read", file.display());
        assert!(job.log.contains(&words), "{}", job.log);
        assert_comes_back(&site, &rig, &job, &original[..expected]);
    }
    // It grows, by a hole.
    let job = changed(&site, &near, &rig, SIZE as u64, |file| resize(file, 5_000_000));
    job.clone().demand_ok().unwrap();
    assert!(job.log.contains("had 3000000 bytes, 5000000 were read"), "{}", job.log);
    assert_comes_back(&site, &rig, &job, &[&original[..], &[0; 2_000_000]].concat());
    // Its bytes change, its size stays.
    fs::write(&file, &original).unwrap();
    let other: Vec<_> = original.iter().map(|byte| !byte).collect();
    let job = changed(&site, &near, &rig, 1_500_000, |file| fs::write(file, &other).unwrap());
    job.clone().demand_ok().unwrap();
    assert_comes_back(&site, &rig, &job, &[&original[..2 << 20], &other[2 << 20..]].concat());
    site.stop_and_check();
}

/// The measure for the test above: Bacula without a plugin says the same of the same file.
#[test]
fn bacula_itself_restores_what_it_read_and_says_that_the_size_is_another() {
    let Some((site, near, _)) = BothSides::with_faults(Release::V9) else { return };
    site.fill(1, 3, SIZE);
    let original = fs::read(site.client.tree().join("f0001")).unwrap();
    let plain = FileSet::new("plain").include(&site.client.tree());
    let rig = site.client.bacula(&site.string(""), &[]).file_set(plain).job(Job::backup("files", "plain"));
    let rig = rig.start().unwrap();
    let job = changed(&site, &near, &rig, 1_500_000, |file| resize(file, 2_500_000));
    fs::write(site.client.tree().join("f0001"), &original).unwrap();
    job.clone().demand_ok().unwrap();
    assert!(!job.log.contains("gdd"), "{}", job.log);
    assert_comes_back(&site, &rig, &job, &original[..2_500_000]);
}

#[test]
fn a_file_that_vanishes_or_is_emptied_never_comes_back_empty() {
    let Some((mut site, near, rig)) = a_site(3, SIZE) else { return };
    let file = site.client.tree().join("f0001");
    let original = fs::read(&file).unwrap();
    // It was open already: all of it is there.
    let job = changed(&site, &near, &rig, 1_500_000, |file| fs::remove_file(file).unwrap());
    assert!(job.status == 'T', "{job:?}");
    fs::write(&file, &original).unwrap();
    let back = rig.restore(&[job.id]).unwrap();
    back.result.clone().demand_ok().unwrap();
    assert_eq!(assert_nothing_made_up(&site, &back.path(&site.client.tree())), 3);
    // Emptied before the first byte was read: that is no file without bytes, and not in the backup.
    let job = changed(&site, &near, &rig, 0, |file| resize(file, 0));
    assert_said(&job, &["GDD-FD-0201", "expected 3000000 bytes, read none"]);
    fs::write(&file, &original).unwrap();
    let back = restore_fails(&site, &rig, &job, &["GDD-FD-0301", "no data for it", "GDD-FD-0302] 1 files"]);
    assert_eq!(count(&back, "GDD-FD-0301"), 1, "{}", back.log);
    site.stop_and_check();
}

/// Between Bacula's look at a file and the plugin's: while the daemon answers the begin of the backup, which is at the
/// first file.
#[test]
fn a_file_that_vanishes_before_it_is_opened_is_told_and_never_comes_back_empty() {
    let Some(mut site) = BothSides::new(Release::V9) else { return };
    site.fill(1, 3, SIZE);
    let meter = Meter::before(site.port());
    let rig = site.client.start(&site.string_at(meter.port(), ""), &[]);
    let tree = site.client.tree();
    let names = ["f0000", "f0001", "f0002"].map(|name| (tree.join(name), tree.with_file_name(name)));
    let away = names.clone();
    meter.watch(move |way, _, _| {
        if way == Way::ToClient && away[0].0.exists() {
            away.iter().for_each(|(here, there)| fs::rename(here, there).unwrap());
        }
        Next::Pass
    });
    let job = rig.run("files", Level::Full).unwrap();
    println!("{}", job.log);
    meter.unwatch();
    names.iter().for_each(|(here, there)| fs::rename(there, here).unwrap());
    assert_said(&job, &["No such file or directory"]);
    let back = rig.restore(&[job.id]).unwrap();
    println!("{}", back.result.log);
    assert_failed(&back.result, &["GDD-FD-0301", "no data for it"]);
    assert_eq!(assert_nothing_made_up(&site, &back.path(&tree)), 0);
    let (good, _) = site.full(&rig);
    assert_restored(&rig, &[&good], &tree);
    site.stop_and_check();
}

#[test]
fn the_breaker_ends_a_job_whose_files_give_nothing() {
    const FILES: usize = 30;
    for options in ["", ":zero_read=error"] {
        let Some((mut site, near, _)) = BothSides::with_faults(Release::V9) else { return };
        site.fill(1, FILES, 100_000);
        let rig = site.client.start(&site.string(options), &[]);
        near.fail_reads("/tree/", 0);
        let job = backup_fails(&site, &rig, &["GDD-FD-0204] 8 files in a row gave no data", "GDD-FD-0207"]);
        println!("{}", job.log);
        // It is the eighth that opens it, and nothing is even tried after that.
        assert_eq!((count(&job, "GDD-FD-0201"), count(&job, "GDD-FD-0204")), (7, 1), "{}", job.log);
        near.release();
        let (good, _) = site.full(&rig);
        assert_restored(&rig, &[&good], &site.client.tree());
        if !options.is_empty() {
            return site.stop_and_check(); // No option turns it off.
        }
        // One big file without a byte outweighs all others.
        let big = site.client.tree().join("big");
        File::create(&big).unwrap().set_len(256 << 20).unwrap();
        near.fail_reads("/big", 0);
        let job = backup_fails(&site, &rig, &["GDD-FD-0204] of 2", "could be read"]);
        assert_eq!(count(&job, "GDD-FD-0201"), 0, "{}", job.log);
        near.release();
        fs::remove_file(big).unwrap();
        site.full(&rig);
        site.stop_and_check();
    }
}
