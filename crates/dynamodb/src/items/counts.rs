//! Counts and totals: allowances, those that wait, duplicates, running totals, votes.

use aws_sdk_dynamodb::types::AttributeValue;
use placet_core::Timestamp;
use placet_core::audit::RequestFacts;
use placet_core::id::{ClientId, RequestId, RequestKey, ReviewerId};
use placet_core::tally::Tally;
use placet_gate::Fault;

use super::{
    EXPIRES_AT, Item, SK, VERSION, WAITING, address, check_format, key_from_hex, new_item, number, parsed,
    string, text, unreadable,
};

const AMOUNT: &str = "amount";

/// What was added up is kept for so long: longer than the longest while of a total.
pub(crate) const TALLY_SECONDS: i64 = 31 * 24 * 60 * 60;

/// Where it lies how often something happened.
pub(crate) fn count_address(name: &str) -> Item {
    address(format!("count#{name}"), "n")
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
