//! What an operator must hear of, and how often.

use std::collections::HashSet;
use std::fmt;
use std::sync::Mutex;
use std::sync::PoisonError;

use placet_core::Timestamp;
use placet_core::id::{ApprovalId, ClientId, RequestId};
use placet_core::keys::EpochNumber;

use crate::Gate;
use crate::ports::Measurement;

/// How many bad signatures within a minute are a burst.
const BURST: u32 = 20;

/// How long an alert that names a client's old secret is not repeated, in milliseconds.
const OLD_SECRET_MS: i64 = 7 * placet_core::time::DAY_MS;

/// Something that an operator must hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alert {
    /// Nobody answered in time.
    Expired {
        /// Whose request.
        client: ClientId,
        /// Its name.
        request_id: RequestId,
    },
    /// A callback or hook was tried for a day, or its receiver said to stop.
    CallbackGivenUp {
        /// The approval.
        approval_id: ApprovalId,
        /// Whose.
        client: ClientId,
        /// Why.
        reason: String,
    },
    /// The keys were rotated.
    KeysRotated {
        /// The new epoch.
        epoch: EpochNumber,
    },
    /// The keys could not be rotated; the ones before stay in force.
    RotationFailed {
        /// At which step.
        step: String,
        /// Why.
        reason: String,
    },
    /// A client still signs with the secret from before the rotation.
    OldSecret {
        /// Which.
        client: ClientId,
    },
    /// Somebody is trying keys.
    BadSignatures {
        /// How many within a minute, so far.
        count: u32,
    },
    /// A reviewer could not be told, and will be tried again.
    ReviewerNotTold {
        /// The approval.
        approval_id: ApprovalId,
        /// How often it was tried.
        attempt: u32,
    },
}

impl Alert {
    /// Its name, for programs and filters.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Expired { .. } => "expired",
            Self::CallbackGivenUp { .. } => "callback_given_up",
            Self::KeysRotated { .. } => "keys_rotated",
            Self::RotationFailed { .. } => "rotation_failed",
            Self::OldSecret { .. } => "old_secret",
            Self::BadSignatures { .. } => "bad_signatures",
            Self::ReviewerNotTold { .. } => "reviewer_not_told",
        }
    }
}

/// One sentence, for people.
impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired { client, request_id } => {
                write!(f, "nobody answered in time: the request {request_id} of {client} has expired")
            }
            Self::CallbackGivenUp { approval_id, client, reason } => {
                write!(f, "a callback to {client} for the approval {approval_id} was given up: {reason}")
            }
            Self::KeysRotated { epoch } => write!(
                f,
                "the keys were rotated, epoch {epoch} is current: give each client its new secret before the next rotation"
            ),
            Self::RotationFailed { step, reason } => write!(
                f,
                "the keys could not be rotated ({step}: {reason}); the keys from before stay in force"
            ),
            Self::OldSecret { client } => {
                write!(f, "{client} still uses its secret from before the rotation: give it the new one")
            }
            Self::BadSignatures { count } => {
                write!(
                    f,
                    "{count} requests with a wrong signature within a minute: somebody may be trying keys"
                )
            }
            Self::ReviewerNotTold { approval_id, attempt } => write!(
                f,
                "a reviewer could not be told of the approval {approval_id} in {attempt} tries; it is tried again"
            ),
        }
    }
}

/// Remembers what was alerted, so that a flood makes one alert.
#[derive(Default)]
pub(crate) struct AlertThrottle(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    old_secrets: HashSet<(ClientId, EpochNumber)>,
    minute: i64,
    bad_signatures: u32,
}

impl Gate {
    pub(crate) async fn saw_old_secret(&self, client: &ClientId, epoch: EpochNumber) {
        let first = {
            let mut seen = self.watchman.0.lock().unwrap_or_else(PoisonError::into_inner);
            seen.old_secrets.insert((client.clone(), epoch))
        };
        if !first {
            return;
        }
        // Other processes may have said it. Where the store cannot tell, it is better said twice.
        let mark = format!("old-secret/{client}/{epoch}");
        let until = self.clock.now().plus_millis(OLD_SECRET_MS);
        if self.store.mark(&mark, until).await.unwrap_or(true) {
            self.notify.alert(&Alert::OldSecret { client: client.clone() }).await;
        }
    }

    pub(crate) async fn saw_bad_signature(&self, now: Timestamp) {
        self.meter.record(&Measurement::BadSignature);
        let count = {
            let mut seen = self.watchman.0.lock().unwrap_or_else(PoisonError::into_inner);
            let minute = now.seconds().div_euclid(60);
            if seen.minute != minute {
                (seen.minute, seen.bad_signatures) = (minute, 0);
            }
            seen.bad_signatures = seen.bad_signatures.saturating_add(1);
            seen.bad_signatures
        };
        if count == BURST {
            self.notify.alert(&Alert::BadSignatures { count }).await;
        }
    }
}
