//! Storing a stream that was cut and hashed elsewhere: its chunks come by name, in order, and only those that the store
//! does not have come with their bytes.
//!
//! asked -> known? -> wanted -> given, hashed again -> container -> data sync -> index commit -> recipe -> done
//!
//! # Invariants
//! - Whoever names chunks is not trusted: what is given is hashed here, and a name with another length is refused.
//!   A refusal is [`Error::Invalid`]; it ends this stream and harms no other.
//! - [`NamedPut::finish`] succeeds only when each chunk was known, or was given. It is durable then.
//! - What is remembered of a stream is bounded by what was asked and not given: the caller bounds that.
//! - Questions are answered in their order, and the recipe gets its chunks in the order of [`NamedPut::ask`] and
//!   [`NamedPut::append`]; a [`NamedPut::probe`] adds none.

mod lines;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use gdd_uring::buffer::{IoBuf, Pool};
use gdd_uring::io::Io;

use super::begin::{chunker_of, recipe_header};
use super::front::{Front, StreamChunk};
use super::holder::Holder;
use super::{PutOptions, lineage};
use crate::core::{Core, NameClaim};
use crate::driver::Patience;
use crate::error::{Error, Result};
use crate::format::recipe_block::Line;
use crate::format::recipe_trailer::Tuning;
use crate::ids::{ChunkHash, DomainTag};
use crate::index::Batch;
use crate::recipe::{RecipeTotals, RecipeWriter};
use crate::shard::mailbox::{WINDOW, Wanted};
use crate::visits::{Purpose, Visit};

/// What storing such a stream did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedSummary {
    /// Its length in bytes.
    pub bytes: u64,
    /// Its chunks.
    pub chunks: u64,
    /// Chunks that the store did not have.
    pub new_chunks: u64,
    /// Their bytes.
    pub new_bytes: u64,
    /// The same after compression, as they lie in containers.
    pub stored_bytes: u64,
    /// Bytes that were given: more than new ones when two streams brought the same chunk at the same moment.
    pub given_bytes: u64,
}

/// What is done when its turn comes.
enum Question {
    /// Part of the stream; which chunks are wanted?
    Part {
        chunks: Vec<StreamChunk>,
        /// Those that the store was asked for, where not all were.
        held: Option<Vec<bool>>,
        /// What the stream has of them, where that is not simply all.
        lines: Option<Vec<Line>>,
    },
    /// No part of the stream; which are known?
    Probe(Vec<StreamChunk>),
    /// Part of the stream that is known.
    Known(Arc<[StreamChunk]>),
    /// Everything before it is to be made durable.
    Flush,
}

/// A stream being stored by name. Dropped before [`NamedPut::finish`], nothing of its name remains.
pub struct NamedPut {
    core: Arc<Core>,
    claim: NameClaim,
    io: Box<dyn Io>,
    front: Front,
    recipe: Option<RecipeWriter>,
    /// Whose chunks count as known; the whole store's without.
    holder: Option<Holder>,
    /// What was asked and not answered, oldest first.
    asked: VecDeque<Question>,
    /// Chunks that were answered to be wanted and not given yet, with their lengths. Their hashes are a stranger's
    /// choice, so the map is keyed by a secret.
    wanted: HashMap<ChunkHash, u32>,
    /// The same in the order of the stream, with the bytes before each; those that came stay until they are first.
    gaps: VecDeque<(ChunkHash, u64)>,
    /// A flush is to begin when the one before is over.
    to_flush: bool,
    /// Bytes of the stream that are durable when the flush is over that runs.
    flushing: Option<u64>,
    /// Given and perhaps not known to the workers yet, with the number of the extent.
    given: VecDeque<(u64, Vec<Wanted>)>,
    on_its_way: HashMap<ChunkHash, u32>,
    pool: Pool,
    filling: Option<(IoBuf, usize)>,
    filled: Vec<Wanted>,
    chunk_size_max: u32,
    bytes: u64,
    chunks: u64,
    given_bytes: u64,
    started: Instant,
    /// The vacuum spares what it was told to be known, until its name is committed or it is given up.
    _visit: Visit,
}

impl NamedPut {
    /// Begin a stream under a name that is free.
    ///
    /// # Errors
    /// The name is taken or unusable, the lineage is, the store failed, or the recipe cannot be created.
    pub fn begin(
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
        let params = core.ladder().base();
        let lineage = options.lineage.unwrap_or_default();
        let header = recipe_header(&core, (recipe, options.owner), name, params, lineage);
        let writer = RecipeWriter::create(io.as_mut(), &core.paths.recipes(), header)?;
        let front = Front::new(&core.doors, recipe.0, chunker_of(params)?, patience);
        let chunk_size_max = core.largest_chunk_size();
        let extent_size = core.extent_size.max(usize::try_from(chunk_size_max).unwrap_or(usize::MAX));
        Ok(Self {
            core,
            claim,
            io,
            front,
            recipe: Some(writer),
            holder: None,
            asked: VecDeque::new(),
            wanted: HashMap::new(),
            gaps: VecDeque::new(),
            to_flush: false,
            flushing: None,
            given: VecDeque::new(),
            on_its_way: HashMap::new(),
            pool: Pool::new(extent_size, WINDOW + 1),
            filling: None,
            filled: Vec::new(),
            chunk_size_max,
            bytes: 0,
            chunks: 0,
            given_bytes: 0,
            started: Instant::now(),
            _visit: visit,
        })
    }

    /// Let [`NamedPut::ask`] treat as known only what `domain` has brought, and count as brought what is given. Whoever
    /// gives a chunk that the store has from others learns of it by the time at most that storing it did not take.
    #[must_use]
    pub fn seen_by(mut self, domain: DomainTag) -> Self {
        self.holder = Some(Holder::new(Arc::clone(&self.core), domain));
        self
    }

    /// The stream's next chunks. Waits only while very much is asked and not answered.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a length that no chunk has; or the store failed. The stream is lost.
    pub fn ask(&mut self, chunks: Vec<StreamChunk>) -> Result<()> {
        for chunk in &chunks {
            if chunk.len == 0 || chunk.len > self.chunk_size_max {
                let StreamChunk { hash, len } = chunk;
                let most = self.chunk_size_max;
                return Err(Error::Invalid(format!("chunk {hash}: expected 1 to {most} bytes, found {len}")));
            }
        }
        let held = self.holder.as_mut().map(|holder| holder.has(&chunks)).transpose()?;
        match &held {
            None => self.question(&chunks)?,
            Some(held) => {
                let own = chunks.iter().zip(held).filter_map(|(chunk, held)| held.then_some(*chunk));
                self.question(&own.collect::<Vec<_>>())?;
            }
        }
        self.asked.push_back(Question::Part { chunks, held, lines: None });
        Ok(())
    }

    /// Ask which chunks the store has, whoever brought them, without making them part of the stream. Waits as
    /// [`NamedPut::ask`].
    ///
    /// # Errors
    /// The store failed; the stream is lost.
    pub fn probe(&mut self, chunks: Vec<StreamChunk>) -> Result<()> {
        self.question(&chunks)?;
        self.asked.push_back(Question::Probe(chunks));
        Ok(())
    }

    /// The stream's next chunks, all of which the answer to a [`NamedPut::probe`] of this stream said to be known: the
    /// caller answers for that, and what is stored is not forgotten while a stream is open. There is no answer.
    pub fn append(&mut self, known: Arc<[StreamChunk]>) {
        self.asked.push_back(Question::Known(known));
    }

    /// Make everything durable that was asked, appended or given before; [`NamedPut::durable`] tells when.
    pub fn flush(&mut self) {
        self.asked.push_back(Question::Flush);
    }

    fn question(&mut self, chunks: &[StreamChunk]) -> Result<()> {
        let hashes: Vec<ChunkHash> = chunks.iter().map(|chunk| chunk.hash).collect();
        self.front.ask(&hashes).map(drop)
    }

    /// The answer to the oldest question, if it is there. To [`NamedPut::ask`]: for each of its chunks, whether it must
    /// be given; one that was wanted before and is still to come is not wanted twice. To [`NamedPut::probe`]: for each,
    /// whether it is known with that length.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a chunk whose length is another than known; or the store failed. The stream is lost.
    pub fn answer(&mut self) -> Result<Option<Vec<bool>>> {
        while let Some(question) = self.asked.pop_front() {
            match question {
                Question::Known(chunks) => self.note(&chunks)?,
                Question::Flush => self.to_flush = true,
                question => {
                    let Some(lengths) = self.front.answer()? else {
                        self.asked.push_front(question);
                        return Ok(None);
                    };
                    return match question {
                        Question::Part { chunks, held, lines } => {
                            self.part(&chunks, spread(lengths, held), lines).map(Some)
                        }
                        Question::Probe(chunks) => {
                            let pairs = chunks.iter().zip(lengths);
                            Ok(Some(pairs.map(|(chunk, known)| known == Some(chunk.len)).collect()))
                        }
                        Question::Known(_) | Question::Flush => Ok(None),
                    };
                }
            }
        }
        Ok(None)
    }

    fn part(
        &mut self,
        chunks: &[StreamChunk],
        lengths: Vec<Option<u32>>,
        lines: Option<Vec<Line>>,
    ) -> Result<Vec<bool>> {
        self.forget_placed();
        let mut lines = lines.map(Vec::into_iter);
        let mut wanted = Vec::with_capacity(chunks.len());
        for (chunk, known) in chunks.iter().zip(lengths) {
            let StreamChunk { hash, len } = *chunk;
            let coming = || self.wanted.get(&hash).or_else(|| self.on_its_way.get(&hash)).copied();
            let before = known.or_else(coming);
            if let Some(before) = before.filter(|before| *before != len) {
                return Err(Error::Invalid(format!("chunk {hash}: expected {before} bytes, found {len}")));
            }
            if before.is_none() {
                self.wanted.insert(hash, len);
                self.gaps.push_back((hash, self.bytes));
            }
            wanted.push(before.is_none());
            match &mut lines {
                None => self.note(std::slice::from_ref(chunk))?,
                Some(lines) => self.note_piece(lines)?,
            }
        }
        Ok(wanted)
    }

    /// They are part of the stream now.
    fn note(&mut self, chunks: &[StreamChunk]) -> Result<()> {
        let recipe = self.recipe.as_mut().expect("the stream is not finished");
        for StreamChunk { hash, len } in chunks {
            recipe.push(self.io.as_mut(), *hash, *len)?;
            self.bytes += u64::from(*len);
        }
        self.chunks += chunks.len() as u64;
        Ok(())
    }

    /// Whether a call of [`NamedPut::answer`] or [`NamedPut::durable`] has something to wait for.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.asked.is_empty() || self.to_flush || self.flushing.is_some()
    }

    /// Sleep until an answer may be there, at most some 100 ms.
    ///
    /// # Errors
    /// The store failed; the stream is lost.
    pub fn wait(&mut self) -> Result<()> {
        self.front.wait()
    }

    /// Once after each [`NamedPut::flush`], or after several: so many bytes of the stream, from its start, would
    /// survive a power cut. Up to the first chunk that was wanted and not given, at the most.
    ///
    /// # Errors
    /// The store failed; the stream is lost.
    pub fn durable(&mut self) -> Result<Option<u64>> {
        if self.flushing.is_none() && self.to_flush {
            self.send()?;
            self.holder.as_mut().map_or(Ok(()), Holder::save)?;
            if self.front.flush()? {
                self.flushing = Some(self.whole_bytes());
                self.to_flush = false;
            }
        }
        if self.flushing.is_some() && self.front.is_flushed()? {
            return Ok(self.flushing.take());
        }
        Ok(None)
    }

    /// Bytes before the first gap.
    fn whole_bytes(&mut self) -> u64 {
        while self.gaps.front().is_some_and(|(hash, _)| !self.wanted.contains_key(hash)) {
            self.gaps.pop_front();
        }
        self.gaps.front().map_or(self.bytes, |(_, before)| *before)
    }

    /// What the stream did so far.
    #[must_use]
    pub fn so_far(&self) -> NamedSummary {
        let (added, _) = self.front.added();
        NamedSummary {
            bytes: self.bytes,
            chunks: self.chunks,
            new_chunks: added.chunks,
            new_bytes: added.bytes,
            stored_bytes: added.stored_bytes,
            given_bytes: self.given_bytes,
        }
    }

    /// Chunks that were wanted and not given yet.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.wanted.len()
    }

    /// Chunks of the stream that were wanted, from the first on that was not given: what is remembered of it.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.gaps.len()
    }

    /// Take a chunk that was wanted.
    ///
    /// # Errors
    /// [`Error::Invalid`] for one that was not, or for other bytes than its name says; or the store failed. The stream
    /// is lost.
    pub fn give(&mut self, bytes: &[u8]) -> Result<ChunkHash> {
        let hash = ChunkHash::of(bytes);
        let Some(len) = self.wanted.remove(&hash) else {
            let why = format!("{} bytes that hash to {hash} were given and not wanted", bytes.len());
            return Err(Error::Invalid(why));
        };
        if len as usize != bytes.len() {
            let found = bytes.len();
            return Err(Error::Invalid(format!("chunk {hash}: expected {len} bytes, found {found}")));
        }
        let (mut extent, mut at) = self.extent()?;
        if extent.len() - at < bytes.len() {
            self.filling = Some((extent, at));
            self.send()?;
            (extent, at) = self.extent()?;
        }
        extent[at..at + bytes.len()].copy_from_slice(bytes);
        let start = u32::try_from(at).expect("an extent is small");
        self.filled.push(Wanted { hash, start, len, in_seam: false, away_from: None });
        self.on_its_way.insert(hash, len);
        self.whole_bytes();
        self.filling = Some((extent, at + bytes.len()));
        self.given_bytes += u64::from(len);
        self.holder.as_mut().map_or(Ok(()), |holder| holder.add(hash))?;
        Ok(hash)
    }

    /// Send what was given on its way to be durable, without waiting for it.
    ///
    /// # Errors
    /// The store failed; the stream is lost.
    pub fn mark(&mut self) -> Result<()> {
        self.send()?;
        self.front.mark()
    }

    /// End the stream: returns when all of it is durable and its name is.
    ///
    /// # Errors
    /// [`Error::Invalid`] when an answer was not taken or a wanted chunk not given; or the store failed. Nothing of the
    /// name remains, though chunks may.
    pub fn finish(mut self) -> Result<NamedSummary> {
        if !(self.wanted.is_empty() && self.asked.is_empty()) {
            let (missing, open) = (self.wanted.len(), self.asked.len());
            let why = format!("the stream's end came before {missing} of its chunks and {open} answers");
            return Err(Error::Invalid(why));
        }
        self.send()?;
        self.front.finish()?;
        self.holder.as_mut().map_or(Ok(()), Holder::save)?;
        let (added, _) = self.front.added();
        let totals = RecipeTotals {
            new_bytes: added.bytes,
            new_chunks: added.chunks,
            stored_bytes: added.stored_bytes,
            tuning: Tuning::default(),
        };
        let recipe = self.recipe.take().expect("a stream is finished once");
        let row = recipe.finish(self.io.as_mut(), totals, &self.core.poison)?;
        assert_eq!(
            (row.logical_bytes, row.chunk_count),
            (self.bytes, self.chunks),
            "the recipe is the stream"
        );
        let batch = Batch { recipes: vec![row], ..Batch::default() };
        self.core.index.commit(batch).inspect_err(|error| self.core.poison.set(error))?;
        tracing::debug!("{:?} took {:.3} s", self.claim.name(), self.started.elapsed().as_secs_f64());
        Ok(self.so_far())
    }

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

    /// Hand what is filled to the workers.
    fn send(&mut self) -> Result<()> {
        let Some((mut extent, filled)) = self.filling.take() else { return Ok(()) };
        let chunks = std::mem::take(&mut self.filled);
        extent.truncate(filled);
        let number = self.front.give(&extent.freeze(), &chunks)?;
        self.given.push_back((number, chunks));
        self.forget_placed();
        Ok(())
    }

    /// Chunks that the workers have taken in are theirs to know.
    fn forget_placed(&mut self) {
        while let Some((number, _)) = self.given.front()
            && self.front.is_placed(*number)
        {
            for chunk in self.given.pop_front().into_iter().flat_map(|(_, chunks)| chunks) {
                self.on_its_way.remove(&chunk.hash);
            }
        }
    }
}

/// Answers about the chunks of `held`, with none about the others between them.
fn spread(lengths: Vec<Option<u32>>, held: Option<Vec<bool>>) -> Vec<Option<u32>> {
    let Some(held) = held else { return lengths };
    let mut lengths = lengths.into_iter();
    let all = held.into_iter().map(|held| if held { lengths.next().flatten() } else { None });
    all.collect()
}

impl Drop for NamedPut {
    fn drop(&mut self) {
        if let Some(recipe) = self.recipe.take() {
            recipe.abort(self.io.as_mut());
        }
    }
}
