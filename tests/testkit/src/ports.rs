//! Ports that do nothing but remember what they were told.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use placet_core::Timestamp;
use placet_core::id::RequestKey;
use placet_core::keys::{Keyring, Secret};
use placet_core::request::Request;
use placet_gate::Fault;
use placet_gate::alert::Alert;
use placet_gate::ports::{
    DeliveryOutcome, HookEvent, Keys, Notification, Notify, OutboxMessage, Post, Timers, View,
};

/// A callback or hook that was posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posting {
    /// `webhook-id`.
    pub id: String,
    /// What happened.
    pub event: HookEvent,
    /// Where to.
    pub url: String,
    /// The request's `approval_id`.
    pub approval_id: String,
    /// The status that it was told with.
    pub status: &'static str,
    /// The token, if the receiver gets one.
    pub token: Option<String>,
}

/// Tells nobody, and remembers everything. Can be made to fail, as a mail server does.
#[derive(Default)]
pub struct RecordingNotify {
    outage: AtomicU8,
    letters: Mutex<Vec<Notification>>,
    published: Mutex<Vec<(String, usize)>>,
    postings: Mutex<Vec<Posting>>,
    alerts: Mutex<Vec<Alert>>,
}

impl RecordingNotify {
    /// From now on nobody can be told.
    pub fn break_down(&self) {
        self.outage.store(1, Ordering::SeqCst);
    }

    /// From now on everybody can be told again.
    pub fn recover(&self) {
        self.outage.store(0, Ordering::SeqCst);
    }

    /// The letters since the last look.
    pub fn take_letters(&self) -> Vec<Notification> {
        std::mem::take(&mut self.letters.lock().unwrap())
    }

    /// Queue and stage of what was published since the last look.
    pub fn take_published(&self) -> Vec<(String, usize)> {
        std::mem::take(&mut self.published.lock().unwrap())
    }

    /// What was posted since the last look.
    pub fn take_postings(&self) -> Vec<Posting> {
        std::mem::take(&mut self.postings.lock().unwrap())
    }

    /// The alerts since the last look.
    pub fn take_alerts(&self) -> Vec<Alert> {
        std::mem::take(&mut self.alerts.lock().unwrap())
    }

    fn check(&self) -> Result<(), Fault> {
        match self.outage.load(Ordering::SeqCst) {
            0 => Ok(()),
            _ => Err(Fault::bare("nobody can be told")),
        }
    }
}

#[async_trait]
impl Notify for RecordingNotify {
    async fn tell(&self, letter: &Notification) -> Result<(), Fault> {
        self.check()?;
        self.letters.lock().unwrap().push(letter.clone());
        Ok(())
    }

    async fn publish(&self, queue: &str, stage: usize, _: &View<'_>) -> Result<(), Fault> {
        self.check()?;
        self.published.lock().unwrap().push((queue.to_owned(), stage));
        Ok(())
    }

    async fn post(&self, post: &Post<'_>) -> DeliveryOutcome {
        if self.check().is_err() {
            return DeliveryOutcome::Again { reason: "nobody can be told".into(), in_ms: Some(5000) };
        }
        self.postings.lock().unwrap().push(Posting {
            id: post.id.to_owned(),
            event: post.event,
            url: post.url.to_owned(),
            approval_id: post.view.request.asked.approval_id.to_string(),
            status: post.view.request.status(),
            token: post.view.token.map(str::to_owned),
        });
        DeliveryOutcome::Delivered
    }

    async fn alert(&self, alert: &Alert) {
        self.alerts.lock().unwrap().push(alert.clone());
    }

    fn check_url(&self, _: &str, _: &[String]) -> Result<(), String> {
        Ok(())
    }
}

/// Does nothing later, and remembers what it should have done.
#[derive(Default)]
pub struct RecordingTimers {
    wakes: Mutex<Vec<(RequestKey, Timestamp)>>,
    retries: Mutex<Vec<OutboxMessage>>,
    dispatched: Mutex<Vec<OutboxMessage>>,
}

impl RecordingTimers {
    /// What should be looked at, and when, since the last look.
    pub fn take_wakes(&self) -> Vec<(RequestKey, Timestamp)> {
        std::mem::take(&mut self.wakes.lock().unwrap())
    }

    /// What should be tried again, since the last look.
    pub fn take_retries(&self) -> Vec<OutboxMessage> {
        std::mem::take(&mut self.retries.lock().unwrap())
    }

    /// What should have been sent since the last look.
    pub fn take_dispatched(&self) -> Vec<OutboxMessage> {
        std::mem::take(&mut self.dispatched.lock().unwrap())
    }
}

#[async_trait]
impl Timers for RecordingTimers {
    async fn wake_at(&self, key: RequestKey, at: Timestamp) {
        self.wakes.lock().unwrap().push((key, at));
    }

    async fn retry(&self, message: &OutboxMessage) {
        self.retries.lock().unwrap().push(message.clone());
    }

    async fn dispatch(&self, request: &Request, outgoing: Vec<OutboxMessage>) {
        if let Some(pending) = request.pending() {
            self.wake_at(request.asked.key(), pending.closes_at).await;
        }
        self.dispatched.lock().unwrap().extend(outgoing);
    }
}

/// A keyring in memory, rotated by hand. Its secrets are not random.
pub struct HandKeys(Mutex<Arc<Keyring>>);

impl HandKeys {
    /// A keyring in its first epoch.
    pub fn new(now: Timestamp) -> Self {
        let (master, seed) = secrets(1);
        Self(Mutex::new(Arc::new(Keyring::first(master, seed, now))))
    }

    /// The keyring as it is.
    pub fn ring(&self) -> Arc<Keyring> {
        Arc::clone(&self.0.lock().unwrap())
    }

    /// Begins the next epoch.
    pub fn rotate(&self, now: Timestamp) -> Arc<Keyring> {
        let mut ring = self.0.lock().unwrap();
        let (master, seed) = secrets(ring.current.number + 1);
        *ring = Arc::new(ring.rotated(master, seed, now));
        Arc::clone(&ring)
    }
}

fn secrets(epoch: u32) -> (Secret, Secret) {
    let mut bytes = [0; 32];
    bytes.iter_mut().zip(epoch.to_le_bytes()).for_each(|(to, from)| *to = from);
    let master = Secret::new(bytes);
    bytes.reverse();
    (master, Secret::new(bytes))
}

#[async_trait]
impl Keys for HandKeys {
    async fn keyring(&self) -> Result<Arc<Keyring>, Fault> {
        Ok(self.ring())
    }

    async fn refreshed(&self) -> Result<Arc<Keyring>, Fault> {
        Ok(self.ring())
    }
}
