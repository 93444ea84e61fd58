//! The outbox worker: it takes one committed message and tells somebody.
//!
//! [`Worker::run`] returns [`Progress::Done`] or [`Progress::RetryAt`]; the local gate's loop and the sweep on AWS drive
//! it. Wording, pacing, giving up and the words of alerts live here. What was decided is the gate's: nothing here
//! changes a request, except that a callback that is given up is recorded, through the gate.
//!
//! - `channel`: how a person is told: the trait, the registry by name, and one file for each channel, beside the
//!   SDK that it needs (`placet/src/mail.rs`, `placet/src/files.rs`, `aws/src/channels`).
//! - `queue`, `callback`, `alert`: how a system, a caller and operators are told.
//! - `wording`: the texts.
//! - `worker`: from a message to the channel, and what follows.

pub mod alert;
pub mod callback;
pub mod channel;
mod host_limiter;
pub mod queue;
mod retry;
mod wording;
mod worker;

pub use alert::{AlertNotice, AlertSink};
pub use callback::Webhooks;
pub use channel::{Channel, Channels, Notification, SendOutcome};
pub use queue::Queues;
pub use worker::{Bodies, Parts, Progress, Worker};
