//! Withdrawing a request.

use placet_core::id::{ClientId, RequestId, RequestKey};
use placet_core::policy::ClientRole;
use placet_core::request::{Canceller, Request};

use crate::authenticate::Caller;
use crate::commit::Step;
use crate::{Error, Gate};

impl Gate {
    /// Withdraws a client's own request. [`Error::Ended`] if it has ended.
    pub async fn cancel(&self, caller: &Caller, request_id: &RequestId) -> Result<Request, Error> {
        caller.must_be(ClientRole::Requester)?;
        self.cancel_as(Canceller::Asker, &caller.client.id, request_id).await
    }

    /// Withdraws a request as the operator. [`Error::Ended`] if it has ended.
    pub async fn cancel_by_operator(
        &self,
        client: &ClientId,
        request_id: &RequestId,
    ) -> Result<Request, Error> {
        self.cancel_as(Canceller::Operator, client, request_id).await
    }

    async fn cancel_as(&self, by: Canceller, client: &ClientId, id: &RequestId) -> Result<Request, Error> {
        let policy = self.policy().await?;
        let (request, _) = self
            .change(RequestKey::of(client, id), &policy, |request, _, now| {
                Ok(Step::Write(Box::new(request.cancel(by, now)?)))
            })
            .await?;
        Ok(request)
    }
}
