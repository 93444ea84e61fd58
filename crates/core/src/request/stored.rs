//! How a request lies in a store: JSON of its own shape, apart from the domain types, with a version.
//!
//! A later version of Placet reads what an earlier one wrote: a field that is new is optional here, with its old meaning
//! as the default; what cannot be read that way raises [`FORMAT`], and the store migrates. `tests/fixtures/stored` keeps
//! rows of every version that was ever released; they must be read by all later builds.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    ApprovalRequest, Change, Decider, Flag, Outcome, Pending, Phase, Redemption, Request, RequestState,
    Status, Vote,
};
use crate::Timestamp;
use crate::audit::ChainHead;
use crate::id::{ApprovalId, ClientId, RequestId, ReviewerId};
use crate::payload::Payload;
use crate::policy::{ApprovalTerms, Assignee, Assignees, Decision, Hours, Notify, Observed, Stage, Wording};
use crate::tally::Tally;
use crate::token::TokenKind;
use crate::words::{FieldPath, TitleTemplate};

/// The version of the stored form that this build writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// The version of a state whose payload a reviewer has changed. Only such a state has it.
///
/// A build that does not know of it refuses the state: else it would make a token of the payload that was asked.
const FORMAT_CHANGED: u32 = 2;

/// A stored request that this build cannot read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// A newer version of Placet wrote it.
    #[error("a newer version of placet wrote this record (format {0}; this one reads up to {FORMAT})")]
    Newer(u32),
    /// Not the JSON that any version wrote.
    #[error("a stored record is not what placet writes")]
    Malformed(#[from] serde_json::Error),
    /// The JSON says something that no rule makes.
    #[error("a stored record says something impossible: {0}")]
    Impossible(&'static str),
}

/// The question's text for a store.
pub fn write_question(asked: &ApprovalRequest) -> Result<String, serde_json::Error> {
    serde_json::to_string(&StoredQuestion {
        v: FORMAT,
        approval_id: asked.approval_id.as_str().into(),
        client: asked.client.as_str().into(),
        request_id: asked.request_id.as_str().into(),
        action: asked.action.as_str().into(),
        summary: asked.summary.as_str().into(),
        payload: asked.payload.as_str().into(),
        payload_sha256: asked.payload_sha256.as_str().into(),
        metadata: asked.metadata.clone(),
        created_at: asked.created_at.millis(),
        deadline: asked.deadline.map(Timestamp::millis),
        issuer: asked.issuer.as_str().into(),
        owner: asked.owner.as_ref().map(|owner| owner.as_str().into()),
        token: asked.token,
        epoch: asked.epoch,
        rule: asked.rule.as_deref().map(Into::into),
        policy: asked.policy,
        terms: asked.terms.as_ref().map(StoredTerms::of),
        first_stage: asked.first_stage,
        valid_for: asked.valid_for_seconds,
        tallies: asked.tallies.clone(),
        observed: asked.observed.clone(),
        title: asked.wording.title.as_ref().map(|title| title.source().into()),
        mask: asked.wording.mask.clone(),
        preview: asked.wording.preview,
    })
}

/// The state's text for a store.
pub fn write_state(state: &RequestState) -> Result<String, serde_json::Error> {
    let (pending, outcome) = match &state.phase {
        Phase::Pending(pending) => (Some(StoredPending::of(pending)), None),
        Phase::Ended(outcome) => (None, Some(StoredOutcome::of(outcome))),
    };
    serde_json::to_string(&StoredState {
        v: if state.change.is_some() { FORMAT_CHANGED } else { FORMAT },
        pending,
        outcome,
        change: state.change.as_ref().map(|change| StoredChange {
            payload: change.payload.as_str().to_owned(),
            by: change.by.to_string(),
            fields: change.fields.clone(),
        }),
        votes: state.votes.iter().map(StoredVote::of).collect(),
        redemption: state.redemption.as_ref().map(|redemption| StoredRedemption {
            by: redemption.redeemed_by.clone(),
            at: redemption.redeemed_at.millis(),
        }),
        flag: state.flag.as_ref().map(|flag| StoredFlag {
            by: flag.flagged_by.clone(),
            reason: flag.reason.clone(),
            at: flag.flagged_at.millis(),
        }),
        callbacks: state.callbacks.clone(),
        chain_seq: state.chain.seq,
        chain_hash: state.chain.hash.clone(),
        updated_at: state.updated_at.millis(),
    })
}

/// The request that a store holds in these two texts, under that version.
pub fn read(question: &str, state: &str, version: u64) -> Result<Request, Unreadable> {
    read_again(Arc::new(read_question(question)?), state, version)
}

/// The same, of a question that is at hand: it never changes.
pub fn read_again(asked: Arc<ApprovalRequest>, state: &str, version: u64) -> Result<Request, Unreadable> {
    Ok(Request { asked, state: read_state(state)?, version })
}

fn read_question(text: &str) -> Result<ApprovalRequest, Unreadable> {
    let stored: StoredQuestion<'_> = parse(text, FORMAT)?;
    Ok(ApprovalRequest {
        approval_id: ApprovalId::parse(&stored.approval_id)
            .map_err(|_| Unreadable::Impossible("`approval_id` is not a ULID"))?,
        client: ClientId::parse(&stored.client)
            .map_err(|_| Unreadable::Impossible("`client` is not an id"))?,
        request_id: RequestId::parse(&stored.request_id)
            .map_err(|_| Unreadable::Impossible("`request_id` is not an id"))?,
        action: stored.action.into(),
        summary: stored.summary.into(),
        payload: Payload::from_canonical(&stored.payload),
        payload_sha256: stored.payload_sha256.into(),
        metadata: stored.metadata,
        created_at: Timestamp::from_millis(stored.created_at),
        deadline: stored.deadline.map(Timestamp::from_millis),
        issuer: stored.issuer.into(),
        owner: stored.owner.as_deref().map(reviewer).transpose()?,
        token: stored.token,
        epoch: stored.epoch,
        rule: stored.rule.map(Into::into),
        policy: stored.policy,
        terms: stored.terms.map(StoredTerms::read).transpose()?,
        first_stage: stored.first_stage,
        valid_for_seconds: stored.valid_for,
        tallies: stored.tallies,
        observed: stored.observed,
        shown: super::shown::Shown::default(),
        wording: Wording {
            title: stored
                .title
                .map(|source| TitleTemplate::parse(&source))
                .transpose()
                .map_err(|_| Unreadable::Impossible("a title cannot be read"))?,
            mask: stored.mask,
            preview: stored.preview,
        },
    })
}

fn read_state(text: &str) -> Result<RequestState, Unreadable> {
    let stored: StoredState = parse(text, FORMAT_CHANGED)?;
    if stored.v > FORMAT && stored.change.is_none() {
        return Err(Unreadable::Newer(stored.v));
    }
    let phase = match (stored.pending, stored.outcome) {
        (Some(pending), None) => Phase::Pending(pending.read()?),
        (None, Some(outcome)) => Phase::Ended(outcome.read()?),
        (Some(_), Some(_)) | (None, None) => {
            return Err(Unreadable::Impossible("a request is either pending or ended"));
        }
    };
    let change = stored.change.map(|change| {
        let payload = Payload::from_canonical(&change.payload);
        let payload_sha256 = payload.sha256();
        Ok::<_, Unreadable>(Change {
            payload,
            payload_sha256,
            by: reviewer(&change.by)?,
            fields: change.fields,
        })
    });
    Ok(RequestState {
        phase,
        change: change.transpose()?,
        votes: stored.votes.into_iter().map(StoredVote::read).collect::<Result<_, _>>()?,
        redemption: stored.redemption.map(|redemption| Redemption {
            redeemed_by: redemption.by,
            redeemed_at: Timestamp::from_millis(redemption.at),
        }),
        flag: stored.flag.map(|flag| Flag {
            flagged_by: flag.by,
            reason: flag.reason,
            flagged_at: Timestamp::from_millis(flag.at),
        }),
        callbacks: stored.callbacks,
        chain: ChainHead { seq: stored.chain_seq, hash: stored.chain_hash },
        updated_at: Timestamp::from_millis(stored.updated_at),
    })
}

/// Reads a record, after its version: a newer one is named as that, whatever else is in it.
fn parse<'t, T: Deserialize<'t>>(text: &'t str, newest: u32) -> Result<T, Unreadable> {
    #[derive(Deserialize)]
    struct Versioned {
        v: u32,
    }
    let record = serde_json::from_str(text);
    // One look at the version in any case: a newer form may look like this one and mean something else.
    match (record, serde_json::from_str(text)) {
        (_, Ok(Versioned { v })) if v > newest => Err(Unreadable::Newer(v)),
        (Ok(record), Ok(_)) => Ok(record),
        (Err(error), _) | (_, Err(error)) => Err(error.into()),
    }
}

fn reviewer(text: &str) -> Result<ReviewerId, Unreadable> {
    ReviewerId::parse(text).map_err(|_| Unreadable::Impossible("a reviewer's id is not an id"))
}

type Text<'t> = std::borrow::Cow<'t, str>;

#[derive(Serialize, Deserialize)]
struct StoredQuestion<'t> {
    v: u32,
    #[serde(borrow)]
    approval_id: Text<'t>,
    #[serde(borrow)]
    client: Text<'t>,
    #[serde(borrow)]
    request_id: Text<'t>,
    #[serde(borrow)]
    action: Text<'t>,
    #[serde(borrow)]
    summary: Text<'t>,
    #[serde(borrow)]
    payload: Text<'t>,
    #[serde(borrow)]
    payload_sha256: Text<'t>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
    created_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deadline: Option<i64>,
    #[serde(borrow)]
    issuer: Text<'t>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    owner: Option<Text<'t>>,
    token: TokenKind,
    epoch: u32,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    rule: Option<Text<'t>>,
    policy: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    terms: Option<StoredTerms>,
    first_stage: usize,
    valid_for: i64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tallies: Vec<Tally>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    observed: Vec<Observed>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    title: Option<Text<'t>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    mask: Vec<FieldPath>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    preview: bool,
}

#[derive(Serialize, Deserialize)]
struct StoredTerms {
    approvals: u32,
    stages: Vec<StoredStage>,
    owner_may_approve: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    urgent: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    confirm: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    editable: Vec<FieldPath>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alert_after_ms: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct StoredStage {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ask: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    queue: Option<String>,
    within_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hours: Option<String>,
    #[serde(default, skip_serializing_if = "Notify::is_all")]
    notify: Notify,
}

#[derive(Serialize, Deserialize)]
struct StoredState {
    v: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pending: Option<StoredPending>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outcome: Option<StoredOutcome>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    change: Option<StoredChange>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    votes: Vec<StoredVote>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    redemption: Option<StoredRedemption>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    flag: Option<StoredFlag>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    callbacks: Vec<String>,
    chain_seq: u32,
    chain_hash: String,
    updated_at: i64,
}

#[derive(Serialize, Deserialize)]
struct StoredChange {
    payload: String,
    by: String,
    fields: Vec<FieldPath>,
}

#[derive(Serialize, Deserialize)]
struct StoredPending {
    stage: usize,
    closes_at: i64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    asked: Vec<StoredAssignee>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    deserted: bool,
}

#[derive(Serialize, Deserialize)]
struct StoredAssignee {
    reviewer: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    in_place_of: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct StoredOutcome {
    status: String,
    decided_at: i64,
    decided_by: Vec<StoredDecider>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stage: Option<usize>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredDecider {
    Reviewer(String),
    Policy(Option<String>),
    Timeout(Option<String>),
    Client(String),
    Operator,
}

#[derive(Serialize, Deserialize)]
struct StoredVote {
    reviewer: String,
    approve: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    at: i64,
    stage: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload_sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    opened_at: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct StoredFlag {
    by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    at: i64,
}

#[derive(Serialize, Deserialize)]
struct StoredRedemption {
    by: String,
    at: i64,
}

impl StoredTerms {
    fn of(terms: &ApprovalTerms) -> Self {
        let stages = terms
            .stages
            .iter()
            .map(|stage| {
                let (ask, queue) = match &stage.assignees {
                    Assignees::Roles(roles) => (roles.clone(), None),
                    Assignees::Queue(queue) => (Vec::new(), Some(queue.clone())),
                };
                let hours = stage.hours.as_ref().map(|hours| hours.as_str().to_owned());
                StoredStage { ask, queue, within_ms: stage.within_ms, hours, notify: stage.notify }
            })
            .collect();
        Self {
            approvals: terms.approvals,
            stages,
            owner_may_approve: terms.owner_may_approve,
            urgent: terms.urgent,
            confirm: terms.confirm,
            editable: terms.editable.clone(),
            alert_after_ms: terms.alert_after_ms,
        }
    }

    fn read(self) -> Result<ApprovalTerms, Unreadable> {
        let stages = self
            .stages
            .into_iter()
            .map(|stage| {
                let assignees = stage.queue.map_or(Assignees::Roles(stage.ask), Assignees::Queue);
                let hours = stage.hours.as_deref().map(Hours::parse).transpose();
                let hours = hours.map_err(|_| Unreadable::Impossible("a stage's hours cannot be read"))?;
                Ok(Stage { assignees, within_ms: stage.within_ms, hours, notify: stage.notify })
            })
            .collect::<Result<_, Unreadable>>()?;
        Ok(ApprovalTerms {
            approvals: self.approvals,
            stages,
            owner_may_approve: self.owner_may_approve,
            urgent: self.urgent,
            confirm: self.confirm,
            editable: self.editable,
            alert_after_ms: self.alert_after_ms,
        })
    }
}

impl StoredPending {
    fn of(pending: &Pending) -> Self {
        let asked = pending.asked.iter().map(|asked| StoredAssignee {
            reviewer: asked.reviewer.to_string(),
            in_place_of: asked.in_place_of.as_ref().map(ToString::to_string),
        });
        Self {
            stage: pending.stage,
            closes_at: pending.closes_at.millis(),
            asked: asked.collect(),
            deserted: pending.deserted,
        }
    }

    fn read(self) -> Result<Pending, Unreadable> {
        let asked = self.asked.into_iter().map(|asked| {
            Ok(Assignee {
                reviewer: reviewer(&asked.reviewer)?,
                in_place_of: asked.in_place_of.as_deref().map(reviewer).transpose()?,
            })
        });
        Ok(Pending {
            stage: self.stage,
            closes_at: Timestamp::from_millis(self.closes_at),
            asked: asked.collect::<Result<_, Unreadable>>()?,
            deserted: self.deserted,
        })
    }
}

impl StoredOutcome {
    fn of(outcome: &Outcome) -> Self {
        let decided_by = outcome.decided_by.iter().map(|decider| match decider {
            Decider::Reviewer(id) => StoredDecider::Reviewer(id.to_string()),
            Decider::Policy(rule) => StoredDecider::Policy(rule.clone()),
            Decider::Timeout(rule) => StoredDecider::Timeout(rule.clone()),
            Decider::Client(id) => StoredDecider::Client(id.to_string()),
            Decider::Operator => StoredDecider::Operator,
        });
        Self {
            status: outcome.status.as_str().to_owned(),
            decided_at: outcome.decided_at.millis(),
            decided_by: decided_by.collect(),
            reason: outcome.reason.clone(),
            stage: outcome.stage,
        }
    }

    fn read(self) -> Result<Outcome, Unreadable> {
        let status = Status::parse(&self.status).filter(|status| status.is_end());
        let decided_by = self.decided_by.into_iter().map(|decider| {
            Ok(match decider {
                StoredDecider::Reviewer(id) => Decider::Reviewer(reviewer(&id)?),
                StoredDecider::Policy(rule) => Decider::Policy(rule),
                StoredDecider::Timeout(rule) => Decider::Timeout(rule),
                StoredDecider::Client(id) => Decider::Client(
                    ClientId::parse(&id).map_err(|_| Unreadable::Impossible("a client's id is not an id"))?,
                ),
                StoredDecider::Operator => Decider::Operator,
            })
        });
        Ok(Outcome {
            status: status.ok_or(Unreadable::Impossible("an outcome's status is not an end"))?,
            decided_at: Timestamp::from_millis(self.decided_at),
            decided_by: decided_by.collect::<Result<_, Unreadable>>()?,
            reason: self.reason,
            stage: self.stage,
        })
    }
}

impl StoredVote {
    fn of(vote: &Vote) -> Self {
        Self {
            reviewer: vote.reviewer.to_string(),
            approve: vote.decision == Decision::Approve,
            reason: vote.reason.clone(),
            at: vote.voted_at.millis(),
            stage: vote.stage,
            payload_sha256: vote.payload_sha256.clone(),
            opened_at: vote.opened_at.map(Timestamp::millis),
        }
    }

    fn read(self) -> Result<Vote, Unreadable> {
        Ok(Vote {
            reviewer: reviewer(&self.reviewer)?,
            decision: if self.approve { Decision::Approve } else { Decision::Reject },
            reason: self.reason,
            voted_at: Timestamp::from_millis(self.at),
            stage: self.stage,
            payload_sha256: self.payload_sha256,
            opened_at: self.opened_at.map(Timestamp::from_millis),
        })
    }
}
