//! Bothsides mode with a daemon that is away, dies, is another one, or does not know the key: the job says so, and
//! nothing ends well that is not.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::thread;
use std::time::Duration;

use gdd_rig::{Level, Release};
use gdd_tests::bacula::{assert_failed, assert_restored};
use gdd_tests::bothsides::{BothSides, backup_fails, restore_fails};
use gdd_tests::companion::{Upkeep, litter, rebuild_twice};
use gdd_tests::random::Random;
use rustix::process::Signal;

fn fill(site: &BothSides, files: usize) {
    site.fill(17, files, 200_000);
}

fn a_daemon_that_is_away(release: Release) {
    let Some(mut site) = BothSides::new(release) else { return };
    fill(&site, 20);
    let rig = site.start(&[]);
    let (good, _) = site.full(&rig);
    site.daemon().stop();
    backup_fails(&site, &rig, &["GDD-FD-0101", "cannot connect"]);
    restore_fails(&site, &rig, &good, &["GDD-FD-0101", "cannot connect"]);
    site.serve();
    assert_restored(&rig, &[&good], &site.client.tree());
    site.full(&rig);
    site.stop_and_check();
}

#[test]
fn a_daemon_that_is_away_is_told_on_9() {
    a_daemon_that_is_away(Release::V9);
}

#[test]
fn a_daemon_that_is_away_is_told_on_15() {
    a_daemon_that_is_away(Release::V15);
}

/// Kills, stops or freezes the daemon while jobs run.
fn a_daemon_that_dies(release: Release) {
    let Some(mut site) = BothSides::new(release) else { return };
    fill(&site, 2500);
    let rig = site.start(&[]);
    let mut failed = 0;
    for pause in [100, 300, 700, 1500] {
        let job = thread::scope(|scope| {
            let job = scope.spawn(|| rig.run("files", Level::Full).unwrap());
            rig.wait_for("a running job", || {
                Ok(rig.query_catalog("SELECT COUNT(*) FROM Job WHERE JobStatus='R'")? == [["1"]])
            })
            .unwrap();
            thread::sleep(Duration::from_millis(pause));
            site.daemon().kill();
            job.join().unwrap()
        });
        if job.clone().demand_ok().is_err() {
            failed += 1;
            // Who is left in the middle of the handshake cannot tell a daemon that died from one that lets nobody in.
            let left_at_the_door = job.log.contains("[GDD-FD-0103]");
            let words: &[&str] = if left_at_the_door { &["or it was stopped"] } else { &["GDD-FD-0101"] };
            assert_failed(&job, words);
        }
        site.serve();
        if job.clone().demand_ok().is_ok() {
            assert_restored(&rig, &[&job], &site.client.tree()); // It had its receipt before.
        }
    }
    assert!(failed > 0, "no moment was within a job");
    let (good, _) = site.full(&rig);
    assert_restored(&rig, &[&good], &site.client.tree());
    site.stop_and_check();
}

/// Kills the daemon while jobs run and it keeps its store whole, or has its index made anew before it comes back.
fn a_daemon_that_dies_at_upkeep(release: Release) {
    let Some(mut site) = BothSides::with_settings(release, &["--container-size", "1m"]) else { return };
    fill(&site, 2500);
    let rig = site.start(&[]);
    let mut random = Random::new(3);
    for upkeep in [Some(Upkeep::Vacuum), Some(Upkeep::Scrub), None] {
        let companion = upkeep.map(|upkeep| {
            litter(&site.gdd, &mut random);
            upkeep.begin(&site.gdd)
        });
        let job = thread::scope(|scope| {
            let job = scope.spawn(|| rig.run("files", Level::Full).unwrap());
            rig.wait_for("a session", || Ok(has_session(&site))).unwrap();
            thread::sleep(Duration::from_millis(200));
            site.daemon().kill();
            if upkeep.is_none() {
                rebuild_twice(&site.gdd, &mut random);
            }
            site.serve();
            job.join().unwrap()
        });
        if let Some(companion) = companion {
            companion.was_killed(&site.gdd);
        }
        println!("killed at {upkeep:?}: job {} with {} files", job.status, job.files);
        if job.clone().demand_ok().is_err() {
            assert_failed(&job, &["GDD-FD-0101"]);
        } else {
            assert_restored(&rig, &[&job], &site.client.tree()); // It had its receipt before.
        }
        let (good, _) = site.full(&rig);
        assert_restored(&rig, &[&good], &site.client.tree());
    }
    site.stop_and_check();
}

fn has_session(site: &BothSides) -> bool {
    let status = site.gdd.json(&["status"]);
    status["services"]["net"]["sessions"].as_array().is_some_and(|sessions| !sessions.is_empty())
}

#[test]
fn a_daemon_that_dies_at_upkeep_is_no_good_backup_on_9() {
    a_daemon_that_dies_at_upkeep(Release::V9);
}

#[test]
fn a_daemon_that_dies_at_upkeep_is_no_good_backup_on_15() {
    a_daemon_that_dies_at_upkeep(Release::V15);
}

#[test]
fn a_daemon_that_dies_is_no_good_backup_on_9() {
    a_daemon_that_dies(Release::V9);
}

#[test]
fn a_daemon_that_dies_is_no_good_backup_on_15() {
    a_daemon_that_dies(Release::V15);
}

#[test]
fn a_daemon_that_is_frozen_is_given_up() {
    let Some(mut site) = BothSides::new(Release::V9) else { return };
    fill(&site, 5);
    let rig = site.client.start(&site.string(":patience=2"), &[]);
    let (good, _) = site.full(&rig);
    let daemon = site.daemon();
    daemon.signal(Signal::STOP);
    backup_fails(&site, &rig, &["GDD-FD-0101"]);
    restore_fails(&site, &rig, &good, &["GDD-FD-0101"]);
    daemon.signal(Signal::CONT);
    daemon.stop();
    site.serve();
    assert_restored(&rig, &[&good], &site.client.tree());
    site.stop_and_check();
}

#[test]
fn a_wrong_key_and_another_store_are_refused() {
    let Some(mut site) = BothSides::new(Release::V9) else { return };
    fill(&site, 5);
    let rig = site.start(&[]);
    let (good, _) = site.full(&rig);
    // The client has another key than the daemon.
    let (key, kept) = (site.key_file(), site.client.folder().join("kept.key"));
    fs::rename(&key, &kept).unwrap();
    site.make_key(&key);
    backup_fails(&site, &rig, &["GDD-FD-0103", "it does not have this key", "key_file"]);
    restore_fails(&site, &rig, &good, &["GDD-FD-0103"]);
    // And one that others may read.
    fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    backup_fails(&site, &rig, &["GDD-FD-0103", "site.key"]);
    fs::rename(&kept, &key).unwrap();
    assert_restored(&rig, &[&good], &site.client.tree());
    // A new store under the same key takes backups, and has nothing of the old one.
    site.daemon().stop();
    let (store, kept) = (site.gdd.store().to_owned(), site.client.folder().join("kept-store"));
    fs::rename(&store, &kept).unwrap();
    site.gdd.init();
    site.serve();
    restore_fails(&site, &rig, &good, &["expected store"]);
    let (new, _) = site.full(&rig);
    assert_restored(&rig, &[&new], &site.client.tree());
    site.daemon().stop();
    fs::remove_dir_all(&store).unwrap();
    fs::rename(&kept, &store).unwrap();
    site.serve();
    assert_restored(&rig, &[&good], &site.client.tree());
    // The stream is gone from the right store.
    for line in site.gdd.expect(0, &["ls"]).stdout.lines().filter(|line| line.contains("net/")) {
        let name = line.split_whitespace().find(|word| word.starts_with("net/")).unwrap();
        site.gdd.expect(0, &["rm", name]);
    }
    restore_fails(&site, &rig, &good, &["GDD-FD-0109", "GDD-NET-0008"]);
    site.stop_and_check();
}
