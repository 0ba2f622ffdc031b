//! The BLAKE3 trees of many chunks, built level by level so that leaves and parents of all of them share the lanes.
//!
//! BLAKE3 (paper, section 2.1) hashes leaves of 1 KiB and joins them in a binary tree whose left side is always a full
//! one. Joining neighbours level by level and passing an odd last node up unchanged gives that same tree.

use super::lanes_avx512::{Lanes, Leaf, NODE_LANES};
use crate::chunker::Cut;

/// Bytes of a full leaf.
pub(super) const LEAF_SIZE: usize = 1024;

/// Bytes from which on a chunk fills the lanes by itself and the assembler of the `blake3` crate does better. Measured
/// on Emerald Rapids, crate to ours: 0.77 at 20 KiB (mean of real chunks), 1.03 at 80 KiB, 1.17 at 256 KiB.
const LARGE_SIZE: usize = 128 * 1024;

/// A chaining value: the hash of a node, as words.
pub(super) type Node = [u32; 8];

/// One chunk's nodes at the current level; none if it is left to the crate.
struct Tree {
    /// The first of its nodes.
    first: usize,
    count: usize,
}

/// Fill in the hash of each cut of `data`.
pub(super) fn hash_cuts(lanes: Lanes, data: &[u8], cuts: &mut [Cut]) {
    let mut trees = Vec::with_capacity(cuts.len());
    let mut nodes = leaves(lanes, data, cuts, &mut trees);
    let mut above = Vec::with_capacity(nodes.len());
    while trees.iter().any(|tree| tree.count > 1) {
        join(lanes, &nodes, &mut trees, &mut above);
        std::mem::swap(&mut nodes, &mut above);
    }
    for (cut, tree) in cuts.iter_mut().zip(&trees) {
        if tree.count == 0 {
            cut.hash = *blake3::hash(cut.bytes(data)).as_bytes();
            continue;
        }
        for (bytes, word) in cut.hash.chunks_exact_mut(4).zip(nodes[tree.first]) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
    }
}

/// The lowest level: the nodes of all leaves, chunk after chunk.
fn leaves(lanes: Lanes, data: &[u8], cuts: &[Cut], trees: &mut Vec<Tree>) -> Vec<Node> {
    let mut nodes = vec![[0; 8]; cuts.iter().map(|cut| leaf_count(cut.len as usize)).sum()];
    let mut full: Vec<Leaf<'_>> = Vec::with_capacity(NODE_LANES);
    let mut partial: Vec<Leaf<'_>> = Vec::with_capacity(cuts.len());
    let mut first = 0;
    for cut in cuts {
        let bytes = cut.bytes(data);
        let count = leaf_count(bytes.len());
        for index in 0..count {
            let rest = &bytes[index * LEAF_SIZE..];
            let bytes = &rest[..rest.len().min(LEAF_SIZE)];
            let leaf = Leaf { bytes, index, is_root: count == 1, node: first + index };
            if bytes.len() < LEAF_SIZE {
                partial.push(leaf);
                continue;
            }
            full.push(leaf);
            if full.len() == NODE_LANES {
                lanes.full_leaves(&full, &mut nodes);
                full.clear();
            }
        }
        trees.push(Tree { first, count });
        first += count;
    }
    lanes.full_leaves(&full, &mut nodes);
    // Side by side, leaves take as long as the longest of them.
    partial.sort_unstable_by_key(|leaf| std::cmp::Reverse(leaf.bytes.len()));
    for leaves in partial.chunks(NODE_LANES) {
        lanes.partial_leaves(leaves, &mut nodes);
    }
    nodes
}

/// One level up: join neighbours, pass an odd one on.
fn join(lanes: Lanes, nodes: &[Node], trees: &mut [Tree], above: &mut Vec<Node>) {
    above.clear();
    above.resize(trees.iter().map(|tree| tree.count.div_ceil(2)).sum(), [0; 8]);
    let mut parents = Parents { lanes, nodes, pairs: Vec::with_capacity(NODE_LANES), above };
    let mut first = 0;
    for tree in trees {
        for pair in 0..tree.count / 2 {
            parents.push(Pair { left: tree.first + 2 * pair, is_root: tree.count == 2, node: first + pair });
        }
        let count = tree.count.div_ceil(2);
        if tree.count % 2 == 1 {
            parents.above[first + count - 1] = nodes[tree.first + tree.count - 1];
        }
        *tree = Tree { first, count };
        first += count;
    }
    parents.flush();
}

/// Two neighbours to be joined.
#[derive(Clone, Copy)]
pub(super) struct Pair {
    /// The left one; the right one follows it.
    pub(super) left: usize,
    pub(super) is_root: bool,
    /// Where their parent goes.
    pub(super) node: usize,
}

/// Pairs that wait until the lanes are full.
struct Parents<'a> {
    lanes: Lanes,
    nodes: &'a [Node],
    pairs: Vec<Pair>,
    above: &'a mut Vec<Node>,
}

impl Parents<'_> {
    fn push(&mut self, pair: Pair) {
        self.pairs.push(pair);
        if self.pairs.len() == NODE_LANES {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.lanes.parents(self.nodes, &self.pairs, self.above);
        self.pairs.clear();
    }
}

/// Leaves to be hashed here; none of a large chunk.
fn leaf_count(length: usize) -> usize {
    if length >= LARGE_SIZE { 0 } else { length.div_ceil(LEAF_SIZE).max(1) }
}
