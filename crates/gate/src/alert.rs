//! What operators must hear of. The words are delivery's.

use placet_core::id::{ApprovalId, ClientId, RequestId, ReviewerId};
use placet_core::keys::EpochNumber;
use serde::{Deserialize, Serialize};

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
    /// A reviewer could not be told that several requests wait for them, and will be told by their next channel or tried
    /// again.
    DigestNotTold {
        /// Who.
        reviewer: ReviewerId,
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
            Self::NotTold { .. } | Self::DigestNotTold { .. } => "not_told",
        }
    }

    /// Names its cause within its subject, so that the same cause makes the same message. Letters, digits, `_`, `-`.
    pub(crate) fn cause(&self) -> String {
        let kind = self.kind();
        match self {
            Self::Expired { .. } => kind.to_owned(),
            Self::NobodyLeft { stage, .. } => format!("{kind}_{stage}"),
            Self::CallbackGivenUp { message, .. }
            | Self::NotTold { message, .. }
            | Self::DigestNotTold { message, .. } => {
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
