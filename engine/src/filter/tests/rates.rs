//! The configured false-positive rate is kept, as measured; the counters say what happened.

use super::*;
use crate::error::Error;

/// Standard deviations by which a measurement may differ from its expectation.
const SIGMAS: f64 = 5.0;

/// Share of `count` absent chunks that are not answered "new".
fn measured(filter: &Filter, count: u32) -> f64 {
    let absent = (0..u64::from(count)).map(|number| chunk(1 << 40 | number)).collect::<Vec<_>>();
    let mut answers = Vec::new();
    filter.query_many(&absent, &mut answers);
    answers.iter().filter(|answer| **answer != Answer::New).count() as f64 / f64::from(count)
}

#[test]
fn three_growths_keep_the_configured_rate() {
    let config = FilterConfig { first_capacity: 20_000, hot_capacity: 5_000, ..config(1) };
    let filter = in_memory(config);
    (0..300_000).for_each(|number| filter.insert(&chunk(number))); // 20 + 40 + 80 + 160 thousand: all full.
    let stats = filter.stats();
    assert!(stats.layers >= 4, "{stats:?}");
    let asked = 2_000_000;
    let (rate, deviation) = (measured(&filter, asked), (stats.expected_fpr / f64::from(asked)).sqrt());
    assert!(rate <= 1.2 * 0.001 - SIGMAS * deviation, "{rate} with {stats:?}");
    assert!((rate - stats.expected_fpr).abs() <= SIGMAS * deviation, "{rate} with {stats:?}");
}

#[test]
fn a_full_layer_has_the_rate_that_it_was_sized_for() {
    for fpr_ppm in [100, 10_000, 100_000] {
        let filter =
            in_memory(FilterConfig { fpr_ppm, first_capacity: 100_000, hot_capacity: 2, ..config(1) });
        (0..99_900).for_each(|number| filter.insert(&chunk(number)));
        let stats = filter.stats();
        assert_eq!(stats.layers, 1);
        let asked = 1_000_000;
        let (rate, deviation) = (measured(&filter, asked), (stats.expected_fpr / f64::from(asked)).sqrt());
        assert!(
            (rate - stats.expected_fpr).abs() <= SIGMAS * deviation,
            "{fpr_ppm} ppm: {rate} with {stats:?}"
        );
        let share = f64::from(fpr_ppm) / 1e6 * 0.875 * 0.2;
        assert!((stats.expected_fpr / share - 1.0).abs() < 0.02, "{fpr_ppm} ppm: {stats:?}");
    }
}

#[test]
fn one_by_one_and_many_at_once_agree() {
    let filter = in_memory(config(1));
    (0..5000).for_each(|number| filter.insert(&chunk(number)));
    for count in [0, 1, 31, 32, 33, 64, 1000] {
        let hashes: Vec<_> = (0..count).map(|n| chunk(n * 7919 % 10_000)).collect();
        let mut answers = vec![Answer::New; 3];
        filter.query_many(&hashes, &mut answers);
        assert_eq!(answers, hashes.iter().map(|hash| filter.query(hash)).collect::<Vec<_>>(), "{count}");
    }
}

#[test]
fn counters_add_up() {
    let filter = in_memory(config(1));
    (0..3000).for_each(|number| filter.insert(&chunk(number)));
    let (mut hot, mut cold, mut new) = (0, 0, 0);
    for number in 0..6000 {
        match filter.query(&chunk(number)) {
            Answer::MaybeHot => hot += 1,
            Answer::MaybeCold => cold += 1,
            Answer::New => new += 1,
        }
        if number >= 3000 && number % 1000 == 0 {
            filter.was_false();
        }
    }
    assert!((100..=220).contains(&hot), "both generations: {hot}");
    let found = filter.stats().lookups;
    let expected = super::super::Lookups {
        hot_lookups: 6000,
        hot_hits: hot,
        cold_lookups: 6000 - hot,
        cold_hits: cold,
        index_lookups_saved: new,
        false_positives: 3,
        doubtful_lookups: 0,
    };
    assert_eq!(found, expected);
    assert!(new >= 2970, "{new}");
    let mut answers = Vec::new();
    filter.query_many(&[chunk(2999), chunk(0), chunk(1 << 50)], &mut answers);
    let after = filter.stats().lookups;
    assert_eq!(answers, [Answer::MaybeHot, Answer::MaybeCold, Answer::New]);
    assert_eq!((after.hot_hits, after.cold_hits, after.index_lookups_saved), (hot + 1, cold + 1, new + 1));
}

#[test]
fn repeated_insertions_are_counted_once() {
    let filter = in_memory(config(1));
    for _ in 0..5 {
        (0..900).for_each(|number| filter.insert(&chunk(number)));
    }
    let stats = filter.stats();
    assert_eq!(stats.layers, 1);
    assert!((898..=900).contains(&stats.items), "{stats:?}");
}

#[test]
fn a_doubtful_filter_answers_maybe_and_counts_apart() {
    let filter = in_memory(config(1));
    assert_eq!(filter.query(&chunk(1)), Answer::New);
    filter.begin_rebuild();
    let mut answers = Vec::new();
    filter.query_many(&[chunk(1), chunk(2)], &mut answers);
    assert_eq!(answers, [Answer::MaybeCold; 2]);
    assert_eq!(filter.query(&chunk(1)), Answer::MaybeCold);
    filter.was_false();
    filter.insert_from_index(&chunk(2));
    filter.finish_rebuild();
    assert_eq!((filter.query(&chunk(1)), filter.query(&chunk(2))), (Answer::New, Answer::MaybeCold));
    let lookups = filter.stats().lookups;
    assert_eq!((lookups.doubtful_lookups, lookups.false_positives, lookups.hot_lookups), (3, 0, 3));
}

#[test]
fn a_configuration_out_of_range_is_refused() {
    for wrong in [
        FilterConfig { fpr_ppm: 0, ..config(1) },
        FilterConfig { fpr_ppm: 100_001, ..config(1) },
        FilterConfig { first_capacity: 0, ..config(1) },
    ] {
        assert!(matches!(Filter::open(None, wrong), Err(Error::Invalid(_))), "{wrong:?}");
    }
}
