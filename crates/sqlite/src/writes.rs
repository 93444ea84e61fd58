//! What can be written: each operation's conditions and its rows. What they mean is documented at the port.

use std::sync::Arc;

use placet_core::Timestamp;
use placet_core::id::{ClientId, HookId, RequestId, RequestKey, ReviewerId};
use placet_core::request::stored as requests;
use placet_core::request::{ApprovalRequest, Phase, Request, RequestState};
use placet_core::tally::Tally;
use placet_gate::ports::{
    Clock, Commit, Committed, Hook, MessageEnd, OutboxMessage, OutboxSubject, PastMessage, PolicyRecord,
    PushDevice, Quota, RequestWrite, SentMessage, TallyWrite,
};
use placet_gate::{Fault, stored};
use rusqlite::{Connection, params};
use serde::Serialize;

use crate::rows::{self, many};
use crate::writer::WriteOp;

/// What was added up is kept for so long, in milliseconds: longer than the longest while of a total.
const TALLY_MS: i64 = 31 * placet_core::time::DAY_MS;

/// Spent allowances are kept for so many minutes, so that a clock that is set back a little does not renew them.
const QUOTA_MINUTES: i64 = 60;

/// A commit, with its rows written out. That is done by the caller's thread; the one that writes is shared by all.
pub(crate) struct WriteCommit {
    request: Option<RequestRow>,
    audit: Vec<AuditRow>,
    outbox: Vec<OutboxRow>,
    voted: Option<ReviewerId>,
    tallies: TallyWrite,
    policy: Option<PolicyRecord>,
    away: Option<String>,
    paused: Option<String>,
    quota: Option<Quota>,
    not_at_or_after: Option<Timestamp>,
    policy_version: Option<u32>,
}

enum RequestRow {
    Insert { key: RequestKey, asked: Arc<ApprovalRequest>, question: String, state: StateColumns },
    Update { key: RequestKey, from_version: i64, state: StateColumns },
}

struct StateColumns {
    status: &'static str,
    closes_at: Option<i64>,
    ended_at: Option<i64>,
    updated_at: i64,
    json: String,
}

struct AuditRow {
    subject: String,
    seq: u32,
    recorded_at: Timestamp,
    json: String,
}

struct OutboxRow {
    message: OutboxMessage,
    payload: String,
}

impl WriteCommit {
    /// Writes the rows out.
    pub(crate) fn prepare(commit: Commit) -> Result<Self, Fault> {
        let request = commit.request.map(RequestRow::of).transpose()?;
        let audit = commit
            .audit
            .into_iter()
            .map(|entry| {
                let json = to_json(&entry)?;
                Ok(AuditRow { subject: entry.subject, seq: entry.seq, recorded_at: entry.timestamp, json })
            })
            .collect::<Result<_, Fault>>()?;
        let outbox = commit.outbox.into_iter().map(OutboxRow::of).collect::<Result<_, Fault>>()?;
        let Commit { voted, tallies, policy, quota, not_at_or_after, policy_version, .. } = commit;
        let away = policy.as_ref().map(|policy| &policy.away).filter(|away| !away.is_empty());
        let away = away.map(to_json).transpose()?;
        let paused = policy.as_ref().map(|policy| &policy.paused).filter(|paused| !paused.is_empty());
        let paused = paused.map(to_json).transpose()?;
        Ok(Self {
            request,
            audit,
            outbox,
            voted,
            tallies,
            policy,
            away,
            paused,
            quota,
            not_at_or_after,
            policy_version,
        })
    }

    /// Why it must not be written, if so. A lost race comes first: then nothing else matters to the loser.
    fn obstacle(&self, tables: &Connection, clock: &dyn Clock) -> rusqlite::Result<Option<Committed>> {
        if let Some(request) = &self.request
            && let Some(winner) = request.winner(tables)?
        {
            return Ok(Some(Committed::Lost(Box::new(winner))));
        }
        if self.not_at_or_after.is_some_and(|end| clock.now() >= end) {
            return Ok(Some(Committed::Late));
        }
        if let Some(version) = self.policy_version
            && rows::latest_policy_version(tables)? > version
        {
            return Ok(Some(Committed::PolicyMoved));
        }
        for entry in &self.audit {
            if rows::has_audit(tables, &entry.subject, entry.seq)? {
                return Ok(Some(Committed::ChainMoved));
            }
        }
        if let Some(policy) = &self.policy
            && rows::has_policy(tables, policy.version)?
        {
            return Ok(Some(Committed::ChainMoved));
        }
        for (account, seen) in &self.tallies.seen {
            if rows::tally_version(tables, account)? != *seen {
                return Ok(Some(Committed::TotalsMoved));
            }
        }
        if let Some(quota) = &self.quota {
            if rows::quota_used(tables, quota)? >= i64::from(quota.limit) {
                return Ok(Some(Committed::OverQuota));
            }
            let waits = self.request.as_ref().is_some_and(RequestRow::waits);
            if waits
                && rows::pending_of(tables, quota.client.as_str(), quota.max_pending)? >= quota.max_pending
            {
                return Ok(Some(Committed::TooManyPending));
            }
        }
        Ok(None)
    }
}

impl WriteOp for WriteCommit {
    type Done = Committed;

    fn apply(&self, tables: &Connection, clock: &dyn Clock) -> rusqlite::Result<Committed> {
        if let Some(obstacle) = self.obstacle(tables, clock)? {
            return Ok(obstacle);
        }
        let pending_twin = match &self.request {
            Some(request) => request.write(tables)?,
            None => None,
        };
        for entry in &self.audit {
            tables
                .prepare_cached(
                    "INSERT INTO audit (subject, seq, recorded_at, entry) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![entry.subject, entry.seq, entry.recorded_at.millis(), entry.json])?;
        }
        for row in &self.outbox {
            row.write(tables)?;
        }
        if let Some(RequestRow::Insert { key, asked, .. }) = &self.request {
            for tally in &self.tallies.add {
                add_up(tables, *key, asked.created_at, tally)?;
            }
        }
        if !self.tallies.remove.is_empty()
            && let Some(RequestRow::Update { key, .. }) = &self.request
        {
            tables.prepare_cached("DELETE FROM tallies WHERE key = ?1")?.execute([key.as_bytes()])?;
        }
        if let (Some(reviewer), Some(RequestRow::Update { key, state, .. })) = (&self.voted, &self.request) {
            tables
                .prepare_cached("INSERT OR REPLACE INTO votes (key, reviewer, voted_at) VALUES (?1, ?2, ?3)")?
                .execute(params![key.as_bytes(), reviewer.as_str(), state.updated_at])?;
        }
        if let Some(policy) = &self.policy {
            tables
                .prepare_cached(
                    "INSERT INTO policies (version, text, sha256, installed_at, away, paused) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute(params![
                    policy.version,
                    policy.text,
                    policy.sha256,
                    policy.installed_at.millis(),
                    self.away,
                    self.paused
                ])?;
        }
        if let Some(quota) = &self.quota {
            use_up(tables, quota)?;
        }
        Ok(Committed::Done { pending_twin })
    }

    fn changed(&self, done: &Committed) -> Option<RequestKey> {
        match (done, self.request.as_ref()?) {
            (Committed::Done { .. }, RequestRow::Insert { key, .. } | RequestRow::Update { key, .. }) => {
                Some(*key)
            }
            (
                Committed::Lost(_)
                | Committed::ChainMoved
                | Committed::PolicyMoved
                | Committed::TotalsMoved
                | Committed::Late
                | Committed::OverQuota
                | Committed::TooManyPending,
                RequestRow::Insert { .. } | RequestRow::Update { .. },
            ) => None,
        }
    }
}

impl RequestRow {
    fn of(write: RequestWrite) -> Result<Self, Fault> {
        Ok(match write {
            RequestWrite::Insert { asked, state } => Self::Insert {
                key: asked.key(),
                question: requests::write_question(&asked).map_err(unwritable)?,
                asked,
                state: StateColumns::of(&state)?,
            },
            RequestWrite::Update { asked, state, from_version } => Self::Update {
                key: asked.key(),
                from_version: i64::try_from(from_version)
                    .map_err(|error| Fault::new("a version is too great to be stored", error))?,
                state: StateColumns::of(&state)?,
            },
        })
    }

    /// Whether it is a request that waits once it is written.
    const fn waits(&self) -> bool {
        match self {
            Self::Insert { state, .. } | Self::Update { state, .. } => state.closes_at.is_some(),
        }
    }

    /// Who was first, if somebody was.
    fn winner(&self, tables: &Connection) -> rusqlite::Result<Option<Request>> {
        match self {
            Self::Insert { key, .. } => rows::request_of(tables, *key),
            Self::Update { key, from_version, .. } => {
                if rows::version_of(tables, *key)? == *from_version {
                    return Ok(None);
                }
                rows::request_of(tables, *key)
            }
        }
    }

    /// Writes it. For a new one: an older one like it that still waits.
    fn write(&self, tables: &Connection) -> rusqlite::Result<Option<RequestId>> {
        match self {
            Self::Insert { key, asked, question, state } => {
                let duplicate = rows::pending_duplicate(tables, asked)?;
                tables
                    .prepare_cached(
                        "INSERT INTO requests (key, version, client, approval_id, action, payload_sha256, status, \
                         closes_at, ended_at, state) VALUES (?1, 1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                    )?
                    .execute(params![
                        key.as_bytes(),
                        asked.client.as_str(),
                        asked.approval_id.as_str(),
                        asked.action,
                        asked.payload_sha256,
                        state.status,
                        state.closes_at,
                        state.ended_at,
                        state.json
                    ])?;
                tables
                    .prepare_cached("INSERT INTO questions (id, question) VALUES (?1, ?2)")?
                    .execute(params![tables.last_insert_rowid(), question])?;
                Ok(duplicate)
            }
            Self::Update { key, state, .. } => {
                tables
                    .prepare_cached(
                        "UPDATE requests SET version = version + 1, status = ?2, closes_at = ?3, ended_at = ?4, \
                         state = ?5 WHERE key = ?1",
                    )?
                    .execute(params![key.as_bytes(), state.status, state.closes_at, state.ended_at, state.json])?;
                Ok(None)
            }
        }
    }
}

impl StateColumns {
    fn of(state: &RequestState) -> Result<Self, Fault> {
        let json = requests::write_state(state).map_err(unwritable)?;
        let status = state.status().as_str();
        let updated_at = state.updated_at().millis();
        Ok(match state.phase() {
            Phase::Pending(pending) => {
                Self { status, closes_at: Some(pending.closes_at.millis()), ended_at: None, updated_at, json }
            }
            Phase::Ended(outcome) => Self {
                status,
                closes_at: None,
                ended_at: Some(outcome.decided_at.millis()),
                updated_at,
                json,
            },
        })
    }
}

impl OutboxRow {
    fn of(message: OutboxMessage) -> Result<Self, Fault> {
        Ok(Self { payload: stored::write_payload(&message.payload)?, message })
    }

    fn write(&self, tables: &Connection) -> rusqlite::Result<()> {
        let OutboxMessage { id, subject, payload: _, attempt, created_at, due_at } = &self.message;
        let (key, approval_id) = match subject {
            OutboxSubject::Approval { key, approval_id } => {
                (Some(key.as_bytes()), Some(approval_id.as_str()))
            }
            OutboxSubject::Gate => (None, None),
        };
        tables
            .prepare_cached(
                "INSERT OR REPLACE INTO outbox (id, v, key, approval_id, payload, attempt, created_at, due_at) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                id,
                stored::FORMAT,
                key,
                approval_id,
                self.payload,
                attempt,
                created_at.millis(),
                due_at.millis()
            ])?;
        Ok(())
    }
}

/// Adds to an account, and forgets what no total reaches any more.
fn add_up(tables: &Connection, key: RequestKey, at: Timestamp, tally: &Tally) -> rusqlite::Result<()> {
    tables
        .prepare_cached("DELETE FROM tallies WHERE account = ?1 AND at < ?2")?
        .execute(params![tally.account, at.millis().saturating_sub(TALLY_MS)])?;
    tables
        .prepare_cached("INSERT INTO tallies (account, at, amount, key) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![tally.account, at.millis(), tally.amount, key.as_bytes()])?;
    Ok(())
}

fn use_up(tables: &Connection, quota: &Quota) -> rusqlite::Result<()> {
    let used: i64 = tables
        .prepare_cached(
            "INSERT INTO quotas (client, minute, used) VALUES (?1, ?2, 1) \
             ON CONFLICT DO UPDATE SET used = used + 1 RETURNING used",
        )?
        .query_row(params![quota.client.as_str(), quota.minute], |row| row.get(0))?;
    if used == 1 {
        tables
            .prepare_cached("DELETE FROM quotas WHERE client = ?1 AND minute < ?2")?
            .execute(params![quota.client.as_str(), quota.minute.saturating_sub(QUOTA_MINUTES)])?;
    }
    Ok(())
}

/// A message is claimed, or put off.
pub(crate) struct Claim {
    pub(crate) seen: OutboxMessage,
    pub(crate) attempt: u32,
    pub(crate) due_at: Timestamp,
}

impl WriteOp for Claim {
    type Done = bool;

    fn apply(&self, tables: &Connection, _: &dyn Clock) -> rusqlite::Result<bool> {
        let changed = tables
            .prepare_cached(
                "UPDATE outbox SET attempt = ?4, due_at = ?5 WHERE id = ?1 AND attempt = ?2 AND due_at = ?3",
            )?
            .execute(params![
                self.seen.id,
                self.seen.attempt,
                self.seen.due_at.millis(),
                self.attempt,
                self.due_at.millis()
            ])?;
        Ok(changed > 0)
    }
}

/// A message is acknowledged.
pub(crate) struct Ack {
    pub(crate) id: String,
}

impl WriteOp for Ack {
    type Done = ();

    fn apply(&self, tables: &Connection, _: &dyn Clock) -> rusqlite::Result<()> {
        tables.prepare_cached("DELETE FROM outbox WHERE id = ?1")?.execute([&self.id])?;
        Ok(())
    }
}

/// A message is acknowledged, and others come in its place.
pub(crate) struct Replace {
    id: String,
    others: Vec<OutboxRow>,
}

impl Replace {
    /// Writes the rows out.
    pub(crate) fn prepare(id: &str, others: &[OutboxMessage]) -> Result<Self, Fault> {
        let others = others.iter().cloned().map(OutboxRow::of).collect::<Result<_, Fault>>()?;
        Ok(Self { id: id.to_owned(), others })
    }
}

impl WriteOp for Replace {
    type Done = ();

    fn apply(&self, tables: &Connection, _: &dyn Clock) -> rusqlite::Result<()> {
        tables.prepare_cached("DELETE FROM outbox WHERE id = ?1")?.execute([&self.id])?;
        self.others.iter().try_for_each(|row| row.write(tables))
    }
}

/// A message that a person has got is noted.
pub(crate) struct KeepSent {
    approval_id: String,
    name: String,
    json: String,
}

impl KeepSent {
    /// Writes the row out.
    pub(crate) fn prepare(sent: &SentMessage) -> Result<Self, Fault> {
        let (approval_id, name) = (sent.approval_id.to_string(), sent.name());
        Ok(Self { approval_id, name, json: stored::write_sent(sent)? })
    }
}

impl WriteOp for KeepSent {
    type Done = ();

    fn apply(&self, tables: &Connection, _: &dyn Clock) -> rusqlite::Result<()> {
        tables
            .prepare_cached(
                "INSERT OR REPLACE INTO sent (approval_id, name, v, sent) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![self.approval_id, self.name, stored::FORMAT, self.json])?;
        Ok(())
    }
}

/// A message is over, and it is remembered how.
pub(crate) struct EndMessage {
    past: PastMessage,
    payload: String,
}

impl EndMessage {
    /// Writes the row out.
    pub(crate) fn prepare(past: &PastMessage) -> Result<Self, Fault> {
        Ok(Self { payload: stored::write_payload(&past.payload)?, past: past.clone() })
    }
}

impl WriteOp for EndMessage {
    type Done = ();

    fn apply(&self, tables: &Connection, _: &dyn Clock) -> rusqlite::Result<()> {
        let PastMessage { id, approval_id, payload: _, end, created_at, ended_at } = &self.past;
        tables.prepare_cached("DELETE FROM outbox WHERE id = ?1")?.execute([id])?;
        tables
            .prepare_cached(
                "INSERT OR IGNORE INTO past_messages \
                 (approval_id, id, v, payload, is_delivered, created_at, ended_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                approval_id.as_str(),
                id,
                stored::FORMAT,
                self.payload,
                *end == MessageEnd::Delivered,
                created_at.millis(),
                ended_at.millis()
            ])?;
        Ok(())
    }
}

/// One more of a name is counted. What is over is forgotten.
pub(crate) struct CountUp {
    pub(crate) name: String,
    pub(crate) until: Timestamp,
}

impl WriteOp for CountUp {
    type Done = u32;

    fn apply(&self, tables: &Connection, clock: &dyn Clock) -> rusqlite::Result<u32> {
        tables.prepare_cached("DELETE FROM counts WHERE until <= ?1")?.execute([clock.now().millis()])?;
        tables
            .prepare_cached(
                "INSERT INTO counts (name, count, until) VALUES (?1, 1, ?2) \
                 ON CONFLICT DO UPDATE SET count = count + 1 RETURNING count",
            )?
            .query_row(params![self.name, self.until.millis()], |row| row.get(0))
    }
}

/// A subscription is added.
pub(crate) struct AddHook {
    hook: Hook,
    json: String,
}

impl AddHook {
    /// Writes the row out.
    pub(crate) fn prepare(hook: &Hook) -> Result<Self, Fault> {
        Ok(Self { json: stored::write_hook(hook)?, hook: hook.clone() })
    }
}

impl WriteOp for AddHook {
    type Done = ();

    fn apply(&self, tables: &Connection, _: &dyn Clock) -> rusqlite::Result<()> {
        tables
            .prepare_cached("INSERT OR REPLACE INTO hooks (id, v, client, hook) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![self.hook.id.as_str(), stored::FORMAT, self.hook.client.as_str(), self.json])?;
        Ok(())
    }
}

/// A client's subscription is removed.
pub(crate) struct RemoveHook {
    pub(crate) client: ClientId,
    pub(crate) hook: HookId,
}

impl WriteOp for RemoveHook {
    type Done = bool;

    fn apply(&self, tables: &Connection, _: &dyn Clock) -> rusqlite::Result<bool> {
        let removed = tables
            .prepare_cached("DELETE FROM hooks WHERE id = ?1 AND client = ?2")?
            .execute(params![self.hook.as_str(), self.client.as_str()])?;
        Ok(removed > 0)
    }
}

/// A device is told by push.
pub(crate) struct KeepPushDevice {
    reviewer: ReviewerId,
    id: String,
    json: String,
}

impl KeepPushDevice {
    /// Writes the row out.
    pub(crate) fn prepare(device: &PushDevice) -> Result<Self, Fault> {
        let json = stored::write_push_device(device)?;
        Ok(Self { reviewer: device.reviewer.clone(), id: device.id(), json })
    }
}

impl WriteOp for KeepPushDevice {
    type Done = ();

    fn apply(&self, tables: &Connection, _: &dyn Clock) -> rusqlite::Result<()> {
        tables
            .prepare_cached(
                "INSERT OR REPLACE INTO push_devices (reviewer, id, v, device) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![self.reviewer.as_str(), self.id, stored::FORMAT, self.json])?;
        Ok(())
    }
}

/// A device is told no more.
pub(crate) struct RemovePushDevice {
    pub(crate) reviewer: ReviewerId,
    pub(crate) id: String,
}

impl WriteOp for RemovePushDevice {
    type Done = bool;

    fn apply(&self, tables: &Connection, _: &dyn Clock) -> rusqlite::Result<bool> {
        let removed = tables
            .prepare_cached("DELETE FROM push_devices WHERE reviewer = ?1 AND id = ?2")?
            .execute(params![self.reviewer.as_str(), self.id])?;
        Ok(removed > 0)
    }
}

/// A name is remembered, unless it is already. What is over is forgotten.
pub(crate) struct Mark {
    pub(crate) name: String,
    pub(crate) until: Timestamp,
}

impl WriteOp for Mark {
    type Done = bool;

    fn apply(&self, tables: &Connection, clock: &dyn Clock) -> rusqlite::Result<bool> {
        tables.prepare_cached("DELETE FROM marks WHERE until <= ?1")?.execute([clock.now().millis()])?;
        let new = tables
            .prepare_cached("INSERT OR IGNORE INTO marks (name, until) VALUES (?1, ?2)")?
            .execute(params![self.name, self.until.millis()])?;
        Ok(new > 0)
    }
}

/// Requests that ended long ago are forgotten.
pub(crate) struct Purge {
    pub(crate) ended_before: Timestamp,
    pub(crate) limit: usize,
}

impl WriteOp for Purge {
    type Done = usize;

    fn apply(&self, tables: &Connection, _: &dyn Clock) -> rusqlite::Result<usize> {
        let old: Vec<(i64, Vec<u8>, String)> = many(
            tables,
            "SELECT id, key, approval_id FROM requests WHERE ended_at < ?1 ORDER BY ended_at LIMIT ?2",
            params![self.ended_before.millis(), rows::at_most(self.limit)],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )?;
        for (id, key, approval_id) in &old {
            tables.prepare_cached("DELETE FROM sent WHERE approval_id = ?1")?.execute([approval_id])?;
            tables.prepare_cached("DELETE FROM outbox WHERE key = ?1")?.execute([key])?;
            tables
                .prepare_cached(
                    "DELETE FROM past_messages WHERE approval_id = (SELECT approval_id FROM requests WHERE id = ?1)",
                )?
                .execute([id])?;
            tables.prepare_cached("DELETE FROM votes WHERE key = ?1")?.execute([key])?;
            tables.prepare_cached("DELETE FROM questions WHERE id = ?1")?.execute([id])?;
            tables.prepare_cached("DELETE FROM requests WHERE id = ?1")?.execute([id])?;
        }
        Ok(old.len())
    }
}

fn to_json<T: Serialize>(value: &T) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(unwritable)
}

fn unwritable(error: serde_json::Error) -> Fault {
    Fault::new("a record could not be written as JSON", error)
}
