//! The container that a worker is filling: the state between two batches.
//!
//! # Invariants
//! - A record never crosses a batch, a batch never crosses the space kept for the footer.
//! - Nothing below `end` is ever written again.

use std::path::PathBuf;

use gdd_uring::buffer::IoBuf;
use gdd_uring::io::FileId;

use super::batch::{Batch, BatchBuilder, Payload, Position};
use super::prepare::{Contents, Prepared};
use crate::format::StoreId;
use crate::format::batch::BatchHeader;
use crate::format::footer::{self, DirectoryEntry, SegmentEntry, Summary};
use crate::format::record::RecordHeader;
use crate::ids::ContainerId;
use crate::index::{ContainerRow, ContainerState};
use crate::limits::BLOCK_SIZE;

/// See the module.
#[derive(Debug)]
pub struct Writer {
    /// The container's id.
    pub id: ContainerId,
    /// Its open file.
    pub file: FileId,
    /// Where it lies.
    pub path: PathBuf,
    capacity: u64,
    end: u64,
    batch_seq: u32,
    chain: [u8; 32],
    entries: Vec<DirectoryEntry>,
    segments: Vec<SegmentEntry>,
    raw_bytes: u64,
    stored_bytes: u64,
    sealed: bool,
}

impl Writer {
    /// Start, or go on, filling a container that is open as `file`.
    #[must_use]
    pub fn new(prepared: Prepared, file: FileId, path: PathBuf) -> Self {
        match prepared.contents {
            Contents::Empty(header) => Self {
                id: prepared.id,
                file,
                path,
                capacity: header.capacity,
                end: BLOCK_SIZE,
                batch_seq: 0,
                chain: header.chain(),
                entries: Vec::new(),
                segments: Vec::new(),
                raw_bytes: 0,
                stored_bytes: 0,
                sealed: false,
            },
            Contents::Begun(row, entries) => Self::resume(prepared.id, file, path, &row, entries),
        }
    }

    /// Go on filling a container whose contents are `entries`, durable up to `row`'s watermark.
    #[must_use]
    pub fn resume(
        id: ContainerId,
        file: FileId,
        path: PathBuf,
        row: &ContainerRow,
        entries: Vec<DirectoryEntry>,
    ) -> Self {
        // Which stream brought what was known to the opening that wrote it; the segments start anew.
        let segments = vec![SegmentEntry { first_record: 0, record_count: row.record_count, stream: 0 }];
        Self {
            id,
            file,
            path,
            capacity: row.capacity,
            end: row.durable_len,
            batch_seq: row.batch_seq,
            chain: row.chain,
            entries,
            segments,
            raw_bytes: row.raw_bytes,
            stored_bytes: row.stored_bytes,
            sealed: false,
        }
    }

    /// Begin the next batch in `buffer`.
    #[must_use]
    pub fn begin(&self, buffer: IoBuf) -> BatchBuilder {
        assert!(!self.sealed, "nothing is added to a sealed container");
        let position = Position {
            container: self.id,
            offset: self.end,
            batch_seq: self.batch_seq,
            record_seq: self.entries.len() as u64,
            chain: self.chain,
        };
        BatchBuilder::new(buffer, position)
    }

    /// Whether a batch that takes `length` bytes, and holds one record more than now, leaves room for the footer.
    #[must_use]
    pub fn has_room(&self, length: u64) -> bool {
        self.end + length + footer::encoded_len(self.entries.len() + 1, self.segments.len() + 1)
            <= self.capacity
    }

    /// Bytes that a batch with a single payload of this many bytes takes.
    #[must_use]
    pub fn length_of_one(stored_len: usize) -> u64 {
        ((BatchHeader::SIZE + RecordHeader::SIZE + stored_len) as u64).next_multiple_of(BLOCK_SIZE)
    }

    /// Note a record that was just packed at `offset`, of the stream tagged `stream`.
    pub fn note(&mut self, offset: u64, payload: &Payload<'_>, stream: u64) -> DirectoryEntry {
        let entry = DirectoryEntry {
            hash: payload.hash,
            offset: u32::try_from(offset).expect("a container is at most CONTAINER_SIZE_MAX"),
            stored_len: u32::try_from(payload.stored.len()).expect("a payload is at most CHUNK_SIZE_MAX"),
            raw_len: payload.raw_len,
            codec: payload.codec,
        };
        let record = u32::try_from(self.entries.len()).expect("a container holds fewer than 2^32 records");
        match self.segments.last_mut() {
            Some(last) if last.stream == stream => last.record_count += 1,
            _ => self.segments.push(SegmentEntry { first_record: record, record_count: 1, stream }),
        }
        self.entries.push(entry);
        self.raw_bytes += u64::from(payload.raw_len);
        self.stored_bytes += payload.stored.len() as u64;
        entry
    }

    /// Move past a finished batch that is now being written.
    pub fn advance(&mut self, batch: &Batch) {
        assert_eq!(batch.position.offset, self.end, "batches are written in order");
        self.end += batch.buffer.len() as u64;
        self.batch_seq += 1;
        self.chain = batch.chain;
    }

    /// Seal: returns the footer and the offset to write it at. Nothing can be added afterwards.
    #[must_use]
    pub fn seal(&mut self, store: StoreId) -> (u64, IoBuf) {
        assert!(!self.sealed, "a container is sealed once");
        self.sealed = true;
        let summary = Summary {
            store,
            container: self.id,
            data_end: self.end,
            batch_count: self.batch_seq,
            chain: self.chain,
            raw_bytes: self.raw_bytes,
            stored_bytes: self.stored_bytes,
        };
        let mut buffer = IoBuf::zeroed(
            usize::try_from(footer::encoded_len(self.entries.len(), self.segments.len()))
                .expect("a footer fits memory"),
        );
        footer::encode_into(&mut buffer, &summary, &self.entries, &self.segments);
        let offset = self.end;
        self.end += buffer.len() as u64;
        (offset, buffer)
    }

    /// The watermark as of now: what the index records once everything written so far is durable.
    #[must_use]
    pub fn row(&self) -> ContainerRow {
        ContainerRow {
            state: if self.sealed { ContainerState::Sealed } else { ContainerState::Open },
            durable_len: self.end,
            batch_seq: self.batch_seq,
            record_count: u32::try_from(self.entries.len())
                .expect("a container holds fewer than 2^32 records"),
            chain: self.chain,
            capacity: self.capacity,
            raw_bytes: self.raw_bytes,
            stored_bytes: self.stored_bytes,
        }
    }

    /// Share of the capacity that is used, 0 to 1.
    #[must_use]
    pub fn fullness(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a share needs no more than 53 bits")]
        let share = self.end as f64 / self.capacity as f64;
        share
    }
}
