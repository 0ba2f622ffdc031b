//! Every planted bug is seen by the simulation within a thousand seeds: it is not blind. Each seed has its turn in all
//! six weathers before the next one; how many runs it took is printed.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::sync::Mutex;

use gdd_engine::planted::{Bug, plant};
use gdd_tests::simulation::Weather;
use gdd_tests::simulation::sweep::{Violation, judge, threads};

const SEEDS: u64 = 1000;

/// The first seed that sees a bug, with how many runs it took. Bugs are planted in one thread only.
fn first_seen(bug: Bug) -> Option<(u64, Violation)> {
    plant(Some(bug));
    let runs = (0..SEEDS).flat_map(|seed| Weather::ALL.into_iter().map(move |weather| (seed, weather)));
    let seen = runs.zip(1..).find_map(|((seed, weather), run)| Some((run, judge(seed, weather).err()?)));
    plant(None);
    seen
}

#[test]
fn every_planted_bug_is_seen() {
    let left = Mutex::new(Bug::ALL.to_vec());
    let blind = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads() {
            scope.spawn(|| {
                loop {
                    let Some(bug) = left.lock().unwrap().pop() else { break };
                    match first_seen(bug) {
                        Some((run, violation)) => {
                            let Violation { seed, weather, .. } = violation;
                            println!("{bug:?} is seen in run {run}, {violation}");
                            judge(seed, weather).expect("without the bug, the same seed holds");
                        }
                        None => blind.lock().unwrap().push(bug),
                    }
                }
            });
        }
    });
    assert_eq!(blind.into_inner().unwrap(), [], "no bug goes unseen in {SEEDS} seeds of each weather");
}

/// Chance shows it once in twenty thousand runs: a sync of names that fails, then a crash that brings them back.
#[test]
fn a_stream_that_was_given_up_is_seen_to_come_back() {
    let (seed, weather) = (507, Weather::VacuumErrors);
    plant(Some(Bug::GiveUpUnsynced));
    let seen = judge(seed, weather);
    plant(None);
    println!("{}", seen.expect_err("with the bug, a stream comes back without its chunks"));
    judge(seed, weather).expect("without the bug, the same seed holds");
}
