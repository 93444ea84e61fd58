//! Callbacks and hooks on the wire: what is posted, and what the receiver's answer means for the next try.

use std::time::Duration;

use placet_gate::ports::{DeliveryOutcome, Post};
use placet_webhook::{Attempt, Message, Sender, Target, schedule};

use crate::wire;

/// Posts one, once.
pub async fn post(sender: &Sender, post: &Post<'_>) -> DeliveryOutcome {
    let target = match Target::parse(post.url, post.callback_hosts) {
        Ok(target) => target,
        Err(problem) => return again(post, None, problem.to_string()),
    };
    let body = wire::event(post).to_string();
    let secrets: Vec<String> = post.secrets.iter().map(|secret| secret.expose().to_owned()).collect();
    let message = Message { id: post.id, timestamp: post.sent_at, body: body.as_bytes(), secrets: &secrets };
    match sender.send(&target, post.callback_hosts, &message).await {
        Attempt::Delivered { .. } => DeliveryOutcome::Delivered,
        Attempt::Gone => DeliveryOutcome::Stop { reason: "the receiver answered 410".into() },
        Attempt::Refused { status, body, .. } if run_is_over(post.url, status, &body) => {
            DeliveryOutcome::ReceiverGone {
                reason: format!("the receiver answered {status}: its run is over"),
            }
        }
        Attempt::Refused { status, retry_after, .. } => {
            again(post, retry_after, format!("the receiver answered {status}"))
        }
        // A name can lead elsewhere tomorrow, and the operator can allow a host: neither is given up at once.
        Attempt::Unreachable { reason } | Attempt::Forbidden { reason } => again(post, None, reason),
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

/// Whether an address could ever be posted to; the reason if not.
pub fn check_url(url: &str, callback_hosts: &[String]) -> Result<(), String> {
    Target::parse(url, callback_hosts).map(drop).map_err(|problem| problem.to_string())
}

/// Another try, later, or none when it has been tried for a day.
pub fn again(post: &Post<'_>, retry_after: Option<Duration>, reason: String) -> DeliveryOutcome {
    let since_first = post.sent_at.saturating_mul(1000).saturating_sub(post.first_at.millis());
    let since_first = Duration::from_millis(u64::try_from(since_first).unwrap_or(0));
    // Without random bits the callbacks of one moment come back together, which is all.
    let random = getrandom::u64().unwrap_or_default();
    let wait = schedule::next_attempt(post.attempt.saturating_add(1), since_first, retry_after, random);
    DeliveryOutcome::Again {
        reason,
        in_ms: wait.map(|wait| i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)),
    }
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
