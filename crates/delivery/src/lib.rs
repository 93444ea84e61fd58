//! The outbox worker: it takes one committed message and tells somebody.
//!
//! [`Worker::run`] returns [`Progress::Done`] or [`Progress::RetryAt`]; the local gate's loop and the sweep on AWS drive
//! it. Wording, pacing, giving up and the words of alerts live here. What was decided is the gate's: nothing here
//! changes a request, except that a callback that is given up is recorded, through the gate.
//!
//! - `channel`: how a person is told: the trait, the registry by name, and one file for each channel, beside the
//!   SDK that it needs (`placet/src/mail.rs`, `placet/src/files.rs`, `aws/src/channels`).
//! - `notify`: asking a person: order, failover, nudges, quiet hours, pacing, reminders. `refresh`: what was sent is
//!   brought up to date. `card`: a message by its parts.
//! - `slack`, `telegram`, `reviewer_webhook`: channels that need nothing but JSON over HTTPS.
//! - `push`: encrypted news for a reviewer's devices.
//! - `queue`, `callback`: how a system and a caller are told. `alert`, `ways`: the words of alerts, and by which ways
//!   operators are told.
//! - `report`: the weekly report, by the same ways.
//! - `wording`: the texts.
//! - `worker`: from a message to the channel, and what follows.

pub mod alert;
pub mod callback;
pub mod card;
pub mod channel;
mod host_limiter;
mod later;
mod notify;
pub mod push;
pub mod queue;
mod refresh;
mod report;
mod retry;
mod reviewer_webhook;
mod run;
pub mod slack;
pub mod telegram;
pub mod ways;
mod wording;
mod worker;

pub use alert::{AlertNotice, AlertSink, OperatorsTopic};
pub use callback::Webhooks;
pub use card::{Card, Stands};
pub use channel::{Channel, Channels, Notification, SendOutcome, SendWatcher, SettleOutcome};
pub use later::Later;
pub use push::Push;
pub use queue::Queues;
pub use report::ReportNotice;
pub use reviewer_webhook::ReviewerWebhook;
pub use slack::Slack;
pub use telegram::Telegram;
pub use ways::{AlertLetter, AlertMail, AlertWays};
pub use wording::REMINDER;
pub use worker::{Bodies, Parts, Progress, Worker};
