//! Both ends of a channel, in one process or in two, and payloads that can be told apart.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::env;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use gdd_ring::{Endpoint, Listener, Offer, Peer, PushError, WaitError, Wanted, Woken};

/// Data bytes of each ring: the fewest that are allowed, so that wraps are near.
pub const CAPACITY: u64 = gdd_ring::limits::CAPACITY_MIN;
pub const TOKEN: u64 = 0x0123_4567_89ab_cdef;
/// Longer than anything here takes; who waits that long has found a hang.
pub const PATIENCE: Duration = Duration::from_secs(60);

const ROLE: &str = "GDD_RING_TEST_SOCKET";

pub fn offer() -> Offer {
    Offer { capacity_up: CAPACITY, capacity_down: CAPACITY, generation: 3, token: TOKEN }
}

/// Both ends in this process, and the memory as a file through which anyone can scribble.
pub struct Pair {
    pub daemon: Endpoint,
    pub plugin: Endpoint,
    pub memory: File,
}

pub fn pair() -> Pair {
    let (daemon, handover) = Endpoint::create(offer()).expect("a channel");
    let fds: Vec<OwnedFd> =
        handover.fds().iter().map(|fd| fd.try_clone_to_owned().expect("a descriptor is left")).collect();
    let memory = File::from(fds[0].try_clone().expect("a descriptor is left"));
    let plugin = Endpoint::accept(&handover.bytes(), fds).expect("our own channel");
    Pair { daemon, plugin, memory }
}

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): what is random comes from a seed.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Below `bound`, as an index or a length.
    pub fn index(&mut self, bound: u64) -> usize {
        usize::try_from(self.below(bound)).expect("bounds are small here")
    }
}

/// The payload of message `seq`: its length and bytes follow from its number.
pub fn payload(seq: u64) -> Vec<u8> {
    let mut rng = Rng(seq);
    let length = match rng.below(8) {
        0 => 0,
        1 => gdd_ring::limits::payload_size_max(CAPACITY),
        2 => rng.below(9),
        _ => rng.below(3000),
    };
    (0..length).map(|index| (index + seq * 7).to_le_bytes()[0]).collect()
}

/// Send message `seq`, waiting for room. `false` when the peer is gone; anything else that goes wrong ends the test.
pub fn push(endpoint: &mut Endpoint, peer: &Peer, seq: u64) -> bool {
    let payload = payload(seq);
    loop {
        match endpoint.producer.try_push(seq.to_le_bytes()[0].into(), 0, &[&payload]) {
            Ok(sent) => {
                assert_eq!(sent, seq);
                return true;
            }
            Err(error) => assert!(matches!(error, PushError::Full { .. }), "{error}"),
        }
        let room = Wanted::room(u32::try_from(payload.len()).expect("small"));
        match endpoint.wait(room, peer, PATIENCE) {
            Ok(woken) => assert_eq!(woken, Woken::Ready),
            Err(WaitError::Gone(_)) => return false,
            Err(error) => unreachable!("{error}"),
        }
    }
}

/// Send messages until the peer is gone.
pub fn stream(socket: &Path) {
    let (mut endpoint, peer) = connect(socket);
    let mut seq = 0;
    while push(&mut endpoint, &peer, seq) {
        seq += 1;
    }
}

/// Take the next message, which must be what `push` sent as `seq`; `false` if there is none now.
pub fn take(endpoint: &mut Endpoint, seq: u64) -> bool {
    let Some(mut incoming) = endpoint.consumer.take().expect("an honest peer") else { return false };
    let message = incoming.message();
    assert_eq!((message.seq, message.kind), (seq, u16::from(seq.to_le_bytes()[0])));
    let mut bytes = Vec::new();
    incoming.append_to(&mut bytes);
    assert!(bytes == payload(seq), "message {seq} came as something else");
    true
}

/// In the other process of a test: the socket to connect to or to listen at.
pub fn other_role() -> Option<PathBuf> {
    env::var_os(ROLE).map(PathBuf::from)
}

/// A second process that runs the test `name` again, where `other_role` says so. Killed when dropped.
pub struct Other(pub Child);

impl Other {
    pub fn start(name: &str, socket: &Path) -> Self {
        let mut command = Command::new(env::current_exe().expect("a test has a program"));
        command.args([name, "--exact", "--nocapture"]).env(ROLE, socket).stdout(Stdio::null());
        Self(command.spawn().expect("a test can run itself"))
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.0.id()).ok().and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(pid.expect("a child has a number"), signal).expect("our own child");
    }

    /// Wait for its end, which must be a good one.
    pub fn finish(mut self) {
        let status = self.0.wait().expect("our own child");
        assert!(status.success(), "the other process: {status}");
    }

    pub fn kill(&mut self) {
        self.signal(rustix::process::Signal::KILL);
        self.0.wait().expect("our own child");
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn me() -> [u32; 1] {
    [rustix::process::getuid().as_raw()]
}

/// The daemon's end of a fresh session with whoever connects next.
pub fn serve(listener: &Listener) -> (Endpoint, Peer) {
    let peer = listener.accept(&me()).expect("a peer of our own user");
    let (endpoint, handover) = Endpoint::create(offer()).expect("a channel");
    handover.send(&peer).expect("a peer that listens");
    (endpoint, peer)
}

/// The plugin's end, of a daemon that listens or will soon.
pub fn connect(socket: &Path) -> (Endpoint, Peer) {
    let deadline = Instant::now() + PATIENCE;
    let peer = loop {
        match Peer::connect(socket, &me()) {
            Ok(peer) => break peer,
            Err(refused) => assert!(Instant::now() < deadline, "{refused}"),
        }
        thread::sleep(Duration::from_millis(1));
    };
    let packet = peer.receive(PATIENCE).expect("a daemon that lives").expect("an offer");
    (Endpoint::accept(&packet.bytes, packet.fds).expect("an honest offer"), peer)
}
