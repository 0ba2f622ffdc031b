//! A test process that is killed takes its daemons with it: a forgotten file daemon that runs as root is a door.

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use gdd_rig::Daemon;

/// Its presence turns the test `victim` from nothing into a process that waits to be killed.
const VICTIM: &str = "GDD_RIG_TEST_VICTIM";

#[test]
fn victim() {
    if std::env::var_os(VICTIM).is_none() {
        return;
    }
    // Started by a thread that has ended, as those of other tests have.
    let started = std::thread::spawn(|| support::builder().map(|builder| builder.start().unwrap()));
    let Some(rig) = started.join().unwrap() else { return };
    for daemon in [Daemon::Director, Daemon::Storage, Daemon::File(0)] {
        println!("pid {} folder {}", rig.pid(daemon).unwrap(), rig.folder().display());
    }
    std::thread::sleep(Duration::from_secs(600));
}

#[test]
fn a_killed_test_leaves_no_daemon() {
    if let Some(reason) = gdd_rig::switched_off() {
        println!("{reason}");
        return;
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--nocapture"])
        .env(VICTIM, "yes")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pids = Vec::new();
    let mut folder = String::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap) {
        if let Some((pid, at)) = line.strip_prefix("pid ").and_then(|rest| rest.split_once(" folder ")) {
            pids.push(pid.parse::<u32>().unwrap());
            at.clone_into(&mut folder);
        }
        if pids.len() == 3 {
            break;
        }
    }
    assert_eq!(pids.len(), 3, "the victim starts three daemons");
    assert!(pids.iter().all(|&pid| runs(pid)));
    child.kill().unwrap();
    child.wait().unwrap();
    let gone = (0..1000).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        !pids.iter().any(|&pid| runs(pid))
    });
    assert!(gone, "{pids:?} still run");
    fs::remove_dir_all(folder).unwrap();
}

/// Whether it executes: the third word of its stat, after the name in parentheses, is neither dead nor a zombie.
fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}
