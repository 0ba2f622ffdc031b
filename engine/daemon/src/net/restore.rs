//! Giving parts of a stream back: whole chunks, read ahead, mostly on from where the last request ended.

use gdd_engine::error::{Error, Result};
use gdd_engine::get::{Placed, Shelf, WholeChunks};
use gdd_engine::index::RecipeState;
use gdd_engine::store::Store;

/// A stream that is being read.
pub(super) struct Reading {
    name: String,
    chunks: WholeChunks,
    /// The chunk that was given last: the next request may begin in it.
    last: Option<Placed>,
}

/// Bytes of the stream called `name`; none where there is none.
pub(super) fn length(store: &Store, name: &str) -> Result<Option<u64>> {
    let row = store.core().index.recipe(name)?.filter(|row| row.state == RecipeState::Live);
    Ok(row.map(|row| row.logical_bytes))
}

impl Reading {
    /// Reads the stream from the chunk on in which `offset` lies.
    pub(super) fn begin(store: &Store, shelf: &Shelf, name: &str, offset: u64) -> Result<Self> {
        let chunks = WholeChunks::begin_at(store.core(), shelf, name, offset)?;
        Ok(Self { name: name.to_owned(), chunks, last: None })
    }

    /// Whether byte `offset` of the stream called `name` is in the chunk given last, or in the next one.
    pub(super) fn goes_on(&self, name: &str, offset: u64) -> bool {
        let in_last = |last: &Placed| (last.offset..=end(last)).contains(&offset);
        self.name == name && self.last.as_ref().is_some_and(in_last)
    }

    /// The chunk in which `offset` lies, or the next one.
    pub(super) fn next(&mut self, offset: u64) -> Result<Placed> {
        if let Some(last) = self.last.as_ref().filter(|last| end(last) > offset) {
            return Ok(last.clone());
        }
        let next = self.chunks.next()?;
        let next = next.ok_or_else(|| {
            Error::Invalid(format!("{:?} ended before byte {offset}, which it should have", self.name))
        })?;
        self.last = Some(next.clone());
        Ok(next)
    }
}

/// The byte behind it.
pub(super) fn end(chunk: &Placed) -> u64 {
    chunk.offset + chunk.bytes.len() as u64
}
