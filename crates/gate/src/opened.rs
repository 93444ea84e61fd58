//! A person has opened a request: then nobody needs to be nudged by another channel.
//!
//! A GET is no sign of a person, and neither is a script that runs: mail scanners do both. What counts is a touch of the
//! page, which its script tells, and a press of a button, on the page or in a chat. It decides nothing and is no vote.

use placet_core::id::ReviewerId;
use placet_core::policy::{Policy, Reviewer};
use placet_core::request::{Request, Standing};

use crate::{Error, Fault, Gate};

impl Gate {
    /// The reviewer of that link has touched its page, or pressed a button that decides nothing.
    ///
    /// Refuses with `not_found`, `link_expired`, or `invalid_request` for a nonce that the page did not mint within a day.
    pub async fn opened(&self, unverified_link: &str, unverified_nonce: &str) -> Result<(), Error> {
        let (request, policy, reviewer) = self.held_by(unverified_link, unverified_nonce).await?;
        Ok(self.note_opened(&request, &reviewer, &policy).await?)
    }

    /// The reviewer of that inbox has touched it while it listed these approvals; others, and what is not theirs, are
    /// passed over.
    ///
    /// Refuses with `not_found`, `link_expired`, or `invalid_request` for a nonce that the inbox did not mint within a day.
    pub async fn opened_in_inbox(
        &self,
        unverified_inbox: &str,
        unverified_nonce: &str,
        unverified_approvals: &[String],
    ) -> Result<(), Error> {
        self.check_inbox_nonce(unverified_inbox, unverified_nonce).await?;
        let policy = self.policy().await?;
        let reviewer = self.inbox_owner(unverified_inbox, &policy).await?;
        if !policy.reviewer(&reviewer).is_some_and(Reviewer::is_nudged) {
            return Ok(());
        }
        for item in self.waiting_for(&reviewer, &policy).await?.items {
            let approval = item.request.asked().approval_id.as_str();
            if unverified_approvals.iter().any(|listed| listed == approval) {
                self.note_opened(&item.request, &reviewer, &policy).await?;
            }
        }
        Ok(())
    }

    /// Notes that a reviewer has opened a request, where a nudge depends on it.
    pub(crate) async fn note_opened(
        &self,
        request: &Request,
        reviewer: &ReviewerId,
        policy: &Policy,
    ) -> Result<(), Fault> {
        let now = self.clock.now();
        let Some(pending) = request.pending().filter(|pending| now < pending.closes_at) else {
            return Ok(());
        };
        let is_asked = request.standing(reviewer, policy, now) != Standing::Nothing;
        if is_asked && policy.reviewer(reviewer).is_some_and(Reviewer::is_nudged) {
            // A store may know the time only to the second.
            let until = pending.closes_at.plus_millis(1000);
            self.store.mark(&name(request, pending.stage, reviewer), until).await?;
        }
        Ok(())
    }

    /// Whether a person has opened the request since that stage asked them.
    pub async fn has_opened(
        &self,
        request: &Request,
        stage: usize,
        reviewer: &ReviewerId,
    ) -> Result<bool, Fault> {
        self.is_marked(&name(request, stage, reviewer)).await
    }
}

fn name(request: &Request, stage: usize, reviewer: &ReviewerId) -> String {
    format!("opened/{}/{stage}/{reviewer}", request.asked().approval_id)
}
