//! The report: what is said of one span of time, and of the four weeks before it. Its JSON names are the API's.

use serde::{Serialize, Serializer};

use super::estimate::Estimate;
use super::fact::{DecidedBy, Fact};
use super::tally::Tally;
use crate::Timestamp;
use crate::request::Status;
use crate::time::DAY_MS;

/// How many days before the report it is compared with.
const DAYS_BEFORE: u32 = 28;

/// A span of whole days, or of days that end now. It has what was *asked* in it, however that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first moment.
    pub from: Timestamp,
    /// The first moment that is not in it.
    pub until: Timestamp,
    /// How many days that is.
    pub days: u32,
}

impl Window {
    /// The days that end there.
    pub const fn ending(until: Timestamp, days: u32) -> Self {
        Self { from: until.plus_millis(-(DAY_MS * days as i64)), until, days }
    }

    /// The four weeks before.
    #[must_use]
    pub const fn before(self) -> Self {
        Self::ending(self.from, DAYS_BEFORE)
    }

    /// Whether that moment is in it.
    pub fn contains(self, at: Timestamp) -> bool {
        at >= self.from && at < self.until
    }
}

/// How many requests, by how they stand and who decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All.
    pub asked: u32,
    /// Approved.
    pub approved: u32,
    /// Rejected.
    pub rejected: u32,
    /// Nobody decided in time.
    pub expired: u32,
    /// Withdrawn.
    pub cancelled: u32,
    /// Still waiting.
    pub pending: u32,
    /// Decided by reviewers.
    pub by_people: u32,
    /// Decided by a rule alone.
    pub by_policy: u32,
    /// Decided by a system that answers for a queue.
    pub by_systems: u32,
}

impl Counts {
    pub(super) fn add(&mut self, fact: &Fact) {
        self.asked += 1;
        let status = match fact.status {
            Status::Approved => &mut self.approved,
            Status::Rejected => &mut self.rejected,
            Status::Expired => &mut self.expired,
            Status::Cancelled => &mut self.cancelled,
            Status::Pending => &mut self.pending,
        };
        *status += 1;
        match fact.decided_by {
            DecidedBy::People => self.by_people += 1,
            DecidedBy::Policy => self.by_policy += 1,
            DecidedBy::System => self.by_systems += 1,
            DecidedBy::Nobody | DecidedBy::Deadline | DecidedBy::Withdrawn => {}
        }
    }
}

/// Percentiles of a time, by nearest rank: each is a time that was measured. In seconds; null where nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// How many were measured.
    pub count: u32,
    /// Half took no longer.
    pub p50_seconds: Option<f64>,
    /// 95 of 100 took no longer.
    pub p95_seconds: Option<f64>,
    /// 99 of 100 took no longer.
    pub p99_seconds: Option<f64>,
}

impl Percentiles {
    /// Of times in milliseconds.
    pub fn of(times_ms: &[i64]) -> Self {
        let mut sorted = times_ms.to_vec();
        sorted.sort_unstable();
        let at = |percent: usize| {
            let rank = sorted.len().saturating_mul(percent).div_ceil(100).max(1);
            sorted.get(rank.saturating_sub(1)).map(|ms| seconds(*ms))
        };
        Self {
            count: u32::try_from(sorted.len()).unwrap_or(u32::MAX),
            p50_seconds: at(50),
            p95_seconds: at(95),
            p99_seconds: at(99),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "the milliseconds of a year are far below 2^53")]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

/// The four times of an approval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Times {
    /// From the question until the first reviewer's message, or the queue's, was taken.
    pub notify: Percentiles,
    /// From then until the deciding reviewer opened the page.
    pub open: Percentiles,
    /// From the question to the decision of people or of a system.
    pub decide: Percentiles,
    /// From the end until the caller's callback was taken, or its token was used.
    pub release: Percentiles,
}

/// One rule, or one client.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    /// The rule's name (`default` where no rule matched), or the client's id.
    pub name: String,
    /// How its requests ended.
    #[serde(flatten)]
    pub counts: Counts,
    /// How long people took.
    pub decide: Percentiles,
}

/// A rule that only observes: what it would have done, beside how the same requests went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ObservedRule {
    /// The rule's name.
    pub name: String,
    /// How many requests it would have approved alone.
    pub would_approve: u32,
    /// How many it would have asked somebody about.
    pub would_ask: u32,
    /// How many it would have rejected at once.
    pub would_reject: u32,
    /// How many of all those its condition could not be evaluated for.
    pub unclear: u32,
    /// How the requests that it matched ended.
    #[serde(flatten)]
    pub counts: Counts,
}

/// How often people were asked. It says nothing of how they answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Load {
    /// Asks in each hour of the day, in UTC, from 0.
    pub by_hour_utc: Vec<u32>,
    /// Each reviewer who was asked, by name.
    pub reviewers: Vec<ReviewerLoad>,
}

/// How often one reviewer was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReviewerLoad {
    /// Who.
    pub reviewer: String,
    /// How often: one request and stage is one ask, by however many channels.
    pub asks: u32,
    /// In how many different hours.
    pub hours: u32,
    /// How often in the fullest of them.
    pub busiest_hour: u32,
}

/// What went wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Errors {
    /// Nobody decided in time.
    pub timeouts: u32,
    /// Of those: somebody had been told.
    pub unanswered: u32,
    /// Ended although no message about it had arrived.
    pub undelivered: u32,
    /// Callbacks and hooks that were given up.
    pub callbacks_given_up: u32,
    /// Rejected because a rule's condition failed.
    pub conditions_failed: u32,
}

/// A part of something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Share {
    /// How many.
    pub count: u32,
    /// Of how many.
    pub of: u32,
}

/// Approvals that were mistakes, by source. The sources are never mixed: each misses others.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FalseApprovals {
    /// Approvals of people and systems that somebody called a mistake.
    pub flags: Estimate,
    /// Approvals of rules alone that somebody called a mistake.
    pub flags_by_policy: Estimate,
}

/// A decision worth a look.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Doubt {
    /// The gate's name for it.
    pub approval_id: String,
    /// Who asked.
    pub client: String,
    /// The client's name for it.
    pub request_id: String,
    /// The rule that it hit.
    pub rule: Option<String>,
    /// What for.
    pub action: String,
    /// How it ended.
    pub status: &'static str,
    /// When it was asked.
    #[serde(with = "crate::time::rfc3339")]
    pub asked_at: Timestamp,
    /// How long it took, in seconds.
    #[serde(rename = "decided_in_seconds", serialize_with = "as_seconds")]
    pub decided_in_ms: Option<i64>,
    /// `flagged`, `fast` (decided faster than the page can be read), `split` (reviewers said different things).
    pub why: Vec<&'static str>,
}

impl Doubt {
    pub(super) fn of(fact: &Fact) -> Self {
        let why = [(fact.flagged, "flagged"), (fact.fast == Some(true), "fast"), (fact.split, "split")];
        Self {
            approval_id: fact.approval_id.to_string(),
            client: fact.client.to_string(),
            request_id: fact.request_id.to_string(),
            rule: fact.rule.clone(),
            action: fact.action.clone(),
            status: fact.status.as_str(),
            asked_at: fact.asked_at,
            decided_in_ms: fact.decided_in_ms(),
            why: why.into_iter().filter(|(is_so, _)| *is_so).map(|(_, word)| word).collect(),
        }
    }
}

#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
fn as_seconds<S: Serializer>(ms: &Option<i64>, to: S) -> Result<S::Ok, S::Error> {
    ms.map(seconds).serialize(to)
}

/// One day's outcomes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DayCounts {
    /// The first moment of that day, in UTC.
    #[serde(with = "crate::time::rfc3339")]
    pub day: Timestamp,
    /// What was asked on it.
    #[serde(flatten)]
    pub counts: Counts,
}

/// The four weeks before, in short.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Before {
    /// The first moment.
    #[serde(with = "crate::time::rfc3339")]
    pub from: Timestamp,
    /// The first moment that is not in it.
    #[serde(with = "crate::time::rfc3339")]
    pub until: Timestamp,
    /// How its requests ended.
    #[serde(flatten)]
    pub counts: Counts,
    /// How long things took.
    pub times: Times,
}

/// One number, now and in the four weeks before.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Which.
    pub name: &'static str,
    /// Now; null where there is nothing to count.
    pub now: Option<f64>,
    /// In the four weeks before.
    pub before: Option<f64>,
}

/// The report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The first moment.
    #[serde(with = "crate::time::rfc3339")]
    pub from: Timestamp,
    /// The first moment that is not in it.
    #[serde(with = "crate::time::rfc3339")]
    pub until: Timestamp,
    /// How many days.
    pub days: u32,
    /// How the requests that were asked then stand.
    pub totals: Counts,
    /// The same, by day.
    pub by_day: Vec<DayCounts>,
    /// How long things took.
    pub times: Times,
    /// By rule, by name.
    pub rules: Vec<Group>,
    /// Rules that only observe, by name.
    pub observed: Vec<ObservedRule>,
    /// By client, by name.
    pub clients: Vec<Group>,
    /// What went wrong.
    pub errors: Errors,
    /// How often people were asked.
    pub load: Load,
    /// Decisions that were pressed faster than their page can be read, of those pressed on a page.
    pub fast_decisions: Share,
    /// Approvals that were mistakes.
    pub false_approvals: FalseApprovals,
    /// The decisions that took longest.
    pub slowest: Vec<Doubt>,
    /// Decisions that were flagged, too fast or split.
    pub doubtful: Vec<Doubt>,
    /// The four weeks before.
    pub before: Before,
    /// What changed against them.
    pub changes: Vec<Change>,
}

impl Report {
    /// The report of that window, from what was counted in it and in the four weeks before.
    pub fn of(window: Window, tally: &Tally, before: &Tally) -> Self {
        let earlier = window.before();
        Self {
            from: window.from,
            until: window.until,
            days: window.days,
            totals: tally.counts,
            by_day: by_day(window, tally),
            times: tally.times(),
            rules: tally.rules(),
            observed: tally.observed(),
            clients: tally.clients(),
            errors: Errors {
                timeouts: tally.counts.expired,
                unanswered: tally.unanswered,
                undelivered: tally.undelivered,
                callbacks_given_up: tally.given_up,
                conditions_failed: tally.conditions_failed,
            },
            load: tally.load(),
            fast_decisions: Share { count: tally.fast, of: tally.timed },
            false_approvals: FalseApprovals {
                flags: Estimate::of(tally.flagged_of_people, tally.approved_by_people),
                flags_by_policy: Estimate::of(tally.flagged_of_policy, tally.approved_by_policy),
            },
            slowest: tally.slowest(),
            doubtful: tally.doubtful(),
            before: Before {
                from: earlier.from,
                until: earlier.until,
                counts: before.counts,
                times: before.times(),
            },
            changes: changes((window, tally), (earlier, before)),
        }
    }
}

fn by_day(window: Window, tally: &Tally) -> Vec<DayCounts> {
    let last = window.until.plus_millis(-1).day();
    (window.from.day()..=last)
        .map(|day| DayCounts {
            day: Timestamp::from_millis(day.saturating_mul(DAY_MS)),
            counts: tally.days.get(&day).copied().unwrap_or_default(),
        })
        .collect()
}

/// A number of one window's.
type Measure = fn(Window, &Tally) -> Option<f64>;

fn changes(now: (Window, &Tally), before: (Window, &Tally)) -> Vec<Change> {
    let names: [(&'static str, Measure); 10] = [
        ("asked_per_week", |window, tally| {
            share(tally.counts.asked, window.days).map(|per_day| per_day * 7.0)
        }),
        ("approved_share", |_, tally| share(tally.counts.approved, tally.counts.asked)),
        ("rejected_share", |_, tally| share(tally.counts.rejected, tally.counts.asked)),
        ("expired_share", |_, tally| share(tally.counts.expired, tally.counts.asked)),
        ("by_policy_share", |_, tally| share(tally.counts.by_policy, tally.counts.asked)),
        ("undelivered_share", |_, tally| share(tally.undelivered, tally.asked_people)),
        ("notify_p95_seconds", |_, tally| tally.times().notify.p95_seconds),
        ("decide_p50_seconds", |_, tally| tally.times().decide.p50_seconds),
        ("decide_p95_seconds", |_, tally| tally.times().decide.p95_seconds),
        ("fast_share", |_, tally| share(tally.fast, tally.timed)),
    ];
    names
        .into_iter()
        .map(|(name, of)| Change { name, now: of(now.0, now.1), before: of(before.0, before.1) })
        .collect()
}

fn share(count: u32, of: u32) -> Option<f64> {
    (of > 0).then(|| f64::from(count) / f64::from(of))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let hundred: Vec<i64> = (1..=100).rev().map(|n| n * 1000).collect();
        let found = Percentiles::of(&hundred);
        let (p50, p95, p99) = (found.p50_seconds, found.p95_seconds, found.p99_seconds);
        assert_eq!((found.count, p50, p95, p99), (100, Some(50.0), Some(95.0), Some(99.0)));
        assert_eq!(Percentiles::of(&[]), Percentiles::default());
        let one = Percentiles::of(&[1500]);
        assert_eq!((one.p50_seconds, one.p99_seconds), (Some(1.5), Some(1.5)));
    }

    #[test]
    fn a_week_begins_seven_days_before_its_end_and_four_weeks_come_before() {
        let until = Timestamp::from_millis(100 * DAY_MS);
        let week = Window::ending(until, 7);
        assert_eq!((week.from.day(), week.before().from.day(), week.before().until), (93, 65, week.from));
        assert!(week.contains(week.from) && !week.contains(week.until));
    }
}
