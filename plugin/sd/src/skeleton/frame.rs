//! The header of a volume's file, and the frame around each entry.
//!
//! ```text
//! header, 64 bytes:  magic [8], u32 version, volume [16], store [16], zeros, u32 crc of all before
//! frame:             u8 kind, varint body_len, body, u32 crc of volume, u64 offset of the frame, kind, length and body
//! ```

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::bytes::{Cursor, VARINT_SIZE_MAX, put_varint};
use crate::limits::{ENTRY_BODY_MAX, READ_SIZE};
use crate::store::{StoreId, VolumeId};

/// The first bytes of every volume.
pub const MAGIC: [u8; 8] = *b"GDDVOLU1";
/// The version that is written.
pub const VERSION: u32 = 2;
/// The oldest that is read: it has zeros in the place of the store.
const VERSION_OLDEST: u32 = 1;
/// Bytes of the header, and offset of the first frame.
pub const HEADER_SIZE: usize = 64;

const VERSION_OFFSET: usize = MAGIC.len();
const VOLUME_OFFSET: usize = VERSION_OFFSET + size_of::<u32>();
const CRC_OFFSET: usize = HEADER_SIZE - size_of::<u32>();
const STORE_OFFSET: usize = VOLUME_OFFSET + size_of::<VolumeId>();
const _: () = assert!(STORE_OFFSET + size_of::<StoreId>() <= CRC_OFFSET);
/// In the place of a store that was not known when the volume was labelled.
const NO_STORE: [u8; 16] = [0; 16];

/// Bytes of a frame's checksum.
const CRC_SIZE: usize = size_of::<u32>();
/// Bytes before a frame's body, at most.
const LEAD_SIZE_MAX: usize = 1 + VARINT_SIZE_MAX;

/// The header's bytes; the store is absent when no daemon answered as the volume was labelled.
pub fn header(volume: VolumeId, store: Option<StoreId>) -> [u8; HEADER_SIZE] {
    let mut bytes = [0; HEADER_SIZE];
    bytes[..VERSION_OFFSET].copy_from_slice(&MAGIC);
    bytes[VERSION_OFFSET..VOLUME_OFFSET].copy_from_slice(&VERSION.to_le_bytes());
    bytes[VOLUME_OFFSET..STORE_OFFSET].copy_from_slice(&volume.0);
    let store = store.map_or(NO_STORE, |store| store.0);
    bytes[STORE_OFFSET..STORE_OFFSET + size_of::<StoreId>()].copy_from_slice(&store);
    let crc = crc32fast::hash(&bytes[..CRC_OFFSET]);
    bytes[CRC_OFFSET..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// What the start of a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// A header of ours, and the store that has its streams, where it says so.
    Volume(VolumeId, Option<StoreId>),
    /// A header that was not written whole, with nothing behind it: as good as empty.
    Torn,
    /// Ours, but of another version.
    Version(u32),
    /// Ours, with a wrong checksum: expected, found.
    Damaged(u32, u32),
    /// Somebody else's.
    Foreign,
}

/// Reads a file's start; `bytes` are its first ones, [`HEADER_SIZE`] or all that there are.
pub fn start(bytes: &[u8]) -> Start {
    let Some(bytes) = bytes.first_chunk::<HEADER_SIZE>() else {
        // Ours if it is the beginning of any header: magic and version stand first in all of them.
        let len = bytes.len().min(VOLUME_OFFSET);
        let begins = |version: u32| {
            let common = [MAGIC.as_slice(), &version.to_le_bytes()].concat();
            bytes[..len] == common[..len]
        };
        let torn = (VERSION_OLDEST..=VERSION).any(begins) || bytes.iter().all(|byte| *byte == 0);
        return if torn { Start::Torn } else { Start::Foreign };
    };
    let mut cursor = Cursor::new(&bytes[CRC_OFFSET..]);
    let (found, expected) = (cursor.u32().unwrap_or(0), crc32fast::hash(&bytes[..CRC_OFFSET]));
    let mut cursor = Cursor::new(bytes);
    if cursor.array() != Some(MAGIC) {
        return Start::Foreign;
    }
    let version = cursor.u32().unwrap_or(0);
    match (cursor.array(), cursor.array()) {
        _ if found != expected => Start::Damaged(expected, found),
        (Some(volume), Some(store)) if (VERSION_OLDEST..=VERSION).contains(&version) => {
            Start::Volume(VolumeId(volume), Some(StoreId(store)).filter(|store| store.0 != NO_STORE))
        }
        _ => Start::Version(version),
    }
}

/// Appends a frame that will stand at `offset` of the file.
pub fn put(out: &mut Vec<u8>, volume: VolumeId, offset: u64, kind: u8, body: &[u8]) {
    assert!(body.len() <= ENTRY_BODY_MAX, "an entry has at most ENTRY_BODY_MAX bytes");
    let start = out.len();
    out.push(kind);
    put_varint(out, body.len() as u64);
    out.extend_from_slice(body);
    let crc = checksum(volume, offset, &out[start..]);
    out.extend_from_slice(&crc.to_le_bytes());
}

fn checksum(volume: VolumeId, offset: u64, frame: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&volume.0);
    hasher.update(&offset.to_le_bytes());
    hasher.update(frame);
    hasher.finalize()
}

/// One frame, or why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framed<'a> {
    /// A good one, and its size in the file.
    Entry {
        /// What the body is.
        kind: u8,
        /// The body.
        body: &'a [u8],
        /// Bytes of the whole frame.
        size: u64,
    },
    /// The bytes end before the frame does; this many are needed to go on.
    Short(usize),
    /// No frame.
    Bad,
}

/// Bytes before the body, and bytes of the body.
fn lead(bytes: &[u8]) -> Result<(usize, usize), Framed<'static>> {
    let mut cursor = Cursor::new(bytes);
    let (Some(_), Some(body_len)) = (cursor.u8(), cursor.varint()) else {
        return Err(if bytes.len() < LEAD_SIZE_MAX { Framed::Short(LEAD_SIZE_MAX) } else { Framed::Bad });
    };
    let body_len = usize::try_from(body_len).ok().filter(|len| *len <= ENTRY_BODY_MAX).ok_or(Framed::Bad)?;
    Ok((bytes.len() - cursor.rest().len(), body_len))
}

/// Reads the frame at the start of `bytes`, which stand at `offset` of the file.
pub fn take(bytes: &[u8], volume: VolumeId, offset: u64) -> Framed<'_> {
    let (lead, body_len) = match lead(bytes) {
        Ok(sizes) => sizes,
        Err(framed) => return framed,
    };
    let size = lead + body_len + CRC_SIZE;
    let Some(frame) = bytes.get(..size) else { return Framed::Short(size) };
    let (covered, crc) = frame.split_at(lead + body_len);
    if Cursor::new(crc).u32() != Some(checksum(volume, offset, covered)) {
        return Framed::Bad;
    }
    Framed::Entry { kind: covered[0], body: &covered[lead..], size: size as u64 }
}

/// A window onto the file, for reading frame after frame.
#[derive(Debug, Default)]
pub struct Window {
    bytes: Vec<u8>,
    start: u64,
}

impl Window {
    /// Forgets what was read: the file may have changed.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// The frame at `offset`. [`Framed::Short`] means that the file ends in it, or right before it.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn frame(&mut self, file: &File, volume: VolumeId, offset: u64) -> io::Result<Framed<'_>> {
        self.have(file, offset, LEAD_SIZE_MAX)?;
        if let Ok((lead, body_len)) = lead(self.from(offset)) {
            self.have(file, offset, lead + body_len + CRC_SIZE)?;
        }
        Ok(take(self.from(offset), volume, offset))
    }

    /// Reads `size` bytes from `offset`, or as many as there are, unless they are here already.
    fn have(&mut self, file: &File, offset: u64, size: usize) -> io::Result<()> {
        if self.from(offset).len() < size {
            self.fill(file, offset, size)?;
        }
        Ok(())
    }

    /// What the window has from `offset` on.
    pub fn from(&self, offset: u64) -> &[u8] {
        offset
            .checked_sub(self.start)
            .and_then(|skip| usize::try_from(skip).ok())
            .and_then(|skip| self.bytes.get(skip..))
            .unwrap_or(&[])
    }

    /// Reads `needed` bytes or more from `offset`; whether the file has that many.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn fill(&mut self, file: &File, offset: u64, needed: usize) -> io::Result<bool> {
        self.bytes.resize(needed.max(READ_SIZE), 0);
        self.start = offset;
        let mut have = 0;
        while have < self.bytes.len() {
            match file.read_at(&mut self.bytes[have..], offset + have as u64) {
                Ok(0) => break,
                Ok(count) => have += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.bytes.clear();
                    return Err(error);
                }
            }
        }
        self.bytes.truncate(have);
        Ok(have >= needed)
    }
}
