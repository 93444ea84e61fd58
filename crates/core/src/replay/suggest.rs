//! What a history suggests: rules that pass small amounts alone, where people have always approved them.
//!
//! It is careful in one direction. What somebody rejected, what was called a mistake later and what nobody decided bounds
//! a suggestion from above; rules of several people, of owners, of systems and of typed confirmations get none; and
//! without thirty decisions nothing is said.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::report::Then;
use crate::numbers::{ENOUGH, Estimate};
use crate::policy::{Assignees, Policy, Rule, RuleAction};
use crate::request::Request;
use crate::words::fields::{is_amount, is_currency};
use crate::words::money::currency_of;

/// How many groups of requests are looked at: what has more has too little in each.
const MOST_GROUPS: usize = 2000;

/// How many other amounts a suggested rule may have to rule out.
const MOST_OTHERS: usize = 8;

/// Words that no condition takes for a field's name (the CEL specification, `RESERVED` and its literals).
const KEPT_WORDS: [&str; 21] = [
    "in",
    "true",
    "false",
    "null",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

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
    /// Tried on the whole history, what was suggested for it let something pass that must not.
    LetsPass,
    /// What follows from the history is a rule of the policy already.
    Known,
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
            Self::LetsPass => {
                "tried on the whole history, the suggested rules decided something otherwise than people did"
            }
            Self::Known => "what follows from the history is a rule of the policy already",
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

/// Who asked what under which rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Asker {
    rule: String,
    client: String,
    action: String,
}

/// The names of the fields that lead to a value of a payload.
type Place = Vec<String>;

/// The only amount of a payload, and its currency.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Amount {
    place: Place,
    /// The field beside it that names the currency.
    currency_field: String,
    currency: String,
}

#[derive(Clone, Debug, Default)]
struct Decided {
    approved: Vec<f64>,
    /// The smallest amount that speaks against it.
    doubt_from: Option<f64>,
    decisions: u32,
}

/// What is known of the requests of one asker.
#[derive(Clone, Debug, Default)]
struct Known {
    /// All amounts and currencies that any of them has. A suggested rule passes nothing that has others than its own.
    money: BTreeSet<Place>,
    /// By their amount; none where there is not exactly one, with a currency.
    decided: BTreeMap<Option<Amount>, Decided>,
}

/// What people decided, by rule, client, action and amount.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence {
    askers: BTreeMap<Asker, Known>,
    groups: usize,
}

impl Evidence {
    /// Counts a request that a rule of the policy asks people about.
    pub(super) fn add(&mut self, rule: &str, request: &Request, then: Then) {
        let question = request.asked();
        let (rule, client, action) = (rule.to_owned(), question.client.to_string(), question.action.clone());
        let flagged = request.state().flag().is_some();
        self.note(Asker { rule, client, action }, &question.payload.value(), then, flagged);
    }

    fn note(&mut self, asker: Asker, payload: &Value, then: Then, flagged: bool) {
        let money = Money::of(payload);
        let is_full = self.groups >= MOST_GROUPS;
        if is_full && !self.askers.contains_key(&asker) {
            return;
        }
        let known = self.askers.entry(asker).or_default();
        known.money.extend(money.places());
        let approves = match then {
            Then::PeopleApproved => !flagged,
            Then::PeopleRejected | Then::SystemRejected | Then::PolicyRejected | Then::Expired => false,
            Then::PolicyApproved | Then::SystemApproved if flagged => false,
            // It says nothing of what people think.
            Then::PolicyApproved | Then::SystemApproved | Then::Withdrawn | Then::Pending => return,
        };
        let only = money.only();
        let amount = only.as_ref().map(|(amount, _)| amount.clone());
        if !known.decided.contains_key(&amount) {
            if is_full {
                return;
            }
            self.groups += 1;
        }
        let decided = known.decided.entry(amount).or_default();
        decided.decisions += u32::from(matches!(then, Then::PeopleApproved | Then::PeopleRejected));
        let Some((_, value)) = only else { return };
        if approves {
            decided.approved.push(value);
        } else {
            decided.doubt_from = Some(decided.doubt_from.map_or(value, |least| least.min(value)));
        }
    }

    /// What follows from it for each rule.
    pub(super) fn suggestions(self, policy: &Policy) -> Suggestions {
        let mut all = Suggestions { suggestions: Vec::new(), nothing: Vec::new() };
        for rule in &policy.rules {
            let kinds: Vec<_> = self
                .askers
                .iter()
                .filter(|(asker, _)| asker.rule == rule.name)
                .flat_map(|(asker, known)| {
                    known.decided.iter().map(move |(amount, decided)| (asker, known, amount, decided))
                })
                .collect();
            let (before, mut why) = (all.suggestions.len(), None);
            match unsuited(rule) {
                Some(unsuited) => why = Some(unsuited),
                None if kinds.is_empty() => why = Some(Nothing::NeverDecided),
                None => {
                    for (asker, known, amount, decided) in &kinds {
                        let found =
                            suggestion(rule, asker, known, amount.as_ref(), decided).and_then(|one| {
                                if all.has(policy, &one.name) { Err(Nothing::Known) } else { Ok(one) }
                            });
                        match found {
                            Ok(one) => all.suggestions.push(one),
                            Err(nothing) => why = why.max(Some(nothing)),
                        }
                    }
                }
            }
            if let Some(why) = why.filter(|_| all.suggestions.len() == before) {
                let decisions = kinds.iter().map(|(.., decided)| decided.decisions).max().unwrap_or(0);
                all.nothing.push(Unsuggested { rule: rule.name.clone(), why, words: why.words(), decisions });
            }
        }
        all
    }
}

impl Suggestions {
    /// Takes all suggestions back: in force together they would have let pass what must not.
    pub fn take_back(&mut self) {
        let (why, words) = (Nothing::LetsPass, Nothing::LetsPass.words());
        for one in std::mem::take(&mut self.suggestions) {
            match self.nothing.iter_mut().find(|nothing| nothing.rule == one.before) {
                Some(known) => known.decisions = known.decisions.max(one.of),
                None => self.nothing.push(Unsuggested { rule: one.before, why, words, decisions: one.of }),
            }
        }
    }

    /// Whether a rule has that name, in the policy or among what is suggested.
    fn has(&self, policy: &Policy, name: &str) -> bool {
        policy.rules.iter().any(|rule| rule.name == name)
            || self.suggestions.iter().any(|one| one.name == name)
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

fn suggestion(
    rule: &Rule,
    asker: &Asker,
    known: &Known,
    amount: Option<&Amount>,
    decided: &Decided,
) -> Result<Suggestion, Nothing> {
    let amount = amount.ok_or(Nothing::NoAmount)?;
    let passes = |value: &&f64| **value > 0.0 && decided.doubt_from.is_none_or(|doubt| **value < doubt);
    let approved: Vec<f64> = decided.approved.iter().filter(passes).copied().collect();
    let count = u32::try_from(approved.len()).unwrap_or(u32::MAX);
    let up_to = approved.iter().copied().fold(0.0, f64::max);
    if count < ENOUGH {
        let all = u32::try_from(decided.approved.len()).unwrap_or(u32::MAX);
        return Err(if all >= ENOUGH { Nothing::Rejected } else { Nothing::TooFew });
    }
    let Asker { client, action, .. } = asker;
    let Amount { currency, .. } = amount;
    let field = path(&amount.place);
    let when = condition(rule, asker, known, amount, up_to).ok_or(Nothing::NoAmount)?;
    Ok(Suggestion {
        before: rule.name.clone(),
        name: format!("{action} of {client} up to {} {currency}", Value::from(up_to)),
        when,
        client: client.clone(),
        action: action.clone(),
        field,
        currency: currency.clone(),
        up_to,
        doubt_from: decided.doubt_from,
        approved: count,
        of: count,
        wrong: Estimate::of(0, count),
    })
}

/// What passes: all that the evidence has in common. What lacks a field, has it in another form, or has more amounts
/// does not match and so is asked about as before. None where too many fields would have to be named.
fn condition(rule: &Rule, asker: &Asker, known: &Known, amount: &Amount, up_to: f64) -> Option<String> {
    let text = |value: &str| Value::from(value).to_string();
    let (_, parents) = amount.place.split_last()?;
    let field = path(&amount.place);
    let currency_place = [parents, std::slice::from_ref(&amount.currency_field)].concat();
    let code = path(&currency_place);
    let mut parts: Vec<String> = rule.when.iter().map(|own| format!("({})", own.source())).collect();
    parts.push(format!("client == {}", text(&asker.client)));
    parts.push(format!("action == {}", text(&asker.action)));
    // A look into what is not there would be a fault, and a rule that decides alone rejects what it cannot evaluate.
    for depth in 1..=parents.len() {
        let parent = path(parents.get(..depth)?);
        parts.push(format!("has({parent}) && type({parent}) == map"));
    }
    parts.push(format!("has({code}) && {code} == {}", text(&amount.currency)));
    let others: BTreeSet<String> = known
        .money
        .iter()
        .filter(|place| **place != amount.place && **place != currency_place)
        .filter_map(|place| {
            let shared = place.iter().zip(&amount.place).take_while(|(one, other)| one == other).count();
            // Up to where it parts from the amount's own place, which is there.
            Some(format!("!({} in {})", text(place.get(shared)?), path(place.get(..shared)?)))
        })
        .collect();
    if others.len() > MOST_OTHERS {
        return None;
    }
    parts.extend(others);
    parts.push(format!(
        "has({field}) && type({field}) == double && {field} > 0 && {field} <= {}",
        Value::from(up_to)
    ));
    Some(parts.join(" && "))
}

fn path(place: &[String]) -> String {
    std::iter::once("payload").chain(place.iter().map(String::as_str)).collect::<Vec<_>>().join(".")
}

/// A number, or a text, under a name that means an amount.
#[derive(Debug)]
struct Found {
    place: Place,
    /// The field beside it that names a currency, and which; none where a condition cannot bound it.
    currency: Option<(String, String)>,
    value: f64,
}

/// The amounts of a payload.
#[derive(Debug, Default)]
struct Money {
    amounts: Vec<Found>,
    /// Where several currencies are named beside one amount.
    currencies: Vec<Place>,
}

impl Money {
    fn of(payload: &Value) -> Self {
        let mut money = Self::default();
        money.look(payload, &mut Vec::new(), false);
        money
    }

    /// The only amount, with its value. None where there are more, or where nobody can know in which currency.
    fn only(&self) -> Option<(Amount, f64)> {
        let [Found { place, currency: Some((currency_field, currency)), value }] = self.amounts.as_slice()
        else {
            return None;
        };
        // Only a plain name can be written after a dot in a condition.
        let is_plain = place.iter().chain([currency_field]).all(|name| is_plain(name));
        let amount = Amount {
            place: place.clone(),
            currency_field: currency_field.clone(),
            currency: currency.clone(),
        };
        is_plain.then_some((amount, *value))
    }

    fn places(&self) -> impl Iterator<Item = Place> {
        self.amounts.iter().map(|found| &found.place).chain(&self.currencies).cloned()
    }

    fn look(&mut self, value: &Value, place: &mut Place, in_list: bool) {
        match value {
            Value::Object(fields) => {
                let currency = currency_of(fields).filter(|_| !in_list);
                let before = self.amounts.len();
                for (name, value) in fields {
                    place.push(name.clone());
                    match amount_of(name, value) {
                        Some(number) => {
                            let currency = currency.filter(|_| value.is_number());
                            let currency = currency.map(|(name, code)| (name.to_owned(), code.to_owned()));
                            self.amounts.push(Found { place: place.clone(), currency, value: number });
                        }
                        None => self.look(value, place, in_list),
                    }
                    place.pop();
                }
                if self.amounts.len() > before && currency.is_none() {
                    let codes = fields.iter().filter(|(name, value)| is_currency(name) && value.is_string());
                    self.currencies.extend(
                        codes.map(|(name, _)| [place.as_slice(), std::slice::from_ref(name)].concat()),
                    );
                }
            }
            // An amount of a list is not one: two of them, and nothing bounds their sum.
            Value::Array(items) => {
                for item in items {
                    self.look(item, place, true);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

/// The number of an amount. One that is written as text is an amount too, though none that a condition can bound.
fn amount_of(name: &str, value: &Value) -> Option<f64> {
    let is_text = |text: &str| text.bytes().any(|byte| byte.is_ascii_digit());
    match value {
        Value::Number(number) if is_amount(name) => number.as_f64(),
        Value::String(text) if is_amount(name) && is_text(text) => Some(0.0),
        Value::Number(_)
        | Value::String(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Array(_)
        | Value::Object(_) => None,
    }
}

/// Whether a condition can name a field like that after a dot: a word that the language does not keep for itself.
fn is_plain(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !KEPT_WORDS.contains(&name)
}

#[cfg(test)]
mod tests;
