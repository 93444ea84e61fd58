//! Reading `placet.toml`: the whole file is checked, and all faults are reported together with their lines.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;
use toml::de::DeTable;

use super::toml_tree::{Faults, Node, Table};
use super::{
    Absence, ApprovalTerms, Assignees, Client, ClientRole, Condition, Decision, MAX_WAIT_MS, Policy,
    Question, Reviewer, Rule, RuleAction, Stage, VALID_FOR_SECONDS,
};
use crate::id::{ClientId, ReviewerId};
use crate::payload::sha256_hex;
use crate::token::TokenKind;

/// One thing wrong, or worth a look, in a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Line of the file, from 1.
    pub line: usize,
    /// What, in lower case without a full stop.
    pub message: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

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

    /// Reads a policy that was checked when it was installed: its examples are not tried again, and a condition is
    /// compiled when a request first reaches it.
    ///
    /// A function that never tests a condition then does not hold the compiler either, a tenth of its size.
    pub fn load_trusted(text: &str) -> Result<Self, Vec<Diagnostic>> {
        Strictness { condition: |source| Ok(Condition::unchecked(source)), examples: |_, _, _| {} }
            .report(text)
            .policy
    }

    /// Reads and checks a policy; also says what an operator should think twice about.
    pub fn check(text: &str) -> Report {
        Strictness { condition: Condition::compile, examples: check_examples }.report(text)
    }
}

/// How closely conditions, and the examples that try them, are looked at.
#[derive(Clone, Copy)]
struct Strictness {
    condition: fn(&str) -> Result<Condition, Vec<String>>,
    examples: fn(&Table<'_, '_>, &Rule, &Policy),
}

impl Strictness {
    fn report(self, text: &str) -> Report {
        let faults = Faults::new(text);
        let warnings = Faults::new(text);
        let (tree, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            faults.add(error.span().map_or(0, |span| span.start), error.message().to_lowercase());
        }
        let policy = {
            let root = Table::root(&tree, &faults);
            read_policy(&root, text, &warnings, self)
        };
        let found = faults.take();
        let policy = if found.is_empty() { Ok(policy) } else { Err(found) };
        Report { policy, warnings: warnings.take() }
    }
}

/// One of a reviewer's addresses.
type AddressOf = fn(&Reviewer) -> Option<&str>;

fn read_policy(root: &Table<'_, '_>, text: &str, warnings: &Faults<'_>, scrutiny: Strictness) -> Policy {
    let issuer = root.get("issuer").and_then(|node| {
        let url = node.text()?;
        let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        if host.is_none_or(str::is_empty) || url.ends_with('/') {
            node.fault("`issuer` must be an http(s) address without a slash at the end");
            return None;
        }
        Some(url.to_owned())
    });
    let reviewer_tables = root.tables("reviewers", "a reviewer");
    let reviewers: Vec<(usize, Reviewer)> =
        reviewer_tables.iter().filter_map(|table| Some((table.at, read_reviewer(table)?))).collect();
    let client_tables = root.tables("clients", "a client");
    let clients: Vec<(usize, Client)> =
        client_tables.iter().filter_map(|table| Some((table.at, read_client(table)?))).collect();

    for (table, twin) in twins(&clients, |client| Some(client.id.as_str())) {
        root.fault_at(table, format!("client `{twin}` stands twice"));
    }
    for (table, twin) in twins(&reviewers, |reviewer| Some(reviewer.id.as_str())) {
        root.fault_at(table, format!("reviewer `{twin}` stands twice"));
    }
    // One person under two names could be a quorum alone, or approve past the owner's rule.
    let addresses: [(&str, AddressOf); 3] = [
        ("email", |reviewer| reviewer.email.as_deref()),
        ("phone", |reviewer| reviewer.phone.as_deref()),
        ("slack", |reviewer| reviewer.slack.as_deref()),
    ];
    for (what, address) in addresses {
        for (table, twin) in twins(&reviewers, address) {
            root.fault_at(table, format!("{what} `{twin}` is of two reviewers; a person counts once"));
        }
    }
    let known = |id: &ReviewerId| reviewers.iter().any(|(_, reviewer)| reviewer.id == *id);
    for (at, client) in &clients {
        if let Some(owner) = client.owner.as_ref().filter(|owner| !known(owner)) {
            root.fault_at(
                *at,
                format!("owner `{owner}` of client `{}` is not among the reviewers", client.id),
            );
        }
    }
    for (at, reviewer) in &reviewers {
        for backup in reviewer.away.iter().filter_map(|away| away.backup.as_ref()) {
            if !known(backup) {
                root.fault_at(*at, format!("backup `{backup}` is not among the reviewers"));
            } else if *backup == reviewer.id {
                root.fault_at(*at, format!("`{backup}` cannot be their own backup"));
            }
        }
    }

    let rule_tables = root.tables("rules", "a rule");
    let reviewers: Vec<Reviewer> = reviewers.into_iter().map(|(_, reviewer)| reviewer).collect();
    let clients: Vec<Client> = clients.into_iter().map(|(_, client)| client).collect();
    let rules: Vec<Rule> = rule_tables
        .iter()
        .filter_map(|table| read_rule(table, &reviewers, &clients, warnings, scrutiny))
        .collect();
    let mut names = BTreeSet::new();
    for (rule, table) in rules.iter().zip(&rule_tables) {
        if !names.insert(&rule.name) {
            table.fault(format!("rule `{}` stands twice", rule.name));
        }
    }
    let complete = rules.len() == rule_tables.len();
    let policy = Policy { issuer, clients, reviewers, rules, sha256: sha256_hex(text.as_bytes()) };
    // Where a rule could not be read, examples of later rules could hit the wrong one for that reason alone.
    if complete {
        for (table, rule) in rule_tables.iter().zip(&policy.rules) {
            (scrutiny.examples)(table, rule, &policy);
        }
    } else {
        for table in &rule_tables {
            let _ = table.get("examples");
        }
    }
    if policy.rules.is_empty() {
        warnings.add(0, "there are no rules: every request is rejected");
    }
    policy
}

/// Positions and texts of what stands a second time.
fn twins<'t, T>(items: &'t [(usize, T)], text: fn(&'t T) -> Option<&'t str>) -> Vec<(usize, String)> {
    let mut seen = BTreeSet::new();
    items
        .iter()
        .filter_map(|(at, item)| Some((*at, text(item)?.to_lowercase())))
        .filter(|(_, text)| !seen.insert(text.clone()))
        .collect()
}

fn read_client(table: &Table<'_, '_>) -> Option<Client> {
    let id = table.required("id").and_then(|node| parse_id(&node, ClientId::parse));
    let roles = table.get("roles").map_or_else(
        || BTreeSet::from([ClientRole::Requester]),
        |node| node.items().iter().filter_map(client_role).collect(),
    );
    if roles.contains(&ClientRole::Requester) && roles.contains(&ClientRole::Decider) {
        table.fault("a client is never both `requester` and `decider`: it could approve what it asks");
    }
    let owner = table.get("owner").and_then(|node| parse_id(&node, ReviewerId::parse));
    let token = table.get("token").and_then(|node| match node.text()? {
        "HS256" => Some(TokenKind::Hs256),
        "EdDSA" => Some(TokenKind::EdDsa),
        other => {
            node.fault(format!("`{other}` must be \"HS256\" or \"EdDSA\""));
            None
        }
    });
    let callback_hosts = table
        .get("callback_hosts")
        .map_or_else(Vec::new, |node| node.items().iter().filter_map(|host| callback_host(host)).collect());
    let rate_per_minute = table.get("rate_per_minute").map_or(Some(60), |node| node.number(1, 1_000_000));
    let bearer = table.get("bearer").map_or(Some(false), |node| node.flag());
    let generation = table.get("generation").map_or(Some(1), |node| node.number(1, u32::MAX));
    Some(Client {
        id: id?,
        roles,
        owner,
        token: token.unwrap_or_default(),
        callback_hosts,
        rate_per_minute: rate_per_minute?,
        bearer: bearer?,
        generation: generation?,
    })
}

fn client_role(node: &Node<'_, '_>) -> Option<ClientRole> {
    match node.text()? {
        "requester" => Some(ClientRole::Requester),
        "decider" => Some(ClientRole::Decider),
        "auditor" => Some(ClientRole::Auditor),
        other => {
            node.fault(format!("`{other}` must be `requester`, `decider` or `auditor`"));
            None
        }
    }
}

fn callback_host(node: &Node<'_, '_>) -> Option<String> {
    let host = node.words()?;
    if host.contains(['/', ' ', '@', '?', '#', '*']) {
        node.fault(format!("`{host}` must be a host, or host:port, without scheme or path"));
        return None;
    }
    Some(host.to_lowercase())
}

fn parse_id<T>(node: &Node<'_, '_>, parse: fn(&str) -> Result<T, crate::id::NotAnId>) -> Option<T> {
    let text = node.text()?;
    parse(text).map_err(|error| node.fault(format!("`{text}` {error}"))).ok()
}

fn read_reviewer(table: &Table<'_, '_>) -> Option<Reviewer> {
    let id = table.required("id").and_then(|node| parse_id(&node, ReviewerId::parse));
    let name = table.get("name").and_then(|node| node.words()).map(str::to_owned);
    let email = table.get("email").and_then(|node| {
        let email = node.words()?;
        if !email.contains('@') || email.contains(char::is_whitespace) {
            node.fault(format!("`{email}` must be an email address"));
        }
        Some(email.to_owned())
    });
    let phone = table.get("phone").and_then(|node| {
        let phone = node.words()?;
        let digits = phone.strip_prefix('+').unwrap_or_default();
        if !(6..=15).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
            node.fault(format!("`{phone}` must be a number in E.164 form, such as \"+15550100\""));
        }
        Some(phone.to_owned())
    });
    let slack = table.get("slack").and_then(|node| node.words()).map(str::to_owned);
    let roles = table.get("roles").map_or_else(BTreeSet::new, |node| role_names(&node));
    let away = table.tables("away", "a time away").iter().filter_map(read_away).collect();
    let id = id?;
    let name = name.unwrap_or_else(|| id.to_string());
    Some(Reviewer { id, name, email, phone, slack, roles, away })
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
        table.fault("`until` is before `from`");
    }
    Some(away)
}

fn read_rule(
    table: &Table<'_, '_>,
    reviewers: &[Reviewer],
    clients: &[Client],
    warnings: &Faults<'_>,
    scrutiny: Strictness,
) -> Option<Rule> {
    let name = table.required("name").and_then(|node| {
        let name = node.words()?;
        if name.len() > 100 || name.contains(char::is_control) {
            node.fault("a rule's name has at most 100 characters, on one line");
            return None;
        }
        Some(name.to_owned())
    });
    let when = match table.get("when") {
        None => Some(None),
        Some(node) => node.text().and_then(|source| match (scrutiny.condition)(source) {
            Ok(condition) => Some(Some(condition)),
            Err(messages) => {
                for message in messages {
                    node.fault(format!("condition: {message}"));
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
    let decide = table.get("decide").map(|node| decision(&node));
    let stages = table.get("stages");
    let then = match (decide, stages) {
        (Some(_), Some(stages)) => {
            stages.fault("a rule has either `decide` or `stages`");
            None
        }
        (Some(decision), None) => decision.map(RuleAction::Decide),
        (None, Some(stages)) => read_terms(table, &stages, reviewers, clients, warnings).map(RuleAction::Ask),
        (None, None) => {
            table.fault("a rule needs `decide` or `stages`");
            None
        }
    };
    if let Some(RuleAction::Decide(_)) = then {
        for key in ["approvals", "on_timeout", "owner_may_approve"] {
            if let Some(node) = table.get(key) {
                node.fault(format!("`{key}` means nothing in a rule that decides alone"));
            }
        }
    } else {
        // Named, so that a typo elsewhere in the rule lists every key that it could have been.
        for key in ["approvals", "on_timeout", "owner_may_approve"] {
            let _ = table.get(key);
        }
    }
    let _ = table.get("examples");
    let (name, when, then, valid_for_seconds) = (name?, when?, then?, valid_for_seconds?);
    if when.is_none() && matches!(then, RuleAction::Decide(Decision::Approve)) {
        warnings.add(table.at, format!("rule `{name}` approves everything that reaches it"));
    }
    Some(Rule { name, when, then, valid_for_seconds })
}

fn decision(node: &Node<'_, '_>) -> Option<Decision> {
    let text = node.text()?;
    let decision = Decision::parse(text);
    if decision.is_none() {
        node.fault(format!("`{text}` must be \"approve\" or \"reject\""));
    }
    decision
}

fn read_terms(
    table: &Table<'_, '_>,
    stages: &Node<'_, '_>,
    reviewers: &[Reviewer],
    clients: &[Client],
    warnings: &Faults<'_>,
) -> Option<ApprovalTerms> {
    let approvals = table.get("approvals").map_or(Some(1), |node| node.number(1, 100));
    let on_timeout = table.get("on_timeout").map_or(Some(Decision::Reject), |node| {
        let decision = decision(&node);
        if decision == Some(Decision::Approve) {
            warnings.add(node.at, "`on_timeout = \"approve\"`: if nobody answers, the request is approved");
        }
        decision
    });
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
    let people = reviewers
        .iter()
        .filter(|reviewer| {
            read.iter().any(|stage| matches!(&stage.ask, Assignees::Roles(roles) if reviewer.has_any(roles)))
        })
        .count();
    let queue = read.iter().any(|stage| matches!(stage.ask, Assignees::Queue(_)));
    if read.len() == items.len() && people < approvals as usize && !queue {
        table.fault(format!("asks for {approvals} approvals, but its stages have {people} reviewers"));
    }
    (read.len() == items.len()).then_some(())?;
    Some(ApprovalTerms {
        approvals,
        stages: read,
        on_timeout: on_timeout?,
        owner_may_approve: owner_may_approve?,
    })
}

fn read_stage(node: &Node<'_, '_>, reviewers: &[Reviewer], clients: &[Client]) -> Option<Stage> {
    let table = node.table("a stage")?;
    let within_ms = table.required("within").and_then(|node| node.duration_ms());
    let ask = match (table.get("ask"), table.get("queue")) {
        (Some(node), None) => {
            let items = node.items();
            let roles: Vec<String> = role_names(&node);
            if items.is_empty() {
                node.fault("`ask` needs at least one role");
            }
            for role in &roles {
                if !reviewers.iter().any(|reviewer| reviewer.roles.contains(role)) {
                    node.fault(format!("no reviewer has the role `{role}`"));
                }
            }
            Some(Assignees::Roles(roles))
        }
        (None, Some(node)) => {
            let name = node.words()?;
            if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') || name.len() > 80 {
                node.fault("a queue's name has 1 to 80 of `A-Za-z0-9_-`");
            }
            if !clients.iter().any(|client| client.has(ClientRole::Decider)) {
                node.fault("no client has the role `decider`, so nobody could answer from this queue");
            }
            Some(Assignees::Queue(name.to_owned()))
        }
        _ => {
            table.fault("a stage has either `ask = [roles]` or `queue = \"name\"`");
            None
        }
    };
    Some(Stage { ask: ask?, within_ms: within_ms? })
}

fn check_examples(table: &Table<'_, '_>, rule: &Rule, policy: &Policy) {
    let empty = BTreeMap::new();
    for example in table.tables("examples", "an example") {
        let action = example.required("action").and_then(|node| node.text()).unwrap_or("unspecified");
        let client = example.get("client").and_then(|node| node.text()).unwrap_or("example");
        let summary = example.get("summary").and_then(|node| node.text()).unwrap_or("an example");
        let payload = example.get("payload").map_or_else(
            || Some(Value::Object(serde_json::Map::new())),
            |node| node.json().filter(Value::is_object),
        );
        let Some(payload) = payload else {
            example.fault("`payload` of an example must be a table");
            continue;
        };
        let question = Question { client, action, summary, payload: &payload, metadata: &empty };
        match policy.pick(&question) {
            Some(hit) if hit.rule.name == rule.name && hit.doubt.is_none() => {}
            Some(hit) => {
                let why =
                    hit.doubt.map_or_else(String::new, |why| format!(", which cannot be evaluated: {why}"));
                example.fault(format!(
                    "this example of rule `{}` hits rule `{}`{why}",
                    rule.name, hit.rule.name
                ));
            }
            None => example.fault(format!("this example of rule `{}` hits no rule", rule.name)),
        }
    }
}
