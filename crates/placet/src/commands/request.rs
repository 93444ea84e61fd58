//! `placet request`: ask from a shell or a CI job, and wait for the answer.

use std::fmt::Write as _;

use placet_core::Timestamp;
use serde_json::{Value, json};

use super::asking::{Asking, Waited, is_pending, request_id};
use crate::cli::{Globals, Request};
use crate::console::{Style, harmless, note, print};
use crate::failure::{Exit, Failure};
use crate::signals::Signals;
use crate::text::clock_time;

/// Asks.
pub(crate) async fn run(globals: &Globals, options: Request) -> Result<Exit, Failure> {
    let payload = match &options.payload {
        Some(path) => super::read_object(path)?,
        None => json!({}),
    };
    let request_id = request_id(options.request_id.as_deref(), "cli")?;
    let mut question = json!({
        "request_id": request_id,
        "action": options.action,
        "summary": options.summary,
        "payload": payload,
    });
    if let (Some(timeout), Some(question)) = (options.timeout, question.as_object_mut()) {
        question.insert("timeout_seconds".into(), timeout.as_secs().into());
    }

    // From here on a signal takes the question back, however early it comes.
    let mut signals = Signals::catch_with_hangup()?;
    let asking = Asking::prepare(globals, options.client.as_deref()).await?;
    let asked = tokio::select! {
        asked = asking.api.ask(&question) => asked,
        exit = signals.next() => {
            return end_by(&asking, exit, &request_id, &options, globals, &mut signals).await;
        }
    };
    let mut approval = asked?;
    if let Some(twin) = approval.get("pending_twin").and_then(Value::as_str) {
        note(&format!("the same action with the same payload already waits, as {}", harmless(twin)));
    }
    if is_pending(&approval) {
        asking.say_who_will_tell();
    }
    if options.wait && is_pending(&approval) {
        match asking.wait(&request_id, approval, &mut signals).await? {
            Waited::Ended(ended) => approval = ended,
            Waited::StoppedBy(exit) => {
                return end_by(&asking, exit, &request_id, &options, globals, &mut signals).await;
            }
        }
    } else if is_pending(&approval) && !globals.json {
        asking.say_who_is_asked(&approval).await;
    }
    print(&if globals.json { super::pretty(&approval) } else { describe(&approval) });
    Ok(match text(&approval, "status") {
        "approved" | "pending" => Exit::Done,
        _ => Exit::Refused,
    })
}

/// Ends the command after a signal: the question is withdrawn, unless it is to be kept.
async fn end_by(
    asking: &Asking,
    exit: Exit,
    request_id: &str,
    options: &Request,
    globals: &Globals,
    signals: &mut Signals,
) -> Result<Exit, Failure> {
    if options.keep {
        note(&format!(
            "stopped waiting; the request still waits. Wait again with the same command and --request-id {request_id}"
        ));
        return Ok(exit);
    }
    asking.withdraw(exit, request_id, globals, signals).await
}

/// A text of an approval.
pub(crate) fn text<'v>(approval: &'v Value, key: &str) -> &'v str {
    approval.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A time of an approval.
pub(crate) fn time(approval: &Value, key: &str) -> Option<Timestamp> {
    approval.get(key).and_then(Value::as_str).and_then(Timestamp::parse)
}

/// Who decided, in one line.
pub(crate) fn deciders(approval: &Value) -> String {
    let names: Vec<String> = approval
        .get("decided_by")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(harmless)
        .collect();
    names.join(", ")
}

/// The status, set off.
pub(crate) fn status(style: Style, approval: &Value) -> String {
    match text(approval, "status") {
        "approved" => style.good("approved"),
        "pending" => style.doubtful("pending"),
        other => style.bad(&harmless(other)),
    }
}

/// An approval for people; the token, if there is one, alone on the last line.
pub(crate) fn describe(approval: &Value) -> String {
    let style = Style::of_stdout();
    let by = deciders(approval);
    let by = if by.is_empty() { String::new() } else { format!(" by {by}") };
    let mut out = format!("{}{by}\n", status(style, approval));
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(out, "  {}  {}", style.dim(&format!("{name:<8}")), harmless(value));
        }
    };
    line("reason", text(approval, "reason"));
    line("request", text(approval, "request_id"));
    line("approval", text(approval, "approval_id"));
    line("action", text(approval, "action"));
    line("rule", text(approval, "rule"));
    if is_pending(approval) {
        line("until", &time(approval, "deadline").map(clock_time).unwrap_or_default());
    } else {
        line("decided", &time(approval, "decided_at").map(clock_time).unwrap_or_default());
    }
    line("digest", text(approval, "payload_sha256"));
    let token = text(approval, "token");
    if !token.is_empty() {
        let _ = writeln!(out, "{token}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_approval_reads_from_top_to_bottom_and_ends_with_its_token() {
        let approval = json!({
            "request_id": "r1", "approval_id": "01J", "client": "ci", "status": "rejected", "action": "deploy.run",
            "summary": "s", "payload_sha256": "ab", "rule": "production", "stage": 1,
            "decided_at": "2026-11-23T00:00:00.007Z", "decided_by": ["bob"], "reason": "not\u{1b}[2J today",
            "token": "e.y.J",
        });
        assert_eq!(
            describe(&approval),
            "rejected by bob\n  reason    not<U+001B>[2J today\n  request   r1\n  approval  01J\n  action    deploy[.]run\n  \
             rule      production\n  decided   2026-11-23 00:00:00 UTC\n  digest    ab\ne.y.J\n"
        );
    }
}
