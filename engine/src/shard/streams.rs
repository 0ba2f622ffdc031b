//! The streams a worker serves, each with what it asked for and was not answered yet.

use std::collections::{BTreeMap, VecDeque};

use gdd_kernels::{Chunker, Cut};
use gdd_uring::buffer::Shared;

use super::known::Verdict;
use super::mailbox::{Added, Attachment, Door, Placement, Reply, Request};
use crate::ids::ChunkHash;

/// A placement under way.
pub struct Placing {
    /// What to place.
    pub placement: Placement,
    /// The first chunk not placed yet.
    pub next: usize,
    /// What it added so far.
    pub added: Added,
    /// What is to be done with the chunks, from `located_from` on.
    pub verdicts: Vec<Verdict>,
    /// The first chunk with a verdict.
    pub located_from: usize,
    /// How many rounds had ended when the verdicts were given.
    pub located_in: Option<u64>,
}

impl Placing {
    fn new(placement: Placement) -> Self {
        Self {
            placement,
            next: 0,
            added: Added::default(),
            verdicts: Vec::new(),
            located_from: 0,
            located_in: None,
        }
    }
}

/// The next thing of a stream that must be done in order.
pub enum Head {
    /// A placement, new or resumed.
    Place(Placing),
    /// A flush: everything before it is placed.
    Flush,
}

/// An extent to cut and hash.
pub struct CutOrder {
    /// For which stream.
    pub stream: u64,
    /// Its number in the stream.
    pub extent_number: u64,
    /// Its bytes.
    pub extent: Shared,
    /// Where to put the cuts.
    pub cuts: Vec<Cut>,
    /// What to cut with.
    pub chunker: Chunker,
}

/// What a stream wants to know.
pub struct Question {
    /// Its number.
    pub question: u64,
    /// Of which chunks.
    pub hashes: Vec<ChunkHash>,
}

struct Stream {
    attachment: Attachment,
    cuts: VecDeque<(u64, Shared, Vec<Cut>, Chunker)>,
    questions: VecDeque<Question>,
    ordered: VecDeque<Head>,
    tag: u64,
    /// Whether it was told that the store failed.
    told: bool,
}

/// See the module. Streams are named by a number that is never reused, so that an answer owed to a stream that left
/// cannot reach another.
#[derive(Default)]
pub struct Streams {
    streams: BTreeMap<u64, Stream>,
    /// The keys of `streams`, for walking while changing.
    numbers: Vec<u64>,
    arrived: u64,
    last_cut: u64,
}

impl Streams {
    /// Take in new streams, their requests, and their ends. Returns whether anything arrived.
    pub fn receive(&mut self, door: &Door) -> bool {
        let mut any = false;
        let mut changed = false;
        for attachment in door.arrivals() {
            changed = true;
            let tag = attachment.tag();
            let stream = Stream {
                attachment,
                cuts: VecDeque::new(),
                questions: VecDeque::new(),
                ordered: VecDeque::new(),
                tag,
                told: false,
            };
            self.streams.insert(self.arrived, stream);
            self.arrived += 1;
        }
        self.streams.retain(|_, stream| {
            while let Some(request) = stream.attachment.receive() {
                any = true;
                stream.take(request);
            }
            let over = stream.attachment.is_over(); // An abandoned stream: what it asked for has no reader.
            changed |= over;
            !over
        });
        if changed {
            self.numbers = self.streams.keys().copied().collect();
        }
        any | changed
    }

    /// Whether no stream is attached.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// How many streams are attached.
    #[must_use]
    pub fn count(&self) -> usize {
        self.numbers.len()
    }

    /// The number of the stream in place `at` of [`Streams::count`].
    #[must_use]
    pub fn number(&self, at: usize) -> u64 {
        self.numbers[at]
    }

    /// The next thing of a stream to do in order.
    pub fn take_head(&mut self, stream: u64) -> Option<Head> {
        self.streams.get_mut(&stream)?.ordered.pop_front()
    }

    /// A placement could not be finished; it stays at the head.
    pub fn put_back(&mut self, stream: u64, placing: Placing) {
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.ordered.push_front(Head::Place(placing));
        }
    }

    /// The oldest question of a stream.
    pub fn take_question(&mut self, stream: u64) -> Option<Question> {
        self.streams.get_mut(&stream)?.questions.pop_front()
    }

    /// An extent to cut, of the streams in turn.
    pub fn next_cut(&mut self) -> Option<CutOrder> {
        let turn = self.last_cut;
        let (later, earlier) = ((turn + 1).., ..=turn);
        let after = self.streams.range(later).chain(self.streams.range(earlier));
        let number = after.filter(|(_, stream)| !stream.cuts.is_empty()).map(|(number, _)| *number).next()?;
        self.last_cut = number;
        let (extent_number, extent, cuts, chunker) = self.streams.get_mut(&number)?.cuts.pop_front()?;
        Some(CutOrder { stream: number, extent_number, extent, cuts, chunker })
    }

    /// Answer a stream, if it is still there.
    pub fn reply(&mut self, stream: u64, reply: Reply) {
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.attachment.reply(reply);
        }
    }

    /// The mark of a stream's chunks in segment tables.
    #[must_use]
    pub fn tag(&self, stream: u64) -> u64 {
        self.streams.get(&stream).map_or(0, |stream| stream.tag)
    }

    /// Answer every stream that is owed something with a failure, and forget what it asked for.
    pub fn fail_all(&mut self, why: &str) -> bool {
        let mut any = false;
        for stream in self.streams.values_mut() {
            if !stream.told {
                stream.told = true;
                stream.attachment.reply(Reply::Failed(why.to_owned()));
                any = true;
            }
            stream.cuts.clear();
            stream.questions.clear();
            stream.ordered.clear();
        }
        any
    }
}

impl Stream {
    fn take(&mut self, request: Request) {
        match request {
            Request::Cut { extent_number, extent, cuts, chunker } => {
                self.cuts.push_back((extent_number, extent, cuts, chunker));
            }
            Request::Place(placement) => {
                self.ordered.push_back(Head::Place(Placing::new(placement)));
            }
            Request::Ask { question, hashes } => self.questions.push_back(Question { question, hashes }),
            Request::Flush => self.ordered.push_back(Head::Flush),
        }
    }
}
