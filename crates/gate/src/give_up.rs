//! A callback or hook is given up: an audit entry and an alert, in one transaction.

use placet_core::id::ClientId;
use placet_core::request::{GivenUp, Request};

use crate::commit::Step;
use crate::outbox::OutboxMessage;
use crate::ports::Measurement;
use crate::{Error, Gate};

impl Gate {
    /// Records that a message to `receiver` is given up, and alerts operators. The caller acknowledges it afterwards.
    pub async fn give_up(
        &self,
        request: Request,
        message: &OutboxMessage,
        receiver: &ClientId,
        reason: &str,
    ) -> Result<(), Error> {
        let policy = self.policy().await?;
        let approval_id = request.asked().approval_id.clone();
        self.change_loaded(request, &policy, |request, _, now| {
            if request.asked().approval_id != approval_id {
                return Ok(Step::Leave);
            }
            let given_up =
                GivenUp { client: receiver.clone(), message: message.id.clone(), reason: reason.to_owned() };
            Ok(Step::Write(Box::new(request.give_up(given_up, now))))
        })
        .await?;
        self.metrics.record(&Measurement::CallbackGivenUp);
        Ok(())
    }
}
