//! What the gate does, one use case a file: load, apply a rule of `core`, write on condition, tell.
//!
//! Storage, messages, timers, keys and the clock are ports (`ports`). Nothing here knows HTTP, SQL or AWS.

pub mod alert;
mod ask;
mod authenticate;
mod cancel;
mod decide;
mod deliver;
mod error;
mod hooks;
mod list;
mod policy;
pub mod ports;
mod redeem;
mod rotate;
mod sweep;
mod tokens;
mod wait;

use std::sync::Arc;

pub use ask::{Asking, RequestFields};
pub use authenticate::{Caller, Credentials};
pub use decide::{Review, ReviewOf, Waiting};
pub use error::{Error, Fault};
pub use list::ListQuery;
pub use policy::Installed;
pub use redeem::{Redeemed, Verified};
pub use sweep::Swept;

use alert::AlertThrottle;
use hooks::KnownHooks;
use placet_core::id::RequestKey;
use placet_core::policy::Policy;
use placet_core::request::Request;
use placet_core::{Refusal, Timestamp};
use policy::PolicyInForce;
use ports::{Clock, Keys, Metrics, Notify, Store, Timers};

/// How long whoever commits a message has to send it before the sweep takes it over, in milliseconds.
pub const LEASE_MS: i64 = 30_000;

/// How often a lost race is run again. Every loss means that somebody else's change was written.
const MAX_RACES: usize = 64;

/// The gate: the use cases over their ports.
pub struct Gate {
    store: Arc<dyn Store>,
    notify: Arc<dyn Notify>,
    timers: Arc<dyn Timers>,
    keys: Arc<dyn Keys>,
    clock: Arc<dyn Clock>,
    meter: Arc<dyn Metrics>,
    settings: Settings,
    policy: PolicyInForce,
    known_hooks: KnownHooks,
    watchman: AlertThrottle,
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
}

/// The ports of a gate.
#[derive(Clone)]
pub struct Ports {
    /// What is remembered.
    pub store: Arc<dyn Store>,
    /// Who is told.
    pub notify: Arc<dyn Notify>,
    /// What happens later.
    pub timers: Arc<dyn Timers>,
    /// The keyring.
    pub keys: Arc<dyn Keys>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The numbers.
    pub meter: Arc<dyn Metrics>,
}

impl Gate {
    /// A gate over those ports.
    pub fn new(ports: Ports, settings: Settings) -> Self {
        let Ports { store, notify, timers, keys, clock, meter } = ports;
        Self {
            store,
            notify,
            timers,
            keys,
            clock,
            meter,
            settings,
            policy: PolicyInForce::default(),
            known_hooks: KnownHooks::default(),
            watchman: AlertThrottle::default(),
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

    /// A client's request as it stands now: what has passed its deadline is settled first.
    pub(crate) async fn settled(&self, key: RequestKey) -> Result<Request, Error> {
        let request = self.store.load(key).await?.ok_or(Refusal::NotFound)?;
        if request.is_overdue(self.clock.now()) { self.settle(request).await } else { Ok(request) }
    }
}

/// Random bits from the system.
pub(crate) fn random_bits() -> Result<u128, Fault> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Fault::new("the system's random source failed", error))?;
    Ok(u128::from_le_bytes(bytes))
}
