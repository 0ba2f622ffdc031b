//! The daemon: its start and end, and what it does for the command line meanwhile.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod support;

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;

use support::daemon::{Daemon, serve_at, serve_told, serve_with};
use support::{Place, random};

const CONFIG: &str = "workers = 2\n";

/// Start a daemon and wait until it says READY.
fn serve(place: &Place) -> Daemon {
    serve_with(place, CONFIG)
}

#[test]
fn streams_go_through_the_daemon() {
    let place = Place::new();
    let mut daemon = serve(&place);
    let bytes = random(1, 5_000_000);
    place.put("one", &bytes);
    assert_eq!(place.ok(&["get", "one"]).out, bytes);
    place.ok(&["get", "one", "-o", "restored"]);
    assert_eq!(std::fs::read(place.join("restored")).unwrap(), bytes);
    assert_eq!(place.names(), ["one"]);
    let status = place.ok(&["status", "--json"]).object();
    assert_eq!(status["state"], "ready", "{status}");
    assert!(status["epoch"].is_u64() && status["recall_ns"].is_array(), "{status}");
    let checked = place.ok(&["fsck", "--json"]).object();
    assert!(checked["clean"] == true && checked["beside"] == true && checked["streams"] == 1, "{checked}");
    assert!(place.ok(&["fsck", "--level", "1"]).text().contains("beside the daemon's work"));
    let status = place.ok(&["status", "--json"]).object();
    assert_eq!(status["last_fsck"]["damaged"], false, "{status}");
    for words in [&["rebuild-index"][..], &["fsck", "--repair"], &["fsck", "--repair", "--apply"]] {
        let refused = place.run(words);
        assert!(refused.code == Some(4) && refused.err.contains("systemctl stop gdd"), "{refused:?}");
    }
    assert_eq!(place.run(&["serve"]).code, Some(4), "a second daemon");
    place.ok(&["rm", "one"]);
    assert_eq!(place.run(&["get", "one"]).code, Some(1));
    let pid = daemon.0.id().to_string();
    assert!(std::process::Command::new("kill").arg(&pid).status().unwrap().success());
    assert_eq!(daemon.0.wait().unwrap().code(), Some(0));
    assert_eq!(place.run(&["status"]).code, Some(4));
    assert!(place.ok(&["fsck"]).text().ends_with("clean\n"));
}

#[test]
fn a_killed_daemon_starts_again() {
    let place = Place::new();
    let daemon = serve(&place);
    let bytes = random(2, 1_000_000);
    place.put("kept", &bytes);
    drop(daemon);
    assert!(place.join("gdd.sock").exists(), "a stale socket");
    let _daemon = serve(&place);
    assert_eq!(place.ok(&["get", "kept"]).out, bytes);
}

#[test]
fn garbage_and_long_requests_are_refused() {
    let place = Place::new();
    let _daemon = serve(&place);
    for request in [b"garbage\n".to_vec(), vec![b'x'; 1 << 16]] {
        let mut stream = UnixStream::connect(place.join("gdd.sock")).unwrap();
        stream.write_all(&request).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.lines().last().unwrap().contains("\"code\":2"), "{answer}");
    }
    assert_eq!(place.names(), [""; 0]);
}

#[test]
fn requests_run_at_the_same_time() {
    let place = Place::new();
    let _daemon = serve(&place);
    let bytes = random(3, 8_000_000);
    place.put("before", &bytes);
    std::thread::scope(|scope| {
        for number in 0..3 {
            let (place, bytes) = (&place, &bytes);
            scope.spawn(move || {
                let mine = random(10 + number, 4_000_000);
                place.put(&format!("put-{number}"), &mine);
                assert!(place.ok(&["get", &format!("put-{number}")]).out == mine);
                assert!(place.ok(&["get", "before"]).out == *bytes);
            });
        }
    });
    assert_eq!(place.names(), ["before", "put-0", "put-1", "put-2"]);
}

#[test]
fn a_request_stops_it_and_what_runs_may_end() {
    let place = Place::new();
    let mut daemon = serve(&place);
    let mut put = place.start(&["put", "slow"]);
    let mut pipe = put.stdin.take().unwrap();
    pipe.write_all(&random(4, 300_000)).unwrap();
    while place.ok(&["status", "--json"]).object()["requests"] != 2 {
        std::thread::sleep(std::time::Duration::from_millis(5)); // The put, and this question itself.
    }
    let mut stream = UnixStream::connect(place.join("gdd.sock")).unwrap();
    stream.write_all(b"{\"protocol\":1,\"request\":\"shutdown\"}\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("stopping"), "{answer}");
    pipe.write_all(b"the end").unwrap();
    drop(pipe);
    assert!(put.wait_with_output().unwrap().status.success());
    assert_eq!(daemon.0.wait().unwrap().code(), Some(0));
    assert_eq!(place.names(), ["slow"]);
    assert_eq!(place.ok(&["get", "slow"]).out.len(), 300_007);
}

#[test]
fn systemd_hears_of_the_start_the_work_and_the_stop() {
    let place = Place::new();
    let (mut daemon, mut told) = serve_told(&place, CONFIG, &[("WATCHDOG_USEC", "200000")]);
    let ready = told.messages.last().unwrap().clone();
    assert_eq!(ready, "READY=1\nSTATUS=ready, 0 requests, storage 0 sessions");
    assert!(told.messages[0].starts_with("STATUS=opening the store"), "{:?}", told.messages);
    told.until("WATCHDOG=1");
    let mut put = place.start(&["put", "slow"]);
    let mut pipe = put.stdin.take().unwrap();
    pipe.write_all(&random(5, 300_000)).unwrap();
    assert_eq!(told.until("STATUS="), "STATUS=ready, 1 requests, storage 0 sessions");
    let pid = daemon.0.id().to_string();
    assert!(std::process::Command::new("kill").arg(&pid).status().unwrap().success());
    told.until("STOPPING=1");
    // While the request goes on systemd hears what is waited for, and that the daemon lives.
    assert_eq!(told.until("requests may end"), "STATUS=stopping: requests may end\nWATCHDOG=1");
    drop(pipe);
    assert!(put.wait_with_output().unwrap().status.success());
    assert_eq!(daemon.0.wait().unwrap().code(), Some(0));
    let after = told.messages.iter().position(|message| message.starts_with("STOPPING=1")).unwrap();
    assert!(told.messages[after..].iter().all(|message| !message.contains("ready")), "{:?}", told.messages);
}

/// A crash leaves what is read again at the next start, and systemd is told how much of it is done.
#[test]
fn recovery_is_shown_to_systemd() {
    let place = Place::new();
    let daemon = serve(&place);
    place.put("kept", &random(6, 40_000_000));
    drop(daemon);
    // Each message is due at once with this limit, so some fall into the recovery.
    let (_daemon, told) = serve_told(&place, CONFIG, &[("WATCHDOG_USEC", "2000")]);
    let shown = |message: &&String| message.contains("recovery, ") && message.contains(" of ");
    assert!(told.messages.iter().any(|message| shown(&message)), "{:?}", told.messages);
    assert!(told.messages.last().unwrap().starts_with("READY=1"), "{:?}", told.messages);
}

/// Where standard error is the journal, each line has its priority, and no time: the journal has its own.
#[test]
fn the_journal_is_told_how_grave_a_line_is() {
    let place = Place::new();
    let path = place.join("log");
    let log = std::fs::File::create(&path).unwrap();
    let stat = rustix::fs::fstat(&log).unwrap();
    let mut command = place.command(&["serve"]);
    command.env("JOURNAL_STREAM", format!("{}:{}", stat.st_dev, stat.st_ino)).stderr(log);
    std::fs::write(place.join("gdd.toml"), CONFIG).unwrap();
    command.env("GDD_CONFIG", place.join("gdd.toml"));
    let mut daemon = Daemon(command.spawn().unwrap());
    while !String::from_utf8_lossy(&place.run(&["status", "--json"]).out).contains("\"state\":\"ready\"") {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(place.run(&["get", "nobody"]).code, Some(1)); // A request that is refused is a line, too.
    daemon.stop();
    let said = std::fs::read_to_string(path).unwrap();
    assert!(said.lines().count() > 3 && said.lines().all(|line| line.starts_with("<6> INFO ")), "{said}");
}

/// The daemon of root does not serve a stranger, and neither the command line nor the log hides it.
#[test]
fn a_stranger_is_refused() {
    if !rustix::process::geteuid().is_root() {
        println!("not tested: only root can become somebody else");
        return;
    }
    let place = Place::new();
    let open = tempfile::tempdir().unwrap();
    std::fs::set_permissions(open.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let (program, socket) = (open.path().join("gdd"), open.path().join("gdd.sock"));
    std::fs::copy(env!("CARGO_BIN_EXE_gdd"), &program).unwrap();
    let _daemon = serve_at(&place, CONFIG, &socket);
    let mut status = std::process::Command::new(&program);
    status.args(["status"]).env("GDD_SOCKET", &socket).current_dir("/").uid(65_534).gid(65_534);
    let output = status.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("users"), "{output:?}");
    let output = status.args(["--store", "/nowhere"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let mut list = std::process::Command::new(&program);
    list.args(["ls", "--store", "/nowhere"]).env("GDD_SOCKET", &socket).current_dir("/").uid(65_534);
    let output = list.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("without the daemon"), "{output:?}");
}

#[test]
fn the_configuration_is_checked() {
    let place = Place::new();
    std::fs::write(place.join("bad.toml"), "\nstroe = 1\n").unwrap();
    let bad = place.run(&["serve", "--check", "--config", "bad.toml"]);
    assert!(bad.code == Some(2) && bad.err.contains("bad.toml:2") && bad.err.contains("stroe"), "{bad:?}");
    std::fs::write(place.join("good.toml"), "memory = \"512m\"\n").unwrap();
    let good = place.ok(&["serve", "--check", "--config", "good.toml"]);
    assert!(good.text().contains("memory = \"536870912\""), "{good:?}");
}
