//! What waits for a reviewer, what they decided lately, and their decisions from there; and everything that waits.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use placet_core::Timestamp;
use placet_core::audit::Channel;
use placet_core::id::ReviewerId;
use placet_core::link::{InboxLink, Link};
use placet_core::policy::{Decision, Policy};
use placet_core::refusal::Refusal;
use placet_core::request::{Given, Request, Standing};

use crate::ports::{Closing, Watch};
use crate::push::PushSwitch;
use crate::review::holder;
use crate::{Error, Gate, Novelty, Review};

/// How many requests an inbox shows, and how many one batch decides.
pub const INBOX_LIMIT: usize = 100;

/// How many decisions of their own a reviewer is shown.
const LATELY: usize = 10;

/// For how long a decision is a late one, in milliseconds.
const LATELY_MS: i64 = 7 * placet_core::time::DAY_MS;

/// How many pending requests are read at once.
const PAGE: usize = 200;

/// How many pending requests are looked at for the one that waits next.
const NEXT_LOOK: usize = 20;

/// How many pending requests one look goes through. Each client's `max_pending` keeps the whole below this.
const LOOK_LIMIT: usize = 20_000;

/// For how long an inbox that looks unchanged is taken for unchanged, in milliseconds: what only time changes, and what
/// a store's index does not see, is seen by then.
const FRESH_MS: i64 = 60_000;

/// What waits for a reviewer.
#[derive(Clone, Debug)]
pub struct Inbox {
    /// Whose.
    pub reviewer: ReviewerId,
    /// By deadline, the earliest first.
    pub items: Vec<InboxItem>,
    /// How many more wait, which are not shown.
    pub more: usize,
    /// On what they voted in the last days, the newest first.
    pub lately: Vec<LateDecision>,
    /// For the forms that are about the inbox itself; empty where it was not asked for by its link.
    pub nonce: String,
    /// Whether push can be switched here, and how it stands; only where the inbox was asked for by its link.
    pub push: Option<PushSwitch>,
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
    /// For the form in its row.
    pub nonce: String,
    /// Whether they may approve; if not, they own the asking client and may only reject.
    pub may_approve: bool,
    /// What they have said so far.
    pub voted: Option<Decision>,
    /// What is new about it, where the inbox was asked for by its link and that can be seen at a look.
    pub novelty: Novelty,
}

/// A decision that a reviewer has made.
#[derive(Clone, Debug)]
pub struct LateDecision {
    /// The request as it stands now.
    pub request: Request,
    /// The reviewer's link to it.
    pub link: Link,
    /// What they said.
    pub decision: Decision,
    /// When.
    pub voted_at: Timestamp,
}

/// One row's form, as it arrives.
#[derive(Clone, Debug)]
pub struct UnverifiedRow {
    /// The link of that row.
    pub link: String,
    /// The nonce that the inbox minted for it.
    pub nonce: String,
}

/// What became of one row of a decision.
#[derive(Debug)]
pub struct RowResult {
    /// Its link, as it arrived.
    pub link: String,
    /// What the reviewer now sees; or why nothing was recorded.
    pub outcome: Result<Review, Error>,
}

impl Gate {
    /// What waits for the reviewer of that inbox link, and what they decided lately.
    pub async fn inbox(&self, unverified_link: &str) -> Result<Inbox, Error> {
        let policy = self.policy().await?;
        let reviewer = self.inbox_owner(unverified_link, &policy).await?;
        let mut inbox = self.waiting_for(&reviewer, &policy).await?;
        self.note_novelty(&mut inbox.items).await;
        inbox.lately = self.decided_lately(&reviewer, &policy).await?;
        inbox.push = self.push_switch(&reviewer, &policy).await?;
        if let Some(link) = InboxLink::parse(unverified_link)
            && let Some(epoch) = self.keys.keyring().await?.epoch(link.epoch())
        {
            inbox.nonce = link.nonce(epoch, self.clock.now());
        }
        Ok(inbox)
    }

    /// A text that changes when that inbox does: what a page is asked for again only if it differs.
    ///
    /// What changes only with time, or what the store's index does not see, is in it within a minute.
    pub async fn inbox_version(&self, unverified_link: &str) -> Result<String, Error> {
        let policy = self.policy().await?;
        let reviewer = self.inbox_owner(unverified_link, &policy).await?;
        let mut hasher = DefaultHasher::new();
        reviewer.as_str().hash(&mut hasher);
        policy.version.hash(&mut hasher);
        self.store.pending_digest().await?.hash(&mut hasher);
        (self.clock.now().millis() / FRESH_MS).hash(&mut hasher);
        Ok(format!("{:016x}", hasher.finish()))
    }

    /// Wakes whenever an inbox may have changed.
    pub fn watch_pending(&self) -> Box<dyn Watch> {
        self.store.watch_pending()
    }

    /// Decides what one row of an inbox, or several rows together, ask: each its own vote, entry and outcome.
    ///
    /// All must be rows of this inbox, and several must ask the very same: client, action, payload and rule. Refuses the
    /// whole with `not_found`, `link_expired` or `invalid_request`; what becomes of each row is said row by row.
    pub async fn decide_rows(
        &self,
        unverified_inbox: &str,
        rows: Vec<UnverifiedRow>,
        decision: Decision,
        reason: Option<String>,
    ) -> Result<Vec<RowResult>, Error> {
        self.check_rows(unverified_inbox, &rows).await?;
        let mut results = Vec::new();
        for UnverifiedRow { link, nonce } in rows {
            let outcome = self
                .decide_by(Channel::Inbox, &link, &nonce, decision, reason.clone(), Given::default())
                .await;
            results.push(RowResult { link, outcome });
        }
        Ok(results)
    }

    /// Refuses rows that are not of that inbox, or that do not ask the very same.
    pub(crate) async fn check_rows(
        &self,
        unverified_inbox: &str,
        rows: &[UnverifiedRow],
    ) -> Result<(), Error> {
        let policy = self.policy().await?;
        let owner = self.inbox_owner(unverified_inbox, &policy).await?;
        if rows.is_empty() || rows.len() > INBOX_LIMIT {
            return Err(Refusal::field("row", format!("must be given 1 to {INBOX_LIMIT} times")).into());
        }
        let mut first: Option<Request> = None;
        for row in rows {
            let (link, epoch) = self.read_link(&row.link).await?;
            let request = self.store.load(link.key()).await?.ok_or(Refusal::NotFound)?;
            if holder(&link, &epoch, &request, &policy)? != owner {
                return Err(Refusal::NotFound.into());
            }
            let first = first.get_or_insert_with(|| request.clone());
            if !are_alike(first, &request) {
                return Err(Refusal::field("row", "must ask the same as the others").into());
            }
        }
        Ok(())
    }

    /// Whose inbox link that is.
    pub async fn inbox_reviewer(&self, unverified_link: &str) -> Result<ReviewerId, Error> {
        let policy = self.policy().await?;
        self.inbox_owner(unverified_link, &policy).await
    }

    /// Refuses a form of the inbox itself that it did not mint within a day.
    pub(crate) async fn check_inbox_nonce(
        &self,
        unverified_link: &str,
        unverified_nonce: &str,
    ) -> Result<(), Error> {
        let link = InboxLink::parse(unverified_link).ok_or(Refusal::NotFound)?;
        let mut keyring = self.keys.keyring().await?;
        if keyring.epoch(link.epoch()).is_none() {
            keyring = self.keys.refreshed().await?;
        }
        let epoch = keyring.epoch(link.epoch()).ok_or(Refusal::LinkExpired)?;
        if link.takes_nonce(epoch, unverified_nonce, self.clock.now()) {
            return Ok(());
        }
        Err(Refusal::field("nonce", "must be the one of the inbox, not older than a day").into())
    }

    pub(crate) async fn inbox_owner(
        &self,
        unverified_link: &str,
        policy: &Policy,
    ) -> Result<ReviewerId, Error> {
        let link = InboxLink::parse(unverified_link).ok_or(Refusal::NotFound)?;
        let mut keyring = self.keys.keyring().await?;
        if keyring.epoch(link.epoch()).is_none() {
            keyring = self.keys.refreshed().await?;
        }
        if keyring.epoch(link.epoch()).is_none() {
            return Err(Refusal::LinkExpired.into());
        }
        let everybody = policy.reviewers.iter().map(|reviewer| (&reviewer.id, reviewer.generation));
        Ok(link.owner(&keyring, everybody).ok_or(Refusal::NotFound)?.clone())
    }

    /// What waits for that reviewer. `lately` is left empty.
    pub async fn waiting_for(&self, reviewer: &ReviewerId, policy: &Arc<Policy>) -> Result<Inbox, Error> {
        let now = self.clock.now();
        let keyring = self.keys.keyring().await?;
        let mut inbox = Inbox {
            reviewer: reviewer.clone(),
            items: Vec::new(),
            more: 0,
            lately: Vec::new(),
            nonce: String::new(),
            push: None,
            policy: Arc::clone(policy),
        };
        let mut after = None;
        let mut looked_at = 0;
        loop {
            let page = self.store.pending(after, PAGE).await?;
            looked_at += page.len();
            let last = page.last().and_then(|last| Some((last.key(), last.pending()?.closes_at)));
            let is_last = page.len() < PAGE || looked_at >= LOOK_LIMIT;
            for request in page {
                if request.is_overdue(now) {
                    continue;
                }
                let may_approve = match request.standing(reviewer, policy, now) {
                    Standing::Nothing => continue,
                    Standing::RejectOnly => false,
                    Standing::Decide => true,
                };
                if inbox.items.len() >= INBOX_LIMIT {
                    inbox.more += 1;
                    continue;
                }
                let link = self.link(request.asked(), reviewer, policy).await?;
                let nonce = link.nonce(&keyring.current, now);
                let own = request.state().votes().iter().find(|vote| vote.reviewer == *reviewer);
                // An approval that no longer counts is no answer: they are asked once more.
                let voted = own
                    .map(|vote| vote.decision)
                    .filter(|said| *said == Decision::Reject || request.has_approved(reviewer, policy));
                let novelty = Novelty::default();
                inbox.items.push(InboxItem { request, link, nonce, may_approve, voted, novelty });
            }
            match last {
                Some((key, closes_at)) if !is_last => after = Some(Closing { closes_at, key }),
                Some(_) | None => break,
            }
        }
        Ok(inbox)
    }

    async fn decided_lately(
        &self,
        reviewer: &ReviewerId,
        policy: &Policy,
    ) -> Result<Vec<LateDecision>, Error> {
        let since = self.clock.now().plus_millis(-LATELY_MS);
        let mut lately = Vec::new();
        for request in self.store.voted(reviewer, LATELY).await? {
            let own = request.state().votes().iter().find(|vote| vote.reviewer == *reviewer);
            let Some((decision, voted_at)) = own.map(|vote| (vote.decision, vote.voted_at)) else { continue };
            if voted_at >= since {
                let link = self.link(request.asked(), reviewer, policy).await?;
                lately.push(LateDecision { request, link, decision, voted_at });
            }
        }
        Ok(lately)
    }

    /// What waits for a reviewer beside what they have just looked at: the earliest, if it is among the next few.
    pub async fn next_for(&self, review: &Review) -> Result<Option<(Request, Link)>, Error> {
        let Review { reviewer, policy, now, .. } = review;
        for request in self.store.pending(None, NEXT_LOOK).await? {
            let is_this = request.asked().approval_id == review.request.asked().approval_id;
            let has_voted = request.state().votes().iter().any(|vote| vote.reviewer == *reviewer);
            let waits =
                !request.is_overdue(*now) && request.standing(reviewer, policy, *now) != Standing::Nothing;
            if waits && !is_this && !has_voted {
                let link = self.link(request.asked(), reviewer, policy).await?;
                return Ok(Some((request, link)));
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

/// Whether two requests ask the very same, of the same people in the same way: only then one look decides both.
pub fn are_alike(one: &Request, other: &Request) -> bool {
    let of = |request: &Request| {
        let asked = request.asked();
        (asked.client.clone(), asked.action.clone(), asked.payload_sha256.clone(), asked.rule.clone())
    };
    of(one) == of(other)
}
