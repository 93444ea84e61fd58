//! The store over DynamoDB. The only crate that knows its SDK.
//!
//! An act is one conditional transaction (`commit`); reads are in `queries`; `items` says what lies where. No rule
//! lives here, no credentials and no HTTP client: whoever makes the SDK's client gives it those, and its time limits.
//!
//! # What is consistent, and what comes a little later
//!
//! Requests, subscriptions, policies and chains are read consistently. What is due, overdue,
//! pending or listed is found in indexes that DynamoDB brings up to date after the write, mostly within milliseconds.
//! That breaks no promise: what the index has not got yet is found by the next sweep or the next look, and what it
//! still has though it is gone is noticed, because a claim is conditional, a deadline is settled on the request as
//! loaded, and pages of requests are loaded consistently before they are handed out.

mod commit;
mod duplicates;
mod health;
mod items;
mod log;
mod parts;
mod queries;
mod tables;
mod watch;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use placet_audit::StoredEntry;
use placet_core::Timestamp;
use placet_core::audit::{AuditEntry, ChainHead};
use placet_core::id::{ApprovalId, ClientId, HookId, RequestKey, ReviewerId};
use placet_core::request::Request;
use placet_gate::Fault;
use placet_gate::ports::{
    Clock, Closing, Commit, Committed, Hook, LogHead, OutboxMessage, PastMessage, PolicyRecord, PushDevice,
    Sealed, SentMessage, Store, StoreQuery, Tallied, TrailPage, TrailQuery, Watch,
};

pub use tables::{DUE_INDEX, Keep, LISTED_INDEX, TTL_ATTRIBUTE, Tables, create};

/// A store in two tables. Clones are handles of the same store.
#[derive(Clone)]
pub struct DynamoStore(Arc<Inner>);

struct Inner {
    client: Client,
    tables: Tables,
    keep: Keep,
    clock: Arc<dyn Clock>,
    /// The text of a policy that was read last, by its digest.
    last_policy_text: Mutex<Option<(String, String)>>,
}

impl DynamoStore {
    /// A store in those tables, which must be there. `clock` says when a commit is too late.
    pub fn new(client: Client, tables: Tables, keep: Keep, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner { client, tables, keep, clock, last_policy_text: Mutex::default() }))
    }

    /// The audit chain of an approval, of `policy` or of `keys`, from its first entry.
    pub async fn audit_of(&self, subject: &str) -> Result<Vec<AuditEntry>, Fault> {
        self.0.audit_of(subject).await
    }
}

#[async_trait]
impl Store for DynamoStore {
    async fn load(&self, key: RequestKey) -> Result<Option<Request>, Fault> {
        self.0.load(key).await
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, Fault> {
        self.0.commit(commit).await
    }

    fn watch(&self, _: RequestKey) -> Box<dyn Watch> {
        Box::new(watch::Poll::new())
    }

    fn watch_pending(&self) -> Box<dyn Watch> {
        Box::new(watch::Poll::new())
    }

    async fn tallied(&self, account: &str, since: &[Timestamp]) -> Result<Tallied, Fault> {
        self.0.tallied(account, since).await
    }

    async fn voted(&self, reviewer: &ReviewerId, limit: usize) -> Result<Vec<Request>, Fault> {
        self.0.voted(reviewer, limit).await
    }

    async fn closing(&self, until: Timestamp, limit: usize) -> Result<Vec<Closing>, Fault> {
        self.0.closing(until, limit).await
    }

    async fn due_messages(&self, now: Timestamp, limit: usize) -> Result<Vec<OutboxMessage>, Fault> {
        self.0.due_messages(now, limit).await
    }

    async fn message(&self, id: &str) -> Result<Option<OutboxMessage>, Fault> {
        self.0.message(id).await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, Fault> {
        self.0.next_due().await
    }

    async fn claim(&self, seen: &OutboxMessage, attempt: u32, due_at: Timestamp) -> Result<bool, Fault> {
        self.0.claim(seen, attempt, due_at).await
    }

    async fn ack(&self, id: &str) -> Result<(), Fault> {
        self.0.ack(id).await
    }

    async fn replace(&self, id: &str, others: &[OutboxMessage]) -> Result<(), Fault> {
        self.0.replace(id, others).await
    }

    async fn keep_sent(&self, sent: &SentMessage) -> Result<(), Fault> {
        self.0.keep_sent(sent).await
    }

    async fn sent(&self, approval: &ApprovalId) -> Result<Vec<SentMessage>, Fault> {
        self.0.sent(approval).await
    }

    async fn tally(&self, name: &str, until: Timestamp) -> Result<u32, Fault> {
        self.0.tally(name, until).await
    }

    async fn end_message(&self, past: &PastMessage) -> Result<(), Fault> {
        self.0.end_message(past).await
    }

    async fn past_messages(&self, day: i64) -> Result<Vec<PastMessage>, Fault> {
        self.0.past_messages(day).await
    }

    async fn list(&self, query: &StoreQuery) -> Result<Vec<Request>, Fault> {
        self.0.list(query).await
    }

    async fn pending(&self, after: Option<Closing>, limit: usize) -> Result<Vec<Request>, Fault> {
        self.0.pending(after, limit).await
    }

    // Not cached: a subscription counts from the moment that its answer was given, in every Lambda.
    async fn hooks(&self) -> Result<Arc<Vec<Hook>>, Fault> {
        self.0.hooks().await.map(Arc::new)
    }

    async fn add_hook(&self, hook: &Hook) -> Result<(), Fault> {
        self.0.add_hook(hook).await
    }

    async fn remove_hook(&self, client: &ClientId, hook: &HookId) -> Result<bool, Fault> {
        self.0.remove_hook(client, hook).await
    }

    async fn keep_push_device(&self, device: &PushDevice) -> Result<(), Fault> {
        self.0.keep_push_device(device).await
    }

    async fn push_devices(&self, reviewer: &ReviewerId) -> Result<Vec<PushDevice>, Fault> {
        self.0.push_devices(reviewer).await
    }

    async fn remove_push_device(&self, reviewer: &ReviewerId, device: &str) -> Result<bool, Fault> {
        self.0.remove_push_device(reviewer, device).await
    }

    async fn policy(&self) -> Result<Option<PolicyRecord>, Fault> {
        self.0.policy().await
    }

    async fn chain(&self, subject: &str) -> Result<ChainHead, Fault> {
        self.0.chain(subject).await
    }

    async fn mark(&self, name: &str, until: Timestamp) -> Result<bool, Fault> {
        self.0.mark(name, until).await
    }

    async fn seal(&self) -> Result<Sealed, Fault> {
        self.0.seal().await
    }

    async fn log_head(&self) -> Result<LogHead, Fault> {
        self.0.log_head().await
    }

    async fn log_tile(&self, level: u8, number: u64) -> Result<Option<Vec<u8>>, Fault> {
        self.0.log_tile(level, number).await
    }

    async fn log_index(&self, subject: &str, seq: u32) -> Result<Option<u64>, Fault> {
        self.0.log_index(subject, seq).await
    }

    async fn trail(&self, query: &TrailQuery) -> Result<TrailPage, Fault> {
        self.0.trail(query).await
    }

    async fn trail_of(&self, subject: &str) -> Result<Vec<StoredEntry>, Fault> {
        self.0.trail_of(subject).await
    }
}

/// Random hexadecimal text of 32 digits.
#[expect(clippy::disallowed_methods, reason = "tokens of transactions and claims are drawn here")]
fn random_hex() -> Result<String, Fault> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Fault::new("the system has no randomness", error))?;
    Ok(format!("{:032x}", u128::from_le_bytes(bytes)))
}

/// Waits before the try of that number, from 0, which does not wait: longer each time, and never as long as others do.
#[expect(clippy::disallowed_methods, reason = "the jitter of retries is drawn here")]
async fn pause_before(attempt: u32) -> Result<(), Fault> {
    const FIRST_MS: u64 = 25;
    const LONGEST_MS: u64 = 1000;
    if attempt > 0 {
        let random = getrandom::u64().map_err(|error| Fault::new("the system has no randomness", error))?;
        let longest = FIRST_MS.saturating_mul(1 << attempt.min(10)).min(LONGEST_MS);
        tokio::time::sleep(std::time::Duration::from_millis(random % longest + 1)).await;
    }
    Ok(())
}
