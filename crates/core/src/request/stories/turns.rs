//! `notify = "rotate"`: who is told at once, who at half time, and whose turn it is.

use std::collections::BTreeMap;
use std::convert::Infallible;

use serde_json::json;

use super::{at, client};
use crate::Timestamp;
use crate::id::{ApprovalId, RequestId};
use crate::payload::Payload;
use crate::policy::{Assignee, Earlier, Policy};
use crate::request::{Effect, NewRequest, Opened, Request};

const POLICY: &str = r#"
clients = [{ id = "agent", owner = "olive" }]
reviewers = [
  { id = "ann", roles = ["team"] },
  { id = "olive", roles = ["team"] },
  { id = "ben", roles = ["team"] },
  { id = "cid", roles = ["team"] },
]
rules = [
  { name = "one", when = 'action == "one"', notify = "rotate", stages = [{ ask = ["team"], within = "10s" }] },
  { name = "two", when = 'action == "two"', approvals = 2, notify = "rotate", stages = [
      { ask = ["team"], within = "10s" } ] },
  { name = "three", when = 'action == "three"', approvals = 3, notify = "rotate", stages = [
      { ask = ["team"], within = "10s" } ] },
  { name = "all", when = 'action == "all"', stages = [{ ask = ["team"], within = "10s" }] },
  { name = "then", stages = [
      { ask = ["team"], within = "10s" }, { ask = ["team"], within = "8s", notify = "rotate" } ] },
]
"#;

fn policy() -> Policy {
    Policy::read(POLICY).unwrap()
}

fn opened(action: &str, number: u128, turn: u64) -> (Request, Vec<Effect>) {
    let new = NewRequest {
        approval_id: ApprovalId::from_parts(at(0), number),
        request_id: RequestId::parse("r1").unwrap(),
        action: action.into(),
        summary: "please".into(),
        payload: Payload::new(json!({}).as_object().unwrap()).unwrap(),
        metadata: BTreeMap::new(),
        callback_url: None,
        timeout_ms: None,
        issuer: "https://gate.example.com".into(),
        epoch: 1,
    };
    let policy = policy();
    let agent = policy.client(&client("agent")).unwrap();
    let Opened { asked, transition } = Request::open_after(new, agent, &policy, &Earlier::new(), turn, at(0));
    let effects = transition.effects().to_vec();
    let Ok(chained) = transition.chain(&asked, |_| Ok::<_, Infallible>("token".to_owned()));
    (Request::inserted(asked, chained.state), effects)
}

fn names(asked: &[Assignee]) -> String {
    asked.iter().map(|assignee| assignee.reviewer.as_str()).collect::<Vec<_>>().join(" ")
}

/// Who is told at once, who later, and when that is.
fn told(effects: &[Effect]) -> (String, String, Option<Timestamp>) {
    let mut told = (String::new(), String::new(), None);
    for effect in effects {
        match effect {
            Effect::NotifyReviewers { asked, .. } => told.0 = names(asked),
            Effect::NotifyLater { asked, at, .. } => (told.1, told.2) = (names(asked), Some(*at)),
            _ => {}
        }
    }
    told
}

#[test]
fn as_many_as_must_approve_are_told_at_once_in_turn_and_the_others_at_half_time() {
    for (action, turn, now, later) in [
        // The owner, who may only reject, never has a turn.
        ("one", 0, "ann", "ben cid olive"),
        ("one", 1, "ben", "cid ann olive"),
        ("one", 2, "cid", "ann ben olive"),
        ("one", 3, "ann", "ben cid olive"),
        ("one", 7, "ben", "cid ann olive"),
        ("two", 0, "ann ben", "cid olive"),
        ("two", 1, "cid ann", "ben olive"),
        ("two", 2, "ben cid", "ann olive"),
        ("two", 5, "ben cid", "ann olive"),
    ] {
        let (_, effects) = opened(action, 1, turn);
        assert_eq!(told(&effects), (now.into(), later.into(), Some(at(5))), "{action} {turn}");
    }
}

#[test]
fn all_are_told_where_the_rule_says_so_or_all_of_them_must_approve() {
    for action in ["all", "three", "other"] {
        for turn in 0..3 {
            let (_, effects) = opened(action, 1, turn);
            assert_eq!(told(&effects), ("ann olive ben cid".into(), String::new(), None), "{action} {turn}");
        }
    }
}

#[test]
fn a_stage_that_opens_by_itself_draws_a_turn_from_the_approvals_id() {
    let people = ["ann", "ben", "cid"];
    let drawn: Vec<String> = (1..=12)
        .map(|number| {
            let (request, _) = opened("other", number, 0);
            let transition = request.expire(&policy(), at(12)).unwrap();
            let (now, _, half) = told(transition.effects());
            // It is open from 12 on, though it should have been from 10, and closes at 18.
            assert_eq!(half, Some(at(15)), "{number}");
            let digest = crate::payload::sha256_hex(request.asked().approval_id.as_str().as_bytes());
            let turn = u64::from_str_radix(&digest[..12], 16).unwrap();
            assert_eq!(now, people[usize::try_from(turn % 3).unwrap()], "{number}");
            now
        })
        .collect();
    for who in people {
        assert!(drawn.iter().any(|drawn| drawn == who), "{who} never has a turn: {drawn:?}");
    }
}
