//! What an act puts into the trail.

use crate::Timestamp;
use crate::audit::{AuditEvent, AuditEventKind, Channel};
use crate::id::ReviewerId;
use crate::policy::{Assignee, Observed};
use crate::request::{ApprovalRequest, Change, Outcome, Pending, RequestState, Status};

pub(super) fn event(
    timestamp: Timestamp,
    kind: AuditEventKind,
    actor: String,
    channel: Channel,
) -> AuditEvent {
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
pub(super) fn change_event(
    asked: &ApprovalRequest,
    before: &RequestState,
    change: Option<&Change>,
    by: &ReviewerId,
    channel: Channel,
    at: Timestamp,
) -> AuditEvent {
    let fields =
        change.map(|change| &change.fields).or_else(|| before.change.as_ref().map(|change| &change.fields));
    let fields: Vec<String> = fields.into_iter().flatten().map(ToString::to_string).collect();
    let (from, to) =
        (before.payload_sha256(asked), change.map_or(&asked.payload_sha256, |change| &change.payload_sha256));
    AuditEvent {
        detail: Some(format!("{}: payload_sha256 {from} became {to}", fields.join(", "))),
        ..event(at, AuditEventKind::PayloadChanged, by.to_string(), channel)
    }
}

pub(super) fn observed_event(observed: &Observed, at: Timestamp) -> AuditEvent {
    let actor = format!("policy:{}", observed.rule);
    AuditEvent {
        detail: Some(observed.words()),
        ..event(at, AuditEventKind::RuleObserved, actor, Channel::Policy)
    }
}

pub(super) fn stage_event(asked: &ApprovalRequest, pending: &Pending, at: Timestamp) -> AuditEvent {
    let whom = asked
        .stage_queue(pending.stage)
        .map_or_else(|| names(pending.asked.iter()), |queue| format!("queue {queue}"));
    let number = pending.stage.saturating_add(1);
    AuditEvent {
        detail: Some(format!("stage {number} asks {whom} until {}", pending.closes_at)),
        ..event(at, AuditEventKind::StageOpened, "gate".into(), Channel::Gate)
    }
}

pub(super) fn end_event(outcome: &Outcome, at: Timestamp, channel: Channel) -> AuditEvent {
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

pub(super) fn names<'a>(people: impl Iterator<Item = &'a Assignee>) -> String {
    people.map(|assignee| assignee.reviewer.as_str()).collect::<Vec<_>>().join(", ")
}

pub(super) fn with_reason(word: &str, reason: Option<&str>) -> String {
    reason.map_or_else(|| word.to_owned(), |reason| format!("{word}: {reason}"))
}
