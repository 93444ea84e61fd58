//! What the gate refuses, and why: the caller's fault, typed, with its stable code.

/// One field of a request that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Path of the field, such as `payload.items[2].price`; `body` for the whole.
    pub field: String,
    /// What it must be: lower case, no full stop.
    pub message: String,
}

impl FieldError {
    /// A fault of that field.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// Why a caller's wish is refused.
///
/// Nothing has changed when one of these is returned. The HTTP edge turns each into a status code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The signature, or the bearer key, does not match.
    #[error("the signature does not match the request")]
    InvalidSignature,
    /// No client of that id in the policy.
    #[error("no client of this id is in the policy")]
    UnknownClient,
    /// The signed time is more than 300 s away from the gate's.
    #[error("the signed time is {off_by_seconds} s away from the gate's clock; 300 s are allowed")]
    ClockSkew {
        /// How far off, in seconds; positive when the client's clock is behind.
        off_by_seconds: i64,
    },
    /// Authenticated, but not allowed to do this.
    #[error("{0}")]
    Forbidden(&'static str),
    /// A reviewer has paused this client: nothing new is taken from it for a while.
    #[error("{by} has paused this client: nothing new is taken from it until {until}")]
    ClientPaused {
        /// Who.
        by: crate::id::ReviewerId,
        /// When that ends, unless it is lifted before.
        until: crate::Timestamp,
    },
    /// Nothing of that name is visible to the caller.
    #[error("not found")]
    NotFound,
    /// The same `request_id` was used for another question.
    #[error("this request_id was used before, with a different body")]
    RequestIdConflict,
    /// The request has ended.
    #[error("the request has already ended")]
    AlreadyDecided,
    /// The token was redeemed, by someone else.
    #[error("the token was already redeemed by `{redeemed_by}`")]
    AlreadyRedeemed {
        /// Who redeemed it.
        redeemed_by: String,
        /// When.
        redeemed_at: crate::Timestamp,
    },
    /// The token is of a request that was not approved.
    #[error("the request was not approved")]
    NotApproved,
    /// The payload at hand is not the one that was approved.
    #[error("the payload is not the one that was approved")]
    PayloadMismatch,
    /// The token's time is over.
    #[error("the approval was valid for a limited time, and that is over")]
    TokenExpired,
    /// The link's time is over: its stage has passed, its reviewer has left, or its key has been rotated out.
    #[error("this link no longer takes a decision")]
    LinkExpired,
    /// The payload is larger than 64 KiB, or the whole body larger than is read.
    #[error("the {what} is larger than {limit_bytes} bytes")]
    PayloadTooLarge {
        /// `payload` or `body`.
        what: &'static str,
        /// The limit, in bytes.
        limit_bytes: usize,
    },
    /// Fields are missing or wrong; all of them are listed.
    #[error("the request is not valid")]
    InvalidRequest(Vec<FieldError>),
    /// Too many of this client's requests wait.
    #[error(
        "{max_pending} requests of this client are pending, which is the most; try again when some have ended"
    )]
    TooManyPending {
        /// The limit.
        max_pending: u32,
    },
    /// Too many requests by this client in this minute.
    #[error("too many requests; try again in {retry_after_seconds} s")]
    RateLimited {
        /// Seconds until the next minute's allowance.
        retry_after_seconds: u32,
    },
    /// The request waits for its outcome, or its entries are past their retention.
    #[error("the request has no receipt: it has not ended, or its entries are past their retention")]
    NoReceipt,
    /// The request's end is recorded, and not in the log yet.
    #[error("the request's end is not in the log yet; try again in {retry_after_seconds} s")]
    NotSealed {
        /// When the next entries are sealed, in seconds.
        retry_after_seconds: u32,
    },
    /// The gate has no policy yet.
    #[error("the gate has no policy yet")]
    NoPolicy,
}

impl Refusal {
    /// The stable code of the contract.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::InvalidSignature => "invalid_signature",
            Self::UnknownClient => "unknown_client",
            Self::ClockSkew { .. } => "clock_skew",
            Self::Forbidden(_) | Self::ClientPaused { .. } => "forbidden",
            Self::NotFound | Self::NoReceipt => "not_found",
            Self::RequestIdConflict => "request_id_conflict",
            Self::AlreadyDecided => "already_decided",
            Self::AlreadyRedeemed { .. } => "already_redeemed",
            Self::NotApproved => "not_approved",
            Self::PayloadMismatch => "payload_mismatch",
            Self::TokenExpired => "token_expired",
            Self::LinkExpired => "link_expired",
            Self::PayloadTooLarge { .. } => "payload_too_large",
            Self::InvalidRequest(_) => "invalid_request",
            Self::RateLimited { .. } | Self::TooManyPending { .. } => "rate_limited",
            Self::NotSealed { .. } => "unavailable",
            Self::NoPolicy => "no_policy",
        }
    }

    /// A refusal for one field.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::InvalidRequest(vec![FieldError::new(field, message)])
    }
}
