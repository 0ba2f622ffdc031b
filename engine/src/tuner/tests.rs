//! Lineages of made-up generations through the state machine.

use super::*;

const WINDOW: u64 = 100;
const BASE: ChunkParams = ChunkParams { min: 4 << 10, avg: 16 << 10, max: 64 << 10 };

fn ladder() -> Ladder {
    Ladder::new(BASE, 4 << 20)
}

fn times(factor: u32) -> ChunkParams {
    ChunkParams { min: BASE.min * factor, avg: BASE.avg * factor, max: BASE.max * factor }
}

/// Run a stream of `parts`, each ten bytes of which so many are new; returns the tuner and the sizes of each part.
fn run(past: Option<Past>, parts: &[u64]) -> (Tuner, Vec<ChunkParams>) {
    let mut tuner = Tuner::new(ladder(), past, &[], WINDOW);
    let mut sizes = tuner.start();
    let mut cut = Vec::new();
    for (number, new_bytes) in parts.iter().enumerate() {
        if tuner.point().is_some_and(|point| point <= 10 * number as u64) {
            sizes = tuner.decide(None).unwrap_or(sizes);
        }
        cut.push(sizes);
        tuner.sample(Sample { bytes: 10, new_bytes: *new_bytes });
    }
    (tuner, cut)
}

fn next(past: Option<Past>, parts: &[u64]) -> Option<Past> {
    let (tuner, _) = run(past, parts);
    Some(Past { start: tuner.start(), tuning: tuner.record(), bytes: tuner.total.bytes })
}

fn after(generations: &[&[u64]]) -> Option<Past> {
    generations.iter().fold(None, |past, parts| next(past, parts))
}

const NEW: [u64; 30] = [10; 30];
const KNOWN: [u64; 30] = [1; 30];

#[test]
fn the_ladder_ends_where_chunks_may() {
    let sets: Vec<_> = std::iter::successors(Some(BASE), |sizes| ladder().larger(*sizes)).collect();
    assert_eq!(sets.len(), 7);
    assert_eq!(sets.last(), Some(&ChunkParams { min: 256 << 10, avg: 1 << 20, max: 4 << 20 }));
    assert_eq!(ladder().largest(), times(64));
    let sets: Vec<_> = std::iter::successors(Some(BASE), |sizes| ladder().smaller(*sizes)).collect();
    assert_eq!(sets.last(), Some(&ChunkParams { min: 1 << 10, avg: 4 << 10, max: 16 << 10 }));
    let odd = Ladder::new(ChunkParams { min: 2050, avg: 4096, max: 8192 }, 4 << 20);
    assert_eq!(odd.smaller(odd.base()), None, "half of it is odd");
    let small = Ladder::new(ChunkParams { min: 64, avg: 256, max: 1024 }, 4096);
    assert_eq!(small.smaller(small.base()), None);
    assert_eq!(small.largest(), ChunkParams { min: 256, avg: 1024, max: 4096 });
    assert!(!small.allows(times(1)), "larger than the store takes");
    let top = Ladder::new(ChunkParams { min: 1 << 20, avg: 1 << 22, max: 1 << 22 }, 1 << 20);
    assert_eq!(top.largest(), top.base(), "the store's own sizes are always on offer");
}

#[test]
fn first_generations_are_cut_with_the_stores_sizes_and_vote_for_nothing() {
    for parts in [&NEW, &KNOWN] {
        let (tuner, cut) = run(None, parts);
        assert!(cut.iter().all(|sizes| *sizes == BASE));
        assert_eq!(tuner.record(), Tuning { generation: 1, ..Tuning::default() });
    }
}

#[test]
fn larger_chunks_need_two_generations_without_anything_known_and_a_probe() {
    for (generations, expected) in [(1, 1), (2, 1), (3, 2), (4, 2), (5, 4)] {
        let (_, cut) = run(after(&vec![&NEW[..]; generations]), &NEW);
        assert!(cut[..10].iter().all(|sizes| *sizes == BASE), "the probe has the old sizes");
        assert!(cut[10..].iter().all(|sizes| *sizes == times(expected)), "after {generations}: {cut:?}");
    }
}

#[test]
fn larger_chunks_end_at_the_top() {
    let past = after(&[&NEW[..]; 40]);
    let (tuner, cut) = run(past, &NEW);
    assert_eq!(cut[29], times(64));
    assert_eq!(tuner.switch(), Some((100, times(64))));
}

#[test]
fn one_window_or_a_trace_of_known_data_keeps_the_sizes() {
    let mut window = NEW;
    window[20..].fill(9);
    let mut trace = vec![10; 500];
    trace[250] = 4; // 6 of 5000 bytes; of a window 6 %.
    for middle in [&window[..], &trace[..], &KNOWN[..], &[7; 30][..]] {
        assert_eq!(after(&[&NEW, &NEW, middle, &NEW]).unwrap().tuning.votes, 1, "{middle:?}");
    }
    let mut known_head = NEW;
    known_head[3] = 9;
    let (_, cut) = run(after(&[&NEW, &NEW, &NEW]), &known_head);
    assert!(cut.iter().all(|sizes| *sizes == BASE), "the probe has met something");
}

#[test]
fn a_lineage_is_cut_again_as_it_was() {
    let past = after(&[&NEW, &NEW, &NEW, &NEW]);
    assert_eq!(past.unwrap().tuning.switch_at, 100);
    for parts in [&KNOWN, &NEW] {
        let (tuner, cut) = run(past, parts);
        assert!(cut[..10].iter().all(|sizes| *sizes == BASE) && cut[10..].iter().all(|s| *s == times(2)));
        assert_eq!(tuner.switch(), Some((100, times(2))));
    }
    let short = next(past, &NEW[..5]);
    assert_eq!(short.unwrap().tuning.switch_at, 100, "a short generation keeps the point");
    let repeated = after(&[&NEW, &NEW, &NEW, &NEW, &KNOWN, &KNOWN, &KNOWN]);
    let (_, cut) = run(repeated, &NEW);
    assert_eq!(cut[29], times(2), "history with larger chunks is not given up");
}

#[test]
fn smaller_chunks_only_behind_all_that_could_be_known() {
    let past = after(&[&KNOWN, &KNOWN, &KNOWN]);
    assert_eq!(past.unwrap().tuning.votes, -2);
    let (_, cut) = run(past, &NEW);
    assert!(cut.iter().all(|sizes| *sizes == BASE), "the rest could still be known");
    let (tuner, cut) = run(past, &[10; 40]);
    assert!(cut[..30].iter().all(|sizes| *sizes == BASE));
    let half = ChunkParams { min: 2 << 10, avg: 8 << 10, max: 32 << 10 };
    assert!(cut[30..].iter().all(|sizes| *sizes == half), "{cut:?}");
    assert!(tuner.why().contains("most was known"), "{}", tuner.why());
    let (_, cut) = run(past, &[1; 40]);
    assert!(cut.iter().all(|sizes| *sizes == BASE), "a stream that grew is not a new one");
}

#[test]
fn votes_are_hysteresis_and_do_not_overflow() {
    assert_eq!(after(&[&NEW, &NEW, &KNOWN]).unwrap().tuning.votes, -1);
    assert_eq!(after(&[&NEW, &KNOWN, &NEW]).unwrap().tuning.votes, 1);
    assert_eq!(after(&[&NEW, &NEW, &[]]).unwrap().tuning.votes, 1, "an empty stream says nothing");
    assert_eq!(after(&[&KNOWN[..]; 200]).unwrap().tuning.votes, i8::MIN);
    let tuning = Tuning { generation: u32::MAX, votes: i8::MAX, ..Tuning::default() };
    let past = Some(Past { start: times(64), tuning, bytes: 300 });
    assert_eq!(next(past, &NEW).unwrap().tuning, Tuning { generation: u32::MAX, ..tuning });
}

#[test]
fn thresholds_are_exclusive() {
    let aims = [200_000, 199_999, 800_000, 800_001].map(Aim::of);
    assert_eq!(aims, [Aim::Keep, Aim::Larger, Aim::Keep, Aim::Smaller]);
    assert_eq!(Sample::default().known_ppm(), 0);
    assert_eq!(Sample { bytes: u64::MAX, new_bytes: 0 }.known_ppm(), 1_000_000);
}

#[test]
fn a_stream_follows_its_twin() {
    let met = Sample { bytes: 100, new_bytes: 0 };
    let twin = |at, factor| Some(Twin { switch: Some((at, times(factor))) });
    let start = |past| {
        let mut tuner = Tuner::new(ladder(), past, &[100, 200, 300], WINDOW);
        tuner.sample(met);
        assert!(tuner.may_have_twin() && tuner.point() == Some(100));
        tuner
    };
    let mut tuner = start(None);
    assert_eq!(tuner.decide(twin(100, 4)), Some(times(4)));
    assert_eq!((tuner.point(), tuner.switch()), (None, Some((100, times(4)))));
    assert_eq!(tuner.record().switch_at, 100);

    let mut tuner = start(None);
    assert_eq!((tuner.decide(None), tuner.point()), (None, Some(200)));
    tuner.sample(met);
    assert_eq!((tuner.decide(twin(300, 2)), tuner.point()), (None, Some(300)));
    tuner.sample(met);
    assert_eq!((tuner.decide(twin(300, 2)), tuner.point()), (Some(times(2)), None));

    let larger = after(&[&NEW, &NEW, &NEW, &NEW]);
    let mut tuner = start(larger);
    assert_eq!(
        tuner.decide(Some(Twin { switch: None })),
        None,
        "an earlier generation, from before the change"
    );
    assert_eq!((tuner.point(), tuner.switch(), tuner.record().switch_at), (None, None, 0));
    let mut tuner = start(larger);
    assert_eq!(tuner.decide(None), Some(times(2)), "its own point, without a twin");
    assert_eq!(tuner.point(), None);
}
