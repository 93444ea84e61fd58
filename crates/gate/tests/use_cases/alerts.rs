//! What operators hear of, and how often.

use std::sync::Arc;

use placet_core::id::ClientId;
use placet_core::policy::Decision;
use placet_core::request::Status;
use placet_core::time::DAY_MS;
use placet_gate::alert::{Alert, MatterNow};
use placet_gate::ports::{OutboxMessage, OutboxPayload, OutboxSubject};
use placet_gate::{Credentials, Installed};

use super::{
    POLICY, alerts, another, approve, asked, calling_back, code, link, names, of_action, pay, stored, world,
};

#[tokio::test]
async fn bursts_of_wrong_keys_of_a_known_client_are_one_alert_until_they_are_over() {
    let (world, _) = world().await;
    let knock = async |key: &str| code(world.gate.authenticate(Credentials::Bearer(key)).await);
    // A scanner names nobody.
    for _ in 0..50 {
        assert_eq!(knock("nobody.secret").await, "unknown_client");
        assert_eq!(knock("no key").await, "invalid_signature");
        assert_eq!(code(world.gate.authenticate(Credentials::None).await), "invalid_signature");
    }
    assert_eq!(alerts(&world.deliver_all().await), Vec::<&str>::new());
    for _ in 0..19 {
        assert_eq!(knock("n8n.wrong").await, "invalid_signature");
    }
    assert_eq!(alerts(&world.deliver_all().await), Vec::<&str>::new());
    for _ in 0..40 {
        knock("n8n.wrong").await;
    }
    let said = world.deliver_all().await;
    assert_eq!(alerts(&said), ["bad_signatures"]);
    assert_eq!(said[0].subject, OutboxSubject::Gate);
    let (alert, subject) = match &said[0].payload {
        OutboxPayload::Alert(alert) => (alert.clone(), said[0].subject.clone()),
        other => panic!("{other:?}"),
    };
    // It goes on: nobody is told again, whichever span it falls into.
    for minutes in [1, 20, 20] {
        world.clock.advance(minutes * 60_000);
        for _ in 0..20 {
            knock("n8n.wrong").await;
        }
        assert_eq!(alerts(&world.deliver_all().await), Vec::<&str>::new(), "{minutes}");
    }
    for minutes in [0, 20] {
        world.clock.advance(minutes * 60_000);
        let now = world.gate.look_whether_over(&subject, &alert).await.unwrap();
        assert!(matches!(now, MatterNow::GoesOn(_)), "{minutes}: this span or the last one had some");
    }
    world.clock.advance(20 * 60_000);
    let now = world.gate.look_whether_over(&subject, &alert).await.unwrap();
    assert_eq!(now, MatterNow::Over, "a whole span had none");
    // Anew, and of another client.
    for _ in 0..20 {
        knock("n8n.wrong").await;
        knock("zapier.wrong").await;
    }
    assert_eq!(alerts(&world.deliver_all().await), ["bad_signatures", "bad_signatures"]);
}

#[tokio::test]
async fn keys_that_should_be_rotated_are_an_alert_once_and_a_rotation_ends_it() {
    let (world, _) = world().await;
    world.gate.sweep().await.unwrap();
    assert_eq!(alerts(&world.deliver_all().await), Vec::<&str>::new());
    world.clock.advance(96 * 24 * 60 * 60_000);
    for gate in [&world.gate, &another(&world, None).gate] {
        gate.sweep().await.unwrap();
        gate.sweep().await.unwrap();
    }
    assert_eq!(alerts(&world.deliver_all().await), ["rotation_due"]);
    for _ in 0..2 {
        world.gate.rotation_failed("testSecret".into(), "no".into()).await.unwrap();
    }
    assert_eq!(alerts(&world.deliver_all().await), ["rotation_failed"]);
    let epoch = world.keys.rotate(world.gate.now()).current.number;
    world.gate.record_rotation(epoch, "operator").await.unwrap();
    let said = names(&world.deliver_all().await);
    assert_eq!(said, ["alert_keys_rotated_2", "over_rotation_due_1", "over_rotation_failed_keys"]);
}

#[tokio::test]
async fn an_alert_that_could_not_be_written_is_said_by_the_next_look() {
    let (world, store) = world().await;
    world.clock.advance(96 * DAY_MS);
    let old = async || drop(world.caller_of_epoch("n8n", 1).await);
    let knock = async |times: u32| {
        for _ in 0..times {
            code(world.gate.authenticate(Credentials::Bearer("n8n.wrong")).await);
        }
    };
    world.keys.rotate(world.gate.now());
    world.clock.advance(96 * DAY_MS);
    // The policy is known; what is written now fails.
    world.gate.policy().await.unwrap();
    store.break_down();
    old().await;
    knock(25).await;
    assert!(world.gate.rotation_failed("testSecret".into(), "no".into()).await.is_err());
    store.recover();
    assert_eq!(alerts(&world.deliver_all().await), Vec::<&str>::new());
    old().await;
    knock(1).await;
    world.gate.rotation_failed("testSecret".into(), "no".into()).await.unwrap();
    let mut said = alerts(&world.deliver_all().await);
    said.sort_unstable();
    assert_eq!(said, ["bad_signatures", "old_secret", "rotation_failed"]);
}

#[tokio::test]
async fn what_is_marked_only_after_it_is_written_is_said_by_one_of_many_at_once() {
    let (world, _) = world().await;
    let (gate, n8n) = (Arc::new(world.gate), placet_testkit::sample::client("n8n"));
    let mut looks = tokio::task::JoinSet::new();
    for minute in 0..50 {
        let (gate, client) = (Arc::clone(&gate), Some(n8n.clone()));
        looks.spawn(async move {
            let alert = Alert::BadSignatures { client, count: 20, minute };
            gate.saw_again(OutboxSubject::Gate, alert).await.unwrap();
        });
    }
    looks.join_all().await;
    let ever = placet_core::Timestamp::from_millis(i64::MAX);
    let waiting = world.store.due_messages(ever, 1000).await.unwrap();
    assert_eq!(alerts(&waiting), ["bad_signatures"]);
}

#[tokio::test]
async fn what_begins_anew_is_closed_by_no_earlier_look() {
    let (world, _) = world().await;
    let alert = |minute| Alert::BadSignatures { client: ClientId::parse("n8n").ok(), count: 20, minute };
    let ever = placet_core::Timestamp::from_millis(i64::MAX);
    let overs = async || {
        let waiting = world.store.due_messages(ever, 1000).await.unwrap();
        waiting
            .into_iter()
            .filter(|one| matches!(one.payload, OutboxPayload::AlertOver(_)))
            .collect::<Vec<_>>()
    };
    world.gate.saw_again(OutboxSubject::Gate, alert(1)).await.unwrap();
    let first = overs().await;
    // Nobody looked for an hour, and then it begins anew: its look takes the place of the first one.
    world.clock.advance(60 * 60_000);
    world.gate.saw_again(OutboxSubject::Gate, alert(2)).await.unwrap();
    let second = overs().await;
    assert_eq!((first.len(), second.len(), &first[0].id), (1, 1, &second[0].id));
    assert!(second[0].due_at > world.gate.now());
    assert_eq!(world.gate.claim(&first[0]).await.unwrap(), None, "the first look is nobody's any more");
}

#[tokio::test]
async fn approvals_faster_than_their_pages_can_be_read_are_an_alert_from_the_fifth_within_an_hour() {
    let (world, _) = world().await;
    let number = std::cell::Cell::new(0_u32);
    let vote = async |reads_ms: i64| {
        number.set(number.get() + 1);
        let request = asked(&world, pay(&format!("r{}", number.get()), number.get())).await;
        let link = link(&world, &request, "bob").await;
        let page = world.gate.review(&link).await.unwrap();
        world.clock.advance(reads_ms);
        world.gate.decide(&link, &page.nonce, Decision::Approve, None).await.unwrap();
    };
    let said = async || {
        let messages = world.deliver_all().await;
        let of = |message: &OutboxMessage| match &message.payload {
            OutboxPayload::Alert(Alert::FastApprovals { reviewer, count, .. }) => {
                Some((reviewer.to_string(), *count))
            }
            _ => None,
        };
        messages.iter().filter_map(of).collect::<Vec<_>>()
    };
    let hour = 60 * 60_000;
    let next_hour = |hours: i64| {
        let now = world.gate.now().millis();
        world.clock.set(placet_core::Timestamp::from_millis((now.div_euclid(hour) + hours) * hour));
    };
    next_hour(1);
    for _ in 0..4 {
        vote(0).await;
    }
    vote(60_000).await;
    assert_eq!(said().await, [], "four, and one that was read");
    next_hour(1);
    vote(0).await;
    assert_eq!(said().await, [], "the fifth, in another hour");
    for _ in 0..4 {
        vote(0).await;
    }
    assert_eq!(said().await, [("bob".to_owned(), 5)]);
    vote(0).await;
    assert_eq!(said().await, [], "the sixth is the same matter");
    next_hour(1);
    for _ in 0..5 {
        vote(0).await;
    }
    assert_eq!(said().await, [], "it goes on in the hour after");
    next_hour(2);
    for _ in 0..5 {
        vote(0).await;
    }
    assert_eq!(said().await, [("bob".to_owned(), 5)], "an hour without: it begins anew");
}

#[test]
fn every_kind_of_alert_can_be_named_in_the_policy() {
    for message in placet_testkit::golden::messages() {
        let alert = match &message.payload {
            OutboxPayload::Alert(alert) => alert,
            OutboxPayload::AlertBy { alert, .. } => alert,
            _ => continue,
        };
        assert!(placet_core::policy::ALERT_KINDS.contains(&alert.kind()), "{}", alert.kind());
    }
}

#[tokio::test]
async fn an_old_secret_is_told_of_once_by_whichever_process_sees_it() {
    let (world, _) = world().await;
    let (one, two) = (another(&world, None), another(&world, None));
    for process in [&one, &two] {
        process.keys.rotate(process.gate.now());
        for _ in 0..3 {
            process.caller_of_epoch("n8n", 1).await.unwrap();
            process.caller("zapier").await;
        }
    }
    assert_eq!(alerts(&world.deliver_all().await), ["old_secret"]);
    one.caller_of_epoch("zapier", 1).await.unwrap();
    assert_eq!(alerts(&world.deliver_all().await), ["old_secret"]);
}

#[tokio::test]
async fn a_callback_that_is_given_up_leaves_an_entry_and_an_alert_and_the_outcome_as_it_was() {
    let (world, store) = world().await;
    let request = asked(&world, calling_back(of_action("r1", "chief"), "https://a.example.com/")).await;
    approve(&world, &request, "dave").await.unwrap();
    let messages = world.deliver_all().await;
    let callback =
        messages.iter().find(|message| matches!(message.payload, OutboxPayload::Callback { .. })).unwrap();
    let ended = stored(&world, &request).await;
    let n8n = ClientId::parse("n8n").unwrap();
    world.gate.give_up(ended.clone(), callback, &n8n, "410 Gone").await.unwrap();
    let said = world.deliver_all().await;
    assert_eq!(names(&said), ["alert_callback_given_up_callback_0"]);
    assert!(matches!(
        &said[0].payload,
        OutboxPayload::Alert(Alert::CallbackGivenUp { message, reason, .. })
            if *message == callback.id && reason == "410 Gone"
    ));
    let after = stored(&world, &request).await;
    assert_eq!((after.status(), after.outcome()), (Status::Approved, ended.outcome()));
    let trail = placet_testkit::Trail::audit_of(&*store, ended.asked().approval_id.as_str()).await;
    assert_eq!(trail.last().unwrap().event.as_str(), "callback.given_up");
}

#[tokio::test]
async fn a_rotation_and_a_policy_are_recorded_once_with_their_messages() {
    let (world, store) = world().await;
    let epoch = world.keys.rotate(world.gate.now()).current.number;
    for _ in 0..3 {
        world.gate.record_rotation(epoch, "operator").await.unwrap();
    }
    assert_eq!(alerts(&world.deliver_all().await), ["keys_rotated"]);
    let install = async |text: &str| world.gate.install_policy(text, "operator").await.unwrap().unwrap();
    assert_eq!(install(POLICY).await, Installed::Same(1));
    assert_eq!(install(&format!("{POLICY}\n# more\n")).await, Installed::New(2));
    assert_eq!(names(&world.deliver_all().await), ["reassign_2"]);
    assert!(world.gate.install_policy("[[rules]]", "operator").await.unwrap().is_err());
    for (subject, entries) in [("keys", 1), ("policy", 2)] {
        assert_eq!(placet_testkit::Trail::audit_of(&*store, subject).await.len(), entries, "{subject}");
    }
}
