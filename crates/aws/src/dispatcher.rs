//! The dispatcher of the functions that answer people and programs: one call of SQS after a commit.
//!
//! Nothing is left to run after the answer: Lambda freezes the process. What the queue does not take, the sweep finds.

use async_trait::async_trait;
use placet_gate::ports::{Clock as _, Dispatch, Dispatcher};

use crate::SystemClock;
use crate::deadline_queue::DeadlineQueue;
use crate::job::Job;

/// Hands over to the deadline queue.
pub(crate) struct SqsDispatcher(pub(crate) DeadlineQueue);

#[async_trait]
impl Dispatcher for SqsDispatcher {
    async fn dispatch(&self, work: Dispatch) {
        let now = SystemClock.now();
        let jobs: Vec<(Job, i64)> = Job::after(&work, now).into_iter().map(|job| job.delayed(now)).collect();
        if let Err(fault) = self.0.put(&jobs).await {
            tracing::error!(
                error = fault.chain(),
                "a job was not taken; the sweep does it within two minutes"
            );
        }
    }
}
