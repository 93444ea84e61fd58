//! The function behind the schedule and the deadline queue: it settles deadlines and sends messages.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use placet_core::Timestamp;
use placet_core::request::Request;
use placet_delivery::{Progress, Worker};
use placet_gate::ports::{Clock as _, Dispatch, Dispatcher, OutboxMessage};
use placet_gate::{Error, Fault};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::SystemClock;
use crate::deadline_queue::DeadlineQueue;
use crate::job::Job;
use crate::rotation_job::RotationJob;
use crate::ses_event::SesEvent;

/// Messages under way at once.
const AT_ONCE: usize = 32;

/// How long a job is waited for here; what is due later goes back into the queue.
const SHORT_WAIT_MS: i64 = 2_000;

/// For how long after an event began a message's next try may be part of it. A receiver that hangs would otherwise hold
/// the function for try after try, while others' messages wait for one that is free.
const SHORT_EVENT: Duration = Duration::from_secs(5);

/// How soon a mail that came back and is not known is looked for once more, in milliseconds: SES can tell of an address
/// that it knows before the note that a mail was sent is written.
const UNKNOWN_MS: i64 = 5_000;

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

/// A message to work off, with its request if that is known.
struct Waiting {
    message: OutboxMessage,
    request: Option<Arc<Request>>,
    held: Held,
}

/// Whether a message is this process's already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    /// This process committed or claimed it.
    Ours,
    /// The queue delivered it: it must be claimed first.
    Unclaimed,
}

/// The dispatcher of this function: messages are worked off within the event; what is later goes into the queue.
pub(crate) struct EventDispatcher {
    queue: DeadlineQueue,
    waiting: Mutex<Vec<Waiting>>,
}

impl EventDispatcher {
    pub(crate) fn new(queue: DeadlineQueue) -> Self {
        Self { queue, waiting: Mutex::default() }
    }

    fn enqueue(&self, waiting: Waiting) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(waiting);
    }

    fn take(&self) -> Vec<Waiting> {
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_idle(&self) -> bool {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    async fn put(&self, job: Option<Job>, now: Timestamp) {
        let Some(job) = job else { return };
        if let Err(fault) = self.queue.put(&[job.delayed(now)]).await {
            tracing::error!(
                error = fault.chain(),
                "a job was not taken; the sweep does it within two minutes"
            );
        }
    }
}

#[async_trait]
impl Dispatcher for EventDispatcher {
    async fn dispatch(&self, work: Dispatch) {
        let now = SystemClock.now();
        self.put(work.closing.and_then(|closing| Job::wake(closing, now)), now).await;
        for message in work.messages {
            self.enqueue(Waiting { message, request: work.request.clone(), held: Held::Ours });
        }
    }
}

/// The function's work.
pub(crate) struct Sweeper {
    /// Who works off messages.
    pub(crate) worker: Arc<Worker>,
    /// What the worker's gate hands over to.
    pub(crate) dispatcher: Arc<EventDispatcher>,
    /// By which configuration set mail goes, where it goes by SES.
    pub(crate) configuration_set: Option<String>,
}

impl Sweeper {
    /// Answers one event. An error makes the schedule, or the queue, try again.
    pub(crate) async fn answer(&self, event: Event) -> Result<Answer, Fault> {
        let began = Instant::now();
        let until = began + PATIENCE;
        let is_tick = event.records.is_none();
        let answer = match event.records {
            Some(records) => Ok(self.do_jobs(records).await),
            None => self.sweep(until).await.map(|()| Answer::default()),
        };
        self.work_off(began, until).await;
        if is_tick {
            self.seal(until).await;
        }
        answer
    }

    async fn sweep(&self, until: Instant) -> Result<(), Fault> {
        loop {
            match self.worker.gate().sweep().await {
                Ok(swept) if swept.more && Instant::now() < until => {}
                Ok(swept) => {
                    tracing::info!(
                        settled = swept.settled,
                        dispatched = swept.dispatched,
                        more = swept.more,
                        "swept"
                    );
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

    /// Puts what has been recorded since the last tick into the log. What is left is the next tick's.
    async fn seal(&self, until: Instant) {
        loop {
            match self.worker.gate().seal().await {
                Ok(sealed) if sealed.more && Instant::now() < until => {}
                Ok(_) => return,
                Err(fault) => {
                    tracing::error!(
                        error = fault.chain(),
                        "audit entries could not be sealed; the next sweep tries again"
                    );
                    return;
                }
            }
        }
    }

    /// Works off what was handed over, and what that hands over in turn, until nothing is left or time is up.
    async fn work_off(&self, began: Instant, until: Instant) {
        let slots = Arc::new(Semaphore::new(AT_ONCE));
        let mut under_way = JoinSet::new();
        loop {
            for waiting in self.dispatcher.take() {
                let (worker, dispatcher) = (Arc::clone(&self.worker), Arc::clone(&self.dispatcher));
                let slots = Arc::clone(&slots);
                under_way.spawn(async move {
                    let Ok(_slot) = slots.acquire_owned().await else { return };
                    deliver(&worker, &dispatcher, waiting, began).await;
                });
            }
            // What is broken off here has a lease: the sweep claims it again.
            match timeout_at(until, under_way.join_next()).await {
                Ok(None) if self.dispatcher.is_idle() => return,
                Ok(Some(_) | None) => {}
                Err(_) => return,
            }
        }
    }

    async fn do_jobs(&self, records: Vec<Record>) -> Answer {
        let mut answer = Answer::default();
        // One after another waits for each one's rest of a second; beside each other they wait together.
        let done = records.into_iter().map(|record| async move {
            let result = self.do_job(&record.body).await;
            (record.message_id, result)
        });
        for (message_id, result) in join_all(done).await {
            if let Err(error) = result {
                tracing::error!(
                    sqs.message_id = message_id,
                    error = error.chain(),
                    "a job failed; it comes again"
                );
                answer.batch_item_failures.push(Failure { item_identifier: message_id });
            }
        }
        answer
    }

    async fn do_job(&self, body: &str) -> Result<(), Error> {
        let job: Job = match serde_json::from_str(body) {
            Ok(job) => job,
            Err(error) => {
                return match SesEvent::read(body, self.configuration_set.as_deref()) {
                    Some(event) => self.mail_event(event).await,
                    None => Err(Fault::new("a message of the deadline queue cannot be read", error).into()),
                };
            }
        };
        let now = SystemClock.now();
        if job.due_at().millis_since(now) > SHORT_WAIT_MS {
            return Ok(self.dispatcher.queue.put(&[job.delayed(now)]).await?);
        }
        sleep_until(job.due_at()).await;
        let gate = self.worker.gate();
        match job {
            Job::Wake { key, .. } => gate.wake(key).await,
            Job::Rotation(RotationJob::Finished { epoch }) => {
                Ok(gate.record_rotation(epoch, "rotation").await?)
            }
            Job::Rotation(RotationJob::Failed { step, reason }) => {
                Ok(gate.rotation_failed(step, reason).await?)
            }
            Job::MailReturned { mail, .. } => {
                if !gate.mail_came_back(&mail).await? {
                    tracing::warn!("SES told of a mail that this gate has not sent: nothing was done");
                }
                Ok(())
            }
            Job::Deliver { messages, .. } => {
                let key = messages.first().and_then(|first| first.subject.key());
                let request = match key {
                    Some(key) => gate.store().load(key).await?.map(Arc::new),
                    None => None,
                };
                for message in messages {
                    self.dispatcher.enqueue(Waiting {
                        message,
                        request: request.clone(),
                        held: Held::Unclaimed,
                    });
                }
                Ok(())
            }
        }
    }
}

impl Sweeper {
    /// Takes up what SES tells. Whoever can forge it can put jobs into the queue as well; but a mail that was not sent
    /// from here moves nothing.
    async fn mail_event(&self, event: SesEvent) -> Result<(), Error> {
        match event {
            SesEvent::Foreign(reason) => {
                tracing::warn!(reason, "an event of SES is not about a mail of this gate");
                Ok(())
            }
            SesEvent::Returned(mail) => {
                if self.worker.gate().mail_came_back(&mail).await? {
                    return Ok(());
                }
                let now = SystemClock.now();
                let not_before = now.plus_millis(UNKNOWN_MS).millis();
                Ok(self.dispatcher.queue.put(&[Job::MailReturned { mail, not_before }.delayed(now)]).await?)
            }
        }
    }
}

/// Delivers one message. A receiver that is not ready for some milliseconds, as n8n is, gets its next try from here;
/// what is later goes into the queue.
async fn deliver(worker: &Worker, dispatcher: &EventDispatcher, waiting: Waiting, began: Instant) {
    let Waiting { mut message, request, held } = waiting;
    let mut progress = match held {
        Held::Ours => worker.run(&message, request.as_deref()).await,
        Held::Unclaimed => worker.claim_and_run(&message, request.as_deref()).await,
    };
    loop {
        match progress {
            Ok(Progress::Done) => return,
            Ok(Progress::RetryAt(next)) => {
                let now = SystemClock.now();
                if next.due_at.millis_since(now) > SHORT_WAIT_MS || began.elapsed() > SHORT_EVENT {
                    return dispatcher.put(Job::retry(&next, now), now).await;
                }
                sleep_until(next.due_at).await;
                message = next;
                progress = worker.claim_and_run(&message, None).await;
            }
            Err(error) => {
                tracing::error!(
                    message.id = message.id,
                    error = error.chain(),
                    "a message could not be sent or recorded; it will be retried"
                );
                return;
            }
        }
    }
}

async fn sleep_until(at: Timestamp) {
    let left_ms = u64::try_from(at.millis_since(SystemClock.now())).unwrap_or(0);
    tokio::time::sleep(Duration::from_millis(left_ms)).await;
}
