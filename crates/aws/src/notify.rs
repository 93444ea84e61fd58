//! Who is told on AWS: reviewers and operators by SNS, other systems by SQS, callers by HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_sns::types::MessageAttributeValue;
use placet_gate::Fault;
use placet_gate::alert::Alert;
use placet_gate::ports::{DeliveryOutcome, Notification, Notify, Post, Via, View};
use placet_http::{callbacks, wire};
use placet_webhook::Sender;

use crate::alerts::{self, AlertTopic};

/// The message attribute by which a reviewer's subscription to the topic of mails is filtered.
pub(crate) const REVIEWER: &str = "reviewer";

/// SNS takes a subject of less than 100 characters of ASCII.
/// Source: <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>.
const SUBJECT_CHARS: usize = 99;

/// Tells people and programs, from the one function that sends what is due.
pub(crate) struct AwsNotify {
    pub(crate) sns: aws_sdk_sns::Client,
    pub(crate) sqs: aws_sdk_sqs::Client,
    pub(crate) email_topic_arn: String,
    pub(crate) alerts: Arc<AlertTopic>,
    pub(crate) queues: BTreeMap<String, String>,
    pub(crate) sms_sender_id: Option<String>,
    pub(crate) sender: Sender,
}

#[async_trait]
impl Notify for AwsNotify {
    async fn tell(&self, letter: &Notification) -> Result<(), Fault> {
        let publish = self.sns.publish();
        let publish = match (letter.channel, &letter.address) {
            (Via::Email, Some(_)) => publish
                .topic_arn(&self.email_topic_arn)
                .subject(subject(&letter.subject))
                .message(&letter.text)
                .message_attributes(REVIEWER, attribute(letter.reviewer.as_str())?),
            (Via::Sms, Some(phone)) => {
                let mut publish = publish
                    .phone_number(phone)
                    .message(&letter.text)
                    .message_attributes("AWS.SNS.SMS.SMSType", attribute("Transactional")?);
                if let Some(sender) = &self.sms_sender_id {
                    publish = publish.message_attributes("AWS.SNS.SMS.SenderID", attribute(sender)?);
                }
                publish
            }
            (Via::Email | Via::Sms, None) | (Via::Slack | Via::Terminal, _) => {
                return Err(Fault::bare(
                    "the reviewer has no email and no phone, by which AWS could reach them",
                ));
            }
        };
        publish
            .send()
            .await
            .map(drop)
            .map_err(|error| Fault::new("SNS did not take a reviewer's message", error))
    }

    async fn publish(&self, queue: &str, stage: usize, view: &View<'_>) -> Result<(), Fault> {
        let url = self.queues.get(queue);
        let url = url.ok_or(Fault::bare("the policy names a queue that this deployment does not have"))?;
        self.sqs
            .send_message()
            .queue_url(url)
            .message_body(wire::queue_message(stage, view).to_string())
            .send()
            .await
            .map(drop)
            .map_err(|error| Fault::new("a queue did not take a request", error))
    }

    async fn post(&self, post: &Post<'_>) -> DeliveryOutcome {
        callbacks::post(&self.sender, post).await
    }

    async fn alert(&self, alert: &Alert) {
        alerts::raise(&*self.alerts, alert).await;
    }

    fn check_url(&self, url: &str, callback_hosts: &[String]) -> Result<(), String> {
        callbacks::check_url(url, callback_hosts)
    }
}

pub(crate) fn attribute(value: &str) -> Result<MessageAttributeValue, Fault> {
    MessageAttributeValue::builder()
        .data_type("String")
        .string_value(value)
        .build()
        .map_err(|error| Fault::new("a message's attribute cannot be made", error))
}

/// A subject as SNS takes it. The whole words are in the text.
pub(crate) fn subject(text: &str) -> String {
    let plain = |character: char| match character {
        ' '..='~' => character,
        _ => '?',
    };
    text.chars().map(plain).take(SUBJECT_CHARS).collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_short_printable_ascii() {
        assert_eq!(subject("Approve? Pay 5,000 EUR"), "Approve? Pay 5,000 EUR");
        assert_eq!(subject("Approve? Zahle Müller\n12 €"), "Approve? Zahle M?ller?12 ?");
        let long = subject(&"é".repeat(300));
        assert_eq!((long.len(), long.is_ascii()), (99, true));
    }
}
