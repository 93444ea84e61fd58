//! How operators are told: by each way of the policy, apart from the others, paced, and again until it gets through.
//!
//! One alert becomes one outbox message for each way, so a way that is down holds up no other one and nothing is said
//! twice by those that work.

mod pagerduty;
mod posts;
mod slack;
mod webhook;

use std::fmt::Write as _;
use std::sync::Arc;

use async_trait::async_trait;
use placet_core::Timestamp;
use placet_core::chat::AlertSecret;
use placet_core::policy::{AlertWay, WayKind};
use placet_core::refusal::Refusal;
use placet_gate::alert::{Alert, MatterNow};
use placet_gate::outbox::{OutboxMessage, OutboxPayload, OutboxSubject};
use placet_gate::{Error, Fault, Gate, LEASE_MS};
use placet_webhook::Sender;

use crate::alert::{AlertNotice, AlertState, OperatorsTopic};
use crate::channel::SendOutcome;
use crate::report::ReportNotice;
use crate::retry::{ALERT_AFTER, Again};
use crate::worker::{Progress, Worker};

/// How many messages one way gets in a minute; then one that says how many more there were.
const PER_MINUTE: u32 = 10;

/// For how long a message is tried, in milliseconds.
pub(crate) const TRIED_FOR_MS: i64 = placet_core::time::DAY_MS;

const MINUTE_MS: i64 = 60_000;

/// How often it is looked whether an alert has been said whose matter is over, in milliseconds.
const OPENING_MS: i64 = 10_000;

/// The way that a gate on AWS has by itself, where its policy names none.
const TOPIC: &str = "sns";

/// Mails to operators.
#[async_trait]
pub trait AlertMail: Send + Sync + 'static {
    /// Mails one text to all addresses of that way, as one mail.
    async fn mail(&self, way: &str, to: &[String], letter: &AlertLetter) -> SendOutcome;
}

/// A mail to operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertLetter {
    /// The same on every try.
    pub id: String,
    /// One line.
    pub subject: String,
    /// The words.
    pub text: String,
}

impl AlertLetter {
    /// That notice as a mail.
    pub fn of(notice: &AlertNotice) -> Self {
        let mut text = format!("{}\n\n{}\n", notice.happened, notice.since_line());
        if let Some(to_do) = &notice.to_do {
            let _ = write!(text, "\nWhat to do: {to_do}\n");
        }
        let _ = write!(text, "\nGate: {}\nAlert: {}\n", notice.gate, notice.kind);
        Self { id: notice.id.clone(), subject: format!("[Placet] {}", notice.headline()), text }
    }
}

/// What ways of alerts are sent by.
pub struct AlertWays {
    /// The gate whose secrets and keys they need.
    pub gate: Arc<Gate>,
    /// Sends posts.
    pub sender: Sender,
    /// Sends mail.
    pub mail: Arc<dyn AlertMail>,
    /// The topic of a gate on AWS.
    pub topic: Option<Arc<dyn OperatorsTopic>>,
}

impl AlertWays {
    /// Says one notice by one way, once.
    pub async fn send(&self, way: &AlertWay, notice: &AlertNotice) -> SendOutcome {
        match &way.kind {
            WayKind::Sns => match &self.topic {
                Some(topic) => match topic.alert(notice).await {
                    Ok(()) => SendOutcome::Delivered(None),
                    Err(reason) => SendOutcome::Retry(reason),
                },
                None => SendOutcome::Unreachable("this gate has no SNS topic".into()),
            },
            WayKind::Mail(to) => self.mail.mail(&way.name, to, &AlertLetter::of(notice)).await,
            WayKind::Slack => match self.secret(way).await {
                Ok(AlertSecret::Slack { url }) => slack::send(&self.sender, &url, notice).await,
                Ok(_) => other_secret(way),
                Err(reason) => SendOutcome::Retry(reason),
            },
            WayKind::PagerDuty => match self.secret(way).await {
                Ok(AlertSecret::Pagerduty { routing_key, api_url }) => {
                    pagerduty::send(&self.sender, &routing_key, api_url.as_deref(), notice).await
                }
                Ok(_) => other_secret(way),
                Err(reason) => SendOutcome::Retry(reason),
            },
            WayKind::Webhook { url: Some(url), callback_hosts } => {
                webhook::send(&self.gate, &self.sender, way, url, callback_hosts, notice).await
            }
            WayKind::Webhook { url: None, callback_hosts } => match self.secret(way).await {
                Ok(AlertSecret::Webhook { url }) => {
                    webhook::send(&self.gate, &self.sender, way, url.expose(), callback_hosts, notice).await
                }
                Ok(_) => other_secret(way),
                Err(reason) => SendOutcome::Retry(reason),
            },
        }
    }

    /// Sends one report by one way, once.
    pub async fn send_report(&self, way: &AlertWay, notice: &ReportNotice) -> SendOutcome {
        match &way.kind {
            WayKind::Sns => match &self.topic {
                Some(topic) => match topic.publish(&notice.letter()).await {
                    Ok(()) => SendOutcome::Delivered(None),
                    Err(reason) => SendOutcome::Retry(reason),
                },
                None => SendOutcome::Unreachable("this gate has no SNS topic".into()),
            },
            WayKind::Mail(to) => self.mail.mail(&way.name, to, &notice.letter()).await,
            WayKind::Slack => match self.secret(way).await {
                Ok(AlertSecret::Slack { url }) => {
                    slack::post(&self.sender, &url, slack::report_text(notice)).await
                }
                Ok(_) => other_secret(way),
                Err(reason) => SendOutcome::Retry(reason),
            },
            // The policy says so where it is read.
            WayKind::PagerDuty => SendOutcome::Unreachable("PagerDuty takes no reports".into()),
            WayKind::Webhook { url: Some(url), callback_hosts } => {
                webhook::send_report(&self.gate, &self.sender, way, url, callback_hosts, notice).await
            }
            WayKind::Webhook { url: None, callback_hosts } => match self.secret(way).await {
                Ok(AlertSecret::Webhook { url }) => {
                    webhook::send_report(&self.gate, &self.sender, way, url.expose(), callback_hosts, notice)
                        .await
                }
                Ok(_) => other_secret(way),
                Err(reason) => SendOutcome::Retry(reason),
            },
        }
    }

    async fn secret(&self, way: &AlertWay) -> Result<AlertSecret, String> {
        let channels = self.gate.channel_settings().await.map_err(|fault| told(&fault))?;
        let secret = channels.alerts.get(&way.name).cloned();
        secret.ok_or_else(|| format!("its secret is not set: `placet alert set {}`", way.name))
    }
}

/// What a fault is called where others read it. What is below it can quote addresses: that is for the log.
pub(crate) fn told(fault: &Fault) -> String {
    tracing::warn!(error = fault.chain(), "a way of alerts cannot be used");
    fault.to_string()
}

fn other_secret(way: &AlertWay) -> SendOutcome {
    SendOutcome::Retry(format!("its secret is that of something else: `placet alert set {}`", way.name))
}

impl Worker {
    /// Operators are alerted: the log at once, each way by a message of its own.
    pub(crate) async fn alert(&self, message: &OutboxMessage, alert: &Alert) -> Result<Progress, Error> {
        let gate = self.gate_name().await?;
        let notice = AlertNotice::of(alert, &message.subject, &message.id, message.created_at, &gate);
        for sink in &self.parts.alerts {
            if let Err(reason) = sink.alert(&notice).await {
                tracing::error!(alert = notice.kind, error = reason, "an alert was not taken");
                let again = Again::after_failure(message.attempt);
                let due_at = self.gate.now().plus_millis(again.in_ms);
                return self.put_off(message, again.attempt, due_at).await;
            }
        }
        self.by_each_way(message, alert, AlertState::Open, message.created_at).await
    }

    /// What operators were alerted of is over, unless it goes on, or they never were.
    pub(crate) async fn alert_over(&self, message: &OutboxMessage, alert: &Alert) -> Result<Progress, Error> {
        match self.gate.look_whether_over(&message.subject, alert).await? {
            MatterNow::Over => {}
            MatterNow::GoesOn(look_at) => return self.put_off(message, message.attempt, look_at).await,
            MatterNow::NeverSaid => return self.ack(message).await,
        }
        if self.waits(message, &OutboxPayload::Alert(alert.clone())).await? {
            return self.after_opening(message).await;
        }
        // Where it has begun anew meanwhile, another message has taken this one's place.
        let Some(message) = self.gate.claim(message).await? else { return Ok(Progress::Done) };
        let matter = alert.matter(&message.subject);
        tracing::info!(alert = alert.kind(), matter, "what was alerted is over");
        self.by_each_way(&message, alert, AlertState::Over, self.gate.now()).await
    }

    /// Whether that message about the same thing has yet to be told.
    async fn waits(&self, message: &OutboxMessage, other: &OutboxPayload) -> Result<bool, Error> {
        let id = OutboxMessage::id_of(&message.subject, other);
        Ok(self.store().message(&id).await?.is_some())
    }

    /// Nothing is over before it was said: again when that may have been.
    async fn after_opening(&self, message: &OutboxMessage) -> Result<Progress, Error> {
        self.put_off(message, message.attempt, self.gate.now().plus_millis(OPENING_MS)).await
    }

    async fn by_each_way(
        &self,
        message: &OutboxMessage,
        alert: &Alert,
        state: AlertState,
        since: Timestamp,
    ) -> Result<Progress, Error> {
        let itself = match alert {
            Alert::WayNotReached { way, .. } => Some(way.as_str()),
            _ => None,
        };
        let over = state == AlertState::Over;
        let opened = (over && alert.goes_on()).then_some(message.created_at);
        let ways = self.ways().await?;
        let heard = ways.iter().filter(|way| way.hears(alert.kind()) && itself != Some(way.name.as_str()));
        let payloads: Vec<OutboxPayload> = heard
            .map(|way| OutboxPayload::AlertBy {
                way: way.name.clone(),
                alert: Box::new(alert.clone()),
                over,
                since,
                opened,
            })
            .collect();
        if payloads.is_empty() {
            return self.ack(message).await;
        }
        self.gate.replace_message(message, payloads).await?;
        Ok(Progress::Done)
    }

    /// Says an alert by one way.
    pub(crate) async fn alert_by(
        &self,
        message: &OutboxMessage,
        way: &str,
        alert: &Alert,
        since: Timestamp,
    ) -> Result<Progress, Error> {
        // What is told late may be over by now, and this way may have said so.
        let is_late = message.attempt > 0 || self.gate.now().millis_since(message.created_at) >= LEASE_MS;
        if is_late && !self.gate.still_holds(&message.subject, alert, since).await? {
            return self.ack(message).await;
        }
        self.say_of(message, way, alert, AlertState::Open, since).await
    }

    /// Says by one way that the matter of an alert is over, after that way has said the alert.
    pub(crate) async fn over_by(
        &self,
        message: &OutboxMessage,
        way: &str,
        alert: &Alert,
        since: Timestamp,
        opened: Option<Timestamp>,
    ) -> Result<Progress, Error> {
        if let Some(opened) = opened {
            let opening = OutboxPayload::AlertBy {
                way: way.to_owned(),
                alert: Box::new(alert.clone()),
                over: false,
                since: opened,
                opened: None,
            };
            if self.waits(message, &opening).await? {
                return self.after_opening(message).await;
            }
            let now = self.gate.look_whether_over(&message.subject, alert).await?;
            if matches!(now, MatterNow::GoesOn(_)) {
                // It has begun anew: whoever looks after that says when it is over.
                return self.ack(message).await;
            }
        }
        self.say_of(message, way, alert, AlertState::Over, since).await
    }

    async fn say_of(
        &self,
        message: &OutboxMessage,
        way: &str,
        alert: &Alert,
        state: AlertState,
        since: Timestamp,
    ) -> Result<Progress, Error> {
        let ways = self.ways().await?;
        let Some(way) = ways.iter().find(|known| known.name == way) else { return self.ack(message).await };
        let gate = self.gate_name().await?;
        let over = state == AlertState::Over;
        let notice = if over {
            AlertNotice::over(alert, &message.subject, &message.id, since, &gate)
        } else {
            AlertNotice::of(alert, &message.subject, &message.id, since, &gate)
        };
        // What closes an incident makes no noise, and one that is not closed does.
        let is_silent = over && way.kind == WayKind::PagerDuty;
        if message.attempt == 0 && !is_silent {
            let now = self.gate.now();
            let minute = now.millis().div_euclid(MINUTE_MS);
            if self.count(&way.name, minute).await? > PER_MINUTE {
                let end = minute_start(minute.saturating_add(1));
                let payload = OutboxPayload::AlertSummary { way: way.name.clone(), minute };
                let summary = OutboxMessage::of_the_gate(payload, end, end);
                self.store().replace(&message.id, std::slice::from_ref(&summary)).await?;
                return Ok(Progress::RetryAt(summary));
            }
        }
        let is_about_a_way = matches!(alert, Alert::WayNotReached { .. });
        self.say(message, way, &notice, is_about_a_way).await
    }

    /// Says how many messages of a minute were left out.
    pub(crate) async fn alert_summary(
        &self,
        message: &OutboxMessage,
        way: &str,
        minute: i64,
    ) -> Result<Progress, Error> {
        let ways = self.ways().await?;
        let Some(way) = ways.iter().find(|known| known.name == way) else { return self.ack(message).await };
        if message.attempt == 0 {
            // Others of the same minute may still be on their way.
            let end = minute_start(minute.saturating_add(1));
            if self.gate.now() < end {
                return self.hold_until(message, end).await;
            }
        }
        let counted = self.count(&way.name, minute).await?;
        // What was counted here: this very look, once for each try.
        let looks = message.attempt.saturating_add(1);
        let more = counted.saturating_sub(PER_MINUTE).saturating_sub(looks).max(1);
        let notice = AlertNotice::summary(&way.name, more, minute, &message.id, &self.gate_name().await?);
        self.say(message, way, &notice, false).await
    }

    async fn count(&self, way: &str, minute: i64) -> Result<u32, Error> {
        let until = minute_start(minute).plus_millis(TRIED_FOR_MS);
        Ok(self.store().tally(&format!("alerts/{way}/{minute}"), until).await?)
    }

    async fn say(
        &self,
        message: &OutboxMessage,
        way: &AlertWay,
        notice: &AlertNotice,
        is_about_a_way: bool,
    ) -> Result<Progress, Error> {
        let outcome = self.parts.ways.send(way, notice).await;
        self.after_sending(message, message.attempt, way, notice.kind, outcome, is_about_a_way).await
    }

    /// What follows a try by a way, where so many have failed before it.
    pub(crate) async fn after_sending(
        &self,
        message: &OutboxMessage,
        failed_before: u32,
        way: &AlertWay,
        kind: &'static str,
        outcome: SendOutcome,
        is_about_a_way: bool,
    ) -> Result<Progress, Error> {
        let (again, reason) = match outcome {
            SendOutcome::Delivered(_) => return self.ack(message).await,
            SendOutcome::Wait { in_ms, reason } => {
                (Some(Again::as_asked(failed_before, in_ms, None)), reason)
            }
            SendOutcome::Retry(reason) => (Some(Again::after_failure(failed_before)), reason),
            SendOutcome::Unreachable(reason) => (None, reason),
        };
        let now = self.gate.now();
        let is_late = now.millis_since(message.created_at) >= TRIED_FOR_MS;
        let again = again.filter(|_| !is_late);
        tracing::error!(
            alert = kind,
            way = way.name,
            attempt = failed_before,
            retried = again.is_some(),
            error = reason,
            "an alert did not get through"
        );
        let fails = again.is_none_or(|again| again.attempt >= ALERT_AFTER);
        if fails && !is_about_a_way {
            let alert = Alert::WayNotReached { way: way.name.clone(), reason };
            self.gate.saw_again(OutboxSubject::Gate, alert).await?;
        }
        match again {
            Some(again) => self.put_off(message, again.attempt, now.plus_millis(again.in_ms)).await,
            None => self.ack(message).await,
        }
    }

    /// The ways of the policy in force; the topic of a gate on AWS whose policy names none, or that has none.
    async fn ways(&self) -> Result<Vec<AlertWay>, Error> {
        let named = match self.gate.policy().await {
            Ok(policy) => policy.alerts.clone(),
            Err(Error::Refused(Refusal::NoPolicy)) => Vec::new(),
            Err(error) => return Err(error),
        };
        if !named.is_empty() || self.parts.ways.topic.is_none() {
            return Ok(named);
        }
        Ok(vec![AlertWay { name: TOPIC.to_owned(), kind: WayKind::Sns, kinds: None }])
    }

    async fn gate_name(&self) -> Result<String, Error> {
        match self.gate.policy().await {
            Ok(policy) => Ok(self.gate.base_url(&policy)),
            Err(Error::Refused(Refusal::NoPolicy)) => Ok(String::new()),
            Err(error) => Err(error),
        }
    }
}

fn minute_start(minute: i64) -> Timestamp {
    Timestamp::from_millis(minute.saturating_mul(MINUTE_MS))
}
