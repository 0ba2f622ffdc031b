//! How large and how exact a filter is, and whose.

use crate::error::{Error, Result};
use crate::format::StoreId;
use crate::ids::Epoch;

/// Highest rate that can be configured, in millionths. Beyond it a filter saves nothing.
const FPR_PPM_MAX: u32 = 100_000;

/// How large and how exact, and whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterConfig {
    /// False-positive rate of hot and cold together, in millionths, 1 to 100000. Files made for another are rebuilt.
    pub fpr_ppm: u32,
    /// Items of the first layer when the filter starts empty; each further layer has twice as many. For a rebuild
    /// give the index's chunk count and some room, so that one layer is enough.
    pub first_capacity: u64,
    /// Items of both generations of the hot filter together.
    pub hot_capacity: u64,
    /// The store that the files belong to.
    pub store: StoreId,
    /// What the store's epoch file says at this opening: for a read-write opening, the epoch that was just begun.
    /// Files closed in any epoch but the last one before are older than the index, and rebuilt.
    pub epoch: Epoch,
}

impl FilterConfig {
    /// Items of the first layer, unless told: 64 GiB of new data in chunks of 16 KiB, in 11 MB.
    pub const FIRST_CAPACITY_DEFAULT: u64 = 4 << 20;
    /// Items of the hot filter, unless told: 3 MB.
    pub const HOT_CAPACITY_DEFAULT: u64 = 1 << 20;
    /// False-positive rate in millionths, unless told.
    pub const FPR_PPM_DEFAULT: u32 = 1000;

    /// Defaults, for this store.
    #[must_use]
    pub fn new(store: StoreId, epoch: Epoch) -> Self {
        Self {
            fpr_ppm: Self::FPR_PPM_DEFAULT,
            first_capacity: Self::FIRST_CAPACITY_DEFAULT,
            hot_capacity: Self::HOT_CAPACITY_DEFAULT,
            store,
            epoch,
        }
    }

    /// The rate as a fraction.
    pub(super) fn rate(&self) -> f64 {
        f64::from(self.fpr_ppm) / 1e6
    }

    /// Refuse values out of range.
    pub(super) fn check(&self) -> Result<()> {
        if (1..=FPR_PPM_MAX).contains(&self.fpr_ppm) && self.first_capacity > 0 {
            return Ok(());
        }
        Err(Error::Invalid(format!(
            "filter rate {} ppm for {} chunks: the rate must lie within 1..={FPR_PPM_MAX}, with room for a chunk",
            self.fpr_ppm, self.first_capacity
        )))
    }
}
