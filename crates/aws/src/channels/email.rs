//! Mail by an SNS topic: each reviewer's subscription is filtered by their name.

use async_trait::async_trait;
use placet_core::Fault;
use placet_delivery::{Channel, Notification, SendOutcome};

use super::{attribute, subject};

/// The message attribute by which a reviewer's subscription to the topic of mails is filtered.
pub(crate) const REVIEWER: &str = "reviewer";

/// The topic of reviewers' mails.
pub(crate) struct EmailTopic {
    pub(crate) sns: aws_sdk_sns::Client,
    pub(crate) arn: String,
}

#[async_trait]
impl Channel for EmailTopic {
    fn name(&self) -> &'static str {
        "email"
    }

    async fn send(&self, notification: &Notification) -> SendOutcome {
        match self.publish(notification).await {
            Ok(()) => SendOutcome::Delivered(None),
            Err(fault) => SendOutcome::Retry(fault.chain()),
        }
    }
}

impl EmailTopic {
    async fn publish(&self, notification: &Notification) -> Result<(), Fault> {
        self.sns
            .publish()
            .topic_arn(&self.arn)
            .subject(subject(&notification.subject))
            .message(&notification.text)
            .message_attributes(REVIEWER, attribute(notification.reviewer.as_str())?)
            .send()
            .await
            .map(drop)
            .map_err(|error| Fault::new("SNS did not take a reviewer's mail", error))
    }
}
