//! What operators must hear of, and how often. The words are delivery's.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use placet_core::Timestamp;
use placet_core::id::{ApprovalId, ClientId, RequestId};
use placet_core::keys::EpochNumber;
use serde::{Deserialize, Serialize};

use crate::outbox::{OutboxMessage, OutboxPayload, OutboxSubject};
use crate::ports::{Dispatch, Measurement};
use crate::{Fault, Gate};

/// How many bad signatures within a minute are a burst.
const BURST: u32 = 20;

/// How long an alert that names a client's old secret is not repeated, in milliseconds.
const OLD_SECRET_MS: i64 = 7 * placet_core::time::DAY_MS;

/// Something that operators must hear of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alert {
    /// Nobody answered in time.
    Expired {
        /// Whose request.
        client: ClientId,
        /// Its name.
        request_id: RequestId,
    },
    /// Nobody who may approve a stage is left.
    NobodyLeft {
        /// Whose request.
        client: ClientId,
        /// Its name.
        request_id: RequestId,
        /// Number of the stage, from 1.
        stage: usize,
    },
    /// A callback or hook was tried for a day, or its receiver said to stop.
    CallbackGivenUp {
        /// The approval.
        approval_id: ApprovalId,
        /// Whose.
        client: ClientId,
        /// The message that was given up.
        message: String,
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
        /// The epoch of its secret.
        epoch: EpochNumber,
    },
    /// Somebody is trying keys of known clients.
    BadSignatures {
        /// How many within a minute, so far.
        count: u32,
        /// The minute, counted from the epoch.
        minute: i64,
    },
    /// A reviewer or a queue could not be told, and will be tried again.
    NotTold {
        /// The approval.
        approval_id: ApprovalId,
        /// The message that does not get through.
        message: String,
        /// How often it was tried.
        attempt: u32,
    },
}

impl Alert {
    /// Its name, for programs and filters.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Expired { .. } => "expired",
            Self::NobodyLeft { .. } => "nobody_left",
            Self::CallbackGivenUp { .. } => "callback_given_up",
            Self::KeysRotated { .. } => "keys_rotated",
            Self::RotationFailed { .. } => "rotation_failed",
            Self::OldSecret { .. } => "old_secret",
            Self::BadSignatures { .. } => "bad_signatures",
            Self::NotTold { .. } => "not_told",
        }
    }

    /// Names its cause within its subject, so that the same cause makes the same message. Letters, digits, `_`, `-`.
    pub(crate) fn cause(&self) -> String {
        let kind = self.kind();
        match self {
            Self::Expired { .. } => kind.to_owned(),
            Self::NobodyLeft { stage, .. } => format!("{kind}_{stage}"),
            Self::CallbackGivenUp { message, .. } | Self::NotTold { message, .. } => {
                let named = message.split('_').skip(2).collect::<Vec<_>>().join("_");
                format!("{kind}_{named}")
            }
            Self::KeysRotated { epoch } => format!("{kind}_{epoch}"),
            Self::RotationFailed { step, .. } => format!("{kind}_{step}"),
            Self::OldSecret { client, epoch } => format!("{kind}_{epoch}_{client}"),
            Self::BadSignatures { minute, .. } => format!("{kind}_{minute}"),
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
    /// Puts an alert that belongs to no transition into the outbox.
    pub async fn alert(&self, subject: OutboxSubject, alert: Alert) -> Result<(), Fault> {
        let message = OutboxMessage::new(
            subject,
            OutboxPayload::Alert(alert),
            self.clock.now(),
            self.dispatcher.lease_ms(),
        );
        let commit = crate::ports::Commit { outbox: vec![message.clone()], ..Default::default() };
        self.store.commit(commit).await?;
        self.dispatcher.dispatch(Dispatch { messages: vec![message], ..Dispatch::default() }).await;
        Ok(())
    }

    async fn alert_or_log(&self, alert: Alert) {
        let kind = alert.kind();
        if let Err(fault) = self.alert(OutboxSubject::Gate, alert).await {
            tracing::error!(alert = kind, error = fault.chain(), "an alert could not be recorded");
        }
    }

    pub(crate) async fn saw_old_secret(&self, client: &ClientId, epoch: EpochNumber) {
        let first = {
            let mut seen = self.alert_throttle.0.lock().unwrap_or_else(PoisonError::into_inner);
            seen.old_secrets.insert((client.clone(), epoch))
        };
        if !first {
            return;
        }
        // Another process may have said it. Where the store cannot tell, it is better said twice.
        let mark = format!("old-secret/{client}/{epoch}");
        let until = self.clock.now().plus_millis(OLD_SECRET_MS);
        if self.store.mark(&mark, until).await.unwrap_or(true) {
            self.alert_or_log(Alert::OldSecret { client: client.clone(), epoch }).await;
        }
    }

    /// A caller claimed to be a client of the policy, and its signature or key was wrong.
    pub(crate) async fn saw_bad_signature(&self, now: Timestamp) {
        self.metrics.record(&Measurement::BadSignature);
        let minute = now.seconds().div_euclid(60);
        let count = {
            let mut seen = self.alert_throttle.0.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.minute != minute {
                (seen.minute, seen.bad_signatures) = (minute, 0);
            }
            seen.bad_signatures = seen.bad_signatures.saturating_add(1);
            seen.bad_signatures
        };
        if count == BURST {
            self.alert_or_log(Alert::BadSignatures { count, minute }).await;
        }
    }
}
