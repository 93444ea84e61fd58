//! What a reviewer changes in a payload: which changes may be approved, what is approved then, and what is recorded.

use std::collections::BTreeMap;
use std::convert::Infallible;

use serde_json::{Value, json};

use super::{Told, at, client, commit, end, reviewer};
use crate::audit::{AuditEventKind, Channel};
use crate::id::{ApprovalId, RequestId};
use crate::payload::Payload;
use crate::policy::{Decision, Policy};
use crate::request::{Edit, Given, NewRequest, Opened, Request, VoteInput, VoteOutcome, stored};

const POLICY: &str = r#"
clients = [{ id = "agent", owner = "alice" }]
reviewers = [
  { id = "alice", roles = ["finance"] },
  { id = "bob", roles = ["finance"] },
  { id = "carol", roles = ["finance"] },
]
rules = [
  { name = "much", when = 'total("payload.amount", "24h", "payload.to") > 9000', decide = "reject" },
  { name = "tiny", when = 'payload.amount < 10', decide = "approve" },
  { name = "transfer", when = 'int(payload.code) >= 0', approvals = 2, confirm = true,
    title = "Transfer {payload.amount} to {payload.to}", mask = ["payload.account"],
    editable = ["payload.amount", "payload.to", "payload.code", "payload.note", "payload.absent"],
    stages = [{ ask = ["finance"], within = "10s" }] },
]
"#;

fn policy() -> Policy {
    Policy::read(POLICY).unwrap()
}

fn payload(amount: u32) -> Value {
    json!({"amount": amount, "to": "acme", "code": "7", "note": "October", "account": "DE89 3704 0044"})
}

fn digest(payload: &Value) -> String {
    Payload::new(payload.as_object().unwrap()).unwrap().sha256()
}

fn asked_as(number: u128) -> (Request, Told) {
    let new = NewRequest {
        approval_id: ApprovalId::from_parts(at(0), number),
        request_id: RequestId::parse("r1").unwrap(),
        action: "transfer".into(),
        summary: "Pay from DE89 3704 0044".into(),
        payload: Payload::new(payload(5000).as_object().unwrap()).unwrap(),
        metadata: BTreeMap::new(),
        callback_url: None,
        timeout_ms: None,
        issuer: "https://gate.example.com".into(),
        epoch: 1,
    };
    let policy = policy();
    let Opened { asked, transition } =
        Request::open(new, policy.client(&client("agent")).unwrap(), &policy, at(0));
    let Ok(chained) = transition.chain(&asked, |_| Ok::<_, Infallible>("token".to_owned()));
    let request = Request::inserted(asked, chained.state);
    assert_eq!(request.asked().rule.as_deref(), Some("transfer"));
    (request, Told::default())
}

fn asked() -> (Request, Told) {
    asked_as(1)
}

fn edits(typed: &[(&str, &str)]) -> Vec<Edit> {
    typed.iter().map(|(path, text)| Edit { path: (*path).to_owned(), text: (*text).to_owned() }).collect()
}

/// What the page of somebody sends who approves that payload, as they changed it.
fn of(payload: &Value, typed: &[(&str, &str)]) -> Given {
    let digest = digest(payload);
    Given {
        confirmation: Some(format!(" {} ", digest[60..].to_uppercase())),
        edits: edits(typed),
        payload_sha256: Some(digest),
    }
}

/// Somebody votes; the answer is `ok`, `same`, or why it was refused.
fn vote(
    (request, told): &mut (Request, Told),
    seconds: i64,
    who: &str,
    decision: Decision,
    given: Given,
) -> String {
    let input = VoteInput {
        reviewer: reviewer(who),
        decision,
        reason: None,
        channel: Channel::Page,
        given,
        opened_at: None,
    };
    match request.vote(&input, &policy(), at(seconds)) {
        Ok(VoteOutcome::Changed(transition)) => {
            commit(request, *transition, told);
            "ok".to_owned()
        }
        Ok(VoteOutcome::Unchanged) => "same".to_owned(),
        Err(refusal) => format!("{} {refusal:?}", refusal.code()),
    }
}

fn approve(world: &mut (Request, Told), seconds: i64, who: &str, given: Given) -> String {
    vote(world, seconds, who, Decision::Approve, given)
}

/// What was changed by now: the amount, by whom, and in which fields.
fn changed(request: &Request) -> Option<(Value, String, Vec<String>)> {
    let change = request.state().change()?;
    let fields = change.fields.iter().map(ToString::to_string).collect();
    assert_eq!(change.payload_sha256, change.payload.sha256());
    Some((change.payload.value(), change.by.to_string(), fields))
}

#[test]
fn all_approvals_are_for_what_the_first_one_changed() {
    let mut world = asked();
    let (first, typed) = (payload(4000), [("payload.amount", "4000")]);
    assert_eq!(approve(&mut world, 1, "bob", of(&first, &typed)), "ok");
    assert_eq!(changed(&world.0), Some((first.clone(), "bob".into(), vec!["payload.amount".into()])));
    assert_eq!(world.0.state().votes()[0].payload_sha256, Some(digest(&first)));
    assert_eq!(approve(&mut world, 1, "bob", of(&first, &typed)), "same");
    // Bob alone has approved it, so he may change it once more.
    let second =
        json!({"amount": 3900.5, "to": "acme", "code": "7", "note": "November", "account": "DE89 3704 0044"});
    let typed = [("payload.note", "November"), ("payload.amount", "3900.50")];
    assert_eq!(approve(&mut world, 2, "bob", of(&second, &typed)), "ok");
    let fields = vec!["payload.amount".to_owned(), "payload.note".to_owned()];
    assert_eq!(changed(&world.0), Some((second.clone(), "bob".into(), fields)));
    assert_eq!(world.0.state().votes().len(), 1);

    // Carol cannot change what Bob has approved, not even back; and she says what she has seen.
    let before = world.0.clone();
    for (given, told) in [
        (
            of(&payload(3000), &[("payload.note", "October"), ("payload.amount", "3000")]),
            "can no longer be changed",
        ),
        (
            of(&payload(5000), &[("payload.note", "October"), ("payload.amount", "5000")]),
            "can no longer be changed",
        ),
        (of(&payload(5000), &[]), "is not of what is asked by now"),
        (Given { payload_sha256: None, ..of(&second, &[]) }, "a reviewer has changed what is asked"),
        (Given { confirmation: None, ..of(&second, &[]) }, "last four characters"),
        (
            Given { confirmation: of(&payload(5000), &[]).confirmation, ..of(&second, &[]) },
            "last four characters",
        ),
    ] {
        let said = approve(&mut world, 3, "carol", given);
        assert!(said.contains(told), "{told}: {said}");
    }
    assert_eq!(world.0, before);
    assert_eq!(approve(&mut world, 4, "carol", of(&second, &[])), "ok");
    assert_eq!(end(&world.0), "approved by bob+carol at 4");
    let claims = world.0.claims().unwrap();
    assert_eq!(claims.payload_sha256, digest(&second));
    assert_eq!(changed(&world.0).map(|(payload, by, _)| (payload, by)), Some((second.clone(), "bob".into())));

    let trail: Vec<_> = world
        .1
        .entries
        .iter()
        .map(|entry| {
            let about = entry.about.as_ref().map(|about| about.payload_sha256.clone()).unwrap();
            (entry.event, entry.actor.as_str(), entry.detail.clone().unwrap_or_default(), about)
        })
        .collect();
    let (asked, first, second) = (digest(&payload(5000)), digest(&first), digest(&second));
    let became = |fields: &str, from: &str, to: &str| format!("{fields}: payload_sha256 {from} became {to}");
    assert_eq!(
        trail,
        [
            (AuditEventKind::PayloadChanged, "bob", became("payload.amount", &asked, &first), first.clone()),
            (AuditEventKind::VoteCast, "bob", "approve".into(), first.clone()),
            (
                AuditEventKind::PayloadChanged,
                "bob",
                became("payload.amount, payload.note", &first, &second),
                second.clone()
            ),
            (AuditEventKind::VoteCast, "bob", "approve".into(), second.clone()),
            (AuditEventKind::VoteCast, "carol", "approve".into(), second.clone()),
            (AuditEventKind::Approved, "bob, carol", String::new(), second),
        ]
    );
}

#[test]
fn what_is_changed_back_is_what_was_asked() {
    let mut world = asked();
    assert_eq!(approve(&mut world, 1, "bob", of(&payload(4000), &[("payload.amount", "4000")])), "ok");
    assert_eq!(approve(&mut world, 2, "bob", of(&payload(5000), &[("payload.amount", "5000")])), "ok");
    assert_eq!((changed(&world.0), world.0.state().votes()[0].payload_sha256.as_ref()), (None, None));
    let details: Vec<_> = world.1.entries.iter().filter_map(|entry| entry.detail.as_deref()).collect();
    assert!(details[2].starts_with("payload.amount: payload_sha256 "), "{details:?}");
    // Whoever does not say what they saw has seen what was asked.
    let silent = Given { payload_sha256: None, ..of(&payload(5000), &[]) };
    assert_eq!(approve(&mut world, 3, "carol", silent), "ok");
    assert_eq!(world.0.claims().unwrap().payload_sha256, digest(&payload(5000)));
}

#[test]
fn a_rejection_leaves_what_was_changed_and_needs_no_more_than_the_word() {
    let mut world = asked();
    assert_eq!(approve(&mut world, 1, "bob", of(&payload(4000), &[("payload.amount", "4000")])), "ok");
    assert_eq!(vote(&mut world, 2, "carol", Decision::Reject, Given::default()), "ok");
    assert_eq!(end(&world.0), "rejected by carol at 2");
    assert_eq!(changed(&world.0).map(|(payload, ..)| payload), Some(payload(4000)));
    assert_eq!(world.1.entries.len(), 4, "the payload was changed once");
}

#[test]
fn what_another_rule_would_decide_or_a_total_has_not_counted_is_asked_anew() {
    let (request, _) = asked();
    let preview = |typed: &[(&str, &str)]| request.preview(&edits(typed), &reviewer("bob"), &policy());
    let other = "another rule of the policy would decide";
    for (typed, told) in [
        (("payload.amount", "9001"), other),
        // Less than was counted, under the recipient that was counted: but the rule for small ones decides alone.
        (("payload.amount", "9"), other),
        // The rule is its own, but more would go there than the total has counted.
        (("payload.amount", "5001"), other),
        (("payload.to", "zoe"), other),
        // The rule's own condition can no longer be evaluated.
        (("payload.code", "seven"), other),
        (("payload.account", "DE00"), "is not a field that this rule lets a reviewer change"),
        (("payload.absent", "1"), "is not in the payload"),
        (("payload.amount", "a lot"), "must be a number"),
    ] {
        let refused = preview(&[typed]).unwrap_err();
        assert!(format!("{refused:?}").contains(told), "{typed:?}: {refused:?}");
        // A vote refuses what the preview refuses.
        let mut given = of(&payload(5000), &[typed]);
        given.payload_sha256 = None;
        let said = approve(&mut asked(), 1, "bob", given);
        assert!(said.contains(told), "{typed:?}: {said}");
    }
    let both = preview(&[("payload.to", "zoe"), ("payload.b", "1"), ("payload.absent", "1")]).unwrap_err();
    assert_eq!(format!("{both:?}").matches("edit:payload.").count(), 2, "{both:?}");
    let change = preview(&[("payload.amount", "10"), ("payload.note", "October")]).unwrap().unwrap();
    assert_eq!((change.payload.value(), change.by.as_str()), (payload(10), "bob"));
    assert_eq!(change.fields.iter().map(ToString::to_string).collect::<Vec<_>>(), ["payload.amount"]);
    assert_eq!(preview(&[("payload.amount", "5000.0")]).unwrap(), None);
    assert_eq!(preview(&[]).unwrap(), None);
}

#[test]
fn a_changed_request_survives_storage_and_an_older_build_refuses_it() {
    let mut world = asked();
    approve(&mut world, 1, "bob", of(&payload(4000), &[("payload.amount", "4000")]));
    let request = world.0;
    let question = stored::write_question(request.asked()).unwrap();
    let state = stored::write_state(request.state()).unwrap();
    assert_eq!(stored::read(&question, &state, request.version()).unwrap(), request);
    assert!(state.contains(r#""v":2"#) && question.contains(r#""v":1"#), "{state}");
    let newer = |question: &str, state: &str| stored::read(question, state, 1).unwrap_err().to_string();
    for (question, state, version) in [
        (question.replace(r#""v":1"#, r#""v":2"#), state.clone(), 2),
        (question.clone(), state.replace(r#""v":2"#, r#""v":3"#), 3),
        // Only what was changed has the second form: without a change it is one that is not known.
        (
            question.clone(),
            stored::write_state(asked().0.state()).unwrap().replace(r#""v":1"#, r#""v":2"#),
            2,
        ),
    ] {
        assert!(newer(&question, &state).contains(&format!("(format {version};")), "{state}");
    }
}

#[test]
fn people_see_neither_a_masked_field_nor_the_same_in_the_agents_words() {
    let (one, two) = (asked().0, asked_as(2).0);
    let shown = |request: &Request| request.asked().shown(&request.asked().payload).into_owned();
    let masked = shown(&one)["account"].as_str().unwrap().to_owned();
    let mut plain = payload(5000);
    plain["account"] = json!(masked);
    assert_eq!(shown(&one), plain);
    assert!(!masked.contains("DE89"), "{masked}");
    // The stand-in is the request's own: two requests do not show that they hide the same.
    assert_ne!(shown(&two)["account"], json!(masked));
    let summary = one.asked().shown_summary();
    assert!(summary.starts_with("Pay from ") && !summary.contains("DE89"), "{summary}");
    assert_eq!(one.asked().title().line(), "Transfer 5,000 to acme");
}
