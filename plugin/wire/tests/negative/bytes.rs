//! Every byte of the handshake and of the first records, both ways: each bit turned, the byte dropped, the byte
//! repeated, the stream cut before it.

use std::sync::mpsc;

use super::{check, client, daemon, down, up, whole_messages};

/// Cases for one byte.
const PER_BYTE: usize = 8 + 3;

/// One way to hurt the byte at `at`; `way` below 8 turns that bit.
fn hurt(mut bytes: Vec<u8>, at: usize, way: usize) -> Vec<u8> {
    match way {
        0..8 => bytes[at] ^= 1 << way,
        8 => drop(bytes.remove(at)),
        9 => bytes.insert(at, bytes[at]),
        10 => bytes.truncate(at),
        _ => unreachable!("there are {PER_BYTE} ways"),
    }
    bytes
}

fn matrix(len: usize, case: impl Fn(usize, usize)) -> usize {
    let mut count = 0;
    for at in 0..len {
        for way in 0..PER_BYTE {
            case(at, way);
            count += 1;
        }
    }
    count
}

#[test]
fn of_the_hello() {
    let len = super::hello().1.len();
    let count = matrix(len, |at, way| {
        let outcome = daemon(&|hello| hurt(hello, at, way), |keys| up(keys).concat());
        check(&format!("byte {at}, way {way}"), &outcome, 0);
    });
    // Header 24; key 32, three names with 2 bytes of length each, tag 16.
    assert_eq!((len, count), (24 + 32 + 8 + 5 + 6 + 16, 91 * PER_BYTE));
}

#[test]
fn of_the_answer() {
    // Header 12; key 32, version 2, three ids of 16, epoch 8, a name with its length, tag 16.
    let len = 12 + 32 + 2 + 48 + 8 + 5 + 16;
    let count = matrix(len, |at, way| {
        let change = move |answer: Vec<u8>| {
            assert_eq!(answer.len(), len);
            hurt(answer, at, way)
        };
        let outcome = client(change, |keys| down(keys).concat());
        check(&format!("byte {at}, way {way}"), &outcome, 0);
    });
    assert_eq!((len, count), (123, 123 * PER_BYTE));
}

#[test]
fn of_the_clients_records() {
    let len = 21 + 24 + 36 + 21;
    let count = matrix(len, |at, way| {
        let (sender, expected) = mpsc::channel();
        let outcome = daemon(&|hello| hello, move |keys| {
            let records = up(keys);
            let changed = hurt(records.concat(), at, way);
            sender.send((records.concat().len(), whole_messages(&records, &changed))).expect("it is awaited");
            changed
        });
        let (found, expected) = expected.recv().expect("the records were asked for");
        assert_eq!(found, len);
        check(&format!("byte {at}, way {way}"), &outcome, expected);
    });
    assert_eq!((len, count), (102, 102 * PER_BYTE));
}

#[test]
fn of_the_daemons_records() {
    let len = 24 + 36 + 21;
    let count = matrix(len, |at, way| {
        let (sender, expected) = mpsc::channel();
        let outcome = client(
            |answer| answer,
            move |keys| {
                let records = down(keys);
                let changed = hurt(records.concat(), at, way);
                sender
                    .send((records.concat().len(), whole_messages(&records, &changed)))
                    .expect("it is awaited");
                changed
            },
        );
        let (found, expected) = expected.recv().expect("the records were asked for");
        assert_eq!(found, len);
        check(&format!("byte {at}, way {way}"), &outcome, expected);
    });
    assert_eq!((len, count), (81, 81 * PER_BYTE));
}
