//! What is checked before a chunk is believed: that this is its record, that the payload is what was written, and that
//! the bytes are the chunk.
//!
//! A record names its container, offset, lengths and hash under a checksum, so a misdirected or stale sector is told
//! from the right one. Then there are two levels, see [`Trust`]. BLAKE3 of the uncompressed bytes is the chunk's
//! identity and has the last word; it runs while later pieces of a large chunk are still on their way. The payload's
//! CRC-32 is checked where BLAKE3 is not, and before a decoder is let loose on a payload. Over a plain payload both
//! would cover the same bytes.

use std::path::Path;

use gdd_kernels::{Cut, hash_cuts};

use crate::error::Result;
use crate::format::codec::Codec;
use crate::format::record::RecordHeader;
use crate::format::{Bytes, Crc, Hex, Place};
use crate::ids::ChunkHash;
use crate::options::Trust;
use crate::planted::{self, Bug};

use super::plan::Located;

/// Bytes that are covered at once. BLAKE3 is fastest on whole, aligned subtrees, so it is a power of two.
const STEP: usize = 128 << 10;

/// Longest record that is hashed together with others, in bytes. A longer one fills the lanes by itself.
const SMALL_MAX: usize = 128 << 10;

/// The check of one record whose bytes arrive bit by bit.
#[derive(Debug)]
pub struct Check {
    trust: Trust,
    header: Option<RecordHeader>,
    crc: crc32fast::Hasher,
    hash: blake3::Hasher,
    /// Bytes of the payload that were covered.
    covered: usize,
}

impl Check {
    /// The check of the next record, up to `trust`.
    #[must_use]
    pub fn new(trust: Trust) -> Self {
        Self { trust, header: None, crc: crc32fast::Hasher::new(), hash: blake3::Hasher::new(), covered: 0 }
    }

    /// Take what there is of the record so far: `bytes` starts at its header. Returns whether the record is complete,
    /// and its payload good; then the check is ready for the next record. A payload that is encoded is not yet known to
    /// be the chunk: see [`decode`].
    ///
    /// # Errors
    /// `Corrupt`, with the place and what was expected there.
    pub fn take(&mut self, bytes: &[u8], wanted: &Located, place: Place<'_>) -> Result<bool> {
        if bytes.len() < RecordHeader::SIZE {
            return Ok(false);
        }
        if self.header.is_none() {
            self.header = Some(header_of(bytes, wanted, place)?);
        }
        let payload = &bytes[RecordHeader::SIZE..];
        let stored_len = wanted.entry.stored_len as usize;
        let by_hash = wanted.entry.codec == Codec::None && self.trust == Trust::Hash;
        let complete = payload.len() >= stored_len;
        while self.covered < stored_len {
            let end = (self.covered + STEP).min(stored_len);
            if end > payload.len() {
                return Ok(false);
            }
            let step = &payload[self.covered..end];
            if by_hash {
                self.hash.update(step);
            } else {
                self.crc.update(step);
            }
            self.covered = end;
        }
        assert!(complete, "all of the payload was covered");
        let check = std::mem::replace(self, Self::new(self.trust));
        let header = check.header.expect("the header was checked first");
        let place = place.plus(RecordHeader::SIZE);
        if by_hash {
            expect_hash(identity(&header, wanted), ChunkHash(*check.hash.finalize().as_bytes()), place)?;
        } else if !planted::has(Bug::IgnoreChecksum) {
            place.expect("chunk payload", Crc(header.payload_crc), Crc(check.crc.finalize()))?;
        }
        Ok(true)
    }
}

/// Whether a record is hashed side by side with others: plain, and too small to fill the lanes of a wide CPU alone.
#[must_use]
pub fn is_small(wanted: &Located, trust: Trust) -> bool {
    trust == Trust::Hash && wanted.entry.codec == Codec::None && wanted.entry.stored_len as usize <= SMALL_MAX
}

/// Check small records that are complete in `bytes`, which starts at byte `start` of the container file `path`.
/// Appends a verdict for each.
pub fn together(bytes: &[u8], start: u64, path: &Path, records: &[Located], verdicts: &mut Vec<Result<()>>) {
    let headers: Vec<Result<RecordHeader>> = records
        .iter()
        .map(|wanted| {
            let place = Place::new(path, u64::from(wanted.entry.offset));
            header_of(&bytes[offset_in(start, wanted)..], wanted, place)
        })
        .collect();
    let cut = |wanted: &Located| Cut {
        start: u32::try_from(offset_in(start, wanted) + RecordHeader::SIZE).expect("a read is a few MiB"),
        len: wanted.entry.stored_len,
        hash: [0; 32],
    };
    let mut cuts: Vec<Cut> = records.iter().map(cut).collect();
    hash_cuts(bytes, &mut cuts);
    verdicts.extend(headers.into_iter().zip(records).zip(cuts).map(|((header, wanted), cut)| {
        let place = Place::new(path, u64::from(wanted.entry.offset)).plus(RecordHeader::SIZE);
        header.and_then(|header| expect_hash(identity(&header, wanted), ChunkHash(cut.hash), place))
    }));
}

/// Where a record's header lies in bytes that start at byte `start` of its container.
pub(super) fn offset_in(start: u64, wanted: &Located) -> usize {
    usize::try_from(u64::from(wanted.entry.offset) - start).expect("a read is shorter than a container")
}

fn header_of(bytes: &[u8], wanted: &Located, place: Place<'_>) -> Result<RecordHeader> {
    let entry = &wanted.entry;
    let header = RecordHeader::decode(bytes, entry.container, place)?;
    if !planted::has(Bug::BelieveMisdirected) {
        place.expect("chunk of the record", Hex(&wanted.hash.0), Hex(&header.hash.0))?;
    }
    place.expect("stored length of the record", entry.stored_len, header.stored_len)?;
    place.expect("raw length of the record", entry.raw_len, header.raw_len)?;
    place.expect("codec of the record", entry.codec.id(), header.codec.id())?;
    Ok(header)
}

/// Decode a payload that passed its check into `raw`, which is as long as the chunk, and check that it is the chunk, as
/// far as `trust` asks.
///
/// # Errors
/// `Corrupt`: it cannot be decoded, gives another length, or other bytes.
pub fn decode(
    payload: &[u8],
    raw: &mut [u8],
    wanted: &Located,
    trust: Trust,
    place: Place<'_>,
) -> Result<()> {
    let place = place.plus(RecordHeader::SIZE);
    let decoded = match wanted.entry.codec {
        Codec::None => Err("it is not encoded".to_owned()),
        Codec::Lz4 => lz4_flex::block::decompress_into(payload, raw).map_err(|error| error.to_string()),
        Codec::Zstd => zstd::bulk::decompress_to_buffer(payload, raw).map_err(|error| error.to_string()),
    };
    let len = decoded.map_err(|why| place.refuse("compressed chunk", "one that can be decoded", why))?;
    place.expect("length of the decoded chunk", Bytes(raw.len()), Bytes(len))?;
    match trust {
        Trust::Hash => expect_hash(wanted.hash, ChunkHash::of(raw), place),
        Trust::Crc => Ok(()),
    }
}

/// What the bytes must be: the chunk that was asked for. The planted bug believes the record instead.
fn identity(header: &RecordHeader, wanted: &Located) -> ChunkHash {
    if planted::has(Bug::BelieveMisdirected) { header.hash } else { wanted.hash }
}

fn expect_hash(expected: ChunkHash, found: ChunkHash, place: Place<'_>) -> Result<()> {
    place.expect("BLAKE3 of the chunk", Hex(&expected.0), Hex(&found.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ContainerId, Epoch};
    use crate::index::{ChunkEntry, Status};
    use proptest::prelude::*;
    use std::path::Path;

    fn record(raw: &[u8], codec: Codec) -> (Located, Vec<u8>) {
        let stored = match codec {
            Codec::None => raw.to_vec(),
            Codec::Lz4 => lz4_flex::block::compress(raw),
            Codec::Zstd => zstd::bulk::compress(raw, 1).unwrap(),
        };
        let entry = ChunkEntry {
            container: ContainerId(5),
            offset: 4224,
            stored_len: u32::try_from(stored.len()).unwrap(),
            raw_len: u32::try_from(raw.len()).unwrap(),
            codec,
            status: Status::Live,
            pin_epoch: Epoch(0),
        };
        let header = RecordHeader {
            codec,
            container: entry.container,
            offset: 4224,
            seq: 0,
            raw_len: entry.raw_len,
            stored_len: entry.stored_len,
            hash: ChunkHash::of(raw),
            payload_crc: crc32fast::hash(&stored),
        };
        let bytes = [header.encode().to_vec(), stored].concat();
        (Located { hash: header.hash, entry }, bytes)
    }

    fn place() -> Place<'static> {
        Place::new(Path::new("container"), 4224)
    }

    fn full(bytes: &[u8], wanted: &Located, trust: Trust) -> Result<Vec<u8>> {
        let complete = Check::new(trust).take(bytes, wanted, place())?;
        assert!(complete);
        let payload = &bytes[RecordHeader::SIZE..][..wanted.entry.stored_len as usize];
        if wanted.entry.codec == Codec::None {
            return Ok(payload.to_vec());
        }
        let mut raw = vec![0; wanted.entry.raw_len as usize];
        decode(payload, &mut raw, wanted, trust, place()).map(|()| raw)
    }

    #[test]
    fn any_changed_byte_is_refused() {
        let raw: Vec<u8> = (0..3000u32).flat_map(|n| (n / 9).to_le_bytes()).collect();
        for (codec, trust) in
            Codec::ALL.into_iter().flat_map(|codec| [(codec, Trust::Hash), (codec, Trust::Crc)])
        {
            let (wanted, mut bytes) = record(&raw, codec);
            assert_eq!(full(&bytes, &wanted, trust).unwrap(), raw);
            for at in 0..bytes.len() {
                bytes[at] ^= 0x10;
                assert!(full(&bytes, &wanted, trust).is_err(), "{codec:?} {trust:?} byte {at}");
                bytes[at] ^= 0x10;
            }
        }
    }

    #[test]
    fn a_payload_whose_checksum_was_redone_is_still_not_the_chunk() {
        let raw = vec![7; 5000];
        for codec in Codec::ALL {
            let (wanted, good) = record(&raw, codec);
            let mut other = raw.clone();
            other[2500] = 8;
            let (lied, mut bytes) = record(&other, codec);
            let header = RecordHeader {
                hash: wanted.hash,
                ..RecordHeader::decode(&bytes, ContainerId(5), place()).unwrap()
            };
            header.encode_into(&mut bytes);
            let entry = lied.entry;
            assert!(full(&bytes, &Located { entry, ..wanted }, Trust::Hash).is_err(), "{codec:?}");
            let mut short = Located { hash: wanted.hash, ..wanted };
            short.entry.raw_len -= 1;
            assert!(full(&good, &short, Trust::Crc).is_err(), "the index and the record differ");
        }
    }

    #[test]
    fn a_lying_length_of_a_compressed_chunk_is_refused() {
        let raw = vec![7; 5000];
        for codec in [Codec::Lz4, Codec::Zstd] {
            let (wanted, bytes) = record(&raw, codec);
            let payload = &bytes[RecordHeader::SIZE..];
            for len in [0, 1, 4999, 5001, 100_000] {
                assert!(
                    decode(payload, &mut vec![0; len], &wanted, Trust::Crc, place()).is_err(),
                    "{codec:?} into {len}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn pieces_check_like_the_whole(len in 1usize..600_000, cuts in prop::collection::vec(0usize..600_100, 0..6)) {
            let raw: Vec<u8> = (0..len).map(|n| ((n * n) >> 3).to_le_bytes()[0]).collect();
            let (wanted, bytes) = record(&raw, Codec::None);
            let mut check = Check::new(if len % 2 == 0 { Trust::Hash } else { Trust::Crc });
            let mut ends: Vec<_> = cuts.into_iter().filter(|cut| *cut < bytes.len()).collect();
            ends.sort_unstable();
            for end in ends {
                prop_assert!(!check.take(&bytes[..end], &wanted, place()).unwrap());
            }
            prop_assert!(check.take(&bytes, &wanted, place()).unwrap());
        }
    }
}
