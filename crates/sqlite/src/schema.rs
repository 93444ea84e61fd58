//! Opening the file: its mode, its pragmas and its version. No query lives here.

use std::fs::OpenOptions;
use std::path::Path;
use std::time::Duration;

use placet_gate::Fault;
use placet_gate::stored::NEWER;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

/// `Plac`, so that `file` and a wrong path can tell whose database it is.
const APPLICATION_ID: i64 = 0x506c_6163;

/// The versions of the tables, each with the script that leads to it from the one before.
const SCRIPTS: [(i64, &str); 8] = [
    (1, include_str!("schema.sql")),
    (2, include_str!("schema-2.sql")),
    (3, include_str!("schema-3.sql")),
    (4, include_str!("schema-4.sql")),
    (5, include_str!("schema-5.sql")),
    (6, include_str!("schema-6.sql")),
    (7, include_str!("schema-7.sql")),
    (8, include_str!("schema-8.sql")),
];

/// How long another process may hold the file before we give up, in steps of [`BUSY_STEP`].
const BUSY_STEPS: i32 = 20_000;

/// How soon a busy file is tried again: about one synced commit.
const BUSY_STEP: Duration = Duration::from_micros(500);

/// Statements of one connection that stay prepared: more than there are.
const STATEMENTS: usize = 64;

/// After how many pages of the write-ahead log it is copied into the database.
const CHECKPOINT_PAGES: i64 = 4000;

/// Opens the database to write, and brings it to the newest version.
pub(crate) fn open_to_write(path: &Path) -> Result<Connection, Fault> {
    create_private(path).map_err(|error| Fault::new("the database file could not be created", error))?;
    let mut connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    check_is_ours(&connection)?;
    use_write_ahead_log(&connection)?;
    let failed = |error| Fault::new("the database could not be set up", error);
    // FULL: the log is synced at each commit, so that what was acknowledged survives a power cut.
    connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES).map_err(failed)?;
    connection.pragma_update(None, "cache_size", -8192).map_err(failed)?;
    migrate(&mut connection)?;
    Ok(connection)
}

/// Opens one more connection, which can only read.
pub(crate) fn open_to_read(path: &Path) -> Result<Connection, Fault> {
    open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

fn open(path: &Path, mode: OpenFlags) -> Result<Connection, Fault> {
    // No mutex of SQLite's own: each connection is used by one thread at a time.
    let mut connection = Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(|error| Fault::new("the database could not be opened", error))?;
    connection
        .busy_handler(Some(|tries| {
            std::thread::sleep(BUSY_STEP);
            tries < BUSY_STEPS
        }))
        .map_err(|error| Fault::new("the database could not be set up", error))?;
    // Plans do not depend on bound values, so a statement is not prepared anew each time it is bound: a seventh of the
    // gate's work under load (https://sqlite.org/c3ref/c_dbconfig_defensive.html, ENABLE_QPSG).
    connection
        .set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
        .map_err(|error| Fault::new("the database could not be set up", error))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// SQLite gives its log and its index the mode of the database file.
fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

/// Whether the file is one of placet's, and not of a newer version.
pub(crate) fn check_is_ours(connection: &Connection) -> Result<(), Fault> {
    let failed = |error| Fault::new("the database could not be read", error);
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    let id = number("application_id").map_err(failed)?;
    let version = number("user_version").map_err(failed)?;
    if id != APPLICATION_ID && (id != 0 || tables > 0) {
        return Err(Fault::bare("the database file is not one of placet's"));
    }
    if version > newest() {
        return Err(Fault::new(NEWER, Newer(version)));
    }
    Ok(())
}

pub(crate) fn newest() -> i64 {
    SCRIPTS.iter().map(|(version, _)| *version).max().unwrap_or(0)
}

/// The file has tables of a newer version than this build knows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Newer(i64);

impl std::fmt::Display for Newer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "its tables have version {}; this version knows them up to {}", self.0, newest())
    }
}

impl std::error::Error for Newer {}

/// Fails where another process has brought the file to a newer version than this build knows.
pub(crate) fn check_version(tables: &Connection) -> rusqlite::Result<()> {
    let version: i64 = tables.prepare_cached("PRAGMA user_version")?.query_row([], |row| row.get(0))?;
    if version > newest() {
        return Err(rusqlite::Error::ToSqlConversionFailure(Box::new(Newer(version))));
    }
    Ok(())
}

/// The change of mode does not wait for another process that opens the new file at the same moment.
fn use_write_ahead_log(connection: &Connection) -> Result<(), Fault> {
    let mut tries = 0;
    loop {
        let mode =
            connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0));
        match mode {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(_) => return Err(Fault::bare("the database's folder does not allow a write-ahead log")),
            Err(error) if is_busy(&error) && tries < BUSY_STEPS => {
                tries += 1;
                std::thread::sleep(BUSY_STEP);
            }
            Err(error) => return Err(Fault::new("the database could not be set up", error)),
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked)
    )
}

fn migrate(connection: &mut Connection) -> Result<(), Fault> {
    let failed = |error| Fault::new("the database could not be brought to this version", error);
    // The version is read inside: of two processes that open a new file, one finds the other's tables.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let version: i64 =
        transaction.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    for (newer, script) in SCRIPTS.iter().filter(|(known, _)| *known > version) {
        transaction.execute_batch(script).map_err(failed)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
        transaction.pragma_update(None, "user_version", newer).map_err(failed)?;
    }
    transaction.commit().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_can_read_the_files() {
        use std::os::unix::fs::PermissionsExt;
        let folder = folder();
        let _open = open_to_write(&folder.path().join("gate.db")).unwrap();
        let modes: Vec<u32> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|file| file.unwrap().metadata().unwrap().permissions().mode() & 0o777)
            .collect();
        assert_eq!(modes, [0o600; 3]);
    }

    #[test]
    fn a_commit_is_synced_and_logged_ahead() {
        let folder = folder();
        let connection = open_to_write(&folder.path().join("gate.db")).unwrap();
        let text = |name| connection.pragma_query_value(None, name, |row| row.get::<_, String>(0)).unwrap();
        let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(text("journal_mode"), "wal");
        assert_eq!((number("synchronous"), number("user_version")), (2, newest()));
    }

    #[test]
    fn a_database_of_another_program_is_left_alone() {
        let folder = folder();
        let path = folder.path().join("gate.db");
        let other = Connection::open(&path).unwrap();
        other.execute_batch("CREATE TABLE theirs (a)").unwrap();
        drop(other);
        let before = std::fs::read(&path).unwrap();
        assert_eq!(open_to_write(&path).unwrap_err().chain(), "the database file is not one of placet's");
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[test]
    fn a_newer_database_is_left_alone() {
        let folder = folder();
        let path = folder.path().join("gate.db");
        open_to_write(&path).unwrap().pragma_update(None, "user_version", newest() + 1).unwrap();
        let fault = open_to_write(&path).unwrap_err();
        assert_eq!(fault.to_string(), NEWER);
        assert_eq!(
            fault.chain(),
            format!(
                "{NEWER}: its tables have version {}; this version knows them up to {}",
                newest() + 1,
                newest()
            )
        );
    }

    #[test]
    fn each_version_s_script_runs_once_and_in_order() {
        let versions: Vec<i64> = SCRIPTS.iter().map(|(version, _)| *version).collect();
        assert_eq!(versions, (1..=newest()).collect::<Vec<_>>());
        let folder = folder();
        let path = folder.path().join("gate.db");
        for _ in 0..2 {
            let connection = open_to_write(&path).unwrap();
            let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
            assert_eq!(version, newest());
        }
    }

    #[test]
    fn many_can_make_the_same_new_file_at_once() {
        let folder = folder();
        let path = folder.path().join("gate.db");
        std::thread::scope(|scope| {
            let openers: Vec<_> = (0..8).map(|_| scope.spawn(|| open_to_write(&path).map(drop))).collect();
            for opener in openers {
                opener.join().unwrap().unwrap();
            }
        });
    }

    #[test]
    fn the_tables_themselves_refuse_to_rewrite_history() {
        let folder = folder();
        let connection = open_to_write(&folder.path().join("gate.db")).unwrap();
        connection
            .execute_batch(
                "INSERT INTO audit (subject, seq, recorded_at, entry) VALUES ('policy', 1, 0, '{}');
                 INSERT INTO questions (id, question) VALUES (1, '{}');
                 INSERT INTO requests (id, key, version, client, approval_id, action, payload_sha256, status, ended_at, state)
                 VALUES (1, x'00', 1, 'n8n', 'a', 'b', 'c', 'approved', 5, '{}');
                 INSERT INTO tiles (level, number, hashes) VALUES (0, 0, zeroblob(64));
                 UPDATE log_head SET leaves = 2;",
            )
            .unwrap();
        for (sql, refusal) in [
            ("UPDATE audit SET entry = 'x'", "the audit trail is append-only"),
            ("DELETE FROM audit", "the audit trail is append-only"),
            ("UPDATE tiles SET hashes = zeroblob(32)", "a tile of the log only grows"),
            ("UPDATE tiles SET hashes = randomblob(96)", "a tile of the log only grows"),
            ("DELETE FROM tiles", "a tile of the log only grows"),
            ("UPDATE log_head SET leaves = 1", "the log only grows"),
            ("DELETE FROM log_head", "the log only grows"),
            (
                "UPDATE log_head SET min_index = 2",
                "CHECK constraint failed: min_index = 0 OR min_index < leaves",
            ),
            ("UPDATE questions SET question = 'x'", "a question never changes"),
            ("UPDATE requests SET status = 'rejected'", "a request that has ended never changes"),
            (
                "UPDATE requests SET status = 'pending', ended_at = NULL, closes_at = 1",
                "a request that has ended never changes",
            ),
        ] {
            assert_eq!(connection.execute(sql, []).unwrap_err().to_string(), refusal, "{sql}");
        }
    }
}
