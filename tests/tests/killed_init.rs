//! `kill -9` of `gdd init`: there is a store or there is none, and what was left is named with its remedy.

use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use gdd_tests::gdd::Gdd;
use gdd_tests::stream::{Content, Stream};
use gdd_tests::workspace::scratch;

#[test]
fn a_killed_init_leaves_a_store_or_none() {
    let folder = scratch("killed-init");
    let stream = Stream::new(Content::Random, 1, 100_000);
    for (round, milliseconds) in [0, 5, 10, 20, 30, 40, 60, 80, 120, 200].into_iter().enumerate() {
        let gdd = Gdd::at(&folder.path().join(round.to_string()));
        let mut init = gdd.command();
        init.arg("init").arg(gdd.store()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = init.spawn().unwrap();
        thread::sleep(Duration::from_millis(milliseconds));
        child.kill().unwrap();
        child.wait().unwrap();
        let there = gdd.run(&["ls"]);
        if there.code != Some(0) {
            there.demand(1);
            there.demand_said(&["not a gdd store"]);
            let again = gdd.run(&["init".as_ref(), gdd.store().as_os_str()]);
            if again.code != Some(0) {
                again.demand(2);
                again.demand_said(&["interrupted", "empty it"]);
                fs::remove_dir_all(gdd.store()).unwrap();
                gdd.init();
            }
        }
        gdd.put("name", stream.clone());
        assert_eq!(gdd.digest("name").0, stream.digest());
        gdd.expect(0, &["fsck"]);
    }
}
