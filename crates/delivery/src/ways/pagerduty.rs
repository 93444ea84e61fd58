//! `PagerDuty`: an incident is triggered, and resolved under the same key when its matter is over.
//!
//! Source: <https://developer.pagerduty.com/docs/send-alert-event>.

use placet_core::chat::SecretText;
use placet_core::payload::sha256_hex;
use placet_webhook::{Sender, Target};
use serde_json::{Value, json};

use super::posts;
use crate::alert::{AlertNotice, AlertState};
use crate::card::cut;
use crate::channel::SendOutcome;
use crate::slack::authority;

/// The Events API.
const PAGERDUTY_API: &str = "https://events.pagerduty.com";

/// Limits of the API, in characters.
const KEY_CHARS: usize = 255;
const SUMMARY_CHARS: usize = 1024;

/// Triggers or resolves an incident.
pub(super) async fn send(
    sender: &Sender,
    routing_key: &SecretText,
    api_url: Option<&str>,
    notice: &AlertNotice,
) -> SendOutcome {
    let url = format!("{}/v2/enqueue", api_url.unwrap_or(PAGERDUTY_API));
    let exempt: Vec<_> = api_url.and_then(authority).into_iter().collect();
    let target = match Target::parse(&url, &exempt) {
        Ok(target) => target,
        Err(problem) => return SendOutcome::Retry(problem.to_string()),
    };
    let states: &[AlertState] = match notice.state {
        // A test leaves nothing behind that somebody has to close.
        AlertState::Test => &[AlertState::Open, AlertState::Over],
        AlertState::Open => &[AlertState::Open],
        AlertState::Over => &[AlertState::Over],
    };
    for state in states {
        let body = event(routing_key, notice, *state).to_string();
        let attempt = sender.post(&target, &exempt, &[], body.as_bytes()).await;
        // 400: never to be sent again as it is. Everything else can be mended: a key, a service that was switched off.
        match posts::outcome(attempt, "PagerDuty", &[400]) {
            SendOutcome::Delivered(_) => {}
            failed => return failed,
        }
    }
    SendOutcome::Delivered(None)
}

fn event(routing_key: &SecretText, notice: &AlertNotice, state: AlertState) -> Value {
    let key = dedup_key(notice);
    if state == AlertState::Over {
        return json!({ "routing_key": routing_key.expose(), "event_action": "resolve", "dedup_key": key });
    }
    json!({
        "routing_key": routing_key.expose(),
        "event_action": "trigger",
        "dedup_key": key,
        "payload": {
            "summary": cut(&notice.happened, SUMMARY_CHARS),
            "source": if notice.gate.is_empty() { "placet" } else { &notice.gate },
            "severity": notice.severity.as_str(),
            "timestamp": notice.since.to_string(),
            "component": "placet",
            "class": notice.kind,
            "custom_details": { "what": notice.title, "since": notice.since.to_string(), "what_to_do": notice.to_do },
        },
        "client": "Placet",
        "client_url": notice.gate,
    })
}

/// Names the incident: the same on every try, and for what resolves it.
fn dedup_key(notice: &AlertNotice) -> String {
    let key = format!("placet:{}:{}", notice.gate, notice.matter);
    if key.chars().count() <= KEY_CHARS { key } else { format!("placet:{}", sha256_hex(key.as_bytes())) }
}

#[cfg(test)]
mod tests {
    use placet_core::Timestamp;

    use super::*;

    #[test]
    fn a_key_is_the_same_for_both_events_and_never_too_long() {
        let notice = AlertNotice::trial("ops", Timestamp::from_millis(0), "https://gate.example.com");
        let key = |state| event(&SecretText::new("k"), &notice, state)["dedup_key"].clone();
        assert_eq!(key(AlertState::Open), "placet:https://gate.example.com:test:ops");
        assert_eq!(key(AlertState::Open), key(AlertState::Over));
        let long = AlertNotice { matter: "x".repeat(300), ..notice };
        assert_eq!(dedup_key(&long).len(), 71);
    }
}
