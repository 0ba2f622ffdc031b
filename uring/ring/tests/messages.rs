//! What is sent arrives, whole, in order and once; what is not released stays.

mod common;

use common::{CAPACITY, Pair, Rng, pair, payload, take};
use gdd_ring::PushError;
use gdd_ring::limits::payload_size_max;

#[test]
fn messages_of_every_size_arrive_in_order_while_the_ring_wraps_many_times() {
    for seed in 0..20 {
        println!("seed {seed}");
        let Pair { mut daemon, mut plugin, .. } = pair();
        let (mut rng, mut sent, mut taken) = (Rng(seed), 0, 0);
        while taken < 1000 {
            for _ in 0..rng.below(20) {
                let payload = payload(sent);
                let cut = rng.index(payload.len() as u64 + 1);
                let kind = sent.to_le_bytes()[0].into();
                match plugin.producer.try_push(kind, 0, &[&payload[..cut], &payload[cut..]]) {
                    Ok(seq) => assert_eq!(seq, sent),
                    Err(PushError::Full { .. }) => break,
                    Err(error) => panic!("{error}"),
                }
                sent += 1;
            }
            for _ in 0..rng.below(20) {
                taken += u64::from(take(&mut daemon, taken));
            }
            if rng.below(3) == 0 {
                daemon.consumer.release_all();
                plugin.producer.look().expect("an honest consumer");
                assert_eq!(plugin.producer.released(), taken);
            }
        }
    }
}

#[test]
fn the_largest_message_fits_and_the_next_larger_never_does() {
    let Pair { mut daemon, mut plugin, .. } = pair();
    let max = payload_size_max(CAPACITY);
    assert_eq!(plugin.producer.payload_size_max(), max);
    let bytes: Vec<u8> = (0..=max).map(|index| index.to_le_bytes()[0]).collect();
    let refused = plugin.producer.try_push(1, 0, &[&bytes]);
    assert_eq!(refused, Err(PushError::TooLarge { found: max + 1, max }));
    assert_eq!(daemon.consumer.peek(), Ok(None), "nothing was sent");
    plugin.producer.try_push(1, 0, &[&bytes[1..]]).expect("it fits");
    let mut copy = Vec::new();
    daemon.consumer.take().expect("honest").expect("sent").append_to(&mut copy);
    assert!(copy == bytes[1..]);
}

#[test]
fn full_says_how_much_is_missing_and_reading_does_not_make_room() {
    let Pair { mut daemon, mut plugin, .. } = pair();
    let mut count = 0;
    let full = loop {
        match plugin.producer.try_push(0, 0, &[&[1; 1000]]) {
            Ok(_) => count += 1,
            Err(full) => break full,
        }
    };
    assert_eq!((count, full), (CAPACITY / 1024, PushError::Full { room: 0, needed: 1024 }));
    assert_eq!(plugin.producer.room(), None);
    let mut ends = Vec::new();
    while let Some(incoming) = daemon.consumer.take().expect("honest") {
        ends.push(incoming.message().end);
    }
    assert_eq!(daemon.consumer.held(), CAPACITY);
    assert!(matches!(plugin.producer.try_push(0, 0, &[&[1; 1000]]), Err(PushError::Full { .. })));
    daemon.consumer.release(ends[3]);
    daemon.consumer.release(ends[1]); // Later news of an earlier place.
    plugin.producer.look().expect("an honest consumer");
    assert_eq!((plugin.producer.released(), plugin.producer.room()), (4, Some(4 * 1024 - 24)));
    assert_eq!(daemon.consumer.held(), CAPACITY - 4 * 1024);
}

#[test]
fn what_was_not_released_can_be_walked_with_its_payload() {
    let Pair { mut daemon, mut plugin, .. } = pair();
    let (mut sent, mut walked) = (0, 0);
    for round in 0..50 {
        while plugin.producer.try_push(7, 9, &[&payload(sent)]).is_ok() {
            sent += 1;
        }
        while let Some(message) = daemon.consumer.peek().expect("honest") {
            drop(daemon.consumer.take());
            let gdd_ring::Message { seq, end, .. } = message;
            if seq % 5 == round % 5 {
                daemon.consumer.release(end);
            }
        }
        let released = sent - plugin.producer.unreleased().count() as u64;
        assert_eq!(released, plugin.producer.released());
        walked += sent - released;
        for (message, seq) in plugin.producer.unreleased().zip(released..) {
            assert_eq!((message.seq(), message.kind(), message.flags()), (seq, 7, 9));
            assert_eq!(message.length() as usize, payload(seq).len());
            assert!(message.payload() == payload(seq), "message {seq}");
        }
        daemon.consumer.release_all();
    }
    assert_eq!(plugin.producer.unreleased().count(), 0);
    assert!(walked > 50 && walked < sent, "{walked} of {sent}: some rounds leave a part");
}

#[test]
fn a_reservation_sends_what_was_written_or_nothing() {
    let Pair { mut daemon, mut plugin, .. } = pair();
    let mut dropped = plugin.producer.reserve(100).expect("room");
    dropped.write(b"never sent");
    drop(dropped);
    assert_eq!(daemon.consumer.peek(), Ok(None));
    let mut reservation = plugin.producer.reserve(100).expect("room");
    reservation.write(b"in ");
    reservation.write(b"pieces");
    assert_eq!(reservation.left(), 91);
    assert_eq!(reservation.commit(5, 6), 0);
    let message = daemon.consumer.peek().expect("honest").expect("sent");
    assert_eq!((message.seq, message.kind, message.flags, message.length), (0, 5, 6, 9));
    assert_eq!(daemon.consumer.peek(), Ok(Some(message)), "a look takes nothing");
    let mut incoming = daemon.consumer.take().expect("honest").expect("sent");
    let mut start = [0; 4];
    assert_eq!((incoming.copy(&mut start), incoming.left()), (4, 5));
    assert_eq!(&start, b"in p");
    let mut rest = [0; 10];
    assert_eq!((incoming.copy(&mut rest), incoming.copy(&mut start)), (5, 0));
    assert_eq!(&rest, b"ieces\0\0\0\0\0");
}

#[test]
fn a_message_that_is_dropped_half_read_is_skipped_whole() {
    let Pair { mut daemon, mut plugin, .. } = pair();
    plugin.producer.try_push(1, 0, &[b"first"]).expect("room");
    plugin.producer.try_push(2, 0, &[b"second"]).expect("room");
    daemon.consumer.take().expect("honest").expect("sent").copy(&mut [0; 2]);
    let mut bytes = Vec::new();
    daemon.consumer.take().expect("honest").expect("sent").append_to(&mut bytes);
    assert_eq!(bytes, b"second");
    assert_eq!(daemon.consumer.taken(), 2);
}

#[test]
fn both_directions_work_at_once_and_apart() {
    let Pair { mut daemon, mut plugin, .. } = pair();
    plugin.producer.try_push(1, 0, &[b"up"]).expect("room");
    daemon.producer.try_push(2, 0, &[b"down"]).expect("room");
    let (mut up, mut down) = (Vec::new(), Vec::new());
    daemon.consumer.take().expect("honest").expect("sent").append_to(&mut up);
    plugin.consumer.take().expect("honest").expect("sent").append_to(&mut down);
    assert_eq!((up.as_slice(), down.as_slice()), (&b"up"[..], &b"down"[..]));
    assert_eq!((daemon.consumer.peek(), plugin.consumer.peek()), (Ok(None), Ok(None)));
}
