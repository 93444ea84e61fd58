//! The rules: what each act does to a request. Pure functions of the request, the policy and the time.
//!
//! A rule returns the next life, what to write into the trail and whom to tell. It says nothing about how that is
//! stored; the caller commits it only if the version that the rule saw still stands.

use std::collections::BTreeMap;
#[cfg(feature = "conditions")]
use std::sync::Arc;

#[cfg(feature = "conditions")]
use serde_json::Value;

use super::{
    ApprovalRequest, Decider, Outcome, Pending, Redemption, Request, RequestState, State, Status, Vote,
};
use crate::Timestamp;
use crate::audit::{AuditEntry, AuditEvent, AuditEventKind, Channel};
use crate::id::{ApprovalId, RequestId, ReviewerId};
use crate::keys::EpochNumber;
use crate::payload::Payload;
use crate::policy::{ApprovalTerms, Assignee, Assignees, Client, Decision, Policy};
#[cfg(feature = "conditions")]
use crate::policy::{Question, RuleAction, VALID_FOR_SECONDS};
use crate::refusal::Refusal;

/// A question, checked for its form.
#[derive(Clone, Debug)]
pub struct NewRequest {
    /// A new id for the approval.
    pub approval_id: ApprovalId,
    /// The client's name for it.
    pub request_id: RequestId,
    /// Digest of the question; see [`ApprovalRequest::question_sha256`].
    pub question_sha256: String,
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

/// What an act does: to be committed as a whole, or not at all.
#[derive(Clone, Debug)]
pub struct Transition {
    /// The next life.
    pub life: RequestState,
    /// What to write into the trail, in order.
    pub drafts: Vec<AuditEvent>,
    /// Whom to tell once it is committed.
    pub effects: Vec<Effect>,
    /// The first moment at which it must no longer be written; none where time does not matter.
    pub not_at_or_after: Option<Timestamp>,
}

/// Somebody to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The reviewers whom this stage asks.
    NotifyReviewers {
        /// Index of the stage.
        stage: usize,
        /// Whom it asks.
        asked: Vec<Assignee>,
    },
    /// The system behind this stage's queue.
    Publish {
        /// Index of the stage.
        stage: usize,
        /// Its queue.
        queue: String,
    },
    /// Subscribers: it waits for somebody.
    Requested,
    /// The caller and subscribers: it has ended.
    Decided,
}

impl Transition {
    /// Whether the request ends with it.
    pub fn ends(&self) -> bool {
        self.drafts.iter().any(|draft| draft.event.is_end())
    }

    /// Puts the drafts at the end of the request's audit chain.
    ///
    /// `token_hash` goes to the entry of the end, and to that of a redemption.
    pub fn chain(&mut self, asked: &ApprovalRequest, token_hash: Option<&str>) -> Vec<AuditEntry> {
        let about = asked.about();
        let chain = &mut self.life.chain;
        self.drafts
            .drain(..)
            .map(|mut draft| {
                if draft.event.is_end() || draft.event == AuditEventKind::Redeemed {
                    draft.token_hash = token_hash.map(str::to_owned);
                }
                chain.append(asked.approval_id.as_str(), Some(&about), draft)
            })
            .collect()
    }
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
}

/// What a vote did.
#[derive(Clone, Debug)]
pub enum VoteOutcome {
    /// It counts.
    Changed(Box<Transition>),
    /// The same person had said the same before.
    Unchanged,
}

/// Whether the last stage's reviewers have been told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// All messages have gone out.
    Yes,
    /// Some have not: an outage is not consent.
    No,
}

impl Request {
    /// Takes a question: the rule decides at once, or somebody is asked.
    #[cfg(feature = "conditions")]
    pub fn open(
        ask: NewRequest,
        client: &Client,
        policy: &Policy,
        now: Timestamp,
    ) -> (Arc<ApprovalRequest>, Transition) {
        let payload: Value = ask.payload.value();
        let hit = policy.evaluate(&Question {
            now,
            client: client.id.as_str(),
            action: &ask.action,
            summary: &ask.summary,
            payload: &payload,
            metadata: &ask.metadata,
        });
        let rule = hit.as_ref().map(|hit| hit.rule.name.clone());
        let doubt = hit.as_ref().and_then(|hit| hit.error);
        let valid_for_seconds = hit.as_ref().map_or(VALID_FOR_SECONDS, |hit| hit.rule.valid_for_seconds);
        let then = hit.map(|hit| &hit.rule.action);
        let terms = match then {
            Some(RuleAction::Ask(terms)) => Some(terms.clone()),
            Some(RuleAction::Decide(_)) | None => None,
        };
        let natural_ms: i64 = terms.iter().flat_map(|terms| &terms.stages).map(|stage| stage.within_ms).sum();
        let limit_ms = ask.timeout_ms.map_or(natural_ms, |limit| limit.min(natural_ms));
        let mut asked = ApprovalRequest {
            approval_id: ask.approval_id,
            client: client.id.clone(),
            request_id: ask.request_id,
            question_sha256: ask.question_sha256,
            action: ask.action,
            summary: ask.summary,
            payload_sha256: ask.payload.sha256(),
            payload: ask.payload,
            metadata: ask.metadata,
            callback_url: ask.callback_url,
            created_at: now,
            deadline: terms.is_some().then(|| now.plus_millis(limit_ms)),
            issuer: ask.issuer,
            owner: client.owner.clone(),
            token: client.token,
            epoch: ask.epoch,
            rule: rule.clone(),
            terms,
            first_stage: 0,
            valid_for_seconds,
            // A caller who could shorten the wait for `on_timeout = "approve"` would approve its own request.
            silence_refuses: doubt.is_some() || limit_ms < natural_ms,
        };
        let opened = asked.open_stage_from(0, policy, now);
        if let Some(pending) = &opened {
            asked.first_stage = pending.stage;
        }
        let mut drafts = vec![AuditEvent {
            detail: doubt.as_ref().map(|why| format!("the rule's condition could not be evaluated: {why}")),
            ..draft(now, AuditEventKind::Asked, format!("client:{}", asked.client), Channel::Api)
        }];
        let (state, effects) = match (then, opened) {
            (Some(RuleAction::Ask(_)), Some(pending)) => {
                let mut effects = asked.opening_effects(&pending);
                drafts.push(stage_draft(&asked, &pending, now));
                effects.push(Effect::Requested);
                (State::Pending(pending), effects)
            }
            (then, _) => {
                let (status, reason) = match (then, doubt) {
                    (Some(RuleAction::Decide(Decision::Approve)), None) => (Status::Approved, None),
                    (Some(RuleAction::Decide(Decision::Reject)), None) => (Status::Rejected, None),
                    (Some(RuleAction::Decide(_)), Some(why)) => (
                        Status::Rejected,
                        Some(format!("the rule's condition could not be evaluated: {why}")),
                    ),
                    (Some(RuleAction::Ask(_)), _) => (
                        Status::Rejected,
                        Some("the rule asks, but nobody who may approve can be asked".into()),
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
                drafts.push(end_draft(&outcome, now, Channel::Policy));
                (State::Ended(outcome), vec![Effect::Decided])
            }
        };
        let life = RequestState::new(state, now);
        (Arc::new(asked), Transition { life, drafts, effects, not_at_or_after: None })
    }

    /// A reviewer votes.
    ///
    /// Refuses when it has ended, when its stage is over or never asked them, and when the owner would approve.
    pub fn vote(&self, ballot: &VoteInput, policy: &Policy, now: Timestamp) -> Result<VoteOutcome, Refusal> {
        let at = self.clamp(now);
        let Some(pending) = self.pending() else { return Err(Refusal::AlreadyDecided) };
        if at >= pending.closes_at || !self.may_answer(&ballot.reviewer, policy) {
            return Err(Refusal::LinkExpired);
        }
        if ballot.decision == Decision::Approve && self.is_owner_barred(&ballot.reviewer, policy) {
            return Err(Refusal::Forbidden(
                "this is a request of your own client; the policy wants somebody else to approve it",
            ));
        }
        let earlier = self.life.votes.iter().position(|vote| vote.reviewer == ballot.reviewer);
        let same = earlier
            .and_then(|index| self.life.votes.get(index))
            .is_some_and(|vote| vote.decision == ballot.decision);
        if same {
            return Ok(VoteOutcome::Unchanged);
        }
        let mut life = RequestState { updated_at: at, ..self.life.clone() };
        if let Some(index) = earlier {
            life.votes.remove(index);
        }
        life.votes.push(Vote {
            reviewer: ballot.reviewer.clone(),
            decision: ballot.decision,
            reason: ballot.reason.clone(),
            voted_at: at,
        });
        let mut drafts = vec![AuditEvent {
            approved: ballot.decision == Decision::Approve,
            detail: Some(with_reason(ballot.decision.as_str(), ballot.reason.as_deref())),
            ..draft(at, AuditEventKind::VoteCast, ballot.reviewer.to_string(), ballot.channel)
        }];
        let approvers: Vec<Decider> = life
            .votes
            .iter()
            // Whoever has left by now, or has come to own the asking client, no longer counts.
            .filter(|vote| vote.decision == Decision::Approve)
            .filter(|vote| policy.reviewer(&vote.reviewer).is_some())
            .filter(|vote| !self.is_owner_barred(&vote.reviewer, policy))
            .map(|vote| Decider::Reviewer(vote.reviewer.clone()))
            .collect();
        let end = match ballot.decision {
            Decision::Reject => Some((Status::Rejected, vec![Decider::Reviewer(ballot.reviewer.clone())])),
            Decision::Approve => {
                let enough = approvers.len() >= self.asked.approvals_needed() as usize;
                enough.then_some((Status::Approved, approvers))
            }
        };
        let mut effects = Vec::new();
        if let Some((status, decided_by)) = end {
            let outcome = Outcome {
                status,
                decided_at: at,
                decided_by,
                reason: ballot.reason.clone(),
                stage: Some(pending.stage),
            };
            drafts.push(end_draft(&outcome, at, ballot.channel));
            life.state = State::Ended(outcome);
            effects.push(Effect::Decided);
        }
        let not_at_or_after = Some(pending.closes_at);
        Ok(VoteOutcome::Changed(Box::new(Transition { life, drafts, effects, not_at_or_after })))
    }

    /// A decider answers for a request that waits in a queue. Its word is the outcome.
    pub fn answer(
        &self,
        decider: &Client,
        decision: Decision,
        reason: Option<String>,
        policy: &Policy,
        now: Timestamp,
    ) -> Result<Transition, Refusal> {
        let at = self.clamp(now);
        let Some(pending) = self.pending() else { return Err(Refusal::AlreadyDecided) };
        if at >= pending.closes_at || self.asked.stage_queue(pending.stage).is_none() {
            return Err(Refusal::Forbidden("the request does not wait in a queue"));
        }
        if decider.id == self.asked.client {
            return Err(Refusal::Forbidden("a client does not decide what it asks"));
        }
        let owner_barred = decider.owner.as_ref().is_some_and(|owner| self.is_owner_barred(owner, policy));
        if decision == Decision::Approve && owner_barred {
            return Err(Refusal::Forbidden(
                "the deciding client has the same owner as the asking one; the policy wants somebody else",
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
        Ok(self.end(outcome, at, Channel::Api, Some(pending.closes_at)))
    }

    /// The client withdraws it.
    pub fn cancel(&self, now: Timestamp) -> Result<Transition, Refusal> {
        let at = self.clamp(now);
        let Some(pending) = self.pending() else { return Err(Refusal::AlreadyDecided) };
        let outcome = Outcome {
            status: Status::Cancelled,
            decided_at: at,
            decided_by: vec![Decider::Client(self.asked.client.clone())],
            reason: None,
            stage: Some(pending.stage),
        };
        Ok(self.end(outcome, at, Channel::Api, Some(pending.closes_at)))
    }

    /// What has passed by now: the next stage, or the end. `None` if no deadline has passed.
    ///
    /// Each stage closes at the time that was fixed when the request was taken, however late this runs; a stage that
    /// was over before anybody could be asked makes the silence worthless.
    pub fn expire(&self, policy: &Policy, _told: Told, now: Timestamp) -> Option<Transition> {
        let at = self.clamp(now);
        let pending = self.pending().filter(|pending| at >= pending.closes_at)?;
        let next = self.asked.open_stage_from(pending.stage.saturating_add(1), policy, at);
        if let Some(mut next) = next {
            next.unheard |= pending.unheard;
            let mut life = RequestState { updated_at: at, ..self.life.clone() };
            let drafts = vec![stage_draft(&self.asked, &next, at)];
            let effects = self.asked.opening_effects(&next);
            life.state = State::Pending(next);
            return Some(Transition { life, drafts, effects, not_at_or_after: None });
        }
        let outcome = Outcome {
            status: Status::Expired,
            // When it legally ended, however late that is recorded: a token's time must not start later.
            decided_at: self.asked.deadline.map_or(at, |deadline| deadline.min(at)),
            decided_by: vec![Decider::Timeout(self.asked.rule.clone())],
            reason: None,
            stage: Some(pending.stage),
        };
        Some(self.end(outcome, at, Channel::Timeout, None))
    }

    /// An executor uses the token. `Ok(None)` if the same one has used it before.
    ///
    /// The token has been checked against this request's claims; here the outcome, the time and the one use are.
    pub fn redeem(&self, redeemed_by: &str, now: Timestamp) -> Result<Option<Transition>, Refusal> {
        let claims = self.claims().filter(|claims| claims.approved).ok_or(Refusal::NotApproved)?;
        if let Some(earlier) = &self.life.redeemed {
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
        let redeemed = Some(Redemption { redeemed_by: redeemed_by.to_owned(), redeemed_at: at });
        let life = RequestState { redeemed, updated_at: at, ..self.life.clone() };
        let drafts = vec![AuditEvent {
            detail: Some(redeemed_by.to_owned()),
            ..draft(at, AuditEventKind::Redeemed, format!("client:{}", self.asked.client), Channel::Api)
        }];
        Ok(Some(Transition {
            life,
            drafts,
            effects: Vec::new(),
            not_at_or_after: Some(Timestamp::from_millis(claims.exp.saturating_mul(1000))),
        }))
    }

    /// Whether this reviewer is asked in the stage that waits, and still counts.
    pub fn may_answer(&self, reviewer: &ReviewerId, policy: &Policy) -> bool {
        self.pending().is_some_and(|pending| {
            let roles = self.asked.stage_roles(pending.stage);
            let asks = |asked: &&Assignee| {
                asked.reviewer == *reviewer
                    && policy
                        .reviewer(reviewer)
                        .is_some_and(|who| asked.in_place_of.is_some() || who.has_any(roles))
            };
            pending.asked.iter().any(|asked| asks(&asked))
        })
    }

    /// Whether this reviewer owns the asking client (when it asked, or by now) and so may not approve.
    pub fn is_owner_barred(&self, reviewer: &ReviewerId, policy: &Policy) -> bool {
        let allowed = self.asked.terms.as_ref().is_some_and(|terms| terms.owner_may_approve);
        let owner_now = policy.client(&self.asked.client).and_then(|client| client.owner.as_ref());
        !allowed && (self.asked.owner.as_ref() == Some(reviewer) || owner_now == Some(reviewer))
    }

    fn end(
        &self,
        outcome: Outcome,
        at: Timestamp,
        channel: Channel,
        before: Option<Timestamp>,
    ) -> Transition {
        let drafts = vec![end_draft(&outcome, at, channel)];
        let life = RequestState { state: State::Ended(outcome), updated_at: at, ..self.life.clone() };
        Transition { life, drafts, effects: vec![Effect::Decided], not_at_or_after: before }
    }
}

impl ApprovalRequest {
    /// The first stage from `from` on that is not over and has somebody to ask who may approve.
    fn open_stage_from(&self, from: usize, policy: &Policy, at: Timestamp) -> Option<Pending> {
        let terms: &ApprovalTerms = self.terms.as_ref()?;
        let mut unheard = false;
        for (index, stage) in terms.stages.iter().enumerate().skip(from) {
            let closes_at = self.stage_closes_at(index);
            if at >= closes_at {
                unheard = true;
                continue;
            }
            match &stage.assignees {
                Assignees::Queue(_) => {
                    return Some(Pending { stage: index, closes_at, asked: Vec::new(), unheard });
                }
                Assignees::Roles(roles) => {
                    let asked = policy.asked(roles, at);
                    let may_approve = |who: &Assignee| {
                        terms.owner_may_approve || self.owner.as_ref() != Some(&who.reviewer)
                    };
                    if asked.iter().any(may_approve) {
                        return Some(Pending { stage: index, closes_at, asked, unheard });
                    }
                    unheard = true;
                }
            }
        }
        None
    }

    fn opening_effects(&self, pending: &Pending) -> Vec<Effect> {
        match self.stage_queue(pending.stage) {
            Some(queue) => vec![Effect::Publish { stage: pending.stage, queue: queue.to_owned() }],
            None => vec![Effect::NotifyReviewers { stage: pending.stage, asked: pending.asked.clone() }],
        }
    }
}

fn draft(timestamp: Timestamp, event: AuditEventKind, actor: String, channel: Channel) -> AuditEvent {
    AuditEvent { timestamp, event, actor, channel, approved: false, token_hash: None, detail: None }
}

fn stage_draft(asked: &ApprovalRequest, pending: &Pending, at: Timestamp) -> AuditEvent {
    let whom = asked.stage_queue(pending.stage).map_or_else(
        || pending.asked.iter().map(|who| who.reviewer.as_str()).collect::<Vec<_>>().join(", "),
        |queue| format!("queue {queue}"),
    );
    let number = pending.stage.saturating_add(1);
    AuditEvent {
        detail: Some(format!("stage {number} asks {whom} until {}", pending.closes_at)),
        ..draft(at, AuditEventKind::StageOpened, "gate".into(), Channel::Gate)
    }
}

fn end_draft(outcome: &Outcome, at: Timestamp, channel: Channel) -> AuditEvent {
    let event = match outcome.status {
        Status::Approved => AuditEventKind::Approved,
        Status::Rejected => AuditEventKind::Rejected,
        Status::Expired => AuditEventKind::Expired,
        Status::Cancelled => AuditEventKind::Cancelled,
    };
    let actor = outcome.decided_by.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    AuditEvent {
        approved: outcome.status == Status::Approved,
        detail: outcome.reason.clone(),
        ..draft(at, event, actor, channel)
    }
}

fn with_reason(word: &str, reason: Option<&str>) -> String {
    reason.map_or_else(|| word.to_owned(), |reason| format!("{word}: {reason}"))
}
