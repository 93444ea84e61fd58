//! The rules: what each act does to a request. Pure functions of the request, the policy and the time.
//!
//! A rule returns a [`Transition`]: the next state, what to write into the trail and whom to tell. It does not say how
//! that is stored. The caller commits it only if the version that the rule saw is still the stored one.

use std::collections::BTreeMap;
#[cfg(feature = "conditions")]
use std::collections::BTreeSet;
use std::sync::Arc;

#[cfg(feature = "conditions")]
use serde_json::Value;

use super::change::{self, Change, Edit};
use super::{
    ApprovalRequest, CONDITION_FAILED, Decider, Effect, Flag, GivenUp, MAX_CALLBACKS, Outcome, Pending,
    Phase, Redemption, Request, RequestAlert, RequestState, Status, Transition, Vote,
};
use crate::Timestamp;
use crate::audit::{AuditEvent, AuditEventKind, Channel};
use crate::id::{ApprovalId, ClientId, RequestId, ReviewerId};
use crate::keys::EpochNumber;
use crate::payload::Payload;
use crate::policy::{Assignee, Assignees, Client, ClientRole, Decision, Notify, Policy};
#[cfg(feature = "conditions")]
use crate::policy::{Earlier, Meter, Question, RuleAction, VALID_FOR_SECONDS, tallies};
use crate::refusal::Refusal;
#[cfg(feature = "conditions")]
use crate::tally::Tally;

/// A question, checked for its form.
#[derive(Clone, Debug)]
pub struct NewRequest {
    /// A new id for the approval.
    pub approval_id: ApprovalId,
    /// The client's name for it.
    pub request_id: RequestId,
    /// Dotted name of what will be done.
    pub action: String,
    /// The agent's words.
    pub summary: String,
    /// What will be done.
    pub payload: Payload,
    /// The caller's labels.
    pub metadata: BTreeMap<String, String>,
    /// Where the outcome is posted to.
    pub callback_url: Option<String>,
    /// The caller's own limit, in milliseconds.
    pub timeout_ms: Option<i64>,
    /// `iss` of its token.
    pub issuer: String,
    /// The epoch whose secret the client signed with.
    pub epoch: EpochNumber,
}

/// A question that was taken, and its first state.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The question, with the terms of its rule.
    pub asked: Arc<ApprovalRequest>,
    /// Its first state.
    pub transition: Transition,
}

/// A reviewer's word, as it arrives.
#[derive(Clone, Debug)]
pub struct VoteInput {
    /// Who.
    pub reviewer: ReviewerId,
    /// Yes or no.
    pub decision: Decision,
    /// Why.
    pub reason: Option<String>,
    /// By which way.
    pub channel: Channel,
    /// When the page that they press on was opened; none where they decide elsewhere.
    pub opened_at: Option<Timestamp>,
    /// What an approval must bring beside the word.
    pub given: Given,
}

/// What an approval brings beside the word, where its rule wants more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// The digest's last four characters, as they were typed (`confirm`).
    pub confirmation: Option<String>,
    /// The fields that are changed (`editable`).
    pub edits: Vec<Edit>,
    /// Digest of the payload that was seen; none where nobody could have changed it.
    pub payload_sha256: Option<String>,
}

/// What a vote did.
#[derive(Clone, Debug)]
pub enum VoteOutcome {
    /// It counts.
    Changed(Box<Transition>),
    /// The same person said the same before.
    Unchanged,
}

/// What a reviewer may do with a request, by the policy in force at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Approve or reject.
    Decide,
    /// Reject only: they own the client that asks.
    RejectOnly,
    /// Nothing: the stage that waits does not ask them.
    Nothing,
}

/// Who withdraws a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canceller {
    /// The client that asked.
    Asker,
    /// Whoever runs the gate.
    Operator,
}

/// A request as it will be once the deadlines that have passed are recorded.
///
/// It is for showing only. It has no version to write on, and no claims: there is no token of what is not recorded.
#[derive(Clone, Debug)]
pub struct Foreseen {
    asked: Arc<ApprovalRequest>,
    state: RequestState,
}

impl Foreseen {
    /// The question.
    pub const fn asked(&self) -> &Arc<ApprovalRequest> {
        &self.asked
    }

    /// What becomes of it.
    pub const fn state(&self) -> &RequestState {
        &self.state
    }

    /// What this reviewer may do with it.
    pub fn standing(&self, reviewer: &ReviewerId, policy: &Policy, now: Timestamp) -> Standing {
        standing(&self.asked, &self.state, reviewer, policy, now.max(self.state.updated_at))
    }

    /// How many approvals count, by the policy in force.
    pub fn approvals_counted(&self, policy: &Policy) -> usize {
        approvals_counted(&self.asked, &self.state, policy)
    }

    /// Whether this reviewer has approved what is asked by now, and may still say so: else they are asked once more.
    pub fn has_approved(&self, reviewer: &ReviewerId, policy: &Policy) -> bool {
        has_approved(&self.asked, &self.state, reviewer, policy)
    }
}

fn approvals_counted(asked: &ApprovalRequest, state: &RequestState, policy: &Policy) -> usize {
    let digest = state.change.as_ref().map(|change| change.payload_sha256.as_str());
    approvers(asked, &state.votes, digest, policy).count()
}

fn has_approved(
    asked: &ApprovalRequest,
    state: &RequestState,
    reviewer: &ReviewerId,
    policy: &Policy,
) -> bool {
    let digest = state.change.as_ref().map(|change| change.payload_sha256.as_str());
    state.votes.iter().any(|vote| {
        vote.reviewer == *reviewer
            && vote.decision == Decision::Approve
            && vote.payload_sha256.as_deref() == digest
            && counts(asked, vote, policy)
    })
}

impl From<Request> for Foreseen {
    fn from(request: Request) -> Self {
        Self { asked: request.asked, state: request.state }
    }
}

impl Request {
    /// Takes a question: the rule decides at once, or somebody is asked.
    #[cfg(feature = "conditions")]
    pub fn open(new: NewRequest, client: &Client, policy: &Policy, now: Timestamp) -> Opened {
        Self::open_after(new, client, policy, &Earlier::new(), 0, now)
    }

    /// [`Request::open`], where earlier requests of this client add up to that, and so many were asked before.
    #[cfg(feature = "conditions")]
    pub fn open_after(
        new: NewRequest,
        client: &Client,
        policy: &Policy,
        earlier: &Earlier,
        turn: u64,
        now: Timestamp,
    ) -> Opened {
        let payload: Value = new.payload.value();
        let question = Question {
            client: client.id.as_str(),
            action: &new.action,
            summary: &new.summary,
            payload: &payload,
            metadata: &new.metadata,
            now,
        };
        let rule_match = policy.evaluate_after(&question, earlier);
        let meters: BTreeSet<&Meter> = policy.gauges().iter().map(|gauge| &gauge.meter).collect();
        let tallies = tallies(meters, &client.id, &question);
        let rule = rule_match.as_ref().map(|matched| matched.rule.name.clone());
        let error = rule_match.as_ref().and_then(|matched| matched.error.as_ref()).map(ToString::to_string);
        let valid_for_seconds =
            rule_match.as_ref().map_or(VALID_FOR_SECONDS, |matched| matched.rule.valid_for_seconds);
        let wording = rule_match.as_ref().map(|matched| matched.rule.wording.clone()).unwrap_or_default();
        let action = rule_match.map(|matched| &matched.rule.action);
        let terms = match action {
            Some(RuleAction::Ask(terms)) => Some(terms.clone()),
            Some(RuleAction::Decide(_)) | None => None,
        };
        let natural_ms = terms
            .iter()
            .flat_map(|terms| &terms.stages)
            .fold(0, |sum: i64, stage| sum.saturating_add(stage.within_ms));
        let limit_ms = new.timeout_ms.map_or(natural_ms, |limit| limit.min(natural_ms));
        let mut asked = ApprovalRequest {
            approval_id: new.approval_id,
            client: client.id.clone(),
            request_id: new.request_id,
            action: new.action,
            summary: new.summary,
            payload_sha256: new.payload.sha256(),
            payload: new.payload,
            metadata: new.metadata,
            created_at: now,
            deadline: terms.is_some().then(|| now.plus_millis(limit_ms)),
            issuer: new.issuer,
            owner: client.owner.clone(),
            token: client.token,
            epoch: new.epoch,
            rule: rule.clone(),
            policy: policy.version,
            terms,
            first_stage: 0,
            valid_for_seconds,
            tallies,
            wording,
        };
        let opened = asked.open_stage_from(0, policy, now);
        if let Some(pending) = &opened {
            asked.first_stage = pending.stage;
        }
        let mut events = vec![AuditEvent {
            detail: error.as_ref().map(|why| format!("{CONDITION_FAILED}: {why}")),
            ..event(now, AuditEventKind::Asked, format!("client:{}", client.id), Channel::Api)
        }];
        let (phase, effects) = match (action, opened) {
            (Some(RuleAction::Ask(_)), Some(pending)) => {
                let mut effects = asked.opening_effects(&pending, policy, turn, now);
                events.push(stage_event(&asked, &pending, now));
                effects.push(Effect::Requested);
                (Phase::Pending(pending), effects)
            }
            (action, _) => {
                let (status, reason) = match (action, error) {
                    (Some(RuleAction::Decide(Decision::Approve)), None) => (Status::Approved, None),
                    (Some(RuleAction::Decide(Decision::Reject)), None) => (Status::Rejected, None),
                    (Some(RuleAction::Decide(_)), Some(why)) => {
                        (Status::Rejected, Some(format!("{CONDITION_FAILED}: {why}")))
                    }
                    (Some(RuleAction::Ask(_)), _) => (
                        Status::Rejected,
                        Some("the rule asks, but nobody who may approve can be asked now".into()),
                    ),
                    (None, _) => (Status::Rejected, Some("no rule matches this request".into())),
                };
                asked.deadline = None;
                let outcome = Outcome {
                    status,
                    decided_at: now,
                    decided_by: vec![Decider::Policy(rule)],
                    reason,
                    stage: None,
                };
                events.push(end_event(&outcome, now, Channel::Policy));
                (Phase::Ended(outcome), vec![Effect::Decided])
            }
        };
        if matches!(&phase, Phase::Ended(outcome) if outcome.status != Status::Approved) {
            // What policy rejected at once never counts.
            asked.tallies.clear();
        }
        let state = RequestState::new(phase, new.callback_url.into_iter().collect(), now);
        let transition = Transition { state, events, effects, not_at_or_after: None, policy: None };
        Opened { asked: Arc::new(asked), transition }
    }

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

    /// A reviewer votes.
    ///
    /// Refuses when the request has ended, when its stage is over or does not ask them, and when the owner would
    /// approve. Every earlier vote is asked again whether it still counts, by the policy in force.
    pub fn vote(&self, input: &VoteInput, policy: &Policy, now: Timestamp) -> Result<VoteOutcome, Refusal> {
        let at = self.clamp(now);
        let Some(pending) = self.pending() else { return Err(Refusal::AlreadyDecided) };
        if at >= pending.closes_at {
            return Err(Refusal::LinkExpired);
        }
        match (self.standing(&input.reviewer, policy, at), input.decision) {
            (Standing::Nothing, Decision::Approve | Decision::Reject) => return Err(Refusal::LinkExpired),
            (Standing::RejectOnly, Decision::Approve) => {
                return Err(Refusal::Forbidden(
                    "your own client asks this, and the policy wants somebody else to approve it",
                ));
            }
            (Standing::RejectOnly, Decision::Reject)
            | (Standing::Decide, Decision::Approve | Decision::Reject) => {}
        }
        let change = match input.decision {
            Decision::Approve => self.approved_change(input, policy)?,
            Decision::Reject => self.state.change.clone(),
        };
        let digest = change.as_ref().map(|change| change.payload_sha256.clone());
        let earlier = self.state.votes.iter().position(|vote| vote.reviewer == input.reviewer);
        let repeats = earlier.and_then(|index| self.state.votes.get(index)).is_some_and(|vote| {
            vote.decision == input.decision
                && vote.payload_sha256 == digest
                && counts(&self.asked, vote, policy)
        });
        let enough = |votes: &[Vote]| {
            let approvers: Vec<Decider> = approvers(&self.asked, votes, digest.as_deref(), policy)
                .map(|vote| Decider::Reviewer(vote.reviewer.clone()))
                .collect();
            (approvers.len() >= self.asked.approvals_needed() as usize).then_some(approvers)
        };
        if repeats && enough(&self.state.votes).is_none() {
            return Ok(VoteOutcome::Unchanged);
        }
        let changed = (change != self.state.change)
            .then(|| change_event(&self.asked, &self.state, change.as_ref(), input, at));
        let mut state = RequestState { updated_at: at, change, ..self.state.clone() };
        if let Some(index) = earlier {
            state.votes.remove(index);
        }
        state.votes.push(Vote {
            reviewer: input.reviewer.clone(),
            decision: input.decision,
            reason: input.reason.clone(),
            voted_at: at,
            stage: pending.stage,
            // A clock that was set back since the page was made must not make a time that runs backwards.
            opened_at: input.opened_at.map(|opened| opened.max(self.asked.created_at).min(at)),
            payload_sha256: digest.clone(),
        });
        let mut events: Vec<AuditEvent> = changed.into_iter().collect();
        events.push(AuditEvent {
            approved: input.decision == Decision::Approve,
            detail: Some(with_reason(input.decision.as_str(), input.reason.as_deref())),
            ..event(at, AuditEventKind::VoteCast, input.reviewer.to_string(), input.channel)
        });
        let end = match input.decision {
            Decision::Reject => Some((Status::Rejected, vec![Decider::Reviewer(input.reviewer.clone())])),
            Decision::Approve => enough(&state.votes).map(|approvers| (Status::Approved, approvers)),
        };
        let mut effects = Vec::new();
        if let Some((status, decided_by)) = end {
            let outcome = Outcome {
                status,
                decided_at: at,
                decided_by,
                reason: input.reason.clone(),
                stage: Some(pending.stage),
            };
            events.push(end_event(&outcome, at, input.channel));
            state.phase = Phase::Ended(outcome);
            effects.push(Effect::Decided);
        }
        Ok(VoteOutcome::Changed(Box::new(Transition {
            state,
            events,
            effects,
            not_at_or_after: Some(pending.closes_at),
            policy: Some(policy.version),
        })))
    }

    /// What an approval approves: the payload as it stands, or as this reviewer changes it. All that a rule wants beside
    /// the word is checked here.
    ///
    /// The first approval fixes the payload: while it counts, others approve the same or reject. So all approvals of a
    /// quorum are for one payload, and nobody's approval is carried over to another.
    fn approved_change(&self, input: &VoteInput, policy: &Policy) -> Result<Option<Change>, Refusal> {
        let Given { confirmation, edits, payload_sha256 } = &input.given;
        let edited = match edits.as_slice() {
            [] => self.state.change.clone(),
            edits => change::edited(&self.asked, self.state.payload(&self.asked), edits, &input.reviewer)?,
        };
        let digest = edited.as_ref().map_or(&self.asked.payload_sha256, |change| &change.payload_sha256);
        let stands = self.state.payload_sha256(&self.asked);
        if digest != stands {
            let standing = self.state.change.as_ref().map(|change| change.payload_sha256.as_str());
            if approvers(&self.asked, &self.state.votes, standing, policy)
                .any(|vote| vote.reviewer != input.reviewer)
            {
                return Err(Refusal::Forbidden(
                    "somebody has approved it as it stands, so it can no longer be changed; you can reject it",
                ));
            }
            if let Some(change) = &edited {
                self.asked.still_hits_its_rule(&change.payload, policy)?;
            }
        }
        match payload_sha256 {
            Some(seen) if seen != digest => {
                return Err(Refusal::field(
                    "payload_sha256",
                    "is not of what is asked by now; look at it again",
                ));
            }
            // Whoever does not say what they saw has seen what was asked.
            None if self.state.change.is_some() => {
                return Err(Refusal::field(
                    "payload_sha256",
                    "is missing: a reviewer has changed what is asked",
                ));
            }
            Some(_) | None => {}
        }
        let must_confirm = self.asked.terms.as_ref().is_some_and(|terms| terms.confirm);
        let last_four = digest.get(digest.len().saturating_sub(4)..).unwrap_or_default();
        let typed = confirmation.as_deref().map(str::trim).unwrap_or_default();
        if must_confirm && !typed.eq_ignore_ascii_case(last_four) {
            return Err(Refusal::field("confirm", "must be the last four characters of the digest"));
        }
        Ok(edited)
    }

    /// What an approval with these edits would approve: for showing it before it is approved. Nothing is recorded.
    ///
    /// Refuses what [`Request::vote`] would refuse of them.
    pub fn preview(
        &self,
        edits: &[Edit],
        by: &ReviewerId,
        policy: &Policy,
    ) -> Result<Option<Change>, Refusal> {
        let edited = change::edited(&self.asked, self.state.payload(&self.asked), edits, by)?;
        if let Some(change) = &edited {
            self.asked.still_hits_its_rule(&change.payload, policy)?;
        }
        Ok(edited)
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

    /// The client, or the operator, withdraws it.
    pub fn cancel(&self, by: Canceller, now: Timestamp) -> Result<Transition, Refusal> {
        let at = self.clamp(now);
        let Some(pending) = self.pending() else { return Err(Refusal::AlreadyDecided) };
        let (decider, channel) = match by {
            Canceller::Asker => (Decider::Client(self.asked.client.clone()), Channel::Api),
            Canceller::Operator => (Decider::Operator, Channel::Operator),
        };
        let outcome = Outcome {
            status: Status::Cancelled,
            decided_at: at,
            decided_by: vec![decider],
            reason: None,
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
            return Some(self.open_next(next, policy, Vec::new(), Vec::new(), at));
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
    /// Where nobody who may approve is left, the next stage opens; without one, the request waits for its deadline, and
    /// operators are alerted. `None` where nothing changes.
    pub fn reassign(&self, policy: &Policy, now: Timestamp) -> Option<Transition> {
        let at = self.clamp(now);
        let pending = self.pending().filter(|pending| at < pending.closes_at)?;
        let asked_now = self.asked.assignees(pending.stage, policy, at);
        if !self.asked.somebody_may_approve(pending.stage, &asked_now, policy) {
            let alert = Effect::Alert(RequestAlert::NobodyLeft { stage: pending.stage });
            let passed = AuditEvent {
                detail: Some(format!(
                    "nobody who may approve stage {} is left",
                    pending.stage.saturating_add(1)
                )),
                ..event(at, AuditEventKind::StageDeserted, "gate".into(), Channel::Gate)
            };
            if let Some(next) = self.asked.open_stage_from(pending.stage.saturating_add(1), policy, at) {
                return Some(self.open_next(next, policy, vec![passed], vec![alert], at));
            }
            if pending.deserted {
                return None;
            }
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
        let recorded = AuditEvent {
            detail: Some(format!("a press by somebody who is not one of the reviewers ({whom})")),
            ..event(at, AuditEventKind::ChatRefused, "unknown".into(), channel)
        };
        Transition {
            state: RequestState { updated_at: at, ..self.state.clone() },
            events: vec![recorded],
            effects: Vec::new(),
            not_at_or_after: None,
            policy: None,
        }
    }

    /// Whether a deadline has passed that has not been recorded.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.pending().is_some_and(|pending| self.clamp(now) >= pending.closes_at)
    }

    /// This request as it will be once its passed deadlines are recorded. For showing.
    pub fn foresee(&self, policy: &Policy, now: Timestamp) -> Foreseen {
        let mut request = self.clone();
        while let Some(transition) = request.expire(policy, now) {
            request.state = transition.state;
        }
        request.into()
    }

    /// What this reviewer may do with the request: the one predicate, asked of the policy in force.
    ///
    /// A vote, the page, the inbox and the count of votes all ask this; whom the stage has *notified* says nothing.
    pub fn standing(&self, reviewer: &ReviewerId, policy: &Policy, now: Timestamp) -> Standing {
        standing(&self.asked, &self.state, reviewer, policy, self.clamp(now))
    }

    /// How many approvals count, by the policy in force.
    pub fn approvals_counted(&self, policy: &Policy) -> usize {
        approvals_counted(&self.asked, &self.state, policy)
    }

    /// Whether this reviewer has approved what is asked by now, and may still say so: else they are asked once more.
    pub fn has_approved(&self, reviewer: &ReviewerId, policy: &Policy) -> bool {
        has_approved(&self.asked, &self.state, reviewer, policy)
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
        mut effects: Vec<Effect>,
        at: Timestamp,
    ) -> Transition {
        events.push(stage_event(&self.asked, &next, at));
        effects.extend(self.asked.opening_effects(&next, policy, self.asked.drawn_turn(), at));
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

/// What a reviewer may do, by their roles, or by standing in for somebody who is away at that time.
fn standing(
    asked: &ApprovalRequest,
    state: &RequestState,
    reviewer: &ReviewerId,
    policy: &Policy,
    at: Timestamp,
) -> Standing {
    state
        .pending()
        .map_or(Standing::Nothing, |pending| standing_in(asked, pending.stage, reviewer, policy, at))
}

/// [`standing`] in a stage, whether it waits or has passed.
fn standing_in(
    asked: &ApprovalRequest,
    stage: usize,
    reviewer: &ReviewerId,
    policy: &Policy,
    at: Timestamp,
) -> Standing {
    let roles = asked.stage_roles(stage);
    let Some(seat) = seat(roles, reviewer, policy, at) else { return Standing::Nothing };
    // Who stands in for the owner may do what the owner may: nobody hands on more than they have.
    if is_owner_barred(asked, reviewer, policy) || is_owner_barred(asked, &seat, policy) {
        Standing::RejectOnly
    } else {
        Standing::Decide
    }
}

/// By whose right a reviewer decides in a stage of those roles: their own, or that of somebody who is away at that time.
fn seat(roles: &[String], reviewer: &ReviewerId, policy: &Policy, at: Timestamp) -> Option<ReviewerId> {
    if policy.reviewer(reviewer)?.has_any(roles) {
        return Some(reviewer.clone());
    }
    let stands_in = policy.asked(roles, at).into_iter().find(|assignee| assignee.reviewer == *reviewer)?;
    Some(stands_in.in_place_of.unwrap_or(stands_in.reviewer))
}

/// Whether this reviewer owns the asking client (when it asked, or by now) and so may not approve.
fn is_owner_barred(asked: &ApprovalRequest, reviewer: &ReviewerId, policy: &Policy) -> bool {
    let allowed = asked.terms.as_ref().is_some_and(|terms| terms.owner_may_approve);
    let owner_now = policy.client(&asked.client).and_then(|client| client.owner.as_ref());
    !allowed && (asked.owner.as_ref() == Some(reviewer) || owner_now == Some(reviewer))
}

/// Whether a vote still counts: by the policy in force, for the stage and the time in which it was cast.
fn counts(asked: &ApprovalRequest, vote: &Vote, policy: &Policy) -> bool {
    match (standing_in(asked, vote.stage, &vote.reviewer, policy, vote.voted_at), vote.decision) {
        (Standing::Decide, Decision::Approve | Decision::Reject)
        | (Standing::RejectOnly, Decision::Reject) => true,
        (Standing::RejectOnly, Decision::Approve)
        | (Standing::Nothing, Decision::Approve | Decision::Reject) => false,
    }
}

/// The approvals that count: of that payload, none for the one that was asked. Who is away and who stands in for them have
/// one voice between them, the one that was heard first.
fn approvers<'v>(
    asked: &'v ApprovalRequest,
    votes: &'v [Vote],
    payload_sha256: Option<&'v str>,
    policy: &'v Policy,
) -> impl Iterator<Item = &'v Vote> {
    let mut seats = BTreeSet::new();
    votes.iter().filter(move |vote| {
        vote.decision == Decision::Approve
            && vote.payload_sha256.as_deref() == payload_sha256
            && counts(asked, vote, policy)
            && seat(asked.stage_roles(vote.stage), &vote.reviewer, policy, vote.voted_at)
                .is_some_and(|seat| seats.insert(seat))
    })
}

impl ApprovalRequest {
    /// The first stage from `from` on that is not over, is within its hours, and has somebody who may approve.
    fn open_stage_from(&self, from: usize, policy: &Policy, at: Timestamp) -> Option<Pending> {
        let stages = self.terms.iter().flat_map(|terms| &terms.stages).enumerate().skip(from);
        for (index, stage) in stages {
            let closes_at = self.stage_closes_at(index);
            if at >= closes_at || stage.hours.as_ref().is_some_and(|hours| !hours.contains(at)) {
                continue;
            }
            let asked = self.assignees(index, policy, at);
            if self.somebody_may_approve(index, &asked, policy) {
                return Some(Pending { stage: index, closes_at, asked, deserted: false });
            }
        }
        None
    }

    /// The people whom a stage asks at that time; none for a queue.
    fn assignees(&self, stage: usize, policy: &Policy, at: Timestamp) -> Vec<Assignee> {
        let roles = self.stage_roles(stage);
        if roles.is_empty() { Vec::new() } else { policy.asked(roles, at) }
    }

    /// Whether one of these people, or a decider of the stage's queue, may approve.
    fn somebody_may_approve(&self, stage: usize, asked: &[Assignee], policy: &Policy) -> bool {
        match self.terms.as_ref().and_then(|terms| terms.stages.get(stage)).map(|stage| &stage.assignees) {
            Some(Assignees::Queue(queue)) => policy.clients.iter().any(|client| client.answers_for(queue)),
            Some(Assignees::Roles(_)) => asked.iter().any(|assignee| self.may_approve(assignee, policy)),
            None => false,
        }
    }

    /// Whether who is asked may approve: neither they, nor whom they stand in for, own the asking client.
    fn may_approve(&self, assignee: &Assignee, policy: &Policy) -> bool {
        let holder = assignee.in_place_of.as_ref();
        !is_owner_barred(self, &assignee.reviewer, policy)
            && holder.is_none_or(|holder| !is_owner_barred(self, holder, policy))
    }

    /// Refuses a changed payload that another rule would decide: who may approve a small payment must not make it large.
    #[cfg(feature = "conditions")]
    fn still_hits_its_rule(&self, payload: &Payload, policy: &Policy) -> Result<(), Refusal> {
        let payload = payload.value();
        let question = Question {
            client: self.client.as_str(),
            action: &self.action,
            summary: &self.summary,
            payload: &payload,
            metadata: &self.metadata,
            now: self.created_at,
        };
        let hit = policy.evaluate(&question);
        let is_its_own =
            hit.is_some_and(|hit| hit.error.is_none() && Some(&hit.rule.name) == self.rule.as_ref());
        // A running total has counted what was asked: nobody makes more of it afterwards, or moves it elsewhere.
        let meters: BTreeSet<&Meter> = policy.gauges().iter().map(|gauge| &gauge.meter).collect();
        let counted = |now: &Tally| {
            self.tallies.iter().any(|then| then.account == now.account && now.amount <= then.amount)
        };
        let is_counted = tallies(meters, &self.client, &question).iter().all(counted);
        if is_its_own && is_counted {
            Ok(())
        } else {
            Err(Refusal::Forbidden(
                "with this change another rule of the policy would decide, so it must be asked anew",
            ))
        }
    }

    #[cfg(not(feature = "conditions"))]
    fn still_hits_its_rule(&self, _: &Payload, _: &Policy) -> Result<(), Refusal> {
        Err(Refusal::Forbidden("this program cannot tell which rule a changed payload hits"))
    }

    /// Whom a stage tells when it opens at that time. `turn` counts what was asked before, where people take turns.
    fn opening_effects(&self, pending: &Pending, policy: &Policy, turn: u64, at: Timestamp) -> Vec<Effect> {
        let stage = pending.stage;
        if let Some(queue) = self.stage_queue(stage) {
            return vec![Effect::Publish { stage, queue: queue.to_owned() }];
        }
        let notify = self
            .terms
            .as_ref()
            .and_then(|terms| terms.stages.get(stage))
            .map_or(Notify::All, |stage| stage.notify);
        // Who may only reject is never the one whose turn it is.
        let (able, barred): (Vec<Assignee>, Vec<Assignee>) =
            pending.asked.iter().cloned().partition(|assignee| self.may_approve(assignee, policy));
        let needed = self.approvals_needed() as usize;
        if notify == Notify::All || able.len() <= needed {
            return vec![Effect::NotifyReviewers { stage, asked: pending.asked.clone() }];
        }
        let count = u64::try_from(able.len()).unwrap_or(1).max(1);
        let start =
            usize::try_from(turn.wrapping_mul(u64::from(self.approvals_needed())) % count).unwrap_or(0);
        let mut in_turn = able;
        in_turn.rotate_left(start);
        let later = in_turn.split_off(needed);
        let half = at.plus_millis(pending.closes_at.millis_since(at) / 2);
        vec![
            Effect::NotifyReviewers { stage, asked: in_turn },
            Effect::NotifyLater { stage, asked: later.into_iter().chain(barred).collect(), at: half },
        ]
    }

    /// A turn for a stage that opens by itself: as good as drawn, and the same whoever opens it.
    fn drawn_turn(&self) -> u64 {
        let digest = crate::payload::sha256_hex(self.approval_id.as_str().as_bytes());
        digest.get(..12).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(0)
    }
}

impl Client {
    /// Whether it may answer what waits in that queue.
    pub fn answers_for(&self, queue: &str) -> bool {
        self.has(ClientRole::Decider) && self.queues.contains(queue)
    }
}

fn event(timestamp: Timestamp, kind: AuditEventKind, actor: String, channel: Channel) -> AuditEvent {
    AuditEvent {
        timestamp,
        kind,
        actor,
        channel,
        approved: false,
        approved_by: None,
        token_hash: None,
        detail: None,
    }
}

/// Who changed which fields: by digests, never by values.
fn change_event(
    asked: &ApprovalRequest,
    before: &RequestState,
    change: Option<&Change>,
    input: &VoteInput,
    at: Timestamp,
) -> AuditEvent {
    let fields =
        change.map(|change| &change.fields).or_else(|| before.change.as_ref().map(|change| &change.fields));
    let fields: Vec<String> = fields.into_iter().flatten().map(ToString::to_string).collect();
    let (from, to) =
        (before.payload_sha256(asked), change.map_or(&asked.payload_sha256, |change| &change.payload_sha256));
    AuditEvent {
        detail: Some(format!("{}: payload_sha256 {from} became {to}", fields.join(", "))),
        ..event(at, AuditEventKind::PayloadChanged, input.reviewer.to_string(), input.channel)
    }
}

fn stage_event(asked: &ApprovalRequest, pending: &Pending, at: Timestamp) -> AuditEvent {
    let whom = asked
        .stage_queue(pending.stage)
        .map_or_else(|| names(pending.asked.iter()), |queue| format!("queue {queue}"));
    let number = pending.stage.saturating_add(1);
    AuditEvent {
        detail: Some(format!("stage {number} asks {whom} until {}", pending.closes_at)),
        ..event(at, AuditEventKind::StageOpened, "gate".into(), Channel::Gate)
    }
}

fn end_event(outcome: &Outcome, at: Timestamp, channel: Channel) -> AuditEvent {
    let kind = match outcome.status {
        Status::Approved => AuditEventKind::Approved,
        Status::Rejected => AuditEventKind::Rejected,
        Status::Cancelled => AuditEventKind::Cancelled,
        // An outcome is never pending.
        Status::Expired | Status::Pending => AuditEventKind::Expired,
    };
    let actor = outcome.decided_by.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let approved = outcome.status == Status::Approved;
    AuditEvent {
        approved,
        approved_by: approved.then(|| actor.clone()),
        detail: outcome.reason.clone(),
        ..event(at, kind, actor, channel)
    }
}

fn names<'a>(people: impl Iterator<Item = &'a Assignee>) -> String {
    people.map(|assignee| assignee.reviewer.as_str()).collect::<Vec<_>>().join(", ")
}

fn with_reason(word: &str, reason: Option<&str>) -> String {
    reason.map_or_else(|| word.to_owned(), |reason| format!("{word}: {reason}"))
}
