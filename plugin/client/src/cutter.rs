//! Cuts a stream into chunks, and keeps their bytes until the daemon has said whether it wants them.
//!
//! # Invariants
//! - A chunk ends where a file ends; between, cut points are those of gdd-kernels for the file's bytes, however they
//!   were handed over.
//! - A chunk's bytes stay where they are until [`Cutter::release`], which is called once for each.

use std::collections::VecDeque;

use gdd_kernels::{Chunker, Cut, Params, ParamsError};

/// Bytes that are cut at once: enough chunks for all lanes of the hash, and few bytes looked at twice.
const CUT_SIZE: usize = 1 << 20;

/// A chunk whose bytes are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// BLAKE3 of its bytes.
    pub hash: [u8; 32],
    /// Bytes.
    pub len: u32,
    block: u64,
    start: usize,
}

struct Block {
    bytes: Vec<u8>,
    /// Chunks in it that were not released.
    live: usize,
}

/// See the module.
pub struct Cutter {
    chunker: Chunker,
    /// The last takes bytes; those before it are full. A block that nobody needs has no memory.
    blocks: VecDeque<Block>,
    /// Number of the first of `blocks`.
    first: u64,
    /// Bytes of the last block that were cut.
    cut: usize,
    block_size: usize,
    cut_size: usize,
    kept: usize,
    spare: Option<Vec<u8>>,
    cuts: Vec<Cut>,
}

impl Cutter {
    /// For chunks of these sizes.
    ///
    /// # Errors
    /// gdd-kernels does not cut so.
    pub fn new(cut: gdd_wire::message::Cut) -> Result<Self, ParamsError> {
        let params = Params::new(cut.min, cut.target, cut.max)?;
        let cut_size = CUT_SIZE.max(2 * params.max as usize);
        let mut cutter = Self {
            chunker: Chunker::new(params),
            blocks: VecDeque::new(),
            first: 0,
            cut: 0,
            block_size: 2 * cut_size,
            cut_size,
            kept: 0,
            spare: None,
            cuts: Vec::new(),
        };
        cutter.open();
        Ok(cutter)
    }

    /// Bytes of memory in use.
    pub fn kept(&self) -> usize {
        self.kept
    }

    /// Takes the next bytes of a file, some of them: how many. New chunks go to `out`.
    pub fn take(&mut self, bytes: &[u8], out: &mut Vec<Chunk>) -> usize {
        let last = self.blocks.back_mut().expect("a block is open");
        let room = (self.block_size - last.bytes.len()).min(self.cut_size);
        let count = bytes.len().min(room);
        last.bytes.extend_from_slice(&bytes[..count]);
        let (len, full) = (last.bytes.len(), last.bytes.len() == self.block_size);
        if full || len - self.cut >= self.cut_size {
            self.cut(false, out);
        }
        if full {
            self.turn();
        }
        count
    }

    /// The file ends here, and with it a chunk.
    pub fn end_file(&mut self, out: &mut Vec<Chunk>) {
        self.cut(true, out);
    }

    /// A chunk's bytes.
    pub fn bytes(&self, chunk: &Chunk) -> &[u8] {
        let index = usize::try_from(chunk.block - self.first).expect("blocks are in memory");
        &self.blocks[index].bytes[chunk.start..][..chunk.len as usize]
    }

    /// Nobody needs the chunk's bytes any more.
    pub fn release(&mut self, chunk: &Chunk) {
        let index = usize::try_from(chunk.block - self.first).expect("blocks are in memory");
        let is_open = index + 1 == self.blocks.len();
        let block = &mut self.blocks[index];
        block.live -= 1;
        if block.live == 0 && !is_open {
            self.spare = Some(std::mem::take(&mut block.bytes));
            self.kept -= self.block_size;
            self.forget();
        }
    }

    fn forget(&mut self) {
        while self.blocks.len() > 1 && self.blocks[0].live == 0 {
            self.blocks.pop_front();
            self.first += 1;
        }
    }

    fn open(&mut self) {
        let mut bytes = self.spare.take().unwrap_or_else(|| Vec::with_capacity(self.block_size));
        bytes.clear();
        self.blocks.push_back(Block { bytes, live: 0 });
        self.kept += self.block_size;
        self.cut = 0;
    }

    /// What of the full block was not cut goes on in a new one.
    fn turn(&mut self) {
        let from = std::mem::replace(&mut self.cut, 0);
        self.open();
        let index = self.blocks.len() - 2;
        let (before, after) = (index, index + 1);
        let rest = self.blocks[before].bytes.split_off(from);
        self.blocks[after].bytes.extend_from_slice(&rest);
        if self.blocks[before].live == 0 {
            // All its chunks were answered already.
            self.spare = Some(std::mem::take(&mut self.blocks[before].bytes));
            self.kept -= self.block_size;
            self.forget();
        }
    }

    fn cut(&mut self, last: bool, out: &mut Vec<Chunk>) {
        let number = self.first + self.blocks.len() as u64 - 1;
        let block = self.blocks.back_mut().expect("a block is open");
        self.cuts.clear();
        let from = self.cut;
        self.cut += self.chunker.cut_and_hash(&block.bytes[from..], last, &mut self.cuts);
        block.live += self.cuts.len();
        out.extend(self.cuts.iter().map(|cut| {
            let start = from + cut.start as usize;
            Chunk { hash: cut.hash, len: cut.len, block: number, start }
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUT: gdd_wire::message::Cut = gdd_wire::message::Cut { min: 1024, target: 4096, max: 16384 };

    /// Seeded bytes: BLAKE3's output.
    fn noise(seed: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    fn give(cutter: &mut Cutter, mut bytes: &[u8], step: usize, out: &mut Vec<Chunk>) {
        while !bytes.is_empty() {
            let count = cutter.take(&bytes[..bytes.len().min(step)], out);
            bytes = &bytes[count..];
        }
    }

    #[test]
    fn cuts_do_not_depend_on_how_bytes_come_and_end_with_files() {
        let files: Vec<_> = [1, 700, 3 << 20, 100_000, 5 << 20].into_iter().enumerate().collect();
        let mut seen = Vec::new();
        for step in [977, 65_536, 1 << 20, 9 << 20] {
            let (mut cutter, mut chunks) = (Cutter::new(CUT).unwrap(), Vec::new());
            for &(seed, len) in &files {
                let (bytes, before) = (noise(seed as u64, len), chunks.len());
                give(&mut cutter, &bytes, step, &mut chunks);
                cutter.end_file(&mut chunks);
                let of_file: Vec<u8> =
                    chunks[before..].iter().flat_map(|chunk| cutter.bytes(chunk)).copied().collect();
                assert!(of_file == bytes, "chunks of a file are the file");
            }
            for chunk in &chunks {
                assert_eq!(*blake3::hash(cutter.bytes(chunk)).as_bytes(), chunk.hash);
            }
            seen.push(chunks.iter().map(|chunk| (chunk.hash, chunk.len)).collect::<Vec<_>>());
        }
        assert!(seen.windows(2).all(|pair| pair[0] == pair[1]) && seen[0].len() > 1000);
    }

    #[test]
    fn released_blocks_cost_no_memory_in_any_order() {
        let mut cutter = Cutter::new(CUT).unwrap();
        let block = cutter.kept();
        let mut chunks = Vec::new();
        give(&mut cutter, &noise(1, 5 * block + 99), 1 << 20, &mut chunks);
        assert!(cutter.kept() >= 5 * block);
        let (even, odd): (Vec<_>, Vec<_>) = chunks.iter().enumerate().partition(|(index, _)| index % 2 == 0);
        for (_, chunk) in even.into_iter().rev().chain(odd) {
            cutter.release(chunk);
        }
        assert_eq!(cutter.kept(), block, "the open one");
        let mut more = Vec::new();
        give(&mut cutter, &noise(2, 3 * block), 1 << 20, &mut more);
        for chunk in more.drain(..) {
            assert_eq!(*blake3::hash(cutter.bytes(&chunk)).as_bytes(), chunk.hash);
            cutter.release(&chunk);
        }
        assert_eq!(cutter.kept(), block);
    }
}
