//! Subscriptions: a URL that hears of a client's requests, or, for an auditor, of all.

use std::sync::Arc;

use placet_core::Timestamp;
use placet_core::id::{ClientId, HookId};
use placet_core::refusal::Refusal;
use serde::{Deserialize, Serialize};

use crate::authenticate::Caller;
use crate::cached::Freshness;
use crate::{Error, Fault, Gate, random_bits};

/// How many subscriptions one client may have.
const MAX_HOOKS: usize = 100;

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

impl Gate {
    /// The subscriptions that a change tells: as old as the settings allow, so that a question costs no read.
    pub(crate) async fn known_hooks(&self) -> Result<Arc<Vec<Hook>>, Fault> {
        let Some(max_age_ms) = self.settings.hooks_max_age_ms else { return self.store.hooks().await };
        let now = self.clock.now();
        if let Freshness::Fresh(hooks) = self.known_hooks.get(now, Some(max_age_ms)) {
            return Ok(hooks);
        }
        let hooks = self.store.hooks().await?;
        self.known_hooks.put(now, Arc::clone(&hooks));
        Ok(hooks)
    }

    /// Subscribes a URL to events. The same URL and events again is the same subscription.
    pub async fn subscribe(
        &self,
        caller: &Caller,
        url: String,
        events: Vec<HookEvent>,
    ) -> Result<Hook, Error> {
        caller.may_subscribe()?;
        let hooks = self.store.hooks().await?;
        let own = hooks.iter().filter(|hook| hook.client == caller.client.id);
        if let Some(same) = own.clone().find(|hook| hook.url == url && hook.events == events) {
            return Ok(same.clone());
        }
        if own.count() >= MAX_HOOKS {
            return Err(
                Refusal::field("url", "is one too many: a client has at most 100 subscriptions").into()
            );
        }
        let now = self.clock.now();
        let hook = Hook {
            id: HookId::from_parts(now, random_bits()?),
            client: caller.client.id.clone(),
            url,
            events,
            created_at: now,
        };
        self.store.add_hook(&hook).await?;
        self.known_hooks.forget();
        Ok(hook)
    }

    /// Ends a client's own subscription.
    pub async fn unsubscribe(&self, caller: &Caller, hook: &HookId) -> Result<(), Error> {
        let removed = self.store.remove_hook(&caller.client.id, hook).await?;
        self.known_hooks.forget();
        if removed { Ok(()) } else { Err(Refusal::NotFound.into()) }
    }

    /// The subscription of that name.
    pub async fn hook(&self, id: &HookId) -> Result<Option<Hook>, Fault> {
        Ok(self.store.hooks().await?.iter().find(|hook| hook.id == *id).cloned())
    }
}
