//! Restoring a stream: recipe -> locate -> plan -> read ahead -> verify -> hand out.
//!
//! The work is done by [`crate::recall`]; here is what a caller holds. The end of a stream is a checked statement: the
//! recipe's totals and digest hold, and exactly as many bytes were given as the stream has.

use std::sync::Arc;

use gdd_uring::buffer::Shared;

use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::ChunkHash;
use crate::index::RecipeState;
use crate::observe::Histograms;
use crate::options::Trust;
use crate::recall::cache::SegmentCache;
use crate::recall::entries::RecipeEntries;
use crate::recall::proof::Proof;
use crate::recall::stream::StreamReader;
use crate::recall::{Recall, RecallConfig};
use crate::recipe::RecipeReader;
use crate::suspects::Suspects;
use crate::visits::{Purpose, Visit};

/// A stream being restored.
pub struct Get {
    stream: StreamReader<RecipeEntries>,
    proof: Proof,
    name: String,
    bytes: u64,
    given: u64,
    failed: bool,
    suspects: Suspects,
    /// The vacuum leaves what it found where it found it.
    _visit: Visit,
}

/// What every restore of one open store shares.
#[derive(Clone)]
pub struct Shelf {
    /// Segments read lately.
    pub cache: Arc<SegmentCache>,
    /// Where the time of each chunk is recorded.
    pub histograms: Arc<Histograms>,
}

impl Shelf {
    /// With room for `bytes` of segments, checked up to `trust`.
    #[must_use]
    pub fn new(bytes: usize, trust: Trust) -> Self {
        let cache = SegmentCache::new(bytes as u64).trusting(trust);
        Self { cache: Arc::new(cache), histograms: Arc::default() }
    }
}

/// Access to single chunks, for the calling thread.
///
/// # Errors
/// The disk refused.
pub fn recall(core: &Core, shelf: &Shelf) -> Result<Recall> {
    let cache = Arc::clone(&shelf.cache);
    let index = Arc::clone(&core.index);
    // A simulation steps everything on one thread.
    let scattered = core.suspects.twice();
    let mut config = if scattered { RecallConfig::scattered() } else { RecallConfig::default() };
    config.helper &= core.source.mode() != "sim";
    Ok(Recall::new(core.open_io()?, core.paths.root(), index, cache, &shelf.histograms, config))
}

/// A chunk of a stream.
#[derive(Clone)]
pub struct Placed {
    /// Where in the stream it begins.
    pub offset: u64,
    /// What it must hash to.
    pub hash: ChunkHash,
    /// All of it.
    pub bytes: Shared,
}

/// A stream, chunk after chunk, read ahead.
pub struct WholeChunks {
    stream: StreamReader<RecipeEntries>,
    given: u64,
    suspects: Suspects,
    /// The vacuum leaves what it found where it found it.
    _visit: Visit,
}

impl WholeChunks {
    /// Begin with the chunk of the stream called `name` in which byte `offset` lies.
    ///
    /// # Errors
    /// There is no such stream, it is not that long, its recipe is damaged in both copies, or the disk refused.
    pub fn begin_at(core: &Core, shelf: &Shelf, name: &str, offset: u64) -> Result<Self> {
        let visit = core.visits.begin(Purpose::Reading);
        let row = core.index.recipe(name)?.filter(|row| row.state == RecipeState::Live);
        let row = row.ok_or_else(|| Error::NoSuchStream(name.to_owned()))?;
        if offset >= row.logical_bytes {
            let length = row.logical_bytes;
            let why = format!("byte {offset} of {name:?}, which has {length}, was asked for");
            return Err(Error::Invalid(why));
        }
        let mut io = core.open_io()?;
        let reader = RecipeReader::open(io.as_mut(), &core.paths.recipes(), row.recipe, core.store)?;
        let stream = recall(core, shelf)?.stream(RecipeEntries::whole_from(reader, io, offset));
        Ok(Self { stream, given: 0, suspects: core.suspects.clone(), _visit: visit })
    }

    /// The next chunk, or nothing at the checked end.
    ///
    /// # Errors
    /// Damage, naming chunk and container; after an error there is nothing more.
    #[expect(clippy::should_implement_trait, reason = "an iterator of results does not end at an error")]
    pub fn next(&mut self) -> Result<Option<Placed>> {
        let part = self.stream.next().inspect_err(|error| {
            if let Error::ChunkLost { hash, .. } = error
                && let Some(hash) = ChunkHash::parse(hash)
            {
                self.suspects.note(hash);
            }
        });
        let Some(bytes) = part? else { return Ok(None) };
        let hash = self.stream.chunk_given().expect("a piece is of a chunk");
        let offset = self.stream.entries().offset() + self.given;
        self.given += bytes.len() as u64;
        Ok(Some(Placed { offset, hash, bytes }))
    }
}

impl Get {
    /// Begin to restore the stream called `name`.
    ///
    /// # Errors
    /// There is none, its recipe is damaged in both copies, or the disk refused.
    pub fn begin(core: &Core, shelf: &Shelf, name: &str) -> Result<Self> {
        Self::begin_at(core, shelf, name, 0)
    }

    /// The same from byte `offset` on. What is before is skipped in the recipe, block by block, and not read.
    ///
    /// # Errors
    /// As [`Get::begin`]; or the stream is shorter than that.
    pub fn begin_at(core: &Core, shelf: &Shelf, name: &str, offset: u64) -> Result<Self> {
        let visit = core.visits.begin(Purpose::Reading);
        let row = core.index.recipe(name)?.filter(|row| row.state == RecipeState::Live);
        let row = row.ok_or_else(|| Error::NoSuchStream(name.to_owned()))?;
        let mut io = core.open_io()?;
        let reader = RecipeReader::open(io.as_mut(), &core.paths.recipes(), row.recipe, core.store)?;
        for (side, error) in reader.damage() {
            tracing::warn!("copy {side:?} of the recipe of {name:?} is damaged, the other is used: {error}");
        }
        let bytes = row.logical_bytes.checked_sub(offset).ok_or_else(|| {
            Error::Invalid(format!(
                "byte {offset} of {name:?}, which has {}, was asked for",
                row.logical_bytes
            ))
        })?;
        let stream = recall(core, shelf)?.stream(RecipeEntries::from(reader, io, offset));
        let suspects = core.suspects.clone();
        let (proof, name) = (Proof::new(offset), name.to_owned());
        Ok(Self { stream, proof, name, bytes, given: 0, failed: false, suspects, _visit: visit })
    }

    /// Length of what is restored: of the stream from where it was begun.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next verified bytes, or nothing at the checked end.
    ///
    /// # Errors
    /// Damage, naming chunk and container; and from then on again at every call: a broken stream never looks ended.
    #[expect(clippy::should_implement_trait, reason = "an iterator of results does not end at an error")]
    pub fn next(&mut self) -> Result<Option<Shared>> {
        if self.failed {
            return Err(self.broken("it failed before"));
        }
        let part = self.proved();
        self.failed = part.is_err();
        if let Err(Error::ChunkLost { hash, .. }) = &part
            && let Some(hash) = ChunkHash::parse(hash)
        {
            self.suspects.note(hash);
        }
        match &part {
            Ok(Some(piece)) => self.given += piece.len() as u64,
            Ok(None) if self.given != self.bytes || !self.proof.is_empty() => {
                self.failed = true;
                return Err(self.broken("it ended early"));
            }
            _ => {}
        }
        part
    }

    /// The next bytes, with the proof of those that are made of slices.
    fn proved(&mut self) -> Result<Option<Shared>> {
        loop {
            if let Some(piece) = self.proof.give() {
                return Ok(Some(piece));
            }
            let Some(piece) = self.stream.next()? else { return Ok(None) };
            self.proof.expect(self.stream.entries_mut().take_marks());
            self.proof.take(piece)?;
        }
    }

    fn broken(&self, why: &str) -> Error {
        let (given, bytes) = (self.given, self.bytes);
        Error::ChunkLost {
            hash: format!("after {given} of {bytes} bytes of {:?}", self.name),
            why: format!("{why}; nothing more is given"),
        }
    }
}
