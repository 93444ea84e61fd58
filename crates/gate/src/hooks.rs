//! Subscriptions: a URL that hears of a client's requests, or, for an auditor, of all.

use std::sync::{Arc, PoisonError, RwLock};

use placet_core::Timestamp;
use placet_core::id::HookId;
use placet_core::policy::ClientRole;
use placet_core::refusal::Refusal;

use crate::authenticate::Caller;
use crate::ports::{Hook, HookEvent};
use crate::{Error, Fault, Gate, random_bits};

/// How many subscriptions one client may have.
const MAX_HOOKS: usize = 100;

/// The subscriptions as they were read last, and when.
#[derive(Default)]
pub(crate) struct KnownHooks(RwLock<Option<(Timestamp, Arc<Vec<Hook>>)>>);

impl KnownHooks {
    fn forget(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Gate {
    /// The subscriptions that a change tells: as old as the settings allow, so that a question costs no read.
    pub(crate) async fn known_hooks(&self) -> Result<Arc<Vec<Hook>>, Fault> {
        let Some(max_age_ms) = self.settings.hooks_max_age_ms else { return self.store.hooks().await };
        let now = self.clock.now();
        let known = self.known_hooks.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((read_at, hooks)) = known
            && now.millis_since(read_at).saturating_abs() <= max_age_ms
        {
            return Ok(hooks);
        }
        let hooks = self.store.hooks().await?;
        *self.known_hooks.0.write().unwrap_or_else(PoisonError::into_inner) = Some((now, Arc::clone(&hooks)));
        Ok(hooks)
    }

    /// Subscribes a URL to events. The same URL and events again is the same subscription.
    pub async fn subscribe(
        &self,
        caller: &Caller,
        url: String,
        events: Vec<HookEvent>,
    ) -> Result<Hook, Error> {
        if !caller.client.has(ClientRole::Requester) && !caller.client.has(ClientRole::Auditor) {
            return Err(
                Refusal::Forbidden("this needs a client with the role `requester` or `auditor`").into()
            );
        }
        self.check_url(caller, &url).map_err(|why| Refusal::field("url", why))?;
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

    /// Whether this client's callbacks may ever go to that address; the reason if not.
    pub fn check_url(&self, caller: &Caller, url: &str) -> Result<(), String> {
        self.notify.check_url(url, &caller.client.callback_hosts)
    }

    /// Ends a client's own subscription.
    pub async fn unsubscribe(&self, caller: &Caller, hook: &HookId) -> Result<(), Error> {
        let removed = self.store.remove_hook(&caller.client.id, hook).await?;
        self.known_hooks.forget();
        if removed { Ok(()) } else { Err(Refusal::NotFound.into()) }
    }
}
