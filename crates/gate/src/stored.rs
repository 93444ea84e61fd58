//! How the gate's own records lie in a store: an outbox message's payload and a subscription, as JSON with a version.
//!
//! A request's stored form is `placet_core::request::stored`. A store keeps the version beside each record, and asks
//! here to read it: what a newer version of Placet wrote is named as that, and never read as something else.
//! `tests/fixtures/stored` keeps rows of every version that was ever released.

use placet_core::request::stored::Unreadable;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Fault;
use crate::hooks::Hook;
use crate::outbox::OutboxPayload;
use crate::push::PushDevice;
use crate::sent::SentMessage;

/// The version of these records that this build writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// An outbox message's payload as text.
pub fn write_payload(payload: &OutboxPayload) -> Result<String, Fault> {
    write(payload)
}

/// The payload that a store holds in this text, under that version.
pub fn read_payload(version: u32, text: &str) -> Result<OutboxPayload, Unreadable> {
    read(version, text)
}

/// A subscription as text.
pub fn write_hook(hook: &Hook) -> Result<String, Fault> {
    write(hook)
}

/// The subscription that a store holds in this text, under that version.
pub fn read_hook(version: u32, text: &str) -> Result<Hook, Unreadable> {
    read(version, text)
}

/// A message that a person has got, as text.
pub fn write_sent(sent: &SentMessage) -> Result<String, Fault> {
    write(sent)
}

/// The sent message that a store holds in this text, under that version.
pub fn read_sent(version: u32, text: &str) -> Result<SentMessage, Unreadable> {
    read(version, text)
}

/// A device that is told by push, as text.
pub fn write_push_device(device: &PushDevice) -> Result<String, Fault> {
    write(device)
}

/// The device that a store holds in this text, under that version.
pub fn read_push_device(version: u32, text: &str) -> Result<PushDevice, Unreadable> {
    read(version, text)
}

/// The fault of a record that cannot be read: a newer version's is told from a broken one.
pub fn fault(unreadable: Unreadable) -> Fault {
    match unreadable {
        Unreadable::Newer(_) => Fault::new(NEWER, unreadable),
        Unreadable::Malformed(_) | Unreadable::Impossible(_) => {
            Fault::new("a stored record could not be read", unreadable)
        }
    }
}

/// What a build says of a store that a newer one has written.
pub const NEWER: &str = "the store was written by a newer version of placet; this version must not use it";

fn write(record: &impl Serialize) -> Result<String, Fault> {
    serde_json::to_string(record).map_err(|error| Fault::new("a record could not be written as JSON", error))
}

fn read<T: DeserializeOwned>(version: u32, text: &str) -> Result<T, Unreadable> {
    if version > FORMAT {
        return Err(Unreadable::Newer(version));
    }
    Ok(serde_json::from_str(text)?)
}
