//! Debian 13's Bacula runs beside the machine's own: a full comes back, and the tools read its volume.

mod support;

use std::fs;

use gdd_rig::tree::{self, Shape};
use gdd_rig::{Daemon, Level, Release};

#[test]
fn a_full_comes_back_on_15() {
    let Some(builder) = support::builder() else { return };
    let folder = support::scratch();
    tree::build(folder.path(), 71, Shape::BACKUP).unwrap();
    let rig = builder.bacula(Release::V15).backup("tree", folder.path()).start().unwrap();
    assert!(rig.packages().version().starts_with("15."), "{}", rig.packages().version());
    assert!(rig.status(Daemon::Storage).unwrap().contains("15."));

    let full = rig.run("tree", Level::Full).unwrap().demand_ok().unwrap();
    let back = rig.restore(&[full.id]).unwrap();
    back.result.clone().demand_ok().unwrap();
    support::assert_equal(folder.path(), &back.path(folder.path()));

    let one = folder.path().join("lengths/4095");
    let back = rig.restore_files(&[full.id], &[&one]).unwrap();
    back.result.clone().demand_ok().unwrap();
    assert_eq!(fs::read(back.path(&one)).unwrap(), fs::read(&one).unwrap());

    rig.restart(Daemon::Storage).unwrap();
    rig.run("tree", Level::Incremental).unwrap().demand_ok().unwrap();
    let jobs = rig.bls("File", "Default-0001", &["-j"]).unwrap().demand_success().unwrap();
    assert!(jobs.has("End Job Session Record"), "{}", jobs.all());
    let volume = fs::read(rig.volume_file("File", "Default-0001").unwrap()).unwrap();
    assert_eq!(&volume[12..16], b"BB03");
}
