//! Entries of the audit trail.

use aws_sdk_dynamodb::types::AttributeValue;
use placet_audit::StoredEntry;
use placet_core::Timestamp;
use placet_core::audit::AuditEntry;
use placet_gate::Fault;
use serde_json::Value;

use super::{
    EXPIRES_AT, FORMAT_VERSION, GRACE_SECONDS, Item, new_item, number, string, text, unread, unreadable,
    unwritable,
};

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
