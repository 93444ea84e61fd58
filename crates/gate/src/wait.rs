//! Reading a request, or waiting for its end: the long poll.

use std::time::Duration;

use placet_core::id::{RequestId, RequestKey};
use placet_core::policy::ClientRole;
use placet_core::request::Request;
use tokio::time::Instant;

use crate::authenticate::Caller;
use crate::{Error, Gate};

impl Gate {
    /// A client's own request: now, or as soon as it ends, at the latest after `wait`.
    pub async fn wait(
        &self,
        caller: &Caller,
        request_id: &RequestId,
        wait: Duration,
    ) -> Result<Request, Error> {
        caller.must_be(ClientRole::Requester)?;
        let key = RequestKey::of(&caller.client.id, request_id);
        if wait.is_zero() {
            return self.settled(key).await;
        }
        let until = Instant::now() + wait;
        let mut watch = self.store.watch(key);
        loop {
            let request = self.settled(key).await?;
            let Some(pending) = request.pending() else { return Ok(request) };
            if Instant::now() >= until {
                return Ok(request);
            }
            // The waiter also wakes at the deadline, and settles it: it need not wait for the sweep.
            let left_ms = pending.closes_at.millis_since(self.clock.now()).max(1);
            let closes = Instant::now() + Duration::from_millis(u64::try_from(left_ms).unwrap_or(1));
            tokio::select! {
                () = watch.changed() => {}
                () = tokio::time::sleep_until(until.min(closes)) => {}
            }
        }
    }
}
