//! The one path of every write: prepare what an act writes, commit it on condition, hand over what follows.
//!
//! A use case says which rule applies. Here the rule runs, its result is chained into the trail, its messages are made,
//! and all of it is one transaction; whoever loses the race runs the rule again on what the winner wrote.

use std::sync::Arc;

use placet_core::audit::{AuditEvent, AuditEventKind, ChainHead, Channel};
use placet_core::id::RequestKey;
use placet_core::policy::Policy;
use placet_core::request::{ApprovalRequest, Opened, Request, RequestState, Status, Transition};
use placet_core::{Refusal, Timestamp};

use crate::alert::Alert;
use crate::caller::{FIRST_LOOK_MS, waiting_run};
use crate::outbox::{OutboxMessage, OutboxPayload, OutboxSubject};
use crate::ports::{
    Closing, Commit, Committed, Dispatch, Measurement, PolicyRecord, Quota, RequestWrite, TallyWrite,
};
use crate::tokens::mint;
use crate::{Error, Fault, Gate, MAX_RACES};

/// What a rule wants done.
pub(crate) enum Step {
    /// Write this.
    Write(Box<Transition>),
    /// Nothing needs to be written.
    Leave,
}

/// An act on one request, ready to be committed.
pub(crate) struct Prepared {
    commit: Commit,
    next: Request,
    ends: bool,
}

/// How the commit of a prepared act went.
pub(crate) enum Written {
    /// It is written. For a new request: with an older one like it that still waits.
    Yes(Request, Option<placet_core::id::RequestId>),
    /// Somebody else was first; with what they wrote.
    Lost(Request),
    /// It was too late.
    Late,
    /// A newer policy is in force.
    PolicyMoved,
    /// A running total that the rule has read has grown.
    TotalsMoved,
    /// The client's allowance for this minute is used up.
    OverQuota,
    /// Too many of the client's requests wait.
    TooManyPending,
}

impl Gate {
    /// Applies a rule to a stored request until its result is written, or the rule refuses.
    ///
    /// A deadline that has passed is settled first. `true` if something was written.
    pub(crate) async fn change(
        &self,
        key: RequestKey,
        policy: &Arc<Policy>,
        rule: impl Fn(&Request, &Policy, Timestamp) -> Result<Step, Refusal> + Send + Sync,
    ) -> Result<(Request, bool), Error> {
        let request = self.settled(key).await?;
        self.change_loaded(request, policy, rule).await
    }

    /// [`Gate::change`], for a request that has just been loaded: one read less.
    pub(crate) async fn change_loaded(
        &self,
        mut request: Request,
        policy: &Arc<Policy>,
        rule: impl Fn(&Request, &Policy, Timestamp) -> Result<Step, Refusal> + Send + Sync,
    ) -> Result<(Request, bool), Error> {
        let key = request.key();
        let mut policy = Arc::clone(policy);
        for _ in 0..MAX_RACES {
            let now = self.clock.now();
            if request.is_overdue(now) {
                request = self.settle(request).await?;
            }
            let transition = match rule(&request, &policy, now) {
                Ok(Step::Write(transition)) => *transition,
                Ok(Step::Leave) => return Ok((request, false)),
                Err(Refusal::AlreadyDecided) => return Err(Error::Ended(Box::new(request))),
                Err(refusal) => return Err(refusal.into()),
            };
            let prepared = self.prepare(&request, transition, &policy).await?;
            match self.write(prepared).await? {
                Written::Yes(next, _) => return Ok((next, true)),
                Written::Lost(winner) => request = winner,
                // Either the clock passed the deadline on the way, or the store's did: look again.
                Written::Late => request = self.settled(key).await?,
                Written::PolicyMoved => {
                    policy = self.reload_policy().await?.ok_or(Refusal::NoPolicy)?;
                }
                Written::OverQuota | Written::TooManyPending | Written::TotalsMoved => {
                    return Err(unasked_quota().into());
                }
            }
        }
        Err(Fault::bare("a request is being changed too often by others").into())
    }

    /// An act that changes a stored request.
    pub(crate) async fn prepare(
        &self,
        request: &Request,
        transition: Transition,
        policy: &Policy,
    ) -> Result<Prepared, Error> {
        let from_version = request.version();
        let asked = Arc::clone(request.asked());
        let refresh = policy.settles() && looks_different(request.state(), transition.next());
        // Only what waits or is approved counts in running totals.
        let ended_unapproved = transition.ends() && transition.next().status() != Status::Approved;
        let cast = transition.next().votes();
        let voted = cast.last().filter(|_| cast != request.state().votes()).map(|vote| vote.reviewer.clone());
        let over = over(request, transition.next(), self.clock.now());
        let mut prepared = self
            .prepared(asked, transition, policy, None, |asked, state| {
                let next = request.committed(state.clone());
                (RequestWrite::Update { asked, state, from_version }, next)
            })
            .await?;
        if refresh {
            let look = i64::try_from(prepared.next.version()).unwrap_or(i64::MAX);
            let message = self.about(&prepared.next, OutboxPayload::Refresh { look });
            prepared.commit.outbox.push(message);
        }
        for alert in over {
            let message = self.about(&prepared.next, OutboxPayload::AlertOver(alert));
            prepared.commit.outbox.push(message);
        }
        prepared.commit.voted = voted;
        if ended_unapproved {
            prepared.commit.tallies.remove.clone_from(&request.asked().tallies);
        }
        Ok(prepared)
    }

    /// A message about a request, leased to whoever commits it.
    pub(crate) fn about(&self, request: &Request, payload: OutboxPayload) -> OutboxMessage {
        let (key, approval_id) = (request.key(), request.asked().approval_id.clone());
        let subject = OutboxSubject::Approval { key, approval_id };
        OutboxMessage::new(subject, payload, self.clock.now(), self.dispatcher.lease_ms())
    }

    /// An act that adds a request.
    pub(crate) async fn prepare_new(
        &self,
        opened: Opened,
        policy: &Policy,
        quota: Quota,
        seen: Vec<(String, u64)>,
    ) -> Result<Prepared, Error> {
        let add = opened.asked.tallies.clone();
        let mut prepared = self
            .prepared(opened.asked, opened.transition, policy, Some(quota), |asked, state| {
                let next = Request::inserted(Arc::clone(&asked), state.clone());
                (RequestWrite::Insert { asked, state }, next)
            })
            .await?;
        prepared.commit.tallies = TallyWrite { seen, add, remove: Vec::new() };
        let alert_after = prepared.next.asked().terms.as_ref().and_then(|terms| terms.alert_after_ms);
        if let (Some(ms), Some(_)) = (alert_after, prepared.next.pending()) {
            let at = prepared.next.asked().created_at.plus_millis(ms);
            let look = self.about(&prepared.next, OutboxPayload::StillOpen);
            prepared.commit.outbox.push(OutboxMessage { created_at: at, due_at: at, ..look });
        }
        if waiting_run(&prepared.next).is_some() {
            let at = prepared.next.asked().created_at.plus_millis(FIRST_LOOK_MS);
            let look = self.about(&prepared.next, OutboxPayload::LookAtRun);
            prepared.commit.outbox.push(OutboxMessage { created_at: at, due_at: at, ..look });
        }
        Ok(prepared)
    }

    async fn prepared(
        &self,
        asked: Arc<ApprovalRequest>,
        transition: Transition,
        policy: &Policy,
        quota: Option<Quota>,
        write: impl FnOnce(Arc<ApprovalRequest>, RequestState) -> (RequestWrite, Request) + Send,
    ) -> Result<Prepared, Error> {
        let now = self.clock.now();
        let keyring = self.keys.keyring().await?;
        let ends = transition.ends();
        let (not_at_or_after, policy_version) = (transition.not_at_or_after(), transition.policy());
        let outbox = self.messages(&asked, transition.next(), transition.effects(), policy, now).await?;
        let chained = transition.chain(&asked, |claims| mint(claims, &asked, policy, &keyring, None))?;
        let (request, next) = write(asked, chained.state);
        let commit = Commit {
            request: Some(request),
            audit: chained.entries,
            outbox,
            voted: None,
            tallies: TallyWrite::default(),
            policy: None,
            quota,
            not_at_or_after,
            // A gate without an installed policy, as tests make one, has version 0.
            policy_version: policy_version.filter(|version| *version > 0),
        };
        Ok(Prepared { commit, next, ends })
    }

    /// Commits a prepared act, and hands over what follows it.
    pub(crate) async fn write(&self, prepared: Prepared) -> Result<Written, Error> {
        let Prepared { commit, next, ends } = prepared;
        // What is to be told later is left to the sweep.
        let leased_until = self.clock.now().plus_millis(self.dispatcher.lease_ms());
        let is_due = |message: &&OutboxMessage| message.due_at <= leased_until;
        let messages: Vec<OutboxMessage> = commit.outbox.iter().filter(is_due).cloned().collect();
        Ok(match self.store.commit(commit).await? {
            Committed::Done { pending_twin } => {
                if ends && let Some(outcome) = next.outcome() {
                    self.metrics.record(&Measurement::Ended {
                        rule: next.asked().rule.as_deref(),
                        status: outcome.status(),
                        after_ms: outcome.decided_at.millis_since(next.asked().created_at),
                    });
                }
                let closing =
                    next.pending().map(|pending| Closing { closes_at: pending.closes_at, key: next.key() });
                if closing.is_some() || !messages.is_empty() {
                    let request = Some(Arc::new(next.clone()));
                    self.dispatcher.dispatch(Dispatch { messages, request, closing }).await;
                }
                Written::Yes(next, pending_twin)
            }
            Committed::Lost(winner) => Written::Lost(*winner),
            Committed::Late => Written::Late,
            Committed::PolicyMoved => Written::PolicyMoved,
            Committed::TotalsMoved => Written::TotalsMoved,
            Committed::OverQuota => Written::OverQuota,
            Committed::TooManyPending => Written::TooManyPending,
            Committed::ChainMoved => {
                return Err(Fault::bare("an audit chain has entries that its request does not know").into());
            }
        })
    }

    /// An act on the gate itself: one entry at the end of one of its own chains, with a policy or messages.
    ///
    /// `false` if the chain, or the policy, is no longer what the caller has seen: then it looks again.
    pub(crate) async fn append(
        &self,
        subject: &str,
        mut chain: ChainHead,
        act: GateAct,
        now: Timestamp,
    ) -> Result<bool, Fault> {
        let event = AuditEvent {
            timestamp: now,
            kind: act.kind,
            actor: act.actor,
            channel: act.channel,
            approved: false,
            approved_by: None,
            token_hash: None,
            detail: Some(act.detail),
        };
        let entry = chain.append(subject, None, event);
        let lease_ms = self.dispatcher.lease_ms();
        let outbox: Vec<OutboxMessage> = act
            .messages
            .into_iter()
            .map(|payload| OutboxMessage::new(OutboxSubject::Gate, payload, now, lease_ms))
            .collect();
        let commit =
            Commit { audit: vec![entry], policy: act.policy, outbox: outbox.clone(), ..Commit::default() };
        let Committed::Done { .. } = self.store.commit(commit).await? else { return Ok(false) };
        if !outbox.is_empty() {
            self.dispatcher.dispatch(Dispatch { messages: outbox, ..Dispatch::default() }).await;
        }
        Ok(true)
    }
}

/// What operators were alerted of about a request, and what a change ends: nobody was left, or it waited too long. Whether
/// they heard of the latter is looked at when that is told.
fn over(before: &Request, after: &RequestState, now: Timestamp) -> Vec<Alert> {
    let asked = before.asked();
    let (client, request_id) = (asked.client.clone(), asked.request_id.clone());
    let mut over = Vec::new();
    let Some(pending) = before.pending() else { return over };
    if pending.deserted && !after.pending().is_some_and(|next| next.deserted) {
        let (client, request_id) = (client.clone(), request_id.clone());
        over.push(Alert::NobodyLeft { client, request_id, stage: pending.stage.saturating_add(1) });
    }
    let alert_after = asked.terms.as_ref().and_then(|terms| terms.alert_after_ms);
    if after.pending().is_none() && alert_after.is_some_and(|ms| asked.created_at.plus_millis(ms) <= now) {
        over.push(Alert::OpenTooLong { client, request_id, asked_at: asked.created_at });
    }
    over
}

/// Whether a message about a request says something else after a change: a vote, another stage, other people, the end.
fn looks_different(before: &RequestState, after: &RequestState) -> bool {
    let asked = |state: &RequestState| state.pending().map(|pending| (pending.stage, pending.asked.clone()));
    before.status() != after.status() || before.votes() != after.votes() || asked(before) != asked(after)
}

/// What an act on the gate itself writes.
#[derive(Clone, Debug)]
pub(crate) struct GateAct {
    pub(crate) kind: AuditEventKind,
    pub(crate) actor: String,
    pub(crate) channel: Channel,
    pub(crate) detail: String,
    pub(crate) policy: Option<PolicyRecord>,
    pub(crate) messages: Vec<OutboxPayload>,
}

fn unasked_quota() -> Fault {
    Fault::bare("a change that uses no allowance was refused for one")
}
