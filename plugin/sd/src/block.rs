//! The header of a Bacula block: BB01 (historic), BB02 (9.6, 13.0) and BB03 (15.0).
//!
//! All integers are big-endian. A header is taken apart and put together again, never computed: the checksum that
//! Bacula wrote is kept as it is, so that a block comes back with the same bytes whether checksums are on or off.
//!
//! ```text
//! BB01, 16 bytes:  u32 checksum, u32 block_len, u32 number, "BB01"
//! BB02, 24 bytes:  u32 checksum, u32 block_len, u32 number, "BB02", u32 VolSessionId, u32 VolSessionTime
//! BB03, 32 bytes:  u32 options,  u32 block_len, u32 number, "BB03", u32 VolSessionId, u32 VolSessionTime, u64 checksum
//! ```

use crate::bytes::{be32, be64, put_be32, put_be64};

/// What one job's run is called on volumes: VolSessionId and VolSessionTime. Unique for each start of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SessionId {
    /// VolSessionId: counts the jobs since the daemon was started.
    pub id: u32,
    /// VolSessionTime: when the daemon was started, in seconds since 1970.
    pub time: u32,
}

/// The kinds of block that are understood. The numbers are persistent: they stand in skeleton entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Before 1.27: every record has its own session.
    Bb01 = 1,
    /// One session per block.
    Bb02 = 2,
    /// With options and a checksum of 64 bits.
    Bb03 = 3,
}

impl Kind {
    /// Bytes of a block's header.
    pub const fn header_size(self) -> usize {
        match self {
            Self::Bb01 => 16,
            Self::Bb02 => 24,
            Self::Bb03 => 32,
        }
    }

    /// Bytes of a record's header.
    pub const fn record_header_size(self) -> usize {
        match self {
            Self::Bb01 => 20,
            Self::Bb02 | Self::Bb03 => 12,
        }
    }

    /// The kind with this persistent number.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Bb01, Self::Bb02, Self::Bb03].into_iter().find(|kind| *kind as u8 == number)
    }

    fn magic(self) -> &'static [u8; 4] {
        match self {
            Self::Bb01 => b"BB01",
            Self::Bb02 => b"BB02",
            Self::Bb03 => b"BB03",
        }
    }
}

/// Why a block is stored verbatim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unparsed {
    /// No magic that we know.
    #[error("an unknown kind of block")]
    Magic,
    /// The length in the header is not the length of the block.
    #[error("a block whose length is not what its header says")]
    Length,
    /// The SD encrypts this volume.
    #[error("a block that the storage daemon encrypted")]
    Encrypted,
    /// What follows the header is no sequence of records.
    #[error("a block with records that make no sense")]
    Records,
    /// Records of several sessions in one block, which only BB01 could have.
    #[error("a block with records of several sessions")]
    Sessions,
    /// The entry that was made of it did not give the same bytes again.
    #[error("a block that could not be rebuilt exactly")]
    Inexact,
}

/// Options of BB03: the records of this block are encrypted.
const OPTION_ENCRYPTED: u32 = 4;
/// Where the magic stands, in all kinds.
const MAGIC_OFFSET: usize = 12;

/// A block's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Which of the three.
    pub kind: Kind,
    /// BB03 only, else 0.
    pub options: u32,
    /// As Bacula wrote it, also when it is wrong.
    pub checksum: u64,
    /// Bytes of the whole block.
    pub block_len: u32,
    /// BlockNumber.
    pub number: u32,
    /// Whose records these are. BB01 says so in the records: then this is the first one's, `None` without any.
    pub session: Option<SessionId>,
}

impl Header {
    /// Reads the header of `block`, which is one whole block.
    ///
    /// # Errors
    /// When it is none of ours.
    pub fn parse(block: &[u8]) -> Result<Self, Unparsed> {
        let magic = block.get(MAGIC_OFFSET..MAGIC_OFFSET + 4).ok_or(Unparsed::Magic)?;
        let kind = [Kind::Bb01, Kind::Bb02, Kind::Bb03]
            .into_iter()
            .find(|kind| kind.magic() == magic)
            .ok_or(Unparsed::Magic)?;
        let word = |at| be32(block, at).ok_or(Unparsed::Length);
        let (first, block_len, number) = (word(0)?, word(4)?, word(8)?);
        if block_len as usize != block.len() || block.len() < kind.header_size() {
            return Err(Unparsed::Length);
        }
        let (options, checksum) = match kind {
            Kind::Bb03 => (first, be64(block, 24).ok_or(Unparsed::Length)?),
            Kind::Bb01 | Kind::Bb02 => (0, u64::from(first)),
        };
        if options & OPTION_ENCRYPTED != 0 {
            return Err(Unparsed::Encrypted);
        }
        // The first record's header in BB01, the block's own in the others.
        let session = be32(block, 16).zip(be32(block, 20)).map(|(id, time)| SessionId { id, time });
        Ok(Self { kind, options, checksum, block_len, number, session })
    }

    /// Appends the header's bytes.
    pub fn put(&self, out: &mut Vec<u8>) {
        match self.kind {
            Kind::Bb03 => put_be32(out, self.options),
            // The upper half is empty: it was read from 32 bits.
            Kind::Bb01 | Kind::Bb02 => put_be32(out, u32::try_from(self.checksum).unwrap_or(u32::MAX)),
        }
        put_be32(out, self.block_len);
        put_be32(out, self.number);
        out.extend_from_slice(self.kind.magic());
        if let Some(session) = self.session.filter(|_| self.kind != Kind::Bb01) {
            put_be32(out, session.id);
            put_be32(out, session.time);
        }
        if self.kind == Kind::Bb03 {
            put_be64(out, self.checksum);
        }
    }
}

/// Whose block it is that [`Header::parse`] refused for this reason: of an encrypted one, the header is readable.
pub fn session_of_unparsed(block: &[u8], why: Unparsed) -> Option<SessionId> {
    let session = || Some(SessionId { id: be32(block, 16)?, time: be32(block, 20)? });
    if why == Unparsed::Encrypted { session() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn headers_come_back(kind in 1_u8..=3, options in 0_u32..4, checksum: u64, number: u32, id: u32, time: u32) {
            let kind = Kind::from_number(kind).expect("one of the three");
            let session = Some(SessionId { id, time }).filter(|_| kind != Kind::Bb01);
            let (options, checksum) = match kind {
                Kind::Bb03 => (options, checksum),
                _ => (0, checksum & 0xFFFF_FFFF),
            };
            let block_len = u32::try_from(kind.header_size() + 5).expect("small");
            let header = Header { kind, options, checksum, block_len, number, session };
            let mut block = Vec::new();
            header.put(&mut block);
            prop_assert_eq!(block.len(), kind.header_size());
            block.extend_from_slice(b"abcde");
            prop_assert_eq!(Header::parse(&block), Ok(header), "five bytes are no record's header");
            block.push(0);
            prop_assert_eq!(Header::parse(&block), Err(Unparsed::Length));
        }

        #[test]
        fn any_bytes_are_parsed_or_refused(
            mut bytes in prop::collection::vec(any::<u8>(), 0..64), magic in 0_usize..4,
        ) {
            if bytes.len() >= 16 && magic > 0 {
                bytes[12..16].copy_from_slice([b"BB01", b"BB02", b"BB03"][magic - 1]);
            }
            if let Ok(header) = Header::parse(&bytes) {
                let mut out = Vec::new();
                header.put(&mut out);
                prop_assert_eq!(&out[..], &bytes[..out.len()]);
            }
        }
    }

    #[test]
    fn an_encrypted_block_is_not_parsed() {
        let mut block = vec![0; 32];
        block[7] = 32;
        block[12..16].copy_from_slice(b"BB03");
        assert!(Header::parse(&block).is_ok());
        block[3] = 4;
        assert_eq!(Header::parse(&block), Err(Unparsed::Encrypted));
        block[16..24].copy_from_slice(&[0, 0, 0, 7, 0, 0, 0, 9]);
        let session = Some(SessionId { id: 7, time: 9 });
        assert_eq!(session_of_unparsed(&block, Unparsed::Encrypted), session);
        assert_eq!(session_of_unparsed(&block, Unparsed::Length), None);
        block[12..16].copy_from_slice(b"BB04");
        assert_eq!(Header::parse(&block), Err(Unparsed::Magic));
    }
}
