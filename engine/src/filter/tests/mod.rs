//! The filter as a whole.

mod files;
mod races;
mod rates;

use super::{Answer, Filter, FilterConfig};
use crate::format::StoreId;
use crate::ids::{ChunkHash, Epoch};

fn config(epoch: u32) -> FilterConfig {
    FilterConfig {
        first_capacity: 1000,
        hot_capacity: 200,
        ..FilterConfig::new(StoreId([7; 16]), Epoch(epoch))
    }
}

fn chunk(number: u64) -> ChunkHash {
    ChunkHash::of(&number.to_le_bytes())
}

/// An empty filter in memory that can be asked.
fn in_memory(config: FilterConfig) -> Filter {
    let (filter, _) = Filter::open(None, config).unwrap();
    filter.finish_rebuild();
    filter
}

fn has(filter: &Filter, numbers: std::ops::Range<u64>) -> bool {
    numbers.into_iter().all(|number| filter.query(&chunk(number)) != Answer::New)
}
