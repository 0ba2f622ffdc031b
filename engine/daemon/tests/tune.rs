//! `gdd tune`: exit codes, both outputs, whoever runs it, and settings that are put back however a measurement ends.
//!
//! Measurements here are rehearsals: they change the files of a captured tree, never this machine.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use support::{Ended, Place};

const SCHEDULER: &str = "sys/block/sda/queue/scheduler";
const NOBODY: u32 = 65_534;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tuning/fixtures").join(name)
}

/// A copy of a captured tree that a rehearsal may change.
fn copy(place: &Place, name: &str) -> PathBuf {
    let target = place.join(name);
    let copied =
        Command::new("cp").arg("-r").arg(fixture(name)).arg(&target).status().expect("there is a cp");
    assert!(copied.success());
    fs::create_dir(target.join("run")).expect("the copy can be changed");
    target
}

/// Without a store of its own: the tree's gdd.toml names it.
fn tune(place: &Place, words: &[&str]) -> Ended {
    let mut command = place.command(&[&["tune"], words].concat());
    Ended::of(command.env_remove("GDD_STORE").output().expect("gdd starts"))
}

fn rehearsal(root: &Path, rounds: &str) -> Vec<String> {
    let words = ["tune", "--measure", "--bytes", "1m", "--json", "--only", "disk.scheduler"];
    let mut words: Vec<String> = words.map(str::to_owned).to_vec();
    words.extend(["--rounds", rounds, "--root", root.to_str().expect("a plain name")].map(str::to_owned));
    words
}

fn scheduler(root: &Path) -> String {
    fs::read_to_string(root.join(SCHEDULER)).expect("the tree has a scheduler").trim().to_owned()
}

#[test]
fn the_exit_code_says_how_bad_it_is() {
    let place = Place::empty();
    let trees = [
        ("tuned", 0),
        ("virtio", 10),
        ("sata-raid", 10),
        ("nvme-numa", 10),
        ("container", 11),
        ("old-kernel", 11),
    ];
    for (name, code) in trees {
        let root = fixture(name);
        let ended = tune(&place, &["--root", root.to_str().unwrap(), "--json"]);
        let object = ended.object();
        assert_eq!(
            (ended.code, object["code"].as_i64()),
            (Some(code), Some(code.into())),
            "{name}: {ended:?}"
        );
        assert!(object["findings"].as_array().unwrap().iter().all(|one| one["id"].is_string()), "{object}");
        let text = tune(&place, &["--root", root.to_str().unwrap()]);
        assert_eq!((text.code, text.err.as_str()), (Some(code), ""), "{name}");
        let file = place.join("tune.sh");
        fs::write(&file, text.text()).unwrap();
        assert!(
            Command::new("sh").arg("-n").arg(&file).status().unwrap().success(),
            "{name}: {}",
            text.text()
        );
    }
}

#[test]
fn the_configuration_of_the_tree_counts() {
    let place = Place::empty();
    let root = fixture("sata-raid");
    let object = tune(&place, &["--root", root.to_str().unwrap(), "--json", "--only", "gdd.memory"]).object();
    assert_eq!(object["target"]["store"], "/srv/backup store/gdd");
    let findings = object["findings"].as_array().unwrap();
    assert!(findings.len() == 1 && findings[0]["found"].as_str().unwrap().contains("20 GiB"), "{object}");
    let broken = copy(&place, "sata-raid");
    fs::write(broken.join("etc/gdd/gdd.toml"), "memory = \"lots\"\n").unwrap();
    let object = tune(&place, &["--root", broken.to_str().unwrap(), "--json"]).object();
    let unseen = object["unseen"][0].clone();
    assert_eq!(unseen["path"], "/etc/gdd/gdd.toml", "{object}");
    assert!(unseen["why"].as_str().unwrap().contains("lots"), "{unseen}");
}

#[test]
fn this_machine_is_looked_at_by_root_and_by_anybody() {
    let place = Place::empty();
    let ended = place.run(&["tune", "--json"]);
    assert!(matches!(ended.code, Some(0 | 10 | 11)), "{ended:?}");
    assert!(ended.object()["target"]["cpus"].as_u64() > Some(0));
    assert_eq!(place.run(&["tune", "--only", "no.such"]).code, Some(2));
    assert_eq!(place.run(&["tune", "--root", "nowhere"]).code, Some(2));
    if !rustix::process::geteuid().is_root() {
        return; // What follows becomes somebody else.
    }
    // A copy of the program where anybody may run it.
    let public = tempfile::tempdir().unwrap();
    fs::set_permissions(public.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = public.path().join("gdd");
    fs::copy(env!("CARGO_BIN_EXE_gdd"), &program).unwrap();
    let tree = public.path().join("tree");
    assert!(Command::new("cp").arg("-r").arg(fixture("tuned")).arg(&tree).status().unwrap().success());
    fs::set_permissions(tree.join("proc/swaps"), fs::Permissions::from_mode(0o000)).unwrap();
    let anybody = |words: &[&str]| {
        let mut command = Command::new(&program);
        command.arg("tune").args(words).current_dir("/").uid(NOBODY).gid(NOBODY);
        Ended::of(command.output().unwrap())
    };
    let ended = anybody(&["--json"]);
    assert!(matches!(ended.code, Some(0 | 10 | 11)), "{ended:?}");
    let object = anybody(&["--json", "--root", tree.to_str().unwrap()]).object();
    assert_eq!(object["unseen"][0]["path"], "/proc/swaps", "{object}");
    let refused = anybody(&["--measure"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("root"), "{refused:?}");
}

#[test]
fn a_captured_tree_gives_the_same_report() {
    let place = Place::empty();
    let captured = place.join("captured");
    let words = ["--capture", captured.to_str().unwrap(), "--store", "/srv/gdd"];
    let from = fixture("nvme-numa");
    let done = tune(&place, &[&words[..], &["--root", from.to_str().unwrap(), "--json"]].concat());
    assert_eq!(done.code, Some(0), "{done:?}");
    let findings = |root: &Path| {
        tune(&place, &["--root", root.to_str().unwrap(), "--store", "/srv/gdd", "--json"]).object()["findings"].clone()
    };
    assert_eq!(findings(&captured), findings(&from));
    let again = tune(&place, &words);
    assert_eq!(again.code, Some(1), "what is there is not overwritten: {again:?}");
}

#[test]
fn a_measurement_says_what_it_gained_and_puts_everything_back() {
    let place = Place::empty();
    let root = copy(&place, "tuned");
    let ended = Ended::of(place.command(&rehearsal(&root, "8")).output().unwrap());
    assert!(matches!(ended.code, Some(0 | 10)), "{ended:?}");
    let object = ended.object();
    let measured = &object["measured"][0];
    assert_eq!(measured["id"], "disk.scheduler", "{object}");
    assert!(measured["failed"].is_null(), "{measured}");
    let workloads = measured["workloads"].as_array().unwrap();
    assert_eq!(workloads.len(), 3);
    for one in workloads {
        assert_eq!(one["rounds"].as_array().unwrap().len(), 8);
        assert!(one["ratio"].as_f64() > Some(0.0) && one["interval"].is_array(), "{one}");
        assert!(["gained", "lost", "nothing"].contains(&one["effect"].as_str().unwrap()), "{one}");
    }
    assert_eq!(object["findings"][0]["sure"], "measured");
    assert_eq!(scheduler(&root), "mq-deadline");
    assert!(!root.join("run/gdd-tune.undo").exists());
    let mut left = support::list(&place.join(""));
    left.retain(|name| name != "tuned");
    assert_eq!(left, [""; 0], "scratch files are removed");
}

#[test]
fn a_setting_that_cannot_be_changed_is_said() {
    let place = Place::empty();
    let root = copy(&place, "tuned");
    fs::remove_dir(root.join("run")).unwrap();
    let ended = Ended::of(place.command(&rehearsal(&root, "1")).output().unwrap());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let failed = ended.object()["measured"][0]["failed"].as_str().unwrap().to_owned();
    assert!(failed.contains("write down the present settings"), "{failed}");
    assert_eq!(scheduler(&root), "none [mq-deadline]", "nothing was changed");
}

/// A long rehearsal, once it has begun to change settings.
fn started(place: &Place, root: &Path) -> Child {
    let mut child = place.start(&rehearsal(root, "100"));
    let began = Instant::now();
    while !root.join("run/gdd-tune.undo").exists() || scheduler(root) != "none" {
        assert!(began.elapsed() < Duration::from_secs(60), "it begins");
        assert!(child.try_wait().expect("it is ours").is_none(), "it does not end before it has begun");
        std::thread::sleep(Duration::from_millis(1));
    }
    child
}

#[test]
fn a_signal_ends_it_with_everything_put_back() {
    let place = Place::empty();
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let root = copy(&place, "tuned");
        let child = started(&place, &root);
        let kill = || Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap();
        assert!(kill().success());
        let _ = kill(); // An impatient second one changes nothing; it may come too late.
        let ended = Ended::of(child.wait_with_output().unwrap());
        assert_eq!(ended.code, Some(code), "{signal}: {ended:?}");
        assert_eq!(scheduler(&root), "mq-deadline", "{signal}");
        assert!(!root.join("run/gdd-tune.undo").exists(), "{signal}");
        fs::remove_dir_all(&root).unwrap();
    }
}

#[test]
fn what_a_killed_measurement_left_can_be_put_back() {
    let place = Place::empty();
    let root = copy(&place, "tuned");
    let mut child = started(&place, &root);
    let restore = ["--restore", "--root", root.to_str().unwrap(), "--json"];
    assert_eq!(tune(&place, &restore).code, Some(4), "not while it runs");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(root.join("run/gdd-tune.undo").exists());
    let warned = tune(&place, &["--root", root.to_str().unwrap(), "--json"]).object();
    assert!(
        warned["notes"][0].as_str().unwrap().contains("--restore"),
        "advice about changed settings: {warned}"
    );
    let refused = Ended::of(place.command(&rehearsal(&root, "1")).output().unwrap());
    assert_eq!(refused.code, Some(4), "{refused:?}");
    assert!(refused.err.contains("gdd tune --restore"), "{refused:?}");
    let restored = tune(&place, &restore);
    assert_eq!((restored.code, &restored.object()["restored"][0]["value"]), (Some(0), &"mq-deadline".into()));
    assert_eq!(scheduler(&root), "mq-deadline");
    assert_eq!(
        tune(&place, &restore).object()["restored"].as_array().map(Vec::len),
        Some(0),
        "once is enough"
    );
}
