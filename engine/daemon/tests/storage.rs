//! The storage daemon's driver against the daemon's service, over real rings: in one process, and in two.
#![allow(missing_docs, clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use gdd_daemon::storage::{Limits, StorageService};
use gdd_engine::format::superblock::Settings;
use gdd_engine::options::{Access, Options, Rewriting};
use gdd_engine::store::Store as Engine;
use gdd_engine::vacuum::VacuumOptions;
use gdd_link::limits::VERSION;
use gdd_link::request::{APPEND, Request};
use gdd_link::{ERR_STALE, Head, Hello, Welcome};
use gdd_ring::{Endpoint, Peer};
use gdd_sd::block::SessionId;
use gdd_sd::label::About;
use gdd_sd::store::ring::RingStore;
use gdd_sd::store::{Store, StreamId, VolumeId};
use twox_hash::XxHash3_128;

const VOLUME: VolumeId = VolumeId([7; 16]);
const SESSION: SessionId = SessionId { id: 1, time: 2 };

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn options() -> Options {
    Options { workers: Some(2), pin: false, ..Options::default() }
}

struct Rig {
    root: tempfile::TempDir,
    engine: Arc<Engine>,
    service: Option<StorageService>,
}

impl Rig {
    fn new() -> Self {
        Self::with(&Settings::default())
    }

    fn with(settings: &Settings) -> Self {
        Self::opened(settings, &options())
    }

    fn opened(settings: &Settings, options: &Options) -> Self {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("store");
        Engine::init(&dir, settings, options).unwrap();
        let engine = Arc::new(Engine::open(&dir, Access::ReadWrite, options).unwrap());
        let mut rig = Self { root, engine, service: None };
        rig.serve(Limits::default());
        rig
    }

    fn serve(&mut self, limits: Limits) {
        self.service = None;
        let engine = Arc::clone(&self.engine);
        self.service = Some(StorageService::start(engine, &self.socket(), limits).unwrap());
    }

    fn socket(&self) -> PathBuf {
        self.root.path().join("gdd.sock")
    }

    fn driver(&self) -> RingStore {
        driver(&self.socket())
    }

    fn stop(&mut self) {
        assert!(self.service.take().unwrap().stop(Duration::from_secs(60)));
    }

    fn names(&self) -> Vec<String> {
        self.engine.list().unwrap().into_iter().map(|row| row.name).collect()
    }
}

fn driver(socket: &Path) -> RingStore {
    let own = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap());
    RingStore::new(socket.to_owned(), vec![0, own])
}

fn begin(store: &mut RingStore) -> StreamId {
    store
        .begin(VOLUME, SESSION, &About { job: "j".into(), job_name: "J".into(), ..About::default() })
        .unwrap()
}

fn finish(store: &mut RingStore, stream: StreamId, bytes: &[u8]) {
    let digest = XxHash3_128::oneshot(bytes);
    let receipt = store.finish(stream, bytes.len() as u64, digest).unwrap();
    assert_eq!((receipt.bytes, receipt.digest), (bytes.len() as u64, digest));
}

fn recall(store: &mut RingStore, stream: StreamId, from: usize, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    for (at, part) in bytes.chunks_mut(64_512).enumerate() {
        store.recall(stream, (from + at * 64_512) as u64, part).unwrap();
    }
    bytes
}

/// Three streams in turn, as three jobs on one device, then everything back, forwards and from the middle.
fn round_trips(store: &mut RingStore) -> Vec<StreamId> {
    let all: Vec<_> = [30_000_000, 90_000_001, 0].map(|len| noise(len as u64, len)).into();
    let streams: Vec<_> = all.iter().map(|_| begin(store)).collect();
    let mut parts: Vec<_> = all.iter().map(|bytes| bytes.chunks(63_000)).collect();
    let mut number = 0_u64;
    loop {
        let mut any = false;
        for (stream, parts) in streams.iter().zip(&mut parts) {
            let Some(part) = parts.next() else { continue };
            store.append(*stream, number.is_multiple_of(5), part).unwrap();
            (any, number) = (true, number + 1);
        }
        if !any {
            break;
        }
    }
    store.flush(streams[1]).unwrap();
    assert_eq!(
        store.durable(streams[1]).unwrap() + store.unreleased(streams[1]).unwrap().bytes.len() as u64,
        90_000_001
    );
    for (stream, bytes) in streams.iter().zip(&all) {
        assert!(store.length(*stream).is_err(), "it is still being written");
        finish(store, *stream, bytes);
        assert_eq!(store.length(*stream).unwrap(), Some(bytes.len() as u64));
    }
    for (stream, bytes) in streams.iter().zip(&all) {
        assert!(recall(store, *stream, 0, bytes.len()) == *bytes);
    }
    for from in [50_000_000, 3, 89_999_990, 20_000_000, 40_000_000] {
        let len = 700_000.min(all[1].len() - from);
        assert!(recall(store, streams[1], from, len) == all[1][from..from + len], "{from}");
        store.reachable().unwrap();
    }
    let mut beyond = [0; 2];
    assert_eq!(store.recall(streams[1], 90_000_000, &mut beyond).unwrap_err().id, "GDD-SD-0011");
    assert_eq!(store.recall(StreamId(99), 0, &mut beyond).unwrap_err().id, "GDD-SD-0025");
    assert_eq!(store.length(StreamId(99)).unwrap(), None);
    streams
}

#[test]
fn interleaved_streams_come_back_and_are_retired() {
    let mut rig = Rig::new();
    let mut store = rig.driver();
    let streams = round_trips(&mut store);
    let session = rig.service.as_ref().unwrap().sessions().remove(0);
    assert_eq!((session.finished, session.bytes_in, session.job.as_str()), (3, 120_000_001, "j"));
    assert_eq!(rig.names().len(), 3);
    rig.stop();
    rig.serve(Limits::default());
    assert_eq!(store.length(streams[0]).unwrap(), Some(30_000_000), "the next service finds it");
    store.retire(VolumeId([8; 16])).unwrap();
    assert_eq!(rig.names().len(), 3);
    store.retire(VOLUME).unwrap();
    assert!(rig.names().is_empty());
    assert_eq!(store.length(streams[0]).unwrap(), None);
}

/// A stream looks at 32 MiB of itself before it places any of it, and of two only half of that fits the ring.
#[test]
fn interleaved_streams_that_are_stored_again_do_not_wait_for_each_other() {
    let mut rig =
        Rig::opened(&Settings::default(), &Options { rewriting: Rewriting::percent(10), ..options() });
    let mut store = rig.driver();
    round_trips(&mut store);
    round_trips(&mut store);
    rig.stop();
}

#[test]
fn a_driver_that_fell_silent_holds_up_no_vacuum() {
    let mut rig = Rig::with(&Settings { container_size: 1 << 20, ..Settings::default() });
    let mut store = rig.driver();
    let (stream, bytes) = (begin(&mut store), noise(1, 8_000_000));
    bytes.chunks(64_000).for_each(|part| store.append(stream, false, part).unwrap());
    finish(&mut store, stream, &bytes);
    assert!(recall(&mut store, stream, 0, 100_000) == bytes[..100_000]);
    // It may go on from there, or hold the volume open for days.
    rig.engine.remove(&rig.names()[0]).unwrap();
    let vacuum = || rig.engine.vacuum(&VacuumOptions::default(), &mut |_| (), &mut |_| true).unwrap();
    let first = vacuum();
    assert!(first.waiting_for_readers > 4 && first.freed_containers == 0, "{first:?}");
    while vacuum().freed_containers == 0 {
        thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(store.length(stream).unwrap(), None, "the driver is still there, and served");
    rig.stop();
}

#[test]
fn a_small_ring_is_held_up_by_no_stream() {
    let mut rig = Rig::new();
    rig.serve(Limits { capacity_up: 1 << 20, ..Limits::default() });
    let mut store = rig.driver();
    let (idle, busy) = (begin(&mut store), begin(&mut store));
    store.append(idle, true, b"few bytes").unwrap();
    let bytes = noise(1, 20_000_000);
    for part in bytes.chunks(64_000) {
        store.append(busy, false, part).unwrap();
    }
    finish(&mut store, busy, &bytes);
    finish(&mut store, idle, b"few bytes");
    assert!(recall(&mut store, busy, 0, bytes.len()) == bytes);
    rig.stop();
}

#[test]
fn what_was_counted_differently_gets_no_receipt_and_is_kept_as_it_came() {
    let mut rig = Rig::new();
    let mut store = rig.driver();
    for (bytes, digest) in [(5, 1), (4, XxHash3_128::oneshot(b"12345"))] {
        let stream = begin(&mut store);
        store.append(stream, true, b"12345").unwrap();
        let error = store.finish(stream, bytes, digest).unwrap_err();
        assert_eq!((error.id, error.lost), ("GDD-SD-0024", false));
        store.abandon(stream);
        assert_eq!(store.length(stream).unwrap(), Some(5), "others' blocks lie among its own");
        assert_eq!(recall(&mut store, stream, 0, 5), b"12345");
    }
    rig.stop();
    assert_eq!(rig.names().len(), 2);
}

#[test]
fn what_a_driver_leaves_is_kept_as_far_as_it_came() {
    let mut rig = Rig::new();
    let bytes = noise(3, 5_000_000);
    let (left, given_up);
    {
        let mut store = rig.driver();
        (left, given_up) = (begin(&mut store), begin(&mut store));
        store.append(left, true, &bytes).unwrap();
        store.append(given_up, true, &bytes[..100]).unwrap();
        store.abandon(given_up);
    }
    let mut store = rig.driver();
    assert_eq!(store.length(left).unwrap(), Some(5_000_000), "asked while it is being saved");
    assert_eq!(store.length(given_up).unwrap(), Some(100));
    assert!(recall(&mut store, left, 0, bytes.len()) == bytes);
    assert_eq!(rig.service.as_ref().unwrap().abandoned(), 2);
    while rig.service.as_ref().unwrap().sessions().len() > 1 {
        thread::yield_now();
    }
    rig.stop();
}

#[test]
fn a_stale_token_is_told_and_nothing_is_stored() {
    let mut rig = Rig::new();
    let own = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap());
    let peer = Peer::connect(&rig.socket(), &[0, own]).unwrap();
    peer.send(&Hello::storage("a liar").to_bytes(), &[]).unwrap();
    let packet = peer.receive(Duration::from_secs(30)).unwrap().unwrap();
    let welcome = Welcome::from_bytes(&packet.bytes).unwrap().unwrap();
    assert_eq!(welcome.tokens.epoch, rig.engine.core().epoch.0);
    assert_eq!(welcome.store, rig.engine.core().store.0);
    let mut endpoint = Endpoint::accept(&welcome.offer, packet.fds).unwrap();
    let stale = Head { session: welcome.tokens.session ^ 1, number: 0, stream: 1 };
    endpoint.producer.try_push(APPEND, 0, &[&stale.to_bytes(), b"payload"]).unwrap();
    let (kind, begin) = Request::Begin { volume: VOLUME.0, about: Default::default() }.encode();
    endpoint.producer.try_push(kind, 0, &[&stale.to_bytes(), &begin]).unwrap();
    let mut text = Vec::new();
    loop {
        if let Some(mut incoming) = endpoint.consumer.take().unwrap() {
            incoming.append_to(&mut text);
            break;
        }
        thread::yield_now();
    }
    assert!(text.windows(ERR_STALE.len()).any(|part| part == ERR_STALE.as_bytes()), "{text:?}");
    rig.stop();
    assert!(rig.names().is_empty());
}

#[test]
fn another_version_and_one_session_too_many_are_refused_by_name() {
    let mut rig = Rig::new();
    rig.serve(Limits { sessions_max: 1, ..Limits::default() });
    let own = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap());
    for (version, purpose) in [(VERSION + 1, 1), (VERSION, 2)] {
        let peer = Peer::connect(&rig.socket(), &[0, own]).unwrap();
        let hello = Hello { version, purpose, program: "of another release".into() };
        peer.send(&hello.to_bytes(), &[]).unwrap();
        let packet = peer.receive(Duration::from_secs(30)).unwrap().unwrap();
        let refused = Welcome::from_bytes(&packet.bytes).unwrap().unwrap_err();
        assert!(refused.id == "GDD-SD-0028" && refused.fatal && packet.fds.is_empty(), "{refused}");
    }
    let error = RingStore::new(rig.socket(), vec![own + 1]).reachable().unwrap_err();
    assert!(error.id == "GDD-SD-0005" && error.remedy.contains("plugin.toml"), "{error}");
    let mut first = rig.driver();
    while first.reachable().is_err() {
        thread::yield_now(); // The one that was refused a moment ago.
    }
    let mut second = rig.driver();
    let error = second.reachable().unwrap_err();
    assert!(error.id == "GDD-SD-0030" && error.lost && error.remedy.contains("fewer devices"), "{error}");
    drop(first);
    while second.reachable().is_err() {
        thread::yield_now();
    }
    rig.stop();
}

#[test]
fn one_stream_too_many_is_refused_by_name_and_the_others_go_on() {
    let mut rig = Rig::new();
    rig.serve(Limits { streams_max: 2, ..Limits::default() });
    let mut store = rig.driver();
    let (first, second) = (begin(&mut store), begin(&mut store));
    let error = store.begin(VOLUME, SESSION, &About::default()).unwrap_err();
    assert_eq!((error.id, error.lost), ("GDD-SD-0034", false), "{error}");
    assert!(error.remedy.contains("Maximum Concurrent Jobs"), "{error}");
    store.append(first, true, b"first").unwrap();
    finish(&mut store, first, b"first");
    let third = begin(&mut store);
    store.append(third, true, b"third").unwrap();
    finish(&mut store, third, b"third");
    finish(&mut store, second, b"");
    rig.stop();
    assert_eq!(rig.names().len(), 3, "nothing is left of the one that was refused");
}

/// Runs a daemon for as long as its standard input is open: only when asked by the test below.
#[test]
fn daemon_of_its_own() {
    let Some(root) = std::env::var_os("GDD_TEST_DAEMON").map(PathBuf::from) else { return };
    let engine = Arc::new(Engine::open(&root.join("store"), Access::ReadWrite, &options()).unwrap());
    let service = StorageService::start(engine, &root.join("gdd.sock"), Limits::default()).unwrap();
    println!("\nserving");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    assert!(service.stop(Duration::from_secs(60)));
}

/// The other end of its output is kept, as it fails without.
fn spawn(root: &Path) -> (Child, impl Sized) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "daemon_of_its_own", "--nocapture"])
        .env("GDD_TEST_DAEMON", root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "serving"));
    (child, lines)
}

#[test]
fn a_daemon_that_is_killed_is_lost_and_its_successor_is_another() {
    let root = tempfile::tempdir().unwrap();
    Engine::init(&root.path().join("store"), &Settings::default(), &options()).unwrap();
    let (mut daemon, _output) = spawn(root.path());
    let mut store = driver(&root.path().join("gdd.sock"));
    let kept = round_trips(&mut store);
    let stream = begin(&mut store);
    let bytes = noise(9, 40_000_000);
    for part in bytes.chunks(64_000) {
        store.append(stream, true, part).unwrap();
    }
    let durable = store.durable(stream).unwrap();
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    let (mut successor, _output) = spawn(root.path());
    let error = store.append(stream, false, b"more").unwrap_err();
    assert!(error.lost, "{error}");
    let left = store.unreleased(stream).unwrap();
    assert!(left.offset >= durable);
    assert!(left.bytes == bytes[usize::try_from(left.offset).unwrap()..], "exactly the tail");
    assert!(store.durable(stream).unwrap_err().lost && store.finish(stream, 0, 0).unwrap_err().lost);
    let next = begin(&mut store);
    assert!(next != stream && store.append(stream, false, b"x").unwrap_err().lost);
    store.abandon(stream);
    assert_eq!(store.length(stream).unwrap(), None);
    assert_eq!(store.length(kept[0]).unwrap(), Some(30_000_000));
    store.append(next, true, b"next").unwrap();
    finish(&mut store, next, b"next");
    drop(store);
    drop(successor.stdin.take());
    assert!(successor.wait().unwrap().success());
}
