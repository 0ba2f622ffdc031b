//! bacula-sd's Messages resource has no destination for `fatal`: Bacula's Jmsg drops such a message before it looks at
//! what it means, so a job whose data is not acknowledged must fail by its state alone.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::thread;
use std::time::Duration;

use gdd_rig::{Daemon, FileSet, Job, Level, Release};
use gdd_tests::bacula::{Site, assert_failed, assert_restored};
use gdd_tests::random::Random;

const SIZE: usize = 8 << 20;
/// How long Bacula gets to send the rest while our daemon is frozen.
const LAST_BYTES: Duration = Duration::from_millis(700);

/// Where in a job our daemon dies.
#[derive(Clone, Copy, Debug)]
enum Moment {
    Middle,
    /// Bacula has sent everything, and waits for the receipt.
    Commit,
}

fn a_failure_that_nobody_hears(release: Release) {
    let Some(mut site) = Site::new(release) else { return };
    let tree = site.folder().join("tree");
    fs::create_dir(&tree).unwrap();
    let mut bytes = vec![0; SIZE];
    let mut random = Random::new(5);
    let rig = site
        .bacula()
        .file_set(FileSet::new("tree").include(&tree))
        .job(Job::backup("tree", "tree"))
        .line(Daemon::File(0), "Maximum Bandwidth Per Job = 4 mb/s")
        .line(Daemon::File(0), "CommCompression = no")
        .messages(Daemon::Storage, "info, warning, error, notsaved")
        .start()
        .unwrap();
    for (moment, left) in [(Moment::Middle, SIZE / 2), (Moment::Commit, 1 << 20)] {
        random.fill(&mut bytes);
        fs::write(tree.join("file"), &bytes).unwrap();
        let job = rig.submit("tree", Level::Full).unwrap();
        rig.wait_for("the moment", || Ok(site.bytes_in() > (SIZE - left) as u64)).unwrap();
        if matches!(moment, Moment::Commit) {
            site.serving().signal(rustix::process::Signal::STOP);
            thread::sleep(LAST_BYTES);
        }
        site.daemon().kill();
        site.serve();
        let failed = rig.wait(job).unwrap();
        println!("{moment:?}: {}", failed.log);
        assert_failed(&failed, &["[GDD-SD-"]);
    }
    let good = rig.run("tree", Level::Full).unwrap().demand_ok().unwrap();
    site.daemon().kill();
    let back = rig.restore(&[good.id]).unwrap();
    println!("{}", back.result.log);
    assert_failed(&back.result, &["[GDD-SD-"]);
    site.serve();
    assert_restored(&rig, &[&good], &tree);
    site.stop_and_check();
}

#[test]
fn a_failure_that_nobody_hears_is_one_on_bacula_9() {
    a_failure_that_nobody_hears(Release::V9);
}

#[test]
fn a_failure_that_nobody_hears_is_one_on_bacula_15() {
    a_failure_that_nobody_hears(Release::V15);
}
