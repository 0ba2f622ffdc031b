#![expect(unsafe_code, reason = "AVX-512 loads by address, each within a checked slice")]
//! The cut scan, eight stripes of the data at once.
//!
//! The gear hash of a position depends on the 64 bytes before it, and what FastCDC's masks test of it, the low 48
//! bits, on 48 bytes. So a block of data is split into eight stripes, and each lane of a vector rolls the hash through
//! one, after a warm-up on the 48 bytes before it. Lane 0 carries on from the block before; at the minimum size it
//! starts with nothing, as FastCDC does. A hit ends the search in its own and all later lanes; the lowest lane's first
//! hit is the cut. FastCDC's "two bytes at a time" only saves a shift: it tests the same bits at the same positions.
//!
//! # Invariants
//! - The slow twin is `portable::first_cut`; both find the same cut in the same data.
//! - A [`Scanner`] exists only where the CPU has the features, so its methods may use them.
//! - Intrinsics stand in loops, never in closures handed to the standard library (see `hash::lanes_avx512`).

use std::arch::x86_64::{
    __m512i, _MM_HINT_T0, _kor_mask8, _mm_prefetch, _mm_setr_epi8, _mm512_add_epi64, _mm512_and_si512,
    _mm512_broadcast_i32x4, _mm512_i64gather_epi64, _mm512_loadu_si512, _mm512_mask_blend_epi8,
    _mm512_mask_set1_epi64, _mm512_movepi8_mask, _mm512_permutex2var_epi8, _mm512_set1_epi64,
    _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_shuffle_i64x2, _mm512_srli_epi64, _mm512_storeu_si512,
    _mm512_testn_epi64_mask, _mm512_unpackhi_epi8, _mm512_unpackhi_epi16, _mm512_unpackhi_epi32,
    _mm512_unpackhi_epi64, _mm512_unpacklo_epi8, _mm512_unpacklo_epi16, _mm512_unpacklo_epi32,
    _mm512_unpacklo_epi64,
};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use fastcdc::v2020::get_gear_with_seed;

use crate::params::Params;
use crate::portable::Masks;

/// Stripes scanned side by side.
const LANES: usize = 8;

/// Bytes of each stripe that are loaded at once, and positions between two looks at what was hit.
const STEP: usize = 64;
const GROUP: usize = 8;

/// Groups of the 64 bytes before a stripe that warm its hash up: 48 bytes.
const WARM_UP: std::ops::Range<usize> = 2..8;

/// The average size from which on longer stripes pay: less warm-up, more scanned in vain behind a hit.
const LONG_STRIPES_FROM: u32 = 16 * 1024;

/// How the gear table is looked up; which is faster depends on the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lookup {
    /// Eight loads by one instruction.
    Gather,
    /// Byte planes of the table in registers, permuted by the data.
    Permute,
}

/// The scan and what it looks up: FastCDC's gear table, whole and as planes of its low six bytes.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Scanner {
    planes: [[[u8; 64]; 4]; 6],
    words: [u64; 256],
    lookup: Lookup,
}

/// A scan for one cut.
struct Scan<'a> {
    table: &'a Scanner,
    /// What may be scanned.
    data: &'a [u8],
    /// Where the scan is.
    position: usize,
    /// The hash of the bytes before it; bits from the 49th on are not kept.
    hash: u64,
    stripe_max: usize,
}

/// What is known of the cut while a block is scanned.
struct Hit {
    position: Option<usize>,
    /// The lanes before the hit.
    open: u8,
}

impl Scanner {
    /// The scan with the faster lookup, or nothing where the CPU lacks a feature.
    pub(crate) fn detect() -> Option<&'static Self> {
        static FASTER: OnceLock<Scanner> = OnceLock::new();
        let available = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vbmi");
        available.then(|| FASTER.get_or_init(|| Self::with(faster_lookup())))
    }

    /// The caller has seen the features.
    fn with(lookup: Lookup) -> Self {
        let (gear, _) = get_gear_with_seed(0);
        let mut table = Self { planes: [[[0; 64]; 4]; 6], words: [0; 256], lookup };
        for (byte, &word) in gear.iter().enumerate() {
            table.words[byte] = word;
            for (plane, value) in table.planes.iter_mut().zip(word.to_le_bytes()) {
                plane[byte / 64][byte % 64] = value;
            }
        }
        table
    }

    /// Length of the first chunk of `data`; the end of `data` is a cut.
    pub(crate) fn first_cut(&self, params: Params, masks: Masks, data: &[u8]) -> usize {
        let (min, avg) = (params.min as usize, params.avg as usize);
        let window = data.len().min(params.max as usize);
        if window <= min {
            return window;
        }
        let end = window & !1; // FastCDC tests bytes in pairs.
        let stripe_max = if params.avg >= LONG_STRIPES_FROM { 512 } else { 256 };
        let mut scan = Scan { table: self, data: &data[..end], position: min, hash: 0, stripe_max };
        // SAFETY: `detect` saw the features.
        let cut = unsafe {
            match self.lookup {
                Lookup::Gather => scan.run::<true>(avg, masks),
                Lookup::Permute => scan.run::<false>(avg, masks),
            }
        };
        cut.unwrap_or(window)
    }
}

/// Try both for some hundred microseconds. A wrong choice costs speed and nothing else.
fn faster_lookup() -> Lookup {
    let params = Params::default();
    let masks = Masks { strict: u64::MAX, loose: u64::MAX }; // Hit by nothing.
    // Bytes as they come: eight loads of one and the same table entry would be slower than eight different ones.
    let data: Vec<u8> =
        (0..params.max).map(|i| (i.wrapping_mul(0x9e37_79b9) >> 16).to_le_bytes()[0]).collect();
    let both = [Lookup::Gather, Lookup::Permute].map(Scanner::with);
    let mut best = [Duration::MAX; 2];
    for _ in 0..8 {
        for (scanner, best) in both.iter().zip(&mut best) {
            let start = Instant::now();
            std::hint::black_box(scanner.first_cut(params, masks, &data));
            *best = start.elapsed().min(*best);
        }
    }
    if best[0] < best[1] { Lookup::Gather } else { Lookup::Permute }
}

impl Scan<'_> {
    /// The first hit: of the strict mask before `center`, of the loose one behind.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
    fn run<const GATHER: bool>(&mut self, center: usize, masks: Masks) -> Option<usize> {
        let end = self.data.len();
        self.run_to::<GATHER>(center.min(end), masks.strict)
            .or_else(|| self.run_to::<GATHER>(end, masks.loose))
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
    fn run_to<const GATHER: bool>(&mut self, to: usize, mask: u64) -> Option<usize> {
        while to - self.position >= LANES * STEP {
            let stripe = self.stripe_max.min((to - self.position) / (LANES * STEP) * STEP);
            let hit = self.block::<GATHER>(stripe, mask);
            if hit.is_some() {
                return hit;
            }
            self.position += LANES * stripe;
        }
        while self.position < to {
            self.hash = self.roll(self.hash, self.position);
            if self.hash & mask == 0 {
                return Some(self.position);
            }
            self.position += 1;
        }
        None
    }

    /// Scan eight stripes from `position` on.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
    fn block<const GATHER: bool>(&mut self, stripe: usize, mask: u64) -> Option<usize> {
        let start = self.position;
        let vector_mask = _mm512_set1_epi64(mask.cast_signed());
        let mut hash = _mm512_setzero_si512();
        // The minimum size is no less than a step, so there is data before every stripe.
        let before = rows(self.data, start - STEP, stripe);
        for group in WARM_UP {
            for word in gear_words::<GATHER>(self.table, before[group]) {
                hash = _mm512_add_epi64(_mm512_add_epi64(hash, hash), word);
            }
        }
        hash = _mm512_mask_set1_epi64(hash, 1, self.hash.cast_signed());
        let mut hit = Hit { position: None, open: u8::MAX };
        for at in (start..start + stripe).step_by(STEP) {
            for lane in 0..LANES {
                // The next block: eight strided streams are too many for the CPU to foresee. A prefetch never faults.
                let next = self.data.as_ptr().wrapping_add(at + (LANES + lane) * stripe);
                _mm_prefetch::<_MM_HINT_T0>(next.cast());
            }
            let columns = rows(self.data, at, stripe);
            for (group, column) in columns.into_iter().enumerate() {
                let before = hash;
                let mut any = 0;
                for word in gear_words::<GATHER>(self.table, column) {
                    hash = _mm512_add_epi64(_mm512_add_epi64(hash, hash), word);
                    any = _kor_mask8(any, _mm512_testn_epi64_mask(hash, vector_mask));
                }
                if any & hit.open != 0 {
                    self.resolve(&mut hit, any, to_words(before), at + group * GROUP, stripe, mask);
                    if hit.open == 0 {
                        return hit.position;
                    }
                }
            }
        }
        self.hash = to_words(hash)[LANES - 1];
        hit.position
    }

    /// Find out where in a group the lowest lane was hit. `hashes` are those before the group, `at` is where lane 0
    /// starts it.
    #[cold]
    fn resolve(&self, hit: &mut Hit, any: u8, hashes: [u64; LANES], at: usize, stripe: usize, mask: u64) {
        let lane = (any & hit.open).trailing_zeros();
        let mut hash = hashes[lane as usize];
        let from = at + lane as usize * stripe;
        hit.position = (from..from + GROUP).find(|&position| {
            hash = self.roll(hash, position);
            hash & mask == 0
        });
        assert!(hit.position.is_some(), "a lane that was hit has a hit");
        hit.open = (1 << lane) - 1;
    }

    fn roll(&self, hash: u64, position: usize) -> u64 {
        (hash << 1).wrapping_add(self.table.words[self.data[position] as usize])
    }
}

/// The gear words of eight bytes of each lane, byte after byte. Of [`Lookup::Permute`] the low 48 bits.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
fn gear_words<const GATHER: bool>(table: &Scanner, bytes: __m512i) -> [__m512i; GROUP] {
    if GATHER { gather(table, bytes) } else { permute(table, bytes) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
fn gather(table: &Scanner, bytes: __m512i) -> [__m512i; GROUP] {
    let byte = _mm512_set1_epi64(0xff);
    let indexes = [
        _mm512_and_si512(bytes, byte),
        _mm512_and_si512(_mm512_srli_epi64::<8>(bytes), byte),
        _mm512_and_si512(_mm512_srli_epi64::<16>(bytes), byte),
        _mm512_and_si512(_mm512_srli_epi64::<24>(bytes), byte),
        _mm512_and_si512(_mm512_srli_epi64::<32>(bytes), byte),
        _mm512_and_si512(_mm512_srli_epi64::<40>(bytes), byte),
        _mm512_and_si512(_mm512_srli_epi64::<48>(bytes), byte),
        _mm512_srli_epi64::<56>(bytes),
    ];
    let mut words = indexes;
    for (word, index) in words.iter_mut().zip(indexes) {
        // SAFETY: the indexes are below 256, the length of the table.
        *word = unsafe { _mm512_i64gather_epi64::<8>(index, table.words.as_ptr().cast()) };
    }
    words
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
fn permute(table: &Scanner, bytes: __m512i) -> [__m512i; GROUP] {
    // Two lanes share 16 bytes; interleaved, the unpacking below leaves one byte of all lanes in each vector.
    let pairs = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15));
    let bytes = _mm512_shuffle_epi8(bytes, pairs);
    let upper_half = _mm512_movepi8_mask(bytes);
    let mut p = [bytes; 6];
    for (found, plane) in p.iter_mut().zip(&table.planes) {
        let lower = _mm512_permutex2var_epi8(load(&plane[0]), bytes, load(&plane[1]));
        let upper = _mm512_permutex2var_epi8(load(&plane[2]), bytes, load(&plane[3]));
        *found = _mm512_mask_blend_epi8(upper_half, lower, upper);
    }
    let zero = _mm512_setzero_si512();
    let mut words = [zero; GROUP];
    let low = [
        _mm512_unpacklo_epi8(p[0], p[1]),
        _mm512_unpacklo_epi8(p[2], p[3]),
        _mm512_unpacklo_epi8(p[4], p[5]),
    ];
    let high = [
        _mm512_unpackhi_epi8(p[0], p[1]),
        _mm512_unpackhi_epi8(p[2], p[3]),
        _mm512_unpackhi_epi8(p[4], p[5]),
    ];
    for (words, [a, b, c]) in words.chunks_exact_mut(4).zip([low, high]) {
        let (ab, c0) = (_mm512_unpacklo_epi16(a, b), _mm512_unpacklo_epi16(c, zero));
        words[0] = _mm512_unpacklo_epi32(ab, c0);
        words[1] = _mm512_unpackhi_epi32(ab, c0);
        let (ab, c0) = (_mm512_unpackhi_epi16(a, b), _mm512_unpackhi_epi16(c, zero));
        words[2] = _mm512_unpacklo_epi32(ab, c0);
        words[3] = _mm512_unpackhi_epi32(ab, c0);
    }
    words
}

/// Eight rows of 64 bytes, one per stripe, the first at `at`; as columns of eight bytes of each.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
fn rows(data: &[u8], at: usize, stripe: usize) -> [__m512i; 8] {
    let block = &data[at..at + (LANES - 1) * stripe + STEP];
    let mut rows = [_mm512_setzero_si512(); 8];
    for (lane, row) in rows.iter_mut().enumerate() {
        // SAFETY: the last row ends where the block ends.
        *row = unsafe { _mm512_loadu_si512(block.as_ptr().add(lane * stripe).cast()) };
    }
    transpose(rows)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
fn transpose(rows: [__m512i; 8]) -> [__m512i; 8] {
    let mut columns = rows;
    for odd in 0..2 {
        // Block `b` of pair `i` holds column `2b + odd` of rows `2i` and `2i + 1`.
        let mut pairs = [rows[0]; 4];
        for (pair, rows) in pairs.iter_mut().zip(rows.chunks_exact(2)) {
            *pair = if odd == 0 {
                _mm512_unpacklo_epi64(rows[0], rows[1])
            } else {
                _mm512_unpackhi_epi64(rows[0], rows[1])
            };
        }
        let even_blocks = _mm512_shuffle_i64x2::<0b10_00_10_00>(pairs[0], pairs[1]);
        let odd_blocks = _mm512_shuffle_i64x2::<0b11_01_11_01>(pairs[0], pairs[1]);
        let even_blocks2 = _mm512_shuffle_i64x2::<0b10_00_10_00>(pairs[2], pairs[3]);
        let odd_blocks2 = _mm512_shuffle_i64x2::<0b11_01_11_01>(pairs[2], pairs[3]);
        columns[odd] = _mm512_shuffle_i64x2::<0b10_00_10_00>(even_blocks, even_blocks2);
        columns[4 + odd] = _mm512_shuffle_i64x2::<0b11_01_11_01>(even_blocks, even_blocks2);
        columns[2 + odd] = _mm512_shuffle_i64x2::<0b10_00_10_00>(odd_blocks, odd_blocks2);
        columns[6 + odd] = _mm512_shuffle_i64x2::<0b11_01_11_01>(odd_blocks, odd_blocks2);
    }
    columns
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(bytes: &[u8; 64]) -> __m512i {
    // SAFETY: the array has 64 bytes.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn to_words(vector: __m512i) -> [u64; LANES] {
    let mut words = [0; LANES];
    // SAFETY: eight words are 64 bytes.
    unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), vector) };
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::portable;

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let step = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        };
        (0..length).map(step).collect()
    }

    /// `detect` picks one lookup; both must be right.
    #[test]
    fn both_lookups_cut_as_the_twin_does() {
        if Scanner::detect().is_none() {
            return;
        }
        let data = noise(400_000);
        for (min, avg, max) in
            [(64, 256, 1024), (1024, 4096, 16384), (4096, 16384, 65536), (1000, 3000, 5002)]
        {
            let params = Params::new(min, avg, max).unwrap();
            let masks = Masks::of(params);
            for scanner in [Lookup::Gather, Lookup::Permute].map(Scanner::with) {
                for start in (0..data.len()).step_by(509) {
                    let rest = &data[start..];
                    let expected = portable::first_cut(params, masks, rest);
                    assert_eq!(
                        scanner.first_cut(params, masks, rest),
                        expected,
                        "{:?} {start}",
                        scanner.lookup
                    );
                }
            }
        }
    }

    /// More hits in every block than any data would bring: the first must win.
    #[test]
    fn the_first_of_many_hits_is_the_cut() {
        if Scanner::detect().is_none() {
            return;
        }
        let data = noise(100_000);
        let params = Params::new(1024, 32768, 65536).unwrap();
        for bits in 1..13 {
            let mask = ((1 << bits) - 1) << 30;
            let masks = Masks { strict: mask, loose: mask };
            for scanner in [Lookup::Gather, Lookup::Permute].map(Scanner::with) {
                for start in (0..30_000).step_by(101) {
                    let rest = &data[start..];
                    let expected = portable::first_cut(params, masks, rest);
                    assert_eq!(
                        scanner.first_cut(params, masks, rest),
                        expected,
                        "{:?} {start}",
                        scanner.lookup
                    );
                }
            }
        }
    }
}
