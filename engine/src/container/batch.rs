//! A batch under construction: records packed into one aligned buffer, written with one operation.
//!
//! The batch is the unit of write and of crash recovery. Its header says where it belongs and carries a digest chained
//! over every record header of the container so far: a batch that was lost, torn or written elsewhere is noticed.

use gdd_kernels::copy_with_crc;
use gdd_uring::buffer::IoBuf;

use crate::format::batch::{BatchHeader, Chain};
use crate::format::codec::Codec;
use crate::format::record::RecordHeader;
use crate::ids::{ChunkHash, ContainerId};
use crate::limits::BLOCK_SIZE;

/// Where a batch goes.
#[derive(Clone, Copy, Debug)]
pub struct Position {
    /// The container it belongs to.
    pub container: ContainerId,
    /// Byte offset of its header in the container.
    pub offset: u64,
    /// Its number in the container.
    pub batch_seq: u32,
    /// Number of its first record in the container.
    pub record_seq: u64,
    /// Digest of everything before it.
    pub chain: [u8; 32],
}

/// A chunk as it goes into a record.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    /// Identity of the uncompressed bytes.
    pub hash: ChunkHash,
    /// Length of the uncompressed bytes.
    pub raw_len: u32,
    /// How `stored` was made from them.
    pub codec: Codec,
    /// The bytes to keep.
    pub stored: &'a [u8],
    /// What will probably be packed next: fetched ahead, and otherwise without effect.
    pub next: &'a [u8],
}

/// See the module.
#[derive(Debug)]
pub struct BatchBuilder {
    buffer: IoBuf,
    used: usize,
    record_count: u32,
    position: Position,
    chain: Chain,
}

/// A finished batch, ready to be written.
#[derive(Debug)]
pub struct Batch {
    /// Exactly the bytes to write.
    pub buffer: IoBuf,
    /// Where it goes.
    pub position: Position,
    /// Records in it.
    pub record_count: u32,
    /// Digest of everything up to its end.
    pub chain: [u8; 32],
}

impl BatchBuilder {
    /// An empty batch at `position`, in `buffer`, whose length is the most that the batch may take.
    #[must_use]
    pub fn new(buffer: IoBuf, position: Position) -> Self {
        let chain = Chain::start(&position.chain, position.container, position.batch_seq);
        Self { buffer, used: BatchHeader::SIZE, record_count: 0, position, chain }
    }

    /// Whether a payload of this many bytes still fits.
    #[must_use]
    pub fn fits(&self, stored_len: usize) -> bool {
        self.used + RecordHeader::SIZE + stored_len <= self.buffer.len()
    }

    /// Bytes the batch will take on disk if another payload of this many bytes is added.
    #[must_use]
    pub fn length_with(&self, stored_len: usize) -> u64 {
        ((self.used + RecordHeader::SIZE + stored_len) as u64).next_multiple_of(BLOCK_SIZE)
    }

    /// Whether nothing was added yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// Add a record that fits; returns the offset of its header in the container.
    pub fn push(&mut self, payload: &Payload<'_>) -> u64 {
        assert!(self.fits(payload.stored.len()), "the caller asked whether it fits");
        let offset = self.position.offset + self.used as u64;
        let body = self.used + RecordHeader::SIZE;
        let end = body + payload.stored.len();
        let payload_crc = copy_with_crc(&mut self.buffer[body..end], payload.stored, payload.next);
        let header = RecordHeader {
            codec: payload.codec,
            container: self.position.container,
            offset,
            seq: self.position.record_seq + u64::from(self.record_count),
            raw_len: payload.raw_len,
            stored_len: u32::try_from(payload.stored.len()).expect("a payload is at most CHUNK_SIZE_MAX"),
            hash: payload.hash,
            payload_crc,
        }
        .encode();
        self.buffer[self.used..body].copy_from_slice(&header);
        self.chain.add(&header);
        self.used = end;
        self.record_count += 1;
        offset
    }

    /// Finish: pad, and write the header in front.
    #[must_use]
    pub fn close(mut self) -> Batch {
        let length = (self.used as u64).next_multiple_of(BLOCK_SIZE);
        let padded = usize::try_from(length).expect("a batch fits its buffer");
        self.buffer[self.used..padded].fill(0);
        let chain = self.chain.finish();
        let header = BatchHeader {
            container: self.position.container,
            offset: self.position.offset,
            batch_seq: self.position.batch_seq,
            record_count: self.record_count,
            used: u32::try_from(self.used).expect("a batch is far below 4 GiB"),
            length: u32::try_from(length).expect("a batch is far below 4 GiB"),
            chain_prev: self.position.chain,
            chain,
        };
        header.encode_into(&mut self.buffer);
        self.buffer.truncate(padded);
        Batch { buffer: self.buffer, position: self.position, record_count: self.record_count, chain }
    }
}
