//! Is this chunk certainly new? Asked before the index, because on new data nearly every chunk is.
//!
//! Asking RocksDB for every chunk would cost a good part of the time that cutting and hashing take. Two Bloom
//! filters answer first: a small hot one of recent chunks, and a mapped cold one of the full history, which grows by
//! layers and keeps the configured false-positive rate however large the store becomes.
//!
//! # Invariants
//! - Never a false negative: [`Filter::insert`] comes before the index commit, and any doubt (crash, damage, missing
//!   layer, rebuild under way) is answered "maybe", which means "ask the index".
//! - No lock on the path of questions and insertions. Memory order: see `block`.
//! - The configured rate bounds the sum over the hot filter and all cold layers. See `sizing`.
//!
//! # Crash consistency
//! The files are only believed after a clean close: opening for writing first makes "not clean" durable. After a
//! crash the filter starts empty and doubtful, and the caller refills it from the index. If the kernel loses a page
//! of the mapping (failed write-back), the worst is a chunk stored twice; the failed sync at close then leads to a
//! rebuild, and to directories that are compared with the index ([`crate::suspects`]).
//!
//! # What it does not do
//! Forget: a vacuumed chunk stays a false positive until the next rebuild ([`Filter::discard`]).

mod block;
mod cold;
mod config;
mod files;
mod header;
mod hot;
mod layer;
pub mod set;
mod sizing;
mod tally;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};

use block::Probe;
use cold::Cold;
use hot::Hot;
use tally::Tally;

pub use config::FilterConfig;
pub use tally::Lookups;

use crate::error::{Error, Result};
use crate::ids::{ChunkHash, Epoch};

/// Questions looked up together by [`Filter::query_many`]: enough cache misses to overlap.
const BATCH: usize = 32;

/// What the filter says of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Certainly never inserted.
    New,
    /// Probably inserted lately: ask the index.
    MaybeHot,
    /// Probably inserted some time, or in doubt: ask the index.
    MaybeCold,
}

/// In which state a filter was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// As it was closed; it can be asked at once.
    Clean,
    /// Empty, or not to be believed. It answers "maybe" to everything until [`Filter::finish_rebuild`].
    Rebuild {
        /// What was found, for the log.
        why: String,
    },
}

/// Whether answers can be given. `Release` stores pair with the `Acquire` load in [`Filter::is_trusted`].
mod state {
    /// Looks up.
    pub const TRUSTED: u8 = 0;
    /// Answers "maybe" to everything, takes insertions.
    pub const DOUBTFUL: u8 = 1;
    /// As doubtful, and takes no insertions: read-only and not clean, or closed.
    pub const CLOSED: u8 = 2;
}

/// See the module. Shared by all workers.
#[derive(Debug)]
pub struct Filter {
    hot: Hot,
    cold: Cold,
    tally: Tally,
    state: AtomicU8,
    writable: bool,
    epoch: Epoch,
}

impl Filter {
    /// Open the filter in `dir` for writing, or make one; `None` keeps it in memory only.
    ///
    /// On [`Opened::Rebuild`] the old files are gone. Call [`Filter::begin_rebuild`], give every chunk of the index
    /// to [`Filter::insert_from_index`], then call [`Filter::finish_rebuild`]; new chunks may be inserted all the
    /// while.
    ///
    /// # Errors
    /// A configuration out of range, or an error of the operating system. Damage is never an error.
    pub fn open(dir: Option<&Path>, config: FilterConfig) -> Result<(Self, Opened)> {
        config.check()?;
        let Some(dir) = dir else {
            let cold = Cold::new(None, config, Vec::new());
            cold.add_layer(config.first_capacity)?;
            let why = "it is kept in memory only".into();
            return Ok((Self::new(cold, config, state::DOUBTFUL, true), Opened::Rebuild { why }));
        };
        let last_epoch = config.epoch.0.checked_sub(1).map(Epoch);
        match files::load(dir, &config, last_epoch, true)? {
            Ok(mut layers) => {
                layers.iter_mut().try_for_each(layer::Layer::mark_open)?;
                let cold = Cold::new(Some(dir.to_owned()), config, layers);
                Ok((Self::new(cold, config, state::TRUSTED, true), Opened::Clean))
            }
            Err(why) => {
                files::remove(dir)?;
                let cold = Cold::new(Some(dir.to_owned()), config, Vec::new());
                cold.add_layer(config.first_capacity)?;
                Ok((Self::new(cold, config, state::DOUBTFUL, true), Opened::Rebuild { why }))
            }
        }
    }

    /// Open the filter in `dir` and change nothing. One that is not clean answers "maybe" to everything.
    ///
    /// # Errors
    /// As [`Filter::open`].
    pub fn open_read_only(dir: &Path, config: FilterConfig) -> Result<(Self, Opened)> {
        config.check()?;
        let (layers, state, opened) = match files::load(dir, &config, Some(config.epoch), false) {
            Ok(Ok(layers)) => (layers, state::TRUSTED, Opened::Clean),
            Ok(Err(why)) => (Vec::new(), state::CLOSED, Opened::Rebuild { why }),
            Err(Error::Locked { .. }) => {
                (Vec::new(), state::CLOSED, Opened::Rebuild { why: "it is open for writing".into() })
            }
            Err(error) => return Err(error),
        };
        Ok((Self::new(Cold::new(None, config, layers), config, state, false), opened))
    }

    /// Remove the files of a closed filter: the next opening rebuilds it.
    ///
    /// # Errors
    /// Of the operating system.
    pub fn discard(dir: &Path) -> Result<()> {
        files::remove(dir)
    }

    fn new(cold: Cold, config: FilterConfig, state: u8, writable: bool) -> Self {
        let hot = Hot::new(if writable { config.hot_capacity } else { 0 }, config.rate());
        let (tally, state) = (Tally::default(), AtomicU8::new(state));
        Self { hot, cold, tally, state, writable, epoch: config.epoch }
    }

    /// What is known of one chunk.
    #[must_use]
    #[inline]
    pub fn query(&self, hash: &ChunkHash) -> Answer {
        if !self.is_trusted() {
            self.tally.doubted(1);
            return Answer::MaybeCold;
        }
        let probe = Probe::of(hash);
        let answer = if self.hot.contains(probe) {
            Answer::MaybeHot
        } else if self.cold.contains(probe) {
            Answer::MaybeCold
        } else {
            Answer::New
        };
        self.tally.answered(answer);
        answer
    }

    /// What is known of many chunks, one answer each, in order. Faster than one by one: their cache misses overlap.
    pub fn query_many(&self, hashes: &[ChunkHash], answers: &mut Vec<Answer>) {
        answers.clear();
        if !self.is_trusted() {
            self.tally.doubted(hashes.len() as u64);
            answers.resize(hashes.len(), Answer::MaybeCold);
            return;
        }
        for hashes in hashes.chunks(BATCH) {
            self.query_batch(hashes, answers);
        }
        self.tally.answered_many(answers);
    }

    fn query_batch(&self, hashes: &[ChunkHash], answers: &mut Vec<Answer>) {
        let mut probes = [Probe::default(); BATCH];
        for (probe, hash) in probes.iter_mut().zip(hashes) {
            *probe = Probe::of(hash);
        }
        let probes = &probes[..hashes.len()];
        let all = u32::MAX >> (BATCH - hashes.len());
        let hot = sift(probes, all, |probe| self.hot.touches(probe), |probe| self.hot.contains(probe));
        let mut new = all & !hot;
        for layer in self.cold.layers() {
            new &= !sift(probes, new, |probe| layer.touches(probe), |probe| layer.contains(probe));
        }
        answers.extend((0..hashes.len()).map(|place| match (hot >> place & 1, new >> place & 1) {
            (1, _) => Answer::MaybeHot,
            (_, 1) => Answer::New,
            _ => Answer::MaybeCold,
        }));
    }

    /// Add a chunk that is being stored. Before it is given to the index.
    ///
    /// # Panics
    /// When the filter is read-only or closed.
    #[inline]
    pub fn insert(&self, hash: &ChunkHash) {
        self.insert_from_index(hash);
        self.hot.insert(Probe::of(hash));
    }

    /// Add a chunk that the index has, while rebuilding: it is not recent.
    ///
    /// # Panics
    /// As [`Filter::insert`].
    #[inline]
    pub fn insert_from_index(&self, hash: &ChunkHash) {
        assert!(
            self.writable && self.state.load(Ordering::Relaxed) != state::CLOSED,
            "insertions end before the close"
        );
        self.cold.insert(Probe::of(hash));
    }

    /// A chunk answered "maybe" is not in the index.
    pub fn was_false(&self) {
        if self.is_trusted() {
            self.tally.was_false();
        }
    }

    /// From now on every answer is "maybe". What was inserted stays.
    ///
    /// # Panics
    /// As [`Filter::insert`].
    pub fn begin_rebuild(&self) {
        self.change_state(state::DOUBTFUL);
    }

    /// Every chunk of the index was given to [`Filter::insert_from_index`], and every later one to
    /// [`Filter::insert`].
    ///
    /// # Panics
    /// As [`Filter::insert`].
    pub fn finish_rebuild(&self) {
        self.change_state(state::TRUSTED);
    }

    fn change_state(&self, next: u8) {
        assert!(self.writable, "a read-only filter is not rebuilt");
        let before = self.state.swap(next, Ordering::AcqRel);
        assert!(before != state::CLOSED, "a rebuild ends before the close");
    }

    /// Whether answers are looked up. False during a rebuild and after the close.
    #[must_use]
    #[inline]
    pub fn is_trusted(&self) -> bool {
        self.state.load(Ordering::Acquire) == state::TRUSTED
    }

    /// Close cleanly: all insertions have ended, and the index has committed or refused every chunk inserted. A filter
    /// in doubt is left as it is, to be rebuilt at the next opening. A second call does nothing. It was closed in epoch
    /// `last`, if the store's was raised while it was open.
    ///
    /// # Errors
    /// Of the operating system; the filter is then rebuilt at the next opening.
    pub fn flush_and_mark_clean(&self, last: Epoch) -> Result<()> {
        if !self.writable || self.state.swap(state::CLOSED, Ordering::AcqRel) != state::TRUSTED {
            return Ok(());
        }
        self.cold.close(self.epoch.max(last))
    }

    /// Counters and sizes.
    #[must_use]
    pub fn stats(&self) -> FilterStats {
        let layers = || self.cold.layers();
        FilterStats {
            lookups: self.tally.lookups(),
            trusted: self.is_trusted(),
            layers: layers().count() as u64,
            items: layers().map(layer::Layer::items).sum(),
            capacity: layers().map(layer::Layer::capacity).sum(),
            bytes: layers().map(|layer| layer.shape().bytes()).sum(),
            hot_bytes: self.hot.bytes(),
            expected_fpr: self.hot.rate()
                + layers().map(|layer| layer.shape().rate_with(layer.items())).sum::<f64>(),
        }
    }
}

/// What a filter holds, and what it did since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct FilterStats {
    /// Questions and answers.
    #[serde(flatten)]
    pub lookups: Lookups,
    /// See [`Filter::is_trusted`].
    pub trusted: bool,
    /// Cold layers.
    pub layers: u64,
    /// Chunks in them.
    pub items: u64,
    /// Chunks for which they were made.
    pub capacity: u64,
    /// Bytes of their bits.
    pub bytes: u64,
    /// Bytes of the hot filter.
    pub hot_bytes: u64,
    /// The false-positive rate of a question now, hot and cold together, as a fraction.
    pub expected_fpr: f64,
}

/// Of the probes in the set `among`, those for which `holds`. `may_hold` is a cheap first test: a loop without
/// unpredictable branches, so that the processor has many cache misses in flight.
#[inline]
fn sift(
    probes: &[Probe],
    among: u32,
    may_hold: impl Fn(Probe) -> bool,
    holds: impl Fn(Probe) -> bool,
) -> u32 {
    let mut candidates = 0;
    for (place, probe) in probes.iter().enumerate() {
        candidates |= u32::from(may_hold(*probe)) << place;
    }
    let mut left = candidates & among;
    let mut held = 0;
    while left != 0 {
        let place = left.trailing_zeros();
        held |= u32::from(holds(probes[place as usize])) << place;
        left &= left - 1;
    }
    held
}
