//! What goes through the deadline queue: something to look at later, messages to send, or an alert.
//!
//! A lost or doubled errand does no harm: the sweep finds what was lost, a message is claimed before it is sent, and an
//! alert that comes twice says what is so.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use placet_core::Timestamp;
use placet_core::id::RequestKey;
use placet_core::request::Request;
use placet_gate::Fault;
use placet_gate::ports::OutboxMessage;
use serde::{Deserialize, Serialize};

/// The longest that SQS delays a message, in milliseconds (`DelaySeconds` is at most 900). What is later is the sweep's.
pub(crate) const LONGEST_DELAY_MS: i64 = 900_000;

/// How many messages one errand carries: with their names they stay far below SQS's limit on size.
const MESSAGES: usize = 50;

/// One entry of the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Errand {
    /// A request's stage closes.
    Wake {
        /// Which.
        key: RequestKey,
        /// When, in Unix milliseconds.
        at: i64,
    },
    /// Messages of one request must go out.
    Send {
        /// As they were committed, or put off.
        messages: Vec<OutboxMessage>,
        /// Not before then, in Unix milliseconds.
        not_before: i64,
    },
    /// Operators are to be alerted.
    Alert {
        /// The alert's kind.
        kind: String,
        /// A sentence for people.
        text: String,
    },
}

impl Errand {
    /// What follows a commit: its messages, and its deadline if the queue reaches that far.
    pub(crate) fn after(request: &Request, outgoing: &[OutboxMessage], now: Timestamp) -> Vec<Self> {
        let mut errands: Vec<Self> = outgoing
            .chunks(MESSAGES)
            .map(|messages| Self::Send { messages: messages.to_vec(), not_before: now.millis() })
            .collect();
        if let Some(pending) = request.pending() {
            errands.extend(Self::wake(request.asked.key(), pending.closes_at, now));
        }
        errands
    }

    /// A look at that time, if the queue reaches that far.
    pub(crate) fn wake(key: RequestKey, at: Timestamp, now: Timestamp) -> Option<Self> {
        (at.millis_since(now) <= LONGEST_DELAY_MS).then(|| Self::Wake { key, at: at.millis() })
    }

    /// Another try of a message when it is due, if the queue reaches that far.
    pub(crate) fn retry(message: &OutboxMessage, now: Timestamp) -> Option<Self> {
        let in_reach = message.due_at.millis_since(now) <= LONGEST_DELAY_MS;
        in_reach.then(|| Self::Send { messages: vec![message.clone()], not_before: message.due_at.millis() })
    }

    /// When it is to be done.
    pub(crate) fn due_at(&self) -> Timestamp {
        Timestamp::from_millis(match self {
            Self::Wake { at, .. } => *at,
            Self::Send { not_before, .. } => *not_before,
            Self::Alert { .. } => 0,
        })
    }

    /// Whole seconds until it is due, rounded down: whoever takes it out waits for the rest, and is on time.
    fn delay_seconds(&self, now: Timestamp) -> i32 {
        let left_ms = self.due_at().millis_since(now).clamp(0, LONGEST_DELAY_MS);
        i32::try_from(left_ms / 1000).unwrap_or(0)
    }
}

/// The deadline queue.
#[derive(Clone, Debug)]
pub(crate) struct DeadlineQueue {
    client: Client,
    url: String,
}

impl DeadlineQueue {
    /// The queue at that address.
    pub(crate) const fn new(client: Client, url: String) -> Self {
        Self { client, url }
    }

    /// Puts errands in, in as few calls as SQS takes (ten entries each).
    pub(crate) async fn put(&self, errands: &[Errand], now: Timestamp) -> Result<(), Fault> {
        const REFUSED: &str = "the deadline queue did not take an errand";
        for batch in errands.chunks(10) {
            let mut entries = Vec::with_capacity(batch.len());
            for (number, errand) in batch.iter().enumerate() {
                let body = serde_json::to_string(errand)
                    .map_err(|error| Fault::new("an errand could not be written as JSON", error))?;
                let entry = SendMessageBatchRequestEntry::builder()
                    .id(number.to_string())
                    .message_body(body)
                    .delay_seconds(errand.delay_seconds(now))
                    .build();
                entries.push(entry.map_err(|error| Fault::new(REFUSED, error))?);
            }
            let sent =
                self.client.send_message_batch().queue_url(&self.url).set_entries(Some(entries)).send();
            let answer = sent.await.map_err(|error| Fault::new(REFUSED, error))?;
            if let Some(failed) = answer.failed.first() {
                return Err(Fault::new(REFUSED, failed.code.clone()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use placet_testkit::{FixedClock, sample};

    use super::*;

    const NOW: Timestamp = FixedClock::START;

    #[test]
    fn an_errand_comes_back_as_it_was_put_in() {
        let asked = sample::asked("n8n", "r1", NOW);
        let letter = sample::letter(&asked, NOW.plus_millis(30_000));
        for errand in [
            Errand::Wake { key: asked.key(), at: NOW.millis() },
            Errand::Send { messages: vec![letter], not_before: NOW.millis() },
            Errand::Alert { kind: "old_secret".into(), text: "n8n still uses its old secret".into() },
        ] {
            let text = serde_json::to_string(&errand).unwrap();
            assert_eq!(serde_json::from_str::<Errand>(&text).unwrap(), errand, "{text}");
        }
    }

    #[test]
    fn the_delay_is_rounded_down_and_never_longer_than_sqs_takes() {
        let key = sample::key("n8n", "r1");
        let delay = |in_ms| Errand::Wake { key, at: NOW.millis() + in_ms }.delay_seconds(NOW);
        assert_eq!([-5, 0, 999, 1_000, 89_999, 10_000_000].map(delay), [0, 0, 0, 1, 89, 900]);
        assert!(Errand::wake(key, NOW.plus_millis(LONGEST_DELAY_MS), NOW).is_some());
        assert_eq!(Errand::wake(key, NOW.plus_millis(LONGEST_DELAY_MS + 1), NOW), None);
        let alert = Errand::Alert { kind: "bad_signatures".into(), text: String::new() };
        assert_eq!(alert.delay_seconds(NOW), 0);
    }
}
