//! A question is taken: the rule decides at once, or somebody is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::events::{end_event, event, observed_event, stage_event};
use crate::Timestamp;
use crate::audit::{AuditEvent, AuditEventKind, Channel};
use crate::id::{ApprovalId, RequestId};
use crate::keys::EpochNumber;
use crate::payload::Payload;
use crate::policy::{
    Client, Decision, Earlier, Meter, Observed, Policy, Question, RuleAction, RuleMatch, VALID_FOR_SECONDS,
    tallies,
};
use crate::request::{
    ApprovalRequest, CONDITION_FAILED, Decider, Effect, Outcome, Phase, Request, RequestState, Status,
    Transition,
};

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

impl Request {
    /// Takes a question: the rule decides at once, or somebody is asked.
    pub fn open(new: NewRequest, client: &Client, policy: &Policy, now: Timestamp) -> Opened {
        Self::open_after(new, client, policy, &Earlier::new(), 0, now)
    }

    /// [`Request::open`], where earlier requests of this client add up to that, and so many were asked before.
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
        let steps = policy.trace_after(&question, earlier);
        let (rule_match, observed) = (RuleMatch::of(&steps), Observed::of(&steps));
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
            observed,
            wording,
            shown: crate::request::shown::Shown::default(),
        };
        let opened = asked.open_stage_from(0, policy, now);
        if let Some(pending) = &opened {
            asked.first_stage = pending.stage;
        }
        let mut events = vec![AuditEvent {
            detail: error.as_ref().map(|why| format!("{CONDITION_FAILED}: {why}")),
            ..event(now, AuditEventKind::Asked, format!("client:{}", client.id), Channel::Api)
        }];
        events.extend(asked.observed.iter().map(|observed| observed_event(observed, now)));
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
}
