//! Generated streams: any length, from one seed, readable from any position without generating what lies before it.
//!
//! Content is decided per block of [`BLOCK_SIZE`] (and per page of [`PAGE_SIZE`] for scattered changes), so a stream of
//! 50 GB needs no memory, and two streams that share blocks can be told apart exactly.

use std::io::{self, Read};

use crate::random::{Random, below, mix};

/// Content is chosen per block of this many bytes: much longer than a chunk, so that a repeated block deduplicates.
pub const BLOCK_SIZE: usize = 1 << 20;

/// Scattered changes replace whole pages of this many bytes, as a virtual machine's disk image does.
pub const PAGE_SIZE: usize = 4096;

/// What a stream is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Incompressible, without repeats.
    Random,
    /// Words of a small vocabulary: compresses to about a third, without long repeats.
    Text,
    /// Nothing but zero bytes.
    Zeros,
    /// Random blocks, of which about `percent` in a hundred are copies of an earlier block of the same stream.
    Repeats {
        /// 0 to 100.
        percent: u8,
    },
    /// A disk image: text, then random bytes, then zeros.
    Image {
        /// Blocks of text.
        text: u64,
        /// Blocks of random bytes after them; what follows is zeros.
        random: u64,
    },
}

/// A stream to read. Cloning it gives a second, independent reader at the same position.
#[derive(Clone, Debug)]
pub struct Stream {
    content: Content,
    seed: u64,
    length: u64,
    changed: Option<Changes>,
    position: u64,
    block: Vec<u8>,
    block_index: Option<u64>,
}

/// Pages that differ from the unchanged stream.
#[derive(Clone, Copy, Debug)]
struct Changes {
    seed: u64,
    per_myriad: u64,
}

impl Stream {
    /// `length` bytes of `content`.
    #[must_use]
    pub fn new(content: Content, seed: u64, length: u64) -> Self {
        Self { content, seed, length, changed: None, position: 0, block: Vec::new(), block_index: None }
    }

    /// The same stream with about `per_myriad` in ten thousand pages replaced by random ones, chosen by `seed`.
    #[must_use]
    pub fn changed(mut self, seed: u64, per_myriad: u64) -> Self {
        self.changed = Some(Changes { seed, per_myriad });
        self.block_index = None;
        self
    }

    /// Its length in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// BLAKE3 of what is left to read.
    #[must_use]
    pub fn digest(&self) -> blake3::Hash {
        digest(self.clone()).expect("a generated stream can always be read")
    }

    /// Make block `index` the current one.
    fn load(&mut self, index: u64) {
        if self.block_index == Some(index) {
            return;
        }
        self.block.resize(BLOCK_SIZE, 0);
        let mut random = Random::new(mix(self.seed, origin(self.content, self.seed, index)));
        match kind(self.content, index) {
            Content::Zeros => self.block.fill(0),
            Content::Text => text(&mut random, &mut self.block),
            _ => random.fill(&mut self.block),
        }
        if let Some(changes) = self.changed {
            changes.apply(index, &mut self.block);
        }
        self.block_index = Some(index);
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (index, offset) = (self.position / BLOCK_SIZE as u64, in_block(self.position));
        let left = usize::try_from(self.length - self.position).unwrap_or(usize::MAX);
        let length = buffer.len().min(left).min(BLOCK_SIZE - offset);
        if length > 0 {
            self.load(index);
            buffer[..length].copy_from_slice(&self.block[offset..offset + length]);
            self.position += length as u64;
        }
        Ok(length)
    }
}

impl Changes {
    fn apply(self, block: u64, bytes: &mut [u8]) {
        let pages = (BLOCK_SIZE / PAGE_SIZE) as u64;
        for (page, bytes) in (block * pages..).zip(bytes.chunks_exact_mut(PAGE_SIZE)) {
            let word = mix(self.seed, page);
            if below(word, 10_000) < self.per_myriad {
                Random::new(word).fill(bytes);
            }
        }
    }
}

/// BLAKE3 of all that `reader` gives.
///
/// # Errors
/// Those of the reader.
pub fn digest(mut reader: impl Read) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; BLOCK_SIZE];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(hasher.finalize()),
            length => hasher.update(&buffer[..length]),
        };
    }
}

/// The block whose bytes block `index` has: itself, or an earlier one.
fn origin(content: Content, seed: u64, mut index: u64) -> u64 {
    let Content::Repeats { percent } = content else { return index };
    while index > 0 && below(mix(seed ^ 1, index), 100) < u64::from(percent) {
        index = below(mix(seed ^ 2, index), index);
    }
    index
}

fn kind(content: Content, index: u64) -> Content {
    match content {
        Content::Image { text, .. } if index < text => Content::Text,
        Content::Image { text, random } if index < text + random => Content::Random,
        Content::Image { .. } => Content::Zeros,
        other => other,
    }
}

/// Words of 2 to 9 letters out of 4096, as a log file or source tree has.
fn text(random: &mut Random, bytes: &mut [u8]) {
    let mut at = 0;
    while at < bytes.len() {
        let mut choice = random.word();
        for _ in 0..5 {
            let word = mix(0, choice & 0xfff).to_le_bytes();
            choice >>= 12;
            let length = 2 + usize::from(word[7] % 7);
            for letter in word.iter().take(length).map(|byte| b'a' + byte % 26).chain([b' ']) {
                if at < bytes.len() {
                    bytes[at] = letter;
                    at += 1;
                }
            }
        }
    }
}

fn in_block(position: u64) -> usize {
    usize::try_from(position % BLOCK_SIZE as u64).expect("an offset in a block is small")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const MIB: u64 = BLOCK_SIZE as u64;

    fn blocks(stream: Stream) -> Vec<blake3::Hash> {
        let mut bytes = Vec::new();
        let length = stream.length();
        assert_eq!({ stream }.read_to_end(&mut bytes).unwrap() as u64, length);
        bytes.chunks(BLOCK_SIZE).map(blake3::hash).collect()
    }

    #[test]
    fn a_seed_replays_and_another_differs() {
        for content in [Content::Random, Content::Text, Content::Repeats { percent: 60 }] {
            let stream = |seed| Stream::new(content, seed, 3 * MIB + 5);
            assert_eq!(stream(1).digest(), stream(1).digest());
            assert_ne!(stream(1).digest(), stream(2).digest());
        }
    }

    #[test]
    fn reads_of_any_size_give_the_same_bytes() {
        let stream = Stream::new(Content::Random, 9, 2 * MIB + 77);
        let mut hasher = blake3::Hasher::new();
        let mut reader = stream.clone();
        let mut buffer = vec![0; 65_537];
        while let length @ 1.. = reader.read(&mut buffer).unwrap() {
            hasher.update(&buffer[..length]);
        }
        assert_eq!(hasher.finalize(), stream.digest());
        assert_eq!(Stream::new(Content::Random, 9, 0).digest(), blake3::hash(b""));
    }

    #[test]
    fn about_the_asked_share_repeats() {
        for percent in [0, 60, 95] {
            let all = blocks(Stream::new(Content::Repeats { percent }, 3, 200 * MIB));
            let unique = all.iter().map(blake3::Hash::as_bytes).collect::<BTreeSet<_>>().len();
            let expected = 2 * (100 - usize::from(percent));
            assert!(unique.abs_diff(expected) <= 20, "{percent} %: {unique} unique blocks of 200");
        }
    }

    #[test]
    fn an_image_has_three_parts_and_changes_are_scattered_pages() {
        let image = Stream::new(Content::Image { text: 8, random: 4 }, 5, 16 * MIB);
        let [mut before, mut after] = [Vec::new(), Vec::new()];
        image.clone().read_to_end(&mut before).unwrap();
        image.changed(7, 100).read_to_end(&mut after).unwrap();
        assert!(before[..8 * BLOCK_SIZE].is_ascii());
        assert!(!before[8 * BLOCK_SIZE..9 * BLOCK_SIZE].is_ascii());
        assert!(before[12 * BLOCK_SIZE..].iter().all(|&byte| byte == 0));
        let pages = before.chunks(PAGE_SIZE).zip(after.chunks(PAGE_SIZE));
        let changed = pages.filter(|(before, after)| before != after).count();
        assert!((20..=65).contains(&changed), "{changed} of 4096 pages changed, about 41 were asked for");
    }

    #[test]
    fn text_repeats_words_and_not_blocks() {
        let all = blocks(Stream::new(Content::Text, 1, 8 * MIB));
        assert_eq!(all.iter().map(blake3::Hash::as_bytes).collect::<BTreeSet<_>>().len(), 8);
    }
}
