//! The gate as it runs in Lambdas: subscriptions read now and then, and a dispatcher whose timers reach minutes.

use std::sync::Arc;

use in_process::{StandIn, store_in};
use placet_core::id::ReviewerId;
use placet_core::policy::Decision;
use placet_gate::ports::{Closing, HookEvent};
use placet_gate::{RequestFields, Settings};
use placet_testkit::{FixedClock, World, question, sample};
use serde_json::json;

const POLICY: &str = r#"
issuer = "https://gate.example.com"
[[clients]]
id = "n8n"
roles = ["requester"]
bearer = true
rate_per_minute = 600
[[reviewers]]
id = "bob"
name = "Bob"
email = "bob@example.com"
roles = ["finance"]
[[rules]]
name = "payments"
when = 'true'
stages = [{ ask = ["finance"], within = "10m" }]
"#;

async fn lambda() -> (StandIn, World) {
    let (stand_in, clock) = (StandIn::new(), FixedClock::new());
    let store = Arc::new(store_in(&stand_in, Arc::clone(&clock)).await);
    let settings = Settings {
        policy_max_age_ms: Some(10_000),
        hooks_max_age_ms: Some(5_000),
        arm_ahead_ms: 75_000,
        ..Settings::default()
    };
    let world = World::with_settings(store, clock, settings);
    world.install(POLICY).await;
    (stand_in, world)
}

fn pay(name: &str, amount: u32) -> RequestFields {
    question(name, "payment.send", &json!({ "amount": amount }))
}

#[tokio::test]
async fn a_warm_question_costs_one_transaction_and_a_warm_decision_a_read_and_a_transaction() {
    let (stand_in, world) = lambda().await;
    let gate = &world.gate;
    let caller = world.caller("n8n").await;
    gate.ask(&caller, pay("r1", 1)).await.unwrap();
    stand_in.take_calls();
    let caller = world.caller("n8n").await;
    let asking = gate.ask(&caller, pay("r2", 2)).await.unwrap();
    assert_eq!(stand_in.take_calls(), ["TransactWriteItems"]);
    let bob = ReviewerId::parse("bob").unwrap();
    let link = gate.link(asking.request.asked(), &bob, &caller.policy).await.unwrap().to_string();
    let nonce = gate.review(&link).await.unwrap().nonce;
    assert_eq!(stand_in.take_calls(), ["GetItem"]);
    gate.decide(&link, &nonce, Decision::Approve, None).await.unwrap();
    assert_eq!(stand_in.take_calls(), ["GetItem", "TransactWriteItems"]);
}

/// A total is read where the rule for a question depends on it, and nowhere else.
#[tokio::test]
async fn only_a_question_whose_rule_adds_up_reads_what_is_added_up() {
    let (stand_in, world) = lambda().await;
    let total = POLICY.replace("when = 'true'", r#"when = 'action == "split.send" && count("1h") > 1'"#);
    world.install(&format!("{total}[[rules]]\nname = \"rest\"\ndecide = \"approve\"\n")).await;
    let caller = world.caller("n8n").await;
    let asked = async |name: &str, action: &str, amount: u32| {
        stand_in.take_calls();
        let fields = question(name, action, &json!({ "amount": amount }));
        let asking = world.gate.ask(&caller, fields).await.unwrap();
        (asking.request.asked().rule.clone().unwrap(), stand_in.take_calls())
    };
    // The first question also reads who has subscribed.
    asked("r0", "payment.send", 0).await;
    let (rule, calls) = asked("r1", "payment.send", 1).await;
    assert_eq!((rule.as_str(), calls), ("rest", vec!["TransactWriteItems".to_owned()]));
    // It was counted all the same.
    let (rule, calls) = asked("r2", "split.send", 2).await;
    assert_eq!(rule, "payments");
    assert_eq!(calls, ["GetItem", "Query", "TransactWriteItems"]);
}

#[tokio::test]
async fn subscriptions_are_read_again_after_a_while_and_after_ones_own_change() {
    let (stand_in, world) = lambda().await;
    let gate = &world.gate;
    let caller = world.caller("n8n").await;
    let decided = async |name: &str, amount| {
        gate.ask(&caller, pay(name, amount)).await.unwrap();
        world.dispatcher.take_messages().iter().filter(|message| message.id.contains("_requested_")).count()
    };
    assert_eq!(decided("r1", 1).await, 0);
    // Another process adds one: it is heard of a little later.
    world.store.add_hook(&sample::hook("n8n", 1)).await.unwrap();
    assert_eq!(decided("r2", 2).await, 0);
    world.clock.advance(5_001);
    assert_eq!(decided("r3", 3).await, 1);
    // This one adds another: at once.
    gate.subscribe(&caller, "https://b.example.com/".into(), vec![HookEvent::Requested]).await.unwrap();
    assert_eq!(decided("r4", 4).await, 2);
    stand_in.take_calls();
}

#[tokio::test]
async fn a_sweep_sets_timers_for_what_closes_before_the_next_one_and_the_one_after() {
    let (_, world) = lambda().await;
    let gate = &world.gate;
    let caller = world.caller("n8n").await;
    let asking = gate.ask(&caller, pay("r1", 1)).await.unwrap();
    let closes_at = asking.request.pending().unwrap().closes_at;
    let key = asking.request.key();
    world.dispatcher.take();
    gate.sweep().await.unwrap();
    assert_eq!(world.dispatcher.take_closing(), []);
    world.clock.set(closes_at.plus_millis(-75_000));
    let swept = gate.sweep().await.unwrap();
    assert_eq!((swept.settled, world.dispatcher.take_closing()), (0, vec![Closing { closes_at, key }]));
    world.clock.set(closes_at);
    assert_eq!(gate.sweep().await.unwrap().settled, 1);
}
