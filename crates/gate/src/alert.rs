//! What operators must hear of. The words are delivery's.

use placet_core::Timestamp;
use placet_core::id::{ApprovalId, ClientId, RequestId, ReviewerId};
use placet_core::keys::EpochNumber;
use serde::{Deserialize, Serialize};

use crate::outbox::OutboxSubject;

const MINUTE_MS: i64 = 60_000;

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
    /// A request waits longer than its rule's `alert_after`.
    OpenTooLong {
        /// Whose request.
        client: ClientId,
        /// Its name.
        request_id: RequestId,
        /// When it was asked.
        asked_at: Timestamp,
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
    /// The keys are older than a rotation makes them.
    RotationDue {
        /// Their epoch.
        epoch: EpochNumber,
        /// Since when they are in force.
        since: Timestamp,
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
        /// Whom they claim to be; none in what an earlier version wrote.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client: Option<ClientId>,
        /// How many within a minute, so far.
        count: u32,
        /// The minute, counted from the epoch.
        minute: i64,
    },
    /// A reviewer or a queue could not be told, and will be tried again.
    NotTold {
        /// Who; none for a queue.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reviewer: Option<ReviewerId>,
        /// By which channel, or the name of the queue; none in what an earlier version wrote.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        channel: Option<String>,
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
        /// By which channel; none in what an earlier version wrote.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        channel: Option<String>,
        /// The message that does not get through.
        message: String,
        /// How often it was tried.
        attempt: u32,
    },
    /// A mail that asked a reviewer came back after its carrier had taken it.
    MailReturned {
        /// Who was asked.
        reviewer: ReviewerId,
        /// The approval.
        approval_id: ApprovalId,
        /// Whether its reader said that it is spam; else it did not arrive.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        unwanted: bool,
    },
    /// A way of alerts does not get through. The other ways say so.
    WayNotReached {
        /// Its name.
        way: String,
        /// Why.
        reason: String,
    },
    /// A reviewer approves faster than the pages can be read, again and again.
    FastApprovals {
        /// Who.
        reviewer: ReviewerId,
        /// How often within an hour, so far.
        count: u32,
        /// The hour, counted from the epoch.
        hour: i64,
    },
    /// A reviewer has paused a client.
    ClientPaused {
        /// Which.
        client: ClientId,
        /// Who.
        by: ReviewerId,
        /// Since when.
        from: Timestamp,
        /// Until when, unless it is lifted before.
        until: Timestamp,
    },
}

/// What is known of a matter that operators were alerted of, or may have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatterNow {
    /// It is over.
    Over,
    /// It goes on; then it is time for the next look.
    GoesOn(Timestamp),
    /// Nobody was alerted of it.
    NeverSaid,
}

/// How it is known that something is over that only shows while it goes on: nothing is seen of it for a whole span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recurring {
    /// What goes on.
    pub(crate) name: String,
    /// The span, in milliseconds.
    pub(crate) span_ms: i64,
}

impl Alert {
    /// Its name, for programs and filters.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Expired { .. } => "expired",
            Self::OpenTooLong { .. } => "open_too_long",
            Self::NobodyLeft { .. } => "nobody_left",
            Self::CallbackGivenUp { .. } => "callback_given_up",
            Self::KeysRotated { .. } => "keys_rotated",
            Self::RotationFailed { .. } => "rotation_failed",
            Self::RotationDue { .. } => "rotation_due",
            Self::OldSecret { .. } => "old_secret",
            Self::BadSignatures { .. } => "bad_signatures",
            Self::NotTold { .. } | Self::DigestNotTold { .. } | Self::MailReturned { .. } => "not_told",
            Self::WayNotReached { .. } => "way_not_reached",
            Self::FastApprovals { .. } => "fast_approvals",
            Self::ClientPaused { .. } => "client_paused",
        }
    }

    /// Names its cause within its subject, so that the same cause makes the same message. Letters, digits, `_`, `-`.
    pub(crate) fn cause(&self) -> String {
        let kind = self.kind();
        match self {
            Self::Expired { .. } | Self::OpenTooLong { .. } => kind.to_owned(),
            Self::NobodyLeft { stage, .. } => format!("{kind}_{stage}"),
            Self::CallbackGivenUp { message, .. }
            | Self::NotTold { message, .. }
            | Self::DigestNotTold { message, .. } => {
                let named = message.split('_').skip(2).collect::<Vec<_>>().join("_");
                format!("{kind}_{named}")
            }
            Self::MailReturned { reviewer, .. } => format!("{kind}_returned_email_{reviewer}"),
            Self::KeysRotated { epoch } | Self::RotationDue { epoch, .. } => format!("{kind}_{epoch}"),
            Self::RotationFailed { step, .. } => format!("{kind}_{step}"),
            Self::OldSecret { client, epoch } => format!("{kind}_{epoch}_{client}"),
            Self::BadSignatures { minute, client: None, .. } => format!("{kind}_{minute}"),
            Self::BadSignatures { minute, client: Some(client), .. } => format!("{kind}_{minute}_{client}"),
            Self::WayNotReached { way, .. } => format!("{kind}_{way}"),
            Self::FastApprovals { reviewer, hour, .. } => format!("{kind}_{hour}_{reviewer}"),
            Self::ClientPaused { client, by, from, .. } => format!("{kind}_{}_{by}_{client}", from.millis()),
        }
    }

    /// Names what is the matter within its subject, each time that it comes up. Letters, digits, `_`, `-` and `:`.
    pub(crate) fn within(&self) -> String {
        let kind = self.kind();
        match self {
            Self::Expired { .. }
            | Self::OpenTooLong { .. }
            | Self::NotTold { channel: None, .. }
            | Self::DigestNotTold { channel: None, .. } => kind.to_owned(),
            Self::NobodyLeft { stage, .. } => format!("{kind}:{stage}"),
            Self::CallbackGivenUp { message, .. } => format!("{kind}:{}", message.trim_start_matches("msg_")),
            Self::KeysRotated { epoch } | Self::RotationDue { epoch, .. } => format!("{kind}:{epoch}"),
            Self::RotationFailed { .. } => format!("{kind}:keys"),
            Self::OldSecret { client, epoch } => format!("{kind}:{client}:{epoch}"),
            Self::BadSignatures { client: Some(client), .. } | Self::ClientPaused { client, .. } => {
                format!("{kind}:{client}")
            }
            Self::BadSignatures { client: None, minute, .. } => format!("{kind}:{minute}"),
            Self::NotTold { reviewer: Some(reviewer), channel: Some(channel), .. }
            | Self::DigestNotTold { reviewer, channel: Some(channel), .. } => {
                format!("{kind}:{reviewer}:{channel}")
            }
            // Of one matter with the mails that are not sent for it any more.
            Self::MailReturned { reviewer, .. } => format!("{kind}:{reviewer}:email"),
            Self::NotTold { reviewer: None, channel: Some(queue), .. } => format!("{kind}:queue:{queue}"),
            Self::WayNotReached { way, .. } => format!("{kind}:{way}"),
            Self::FastApprovals { reviewer, .. } => format!("{kind}:{reviewer}"),
        }
    }

    /// Whether it is the matter of its subject alone: the same with another subject is another matter.
    pub(crate) const fn is_of_its_subject(&self) -> bool {
        match self {
            Self::Expired { .. }
            | Self::OpenTooLong { .. }
            | Self::NobodyLeft { .. }
            | Self::NotTold { channel: None, .. }
            | Self::DigestNotTold { channel: None, .. } => true,
            Self::CallbackGivenUp { .. }
            | Self::KeysRotated { .. }
            | Self::RotationFailed { .. }
            | Self::RotationDue { .. }
            | Self::OldSecret { .. }
            | Self::BadSignatures { .. }
            | Self::NotTold { channel: Some(_), .. }
            | Self::DigestNotTold { channel: Some(_), .. }
            | Self::MailReturned { .. }
            | Self::WayNotReached { .. }
            | Self::FastApprovals { .. }
            | Self::ClientPaused { .. } => false,
        }
    }

    /// Names what is the matter, whichever message says it: `kind:subject`. What says that it is over has the same.
    pub fn matter(&self, subject: &OutboxSubject) -> String {
        let within = self.within();
        if !self.is_of_its_subject() {
            return within;
        }
        let about = match subject {
            OutboxSubject::Approval { approval_id, .. } => approval_id.as_str(),
            OutboxSubject::Gate => "gate",
        };
        let kind = self.kind();
        format!("{kind}:{about}{}", within.strip_prefix(kind).unwrap_or_default())
    }

    /// Whether it is something that goes on, and is over when nothing more is seen of it.
    pub fn goes_on(&self) -> bool {
        self.recurring(&OutboxSubject::Gate).is_some()
    }

    /// How it is known to be over, where it is something that goes on.
    pub(crate) fn recurring(&self, subject: &OutboxSubject) -> Option<Recurring> {
        let span_ms = match self {
            Self::Expired { .. }
            | Self::OpenTooLong { .. }
            | Self::NobodyLeft { .. }
            | Self::CallbackGivenUp { .. }
            | Self::KeysRotated { .. }
            | Self::RotationFailed { .. }
            | Self::RotationDue { .. }
            | Self::ClientPaused { .. } => return None,
            Self::OldSecret { .. } => placet_core::time::DAY_MS,
            Self::FastApprovals { .. } => 60 * MINUTE_MS,
            // Longer than the longest wait before a next try.
            Self::BadSignatures { .. }
            | Self::NotTold { .. }
            | Self::DigestNotTold { .. }
            | Self::MailReturned { .. }
            | Self::WayNotReached { .. } => 20 * MINUTE_MS,
        };
        Some(Recurring { name: format!("alert/{}", self.matter(subject)), span_ms })
    }
}
