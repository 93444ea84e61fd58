//! What the gate needs from outside: a store, a dispatcher, keys, a clock and metrics.
//!
//! Implementations hold no rules. A port's promise is in its documentation, and the store's is also in a contract suite
//! that every implementation passes (`tests/testkit`). Nobody is told anything through a port: what must be told is
//! outbox rows of a commit, and `placet-delivery` works them off.

use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;

use async_trait::async_trait;
use placet_audit::{EMPTY_ROOT, Hash, StoredEntry};
use placet_core::Timestamp;
use placet_core::audit::{AuditEntry, ChainHead};
use placet_core::chat::ChannelSettings;
use placet_core::id::{ApprovalId, ClientId, HookId, RequestId, RequestKey, ReviewerId};
use placet_core::keys::Keyring;
use placet_core::policy::{ClientPause, OwnAbsence};
use placet_core::request::{ApprovalRequest, Request, RequestState, Status};
use placet_core::tally::Tally;

use crate::Fault;
pub use crate::hooks::{Hook, HookEvent};
pub use crate::outbox::{MessageEnd, OutboxMessage, OutboxPayload, OutboxSubject, PastMessage};
pub use crate::push::PushDevice;
pub use crate::sent::{SentMessage, SentState};

/// How many pending requests a [`Store::pending_digest`] covers.
pub const DIGEST_LIMIT: usize = 20_000;

/// What is remembered.
///
/// A commit is all or nothing, and durable when it returns. Reads see every commit that returned before they began.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The request of that key.
    async fn load(&self, key: RequestKey) -> Result<Option<Request>, Fault>;

    /// Writes everything in `commit`, if its conditions hold; else nothing.
    async fn commit(&self, commit: Commit) -> Result<Committed, Fault>;

    /// Watches a request from now on. Take the watch before you load, so that no change is missed between the two.
    fn watch(&self, key: RequestKey) -> Box<dyn Watch>;

    /// Watches everything that waits, from now on: requests that come, end, move on or get a vote.
    fn watch_pending(&self) -> Box<dyn Watch>;

    /// Pending requests whose stage closes at `until` or before, the earliest first.
    async fn closing(&self, until: Timestamp, limit: usize) -> Result<Vec<Closing>, Fault>;

    /// Outbox messages that are due at `now` or before, the oldest first.
    async fn due_messages(&self, now: Timestamp, limit: usize) -> Result<Vec<OutboxMessage>, Fault>;

    /// The outbox message of that id, if it has not been acknowledged.
    async fn message(&self, id: &str) -> Result<Option<OutboxMessage>, Fault>;

    /// The earliest moment at which something is overdue or due.
    async fn next_due(&self) -> Result<Option<Timestamp>, Fault>;

    /// Claims a message, or puts it off: sets its attempt and its due time, if it is still as it was `seen`.
    ///
    /// `false` if somebody else has claimed, moved or acknowledged it.
    async fn claim(&self, seen: &OutboxMessage, attempt: u32, due_at: Timestamp) -> Result<bool, Fault>;

    /// Forgets a message that was delivered, or that nobody needs any more.
    async fn ack(&self, id: &str) -> Result<(), Fault>;

    /// Forgets a message, and puts others in its place, all or nothing. Others of the same id are replaced.
    async fn replace(&self, id: &str, others: &[OutboxMessage]) -> Result<(), Fault>;

    /// Remembers a message that a person has got, or what it shows by now: one of the same name is replaced.
    async fn keep_sent(&self, sent: &SentMessage) -> Result<(), Fault>;

    /// The messages about an approval that people have got and that can be brought up to date.
    async fn sent(&self, approval: &ApprovalId) -> Result<Vec<SentMessage>, Fault>;

    /// Counts one more of that name, and returns how many there are by now. It is forgotten some time after `until`.
    async fn tally(&self, name: &str, until: Timestamp) -> Result<u32, Fault>;

    /// Forgets a message as `ack` does, and remembers how it ended: the first end that is told stays.
    async fn end_message(&self, past: &PastMessage) -> Result<(), Fault>;

    /// How messages ended that were about approvals of that UTC day, counted from 1970-01-01: by their ids, each once.
    async fn past_messages(&self, day: i64) -> Result<Vec<PastMessage>, Fault>;

    /// A client's requests, newest first.
    async fn list(&self, query: &StoreQuery) -> Result<Vec<Request>, Fault>;

    /// Pending requests by the deadline of their stage, the earliest first, at most `limit`; only those after `after`.
    ///
    /// Two with the same deadline come in the order of their keys.
    async fn pending(&self, after: Option<Closing>, limit: usize) -> Result<Vec<Request>, Fault>;

    /// A number that stands for what waits: another one as soon as a request comes, ends or moves to its next stage.
    ///
    /// Cheaper than the requests. A vote that ends nothing changes it too, where the store sees that in its index.
    async fn pending_digest(&self) -> Result<u64, Fault> {
        let all = self.closing(Timestamp::from_millis(i64::MAX), DIGEST_LIMIT).await?;
        let mut hasher = std::hash::DefaultHasher::new();
        for closing in all {
            closing.closes_at.millis().hash(&mut hasher);
            closing.key.as_bytes().hash(&mut hasher);
        }
        Ok(hasher.finish())
    }

    /// What was added to an account since each of those times, in their order, and the account's version.
    ///
    /// A commit that adds to it wins only on that version: what it was judged by has not grown meanwhile.
    async fn tallied(&self, account: &str, since: &[Timestamp]) -> Result<Tallied, Fault>;

    /// The requests on which that reviewer has voted lately, the newest vote first, each once, at most `limit`.
    async fn voted(&self, reviewer: &ReviewerId, limit: usize) -> Result<Vec<Request>, Fault>;

    /// All subscriptions.
    async fn hooks(&self) -> Result<Arc<Vec<Hook>>, Fault>;

    /// Adds a subscription.
    async fn add_hook(&self, hook: &Hook) -> Result<(), Fault>;

    /// Removes a client's subscription. `false` if there is none.
    async fn remove_hook(&self, client: &ClientId, hook: &HookId) -> Result<bool, Fault>;

    /// Remembers a device on which a reviewer has switched push on; one of the same id is replaced.
    async fn keep_push_device(&self, device: &PushDevice) -> Result<(), Fault>;

    /// A reviewer's devices.
    async fn push_devices(&self, reviewer: &ReviewerId) -> Result<Vec<PushDevice>, Fault>;

    /// Forgets a reviewer's device, by its id. `false` if there is none.
    async fn remove_push_device(&self, reviewer: &ReviewerId, device: &str) -> Result<bool, Fault>;

    /// The policy that was installed last.
    async fn policy(&self) -> Result<Option<PolicyRecord>, Fault>;

    /// The end of an audit chain that is not a request's (`policy`, `keys`).
    async fn chain(&self, subject: &str) -> Result<ChainHead, Fault>;

    /// Remembers a name until then. `false` if it is remembered already, by any process that uses this store.
    async fn mark(&self, name: &str, until: Timestamp) -> Result<bool, Fault>;

    /// Seals a batch of the entries that are not in the log yet: each becomes a leaf, once, whoever else seals.
    async fn seal(&self) -> Result<Sealed, Fault>;

    /// The head of the log.
    async fn log_head(&self) -> Result<LogHead, Fault>;

    /// A tile of the log as far as it is filled: concatenated hashes. None where there is no such tile.
    async fn log_tile(&self, level: u8, number: u64) -> Result<Option<Vec<u8>>, Fault>;

    /// Where the entry of that chain and number is in the log, from 0. None where there is no such entry, or where its
    /// place is not known before it is sealed.
    async fn log_index(&self, subject: &str, seq: u32) -> Result<Option<u64>, Fault>;

    /// Entries in the order of the log, and behind them those that are not sealed yet.
    async fn trail(&self, query: &TrailQuery) -> Result<TrailPage, Fault>;

    /// The entries of one chain as they were stored, from the first.
    async fn trail_of(&self, subject: &str) -> Result<Vec<StoredEntry>, Fault>;
}

/// The head of the log, which the gate signs as it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogHead {
    /// How many entries are sealed.
    pub leaves: u64,
    /// The root over them.
    pub root: Hash,
    /// The first entry that must still be there. Those before it are past their retention; their hashes stay.
    pub min_index: u64,
}

impl Default for LogHead {
    fn default() -> Self {
        Self { leaves: 0, root: EMPTY_ROOT, min_index: 0 }
    }
}

/// What sealing came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    /// How many entries were sealed.
    pub entries: u64,
    /// Whether more may wait.
    pub more: bool,
}

/// Which entries of the trail are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrailQuery {
    /// The first place to look at, from 0.
    pub from: u64,
    /// At most so many.
    pub limit: usize,
    /// Only those recorded then or later.
    pub since: Option<Timestamp>,
    /// Only those recorded before then.
    pub until: Option<Timestamp>,
}

/// Entries of the trail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrailPage {
    /// The entries, with their places.
    pub entries: Vec<PlacedEntry>,
    /// The place from which to go on; none at the end.
    pub next: Option<u64>,
}

/// An entry and its place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedEntry {
    /// Its place, from 0: where it is sealed, or will be. A store that orders entries only as it seals them may give
    /// one that is not sealed yet another place than it will have.
    pub index: u64,
    /// The entry.
    pub entry: StoredEntry,
}

/// A pending request, and when its stage closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Closing {
    /// When.
    pub closes_at: Timestamp,
    /// Which.
    pub key: RequestKey,
}

/// A watch on one request.
#[async_trait]
pub trait Watch: Send {
    /// Returns when the request may have changed since the watch was taken, or since the last return.
    async fn changed(&mut self);
}

/// Everything that one act writes, in one transaction.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// The request's new state.
    pub request: Option<RequestWrite>,
    /// Entries for the audit trail: each must be new at its place in its chain.
    pub audit: Vec<AuditEntry>,
    /// Messages that must go out.
    pub outbox: Vec<OutboxMessage>,
    /// Whose vote the request's new state has, if this is one: it is on that reviewer's list from then on.
    pub voted: Option<ReviewerId>,
    /// What it adds to running totals, or takes back.
    pub tallies: TallyWrite,
    /// A policy to install.
    pub policy: Option<PolicyRecord>,
    /// An allowance that a new request uses up.
    pub quota: Option<Quota>,
    /// The first moment, by the store's clock, at which nothing of this may be written any more.
    pub not_at_or_after: Option<Timestamp>,
    /// The version of the policy that must be the newest one when this is written.
    pub policy_version: Option<u32>,
}

/// What running totals a commit touches.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TallyWrite {
    /// The accounts that the rule has read, with the version at which it read them. Each must still have it.
    pub seen: Vec<(String, u64)>,
    /// What a new request adds, from when it was asked.
    pub add: Vec<Tally>,
    /// What a request that ended without an approval takes back.
    pub remove: Vec<Tally>,
}

/// What lies in an account.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tallied {
    /// Another one after everything that was added. Begins with 0.
    pub version: u64,
    /// The sums, in the order that was asked for.
    pub sums: Vec<f64>,
}

/// How a commit changes a request.
#[derive(Clone, Debug)]
pub enum RequestWrite {
    /// A new one; lost if there is one of this key.
    Insert {
        /// What was asked.
        asked: Arc<ApprovalRequest>,
        /// Its first state.
        state: RequestState,
    },
    /// The next state; lost unless the stored version is `from_version`.
    Update {
        /// What was asked, as it is stored: it is not written again.
        asked: Arc<ApprovalRequest>,
        /// The next state.
        state: RequestState,
        /// The version that the rule saw.
        from_version: u64,
    },
}

/// One client's allowance: of new requests in one minute, and of requests that wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Whose.
    pub client: ClientId,
    /// The minute, counted from the epoch.
    pub minute: i64,
    /// How many new requests are allowed in it.
    pub limit: u32,
    /// How many of the client's requests may wait at once, this one included if it waits.
    pub max_pending: u32,
}

/// How a commit went.
#[derive(Clone, Debug, PartialEq)]
pub enum Committed {
    /// Everything is written.
    Done {
        /// For an insert: an older request of the same client, with the same action and payload, that still waits.
        pending_twin: Option<RequestId>,
    },
    /// Nothing is written: somebody else was first. With what they wrote.
    Lost(Box<Request>),
    /// Nothing is written: an audit entry or a policy of that place is there already.
    ChainMoved,
    /// Nothing is written: a newer policy is installed.
    PolicyMoved,
    /// Nothing is written: it was too late.
    Late,
    /// Nothing is written: a running total that the rule has read has grown.
    TotalsMoved,
    /// Nothing is written: the client's allowance for this minute is used up.
    OverQuota,
    /// Nothing is written: too many of the client's requests wait.
    TooManyPending,
}

/// An installed policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRecord {
    /// Counts installations, from 1.
    pub version: u32,
    /// The file's text.
    pub text: String,
    /// Hex SHA-256 of the text.
    pub sha256: String,
    /// When.
    pub installed_at: Timestamp,
    /// Who is away by their own word, under this version.
    pub away: Vec<OwnAbsence>,
    /// Which clients are paused under this version, and were in the day before.
    pub paused: Vec<ClientPause>,
}

/// Which of a client's requests to list; of all clients' where none is named.
#[derive(Clone, Debug)]
pub struct StoreQuery {
    /// Whose.
    pub client: Option<ClientId>,
    /// Only those with this status.
    pub status: Option<Status>,
    /// At most so many.
    pub limit: usize,
    /// Only those older than this one.
    pub before: Option<ApprovalId>,
}

/// Takes over what follows a commit: the outbox rows to work off, and when to look at the request again.
///
/// Best effort: what a dispatcher loses, the sweep finds. The gate never waits for a delivery.
#[async_trait]
pub trait Dispatcher: Send + Sync + 'static {
    /// Takes over what follows a commit.
    async fn dispatch(&self, work: Dispatch);

    /// How long a new message is left to whoever gets it from here before the sweep takes it, in milliseconds.
    fn lease_ms(&self) -> i64 {
        crate::LEASE_MS
    }
}

/// What follows a commit.
#[derive(Clone, Debug, Default)]
pub struct Dispatch {
    /// Messages that this commit wrote, or that the sweep has claimed: leased to whoever works them off.
    pub messages: Vec<OutboxMessage>,
    /// The request that the messages are about, as it was committed; saves a read.
    pub request: Option<Arc<Request>>,
    /// A stage that will close: look at its request then.
    pub closing: Option<Closing>,
}

/// The keyring.
#[async_trait]
pub trait Keys: Send + Sync + 'static {
    /// The keyring, as it was read last.
    async fn keyring(&self) -> Result<Arc<Keyring>, Fault>;

    /// The keyring, read anew: for an epoch that the known one does not have.
    async fn refreshed(&self) -> Result<Arc<Keyring>, Fault>;

    /// The channels that the operator has set up, whose secrets lie beside the keyring.
    async fn channels(&self) -> Result<Arc<ChannelSettings>, Fault> {
        Ok(Arc::default())
    }
}

/// Takes the numbers.
pub trait Metrics: Send + Sync + 'static {
    /// Records one measurement.
    fn record(&self, measurement: &Measurement<'_>);
}

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measurement<'a> {
    /// A new request was taken.
    Asked,
    /// A reviewer or a queue was told.
    Notified {
        /// Name of the channel; `queue` for a queue.
        channel: &'a str,
        /// Since the message was first due, in milliseconds.
        after_ms: i64,
    },
    /// A reviewer pressed on a page: when that page was opened.
    Opened {
        /// Since it was asked, in milliseconds.
        after_ms: i64,
    },
    /// A caller's callback was taken.
    Released {
        /// Since the request ended, in milliseconds.
        after_ms: i64,
    },
    /// A request has ended.
    Ended {
        /// The rule that applied.
        rule: Option<&'a str>,
        /// How.
        status: Status,
        /// Since it was asked, in milliseconds.
        after_ms: i64,
    },
    /// A known client's signature or key was wrong.
    BadSignature,
    /// A callback or hook was given up.
    CallbackGivenUp,
}

/// Measures nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoopMetrics;

impl Metrics for NoopMetrics {
    fn record(&self, _: &Measurement<'_>) {}
}

/// The time.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;
}
