//! Messages of the outbox, and how they ended.

use aws_sdk_dynamodb::types::AttributeValue;
use placet_core::Timestamp;
use placet_core::id::ApprovalId;
use placet_gate::Fault;
use placet_gate::ports::{MessageEnd, OutboxMessage, OutboxSubject, PastMessage};
use placet_gate::stored;

use super::{
    ATTEMPT, CREATED_AT, DUE_AT, DUE_PK, Due, ENDED_AT, EXPIRES_AT, Item, PAYLOAD, PK, REQUEST_KEY, SK,
    address, check_format, item, key_from_hex, new_item, number, parsed, string, text, unreadable,
};

const IS_DELIVERED: &str = "is_delivered";

/// The partition of the messages about the gate as a whole.
const OF_THE_GATE: &str = "m#gate";

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
