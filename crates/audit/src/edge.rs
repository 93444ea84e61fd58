//! The right edge of a log: all that is needed to append, and to know the root.

use crate::merkle::{EMPTY_ROOT, HASH_BYTES, Hash, fold, node_hash};
use crate::tile::WIDTH;

/// The right edge of a log: its size, and the last tile of each level as far as it is filled.
///
/// Whoever keeps this can append without reading any other tile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edge {
    leaves: u64,
    levels: Vec<Vec<Hash>>,
}

/// A tile that was filled by an append: it never changes again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FullTile {
    /// Its level.
    pub level: u8,
    /// Its number on that level.
    pub number: u64,
    /// Its 256 hashes, concatenated.
    pub hashes: Vec<u8>,
}

impl Edge {
    /// The edge of a log of `leaves` leaves, from its last tiles, level by level; `None` if they are not of that size.
    ///
    /// A tile that is full is not at the edge: its level is empty there.
    pub fn new(leaves: u64, levels: &[Vec<u8>]) -> Option<Self> {
        let mut edge = Self { leaves, levels: Vec::new() };
        let mut hashes_on_level = leaves;
        for tile in levels {
            let hashes: Vec<Hash> =
                tile.chunks(HASH_BYTES).map(|hash| hash.try_into().ok()).collect::<Option<_>>()?;
            if u64::try_from(hashes.len()).ok()? != hashes_on_level % WIDTH {
                return None;
            }
            edge.levels.push(hashes);
            hashes_on_level /= WIDTH;
        }
        (hashes_on_level == 0).then_some(edge)
    }

    /// How many leaves the log has.
    pub const fn leaves(&self) -> u64 {
        self.leaves
    }

    /// The last tile of each level, as far as it is filled: concatenated hashes, which may be none.
    pub fn levels(&self) -> Vec<Vec<u8>> {
        self.levels.iter().map(|level| level.concat()).collect()
    }

    /// Appends leaves, and returns the tiles that this has filled.
    pub fn append(&mut self, leaves: impl IntoIterator<Item = Hash>) -> Vec<FullTile> {
        let mut full = Vec::new();
        for leaf in leaves {
            let mut hash = leaf;
            let mut hashes_on_level = self.leaves;
            self.leaves += 1;
            for level in 0_u8.. {
                let place = usize::from(level);
                if self.levels.len() <= place {
                    self.levels.push(Vec::new());
                }
                let Some(tile) = self.levels.get_mut(place) else { break };
                tile.push(hash);
                if (tile.len() as u64) < WIDTH {
                    break;
                }
                let filled = std::mem::take(tile);
                full.push(FullTile { level, number: hashes_on_level / WIDTH, hashes: filled.concat() });
                hash = fold(filled);
                hashes_on_level /= WIDTH;
            }
        }
        full
    }

    /// The root of the log.
    pub fn root(&self) -> Hash {
        let mut root: Option<Hash> = None;
        for level in &self.levels {
            // The tile's hashes as whole subtrees, the largest first: joined from the smallest, at the right end.
            let mut rest = level.as_slice();
            let mut subtrees = Vec::new();
            while !rest.is_empty() {
                let size = 1 << rest.len().ilog2();
                let (whole, after) = rest.split_at(size);
                subtrees.push(fold(whole.to_vec()));
                rest = after;
            }
            for subtree in subtrees.iter().rev() {
                root = Some(root.map_or(*subtree, |right| node_hash(subtree, &right)));
            }
        }
        root.unwrap_or(EMPTY_ROOT)
    }
}
