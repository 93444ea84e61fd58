//! Callbacks and hooks: one Standard Webhooks POST, and what the receiver's answer means for the next try.

#![expect(clippy::disallowed_methods, reason = "the jitter of retries is drawn here")]

use std::time::Duration;

use placet_core::Timestamp;
use placet_core::grammar::HostPattern;
use placet_core::keys::ClientSecret;
use placet_webhook::{Attempt, Message, Sender, Target, schedule};

use crate::host_limiter::HostLimiter;

/// A callback or hook to post.
pub(crate) struct WebhookDelivery<'a> {
    /// `webhook-id`: the same on every try.
    pub(crate) id: &'a str,
    /// The body.
    pub(crate) body: &'a str,
    /// Where to.
    pub(crate) url: &'a str,
    /// Hosts that may be private or plain http.
    pub(crate) callback_hosts: &'a [HostPattern],
    /// The receiver's secrets, the current one first: all sign, so that a rotation breaks nothing.
    pub(crate) secrets: &'a [ClientSecret],
    /// The time of this try.
    pub(crate) now: Timestamp,
    /// How many tries have failed.
    pub(crate) attempt: u32,
    /// When the first try was due.
    pub(crate) first_at: Timestamp,
}

/// How a post went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DeliveryOutcome {
    /// The receiver has it.
    Delivered,
    /// The receiver wants no more of these (410), or can never be posted to.
    Stop(String),
    /// The run that waited is over: nobody waits, and nobody needs to hear that nobody waits.
    ReceiverGone(String),
    /// Try again after so many milliseconds; `None` when it has been tried for a day.
    Retry {
        /// Why.
        reason: String,
        /// How long to wait.
        in_ms: Option<i64>,
    },
}

/// Posts callbacks and hooks: few at once to each host, so that a dead one holds up nobody else.
pub struct Webhooks {
    sender: Sender,
    limiter: HostLimiter,
}

impl Webhooks {
    /// Posts by that sender.
    pub fn new(sender: Sender) -> Self {
        Self { sender, limiter: HostLimiter::default() }
    }

    /// Whether n8n says that the run which waits at that resume URL is over. `false` wherever it does not say so: it is
    /// still waiting or running, cannot be reached, or answers something else.
    pub(crate) async fn run_is_over(&self, url: &str, callback_hosts: &[HostPattern]) -> bool {
        let Ok(target) = Target::parse(url, callback_hosts) else { return false };
        let (host, port) = target.host_and_port();
        let Some(_permit) = self.limiter.enter(&format!("{host}:{port}")).await else { return false };
        match self.sender.get(&target, callback_hosts).await {
            Attempt::Refused { status, body, .. } => run_is_over(url, status, &body),
            Attempt::Delivered { .. }
            | Attempt::Gone
            | Attempt::Unreachable { .. }
            | Attempt::Forbidden { .. } => false,
        }
    }

    pub(crate) async fn post(&self, delivery: &WebhookDelivery<'_>) -> DeliveryOutcome {
        let target = match Target::parse(delivery.url, delivery.callback_hosts) {
            Ok(target) => target,
            Err(problem) => return retry(delivery, None, problem.to_string()),
        };
        let (host, port) = target.host_and_port();
        let host = format!("{host}:{port}");
        let Some(_permit) = self.limiter.enter(&host).await else {
            return retry(delivery, None, format!("`{host}` is too slow for the callbacks that wait for it"));
        };
        let secrets: Vec<String> = delivery.secrets.iter().map(|secret| secret.expose().to_owned()).collect();
        let message = Message {
            id: delivery.id,
            timestamp: delivery.now.seconds(),
            body: delivery.body.as_bytes(),
            secrets: &secrets,
        };
        match self.sender.send(&target, delivery.callback_hosts, &message).await {
            Attempt::Delivered { .. } => DeliveryOutcome::Delivered,
            Attempt::Gone => DeliveryOutcome::Stop("the receiver answered 410".into()),
            Attempt::Refused { status, body, .. } if run_is_over(delivery.url, status, &body) => {
                DeliveryOutcome::ReceiverGone(format!("the receiver answered {status}: its run is over"))
            }
            Attempt::Refused { status, retry_after, .. } => {
                retry(delivery, retry_after, format!("the receiver answered {status}"))
            }
            // A name can lead elsewhere tomorrow, and the operator can allow a host: neither is given up at once.
            Attempt::Unreachable { reason } | Attempt::Forbidden { reason } => retry(delivery, None, reason),
        }
    }
}

/// Another try, later, or none when it has been tried for a day.
fn retry(delivery: &WebhookDelivery<'_>, retry_after: Option<Duration>, reason: String) -> DeliveryOutcome {
    let since_first = u64::try_from(delivery.now.millis_since(delivery.first_at)).unwrap_or(0);
    // Without random bits the callbacks of one moment come back together, which is all.
    let random = getrandom::u64().unwrap_or_default();
    let failed = delivery.attempt.saturating_add(1);
    let wait = schedule::next_attempt(failed, Duration::from_millis(since_first), retry_after, random);
    DeliveryOutcome::Retry {
        reason,
        in_ms: wait.map(|wait| i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)),
    }
}

/// Whether n8n says that the run which waited at its resume URL has ended or was deleted, which is final.
///
/// As n8n 2.40 answers: 409 `… has finished with error.` for a run that was stopped, 404 `… does not exist.` for one that
/// was deleted, both in JSON. Its other 409 (`is running already`) and its 404 while it starts, in HTML, pass.
fn run_is_over(url: &str, status: u16, body: &[u8]) -> bool {
    let final_words = match status {
        409 => "has finished",
        404 => "does not exist",
        _ => return false,
    };
    let said = || serde_json::from_slice::<serde_json::Value>(body).ok();
    url.contains("/webhook-waiting/")
        && said().is_some_and(|said| {
            said.get("message").and_then(|text| text.as_str()).is_some_and(|text| text.contains(final_words))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_run_that_n8n_calls_over_is_over() {
        const URL: &str = "https://n8n.example.com/webhook-waiting/17?signature=x";
        let finished = br#"{"code":409,"message":"The execution \"17\" has finished with error."}"#;
        let deleted = br#"{"code":404,"message":"The execution \"17\" does not exist."}"#;
        let running = br#"{"code":409,"message":"The execution \"17\" is running already."}"#;
        assert!(run_is_over(URL, 409, finished) && run_is_over(URL, 404, deleted));
        assert!(!run_is_over(URL, 409, running) && !run_is_over(URL, 404, b"<html>does not exist</html>"));
        assert!(!run_is_over(URL, 500, finished) && !run_is_over("https://x.example.com/", 409, finished));
    }
}
