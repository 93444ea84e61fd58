//! Links, votes, deciders, and what a change of policy does to what is open.

use placet_core::id::ClientId;
use placet_core::policy::Decision;
use placet_core::request::Status;
use placet_gate::ports::{Clock, PushDevice, Store as _};
use placet_gate::{Error, ReviewOptions};

use super::{
    POLICY, alerts, another, approve, ask, asked, code, link, name, names, of_action, pay, stored, world,
};

fn without_bob() -> String {
    let bob = "[[reviewers]]\nid = \"bob\"\nemail = \"bob@example.com\"\nroles = [\"finance\"]\n";
    let without = POLICY.replace(bob, "");
    assert_ne!(without, POLICY);
    without
}

fn chief_is_away() -> String {
    let away = "roles = [\"chief\"]\naway = [{ from = 2020-01-01, until = 2040-01-01 }]";
    POLICY.replace("roles = [\"chief\"]", away)
}

#[tokio::test]
async fn a_look_changes_nothing_and_a_decision_is_recorded_with_its_trail() {
    let (world, store) = world().await;
    let request = asked(&world, pay("r1", 5)).await;
    let bobs = link(&world, &request, "bob").await;
    for _ in 0..3 {
        let page = world.gate.review(&bobs).await.unwrap();
        assert_eq!(page.options, ReviewOptions::Open { may_approve: true });
    }
    assert_eq!(stored(&world, &request).await, request);
    let page = world.decide(&bobs, Decision::Approve, Some("fine")).await.unwrap();
    assert_eq!((page.options, page.request.state().status()), (ReviewOptions::Ended, Status::Approved));
    assert_eq!(code(world.decide(&bobs, Decision::Reject, None).await), "ended approved");
    let approval = request.asked().approval_id.as_str();
    let trail = placet_testkit::Trail::audit_of(&*store, approval).await;
    let events: Vec<&str> = trail.iter().map(|entry| entry.event.as_str()).collect();
    assert_eq!(events, ["request.asked", "stage.opened", "vote.cast", "request.approved", "vote.refused"]);
}

#[tokio::test]
async fn only_the_nonce_of_the_page_is_taken() {
    let (world, _) = world().await;
    let request = asked(&world, pay("r1", 5)).await;
    let (bobs, carols) = (link(&world, &request, "bob").await, link(&world, &request, "carol").await);
    let of_carol = world.gate.review(&carols).await.unwrap().nonce;
    for nonce in ["", "1-2", &of_carol] {
        let result = world.gate.decide(&bobs, nonce, Decision::Approve, None).await;
        assert_eq!(code(result), "invalid_request", "{nonce:?}");
    }
    assert_eq!(code(world.gate.review("nobody's").await), "not_found");
}

#[tokio::test]
async fn a_vote_under_a_policy_that_is_no_longer_in_force_is_cast_again_under_the_new_one() {
    let (world, _) = world().await;
    let slow = another(&world, None);
    let request = asked(&slow, of_action("r1", "pair")).await;
    let carols = link(&slow, &request, "carol").await;
    approve(&slow, &request, "bob").await.unwrap();
    // Another process installs a policy without bob; this one still has the old one in its memory.
    world.install(&without_bob()).await;
    let bobs = link(&slow, &request, "bob").await;
    assert_eq!(slow.gate.policy().await.unwrap().version, 1);
    let page = slow.decide(&carols, Decision::Approve, None).await.unwrap();
    assert_eq!(page.request.state().status(), Status::Pending, "bob's word went with him");
    assert_eq!(slow.gate.policy().await.unwrap().version, 2);
    assert_eq!(code(slow.decide(&bobs, Decision::Approve, None).await), "link_expired");
    assert_eq!(stored(&world, &request).await.state().votes().len(), 2);
}

#[tokio::test]
async fn whoever_was_removed_cannot_vote_though_their_gate_has_not_heard_of_it() {
    let (world, store) = world().await;
    let slow = another(&world, None);
    let request = asked(&slow, pay("r1", 5)).await;
    let bobs = link(&slow, &request, "bob").await;
    world.install(&without_bob()).await;
    assert_eq!(slow.gate.policy().await.unwrap().version, 1);
    assert_eq!(code(slow.decide(&bobs, Decision::Approve, None).await), "link_expired");
    let after = stored(&world, &request).await;
    assert_eq!((after.pending(), after.state().votes()), (request.pending(), request.state().votes()));
    let trail = placet_testkit::Trail::audit_of(&*store, request.asked().approval_id.as_str()).await;
    assert_eq!(trail.last().map(|entry| entry.event.as_str()), Some("vote.refused"));
}

#[tokio::test]
async fn a_raised_generation_voids_one_person_s_links_alone() {
    let (world, _) = world().await;
    let request = asked(&world, pay("r1", 5)).await;
    let (bobs, carols) = (link(&world, &request, "bob").await, link(&world, &request, "carol").await);
    let policy = world.gate.policy().await.unwrap();
    let inbox = |reviewer: &str| placet_testkit::sample::reviewer(reviewer);
    let inbox_link = world.gate.inbox_link(&inbox("bob"), &policy).await.unwrap().to_string();
    assert_eq!(world.gate.inbox(&inbox_link).await.unwrap().items.len(), 1);
    world
        .install(
            &POLICY.replace("email = \"bob@example.com\"", "email = \"bob@example.com\"\ngeneration = 2"),
        )
        .await;
    assert_eq!(code(world.gate.review(&bobs).await), "link_expired");
    assert_eq!(code(world.decide(&bobs, Decision::Approve, None).await), "link_expired");
    assert_eq!(code(world.gate.inbox(&inbox_link).await), "not_found");
    assert_eq!(code(world.gate.review(&carols).await), "ok");
    assert_eq!(code(approve(&world, &request, "bob").await), "ok");
}

#[tokio::test]
async fn a_new_policy_has_what_is_open_looked_at_again() {
    let (world, store) = world().await;
    let request = asked(&world, pay("r1", 5)).await;
    world.deliver_all().await;
    let bob = "[[reviewers]]\nid = \"bob\"";
    world
        .install(&without_bob().replace(
            "[[reviewers]]\nid = \"carol\"",
            "[[reviewers]]\nid = \"zoe\"\nroles = [\"finance\"]\n[[reviewers]]\nid = \"carol\"",
        ))
        .await;
    assert!(POLICY.contains(bob));
    assert_eq!(names(&world.deliver_all().await), ["reassign_2"]);
    assert_eq!(names(&world.deliver_all().await), ["notify_0_terminal_zoe"]);
    let now = stored(&world, &request).await;
    let asked_now: Vec<&str> =
        now.pending().unwrap().asked.iter().map(|asked| asked.reviewer.as_str()).collect();
    assert_eq!(asked_now, ["zoe", "carol"]);
    let trail = placet_testkit::Trail::audit_of(&*store, now.asked().approval_id.as_str()).await;
    assert_eq!(trail.last().unwrap().event.as_str(), "stage.reassigned");
    // Many are asked of people who have not changed: those are not written.
    world.install(&(without_bob() + "\n# another text\n")).await;
    world.deliver_all().await;
    let version = stored(&world, &request).await.version();
    world.install(&(without_bob() + "\n# yet another text\n")).await;
    world.deliver_all().await;
    assert_eq!(stored(&world, &request).await.version(), version);
}

#[tokio::test]
async fn a_stage_that_nobody_is_left_in_passes_on_or_is_told_to_operators() {
    let (world, _) = world().await;
    let alone = asked(&world, of_action("r1", "chief")).await;
    let two_stages = asked(&world, pay("r2", 5)).await;
    world.deliver_all().await;
    world.install(&chief_is_away()).await;
    world.deliver_all().await;
    assert_eq!(alerts(&world.deliver_all().await), ["nobody_left"]);
    let deserted = stored(&world, &alone).await;
    assert!(deserted.pending().unwrap().deserted);
    assert_eq!(stored(&world, &two_stages).await, two_stages, "its first stage has its people");
    // They come back: the stage has somebody again, and whoever is asked is told.
    world.install(&(POLICY.to_owned() + "\n# back\n")).await;
    world.deliver_all().await;
    let said = names(&world.deliver_all().await);
    assert!(said.contains(&"over_nobody_left_1".to_owned()), "{said:?}");
    assert!(!stored(&world, &alone).await.pending().unwrap().deserted);
    approve(&world, &alone, "dave").await.unwrap();
}

#[tokio::test]
async fn a_stage_that_passes_on_to_the_next_is_no_alert() {
    let (world, _) = world().await;
    let request = asked(&world, pay("r1", 5)).await;
    world.deliver_all().await;
    let away = "roles = [\"finance\"]\naway = [{ from = 2020-01-01, until = 2040-01-01 }]";
    world.install(&POLICY.replace("roles = [\"finance\"]", away)).await;
    world.deliver_all().await;
    assert_eq!(stored(&world, &request).await.pending().unwrap().stage, 1);
    assert_eq!(names(&world.deliver_all().await), ["notify_1_terminal_dave"]);
}

#[tokio::test]
async fn a_message_of_an_earlier_policy_leaves_the_look_to_the_newer_one() {
    let (world, _) = world().await;
    let request = asked(&world, pay("r1", 5)).await;
    world.install(&without_bob()).await;
    assert_eq!(world.gate.reassign_pending(1).await.unwrap(), None);
    assert_eq!(stored(&world, &request).await, request);
    world.gate.reassign_pending(2).await.unwrap();
    assert_ne!(stored(&world, &request).await, request);
}

#[tokio::test]
async fn the_devices_of_who_has_left_are_forgotten_before_somebody_else_gets_the_id() {
    let (world, store) = world().await;
    let device = |reviewer: &str, number: u32, world: &placet_testkit::World| PushDevice {
        reviewer: placet_testkit::sample::reviewer(reviewer),
        endpoint: format!("https://push.example/{number}"),
        p256dh: "BAAA".into(),
        auth: "c2VjcmV0".into(),
        generation: 1,
        added_at: Clock::now(&*world.clock),
    };
    let (bobs, carols) = (device("bob", 1, &world), device("carol", 2, &world));
    for device in [&bobs, &carols] {
        store.keep_push_device(device).await.unwrap();
    }
    world.clock.advance(1000);
    world.install(&(POLICY.to_owned() + "\n# everybody stays\n")).await;
    world.deliver_all().await;
    assert_eq!(store.push_devices(&bobs.reviewer).await.unwrap(), std::slice::from_ref(&bobs));
    // Nobody looks before the id is given to somebody else, who switches push on at once.
    world.install(&without_bob()).await;
    world.clock.advance(1000);
    world.install(POLICY).await;
    let of_new_bob = device("bob", 3, &world);
    store.keep_push_device(&of_new_bob).await.unwrap();
    world.deliver_all().await;
    assert_eq!(store.push_devices(&bobs.reviewer).await.unwrap(), [of_new_bob]);
    assert_eq!(store.push_devices(&carols.reviewer).await.unwrap(), [carols]);
    // A gate that had not heard of it took one more of whom the policy in force has no longer.
    world.install(&without_bob()).await;
    world.clock.advance(1000);
    store.keep_push_device(&device("bob", 4, &world)).await.unwrap();
    world.deliver_all().await;
    assert_eq!(store.push_devices(&bobs.reviewer).await.unwrap(), []);
}

#[tokio::test]
async fn a_look_says_when_somebody_next_goes_away_or_comes_back() {
    let (world, _) = world().await;
    let until = "roles = [\"chief\"]\naway = [{ from = 2026-11-30, until = 2026-12-24 }]";
    world.install(&POLICY.replace("roles = [\"chief\"]", until)).await;
    let next = world.gate.reassign_pending(2).await.unwrap().map(|at| at.to_string());
    assert!(next.as_deref().is_some_and(|at| at.starts_with("2026-11-30T00:00:00")), "{next:?}");
}

#[tokio::test]
async fn what_another_process_took_under_the_policy_before_is_looked_at_too() {
    let (world, _) = world().await;
    let (old, new) = (another(&world, Some(10_000)), another(&world, Some(10_000)));
    assert_eq!(old.gate.policy().await.unwrap().version, 1);
    let started = placet_gate::ports::Clock::now(&*world.clock);
    world.install(&without_bob()).await;
    let again = new.gate.reassign_pending(2).await.unwrap().unwrap();
    assert_eq!(again.millis_since(started), 40_000);
    // After that look, and before it has heard of the new policy.
    let request = asked(&old, pay("r1", 5)).await;
    assert_eq!(request.asked().policy, 1);
    let names_bob = |request: &placet_core::request::Request| {
        request.pending().unwrap().asked.iter().any(|assignee| assignee.reviewer.as_str() == "bob")
    };
    assert!(names_bob(&request));
    world.clock.advance(40_000);
    assert_eq!(new.gate.reassign_pending(2).await.unwrap(), None);
    assert!(!names_bob(&stored(&world, &request).await));
}

#[tokio::test]
async fn a_policy_that_cannot_be_read_anew_is_not_used_beyond_its_age() {
    let (world, store) = world().await;
    let lambda = another(&world, Some(10_000));
    let request = asked(&lambda, pay("r1", 5)).await;
    let bobs = link(&lambda, &request, "bob").await;
    let nonce = lambda.gate.review(&bobs).await.unwrap().nonce;
    store.break_down();
    world.clock.advance(9_000);
    assert!(lambda.gate.policy().await.is_ok());
    world.clock.advance(2_000);
    for result in [
        code(lambda.gate.policy().await),
        code(lambda.gate.decide(&bobs, &nonce, Decision::Approve, None).await),
        code(lambda.gate.authenticate(placet_gate::Credentials::None).await),
    ] {
        assert_eq!(result, "fault: the store cannot be reached");
    }
    store.recover();
    assert_eq!(stored(&world, &request).await, request);
    lambda.gate.decide(&bobs, &nonce, Decision::Approve, None).await.unwrap();
}

#[tokio::test]
async fn a_decider_answers_in_its_own_queues_and_finds_nothing_elsewhere() {
    let (world, _) = world().await;
    let queued = asked(&world, of_action("r1", "queue")).await;
    asked(&world, pay("r2", 5)).await;
    let ended = asked(&world, pay("r3", 6)).await;
    approve(&world, &ended, "bob").await.unwrap();
    let (jira, desk, n8n) =
        (world.caller("jira").await, world.caller("desk").await, world.caller("n8n").await);
    let answer = async |caller: &placet_gate::Caller, request_id: &str| {
        code(world.gate.answer(caller, &name(request_id), None, Decision::Approve, None).await)
    };
    for request_id in ["r2", "r3", "r9"] {
        assert_eq!(answer(&jira, request_id).await, "not_found", "{request_id}");
    }
    assert_eq!(answer(&desk, "r1").await, "not_found");
    assert_eq!(answer(&n8n, "r1").await, "forbidden");
    assert_eq!(stored(&world, &queued).await, queued);
    assert_eq!(answer(&jira, "r1").await, "ok");
    assert_eq!(answer(&jira, "r1").await, "ended approved");
    assert_eq!(answer(&desk, "r1").await, "not_found");
}

#[tokio::test]
async fn where_two_clients_use_one_name_the_decider_says_whose_it_means() {
    let (world, _) = world().await;
    asked(&world, of_action("r1", "queue")).await;
    ask(&world, "zapier", of_action("r1", "queue")).await.unwrap();
    let jira = world.caller("jira").await;
    let answer = async |client: Option<&str>| {
        let client = client.map(|client| ClientId::parse(client).unwrap());
        world.gate.answer(&jira, &name("r1"), client.as_ref(), Decision::Reject, None).await
    };
    assert_eq!(code(answer(None).await), "invalid_request");
    assert_eq!(answer(Some("zapier")).await.unwrap().asked().client.as_str(), "zapier");
    // Of the two, one waits: that is the one.
    assert_eq!(answer(None).await.unwrap().asked().client.as_str(), "n8n");
    assert!(matches!(answer(Some("n8n")).await, Err(Error::Ended(_))));
}

#[tokio::test]
async fn an_inbox_has_what_its_reviewer_may_answer_by_deadline_and_says_how_many_more_wait() {
    let (world, _) = world().await;
    for number in 0..130 {
        let fields = placet_gate::RequestFields {
            timeout_seconds: Some(600 - number),
            ..pay(&format!("r{number}"), number)
        };
        asked(&world, fields).await;
    }
    for number in 0..100 {
        asked(&world, question_of_chief(number)).await;
    }
    let policy = world.gate.policy().await.unwrap();
    let bob = placet_testkit::sample::reviewer("bob");
    let inbox = world.gate.waiting_for(&bob, &policy).await.unwrap();
    assert_eq!((inbox.items.len(), inbox.more), (100, 30));
    let first: Vec<&str> =
        inbox.items.iter().take(2).map(|item| item.request.asked().request_id.as_str()).collect();
    assert_eq!(first, ["r129", "r128"]);
    let dave = placet_testkit::sample::reviewer("dave");
    let inbox = world.gate.waiting_for(&dave, &policy).await.unwrap();
    assert_eq!((inbox.items.len(), inbox.more), (100, 0));
    // What is overdue is shown to nobody, settled or not.
    world.clock.advance(471_000);
    let inbox = world.gate.waiting_for(&bob, &policy).await.unwrap();
    assert_eq!((inbox.items.len(), inbox.more), (100, 29));
}

fn question_of_chief(number: u32) -> placet_gate::RequestFields {
    placet_testkit::question(&format!("c{number}"), "chief", &serde_json::json!({ "n": number }))
}
