//! Rules with `confirm` and `editable`: what an approval must bring, and what it then approves.

use placet_core::id::ReviewerId;
use placet_core::policy::Decision;
use placet_core::request::{Edit, Given, Request, Status};
use placet_gate::{Error, RequestFields, Review};
use placet_testkit::{World, question};
use serde_json::{Value, json};

use crate::{asked, link, stored, world};

fn transfer() -> RequestFields {
    question("t1", "transfer", &payload(5000))
}

fn payload(amount: u32) -> Value {
    json!({
        "amount": amount, "currency": "EUR", "to": "ACME GmbH", "note": "October", "urgent": false,
        "headers": {"Authorization": "Bearer abc"},
    })
}

fn digest_of(payload: &Value) -> String {
    placet_core::payload::Payload::new(payload.as_object().unwrap()).unwrap().sha256()
}

fn edits(fields: &[(&str, &str)]) -> Vec<Edit> {
    fields.iter().map(|(path, text)| Edit { path: (*path).to_owned(), text: (*text).to_owned() }).collect()
}

/// What the page of somebody who approves that payload sends.
fn of(payload: &Value, fields: &[(&str, &str)]) -> Given {
    let digest = digest_of(payload);
    Given {
        confirmation: Some(digest.get(60..).unwrap().to_uppercase()),
        edits: edits(fields),
        payload_sha256: Some(digest),
    }
}

async fn approve(world: &World, request: &Request, who: &str, given: Given) -> Result<Review, Error> {
    let link = link(world, request, who).await;
    let nonce = world.gate.review(&link).await?.nonce;
    world.gate.decide_with(&link, &nonce, Decision::Approve, None, given).await
}

fn refusal(result: Result<Review, Error>) -> String {
    match result {
        Err(Error::Refused(refusal)) => format!("{} {refusal:?}", refusal.code()),
        other => format!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn an_approval_needs_the_last_four_characters_of_the_digest_and_a_rejection_does_not() {
    let (world, _) = world().await;
    let request = asked(&world, transfer()).await;
    let right = of(&payload(5000), &[]);
    for wrong in [None, Some(""), Some("0000"), Some("zzzz"), right.payload_sha256.as_deref()] {
        let given = Given { confirmation: wrong.map(str::to_owned), ..right.clone() };
        assert!(refusal(approve(&world, &request, "bob", given).await).contains("confirm"), "{wrong:?}");
    }
    assert_eq!(stored(&world, &request).await, request);
    approve(&world, &request, "bob", right).await.unwrap();
    let carols = link(&world, &request, "carol").await;
    let page = world.decide(&carols, Decision::Reject, None).await.unwrap();
    assert_eq!(page.request.state().status(), Status::Rejected);
}

#[tokio::test]
async fn all_approvals_are_for_the_payload_that_the_first_one_changed() {
    let (world, store) = world().await;
    let request = asked(&world, transfer()).await;
    let changed = payload(4500);
    let edit = [("payload.amount", "4500")];
    let carols = link(&world, &request, "carol").await;
    // Carol has opened her page before Bob changes anything.
    let seen_by_carol = of(&payload(5000), &[]);
    let bobs = approve(&world, &request, "bob", of(&changed, &edit)).await.unwrap();
    assert_eq!(bobs.request.state().payload_sha256(request.asked()), digest_of(&changed));

    let told = refusal(approve(&world, &request, "carol", seen_by_carol.clone()).await);
    assert!(told.contains("payload_sha256"), "{told}");
    let silent = Given { payload_sha256: None, ..of(&changed, &[]) };
    assert!(refusal(approve(&world, &request, "carol", silent).await).contains("payload_sha256"));
    // Whoever changes it further has to say what they have seen as well.
    let blind = Given { payload_sha256: None, ..of(&changed, &edit) };
    assert!(refusal(approve(&world, &request, "carol", blind).await).contains("payload_sha256"));
    let other = of(&payload(4000), &[("payload.amount", "4000")]);
    assert!(refusal(approve(&world, &request, "carol", other).await).contains("can no longer be changed"));
    let back = of(&payload(5000), &[("payload.amount", "5000")]);
    assert!(refusal(approve(&world, &request, "carol", back).await).contains("can no longer be changed"));

    // Bob alone may still change his mind; then Carol approves what he chose.
    let nicer = payload(4600);
    approve(&world, &request, "bob", of(&nicer, &[("payload.amount", "4600")])).await.unwrap();
    let shown = world.gate.review(&carols).await.unwrap();
    assert_eq!(shown.request.approvals_counted(&shown.policy), 1);
    let ended = approve(&world, &request, "carol", of(&nicer, &[])).await.unwrap();
    assert_eq!(ended.request.state().status(), Status::Approved);

    let committed = stored(&world, &request).await;
    let claims = committed.claims().unwrap();
    assert_eq!(claims.payload_sha256, digest_of(&nicer));
    assert_eq!(claims.decided_by, ["bob", "carol"]);
    assert_eq!(committed.state().payload(committed.asked()).value(), nicer);
    assert_eq!(
        committed.asked().headline_of(committed.state().payload(committed.asked())),
        "Transfer 4,600.00 EUR to ACME GmbH"
    );

    let trail = placet_testkit::Trail::audit_of(&*store, request.asked().approval_id.as_str()).await;
    let end = trail.iter().find(|entry| entry.event.as_str() == "request.approved").unwrap();
    assert_eq!(end.about.as_ref().map(|about| &about.payload_sha256), Some(&claims.payload_sha256));
    let recorded: Vec<_> = trail.iter().filter(|entry| entry.event.as_str() == "payload.changed").collect();
    assert_eq!(recorded.len(), 2);
    let (first, digest) = (recorded[0], digest_of(&changed));
    assert_eq!(first.actor, "bob");
    let expected =
        format!("payload.amount: payload_sha256 {} became {digest}", request.asked().payload_sha256);
    assert_eq!(first.detail.as_deref(), Some(&*expected));
    for entry in &trail {
        let text = serde_json::to_string(entry).unwrap();
        assert!(!text.contains("4500") && !text.contains("ACME") && !text.contains("Bearer"), "{text}");
    }
}

#[tokio::test]
async fn nothing_but_the_named_fields_can_be_changed_and_only_to_what_they_are() {
    let (world, _) = world().await;
    let request = asked(&world, transfer()).await;
    for (path, text, told) in [
        ("payload.to", "Mallory", "not a field that this rule lets a reviewer change"),
        ("payload.currency", "USD", "not a field that this rule lets a reviewer change"),
        ("payload", "{}", "not a field that this rule lets a reviewer change"),
        ("payload.amount.x", "1", "not a field that this rule lets a reviewer change"),
        ("payload.amount", "4,500", "must be a number"),
        ("payload.amount", "\"4500\"", "must be a number"),
        ("payload.amount", "9007199254740993", "beyond ±(2^53-1)"),
        ("payload.amount", "1e3", "must be a number"),
        ("payload.urgent", "perhaps", "must be `yes` or `no`"),
        ("payload.amount", "20000", "another rule of the policy would decide"),
    ] {
        let link = link(&world, &request, "bob").await;
        let given = Given { edits: edits(&[(path, text)]), ..Given::default() };
        let said = refusal(approve(&world, &request, "bob", given.clone()).await);
        assert!(said.contains(told), "{path} = {text}: {said}");
        assert!(world.gate.preview(&link, &given.edits).await.is_err(), "{path} = {text}");
    }
    // That somebody wanted what another rule decides is in the trail, and all else is as it was.
    let after = stored(&world, &request).await;
    let state = |request: &Request| (request.pending().cloned(), request.state().votes().to_vec());
    assert_eq!((state(&after), after.state().change()), (state(&request), None));
}

#[tokio::test]
async fn what_a_change_would_make_of_it_is_shown_first_and_nothing_is_written() {
    let (world, _) = world().await;
    let request = asked(&world, transfer()).await;
    let bobs = link(&world, &request, "bob").await;
    let mut expected = payload(4500);
    expected["note"] = json!("two\nlines");
    expected["urgent"] = json!(true);
    let wanted =
        edits(&[("payload.amount", "4500"), ("payload.note", "two\r\nlines"), ("payload.urgent", "yes")]);
    let change = world.gate.preview(&bobs, &wanted).await.unwrap().change.unwrap();
    assert_eq!((change.payload.value(), change.by), (expected, ReviewerId::parse("bob").unwrap()));
    let fields: Vec<_> = change.fields.iter().map(ToString::to_string).collect();
    assert_eq!(fields, ["payload.amount", "payload.note", "payload.urgent"]);
    let same = edits(&[("payload.amount", "5000.00"), ("payload.note", "October"), ("payload.urgent", "no")]);
    assert!(world.gate.preview(&bobs, &same).await.unwrap().change.is_none());
    assert_eq!(stored(&world, &request).await, request);
    let daves = link(&world, &request, "dave").await;
    assert!(world.gate.preview(&daves, &wanted).await.is_err(), "who is not asked has nothing to change");
}

#[tokio::test]
async fn what_is_masked_is_seen_by_nobody_and_approved_all_the_same() {
    let (world, _) = world().await;
    let request = asked(&world, transfer()).await;
    assert_eq!(request.asked().payload_sha256, digest_of(&payload(5000)));
    let shown = request.asked().shown(&request.asked().payload);
    let hidden = shown.pointer("/headers/Authorization").and_then(Value::as_str).unwrap();
    assert!(hidden.starts_with("[hidden ") && !shown.to_string().contains("abc"), "{shown}");
}
