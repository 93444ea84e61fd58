//! The deadline queue: jobs for `timeout-sweep`, now or later.
//!
//! Knows SQS and the delay; what a job says is `job`'s, or `rotation`'s.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use placet_core::Fault;
use serde::Serialize;

/// The longest that SQS delays a message, in milliseconds (`DelaySeconds` is at most 900). What is later is the sweep's.
pub(crate) const LONGEST_DELAY_MS: i64 = 900_000;

/// How many entries one `SendMessageBatch` takes.
const BATCH: usize = 10;

const REFUSED: &str = "the deadline queue did not take a job";

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

    /// Puts jobs in, each with its delay in milliseconds, in as few calls as SQS takes.
    pub(crate) async fn put<J: Serialize>(&self, jobs: &[(J, i64)]) -> Result<(), Fault> {
        for batch in jobs.chunks(BATCH) {
            let mut entries = Vec::with_capacity(batch.len());
            for (number, (job, delay_ms)) in batch.iter().enumerate() {
                let body = serde_json::to_string(job)
                    .map_err(|error| Fault::new("a job could not be written as JSON", error))?;
                let entry = SendMessageBatchRequestEntry::builder()
                    .id(number.to_string())
                    .message_body(sendable(body))
                    .delay_seconds(delay_seconds(*delay_ms))
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

/// JSON as SQS takes it: two code points that XML does not have are escaped, which says the same.
/// Source: <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>.
pub(crate) fn sendable(json: String) -> String {
    if json.contains(['\u{fffe}', '\u{ffff}']) {
        return json.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff");
    }
    json
}

/// Whole seconds, rounded down: whoever takes the job out waits for the rest, and is on time.
fn delay_seconds(delay_ms: i64) -> i32 {
    i32::try_from(delay_ms.clamp(0, LONGEST_DELAY_MS) / 1000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sqs_refuses_in_a_text_is_escaped() {
        let value = serde_json::json!({"text": "a\u{fffe}b\u{ffff}c\u{fffd}\u{7f}\u{1}"});
        let sent = sendable(value.to_string());
        assert!(sent.chars().all(
            |c| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
        ));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&sent).unwrap(), value);
    }

    #[test]
    fn the_delay_is_rounded_down_and_never_longer_than_sqs_takes() {
        assert_eq!([-5, 0, 999, 1_000, 89_999, 10_000_000].map(delay_seconds), [0, 0, 0, 1, 89, 900]);
    }
}
