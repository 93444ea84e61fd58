//! The Merkle tree: hashes, roots and proofs over tiles, and the checks of proofs, which need no tiles.
//!
//! Source: RFC 6962, section 2.1 (how trees and proofs are made), RFC 9162, section 2.1 (how proofs are checked).

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use crate::tile::{HEIGHT, WIDTH};

/// Bytes of a hash.
pub const HASH_BYTES: usize = 32;

/// A SHA-256 hash.
pub type Hash = [u8; HASH_BYTES];

/// The root of a log without entries: the hash of nothing.
pub const EMPTY_ROOT: Hash = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
    0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

/// The hash of a leaf: SHA-256 over a zero byte and the entry.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([0]);
    hasher.update(entry);
    hasher.finalize().into()
}

/// The hash of an inner node: SHA-256 over a one and the hashes of its children.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([1]);
    hasher.update(left);
    hasher.update(right);
    hasher.finalize().into()
}

/// The tiles that are at hand, by level and number. A tile may be longer than a tree of some size needs.
#[derive(Clone, Debug, Default)]
pub struct Tiles(BTreeMap<(u8, u64), Vec<u8>>);

impl Tiles {
    /// Adds a tile: the concatenated hashes.
    pub fn insert(&mut self, level: u8, number: u64, hashes: Vec<u8>) {
        self.0.insert((level, number), hashes);
    }

    /// The tile as it is at hand.
    pub fn get(&self, level: u8, number: u64) -> Option<&[u8]> {
        self.0.get(&(level, number)).map(Vec::as_slice)
    }

    fn hash(&self, level: u8, index: u64) -> Result<Hash, Wanted> {
        let (number, offset) = (index / WIDTH, index % WIDTH);
        let wanted = Wanted { level, number };
        let start = usize::try_from(offset).map_err(|_| wanted)? * HASH_BYTES;
        let tile = self.get(level, number).ok_or(wanted)?;
        tile.get(start..start + HASH_BYTES).and_then(|hash| hash.try_into().ok()).ok_or(wanted)
    }
}

/// A tile that a computation needs and that is not at hand, or is too short.
///
/// Whoever computes over a store reads that tile, adds it, and computes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tile {number} of level {level} is missing, or shorter than this size of the log needs")]
pub struct Wanted {
    /// Its level.
    pub level: u8,
    /// Its number on that level.
    pub number: u64,
}

/// The root of the log's first `size` leaves.
pub fn root(size: u64, tiles: &Tiles) -> Result<Hash, Wanted> {
    range(0, size, tiles)
}

/// The proof that the leaf at `index` is in the log of `size` leaves, from the leaf upwards. `index` is below `size`.
pub fn inclusion(size: u64, index: u64, tiles: &Tiles) -> Result<Vec<Hash>, Wanted> {
    let (mut first, mut end, mut path) = (0, size, Vec::new());
    while end - first > 1 {
        let middle = first + split(end - first);
        if index < middle {
            path.push(range(middle, end, tiles)?);
            end = middle;
        } else {
            path.push(range(first, middle, tiles)?);
            first = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// The proof that the log of `size` leaves begins with the one of `old_size` leaves. `old_size` is at most `size`.
pub fn consistency(old_size: u64, size: u64, tiles: &Tiles) -> Result<Vec<Hash>, Wanted> {
    let mut path = Vec::new();
    if old_size == 0 || old_size == size {
        return Ok(path);
    }
    let (mut first, mut end, mut is_known) = (0, size, true);
    while old_size != end {
        let middle = first + split(end - first);
        if old_size <= middle {
            path.push(range(middle, end, tiles)?);
            end = middle;
        } else {
            path.push(range(first, middle, tiles)?);
            first = middle;
            is_known = false;
        }
    }
    if !is_known {
        path.push(range(first, end, tiles)?);
    }
    path.reverse();
    Ok(path)
}

/// The largest power of two below `leaves`, which is at least 2.
fn split(leaves: u64) -> u64 {
    1 << (u64::BITS - 1 - (leaves - 1).leading_zeros())
}

/// The hash over the leaves from `first` to before `end`, where that range is a subtree of some tree.
fn range(first: u64, end: u64, tiles: &Tiles) -> Result<Hash, Wanted> {
    match end - first {
        0 => Ok(EMPTY_ROOT),
        leaves if leaves.is_power_of_two() => subtree(leaves.trailing_zeros(), first / leaves, tiles),
        leaves => {
            let middle = first + split(leaves);
            Ok(node_hash(&range(first, middle, tiles)?, &range(middle, end, tiles)?))
        }
    }
}

/// The hash of a whole subtree of `2^height` leaves.
fn subtree(height: u32, index: u64, tiles: &Tiles) -> Result<Hash, Wanted> {
    let (level, within) = (height / HEIGHT, height % HEIGHT);
    let level = u8::try_from(level).unwrap_or(u8::MAX);
    let first = index << within;
    let hashes = (0..1_u64 << within).map(|offset| tiles.hash(level, first + offset));
    Ok(fold(hashes.collect::<Result<_, _>>()?))
}

/// The root over a power of two of hashes.
pub(crate) fn fold(mut hashes: Vec<Hash>) -> Hash {
    while hashes.len() > 1 {
        hashes = hashes
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => node_hash(left, right),
                [alone, ..] => *alone,
                [] => EMPTY_ROOT,
            })
            .collect();
    }
    hashes.pop().unwrap_or(EMPTY_ROOT)
}

/// Whether the proof shows that `leaf` is at `index` of the log of `size` leaves with that root.
pub fn check_inclusion(index: u64, size: u64, leaf: &Hash, path: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut place, mut last, mut hash) = (index, size - 1, *leaf);
    for next in path {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            hash = node_hash(next, &hash);
            if place & 1 == 0 {
                let zeros = place.trailing_zeros();
                place = place.checked_shr(zeros).unwrap_or(0);
                last = last.checked_shr(zeros).unwrap_or(0);
            }
        } else {
            hash = node_hash(&hash, next);
        }
        place >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Whether the proof shows that the log of `size` leaves with `root` begins with that of `old_size` and `old_root`.
pub fn check_consistency(old_size: u64, old_root: &Hash, size: u64, root: &Hash, path: &[Hash]) -> bool {
    if old_size == size {
        return path.is_empty() && old_root == root;
    }
    if old_size == 0 {
        return path.is_empty() && *old_root == EMPTY_ROOT;
    }
    if old_size > size {
        return false;
    }
    let (mut place, mut last) = (old_size - 1, size - 1);
    let shift = place.trailing_ones();
    place = place.checked_shr(shift).unwrap_or(0);
    last = last.checked_shr(shift).unwrap_or(0);
    let mut path = path.iter();
    let first = if old_size.is_power_of_two() { Some(old_root) } else { path.next() };
    let Some(first) = first else { return false };
    let (mut old, mut new) = (*first, *first);
    for next in path {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            old = node_hash(next, &old);
            new = node_hash(next, &new);
            if place & 1 == 0 {
                let zeros = place.trailing_zeros();
                place = place.checked_shr(zeros).unwrap_or(0);
                last = last.checked_shr(zeros).unwrap_or(0);
            }
        } else {
            new = node_hash(&new, next);
        }
        place >>= 1;
        last >>= 1;
    }
    last == 0 && old == *old_root && new == *root
}
