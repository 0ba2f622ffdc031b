//! Which domain has brought which chunk: what a domain that sees only its own chunks may be told.
//!
//! A row says that somebody of the domain had the chunk's bytes at hand. It says nothing of whether the chunk is still
//! stored. A row that is lost, as when the index is rebuilt, costs the domain one more transfer of the chunk.

use crate::error::Result;
use crate::format::Place;
use crate::ids::{ChunkHash, DomainTag};

use super::{FRAME_SIZE, Kind};

/// Bytes of a key: the chunk's hash, then the domain's tag, so that the holders of a chunk lie together.
pub const KEY_SIZE: usize = 40;
const VERSION: u8 = 1;

/// A chunk that a domain has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holding {
    /// The chunk.
    pub hash: ChunkHash,
    /// Who brought it.
    pub domain: DomainTag,
}

impl Holding {
    /// The key of its row.
    #[must_use]
    pub fn key(&self) -> [u8; KEY_SIZE] {
        let mut key = [0; KEY_SIZE];
        key[..32].copy_from_slice(&self.hash.0);
        key[32..].copy_from_slice(&self.domain.0);
        key
    }

    /// The row: nothing but its frame.
    #[must_use]
    pub fn encode(&self) -> [u8; FRAME_SIZE] {
        let mut row = [0; FRAME_SIZE];
        super::seal(Kind::Holding, VERSION, &self.key(), &mut row);
        row
    }

    /// Check the row found under its key.
    ///
    /// # Errors
    /// `Corrupt` when damaged or another key's; `Version`.
    pub fn check(&self, row: &[u8], place: Place<'_>) -> Result<()> {
        super::check(Kind::Holding, VERSION, &self.key(), row, FRAME_SIZE, place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::testing::{place, refuses_damage};

    #[test]
    fn damage_is_refused() {
        let holding = Holding { hash: ChunkHash::of(b"a"), domain: DomainTag::of("site") };
        let row = holding.encode();
        refuses_damage(&row, |row| holding.check(row, place()));
        let other = Holding { domain: DomainTag::of("other"), ..holding };
        assert!(other.check(&row, place()).is_err(), "another domain's");
        assert_ne!(holding.key(), other.key());
    }
}
