//! How a heavyweight system is told: a message in the queue that its stage names.

use async_trait::async_trait;
use placet_gate::Fault;

/// The queues of a gate: files on one machine, SQS on AWS.
#[async_trait]
pub trait Queues: Send + Sync + 'static {
    /// Puts that message into that queue. `name` is the same on every try.
    async fn publish(&self, queue: &str, name: &str, body: &str) -> Result<(), Fault>;
}
