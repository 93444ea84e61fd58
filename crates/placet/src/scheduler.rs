//! What happens beside the answers of the local gate: the outbox is worked off, and deadlines pass on time.
//!
//! [`LocalDispatcher`] is the gate's port: it only hands over. [`Scheduler`] drives the delivery worker and the sweep.

use std::collections::HashSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use placet_core::Timestamp;
use placet_core::request::Request;
use placet_delivery::{Progress, Worker};
use placet_gate::ports::{Dispatch, Dispatcher, OutboxMessage, OutboxPayload, Store};
use placet_gate::{Fault, Gate, LEASE_MS};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;

/// How soon another process's deadlines and messages are noticed, in milliseconds.
const LOOK_EVERY_MS: i64 = 1000;

/// How often new audit entries are sealed.
const SEAL_EVERY: Duration = Duration::from_secs(1);

/// Notifications under way at once: enough that their database writes share one sync.
const NOTIFICATIONS_AT_ONCE: usize = 256;

/// How many unsent messages of an earlier process are claimed at once after a start.
const UNSENT: usize = 1024;

/// Hands over what follows a commit, and wakes the sweep.
pub(crate) struct LocalDispatcher {
    /// Messages to people and queues: they are files, and worked off on a thread of their own.
    notifications: UnboundedSender<QueuedMessage>,
    /// Everything else.
    others: UnboundedSender<QueuedMessage>,
    in_flight: Arc<InFlightMessages>,
    alarm: Arc<Alarm>,
}

/// The other ends of a [`LocalDispatcher`], for the [`Scheduler`].
pub(crate) struct Queues {
    notifications: UnboundedReceiver<QueuedMessage>,
    others: UnboundedReceiver<QueuedMessage>,
}

/// Works off what was handed over, and makes deadlines and retries happen.
pub(crate) struct Scheduler {
    worker: Arc<Worker>,
    dispatcher: Arc<LocalDispatcher>,
}

/// A message that waits for its turn, or is being worked off.
struct QueuedMessage {
    message: OutboxMessage,
    request: Option<Arc<Request>>,
    _in_flight: InFlight,
}

/// The messages that this process is working off: what the sweep finds again in the meantime is not sent twice.
#[derive(Default)]
struct InFlightMessages {
    ids: Mutex<HashSet<String>>,
    landed: Notify,
}

/// One message in flight, until this is dropped: however its delivery ends.
struct InFlight {
    among: Arc<InFlightMessages>,
    id: String,
}

/// The earliest moment at which something must be looked at.
struct Alarm {
    earliest: AtomicI64,
    earlier: Notify,
}

impl LocalDispatcher {
    /// A dispatcher, and what its [`Scheduler`] takes messages from.
    pub(crate) fn new() -> (Arc<Self>, Queues) {
        let (notifications, to_notify) = unbounded_channel();
        let (others, to_do) = unbounded_channel();
        let alarm = Alarm { earliest: AtomicI64::new(i64::MAX), earlier: Notify::new() };
        let dispatcher = Self { notifications, others, in_flight: Arc::default(), alarm: Arc::new(alarm) };
        (Arc::new(dispatcher), Queues { notifications: to_notify, others: to_do })
    }

    fn enqueue(&self, message: OutboxMessage, request: Option<Arc<Request>>) {
        let Some(in_flight) = InFlightMessages::begin(&self.in_flight, &message.id) else { return };
        let queue = match message.payload {
            OutboxPayload::Notify { .. }
            | OutboxPayload::Nudge { .. }
            | OutboxPayload::Remind { .. }
            | OutboxPayload::Digest { .. }
            | OutboxPayload::Refresh { .. }
            | OutboxPayload::ChatWord { .. }
            | OutboxPayload::Publish { .. } => &self.notifications,
            OutboxPayload::Callback { .. }
            | OutboxPayload::Hook { .. }
            | OutboxPayload::Alert(_)
            | OutboxPayload::AlertOver(_)
            | OutboxPayload::AlertBy { .. }
            | OutboxPayload::AlertSummary { .. }
            | OutboxPayload::Report { .. }
            | OutboxPayload::StillOpen
            | OutboxPayload::LookAtRun
            | OutboxPayload::Reassign { .. } => &self.others,
        };
        let _ = queue.send(QueuedMessage { message, request, _in_flight: in_flight });
    }

    /// Waits until nothing is in flight any more, but not longer than that.
    pub(crate) async fn quiet(&self, at_most: Duration) {
        let empty = async {
            loop {
                let landed = self.in_flight.landed.notified();
                if self.in_flight.is_empty() {
                    return;
                }
                landed.await;
            }
        };
        let _ = tokio::time::timeout(at_most, empty).await;
    }
}

#[async_trait]
impl Dispatcher for LocalDispatcher {
    async fn dispatch(&self, work: Dispatch) {
        if let Some(closing) = work.closing {
            self.alarm.set(closing.closes_at);
        }
        for message in work.messages {
            self.enqueue(message, work.request.clone());
        }
    }
}

impl Scheduler {
    /// Starts to work off what is handed over. Notifications get a thread of their own: they are files, and a file
    /// system that is busy blocks, which must not stop a worker that answers requests.
    pub(crate) fn start(
        worker: Worker,
        dispatcher: Arc<LocalDispatcher>,
        queues: Queues,
    ) -> std::io::Result<(Self, JoinHandle<()>)> {
        let worker = Arc::new(worker);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (notifier, alarm) = (Arc::clone(&worker), Arc::clone(&dispatcher.alarm));
        std::thread::Builder::new().name("placet-notify".into()).stack_size(1024 * 1024).spawn(
            move || {
                runtime.block_on(work_off(notifier, queues.notifications, alarm, NOTIFICATIONS_AT_ONCE));
            },
        )?;
        let (other, alarm) = (Arc::clone(&worker), Arc::clone(&dispatcher.alarm));
        // No limit of its own: the hosts of callbacks have theirs.
        let others = tokio::spawn(work_off(other, queues.others, alarm, Semaphore::MAX_PERMITS));
        Ok((Self { worker, dispatcher }, others))
    }

    /// Makes deadlines and retries happen, on time and with nobody asking, for as long as it is polled.
    pub(crate) async fn run(&self) {
        let gate = self.worker.gate();
        match self.claim_unsent(gate.store().as_ref(), gate.now()).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "messages that an earlier process left unsent go out now"),
            Err(fault) => tracing::error!(
                error = fault.chain(),
                "messages that an earlier process left unsent cannot be read; the sweep will retry them"
            ),
        }
        loop {
            self.dispatcher.alarm.earliest.store(i64::MAX, Ordering::SeqCst);
            let swept = match gate.sweep().await {
                Ok(swept) if swept.more => continue,
                Ok(swept) => Some(swept),
                Err(error) => {
                    tracing::error!(
                        error = error.chain(),
                        "a sweep did not finish; it runs again in a second"
                    );
                    None
                }
            };
            let now = gate.now();
            let look = now.plus_millis(LOOK_EVERY_MS);
            let next = match (swept, gate.next_due().await) {
                (Some(swept), Ok(Some(due))) => {
                    // What is due and cannot be moved must not make this spin.
                    let stuck = due <= now && swept.settled == 0 && swept.dispatched == 0;
                    if stuck { now.plus_millis(10) } else { due.min(look) }
                }
                (Some(_), Ok(None)) | (None, Ok(_)) => look,
                (_, Err(fault)) => {
                    tracing::error!(error = fault.chain(), "the next deadline cannot be read");
                    look
                }
            };
            self.dispatcher.alarm.wait_until(gate, next).await;
        }
    }

    /// Takes at once what a process that died had committed and not sent: it need not wait for its lease to end.
    async fn claim_unsent(&self, store: &dyn Store, now: Timestamp) -> Result<usize, Fault> {
        let leased_until = now.plus_millis(LEASE_MS);
        let mut claimed = 0;
        loop {
            let found = store.due_messages(leased_until, UNSENT).await?;
            let before = claimed;
            // Those that were tried have their own time to be retried.
            for message in found.into_iter().filter(|message| message.attempt == 0) {
                // One later than any lease of the dead: what is claimed here is not found again.
                let due_at = leased_until.plus_millis(1);
                if store.claim(&message, message.attempt, due_at).await? {
                    self.dispatcher.enqueue(OutboxMessage { due_at, ..message }, None);
                    claimed += 1;
                }
            }
            if claimed == before {
                return Ok(claimed);
            }
        }
    }
}

/// Puts what has been recorded into the transparency log, once a second, for as long as it is polled. Beside the sweep: a
/// deadline does not wait for a hash.
pub(crate) async fn seal(gate: Arc<Gate>) {
    let mut seconds = tokio::time::interval(SEAL_EVERY);
    seconds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        seconds.tick().await;
        loop {
            match gate.seal().await {
                Ok(sealed) if sealed.more => {}
                Ok(_) => break,
                Err(fault) => {
                    tracing::error!(
                        error = fault.chain(),
                        "audit entries could not be sealed; that is tried again in a second"
                    );
                    break;
                }
            }
        }
    }
}

/// Starts messages in the order in which they were committed, at most so many at once.
async fn work_off(
    worker: Arc<Worker>,
    mut queue: UnboundedReceiver<QueuedMessage>,
    alarm: Arc<Alarm>,
    at_once: usize,
) {
    let slots = Arc::new(Semaphore::new(at_once));
    while let Some(queued) = queue.recv().await {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let (worker, alarm) = (Arc::clone(&worker), Arc::clone(&alarm));
        tokio::spawn(async move {
            match worker.run(&queued.message, queued.request.as_deref()).await {
                Ok(Progress::Done) => {}
                Ok(Progress::RetryAt(message)) => {
                    // In flight no longer, before the sweep can find it due.
                    drop(queued);
                    alarm.set(message.due_at);
                }
                Err(error) => tracing::error!(
                    message.id = queued.message.id,
                    error = error.chain(),
                    "a message could not be sent or recorded; the sweep will retry it"
                ),
            }
            drop(slot);
        });
    }
}

impl InFlightMessages {
    /// `None` if it is in flight already.
    fn begin(among: &Arc<Self>, id: &str) -> Option<InFlight> {
        let is_new = among.ids.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned());
        is_new.then(|| InFlight { among: Arc::clone(among), id: id.to_owned() })
    }

    fn is_empty(&self) -> bool {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut ids = self.among.ids.lock().unwrap_or_else(PoisonError::into_inner);
        ids.remove(&self.id);
        if ids.is_empty() {
            self.among.landed.notify_waiters();
        }
    }
}

impl Alarm {
    fn set(&self, at: Timestamp) {
        let before = self.earliest.fetch_min(at.millis(), Ordering::SeqCst);
        if at.millis() < before {
            self.earlier.notify_one();
        }
    }

    async fn wait_until(&self, gate: &Gate, next: Timestamp) {
        // Now an alarm for later than `next` rings nobody: the store will be asked by then.
        self.earliest.fetch_min(next.millis(), Ordering::SeqCst);
        loop {
            let until = Timestamp::from_millis(self.earliest.load(Ordering::SeqCst)).min(next);
            let left_ms = u64::try_from(until.millis_since(gate.now())).unwrap_or(0);
            if left_ms == 0 {
                return;
            }
            // The clock may be set: this sleep never lasts longer than the look.
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(left_ms)) => {}
                () = self.earlier.notified() => {}
            }
        }
    }
}

/// Hands over nothing: for a command. A serving gate finds what it committed, or the next one when it starts.
pub(crate) struct LeaveForServe;

#[async_trait]
impl Dispatcher for LeaveForServe {
    async fn dispatch(&self, _: Dispatch) {}

    fn lease_ms(&self) -> i64 {
        0
    }
}
