//! Verified chunks in memory, shared by all readers of a store, within a strict budget.
//!
//! A fresh allocation of 4 MiB costs half a millisecond of page faults, as much as checking its contents. So the whole
//! budget is one slab of equal buffers, mapped once and recycled for ever. Reads go straight into *rooms*: aligned
//! parts carved one after another from the buffer in turn. What was read stays where the disk put it, is checked once,
//! and is handed out as views of the same memory.
//!
//! # Invariants
//! - Only bytes that were checked to be their key's enter, see [`Trust`]; a chunk's bytes never change, so no entry is
//!   ever stale.
//! - A buffer is reused only when nobody holds a view of it: the cache, its readers and their callers together never
//!   have more than the budget. When every buffer is held, [`SegmentCache::room`] has none, and the reader waits or
//!   makes do with memory of its own for one read.
//! - The memory of the directory is bounded by a share of the same budget.
//!
//! Memory that was never used costs a page fault, and where a hypervisor must find it first, far more than the read. So
//! the cache begins small and recycles; it grows towards its budget when everything it has is held, by what is used
//! again, and when something is read again that was evicted: then more memory would have helped.
//!
//! Eviction takes whole buffers, in the order of [`super::evict`]. A use counts only from the second on: the one that
//! brought a chunk in says nothing about another.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gdd_uring::buffer::{ALIGN, IoBuf, Pool, Shared};

use super::evict::{Judge, Queues, USES_MAX};
use crate::ids::{ChunkHash, WordHashed};
use crate::limits::CHUNK_SIZE_MAX;
use crate::options::Trust;

/// Bytes of a buffer: the largest record, wherever it starts in its first block.
#[expect(clippy::cast_possible_truncation, reason = "4 MiB fits any usize")]
pub const BUFFER_SIZE: usize = CHUNK_SIZE_MAX as usize + 16 * ALIGN;

/// With fewer buffers nothing can be read ahead while something is handed out.
const BUFFERS_MIN: usize = 2;

/// Buffers that are used before the first is recycled: what a stream that lies in one piece needs. Few, so that they
/// stay in the CPU's caches.
const BUFFERS_AT_FIRST: usize = 3;

/// One byte in so many of the budget pays for the directory.
const DIRECTORY_SHARE: u64 = 64;

/// Bytes that a chunk costs in the directory: its slot, with room to grow, and its key in its buffer's list.
const DIRECTORY_ENTRY_BYTES: u64 = 160;

/// Buffers whose eviction is remembered, per buffer in the cache.
const GHOSTS_PER_BUFFER: usize = 16;

/// Counts since the cache was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct CacheStats {
    /// Lookups that found their chunk.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
    /// Buffers taken away from what they held.
    pub evictions: u64,
    /// Reads for which every buffer was held.
    pub refusals: u64,
    /// Chunks that can be found now.
    pub chunks: u64,
    /// Bytes of buffers in use now.
    pub bytes: u64,
    /// Bytes of buffers in all.
    pub capacity: u64,
}

/// Where a chunk lies.
#[derive(Clone, Copy, Debug)]
struct Slot {
    buffer: u32,
    part: u32,
    start: u32,
    len: u32,
    /// Asked for at least once.
    used: bool,
}

/// A buffer in use.
#[derive(Debug, Default)]
struct Buffer {
    parts: Vec<Shared>,
    hashes: Vec<ChunkHash>,
    /// Rooms carved from it and not yet given back.
    rooms_out: u32,
    uses: u8,
}

#[derive(Debug, Default)]
struct Buffers {
    slots: Vec<Buffer>,
    free: Vec<u32>,
    /// The rest of the buffer from which rooms are carved.
    open: Option<(u32, IoBuf)>,
}

impl Judge for Buffers {
    fn is_pinned(&self, key: u32) -> bool {
        let buffer = &self.slots[key as usize];
        let open = self.open.as_ref().is_some_and(|(open, _)| *open == key);
        // Views are made under the lock we hold, or cloned from one that exists: a count that is ours alone stays so.
        open || buffer.rooms_out > 0
            || buffer.parts.first().is_some_and(|part| part.holders() > buffer.parts.len())
    }

    fn uses(&self, key: u32) -> u8 {
        self.slots[key as usize].uses
    }

    fn set_uses(&mut self, key: u32, uses: u8) {
        self.slots[key as usize].uses = uses;
    }
}

#[derive(Debug, Default)]
struct State {
    directory: HashMap<ChunkHash, Slot, WordHashed>,
    buffers: Buffers,
    queues: Queues,
    /// First chunks of parts evicted lately: read again, they were evicted too early.
    ghosts: super::ghosts::Ghosts,
    /// Buffers in use, besides those that are used again, from which on one is recycled rather than a fresh one taken.
    enough: usize,
    stats: CacheStats,
}

/// See the module.
#[derive(Debug)]
pub struct SegmentCache {
    pool: Pool,
    directory_max: usize,
    trust: Trust,
    state: Mutex<State>,
}

/// Memory for one read, and the right to put what was read into the cache.
#[derive(Debug)]
pub struct Room {
    /// The memory: at least as long as was asked for.
    pub buffer: IoBuf,
    /// Absent for memory outside the cache.
    pub ticket: Option<Ticket>,
}

impl Room {
    /// Memory of its own, for a reader that must go on although every buffer is held.
    #[must_use]
    pub fn private(len: usize) -> Self {
        Self { buffer: IoBuf::zeroed(len.next_multiple_of(ALIGN)), ticket: None }
    }
}

/// Keeps a carved buffer from being evicted before its room is filled. Dropped, the room's bytes are wasted until then.
#[derive(Debug)]
pub struct Ticket {
    cache: Arc<SegmentCache>,
    buffer: u32,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.cache.state().buffers.slots[self.buffer as usize].rooms_out -= 1;
    }
}

impl SegmentCache {
    /// A cache that takes at most `budget` bytes of memory, but never less than two buffers.
    #[must_use]
    pub fn new(budget: u64) -> Self {
        Self::with_buffer_size(budget, BUFFER_SIZE)
    }

    /// The same with buffers of `buffer_size` bytes, which bounds the reads it serves.
    #[must_use]
    pub fn with_buffer_size(budget: u64, buffer_size: usize) -> Self {
        let buffer_size = buffer_size.next_multiple_of(ALIGN);
        let directory = budget / DIRECTORY_SHARE;
        let count = usize::try_from((budget - directory) / buffer_size as u64).unwrap_or(usize::MAX);
        let directory_max = usize::try_from(directory / DIRECTORY_ENTRY_BYTES).unwrap_or(usize::MAX).max(16);
        let count = count.max(BUFFERS_MIN);
        let pool = Pool::new(buffer_size, count);
        let mut state = State::default();
        state.ghosts.resize(count * GHOSTS_PER_BUFFER);
        state.enough = BUFFERS_AT_FIRST;
        state.stats.capacity = (count * buffer_size) as u64;
        Self { pool, directory_max, trust: Trust::default(), state: Mutex::new(state) }
    }

    /// The same for readers that are content with less than a chunk's BLAKE3, or insist on it.
    #[must_use]
    pub fn trusting(self, trust: Trust) -> Self {
        Self { trust, ..self }
    }

    /// How far what is in it was checked: the same for all readers of one cache.
    #[must_use]
    pub fn trust(&self) -> Trust {
        self.trust
    }

    /// Bytes of a buffer: the longest room.
    #[must_use]
    pub fn buffer_size(&self) -> usize {
        self.pool.buffer_size()
    }

    /// Bytes of all buffers.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.pool.buffer_size() * self.pool.count()
    }

    /// A chunk's bytes, if they are here.
    #[must_use]
    pub fn get(&self, hash: &ChunkHash) -> Option<Shared> {
        let mut guard = self.state();
        let state = &mut *guard;
        let Some(slot) = state.directory.get_mut(hash) else {
            state.stats.misses += 1;
            return None;
        };
        state.stats.hits += 1;
        let buffer = &mut state.buffers.slots[slot.buffer as usize];
        if slot.used {
            buffer.uses = (buffer.uses + 1).min(USES_MAX);
        }
        slot.used = true;
        let start = slot.start as usize;
        Some(buffer.parts[slot.part as usize].slice(start..start + slot.len as usize))
    }

    /// Memory for a read of `len` bytes, or `None` when every buffer is held or `len` is longer than one.
    #[must_use]
    pub fn room(self: &Arc<Self>, len: usize) -> Option<Room> {
        let len = len.next_multiple_of(ALIGN);
        if len > self.buffer_size() {
            return None;
        }
        let mut guard = self.state();
        let state = &mut *guard;
        if state.buffers.open.as_ref().is_none_or(|(_, rest)| rest.len() < len) {
            state.buffers.open = None;
            let Some(buffer) = state.take(&self.pool) else {
                state.stats.refusals += 1;
                return None;
            };
            state.buffers.open = Some((state.begin(), buffer));
        }
        let (number, rest) = state.buffers.open.as_mut()?;
        let tail = rest.split_off(len);
        let buffer = std::mem::replace(rest, tail);
        let number = *number;
        state.buffers.slots[number as usize].rooms_out += 1;
        Some(Room { buffer, ticket: Some(Ticket { cache: Arc::clone(self), buffer: number }) })
    }

    /// Keep `part`, which was read into the room of `ticket` and holds these verified chunks.
    pub fn insert(&self, ticket: &Ticket, part: &Shared, chunks: &[(ChunkHash, Range<usize>)]) {
        let mut guard = self.state();
        let state = &mut *guard;
        while state.directory.len() + chunks.len() > self.directory_max && state.evict() {}
        let buffer = &mut state.buffers.slots[ticket.buffer as usize];
        let number = u32::try_from(buffer.parts.len()).expect("a buffer has few parts");
        let room = self.directory_max.saturating_sub(state.directory.len());
        let mut kept = false;
        for (hash, range) in chunks.iter().take(room) {
            let slot = Slot {
                buffer: ticket.buffer,
                part: number,
                start: u32::try_from(range.start).expect("a buffer is far below 4 GiB"),
                len: u32::try_from(range.len()).expect("a buffer is far below 4 GiB"),
                used: true,
            };
            // Another reader may have brought it meanwhile: its bytes are as good.
            if let std::collections::hash_map::Entry::Vacant(vacant) = state.directory.entry(*hash) {
                vacant.insert(slot);
                buffer.hashes.push(*hash);
                kept = true;
                if state.ghosts.remove(hash) {
                    buffer.uses = buffer.uses.max(1);
                    state.enough += 1;
                }
            }
        }
        if kept {
            buffer.parts.push(part.clone());
        }
    }

    /// Forget everything that nobody holds.
    pub fn clear(&self) {
        let mut state = self.state();
        state.buffers.open = None;
        while state.evict() {}
    }

    /// What it did and holds.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        let state = self.state();
        let in_use = self.pool.count() - self.pool.available();
        CacheStats {
            chunks: state.directory.len() as u64,
            bytes: (in_use * self.pool.buffer_size()) as u64,
            ..state.stats
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A free buffer, by eviction if need be.
    fn take(&mut self, pool: &Pool) -> Option<IoBuf> {
        let hot = self.buffers.slots.iter().filter(|buffer| buffer.uses > 0).count();
        let mut evicted = false;
        loop {
            let in_use = pool.count() - pool.available();
            if let Some(buffer) = (evicted || in_use < self.enough + hot).then(|| pool.take()).flatten() {
                return Some(buffer);
            }
            evicted = self.evict();
            if !evicted {
                if in_use == pool.count() {
                    return None;
                }
                self.enough = in_use + 1;
            }
        }
    }

    fn begin(&mut self) -> u32 {
        let number = self.buffers.free.pop().unwrap_or_else(|| {
            self.buffers.slots.push(Buffer::default());
            u32::try_from(self.buffers.slots.len() - 1).expect("a cache has few buffers")
        });
        self.queues.admit(number);
        number
    }

    fn evict(&mut self) -> bool {
        let Some(number) = self.queues.victim(&mut self.buffers) else { return false };
        let buffer = std::mem::take(&mut self.buffers.slots[number as usize]);
        let mut part = None;
        for hash in &buffer.hashes {
            let slot = self.directory.remove(hash).expect("a buffer's chunks are in the directory");
            if part.replace(slot.part) != Some(slot.part) {
                self.ghosts.add(*hash);
            }
        }
        self.buffers.free.push(number);
        self.stats.evictions += 1;
        true
    }
}
