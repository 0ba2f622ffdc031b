//! One backup: segments and chunks that a client names become its stream, in the client's order.
//!
//! ```text
//! segments -> in the last stream? -> probe -> known, or a gap in the order
//! chunks of the gaps -> wanted? -> chunk -> hashed again -> store
//! commit -> counted the same? -> durable -> named -> receipt
//! ```
//!
//! # Invariants
//! - The recipe is the stream as the client has it: a known segment behind a gap waits until the gap is filled.
//! - A receipt says what was counted here, and only of a stream that is durable under its name.
//! - Dropped before that, nothing of the name remains.
//! - What a client may leave open is bounded, in segments and in chunks: [`SLOTS_MAX`], [`ROWS_MAX`], [`AHEAD_MAX`].

use std::collections::VecDeque;
use std::sync::Arc;

use gdd_engine::format::recipe::Owner;
use gdd_engine::ids::ChunkHash;
use gdd_engine::ingest::PutOptions;
use gdd_engine::ingest::front::StreamChunk;
use gdd_engine::ingest::named::{NamedPut, NamedSummary};
use gdd_engine::store::Store;
use gdd_wire::message::{BitmapBuffer, Cut, Entry, Receipt, Rows, SegmentQuery, Totals};

use super::domain::{Domain, Sees};
use super::ledger::Share;
use super::past::Past;
use super::trouble::{self, Trouble};

/// Chunks that a client may leave unanswered, as it is told.
pub(super) const AHEAD_MAX: u32 = 8192;
/// Segments that are asked and not in the stream yet.
const SLOTS_MAX: usize = 4096;
/// Chunks that are remembered: asked and unanswered, or wanted and not all before them given.
const ROWS_MAX: usize = 16 * AHEAD_MAX as usize;

/// A segment on its way into the stream.
enum Slot {
    Undecided {
        chunks: u16,
        bytes: u32,
    },
    Known(Arc<[StreamChunk]>),
    /// Its chunks come by name: so many are still to come.
    Missing {
        chunks: u16,
        bytes: u32,
    },
}

impl Slot {
    fn chunks(&self) -> usize {
        match self {
            Self::Undecided { chunks, .. } | Self::Missing { chunks, .. } => usize::from(*chunks),
            Self::Known(chunks) => chunks.len(),
        }
    }
}

/// A question whose answer the store owes.
enum Open {
    Segments {
        number: u64,
        chunks: usize,
        found: Vec<Option<Arc<[StreamChunk]>>>,
    },
    /// Rows of a question about chunks; several parts where known segments lie between.
    Chunks {
        number: u64,
        count: usize,
        is_last: bool,
    },
}

/// What is to be sent.
pub(super) enum Answer<'a> {
    SegmentsKnown(u64, &'a BitmapBuffer),
    Wanted(u64, &'a BitmapBuffer),
    Durable(u64),
}

/// See the module.
pub(super) struct Backup {
    put: NamedPut,
    sees: Sees,
    /// Of a domain with a quota: its name, the quota, and this backup's part of it.
    share: Option<(String, u64, Share)>,
    /// The quota is used up.
    full: bool,
    past: Past,
    slots: VecDeque<Slot>,
    /// The first slots have their answer: so many.
    decided: usize,
    open: VecDeque<Open>,
    unanswered: usize,
    /// Chunks of segments whose question has no answer yet.
    undecided: usize,
    bits: BitmapBuffer,
    bytes: u64,
    chunks: u64,
    digest: blake3::Hasher,
}

/// Who backs up what, as the client says.
pub(super) struct About<'a> {
    pub domain: &'a Domain,
    pub client: &'a str,
    pub job_name: &'a str,
    pub file_set: &'a str,
    /// See [`Past::of`].
    pub window_chunks: u64,
}

/// The name of a stream in the store.
pub(super) fn name_of(domain: &Domain, stream: [u8; 16]) -> String {
    domain.prefix() + &hex(stream)
}

pub(super) fn hex(stream: [u8; 16]) -> String {
    stream.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Backup {
    pub(super) fn begin(store: &Store, stream: [u8; 16], about: &About<'_>) -> Result<Self, Trouble> {
        let About { domain, client, job_name, file_set, window_chunks } = about;
        let prefix = domain.prefix();
        let lineage = format!("{prefix}{client}/{job_name}/{file_set}");
        let failed = |error| trouble::store(&error);
        let name = name_of(domain, stream);
        let share = match domain.share(store, &name).map_err(failed)? {
            Ok(share) => {
                share.zip(domain.rules.quota).map(|(share, quota)| (domain.name.clone(), quota, share))
            }
            Err(quota) => return Err(trouble::quota(&domain.name, quota)),
        };
        let past = Past::of(store.core(), &lineage, &prefix, *window_chunks).map_err(failed)?;
        let options = PutOptions { lineage: Some(lineage), owner: Owner::Job, ..PutOptions::default() };
        let put = store.put_named(&name, options).map_err(|error| match error {
            gdd_engine::error::Error::Invalid(why) => trouble::malformed(&why),
            error => trouble::store(&error),
        })?;
        let put = match domain.tag() {
            Some(tag) => put.seen_by(tag),
            None => put,
        };
        Ok(Self {
            put,
            sees: domain.rules.sees,
            share,
            full: false,
            past,
            slots: VecDeque::new(),
            decided: 0,
            open: VecDeque::new(),
            unanswered: 0,
            undecided: 0,
            bits: BitmapBuffer::default(),
            bytes: 0,
            chunks: 0,
            digest: blake3::Hasher::new(),
        })
    }

    /// How the client is to cut.
    pub(super) fn cut(store: &Store) -> Cut {
        let params = store.core().ladder().base();
        Cut { min: params.min, target: params.avg, max: params.max }
    }

    pub(super) fn segments(&mut self, number: u64, rows: Rows<'_, SegmentQuery>) -> Result<(), Trouble> {
        let count = self.slots.len() + rows.count();
        if count > SLOTS_MAX {
            return Err(trouble::greedy("segments that are not in the stream yet", SLOTS_MAX, count));
        }
        // A row of a few bytes stands for a thousand chunks, each of which is looked up and remembered.
        let chunks: usize = rows.iter().map(|row| usize::from(row.chunk_count)).sum();
        self.undecided += chunks;
        if self.undecided > AHEAD_MAX as usize {
            let what = "chunks of segments that were asked and not answered";
            return Err(trouble::greedy(what, AHEAD_MAX as usize, self.undecided));
        }
        let waiting = chunks + self.slots.iter().map(Slot::chunks).sum::<usize>();
        if waiting > ROWS_MAX {
            return Err(trouble::greedy(
                "chunks of segments that are not in the stream yet",
                ROWS_MAX,
                waiting,
            ));
        }
        let mut found = Vec::with_capacity(rows.count());
        let mut probe = Vec::new();
        for row in rows.iter() {
            let segment = self.past.find(&row);
            probe.extend(segment.iter().flat_map(|chunks| chunks.iter().copied()));
            found.push(segment);
            self.slots.push_back(Slot::Undecided { chunks: row.chunk_count, bytes: row.length });
        }
        self.put.probe(probe).map_err(|error| trouble::backup(&error))?;
        self.open.push_back(Open::Segments { number, chunks, found });
        Ok(())
    }

    pub(super) fn chunks(&mut self, number: u64, rows: Rows<'_, Entry>) -> Result<(), Trouble> {
        self.unanswered += rows.count();
        let remembered = self.unanswered + self.put.remembered();
        if remembered > ROWS_MAX {
            return Err(trouble::greedy("chunks that were asked and have not come", ROWS_MAX, remembered));
        }
        let mut part = Vec::with_capacity(rows.count());
        for row in rows.iter() {
            part.push(StreamChunk { hash: ChunkHash(row.hash), len: row.len });
            if self.passes_gap(row.len)? {
                // What lies behind the gap comes before the question's next chunk.
                self.ask(number, &mut part, false)?;
                self.advance();
            }
        }
        self.ask(number, &mut part, true)
    }

    /// A chunk of the first gap, if there is one, comes; whether it is filled now.
    fn passes_gap(&mut self, len: u32) -> Result<bool, Trouble> {
        match self.slots.front_mut() {
            None => Ok(false),
            Some(Slot::Missing { chunks, bytes }) => {
                let fits = *chunks > 0 && *bytes >= len && (*chunks > 1 || *bytes == len);
                if !fits {
                    let found = format!("a chunk of {len} bytes");
                    return Err(trouble::turn(&format!("{chunks} chunks of {bytes} bytes"), &found));
                }
                *chunks -= 1;
                *bytes -= len;
                if *chunks > 0 {
                    return Ok(false);
                }
                self.slots.pop_front();
                self.decided -= 1;
                Ok(true)
            }
            Some(_) => Err(trouble::turn("chunks of a segment that was answered to be unknown", "others")),
        }
    }

    fn ask(&mut self, number: u64, part: &mut Vec<StreamChunk>, is_last: bool) -> Result<(), Trouble> {
        let part = std::mem::take(part);
        self.open.push_back(Open::Chunks { number, count: part.len(), is_last });
        self.count(&part);
        self.put.ask(part).map_err(|error| trouble::backup(&error))
    }

    fn count(&mut self, chunks: &[StreamChunk]) {
        let before = self.bytes;
        for chunk in chunks {
            self.digest.update(&chunk.hash.0);
            self.digest.update(&chunk.len.to_le_bytes());
            self.bytes += u64::from(chunk.len);
        }
        let more = self.bytes - before;
        self.full |= self.share.as_ref().is_some_and(|(_, _, share)| !share.take(more));
        self.chunks += chunks.len() as u64;
    }

    /// Known segments before the first gap are part of the stream now.
    fn advance(&mut self) {
        while matches!(self.slots.front(), Some(Slot::Known(_))) {
            let Some(Slot::Known(chunks)) = self.slots.pop_front() else { break };
            self.decided -= 1;
            self.count(&chunks);
            self.put.append(chunks);
        }
    }

    pub(super) fn chunk(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        self.put.give(bytes).map(drop).map_err(|error| trouble::backup(&error))
    }

    pub(super) fn flush(&mut self) {
        self.put.flush();
    }

    /// Pass on what the store has answered meanwhile.
    pub(super) fn settle(
        &mut self,
        send: &mut dyn FnMut(Answer<'_>) -> Result<(), super::session::End>,
    ) -> Result<(), super::session::End> {
        while let Some(bits) = self.put.answer().map_err(|error| trouble::backup(&error))? {
            match self.open.pop_front() {
                Some(Open::Segments { number, chunks, found }) => {
                    self.undecided -= chunks;
                    self.decide(found, &bits);
                    send(Answer::SegmentsKnown(number, &self.bits))?;
                    self.bits.clear();
                    self.advance();
                }
                Some(Open::Chunks { number, count, is_last }) => {
                    debug_assert_eq!(bits.len(), count, "an answer has a bit for each row");
                    self.unanswered -= count;
                    bits.iter().for_each(|bit| self.push(*bit));
                    if is_last {
                        send(Answer::Wanted(number, &self.bits))?;
                        self.bits.clear();
                    }
                }
                None => unreachable!("an answer is to a question"),
            }
        }
        if let Some(bytes) = self.put.durable().map_err(|error| trouble::backup(&error))? {
            send(Answer::Durable(bytes))?;
        }
        Ok(())
    }

    /// The oldest undecided slots are known or gaps.
    fn decide(&mut self, found: Vec<Option<Arc<[StreamChunk]>>>, bits: &[bool]) {
        let mut bits = bits.iter();
        for segment in found {
            let segment = segment.filter(|chunks| {
                // All of them are taken, also behind an unknown one.
                bits.by_ref().take(chunks.len()).fold(true, |all, bit| all & bit)
            });
            self.push(segment.is_some());
            let slot = &mut self.slots[self.decided];
            self.decided += 1;
            *slot = match (segment, &slot) {
                (Some(chunks), _) => Slot::Known(chunks),
                (None, Slot::Undecided { chunks, bytes }) => Slot::Missing { chunks: *chunks, bytes: *bytes },
                (None, _) => unreachable!("a slot is decided once"),
            };
        }
    }

    fn push(&mut self, bit: bool) {
        self.bits.push(bit).expect("as many bits as the question had rows");
    }

    /// Whether the store owes something.
    pub(super) fn is_waiting(&self) -> bool {
        self.put.is_waiting()
    }

    /// Sleep until it may have come.
    pub(super) fn wait(&mut self) -> Result<(), Trouble> {
        self.put.wait().map_err(|error| trouble::backup(&error))
    }

    pub(super) fn so_far(&self) -> NamedSummary {
        self.put.so_far()
    }

    /// Refused when its domain would have more than it may, with what others of it are bringing.
    pub(super) fn fits(&self) -> Result<(), Trouble> {
        match &self.share {
            Some((domain, quota, _)) if self.full => Err(trouble::quota(domain, *quota)),
            _ => Ok(()),
        }
    }

    /// What both ends must agree on before the stream has a name. All answers were taken.
    pub(super) fn check(&self, sent: &Totals) -> Result<(), Trouble> {
        self.fits()?;
        let missing = self.slots.len() + self.put.missing();
        if missing > 0 {
            return Err(trouble::incomplete(missing));
        }
        if sent.bytes != self.bytes {
            return Err(trouble::differs("the bytes", &sent.bytes, &self.bytes));
        }
        if sent.chunks != self.chunks {
            return Err(trouble::differs("the chunks", &sent.chunks, &self.chunks));
        }
        let digest = self.digest.finalize();
        if sent.recipe_digest != *digest.as_bytes() {
            let sent = blake3::Hash::from_bytes(sent.recipe_digest);
            return Err(trouble::differs("the digests", &sent, &digest));
        }
        Ok(())
    }

    /// Make it durable and name it. The files are the client's to count.
    pub(super) fn finish(self, sent: &Totals, wire_bytes: u64) -> Result<(Receipt, NamedSummary), Trouble> {
        let done = self.put.finish().map_err(|error| trouble::backup(&error))?;
        if let Some((_, _, share)) = self.share {
            share.named();
        }
        let totals = Totals {
            bytes: done.bytes,
            chunks: done.chunks,
            recipe_digest: *self.digest.finalize().as_bytes(),
            ..*sent
        };
        // What others have brought is not told to those who must not know: to them all that they gave is new.
        let (new_bytes, stored_bytes) = match self.sees {
            Sees::Store => (done.new_bytes, done.stored_bytes),
            Sees::Own => (done.given_bytes, done.given_bytes),
        };
        let receipt = Receipt { totals, new_bytes, stored_bytes, wire_bytes };
        Ok((receipt, done))
    }
}
