//! A reviewer's own link: looking at a request, and deciding.

use std::sync::Arc;

use placet_core::Timestamp;
use placet_core::audit::Channel;
use placet_core::id::{ApprovalId, ReviewerId};
use placet_core::keys::Epoch;
use placet_core::link::Link;
use placet_core::numbers::shortest_reading_ms;
use placet_core::policy::{Decision, Policy};
use placet_core::refusal::Refusal;
use placet_core::request::{
    ApprovalRequest, Change, Edit, Foreseen, Given, Request, Standing, VoteInput, VoteOutcome,
};

use crate::commit::Step;
use crate::ports::Measurement;
use crate::refused::Attempt;
use crate::{Error, Gate};

/// How many generations of links of people who have left the policy are recognised, to say that a link has expired.
const GENERATIONS_OF_STRANGERS: u32 = 8;

/// A request as one reviewer sees it.
#[derive(Clone, Debug)]
pub struct Review {
    /// Who looks.
    pub reviewer: ReviewerId,
    /// The request, as it is at `now`: what has passed is foreseen, not yet recorded.
    pub request: Foreseen,
    /// The policy in force.
    pub policy: Arc<Policy>,
    /// What this reviewer can do.
    pub options: ReviewOptions,
    /// For the form that is shown now.
    pub nonce: String,
    /// The gate's time.
    pub now: Timestamp,
}

/// What a reviewer would approve, if they changed some fields.
#[derive(Clone, Debug)]
pub struct Preview {
    /// The request as it stands.
    pub review: Review,
    /// What it would be; none where it is what was asked.
    pub change: Option<Change>,
}

/// What a reviewer can do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReviewOptions {
    /// Decide.
    Open {
        /// Approve too: they do not own the asking client.
        may_approve: bool,
    },
    /// They have approved; others must too. They may still reject.
    Approved,
    /// Their stage is over, or they are no longer asked: others are.
    MovedOn,
    /// It has ended.
    Ended,
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
        let seen = if request.is_overdue(now) {
            // Looking must not write; the dispatcher settles what this only shows.
            self.look_at(link.key()).await;
            request.foresee(&policy, now)
        } else {
            request.into()
        };
        Ok(seen_by(&link, &epoch, seen, policy, reviewer, now))
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
        self.decide_with(unverified_link, unverified_nonce, decision, reason, Given::default()).await
    }

    /// The same, with what the rule wants beside the word: the digest's last characters, the fields that are changed, the
    /// digest of what was seen.
    ///
    /// Refuses with `invalid_request` where one of these is missing or wrong, and with `forbidden` a change that another
    /// rule would have to decide, or that comes after somebody has approved.
    pub async fn decide_with(
        &self,
        unverified_link: &str,
        unverified_nonce: &str,
        decision: Decision,
        reason: Option<String>,
        given: Given,
    ) -> Result<Review, Error> {
        self.decide_by(Channel::Page, unverified_link, unverified_nonce, decision, reason, given).await
    }

    /// [`Gate::decide_with`], by a page of the gate's own.
    pub(crate) async fn decide_by(
        &self,
        channel: Channel,
        unverified_link: &str,
        unverified_nonce: &str,
        decision: Decision,
        reason: Option<String>,
        given: Given,
    ) -> Result<Review, Error> {
        let (link, epoch) = self.read_link(unverified_link).await?;
        let policy = self.policy().await?;
        let request = self.store.load(link.key()).await?.ok_or(Refusal::NotFound)?;
        let approval = request.asked().approval_id.clone();
        let attempt = |by: &ReviewerId| Attempt { by: by.to_string(), decision, channel, request: &request };
        let reviewer = match owner(&link, &epoch, &request, &policy) {
            Some(Owner::Now(reviewer)) => reviewer,
            Some(Owner::Once(former)) => {
                let refused = Refusal::LinkExpired.into();
                self.note_refused(&attempt(&former), &policy, &refused).await;
                return Err(refused);
            }
            None => return Err(Refusal::NotFound.into()),
        };
        if request.outcome().is_some() {
            let ended = Error::Ended(Box::new(request.clone()));
            self.note_refused(&attempt(&reviewer), &policy, &ended).await;
            return Err(ended);
        }
        let opened_at =
            Some(link.minted_nonce(&epoch, unverified_nonce, self.clock.now()).ok_or_else(stale)?);
        let input = VoteInput { reviewer: reviewer.clone(), decision, reason, channel, opened_at, given };
        let voted = self
            .change_loaded(request.clone(), &policy, |request, policy, now| {
                // Between two tries the request could have been purged and asked anew: the link is of the old one.
                // And a policy that has just come into force may have voided the link.
                if request.asked().approval_id != approval
                    || !is_of(&link, &epoch, &approval, &reviewer, policy)
                {
                    return Err(Refusal::LinkExpired);
                }
                Ok(match request.vote(&input, policy, now)? {
                    VoteOutcome::Changed(transition) => Step::Write(transition),
                    VoteOutcome::Unchanged => Step::Leave,
                })
            })
            .await;
        let (request, is_new) = match voted {
            Ok(voted) => voted,
            Err(error) => {
                self.note_refused(&attempt(&reviewer), &policy, &error).await;
                return Err(error);
            }
        };
        if let (true, Some(opened_at)) = (is_new, opened_at) {
            let took_ms = self.clock.now().millis_since(opened_at);
            let asked = request.asked();
            if decision == Decision::Approve
                && took_ms < shortest_reading_ms(&asked.summary, asked.payload.as_str())
            {
                self.saw_fast_approval(&reviewer).await;
            }
            let after_ms = opened_at.millis_since(request.asked().created_at).max(0);
            self.metrics.record(&Measurement::Opened { after_ms });
        }
        let now = self.clock.now();
        Ok(seen_by(&link, &epoch, request.into(), policy, reviewer, now))
    }

    /// What a reviewer would approve with these edits, to be shown to them first. Changes nothing.
    pub async fn preview(&self, unverified_link: &str, edits: &[Edit]) -> Result<Preview, Error> {
        let (link, epoch) = self.read_link(unverified_link).await?;
        let policy = self.policy().await?;
        let request = self.store.load(link.key()).await?.ok_or(Refusal::NotFound)?;
        let reviewer = holder(&link, &epoch, &request, &policy)?;
        if request.outcome().is_some() {
            return Err(Error::Ended(Box::new(request)));
        }
        let now = self.clock.now();
        if request.is_overdue(now) || request.standing(&reviewer, &policy, now) != Standing::Decide {
            return Err(Refusal::LinkExpired.into());
        }
        let change = request.preview(edits, &reviewer, &policy)?;
        Ok(Preview { review: seen_by(&link, &epoch, request.into(), policy, reviewer, now), change })
    }

    /// The request of a link, and whose link it is, where the form's nonce is that of the link's page.
    pub(crate) async fn held_by(
        &self,
        unverified_link: &str,
        unverified_nonce: &str,
    ) -> Result<(Request, Arc<Policy>, ReviewerId), Error> {
        let (link, epoch) = self.read_link(unverified_link).await?;
        let policy = self.policy().await?;
        let request = self.store.load(link.key()).await?.ok_or(Refusal::NotFound)?;
        let reviewer = holder(&link, &epoch, &request, &policy)?;
        link.minted_nonce(&epoch, unverified_nonce, self.clock.now()).ok_or_else(stale)?;
        Ok((request, policy, reviewer))
    }

    /// A reviewer's link to a request. Refuses with `not_found` for somebody who is not in the policy.
    pub async fn link(
        &self,
        asked: &ApprovalRequest,
        reviewer: &ReviewerId,
        policy: &Policy,
    ) -> Result<Link, Error> {
        let generation = policy.reviewer(reviewer).ok_or(Refusal::NotFound)?.generation;
        let keyring = self.keys.keyring().await?;
        Ok(Link::mint(&keyring.current, asked.key(), &asked.approval_id, reviewer, generation))
    }

    pub(crate) async fn read_link(&self, unverified: &str) -> Result<(Link, Epoch), Error> {
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
}

fn stale() -> Refusal {
    Refusal::field("nonce", "must be the one of the page, not older than a day")
}

/// What the holder of a link sees of a request, and can do with it.
fn seen_by(
    link: &Link,
    epoch: &Epoch,
    request: Foreseen,
    policy: Arc<Policy>,
    reviewer: ReviewerId,
    now: Timestamp,
) -> Review {
    let options = if request.state().outcome().is_some() {
        ReviewOptions::Ended
    } else {
        match request.standing(&reviewer, &policy, now) {
            Standing::Nothing => ReviewOptions::MovedOn,
            Standing::RejectOnly => ReviewOptions::Open { may_approve: false },
            Standing::Decide if request.has_approved(&reviewer, &policy) => ReviewOptions::Approved,
            Standing::Decide => ReviewOptions::Open { may_approve: true },
        }
    };
    Review { reviewer, request, policy, options, nonce: link.nonce(epoch, now), now }
}

/// Whose link it is. `link_expired` for a person who was asked but has left the policy, and for a link of an earlier
/// generation.
pub(crate) fn holder(
    link: &Link,
    epoch: &Epoch,
    request: &Request,
    policy: &Policy,
) -> Result<ReviewerId, Refusal> {
    match owner(link, epoch, request, policy) {
        Some(Owner::Now(reviewer)) => Ok(reviewer),
        Some(Owner::Once(_)) => Err(Refusal::LinkExpired),
        None => Err(Refusal::NotFound),
    }
}

/// Whose link it is.
enum Owner {
    /// It is theirs.
    Now(ReviewerId),
    /// It was theirs: they have left the policy, or have links of a later generation.
    Once(ReviewerId),
}

fn owner(link: &Link, epoch: &Epoch, request: &Request, policy: &Policy) -> Option<Owner> {
    let approval = &request.asked().approval_id;
    if let Some(known) =
        policy.reviewers.iter().find(|known| link.is_of(epoch, approval, &known.id, known.generation))
    {
        return Some(Owner::Now(known.id.clone()));
    }
    let asked = request.pending().into_iter().flat_map(|pending| &pending.asked).map(|asked| &asked.reviewer);
    let voted = request.state().votes().iter().map(|vote| &vote.reviewer);
    let mut once = asked.chain(voted).chain(policy.reviewers.iter().map(|reviewer| &reviewer.id));
    let was_theirs = |id: &&ReviewerId| {
        let newest = policy.reviewer(id).map_or(GENERATIONS_OF_STRANGERS, |known| known.generation);
        let oldest = newest.saturating_sub(GENERATIONS_OF_STRANGERS).max(1);
        (oldest..=newest).any(|generation| link.is_of(epoch, approval, id, generation))
    };
    once.find(was_theirs).map(|id| Owner::Once(id.clone()))
}

fn is_of(link: &Link, epoch: &Epoch, approval: &ApprovalId, reviewer: &ReviewerId, policy: &Policy) -> bool {
    policy.reviewer(reviewer).is_some_and(|known| link.is_of(epoch, approval, reviewer, known.generation))
}
