//! Random histories of a gate that adds up by looking at everything each time, and what a replay makes of them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::audit::Channel;
use crate::id::{ApprovalId, ClientId, RequestId, ReviewerId};
use crate::payload::Payload;
use crate::policy::{Decision, Earlier};
use crate::request::{Canceller, Given, VoteInput, VoteOutcome};
use crate::time::DAY_MS;

const PEOPLE: &str = r#"
clients = [{ id = "n8n" }, { id = "zapier" }, { id = "desk", roles = ["decider"], queues = ["later"] }]
reviewers = [{ id = "bob", roles = ["finance"], away = [{ from = 2026-01-02, until = 2026-01-02 }] }]
"#;

/// The policy under which everything was asked.
const IN_FORCE: &str = r#"
[[rules]]
name = "often"
when = 'action == "pay" && count("2h", "payload.to") > 4'
decide = "reject"
[[rules]]
name = "much"
when = 'action == "pay" && (total("payload.amount", "3h", "payload.to") > 2.25 || total("payload.amount", "24h", "payload.to") > 5.25)'
stages = [{ ask = ["finance"], within = "1h", hours = "04:00-23:00 UTC" }]
[[rules]]
name = "little"
when = 'action == "pay"'
decide = "approve"
[[rules]]
name = "strange"
when = 'payload.none > 3'
stages = [{ ask = ["finance"], within = "1h" }, { queue = "later", within = "1h" }]
"#;

/// One that decides everything alone, so that what it does depends on itself only.
const ALONE: &str = r#"
[[rules]]
name = "too much"
when = 'action == "pay" && (total("payload.amount", "3h", "payload.to") > 2.25 || count("24h") > 9)'
decide = "reject"
[[rules]]
name = "fine"
when = 'action == "pay" && payload.amount > 0.25'
decide = "approve"
"#;

fn policy(rules: &str) -> Policy {
    match Policy::read(&format!("{PEOPLE}{rules}")) {
        Ok(policy) => policy,
        Err(faults) => unreachable!("{faults:?}"),
    }
}

#[derive(Clone, Copy, Debug)]
enum Fate {
    Approve,
    Reject,
    Withdraw,
    Silence,
    Open,
}

/// What one client does next: after how long, what, for how many quarters (whose sums are exact), to whom, and what becomes of it after how long.
#[derive(Clone, Debug)]
struct Act {
    gap_ms: i64,
    client: usize,
    action: &'static str,
    quarters: i32,
    to: usize,
    fate: Fate,
    takes_ms: i64,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = (
        prop_oneof![1_i64..4, 1_i64..DAY_MS / 12],
        0_usize..2,
        prop_oneof![9 => Just("pay"), 1 => Just("other")],
        0_i32..10,
        0_usize..3,
        prop_oneof![
            4 => Just(Fate::Approve),
            2 => Just(Fate::Reject),
            1 => Just(Fate::Withdraw),
            1 => Just(Fate::Silence),
            1 => Just(Fate::Open)
        ],
        1_i64..3_600_000,
    )
        .prop_map(|(gap_ms, client, action, quarters, to, fate, takes_ms)| Act {
            gap_ms,
            client,
            action,
            quarters,
            to,
            fate,
            takes_ms,
        });
    proptest::collection::vec(act, 1..80)
}

/// What a request adds, and until when: the naive way, looked through anew each time.
struct Added {
    client: ClientId,
    at: Timestamp,
    accounts: BTreeMap<(crate::policy::Gauge, String), f64>,
    until: Option<Timestamp>,
}

fn earlier(policy: &Policy, client: &ClientId, question: &Question<'_>, past: &[Added]) -> Earlier {
    let mut earlier = Earlier::new();
    for gauge in policy.gauges() {
        let account = gauge.meter.account(client, question);
        let since = question.now.plus_millis(-gauge.window_ms);
        let counts = |added: &&Added| {
            added.client == *client
                && added.at > since
                && added.until.is_none_or(|until| until > question.now)
        };
        let key = (gauge.clone(), account);
        let sum = past.iter().filter(counts).filter_map(|added| added.accounts.get(&key)).sum();
        earlier.insert(gauge.clone(), sum);
    }
    earlier
}

fn added(policy: &Policy, client: &ClientId, question: &Question<'_>, until: Option<Timestamp>) -> Added {
    let accounts = policy.gauges().iter().filter_map(|gauge| {
        Some(((gauge.clone(), gauge.meter.account(client, question)), gauge.meter.amount(question)?))
    });
    Added { client: client.clone(), at: question.now, accounts: accounts.collect(), until }
}

fn client_of(act: &Act) -> ClientId {
    ClientId::parse(["n8n", "zapier"][act.client]).unwrap()
}

fn payload_of(act: &Act) -> Payload {
    let to = ["acme", "zoe", "kim"][act.to];
    let value = json!({ "amount": f64::from(act.quarters) / 4.0, "to": to });
    Payload::new(value.as_object().unwrap()).unwrap()
}

/// 2026-01-01T00:00:00Z.
const BEGIN: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// The history that those acts make under that policy.
fn history(policy: &Policy, acts: &[Act]) -> Vec<Request> {
    let (mut now, mut past, mut requests) = (BEGIN, Vec::new(), Vec::new());
    for (number, act) in acts.iter().enumerate() {
        now = now.plus_millis(act.gap_ms);
        let client = client_of(act);
        let payload = payload_of(act);
        let value = payload.value();
        let metadata = BTreeMap::new();
        let question = Question {
            client: client.as_str(),
            action: act.action,
            summary: "please",
            payload: &value,
            metadata: &metadata,
            now,
        };
        let before = earlier(policy, &client, &question, &past);
        let new = NewRequest {
            approval_id: ApprovalId::from_parts(now, u128::try_from(number).unwrap()),
            request_id: RequestId::parse(&format!("r{number}")).unwrap(),
            action: act.action.into(),
            summary: "please".into(),
            payload,
            metadata: BTreeMap::new(),
            callback_url: None,
            timeout_ms: None,
            issuer: String::new(),
            epoch: 1,
        };
        let opened = Request::open_after(new, policy.client(&client).unwrap(), policy, &before, 0, now);
        let mut request = Request::inserted(opened.asked, opened.transition.next().clone());
        if request.pending().is_some() {
            request = meet(request, act, policy);
        }
        let rejected_at_once = Then::of(&request) == Then::PolicyRejected;
        let until = request
            .outcome()
            .filter(|outcome| outcome.status() != Status::Approved)
            .map(|outcome| outcome.decided_at);
        if !rejected_at_once {
            past.push(added(policy, &client, &question, until));
        }
        requests.push(request);
    }
    requests
}

/// What becomes of a request that waits.
fn meet(request: Request, act: &Act, policy: &Policy) -> Request {
    let end = request.asked().created_at.plus_millis(act.takes_ms);
    let next = match act.fate {
        Fate::Open => return request,
        Fate::Withdraw => request.cancel(Canceller::Asker, end).unwrap(),
        Fate::Silence => {
            let mut request = request;
            while let Some(pending) = request.pending() {
                let passed = request.expire(policy, pending.closes_at).unwrap();
                request = request.committed(passed.next().clone());
            }
            return request;
        }
        Fate::Approve | Fate::Reject => {
            let approve = matches!(act.fate, Fate::Approve);
            let input = VoteInput {
                reviewer: ReviewerId::parse("bob").unwrap(),
                decision: if approve { Decision::Approve } else { Decision::Reject },
                reason: None,
                channel: Channel::Page,
                opened_at: Some(request.asked().created_at),
                given: Given::default(),
            };
            // On the day on which bob is away, the queue waits or the request was rejected.
            match request.vote(&input, policy, end) {
                Ok(VoteOutcome::Changed(next)) => *next,
                Ok(VoteOutcome::Unchanged) => unreachable!("nobody has voted"),
                Err(_) => return request,
            }
        }
    };
    request.committed(next.next().clone())
}

fn replayed(
    policy: &Policy,
    requests: &[Request],
    from: Timestamp,
    gone_until: Option<Timestamp>,
) -> ReplayReport {
    let until = BEGIN.plus_millis(DAY_MS * 300);
    let mut replay = Replay::new(policy, from, until, 1000);
    let clients: BTreeSet<&ClientId> = requests.iter().map(|request| &request.asked().client).collect();
    for client in clients {
        replay.begin_client(gone_until);
        requests
            .iter()
            .filter(|request| {
                request.asked().client == *client && request.asked().created_at >= replay.begins_at()
            })
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|request| replay.add(request));
    }
    replay.report()
}

fn hits<'n>(names: impl Iterator<Item = Option<&'n str>>) -> BTreeMap<String, u32> {
    let mut counted = BTreeMap::new();
    for name in names {
        *counted.entry(name.unwrap_or("default").to_owned()).or_default() += 1;
    }
    counted
}

fn hits_of(report: &ReplayReport) -> BTreeMap<String, u32> {
    report.rules.iter().filter(|rule| rule.hits > 0).map(|rule| (rule.name.clone(), rule.hits)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn replaying_the_policy_in_force_changes_nothing(acts in acts()) {
        let policy = policy(IN_FORCE);
        let requests = history(&policy, &acts);
        let report = replayed(&policy, &requests, BEGIN, None);
        prop_assert_eq!(&report.not_replayed, &[]);
        prop_assert_eq!(report.replayed, u32::try_from(acts.len()).unwrap());
        prop_assert_eq!((report.changed, report.other_rule, report.used_too_late), (0, 0, 0));
        let Asks { then, now, saved, added, otherwise } = report.asks;
        prop_assert_eq!((saved, added, otherwise), (0, 0, 0));
        prop_assert_eq!(then, now);
        prop_assert_eq!(report.saved, TimeSaved::default());
        prop_assert_eq!(hits_of(&report), hits(requests.iter().map(|request| request.asked().rule.as_deref())));
    }

    /// From the middle on, too: what came before adds up as it went.
    #[test]
    fn replaying_a_part_under_the_policy_in_force_changes_nothing(acts in acts(), at in 0_usize..80) {
        let policy = policy(IN_FORCE);
        let requests = history(&policy, &acts);
        let from = requests[at.min(requests.len() - 1)].asked().created_at;
        let report = replayed(&policy, &requests, from, None);
        let meant = requests.iter().filter(|request| request.asked().created_at >= from);
        prop_assert_eq!((report.changed, report.other_rule), (0, 0));
        prop_assert_eq!(hits_of(&report), hits(meant.map(|request| request.asked().rule.as_deref())));
    }

    #[test]
    fn a_policy_that_decides_alone_is_replayed_as_it_would_have_gone(acts in acts(), at in 0_usize..80) {
        let (in_force, alone) = (policy(IN_FORCE), policy(ALONE));
        let requests = history(&in_force, &acts);
        let from = requests[at.min(requests.len() - 1)].asked().created_at;
        let report = replayed(&alone, &requests, from, None);
        let (mut past, mut names) = (Vec::new(), Vec::new());
        for request in &requests {
            let asked = request.asked();
            let value = asked.payload.value();
            let question = Question {
                client: asked.client.as_str(),
                action: &asked.action,
                summary: &asked.summary,
                payload: &value,
                metadata: &asked.metadata,
                now: asked.created_at,
            };
            let before = earlier(&alone, &asked.client, &question, &past);
            if asked.created_at < from {
                let outcome = request.outcome().filter(|outcome| outcome.status() != Status::Approved);
                if Then::of(request) != Then::PolicyRejected {
                    past.push(added(&alone, &asked.client, &question, outcome.map(|outcome| outcome.decided_at)));
                }
                continue;
            }
            let hit = alone.evaluate_after(&question, &before).map(|hit| hit.rule.name.as_str());
            if hit == Some("fine") {
                past.push(added(&alone, &asked.client, &question, None));
            }
            names.push(hit.map(str::to_owned));
        }
        prop_assert_eq!(&report.not_replayed, &[]);
        prop_assert_eq!(hits_of(&report), hits(names.iter().map(Option::as_deref)));
        let passes = |then: fn(Then) -> bool| {
            let passing = requests.iter().filter(|request| request.asked().created_at >= from).zip(&names);
            let passing = passing.filter(|(request, name)| name.as_deref() == Some("fine") && then(Then::of(request)));
            u32::try_from(passing.count()).unwrap()
        };
        prop_assert_eq!(report.rejected_would_pass.count, passes(Then::rejected));
        prop_assert_eq!(
            report.undecided_would_pass.count,
            passes(|then| then.asked() && !then.approved() && !then.rejected())
        );
    }
}

/// A payment of each act, one minute apart.
fn minutes_of(fates: &[(i32, Fate)]) -> Vec<Act> {
    let act = |(quarters, fate): &(i32, Fate)| Act {
        gap_ms: 60_000,
        client: 0,
        action: "pay",
        quarters: *quarters,
        to: 0,
        fate: *fate,
        takes_ms: 30_000,
    };
    // Not at night, when nobody could be asked.
    let mut acts: Vec<Act> = fates.iter().map(act).collect();
    if let Some(first) = acts.first_mut() {
        first.gap_ms = DAY_MS / 2;
    }
    acts
}

#[test]
fn what_people_would_have_had_to_decide_makes_later_totals_unknown_and_no_more() {
    // Approved by the rule, and the new one asks: nobody knows what people would have said.
    let requests =
        history(&policy(IN_FORCE), &minutes_of(&[(1, Fate::Open), (2, Fate::Open), (5, Fate::Approve)]));
    let asks = policy(
        r#"
[[rules]]
name = "more than a little"
when = 'payload.amount > 0.75 && total("payload.amount", "24h", "payload.to") > 1.25'
decide = "reject"
[[rules]]
name = "all"
stages = [{ ask = ["finance"], within = "1h" }]
"#,
    );
    let report = replayed(&asks, &requests, BEGIN, None);
    assert_eq!((report.requests, report.replayed, report.asks.added), (3, 2, 2));
    let left: Vec<_> = report.not_replayed.iter().map(|left| (left.why, left.requests)).collect();
    assert_eq!(left, [(NotReplayed::Total, 1)]);
}

#[test]
fn what_only_observes_keeps_no_request_from_being_replayed() {
    let watch = |when: &str, name: &str| {
        format!("[[rules]]\nname = \"{name}\"\nmode = \"observe\"\nwhen = '{when}'\ndecide = \"reject\"\n")
    };
    let rules = "[[rules]]\nname = \"ask\"\nstages = [{ ask = [\"finance\"], within = \"1h\" }]\n";
    let requests =
        history(&policy(rules), &minutes_of(&[(1, Fate::Approve), (2, Fate::Open), (5, Fate::Open)]));
    let gone = requests[0].asked().created_at;
    let watched =
        watch("total(\"payload.amount\", \"24h\") > 0.1", "much") + &watch("payload.amount > 0.75", "one");
    let report = replayed(&policy(&(watched + rules)), &requests, BEGIN, Some(gone));
    assert_eq!((report.replayed, report.changed, report.not_replayed.len()), (3, 0, 0));
    // What hangs on a total that nobody can know is not counted; what does not, is.
    let observed: Vec<_> =
        report.rules.iter().map(|rule| (rule.name.as_str(), rule.observes, rule.observed)).collect();
    assert_eq!(observed, [("much", true, 0), ("one", true, 1), ("ask", false, 0)]);
}

#[test]
fn a_history_suggests_something_only_where_it_was_to_be_kept() {
    let policy = policy(IN_FORCE);
    let replay = || Replay::new(&policy, BEGIN, BEGIN.plus_millis(DAY_MS), 0);
    assert!(replay().suggestions().is_none());
    let mut kept = replay().with_evidence();
    assert!(kept.suggestions().is_some());
    assert!(kept.suggestions().is_none(), "it is taken once");
}

#[test]
fn a_total_over_what_is_gone_is_not_guessed() {
    let requests = history(&policy(IN_FORCE), &minutes_of(&[(1, Fate::Open), (2, Fate::Open)]));
    let gone = requests[0].asked().created_at;
    let report = replayed(&policy(IN_FORCE), &requests, BEGIN, Some(gone));
    let left: Vec<_> = report.not_replayed.iter().map(|left| (left.why, left.requests)).collect();
    assert_eq!((report.replayed, left), (0, vec![(NotReplayed::TotalGone, 2)]));
}

#[test]
fn the_comparison_says_who_is_spared_and_what_would_slip_through() {
    let rules = "[[rules]]\nname = \"ask\"\nstages = [{ ask = [\"finance\"], within = \"1h\" }]\n";
    let fates = [Fate::Approve, Fate::Reject, Fate::Silence, Fate::Withdraw, Fate::Open, Fate::Approve];
    let quarters = [1, 2, 3, 4, 5, 9];
    let acts = minutes_of(&quarters.into_iter().zip(fates).collect::<Vec<_>>());
    let requests = history(&policy(rules), &acts);
    let new = policy(
        "[[rules]]\nname = \"few\"\nwhen = 'payload.amount <= 1.5'\ndecide = \"approve\"\n\
         [[rules]]\nname = \"never\"\nwhen = 'payload.amount > 2.0'\ndecide = \"reject\"\n",
    );
    let report = replayed(&new, &requests, BEGIN, None);
    assert_eq!(report.asks, Asks { then: 6, now: 0, saved: 6, added: 0, otherwise: 0 });
    // Each press came 30 s after its page was opened, and as long after the question.
    assert_eq!(
        report.saved,
        TimeSaved { reviewer_minutes: 1.5, presses: 3, presses_unknown: 0, waiting_minutes: 1.5 }
    );
    let names =
        |listed: &Listed| listed.requests.iter().map(|case| case.request_id.clone()).collect::<Vec<_>>();
    assert_eq!(names(&report.rejected_would_pass), ["r1"]);
    assert_eq!(names(&report.undecided_would_pass), ["r4", "r3", "r2"]);
    assert_eq!(names(&report.newly_denied), ["r5"]);
    assert_eq!((report.newly_asked.count, report.flagged_would_pass.count), (0, 0));
    let pairs: Vec<_> = report.pairs.iter().map(|pair| (pair.then, pair.now, pair.requests)).collect();
    assert_eq!(
        pairs,
        [
            (Then::PeopleApproved, Now::Approves, 1),
            (Then::PeopleApproved, Now::Rejects, 1),
            (Then::PeopleRejected, Now::Approves, 1),
            (Then::Expired, Now::Approves, 1),
            (Then::Withdrawn, Now::Approves, 1),
            (Then::Pending, Now::Approves, 1),
        ]
    );
    assert_eq!(report.changed, 6);
    // A mistake that was noticed is no reason to let it pass alone.
    let flagged: Vec<Request> = requests
        .iter()
        .map(|request| match request.flag("report", None, Channel::Page, BEGIN.plus_millis(DAY_MS)) {
            Ok(Some(flag)) => request.committed(flag.next().clone()),
            Ok(None) | Err(_) => request.clone(),
        })
        .collect();
    assert_eq!(names(&replayed(&new, &flagged, BEGIN, None).flagged_would_pass), ["r0"]);
}

#[test]
fn a_client_that_may_not_ask_is_not_replayed_and_terms_are_compared() {
    let rules = "[[rules]]\nname = \"ask\"\nstages = [{ ask = [\"finance\"], within = \"1h\" }]\n";
    let requests = history(&policy(rules), &minutes_of(&[(1, Fate::Approve)]));
    let longer = policy(&rules.replace("\"1h\"", "\"2h\""));
    let report = replayed(&longer, &requests, BEGIN, None);
    assert_eq!((report.changed, report.asks.otherwise, report.asks.saved), (1, 1, 0));
    // When operators hear of it changes nothing for whom it asks.
    let told = policy(&rules.replace("name = \"ask\"", "name = \"ask\"\nalert_after = \"5m\""));
    let report = replayed(&told, &requests, BEGIN, None);
    assert_eq!((report.changed, report.asks.otherwise), (0, 0));
    let others = Policy::read(&format!("{}{rules}", PEOPLE.replace("\"n8n\"", "\"zap\""))).unwrap();
    let report = replayed(&others, &requests, BEGIN, None);
    assert_eq!((report.requests, report.replayed), (1, 0));
    assert_eq!(report.not_replayed[0].why, NotReplayed::Client);
}
