//! What a history suggests: rules that pass small amounts alone, where people have always approved them.
//!
//! It is careful in one direction. What somebody rejected, what was called a mistake later and what nobody decided bounds
//! a suggestion from above; rules of several people, of owners, of systems and of typed confirmations get none; and
//! without thirty decisions nothing is said.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::report::Then;
use crate::numbers::{ENOUGH, Estimate};
use crate::policy::{Assignees, Policy, Rule, RuleAction};
use crate::request::Request;

/// How many groups of requests are looked at: what has more has too little in each.
const MOST_GROUPS: usize = 2000;

/// Words in the name of a field that is an amount.
const AMOUNTS: [&str; 9] = ["amount", "total", "price", "sum", "cost", "fee", "value", "balance", "refund"];

/// Why there is nothing to suggest for a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Nothing {
    /// It asks nobody.
    DecidesAlone,
    /// It only observes.
    Observes,
    /// It wants several people.
    SeveralPeople,
    /// It asks owners, or lets them approve.
    Owners,
    /// A system answers for one of its stages.
    System,
    /// It wants a typed confirmation, or lets people change what is asked.
    NeedsPage,
    /// Nothing of it was decided by people.
    NeverDecided,
    /// Its requests have no one amount with a currency.
    NoAmount,
    /// Fewer than thirty decisions of one kind.
    TooFew,
    /// What was rejected, flagged or left undecided has as small an amount.
    Rejected,
}

impl Nothing {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::DecidesAlone => "it asks nobody",
            Self::Observes => "it only observes",
            Self::SeveralPeople => "it wants several people, which no history replaces",
            Self::Owners => "it asks owners, or lets them approve",
            Self::System => "a system answers for one of its stages",
            Self::NeedsPage => "whoever approves types a confirmation, or may change what is asked",
            Self::NeverDecided => "people have decided nothing under it in that time",
            Self::NoAmount => {
                "its requests do not have exactly one amount with a currency, so nothing bounds a rule"
            }
            Self::TooFew => {
                "too few: fewer than 30 decisions of one client, action and currency below every doubt"
            }
            Self::Rejected => "amounts as small were rejected, called a mistake later, or left undecided",
        }
    }
}

/// A rule for which there is nothing to suggest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unsuggested {
    /// The rule.
    pub rule: String,
    /// Why.
    pub why: Nothing,
    /// Why, in words.
    pub words: &'static str,
    /// The most decisions of one client, action and currency; 0 where none was looked at.
    pub decisions: u32,
}

/// A rule that the history suggests, to be put before the one that asks now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Suggestion {
    /// The rule that asks now.
    pub before: String,
    /// The suggested rule's name.
    pub name: String,
    /// Its condition.
    pub when: String,
    /// Who asked.
    pub client: String,
    /// What for.
    pub action: String,
    /// The path of the amount.
    pub field: String,
    /// In which currency.
    pub currency: String,
    /// The largest amount that it passes: one that people have approved.
    pub up_to: f64,
    /// The smallest amount that speaks against more; null where nothing does.
    pub doubt_from: Option<f64>,
    /// How many people have approved up to that amount.
    pub approved: u32,
    /// Of how many that they decided.
    pub of: u32,
    /// Those that were wrong to pass, of all decided, with Wilson's interval: none was, and this is how sure that is.
    pub wrong: Estimate,
}

/// What a history suggests.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Suggestions {
    /// The rules that it suggests.
    pub suggestions: Vec<Suggestion>,
    /// Rules for which there is nothing to suggest, and why.
    pub nothing: Vec<Unsuggested>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    rule: String,
    client: String,
    action: String,
    /// The amount's path and the currency; none where there is not exactly one amount with a currency.
    amount: Option<(String, String)>,
}

#[derive(Clone, Debug, Default)]
struct Decided {
    approved: Vec<f64>,
    /// The smallest amount that speaks against it.
    doubt_from: Option<f64>,
    decisions: u32,
}

/// What people decided, by rule, client, action and currency.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence {
    kinds: BTreeMap<Kind, Decided>,
}

impl Evidence {
    /// Counts a request that a rule of the policy asks people about.
    pub(super) fn add(&mut self, rule: &str, request: &Request, then: Then) {
        let flagged = request.state().flag().is_some();
        let approves = match then {
            Then::PeopleApproved => !flagged,
            Then::PeopleRejected | Then::SystemRejected | Then::PolicyRejected | Then::Expired => false,
            Then::PolicyApproved | Then::SystemApproved if flagged => false,
            // It says nothing of what people think.
            Then::PolicyApproved | Then::SystemApproved | Then::Withdrawn | Then::Pending => return,
        };
        let asked = request.asked();
        let payload = asked.payload.value();
        let amount = only_amount(&payload);
        let kind = Kind {
            rule: rule.to_owned(),
            client: asked.client.to_string(),
            action: asked.action.clone(),
            amount: amount.as_ref().map(|(path, currency, _)| (path.clone(), currency.clone())),
        };
        if self.kinds.len() >= MOST_GROUPS && !self.kinds.contains_key(&kind) {
            return;
        }
        let decided = self.kinds.entry(kind).or_default();
        decided.decisions += u32::from(matches!(then, Then::PeopleApproved | Then::PeopleRejected));
        let Some((_, _, amount)) = amount else { return };
        if approves {
            decided.approved.push(amount);
        } else {
            decided.doubt_from = Some(decided.doubt_from.map_or(amount, |least| least.min(amount)));
        }
    }

    /// What follows from it for each rule.
    pub(super) fn suggestions(self, policy: &Policy) -> Suggestions {
        let mut all = Suggestions { suggestions: Vec::new(), nothing: Vec::new() };
        for rule in &policy.rules {
            let kinds: Vec<(&Kind, &Decided)> =
                self.kinds.iter().filter(|(kind, _)| kind.rule == rule.name).collect();
            let found: Vec<Result<Suggestion, Nothing>> = match unsuited(rule) {
                Some(why) => vec![Err(why)],
                None if kinds.is_empty() => vec![Err(Nothing::NeverDecided)],
                None => kinds.iter().map(|(kind, decided)| suggestion(rule, kind, decided)).collect(),
            };
            let why = found.iter().filter_map(|one| one.as_ref().err()).max().copied();
            let before = all.suggestions.len();
            all.suggestions.extend(found.into_iter().filter_map(Result::ok));
            if let Some(why) = why.filter(|_| all.suggestions.len() == before) {
                let decisions = kinds.iter().map(|(_, decided)| decided.decisions).max().unwrap_or(0);
                all.nothing.push(Unsuggested { rule: rule.name.clone(), why, words: why.words(), decisions });
            }
        }
        all
    }
}

/// Why a rule is none for which anything is suggested.
fn unsuited(rule: &Rule) -> Option<Nothing> {
    let RuleAction::Ask(terms) = &rule.action else { return Some(Nothing::DecidesAlone) };
    let is_queue = |assignees: &Assignees| matches!(assignees, Assignees::Queue(_));
    let asks_owners = |assignees: &Assignees| match assignees {
        Assignees::Roles(roles) => roles.iter().any(|role| role.to_lowercase().contains("owner")),
        Assignees::Queue(_) => false,
    };
    let stages = || terms.stages.iter().map(|stage| &stage.assignees);
    if rule.observes {
        Some(Nothing::Observes)
    } else if terms.approvals > 1 {
        Some(Nothing::SeveralPeople)
    } else if terms.owner_may_approve || stages().any(asks_owners) {
        Some(Nothing::Owners)
    } else if stages().any(is_queue) {
        Some(Nothing::System)
    } else if terms.needs_page() {
        Some(Nothing::NeedsPage)
    } else {
        None
    }
}

fn suggestion(rule: &Rule, kind: &Kind, decided: &Decided) -> Result<Suggestion, Nothing> {
    let (field, currency) = kind.amount.as_ref().ok_or(Nothing::NoAmount)?;
    let passes = |amount: &&f64| **amount > 0.0 && decided.doubt_from.is_none_or(|doubt| **amount < doubt);
    let approved: Vec<f64> = decided.approved.iter().filter(passes).copied().collect();
    let count = u32::try_from(approved.len()).unwrap_or(u32::MAX);
    let up_to = approved.iter().copied().fold(0.0, f64::max);
    if count < ENOUGH {
        let all = u32::try_from(decided.approved.len()).unwrap_or(u32::MAX);
        return Err(if all >= ENOUGH { Nothing::Rejected } else { Nothing::TooFew });
    }
    let beside = field.rsplit_once('.').map_or("payload", |(beside, _)| beside);
    let text = |value: &str| Value::from(value).to_string();
    let own =
        rule.when.as_ref().map_or_else(String::new, |condition| format!("({}) && ", condition.source()));
    // What lacks the fields, or has them in another form, does not match and so is asked about as before.
    let when = format!(
        "{own}client == {} && action == {} && has({beside}.currency) && {beside}.currency == {} && has({field}) && \
         type({field}) == double && {field} > 0 && {field} <= {}",
        text(&kind.client),
        text(&kind.action),
        text(currency),
        Value::from(up_to),
    );
    Ok(Suggestion {
        before: rule.name.clone(),
        name: format!("{} of {} up to {} {currency}", kind.action, kind.client, Value::from(up_to)),
        when,
        client: kind.client.clone(),
        action: kind.action.clone(),
        field: field.clone(),
        currency: currency.clone(),
        up_to,
        doubt_from: decided.doubt_from,
        approved: count,
        of: count,
        wrong: Estimate::of(0, count),
    })
}

/// The one amount of a payload, with its path, and the currency that stands beside it.
fn only_amount(payload: &Value) -> Option<(String, String, f64)> {
    let mut found = Vec::new();
    amounts(payload, "payload", &mut found);
    match found.as_slice() {
        [(path, Some(currency), amount)] => Some((path.clone(), currency.clone(), *amount)),
        _ => None,
    }
}

fn amounts(value: &Value, path: &str, found: &mut Vec<(String, Option<String>, f64)>) {
    match value {
        Value::Object(fields) => {
            let code = |text: &&str| text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_alphabetic());
            let currency = fields.get("currency").and_then(Value::as_str).filter(code);
            for (name, value) in fields {
                let path = format!("{path}.{name}");
                let is_amount = AMOUNTS.iter().any(|word| name.to_lowercase().contains(word));
                match value.as_f64().filter(|_| is_amount) {
                    // Only a plain name can be written after a dot in a condition.
                    Some(amount) => {
                        let plain =
                            path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._".contains(&byte));
                        found.push((path, currency.filter(|_| plain).map(str::to_owned), amount));
                    }
                    None => amounts(value, &path, found),
                }
            }
        }
        // An amount of a list is not one: two of them, and nothing bounds their sum.
        Value::Array(items) => {
            for item in items {
                let mut inside = Vec::new();
                amounts(item, path, &mut inside);
                found.extend(inside.into_iter().map(|(path, _, amount)| (path, None, amount)));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
