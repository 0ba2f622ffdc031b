#![expect(unsafe_code, reason = "AVX-512 loads by address, each within a checked slice")]
//! Sixteen BLAKE3 compressions side by side: word `i` of all sixteen states shares one vector.
//!
//! Constants and structure are those of the BLAKE3 paper, section 2.2. The slow twin is the `blake3` crate.
//!
//! # Invariants
//! - A [`Lanes`] exists only where the CPU has AVX-512 F, so its methods may use it.
//! - Intrinsics stand in loops, never in closures handed to the standard library: a closure is not inlined into a
//!   function without the feature, and costs a call per vector.

use std::arch::x86_64::{
    __m512i, _MM_HINT_T0, _mm_prefetch, _mm512_add_epi32, _mm512_cmpeq_epi32_mask, _mm512_cmpgt_epi32_mask,
    _mm512_loadu_si512, _mm512_mask_mov_epi32, _mm512_mask_or_epi32, _mm512_mask_xor_epi32, _mm512_ror_epi32,
    _mm512_set1_epi32, _mm512_setzero_si512, _mm512_shuffle_i32x4, _mm512_storeu_si512, _mm512_sub_epi32,
    _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
    _mm512_xor_si512,
};

use super::tree::{LEAF_SIZE, Node, Pair};

/// Nodes hashed side by side.
pub(super) const NODE_LANES: usize = 16;

/// Bytes of a block, the input of one compression.
const BLOCK_SIZE: usize = 64;

/// How far ahead of its reads each lane fetches, in bytes.
const PREFETCH_SIZE: usize = 4 * BLOCK_SIZE;

const CHUNK_START: u32 = 1 << 0;
const CHUNK_END: u32 = 1 << 1;
const PARENT: u32 = 1 << 2;
const ROOT: u32 = 1 << 3;

/// The initialisation vector: that of SHA-256.
const IV: Node =
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

/// What sixteen lanes compress: each its own blocks, one after another.
struct Job {
    /// Readable for as many blocks as the longest lane has.
    starts: [*const u8; NODE_LANES],
    block_counts: [u32; NODE_LANES],
    /// Bytes that count in the last block.
    last_lengths: [u32; NODE_LANES],
    first_flags: u32,
    last_flags: [u32; NODE_LANES],
    /// Which leaf of its chunk each is; 0 for parents.
    indexes: [u32; NODE_LANES],
}

impl Lanes {
    pub(super) fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx512f").then_some(Self(()))
    }

    /// Hash up to sixteen full leaves into their places in `nodes`.
    pub(super) fn full_leaves(self, leaves: &[Leaf<'_>], nodes: &mut [Node]) {
        let mut job = Job::leaves(leaves);
        for lane in 0..NODE_LANES {
            let Some(leaf) = leaves.get(lane).or(leaves.first()) else { return };
            assert!(leaf.bytes.len() == LEAF_SIZE, "the leaf is full");
            job.starts[lane] = leaf.bytes.as_ptr();
        }
        // SAFETY: `self` proves the feature. Every start is that of a full leaf, and no leaf has more blocks.
        let hashed = unsafe { compress(&job) };
        place(leaves, &hashed, nodes);
    }

    /// Hash up to sixteen leaves of any length into their places in `nodes`.
    pub(super) fn partial_leaves(self, leaves: &[Leaf<'_>], nodes: &mut [Node]) {
        let mut job = Job::leaves(leaves);
        let mut room = [[0; LEAF_SIZE]; NODE_LANES];
        for (leaf, room) in leaves.iter().zip(&mut room) {
            room[..leaf.bytes.len()].copy_from_slice(leaf.bytes);
        }
        for (start, room) in job.starts.iter_mut().zip(&room) {
            *start = room.as_ptr();
        }
        // SAFETY: `self` proves the feature. Every start is that of room for a full leaf; none has more blocks.
        let hashed = unsafe { compress(&job) };
        place(leaves, &hashed, nodes);
    }

    /// Join up to sixteen pairs of `nodes` into their places in `above`.
    pub(super) fn parents(self, nodes: &[Node], pairs: &[Pair], above: &mut [Node]) {
        assert!(pairs.len() <= NODE_LANES, "pairs fit the lanes");
        let mut job = Job::parents();
        for lane in 0..NODE_LANES {
            let Some(pair) = pairs.get(lane).or(pairs.first()) else { return };
            job.starts[lane] = nodes[pair.left..pair.left + 2].as_ptr().cast();
            job.last_flags[lane] = if pair.is_root { ROOT } else { 0 };
        }
        // SAFETY: `self` proves the feature. Every start is that of two nodes, 64 bytes, and all have one block.
        let joined = unsafe { compress(&job) };
        for (pair, node) in pairs.iter().zip(joined) {
            above[pair.node] = node;
        }
    }
}

impl Job {
    /// Leaves, still without the addresses of their bytes.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a leaf is at most 1 KiB, a chunk less than 2^32 of them"
    )]
    fn leaves(leaves: &[Leaf<'_>]) -> Self {
        assert!(leaves.len() <= NODE_LANES, "leaves fit the lanes");
        let mut job = Self { first_flags: CHUNK_START, ..Self::parents() };
        for (lane, leaf) in leaves.iter().enumerate() {
            let length = leaf.bytes.len();
            assert!(length <= LEAF_SIZE, "a leaf is at most 1 KiB");
            let block_count = length.div_ceil(BLOCK_SIZE).max(1);
            job.block_counts[lane] = block_count as u32;
            job.last_lengths[lane] = (length - (block_count - 1) * BLOCK_SIZE) as u32;
            job.last_flags[lane] = if leaf.is_root { CHUNK_END | ROOT } else { CHUNK_END };
            job.indexes[lane] = leaf.index as u32;
        }
        job
    }

    /// Parents, still without the addresses of their nodes.
    fn parents() -> Self {
        Self {
            starts: [std::ptr::null(); NODE_LANES],
            block_counts: [1; NODE_LANES],
            last_lengths: [64; NODE_LANES],
            first_flags: PARENT,
            last_flags: [0; NODE_LANES],
            indexes: [0; NODE_LANES],
        }
    }
}

fn place(leaves: &[Leaf<'_>], hashed: &[Node; NODE_LANES], nodes: &mut [Node]) {
    for (leaf, &node) in leaves.iter().zip(hashed) {
        nodes[leaf.node] = node;
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
    ($v:ident, $m:ident, $($word:literal)*) => {
        let s = [$($word),*];
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

/// Compress all blocks of all lanes.
///
/// # Safety
/// Each of `job.starts` is readable for 64 times the largest of `job.block_counts` bytes.
#[target_feature(enable = "avx512f")]
unsafe fn compress(job: &Job) -> [Node; NODE_LANES] {
    let zero = _mm512_setzero_si512();
    let one = _mm512_set1_epi32(1);
    let mut iv = [zero; 8];
    for (vector, word) in iv.iter_mut().zip(IV) {
        *vector = _mm512_set1_epi32(word.cast_signed());
    }
    let mut h = iv;
    let mut flags = _mm512_set1_epi32(job.first_flags.cast_signed());
    let mut left = load(&job.block_counts);
    let mut offset = 0;
    loop {
        let running = _mm512_cmpgt_epi32_mask(left, zero);
        if running == 0 {
            return store(&h);
        }
        let mut rows = [zero; 16];
        for (row, start) in rows.iter_mut().zip(job.starts) {
            let address = start.wrapping_add(offset);
            // SAFETY: promised by the caller: some lane still runs, so this block is readable in all lanes.
            *row = unsafe { _mm512_loadu_si512(address.cast()) };
            // Never faults, so it may look beyond the leaf.
            _mm_prefetch::<_MM_HINT_T0>(address.wrapping_add(PREFETCH_SIZE).cast());
        }
        let m = transpose(&rows);
        let ends = _mm512_cmpeq_epi32_mask(left, one);
        let lengths = _mm512_mask_mov_epi32(_mm512_set1_epi32(64), ends, load(&job.last_lengths));
        let block_flags = _mm512_mask_or_epi32(flags, ends, flags, load(&job.last_flags));
        #[rustfmt::skip]
        let mut v = [
            h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7],
            iv[0], iv[1], iv[2], iv[3], load(&job.indexes), zero, lengths, block_flags,
        ];
        round!(v, m, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        round!(v, m, 2 6 3 10 7 0 4 13 1 11 12 5 9 14 15 8);
        round!(v, m, 3 4 10 12 13 2 7 14 6 5 9 0 11 15 8 1);
        round!(v, m, 10 7 12 9 14 3 13 15 4 0 11 2 5 8 1 6);
        round!(v, m, 12 13 9 11 15 10 14 8 7 2 5 3 0 1 6 4);
        round!(v, m, 9 14 11 5 8 12 15 1 13 3 0 10 2 6 4 7);
        round!(v, m, 11 15 5 0 1 9 8 6 14 10 2 12 3 4 7 13);
        for word in 0..8 {
            h[word] = _mm512_mask_xor_epi32(h[word], running, v[word], v[word + 8]);
        }
        flags = zero;
        left = _mm512_sub_epi32(left, one);
        offset += BLOCK_SIZE;
    }
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
    let mut nodes = [[0; 8]; NODE_LANES];
    for (word, row) in words.iter().enumerate() {
        for (node, &value) in nodes.iter_mut().zip(row) {
            node[word] = value;
        }
    }
    nodes
}
