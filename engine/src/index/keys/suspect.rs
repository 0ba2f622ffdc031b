//! Chunks whose stored copy could not be read or is not theirs: until they are stored again, they count as unknown.

use crate::error::Result;
use crate::format::Place;
use crate::ids::ChunkHash;

use super::{FRAME_SIZE, Kind};

const VERSION: u8 = 1;

/// The row of a chunk, under its hash: nothing but its frame.
#[must_use]
pub fn encode(hash: &ChunkHash) -> [u8; FRAME_SIZE] {
    let mut row = [0; FRAME_SIZE];
    super::seal(Kind::Suspect, VERSION, &hash.0, &mut row);
    row
}

/// The chunk that a row is about.
///
/// # Errors
/// `Corrupt` when the row is damaged or another key's; `Version`.
pub fn decode(key: &[u8], row: &[u8], place: Place<'_>) -> Result<ChunkHash> {
    super::check(Kind::Suspect, VERSION, key, row, FRAME_SIZE, place)?;
    let hash = key.try_into().map_err(|_| place.refuse("key of a suspect row", "32 bytes", key.len()))?;
    Ok(ChunkHash(hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::testing::{place, refuses_damage};

    #[test]
    fn damage_is_refused() {
        let (hash, other) = (ChunkHash::of(b"rotten"), ChunkHash::of(b"good"));
        let row = encode(&hash);
        assert_eq!(decode(&hash.0, &row, place()).unwrap(), hash);
        refuses_damage(&row, |row| decode(&hash.0, row, place()).map(drop));
        assert!(decode(&other.0, &row, place()).is_err(), "another chunk's");
    }
}
