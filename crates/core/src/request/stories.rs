//! Lives of requests, told as stories: each row says what happens, and how it ends.

use std::collections::BTreeMap;

use serde_json::json;

use super::{NewRequest, Request, State, Told, Transition, VoteInput, VoteOutcome};
use crate::Timestamp;
use crate::audit::{AuditEventKind, Channel};
use crate::id::{ApprovalId, ClientId, RequestId, ReviewerId};
use crate::payload::Payload;
use crate::policy::{Decision, Policy};
use crate::refusal::Refusal;

const POLICY: &str = r#"
clients = [
  { id = "agent", owner = "alice" },
  { id = "jira", roles = ["decider"], queues = ["backup"] },
  { id = "alices-jira", roles = ["decider"], queues = ["backup"], owner = "alice" },
]
reviewers = [
  { id = "alice", roles = ["finance", "alone"] },
  { id = "bob", roles = ["finance", "dev"] },
  { id = "carol", roles = ["finance", "owners"] },
  { id = "dave", roles = ["ops"], away = [{ from = 1970-01-01, until = 1970-01-01, backup = "erin" }] },
  { id = "erin", away = [{ from = 1970-01-02, until = 1970-01-02 }] },
]
rules = [
  { name = "small", when = 'action == "small" && payload.n <= 20', decide = "approve" },
  { name = "never", when = 'action == "never"', decide = "reject" },
  { name = "one", when = 'action == "one"', stages = [{ ask = ["dev"], within = "10s" }] },
  { name = "two", when = 'action == "two"', approvals = 2, stages = [
      { ask = ["finance"], within = "10s" }, { ask = ["owners"], within = "10s" }, { queue = "backup", within = "10s" } ] },
  { name = "owner", when = 'action == "owner"', owner_may_approve = true, stages = [{ ask = ["alone"], within = "10s" }] },
  { name = "alone", when = 'action == "alone"', stages = [{ ask = ["alone"], within = "10s" }] },
  { name = "silent", when = 'action == "silent"', stages = [
      { ask = ["dev"], within = "10s" }, { ask = ["owners"], within = "10s" } ] },
  { name = "doubtful", when = 'action == "doubtful" && payload.n > 3', stages = [{ ask = ["dev"], within = "10s" }] },
  { name = "away", when = 'action == "away"', stages = [{ ask = ["ops"], within = "10s" }] },
]
"#;

fn policy() -> Policy {
    Policy::read(POLICY).unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn ask(action: &str, timeout_seconds: Option<i64>) -> (Request, Transition) {
    let policy = policy();
    let client = policy.client(&ClientId::parse("agent").unwrap()).unwrap();
    let payload = json!({"n": 20});
    let (asked, mut change) = Request::open(
        NewRequest {
            approval_id: ApprovalId::from_parts(at(0), 1),
            request_id: RequestId::parse("r1").unwrap(),
            question_sha256: String::new(),
            action: action.into(),
            summary: "please".into(),
            payload: Payload::new(payload.as_object().unwrap()).unwrap(),
            metadata: BTreeMap::new(),
            callback_url: None,
            timeout_ms: timeout_seconds.map(|seconds| seconds * 1000),
            issuer: "https://gate.example.com".into(),
            epoch: 1,
        },
        client,
        &policy,
        at(0),
    );
    change.chain(&asked, None);
    (Request { asked, life: change.life.clone(), version: 1 }, change)
}

/// Plays acts such as `3 bob approves`, `10 time`, `4 cancel`, `21 jira rejects`; returns how each went, and the end.
fn play(action: &str, acts: &[&str]) -> (Vec<String>, Request) {
    play_with(action, None, Told::Yes, acts)
}

fn play_with(action: &str, timeout: Option<i64>, told: Told, acts: &[&str]) -> (Vec<String>, Request) {
    let policy = policy();
    let (mut request, _) = ask(action, timeout);
    let mut answers = Vec::new();
    for act in acts {
        let words: Vec<_> = act.split(' ').collect();
        let now = at(words[0].parse().unwrap());
        let decision = |word: &str| if word == "approves" { Decision::Approve } else { Decision::Reject };
        let result = match words[1] {
            "time" => Ok(request.expire(&policy, told, now)),
            "cancel" => request.cancel(now).map(Some),
            "redeem" => request.redeem(words[2], now),
            who if who.ends_with("jira") => {
                let decider = policy.client(&ClientId::parse(who).unwrap()).unwrap();
                request.answer(decider, decision(words[2]), None, &policy, now).map(Some)
            }
            who => {
                let ballot = VoteInput {
                    reviewer: ReviewerId::parse(who).unwrap(),
                    decision: decision(words[2]),
                    reason: None,
                    channel: Channel::Page,
                };
                request.vote(&ballot, &policy, now).map(|voted| match voted {
                    VoteOutcome::Changed(change) => Some(*change),
                    VoteOutcome::Unchanged => None,
                })
            }
        };
        answers.push(match result {
            Ok(Some(mut change)) => {
                let ended = request.outcome().cloned();
                let entries = change.chain(&request.asked, Some("hash"));
                assert_eq!(entries.last().map(|entry| &entry.hash), Some(&change.life.chain.hash));
                request.life = change.life;
                assert!(ended.is_none() || ended.as_ref() == request.outcome(), "an end never changes");
                "ok".to_owned()
            }
            Ok(None) => "same".to_owned(),
            Err(refusal) => refusal.code().to_owned(),
        });
    }
    (answers, request)
}

fn end(request: &Request) -> String {
    request.outcome().map_or_else(
        || format!("pending {}", request.stage().unwrap() + 1),
        |outcome| {
            let by: Vec<_> = outcome.decided_by.iter().map(ToString::to_string).collect();
            format!("{} by {} at {}", outcome.status.as_str(), by.join("+"), outcome.decided_at.seconds())
        },
    )
}

#[test]
fn requests_end_as_their_stories_say() {
    #[rustfmt::skip]
    let stories: &[(&str, &[&str], &[&str], &str)] = &[
        // Rules that decide alone.
        ("small",  &[], &[], "approved by policy:small at 0"),
        ("never",  &["1 bob approves"], &["already_decided"], "rejected by policy:never at 0"),
        ("other",  &[], &[], "rejected by policy:default at 0"),
        // One reviewer is enough.
        ("one",    &["3 bob approves"], &["ok"], "approved by bob at 3"),
        ("one",    &["3 bob rejects", "4 bob approves"], &["ok", "already_decided"], "rejected by bob at 3"),
        ("one",    &["3 carol approves"], &["link_expired"], "pending 1"),
        ("one",    &["3 cancel", "4 bob approves", "5 cancel"], &["ok", "already_decided", "already_decided"], "cancelled by client:agent at 3"),
        // The deadline is part of the rule, whoever looks and whenever.
        ("one",    &["10 bob approves"], &["link_expired"], "pending 1"),
        ("one",    &["9 time", "10 time", "11 bob approves"], &["same", "ok", "already_decided"], "expired by timeout:one at 10"),
        ("one",    &["99 time"], &["ok"], "expired by timeout:one at 10"),
        ("one",    &["10 cancel"], &["ok"], "cancelled by client:agent at 10"),
        // A quorum is of distinct people; one rejection ends it.
        ("two",    &["1 bob approves", "2 bob approves", "3 carol approves"], &["ok", "same", "ok"], "approved by bob+carol at 3"),
        ("two",    &["1 bob approves", "2 carol rejects"], &["ok", "ok"], "rejected by carol at 2"),
        ("two",    &["1 bob approves", "2 bob rejects"], &["ok", "ok"], "rejected by bob at 2"),
        // The owner of the asking client may stop it, but not approve it.
        ("two",    &["1 alice approves", "2 bob approves", "3 alice approves"], &["forbidden", "ok", "forbidden"], "pending 1"),
        ("two",    &["1 alice rejects"], &["ok"], "rejected by alice at 1"),
        ("owner",  &["1 alice approves"], &["ok"], "approved by alice at 1"),
        ("alone",  &[], &[], "rejected by policy:alone at 0"),
        // Escalation: who was asked before is too late; what they said still counts.
        ("two",    &["1 bob approves", "10 time", "11 bob approves", "12 carol approves"], &["ok", "ok", "link_expired", "ok"], "approved by bob+carol at 12"),
        ("two",    &["10 time", "11 carol approves", "12 bob rejects"], &["ok", "ok", "link_expired"], "pending 2"),
        ("two",    &["20 time", "21 jira approves"], &["ok", "ok"], "approved by client:jira at 21"),
        ("two",    &["20 time", "21 carol approves", "21 alices-jira approves", "22 alices-jira rejects"], &["ok", "link_expired", "forbidden", "ok"], "rejected by client:alices-jira at 22"),
        ("two",    &["1 jira approves"], &["forbidden"], "pending 1"),
        ("two",    &["30 time"], &["ok"], "expired by timeout:two at 30"),
        // Silence approves only where the rule says so, and only if every stage was heard.
        ("silent", &["10 time", "20 time"], &["ok", "ok"], "expired by timeout:silent at 20"),
        ("silent", &["20 time"], &["ok"], "expired by timeout:silent at 20"),
        ("silent", &["10 time", "15 carol rejects", "20 time"], &["ok", "ok", "same"], "rejected by carol at 15"),
        ("doubtful", &["10 time"], &["ok"], "expired by timeout:doubtful at 10"),
        // Whoever is away is replaced.
        ("away",   &["1 dave approves", "2 erin approves"], &["link_expired", "ok"], "approved by erin at 2"),
        // A clock that was set back does not reopen what has passed.
        ("two",    &["10 time", "3 bob approves", "3 carol approves"], &["ok", "link_expired", "ok"], "pending 2"),
        // A token is used once, in time.
        ("one",    &["3 redeem a", "4 bob approves", "5 redeem a", "6 redeem a", "7 redeem b"], &["not_approved", "ok", "ok", "same", "already_redeemed"], "approved by bob at 4"),
        ("one",    &["4 bob approves", "3604 redeem a"], &["ok", "token_expired"], "approved by bob at 4"),
        ("one",    &["4 bob approves", "3603 redeem a", "9999 redeem a"], &["ok", "ok", "same"], "approved by bob at 4"),
        ("never",  &["3 redeem a"], &["not_approved"], "rejected by policy:never at 0"),
    ];
    for (action, acts, answers, ending) in stories {
        let (answered, request) = play(action, acts);
        assert_eq!(
            (answered.as_slice(), end(&request).as_str()),
            (answers.iter().map(|answer| (*answer).to_owned()).collect::<Vec<_>>().as_slice(), *ending),
            "{action} {acts:?}"
        );
    }
}

#[test]
fn what_cannot_be_evaluated_is_never_approved_but_by_a_person() {
    let policy = policy();
    let client = policy.client(&ClientId::parse("agent").unwrap()).unwrap();
    for (action, ends) in [("small", "rejected by policy:small at 0"), ("doubtful", "pending 1")] {
        let (template, _) = ask("one", None);
        let payload = json!({"n": "many"});
        let ask = NewRequest {
            approval_id: template.asked.approval_id.clone(),
            request_id: template.asked.request_id.clone(),
            question_sha256: String::new(),
            action: action.into(),
            summary: String::new(),
            payload: Payload::new(payload.as_object().unwrap()).unwrap(),
            metadata: BTreeMap::new(),
            callback_url: None,
            timeout_ms: None,
            issuer: String::new(),
            epoch: 1,
        };
        let (asked, change) = Request::open(ask, client, &policy, at(0));
        let mut request = Request { asked, life: change.life, version: 1 };
        assert_eq!(end(&request), ends, "{action}");
        if let Some(change) = request.expire(&policy, Told::Yes, at(10)) {
            request.life = change.life;
            assert_eq!(end(&request), "expired by timeout:doubtful at 10");
        }
    }
}

#[test]
fn a_caller_cannot_shorten_its_way_to_a_silent_approval() {
    for (timeout, ending) in [
        (None, "expired by timeout:silent at 20"),
        (Some(20), "expired by timeout:silent at 20"),
        (Some(99), "expired by timeout:silent at 20"),
        (Some(19), "expired by timeout:silent at 19"),
        (Some(1), "expired by timeout:silent at 1"),
    ] {
        let (_, request) =
            play_with("silent", timeout, Told::Yes, &["1 time", "10 time", "19 time", "20 time"]);
        assert_eq!(end(&request), ending, "{timeout:?}");
    }
}

#[test]
fn a_stage_whose_reviewers_were_not_told_is_no_consent() {
    let (_, request) = play_with("silent", None, Told::No, &["10 time", "20 time"]);
    assert_eq!(end(&request), "expired by timeout:silent at 20");
}

#[test]
fn the_trail_of_a_life_is_one_chain_with_one_end() {
    let policy = policy();
    let (mut request, _) = ask("two", None);
    let mut events = Vec::new();
    for who in ["bob", "carol"] {
        let ballot = VoteInput {
            reviewer: ReviewerId::parse(who).unwrap(),
            decision: Decision::Approve,
            reason: Some("fine".into()),
            channel: Channel::Page,
        };
        let Ok(VoteOutcome::Changed(mut change)) = request.vote(&ballot, &policy, at(1)) else {
            panic!("refused")
        };
        let entries = change.chain(&request.asked, Some("hash"));
        for entry in &entries {
            assert_eq!(entry.computed_hash(), entry.hash);
            events.push((
                entry.seq,
                entry.event,
                entry.actor.clone(),
                entry.approved,
                entry.token_hash.clone(),
            ));
        }
        request.life = change.life;
    }
    let hash = Some("hash".to_owned());
    assert_eq!(
        events,
        [
            (3, AuditEventKind::VoteCast, "bob".to_owned(), true, None),
            (4, AuditEventKind::VoteCast, "carol".to_owned(), true, None),
            (5, AuditEventKind::Approved, "bob, carol".to_owned(), true, hash),
        ]
    );
}

#[test]
fn a_life_survives_storage() {
    let (_, request) = play("two", &["1 bob approves", "10 time", "12 carol approves", "13 redeem run-7"]);
    let asked: super::ApprovalRequest =
        serde_json::from_str(&serde_json::to_string(&*request.asked).unwrap()).unwrap();
    let life: super::RequestState =
        serde_json::from_str(&serde_json::to_string(&request.life).unwrap()).unwrap();
    assert_eq!((asked, life), ((*request.asked).clone(), request.life.clone()));
    assert!(matches!(request.life.state, State::Ended(_)));
}

#[test]
fn a_reviewer_who_left_the_policy_no_longer_counts() {
    let (mut request, _) = ask("two", None);
    let vote = |request: &Request, who: &str, policy: &Policy| {
        let ballot = VoteInput {
            reviewer: ReviewerId::parse(who).unwrap(),
            decision: Decision::Approve,
            reason: None,
            channel: Channel::Page,
        };
        request.vote(&ballot, policy, at(1))
    };
    let Ok(VoteOutcome::Changed(change)) = vote(&request, "bob", &policy()) else { panic!("refused") };
    request.life = change.life;
    let without = |who: &str| {
        let line = POLICY.lines().find(|line| line.contains(&format!("id = \"{who}\""))).unwrap();
        POLICY.replace(line, "").replace("[\"dev\"]", "[\"finance\"]")
    };
    let without_bob = Policy::read(&without("bob")).unwrap();
    assert!(matches!(vote(&request, "bob", &without_bob), Err(Refusal::LinkExpired)));
    let Ok(VoteOutcome::Changed(change)) = vote(&request, "carol", &without_bob) else { panic!("refused") };
    assert!(change.life.votes.len() == 2 && !change.ends(), "bob's word went with him");
}

#[test]
fn silence_approves_nothing_when_everybody_who_was_asked_has_left() {
    let (mut request, _) = ask("silent", None);
    request.life = request.expire(&policy(), Told::Yes, at(10)).unwrap().life;
    let carol = POLICY.lines().find(|line| line.contains("id = \"carol\"")).unwrap();
    let dave = r#"  { id = "carla", roles = ["finance", "owners"] },"#;
    let without_carol = Policy::read(&POLICY.replace(carol, dave)).unwrap();
    for (policy, ending) in
        [(policy(), "expired by timeout:silent at 20"), (without_carol, "expired by timeout:silent at 20")]
    {
        let life = request.expire(&policy, Told::Yes, at(20)).unwrap().life;
        assert_eq!(end(&Request { life, ..request.clone() }), ending);
    }
}

#[test]
fn an_approval_by_somebody_who_has_come_to_own_the_client_does_not_count() {
    let (mut request, _) = ask("two", None);
    let bobs = Policy::read(
        &POLICY.replace("owner = \"alice\" },\n  { id = \"jira\"", "owner = \"bob\" },\n  { id = \"jira\""),
    )
    .unwrap();
    for (who, policy) in [("bob", policy()), ("carol", bobs)] {
        let ballot = VoteInput {
            reviewer: ReviewerId::parse(who).unwrap(),
            decision: Decision::Approve,
            reason: None,
            channel: Channel::Page,
        };
        let Ok(VoteOutcome::Changed(change)) = request.vote(&ballot, &policy, at(1)) else {
            panic!("refused")
        };
        request.life = change.life;
    }
    assert_eq!((end(&request).as_str(), request.life.votes.len()), ("pending 1", 2));
}
