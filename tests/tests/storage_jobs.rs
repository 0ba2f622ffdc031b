//! Jobs as operators run them on our device: several at once, one after another, of every level, made of other jobs.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

use gdd_rig::snapshot::Snapshot;
use gdd_rig::tree::{self, Shape};
use gdd_rig::{Daemon, Device, FileSet, Job, JobResult, Level, Pool, Release, Rig, Signal};
use gdd_tests::bacula::{DEVICE, POOL, Site, VOLUME, assert_equal, assert_failed, assert_restored};
use gdd_tests::random::Random;

/// Trees of `shape` in a folder, the first number of them.
fn trees(folder: &Path, count: u64, shape: Shape) -> Vec<PathBuf> {
    let tree = |number| {
        let tree = folder.join(format!("tree-{number}"));
        fs::create_dir_all(&tree).unwrap();
        tree::build(&tree, 100 + number, shape).unwrap();
        tree
    };
    (0..count).map(tree).collect()
}

fn name_of(tree: &Path) -> String {
    tree.file_name().unwrap().to_string_lossy().into_owned()
}

/// Whether some session has blocks before and after those of another.
fn are_interleaved(rig: &Rig) -> bool {
    let listed = rig.bls(DEVICE, VOLUME, &["-k", "-v"]).unwrap().demand_success().unwrap();
    let session =
        |line: &str| line.split("SessId=").nth(1).and_then(|rest| rest.split(' ').next()).map(str::to_owned);
    let mut sessions: Vec<_> = listed.output.lines().filter_map(session).collect();
    sessions.dedup();
    sessions.windows(3).any(|three| three[0] == three[2])
}

fn jobs_at_once(release: Release, count: u8) {
    let Some(mut site) = Site::new(release) else { return };
    let trees = trees(site.folder(), count.into(), Shape { huge_size: 6 << 20, ..Shape::SMALL });
    let mut builder = site.bacula().clients(count);
    for (client, tree) in (0..).zip(&trees) {
        let name = name_of(tree);
        builder = builder
            .file_set(FileSet::new(&name).include(tree))
            .job(Job::backup(&name, &name).client(client))
            .line(Daemon::File(client), "Maximum Bandwidth Per Job = 6 mb/s");
    }
    let rig = builder.start().unwrap();
    let names: Vec<_> = trees.iter().map(|tree| name_of(tree)).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    // The first is held in the middle while the others run, or Bacula may run one after another.
    let first = rig.submit(names[0], Level::Full).unwrap();
    rig.wait_for("bytes of the first job", || Ok(site.bytes_in() > 1 << 20)).unwrap();
    rig.signal(Daemon::File(0), Signal::Stop).unwrap();
    let mut results = rig.run_at_once(&names[1..], Level::Full).unwrap();
    rig.signal(Daemon::File(0), Signal::Continue).unwrap();
    results.insert(0, rig.wait(first).unwrap());
    for (result, tree) in results.iter().zip(&trees) {
        let result = result.clone().demand_ok().unwrap();
        assert_eq!(result.volumes, [VOLUME]);
        assert!(result.log.contains("[GDD-SD-0200]"), "{}", result.log);
        assert_restored(&rig, &[&result], tree);
    }
    assert!(are_interleaved(&rig), "the jobs took turns");
    assert_eq!(site.stat("streams"), u64::from(count));
    site.stop_and_check();
}

#[test]
fn two_jobs_at_once_come_back_on_bacula_9() {
    jobs_at_once(Release::V9, 2);
}

#[test]
fn eight_jobs_at_once_come_back_on_bacula_9() {
    jobs_at_once(Release::V9, 8);
}

#[test]
fn eight_jobs_at_once_come_back_on_bacula_15() {
    jobs_at_once(Release::V15, 8);
}

/// Two jobs on one volume, between them a restart of everything; then the first, and single files of both.
fn appended(release: Release) {
    let Some(mut site) = Site::new(release) else { return };
    let trees = trees(site.folder(), 2, Shape::BACKUP);
    let mut builder = site.bacula();
    for tree in &trees {
        builder = builder.backup(&name_of(tree), tree);
    }
    let rig = builder.start().unwrap();
    let run = |tree: &Path| rig.run(&name_of(tree), Level::Full).unwrap().demand_ok().unwrap();
    let first = run(&trees[0]);
    rig.restart(Daemon::Storage).unwrap();
    site.daemon().stop();
    site.serve();
    let second = run(&trees[1]);
    assert_eq!([&first.volumes, &second.volumes], [&[VOLUME], &[VOLUME]]);
    assert_restored(&rig, &[&first], &trees[0]);
    assert_restored(&rig, &[&second], &trees[1]);
    for (job, tree) in [(&first, &trees[0]), (&second, &trees[1])] {
        for file in ["lengths/4097", "huge", "lengths/0", "files/2/70"] {
            let file = tree.join(file);
            if !file.exists() {
                continue;
            }
            let back = rig.restore_files(&[job.id], &[&file]).unwrap();
            back.result.clone().demand_ok().unwrap();
            assert_eq!(back.result.files, 1, "{:?}", back.result);
            assert!(fs::read(back.path(&file)).unwrap() == fs::read(&file).unwrap(), "{}", file.display());
        }
    }
    site.stop_and_check();
}

#[test]
fn a_first_job_comes_back_after_a_second_was_appended_on_bacula_9() {
    appended(Release::V9);
}

#[test]
fn a_first_job_comes_back_after_a_second_was_appended_on_bacula_15() {
    appended(Release::V15);
}

/// Bacula notes where in the volume a file lies as finely as Maximum File Size says, and seeks there; what lies before
/// is not recalled.
fn a_file_by_seek(release: Release) {
    let Some(mut site) = Site::new(release) else { return };
    let tree = site.folder().join("tree");
    fs::create_dir(&tree).unwrap();
    let mut random = Random::new(9);
    let (count, mut bytes) = (96, vec![0; 1 << 20]);
    for file in 0..count {
        random.fill(&mut bytes);
        fs::write(tree.join(format!("{file:02}")), &bytes).unwrap();
    }
    let device = Device::new(DEVICE, "Cloud").line("Maximum File Size = 4000000");
    let rig = site.bacula_with(device, Pool::new(POOL, DEVICE).label_format("Dedup-"));
    let rig = rig.backup("tree", &tree).start().unwrap();
    let full = rig.run("tree", Level::Full).unwrap().demand_ok().unwrap();
    let file = tree.join("90");
    let before = site.bytes_out();
    let back = rig.restore_files(&[full.id], &[&file]).unwrap();
    back.result.clone().demand_ok().unwrap();
    assert!(fs::read(back.path(&file)).unwrap() == fs::read(&file).unwrap());
    let (recalled, total) = (site.bytes_out() - before, count << 20);
    println!("{recalled} bytes were recalled for a file of {} bytes, of {total}", bytes.len());
    assert!(recalled >= bytes.len() as u64 && recalled * 5 < total, "{recalled} of {total}");
    site.stop_and_check();
}

#[test]
fn a_single_file_is_restored_by_seek_on_bacula_9() {
    a_file_by_seek(Release::V9);
}

#[test]
fn a_single_file_is_restored_by_seek_on_bacula_15() {
    a_file_by_seek(Release::V15);
}

#[test]
fn jobs_of_every_level_and_jobs_made_of_jobs_come_back() {
    let Some(mut site) = Site::new(Release::V9) else { return };
    let tree = trees(site.folder(), 1, Shape::BACKUP).remove(0);
    let backup = Job::backup("tree", "tree").accurate();
    let pool = Pool::new(POOL, DEVICE).label_format("Dedup-").next("Second");
    let rig = site
        .bacula_with(Device::new(DEVICE, "Cloud"), pool)
        .device(Device::new("Other", "Cloud"))
        .pool(Pool::new("Second", "Other").label_format("Second-"))
        .file_set(FileSet::new("tree").include(&tree))
        .job(Job::copy("copy", POOL))
        .job(Job::verify("verify", &backup))
        .job(backup)
        .start()
        .unwrap();
    let run = |job: &str, level: Level| rig.run(job, level).unwrap().demand_ok().unwrap();
    let full = run("tree", Level::Full);
    let verified = run("verify", Level::VolumeToCatalog);
    assert_eq!((verified.kind, verified.files), ('V', full.files));
    let stored = site.stat("stored_bytes");
    run("copy", Level::None);
    let [copy] = rig.copies_of(full.id).unwrap()[..] else { panic!("one copy") };
    let copy = rig.job(copy).unwrap();
    assert!(copy.volumes.iter().all(|volume| volume.starts_with("Second-")), "{copy:?}");
    assert_restored(&rig, &[&copy], &tree);
    let grown = site.stat("stored_bytes") - stored;
    assert!(grown * 200 < full.bytes, "the copy added {grown} of {} bytes", full.bytes);

    let changed = |name: &str| {
        std::thread::sleep(std::time::Duration::from_millis(1100)); // Bacula compares times in whole seconds.
        fs::write(tree.join(name), name.repeat(1000)).unwrap();
    };
    let latest = |rig: &Rig| {
        let back = rig.restore_latest(0, "tree").unwrap();
        back.result.clone().demand_ok().unwrap();
        let [original, restored] =
            [&tree, &back.path(&tree)].map(|root| Snapshot::of(root).unwrap().without_folder_times());
        assert_eq!(original.differences(&restored), Vec::<String>::new());
    };
    changed("one");
    let more = run("tree", Level::Incremental);
    assert!(more.files < 10 && more.level == 'I', "{more:?}");
    changed("two");
    let more = run("tree", Level::Differential);
    assert!(more.files < 10 && more.level == 'D', "{more:?}");
    latest(&rig);
    // What is gone is the incremental's last entry, so the virtual full is read without its end label.
    fs::remove_file(tree.join("one")).unwrap();
    changed("three");
    run("tree", Level::Incremental);
    let virtual_full = run("tree", Level::VirtualFull);
    assert_eq!(virtual_full.level, 'F');
    assert_restored(&rig, &[&virtual_full], &tree);
    site.stop_and_check();
}

/// A job that was acknowledged is safe also when its blocks lie among those of one that dies with the daemon.
#[test]
fn an_acknowledged_job_outlives_the_daemons_death_in_another() {
    let Some(mut site) = Site::new(Release::V9) else { return };
    let small = trees(site.folder(), 1, Shape { huge_size: 8 << 20, ..Shape::SMALL }).remove(0);
    let large = site.folder().join("large");
    fs::create_dir(&large).unwrap();
    tree::build(&large, 7, Shape { huge_size: 200 << 20, ..Shape::SMALL }).unwrap();
    let set = |name: &str, tree: &Path| FileSet::new(name).include(tree);
    let rig = site
        .bacula()
        .clients(2)
        .file_set(set("small", &small))
        .file_set(set("large", &large))
        .job(Job::backup("small", "small"))
        .job(Job::backup("large", "large").client(1))
        .line(Daemon::File(0), "Maximum Bandwidth Per Job = 10 mb/s")
        .line(Daemon::File(1), "Maximum Bandwidth Per Job = 20 mb/s")
        .start()
        .unwrap();
    let dying = rig.submit("large", Level::Full).unwrap();
    let started = rig.submit("small", Level::Full).unwrap();
    let good = rig.wait(started).unwrap().demand_ok().unwrap();
    assert_eq!(rig.job_status(dying).unwrap(), 'R', "the other still runs");
    site.daemon().kill();
    site.serve();
    let failed: JobResult = rig.wait(dying).unwrap();
    assert_failed(&failed, &["[GDD-SD-"]);
    assert!(are_interleaved(&rig), "the jobs took turns");
    assert_restored(&rig, &[&good], &small);

    // The same after the power of everything was cut: nothing but the store and the volume is left of it.
    rig.restart(Daemon::Storage).unwrap();
    assert_restored(&rig, &[&good], &small);
    let again = rig.run("small", Level::Full).unwrap().demand_ok().unwrap();
    assert_restored(&rig, &[&again], &small);
    let back = rig.restore(&[good.id, again.id]).unwrap();
    back.result.clone().demand_ok().unwrap();
    assert_equal(&small, &back.path(&small));
    site.stop_and_check();
}
