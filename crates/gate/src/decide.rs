//! Deciding: a reviewer by their link, or a decider for a request in a queue.

use std::sync::Arc;

use placet_core::Timestamp;
use placet_core::audit::Channel;
use placet_core::id::{ClientId, RequestId, RequestKey, ReviewerId};
use placet_core::keys::Epoch;
use placet_core::link::{InboxLink, Link};
use placet_core::policy::{ClientRole, Decision, Policy};
use placet_core::refusal::Refusal;
use placet_core::request::{Request, Told, VoteInput, VoteOutcome};

use crate::authenticate::Caller;
use crate::sweep::Step;
use crate::{Error, Gate};

/// How many pending requests an inbox looks through.
const INBOX_LIMIT: usize = 500;

/// A request as one reviewer sees it.
#[derive(Clone, Debug)]
pub struct Review {
    /// Who looks.
    pub reviewer: ReviewerId,
    /// The request, as it stands at `now`.
    pub request: Request,
    /// The policy in force.
    pub policy: Arc<Policy>,
    /// What this reviewer can do.
    pub standing: ReviewOf,
    /// For the form that is shown now.
    pub nonce: String,
    /// The gate's time.
    pub now: Timestamp,
}

/// What a reviewer can do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReviewOf {
    /// Decide.
    Open {
        /// Approve too: they do not own the asking client.
        may_approve: bool,
    },
    /// They have approved; others must too. They may still reject.
    Approved,
    /// Their stage is over: others are asked now.
    MovedOn,
    /// It has ended.
    Ended,
}

/// A pending request in a reviewer's inbox.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// The request.
    pub request: Request,
    /// The reviewer's link to it.
    pub link: Link,
    /// What they have said so far.
    pub voted: Option<Decision>,
}

impl Gate {
    /// Shows a reviewer their request. Changes nothing, whoever opens the link and however often.
    ///
    /// Refuses with `not_found` for a link that is nobody's, `link_expired` for one whose key or reviewer is gone.
    pub async fn review(&self, unverified_link: &str) -> Result<Review, Error> {
        let (link, epoch) = self.read_link(unverified_link).await?;
        let policy = self.policy().await?;
        let request = self.store.load(link.key()).await?.ok_or(Refusal::NotFound)?;
        let reviewer = holder(&link, &epoch, &request, &policy)?;
        let now = self.clock.now();
        let request = if request.is_overdue(now) {
            // Looking must not write; the timer settles what this only shows.
            self.timers.wake_at(link.key(), now).await;
            as_if_settled(request, &policy, now)
        } else {
            request
        };
        Ok(seen(&link, &epoch, request, policy, reviewer, now))
    }

    /// A reviewer decides.
    ///
    /// [`Error::Ended`] with the outcome if it has ended. Refuses with `not_found`, `link_expired`, `forbidden`, or
    /// `invalid_request` for a nonce that this link's page did not mint within a day. Saying the same twice is fine.
    pub async fn decide(
        &self,
        unverified_link: &str,
        unverified_nonce: &str,
        decision: Decision,
        reason: Option<String>,
    ) -> Result<Review, Error> {
        let (link, epoch) = self.read_link(unverified_link).await?;
        let policy = self.policy().await?;
        let request = self.store.load(link.key()).await?.ok_or(Refusal::NotFound)?;
        let reviewer = holder(&link, &epoch, &request, &policy)?;
        let approval = request.asked.approval_id.clone();
        if request.outcome().is_some() {
            return Err(Error::Ended(Box::new(request)));
        }
        if !link.takes_nonce(&epoch, unverified_nonce, self.clock.now()) {
            return Err(Refusal::field("nonce", "must be the one of the page, not older than a day").into());
        }
        let ballot = VoteInput { reviewer: reviewer.clone(), decision, reason, channel: Channel::Page };
        let (request, _) = self
            .change_loaded(request, &policy, |request, now| {
                // Between two tries the request could have been purged and asked anew: the link is of the old one.
                if request.asked.approval_id != approval {
                    return Err(Refusal::LinkExpired);
                }
                Ok(match request.vote(&ballot, &policy, now)? {
                    VoteOutcome::Changed(change) => Step::Write(change),
                    VoteOutcome::Unchanged => Step::Leave,
                })
            })
            .await?;
        let now = self.clock.now();
        Ok(seen(&link, &epoch, request, policy, reviewer, now))
    }

    /// A decider answers for a request that waits in a queue.
    ///
    /// `client` says whose `request_id` is meant, if several clients use it.
    pub async fn answer(
        &self,
        caller: &Caller,
        request_id: &RequestId,
        client: Option<&ClientId>,
        decision: Decision,
        reason: Option<String>,
    ) -> Result<Request, Error> {
        caller.must_be(ClientRole::Decider)?;
        let request = self.named(caller, request_id, client).await?;
        let (request, _) = self
            .change_loaded(request, &caller.policy, |request, now| {
                let change = request.answer(&caller.client, decision, reason.clone(), &caller.policy, now)?;
                Ok(Step::Write(Box::new(change)))
            })
            .await?;
        Ok(request)
    }

    /// What waits for the reviewer of that inbox link.
    pub async fn inbox(
        &self,
        unverified_link: &str,
    ) -> Result<(ReviewerId, Vec<Waiting>, Arc<Policy>), Error> {
        let link = InboxLink::parse(unverified_link).ok_or(Refusal::NotFound)?;
        let policy = self.policy().await?;
        let mut keyring = self.keys.keyring().await?;
        if keyring.epoch(link.epoch()).is_none() {
            keyring = self.keys.refreshed().await?;
        }
        if keyring.epoch(link.epoch()).is_none() {
            return Err(Refusal::LinkExpired.into());
        }
        let reviewer =
            link.owner(&keyring, policy.reviewers.iter().map(|r| &r.id)).ok_or(Refusal::NotFound)?.clone();
        let waiting = self.waiting_for(&reviewer, &policy).await?;
        Ok((reviewer, waiting, policy))
    }

    /// What waits for that reviewer.
    pub async fn waiting_for(&self, reviewer: &ReviewerId, policy: &Policy) -> Result<Vec<Waiting>, Error> {
        let now = self.clock.now();
        let mut waiting = Vec::new();
        for request in self.store.pending(INBOX_LIMIT).await? {
            if request.is_overdue(now) || !request.may_answer(reviewer, policy) {
                continue;
            }
            let link = self.link(&request, reviewer).await?;
            let voted =
                request.life.votes.iter().find(|vote| vote.reviewer == *reviewer).map(|vote| vote.decision);
            waiting.push(Waiting { request, link, voted });
        }
        Ok(waiting)
    }

    /// Everything that is pending, the oldest first: the operator's view.
    pub async fn all_pending(&self, limit: usize) -> Result<Vec<Request>, Error> {
        Ok(self.store.pending(limit).await?)
    }

    /// A reviewer's link to a request.
    pub async fn link(&self, request: &Request, reviewer: &ReviewerId) -> Result<Link, Error> {
        let keyring = self.keys.keyring().await?;
        Ok(Link::mint(&keyring.current, request.asked.key(), &request.asked.approval_id, reviewer))
    }

    /// A reviewer's inbox link.
    pub async fn inbox_link(&self, reviewer: &ReviewerId) -> Result<InboxLink, Error> {
        Ok(InboxLink::mint(&self.keys.keyring().await?.current, reviewer))
    }

    async fn read_link(&self, unverified: &str) -> Result<(Link, Epoch), Error> {
        let link = Link::parse(unverified).ok_or(Refusal::NotFound)?;
        if let Some(epoch) = self.keys.keyring().await?.epoch(link.epoch()) {
            return Ok((link, epoch.clone()));
        }
        let fresh = self.keys.refreshed().await?;
        let epoch = fresh.epoch(link.epoch()).cloned();
        let older = fresh.current.number > link.epoch();
        // A number that no rotation has reached yet was never given out.
        epoch
            .map(|epoch| (link, epoch))
            .ok_or_else(|| if older { Refusal::LinkExpired } else { Refusal::NotFound }.into())
    }

    async fn named(
        &self,
        caller: &Caller,
        request_id: &RequestId,
        client: Option<&ClientId>,
    ) -> Result<Request, Error> {
        let askers = caller.policy.clients.iter().filter(|asker| asker.has(ClientRole::Requester));
        let askers = askers.filter(|asker| client.is_none_or(|client| asker.id == *client));
        let mut found = Vec::new();
        for asker in askers {
            found.extend(self.store.load(RequestKey::of(&asker.id, request_id)).await?);
        }
        // Several clients may use one name; what waits in a queue is what a decider can mean.
        if found.len() > 1 {
            let in_queue = |request: &Request| {
                request.pending().is_some_and(|p| request.asked.stage_queue(p.stage).is_some())
            };
            if found.iter().any(in_queue) {
                found.retain(in_queue);
            }
        }
        match found.len() {
            0 => Err(Refusal::NotFound.into()),
            1 => found.pop().ok_or_else(|| Refusal::NotFound.into()),
            _ => Err(Refusal::field(
                "client",
                "must say whose request is meant: several clients use this name",
            )
            .into()),
        }
    }
}

/// What the holder of a link sees of a request, and can do with it.
fn seen(
    link: &Link,
    epoch: &Epoch,
    request: Request,
    policy: Arc<Policy>,
    reviewer: ReviewerId,
    now: Timestamp,
) -> Review {
    let approved = request.life.votes.iter().any(|vote| vote.reviewer == reviewer);
    let standing = if request.outcome().is_some() {
        ReviewOf::Ended
    } else if !request.may_answer(&reviewer, &policy) {
        ReviewOf::MovedOn
    } else if approved {
        ReviewOf::Approved
    } else {
        ReviewOf::Open { may_approve: !request.is_owner_barred(&reviewer, &policy) }
    };
    Review { reviewer, request, policy, standing, nonce: link.nonce(epoch, now), now }
}

/// Whose link it is. `link_expired` for a person who was asked but is no longer in the policy.
fn holder(link: &Link, epoch: &Epoch, request: &Request, policy: &Policy) -> Result<ReviewerId, Refusal> {
    let approval = &request.asked.approval_id;
    let asked = request.pending().into_iter().flat_map(|pending| &pending.asked).map(|asked| &asked.reviewer);
    let voted = request.life.votes.iter().map(|vote| &vote.reviewer);
    let everybody = asked.chain(voted).chain(policy.reviewers.iter().map(|reviewer| &reviewer.id));
    let holder =
        everybody.into_iter().find(|id| link.is_of(epoch, approval, id)).ok_or(Refusal::NotFound)?.clone();
    if policy.reviewer(&holder).is_some() { Ok(holder) } else { Err(Refusal::LinkExpired) }
}

/// The request as it will stand once its passed deadlines are recorded.
fn as_if_settled(mut request: Request, policy: &Policy, now: Timestamp) -> Request {
    while let Some(change) = request.expire(policy, Told::Yes, now) {
        request.life = change.life;
        if request.outcome().is_some() {
            break;
        }
    }
    request
}
