//! Who may decide: the one predicate, for the page, the inbox, a vote and the count of votes.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::Timestamp;
use crate::id::ReviewerId;
use crate::policy::{Assignee, Assignees, Client, ClientRole, Decision, Policy};
use crate::request::{ApprovalRequest, Change, Decider, Request, RequestState, Vote};

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

impl From<Request> for Foreseen {
    fn from(request: Request) -> Self {
        Self { asked: request.asked, state: request.state }
    }
}

impl Request {
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
    // Since the policy changed, enough of them count: one more word ends it, whoever's.
    let is_enough = enough_approvers(asked, &state.votes, state.change.as_ref(), policy).is_some();
    let is_open = state.pending().is_some();
    !(is_open && is_enough)
        && state.votes.iter().any(|vote| {
            vote.reviewer == *reviewer
                && vote.decision == Decision::Approve
                && vote.payload_sha256.as_deref() == digest
                && counts(asked, vote, policy)
        })
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
pub(super) fn is_owner_barred(asked: &ApprovalRequest, reviewer: &ReviewerId, policy: &Policy) -> bool {
    let allowed = asked.terms.as_ref().is_some_and(|terms| terms.owner_may_approve);
    let owner_now = policy.client(&asked.client).and_then(|client| client.owner.as_ref());
    !allowed && (asked.owner.as_ref() == Some(reviewer) || owner_now == Some(reviewer))
}

/// Whether a vote still counts: by the policy in force, for the stage and the time in which it was cast.
pub(super) fn counts(asked: &ApprovalRequest, vote: &Vote, policy: &Policy) -> bool {
    match (standing_in(asked, vote.stage, &vote.reviewer, policy, vote.voted_at), vote.decision) {
        (Standing::Decide, Decision::Approve | Decision::Reject)
        | (Standing::RejectOnly, Decision::Reject) => true,
        (Standing::RejectOnly, Decision::Approve)
        | (Standing::Nothing, Decision::Approve | Decision::Reject) => false,
    }
}

/// The approvals that count: of that payload, none for the one that was asked. Who is away and who stands in for them have
/// one voice between them, the one that was heard first.
pub(super) fn approvers<'v>(
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

/// Who has approved what is asked by now, if they are as many as it takes.
pub(super) fn enough_approvers(
    asked: &ApprovalRequest,
    votes: &[Vote],
    change: Option<&Change>,
    policy: &Policy,
) -> Option<Vec<Decider>> {
    let digest = change.map(|change| change.payload_sha256.as_str());
    let approvers: Vec<Decider> = approvers(asked, votes, digest, policy)
        .map(|vote| Decider::Reviewer(vote.reviewer.clone()))
        .collect();
    (approvers.len() >= asked.approvals_needed() as usize).then_some(approvers)
}

impl ApprovalRequest {
    /// Whether one of these people, or a decider of the stage's queue, may approve.
    pub(super) fn somebody_may_approve(&self, stage: usize, asked: &[Assignee], policy: &Policy) -> bool {
        match self.terms.as_ref().and_then(|terms| terms.stages.get(stage)).map(|stage| &stage.assignees) {
            Some(Assignees::Queue(queue)) => policy.clients.iter().any(|client| client.answers_for(queue)),
            Some(Assignees::Roles(_)) => asked.iter().any(|assignee| self.may_approve(assignee, policy)),
            None => false,
        }
    }

    /// Whether who is asked may approve: neither they, nor whom they stand in for, own the asking client.
    pub(super) fn may_approve(&self, assignee: &Assignee, policy: &Policy) -> bool {
        let holder = assignee.in_place_of.as_ref();
        !is_owner_barred(self, &assignee.reviewer, policy)
            && holder.is_none_or(|holder| !is_owner_barred(self, holder, policy))
    }
}

impl Client {
    /// Whether it may answer what waits in that queue.
    pub fn answers_for(&self, queue: &str) -> bool {
        self.has(ClientRole::Decider) && self.queues.contains(queue)
    }
}
