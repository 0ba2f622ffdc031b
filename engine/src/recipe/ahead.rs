//! Blocks of a recipe, several of them with one read.
//!
//! Whoever restores reads the recipe beside containers: each read waits behind what was asked of the device for those,
//! and nothing more is asked for meanwhile.

use std::io::Result;

use gdd_uring::buffer::Shared;
use gdd_uring::io::{self, FileId, Io};

use crate::format::recipe_block::RECIPE_BLOCK_SIZE;

/// Bytes read at once, at most: sixteen blocks, which name some 400 MB of chunks of 16 KiB.
const SPAN: u64 = 16 * RECIPE_BLOCK_SIZE as u64;

/// What was read of one copy and not only of the block that was asked for.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// Byte of the file where it begins, and the bytes.
    span: Option<(u64, Shared)>,
}

impl Ahead {
    /// `len` bytes of `file` at `offset`, fewer at its end; nothing behind byte `end` is read for later.
    ///
    /// # Errors
    /// As `pread(2)`, for these bytes: later ones that cannot be read are an error when it is their turn.
    pub(super) fn read(
        &mut self,
        io: &mut dyn Io,
        file: FileId,
        (offset, len): (u64, usize),
        end: u64,
    ) -> Result<Shared> {
        if let Some(block) = self.has(offset, len) {
            return Ok(block);
        }
        self.span = None;
        let more = usize::try_from(end.saturating_sub(offset).min(SPAN)).expect("a span is small");
        if more > len
            && let Ok(bytes) = io::read_at(io, file, offset, more)
        {
            self.span = Some((offset, bytes.freeze()));
        }
        match self.has(offset, len) {
            Some(block) => Ok(block),
            None => io::read_at(io, file, offset, len).map(Into::into),
        }
    }

    fn has(&self, offset: u64, len: usize) -> Option<Shared> {
        let (start, bytes) = self.span.as_ref()?;
        let from = usize::try_from(offset.checked_sub(*start)?).ok()?;
        let to = from.checked_add(len)?;
        (to <= bytes.len()).then(|| bytes.slice(from..to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gdd_uring::io::Open;
    use gdd_uring::probe::{self, Mode};

    const BLOCK: u64 = RECIPE_BLOCK_SIZE as u64;

    #[test]
    fn it_gives_what_the_file_has_whether_read_before_or_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("recipe");
        let bytes: Vec<u8> = (0..40 * RECIPE_BLOCK_SIZE).map(|n| (n / 9).to_le_bytes()[0]).collect();
        std::fs::write(&path, &bytes).unwrap();
        let mut io = probe::probe(dir.path(), Mode::Buffered, false).unwrap().open().unwrap();
        let file = io.open(&path, Open::Read).unwrap();
        let (mut ahead, end) = (Ahead::default(), 40 * BLOCK);
        for number in (0..40).chain([3, 39, 17]) {
            let block = ahead.read(io.as_mut(), file, (number * BLOCK, RECIPE_BLOCK_SIZE), end).unwrap();
            let start = usize::try_from(number * BLOCK).unwrap();
            assert!(block[..] == bytes[start..start + RECIPE_BLOCK_SIZE], "block {number}");
        }
        // The file was cut meanwhile: what is there is given, and behind it less than asked for.
        std::fs::File::options().write(true).open(&path).unwrap().set_len(2 * BLOCK + 4096).unwrap();
        let mut ahead = Ahead::default();
        for (number, there) in [(1, RECIPE_BLOCK_SIZE), (2, 4096), (3, 0)] {
            let block = ahead.read(io.as_mut(), file, (number * BLOCK, RECIPE_BLOCK_SIZE), end).unwrap();
            assert_eq!(block.len(), there, "block {number}");
        }
    }
}
