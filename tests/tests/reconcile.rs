//! `gdd reconcile` against stock Bacula: what the catalog does not know is found, and what volumes need and the store
//! does not have; the list is made by the command that the help names.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use gdd_rig::{Device, Job, Level, Pool, Release, Rig};
use gdd_tests::bacula::{DEVICE, POOL, Site, VOLUME, assert_restored};
use gdd_tests::bothsides::BothSides;
use gdd_tests::gdd::Gdd;
use gdd_tests::json::{list, number, text};
use gdd_tests::random::Random;
use serde_json::Value;

/// Nothing is young after this; and a list may be as old.
const AGE: [&str; 2] = ["--keep-newer", "10s"];

/// Run what `gdd reconcile --help` says for SQLite.
fn catalog_list(gdd: &Gdd, rig: &Rig, folder: &Path) -> PathBuf {
    let help = gdd.expect(0, &["reconcile", "--help"]).stdout;
    let from = help.find("O=\"").unwrap();
    let script = &help[from..help[from..].find("psql").unwrap() + from];
    let list = folder.join("list");
    let script = script
        .replace("bacula.db", rig.catalog().to_str().unwrap())
        .replace("> list", &format!("> {}", list.display()));
    let made = Command::new("bash").args(["-e", "-c", &script]).output().unwrap();
    assert!(made.status.success(), "{script}\n{}", String::from_utf8_lossy(&made.stderr));
    list
}

fn whys(found: &Value) -> Vec<&str> {
    list(found, "orphans").iter().map(|orphan| text(orphan, "why")).collect()
}

fn fill(folder: &Path, seed: u64) {
    let (mut random, mut bytes) = (Random::new(seed), vec![0; 300_000]);
    fs::create_dir_all(folder).unwrap();
    for file in 0..10 {
        random.fill(&mut bytes);
        fs::write(folder.join(format!("{file}")), &bytes).unwrap();
    }
}

/// Three volumes, one job on each.
fn three_volumes(site: &Site, source: &Path) -> Rig {
    let rig = site.bacula().backup("tree", source).start().unwrap();
    for (seed, volume) in [(1, VOLUME), (2, "Dedup-0002"), (3, "Dedup-0003")] {
        fill(source, seed);
        rig.label(volume, POOL).unwrap();
        rig.run("tree", Level::Full).unwrap().demand_ok().unwrap();
        rig.update(&format!("volume={volume} volstatus=Used")).unwrap();
    }
    thread::sleep(Duration::from_secs(12));
    rig
}

#[test]
fn a_volume_that_the_catalog_does_not_know_is_an_orphan_and_a_pruned_job_is_not() {
    let Some(mut site) = Site::new(Release::V9) else { return };
    let source = site.folder().join("source");
    let rig = three_volumes(&site, &source);
    let device = rig.volume_file(DEVICE, VOLUME).unwrap().parent().unwrap().to_owned();
    let reconcile = |more: &[&str]| {
        let list = catalog_list(&site.gdd, &rig, site.folder());
        let words = ["reconcile", "--volumes", device.to_str().unwrap(), "--catalog", list.to_str().unwrap()];
        site.gdd.json(&[&words[..], &AGE, more].concat())
    };
    let found = reconcile(&[]);
    assert_eq!((whys(&found).len(), number(&found, "volume_streams_pruned")), (0, 0), "{found:#}");
    rig.delete_volume(VOLUME).unwrap();
    rig.console("delete jobid=2 yes").unwrap();
    let found = reconcile(&["--apply"]);
    assert_eq!(whys(&found), ["the catalog does not know its volume"], "{found:#}");
    assert_eq!((number(&found, "removed"), number(&found, "volume_streams")), (1, 3), "{found:#}");
    assert!(number(&found, "volume_streams_pruned") >= 1, "{found:#}");
    rig.label("Fresh-1", POOL).unwrap();
    let last = rig.run("tree", Level::Full).unwrap().demand_ok().unwrap();
    assert_restored(&rig, &[&last], &source);
    site.stop_and_check();
}

#[test]
fn one_device_that_is_not_mounted_removes_nothing() {
    let Some(mut site) = Site::new(Release::V9) else { return };
    let rig = three_volumes(&site, &site.folder().join("source"));
    let device = rig.volume_file(DEVICE, VOLUME).unwrap().parent().unwrap().to_owned();
    // The second device has one volume of three, and is not mounted: its folder is empty.
    let (aside, empty) = (site.folder().join("aside"), site.folder().join("second-device"));
    fs::create_dir(&empty).unwrap();
    fs::rename(device.join(VOLUME), &aside).unwrap();
    let [one, other] = [&device, &empty].map(|path| path.to_str().unwrap());
    let words = ["reconcile", "--volumes", one, "--volumes", other, "--apply"];
    let words = [&words[..], &AGE].concat();
    site.gdd.expect(2, &words).demand_said(&["second-device", "mounted"]);
    assert_eq!(site.stat("streams"), 3);
    fs::rename(&aside, empty.join(VOLUME)).unwrap();
    let found = site.gdd.json(&words);
    assert_eq!((number(&found, "volumes"), number(&found, "removed")), (3, 0), "{found:#}");
    site.stop_and_check();
}

/// The device that was named has two streams of three, so that the third, of another device, is less than half.
#[test]
fn streams_of_a_device_that_was_not_named_stay() {
    let Some(mut site) = Site::new(Release::V9) else { return };
    let source = site.folder().join("source");
    let rig = site.bacula().backup("tree", &source).device(Device::new("Other", "Cloud"));
    let rig = rig.pool(Pool::new("Weekly", "Other")).job(Job::backup("weekly", "tree").pool("Weekly"));
    let rig = rig.start().unwrap();
    let volumes = [("tree", POOL, VOLUME), ("tree", POOL, "Dedup-0002"), ("weekly", "Weekly", "Other-0001")];
    for (seed, (job, pool, volume)) in (1..).zip(volumes) {
        fill(&source, seed);
        rig.label(volume, pool).unwrap();
        rig.run(job, Level::Full).unwrap().demand_ok().unwrap();
        rig.update(&format!("volume={volume} volstatus=Used")).unwrap();
    }
    thread::sleep(Duration::from_secs(12));
    let folder = |device: &str| {
        rig.volume_file(device, VOLUME).unwrap().parent().unwrap().to_str().unwrap().to_owned()
    };
    let (named, other) = (folder(DEVICE), folder("Other"));
    let words = |more: &[&str]| {
        let all = [&["reconcile", "--volumes", &named][..], &AGE, more].concat();
        all.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let made = || catalog_list(&site.gdd, &rig, site.folder()).to_str().unwrap().to_owned();

    // Without the catalog nobody knows whether a folder is missing.
    assert_eq!(whys(&site.gdd.json(&words(&[]))), ["its volume is gone"]);
    let refused = site.gdd.expect(2, &words(&["--apply"]));
    refused.demand_said(&["--catalog", "--force", "nothing was removed"]);

    // With it a volume is missing, and whose streams those are is not known.
    let found = site.gdd.json(&words(&["--catalog", &made()]));
    assert!(whys(&found).is_empty() && number(&found, "volume_streams_undecided") == 1, "{found:#}");
    assert_eq!(list(&found, "volumes_absent"), ["Other-0001"], "{found:#}");
    for more in [&["--apply"][..], &["--apply", "--force"]] {
        let refused = site.gdd.expect(2, &words(&[&["--catalog", &made()][..], more].concat()));
        refused.demand_said(&["Other-0001", "Archive Devices", "nothing was removed"]);
    }
    assert_eq!(site.stat("streams"), 3);
    let found = site.gdd.json(&words(&["--volumes", &other, "--catalog", &made(), "--apply"]));
    assert_eq!((number(&found, "volumes"), number(&found, "removed")), (3, 0), "{found:#}");

    // A volume that the catalog has not, and no folder, is gone.
    rig.delete_volume("Other-0001").unwrap();
    let found = site.gdd.json(&words(&["--catalog", &made(), "--apply"]));
    assert_eq!(whys(&found), ["its volume is gone"], "{found:#}");
    assert_eq!((number(&found, "removed"), site.stat("streams")), (1, 2), "{found:#}");
    site.stop_and_check();
}

#[test]
fn a_volume_whose_stream_is_gone_is_named() {
    let Some(mut site) = Site::new(Release::V9) else { return };
    let rig = three_volumes(&site, &site.folder().join("source"));
    let device = rig.volume_file(DEVICE, VOLUME).unwrap().parent().unwrap().to_owned();
    let words = ["reconcile", "--volumes", device.to_str().unwrap(), "--json"];
    let whole = site.gdd.expect(0, &words).json();
    assert!(list(&whole, "lacking").is_empty(), "{whole:#}");
    let streams = site.gdd.json(&["ls"]);
    let name = text(&list(&streams, "streams")[0], "name").to_owned();
    site.gdd.expect(0, &["rm", &name]);
    let found = site.gdd.expect(3, &words).json();
    let lacking = list(&found, "lacking");
    assert_eq!(lacking.len(), 1, "{found:#}");
    assert!(text(&lacking[0], "volume").starts_with("Dedup-") && lacking[0]["found"].is_null(), "{found:#}");
    assert!(name.ends_with(text(&lacking[0], "stream")), "{found:#}");
    site.stop_and_check();
}

#[test]
fn jobs_that_are_past_their_retention_or_pruned_are_found() {
    let Some(mut site) = BothSides::new(Release::V9) else { return };
    site.fill(1, 20, 100_000);
    let rig = site.start(&[]);
    site.full(&rig);
    thread::sleep(Duration::from_secs(12));
    let orphans = |words: &[&str]| {
        let found = site.gdd.json(&[&["reconcile"][..], words, &AGE].concat());
        list(&found, "orphans").len()
    };
    assert_eq!(orphans(&["--jobs-older-than", "1h"]), 0);
    assert_eq!(orphans(&["--jobs-older-than", "2s"]), 1);
    let list_now = || catalog_list(&site.gdd, &rig, site.client.folder()).to_str().unwrap().to_owned();
    assert_eq!(orphans(&["--catalog", &list_now()]), 0);
    // A job that the catalog does not know under its name is kept: Bacula may have told its client another one.
    let other = fs::read_to_string(list_now()).unwrap().replace("|files|", "|other|");
    let path = site.client.folder().join("other-list");
    fs::write(&path, other).unwrap();
    assert_eq!(orphans(&["--catalog", path.to_str().unwrap()]), 0);
    site.gdd.expect(2, &["reconcile", "--jobs-older-than", "2s", "--apply", "--keep-newer", "10s"]);
    assert_eq!(orphans(&["--jobs-older-than", "2s", "--apply", "--force"]), 1);
    assert!(list(&site.gdd.json(&["ls"]), "streams").is_empty());
    site.stop_and_check();
}
