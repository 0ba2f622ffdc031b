//! Twenty thousand seeds of the whole-store simulation, over all weathers: every one must hold.
//!
//! `GDD_SEEDS` asks for another number. A seed that fails is printed with its weather; add it to
//! `tests/seeds/regression.txt`, which always runs.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use gdd_tests::simulation::sweep::{judge, sweep};
use gdd_tests::simulation::{Weather, run_logged};
use gdd_uring::sim::Hit;

const SEEDS_DEFAULT: u64 = 20_000;

const REGRESSIONS: &str = include_str!("../seeds/regression.txt");

#[test]
fn random_seeds_hold() {
    let count = std::env::var("GDD_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS_DEFAULT);
    let swept = sweep(count);
    print!("{swept}");
    for violation in &swept.violations {
        println!("VIOLATED by {violation}");
    }
    assert!(swept.violations.is_empty(), "{} seeds do not hold; see above", swept.violations.len());
    for (weather, outcome) in Weather::ALL.iter().zip(&swept.outcomes) {
        assert!(
            outcome.acknowledged > 0 && outcome.compared > 0,
            "{weather:?}: something was stored and read"
        );
        assert!(outcome.hits.of(Hit::PowerCut) > 0, "{weather:?}: the power was cut");
    }
}

/// `GDD_TRACE="Errors 1613"` prints what happens to the disks of one seed.
#[test]
fn one_seed_is_traced() {
    let traced = std::env::var("GDD_TRACE").unwrap_or_else(|_| "PowerCuts 0".to_owned());
    let (weather, seed) = traced.split_once(' ').expect("a weather and a seed");
    let weather = Weather::from_name(weather).expect("a weather");
    let (outcome, log) = run_logged(seed.parse().expect("a seed"), weather);
    if std::env::var_os("GDD_TRACE").is_some() {
        log.iter().for_each(|line| println!("{line}"));
    }
    println!("{traced}: {outcome:?}");
    assert!(outcome.is_ok() && !log.is_empty());
}

#[test]
fn regression_seeds_hold() {
    let mut count = 0;
    for line in REGRESSIONS.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let mut words = line.split_whitespace();
        let weather = words.next().and_then(Weather::from_name).expect(line);
        let seed = words.next().and_then(|word| word.parse().ok()).expect(line);
        judge(seed, weather).unwrap_or_else(|violation| panic!("{violation}"));
        count += 1;
    }
    println!("{count} regression seeds hold");
}
