//! A store in memory: for unit tests of the gate, and the plainest reading of the port.
//!
//! Nothing here is fast, and nothing survives. It passes the same contract as the stores that are deployed.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use placet_audit::{Edge, StoredEntry, WIDTH};
use placet_core::Timestamp;
use placet_core::audit::{AuditEntry, ChainHead};
use placet_core::id::{ApprovalId, ClientId, HookId, RequestId, RequestKey, ReviewerId};
use placet_core::request::{ApprovalRequest, Request, stored};
use placet_gate::Fault;
use placet_gate::ports::{
    Clock, Closing, Commit, Committed, Hook, LogHead, OutboxMessage, PastMessage, PlacedEntry, PolicyRecord,
    PushDevice, Quota, RequestWrite, Sealed, SentMessage, Store, StoreQuery, Tallied, TrailPage, TrailQuery,
    Watch,
};
use tokio::sync::watch;

use crate::{FixedClock, Subject, Trail};

/// A store in memory. Can be made unreachable, as a database is now and then.
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    unreachable: AtomicBool,
    tables: Mutex<Tables>,
}

#[derive(Default)]
struct Tables {
    requests: HashMap<RequestKey, StoredRequest>,
    audit: BTreeMap<(String, u32), AuditEntry>,
    /// Chain and number of each entry, in the order of their commits.
    order: Vec<(String, u32)>,
    tiles: BTreeMap<(u8, u64), Vec<u8>>,
    edge: Edge,
    outbox: BTreeMap<String, OutboxMessage>,
    past: BTreeMap<String, PastMessage>,
    policies: BTreeMap<u32, PolicyRecord>,
    quotas: HashMap<(ClientId, i64), u32>,
    hooks: BTreeMap<HookId, Hook>,
    push_devices: BTreeMap<(ReviewerId, String), PushDevice>,
    marks: HashMap<String, Timestamp>,
    sent: BTreeMap<(ApprovalId, String), SentMessage>,
    counted: HashMap<String, (u32, Timestamp)>,
    tallies: BTreeMap<(String, RequestKey), (Timestamp, f64)>,
    tally_versions: HashMap<String, u64>,
    voted: BTreeMap<(ReviewerId, RequestKey), Timestamp>,
    watches: HashMap<RequestKey, watch::Sender<()>>,
    all: watch::Sender<()>,
}

/// The two texts of a request's stored form, and its version: so that tests of the gate go through that form, too.
struct StoredRequest {
    question: String,
    state: String,
    version: u64,
}

impl MemoryStore {
    /// An empty store. `clock` says when a commit is too late.
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { clock, unreachable: AtomicBool::new(false), tables: Mutex::default() })
    }

    /// From now on every call fails.
    pub fn break_down(&self) {
        self.unreachable.store(true, Ordering::SeqCst);
    }

    /// From now on it can be reached again.
    pub fn recover(&self) {
        self.unreachable.store(false, Ordering::SeqCst);
    }

    fn tables(&self) -> Result<MutexGuard<'_, Tables>, Fault> {
        if self.unreachable.load(Ordering::SeqCst) {
            return Err(Fault::bare("the store cannot be reached"));
        }
        Ok(self.tables.lock().unwrap())
    }
}

/// A new store in memory, as the contract and the histories want it.
pub fn a_store_in_memory(clock: Arc<FixedClock>) -> impl Future<Output = Subject> {
    let store = MemoryStore::new(clock.clone());
    std::future::ready(Subject { store: store.clone(), trail: store, clock })
}

#[async_trait]
impl Trail for MemoryStore {
    async fn audit_of(&self, subject: &str) -> Vec<AuditEntry> {
        self.tables.lock().unwrap().audit_of(subject)
    }
}

impl Tables {
    fn audit_of(&self, subject: &str) -> Vec<AuditEntry> {
        let entries = self.audit.iter().filter(|((of, _), _)| of == subject);
        entries.map(|(_, entry)| entry.clone()).collect()
    }

    fn stored(&self, place: &(String, u32)) -> StoredEntry {
        StoredEntry::new(serde_json::to_string(self.audit.get(place).unwrap()).unwrap())
    }

    fn load(&self, key: RequestKey) -> Result<Option<Request>, Fault> {
        self.requests.get(&key).map(StoredRequest::read).transpose()
    }

    fn all(&self) -> Result<Vec<Request>, Fault> {
        self.requests.values().map(StoredRequest::read).collect()
    }

    /// What waits, by deadline and key.
    fn waiting(&self) -> Result<Vec<(Closing, Request)>, Fault> {
        let mut waiting: Vec<_> = self
            .all()?
            .into_iter()
            .filter_map(|request| {
                let closes_at = request.pending()?.closes_at;
                Some((Closing { closes_at, key: request.key() }, request))
            })
            .collect();
        waiting.sort_by_key(|(closing, _)| *closing);
        Ok(waiting)
    }

    /// Why a commit must not be written, if so. A lost race comes first: then nothing else matters to the loser.
    fn obstacle(&self, commit: &Commit, now: Timestamp) -> Result<Option<Committed>, Fault> {
        if let Some(winner) = self.winner(commit.request.as_ref())? {
            return Ok(Some(Committed::Lost(Box::new(winner))));
        }
        if commit.not_at_or_after.is_some_and(|end| now >= end) {
            return Ok(Some(Committed::Late));
        }
        let newest = self.policies.keys().next_back().copied().unwrap_or(0);
        if commit.policy_version.is_some_and(|version| newest > version) {
            return Ok(Some(Committed::PolicyMoved));
        }
        let taken = |entry: &AuditEntry| self.audit.contains_key(&(entry.subject.clone(), entry.seq));
        let installed =
            commit.policy.as_ref().is_some_and(|policy| self.policies.contains_key(&policy.version));
        if installed || commit.audit.iter().any(taken) {
            return Ok(Some(Committed::ChainMoved));
        }
        let version = |account: &String| self.tally_versions.get(account).copied().unwrap_or(0);
        if commit.tallies.seen.iter().any(|(account, seen)| version(account) != *seen) {
            return Ok(Some(Committed::TotalsMoved));
        }
        commit.quota.as_ref().map_or(Ok(None), |quota| self.over(quota, commit.request.as_ref()))
    }

    fn winner(&self, write: Option<&RequestWrite>) -> Result<Option<Request>, Fault> {
        match write {
            Some(RequestWrite::Insert { asked, .. }) => self.load(asked.key()),
            Some(RequestWrite::Update { asked, from_version, .. }) => {
                let found =
                    self.load(asked.key())?.ok_or(Fault::bare("a request that is not there is changed"))?;
                Ok((found.version() != *from_version).then_some(found))
            }
            None => Ok(None),
        }
    }

    fn over(&self, quota: &Quota, write: Option<&RequestWrite>) -> Result<Option<Committed>, Fault> {
        if self.quotas.get(&(quota.client.clone(), quota.minute)).copied().unwrap_or(0) >= quota.limit {
            return Ok(Some(Committed::OverQuota));
        }
        let waits = match write {
            Some(RequestWrite::Insert { state, .. } | RequestWrite::Update { state, .. }) => {
                state.pending().is_some()
            }
            None => false,
        };
        let waiting = self.waiting()?;
        let own = waiting.iter().filter(|(_, request)| request.asked().client == quota.client).count();
        Ok((waits && own >= quota.max_pending as usize).then_some(Committed::TooManyPending))
    }

    fn pending_duplicate(&self, asked: &ApprovalRequest) -> Result<Option<RequestId>, Fault> {
        let mut alike = self.all()?;
        alike.retain(|other| {
            other.pending().is_some()
                && other.asked().client == asked.client
                && other.asked().is_same_question(&asked.action, &asked.payload_sha256)
        });
        alike.sort_by(|one, other| one.asked().approval_id.cmp(&other.asked().approval_id));
        Ok(alike.first().map(|duplicate| duplicate.asked().request_id.clone()))
    }

    fn write(&mut self, commit: Commit) -> Result<Option<RequestId>, Fault> {
        let mut pending_twin = None;
        if let Some(RequestWrite::Insert { asked, .. } | RequestWrite::Update { asked, .. }) = &commit.request
        {
            for tally in &commit.tallies.add {
                let place = (tally.account.clone(), asked.key());
                self.tallies.insert(place, (asked.created_at, tally.amount));
                *self.tally_versions.entry(tally.account.clone()).or_default() += 1;
            }
            for tally in &commit.tallies.remove {
                self.tallies.remove(&(tally.account.clone(), asked.key()));
            }
        }
        let voted_on = match &commit.request {
            Some(RequestWrite::Update { asked, state, .. }) => Some((asked.key(), state.updated_at())),
            Some(RequestWrite::Insert { .. }) | None => None,
        };
        match commit.request {
            Some(RequestWrite::Insert { asked, state }) => {
                pending_twin = self.pending_duplicate(&asked)?;
                let row = StoredRequest {
                    question: stored::write_question(&asked).unwrap(),
                    state: stored::write_state(&state).unwrap(),
                    version: 1,
                };
                self.requests.insert(asked.key(), row);
                self.wake(asked.key());
            }
            Some(RequestWrite::Update { asked, state, .. }) => {
                let row = self.requests.get_mut(&asked.key()).unwrap();
                let before = row.read()?;
                if before.outcome().is_some() && before.outcome() != state.outcome() {
                    return Err(Fault::bare("a request that has ended never changes"));
                }
                row.state = stored::write_state(&state).unwrap();
                row.version += 1;
                self.wake(asked.key());
            }
            None => {}
        }
        if let (Some(reviewer), Some((key, at))) = (commit.voted, voted_on) {
            self.voted.insert((reviewer, key), at);
        }
        for entry in commit.audit {
            self.order.push((entry.subject.clone(), entry.seq));
            self.audit.insert((entry.subject.clone(), entry.seq), entry);
        }
        for message in commit.outbox {
            self.outbox.insert(message.id.clone(), message);
        }
        if let Some(policy) = commit.policy {
            self.policies.insert(policy.version, policy);
        }
        if let Some(quota) = commit.quota {
            *self.quotas.entry((quota.client, quota.minute)).or_default() += 1;
        }
        Ok(pending_twin)
    }

    fn wake(&self, key: RequestKey) {
        self.all.send_replace(());
        if let Some(sender) = self.watches.get(&key) {
            sender.send_replace(());
        }
    }
}

impl StoredRequest {
    fn read(&self) -> Result<Request, Fault> {
        stored::read(&self.question, &self.state, self.version).map_err(placet_gate::stored::fault)
    }
}

struct MemoryWatch(watch::Receiver<()>);

#[async_trait]
impl Watch for MemoryWatch {
    async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn load(&self, key: RequestKey) -> Result<Option<Request>, Fault> {
        self.tables()?.load(key)
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, Fault> {
        let mut tables = self.tables()?;
        if let Some(obstacle) = tables.obstacle(&commit, self.clock.now())? {
            return Ok(obstacle);
        }
        Ok(Committed::Done { pending_twin: tables.write(commit)? })
    }

    fn watch(&self, key: RequestKey) -> Box<dyn Watch> {
        let mut tables = self.tables.lock().unwrap();
        let sender = tables.watches.entry(key).or_insert_with(|| watch::Sender::new(()));
        Box::new(MemoryWatch(sender.subscribe()))
    }

    fn watch_pending(&self) -> Box<dyn Watch> {
        Box::new(MemoryWatch(self.tables.lock().unwrap().all.subscribe()))
    }

    async fn tallied(&self, account: &str, since: &[Timestamp]) -> Result<Tallied, Fault> {
        let tables = self.tables()?;
        let own = || tables.tallies.iter().filter(|((of, _), _)| of == account).map(|(_, added)| *added);
        let sum = |since: &Timestamp| own().filter(|(at, _)| at > since).map(|(_, amount)| amount).sum();
        Ok(Tallied {
            version: tables.tally_versions.get(account).copied().unwrap_or(0),
            sums: since.iter().map(sum).collect(),
        })
    }

    async fn voted(&self, reviewer: &ReviewerId, limit: usize) -> Result<Vec<Request>, Fault> {
        let tables = self.tables()?;
        let mut own: Vec<_> = tables.voted.iter().filter(|((who, _), _)| who == reviewer).collect();
        own.sort_by_key(|(_, at)| std::cmp::Reverse(**at));
        own.into_iter().take(limit).filter_map(|((_, key), _)| tables.load(*key).transpose()).collect()
    }

    async fn closing(&self, until: Timestamp, limit: usize) -> Result<Vec<Closing>, Fault> {
        let waiting = self.tables()?.waiting()?;
        let closing = waiting.into_iter().map(|(closing, _)| closing);
        Ok(closing.filter(|closing| closing.closes_at <= until).take(limit).collect())
    }

    async fn due_messages(&self, now: Timestamp, limit: usize) -> Result<Vec<OutboxMessage>, Fault> {
        let mut due: Vec<OutboxMessage> = self.tables()?.outbox.values().cloned().collect();
        due.retain(|message| message.due_at <= now);
        due.sort_by_key(|message| message.due_at);
        due.truncate(limit);
        Ok(due)
    }

    async fn message(&self, id: &str) -> Result<Option<OutboxMessage>, Fault> {
        Ok(self.tables()?.outbox.get(id).cloned())
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, Fault> {
        let tables = self.tables()?;
        let closing = tables.waiting()?.first().map(|(closing, _)| closing.closes_at);
        let due = tables.outbox.values().map(|message| message.due_at).min();
        Ok(closing.into_iter().chain(due).min())
    }

    async fn claim(&self, seen: &OutboxMessage, attempt: u32, due_at: Timestamp) -> Result<bool, Fault> {
        let mut tables = self.tables()?;
        let found = tables.outbox.get_mut(&seen.id);
        let as_seen = found.filter(|found| (found.attempt, found.due_at) == (seen.attempt, seen.due_at));
        let Some(message) = as_seen else { return Ok(false) };
        (message.attempt, message.due_at) = (attempt, due_at);
        Ok(true)
    }

    async fn ack(&self, id: &str) -> Result<(), Fault> {
        self.tables()?.outbox.remove(id);
        Ok(())
    }

    async fn replace(&self, id: &str, others: &[OutboxMessage]) -> Result<(), Fault> {
        let mut tables = self.tables()?;
        tables.outbox.remove(id);
        for other in others {
            tables.outbox.insert(other.id.clone(), other.clone());
        }
        Ok(())
    }

    async fn keep_sent(&self, sent: &SentMessage) -> Result<(), Fault> {
        self.tables()?.sent.insert((sent.approval_id.clone(), sent.name()), sent.clone());
        Ok(())
    }

    async fn sent(&self, approval: &ApprovalId) -> Result<Vec<SentMessage>, Fault> {
        let tables = self.tables()?;
        let of_it = tables.sent.iter().filter(|((of, _), _)| of == approval);
        Ok(of_it.map(|(_, sent)| sent.clone()).collect())
    }

    async fn tally(&self, name: &str, until: Timestamp) -> Result<u32, Fault> {
        let now = self.clock.now();
        let mut tables = self.tables()?;
        tables.counted.retain(|_, (_, until)| *until > now);
        let (count, _) = tables.counted.entry(name.to_owned()).or_insert((0, until));
        *count += 1;
        Ok(*count)
    }

    async fn end_message(&self, past: &PastMessage) -> Result<(), Fault> {
        let mut tables = self.tables()?;
        tables.outbox.remove(&past.id);
        tables.past.entry(past.id.clone()).or_insert_with(|| past.clone());
        Ok(())
    }

    async fn past_messages(&self, day: i64) -> Result<Vec<PastMessage>, Fault> {
        let of_day = |past: &&PastMessage| past.approval_id.drawn_at().day() == day;
        Ok(self.tables()?.past.values().filter(of_day).cloned().collect())
    }

    async fn list(&self, query: &StoreQuery) -> Result<Vec<Request>, Fault> {
        let mut found = self.tables()?.all()?;
        found.retain(|request| {
            query.client.as_ref().is_none_or(|client| request.asked().client == *client)
                && query.status.is_none_or(|status| request.status() == status)
                && query.before.as_ref().is_none_or(|before| request.asked().approval_id < *before)
        });
        found.sort_by(|one, other| other.asked().approval_id.cmp(&one.asked().approval_id));
        found.truncate(query.limit);
        Ok(found)
    }

    async fn pending(&self, after: Option<Closing>, limit: usize) -> Result<Vec<Request>, Fault> {
        let waiting = self.tables()?.waiting()?;
        let later = waiting.into_iter().filter(|(closing, _)| after.is_none_or(|after| *closing > after));
        Ok(later.map(|(_, request)| request).take(limit).collect())
    }

    async fn keep_push_device(&self, device: &PushDevice) -> Result<(), Fault> {
        self.tables()?.push_devices.insert((device.reviewer.clone(), device.id()), device.clone());
        Ok(())
    }

    async fn push_devices(&self, reviewer: &ReviewerId) -> Result<Vec<PushDevice>, Fault> {
        let tables = self.tables()?;
        let own = tables.push_devices.values().filter(|device| device.reviewer == *reviewer);
        Ok(own.cloned().collect())
    }

    async fn remove_push_device(&self, reviewer: &ReviewerId, device: &str) -> Result<bool, Fault> {
        Ok(self.tables()?.push_devices.remove(&(reviewer.clone(), device.to_owned())).is_some())
    }

    async fn hooks(&self) -> Result<Arc<Vec<Hook>>, Fault> {
        Ok(Arc::new(self.tables()?.hooks.values().cloned().collect()))
    }

    async fn add_hook(&self, hook: &Hook) -> Result<(), Fault> {
        self.tables()?.hooks.insert(hook.id.clone(), hook.clone());
        Ok(())
    }

    async fn remove_hook(&self, client: &ClientId, hook: &HookId) -> Result<bool, Fault> {
        let mut tables = self.tables()?;
        let own = tables.hooks.get(hook).is_some_and(|hook| hook.client == *client);
        Ok(own && tables.hooks.remove(hook).is_some())
    }

    async fn policy(&self) -> Result<Option<PolicyRecord>, Fault> {
        Ok(self.tables()?.policies.values().next_back().cloned())
    }

    async fn chain(&self, subject: &str) -> Result<ChainHead, Fault> {
        let last = self.tables()?.audit_of(subject).pop();
        Ok(last.map_or_else(ChainHead::default, |last| ChainHead { seq: last.seq, hash: last.hash }))
    }

    async fn mark(&self, name: &str, until: Timestamp) -> Result<bool, Fault> {
        let now = self.clock.now();
        let mut tables = self.tables()?;
        tables.marks.retain(|_, until| *until > now);
        // Whoever comes later does not make it longer.
        let is_new = !tables.marks.contains_key(name);
        if is_new {
            tables.marks.insert(name.to_owned(), until);
        }
        Ok(is_new)
    }

    async fn seal(&self) -> Result<Sealed, Fault> {
        let mut tables = self.tables()?;
        let sealed = usize::try_from(tables.edge.leaves()).unwrap();
        let new: Vec<_> =
            tables.order.iter().skip(sealed).map(|place| tables.stored(place).leaf_hash().unwrap()).collect();
        let entries = new.len() as u64;
        for tile in tables.edge.append(new) {
            tables.tiles.insert((tile.level, tile.number), tile.hashes);
        }
        Ok(Sealed { entries, more: false })
    }

    async fn log_head(&self) -> Result<LogHead, Fault> {
        let tables = self.tables()?;
        Ok(LogHead { leaves: tables.edge.leaves(), root: tables.edge.root(), min_index: 0 })
    }

    async fn log_tile(&self, level: u8, number: u64) -> Result<Option<Vec<u8>>, Fault> {
        let tables = self.tables()?;
        let hashes = tables.edge.leaves() >> (8 * u32::from(level));
        let edge = || tables.edge.levels().get(usize::from(level)).cloned();
        let at_edge = number == hashes / WIDTH && !hashes.is_multiple_of(WIDTH);
        Ok(tables.tiles.get(&(level, number)).cloned().or_else(|| edge().filter(|_| at_edge)))
    }

    async fn log_index(&self, subject: &str, seq: u32) -> Result<Option<u64>, Fault> {
        let place = (subject.to_owned(), seq);
        Ok(self.tables()?.order.iter().position(|other| *other == place).map(|index| index as u64))
    }

    async fn trail(&self, query: &TrailQuery) -> Result<TrailPage, Fault> {
        let tables = self.tables()?;
        let from = usize::try_from(query.from).unwrap();
        let all = tables.order.iter().enumerate().skip(from);
        let wanted = all.filter(|(_, place)| {
            let at = tables.audit.get(*place).unwrap().timestamp;
            query.since.is_none_or(|since| at >= since) && query.until.is_none_or(|until| at < until)
        });
        let entries: Vec<PlacedEntry> = wanted
            .take(query.limit)
            .map(|(index, place)| PlacedEntry { index: index as u64, entry: tables.stored(place) })
            .collect();
        let is_full = entries.len() >= query.limit;
        let next = entries.last().filter(|_| is_full).map(|last| last.index + 1);
        Ok(TrailPage { entries, next })
    }

    async fn trail_of(&self, subject: &str) -> Result<Vec<StoredEntry>, Fault> {
        let entries = self.tables()?.audit_of(subject);
        Ok(entries.iter().map(|entry| StoredEntry::new(serde_json::to_string(entry).unwrap())).collect())
    }
}
