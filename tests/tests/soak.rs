//! A short soak: the same as `cargo xtask soak`, for some minutes of a server instead of a week.
#![allow(missing_docs)]

use gdd_tests::soak::Soak;
use gdd_tests::workspace::scratch;

/// Cycles: enough for backups to be pruned and their space to come back.
const CYCLES: u64 = 12;

#[test]
fn a_short_one_holds() {
    let folder = scratch("soak");
    let mut soak = Soak::new(folder.path(), 7, CYCLES);
    let samples: Vec<_> = (0..CYCLES).map(|_| soak.cycle()).collect();
    let compared = soak.finish();
    let (middle, last) = (samples[7], samples[11]);
    println!("{compared} restores compared, {} kills", last.kills);
    assert!(compared > 3 * CYCLES && last.kills > 3.0, "{compared} restores, {} kills", last.kills);
    assert!(
        last.disk < middle.disk * 1.2,
        "the data are as many as before: {} then {}",
        middle.disk,
        last.disk
    );
}
