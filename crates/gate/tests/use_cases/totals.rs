//! Running totals: a payment that was split up meets the rule for the whole, however its parts are asked.

use placet_core::payload::Payload;
use placet_core::policy::Decision;
use placet_core::request::{Edit, Given, Status};
use placet_gate::RequestFields;
use placet_testkit::{FixedClock, MemoryStore, World, question};
use serde_json::json;

use super::{approve, ask, asked, code, stored};

const POLICY: &str = r#"
issuer = "https://gate.example.com"
[[clients]]
id = "n8n"
bearer = true
rate_per_minute = 1000
[[clients]]
id = "zapier"
bearer = true
[[reviewers]]
id = "bob"
roles = ["finance"]
[[rules]]
name = "too often"
when = 'action == "ping" && count("1h", "action") > 3'
decide = "reject"
[[rules]]
name = "ping"
when = 'action == "ping"'
decide = "approve"
[[rules]]
name = "much"
when = 'action == "pay" && total("payload.amount", "24h", "payload.to") > 100'
stages = [{ ask = ["finance"], within = "10m" }]
[[rules]]
name = "little"
when = 'action == "pay"'
decide = "approve"
"#;

async fn world() -> World {
    let clock = FixedClock::new();
    World::with_policy(MemoryStore::new(clock.clone()), clock, POLICY).await
}

fn pay(name: &str, to: &str, amount: f64) -> RequestFields {
    question(name, "pay", &json!({ "amount": amount, "to": to }))
}

async fn hit(world: &World, fields: RequestFields) -> String {
    asked(world, fields).await.asked().rule.clone().unwrap()
}

#[tokio::test]
async fn a_payment_that_was_split_up_meets_the_rule_for_the_whole() {
    let world = world().await;
    assert_eq!(hit(&world, pay("r1", "acme", 60.0)).await, "little");
    // Another recipient and another client have totals of their own.
    assert_eq!(hit(&world, pay("r2", "zoe", 60.0)).await, "little");
    let other = ask(&world, "zapier", pay("r1", "acme", 60.0)).await.unwrap().request;
    assert_eq!(other.asked().rule.as_deref(), Some("little"));
    assert_eq!(hit(&world, pay("r3", "acme", 40.0)).await, "little");
    assert_eq!(hit(&world, pay("r4", "acme", 0.5)).await, "much");
    // Asked under the same name again it is the same request, and counts once.
    let again = ask(&world, "n8n", pay("r3", "acme", 40.0)).await.unwrap();
    assert!(!again.is_new);
    // Nobody makes room by paying less than nothing.
    assert_eq!(hit(&world, pay("r5", "acme", -500.0)).await, "much");
    assert_eq!(hit(&world, pay("r6", "acme", 1.0)).await, "much");
    world.clock.advance(placet_core::time::DAY_MS);
    assert_eq!(hit(&world, pay("r7", "acme", 60.0)).await, "little");
}

#[tokio::test]
async fn what_waits_or_was_approved_counts_and_what_ended_otherwise_does_not() {
    let world = world().await;
    for (name, end) in [("rejected", Some(Decision::Reject)), ("expired", None), ("cancelled", None)] {
        let to = format!("to-{name}");
        let request = asked(&world, pay(&format!("{name}-1"), &to, 150.0)).await;
        assert_eq!(request.status(), Status::Pending);
        assert_eq!(hit(&world, pay(&format!("{name}-2"), &to, 1.0)).await, "much", "what waits counts");
        let small = world.stored("n8n", &format!("{name}-2")).await.unwrap();
        for one in [&request, &small] {
            match (name, end) {
                (_, Some(decision)) => {
                    let link = super::link(&world, one, "bob").await;
                    world.decide(&link, decision, None).await.unwrap();
                }
                ("expired", None) => {}
                _ => {
                    let caller = world.caller("n8n").await;
                    world.gate.cancel(&caller, &one.asked().request_id).await.unwrap();
                }
            }
        }
        if name == "expired" {
            world.clock.advance(600_000);
            world.gate.sweep().await.unwrap();
        }
        assert_ne!(stored(&world, &request).await.status(), Status::Pending);
        assert_eq!(
            hit(&world, pay(&format!("{name}-3"), &to, 60.0)).await,
            "little",
            "{name} no longer counts"
        );
    }
    let request = asked(&world, pay("approved-1", "to-approved", 150.0)).await;
    approve(&world, &request, "bob").await.unwrap();
    assert_eq!(hit(&world, pay("approved-2", "to-approved", 1.0)).await, "much");
}

#[tokio::test]
async fn requests_are_counted() {
    let world = world().await;
    let ping = |name: &str| question(name, "ping", &json!({}));
    for name in ["a", "b", "c"] {
        assert_eq!(hit(&world, ping(name)).await, "ping");
    }
    assert_eq!(hit(&world, ping("d")).await, "too often");
    // What policy rejected at once never counted, so the fourth is not counted against the fifth.
    world.clock.advance(60 * 60 * 1000);
    assert_eq!(hit(&world, ping("e")).await, "ping");
}

#[tokio::test]
async fn an_amount_that_is_no_number_goes_to_a_person() {
    let world = world().await;
    let odd = question("r1", "pay", &json!({ "amount": "60", "to": "acme" }));
    assert_eq!(hit(&world, odd).await, "much");
    let none = question("r2", "pay", &json!({ "to": "acme" }));
    assert_eq!(hit(&world, none).await, "much");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_two_parts_pass_below_the_limit_at_the_same_time() {
    let world = std::sync::Arc::new(world().await);
    let tasks: Vec<_> = (0..12)
        .map(|number| {
            let world = std::sync::Arc::clone(&world);
            tokio::spawn(async move { hit(&world, pay(&format!("r{number}"), "acme", 30.0)).await })
        })
        .collect();
    let mut little = 0;
    for task in tasks {
        little += usize::from(task.await.unwrap() == "little");
    }
    assert_eq!(little, 3, "3 times 30 stay within 100, however they race");
    let _ = code(Ok::<_, placet_gate::Error>(()));
}

#[tokio::test]
async fn a_total_that_only_observes_stands_in_nobodys_way() {
    let clock = FixedClock::new();
    let people = POLICY.split("[[rules]]").next().unwrap();
    let observed = format!(
        r#"{people}[[rules]]
name = "watched"
mode = "observe"
when = 'total("payload.amount", "24h") > 10'
stages = [{{ ask = ["finance"], within = "10m" }}]
[[rules]]
name = "edited"
when = 'action == "edit"'
editable = ["payload.amount"]
stages = [{{ ask = ["finance"], within = "10m" }}]
"#
    );
    let world = World::with_policy(MemoryStore::new(clock.clone()), clock, &observed).await;
    let request = asked(&world, question("r1", "edit", &json!({ "amount": 5 }))).await;
    assert_eq!(request.asked().rule.as_deref(), Some("edited"));
    let link = super::link(&world, &request, "bob").await;
    let nonce = world.gate.review(&link).await.unwrap().nonce;
    // More than was counted when it was asked: only an observing rule has counted it.
    let digest = Payload::new(json!({ "amount": 50 }).as_object().unwrap()).unwrap().sha256();
    let edits = vec![Edit { path: "payload.amount".into(), text: "50".into() }];
    let given = Given { edits, payload_sha256: Some(digest), ..Given::default() };
    let ended = world.gate.decide_with(&link, &nonce, Decision::Approve, None, given).await.unwrap();
    assert_eq!(ended.request.state().status(), Status::Approved);
}
