//! A hundred sessions whose plugin was killed leave nothing behind in the daemon: no descriptor, no mapping.
//!
//! Alone in its file, because the descriptors and mappings of a process are counted.

mod common;

use std::fs;

use common::{Other, PATIENCE, other_role, serve, stream, take};
use gdd_ring::{Listener, Wanted};

fn held() -> (usize, usize) {
    let descriptors = fs::read_dir("/proc/self/fd").expect("/proc").count();
    let maps = fs::read_to_string("/proc/self/maps").expect("/proc");
    (descriptors, maps.lines().filter(|line| line.contains("memfd:gdd-ring")).count())
}

#[test]
fn killed_sessions_leave_nothing_behind() {
    if let Some(socket) = other_role() {
        return stream(&socket);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("socket");
    let listener = Listener::bind(&socket).expect("a socket");
    let before = held();
    assert_eq!(before.1, 0);
    for _ in 0..100 {
        let mut other = Other::start("killed_sessions_leave_nothing_behind", &socket);
        let (mut endpoint, peer) = serve(&listener);
        assert!(held().0 > before.0 && held().1 == 3, "three parts of a channel are mapped");
        endpoint.wait(Wanted::MESSAGE, &peer, PATIENCE).expect("a plugin that lives");
        assert!(take(&mut endpoint, 0));
        other.kill();
    }
    assert_eq!(held(), before);
}
