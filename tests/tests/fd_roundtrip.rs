//! Trees through the plugin of the stock file daemon and back: every file equal, the volume small, whatever the options
//! of the FileSet.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use gdd_rig::{Device, Job, Level, Pool, Release};
use gdd_tests::bacula::{assert_equal, assert_restored};
use gdd_tests::client::ClientSite;
use gdd_tests::mixed;
use gdd_tests::snapshot::Snapshot;
use gdd_tests::tree::{self, Shape};

const STRING: &str = "gdd:patience=60";

fn round_trip(release: Release, options: &[&str]) {
    let Some(site) = ClientSite::new(release) else { return };
    mixed::build(&site.tree()).unwrap();
    let rig = site.start(STRING, options);
    let full = site.full(&rig);
    println!("{}", full.log.lines().find(|line| line.contains("savings")).unwrap());
    assert!(full.bytes < 100_000, "the volume took {} bytes", full.bytes);
    assert_restored(&rig, &[&full], &site.tree());
}

fn incremental(release: Release, accurate: bool) {
    let Some(site) = ClientSite::new(release) else { return };
    mixed::build(&site.tree()).unwrap();
    let job = Job::backup("files", "files");
    let job = if accurate { job.accurate() } else { job };
    let options: &[&str] = if accurate { &["accurate = pinsmc"] } else { &[] };
    let rig = site.bacula(STRING, options).job(job).start().unwrap();
    let full = site.full(&rig);
    fs::write(site.tree().join("size-512"), vec![9; 70_000]).unwrap();
    fs::write(site.tree().join("new"), vec![8; 1000]).unwrap();
    let next = rig.run("files", Level::Incremental).unwrap().demand_ok().unwrap();
    assert!(next.files < 10, "{} files", next.files);
    let back = rig.restore(&[full.id, next.id]).unwrap();
    back.result.clone().demand_ok().unwrap();
    // A file that comes a second time touches a folder that has had its time set, as with plain Bacula.
    let of = |path: &Path| Snapshot::of(path).unwrap().without_folder_times();
    assert_eq!(of(&site.tree()).differences(&of(&back.path(&site.tree()))), Vec::<String>::new());
}

/// On 9.6.7 two restores at once end each other unless the plugin lets one file through at a time.
fn two_restores(release: Release) {
    let Some(site) = ClientSite::new(release) else { return };
    let shape = Shape { files: 4000, file_size_max: 3000, ..Shape::SMALL };
    tree::build(&site.tree().join("built"), 5, shape).unwrap();
    let mut rig = site.bacula(STRING, &[]);
    // A device reads for one job at a time.
    for name in ["one", "two"] {
        rig = rig.device(Device::file(name)).pool(Pool::new(name, name).label_format(&format!("{name}-")));
        rig = rig.job(Job::backup(name, "files").pool(name));
    }
    let rig = rig.start().unwrap();
    let jobs = ["one", "two"].map(|name| rig.run(name, Level::Full).unwrap().demand_ok().unwrap());
    site.switch_on("stall", "");
    let ids = thread::scope(|scope| {
        let restores = jobs.each_ref().map(|job| {
            let (rig, site) = (&rig, &site);
            scope.spawn(move || {
                let back = rig.restore(&[job.id]).unwrap();
                back.result.clone().demand_ok().unwrap();
                assert_equal(&site.tree(), &back.path(&site.tree()));
                back.result.id
            })
        });
        // Both wait for the store, and go on together.
        rig.wait_for("two running restores", || {
            let running = rig.query_catalog("SELECT COUNT(*) FROM Job WHERE Type='R' AND JobStatus='R'")?;
            Ok(running == [["2"]])
        })
        .unwrap();
        thread::sleep(Duration::from_secs(2));
        site.switch_off("stall");
        restores.map(|restore| restore.join().unwrap())
    });
    let [one, two] = ids;
    let query = format!(
        "SELECT COUNT(*) FROM Job A, Job B WHERE A.JobId={one} AND B.JobId={two} AND A.StartTime<=B.EndTime \
         AND B.StartTime<=A.EndTime"
    );
    assert_eq!(rig.query_catalog(&query).unwrap(), [["1"]], "the restores did not run at the same time");
}

macro_rules! on_both {
    ($($name9:ident $name15:ident $body:expr;)*) => {
        $(
            #[test]
            fn $name9() {
                $body(Release::V9);
            }
            #[test]
            fn $name15() {
                $body(Release::V15);
            }
        )*
    };
}

on_both! {
    a_mixed_tree_on_9 a_mixed_tree_on_15 |release| round_trip(release, &[]);
    sparse_on_9 sparse_on_15 |release| round_trip(release, &["sparse = yes"]);
    compression_on_9 compression_on_15 |release| round_trip(release, &["compression = GZIP"]);
    no_hardlinks_on_9 no_hardlinks_on_15 round_trip_of_names;
    incremental_on_9 incremental_on_15 |release| incremental(release, false);
    accurate_on_9 accurate_on_15 |release| incremental(release, true);
    two_restores_on_9 two_restores_on_15 two_restores;
}

/// With `hardlinks = no` each name is a file of its own: contents come back, the link does not.
fn round_trip_of_names(release: Release) {
    let Some(site) = ClientSite::new(release) else { return };
    fs::write(site.tree().join("one"), vec![1; 9000]).unwrap();
    fs::hard_link(site.tree().join("one"), site.tree().join("two")).unwrap();
    let rig = site.start(STRING, &["hardlinks = no"]);
    let full = site.full(&rig);
    let back = rig.restore(&[full.id]).unwrap();
    back.result.clone().demand_ok().unwrap();
    for name in ["one", "two"] {
        assert_eq!(fs::read(back.path(&site.tree().join(name))).unwrap(), vec![1; 9000]);
    }
}
