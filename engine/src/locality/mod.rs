//! Directories of containers that were hit lately, so that known data does not ask the index.
//!
//! A stream that was stored before comes back in much the same order, and chunks that were stored together lie in
//! one container. So the first hit in a container loads its whole directory, and the next thousands of chunks are
//! found here (Zhu, Li, Patterson, "Avoiding the Disk Bottleneck in the Data Domain Deduplication File System", FAST
//! 2008). Owned by one worker; nothing here is shared.
//!
//! # Invariants
//! - Memory stays within the budget: the table has its size from the start, and whole containers are evicted, by
//!   CLOCK, until directories fit. Only while a directory is being copied in is there more.
//! - A chunk listed by two containers is found in the one that came last.
//!
//! It is a cache of what the index says: whoever moves or condemns a chunk removes it here too.

mod table;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use table::{BUCKET_BYTES, Spot, Table};

use crate::format::footer::DirectoryEntry;
use crate::ids::{ChunkHash, ContainerId};

/// Bytes of an entry in memory.
const ENTRY_BYTES: usize = size_of::<DirectoryEntry>();

/// Five buckets for four entries: runs stay short.
const BUCKETS_PER_FOUR_ENTRIES: usize = 5;

/// Bytes that a container costs besides its entries: its slot, its place in the list of free slots, and its place in
/// the map of containers; twice, because all three double when they grow.
const CONTAINER_BYTES: usize =
    2 * (size_of::<Slot>() + size_of::<u32>() + size_of::<(ContainerId, u32)>() + 8);

/// Entries for which a growing container gets room at first.
const GROWTH_MIN: usize = 64;

/// Word of a chunk's hash that finds it here. Word 0 chose the worker, so its values are not uniform within one.
const WORD: usize = 1;

/// One container's directory.
#[derive(Debug)]
struct Slot {
    container: ContainerId,
    /// Empty in a free slot.
    entries: Vec<DirectoryEntry>,
    /// Hit since the clock's hand came by.
    used: bool,
    free: bool,
}

/// See the module.
#[derive(Debug)]
pub struct LocalityCache {
    budget: usize,
    table: Table,
    slots: Vec<Slot>,
    free: Vec<u32>,
    containers: HashMap<ContainerId, u32>,
    /// Bytes of directories, without the table.
    directory_bytes: usize,
    hand: usize,
}

impl LocalityCache {
    /// A cache that takes at most `budget_bytes` of memory. With less than one directory's worth it keeps nothing.
    #[must_use]
    pub fn new(budget_bytes: usize) -> Self {
        // Each entry pays for itself and its share of the table.
        let entries = budget_bytes / (ENTRY_BYTES + BUCKETS_PER_FOUR_ENTRIES * BUCKET_BYTES / 4);
        Self {
            budget: budget_bytes,
            table: Table::new(entries * BUCKETS_PER_FOUR_ENTRIES / 4 + 2),
            slots: Vec::new(),
            free: Vec::new(),
            containers: HashMap::new(),
            directory_bytes: 0,
            hand: 0,
        }
    }

    /// Where a chunk is, if a cached directory lists it. Its container counts as used.
    #[inline]
    pub fn get(&mut self, hash: &ChunkHash) -> Option<(ContainerId, DirectoryEntry)> {
        let spot = self.table.get(hash.word(WORD))?;
        let slot = &mut self.slots[spot.slot as usize];
        let entry = slot.entries[spot.entry as usize];
        if entry.hash != *hash {
            return None; // Another chunk with the same word.
        }
        slot.used = true;
        Some((slot.container, entry))
    }

    /// Keep the directory of a container, instead of what was known of it. One that exceeds the budget is not kept.
    pub fn insert_container(&mut self, container: ContainerId, entries: &[DirectoryEntry]) {
        self.remove_container(container);
        if entries.is_empty() || !self.make_room(entries.len() * ENTRY_BYTES + CONTAINER_BYTES, None) {
            return;
        }
        let number = self.claim(container);
        self.set_capacity(number, entries.len());
        for entry in entries {
            self.push(number, *entry);
        }
    }

    /// Add one chunk to a container that is still growing.
    pub fn add_entry(&mut self, container: ContainerId, entry: DirectoryEntry) {
        if let Some(number) = self.containers.get(&container).copied() {
            let entries = &self.slots[number as usize].entries;
            let capacity = entries.capacity();
            if entries.len() == capacity {
                if !self.make_room(capacity * ENTRY_BYTES, Some(number)) {
                    return;
                }
                self.set_capacity(number, 2 * capacity); // As `Vec` would; said here because it is counted.
            }
            self.slots[number as usize].used = true;
            self.push(number, entry);
        } else if self.make_room(GROWTH_MIN * ENTRY_BYTES + CONTAINER_BYTES, None) {
            let number = self.claim(container);
            self.set_capacity(number, GROWTH_MIN);
            self.push(number, entry);
        }
    }

    /// Whether the directory of a container is here, whole or growing.
    #[must_use]
    pub fn contains_container(&self, container: ContainerId) -> bool {
        self.containers.contains_key(&container)
    }

    /// Forget a container: it was vacuumed, recycled or found damaged.
    pub fn remove_container(&mut self, container: ContainerId) {
        let Some(number) = self.containers.remove(&container) else { return };
        let slot = &mut self.slots[number as usize];
        let entries = std::mem::take(&mut slot.entries);
        (slot.free, slot.used) = (true, false);
        self.directory_bytes -= entries.capacity() * ENTRY_BYTES;
        self.free.push(number);
        for (entry, index) in entries.iter().zip(0..) {
            self.table.remove(entry.hash.word(WORD), Spot { slot: number, entry: index });
        }
    }

    /// Forget one chunk: it was moved or condemned. Its entry's memory stays with its container.
    pub fn remove_chunk(&mut self, hash: &ChunkHash) {
        let word = hash.word(WORD);
        let Some(spot) = self.table.get(word) else { return };
        if self.slots[spot.slot as usize].entries[spot.entry as usize].hash == *hash {
            self.table.remove(word, spot);
        }
    }

    /// Bytes of memory in use, the table included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.table.bytes() + self.directory_bytes + self.slots.len() * CONTAINER_BYTES
    }

    /// Chunks that would be found.
    #[must_use]
    pub fn chunk_count(&self) -> usize {
        self.table.len()
    }

    /// Containers that are here.
    #[must_use]
    pub fn container_count(&self) -> usize {
        self.containers.len()
    }

    /// Evict containers other than `keep` until `bytes` more fit. Returns whether they do.
    fn make_room(&mut self, bytes: usize, keep: Option<u32>) -> bool {
        if self.table.bytes() + bytes > self.budget {
            return false;
        }
        while self.bytes() + bytes > self.budget {
            let Some(victim) = self.victim(keep) else { return false };
            self.remove_container(victim);
            self.trim();
        }
        true
    }

    /// The next container that was not hit since the hand came by. Two rounds find one, unless there is none.
    fn victim(&mut self, keep: Option<u32>) -> Option<ContainerId> {
        for _ in 0..2 * self.slots.len() {
            let at = self.hand % self.slots.len();
            self.hand = at + 1;
            let slot = &mut self.slots[at];
            if slot.free || keep.is_some_and(|keep| keep as usize == at) {
                continue;
            }
            if !std::mem::take(&mut slot.used) {
                return Some(slot.container);
            }
        }
        None
    }

    /// Give back free slots at the end: they are counted.
    fn trim(&mut self) {
        while self.slots.last().is_some_and(|slot| slot.free) {
            self.slots.pop();
        }
        let len = self.slots.len();
        self.free.retain(|number| (*number as usize) < len);
    }

    /// A slot for a container. It is used when it is hit first; it lies behind the clock's hand, which comes by late.
    fn claim(&mut self, container: ContainerId) -> u32 {
        let slot = Slot { container, entries: Vec::new(), used: false, free: false };
        let number = if let Some(number) = self.free.pop() {
            self.slots[number as usize] = slot;
            number
        } else {
            self.slots.push(slot);
            u32::try_from(self.slots.len() - 1).expect("each slot has memory of its own")
        };
        self.containers.insert(container, number);
        number
    }

    fn set_capacity(&mut self, number: u32, capacity: usize) {
        let entries = &mut self.slots[number as usize].entries;
        let before = entries.capacity();
        entries.reserve_exact(capacity - entries.len());
        self.directory_bytes += (entries.capacity() - before) * ENTRY_BYTES;
    }

    fn push(&mut self, number: u32, entry: DirectoryEntry) {
        let slot = &mut self.slots[number as usize];
        let index = u32::try_from(slot.entries.len()).expect("offsets in a container are 32-bit");
        slot.entries.push(entry);
        self.table.put(entry.hash.word(WORD), Spot { slot: number, entry: index });
    }
}
