//! Cut one stream on several cores and get exactly the chunks of a serial cut.
//!
//! Where a chunk ends depends on where it starts, so a stream cut in parallel pieces would have other chunks than the
//! same stream cut in one go, and a second backup would find nothing again. The stitcher repairs that: an extent is cut
//! by some core as if a cut stood at its start; here the true cuts are carried over the seam and followed, serially,
//! until one falls on a speculative cut. From there on both agree, because the next cut depends only on where a chunk
//! starts and on what follows.
//!
//! # Invariants
//! - The pieces of all extents, in order, are the stream, and their cuts are those of the serial chunker.
//! - At most one maximum chunk size of bytes is held back between extents.
//! - Without agreement (periodic data) the extent is simply cut and hashed once more, at serial speed.

use crate::chunker::{Chunker, Cut, DATA_SIZE_MAX};

/// Where a piece's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the extent that was passed to [`Stitcher::extent`].
    Extent,
    /// In [`Stitched::seam`].
    Seam,
}

/// One true chunk of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Which buffer `start` refers to.
    pub place: Place,
    /// Byte offset in that buffer.
    pub start: u32,
    /// Bytes.
    pub len: u32,
    /// BLAKE3-256 of those bytes.
    pub hash: [u8; 32],
}

/// The chunks that one extent completed; keep it and pass it again, its buffers are reused.
#[derive(Debug, Default)]
pub struct Stitched {
    /// Bytes of the chunks that began in an earlier extent, one after another.
    pub seam: Vec<u8>,
    /// All chunks, in stream order.
    pub chunks: Vec<Piece>,
}

impl Stitched {
    /// The bytes of `piece`, which is one of [`Stitched::chunks`] and came from `extent`.
    ///
    /// # Panics
    /// The piece is of another extent.
    #[must_use]
    pub fn bytes<'a>(&'a self, extent: &'a [u8], piece: &Piece) -> &'a [u8] {
        let whole = match piece.place {
            Place::Extent => extent,
            Place::Seam => &self.seam,
        };
        &whole[piece.start as usize..][..piece.len as usize]
    }
}

/// Follows the true cuts of one stream through its extents.
#[derive(Debug)]
pub struct Stitcher {
    chunker: Chunker,
    /// What follows the last true cut; where it will be cut is not known yet.
    tail: Vec<u8>,
    /// Scratch.
    cuts: Vec<Cut>,
}

impl Stitcher {
    /// A stitcher at the start of a stream.
    #[must_use]
    pub fn new(chunker: Chunker) -> Self {
        Self { chunker, tail: Vec::new(), cuts: Vec::new() }
    }

    /// Bytes taken in whose chunk is not complete yet; less than [`Params::max`](crate::Params::max).
    #[must_use]
    pub fn held(&self) -> usize {
        self.tail.len()
    }

    /// Take the next extent of the stream, with the cuts that [`Chunker::cut_and_hash`] found in it as if it were a
    /// stream of its own (all, some of the first, or none). `out` is overwritten with the chunks that this extent
    /// completes. With `last` the stream ends here, and the next extent starts a new one.
    ///
    /// # Panics
    /// The extent is longer than 2 GiB, or `speculative` does not fit it: not consecutive from its start, or beyond its
    /// end.
    pub fn extent(&mut self, data: &[u8], speculative: &[Cut], last: bool, out: &mut Stitched) {
        assert!(data.len() <= DATA_SIZE_MAX, "an extent is at most 2 GiB long");
        out.chunks.clear();
        out.seam.clear();
        let Some(start) = self.cross_seam(data, last, out) else { return };
        let end = self.follow(data, start, self.trusted(data, speculative, last), last, out);
        assert!(end == data.len() || !last, "the end of a stream is a cut");
        self.tail.extend_from_slice(&data[end..]);
    }

    /// Complete the chunks that began before this extent. Returns where the first chunk that begins in it starts, or
    /// nothing if the extent only made the tail longer.
    fn cross_seam(&mut self, data: &[u8], last: bool, out: &mut Stitched) -> Option<usize> {
        let max = self.chunker.params().max as usize;
        let held = self.tail.len();
        if held == 0 {
            return Some(0);
        }
        if held + data.len() < max && !last {
            // The cut may be in sight, but looking for it in every crumb would cost the square of the crumbs.
            self.tail.extend_from_slice(data);
            return None;
        }
        std::mem::swap(&mut self.tail, &mut out.seam);
        // A chunk that begins in the tail ends within this.
        let head = data.len().min(max);
        out.seam.extend_from_slice(&data[..head]);
        self.cuts.clear();
        let ends_stream = last && head == data.len();
        let end = self.chunker.cut_and_hash_until(&out.seam, 0, ends_stream, |at| at >= held, &mut self.cuts);
        out.chunks.extend(pieces(Place::Seam, &self.cuts));
        let crossed = end.checked_sub(held);
        if crossed.is_none() {
            assert!(head == data.len(), "a full maximum of bytes always holds a cut");
            self.tail.extend_from_slice(&out.seam[end..]);
        }
        out.seam.truncate(end);
        crossed
    }

    /// Cut on from the true cut `start` until a speculative one is met, and take over the rest. Returns the last cut.
    fn follow(
        &mut self,
        data: &[u8],
        start: usize,
        mut speculative: &[Cut],
        last: bool,
        out: &mut Stitched,
    ) -> usize {
        self.cuts.clear();
        let met = |at: usize| {
            let passed = speculative.partition_point(|cut| (cut.start as usize) < at);
            speculative = &speculative[passed..];
            speculative.first().is_some_and(|cut| cut.start as usize == at)
        };
        let mut end = self.chunker.cut_and_hash_until(data, start, last, met, &mut self.cuts);
        out.chunks.extend(pieces(Place::Extent, &self.cuts));
        // Not met: the cuts that are left start behind the last true one.
        let adopted = speculative.first().is_some_and(|cut| cut.start as usize == end);
        if !adopted {
            return end;
        }
        out.chunks.extend(pieces(Place::Extent, speculative));
        end = speculative.last().map_or(end, |cut| cut.end() as usize);
        if last || data.len() - end >= self.chunker.params().max as usize {
            self.cuts.clear();
            end = self.chunker.cut_and_hash_until(data, end, last, |_| false, &mut self.cuts);
            out.chunks.extend(pieces(Place::Extent, &self.cuts));
        }
        end
    }

    /// The speculative cuts without one that stands there only because the extent ended, if the stream did not.
    fn trusted<'a>(&self, data: &[u8], speculative: &'a [Cut], last: bool) -> &'a [Cut] {
        let mut end = 0;
        for cut in speculative {
            assert!(cut.start == end, "speculative cuts are consecutive");
            end = cut.end();
        }
        assert!(end as usize <= data.len(), "speculative cuts lie in their extent");
        match speculative {
            [rest @ .., cut]
                if !last && cut.end() as usize == data.len() && cut.len < self.chunker.params().max =>
            {
                rest
            }
            all => all,
        }
    }
}

fn pieces(place: Place, cuts: &[Cut]) -> impl Iterator<Item = Piece> {
    cuts.iter().map(move |&Cut { start, len, hash }| Piece { place, start, len, hash })
}
