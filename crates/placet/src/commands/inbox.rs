//! `placet inbox`: what waits for a decision.

use placet_core::Timestamp;
use placet_core::id::ReviewerId;
use placet_core::policy::Policy;
use placet_core::request::Request;
use placet_gate::{ApprovalView, Gate};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::sync::Arc;

use super::Opened;
use crate::cli::{Globals, Inbox};
use crate::console::{Style, harmless, print};
use crate::failure::{Exit, Failure};
use crate::text::{shorten, span, table};

/// At most so many are shown.
const LIMIT: usize = 200;

/// Lists what waits: all of it, or what one reviewer is asked, with their links; or prints their inbox's link.
pub(crate) async fn run(globals: &Globals, options: Inbox) -> Result<Exit, Failure> {
    let Opened { gate, policy, .. } = Opened::of(globals, &options.on).await?;
    match options.reviewer {
        Some(reviewer) if options.link => {
            let reviewer = known_reviewer(&reviewer, &policy)?;
            let link =
                gate.inbox_link(&reviewer, &policy).await.map_err(|error| Failure::fault(error.chain()))?;
            let url = format!("{}/inbox/{link}", gate.base_url(&policy));
            if globals.json {
                print(&super::pretty(&json!({ "reviewer": reviewer.as_str(), "url": url })));
            } else {
                print(&format!("{url}\n"));
            }
            Ok(Exit::Done)
        }
        Some(reviewer) => of_reviewer(globals, &gate, &policy, &known_reviewer(&reviewer, &policy)?).await,
        None => of_all(globals, &gate, &policy).await,
    }
}

/// The reviewer of that name.
pub(crate) fn known_reviewer(id: &str, policy: &Policy) -> Result<ReviewerId, Failure> {
    let known = ReviewerId::parse(id).ok().filter(|id| policy.reviewer(id).is_some());
    known.ok_or_else(|| {
        let names: Vec<&str> = policy.reviewers.iter().map(|reviewer| reviewer.id.as_str()).collect();
        Failure::refused(format!("no reviewer `{id}` is in the policy"))
            .with_code("no_such_reviewer")
            .advise(format!("its reviewers are: {}", names.join(", ")))
    })
}

async fn of_all(globals: &Globals, gate: &Gate, policy: &Policy) -> Result<Exit, Failure> {
    let now = gate.now();
    let mut requests = gate.all_pending(LIMIT.saturating_add(1)).await?;
    let more = requests.len() > LIMIT;
    requests.truncate(LIMIT);
    // What is past its deadline has ended, though nobody may have written it down yet.
    requests.retain(|request| !request.is_overdue(now));
    if globals.json {
        let base_url = gate.base_url(policy);
        let waiting: Vec<Value> = requests
            .iter()
            .map(|request| {
                let mut value = placet_http::wire::approval(&ApprovalView::of(request, None, &base_url));
                add(&mut value, "asked", json!(asked(request)));
                value
            })
            .collect();
        print(&super::pretty(&json!({ "waiting": waiting, "more": more })));
        return Ok(Exit::Done);
    }
    if requests.is_empty() {
        print("nothing waits\n");
        return Ok(Exit::Done);
    }
    let heading =
        ["REQUEST", "CLIENT", "ACTION", "WAITS FOR", "CLOSES IN", "SUMMARY"].map(str::to_owned).to_vec();
    let rows = requests.iter().map(|request| {
        vec![
            request.asked().request_id.to_string(),
            request.asked().client.to_string(),
            harmless(&request.asked().action),
            shorten(&asked(request).join(", "), 30),
            closes_in(request, now),
            shorten(&harmless(request.asked().shown_summary()), 50),
        ]
    });
    print(&table(&std::iter::once(heading).chain(rows).collect::<Vec<_>>()));
    if more {
        print(&format!("and more: the first {LIMIT} by deadline are shown\n"));
    }
    Ok(Exit::Done)
}

async fn of_reviewer(
    globals: &Globals,
    gate: &Gate,
    policy: &Arc<Policy>,
    reviewer: &ReviewerId,
) -> Result<Exit, Failure> {
    let base_url = gate.base_url(policy);
    let inbox = format!("{base_url}/inbox/{}", gate.inbox_link(reviewer, policy).await?);
    let found = gate.waiting_for(reviewer, policy).await?;
    let waiting = &found.items;
    if globals.json {
        let waiting: Vec<Value> = waiting
            .iter()
            .map(|waiting| {
                let view = ApprovalView::of(&waiting.request, None, &base_url);
                let mut value = placet_http::wire::approval(&view);
                add(&mut value, "link", json!(format!("{base_url}/r/{}", waiting.link)));
                add(&mut value, "voted", json!(waiting.voted));
                value
            })
            .collect();
        print(&super::pretty(&json!({
            "reviewer": reviewer.as_str(),
            "inbox": inbox,
            "waiting": waiting,
            "more": found.more,
        })));
        return Ok(Exit::Done);
    }
    let style = Style::of_stdout();
    let mut text = format!("inbox of {reviewer}: {}\n", style.link(&inbox));
    if waiting.is_empty() {
        text.push_str("nothing waits\n");
    }
    for one in waiting {
        let asked = one.request.asked();
        let voted = one.voted.map_or_else(String::new, |decision| format!(", {decision} already said"));
        let _ = writeln!(
            text,
            "\n{} of {}: {}{voted}, closes in {}\n  {}\n  {}\n  {}",
            style.bold(asked.request_id.as_str()),
            asked.client,
            harmless(&asked.action),
            closes_in(&one.request, gate.now()),
            style.bold(&asked.headline_of(one.request.state().payload(asked))),
            shorten(&harmless(asked.shown_summary()), 100),
            style.link(&format!("{base_url}/r/{}", one.link)),
        );
    }
    if found.more > 0 {
        let _ = writeln!(text, "\nand {} more, with later deadlines", found.more);
    }
    print(&text);
    Ok(Exit::Done)
}

/// Whom a request waits for.
fn asked(request: &Request) -> Vec<String> {
    let Some(pending) = request.pending() else { return Vec::new() };
    match request.asked().stage_queue(pending.stage) {
        Some(queue) => vec![format!("queue:{queue}")],
        None => pending.asked.iter().map(|asked| asked.reviewer.to_string()).collect(),
    }
}

fn closes_in(request: &Request, now: Timestamp) -> String {
    request.pending().map_or_else(String::new, |pending| span(pending.closes_at.millis_since(now)))
}

fn add(value: &mut Value, key: &str, member: Value) {
    if let Some(object) = value.as_object_mut() {
        object.insert(key.to_owned(), member);
    }
}
