//! Counting: facts go in one by one, so that a hundred thousand of them take little memory.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::fact::{DecidedBy, Fact};
use super::report::{Counts, Doubt, Group, Load, ObservedRule, Percentiles, ReviewerLoad, Times};
use crate::Timestamp;
use crate::id::ReviewerId;
use crate::policy::Would;
use crate::request::Status;

/// How many of the slowest decisions are listed.
const SLOWEST: usize = 10;

/// How many doubtful decisions are listed.
const DOUBTFUL: usize = 20;

const HOUR_MS: i64 = 60 * 60 * 1000;

/// How the rule is called where none matched, as in `decided_by`.
const NO_RULE: &str = "default";

/// Everything that was counted of one span of time.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub(super) counts: Counts,
    pub(super) days: BTreeMap<i64, Counts>,
    pub(super) unanswered: u32,
    pub(super) undelivered: u32,
    pub(super) given_up: u32,
    pub(super) conditions_failed: u32,
    pub(super) timed: u32,
    pub(super) fast: u32,
    pub(super) approved_by_people: u32,
    pub(super) flagged_of_people: u32,
    pub(super) approved_by_policy: u32,
    pub(super) flagged_of_policy: u32,
    pub(super) asked_people: u32,
    notify: Vec<i64>,
    open: Vec<i64>,
    decide: Vec<i64>,
    release: Vec<i64>,
    rules: BTreeMap<String, GroupTally>,
    clients: BTreeMap<String, GroupTally>,
    observed: BTreeMap<String, ObservedRule>,
    by_hour: [u32; 24],
    reviewers: BTreeMap<ReviewerId, Asked>,
    slowest: Vec<Doubt>,
    doubtful: Vec<Doubt>,
}

#[derive(Clone, Debug, Default)]
struct GroupTally {
    counts: Counts,
    decide: Vec<i64>,
}

/// How often one reviewer was asked, by hour since the epoch.
#[derive(Clone, Debug, Default)]
struct Asked(BTreeMap<i64, u32>);

impl Tally {
    /// Counts one request.
    pub fn add(&mut self, fact: &Fact) {
        self.counts.add(fact);
        self.days.entry(fact.asked_at.day()).or_default().add(fact);
        let rule = self.rules.entry(fact.rule.clone().unwrap_or_else(|| NO_RULE.to_owned())).or_default();
        let client = self.clients.entry(fact.client.to_string()).or_default();
        for group in [rule, client] {
            group.counts.add(fact);
            group.decide.extend(fact.decided_in_ms());
        }
        self.add_observed(fact);
        self.decide.extend(fact.decided_in_ms());
        let told_at = fact.told_at();
        self.notify.extend(told_at.map(|told| told.millis_since(fact.asked_at)));
        self.open.extend(fact.opened_at.zip(told_at).map(|(opened, told)| opened.millis_since(told).max(0)));
        self.release.extend(
            fact.released_at()
                .zip(fact.ended_at)
                .map(|(released, ended)| released.millis_since(ended).max(0)),
        );
        self.add_troubles(fact, told_at);
        self.add_false(fact);
        self.add_load(fact);
        self.list(fact);
    }

    fn add_observed(&mut self, fact: &Fact) {
        for observed in &fact.observed {
            let rule = self.observed.entry(observed.rule.clone()).or_default();
            rule.name.clone_from(&observed.rule);
            let would = match observed.would {
                Would::Approve => &mut rule.would_approve,
                Would::Ask => &mut rule.would_ask,
                Would::Reject => &mut rule.would_reject,
            };
            *would += 1;
            rule.unclear += u32::from(observed.unclear);
            rule.counts.add(fact);
        }
    }

    fn add_troubles(&mut self, fact: &Fact, told_at: Option<Timestamp>) {
        self.asked_people += u32::from(fact.asks_somebody);
        // What still waits may be told in a moment; what has ended never is.
        let nobody_told = fact.asks_somebody && told_at.is_none() && fact.status.is_end();
        self.undelivered += u32::from(nobody_told);
        self.unanswered += u32::from(fact.status == Status::Expired && told_at.is_some());
        self.given_up = self.given_up.saturating_add(fact.told.given_up);
        self.conditions_failed += u32::from(fact.condition_failed);
    }

    fn add_false(&mut self, fact: &Fact) {
        if let Some(fast) = fact.fast {
            self.timed += 1;
            self.fast += u32::from(fast);
        }
        if fact.status != Status::Approved {
            return;
        }
        let (approved, flagged) = if fact.decided_by == DecidedBy::Policy {
            (&mut self.approved_by_policy, &mut self.flagged_of_policy)
        } else {
            (&mut self.approved_by_people, &mut self.flagged_of_people)
        };
        *approved += 1;
        *flagged += u32::from(fact.flagged);
    }

    fn add_load(&mut self, fact: &Fact) {
        // By several channels, or again after a failure: still one ask.
        let mut asks: BTreeMap<(&ReviewerId, usize), Timestamp> = BTreeMap::new();
        for ask in &fact.told.asks {
            let first = asks.entry((&ask.reviewer, ask.stage)).or_insert(ask.at);
            *first = (*first).min(ask.at);
        }
        for ((reviewer, _), at) in asks {
            let hour = at.millis().div_euclid(HOUR_MS);
            let of_day = usize::try_from(hour.rem_euclid(24)).unwrap_or(0);
            if let Some(count) = self.by_hour.get_mut(of_day) {
                *count += 1;
            }
            *self.reviewers.entry(reviewer.clone()).or_default().0.entry(hour).or_default() += 1;
        }
    }

    fn list(&mut self, fact: &Fact) {
        let doubt = Doubt::of(fact);
        if !doubt.why.is_empty() {
            self.doubtful.push(doubt.clone());
            cut(&mut self.doubtful, DOUBTFUL, most_doubtful);
        }
        if doubt.decided_in_ms.is_some() {
            self.slowest.push(doubt);
            cut(&mut self.slowest, SLOWEST, longest);
        }
    }

    pub(super) fn times(&self) -> Times {
        Times {
            notify: Percentiles::of(&self.notify),
            open: Percentiles::of(&self.open),
            decide: Percentiles::of(&self.decide),
            release: Percentiles::of(&self.release),
        }
    }

    pub(super) fn rules(&self) -> Vec<Group> {
        groups(&self.rules)
    }

    pub(super) fn observed(&self) -> Vec<ObservedRule> {
        self.observed.values().cloned().collect()
    }

    pub(super) fn clients(&self) -> Vec<Group> {
        groups(&self.clients)
    }

    pub(super) fn load(&self) -> Load {
        let reviewers = self.reviewers.iter().map(|(reviewer, Asked(hours))| ReviewerLoad {
            reviewer: reviewer.to_string(),
            asks: hours.values().sum(),
            hours: u32::try_from(hours.len()).unwrap_or(u32::MAX),
            busiest_hour: hours.values().copied().max().unwrap_or(0),
        });
        Load { by_hour_utc: self.by_hour.to_vec(), reviewers: reviewers.collect() }
    }

    pub(super) fn slowest(&self) -> Vec<Doubt> {
        first(&self.slowest, SLOWEST, longest)
    }

    pub(super) fn doubtful(&self) -> Vec<Doubt> {
        first(&self.doubtful, DOUBTFUL, most_doubtful)
    }
}

/// What comes first has the greatest of these.
type Weight = fn(&Doubt) -> (i64, Timestamp);

fn longest(doubt: &Doubt) -> (i64, Timestamp) {
    (doubt.decided_in_ms.unwrap_or(0), doubt.asked_at)
}

fn most_doubtful(doubt: &Doubt) -> (i64, Timestamp) {
    (i64::try_from(doubt.why.len()).unwrap_or(i64::MAX), doubt.asked_at)
}

fn first(list: &[Doubt], keep: usize, weight: Weight) -> Vec<Doubt> {
    let mut list = list.to_vec();
    list.sort_by_key(|doubt| Reverse(weight(doubt)));
    list.truncate(keep);
    list
}

/// Keeps the first ones, and does so only now and then: a sort for each would be slow.
fn cut(list: &mut Vec<Doubt>, keep: usize, weight: Weight) {
    if list.len() >= keep.saturating_mul(8) {
        *list = first(list, keep, weight);
    }
}

fn groups(tallies: &BTreeMap<String, GroupTally>) -> Vec<Group> {
    tallies
        .iter()
        .map(|(name, tally)| Group {
            name: name.clone(),
            counts: tally.counts,
            decide: Percentiles::of(&tally.decide),
        })
        .collect()
}
