//! Deadlines, the sweep, and who gets to deliver a message.

use std::time::Duration;

use placet_core::Timestamp;
use placet_core::request::Status;
use placet_gate::LEASE_MS;
use placet_gate::ports::Closing;

use super::{alerts, approve, asked, calling_back, code, link, name, names, of_action, pay, stored, world};

#[tokio::test]
async fn whoever_reads_past_the_deadline_settles_it_and_silence_never_approves() {
    let (world, _) = world().await;
    let request = asked(&world, pay("r1", 5)).await;
    let caller = world.caller("n8n").await;
    world.clock.advance(600_000);
    let second = world.gate.wait(&caller, &name("r1"), Duration::ZERO).await.unwrap();
    assert_eq!(second.pending().unwrap().stage, 1);
    world.clock.advance(600_000);
    let ended = world.gate.wait(&caller, &name("r1"), Duration::from_secs(5)).await.unwrap();
    assert_eq!((ended.status(), stored(&world, &request).await), (Status::Expired, ended.clone()));
    let token = world.gate.token(&ended, &caller).await.unwrap().unwrap();
    let verified = world.gate.verify_token(&caller, &token, None).await.unwrap();
    assert!(!verified.claims.unwrap().approved);
    assert!(alerts(&world.deliver_all().await).contains(&"expired"));
}

#[tokio::test]
async fn a_look_at_a_page_past_the_deadline_shows_the_end_writes_nothing_and_has_it_settled() {
    let (world, _) = world().await;
    let request = asked(&world, of_action("r1", "chief")).await;
    let daves = link(&world, &request, "dave").await;
    world.clock.advance(600_000);
    world.dispatcher.take();
    let page = world.gate.review(&daves).await.unwrap();
    assert_eq!(page.request.state().status(), Status::Expired);
    assert_eq!(stored(&world, &request).await, request);
    let closing = Closing { closes_at: world.gate.now(), key: request.key() };
    assert_eq!(world.dispatcher.take_closing(), [closing]);
    world.gate.wake(request.key()).await.unwrap();
    assert_eq!(stored(&world, &request).await.status(), Status::Expired);
    // Nothing to do, and nothing there, is no fault.
    world.gate.wake(request.key()).await.unwrap();
    world.gate.wake(placet_testkit::sample::key("n8n", "r9")).await.unwrap();
}

#[tokio::test]
async fn a_vote_at_the_deadline_is_refused_though_no_sweep_has_run() {
    let (world, _) = world().await;
    let request = asked(&world, of_action("r1", "chief")).await;
    world.clock.advance(599_999);
    let daves = link(&world, &request, "dave").await;
    let nonce = world.gate.review(&daves).await.unwrap().nonce;
    world.clock.advance(1);
    let late = world.gate.decide(&daves, &nonce, placet_core::policy::Decision::Approve, None).await;
    assert_eq!(code(late), "ended expired");
    assert_eq!(stored(&world, &request).await.state().votes(), []);
}

#[tokio::test]
async fn the_sweep_settles_what_has_passed_and_hands_over_what_nobody_delivered() {
    let (world, _) = world().await;
    let request = asked(&world, calling_back(of_action("r1", "chief"), "https://a.example.com/")).await;
    world.dispatcher.take();
    // Its messages are leased to whoever committed them.
    let swept = world.gate.sweep().await.unwrap();
    assert_eq!((swept.settled, swept.dispatched, swept.more), (0, 0, false));
    world.clock.advance(LEASE_MS);
    assert_eq!(world.gate.sweep().await.unwrap().dispatched, 1);
    assert_eq!(names(&world.dispatcher.take_messages()), ["notify_0_terminal_dave"]);
    // Now they are leased to whoever took them from the sweep.
    assert_eq!(world.gate.sweep().await.unwrap().dispatched, 0);
    world.clock.advance(600_000 - LEASE_MS);
    let swept = world.gate.sweep().await.unwrap();
    assert_eq!((swept.settled, swept.dispatched), (1, 1));
    assert_eq!(stored(&world, &request).await.status(), Status::Expired);
    assert_eq!(names(&world.deliver_all().await), ["alert_expired", "callback_0", "notify_0_terminal_dave"]);
    assert_eq!(world.gate.next_due().await.unwrap(), None);
}

#[tokio::test]
async fn a_message_is_claimed_by_one_and_again_when_its_lease_is_over() {
    let (world, _) = world().await;
    asked(&world, of_action("r1", "chief")).await;
    let seen = world.dispatcher.take_messages().remove(0);
    let claimed = world.gate.claim(&seen).await.unwrap().unwrap();
    assert_eq!(world.gate.claim(&seen).await.unwrap(), None);
    assert!(claimed.due_at > world.gate.now());
    world.clock.advance(LEASE_MS);
    assert!(world.gate.claim(&claimed).await.unwrap().is_some());
    world.store.ack(&seen.id).await.unwrap();
    assert_eq!(world.gate.claim(&claimed).await.unwrap(), None);
}

#[tokio::test]
async fn one_fault_does_not_keep_the_sweep_from_what_else_there_is() {
    let (world, store) = world().await;
    asked(&world, of_action("r1", "chief")).await;
    store.break_down();
    assert_eq!(code(world.gate.sweep().await), "fault: the store cannot be reached");
    store.recover();
    world.clock.advance(600_000);
    assert_eq!(world.gate.sweep().await.unwrap().settled, 1);
}

#[tokio::test]
async fn what_waits_longest_is_what_the_gate_sleeps_until() {
    let (world, _) = world().await;
    assert_eq!(world.gate.next_due().await.unwrap(), None);
    let request = asked(&world, of_action("r1", "chief")).await;
    let lease = Timestamp::from_millis(world.gate.now().millis() + LEASE_MS);
    assert_eq!(world.gate.next_due().await.unwrap(), Some(lease));
    world.deliver_all().await;
    assert_eq!(world.gate.next_due().await.unwrap(), request.pending().map(|pending| pending.closes_at));
    approve(&world, &request, "dave").await.unwrap();
    world.deliver_all().await;
    assert_eq!(world.gate.next_due().await.unwrap(), None);
}

#[tokio::test]
async fn a_waiter_returns_as_soon_as_it_ends() {
    let (world, _) = world().await;
    let request = asked(&world, of_action("r1", "chief")).await;
    let caller = world.caller("n8n").await;
    let name = name("r1");
    let (waited, decided) = tokio::join!(
        tokio::time::timeout(
            Duration::from_secs(20),
            world.gate.wait(&caller, &name, Duration::from_secs(25))
        ),
        approve(&world, &request, "dave")
    );
    decided.unwrap();
    assert_eq!(waited.unwrap().unwrap().status(), Status::Approved);
}
