//! Names of tiles: which are in a log of a size, and their paths.
//!
//! Source: <https://c2sp.org/tlog-tiles>, "Merkle Tree", and "Partial tiles".

use std::fmt;

/// The height of a tile: it holds the hashes of up to `2^8` subtrees.
pub const HEIGHT: u32 = 8;

/// How many hashes, or entries, a full tile holds.
pub const WIDTH: u64 = 1 << HEIGHT;

/// The highest level that a log of less than `2^64` leaves can have.
const HIGHEST_LEVEL: u8 = 7;

/// What a path below `tile/` names: a tile of hashes, or a bundle of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TileName {
    /// The level of a tile of hashes, from 0 for the hashes of leaves; none for a bundle of entries.
    pub level: Option<u8>,
    /// Its number on that level.
    pub number: u64,
    /// How many hashes or entries it must have: 256, or fewer for the last one of its level.
    pub width: u16,
}

/// How many hashes tile `number` of `level` has in a log of `size` leaves: 0 if it has no such tile.
pub fn width_at(size: u64, level: u8, number: u64) -> u16 {
    let hashes = size.checked_shr(u32::from(level) * HEIGHT).unwrap_or(0);
    let width = hashes.saturating_sub(number.saturating_mul(WIDTH)).min(WIDTH);
    u16::try_from(width).unwrap_or(u16::MAX)
}

impl TileName {
    /// Every tile of a log of `size` leaves, level by level; then, for its entries from `min_index` on, the bundles.
    pub fn all(size: u64, min_index: u64) -> impl Iterator<Item = Self> {
        let tiles = (0..=HIGHEST_LEVEL).flat_map(move |level| {
            let hashes = size.checked_shr(u32::from(level) * HEIGHT).unwrap_or(0);
            (0..hashes.div_ceil(WIDTH)).map(move |number| Self {
                level: Some(level),
                number,
                width: width_at(size, level, number),
            })
        });
        let bundles = (min_index / WIDTH..size.div_ceil(WIDTH)).map(move |number| Self {
            level: None,
            number,
            width: width_at(size, 0, number),
        });
        tiles.chain(bundles)
    }

    /// Reads what comes after `tile/`: `<L>/<N>[.p/<W>]` or `entries/<N>[.p/<W>]`, in its one spelling.
    pub fn parse(path: &str) -> Option<Self> {
        let (level, rest) = path.split_once('/')?;
        let level = match level {
            "entries" => None,
            digits => Some(number::<u8>(digits).filter(|level| *level <= HIGHEST_LEVEL)?),
        };
        let (number, width) = match rest.split_once(".p/") {
            Some((digits, width)) => {
                (digits, self::number::<u16>(width).filter(|width| (1..256).contains(width))?)
            }
            None => (rest, 256),
        };
        let mut value: u64 = 0;
        let mut groups = number.split('/').peekable();
        while let Some(group) = groups.next() {
            let digits = match (groups.peek(), group.strip_prefix('x')) {
                (Some(_), Some(digits)) => digits,
                (None, None) => group,
                _ => return None,
            };
            if digits.len() != 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            value = value.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
        }
        let name = Self { level, number: value, width };
        // One spelling: `x000/001` is not another name for `001`.
        (name.to_string() == path).then_some(name)
    }
}

/// A decimal number without leading zeros.
fn number<T: std::str::FromStr>(digits: &str) -> Option<T> {
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_only_spelling = digits == "0" || !digits.starts_with('0');
    digits.parse().ok().filter(|_| is_plain && is_only_spelling)
}

impl fmt::Display for TileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            Some(level) => write!(f, "{level}/")?,
            None => write!(f, "entries/")?,
        }
        let mut groups = vec![self.number % 1000];
        let mut rest = self.number / 1000;
        while rest > 0 {
            groups.push(rest % 1000);
            rest /= 1000;
        }
        while let Some(group) = groups.pop() {
            if groups.is_empty() { write!(f, "{group:03}")? } else { write!(f, "x{group:03}/")? }
        }
        if self.width < 256 { write!(f, ".p/{}", self.width) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_spelling() {
        for (path, level, number, width) in [
            ("0/000", Some(0), 0, 256),
            ("0/x001/x234/067", Some(0), 1_234_067, 256),
            ("2/005.p/17", Some(2), 5, 17),
            ("entries/x001/000.p/255", None, 1000, 255),
        ] {
            let name = TileName { level, number, width };
            assert_eq!(name.to_string(), path);
            assert_eq!(TileName::parse(path), Some(name), "{path}");
        }
        for path in [
            "0/0",
            "00/000",
            "8/000",
            "-1/000",
            "0/x000/001",
            "0/1000",
            "0/000.p/0",
            "0/000.p/256",
            "0/000.p/01",
            "0/000.p/",
            "0/",
            "data/000",
            "0/x001",
            "0/001/002",
            "0/x001/x002",
            "+0/000",
            "0/000/",
            "0/٠٠٠",
            "0/x999/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert_eq!(TileName::parse(path), None, "{path}");
        }
    }

    #[test]
    fn a_log_has_the_tiles_of_its_size() {
        let names = |size, min| TileName::all(size, min).map(|name| name.to_string()).collect::<Vec<_>>();
        assert_eq!(names(0, 0), Vec::<String>::new());
        assert_eq!(names(1, 0), ["0/000.p/1", "entries/000.p/1"]);
        assert_eq!(names(256, 0), ["0/000", "1/000.p/1", "entries/000"]);
        assert_eq!(
            names(600, 256),
            ["0/000", "0/001", "0/002.p/88", "1/000.p/2", "entries/001", "entries/002.p/88"]
        );
        assert_eq!((width_at(600, 0, 2), width_at(600, 0, 3), width_at(600, 1, 0)), (88, 0, 2));
    }
}
