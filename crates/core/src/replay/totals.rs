//! Running totals of one client as they stood at each moment of its history, moved forward request by request.
//!
//! Only numbers are kept, and only those that a while of the policy still reaches: no request, no payload.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use crate::Timestamp;
use crate::id::ClientId;
use crate::policy::{Earlier, Gauge, Policy, Question};

/// What a request adds to each gauge of the policy: the account, and how much; none where it adds nothing.
pub(super) type Adds = Vec<(Arc<str>, Option<f64>)>;

/// For how long a request counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counts {
    /// From when it was asked.
    ForGood,
    /// Until then: it was rejected or withdrawn, or nobody decided.
    Until(Timestamp),
    /// Nobody can know: people would have been asked who were not.
    Unknown,
}

/// The totals of one client.
#[derive(Debug)]
pub(super) struct Totals<'p> {
    gauges: &'p [Gauge],
    /// By the gauge's place and the account. Those that have nothing any more are not in it.
    sums: HashMap<(usize, Arc<str>), Account>,
    /// What leaves a sum, and when.
    leaving: BinaryHeap<Reverse<Leaving>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Account {
    sum: Sum,
    /// How many requests are in it.
    members: u32,
    /// How many of the last while may or may not count.
    unknown: u32,
}

/// Ordered by when it leaves; the rest only makes the order whole.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Leaving {
    at: Timestamp,
    gauge: usize,
    account: Arc<str>,
    /// The bits of the amount; none where it is not known whether it counts.
    amount: Option<u64>,
}

impl<'p> Totals<'p> {
    pub(super) fn of(policy: &'p Policy) -> Self {
        Self { gauges: policy.gauges(), sums: HashMap::new(), leaving: BinaryHeap::new() }
    }

    /// What that question adds where, by gauge.
    pub(super) fn adds(&self, client: &ClientId, question: &Question<'_>) -> Adds {
        let mut adds: Adds = Vec::with_capacity(self.gauges.len());
        for (index, gauge) in self.gauges.iter().enumerate() {
            // Whiles of one meter lie side by side, and share the account.
            let same = index
                .checked_sub(1)
                .filter(|before| self.gauges.get(*before).is_some_and(|before| before.meter == gauge.meter));
            let add = match same.and_then(|before| adds.get(before)) {
                Some(add) => add.clone(),
                None => (gauge.meter.account(client, question).into(), gauge.meter.amount(question)),
            };
            adds.push(add);
        }
        adds
    }

    /// What came before adds up to at that moment. A sum that nobody can know is left out: then a condition that asks
    /// for it is noted ([`Earlier::take_unread`]).
    pub(super) fn before(&mut self, adds: &Adds, now: Timestamp) -> Earlier {
        self.move_to(now);
        let mut earlier = Earlier::new();
        for (index, (gauge, (account, _))) in self.gauges.iter().zip(adds).enumerate() {
            let found = self.sums.get(&(index, Arc::clone(account))).copied().unwrap_or_default();
            if found.unknown == 0 {
                earlier.insert(gauge.clone(), found.sum.rounded());
            }
        }
        earlier
    }

    /// Adds a request that was asked at that moment.
    pub(super) fn add(&mut self, adds: Adds, asked_at: Timestamp, counts: Counts) {
        for (index, (gauge, (account, amount))) in self.gauges.iter().zip(adds).enumerate() {
            let Some(amount) = amount else { continue };
            let leaves_at = asked_at.plus_millis(gauge.window_ms);
            let (at, known) = match counts {
                Counts::ForGood => (leaves_at, true),
                Counts::Until(end) => (leaves_at.min(end), true),
                Counts::Unknown => (leaves_at, false),
            };
            let entry = self.sums.entry((index, Arc::clone(&account))).or_default();
            entry.members += 1;
            if known {
                entry.sum.add(amount);
            } else {
                entry.unknown += 1;
            }
            let amount = known.then(|| amount.to_bits());
            self.leaving.push(Reverse(Leaving { at, gauge: index, account, amount }));
        }
    }

    fn move_to(&mut self, now: Timestamp) {
        while let Some(Reverse(next)) = self.leaving.peek()
            && next.at <= now
        {
            let Some(Reverse(Leaving { gauge, account, amount, .. })) = self.leaving.pop() else { return };
            let key = (gauge, account);
            let Some(entry) = self.sums.get_mut(&key) else { continue };
            entry.members = entry.members.saturating_sub(1);
            match amount {
                Some(bits) => entry.sum.add(-f64::from_bits(bits)),
                None => entry.unknown = entry.unknown.saturating_sub(1),
            }
            if entry.members == 0 {
                self.sums.remove(&key);
            }
        }
    }
}

/// A sum in two numbers, so that what was added and taken away again leaves no trace (T. J. Dekker, 1971,
/// doi:10.1007/BF01397083): the gate sums anew each time, and a total that is exactly the limit must be so here, too.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    high: f64,
    low: f64,
}

impl Sum {
    fn add(&mut self, amount: f64) {
        let (sum, lost) = two_sum(self.high, amount);
        let (high, low) = two_sum(sum, self.low + lost);
        *self = Self { high, low };
    }

    fn rounded(self) -> f64 {
        self.high + self.low
    }
}

/// The rounded sum, and what rounding lost (D. E. Knuth, TAOCP 2, 4.2.2).
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let part = sum - a;
    (sum, (a - (sum - part)) + (b - part))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A payment of cents that has come and gone leaves nothing behind.
        #[test]
        fn what_was_added_and_taken_away_leaves_no_trace(
            cents in proptest::collection::vec(0_i32..100_000_000, 1..60),
            keep in 0_usize..60,
        ) {
            let amounts: Vec<f64> = cents.iter().map(|cents| f64::from(*cents) / 100.0).collect();
            let keep = keep.min(amounts.len());
            let mut sum = Sum::default();
            for amount in &amounts {
                sum.add(*amount);
            }
            for amount in amounts.iter().skip(keep) {
                sum.add(-amount);
            }
            let mut anew = Sum::default();
            for amount in amounts.iter().take(keep) {
                anew.add(*amount);
            }
            prop_assert_eq!(sum.rounded().to_bits(), anew.rounded().to_bits());
        }
    }
}
