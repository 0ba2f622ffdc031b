//! The registry of what the index persists: one file per kind of row.
//!
//! # Invariants
//! - A kind's number and name are never changed or reused.
//! - Every value starts with its kind and version and ends with a CRC-32 over key and value, so that a row under a
//!   wrong key, or of a wrong kind, is refused like a damaged one.

pub mod checked;
pub mod chunk;
pub mod container;
pub mod holding;
pub mod meta;
pub mod recipe;
pub mod suspect;

use crate::error::Result;
use crate::format::Place;

/// Remedy for any damaged row, part of every refusal.
pub(crate) const REMEDY: &str = "run `gdd rebuild-index`";

/// A kind of row, each in a column family of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Chunk hash to [`chunk::ChunkEntry`].
    Chunk = 1,
    /// Container id, little-endian, to [`container::ContainerRow`].
    Container = 2,
    /// Stream name to [`recipe::RecipeRow`].
    Recipe = 3,
    /// Number of a [`meta::MetaKey`] to its value.
    Meta = 4,
    /// Chunk hash and domain of a [`holding::Holding`] to nothing.
    Holding = 5,
    /// Chunk hash to nothing: its stored copy is not to be relied on.
    Suspect = 6,
    /// Container id, little-endian, to [`checked::CheckedRow`].
    Checked = 7,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 7] =
        [Self::Chunk, Self::Container, Self::Recipe, Self::Meta, Self::Holding, Self::Suspect, Self::Checked];

    /// Its column family.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Chunk => "chunk",
            Self::Container => "container",
            Self::Recipe => "recipe",
            Self::Meta => "meta",
            Self::Holding => "holding",
            Self::Suspect => "suspect",
            Self::Checked => "checked",
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::Chunk => "chunk row (run `gdd rebuild-index`)",
            Self::Container => "container row (run `gdd rebuild-index`)",
            Self::Recipe => "stream row (run `gdd rebuild-index`)",
            Self::Meta => "meta row (run `gdd rebuild-index`)",
            Self::Holding => "holding row (run `gdd rebuild-index`)",
            Self::Suspect => "suspect row (run `gdd rebuild-index`)",
            Self::Checked => "checked row (run `gdd rebuild-index`)",
        }
    }
}

/// Bytes around a value's own: kind and version before it, checksum after it.
const FRAME_SIZE: usize = 6;

/// Put kind and version first and the checksum over `key` and value last. The value's own bytes lie between.
fn seal(kind: Kind, version: u8, key: &[u8], value: &mut [u8]) {
    value[0] = kind as u8;
    value[1] = version;
    let (body, crc) = value.split_last_chunk_mut::<4>().expect("a value is longer than its frame");
    *crc = checksum(key, body).to_le_bytes();
}

/// Check length, checksum, kind and version of a value found under `key`.
fn check(kind: Kind, version: u8, key: &[u8], value: &[u8], len: usize, place: Place<'_>) -> Result<()> {
    let what = kind.what();
    place.require(value.len() == len, what, format_args!("{len} bytes"), value.len())?;
    let (body, crc) = value.split_last_chunk::<4>().expect("a value is longer than its frame");
    place.require(checksum(key, body).to_le_bytes() == *crc, what, "a good checksum", "another")?;
    place.require(value[0] == kind as u8, what, kind as u8, value[0])?;
    place.version(u32::from(version), u32::from(value[1]))
}

fn checksum(key: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(body);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_never_change() {
        let registry = [
            (1, "chunk"),
            (2, "container"),
            (3, "recipe"),
            (4, "meta"),
            (5, "holding"),
            (6, "suspect"),
            (7, "checked"),
        ];
        assert_eq!(Kind::ALL.map(|kind| (kind as u8, kind.name())), registry);
        assert!(Kind::ALL.iter().all(|kind| kind.what().contains(REMEDY)));
    }
}
