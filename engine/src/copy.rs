//! Copying streams from one store to another: the recipe goes first, and only chunks that the other store does not have
//! follow.
//!
//! recipe -> known there? -> recalled here, verified -> given, hashed again -> durable there -> recipe -> done
//!
//! # Invariants
//! - A stream appears in the other store whole and durable, with the same digest, or not at all.
//! - A stream of the same name with another content is never touched.
//! - A stream counts as there when its recipe there can be read; of one that is lost, the recipe is written anew.
//! - What is remembered of a stream is one batch of its chunks.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use gdd_uring::io::Io;

use crate::core::Core;
use crate::error::{Error, Result};
use crate::format::recipe_block::{Line, RecipeEntry};
use crate::ids::{ChunkHash, Epoch};
use crate::index::{Batch, RecipeRow, RecipeState};
use crate::ingest::PutOptions;
use crate::ingest::front::StreamChunk;
use crate::ingest::named::NamedPut;
use crate::recall::Recall;
use crate::recall::entries::Listed;
use crate::recipe::renew::{Source, agrees, renew};
use crate::recipe::{RecipeReader, rest, set};
use crate::store::Store;
use crate::superblocks::{self, EPOCH_MARGIN};
use crate::visits::Purpose;

/// Chunks that are asked about at once.
const BATCH: usize = 1 << 13;

/// What copying a stream did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct StreamCopy {
    /// It was there already, with the same content.
    pub was_there: bool,
    /// Its recipe there could not be read, and was written anew.
    pub renewed: bool,
    /// Bytes of the stream that were looked at.
    pub bytes: u64,
    /// Their chunks.
    pub chunks: u64,
    /// Chunks that the other store did not have.
    pub sent_chunks: u64,
    /// Their bytes, before compression.
    pub sent_bytes: u64,
}

/// See the module.
pub struct Copier<'a> {
    from: &'a Store,
    to: &'a Store,
    /// Asks about each chunk of streams that are there already, and sends what is missing of them.
    check: bool,
    io: Box<dyn Io>,
    /// A door to the other store.
    there: Box<dyn Io>,
    recall: Option<Recall>,
}

/// Whether a copy goes on; it is told of so many bytes more that are done.
pub type GoOn<'a> = dyn FnMut(u64) -> bool + 'a;

impl<'a> Copier<'a> {
    /// From one open store to another; `to` is open for writing. With `check`, streams that are there already are
    /// looked at chunk by chunk, and what `to` has lost of them is given to it again.
    ///
    /// The next opening of `to` has an epoch above all that `from` has had, and will have had before the next copy:
    /// numbers that `from` gives to streams are never given again, also when `to` takes its place after jobs that were
    /// not copied any more.
    ///
    /// # Errors
    /// The disk refused.
    pub fn new(from: &'a Store, to: &'a Store, check: bool) -> Result<Self> {
        let mut io = from.core().open_io()?;
        let core = from.core();
        let epoch = superblocks::read_epoch(io.as_mut(), &core.paths, core.store)?;
        let alone = to.core().removing.lock().unwrap_or_else(PoisonError::into_inner);
        raise_epoch(to.core(), epoch)?;
        drop(alone);
        let there = to.core().open_io()?;
        Ok(Self { from, to, check, io, there, recall: None })
    }

    /// Copy the stream of `row`. After an error, nothing of its name remains there that was not there.
    ///
    /// # Errors
    /// [`Error::Cancelled`] when `go_on` said to stop; [`Error::Invalid`] when the other store has a stream of this
    /// name with another content, or takes no chunks as large as these; the stream cannot be read; or either store
    /// failed.
    pub fn copy(&mut self, row: &RecipeRow, go_on: &mut GoOn<'_>) -> Result<StreamCopy> {
        // The vacuum of a store at work leaves what this stream needs where it is looked up.
        let _visit = self.from.core().visits.begin(Purpose::Reading);
        let there = self.to.core().index.recipe(&row.name)?.filter(|row| row.state == RecipeState::Live);
        let (was_there, mut lost) = (there.is_some(), None);
        if let Some(there) = there {
            let is_readable = self.is_readable(&there)?;
            // What was listed when its recipe could not be read says nothing of its content.
            let is_known = is_readable || !rest::is_makeshift(&there);
            if is_known && (there.digest, there.logical_bytes) != (row.digest, row.logical_bytes) {
                let why = "the other store has a stream of this name with another content; remove that one there, or \
                           leave this one out";
                return Err(Error::Invalid(format!("{:?}: {why}", row.name)));
            }
            if is_readable && !self.check {
                return Ok(StreamCopy { was_there, ..StreamCopy::default() });
            }
            lost = Some(there).filter(|_| !is_readable);
        }
        let core = self.from.core();
        let mut reader = RecipeReader::open(self.io.as_mut(), &core.paths.recipes(), row.recipe, core.store)?;
        let lineage = Some(reader.header().lineage.clone()).filter(|lineage| !lineage.is_empty());
        let options = PutOptions { lineage, owner: row.owner, ..PutOptions::default() };
        // What a check sends is durable, and needed by the stream that is there. The name is given up.
        let name = if was_there { "gdd copy --check" } else { row.name.as_str() };
        let mut work = Work { put: self.to.put_named(name, options)?, done: StreamCopy::default() };
        work.done.was_there = was_there;
        let passed = self.pass(&mut reader, &mut work, go_on);
        reader.close(self.io.as_mut());
        passed?;
        let Work { mut put, mut done } = work;
        if was_there {
            if done.sent_chunks > 0 || lost.is_some() {
                put.flush();
                drain(&mut put)?;
                while put.durable()?.is_none() {
                    put.wait()?;
                }
            }
            if let Some(there) = lost {
                done.renewed = self.renew(row, &there)?;
            }
            return Ok(done);
        }
        put.finish()?;
        let there = self.to.core().index.recipe(&row.name)?.map(|there| there.digest);
        if there != Some(row.digest) {
            let why = format!("{:?}: its copy has another digest; remove it, and report this", row.name);
            return Err(Error::Invalid(why));
        }
        Ok(done)
    }

    /// Whether the recipe of a stream of the other store can be read, whole.
    fn is_readable(&mut self, there: &RecipeRow) -> Result<bool> {
        let core = self.to.core();
        match set::check(self.there.as_mut(), &core.paths.recipes(), there.recipe, core.store) {
            Ok(_) => Ok(true),
            Err(error) if error.is_damage() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Write the recipe of a stream of the other store anew; all of its chunks are there, durable. Returns whether it
    /// was done: not for a stream that was removed meanwhile, or whose name is another one's by now. Nobody removes
    /// streams while it is.
    fn renew(&mut self, row: &RecipeRow, there: &RecipeRow) -> Result<bool> {
        let (from, to) = (self.from.core(), self.to.core());
        let _alone = to.removing.lock().unwrap_or_else(PoisonError::into_inner);
        let still = to.index.recipe(&there.name)?;
        if still.is_none_or(|still| still.recipe != there.recipe || still.state != RecipeState::Live) {
            return Ok(false);
        }
        let recipes = to.paths.recipes();
        let mut reader = RecipeReader::open(self.io.as_mut(), &from.paths.recipes(), row.recipe, from.store)?;
        let source = Source { io: self.io.as_mut(), reader: &mut reader };
        let agreed = agrees(self.there.as_mut(), &recipes, to.store, there, source);
        reader.close(self.io.as_mut());
        if !agreed? {
            let why = "what is left of the other store's stream of this name is of another content; `gdd fsck --repair \
                       --apply` there sets it aside, then copy again";
            return Err(Error::Invalid(format!("{:?}: {why}", row.name)));
        }
        let mut reader = RecipeReader::open(self.io.as_mut(), &from.paths.recipes(), row.recipe, from.store)?;
        let source = Source { io: self.io.as_mut(), reader: &mut reader };
        let renewed = renew(self.there.as_mut(), &recipes, to.store, there, source, &to.poison);
        reader.close(self.io.as_mut());
        to.index.commit(Batch { recipes: vec![renewed?], ..Batch::default() })?;
        Ok(true)
    }

    /// Everything of the recipe.
    fn pass(&mut self, reader: &mut RecipeReader, work: &mut Work, go_on: &mut GoOn<'_>) -> Result<()> {
        let (mut lines, mut batch) = (Vec::new(), Vec::with_capacity(BATCH));
        while reader.next_lines(self.io.as_mut(), &mut lines)? {
            for line in lines.drain(..) {
                let Line::Piece(entry) = line else {
                    batch.push(line);
                    continue;
                };
                for _ in 0..entry.repeat {
                    batch.push(Line::Piece(RecipeEntry { repeat: 1, ..entry }));
                    if batch.len() >= BATCH {
                        self.send(work, &mut batch, go_on)?;
                    }
                }
            }
        }
        if batch.is_empty() { Ok(()) } else { self.send(work, &mut batch, go_on) }
    }

    /// The chunks that the pieces of `lines` are of, in their order.
    fn chunks_of(&self, lines: &[Line]) -> Result<Vec<StreamChunk>> {
        let pieces =
            || lines.iter().filter_map(|line| if let Line::Piece(entry) = line { Some(entry) } else { None });
        let slices: Vec<ChunkHash> = pieces().filter(|entry| entry.slice).map(|entry| entry.hash).collect();
        let mut found = Vec::new();
        self.from.core().index.locate(&slices, &mut found)?;
        let mut found = slices.iter().zip(found);
        let chunk = |entry: &RecipeEntry| {
            let len = match entry.slice {
                false => Some(entry.length),
                true => found.next().and_then(|(_, row)| row).map(|row| row.raw_len),
            };
            let why = "the index does not know it; `gdd fsck` tells what else is missing";
            let lost = || Error::ChunkLost { hash: entry.hash.to_string(), why: why.to_owned() };
            Ok(StreamChunk { hash: entry.hash, len: len.ok_or_else(lost)? })
        };
        pieces().map(chunk).collect()
    }

    /// Ask about the chunks of `batch`, and give those that are wanted.
    fn send(&mut self, work: &mut Work, batch: &mut Vec<Line>, go_on: &mut GoOn<'_>) -> Result<()> {
        let lines = std::mem::replace(batch, Vec::with_capacity(BATCH));
        let chunks = self.chunks_of(&lines)?;
        let pieces = lines.iter().map(|line| if let Line::Piece(entry) = line { entry.bytes() } else { 0 });
        let bytes = pieces.sum::<u64>();
        work.put.ask_lines(lines, chunks.clone())?;
        let answer = loop {
            if let Some(answer) = work.put.answer()? {
                break answer;
            }
            work.put.wait()?;
        };
        let wanted: Vec<RecipeEntry> = chunks
            .iter()
            .zip(answer)
            .filter(|(_, wanted)| *wanted)
            .map(|(chunk, _)| RecipeEntry::whole(chunk.hash, chunk.len))
            .collect();
        let sent = wanted.iter().map(RecipeEntry::bytes).sum::<u64>();
        self.give(work, wanted, go_on)?;
        work.done.bytes += bytes;
        work.done.chunks += chunks.len() as u64;
        // Of a chunk that it has slices of, all is sent.
        tell(go_on, bytes.saturating_sub(sent))
    }

    fn give(&mut self, work: &mut Work, wanted: Vec<RecipeEntry>, go_on: &mut GoOn<'_>) -> Result<()> {
        if wanted.is_empty() {
            return Ok(());
        }
        let recall = self.recall.take().map_or_else(|| self.from.recall(), Ok)?;
        let expected: Vec<ChunkHash> = wanted.iter().map(|entry| entry.hash).collect();
        let mut stream = recall.stream(Listed(wanted.into_iter()));
        for hash in expected {
            let Some(bytes) = stream.next()? else {
                return Err(Error::ChunkLost { hash: hash.to_string(), why: "it was not given".to_owned() });
            };
            work.put.give(&bytes)?;
            work.done.sent_chunks += 1;
            work.done.sent_bytes += bytes.len() as u64;
            tell(go_on, bytes.len() as u64)?;
        }
        self.recall = Some(stream.into_recall()?);
        Ok(())
    }
}

/// A stream on its way.
struct Work {
    put: NamedPut,
    done: StreamCopy,
}

fn tell(go_on: &mut GoOn<'_>, bytes: u64) -> Result<()> {
    if go_on(bytes) { Ok(()) } else { Err(Error::Cancelled) }
}

/// Let `put` come to its flush.
fn drain(put: &mut NamedPut) -> Result<()> {
    match put.answer()? {
        None => Ok(()),
        Some(_) => Err(Error::Invalid("an answer to nothing came".to_owned())),
    }
}

/// Let the next opening of the store have an epoch far above `epoch`.
fn raise_epoch(core: &Core, epoch: Epoch) -> Result<()> {
    let mut io = core.open_io()?;
    let has = superblocks::read_epoch(io.as_mut(), &core.paths, core.store)?;
    if has.0 < epoch.0.saturating_add(EPOCH_MARGIN / 2) {
        let epoch = Epoch(epoch.0.saturating_add(EPOCH_MARGIN));
        core.poison.check()?;
        superblocks::write_epoch(io.as_mut(), &core.paths, core.store, epoch)?;
        core.epoch_raised.fetch_max(epoch.0, Ordering::AcqRel);
    }
    Ok(())
}
