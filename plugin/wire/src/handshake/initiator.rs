//! The client's side of the handshake, without a socket: bytes in, bytes out.

use super::{
    ANSWER_HEADER_SIZE, HelloHeader, Introduction, Keys, NOISE_OVERHEAD, Session, StoreId, Welcome,
    answer_len, builder, expect, finish, prologue,
};
use crate::codec::Take;
use crate::error::{Malformed, WireError};
use crate::key::Key;
use crate::limits::{HANDSHAKE_MESSAGE_SIZE_MAX, VERSION_MAX, VERSION_MIN};

/// A client that has said hello.
pub struct Initiator {
    noise: snow::HandshakeState,
}

impl Initiator {
    /// A hello, to be sent to the daemon.
    ///
    /// # Errors
    /// A name is too long, or there are no random numbers.
    pub fn start(key: &Key, introduction: &Introduction) -> Result<(Self, Vec<u8>), WireError> {
        let payload = introduction.encode()?;
        let len = NOISE_OVERHEAD + payload.len();
        let header = HelloHeader { versions: (VERSION_MIN, VERSION_MAX), key: key.id(), len }.to_bytes();
        let noise = builder(key.psk(), &prologue(header)).build_initiator();
        let mut noise = noise.map_err(|error| WireError::Random(error.to_string()))?;
        let mut message = [0; HANDSHAKE_MESSAGE_SIZE_MAX];
        let written = noise.write_message(&payload, &mut message);
        let written = written.map_err(|error| WireError::Random(error.to_string()))?;
        assert_eq!(written, len, "Noise adds a key and a tag");
        Ok((Self { noise }, [&header, &message[..len]].concat()))
    }

    /// The session, from all bytes of the answer.
    ///
    /// # Errors
    /// The daemon refused, is not the one that has the key, or serves another store than `expected`.
    pub fn finish(mut self, answer: &[u8], expected: Option<StoreId>) -> Result<(Session, Keys), WireError> {
        let whole = || Malformed::new("length of the answer", "a header and what it announces", answer.len());
        let (header, message) = answer.split_first_chunk::<ANSWER_HEADER_SIZE>().ok_or_else(whole)?;
        if message.len() != answer_len(header)? {
            return Err(whole().into());
        }
        let version = u16::from_le_bytes([header[8], header[9]]);
        if version == 0 {
            let mut take = Take(message);
            let theirs = (take.u16("version")?, take.u16("version")?);
            return Err(WireError::Version { ours: (VERSION_MIN, VERSION_MAX), theirs });
        }
        let mut payload = [0; HANDSHAKE_MESSAGE_SIZE_MAX];
        let len = self.noise.read_message(message, &mut payload);
        let len = len.map_err(|_| WireError::Unverified { what: "the daemon's answer" })?;
        let welcome = Welcome::decode(&payload[..len])?;
        expect("version in the welcome", version, welcome.version)?;
        let found = welcome.daemon.store;
        match expected {
            Some(expected) if expected != found => Err(WireError::Store { expected, found }),
            _ => Ok(finish(&mut self.noise, welcome)),
        }
    }
}
