//! Test data that has made cutters fail: boundary lengths, short and prime periods, runs, text, real files.
#![allow(dead_code, reason = "every test binary uses its own part")]

use std::fs;
use std::io::Read;

use gdd_kernels::{Chunker, Level, Params};

/// Parameter sets from the smallest the crate allows to the largest chunks we take.
pub const SIZES: [(u32, u32, u32); 6] = [
    (64, 256, 1024),
    (1 << 10, 1 << 12, 1 << 14),
    (1 << 12, 1 << 14, 1 << 16),
    (1 << 14, 1 << 16, 1 << 18),
    (1 << 18, 1 << 20, 1 << 22),
    (1000, 3000, 5002), // No powers of two, and a mask that is rounded up.
];

pub fn params((min, avg, max): (u32, u32, u32)) -> Params {
    Params::new(min, avg, max).expect("test sizes are valid")
}

/// A chunker of every level this CPU has.
pub fn chunkers(params: Params) -> Vec<Chunker> {
    [Level::Portable, Level::Avx512Vbmi].into_iter().filter_map(|l| Chunker::with_level(params, l)).collect()
}

/// The cuts of the `fastcdc` crate: where each chunk ends.
pub fn reference_ends(params: Params, data: &[u8]) -> Vec<u32> {
    let (min, avg, max) = (params.min as usize, params.avg as usize, params.max as usize);
    fastcdc::v2020::FastCDC::new(data, min, avg, max)
        .map(|chunk| u32::try_from(chunk.offset + chunk.length).expect("test data is below 4 GiB"))
        .collect()
}

/// xorshift64*: fast, and the same everywhere.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 1).expect("63 bits fit") % bound.max(1)
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}

/// Lengths around every bound of the cut loop.
pub fn boundary_lengths(params: Params) -> Vec<usize> {
    let mut lengths = vec![0, 1, 2, 47, 48, 63, 64, 65];
    for base in [params.min, params.avg, params.max, 2 * params.max, params.min + 512, params.avg + 4096] {
        lengths.extend((base - 3..=base + 3).map(|length| length as usize));
    }
    lengths
}

/// Named buffers of about `length` bytes, some of them shaped by `params`.
pub fn corpus(params: Params, length: usize) -> Vec<(String, Vec<u8>)> {
    let mut random = Random::new(7);
    let noise = random.bytes(length);
    let mut all = vec![
        ("random".to_owned(), noise.clone()),
        ("zeros".to_owned(), vec![0; length]),
        ("ones".to_owned(), vec![0xff; length]),
        ("text".to_owned(), text(&mut random, length)),
        ("islands".to_owned(), islands(&mut random, length)),
        ("sparse".to_owned(), sparse(&mut random, length)),
    ];
    for period in [2, 3, 7, 61, 509, 4093, params.min as usize + 1, params.max as usize - 1] {
        let data = noise.iter().copied().take(period).cycle().take(length).collect();
        all.push((format!("period {period}"), data));
    }
    all
}

/// Words of few letters, as in logs and sources.
fn text(random: &mut Random, length: usize) -> Vec<u8> {
    let words: Vec<Vec<u8>> = (0..200)
        .map(|_| (0..=random.below(9)).map(|_| b"etaoinshrdlu"[random.below(12)]).collect())
        .collect();
    let mut out = Vec::with_capacity(length + 16);
    while out.len() < length {
        out.extend_from_slice(&words[random.below(words.len())]);
        out.push(if random.below(12) == 0 { b'\n' } else { b' ' });
    }
    out.truncate(length);
    out
}

/// Random bytes between runs of zeros of all lengths.
fn islands(random: &mut Random, length: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(length);
    while out.len() < length {
        let (bits, more) = (random.below(19), random.below(18));
        out.resize(out.len() + random.below(1 << bits), 0);
        let island = random.below(1 << more);
        out.extend(random.bytes(island));
    }
    out.truncate(length);
    out
}

/// Zeros with a single byte here and there.
fn sparse(random: &mut Random, length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    for _ in 0..length / 20_000 {
        let at = random.below(length);
        out[at] = 1;
    }
    out
}

/// The first files of /usr/bin one after another, up to `length` bytes; fewer where there are none.
pub fn real_files(length: usize) -> Vec<u8> {
    let mut paths: Vec<_> =
        fs::read_dir("/usr/bin").into_iter().flatten().flatten().map(|e| e.path()).collect();
    paths.sort();
    let mut out = Vec::new();
    for path in paths {
        if out.len() >= length {
            break;
        }
        if let Ok(file) = fs::File::open(path) {
            let _ = file.take((length - out.len()) as u64).read_to_end(&mut out);
        }
    }
    out
}
