//! Which stretches of a stream are worth a comparison with the stream before it.
//!
//! A chunk that is known shows where the two run side by side. What is new between two such chunks that stand as far
//! from each other as in the old stream was, most likely, changed in place. What is new and was made of slices before
//! is recognised by its mark, without reading anything.

use super::base::Base;
use super::region::{Part, join};
use crate::error::{Error, Result};
use crate::format::recipe_block::Mark;
use crate::ids::ChunkHash;
use crate::ingest::front::deferred::Batch;
use crate::shard::mailbox::Wanted;
use crate::suspects::Suspects;

/// What becomes of some chunks of a batch.
#[derive(Debug)]
pub enum Item {
    /// It is known.
    Known(Wanted),
    /// They are stored.
    New(Vec<Wanted>),
    /// Slices stand for them, as they did in the old stream.
    Same(Vec<Wanted>, Vec<Part>),
    /// They are compared with what the old stream has there.
    Compared(Stretch),
}

/// Chunks in a row to be compared.
#[derive(Debug)]
pub struct Stretch {
    /// Byte of the stream at which the first begins.
    pub start: u64,
    /// The chunks.
    pub chunks: Vec<Wanted>,
    /// What the old stream has in their place.
    pub parts: Vec<Part>,
    /// It is as long as a stretch may be: it belongs to a longer run of new chunks.
    pub is_full: bool,
}

/// What ends a run of new chunks.
#[derive(Clone, Copy)]
enum End<'a> {
    /// A known chunk, here.
    Known(&'a ChunkHash),
    /// One that slices stand for.
    Same,
    /// It is as long as a stretch may be.
    Full,
    /// The stream ends.
    Stream,
}

/// How far the plan has come: carried from batch to batch.
#[derive(Debug)]
pub struct Course {
    /// Byte of the stream at which the next chunk begins.
    pub position: u64,
    /// The old stream's byte for it is so much further on.
    shift: i64,
    /// Whether the two run side by side up to here.
    beside: bool,
    /// Whether runs that are longer than a stretch were worth it lately.
    pub dense: bool,
    /// Longest stretch, in bytes.
    pub stretch_max: usize,
}

impl Course {
    /// At the start of a stream; the two begin side by side.
    #[must_use]
    pub fn new(stretch_max: usize) -> Self {
        Self { position: 0, shift: 0, beside: true, dense: false, stretch_max }
    }

    /// What becomes of the chunks of `batch`, of which `lengths` says which are known. The chunks of an unfinished run
    /// at its end are left out, unless the stream ends there: as many as are returned besides.
    ///
    /// # Errors
    /// A chunk is known with another length.
    pub fn plan(
        &mut self,
        batch: &Batch,
        lengths: &[Option<u32>],
        base: &mut Base,
        suspects: &Suspects,
    ) -> Result<(Vec<Item>, usize)> {
        let bytes: u64 = batch.chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
        let from = self.there(self.position).unwrap_or(0);
        base.reach(from, from + bytes + self.stretch_max as u64);
        let (mut items, mut run, mut run_bytes) = (Vec::new(), Vec::new(), 0);
        for (chunk, known) in batch.chunks.iter().zip(lengths) {
            if let Some(known) = known {
                same_length(chunk, *known)?;
                self.close(&mut run, End::Known(&chunk.hash), base, &mut items);
                self.follow(chunk, base);
                items.push(Item::Known(*chunk));
            } else if let Some(parts) = self.same(chunk, run_bytes, base, suspects) {
                self.close(&mut run, End::Same, base, &mut items);
                self.position += u64::from(chunk.len);
                self.beside = true;
                self.take_over(*chunk, parts, &mut items);
            } else {
                run.push(*chunk);
                run_bytes += chunk.len as usize;
                if run_bytes < self.stretch_max {
                    continue;
                }
                self.close(&mut run, End::Full, base, &mut items);
            }
            run_bytes = 0;
        }
        if batch.last {
            self.close(&mut run, End::Stream, base, &mut items);
        }
        Ok((items, run.len()))
    }

    /// The old stream's byte for byte `at`.
    fn there(&self, at: u64) -> Option<u64> {
        at.checked_add_signed(self.shift)
    }

    /// A known chunk comes next: where is the old stream?
    fn follow(&mut self, chunk: &Wanted, base: &Base) {
        let end = self.position + u64::from(chunk.len);
        self.beside = self.there(end - 1).is_some_and(|at| base.is_of(at, &chunk.hash));
        if !self.beside
            && let Some(place) = base.place(&chunk.hash)
            && let (Ok(there), Ok(here)) = (i64::try_from(place), i64::try_from(self.position))
        {
            (self.shift, self.beside) = (there - here, true);
        }
        self.position = end;
    }

    /// What stands for an unknown chunk, `before` bytes further on, if the old stream has the same one there.
    fn same(&self, chunk: &Wanted, before: usize, base: &Base, suspects: &Suspects) -> Option<Vec<Part>> {
        let at = self.there(self.position + before as u64)?;
        if suspects.has(&chunk.hash) || !base.is_marked(at, &chunk.hash, chunk.len) {
            return None;
        }
        base.parts(at, at + u64::from(chunk.len))
    }

    /// Slices stand for the next chunk. With those before it, so that a slice of both remains one.
    fn take_over(&self, chunk: Wanted, parts: Vec<Part>, items: &mut Vec<Item>) {
        if let Some(Item::Same(chunks, before)) = items.last_mut()
            && chunks.iter().map(|chunk| chunk.len as usize).sum::<usize>() < self.stretch_max
        {
            chunks.push(chunk);
            parts.into_iter().for_each(|part| join(before, part));
        } else {
            items.push(Item::Same(vec![chunk], parts));
        }
    }

    /// A run of new chunks ends: compare it, or not.
    fn close(&mut self, run: &mut Vec<Wanted>, end: End<'_>, base: &Base, items: &mut Vec<Item>) {
        if run.is_empty() {
            return;
        }
        let start = self.position;
        self.position += run.iter().map(|chunk| u64::from(chunk.len)).sum::<u64>();
        let chunks = std::mem::take(run);
        let is_full = matches!(end, End::Full);
        let parts = self.there(start).zip(self.there(self.position)).filter(|_| self.beside);
        let parts = parts.filter(|(_, behind)| match end {
            End::Known(hash) => base.is_of(*behind, hash),
            End::Stream => *behind == base.bytes(),
            End::Same | End::Full => true,
        });
        match parts.and_then(|(from, to)| base.parts(from, to)) {
            Some(parts) => items.push(Item::Compared(Stretch { start, chunks, parts, is_full })),
            None => items.push(Item::New(chunks)),
        }
        self.beside &= is_full && self.dense;
    }
}

fn same_length(chunk: &Wanted, known: u32) -> Result<()> {
    if chunk.len == known {
        return Ok(());
    }
    let why = format!("known with length {known}, now {}; run `gdd fsck`", chunk.len);
    Err(Error::ChunkLost { hash: chunk.hash.to_string(), why })
}

/// The mark of a chunk that slices stand for.
pub fn mark_of(chunk: &Wanted) -> Mark {
    Mark { hash: chunk.hash, length: chunk.len }
}
