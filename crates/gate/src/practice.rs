//! A practice round: what the holder of its link sees, and what was right.
//!
//! It reads and never writes: no request, no entry, no message and no number comes of it. What somebody has answered
//! is carried by the forms of their own page.

use std::sync::Arc;

use placet_core::Timestamp;
use placet_core::id::{ApprovalId, ReviewerId};
use placet_core::keys::Epoch;
use placet_core::policy::{Decision, Policy, Reviewer};
use placet_core::practice::{CASES, Case, Origin, PracticeLink, Progress, cases};
use placet_core::refusal::Refusal;
use placet_core::request::{ApprovalRequest, Decider, Request, Status};

use crate::ports::StoreQuery;
use crate::{Error, Gate};

/// Of how many clients requests are looked at.
const CLIENTS: usize = 8;

/// How many of the newest requests of each: one page of its list, whatever became of them.
const OF_EACH: usize = 100;

/// A case as one reviewer sees it.
#[derive(Clone, Debug)]
pub struct PracticeCase {
    /// Who practises.
    pub reviewer: ReviewerId,
    /// The policy in force.
    pub policy: Arc<Policy>,
    /// Where the round's cases come from.
    pub origin: Origin,
    /// Which case it is of the round's [`CASES`], from 1.
    pub number: u32,
    /// What is shown, with its truth.
    pub case: Case,
    /// What the form must bring back.
    pub progress: String,
    /// When the link ends.
    pub ends_at: Timestamp,
    /// The gate's time.
    pub now: Timestamp,
}

/// What came of an answer.
#[derive(Clone, Debug)]
pub struct PracticeAnswer {
    /// The case that was answered.
    pub of: PracticeCase,
    /// What was pressed.
    pub decision: Decision,
    /// How far they are now: with the answer.
    pub progress: Progress,
    /// The same, signed, for the form that goes on.
    pub next: String,
}

impl PracticeAnswer {
    /// Whether that was what should be pressed: approve what is right, reject what was changed.
    pub fn was_right(&self) -> bool {
        (self.decision == Decision::Reject) == self.of.case.altered.is_some()
    }

    /// Whether it was the round's last case.
    pub fn ends_the_round(&self) -> bool {
        self.of.number >= CASES
    }
}

impl Gate {
    /// A reviewer's link to practise, which opens for a day. Refuses with `not_found` for somebody who is not in the policy.
    pub async fn practice_link(&self, reviewer: &ReviewerId, policy: &Policy) -> Result<PracticeLink, Error> {
        let generation = policy.reviewer(reviewer).ok_or(Refusal::NotFound)?.generation;
        let keyring = self.keys.keyring().await?;
        let link = PracticeLink::mint(&keyring.current, reviewer, generation, self.clock.now());
        Ok(link.ok_or(Refusal::NotFound)?)
    }

    /// The case that is next: the first one, or the one that the form of another page names.
    ///
    /// Refuses with `not_found` for a link that is nobody's, `link_expired` for one that is over, `invalid_request` for
    /// progress that this link's page did not sign.
    pub async fn practice(
        &self,
        unverified_link: &str,
        unverified_progress: Option<&str>,
    ) -> Result<PracticeCase, Error> {
        Ok(self.practised(unverified_link, unverified_progress).await?.shown)
    }

    /// An answer to the case that a page has shown. Nothing is recorded. Refuses as [`Gate::practice`] does.
    pub async fn answer_practice(
        &self,
        unverified_link: &str,
        unverified_progress: &str,
        decision: Decision,
    ) -> Result<PracticeAnswer, Error> {
        let practised = self.practised(unverified_link, Some(unverified_progress)).await?;
        let Practised { shown: of, link, epoch, progress, cases: round, own } = practised;
        let was_rejected = decision == Decision::Reject;
        let progress = progress.after(of.case.altered.is_some(), was_rejected, CASES);
        let digest = if progress.case == 0 {
            let (_, next_round) = cases(link.seed(&epoch, progress.round), &own);
            case_at(&next_round, 0)?.digest()
        } else {
            case_at(&round, progress.case)?.digest()
        };
        let next = link.sign(&epoch, &progress, &digest);
        Ok(PracticeAnswer { of, decision, progress, next })
    }

    async fn practised(&self, unverified_link: &str, unverified: Option<&str>) -> Result<Practised, Error> {
        let link = PracticeLink::parse(unverified_link).ok_or(Refusal::NotFound)?;
        let mut keyring = self.keys.keyring().await?;
        if keyring.epoch(link.epoch()).is_none() {
            keyring = self.keys.refreshed().await?;
        }
        let Some(epoch) = keyring.epoch(link.epoch()) else {
            // A number that no rotation has reached yet was never given out.
            let is_older = keyring.current.number > link.epoch();
            return Err(if is_older { Refusal::LinkExpired } else { Refusal::NotFound }.into());
        };
        let policy = self.policy().await?;
        let everybody = policy.reviewers.iter().map(|reviewer| (&reviewer.id, reviewer.generation));
        let reviewer = link.owner(&keyring, everybody).ok_or(Refusal::NotFound)?.clone();
        let now = self.clock.now();
        if now >= link.ends_at() {
            return Err(Refusal::LinkExpired.into());
        }
        let progress = match unverified {
            Some(text) => Progress::unverified(text).ok_or_else(stale)?,
            None => Progress::default(),
        };
        let own = self.own_requests(&policy, &reviewer, link.made_at()).await?;
        let (origin, cases) = cases(link.seed(epoch, progress.round), &own);
        let case = case_at(&cases, progress.case).map_err(|_| stale())?.clone();
        let digest = case.digest();
        if unverified.is_some_and(|text| !link.signed(epoch, text, &digest)) {
            return Err(stale().into());
        }
        let shown = PracticeCase {
            reviewer,
            policy,
            origin,
            number: progress.case.saturating_add(1),
            case,
            progress: link.sign(epoch, &progress, &digest),
            ends_at: link.ends_at(),
            now,
        };
        Ok(Practised { shown, epoch: epoch.clone(), link, progress, cases, own })
    }

    /// What people have approved, as it was asked, before then, and what this reviewer could have decided.
    async fn own_requests(
        &self,
        policy: &Policy,
        reviewer: &ReviewerId,
        before: Timestamp,
    ) -> Result<Vec<Arc<ApprovalRequest>>, Error> {
        let Some(person) = policy.reviewer(reviewer) else { return Ok(Vec::new()) };
        let mut all = Vec::new();
        for client in policy.clients.iter().take(CLIENTS) {
            let query = StoreQuery {
                client: Some(client.id.clone()),
                status: None,
                limit: OF_EACH,
                before: Some(ApprovalId::from_parts(before, 0)),
            };
            let found = self.store.list(&query).await?;
            let material = found.iter().filter(|request| is_material(request, person, before));
            all.extend(material.map(|request| Arc::clone(request.asked())));
        }
        Ok(all)
    }
}

/// What an answer needs beside the case itself.
struct Practised {
    shown: PracticeCase,
    link: PracticeLink,
    epoch: Epoch,
    progress: Progress,
    cases: Vec<Case>,
    own: Vec<Arc<ApprovalRequest>>,
}

fn case_at(cases: &[Case], at: u32) -> Result<&Case, Error> {
    Ok(usize::try_from(at).ok().and_then(|at| cases.get(at)).ok_or(Refusal::NotFound)?)
}

/// Whether people approved it, before then, just as it was asked; nobody has called that a mistake; and this reviewer has
/// a role that it asked.
fn is_material(request: &Request, person: &Reviewer, before: Timestamp) -> bool {
    let (asked, state) = (request.asked(), request.state());
    let by_people = request.outcome().is_some_and(|outcome| {
        outcome.status() == Status::Approved
            && outcome.decided_at < before
            && outcome.decided_by.iter().all(|decider| matches!(decider, Decider::Reviewer(_)))
    });
    let stages = asked.terms.as_ref().map_or(0, |terms| terms.stages.len());
    let is_theirs = (0..stages).any(|stage| person.has_any(asked.stage_roles(stage)));
    by_people && is_theirs && state.change().is_none() && state.flag().is_none()
}

fn stale() -> Refusal {
    Refusal::field("nonce", "must be the one of the page")
}
