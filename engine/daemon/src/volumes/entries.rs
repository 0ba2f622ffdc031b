//! The entries of a volume's file, one after the other, as plugin/sd/FORMAT.md has them.
//!
//! The driver has its own reader; this one is under the licence of `gdd`, and wants only what a report needs. It reads
//! on behind damage, at the next group, and says that there was some: what stood between is not known.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::{HEADER_SIZE, Volume};

/// The first bytes of a group's body: what is looked for behind damage.
pub const GROUP_MAGIC: [u8; 8] = *b"GDDGROUP";
/// Starts a group.
pub const GROUP: u8 = 1;
/// Names a stream that blocks of the group refer to.
pub const STREAM: u8 = 2;
/// A parsed block.
pub const BLOCK: u8 = 3;
/// The receipt of a stream.
pub const END: u8 = 6;

/// Longest body of an entry.
const BODY_MAX: u64 = 40_000_000;
/// Kind and length before a body, at most; and the checksum behind it.
const LEAD_SIZE: usize = 11;
const CRC_SIZE: usize = 4;
/// Bytes between a group's entry and its magic: kind, and a length of one byte.
const BEFORE_MAGIC: u64 = 2;
const READ_SIZE: usize = 1 << 20;

/// An entry's kind and body.
pub type Entry<'a> = (u8, &'a [u8]);

/// See the module.
pub struct Entries<'a> {
    volume: &'a Volume,
    file: File,
    offset: u64,
    /// What was read, and where it stands in the file.
    window: Vec<u8>,
    start: u64,
    /// Where in the file the first damage is that entries follow.
    pub damaged: Option<u64>,
}

impl<'a> Entries<'a> {
    /// Of `volume`.
    ///
    /// # Errors
    /// Its file cannot be opened.
    pub fn open(volume: &'a Volume) -> io::Result<Self> {
        let file = File::open(&volume.path)?;
        Ok(Self { volume, file, offset: HEADER_SIZE as u64, window: Vec::new(), start: 0, damaged: None })
    }

    /// The next good entry; none at the end, or at a torn end.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn next(&mut self) -> io::Result<Option<Entry<'_>>> {
        loop {
            if let Some((kind, lead, body)) = self.take()? {
                let at = self.offset - self.start;
                self.offset += (lead + body + CRC_SIZE) as u64;
                let from = usize::try_from(at).unwrap_or(usize::MAX) + lead;
                return Ok(Some((kind, &self.window[from..from + body])));
            }
            let Some(group) = self.group_behind(self.offset)? else { return Ok(None) };
            self.damaged = self.damaged.or(Some(self.offset));
            self.offset = group;
        }
    }

    /// Kind, bytes before the body and bytes of the body of the entry here, if it is one.
    fn take(&mut self) -> io::Result<Option<(u8, usize, usize)>> {
        let lead = self.read(LEAD_SIZE)?;
        let Some((&kind, rest)) = lead.split_first() else { return Ok(None) };
        let Some((body, size)) = varint(rest).filter(|(body, _)| *body <= BODY_MAX) else { return Ok(None) };
        let (lead, body) = (1 + size, usize::try_from(body).unwrap_or(usize::MAX));
        let (id, offset) = (self.volume.id, self.offset);
        let bytes = self.read(lead + body + CRC_SIZE)?;
        let Some((covered, crc)) = bytes.split_at_checked(lead + body) else { return Ok(None) };
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&id);
        hasher.update(&offset.to_le_bytes());
        hasher.update(covered);
        Ok((crc == hasher.finalize().to_le_bytes()).then_some((kind, lead, body)))
    }

    /// Where the first group's entry behind `offset` stands.
    fn group_behind(&mut self, offset: u64) -> io::Result<Option<u64>> {
        let mut at = offset + 1;
        loop {
            self.offset = at;
            let bytes = self.read(READ_SIZE)?;
            let found = bytes.windows(GROUP_MAGIC.len()).position(|window| window == GROUP_MAGIC);
            let (len, found) = (bytes.len() as u64, found.map(|found| found as u64));
            match found {
                Some(found) => {
                    let group = (at + found).saturating_sub(BEFORE_MAGIC);
                    self.offset = group;
                    if group > offset && matches!(self.take()?, Some((GROUP, ..))) {
                        self.offset = offset;
                        return Ok(Some(group));
                    }
                    at += found + 1;
                }
                None if len < READ_SIZE as u64 => {
                    self.offset = offset;
                    return Ok(None);
                }
                None => at += len - (GROUP_MAGIC.len() as u64 - 1),
            }
        }
    }

    /// So many bytes from here on, or as many as there are.
    fn read(&mut self, size: usize) -> io::Result<&[u8]> {
        let has = |this: &Self| {
            let skip = this.offset.checked_sub(this.start).and_then(|skip| usize::try_from(skip).ok());
            skip.filter(|skip| skip.checked_add(size).is_some_and(|end| end <= this.window.len()))
        };
        if has(self).is_none() {
            self.window.resize(size.max(READ_SIZE), 0);
            self.start = self.offset;
            let mut len = 0;
            while len < self.window.len() {
                match self.file.read_at(&mut self.window[len..], self.start + len as u64)? {
                    0 => break,
                    count => len += count,
                }
            }
            self.window.truncate(len);
        }
        let skip = usize::try_from(self.offset - self.start).unwrap_or(usize::MAX);
        let rest = self.window.get(skip..).unwrap_or(&[]);
        Ok(&rest[..rest.len().min(size)])
    }
}

/// A number of seven bits per byte, low ones first, and its bytes.
#[must_use]
pub fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        let shift = 7 * u32::try_from(index).unwrap_or(u32::MAX);
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}
