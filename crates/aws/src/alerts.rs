//! How operators are alerted: by the topic of alerts, or by way of the function that may publish there.

use async_trait::async_trait;
use placet_gate::Fault;
use placet_gate::alert::Alert;
use placet_gate::ports::{Clock as _, DeliveryOutcome, Notification, Notify, Post, View};
use placet_http::callbacks;

use crate::SystemClock;
use crate::errand::{DeadlineQueue, Errand};
use crate::notify::{attribute, subject};

/// The message attribute that names an alert's kind.
const KIND: &str = "alert";

/// Takes an alert on its way.
#[async_trait]
pub(crate) trait Raise: Send + Sync + 'static {
    /// Takes one: its kind, and a sentence for people.
    async fn raise(&self, kind: &str, text: &str) -> Result<(), Fault>;
}

/// The topic of alerts.
pub(crate) struct AlertTopic {
    pub(crate) sns: aws_sdk_sns::Client,
    pub(crate) arn: String,
    pub(crate) gate: String,
}

#[async_trait]
impl Raise for AlertTopic {
    async fn raise(&self, kind: &str, text: &str) -> Result<(), Fault> {
        self.sns
            .publish()
            .topic_arn(&self.arn)
            .subject(subject(&format!("[Placet {}] {}", self.gate, kind.replace('_', " "))))
            .message(format!("{text}\n\nGate: {}\nAlert: {kind}\n", self.gate))
            .message_attributes(KIND, attribute(kind)?)
            .send()
            .await
            .map(drop)
            .map_err(|error| Fault::new("SNS did not take an alert", error))
    }
}

/// By way of `timeout-sweep`: then the functions that the world calls hold no client of SNS, and may not publish.
#[async_trait]
impl Raise for DeadlineQueue {
    async fn raise(&self, kind: &str, text: &str) -> Result<(), Fault> {
        let alert = Errand::Alert { kind: kind.to_owned(), text: text.to_owned() };
        self.put(&[alert], SystemClock.now()).await
    }
}

/// Raises an alert. One that cannot be raised is in the log, and the log's errors raise an alarm.
pub(crate) async fn raise(by: &impl Raise, alert: &Alert) {
    tracing::warn!(alert = alert.kind(), "{alert}");
    if let Err(fault) = by.raise(alert.kind(), &alert.to_string()).await {
        tracing::error!(alert = alert.kind(), error = fault.chain(), "an alert could not be published");
    }
}

/// Alerts operators and tells nobody else: for the functions that hand over whatever else goes out.
pub(crate) struct OnlyAlerts<R>(pub(crate) R);

const SENDS_NOTHING: &str = "this function sends nothing";

#[async_trait]
impl<R: Raise> Notify for OnlyAlerts<R> {
    async fn tell(&self, _: &Notification) -> Result<(), Fault> {
        Err(Fault::bare(SENDS_NOTHING))
    }

    async fn publish(&self, _: &str, _: usize, _: &View<'_>) -> Result<(), Fault> {
        Err(Fault::bare(SENDS_NOTHING))
    }

    async fn post(&self, post: &Post<'_>) -> DeliveryOutcome {
        callbacks::again(post, None, SENDS_NOTHING.to_owned())
    }

    async fn alert(&self, alert: &Alert) {
        raise(&self.0, alert).await;
    }

    fn check_url(&self, url: &str, callback_hosts: &[String]) -> Result<(), String> {
        callbacks::check_url(url, callback_hosts)
    }
}
