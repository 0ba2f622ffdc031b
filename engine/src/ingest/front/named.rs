//! The front of a stream that somebody else has cut: chunks come by name, and only those that the store does not have
//! come with their bytes.
//!
//! # Invariants
//! - A question waits for nothing but its turn; at most [`QUESTIONS_MAX`] are open.
//! - What is given here was hashed here: a name that came from elsewhere is never stored beside bytes.

use std::sync::Arc;

use gdd_uring::buffer::Shared;

use super::{Front, Owed};
use crate::error::Result;
use crate::ids::ChunkHash;
use crate::shard::mailbox::{Placement, QUESTIONS_MAX, Request, Stored, WINDOW, Wanted};
use crate::shard::route;
use crate::tuner::Sample;

/// A question that was asked.
#[derive(Debug)]
pub(super) struct Asked {
    /// For each worker, the places of its chunks in the question.
    places: Vec<Vec<usize>>,
    stored: Vec<Option<Stored>>,
    /// Workers that have not answered.
    owed: usize,
}

impl Front {
    /// Ask which chunks the store has; the question's number. Waits while too many are open.
    ///
    /// # Errors
    /// The store failed; the stream is lost.
    pub fn ask(&mut self, hashes: &[ChunkHash]) -> Result<u64> {
        self.pump()?;
        while self.questions.len() >= QUESTIONS_MAX && self.questions.iter().any(|asked| asked.owed > 0) {
            self.pause()?;
        }
        let question = self.question_next + self.questions.len() as u64;
        let workers = self.links.len();
        let mut places: Vec<Vec<usize>> = vec![Vec::new(); workers];
        let mut shares: Vec<Vec<ChunkHash>> = vec![Vec::new(); workers];
        for (place, hash) in hashes.iter().enumerate() {
            let worker = route(hash, workers);
            places[worker].push(place);
            shares[worker].push(*hash);
        }
        let mut owed = 0;
        for (link, hashes) in self.links.iter_mut().zip(shares) {
            if !hashes.is_empty() {
                owed += 1;
                link.send(Request::Ask { question, hashes });
            }
        }
        self.questions.push_back(Asked { places, stored: vec![None; hashes.len()], owed });
        Ok(question)
    }

    /// The answer to the oldest question, if it is there: the length of each chunk that is known.
    ///
    /// # Errors
    /// The store failed; the stream is lost.
    pub fn answer(&mut self) -> Result<Option<Vec<Option<u32>>>> {
        let lengths = |stored: Vec<Option<Stored>>| {
            stored.into_iter().map(|stored| stored.map(|stored| stored.raw_len)).collect()
        };
        Ok(self.answer_places()?.map(lengths))
    }

    /// The same with the place of each chunk that is known.
    ///
    /// # Errors
    /// The store failed; the stream is lost.
    pub fn answer_places(&mut self) -> Result<Option<Vec<Option<Stored>>>> {
        self.pump()?;
        if self.questions.front().is_none_or(|asked| asked.owed > 0) {
            return Ok(None);
        }
        self.question_next += 1;
        Ok(self.questions.pop_front().map(|asked| asked.stored))
    }

    /// Store those of these chunks, which lie in `extent`, that are new; its number. Waits while the window is full.
    ///
    /// # Errors
    /// The store failed; the stream is lost.
    pub fn give(&mut self, extent: &Shared, chunks: &[Wanted]) -> Result<u64> {
        self.pump()?;
        while self.placing.len() >= WINDOW {
            self.pause()?;
        }
        let bytes = chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
        let mut shares: Vec<Vec<Wanted>> = vec![Vec::new(); self.links.len()];
        for chunk in chunks {
            shares[route(&chunk.hash, self.links.len())].push(*chunk);
        }
        let number = self.place_next + self.placing.len() as u64;
        self.distribute(extent, Vec::new(), shares, bytes);
        Ok(number)
    }

    /// Whether the workers have taken in everything up to this extent.
    #[must_use]
    pub fn is_placed(&self, extent_number: u64) -> bool {
        extent_number < self.place_next
    }

    /// Begin to make durable what the workers have, of whichever stream; `false` while they are at it already.
    ///
    /// # Errors
    /// The store failed; the stream is lost.
    pub fn flush(&mut self) -> Result<bool> {
        self.pump()?;
        let free = self.durable_owed == 0;
        if free {
            self.begin_flush();
        }
        Ok(free)
    }

    /// Whether the flush that was begun last is over.
    ///
    /// # Errors
    /// The store failed; the stream is lost.
    pub fn is_flushed(&mut self) -> Result<bool> {
        self.pump()?;
        Ok(self.durable_owed == 0)
    }

    /// Send chunks to the workers that own them.
    pub(super) fn distribute(
        &mut self,
        extent: &Shared,
        seam: Vec<u8>,
        shares: Vec<Vec<Wanted>>,
        bytes: u64,
    ) {
        let extent_number = self.place_next + self.placing.len() as u64;
        self.placed_bytes += bytes;
        let seam = Arc::new(seam);
        let mut owed = Owed { workers: 0, sample: Sample { bytes, new_bytes: 0 } };
        for (link, chunks) in self.links.iter_mut().zip(shares) {
            if !chunks.is_empty() {
                owed.workers += 1;
                let (extent, seam) = (extent.clone(), Arc::clone(&seam));
                link.send(Request::Place(Placement { extent_number, extent, seam, chunks }));
            }
        }
        self.placing.push_back(owed);
        self.retire_placed();
    }

    /// A worker answered.
    pub(super) fn answered(&mut self, worker: usize, question: u64, stored: &[Option<Stored>]) {
        let slot = super::index_of(question, self.question_next);
        let asked = &mut self.questions[slot];
        asked.owed -= 1;
        for (place, stored) in asked.places[worker].iter().zip(stored) {
            asked.stored[*place] = *stored;
        }
    }
}
