//! The transparency log in these tables: markers, sealing, tiles, and pages of the trail.
//!
//! Each commit adds one marker, in its own transaction, that names the entries which it wrote. A tick reads some markers
//! and writes one transaction: the head, if it is still the one that was read; the tiles and blocks that are full now;
//! where each marker's entries are; and the markers go. The condition on the head's size is the lock: of two sequencers
//! one writes, and an entry whose marker is gone is in the log, once.
//!
//! In `requests`: `log`, `head` (size, root, horizon, and the right edge: the last tile of each level and the last block
//! of the order); `seal#<shard>`, `<time>#<chain>#<number>` (a marker). In `audit`, written once and never changed:
//! `log#tile#<level>` by number (a full tile), `log#order` by number (256 entries in their order), `log#at#<chain>` by a
//! marker's first entry (the place of its entries).

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, Delete, KeysAndAttributes, Put, TransactWriteItem};
use placet_audit::{EMPTY_ROOT, Edge, Hash, StoredEntry, WIDTH};
use placet_core::Timestamp;
use placet_core::audit::AuditEntry;
use placet_gate::Fault;
use placet_gate::ports::{LogHead, PlacedEntry, Sealed, TrailPage, TrailQuery};

use crate::items::{self, EXPIRES_AT, Item, PK, SEQ, SHARDS, SK, SUBJECT, address, item, number, text};
use crate::parts::{delete, put};
use crate::queries::up_to;
use crate::{Inner, pause_before, random_hex};

/// How many markers one tick takes: each is two parts of its transaction, which takes a hundred.
const MARKERS: usize = 40;

/// How many entries one tick takes: they fill at most two tiles of the lowest level.
const ENTRIES: u64 = 256;

/// How many keys one `BatchGetItem` takes.
const BATCH: usize = 100;

/// How often what a batch left out is asked for again.
const BATCH_TRIES: u32 = 8;

/// How many blocks of 256 entries are looked through for one page.
const BLOCKS: u64 = 64;

/// How many blocks the horizon moves in one tick at most.
const HORIZON_BLOCKS: u64 = 64;

const TILES: &str = "log#tile#";
const ORDER: &str = "log#order";
const AT: &str = "log#at#";
const LEAVES: &str = "leaves";
const ROOT: &str = "root";
const MIN_INDEX: &str = "min_index";
const EDGE: &str = "edge";
const REFS: &str = "refs";
const FROM_AT: &str = "from_at";
const TO_AT: &str = "to_at";
const HASHES: &str = "hashes";
const INDEX: &str = "first_index";
const LAST: &str = "last";

const UNREAD: &str = "the log could not be read";
const UNWRITTEN: &str = "the log could not be written";

/// The names of some entries, in the order of the log, and between which times they were recorded.
#[derive(Clone, Debug, Default)]
struct Block {
    refs: Vec<EntryRef>,
    from_at: i64,
    to_at: i64,
}

/// An entry's chain and its number in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EntryRef {
    subject: String,
    seq: u32,
}

/// Entries that one commit wrote and that are not sealed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Marker {
    pk: String,
    sk: String,
    subject: String,
    first: u32,
    last: u32,
}

/// The head with the right edge, and the last block of the order as far as it is filled.
struct Head {
    log: LogHead,
    edge: Edge,
    block: Block,
}

/// The markers of entries that a commit writes.
pub(crate) fn markers(audit: &[AuditEntry]) -> Vec<Item> {
    let mut found: Vec<(Item, &AuditEntry, u32)> = Vec::new();
    for entry in audit {
        if let Some((_, first, last)) = found.last_mut()
            && first.subject == entry.subject
            && last.saturating_add(1) == entry.seq
        {
            *last = entry.seq;
            continue;
        }
        // A request's times never go back. The gate's own chains have no such rule: they are ordered by number alone.
        let at = if entry.about.is_some() { entry.timestamp.millis() } else { 0 };
        let shard = entry.subject.bytes().fold(0_u8, u8::wrapping_add) % SHARDS;
        let sk = format!("{at:015}#{}#{:010}", entry.subject, entry.seq);
        found.push((items::new_item(address(format!("seal#{shard}"), sk)), entry, entry.seq));
    }
    found
        .into_iter()
        .map(|(mut marker, first, last)| {
            marker.extend(item([
                (SUBJECT, text(first.subject.as_str())),
                (SEQ, number(first.seq)),
                (LAST, number(last)),
            ]));
            marker
        })
        .collect()
}

impl Inner {
    pub(crate) async fn seal(&self) -> Result<Sealed, Fault> {
        let mut markers = self.markers(MARKERS).await?;
        let waiting = markers.len();
        let old = self.head().await?;
        let min_index = self.horizon(&old).await?;
        let mut count = 0;
        markers.truncate(MARKERS);
        markers.retain(|marker| {
            count += u64::from(marker.last.saturating_sub(marker.first)) + 1;
            count <= ENTRIES
        });
        let more = waiting >= MARKERS || markers.len() < waiting;
        if markers.is_empty() && min_index == old.log.min_index {
            return Ok(Sealed::default());
        }
        let refs: Vec<EntryRef> = markers.iter().flat_map(Marker::refs).collect();
        let found = self.entries_of(&refs).await?;
        let (mut edge, mut block) = (old.edge.clone(), old.block.clone());
        let (mut leaves, mut blocks): (Vec<Hash>, Vec<(u64, Block)>) = (Vec::new(), Vec::new());
        for (place, entry_ref) in (old.log.leaves..).zip(&refs) {
            let entry =
                found.get(entry_ref).ok_or(Fault::bare("an entry that is to be sealed is missing"))?;
            let leaf = items::stored_entry(entry)?.leaf_hash();
            leaves.push(leaf.ok_or(Fault::bare("an entry of the audit trail cannot be read"))?);
            block.push(entry_ref.clone(), items::recorded_at(entry)?.millis());
            if block.refs.len() as u64 == WIDTH {
                blocks.push((place / WIDTH, std::mem::take(&mut block)));
            }
        }
        let entries = leaves.len() as u64;
        let mut parts = Vec::new();
        for tile in edge.append(leaves) {
            let mut new = audit_item(format!("{TILES}{}", tile.level), tile.number);
            new.insert(HASHES.to_owned(), bytes(tile.hashes));
            parts.push(self.put_audit(new)?);
        }
        for (place, full) in blocks {
            let mut new = audit_item(ORDER.to_owned(), place);
            new.extend(full.attributes());
            parts.push(self.put_audit(new)?);
        }
        let mut index = old.log.leaves;
        for marker in &markers {
            let first = marker.refs().next().and_then(|entry_ref| found.get(&entry_ref));
            let mut new = audit_item(format!("{AT}{}", marker.subject), u64::from(marker.first));
            new.extend(item([(INDEX, number(index)), (LAST, number(marker.last))]));
            new.extend(
                first.and_then(|entry| entry.get_key_value(EXPIRES_AT)).map(|(k, v)| (k.clone(), v.clone())),
            );
            parts.push(self.put_audit(new)?);
            parts.push(delete(
                Delete::builder()
                    .table_name(&self.tables.requests)
                    .set_key(Some(address(marker.pk.as_str(), marker.sk.as_str())))
                    .condition_expression(format!("attribute_exists({PK})")),
            )?);
            index += u64::from(marker.last - marker.first) + 1;
        }
        let head = LogHead { leaves: edge.leaves(), root: edge.root(), min_index };
        parts.push(self.put_head(&old.log, &Head { log: head, edge, block })?);
        let is_ours = self.write_log(parts).await?;
        // Where another sequencer was first, it goes on.
        Ok(Sealed { entries: if is_ours { entries } else { 0 }, more: is_ours && more })
    }

    /// `false` if another sequencer was first.
    async fn write_log(&self, parts: Vec<TransactWriteItem>) -> Result<bool, Fault> {
        let written = self
            .client
            .transact_write_items()
            .set_transact_items(Some(parts))
            .client_request_token(random_hex()?)
            .send()
            .await;
        match written {
            Ok(_) => Ok(true),
            Err(error) if error.as_service_error().is_some_and(is_lost) => Ok(false),
            Err(error) => Err(Fault::new(UNWRITTEN, error)),
        }
    }

    fn put_audit(&self, new: Item) -> Result<TransactWriteItem, Fault> {
        put(Put::builder()
            .table_name(&self.tables.audit)
            .set_item(Some(new))
            .condition_expression(format!("attribute_not_exists({SUBJECT})")))
    }

    fn put_head(&self, old: &LogHead, new: &Head) -> Result<TransactWriteItem, Fault> {
        let mut head = items::new_item(address("log", "head"));
        head.extend(item([
            (LEAVES, number(new.log.leaves)),
            (ROOT, bytes(new.log.root.to_vec())),
            (MIN_INDEX, number(new.log.min_index)),
            (EDGE, AttributeValue::L(new.edge.levels().into_iter().map(bytes).collect())),
        ]));
        head.extend(new.block.attributes());
        let base = Put::builder().table_name(&self.tables.requests).set_item(Some(head));
        let base = if old.leaves == 0 {
            base.condition_expression(format!("attribute_not_exists({PK}) OR {LEAVES} = :old"))
        } else {
            base.condition_expression(format!("{LEAVES} = :old"))
        };
        put(base.expression_attribute_values(":old", number(old.leaves)))
    }

    pub(crate) async fn log_head(&self) -> Result<LogHead, Fault> {
        Ok(self.head().await?.log)
    }

    async fn head(&self) -> Result<Head, Fault> {
        let found = self.get(&self.tables.requests, address("log", "head")).await?;
        let Some(found) = found else {
            return Ok(Head { log: LogHead::default(), edge: Edge::default(), block: Block::default() });
        };
        let leaves = items::whole(&found, LEAVES)?;
        let levels: Vec<Vec<u8>> = match found.get(EDGE) {
            Some(AttributeValue::L(levels)) => levels.iter().map(raw).collect::<Result<_, _>>()?,
            Some(_) | None => return Err(Fault::bare(UNREAD)),
        };
        let root = found.get(ROOT).map(raw).transpose()?.and_then(|root| root.try_into().ok());
        let head =
            LogHead { leaves, root: root.unwrap_or(EMPTY_ROOT), min_index: items::whole(&found, MIN_INDEX)? };
        let edge = Edge::new(leaves, &levels).ok_or(Fault::bare("the log's edge is not that of its head"))?;
        Ok(Head { log: head, edge, block: Block::of(&found)? })
    }

    pub(crate) async fn log_tile(&self, level: u8, place: u64) -> Result<Option<Vec<u8>>, Fault> {
        let head = self.head().await?;
        let hashes = head.log.leaves.checked_shr(8 * u32::from(level)).unwrap_or(0);
        if place == hashes / WIDTH && hashes % WIDTH > 0 {
            return Ok(head.edge.levels().into_iter().nth(usize::from(level)));
        }
        let found = self.get(&self.tables.audit, audit_key(&format!("{TILES}{level}"), place)).await?;
        found.as_ref().and_then(|item| item.get(HASHES)).map(raw).transpose()
    }

    pub(crate) async fn log_index(&self, subject: &str, seq: u32) -> Result<Option<u64>, Fault> {
        let query = self
            .client
            .query()
            .table_name(&self.tables.audit)
            .key_condition_expression(format!("{SUBJECT} = :subject AND {SEQ} <= :seq"))
            .expression_attribute_values(":subject", text(format!("{AT}{subject}")))
            .expression_attribute_values(":seq", number(seq))
            .consistent_read(true)
            .scan_index_forward(false);
        let found = up_to(1, query).await?;
        let Some(at) = found.first() else { return Ok(None) };
        let (first, last) = (items::whole(at, SEQ)?, items::whole(at, LAST)?);
        let index = items::whole(at, INDEX)?.saturating_add(u64::from(seq).saturating_sub(first));
        Ok((u64::from(seq) <= last).then_some(index))
    }

    pub(crate) async fn trail_of(&self, subject: &str) -> Result<Vec<StoredEntry>, Fault> {
        let found = up_to(usize::MAX, self.entries(subject)).await?;
        found.iter().map(items::stored_entry).collect()
    }

    pub(crate) async fn trail(&self, query: &TrailQuery) -> Result<TrailPage, Fault> {
        let mut page = TrailPage::default();
        let mut head = self.head().await?;
        let (mut from, mut looked) = (query.from, 0);
        loop {
            while from < head.log.leaves {
                if looked >= BLOCKS {
                    page.next = Some(from);
                    return Ok(page);
                }
                looked += 1;
                from = self.block_of(query, &head, from, &mut page).await?;
                if page.entries.len() >= query.limit {
                    page.next = Some(from);
                    return Ok(page);
                }
            }
            // What is sealed between these two reads is found in the log by the next turn.
            let markers = self.markers(1000).await?;
            let now = self.head().await?;
            if now.log.leaves == head.log.leaves {
                self.tail(query, from, &now.log, &markers, &mut page).await?;
                return Ok(page);
            }
            head = now;
        }
    }

    /// The entries of one block from `from` on. Returns the place behind the last one that was looked at.
    async fn block_of(
        &self,
        query: &TrailQuery,
        head: &Head,
        from: u64,
        page: &mut TrailPage,
    ) -> Result<u64, Fault> {
        let (place, skipped) = (from / WIDTH, usize::try_from(from % WIDTH).unwrap_or_default());
        let end = place.saturating_add(1).saturating_mul(WIDTH).min(head.log.leaves);
        let block = if place == head.log.leaves / WIDTH {
            head.block.clone()
        } else {
            let found = self.get(&self.tables.audit, audit_key(ORDER, place)).await?;
            Block::of(&found.ok_or(Fault::bare("a part of the log's order is missing"))?)?
        };
        let is_before = query.until.is_some_and(|until| block.from_at >= until.millis());
        if is_before || query.since.is_some_and(|since| block.to_at < since.millis()) {
            return Ok(end);
        }
        let wanted = block.refs.get(skipped..).unwrap_or_default();
        let found = self.entries_of(wanted).await?;
        for (index, entry_ref) in (from..).zip(wanted) {
            // Past its retention, it may be gone.
            let Some(entry) = found.get(entry_ref) else { continue };
            if !is_in_time(query, items::recorded_at(entry)?) {
                continue;
            }
            page.entries.push(PlacedEntry { index, entry: items::stored_entry(entry)? });
            if page.entries.len() >= query.limit {
                return Ok(index.saturating_add(1));
            }
        }
        Ok(end)
    }

    /// The entries that are not sealed yet, in the order in which they would be.
    async fn tail(
        &self,
        query: &TrailQuery,
        from: u64,
        head: &LogHead,
        markers: &[Marker],
        page: &mut TrailPage,
    ) -> Result<(), Fault> {
        let skipped = usize::try_from(from.saturating_sub(head.leaves)).unwrap_or(usize::MAX);
        let refs: Vec<EntryRef> = markers.iter().flat_map(Marker::refs).skip(skipped).collect();
        let mut index = head.leaves.max(from);
        for refs in refs.chunks(BATCH) {
            let found = self.entries_of(refs).await?;
            for entry_ref in refs {
                let entry = found.get(entry_ref).ok_or(Fault::bare("an entry of the trail is missing"))?;
                if is_in_time(query, items::recorded_at(entry)?) {
                    page.entries.push(PlacedEntry { index, entry: items::stored_entry(entry)? });
                }
                index = index.saturating_add(1);
                if page.entries.len() >= query.limit {
                    page.next = Some(index);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// How far retention has come: by whole blocks whose newest entry is past it, and never to the log's end.
    async fn horizon(&self, old: &Head) -> Result<u64, Fault> {
        let before = self.clock.now().plus_millis(self.keep.audit_seconds.saturating_mul(-1000)).millis();
        let mut min_index = old.log.min_index;
        for _ in 0..HORIZON_BLOCKS {
            if min_index.saturating_add(WIDTH) >= old.log.leaves {
                break;
            }
            let found = self.get(&self.tables.audit, audit_key(ORDER, min_index / WIDTH)).await?;
            let block = Block::of(&found.ok_or(Fault::bare("a part of the log's order is missing"))?)?;
            if block.to_at >= before {
                break;
            }
            min_index = min_index.saturating_add(WIDTH);
        }
        Ok(min_index)
    }

    /// Markers in the order in which their entries are to be sealed, at most so many of each shard.
    async fn markers(&self, limit: usize) -> Result<Vec<Marker>, Fault> {
        let query = |shard: u8| up_to(limit, self.partition(&format!("seal#{shard}")));
        let found = self.each_shard(query).await?;
        let mut all: Vec<Marker> = found.iter().flatten().map(Marker::of).collect::<Result<_, Fault>>()?;
        all.sort_by(|one, other| one.sk.cmp(&other.sk));
        Ok(all)
    }

    async fn entries_of(&self, refs: &[EntryRef]) -> Result<HashMap<EntryRef, Item>, Fault> {
        let mut found = HashMap::new();
        for refs in refs.chunks(BATCH) {
            let mut left: Vec<Item> =
                refs.iter().map(|entry| audit_key(&entry.subject, u64::from(entry.seq))).collect();
            for attempt in 0..=BATCH_TRIES {
                if attempt == BATCH_TRIES {
                    return Err(Fault::bare("the database reads too slowly"));
                }
                pause_before(attempt).await?;
                let keys = KeysAndAttributes::builder()
                    .set_keys(Some(left))
                    .consistent_read(true)
                    .build()
                    .map_err(|error| Fault::new(UNREAD, error))?;
                let answer = self
                    .client
                    .batch_get_item()
                    .request_items(&self.tables.audit, keys)
                    .send()
                    .await
                    .map_err(|error| Fault::new(UNREAD, error))?;
                for entry in answer.responses.into_iter().flatten().flat_map(|(_, entries)| entries) {
                    let seq = u32::try_from(items::whole(&entry, SEQ)?).unwrap_or(u32::MAX);
                    found
                        .insert(EntryRef { subject: items::string(&entry, SUBJECT)?.to_owned(), seq }, entry);
                }
                left =
                    answer.unprocessed_keys.into_iter().flatten().flat_map(|(_, keys)| keys.keys).collect();
                if left.is_empty() {
                    break;
                }
            }
        }
        Ok(found)
    }

    async fn get(&self, table: &str, key: Item) -> Result<Option<Item>, Fault> {
        let found = self
            .client
            .get_item()
            .table_name(table)
            .set_key(Some(key))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| Fault::new(UNREAD, error))?;
        Ok(found.item)
    }
}

fn is_in_time(query: &TrailQuery, at: Timestamp) -> bool {
    query.since.is_none_or(|since| at >= since) && query.until.is_none_or(|until| at < until)
}

/// Whether another sequencer has written, or is writing, the same.
fn is_lost(error: &aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError) -> bool {
    use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError as Refused;
    let Refused::TransactionCanceledException(cancelled) = error else { return false };
    let is_race = |code: Option<&str>| matches!(code, Some("ConditionalCheckFailed" | "TransactionConflict"));
    cancelled.cancellation_reasons().iter().any(|reason| is_race(reason.code.as_deref()))
}

impl Marker {
    fn of(item: &Item) -> Result<Self, Fault> {
        let number = |name| Ok::<u32, Fault>(u32::try_from(items::whole(item, name)?).unwrap_or(u32::MAX));
        let text = |name| items::string(item, name).map(str::to_owned);
        Ok(Self {
            pk: text(PK)?,
            sk: text(SK)?,
            subject: text(SUBJECT)?,
            first: number(SEQ)?,
            last: number(LAST)?,
        })
    }

    fn refs(&self) -> impl Iterator<Item = EntryRef> + '_ {
        (self.first..=self.last).map(|seq| EntryRef { subject: self.subject.clone(), seq })
    }
}

impl Block {
    fn push(&mut self, entry: EntryRef, at: i64) {
        (self.from_at, self.to_at) =
            if self.refs.is_empty() { (at, at) } else { (self.from_at.min(at), self.to_at.max(at)) };
        self.refs.push(entry);
    }

    fn attributes(&self) -> Item {
        let refs = self.refs.iter().map(|entry| text(format!("{}#{}", entry.subject, entry.seq)));
        item([
            (REFS, AttributeValue::L(refs.collect())),
            (FROM_AT, number(self.from_at)),
            (TO_AT, number(self.to_at)),
        ])
    }

    fn of(item: &Item) -> Result<Self, Fault> {
        let Some(AttributeValue::L(refs)) = item.get(REFS) else { return Err(Fault::bare(UNREAD)) };
        let entry_ref = |value: &AttributeValue| {
            let (subject, seq) = value.as_s().ok()?.rsplit_once('#')?;
            Some(EntryRef { subject: subject.to_owned(), seq: seq.parse().ok()? })
        };
        let refs = refs.iter().map(entry_ref).collect::<Option<_>>().ok_or(Fault::bare(UNREAD))?;
        Ok(Self { refs, from_at: items::millis(item, FROM_AT)?, to_at: items::millis(item, TO_AT)? })
    }
}

fn audit_key(subject: &str, seq: u64) -> Item {
    item([(SUBJECT, text(subject)), (SEQ, number(seq))])
}

fn audit_item(subject: String, seq: u64) -> Item {
    items::new_item(item([(SUBJECT, text(subject)), (SEQ, number(seq))]))
}

fn bytes(bytes: Vec<u8>) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}

fn raw(value: &AttributeValue) -> Result<Vec<u8>, Fault> {
    value.as_b().map(|blob| blob.as_ref().to_vec()).map_err(|_| Fault::bare(UNREAD))
}
