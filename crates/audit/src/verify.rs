//! Verification of an exported log without a gate: which entry is the first that is not as it was sealed.
//!
//! Everything is computed upwards from the entries and the leaves; no tile is believed because another one agrees with
//! it. (Two libraries that trust tiles have accepted forged ones: CVE-2026-56865.)

use std::collections::{HashMap, HashSet};
use std::fmt;

use placet_core::payload::{hex, parse_strict, sha256_hex};
use serde_json::Value;

use crate::edge::Edge;
use crate::entry::leaf_bytes;
use crate::merkle::{HASH_BYTES, Hash, fold, leaf_hash};
use crate::note::Checkpoint;
use crate::tile::{TileName, WIDTH, width_at};

/// The files of an export, as they are read.
pub trait Files {
    /// What reading can fail with.
    type Error;

    /// A tile or bundle below `tile/`; none if it is not there.
    fn tile(&self, name: TileName) -> Result<Option<Vec<u8>>, Self::Error>;

    /// The lines of `entries.jsonl`, in order. It may be read more than once.
    fn entries(&self) -> Result<impl Iterator<Item = Result<String, Self::Error>>, Self::Error>;
}

/// An older head that somebody has seen: the log must begin with what it names.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The head.
    pub checkpoint: Checkpoint,
    /// The leaves that it was of, where they are at hand: then the first one that differs can be named.
    pub leaves: Vec<Hash>,
}

/// What is wrong with an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was done.
    pub tampering: Tampering,
    /// The first entry that it was done to, counted from 0.
    pub index: Option<u64>,
    /// Of that entry, where it can be read: its request or chain, its number in it, its event.
    pub entry: Option<String>,
}

/// What was done to an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tampering {
    /// An entry has other content than it was sealed with.
    Changed,
    /// An entry is missing.
    Dropped,
    /// Entries are in another order.
    Reordered,
    /// There is an entry that was never sealed, or one more time than it was.
    Inserted,
    /// The last entries are missing; so many are left.
    CutOff {
        /// How many the log must have.
        size: u64,
    },
    /// The log is not the one that was seen before.
    Rewritten {
        /// How many entries the log had then.
        seen: u64,
    },
    /// A tile or bundle is missing, or does not hold what its entries make.
    Tile(TileName),
    /// Neither the entries nor the tiles lead to the signed head.
    NotTheHead {
        /// The last entry that may have been changed.
        last: u64,
    },
    /// An entry does not name the hash of the one before it: the gate's own trail was changed before it was sealed.
    ChainBroken,
}

impl Tampering {
    /// A stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Dropped => "dropped",
            Self::Reordered => "reordered",
            Self::Inserted => "inserted",
            Self::CutOff { .. } => "cut_off",
            Self::Rewritten { .. } => "rewritten",
            Self::Tile(_) => "tile",
            Self::NotTheHead { .. } => "not_the_head",
            Self::ChainBroken => "chain_broken",
        }
    }
}

impl Finding {
    fn at(tampering: Tampering, index: u64, line: Option<&str>) -> Self {
        Self { tampering, index: Some(index), entry: line.and_then(describe) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let index = self.index.unwrap_or_default();
        match &self.tampering {
            Tampering::Changed => write!(f, "entry {index} was changed")?,
            Tampering::Dropped => write!(f, "entry {index} was dropped")?,
            Tampering::Reordered => write!(f, "entry {index} is not in its place: entries were reordered")?,
            Tampering::Inserted => write!(f, "entry {index} was inserted: the log does not hold it there")?,
            Tampering::CutOff { size } => {
                write!(f, "entry {index} and all after it are cut off: the log has {size} entries")?;
            }
            Tampering::Rewritten { seen } => match self.index {
                Some(index) => write!(f, "entry {index} is not the one that was seen before")?,
                None => {
                    write!(
                        f,
                        "history was rewritten: the first {seen} entries are not those that were seen"
                    )?;
                }
            },
            Tampering::Tile(name) => match self.index {
                Some(index) => write!(f, "tile/{name} was changed; its first wrong hash is entry {index}'s")?,
                None => write!(f, "tile/{name} is missing, or was changed")?,
            },
            Tampering::NotTheHead { last } => {
                write!(
                    f,
                    "one of the entries {index} to {last} was changed, with its tiles: the signed head is of others"
                )?;
            }
            Tampering::ChainBroken => {
                write!(f, "entry {index} does not follow the one before it in its chain")?;
            }
        }
        self.entry.as_ref().map_or(Ok(()), |entry| write!(f, " ({entry})"))
    }
}

/// What an export holds, once nothing was found wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intact {
    /// How many entries the log has.
    pub size: u64,
    /// The first entry that the export has; those before it are past their retention, and their hashes are still there.
    pub first: u64,
}

/// Verifies the files against a checkpoint whose signature was checked. `first` is the index of the first line.
pub fn export<F: Files>(
    files: &F,
    checkpoint: &Checkpoint,
    first: u64,
    seen: Option<&Seen>,
) -> Result<Result<Intact, Finding>, F::Error> {
    Ok(match examine(files, checkpoint, first, seen) {
        Ok(()) => Ok(Intact { size: checkpoint.size, first }),
        Err(Stop::Found(finding)) => Err(finding),
        Err(Stop::Failed(error)) => return Err(error),
    })
}

/// The leaves of an export, from its tiles; none if they are not all there.
pub fn leaves<F: Files>(files: &F, size: u64) -> Result<Option<Vec<Hash>>, F::Error> {
    match tile_leaves(files, size) {
        Ok(leaves) => Ok(Some(leaves)),
        Err(Stop::Found(_)) => Ok(None),
        Err(Stop::Failed(error)) => Err(error),
    }
}

enum Stop<E> {
    Found(Finding),
    Failed(E),
}

fn examine<F: Files>(
    files: &F,
    checkpoint: &Checkpoint,
    first: u64,
    seen: Option<&Seen>,
) -> Result<(), Stop<F::Error>> {
    let size = checkpoint.size;
    if let Some(seen) = seen.filter(|seen| seen.checkpoint.size > size) {
        let tampering = Tampering::CutOff { size: seen.checkpoint.size };
        return Err(Stop::Found(Finding { tampering, index: Some(size), entry: None }));
    }
    let from_tiles = tile_leaves(files, size);
    let mut edge = Edge::default();
    let (leaves, full) = match from_tiles {
        Ok(leaves) => {
            let full = edge.append(leaves.iter().copied());
            if edge.root() != checkpoint.root {
                return Err(unlike_the_head(files, checkpoint, first, &leaves));
            }
            (leaves, full)
        }
        // Without the tiles the entries alone must lead to the head; if they do, the tile is what was tampered with.
        Err(Stop::Found(of_tile)) if first == 0 => {
            return Err(match entry_hashes(files)? {
                hashes if root_of(&hashes) == checkpoint.root => Stop::Found(of_tile),
                hashes if (hashes.len() as u64) < size => {
                    let index = hashes.len() as u64;
                    Stop::Found(Finding {
                        tampering: Tampering::CutOff { size },
                        index: Some(index),
                        entry: None,
                    })
                }
                _ => Stop::Found(of_tile),
            });
        }
        Err(stop) => return Err(stop),
    };
    compare(files, first, &leaves)?;
    check_tiles(files, size, first, &edge, &full, &leaves)?;
    if let Some(seen) = seen {
        let count = usize::try_from(seen.checkpoint.size).unwrap_or(usize::MAX);
        let known = leaves.get(..count).unwrap_or_default();
        if root_of(known) != seen.checkpoint.root {
            let differs = seen.leaves.iter().zip(known).position(|(seen, now)| seen != now);
            let tampering = Tampering::Rewritten { seen: seen.checkpoint.size };
            let index = differs.map(|index| index as u64);
            return Err(Stop::Found(Finding { tampering, index, entry: None }));
        }
    }
    Ok(())
}

fn root_of(leaves: &[Hash]) -> Hash {
    let mut edge = Edge::default();
    edge.append(leaves.iter().copied());
    edge.root()
}

/// All leaves as the tiles of level 0 name them.
fn tile_leaves<F: Files>(files: &F, size: u64) -> Result<Vec<Hash>, Stop<F::Error>> {
    let mut leaves = Vec::new();
    for name in TileName::all(size, size).filter(|name| name.level == Some(0)) {
        let hashes = files.tile(name).map_err(Stop::Failed)?;
        let hashes = hashes.filter(|hashes| hashes.len() == usize::from(name.width) * HASH_BYTES);
        let Some(hashes) = hashes else {
            return Err(Stop::Found(Finding { tampering: Tampering::Tile(name), index: None, entry: None }));
        };
        leaves.extend(hashes.chunks(HASH_BYTES).filter_map(|hash| Hash::try_from(hash).ok()));
    }
    Ok(leaves)
}

/// The hash of each line's leaf; of one that is not an entry, a hash that no leaf has.
fn entry_hashes<F: Files>(files: &F) -> Result<Vec<Hash>, Stop<F::Error>> {
    let lines = files.entries().map_err(Stop::Failed)?;
    lines.map(|line| Ok(line_hash(&line.map_err(Stop::Failed)?).unwrap_or_default())).collect()
}

/// The hash of an entry's leaf, where the line is an entry whose own hash is right.
fn line_hash(line: &str) -> Option<Hash> {
    let entry = parse_strict(line.as_bytes()).ok()?;
    let leaf = leaf_bytes(line)?;
    (entry.get("hash").and_then(Value::as_str) == Some(sha256_hex(&leaf).as_str())).then(|| leaf_hash(&leaf))
}

/// Goes through the entries and says which is the first that is not the leaf at its place.
fn compare<F: Files>(files: &F, first: u64, leaves: &[Hash]) -> Result<(), Stop<F::Error>> {
    let start = usize::try_from(first).unwrap_or(usize::MAX);
    let expected = leaves.get(start..).unwrap_or_default();
    let mut chains = Chains::default();
    let mut lines = files.entries().map_err(Stop::Failed)?.enumerate();
    let mut broken = None;
    for (place, line) in lines.by_ref() {
        let line = line.map_err(Stop::Failed)?;
        let index = first + place as u64;
        let found = line_hash(&line);
        let Some(leaf) = expected.get(place) else {
            return Err(Stop::Found(Finding::at(Tampering::Inserted, index, Some(&line))));
        };
        if found.as_ref() != Some(leaf) {
            let later: HashSet<Hash> =
                lines.filter_map(|(_, line)| line.ok().and_then(|line| line_hash(&line))).collect();
            let tampering = what_was_done(found, place, expected, &later);
            let line = (tampering != Tampering::Dropped).then_some(line);
            return Err(Stop::Found(Finding::at(tampering, index, line.as_deref())));
        }
        if !chains.follows(&line, first == 0) && broken.is_none() {
            broken = Some(Finding::at(Tampering::ChainBroken, index, Some(&line)));
        }
    }
    let count = entry_count(files)?;
    if count < expected.len() as u64 {
        let size = leaves.len() as u64;
        return Err(Stop::Found(Finding::at(Tampering::CutOff { size }, first + count, None)));
    }
    broken.map_or(Ok(()), |finding| Err(Stop::Found(finding)))
}

fn entry_count<F: Files>(files: &F) -> Result<u64, Stop<F::Error>> {
    Ok(files.entries().map_err(Stop::Failed)?.count() as u64)
}

/// What happened at a place where another entry is found than was sealed.
fn what_was_done(found: Option<Hash>, place: usize, expected: &[Hash], later: &HashSet<Hash>) -> Tampering {
    let sealed = expected.get(place);
    let sealed_is_later = sealed.is_some_and(|sealed| later.contains(sealed));
    let sealed_place = found.and_then(|found| expected.iter().position(|leaf| *leaf == found));
    match sealed_place {
        // It was sealed, for a later place: those between are missing, or come after it.
        Some(other) if other > place && sealed_is_later => Tampering::Reordered,
        Some(other) if other > place => Tampering::Dropped,
        // It was sealed for an earlier place, and has been there.
        Some(_) => Tampering::Inserted,
        None if sealed_is_later => Tampering::Inserted,
        None => Tampering::Changed,
    }
}

/// The tiles lead to another head. Finds out what of them is wrong.
fn unlike_the_head<F: Files>(
    files: &F,
    checkpoint: &Checkpoint,
    first: u64,
    tile_leaves: &[Hash],
) -> Stop<F::Error> {
    let size = checkpoint.size;
    let hashes = match entry_hashes(files) {
        Ok(hashes) => hashes,
        Err(stop) => return stop,
    };
    let start = usize::try_from(first).unwrap_or(usize::MAX);
    // The entries as the leaves of their places, those before the first one from the tiles.
    let from_entries: Vec<Hash> =
        tile_leaves.get(..start).unwrap_or_default().iter().chain(&hashes).copied().collect();
    let differs = from_entries.iter().zip(tile_leaves).position(|(entry, tile)| entry != tile);
    if from_entries.len() as u64 == size && root_of(&from_entries) == checkpoint.root {
        // The entries are right, so a tile is not.
        let index = differs.unwrap_or_default() as u64;
        let number = index / WIDTH;
        let name = TileName { level: Some(0), number, width: width_at(size, 0, number) };
        return Stop::Found(Finding { tampering: Tampering::Tile(name), index: Some(index), entry: None });
    }
    // Both are wrong. The tiles above may still say in which 256 entries.
    let (low, high) = match wrong_block(files, checkpoint, tile_leaves) {
        Ok(block) => block,
        Err(error) => return Stop::Failed(error),
    };
    let within = |index: usize| (low..high).contains(&(index as u64));
    let line = |index: u64| {
        let place = usize::try_from(index.saturating_sub(first)).ok()?;
        files.entries().ok()?.nth(place)?.ok()
    };
    // An entry whose own hash or chain is wrong is one that was changed without care.
    let no_entry = hashes.iter().position(|hash| *hash == Hash::default()).map(|place| place + start);
    let candidate = no_entry.filter(|index| within(*index)).or(differs.filter(|index| within(*index)));
    if let Some(index) = candidate {
        let index = index as u64;
        return Stop::Found(Finding::at(Tampering::Changed, index, line(index).as_deref()));
    }
    match first_break(files, first) {
        Ok(Some((index, text))) if within(usize::try_from(index).unwrap_or(usize::MAX)) => {
            Stop::Found(Finding::at(Tampering::ChainBroken, index, Some(&text)))
        }
        Ok(_) => {
            let tampering = Tampering::NotTheHead { last: high.saturating_sub(1) };
            Stop::Found(Finding { tampering, index: Some(low), entry: None })
        }
        Err(stop) => stop,
    }
}

/// The first range of entries whose leaves are not what the tiles above them hold, where those lead to the head.
fn wrong_block<F: Files>(
    files: &F,
    checkpoint: &Checkpoint,
    tile_leaves: &[Hash],
) -> Result<(u64, u64), F::Error> {
    let size = checkpoint.size;
    let whole = (0, size);
    let mut above: Vec<Hash> = Vec::new();
    for name in TileName::all(size, size).filter(|name| name.level == Some(1)) {
        let Some(hashes) = files.tile(name)? else { return Ok(whole) };
        above.extend(hashes.chunks(HASH_BYTES).filter_map(|hash| Hash::try_from(hash).ok()));
    }
    let blocks = usize::try_from(size / WIDTH).unwrap_or(usize::MAX);
    let width = usize::try_from(WIDTH).unwrap_or(usize::MAX);
    let tail = tile_leaves.get(blocks.saturating_mul(width)..).unwrap_or_default();
    if above.len() != blocks {
        return Ok(whole);
    }
    // A root over whole subtrees of 256 leaves and the rest: the same tree, built from its second floor.
    let mut upper = Edge::default();
    upper.append(above.iter().copied());
    let mut lower = Edge::default();
    lower.append(tail.iter().copied());
    let root = match (blocks, tail.len()) {
        (_, 0) => upper.root(),
        (0, _) => lower.root(),
        _ => joined(&above, &lower.root()),
    };
    let first_wrong =
        tile_leaves.chunks(width).zip(&above).position(|(leaves, hash)| fold(leaves.to_vec()) != *hash);
    Ok(match first_wrong {
        Some(block) if root == checkpoint.root => {
            let block = block as u64;
            (block * WIDTH, ((block + 1) * WIDTH).min(size))
        }
        // All blocks below agree with what is above them, so the rest at the end is what is wrong, or everything is.
        None if root != checkpoint.root && !tail.is_empty() => (0, size),
        _ => whole,
    })
}

/// The root over whole blocks and one incomplete block behind them.
fn joined(blocks: &[Hash], last: &Hash) -> Hash {
    let mut rest = blocks;
    let mut subtrees = Vec::new();
    while !rest.is_empty() {
        let (whole, after) = rest.split_at(1 << rest.len().ilog2());
        subtrees.push(fold(whole.to_vec()));
        rest = after;
    }
    subtrees.iter().rev().fold(*last, |right, left| crate::merkle::node_hash(left, &right))
}

fn first_break<F: Files>(files: &F, first: u64) -> Result<Option<(u64, String)>, Stop<F::Error>> {
    let mut chains = Chains::default();
    for (place, line) in files.entries().map_err(Stop::Failed)?.enumerate() {
        let line = line.map_err(Stop::Failed)?;
        if !chains.follows(&line, first == 0) {
            return Ok(Some((first + place as u64, line)));
        }
    }
    Ok(None)
}

/// Checks that every other tile and bundle holds what the leaves make.
fn check_tiles<F: Files>(
    files: &F,
    size: u64,
    first: u64,
    edge: &Edge,
    full: &[crate::edge::FullTile],
    leaves: &[Hash],
) -> Result<(), Stop<F::Error>> {
    let known: HashMap<(u8, u64), &[u8]> =
        full.iter().map(|tile| ((tile.level, tile.number), tile.hashes.as_slice())).collect();
    let levels = edge.levels();
    for name in TileName::all(size, first) {
        let found = files.tile(name).map_err(Stop::Failed)?;
        let is_right = match (name.level, &found) {
            (Some(level), Some(found)) => {
                let expected = known.get(&(level, name.number)).copied();
                let expected = expected.or_else(|| levels.get(usize::from(level)).map(Vec::as_slice));
                expected == Some(found.as_slice())
            }
            (None, Some(found)) => bundle_hashes(found).as_deref() == leaves_of(leaves, name),
            (_, None) => false,
        };
        if !is_right {
            return Err(Stop::Found(Finding { tampering: Tampering::Tile(name), index: None, entry: None }));
        }
    }
    Ok(())
}

fn leaves_of(leaves: &[Hash], bundle: TileName) -> Option<&[Hash]> {
    let start = usize::try_from(bundle.number.checked_mul(WIDTH)?).ok()?;
    leaves.get(start..start.checked_add(usize::from(bundle.width))?)
}

/// The hashes of a bundle's entries, each of which has its length before it in two bytes.
fn bundle_hashes(bundle: &[u8]) -> Option<Vec<Hash>> {
    let mut rest = bundle;
    let mut hashes = Vec::new();
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let (entry, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        hashes.push(leaf_hash(entry));
        rest = after;
    }
    Some(hashes)
}

/// Checks that entries without a log follow each other: what one file of entries can show. Counts them.
///
/// Nothing shows whether the last ones of a chain are missing, or whole chains.
pub fn entries<E>(lines: impl Iterator<Item = Result<String, E>>) -> Result<Result<u64, Finding>, E> {
    let mut chains = Chains::default();
    let mut count = 0;
    for line in lines {
        let line = line?;
        if line_hash(&line).is_none() {
            return Ok(Err(Finding::at(Tampering::Changed, count, Some(&line))));
        }
        if !chains.follows(&line, false) {
            return Ok(Err(Finding::at(Tampering::ChainBroken, count, Some(&line))));
        }
        count += 1;
    }
    Ok(Ok(count))
}

/// The chains of entries: one for each request, and those of the gate itself.
#[derive(Default)]
struct Chains {
    ends: HashMap<String, (u64, String)>,
}

impl Chains {
    /// Whether an entry follows the one before it in its chain. Where the trail is whole, a chain begins with its first.
    fn follows(&mut self, line: &str, is_whole: bool) -> bool {
        let Ok(entry) = serde_json::from_str::<Value>(line) else { return false };
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (subject, hash, before) = (text("subject"), text("hash"), text("prev_hash"));
        let Some(seq) = entry.get("seq").and_then(Value::as_u64) else { return false };
        let follows = match self.ends.get(&subject) {
            Some((last, known)) => seq == last + 1 && before == *known,
            None if seq == 1 => before == "0".repeat(64),
            None => !is_whole,
        };
        self.ends.insert(subject, (seq, hash));
        follows
    }
}

fn describe(line: &str) -> Option<String> {
    let entry: Value = serde_json::from_str(line).ok()?;
    let text = |name: &str| entry.get(name).and_then(Value::as_str);
    let whose = match text("request_id") {
        Some(request) => format!("request {request}"),
        None => format!("chain {}", text("subject")?),
    };
    let seq = entry.get("seq").and_then(Value::as_u64).unwrap_or_default();
    let shown = format!("{whose}, its entry {seq}, {}", text("event").unwrap_or("?"));
    Some(shown.chars().filter(|c| !c.is_control()).take(200).collect())
}

/// A hash in hexadecimal, for people.
pub fn shown(hash: &Hash) -> String {
    hex(hash)
}
