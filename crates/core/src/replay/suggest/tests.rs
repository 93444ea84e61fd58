use serde_json::json;

use super::*;
use crate::Timestamp;
use crate::policy::Question;

const POLICY: &str = r#"
[[clients]]
id = "agent"
[[reviewers]]
id = "bob"
roles = ["finance"]
[[rules]]
name = "payments"
when = 'action == "pay"'
stages = [{ ask = ["finance"], within = "1h" }]
[[rules]]
name = "rest"
stages = [{ ask = ["finance"], within = "1h" }]
"#;

fn suggested(policy: &str, payloads: &[(Value, Then)]) -> Suggestions {
    let mut evidence = Evidence::default();
    for (payload, then) in payloads {
        let asker = Asker { rule: "payments".into(), client: "agent".into(), action: "pay".into() };
        evidence.note(asker, payload, *then, false);
    }
    evidence.suggestions(&Policy::read(policy).unwrap())
}

/// Forty approved ones of that form, up to 40.
fn approved(payload: impl Fn(i32) -> Value) -> Vec<(Value, Then)> {
    (1..=40).map(|number| (payload(number), Then::PeopleApproved)).collect()
}

/// The policy with those rules in force, before all others.
fn in_force(found: &Suggestions) -> Policy {
    let rules = found.suggestions.iter().fold(String::new(), |text, one| {
        let (name, when) = (Value::from(one.name.as_str()), Value::from(one.when.as_str()));
        text + &format!("[[rules]]\nname = {name}\nwhen = {when}\ndecide = \"approve\"\n")
    });
    Policy::read(&POLICY.replacen("[[rules]]", &(rules + "[[rules]]"), 1)).unwrap()
}

/// The rule that decides it, and whether its condition failed.
fn rule_of(policy: &Policy, payload: &Value) -> (String, bool) {
    let (metadata, now) = (BTreeMap::new(), Timestamp::from_millis(0));
    let question =
        Question { client: "agent", action: "pay", summary: "s", payload, metadata: &metadata, now };
    let matched = policy.evaluate(&question).unwrap();
    (matched.rule.name.clone(), matched.error.is_some())
}

#[test]
fn what_has_other_amounts_than_the_evidence_is_asked_about_and_nothing_is_rejected_for_its_form() {
    let order = |amount: i32| json!({ "order": { "amount": amount, "currency": "EUR" }, "to": "ACME" });
    let mut history = approved(order);
    let mut asked = vec![
        json!({ "order": { "amount": 41, "currency": "EUR" } }),
        json!({ "order": { "amount": 5, "currency": "USD" } }),
        json!({ "order": { "amount": "5", "currency": "EUR" } }),
        json!({ "order": { "currency": "EUR" } }),
        json!({ "order": { "amount": 5 } }),
        json!({ "order": [{ "amount": 5, "currency": "EUR" }] }),
        json!({ "order": 5 }),
        json!({}),
    ];
    let wider = [
        json!({ "order": { "amount": 1, "currency": "EUR", "fee": 5000 } }),
        json!({ "order": { "amount": 1, "currency": "EUR", "net": { "total": "5000.00" } } }),
        json!({ "order": { "amount": 1, "currency": "EUR", "account_currency": "JPY" } }),
        json!({ "order": { "amount": 1, "currency": "EUR" }, "items": [{ "price": 9 }, { "price": 5000 }] }),
        json!({ "order": { "amount": 1, "currency": "EUR" }, "sur-charge": { "total": 5000 } }),
    ];
    history.extend(wider.iter().map(|payload| (payload.clone(), Then::PeopleRejected)));
    asked.extend(wider);
    let found = suggested(POLICY, &history);
    let [one] = found.suggestions.as_slice() else { unreachable!("{found:?}") };
    assert_eq!((one.field.as_str(), one.up_to, one.doubt_from), ("payload.order.amount", 40.0, None));
    let policy = in_force(&found);
    for (payload, _) in history.iter().take(40) {
        assert_eq!(rule_of(&policy, payload), (one.name.clone(), false), "{payload}");
    }
    for payload in &asked {
        assert_eq!(rule_of(&policy, payload), ("payments".into(), false), "{payload}");
    }
}

#[test]
fn amounts_and_currencies_are_known_as_the_page_knows_them() {
    for (payload, has_amount) in [
        (json!({ "net_total": 5, "ccy": "JPY" }), true),
        (json!({ "amountInCents": 5, "currency": "EUR" }), true),
        (json!({ "salary": 5, "currency": "EUR", "cost_center": 4711, "total_count": 3 }), true),
        (json!({ "cost_center": 4711, "currency": "EUR" }), false),
        (json!({ "amount": 5, "currency": "ZZZ" }), false),
        (json!({ "amount": 5, "currency": "EUR", "account_currency": "USD" }), false),
        (json!({ "amount": 5, "fee": 1, "currency": "EUR" }), false),
        (json!({ "in": { "amount": 5, "currency": "EUR" } }), false),
        (json!({ "a-b": { "amount": 5, "currency": "EUR" } }), false),
    ] {
        let found = suggested(POLICY, &approved(|_| payload.clone()));
        assert_eq!(found.suggestions.len(), usize::from(has_amount), "{payload} {found:?}");
        if has_amount {
            let name = found.suggestions[0].name.clone();
            assert_eq!(rule_of(&in_force(&found), &payload), (name, false));
        } else {
            assert_eq!(found.nothing[0].why, Nothing::NoAmount, "{payload}");
        }
    }
}

#[test]
fn what_is_a_rule_already_is_not_suggested_again_and_no_name_twice() {
    let history = approved(|amount| json!({ "amount": amount, "currency": "EUR" }));
    let found = suggested(POLICY, &history);
    let name = found.suggestions[0].name.clone();
    let observed = format!(
        "[[rules]]\nname = {}\nmode = \"observe\"\ndecide = \"approve\"\n[[rules]]",
        Value::from(name.as_str())
    );
    let again = suggested(&POLICY.replacen("[[rules]]", &observed, 1), &history);
    assert_eq!(again.suggestions, []);
    let why: Vec<_> = again.nothing.iter().map(|one| (one.rule.as_str(), one.why)).collect();
    assert_eq!(
        why,
        [
            (name.as_str(), Nothing::DecidesAlone),
            ("payments", Nothing::Known),
            ("rest", Nothing::NeverDecided)
        ]
    );
    // Two fields of one client's requests, whose rules would be called the same.
    let both = [history, approved(|amount| json!({ "price": amount, "currency": "EUR" }))].concat();
    assert_eq!(suggested(POLICY, &both).suggestions.len(), 1);
}

#[test]
fn what_is_taken_back_says_why_for_each_rule() {
    let mut found = suggested(POLICY, &approved(|amount| json!({ "amount": amount, "currency": "EUR" })));
    found.take_back();
    assert_eq!(found.suggestions, []);
    let why: Vec<_> = found.nothing.iter().map(|one| (one.rule.as_str(), one.why, one.decisions)).collect();
    assert_eq!(why, [("rest", Nothing::NeverDecided, 0), ("payments", Nothing::LetsPass, 40)]);
}
