//! The store over SQLite: the embedded default. Every commit is synced to disk; concurrent commits share one sync.
//!
//! One thread writes (`writer`), a few connections read (`readers`), and waiters are woken after each commit
//! (`watchers`). Several processes may use one file at once. No rule lives here: what a commit means is `core`'s.

mod lately;
mod log;
mod operate;
mod readers;
mod rows;
mod schema;
mod watchers;
mod writer;
mod writes;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use placet_audit::StoredEntry;
use placet_core::Timestamp;
use placet_core::audit::{AuditEntry, ChainHead};
use placet_core::id::{ApprovalId, ClientId, HookId, RequestKey, ReviewerId};
use placet_core::request::Request;
use placet_gate::Fault;
use placet_gate::ports::{
    Clock, Closing, Commit, Committed, DIGEST_LIMIT, Hook, LogHead, OutboxMessage, PastMessage, PolicyRecord,
    PushDevice, RequestWrite, Sealed, SentMessage, Store, StoreQuery, Tallied, TrailPage, TrailQuery, Watch,
};

use lately::Lately;
pub use operate::{OpenFromBefore, check_database, copy_database, has_records};
use readers::Readers;
use watchers::Watchers;
use writer::Writer;

/// How many connections answer point reads. These run on the caller's own thread, so that many threads at once is
/// what they serve.
const POINT_READERS: usize = 4;

/// How many connections go through many rows, on threads where that may take its time.
const SCAN_READERS: usize = 2;

/// A store in one file. Clones are handles of the same store; dropping the last one finishes what is queued.
#[derive(Clone)]
pub struct SqliteStore(Arc<Inner>);

struct Inner {
    // Dropped in this order: readers first, so that the writer is the last to close the file and can tidy it.
    points: Readers,
    lately: Lately,
    scans: Arc<Readers>,
    watchers: Arc<Watchers>,
    writer: Writer,
}

/// An audit entry and its place among all entries of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedEntry {
    /// Counts all entries, from 1, in the order of their commits.
    pub position: i64,
    /// The entry, as far as this version knows its fields.
    pub entry: AuditEntry,
    /// The entry as it was stored: what its hash covers, whichever version wrote it.
    pub text: String,
}

/// How much a store has written since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Commits, and single rows that were changed: messages claimed or acknowledged, subscriptions, marks.
    pub ops: u64,
    /// Transactions that they shared, each with one sync of the disk.
    pub batches: u64,
}

impl SqliteStore {
    /// Opens the database at that path; makes it, readable by its owner alone, if there is none.
    ///
    /// `clock` says when a commit is too late. Fails on a file of another program, or of a newer version.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, Fault> {
        let connection = schema::open_to_write(path)?;
        let watchers = Arc::new(Watchers::default());
        let points = Readers::open(path, POINT_READERS)?;
        let scans = Arc::new(Readers::open(path, SCAN_READERS)?);
        let writer = Writer::start(connection, clock, Arc::clone(&watchers))?;
        Ok(Self(Arc::new(Inner { points, lately: Lately::default(), scans, watchers, writer })))
    }

    /// The audit chain of an approval, of `policy` or of `keys`, from its first entry.
    pub async fn audit_of(&self, subject: &str) -> Result<Vec<AuditEntry>, Fault> {
        let subject = subject.to_owned();
        self.scan(move |tables| rows::audit_of(tables, &subject)).await
    }

    /// All audit entries after that position, in the order of their commits, at most `limit`.
    pub async fn audit_page(&self, after_position: i64, limit: usize) -> Result<Vec<PlacedEntry>, Fault> {
        self.scan(move |tables| rows::audit_page(tables, after_position, limit)).await
    }

    /// Forgets requests that ended before that time, with what hangs on them; never audit entries. At most `limit`.
    pub async fn purge(&self, ended_before: Timestamp, limit: usize) -> Result<usize, Fault> {
        self.0.writer.run(writes::Purge { ended_before, limit }).await
    }

    /// How much has been written through these handles.
    pub fn written(&self) -> Written {
        let tally = &self.0.writer.tally;
        Written { ops: tally.ops.load(Ordering::Relaxed), batches: tally.batches.load(Ordering::Relaxed) }
    }

    /// Runs a read that may go through many rows on a thread that may block.
    async fn scan<T: Send + 'static>(
        &self,
        read: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let scans = Arc::clone(&self.0.scans);
        tokio::task::spawn_blocking(move || scans.read(read))
            .await
            .map_err(|error| Fault::new("a database read did not finish", error))?
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn load(&self, key: RequestKey) -> Result<Option<Request>, Fault> {
        self.0.points.read(|tables| rows::request_again(tables, key, &self.0.lately))
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, Fault> {
        let asked = match &commit.request {
            Some(RequestWrite::Insert { asked, .. }) => Some(Arc::clone(asked)),
            Some(RequestWrite::Update { .. }) | None => None,
        };
        let committed = self.0.writer.run(writes::WriteCommit::prepare(commit)?).await?;
        if let (Committed::Done { .. }, Some(asked)) = (&committed, asked) {
            self.0.lately.keep(&asked);
        }
        Ok(committed)
    }

    fn watch(&self, key: RequestKey) -> Box<dyn Watch> {
        Box::new(self.0.watchers.watch(key))
    }

    fn watch_pending(&self) -> Box<dyn Watch> {
        Box::new(self.0.watchers.watch_pending())
    }

    async fn pending_digest(&self) -> Result<u64, Fault> {
        self.scan(|tables| rows::pending_digest(tables, DIGEST_LIMIT)).await
    }

    async fn tallied(&self, account: &str, since: &[Timestamp]) -> Result<Tallied, Fault> {
        self.0.points.read(|tables| rows::tallied(tables, account, since))
    }

    async fn voted(&self, reviewer: &ReviewerId, limit: usize) -> Result<Vec<Request>, Fault> {
        let reviewer = reviewer.clone();
        self.scan(move |tables| rows::voted(tables, &reviewer, limit)).await
    }

    async fn closing(&self, until: Timestamp, limit: usize) -> Result<Vec<Closing>, Fault> {
        self.0.points.read(|tables| rows::closing(tables, until, limit))
    }

    async fn due_messages(&self, now: Timestamp, limit: usize) -> Result<Vec<OutboxMessage>, Fault> {
        self.0.points.read(|tables| rows::due_messages(tables, now, limit))
    }

    async fn message(&self, id: &str) -> Result<Option<OutboxMessage>, Fault> {
        self.0.points.read(|tables| rows::message_of(tables, id))
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, Fault> {
        self.0.points.read(rows::next_due)
    }

    async fn claim(&self, seen: &OutboxMessage, attempt: u32, due_at: Timestamp) -> Result<bool, Fault> {
        self.0.writer.run(writes::Claim { seen: seen.clone(), attempt, due_at }).await
    }

    async fn ack(&self, id: &str) -> Result<(), Fault> {
        self.0.writer.run(writes::Ack { id: id.to_owned() }).await
    }

    async fn replace(&self, id: &str, others: &[OutboxMessage]) -> Result<(), Fault> {
        self.0.writer.run(writes::Replace::prepare(id, others)?).await
    }

    async fn keep_sent(&self, sent: &SentMessage) -> Result<(), Fault> {
        self.0.writer.run(writes::KeepSent::prepare(sent)?).await
    }

    async fn sent(&self, approval: &ApprovalId) -> Result<Vec<SentMessage>, Fault> {
        self.0.points.read(|tables| rows::sent(tables, approval))
    }

    async fn tally(&self, name: &str, until: Timestamp) -> Result<u32, Fault> {
        self.0.writer.run(writes::CountUp { name: name.to_owned(), until }).await
    }

    async fn end_message(&self, past: &PastMessage) -> Result<(), Fault> {
        self.0.writer.run(writes::EndMessage::prepare(past)?).await
    }

    async fn past_messages(&self, day: i64) -> Result<Vec<PastMessage>, Fault> {
        self.scan(move |tables| rows::past_messages(tables, day)).await
    }

    async fn list(&self, query: &StoreQuery) -> Result<Vec<Request>, Fault> {
        let query = query.clone();
        self.scan(move |tables| rows::list(tables, &query)).await
    }

    async fn pending(&self, after: Option<Closing>, limit: usize) -> Result<Vec<Request>, Fault> {
        self.scan(move |tables| rows::pending(tables, after, limit)).await
    }

    // Not cached: the table is small, its pages are in memory, and another process may have written it just now.
    async fn hooks(&self) -> Result<Arc<Vec<Hook>>, Fault> {
        self.0.points.read(rows::hooks).map(Arc::new)
    }

    async fn add_hook(&self, hook: &Hook) -> Result<(), Fault> {
        self.0.writer.run(writes::AddHook::prepare(hook)?).await
    }

    async fn remove_hook(&self, client: &ClientId, hook: &HookId) -> Result<bool, Fault> {
        self.0.writer.run(writes::RemoveHook { client: client.clone(), hook: hook.clone() }).await
    }

    async fn keep_push_device(&self, device: &PushDevice) -> Result<(), Fault> {
        self.0.writer.run(writes::KeepPushDevice::prepare(device)?).await
    }

    async fn push_devices(&self, reviewer: &ReviewerId) -> Result<Vec<PushDevice>, Fault> {
        self.0.points.read(|tables| rows::push_devices(tables, reviewer))
    }

    async fn remove_push_device(&self, reviewer: &ReviewerId, device: &str) -> Result<bool, Fault> {
        let gone = writes::RemovePushDevice { reviewer: reviewer.clone(), id: device.to_owned() };
        self.0.writer.run(gone).await
    }

    async fn policy(&self) -> Result<Option<PolicyRecord>, Fault> {
        self.0.points.read(rows::latest_policy)
    }

    async fn chain(&self, subject: &str) -> Result<ChainHead, Fault> {
        self.0.points.read(|tables| rows::chain(tables, subject))
    }

    async fn mark(&self, name: &str, until: Timestamp) -> Result<bool, Fault> {
        self.0.writer.run(writes::Mark { name: name.to_owned(), until }).await
    }

    async fn seal(&self) -> Result<Sealed, Fault> {
        self.seal_batch().await
    }

    async fn log_head(&self) -> Result<LogHead, Fault> {
        self.0.points.read(log::head)
    }

    async fn log_tile(&self, level: u8, number: u64) -> Result<Option<Vec<u8>>, Fault> {
        self.0.points.read(|tables| log::tile(tables, level, number))
    }

    async fn log_index(&self, subject: &str, seq: u32) -> Result<Option<u64>, Fault> {
        self.0.points.read(|tables| log::index(tables, subject, seq))
    }

    async fn trail(&self, query: &TrailQuery) -> Result<TrailPage, Fault> {
        let query = *query;
        self.scan(move |tables| log::trail(tables, &query)).await
    }

    async fn trail_of(&self, subject: &str) -> Result<Vec<StoredEntry>, Fault> {
        self.0.points.read(|tables| log::trail_of(tables, subject))
    }
}

#[cfg(test)]
mod tests {
    use placet_testkit::{FixedClock, sample};

    use super::*;

    #[tokio::test]
    async fn a_closed_store_leaves_one_file_with_everything_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gate.db");
        let asked = sample::asked("n8n", "r1", FixedClock::START);
        let store = SqliteStore::open(&path, FixedClock::new()).unwrap();
        store.commit(sample::insert(&asked)).await.unwrap();
        let request = store.load(asked.key()).await.unwrap();
        let other = store.clone();
        drop(store);
        assert_eq!(other.load(asked.key()).await.unwrap(), request);
        drop(other);
        let files: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(files, ["gate.db"]);
        let store = SqliteStore::open(&path, FixedClock::new()).unwrap();
        assert_eq!(store.load(asked.key()).await.unwrap(), request);
    }

    #[tokio::test]
    async fn the_trail_is_paged_in_the_order_of_its_commits() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("gate.db"), FixedClock::new()).unwrap();
        let mut entries = Vec::new();
        for number in [3, 1, 2] {
            let asked = sample::asked("n8n", &format!("r{number}"), FixedClock::START.plus_millis(number));
            let commit = sample::insert(&asked);
            entries.extend(commit.audit.clone());
            store.commit(commit).await.unwrap();
        }
        let first = store.audit_page(0, 4).await.unwrap();
        let rest = store.audit_page(first.last().map_or(0, |last| last.position), 4).await.unwrap();
        let placed: Vec<PlacedEntry> = first.into_iter().chain(rest).collect();
        for placed in &placed {
            assert_eq!(placet_core::audit::stored_hash(&placed.text).as_ref(), Some(&placed.entry.hash));
        }
        let paged: Vec<_> = placed.into_iter().map(|placed| placed.entry).collect();
        assert_eq!(paged, entries);
    }

    #[tokio::test]
    async fn a_file_that_a_newer_version_takes_over_is_not_written_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gate.db");
        let store = SqliteStore::open(&path, FixedClock::new()).unwrap();
        let asked = sample::asked("n8n", "r1", FixedClock::START);
        store.commit(sample::insert(&asked)).await.unwrap();
        let newer = rusqlite::Connection::open(&path).unwrap();
        newer.pragma_update(None, "user_version", schema::newest() + 1).unwrap();
        let request = store.load(asked.key()).await.unwrap().unwrap();
        let end = sample::end(&request, placet_core::request::Status::Approved, FixedClock::START);
        let fault = store.commit(end).await.unwrap_err();
        assert_eq!(fault.to_string(), placet_gate::stored::NEWER);
        assert_eq!(store.load(asked.key()).await.unwrap(), Some(request));
    }

    #[tokio::test]
    async fn a_row_of_a_newer_version_is_named_as_that() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gate.db");
        let store = SqliteStore::open(&path, FixedClock::new()).unwrap();
        let asked = sample::asked("n8n", "r1", FixedClock::START);
        store.commit(sample::insert(&asked)).await.unwrap();
        store.add_hook(&sample::hook("n8n", 1)).await.unwrap();
        let newer = rusqlite::Connection::open(&path).unwrap();
        newer
            .execute_batch(
                "UPDATE requests SET state = replace(state, '\"v\":1', '\"v\":2');
                 UPDATE outbox SET v = 2; UPDATE hooks SET v = 2;",
            )
            .unwrap();
        let ever = Timestamp::from_millis(i64::MAX);
        for fault in [
            store.load(asked.key()).await.unwrap_err(),
            store.due_messages(ever, 9).await.unwrap_err(),
            store.hooks().await.unwrap_err(),
        ] {
            assert_eq!(fault.to_string(), placet_gate::stored::NEWER);
        }
    }

    #[tokio::test]
    async fn what_another_handle_on_the_file_writes_wakes_and_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gate.db");
        let (here, there) = (
            SqliteStore::open(&path, FixedClock::new()).unwrap(),
            SqliteStore::open(&path, FixedClock::new()).unwrap(),
        );
        let asked = sample::asked("n8n", "r1", FixedClock::START);
        let mut watch = here.watch(asked.key());
        there.commit(sample::insert(&asked)).await.unwrap();
        assert!(here.load(asked.key()).await.unwrap().is_some());
        there.add_hook(&sample::hook("n8n", 1)).await.unwrap();
        assert_eq!(*here.hooks().await.unwrap(), [sample::hook("n8n", 1)]);
        tokio::time::timeout(std::time::Duration::from_secs(20), watch.changed()).await.unwrap();
    }
}
