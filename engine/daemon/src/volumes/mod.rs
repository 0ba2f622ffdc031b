//! Which volumes of storage mode lie in a folder: the driver writes who a volume is into the header of its file.
//!
//! ```text
//! header, 64 bytes: magic "GDDVOLU1", u32 version, volume [16], store [16] (from version 2 on), zeros,
//! u32 CRC-32 of all before; little-endian
//! ```
//!
//! # Invariants
//! - A file that was a volume is a volume or an error, whatever happened to its header: what is taken for somebody
//!   else's file would make orphans of a volume's streams.

mod blocks;
pub mod entries;
pub mod files;
pub mod references;
mod skeleton;

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Result};
use entries::GROUP_MAGIC;

const MAGIC: [u8; 8] = *b"GDDVOLU1";
/// The versions that the driver reads; it writes the last.
const VERSIONS: std::ops::RangeInclusive<u32> = 1..=2;
/// Bytes of the header, and offset of the first entry.
const HEADER_SIZE: usize = 64;
const CRC_AT: usize = HEADER_SIZE - 4;
/// Bytes of a file in which a group is looked for when its header is nobody's: the first one stands right behind it.
const LOOK_SIZE: usize = 1 << 20;

/// A volume's file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Volume {
    /// Where it is. Bacula calls the volume as its file.
    pub path: PathBuf,
    /// Who it is.
    pub id: [u8; 16],
}

impl Volume {
    /// Its id as it stands in the names of its streams.
    #[must_use]
    pub fn hex(&self) -> String {
        self.id.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What Bacula calls it.
    #[must_use]
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// The volumes in `folder`, by path. Files of others are left out, and so are empty ones.
///
/// # Errors
/// Something cannot be read, or a volume's header is damaged, cut or of another version: nobody knows then which
/// streams are its.
pub fn in_folder(folder: &Path) -> Result<Vec<Volume>> {
    let failed = |path: &Path, error: std::io::Error| Failure::Failed(format!("{}: {error}", path.display()));
    let mut volumes = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| failed(folder, error))? {
        let path = entry.map_err(|error| failed(folder, error))?.path();
        if !fs::metadata(&path).map_err(|error| failed(&path, error))?.is_file() {
            continue;
        }
        let mut start = Vec::new();
        let file = File::open(&path).map_err(|error| failed(&path, error))?;
        file.take(LOOK_SIZE as u64).read_to_end(&mut start).map_err(|error| failed(&path, error))?;
        match id_of(&start) {
            Ok(Some(id)) => volumes.push(Volume { path, id }),
            Ok(None) => {}
            Err(why) => {
                let remedy = "put the file's header right, or move a file that is no volume elsewhere";
                return Err(Failure::Failed(format!("{}: {why}; {remedy}", path.display())));
            }
        }
    }
    volumes.sort();
    Ok(volumes)
}

/// The id in the first bytes of a file, if they are a volume's.
fn id_of(bytes: &[u8]) -> std::result::Result<Option<[u8; 16]>, String> {
    let is_ours = bytes.starts_with(&MAGIC);
    let Some(header) = bytes.first_chunk::<HEADER_SIZE>() else {
        let is_begun = !bytes.is_empty() && MAGIC.starts_with(&bytes[..bytes.len().min(MAGIC.len())]);
        return match is_ours || is_begun {
            true => {
                Err(format!("the header of this volume is cut: expected 64 bytes, found {}", bytes.len()))
            }
            false => Ok(None),
        };
    };
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let found = word(CRC_AT);
    if !is_ours {
        return match foreign(bytes, header, found) {
            Some(why) => Err(format!("this was a volume, and its header is damaged: {why}")),
            None => Ok(None),
        };
    }
    let expected = crc32fast::hash(&header[..CRC_AT]);
    if expected != found {
        return Err(format!(
            "the header of this volume is damaged: expected CRC-32 {expected:08x}, found {found:08x}"
        ));
    }
    let version = word(MAGIC.len());
    if !VERSIONS.contains(&version) {
        return Err(format!("a volume of version {version}; this gdd knows {VERSIONS:?}"));
    }
    Ok(header[MAGIC.len() + 4..].first_chunk().copied())
}

/// Why a file without the magic must have had it; none for a file of somebody else.
fn foreign(bytes: &[u8], header: &[u8; HEADER_SIZE], found: u32) -> Option<&'static str> {
    let mut mended = *header;
    mended[..MAGIC.len()].copy_from_slice(&MAGIC);
    if crc32fast::hash(&mended[..CRC_AT]) == found {
        return Some("only its magic is wrong");
    }
    if bytes.windows(GROUP_MAGIC.len()).any(|window| window == GROUP_MAGIC) {
        return Some("entries of a volume follow");
    }
    header.iter().all(|byte| *byte == 0).then_some("it is all zeros")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header_of(version: u32) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(version.to_le_bytes());
        bytes.extend([0xab; 16]);
        bytes.resize(CRC_AT, 0);
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    fn header() -> Vec<u8> {
        header_of(*VERSIONS.end())
    }

    #[test]
    fn a_volume_is_known_and_a_damaged_one_is_an_error() {
        for version in VERSIONS {
            assert_eq!(id_of(&header_of(version)), Ok(Some([0xab; 16])));
        }
        assert!(id_of(&header_of(VERSIONS.end() + 1)).is_err());
        assert_eq!(id_of(b""), Ok(None));
        assert_eq!(id_of(b"BB02 and so on"), Ok(None));
        assert_eq!(id_of(&[b'x'; 100]), Ok(None));
        for at in 0..HEADER_SIZE {
            for bit in 0..8 {
                let mut bytes = header();
                bytes[at] ^= 1 << bit;
                assert!(id_of(&bytes).is_err(), "bit {bit} of byte {at}");
            }
        }
        for len in 1..HEADER_SIZE {
            assert!(id_of(&header()[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn a_volume_that_has_lost_its_header_is_an_error() {
        let behind = [b"\x01\x0aGDDGROUP\x00\x00....".as_slice(), &[0; 100]].concat();
        for lost in [vec![0; HEADER_SIZE], vec![0x5a; HEADER_SIZE]] {
            let why = id_of(&[lost, behind.clone()].concat()).unwrap_err();
            assert!(why.contains("entries of a volume follow"), "{why}");
        }
        assert!(id_of(&[0; HEADER_SIZE]).is_err(), "nobody can tell what a file of zeros was");
    }
}
