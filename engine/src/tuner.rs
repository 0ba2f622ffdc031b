//! The chunk tuner: which chunk sizes a stream is cut with, decided from what its lineage did before.
//!
//! A *lineage* is one thing backed up again and again (a client's job, a disk, a dump); each time is a *generation*.
//! Where little is ever found again, larger chunks need less index; where most is, smaller ones store less of a change.
//! The failure this module answers is its own trap: data cut with other sizes has other chunks, so a tuner that follows
//! the ratio destroys the ratio that it measures.
//!
//! # Invariants
//! - A lineage's first generation is cut with the store's own sizes: nothing is known of it, and other lineages share
//!   chunks with it.
//! - Each generation is cut as the one before, up to its *point*: there, and only there, the sizes may change, and only
//!   when nothing that came before the point was known and the two generations before agree (hysteresis).
//! - A stream that repeats another one, its *twin*, of whatever lineage, is cut on as the twin was: wherever some
//!   stream changed its sizes, the caller looks for a twin.
//! - Larger only for a lineage whose last two generations brought next to nothing that was known: there is no boundary
//!   history to lose. The point comes a window into the stream, cut with the old sizes: a probe for repetition.
//! - Smaller only behind as many new bytes as the whole generation before had: what could be known lies before it.
//! - One point per stream, recorded with its recipe; a change takes back the votes that led to it.
//!
//! It does no I/O and keeps no clock.

use std::cmp::Reverse;
use std::collections::VecDeque;

use gdd_kernels::Params;

use crate::format::recipe::ChunkParams;
use crate::format::recipe_trailer::Tuning;

/// Bytes of stream that count as one window.
pub const WINDOW_BYTES: u64 = 64 << 20;

/// No set of sizes has a smaller minimum, in bytes, unless the store's own has.
pub const CHUNK_SIZE_MIN: u32 = 1 << 10;

/// Generations that must agree before the sizes change.
const VOTES_MIN: i8 = 2;

/// Above this share of known bytes smaller chunks are wanted, in millionths.
const SMALLER_ABOVE_PPM: u64 = 800_000;
/// Below this one larger chunks are wanted.
const LARGER_BELOW_PPM: u64 = 200_000;
/// A window with at most this share is almost all new.
const WINDOW_NEW_PPM: u64 = 10_000;
/// A stream with at most this share has met nothing of its earlier generations: padding and runs of zeros remain.
const STREAM_NEW_PPM: u64 = 1_000;
const _: () = assert!(STREAM_NEW_PPM <= WINDOW_NEW_PPM && WINDOW_NEW_PPM < LARGER_BELOW_PPM);
const _: () = assert!(LARGER_BELOW_PPM < SMALLER_ABOVE_PPM, "a band between them is hysteresis too");

/// Where the known share of a window points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// To smaller chunks.
    Smaller,
    /// Nowhere.
    Keep,
    /// To larger chunks.
    Larger,
}

impl Aim {
    fn of(known_ppm: u64) -> Self {
        match known_ppm {
            ppm if ppm > SMALLER_ABOVE_PPM => Self::Smaller,
            ppm if ppm < LARGER_BELOW_PPM => Self::Larger,
            _ => Self::Keep,
        }
    }
}

/// The sets of sizes on offer: the store's own, doubled and halved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ladder {
    base: ChunkParams,
    size_max: u32,
}

impl Ladder {
    /// All sets made from `base` whose largest chunk has at most `size_max` bytes.
    #[must_use]
    pub fn new(base: ChunkParams, size_max: u32) -> Self {
        Self { base, size_max: size_max.max(base.max) }
    }

    /// The store's own sizes.
    #[must_use]
    pub fn base(&self) -> ChunkParams {
        self.base
    }

    /// The largest set.
    #[must_use]
    pub fn largest(&self) -> ChunkParams {
        std::iter::successors(Some(self.base), |sizes| self.larger(*sizes)).last().unwrap_or(self.base)
    }

    /// `sizes` doubled, where that is on offer.
    #[must_use]
    pub fn larger(&self, sizes: ChunkParams) -> Option<ChunkParams> {
        self.checked([sizes.min, sizes.avg, sizes.max].map(|size| size.checked_mul(2)))
    }

    /// `sizes` halved, where that is on offer.
    #[must_use]
    pub fn smaller(&self, sizes: ChunkParams) -> Option<ChunkParams> {
        let halves = self.checked([sizes.min, sizes.avg, sizes.max].map(|size| Some(size / 2)))?;
        (halves.min >= CHUNK_SIZE_MIN.min(self.base.min)).then_some(halves)
    }

    /// Whether the engine can cut with `sizes`, which may come from a recipe.
    #[must_use]
    pub fn allows(&self, sizes: ChunkParams) -> bool {
        Params::new(sizes.min, sizes.avg, sizes.max).is_ok() && sizes.max <= self.size_max
    }

    fn checked(&self, sizes: [Option<u32>; 3]) -> Option<ChunkParams> {
        let [Some(min), Some(avg), Some(max)] = sizes else { return None };
        Some(ChunkParams { min, avg, max }).filter(|sizes| self.allows(*sizes))
    }
}

/// Some bytes of a stream, and how many of them were new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Bytes.
    pub bytes: u64,
    /// Bytes of them that the store did not have.
    pub new_bytes: u64,
}

impl Sample {
    /// Bytes that were known, in millionths of all; none are known of nothing.
    fn known_ppm(self) -> u64 {
        let known = self.bytes.saturating_sub(self.new_bytes);
        let ppm = u128::from(known) * 1_000_000 / u128::from(self.bytes.max(1));
        u64::try_from(ppm).expect("a share is at most one")
    }
}

impl std::ops::AddAssign for Sample {
    fn add_assign(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.new_bytes += other.new_bytes;
    }
}

/// The last samples of a stream that make a window, or all of them while they are fewer.
#[derive(Debug)]
struct Window {
    limit: u64,
    samples: VecDeque<Sample>,
    sum: Sample,
}

impl Window {
    fn push(&mut self, sample: Sample) {
        self.samples.push_back(sample);
        self.sum += sample;
        while let Some(oldest) = self.samples.front()
            && self.sum.bytes - oldest.bytes >= self.limit
        {
            self.sum.bytes -= oldest.bytes;
            self.sum.new_bytes -= oldest.new_bytes;
            self.samples.pop_front();
        }
    }

    fn is_full(&self) -> bool {
        self.sum.bytes >= self.limit
    }
}

/// What the latest generation of a lineage has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Past {
    /// How it was cut from its start.
    pub start: ChunkParams,
    /// The tuner's record of it.
    pub tuning: Tuning,
    /// Its length in bytes.
    pub bytes: u64,
}

impl Past {
    /// Where and to what its sizes changed.
    fn switch(&self) -> Option<(u64, ChunkParams)> {
        (self.tuning.switch_at > 0).then_some((self.tuning.switch_at, self.tuning.later))
    }
}

/// A stored stream that begins as this one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Twin {
    /// Where and to what its sizes changed.
    pub switch: Option<(u64, ChunkParams)>,
}

/// See the module: the tuner of one stream.
#[derive(Debug)]
pub struct Tuner {
    ladder: Ladder,
    past: Option<Past>,
    wanted: Aim,
    /// Bytes of the stream before its own point, until it is passed.
    own_point: Option<u64>,
    /// Where it may have to follow a twin; the next one last.
    points: Vec<u64>,
    switch: Option<(u64, ChunkParams)>,
    window: Window,
    total: Sample,
    /// Highest known share of a full window.
    known_ppm_max: u64,
    changed: bool,
    why: String,
}

impl Tuner {
    /// A tuner for the next generation of the lineage that has this `past`; `switches` are the bytes at which other
    /// streams changed their sizes, and `window_bytes` make a window.
    #[must_use]
    pub fn new(ladder: Ladder, past: Option<Past>, switches: &[u64], window_bytes: u64) -> Self {
        let window = Window { limit: window_bytes.max(1), samples: VecDeque::new(), sum: Sample::default() };
        let votes = past.map_or(0, |past| past.tuning.votes);
        let wanted = match votes {
            VOTES_MIN.. => Aim::Larger,
            votes if votes <= -VOTES_MIN => Aim::Smaller,
            _ => Aim::Keep,
        };
        let own_point = past.and_then(|past| match (past.switch(), wanted) {
            (Some((at, _)), _) => Some(at),
            (None, Aim::Larger) => Some(window.limit),
            (None, Aim::Smaller) => Some(window.limit.max(past.bytes)),
            (None, Aim::Keep) => None,
        });
        let mut points: Vec<u64> = switches.iter().copied().chain(own_point).filter(|at| *at > 0).collect();
        points.sort_unstable_by_key(|at| Reverse(*at));
        points.dedup();
        let why = match past {
            None => "first of its lineage: cut with the store's sizes".to_owned(),
            Some(_) => "cut as its lineage was".to_owned(),
        };
        Self {
            ladder,
            past,
            wanted,
            own_point,
            points,
            switch: None,
            window,
            total: Sample::default(),
            known_ppm_max: 0,
            changed: false,
            why,
        }
    }

    /// How the stream is cut from its start.
    #[must_use]
    pub fn start(&self) -> ChunkParams {
        self.past.map_or(self.ladder.base(), |past| past.start)
    }

    /// Byte of the stream before which [`Tuner::decide`] is due, with everything before it sampled.
    #[must_use]
    pub fn point(&self) -> Option<u64> {
        self.points.last().copied()
    }

    /// Whether the stream, at its point, may repeat another one.
    #[must_use]
    pub fn may_have_twin(&self) -> bool {
        !self.met_nothing()
    }

    /// Take in what came of the next bytes of the stream.
    pub fn sample(&mut self, sample: Sample) {
        self.window.push(sample);
        self.total += sample;
        if self.window.is_full() {
            self.known_ppm_max = self.known_ppm_max.max(self.window.sum.known_ppm());
        }
    }

    /// The stream has reached the point and goes on: the sizes of what follows, where they are others. A `twin` is a
    /// stream that is longer than this, began with the same sizes, and has most of what came so far.
    pub fn decide(&mut self, twin: Option<Twin>) -> Option<ChunkParams> {
        let at = self.points.pop()?;
        if let Some(twin) = twin {
            return self.follow(at, twin);
        }
        if self.own_point != Some(at) {
            return None;
        }
        self.own_point = None;
        self.points.clear();
        let past = self.past?;
        let (recorded, before) = (past.switch().map(|(_, sizes)| sizes), self.start());
        let target = match self.wanted {
            Aim::Larger if self.met_nothing() => self.ladder.larger(recorded.unwrap_or(before)),
            Aim::Smaller if self.met_nothing() && recorded.is_none() => self.ladder.smaller(before),
            _ => None,
        };
        self.changed = target.is_some();
        if self.changed {
            let direction = if self.wanted == Aim::Larger { "nothing" } else { "most" };
            self.why = format!(
                "{VOTES_MIN} generations in which {direction} was known, and a start that is all new: \
                 other sizes from byte {at} on"
            );
        }
        self.switch = target.or(recorded).map(|sizes| (at, sizes));
        self.switch.map(|(_, sizes)| sizes).filter(|sizes| *sizes != before)
    }

    /// Cut on as the twin was.
    fn follow(&mut self, at: u64, twin: Twin) -> Option<ChunkParams> {
        self.own_point = None;
        self.points.retain(|later| twin.switch.is_some_and(|(switch_at, _)| switch_at == *later));
        self.switch = twin.switch.filter(|(switch_at, _)| *switch_at == at);
        self.why = "cut as the stream that it repeats".to_owned();
        if self.switch.is_some() {
            self.points.clear();
        }
        self.switch.map(|(_, sizes)| sizes).filter(|sizes| *sizes != self.start())
    }

    /// Whether what was sampled so far is new, the last window and all before it.
    fn met_nothing(&self) -> bool {
        self.total.bytes > 0
            && self.window.sum.known_ppm() <= WINDOW_NEW_PPM
            && self.total.known_ppm() <= STREAM_NEW_PPM
    }

    /// Where the sizes changed, and to what; known when the point is passed.
    #[must_use]
    pub fn switch(&self) -> Option<(u64, ChunkParams)> {
        self.switch
    }

    /// A sentence for the operator.
    #[must_use]
    pub fn why(&self) -> &str {
        &self.why
    }

    /// What is recorded with the recipe, when all of the stream was sampled.
    #[must_use]
    pub fn record(&self) -> Tuning {
        // A stream that ended before its point leaves the point to the next one.
        let left = self.past.filter(|_| self.own_point.is_some()).and_then(|past| past.switch());
        let (switch_at, later) = self.switch.or(left).unwrap_or_default();
        let generation = self.past.map_or(0, |past| past.tuning.generation).saturating_add(1);
        Tuning { generation, votes: self.votes(), switch_at, later }
    }

    /// The votes for the next generation: the last ones in a row that agree, above 0 for larger chunks.
    fn votes(&self) -> i8 {
        let Some(past) = self.past else { return 0 }; // What a first generation meets is not its own history.
        let before = if self.changed { 0 } else { past.tuning.votes };
        if self.total.bytes == 0 {
            return before;
        }
        let known_ppm = self.total.known_ppm();
        match Aim::of(known_ppm) {
            Aim::Larger if known_ppm <= STREAM_NEW_PPM && self.known_ppm_max <= WINDOW_NEW_PPM => {
                before.max(0).saturating_add(1)
            }
            Aim::Smaller => before.min(0).saturating_sub(1),
            Aim::Keep | Aim::Larger => 0,
        }
    }
}

#[cfg(test)]
mod tests;
