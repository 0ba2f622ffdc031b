//! The cold filter: the full history of the store, in layers.
//!
//! A filter cannot be enlarged in place, so a full one is left as it is and a new layer, twice as large, takes what
//! comes (Almeida et al., "Scalable Bloom Filters", 2007). Questions go to all layers.
//!
//! # Invariants
//! - Layers are only ever added, and an item is added to a layer that readers can see already: a reader that knows
//!   of an item knows of its layer.
//! - A layer that cannot be added (disk full) makes the filter less exact, never wrong: the full one goes on.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, TryLockError};

use super::FilterConfig;
use super::block::Probe;
use super::header::Header;
use super::layer::{Layer, path_of};
use super::sizing::{self, Shape};
use crate::error::Result;
use crate::ids::Epoch;

/// Layers at most. Each doubles the last: the 32nd of a million items would need more than a disk.
pub const LAYERS_MAX: u32 = 32;

/// See the module.
#[derive(Debug)]
pub struct Cold {
    dir: Option<PathBuf>,
    config: FilterConfig,
    layers: [OnceLock<Layer>; LAYERS_MAX as usize],
    /// Layers in use. `Release` after a layer is set pairs with `Acquire` in [`Cold::layers`].
    count: AtomicUsize,
    growing: Mutex<()>,
}

impl Cold {
    /// A cold filter of these layers, in `dir` or in memory.
    #[must_use]
    pub fn new(dir: Option<PathBuf>, config: FilterConfig, layers: Vec<Layer>) -> Self {
        assert!(layers.len() <= LAYERS_MAX as usize, "the loader counted them");
        let count = AtomicUsize::new(layers.len());
        let mut slots = layers.into_iter();
        let layers = std::array::from_fn(|_| slots.next().map_or_else(OnceLock::new, OnceLock::from));
        Self { dir, config, layers, count, growing: Mutex::new(()) }
    }

    /// Add a layer of `capacity` items.
    ///
    /// # Errors
    /// As [`Layer::create`].
    pub fn add_layer(&self, capacity: u64) -> Result<()> {
        // Changed only here, by the holder of `growing` or by the opener.
        let count = self.count.load(Ordering::Relaxed);
        let Some(slot) = self.layers.get(count) else { return Ok(()) };
        let number = u32::try_from(count).expect("at most LAYERS_MAX");
        let shape = Shape::of(capacity, sizing::layer_rate(self.config.rate(), number));
        let header = Header {
            store: self.config.store,
            number,
            fpr_ppm: self.config.fpr_ppm,
            capacity,
            blocks: shape.blocks,
            probes: shape.probes,
            closed: None,
        };
        let path = self.dir.as_ref().map(|dir| path_of(dir, number));
        let layer = Layer::create(path.as_deref(), header)?;
        slot.set(layer).expect("slots from `count` on are free");
        self.count.store(count + 1, Ordering::Release);
        Ok(())
    }

    /// The layers, newest and largest first.
    pub fn layers(&self) -> impl Iterator<Item = &Layer> {
        let count = self.count.load(Ordering::Acquire);
        self.layers[..count].iter().rev().filter_map(OnceLock::get)
    }

    /// Whether the item may be in any layer.
    #[inline]
    pub fn contains(&self, probe: Probe) -> bool {
        self.layers().any(|layer| layer.contains(probe))
    }

    /// Add an item to the newest layer, and a layer when that one is full.
    #[inline]
    pub fn insert(&self, probe: Probe) {
        let newest = self.layers().next().expect("a filter open for writing has a layer");
        if newest.insert(probe) {
            self.grow(newest);
        }
    }

    /// One thread adds a layer; meanwhile the others go on with the full one.
    #[cold]
    fn grow(&self, full: &Layer) {
        let _growing = match self.growing.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let newest = self.layers().next().expect("`full` is one");
        if !std::ptr::eq(newest, full) {
            return; // Someone was faster.
        }
        if let Err(error) = self.add_layer(full.capacity().saturating_mul(2)) {
            tracing::warn!("the filter cannot grow and becomes less exact: {error}");
            full.postpone();
        }
    }

    /// Make all bits durable, then say so in every header, then make the names durable.
    ///
    /// # Errors
    /// Of the operating system; the filter is then rebuilt at the next opening.
    pub fn close(&self, epoch: Epoch) -> Result<()> {
        let Some(dir) = &self.dir else { return Ok(()) };
        self.layers().try_for_each(Layer::flush_bits)?;
        let count = u32::try_from(self.layers().count()).expect("at most LAYERS_MAX");
        self.layers().try_for_each(|layer| layer.mark_closed(epoch, count))?;
        super::files::sync_directory(dir)
    }
}
