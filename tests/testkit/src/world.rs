//! A gate with everything around it, for tests of the use cases.

use std::sync::Arc;

use placet_core::id::ClientId;
use placet_core::payload::Payload;
use placet_core::policy::Decision;
use placet_core::request::Request;
use placet_core::{Timestamp, id::RequestId};
use placet_gate::ports::{Clock, NoopMetrics, OutboxMessage, OutboxPayload, Store};
use placet_gate::{Caller, Credentials, Error, Gate, Ports, RequestFields, Review, Settings};
use serde_json::Value;

use crate::{FixedClock, HandKeys, RecordingDispatcher};

/// A gate over a store, with a clock, keys and a dispatcher that the test holds in its hand.
pub struct World {
    /// The gate.
    pub gate: Gate,
    /// Its store.
    pub store: Arc<dyn Store>,
    /// Its clock.
    pub clock: Arc<FixedClock>,
    /// What it handed over.
    pub dispatcher: Arc<RecordingDispatcher>,
    /// Its keys.
    pub keys: Arc<HandKeys>,
}

impl World {
    /// A gate that has no policy yet.
    pub fn new(store: Arc<dyn Store>, clock: Arc<FixedClock>) -> Self {
        Self::with_settings(store, clock, Settings::default())
    }

    /// A gate in other surroundings, that has no policy yet.
    pub fn with_settings(store: Arc<dyn Store>, clock: Arc<FixedClock>, settings: Settings) -> Self {
        let dispatcher = Arc::new(RecordingDispatcher::default());
        let keys = Arc::new(HandKeys::new(clock.now()));
        let ports = Ports {
            store: Arc::clone(&store),
            dispatcher: Arc::clone(&dispatcher) as _,
            keys: Arc::clone(&keys) as _,
            clock: Arc::clone(&clock) as _,
            metrics: Arc::new(NoopMetrics),
        };
        Self { gate: Gate::new(ports, settings), store, clock, dispatcher, keys }
    }

    /// A gate with that policy in force. Panics if the policy has faults.
    pub async fn with_policy(store: Arc<dyn Store>, clock: Arc<FixedClock>, policy: &str) -> Self {
        let world = Self::new(store, clock);
        world.install(policy).await;
        world
    }

    /// Puts a policy in force. Panics if it has faults.
    pub async fn install(&self, policy: &str) {
        self.gate.install_policy(policy, "operator").await.unwrap().unwrap();
    }

    /// A client that signs with the current secret. Its policy entry must say `bearer = true`.
    pub async fn caller(&self, client: &str) -> Caller {
        self.caller_of_epoch(client, self.keys.ring().current.number).await.unwrap()
    }

    /// A client that still uses the secret of that epoch.
    pub async fn caller_of_epoch(&self, client: &str, epoch: u32) -> Result<Caller, Error> {
        let ring = self.keys.ring();
        let id = ClientId::parse(client).unwrap();
        let secret = ring.epoch(epoch).map(|epoch| epoch.client_secret(&id, 1));
        let key = format!("{client}.{}", secret.as_ref().map_or("forgotten", |secret| secret.expose()));
        self.gate.authenticate(Credentials::Bearer(&key)).await
    }

    /// A reviewer opens their link and sends the page's form.
    pub async fn decide(
        &self,
        link: &str,
        decision: Decision,
        reason: Option<&str>,
    ) -> Result<Review, Error> {
        let page = self.gate.review(link).await?;
        self.gate.decide(link, &page.nonce, decision, reason.map(str::to_owned)).await
    }

    /// The request of that client, as it is stored: nothing is settled by looking.
    pub async fn stored(&self, client: &str, request_id: &str) -> Option<Request> {
        self.store.load(crate::sample::key(client, request_id)).await.unwrap()
    }

    /// Works off every message that waits, whenever it is due: acknowledges it and hands it back.
    ///
    /// What a real delivery does has tests of its own. What is open is looked at again, as delivery would.
    pub async fn deliver_all(&self) -> Vec<OutboxMessage> {
        let waiting = self.store.due_messages(Timestamp::from_millis(i64::MAX), usize::MAX).await.unwrap();
        for message in &waiting {
            if let OutboxPayload::Reassign { policy, left } = &message.payload {
                self.gate.forget_devices_of(left).await.unwrap();
                self.gate.reassign_pending(*policy).await.unwrap();
            }
            self.store.ack(&message.id).await.unwrap();
        }
        waiting
    }
}

/// A question with an empty frame: no limit, no callback, no labels.
pub fn question(request_id: &str, action: &str, payload: &Value) -> RequestFields {
    RequestFields {
        request_id: RequestId::parse(request_id).unwrap(),
        summary: "the agent's words".into(),
        action: action.to_owned(),
        payload: Payload::new(payload.as_object().unwrap()).unwrap(),
        timeout_seconds: None,
        callback_url: None,
        metadata: std::collections::BTreeMap::new(),
    }
}
