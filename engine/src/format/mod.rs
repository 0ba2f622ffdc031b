//! The bytes on disk: pure codecs, one structure per file. FORMAT.md draws every layout once.
//!
//! # Invariants
//! - Bytes in, value or refusal out; no I/O. What comes from disk is refused with [`Error::Corrupt`] (file, offset,
//!   expected, found) or [`Error::Version`]; what we encode is asserted.
//! - Little-endian, offsets computed, totals asserted at compile time.
//! - Magic and version stand first, and the checksum of a header or trailer in its last four bytes, in every version
//!   to come: so a newer version is told from damage.
//! - Structures name what they belong to (store, container, offset), so that a good structure in a wrong place is
//!   refused too.

pub mod batch;
pub mod batch_view;
pub mod codec;
pub mod container;
pub mod epoch;
pub mod field;
pub mod footer;
pub mod recipe;
pub mod recipe_block;
pub mod recipe_trailer;
pub mod record;
pub mod superblock;
#[cfg(test)]
pub(crate) mod testing;

use std::path::Path;

use crate::error::{Error, Result};
use crate::limits::BLOCK_SIZE;

/// Size in bytes of every header, trailer and superblock.
pub const HEADER_SIZE: usize = 4096;
const _: () = assert!(HEADER_SIZE as u64 == BLOCK_SIZE);

/// Names one store, forever: drawn at random by `gdd init`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoreId(pub [u8; 16]);

impl std::fmt::Display for StoreId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for StoreId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// Where bytes were read from, for the refusal, and for checks of self-location.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The file.
    pub path: &'a Path,
    /// Byte offset of the structure in it.
    pub offset: u64,
}

impl<'a> Place<'a> {
    /// `offset` in `path`.
    #[must_use]
    pub fn new(path: &'a Path, offset: u64) -> Self {
        Self { path, offset }
    }

    /// `count` bytes further on in the same file.
    #[must_use]
    pub fn plus(self, count: usize) -> Self {
        Self { path: self.path, offset: self.offset.saturating_add(count as u64) }
    }

    /// A refusal of what lies here.
    pub fn refuse(&self, what: &'static str, expected: impl ToString, found: impl ToString) -> Error {
        Error::corrupt(self.path, self.offset, what, expected.to_string(), found.to_string())
    }

    /// Refuse unless `found` is what was `expected`.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn expect<T: PartialEq + std::fmt::Display>(
        &self,
        what: &'static str,
        expected: T,
        found: T,
    ) -> Result<()> {
        if expected == found { Ok(()) } else { Err(self.refuse(what, expected, found)) }
    }

    /// Refuse unless `holds`.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn require(
        &self,
        holds: bool,
        what: &'static str,
        expected: impl ToString,
        found: impl ToString,
    ) -> Result<()> {
        if holds { Ok(()) } else { Err(self.refuse(what, expected, found)) }
    }

    /// Refuse an unknown `found` version. Call after the checksum held: then it is a newer gdd's, not damage.
    ///
    /// # Errors
    /// [`Error::Version`].
    pub fn version(&self, known: u32, found: u32) -> Result<()> {
        if found == known {
            return Ok(());
        }
        Err(Error::Version { path: self.path.to_owned(), found, known })
    }
}

/// Write the CRC-32 of everything before the last four bytes of `block` into them.
pub(crate) fn seal(block: &mut [u8]) {
    let (body, crc) = block.split_last_chunk_mut::<4>().expect("a block is longer than its checksum");
    *crc = crc32fast::hash(body).to_le_bytes();
}

/// Check length and checksum of a block made by [`seal`].
pub(crate) fn check_block(block: &[u8], len: usize, what: &'static str, place: Place<'_>) -> Result<()> {
    place.expect(what, Bytes(len), Bytes(block.len()))?;
    let (body, crc) = block.split_last_chunk::<4>().expect("a block is longer than its checksum");
    place.expect(what, Crc(crc32fast::hash(body)), Crc(u32::from_le_bytes(*crc)))
}

/// A length in a refusal.
#[derive(PartialEq)]
pub(crate) struct Bytes(pub usize);

impl std::fmt::Display for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0)
    }
}

/// A checksum in a refusal.
#[derive(PartialEq)]
pub(crate) struct Crc(pub u32);

impl std::fmt::Display for Crc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CRC-32 {:08x}", self.0)
    }
}

/// A digest or other byte string in a refusal.
#[derive(PartialEq)]
pub(crate) struct Hex<'a>(pub &'a [u8]);

impl std::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
