//! `kill -9` of `gdd put`, at random moments: nothing that was acknowledged is lost, nothing wrong is returned, and the
//! next put works.

use std::time::Duration;

use gdd_tests::effort::sized;
use gdd_tests::gdd::{Gdd, Moment};
use gdd_tests::joined::Joined;
use gdd_tests::json::{list, number, text};
use gdd_tests::random::Random;
use gdd_tests::stream::{Content, Stream};
use gdd_tests::workspace::scratch;

const MIB: u64 = 1 << 20;
const SEED: u64 = 9;

/// What the store has before the first kill.
fn earlier() -> [(&'static str, Joined); 3] {
    [
        ("text", Joined::new([Stream::new(Content::Text, 71, 9 * MIB + 1)])),
        ("random", Joined::new([Stream::new(Content::Random, 72, 8 * MIB - 1)])),
        ("tiny", Joined::new([Stream::new(Content::Random, 73, 1)])),
    ]
}

/// Half of it is known from an earlier stream, half is new each time.
fn victim(round: u64) -> (Joined, u64) {
    let new = sized(12, 400) * MIB;
    let known = Stream::new(Content::Random, 72, 8 * MIB - 1);
    (Joined::new([known, Stream::new(Content::Random, 1000 + round, new)]), new + 8 * MIB - 1)
}

/// Anywhere in the stream; every third time around its end, where recipe and name are made. At once, soon or later,
/// because nobody knows how fast the machine is.
fn moment(random: &mut Random, length: u64, round: u64) -> Moment {
    let bytes = if round.is_multiple_of(3) { length + 1 } else { random.below(length) };
    let latest = [5_000, 60_000, 600_000][usize::try_from(random.below(3)).expect("one of three")];
    Moment { bytes, pause: Duration::from_micros(random.below(latest)) }
}

fn names(gdd: &Gdd) -> Vec<String> {
    list(&gdd.json(&["ls"]), "streams").iter().map(|stream| text(stream, "name").to_owned()).collect()
}

fn demand_earlier(gdd: &Gdd, after: &str) {
    for (name, stream) in earlier() {
        assert_eq!(gdd.digest(name).0, stream.digest(), "{name}, {after}");
    }
}

#[test]
fn killed_at_twenty_moments_nothing_is_lost() {
    let folder = scratch("kill");
    let gdd = Gdd::at(&folder.path().join("store"));
    gdd.init_with(&["--container-size", "16m"]); // Many containers, so that kills meet sealing too.
    for (name, stream) in earlier() {
        gdd.put(name, stream);
    }
    let mut random = Random::new(SEED);
    let mut survived = 0;
    for round in 0..20 {
        let (stream, length) = victim(round);
        let moment = moment(&mut random, length, round);
        let acknowledged = gdd.put_killed("victim", stream.clone(), moment);
        let story = format!("seed {SEED}, round {round}, killed at {moment:?}, acknowledged: {acknowledged}");
        println!("{story}");
        if round % 2 == 1 {
            // Killed again while it opens, in the middle of recovery as often as not.
            let pause = Duration::from_micros(random.below(60_000));
            assert!(!gdd.put_killed("unlucky", stream.clone(), Moment { bytes: 0, pause }));
        }
        // As the kill has left it: a check, which writes nothing, must find nothing lost.
        let report = gdd.json(&["fsck", "--level", "3"]);
        assert_eq!(number(&report, "damage_count"), 0, "{story}: {report:#}");
        let present = names(&gdd).contains(&"victim".to_owned());
        assert!(present || !acknowledged, "acknowledged and lost: {story}");
        // Opened for writing, which recovers.
        gdd.put(&format!("after-{round}"), Stream::new(Content::Random, 2000 + round, 1000));
        gdd.expect(0, &["fsck", "--level", "3"]);
        demand_earlier(&gdd, &story);
        assert!(!names(&gdd).contains(&"unlucky".to_owned()), "{story}");
        if names(&gdd).contains(&"victim".to_owned()) {
            survived += 1;
            assert_eq!(gdd.digest("victim").0, stream.digest(), "{story}");
            gdd.expect(0, &["rm", "victim"]);
        }
        let put = gdd.put("victim", stream.clone());
        assert!(
            number(&put, "new_bytes") <= length - 8 * MIB + 1 + 65_536,
            "known data was forgotten: {put}"
        );
        assert_eq!(gdd.digest("victim").0, stream.digest(), "{story}");
        gdd.expect(0, &["rm", "victim"]);
    }
    assert!(survived < 20, "no kill came in time");
    println!("{survived} of 20 puts were whole when they were killed");
    let again = gdd.put("again", earlier()[1].1.clone());
    assert_eq!(number(&again, "new_bytes"), 0, "the filter must not forget: {again}");
    gdd.expect(0, &["fsck", "--level", "3"]);
}
