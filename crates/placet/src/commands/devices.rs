//! What `placet doctor` says of push: who can be told by it, and on how many devices.

use placet_core::policy::Policy;
use placet_gate::ports::Store as _;

use super::doctor::Findings;
use crate::local::Parts;

/// Whether everybody whose `channels` name push has switched it on somewhere, and whether this gate has its key.
pub(super) async fn check(parts: &Parts, policy: &Policy, found: &mut Findings) {
    if !policy.uses_push() {
        return;
    }
    if parts.keys().held().push.is_none() {
        found.warn("there is no key for push yet: a gate that serves this policy makes it");
    }
    for person in policy.reviewers.iter().filter(|person| person.takes_push()) {
        let devices = match parts.store().push_devices(&person.id).await {
            Ok(devices) => devices,
            Err(fault) => {
                found.fail(fault.chain());
                return;
            }
        };
        let count = devices.iter().filter(|device| device.is_told(person)).count();
        let id = &person.id;
        match count {
            0 if person.order.len() == 1 => found.warn(format!(
                "reviewer `{id}` is told by push only, and has it on no device: they switch it on in their inbox"
            )),
            0 => found.warn(format!(
                "reviewer `{id}` has push on no device: until they switch it on in their inbox, their next channel is used"
            )),
            1 => found.ok(format!("push reaches reviewer `{id}` on 1 device")),
            count => found.ok(format!("push reaches reviewer `{id}` on {count} devices")),
        }
    }
}
