//! However long the stream, a put stays within its memory budget.

use gdd_tests::effort::sized;
use gdd_tests::gdd::Gdd;
use gdd_tests::json::number;
use gdd_tests::running::Running;
use gdd_tests::stream::{Content, Stream};
use gdd_tests::workspace::scratch;

const GB: u64 = 1_000_000_000;
const BUDGET: u64 = 1 << 30;

#[test]
fn resident_memory_stays_below_the_budget() {
    let folder = scratch("memory");
    let gdd = Gdd::at(&folder.path().join("store"));
    gdd.init();
    let stream = Stream::new(Content::Repeats { percent: 60 }, 1, sized(3 * GB, 50 * GB));
    let length = stream.length();
    let (outcome, peak) = Running::put(&gdd, "long").finish_watched(stream);
    outcome.demand(0);
    let put = outcome.json();
    println!("{put}\npeak of resident memory: {} MiB", peak >> 20);
    assert_eq!(number(&put, "bytes"), length);
    let new_percent = number(&put, "new_bytes") * 100 / length;
    assert!((35..45).contains(&new_percent), "60 % of it repeats: {put}");
    assert!(peak > 0 && peak < BUDGET, "{peak} bytes were resident, {BUDGET} are allowed");
}
