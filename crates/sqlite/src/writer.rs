//! The one thread that writes. What waits together is committed together, with one sync of the disk.
//!
//! Nobody is answered, and no waiter woken, before the commit of the whole batch has returned.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use placet_core::id::RequestKey;
use placet_gate::Fault;
use placet_gate::ports::Clock;
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::oneshot;

use crate::{rows, schema, watchers::Watchers};

/// How many jobs share one commit at most: bounds how long the first of them waits.
const BATCH: usize = 256;

/// How often an idle writer looks whether another process has written.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Something to write.
///
/// An operation first checks its conditions, by reading, and writes only if all of them hold: one that is refused leaves
/// nothing behind in the transaction that it shares.
pub(crate) trait WriteOp: Send + 'static {
    /// How it went.
    type Done: Send + 'static;

    /// Checks and writes. May be called again if the batch was rolled back.
    fn apply(&self, tables: &Connection, clock: &dyn Clock) -> rusqlite::Result<Self::Done>;

    /// The request whose waiters should look again.
    fn changed(&self, _done: &Self::Done) -> Option<RequestKey> {
        None
    }
}

/// How much has been written since the store was opened.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) ops: AtomicU64,
    pub(crate) batches: AtomicU64,
}

/// A handle on the writing thread. Dropping it finishes what is queued.
pub(crate) struct Writer {
    pub(crate) tally: Arc<Tally>,
    queue: Option<Sender<Box<dyn Queued>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread.
    pub(crate) fn start(
        connection: Connection,
        clock: Arc<dyn Clock>,
        watchers: Arc<Watchers>,
    ) -> Result<Self, Fault> {
        let (queue, jobs) = channel();
        let tally = Arc::new(Tally::default());
        let mut worker = WriterThread::new(connection, clock, watchers, Arc::clone(&tally));
        let thread = std::thread::Builder::new()
            .name("placet-sqlite".into())
            .spawn(move || worker.work(&jobs))
            .map_err(|error| Fault::new("the database's thread could not be started", error))?;
        Ok(Self { tally, queue: Some(queue), thread: Some(thread) })
    }

    /// Writes; returns once that is on the disk, or why it is not.
    pub(crate) async fn run<W: WriteOp>(&self, op: W) -> Result<W::Done, Fault> {
        const CLOSED: Fault = Fault::bare("the database has been closed");
        let (answer, answered) = oneshot::channel();
        let job = Box::new(Job { op, done: None, answer: Some(answer) });
        self.queue.as_ref().ok_or(CLOSED)?.send(job).map_err(|_| CLOSED)?;
        answered.await.map_err(|_| CLOSED)?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by its own thread; whoever waited got a fault.
            let _ = thread.join();
        }
    }
}

/// A job of any kind.
trait Queued: Send {
    fn apply(&mut self, tables: &Connection, clock: &dyn Clock) -> rusqlite::Result<()>;
    fn changed(&self) -> Option<RequestKey>;
    fn answer(&mut self, failed: Option<Fault>);
}

/// An operation, with whoever waits for it.
struct Job<W: WriteOp> {
    op: W,
    done: Option<W::Done>,
    answer: Option<oneshot::Sender<Result<W::Done, Fault>>>,
}

impl<W: WriteOp> Queued for Job<W> {
    fn apply(&mut self, tables: &Connection, clock: &dyn Clock) -> rusqlite::Result<()> {
        self.done = Some(self.op.apply(tables, clock)?);
        Ok(())
    }

    fn changed(&self) -> Option<RequestKey> {
        self.done.as_ref().and_then(|done| self.op.changed(done))
    }

    fn answer(&mut self, failed: Option<Fault>) {
        let done = self.done.take();
        let result = match failed {
            Some(fault) => Err(fault),
            None => done.ok_or(Fault::bare("the database did not answer")),
        };
        if let Some(answer) = self.answer.take() {
            // Whoever asked may have gone away; what is written stays written.
            let _ = answer.send(result);
        }
    }
}

/// Why a batch was not written.
enum Unwritten {
    /// One of its operations failed, or the transaction never began.
    Op(rusqlite::Error),
    /// The commit itself failed: the disk is full or broken.
    Commit(rusqlite::Error),
}

struct WriterThread {
    connection: Connection,
    clock: Arc<dyn Clock>,
    watchers: Arc<Watchers>,
    tally: Arc<Tally>,
    seen_version: i64,
}

impl WriterThread {
    fn new(
        connection: Connection,
        clock: Arc<dyn Clock>,
        watchers: Arc<Watchers>,
        tally: Arc<Tally>,
    ) -> Self {
        let mut new = Self { connection, clock, watchers, tally, seen_version: 0 };
        new.seen_version = new.version();
        new
    }

    fn work(&mut self, jobs: &Receiver<Box<dyn Queued>>) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            match jobs.recv_timeout(LOOK_EVERY) {
                Ok(job) => {
                    batch.push(job);
                    batch.extend(jobs.try_iter().take(BATCH - 1));
                    self.write(&mut batch);
                    batch.clear();
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.look_elsewhere();
        }
        // The log is copied over for the next start; if that fails, the log has everything all the same.
        let _ = self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
    }

    /// Writes a batch and answers everybody in it.
    fn write(&mut self, batch: &mut [Box<dyn Queued>]) {
        match self.attempt(batch) {
            Ok(()) => {
                self.tally.ops.fetch_add(batch.len() as u64, Ordering::Relaxed);
                self.tally.batches.fetch_add(1, Ordering::Relaxed);
                self.watchers.wake(batch.iter().filter_map(|job| job.changed()));
                for job in batch {
                    job.answer(None);
                }
            }
            // One that fails must not take the others with it.
            Err(Unwritten::Op(_)) if batch.len() > 1 => {
                for job in batch {
                    self.write(std::slice::from_mut(job));
                }
            }
            Err(Unwritten::Op(error)) => answer_all(batch, "the database could not be written", &error),
            Err(Unwritten::Commit(error)) => answer_all(batch, "the database could not commit", &error),
        }
    }

    fn attempt(&mut self, batch: &mut [Box<dyn Queued>]) -> Result<(), Unwritten> {
        // Immediate: from here on no other process writes, so what the conditions read stands until the commit.
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(Unwritten::Op)?;
        // A newer version may have brought the file to its own form since this one opened it.
        schema::check_version(&transaction).map_err(Unwritten::Op)?;
        for job in batch {
            job.apply(&transaction, self.clock.as_ref()).map_err(Unwritten::Op)?;
        }
        transaction.commit().map_err(Unwritten::Commit)
    }

    /// Wakes all waiters if another process has written since the last look.
    fn look_elsewhere(&mut self) {
        let version = self.version();
        if version != self.seen_version {
            self.seen_version = version;
            self.watchers.wake_all();
        }
    }

    /// Changes when another connection has committed; not with our own commits.
    fn version(&self) -> i64 {
        self.connection
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
            .unwrap_or(self.seen_version)
    }
}

fn answer_all(batch: &mut [Box<dyn Queued>], what: &'static str, error: &rusqlite::Error) {
    for job in batch {
        job.answer(Some(rows::fault(what, error)));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use placet_core::Timestamp;

    use super::*;

    struct StoppedClock;

    impl Clock for StoppedClock {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(0)
        }
    }

    /// Runs a statement.
    struct Sql(&'static str);

    impl WriteOp for Sql {
        type Done = ();

        fn apply(&self, tables: &Connection, _: &dyn Clock) -> rusqlite::Result<()> {
            tables.execute_batch(self.0)
        }
    }

    fn writer_thread(path: &Path) -> WriterThread {
        let connection = schema::open_to_write(path).unwrap();
        WriterThread::new(connection, Arc::new(StoppedClock), Arc::default(), Arc::default())
    }

    fn write(writer: &mut WriterThread, statements: &[&'static str]) -> Vec<Result<(), String>> {
        let (mut batch, mut answers): (Vec<Box<dyn Queued>>, Vec<_>) = (Vec::new(), Vec::new());
        for sql in statements {
            let (answer, answered) = oneshot::channel();
            batch.push(Box::new(Job { op: Sql(sql), done: None, answer: Some(answer) }));
            answers.push(answered);
        }
        writer.write(&mut batch);
        answers
            .into_iter()
            .map(|mut answer| answer.try_recv().unwrap().map_err(|fault| fault.chain()))
            .collect()
    }

    fn clients(writer: &WriterThread) -> String {
        writer
            .connection
            .query_row("SELECT group_concat(client, ' ' ORDER BY client) FROM quotas", [], |row| {
                row.get::<_, Option<String>>(0)
            })
            .unwrap()
            .unwrap_or_default()
    }

    #[test]
    fn an_operation_that_fails_takes_nobody_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer_thread(&folder.path().join("gate.db"));
        let answers = write(
            &mut writer,
            &[
                "INSERT INTO quotas VALUES ('a', 0, 0)",
                "INSERT INTO quotas VALUES ('half', 0, 0); INSERT INTO nowhere VALUES (1)",
                "INSERT INTO quotas VALUES ('b', 0, 0)",
            ],
        );
        let failed = "the database could not be written: no such table: nowhere";
        assert_eq!(answers, [Ok(()), Err(failed.to_owned()), Ok(())]);
        assert_eq!(clients(&writer), "a b");
    }

    #[test]
    fn a_commit_that_fails_acknowledges_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer_thread(&folder.path().join("gate.db"));
        writer
            .connection
            .execute_batch(
                "PRAGMA foreign_keys = ON;
                 CREATE TABLE parents (id INTEGER PRIMARY KEY);
                 CREATE TABLE children (id INTEGER REFERENCES parents DEFERRABLE INITIALLY DEFERRED);",
            )
            .unwrap();
        let answers =
            write(&mut writer, &["INSERT INTO quotas VALUES ('a', 0, 0)", "INSERT INTO children VALUES (1)"]);
        let failed = Err("the database could not commit: FOREIGN KEY constraint failed".to_owned());
        assert_eq!(answers, [failed.clone(), failed]);
        assert_eq!(clients(&writer), "");
        assert_eq!(write(&mut writer, &["INSERT INTO quotas VALUES ('b', 0, 0)"]), [Ok(())]);
        assert_eq!(clients(&writer), "b");
    }

    #[test]
    fn a_full_disk_is_a_fault_and_passes() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer_thread(&folder.path().join("gate.db"));
        let grow = "INSERT INTO questions (question) VALUES (hex(zeroblob(100000)))";
        writer.connection.execute_batch("PRAGMA max_page_count = 30").unwrap();
        let full = Err("the database could not be written: database or disk is full".to_owned());
        assert_eq!(write(&mut writer, &[grow, "INSERT INTO quotas VALUES ('a', 0, 0)"]), [full, Ok(())]);
        writer.connection.execute_batch("PRAGMA max_page_count = 1000").unwrap();
        assert_eq!(write(&mut writer, &[grow]), [Ok(())]);
        assert_eq!(clients(&writer), "a");
    }
}
