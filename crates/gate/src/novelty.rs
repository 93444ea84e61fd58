//! What is new about a request: the first of its kind, another recipient, what differs from the last one that was
//! approved, how often its client asks.
//!
//! It is told beside what is asked, and decides nothing. One look into the list of the client's requests, of bounded
//! length: so all of it is about what was lately.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use placet_core::Timestamp;
use placet_core::id::{ApprovalId, ClientId};
use placet_core::request::{ApprovalRequest, Request, RequestState, Status};
use placet_core::words::title::field_in_words;
use placet_core::words::{FieldPath, mask};
use serde_json::Value;

use crate::ports::StoreQuery;
use crate::{Error, Gate, InboxItem, Review};

/// How many of the client's requests before this one are looked at.
pub const LOOK_BACK: usize = 50;

/// Within which time before it a request counts as one of many, in milliseconds.
const OFTEN_MS: i64 = 10 * 60_000;

/// From how many on that is told.
const OFTEN: usize = 4;

/// Of how many clients an inbox reads the list.
const CLIENTS_IN_AN_INBOX: usize = 20;

/// How many of a client's newest requests an inbox reads, for all of its rows: what is older than these says nothing.
const READ_FOR_AN_INBOX: usize = 2 * LOOK_BACK;

/// Of how many requests it is remembered what is new about them.
const REMEMBERED: usize = 2_000;

/// How many fields that differ are told.
const MOST_FIELDS: usize = 4;

/// How deep objects are compared field by field.
const DEPTH: usize = 3;

/// Where a payload says who gets something; the first that it has.
const RECIPIENTS: [&str; 9] =
    ["to", "recipient", "payee", "beneficiary", "iban", "account", "email", "destination", "customer"];

/// What is new about a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Novelty {
    /// Nothing of this action was approved for this client, as far back as was looked.
    pub first: Option<First>,
    /// Whoever gets something, where nothing approved lately went there.
    pub recipient: Option<String>,
    /// What differs from the last one of this rule that was approved.
    pub since: Option<Since>,
    /// Which one it is of those that the client has asked people within ten minutes; none where these are few. More than
    /// [`LOOK_BACK`] are not counted.
    pub nth: Option<usize>,
}

/// As far back as was looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// To the first request that is kept.
    Ever,
    /// The client has asked more than that since.
    Lately,
}

/// The difference from an earlier request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Since {
    /// When that one was approved.
    pub approved_at: Timestamp,
    /// The fields that differ; none where it asked the very same.
    pub fields: Vec<Difference>,
    /// How many more differ.
    pub more: usize,
}

/// A field that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its last key, as people may see it.
    pub key: String,
    /// What was approved, as people may see it; none where it was not there.
    pub from: Option<String>,
    /// What is asked now.
    pub to: Option<String>,
}

/// What is new about requests, by request and payload, remembered for a while: an open inbox asks for the same rows again
/// and again.
#[derive(Default)]
pub(crate) struct Remembered(Mutex<HashMap<(ApprovalId, String), (Timestamp, Novelty)>>);

impl Remembered {
    fn get(&self, row: &(ApprovalId, String), now: Timestamp, max_age_ms: i64) -> Option<Novelty> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, novelty) = known.get(row)?;
        // A clock that was set back makes it old, not young.
        (now.millis_since(*at).saturating_abs() <= max_age_ms).then(|| novelty.clone())
    }

    fn put(&self, row: (ApprovalId, String), now: Timestamp, max_age_ms: i64, novelty: &Novelty) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.retain(|_, (at, _)| now.millis_since(*at).saturating_abs() <= max_age_ms);
        }
        if known.len() < REMEMBERED {
            known.insert(row, (now, novelty.clone()));
        }
    }
}

impl Gate {
    /// What is new about the request that a reviewer looks at. Reads one page of its client's list.
    pub async fn novelty(&self, review: &Review) -> Result<Novelty, Error> {
        let (asked, state) = (review.request.asked(), review.request.state());
        let query = StoreQuery {
            client: Some(asked.client.clone()),
            status: None,
            limit: LOOK_BACK,
            before: Some(asked.approval_id.clone()),
        };
        Ok(novelty(asked, state, &self.store.list(&query).await?))
    }

    /// What is new about each row of an inbox. Reads one page of the list of each client that has a row of which it is not
    /// remembered, however many rows are of it; a row that this page does not tell enough about says nothing.
    ///
    /// Not knowing it is no reason to hide what waits.
    pub(crate) async fn note_novelty(&self, items: &mut [InboxItem]) {
        let mut lists: HashMap<ClientId, Vec<Request>> = HashMap::new();
        let (now, max_age_ms) = (self.clock.now(), self.settings.novelty_max_age_ms);
        for item in items {
            let asked = item.request.asked();
            let row = (asked.approval_id.clone(), item.request.state().payload_sha256(asked).to_owned());
            if let Some(known) = max_age_ms.and_then(|max| self.novelties.get(&row, now, max)) {
                item.novelty = known;
                continue;
            }
            if !lists.contains_key(&asked.client) {
                if lists.len() >= CLIENTS_IN_AN_INBOX {
                    continue;
                }
                let query = StoreQuery {
                    client: Some(asked.client.clone()),
                    status: None,
                    limit: READ_FOR_AN_INBOX,
                    before: None,
                };
                match self.store.list(&query).await {
                    Ok(list) => lists.insert(asked.client.clone(), list),
                    Err(fault) => {
                        tracing::warn!(error = fault.chain(), "what is new in an inbox could not be read");
                        // Of this client it is not asked for again now, nor remembered.
                        lists.insert(asked.client.clone(), Vec::new())
                    }
                };
            }
            let Some(list) = lists.get(&asked.client) else { continue };
            if let Some(earlier) = earlier_than(asked, list) {
                item.novelty = novelty(asked, item.request.state(), earlier);
            }
            if let (Some(max), false) = (max_age_ms, list.is_empty()) {
                self.novelties.put(row, now, max, &item.novelty);
            }
        }
    }
}

/// The requests of a list before this one, as many as are looked at; none where the list does not reach so far.
fn earlier_than<'l>(asked: &ApprovalRequest, newest_first: &'l [Request]) -> Option<&'l [Request]> {
    let at = newest_first.iter().position(|other| other.asked().approval_id == asked.approval_id)?;
    let earlier = newest_first.get(at.saturating_add(1)..)?;
    let reaches = earlier.len() >= LOOK_BACK || newest_first.len() < READ_FOR_AN_INBOX;
    reaches.then(|| earlier.get(..LOOK_BACK).unwrap_or(earlier))
}

/// `earlier`: the client's requests before this one, newest first.
fn novelty(asked: &ApprovalRequest, state: &RequestState, earlier: &[Request]) -> Novelty {
    let often = earlier.iter().filter(|other| {
        let other = other.asked();
        other.terms.is_some() && asked.created_at.millis_since(other.created_at) <= OFTEN_MS
    });
    let nth = often.count().saturating_add(1);
    let approved: Vec<&Request> = earlier
        .iter()
        .filter(|other| other.status() == Status::Approved && other.asked().action == asked.action)
        .collect();
    let now = state.payload(asked).value();
    let recipient = recipient(&now).filter(|path| {
        !approved.is_empty()
            && approved
                .iter()
                .all(|other| path.find(&other.state().payload(other.asked()).value()) != path.find(&now))
    });
    // Another rule may have asked other people: what it was about is not this reader's to see.
    let last = approved.iter().find(|other| other.asked().rule == asked.rule);
    let since = last.and_then(|last| since(asked, &now, last, recipient.as_ref()));
    let reach = if earlier.len() < LOOK_BACK { First::Ever } else { First::Lately };
    let shown = asked.shown(state.payload(asked));
    Novelty {
        first: approved.is_empty().then_some(reach),
        recipient: recipient.map(|path| {
            let is_hidden = path.find(&shown) != path.find(&now);
            if is_hidden { "a hidden place".to_owned() } else { field_in_words(&path, &shown) }
        }),
        since,
        nth: (nth >= OFTEN).then_some(nth),
    }
}

fn recipient(payload: &Value) -> Option<FieldPath> {
    let is_told =
        |path: &FieldPath| path.find(payload).is_some_and(|value| value.is_string() || value.is_number());
    RECIPIENTS.iter().map(|key| FieldPath::from_keys(&[(*key).to_owned()])).find(is_told)
}

fn since(asked: &ApprovalRequest, now: &Value, last: &Request, told: Option<&FieldPath>) -> Option<Since> {
    let approved_at = last.outcome()?.decided_at;
    let then = last.asked();
    // What either of the two hides is hidden in both, and looks the same in both where it is the same.
    let masks = [asked.wording.mask.as_slice(), &then.wording.mask].concat();
    let shown = |payload: Value| mask::masked(payload, &masks, asked.approval_id.as_str());
    let (then, now) = (shown(last.state().payload(then).value()), shown(now.clone()));
    let mut paths = Vec::new();
    differences(&then, &now, &mut Vec::new(), &mut paths);
    // A new recipient has a line of its own.
    paths.retain(|path| told != Some(path));
    let words = |path: &FieldPath, shown: &Value| path.find(shown).map(|_| field_in_words(path, shown));
    let fields: Vec<Difference> = paths
        .iter()
        .take(MOST_FIELDS)
        .map(|path| Difference {
            key: path.last().to_owned(),
            from: words(path, &then),
            to: words(path, &now),
        })
        .collect();
    let more = paths.len().saturating_sub(fields.len());
    // All that differs is told already.
    if fields.is_empty() && told.is_some() {
        return None;
    }
    Some(Since { approved_at, fields, more })
}

/// The paths at which two payloads differ, the smallest parts that differ first found.
fn differences(then: &Value, now: &Value, keys: &mut Vec<String>, found: &mut Vec<FieldPath>) {
    if then == now {
        return;
    }
    let (Value::Object(old), Value::Object(new), true) = (then, now, keys.len() < DEPTH) else {
        found.push(FieldPath::from_keys(keys));
        return;
    };
    let gone = old.keys().filter(|key| !new.contains_key(*key));
    for key in new.keys().chain(gone) {
        keys.push(key.clone());
        match (old.get(key), new.get(key)) {
            (Some(then), Some(now)) => differences(then, now, keys, found),
            (None, None) => {}
            (Some(_), None) | (None, Some(_)) => found.push(FieldPath::from_keys(keys)),
        }
        keys.pop();
    }
}
