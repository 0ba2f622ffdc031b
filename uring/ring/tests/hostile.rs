//! A peer that writes what it likes, where it likes, when it likes: the honest side ends with a typed error or does not
//! notice, and never panics, hangs, or reads what is not the ring's.
//!
//! The memory is a file to whoever has its descriptor, so the scribbler here writes with pwrite(2); the other side sees
//! it in its mapping at once.

mod common;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use common::{CAPACITY, Pair, Rng, TOKEN, pair};
use gdd_ring::limits::{COUNTER_FIRST, payload_size_max};
use gdd_ring::{Endpoint, PushError, Violation};

const DATA_UP: u64 = 65536;
const TAIL_UP: u64 = 128;
const HEAD_UP: u64 = 256;
/// Steps during which something was scribbled, of which so many are noticed by someone. Where two threads share a core
/// they take turns, and a side that publishes after the scribbles and before the other looks has mended them.
const MIXED_STEPS: u64 = 2000;
const LINES: [u64; 8] = [TAIL_UP, 136, HEAD_UP, 264, 4096 + 128, 4096 + 136, 4096 + 256, 4096 + 264];

fn poke(memory: &File, offset: u64, word: u64) {
    memory.write_all_at(&word.to_le_bytes(), offset).expect("anyone with the memory may write");
}

fn peek(memory: &File, offset: u64) -> u64 {
    let mut bytes = [0; 8];
    memory.read_exact_at(&mut bytes, offset).expect("anyone with the memory may read");
    u64::from_le_bytes(bytes)
}

/// A value that is likely to lie just at an edge of what is believed.
fn nasty(rng: &mut Rng, near: u64) -> u64 {
    let step = [1, 4, 8, 16, 24, 32, CAPACITY - 8, CAPACITY, CAPACITY + 8][rng.index(9)];
    match rng.below(6) {
        0 => rng.next(),
        1 => near.wrapping_add(step),
        2 => near.wrapping_sub(step),
        3 => rng.below(CAPACITY * 2),
        4 => u64::MAX - rng.below(32),
        _ => 1 << rng.below(64),
    }
}

/// One scribble: at a control word, at a header of a record, or anywhere.
fn scribble(rng: &mut Rng, memory: &File) {
    let size = DATA_UP + 2 * CAPACITY;
    let offset = match rng.below(4) {
        0 | 1 => LINES[rng.index(8)],
        2 => DATA_UP + rng.below(2 * CAPACITY / 8) * 8,
        _ => rng.below(size - 8),
    };
    let near = peek(memory, offset);
    poke(memory, offset, nasty(rng, near));
}

/// Drive one side for a step; the first violation ends it.
fn step(rng: &mut Rng, endpoint: &mut Endpoint) -> Result<(), Violation> {
    let payload = vec![0xab; rng.index(payload_size_max(CAPACITY) + 1)];
    match endpoint.producer.try_push(1, 2, &[&payload]) {
        Err(PushError::Violation(violation)) => return Err(violation),
        pushed => assert!(!matches!(pushed, Err(PushError::TooLarge { .. })), "{pushed:?}"),
    }
    for _ in 0..rng.below(4) {
        let Some(mut incoming) = endpoint.consumer.take()? else { break };
        let mut bytes = Vec::new();
        incoming.append_to(&mut bytes);
        assert_eq!(bytes.len(), incoming.message().length as usize);
        assert!(bytes.len() as u64 <= payload_size_max(CAPACITY));
    }
    if rng.below(2) == 0 {
        endpoint.consumer.release_all();
    }
    let total: u64 = endpoint.producer.unreleased().map(|message| u64::from(message.length())).sum();
    assert!(total <= CAPACITY, "more is unreleased than fits into the ring");
    Ok(())
}

#[test]
fn thousands_of_scribbled_channels_end_in_a_violation_or_go_on() {
    let (mut violations, mut survived) = (0, 0);
    for seed in 0..5000 {
        let Pair { mut daemon, mut plugin, memory } = pair();
        let mut rng = Rng(seed);
        let mut ended = None;
        for _ in 0..rng.below(30) + 2 {
            if rng.below(3) == 0 {
                scribble(&mut rng, &memory);
            }
            let side = if rng.below(2) == 0 { &mut daemon } else { &mut plugin };
            if let Err(violation) = step(&mut rng, side) {
                let again = (side.consumer.peek().err(), side.producer.look().err());
                let same = [again.0, again.1].contains(&Some(violation));
                assert!(same, "seed {seed}: {violation} was forgotten: {again:?}");
                ended = Some(violation);
                break;
            }
        }
        *if ended.is_some() { &mut violations } else { &mut survived } += 1;
    }
    println!("{violations} ended in a violation, {survived} went on");
    assert!(violations > 1000 && survived > 100, "{violations} and {survived}: the scribbler has to hit");
}

#[test]
fn a_scribbler_that_never_stops_cannot_hurt_the_honest_side() {
    for seed in 0..60 {
        let Pair { mut daemon, mut plugin, memory } = pair();
        let (stop, count) = (AtomicBool::new(false), AtomicU64::new(0));
        let (mut ended, mut steps, mut mixed) = ([None; 2], 0_u64, 0_u64);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut rng = Rng(seed);
                while !stop.load(Ordering::Relaxed) {
                    scribble(&mut rng, &memory);
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
            let mut rng = Rng(!seed);
            while ended.contains(&None) && mixed < MIXED_STEPS {
                let before = count.load(Ordering::Relaxed);
                for (side, ended) in [&mut daemon, &mut plugin].into_iter().zip(&mut ended) {
                    let result = step(&mut rng, side);
                    *ended = ended.or(result.err());
                }
                (steps, mixed) = (steps + 1, mixed + u64::from(count.load(Ordering::Relaxed) != before));
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert!(ended.iter().any(Option::is_some), "seed {seed}: nobody noticed in {mixed} of {steps} steps");
    }
}

/// Publish one record of the plugin's by hand: first word, token, number, then the tail.
fn forge(memory: &File, words: [u64; 3], tail: u64) {
    let last = DATA_UP + CAPACITY - 8; // Where the first counter of a ring lies.
    for (offset, word) in [last, DATA_UP, DATA_UP + 8].into_iter().zip(words) {
        poke(memory, offset, word);
    }
    poke(memory, TAIL_UP, COUNTER_FIRST.wrapping_add(tail));
}

#[test]
fn every_lie_of_a_producer_has_its_name() {
    let max = payload_size_max(CAPACITY);
    let cases = [
        ([0, TOKEN, 0], 16, Violation::Torn { found: 16, expected: 24 }),
        ([9, TOKEN, 0], 32, Violation::Torn { found: 32, expected: 40 }),
        ([max + 1, TOKEN, 0], CAPACITY, Violation::Length { found: max + 1, max }),
        ([0xffff_ffff, TOKEN, 0], CAPACITY, Violation::Length { found: 0xffff_ffff, max }),
        ([0, TOKEN ^ 1, 0], 24, Violation::Token { found: TOKEN ^ 1, expected: TOKEN }),
        ([0, TOKEN, 1], 24, Violation::Sequence { found: 1, expected: 0 }),
        (
            [0, TOKEN, 0],
            CAPACITY + 8,
            Violation::Counter {
                counter: "tail",
                believed: COUNTER_FIRST,
                moved: CAPACITY + 8,
                moved_max: CAPACITY,
            },
        ),
    ];
    for (words, tail, expected) in cases {
        let Pair { mut daemon, memory, .. } = pair();
        forge(&memory, words, tail);
        assert_eq!(daemon.consumer.peek(), Err(expected));
        forge(&memory, [0, TOKEN, 0], 24);
        assert_eq!(daemon.consumer.peek(), Err(expected), "a lie cannot be taken back");
    }
    let Pair { mut daemon, memory, .. } = pair();
    forge(&memory, [0, TOKEN, 0], 24);
    assert_eq!(daemon.consumer.peek().expect("the truth").expect("sent").length, 0);
}

#[test]
fn every_lie_of_a_consumer_has_its_name() {
    let head = |moved: u64| COUNTER_FIRST.wrapping_add(moved);
    let counter =
        |moved| Violation::Counter { counter: "head", believed: COUNTER_FIRST, moved, moved_max: 64 };
    let cases = [
        (72, counter(72)),
        (0_u64.wrapping_sub(8), counter(0_u64.wrapping_sub(8))),
        (31, Violation::Unaligned { counter: "head", found: head(31), expected: 8 }),
        (8, Violation::Split { seq: 0, found: 8, expected: 32 }),
        (40, Violation::Split { seq: 1, found: 8, expected: 32 }),
    ];
    for (moved, expected) in cases {
        let Pair { mut plugin, memory, .. } = pair();
        for text in [b"12345678", b"abcdefgh"] {
            plugin.producer.try_push(0, 0, &[text]).expect("room");
        }
        poke(&memory, HEAD_UP, head(moved));
        assert_eq!(plugin.producer.look(), Err(expected), "{moved}");
        poke(&memory, HEAD_UP, head(32));
        assert_eq!(plugin.producer.look(), Err(expected), "a lie cannot be taken back");
        assert_eq!(plugin.producer.try_push(0, 0, &[]), Err(PushError::Violation(expected)));
        assert!(plugin.producer.unreleased().count() >= 1, "what is left can still be walked");
    }
}

#[test]
fn a_header_that_changes_after_the_look_is_not_seen_and_a_payload_is_copied_once() {
    let Pair { mut daemon, mut plugin, memory } = pair();
    plugin.producer.try_push(5, 0, &[b"as sent."]).expect("room");
    let message = daemon.consumer.peek().expect("honest").expect("sent");
    forge(&memory, [u64::MAX, !TOKEN, 77], 32);
    let mut incoming = daemon.consumer.take().expect("the header was read before").expect("sent");
    assert_eq!(incoming.message(), message);
    let mut bytes = Vec::new();
    incoming.append_to(&mut bytes);
    memory.write_all_at(b"changed!", DATA_UP + 16).expect("anyone with the memory may write");
    assert_eq!(bytes, b"as sent.", "the copy is ours");
}

#[test]
fn frames_are_walked_from_private_memory_whatever_the_ring_says() {
    let Pair { mut plugin, memory, .. } = pair();
    for number in 0..100_u16 {
        plugin.producer.try_push(number, 3, &[&[7; 100]]).expect("room");
    }
    memory.write_all_at(&[0xff; 65536], DATA_UP).expect("anyone may write");
    let walked: Vec<_> = plugin
        .producer
        .unreleased()
        .map(|message| (message.seq(), message.kind(), message.length()))
        .collect();
    let sent: Vec<_> = (0..100_u16).map(|number| (u64::from(number), number, 100)).collect();
    assert_eq!(walked, sent);
}
