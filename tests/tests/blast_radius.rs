//! Bothsides mode with stock Bacula: which files damage hits, as the volumes' references tell; and files that a tool
//! without the plugin has brought back as references.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use gdd_rig::Release;
use gdd_tests::bacula::assert_equal;
use gdd_tests::bothsides::BothSides;
use gdd_tests::json::{list, text};

/// The device and the first volume of a rig that was not told otherwise.
const DEVICE: &str = "File";
const VOLUME: &str = "Default-0001";
const FILES: usize = 30;

fn rehydrated(site: &BothSides, folder: &Path) -> (Option<i32>, serde_json::Value) {
    let (server, key) = (format!("127.0.0.1:{}", site.port()), site.key_file());
    let words = ["rehydrate", "--server", &server, "--key", key.to_str().unwrap(), "--json"];
    let ran = site.gdd.run(&[&words[..], &[folder.to_str().unwrap()]].concat());
    (ran.code, ran.json())
}

fn bextract_and_rehydrate(release: Release) {
    let Some(mut site) = BothSides::new(release) else { return };
    site.fill(3, FILES, 150_000);
    fs::write(site.client.tree().join("small"), b"few bytes").unwrap();
    let rig = site.start(&[]);
    site.full(&rig);
    let (printed, into) = rig.bextract(DEVICE, VOLUME, &[]).unwrap();
    printed.demand_success().unwrap();
    let tree = site.client.tree();
    let back = into.join(tree.strip_prefix("/").unwrap());
    assert_eq!(fs::read(back.join("small")).unwrap(), b"few bytes");
    assert_eq!(fs::metadata(back.join("f0000")).unwrap().len(), 120, "a reference");
    let (code, done) = rehydrated(&site, &back);
    assert_eq!((code, done["files"].as_u64()), (Some(0), Some(FILES as u64)), "{done:#}");
    assert_equal(&tree, &back);
    site.stop_and_check();
}

#[test]
fn what_bextract_brings_is_rehydrated_on_9() {
    bextract_and_rehydrate(Release::V9);
}

#[test]
fn what_bextract_brings_is_rehydrated_on_15() {
    bextract_and_rehydrate(Release::V15);
}

#[test]
fn references_tell_which_files_damage_hits() {
    let Some(mut site) = BothSides::with_settings(Release::V9, &["--container-size", "1m"]) else { return };
    site.fill(4, FILES, 150_000);
    let rig = site.start(&[]);
    site.full(&rig);
    site.daemon().stop();
    let containers = site.gdd.store().join("containers");
    let mut files: Vec<_> = fs::read_dir(containers).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    fs::remove_file(&files[1]).unwrap();
    site.gdd.expect(3, &["scrub"]);
    let device = rig.volume_file(DEVICE, VOLUME).unwrap().parent().unwrap().to_owned();
    let words = ["scrub", "--report", "--volumes", device.to_str().unwrap(), "--json"];
    let report = site.gdd.expect(3, &words).json();
    let hit = &list(&report["blame"], "streams")[0];
    assert!(text(hit, "stream").starts_with("net/"), "{report:#}");
    assert_eq!(hit["volumes"][0], VOLUME, "{report:#}");
    let names = list(hit, "files").iter().map(|file| Path::new(file.as_str().unwrap()).to_owned());
    let named: BTreeSet<_> = names.collect();
    // The truth: references that do not become files.
    site.serve();
    let (printed, into) = rig.bextract(DEVICE, VOLUME, &[]).unwrap();
    printed.demand_success().unwrap();
    let (code, done) = rehydrated(&site, &into);
    assert_eq!(code, Some(3), "{done:#}");
    let failed = list(&done, "failed")
        .iter()
        .map(|file| Path::new("/").join(Path::new(text(file, "path")).strip_prefix(&into).unwrap()));
    let failed: BTreeSet<_> = failed.collect();
    assert!(named == failed && named.len() > 2 && named.len() < FILES, "{named:?}\n{failed:?}");
    site.daemon().stop();
}
