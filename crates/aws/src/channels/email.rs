//! Mail by an SNS topic: each reviewer's subscription is filtered by their name.

use async_trait::async_trait;
use placet_delivery::{AlertLetter, AlertMail, Channel, Notification, SendOutcome};

use super::{attribute, refused, subject};

/// The message attribute by which a reviewer's subscription to the topic of mails is filtered.
pub(crate) const REVIEWER: &str = "reviewer";

/// How the filter of an address names a way of alerts: no reviewer's name has a slash.
pub(crate) fn way_name(way: &str) -> String {
    format!("alerts/{way}")
}

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
        let whose = notification.reviewer.as_str();
        match self.publish(whose, &notification.subject, &notification.text).await {
            Ok(()) => SendOutcome::Delivered(None),
            Err(reason) => SendOutcome::Retry(reason),
        }
    }
}

/// The addresses of a way are subscribed as those of reviewers are, under a name of the way's own.
#[async_trait]
impl AlertMail for EmailTopic {
    async fn mail(&self, way: &str, _to: &[String], letter: &AlertLetter) -> SendOutcome {
        match self.publish(&way_name(way), &letter.subject, &letter.text).await {
            Ok(()) => SendOutcome::Delivered(None),
            Err(reason) => SendOutcome::Retry(reason),
        }
    }
}

impl EmailTopic {
    async fn publish(&self, whose: &str, line: &str, text: &str) -> Result<(), String> {
        self.sns
            .publish()
            .topic_arn(&self.arn)
            .subject(subject(line))
            .message(text)
            .message_attributes(REVIEWER, attribute(whose)?)
            .send()
            .await
            .map(drop)
            .map_err(|error| refused(&error))
    }
}
