//! What an action is in plain words, where its rule has no title: `email.send` sends an email to somebody.
//!
//! An action's name is the caller's word. It chooses the sentence; all values come from the payload.

use serde_json::{Map, Value};

use super::fields::{is_amount, key_words};
use super::money::{currency_of, decimal_text, grouped_decimal, minor_units};
use super::path::FieldPath;
use super::template::Part;
use super::text::grouped;

/// Imperatives that actions end or begin with.
const VERBS: [&str; 92] = [
    "accept",
    "activate",
    "add",
    "apply",
    "approve",
    "archive",
    "assign",
    "attach",
    "ban",
    "block",
    "book",
    "buy",
    "call",
    "cancel",
    "change",
    "charge",
    "close",
    "commit",
    "copy",
    "create",
    "deactivate",
    "delete",
    "deliver",
    "deploy",
    "destroy",
    "disable",
    "drop",
    "edit",
    "enable",
    "exec",
    "execute",
    "export",
    "fire",
    "forward",
    "grant",
    "hire",
    "import",
    "initiate",
    "insert",
    "install",
    "invite",
    "issue",
    "launch",
    "list",
    "lock",
    "make",
    "merge",
    "migrate",
    "modify",
    "move",
    "open",
    "order",
    "overwrite",
    "pay",
    "post",
    "promote",
    "publish",
    "purchase",
    "purge",
    "push",
    "put",
    "read",
    "reboot",
    "refund",
    "register",
    "reject",
    "release",
    "remove",
    "rename",
    "replace",
    "reply",
    "reset",
    "restart",
    "restore",
    "revoke",
    "rotate",
    "run",
    "scale",
    "schedule",
    "sell",
    "send",
    "set",
    "share",
    "sign",
    "start",
    "stop",
    "submit",
    "terminate",
    "transfer",
    "trigger",
    "truncate",
    "update",
];
const MORE_VERBS: [&str; 7] = ["upgrade", "upload", "wire", "withdraw", "write", "email", "void"];
/// Verbs that only bring about what their noun says.
const DOING: [&str; 13] = [
    "create", "deliver", "execute", "exec", "initiate", "issue", "make", "release", "run", "send", "start",
    "submit", "trigger",
];
const RECIPIENTS: [&str; 14] = [
    "to",
    "recipient",
    "recipients",
    "payee",
    "beneficiary",
    "creditor",
    "vendor",
    "supplier",
    "customer",
    "employee",
    "destination",
    "email",
    "iban",
    "account",
];
const PLACES: [&str; 6] = ["environment", "env", "stage", "cluster", "region", "target"];
const IDENTITIES: [&str; 30] = [
    "name",
    "title",
    "id",
    "path",
    "file",
    "filename",
    "url",
    "email",
    "user",
    "username",
    "login",
    "branch",
    "key",
    "bucket",
    "table",
    "database",
    "host",
    "hostname",
    "domain",
    "number",
    "pr",
    "pull_number",
    "issue",
    "repo",
    "repository",
    "project",
    "service",
    "subject",
    "to",
    "target",
];
/// How deep a field that a sentence needs may lie.
const LEVELS: usize = 3;

/// An action's name, taken apart.
struct Action {
    verb: Option<String>,
    /// What it is done to, in lower case.
    noun: Vec<String>,
    /// All its words.
    words: Vec<String>,
}

/// The sentence for an action and its payload; none where the action's name says nothing that is known.
pub(super) fn phrase(action: &str, payload: &Value) -> Option<Vec<Part>> {
    let fields = payload.as_object()?;
    let action = Action::read(action);
    let found = Fields(fields);
    refund(&action, &found)
        .or_else(|| payment(&action, &found))
        .or_else(|| email(&action, &found))
        .or_else(|| message(&action, &found))
        .or_else(|| deployment(&action, &found))
        .or_else(|| command(&action, &found))
        .or_else(|| plain_sentence(&action, &found))
}

impl Action {
    fn read(action: &str) -> Self {
        let segments: Vec<Vec<String>> = action
            .split(['.', ':'])
            .map(|segment| key_words(segment).iter().map(|word| word.to_ascii_lowercase()).collect())
            .filter(|words: &Vec<String>| !words.is_empty())
            .collect();
        let words = segments.iter().flatten().cloned().collect();
        let is_verb = |word: &String| VERBS.contains(&word.as_str()) || MORE_VERBS.contains(&word.as_str());
        let Some((last, before)) = segments.split_last() else {
            return Self { verb: None, noun: Vec::new(), words };
        };
        let noun_before = || before.last().cloned().unwrap_or_default();
        let (verb, noun) = match (last.split_first(), last.split_last()) {
            (Some((verb, [])), _) if is_verb(verb) => (Some(verb.clone()), noun_before()),
            (Some((verb, noun)), _) if is_verb(verb) => (Some(verb.clone()), noun.to_vec()),
            (_, Some((verb, noun))) if is_verb(verb) => (Some(verb.clone()), noun.to_vec()),
            _ => match before.first().map(Vec::as_slice) {
                Some([verb]) if is_verb(verb) => (Some(verb.clone()), last.clone()),
                _ => (None, last.clone()),
            },
        };
        Self { verb, noun, words }
    }

    fn says(&self, known: &[&str]) -> bool {
        self.words.iter().any(|word| known.contains(&word.as_str()))
    }

    /// Whether nothing else is done to it than to bring it about.
    fn just_does(&self, also: &[&str]) -> bool {
        self.verb.as_deref().is_none_or(|verb| DOING.contains(&verb) || also.contains(&verb))
    }
}

/// A payload, asked for what a sentence needs.
struct Fields<'p>(&'p Map<String, Value>);

impl Fields<'_> {
    /// The first of these keys that has a value, the shallowest first.
    fn one_of(&self, keys: &[&str]) -> Option<FieldPath> {
        let all = self.all();
        keys.iter().find_map(|wanted| {
            let is_it = |(path, value): &&(Vec<&str>, &Value)| {
                let is_told = !matches!(value, Value::Null) && value.as_str() != Some("");
                is_told && path.last().is_some_and(|key| key.eq_ignore_ascii_case(wanted))
            };
            all.iter().find(is_it).map(|(path, _)| FieldPath::of(path))
        })
    }

    /// The amount of money, the plainest of them.
    fn amount(&self) -> Option<FieldPath> {
        let all = self.all();
        let is_amount = |(path, value): &&(Vec<&str>, &Value)| {
            path.last().is_some_and(|key| is_amount(key)) && decimal_text(value).is_some()
        };
        let rank = |key: &str| match key {
            "amount" => 0,
            _ if key_words(key).iter().any(|word| word.eq_ignore_ascii_case("amount")) => 1,
            "total" => 2,
            _ => 3,
        };
        all.iter()
            .filter(is_amount)
            .min_by_key(|(path, _)| (path.len(), path.last().map(|key| rank(key))))
            .map(|(path, _)| FieldPath::of(path))
    }

    /// The one list of objects that the payload is about.
    fn list(&self) -> Option<(&str, &Vec<Value>)> {
        let lists = |value: &Value| {
            value.as_array().is_some_and(|items| items.len() > 1 && items.iter().all(Value::is_object))
        };
        let mut found = self.0.iter().filter(|(_, value)| lists(value));
        let (key, value) = found.next()?;
        found.next().is_none().then_some((key.as_str(), value.as_array()?))
    }

    /// All fields of objects, the shallowest first, by key.
    fn all(&self) -> Vec<(Vec<&str>, &Value)> {
        let mut all: Vec<(Vec<&str>, &Value)> = Vec::new();
        let mut level: Vec<(Vec<&str>, &Map<String, Value>)> = vec![(Vec::new(), self.0)];
        for _ in 0..LEVELS {
            let mut deeper = Vec::new();
            for (path, object) in level {
                let mut keys: Vec<_> = object.iter().collect();
                keys.sort_unstable_by_key(|&(key, _)| key);
                for (key, value) in keys {
                    let path: Vec<&str> = path.iter().copied().chain([key.as_str()]).collect();
                    if let Value::Object(inner) = value {
                        deeper.push((path.clone(), inner));
                    }
                    all.push((path, value));
                }
            }
            level = deeper;
        }
        all
    }
}

/// A sentence that grows.
struct Sentence(Vec<Part>);

impl Sentence {
    fn begin(words: impl Into<String>) -> Self {
        Self(vec![Part::Words(words.into())])
    }

    fn and(mut self, words: &str, field: Option<FieldPath>) -> Self {
        if let Some(field) = field {
            self.0.push(Part::Words(words.to_owned()));
            self.0.push(Part::Field(field));
        }
        self
    }

    fn words(mut self, words: impl Into<String>) -> Self {
        self.0.push(Part::Words(words.into()));
        self
    }
}

fn payment(action: &Action, fields: &Fields<'_>) -> Option<Vec<Part>> {
    const NOUNS: [&str; 9] = [
        "payment",
        "payments",
        "payout",
        "payouts",
        "transfer",
        "transfers",
        "wire",
        "remittance",
        "invoice",
    ];
    let pays = action.verb.as_deref() == Some("pay");
    let is_payment = action.says(&NOUNS) && action.just_does(&["pay", "transfer", "wire"]);
    // An invoice that is created or sent is no payment yet.
    let is_only_billed = action.says(&["invoice"]) && !pays;
    if !(pays || is_payment) || is_only_billed {
        return None;
    }
    let to = fields.one_of(&RECIPIENTS);
    let invoice = fields.one_of(&["invoice", "invoice_id", "invoice_number", "invoiceId"]);
    if let Some(amount) = fields.amount() {
        let verb = if action.says(&["transfer", "transfers", "wire"]) { "Transfer" } else { "Pay" };
        return Some(
            Sentence::begin(verb).and(" ", Some(amount)).and(" to ", to).and(" for invoice ", invoice).0,
        );
    }
    if let Some((_, items)) = fields.list() {
        return Some(batch(items, "payments"));
    }
    match (pays, invoice) {
        (true, Some(invoice)) => {
            Some(Sentence::begin("Pay invoice").and(" ", Some(invoice)).and(" of ", to).0)
        }
        _ if action.says(&["payment", "payout"]) => Some(Sentence::begin("Make a payment").and(" to ", to).0),
        _ => None,
    }
}

fn refund(action: &Action, fields: &Fields<'_>) -> Option<Vec<Part>> {
    if !action.says(&["refund", "refunds"]) || !action.just_does(&["refund", "pay"]) {
        return None;
    }
    let to = fields.one_of(&["to", "customer", "recipient", "customer_email", "email", "buyer"]);
    let order =
        fields.one_of(&["order", "order_id", "orderId", "invoice", "invoice_id", "charge", "charge_id"]);
    if let Some(amount) = fields.amount().filter(|amount| amount.keys().len() == 1 || fields.list().is_none())
    {
        let count = fields.list().map(|(_, items)| items.len());
        let sentence =
            Sentence::begin("Refund").and(" ", Some(amount)).and(" to ", to).and(" for order ", order);
        return Some(match count {
            Some(count) => sentence.words(format!(" in {} refunds", grouped(count))).0,
            None => sentence.0,
        });
    }
    match fields.list() {
        Some((_, items)) => Some(batch(items, "refunds")),
        None => Some(Sentence::begin("Make a refund").and(" to ", to).and(" for order ", order).0),
    }
}

/// Many of a kind, with their sum where they all say their amount in one currency.
fn batch(items: &[Value], what: &str) -> Vec<Part> {
    let count = grouped(items.len());
    let sum = sum_of(items).map_or_else(String::new, |sum| format!(": {sum} in all"));
    Sentence::begin(format!("Make {count} {what}{sum}")).0
}

/// The sum of amounts in one currency; exact, or none.
fn sum_of(items: &[Value]) -> Option<String> {
    const DECIMALS: usize = 6;
    let mut currency = None;
    let mut sum: i128 = 0;
    for item in items {
        let fields = item.as_object()?;
        let (_, code) = currency_of(fields)?;
        if *currency.get_or_insert(code) != code {
            return None;
        }
        let mut amounts =
            fields.iter().filter(|(key, value)| is_amount(key) && decimal_text(value).is_some());
        let (key, value) = amounts.next()?;
        if amounts.next().is_some() {
            return None;
        }
        // Worded first, so that cents are read as cents.
        let text = super::money::amount(key, value, code)?.replace(',', "");
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        if fraction.len() > DECIMALS {
            return None;
        }
        sum = sum.checked_add(format!("{whole}{fraction:0<DECIMALS$}").parse().ok()?)?;
    }
    let code = currency?;
    let sign = if sum < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", sum.unsigned_abs(), width = DECIMALS + 1);
    let (whole, fraction) = digits.split_at(digits.len() - DECIMALS);
    let fraction = fraction.trim_end_matches('0');
    let text =
        if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") };
    Some(format!("{} {code}", grouped_decimal(&text, minor_units(code)?)))
}

fn email(action: &Action, fields: &Fields<'_>) -> Option<Vec<Part>> {
    let is_email =
        action.says(&["email", "mail", "emails"]) && action.just_does(&["reply", "forward", "email", "post"]);
    if !is_email {
        return None;
    }
    let begin = match action.verb.as_deref() {
        Some("reply") => "Reply by email",
        Some("forward") => "Forward an email",
        _ => "Send an email",
    };
    let to = fields.one_of(&["to", "recipient", "recipients", "email", "address", "bcc", "cc"]);
    Some(Sentence::begin(begin).and(" to ", to).and(": ", fields.one_of(&["subject", "title"])).0)
}

fn message(action: &Action, fields: &Fields<'_>) -> Option<Vec<Part>> {
    const NOUNS: [&str; 8] =
        ["message", "messages", "sms", "chat", "dm", "notification", "slack", "telegram"];
    if !action.says(&NOUNS) || !action.just_does(&["post", "reply"]) {
        return None;
    }
    let begin = if action.says(&["sms"]) {
        "Send a text message"
    } else if action.says(&["slack"]) {
        "Send a Slack message"
    } else if action.says(&["telegram"]) {
        "Send a Telegram message"
    } else if action.says(&["notification"]) {
        "Send a notification"
    } else {
        "Send a message"
    };
    let to = fields.one_of(&["to", "channel", "recipient", "recipients", "phone", "user", "chat_id"]);
    Some(Sentence::begin(begin).and(" to ", to).0)
}

fn deployment(action: &Action, fields: &Fields<'_>) -> Option<Vec<Part>> {
    const WHAT: [&str; 11] = [
        "service",
        "app",
        "application",
        "project",
        "function",
        "stack",
        "repo",
        "repository",
        "image",
        "artifact",
        "name",
    ];
    let is_deployment = action.verb.as_deref() == Some("deploy")
        || (action.says(&["deploy", "deployment", "rollout"]) && action.just_does(&[]));
    if !is_deployment {
        return None;
    }
    let what = fields.one_of(&WHAT);
    let version = fields.one_of(&["version", "tag", "release", "ref", "sha", "commit", "revision", "build"]);
    let place = fields.one_of(&PLACES);
    if what.is_none() && version.is_none() && place.is_none() {
        return None;
    }
    let sentence = Sentence::begin("Deploy").and(" ", what).and(" ", version);
    Some(match place {
        Some(place) => sentence.and(" to ", Some(place)).0,
        None if action.says(&["production", "prod"]) => sentence.words(" to production").0,
        None if action.says(&["staging"]) => sentence.words(" to staging").0,
        None => sentence.0,
    })
}

fn command(action: &Action, fields: &Fields<'_>) -> Option<Vec<Part>> {
    const NOUNS: [&str; 11] = [
        "shell",
        "command",
        "bash",
        "terminal",
        "cmd",
        "process",
        "script",
        "exec",
        "sql",
        "query",
        "statement",
    ];
    if !action.says(&NOUNS) && !matches!(action.verb.as_deref(), Some("run" | "exec" | "execute")) {
        return None;
    }
    if !action.just_does(&["query"]) {
        return None;
    }
    let host = fields.one_of(&["host", "hostname", "server", "machine"]);
    let database = fields.one_of(&["database", "db"]);
    let sql = fields.one_of(&["sql", "query", "statement"]);
    if let Some(sql) = sql {
        return Some(Sentence::begin("Run SQL").and(": ", Some(sql)).and(" on ", database.or(host)).0);
    }
    let line = fields.one_of(&["command", "cmd", "argv", "script", "args", "code", "line"])?;
    Some(Sentence::begin("Run").and(" ", Some(line)).and(" on ", host).0)
}

/// `Delete user alice`, `Create an invoice`.
fn plain_sentence(action: &Action, fields: &Fields<'_>) -> Option<Vec<Part>> {
    // What is deployed would have been found by now; the rest of the name is no noun.
    let verb = action.verb.as_deref().filter(|_| !action.says(&["deploy"]))?;
    if action.noun.is_empty() {
        return None;
    }
    let mut begin: String = verb.chars().take(1).map(|first| first.to_ascii_uppercase()).collect();
    begin.extend(verb.chars().skip(1));
    let noun = action.noun.join(" ");
    let own = [noun.replace(' ', "_"), format!("{}_id", noun.replace(' ', "_")), format!("{noun}Id")];
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let identity = fields.one_of(&own).or_else(|| fields.one_of(&IDENTITIES));
    let amount = fields.amount();
    let place = fields.one_of(&["environment", "env"]);
    let name_it = identity.is_some();
    // A singular noun that nothing names needs its article.
    let article = match noun.chars().next() {
        _ if name_it || noun.ends_with('s') => "",
        Some('a' | 'e' | 'i' | 'o' | 'u') => "an ",
        Some(_) | None => "a ",
    };
    let sentence = Sentence::begin(format!("{begin} {article}{noun}"));
    Some(sentence.and(" ", identity).and(" in ", place).and(": ", amount).0)
}

#[cfg(test)]
mod tests;
