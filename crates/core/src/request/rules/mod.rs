//! The rules: what each act does to a request. Pure functions of the request, the policy and the time.
//!
//! A rule returns a [`Transition`]: the next state, what to write into the trail and whom to tell. It does not say how
//! that is stored. The caller commits it only if the version that the rule saw is still the stored one.

mod authority;
mod editing;
mod events;
mod opening;
mod stages;
mod voting;

use self::authority::is_owner_barred;
pub use self::authority::{Foreseen, Standing};
use self::events::{end_event, event, names, stage_event};
pub use self::opening::{NewRequest, Opened};
pub use self::voting::{Given, VoteInput, VoteOutcome};
use super::{
    Decider, Effect, Flag, GivenUp, MAX_CALLBACKS, Outcome, Pending, Phase, Redemption, Request,
    RequestAlert, RequestState, Status, Transition,
};
use crate::Timestamp;
use crate::audit::{AuditEvent, AuditEventKind, Channel};
use crate::id::ClientId;
use crate::policy::{Assignee, Client, Decision, Policy};
use crate::refusal::Refusal;

/// Who withdraws a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canceller {
    /// The client that asked.
    Asker,
    /// Whoever runs the gate.
    Operator,
    /// The gate, for the client: its platform says that the run which asked is over.
    RunIsOver,
}

/// What reviewers and callers read where a run that is over had asked.
const RUN_IS_OVER: &str = "The n8n run that asked is over: it was stopped, has failed, or was deleted. Nobody waits for the answer.";

impl Request {
    /// The same question was asked again: its caller is called back as well.
    ///
    /// `Ok(None)` where there is nothing new to remember. Refuses more than [`MAX_CALLBACKS`] callers while
    /// it waits.
    pub fn join(&self, callback_url: Option<&str>, now: Timestamp) -> Result<Option<Transition>, Refusal> {
        let Some(url) = callback_url.filter(|url| !self.state.callbacks.iter().any(|known| known == url))
        else {
            return Ok(None);
        };
        let number = self.state.callbacks.len();
        if number >= MAX_CALLBACKS {
            // Who asks after the end has the outcome in the answer.
            if self.outcome().is_some() {
                return Ok(None);
            }
            return Err(Refusal::field(
                "callback_url",
                format!("is one too many: one request calls back at most {MAX_CALLBACKS} addresses"),
            ));
        }
        let at = self.clamp(now);
        let mut state = RequestState { updated_at: at, ..self.state.clone() };
        state.callbacks.push(url.to_owned());
        let actor = format!("client:{}", self.asked.client);
        let effects = if self.outcome().is_some() { vec![Effect::CallBack { number }] } else { Vec::new() };
        Ok(Some(Transition {
            state,
            events: vec![event(at, AuditEventKind::Joined, actor, Channel::Api)],
            effects,
            // Before the deadline or after it: on which side it falls decides who calls this caller back.
            not_at_or_after: self.pending().map(|pending| pending.closes_at),
            policy: None,
        }))
    }

    /// A decider answers for a request that waits in one of its own queues. Its word is the outcome.
    ///
    /// `not_found` for everything that is not, or was not at its end, in a queue of this decider.
    pub fn answer(
        &self,
        decider: &Client,
        decision: Decision,
        reason: Option<String>,
        policy: &Policy,
        now: Timestamp,
    ) -> Result<Transition, Refusal> {
        let at = self.clamp(now);
        let queue = self.state.stage().and_then(|stage| self.asked.stage_queue(stage));
        if !queue.is_some_and(|queue| decider.answers_for(queue)) || decider.id == self.asked.client {
            return Err(Refusal::NotFound);
        }
        let Some(pending) = self.pending() else { return Err(Refusal::AlreadyDecided) };
        if at >= pending.closes_at {
            return Err(Refusal::NotFound);
        }
        let owner_barred =
            decider.owner.as_ref().is_some_and(|owner| is_owner_barred(&self.asked, owner, policy));
        if decision == Decision::Approve && owner_barred {
            return Err(Refusal::Forbidden(
                "the deciding client has the same owner as the asking one, and the policy wants somebody else to approve",
            ));
        }
        let outcome = Outcome {
            status: match decision {
                Decision::Approve => Status::Approved,
                Decision::Reject => Status::Rejected,
            },
            decided_at: at,
            decided_by: vec![Decider::Client(decider.id.clone())],
            reason,
            stage: Some(pending.stage),
        };
        let end = self.end(outcome, at, Channel::Api, Some(pending.closes_at));
        Ok(Transition { policy: Some(policy.version), ..end })
    }

    /// The client, the operator, or the gate for the client withdraws it.
    pub fn cancel(&self, by: Canceller, now: Timestamp) -> Result<Transition, Refusal> {
        let at = self.clamp(now);
        let Some(pending) = self.pending() else { return Err(Refusal::AlreadyDecided) };
        let asker = || Decider::Client(self.asked.client.clone());
        let (decider, channel, reason) = match by {
            Canceller::Asker => (asker(), Channel::Api, None),
            Canceller::Operator => (Decider::Operator, Channel::Operator, None),
            Canceller::RunIsOver => (asker(), Channel::Gate, Some(RUN_IS_OVER.to_owned())),
        };
        let outcome = Outcome {
            status: Status::Cancelled,
            decided_at: at,
            decided_by: vec![decider],
            reason,
            stage: Some(pending.stage),
        };
        Ok(self.end(outcome, at, channel, Some(pending.closes_at)))
    }

    /// What has passed by now: the next stage, or the end. `None` if no deadline has passed.
    ///
    /// Each stage closes at the time that was fixed when the request was taken, however late this runs. The end is
    /// always `expired`: silence never approves.
    pub fn expire(&self, policy: &Policy, now: Timestamp) -> Option<Transition> {
        let at = self.clamp(now);
        let pending = self.pending().filter(|pending| at >= pending.closes_at)?;
        if let Some(next) = self.asked.open_stage_from(pending.stage.saturating_add(1), policy, at) {
            return Some(self.open_next(next, policy, Vec::new(), at));
        }
        let outcome = Outcome {
            status: Status::Expired,
            // When it legally ended, however late that is recorded: a token's time must not start later.
            decided_at: self.asked.deadline.map_or(at, |deadline| deadline.min(at)),
            decided_by: vec![Decider::Timeout(self.asked.rule.clone())],
            reason: None,
            stage: Some(pending.stage),
        };
        let mut end = self.end(outcome, at, Channel::Timeout, None);
        end.effects.push(Effect::Alert(RequestAlert::Expired));
        Some(end)
    }

    /// The policy, or who is away, has changed: whoever is new is asked, and whoever has left is no longer waited for.
    ///
    /// It decides nothing, even where the votes would now be enough: the next word does, and who has approved is asked for it
    /// once more.
    ///
    /// Where nobody who may approve is left, the next stage opens; without one, the request waits for its deadline, and
    /// operators are alerted. `None` where nothing changes.
    pub fn reassign(&self, policy: &Policy, now: Timestamp) -> Option<Transition> {
        let at = self.clamp(now);
        let pending = self.pending().filter(|pending| at < pending.closes_at)?;
        let asked_now = self.asked.assignees(pending.stage, policy, at);
        if !self.asked.somebody_may_approve(pending.stage, &asked_now, policy) {
            let passed = AuditEvent {
                detail: Some(format!(
                    "nobody who may approve stage {} is left",
                    pending.stage.saturating_add(1)
                )),
                ..event(at, AuditEventKind::StageDeserted, "gate".into(), Channel::Gate)
            };
            if let Some(next) = self.asked.open_stage_from(pending.stage.saturating_add(1), policy, at) {
                return Some(self.open_next(next, policy, vec![passed], at));
            }
            if pending.deserted {
                return None;
            }
            let alert = Effect::Alert(RequestAlert::NobodyLeft { stage: pending.stage });
            let next = Pending { asked: asked_now, deserted: true, ..pending.clone() };
            return Some(self.pending_change(next, vec![passed], vec![alert], at));
        }
        let is_in =
            |who: &Assignee, list: &[Assignee]| list.iter().any(|other| other.reviewer == who.reviewer);
        let new: Vec<Assignee> =
            asked_now.iter().filter(|who| !is_in(who, &pending.asked)).cloned().collect();
        let left: Vec<&Assignee> = pending.asked.iter().filter(|who| !is_in(who, &asked_now)).collect();
        if new.is_empty() && left.is_empty() && !pending.deserted {
            return None;
        }
        let words = [("now asks", names(new.iter())), ("no longer asks", names(left.into_iter()))];
        let words: Vec<String> = words
            .into_iter()
            .filter(|(_, who)| !who.is_empty())
            .map(|(verb, who)| format!("{verb} {who}"))
            .collect();
        let changed = AuditEvent {
            detail: Some(format!("stage {} {}", pending.stage.saturating_add(1), words.join(" and "))),
            ..event(at, AuditEventKind::StageReassigned, "gate".into(), Channel::Gate)
        };
        let effects = if new.is_empty() {
            Vec::new()
        } else {
            vec![Effect::NotifyReviewers { stage: pending.stage, asked: new }]
        };
        let next = Pending { asked: asked_now, deserted: false, ..pending.clone() };
        Some(self.pending_change(next, vec![changed], effects, at))
    }

    /// An executor uses the token. `Ok(None)` if the same one has used it before.
    ///
    /// The token has been checked against this request's claims; here the outcome, the time and the one use are.
    pub fn redeem(
        &self,
        redeemed_by: &str,
        executor: &ClientId,
        now: Timestamp,
    ) -> Result<Option<Transition>, Refusal> {
        let claims = self.claims().filter(|claims| claims.approved).ok_or(Refusal::NotApproved)?;
        if let Some(earlier) = &self.state.redemption {
            if earlier.redeemed_by == redeemed_by {
                return Ok(None);
            }
            return Err(Refusal::AlreadyRedeemed {
                redeemed_by: earlier.redeemed_by.clone(),
                redeemed_at: earlier.redeemed_at,
            });
        }
        if now.seconds() >= claims.exp {
            return Err(Refusal::TokenExpired);
        }
        let at = self.clamp(now);
        let redemption = Some(Redemption { redeemed_by: redeemed_by.to_owned(), redeemed_at: at });
        let state = RequestState { redemption, updated_at: at, ..self.state.clone() };
        let events = vec![AuditEvent {
            detail: Some(redeemed_by.to_owned()),
            ..event(at, AuditEventKind::Redeemed, format!("client:{executor}"), Channel::Api)
        }];
        Ok(Some(Transition {
            state,
            events,
            effects: Vec::new(),
            not_at_or_after: Some(Timestamp::from_millis(claims.exp.saturating_mul(1000))),
            policy: None,
        }))
    }

    /// Somebody says that this approval was a mistake. `Ok(None)` if somebody has said so before: the first one counts.
    ///
    /// The outcome stands, and so does its token: what was done cannot be taken back here. Refuses what is not approved.
    pub fn flag(
        &self,
        flagged_by: &str,
        reason: Option<String>,
        channel: Channel,
        now: Timestamp,
    ) -> Result<Option<Transition>, Refusal> {
        if self.status() != Status::Approved {
            return Err(Refusal::NotApproved);
        }
        if self.state.flag.is_some() {
            return Ok(None);
        }
        let at = self.clamp(now);
        let events = vec![AuditEvent {
            detail: reason.clone(),
            ..event(at, AuditEventKind::Flagged, flagged_by.to_owned(), channel)
        }];
        let flag = Some(Flag { flagged_by: flagged_by.to_owned(), reason, flagged_at: at });
        let state = RequestState { flag, updated_at: at, ..self.state.clone() };
        Ok(Some(Transition { state, events, effects: Vec::new(), not_at_or_after: None, policy: None }))
    }

    /// A callback or hook was given up: only the trail changes.
    pub fn give_up(&self, given_up: GivenUp, now: Timestamp) -> Transition {
        let at = self.clamp(now);
        let recorded = AuditEvent {
            detail: Some(format!("{}: {}", given_up.message, given_up.reason)),
            ..event(at, AuditEventKind::CallbackGivenUp, "gate".into(), Channel::Gate)
        };
        Transition {
            state: RequestState { updated_at: at, ..self.state.clone() },
            events: vec![recorded],
            effects: vec![Effect::Alert(RequestAlert::CallbackGivenUp(given_up))],
            not_at_or_after: None,
            policy: None,
        }
    }

    /// Somebody who is not one of the reviewers pressed a button: only the trail changes. `whom` names them by a digest.
    pub fn refuse_press(&self, whom: &str, channel: Channel, now: Timestamp) -> Transition {
        let at = self.clamp(now);
        self.recorded(AuditEvent {
            detail: Some(format!("a press by somebody who is not one of the reviewers ({whom})")),
            ..event(at, AuditEventKind::ChatRefused, "unknown".into(), channel)
        })
    }

    /// Somebody's vote or answer was refused: only the trail changes.
    pub fn refuse_vote(
        &self,
        by: &str,
        decision: Decision,
        why: &Refusal,
        channel: Channel,
        now: Timestamp,
    ) -> Transition {
        self.recorded(AuditEvent {
            detail: Some(format!("{}, refused: {why}", decision.as_str())),
            ..event(self.clamp(now), AuditEventKind::VoteRefused, by.to_owned(), channel)
        })
    }

    /// A use of its token was refused: only the trail changes. `why` is no text of the caller's.
    pub fn refuse_token(&self, by: &ClientId, redeemed_by: &str, why: &str, now: Timestamp) -> Transition {
        self.recorded(AuditEvent {
            detail: Some(format!("{redeemed_by}, refused: {why}")),
            ..event(self.clamp(now), AuditEventKind::TokenRefused, format!("client:{by}"), Channel::Api)
        })
    }

    /// Only the trail changes.
    fn recorded(&self, event: AuditEvent) -> Transition {
        Transition {
            state: RequestState { updated_at: event.timestamp, ..self.state.clone() },
            events: vec![event],
            effects: Vec::new(),
            not_at_or_after: None,
            policy: None,
        }
    }

    /// Whether a deadline has passed that has not been recorded.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.pending().is_some_and(|pending| self.clamp(now) >= pending.closes_at)
    }

    /// Now, but never before the last change: a clock that was set back does not reopen what has passed.
    fn clamp(&self, now: Timestamp) -> Timestamp {
        now.max(self.state.updated_at)
    }

    fn open_next(
        &self,
        next: Pending,
        policy: &Policy,
        mut events: Vec<AuditEvent>,
        at: Timestamp,
    ) -> Transition {
        events.push(stage_event(&self.asked, &next, at));
        let effects = self.asked.opening_effects(&next, policy, self.asked.drawn_turn(), at);
        self.pending_change(next, events, effects, at)
    }

    fn pending_change(
        &self,
        next: Pending,
        events: Vec<AuditEvent>,
        effects: Vec<Effect>,
        at: Timestamp,
    ) -> Transition {
        let state = RequestState { phase: Phase::Pending(next), updated_at: at, ..self.state.clone() };
        Transition { state, events, effects, not_at_or_after: None, policy: None }
    }

    fn end(
        &self,
        outcome: Outcome,
        at: Timestamp,
        channel: Channel,
        before: Option<Timestamp>,
    ) -> Transition {
        let events = vec![end_event(&outcome, at, channel)];
        let state = RequestState { phase: Phase::Ended(outcome), updated_at: at, ..self.state.clone() };
        Transition { state, events, effects: vec![Effect::Decided], not_at_or_after: before, policy: None }
    }
}
