//! Hostile and dying drivers at a real daemon, while an honest one goes on: it gets its receipt, its data come back,
//! and of the others nothing is left in the daemon: no session, no descriptor, no mapping.
//!
//! The attackers are processes of their own: this test, started again with a role. What they do is drawn from a seed.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use gdd_link::request::{APPEND, About, Request};
use gdd_link::{Answer, Head, Hello, Welcome};
use gdd_ring::{Endpoint, Peer, PushError, Wanted};
use gdd_sd::block::SessionId;
use gdd_sd::store::ring::RingStore;
use gdd_sd::store::{Store, StreamId, VolumeId};
use rustix::process::{Pid, Signal, getpid, kill_process};
use support::{Place, random};
use twox_hash::XxHash3_128;

const ROLE: &str = "GDD_TEST_ATTACK";
const PATIENCE: Duration = Duration::from_secs(60);
/// Where counters and data lie in a channel: see the layout of gdd-ring.
const LINES: [u64; 8] = [128, 136, 256, 264, 4096 + 128, 4096 + 136, 4096 + 256, 4096 + 264];
const DATA: u64 = 65_536;

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

fn me() -> Vec<u32> {
    vec![0, rustix::process::geteuid().as_raw()]
}

/// An attacker that was taken in.
struct Attacker {
    peer: Peer,
    endpoint: Endpoint,
    session: u64,
    memory: File,
    written: u64,
}

impl Attacker {
    fn greet(socket: &Path) -> Self {
        let peer = Peer::connect(socket, &me()).unwrap();
        peer.send(&Hello::storage("an attacker").to_bytes(), &[]).unwrap();
        let packet = peer.receive(PATIENCE).unwrap().unwrap();
        let welcome = Welcome::from_bytes(&packet.bytes).unwrap().unwrap();
        let memory = File::from(packet.fds[0].try_clone().unwrap());
        let endpoint = Endpoint::accept(&welcome.offer, packet.fds).unwrap();
        Self { peer, endpoint, session: welcome.tokens.session, memory, written: 0 }
    }

    fn head(&self, number: u64, stream: u64) -> Head {
        Head { session: self.session, number, stream }
    }

    fn ask(&mut self, stream: u64, request: &Request) -> Result<u64, PushError> {
        let (kind, bytes) = request.encode();
        let head = self.head(1, stream).to_bytes();
        self.endpoint.producer.try_push(kind, 0, &[&head, &bytes])
    }

    /// A stream that was begun in honesty.
    fn begin(&mut self) -> u64 {
        let about = About { job: "attack".into(), job_name: "Attack".into(), ..About::default() };
        self.ask(0, &Request::Begin { volume: [9; 16], about }).unwrap();
        self.endpoint.wait(Wanted::MESSAGE, &self.peer, PATIENCE).unwrap();
        let mut incoming = self.endpoint.consumer.take().unwrap().unwrap();
        let (kind, mut bytes) = (incoming.message().kind, Vec::new());
        incoming.append_to(&mut bytes);
        let (head, rest) = Head::split(&bytes).unwrap();
        assert_eq!(Answer::decode(kind, rest).unwrap(), Answer::Done);
        head.stream
    }

    fn append(&mut self, stream: u64, len: usize, seed: u64) -> Result<u64, PushError> {
        let head = self.head(self.written, stream).to_bytes();
        self.written += len as u64;
        self.endpoint.producer.try_push(APPEND, 0, &[&head, &random(seed, len)])
    }

    /// One word of the channel becomes another one.
    fn scribble(&mut self, rng: &mut Rng) {
        let offset = match rng.below(3) {
            0 => LINES[usize::try_from(rng.below(8)).unwrap()],
            1 => DATA + rng.below(20) * 8,
            _ => DATA + rng.below(1 << 15) * 8,
        };
        let mut word = [0; 8];
        self.memory.read_exact_at(&mut word, offset).unwrap();
        let near = u64::from_le_bytes(word);
        let word = match rng.below(5) {
            0 => rng.next(),
            1 => near.wrapping_add(8 << rng.below(24)),
            2 => near.wrapping_sub(8 << rng.below(24)),
            3 => near ^ (1 << rng.below(64)),
            _ => u64::MAX - rng.below(32),
        };
        self.memory.write_all_at(&word.to_le_bytes(), offset).unwrap();
    }
}

/// Lies about places, records and counters, session after session.
fn scribble(socket: &Path, rng: &mut Rng) {
    for _ in 0..40 {
        let mut attacker = Attacker::greet(socket);
        let stream = attacker.begin();
        for _ in 0..rng.below(40) + 1 {
            if rng.below(2) == 0 {
                attacker.scribble(rng);
            }
            // What an own lie breaks on this side is no matter.
            let _ = attacker.append(stream, usize::try_from(rng.below(50_000)).unwrap(), rng.next());
        }
        let _ = attacker.ask(stream, &Request::Flush);
        (0..rng.below(4)).for_each(|_| attacker.scribble(rng));
        let _ = attacker.endpoint.wait(Wanted::MESSAGE, &attacker.peer, Duration::from_millis(rng.below(20)));
    }
}

/// Messages in good order that make no sense, and packets where none are wanted.
fn nonsense(socket: &Path, rng: &mut Rng) {
    for _ in 0..40 {
        let peer = Peer::connect(socket, &me()).unwrap();
        let mut hello = Hello::storage("nonsense").to_bytes();
        let at = usize::try_from(rng.below(hello.len() as u64)).unwrap();
        hello[at] ^= 1 << rng.below(8);
        hello.truncate(usize::try_from(rng.below(60) + 1).unwrap());
        let pipe = File::open("/dev/zero").unwrap();
        let _ = peer.send(&hello, &[pipe.as_fd(), pipe.as_fd()]);
        drop(peer);

        let mut attacker = Attacker::greet(socket);
        let stream = attacker.begin();
        for _ in 0..20 {
            let (kind, flags) = (u16::try_from(rng.below(12)).unwrap(), u16::try_from(rng.below(3)).unwrap());
            let stream = [stream, stream, rng.next(), 0][usize::try_from(rng.below(4)).unwrap()];
            let (head, body) = (attacker.head(rng.below(4), stream), random(rng.next(), 64));
            let len = usize::try_from(rng.below(64)).unwrap();
            let cut = if rng.below(8) == 0 { 7 } else { 24 };
            let _ =
                attacker.endpoint.producer.try_push(kind, flags, &[&head.to_bytes()[..cut], &body[..len]]);
        }
        if rng.below(2) == 0 {
            let _ = attacker.peer.send(b"and a packet", &[pipe.as_fd()]);
        }
        let _ = attacker.endpoint.wait(Wanted::MESSAGE, &attacker.peer, Duration::from_millis(rng.below(20)));
    }
}

/// Asks for everything and reads nothing, then is killed in the middle of a record that was never published. A child of
/// its own holds all that it had.
fn die(socket: &Path, rng: &mut Rng) {
    let mut attacker = Attacker::greet(socket);
    let stream = attacker.begin();
    for _ in 0..rng.below(200) + 20 {
        let _ = attacker.append(stream, 60_000, rng.next());
    }
    for _ in 0..200 {
        let _ = attacker.ask(1, &Request::Recall { offset: 0, length: u64::MAX });
        let _ = attacker.ask(stream, &Request::Length);
    }
    let held: Vec<OwnedFd> = [attacker.peer.as_fd(), attacker.endpoint.bell(), attacker.memory.as_fd()]
        .map(|fd| rustix::io::dup(fd).unwrap()) // Without close-on-exec.
        .into();
    let mut child =
        Command::new("sleep").arg("600").stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    println!("\nchild {}", child.id());
    std::io::stdout().flush().unwrap();
    drop(held);
    if let Ok(mut half) = attacker.endpoint.producer.reserve(20_000) {
        half.write(&random(rng.next(), 10_000));
        kill_process(getpid(), Signal::KILL).unwrap();
    }
    kill_process(getpid(), Signal::KILL).unwrap();
    child.wait().expect("not reached");
}

/// Only when the test below has started it.
#[test]
fn attacker() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let (role, socket) = role.split_once(' ').unwrap();
    let (role, seed) = role.split_at(1);
    let (socket, mut rng) = (PathBuf::from(socket), Rng(seed.parse().unwrap()));
    match role {
        "s" => scribble(&socket, &mut rng),
        "n" => nonsense(&socket, &mut rng),
        _ => die(&socket, &mut rng),
    }
}

fn attack(role: &str, socket: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "attacker", "--nocapture"]);
    command.env(ROLE, format!("{role} {}", socket.display())).stdout(Stdio::piped()).spawn().unwrap()
}

/// The child that an attacker left behind, to be killed at the end.
struct Orphan(Pid);

impl Orphan {
    fn of(output: ChildStdout) -> Self {
        let mut lines = BufReader::new(output).lines().map(Result::unwrap);
        let number = lines.find_map(|line| line.strip_prefix("child ")?.parse().ok()).unwrap();
        Self(Pid::from_raw(number).unwrap())
    }

    fn holds_a_channel(&self) -> bool {
        let open = fs::read_dir(format!("/proc/{}/fd", self.0.as_raw_nonzero())).unwrap();
        let mut targets = open.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
        targets.any(|target| target.to_string_lossy().contains("memfd:gdd-ring"))
    }
}

impl Drop for Orphan {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::KILL);
    }
}

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Daemon {
    /// Descriptors by kind, without those of the store's files, and mappings of channels.
    fn held(&self) -> BTreeMap<String, usize> {
        let proc = PathBuf::from(format!("/proc/{}", self.0.id()));
        let mut held = BTreeMap::new();
        for entry in fs::read_dir(proc.join("fd")).unwrap() {
            let Ok(target) = fs::read_link(entry.unwrap().path()) else { continue };
            let target = target.to_string_lossy().into_owned();
            if !target.starts_with('/') || target.starts_with("/memfd:") {
                let kind = target.split(':').next().unwrap().to_owned();
                *held.entry(if kind == "anon_inode" { target } else { kind }).or_default() += 1;
            }
        }
        let maps = fs::read_to_string(proc.join("maps")).unwrap();
        held.insert("maps".to_owned(), maps.lines().filter(|line| line.contains("memfd:gdd-ring")).count());
        held.insert("threads".to_owned(), fs::read_dir(proc.join("task")).unwrap().count());
        held
    }
}

fn service(place: &Place) -> serde_json::Value {
    place.ok(&["status", "--json"]).object()["services"]["storage"].clone()
}

fn sessions(place: &Place) -> usize {
    service(place)["sessions"].as_array().unwrap().len()
}

/// Wait until `done`; what it looked at is the message if that takes too long.
fn wait_until<T: std::fmt::Debug + PartialEq>(wanted: &T, mut look: impl FnMut() -> T) {
    let until = Instant::now() + PATIENCE;
    loop {
        let found = look();
        if found == *wanted {
            return;
        }
        assert!(Instant::now() < until, "expected {wanted:?}, found {found:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A stream of one honest driver, written part by part.
struct Honest {
    store: RingStore,
    stream: StreamId,
    bytes: Vec<u8>,
}

impl Honest {
    fn begin(socket: &Path) -> Self {
        let mut store = RingStore::new(socket.to_owned(), me());
        let about = gdd_sd::label::About { job: "honest".into(), ..Default::default() };
        let stream = store.begin(VolumeId([7; 16]), SessionId { id: 1, time: 2 }, &about).unwrap();
        Self { store, stream, bytes: Vec::new() }
    }

    fn go_on(&mut self) {
        let part = random(self.bytes.len() as u64, 60_000);
        self.store.append(self.stream, true, &part).unwrap();
        self.bytes.extend(part);
    }

    /// The receipt, and every byte back.
    fn end(mut self) {
        let (len, digest) = (self.bytes.len() as u64, XxHash3_128::oneshot(&self.bytes));
        let receipt = self.store.finish(self.stream, len, digest).unwrap();
        assert_eq!((receipt.bytes, receipt.digest), (len, digest));
        let mut back = vec![0; self.bytes.len()];
        for (at, part) in back.chunks_mut(60_000).enumerate() {
            self.store.recall(self.stream, at as u64 * 60_000, part).unwrap();
        }
        assert!(back == self.bytes);
    }
}

#[test]
fn an_honest_driver_finishes_among_hostile_ones_and_nothing_of_them_stays() {
    let place = Place::new();
    let log = File::create(place.join("log")).unwrap();
    let mut daemon = Daemon(place.command(&["serve"]).stderr(log).spawn().unwrap());
    let socket = place.join("gdd.sock.plugin");
    wait_until(&true, || socket.exists());
    // Once in peace, so that everything that is made only once is there.
    let mut warm = Honest::begin(&socket);
    (0..50).for_each(|_| warm.go_on());
    warm.end();
    wait_until(&0, || sessions(&place));
    let before = daemon.held();

    let mut honest = Honest::begin(&socket);
    let mut attackers: Vec<_> =
        ["s1", "s2", "n3", "n4", "d5", "d6"].iter().map(|role| (role, attack(role, &socket))).collect();
    let mut orphans = Vec::new();
    while !attackers.is_empty() {
        honest.go_on();
        thread::sleep(Duration::from_millis(2));
        attackers.retain_mut(|(role, child)| {
            let Some(status) = child.try_wait().unwrap() else { return true };
            let output = child.stdout.take().unwrap();
            if role.starts_with('d') {
                orphans.push(Orphan::of(output));
                assert!(!status.success(), "it was killed");
            } else {
                assert!(status.success(), "{role}: {status}");
            }
            false
        });
    }
    wait_until(&1, || sessions(&place));
    honest.end();
    wait_until(&0, || sessions(&place));
    assert!(orphans.len() == 2 && orphans.iter().all(Orphan::holds_a_channel), "they have what the dead had");
    // Less is held when something of the peaceful session was still on its way out before.
    let more = || -> Vec<_> {
        let held = daemon.held().into_iter();
        held.filter(|(what, count)| before.get(what).is_none_or(|before| count > before)).collect()
    };
    wait_until(&Vec::new(), more);
    assert!(service(&place)["abandoned"].as_u64().unwrap() > 10, "{}", service(&place));

    let id = Pid::from_child(&daemon.0);
    kill_process(id, Signal::TERM).unwrap();
    let status = daemon.0.wait().unwrap();
    let log = fs::read_to_string(place.join("log")).unwrap();
    assert!(status.success() && !log.contains("panicked"), "{status}\n{log}");
    for found in ["moved from", "message of session", "makes no sense", "speaks version", "has ended"] {
        assert!(log.contains(found), "no attack was noticed as {found:?}\n{log}");
    }
    place.ok(&["fsck"]);
}
