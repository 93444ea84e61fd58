//! What waits for a reviewer, and everything that waits.

use std::sync::Arc;

use placet_core::id::ReviewerId;
use placet_core::link::{InboxLink, Link};
use placet_core::policy::{Decision, Policy};
use placet_core::refusal::Refusal;
use placet_core::request::{Request, Standing};

use crate::ports::Closing;
use crate::{Error, Gate, Review};

/// How many requests an inbox shows.
const INBOX_LIMIT: usize = 100;

/// How many pending requests are read at once.
const PAGE: usize = 200;

/// How many pending requests are looked at for the one that waits next.
const NEXT_LOOK: usize = 20;

/// How many pending requests one look goes through. Each client's `max_pending` keeps the whole below this.
const LOOK_LIMIT: usize = 20_000;

/// What waits for a reviewer.
#[derive(Clone, Debug)]
pub struct Inbox {
    /// Whose.
    pub reviewer: ReviewerId,
    /// By deadline, the earliest first.
    pub items: Vec<InboxItem>,
    /// How many more wait, which are not shown.
    pub more: usize,
    /// The policy in force.
    pub policy: Arc<Policy>,
}

/// One request in a reviewer's inbox.
#[derive(Clone, Debug)]
pub struct InboxItem {
    /// The request.
    pub request: Request,
    /// The reviewer's link to it.
    pub link: Link,
    /// What they have said so far.
    pub voted: Option<Decision>,
}

impl Gate {
    /// What waits for the reviewer of that inbox link.
    pub async fn inbox(&self, unverified_link: &str) -> Result<Inbox, Error> {
        let link = InboxLink::parse(unverified_link).ok_or(Refusal::NotFound)?;
        let policy = self.policy().await?;
        let mut keyring = self.keys.keyring().await?;
        if keyring.epoch(link.epoch()).is_none() {
            keyring = self.keys.refreshed().await?;
        }
        if keyring.epoch(link.epoch()).is_none() {
            return Err(Refusal::LinkExpired.into());
        }
        let everybody = policy.reviewers.iter().map(|reviewer| (&reviewer.id, reviewer.generation));
        let reviewer = link.owner(&keyring, everybody).ok_or(Refusal::NotFound)?.clone();
        self.waiting_for(&reviewer, &policy).await
    }

    /// What waits for that reviewer.
    pub async fn waiting_for(&self, reviewer: &ReviewerId, policy: &Arc<Policy>) -> Result<Inbox, Error> {
        let now = self.clock.now();
        let mut inbox =
            Inbox { reviewer: reviewer.clone(), items: Vec::new(), more: 0, policy: Arc::clone(policy) };
        let mut after = None;
        let mut looked_at = 0;
        loop {
            let page = self.store.pending(after, PAGE).await?;
            looked_at += page.len();
            let last = page.last().and_then(|last| Some((last.key(), last.pending()?.closes_at)));
            let is_last = page.len() < PAGE || looked_at >= LOOK_LIMIT;
            for request in page {
                if request.is_overdue(now) || request.standing(reviewer, policy, now) == Standing::Nothing {
                    continue;
                }
                if inbox.items.len() >= INBOX_LIMIT {
                    inbox.more += 1;
                    continue;
                }
                let link = self.link(request.asked(), reviewer, policy).await?;
                let own = request.state().votes().iter().find(|vote| vote.reviewer == *reviewer);
                let voted = own.map(|vote| vote.decision);
                inbox.items.push(InboxItem { request, link, voted });
            }
            match last {
                Some((key, closes_at)) if !is_last => after = Some(Closing { closes_at, key }),
                Some(_) | None => return Ok(inbox),
            }
        }
    }

    /// What waits for a reviewer beside what they have just looked at: the earliest, if it is among the next few.
    pub async fn next_for(&self, review: &Review) -> Result<Option<InboxItem>, Error> {
        let Review { reviewer, policy, now, .. } = review;
        for request in self.store.pending(None, NEXT_LOOK).await? {
            let is_this = request.asked().approval_id == review.request.asked().approval_id;
            let has_voted = request.state().votes().iter().any(|vote| vote.reviewer == *reviewer);
            let waits =
                !request.is_overdue(*now) && request.standing(reviewer, policy, *now) != Standing::Nothing;
            if waits && !is_this && !has_voted {
                let link = self.link(request.asked(), reviewer, policy).await?;
                return Ok(Some(InboxItem { request, link, voted: None }));
            }
        }
        Ok(None)
    }

    /// What is pending, by deadline, the earliest first, at most `limit`: the operator's view.
    pub async fn all_pending(&self, limit: usize) -> Result<Vec<Request>, Error> {
        Ok(self.store.pending(None, limit).await?)
    }

    /// A reviewer's inbox link. Refuses with `not_found` for somebody who is not in the policy.
    pub async fn inbox_link(&self, reviewer: &ReviewerId, policy: &Policy) -> Result<InboxLink, Error> {
        let generation = policy.reviewer(reviewer).ok_or(Refusal::NotFound)?.generation;
        Ok(InboxLink::mint(&self.keys.keyring().await?.current, reviewer, generation))
    }
}
