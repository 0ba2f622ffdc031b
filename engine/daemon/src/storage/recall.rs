//! Giving a stream back, from any byte, mostly on from where the last request ended.

use gdd_engine::error::Result;
use gdd_engine::get::Get;
use gdd_uring::buffer::Shared as Piece;

use super::Shared;

/// A stream that is being read.
pub(super) struct Reading {
    stream: u64,
    at: u64,
    get: Get,
    /// What is left of the last piece.
    rest: Option<Piece>,
}

impl Reading {
    /// Reads `stream`, called `name`, from byte `at`.
    pub(super) fn begin(shared: &Shared, stream: u64, name: &str, at: u64) -> Result<Self> {
        let get = Get::begin_at(shared.store.core(), &shared.shelf, name, at)?;
        Ok(Self { stream, at, get, rest: None })
    }

    /// Whether it goes on at byte `at` of `stream`.
    pub(super) fn goes_on(&self, stream: u64, at: u64) -> bool {
        (self.stream, self.at) == (stream, at)
    }

    /// The next bytes, at most `most`; nothing at the end.
    pub(super) fn next(&mut self, most: usize) -> Result<Option<Piece>> {
        let piece = match self.rest.take() {
            Some(piece) => piece,
            None => match self.get.next()? {
                Some(piece) => piece,
                None => return Ok(None),
            },
        };
        let len = piece.len().min(most);
        if len < piece.len() {
            self.rest = Some(piece.slice(len..piece.len()));
        }
        self.at += len as u64;
        Ok(Some(piece.slice(0..len)))
    }
}
