//! Single values: what the index belongs to, and how the store was left.

use crate::error::Result;
use crate::format::Place;

use super::{FRAME_SIZE, Kind};

const VERSION: u8 = 1;

/// Names of single values. The numbers are on disk and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum MetaKey {
    /// The store that the index belongs to: 16 bytes. Written when the index is created.
    Store = 1,
    /// The epoch that was closed in order, 4 bytes little-endian; any other epoch was cut off.
    CleanEpoch = 2,
    /// When the vacuum last went through the whole store: seconds since 1970, 8 bytes little-endian.
    Vacuumed = 3,
    /// When the last scrub went through all containers that were due, in the same form.
    Scrubbed = 4,
    /// The epoch in which the index was made anew without its predecessor's marks, 4 bytes little-endian: what
    /// containers up to it hold counts as unknown until they are checked. Empty when all are.
    Unchecked = 5,
    /// How the daemon's last vacuum ended, for people: JSON.
    VacuumReport = 6,
    /// How the daemon's last scrub ended, in the same form.
    ScrubReport = 7,
    /// There, if chunks may lie in two containers, of which the chunk's row names one: what a container's directory
    /// lists is compared with the index before it counts as known. 1 byte.
    Twice = 8,
}

impl MetaKey {
    /// Every key.
    pub const ALL: [Self; 8] = [
        Self::Store,
        Self::CleanEpoch,
        Self::Vacuumed,
        Self::Scrubbed,
        Self::Unchecked,
        Self::VacuumReport,
        Self::ScrubReport,
        Self::Twice,
    ];

    /// The key of its row.
    #[must_use]
    pub fn key(self) -> [u8; 1] {
        [self as u8]
    }
}

/// Encode the row of `key`.
#[must_use]
pub fn encode(key: MetaKey, value: &[u8]) -> Vec<u8> {
    let mut row = vec![0; value.len() + FRAME_SIZE];
    row[2..2 + value.len()].copy_from_slice(value);
    super::seal(Kind::Meta, VERSION, &key.key(), &mut row);
    row
}

/// Decode the row of `key`.
///
/// # Errors
/// `Corrupt` when damaged or another key's; `Version`.
pub fn decode(key: MetaKey, row: &[u8], place: Place<'_>) -> Result<Vec<u8>> {
    super::check(Kind::Meta, VERSION, &key.key(), row, row.len().max(FRAME_SIZE), place)?;
    Ok(row[2..row.len() - 4].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::testing::{place, refuses_damage};
    use proptest::prelude::*;

    #[test]
    fn damage_is_refused() {
        let row = encode(MetaKey::Store, &[7; 16]);
        refuses_damage(&row, |row| decode(MetaKey::Store, row, place()));
        assert!(decode(MetaKey::CleanEpoch, &row, place()).is_err(), "another key's");
    }

    #[test]
    fn numbers_never_change() {
        assert_eq!(MetaKey::ALL.map(|key| key as u8), [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    proptest! {
        #[test]
        fn round_trip(value: Vec<u8>) {
            prop_assert_eq!(decode(MetaKey::Store, &encode(MetaKey::Store, &value), place()).unwrap(), value);
        }
    }
}
