#![expect(clippy::big_endian_bytes, reason = "Bacula's blocks are big-endian; what is ours is little-endian")]
//! Reading and writing integers: Bacula's, big-endian and of fixed size, and ours, little-endian or of variable size.
//!
//! A variable-size integer has seven bits per byte, low bits first, the top bit set in all bytes but the last (LEB128).
//! Signed differences are folded to unsigned ones first (0, -1, 1, -2 become 0, 1, 2, 3).

/// Bytes that a variable-size integer has at most.
pub const VARINT_SIZE_MAX: usize = 10;

/// Appends `value` as a variable-size integer.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7F) as u8);
}

/// Folds a difference, so that small ones of either sign become small numbers.
pub fn fold(value: i64) -> u64 {
    (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned()
}

/// The inverse of [`fold`].
pub fn unfold(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// Appends a big-endian word.
pub fn put_be32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends a big-endian double word.
pub fn put_be64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// The big-endian word at `at`.
pub fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|chunk| u32::from_be_bytes(*chunk))
}

/// The big-endian double word at `at`.
pub fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|chunk| u64::from_be_bytes(*chunk))
}

/// Takes integers and runs of bytes from the front of a slice; `None` when it is too short.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Starts at the first of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What was not taken yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `len` bytes.
    pub fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*taken)
    }

    /// One byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// A little-endian word.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// A little-endian double word.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A variable-size integer. One that does not fit 64 bits is no integer.
    pub fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..).step_by(7).take(VARINT_SIZE_MAX) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7F);
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A variable-size integer that fits 32 bits.
    pub fn varint32(&mut self) -> Option<u32> {
        self.varint().and_then(|value| value.try_into().ok())
    }

    /// A folded difference.
    pub fn difference(&mut self) -> Option<i64> {
        self.varint().map(unfold)
    }

    /// Bacula's big-endian word.
    pub fn be32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// Bytes up to a NUL, which is taken too.
    pub fn text(&mut self) -> Option<&'a [u8]> {
        let end = self.rest.iter().position(|byte| *byte == 0)?;
        let text = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn integers_come_back(value: u64, difference: i64, word: u32) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            prop_assert!(out.len() <= VARINT_SIZE_MAX);
            put_varint(&mut out, fold(difference));
            put_be32(&mut out, word);
            put_be64(&mut out, value);
            prop_assert_eq!(be32(&out, out.len() - 12), Some(word));
            prop_assert_eq!(be64(&out, out.len() - 8), Some(value));
            let mut cursor = Cursor::new(&out);
            prop_assert_eq!(cursor.varint(), Some(value));
            prop_assert_eq!(cursor.difference(), Some(difference));
            prop_assert_eq!(cursor.be32(), Some(word));
            prop_assert_eq!(cursor.rest().len(), 8);
        }

        #[test]
        fn any_bytes_are_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..24)) {
            let mut cursor = Cursor::new(&bytes);
            while cursor.varint().is_some() {}
            let mut cursor = Cursor::new(&bytes);
            while cursor.text().is_some() {}
            prop_assert!(!cursor.rest().contains(&0));
        }
    }

    #[test]
    fn an_integer_of_65_bits_is_none() {
        let mut bytes = [0xFF; 10];
        bytes[9] = 1;
        assert_eq!(Cursor::new(&bytes).varint(), Some(u64::MAX));
        bytes[9] = 2;
        assert_eq!(Cursor::new(&bytes).varint(), None);
        assert_eq!(Cursor::new(&[0x80; 11]).varint(), None);
        assert_eq!(Cursor::new(&bytes[..9]).varint(), None);
    }
}
