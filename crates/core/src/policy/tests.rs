//! Policies as operators write them: what is read, and what each mistake is told.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Policy, Question, Verdict};
use crate::Timestamp;
use crate::id::ReviewerId;

const SAMPLE: &str = r#"issuer = "https://gate.example.com"

[[clients]]
id = "n8n"
roles = ["requester"]
owner = "alice"
token = "HS256"
callback_hosts = ["n8n.example.com"]
rate_per_minute = 60

[[clients]]
id = "jira"
roles = ["decider"]
queues = ["backup"]
owner = "dave"

[[reviewers]]
id = "alice"
email = "alice@example.com"
roles = ["owners"]

[[reviewers]]
id = "dave"
roles = ["owners"]

[[reviewers]]
id = "bob"
name = "Bob"
email = "bob@example.com"
phone = "+15550100"
roles = ["finance"]
away = [{ from = 2026-12-20, until = 2027-01-04, backup = "carol" }]

[[reviewers]]
id = "carol"
roles = ["finance"]

[[rules]]
name = "small refunds"
when = 'action == "refund.create" && payload.currency == "EUR" && payload.amount > 0 && payload.amount <= 20'
decide = "approve"

[[rules]]
name = "payments"
when = 'action.startsWith("payment.")'
approvals = 2
stages = [
  { ask = ["finance"], within = "10m" },
  { ask = ["owners"], within = "1h" },
  { queue = "backup", within = "24h" },
]
valid_for = "1h"
owner_may_approve = false
examples = [{ action = "payment.send", payload = { amount = 5000 } }]
"#;

fn faults(text: &str) -> Vec<String> {
    Policy::read(text).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

#[test]
fn the_contracts_own_example_is_a_policy() {
    let report = Policy::check(SAMPLE);
    let policy = report.policy.unwrap();
    assert_eq!((policy.clients.len(), policy.reviewers.len(), policy.rules.len()), (2, 4, 2));
    let warnings: Vec<_> = report.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        ["line 50: one answer from the queue `backup` decides alone, although the rule needs 2 approvals"]
    );
}

#[test]
fn all_faults_are_reported_at_once_with_their_lines() {
    let broken = SAMPLE
        .replace("rate_per_minute = 60", "rate_per_minit = 60")
        .replace("owner = \"alice\"", "owner = \"zoe\"")
        .replace("payload.amount <= 20", "amount <= 20")
        .replace("within = \"10m\"", "within = \"10 minutes\"")
        .replace("+15550100", "15550100");
    let faults = faults(&broken);
    let starts: Vec<_> = faults.iter().map(|fault| fault.split(':').next().unwrap()).collect();
    assert_eq!(starts, ["line 6", "line 9", "line 30", "line 40", "line 48"], "{faults:#?}");
    assert!(faults[0].contains("`zoe` of client `n8n` is not one of the reviewers"));
    assert!(faults[1].contains("no key `rate_per_minit` (did you mean `rate_per_minute`?)"));
    assert!(faults[4].contains("`10 minutes` is not a duration"));
}

#[test]
fn each_mistake_is_named() {
    #[rustfmt::skip]
    let rows = [
        ("roles = [\"requester\"]", "roles = [\"requester\", \"decider\"]", "never both"),
        ("token = \"HS256\"", "token = \"none\"", "expected \"EdDSA\" or \"HS256\""),
        ("id = \"n8n\"", "id = \"n.8n\"", "must be 1 to 64 of"),
        ("id = \"carol\"", "id = \"bob\"", "reviewer `bob` is defined twice"),
        ("id = \"carol\"", "id = \"carol\"\nemail = \"BOB@example.com\"", "belongs to two reviewers"),
        ("backup = \"carol\"", "backup = \"bob\"", "own backup"),
        ("backup = \"carol\"", "backup = \"zoe\"", "`zoe` is not one of"),
        ("until = 2027-01-04", "until = 2026-01-04", "`until` is before `from`"),
        ("approvals = 2", "approvals = 0", "from 1 to 100"),
        ("{ ask = [\"owners\"]", "{ ask = [\"bosses\"]", "no reviewer has the role `bosses`"),
        ("{ queue = \"backup\"", "{ queue = \"backup\", ask = [\"owners\"]", "either `ask = [roles]` or `queue"),
        ("id = \"jira\"\nroles = [\"decider\"]", "id = \"jira\"\nroles = [\"auditor\"]", "means nothing for a client without"),
        ("within = \"24h\"", "within = \"30d\"", "at most 30 days"),
        ("valid_for = \"1h\"", "on_timeout = \"approve\"", "silence never approves"),
        ("decide = \"approve\"", "", "needs `decide` or `stages`"),
        ("decide = \"approve\"", "decide = \"approve\"\napprovals = 2", "means nothing"),
        ("decide = \"approve\"", "decide = \"approve\"\nauto_approve = true", "no key `auto_approve`"),
        ("name = \"payments\"", "name = \"small refunds\"", "is defined twice"),
        ("{ action = \"payment.send\"", "{ action = \"invoice.pay\"", "hits no rule"),
        ("payload = { amount = 5000 } }", "payload = { amount = 5000 } }, { action = \"refund.create\", payload = { amount = 1 } }", "hits rule `small refunds`"),
        ("valid_for = \"1h\"", "valid_for = \"60d\"", "from 1 second to 30 days"),
        ("issuer = \"https://gate.example.com\"", "issuer = \"gate.example.com\"", "http(s) address"),
        ("[[clients]]\nid", "[[clients]\nid", "line 3"),
        ("callback_hosts = [\"n8n.example.com\"]", "callback_hosts = [\"https://n8n.example.com\"]", "scheme or a path"),
    ];
    for (from, to, told) in rows {
        assert!(SAMPLE.contains(from), "{from}");
        let faults = faults(&SAMPLE.replacen(from, to, 1));
        assert!(faults.iter().any(|fault| fault.contains(told)), "{to}: {faults:#?}");
    }
}

#[test]
fn what_is_allowed_but_risky_is_a_warning() {
    let risky = SAMPLE.to_owned() + "\n[[rules]]\nname = \"all\"\ndecide = \"approve\"\n";
    let report = Policy::check(&risky);
    assert!(report.policy.is_ok());
    let warnings: Vec<_> = report.warnings.iter().map(ToString::to_string).collect();
    assert!(warnings[1].contains("rule `all` approves everything"), "{warnings:?}");
}

#[test]
fn the_first_rule_that_matches_or_fails_decides() {
    for policy in [Policy::read(SAMPLE), Policy::load_trusted(SAMPLE, 3)] {
        the_first_rule_decides(&policy.unwrap());
    }
}

#[test]
fn what_an_installed_policy_says_in_no_known_words_is_in_doubt() {
    let text = SAMPLE.replace("payload.amount <= 20'", "payload.amount <= twenty(20)'");
    assert_ne!(text, SAMPLE);
    assert!(Policy::read(&text).is_err());
    for unreadable in [text.clone(), text.replace("twenty(20)", "(")] {
        let policy = Policy::load_trusted(&unreadable, 3).unwrap();
        let (payload, metadata) = (json!({"amount": 1}), BTreeMap::new());
        let (client, action, summary) = ("n8n", "refund.create", "");
        let hit = policy.evaluate(&Question {
            client,
            action,
            summary,
            payload: &payload,
            metadata: &metadata,
            now: Timestamp::from_millis(0),
        });
        let hit = hit.unwrap();
        assert_eq!(hit.rule.name, "small refunds");
        assert!(hit.error.is_some());
    }
}

fn the_first_rule_decides(policy: &Policy) {
    let empty = BTreeMap::new();
    let hit = |action: &str, payload: serde_json::Value| {
        let question = Question {
            client: "n8n",
            action,
            summary: "",
            payload: &payload,
            metadata: &empty,
            now: Timestamp::from_millis(0),
        };
        policy.evaluate(&question).map(|hit| (hit.rule.name.clone(), hit.error.is_some()))
    };
    assert_eq!(
        hit("refund.create", json!({"amount": 19.5, "currency": "EUR"})),
        Some(("small refunds".into(), false))
    );
    assert_eq!(hit("refund.create", json!({"amount": 21, "currency": "EUR"})), None);
    assert_eq!(
        hit("refund.create", json!({"amount": "19", "currency": "EUR"})),
        Some(("small refunds".into(), true))
    );
    assert_eq!(hit("refund.create", json!({})), Some(("small refunds".into(), true)));
    assert_eq!(hit("payment.send", json!({})), Some(("payments".into(), false)));
    let payload = json!({});
    let question = Question {
        client: "n8n",
        action: "payment.send",
        summary: "",
        payload: &payload,
        metadata: &empty,
        now: Timestamp::from_millis(0),
    };
    let lines: Vec<_> =
        policy.trace(&question).into_iter().map(|(rule, truth)| (rule.name.as_str(), truth)).collect();
    assert_eq!(lines, [("small refunds", Verdict::False), ("payments", Verdict::True)]);
}

#[test]
fn who_is_away_is_replaced_by_their_backup_once() {
    let policy =
        Policy::read(&SAMPLE.replace("id = \"carol\"\nroles = [\"finance\"]", "id = \"carol\"")).unwrap();
    let roles = ["finance".to_owned()];
    let asked = |time: &str| -> Vec<(String, Option<String>)> {
        let asked = policy.asked(&roles, Timestamp::parse(time).unwrap());
        asked.into_iter().map(|who| (who.reviewer.to_string(), who.in_place_of.map(String::from))).collect()
    };
    let bob = vec![("bob".to_owned(), None)];
    assert_eq!(asked("2026-12-19T23:59:59Z"), bob);
    assert_eq!(asked("2026-12-20T00:00:00Z"), [("carol".to_owned(), Some("bob".to_owned()))]);
    assert_eq!(asked("2027-01-04T23:59:59Z"), [("carol".to_owned(), Some("bob".to_owned()))]);
    assert_eq!(asked("2027-01-05T00:00:00Z"), bob);
    assert!(policy.reviewer(&ReviewerId::parse("carol").unwrap()).is_some());
}

#[test]
fn no_text_panics() {
    use proptest::prelude::*;
    proptest!(|(text in "\\PC{0,200}", at: prop::sample::Index, extra in "[\\[\\]{}=\",'\n0-9a-z.-]{1,8}")| {
        let _ = Policy::read(&text);
        let mut torn = SAMPLE.to_owned();
        torn.insert_str(at.index(SAMPLE.len()), &extra);
        let _ = Policy::read(&torn);
    });
}
