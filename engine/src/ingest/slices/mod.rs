//! Slices: what has changed in place is stored by blocks, and refers to the old chunks for the rest.
//!
//! A block of 4 KiB that is written somewhere into a disk image makes one chunk new, often two or three: ten times as
//! much is stored as has changed. So where new chunks lie between known ones of the lineage's latest stream, the old
//! bytes are read, and only the blocks that differ are stored:
//!
//! ```text
//! cut -> known? -> where do old and new run side by side? -> parts known? -> read old -> compare -> place -> recipe
//! ```
//!
//! The next version is cut into the same chunks there, which are not stored as such; the recipe marks them, and the
//! slices are taken over.
//!
//! # Invariants
//! - A slice is taken only of a chunk of which the worker that owns it has said, during this stream's visit, that it
//!   is known: so everything that holds for known chunks (RACES.md) holds for it. It is a slice of a stored chunk,
//!   never of something that is made of slices itself.
//! - What is compared was read from disk and checked by its BLAKE3.
//! - A doubt (a chunk that is suspect, leaves, or cannot be read) costs space, never the stream: chunks are stored
//!   whole.
//! - Memory: what the front has in flight, one stretch besides, the window of `base` and the cache of a service.

mod base;
mod plan;
mod region;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::core::Core;
use crate::error::{Error, Result};
use crate::format::recipe_block::{Line, RecipeEntry};
use crate::get::{self, Shelf};
use crate::ids::ChunkHash;
use crate::options::Trust;
use crate::planted::{self, Bug};
use crate::recall::Recall;
use crate::recall::entries::Listed;
use crate::shard::mailbox::Wanted;
use crate::visits::Purpose;

use super::front::Front;
use super::front::deferred::Batch;
use base::Base;
use plan::{Course, Item, Stretch, mark_of};
use region::{Grain, Part, Piece};

/// Bytes that count as changed when one of them is: what file systems and databases write.
const BLOCK: u32 = 4096;
/// Largest chunks in the longest stretch that is compared at once.
const STRETCH_CHUNKS: usize = 8;

/// What slices did for a stream. Fields are only ever added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct SliceTotals {
    /// Bytes of the stream that are slices of chunks.
    pub bytes: u64,
    /// Of those, bytes that were recognised and not compared.
    pub bytes_recognised: u64,
    /// Pieces that those are.
    pub pieces: u64,
    /// Old bytes that were read to be compared.
    pub bytes_read: u64,
    /// Changed blocks that were stored, in bytes.
    pub bytes_changed: u64,
}

/// What an open question is about.
enum Asked {
    /// The chunks of a batch.
    Chunks(Batch),
    /// The old chunks that its plan refers to.
    Parts(Planned),
}

/// A batch whose fate depends on whether these are known.
struct Planned {
    batch: Batch,
    items: Vec<Item>,
    hashes: Vec<ChunkHash>,
}

/// What is known of the old chunks that a plan refers to: their lengths.
type Lengths = HashMap<ChunkHash, u32>;

/// See the module. One for each stream.
pub(super) struct Slicer {
    core: Arc<Core>,
    base: Base,
    course: Course,
    grain: Grain,
    /// Questions, oldest first.
    asked: VecDeque<Asked>,
    /// New chunks at the end of the batch before, and their bytes: what follows them is to be seen first.
    carried: (Vec<u8>, Vec<Wanted>),
    recall: Option<Recall>,
    /// What is settled, for the recipe.
    lines: Vec<Line>,
    totals: SliceTotals,
}

impl Slicer {
    /// For a stream of `lineage`, cut for the store's chunk sizes. None for a first one.
    ///
    /// # Errors
    /// The index or the disk failed.
    pub fn begin(core: &Arc<Core>, lineage: &str) -> Result<Option<Self>> {
        let Some(base) = Base::of(core, lineage)? else { return Ok(None) };
        let sizes = core.ladder().base();
        let stretch_max = (STRETCH_CHUNKS * sizes.max as usize).min(core.extent_size);
        let block = 1 << sizes.min.clamp(1, BLOCK).ilog2();
        Ok(Some(Self {
            core: Arc::clone(core),
            base,
            course: Course::new(stretch_max),
            grain: Grain { block, chunk_avg: sizes.avg, chunk_max: sizes.max },
            asked: VecDeque::new(),
            carried: (Vec::new(), Vec::new()),
            recall: None,
            lines: Vec::new(),
            totals: SliceTotals::default(),
        }))
    }

    /// Extents that are held.
    pub fn in_flight(&self) -> usize {
        self.asked.len()
    }

    /// What it did.
    pub fn totals(&self) -> SliceTotals {
        self.totals
    }

    /// What was settled since the last call, in the order of the stream.
    pub fn take_lines(&mut self) -> std::vec::Drain<'_, Line> {
        self.lines.drain(..)
    }

    /// Go on with everything that is there.
    ///
    /// # Errors
    /// The store failed; the stream is lost.
    pub fn advance(&mut self, front: &mut Front) -> Result<()> {
        loop {
            if let Some(batch) = front.take_batch() {
                let hashes: Vec<ChunkHash> = batch.chunks.iter().map(|chunk| chunk.hash).collect();
                front.ask(&hashes)?;
                self.asked.push_back(Asked::Chunks(batch));
                continue;
            }
            if self.asked.is_empty() {
                return Ok(());
            }
            let Some(lengths) = front.answer()? else { return Ok(()) };
            match self.asked.pop_front() {
                Some(Asked::Chunks(batch)) => self.plan(batch, lengths, front)?,
                Some(Asked::Parts(planned)) => self.settle(planned, &lengths, front)?,
                None => return Ok(()),
            }
        }
    }

    /// It is known which chunks of `batch` are: look at those that are not, and ask about what they are compared with.
    fn plan(&mut self, batch: Batch, mut lengths: Vec<Option<u32>>, front: &mut Front) -> Result<()> {
        let (mut batch, carried) = self.joined(batch);
        lengths.splice(0..0, std::iter::repeat_n(None, carried));
        let (items, open) = self.course.plan(&batch, &lengths, &mut self.base, &self.core.suspects)?;
        let left = batch.chunks.split_off(batch.chunks.len() - open);
        for chunk in &left {
            let start = u32::try_from(self.carried.0.len()).expect("a stretch is short");
            self.carried.0.extend_from_slice(batch.bytes(chunk));
            self.carried.1.push(Wanted { start, in_seam: true, ..*chunk });
        }
        let parts = items.iter().flat_map(|item| match item {
            Item::Same(_, parts) | Item::Compared(Stretch { parts, .. }) => parts.as_slice(),
            Item::Known(_) | Item::New(_) => &[],
        });
        let mut hashes: Vec<ChunkHash> = parts.map(|part| part.hash).collect();
        hashes.sort_unstable();
        hashes.dedup();
        front.ask(&hashes)?;
        self.asked.push_back(Asked::Parts(Planned { batch, items, hashes }));
        Ok(())
    }

    /// `batch` behind what was carried to it, and how many chunks that was.
    fn joined(&mut self, batch: Batch) -> (Batch, usize) {
        let (mut seam, mut chunks) = std::mem::take(&mut self.carried);
        let (carried, shift) = (chunks.len(), u32::try_from(seam.len()).expect("a stretch is short"));
        if carried == 0 {
            return (batch, 0);
        }
        seam.extend_from_slice(&batch.seam);
        chunks.extend(batch.chunks.iter().map(|chunk| match chunk.in_seam {
            true => Wanted { start: chunk.start + shift, ..*chunk },
            false => *chunk,
        }));
        (Batch { seam, chunks, ..batch }, carried)
    }

    /// All is known about a batch that there is to be asked: read, compare, store what is new.
    fn settle(&mut self, planned: Planned, lengths: &[Option<u32>], front: &mut Front) -> Result<()> {
        let Planned { mut batch, mut items, hashes } = planned;
        let unasked = planted::has(Bug::SliceUnasked).then_some(u32::MAX);
        let pairs = hashes.iter().zip(lengths);
        let known: Lengths = pairs.filter_map(|(hash, len)| Some((*hash, len.or(unasked)?))).collect();
        items.iter_mut().for_each(|item| doubt(item, &known));
        let old = self.read(&items)?;
        let (mut old, mut wanted, lines) = (old.into_iter(), Vec::new(), self.lines.len());
        let mut bytes = 0;
        for item in items {
            match item {
                Item::Known(chunk) => {
                    bytes += self.whole(&chunk);
                }
                Item::New(chunks) => {
                    bytes += chunks.iter().map(|chunk| self.whole(chunk)).sum::<u64>();
                    wanted.extend(chunks);
                }
                Item::Same(chunks, parts) => {
                    self.lines.extend(chunks.iter().map(|chunk| Line::Mark(mark_of(chunk))));
                    parts.iter().for_each(|part| self.part(part, &known));
                    let len = chunks.iter().map(|chunk| u64::from(chunk.len)).sum::<u64>();
                    self.totals.bytes_recognised += len;
                    bytes += len;
                }
                Item::Compared(stretch) => {
                    bytes += stretch.chunks.iter().map(|chunk| u64::from(chunk.len)).sum::<u64>();
                    let old = old.next().flatten();
                    self.compare(&stretch, old.as_deref(), &known, &mut batch, &mut wanted);
                }
            }
        }
        let pieces = self.lines[lines..].iter().filter(|line| matches!(line, Line::Piece(_))).count();
        let Batch { extent, seam, .. } = batch;
        front.place_batch(&extent, seam, &wanted, (bytes, pieces as u64))
    }

    /// A whole chunk is the next piece; its bytes.
    fn whole(&mut self, chunk: &Wanted) -> u64 {
        self.lines.push(Line::Piece(RecipeEntry::whole(chunk.hash, chunk.len)));
        u64::from(chunk.len)
    }

    /// A part of an old chunk is.
    fn part(&mut self, part: &Part, known: &Lengths) {
        let slice = known.get(&part.hash) != Some(&part.len);
        let Part { hash, offset, len } = *part;
        self.lines.push(Line::Piece(RecipeEntry {
            hash,
            chunk_offset: offset,
            length: len,
            repeat: 1,
            slice,
        }));
        self.totals.pieces += u64::from(slice);
        self.totals.bytes += if slice { u64::from(len) } else { 0 };
    }

    /// The old bytes of each stretch that is to be compared; nothing for one that cannot be read.
    fn read(&mut self, items: &[Item]) -> Result<Vec<Option<Vec<u8>>>> {
        let stretches: Vec<&Stretch> = items
            .iter()
            .filter_map(|item| if let Item::Compared(stretch) = item { Some(stretch) } else { None })
            .collect();
        let mut old = Vec::with_capacity(stretches.len());
        // What a vacuum moves meanwhile stays where it was found.
        let _visit = self.core.visits.begin(Purpose::Reading);
        while old.len() < stretches.len() {
            let rest = &stretches[old.len()..];
            let entry = |part: &Part| RecipeEntry {
                hash: part.hash,
                chunk_offset: part.offset,
                length: part.len,
                repeat: 1,
                slice: true,
            };
            let entries: Vec<RecipeEntry> =
                rest.iter().flat_map(|stretch| stretch.parts.iter().map(entry)).collect();
            let recall = self.recall.take().map_or_else(|| self.access(), Ok)?;
            let mut stream = recall.stream(Listed(entries.into_iter()));
            let lost = fill(rest, &mut old, &mut || stream.next());
            self.recall = Some(stream.into_recall()?);
            match lost {
                Ok(()) => {}
                Err(Error::ChunkLost { hash, why }) => {
                    tracing::warn!("chunk {hash} is stored anew where it could be compared: {why}");
                    if let Some(hash) = ChunkHash::parse(&hash) {
                        self.core.suspects.note(hash);
                    }
                    old.push(None);
                }
                Err(error) => return Err(error),
            }
        }
        self.totals.bytes_read += old.iter().flatten().map(|bytes| bytes.len() as u64).sum::<u64>();
        Ok(old)
    }

    fn access(&self) -> Result<Recall> {
        get::recall(&self.core, &Shelf::new(self.core.budget.service_segments, Trust::Hash))
    }

    /// Slices and changed blocks for a stretch, or its chunks.
    fn compare(
        &mut self,
        stretch: &Stretch,
        old: Option<&[u8]>,
        known: &Lengths,
        batch: &mut Batch,
        wanted: &mut Vec<Wanted>,
    ) {
        let new: Vec<u8> = stretch.chunks.iter().flat_map(|chunk| batch.bytes(chunk)).copied().collect();
        let len_of = |hash: &ChunkHash| known.get(hash).copied().unwrap_or(u32::MAX);
        // A chunk that could not be read a moment ago is known no longer.
        let sure = stretch.parts.iter().all(|part| !self.core.suspects.has(&part.hash));
        let pieces = old.filter(|_| sure).and_then(|old| {
            region::compose(stretch.start, &new, (&stretch.parts, old), &len_of, &self.grain)
        });
        if stretch.is_full {
            self.course.dense = pieces.is_some();
        }
        let Some(pieces) = pieces else {
            for chunk in &stretch.chunks {
                wanted.push(*chunk);
                self.whole(chunk);
            }
            return;
        };
        self.lines.extend(stretch.chunks.iter().map(|chunk| Line::Mark(mark_of(chunk))));
        for piece in pieces {
            match piece {
                Piece::Old(part) => self.part(&part, known),
                Piece::Fresh { at, len } => {
                    let fresh = &new[at..at + len as usize];
                    let start = u32::try_from(batch.seam.len()).expect("a seam is short");
                    batch.seam.extend_from_slice(fresh);
                    let chunk =
                        Wanted { hash: ChunkHash::of(fresh), start, len, in_seam: true, away_from: None };
                    self.whole(&chunk);
                    self.totals.bytes_changed += u64::from(len);
                    wanted.push(chunk);
                }
            }
        }
    }
}

/// What refers to a chunk that is not known any more, or is shorter than it was, is stored instead.
fn doubt(item: &mut Item, known: &Lengths) {
    let holds = |part: &Part| {
        let end = u64::from(part.offset) + u64::from(part.len);
        known.get(&part.hash).is_some_and(|len| end <= u64::from(*len))
    };
    match item {
        Item::Same(chunks, parts) if !parts.iter().all(holds) => {
            *item = Item::New(std::mem::take(chunks));
        }
        Item::Compared(stretch) if !stretch.parts.iter().all(holds) => stretch.parts.clear(),
        _ => {}
    }
}

/// Read the old bytes of `stretches` from `next`; one without parts has none.
fn fill(
    stretches: &[&Stretch],
    old: &mut Vec<Option<Vec<u8>>>,
    next: &mut dyn FnMut() -> Result<Option<gdd_uring::buffer::Shared>>,
) -> Result<()> {
    for stretch in stretches {
        let mut bytes = Vec::new();
        for part in &stretch.parts {
            let piece = next()?.filter(|piece| piece.len() == part.len as usize);
            let piece = piece.ok_or_else(|| Error::ChunkLost {
                hash: part.hash.to_string(),
                why: "it was not given".to_owned(),
            })?;
            bytes.extend_from_slice(&piece);
        }
        old.push((!stretch.parts.is_empty()).then_some(bytes));
    }
    Ok(())
}
