//! Texts by SNS, to a phone's number directly.

use async_trait::async_trait;
use placet_delivery::{Channel, Notification, SendOutcome};

use super::{attribute, refused};

/// Texts to reviewers' phones.
pub(crate) struct Sms {
    pub(crate) sns: aws_sdk_sns::Client,
    /// The sender that a text shows, where the country allows one.
    pub(crate) sender_id: Option<String>,
}

#[async_trait]
impl Channel for Sms {
    fn name(&self) -> &'static str {
        "sms"
    }

    async fn send(&self, notification: &Notification) -> SendOutcome {
        let Some(phone) = &notification.address else {
            return SendOutcome::Unreachable("the reviewer has no phone".into());
        };
        match self.publish(phone, &notification.text).await {
            Ok(()) => SendOutcome::Delivered(None),
            Err(reason) => SendOutcome::Retry(reason),
        }
    }
}

impl Sms {
    async fn publish(&self, phone: &str, text: &str) -> Result<(), String> {
        let mut publish = self
            .sns
            .publish()
            .phone_number(phone)
            .message(text)
            .message_attributes("AWS.SNS.SMS.SMSType", attribute("Transactional")?);
        if let Some(sender) = &self.sender_id {
            publish = publish.message_attributes("AWS.SNS.SMS.SenderID", attribute(sender)?);
        }
        publish.send().await.map(drop).map_err(|error| refused(&error))
    }
}
