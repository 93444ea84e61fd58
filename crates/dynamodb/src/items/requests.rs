//! Requests: the question, the state, and what is found by an index.

use placet_core::Timestamp;
use placet_core::id::RequestKey;
use placet_core::request::stored as requests;
use placet_core::request::{ApprovalRequest, Phase, Request, RequestState};
use placet_gate::Fault;
use placet_gate::stored;

use super::{
    APPROVAL_ID, CLIENT, DUE_AT, DUE_PK, Due, ENDED_AT, EXPIRES_AT, Item, PK, STATE, STATUS, VERSION,
    address, check_format, item, key_from_hex, new_item, number, parsed, string, text, unreadable,
    unwritable,
};

pub(crate) const QUESTION: &str = "question";

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
