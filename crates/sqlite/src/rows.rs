//! The queries: rows in, domain values out. Used by readers, and by writers for their conditions.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use placet_core::Timestamp;
use placet_core::audit::{AuditEntry, ChainHead};
use placet_core::id::{ApprovalId, RequestId, RequestKey, ReviewerId};
use placet_core::request::stored::{self as requests, Unreadable};
use placet_core::request::{ApprovalRequest, Request, Status};
use placet_core::time::DAY_MS;
use placet_gate::Fault;
use placet_gate::ports::{
    Closing, Hook, MessageEnd, OutboxMessage, OutboxSubject, PastMessage, PolicyRecord, PushDevice, Quota,
    SentMessage, StoreQuery, Tallied,
};
use placet_gate::stored;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};
use serde::de::DeserializeOwned;

use crate::PlacedEntry;
use crate::lately::Lately;
use crate::schema::Newer;

/// Sorts after every ULID.
const AFTER_ALL: &str = "~";

pub(crate) fn request_of(tables: &Connection, key: RequestKey) -> rusqlite::Result<Option<Request>> {
    tables
        .prepare_cached(
            "SELECT version, state, question FROM requests JOIN questions USING (id) WHERE key = ?1",
        )?
        .query_row([key.as_bytes()], request)
        .optional()
}

/// The same. What was asked a moment ago is not read again.
pub(crate) fn request_again(
    tables: &Connection,
    key: RequestKey,
    lately: &Lately,
) -> rusqlite::Result<Option<Request>> {
    let known = tables
        .prepare_cached("SELECT version, state, approval_id FROM requests WHERE key = ?1")?
        .query_row([key.as_bytes()], |row| {
            let Some(asked) = lately.get(&parsed(row, 2, ApprovalId::parse)?) else { return Ok(None) };
            requests::read_again(asked, row.get_ref(1)?.as_str()?, version(row, 0)?)
                .map(Some)
                .map_err(|error| unreadable(1, error))
        })
        .optional()?;
    if let Some(None) = known {
        let request = request_of(tables, key)?;
        if let Some(request) = &request {
            lately.keep(request.asked());
        }
        return Ok(request);
    }
    Ok(known.flatten())
}

/// Fails where there is no such request.
pub(crate) fn version_of(tables: &Connection, key: RequestKey) -> rusqlite::Result<i64> {
    tables
        .prepare_cached("SELECT version FROM requests WHERE key = ?1")?
        .query_row([key.as_bytes()], |row| row.get(0))
}

/// The oldest request of the same client, with the same action and payload, that waits.
pub(crate) fn pending_duplicate(
    tables: &Connection,
    asked: &ApprovalRequest,
) -> rusqlite::Result<Option<RequestId>> {
    tables
        .prepare_cached(
            "SELECT json_extract(question, '$.request_id') FROM requests JOIN questions USING (id) \
             WHERE status = 'pending' AND payload_sha256 = ?1 AND client = ?2 AND action = ?3 \
             ORDER BY id LIMIT 1",
        )?
        .query_row(params![asked.payload_sha256, asked.client.as_str(), asked.action], |row| {
            parsed(row, 0, RequestId::parse)
        })
        .optional()
}

pub(crate) fn closing(tables: &Connection, until: Timestamp, limit: usize) -> rusqlite::Result<Vec<Closing>> {
    many(
        tables,
        "SELECT key, closes_at FROM requests WHERE status = 'pending' AND closes_at <= ?1 \
         ORDER BY closes_at, key LIMIT ?2",
        params![until.millis(), at_most(limit)],
        |row| {
            Ok(Closing {
                key: row.get(0).map(RequestKey::from_bytes)?,
                closes_at: row.get(1).map(Timestamp::from_millis)?,
            })
        },
    )
}

pub(crate) fn due_messages(
    tables: &Connection,
    now: Timestamp,
    limit: usize,
) -> rusqlite::Result<Vec<OutboxMessage>> {
    many(
        tables,
        "SELECT id, v, key, approval_id, payload, attempt, created_at, due_at FROM outbox \
         WHERE due_at <= ?1 ORDER BY due_at LIMIT ?2",
        params![now.millis(), at_most(limit)],
        message,
    )
}

pub(crate) fn failing_messages(tables: &Connection, limit: usize) -> rusqlite::Result<Vec<OutboxMessage>> {
    many(
        tables,
        "SELECT id, v, key, approval_id, payload, attempt, created_at, due_at FROM outbox \
         WHERE attempt > 0 ORDER BY due_at DESC LIMIT ?1",
        [at_most(limit)],
        message,
    )
}

pub(crate) fn alerts_to_end(tables: &Connection, limit: usize) -> rusqlite::Result<Vec<OutboxMessage>> {
    many(
        tables,
        "SELECT id, v, key, approval_id, payload, attempt, created_at, due_at FROM outbox \
         WHERE payload ->> '$.alert_over' IS NOT NULL ORDER BY created_at, id LIMIT ?1",
        [at_most(limit)],
        message,
    )
}

pub(crate) fn message_of(tables: &Connection, id: &str) -> rusqlite::Result<Option<OutboxMessage>> {
    tables
        .prepare_cached(
            "SELECT id, v, key, approval_id, payload, attempt, created_at, due_at FROM outbox WHERE id = ?1",
        )?
        .query_row([id], message)
        .optional()
}

pub(crate) fn sent(tables: &Connection, approval: &ApprovalId) -> rusqlite::Result<Vec<SentMessage>> {
    many(
        tables,
        "SELECT v, sent FROM sent WHERE approval_id = ?1 ORDER BY name",
        [approval.as_str()],
        |row| {
            let (version, text): (u32, String) = (row.get(0)?, row.get(1)?);
            stored::read_sent(version, &text).map_err(|error| unreadable(1, error))
        },
    )
}

/// The least and the next day's least id are the bounds: ids are ULIDs, which are ordered by their time.
pub(crate) fn past_messages(tables: &Connection, day: i64) -> rusqlite::Result<Vec<PastMessage>> {
    let bound = |day: i64| ApprovalId::from_parts(Timestamp::from_millis(day.saturating_mul(DAY_MS)), 0);
    many(
        tables,
        "SELECT v, approval_id, id, payload, is_delivered, created_at, ended_at FROM past_messages \
         WHERE approval_id >= ?1 AND approval_id < ?2 ORDER BY approval_id, id",
        params![bound(day).as_str(), bound(day.saturating_add(1)).as_str()],
        |row| {
            Ok(PastMessage {
                approval_id: parsed(row, 1, ApprovalId::parse)?,
                id: row.get(2)?,
                payload: stored::read_payload(row.get(0)?, row.get_ref(3)?.as_str()?)
                    .map_err(|error| unreadable(3, error))?,
                end: if row.get(4)? { MessageEnd::Delivered } else { MessageEnd::GivenUp },
                created_at: row.get(5).map(Timestamp::from_millis)?,
                ended_at: row.get(6).map(Timestamp::from_millis)?,
            })
        },
    )
}

pub(crate) fn next_due(tables: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    // One aggregate each: SQLite answers a lone `min` from the first entry of the index.
    let (closing, due): (Option<i64>, Option<i64>) = tables
        .prepare_cached(
            "SELECT (SELECT min(closes_at) FROM requests WHERE status = 'pending'), \
             (SELECT min(due_at) FROM outbox)",
        )?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(closing.into_iter().chain(due).min().map(Timestamp::from_millis))
}

/// The index has the client and the status before the id, so that it serves the lists of one status, too: a list of
/// several reads at most `limit` entries of each, from the newest. There are few clients.
pub(crate) fn list(tables: &Connection, query: &StoreQuery) -> rusqlite::Result<Vec<Request>> {
    let clients = match &query.client {
        Some(client) => vec![client.to_string()],
        None => clients(tables)?,
    };
    let before = query.before.as_ref().map_or(AFTER_ALL, ApprovalId::as_str);
    let mut newest: Vec<(String, i64)> = Vec::new();
    for client in &clients {
        for status in Status::ALL.iter().filter(|status| query.status.is_none_or(|only| only == **status)) {
            newest.extend(many(
                tables,
                "SELECT approval_id, id FROM requests WHERE client = ?1 AND status = ?2 AND approval_id < ?3 \
                 ORDER BY approval_id DESC LIMIT ?4",
                params![client, status.as_str(), before, at_most(query.limit)],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?);
        }
    }
    newest.sort_by(|one, other| other.cmp(one));
    newest.truncate(query.limit);
    let mut by_id = tables.prepare_cached(
        "SELECT version, state, question FROM requests JOIN questions USING (id) WHERE requests.id = ?1",
    )?;
    newest.iter().map(|(_, id)| by_id.query_row([id], request)).collect()
}

/// Every client that has a request: one look into the index for each, however many requests there are.
fn clients(tables: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut clients: Vec<String> = Vec::new();
    let mut next = tables.prepare_cached("SELECT min(client) FROM requests WHERE client > ?1")?;
    loop {
        let last = clients.last().map_or("", String::as_str);
        match next.query_row([last], |row| row.get(0))? {
            Some(client) => clients.push(client),
            None => return Ok(clients),
        }
    }
}

pub(crate) fn pending(
    tables: &Connection,
    after: Option<Closing>,
    limit: usize,
) -> rusqlite::Result<Vec<Request>> {
    let (closes_at, key) =
        after.map_or((i64::MIN, [0; 16]), |after| (after.closes_at.millis(), *after.key.as_bytes()));
    many(
        tables,
        "SELECT version, state, question FROM (SELECT id, closes_at, key FROM requests \
         WHERE status = 'pending' AND (closes_at, key) > (?1, ?2) ORDER BY closes_at, key LIMIT ?3) AS page \
         JOIN requests USING (id) JOIN questions USING (id) ORDER BY page.closes_at, page.key",
        params![closes_at, key, at_most(limit)],
        request,
    )
}

/// Changes with each request that comes, ends, moves on or gets a vote.
pub(crate) fn pending_digest(tables: &Connection, limit: usize) -> rusqlite::Result<u64> {
    let mut hasher = DefaultHasher::new();
    let mut all = tables.prepare_cached(
        "SELECT key, closes_at, version FROM requests WHERE status = 'pending' ORDER BY closes_at, key LIMIT ?1",
    )?;
    let mut rows = all.query([at_most(limit)])?;
    while let Some(row) = rows.next()? {
        row.get_ref(0)?.as_blob()?.hash(&mut hasher);
        row.get::<_, i64>(1)?.hash(&mut hasher);
        row.get::<_, i64>(2)?.hash(&mut hasher);
    }
    Ok(hasher.finish())
}

pub(crate) fn tallied(tables: &Connection, account: &str, since: &[Timestamp]) -> rusqlite::Result<Tallied> {
    // The version first: what is added between the two makes the sums too great for it, and the commit is refused.
    let version = tally_version(tables, account)?;
    let mut sum = tables
        .prepare_cached("SELECT coalesce(sum(amount), 0.0) FROM tallies WHERE account = ?1 AND at > ?2")?;
    let sums = since
        .iter()
        .map(|since| sum.query_row(params![account, since.millis()], |row| row.get(0)))
        .collect::<rusqlite::Result<_>>()?;
    Ok(Tallied { version, sums })
}

pub(crate) fn tally_version(tables: &Connection, account: &str) -> rusqlite::Result<u64> {
    let last: i64 = tables
        .prepare_cached("SELECT coalesce(max(id), 0) FROM tallies WHERE account = ?1")?
        .query_row([account], |row| row.get(0))?;
    u64::try_from(last).map_err(|error| unreadable(0, error))
}

pub(crate) fn voted(
    tables: &Connection,
    reviewer: &ReviewerId,
    limit: usize,
) -> rusqlite::Result<Vec<Request>> {
    many(
        tables,
        "SELECT version, state, question FROM votes JOIN requests USING (key) JOIN questions USING (id) \
         WHERE reviewer = ?1 ORDER BY voted_at DESC LIMIT ?2",
        params![reviewer.as_str(), at_most(limit)],
        request,
    )
}

/// How many of a client's requests wait, counted no further than `most`.
pub(crate) fn pending_of(tables: &Connection, client: &str, most: u32) -> rusqlite::Result<u32> {
    tables
        .prepare_cached(
            "SELECT count(*) FROM (SELECT 1 FROM requests WHERE client = ?1 AND status = 'pending' LIMIT ?2)",
        )?
        .query_row(params![client, most], |row| row.get(0))
}

pub(crate) fn hooks(tables: &Connection) -> rusqlite::Result<Vec<Hook>> {
    many(tables, "SELECT v, hook FROM hooks ORDER BY id", [], |row| {
        stored::read_hook(row.get(0)?, row.get_ref(1)?.as_str()?).map_err(|error| unreadable(1, error))
    })
}

pub(crate) fn push_devices(tables: &Connection, reviewer: &ReviewerId) -> rusqlite::Result<Vec<PushDevice>> {
    many(
        tables,
        "SELECT v, device FROM push_devices WHERE reviewer = ?1 ORDER BY id",
        [reviewer.as_str()],
        |row| {
            stored::read_push_device(row.get(0)?, row.get_ref(1)?.as_str()?)
                .map_err(|error| unreadable(1, error))
        },
    )
}

pub(crate) fn latest_policy(tables: &Connection) -> rusqlite::Result<Option<PolicyRecord>> {
    tables
        .prepare_cached(
            "SELECT version, text, sha256, installed_at, away, paused FROM policies ORDER BY version DESC LIMIT 1",
        )?
        .query_row([], |row| {
            Ok(PolicyRecord {
                version: row.get(0)?,
                text: row.get(1)?,
                sha256: row.get(2)?,
                installed_at: row.get(3).map(Timestamp::from_millis)?,
                away: list_of(row, 4)?,
                paused: list_of(row, 5)?,
            })
        })
        .optional()
}

/// A list as JSON; empty where there is none.
fn list_of<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<T>> {
    if row.get_ref(column)? == rusqlite::types::ValueRef::Null { Ok(Vec::new()) } else { json(row, column) }
}

pub(crate) fn has_policy(tables: &Connection, version: u32) -> rusqlite::Result<bool> {
    tables.prepare_cached("SELECT 1 FROM policies WHERE version = ?1")?.exists([version])
}

pub(crate) fn latest_policy_version(tables: &Connection) -> rusqlite::Result<u32> {
    tables.prepare_cached("SELECT coalesce(max(version), 0) FROM policies")?.query_row([], |row| row.get(0))
}

pub(crate) fn quota_used(tables: &Connection, quota: &Quota) -> rusqlite::Result<i64> {
    let used = tables
        .prepare_cached("SELECT used FROM quotas WHERE client = ?1 AND minute = ?2")?
        .query_row(params![quota.client.as_str(), quota.minute], |row| row.get(0))
        .optional()?;
    Ok(used.unwrap_or(0))
}

pub(crate) fn has_audit(tables: &Connection, subject: &str, seq: u32) -> rusqlite::Result<bool> {
    tables
        .prepare_cached("SELECT 1 FROM audit WHERE subject = ?1 AND seq = ?2")?
        .exists(params![subject, seq])
}

pub(crate) fn chain(tables: &Connection, subject: &str) -> rusqlite::Result<ChainHead> {
    let last: Option<AuditEntry> = tables
        .prepare_cached("SELECT entry FROM audit WHERE subject = ?1 ORDER BY seq DESC LIMIT 1")?
        .query_row([subject], |row| json(row, 0))
        .optional()?;
    Ok(last.map_or_else(ChainHead::default, |last| ChainHead { seq: last.seq, hash: last.hash }))
}

pub(crate) fn audit_of(tables: &Connection, subject: &str) -> rusqlite::Result<Vec<AuditEntry>> {
    many(tables, "SELECT entry FROM audit WHERE subject = ?1 ORDER BY seq", [subject], |row| json(row, 0))
}

pub(crate) fn audit_page(
    tables: &Connection,
    after_position: i64,
    limit: usize,
) -> rusqlite::Result<Vec<PlacedEntry>> {
    many(
        tables,
        "SELECT position, entry FROM audit WHERE position > ?1 ORDER BY position LIMIT ?2",
        params![after_position, at_most(limit)],
        |row| Ok(PlacedEntry { position: row.get(0)?, entry: json(row, 1)?, text: row.get(1)? }),
    )
}

/// A limit as SQLite takes it.
pub(crate) fn at_most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// All rows of a query.
pub(crate) fn many<T>(
    tables: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    tables.prepare_cached(sql)?.query_map(params, read)?.collect()
}

fn request(row: &Row<'_>) -> rusqlite::Result<Request> {
    let (state, question) = (row.get_ref(1)?.as_str()?, row.get_ref(2)?.as_str()?);
    requests::read(question, state, version(row, 0)?).map_err(|error| unreadable(1, error))
}

fn version(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let version: i64 = row.get(column)?;
    u64::try_from(version).map_err(|error| unreadable(column, error))
}

fn message(row: &Row<'_>) -> rusqlite::Result<OutboxMessage> {
    let key: Option<[u8; 16]> = row.get(2)?;
    let subject = match key {
        Some(key) => OutboxSubject::Approval {
            key: RequestKey::from_bytes(key),
            approval_id: parsed(row, 3, ApprovalId::parse)?,
        },
        None => OutboxSubject::Gate,
    };
    let payload = stored::read_payload(row.get(1)?, row.get_ref(4)?.as_str()?);
    Ok(OutboxMessage {
        id: row.get(0)?,
        subject,
        payload: payload.map_err(|error| unreadable(4, error))?,
        attempt: row.get(5)?,
        created_at: row.get(6).map(Timestamp::from_millis)?,
        due_at: row.get(7).map(Timestamp::from_millis)?,
    })
}

/// An error of the database's as a fault. What a newer version of Placet has written is named as that.
pub(crate) fn fault(what: &'static str, error: &rusqlite::Error) -> Fault {
    use rusqlite::Error::{FromSqlConversionFailure, ToSqlConversionFailure};
    let what = match error {
        FromSqlConversionFailure(_, _, cause) | ToSqlConversionFailure(cause)
            if matches!(cause.downcast_ref(), Some(Unreadable::Newer(_))) || cause.is::<Newer>() =>
        {
            stored::NEWER
        }
        _ => what,
    };
    Fault::new(what, error.to_string())
}

fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text).map_err(|error| unreadable(column, error))
}

fn parsed<T, E: std::error::Error + Send + Sync + 'static>(
    row: &Row<'_>,
    column: usize,
    parse: fn(&str) -> Result<T, E>,
) -> rusqlite::Result<T> {
    parse(row.get_ref(column)?.as_str()?).map_err(|error| unreadable(column, error))
}

fn unreadable(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}
