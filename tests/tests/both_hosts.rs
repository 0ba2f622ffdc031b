//! Hosts of two domains, each with a network of its own and a stock Bacula, at one daemon: what two of a domain have in
//! common is stored once and sent once, and a third of another domain learns nothing of it.
#![allow(clippy::unwrap_used)]

use std::env;
use std::path::{Path, PathBuf};

use gdd_rig::Release;
use gdd_tests::bacula::assert_restored;
use gdd_tests::bothsides::{Report, free_port};
use gdd_tests::client::ClientSite;
use gdd_tests::gdd::Gdd;
use gdd_tests::json::number;
use gdd_tests::network::Host;
use gdd_tests::serving::Serving;
use gdd_tests::tree::{self, Shape};
use gdd_tests::workspace;

const SEED: u64 = 23;

/// What runs on a host, in a process of its own: a full backup, and its restore.
#[test]
#[ignore = "run by the other test, on each host"]
fn on_a_host() {
    let of = |name: &str| env::var(name).expect("the other test runs this one");
    let site = ClientSite::with_product(Release::V9).unwrap();
    let shape = Shape { files: 300, file_size_max: 100_000, ..Shape::SMALL };
    tree::build(&site.tree().join("built"), SEED, shape).unwrap();
    let string = format!("gdd:server={}:key_file={}:patience=20", of("HOST_SERVER"), of("HOST_KEY"));
    let rig = site.start(&string, &[]);
    let job = site.full(&rig);
    assert_restored(&rig, &[&job], &site.tree());
    let _ = Report::of(&job); // Prints it.
}

/// Runs a backup on `host` with `key`.
fn backup(host: &Host, port: u16, key: &Path) -> Report {
    let mut command = host.command(&env::current_exe().unwrap());
    command.args(["--exact", "on_a_host", "--ignored", "--nocapture"]);
    command.env("HOST_SERVER", format!("{}:{port}", host.address_here())).env("HOST_KEY", key);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{said}");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let line = said.lines().find(|line| line.contains(" savings ")).expect("the host has a report");
    Report::of_line(line)
}

#[test]
fn two_hosts_store_once_and_a_third_domain_learns_nothing() {
    if let Some(reason) = gdd_rig::switched_off() {
        return println!("{reason}");
    }
    let hosts: Option<Vec<Host>> = (1..=3).map(Host::new).collect();
    let Some(hosts) = hosts else { return };
    let folder = workspace::scratch("hosts");
    let socket = folder.path().join("gdd.sock");
    let gdd = Gdd::at(&folder.path().join("store")).with_flags(&["--socket", socket.to_str().unwrap()]);
    gdd.init();
    let key = |name: &str| -> PathBuf {
        let file = folder.path().join(name);
        gdd.expect(0, &["key", "new", file.to_str().unwrap()]);
        file
    };
    let (site, guest, port) = (key("site.key"), key("guest.key"), free_port());
    let addresses: Vec<_> = hosts.iter().map(|host| format!("\"{}:{port}\"", host.address_here())).collect();
    let lines = format!(
        "[net]\nlisten = [{}]\n[net.domains]\nsite = {{ key = {site:?}, sees = \"own\" }}\n\
         guest = {{ key = {guest:?}, sees = \"own\" }}\n",
        addresses.join(", ")
    );
    let daemon = Serving::configured(&gdd, folder.path(), &lines);

    let first = backup(&hosts[0], port, &site);
    assert!(first.new > 1 << 20 && first.wire > first.new, "{first:?}");
    let unique = || number(&gdd.json(&["stats"]), "unique_bytes");
    let bytes = unique();
    let second = backup(&hosts[1], port, &site);
    assert_eq!((second.new, second.stored), (0, 0), "{second:?}");
    assert!(second.wire * 50 < second.logical, "{second:?}");
    let third = backup(&hosts[2], port, &guest);
    // It is told what a host of an empty store is told.
    assert_eq!((third.logical, third.new), (first.logical, first.new), "{third:?}");
    assert!(third.wire.abs_diff(first.wire) * 100 < first.wire, "{third:?}, the first {first:?}");
    let again = backup(&hosts[2], port, &guest);
    assert_eq!(again.new, 0, "its own it knows: {again:?}");
    assert_eq!(unique(), bytes, "all four are there, and their data once");
    daemon.stop();
    gdd.expect(0, &["fsck", "--level", "3"]);
}
