//! A place that the disk cannot read costs what lies there. It does not keep the store from opening, nor its index from
//! being made anew.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use gdd_tests::simulation::bursts;
use gdd_tests::simulation::sectors::{Case, run};

#[test]
fn every_single_dead_sector_is_borne() {
    for (closed, rebuilt) in [(true, false), (false, false), (true, true), (false, true)] {
        let case = Case { closed, rebuilt };
        let tally = run(case).unwrap_or_else(|what| panic!("{what}"));
        println!("{case:?}: {tally:?}");
        assert!(tally.sectors > 300 && tally.losses > 50 && tally.losses * 2 < tally.sectors, "{tally:?}");
        assert_eq!(tally.refusals > 0, !rebuilt, "{tally:?}");
    }
}

#[test]
fn what_a_disk_does_not_give_during_a_rebuild_is_not_given_up() {
    for lost in [false, true] {
        let tally = bursts::run(lost).unwrap_or_else(|what| panic!("index lost {lost}: {what}"));
        println!("index lost {lost}: {tally:?}");
        assert!(tally.bursts > 5 && tally.losses > 3, "{tally:?}");
    }
}

#[test]
fn an_old_index_that_ends_during_a_rebuild_keeps_what_it_said_of_damage() {
    bursts::cut_off().unwrap_or_else(|what| panic!("{what}"));
}
