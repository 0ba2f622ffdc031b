//! Two jobs of two clients, interleaved on one volume, both come back; a device that spools and one with large blocks
//! beside it.

mod support;

use std::fs;

use gdd_rig::tree::{self, Shape};
use gdd_rig::{Daemon, Device, FileSet, Job, Level, Pool, Signal};

#[test]
fn two_jobs_share_a_volume() {
    let Some(mut builder) = support::builder() else { return };
    let folder = support::scratch();
    let trees = ["one", "two"].map(|name| folder.path().join(name));
    for (seed, tree) in (41..).zip(&trees) {
        fs::create_dir(tree).unwrap();
        tree::build(tree, seed, Shape { huge_size: 30 << 20, ..Shape::BACKUP }).unwrap();
    }
    builder = builder
        .device(Device::file("Plain"))
        .device(Device::file("Large").block_size_max(1 << 20).spool(1 << 30));
    builder =
        builder.pool(Pool::new("Shared", "Plain")).pool(Pool::new("Spooled", "Large").label_format("L-"));
    let sets = [
        FileSet::new("one").include(&trees[0]).option("sparse = yes"),
        FileSet::new("two").include(&trees[1]),
    ];
    for set in sets {
        builder = builder.file_set(set);
    }
    builder = builder
        .job(Job::backup("first", "one").client(0))
        .job(Job::backup("second", "two").client(1).accurate());
    builder = builder.job(Job::backup("spooled", "two").pool("Spooled").spool_data().client(1));
    // The first client is slow enough to be stopped in the middle.
    builder = builder.line(Daemon::File(0), "Maximum Bandwidth Per Job = 8 mb/s");
    let rig = builder.clients(2).start().unwrap();
    rig.label("V-1", "Shared").unwrap();

    let volume = rig.volume_file("Plain", "V-1").unwrap();
    let first = rig.submit("first", Level::Full).unwrap();
    rig.wait_for("blocks of the first job", || {
        Ok(fs::metadata(&volume).is_ok_and(|file| file.len() > 1 << 20))
    })
    .unwrap();
    rig.signal(Daemon::File(0), Signal::Stop).unwrap();
    let mut results = rig.run_at_once(&["second", "spooled"], Level::Full).unwrap();
    rig.signal(Daemon::File(0), Signal::Continue).unwrap();
    results.insert(0, rig.wait(first).unwrap());
    for (result, tree) in results.iter().zip([&trees[0], &trees[1], &trees[1]]) {
        result.clone().demand_ok().unwrap();
        let back = rig.restore(&[result.id]).unwrap();
        back.result.clone().demand_ok().unwrap();
        support::assert_equal(tree, &back.path(tree));
    }
    assert_eq!([&results[0].volumes, &results[1].volumes], [&["V-1"], &["V-1"]]);
    assert!(results[2].volumes.iter().all(|volume| volume.starts_with("L-")), "{:?}", results[2].volumes);
    assert!(results[2].log.contains("Despooling"), "{}", results[2].log);
    let jobs = rig.volume_column("V-1", "VolJobs").unwrap();
    assert_eq!(jobs, "2");
    let listed = rig.bls("Plain", "V-1", &["-k", "-v"]).unwrap().demand_success().unwrap();
    assert!(are_interleaved(&listed.output), "{}", &listed.output[..listed.output.len().min(2000)]);
}

/// Whether some session has blocks before and after those of another.
fn are_interleaved(listing: &str) -> bool {
    let session =
        |line: &str| line.split("SessId=").nth(1).and_then(|rest| rest.split(' ').next()).map(str::to_owned);
    let mut sessions: Vec<_> = listing.lines().filter_map(session).collect();
    sessions.dedup();
    sessions.windows(3).any(|three| three[0] == three[2])
}
