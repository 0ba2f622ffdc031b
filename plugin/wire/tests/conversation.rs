//! A job's conversation over a real channel: a backup, a restore, a trouble, the end; and one that is cut.

use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use gdd_wire::message::{
    BitmapBuffer, Cut, Entry, FromClient, FromDaemon, Receipt, RowBuffer, SegmentQuery, Totals, Trouble,
};
use gdd_wire::{
    BootId, Channel, Domain, Identity, Introduction, Key, KeyRing, StoreId, WireError, accept, connect,
};

const TIME_MAX: Duration = Duration::from_secs(20);
const TOTALS: Totals =
    Totals { files: 1, bytes: 300_007, chunks: 2, files_digest: [1; 32], recipe_digest: [2; 32] };

fn key() -> Key {
    Key::from_secret(&[1; 32]).expect("it works here")
}

fn channels() -> (Channel<UnixStream>, Channel<UnixStream>) {
    let (near, far) = UnixStream::pair().expect("it works here");
    let daemon = thread::spawn(move || {
        let domain = Domain { name: "site".to_owned(), current: key(), previous: None };
        let ring = KeyRing::new(vec![domain]).expect("it works here");
        let (store, boot) = (StoreId([5; 16]), BootId([6; 16]));
        let identity = Identity { store, boot, epoch: 7, program: "gdd".to_owned() };
        accept(far, &ring, &identity, TIME_MAX).expect("it works here").channel
    });
    let name = || "zoe".to_owned();
    let introduction = Introduction { client: name(), job: name(), program: name() };
    let client = connect(near, &key(), &introduction, None, TIME_MAX).expect("it works here").channel;
    (client, daemon.join().expect("it works here"))
}

/// Sends it, and what the other end reads is the same.
fn up(from: &mut Channel<UnixStream>, to: &mut Channel<UnixStream>, message: FromClient<'_>) {
    let mut head = Vec::new();
    let tail = message.encode(&mut head).expect("it works here").to_vec();
    thread::scope(|scope| {
        scope.spawn(|| {
            from.writer.send(&head, &tail).expect("it works here");
            from.writer.flush().expect("it works here");
        });
        let bytes = to.reader.receive().expect("it works here").expect("it works here");
        assert_eq!(FromClient::decode(bytes).expect("it works here"), message);
    });
}

fn down(from: &mut Channel<UnixStream>, to: &mut Channel<UnixStream>, message: FromDaemon<'_>) {
    let mut head = Vec::new();
    let tail = message.encode(&mut head).expect("it works here").to_vec();
    thread::scope(|scope| {
        scope.spawn(|| {
            from.writer.send(&head, &tail).expect("it works here");
            from.writer.flush().expect("it works here");
        });
        let bytes = to.reader.receive().expect("it works here").expect("it works here");
        assert_eq!(FromDaemon::decode(bytes).expect("it works here"), message);
    });
}

#[test]
fn a_backup_a_restore_and_the_end() {
    let (mut client, mut daemon) = channels();
    let (c, d) = (&mut client, &mut daemon);
    up(c, d, FromClient::Begin { client: "zoe-fd", job_name: "zoe", file_set: "all" });
    let cut = Cut { min: 16 << 10, target: 64 << 10, max: 1 << 20 };
    down(d, c, FromDaemon::Begun { stream: [9; 16], cut, ahead_max: 8192 });
    let mut segments = RowBuffer::default();
    segments.push(SegmentQuery { digest: [3; 32], chunk_count: 2, length: 300_007 }).unwrap();
    up(c, d, FromClient::Segments { number: 1, segments: segments.rows().unwrap() });
    let mut bits = BitmapBuffer::default();
    bits.push(false).unwrap();
    down(d, c, FromDaemon::SegmentsKnown { number: 1, known: bits.bitmap() });
    let mut entries = RowBuffer::default();
    entries.push(Entry { hash: [4; 32], len: 7 }).unwrap();
    entries.push(Entry { hash: [5; 32], len: 300_000 }).unwrap();
    up(c, d, FromClient::Chunks { number: 2, entries: entries.rows().unwrap() });
    bits.push(true).unwrap();
    down(d, c, FromDaemon::Wanted { number: 2, wanted: bits.bitmap() });
    let bytes = vec![6; 300_000];
    up(c, d, FromClient::Chunk { number: 2, index: 1, bytes: &bytes });
    up(c, d, FromClient::Flush);
    down(d, c, FromDaemon::Durable { bytes: 300_007 });
    up(c, d, FromClient::Commit(TOTALS));
    let receipt = Receipt { totals: TOTALS, new_bytes: 300_000, stored_bytes: 100, wire_bytes: 300_500 };
    down(d, c, FromDaemon::Receipt(receipt));
    up(c, d, FromClient::Fetch { number: 3, stream: [9; 16], offset: 7, length: 300_000 });
    down(d, c, FromDaemon::Piece { number: 3, offset: 7, hash: [5; 32], bytes: &bytes });
    down(d, c, FromDaemon::Fetched { number: 3, length: 300_000 });
    let (id, text, remedy) = ("GDD-FD-0040", "no such stream", "name one that there is");
    down(d, c, FromDaemon::Trouble(Trouble { number: Some(4), id, text, remedy, fatal: false }));
    c.writer.end().unwrap();
    d.writer.end().unwrap();
    assert_eq!(c.reader.receive().unwrap(), None);
    assert_eq!(d.reader.receive().unwrap(), None);
}

#[test]
fn a_connection_that_closes_in_the_middle_is_truncated() {
    let (mut client, mut daemon) = channels();
    up(&mut client, &mut daemon, FromClient::Ping { number: 1 });
    drop(client);
    let error = daemon.reader.receive().err();
    assert!(matches!(error, Some(WireError::Truncated { .. })), "{error:?}");
}
