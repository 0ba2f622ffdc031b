//! The life of volumes on our device, the tools that read them without a director, and data of every kind in them.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use gdd_rig::tree::{self, Shape};
use gdd_rig::{Daemon, Device, FileSet, Job, Level, Pool, Release};
use gdd_tests::bacula::{
    DEVICE, POOL, Site, VOLUME, assert_equal, assert_failed, assert_restored, volume_size,
};
use gdd_tests::random::Random;

/// Without extended attributes: bextract does not restore them, from whatever device.
fn plain_tree_in(site: &Site) -> PathBuf {
    let tree = site.folder().join("tree");
    fs::create_dir(&tree).unwrap();
    tree::build(&tree, 61, Shape { huge_size: 6 << 20, ..Shape::SMALL }).unwrap();
    tree
}

fn tree_in(site: &Site) -> PathBuf {
    let tree = site.folder().join("tree");
    fs::create_dir(&tree).unwrap();
    tree::build(&tree, 61, Shape { huge_size: 6 << 20, xattrs: true, ..Shape::SMALL }).unwrap();
    tree
}

fn device() -> Device {
    Device::new(DEVICE, "Cloud")
}

fn volumes_are_recycled(release: Release) {
    let Some(mut site) = Site::new(release) else { return };
    let tree = tree_in(&site);
    let pool = Pool::new(POOL, DEVICE).truncate_on_purge().recycle();
    let rig = site.bacula_with(device(), pool).backup("tree", &tree).start().unwrap();
    rig.label(VOLUME, POOL).unwrap();
    rig.run("tree", Level::Full).unwrap().demand_ok().unwrap();
    assert_eq!(site.stat("streams"), 1);

    rig.purge(VOLUME).unwrap();
    rig.truncate(VOLUME, POOL).unwrap();
    assert!(volume_size(&rig, VOLUME) < 1000);
    assert_eq!(site.stat("streams"), 0, "a truncated volume gives its recipes up");
    let again = rig.run("tree", Level::Full).unwrap().demand_ok().unwrap();
    assert_eq!((again.volumes.as_slice(), site.stat("streams")), (&[VOLUME.to_owned()][..], 1));
    assert_restored(&rig, &[&again], &tree);

    // Recycled by the storage daemon itself, when a job needs a volume.
    rig.purge(VOLUME).unwrap();
    let recycled = rig.run("tree", Level::Full).unwrap().demand_ok().unwrap();
    assert_eq!((recycled.volumes.as_slice(), site.stat("streams")), (&[VOLUME.to_owned()][..], 1));
    assert_restored(&rig, &[&recycled], &tree);

    rig.purge(VOLUME).unwrap();
    rig.relabel(VOLUME, "Other-0001", POOL).unwrap();
    assert_eq!(site.stat("streams"), 0, "a relabelled volume, too");
    site.stop_and_check();
}

#[test]
fn recycled_volumes_give_their_recipes_up_on_bacula_9() {
    volumes_are_recycled(Release::V9);
}

#[test]
fn recycled_volumes_give_their_recipes_up_on_bacula_15() {
    volumes_are_recycled(Release::V15);
}

fn tools_read(release: Release) {
    let Some(mut site) = Site::new(release) else { return };
    let tree = plain_tree_in(&site);
    let rig = site
        .bacula()
        .device(Device::new("Other", "Cloud"))
        .pool(Pool::new("Second", "Other"))
        .backup("tree", &tree)
        .start()
        .unwrap();
    let full = rig.run("tree", Level::Full).unwrap().demand_ok().unwrap();
    let listed = rig.bls(DEVICE, VOLUME, &["-v"]).unwrap().demand_success().unwrap();
    assert!(listed.has("lengths/65537"), "{}", listed.all());
    let jobs = rig.bls(DEVICE, VOLUME, &["-j"]).unwrap().demand_success().unwrap();
    assert!(jobs.has("End Job Session Record"), "{}", jobs.all());
    let below = tree.strip_prefix("/").unwrap();
    let (printed, into) = rig.bextract(DEVICE, VOLUME, &[]).unwrap();
    printed.demand_success().unwrap();
    assert_equal(&tree, &into.join(below));
    let (printed, into) = rig.bextract(DEVICE, VOLUME, &[&tree.join("lengths/65537")]).unwrap();
    printed.demand_success().unwrap();
    let one = Path::new("lengths/65537");
    assert_eq!(fs::read(into.join(below).join(one)).unwrap(), fs::read(tree.join(one)).unwrap());

    let scanned = rig.bscan(DEVICE, VOLUME).unwrap();
    scanned.printed.clone().demand_success().unwrap();
    let rows = rig.query_scanned(&scanned, "SELECT JobFiles FROM Job WHERE Type='B'").unwrap();
    assert_eq!(rows, [[full.files.to_string()]], "{}", scanned.printed.all());

    rig.label("Second-1", "Second").unwrap();
    let copied = rig.bcopy((DEVICE, VOLUME), ("Other", "Second-1")).unwrap().demand_success().unwrap();
    assert!(copied.has("1 Jobs copied"), "{}", copied.all());
    let (printed, into) = rig.bextract("Other", "Second-1", &[]).unwrap();
    printed.demand_success().unwrap();
    assert_equal(&tree, &into.join(below));
    site.stop_and_check();
}

#[test]
fn tools_read_our_volumes_on_bacula_9() {
    tools_read(Release::V9);
}

#[test]
fn tools_read_our_volumes_on_bacula_15() {
    tools_read(Release::V15);
}

/// The volume's file as it was before the last job, as after a restore of the file system. Bacula seeks to where the
/// catalog says that the job begins, which is this file's end.
fn older_copy(release: Release) {
    let Some(mut site) = Site::new(release) else { return };
    let tree = tree_in(&site);
    let rig = site.bacula().backup("tree", &tree).start().unwrap();
    let run = || rig.run("tree", Level::Full).unwrap().demand_ok().unwrap();
    let first = run();
    let file = rig.volume_file(DEVICE, VOLUME).unwrap();
    let older = fs::read(&file).unwrap();
    let second = run();
    assert_eq!([&first.volumes, &second.volumes], [&[VOLUME], &[VOLUME]]);
    let newer = fs::read(&file).unwrap();
    fs::write(&file, &older).unwrap();
    let failed = rig.restore(&[second.id]).unwrap().result;
    println!("{}", failed.log);
    assert_failed(
        &failed,
        &["[GDD-SD-0104]", "the volume ends at logical byte", "restore the file from a copy"],
    );
    assert_restored(&rig, &[&first], &tree);
    fs::write(&file, &newer).unwrap();
    assert_restored(&rig, &[&second], &tree);
    site.stop_and_check();
}

#[test]
fn a_job_that_an_older_copy_of_the_volume_lacks_is_not_restored_on_bacula_9() {
    older_copy(Release::V9);
}

#[test]
fn a_job_that_an_older_copy_of_the_volume_lacks_is_not_restored_on_bacula_15() {
    older_copy(Release::V15);
}

/// What bextract has made is nothing, or the beginning of a file, which its own output says is short; never zeros.
fn assert_nothing_made_up(tree: &Path, into: &Path) -> usize {
    let (mut folders, mut found) = (vec![PathBuf::new()], 0);
    let below = into.join(tree.strip_prefix("/").unwrap());
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(below.join(&folder)) else { continue };
        for entry in entries.map(Result::unwrap) {
            let (name, kind) = (folder.join(entry.file_name()), entry.file_type().unwrap());
            if kind.is_dir() {
                folders.push(name);
            } else if kind.is_file() {
                let (made, whole) = (fs::read(entry.path()).unwrap(), fs::read(tree.join(&name)).unwrap());
                assert!(whole.starts_with(&made), "{}: other bytes than the file's", name.display());
                found += usize::from(made == whole);
            }
        }
    }
    found
}

/// A volume without its daemon, and with a store that has lost what it refers to. The tools print why, and end with
/// exit code 0 all the same, as they do after a read error of any device: what they print is what counts.
fn tools_are_told(release: Release) {
    let Some(mut site) = Site::new(release) else { return };
    let tree = site.folder().join("tree");
    fs::create_dir(&tree).unwrap();
    let mut random = Random::new(77);
    let mut bytes = vec![0; 300_000];
    for file in 0..8 {
        random.fill(&mut bytes);
        fs::write(tree.join(format!("{file}")), &bytes).unwrap();
    }
    let rig = site.bacula().backup("tree", &tree).start().unwrap();
    rig.run("tree", Level::Full).unwrap().demand_ok().unwrap();
    site.daemon().stop();
    let told = |words: &[&str]| {
        let listed = rig.bls(DEVICE, VOLUME, &["-v"]).unwrap();
        let (extracted, into) = rig.bextract(DEVICE, VOLUME, &[]).unwrap();
        for printed in [&listed, &extracted] {
            println!("{}: {}\n{}", printed.line, printed.status, printed.all());
            for word in words {
                assert!(printed.has(word), "no {word:?} in\n{}", printed.all());
            }
        }
        assert_eq!(assert_nothing_made_up(&tree, &into), 0, "nothing could be read");
        // The label needs no store.
        assert!(rig.bls(DEVICE, VOLUME, &["-L"]).unwrap().has(VOLUME));
    };
    told(&["[GDD-SD-0003]", "no gdd daemon at", "systemctl start gdd"]);
    // The store is there, and has lost the stream.
    let streams = site.gdd.json(&["ls"])["streams"].as_array().unwrap().clone();
    for stream in &streams {
        site.gdd.expect(0, &["rm", stream["name"].as_str().unwrap()]);
    }
    site.serve();
    told(&["[GDD-SD-0025]", "the store has no stream", "gdd fsck"]);
    site.stop_and_check();
}

#[test]
fn tools_are_told_what_is_missing_on_bacula_9() {
    tools_are_told(Release::V9);
}

#[test]
fn tools_are_told_what_is_missing_on_bacula_15() {
    tools_are_told(Release::V15);
}

#[test]
fn a_job_goes_on_from_volume_to_volume_and_through_a_spool() {
    let Some(mut site) = Site::new(Release::V9) else { return };
    let tree = tree_in(&site);
    let small = Pool::new(POOL, DEVICE).label_format("Dedup-").volume_bytes_max(4 << 20);
    let rig = site
        .bacula_with(device().spool(5 << 20), small)
        .file_set(FileSet::new("tree").include(&tree))
        .job(Job::backup("tree", "tree"))
        .job(Job::backup("spooled", "tree").spool_data())
        .start()
        .unwrap();
    for job in ["tree", "spooled"] {
        let done = rig.run(job, Level::Full).unwrap().demand_ok().unwrap();
        assert!(done.volumes.len() >= 3, "{:?}", done.volumes);
        assert_eq!(done.log.contains("Committing spooled data"), job == "spooled", "{}", done.log);
        assert_restored(&rig, &[&done], &tree);
    }
    site.stop_and_check();
}

#[test]
fn blocks_of_every_size_come_back() {
    let Some(mut site) = Site::new(Release::V9) else { return };
    let tree = tree_in(&site);
    let mut builder = site.bacula();
    let sizes = [65_536, 131_072, 1_048_576, 4_000_000];
    builder = builder.file_set(FileSet::new("tree").include(&tree));
    for size in sizes {
        let name = format!("Size-{size}");
        builder = builder
            .device(Device::new(&name, "Cloud").block_size_max(size))
            .pool(Pool::new(&name, &name).label_format(&format!("{name}-")))
            .job(Job::backup(&name, "tree").pool(&name));
    }
    let rig = builder.start().unwrap();
    let mut stored = Vec::new();
    for size in sizes {
        let done = rig.run(&format!("Size-{size}"), Level::Full).unwrap().demand_ok().unwrap();
        assert_restored(&rig, &[&done], &tree);
        stored.push(site.stat("stored_bytes"));
    }
    let grown = stored[3] - stored[0];
    assert!(grown * 100 < stored[0], "blocks of another size are known data: {stored:?}");
    site.stop_and_check();
}

/// Sparse, compressed and encrypted streams, and several signatures: what they are is Bacula's business, and comes
/// back.
#[test]
fn streams_of_every_kind_come_back() {
    let Some(mut site) = Site::new(Release::V9) else { return };
    let tree = tree_in(&site);
    let kinds = [
        ("sparse", vec!["sparse = yes"]),
        ("gzip", vec!["compression = GZIP6"]),
        ("lzo", vec!["compression = LZO", "sparse = yes"]),
        ("sha", vec!["signature = SHA256"]),
    ];
    let pem = key_pair(site.folder());
    // Bacula 9.6.7 cannot decrypt a file of 65,537 bytes, from its own disk device either.
    fs::remove_file(tree.join("lengths/65537")).unwrap();
    let mut builder = site.bacula().clients(2);
    for (name, options) in &kinds {
        let set = options.iter().fold(FileSet::new(name).include(&tree), |set, option| set.option(option));
        builder = builder.file_set(set).job(Job::backup(name, name));
    }
    let encrypting = Daemon::File(1);
    builder = builder
        .file_set(FileSet::new("encrypted").include(&tree))
        .job(Job::backup("encrypted", "encrypted").client(1))
        .line(encrypting, "PKI Signatures = yes")
        .line(encrypting, "PKI Encryption = yes")
        .line(encrypting, &format!("PKI Keypair = \"{}\"", pem.display()));
    let rig = builder.start().unwrap();
    for name in kinds.iter().map(|(name, _)| *name).chain(["encrypted"]) {
        let done = rig.run(name, Level::Full).unwrap().demand_ok().unwrap();
        assert!(!done.log.contains("[GDD-SD-0204]"), "no block was strange: {}", done.log);
        assert_restored(&rig, &[&done], &tree);
    }
    site.stop_and_check();
}

/// A key and its certificate in one file, as the file daemon wants them.
fn key_pair(folder: &Path) -> PathBuf {
    let [key, certificate, pem] = ["key", "certificate", "pem"].map(|name| folder.join(name));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=gdd", "-days", "10", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    fs::write(&pem, [fs::read(&key).unwrap(), fs::read(&certificate).unwrap()].concat()).unwrap();
    pem
}
