//! The simulation reaches the engine: every kind of bad luck strikes its files, is noticed, and comes again with its
//! seed.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use gdd_tests::simulation::sweep::sweep;
use gdd_tests::simulation::{Weather, run, run_logged};
use gdd_uring::sim::Hit;

/// Whether a kind of bad luck belongs to a weather.
fn belongs(hit: Hit, weather: Weather) -> bool {
    match hit {
        Hit::ReadError
        | Hit::WriteError
        | Hit::SyncError
        | Hit::DirSyncError
        | Hit::SyncDropped
        | Hit::NoSpace => weather.fails(),
        Hit::WriteLost
        | Hit::WriteMisdirected
        | Hit::BitFlipped
        | Hit::SectorDead
        | Hit::StaleRead
        | Hit::DamageRead => weather.rots(),
        _ => true,
    }
}

#[test]
fn every_kind_of_bad_luck_strikes_where_it_belongs_and_is_noticed() {
    let swept = sweep(16_000);
    print!("{swept}");
    assert!(swept.violations.is_empty(), "{:?}", swept.violations);
    for (weather, outcome) in Weather::ALL.into_iter().zip(&swept.outcomes) {
        for hit in Hit::ALL {
            let count = outcome.hits.of(hit);
            assert_eq!(count > 0, belongs(hit, weather), "{weather:?}: {hit:?} struck {count} times");
        }
        assert!(outcome.refused > 0, "{weather:?}: somebody noticed");
    }
}

/// The other side of it: what is refused is refused for a reason.
#[test]
fn a_run_without_bad_luck_refuses_nothing() {
    let mut calm = 0;
    for seed in 0..400 {
        let outcome = run(seed, Weather::PowerCuts).unwrap();
        if outcome.hits.of(Hit::PowerCut) + outcome.hits.of(Hit::Kill) == 0 {
            assert_eq!(outcome.refused, 0, "seed {seed}");
            calm += 1;
        }
    }
    assert!(calm > 0, "some runs are calm");
}

#[test]
fn one_seed_gives_one_history() {
    for weather in Weather::ALL {
        for seed in 0..30 {
            let (outcome, log) = run_logged(seed, weather);
            let (again, log_again) = run_logged(seed, weather);
            let difference = log.iter().zip(&log_again).find(|(left, right)| left != right);
            assert_eq!(difference, None, "{weather:?} {seed}: the histories part here");
            assert_eq!((outcome, log.len()), (again, log_again.len()), "{weather:?} {seed}");
            assert!(log.len() > 50, "{weather:?} {seed}: something happens");
            assert_ne!(
                log,
                run_logged(seed + 1000, weather).1,
                "{weather:?} {seed}: and something else elsewhere"
            );
        }
    }
}
