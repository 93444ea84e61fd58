//! The queries: rows in, domain values out. Used by readers, and by writers for their conditions.

use placet_core::Timestamp;
use placet_core::audit::{AuditEntry, ChainHead};
use placet_core::id::{ApprovalId, RequestId, RequestKey};
use placet_core::request::{ApprovalRequest, Request};
use placet_gate::ports::{Closing, Hook, OutboxMessage, PolicyRecord, Quota, StoreQuery};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};
use serde::de::DeserializeOwned;

use crate::PlacedEntry;

/// Sorts after every ULID.
const AFTER_ALL: &str = "~";

pub(crate) fn request_of(tables: &Connection, key: RequestKey) -> rusqlite::Result<Option<Request>> {
    tables
        .prepare_cached("SELECT version, life, asked FROM requests JOIN asked USING (id) WHERE key = ?1")?
        .query_row([key.as_bytes()], request)
        .optional()
}

/// Fails where there is no such request.
pub(crate) fn version_of(tables: &Connection, key: RequestKey) -> rusqlite::Result<i64> {
    tables
        .prepare_cached("SELECT version FROM requests WHERE key = ?1")?
        .query_row([key.as_bytes()], |row| row.get(0))
}

/// The oldest request of the same client, with the same action and payload, that waits.
pub(crate) fn pending_twin(
    tables: &Connection,
    asked: &ApprovalRequest,
) -> rusqlite::Result<Option<RequestId>> {
    tables
        .prepare_cached(
            "SELECT json_extract(asked, '$.request_id') FROM requests JOIN asked USING (id) \
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
         ORDER BY closes_at LIMIT ?2",
        params![until.millis(), at_most(limit)],
        |row| {
            Ok(Closing {
                key: row.get(0).map(RequestKey::from_bytes)?,
                closes_at: row.get(1).map(Timestamp::from_millis)?,
            })
        },
    )
}

pub(crate) fn due_outgoing(
    tables: &Connection,
    now: Timestamp,
    limit: usize,
) -> rusqlite::Result<Vec<OutboxMessage>> {
    many(
        tables,
        "SELECT id, key, approval_id, what, attempt, created_at, due_at FROM outgoing \
         WHERE due_at <= ?1 ORDER BY due_at LIMIT ?2",
        params![now.millis(), at_most(limit)],
        outgoing,
    )
}

pub(crate) fn outgoing_of(tables: &Connection, key: RequestKey) -> rusqlite::Result<Vec<OutboxMessage>> {
    many(
        tables,
        "SELECT id, key, approval_id, what, attempt, created_at, due_at FROM outgoing \
         WHERE key = ?1 ORDER BY due_at, id",
        [key.as_bytes()],
        outgoing,
    )
}

pub(crate) fn next_due(tables: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    // One aggregate each: SQLite answers a lone `min` from the first entry of the index.
    let (closing, due): (Option<i64>, Option<i64>) = tables
        .prepare_cached(
            "SELECT (SELECT min(closes_at) FROM requests WHERE status = 'pending'), \
             (SELECT min(due_at) FROM outgoing)",
        )?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(closing.into_iter().chain(due).min().map(Timestamp::from_millis))
}

pub(crate) fn list(tables: &Connection, query: &StoreQuery) -> rusqlite::Result<Vec<Request>> {
    let client = query.client.as_str();
    let before = query.before.as_ref().map_or(AFTER_ALL, ApprovalId::as_str);
    let limit = at_most(query.limit);
    match &query.status {
        Some(status) => many(
            tables,
            "SELECT version, life, asked FROM requests JOIN asked USING (id) \
             WHERE client = ?1 AND status = ?4 AND approval_id < ?2 ORDER BY approval_id DESC LIMIT ?3",
            params![client, before, limit, status],
            request,
        ),
        // The index has the status before the id, so that one index serves both lists: each branch reads at most
        // `limit` entries, from the newest.
        None => many(
            tables,
            "SELECT version, life, asked FROM ( \
             SELECT * FROM (SELECT id, approval_id FROM requests WHERE client = ?1 AND status = 'pending' \
             AND approval_id < ?2 ORDER BY approval_id DESC LIMIT ?3) \
             UNION ALL SELECT * FROM (SELECT id, approval_id FROM requests WHERE client = ?1 AND status = 'approved' \
             AND approval_id < ?2 ORDER BY approval_id DESC LIMIT ?3) \
             UNION ALL SELECT * FROM (SELECT id, approval_id FROM requests WHERE client = ?1 AND status = 'rejected' \
             AND approval_id < ?2 ORDER BY approval_id DESC LIMIT ?3) \
             UNION ALL SELECT * FROM (SELECT id, approval_id FROM requests WHERE client = ?1 AND status = 'expired' \
             AND approval_id < ?2 ORDER BY approval_id DESC LIMIT ?3) \
             UNION ALL SELECT * FROM (SELECT id, approval_id FROM requests WHERE client = ?1 AND status = 'cancelled' \
             AND approval_id < ?2 ORDER BY approval_id DESC LIMIT ?3) \
             ORDER BY approval_id DESC LIMIT ?3) AS newest \
             JOIN requests USING (id) JOIN asked USING (id) ORDER BY newest.approval_id DESC",
            params![client, before, limit],
            request,
        ),
    }
}

pub(crate) fn pending(tables: &Connection, limit: usize) -> rusqlite::Result<Vec<Request>> {
    many(
        tables,
        "SELECT version, life, asked FROM (SELECT id, approval_id FROM requests WHERE status = 'pending' \
         ORDER BY approval_id LIMIT ?1) AS oldest \
         JOIN requests USING (id) JOIN asked USING (id) ORDER BY oldest.approval_id",
        [at_most(limit)],
        request,
    )
}

pub(crate) fn hooks(tables: &Connection) -> rusqlite::Result<Vec<Hook>> {
    many(tables, "SELECT hook FROM hooks ORDER BY id", [], |row| json(row, 0))
}

pub(crate) fn latest_policy(tables: &Connection) -> rusqlite::Result<Option<PolicyRecord>> {
    tables
        .prepare_cached(
            "SELECT version, text, sha256, installed_at FROM policies ORDER BY version DESC LIMIT 1",
        )?
        .query_row([], |row| {
            Ok(PolicyRecord {
                version: row.get(0)?,
                text: row.get(1)?,
                sha256: row.get(2)?,
                installed_at: row.get(3).map(Timestamp::from_millis)?,
            })
        })
        .optional()
}

pub(crate) fn has_policy(tables: &Connection, version: u32) -> rusqlite::Result<bool> {
    tables.prepare_cached("SELECT 1 FROM policies WHERE version = ?1")?.exists([version])
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
        |row| Ok(PlacedEntry { position: row.get(0)?, entry: json(row, 1)? }),
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
    let version: i64 = row.get(0)?;
    let version = u64::try_from(version).map_err(|error| unreadable(0, error))?;
    Ok(Request { version, life: json(row, 1)?, asked: json(row, 2)? })
}

fn outgoing(row: &Row<'_>) -> rusqlite::Result<OutboxMessage> {
    Ok(OutboxMessage {
        id: row.get(0)?,
        key: row.get(1).map(RequestKey::from_bytes)?,
        approval_id: parsed(row, 2, ApprovalId::parse)?,
        what: json(row, 3)?,
        attempt: row.get(4)?,
        created_at: row.get(5).map(Timestamp::from_millis)?,
        due_at: row.get(6).map(Timestamp::from_millis)?,
    })
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
