//! Running totals: what a client's requests of a while add up to, so that a payment that was split up still meets the
//! rule for the whole.
//!
//! What counts: every request of the client that waits or was approved, whatever its rule, from the moment it was asked.
//! One that was rejected, withdrawn or expired no longer counts. The request at hand always does. A request counts in
//! every meter that the policy names when it is asked; a meter that a policy names anew begins with nothing.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Question;
use crate::id::ClientId;
use crate::payload::{canonical_text, sha256_hex};
use crate::tally::Tally;

/// The longest while, in milliseconds: 30 days.
pub const LONGEST_WINDOW_MS: i64 = 30 * crate::time::DAY_MS;

/// How many meters one policy may have: each is two more parts of the transaction that takes a request.
pub(super) const MOST_METERS: usize = 8;

/// What is added up: `total("payload.amount", …, "payload.to")`, or counted: `count(…)`. Always per client.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Meter {
    /// The number that is added up, by its path; none where requests are counted.
    pub field: Option<String>,
    /// Only requests that have the same in these fields count together.
    pub by: Vec<String>,
}

/// A meter, over the last so many milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gauge {
    /// What.
    pub meter: Meter,
    /// Over which while.
    pub window_ms: i64,
}

/// What earlier requests add up to, by gauge. What is not in it counts as nothing, and is noted when a condition asks
/// for it: so whoever evaluates can read just that, and evaluate again.
#[derive(Clone, Debug, Default)]
pub struct Earlier {
    sums: BTreeMap<Gauge, f64>,
    unread: RefCell<Unread>,
    /// Whether a rule that only observes asks now.
    observing: Cell<bool>,
}

/// Gauges that conditions have asked for, and that are not known.
#[derive(Clone, Debug, Default)]
pub struct Unread {
    /// By rules that decide: what they say hangs on them.
    pub deciding: BTreeSet<Gauge>,
    /// By rules that only observe.
    pub observing: BTreeSet<Gauge>,
}

impl Earlier {
    /// Nothing is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on known.
    pub fn insert(&mut self, gauge: Gauge, sum: f64) {
        self.sums.insert(gauge, sum);
    }

    /// From now on not known: a condition that asks for it is noted.
    pub fn forget(&mut self, gauge: &Gauge) {
        self.sums.remove(gauge);
    }

    /// Which gauges a condition has asked for that are not known, since this was asked last.
    pub fn take_unread(&self) -> Unread {
        self.unread.take()
    }

    /// Whether the rule whose condition asks from now on only observes.
    pub(super) fn set_observing(&self, observing: bool) {
        self.observing.set(observing);
    }

    pub(super) fn of(&self, gauge: &Gauge) -> f64 {
        self.sums.get(gauge).copied().unwrap_or_else(|| {
            let mut unread = self.unread.borrow_mut();
            let by = if self.observing.get() { &mut unread.observing } else { &mut unread.deciding };
            by.insert(gauge.clone());
            0.0
        })
    }
}

impl Meter {
    /// Where a request is added up: the same for all that add up together. A digest, so that no payload lies in it.
    pub fn account(&self, client: &ClientId, question: &Question<'_>) -> String {
        let group: Vec<Value> = self
            .by
            .iter()
            // What is missing is not the same as what is null.
            .map(|path| {
                field(question, path)
                    .map_or_else(|| Value::Array(Vec::new()), |value| Value::Array(vec![value]))
            })
            .collect();
        let field = self.field.as_deref().unwrap_or("");
        let named =
            [client.as_str(), field, &self.by.join(" "), &canonical_text(&Value::Array(group))].join("\n");
        sha256_hex(named.as_bytes()).get(..32).unwrap_or_default().to_owned()
    }

    /// How much a request adds; none where its field is missing, or is no number.
    pub fn amount(&self, question: &Question<'_>) -> Option<f64> {
        let Some(path) = &self.field else { return Some(1.0) };
        // Nobody makes room for a payment by one of less than nothing.
        field(question, path).and_then(|value| value.as_f64()).map(|amount| amount.max(0.0))
    }
}

/// What that request adds to which accounts.
pub fn tallies<'m>(
    meters: impl IntoIterator<Item = &'m Meter>,
    client: &ClientId,
    question: &Question<'_>,
) -> Vec<Tally> {
    meters
        .into_iter()
        .filter_map(|meter| {
            Some(Tally { account: meter.account(client, question), amount: meter.amount(question)? })
        })
        .collect()
}

/// A field of a request: `action`, `payload.a.b` or `metadata.a`.
fn field(question: &Question<'_>, path: &str) -> Option<Value> {
    let (root, rest) = path.split_once('.').unwrap_or((path, ""));
    match root {
        "action" => Some(Value::String(question.action.to_owned())),
        "metadata" => question.metadata.get(rest).cloned().map(Value::String),
        "payload" => rest.split('.').try_fold(question.payload, |value, key| value.get(key)).cloned(),
        _ => None,
    }
}

/// Whether that is a path that a meter can read.
pub(super) fn is_path(path: &str) -> bool {
    let has_rest = |rest: &str| !rest.is_empty() && rest.split('.').all(|key| !key.is_empty());
    path == "action"
        || path.strip_prefix("payload.").is_some_and(has_rest)
        || path.strip_prefix("metadata.").is_some_and(|rest| !rest.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Timestamp;
    use crate::policy::Policy;

    fn policy(when: &str) -> Result<Policy, String> {
        let text = format!(
            "[[clients]]\nid = \"n8n\"\n[[reviewers]]\nid = \"bob\"\nroles = [\"a\"]\n[[rules]]\nname = \"r\"\n\
             when = '{when}'\nstages = [{{ ask = [\"a\"], within = \"1h\" }}]\n"
        );
        Policy::read(&text)
            .map_err(|faults| faults.into_iter().map(|fault| fault.message).collect::<Vec<_>>().join("; "))
    }

    #[test]
    fn a_policy_knows_what_its_conditions_add_up() {
        let found = policy(
            r#"total("payload.amount", "24h", "payload.to") > 5 || total("payload.amount", "7d", "payload.to") > 9 || count("1h") > 3"#,
        )
        .unwrap();
        let meter = Meter { field: Some("payload.amount".into()), by: vec!["payload.to".into()] };
        let count = Meter { field: None, by: vec![] };
        let day = crate::time::DAY_MS;
        assert_eq!(
            found.gauges(),
            [
                Gauge { meter: count, window_ms: day / 24 },
                Gauge { meter: meter.clone(), window_ms: day },
                Gauge { meter, window_ms: 7 * day },
            ]
        );
        let trusted = Policy::load_trusted(
            "[[rules]]\nname = \"r\"\nwhen = 'count(\"2h\") > 1'\ndecide = \"reject\"\n",
            1,
        );
        assert_eq!(trusted.unwrap().gauges().len(), 1, "an installed policy too");
    }

    #[test]
    fn what_could_never_be_added_up_is_a_fault() {
        for (when, fault) in [
            (r#"total("amount", "24h") > 5"#, "`amount` is not a field of the request"),
            (r#"total("action", "24h") > 5"#, "`action` is not a field of the request"),
            (r#"total("payload.amount") > 5"#, "`total` lacks what it needs"),
            (r"count() > 5", "`count` lacks what it needs"),
            (
                r#"total("payload.amount", "31d") > 5"#,
                "the while of a total must be from 1 minute to 30 days",
            ),
            (r#"count("10s") > 5"#, "the while of a total must be from 1 minute to 30 days"),
            (r#"total(payload.field, "1h") > 5"#, "what `total` takes must be written in the policy as text"),
            (r#"count("1h", "payload.") > 5"#, "`payload.` is not a field of the request"),
            (r#"totals("payload.a", "1h") > 5"#, "unknown function `totals`"),
            (r#"count("1h")"#, "a condition must be true or false, but this is a whole number (int)"),
        ] {
            assert_eq!(policy(when).unwrap_err(), fault, "{when}");
        }
        let many =
            (0..9).map(|n| format!(r#"count("1h", "payload.f{n}") > 5"#)).collect::<Vec<_>>().join(" || ");
        assert_eq!(policy(&many).unwrap_err(), "the conditions add up 9 different things, and 8 is the most");
    }

    #[test]
    fn only_what_is_the_same_adds_up_together() {
        let client = ClientId::parse("n8n").unwrap();
        let metadata: BTreeMap<String, String> = [("run".to_owned(), "7".to_owned())].into();
        let account = |by: &[&str], payload: &Value| {
            let meter = Meter { field: None, by: by.iter().map(|path| (*path).to_owned()).collect() };
            let now = Timestamp::from_millis(0);
            let question =
                Question { client: "n8n", action: "pay", summary: "", payload, metadata: &metadata, now };
            meter.account(&client, &question)
        };
        let by = ["payload.to", "payload.deep.er", "metadata.run", "action"];
        let one = json!({"to": "a", "deep": {"er": 1.0}});
        assert_eq!(account(&by, &one), account(&by, &json!({"deep": {"er": 1}, "to": "a", "other": 3})));
        for other in [
            json!({"to": "b", "deep": {"er": 1}}),
            json!({"to": "a", "deep": {"er": null}}),
            json!({"to": "a", "deep": {}}),
            json!({"to": ["a"], "deep": {"er": 1}}),
        ] {
            assert_ne!(account(&by, &one), account(&by, &other), "{other}");
        }
        assert_ne!(account(&["payload.none"], &one), account(&["payload.none"], &json!({"none": null})));
        assert_eq!(account(&[], &one), account(&[], &json!({})));
    }
}
