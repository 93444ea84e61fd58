//! Clients that a reviewer has paused: for a while, nothing new is taken from them.
//!
//! A pause is no word of the policy's file. A reviewer who may decide a client's request makes it, it ends by itself, and
//! whoever made it, or the operator, may lift it before. What is open stays open, and what was approved stays approved.

use serde::{Deserialize, Serialize};

use super::Policy;
use crate::Timestamp;
use crate::id::{ClientId, ReviewerId};

/// How long a pause lasts, in milliseconds: an hour.
pub const PAUSE_MS: i64 = 60 * 60 * 1000;

/// A pause that is over is remembered for so long, in milliseconds: so it is known how often somebody pauses.
const REMEMBERED_MS: i64 = crate::time::DAY_MS;

/// A pause of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientPause {
    /// Whose requests are refused.
    pub client: ClientId,
    /// Who paused it.
    pub by: ReviewerId,
    /// From then on.
    pub from: Timestamp,
    /// Until before then.
    pub until: Timestamp,
}

impl ClientPause {
    /// Whether it holds at that time.
    pub fn holds(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.until
    }
}

impl Policy {
    /// This policy, with the clients that are paused. Those that are no longer in the policy are left out.
    #[must_use]
    pub fn with_pauses(mut self, pauses: Vec<ClientPause>) -> Self {
        self.pauses = pauses;
        self.pauses.retain(|pause| self.clients.iter().any(|known| known.id == pause.client));
        self
    }

    /// The pause of that client that ends last, of those that hold.
    pub fn paused(&self, client: &ClientId, at: Timestamp) -> Option<&ClientPause> {
        self.pauses_at(at).filter(|pause| pause.client == *client).max_by_key(|pause| pause.until)
    }

    /// The pauses that hold.
    pub fn pauses_at(&self, at: Timestamp) -> impl Iterator<Item = &ClientPause> {
        self.pauses.iter().filter(move |pause| pause.holds(at))
    }
}

/// The pauses after somebody has paused a client. A pause of theirs that holds stays as it is.
pub fn with_pause(
    known: &[ClientPause],
    client: &ClientId,
    by: &ReviewerId,
    now: Timestamp,
) -> Vec<ClientPause> {
    let mut all: Vec<ClientPause> = remembered(known, now).cloned().collect();
    if !all.iter().any(|pause| pause.client == *client && pause.by == *by && pause.holds(now)) {
        let until = now.plus_millis(PAUSE_MS);
        all.push(ClientPause { client: client.clone(), by: by.clone(), from: now, until });
    }
    all
}

/// The pauses after those of a client were lifted: those of one person, or all.
pub fn without_pause(
    known: &[ClientPause],
    client: &ClientId,
    by: Option<&ReviewerId>,
    now: Timestamp,
) -> Vec<ClientPause> {
    remembered(known, now)
        .cloned()
        .map(|pause| {
            let is_lifted =
                pause.client == *client && by.is_none_or(|by| pause.by == *by) && pause.holds(now);
            if is_lifted { ClientPause { until: now, ..pause } } else { pause }
        })
        .collect()
}

fn remembered(known: &[ClientPause], now: Timestamp) -> impl Iterator<Item = &ClientPause> {
    known.iter().filter(move |pause| pause.until > now.plus_millis(-REMEMBERED_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(id: &str) -> ClientId {
        ClientId::parse(id).unwrap()
    }

    fn reviewer(id: &str) -> ReviewerId {
        ReviewerId::parse(id).unwrap()
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + millis)
    }

    fn holding(pauses: &[ClientPause], now: Timestamp) -> Vec<String> {
        let holding = pauses.iter().filter(|pause| pause.holds(now));
        holding.map(|pause| format!("{} by {}", pause.client, pause.by)).collect()
    }

    #[test]
    fn a_pause_lasts_an_hour_and_is_not_prolonged_by_who_made_it() {
        let first = with_pause(&[], &client("n8n"), &reviewer("bob"), at(0));
        assert_eq!(holding(&first, at(0)), ["n8n by bob"]);
        let again = with_pause(&first, &client("n8n"), &reviewer("bob"), at(PAUSE_MS - 1));
        assert_eq!(again, first);
        assert_eq!(holding(&again, at(PAUSE_MS - 1)), ["n8n by bob"]);
        assert_eq!(holding(&again, at(PAUSE_MS)), [""; 0]);
        let anew = with_pause(&again, &client("n8n"), &reviewer("bob"), at(PAUSE_MS));
        assert_eq!((anew.len(), holding(&anew, at(PAUSE_MS))), (2, vec!["n8n by bob".to_owned()]));
        let later = with_pause(&anew, &client("zap"), &reviewer("bob"), at(PAUSE_MS + REMEMBERED_MS));
        assert_eq!(later.len(), 2, "the first one is forgotten");
    }

    #[test]
    fn one_lifts_ones_own_and_the_operator_all_of_that_client() {
        let mut all = Vec::new();
        for (of, by) in [("n8n", "bob"), ("n8n", "carol"), ("zap", "bob")] {
            all = with_pause(&all, &client(of), &reviewer(by), at(0));
        }
        let own = without_pause(&all, &client("n8n"), Some(&reviewer("bob")), at(5));
        assert_eq!(holding(&own, at(5)), ["n8n by carol", "zap by bob"]);
        let operator = without_pause(&all, &client("n8n"), None, at(5));
        assert_eq!(holding(&operator, at(5)), ["zap by bob"]);
        assert_eq!(operator.len(), 3, "what was lifted is remembered for a day");
    }
}
