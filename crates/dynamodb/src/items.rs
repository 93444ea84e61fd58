//! Items: what is where in the tables, and the way from a record to an item and back. No request is made here.
//!
//! In `requests`, by partition and sort key:
//!
//! - `r#<key>`, `r`: a request.
//! - `m#<approval_id>`, `<message id>`: a message that must go out. Its id names its approval, so it is found by its id
//!   alone, and all messages of one approval lie together, where one consistent query sees them.
//! - `hooks`, `<client>#<hook id>`: a subscription.
//! - `policy`, `<version>`: an installed policy; the version has leading zeros, so that the last one is the newest.
//! - `quota#<client>`, `<minute>`: how much of an allowance is used up.
//! - `marks`, `<name>`: a name that is remembered for a while.
//! - `twin#<client>#<payload digest>`, `a#<action>`: the requests for exactly that which wait.
//!
//! In `audit`, by `subject` and `seq`, an item is an entry: each of its fields is an attribute.

use std::collections::HashMap;
use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use placet_core::Timestamp;
use placet_core::audit::{About, AuditEntry};
use placet_core::id::{ApprovalId, ClientId, HookId, RequestId, RequestKey};
use placet_core::request::{ApprovalRequest, Request, RequestState, State};
use placet_gate::Fault;
use placet_gate::ports::{Hook, OutboxMessage, PolicyRecord};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub(crate) const PK: &str = "pk";
pub(crate) const SK: &str = "sk";
pub(crate) const DUE_PK: &str = "due_pk";
pub(crate) const DUE_AT: &str = "due_at";
pub(crate) const PENDING_PK: &str = "pending_pk";
pub(crate) const CLIENT: &str = "client";
pub(crate) const APPROVAL_ID: &str = "approval_id";
pub(crate) const STATUS: &str = "status";
pub(crate) const ENDED_AT: &str = "ended_at";
pub(crate) const ASKED: &str = "asked";
pub(crate) const LIFE: &str = "life";
pub(crate) const VERSION: &str = "version";
pub(crate) const REQUEST_KEY: &str = "request_key";
pub(crate) const WHAT: &str = "what";
pub(crate) const ATTEMPT: &str = "attempt";
pub(crate) const CREATED_AT: &str = "created_at";
pub(crate) const CLAIM: &str = "claim";
pub(crate) const WAITING: &str = "waiting";
pub(crate) const EXPIRES_AT: &str = "expires_at";
pub(crate) const SUBJECT: &str = "subject";
pub(crate) const SEQ: &str = "seq";
const HOOK: &str = "hook";
const TEXT: &str = "text";
const SHA256: &str = "sha256";
const INSTALLED_AT: &str = "installed_at";

/// Partition of the index [`crate::DUE_INDEX`] that has the stages which close.
pub(crate) const CLOSES: &str = "closes";

/// Partition of the index [`crate::DUE_INDEX`] that has the messages.
pub(crate) const SENDS: &str = "sends";

/// The one partition of the index [`crate::PENDING_INDEX`].
pub(crate) const PENDING: &str = "pending";

/// The partition of all subscriptions.
pub(crate) const HOOKS: &str = "hooks";

/// The partition of all marks.
pub(crate) const MARKS: &str = "marks";

/// The partition of all policies.
pub(crate) const POLICY: &str = "policy";

/// Attributes by name.
pub(crate) type Item = HashMap<String, AttributeValue>;

pub(crate) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(crate) fn number(value: impl Display) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(crate) fn address(pk: impl Into<String>, sk: impl Into<String>) -> Item {
    item([(PK, text(pk)), (SK, text(sk))])
}

pub(crate) fn item<const N: usize>(attributes: [(&str, AttributeValue); N]) -> Item {
    attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Where a request lies.
pub(crate) fn request_address(key: RequestKey) -> Item {
    address(format!("r#{key}"), "r")
}

/// The request whose address that is.
pub(crate) fn request_key(item: &Item) -> Result<RequestKey, Fault> {
    let pk = string(item, PK)?;
    pk.strip_prefix("r#").and_then(key_from_hex).ok_or_else(|| unreadable(PK))
}

/// The part of a request's item that changes.
pub(crate) struct LifeColumns {
    pub(crate) json: String,
    pub(crate) status: &'static str,
    pub(crate) stands: Stands,
}

/// Whether a request waits, and until when; or since when it has not.
pub(crate) enum Stands {
    Closes(Timestamp),
    Ended { at: Timestamp, expires_at: i64 },
}

impl LifeColumns {
    pub(crate) fn of(life: &RequestState, keep_seconds: i64) -> Result<Self, Fault> {
        let json = to_json(life)?;
        Ok(match &life.state {
            State::Pending(pending) => {
                Self { json, status: PENDING, stands: Stands::Closes(pending.closes_at) }
            }
            State::Ended(outcome) => {
                let at = outcome.decided_at;
                let expires_at = at.seconds().saturating_add(keep_seconds);
                Self { json, status: outcome.status.as_str(), stands: Stands::Ended { at, expires_at } }
            }
        })
    }
}

/// A new request.
pub(crate) fn new_request(asked: &ApprovalRequest, life: LifeColumns) -> Result<Item, Fault> {
    let mut new = request_address(asked.key());
    new.extend(item([
        (ASKED, text(to_json(asked)?)),
        (LIFE, text(life.json)),
        (VERSION, number(1)),
        (CLIENT, text(asked.client.as_str())),
        (APPROVAL_ID, text(asked.approval_id.as_str())),
        (STATUS, text(life.status)),
    ]));
    match life.stands {
        Stands::Closes(at) => new.extend(item([
            (DUE_PK, text(CLOSES)),
            (DUE_AT, number(at.millis())),
            (PENDING_PK, text(PENDING)),
        ])),
        Stands::Ended { at, expires_at } => {
            new.extend(item([(ENDED_AT, number(at.millis())), (EXPIRES_AT, number(expires_at))]));
        }
    }
    Ok(new)
}

pub(crate) fn request(item: &Item) -> Result<Request, Fault> {
    let asked: ApprovalRequest = json(item, ASKED)?;
    Ok(Request { asked: Arc::new(asked), life: json(item, LIFE)?, version: parsed(item, VERSION)? })
}

/// Where a message lies: its id says which approval it is of.
pub(crate) fn message_address(id: &str) -> Result<Item, Fault> {
    let named = id.strip_prefix("msg_").and_then(|rest| rest.get(..26));
    let approval = named.and_then(|text| ApprovalId::parse(text).ok());
    let approval = approval.ok_or(Fault::bare("a message's id does not name its approval"))?;
    Ok(address(messages_of(&approval), id))
}

/// The partition of an approval's messages.
pub(crate) fn messages_of(approval: &ApprovalId) -> String {
    format!("m#{approval}")
}

pub(crate) fn new_message(outgoing: &OutboxMessage, keep_seconds: i64) -> Result<Item, Fault> {
    let mut new = message_address(&outgoing.id)?;
    if new.get(PK) != Some(&text(messages_of(&outgoing.approval_id))) {
        return Err(Fault::bare("a message's id names another approval"));
    }
    new.extend(item([
        (REQUEST_KEY, text(outgoing.key.to_string())),
        (WHAT, text(to_json(&outgoing.what)?)),
        (ATTEMPT, number(outgoing.attempt)),
        (CREATED_AT, number(outgoing.created_at.millis())),
        (DUE_PK, text(SENDS)),
        (DUE_AT, number(outgoing.due_at.millis())),
        (EXPIRES_AT, number(message_expires_at(outgoing.due_at, keep_seconds))),
    ]));
    Ok(new)
}

/// Counted from when it is due: what is still tried never expires.
pub(crate) fn message_expires_at(due_at: Timestamp, keep_seconds: i64) -> i64 {
    due_at.seconds().saturating_add(keep_seconds)
}

pub(crate) fn outgoing(item: &Item) -> Result<OutboxMessage, Fault> {
    let approval = string(item, PK)?.strip_prefix("m#").and_then(|text| ApprovalId::parse(text).ok());
    Ok(OutboxMessage {
        id: string(item, SK)?.to_owned(),
        key: key_from_hex(string(item, REQUEST_KEY)?).ok_or_else(|| unreadable(REQUEST_KEY))?,
        approval_id: approval.ok_or_else(|| unreadable(PK))?,
        what: json(item, WHAT)?,
        attempt: parsed(item, ATTEMPT)?,
        created_at: parsed(item, CREATED_AT).map(Timestamp::from_millis)?,
        due_at: due_at(item)?,
    })
}

pub(crate) fn due_at(item: &Item) -> Result<Timestamp, Fault> {
    parsed(item, DUE_AT).map(Timestamp::from_millis)
}

pub(crate) fn hook_address(client: &ClientId, hook: &HookId) -> Item {
    address(HOOKS, format!("{client}#{hook}"))
}

pub(crate) fn new_hook(hook: &Hook) -> Result<Item, Fault> {
    let mut new = hook_address(&hook.client, &hook.id);
    new.extend(item([(HOOK, text(to_json(hook)?))]));
    Ok(new)
}

pub(crate) fn hook(item: &Item) -> Result<Hook, Fault> {
    json(item, HOOK)
}

pub(crate) fn new_policy(policy: &PolicyRecord) -> Item {
    // Ten digits: every `u32` has its place in the order.
    let mut new = address(POLICY, format!("{:010}", policy.version));
    new.extend(item([
        (TEXT, text(policy.text.as_str())),
        (SHA256, text(policy.sha256.as_str())),
        (INSTALLED_AT, number(policy.installed_at.millis())),
    ]));
    new
}

pub(crate) fn policy(item: &Item) -> Result<PolicyRecord, Fault> {
    Ok(PolicyRecord {
        version: string(item, SK)?.parse().map_err(|_| unreadable(SK))?,
        text: string(item, TEXT)?.to_owned(),
        sha256: string(item, SHA256)?.to_owned(),
        installed_at: parsed(item, INSTALLED_AT).map(Timestamp::from_millis)?,
    })
}

/// Where those who wait for exactly that are named.
pub(crate) fn twin_address(client: &str, payload_sha256: &str, action: &str) -> Item {
    address(format!("twin#{client}#{payload_sha256}"), format!("a#{action}"))
}

/// [`twin_address`] of what an audit entry is about.
pub(crate) fn twin_address_about(about: &About) -> Item {
    twin_address(&about.client, &about.payload_sha256, &about.action)
}

/// One who waits. The text begins with the `approval_id`, so the least is the oldest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Holder(String);

impl Holder {
    pub(crate) fn new(approval_id: &str, request_id: &str) -> Self {
        Self(format!("{approval_id}#{request_id}"))
    }

    pub(crate) fn approval_id(&self) -> &str {
        self.0.split_once('#').map_or("", |(approval, _)| approval)
    }

    pub(crate) fn request_id(&self) -> Option<RequestId> {
        self.0.split_once('#').and_then(|(_, request_id)| RequestId::parse(request_id).ok())
    }

    /// As one of a set.
    pub(crate) fn member(&self) -> AttributeValue {
        text(self.0.as_str())
    }

    /// As a set of one.
    pub(crate) fn set(&self) -> AttributeValue {
        AttributeValue::Ss(vec![self.0.clone()])
    }
}

/// All who wait, the oldest first.
pub(crate) fn holders(item: &Item) -> Vec<Holder> {
    let mut holders: Vec<Holder> = match item.get(WAITING) {
        Some(AttributeValue::Ss(members)) => members.iter().cloned().map(Holder).collect(),
        Some(_) | None => Vec::new(),
    };
    holders.sort();
    holders
}

/// An entry's item. Only a request's entries expire: the ends of the other chains must always be found.
pub(crate) fn new_entry(entry: &AuditEntry, keep_seconds: i64) -> Result<Item, Fault> {
    let fields = serde_json::to_value(entry)
        .map_err(|error| Fault::new("a record could not be written as JSON", error))?;
    let Value::Object(fields) = fields else { return Err(Fault::bare("an audit entry has no fields")) };
    let mut new = Item::new();
    for (name, value) in fields {
        let value = match value {
            Value::Null => continue,
            Value::Bool(value) => AttributeValue::Bool(value),
            Value::Number(value) => number(value),
            Value::String(value) => text(value),
            Value::Array(_) | Value::Object(_) => {
                return Err(Fault::bare("an audit entry has a field that is no attribute"));
            }
        };
        new.insert(name, value);
    }
    if entry.about.is_some() {
        let expires_at = entry.timestamp.seconds().saturating_add(keep_seconds);
        new.insert(EXPIRES_AT.to_owned(), number(expires_at));
    }
    Ok(new)
}

pub(crate) fn entry(item: &Item) -> Result<AuditEntry, Fault> {
    let mut fields = serde_json::Map::new();
    for (name, value) in item {
        let value = match value {
            AttributeValue::S(value) => Value::String(value.clone()),
            AttributeValue::Bool(value) => Value::Bool(*value),
            AttributeValue::N(value) => serde_json::from_str(value).map_err(unread)?,
            _ => return Err(Fault::bare("an audit entry has an attribute that is no field")),
        };
        fields.insert(name.clone(), value);
    }
    fields.remove(EXPIRES_AT);
    serde_json::from_value(Value::Object(fields)).map_err(unread)
}

fn key_from_hex(hex: &str) -> Option<RequestKey> {
    let mut bytes = [0; 16];
    if hex.len() != 32 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let number = u128::from_str_radix(hex, 16).ok()?;
    bytes.copy_from_slice(&number.to_be_bytes());
    Some(RequestKey::from_bytes(bytes))
}

pub(crate) fn string<'i>(item: &'i Item, name: &'static str) -> Result<&'i str, Fault> {
    match item.get(name) {
        Some(AttributeValue::S(text)) => Ok(text),
        Some(_) | None => Err(unreadable(name)),
    }
}

fn parsed<T: FromStr>(item: &Item, name: &'static str) -> Result<T, Fault> {
    match item.get(name) {
        Some(AttributeValue::N(text)) => text.parse().map_err(|_| unreadable(name)),
        Some(_) | None => Err(unreadable(name)),
    }
}

fn json<T: DeserializeOwned>(item: &Item, name: &'static str) -> Result<T, Fault> {
    serde_json::from_str(string(item, name)?).map_err(unread)
}

fn to_json<T: Serialize>(value: &T) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(|error| Fault::new("a record could not be written as JSON", error))
}

fn unread(error: serde_json::Error) -> Fault {
    Fault::new("a stored record could not be read", error)
}

fn unreadable(name: &'static str) -> Fault {
    Fault::new("a stored record could not be read", format!("its attribute `{name}` is missing or malformed"))
}

#[cfg(test)]
mod tests {
    use placet_core::audit::{AuditEventKind, ChainHead};
    use placet_core::request::Status;
    use placet_gate::ports::{Commit, RequestWrite};
    use placet_testkit::{FixedClock, sample};

    use super::*;

    const START: Timestamp = FixedClock::START;

    fn life_of(commit: &Commit) -> RequestState {
        match &commit.request {
            Some(RequestWrite::Insert { life, .. } | RequestWrite::Update { life, .. }) => life.clone(),
            None => unreachable!("this commit writes no request"),
        }
    }

    #[test]
    fn a_request_comes_back_as_it_was() {
        let asked = sample::asked("n8n", "r1", START);
        let life = life_of(&sample::insert(&asked));
        let item = new_request(&asked, LifeColumns::of(&life, 60).unwrap()).unwrap();
        assert_eq!(request_key(&item).unwrap(), asked.key());
        assert_eq!(request(&item).unwrap(), Request { asked: Arc::new(asked), life, version: 1 });
    }

    #[test]
    fn only_what_waits_is_in_the_sparse_indexes() {
        let asked = sample::asked("n8n", "r1", START);
        let waiting = life_of(&sample::insert(&asked));
        let ended = sample::ended(&waiting, Status::Approved, START.plus_millis(1500));
        let waiting = new_request(&asked, LifeColumns::of(&waiting, 60).unwrap()).unwrap();
        assert_eq!(waiting.get(DUE_AT), Some(&number(START.millis() + 600_000)));
        assert_eq!((waiting.get(ENDED_AT), waiting.get(EXPIRES_AT)), (None, None));
        let ended = new_request(&asked, LifeColumns::of(&ended, 60).unwrap()).unwrap();
        assert_eq!((ended.get(DUE_PK), ended.get(DUE_AT), ended.get(PENDING_PK)), (None, None, None));
        assert_eq!(ended.get(ENDED_AT), Some(&number(START.millis() + 1500)));
        assert_eq!(ended.get(EXPIRES_AT), Some(&number(START.seconds() + 61)));
    }

    #[test]
    fn a_message_is_found_by_its_id_alone() {
        let asked = sample::asked("n8n", "r1", START);
        let letter = sample::letter(&asked, START.plus_millis(30_000));
        let item = new_message(&letter, 60).unwrap();
        assert_eq!(outgoing(&item).unwrap(), letter);
        let address = message_address(&letter.id).unwrap();
        assert!(address.iter().all(|(name, value)| item.get(name) == Some(value)));
        let another = sample::asked("n8n", "r2", START).approval_id;
        for faulty in [
            OutboxMessage { id: "callback".into(), ..letter.clone() },
            OutboxMessage { id: "msg_€€€€€€€€€€".into(), ..letter.clone() },
            OutboxMessage { approval_id: another, ..letter.clone() },
        ] {
            assert!(new_message(&faulty, 60).is_err(), "{faulty:?}");
        }
    }

    #[test]
    fn each_field_of_an_entry_is_an_attribute_and_comes_back() {
        let commit = sample::insert(&sample::asked("n8n", "r1", START));
        let mut chain = ChainHead::default();
        let of_policy = chain.append("policy", None, sample::draft(AuditEventKind::PolicyInstalled, START));
        for (original, expires) in [(commit.audit.first().unwrap(), true), (&of_policy, false)] {
            let item = new_entry(original, 60).unwrap();
            assert_eq!(item.get("event"), Some(&text(original.event.as_str())));
            assert_eq!(item.get(SEQ), Some(&number(original.seq)));
            assert_eq!(item.contains_key(EXPIRES_AT), expires);
            let back = entry(&item).unwrap();
            assert_eq!(&back, original);
            assert_eq!(back.computed_hash(), original.hash);
        }
    }

    #[test]
    fn policies_are_in_the_order_of_their_versions() {
        let item = new_policy(&sample::policy_record(11));
        assert_eq!(policy(&item).unwrap(), sample::policy_record(11));
        let sk = |version| new_policy(&sample::policy_record(version)).remove(SK);
        assert_eq!(sk(9), Some(text("0000000009")));
        assert_eq!(sk(u32::MAX), Some(text("4294967295")));
    }

    #[test]
    fn the_oldest_of_those_who_wait_comes_first() {
        let ids = ["01B", "01A", "01C"].map(|approval| format!("{approval}#r.1:{approval}"));
        let found = holders(&item([(WAITING, AttributeValue::Ss(ids.to_vec()))]));
        let names: Vec<&str> = found.iter().map(Holder::approval_id).collect();
        assert_eq!(names, ["01A", "01B", "01C"]);
        assert_eq!(found.first().and_then(Holder::request_id), RequestId::parse("r.1:01A").ok());
        assert_eq!(holders(&Item::new()), []);
    }
}
