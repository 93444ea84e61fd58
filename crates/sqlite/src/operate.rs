//! What an operator needs of the file: whether it can be written, what it holds, a copy while it is in use.
//!
//! Nothing here is on the way of a request.

use std::path::Path;

use placet_core::Timestamp;
use placet_core::id::ApprovalId;
use placet_gate::Fault;
use placet_gate::ports::Clock;
use rusqlite::{Connection, params};

use crate::SqliteStore;
use crate::schema;
use crate::writer::WriteOp;

/// How many of the newest audit entries are looked at for the newest time: a clock that was set back leaves older
/// times after newer ones.
const NEWEST_ENTRIES: i64 = 256;

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

    use placet_gate::ports::Store as _;
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
