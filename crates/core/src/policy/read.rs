//! Reading `placet.toml`: the whole file is checked, and all faults are reported together with their places.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde_json::Value;
use toml::de::DeTable;

use super::cel::{ConditionFault, Findings};
use super::dead_ends::{self, Tables};
use super::diagnostic::{Diagnostic, Diagnostics, closest};
use super::toml_tree::{Node, Table, too_deep};
use super::{
    Absence, ApprovalTerms, Assignees, Client, ClientRole, Condition, Decision, Hours, MAX_WAIT_MS, Policy,
    Question, Reviewer, Rule, RuleAction, Stage, VALID_FOR_SECONDS,
};
use crate::Timestamp;
use crate::grammar::{HostPattern, base_url, is_action};
use crate::id::{ClientId, NotAnId, ReviewerId};
use crate::payload::{Payload, sha256_hex};
use crate::refusal::Refusal;
use crate::token::TokenKind;

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
            condition: |source| Ok((Condition::unchecked(source), Findings::default())),
            review: |_, _, _| {},
        };
        trusting.report(text).policy.map(|policy| Self { version, ..policy })
    }

    /// Reads and checks a policy; also says what an operator should think twice about.
    pub fn check(text: &str) -> Report {
        Strictness { condition: Condition::compile, review }.report(text)
    }
}

/// A condition and what was noticed of it, or what is wrong with it.
type Compilation = Result<(Condition, Findings), Vec<ConditionFault>>;

/// How closely a policy is looked at.
#[derive(Clone, Copy)]
struct Strictness {
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
            return Report { policy: Err(faults.take()), warnings: Vec::new() };
        }
        let (tree, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            faults.add(error.span().unwrap_or(0..0), error.message().to_lowercase());
        }
        let policy = {
            let root = Table::root(&tree, &faults);
            read_policy(&root, text, &warnings, self)
        };
        let mut found = faults.take();
        // Where a line cannot be read as TOML, what its parts lack says nothing.
        let line_of = |span: Option<Range<usize>>| {
            Diagnostic::new(text, span.unwrap_or(0..0), String::new(), None).line
        };
        let broken: BTreeSet<usize> = errors.iter().map(|error| line_of(error.span())).collect();
        let syntax: BTreeSet<String> = errors.iter().map(|error| error.message().to_lowercase()).collect();
        found.retain(|fault| !broken.contains(&fault.line) || syntax.contains(&fault.message));
        let policy = if found.is_empty() { Ok(policy) } else { Err(found) };
        Report { policy, warnings: warnings.take() }
    }
}

/// One of a reviewer's addresses.
type AddressOf = fn(&Reviewer) -> Option<&str>;

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
    check_people(&reviewers);
    check_programs(&clients, &reviewers);

    let rule_tables = root.tables("rules", "a rule");
    let reviewers: Vec<Reviewer> = reviewers.into_iter().map(|(_, reviewer)| reviewer).collect();
    let clients: Vec<Client> = clients.into_iter().map(|(_, client)| client).collect();
    let rules: Vec<(&Table<'_, '_>, Rule)> = rule_tables
        .iter()
        .filter_map(|table| Some((table, read_rule(table, &reviewers, &clients, warnings, strictness)?)))
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
    let policy =
        Policy { issuer, clients, reviewers, rules, sha256: sha256_hex(text.as_bytes()), version: 0 };
    // Where a rule could not be read, examples of later rules could hit the wrong one for that reason alone.
    if complete {
        let tables = Tables {
            clients: &client_tables,
            reviewers: &reviewer_tables,
            rules: &rule_tables,
            has_faults: root.has_faults(),
        };
        (strictness.review)(&tables, &policy, warnings);
    } else {
        for table in &rule_tables {
            let _ = table.get("examples");
        }
    }
    policy
}

/// A fault at the value of that key, or at the table where it has none.
fn key_fault(table: &Table<'_, '_>, key: &'static str, message: impl Into<String>) {
    match table.get(key) {
        Some(node) => node.fault(message),
        None => table.fault(message),
    }
}

/// The tables, and texts, of what is there a second time, whatever its case.
fn duplicates<'t, 'a, 'f, T>(
    items: &'t [(&'t Table<'a, 'f>, T)],
    text: fn(&'t T) -> Option<&'t str>,
) -> Vec<(&'t Table<'a, 'f>, &'t str)> {
    let mut seen = BTreeSet::new();
    items
        .iter()
        .filter_map(|(table, item)| Some((*table, text(item)?)))
        .filter(|(_, text)| !seen.insert(text.to_lowercase()))
        .collect()
}

fn check_people(reviewers: &[(&Table<'_, '_>, Reviewer)]) {
    for (table, id) in duplicates(reviewers, |reviewer| Some(reviewer.id.as_str())) {
        key_fault(table, "id", format!("reviewer `{id}` is defined twice"));
    }
    // One person under two names could be a quorum alone, or approve past the owner's rule.
    let addresses: [(&'static str, AddressOf); 2] =
        [("email", |reviewer| reviewer.email.as_deref()), ("phone", |reviewer| reviewer.phone.as_deref())];
    for (what, address) in addresses {
        for (table, text) in duplicates(reviewers, address) {
            key_fault(
                table,
                what,
                format!("{what} `{text}` belongs to two reviewers; one person must not count twice"),
            );
        }
    }
    for (table, reviewer) in reviewers {
        for backup in reviewer.away.iter().filter_map(|away| away.backup.as_ref()) {
            if *backup == reviewer.id {
                key_fault(table, "away", format!("`{backup}` cannot be their own backup"));
            } else if !reviewers.iter().any(|(_, other)| other.id == *backup) {
                let meant = closest(backup.as_str(), reviewers.iter().map(|(_, other)| other.id.as_str()));
                unknown(table, "away", format!("backup `{backup}` is not one of the reviewers"), meant);
            }
        }
    }
}

fn unknown(table: &Table<'_, '_>, key: &'static str, message: String, meant: Option<&str>) {
    match (table.get(key), meant) {
        (Some(node), Some(meant)) => node.fault_with_help(message, format!("did you mean `{meant}`?")),
        (Some(node), None) => node.fault(message),
        (None, _) => table.fault(message),
    }
}

fn check_programs(clients: &[(&Table<'_, '_>, Client)], reviewers: &[(&Table<'_, '_>, Reviewer)]) {
    for (table, id) in duplicates(clients, |client| Some(client.id.as_str())) {
        key_fault(table, "id", format!("client `{id}` is defined twice"));
    }
    for (table, client) in clients {
        if let Some(owner) = &client.owner
            && !reviewers.iter().any(|(_, reviewer)| reviewer.id == *owner)
        {
            let meant = closest(owner.as_str(), reviewers.iter().map(|(_, reviewer)| reviewer.id.as_str()));
            let message = format!("owner `{owner}` of client `{}` is not one of the reviewers", client.id);
            unknown(table, "owner", message, meant);
        }
        for executor in &client.executors {
            match clients.iter().find(|(_, other)| other.id == *executor) {
                Some((_, other)) if other.has(ClientRole::Executor) => {}
                Some(_) => key_fault(
                    table,
                    "executors",
                    format!("client `{executor}` does not have the role `executor`"),
                ),
                None => {
                    let ids = clients.iter().map(|(_, other)| other.id.as_str());
                    let message = format!("executor `{executor}` is not one of the clients");
                    unknown(table, "executors", message, closest(executor.as_str(), ids));
                }
            }
        }
    }
}

fn read_client(table: &Table<'_, '_>) -> Option<Client> {
    let id = table.required("id").and_then(|node| parse_id(&node, ClientId::parse));
    let name = read_name(table);
    let roles = table.get("roles").map_or_else(
        || BTreeSet::from([ClientRole::Requester]),
        |node| node.items().iter().filter_map(client_role).collect(),
    );
    if roles.contains(&ClientRole::Requester) && roles.contains(&ClientRole::Decider) {
        key_fault(
            table,
            "roles",
            "a client is never both `requester` and `decider`: it could approve what it asks",
        );
    }
    let owner = table.get("owner").and_then(|node| parse_id(&node, ReviewerId::parse));
    let executors = table.get("executors").map_or_else(BTreeSet::new, |node| {
        if !roles.contains(&ClientRole::Requester) {
            node.fault("`executors` means nothing for a client without the role `requester`");
        }
        node.items().iter().filter_map(|item| parse_id(item, ClientId::parse)).collect()
    });
    let decides = roles.contains(&ClientRole::Decider);
    let queues = read_queues(table, decides);
    let token = table.get("token").and_then(|node| match node.text()? {
        "EdDSA" => Some(TokenKind::EdDsa),
        "HS256" => Some(TokenKind::Hs256),
        other => {
            node.fault(format!("expected \"EdDSA\" or \"HS256\", not `{other}`"));
            None
        }
    });
    let callback_hosts = table
        .get("callback_hosts")
        .map_or_else(Vec::new, |node| node.items().iter().filter_map(callback_host).collect());
    let rate_per_minute = table.get("rate_per_minute").map_or(Some(60), |node| node.number(1, 1_000_000));
    let max_pending = table.get("max_pending").map_or(Some(200), |node| node.number(1, 1_000_000));
    let bearer = table.get("bearer").map_or(Some(false), |node| node.flag());
    let generation = table.get("generation").map_or(Some(1), |node| node.number(1, u32::MAX));
    let id = id?;
    Some(Client {
        name: name.unwrap_or_else(|| id.to_string()),
        id,
        roles,
        owner,
        executors,
        queues,
        token: token.unwrap_or(TokenKind::EdDsa),
        callback_hosts,
        rate_per_minute: rate_per_minute?,
        max_pending: max_pending?,
        bearer: bearer?,
        generation: generation?,
    })
}

/// The queues that a decider answers for.
fn read_queues(table: &Table<'_, '_>, decides: bool) -> BTreeSet<String> {
    if let Some(node) = table.get("queues") {
        let items = node.items();
        if !decides {
            node.fault("`queues` means nothing for a client without the role `decider`");
        } else if items.is_empty() {
            node.fault("a decider needs at least one queue");
        }
        return items.iter().filter_map(queue_name).collect();
    }
    if decides {
        let help = "add `queues = [\"backup\"]` with the queues that it answers for";
        match table.get("roles") {
            Some(node) => node.fault_with_help("a decider needs `queues`", help),
            None => table.fault_with_help("a decider needs `queues`", help),
        }
    }
    BTreeSet::new()
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

fn client_role(node: &Node<'_, '_>) -> Option<ClientRole> {
    let text = node.text()?;
    let role = ClientRole::ALL.into_iter().find(|role| role.as_str() == text);
    if role.is_none() {
        let words: Vec<_> = ClientRole::ALL.iter().map(|role| role.as_str()).collect();
        let message = format!("`{text}` is not a role of a client");
        match closest(text, words.iter().copied()) {
            Some(meant) => node.fault_with_help(message, format!("did you mean `{meant}`?")),
            None => node.fault_with_help(message, format!("expected one of `{}`", words.join("`, `"))),
        }
    }
    role
}

fn callback_host(node: &Node<'_, '_>) -> Option<String> {
    HostPattern::parse(node.words()?).map(|host| host.to_string()).map_err(|why| node.fault(why)).ok()
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

fn read_reviewer(table: &Table<'_, '_>) -> Option<Reviewer> {
    let id = table.required("id").and_then(|node| parse_id(&node, ReviewerId::parse));
    let name = read_name(table);
    let email = table.get("email").and_then(|node| {
        let email = node.words()?;
        if !is_email(email) {
            node.fault(format!("`{email}` is not an email address"));
        }
        Some(email.to_owned())
    });
    let phone = table.get("phone").and_then(|node| {
        let phone = node.words()?;
        let digits = phone.strip_prefix('+').unwrap_or_default();
        if !(6..=15).contains(&digits.len())
            || !digits.bytes().all(|b| b.is_ascii_digit())
            || digits.starts_with('0')
        {
            node.fault(format!("`{phone}` is not a phone number in E.164 form, such as \"+15550100\""));
        }
        Some(phone.to_owned())
    });
    let roles = table.get("roles").map_or_else(BTreeSet::new, |node| role_names(&node));
    let away = table.tables("away", "a time away").iter().filter_map(read_away).collect();
    let generation = table.get("generation").map_or(Some(1), |node| node.number(1, u32::MAX));
    let id = id?;
    let name = name.unwrap_or_else(|| id.to_string());
    Some(Reviewer { id, name, email, phone, roles, away, generation: generation? })
}

/// A local part and a host, without what would end a header or hide a second address.
fn is_email(text: &str) -> bool {
    let Some((local, host)) = text.rsplit_once('@') else { return false };
    let odd = |c: char| c.is_whitespace() || c.is_control() || ",;:<>()[]\\\"@".contains(c);
    (1..=64).contains(&local.len()) && !local.contains(odd) && !host.contains(odd) && host_only(host)
}

fn host_only(host: &str) -> bool {
    HostPattern::parse(host).is_ok()
}

fn role_names<C: FromIterator<String>>(node: &Node<'_, '_>) -> C {
    node.items().iter().filter_map(Node::words).map(str::to_owned).collect()
}

fn read_away(table: &Table<'_, '_>) -> Option<Absence> {
    let from_day = table.required("from").and_then(|node| node.day());
    let until_day = table.required("until").and_then(|node| node.day());
    let backup = table.get("backup").and_then(|node| parse_id(&node, ReviewerId::parse));
    let away = Absence { from_day: from_day?, until_day: until_day?, backup };
    if away.until_day < away.from_day {
        key_fault(table, "until", "`until` is before `from`");
    }
    Some(away)
}

fn read_rule(
    table: &Table<'_, '_>,
    reviewers: &[Reviewer],
    clients: &[Client],
    warnings: &Diagnostics<'_>,
    strictness: Strictness,
) -> Option<Rule> {
    let name = match table.required("name") {
        Some(_) => read_name(table),
        None => None,
    };
    let when = match table.get("when") {
        None => Some((None, Findings::default())),
        Some(node) => node.text().and_then(|source| match (strictness.condition)(source) {
            Ok((condition, findings)) => Some((Some(condition), findings)),
            Err(faults) => {
                for fault in faults {
                    let span = place_in_text(&node, source, fault.span);
                    node.fault_at(span, fault.message, fault.help);
                }
                None
            }
        }),
    };
    let valid_for_seconds = table.get("valid_for").map_or(Some(VALID_FOR_SECONDS), |node| {
        let seconds = node.duration_ms()? / 1000;
        if !(1..=MAX_WAIT_MS / 1000).contains(&seconds) {
            node.fault("`valid_for` must be from 1 second to 30 days");
            return None;
        }
        Some(seconds)
    });
    table.refuse(
        "on_timeout",
        "`on_timeout` no longer exists: silence never approves, and a request that nobody answers expires",
        "remove it; if a program should answer when people do not, put a queue as the last stage and let that program \
         answer under its own name",
    );
    let decide = table.get("decide").map(|node| decision(&node));
    let stages = table.get("stages");
    let action = match (decide, stages) {
        (Some(_), Some(stages)) => {
            stages.fault("a rule has either `decide` or `stages`, not both");
            None
        }
        (Some(decision), None) => decision.map(RuleAction::Decide),
        (None, Some(stages)) => read_terms(table, &stages, reviewers, clients).map(RuleAction::Ask),
        (None, None) => {
            table.fault_with_help(
                "a rule needs `decide` or `stages`",
                "write `decide = \"approve\"`, `decide = \"reject\"`, or the stages that it asks",
            );
            None
        }
    };
    for key in ["approvals", "owner_may_approve"] {
        // Read here in any case, so that a typo elsewhere in the rule lists every key that it could have been.
        let node = table.get(key);
        if let (Some(RuleAction::Decide(_)), Some(node)) = (&action, node) {
            node.fault(format!("`{key}` means nothing in a rule that decides alone"));
        }
    }
    // Looked at when all rules are known.
    let _ = table.get("examples");
    let (name, (when, findings), action, valid_for_seconds) = (name?, when?, action?, valid_for_seconds?);
    if let Some(node) = table.get("when") {
        warn_of_condition(&node, &findings, &action, warnings);
    }
    if when.is_none() && matches!(action, RuleAction::Decide(Decision::Approve)) {
        let message = format!("rule `{name}` approves everything that reaches it");
        warnings.add_with_help(table.span(), message, Some("add `when` with a condition".into()));
    }
    Some(Rule { name, when, action, valid_for_seconds })
}

/// Where a part of a text is in the file: the part itself where the text is written as it is, else all of it.
fn place_in_text(node: &Node<'_, '_>, text: &str, part: Range<usize>) -> Range<usize> {
    match node.raw().find(text).filter(|_| !text.is_empty()) {
        Some(at) => {
            let start = node.span().start + at;
            start + part.start..start + part.end
        }
        None => node.span(),
    }
}

fn warn_of_condition(
    node: &Node<'_, '_>,
    findings: &Findings,
    action: &RuleAction,
    warnings: &Diagnostics<'_>,
) {
    let source = node.text().unwrap_or_default();
    let place = |span: &Range<usize>| place_in_text(node, source, span.clone());
    for warning in &findings.warnings {
        warnings.add_with_help(place(&warning.span), &*warning.message, warning.help.clone());
    }
    if !matches!(action, RuleAction::Decide(Decision::Approve)) {
        return;
    }
    for (path, bound) in &findings.bounds {
        let (missing, help) = match (bound.lower, bound.upper) {
            (false, true) => {
                ("smallest", format!("add `{path} > 0`, or whatever is the least that makes sense"))
            }
            (true, false) => ("largest", format!("add `{path} <= …`")),
            (true, true) | (false, false) => continue,
        };
        warnings.add_with_help(
            place(&bound.span),
            format!("this rule approves, but `{path}` has no {missing} value"),
            Some(help),
        );
    }
    let money = findings.bounds.iter().find(|(path, _)| is_money(path));
    let names_currency = findings.paths.iter().any(|path| path.to_lowercase().contains("currency"));
    if let Some((path, bound)) = money
        && !names_currency
    {
        let beside = path.rsplit_once('.').map_or("payload", |(beside, _)| beside);
        warnings.add_with_help(
            place(&bound.span),
            format!("this rule approves `{path}` in any currency"),
            Some(format!("if the payload names one, add `{beside}.currency == \"EUR\"`")),
        );
    }
}

/// Whether a field is named like money.
fn is_money(path: &str) -> bool {
    const WORDS: [&str; 9] = ["amount", "total", "price", "sum", "cost", "fee", "value", "balance", "refund"];
    let name = path.rsplit('.').next().unwrap_or(path).to_lowercase();
    WORDS.iter().any(|word| name.contains(word))
}

fn decision(node: &Node<'_, '_>) -> Option<Decision> {
    let text = node.text()?;
    let decision = Decision::parse(text);
    if decision.is_none() {
        node.fault(format!("expected \"approve\" or \"reject\", not `{text}`"));
    }
    decision
}

fn read_terms(
    table: &Table<'_, '_>,
    stages: &Node<'_, '_>,
    reviewers: &[Reviewer],
    clients: &[Client],
) -> Option<ApprovalTerms> {
    let approvals = table.get("approvals").map_or(Some(1), |node| node.number(1, 100));
    let owner_may_approve = table.get("owner_may_approve").map_or(Some(false), |node| node.flag());
    let items = stages.items();
    if items.is_empty() {
        stages.fault("a rule that asks needs at least one stage");
        return None;
    }
    let read: Vec<Stage> = items.iter().filter_map(|item| read_stage(item, reviewers, clients)).collect();
    if read
        .iter()
        .try_fold(0_i64, |sum, stage| sum.checked_add(stage.within_ms))
        .is_none_or(|ms| ms > MAX_WAIT_MS)
    {
        stages.fault("the stages together may take at most 30 days");
    }
    let approvals = approvals?;
    (read.len() == items.len()).then_some(())?;
    let asks = |reviewer: &&Reviewer| {
        read.iter()
            .any(|stage| matches!(&stage.assignees, Assignees::Roles(roles) if reviewer.has_any(roles)))
    };
    let people = reviewers.iter().filter(asks).count();
    let has_queue = read.iter().any(|stage| matches!(stage.assignees, Assignees::Queue(_)));
    if people < approvals as usize && !has_queue {
        let message = format!("the rule needs {approvals} approvals, but its stages have {people} reviewers");
        key_fault(table, "approvals", message);
    }
    Some(ApprovalTerms { approvals, stages: read, owner_may_approve: owner_may_approve? })
}

fn read_stage(node: &Node<'_, '_>, reviewers: &[Reviewer], clients: &[Client]) -> Option<Stage> {
    let table = node.table("a stage")?;
    let within_ms = table.required("within").and_then(|node| node.duration_ms());
    let hours = table.get("hours").map(|node| {
        let text = node.text()?;
        Hours::parse(text).map_err(|why| node.fault(why)).ok()
    });
    let assignees = match (table.get("ask"), table.get("queue")) {
        (Some(node), None) => {
            let items = node.items();
            if items.is_empty() {
                node.fault("`ask` needs at least one role");
            }
            let mut roles = Vec::new();
            for item in &items {
                let Some(role) = item.words() else { continue };
                if !reviewers.iter().any(|reviewer| reviewer.roles.contains(role)) {
                    let known = reviewers.iter().flat_map(|reviewer| &reviewer.roles).map(String::as_str);
                    let message = format!("no reviewer has the role `{role}`");
                    match closest(role, known) {
                        Some(meant) => item.fault_with_help(message, format!("did you mean `{meant}`?")),
                        None => item.fault(message),
                    }
                }
                roles.push(role.to_owned());
            }
            Some(Assignees::Roles(roles))
        }
        (None, Some(node)) => {
            let name = queue_name(&node)?;
            if !clients.iter().any(|client| client.has(ClientRole::Decider) && client.queues.contains(&name))
            {
                node.fault_with_help(
                    format!("nobody can answer from the queue `{name}`"),
                    format!("give a client `roles = [\"decider\"]` and `queues = [\"{name}\"]`"),
                );
            }
            Some(Assignees::Queue(name))
        }
        (Some(_), Some(node)) => {
            node.fault("a stage has either `ask = [roles]` or `queue = \"name\"`, not both");
            None
        }
        (None, None) => {
            table.fault("a stage needs `ask = [roles]` or `queue = \"name\"`");
            None
        }
    };
    let hours = match hours {
        Some(hours) => Some(hours?),
        None => None,
    };
    Some(Stage { assignees: assignees?, within_ms: within_ms?, hours })
}

/// When examples that do not say otherwise are asked: a fixed time, so that a check always finds the same.
const EXAMPLE_NOW: Timestamp = Timestamp::from_millis(1_767_268_800_000);

/// An example, with the value that the gate would evaluate.
struct Example<'a> {
    action: &'a str,
    client: String,
    summary: &'a str,
    payload: Value,
    metadata: BTreeMap<String, String>,
    now: Timestamp,
}

fn review(tables: &Tables<'_, '_, '_>, policy: &Policy, warnings: &Diagnostics<'_>) {
    for (table, rule) in tables.rules.iter().zip(&policy.rules) {
        check_examples(table, rule, policy);
    }
    // While something is wrong, what else looks odd may follow from it.
    if !tables.has_faults {
        dead_ends::find(tables, policy, warnings);
    }
}

fn check_examples(table: &Table<'_, '_>, rule: &Rule, policy: &Policy) {
    for table in table.tables("examples", "an example") {
        let Some(example) = read_example(&table, policy) else { continue };
        let question = Question {
            client: &example.client,
            action: example.action,
            summary: example.summary,
            payload: &example.payload,
            metadata: &example.metadata,
            now: example.now,
        };
        match policy.evaluate(&question) {
            Some(hit) if hit.rule.name == rule.name && hit.error.is_none() => {}
            Some(hit) => {
                let why = hit
                    .error
                    .map_or_else(String::new, |error| format!(", which cannot be evaluated for it: {error}"));
                table.fault(format!(
                    "this example of rule `{}` hits rule `{}`{why}",
                    rule.name, hit.rule.name
                ));
            }
            None => table.fault(format!("this example of rule `{}` hits no rule", rule.name)),
        }
    }
}

/// Reads an example, and refuses what the gate would refuse.
fn read_example<'a>(table: &Table<'a, '_>, policy: &Policy) -> Option<Example<'a>> {
    let action = table.required("action").and_then(|node| {
        let action = node.text()?;
        if !is_action(action) {
            node.fault(format!("`{action}` is not an action; expected a dotted name such as `invoice.pay`"));
            return None;
        }
        Some(action)
    });
    let askers = || policy.clients.iter().filter(|client| client.has(ClientRole::Requester));
    let client = match table.get("client") {
        None => Some(askers().next().map_or_else(|| "example".to_owned(), |client| client.id.to_string())),
        Some(node) => node.text().and_then(|id| {
            if askers().any(|client| client.id.as_str() == id) {
                return Some(id.to_owned());
            }
            let message = format!("`{id}` is not a client with the role `requester`");
            match closest(id, askers().map(|client| client.id.as_str())) {
                Some(meant) => node.fault_with_help(message, format!("did you mean `{meant}`?")),
                None => node.fault(message),
            }
            None
        }),
    };
    let summary = table.get("summary").map_or(Some("an example"), |node| node.words());
    let payload = match table.get("payload") {
        None => Some(Value::Object(serde_json::Map::new())),
        Some(node) => match node.json() {
            Some(Value::Object(object)) => match Payload::new(&object) {
                Ok(payload) => Some(payload.value()),
                Err(Refusal::InvalidRequest(errors)) => {
                    for error in errors {
                        node.fault(format!("`{}` {}", error.field, error.message));
                    }
                    None
                }
                Err(refusal) => {
                    node.fault(refusal.to_string());
                    None
                }
            },
            Some(_) => {
                node.fault("expected a table");
                None
            }
            None => None,
        },
    };
    let metadata = match table.get("metadata").map(|node| (node.json(), node)) {
        None => Some(BTreeMap::new()),
        Some((Some(Value::Object(object)), node)) => {
            let texts = object.into_iter().map(|(key, value)| Some((key, value.as_str()?.to_owned())));
            let texts = texts.collect::<Option<_>>();
            if texts.is_none() {
                node.fault("metadata holds strings only");
            }
            texts
        }
        Some((_, node)) => {
            node.fault("expected a table of strings");
            None
        }
    };
    let now = table.get("now").map_or(Some(EXAMPLE_NOW), |node| {
        let at = node.json().as_ref().and_then(Value::as_str).and_then(Timestamp::parse);
        if at.is_none() {
            node.fault("expected a time with its zone, such as 2026-12-20T18:00:00Z");
        }
        at
    });
    Some(Example {
        action: action?,
        client: client?,
        summary: summary?,
        payload: payload?,
        metadata: metadata?,
        now: now?,
    })
}
