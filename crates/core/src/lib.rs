//! The rules of Placet: what may be asked, who decides, when it ends, and what proves it.
//!
//! Everything here is pure. There is no I/O, no clock, no randomness, no AWS and no HTTP: times, ids and random
//! bytes are passed in, and the callers wrap the rules in conditional writes.

pub mod admin_link;
pub mod audit;
pub mod chat;
mod fault;
pub mod grammar;
pub mod id;
pub mod keys;
pub mod link;
pub mod numbers;
pub mod payload;
pub mod policy;
pub mod practice;
pub mod refusal;
#[cfg(feature = "conditions")]
pub mod replay;
pub mod request;
pub mod signature;
pub mod tally;
pub mod time;
pub mod token;
pub mod words;

pub use fault::Fault;
pub use refusal::Refusal;
pub use time::Timestamp;
