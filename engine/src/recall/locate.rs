//! From hashes to places, through the index, and what to say of a chunk that has none.

use crate::error::{Error, Result};
use crate::format::codec::Codec;
use crate::ids::ChunkHash;
use crate::index::{ChunkEntry, Index, Status};
use crate::limits::CHUNK_SIZE_MAX;

use super::plan::Located;

/// Look up `hashes`; `out` is cleared, then holds an answer for each, in the same order. A chunk that cannot be given
/// back is an error of its own, not of the others.
///
/// # Errors
/// The index failed.
pub fn locate(
    index: &dyn Index,
    hashes: &[ChunkHash],
    entries: &mut Vec<Option<ChunkEntry>>,
    out: &mut Vec<Result<Located>>,
) -> Result<()> {
    index.locate(hashes, entries)?;
    out.clear();
    out.extend(hashes.iter().zip(entries.iter()).map(|(hash, entry)| usable(*hash, *entry)));
    Ok(())
}

/// The chunk cannot be given back.
pub(crate) fn lost(hash: &ChunkHash, why: impl ToString) -> Error {
    Error::ChunkLost { hash: hash.to_string(), why: why.to_string() }
}

fn usable(hash: ChunkHash, entry: Option<ChunkEntry>) -> Result<Located> {
    let Some(entry) = entry else {
        let why = "the index does not know it; `gdd fsck` tells what else is missing, `gdd rebuild-index` finds \
                   what is there";
        return Err(lost(&hash, why));
    };
    let place = format_args!("in container {} at byte {}", entry.container, entry.offset);
    match entry.status {
        Status::Corrupted => return Err(lost(&hash, format!("known to be damaged {place}"))),
        Status::Condemned => return Err(lost(&hash, format!("condemned by the vacuum {place}"))),
        Status::Live => {}
    }
    let plain = entry.codec != Codec::None || entry.stored_len == entry.raw_len;
    let lengths_hold = plain
        && 0 < entry.stored_len
        && entry.stored_len <= entry.raw_len
        && u64::from(entry.raw_len) <= CHUNK_SIZE_MAX;
    if lengths_hold {
        Ok(Located { hash, entry })
    } else {
        let (stored, raw) = (entry.stored_len, entry.raw_len);
        Err(lost(
            &hash,
            format!("the index gives it {stored} bytes for {raw} {place}; run `gdd rebuild-index`"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ContainerId, Epoch};

    #[test]
    fn what_cannot_be_given_back_names_chunk_and_container() {
        let hash = ChunkHash::of(b"x");
        let good = ChunkEntry {
            container: ContainerId(7),
            offset: 4224,
            stored_len: 10,
            raw_len: 10,
            codec: Codec::None,
            status: Status::Live,
            pin_epoch: Epoch(0),
        };
        assert_eq!(usable(hash, Some(good)).unwrap(), Located { hash, entry: good });
        assert!(usable(hash, None).unwrap_err().to_string().contains(&hash.to_string()));
        for bad in [
            ChunkEntry { status: Status::Corrupted, ..good },
            ChunkEntry { status: Status::Condemned, ..good },
            ChunkEntry { stored_len: 0, ..good },
            ChunkEntry { stored_len: 9, ..good },
            ChunkEntry { stored_len: 11, codec: Codec::Lz4, ..good },
            ChunkEntry { stored_len: u32::MAX, raw_len: u32::MAX, ..good },
        ] {
            let text = usable(hash, Some(bad)).unwrap_err().to_string();
            assert!(text.contains(&hash.to_string()) && text.contains("0000000000000007"), "{text}");
        }
    }
}
