//! Asking, joining, and the bounds of one client.

use placet_core::Refusal;
use placet_core::request::Status;
use placet_gate::ports::HookEvent;
use placet_gate::{Error, ListQuery};

use super::{approve, ask, asked, calling_back, code, name, names, of_action, pay, stored, world};

#[tokio::test]
async fn a_question_is_one_commit_whose_messages_are_handed_over() {
    let (world, _) = world().await;
    let request = asked(&world, pay("r1", 5)).await;
    let work = world.dispatcher.take();
    assert_eq!(work.len(), 1);
    assert_eq!(names(&work[0].messages), ["notify_0_email_bob", "notify_0_terminal_carol"]);
    assert_eq!(work[0].request.as_deref(), Some(&request));
    let closing = work[0].closing.unwrap();
    assert_eq!(
        (closing.key, Some(closing.closes_at)),
        (request.key(), request.pending().map(|p| p.closes_at))
    );
    // What was handed over is what the store has: nothing is told that is not committed.
    assert_eq!(names(&world.deliver_all().await), names(&work[0].messages));
    assert_eq!(stored(&world, &request).await, request);
}

#[tokio::test]
async fn the_same_question_joins_whatever_else_it_says_and_another_one_conflicts() {
    let (world, _) = world().await;
    let first = asked(&world, calling_back(pay("r1", 5), "https://a.example.com/")).await;
    let mut again = calling_back(pay("r1", 5), "https://b.example.com/");
    again.summary = "other words".into();
    again.timeout_seconds = Some(60);
    again.metadata = [("run".to_owned(), "8".to_owned())].into();
    let joined = ask(&world, "n8n", again.clone()).await.unwrap();
    assert!(!joined.is_new);
    assert_eq!(joined.request.asked(), first.asked());
    assert_eq!(joined.request.state().callbacks(), ["https://a.example.com/", "https://b.example.com/"]);
    // Once more is nothing new.
    assert_eq!(ask(&world, "n8n", again).await.unwrap().request, joined.request);
    for other in [pay("r1", 6), of_action("r1", "chief")] {
        assert_eq!(code(ask(&world, "n8n", other).await), "request_id_conflict");
    }
    // Another client's request of that name is another one.
    assert!(ask(&world, "zapier", pay("r1", 6)).await.unwrap().is_new);
}

#[tokio::test]
async fn every_caller_is_called_back_also_one_that_joins_after_the_end() {
    let (world, _) = world().await;
    let request = asked(&world, calling_back(pay("r1", 5), "https://a.example.com/")).await;
    ask(&world, "n8n", calling_back(pay("r1", 5), "https://b.example.com/")).await.unwrap();
    world.deliver_all().await;
    approve(&world, &request, "bob").await.unwrap();
    assert_eq!(names(&world.deliver_all().await), ["callback_0", "callback_1"]);
    let late = ask(&world, "n8n", calling_back(pay("r1", 5), "https://c.example.com/")).await.unwrap();
    assert_eq!((late.is_new, late.request.status()), (false, Status::Approved));
    assert_eq!(names(&world.deliver_all().await), ["callback_2"]);
    for number in 3..20 {
        let url = format!("https://{number}.example.com/");
        ask(&world, "n8n", calling_back(pay("r1", 5), &url)).await.unwrap();
    }
    world.deliver_all().await;
    // The list is full: who asks now has the outcome in the answer, and no call.
    let last = ask(&world, "n8n", calling_back(pay("r1", 5), "https://x.example.com/")).await.unwrap();
    assert_eq!((last.is_new, last.request.status()), (false, Status::Approved));
    assert!(world.deliver_all().await.is_empty());
}

#[tokio::test]
async fn a_waiting_request_has_twenty_callers_at_most() {
    let (world, _) = world().await;
    for number in 0..20 {
        let url = format!("https://{number}.example.com/");
        ask(&world, "n8n", calling_back(pay("r1", 5), &url)).await.unwrap();
    }
    let refused = ask(&world, "n8n", calling_back(pay("r1", 5), "https://x.example.com/")).await;
    assert_eq!(code(refused), "invalid_request");
}

#[tokio::test]
async fn an_older_question_that_is_alike_and_waits_is_named() {
    let (world, _) = world().await;
    asked(&world, pay("r1", 5)).await;
    let twin = ask(&world, "n8n", pay("r2", 5)).await.unwrap().pending_twin;
    assert_eq!(twin, Some(name("r1")));
}

#[tokio::test]
async fn a_client_has_its_allowance_a_minute_and_no_more_wait_than_may() {
    let (world, _) = world().await;
    for number in 1..=2 {
        ask(&world, "zapier", pay(&format!("r{number}"), number)).await.unwrap();
    }
    world.clock.advance(15_000);
    match ask(&world, "zapier", pay("r3", 3)).await {
        Err(Error::Refused(Refusal::RateLimited { retry_after_seconds })) => {
            assert_eq!(retry_after_seconds, 45);
        }
        other => panic!("{other:?}"),
    }
    // The next minute's allowance is there, but two wait.
    world.clock.advance(45_000);
    match ask(&world, "zapier", pay("r3", 3)).await {
        Err(Error::Refused(Refusal::TooManyPending { max_pending })) => assert_eq!(max_pending, 2),
        other => panic!("{other:?}"),
    }
    assert!(ask(&world, "zapier", of_action("r4", "free")).await.unwrap().request.outcome().is_some());
    let caller = world.caller("zapier").await;
    world.gate.cancel(&caller, &name("r1")).await.unwrap();
    ask(&world, "zapier", pay("r3", 3)).await.unwrap();
    // Another client is not held up.
    asked(&world, pay("r1", 1)).await;
}

#[tokio::test]
async fn only_a_requester_asks_lists_and_cancels_its_own() {
    let (world, _) = world().await;
    asked(&world, pay("r1", 5)).await;
    for client in ["payments", "jira", "auditor"] {
        assert_eq!(code(ask(&world, client, pay("r2", 5)).await), "forbidden", "{client}");
        let caller = world.caller(client).await;
        assert_eq!(code(world.gate.cancel(&caller, &name("r1")).await), "forbidden", "{client}");
        let all = ListQuery { status: None, limit: 10, before: None };
        assert_eq!(code(world.gate.list(&caller, all).await), "forbidden", "{client}");
    }
    let other = world.caller("zapier").await;
    assert_eq!(code(world.gate.cancel(&other, &name("r1")).await), "not_found");
    let all = |status| ListQuery { status, limit: 10, before: None };
    assert_eq!(world.gate.list(&other, all(None)).await.unwrap().0.len(), 0);
    assert_eq!(world.gate.list_all(all(None)).await.unwrap().0.len(), 1);
    // What has passed its deadline is settled by whoever lists it, and is then no longer pending.
    world.clock.advance(1_200_000);
    assert_eq!(world.gate.list_all(all(Some(Status::Pending))).await.unwrap().0.len(), 0);
    assert_eq!(world.gate.list_all(all(Some(Status::Expired))).await.unwrap().0.len(), 1);
}

#[tokio::test]
async fn the_operator_withdraws_in_its_own_name() {
    let (world, _) = world().await;
    let request = asked(&world, pay("r1", 5)).await;
    let client = &request.asked().client;
    let cancelled = world.gate.cancel_by_operator(client, &name("r1")).await.unwrap();
    let by: Vec<String> = cancelled.outcome().unwrap().decided_by.iter().map(ToString::to_string).collect();
    assert_eq!((cancelled.status(), by), (Status::Cancelled, vec!["operator:cli".to_owned()]));
    assert_eq!(code(world.gate.cancel_by_operator(client, &name("r1")).await), "ended cancelled");
    assert_eq!(code(world.gate.cancel_by_operator(client, &name("r9")).await), "not_found");
}

#[tokio::test]
async fn a_subscriber_hears_of_its_own_requests_and_an_auditor_of_all() {
    let (world, _) = world().await;
    for client in ["n8n", "zapier", "auditor"] {
        let caller = world.caller(client).await;
        let url = format!("https://{client}.example.com/");
        let events = vec![HookEvent::Requested, HookEvent::Decided];
        let hook = world.gate.subscribe(&caller, url.clone(), events.clone()).await.unwrap();
        // The same again is the same one.
        assert_eq!(world.gate.subscribe(&caller, url, events).await.unwrap(), hook);
    }
    let request = asked(&world, pay("r1", 5)).await;
    let hooks = |messages: &[_]| names(messages).iter().filter(|name| name.contains("ed_")).count();
    assert_eq!(hooks(&world.deliver_all().await), 2);
    approve(&world, &request, "bob").await.unwrap();
    assert_eq!(hooks(&world.deliver_all().await), 2);
}
