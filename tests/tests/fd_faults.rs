//! Whatever is wrong between plugin and store, the job says so: no "Backup OK" without a receipt, no "Restore OK" with
//! anything but the file's own bytes.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use gdd_rig::{Daemon, FileSet, Job, JobResult, Level, Release, Rig};
use gdd_tests::bacula::{assert_failed, assert_restored};
use gdd_tests::client::{self, ClientSite};

const STRING: &str = "gdd:patience=2";
const FILES: usize = 20;
const RELEASES: [Release; 2] = [Release::V9, Release::V15];

fn fill(site: &ClientSite) {
    for number in 0..FILES {
        fs::write(site.tree().join(format!("f{number:02}")), vec![u8::try_from(number).unwrap(); 9000])
            .unwrap();
    }
}

/// Each `switch` ends a backup with `words` in its log; without it the next backup is good and comes back.
fn backups_fail(release: Release, faults: &[(&str, &str, &[&str])]) {
    let Some(site) = ClientSite::new(release) else { return };
    fill(&site);
    let rig = site.start(STRING, &[]);
    for (switch, value, words) in faults {
        println!("fault {switch}");
        site.switch_on(switch, value);
        let job = rig.run("files", Level::Full).unwrap();
        assert_failed(&job, words);
        assert!(!job.log.contains("savings"), "a report without a receipt:\n{}", job.log);
        site.switch_off(switch);
    }
    let good = site.full(&rig);
    assert_restored(&rig, &[&good], &site.tree());
}

const BACKUP_FAULTS: &[(&str, &str, &[&str])] = &[
    ("stale", "", &["GDD-FD-0102"]),
    ("stall", "", &["GDD-FD-0101", "no answer within 2s"]),
    ("full", "", &["GDD-FD-0104"]),
    ("die-at", "1", &["GDD-FD-0101", "GDD-FD-0207"]),
    ("die-at", "10", &["GDD-FD-0101", "GDD-FD-0207"]),
    ("die-at", "20", &["GDD-FD-0101", "GDD-FD-0207"]),
    ("no-receipt", "", &["GDD-FD-0101", "before the receipt"]),
    ("wrong-receipt", "", &["GDD-FD-0206"]),
    ("panic", "", &["GDD-FD-0003", "told to panic"]),
];

#[test]
fn no_backup_is_good_without_a_receipt_on_9() {
    backups_fail(Release::V9, BACKUP_FAULTS);
}

#[test]
fn no_backup_is_good_without_a_receipt_on_15() {
    backups_fail(Release::V15, BACKUP_FAULTS);
}

/// No file of the tree is there with other bytes than its own, and nothing half is left.
fn assert_nothing_wrong(site: &ClientSite, rig: &Rig, id: &JobResult, words: &[&str], all_missing: bool) {
    let back = rig.restore(&[id.id]).unwrap();
    assert_failed(&back.result, words);
    let folder = back.path(&site.tree());
    let mut found = 0;
    if folder.exists() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let own = fs::read(site.tree().join(entry.file_name())).unwrap();
            assert_eq!(fs::read(entry.path()).unwrap(), own, "{}", entry.path().display());
            found += 1;
        }
    }
    assert!(found < FILES && (found == 0 || !all_missing), "{found} files came back");
}

fn restores_fail(release: Release) {
    let Some(site) = ClientSite::new(release) else { return };
    fill(&site);
    let rig = site.start(STRING, &[]);
    let good = site.full(&rig);
    let faults: [(&str, &[&str]); 5] = [
        ("stale", &["GDD-FD-0102"]),
        ("stall", &["GDD-FD-0101"]),
        ("wrong-data", &["GDD-FD-0301", "expected BLAKE3", "GDD-FD-0302"]),
        ("short-data", &["GDD-FD-0301", "expected 9000 bytes", "GDD-FD-0302"]),
        ("panic", &["GDD-FD-0003"]),
    ];
    for (switch, words) in faults {
        println!("fault {switch}");
        site.switch_on(switch, "");
        assert_nothing_wrong(&site, &rig, &good, words, true);
        site.switch_off(switch);
    }
    site.switch_on("id", "another store");
    assert_nothing_wrong(&site, &rig, &good, &["GDD-FD-0301", "expected store"], true);
    site.switch_on("id", "one");

    let files = site.store().join("files");
    let one = fs::read_dir(&files).unwrap().next().unwrap().unwrap().path();
    let bytes = fs::read(&one).unwrap();
    fs::remove_file(&one).unwrap();
    assert_nothing_wrong(&site, &rig, &good, &["GDD-FD-0106", "GDD-FD-0302"], false);
    fs::write(&one, bytes).unwrap();
    assert_restored(&rig, &[&good], &site.tree());

    fs::rename(site.store(), site.folder().join("gone")).unwrap();
    assert_nothing_wrong(&site, &rig, &good, &["GDD-FD-0101"], true);
    assert_failed(&rig.run("files", Level::Full).unwrap(), &["GDD-FD-0101"]);
}

#[test]
fn no_restore_is_good_without_every_byte_on_9() {
    restores_fail(Release::V9);
}

#[test]
fn no_restore_is_good_without_every_byte_on_15() {
    restores_fail(Release::V15);
}

#[test]
fn a_restore_without_the_plugin_fails() {
    for release in RELEASES {
        let Some(site) = ClientSite::new(release) else { return };
        fill(&site);
        let rig = site.start(STRING, &[]);
        let good = site.full(&rig);
        fs::remove_file(site.plugin_file()).unwrap();
        rig.restart(Daemon::File(0)).unwrap();
        let back = rig.restore(&[good.id]).unwrap();
        println!("{release:?} without the plugin: {}", back.result.log);
        assert_failed(&back.result, &["not correct"]);
        assert_failed(&rig.run("files", Level::Full).unwrap(), &["not found"]);
    }
}

/// The environment of the tests must not turn the product into a test build.
#[test]
fn the_product_has_no_directory_store() {
    for release in RELEASES {
        let Some(site) = ClientSite::new(release) else { return };
        fill(&site);
        fs::remove_file(site.plugin_file()).unwrap();
        fs::copy(client::product(), site.plugin_file()).unwrap();
        let rig = site.start(STRING, &[]);
        assert_failed(&rig.run("files", Level::Full).unwrap(), &["GDD-FD-0101", "no way to the server"]);
        assert!(fs::read_dir(site.store().join("files")).unwrap().next().is_none());
    }
}

#[test]
fn garbage_in_the_plugin_string_is_refused_with_what_is_known() {
    for release in RELEASES {
        for string in ["gdd:sever=a:1", "gdd:patience=never", "gdd:/usr"] {
            let Some(site) = ClientSite::new(release) else { return };
            fill(&site);
            let rig = site.start(string, &[]);
            let job = rig.run("files", Level::Full).unwrap();
            assert_failed(&job, &["GDD-FD-0001", "zero_read=fatal|error"]);
        }
    }
}

/// A file whose size is a promise that reading does not keep must not become an empty one. This one has 4096 bytes and
/// gives none.
#[test]
fn a_file_that_gives_nothing_ends_the_job() {
    let file = Path::new("/sys/devices/virtual/net/lo/ifalias");
    assert!(
        fs::metadata(file).unwrap().len() > 0 && fs::read(file).unwrap().is_empty(),
        "Linux has such a file"
    );
    for release in RELEASES {
        let Some(site) = ClientSite::new(release) else { return };
        let of = |name: &str, string: &str| {
            let set = FileSet::new(name).option(&format!("Plugin = \"{string}\""));
            (set.include(file), Job::backup(name, name))
        };
        let (strict, strict_job) = of("strict", STRING);
        let (mild, mild_job) = of("mild", "gdd:zero_read=error");
        let rig = site.bacula(STRING, &[]).file_set(strict).job(strict_job).file_set(mild).job(mild_job);
        let rig = rig.start().unwrap();
        assert_failed(&rig.run("strict", Level::Full).unwrap(), &["GDD-FD-0202", "expected 4096 bytes"]);
        let job = rig.run("mild", Level::Full).unwrap();
        assert!(!job.is_ok() && job.log.contains("GDD-FD-0201"), "{job:?}");
        let back = rig.restore(&[job.id]).unwrap();
        assert_failed(&back.result, &["GDD-FD-0302"]);
        assert!(!back.path(file).exists());
    }
}

/// A job that waits for its store ends soon after the operator cancels it, and not as a good one.
#[test]
fn a_cancelled_job_does_not_wait_for_its_store() {
    for release in RELEASES {
        let Some(site) = ClientSite::new(release) else { return };
        fill(&site);
        let rig = site.start("gdd:patience=3600", &[]);
        site.switch_on("stall", "");
        let id = rig.submit("files", Level::Full).unwrap();
        rig.wait_for("the job to run", || Ok(rig.job_status(id)? == 'R')).unwrap();
        std::thread::sleep(std::time::Duration::from_secs(3));
        rig.cancel(id).unwrap();
        let job = rig.wait(id).unwrap();
        assert!("Af".contains(job.status), "{job:?}");
        assert!(!job.log.contains("Backup OK") && !job.log.contains("savings"), "{}", job.log);
    }
}

/// What cannot be opened is an error in the log, as it is for Bacula itself; its restore does not make an empty file.
#[test]
fn an_unreadable_file_never_comes_back_empty() {
    for release in RELEASES {
        let Some(site) = ClientSite::new(release) else { return };
        fill(&site);
        fs::set_permissions(site.tree().join("f05"), fs::Permissions::from_mode(0o000)).unwrap();
        fs::set_permissions(site.tree(), fs::Permissions::from_mode(0o755)).unwrap();
        let without =
            ["--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"];
        let rig = site
            .bacula(STRING, &[])
            .job(Job::backup("files", "files"))
            .privileges(Daemon::File(0), &without)
            .start()
            .unwrap();
        let job = rig.run("files", Level::Full).unwrap();
        println!("{release:?}: {}", job.log);
        assert!(!job.is_ok() && job.errors > 0, "{job:?}");
        let back = rig.restore(&[job.id]).unwrap();
        println!("{release:?}: {}", back.result.log);
        assert_failed(&back.result, &["GDD-FD-0301", "no data for it", "GDD-FD-0302"]);
        assert!(!back.path(&site.tree()).join("f05").exists());
    }
}
