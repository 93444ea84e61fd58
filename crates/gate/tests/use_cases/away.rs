//! A reviewer says that they are away, or back: whom that asks, who may then decide, and what is recorded.

use placet_core::audit::AuditEventKind;
use placet_core::id::ReviewerId;
use placet_core::policy::Decision;
use placet_gate::Whereabouts;
use placet_gate::ports::OutboxPayload;
use placet_testkit::{FixedClock, MemoryStore, Trail as _, World, question};
use serde_json::json;

use super::{asked, code, link, stored};

const HOUR_MS: i64 = 60 * 60 * 1000;

const POLICY: &str = r#"
issuer = "https://gate.example.com"
[[clients]]
id = "n8n"
bearer = true
[[reviewers]]
id = "bob"
roles = ["finance"]
away = [{ from = 1999-01-01, until = 1999-01-02, backup = "erin" }]
[[reviewers]]
id = "carol"
roles = ["finance", "chief"]
[[reviewers]]
id = "dave"
roles = ["chief"]
[[reviewers]]
id = "erin"
roles = []
[[rules]]
name = "payments"
stages = [{ ask = ["finance"], within = "10d" }, { ask = ["chief"], within = "10d" }]
"#;

async fn world() -> (World, std::sync::Arc<MemoryStore>) {
    let clock = FixedClock::new();
    let store = MemoryStore::new(clock.clone());
    let world = World::with_policy(store.clone(), clock, POLICY).await;
    world.deliver_all().await;
    (world, store)
}

async fn say(world: &World, who: &str, hours: i64, backup: Option<&str>) -> String {
    let policy = world.gate.policy().await.unwrap();
    let link = world.gate.inbox_link(&ReviewerId::parse(who).unwrap(), &policy).await.unwrap().to_string();
    let nonce = world.gate.inbox(&link).await.unwrap().nonce;
    let backup = backup.map(|id| ReviewerId::parse(id).unwrap());
    let said = match hours {
        0 => Whereabouts::Back,
        hours => Whereabouts::Away { for_ms: hours * HOUR_MS, backup },
    };
    code(world.gate.say_whereabouts(&link, &nonce, said).await)
}

/// Who was told since the last look.
async fn told(world: &World) -> Vec<String> {
    let mut messages = Vec::new();
    loop {
        // A look at what is open makes messages of its own.
        let delivered = world.deliver_all().await;
        if delivered.is_empty() {
            break;
        }
        messages.extend(delivered);
    }
    let mut told: Vec<String> = messages
        .into_iter()
        .filter_map(|message| match message.payload {
            OutboxPayload::Notify { reviewer, .. } => Some(reviewer.to_string()),
            _ => None,
        })
        .collect();
    told.sort();
    told.dedup();
    told
}

fn pay(name: &str) -> placet_gate::RequestFields {
    question(name, "pay", &json!({ "run": name }))
}

#[tokio::test]
async fn who_is_away_is_not_asked_and_a_stand_in_is() {
    let (world, store) = world().await;
    asked(&world, pay("before")).await;
    assert_eq!(told(&world).await, ["bob", "carol"]);
    assert_eq!(say(&world, "bob", 2, Some("erin")).await, "ok");
    // What is open is looked at again: erin is asked for it, too.
    assert_eq!(told(&world).await, ["erin"]);
    let during = asked(&world, pay("during")).await;
    assert_eq!(told(&world).await, ["carol", "erin"]);
    // Bob still may decide; so may erin, and her vote counts though bob comes back.
    assert!(!world.gate.inbox(&inbox(&world, "bob").await).await.unwrap().items.is_empty());
    let of_erin = link(&world, &during, "erin").await;
    world.decide(&of_erin, Decision::Approve, None).await.unwrap();
    assert_eq!(stored(&world, &during).await.status().as_str(), "approved");
    assert_eq!(say(&world, "bob", 0, None).await, "ok");
    asked(&world, pay("after")).await;
    assert_eq!(told(&world).await, ["bob", "carol"]);
    let trail = store.audit_of("policy").await;
    let kinds: Vec<_> = trail.iter().map(|entry| (entry.event, entry.actor.as_str())).collect();
    assert_eq!(
        kinds,
        [
            (AuditEventKind::PolicyInstalled, "operator"),
            (AuditEventKind::ReviewerAway, "bob"),
            (AuditEventKind::ReviewerBack, "bob"),
        ]
    );
}

async fn inbox(world: &World, who: &str) -> String {
    let policy = world.gate.policy().await.unwrap();
    world.gate.inbox_link(&ReviewerId::parse(who).unwrap(), &policy).await.unwrap().to_string()
}

#[tokio::test]
async fn only_whom_the_policy_allows_stands_in() {
    let (world, _) = world().await;
    for (who, backup, expected) in [
        // Named in the file as bob's backup, on whatever day; and who has all of bob's roles.
        ("bob", "erin", "ok"),
        ("bob", "carol", "ok"),
        ("bob", "dave", "invalid_request"),
        ("bob", "bob", "invalid_request"),
        ("carol", "bob", "invalid_request"),
        ("dave", "carol", "ok"),
        ("dave", "erin", "invalid_request"),
        // Without a role there is nothing to stand in for.
        ("erin", "bob", "invalid_request"),
    ] {
        assert_eq!(say(&world, who, 1, Some(backup)).await, expected, "{who} {backup}");
    }
    assert_eq!(say(&world, "bob", 28 * 24 + 1, None).await, "invalid_request");
    let policy = world.gate.policy().await.unwrap();
    let bob = world.gate.inbox_link(&ReviewerId::parse("bob").unwrap(), &policy).await.unwrap().to_string();
    assert_eq!(code(world.gate.say_whereabouts(&bob, "1-2", Whereabouts::Back).await), "invalid_request");
    assert_eq!(code(world.gate.say_whereabouts("nobody", "1-2", Whereabouts::Back).await), "not_found");
}

#[tokio::test]
async fn where_all_of_a_stage_are_away_the_next_one_is_asked() {
    let (world, _) = world().await;
    let request = asked(&world, pay("r1")).await;
    told(&world).await;
    assert_eq!(say(&world, "bob", 5, None).await, "ok");
    assert_eq!(told(&world).await, [""; 0]);
    assert_eq!(say(&world, "carol", 5, None).await, "ok");
    assert_eq!(told(&world).await, ["dave"]);
    assert_eq!(stored(&world, &request).await.pending().unwrap().stage, 1);
}

#[tokio::test]
async fn an_absence_outlives_a_new_text_and_ends_by_itself() {
    let (world, _) = world().await;
    assert_eq!(say(&world, "bob", 2, None).await, "ok");
    world.install(&format!("{POLICY}\n# a comment\n")).await;
    told(&world).await;
    asked(&world, pay("r1")).await;
    assert_eq!(told(&world).await, ["carol"]);
    let policy = world.gate.policy().await.unwrap();
    let back_at = policy.next_absence_change(placet_gate::ports::Clock::now(&*world.clock)).unwrap();
    assert_eq!(back_at, FixedClock::START.plus_millis(2 * HOUR_MS));
    world.clock.set(back_at);
    asked(&world, pay("r2")).await;
    assert_eq!(told(&world).await, ["bob", "carol"]);
}

#[tokio::test]
async fn nobody_makes_versions_without_end() {
    let (world, _) = world().await;
    let mut said = Vec::new();
    for _ in 0..25 {
        said.push(say(&world, "bob", 1, None).await);
        world.clock.advance(1000);
    }
    assert_eq!(said.iter().filter(|one| *one == "ok").count(), 20);
    assert_eq!(said.last().map(String::as_str), Some("rate_limited"));
    assert_eq!(say(&world, "bob", 0, None).await, "ok", "back at any time");
}

/// Who is away and who stands in for them are one voice, and nobody hands on more than they have.
#[tokio::test]
async fn a_stand_in_adds_no_seat_and_takes_over_what_bars_the_owner() {
    let clock = FixedClock::new();
    let store = MemoryStore::new(clock.clone());
    let policy = POLICY
        .replace("name = \"payments\"\n", "name = \"payments\"\napprovals = 2\n")
        .replace("id = \"n8n\"\n", "id = \"n8n\"\nowner = \"carol\"\n")
        .replace(
            "id = \"carol\"\n",
            "id = \"carol\"\naway = [{ from = 1999-01-01, until = 1999-01-02, backup = \"dave\" }]\n",
        )
        + "[[reviewers]]\nid = \"fay\"\nroles = [\"finance\"]\n";
    let world = World::with_policy(store, clock, &policy).await;
    let request = asked(&world, pay("r1")).await;
    assert_eq!(say(&world, "bob", 2, Some("erin")).await, "ok");
    assert_eq!(say(&world, "carol", 2, Some("dave")).await, "ok");
    told(&world).await;
    for who in ["bob", "erin"] {
        let link = link(&world, &request, who).await;
        world.decide(&link, Decision::Approve, None).await.unwrap();
        assert_eq!(stored(&world, &request).await.status().as_str(), "pending", "{who}");
    }
    let daves = link(&world, &request, "dave").await;
    assert_eq!(code(world.decide(&daves, Decision::Approve, None).await), "forbidden");
    let fays = link(&world, &request, "fay").await;
    world.decide(&fays, Decision::Approve, None).await.unwrap();
    let ended = stored(&world, &request).await;
    assert_eq!(ended.status().as_str(), "approved");
    assert_eq!(ended.claims().unwrap().decided_by, ["bob", "fay"]);
}
