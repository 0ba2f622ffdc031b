#![expect(
    unsafe_code,
    reason = "AVX-512 loads and stores by address; each is within a slice checked before it"
)]
//! Sixteen BLAKE3 compressions side by side: word `i` of all sixteen states shares one vector.
//!
//! Constants and structure are those of the BLAKE3 paper, section 2.2. The slow twin is the `blake3` crate.
//!
//! # Invariants
//! - A [`Lanes`] exists only where the CPU has the features, so its methods may use them.

use std::arch::x86_64::{
    __m512i, _MM_HINT_T0, _mm_prefetch, _mm512_add_epi32, _mm512_cmpeq_epi32_mask, _mm512_cmpgt_epi32_mask,
    _mm512_loadu_si512, _mm512_mask_mov_epi32, _mm512_mask_or_epi32, _mm512_ror_epi32, _mm512_set1_epi32,
    _mm512_setzero_si512, _mm512_shuffle_i32x4, _mm512_storeu_si512, _mm512_unpackhi_epi32,
    _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64, _mm512_xor_si512,
};

use super::tree::{LEAF_SIZE, Node, Pair};

/// Nodes hashed side by side.
pub(super) const NODE_LANES: usize = 16;

const BLOCK_SIZE: usize = 64;

const CHUNK_START: i32 = 1 << 0;
const CHUNK_END: i32 = 1 << 1;
const PARENT: i32 = 1 << 2;
const ROOT: i32 = 1 << 3;

/// The initialisation vector: that of SHA-256.
const IV: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// A piece of at most 1 KiB to be hashed.
#[derive(Clone, Copy)]
pub(super) struct Leaf<'a> {
    pub(super) bytes: &'a [u8],
    /// Which leaf of its chunk it is.
    pub(super) index: usize,
    /// Whether it is its chunk's only one.
    pub(super) is_root: bool,
    /// Where its node goes.
    pub(super) node: usize,
}

/// Proof that the CPU has the features.
#[derive(Clone, Copy)]
pub(super) struct Lanes(());

type Block = *const u8;

impl Lanes {
    pub(super) fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx512f").then_some(Self(()))
    }

    /// Hash up to sixteen leaves into their places in `nodes`.
    pub(super) fn leaves(self, leaves: &[Leaf<'_>], nodes: &mut [Node]) {
        let Some(longest) = leaves.iter().map(|leaf| leaf.bytes.len()).max() else { return };
        assert!(leaves.len() <= NODE_LANES && longest <= LEAF_SIZE, "leaves fit the lanes");
        // SAFETY: `self` proves the features.
        let hashed = unsafe { hash_leaves(leaves) };
        for (leaf, node) in leaves.iter().zip(hashed) {
            nodes[leaf.node] = node;
        }
    }

    /// Join up to sixteen pairs of `nodes` into their places in `above`.
    pub(super) fn parents(self, nodes: &[Node], pairs: &[Pair], above: &mut [Node]) {
        assert!(pairs.len() <= NODE_LANES, "pairs fit the lanes");
        let Some(&any) = pairs.first() else { return };
        let mut roots = 0;
        let blocks: [Block; NODE_LANES] = std::array::from_fn(|lane| {
            let pair = pairs.get(lane).unwrap_or(&any);
            roots |= u16::from(pair.is_root) << lane;
            nodes[pair.left..pair.left + 2].as_ptr().cast()
        });
        // SAFETY: `self` proves the features, and each block is the 64 bytes of two nodes.
        let joined = unsafe { join(&blocks, roots) };
        for (pair, node) in pairs.iter().zip(joined) {
            above[pair.node] = node;
        }
    }
}

#[target_feature(enable = "avx512f")]
fn hash_leaves(leaves: &[Leaf<'_>]) -> [Node; NODE_LANES] {
    let plan = Plan::of(leaves);
    let mut state = initial();
    let block_counts = load(&plan.block_counts);
    let last_lengths = load(&plan.last_lengths);
    let end_flags = load(&plan.end_flags);
    let indexes = load(&plan.indexes);
    for block in 0..plan.block_count_max {
        let at = _mm512_set1_epi32(block);
        let ends = _mm512_cmpeq_epi32_mask(block_counts, _mm512_add_epi32(at, _mm512_set1_epi32(1)));
        let start = _mm512_set1_epi32(if block == 0 { CHUNK_START } else { 0 });
        let flags = _mm512_mask_or_epi32(start, ends, start, end_flags);
        let lengths = _mm512_mask_mov_epi32(_mm512_set1_epi32(64), ends, last_lengths);
        let blocks = plan.blocks(block.cast_unsigned() as usize);
        for address in blocks {
            // A prefetch never faults, so it may look beyond the leaf.
            _mm_prefetch::<_MM_HINT_T0>(address.wrapping_add(4 * BLOCK_SIZE).cast());
        }
        // SAFETY: `blocks` gives addresses of 64 bytes each.
        let message = unsafe { load_transposed(&blocks) };
        let next = compress(&state, &message, indexes, lengths, flags);
        let running = _mm512_cmpgt_epi32_mask(block_counts, at);
        for (word, next) in state.iter_mut().zip(next) {
            *word = _mm512_mask_mov_epi32(*word, running, next);
        }
    }
    store(&state)
}

/// # Safety
/// Each of `blocks` points to 64 readable bytes.
#[target_feature(enable = "avx512f")]
unsafe fn join(blocks: &[Block; NODE_LANES], roots: u16) -> [Node; NODE_LANES] {
    let state = initial();
    let parent = _mm512_set1_epi32(PARENT);
    let flags = _mm512_mask_or_epi32(parent, roots, parent, _mm512_set1_epi32(ROOT));
    // SAFETY: promised by the caller.
    let message = unsafe { load_transposed(blocks) };
    store(&compress(&state, &message, _mm512_setzero_si512(), _mm512_set1_epi32(64), flags))
}

/// Which lane reads what, block by block.
struct Plan<'a> {
    bytes: [&'a [u8]; NODE_LANES],
    /// The last block of each lane, filled up with zeros.
    padded: [[u8; BLOCK_SIZE]; NODE_LANES],
    block_counts: [u32; NODE_LANES],
    last_lengths: [u32; NODE_LANES],
    end_flags: [u32; NODE_LANES],
    indexes: [u32; NODE_LANES],
    block_count_max: i32,
    /// All lanes hold a full leaf.
    is_even: bool,
}

impl<'a> Plan<'a> {
    #[expect(clippy::cast_possible_truncation, reason = "a leaf is 1 KiB, a chunk 2 GiB at most")]
    #[expect(clippy::cast_possible_wrap, reason = "a leaf has 16 blocks at most")]
    fn of(leaves: &[Leaf<'a>]) -> Self {
        let mut plan = Self {
            bytes: [leaves[0].bytes; NODE_LANES],
            padded: [[0; BLOCK_SIZE]; NODE_LANES],
            block_counts: [1; NODE_LANES],
            last_lengths: [0; NODE_LANES],
            end_flags: [CHUNK_END.cast_unsigned(); NODE_LANES],
            indexes: [0; NODE_LANES],
            block_count_max: 0,
            is_even: leaves.iter().all(|leaf| leaf.bytes.len() == LEAF_SIZE),
        };
        for (lane, leaf) in leaves.iter().enumerate() {
            let count = leaf.bytes.len().div_ceil(BLOCK_SIZE).max(1);
            let tail = &leaf.bytes[(count - 1) * BLOCK_SIZE..];
            plan.bytes[lane] = leaf.bytes;
            plan.padded[lane][..tail.len()].copy_from_slice(tail);
            plan.block_counts[lane] = count as u32;
            plan.last_lengths[lane] = tail.len() as u32;
            plan.end_flags[lane] |= if leaf.is_root { ROOT.cast_unsigned() } else { 0 };
            plan.indexes[lane] = leaf.index as u32;
            plan.block_count_max = plan.block_count_max.max(count as i32);
        }
        plan
    }

    /// Where each lane finds its block; a lane that is through reads its last one again.
    fn blocks(&self, block: usize) -> [Block; NODE_LANES] {
        std::array::from_fn(|lane| {
            if self.is_even || block + 1 < self.block_counts[lane] as usize {
                self.bytes[lane][block * BLOCK_SIZE..][..BLOCK_SIZE].as_ptr()
            } else {
                self.padded[lane].as_ptr()
            }
        })
    }
}

macro_rules! mix {
    ($v:ident, $a:literal $b:literal $c:literal $d:literal, $x:expr, $y:expr) => {
        $v[$a] = _mm512_add_epi32(_mm512_add_epi32($v[$a], $x), $v[$b]);
        $v[$d] = _mm512_ror_epi32::<16>(_mm512_xor_si512($v[$d], $v[$a]));
        $v[$c] = _mm512_add_epi32($v[$c], $v[$d]);
        $v[$b] = _mm512_ror_epi32::<12>(_mm512_xor_si512($v[$b], $v[$c]));
        $v[$a] = _mm512_add_epi32(_mm512_add_epi32($v[$a], $y), $v[$b]);
        $v[$d] = _mm512_ror_epi32::<8>(_mm512_xor_si512($v[$d], $v[$a]));
        $v[$c] = _mm512_add_epi32($v[$c], $v[$d]);
        $v[$b] = _mm512_ror_epi32::<7>(_mm512_xor_si512($v[$b], $v[$c]));
    };
}

/// One round: columns, then diagonals. The message words are permuted by naming them in another order.
macro_rules! round {
    ($v:ident, $m:ident, $($s:literal)*) => {
        let s = [$($s),*];
        mix!($v, 0 4 8 12, $m[s[0]], $m[s[1]]);
        mix!($v, 1 5 9 13, $m[s[2]], $m[s[3]]);
        mix!($v, 2 6 10 14, $m[s[4]], $m[s[5]]);
        mix!($v, 3 7 11 15, $m[s[6]], $m[s[7]]);
        mix!($v, 0 5 10 15, $m[s[8]], $m[s[9]]);
        mix!($v, 1 6 11 12, $m[s[10]], $m[s[11]]);
        mix!($v, 2 7 8 13, $m[s[12]], $m[s[13]]);
        mix!($v, 3 4 9 14, $m[s[14]], $m[s[15]]);
    };
}

#[inline]
#[target_feature(enable = "avx512f")]
fn compress(
    h: &[__m512i; 8],
    m: &[__m512i; 16],
    counter: __m512i,
    length: __m512i,
    flags: __m512i,
) -> [__m512i; 8] {
    let iv = initial();
    let mut v = [
        h[0],
        h[1],
        h[2],
        h[3],
        h[4],
        h[5],
        h[6],
        h[7],
        iv[0],
        iv[1],
        iv[2],
        iv[3],
        counter,
        _mm512_setzero_si512(),
        length,
        flags,
    ];
    round!(v, m, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    round!(v, m, 2 6 3 10 7 0 4 13 1 11 12 5 9 14 15 8);
    round!(v, m, 3 4 10 12 13 2 7 14 6 5 9 0 11 15 8 1);
    round!(v, m, 10 7 12 9 14 3 13 15 4 0 11 2 5 8 1 6);
    round!(v, m, 12 13 9 11 15 10 14 8 7 2 5 3 0 1 6 4);
    round!(v, m, 9 14 11 5 8 12 15 1 13 3 0 10 2 6 4 7);
    round!(v, m, 11 15 5 0 1 9 8 6 14 10 2 12 3 4 7 13);
    let mut next = *h;
    for word in 0..8 {
        next[word] = _mm512_xor_si512(v[word], v[word + 8]);
    }
    next
}

/// Word `i` of sixteen blocks as vector `i`.
///
/// # Safety
/// Each of `blocks` points to 64 readable bytes.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn load_transposed(blocks: &[Block; NODE_LANES]) -> [__m512i; 16] {
    let mut rows = [_mm512_setzero_si512(); 16];
    for (row, block) in rows.iter_mut().zip(blocks) {
        // SAFETY: promised by the caller.
        *row = unsafe { _mm512_loadu_si512(block.cast()) };
    }
    transpose(&rows)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn initial() -> [__m512i; 8] {
    let mut state = [_mm512_setzero_si512(); 8];
    for (vector, word) in state.iter_mut().zip(IV) {
        *vector = _mm512_set1_epi32(word.cast_signed());
    }
    state
}

/// Sixteen rows of sixteen words to sixteen columns.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose(rows: &[__m512i; 16]) -> [__m512i; 16] {
    let mut quads = *rows;
    for group in 0..4 {
        let r = &rows[4 * group..];
        let (low, low2) = (_mm512_unpacklo_epi32(r[0], r[1]), _mm512_unpacklo_epi32(r[2], r[3]));
        let (high, high2) = (_mm512_unpackhi_epi32(r[0], r[1]), _mm512_unpackhi_epi32(r[2], r[3]));
        // Column `4b + i` of these four rows lies in block `b` of vector `i`.
        quads[4 * group] = _mm512_unpacklo_epi64(low, low2);
        quads[4 * group + 1] = _mm512_unpackhi_epi64(low, low2);
        quads[4 * group + 2] = _mm512_unpacklo_epi64(high, high2);
        quads[4 * group + 3] = _mm512_unpackhi_epi64(high, high2);
    }
    let mut columns = *rows;
    for i in 0..4 {
        let even = _mm512_shuffle_i32x4::<0b10_00_10_00>(quads[i], quads[4 + i]);
        let odd = _mm512_shuffle_i32x4::<0b11_01_11_01>(quads[i], quads[4 + i]);
        let even2 = _mm512_shuffle_i32x4::<0b10_00_10_00>(quads[8 + i], quads[12 + i]);
        let odd2 = _mm512_shuffle_i32x4::<0b11_01_11_01>(quads[8 + i], quads[12 + i]);
        columns[i] = _mm512_shuffle_i32x4::<0b10_00_10_00>(even, even2);
        columns[8 + i] = _mm512_shuffle_i32x4::<0b11_01_11_01>(even, even2);
        columns[4 + i] = _mm512_shuffle_i32x4::<0b10_00_10_00>(odd, odd2);
        columns[12 + i] = _mm512_shuffle_i32x4::<0b11_01_11_01>(odd, odd2);
    }
    columns
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(words: &[u32; NODE_LANES]) -> __m512i {
    // SAFETY: sixteen words are 64 bytes.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(state: &[__m512i; 8]) -> [Node; NODE_LANES] {
    let mut words = [[0_u32; NODE_LANES]; 8];
    for (row, &vector) in words.iter_mut().zip(state) {
        // SAFETY: sixteen words are 64 bytes.
        unsafe { _mm512_storeu_si512(row.as_mut_ptr().cast(), vector) };
    }
    std::array::from_fn(|lane| std::array::from_fn(|word| words[word][lane]))
}
