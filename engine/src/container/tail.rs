//! Reading a sealed container's footer from its end, in one guess or two reads.

use std::path::Path;

use crate::error::Result;
use crate::format::footer::{self, Footer};
use crate::format::{Place, StoreId};
use crate::ids::ContainerId;

/// What the last bytes of a container turned out to hold.
#[derive(Debug)]
pub enum Tail {
    /// The whole footer.
    Whole(Footer),
    /// Only a part: this many last bytes must be read.
    Needs(u64),
}

/// Parse the last bytes of a sealed container whose footer ends at `end`.
///
/// # Errors
/// `Corrupt` when there is no good footer of this container.
pub fn parse(bytes: &[u8], end: u64, store: StoreId, container: ContainerId, path: &Path) -> Result<Tail> {
    let place = Place::new(path, end.saturating_sub(bytes.len() as u64));
    let len = footer::len_from_tail(bytes, store, container, place)?;
    if len > bytes.len() as u64 {
        return Ok(Tail::Needs(len));
    }
    footer::decode(bytes, store, container, place).map(Tail::Whole)
}
