//! Deadlines: what has passed is recorded by whoever looks, by a delayed job, or by the sweep.

use placet_core::id::RequestKey;
use placet_core::refusal::Refusal;
use placet_core::request::Request;

use crate::commit::Written;
use crate::outbox::OutboxMessage;
use crate::ports::{Closing, Dispatch};
use crate::{Error, Fault, Gate, LEASE_MS, MAX_RACES};

/// How many things one sweep takes up at once.
const SWEEP_LIMIT: usize = 256;

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Deadlines that were settled.
    pub settled: usize,
    /// Messages that were handed to the dispatcher.
    pub dispatched: usize,
    /// Whether there was more than one sweep takes.
    pub more: bool,
}

impl Gate {
    /// A client's request as it stands now: what has passed its deadline is settled first.
    pub(crate) async fn settled(&self, key: RequestKey) -> Result<Request, Error> {
        let request = self.store.load(key).await?.ok_or(Refusal::NotFound)?;
        if request.is_overdue(self.clock.now()) { self.settle(request).await } else { Ok(request) }
    }

    /// Settles what has passed its deadline: the next stage, or the end. Returns the request as it then stands.
    pub(crate) async fn settle(&self, mut request: Request) -> Result<Request, Error> {
        let policy = self.policy().await?;
        for _ in 0..MAX_RACES {
            let Some(transition) = request.expire(&policy, self.clock.now()) else { return Ok(request) };
            let prepared = self.prepare(&request, transition, &policy).await?;
            match self.write(prepared).await? {
                Written::Yes(next, _) => request = next,
                Written::Lost(winner) => request = winner,
                Written::Late
                | Written::PolicyMoved
                | Written::TotalsMoved
                | Written::OverQuota
                | Written::TooManyPending => {}
            }
        }
        Err(Fault::bare("a request's deadline is being settled too often").into())
    }

    /// Settles one request if its deadline has passed: what a delayed job does. Nothing to do is no fault.
    pub async fn wake(&self, key: RequestKey) -> Result<(), Error> {
        match self.settled(key).await {
            Ok(_) | Err(Error::Refused(Refusal::NotFound)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Finds what delayed jobs and dispatchers missed: passed deadlines and messages that nobody delivered.
    ///
    /// One request's trouble does not keep the sweep from the others; the first fault is returned at the end.
    pub async fn sweep(&self) -> Result<Swept, Error> {
        let now = self.clock.now();
        let closing = self.store.closing(now.plus_millis(self.settings.arm_ahead_ms), SWEEP_LIMIT).await?;
        let due = self.store.due_messages(now, SWEEP_LIMIT).await?;
        let mut swept = Swept { more: due.len() >= SWEEP_LIMIT, ..Swept::default() };
        // Only what was overdue counts: what closes later would be found again and again.
        swept.more |= closing.iter().filter(|closing| closing.closes_at <= now).count() >= SWEEP_LIMIT;
        let mut first_error = None;
        for closing in closing {
            if closing.closes_at > now {
                self.dispatcher.dispatch(Dispatch { closing: Some(closing), ..Dispatch::default() }).await;
                continue;
            }
            match self.wake(closing.key).await {
                Ok(()) => swept.settled += 1,
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        for message in due {
            match self.claim(&message).await {
                Ok(Some(claimed)) => {
                    swept.dispatched += 1;
                    let work = Dispatch { messages: vec![claimed], ..Dispatch::default() };
                    self.dispatcher.dispatch(work).await;
                }
                Ok(None) => {}
                Err(fault) => first_error = first_error.or(Some(fault.into())),
            }
        }
        if let Err(fault) = self.look_at_keys(now).await {
            first_error = first_error.or(Some(fault.into()));
        }
        if let Err(error) = self.send_report(now).await {
            first_error = first_error.or(Some(error));
        }
        first_error.map_or(Ok(swept), Err)
    }

    /// Claims a message for whoever calls, until its lease is over. `None` if somebody else has it, or it is done.
    pub async fn claim(&self, seen: &OutboxMessage) -> Result<Option<OutboxMessage>, Fault> {
        let lease = self.clock.now().plus_millis(LEASE_MS);
        // A claim must move the message, or the next one with the same wish would succeed as well.
        let lease = if lease == seen.due_at { lease.plus_millis(1) } else { lease };
        let claimed = self.store.claim(seen, seen.attempt, lease).await?;
        Ok(claimed.then(|| OutboxMessage { due_at: lease, ..seen.clone() }))
    }

    /// A look at a request at its deadline, by the dispatcher: it settles what a reader may only foresee.
    pub(crate) async fn look_at(&self, key: RequestKey) {
        let closing = Some(Closing { closes_at: self.clock.now(), key });
        self.dispatcher.dispatch(Dispatch { closing, ..Dispatch::default() }).await;
    }

    /// When the next deadline or message is due, as far as the store knows.
    pub async fn next_due(&self) -> Result<Option<placet_core::Timestamp>, Fault> {
        self.store.next_due().await
    }
}
