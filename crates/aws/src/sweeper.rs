//! The function behind the schedule and the deadline queue: it settles deadlines and sends messages.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use placet_core::Timestamp;
use placet_core::id::RequestKey;
use placet_core::request::Request;
use placet_gate::ports::{Clock as _, OutboxMessage, Store, Timers};
use placet_gate::{Error, Fault, Gate};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::SystemClock;
use crate::alerts::{AlertTopic, Raise as _};
use crate::errand::{DeadlineQueue, Errand};

/// Messages under way at once.
const AT_ONCE: usize = 32;

/// How long an errand is waited for here; what is due later goes back into the queue.
const SHORT_WAIT_MS: i64 = 2_000;

/// For how long after an event began a message's next try may be part of it. A receiver that hangs would otherwise hold
/// the function for try after try, while others' messages wait for one that is free.
const SHORT_EVENT: Duration = Duration::from_secs(5);

/// For how long one event sweeps and sends: the function has a minute. What is left is the next event's.
const PATIENCE: Duration = Duration::from_secs(45);

/// An event: of the queue, or of the schedule, which says nothing.
#[derive(Debug, Deserialize)]
pub(crate) struct Event {
    #[serde(rename = "Records", default)]
    records: Option<Vec<Record>>,
}

/// One message of the queue.
/// Source: <https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html>.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    message_id: String,
    body: String,
}

/// What the queue must deliver again.
/// Source: <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answer {
    batch_item_failures: Vec<Failure>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    item_identifier: String,
}

/// Timers that send here and now, beside each other; what is later goes into the queue.
pub(crate) struct HereAndNow {
    gate: OnceLock<Weak<Gate>>,
    queue: DeadlineQueue,
    under_way: Mutex<JoinSet<()>>,
    slots: Arc<Semaphore>,
    /// When the event began that is being answered: Lambda hands a process one at a time.
    event_began: Mutex<Instant>,
}

impl HereAndNow {
    /// Call [`HereAndNow::belong_to`] before anything is sent.
    pub(crate) fn new(queue: DeadlineQueue) -> Arc<Self> {
        Arc::new(Self {
            gate: OnceLock::new(),
            queue,
            under_way: Mutex::default(),
            slots: Arc::new(Semaphore::new(AT_ONCE)),
            event_began: Mutex::new(Instant::now()),
        })
    }

    /// Says whose messages these are.
    pub(crate) fn belong_to(&self, gate: &Arc<Gate>) {
        let _ = self.gate.set(Arc::downgrade(gate));
    }

    /// Does something beside the rest, with at most [`AT_ONCE`] others.
    fn begin<F: Future<Output = Result<(), Error>> + Send + 'static>(
        &self,
        what: impl FnOnce(Arc<Gate>) -> F,
    ) {
        let Some(gate) = self.gate.get().and_then(Weak::upgrade) else { return };
        let (work, slots) = (what(gate), Arc::clone(&self.slots));
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).spawn(async move {
            let Ok(_slot) = slots.acquire_owned().await else { return };
            if let Err(error) = work.await {
                tracing::error!(
                    error = chain(&error),
                    "a message could not be sent or recorded; it is tried again"
                );
            }
        });
    }

    /// Waits until nothing is under way any more, until that time.
    async fn finish(&self, until: Instant) {
        loop {
            let mut batch =
                std::mem::take(&mut *self.under_way.lock().unwrap_or_else(PoisonError::into_inner));
            if batch.is_empty() {
                return;
            }
            // What is broken off here has a lease: the sweep takes it up again.
            while let Ok(Some(_)) = timeout_at(until, batch.join_next()).await {}
            if Instant::now() >= until {
                return;
            }
        }
    }

    async fn put(&self, errand: Option<Errand>, now: Timestamp) {
        let Some(errand) = errand else { return };
        if let Err(fault) = self.queue.put(&[errand], now).await {
            tracing::error!(
                error = fault.chain(),
                "an errand was not taken; the sweep does it within two minutes"
            );
        }
    }
}

#[async_trait]
impl Timers for HereAndNow {
    async fn wake_at(&self, key: RequestKey, at: Timestamp) {
        let now = SystemClock.now();
        self.put(Errand::wake(key, at, now), now).await;
    }

    /// A receiver that is not ready for some milliseconds, as n8n is, gets its next try from here.
    async fn retry(&self, message: &OutboxMessage) {
        let now = SystemClock.now();
        let began = *self.event_began.lock().unwrap_or_else(PoisonError::into_inner);
        if message.due_at.millis_since(now) > SHORT_WAIT_MS || began.elapsed() > SHORT_EVENT {
            return self.put(Errand::retry(message, now), now).await;
        }
        let message = message.clone();
        self.begin(|gate| async move {
            sleep_until(message.due_at).await;
            gate.take_up(&message, None).await
        });
    }

    async fn dispatch(&self, request: &Request, outgoing: Vec<OutboxMessage>) {
        let now = SystemClock.now();
        if let Some(pending) = request.pending() {
            self.put(Errand::wake(request.asked.key(), pending.closes_at, now), now).await;
        }
        let request = Arc::new(request.clone());
        for message in outgoing {
            let request = Arc::clone(&request);
            self.begin(|gate| async move { gate.deliver(&message, Some(&request)).await });
        }
    }
}

/// The function's work.
pub(crate) struct Sweeper {
    /// The gate.
    pub(crate) gate: Arc<Gate>,
    /// Its store.
    pub(crate) store: Arc<dyn Store>,
    /// Its timers.
    pub(crate) timers: Arc<HereAndNow>,
    /// Where alerts of the other functions go.
    pub(crate) alerts: Arc<AlertTopic>,
}

impl Sweeper {
    /// Answers one event. An error makes the schedule, or the queue, try again.
    pub(crate) async fn answer(&self, event: Event) -> Result<Answer, Fault> {
        let now = Instant::now();
        *self.timers.event_began.lock().unwrap_or_else(PoisonError::into_inner) = now;
        let until = now + PATIENCE;
        let answer = match event.records {
            Some(records) => Ok(self.do_errands(records).await),
            None => self.sweep(until).await.map(|()| Answer::default()),
        };
        self.timers.finish(until).await;
        answer
    }

    async fn sweep(&self, until: Instant) -> Result<(), Fault> {
        loop {
            match self.gate.sweep().await {
                Ok(swept) if swept.more && Instant::now() < until => {}
                Ok(swept) => {
                    tracing::info!(settled = swept.settled, sent = swept.sent, more = swept.more, "swept");
                    return Ok(());
                }
                // Without a policy there is nothing to sweep.
                Err(Error::Refused(refusal)) => {
                    tracing::info!(reason = %refusal, "there is nothing to sweep");
                    return Ok(());
                }
                Err(Error::Fault(fault)) => return Err(fault),
                Err(Error::Ended(_)) => return Ok(()),
            }
        }
    }

    async fn do_errands(&self, records: Vec<Record>) -> Answer {
        let mut answer = Answer::default();
        // One after another waits for each one's rest of a second; beside each other they wait together.
        let done = records.into_iter().map(|record| async move {
            let result = self.do_errand(&record.body).await;
            (record.message_id, result)
        });
        for (message_id, result) in join_all(done).await {
            if let Err(error) = result {
                tracing::error!(
                    sqs.message_id = message_id,
                    error = chain(&error),
                    "an errand failed; it comes again"
                );
                answer.batch_item_failures.push(Failure { item_identifier: message_id });
            }
        }
        answer
    }

    async fn do_errand(&self, body: &str) -> Result<(), Error> {
        let errand: Errand = serde_json::from_str(body)
            .map_err(|error| Fault::new("a message of the deadline queue cannot be read", error))?;
        let now = SystemClock.now();
        if errand.due_at().millis_since(now) > SHORT_WAIT_MS {
            return Ok(self.timers.queue.put(&[errand], now).await?);
        }
        sleep_until(errand.due_at()).await;
        match errand {
            Errand::Wake { key, .. } => self.gate.wake(key).await,
            Errand::Alert { kind, text } => Ok(self.alerts.raise(&kind, &text).await?),
            Errand::Send { messages, .. } => {
                let Some(first) = messages.first() else { return Ok(()) };
                let request = self.store.load(first.key).await?.map(Arc::new);
                for message in messages {
                    let request = request.clone();
                    self.timers.begin(|gate| async move { gate.take_up(&message, request.as_deref()).await });
                }
                Ok(())
            }
        }
    }
}

async fn sleep_until(at: Timestamp) {
    let left_ms = u64::try_from(at.millis_since(SystemClock.now())).unwrap_or(0);
    tokio::time::sleep(Duration::from_millis(left_ms)).await;
}

/// An error with its causes, in one line.
fn chain(error: &Error) -> String {
    match error {
        Error::Fault(fault) => fault.chain(),
        Error::Refused(_) | Error::Ended(_) => error.to_string(),
    }
}
