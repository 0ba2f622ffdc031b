//! Restoring a stream, chunk by chunk.

use std::collections::VecDeque;
use std::sync::Arc;

use gdd_uring::buffer::{IoBuf, Shared};
use gdd_uring::io::{self, Io, Open};

use crate::compress::decompress;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::format::Place;
use crate::format::recipe_block::RecipeEntry;
use crate::format::record::RecordHeader;
use crate::ids::ChunkHash;
use crate::index::{ChunkEntry, RecipeState, Status};
use crate::limits::BLOCK_SIZE;
use crate::recipe::RecipeReader;

/// A stream being restored.
pub struct Get {
    core: Arc<Core>,
    io: Box<dyn Io>,
    reader: Option<RecipeReader>,
    entries: VecDeque<RecipeEntry>,
    bytes: u64,
    given: u64,
}

impl Get {
    /// Begin.
    ///
    /// # Errors
    /// No such stream.
    pub fn begin(core: &Arc<Core>, name: &str) -> Result<Self> {
        let row = core.index.recipe(name)?.filter(|row| row.state == RecipeState::Live);
        let row = row.ok_or_else(|| Error::NoSuchStream(name.to_owned()))?;
        let mut io = core.open_io()?;
        let reader = RecipeReader::open(io.as_mut(), &core.paths.recipes(), row.recipe, core.store)?;
        let bytes = row.logical_bytes;
        Ok(Self {
            core: Arc::clone(core),
            io,
            reader: Some(reader),
            entries: VecDeque::new(),
            bytes,
            given: 0,
        })
    }

    /// Length of the stream.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next verified bytes; nothing at the checked end.
    ///
    /// # Errors
    /// Damage, named.
    pub fn next(&mut self) -> Result<Option<Shared>> {
        loop {
            if let Some(entry) = self.entries.front_mut() {
                let (hash, offset, len) = (entry.hash, entry.chunk_offset as usize, entry.length as usize);
                entry.repeat -= 1;
                if entry.repeat == 0 {
                    self.entries.pop_front();
                }
                let chunk = self.chunk(hash)?;
                self.given += len as u64;
                return Ok(Some(chunk.slice(offset..offset + len)));
            }
            let Some(reader) = &mut self.reader else { return Ok(None) };
            let mut entries = Vec::new();
            if reader.next_block(self.io.as_mut(), &mut entries)? {
                self.entries.extend(entries);
            } else {
                self.reader = None;
                assert_eq!(self.given, self.bytes, "the recipe adds up to the stream");
            }
        }
    }

    fn chunk(&mut self, hash: ChunkHash) -> Result<Shared> {
        let lost = |why: &str| Error::ChunkLost { hash: hash.to_string(), why: why.to_owned() };
        let mut found: Vec<Option<ChunkEntry>> = Vec::new();
        self.core.index.locate(&[hash], &mut found)?;
        let entry =
            found[0].filter(|entry| entry.status == Status::Live).ok_or_else(|| lost("not in the index"))?;
        let path = self.core.paths.container(entry.container);
        let file = self.io.open(&path, Open::Read).map_err(Error::io("open", &path))?;
        let start = u64::from(entry.offset);
        let from = start / BLOCK_SIZE * BLOCK_SIZE;
        let end = start + RecordHeader::SIZE as u64 + u64::from(entry.stored_len);
        let len = usize::try_from((end - from).next_multiple_of(BLOCK_SIZE)).expect("small");
        let bytes = io::read_at(self.io.as_mut(), file, from, len).map_err(Error::io("read", &path));
        self.io.close(file);
        let bytes = bytes?;
        let place = Place::new(&path, start);
        let at = usize::try_from(start - from).expect("small");
        let record = &bytes[at..];
        let header = RecordHeader::decode(record, entry.container, place)?;
        let payload = &record[RecordHeader::SIZE..header.record_len()];
        header.check_payload(payload, place)?;
        let raw = decompress(header.codec, payload, header.raw_len as usize).map_err(|why| lost(&why))?;
        if ChunkHash::of(&raw) != hash {
            return Err(lost("its bytes have another hash"));
        }
        let mut buffer = IoBuf::zeroed(raw.len());
        buffer.copy_from_slice(&raw);
        Ok(buffer.freeze())
    }
}
