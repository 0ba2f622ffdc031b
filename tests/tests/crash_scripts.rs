//! Small scripts, cut at every operation, with every combination of the sectors that were not synced.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use gdd_tests::simulation::scripts::{Script, Step, Tally};

use Step::{Kill, Put, PutKept, Remove, Reopen};

/// A few chunks, and other few that share some of them. A block is a seed and a length in bytes.
const SHORT: &[(u64, usize)] = &[(1, 700)];
const OVERLAPPING: &[(u64, usize)] = &[(1, 700), (2, 500)];
const TINY: &[(u64, usize)] = &[(3, 60)];
/// More than a container holds.
const LONG: &[(u64, usize)] = &[(4, 70_000)];

const SCRIPTS: [Script; 11] = [
    Script { name: "store one stream and close", workers: 1, steps: &[Put("a", SHORT), Reopen] },
    Script {
        name: "store the same again, and one that overlaps",
        workers: 1,
        steps: &[Put("a", SHORT), Put("b", SHORT), Put("c", OVERLAPPING), Reopen],
    },
    Script {
        name: "store, remove, store under the same name",
        workers: 1,
        steps: &[Put("a", SHORT), Remove("a"), Put("b", TINY), Remove("b"), Reopen],
    },
    Script {
        name: "go on filling a container after a clean close",
        workers: 1,
        steps: &[Put("a", TINY), Reopen, Put("b", OVERLAPPING), Reopen, Put("c", TINY)],
    },
    Script {
        name: "store after a kill",
        workers: 1,
        steps: &[Put("a", SHORT), Kill, Put("b", SHORT), Kill, Put("c", OVERLAPPING)],
    },
    Script { name: "two workers", workers: 2, steps: &[Put("a", OVERLAPPING), Put("b", TINY), Reopen] },
    Script { name: "fill a container", workers: 1, steps: &[Put("a", LONG), Put("b", TINY), Reopen] },
    Script {
        name: "fill containers in two lives",
        workers: 1,
        steps: &[Put("a", LONG), Kill, Put("b", OVERLAPPING), Remove("a"), Put("c", LONG), Reopen],
    },
    Script {
        name: "remove one of two that overlap, after a close",
        workers: 2,
        steps: &[Put("a", SHORT), Put("b", OVERLAPPING), Reopen, Remove("b"), Put("c", OVERLAPPING), Kill],
    },
    Script {
        name: "keep a part, then store the rest",
        workers: 1,
        steps: &[PutKept("a", OVERLAPPING, 700), Kill],
    },
    Script {
        name: "keep a part, remove the stream, and keep another",
        workers: 2,
        steps: &[PutKept("a", SHORT, 300), Remove("a"), PutKept("b", OVERLAPPING, 900), Kill, Put("c", TINY)],
    },
];

#[test]
fn every_image_of_every_script_holds() {
    let mut total = Tally::default();
    for script in SCRIPTS {
        let tally = script.run().unwrap_or_else(|what| panic!("{what}"));
        println!("{}: {tally:?}", script.name);
        assert!(tally.points > 20 && tally.images > tally.points, "{}: {tally:?}", script.name);
        total.merge(&tally);
    }
    println!("all scripts: {total:?}");
    assert!(total.points_exhaustive * 2 > total.points, "most points are tried completely");
    assert!(total.cut_again > 0 && total.went_on > 0);
}
