//! Reading a sealed container's footer from its end, in one guess or two reads.

use std::path::Path;

use gdd_uring::io::{self, FileId, Io};

use crate::error::{Error, Result};
use crate::format::footer::{self, Footer};
use crate::format::{HEADER_SIZE, Place, StoreId};
use crate::ids::ContainerId;

/// What the last bytes of a container turned out to hold.
#[derive(Debug)]
pub enum Tail {
    /// The whole footer.
    Whole(Footer),
    /// Only a part: this many last bytes must be read.
    Needs(u64),
}

/// Read the footer of a sealed container, open as `file`, that ends at `end`; `read` hears how many bytes were read.
///
/// # Errors
/// `Corrupt` when there is no good footer of this container; or the disk failed.
pub fn read(
    io: &mut dyn Io,
    (file, path): (FileId, &Path),
    (store, container): (StoreId, ContainerId),
    end: u64,
    read: &mut dyn FnMut(u64),
) -> Result<Footer> {
    let mut len = end.min(HEADER_SIZE as u64);
    loop {
        let wanted = usize::try_from(len).expect("a footer fits memory");
        let bytes = io::read_at(io, file, end - len, wanted).map_err(Error::io("read", path))?;
        read(len);
        match parse(&bytes, end, store, container, path)? {
            Tail::Whole(footer) => return Ok(footer),
            Tail::Needs(more) if more <= end => len = more,
            Tail::Needs(more) => {
                return Err(Place::new(path, end).refuse("footer length", format!("up to {end}"), more));
            }
        }
    }
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
