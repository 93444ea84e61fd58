//! Deadlines and everything that changes a request: run the rule, write if the version stands, run again if not.

use placet_core::audit::AuditEventKind;
use placet_core::id::RequestKey;
use placet_core::policy::Policy;
use placet_core::refusal::Refusal;
use placet_core::request::{Request, State, Status, Told, Transition};
use placet_core::{Timestamp, token};

use crate::alert::Alert;
use crate::ports::{Closing, Commit, Committed, Measurement, Message, OutboxMessage, RequestWrite};
use crate::{Error, Fault, Gate, LEASE_MS, MAX_RACES, tokens};

/// How many things one sweep takes up at once.
const SWEEP_LIMIT: usize = 256;

/// What a rule wants done.
pub(crate) enum Step {
    /// Write this.
    Write(Box<Transition>),
    /// Nothing needs to be written.
    Leave,
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Deadlines that were settled.
    pub settled: usize,
    /// Messages that were taken up.
    pub sent: usize,
    /// Whether there was more than one sweep takes.
    pub more: bool,
}

impl Gate {
    /// Applies a rule to a request until its result is written, or the rule refuses.
    ///
    /// A deadline that has passed is settled first. `true` if something was written.
    pub(crate) async fn change(
        &self,
        key: RequestKey,
        policy: &Policy,
        rule: impl Fn(&Request, Timestamp) -> Result<Step, Refusal> + Send + Sync,
    ) -> Result<(Request, bool), Error> {
        let request = self.settled(key).await?;
        self.change_loaded(request, policy, rule).await
    }

    /// [`Gate::change`], for a request that has just been loaded: one read less.
    pub(crate) async fn change_loaded(
        &self,
        mut request: Request,
        policy: &Policy,
        rule: impl Fn(&Request, Timestamp) -> Result<Step, Refusal> + Send + Sync,
    ) -> Result<(Request, bool), Error> {
        let key = request.asked.key();
        for _ in 0..MAX_RACES {
            let now = self.clock.now();
            if request.is_overdue(now) {
                request = self.settle(request).await?;
            }
            let change = match rule(&request, now) {
                Ok(Step::Write(change)) => *change,
                Ok(Step::Leave) => return Ok((request, false)),
                Err(Refusal::AlreadyDecided) => return Err(Error::Ended(Box::new(request))),
                Err(refusal) => return Err(refusal.into()),
            };
            match self.write(&request, change, policy).await? {
                Written::Yes(next) => return Ok((*next, true)),
                Written::Lost(winner) => request = *winner,
                // Either the clock passed the deadline on the way, or another store did: look again.
                Written::Late => request = self.settled(key).await?,
            }
        }
        Err(Fault::bare("a request is being changed too often by others").into())
    }

    /// Settles what has passed its deadline: the next stage, or the end. Returns the request as it then stands.
    pub(crate) async fn settle(&self, request: Request) -> Result<Request, Error> {
        let policy = self.policy().await?;
        let mut request = request;
        for _ in 0..MAX_RACES {
            let now = self.clock.now();
            if !request.is_overdue(now) {
                return Ok(request);
            }
            let told = self.told(&request).await?;
            let Some(change) = request.expire(&policy, told, now) else { return Ok(request) };
            match self.write(&request, change, &policy).await? {
                Written::Yes(next) => request = *next,
                Written::Lost(winner) => request = *winner,
                Written::Late => {}
            }
        }
        Err(Fault::bare("a request's deadline is being settled too often").into())
    }

    /// Whether the reviewers of the stage that waits have been told. Asked only where silence would approve.
    async fn told(&self, request: &Request) -> Result<Told, Fault> {
        let unsent = self.store.outgoing_of(request.asked.key()).await?;
        let waits = unsent
            .iter()
            .any(|message| matches!(message.what, Message::Tell { .. } | Message::Publish { .. }));
        Ok(if waits { Told::No } else { Told::Yes })
    }

    async fn write(
        &self,
        request: &Request,
        mut change: Transition,
        policy: &Policy,
    ) -> Result<Written, Error> {
        let keyring = self.keys.keyring().await?;
        let now = self.clock.now();
        let mut next = Request {
            asked: request.asked.clone(),
            life: change.life.clone(),
            version: request.version.saturating_add(1),
        };
        let redeems = change.drafts.iter().any(|draft| draft.event == AuditEventKind::Redeemed);
        let token_hash = if change.ends() || redeems {
            tokens::mint(&next, policy, &keyring, None)?.as_deref().map(token::token_hash)
        } else {
            None
        };
        let change_ends = change.ends();
        let expired = change_ends
            && matches!(&next.life.state, State::Ended(outcome) if outcome.status == Status::Expired);
        let audit = change.chain(&request.asked, token_hash.as_deref());
        next.life = change.life.clone();
        let outgoing = self.messages(&next, &change.effects, policy, now).await?;
        let commit = Commit {
            request: Some(RequestWrite::Update {
                key: request.asked.key(),
                life: change.life,
                from_version: request.version,
            }),
            audit,
            outgoing: outgoing.clone(),
            not_at_or_after: change.not_at_or_after,
            ..Commit::default()
        };
        match self.store.commit(commit).await? {
            Committed::Done { .. } => {
                if change_ends {
                    self.saw_end(&next);
                }
                self.after(&next, outgoing).await;
                if expired {
                    self.notify
                        .alert(&Alert::Expired {
                            client: next.asked.client.clone(),
                            request_id: next.asked.request_id.clone(),
                        })
                        .await;
                }
                Ok(Written::Yes(Box::new(next)))
            }
            Committed::Lost(winner) => Ok(Written::Lost(winner)),
            Committed::Late => Ok(Written::Late),
            Committed::ChainMoved | Committed::OverQuota => {
                Err(Fault::bare("an audit chain has entries that its request does not know").into())
            }
        }
    }

    /// What follows a commit: the messages go out, and the next deadline is set.
    pub(crate) async fn after(&self, request: &Request, outgoing: Vec<OutboxMessage>) {
        if request.pending().is_some() || !outgoing.is_empty() {
            self.timers.dispatch(request, outgoing).await;
        }
    }

    pub(crate) fn saw_end(&self, request: &Request) {
        if let Some(outcome) = request.outcome() {
            self.meter.record(&Measurement::Ended {
                rule: request.asked.rule.as_deref(),
                status: outcome.status.as_str(),
                after_ms: outcome.decided_at.millis_since(request.asked.created_at),
            });
        }
    }

    /// Settles one request if its deadline has passed: what a delayed message does. Others' faults stay theirs.
    pub async fn wake(&self, key: RequestKey) -> Result<(), Error> {
        match self.settled(key).await {
            Ok(_) | Err(Error::Refused(Refusal::NotFound)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Finds what timers and senders missed: passed deadlines and unsent messages.
    ///
    /// One request's trouble does not keep the sweep from the others; the first fault is returned at the end.
    pub async fn sweep(&self) -> Result<Swept, Error> {
        let now = self.clock.now();
        let closing = self.store.closing(now.plus_millis(self.settings.arm_ahead_ms), SWEEP_LIMIT).await?;
        let due = self.store.due_outgoing(now, SWEEP_LIMIT).await?;
        let mut swept = Swept { more: due.len() >= SWEEP_LIMIT, ..Swept::default() };
        let mut first_error = None;
        // Only what was overdue counts: what closes later would be found again and again.
        swept.more |= closing.iter().filter(|closing| closing.closes_at <= now).count() >= SWEEP_LIMIT;
        for Closing { key, closes_at } in closing {
            if closes_at > now {
                self.timers.wake_at(key, closes_at).await;
                continue;
            }
            match self.wake(key).await {
                Ok(()) => swept.settled += 1,
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        for message in due {
            let lease = now.plus_millis(LEASE_MS);
            match self.store.reschedule(&message, message.attempt, lease).await {
                Ok(false) => continue,
                Ok(true) => {}
                Err(fault) => {
                    first_error = first_error.or(Some(fault.into()));
                    continue;
                }
            }
            let message = OutboxMessage { due_at: lease, ..message };
            match self.store.load(message.key).await {
                Ok(Some(request)) => {
                    swept.sent += 1;
                    self.timers.dispatch(&request, vec![message]).await;
                }
                Ok(None) => self.store.sent(&message.id).await?,
                Err(fault) => first_error = first_error.or(Some(fault.into())),
            }
        }
        first_error.map_or(Ok(swept), Err)
    }

    /// When the next deadline or message is due, as far as the store knows.
    pub async fn next_due(&self) -> Result<Option<Timestamp>, Fault> {
        self.store.next_due().await
    }
}

enum Written {
    Yes(Box<Request>),
    Lost(Box<Request>),
    Late,
}
