//! The use cases over a store in memory: what each commits, refuses and hands over. No delivery, no HTTP.

#![expect(clippy::unwrap_used, reason = "a panic is a failed test")]

mod alerts;
mod asking;
mod away;
mod changing;
mod deadlines;
mod deciding;
mod flags;
mod inbox;
mod pausing;
mod refused;
mod tokens;
mod totals;
mod turns;
mod weekly;

use std::sync::Arc;

use placet_core::id::{RequestId, ReviewerId};
use placet_core::policy::Decision;
use placet_core::request::Request;
use placet_gate::ports::{OutboxMessage, OutboxPayload};
use placet_gate::{Asking, Error, RequestFields, Review, Settings};
use placet_testkit::{FixedClock, MemoryStore, World, question};
use serde_json::json;

const POLICY: &str = r#"
issuer = "https://gate.example.com"
[[clients]]
id = "n8n"
bearer = true
token = "HS256"
executors = ["payments"]
rate_per_minute = 300
max_pending = 250
[[clients]]
id = "zapier"
bearer = true
rate_per_minute = 2
max_pending = 2
[[clients]]
id = "payments"
roles = ["executor"]
bearer = true
[[clients]]
id = "stranger"
roles = ["executor"]
bearer = true
[[clients]]
id = "jira"
roles = ["decider"]
queues = ["backup"]
bearer = true
[[clients]]
id = "desk"
roles = ["decider"]
queues = ["other"]
bearer = true
[[clients]]
id = "auditor"
roles = ["auditor"]
bearer = true
[[reviewers]]
id = "bob"
email = "bob@example.com"
roles = ["finance"]
[[reviewers]]
id = "carol"
roles = ["finance"]
[[reviewers]]
id = "dave"
roles = ["chief"]
[[reviewers]]
id = "erin"
roles = ["second"]
[[rules]]
name = "free"
when = 'action == "free"'
decide = "approve"
[[rules]]
name = "pair"
when = 'action == "pair"'
approvals = 2
stages = [{ ask = ["finance", "chief"], within = "10m" }]
[[rules]]
name = "chief"
when = 'action == "chief"'
stages = [{ ask = ["chief"], within = "10m" }]
[[rules]]
name = "large"
when = 'action == "transfer" && payload.amount > 10000'
stages = [{ ask = ["chief"], within = "10m" }]
[[rules]]
name = "transfers"
when = 'action == "transfer"'
title = "Transfer {payload.amount} {payload.currency} to {payload.to}"
mask = ["payload.headers.authorization"]
editable = ["payload.amount", "payload.note", "payload.urgent"]
confirm = true
approvals = 2
stages = [{ ask = ["finance", "second"], within = "10m" }]
[[rules]]
name = "queue"
when = 'action == "queue"'
stages = [{ queue = "backup", within = "10m" }]
[[rules]]
name = "payments"
when = 'action == "payment.send"'
stages = [{ ask = ["finance"], within = "10m" }, { ask = ["chief"], within = "10m" }]
"#;

/// A gate over an empty store, with the policy in force and nothing left to do.
async fn world() -> (World, Arc<MemoryStore>) {
    let clock = FixedClock::new();
    let store = MemoryStore::new(clock.clone());
    let world = World::with_policy(store.clone(), clock, POLICY).await;
    world.deliver_all().await;
    world.dispatcher.take();
    (world, store)
}

/// Another process over the same store, with that policy age.
fn another(world: &World, policy_max_age_ms: Option<i64>) -> World {
    let settings = Settings { policy_max_age_ms, ..Settings::default() };
    World::with_settings(Arc::clone(&world.store), Arc::clone(&world.clock), settings)
}

fn pay(name: &str, amount: u32) -> RequestFields {
    question(name, "payment.send", &json!({ "amount": amount }))
}

fn of_action(name: &str, action: &str) -> RequestFields {
    question(name, action, &json!({ "amount": 1 }))
}

fn calling_back(fields: RequestFields, url: &str) -> RequestFields {
    RequestFields { callback_url: Some(url.to_owned()), ..fields }
}

async fn ask(world: &World, client: &str, fields: RequestFields) -> Result<Asking, Error> {
    let caller = world.caller(client).await;
    world.gate.ask(&caller, fields).await
}

async fn asked(world: &World, fields: RequestFields) -> Request {
    ask(world, "n8n", fields).await.unwrap().request
}

async fn link(world: &World, request: &Request, reviewer: &str) -> String {
    let policy = world.gate.policy().await.unwrap();
    let reviewer = ReviewerId::parse(reviewer).unwrap();
    world.gate.link(request.asked(), &reviewer, &policy).await.unwrap().to_string()
}

async fn approve(world: &World, request: &Request, reviewer: &str) -> Result<Review, Error> {
    let link = link(world, request, reviewer).await;
    world.decide(&link, Decision::Approve, None).await
}

/// The request as it is stored: nothing is settled by looking.
async fn stored(world: &World, request: &Request) -> Request {
    world.store.load(request.key()).await.unwrap().unwrap()
}

fn name(request_id: &str) -> RequestId {
    RequestId::parse(request_id).unwrap()
}

fn code<T>(result: Result<T, Error>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(Error::Refused(refusal)) => refusal.code().to_owned(),
        Err(Error::Ended(request)) => format!("ended {}", request.status()),
        Err(Error::Fault(fault)) => format!("fault: {}", fault.chain()),
    }
}

/// What messages say after their subject, in order.
fn names(messages: &[OutboxMessage]) -> Vec<String> {
    let mut names: Vec<String> = messages
        .iter()
        .map(|message| message.id.strip_prefix(&message.subject.prefix()).unwrap().to_owned())
        .collect();
    names.sort();
    names
}

fn alerts(messages: &[OutboxMessage]) -> Vec<&'static str> {
    messages
        .iter()
        .filter_map(|message| match &message.payload {
            OutboxPayload::Alert(alert) => Some(alert.kind()),
            OutboxPayload::Notify { .. }
            | OutboxPayload::Nudge { .. }
            | OutboxPayload::Remind { .. }
            | OutboxPayload::Digest { .. }
            | OutboxPayload::Refresh { .. }
            | OutboxPayload::ChatWord { .. }
            | OutboxPayload::Publish { .. }
            | OutboxPayload::Callback { .. }
            | OutboxPayload::Hook { .. }
            | OutboxPayload::AlertOver(_)
            | OutboxPayload::AlertBy { .. }
            | OutboxPayload::AlertSummary { .. }
            | OutboxPayload::Report { .. }
            | OutboxPayload::StillOpen
            | OutboxPayload::LookAtRun
            | OutboxPayload::Reassign { .. } => None,
        })
        .collect()
}
