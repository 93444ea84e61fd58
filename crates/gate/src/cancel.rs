//! Withdrawing a request.

use placet_core::id::{RequestId, RequestKey};
use placet_core::policy::ClientRole;
use placet_core::request::Request;

use crate::authenticate::Caller;
use crate::sweep::Step;
use crate::{Error, Gate};

impl Gate {
    /// Withdraws a client's own request. [`Error::Ended`] if it has ended.
    pub async fn cancel(&self, caller: &Caller, request_id: &RequestId) -> Result<Request, Error> {
        caller.must_be(ClientRole::Requester)?;
        let key = RequestKey::of(&caller.client.id, request_id);
        let (request, _) = self
            .change(key, &caller.policy, |request, now| match request.cancel(now) {
                Ok(change) => Ok(Step::Write(Box::new(change))),
                Err(refusal) => Err(refusal),
            })
            .await?;
        Ok(request)
    }
}
