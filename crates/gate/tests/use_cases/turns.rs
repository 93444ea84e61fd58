//! `notify = "rotate"`: reviewers take turns, all may decide, and nobody is forgotten.

use std::collections::BTreeMap;

use placet_gate::ports::{OutboxMessage, OutboxPayload};
use placet_testkit::{FixedClock, MemoryStore, World, question};
use serde_json::json;

use super::{approve, asked, stored};

const POLICY: &str = r#"
issuer = "https://gate.example.com"
[[clients]]
id = "n8n"
bearer = true
owner = "olive"
[[reviewers]]
id = "ann"
roles = ["team"]
[[reviewers]]
id = "ben"
roles = ["team"]
[[reviewers]]
id = "cid"
roles = ["team"]
[[reviewers]]
id = "olive"
roles = ["team"]
[[rules]]
name = "two"
when = 'action == "two"'
approvals = 2
notify = "rotate"
stages = [{ ask = ["team"], within = "10m" }]
[[rules]]
name = "one"
stages = [{ ask = ["team"], within = "10m", notify = "rotate" }]
"#;

async fn world() -> World {
    let clock = FixedClock::new();
    let world = World::with_policy(MemoryStore::new(clock.clone()), clock, POLICY).await;
    world.deliver_all().await;
    world.dispatcher.take();
    world
}

fn told(messages: &[OutboxMessage]) -> Vec<String> {
    let who = |message: &OutboxMessage| match &message.payload {
        OutboxPayload::Notify { reviewer, .. } => Some(reviewer.to_string()),
        _ => None,
    };
    let mut told: Vec<String> = messages.iter().filter_map(who).collect();
    told.sort();
    told
}

/// Whom the commit's own messages told: what is due later is not handed over.
fn told_at_once(world: &World) -> Vec<String> {
    let handed: Vec<OutboxMessage> =
        world.dispatcher.take().into_iter().flat_map(|work| work.messages).collect();
    told(&handed)
}

#[tokio::test]
async fn each_request_is_told_to_the_next_one() {
    let world = world().await;
    let mut turns: BTreeMap<String, u32> = BTreeMap::new();
    for number in 0..6 {
        asked(&world, question(&format!("r{number}"), "one", &json!({}))).await;
        let told = told_at_once(&world);
        assert_eq!(told.len(), 1, "{told:?}");
        *turns.entry(told[0].clone()).or_default() += 1;
    }
    // The owner, who could only reject, has no turn.
    let even = [("ann", 2), ("ben", 2), ("cid", 2)].map(|(who, times)| (who.to_owned(), times));
    assert_eq!(turns, even.into());
}

#[tokio::test]
async fn as_many_are_told_as_must_approve() {
    let world = world().await;
    let mut turns: BTreeMap<String, u32> = BTreeMap::new();
    for number in 0..3 {
        asked(&world, question(&format!("r{number}"), "two", &json!({}))).await;
        let told = told_at_once(&world);
        assert_eq!(told.len(), 2, "{told:?}");
        for who in told {
            *turns.entry(who).or_default() += 1;
        }
    }
    assert!(turns.values().all(|times| *times == 2) && turns.len() == 3, "{turns:?}");
}

#[tokio::test]
async fn the_others_are_told_at_half_time_and_may_decide_before() {
    let world = world().await;
    let request = asked(&world, question("r1", "one", &json!({}))).await;
    let first = told_at_once(&world);
    let due = |at| world.store.due_messages(FixedClock::START.plus_millis(at), 100);
    let at_first = due(299_999).await.unwrap();
    assert_eq!(told(&at_first), first);
    world.store.ack(&at_first[0].id).await.unwrap();
    let late = due(300_000).await.unwrap();
    assert_eq!(told(&late).len(), 3);
    world.clock.advance(300_000);
    world.gate.sweep().await.unwrap();
    assert_eq!(told_at_once(&world).len(), 3, "the sweep hands them over");
    let other = ["ann", "ben", "cid"].into_iter().find(|who| *who != first[0]).unwrap();
    approve(&world, &request, other).await.unwrap();
    assert_eq!(stored(&world, &request).await.status().as_str(), "approved");
}
