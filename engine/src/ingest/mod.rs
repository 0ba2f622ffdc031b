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

pub mod front;
mod holder;
mod kept;
pub mod lineage;
pub mod named;
mod summary;
pub mod twin;

use std::io::Read;
use std::sync::Arc;
use std::time::Instant;

use gdd_kernels::{Chunker, Params};
use gdd_uring::buffer::{IoBuf, Pool, Shared};
use gdd_uring::io::Io;

use crate::core::{Core, NameClaim};
use crate::driver::Patience;
use crate::error::{Error, Result};
use crate::format::recipe::{ChunkParams, Owner, RecipeHeader};
use crate::format::recipe_trailer::Tuning;
use crate::ids::RecipeId;
use crate::index::Batch;
use crate::limits::EXTENT_SIZE;
use crate::progress::Progress;
use crate::recipe::{RecipeTotals, RecipeWriter};
use crate::shard::mailbox::WINDOW;
use crate::tuner::{Tuner, WINDOW_BYTES};
use crate::visits::{Purpose, Visit};
use front::Front;
use kept::Kept;
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
        let front = Front::new(&core.doors, recipe.0, chunker_of(params)?, patience);
        // One extent more than the window, so that one can be filled while all others are in flight.
        let extent_size = core.extent_size;
        let pool = Pool::new(extent_size, WINDOW + 1);
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

    /// Ask for what was written to be made durable, without waiting; the last bytes stay until their chunk is complete.
    ///
    /// # Errors
    /// The store failed; the stream is lost.
    pub fn mark(&mut self) -> Result<()> {
        self.front.mark()?;
        self.note_chunks()
    }

    /// Bytes from the start that would survive a power cut: their chunks would, the stream's name comes at its end.
    ///
    /// # Errors
    /// The store failed; the stream is lost.
    pub fn durable(&mut self) -> Result<u64> {
        let durable = self.front.durable_bytes()?;
        self.note_chunks()?;
        Ok(durable)
    }

    /// Have what is durable kept under the stream's name, also if it is never finished; returns the bytes from its
    /// start of which that is true now. Takes two writes and syncs at once, if there is anything new.
    ///
    /// # Errors
    /// The store failed; the stream is lost, but for what was kept before.
    ///
    /// # Panics
    /// When the stream was not begun with [`PutOptions::kept`].
    pub fn keep(&mut self) -> Result<u64> {
        let durable = self.durable()?;
        let kept = self.kept.as_mut().expect("a stream that is kept was begun as one");
        kept.keep(self.io.as_mut(), durable).inspect_err(|error| self.core.poison.set(error))
    }

    /// Make everything that was written durable, and kept if that was asked for; the last chunk ends here.
    ///
    /// # Errors
    /// The store failed; the stream is lost.
    pub fn flush(&mut self) -> Result<()> {
        if self.durable()? < self.written() {
            if self.written() > self.boundary {
                self.end_chunk()?;
            }
            self.front.finish()?;
            self.note_chunks()?;
        }
        if self.kept.is_some() {
            let kept = self.keep()?;
            assert_eq!(kept, self.written(), "all that was flushed is durable, and so it is kept");
        }
        Ok(())
    }

    /// Add everything that `source` gives until its end; returns how much that was.
    ///
    /// # Errors
    /// `source` failed, or the store did; the stream is lost.
    pub fn read_from(&mut self, source: &mut dyn Read, progress: &mut dyn FnMut(Progress)) -> Result<u64> {
        let before = self.written();
        loop {
            let (mut extent, filled) = self.extent()?;
            let count = match source.read(&mut extent[filled..]) {
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => 0,
                Err(source) => {
                    return Err(Error::Io { action: "read", path: "the source".into(), source });
                }
            };
            let ended = count == 0;
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
        self.front.finish()?;
        self.note_chunks()?;
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
            dedup_ratio: ratio(self.bytes, added.bytes),
            seconds,
            throughput_bytes_per_second: to_float(self.bytes) / seconds,
            lineage: self.lineage.take(),
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
            self.front.wait()?;
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
        self.front.settle()?;
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
        self.front.send(extent, ends)?;
        self.note_chunks()
    }

    fn note_chunks(&mut self) -> Result<()> {
        let recipe = self.recipe.as_mut().expect("the stream is not finished");
        let follows = self.tuner.as_ref().is_some_and(|tuner| tuner.point().is_some());
        for chunk in self.front.take_chunks() {
            recipe.push(self.io.as_mut(), chunk.hash, 0, chunk.len)?;
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

/// The tuner of a stream, where there is one.
fn tuner_of(core: &Core, io: &mut dyn Io, options: &PutOptions) -> Result<Option<Tuner>> {
    let Some(lineage) = options.lineage.as_deref().filter(|_| core.settings.tuner) else { return Ok(None) };
    let found = lineage::find(core, io, lineage)?;
    Ok(Some(Tuner::new(core.ladder(), found.past, &found.switches, options.tuner_window)))
}

fn chunker_of(sizes: ChunkParams) -> Result<Chunker> {
    let params = Params::new(sizes.min, sizes.avg, sizes.max);
    params.map(Chunker::new).map_err(|error| Error::Invalid(error.to_string()))
}

fn recipe_header(
    core: &Core,
    (recipe, owner): (RecipeId, Owner),
    name: &str,
    params: ChunkParams,
    lineage: String,
) -> RecipeHeader {
    RecipeHeader {
        store: core.store,
        recipe,
        created_epoch: core.epoch,
        created_unix: core.unix_seconds(),
        name: name.to_owned(),
        params,
        owner,
        lineage,
    }
}
