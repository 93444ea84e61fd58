//! A request: what was asked, which never changes, and its life, which ends once.
//!
//! The rules that change a life are in `rules`; nothing else makes a [`RequestState`] from another.

mod rules;
#[cfg(test)]
mod stories;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use rules::{Effect, NewRequest, Told, Transition, VoteInput, VoteOutcome};

use crate::Timestamp;
use crate::audit::{About, ChainHead};
use crate::id::{ApprovalId, ClientId, RequestId, RequestKey, ReviewerId};
use crate::keys::EpochNumber;
use crate::payload::Payload;
use crate::policy::{ApprovalTerms, Assignee, Assignees, Decision};
use crate::token::{Claims, TokenKind};

/// What was asked, and under which terms. Written once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalRequest {
    /// The gate's name for it.
    pub approval_id: ApprovalId,
    /// Who asked.
    pub client: ClientId,
    /// The client's name for it.
    pub request_id: RequestId,
    /// Hex SHA-256 of the question as asked, without what only says how to wait: tells a retry from another question.
    pub question_sha256: String,
    /// Dotted name of what will be done.
    pub action: String,
    /// The agent's own words.
    pub summary: String,
    /// What will be done.
    pub payload: Payload,
    /// Hex SHA-256 of the payload's canonical text.
    pub payload_sha256: String,
    /// The caller's labels.
    pub metadata: BTreeMap<String, String>,
    /// Where the outcome is posted to.
    pub callback_url: Option<String>,
    /// When it was taken.
    pub created_at: Timestamp,
    /// When it ends at the latest; none where policy decided alone.
    pub deadline: Option<Timestamp>,
    /// `iss` of its token.
    pub issuer: String,
    /// Whose program the client was.
    pub owner: Option<ReviewerId>,
    /// How its token is signed.
    pub token: TokenKind,
    /// The epoch whose secret the client signed with: its token is made under the same one.
    pub epoch: EpochNumber,
    /// The rule that it hit; none where no rule matched.
    pub rule: Option<String>,
    /// How the rule asks; none where policy decided alone.
    pub terms: Option<ApprovalTerms>,
    /// The stage that it began with: the first that had somebody to ask.
    pub first_stage: usize,
    /// How long an approval may be acted on, in seconds.
    pub valid_for_seconds: i64,
    /// Silence can never approve it: its rule could not be evaluated, or its caller shortened the time.
    pub silence_refuses: bool,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestState {
    /// Whether it waits, or how it ended.
    pub state: State,
    /// Who has spoken, in order; one entry a reviewer.
    pub votes: Vec<Vote>,
    /// Who redeemed its token.
    pub redeemed: Option<Redemption>,
    /// The end of its audit chain.
    pub chain: ChainHead,
    /// When it last changed. Times in one life never run backwards, though the clock may.
    pub updated_at: Timestamp,
}

/// Whether a request waits, or how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It waits.
    Pending(Pending),
    /// It has ended.
    Ended(Outcome),
}

/// A stage that waits for an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Index of the stage, from 0.
    pub stage: usize,
    /// The first moment at which an answer is too late.
    pub closes_at: Timestamp,
    /// Whom it asks; empty for a queue.
    pub asked: Vec<Assignee>,
    /// A stage was passed over without anyone having been asked in it, so silence is no consent.
    pub unheard: bool,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Which end.
    pub status: Status,
    /// When; for a deadline, the deadline itself.
    pub decided_at: Timestamp,
    /// By whom: one, or a quorum.
    pub decided_by: Vec<Decider>,
    /// Why, in the decider's words.
    pub reason: Option<String>,
    /// Index of the stage in which it ended, from 0; none where policy decided alone.
    pub stage: Option<usize>,
}

/// How a request can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Yes.
    Approved,
    /// No.
    Rejected,
    /// Nobody answered in time.
    Expired,
    /// The client withdrew it.
    Cancelled,
}

impl Status {
    /// The word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Who ended a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decider {
    /// A person.
    Reviewer(ReviewerId),
    /// A rule alone; none where no rule matched.
    Policy(Option<String>),
    /// A deadline of that rule.
    Timeout(Option<String>),
    /// A client: one with the role `decider`, or the asker who withdrew.
    Client(ClientId),
}

impl fmt::Display for Decider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NO_RULE: &str = "default";
        match self {
            Self::Reviewer(id) => write!(f, "{id}"),
            Self::Policy(rule) => write!(f, "policy:{}", rule.as_deref().unwrap_or(NO_RULE)),
            Self::Timeout(rule) => write!(f, "timeout:{}", rule.as_deref().unwrap_or(NO_RULE)),
            Self::Client(id) => write!(f, "client:{id}"),
        }
    }
}

/// One reviewer's word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// Who.
    pub reviewer: ReviewerId,
    /// Yes or no.
    pub decision: Decision,
    /// Why.
    pub reason: Option<String>,
    /// When.
    pub voted_at: Timestamp,
}

/// The one use of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redemption {
    /// The executor's name for itself or its run.
    pub redeemed_by: String,
    /// When.
    pub redeemed_at: Timestamp,
}

/// A request as it stands, with the version that a change must still find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What was asked.
    pub asked: Arc<ApprovalRequest>,
    /// What became of it.
    pub life: RequestState,
    /// Counts its changes, from 1.
    pub version: u64,
}

impl ApprovalRequest {
    /// Where it is stored.
    pub fn key(&self) -> RequestKey {
        RequestKey::of(&self.client, &self.request_id)
    }

    /// When that stage closes: fixed when the request is taken, whenever the stage begins.
    pub fn stage_closes_at(&self, stage: usize) -> Timestamp {
        let within: i64 = self
            .terms
            .iter()
            .flat_map(|terms| &terms.stages)
            .take(stage.saturating_add(1))
            .map(|s| s.within_ms)
            .sum();
        let natural = self.created_at.plus_millis(within);
        self.deadline.map_or(natural, |deadline| natural.min(deadline))
    }

    /// What audit entries say it is about.
    pub fn about(&self) -> About {
        About {
            request_id: self.request_id.to_string(),
            client: self.client.to_string(),
            action: self.action.clone(),
            payload_sha256: self.payload_sha256.clone(),
            rule: self.rule.clone(),
        }
    }

    /// The roles that a stage asks; empty for a queue.
    pub fn stage_roles(&self, stage: usize) -> &[String] {
        match self.terms.as_ref().and_then(|terms| terms.stages.get(stage)).map(|stage| &stage.ask) {
            Some(Assignees::Roles(roles)) => roles,
            Some(Assignees::Queue(_)) | None => &[],
        }
    }

    /// The queue that a stage writes to, if it does.
    pub fn stage_queue(&self, stage: usize) -> Option<&str> {
        match &self.terms.as_ref()?.stages.get(stage)?.ask {
            Assignees::Queue(queue) => Some(queue),
            Assignees::Roles(_) => None,
        }
    }

    /// How many distinct reviewers must approve.
    pub fn approvals_needed(&self) -> u32 {
        self.terms.as_ref().map_or(1, |terms| terms.approvals)
    }
}

impl RequestState {
    fn new(state: State, at: Timestamp) -> Self {
        Self { state, votes: Vec::new(), redeemed: None, chain: ChainHead::default(), updated_at: at }
    }
}

impl Request {
    /// The stage that waits, if it does.
    pub fn pending(&self) -> Option<&Pending> {
        match &self.life.state {
            State::Pending(pending) => Some(pending),
            State::Ended(_) => None,
        }
    }

    /// How it ended, if it has.
    pub fn outcome(&self) -> Option<&Outcome> {
        match &self.life.state {
            State::Pending(_) => None,
            State::Ended(outcome) => Some(outcome),
        }
    }

    /// Index of the stage that waits, or in which it ended; none where policy decided alone.
    pub fn stage(&self) -> Option<usize> {
        match &self.life.state {
            State::Pending(pending) => Some(pending.stage),
            State::Ended(outcome) => outcome.stage,
        }
    }

    /// Whether a deadline has passed that has not been recorded.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.pending().is_some_and(|pending| self.clamp(now) >= pending.closes_at)
    }

    /// `pending`, or how it ended.
    pub fn status(&self) -> &'static str {
        self.outcome().map_or("pending", |outcome| outcome.status.as_str())
    }

    /// This request as it was when it was asked: what the event `approval.requested` tells, however late it is sent.
    #[must_use]
    pub fn as_asked(&self) -> Self {
        let stage = self.asked.first_stage;
        let pending = Pending {
            stage,
            closes_at: self.asked.stage_closes_at(stage),
            asked: Vec::new(),
            unheard: false,
        };
        Self {
            asked: Arc::clone(&self.asked),
            life: RequestState::new(State::Pending(pending), self.asked.created_at),
            version: 1,
        }
    }

    /// What its token says; none while it waits.
    pub fn claims(&self) -> Option<Claims> {
        let outcome = self.outcome()?;
        let iat = outcome.decided_at.seconds();
        Some(Claims {
            iss: self.asked.issuer.clone(),
            sub: self.asked.request_id.to_string(),
            aud: self.asked.client.to_string(),
            jti: self.asked.approval_id.to_string(),
            iat,
            exp: iat.saturating_add(self.asked.valid_for_seconds),
            nbf: None,
            status: outcome.status.as_str().to_owned(),
            approved: outcome.status == Status::Approved,
            action: self.asked.action.clone(),
            payload_sha256: self.asked.payload_sha256.clone(),
            decided_by: outcome.decided_by.iter().map(ToString::to_string).collect(),
            rule: self.asked.rule.clone(),
            policy: 0,
        })
    }

    /// Now, but never before the last change: a clock that was set back does not reopen what has passed.
    fn clamp(&self, now: Timestamp) -> Timestamp {
        now.max(self.life.updated_at)
    }
}
