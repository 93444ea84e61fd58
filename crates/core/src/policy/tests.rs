//! Policies as operators write them: what is read, and what each mistake is told.

use std::collections::BTreeMap;

use serde_json::json;

use super::{ClientRole, EvalError, Policy, Question, RuleAction, Verdict};
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

/// A small policy without faults or warnings.
const CALM: &str = r#"
[[clients]]
id = "agent"
name = "Support agent"
owner = "alice"
executors = ["payments"]

[[clients]]
id = "payments"
roles = ["executor"]

[[clients]]
id = "desk"
roles = ["decider"]
queues = ["backup"]
owner = "carol"

[[reviewers]]
id = "alice"
roles = ["owners"]

[[reviewers]]
id = "bob"
roles = ["finance"]

[[reviewers]]
id = "carol"
roles = ["finance", "owners"]

[[rules]]
name = "refunds"
when = 'action == "refund.create" && payload.currency == "EUR" && payload.amount > 0 && payload.amount <= 20'
decide = "approve"

[[rules]]
name = "payments"
when = 'action.startsWith("payment.")'
stages = [
  { ask = ["finance"], within = "10m", hours = "07:00-20:00 Europe/Berlin" },
  { ask = ["owners"], within = "1h" },
]

[[rules]]
name = "rest"
stages = [{ ask = ["owners"], within = "1h" }, { queue = "backup", within = "1d" }]
"#;

fn changed(from: &str, to: &str) -> String {
    assert!(CALM.contains(from), "{from}");
    CALM.replacen(from, to, 1)
}

#[test]
fn what_is_left_out_has_its_default() {
    let report = Policy::check(CALM);
    assert_eq!(report.warnings, []);
    let policy = report.policy.unwrap();
    let [agent, payments, desk] = policy.clients.as_slice() else { panic!("{policy:?}") };
    assert_eq!((agent.name.as_str(), payments.name.as_str()), ("Support agent", "payments"));
    assert_eq!(
        (agent.rate_per_minute, agent.max_pending, agent.generation, agent.bearer),
        (60, 200, 1, false)
    );
    assert_eq!(agent.token, crate::token::TokenKind::EdDsa);
    assert_eq!(agent.roles.iter().copied().collect::<Vec<_>>(), [ClientRole::Requester]);
    assert_eq!(agent.executors.iter().map(ToString::to_string).collect::<Vec<_>>(), ["payments"]);
    assert!(payments.has(ClientRole::Executor) && !payments.has(ClientRole::Requester));
    assert_eq!(desk.queues.iter().map(String::as_str).collect::<Vec<_>>(), ["backup"]);
    assert!(policy.reviewers.iter().all(|reviewer| reviewer.generation == 1 && reviewer.away.is_empty()));
    assert_eq!(
        (policy.reviewers[1].name.as_str(), policy.version, policy.issuer.as_deref()),
        ("bob", 0, None)
    );
    let RuleAction::Ask(terms) = &policy.rules[1].action else { panic!("{policy:?}") };
    let hours: Vec<_> =
        terms.stages.iter().map(|stage| stage.hours.as_ref().map(super::Hours::as_str)).collect();
    assert_eq!(hours, [Some("07:00-20:00 Europe/Berlin"), None]);
    assert_eq!(
        (terms.approvals, terms.owner_may_approve, policy.rules[1].valid_for_seconds),
        (1, false, 3600)
    );
    assert_eq!(Policy::load_trusted(CALM, 7).unwrap().version, 7);
    let set = changed(
        "executors = [\"payments\"]",
        "executors = [\"payments\"]\nmax_pending = 3\ngeneration = 2\ntoken = \"HS256\"",
    );
    let agent = &Policy::read(&set).unwrap().clients[0];
    assert_eq!((agent.max_pending, agent.generation, agent.token), (3, 2, crate::token::TokenKind::Hs256));
    let raised = changed("id = \"bob\"", "id = \"bob\"\ngeneration = 5");
    assert_eq!(Policy::read(&raised).unwrap().reviewers[1].generation, 5);
}

#[test]
fn what_names_something_else_names_something_that_is_there() {
    let example = |fields: &str| {
        format!("decide = \"approve\"\nexamples = [{{ action = \"refund.create\", {fields} }}]")
    };
    let decide = "decide = \"approve\"";
    let bob = "id = \"bob\"";
    let rest = "name = \"rest\"";
    let first = "[[clients]]\nid = \"agent\"";
    let executors = "executors = [\"payments\"]";
    let executor = "roles = [\"executor\"]";
    let queues = "queues = [\"backup\"]";
    let ways = |count: u32| -> String {
        let way = |number| format!("[[alerts]]\nname = \"w{number}\"\nway = \"sns\"\n");
        (0..count).map(way).collect::<Vec<_>>().concat()
    };
    #[rustfmt::skip]
    let rows: &[(&str, String, &str)] = &[
        (executors, "executors = [\"payment\"]".into(), "executor `payment` is not one of the clients (did you mean `payments`?)"),
        (executors, "executors = [\"desk\"]".into(), "client `desk` does not have the role `executor`"),
        (executor, format!("{executor}\n{executors}"), "`executors` means nothing"),
        (executor, "roles = [\"executer\"]".into(), "`executer` is not a role of a client (did you mean `executor`?)"),
        (executor, "roles = [\"boss\"]".into(), "expected one of `requester`, `executor`, `decider`, `auditor`"),
        (queues, String::new(), "a decider needs `queues`"),
        (queues, "queues = []".into(), "a decider needs at least one queue"),
        (queues, "queues = [\"other\"]".into(), "nobody can answer from the queue `backup`"),
        (queues, "queues = [\"back up\"]".into(), "is not a queue's name"),
        (executors, queues.into(), "`queues` means nothing"),
        ("Europe/Berlin", "Europe/Berli".into(), "is not a time zone"),
        ("ask = [\"finance\"]", "ask = [\"finanse\"]".into(), "no reviewer has the role `finanse` (did you mean `finance`?)"),
        ("ask = [\"finance\"]", "ask = []".into(), "at least one role"),
        (bob, format!("{bob}\nslack = \"bob\""), "is not a user id of Slack"),
        (bob, format!("{bob}\ntelegram = \"bob\""), "expected a whole number"),
        (bob, format!("{bob}\nemail = \"a@b@c\""), "is not an email address"),
        (bob, format!("{bob}\nemail = \"bob@example.com, eve@example.com\""), "is not an email address"),
        (bob, format!("{bob}\nphone = \"+0550100\""), "is not a phone number"),
        (bob, format!("{bob}\ngeneration = 0"), "from 1 to 4294967295"),
        (rest, format!("{rest}\ntitel = \"x\""), "a rule has no key `titel`"),
        (rest, format!("{rest}\ntitle = 5"), "expected a string"),
        (rest, format!("{rest}\ntitle = \"\""), "a title must not be empty"),
        (rest, format!("{rest}\ntitle = \"Pay {{amount}}\""), "`{amount}` must begin with `payload.`"),
        (rest, format!("{rest}\ntitle = \"Pay {{payload.to\""), "this `{` is not closed"),
        (rest, format!("{rest}\nconfrim = true"), "a rule has no key `confrim`"),
        (rest, format!("{rest}\nconfirm = \"yes\""), "expected true or false"),
        (rest, format!("{rest}\nmask = \"payload.a\""), "expected a list"),
        (rest, format!("{rest}\nmask = [\"headers.authorization\"]"), "must begin with `payload.`"),
        (rest, format!("{rest}\nmask = [\"payload.a\", \"payload.a\"]"), "is listed twice"),
        (rest, format!("{rest}\neditable = [\"{{payload.a}}\"]"), "must begin with `payload.`"),
        (rest, format!("{rest}\neditable = [\"payload.a[0]\"]"), "has a key with `[` in it"),
        (rest, format!("{rest}\nmask = [\"payload.a\"]\neditable = [\"payload.a.b\"]"), "nobody could see what they change"),
        (decide, format!("{decide}\nconfirm = true"), "`confirm` means nothing in a rule that decides alone"),
        (decide, format!("{decide}\neditable = [\"payload.a\"]"), "`editable` means nothing in a rule that decides alone"),
        (rest, format!("{rest}\nalert_after = \"30d\""), "`alert_after` is not shorter than the stages together"),
        (rest, format!("{rest}\nalert_after = \"0s\""), "`0s` is no time at all"),
        (decide, format!("{decide}\nalert_after = \"1h\""), "`alert_after` means nothing in a rule that decides alone"),
        (rest, "name = \"\"".into(), "must not be empty"),
        (rest, "name = 5".into(), "expected a string, but this is a whole number"),
        (first, format!("[[alerts]]\nid = \"x\"\n{first}"), "a way of alerts has no key `id`"),
        (first, format!("[[alerts]]\nname = \"x\"\n{first}"), "a way of alerts needs the key `way`"),
        (first, format!("[alerts]\nname = \"x\"\n{first}"), "`alerts` must be a list of tables"),
        (first, format!("[[alerts]]\nname = \"x y\"\nway = \"sns\"\n{first}"), "is not a name of a way"),
        (first, format!("[[alerts]]\nname = \"x\"\nway = \"slak\"\n{first}"), "did you mean `slack`?"),
        (first, format!("[[alerts]]\nname = \"x\"\nway = \"mail\"\n{first}"), "a mail way needs the key `to`"),
        (first, format!("[[alerts]]\nname = \"x\"\nway = \"mail\"\nto = []\n{first}"), "needs 1 to 20 mail addresses"),
        (first, format!("[[alerts]]\nname = \"x\"\nway = \"mail\"\nto = [\"ops\"]\n{first}"), "is not an email address"),
        (first, format!("[[alerts]]\nname = \"x\"\nway = \"sns\"\nto = [\"a@b.example\"]\n{first}"), "`to` means nothing for a sns way"),
        (first, format!("[[alerts]]\nname = \"x\"\nway = \"slack\"\nurl = \"https://a.example\"\n{first}"), "is a secret, which does not belong in the policy"),
        (first, format!("[[alerts]]\nname = \"x\"\nway = \"webhook\"\nurl = \"http://a.example\"\n{first}"), "plain http is only for hosts named in `callback_hosts`"),
        (first, format!("[[alerts]]\nname = \"x\"\nway = \"sns\"\nkinds = [\"expierd\"]\n{first}"), "did you mean `expired`?"),
        (first, format!("[[alerts]]\nname = \"x\"\nway = \"sns\"\nkinds = [\"too_many\"]\n{first}"), "`too_many` is not a kind of alert"),
        (first, format!("[[alerts]]\nname = \"x\"\nway = \"sns\"\n[[alerts]]\nname = \"X\"\nway = \"sns\"\n{first}"), "is defined twice"),
        (first, format!("{}{first}", ways(21)), "a policy has at most 20 ways of alerts; this is one too many"),
        (first, format!("issuer = \"https://gate.example.com/\"\n{first}"), "ends in a slash"),
        ("owner = \"alice\"", "owner = \"alise\"".into(), "did you mean `alice`?"),
        (executors, "callback_hosts = [\"[::1]:x\"]".into(), "is not a port"),
        (executors, "max_pending = 0".into(), "from 1 to 1000000"),
        (decide, format!("{decide}\nowner_may_approve = true"), "means nothing in a rule that decides alone"),
        (decide, format!("{decide}\nexamples = [{{ action = \"refund create\" }}]"), "is not an action"),
        (decide, example("client = \"desk\""), "is not a client with the role `requester`"),
        (decide, example("payload = { n = 9007199254740993 }"), "`payload.n` is a whole number beyond"),
        (decide, example("payload = 5"), "expected a table"),
        (decide, example("metadata = { run = 7 }"), "strings only"),
        (decide, example("now = 2026-12-20"), "a time with its zone"),
        (decide, example("payload = { amount = \"5\", currency = \"EUR\" }"), "cannot be evaluated for it: a value has a type"),
    ];
    for (from, to, told) in rows {
        let faults = faults(&changed(from, to));
        assert!(faults.iter().any(|fault| fault.contains(told)), "{to}: {faults:#?}");
    }
    let fine = example(
        "client = \"agent\", summary = \"s\", metadata = { run = \"7\" }, now = 2026-12-20T18:00:00Z, \
         payload = { amount = 5, currency = \"EUR\" }",
    );
    assert_eq!(faults(&changed(decide, &fine)), [""; 0]);
}

#[test]
fn dead_ends_are_warnings_with_their_lines() {
    let warnings = |text: &str| -> Vec<String> {
        let report = Policy::check(text);
        assert!(report.policy.is_ok(), "{:?}", report.policy.err());
        report.warnings.iter().map(ToString::to_string).collect()
    };
    let payments = "when = 'action.startsWith(\"payment.\")'\n";
    let away =
        "roles = [\"finance\"]\naway = [{ from = 2030-01-05, until = 2030-02-01, backup = \"carol\" }]\n";
    let absent = |text: &str| text.replacen("roles = [\"finance\"]\n", away, 1);
    let twin = "name = \"again\"\nwhen = 'action.startsWith(\"payment.\")  '\ndecide = \"reject\"\n[[rules]]\nname = \"rest\"\n";
    #[rustfmt::skip]
    let rows = [
        (changed("payload.amount > 0 && ", ""), "line 32: this rule approves, but `payload.amount` has no smallest value"),
        (changed(" && payload.amount <= 20", ""), "line 32: this rule approves, but `payload.amount` has no largest value"),
        (changed("payload.currency == \"EUR\" && ", ""), "line 32: this rule approves `payload.amount` in any currency"),
        (changed("payload.amount > 0 && ", "payload.items.all(item, item.price <= 20) && payload.amount > 0 && "), "line 32: this rule approves, but `item.price` has no smallest value"),
        (changed("payload.amount > 0 && ", "payload.items.all(item, item.price > 0) && payload.amount > 0 && "), "line 32: this rule approves, but `item.price` has no largest value"),
        (changed("payload.amount > 0 && payload.amount <= 20", "total(\"payload.amount\", \"24h\") <= 100"), "line 32: this rule approves, but `payload.amount` has no smallest value"),
        (changed("payload.amount > 0 && ", "total(\"payload.amount\", \"24h\") > 100 && payload.amount > 0 && "), "line 32: this rule approves, but `total(\"payload.amount\", \"24h\")` has no largest value"),
        (changed("payload.currency == \"EUR\" && payload.amount > 0 && payload.amount <= 20", "payload.items.all(item, item.price > 0 && item.price <= 20)"), "line 32: this rule approves `item.price` in any currency"),
        (changed("owner = \"alice\"\n", ""), "line 3: client `agent` has no owner"),
        (changed("owner = \"carol\"\n", ""), "line 13: decider `desk` has no owner"),
        (changed("executors = [\"payments\"]\n", ""), "line 8: no client names `payments` as one of its executors"),
        (changed("queues = [\"backup\"]", "queues = [\"backup\", \"spare\"]"), "line 15: no rule has a stage with the queue `spare`"),
        (format!("{CALM}\n[[rules]]\nname = \"last\"\ndecide = \"reject\"\n"), "line 48: rule `last` is never reached: rule `rest` comes before it and matches everything"),
        (changed("name = \"rest\"\n", twin), "line 44: rule `again` is never reached: rule `payments` comes before it and has the same condition"),
        (changed("name = \"rest\"\n", "name = \"rest\"\nwhen = 'false'\n"), "line 45: this condition never holds"),
        (changed("within = \"1h\" },\n]", "within = \"1h\", hours = \"00:00-12:00 UTC\" },\n]"), "line 38: every stage has hours"),
        (changed("name = \"rest\"\n", "name = \"rest\"\napprovals = 2\n"), "line 46: one answer from the queue `backup` decides alone, although the rule needs 2 approvals"),
        (changed("roles = [\"finance\", \"owners\"]", "roles = [\"finance\"]"), "line 40: this stage asks nobody but `alice`, who owns client `agent`"),
        (changed("owner = \"carol\"", "owner = \"alice\""), "line 45: nobody can approve requests of `agent` from the queue `backup`"),
        (changed(payments, &format!("{payments}approvals = 3\n")), "line 38: the rule needs 3 approvals, which requests of `agent` can never get: `alice` owns that client and does not count"),
        (absent(&changed(payments, &format!("{payments}approvals = 2\n"))), "line 39: rule `payments` needs 2 approvals, but from 2030-01-05 on only 1 of its reviewers"),
        (changed("id = \"bob\"", "id = \"bob\"\nchannels = [\"push\"]"), "line 24: `bob` is told by push only"),
        (changed("id = \"bob\"", "id = \"bob\"\nphone = \"+15550100\""), "line 24: `bob` is reached by text message only"),
        (changed("executors = [\"payments\"]\n", "roles = [\"auditor\"]\n"), "line 1: no client has the role `requester`"),
    ];
    for (text, told) in rows {
        let found = warnings(&text);
        assert!(found.iter().any(|warning| warning.starts_with(told)), "{told}: {found:#?}");
    }
    // What hinders nobody is not told: an owner who may approve, a stand-in who is one more person, a rule that rejects.
    for fine in [
        changed(payments, &format!("{payments}owner_may_approve = true\napprovals = 3\n")),
        changed(payments, &format!("{payments}approvals = 2\n")),
        absent(CALM),
        changed("id = \"bob\"", "id = \"bob\"\nphone = \"+15550100\"\nemail = \"bob@example.com\""),
        changed("payload.amount > 0 && ", "").replace("decide = \"approve\"", "decide = \"reject\""),
        changed("payload.amount > 0 && payload.amount <= 20", "payload.amount in [5, 10]"),
        changed("payload.amount <= 20", "total(\"payload.amount\", \"24h\") <= 100"),
        changed(
            "payload.amount <= 20",
            "payload.amount <= 20 && !payload.items.exists(i, i.price < 0 || i.price > 9)",
        ),
        changed("payload.amount <= 20", "payload.amount <= 20 && payload.items.exists(i, i.price > 9)"),
    ] {
        assert_eq!(warnings(&fine), [""; 0], "{fine}");
    }
}

#[test]
fn an_empty_policy_is_a_fault() {
    for empty in ["", "# nothing yet\n", "issuer = \"https://gate.example.com\"\n"] {
        assert!(faults(empty)[0].contains("line 1: the policy is empty"), "{empty}");
    }
    assert!(faults("[rules]\nname = \"x\"\n")[0].contains("write `[[rules]]` with two brackets"));
}

#[test]
fn the_conditions_of_one_request_share_one_budget() {
    use std::fmt::Write as _;
    let mut text = String::from("[[reviewers]]\nid = \"bob\"\nroles = [\"r\"]\n");
    for number in 0..20 {
        let _ = write!(
            text,
            "[[rules]]\nname = \"rule {number}\"\nwhen = 'payload.items.all(i, i == {number}.5 || i < 1000.0) == false'\n\
             stages = [{{ ask = [\"r\"], within = \"1h\" }}]\n"
        );
    }
    let policy = Policy::read(&text).unwrap();
    let metadata = BTreeMap::new();
    let ask = |length: usize| {
        let payload = json!({"items": vec![1; length]});
        let question = Question {
            client: "c",
            action: "a",
            summary: "s",
            payload: &payload,
            metadata: &metadata,
            now: Timestamp::from_millis(0),
        };
        policy.evaluate(&question).map(|hit| (hit.rule.name.clone(), hit.error))
    };
    assert_eq!(ask(100), None);
    // Each rule alone could look through it; all of them together may not, and the one that ran out asks a person.
    let (rule, error) = ask(5000).unwrap();
    assert_eq!(error, Some(EvalError::TooManySteps));
    assert_ne!(rule, "rule 0");
}

#[test]
fn a_deep_file_is_read_on_the_smallest_stack() {
    let (open, close) = ("[".repeat(70), "]".repeat(70));
    for text in [
        "a = ".to_owned() + &"[".repeat(100_000),
        "a = ".to_owned() + &"{a=".repeat(100_000),
        "a".to_owned() + &".a".repeat(100_000) + " = 1",
        "[".to_owned() + &"a.".repeat(50_000) + "a]",
        format!(
            "[[rules]]\nname = \"x\"\nexamples = [{{ action = \"x\", payload = {{ a = {open}1{close} }} }}]"
        ),
    ] {
        let on_a_small_stack =
            std::thread::Builder::new().stack_size(256 * 1024).spawn(move || Policy::read(&text).is_err());
        assert!(on_a_small_stack.unwrap().join().unwrap());
    }
    // What looks deep inside a text or a remark is not.
    let brackets = "[".repeat(60);
    let text =
        format!("# {brackets}\n{CALM}\n# {brackets}").replace("Support agent", &format!("\\\"{brackets}"));
    assert!(Policy::read(&text).is_ok(), "{:?}", Policy::read(&text));
    let deepest = format!("x = {}1{}", "[".repeat(40), "]".repeat(40));
    assert!(!faults(&deepest)[0].contains("too deep"), "{:?}", faults(&deepest));
    assert!(faults(&deepest.replace('1', "[1]"))[0].contains("line 1: the file nests too deep"));
}

#[test]
fn a_title_that_names_what_an_example_lacks_is_a_warning() {
    let rest = r#"name = "rest""#;
    let text = changed(
        rest,
        r#"name = "titled"
when = 'action == "tool.run"'
title = "Run {payload.comand} on {payload.host.name}"
examples = [{ action = "tool.run", payload = { command = "ls", host = { name = "a" } } }]
stages = [{ ask = ["owners"], within = "1h" }]

[[rules]]
name = "rest""#,
    );
    let report = Policy::check(&text);
    assert!(report.policy.is_ok(), "{:#?}", report.policy);
    let told: Vec<_> = report.warnings.iter().filter(|warning| warning.message.contains("title")).collect();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert_eq!(
        told[0].message,
        "the title of rule `titled` names `payload.comand`, which this example's payload does not have"
    );
    assert_eq!(told[0].help.as_deref(), Some("did you mean `command`?"));
}

#[test]
fn a_way_can_get_the_report_and_no_alerts() {
    let text = "[[clients]]\nid = \"agent\"\n[report]\nto = [\"team\"]\n[[alerts]]\nname = \"team\"\nway = \"slack\"\nkinds = []\n";
    let policy = Policy::read(text).unwrap();
    assert!(crate::policy::ALERT_KINDS.iter().all(|kind| !policy.alerts[0].hears(kind)));
    let report = policy.report.unwrap();
    assert_eq!((report.to, report.at.as_str()), (vec!["team".to_owned()], "Monday 09:00 UTC"));
}

#[test]
fn a_report_goes_to_ways_that_take_one_at_a_moment_of_the_week() {
    let first = "[[clients]]\nid = \"agent\"";
    let rows: Vec<(&str, String, &str)> = vec![
        (
            first,
            format!("[[alerts]]\nname = \"x\"\nway = \"sns\"\nkinds = []\n{first}"),
            "the way `x` gets nothing",
        ),
        (first, format!("[report]\n{first}"), "the report needs the key `to`"),
        (first, format!("[report]\nto = []\n{first}"), "needs at least one way of alerts"),
        (first, format!("[report]\nto = \"x\"\n{first}"), "expected a list"),
        (first, format!("[[report]]\nto = [\"x\"]\n{first}"), "expected a table, but this is a list"),
        (
            first,
            format!("[report]\nto = [\"ops2\"]\n[[alerts]]\nname = \"ops\"\nway = \"sns\"\n{first}"),
            "did you mean `ops`?",
        ),
        (
            first,
            format!("[report]\nto = [\"ops@example.com\"]\n{first}"),
            "`ops@example.com` is not a way of alerts",
        ),
        (
            first,
            format!("[report]\nto = [\"x\", \"x\"]\n[[alerts]]\nname = \"x\"\nway = \"sns\"\n{first}"),
            "`x` is named twice",
        ),
        (
            first,
            format!("[report]\nto = [\"x\"]\n[[alerts]]\nname = \"x\"\nway = \"pagerduty\"\n{first}"),
            "which is for incidents",
        ),
        (
            first,
            format!(
                "[report]\nto = [\"x\"]\nat = \"09:00\"\n[[alerts]]\nname = \"x\"\nway = \"sns\"\n{first}"
            ),
            "is written as `Monday 09:00 Europe/Berlin`",
        ),
        (
            first,
            format!(
                "[report]\nto = [\"x\"]\nat = \"Monday 09:00 Berlin\"\n[[alerts]]\nname = \"x\"\nway = \"sns\"\n{first}"
            ),
            "`Berlin` is not a time zone",
        ),
        (
            first,
            format!(
                "[report]\nto = [\"x\"]\nday = \"Monday\"\n[[alerts]]\nname = \"x\"\nway = \"sns\"\n{first}"
            ),
            "the report has no key `day`",
        ),
    ];
    for (from, to, told) in rows {
        let faults = faults(&changed(from, &to));
        assert!(faults.iter().any(|fault| fault.contains(told)), "{to}: {faults:#?}");
    }
    let way = |rest: &str| format!("[[alerts]]\nname = \"x\"\nway = \"sns\"\n{rest}\n{first}");
    for (to, table) in [
        (way("[report]\nto = [\"y\"]"), "`[report]`"),
        (way("kinds = [\"expires\"]"), "alert `x`"),
        (way("kinds = \"expired\""), "alert `x`"),
    ] {
        let faults = Policy::read(&changed(first, &to)).expect_err(&to);
        let [fault] = faults.as_slice() else { panic!("{to}: {faults:#?}") };
        assert_eq!(fault.table.as_deref(), Some(table), "{to}: {fault:?}");
    }
}

#[test]
fn a_fault_says_what_was_meant_where_it_is_and_nothing_that_follows_from_it() {
    let (decide, rest, bob) = ("decide = \"approve\"", "name = \"rest\"", "id = \"bob\"");
    let example = |payload: &str| {
        format!("{decide}\nexamples = [{{ action = \"refund.create\", payload = {{ {payload} }} }}]")
    };
    let stages =
        "stages = [{ ask = [\"owners\"], within = \"1h\" }, { queue = \"backup\", within = \"1d\" }]";
    #[rustfmt::skip]
    let rows: &[(&str, String, &str, &str, &str, &str)] = &[
        (bob, format!("{bob}\naway = {{ from = 2030-01-01, until = 2030-01-02 }}"), "{ from = 2030-01-01, until = 2030-01-02 }", "`away` must be a list of tables, but this is one table", "put brackets around it: `away = [{ … }]`", "reviewer `bob`"),
        (bob, format!("{bob}\naway = [{{ from = 2030-01-01, until = 2030-01-02, backup = \"Carol\" }}]"), "\"Carol\"", "backup `Carol` is not one of the reviewers", "did you mean `carol`? capitals matter", "reviewer `bob`"),
        (stages, "stages = { ask = [\"owners\"], within = \"1h\" }".into(), "{ ask = [\"owners\"], within = \"1h\" }", "`stages` must be a list of tables, but this is one table", "put brackets around it: `stages = [{ … }]`", "rule `rest`"),
        (stages, "[rules.stages]\nask = [\"owners\"]\nwithin = \"1h\"".into(), "[rules.stages]", "`stages` must be a list of tables, but this is one table", "write `[[rules.stages]]` with two brackets on each side, once for a stage", "rule `rest`"),
        (rest, format!("{rest}\nmask = [\"payload\"]"), "\"payload\"", "`payload` is the whole payload, of which only single fields can be hidden", "name each of them: `mask = [\"payload.token\"]`", "rule `rest`"),
        (rest, format!("{rest}\neditable = [\"payload\"]"), "\"payload\"", "`payload` is the whole payload, of which only single fields can be changed", "name each of them: `editable = [\"payload.token\"]`", "rule `rest`"),
        ("ask = [\"finance\"]", "ask = [\"bob\"]".into(), "\"bob\"", "no reviewer has the role `bob`", "`bob` is a reviewer, and a stage asks by roles: give them a role, such as `roles = [\"bob\"]`", "rule `payments`"),
        ("owner = \"alice\"", "owner = \"Alice\"".into(), "\"Alice\"", "owner `Alice` of client `agent` is not one of the reviewers", "did you mean `alice`? capitals matter", "client `agent`"),
        ("executors = [\"payments\"]", "executors = [\"payments\", \"desk\"]".into(), "\"desk\"", "client `desk` does not have the role `executor`", "add `\"executor\"` to the `roles` of client `desk`", "client `agent`"),
        ("executors = [\"payments\"]", "executors = [\"payments\", \"Desk\"]".into(), "\"Desk\"", "executor `Desk` is not one of the clients", "did you mean `desk`? capitals matter", "client `agent`"),
        ("id = \"bob\"\n", "id = \"bob\"\ngeneration = 0\n".into(), "0", "expected a whole number from 1 to 4294967295", "", "reviewer `bob`"),
        (decide, example("amount = 9007199254740993"), "9007199254740993", "`payload.amount` is a whole number beyond", "", "rule `refunds`"),
        (decide, example("lines = [{ n = 1 }, { n = 9007199254740993 }]"), "9007199254740993", "`payload.lines[1].n` is a whole number beyond", "", "rule `refunds`"),
        (bob, format!("{bob}\nphone = 15550100"), "15550100", "expected a string, but this is a whole number", "write `\"15550100\"`", "reviewer `bob`"),
        ("ask = [\"finance\"]", "ask = \"finance\"".into(), "\"finance\"", "expected a list, but this is a string", "write `[\"finance\"]`", "rule `payments`"),
        (rest, format!("{rest}\nconfirm = \"yes\""), "\"yes\"", "expected true or false, but this is a string", "write `true`", "rule `rest`"),
        (rest, format!("{rest}\napprovers = [\"bob\"]"), "approvers", "a rule has no key `approvers`", "write `stages = [{ ask = [\"finance\"], within = \"1h\" }]`", "rule `rest`"),
        (rest, format!("{rest}\nemail = \"a@b.example\""), "email", "a rule has no key `email`", "it belongs to a reviewer: put it below a `[[reviewers]]`", "rule `rest`"),
    ];
    for (from, to, marked, message, help, table) in rows {
        let faults = Policy::read(&changed(from, to)).expect_err(to);
        let [fault] = faults.as_slice() else { panic!("{to}: {faults:#?}") };
        let line = fault.excerpt.clone().unwrap_or_default();
        let under: String = line.chars().skip(fault.column - 1).take(fault.width).collect();
        assert!(fault.message.starts_with(message), "{to}: {fault:?}");
        assert_eq!(
            (under.as_str(), fault.help.as_deref().unwrap_or_default(), fault.table.as_deref()),
            (*marked, *help, Some(*table)),
            "{to}: {fault:?}"
        );
    }
    let few = changed("when = 'action.startsWith(\"payment.\")'\n", "approvals = 4\n");
    assert_eq!(faults(&few), ["line 37: the rule needs 4 approvals, but its stages ask only 3 reviewers"]);
    for (text, help) in [
        ("[[rule]]\nname = \"x\"\n", "did you mean `[[rules]]`?"),
        (
            "[rules.payments]\ndecide = \"reject\"\n",
            "write `[[rules]]`, and `name = \"payments\"` below it, once for a rule",
        ),
        (
            "[[stages]]\nask = [\"x\"]\n",
            "it belongs to a rule: write `[[rules.stages]]` below its `[[rules]]`",
        ),
    ] {
        let found = faults(text);
        assert!(found.iter().any(|fault| fault.contains(help)), "{found:?}");
    }
}
