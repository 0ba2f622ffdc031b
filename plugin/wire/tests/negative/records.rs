//! Whole records in another order, missing, repeated, sent back to their sender, or of another connection with the same
//! key; and whole handshakes that were recorded and are played again.

use std::sync::mpsc;

use gdd_wire::WireError;
use gdd_wire::handshake::{Keys, respond};
use gdd_wire::limits::RECORD_PAYLOAD_MAX;
use gdd_wire::record::{Kind, Opener, Reader, Sealer};

use super::{
    another_session, check, client, daemon, down, hello, identity, introduction, key, ring, up,
    whole_messages,
};

type Records = Vec<Vec<u8>>;

/// All ways but the sent one in which the records `own` may come; `back` are those that the receiver itself would send,
/// `other` those of another session.
fn moved(own: &Records, back: &Records, other: &Records) -> Vec<(String, Records)> {
    let mut all = Vec::new();
    for order in orders(own.len()).into_iter().skip(1) {
        all.push((format!("order {order:?}"), order.iter().map(|at| own[*at].clone()).collect()));
    }
    for at in 0..own.len() {
        let mut records = own.clone();
        records.remove(at);
        all.push((format!("without {at}"), records));
        for to in 0..=own.len() {
            let mut records = own.clone();
            records.insert(to, own[at].clone());
            all.push((format!("{at} again as {to}"), records));
        }
        for (name, foreign) in [("its own", back), ("another session's", other)] {
            for record in foreign {
                let mut records = own.clone();
                records[at] = record.clone();
                all.push((format!("{name} for {at}"), records));
            }
        }
    }
    all.push(("reflected".to_owned(), back.clone()));
    all.push(("of another session".to_owned(), other.clone()));
    all
}

/// How many there are, counted without making them.
fn moved_count(own: usize, back: usize, other: usize) -> usize {
    let orders: usize = (1..=own).product();
    orders - 1 + own * (1 + own + 1 + back + other) + 2
}

/// All orders of `0..count`, rising first.
fn orders(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![vec![]];
    }
    let mut all = Vec::new();
    for first in 0..count {
        for rest in orders(count - 1) {
            let rest = rest.into_iter().map(|at| at + usize::from(at >= first));
            all.push(std::iter::once(first).chain(rest).collect());
        }
    }
    all
}

fn up_moved(keys: &Keys) -> Vec<(String, Records)> {
    moved(&up(keys), &down(keys), &up(&another_session()))
}

fn down_moved(keys: &Keys) -> Vec<(String, Records)> {
    moved(&down(keys), &up(keys), &down(&another_session()))
}

#[test]
fn of_a_client() {
    let count = up_moved(&another_session()).len();
    for at in 0..count {
        let (sender, expected) = mpsc::channel();
        let outcome = daemon(&|hello| hello, move |keys| {
            let (case, records) = up_moved(keys).swap_remove(at);
            let changed = records.concat();
            sender.send((case, whole_messages(&up(keys), &changed))).expect("it is awaited");
            changed
        });
        let (case, expected) = expected.recv().expect("the records were asked for");
        check(&case, &outcome, expected);
    }
    assert_eq!((count, count), (moved_count(4, 3, 4), 77));
}

#[test]
fn of_a_daemon() {
    let count = down_moved(&another_session()).len();
    for at in 0..count {
        let (sender, expected) = mpsc::channel();
        let outcome = client(
            |answer| answer,
            move |keys| {
                let (case, records) = down_moved(keys).swap_remove(at);
                let changed = records.concat();
                sender.send((case, whole_messages(&down(keys), &changed))).expect("it is awaited");
                changed
            },
        );
        let (case, expected) = expected.recv().expect("the records were asked for");
        check(&case, &outcome, expected);
    }
    assert_eq!((count, count), (moved_count(3, 4, 3), 43));
}

/// The daemon answers a hello that it has seen; what was recorded after it fits no second answer.
#[test]
fn a_recorded_client_is_refused_at_its_confirm() {
    let (initiator, recorded) = hello();
    let answer = respond(&recorded, &ring(), &identity()).unwrap();
    let keys = initiator.finish(&answer.bytes, None).unwrap().1;
    let mut count = 0;
    for len in 1..=up(&keys).len() {
        let mut input = vec![up(&keys)[..len].concat(), recorded.clone()];
        let (sender, answered) = mpsc::channel();
        let script = move |written: Vec<u8>| {
            sender.send(written.len()).expect("it is awaited");
            input.pop()
        };
        let transport = super::Scripted::new(Box::new(script));
        let accepted = super::accept(transport, &ring(), &identity(), super::TIME_MAX);
        let error = accepted.err();
        assert!(matches!(error, Some(WireError::Tampered { number: 0 })), "{error:?}");
        assert_eq!(answered.iter().collect::<Vec<_>>(), [0, answer.bytes.len()]);
        count += 1;
    }
    assert_eq!(count, 4);
}

/// An answer that was recorded fits no second hello.
#[test]
fn a_recorded_daemon_is_refused() {
    let (_, first) = hello();
    let recorded = respond(&first, &ring(), &identity()).unwrap();
    let keys = recorded.keys;
    let answer = recorded.bytes;
    let outcome = client(move |_| answer.clone(), move |_| down(&keys).concat());
    check("a recorded answer", &outcome, 0);
    assert!(matches!(outcome.error, Some(WireError::Unverified { .. })), "{:?}", outcome.error);
}

/// The hello sent back to the client, and the answer to the daemon: each has its own first bytes.
#[test]
fn handshakes_sent_back_are_refused() {
    let (_, own) = super::Initiator::start(&key(), &introduction()).unwrap();
    let sent_back = own.clone();
    let outcome = client(move |_| sent_back.clone(), |keys| down(keys).concat());
    check("the hello for an answer", &outcome, 0);
    let answer = respond(&own, &ring(), &identity()).unwrap().bytes;
    let outcome = daemon(&|_| answer.clone(), |keys| up(keys).concat());
    check("the answer for a hello", &outcome, 0);
}

/// A part made the whole: its length suits either kind, so only the tag over the header tells.
#[test]
fn a_part_is_not_taken_for_the_whole() {
    let long = vec![7; RECORD_PAYLOAD_MAX];
    let (mut sealer, mut stream) = (Sealer::new(&[1; 32]), Vec::new());
    sealer.seal(Kind::Part, &long, b"", &mut stream).unwrap();
    sealer.seal(Kind::Message, b"rest", b"", &mut stream).unwrap();
    let received = |stream: &[u8]| {
        let mut reader = Reader::new(stream, Opener::new(&[1; 32]));
        reader.receive().map(|message| message.map(<[u8]>::len))
    };
    assert_eq!(received(&stream).unwrap(), Some(RECORD_PAYLOAD_MAX + 4));
    assert_eq!(stream[4], Kind::Part as u8);
    stream[4] = Kind::Message as u8;
    let error = received(&stream).unwrap_err();
    assert!(matches!(error, WireError::Tampered { number: 0 }), "{error:?}");
}
