//! What an operator needs of the file: whether it can be written, what it holds, a copy while it is in use.
//!
//! Nothing here is on the way of a request.

use std::path::Path;

use placet_core::Timestamp;
use placet_core::id::ApprovalId;
use placet_core::time::DAY_MS;
use placet_gate::Fault;
use placet_gate::ports::{Clock, OutboxMessage};
use rusqlite::{Connection, params};

use crate::SqliteStore;
use crate::rows;
use crate::schema;
use crate::writer::WriteOp;

/// How many of the newest audit entries are looked at for the newest time: a clock that was set back leaves older
/// times after newer ones.
const NEWEST_ENTRIES: i64 = 256;

/// How far back it is looked for what was sent last: about approvals of so many days, and among so many messages.
const SENT_WITHIN_MS: i64 = 30 * DAY_MS;
const SENT_LOOKED_AT: i64 = 5000;

/// When a reviewer was told last by one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastSent {
    /// Who.
    pub reviewer: String,
    /// By which channel.
    pub channel: String,
    /// When.
    pub at: Timestamp,
}

/// What is open from before a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFromBefore {
    /// How many requests.
    pub requests: u32,
    /// When the present stage of the last of them closes.
    pub until: Option<Timestamp>,
}

impl SqliteStore {
    /// How many requests wait for an answer.
    pub async fn count_pending(&self) -> Result<u32, Fault> {
        self.scan(|tables| {
            tables.query_row("SELECT count(*) FROM requests WHERE status = 'pending'", [], |row| row.get(0))
        })
        .await
    }

    /// The newest time among the last audit entries: a clock that is behind it is wrong now, or was then.
    pub async fn newest_record(&self) -> Result<Option<Timestamp>, Fault> {
        self.scan(|tables| {
            let newest: Option<i64> = tables.query_row(
                "SELECT max(recorded_at) FROM (SELECT recorded_at FROM audit ORDER BY position DESC LIMIT ?1)",
                [NEWEST_ENTRIES],
                |row| row.get(0),
            )?;
            Ok(newest.map(Timestamp::from_millis))
        })
        .await
    }

    /// The pending requests that were asked before that moment.
    pub async fn open_from_before(&self, moment: Timestamp) -> Result<OpenFromBefore, Fault> {
        // An approval's id is a ULID: it sorts by the time of its asking.
        let first_after = ApprovalId::from_parts(moment, 0);
        self.scan(move |tables| {
            tables.query_row(
                "SELECT count(*), max(closes_at) FROM requests WHERE status = 'pending' AND approval_id < ?1",
                params![first_after.as_str()],
                |row| {
                    Ok(OpenFromBefore {
                        requests: row.get(0)?,
                        until: row.get::<_, Option<i64>>(1)?.map(Timestamp::from_millis),
                    })
                },
            )
        })
        .await
    }

    /// When each reviewer was told last of an approval, by channel: in the last 30 days, as far as the newest messages say.
    pub async fn last_sent(&self, now: Timestamp) -> Result<Vec<LastSent>, Fault> {
        let first = ApprovalId::from_parts(now.plus_millis(-SENT_WITHIN_MS), 0);
        self.scan(move |tables| {
            rows::many(
                tables,
                "SELECT COALESCE(payload ->> '$.notify.reviewer', payload ->> '$.nudge.reviewer', \
                   payload ->> '$.remind.reviewer') AS reviewer, \
                   COALESCE(payload ->> '$.notify.channel', payload ->> '$.nudge.channel', \
                   payload ->> '$.remind.channel') AS channel, max(ended_at) \
                 FROM (SELECT payload, ended_at FROM past_messages \
                   WHERE approval_id >= ?1 AND is_delivered ORDER BY approval_id DESC LIMIT ?2) \
                 WHERE reviewer IS NOT NULL AND channel IS NOT NULL GROUP BY reviewer, channel",
                params![first.as_str(), SENT_LOOKED_AT],
                |row| {
                    Ok(LastSent {
                        reviewer: row.get(0)?,
                        channel: row.get(1)?,
                        at: row.get(2).map(Timestamp::from_millis)?,
                    })
                },
            )
        })
        .await
    }

    /// Messages of the outbox that have failed at least once, the latest to be retried first, at most `limit`.
    pub async fn failing_messages(&self, limit: usize) -> Result<Vec<OutboxMessage>, Fault> {
        self.scan(move |tables| rows::failing_messages(tables, limit)).await
    }

    /// Messages that will say that what operators were alerted of is over, the oldest first, at most `limit`.
    pub async fn alerts_to_end(&self, limit: usize) -> Result<Vec<OutboxMessage>, Fault> {
        self.scan(move |tables| rows::alerts_to_end(tables, limit)).await
    }

    /// Commits something that changes nothing, and waits for the disk: fails where no request could be recorded.
    pub async fn check_writable(&self) -> Result<(), Fault> {
        self.0.writer.run(Probe).await
    }
}

/// Writes the version of the tables once more: one page of the log, synced like every commit.
struct Probe;

impl WriteOp for Probe {
    type Done = ();

    fn apply(&self, tables: &Connection, _: &dyn Clock) -> rusqlite::Result<()> {
        let version: i64 = tables.pragma_query_value(None, "user_version", |row| row.get(0))?;
        tables.pragma_update(None, "user_version", version)
    }
}

/// Whether anything was ever recorded in the database at that path: a policy, a request, an audit entry.
///
/// No file, or an empty one, has no records. A file that is not one of placet's is a fault.
pub fn has_records(path: &Path) -> Result<bool, Fault> {
    if std::fs::metadata(path).map_or(0, |file| file.len()) == 0 {
        return Ok(false);
    }
    let connection = schema::open_to_read(path)?;
    schema::check_is_ours(&connection)?;
    let failed = |error| Fault::new("the database could not be read", error);
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    if tables == 0 {
        return Ok(false);
    }
    connection
        .query_row(
            "SELECT EXISTS (SELECT 1 FROM audit) OR EXISTS (SELECT 1 FROM requests) OR EXISTS (SELECT 1 FROM policies)",
            [],
            |row| row.get(0),
        )
        .map_err(failed)
}

/// Copies a database, as it is at one moment, to a new file; the gate may go on writing meanwhile.
///
/// The copy is not synced: whoever keeps it syncs it. Fails where `target` exists and is not empty.
/// (`VACUUM INTO`, <https://sqlite.org/lang_vacuum.html>.)
pub fn copy_database(source: &Path, target: &Path) -> Result<(), Fault> {
    const WHAT: &str = "the database could not be copied";
    let name = target.to_str().ok_or(Fault::bare("the copy's path is not UTF-8"))?;
    let connection = schema::open_to_read(source)?;
    connection.execute("VACUUM INTO ?1", [name]).map(drop).map_err(|error| Fault::new(WHAT, error))
}

/// Checks that a file is a whole database of placet's, of a version that this build can read.
pub fn check_database(path: &Path) -> Result<(), Fault> {
    let connection = schema::open_to_read(path)?;
    schema::check_is_ours(&connection)?;
    let report: String = connection
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(|error| Fault::new("the database could not be read", error))?;
    if report == "ok" { Ok(()) } else { Err(Fault::new("the database is damaged", report)) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use placet_core::id::{ClientId, ReviewerId};
    use placet_gate::alert::Alert;
    use placet_gate::ports::{Commit, MessageEnd, OutboxPayload, OutboxSubject, PastMessage, Store as _};
    use placet_testkit::{FixedClock, sample};

    use super::*;

    fn open(path: &Path) -> SqliteStore {
        SqliteStore::open(path, FixedClock::new()).unwrap()
    }

    #[tokio::test]
    async fn a_new_file_has_no_records_and_one_with_a_request_has() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gate.db");
        assert!(!has_records(&path).unwrap());
        let store = open(&path);
        assert!(!has_records(&path).unwrap());
        assert_eq!(store.newest_record().await.unwrap(), None);
        let asked = sample::asked("n8n", "r1", FixedClock::START);
        let commit = sample::insert(&asked);
        let newest = commit.audit.iter().map(|entry| entry.timestamp).max();
        store.commit(commit).await.unwrap();
        assert!(has_records(&path).unwrap());
        assert_eq!(store.count_pending().await.unwrap(), 1);
        assert_eq!(store.newest_record().await.unwrap(), newest);
    }

    #[tokio::test]
    async fn what_is_open_from_before_a_moment_is_told_from_what_came_after() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder.path().join("gate.db"));
        for (name, at) in [("r1", 0), ("r2", 10), ("r3", 20)] {
            store
                .commit(sample::insert(&sample::asked("n8n", name, FixedClock::START.plus_millis(at))))
                .await
                .unwrap();
        }
        let before = |at| store.open_from_before(FixedClock::START.plus_millis(at));
        assert_eq!(before(0).await.unwrap(), OpenFromBefore { requests: 0, until: None });
        let two = before(15).await.unwrap();
        assert_eq!(two.requests, 2);
        assert!(two.until.unwrap() > FixedClock::START);
        assert_eq!(before(21).await.unwrap().requests, 3);
    }

    #[tokio::test]
    async fn who_was_told_last_what_fails_and_which_alerts_stand_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder.path().join("gate.db"));
        let asked = sample::asked("n8n", "r1", FixedClock::START);
        store.commit(sample::insert(&asked)).await.unwrap();
        let subject = OutboxSubject::Approval { key: asked.key(), approval_id: asked.approval_id.clone() };
        let notify = |reviewer: &str, channel: &str| OutboxPayload::Notify {
            stage: 0,
            reviewer: ReviewerId::parse(reviewer).unwrap(),
            channel: channel.to_owned(),
        };
        let message = |payload: OutboxPayload, attempt| OutboxMessage {
            id: OutboxMessage::id_of(&subject, &payload),
            subject: subject.clone(),
            payload,
            attempt,
            created_at: FixedClock::START,
            due_at: FixedClock::START.plus_millis(1000),
        };
        for (payload, end, after_ms) in [
            (notify("bob", "email"), MessageEnd::Delivered, 10),
            (notify("bob", "slack"), MessageEnd::GivenUp, 20),
            (OutboxPayload::Callback { number: 0 }, MessageEnd::Delivered, 30),
        ] {
            let past = PastMessage::of(&message(payload, 0), end, FixedClock::START.plus_millis(after_ms));
            store.end_message(&past.unwrap()).await.unwrap();
        }
        let told = LastSent {
            reviewer: "bob".to_owned(),
            channel: "email".to_owned(),
            at: FixedClock::START.plus_millis(10),
        };
        assert_eq!(store.last_sent(FixedClock::START).await.unwrap(), [told]);
        assert_eq!(store.last_sent(FixedClock::START.plus_millis(31 * DAY_MS)).await.unwrap(), []);

        let fails = message(notify("carol", "email"), 2);
        let waits = message(notify("carol", "slack"), 0);
        let client = ClientId::parse("n8n").unwrap();
        let over = message(
            OutboxPayload::AlertOver(Alert::BadSignatures { client: Some(client), count: 9, minute: 1 }),
            0,
        );
        let outbox = vec![fails.clone(), waits, over.clone()];
        store.commit(Commit { outbox, ..Commit::default() }).await.unwrap();
        assert_eq!(store.failing_messages(10).await.unwrap(), [fails]);
        assert_eq!(store.alerts_to_end(10).await.unwrap(), [over]);
        assert_eq!(store.failing_messages(0).await.unwrap(), []);
    }

    #[tokio::test]
    async fn the_probe_writes_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gate.db");
        let store = open(&path);
        let before = store.written().batches;
        store.check_writable().await.unwrap();
        assert_eq!(store.written().batches, before + 1);
        drop(store);
        assert!(!has_records(&path).unwrap());
    }

    #[tokio::test]
    async fn a_copy_of_a_file_in_use_is_whole_and_has_what_was_committed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, copy) = (folder.path().join("gate.db"), folder.path().join("copy.db"));
        let store = open(&path);
        let asked = sample::asked("n8n", "r1", FixedClock::START);
        store.commit(sample::insert(&asked)).await.unwrap();
        copy_database(&path, &copy).unwrap();
        check_database(&copy).unwrap();
        let copied = open(&copy);
        assert_eq!(copied.load(asked.key()).await.unwrap(), store.load(asked.key()).await.unwrap());
        assert!(copy_database(&path, &copy).is_err());
        let _keep = Arc::new(store);
    }

    #[test]
    fn what_is_not_a_database_of_ours_or_is_damaged_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gate.db");
        drop(open(&path));
        check_database(&path).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle..].fill(0xff);
        std::fs::write(&path, bytes).unwrap();
        assert!(check_database(&path).is_err());
        std::fs::write(&path, b"not a database at all, but long enough to be read as one").unwrap();
        assert!(check_database(&path).is_err());
    }
}
