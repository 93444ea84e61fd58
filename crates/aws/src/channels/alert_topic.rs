//! Alerts by an SNS topic, to whoever is subscribed to it.

use async_trait::async_trait;
use placet_delivery::alert::AlertState;
use placet_delivery::{AlertLetter, AlertNotice, AlertSink, OperatorsTopic};

use super::{attribute, refused, subject};

/// The message attribute that names an alert's kind.
const KIND: &str = "alert";

/// What it names for a weekly report.
const REPORT: &str = "weekly_report";

/// The topic of alerts.
pub(crate) struct AlertTopic {
    pub(crate) sns: aws_sdk_sns::Client,
    pub(crate) arn: String,
    /// The gate's name.
    pub(crate) gate: String,
}

#[async_trait]
impl AlertSink for AlertTopic {
    async fn alert(&self, notice: &AlertNotice) -> Result<(), String> {
        let (kind, text) = (notice.kind, notice.text());
        let over = if notice.state == AlertState::Over { "over: " } else { "" };
        self.sns
            .publish()
            .topic_arn(&self.arn)
            .subject(subject(&format!("[Placet {}] {over}{}", self.gate, kind.replace('_', " "))))
            .message(format!("{text}\n\n{}\nGate: {}\nAlert: {kind}\n", notice.since_line(), self.gate))
            .message_attributes(KIND, attribute(kind)?)
            .send()
            .await
            .map(drop)
            .map_err(|error| refused(&error))
    }
}

#[async_trait]
impl OperatorsTopic for AlertTopic {
    async fn publish(&self, letter: &AlertLetter) -> Result<(), String> {
        self.sns
            .publish()
            .topic_arn(&self.arn)
            .subject(subject(&letter.subject))
            .message(&letter.text)
            .message_attributes(KIND, attribute(REPORT)?)
            .send()
            .await
            .map(drop)
            .map_err(|error| refused(&error))
    }
}
