//! The handshake: one message each way, after which both ends have the same session and the same keys, or no channel.
//!
//! ```text
//! client                                                    daemon
//!   hello: versions, key id (clear) | Noise 1: introduction -->
//!   <-- answer: version (clear) | Noise 2: welcome
//!   record 0: confirm -->                                      the session begins
//! ```
//!
//! Noise `NNpsk0`: fresh X25519 keys of both ends and the pre-shared key go into every key that follows. Who has the
//! file later cannot read what was recorded earlier, but for the introduction, which is sealed with the file's key
//! alone.
//!
//! # Invariants
//! - The clear part of the hello is Noise's prologue: who changes a byte of it, to have an older version or another key
//!   chosen, ends the handshake.
//! - The keys of the records are derived with the hash of the whole transcript. Two ends that saw different
//!   introductions, welcomes or versions have no key in common.
//! - The hello of another connection can be repeated to a daemon, which then answers. It has no session before the
//!   confirm, which only the owner of the ephemeral key can send: nothing is granted to, or charged for, a hello.
//! - A key id that the daemon does not have is checked against a decoy: the same work, the same silence as for a wrong
//!   key.
//!
//! What this does not do: tell clients that share a key file from each other. The names in an introduction are what a
//! holder of the key says.

mod connect;
mod initiator;
mod responder;

use std::fmt;

use zeroize::Zeroizing;

pub use connect::{Accepted, Channel, Connected, accept, connect};
pub use initiator::Initiator;
pub use responder::{Answer, refusal, respond};

use crate::codec::{Take, put_counted};
use crate::error::{Malformed, WireError};
use crate::key::KeyId;
use crate::limits::{HANDSHAKE_MESSAGE_SIZE_MAX, NAME_SIZE_MAX, VERSION_MAX, VERSION_MIN};
use crate::suite::{NOISE, hkdf_sha256};

const HELLO_MAGIC: &[u8; 8] = b"gddWIREc";
const ANSWER_MAGIC: &[u8; 8] = b"gddWIREd";
/// Bytes of a hello before its Noise message.
pub const HELLO_HEADER_SIZE: usize = 24;
/// Bytes of an answer before its Noise message.
pub const ANSWER_HEADER_SIZE: usize = 12;
/// In a hello: the sender is a client.
const ROLE_CLIENT: u8 = 1;
/// In a hello: the suite [`NOISE`]. There is no other.
const SUITE: u8 = 1;
/// Bytes of a key and a tag: what a Noise message has besides its payload.
const NOISE_OVERHEAD: usize = 32 + 16;

/// Which store a daemon serves: random, made with the store.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoreId(pub [u8; 16]);

/// Which connection: random, made by the daemon.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(pub [u8; 16]);

/// Which start of the daemon: random.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BootId(pub [u8; 16]);

macro_rules! print_as_hex {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    )*};
}
print_as_hex!(StoreId, SessionId, BootId);

/// What a client says about itself. Each at most [`NAME_SIZE_MAX`] bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Introduction {
    /// Its name in Bacula.
    pub client: String,
    /// Its job there.
    pub job: String,
    /// Name and version of the program, for people.
    pub program: String,
}

/// What a daemon says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its store.
    pub store: StoreId,
    /// This start of the daemon.
    pub boot: BootId,
    /// This opening of the store; durable, never comes again.
    pub epoch: u64,
    /// Name and version of the program, for people; at most [`NAME_SIZE_MAX`] bytes.
    pub program: String,
}

/// What both ends agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Of everything that follows.
    pub version: u16,
    /// This connection.
    pub id: SessionId,
    /// The daemon.
    pub daemon: Identity,
    /// SHA-256 of the transcript: public, and of no other connection.
    pub transcript: [u8; 32],
}

/// The keys of the records.
pub struct Keys {
    /// From client to daemon.
    pub up: Zeroizing<[u8; 32]>,
    /// From daemon to client.
    pub down: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

/// The clear part of a hello.
#[derive(Clone, Copy)]
struct HelloHeader {
    versions: (u16, u16),
    key: KeyId,
    len: usize,
}

impl HelloHeader {
    fn to_bytes(self) -> [u8; HELLO_HEADER_SIZE] {
        let mut bytes = [0; HELLO_HEADER_SIZE];
        bytes[..8].copy_from_slice(HELLO_MAGIC);
        bytes[8..10].copy_from_slice(&self.versions.0.to_le_bytes());
        bytes[10..12].copy_from_slice(&self.versions.1.to_le_bytes());
        bytes[12] = ROLE_CLIENT;
        bytes[13] = SUITE;
        bytes[14..22].copy_from_slice(&self.key.0);
        bytes[22..].copy_from_slice(&short(self.len).to_le_bytes());
        bytes
    }

    /// What a later version puts behind the version numbers is its own affair: they are looked at first.
    fn parse(bytes: &[u8; HELLO_HEADER_SIZE]) -> Result<Self, WireError> {
        let mut take = Take(bytes);
        magic("first bytes of a client", HELLO_MAGIC, take.array("magic")?)?;
        let theirs = (take.u16("version")?, take.u16("version")?);
        common_version(theirs)?;
        expect("role of a client", ROLE_CLIENT, take.u8("role")?)?;
        expect("suite", SUITE, take.u8("suite")?)?;
        let key = KeyId(take.array("key id")?);
        Ok(Self { versions: theirs, key, len: noise_len(take.u16("length")?)? })
    }
}

/// How many bytes follow the header of a hello.
///
/// # Errors
/// It is not a client of ours, or speaks no common version.
pub fn hello_len(header: &[u8; HELLO_HEADER_SIZE]) -> Result<usize, WireError> {
    HelloHeader::parse(header).map(|header| header.len)
}

/// How many bytes follow the header of an answer.
///
/// # Errors
/// It is no daemon of ours.
pub fn answer_len(header: &[u8; ANSWER_HEADER_SIZE]) -> Result<usize, WireError> {
    let mut take = Take(header);
    magic("first bytes of a daemon", ANSWER_MAGIC, take.array("magic")?)?;
    let (version, len) = (take.u16("version")?, take.u16("length")?);
    if version == 0 {
        expect("length of a refusal", 4, len)?;
        return Ok(4);
    }
    if !(VERSION_MIN..=VERSION_MAX).contains(&version) {
        let expected = format!("{VERSION_MIN} to {VERSION_MAX}, or 0");
        return Err(Malformed::new("version of the answer", expected, version).into());
    }
    Ok(noise_len(len)?)
}

/// The newest version that both ends speak.
fn common_version(theirs: (u16, u16)) -> Result<u16, WireError> {
    let ours = (VERSION_MIN, VERSION_MAX);
    let version = ours.1.min(theirs.1);
    if version < ours.0.max(theirs.0) { Err(WireError::Version { ours, theirs }) } else { Ok(version) }
}

fn noise_len(len: u16) -> Result<usize, Malformed> {
    let fits = (NOISE_OVERHEAD..=HANDSHAKE_MESSAGE_SIZE_MAX).contains(&usize::from(len));
    let expected = || format!("{NOISE_OVERHEAD} to {HANDSHAKE_MESSAGE_SIZE_MAX}");
    if fits { Ok(len.into()) } else { Err(Malformed::new("length of a Noise message", expected(), len)) }
}

fn magic(what: &'static str, expected: &[u8; 8], found: [u8; 8]) -> Result<(), Malformed> {
    if *expected == found {
        return Ok(());
    }
    let readable = |bytes: &[u8; 8]| bytes.escape_ascii().to_string();
    Err(Malformed::new(what, readable(expected), readable(&found)))
}

fn expect<T: PartialEq + fmt::Display>(what: &'static str, expected: T, found: T) -> Result<(), Malformed> {
    if expected == found { Ok(()) } else { Err(Malformed::new(what, expected, found)) }
}

fn short(len: usize) -> u16 {
    u16::try_from(len).expect("a Noise message is short")
}

impl Introduction {
    fn encode(&self) -> Result<Vec<u8>, Malformed> {
        let mut out = Vec::new();
        put_counted(&mut out, "name of the client", self.client.as_bytes(), NAME_SIZE_MAX)?;
        put_counted(&mut out, "name of the job", self.job.as_bytes(), NAME_SIZE_MAX)?;
        put_counted(&mut out, "name of the program", self.program.as_bytes(), NAME_SIZE_MAX)?;
        Ok(out)
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut take = Take(bytes);
        let client = take.text("name of the client", NAME_SIZE_MAX)?.to_owned();
        let job = take.text("name of the job", NAME_SIZE_MAX)?.to_owned();
        let program = take.text("name of the program", NAME_SIZE_MAX)?.to_owned();
        take.end("introduction")?;
        Ok(Self { client, job, program })
    }
}

/// What stands in the answer's Noise message.
struct Welcome {
    version: u16,
    id: SessionId,
    daemon: Identity,
}

impl Welcome {
    fn encode(&self) -> Result<Vec<u8>, Malformed> {
        let mut out = Vec::new();
        out.extend(self.version.to_le_bytes());
        out.extend(self.id.0);
        out.extend(self.daemon.store.0);
        out.extend(self.daemon.boot.0);
        out.extend(self.daemon.epoch.to_le_bytes());
        put_counted(&mut out, "name of the program", self.daemon.program.as_bytes(), NAME_SIZE_MAX)?;
        Ok(out)
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut take = Take(bytes);
        let version = take.u16("version")?;
        let id = SessionId(take.array("session")?);
        let store = StoreId(take.array("store")?);
        let boot = BootId(take.array("boot")?);
        let epoch = take.u64("epoch")?;
        let program = take.text("name of the program", NAME_SIZE_MAX)?.to_owned();
        take.end("welcome")?;
        Ok(Self { version, id, daemon: Identity { store, boot, epoch, program } })
    }
}

fn builder<'a>(psk: &'a [u8; 32], prologue: &'a [u8]) -> snow::Builder<'a> {
    let params = NOISE.parse().expect("snow knows the suite");
    let builder = snow::Builder::with_resolver(params, crate::suite::resolver());
    let builder = builder.psk(0, psk).expect("the place for the key is free");
    builder.prologue(prologue).expect("there is no prologue yet")
}

fn prologue(header: [u8; HELLO_HEADER_SIZE]) -> Vec<u8> {
    [&header, NOISE.as_bytes()].concat()
}

/// The keys of the records: Noise's own, bound once more to all that was said.
fn finish(noise: &mut snow::HandshakeState, welcome: Welcome) -> (Session, Keys) {
    let transcript: [u8; 32] = noise.get_handshake_hash().try_into().expect("SHA-256 has 32 bytes");
    let (up, down) = noise.dangerously_get_raw_split();
    let (split_up, split_down) = (Zeroizing::new(up), Zeroizing::new(down));
    let mut keys = Keys { up: Zeroizing::new([0; 32]), down: Zeroizing::new([0; 32]) };
    hkdf_sha256(&transcript, &*split_up, b"gdd wire 1 client to daemon", &mut *keys.up);
    hkdf_sha256(&transcript, &*split_down, b"gdd wire 1 daemon to client", &mut *keys.down);
    let Welcome { version, id, daemon } = welcome;
    (Session { version, id, daemon, transcript }, keys)
}
