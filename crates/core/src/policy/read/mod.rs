//! Reading `placet.toml`: the whole file is checked, and all faults are reported together with their places.

mod alerts;
mod clients;
mod examples;
mod report;
mod reviewers;
mod rules;
mod stages;
mod wording;

use std::collections::{BTreeMap, BTreeSet};

use toml::de::DeTable;

use self::alerts::{check_ways, read_way};
use self::clients::{check_clients, read_client};
use self::examples::review;
use self::report::{check_silent_ways, read_report};
use self::reviewers::{check_reviewers, read_reviewer};
use self::rules::read_rule;
use super::cel::{ConditionFault, Findings};
use super::dead_ends::{Tables, count};
use super::diagnostic::{Diagnostic, Diagnostics, Sections, closest};
use super::not_toml::{FormFault, explain};
use super::observing::MOST_OBSERVING;
use super::toml_tree::{Node, Table, too_deep};
use super::totals::{MOST_METERS, Meter};
use super::{AlertWay, Client, Condition, Policy, Reviewer, Rule};
use crate::grammar::base_url;
use crate::id::NotAnId;
use crate::payload::sha256_hex;

/// What a look at a policy found.
#[derive(Debug)]
pub struct Report {
    /// The policy, if it has no faults.
    pub policy: Result<Policy, Vec<Diagnostic>>,
    /// Things that are allowed but that an operator should know of.
    pub warnings: Vec<Diagnostic>,
}

impl Policy {
    /// Reads and checks a policy. `Err` holds every fault.
    pub fn read(text: &str) -> Result<Self, Vec<Diagnostic>> {
        Self::check(text).policy
    }

    /// Reads a policy that was checked when it was installed as that version: its examples are not tried again, and a
    /// condition is compiled when a request first reaches it.
    ///
    /// A function that never tests a condition then does not hold the compiler either.
    pub fn load_trusted(text: &str, version: u32) -> Result<Self, Vec<Diagnostic>> {
        let trusting = Strictness {
            form: |_, errors| {
                let span = errors.first().and_then(toml::de::Error::span).unwrap_or(0..0);
                FormFault::new(span, "this cannot be read as TOML")
            },
            condition: |source| Ok((Condition::unchecked(source), Findings::default())),
            review: |_, _, _| {},
        };
        trusting.report(text).policy.map(|policy| Self { version, ..policy })
    }

    /// Reads and checks a policy; also says what an operator should think twice about.
    pub fn check(text: &str) -> Report {
        Strictness { form: explain, condition: Condition::compile, review }.report(text)
    }
}

/// A condition and what was noticed of it, or what is wrong with it.
type Compilation = Result<(Condition, Findings), Vec<ConditionFault>>;

/// How closely a policy is looked at.
#[derive(Clone, Copy)]
struct Strictness {
    /// Says what is wrong with a file that is not TOML.
    form: fn(&str, &[toml::de::Error]) -> FormFault,
    condition: fn(&str) -> Compilation,
    /// Looks at the whole, once every part of it could be read.
    review: fn(&Tables<'_, '_, '_>, &Policy, &Diagnostics<'_>),
}

impl Strictness {
    fn report(self, text: &str) -> Report {
        let faults = Diagnostics::new(text);
        let warnings = Diagnostics::new(text);
        if let Some(at) = too_deep(text) {
            faults.add(at..at + 1, "the file nests too deep from here on");
            return Report { policy: Err(faults.take(&Sections::default())), warnings: Vec::new() };
        }
        let (tree, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            let FormFault { span, message, help } = (self.form)(text, &errors);
            faults.add_with_help(span, message, help);
            return Report { policy: Err(faults.take(&Sections::of(&tree))), warnings: Vec::new() };
        }
        let sections = Sections::of(&tree);
        let policy = {
            let root = Table::root(&tree, &faults);
            read_policy(&root, text, &warnings, self)
        };
        let found = faults.take(&sections);
        let policy = if found.is_empty() { Ok(policy) } else { Err(found) };
        Report { policy, warnings: warnings.take(&sections) }
    }
}

fn read_policy(
    root: &Table<'_, '_>,
    text: &str,
    warnings: &Diagnostics<'_>,
    strictness: Strictness,
) -> Policy {
    let issuer = root.get("issuer").and_then(|node| {
        let text = node.text()?;
        base_url(text).map(str::to_owned).map_err(|why| node.fault(why)).ok()
    });
    let reviewer_tables = root.tables("reviewers", "a reviewer");
    let reviewers: Vec<(&Table<'_, '_>, Reviewer)> =
        reviewer_tables.iter().filter_map(|table| Some((table, read_reviewer(table)?))).collect();
    let client_tables = root.tables("clients", "a client");
    let clients: Vec<(&Table<'_, '_>, Client)> =
        client_tables.iter().filter_map(|table| Some((table, read_client(table)?))).collect();
    let way_tables = root.tables("alerts", "a way of alerts");
    let alerts: Vec<(&Table<'_, '_>, AlertWay)> =
        way_tables.iter().filter_map(|table| Some((table, read_way(table)?))).collect();
    let known = Known {
        reviewers: texts(&reviewer_tables, "id"),
        roles: texts(&reviewer_tables, "roles"),
        clients: texts(&client_tables, "id"),
        queues: texts(&client_tables, "queues"),
        are_complete: reviewers.len() == reviewer_tables.len(),
    };
    check_ways(&alerts);
    let readable: Vec<AlertWay> = alerts.iter().map(|(_, way)| way.clone()).collect();
    let report = read_report(root, (readable.len() == way_tables.len()).then_some(readable.as_slice()));
    if report.is_some() || root.get("report").is_none() {
        check_silent_ways(&alerts, report.as_ref());
    }
    check_reviewers(&reviewers, &known);
    check_clients(&clients, &known);

    let rule_tables = root.tables("rules", "a rule");
    let reviewers: Vec<Reviewer> = reviewers.into_iter().map(|(_, reviewer)| reviewer).collect();
    let clients: Vec<Client> = clients.into_iter().map(|(_, client)| client).collect();
    let rules: Vec<(&Table<'_, '_>, Rule)> = rule_tables
        .iter()
        .filter_map(|table| Some((table, read_rule(table, &reviewers, &known, warnings, strictness)?)))
        .collect();
    let mut names = BTreeSet::new();
    for (table, rule) in &rules {
        if !names.insert(&rule.name) {
            key_fault(table, "name", format!("rule `{}` is defined twice", rule.name));
        }
    }
    let complete = rules.len() == rule_tables.len() && root.get("rules").is_none_or(|node| node.is_list());
    if rule_tables.is_empty() && reviewer_tables.is_empty() && client_tables.is_empty() {
        root.fault_with_help(
            "the policy is empty: nobody could ask, and every request would be rejected",
            "`placet init` writes one to start from",
        );
    }
    let rules = rules.into_iter().map(|(_, rule)| rule).collect();
    let policy = Policy {
        issuer,
        clients,
        reviewers,
        rules,
        alerts: readable,
        report,
        sha256: sha256_hex(text.as_bytes()),
        version: 0,
        own_absences: Vec::new(),
        pauses: Vec::new(),
        gauges: std::sync::OnceLock::new(),
    };
    let meters: BTreeSet<&Meter> = policy.gauges().iter().map(|gauge| &gauge.meter).collect();
    if meters.len() > MOST_METERS {
        root.fault_with_help(
            format!("the conditions add up {} different things, and {MOST_METERS} is the most", meters.len()),
            "the same total over another while is not another one",
        );
    }
    let observing = policy.rules.iter().filter(|rule| rule.observes).count();
    if observing > MOST_OBSERVING {
        root.fault_with_help(
            format!("{observing} rules only observe, and {MOST_OBSERVING} is the most"),
            "remove those of which you have seen enough",
        );
    }
    // Where a rule could not be read, examples of later rules could hit the wrong one for that reason alone.
    if complete {
        let tables = Tables {
            clients: &client_tables,
            reviewers: &reviewer_tables,
            rules: &rule_tables,
            has_faults: root.fault_count() > 0,
        };
        (strictness.review)(&tables, &policy, warnings);
    } else {
        for table in &rule_tables {
            let _ = table.get("examples");
        }
    }
    policy
}

/// What a file names, whether or not all of it could be read: what has a fault of its own is not called unknown as well.
struct Known<'a> {
    reviewers: BTreeSet<&'a str>,
    roles: BTreeSet<&'a str>,
    clients: BTreeSet<&'a str>,
    queues: BTreeSet<&'a str>,
    /// Whether every reviewer could be read.
    are_complete: bool,
}

fn texts<'a>(tables: &[Table<'a, '_>], key: &'static str) -> BTreeSet<&'a str> {
    tables.iter().flat_map(|table| table.texts_of(key)).collect()
}

/// What was probably meant by a word that is none of those.
fn meant<'c>(word: &str, known: impl IntoIterator<Item = &'c str>) -> Option<String> {
    let known: Vec<&str> = known.into_iter().collect();
    match closest(word, known.iter().copied()) {
        Some(meant) if meant.eq_ignore_ascii_case(word) => {
            Some(format!("did you mean `{meant}`? capitals matter"))
        }
        Some(meant) => Some(format!("did you mean `{meant}`?")),
        None if known.is_empty() || known.len() > MOST_LISTED => None,
        None => Some(format!("expected one of `{}`", known.join("`, `"))),
    }
}

/// How many names a help lists at most.
const MOST_LISTED: usize = 12;

/// A fault at the value of that key, or at the table where it has none.
fn key_fault(table: &Table<'_, '_>, key: &'static str, message: impl Into<String>) {
    match table.get(key) {
        Some(node) => node.fault(message),
        None => table.fault(message),
    }
}

/// The tables, and texts, of what is there a second time, whatever its case, with the text that was there first.
fn duplicates<'t, 'a, 'f, T>(
    items: &'t [(&'t Table<'a, 'f>, T)],
    text: fn(&'t T) -> Option<&'t str>,
) -> Vec<(&'t Table<'a, 'f>, &'t str, &'t str)> {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    let mut found = Vec::new();
    for (table, text) in items.iter().filter_map(|(table, item)| Some((*table, text(item)?))) {
        match seen.get(&text.to_lowercase()) {
            Some(first) => found.push((table, text, *first)),
            None => {
                seen.insert(text.to_lowercase(), text);
            }
        }
    }
    found
}

/// That something is there twice, where its case may differ.
fn is_twice(kind: &str, text: &str, first: &str) -> String {
    if text == first {
        format!("{kind} `{text}` is defined twice")
    } else {
        format!("{kind} `{text}` is defined twice: it differs from `{first}` in capitals only")
    }
}

/// A name that people read.
fn read_name(table: &Table<'_, '_>) -> Option<String> {
    let node = table.get("name")?;
    let name = node.words()?;
    if name.chars().count() > 100 || name.contains(char::is_control) {
        node.fault("a name has at most 100 characters, on one line");
        return None;
    }
    Some(name.to_owned())
}

fn queue_name(node: &Node<'_, '_>) -> Option<String> {
    let name = node.words()?;
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') || name.len() > 80 {
        node.fault(format!("`{name}` is not a queue's name; expected 1 to 80 of `A-Za-z0-9_-`"));
        return None;
    }
    Some(name.to_owned())
}

fn parse_id<T>(node: &Node<'_, '_>, parse: fn(&str) -> Result<T, NotAnId>) -> Option<T> {
    let text = node.text()?;
    parse(text).map_err(|error| node.fault(format!("`{text}` {error}"))).ok()
}
