//! A full and an incremental backup to the plain disk device come back, entry by entry.

mod support;

use std::fs;

use gdd_rig::snapshot::Snapshot;
use gdd_rig::tree::{self, Shape};
use gdd_rig::{JobId, Level};

#[test]
fn a_full_and_an_incremental_come_back() {
    let Some(builder) = support::builder() else { return };
    let folder = support::scratch();
    let tree = folder.path().join("tree");
    fs::create_dir(&tree).unwrap();
    tree::build(&tree, 31, Shape::BACKUP).unwrap();
    let rig = builder.backup("tree", &tree).start().unwrap();

    let full = rig.run("tree", Level::Full).unwrap().demand_ok().unwrap();
    assert_eq!((full.kind, full.level), ('B', 'F'));
    assert!(full.files > 1200 && full.bytes > 20 << 20, "{full:?}");
    let back = rig.restore(&[full.id]).unwrap();
    back.result.clone().demand_ok().unwrap();
    support::assert_equal(&tree, &back.path(&tree));

    std::thread::sleep(std::time::Duration::from_millis(1100)); // Bacula compares times in whole seconds.
    fs::write(tree.join("new"), "after the full").unwrap();
    let more = rig.run("tree", Level::Incremental).unwrap().demand_ok().unwrap();
    assert_eq!(more.level, 'I');
    assert!(more.files < 10, "{more:?}");
    let back = rig.restore_latest(0, "tree").unwrap();
    back.result.clone().demand_ok().unwrap();
    let [original, restored] =
        [&tree, &back.path(&tree)].map(|root| Snapshot::of(root).unwrap().without_folder_times());
    assert_eq!(original.differences(&restored), Vec::<String>::new());

    let one = tree.join("lengths/4097");
    let back = rig.restore_files(&[full.id], &[&one]).unwrap();
    back.result.clone().demand_ok().unwrap();
    assert_eq!(back.result.files, 1, "{:?}", back.result);
    assert_eq!(fs::read(back.path(&one)).unwrap(), fs::read(&one).unwrap());
    assert!(rig.job(JobId(999)).is_err());
}
