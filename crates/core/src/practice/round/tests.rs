use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::Timestamp;
use crate::id::{ApprovalId, RequestId};
use crate::policy::Policy;
use crate::request::{NewRequest, Request};

const POLICY: &str = r#"
issuer = "https://gate.example.com"

[[clients]]
id = "agent"
roles = ["requester"]

[[reviewers]]
id = "bob"
email = "bob@example.com"
roles = ["finance"]

[[rules]]
name = "payments"
stages = [{ ask = ["finance"], within = "10m" }]
"#;

/// A request of the team's, as its number and words say.
fn asked(number: u32, words: &str, payload: &Value) -> Arc<ApprovalRequest> {
    static READ: std::sync::LazyLock<Policy> = std::sync::LazyLock::new(|| Policy::read(POLICY).unwrap());
    let created_at = Timestamp::from_millis(1_795_000_000_000 + i64::from(number));
    let new = NewRequest {
        approval_id: ApprovalId::from_parts(created_at, u128::from(number)),
        request_id: RequestId::parse(&format!("run-{number}")).unwrap(),
        action: "payment.send".to_owned(),
        summary: words.to_owned(),
        payload: Payload::new(payload.as_object().unwrap()).unwrap(),
        metadata: BTreeMap::new(),
        callback_url: None,
        timeout_ms: None,
        issuer: "https://gate.example.com".to_owned(),
        epoch: 1,
    };
    Request::open(new, &READ.clients[0], &READ, created_at).asked
}

fn invoices(count: u32) -> Vec<Arc<ApprovalRequest>> {
    let invoice = |number: u32| {
        let words = format!("Pay {} EUR for INV-{}", 100 + 7 * number, 2000 + number);
        let payload = json!({
            "amount": 100 + 7 * number, "invoice": format!("INV-{}", 2000 + number), "currency": "EUR",
        });
        asked(number, &words, &payload)
    };
    (0..count).map(invoice).collect()
}

/// What differs between what was asked and what is shown, by path.
fn differences(before: &Value, after: &Value) -> Vec<String> {
    match (before, after) {
        (Value::Object(one), Value::Object(other)) => {
            let keys: BTreeSet<_> = one.keys().chain(other.keys()).collect();
            keys.into_iter()
                .flat_map(|key| {
                    differences(&one[key], &other[key]).into_iter().map(move |rest| format!("{key}.{rest}"))
                })
                .collect()
        }
        (one, other) if one == other => vec![],
        _ => vec![String::new()],
    }
}

proptest! {
    #[test]
    fn a_round_has_twelve_cases_and_enough_of_either_kind(seed: [u8; 16], own in 0_u32..40) {
        let own = invoices(own);
        let (origin, cases) = cases(seed, &own);
        prop_assert_eq!(cases.len(), 12);
        let changed = cases.iter().filter(|case| case.altered.is_some()).count();
        prop_assert!((4..=8).contains(&changed), "{}", changed);
        prop_assert_eq!(origin, if own.len() >= 12 { Origin::Own } else { Origin::Samples });
        // No case comes twice.
        let shown: BTreeSet<_> = cases.iter().map(|case| &case.summary).collect();
        prop_assert_eq!(shown.len(), 12);
        for case in &cases {
            if let Some(altered) = &case.altered {
                prop_assert_ne!(&altered.from, &altered.to);
            }
            if origin == Origin::Own {
                let original = own.iter().find(|asked| asked.summary == case.summary).unwrap();
                let differing = differences(&original.payload.value(), &case.payload);
                prop_assert_eq!(differing.len(), usize::from(case.altered.is_some()), "{:?}", differing);
            }
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_round(seed: [u8; 16]) {
        let own = invoices(20);
        prop_assert_eq!(cases(seed, &own), cases(seed, &own));
    }
}

#[test]
fn another_seed_makes_another_round() {
    let own = invoices(40);
    let rounds: BTreeSet<String> =
        (0..50).map(|seed| cases([seed; 16], &own).1.iter().map(Case::digest).collect()).collect();
    assert_eq!(rounds.len(), 50);
}

#[test]
fn a_digest_is_of_what_is_shown() {
    let (_, cases) = cases([3; 16], &invoices(20));
    let case = &cases[0];
    let other = |change: fn(&mut Case)| {
        let mut other = case.clone();
        change(&mut other);
        other.digest()
    };
    assert_eq!(case.digest(), other(|_| ()));
    for changed in [
        other(|case| case.summary.push('x')),
        other(|case| case.action.push('x')),
        other(|case| case.client.push('x')),
        other(|case| case.payload_sha256.push('x')),
    ] {
        assert_ne!(case.digest(), changed);
    }
}

#[test]
fn what_was_asked_many_times_is_one_case() {
    let own: Vec<_> = (0..40).map(|number| asked(number, "Pay 100 EUR", &json!({"amount": 100}))).collect();
    assert_eq!(cases([1; 16], &own).0, Origin::Samples);
}

#[test]
fn requests_whose_words_name_nothing_make_no_round() {
    let own: Vec<_> =
        (0..40).map(|number| asked(number, "As agreed", &json!({"amount": 100 + number}))).collect();
    assert_eq!(cases([1; 16], &own).0, Origin::Samples);
}

#[test]
fn what_is_masked_is_never_the_field_that_is_changed() {
    let own: Vec<_> = (0..40)
        .map(|number| {
            let words = format!("Pay {} EUR with the password hunter-{number}", 100 + number);
            asked(number, &words, &json!({"amount": 100 + number, "password": format!("hunter-{number}")}))
        })
        .collect();
    for seed in 0..40 {
        let (origin, cases) = cases([seed; 16], &own);
        assert_eq!(origin, Origin::Own);
        for case in &cases {
            assert!(case.altered.as_ref().is_none_or(|altered| altered.key == "amount"), "{case:?}");
            assert!(case.hides_secrets && !format!("{case:?}").contains("hunter"), "{case:?}");
        }
    }
}

/// Each sample can be read, is its own, and each of its wrong values is another one than the right one.
#[test]
fn every_sample_can_be_right_and_wrong() {
    let mut right = BTreeSet::new();
    for sample in &SAMPLES {
        let case = sample_case(sample, None).unwrap();
        assert!(case.altered.is_none() && right.insert(case.digest()), "{sample:?}");
        for (path, value) in sample.wrong {
            let wrong = (FieldPath::parse(path).unwrap(), serde_json::from_str(value).unwrap());
            let other = sample_case(sample, Some(wrong)).unwrap();
            let altered = other.altered.as_ref().unwrap();
            assert_ne!(altered.from, altered.to, "{sample:?}");
            assert_ne!(other.digest(), case.digest());
            assert_eq!(differences(&case.payload, &other.payload).len(), 1);
        }
    }
}
