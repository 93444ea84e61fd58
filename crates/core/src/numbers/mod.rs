//! The weekly numbers: pure functions from what was recorded to what a team looks at on Monday.
//!
//! Nothing is read here, and nobody is ranked: what is said of a person is how often they were asked.

mod estimate;
mod fact;
mod report;
mod sensitivity;
mod tally;

pub use estimate::{ENOUGH, Estimate};
pub use fact::{Ask, DecidedBy, Fact, Told, shortest_reading_ms};
pub use report::{
    Before, Change, Counts, DayCounts, Doubt, Errors, FalseApprovals, Group, Load, ObservedRule, Percentiles,
    Report, ReviewerLoad, Share, Times, Window,
};
pub use sensitivity::{Answers, Sensitivity};
pub use tally::Tally;
