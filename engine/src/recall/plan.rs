//! From chunks in the order of a stream to few, large reads in the order of the disk.
//!
//! Chunks that were stored together lie together, but a deduplicated stream jumps between containers. Within a bounded
//! window of the stream, records of one container that lie close are fetched by one read, and the reads of a container
//! go forward (forward assembly: Lillibridge, Eshghi, Bhagwat, "Improving restore speed for backup systems that use
//! inline chunk-based deduplication", FAST 2013). Pure: no I/O here.
//!
//! # Invariants
//! - Every record lies whole in exactly one read; a record wanted twice is read once.
//! - A read starts and ends on a block and takes at most the bounds' bytes, or holds a single record.

use std::collections::HashMap;

use crate::format::record::RecordHeader;
use crate::ids::{ChunkHash, ContainerId};
use crate::index::ChunkEntry;
use crate::limits::BLOCK_SIZE;

/// How far records may be merged. Bytes.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Longest read of several records, on disk, and longest sum of their chunks.
    pub read_max: u64,
    /// Longest gap between two records that is read over.
    pub gap_max: u64,
}

/// A chunk and where its record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Located {
    /// The chunk.
    pub hash: ChunkHash,
    /// What the index says of it.
    pub entry: ChunkEntry,
}

impl Located {
    /// Byte offset of the record's end in its container.
    #[must_use]
    pub fn end(&self) -> u64 {
        u64::from(self.entry.offset) + RecordHeader::SIZE as u64 + u64::from(self.entry.stored_len)
    }
}

/// One aligned read of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// From which container.
    pub container: ContainerId,
    /// First byte, a multiple of the block size.
    pub start: u64,
    /// Bytes, a multiple of the block size.
    pub len: usize,
    /// Bytes of the chunks in its records.
    pub raw_len: u64,
    /// The records wanted from it, by offset.
    pub records: Vec<Located>,
}

/// Which read brings a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// Number of the read in the plan.
    pub read: usize,
    /// Number of the record in the read.
    pub record: usize,
}

/// Reads in the order in which they should start, and where each wanted chunk is found in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The reads: containers in the order of first need, each read forward.
    pub reads: Vec<Read>,
    /// For each wanted chunk, in the order given.
    pub spots: Vec<Spot>,
}

impl Read {
    /// The read of a single record.
    #[must_use]
    pub fn of(record: Located) -> Self {
        let start = u64::from(record.entry.offset) / BLOCK_SIZE * BLOCK_SIZE;
        let mut read =
            Self { container: record.entry.container, start, len: 0, raw_len: 0, records: Vec::new() };
        read.push(record);
        read
    }

    /// Bytes of the chunks that need to be decoded into memory of their own.
    #[must_use]
    pub fn encoded_raw_len(&self) -> usize {
        let encoded =
            self.records.iter().filter(|record| record.entry.codec != crate::format::codec::Codec::None);
        encoded.map(|record| record.entry.raw_len as usize).sum()
    }

    fn end(&self) -> u64 {
        self.start + self.len as u64
    }

    fn accepts(&self, record: &Located, bounds: &Bounds) -> bool {
        let last = self.records.last().expect("a read has a record");
        self.container == record.entry.container
            && u64::from(record.entry.offset) <= last.end().saturating_add(bounds.gap_max)
            && record.end().next_multiple_of(BLOCK_SIZE) <= self.start + bounds.read_max
            && self.raw_len + u64::from(record.entry.raw_len) <= bounds.read_max
    }

    fn push(&mut self, record: Located) {
        let end = self.end().max(record.end().next_multiple_of(BLOCK_SIZE));
        self.len = usize::try_from(end - self.start).expect("a read is shorter than a container");
        self.raw_len += u64::from(record.entry.raw_len);
        self.records.push(record);
    }
}

/// Plan the reads that bring `wanted`, which is in the order of the stream.
#[must_use]
pub fn plan(wanted: &[Located], bounds: &Bounds) -> Plan {
    let mut need: HashMap<ContainerId, usize> = HashMap::new();
    for (at, record) in wanted.iter().enumerate() {
        need.entry(record.entry.container).or_insert(at);
    }
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by_cached_key(|&at| {
        let Located { hash, entry } = wanted[at];
        (need[&entry.container], entry.offset, entry.stored_len, hash)
    });
    let mut reads: Vec<Read> = Vec::new();
    let mut spots = vec![Spot { read: 0, record: 0 }; wanted.len()];
    for at in order {
        let record = wanted[at];
        match reads.last_mut() {
            // Equal records are neighbours now. Two chunks at one place cannot both be right: each gets its own check.
            Some(read) if read.records.last() == Some(&record) => {}
            Some(read) if read.accepts(&record, bounds) => read.push(record),
            _ => reads.push(Read::of(record)),
        }
        let read = reads.len() - 1;
        spots[at] = Spot { read, record: reads[read].records.len() - 1 };
    }
    Plan { reads, spots }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::codec::Codec;
    use crate::ids::Epoch;
    use crate::index::Status;
    use proptest::prelude::*;

    const BOUNDS: Bounds = Bounds { read_max: 1 << 20, gap_max: 64 << 10 };

    fn located(container: u64, offset: u32, len: u32) -> Located {
        let entry = ChunkEntry {
            container: ContainerId(container),
            offset,
            stored_len: len,
            raw_len: len,
            codec: Codec::None,
            status: Status::Live,
            pin_epoch: Epoch(0),
        };
        Located {
            hash: ChunkHash::of(&[container.to_le_bytes(), u64::from(offset).to_le_bytes()].concat()),
            entry,
        }
    }

    #[test]
    fn neighbours_merge_and_far_records_do_not() {
        let wanted = [
            located(1, 4096 + 128, 1000),
            located(1, 5304, 1000),
            located(1, 900_000, 10),
            located(2, 4224, 10),
        ];
        let plan = plan(&wanted, &BOUNDS);
        let shape: Vec<_> = plan.reads.iter().map(|read| (read.container.0, read.start, read.len)).collect();
        assert_eq!(shape, [(1, 4096, 4096), (1, 897_024, 4096), (2, 4096, 4096)]);
    }

    #[test]
    fn the_container_needed_first_comes_first() {
        let wanted = [located(9, 8192, 10), located(1, 8192, 10), located(9, 4096, 10)];
        let plan = plan(&wanted, &BOUNDS);
        assert_eq!(plan.reads[0].container.0, 9);
        assert_eq!(plan.spots[0], Spot { read: 0, record: 1 }, "forward within the container");
        assert_eq!(plan.spots[2], Spot { read: 0, record: 0 });
    }

    #[test]
    fn the_largest_record_of_the_last_place_is_planned() {
        let wanted = [located(1, u32::MAX, u32::MAX)];
        let plan = plan(&wanted, &BOUNDS);
        assert!(plan.reads[0].start + plan.reads[0].len as u64 >= wanted[0].end());
    }

    proptest! {
        #[test]
        fn every_record_lies_whole_in_its_read(
            wants in prop::collection::vec((0u64..4, 0u32..4 << 20, 1u32..300_000), 0..60),
            read_max in 1u64..3 << 20, gap_max in 0u64..200_000,
        ) {
            let wanted: Vec<_> =
                wants.iter().map(|&(container, offset, len)| located(container, offset, len)).collect();
            let bounds = Bounds { read_max, gap_max };
            let plan = plan(&wanted, &bounds);
            prop_assert_eq!(plan.spots.len(), wanted.len());
            for (want, spot) in wanted.iter().zip(&plan.spots) {
                let read = &plan.reads[spot.read];
                prop_assert_eq!(read.records[spot.record], *want);
                prop_assert!(read.container == want.entry.container && read.start <= u64::from(want.entry.offset));
                prop_assert!(want.end() <= read.end());
            }
            let mut distinct: Vec<_> =
                wanted.iter().map(|w| (w.entry.container, w.entry.offset, w.entry.stored_len)).collect();
            distinct.sort_unstable();
            distinct.dedup();
            prop_assert_eq!(plan.reads.iter().map(|read| read.records.len()).sum::<usize>(), distinct.len());
            for read in &plan.reads {
                prop_assert!(read.start.is_multiple_of(BLOCK_SIZE) && (read.len as u64).is_multiple_of(BLOCK_SIZE));
                prop_assert!(read.records.len() == 1 || read.len as u64 <= read_max);
                prop_assert!(read.records.is_sorted_by_key(|record| record.entry.offset));
                let used = read.records.iter().map(Located::end).max().unwrap();
                prop_assert!(read.end() - used < BLOCK_SIZE, "nothing is read for nothing at the end");
                for pair in read.records.windows(2) {
                    prop_assert!(u64::from(pair[1].entry.offset) <= pair[0].end() + gap_max);
                }
            }
            for pair in plan.reads.windows(2).filter(|pair| pair[0].container == pair[1].container) {
                prop_assert!(pair[0].start <= pair[1].start, "forward");
            }
        }
    }
}
