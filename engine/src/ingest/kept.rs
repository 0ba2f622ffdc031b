//! The part of a stream that is kept whatever happens: see [`super::PutOptions::kept`].

use std::collections::VecDeque;
use std::path::Path;

use gdd_uring::io::Io;

use super::front::StreamChunk;
use crate::error::Result;
use crate::format::recipe::RecipeHeader;
use crate::recipe::Journal;

/// A stream's journal, and what stands in it.
pub(super) struct Kept {
    journal: Journal,
    /// Chunks that are not durable yet.
    waiting: VecDeque<StreamChunk>,
    /// Bytes of the chunks before those.
    bytes: u64,
    /// Of them, bytes that were secured.
    secured: u64,
}

impl Kept {
    /// Of the stream that `header` names.
    pub(super) fn new(recipes: &Path, header: RecipeHeader) -> Self {
        let journal = Journal::new(recipes, header);
        Self { journal, waiting: VecDeque::new(), bytes: 0, secured: 0 }
    }

    /// The stream's next chunk, durable or not.
    pub(super) fn push(&mut self, chunk: StreamChunk) {
        self.waiting.push_back(chunk);
    }

    /// Secure all chunks that end within the first `durable` bytes; returns the bytes that are secured.
    ///
    /// # Errors
    /// The disk refused; the journal is worth nothing any more.
    pub(super) fn keep(&mut self, io: &mut dyn Io, durable: u64) -> Result<u64> {
        while let Some(chunk) = self.waiting.front()
            && self.bytes + u64::from(chunk.len) <= durable
        {
            self.bytes += u64::from(chunk.len);
            self.journal.push(chunk.hash, chunk.len);
            self.waiting.pop_front();
        }
        if self.bytes > self.secured {
            self.journal.secure(io)?;
            self.secured = self.bytes;
        }
        Ok(self.secured)
    }

    /// Bytes from the start that are secured.
    pub(super) fn secured(&self) -> u64 {
        self.secured
    }

    /// The stream is whole.
    pub(super) fn remove(self, io: &mut dyn Io) {
        self.journal.remove(io);
    }

    /// The stream has no end.
    pub(super) fn leave(self, io: &mut dyn Io) {
        self.journal.leave(io);
    }
}
