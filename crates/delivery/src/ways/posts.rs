//! What the answer to a post means for the next try.

use placet_webhook::Attempt;

use crate::channel::SendOutcome;

/// The meaning of an answer. `is_final` says which statuses mean that this message, or this address, is never taken.
pub(super) fn outcome(attempt: Attempt, who: &str, is_final: impl Fn(u16) -> bool) -> SendOutcome {
    match attempt {
        Attempt::Delivered { .. } => SendOutcome::Delivered(None),
        Attempt::Gone => SendOutcome::Unreachable(format!("{who} answered 410")),
        Attempt::Refused { status, .. } if is_final(status) => {
            SendOutcome::Unreachable(format!("{who} answered {status}"))
        }
        Attempt::Refused { status: status @ (429 | 503), retry_after: Some(wait), .. } => {
            let in_ms = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX).max(1000);
            SendOutcome::Wait { in_ms, reason: format!("{who} answered {status}") }
        }
        Attempt::Refused { status, .. } => SendOutcome::Retry(format!("{who} answered {status}")),
        // A name can lead elsewhere tomorrow, and the operator can allow a host.
        Attempt::Unreachable { reason } | Attempt::Forbidden { reason } => SendOutcome::Retry(reason),
    }
}
