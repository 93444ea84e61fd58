//! What one request adds to a running total (`policy::totals` says which, and how it is read).

use serde::{Deserialize, Serialize};

/// What one request adds to one account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// Whose requests of what kind add up: 32 hex digits.
    pub account: String,
    /// How much it adds: 1 where requests are counted. Never negative.
    pub amount: f64,
}

// Amounts come from JSON, which has no NaN.
impl Eq for Tally {}
