//! What becomes of requests, told as stories: each row says what happens, and how it ends.

mod edits;
mod records;
mod turns;

use std::collections::BTreeMap;
use std::convert::Infallible;

use serde_json::json;

use super::{
    Canceller, Effect, Given, MAX_CALLBACKS, NewRequest, Opened, Request, RequestAlert, Standing, Status,
    Transition, VoteInput, VoteOutcome,
};
use crate::Timestamp;
use crate::audit::{AuditEntry, AuditEventKind, Channel};
use crate::id::{ApprovalId, ClientId, RequestId, ReviewerId};
use crate::payload::Payload;
use crate::policy::{Decision, Policy};
use crate::refusal::Refusal;

const POLICY: &str = r#"
clients = [
  { id = "agent", owner = "alice" },
  { id = "jira", roles = ["decider"], queues = ["backup"] },
  { id = "other-jira", roles = ["decider"], queues = ["other"] },
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
  { name = "one then", when = 'action == "one-then"', stages = [
      { ask = ["dev"], within = "10s" }, { ask = ["owners"], within = "10s" } ] },
  { name = "two", when = 'action == "two"', approvals = 2, stages = [
      { ask = ["finance"], within = "10s" }, { ask = ["owners"], within = "10s" }, { queue = "backup", within = "10s" } ] },
  { name = "owner", when = 'action == "owner"', owner_may_approve = true, stages = [{ ask = ["alone"], within = "10s" }] },
  { name = "alone", when = 'action == "alone"', stages = [{ ask = ["alone"], within = "10s" }] },
  { name = "doubtful", when = 'action == "doubtful" && payload.n > 3', stages = [{ ask = ["dev"], within = "10s" }] },
  { name = "away", when = 'action == "away"', stages = [{ ask = ["ops"], within = "10s" }] },
  { name = "away two", when = 'action == "away-two"', approvals = 2, stages = [{ ask = ["ops", "dev"], within = "10s" }] },
  { name = "queued", when = 'action == "queued"', stages = [
      { queue = "backup", within = "10s" }, { ask = ["dev"], within = "10s" } ] },
  { name = "night", when = 'action == "night"', stages = [
      { ask = ["dev"], within = "10s", hours = "07:00-20:00 UTC" }, { ask = ["owners"], within = "10s" } ] },
  { name = "day", when = 'action == "day"', stages = [
      { ask = ["dev"], within = "10s", hours = "00:00-12:00 UTC" }, { ask = ["owners"], within = "10s" } ] },
  { name = "never open", when = 'action == "never-open"', stages = [
      { ask = ["dev"], within = "10s", hours = "07:00-20:00 UTC" } ] },
]
"#;

/// The policy, as it was changed meanwhile.
fn policy(change: &str) -> Policy {
    let alice = r#"{ id = "alice", roles = ["finance", "alone"] }"#;
    let bob = r#"{ id = "bob", roles = ["finance", "dev"] }"#;
    let carol = r#"{ id = "carol", roles = ["finance", "owners"] }"#;
    let dave = r#"{ id = "dave", roles = ["ops"], away = [{ from = 1970-01-01, until = 1970-01-01, backup = "erin" }] }"#;
    let (from, to) = match change {
        "unchanged" => ("", ""),
        "bob-left" => (bob, r#"{ id = "zoe", roles = ["dev"] }"#),
        "bob-lost-finance" => (bob, r#"{ id = "bob", roles = ["dev"] }"#),
        "bob-is-away" => (
            bob,
            r#"{ id = "bob", roles = ["finance", "dev"], away = [{ from = 1970-01-01, until = 1970-01-01 }] }"#,
        ),
        "bob-owns-agent" => (r#"{ id = "agent", owner = "alice" }"#, r#"{ id = "agent", owner = "bob" }"#),
        "carol-is-away" => (
            carol,
            r#"{ id = "carol", roles = ["finance", "owners"], away = [{ from = 1970-01-01, until = 1970-01-01 }] }"#,
        ),
        "alice-owns-nothing" => (r#"{ id = "agent", owner = "alice" }"#, r#"{ id = "agent" }"#),
        "alice-is-away" => (
            alice,
            r#"{ id = "alice", roles = ["finance", "alone"], away = [{ from = 1970-01-01, until = 1970-01-01, backup = "erin" }] }"#,
        ),
        "alice-lost-finance" => (alice, r#"{ id = "alice", roles = ["alone"] }"#),
        "dave-is-back" => (dave, r#"{ id = "dave", roles = ["ops"] }"#),
        "dave-left" => (dave, r#"{ id = "zoe", roles = ["ops"] }"#),
        "dave-names-carol" => {
            (r#"until = 1970-01-01, backup = "erin""#, r#"until = 1970-01-01, backup = "carol""#)
        }
        "zoe-joined" => {
            (bob, r#"{ id = "bob", roles = ["finance", "dev"] }, { id = "zoe", roles = ["dev"] }"#)
        }
        "jira-lost-backup" => (
            r#"{ id = "jira", roles = ["decider"], queues = ["backup"] }"#,
            r#"{ id = "jira", roles = ["decider"], queues = ["other"] }"#,
        ),
        other => unreachable!("no policy is called {other}"),
    };
    let text = if from.is_empty() { POLICY.to_owned() } else { POLICY.replace(from, to) };
    assert_eq!(text == POLICY, from.is_empty(), "{change} changes nothing");
    let version = if change == "unchanged" { 1 } else { 2 };
    match Policy::read(&text) {
        Ok(policy) => Policy { version, ..policy },
        Err(diagnostics) => unreachable!("{change}: {diagnostics:?}"),
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn reviewer(id: &str) -> ReviewerId {
    ReviewerId::parse(id).unwrap()
}

fn client(id: &str) -> ClientId {
    ClientId::parse(id).unwrap()
}

/// Entries of a request's trail, and whom it told, in order.
#[derive(Default)]
struct Told {
    entries: Vec<AuditEntry>,
    effects: Vec<Effect>,
}

fn ask(action: &str, timeout_seconds: Option<i64>) -> (Request, Told) {
    let policy = policy("unchanged");
    let payload = json!({"n": 20});
    ask_under(action, &payload, timeout_seconds, &policy)
}

fn ask_under(
    action: &str,
    payload: &serde_json::Value,
    timeout_seconds: Option<i64>,
    policy: &Policy,
) -> (Request, Told) {
    let new = NewRequest {
        approval_id: ApprovalId::from_parts(at(0), 1),
        request_id: RequestId::parse("r1").unwrap(),
        action: action.into(),
        summary: "please".into(),
        payload: Payload::new(payload.as_object().unwrap()).unwrap(),
        metadata: BTreeMap::new(),
        callback_url: Some("https://a.example.com/0".into()),
        timeout_ms: timeout_seconds.map(|seconds| seconds * 1000),
        issuer: "https://gate.example.com".into(),
        epoch: 1,
    };
    let Opened { asked, transition } =
        Request::open(new, policy.client(&client("agent")).unwrap(), policy, at(0));
    let effects = transition.effects().to_vec();
    let Ok(chained) = transition.chain(&asked, |_| Ok::<_, Infallible>("token".to_owned()));
    (Request::inserted(asked, chained.state), Told { entries: chained.entries, effects })
}

/// Commits a transition, as a store would.
fn commit(request: &mut Request, transition: Transition, told: &mut Told) {
    let before = request.outcome().cloned();
    told.effects.extend(transition.effects().iter().cloned());
    let Ok(chained) = transition.chain(request.asked(), |_| Ok::<_, Infallible>("token".to_owned()));
    assert_eq!(chained.entries.last().map(|entry| &entry.hash), Some(&chained.state.chain_head().hash));
    // A state changed when the last entry of its trail says so: a clock that is set back is measured against that.
    assert_eq!(chained.entries.last().map(|entry| entry.timestamp), Some(chained.state.updated_at()));
    told.entries.extend(chained.entries);
    *request = request.committed(chained.state);
    assert!(before.is_none() || before.as_ref() == request.outcome(), "an end never changes");
}

/// Plays acts such as `3 bob approves`, `10 time`, `4 cancel`, `21 jira rejects`, `2 policy bob-left`, `2 reassign`;
/// returns how each went, and the end.
fn play(action: &str, acts: &[&str]) -> (Vec<String>, Request, Told) {
    play_with(action, None, acts)
}

fn play_with(action: &str, timeout: Option<i64>, acts: &[&str]) -> (Vec<String>, Request, Told) {
    let mut in_force = policy("unchanged");
    let (mut request, mut told) = ask(action, timeout);
    let mut answers = Vec::new();
    for act in acts {
        let words: Vec<_> = act.split(' ').collect();
        let now = at(words[0].parse().unwrap());
        let decision = |word: &str| if word == "approves" { Decision::Approve } else { Decision::Reject };
        let result = match words[1] {
            "policy" => {
                in_force = policy(words[2]);
                continue;
            }
            "time" => Ok(request.expire(&in_force, now)),
            "reassign" => Ok(request.reassign(&in_force, now)),
            "cancel" => request.cancel(Canceller::Asker, now).map(Some),
            "run-is-over" => request.cancel(Canceller::RunIsOver, now).map(Some),
            "operator-cancels" => request.cancel(Canceller::Operator, now).map(Some),
            "redeem" => request.redeem(words[2], &client("agent"), now),
            "join" => request.join(Some(words[2]), now),
            who if who.ends_with("jira") => {
                let decider = in_force.client(&client(who)).unwrap();
                request.answer(decider, decision(words[2]), None, &in_force, now).map(Some)
            }
            who => {
                let input = VoteInput {
                    reviewer: reviewer(who),
                    decision: decision(words[2]),
                    reason: None,
                    channel: Channel::Page,
                    given: Given::default(),
                    opened_at: None,
                };
                request.vote(&input, &in_force, now).map(|voted| match voted {
                    VoteOutcome::Changed(transition) => Some(*transition),
                    VoteOutcome::Unchanged => None,
                })
            }
        };
        answers.push(match result {
            Ok(Some(transition)) => {
                commit(&mut request, transition, &mut told);
                "ok".to_owned()
            }
            Ok(None) => "same".to_owned(),
            Err(refusal) => refusal.code().to_owned(),
        });
    }
    (answers, request, told)
}

fn end(request: &Request) -> String {
    match (request.pending(), request.outcome()) {
        (Some(pending), _) => {
            let deserted = if pending.deserted { " deserted" } else { "" };
            format!("pending {}{deserted}", pending.stage + 1)
        }
        (None, Some(outcome)) => {
            let by: Vec<String> = outcome.decided_by.iter().map(ToString::to_string).collect();
            format!("{} by {} at {}", outcome.status(), by.join("+"), outcome.decided_at.seconds())
        }
        (None, None) => unreachable!("a request waits or has ended"),
    }
}

fn check(stories: &[(&str, &[&str], &[&str], &str)]) {
    for (action, acts, answers, ending) in stories {
        let (answered, request, _) = play(action, acts);
        assert_eq!(
            (answered.as_slice(), end(&request).as_str()),
            (owned(answers).as_slice(), *ending),
            "{action} {acts:?}"
        );
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[rustfmt::skip]
#[test]
fn requests_end_as_their_stories_say() {
    check(&[
        ("small",  &[], &[], "approved by policy:small at 0"),
        ("never",  &["3 bob approves", "3 cancel"], &["already_decided", "already_decided"], "rejected by policy:never at 0"),
        ("absent", &[], &[], "rejected by policy:default at 0"),
        // One stage: the first word ends it, and time ends it without one.
        ("one",    &["3 bob approves"], &["ok"], "approved by bob at 3"),
        ("one",    &["3 bob rejects"], &["ok"], "rejected by bob at 3"),
        ("one",    &["3 bob approves", "4 bob rejects"], &["ok", "already_decided"], "approved by bob at 3"),
        ("one",    &["3 carol approves"], &["link_expired"], "pending 1"),
        ("one",    &["3 cancel", "4 bob approves"], &["ok", "already_decided"], "cancelled by client:agent at 3"),
        ("one",    &["3 operator-cancels", "4 cancel"], &["ok", "already_decided"], "cancelled by operator:cli at 3"),
        ("one",    &["3 run-is-over", "4 cancel"], &["ok", "already_decided"], "cancelled by client:agent at 3"),
        ("one",    &["3 bob approves", "4 run-is-over"], &["ok", "already_decided"], "approved by bob at 3"),
        // The deadline is the first moment that is too late, whether or not anybody has looked.
        ("one",    &["9 time", "10 bob approves"], &["same", "link_expired"], "pending 1"),
        ("one",    &["10 time", "11 bob approves"], &["ok", "already_decided"], "expired by timeout:one at 10"),
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
        ("two",    &["30 time"], &["ok"], "expired by timeout:two at 30"),
        // Silence is never consent, however many stages were heard.
        ("one-then", &["10 time", "20 time"], &["ok", "ok"], "expired by timeout:one then at 20"),
        ("one-then", &["1 bob approves"], &["ok"], "approved by bob at 1"),
        ("doubtful", &["10 time"], &["ok"], "expired by timeout:doubtful at 10"),
        // Whoever is away is replaced.
        ("away",   &["2 erin approves"], &["ok"], "approved by erin at 2"),
        // A clock that was set back does not reopen what has passed.
        ("two",    &["10 time", "3 bob approves", "3 carol approves"], &["ok", "link_expired", "ok"], "pending 2"),
        // A token is used once, in time.
        ("one",    &["3 redeem a", "4 bob approves", "5 redeem a", "6 redeem a", "7 redeem b"], &["not_approved", "ok", "ok", "same", "already_redeemed"], "approved by bob at 4"),
        ("one",    &["4 bob approves", "3604 redeem a"], &["ok", "token_expired"], "approved by bob at 4"),
        ("one",    &["4 bob approves", "3603 redeem a", "9999 redeem a"], &["ok", "ok", "same"], "approved by bob at 4"),
        ("never",  &["3 redeem a"], &["not_approved"], "rejected by policy:never at 0"),
    ]);
}

#[rustfmt::skip]
#[test]
fn authority_is_what_the_policy_in_force_gives() {
    check(&[
        // A vote counts only while its voter holds the role of the stage that it was cast in.
        ("two",    &["1 bob approves", "2 policy bob-lost-finance", "3 carol approves"], &["ok", "ok"], "pending 1"),
        ("two",    &["1 bob approves", "2 policy bob-left", "3 carol approves"], &["ok", "ok"], "pending 1"),
        ("two",    &["1 bob approves", "2 policy bob-owns-agent", "3 carol approves"], &["ok", "ok"], "pending 1"),
        ("two",    &["1 bob approves", "10 time", "11 policy bob-lost-finance", "12 carol approves"], &["ok", "ok", "ok"], "pending 2"),
        // A role that comes back brings the vote back, by the same word said again.
        ("two",    &["1 bob approves", "2 policy bob-lost-finance", "3 carol approves", "4 policy unchanged", "5 carol approves"], &["ok", "ok", "ok"], "approved by bob+carol at 5"),
        // A rejection by somebody who has left since has ended it all the same; one who has left cannot reject.
        ("two",    &["1 bob rejects", "2 policy bob-left"], &["ok"], "rejected by bob at 1"),
        ("two",    &["1 policy bob-left", "2 bob rejects", "2 bob approves"], &["link_expired", "link_expired"], "pending 1"),
        ("one",    &["1 policy bob-left", "2 bob approves", "3 zoe approves"], &["link_expired", "ok"], "approved by zoe at 3"),
        // Who is new in the role may vote, asked or not.
        ("one",    &["1 policy zoe-joined", "2 zoe approves"], &["ok"], "approved by zoe at 2"),
        // Both owners are barred: who was it when it was asked, and who is it now.
        ("two",    &["1 policy alice-owns-nothing", "2 alice approves"], &["forbidden"], "pending 1"),
        ("one",    &["1 policy bob-owns-agent", "2 bob approves", "3 bob rejects"], &["forbidden", "ok"], "rejected by bob at 3"),
        // Who stands in for the owner may do no more than the owner.
        ("two",    &["1 policy alice-is-away", "2 erin approves", "3 erin rejects"], &["forbidden", "ok"], "rejected by erin at 3"),
        // A stand-in has authority only through an absence that the policy still names.
        ("away",   &["1 policy dave-is-back", "2 erin approves", "3 dave approves"], &["link_expired", "ok"], "approved by dave at 3"),
        ("away",   &["1 policy dave-left", "2 erin approves"], &["link_expired"], "pending 1"),
        ("away",   &["1 policy dave-names-carol", "2 erin approves", "3 carol approves"], &["link_expired", "ok"], "approved by carol at 3"),
        ("away-two", &["1 erin approves", "2 policy dave-is-back", "3 bob approves"], &["ok", "ok"], "pending 1"),
        ("away-two", &["1 erin approves", "3 bob approves"], &["ok", "ok"], "approved by erin+bob at 3"),
        // A decider answers only for its own queues, and only what waits or ended there.
        ("two",    &["1 jira approves"], &["not_found"], "pending 1"),
        ("queued", &["1 other-jira approves", "2 jira approves"], &["not_found", "ok"], "approved by client:jira at 2"),
        ("queued", &["1 policy jira-lost-backup", "2 jira approves"], &["not_found"], "pending 1"),
        ("queued", &["10 time", "11 jira approves", "12 bob approves", "13 jira rejects"], &["ok", "not_found", "ok", "not_found"], "approved by bob at 12"),
        ("queued", &["2 jira rejects", "3 jira approves", "3 other-jira approves"], &["ok", "already_decided", "not_found"], "rejected by client:jira at 2"),
        ("queued", &["10 jira approves"], &["not_found"], "pending 1"),
        ("never",  &["3 jira approves"], &["not_found"], "rejected by policy:never at 0"),
    ]);
}

#[rustfmt::skip]
#[test]
fn what_is_open_is_looked_at_again() {
    check(&[
        ("one",      &["1 reassign"], &["same"], "pending 1"),
        ("one",      &["1 policy zoe-joined", "2 reassign", "3 reassign"], &["ok", "same"], "pending 1"),
        ("one",      &["1 policy bob-left", "2 reassign", "3 zoe approves"], &["ok", "ok"], "approved by zoe at 3"),
        // The only one asked goes away: the next stage opens; where there is none, the deadline stays.
        ("one-then", &["1 policy bob-is-away", "2 reassign", "3 carol approves"], &["ok", "ok"], "approved by carol at 3"),
        ("one",      &["1 policy bob-is-away", "2 reassign", "3 reassign"], &["ok", "same"], "pending 1 deserted"),
        ("one",      &["1 policy bob-is-away", "2 reassign", "3 policy unchanged", "4 reassign", "5 bob approves"], &["ok", "ok", "ok"], "approved by bob at 5"),
        ("one",      &["1 policy bob-is-away", "2 reassign", "3 policy unchanged", "4 reassign"], &["ok", "ok"], "pending 1"),
        ("one",      &["1 policy bob-is-away", "2 reassign", "10 time"], &["ok", "ok"], "expired by timeout:one at 10"),
        ("one",      &["1 policy bob-owns-agent", "2 reassign"], &["ok"], "pending 1 deserted"),
        ("queued",   &["1 policy jira-lost-backup", "2 reassign"], &["same"], "pending 1"),
        // Nothing is open after the end, or after the deadline.
        ("one",      &["1 bob approves", "2 policy bob-left", "3 reassign"], &["ok", "same"], "approved by bob at 1"),
        ("one",      &["1 policy bob-left", "10 reassign"], &["same"], "pending 1"),
        // A reassignment decides nothing, even where the votes would now be enough: the next word does.
        ("two",      &["1 bob approves", "2 policy alice-lost-finance", "3 reassign"], &["ok", "ok"], "pending 1"),
    ]);
}

#[test]
fn who_has_approved_is_asked_once_more_where_the_votes_have_become_enough() {
    let acts = ["1 bob approves", "2 policy bob-lost-finance", "3 reassign", "4 carol approves"];
    let (_, request, _) = play("two", &acts);
    let has_approved =
        |request: &Request, id: &str, in_force: &str| request.has_approved(&reviewer(id), &policy(in_force));
    assert!(has_approved(&request, "carol", "bob-lost-finance"));
    assert!(!has_approved(&request, "bob", "bob-lost-finance"));
    // What is shown says the same.
    let shown = request.foresee(&policy("bob-lost-finance"), at(5));
    assert!(shown.has_approved(&reviewer("carol"), &policy("bob-lost-finance")));
    assert!(!shown.has_approved(&reviewer("bob"), &policy("bob-lost-finance")));
    // Bob is back: both count, nobody's word has ended it, and either may say it once more.
    assert_eq!(request.approvals_counted(&policy("unchanged")), 2);
    assert!(!has_approved(&request, "carol", "unchanged") && !has_approved(&request, "bob", "unchanged"));
    let again = [&acts[..], &["5 policy unchanged", "6 reassign", "7 carol approves"]].concat();
    let (_, request, _) = play("two", &again);
    assert_eq!(end(&request), "approved by bob+carol at 7");
}

#[rustfmt::skip]
#[test]
fn a_stage_outside_its_hours_is_passed_over() {
    check(&[
        ("night",      &["1 bob approves", "2 carol approves"], &["link_expired", "ok"], "approved by carol at 2"),
        // The later stage keeps the time that it was given: it closes when it would have after the first.
        ("night",      &["19 time", "20 time"], &["same", "ok"], "expired by timeout:night at 20"),
        ("day",        &["1 bob approves"], &["ok"], "approved by bob at 1"),
        ("never-open", &[], &[], "rejected by policy:never open at 0"),
    ]);
    let (_, request, _) = play("night", &[]);
    assert_eq!((request.asked().first_stage, request.pending().unwrap().closes_at), (1, at(20)));
    assert_eq!(request.as_asked().pending().map(|pending| pending.stage), Some(1));
}

#[test]
fn reassigning_tells_whoever_is_new_and_operators_of_what_is_deserted() {
    let kinds = |told: &Told| {
        told.entries
            .iter()
            .map(|entry| (entry.event, entry.detail.clone().unwrap_or_default()))
            .collect::<Vec<_>>()
    };
    let (_, _, told) = play("one", &["1 policy zoe-joined", "2 reassign"]);
    let zoe = told.effects.last().cloned();
    assert!(
        matches!(&zoe, Some(Effect::NotifyReviewers { stage: 0, asked }) if asked.len() == 1 && asked[0].reviewer == reviewer("zoe")),
        "{zoe:?}"
    );
    assert_eq!(
        kinds(&told).last(),
        Some(&(AuditEventKind::StageReassigned, "stage 1 now asks zoe".to_owned()))
    );
    let (_, _, told) = play("one", &["1 policy bob-left", "2 reassign"]);
    let both = "stage 1 now asks zoe and no longer asks bob".to_owned();
    assert_eq!(kinds(&told).last(), Some(&(AuditEventKind::StageReassigned, both)));
    let (_, request, told) = play("one", &["1 policy bob-is-away", "2 reassign"]);
    assert_eq!(request.pending().map(|pending| pending.asked.len()), Some(0));
    assert_eq!(told.effects.last(), Some(&Effect::Alert(RequestAlert::NobodyLeft { stage: 0 })));
    let deserted = "nobody who may approve stage 1 is left".to_owned();
    assert_eq!(kinds(&told).last(), Some(&(AuditEventKind::StageDeserted, deserted.clone())));
    let (_, _, told) = play("one-then", &["1 policy bob-is-away", "2 reassign"]);
    let entries = kinds(&told);
    assert_eq!(entries[entries.len() - 2], (AuditEventKind::StageDeserted, deserted));
    assert_eq!(entries[entries.len() - 1].0, AuditEventKind::StageOpened);
    let alerts = told.effects.iter().filter(|effect| matches!(effect, Effect::Alert(_))).count();
    assert_eq!(alerts, 0, "the next stage has its people: nothing is the matter");
}

#[test]
fn standing_follows_the_policy_and_is_nothing_after_the_end() {
    let (_, request, _) = play("two", &[]);
    let standing = |who: &str, change: &str| request.standing(&reviewer(who), &policy(change), at(1));
    assert_eq!(standing("bob", "unchanged"), Standing::Decide);
    assert_eq!(standing("alice", "unchanged"), Standing::RejectOnly);
    assert_eq!(standing("dave", "unchanged"), Standing::Nothing);
    assert_eq!(standing("bob", "bob-lost-finance"), Standing::Nothing);
    assert_eq!(standing("bob", "bob-left"), Standing::Nothing);
    let (_, ended, _) = play("two", &["1 carol rejects"]);
    assert_eq!(ended.standing(&reviewer("bob"), &policy("unchanged"), at(2)), Standing::Nothing);
}

#[test]
fn the_policy_that_gave_authority_must_still_be_in_force_when_it_is_written() {
    let (request, _) = ask("two", None);
    let input = VoteInput {
        reviewer: reviewer("bob"),
        decision: Decision::Approve,
        reason: None,
        channel: Channel::Page,
        given: Given::default(),
        opened_at: None,
    };
    let Ok(VoteOutcome::Changed(vote)) = request.vote(&input, &policy("zoe-joined"), at(1)) else {
        panic!("refused")
    };
    assert_eq!((vote.policy(), vote.not_at_or_after()), (Some(2), Some(at(10))));
    let (_, queued, _) = play("queued", &[]);
    let in_force = policy("unchanged");
    let jira = in_force.client(&client("jira")).unwrap();
    let answer = queued.answer(jira, Decision::Approve, None, &in_force, at(1)).unwrap();
    assert_eq!((answer.policy(), answer.not_at_or_after()), (Some(1), Some(at(10))));
    assert_eq!(queued.cancel(Canceller::Asker, at(1)).unwrap().policy(), None);
}

#[test]
fn what_is_foreseen_is_the_end_that_will_be_recorded_and_has_no_claims() {
    for (action, now, ending) in [
        ("one", 9, Status::Pending),
        ("one", 10, Status::Expired),
        ("two", 19, Status::Pending),
        ("two", 99, Status::Expired),
    ] {
        let (_, request, _) = play(action, &[]);
        let foreseen = request.foresee(&policy("unchanged"), at(now));
        assert_eq!(foreseen.state().status(), ending, "{action} at {now}");
        // What is stored is not changed by a look.
        assert_eq!((request.status(), request.claims()), (Status::Pending, None));
    }
    let (_, request, _) = play("two", &["1 bob approves"]);
    let foreseen = request.foresee(&policy("unchanged"), at(2));
    assert_eq!(foreseen.approvals_counted(&policy("unchanged")), 1);
    assert_eq!(foreseen.approvals_counted(&policy("bob-lost-finance")), 0);
    assert_eq!(foreseen.standing(&reviewer("carol"), &policy("unchanged"), at(2)), Standing::Decide);
}

#[test]
fn the_same_question_joins_with_a_callback_of_its_own_before_and_after_the_end() {
    let (answers, request, told) =
        play("one", &["1 join https://b.example.com", "2 join https://b.example.com", "3 bob approves"]);
    assert_eq!(answers, ["ok", "same", "ok"]);
    assert_eq!(request.state().callbacks(), ["https://a.example.com/0", "https://b.example.com"]);
    // The end tells all of them; nobody was told alone.
    assert_eq!(told.effects.last(), Some(&Effect::Decided));
    assert!(!told.effects.iter().any(|effect| matches!(effect, Effect::CallBack { .. })));

    let (answers, request, told) = play("one", &["3 bob approves", "4 join https://b.example.com"]);
    assert_eq!((answers.as_slice(), request.version()), (owned(&["ok", "ok"]).as_slice(), 3));
    assert_eq!(told.effects.last(), Some(&Effect::CallBack { number: 1 }));
    assert_eq!(told.entries.last().map(|entry| entry.event), Some(AuditEventKind::Joined));
    // Who asks again without a callback, or with a known one, changes nothing.
    assert!(matches!(request.join(None, at(5)), Ok(None)));
    assert!(matches!(request.join(Some("https://a.example.com/0"), at(5)), Ok(None)));
}

#[test]
fn the_twenty_first_callback_is_refused_and_the_deadline_decides_who_calls_a_late_one_back() {
    let (mut request, mut told) = ask("one", None);
    for number in 1..MAX_CALLBACKS {
        let joined = request.join(Some(&format!("https://a.example.com/{number}")), at(1)).unwrap().unwrap();
        assert_eq!(joined.not_at_or_after(), Some(at(10)));
        commit(&mut request, joined, &mut told);
    }
    assert_eq!(request.state().callbacks().len(), 20);
    let refused = request.join(Some("https://a.example.com/20"), at(1)).unwrap_err();
    assert_eq!(refused.code(), "invalid_request");
    assert!(matches!(refused, Refusal::InvalidRequest(fields) if fields[0].field == "callback_url"));
    // One that is known is still welcome.
    assert!(matches!(request.join(Some("https://a.example.com/7"), at(1)), Ok(None)));
    // Once it has ended, the answer holds the outcome, and a full list is no reason to refuse it.
    let ended = request.cancel(Canceller::Asker, at(2)).unwrap();
    commit(&mut request, ended, &mut told);
    assert!(matches!(request.join(Some("https://a.example.com/20"), at(3)), Ok(None)));
    let (_, ended, _) = play("one", &["3 bob approves"]);
    assert_eq!(ended.join(Some("https://b.example.com"), at(9)).unwrap().unwrap().not_at_or_after(), None);
}

#[test]
fn what_cannot_be_evaluated_is_never_approved_but_by_a_person() {
    let in_force = policy("unchanged");
    for (action, ends) in [("small", "rejected by policy:small at 0"), ("doubtful", "pending 1")] {
        let (mut request, mut told) = ask_under(action, &json!({"n": "many"}), None, &in_force);
        assert_eq!(end(&request), ends, "{action}");
        let why = told.entries[0].detail.clone().unwrap_or_default();
        assert!(why.starts_with("the rule's condition could not be evaluated"), "{why}");
        if let Some(transition) = request.expire(&in_force, at(10)) {
            commit(&mut request, transition, &mut told);
            assert_eq!(end(&request), "expired by timeout:doubtful at 10");
        }
    }
}

#[test]
fn a_caller_can_shorten_the_time_and_not_lengthen_it() {
    for (timeout, ending) in [
        (None, "expired by timeout:one then at 20"),
        (Some(20), "expired by timeout:one then at 20"),
        (Some(99), "expired by timeout:one then at 20"),
        (Some(19), "expired by timeout:one then at 19"),
        (Some(1), "expired by timeout:one then at 1"),
    ] {
        let (_, request, _) = play_with("one-then", timeout, &["1 time", "10 time", "19 time", "20 time"]);
        assert_eq!(end(&request), ending, "{timeout:?}");
    }
}

#[test]
fn a_request_is_overdue_from_its_deadline_until_that_is_recorded() {
    let (_, request, _) = play("one", &[]);
    for (now, overdue) in [(0, false), (9, false), (10, true), (11, true)] {
        assert_eq!(request.is_overdue(at(now)), overdue, "{now}");
    }
    for acts in [&["9 bob approves"], &["10 time"], &["10 cancel"]] {
        let (_, ended, _) = play("one", acts);
        assert!(!ended.is_overdue(at(11)), "{acts:?}");
    }
    // The second stage closes at 20; a clock that was set back changes nothing about that.
    let (_, second, _) = play("one-then", &["10 time"]);
    for (now, overdue) in [(3, false), (10, false), (19, false), (20, true)] {
        assert_eq!(second.is_overdue(at(now)), overdue, "{now}");
    }
}

#[test]
fn the_same_question_is_the_same_action_and_the_same_payload() {
    let (request, _) = ask("one", None);
    let (asked, digest) = (request.asked(), request.asked().payload_sha256.clone());
    let other = Payload::new(json!({"n": 21}).as_object().unwrap()).unwrap().sha256();
    assert!(asked.is_same_question("one", &digest));
    assert!(!asked.is_same_question("two", &digest));
    assert!(!asked.is_same_question("one", &other));
    assert!(!asked.is_same_question("two", &other));
}
