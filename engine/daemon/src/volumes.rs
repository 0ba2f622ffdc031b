//! Which volumes of storage mode lie in a folder: the driver writes who a volume is into the header of its file.
//!
//! ```text
//! header, 64 bytes: magic "GDDVOLU1", u32 version, volume [16], store [16] (from version 2 on), zeros, u32 CRC-32 of all before; little-endian
//! ```

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use crate::failure::{Failure, Result};

const MAGIC: [u8; 8] = *b"GDDVOLU1";
/// The versions that the driver reads; it writes the last.
const VERSIONS: std::ops::RangeInclusive<u32> = 1..=2;
const HEADER_SIZE: usize = 64;
const CRC_AT: usize = HEADER_SIZE - 4;

/// The ids, in hex, of the volumes in `folder`. Files of others are left out, and so are empty ones.
///
/// # Errors
/// Something cannot be read, or a volume's header is damaged or of another version: nobody knows then which streams
/// are its.
pub fn in_folder(folder: &Path) -> Result<BTreeSet<String>> {
    let failed = |path: &Path, error: std::io::Error| Failure::Failed(format!("{}: {error}", path.display()));
    let mut ids = BTreeSet::new();
    for entry in fs::read_dir(folder).map_err(|error| failed(folder, error))? {
        let path = entry.map_err(|error| failed(folder, error))?.path();
        if !fs::metadata(&path).map_err(|error| failed(&path, error))?.is_file() {
            continue;
        }
        let mut header = Vec::new();
        let file = File::open(&path).map_err(|error| failed(&path, error))?;
        file.take(HEADER_SIZE as u64).read_to_end(&mut header).map_err(|error| failed(&path, error))?;
        if let Some(id) =
            id_of(&header).map_err(|why| Failure::Failed(format!("{}: {why}", path.display())))?
        {
            ids.insert(id);
        }
    }
    Ok(ids)
}

/// The id in the first bytes of a file, if they are a volume's.
fn id_of(bytes: &[u8]) -> std::result::Result<Option<String>, String> {
    if !bytes.starts_with(&MAGIC) {
        return Ok(None);
    }
    let Some(header) = bytes.first_chunk::<HEADER_SIZE>() else {
        return Ok(None); // It was not written whole: nothing is behind it.
    };
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let (expected, found) = (crc32fast::hash(&header[..CRC_AT]), word(CRC_AT));
    if expected != found {
        return Err(format!(
            "the header of this volume is damaged: expected CRC-32 {expected:08x}, found {found:08x}"
        ));
    }
    let version = word(MAGIC.len());
    if !VERSIONS.contains(&version) {
        return Err(format!("a volume of version {version}; this gdd knows {VERSIONS:?}"));
    }
    let id = &header[MAGIC.len() + 4..][..16];
    Ok(Some(id.iter().map(|byte| format!("{byte:02x}")).collect()))
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
        header_of(2)
    }

    #[test]
    fn a_volume_is_known_and_a_damaged_one_is_an_error() {
        for version in VERSIONS {
            assert_eq!(id_of(&header_of(version)), Ok(Some("ab".repeat(16))));
        }
        assert!(id_of(&header_of(3)).is_err());
        assert_eq!(id_of(b""), Ok(None));
        assert_eq!(id_of(b"BB02 and so on"), Ok(None));
        assert_eq!(id_of(&header()[..40]), Ok(None));
        for at in MAGIC.len()..HEADER_SIZE {
            let mut bytes = header();
            bytes[at] ^= 1;
            assert!(id_of(&bytes).is_err(), "byte {at}");
        }
    }
}
