//! A practice round: cases of which the truth is known, for one reviewer, with the truth told after each answer.
//!
//! Everything follows from the link and from what its forms bring back, signed. Nothing of it is stored, and no case is a
//! request: it has no id of the gate's, no state and no token, so there is nothing that could reach anybody.

mod alter;
mod link;
mod round;
mod samples;

pub use link::{PracticeLink, Progress};
pub use round::{Altered, CASES, Case, Draw, Material, Origin, cases};
