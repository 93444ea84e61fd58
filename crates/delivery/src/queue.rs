//! How a heavyweight system is told: a message in the queue that its stage names.

use async_trait::async_trait;
use placet_gate::{ApprovalView, Fault};

/// A request for a queue.
#[derive(Clone, Copy)]
pub struct QueueItem<'a> {
    /// Index of the stage.
    pub stage: usize,
    /// The request.
    pub view: ApprovalView<'a>,
}

/// The queues of a gate: files on one machine, SQS on AWS.
#[async_trait]
pub trait Queues: Send + Sync + 'static {
    /// Puts that message into that queue. `name` is the same on every try.
    async fn publish(&self, queue: &str, name: &str, body: &str) -> Result<(), Fault>;
}
