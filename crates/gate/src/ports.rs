//! What the gate needs from outside: a store, somebody to tell, timers, keys and a clock.
//!
//! Implementations hold no rules. A port's promise is in its documentation, and the store's is also in a contract suite
//! that every implementation passes (`tests/testkit`).

use std::sync::Arc;

use async_trait::async_trait;
use placet_core::Timestamp;
use placet_core::audit::{AuditEntry, ChainHead};
use placet_core::id::{ApprovalId, ClientId, HookId, RequestId, RequestKey, ReviewerId};
use placet_core::keys::Keyring;
use placet_core::request::{ApprovalRequest, Request, RequestState};
use serde::{Deserialize, Serialize};

use crate::Fault;
use crate::alert::Alert;

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

    /// Pending requests whose stage closes at `until` or before, the earliest first.
    async fn closing(&self, until: Timestamp, limit: usize) -> Result<Vec<Closing>, Fault>;

    /// Messages that are due at `now` or before, the oldest first.
    async fn due_outgoing(&self, now: Timestamp, limit: usize) -> Result<Vec<OutboxMessage>, Fault>;

    /// The earliest moment at which something is overdue or due.
    async fn next_due(&self) -> Result<Option<Timestamp>, Fault>;

    /// Messages of one request that have not been sent.
    async fn outgoing_of(&self, key: RequestKey) -> Result<Vec<OutboxMessage>, Fault>;

    /// Moves a message to `due_at` and counts the try, if it is still due when it was seen to be. `false` if somebody
    /// else has taken, moved or sent it.
    async fn reschedule(&self, seen: &OutboxMessage, attempt: u32, due_at: Timestamp) -> Result<bool, Fault>;

    /// Forgets a message that was sent, or that nobody needs any more.
    async fn sent(&self, id: &str) -> Result<(), Fault>;

    /// A client's requests, newest first.
    async fn list(&self, query: &StoreQuery) -> Result<Vec<Request>, Fault>;

    /// All pending requests, the oldest first, at most `limit`.
    async fn pending(&self, limit: usize) -> Result<Vec<Request>, Fault>;

    /// All subscriptions.
    async fn hooks(&self) -> Result<Arc<Vec<Hook>>, Fault>;

    /// Adds a subscription.
    async fn add_hook(&self, hook: &Hook) -> Result<(), Fault>;

    /// Removes a client's subscription. `false` if there is none.
    async fn remove_hook(&self, client: &ClientId, hook: &HookId) -> Result<bool, Fault>;

    /// The policy that was installed last.
    async fn policy(&self) -> Result<Option<PolicyRecord>, Fault>;

    /// The end of an audit chain that is not a request's (`policy`, `keys`).
    async fn chain(&self, subject: &str) -> Result<ChainHead, Fault>;

    /// Remembers a name until then. `false` if it is remembered already: by any process that uses this store.
    ///
    /// For what a process cannot remember by itself because it lives for minutes. Where one process lives on, the gate's
    /// own memory is enough, and every name is new.
    async fn mark(&self, name: &str, until: Timestamp) -> Result<bool, Fault> {
        let _ = (name, until);
        Ok(true)
    }
}

/// A pending request, and when its stage closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closing {
    /// Which.
    pub key: RequestKey,
    /// When.
    pub closes_at: Timestamp,
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
    pub outgoing: Vec<OutboxMessage>,
    /// A policy to install.
    pub policy: Option<PolicyRecord>,
    /// An allowance that a new request uses up.
    pub quota: Option<Quota>,
    /// The first moment, by the store's clock, at which nothing of this may be written any more.
    pub not_at_or_after: Option<Timestamp>,
}

/// How a commit changes a request.
#[derive(Clone, Debug)]
pub enum RequestWrite {
    /// A new one; lost if there is one of this key.
    Insert {
        /// What was asked.
        asked: Arc<ApprovalRequest>,
        /// Its first life.
        life: RequestState,
    },
    /// The next life; lost unless the stored version is `from_version`.
    Update {
        /// Where.
        key: RequestKey,
        /// The next life.
        life: RequestState,
        /// The version that the rule saw.
        from_version: u64,
    },
}

/// One client's allowance of new requests in one minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Whose.
    pub client: ClientId,
    /// The minute, counted from the epoch.
    pub minute: i64,
    /// How many are allowed in it.
    pub limit: u32,
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
    /// Nothing is written: it was too late.
    Late,
    /// Nothing is written: the client's allowance is used up.
    OverQuota,
}

/// A message that must go out, at least once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxMessage {
    /// Derived from what it is about, so that it is the same on every try; `webhook-id` of callbacks.
    pub id: String,
    /// Its request.
    pub key: RequestKey,
    /// Its approval: a later request of the same name does not get its messages.
    pub approval_id: ApprovalId,
    /// What it is.
    pub what: Message,
    /// How many tries have failed.
    pub attempt: u32,
    /// When it was committed.
    pub created_at: Timestamp,
    /// When the sweep should take it, unless it has been sent before.
    pub due_at: Timestamp,
}

/// What a message is. Its text is made from the request when it is sent, so no link lies about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// A reviewer is asked.
    Tell {
        /// Index of the stage.
        stage: usize,
        /// Who.
        reviewer: ReviewerId,
        /// By which way.
        channel: Via,
    },
    /// A queue gets the request.
    Publish {
        /// Index of the stage.
        stage: usize,
        /// Its queue.
        queue: String,
    },
    /// The caller is called back.
    Callback,
    /// A subscriber is told.
    Hook {
        /// Its subscription.
        hook: HookId,
        /// What happened.
        event: HookEvent,
    },
}

/// How a reviewer is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// Mail.
    Email,
    /// A text.
    Sms,
    /// Slack.
    Slack,
    /// The operator's terminal: they have no address.
    Terminal,
}

impl Via {
    /// The word in outbox files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Sms => "sms",
            Self::Slack => "slack",
            Self::Terminal => "terminal",
        }
    }
}

/// What a subscriber can hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum HookEvent {
    /// A request waits for somebody.
    #[serde(rename = "approval.requested")]
    Requested,
    /// A request has ended.
    #[serde(rename = "approval.decided")]
    Decided,
}

impl HookEvent {
    /// The word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "approval.requested",
            Self::Decided => "approval.decided",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Requested, Self::Decided].into_iter().find(|event| event.as_str() == text)
    }
}

/// A subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Its name.
    pub id: HookId,
    /// Whose.
    pub client: ClientId,
    /// Where events are posted to.
    pub url: String,
    /// Which events.
    pub events: Vec<HookEvent>,
    /// Since when.
    pub created_at: Timestamp,
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
}

/// Which of a client's requests to list.
#[derive(Clone, Debug)]
pub struct StoreQuery {
    /// Whose.
    pub client: ClientId,
    /// Only those with this status (`pending`, `approved`, …).
    pub status: Option<String>,
    /// At most so many.
    pub limit: usize,
    /// Only those older than this one.
    pub before: Option<ApprovalId>,
}

/// What happens later, or beside the answer. Best effort: the sweep finds what these miss.
#[async_trait]
pub trait Timers: Send + Sync + 'static {
    /// The request must be looked at, at that time.
    async fn wake_at(&self, key: RequestKey, at: Timestamp);

    /// The message must be tried again, when it is due.
    async fn retry(&self, message: &OutboxMessage);

    /// This has just been committed: send the messages, without making the caller wait longer than needed, and look at
    /// the request when its stage closes.
    async fn dispatch(&self, request: &Request, outgoing: Vec<OutboxMessage>);
}

/// The keyring.
#[async_trait]
pub trait Keys: Send + Sync + 'static {
    /// The keyring; may be a little old.
    async fn keyring(&self) -> Result<Arc<Keyring>, Fault>;

    /// The keyring, read anew: an epoch was named that the cached one does not have.
    async fn refreshed(&self) -> Result<Arc<Keyring>, Fault>;
}

/// What is measured, for the operator's numbers.
pub trait Metrics: Send + Sync + 'static {
    /// This has happened. Must not block, and must not fail.
    fn record(&self, what: &Measurement<'_>);
}

/// One thing that happened, with its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measurement<'a> {
    /// A new request was taken.
    Asked,
    /// A reviewer or a queue was told.
    Told {
        /// Since the message was committed, in milliseconds.
        after_ms: i64,
    },
    /// A request has ended.
    Ended {
        /// The rule that applied.
        rule: Option<&'a str>,
        /// `approved`, `rejected`, `expired` or `cancelled`.
        status: &'static str,
        /// Since it was asked, in milliseconds.
        after_ms: i64,
    },
    /// A caller's signature was wrong.
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

/// Who is told, and how.
#[async_trait]
pub trait Notify: Send + Sync + 'static {
    /// A reviewer gets a letter.
    async fn tell(&self, letter: &Notification) -> Result<(), Fault>;

    /// A queue gets a request.
    async fn publish(&self, queue: &str, stage: usize, view: &View<'_>) -> Result<(), Fault>;

    /// A callback or hook is posted.
    async fn post(&self, post: &Post<'_>) -> DeliveryOutcome;

    /// The operator is alerted.
    async fn alert(&self, alert: &Alert);

    /// Whether a callback address could ever be posted to; the reason if not.
    fn check_url(&self, url: &str, callback_hosts: &[String]) -> Result<(), String>;
}

/// A letter to a reviewer. It holds their link: it is not for the log.
#[derive(Clone)]
pub struct Notification {
    /// Names this letter: approval, stage, reviewer and way.
    pub id: String,
    /// The approval it is about.
    pub approval_id: ApprovalId,
    /// Number of the stage, from 1.
    pub stage: usize,
    /// Who.
    pub reviewer: ReviewerId,
    /// By which way.
    pub channel: Via,
    /// The address for that way.
    pub address: Option<String>,
    /// One line.
    pub subject: String,
    /// The words, with the link.
    pub text: String,
    /// The same words as an HTML page, where the way can show it.
    pub html: Option<String>,
    /// The link alone.
    pub url: String,
}

/// A request with what is made from it: all that the API's one shape of an approval needs.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The request.
    pub request: &'a Request,
    /// Its token, once it has ended.
    pub token: Option<&'a str>,
    /// The gate's public address.
    pub base_url: &'a str,
}

/// A callback or hook to post.
pub struct Post<'a> {
    /// `webhook-id`: the same on every try.
    pub id: &'a str,
    /// What happened.
    pub event: HookEvent,
    /// When it happened.
    pub happened_at: Timestamp,
    /// The approval.
    pub view: View<'a>,
    /// Where to.
    pub url: &'a str,
    /// Hosts that may be private or plain http.
    pub callback_hosts: &'a [String],
    /// The receiver's secrets, the current one first: all sign, so that a rotation breaks nothing.
    pub secrets: &'a [placet_core::keys::ClientSecret],
    /// Unix seconds of this try.
    pub sent_at: i64,
    /// How many tries have failed.
    pub attempt: u32,
    /// When the first try was due.
    pub first_at: Timestamp,
}

/// How a post went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// The receiver has it.
    Delivered,
    /// The receiver wants no more of these (410), or can never be posted to.
    Stop {
        /// Why.
        reason: String,
    },
    /// The receiver's run is over, whatever it is told: nobody waits, and nobody need hear that nobody waits.
    ReceiverGone {
        /// What it said.
        reason: String,
    },
    /// Try again in so many milliseconds.
    Again {
        /// Why.
        reason: String,
        /// How long to wait; none when it has been tried for long enough.
        in_ms: Option<i64>,
    },
}
