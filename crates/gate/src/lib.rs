//! What the gate does, one use case a file: load, apply a rule of `core`, write on condition.
//!
//! Storage, hand-over, keys, metrics and the clock are ports (`ports`). Nothing here knows HTTP, SQL or AWS, and nothing
//! here tells anybody: what must be told is outbox rows of the commit, handed to the dispatcher.

pub mod alert;
mod answer;
mod ask;
mod authenticate;
mod away;
mod cached;
mod caller;
mod cancel;
mod chat;
mod commit;
mod error;
mod flag;
mod give_up;
pub mod hooks;
mod inbox;
mod keys;
mod list;
mod log;
mod novelty;
mod opened;
pub mod outbox;
mod pause;
mod policy;
pub mod ports;
mod practice;
pub mod push;
mod raise;
mod reassign;
mod redeem;
mod refused;
mod replay;
mod report;
pub mod returned;
mod review;
mod sent;
mod settle;
pub mod stored;
mod tokens;
mod view;
mod wait;
mod weekly;

use std::sync::Arc;

pub use ask::{Asking, RequestFields};
pub use authenticate::{Caller, Credentials, secrets_of};
pub use away::Whereabouts;
pub use cached::{Cached, Freshness};
pub use caller::{next_look_ms, waiting_run};
pub use chat::{ChatAnswer, ChatPress, ChatWord};
pub use error::{Error, Fault};
pub use inbox::{INBOX_LIMIT, Inbox, InboxItem, LateDecision, RowResult, UnverifiedRow, are_alike};
pub use keys::ROTATION_DUE_MS;
pub use list::ListQuery;
pub use log::{Selection, TrailEntries};
pub use novelty::{Difference, First, LOOK_BACK, Novelty, Since};
pub use policy::Installed;
pub use practice::{PracticeAnswer, PracticeCase};
pub use redeem::{Redeemed, Verified};
pub use report::LinkedReport;
pub use review::{Preview, Review, ReviewOptions};
pub use settle::Swept;
pub use view::{ApprovalView, QueueItem, WebhookEvent};
pub use wait::look_again_seconds;

use hooks::Hook;
use placet_core::Timestamp;
use placet_core::policy::Policy;
use ports::{Clock, Dispatcher, Keys, Metrics, Store};
use raise::AlertThrottle;

/// How long whoever commits a message has to send it before the sweep takes it over, in milliseconds.
pub const LEASE_MS: i64 = 30_000;

/// How often a lost race is run again. Every loss means that somebody else's change was written.
const MAX_RACES: usize = 64;

/// The gate: the use cases over their ports.
pub struct Gate {
    store: Arc<dyn Store>,
    dispatcher: Arc<dyn Dispatcher>,
    keys: Arc<dyn Keys>,
    clock: Arc<dyn Clock>,
    metrics: Arc<dyn Metrics>,
    settings: Settings,
    policy: Cached<Policy>,
    known_hooks: Cached<Vec<Hook>>,
    alert_throttle: AlertThrottle,
    turns: ask::Turns,
    novelties: novelty::Remembered,
}

/// What the gate must be told about its surroundings.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The address that links, `iss` and `status_url` say, without a slash at the end; overrides the policy's `issuer`.
    pub public_url: Option<String>,
    /// How long a policy is used before the store is asked for a newer one, in milliseconds; none where somebody calls
    /// [`Gate::reload_policy`].
    pub policy_max_age_ms: Option<i64>,
    /// How long the list of subscriptions is used for new messages before it is read again, in milliseconds; none where
    /// the store reads it for nothing.
    pub hooks_max_age_ms: Option<i64>,
    /// How far ahead a sweep sets a timer for a stage that will close, in milliseconds: for timers that reach no further.
    pub arm_ahead_ms: i64,
    /// Whether a caller that looks again by itself is told when, instead of being held: where each second of a held call
    /// costs as much as a call.
    pub paces_looks: bool,
    /// How long what is new about a request is remembered for inboxes, in milliseconds; none where reading it costs
    /// nothing.
    pub novelty_max_age_ms: Option<i64>,
}

/// The ports of a gate.
#[derive(Clone)]
pub struct Ports {
    /// What is remembered.
    pub store: Arc<dyn Store>,
    /// Who takes over what follows a commit.
    pub dispatcher: Arc<dyn Dispatcher>,
    /// The keyring.
    pub keys: Arc<dyn Keys>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The numbers.
    pub metrics: Arc<dyn Metrics>,
}

impl Gate {
    /// A gate over those ports.
    pub fn new(ports: Ports, settings: Settings) -> Self {
        let Ports { store, dispatcher, keys, clock, metrics } = ports;
        Self {
            store,
            dispatcher,
            keys,
            clock,
            metrics,
            settings,
            policy: Cached::default(),
            known_hooks: Cached::default(),
            alert_throttle: AlertThrottle::default(),
            turns: ask::Turns::default(),
            novelties: novelty::Remembered::default(),
        }
    }

    /// The gate's own time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The address that everything outside knows the gate by.
    pub fn base_url(&self, policy: &Policy) -> String {
        self.settings
            .public_url
            .clone()
            .or_else(|| policy.issuer.clone())
            .unwrap_or_else(|| "http://127.0.0.1:8484".to_owned())
    }

    /// The store, for whoever works off the outbox.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The numbers, for whoever works off the outbox.
    pub fn metrics(&self) -> &dyn Metrics {
        &*self.metrics
    }
}

/// Random bits from the system.
#[expect(clippy::disallowed_methods, reason = "ids are drawn here, and passed to the rules")]
pub(crate) fn random_bits() -> Result<u128, Fault> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Fault::new("the system's random source failed", error))?;
    Ok(u128::from_le_bytes(bytes))
}
