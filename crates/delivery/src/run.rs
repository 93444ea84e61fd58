//! Whether the n8n run that asked still waits: a request whose run is over is withdrawn, and nobody is asked for it.

use std::time::Duration;

use placet_core::request::Request;
use placet_gate::outbox::OutboxMessage;
use placet_gate::{Error, next_look_ms, waiting_run};

use crate::worker::{Progress, Worker};

/// How long n8n may keep somebody from being told.
const LOOK_TIMEOUT: Duration = Duration::from_secs(3);
/// What is told within this time after the question, in milliseconds, is told without a look: the run has just asked.
const JUST_ASKED_MS: i64 = 30_000;

impl Worker {
    /// Looks now and then, until the request has ended.
    pub(crate) async fn look_at_run(
        &self,
        message: &OutboxMessage,
        request: &Request,
    ) -> Result<Progress, Error> {
        let now = self.gate.now();
        if now < message.created_at {
            return self.hold_until(message, message.created_at).await;
        }
        if waiting_run(request).is_none() || self.withdrawn_for_run(request).await? {
            return self.ack(message).await;
        }
        let looks = message.attempt.saturating_add(1);
        self.put_off(message, looks, now.plus_millis(next_look_ms(looks))).await
    }

    /// A look before somebody is told of what was not asked just now. `true` where nobody needs to be.
    pub(crate) async fn run_is_over_by_now(
        &self,
        message: &OutboxMessage,
        request: &Request,
    ) -> Result<bool, Error> {
        let age_ms = self.gate.now().millis_since(request.asked().created_at);
        // Tried again: it was looked before the first try, and n8n is not to be asked with each.
        if age_ms < JUST_ASKED_MS || message.attempt > 0 {
            return Ok(false);
        }
        self.withdrawn_for_run(request).await
    }

    async fn withdrawn_for_run(&self, request: &Request) -> Result<bool, Error> {
        let Some(url) = waiting_run(request) else { return Ok(false) };
        let policy = self.gate.policy().await?;
        let Some(client) = policy.client(&request.asked().client) else { return Ok(false) };
        let look = self.parts.webhooks.run_is_over(url, &client.callback_hosts);
        if !tokio::time::timeout(LOOK_TIMEOUT, look).await.unwrap_or(false) {
            return Ok(false);
        }
        tracing::info!(approval.id = %request.asked().approval_id, "the n8n run that asked is over; its request is withdrawn");
        self.gate.withdraw_for_run(request.clone()).await?;
        Ok(true)
    }
}
