//! The first packets of a connection, on the control socket.
//!
//! The plugin sends a [`Hello`]. The daemon answers with a [`Welcome`] and two descriptors, or with a
//! [`Trouble`], and closes.

use crate::answer::Trouble;
use crate::limits::VERSION;
use crate::wire::{Malformed, Reader, put_text};

const HELLO: [u8; 8] = *b"gddHELLO";
const WELCOME: [u8; 8] = *b"gddWELCM";
const REFUSAL: [u8; 8] = *b"gddREFUS";

/// What a plugin connects for: storage mode. The number is on the wire.
pub const STORAGE: u32 = 1;

/// Who connects, and what for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Version of this conversation.
    pub version: u32,
    /// [`STORAGE`].
    pub purpose: u32,
    /// Program and version, for people.
    pub program: String,
}

/// Names one session of one life of one daemon. What is not all of this is stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Random, made when the daemon was started.
    pub boot: [u8; 16],
    /// The opening of the store, which is durable and never comes again.
    pub epoch: u32,
    /// Random, made for this connection.
    pub session: u64,
}

/// The daemon takes the plugin in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// To be repeated in every message.
    pub tokens: Tokens,
    /// The store's own name: volumes say to which store they belong.
    pub store: [u8; 16],
    /// The offer of a channel, of which memory and bell come along.
    pub offer: Vec<u8>,
}

impl Hello {
    /// Of this version.
    #[must_use]
    pub fn storage(program: &str) -> Self {
        Self { version: VERSION, purpose: STORAGE, program: program.to_owned() }
    }

    /// As a packet.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = HELLO.to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(self.purpose.to_le_bytes());
        put_text(&mut bytes, &self.program);
        bytes
    }

    /// From a packet. Another version is no error here: the daemon has to say so.
    ///
    /// # Errors
    /// It is none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = after(HELLO, bytes)?;
        let (version, purpose) = (reader.u32()?, reader.u32()?);
        let hello = Self { version, purpose, program: reader.text()? };
        reader.end().map(|()| hello)
    }
}

impl Welcome {
    /// As a packet.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = WELCOME.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(self.tokens.boot);
        bytes.extend(self.tokens.epoch.to_le_bytes());
        bytes.extend(self.tokens.session.to_le_bytes());
        bytes.extend(self.store);
        bytes.extend(&self.offer);
        bytes
    }

    /// The version of a daemon that took us in and speaks another one; what else it says is not for us.
    #[must_use]
    pub fn other_version(bytes: &[u8]) -> Option<u32> {
        let found = after(WELCOME, bytes).and_then(|mut reader| reader.u32()).ok()?;
        (found != VERSION).then_some(found)
    }

    /// The daemon's answer to a hello: taken in, or refused and why.
    ///
    /// # Errors
    /// It is neither.
    pub fn from_bytes(bytes: &[u8]) -> Result<Result<Self, Trouble>, Malformed> {
        if bytes.starts_with(&REFUSAL) {
            return Trouble::decode(after(REFUSAL, bytes)?.rest()).map(Err);
        }
        let mut reader = after(WELCOME, bytes)?;
        let version = reader.u32()?;
        if version != VERSION {
            return Err(Malformed::new("version of the daemon's answer", VERSION, version));
        }
        let tokens = Tokens { boot: reader.array()?, epoch: reader.u32()?, session: reader.u64()? };
        Ok(Ok(Self { tokens, store: reader.array()?, offer: reader.rest().to_vec() }))
    }
}

/// A refusal, as a packet.
#[must_use]
pub fn refusal(trouble: &Trouble) -> Vec<u8> {
    let mut bytes = REFUSAL.to_vec();
    trouble.encode(&mut bytes);
    bytes
}

fn after(magic: [u8; 8], bytes: &[u8]) -> Result<Reader<'_>, Malformed> {
    let mut reader = Reader(bytes);
    let found: [u8; 8] = reader.array()?;
    if found == magic {
        return Ok(reader);
    }
    Err(Malformed::new("start of a packet", String::from_utf8_lossy(&magic), found.escape_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn packets_come_back_and_cut_ones_do_not(
            program in "\\PC{0,50}", boot: [u8; 16], epoch: u32, session: u64, store: [u8; 16]
        ) {
            let hello = Hello::storage(&program);
            let bytes = hello.to_bytes();
            prop_assert_eq!(Hello::from_bytes(&bytes), Ok(hello));
            for len in 0..bytes.len() {
                prop_assert!(Hello::from_bytes(&bytes[..len]).is_err());
            }
            let welcome = Welcome { tokens: Tokens { boot, epoch, session }, store, offer: vec![1; 48] };
            prop_assert_eq!(Welcome::from_bytes(&welcome.to_bytes()), Ok(Ok(welcome)));
            let trouble = Trouble { id: program.clone(), text: "t".into(), remedy: "r".into(), fatal: true };
            prop_assert_eq!(Welcome::from_bytes(&refusal(&trouble)), Ok(Err(trouble)));
        }

        #[test]
        fn garbage_is_refused(bytes: Vec<u8>) {
            prop_assert!(Hello::from_bytes(&bytes).is_err());
            prop_assert!(Welcome::from_bytes(&bytes).is_err());
        }
    }

    #[test]
    fn another_version_is_seen_whatever_follows() {
        let tokens = Tokens { boot: [1; 16], epoch: 2, session: 3 };
        let mut bytes = Welcome { tokens, store: [4; 16], offer: Vec::new() }.to_bytes();
        assert_eq!(Welcome::other_version(&bytes), None);
        bytes[8] = 9;
        assert_eq!(Welcome::other_version(&bytes[..12]), Some(9));
        assert_eq!(Welcome::other_version(&bytes[..11]), None);
        assert!(Welcome::from_bytes(&bytes).is_err());
    }
}
