//! What this process has seen of channels and alerts since it started, for the operator's page.
//!
//! It lies in memory only: what must outlive the process is in the store. It holds reasons in constant words and codes,
//! and no address.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use placet_core::Timestamp;
use placet_delivery::{AlertNotice, AlertSink, Notification, SendOutcome, SendWatcher};
use placet_gate::ports::Clock as _;

use crate::clock::SystemClock;

/// How many alerts are remembered.
const ALERTS: usize = 50;

/// How many pairs of a reviewer and a channel are remembered: far more than a policy names.
const PAIRS: usize = 10_000;

/// What was seen since this process started.
pub(crate) struct Health {
    started_at: Timestamp,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    channels: BTreeMap<(String, String), ChannelSeen>,
    alerts: VecDeque<AlertNotice>,
}

/// How messages to one person by one channel went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChannelSeen {
    /// When the channel took one last.
    pub(crate) sent_at: Option<Timestamp>,
    /// When it took none last, and why: for operators.
    pub(crate) failed: Option<(Timestamp, String)>,
}

impl Health {
    /// Nothing was seen yet.
    pub(crate) fn new() -> Self {
        Self { started_at: SystemClock.now(), seen: Mutex::default() }
    }

    /// Since when it has been looked.
    pub(crate) const fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// What was seen of that person's channel.
    pub(crate) fn channel(&self, reviewer: &str, channel: &str) -> ChannelSeen {
        let key = (reviewer.to_owned(), channel.to_owned());
        self.seen().channels.get(&key).cloned().unwrap_or_default()
    }

    /// The alerts that came up, the newest first.
    pub(crate) fn alerts(&self) -> Vec<AlertNotice> {
        self.seen().alerts.iter().cloned().collect()
    }

    /// A message to that person went so, by that channel.
    pub(crate) fn note(&self, reviewer: &str, channel: &str, outcome: &SendOutcome) {
        let now = SystemClock.now();
        let mut seen = self.seen();
        let key = (reviewer.to_owned(), channel.to_owned());
        if seen.channels.len() >= PAIRS && !seen.channels.contains_key(&key) {
            return;
        }
        let pair = seen.channels.entry(key).or_default();
        match outcome {
            SendOutcome::Delivered(_) => pair.sent_at = Some(now),
            // The medium is there, and says when it takes more.
            SendOutcome::Wait { .. } => {}
            SendOutcome::Retry(reason) | SendOutcome::Unreachable(reason) => {
                pair.failed = Some((now, reason.clone()));
            }
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SendWatcher for Health {
    fn sent(&self, notification: &Notification, outcome: &SendOutcome) {
        self.note(notification.reviewer.as_str(), &notification.channel, outcome);
    }
}

#[async_trait]
impl AlertSink for Health {
    async fn alert(&self, notice: &AlertNotice) -> Result<(), String> {
        let mut seen = self.seen();
        // The same notice comes again where another place did not take it.
        seen.alerts.retain(|known| known.id != notice.id);
        seen.alerts.push_front(notice.clone());
        seen.alerts.truncate(ALERTS);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_sent_and_the_last_failed_are_remembered_for_each_channel_of_each_person() {
        let health = Health::new();
        let reason = || "Slack says `channel_not_found`".to_owned();
        health.note("bob", "slack", &SendOutcome::Retry("earlier".into()));
        health.note("bob", "slack", &SendOutcome::Unreachable(reason()));
        health.note("bob", "email", &SendOutcome::Delivered(None));
        health.note("bob", "push", &SendOutcome::Wait { in_ms: 1000, reason: "soon".into() });
        let slack = health.channel("bob", "slack");
        assert_eq!(slack.failed.map(|(_, reason)| reason), Some(reason()));
        assert_eq!(slack.sent_at, None);
        let email = health.channel("bob", "email");
        assert!(email.sent_at.is_some() && email.failed.is_none());
        assert_eq!(health.channel("bob", "push"), ChannelSeen::default());
        assert_eq!(health.channel("carol", "slack"), ChannelSeen::default());
    }

    #[test]
    fn names_that_come_and_go_fill_no_memory() {
        let health = Health::new();
        for number in 0..PAIRS + 10 {
            health.note(&format!("r{number}"), "email", &SendOutcome::Delivered(None));
        }
        assert_eq!(health.seen().channels.len(), PAIRS);
        health.note("r0", "email", &SendOutcome::Retry("no".into()));
        assert!(health.channel("r0", "email").failed.is_some(), "who is known is still noted");
    }

    #[tokio::test]
    async fn an_alert_is_remembered_once_and_the_newest_come_first() {
        let health = Health::new();
        let notice = |name: &str| AlertNotice::trial(name, SystemClock.now(), "");
        let first = notice("way-0");
        for _ in 0..2 {
            health.alert(&first).await.unwrap();
        }
        assert_eq!(health.alerts(), [first]);
        for number in 1..=ALERTS {
            health.alert(&notice(&format!("way-{number}"))).await.unwrap();
        }
        let alerts = health.alerts();
        assert_eq!((alerts.len(), alerts[0].matter.as_str()), (ALERTS, "test:way-50"));
    }
}
