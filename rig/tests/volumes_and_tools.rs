//! The life of volumes (full, purged, truncated, recycled), jobs made of other jobs (virtual full, copy, verify), and
//! the tools that read volumes without a director.

mod support;

use std::fs;
use std::path::Path;

use gdd_rig::tree::{self, Shape};
use gdd_rig::{Device, FileSet, Job, Level, Pool, Rig};
use tempfile::TempDir;

fn start() -> Option<(Rig, TempDir)> {
    let builder = support::builder()?;
    let folder = support::scratch();
    tree::build(folder.path(), 61, Shape { huge_size: 6 << 20, ..Shape::SMALL }).expect("the tree is built");
    let backup = Job::backup("tree", "tree").accurate();
    let builder = builder
        .device(Device::file("Plain"))
        .device(Device::file("Other").archive("other").media_type("other"))
        .pool(Pool::new("Main", "Plain").next("Second").truncate_on_purge().recycle())
        .pool(Pool::new("Second", "Other").label_format("S-"))
        .pool(Pool::new("Small", "Plain").label_format("M-").volume_bytes_max(4 << 20))
        .file_set(FileSet::new("tree").include(folder.path()))
        .job(Job::copy("copy", "Main"))
        .job(Job::verify("verify", &backup))
        .job(Job::backup("small", "tree").pool("Small"))
        .job(backup);
    let rig = builder.start().expect("the rig starts");
    rig.label("V-1", "Main").expect("the volume is labelled");
    Some((rig, folder))
}

#[test]
fn tools_read_volumes() {
    let Some((rig, folder)) = start() else { return };
    let full = rig.run("tree", Level::Full).unwrap().demand_ok().unwrap();
    let one = folder.path().join("lengths/65537");

    let listed = rig.bls("Plain", "V-1", &["-v"]).unwrap().demand_success().unwrap();
    assert!(listed.has("lengths/65537"), "{}", listed.all());
    let jobs = rig.bls("Plain", "V-1", &["-j"]).unwrap().demand_success().unwrap();
    assert!(jobs.has("End Job Session Record"), "{}", jobs.all());
    let (printed, into) = rig.bextract("Plain", "V-1", &[&one]).unwrap();
    printed.demand_success().unwrap();
    assert_eq!(fs::read(into.join(one.strip_prefix("/").unwrap())).unwrap(), fs::read(&one).unwrap());
    let (printed, into) = rig.bextract("Plain", "V-1", &[]).unwrap();
    printed.demand_success().unwrap();
    support::assert_equal(folder.path(), &into.join(folder.path().strip_prefix("/").unwrap()));

    let scanned = rig.bscan("Plain", "V-1").unwrap();
    scanned.printed.clone().demand_success().unwrap();
    let rows = rig.query_scanned(&scanned, "SELECT JobFiles FROM Job WHERE Type='B'").unwrap();
    assert_eq!(rows, [[full.files.to_string()]], "{}", scanned.printed.all());

    rig.label("V-2", "Second").unwrap();
    let copied = rig.bcopy(("Plain", "V-1"), ("Other", "V-2")).unwrap().demand_success().unwrap();
    assert!(copied.has("1 Jobs copied"), "{}", copied.all());
    let listed = rig.bls("Other", "V-2", &["-v"]).unwrap().demand_success().unwrap();
    assert!(listed.has("lengths/65537"), "{}", listed.all());
    assert!(!rig.bls("Plain", "V-9", &[]).unwrap().status.success(), "a volume that is not there");
}

#[test]
fn jobs_are_made_of_jobs() {
    let Some((rig, folder)) = start() else { return };
    let full = rig.run("tree", Level::Full).unwrap().demand_ok().unwrap();
    let verified = rig.run("verify", Level::VolumeToCatalog).unwrap().demand_ok().unwrap();
    assert_eq!((verified.kind, verified.files), ('V', full.files));
    rig.run("copy", Level::None).unwrap().demand_ok().unwrap();
    let copies = rig.copies_of(full.id).unwrap();
    let [copy] = copies[..] else { panic!("{copies:?}") };
    let volumes = rig.job(copy).unwrap().volumes;
    assert!(volumes.len() == 1 && volumes[0].starts_with("S-"), "{volumes:?}");
    restored(&rig, copy, folder.path());

    fs::write(folder.path().join("later"), "x").unwrap();
    rig.run("tree", Level::Incremental).unwrap().demand_ok().unwrap();
    let virtual_full = rig.run("tree", Level::VirtualFull).unwrap().demand_ok().unwrap();
    assert_eq!(virtual_full.level, 'F');
    restored(&rig, virtual_full.id, folder.path());
}

#[test]
fn volumes_fill_are_truncated_and_are_used_again() {
    let Some((rig, folder)) = start() else { return };
    let small = rig.run("small", Level::Full).unwrap().demand_ok().unwrap();
    assert!(small.volumes.len() >= 3, "{:?}", small.volumes);
    assert_eq!(rig.volume_column(&small.volumes[0], "VolStatus").unwrap(), "Full");
    restored(&rig, small.id, folder.path());

    rig.run("tree", Level::Full).unwrap().demand_ok().unwrap();
    let file = rig.volume_file("Plain", "V-1").unwrap();
    assert!(fs::metadata(&file).unwrap().len() > 6 << 20);
    rig.purge("V-1").unwrap();
    assert_eq!(rig.volume_column("V-1", "VolStatus").unwrap(), "Purged");
    rig.truncate("V-1", "Main").unwrap();
    assert!(fs::metadata(&file).unwrap().len() < 1000);
    let again = rig.run("tree", Level::Full).unwrap().demand_ok().unwrap();
    assert_eq!(again.volumes, ["V-1"]);
    rig.update("volume=V-1 volstatus=Used").unwrap();
    assert_eq!(rig.volume_column("V-1", "VolStatus").unwrap(), "Used");
    restored(&rig, again.id, folder.path());
}

#[track_caller]
fn restored(rig: &Rig, job: gdd_rig::JobId, tree: &Path) {
    let back = rig.restore(&[job]).expect("the restore runs");
    back.result.clone().demand_ok().expect("the restore ends well");
    support::assert_equal(tree, &back.path(tree));
}
