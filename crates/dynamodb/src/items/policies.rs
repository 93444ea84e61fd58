//! Policies: their versions, their texts, and the marks by which a newer one is noticed.

use placet_core::Timestamp;
use placet_core::payload::sha256_hex;
use placet_gate::Fault;
use placet_gate::ports::PolicyRecord;

use super::{
    Item, POLICY, SK, address, check_format, item, new_item, number, parsed, string, text, unreadable,
    unwritable,
};

const AWAY: &str = "away";

const PAUSED: &str = "paused";

const TEXT: &str = "text";

const SHA256: &str = "sha256";

const INSTALLED_AT: &str = "installed_at";

const POLICY_TEXT: &str = "policytext";

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
    if !policy.paused.is_empty() {
        new.insert(PAUSED.to_owned(), text(serde_json::to_string(&policy.paused).map_err(unwritable)?));
    }
    Ok(new)
}

/// Where a policy's text lies, once for all versions that have it: a version that only says who is away or paused has the text of
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
        away: list(item, AWAY)?,
        paused: list(item, PAUSED)?,
    })
}

/// A list as JSON; empty where there is none.
fn list<T: serde::de::DeserializeOwned>(item: &Item, name: &'static str) -> Result<Vec<T>, Fault> {
    match item.get(name) {
        Some(_) => serde_json::from_str(string(item, name)?).map_err(|_| unreadable(name)),
        None => Ok(Vec::new()),
    }
}
