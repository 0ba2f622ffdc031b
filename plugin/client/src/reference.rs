//! What the Bacula volume holds instead of a file's data: 120 bytes that name a place in a store and say what must
//! come back. The format is described in FORMAT.md. Who writes them and who reads them share this one codec.
//!
//! # Invariants
//! - Encoding is one to one: what decodes is byte for byte what was encoded.
//! - Nothing of a reference is believed before its checksum is right.

/// Bytes of a reference, whatever the file.
pub const SIZE: usize = 120;
/// Files of fewer bytes are left to Bacula: a reference would save nothing, and must not be as long as its file.
pub const FILE_SIZE_MIN: u64 = 512;
/// The version that is written.
pub const VERSION: u16 = 2;

/// What every reference begins with.
pub const MAGIC: [u8; 8] = *b"\x89GDDREF\n";
const END: [u8; 8] = *b"GDDEND\r\n";
/// Bytes that the checksum covers.
const COVERED: usize = 104;

/// The name of a store, random, made with it.
pub type StoreId = [u8; 16];
/// The name of a stream in its store.
pub type StreamId = [u8; 16];

/// Where a file begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The stream that has it.
    pub stream: StreamId,
    /// Its first byte there.
    pub offset: u64,
}

/// A file in a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference {
    /// The store.
    pub store: StoreId,
    /// The place in it.
    pub place: Place,
    /// Bytes that were read of the file.
    pub length: u64,
    /// Bytes that it had when the backup looked at it; another number when it changed meanwhile.
    pub stat_length: u64,
    /// BLAKE3 of what was read.
    pub digest: [u8; 32],
}

/// Why bytes are no reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAReference {
    /// Too few or too many bytes.
    #[error("expected {SIZE} bytes, found {0}")]
    Size(usize),
    /// Something else.
    #[error("expected a reference of gdd, found the bytes {0:02x?}")]
    Magic([u8; 8]),
    /// From the future.
    #[error("expected reference version {VERSION}, found {0}; upgrade gdd")]
    Version(u16),
    /// Changed since it was written.
    #[error("expected checksum {expected:02x?}, found {found:02x?}")]
    Checksum {
        /// Of the bytes.
        expected: [u8; 8],
        /// In the bytes.
        found: [u8; 8],
    },
    /// A field that has only one value has another.
    #[error("expected {0}")]
    Field(&'static str),
}

impl Reference {
    /// The bytes for the volume.
    #[must_use]
    pub fn encode(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        bytes[10] = u8::try_from(SIZE).unwrap_or(u8::MAX);
        bytes[16..32].copy_from_slice(&self.store);
        bytes[32..48].copy_from_slice(&self.place.stream);
        bytes[48..56].copy_from_slice(&self.place.offset.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.length.to_le_bytes());
        bytes[64..72].copy_from_slice(&self.stat_length.to_le_bytes());
        bytes[72..104].copy_from_slice(&self.digest);
        let sum = checksum(&bytes[..COVERED]);
        bytes[104..112].copy_from_slice(&sum);
        bytes[112..].copy_from_slice(&END);
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// When `bytes` are anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, NotAReference> {
        if bytes.len() >= 8 && bytes[..8] != MAGIC {
            return Err(NotAReference::Magic(part(bytes, 0)));
        }
        if bytes.len() >= 10 && u16::from_le_bytes(part(bytes, 8)) != VERSION {
            return Err(NotAReference::Version(u16::from_le_bytes(part(bytes, 8))));
        }
        if bytes.len() != SIZE {
            return Err(NotAReference::Size(bytes.len()));
        }
        let (expected, found) = (checksum(&bytes[..COVERED]), part(bytes, COVERED));
        if expected != found {
            return Err(NotAReference::Checksum { expected, found });
        }
        let place_end = u64::from_le_bytes(part(bytes, 48)).checked_add(u64::from_le_bytes(part(bytes, 56)));
        if place_end.is_none() {
            return Err(NotAReference::Field("an end of the file within 64 bits"));
        }
        if usize::from(bytes[10]) != SIZE || bytes[11..16] != [0; 5] {
            return Err(NotAReference::Field("the length 120 and five zero bytes after the version"));
        }
        if bytes[112..] != END {
            return Err(NotAReference::Field("the end mark in the last eight bytes"));
        }
        Ok(Self {
            store: part(bytes, 16),
            place: Place { stream: part(bytes, 32), offset: u64::from_le_bytes(part(bytes, 48)) },
            length: u64::from_le_bytes(part(bytes, 56)),
            stat_length: u64::from_le_bytes(part(bytes, 64)),
            digest: part(bytes, 72),
        })
    }
}

/// The first eight bytes of BLAKE3.
fn checksum(bytes: &[u8]) -> [u8; 8] {
    part(blake3::hash(bytes).as_bytes(), 0)
}

fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&bytes[at..at + N]);
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Reference {
        let place = Place { stream: [2; 16], offset: 1 << 40 };
        Reference { store: [1; 16], place, length: 70_000, stat_length: 70_001, digest: [3; 32] }
    }

    #[test]
    fn it_comes_back() {
        assert_eq!(Reference::decode(&sample().encode()), Ok(sample()));
        assert!((SIZE as u64) < FILE_SIZE_MIN);
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        for at in 0..SIZE {
            for bit in 0..8 {
                let mut bytes = sample().encode();
                bytes[at] ^= 1 << bit;
                assert!(Reference::decode(&bytes).is_err(), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn every_other_length_is_refused() {
        let mut bytes = sample().encode().to_vec();
        for length in 0..SIZE {
            assert!(Reference::decode(&bytes[..length]).is_err(), "{length} bytes");
        }
        bytes.push(0);
        assert_eq!(Reference::decode(&bytes), Err(NotAReference::Size(SIZE + 1)));
        let twice = [sample().encode(), sample().encode()].concat();
        assert_eq!(Reference::decode(&twice), Err(NotAReference::Size(2 * SIZE)));
    }

    #[test]
    fn fields_are_looked_at_behind_a_right_checksum() {
        for at in 8..16 {
            let mut bytes = sample().encode();
            bytes[at] ^= 1;
            let sum = checksum(&bytes[..COVERED]);
            bytes[COVERED..COVERED + 8].copy_from_slice(&sum);
            assert!(Reference::decode(&bytes).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_file_ends_within_64_bits() {
        let mut last = sample();
        last.place.offset = u64::MAX - last.length;
        assert_eq!(Reference::decode(&last.encode()), Ok(last));
        last.length += 1;
        assert!(matches!(Reference::decode(&last.encode()), Err(NotAReference::Field(_))));
    }
}
