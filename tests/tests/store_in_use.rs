//! One writer, or many readers: everyone else waits a moment, and is then told whom to wait for.

use std::thread;

use gdd_tests::gdd::Gdd;
use gdd_tests::json::{at, number, text};
use gdd_tests::running::Running;
use gdd_tests::stream::{Content, Stream};
use gdd_tests::workspace::scratch;

const MIB: u64 = 1 << 20;

fn random(seed: u64, length: u64) -> Stream {
    Stream::new(Content::Random, seed, length)
}

fn store(name: &str) -> (tempfile::TempDir, Gdd) {
    let folder = scratch(name);
    let gdd = Gdd::at(&folder.path().join("store"));
    gdd.init();
    gdd.put("earlier", random(91, MIB));
    (folder, gdd)
}

#[test]
fn a_store_that_is_being_written_is_busy_for_all_others() {
    let (_folder, gdd) = store("busy");
    let mut slow = Running::put(&gdd, "slow");
    slow.feed(random(92, 8 * MIB)).unwrap(); // More than a pipe holds: it has opened the store.
    let pid = slow.pid().to_string();
    let commands: [&[&str]; 7] = [
        &["fsck", "--repair", "--apply", "--json"],
        &["put", "other", "/etc/hostname", "--json"],
        &["get", "earlier", "-o", "/dev/null", "--json"],
        &["ls", "--json"],
        &["stats", "--json"],
        &["fsck", "--json"],
        &["rebuild-index", "--json"],
    ];
    thread::scope(|scope| {
        for command in commands {
            let (gdd, pid) = (&gdd, &pid);
            scope.spawn(move || {
                let refused = gdd.run(command);
                refused.demand(4);
                refused.demand_said(&["in use", pid]);
                let json = refused.json();
                assert_eq!(number(&json, "code"), 4);
                assert!(text(&json, "error").contains(pid), "{json}");
            });
        }
    });
    slow.feed(random(93, 1000)).unwrap();
    let outcome = slow.finish();
    outcome.demand(0);
    assert_eq!(at(&outcome.json(), "bytes"), 8 * MIB + 1000);
    gdd.expect(0, &["fsck"]);
    gdd.expect(1, &["get", "other"]);
}

#[test]
fn two_puts_at_once_end_well_or_busy() {
    let (_folder, gdd) = store("two");
    let outcomes = thread::scope(|scope| {
        let threads = [1, 2, 3].map(|number| {
            let gdd = &gdd;
            scope.spawn(move || (number, gdd.try_put(&number.to_string(), random(number, 16 * MIB))))
        });
        threads.map(|thread| thread.join().unwrap())
    });
    assert!(outcomes.iter().any(|(_, outcome)| outcome.code == Some(0)), "{outcomes:?}");
    for (number, outcome) in outcomes {
        let name = number.to_string();
        match outcome.code {
            Some(0) => assert_eq!(gdd.digest(&name).0, random(number, 16 * MIB).digest()),
            _ => {
                outcome.demand(4);
                gdd.expect(1, &["get", &name]);
            }
        }
    }
    gdd.expect(0, &["fsck"]);
}

#[test]
fn many_readers_at_once_are_welcome() {
    let (_folder, gdd) = store("readers");
    gdd.put("long", random(94, 64 * MIB));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| assert_eq!(gdd.digest("long").0, random(94, 64 * MIB).digest()));
        }
        scope.spawn(|| gdd.expect(0, &["fsck"]));
        scope.spawn(|| gdd.expect(0, &["ls"]));
    });
}
