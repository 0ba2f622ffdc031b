//! Twins: stored streams that begin as the one being stored does, whose cuts it should repeat.
//!
//! Chunk sizes follow a lineage, but data does not: the same dump may be stored under two names, or an old version
//! come back. Cut with other sizes than its twin, such a stream would be stored twice.

use std::cmp::Reverse;
use std::collections::HashSet;

use gdd_uring::io::Io;

use crate::core::Core;
use crate::error::Result;
use crate::format::recipe::{ChunkParams, lineage_mark};
use crate::ids::ChunkHash;
use crate::index::{RecipeRow, RecipeState};
use crate::recipe::RecipeReader;
use crate::tuner::Twin;

/// Streams that are looked at for a twin, the newest first: two files to open and 64 KiB to read for each.
const CANDIDATES_MAX: usize = 16;

/// Hashes of a stream's beginning that are kept for the comparison: 256 KiB of memory.
const HEAD_CHUNKS_MAX: usize = 8192;

/// The first chunks of the stream being stored.
#[derive(Debug, Default)]
pub struct Head(HashSet<ChunkHash>);

impl Head {
    /// Add the stream's next chunk, while there is room.
    pub fn push(&mut self, hash: ChunkHash) {
        if self.0.len() < HEAD_CHUNKS_MAX {
            self.0.insert(hash);
        }
    }
}

/// Find the newest stream that goes on behind byte `at`, began with chunks of `start`, and has most of its first
/// chunks in common with `head`: of the same lineage, or one that changed its sizes there. What cannot be read is
/// passed over with a warning: tuning never keeps data out of the store.
///
/// # Errors
/// The index failed.
pub fn find(
    core: &Core,
    io: &mut dyn Io,
    lineage: &str,
    (at, start): (u64, ChunkParams),
    head: &Head,
) -> Result<Option<Twin>> {
    let mark = lineage_mark(lineage);
    let mut rows = core.index.recipes()?;
    rows.retain(|row| {
        let related = row.lineage_mark == mark || row.switch_at == at;
        row.state == RecipeState::Live && related && row.logical_bytes > at && row.params == start
    });
    rows.sort_by_key(|row| Reverse(row.recipe)); // Ids grow with time.
    for row in rows.iter().take(CANDIDATES_MAX) {
        match compare(core, io, row, at, head) {
            Ok(Some(twin)) => return Ok(Some(twin)),
            Ok(None) => {}
            Err(error) => tracing::warn!("stream {:?} cannot be compared: {error}", row.name),
        }
    }
    Ok(None)
}

fn compare(core: &Core, io: &mut dyn Io, row: &RecipeRow, at: u64, head: &Head) -> Result<Option<Twin>> {
    let mut reader = RecipeReader::open(io, &core.paths.recipes(), row.recipe, core.store)?;
    let mut entries = Vec::new();
    let read = reader.next_block(io, &mut entries);
    let tuning = reader.trailer().tuning;
    reader.close(io);
    read?;
    let (mut position, mut compared, mut common) = (0, 0_u64, 0_u64);
    for entry in &entries {
        position += entry.bytes();
        if position > at {
            break;
        }
        compared += 1;
        common += u64::from(head.0.contains(&entry.hash));
    }
    let switch = (tuning.switch_at > 0).then_some((tuning.switch_at, tuning.later));
    let usable = switch.is_none_or(|(_, sizes)| core.ladder().allows(sizes));
    Ok((usable && 2 * common > compared).then_some(Twin { switch }))
}
