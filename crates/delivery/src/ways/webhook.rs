//! A signed POST (Standard Webhooks) under a secret of the way's own. The address guard is that of callbacks.

use placet_core::grammar::HostPattern;
use placet_core::policy::AlertWay;
use placet_gate::Gate;
use placet_webhook::{Message, Sender, Target};
use serde_json::{Value, json};

use super::posts;
use crate::alert::{AlertNotice, AlertState};
use crate::channel::SendOutcome;
use crate::report::ReportNotice;

/// Posts it.
pub(super) async fn send(
    gate: &Gate,
    sender: &Sender,
    way: &AlertWay,
    url: &str,
    callback_hosts: &[HostPattern],
    notice: &AlertNotice,
) -> SendOutcome {
    let kind = match notice.state {
        AlertState::Open => "alert.opened",
        AlertState::Over => "alert.over",
        AlertState::Test => "alert.test",
    };
    let data = json!({
        "kind": notice.kind,
        "matter": notice.matter,
        "severity": notice.severity.as_str(),
        "title": notice.headline(),
        "happened": notice.happened,
        "since": notice.since.to_string(),
        "what_to_do": notice.to_do,
        "gate": notice.gate,
    });
    post(gate, sender, way, (url, callback_hosts), &notice.id, kind, &data).await
}

/// Posts a weekly report.
pub(super) async fn send_report(
    gate: &Gate,
    sender: &Sender,
    way: &AlertWay,
    url: &str,
    callback_hosts: &[HostPattern],
    notice: &ReportNotice,
) -> SendOutcome {
    let data = json!({
        "from": notice.from.to_string(),
        "until": notice.until.to_string(),
        "title": notice.title,
        "lines": notice.lines,
        "link": notice.link,
        "gate": notice.gate,
    });
    post(gate, sender, way, (url, callback_hosts), &notice.id, "report.weekly", &data).await
}

async fn post(
    gate: &Gate,
    sender: &Sender,
    way: &AlertWay,
    (url, callback_hosts): (&str, &[HostPattern]),
    id: &str,
    kind: &str,
    data: &Value,
) -> SendOutcome {
    let target = match Target::parse(url, callback_hosts) {
        Ok(target) => target,
        Err(problem) => return SendOutcome::Retry(problem.to_string()),
    };
    let keyring = match gate.keyring().await {
        Ok(keyring) => keyring,
        Err(fault) => return SendOutcome::Retry(super::told(&fault)),
    };
    // Those of both epochs, the current one first, so that a rotation breaks nothing.
    let secrets: Vec<String> =
        keyring.epochs().map(|epoch| epoch.alert_secret(&way.name).expose().to_owned()).collect();
    let now = gate.now();
    let body = json!({ "type": kind, "timestamp": now.to_string(), "data": data }).to_string();
    let message = Message { id, timestamp: now.seconds(), body: body.as_bytes(), secrets: &secrets };
    // 410: by Standard Webhooks, the receiver wants no more.
    posts::outcome(sender.send(&target, callback_hosts, &message).await, "the webhook", &[410])
}
