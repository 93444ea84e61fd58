//! What goes through the deadline queue: a request to look at, messages to deliver, or what a rotation did.
//!
//! A lost or doubled job does no harm: the sweep finds what was lost, and a message is claimed before it is delivered.

use placet_core::Timestamp;
use placet_core::id::RequestKey;
use placet_gate::ports::{Closing, Dispatch, OutboxMessage};
#[cfg(feature = "deliver")]
use placet_gate::returned::ReturnedMail;
use serde::{Deserialize, Serialize};

use crate::deadline_queue::LONGEST_DELAY_MS;
use crate::rotation_job::RotationJob;

/// How many messages one job carries: with their names they stay far below SQS's limit on size.
const MESSAGES: usize = 50;

/// One entry of the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Job {
    /// A request's stage closes.
    Wake {
        /// Which.
        key: RequestKey,
        /// When, in Unix milliseconds.
        at: i64,
    },
    /// Messages of one request must go out.
    Deliver {
        /// As they were committed, or put off.
        messages: Vec<OutboxMessage>,
        /// Not before then, in Unix milliseconds.
        not_before: i64,
    },
    /// The rotation of the keys has done something.
    Rotation(RotationJob),
    /// A mail came back that was not known yet: SES can be faster than the note that it was sent.
    #[cfg(feature = "deliver")]
    MailReturned {
        /// What SES said. It has addresses in it, as SES's own message has.
        mail: ReturnedMail,
        /// Not before then, in Unix milliseconds.
        not_before: i64,
    },
}

impl Job {
    /// What follows a commit: its messages, and its deadline if the queue reaches that far.
    pub(crate) fn after(work: &Dispatch, now: Timestamp) -> Vec<Self> {
        let mut jobs: Vec<Self> = work
            .messages
            .chunks(MESSAGES)
            .map(|messages| Self::Deliver { messages: messages.to_vec(), not_before: now.millis() })
            .collect();
        jobs.extend(work.closing.and_then(|closing| Self::wake(closing, now)));
        jobs
    }

    /// A look at that time, if the queue reaches that far.
    pub(crate) fn wake(closing: Closing, now: Timestamp) -> Option<Self> {
        let Closing { closes_at, key } = closing;
        (closes_at.millis_since(now) <= LONGEST_DELAY_MS).then(|| Self::Wake { key, at: closes_at.millis() })
    }

    /// Another try of a message when it is due, if the queue reaches that far.
    #[cfg(feature = "deliver")]
    pub(crate) fn retry(message: &OutboxMessage, now: Timestamp) -> Option<Self> {
        let in_reach = message.due_at.millis_since(now) <= LONGEST_DELAY_MS;
        in_reach
            .then(|| Self::Deliver { messages: vec![message.clone()], not_before: message.due_at.millis() })
    }

    /// When it is to be done.
    pub(crate) fn due_at(&self) -> Timestamp {
        Timestamp::from_millis(match self {
            Self::Wake { at, .. } => *at,
            Self::Deliver { not_before, .. } => *not_before,
            Self::Rotation(_) => 0,
            #[cfg(feature = "deliver")]
            Self::MailReturned { not_before, .. } => *not_before,
        })
    }

    /// With its delay, as the queue takes it.
    pub(crate) fn delayed(self, now: Timestamp) -> (Self, i64) {
        let delay_ms = self.due_at().millis_since(now);
        (self, delay_ms)
    }
}

#[cfg(test)]
mod tests {
    use placet_gate::alert::Alert;
    use placet_gate::outbox::{OutboxPayload, OutboxSubject};
    #[cfg(feature = "deliver")]
    use placet_gate::returned::{MailAbout, MailFate};

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn message(number: i64) -> OutboxMessage {
        OutboxMessage {
            id: format!("msg_gate_alert_keys_rotated_{number}"),
            subject: OutboxSubject::Gate,
            payload: OutboxPayload::Alert(Alert::KeysRotated { epoch: 2 }),
            attempt: 0,
            created_at: NOW,
            due_at: NOW.plus_millis(30_000),
        }
    }

    #[test]
    fn a_job_comes_back_as_it_was_put_in() {
        let key = RequestKey::from_bytes([7; 16]);
        for job in [
            Job::Wake { key, at: NOW.millis() },
            Job::Deliver { messages: vec![message(1)], not_before: NOW.millis() },
            Job::Rotation(RotationJob::Finished { epoch: 3 }),
            Job::Rotation(RotationJob::Failed { step: "testSecret".into(), reason: "no".into() }),
            #[cfg(feature = "deliver")]
            Job::MailReturned {
                mail: ReturnedMail {
                    about: MailAbout::Way("ops".into()),
                    reference: "0107-x".into(),
                    recipients: vec!["ops@example.com".into()],
                    fate: MailFate::NoSuchAddress,
                },
                not_before: NOW.millis(),
            },
        ] {
            let text = serde_json::to_string(&job).unwrap();
            assert_eq!(serde_json::from_str::<Job>(&text).unwrap(), job, "{text}");
        }
    }

    #[test]
    fn what_is_beyond_the_reach_of_the_queue_is_left_to_the_sweep() {
        let closing =
            |in_ms| Closing { closes_at: NOW.plus_millis(in_ms), key: RequestKey::from_bytes([7; 16]) };
        assert!(Job::wake(closing(LONGEST_DELAY_MS), NOW).is_some());
        assert_eq!(Job::wake(closing(LONGEST_DELAY_MS + 1), NOW), None);
        let work =
            Dispatch { messages: (0..120).map(message).collect(), closing: Some(closing(5)), request: None };
        assert_eq!(Job::after(&work, NOW).len(), 4);
    }
}
