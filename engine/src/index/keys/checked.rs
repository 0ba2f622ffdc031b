//! When a container was last read from end to end, and what was found: what is read next, and what an operator trusts.
//!
//! A row that is lost, as when the index is rebuilt, costs one reading of the container.

use crate::error::Result;
use crate::format::Place;
use crate::format::field::Field;
use crate::ids::ContainerId;

use super::Kind;
use super::container::key;

/// Encoded size in bytes.
pub const SIZE: usize = 20;
const VERSION: u8 = 1;

const FRAME: Field<[u8; 2]> = Field::first();
const PAD: Field<[u8; 2]> = FRAME.then();
const BAD: Field<u32> = PAD.then();
const UNIX: Field<u64> = BAD.then();
const CRC: Field<u32> = UNIX.then();
const _: () = assert!(CRC.end() == SIZE);

/// What a scrub found in a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckedRow {
    /// When it was read: seconds since 1970.
    pub unix: u64,
    /// Things that were wrong with it.
    pub bad: u32,
}

impl CheckedRow {
    /// What a scrub would say of a container in which somebody else has met damage. When it was read is not known
    /// there; never is soonest to be read again.
    pub const MET_DAMAGE: Self = Self { unix: 0, bad: 1 };

    /// Encode the row of `id`.
    #[must_use]
    pub fn encode(&self, id: ContainerId) -> [u8; SIZE] {
        let mut value = [0; SIZE];
        BAD.put(&mut value, self.bad);
        UNIX.put(&mut value, self.unix);
        super::seal(Kind::Checked, VERSION, &key(id), &mut value);
        value
    }

    /// Decode the row of `id`.
    ///
    /// # Errors
    /// `Corrupt` when damaged or another container's; `Version`.
    pub fn decode(id: ContainerId, value: &[u8], place: Place<'_>) -> Result<Self> {
        super::check(Kind::Checked, VERSION, &key(id), value, SIZE, place)?;
        Ok(Self { unix: UNIX.get(value), bad: BAD.get(value) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::testing::{is_drawn, place, refuses_damage, rows};

    #[test]
    fn it_is_drawn() {
        is_drawn("Checked row", SIZE, &rows![frame: FRAME, pad: PAD, bad: BAD, unix: UNIX, crc: CRC]);
    }

    #[test]
    fn damage_is_refused() {
        let (id, row) = (ContainerId(7), CheckedRow { unix: 1_700_000_000, bad: 3 });
        let value = row.encode(id);
        assert_eq!(CheckedRow::decode(id, &value, place()).unwrap(), row);
        refuses_damage(&value, |value| CheckedRow::decode(id, value, place()));
        assert!(CheckedRow::decode(ContainerId(8), &value, place()).is_err(), "another container's");
    }
}
