//! A reviewer's word: whether it counts, what it approves, and when it is enough.

use super::authority::{Standing, approvers, counts, enough_approvers};
use super::editing::edited;
use super::events::{change_event, end_event, event, with_reason};
use crate::Timestamp;
use crate::audit::{AuditEvent, AuditEventKind, Channel};
use crate::id::ReviewerId;
use crate::payload::Payload;
use crate::policy::{Decision, Policy, Question, tallies};
use crate::refusal::Refusal;
use crate::request::{
    ApprovalRequest, Change, Decider, Edit, Effect, Outcome, Phase, Request, RequestState, Status,
    Transition, Vote,
};
use crate::tally::Tally;

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

impl Request {
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
        let enough =
            |votes: &[Vote], change: Option<&Change>| enough_approvers(&self.asked, votes, change, policy);
        if repeats && enough(&self.state.votes, change.as_ref()).is_none() {
            return Ok(VoteOutcome::Unchanged);
        }
        let changed = (change != self.state.change).then(|| {
            change_event(&self.asked, &self.state, change.as_ref(), &input.reviewer, input.channel, at)
        });
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
            Decision::Approve => {
                enough(&state.votes, state.change.as_ref()).map(|approvers| (Status::Approved, approvers))
            }
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
            edits => edited(&self.asked, self.state.payload(&self.asked), edits, &input.reviewer)?,
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
        let edited = edited(&self.asked, self.state.payload(&self.asked), edits, by)?;
        if let Some(change) = &edited {
            self.asked.still_hits_its_rule(&change.payload, policy)?;
        }
        Ok(edited)
    }
}

impl ApprovalRequest {
    /// Refuses a changed payload that another rule would decide: who may approve a small payment must not make it large.
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
        let meters = policy.deciding_meters();
        let counted = |now: &Tally| {
            self.tallies.iter().any(|then| then.account == now.account && now.amount <= then.amount)
        };
        let is_counted = tallies(&meters, &self.client, &question).iter().all(counted);
        if is_its_own && is_counted {
            Ok(())
        } else {
            Err(Refusal::Forbidden(
                "with this change another rule of the policy would decide, so it must be asked anew",
            ))
        }
    }
}
