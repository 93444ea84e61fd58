//! Sends one signed callback (Standard Webhooks) to a host that somebody else chose.
//!
//! The only crate that opens connections to other people's hosts, so all that keeps such a connection
//! harmless lives here: which addresses may be reached, redirects, time and size limits. It knows nothing
//! of approvals, policy or storage, keeps no state but idle connections, and does not retry: [`schedule`]
//! says when a caller should.
//!
//! Architecture invariant: an address is checked after the name is resolved, and the connection goes to the
//! addresses that were checked; no second lookup takes place between the two.

mod address;
mod connect;
mod resolve;
pub mod schedule;
mod send;
mod target;

pub use resolve::{Resolve, Resolving, SystemResolver};
pub use send::{Attempt, Message, Options, Sender};
pub use target::{Target, TargetProblem};
