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

mod counts;
mod kept;
mod messages;
mod policies;
mod requests;
mod trail;

use aws_sdk_dynamodb::types::AttributeValue;
use placet_core::id::RequestKey;
use placet_core::request::stored::Unreadable;
use placet_gate::Fault;
use placet_gate::stored;
use std::collections::HashMap;
use std::fmt::Display;
use std::str::FromStr;

pub(crate) use self::counts::{
    TALLY_SECONDS, WaitingRequest, count_address, duplicates_address, duplicates_address_about, new_tally,
    new_vote, tally_after, tally_amount, tally_partition, tally_version, tally_version_address, voted_on,
    votes_of, waiting_count_address, waiting_requests,
};
pub(crate) use self::kept::{
    hook, hook_address, new_hook, new_push_device, new_sent, push_address, push_device, push_partition, sent,
    sent_partition,
};
pub(crate) use self::messages::{
    due_at, message, message_address, message_expires_at, new_message, new_past_message, past_message,
    past_messages_of,
};
pub(crate) use self::policies::{
    new_policy, new_policy_text, policy, policy_mark_address, policy_marks, policy_sha256, policy_text,
    policy_text_address,
};
pub(crate) use self::requests::{Stands, StateColumns, new_request, request, request_address, request_key};
pub(crate) use self::trail::{entry, new_entry, recorded_at, stored_entry};

pub(crate) const PK: &str = "pk";

pub(crate) const SK: &str = "sk";

pub(crate) const DUE_PK: &str = "due_pk";

pub(crate) const DUE_AT: &str = "due_at";

pub(crate) const CLIENT: &str = "client";

pub(crate) const APPROVAL_ID: &str = "approval_id";

pub(crate) const STATUS: &str = "status";

pub(crate) const ENDED_AT: &str = "ended_at";

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

/// The partition of all subscriptions.
pub(crate) const HOOKS: &str = "hooks";

/// The partition of all marks.
pub(crate) const MARKS: &str = "marks";

/// The partition of all policies.
pub(crate) const POLICY: &str = "policy";

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

    use placet_core::Timestamp;
    use placet_core::id::RequestId;
    use placet_core::request::RequestState;
    use placet_gate::ports::{OutboxMessage, OutboxSubject};

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
