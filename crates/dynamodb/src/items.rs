//! Items: what is where in the tables, and the way from a record to an item and back. No request is made here.
//!
//! In `requests`, by partition and sort key:
//!
//! - `r#<key>`, `r`: a request.
//! - `m#<approval_id>`, `<message id>`: a message about an approval. Its id names it, so it is found by its id alone.
//! - `m#gate`, `<message id>`: a message about the gate as a whole.
//! - `past#<day>`, `<message id>`: how a message ended that was about an approval of that UTC day.
//! - `hooks`, `<client>#<hook id>`: a subscription.
//! - `policy`, `<version>`: an installed policy; the version has leading zeros, so that the last one is the newest.
//! - `policytext`, `<digest>`: what a policy says, once for all versions that say the same.
//! - `quota#<client>`, `<minute>`: how much of an allowance is used up.
//! - `marks`, `<name>`: a name that is remembered for a while.
//! - `alike#<client>#<payload digest>`, `a#<action>`: the requests for exactly that which wait.
//! - `voted#<reviewer>`, `<time>#<request key>`: that this reviewer has voted on that request.
//! - `tally#<account>`, `<time>#<request key>`: what a request adds to a running total.
//! - `tally#<account>`, `v`: how often something was added to it.
//! - `waiting#<client>`, `n`: how many of a client's requests wait.
//! - `seal#…` and `log`: what is not in the transparency log yet, and its head (`log.rs`).
//! - `sent#<approval_id>`, `<name>`: a message that a person has got.
//! - `push#<reviewer>`, `<device>`: a device on which that reviewer has switched push on.
//! - `count#<name>`, `n`: how often something happened, for a while.
//!
//! In `audit`, by `subject` and `seq`, an item is an entry: each of its fields is an attribute. What begins with `log#` is
//! of the transparency log (`log.rs`).
//!
//! Every item says in `v` which version of this layout it has. What a newer version has written is refused as that.
//!
//! The index by time is spread over [`SHARDS`] partitions of each kind, by the request that it is about: one alone would
//! be the limit of the whole table.

use std::collections::HashMap;
use std::fmt::Display;
use std::str::FromStr;

use aws_sdk_dynamodb::types::AttributeValue;
use placet_audit::StoredEntry;
use placet_core::Timestamp;
use placet_core::audit::{AuditEntry, RequestFacts};
use placet_core::id::{ApprovalId, ClientId, HookId, RequestId, RequestKey, ReviewerId};
use placet_core::payload::sha256_hex;
use placet_core::request::stored::{self as requests, Unreadable};
use placet_core::request::{ApprovalRequest, Phase, Request, RequestState};
use placet_core::tally::Tally;
use placet_gate::ports::{
    Hook, MessageEnd, OutboxMessage, OutboxSubject, PastMessage, PolicyRecord, PushDevice, SentMessage,
};
use placet_gate::{Fault, stored};
use serde_json::Value;

pub(crate) const PK: &str = "pk";
pub(crate) const SK: &str = "sk";
pub(crate) const DUE_PK: &str = "due_pk";
pub(crate) const DUE_AT: &str = "due_at";
pub(crate) const CLIENT: &str = "client";
pub(crate) const APPROVAL_ID: &str = "approval_id";
pub(crate) const STATUS: &str = "status";
pub(crate) const ENDED_AT: &str = "ended_at";
pub(crate) const QUESTION: &str = "question";
pub(crate) const STATE: &str = "state";
pub(crate) const VERSION: &str = "version";
pub(crate) const REQUEST_KEY: &str = "request_key";
pub(crate) const PAYLOAD: &str = "payload";
pub(crate) const ATTEMPT: &str = "attempt";
pub(crate) const CREATED_AT: &str = "created_at";
pub(crate) const CLAIM: &str = "claim";
pub(crate) const WAITING: &str = "waiting";
pub(crate) const COUNT: &str = "count";
pub(crate) const FORMAT_VERSION: &str = "v";
pub(crate) const EXPIRES_AT: &str = "expires_at";
pub(crate) const SUBJECT: &str = "subject";
pub(crate) const SEQ: &str = "seq";
const AWAY: &str = "away";
const AMOUNT: &str = "amount";
const IS_DELIVERED: &str = "is_delivered";
const HOOK: &str = "hook";
const DEVICE: &str = "device";
const SENT: &str = "sent";

/// What was added up is kept for so long: longer than the longest while of a total.
pub(crate) const TALLY_SECONDS: i64 = 31 * 24 * 60 * 60;

const TEXT: &str = "text";
const SHA256: &str = "sha256";
const INSTALLED_AT: &str = "installed_at";

/// The version of this layout that this build writes, and the newest that it reads. The records within have their own.
const FORMAT: u32 = 1;

/// For how long an entry is kept beyond its retention, so that the horizon has moved past it when it goes.
pub(crate) const GRACE_SECONDS: i64 = 7 * 24 * 60 * 60;

/// Over how many partitions of the index [`crate::DUE_INDEX`] each kind is spread.
pub(crate) const SHARDS: u8 = 8;

/// What the index [`crate::DUE_INDEX`] holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Stages that close.
    Closes,
    /// Messages that must go out.
    Sends,
}

impl Due {
    /// One of its partitions.
    pub(crate) fn partition(self, shard: u8) -> String {
        match self {
            Self::Closes => format!("closes#{shard}"),
            Self::Sends => format!("sends#{shard}"),
        }
    }

    /// The partition for what is about that request. A key is a digest: its bytes are spread evenly.
    fn of(self, key: Option<RequestKey>) -> AttributeValue {
        text(self.partition(key.map_or(0, |key| key.as_bytes()[0] % SHARDS)))
    }
}

/// The status of a request that waits.
pub(crate) const PENDING: &str = "pending";

/// The partition of a reviewer's devices.
pub(crate) fn push_partition(reviewer: &ReviewerId) -> String {
    format!("push#{reviewer}")
}

pub(crate) fn push_address(reviewer: &ReviewerId, device: &str) -> Item {
    address(push_partition(reviewer), device)
}

pub(crate) fn new_push_device(device: &PushDevice) -> Result<Item, Fault> {
    let mut new = new_item(push_address(&device.reviewer, &device.id()));
    new.insert(DEVICE.to_owned(), text(stored::write_push_device(device)?));
    Ok(new)
}

pub(crate) fn push_device(item: &Item) -> Result<PushDevice, Fault> {
    stored::read_push_device(check_format(item)?, string(item, DEVICE)?).map_err(stored::fault)
}

/// The partition of the messages about the gate as a whole.
const OF_THE_GATE: &str = "m#gate";

/// The partition of all subscriptions.
pub(crate) const HOOKS: &str = "hooks";

/// The partition of all marks.
pub(crate) const MARKS: &str = "marks";

/// The partition of all policies.
pub(crate) const POLICY: &str = "policy";
const POLICY_TEXT: &str = "policytext";

/// The longest that a request may wait, in seconds.
const LONGEST_WAIT_SECONDS: i64 = placet_core::policy::MAX_WAIT_MS / 1000;

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
pub(crate) struct StateColumns {
    pub(crate) json: String,
    pub(crate) status: &'static str,
    pub(crate) stands: Stands,
}

/// Whether a request waits, and until when; or since when it has not.
pub(crate) enum Stands {
    Closes(Timestamp),
    Ended { at: Timestamp, expires_at: i64 },
}

impl StateColumns {
    pub(crate) fn of(state: &RequestState, keep_seconds: i64) -> Result<Self, Fault> {
        let json = requests::write_state(state).map_err(unwritable)?;
        let status = state.status().as_str();
        Ok(match state.phase() {
            Phase::Pending(pending) => Self { json, status, stands: Stands::Closes(pending.closes_at) },
            Phase::Ended(outcome) => {
                let at = outcome.decided_at;
                let expires_at = at.seconds().saturating_add(keep_seconds);
                Self { json, status, stands: Stands::Ended { at, expires_at } }
            }
        })
    }
}

/// A new request.
pub(crate) fn new_request(asked: &ApprovalRequest, state: StateColumns) -> Result<Item, Fault> {
    let mut new = new_item(request_address(asked.key()));
    new.extend(item([
        (QUESTION, text(requests::write_question(asked).map_err(unwritable)?)),
        (STATE, text(state.json)),
        (VERSION, number(1)),
        (CLIENT, text(asked.client.as_str())),
        (APPROVAL_ID, text(asked.approval_id.as_str())),
        (STATUS, text(state.status)),
    ]));
    match state.stands {
        Stands::Closes(at) => {
            new.extend(item([(DUE_PK, Due::Closes.of(Some(asked.key()))), (DUE_AT, number(at.millis()))]));
        }
        Stands::Ended { at, expires_at } => {
            new.extend(item([(ENDED_AT, number(at.millis())), (EXPIRES_AT, number(expires_at))]));
        }
    }
    Ok(new)
}

pub(crate) fn request(item: &Item) -> Result<Request, Fault> {
    check_format(item)?;
    requests::read(string(item, QUESTION)?, string(item, STATE)?, parsed(item, VERSION)?)
        .map_err(stored::fault)
}

/// Where a message lies: its id says what it is about.
pub(crate) fn message_address(id: &str) -> Result<Item, Fault> {
    if id.starts_with(&OutboxSubject::Gate.prefix()) {
        return Ok(address(OF_THE_GATE, id));
    }
    let named = id.strip_prefix("msg_").and_then(|rest| rest.get(..26));
    let approval = named.and_then(|text| ApprovalId::parse(text).ok());
    let approval = approval.ok_or(Fault::bare("a message's id does not say what it is about"))?;
    Ok(address(format!("m#{approval}"), id))
}

pub(crate) fn new_message(message: &OutboxMessage, keep_seconds: i64) -> Result<Item, Fault> {
    if !message.id.starts_with(&message.subject.prefix()) {
        return Err(Fault::bare("a message's id says that it is about something else"));
    }
    let mut new = new_item(message_address(&message.id)?);
    let key = message.subject.key();
    new.extend(item([
        (PAYLOAD, text(stored::write_payload(&message.payload)?)),
        (ATTEMPT, number(message.attempt)),
        (CREATED_AT, number(message.created_at.millis())),
        (DUE_PK, Due::Sends.of(key)),
        (DUE_AT, number(message.due_at.millis())),
        (EXPIRES_AT, number(message_expires_at(message.due_at, keep_seconds))),
    ]));
    if let Some(key) = key {
        new.insert(REQUEST_KEY.to_owned(), text(key.to_string()));
    }
    Ok(new)
}

/// Counted from when it is due: what is still tried never expires.
pub(crate) fn message_expires_at(due_at: Timestamp, keep_seconds: i64) -> i64 {
    due_at.seconds().saturating_add(keep_seconds)
}

pub(crate) fn message(item: &Item) -> Result<OutboxMessage, Fault> {
    let version = check_format(item)?;
    let pk = string(item, PK)?;
    let subject = if pk == OF_THE_GATE {
        OutboxSubject::Gate
    } else {
        let approval = pk.strip_prefix("m#").and_then(|text| ApprovalId::parse(text).ok());
        OutboxSubject::Approval {
            key: key_from_hex(string(item, REQUEST_KEY)?).ok_or_else(|| unreadable(REQUEST_KEY))?,
            approval_id: approval.ok_or_else(|| unreadable(PK))?,
        }
    };
    Ok(OutboxMessage {
        id: string(item, SK)?.to_owned(),
        subject,
        payload: stored::read_payload(version, string(item, PAYLOAD)?).map_err(stored::fault)?,
        attempt: parsed(item, ATTEMPT)?,
        created_at: parsed(item, CREATED_AT).map(Timestamp::from_millis)?,
        due_at: due_at(item)?,
    })
}

pub(crate) fn due_at(item: &Item) -> Result<Timestamp, Fault> {
    parsed(item, DUE_AT).map(Timestamp::from_millis)
}

/// The partition of what ended about approvals of that day.
pub(crate) fn past_messages_of(day: i64) -> String {
    format!("past#{day}")
}

pub(crate) fn new_past_message(past: &PastMessage, keep_seconds: i64) -> Result<Item, Fault> {
    let day = past.approval_id.drawn_at().day();
    let mut new = new_item(address(past_messages_of(day), past.id.as_str()));
    new.extend(item([
        (PAYLOAD, text(stored::write_payload(&past.payload)?)),
        (CREATED_AT, number(past.created_at.millis())),
        (ENDED_AT, number(past.ended_at.millis())),
        (IS_DELIVERED, AttributeValue::Bool(past.end == MessageEnd::Delivered)),
        (EXPIRES_AT, number(past.ended_at.seconds().saturating_add(keep_seconds))),
    ]));
    Ok(new)
}

pub(crate) fn past_message(item: &Item) -> Result<PastMessage, Fault> {
    let version = check_format(item)?;
    let id = string(item, SK)?;
    let approval = id.strip_prefix("msg_").and_then(|rest| rest.get(..26));
    let approval = approval.and_then(|text| ApprovalId::parse(text).ok());
    let is_delivered = match item.get(IS_DELIVERED) {
        Some(AttributeValue::Bool(is_delivered)) => *is_delivered,
        Some(_) | None => return Err(unreadable(IS_DELIVERED)),
    };
    Ok(PastMessage {
        id: id.to_owned(),
        approval_id: approval.ok_or_else(|| unreadable(SK))?,
        payload: stored::read_payload(version, string(item, PAYLOAD)?).map_err(stored::fault)?,
        end: if is_delivered { MessageEnd::Delivered } else { MessageEnd::GivenUp },
        created_at: parsed(item, CREATED_AT).map(Timestamp::from_millis)?,
        ended_at: parsed(item, ENDED_AT).map(Timestamp::from_millis)?,
    })
}

pub(crate) fn hook_address(client: &ClientId, hook: &HookId) -> Item {
    address(HOOKS, format!("{client}#{hook}"))
}

pub(crate) fn new_hook(hook: &Hook) -> Result<Item, Fault> {
    let mut new = new_item(hook_address(&hook.client, &hook.id));
    new.insert(HOOK.to_owned(), text(stored::write_hook(hook)?));
    Ok(new)
}

pub(crate) fn hook(item: &Item) -> Result<Hook, Fault> {
    stored::read_hook(check_format(item)?, string(item, HOOK)?).map_err(stored::fault)
}

/// The partition of the messages about an approval that people have got.
pub(crate) fn sent_partition(approval: &ApprovalId) -> String {
    format!("sent#{approval}")
}

/// A message that a person has got. It stays as long as its request can.
pub(crate) fn new_sent(sent: &SentMessage, keep_seconds: i64) -> Result<Item, Fault> {
    let mut new = new_item(address(sent_partition(&sent.approval_id), sent.name()));
    let expires_at = sent.sent_at.seconds().saturating_add(LONGEST_WAIT_SECONDS).saturating_add(keep_seconds);
    new.extend(item([(SENT, text(stored::write_sent(sent)?)), (EXPIRES_AT, number(expires_at))]));
    Ok(new)
}

pub(crate) fn sent(item: &Item) -> Result<SentMessage, Fault> {
    stored::read_sent(check_format(item)?, string(item, SENT)?).map_err(stored::fault)
}

/// Where it lies how often something happened.
pub(crate) fn count_address(name: &str) -> Item {
    address(format!("count#{name}"), "n")
}

/// In how many places it is marked that a version of the policy is installed.
///
/// Every act checks that no newer policy has come, and DynamoDB cancels transactions that meet at one item: with a single
/// place, all acts of a gate would wait for each other. The marks and the policy itself fit into one transaction.
pub(crate) const POLICY_MARKS: u32 = 80;

/// Where one of the marks lies that a version of the policy is installed.
pub(crate) fn policy_mark_address(mark: u32, version: u32) -> Item {
    address(format!("{POLICY}#{:02}", mark % POLICY_MARKS), format!("{version:010}"))
}

/// All marks of a version of the policy.
pub(crate) fn policy_marks(version: u32) -> impl Iterator<Item = Item> {
    (0..POLICY_MARKS).map(move |mark| new_item(policy_mark_address(mark, version)))
}

/// Where a version of the policy lies. Ten digits: every `u32` has its place in the order.
pub(crate) fn policy_address(version: u32) -> Item {
    address(POLICY, format!("{version:010}"))
}

pub(crate) fn new_policy(policy: &PolicyRecord) -> Result<Item, Fault> {
    let mut new = new_item(policy_address(policy.version));
    new.extend(item([
        (SHA256, text(policy.sha256.as_str())),
        (INSTALLED_AT, number(policy.installed_at.millis())),
    ]));
    if !policy.away.is_empty() {
        new.insert(AWAY.to_owned(), text(serde_json::to_string(&policy.away).map_err(unwritable)?));
    }
    Ok(new)
}

/// Where a policy's text lies, once for all versions that have it: a version that only says who is away has the text of
/// the one before.
///
/// It has a key of its own kind, so that only the operator's role may write what a policy says.
pub(crate) fn policy_text_address(sha256: &str) -> Item {
    address(POLICY_TEXT, sha256)
}

pub(crate) fn new_policy_text(policy: &PolicyRecord) -> Item {
    let mut new = new_item(policy_text_address(&policy.sha256));
    new.insert(TEXT.to_owned(), text(policy.text.as_str()));
    new
}

/// The text, if it is the one of that digest.
pub(crate) fn policy_text(item: &Item, sha256: &str) -> Result<String, Fault> {
    check_format(item)?;
    let text = string(item, TEXT)?;
    if sha256_hex(text.as_bytes()) == sha256 { Ok(text.to_owned()) } else { Err(unreadable(TEXT)) }
}

/// The digest of the text of a version of the policy.
pub(crate) fn policy_sha256(item: &Item) -> Result<&str, Fault> {
    check_format(item)?;
    string(item, SHA256)
}

pub(crate) fn policy(item: &Item, text: String) -> Result<PolicyRecord, Fault> {
    check_format(item)?;
    Ok(PolicyRecord {
        version: string(item, SK)?.parse().map_err(|_| unreadable(SK))?,
        text,
        sha256: string(item, SHA256)?.to_owned(),
        installed_at: parsed(item, INSTALLED_AT).map(Timestamp::from_millis)?,
        away: match item.get(AWAY) {
            Some(_) => serde_json::from_str(string(item, AWAY)?).map_err(|_| unreadable(AWAY))?,
            None => Vec::new(),
        },
    })
}

/// Where the requests that wait for exactly that are named.
pub(crate) fn duplicates_address(client: &str, payload_sha256: &str, action: &str) -> Item {
    address(format!("alike#{client}#{payload_sha256}"), format!("a#{action}"))
}

/// [`duplicates_address`] of what an audit entry is about.
pub(crate) fn duplicates_address_about(about: &RequestFacts) -> Item {
    duplicates_address(&about.client, &about.payload_sha256, &about.action)
}

/// A request that waits, as the list of those like it names it. It begins with the `approval_id`, so the least is the
/// oldest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WaitingRequest(String);

impl WaitingRequest {
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

/// All that wait, the oldest first.
pub(crate) fn waiting_requests(item: &Item) -> Vec<WaitingRequest> {
    let mut waiting: Vec<WaitingRequest> = match item.get(WAITING) {
        Some(AttributeValue::Ss(members)) => members.iter().cloned().map(WaitingRequest).collect(),
        Some(_) | None => Vec::new(),
    };
    waiting.sort();
    waiting
}

/// Where a client's requests that wait are counted.
pub(crate) fn waiting_count_address(client: &ClientId) -> Item {
    address(format!("waiting#{client}"), "n")
}

/// The partition of a running total.
pub(crate) fn tally_partition(account: &str) -> String {
    format!("tally#{account}")
}

/// Where a running total counts its additions.
pub(crate) fn tally_version_address(account: &str) -> Item {
    address(tally_partition(account), "v")
}

/// Behind everything that was added at that time.
pub(crate) fn tally_after(at: Timestamp) -> String {
    // `~` sorts after the key that follows the time. A time before 1970 has everything behind it.
    format!("{:014}~", at.millis().max(0))
}

/// Where what a request adds lies.
pub(crate) fn tally_address(tally: &Tally, key: RequestKey, at: Timestamp) -> Item {
    address(tally_partition(&tally.account), format!("{:014}#{key}", at.millis()))
}

/// What a request adds. As text: DynamoDB's numbers do not reach as far as doubles do.
pub(crate) fn new_tally(tally: &Tally, key: RequestKey, at: Timestamp) -> Item {
    let mut new = new_item(tally_address(tally, key, at));
    new.insert(AMOUNT.to_owned(), text(tally.amount.to_string()));
    new.insert(EXPIRES_AT.to_owned(), number(at.seconds().saturating_add(TALLY_SECONDS)));
    new
}

/// How much was added.
pub(crate) fn tally_amount(item: &Item) -> Result<f64, Fault> {
    check_format(item)?;
    string(item, AMOUNT)?.parse().map_err(|_| unreadable(AMOUNT))
}

/// The version of a running total; 0 where there is none.
pub(crate) fn tally_version(item: Option<&Item>) -> Result<u64, Fault> {
    item.map_or(Ok(0), |item| parsed(item, VERSION))
}

/// The partition of a reviewer's votes.
pub(crate) fn votes_of(reviewer: &ReviewerId) -> String {
    format!("voted#{reviewer}")
}

/// That a reviewer has voted on a request. Fourteen digits: the last one is the newest.
pub(crate) fn new_vote(
    reviewer: &ReviewerId,
    key: RequestKey,
    voted_at: Timestamp,
    keep_seconds: i64,
) -> Item {
    let at = voted_at.millis();
    let mut new = new_item(address(votes_of(reviewer), format!("{at:014}#{key}")));
    new.insert(EXPIRES_AT.to_owned(), number(voted_at.seconds().saturating_add(keep_seconds)));
    new
}

/// The request on which that vote is.
pub(crate) fn voted_on(item: &Item) -> Result<RequestKey, Fault> {
    check_format(item)?;
    let named = string(item, SK)?.split_once('#').and_then(|(_, key)| key_from_hex(key));
    named.ok_or_else(|| unreadable(SK))
}

/// An item of this build's layout, as yet without anything but its address.
pub(crate) fn new_item(address: Item) -> Item {
    let mut new = address;
    new.insert(FORMAT_VERSION.to_owned(), format_version());
    new
}

/// What items of this build's layout have in `v`.
pub(crate) fn format_version() -> AttributeValue {
    number(FORMAT)
}

/// The version of an item's layout. Refuses a newer one.
fn check_format(item: &Item) -> Result<u32, Fault> {
    let version: u32 = parsed(item, FORMAT_VERSION)?;
    if version > FORMAT { Err(stored::fault(Unreadable::Newer(version))) } else { Ok(version) }
}

/// An entry's item: its fields, and what the table needs. Only a request's entries expire: the ends of the other chains must always be found.
pub(crate) fn new_entry(entry: &AuditEntry, keep_seconds: i64) -> Result<Item, Fault> {
    let fields = serde_json::to_value(entry).map_err(unwritable)?;
    let Value::Object(fields) = fields else { return Err(Fault::bare("an audit entry has no fields")) };
    let mut new = new_item(Item::new());
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
        // Later than the trail's horizon says: what is above it is never missing.
        let expires_at = entry.timestamp.seconds().saturating_add(keep_seconds).saturating_add(GRACE_SECONDS);
        new.insert(EXPIRES_AT.to_owned(), number(expires_at));
    }
    Ok(new)
}

pub(crate) fn entry(item: &Item) -> Result<AuditEntry, Fault> {
    serde_json::from_value(Value::Object(entry_fields(item)?)).map_err(unread)
}

/// An entry as it was stored, whichever version wrote it.
pub(crate) fn stored_entry(item: &Item) -> Result<StoredEntry, Fault> {
    Ok(StoredEntry::new(Value::Object(entry_fields(item)?).to_string()))
}

/// When an entry was recorded.
pub(crate) fn recorded_at(item: &Item) -> Result<Timestamp, Fault> {
    Timestamp::parse(string(item, "timestamp")?).ok_or_else(|| unreadable("timestamp"))
}

fn entry_fields(item: &Item) -> Result<serde_json::Map<String, Value>, Fault> {
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
    fields.remove(FORMAT_VERSION);
    Ok(fields)
}

/// A whole number.
pub(crate) fn whole(item: &Item, name: &'static str) -> Result<u64, Fault> {
    parsed(item, name)
}

/// Milliseconds since the epoch.
pub(crate) fn millis(item: &Item, name: &'static str) -> Result<i64, Fault> {
    parsed(item, name)
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

pub(crate) fn parsed<T: FromStr>(item: &Item, name: &'static str) -> Result<T, Fault> {
    match item.get(name) {
        Some(AttributeValue::N(text)) => text.parse().map_err(|_| unreadable(name)),
        Some(_) | None => Err(unreadable(name)),
    }
}

fn unwritable(error: serde_json::Error) -> Fault {
    Fault::new("a record could not be written as JSON", error)
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

    fn state_of(commit: &Commit) -> RequestState {
        match &commit.request {
            Some(RequestWrite::Insert { state, .. } | RequestWrite::Update { state, .. }) => state.clone(),
            None => unreachable!("this commit writes no request"),
        }
    }

    #[test]
    fn a_request_comes_back_as_it_was() {
        let asked = sample::asked("n8n", "r1", START);
        let commit = sample::insert(&asked);
        let item = new_request(&asked, StateColumns::of(&state_of(&commit), 60).unwrap()).unwrap();
        assert_eq!(request_key(&item).unwrap(), asked.key());
        assert_eq!(request(&item).unwrap(), sample::inserted(&commit));
    }

    #[test]
    fn only_what_waits_is_in_the_sparse_index() {
        let asked = sample::asked("n8n", "r1", START);
        let commit = sample::insert(&asked);
        let end = sample::end(&sample::inserted(&commit), Status::Approved, START.plus_millis(1500));
        let waiting = new_request(&asked, StateColumns::of(&state_of(&commit), 60).unwrap()).unwrap();
        assert_eq!(waiting.get(DUE_PK), Some(&Due::Closes.of(Some(asked.key()))));
        assert_eq!(waiting.get(DUE_AT), Some(&number(START.millis() + 600_000)));
        assert_eq!((waiting.get(ENDED_AT), waiting.get(EXPIRES_AT)), (None, None));
        let ended = new_request(&asked, StateColumns::of(&state_of(&end), 60).unwrap()).unwrap();
        assert_eq!((ended.get(DUE_PK), ended.get(DUE_AT)), (None, None));
        assert_eq!(ended.get(ENDED_AT), Some(&number(START.millis() + 1500)));
        assert_eq!(ended.get(EXPIRES_AT), Some(&number(START.seconds() + 61)));
    }

    #[test]
    fn what_is_due_is_spread_over_all_partitions_of_its_kind() {
        let partitions: std::collections::HashSet<String> = (0..200)
            .map(|number| match Due::Closes.of(Some(sample::key("n8n", &format!("r{number}")))) {
                AttributeValue::S(partition) => partition,
                other => unreachable!("{other:?}"),
            })
            .collect();
        let all = (0..SHARDS).map(|shard| Due::Closes.partition(shard)).collect();
        assert_eq!(partitions, all);
    }

    #[test]
    fn a_message_is_found_by_its_id_alone() {
        let asked = sample::asked("n8n", "r1", START);
        let notification = sample::notification(&asked, START.plus_millis(30_000));
        for sent in [notification.clone(), sample::gate_message(3, START)] {
            let item = new_message(&sent, 60).unwrap();
            assert_eq!(message(&item).unwrap(), sent);
            let address = message_address(&sent.id).unwrap();
            assert!(address.iter().all(|(name, value)| item.get(name) == Some(value)));
        }
        for faulty in [
            OutboxMessage { id: "callback".into(), ..notification.clone() },
            OutboxMessage { id: "msg_€€€€€€€€€€".into(), ..notification.clone() },
            OutboxMessage { id: "msg_gate_reassign_3".into(), ..notification.clone() },
            OutboxMessage { subject: OutboxSubject::Gate, ..notification },
        ] {
            assert!(new_message(&faulty, 60).is_err(), "{faulty:?}");
        }
    }

    #[test]
    fn each_field_of_an_entry_is_an_attribute_and_comes_back() {
        let commit = sample::insert(&sample::asked("n8n", "r1", START));
        let mut chain = ChainHead::default();
        let of_policy = chain.append("policy", None, sample::event(AuditEventKind::PolicyInstalled, START));
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
        let item = new_policy(&sample::policy_record(11)).unwrap();
        let record = sample::policy_record(11);
        let kept = policy_text(&new_policy_text(&record), policy_sha256(&item).unwrap()).unwrap();
        assert_eq!(policy(&item, kept).unwrap(), record);
        assert!(policy_text(&new_policy_text(&sample::policy_record(12)), &record.sha256).is_err());
        let sk = |version| new_policy(&sample::policy_record(version)).unwrap().remove(SK);
        assert_eq!(sk(9), Some(text("0000000009")));
        assert_eq!(sk(u32::MAX), Some(text("4294967295")));
    }

    #[test]
    fn the_oldest_of_those_that_wait_comes_first() {
        let ids = ["01B", "01A", "01C"].map(|approval| format!("{approval}#r.1:{approval}"));
        let found = waiting_requests(&item([(WAITING, AttributeValue::Ss(ids.to_vec()))]));
        let names: Vec<&str> = found.iter().map(WaitingRequest::approval_id).collect();
        assert_eq!(names, ["01A", "01B", "01C"]);
        assert_eq!(found.first().and_then(WaitingRequest::request_id), RequestId::parse("r.1:01A").ok());
        assert_eq!(waiting_requests(&Item::new()), []);
    }
}
