//! A request: the question, which never changes, and its state, which ends once.
//!
//! The rules in `rules` are the only code that makes one [`RequestState`] from another; `stored` reads back what a
//! store wrote. Everybody else can look, but cannot build a state.

mod change;
#[cfg(feature = "conditions")]
mod rules;
mod shown;
mod status;
pub mod stored;
#[cfg(test)]
mod stories;
mod transition;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

pub use change::{Change, Edit};
#[cfg(feature = "conditions")]
pub use rules::{Canceller, Foreseen, Given, NewRequest, Opened, Standing, VoteInput, VoteOutcome};
pub use status::Status;
pub use transition::{Chained, Effect, GivenUp, RequestAlert, Transition};

use crate::Timestamp;
use crate::audit::{ChainHead, RequestFacts};
use crate::id::{ApprovalId, ClientId, RequestId, RequestKey, ReviewerId};
use crate::keys::EpochNumber;
use crate::payload::Payload;
use crate::policy::{ApprovalTerms, Assignee, Assignees, Decision, Observed, Wording};
use crate::tally::Tally;
use crate::token::{Claims, TokenKind};

/// How many callers one request calls back (DESIGN, section 4).
pub const MAX_CALLBACKS: usize = 20;

/// How the reason begins where a rule's condition failed: such a request is counted as an error.
pub const CONDITION_FAILED: &str = "the rule's condition could not be evaluated";

/// The question, and the terms under which it was taken. Written once.
///
/// Made by [`Request::open`], or read back from a store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApprovalRequest {
    /// The gate's name for it.
    pub approval_id: ApprovalId,
    /// Who asked.
    pub client: ClientId,
    /// The client's name for it.
    pub request_id: RequestId,
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
    /// Version of the policy whose rule it hit.
    pub policy: u32,
    /// How the rule asks; none where policy decided alone.
    pub terms: Option<ApprovalTerms>,
    /// The stage that it began with: the first that had somebody to ask.
    pub first_stage: usize,
    /// How long an approval may be acted on, in seconds.
    pub valid_for_seconds: i64,
    /// Where it counts in running totals, from when it was asked for as long as it waits or is approved.
    pub tallies: Vec<Tally>,
    /// What rules that only observe would have done with it.
    pub observed: Vec<Observed>,
    /// How it is put to people: the wording of its rule.
    pub wording: Wording,
    /// What they see of it.
    shown: shown::Shown,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestState {
    phase: Phase,
    change: Option<Change>,
    votes: Vec<Vote>,
    redemption: Option<Redemption>,
    flag: Option<Flag>,
    callbacks: Vec<String>,
    chain: ChainHead,
    updated_at: Timestamp,
}

/// Whether a request waits, or how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It waits.
    Pending(Pending),
    /// It has ended.
    Ended(Outcome),
}

/// A stage that waits for an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pending {
    /// Index of the stage, from 0.
    pub stage: usize,
    /// The first moment at which an answer is too late.
    pub closes_at: Timestamp,
    /// Whom it has asked; empty for a queue. Who may decide is not read from here: see [`Request::standing`].
    pub asked: Vec<Assignee>,
    /// Nobody who may approve is left, and operators know.
    pub deserted: bool,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// Which end. INVARIANT: never [`Status::Pending`].
    status: Status,
    /// When; for a deadline, the deadline itself.
    pub decided_at: Timestamp,
    /// By whom: one, or a quorum.
    pub decided_by: Vec<Decider>,
    /// Why, in the decider's words.
    pub reason: Option<String>,
    /// Index of the stage in which it ended, from 0; none where policy decided alone.
    pub stage: Option<usize>,
}

impl Outcome {
    /// Which end: never `pending`.
    pub const fn status(&self) -> Status {
        self.status
    }
}

/// Who ended a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Decider {
    /// A person.
    Reviewer(ReviewerId),
    /// A rule alone; none where no rule matched.
    Policy(Option<String>),
    /// A deadline of that rule.
    Timeout(Option<String>),
    /// A client: one with the role `decider`, or the asker who withdrew.
    Client(ClientId),
    /// The operator, who withdrew it.
    Operator,
}

impl fmt::Display for Decider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NO_RULE: &str = "default";
        match self {
            Self::Reviewer(id) => write!(f, "{id}"),
            Self::Policy(rule) => write!(f, "policy:{}", rule.as_deref().unwrap_or(NO_RULE)),
            Self::Timeout(rule) => write!(f, "timeout:{}", rule.as_deref().unwrap_or(NO_RULE)),
            Self::Client(id) => write!(f, "client:{id}"),
            Self::Operator => f.write_str("operator:cli"),
        }
    }
}

/// One reviewer's word.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Vote {
    /// Who.
    pub reviewer: ReviewerId,
    /// Yes or no.
    pub decision: Decision,
    /// Why.
    pub reason: Option<String>,
    /// When.
    pub voted_at: Timestamp,
    /// Index of the stage that asked them: its roles are what the vote's authority comes from.
    pub stage: usize,
    /// Digest of the payload that they spoke of, where a reviewer had changed it; none for the one that was asked.
    pub payload_sha256: Option<String>,
    /// When the page that they pressed on was opened; none where they did not decide on a page.
    pub opened_at: Option<Timestamp>,
}

/// Somebody's word that an approval was a mistake. It changes nothing about the outcome; it is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Flag {
    /// Who: `client:<id>`, a reviewer's id, or `report`.
    pub flagged_by: String,
    /// Why, in their words.
    pub reason: Option<String>,
    /// When.
    pub flagged_at: Timestamp,
}

/// The one use of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Redemption {
    /// The executor's name for itself or its run.
    pub redeemed_by: String,
    /// When.
    pub redeemed_at: Timestamp,
}

/// A committed request, with the version that a change must still find.
///
/// A token is a function of this type alone, and this type is made only from what a store holds: by reading it, or by
/// [`Request::committed`] once the write has won. What is only foreseen is a [`Foreseen`], which has no claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    asked: Arc<ApprovalRequest>,
    state: RequestState,
    version: u64,
}

impl ApprovalRequest {
    /// Where it is stored.
    pub fn key(&self) -> RequestKey {
        RequestKey::of(&self.client, &self.request_id)
    }

    /// Whether this is the same question: action and payload. Words, labels, callbacks and limits do not matter.
    pub fn is_same_question(&self, action: &str, payload_sha256: &str) -> bool {
        self.action == action && self.payload_sha256 == payload_sha256
    }

    /// When that stage closes: fixed when the request is taken, whenever the stage begins.
    pub fn stage_closes_at(&self, stage: usize) -> Timestamp {
        let within: i64 = self
            .terms
            .iter()
            .flat_map(|terms| &terms.stages)
            .take(stage.saturating_add(1))
            .map(|s| s.within_ms)
            .fold(0, i64::saturating_add);
        let natural = self.created_at.plus_millis(within);
        self.deadline.map_or(natural, |deadline| natural.min(deadline))
    }

    /// What audit entries say it is about.
    pub fn facts(&self) -> RequestFacts {
        RequestFacts {
            request_id: self.request_id.to_string(),
            client: self.client.to_string(),
            action: self.action.clone(),
            payload_sha256: self.payload_sha256.clone(),
            rule: self.rule.clone(),
            policy: self.policy,
        }
    }

    /// The roles that a stage asks; empty for a queue.
    pub fn stage_roles(&self, stage: usize) -> &[String] {
        match self.terms.as_ref().and_then(|terms| terms.stages.get(stage)).map(|stage| &stage.assignees) {
            Some(Assignees::Roles(roles)) => roles,
            Some(Assignees::Queue(_)) | None => &[],
        }
    }

    /// The queue that a stage publishes to, if it does.
    pub fn stage_queue(&self, stage: usize) -> Option<&str> {
        match &self.terms.as_ref()?.stages.get(stage)?.assignees {
            Assignees::Queue(queue) => Some(queue),
            Assignees::Roles(_) => None,
        }
    }

    /// How many distinct reviewers must approve.
    pub fn approvals_needed(&self) -> u32 {
        self.terms.as_ref().map_or(1, |terms| terms.approvals)
    }

    fn claims(&self, state: &RequestState, outcome: &Outcome) -> Claims {
        let iat = outcome.decided_at.seconds();
        Claims {
            iss: self.issuer.clone(),
            sub: self.request_id.to_string(),
            aud: self.client.to_string(),
            jti: self.approval_id.to_string(),
            iat,
            nbf: None,
            exp: iat.saturating_add(self.valid_for_seconds),
            status: outcome.status.as_str().to_owned(),
            approved: outcome.status == Status::Approved,
            action: self.action.clone(),
            payload_sha256: state.payload_sha256(self).to_owned(),
            decided_by: outcome.decided_by.iter().map(ToString::to_string).collect(),
            rule: self.rule.clone(),
            policy: self.policy,
        }
    }
}

impl RequestState {
    fn new(phase: Phase, callbacks: Vec<String>, at: Timestamp) -> Self {
        Self {
            phase,
            change: None,
            votes: Vec::new(),
            redemption: None,
            flag: None,
            callbacks,
            chain: ChainHead::default(),
            updated_at: at,
        }
    }

    /// Whether it waits, or how it ended.
    pub const fn phase(&self) -> &Phase {
        &self.phase
    }

    /// What a reviewer has changed, if one has.
    pub const fn change(&self) -> Option<&Change> {
        self.change.as_ref()
    }

    /// What is asked for by now, and approved in the end: the payload as the last reviewer changed it, or as it was asked.
    pub fn payload<'a>(&'a self, asked: &'a ApprovalRequest) -> &'a Payload {
        self.change.as_ref().map_or(&asked.payload, |change| &change.payload)
    }

    /// Hex SHA-256 of [`RequestState::payload`].
    pub fn payload_sha256<'a>(&'a self, asked: &'a ApprovalRequest) -> &'a str {
        self.change.as_ref().map_or(&asked.payload_sha256, |change| &change.payload_sha256)
    }

    /// Who has spoken, in order; one entry a reviewer.
    pub fn votes(&self) -> &[Vote] {
        &self.votes
    }

    /// Who redeemed its token.
    pub const fn redemption(&self) -> Option<&Redemption> {
        self.redemption.as_ref()
    }

    /// Who said that its approval was a mistake, if somebody did.
    pub const fn flag(&self) -> Option<&Flag> {
        self.flag.as_ref()
    }

    /// Where the outcome is posted to: one URL for each caller that asked this question, the first one first.
    pub fn callbacks(&self) -> &[String] {
        &self.callbacks
    }

    /// The end of its audit chain.
    pub const fn chain_head(&self) -> &ChainHead {
        &self.chain
    }

    /// When it last changed. Times in one state never run backwards, though the clock may.
    pub const fn updated_at(&self) -> Timestamp {
        self.updated_at
    }

    /// The stage that waits, if it does.
    pub const fn pending(&self) -> Option<&Pending> {
        match &self.phase {
            Phase::Pending(pending) => Some(pending),
            Phase::Ended(_) => None,
        }
    }

    /// How it ended, if it has.
    pub const fn outcome(&self) -> Option<&Outcome> {
        match &self.phase {
            Phase::Pending(_) => None,
            Phase::Ended(outcome) => Some(outcome),
        }
    }

    /// `pending`, or how it ended.
    pub const fn status(&self) -> Status {
        match &self.phase {
            Phase::Pending(_) => Status::Pending,
            Phase::Ended(outcome) => outcome.status,
        }
    }

    /// Index of the stage that waits, or in which it ended; none where policy decided alone.
    pub const fn stage(&self) -> Option<usize> {
        match &self.phase {
            Phase::Pending(pending) => Some(pending.stage),
            Phase::Ended(outcome) => outcome.stage,
        }
    }
}

impl Request {
    /// A request whose first state a store has just written.
    pub const fn inserted(asked: Arc<ApprovalRequest>, state: RequestState) -> Self {
        Self { asked, state, version: 1 }
    }

    /// This request after a store has written `state`, which a rule made from it.
    #[must_use]
    pub fn committed(&self, state: RequestState) -> Self {
        Self { asked: Arc::clone(&self.asked), state, version: self.version.saturating_add(1) }
    }

    /// The question.
    pub const fn asked(&self) -> &Arc<ApprovalRequest> {
        &self.asked
    }

    /// What became of it.
    pub const fn state(&self) -> &RequestState {
        &self.state
    }

    /// Counts its changes, from 1.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Where it is stored.
    pub fn key(&self) -> RequestKey {
        self.asked.key()
    }

    /// The stage that waits, if it does.
    pub const fn pending(&self) -> Option<&Pending> {
        self.state.pending()
    }

    /// How it ended, if it has.
    pub const fn outcome(&self) -> Option<&Outcome> {
        self.state.outcome()
    }

    /// `pending`, or how it ended.
    pub const fn status(&self) -> Status {
        self.state.status()
    }

    /// What its token says; none while it waits.
    pub fn claims(&self) -> Option<Claims> {
        self.outcome().map(|outcome| self.asked.claims(&self.state, outcome))
    }

    /// This request as it was when it was asked: what the event `approval.requested` tells, however late it is sent.
    pub fn as_asked(&self) -> RequestState {
        let stage = self.asked.first_stage;
        let pending = Pending {
            stage,
            closes_at: self.asked.stage_closes_at(stage),
            asked: Vec::new(),
            deserted: false,
        };
        RequestState::new(Phase::Pending(pending), Vec::new(), self.asked.created_at)
    }
}
