//! Storing a stream, from its bytes to the moment it would survive a power cut.
//!
//! bytes -> extents -> cut -> hash -> known? -> container -> data sync -> index commit -> recipe -> done
//!
//! The stages up to the index commit run on the workers ([`crate::shard`]); this is the caller's end. [`Put::finish`]
//! returns only when the stream would survive a power cut; until then, and after any error, nothing of its name exists.
//!
//! # Crash consistency
//! chunks durable -> recipe durable (both copies, renamed, directories synced) -> name committed to the index. A crash
//! before the last step leaves chunks that no recipe names, and perhaps a recipe that recovery adopts or removes.

mod begin;
mod durable;
pub mod front;
mod holder;
mod kept;
pub mod lineage;
pub mod named;
pub mod rewrite;
pub mod slices;
mod summary;
pub mod twin;

use std::io::Read;
use std::sync::Arc;
use std::time::Instant;

use gdd_uring::buffer::{IoBuf, Pool, Shared};
use gdd_uring::io::Io;

use crate::core::{Core, NameClaim};
use crate::driver::Patience;
use crate::error::{Error, Result};
use crate::format::recipe::{ChunkParams, Owner};
use crate::format::recipe_block::Line;
use crate::format::recipe_trailer::Tuning;
use crate::index::Batch;
use crate::limits::EXTENT_SIZE;
use crate::progress::Progress;
use crate::recipe::{RecipeTotals, RecipeWriter};
use crate::shard::mailbox::WINDOW;
use crate::tuner::{Tuner, WINDOW_BYTES};
use crate::visits::{Purpose, Visit};
use begin::{chunker_of, recipe_header, slicer_of, tuner_of};
use front::Front;
use kept::Kept;
use rewrite::Rewriter;
use slices::Slicer;
pub use summary::{PutSummary, Switch};
use summary::{ratio, switch_of, to_float};

/// How a stream is to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutOptions {
    /// What its earlier and later versions have in common; see [`lineage::lineage_of`] for a default. Recorded with
    /// the stream. Where the store's tuner is on, it chooses the chunk sizes by it; without, they are the store's.
    pub lineage: Option<String>,
    /// Bytes that the tuner looks at before it changes anything. Smaller ones are for tests.
    pub tuner_window: u64,
    /// Who keeps it alive.
    pub owner: Owner,
    /// Others rely on parts of it before it has an end: what [`Put::keep`] has answered for stays under the stream's
    /// name whatever happens, unless the stream is finished, and then it is whole.
    pub kept: bool,
}

impl Default for PutOptions {
    fn default() -> Self {
        Self { lineage: None, tuner_window: WINDOW_BYTES, owner: Owner::Manual, kept: false }
    }
}

/// A stream being stored. Dropped before [`Put::finish`], nothing of its name remains; but see [`PutOptions::kept`].
pub struct Put {
    core: Arc<Core>,
    claim: NameClaim,
    io: Box<dyn Io>,
    front: Front,
    recipe: Option<RecipeWriter>,
    pool: Pool,
    /// The extent being filled, and how far.
    filling: Option<(IoBuf, usize)>,
    extent_size: usize,
    bytes: u64,
    /// Where a chunk was last made to end.
    boundary: u64,
    started: Instant,
    lineage: Option<String>,
    params: ChunkParams,
    tuner: Option<Tuner>,
    /// How the stream began, while the tuner has a point ahead.
    head: twin::Head,
    /// Where it is to be kept before its end.
    kept: Option<Kept>,
    /// Compares it with the stream before it.
    slicer: Option<Slicer>,
    /// Stores known chunks again; of a stream that is compared, none.
    rewriter: Option<Rewriter>,
    /// The vacuum spares what it was told to be known, until its name is committed or it is given up.
    _visit: Visit,
}

impl Put {
    /// Begin a stream under a name that is free.
    ///
    /// # Errors
    /// The name is taken or unusable, the store failed, or the recipe cannot be created.
    pub fn begin(core: Arc<Core>, name: &str, patience: Box<dyn Patience>) -> Result<Self> {
        Self::begin_with(core, name, PutOptions::default(), patience)
    }

    /// The same with options.
    ///
    /// # Errors
    /// As [`Put::begin`]; or the lineage is unusable.
    pub fn begin_with(
        core: Arc<Core>,
        name: &str,
        options: PutOptions,
        patience: Box<dyn Patience>,
    ) -> Result<Self> {
        core.poison.check()?;
        let visit = core.visits.begin(Purpose::Storing);
        let claim = core.claim(name)?;
        options.lineage.as_deref().map_or(Ok(()), lineage::check)?;
        let mut io = core.open_io()?;
        let recipe = core.next_recipe();
        let tuner = tuner_of(&core, io.as_mut(), &options)?;
        let params = tuner.as_ref().map_or(core.ladder().base(), Tuner::start);
        let lineage = options.lineage.clone().unwrap_or_default();
        let header = recipe_header(&core, (recipe, options.owner), name, params, lineage);
        let kept = options.kept.then(|| Kept::new(&core.paths.recipes(), header.clone()));
        let writer = RecipeWriter::create(io.as_mut(), &core.paths.recipes(), header)?;
        let mut front = Front::new(&core.doors, recipe.0, chunker_of(params)?, patience);
        let slicer = slicer_of(&core, &options)?;
        let rewriter = if slicer.is_none() { Rewriter::begin(&core)? } else { None };
        if slicer.is_some() || rewriter.is_some() {
            front.defer();
        }
        // One extent more than are in flight or held, so that one can be filled.
        let extent_size = core.extent_size;
        let pool = Pool::new(extent_size, WINDOW + 1 + rewriter.as_ref().map_or(0, Rewriter::held_max));
        let started = Instant::now();
        Ok(Self {
            core,
            claim,
            io,
            front,
            recipe: Some(writer),
            pool,
            filling: None,
            extent_size,
            bytes: 0,
            boundary: 0,
            started,
            lineage: options.lineage,
            params,
            tuner,
            head: twin::Head::default(),
            kept,
            slicer,
            rewriter,
            _visit: visit,
        })
    }

    /// Add bytes, copied into extents.
    ///
    /// # Errors
    /// The store failed; the stream is lost.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        self.write_with(bytes.len(), &mut |part| {
            let (now, later) = bytes.split_at(part.len());
            part.copy_from_slice(now);
            bytes = later;
        })
    }

    /// Add `len` bytes that `copy` fills in, part after part, where they will be cut from: one copy from a ring.
    ///
    /// # Errors
    /// The store failed; the stream is lost.
    pub fn write_with(&mut self, mut len: usize, copy: &mut dyn FnMut(&mut [u8])) -> Result<()> {
        while len > 0 {
            let (mut extent, filled) = self.extent()?;
            let count = len.min(extent.len() - filled);
            copy(&mut extent[filled..filled + count]);
            len -= count;
            self.filled(extent, filled + count)?;
        }
        Ok(())
    }

    /// Add an extent without copying it, at most [`EXTENT_SIZE`] long.
    ///
    /// # Errors
    /// It is too long, or the store failed and the stream is lost.
    pub fn write_shared(&mut self, extent: Shared) -> Result<()> {
        if extent.len() as u64 > EXTENT_SIZE {
            return Err(Error::Invalid(format!("an extent of {} bytes is over {EXTENT_SIZE}", extent.len())));
        }
        self.send_partial()?;
        self.send(extent, false)
    }

    /// What is written next is the start of something of its own, a file: a chunk ends here, unless the last one that
    /// was made to end is less than a smallest chunk away. So a file is cut alike whatever stands before it.
    ///
    /// # Errors
    /// The store failed; the stream is lost.
    pub fn split(&mut self) -> Result<()> {
        if self.written() - self.boundary < u64::from(self.params.min) {
            return Ok(());
        }
        self.end_chunk()
    }

    /// Add everything that `source` gives until its end; returns how much that was.
    ///
    /// # Errors
    /// `source` failed, or the store did; the stream is lost.
    pub fn read_from(&mut self, source: &mut dyn Read, progress: &mut dyn FnMut(Progress)) -> Result<u64> {
        let before = self.written();
        loop {
            let (mut extent, filled) = self.extent()?;
            let (count, ended) = match source.read(&mut extent[filled..]) {
                Ok(count) => (count, count == 0),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => (0, false),
                Err(source) => {
                    return Err(Error::Io { action: "read", path: "the source".into(), source });
                }
            };
            self.filled(extent, filled + count)?;
            progress(Progress { stage: "store", done: self.written() - before, total: None });
            if ended {
                return Ok(self.written() - before);
            }
        }
    }

    /// Bytes taken in so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.bytes + self.filling.as_ref().map_or(0, |(_, filled)| *filled as u64)
    }

    /// End the stream: returns when all of it is durable and its name is.
    ///
    /// # Errors
    /// The store failed; nothing of the name remains, though chunks may.
    pub fn finish(mut self) -> Result<PutSummary> {
        self.send_partial()?;
        self.end_front()?;
        let (added, chunks) = self.front.added();
        let totals = RecipeTotals {
            new_bytes: added.bytes,
            new_chunks: added.chunks,
            stored_bytes: added.stored_bytes,
            tuning: self.tuner.as_ref().map_or(Tuning::default(), Tuner::record),
        };
        let recipe = self.recipe.take().expect("a stream is finished once");
        let row = recipe.finish(self.io.as_mut(), totals, &self.core.poison)?;
        assert_eq!((row.logical_bytes, row.chunk_count), (self.bytes, chunks), "the recipe holds the stream");
        let batch = Batch { recipes: vec![row], ..Batch::default() };
        self.core.index.commit(batch).inspect_err(|error| self.core.poison.set(error))?;
        if let Some(kept) = self.kept.take() {
            kept.remove(self.io.as_mut());
        }
        let seconds = self.started.elapsed().as_secs_f64().max(1e-9);
        Ok(PutSummary {
            name: self.claim.name().to_owned(),
            bytes: self.bytes,
            new_bytes: added.bytes,
            stored_bytes: added.stored_bytes,
            chunks,
            new_chunks: added.chunks,
            rewritten_bytes: added.rewritten_bytes,
            rewritten_chunks: added.rewritten_chunks,
            dedup_ratio: ratio(self.bytes, added.bytes),
            seconds,
            throughput_bytes_per_second: to_float(self.bytes) / seconds,
            lineage: self.lineage.take(),
            slices: self.slicer.as_ref().map(Slicer::totals),
            chunk_size_min: self.params.min,
            chunk_size_avg: self.params.avg,
            chunk_size_max: self.params.max,
            chunk_size_switch: self.tuner.as_ref().and_then(Tuner::switch).map(switch_of),
            chunk_size_why: match &self.tuner {
                Some(tuner) => tuner.why().to_owned(),
                None if self.core.settings.tuner => "no lineage: the store's sizes".to_owned(),
                None => "the tuner is off: the store's sizes".to_owned(),
            },
        })
    }

    /// The extent being filled, or a fresh one.
    fn extent(&mut self) -> Result<(IoBuf, usize)> {
        if let Some(filling) = self.filling.take() {
            return Ok(filling);
        }
        loop {
            if let Some(extent) = self.pool.take() {
                return Ok((extent, 0));
            }
            self.wait()?;
        }
    }

    /// Put an extent back, or send it when it is full.
    fn filled(&mut self, extent: IoBuf, filled: usize) -> Result<()> {
        if filled < extent.len() {
            self.filling = Some((extent, filled));
            return Ok(());
        }
        self.send(extent.freeze(), false)
    }

    fn send_partial(&mut self) -> Result<()> {
        match self.filling.take() {
            Some((mut extent, filled)) if filled > 0 => {
                extent.truncate(filled);
                self.send(extent.freeze(), false)
            }
            _ => Ok(()),
        }
    }

    /// The chunk under way ends here.
    fn end_chunk(&mut self) -> Result<()> {
        self.boundary = self.written();
        let (mut extent, filled) = self.filling.take().unwrap_or_else(|| (IoBuf::zeroed(0), 0));
        extent.truncate(filled);
        self.send(extent.freeze(), true)
    }

    fn send(&mut self, extent: Shared, ends: bool) -> Result<()> {
        let point = self.tuner.as_ref().and_then(Tuner::point).map(|point| point - self.bytes);
        match point.and_then(|ahead| usize::try_from(ahead).ok()) {
            Some(ahead) if ahead < extent.len() => {
                if ahead > 0 {
                    self.pass(extent.slice(0..ahead), false)?;
                }
                self.pass_point()?;
                self.pass(extent.slice(ahead..extent.len()), ends)
            }
            _ => self.pass(extent, ends),
        }
    }

    /// The tuner's point is reached, and more is coming: the tuner decides, knowing everything before it.
    fn pass_point(&mut self) -> Result<()> {
        self.settle()?;
        self.note_chunks()?;
        let (Some(tuner), Some(lineage)) = (&mut self.tuner, &self.lineage) else { return Ok(()) };
        let twin = match tuner.may_have_twin() {
            true => twin::find(&self.core, self.io.as_mut(), lineage, (self.bytes, self.params), &self.head)?,
            false => None,
        };
        match tuner.decide(twin) {
            Some(sizes) => self.front.switch(chunker_of(sizes)?),
            None => Ok(()),
        }
    }

    fn pass(&mut self, extent: Shared, ends: bool) -> Result<()> {
        debug_assert!(
            extent.len() <= self.extent_size.max(usize::try_from(EXTENT_SIZE).unwrap_or(usize::MAX))
        );
        self.bytes += extent.len() as u64;
        while self.is_deferred() && self.deferred() + self.front.in_flight() >= WINDOW {
            self.wait()?;
        }
        self.front.send(extent, ends)?;
        self.note_chunks()
    }

    /// Let the workers get on, and take in what they did.
    fn wait(&mut self) -> Result<()> {
        self.front.wait()?;
        self.slice()?;
        self.rewrite(false)
    }

    /// Everything that was written is cut, placed and durable, the last chunk as if the stream ended here.
    fn end_front(&mut self) -> Result<()> {
        if self.is_deferred() {
            self.front.cut_all()?;
            self.slice()?;
            self.drain()?;
        }
        self.front.finish()?;
        self.note_chunks()
    }

    /// Whether somebody looks at the chunks before they are placed.
    fn is_deferred(&self) -> bool {
        self.slicer.is_some() || self.rewriter.is_some()
    }

    /// Extents that are being looked at.
    fn deferred(&self) -> usize {
        self.slicer.as_ref().map_or(0, Slicer::in_flight)
            + self.rewriter.as_ref().map_or(0, Rewriter::in_flight)
    }

    /// Everything that was cut is placed.
    fn drain(&mut self) -> Result<()> {
        loop {
            self.rewrite(true)?;
            if self.deferred() == 0 && self.rewriter.as_ref().is_none_or(Rewriter::is_empty) {
                return Ok(());
            }
            self.wait()?;
        }
    }

    /// Wait until what was sent is placed, but for the last bytes whose chunk is not complete.
    fn settle(&mut self) -> Result<()> {
        self.front.settle()?;
        self.drain()?;
        self.front.settle()
    }

    /// Let the choice of what is stored again get on; with `all`, it does not wait for more of the stream.
    fn rewrite(&mut self, all: bool) -> Result<()> {
        self.rewriter.as_mut().map_or(Ok(()), |rewriter| rewriter.advance(&mut self.front, all))
    }

    /// Let the comparison with the stream before get on.
    fn slice(&mut self) -> Result<()> {
        let Some(slicer) = &mut self.slicer else { return Ok(()) };
        slicer.advance(&mut self.front)?;
        let recipe = self.recipe.as_mut().expect("the stream is not finished");
        slicer.take_lines().try_for_each(|line| match line {
            Line::Piece(entry) => recipe.push_entry(self.io.as_mut(), entry),
            Line::Mark(mark) => recipe.push_mark(self.io.as_mut(), mark),
        })
    }

    fn note_chunks(&mut self) -> Result<()> {
        self.slice()?;
        self.rewrite(false)?;
        let recipe = self.recipe.as_mut().expect("the stream is not finished");
        let follows = self.tuner.as_ref().is_some_and(|tuner| tuner.point().is_some());
        for chunk in self.front.take_chunks() {
            recipe.push(self.io.as_mut(), chunk.hash, chunk.len)?;
            if let Some(kept) = &mut self.kept {
                kept.push(chunk);
            }
            if follows {
                self.head.push(chunk.hash);
            }
        }
        for sample in self.front.take_samples() {
            if let Some(tuner) = &mut self.tuner {
                tuner.sample(sample);
            }
        }
        Ok(())
    }
}

impl Drop for Put {
    fn drop(&mut self) {
        if let Some(recipe) = self.recipe.take() {
            recipe.abort(self.io.as_mut());
        }
        if let Some(kept) = self.kept.take() {
            if kept.secured() > 0 {
                // Only recovery makes a stream of it, and it runs when the store is opened after a failure.
                self.core.poison.set(&format!("{:?} has no end, and part of it is kept", self.claim.name()));
            }
            kept.leave(self.io.as_mut());
        }
    }
}
