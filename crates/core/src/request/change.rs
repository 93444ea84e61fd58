//! A payload that a reviewer changed, and what they typed.

use crate::id::ReviewerId;
use crate::payload::Payload;
use crate::words::FieldPath;

/// The payload that is asked for by now, in place of the one that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// The whole payload, changed.
    pub payload: Payload,
    /// Hex SHA-256 of its canonical text.
    pub payload_sha256: String,
    /// Who changed it last.
    pub by: ReviewerId,
    /// The fields that differ from what was asked.
    pub fields: Vec<FieldPath>,
}

/// What a reviewer typed into a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The field's path, as the page named it.
    pub path: String,
    /// What stands there now.
    pub text: String,
}
