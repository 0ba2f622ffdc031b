//! The chunker: cut points of a buffer, and the fused cut-and-hash stage.

use std::sync::Arc;

use crate::hash::Hasher;
use crate::level::{Kernels, Level};
use crate::params::Params;
use crate::portable::Masks;
use crate::zero::ZeroChunk;

/// Bytes cut before they are hashed: enough chunks to fill the lanes, few enough to stay in the L2 cache.
const BATCH_SIZE: usize = 384 * 1024;

/// Bytes of one call that are looked at; positions are 32 bits wide.
pub(crate) const DATA_SIZE_MAX: usize = 1 << 31;

/// One chunk of a buffer: where it lies and its BLAKE3-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Byte offset in the buffer.
    pub start: u32,
    /// Bytes.
    pub len: u32,
    /// BLAKE3-256 of those bytes.
    pub hash: [u8; 32],
}

impl Cut {
    /// Byte offset at which the chunk ends.
    #[must_use]
    pub fn end(&self) -> u32 {
        self.start + self.len
    }

    /// The chunk's bytes in `data`, the buffer it was cut from.
    ///
    /// # Panics
    /// `data` is shorter than that buffer.
    #[must_use]
    pub fn bytes<'a>(&self, data: &'a [u8]) -> &'a [u8] {
        &data[self.start as usize..][..self.len as usize]
    }
}

/// Cuts streams into chunks, exactly where `fastcdc::v2020::FastCDC::new` would. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Chunker {
    plan: Arc<Plan>,
}

/// What is worked out once per set of parameters.
#[derive(Debug)]
struct Plan {
    params: Params,
    masks: Masks,
    zero: ZeroChunk,
    kernels: Kernels,
}

/// The next chunk of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// This many bytes, all zero.
    Zero(usize),
    /// This many bytes.
    Data(usize),
    /// More bytes could move the cut, or there are none left.
    Unsure,
}

impl Chunker {
    /// A chunker with the fastest kernels of this CPU.
    ///
    /// # Panics
    /// `params` did not come from [`Params::new`] and would not pass it.
    #[must_use]
    pub fn new(params: Params) -> Self {
        Self::build(params, Kernels::best())
    }

    /// A chunker with the kernels of `level`, or nothing where the CPU lacks them.
    ///
    /// # Panics
    /// As [`Chunker::new`].
    #[must_use]
    pub fn with_level(params: Params, level: Level) -> Option<Self> {
        Kernels::of(level).map(|kernels| Self::build(params, kernels))
    }

    fn build(params: Params, kernels: Kernels) -> Self {
        params.check().expect("chunk sizes were checked by Params::new");
        let masks = Masks::of(params);
        let zero = ZeroChunk::new(params, masks);
        Self { plan: Arc::new(Plan { params, masks, zero, kernels }) }
    }

    /// The sizes in use.
    #[must_use]
    pub fn params(&self) -> Params {
        self.plan.params
    }

    /// The kernels in use.
    #[must_use]
    pub fn level(&self) -> Level {
        self.plan.kernels.level()
    }

    /// Length in bytes of the first chunk of `data`. The end of `data` is a cut, even below the minimum size.
    #[must_use]
    pub fn cut(&self, data: &[u8]) -> usize {
        if self.plan.zero.starts(data) { self.plan.zero.length } else { self.scan(data) }
    }

    /// Cut `data` from its start and append to `ends` where each chunk ends. Returns the bytes consumed.
    ///
    /// With `last`, the end of `data` ends the stream and is a cut. Otherwise cutting stops where more data could
    /// move the next cut, at most [`Params::max`] bytes before the end. At most 2 GiB are consumed in one call.
    pub fn cut_all(&self, data: &[u8], last: bool, ends: &mut Vec<u32>) -> usize {
        let (data, last) = clip(data, last);
        let mut position = 0;
        while let Next::Zero(length) | Next::Data(length) = self.next(&data[position..], last) {
            position += length;
            ends.push(offset(position));
        }
        position
    }

    /// Cut `data` as [`Chunker::cut_all`] does and append each chunk with its hash. Returns the bytes consumed.
    ///
    /// Some hundred KiB are cut, then hashed while they are still in the L2 cache, and so on.
    pub fn cut_and_hash(&self, data: &[u8], last: bool, out: &mut Vec<Cut>) -> usize {
        let (data, last) = clip(data, last);
        self.cut_and_hash_until(data, 0, last, |_| false, out)
    }

    /// The fused stage from `start` on, to the first position at which `stop` says so.
    pub(crate) fn cut_and_hash_until(
        &self,
        data: &[u8],
        start: usize,
        last: bool,
        mut stop: impl FnMut(usize) -> bool,
        out: &mut Vec<Cut>,
    ) -> usize {
        let mut batch = Batch { hasher: self.plan.kernels.hasher(), data, hashed: out.len(), bytes: 0, out };
        let mut position = start;
        while !stop(position) {
            match self.next(&data[position..], last) {
                Next::Zero(length) => batch.push_hashed(position, length, self.plan.zero.hash),
                Next::Data(length) => batch.push(position, length),
                Next::Unsure => break,
            }
            position = batch.end();
        }
        batch.flush();
        position
    }

    fn next(&self, rest: &[u8], last: bool) -> Next {
        if rest.is_empty() {
            return Next::Unsure;
        }
        if self.plan.zero.starts(rest) {
            return Next::Zero(self.plan.zero.length);
        }
        let length = self.scan(rest);
        let by_end_of_data = length == rest.len() && length < self.plan.params.max as usize;
        if by_end_of_data && !last { Next::Unsure } else { Next::Data(length) }
    }

    fn scan(&self, data: &[u8]) -> usize {
        self.plan.kernels.first_cut(self.plan.params, self.plan.masks, data)
    }
}

/// Chunks that are cut and wait to be hashed side by side.
struct Batch<'a> {
    hasher: Hasher,
    data: &'a [u8],
    out: &'a mut Vec<Cut>,
    /// Entries of `out` that have their hash.
    hashed: usize,
    /// Bytes that wait.
    bytes: usize,
}

impl Batch<'_> {
    fn push(&mut self, start: usize, length: usize) {
        self.out.push(Cut { start: offset(start), len: offset(length), hash: [0; 32] });
        self.bytes += length;
        if self.bytes >= BATCH_SIZE {
            self.flush();
        }
    }

    fn push_hashed(&mut self, start: usize, length: usize, hash: [u8; 32]) {
        self.flush();
        self.out.push(Cut { start: offset(start), len: offset(length), hash });
        self.hashed = self.out.len();
    }

    fn flush(&mut self) {
        self.hasher.hash_cuts(self.data, &mut self.out[self.hashed..]);
        self.hashed = self.out.len();
        self.bytes = 0;
    }

    fn end(&self) -> usize {
        self.out.last().map_or(0, |cut| cut.end() as usize)
    }
}

/// What one call looks at: what is cut off is left for the next one, so it does not end the stream.
fn clip(data: &[u8], last: bool) -> (&[u8], bool) {
    if data.len() > DATA_SIZE_MAX { (&data[..DATA_SIZE_MAX], false) } else { (data, last) }
}

fn offset(position: usize) -> u32 {
    u32::try_from(position).expect("one call looks at DATA_SIZE_MAX bytes at most")
}
