//! The front of a stream whose chunks are not placed as they come: somebody looks at them first, and may store them
//! otherwise. See [`crate::ingest::slices`].

use std::collections::VecDeque;

use gdd_kernels::Place;
use gdd_uring::buffer::Shared;

use super::{Front, StreamChunk};
use crate::error::Result;
use crate::ids::ChunkHash;
use crate::shard::mailbox::{WINDOW, Wanted};
use crate::shard::route;

/// The chunks that an extent completed, in stream order.
pub struct Batch {
    /// The extent's bytes.
    pub extent: Shared,
    /// Bytes of the chunks that began before it.
    pub seam: Vec<u8>,
    /// The chunks.
    pub chunks: Vec<Wanted>,
    /// The stream was cut as if it ended here.
    pub last: bool,
}

impl Batch {
    /// The bytes of one of its chunks.
    #[must_use]
    pub fn bytes(&self, chunk: &Wanted) -> &[u8] {
        let (start, len) = (chunk.start as usize, chunk.len as usize);
        let source: &[u8] = if chunk.in_seam { &self.seam } else { &self.extent };
        &source[start..start + len]
    }
}

impl Front {
    /// From here on chunks are only cut; [`Front::take_batch`] gives them, and [`Front::place_batch`] takes what is to
    /// be stored.
    pub fn defer(&mut self) {
        self.deferred = Some(VecDeque::with_capacity(WINDOW));
    }

    /// The next extent that was cut.
    pub fn take_batch(&mut self) -> Option<Batch> {
        self.deferred.as_mut()?.pop_front()
    }

    /// Extents under way, from their cutting to their placing.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.cutting.len() + self.deferred.as_ref().map_or(0, VecDeque::len) + self.placing.len()
    }

    /// Store those of `chunks`, which lie in `extent` and `seam`, that are new. With them the stream goes on by `bytes`
    /// bytes in `pieces` pieces. Waits while the window is full.
    ///
    /// # Errors
    /// The store failed; the stream is lost.
    pub fn place_batch(
        &mut self,
        extent: &Shared,
        seam: Vec<u8>,
        chunks: &[Wanted],
        (bytes, pieces): (u64, u64),
    ) -> Result<()> {
        self.pump()?;
        while self.placing.len() >= WINDOW {
            self.pause()?;
        }
        let mut shares: Vec<Vec<Wanted>> = vec![Vec::new(); self.links.len()];
        for chunk in chunks {
            shares[route(&chunk.hash, self.links.len())].push(*chunk);
        }
        self.chunk_count += pieces;
        self.distribute(extent, seam, shares, bytes);
        Ok(())
    }

    /// Store those chunks of `batch` that are new, or are to leave where they are; they are the next of the stream.
    /// Waits while the window is full.
    ///
    /// # Errors
    /// The store failed; the stream is lost.
    pub fn place_whole(&mut self, batch: Batch) -> Result<()> {
        let Batch { extent, seam, chunks, .. } = batch;
        let bytes = chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
        self.chunks.extend(chunks.iter().map(|chunk| StreamChunk { hash: chunk.hash, len: chunk.len }));
        self.place_batch(&extent, seam, &chunks, (bytes, chunks.len() as u64))
    }

    /// Keep what was stitched for whoever places it.
    pub(super) fn put_aside(&mut self, extent: Shared, last: bool) {
        let chunks = self.stitched.chunks.drain(..);
        let chunks = chunks.map(|piece| Wanted {
            hash: ChunkHash(piece.hash),
            start: piece.start,
            len: piece.len,
            in_seam: piece.place == Place::Seam,
            away_from: None,
        });
        let batch =
            Batch { extent, chunks: chunks.collect(), seam: std::mem::take(&mut self.stitched.seam), last };
        self.deferred.get_or_insert_default().push_back(batch);
    }
}
