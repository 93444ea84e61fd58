//! What happens later, or beside the answer: sending messages, and the clock that makes deadlines pass.

use std::collections::HashSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use placet_core::Timestamp;
use placet_core::id::RequestKey;
use placet_core::request::Request;
use placet_gate::ports::{Message, OutboxMessage, Store, Timers};
use placet_gate::{Error, Fault, Gate, LEASE_MS};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, Semaphore};

/// How soon another process's deadlines and messages are noticed, in milliseconds.
const LOOK_EVERY_MS: i64 = 1000;

/// Letters under way at once: enough that their database writes share one sync.
const LETTERS_AT_ONCE: usize = 256;

/// How many orphaned messages are taken up at once after a start.
const ORPHANS: usize = 1024;

/// Sends messages beside the answers, and wakes the sweep.
pub(crate) struct LocalTimers {
    gate: OnceLock<Weak<Gate>>,
    letters: UnboundedSender<Parcel>,
    on_their_way: Arc<OnTheirWay>,
    alarm: Alarm,
    runtime: Handle,
}

struct Parcel {
    request: Arc<Request>,
    message: OutboxMessage,
    _flight: Flight,
}

/// The messages that this process is sending: what the sweep finds again in the meantime is not sent twice.
#[derive(Default)]
struct OnTheirWay {
    ids: Mutex<HashSet<String>>,
    landed: Notify,
}

/// One message on its way, until this is dropped: however its sending ends.
struct Flight {
    among: Arc<OnTheirWay>,
    id: String,
}

/// The earliest moment at which something must be looked at.
struct Alarm {
    earliest: AtomicI64,
    earlier: Notify,
}

impl LocalTimers {
    /// Starts the letters' own thread. Call [`LocalTimers::belong_to`] before anything is dispatched.
    ///
    /// Letters are files, and a file system that is busy blocks: that must not stop a worker that answers requests.
    pub(crate) fn start() -> std::io::Result<Arc<Self>> {
        let (letters, inbox) = unbounded_channel();
        let timers = Arc::new(Self {
            gate: OnceLock::new(),
            letters,
            on_their_way: Arc::default(),
            alarm: Alarm { earliest: AtomicI64::new(i64::MAX), earlier: Notify::new() },
            runtime: Handle::current(),
        });
        let letters = Arc::downgrade(&timers);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new()
            .name("placet-letters".into())
            .stack_size(1024 * 1024)
            .spawn(move || runtime.block_on(send_letters(letters, inbox)))?;
        Ok(timers)
    }

    /// Says whose messages these are.
    pub(crate) fn belong_to(&self, gate: &Arc<Gate>) {
        let _ = self.gate.set(Arc::downgrade(gate));
    }

    /// Waits until nothing is on its way any more, but not longer than that.
    pub(crate) async fn quiet(&self, at_most: Duration) {
        let empty = async {
            loop {
                let landed = self.on_their_way.landed.notified();
                if self.on_their_way.is_empty() {
                    return;
                }
                landed.await;
            }
        };
        let _ = tokio::time::timeout(at_most, empty).await;
    }

    /// Makes deadlines and retries happen, on time and with nobody asking, for as long as it is polled.
    pub(crate) async fn keep_time(&self, gate: &Gate) {
        loop {
            self.alarm.earliest.store(i64::MAX, Ordering::SeqCst);
            let swept = match gate.sweep().await {
                Ok(swept) if swept.more => continue,
                Ok(swept) => Some(swept),
                Err(error) => {
                    tracing::error!(
                        error = chain(&error),
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
                    let stuck = due <= now && swept.settled == 0 && swept.sent == 0;
                    if stuck { now.plus_millis(10) } else { due.min(look) }
                }
                (Some(_), Ok(None)) | (None, Ok(_)) => look,
                (_, Err(fault)) => {
                    tracing::error!(error = fault.chain(), "the next deadline cannot be read");
                    look
                }
            };
            self.alarm.wait_until(gate, next).await;
        }
    }

    /// Sends at once what a process that died had committed and not sent: it need not wait for its lease to end.
    pub(crate) async fn send_orphans(&self, store: &dyn Store, now: Timestamp) -> Result<usize, Fault> {
        let leased_until = now.plus_millis(LEASE_MS);
        let mut sent = 0;
        loop {
            let found = store.due_outgoing(leased_until, ORPHANS).await?;
            let before = sent;
            // Those that were tried have their own time to be tried again.
            for message in found.into_iter().filter(|message| message.attempt == 0) {
                // One later than any lease of the dead: what is taken up is not found again.
                let due_at = leased_until.plus_millis(1);
                if !store.reschedule(&message, message.attempt, due_at).await? {
                    continue;
                }
                if let Some(request) = store.load(message.key).await? {
                    self.dispatch(&request, vec![OutboxMessage { due_at, ..message }]).await;
                    sent += 1;
                }
            }
            if sent == before {
                return Ok(sent);
            }
        }
    }
}

#[async_trait]
impl Timers for LocalTimers {
    async fn wake_at(&self, _key: RequestKey, at: Timestamp) {
        self.alarm.set(at);
    }

    async fn retry(&self, message: &OutboxMessage) {
        self.alarm.set(message.due_at);
    }

    async fn dispatch(&self, request: &Request, outgoing: Vec<OutboxMessage>) {
        if let Some(pending) = request.pending() {
            self.alarm.set(pending.closes_at);
        }
        if outgoing.is_empty() {
            return;
        }
        let request = Arc::new(request.clone());
        for message in outgoing {
            let Some(flight) = OnTheirWay::set_out(&self.on_their_way, &message.id) else { continue };
            let parcel = Parcel { request: Arc::clone(&request), message, _flight: flight };
            match parcel.message.what {
                Message::Tell { .. } | Message::Publish { .. } => {
                    let _ = self.letters.send(parcel);
                }
                Message::Callback | Message::Hook { .. } => {
                    let Some(gate) = self.gate.get().and_then(Weak::upgrade) else { continue };
                    self.runtime.spawn(async move { deliver(&gate, &parcel).await });
                }
            }
        }
    }
}

impl OnTheirWay {
    /// `None` if it is on its way already.
    fn set_out(among: &Arc<Self>, id: &str) -> Option<Flight> {
        let is_new = among.ids.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned());
        is_new.then(|| Flight { among: Arc::clone(among), id: id.to_owned() })
    }

    fn is_empty(&self) -> bool {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

impl Drop for Flight {
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

/// The letters' thread: starts them in the order in which they were committed.
async fn send_letters(timers: Weak<LocalTimers>, mut inbox: UnboundedReceiver<Parcel>) {
    let slots = Arc::new(Semaphore::new(LETTERS_AT_ONCE));
    while let Some(parcel) = inbox.recv().await {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let Some(timers) = timers.upgrade() else { return };
        let Some(gate) = timers.gate.get().and_then(Weak::upgrade) else { continue };
        tokio::spawn(async move {
            deliver(&gate, &parcel).await;
            drop(slot);
        });
    }
}

async fn deliver(gate: &Gate, parcel: &Parcel) {
    if let Err(error) = gate.deliver(&parcel.message, Some(&parcel.request)).await {
        tracing::error!(
            approval.id = %parcel.message.approval_id,
            error = chain(&error),
            "a message could not be sent or recorded; the sweep tries it again"
        );
    }
}

/// Sends nothing: for commands that end. A serving gate finds in the store what they have committed.
pub(crate) struct InlineTimers;

#[async_trait]
impl Timers for InlineTimers {
    async fn wake_at(&self, _key: RequestKey, _at: Timestamp) {}

    async fn retry(&self, _message: &OutboxMessage) {}

    async fn dispatch(&self, _request: &Request, _outgoing: Vec<OutboxMessage>) {}
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &Error) -> String {
    match error {
        Error::Fault(fault) => fault.chain(),
        Error::Refused(refusal) => refusal.to_string(),
        Error::Ended(_) => error.to_string(),
    }
}
