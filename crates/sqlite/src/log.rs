//! The transparency log in this file: sealing, tiles, pages of the trail, and what retention takes away.
//!
//! A batch is read and hashed beside the writer, which then only writes tiles and the head, on the condition that the
//! head is still the one that was read: nobody's commit waits for a hash, and two sequencers never fork.

use placet_audit::{EMPTY_ROOT, Edge, Hash, StoredEntry, WIDTH};
use placet_core::Timestamp;
use placet_gate::Fault;
use placet_gate::ports::{Clock, LogHead, PlacedEntry, Sealed, TrailPage, TrailQuery};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::SqliteStore;
use crate::rows::{at_most, many};
use crate::writer::WriteOp;

/// How many entries are sealed at once: their texts are in memory for that long.
const BATCH: usize = 4096;

/// How many entries one transaction of [`SqliteStore::prune`] takes away.
const PRUNE_BATCH: i64 = 2048;

/// A batch that is hashed and not yet written.
pub(crate) struct Seal {
    from: u64,
    to: u64,
    root: Hash,
    tiles: Vec<(u8, u64, Vec<u8>)>,
}

impl SqliteStore {
    pub(crate) async fn seal_batch(&self) -> Result<Sealed, Fault> {
        let Some(seal) = self.scan(|tables| Ok(prepare(tables))).await?? else {
            return Ok(Sealed::default());
        };
        let entries = seal.to - seal.from;
        let is_ours = self.0.writer.run(seal).await?;
        // Where another sequencer was first, it goes on.
        let more = is_ours && entries >= BATCH as u64;
        Ok(Sealed { entries: if is_ours { entries } else { 0 }, more })
    }

    /// Takes away the entries of requests that were recorded before that time and are sealed, and publishes from where on
    /// the trail is whole. Their hashes stay in the log, so that it and every receipt still verify.
    ///
    /// The horizon moves by whole tiles of 256 entries and never backwards. The gate's own chains (`policy`, `keys`) stay.
    /// Returns how many entries were taken, and the horizon.
    pub async fn prune(&self, recorded_before: Timestamp) -> Result<(u64, u64), Fault> {
        let horizon = self.scan(move |tables| horizon(tables, recorded_before)).await?;
        let mut taken = 0;
        loop {
            let gone = self.0.writer.run(Prune { horizon }).await?;
            taken += gone;
            if gone == 0 {
                return Ok((taken, horizon));
            }
        }
    }
}

/// The next batch, hashed. None where everything is sealed.
fn prepare(tables: &Connection) -> Result<Option<Seal>, Fault> {
    let failed = |error: rusqlite::Error| crate::rows::fault("the database could not be read", &error);
    let unread = |error: rusqlite::Error| failed(error);
    // One snapshot: the head, its tiles and the entries behind it.
    let snapshot = tables.unchecked_transaction().map_err(unread)?;
    let from = head(&snapshot).map_err(unread)?.leaves;
    let texts: Vec<(i64, String)> = many(
        &snapshot,
        "SELECT position, entry FROM audit WHERE position > ?1 ORDER BY position LIMIT ?2",
        params![signed(from), at_most(BATCH)],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
    .map_err(unread)?;
    if texts.is_empty() {
        return Ok(None);
    }
    let mut levels = Vec::new();
    let (mut level, mut hashes) = (0_u8, from);
    while hashes > 0 {
        let whole = hashes % WIDTH == 0;
        let number = hashes / WIDTH;
        let edge = if whole { None } else { tile(&snapshot, level, number).map_err(unread)? };
        let mut edge = edge.unwrap_or_default();
        edge.truncate(usize::try_from(hashes % WIDTH).unwrap_or_default() * placet_audit::HASH_BYTES);
        levels.push(edge);
        level = level.saturating_add(1);
        hashes = number;
    }
    drop(snapshot);
    let mut edge =
        Edge::new(from, &levels).ok_or(Fault::bare("the log's tiles are not those of its head"))?;
    let mut leaves = Vec::with_capacity(texts.len());
    for (place, (position, text)) in texts.into_iter().enumerate() {
        if position != signed(from).saturating_add(at_most(place)).saturating_add(1) {
            return Err(Fault::bare("the audit trail has a gap"));
        }
        let leaf = StoredEntry::new(text).leaf_hash();
        leaves.push(leaf.ok_or(Fault::bare("an entry of the audit trail cannot be read"))?);
    }
    let to = from.saturating_add(leaves.len() as u64);
    let full = edge.append(leaves);
    let mut tiles: Vec<(u8, u64, Vec<u8>)> =
        full.into_iter().map(|tile| (tile.level, tile.number, tile.hashes)).collect();
    let mut hashes = to;
    for (level, edge) in (0_u8..).zip(edge.levels()) {
        if !edge.is_empty() {
            tiles.push((level, hashes / WIDTH, edge));
        }
        hashes /= WIDTH;
    }
    Ok(Some(Seal { from, to, root: edge.root(), tiles }))
}

impl WriteOp for Seal {
    /// Whether it was written: the head was still the one that the batch goes on from.
    type Done = bool;

    fn apply(&self, tables: &Connection, _: &dyn Clock) -> rusqlite::Result<bool> {
        if head(tables)?.leaves != self.from {
            return Ok(false);
        }
        for (level, number, hashes) in &self.tiles {
            tables
                .prepare_cached(
                    "INSERT INTO tiles (level, number, hashes) VALUES (?1, ?2, ?3) \
                     ON CONFLICT DO UPDATE SET hashes = excluded.hashes",
                )?
                .execute(params![level, signed(*number), hashes])?;
        }
        tables
            .prepare_cached("UPDATE log_head SET leaves = ?1, root = ?2")?
            .execute(params![signed(self.to), self.root])?;
        Ok(true)
    }
}

/// What is past its retention goes, a part at a time.
struct Prune {
    horizon: u64,
}

impl WriteOp for Prune {
    type Done = u64;

    fn apply(&self, tables: &Connection, _: &dyn Clock) -> rusqlite::Result<u64> {
        tables
            .prepare_cached("UPDATE log_head SET min_index = max(min_index, ?1)")?
            .execute([signed(self.horizon)])?;
        let gone = tables
            .prepare_cached(
                "DELETE FROM audit WHERE position IN (SELECT position FROM audit \
                 WHERE position <= (SELECT min_index FROM log_head) AND subject NOT IN ('policy', 'keys') LIMIT ?1)",
            )?
            .execute([PRUNE_BATCH])?;
        Ok(gone as u64)
    }
}

/// From where on the trail stays: before the first entry that is young enough, at a tile's beginning, and never behind
/// the last sealed entry.
fn horizon(tables: &Connection, recorded_before: Timestamp) -> rusqlite::Result<u64> {
    let head = head(tables)?;
    let young: Option<i64> = tables
        .prepare_cached("SELECT min(position) FROM audit WHERE position > ?1 AND recorded_at >= ?2")?
        .query_row(params![signed(head.min_index), recorded_before.millis()], |row| row.get(0))?;
    let first_young = young.map_or(head.leaves, |position| unsigned(position.saturating_sub(1)));
    let end = first_young.min(head.leaves.saturating_sub(1));
    Ok((end / WIDTH * WIDTH).max(head.min_index))
}

pub(crate) fn head(tables: &Connection) -> rusqlite::Result<LogHead> {
    tables.prepare_cached("SELECT leaves, root, min_index FROM log_head")?.query_row([], |row| {
        Ok(LogHead {
            leaves: unsigned(row.get(0)?),
            root: row.get::<_, [u8; 32]>(1).unwrap_or(EMPTY_ROOT),
            min_index: unsigned(row.get(2)?),
        })
    })
}

pub(crate) fn tile(tables: &Connection, level: u8, number: u64) -> rusqlite::Result<Option<Vec<u8>>> {
    tables
        .prepare_cached("SELECT hashes FROM tiles WHERE level = ?1 AND number = ?2")?
        .query_row(params![level, signed(number)], |row| row.get(0))
        .optional()
}

pub(crate) fn index(tables: &Connection, subject: &str, seq: u32) -> rusqlite::Result<Option<u64>> {
    tables
        .prepare_cached("SELECT position - 1 FROM audit WHERE subject = ?1 AND seq = ?2")?
        .query_row(params![subject, seq], |row| row.get(0).map(unsigned))
        .optional()
}

pub(crate) fn trail(tables: &Connection, query: &TrailQuery) -> rusqlite::Result<TrailPage> {
    let since = query.since.map_or(i64::MIN, Timestamp::millis);
    let until = query.until.map_or(i64::MAX, Timestamp::millis);
    let entries = many(
        tables,
        "SELECT position, entry FROM audit WHERE position > ?1 AND recorded_at >= ?2 AND recorded_at < ?3 \
         ORDER BY position LIMIT ?4",
        params![signed(query.from), since, until, at_most(query.limit)],
        |row| {
            let index = unsigned(row.get::<_, i64>(0)?.saturating_sub(1));
            Ok(PlacedEntry { index, entry: StoredEntry::new(row.get(1)?) })
        },
    )?;
    let is_full = entries.len() >= query.limit;
    let next = entries.last().filter(|_| is_full).map(|last| last.index.saturating_add(1));
    Ok(TrailPage { entries, next })
}

pub(crate) fn trail_of(tables: &Connection, subject: &str) -> rusqlite::Result<Vec<StoredEntry>> {
    many(tables, "SELECT entry FROM audit WHERE subject = ?1 ORDER BY seq", [subject], |row| {
        row.get(0).map(StoredEntry::new)
    })
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
