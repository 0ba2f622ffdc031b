//! Messages come back as they were; cut, longer or changed ones are refused or read as other good ones.

use gdd_wire::message::{
    BitmapBuffer, Cut, Entry, FromClient, FromDaemon, Receipt, RowBuffer, SegmentQuery, Totals, Trouble,
};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

fn client(message: FromClient<'_>) -> Vec<u8> {
    let mut head = Vec::new();
    let tail = message.encode(&mut head).expect("it works here");
    let bytes = [&head, tail].concat();
    assert_eq!(FromClient::decode(&bytes).expect("it works here"), message);
    assert!(FromDaemon::decode(&bytes).is_err() || bytes[0] >> 4 == 7);
    bytes
}

fn daemon(message: FromDaemon<'_>) -> Vec<u8> {
    let mut head = Vec::new();
    let tail = message.encode(&mut head).expect("it works here");
    let bytes = [&head, tail].concat();
    assert_eq!(FromDaemon::decode(&bytes).expect("it works here"), message);
    bytes
}

/// One of each: from the client, and from the daemon. Those with bytes of a chunk at the end come last.
fn samples(number: u64, rows: u16, bytes: &[u8]) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let (mut segments, mut entries) = (RowBuffer::default(), RowBuffer::default());
    let (mut few, mut many) = (BitmapBuffer::default(), BitmapBuffer::default());
    for row in 0..rows {
        entries.push(Entry { hash: [3; 32], len: u32::from(row) + 1 }).expect("it works here");
        many.push(row % 3 == 1).expect("it works here");
        if row < 256 {
            segments
                .push(SegmentQuery { digest: [4; 32], chunk_count: row + 1, length: 5000 })
                .expect("it works here");
            few.push(row % 2 == 0).expect("it works here");
        }
    }
    let (segments, entries) =
        (segments.rows().expect("it works here"), entries.rows().expect("it works here"));
    assert_eq!(entries.iter().map(|entry| entry.len).max(), Some(u32::from(rows)));
    assert!(many.bitmap().ones().eq((0..rows).filter(|row| row % 3 == 1)));
    let totals = Totals { files: number, bytes: 2, chunks: 3, files_digest: [5; 32], recipe_digest: [6; 32] };
    let up = vec![
        client(FromClient::Begin { client: "zoe-fd", job_name: "zoe", file_set: "" }),
        client(FromClient::Segments { number, segments }),
        client(FromClient::Chunks { number, entries }),
        client(FromClient::Flush),
        client(FromClient::Commit(totals)),
        client(FromClient::Fetch { number, stream: [7; 16], offset: 8, length: 9 }),
        client(FromClient::Ping { number }),
        client(FromClient::Pong { number }),
        client(FromClient::Chunk { number, index: rows - 1, bytes }),
    ];
    let trouble = Trouble { number: Some(number), id: "GDD-FD-0040", text: "a", remedy: "b", fatal: true };
    let cut = Cut { min: 1, target: 2, max: 4 << 20 };
    let down = vec![
        daemon(FromDaemon::Begun { stream: [1; 16], cut, ahead_max: 1 }),
        daemon(FromDaemon::SegmentsKnown { number, known: few.bitmap() }),
        daemon(FromDaemon::Wanted { number, wanted: many.bitmap() }),
        daemon(FromDaemon::Durable { bytes: number }),
        daemon(FromDaemon::Receipt(Receipt { totals, new_bytes: 1, stored_bytes: 2, wire_bytes: 3 })),
        daemon(FromDaemon::Fetched { number, length: 4 }),
        daemon(FromDaemon::Trouble(trouble)),
        daemon(FromDaemon::Trouble(Trouble { number: None, fatal: false, ..trouble })),
        daemon(FromDaemon::Piece { number, offset: 1, hash: [2; 32], bytes }),
    ];
    (up, down)
}

fn refused(bytes: &[u8], down: bool) -> bool {
    if down { FromDaemon::decode(bytes).is_err() } else { FromClient::decode(bytes).is_err() }
}

#[test]
fn what_is_cut_or_longer_is_refused() {
    let (up, down) = samples(77, 9, b"x");
    for (messages, is_down) in [(up, false), (down, true)] {
        for (at, bytes) in messages.iter().enumerate() {
            for len in 0..bytes.len() {
                assert!(refused(&bytes[..len], is_down), "{len} of {bytes:?}");
            }
            let longer = [bytes, &[0][..]].concat();
            assert_eq!(refused(&longer, is_down), at + 1 < messages.len(), "only a chunk may be longer");
        }
    }
}

#[test]
fn bounds_hold_at_both_ends() {
    let mut entries = RowBuffer::default();
    assert!(entries.rows().is_err(), "an empty question");
    assert!(entries.push(Entry { hash: [0; 32], len: 0 }).is_err());
    assert!(entries.push(Entry { hash: [0; 32], len: (4 << 20) + 1 }).is_err());
    for _ in 0..4096 {
        entries.push(Entry { hash: [0; 32], len: 4 << 20 }).unwrap();
    }
    assert!(entries.push(Entry { hash: [0; 32], len: 1 }).is_err());
    assert!(FromClient::Chunk { number: 1, index: 0, bytes: &[] }.encode(&mut Vec::new()).is_err());
    let stray = [0x83, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0xff, 2];
    let error = FromDaemon::decode(&stray).unwrap_err();
    assert_eq!((error.expected.as_str(), error.found.as_str()), ("0", "1"), "{error}");
    assert!(FromClient::decode(&[1, 1, 0, 0xff, 0, 0, 0, 0]).is_err(), "not UTF-8");
    assert!(FromClient::decode(&[3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).is_err(), "an empty question");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, rng_seed: RngSeed::Fixed(4), ..ProptestConfig::default() })]
    #[test]
    fn they_come_back_and_changes_never_panic(
        number: u64, rows in 1u16..600, bytes in prop::collection::vec(any::<u8>(), 1..5000),
        at: prop::sample::Index, with in 1u8..,
    ) {
        let (up, down) = samples(number, rows, &bytes);
        for mut message in up.into_iter().chain(down) {
            let at = at.index(message.len());
            message[at] ^= with;
            if let Ok(read) = FromClient::decode(&message) {
                let mut head = Vec::new();
                let tail = read.encode(&mut head).unwrap();
                prop_assert_eq!([&head, tail].concat(), message.clone(), "one encoding");
            }
            if let Ok(read) = FromDaemon::decode(&message) {
                let mut head = Vec::new();
                let tail = read.encode(&mut head).unwrap();
                prop_assert_eq!([&head, tail].concat(), message, "one encoding");
            }
        }
    }
}
