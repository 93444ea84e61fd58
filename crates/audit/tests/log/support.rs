//! A log in memory, as an export has it, with everything that can be done to one.

use std::collections::BTreeMap;
use std::convert::Infallible;

use ed25519_dalek::SigningKey;
use placet_audit::verify::Files;
use placet_audit::{Checkpoint, Edge, Hash, LogKey, StoredEntry, TileName, Tiles, WIDTH, width_at};
use placet_core::Timestamp;
use placet_core::audit::{AuditEvent, AuditEventKind, ChainHead, Channel, RequestFacts};

/// The log's key in these tests.
pub(crate) fn log_key() -> LogKey {
    LogKey::from_key(SigningKey::from_bytes(&[7; 32]))
}

/// Entries of requests that go on beside each other, in the order of the log.
pub(crate) fn entries(count: usize) -> Vec<StoredEntry> {
    let mut chains: Vec<ChainHead> = vec![ChainHead::default(); 5];
    (0..count).map(|number| entry(number, &mut chains)).collect()
}

fn entry(number: usize, chains: &mut [ChainHead]) -> StoredEntry {
    let which = number * 7 % 5;
    let about = RequestFacts {
        request_id: format!("r{which}"),
        client: "n8n".into(),
        action: "payment.send".into(),
        payload_sha256: "0".repeat(64),
        rule: Some("payments".into()),
        policy: 1,
    };
    let event = AuditEvent {
        timestamp: Timestamp::from_millis(1_700_000_000_000 + number as i64),
        kind: AuditEventKind::VoteCast,
        actor: "Zoë \"Z\"".into(),
        channel: Channel::Page,
        approved: true,
        approved_by: None,
        token_hash: None,
        detail: Some(format!("vote {number}\n")),
    };
    let entry = chains[which].append(&format!("01ARZ3NDEKTSV4RRFFQ69G5FA{which}"), Some(&about), event);
    StoredEntry::new(serde_json::to_string(&entry).unwrap())
}

/// A log as an export has it.
#[derive(Clone)]
pub(crate) struct Log {
    pub(crate) lines: Vec<String>,
    pub(crate) tiles: BTreeMap<TileName, Vec<u8>>,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) note: String,
}

impl Log {
    pub(crate) fn of(lines: &[String]) -> Self {
        let leaves: Vec<Hash> =
            lines.iter().map(|line| StoredEntry::new(line.clone()).leaf_hash().unwrap_or([9; 32])).collect();
        Self::over(lines, &leaves)
    }

    /// A log whose leaves are these, whatever the entries say.
    pub(crate) fn over(lines: &[String], leaves: &[Hash]) -> Self {
        let mut edge = Edge::default();
        let full = edge.append(leaves.iter().copied());
        let mut hashes: BTreeMap<(u8, u64), Vec<u8>> =
            full.into_iter().map(|tile| ((tile.level, tile.number), tile.hashes)).collect();
        let size = leaves.len() as u64;
        for (level, tile) in edge.levels().into_iter().enumerate() {
            let number = (size >> (8 * level)) / WIDTH;
            if !tile.is_empty() {
                hashes.insert((level as u8, number), tile);
            }
        }
        let mut tiles = BTreeMap::new();
        for name in TileName::all(size, 0) {
            let bytes = match name.level {
                Some(level) => hashes[&(level, name.number)].clone(),
                None => bundle(lines, name),
            };
            tiles.insert(name, bytes);
        }
        let key = log_key();
        let checkpoint = Checkpoint { origin: key.origin().to_owned(), size, root: edge.root() };
        Self { lines: lines.to_vec(), tiles, note: key.checkpoint(size, edge.root()), checkpoint }
    }

    /// All its hash tiles.
    pub(crate) fn hashes(&self) -> Tiles {
        let mut tiles = Tiles::default();
        for (name, bytes) in &self.tiles {
            if let Some(level) = name.level {
                tiles.insert(level, name.number, bytes.clone());
            }
        }
        tiles
    }
}

fn bundle(lines: &[String], name: TileName) -> Vec<u8> {
    let start = (name.number * WIDTH) as usize;
    let width = usize::from(width_at(lines.len() as u64, 0, name.number));
    let mut bytes = Vec::new();
    for line in lines.iter().skip(start).take(width) {
        let leaf = StoredEntry::new(line.clone()).leaf().unwrap_or_default();
        bytes.extend(u16::try_from(leaf.len()).unwrap().to_be_bytes());
        bytes.extend(leaf);
    }
    bytes
}

impl Files for Log {
    type Error = Infallible;

    fn tile(&self, name: TileName) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.tiles.get(&name).cloned())
    }

    fn entries(&self) -> Result<impl Iterator<Item = Result<String, Infallible>>, Infallible> {
        Ok(self.lines.clone().into_iter().map(Ok))
    }
}

/// The texts of so many entries.
pub(crate) fn lines(count: usize) -> Vec<String> {
    entries(count).iter().map(|entry| entry.text().to_owned()).collect()
}
