//! Records: what the two ends send after the handshake.
//!
//! ```text
//! length u32 | kind u8 | length bytes, encrypted | tag 16
//! ```
//!
//! ChaCha20-Poly1305 under the key of the direction. The nonce is four zero bytes and the record's number as u64,
//! little-endian, as in Noise; it is never sent. The header is authenticated as additional data.
//!
//! # Invariants
//! - Number n opens as number n and as nothing else: a record that was lost, repeated or moved is an error where it is
//!   missing, repeated or moved.
//! - A number is used once under a key: keys are of one connection and one direction, and a sender that would come to
//!   [`RECORD_COUNT_MAX`] stops with an error.
//! - Nothing of a record is handed out before its tag was verified.

mod reader;
mod writer;

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce};

pub use reader::Reader;
pub use writer::Writer;

use crate::error::{Malformed, WireError};
use crate::limits::{RECORD_COUNT_MAX, RECORD_HEADER_SIZE, RECORD_PAYLOAD_MAX, RECORD_TAG_SIZE};
use crate::suite::aead_key;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The client's first: it has the keys. Empty.
    Confirm = 1,
    /// A message, or the last part of one. Not empty.
    Message = 2,
    /// A part of a message that goes on; always as long as a record can be.
    Part = 3,
    /// Nothing follows. Empty.
    End = 4,
}

impl Kind {
    fn from_byte(byte: u8) -> Result<Self, Malformed> {
        match byte {
            1 => Ok(Self::Confirm),
            2 => Ok(Self::Message),
            3 => Ok(Self::Part),
            4 => Ok(Self::End),
            other => Err(Malformed::new("kind of a record", "1 to 4", other)),
        }
    }
}

/// Seals the records of one direction, in place.
pub struct Sealer {
    key: LessSafeKey,
    number: u64,
}

impl Sealer {
    /// For record 0 and on. A key has one sealer in its life.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self { key: aead_key(key), number: 0 }
    }

    /// Appends a record to `out`; its payload is `head` and `tail`.
    ///
    /// # Errors
    /// There were as many records as one connection may have.
    ///
    /// # Panics
    /// The payload is longer than [`RECORD_PAYLOAD_MAX`].
    pub fn seal(&mut self, kind: Kind, head: &[u8], tail: &[u8], out: &mut Vec<u8>) -> Result<(), WireError> {
        let len = head.len() + tail.len();
        assert!(len <= RECORD_PAYLOAD_MAX, "a record's payload is bounded");
        let nonce = next_nonce(&mut self.number)?;
        let mut header = [0; RECORD_HEADER_SIZE];
        header[..4].copy_from_slice(&u32::try_from(len).expect("a bounded length").to_le_bytes());
        header[4] = kind as u8;
        out.reserve(RECORD_HEADER_SIZE + len + RECORD_TAG_SIZE);
        out.extend(header);
        let start = out.len();
        out.extend_from_slice(head);
        out.extend_from_slice(tail);
        let sealed = self.key.seal_in_place_separate_tag(nonce, Aad::from(header), &mut out[start..]);
        let tag = sealed.expect("the payload is far shorter than the cipher's bound");
        out.extend_from_slice(tag.as_ref());
        Ok(())
    }
}

/// Opens the records of one direction, in place.
pub struct Opener {
    key: LessSafeKey,
    number: u64,
}

impl Opener {
    /// For record 0 and on.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self { key: aead_key(key), number: 0 }
    }

    /// The kind and the payload's length, which nobody has authenticated yet.
    ///
    /// # Errors
    /// It is longer than a record may be, or of no known kind.
    pub fn header(header: [u8; RECORD_HEADER_SIZE]) -> Result<(Kind, usize), Malformed> {
        let [a, b, c, d, kind] = header;
        let len = u32::from_le_bytes([a, b, c, d]);
        let kind = Kind::from_byte(kind)?;
        let fits = usize::try_from(len).ok().filter(|len| match kind {
            Kind::Confirm | Kind::End => *len == 0,
            Kind::Message => (1..=RECORD_PAYLOAD_MAX).contains(len),
            Kind::Part => *len == RECORD_PAYLOAD_MAX,
        });
        let expected = || format!("1 to {RECORD_PAYLOAD_MAX}, all of it for a part, 0 for an end");
        fits.map(|len| (kind, len)).ok_or_else(|| Malformed::new("length of a record", expected(), len))
    }

    /// The payload of `body`, which is what followed the header: the encrypted bytes and the tag.
    ///
    /// # Errors
    /// It does not verify as the next record. The opener must not be used again.
    pub fn open<'a>(
        &mut self,
        header: [u8; RECORD_HEADER_SIZE],
        body: &'a mut [u8],
    ) -> Result<&'a mut [u8], WireError> {
        let number = self.number;
        let nonce = next_nonce(&mut self.number)?;
        let opened = self.key.open_in_place(nonce, Aad::from(header), body);
        opened.map_err(|_| WireError::Tampered { number })
    }
}

fn next_nonce(number: &mut u64) -> Result<Nonce, WireError> {
    if *number >= RECORD_COUNT_MAX {
        return Err(WireError::Exhausted(RECORD_COUNT_MAX));
    }
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&number.to_le_bytes());
    *number += 1;
    Ok(Nonce::assume_unique_for_key(nonce))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_number_is_used_and_no_more() {
        let mut sealer = Sealer { number: RECORD_COUNT_MAX - 1, ..Sealer::new(&[1; 32]) };
        let mut opener = Opener { number: RECORD_COUNT_MAX - 1, ..Opener::new(&[1; 32]) };
        let mut out = Vec::new();
        sealer.seal(Kind::Message, b"last", b"", &mut out).unwrap();
        let len = out.len();
        let error = sealer.seal(Kind::End, b"", b"", &mut out).unwrap_err();
        assert!(matches!(error, WireError::Exhausted(RECORD_COUNT_MAX)), "{error}");
        assert_eq!(out.len(), len, "nothing was sealed");
        let (header, body) = out.split_first_chunk_mut().unwrap();
        assert_eq!(opener.open(*header, body).unwrap(), b"last");
        let error = opener.open(*header, &mut [0; 16]).unwrap_err();
        assert!(matches!(error, WireError::Exhausted(_)), "{error}");
    }

    #[test]
    fn a_header_is_bounded_by_its_kind() {
        let header = |len: u32, kind: u8| {
            let [a, b, c, d] = len.to_le_bytes();
            Opener::header([a, b, c, d, kind])
        };
        let max = u32::try_from(RECORD_PAYLOAD_MAX).unwrap();
        for (len, kind) in [(0, 1), (1, 2), (max, 2), (max, 3), (0, 4)] {
            header(len, kind).unwrap();
        }
        for (len, kind) in [
            (1, 1),
            (0, 2),
            (max + 1, 2),
            (u32::MAX, 2),
            (0, 3),
            (max - 1, 3),
            (max + 1, 3),
            (1, 4),
            (0, 0),
            (0, 5),
            (0, 255),
        ] {
            header(len, kind).unwrap_err();
        }
    }
}
