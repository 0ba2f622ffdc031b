//! The daemon's side of the handshake, without a socket: bytes in, bytes out.

use super::{
    ANSWER_MAGIC, HELLO_HEADER_SIZE, HelloHeader, Identity, Introduction, Keys, NOISE_OVERHEAD, Session,
    SessionId, Welcome, builder, common_version, finish, prologue, short,
};
use crate::error::{Malformed, WireError};
use crate::key::{KeyId, KeyRing};
use crate::limits::{HANDSHAKE_MESSAGE_SIZE_MAX, VERSION_MAX, VERSION_MIN};

/// A daemon that has answered.
#[derive(Debug)]
pub struct Answer {
    /// To be sent to the client.
    pub bytes: Vec<u8>,
    /// The session, if the client confirms it.
    pub session: Session,
    /// The keys of its records.
    pub keys: Keys,
    /// What the client says about itself.
    pub introduction: Introduction,
    /// The domain that its key belongs to.
    pub domain: String,
    /// The key that it has.
    pub key: KeyId,
}

/// The answer to all bytes of a hello.
///
/// # Errors
/// It is not one, or its sender does not have the key that it names. Nothing is to be sent then, but for
/// [`WireError::Version`], where [`refusal`] is.
pub fn respond(hello: &[u8], ring: &KeyRing, identity: &Identity) -> Result<Answer, WireError> {
    let whole = || Malformed::new("length of the hello", "a header and what it announces", hello.len());
    let (header, message) = hello.split_first_chunk::<HELLO_HEADER_SIZE>().ok_or_else(whole)?;
    let HelloHeader { versions, key, len } = HelloHeader::parse(header)?;
    if message.len() != len {
        return Err(whole().into());
    }
    // From here to the end of `read_message` an unknown key, a wrong one and a changed message are the same work. It
    // has no multiplication on the curve: those come with the answer.
    let (domain, psk) = ring.select(key);
    let noise = builder(&psk, &prologue(*header)).build_responder();
    let mut noise = noise.map_err(|error| WireError::Random(error.to_string()))?;
    let mut payload = [0; HANDSHAKE_MESSAGE_SIZE_MAX];
    let read = noise.read_message(message, &mut payload);
    let (Ok(len), Some(domain)) = (read, domain) else { return Err(WireError::Denied { key }) };
    let introduction = Introduction::decode(&payload[..len])?;

    let mut id = SessionId([0; 16]);
    getrandom::fill(&mut id.0).map_err(|error| WireError::Random(error.to_string()))?;
    let welcome = Welcome { version: common_version(versions)?, id, daemon: identity.clone() };
    let payload = welcome.encode()?;
    let mut message = [0; HANDSHAKE_MESSAGE_SIZE_MAX];
    // The client's key may be a point of low order, which only a holder of the pre-shared key can send.
    let written = noise.write_message(&payload, &mut message).map_err(|_| WireError::Denied { key })?;
    assert_eq!(written, NOISE_OVERHEAD + payload.len(), "Noise adds a key and a tag");
    let bytes = [&answer_header(welcome.version, written), &message[..written]].concat();
    let (session, keys) = finish(&mut noise, welcome);
    Ok(Answer { bytes, session, keys, introduction, domain: domain.name.clone(), key })
}

/// What a client is told that speaks no common version. It is not authenticated.
#[must_use]
pub fn refusal() -> Vec<u8> {
    let versions = [VERSION_MIN.to_le_bytes(), VERSION_MAX.to_le_bytes()].concat();
    [answer_header(0, versions.len()).as_slice(), &versions].concat()
}

fn answer_header(version: u16, len: usize) -> [u8; super::ANSWER_HEADER_SIZE] {
    let mut header = [0; super::ANSWER_HEADER_SIZE];
    header[..8].copy_from_slice(ANSWER_MAGIC);
    header[8..10].copy_from_slice(&version.to_le_bytes());
    header[10..].copy_from_slice(&short(len).to_le_bytes());
    header
}
