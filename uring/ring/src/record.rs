//! The three words before each payload, see layout.rs.

use crate::error::Violation;
use crate::limits::{HEADER_SIZE, UNIT_SIZE};
use crate::memory::Area;

/// Bytes that a payload of `length` bytes takes in the ring.
pub(crate) const fn record_size(length: u32) -> u64 {
    (HEADER_SIZE + length as u64).next_multiple_of(UNIT_SIZE)
}

/// What a producer says of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub length: u32,
    pub kind: u16,
    pub flags: u16,
    pub token: u64,
    pub seq: u64,
}

impl Record {
    /// Write the header of a record at `place`.
    pub(crate) fn store(&self, data: &Area, place: u64) {
        let first = u64::from(self.length) | u64::from(self.kind) << 32 | u64::from(self.flags) << 48;
        for (place, word) in places(place).into_iter().zip([first, self.token, self.seq]) {
            data.store(place, word);
        }
    }

    /// Read the header of the record at `place`, once: what comes back is private.
    pub(crate) fn load(data: &Area, place: u64) -> Self {
        let [first, token, seq] = places(place).map(|place| data.load(place));
        #[expect(clippy::cast_possible_truncation, reason = "takes the word apart")]
        let (length, kind, flags) = (first as u32, (first >> 32) as u16, (first >> 48) as u16);
        Self { length, kind, flags, token, seq }
    }

    /// Refuse a header that no honest producer of this session can have published within `unread` bytes.
    pub(crate) fn check(&self, expected: &Expected, unread: u64) -> Result<(), Violation> {
        let (length, max) = (u64::from(self.length), expected.length_max);
        if length > max {
            return Err(Violation::Length { found: length, max });
        }
        if record_size(self.length) > unread {
            return Err(Violation::Torn { found: unread, expected: record_size(self.length) });
        }
        if self.token != expected.token {
            return Err(Violation::Token { found: self.token, expected: expected.token });
        }
        if self.seq != expected.seq {
            return Err(Violation::Sequence { found: self.seq, expected: expected.seq });
        }
        Ok(())
    }
}

/// What a consumer knows of the next record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub length_max: u64,
    pub token: u64,
    pub seq: u64,
}

fn places(place: u64) -> [u64; 3] {
    [0, 1, 2].map(|index| place.wrapping_add(index * UNIT_SIZE))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPECTED: Expected = Expected { length_max: 100, token: 5, seq: 9 };
    const GOOD: Record = Record { length: 100, kind: u16::MAX, flags: 3, token: 5, seq: 9 };

    #[test]
    fn a_header_is_refused_for_the_first_thing_that_is_wrong_with_it() {
        assert_eq!(GOOD.check(&EXPECTED, 128), Ok(()));
        let long = Record { length: 101, ..GOOD };
        assert_eq!(long.check(&EXPECTED, 128), Err(Violation::Length { found: 101, max: 100 }));
        let endless = Record { length: u32::MAX, ..GOOD };
        assert!(matches!(endless.check(&EXPECTED, u64::MAX), Err(Violation::Length { .. })));
        assert_eq!(GOOD.check(&EXPECTED, 120), Err(Violation::Torn { found: 120, expected: 128 }));
        let stale = Record { token: 6, ..GOOD };
        assert_eq!(stale.check(&EXPECTED, 128), Err(Violation::Token { found: 6, expected: 5 }));
        let again = Record { seq: 8, ..GOOD };
        assert_eq!(again.check(&EXPECTED, 128), Err(Violation::Sequence { found: 8, expected: 9 }));
    }

    #[test]
    fn records_take_whole_units() {
        assert_eq!([0, 1, 8, 9].map(record_size), [24, 32, 32, 40]);
        assert_eq!(record_size(u32::MAX), 24 + (1 << 32));
    }
}
