//! What the rotation hands to `timeout-sweep`, so that it needs neither the tables nor the topic of alerts itself.

use serde::{Deserialize, Serialize};

/// What a rotation did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum RotationJob {
    /// An epoch is current: to be recorded and told.
    Finished {
        /// Its number.
        epoch: u32,
    },
    /// A step failed; the keys from before stay in force.
    Failed {
        /// Which.
        step: String,
        /// Why, in constant words.
        reason: String,
    },
}

/// As an entry of the queue.
#[derive(Serialize)]
pub(crate) struct Envelope<'j> {
    pub(crate) rotation: &'j RotationJob,
}
