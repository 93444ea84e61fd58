//! "This approval was a mistake": a word that changes nothing about the outcome, and is counted.

use placet_core::audit::Channel;
use placet_core::id::{ClientId, RequestId, RequestKey};
use placet_core::policy::{ClientRole, Policy};
use placet_core::refusal::Refusal;
use placet_core::request::Request;
use std::sync::Arc;

use crate::authenticate::Caller;
use crate::commit::Step;
use crate::{Error, Gate};

/// Who flags where a report's link is all that is known of them.
const BY_REPORT: &str = "report";

impl Gate {
    /// An auditor says that an approval was a mistake. Saying it again is fine; the first word stays.
    ///
    /// `client` says whose `request_id` is meant, if several clients use it. Refuses with `forbidden`, `not_found`,
    /// `not_approved`, or `invalid_request` where `client` must say whose it is.
    pub async fn flag(
        &self,
        caller: &Caller,
        request_id: &RequestId,
        client: Option<&ClientId>,
        reason: Option<String>,
    ) -> Result<Request, Error> {
        caller.must_be(ClientRole::Auditor)?;
        let request = self.of_any_client(&caller.policy, request_id, client).await?;
        let by = format!("client:{}", caller.client.id);
        self.flag_loaded(request, &caller.policy, &by, reason, Channel::Api).await
    }

    /// Whoever holds a reviewer's link says that the approval was a mistake, on its page.
    ///
    /// Refuses with `not_found`, `link_expired`, `not_approved`, or `invalid_request` for a nonce that this link's page
    /// did not mint within a day.
    pub async fn flag_on_page(&self, unverified_link: &str, unverified_nonce: &str) -> Result<(), Error> {
        let (request, policy, reviewer) = self.held_by(unverified_link, unverified_nonce).await?;
        self.flag_loaded(request, &policy, reviewer.as_str(), None, Channel::Page).await?;
        Ok(())
    }

    /// Whoever holds a report's link says that an approval in it was a mistake.
    ///
    /// Refuses with `not_found`, `link_expired`, `not_approved`, or `invalid_request` for an old nonce.
    pub async fn flag_in_report(
        &self,
        unverified_link: &str,
        unverified_nonce: &str,
        client: &ClientId,
        request_id: &RequestId,
    ) -> Result<(), Error> {
        let window = self.report_link_with_nonce(unverified_link, unverified_nonce).await?;
        let policy = self.policy().await?;
        let request = self.store.load(RequestKey::of(client, request_id)).await?.ok_or(Refusal::NotFound)?;
        // The link is of one week: it says nothing about another, not even what there was.
        if !window.contains(request.asked().created_at) {
            return Err(Refusal::NotFound.into());
        }
        self.flag_loaded(request, &policy, BY_REPORT, None, Channel::Page).await?;
        Ok(())
    }

    async fn flag_loaded(
        &self,
        request: Request,
        policy: &Arc<Policy>,
        by: &str,
        reason: Option<String>,
        channel: Channel,
    ) -> Result<Request, Error> {
        let approval = request.asked().approval_id.clone();
        let (request, _) = self
            .change_loaded(request, policy, |request, _, now| {
                // Purged and asked anew meanwhile: that is another request.
                if request.asked().approval_id != approval {
                    return Err(Refusal::NotFound);
                }
                Ok(match request.flag(by, reason.clone(), channel, now)? {
                    Some(transition) => Step::Write(Box::new(transition)),
                    None => Step::Leave,
                })
            })
            .await?;
        Ok(request)
    }

    /// The request of that name, of whichever client has one.
    pub(crate) async fn of_any_client(
        &self,
        policy: &Policy,
        request_id: &RequestId,
        client: Option<&ClientId>,
    ) -> Result<Request, Error> {
        // A client that has left the policy may be named.
        let askers: Vec<&ClientId> = match client {
            Some(client) => vec![client],
            None => policy
                .clients
                .iter()
                .filter(|one| one.has(ClientRole::Requester))
                .map(|one| &one.id)
                .collect(),
        };
        let mut found = Vec::new();
        for asker in askers {
            found.extend(self.store.load(RequestKey::of(asker, request_id)).await?);
        }
        match (found.pop(), found.is_empty()) {
            (None, _) => Err(Refusal::NotFound.into()),
            (Some(only), true) => Ok(only),
            (Some(_), false) => Err(Refusal::field(
                "client",
                "must say whose request is meant: several clients use this name",
            )
            .into()),
        }
    }
}
