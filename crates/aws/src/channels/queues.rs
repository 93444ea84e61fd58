//! Queues of heavyweight systems: SQS.

use std::collections::BTreeMap;

use async_trait::async_trait;
use placet_core::Fault;
use placet_delivery::Queues;

use crate::deadline_queue::sendable;

/// The queues that this deployment has, by the name that policies use.
pub(crate) struct SqsQueues {
    pub(crate) sqs: aws_sdk_sqs::Client,
    pub(crate) urls: BTreeMap<String, String>,
}

#[async_trait]
impl Queues for SqsQueues {
    async fn publish(&self, queue: &str, _name: &str, body: &str) -> Result<(), Fault> {
        let url = self.urls.get(queue);
        let url = url.ok_or(Fault::bare("the policy names a queue that this deployment does not have"))?;
        self.sqs
            .send_message()
            .queue_url(url)
            .message_body(sendable(body.to_owned()))
            .send()
            .await
            .map(drop)
            .map_err(|error| Fault::new("a queue did not take a request", error))
    }
}
