//! Storing known chunks again, so that a stream is restored with few seeks.
//!
//! A stream that is backed up for the thirtieth time is made of what thirty generations have brought, and a restore
//! goes from container to container for a few chunks each. So where a window of the stream would be read in many
//! visits, the chunks of the smallest ones are stored again, next to what is new, within a budget (capping:
//! Lillibridge, Eshghi, Bhagwat, "Improving restore speed for backup systems that use inline chunk-based
//! deduplication", FAST 2013). Older generations, which share these chunks, are read from there too: the last one
//! gains, the first ones lose.
//!
//! # Invariants
//! - At most [`Rewriting::percent`] of the bytes that a stream has so far.
//! - A chunk is stored again only by the worker that owns it, and only while it is where it was when that was decided;
//!   so two streams that want the same make one copy.
//! - Only what lies in a full container is.
//! - The index names one place. The older copy is dead, and the vacuum's business.
//!
//! # Crash consistency
//! As of any new chunk: the row changes when the new copy is durable. That chunks may lie in two containers is durable
//! before the first one does: from then on a container's directory is believed only where the index agrees.
//!
//! # What it does not do
//! Streams that are cut elsewhere (bothsides mode, copies) come without the bytes of known chunks, and streams of
//! slices go by their own rules: neither is rewritten.

pub mod choose;
mod recent;
#[cfg(test)]
mod tests;

use std::collections::{HashSet, VecDeque};

use gdd_uring::buffer::IoBuf;

use self::choose::{Limits, Old};
use self::recent::Recent;
use super::front::Front;
use super::front::deferred::Batch;
use crate::core::Core;
use crate::error::Result;
use crate::ids::{ChunkHash, ContainerId};
use crate::index::ContainerState;
use crate::options::Rewriting;
use crate::shard::mailbox::Stored;

/// See the module. One for each stream.
pub struct Rewriter {
    rewriting: Rewriting,
    /// A window may be so many bytes short: the chunk that an extent ends in comes with the next.
    slack: u64,
    /// Extents of a window; if it takes more, they are short.
    extents: usize,
    workers: u64,
    /// Containers that were full when the stream began. What lies elsewhere is young: together, most likely, with what
    /// the last streams brought.
    full: HashSet<ContainerId>,
    /// Batches whose places are asked for.
    asked: VecDeque<Batch>,
    held: Vec<Held>,
    held_bytes: u64,
    /// Chunks that a restore would have in memory.
    recent: Recent,
    /// Bytes of the stream that were looked at, and of those, bytes to be stored again.
    seen: u64,
    spent: u64,
}

/// Chunks that wait for the rest of their window.
struct Held {
    batch: Batch,
    places: Vec<Option<Stored>>,
}

impl Rewriter {
    /// For a stream that begins now; nothing where the store does not rewrite.
    ///
    /// # Errors
    /// The index failed.
    pub fn begin(core: &Core) -> Result<Option<Self>> {
        let rewriting = core.rewriting;
        if rewriting.percent == 0 {
            return Ok(None);
        }
        let full =
            core.index.containers()?.into_iter().filter(|(_, row)| row.state == ContainerState::Sealed);
        core.suspects.raise().inspect_err(|error| core.poison.set(error))?;
        Ok(Some(Self {
            rewriting,
            slack: u64::from(core.settings.chunk_size_max).min(rewriting.window / 2),
            extents: usize::try_from(rewriting.window).unwrap_or(usize::MAX).div_ceil(core.extent_size),
            workers: core.workers as u64,
            full: full.map(|(id, _)| id).collect(),
            asked: VecDeque::new(),
            held: Vec::new(),
            held_bytes: 0,
            recent: Recent::default(),
            seen: 0,
            spent: 0,
        }))
    }

    /// Extents that wait for an answer.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.asked.len()
    }

    /// Extents that wait for the rest of their window, at most.
    #[must_use]
    pub fn held_max(&self) -> usize {
        self.extents
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.asked.is_empty() && self.held.is_empty()
    }

    /// Go on with everything that is there; with `all`, decide what is decided later otherwise.
    ///
    /// # Errors
    /// The store failed; the stream is lost.
    pub fn advance(&mut self, front: &mut Front, all: bool) -> Result<()> {
        loop {
            if let Some(batch) = front.take_batch() {
                let hashes: Vec<ChunkHash> = batch.chunks.iter().map(|chunk| chunk.hash).collect();
                front.ask(&hashes)?;
                self.asked.push_back(batch);
                continue;
            }
            if self.asked.is_empty() {
                break;
            }
            let Some(places) = front.answer_places()? else { return Ok(()) };
            let Some(batch) = self.asked.pop_front() else { break };
            let last = batch.last;
            self.held_bytes += batch.chunks.iter().map(|chunk| u64::from(chunk.len)).sum::<u64>();
            self.held.push(Held { batch, places });
            if last || self.held_bytes + self.slack >= self.rewriting.window {
                self.place(front)?;
            } else if self.held.len() >= self.extents {
                self.join();
            }
        }
        if all { self.place(front) } else { Ok(()) }
    }

    /// Copy what is held together: many short extents, of a stream of small files, would fill the window otherwise.
    fn join(&mut self) {
        let (mut seam, mut chunks, mut places) = (Vec::new(), Vec::new(), Vec::new());
        for held in self.held.drain(..) {
            for chunk in &held.batch.chunks {
                let start = u32::try_from(seam.len()).expect("a window is short");
                seam.extend_from_slice(held.batch.bytes(chunk));
                chunks.push(crate::shard::mailbox::Wanted { start, in_seam: true, ..*chunk });
            }
            places.extend(held.places);
        }
        let batch = Batch { extent: IoBuf::zeroed(0).freeze(), seam, chunks, last: false };
        self.held.push(Held { batch, places });
    }

    /// Decide about the window that is held, and let it go.
    fn place(&mut self, front: &mut Front) -> Result<()> {
        self.choose();
        self.held_bytes = 0;
        for held in std::mem::take(&mut self.held) {
            front.place_whole(held.batch)?;
        }
        Ok(())
    }

    fn choose(&mut self) {
        let (mut olds, mut fresh) = (Vec::new(), 0);
        for (batch, held) in self.held.iter().enumerate() {
            for (slot, (chunk, place)) in held.batch.chunks.iter().zip(&held.places).enumerate() {
                if self.recent.has_or_add(&chunk.hash) {
                    continue;
                }
                match place {
                    Some(place) => {
                        olds.push(Old {
                            place: *place,
                            stays: !self.full.contains(&place.container),
                            at: (batch, slot),
                        });
                    }
                    None => fresh += u64::from(chunk.len),
                }
            }
        }
        self.seen += self.held_bytes;
        let most = self.seen / 100 * u64::from(self.rewriting.percent);
        let limits = Limits {
            seek: self.rewriting.seek,
            workers: self.workers,
            budget: most.saturating_sub(self.spent),
        };
        for old in choose::choose(olds, fresh, &limits) {
            let (batch, slot) = old.at;
            self.held[batch].batch.chunks[slot].away_from = Some(old.place.container);
            self.spent += u64::from(old.place.raw_len);
        }
    }
}
