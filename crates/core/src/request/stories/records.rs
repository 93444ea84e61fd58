//! What stories leave behind: the trail, the store's rows, and when a token is made.

use serde_json::json;

use super::{POLICY, Told, ask_under, at, client, commit, play, policy, reviewer};
use crate::audit::{AuditEventKind, Channel};
use crate::id::ClientId;
use crate::policy::{Decision, Policy};
use crate::refusal::Refusal;
use crate::request::{
    Canceller, Effect, Given, GivenUp, Request, RequestAlert, Transition, VoteInput, VoteOutcome, stored,
};

#[test]
fn a_press_by_a_stranger_is_recorded_and_changes_nothing_else() {
    let (_, request, _) = play("one", &[]);
    let (mut after, mut told) = (request.clone(), Told::default());
    commit(&mut after, request.refuse_press("5f6e", Channel::Slack, at(3)), &mut told);
    assert_eq!((after.pending(), told.effects.len()), (request.pending(), 0));
    let entry = &told.entries[0];
    assert_eq!((entry.event, entry.actor.as_str()), (AuditEventKind::ChatRefused, "unknown"));
    let expected = "a press by somebody who is not one of the reviewers (5f6e)";
    assert_eq!(entry.detail.as_deref(), Some(expected));
}

#[test]
fn a_refused_vote_is_recorded_and_changes_nothing_else() {
    for acts in [&[][..], &["1 bob approves"], &["1 bob rejects"], &["10 time"]] {
        let (_, request, _) = play("one", acts);
        let (mut after, mut told) = (request.clone(), Told::default());
        let why = Refusal::AlreadyDecided;
        let refused = request.refuse_vote("carol", Decision::Reject, &why, Channel::Inbox, at(30));
        commit(&mut after, refused, &mut told);
        assert_eq!(
            (after.outcome(), after.pending(), after.claims()),
            (request.outcome(), request.pending(), request.claims())
        );
        assert_eq!(after.state().votes(), request.state().votes());
        let [entry] = told.entries.as_slice() else { panic!("{:?}", told.entries) };
        assert_eq!(
            (entry.event, entry.actor.as_str(), entry.channel),
            (AuditEventKind::VoteRefused, "carol", Channel::Inbox)
        );
        assert_eq!((entry.approved, &entry.approved_by, &entry.token_hash), (false, &None, &None));
        assert_eq!(entry.detail.as_deref(), Some("reject, refused: the request has already ended"));
        assert!(told.effects.is_empty());
    }
}

#[test]
fn a_refused_token_is_recorded_and_changes_nothing_else() {
    for acts in [&["1 bob approves"][..], &["1 bob rejects"], &["10 time"]] {
        let (_, request, _) = play("one", acts);
        let (mut after, mut told) = (request.clone(), Told::default());
        let by = ClientId::parse("payments").unwrap();
        commit(&mut after, request.refuse_token(&by, "run-2", "it is too late", at(30)), &mut told);
        assert_eq!((after.outcome(), after.claims()), (request.outcome(), request.claims()));
        assert_eq!(after.state().redemption(), None);
        let [entry] = told.entries.as_slice() else { panic!("{:?}", told.entries) };
        assert_eq!(
            (entry.event, entry.actor.as_str(), entry.channel),
            (AuditEventKind::TokenRefused, "client:payments", Channel::Api)
        );
        assert_eq!((entry.approved, &entry.approved_by, &entry.token_hash), (false, &None, &None));
        assert_eq!(entry.detail.as_deref(), Some("run-2, refused: it is too late"));
        assert!(told.effects.is_empty());
    }
}

#[test]
fn the_first_word_that_an_approval_was_a_mistake_counts_and_the_outcome_stands() {
    let (_, mut request, mut told) = play("one", &["1 bob approves"]);
    let before = request.outcome().cloned();
    let flag = |request: &Request, by: &str, seconds: i64| {
        request.flag(by, Some(format!("{by} says so")), Channel::Api, at(seconds))
    };
    let first = flag(&request, "client:audit", 5).unwrap().unwrap();
    commit(&mut request, first, &mut told);
    let flagged = request.state().flag().unwrap();
    assert_eq!((flagged.flagged_by.as_str(), flagged.flagged_at), ("client:audit", at(5)));
    assert_eq!(flagged.reason.as_deref(), Some("client:audit says so"));
    let entry = told.entries.last().unwrap();
    assert_eq!(
        (entry.event, entry.detail.as_deref()),
        (AuditEventKind::Flagged, Some("client:audit says so"))
    );
    assert!(matches!(flag(&request, "carol", 6), Ok(None)));
    assert_eq!(request.outcome(), before.as_ref());
    for acts in [&[][..], &["1 bob rejects"], &["1 cancel"], &["10 time"]] {
        let (_, other, _) = play("one", acts);
        assert_eq!(flag(&other, "carol", 11).unwrap_err().code(), "not_approved", "{acts:?}");
    }
}

#[test]
fn the_trail_says_who_was_asked_until_when_and_what_was_said() {
    let (_, mut request, mut told) = play("two", &["1 bob approves", "10 time"]);
    let input = VoteInput {
        reviewer: reviewer("carol"),
        decision: Decision::Reject,
        reason: Some("too dear".into()),
        channel: Channel::Page,
        given: Given::default(),
        opened_at: None,
    };
    let Ok(VoteOutcome::Changed(vote)) = request.vote(&input, &policy("unchanged"), at(12)) else {
        panic!("refused")
    };
    assert_eq!(
        vote.events().iter().map(|event| event.actor.as_str()).collect::<Vec<_>>(),
        ["carol", "carol"]
    );
    commit(&mut request, *vote, &mut told);
    let details: Vec<_> = told.entries.iter().map(|entry| (entry.event, entry.detail.as_deref())).collect();
    assert_eq!(
        details,
        [
            (AuditEventKind::Asked, None),
            (
                AuditEventKind::StageOpened,
                Some("stage 1 asks alice, bob, carol until 1970-01-01T00:00:10.000Z")
            ),
            (AuditEventKind::VoteCast, Some("approve")),
            (AuditEventKind::StageOpened, Some("stage 2 asks carol until 1970-01-01T00:00:20.000Z")),
            (AuditEventKind::VoteCast, Some("reject: too dear")),
            (AuditEventKind::Rejected, Some("too dear")),
        ]
    );
    let (_, _, told) = play("queued", &[]);
    let opened = told.entries.last().and_then(|entry| entry.detail.as_deref());
    assert_eq!(opened, Some("stage 1 asks queue backup until 1970-01-01T00:00:10.000Z"));
    assert_eq!(told.effects.first(), Some(&Effect::Publish { stage: 0, queue: "backup".into() }));
}

#[test]
fn the_trail_says_what_a_rule_that_only_observes_would_have_done() {
    let watch = r#"rules = [
  { name = "watch", mode = "observe", when = 'payload.n > 9', decide = "reject" },
  { name = "strange", mode = "observe", when = 'payload.none > 9', decide = "approve" },"#;
    let policy = Policy::read(&POLICY.replace("rules = [", watch)).unwrap();
    let (request, told) = ask_under("one", &json!({"n": 20}), None, &policy);
    assert!(request.pending().is_some());
    let observed: Vec<_> = told.entries[1..3]
        .iter()
        .map(|entry| (entry.event, entry.actor.as_str(), entry.detail.as_deref().unwrap_or_default()))
        .collect();
    let unclear = "would have rejected: its condition could not be evaluated";
    assert_eq!(
        observed,
        [
            (AuditEventKind::RuleObserved, "policy:watch", "would have rejected"),
            (AuditEventKind::RuleObserved, "policy:strange", unclear),
        ]
    );
}

#[test]
fn a_token_is_made_for_the_end_and_for_its_use_and_for_nothing_else() {
    let mints = |request: &Request, transition: Transition| {
        transition.chain(request.asked(), |_| Err::<String, _>("minted")).is_err()
    };
    let (_, waiting, _) = play("one", &[]);
    assert!(!mints(&waiting, waiting.join(Some("https://b.example.com"), at(1)).unwrap().unwrap()));
    assert!(mints(&waiting, waiting.cancel(Canceller::Asker, at(1)).unwrap()));
    let (_, approved, _) = play("one", &["3 bob approves"]);
    assert!(!mints(&approved, approved.join(Some("https://b.example.com"), at(4)).unwrap().unwrap()));
    assert!(!mints(&approved, approved.flag("carol", None, Channel::Page, at(4)).unwrap().unwrap()));
    assert!(mints(&approved, approved.redeem("run-7", &client("agent"), at(4)).unwrap().unwrap()));
}

#[test]
fn the_trail_of_a_request_is_one_chain_with_one_end() {
    let (_, request, told) = play("two", &["1 bob approves", "1 carol approves", "2 redeem run-7"]);
    let used = request.state().redemption().unwrap();
    assert_eq!((used.redeemed_by.as_str(), used.redeemed_at), ("run-7", at(2)));
    let mut previous = "0".repeat(64);
    for (index, entry) in told.entries.iter().enumerate() {
        assert_eq!((entry.seq as usize, &entry.prev_hash), (index + 1, &previous));
        assert_eq!(entry.computed_hash(), entry.hash);
        assert_eq!(entry.about.as_ref(), Some(&request.asked().facts()));
        previous.clone_from(&entry.hash);
    }
    let events: Vec<_> = told
        .entries
        .iter()
        .map(|entry| {
            let by = entry.approved_by.as_deref();
            (entry.event, entry.actor.as_str(), entry.approved, by, entry.token_hash.is_some())
        })
        .collect();
    assert_eq!(
        events,
        [
            (AuditEventKind::Asked, "client:agent", false, None, false),
            (AuditEventKind::StageOpened, "gate", false, None, false),
            (AuditEventKind::VoteCast, "bob", true, None, false),
            (AuditEventKind::VoteCast, "carol", true, None, false),
            (AuditEventKind::Approved, "bob, carol", true, Some("bob, carol"), true),
            (AuditEventKind::Redeemed, "client:agent", false, None, true),
        ]
    );
}

#[test]
fn a_callback_that_is_given_up_is_recorded_and_changes_nothing_else() {
    let (_, request, _) = play("one", &["1 bob approves"]);
    let given_up =
        GivenUp { client: client("agent"), message: "msg_x_callback_0".into(), reason: "410 Gone".into() };
    let transition = request.give_up(given_up.clone(), at(5));
    assert_eq!(transition.effects(), [Effect::Alert(RequestAlert::CallbackGivenUp(given_up))]);
    assert!(!transition.ends());
    let (mut after, mut told) = (request.clone(), Told::default());
    commit(&mut after, transition, &mut told);
    assert_eq!((after.outcome(), after.state().votes()), (request.outcome(), request.state().votes()));
    assert_eq!(told.entries[0].detail.as_deref(), Some("msg_x_callback_0: 410 Gone"));
}

#[test]
fn a_request_survives_storage() {
    for acts in [
        &[
            "1 bob approves",
            "10 time",
            "12 carol approves",
            "13 redeem run-7",
            "14 join https://b.example.com",
        ][..],
        &["1 bob approves", "10 time"],
        &[],
    ] {
        let (_, request, _) = play("two", acts);
        let question = stored::write_question(request.asked()).unwrap();
        let state = stored::write_state(request.state()).unwrap();
        assert_eq!(stored::read(&question, &state, request.version()).unwrap(), request);
    }
}

#[test]
fn a_stored_outcome_is_an_end() {
    let (_, request, _) = play("one", &["1 bob approves"]);
    let question = stored::write_question(request.asked()).unwrap();
    let state = stored::write_state(request.state()).unwrap();
    for status in ["approved", "rejected", "expired", "cancelled"] {
        let state = state.replace(r#""status":"approved""#, &format!(r#""status":"{status}""#));
        assert_eq!(stored::read(&question, &state, 1).unwrap().status().as_str(), status);
    }
    for status in ["pending", "", "Approved"] {
        let state = state.replace(r#""status":"approved""#, &format!(r#""status":"{status}""#));
        let unread = stored::read(&question, &state, 1).unwrap_err();
        assert!(unread.to_string().contains("an outcome's status is not an end"), "{status}: {unread}");
    }
}
