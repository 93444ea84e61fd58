//! One request as the numbers see it: times and outcomes, never a payload.

use crate::Timestamp;
use crate::id::{ApprovalId, ClientId, RequestId, ReviewerId};
use crate::policy::Observed;
use crate::request::{CONDITION_FAILED, Decider, Request, Status};

/// How many milliseconds one word of a page takes at the least: 600 words a minute, more than twice as fast as people
/// read (Brysbaert 2019, doi:10.1016/j.jml.2019.104047: 238 words a minute).
const WORD_MS: i64 = 100;

/// How many milliseconds any page takes at the least.
const PAGE_MS: i64 = 1000;

/// Who decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecidedBy {
    /// Nobody yet.
    Nobody,
    /// Reviewers.
    People,
    /// A system that answers for a queue.
    System,
    /// A rule alone.
    Policy,
    /// The last deadline.
    Deadline,
    /// Whoever withdrew it.
    Withdrawn,
}

impl DecidedBy {
    /// Who decided that request.
    pub fn of(request: &Request) -> Self {
        match request.outcome().and_then(|outcome| outcome.decided_by.first()) {
            None => Self::Nobody,
            Some(Decider::Reviewer(_)) => Self::People,
            Some(Decider::Policy(_)) => Self::Policy,
            Some(Decider::Timeout(_)) => Self::Deadline,
            Some(Decider::Client(client)) if *client != request.asked().client => Self::System,
            Some(Decider::Client(_) | Decider::Operator) => Self::Withdrawn,
        }
    }
}

/// One reviewer was told of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Who.
    pub reviewer: ReviewerId,
    /// Index of the stage.
    pub stage: usize,
    /// When the message arrived.
    pub at: Timestamp,
}

/// What was told of a request: its messages that arrived, and those that were given up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Who was asked, and when they were told. One entry for each message that arrived.
    pub asks: Vec<Ask>,
    /// When a queue had the request.
    pub published_at: Option<Timestamp>,
    /// When the first callback was taken.
    pub called_back_at: Option<Timestamp>,
    /// Callbacks and hooks that were given up.
    pub given_up: u32,
}

/// A request as the numbers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own that is counted")]
pub struct Fact {
    /// The gate's name for it.
    pub approval_id: ApprovalId,
    /// Who asked.
    pub client: ClientId,
    /// The client's name for it.
    pub request_id: RequestId,
    /// The rule that it hit.
    pub rule: Option<String>,
    /// What for.
    pub action: String,
    /// When it was asked.
    pub asked_at: Timestamp,
    /// How it stands.
    pub status: Status,
    /// Who decided.
    pub decided_by: DecidedBy,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// When the page was opened on which the deciding reviewer pressed.
    pub opened_at: Option<Timestamp>,
    /// Whether somebody pressed faster than that page can be read; none where no page was used.
    pub fast: Option<bool>,
    /// Reviewers said different things.
    pub split: bool,
    /// Somebody said that the approval was a mistake.
    pub flagged: bool,
    /// A rule's condition failed.
    pub condition_failed: bool,
    /// When the token was used.
    pub redeemed_at: Option<Timestamp>,
    /// Whether its stages ask people or a queue.
    pub asks_somebody: bool,
    /// What rules that only observe would have done with it.
    pub observed: Vec<Observed>,
    /// Messages about it.
    pub told: Told,
}

impl Fact {
    /// The request, and what was told of it.
    pub fn of(request: &Request, told: Told) -> Self {
        let (asked, state) = (request.asked(), request.state());
        let outcome = request.outcome();
        let by_people = outcome.is_some_and(|outcome| {
            outcome.decided_by.iter().any(|decider| matches!(decider, Decider::Reviewer(_)))
        });
        let decided_by = DecidedBy::of(request);
        let votes = state.votes();
        let shortest = shortest_reading_ms(&asked.summary, asked.payload.as_str());
        let pressed = votes.iter().filter_map(|vote| Some(vote.voted_at.millis_since(vote.opened_at?)));
        let quickest = pressed.min();
        Self {
            approval_id: asked.approval_id.clone(),
            client: asked.client.clone(),
            request_id: asked.request_id.clone(),
            rule: asked.rule.clone(),
            action: asked.action.clone(),
            asked_at: asked.created_at,
            status: request.status(),
            decided_by,
            ended_at: outcome.map(|outcome| outcome.decided_at),
            opened_at: votes.last().filter(|_| by_people).and_then(|vote| vote.opened_at),
            fast: quickest.filter(|_| by_people).map(|took_ms| took_ms < shortest),
            split: votes
                .iter()
                .any(|vote| votes.first().is_some_and(|first| first.decision != vote.decision)),
            flagged: state.flag().is_some(),
            condition_failed: outcome.and_then(|outcome| outcome.reason.as_deref()).is_some_and(|reason| {
                decided_by == DecidedBy::Policy && reason.starts_with(CONDITION_FAILED)
            }),
            redeemed_at: state.redemption().map(|redemption| redemption.redeemed_at),
            asks_somebody: asked.terms.is_some(),
            observed: asked.observed.clone(),
            told,
        }
    }

    /// When the first reviewer, or the queue, was told.
    pub fn told_at(&self) -> Option<Timestamp> {
        self.told.asks.iter().map(|ask| ask.at).chain(self.told.published_at).min()
    }

    /// When the caller could go on: its callback was taken, or its token was used.
    pub fn released_at(&self) -> Option<Timestamp> {
        self.told.called_back_at.into_iter().chain(self.redeemed_at).min()
    }

    /// From the question to the decision of people or of a system, in milliseconds.
    pub fn decided_in_ms(&self) -> Option<i64> {
        let ended = self.ended_at?;
        matches!(self.decided_by, DecidedBy::People | DecidedBy::System)
            .then(|| ended.millis_since(self.asked_at))
    }
}

/// The least time in which somebody can have read a page with those texts, in milliseconds.
pub fn shortest_reading_ms(summary: &str, payload: &str) -> i64 {
    let words = |text: &str| {
        let words =
            text.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty());
        i64::try_from(words.count()).unwrap_or(i64::MAX)
    };
    words(summary).saturating_add(words(payload)).saturating_mul(WORD_MS).saturating_add(PAGE_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_takes_a_second_and_a_tenth_for_each_word() {
        assert_eq!(shortest_reading_ms("", "{}"), 1000);
        assert_eq!(shortest_reading_ms("Pay the invoice", r#"{"amount":5000,"to":"ACME GmbH"}"#), 1800);
    }
}
