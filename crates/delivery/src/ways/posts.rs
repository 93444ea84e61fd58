//! What the answer to a post means for the next try.

use placet_webhook::Attempt;

use crate::channel::SendOutcome;

/// The meaning of an answer. `finals` are the statuses that mean that this message, or this address, is never taken.
///
/// The reasons are read by others than this gate's operators: they name no host and no address.
pub(super) fn outcome(attempt: Attempt, who: &str, finals: &[u16]) -> SendOutcome {
    let (status, retry_after) = match attempt {
        Attempt::Delivered { .. } => return SendOutcome::Delivered(None),
        Attempt::Gone => (410, None),
        Attempt::Refused { status, retry_after, .. } => (status, retry_after),
        Attempt::Unreachable { reason } => {
            tracing::warn!(error = reason, "a way of alerts could not be reached");
            return SendOutcome::Retry(format!("{who} could not be reached"));
        }
        // A name can lead elsewhere tomorrow, and the operator can allow a host.
        Attempt::Forbidden { reason } => {
            tracing::warn!(error = reason, "a way of alerts leads where this gate may not post");
            return SendOutcome::Retry(format!("{who} is at an address where this gate may not post"));
        }
    };
    let reason = format!("{who} answered {status}");
    match retry_after {
        _ if finals.contains(&status) => SendOutcome::Unreachable(reason),
        Some(wait) if matches!(status, 429 | 503) => {
            let in_ms = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX).max(1000);
            SendOutcome::Wait { in_ms, reason }
        }
        Some(_) | None => SendOutcome::Retry(reason),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_can_be_mended_is_tried_again_and_no_reason_names_a_host() {
        let refused = |status, wait: Option<u64>| Attempt::Refused {
            status,
            retry_after: wait.map(Duration::from_secs),
            body: Vec::from("ops@example.com").into(),
        };
        let slack = |attempt| outcome(attempt, "Slack", &[400]);
        assert_eq!(slack(refused(400, None)), SendOutcome::Unreachable("Slack answered 400".into()));
        for status in [401, 403, 404, 429, 500, 503] {
            assert_eq!(slack(refused(status, None)), SendOutcome::Retry(format!("Slack answered {status}")));
        }
        assert_eq!(slack(Attempt::Gone), SendOutcome::Retry("Slack answered 410".into()));
        assert_eq!(
            outcome(Attempt::Gone, "the webhook", &[410]),
            SendOutcome::Unreachable("the webhook answered 410".into())
        );
        let reason = "Slack answered 429".to_owned();
        assert_eq!(slack(refused(429, Some(7))), SendOutcome::Wait { in_ms: 7000, reason });
        let reason = || "`ops.internal` (10.0.0.7) could not be reached".to_owned();
        for (attempt, told) in [
            (Attempt::Unreachable { reason: reason() }, "Slack could not be reached"),
            (Attempt::Forbidden { reason: reason() }, "Slack is at an address where this gate may not post"),
        ] {
            assert_eq!(slack(attempt), SendOutcome::Retry(told.to_owned()));
        }
    }
}
