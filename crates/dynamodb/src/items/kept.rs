//! What is kept beside requests: subscriptions, devices, messages that people have got.

use placet_core::id::{ApprovalId, ClientId, HookId, ReviewerId};
use placet_gate::Fault;
use placet_gate::ports::{Hook, PushDevice, SentMessage};
use placet_gate::stored;

use super::{
    EXPIRES_AT, HOOKS, Item, LONGEST_WAIT_SECONDS, address, check_format, item, new_item, number, string,
    text,
};

const HOOK: &str = "hook";

const DEVICE: &str = "device";

const SENT: &str = "sent";

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
