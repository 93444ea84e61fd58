//! What operators hear of, and how often.

use placet_core::id::ClientId;
use placet_core::request::Status;
use placet_gate::alert::Alert;
use placet_gate::ports::{OutboxPayload, OutboxSubject};
use placet_gate::{Credentials, Installed};

use super::{POLICY, alerts, another, approve, asked, calling_back, code, names, of_action, stored, world};

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
    world.clock.advance(20 * 60_000);
    assert!(
        world.gate.look_whether_over(&subject, &alert).await.unwrap().is_some(),
        "the last span had some"
    );
    world.clock.advance(20 * 60_000);
    assert_eq!(world.gate.look_whether_over(&subject, &alert).await.unwrap(), None, "a whole span had none");
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
    assert_eq!(said, ["alert_keys_rotated_2", "over_rotation_due_1", "over_rotation_failed_"]);
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
