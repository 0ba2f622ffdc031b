//! Bothsides mode from the client's side: raw messages over loopback against the service and a real store.
#![allow(clippy::unwrap_used)]

mod net_client;

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gdd_wire::message::{FromClient, FromDaemon, RowBuffer, SegmentQuery};
use net_client::{Client, Site, chunks_of, data, key, totals};

#[test]
fn a_backup_comes_back_and_the_second_sends_segments_alone() {
    let mut site = Site::new("site");
    let bytes = data(1, 6 << 20);
    let first = Client::new(&site, 1).backup(&bytes);
    assert_eq!(first.receipt.totals.bytes, bytes.len() as u64);
    assert!(first.receipt.new_bytes > 5 << 20 && first.sent_chunks > 64, "all of it is new");
    let again = Client::new(&site, 1).backup(&bytes);
    assert_eq!((again.receipt.new_bytes, again.sent_chunks, again.asked_chunks), (0, 0, 0));
    assert!(again.receipt.wire_bytes < 10_000, "{} bytes travelled", again.receipt.wire_bytes);
    site.restart("site");
    for stream in [first.stream, again.stream] {
        assert!(Client::new(&site, 1).restore(stream, 0, bytes.len()) == bytes);
        let part = Client::new(&site, 1).restore(stream, 1_000_001, 2_000_000);
        assert!(part == bytes[1_000_001..3_000_001]);
    }
    let after = Client::new(&site, 1).backup(&bytes);
    assert_eq!(after.asked_chunks, 0, "the last stream is found after a restart");
}

#[test]
fn a_change_in_the_middle_keeps_the_order() {
    let site = Site::new("site");
    let mut bytes = data(2, 8 << 20);
    Client::new(&site, 1).backup(&bytes);
    for at in [1 << 20, 3 << 20, 6 << 20] {
        bytes[at..at + 50].fill(7);
    }
    let changed = Client::new(&site, 1).backup(&bytes);
    assert!((1..20).contains(&changed.sent_chunks), "{} chunks were sent", changed.sent_chunks);
    assert!(Client::new(&site, 1).restore(changed.stream, 0, bytes.len()) == bytes);
}

#[test]
fn what_is_cut_anywhere_leaves_nothing_and_the_next_works() {
    let site = Site::new("site");
    let bytes = data(3, 2 << 20);
    for step in 0..5 {
        let mut client = Client::new(&site, 1);
        client.begin();
        let chunks = chunks_of(&bytes);
        if step > 0 {
            client.chunks(1, &chunks);
        }
        if step > 1 {
            client.wanted(1);
        }
        if step > 2 {
            client.chunk(1, 0, &bytes[..chunks[0].1 as usize]);
        }
        if step > 3 {
            client.send(&FromClient::Flush);
            let durable =
                client.receive(|message| matches!(message, FromDaemon::Durable { bytes } if *bytes > 0));
            assert!(durable, "what came is durable");
        }
        drop(client);
        site.settle();
        assert_eq!(site.streams(), 0, "after step {step}");
    }
    let done = Client::new(&site, 1).backup(&bytes);
    assert!(Client::new(&site, 1).restore(done.stream, 0, bytes.len()) == bytes);
}

#[test]
fn wrong_totals_get_no_receipt() {
    let site = Site::new("site");
    let bytes = data(4, 1 << 20);
    let chunks = chunks_of(&bytes);
    let good = totals(&chunks);
    for (id, wrong) in [
        ("GDD-NET-0006", gdd_wire::message::Totals { bytes: good.bytes + 1, ..good }),
        ("GDD-NET-0006", gdd_wire::message::Totals { chunks: good.chunks - 1, ..good }),
        ("GDD-NET-0006", gdd_wire::message::Totals { recipe_digest: [1; 32], ..good }),
    ] {
        let mut client = Client::new(&site, 1);
        client.begin();
        client.upload(&bytes, &chunks);
        client.send(&FromClient::Commit(wrong));
        assert_eq!(client.trouble(), id);
        site.settle();
        assert_eq!(site.streams(), 0);
    }
    let mut client = Client::new(&site, 1);
    client.begin();
    client.chunks(1, &chunks_of(&data(5, 1 << 18)));
    client.wanted(1);
    client.send(&FromClient::Commit(good));
    assert_eq!(client.trouble(), "GDD-NET-0007");
}

#[test]
fn other_bytes_than_named_and_messages_out_of_turn_are_refused() {
    let site = Site::new("site");
    let bytes = data(6, 1 << 18);
    let mut client = Client::new(&site, 1);
    client.begin();
    client.chunks(1, &chunks_of(&bytes));
    client.wanted(1);
    client.chunk(1, 0, b"other bytes");
    assert_eq!(client.trouble(), "GDD-NET-0003");
    let mut client = Client::new(&site, 1);
    client.send(&FromClient::Flush);
    assert_eq!(client.trouble(), "GDD-NET-0005");
    let mut client = Client::new(&site, 1);
    client.begin();
    client.send(&FromClient::Begin { client: "a", job_name: "b", file_set: "c" });
    assert_eq!(client.trouble(), "GDD-NET-0005");
    let mut client = Client::new(&site, 1);
    client.raw(&[200, 1, 2]);
    assert_eq!(client.trouble(), "GDD-NET-0004");
    site.settle();
    assert_eq!(site.streams(), 0);
}

#[test]
fn foreign_streams_are_as_unknown_as_no_streams() {
    let mut site = Site::new("one");
    let bytes = data(7, 1 << 20);
    let done = Client::new(&site, 1).backup(&bytes);
    site.restart("two");
    let mut client = Client::new(&site, 1);
    for stream in [done.stream, [9; 16]] {
        client.send(&FromClient::Fetch { number: 4, stream, offset: 0, length: 1 });
        assert_eq!(client.trouble(), "GDD-NET-0008");
    }
    let other = Client::new(&site, 1).backup(&bytes);
    client.send(&FromClient::Fetch { number: 5, stream: other.stream, offset: 0, length: 1 << 30 });
    assert_eq!(client.trouble(), "GDD-NET-0009");
    assert!(client.restore(other.stream, 0, bytes.len()) == bytes, "such a trouble ends nothing");
}

#[test]
fn strangers_are_counted_and_bounded() {
    let site = Site::new("site");
    assert!(net_client::try_connect(&site, &key(2)).is_err());
    let mut garbage = TcpStream::connect(site.address()).unwrap();
    garbage.write_all(&[0x55; 100]).unwrap();
    let silent: Vec<_> = (0..4).map(|_| TcpStream::connect(site.address()).unwrap()).collect();
    let until = Instant::now() + Duration::from_secs(60);
    let has = |reason: &str| site.service().refusals().get(reason).copied().unwrap_or(0);
    while (has("unverified") + has("denied") < 1 || has("malformed") < 1) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    // Four places for strangers of one address are taken by silent ones: one more is sent away.
    let more: Vec<_> = (0..4).map(|_| TcpStream::connect(site.address()).unwrap()).collect();
    while (has("address") < 1 || has("timeout") < 4) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    let counted = site.service().refusals();
    assert!(has("unverified") + has("denied") == 1 && has("malformed") == 1, "{counted:?}");
    assert!(has("address") >= 1 && has("timeout") >= 4, "{counted:?}");
    drop((silent, more));
    Client::new(&site, 1).backup(&data(8, 1 << 18));
}

#[test]
fn a_silent_client_is_pinged_and_ended() {
    let site = Site::new("site");
    let mut client = Client::new(&site, 1);
    client.begin();
    assert!(client.receive(|message| matches!(message, FromDaemon::Ping { .. })));
    assert_eq!(client.trouble(), "GDD-NET-0011");
    site.settle();
    assert_eq!(Arc::strong_count(site.store()), 2, "the test's and the service's");
}

#[test]
fn a_client_that_takes_nothing_is_ended_too() {
    let site = Site::new("site");
    let bytes = data(9, 16 << 20);
    let done = Client::new(&site, 1).backup(&bytes);
    site.settle();
    let broken = site.service().counts().broken;
    let mut client = Client::new(&site, 1);
    // More than any socket holds, and nobody reads it.
    for number in 0..16 {
        let length = bytes.len() as u64;
        client.send(&FromClient::Fetch { number, stream: done.stream, offset: 0, length });
    }
    let until = Instant::now() + Duration::from_secs(60);
    while site.service().counts().broken == broken && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(site.service().counts().broken, broken + 1);
    let reports = site.service().reports();
    let last = reports.last().unwrap();
    assert!(last.kind == "restore" && last.outcome != "restored" && last.session.bytes_back > 0, "{last:?}");
}

/// A row of a few bytes stands for a thousand chunks, each of which is looked up.
#[test]
fn segments_are_asked_for_no_more_chunks_than_are_allowed() {
    let site = Site::new("site");
    let row = |chunk_count| SegmentQuery { digest: [7; 32], chunk_count, length: 4 << 20 };
    for (rows, refused) in [(8, false), (9, true)] {
        let mut client = Client::new(&site, 1);
        client.begin();
        let mut segments = RowBuffer::default();
        (0..rows).for_each(|_| segments.push(row(1024)).unwrap());
        client.send(&FromClient::Segments { number: 1, segments: segments.rows().unwrap() });
        if refused {
            assert_eq!(client.trouble(), "GDD-NET-0014");
        } else {
            client.receive(|message| {
                assert!(matches!(message, FromDaemon::SegmentsKnown { number: 1, .. }), "{message:?}");
            });
        }
    }
    assert_eq!(site.streams(), 0);
}
