//! The time machine: what a policy would have done with requests that were asked before, beside what people decided.
//!
//! Each request is opened once more as the gate opens it ([`Request::open_after`]), at the time at which it was asked, so
//! a condition, the hours of a stage and a person's time away mean here what they mean to the gate. Requests come one by
//! one, a client's in the order of their time, and none is kept. Pure, as all of this crate: who reads the history is
//! elsewhere.

mod report;
mod suggest;
#[cfg(test)]
mod tests;
mod totals;

use std::collections::{BTreeMap, BTreeSet, HashMap};

pub use report::{
    Asks, Case, Left, Listed, NotReplayed, Now, Pair, ReplayReport, RuleReplay, Then, TimeSaved,
};

pub use suggest::{Nothing, Suggestion, Suggestions, Unsuggested};

use crate::Timestamp;
use crate::numbers::DecidedBy;
use crate::policy::{Client, ClientRole, Condition, Gauge, Policy, Question, Unread};
use crate::request::{CONDITION_FAILED, NewRequest, Opened, Phase, Request, Status};
use report::{id_text, pairs};
use suggest::Evidence;
use totals::{Counts, Totals};

/// How long a press may take that counts as reading, in milliseconds: a page that stays open longer is not being read.
const LONGEST_READING_MS: i64 = 10 * 60 * 1000;

/// How the rule is called where none matches, as in `decided_by`.
const NO_RULE: &str = "default";

/// What holds for every replay.
const ASSUMES: [&str; 4] = [
    "where somebody was asked and would be asked again, what they decided, and when, stays the same",
    "nobody is away but by this file: who was away by their own word is not looked up",
    "limits (`rate_per_minute`, `max_pending`), executors, hooks and channels are not replayed: they do not decide",
    "a request is replayed as it was asked, without what a reviewer changed in it",
];

/// What holds where the policy adds up.
const ASSUMES_OF_TOTALS: &str = "running totals are added up from this history under this policy; requests of one client within the same \
     millisecond may have been taken in another order; where a total cannot be known, a rule that only observes is not counted";

/// A replay that is going on.
#[derive(Debug)]
pub struct Replay<'p> {
    policy: &'p Policy,
    from: Timestamp,
    until: Timestamp,
    /// How many requests a list names.
    listed: usize,
    totals: Totals<'p>,
    gone_until: Option<Timestamp>,
    longest_window_ms: i64,
    found: ReplayReport,
    counted: BTreeMap<(Then, Now), u32>,
    rules: HashMap<Option<String>, RuleReplay>,
    left: BTreeMap<NotReplayed, u32>,
    reading_ms: i64,
    waiting_ms: i64,
    evidence: Option<Evidence>,
}

/// What the policy at hand does with one request.
struct Replayed {
    now: Now,
    opened: Opened,
    condition_failed: bool,
    /// Running totals that rules which only observe asked for, and that nobody can know.
    unclear: BTreeSet<Gauge>,
}

impl<'p> Replay<'p> {
    /// A replay of that policy over what was asked from `from` on and before `until`, whose lists name the newest
    /// `listed` requests.
    pub fn new(policy: &'p Policy, from: Timestamp, until: Timestamp, listed: usize) -> Self {
        let longest_window_ms = policy.gauges().iter().map(|gauge| gauge.window_ms).max().unwrap_or(0);
        let mut assumes = ASSUMES.to_vec();
        if longest_window_ms > 0 {
            assumes.push(ASSUMES_OF_TOTALS);
        }
        Self {
            policy,
            from,
            until,
            listed,
            totals: Totals::of(policy),
            gone_until: None,
            longest_window_ms,
            found: ReplayReport {
                from,
                until,
                requests: 0,
                replayed: 0,
                changed: 0,
                other_rule: 0,
                asks: Asks::default(),
                saved: TimeSaved::default(),
                pairs: Vec::new(),
                rejected_would_pass: Listed::default(),
                flagged_would_pass: Listed::default(),
                undecided_would_pass: Listed::default(),
                newly_asked: Listed::default(),
                newly_denied: Listed::default(),
                used_too_late: 0,
                conditions_failed: 0,
                rules: Vec::new(),
                not_replayed: Vec::new(),
                assumes,
            },
            counted: BTreeMap::new(),
            rules: HashMap::new(),
            left: BTreeMap::new(),
            reading_ms: 0,
            waiting_ms: 0,
            evidence: None,
        }
    }

    /// The same, which also keeps what people decided, for [`Replay::suggestions`].
    #[must_use]
    pub fn with_evidence(self) -> Self {
        Self { evidence: Some(Evidence::default()), ..self }
    }

    /// What the history suggests, if it was to be kept.
    pub fn suggestions(&mut self) -> Option<Suggestions> {
        self.evidence.take().map(|evidence| evidence.suggestions(self.policy))
    }

    /// Whether a client's requests must come in the order of their time: a running total asks for it.
    pub const fn needs_order(&self) -> bool {
        self.longest_window_ms > 0
    }

    /// From when on requests are wanted: before the first one that is replayed, running totals begin to add up.
    pub const fn begins_at(&self) -> Timestamp {
        self.from.plus_millis(-self.longest_window_ms)
    }

    /// The requests that follow are another client's; of those that this one asked before `gone_until`, some are gone.
    pub fn begin_client(&mut self, gone_until: Option<Timestamp>) {
        self.totals = Totals::of(self.policy);
        self.gone_until = gone_until;
    }

    /// So many requests were asked in that time, and are gone.
    pub fn add_gone(&mut self, requests: u32) {
        if requests > 0 {
            self.found.requests = self.found.requests.saturating_add(requests);
            self.leave(NotReplayed::Gone, requests);
        }
    }

    /// Replays one request.
    pub fn add(&mut self, request: &Request) {
        let asked = request.asked();
        if asked.created_at >= self.until {
            return;
        }
        let is_meant = asked.created_at >= self.from;
        self.found.requests += u32::from(is_meant);
        // Someone who may not ask is refused before any rule is looked at, and adds to no total.
        let client = self.policy.client(&asked.client).filter(|client| client.has(ClientRole::Requester));
        let Some(client) = client else {
            if is_meant {
                self.leave(NotReplayed::Client, 1);
            }
            return;
        };
        let then = Then::of(request);
        if !self.needs_order() {
            if is_meant {
                let replayed = self.open(request, client, &crate::policy::Earlier::new());
                self.count(request, then, &replayed);
            }
            return;
        }
        let payload = asked.payload.value();
        let question = Question {
            client: client.id.as_str(),
            action: &asked.action,
            summary: &asked.summary,
            payload: &payload,
            metadata: &asked.metadata,
            now: asked.created_at,
        };
        let adds = self.totals.adds(&client.id, &question);
        let mut counts = counts_of(request, then);
        if is_meant {
            let mut earlier = self.totals.before(&adds, asked.created_at);
            for gauge in
                self.policy.gauges().iter().filter(|gauge| self.reaches_gone(gauge, asked.created_at))
            {
                earlier.forget(gauge);
            }
            let mut replayed = self.open(request, client, &earlier);
            // What only observes decides nothing, and keeps nothing from being replayed.
            let Unread { deciding: unread, observing: unclear } = earlier.take_unread();
            replayed.unclear = unclear;
            if unread.is_empty() {
                self.count(request, then, &replayed);
                counts = match (replayed.now, then.asked()) {
                    (Now::Approves, _) => Some(Counts::ForGood),
                    (Now::Rejects, _) => None,
                    (Now::Asks, true) => counts,
                    (Now::Asks, false) => Some(Counts::Unknown),
                };
            } else {
                let is_gone = unread.iter().any(|gauge| self.reaches_gone(gauge, asked.created_at));
                self.leave(if is_gone { NotReplayed::TotalGone } else { NotReplayed::Total }, 1);
                counts = Some(Counts::Unknown);
            }
        }
        if let Some(counts) = counts {
            self.totals.add(adds, asked.created_at, counts);
        }
    }

    fn reaches_gone(&self, gauge: &Gauge, at: Timestamp) -> bool {
        self.gone_until.is_some_and(|gone| at.plus_millis(-gauge.window_ms) < gone)
    }

    fn open(&self, request: &Request, client: &Client, earlier: &crate::policy::Earlier) -> Replayed {
        let asked = request.asked();
        let new = NewRequest {
            approval_id: asked.approval_id.clone(),
            request_id: asked.request_id.clone(),
            action: asked.action.clone(),
            summary: asked.summary.clone(),
            payload: asked.payload.clone(),
            metadata: asked.metadata.clone(),
            callback_url: None,
            timeout_ms: None,
            issuer: String::new(),
            epoch: asked.epoch,
        };
        let opened = Request::open_after(new, client, self.policy, earlier, 0, asked.created_at);
        let now = match opened.transition.next().phase() {
            Phase::Pending(_) => Now::Asks,
            Phase::Ended(outcome) if outcome.status() == Status::Approved => Now::Approves,
            Phase::Ended(_) => Now::Rejects,
        };
        let condition_failed = opened.transition.events().first().is_some_and(|event| {
            event.detail.as_deref().is_some_and(|detail| detail.starts_with(CONDITION_FAILED))
        });
        Replayed { now, opened, condition_failed, unclear: BTreeSet::new() }
    }

    fn count(&mut self, request: &Request, then: Then, replayed: &Replayed) {
        let Replayed { now, opened, condition_failed, unclear } = replayed;
        let (now, asked, new) = (*now, request.asked(), &opened.asked);
        let found = &mut self.found;
        found.replayed += 1;
        *self.counted.entry((then, now)).or_default() += 1;
        found.conditions_failed += u32::from(*condition_failed);
        found.other_rule += u32::from(new.rule != asked.rule);
        let same_terms =
            new.terms.as_ref().zip(asked.terms.as_ref()).is_some_and(|(new, asked)| new.asks_like(asked));
        let otherwise = then.asked() && now == Now::Asks && !same_terms;
        let asks = &mut found.asks;
        asks.then += u32::from(then.asked());
        asks.now += u32::from(now == Now::Asks);
        asks.saved += u32::from(then.asked() && now != Now::Asks);
        asks.added += u32::from(!then.asked() && now == Now::Asks);
        asks.otherwise += u32::from(otherwise);
        let same = match now {
            Now::Approves => then == Then::PolicyApproved,
            Now::Rejects => then == Then::PolicyRejected,
            Now::Asks => then.asked() && !otherwise,
        };
        found.changed += u32::from(!same);
        if then.approved()
            && now != Now::Rejects
            && let (Some(used), Some(outcome)) = (request.state().redemption(), request.outcome())
        {
            let allowed_ms = new.valid_for_seconds.saturating_mul(1000);
            let late = used.redeemed_at.millis_since(outcome.decided_at) > allowed_ms;
            found.used_too_late += u32::from(late);
        }
        let case = || Case {
            approval_id: id_text(&asked.approval_id),
            client: asked.client.to_string(),
            request_id: asked.request_id.to_string(),
            action: asked.action.clone(),
            title: asked.title().line(),
            asked_at: asked.created_at,
            then,
            rule_then: asked.rule.clone(),
            now,
            rule_now: new.rule.clone(),
        };
        let flagged = request.state().flag().is_some();
        let list = match (now, then.asked()) {
            (Now::Approves, _) if then.rejected() => Some(&mut found.rejected_would_pass),
            (Now::Approves, true) if then.approved() && flagged => Some(&mut found.flagged_would_pass),
            (Now::Approves, true) if !then.approved() => Some(&mut found.undecided_would_pass),
            (Now::Rejects, _) if then.approved() => Some(&mut found.newly_denied),
            (Now::Asks, false) => Some(&mut found.newly_asked),
            (Now::Approves | Now::Rejects | Now::Asks, _) => None,
        };
        if let Some(list) = list {
            list.add(self.listed, case);
        }
        if then.asked() && now != Now::Asks {
            self.save(request);
        }
        if let (Some(evidence), Some(rule), Now::Asks, false) =
            (&mut self.evidence, &new.rule, now, condition_failed)
        {
            evidence.add(rule, request, then);
        }
        let rule = self.rules.entry(new.rule.clone()).or_default();
        rule.hits += 1;
        rule.approves += u32::from(now == Now::Approves);
        rule.asks += u32::from(now == Now::Asks);
        rule.rejects += u32::from(now == Now::Rejects);
        rule.were_approved += u32::from(then.asked() && then.approved());
        rule.were_rejected += u32::from(then.asked() && then.rejected());
        rule.were_undecided += u32::from(then.asked() && !then.approved() && !then.rejected());
        rule.were_decided_by_policy += u32::from(!then.asked());
        rule.conditions_failed += u32::from(*condition_failed);
        for observed in &new.observed {
            if !is_unclear(self.policy, &observed.rule, unclear) {
                self.rules.entry(Some(observed.rule.clone())).or_default().observed += 1;
            }
        }
    }

    /// The time that people, and the caller, spent on a request that nobody would be asked about.
    fn save(&mut self, request: &Request) {
        for vote in request.state().votes() {
            match vote.opened_at {
                Some(opened) => {
                    let took = vote.voted_at.millis_since(opened).clamp(0, LONGEST_READING_MS);
                    self.reading_ms = self.reading_ms.saturating_add(took);
                    self.found.saved.presses += 1;
                }
                None => self.found.saved.presses_unknown += 1,
            }
        }
        let by_somebody = matches!(DecidedBy::of(request), DecidedBy::People | DecidedBy::System);
        if let Some(outcome) = request.outcome().filter(|_| by_somebody) {
            let waited = outcome.decided_at.millis_since(request.asked().created_at).max(0);
            self.waiting_ms = self.waiting_ms.saturating_add(waited);
        }
    }

    fn leave(&mut self, why: NotReplayed, requests: u32) {
        let count = self.left.entry(why).or_default();
        *count = count.saturating_add(requests);
    }

    /// The comparison.
    pub fn report(mut self) -> ReplayReport {
        let found = &mut self.found;
        found.saved.reviewer_minutes = minutes(self.reading_ms);
        found.saved.waiting_minutes = minutes(self.waiting_ms);
        found.pairs = pairs(&self.counted);
        for list in [
            &mut found.rejected_would_pass,
            &mut found.flagged_would_pass,
            &mut found.undecided_would_pass,
            &mut found.newly_asked,
            &mut found.newly_denied,
        ] {
            list.cut(self.listed);
        }
        let rules = self.policy.rules.iter().map(|rule| (Some(rule.name.clone()), rule.observes));
        for (name, observes) in rules.chain([(None, false)]) {
            let counted = self.rules.remove(&name);
            // Where some rule always matches, nothing falls through: then there is nothing to say of it.
            if name.is_some() || counted.is_some() {
                let name = name.unwrap_or_else(|| NO_RULE.to_owned());
                found.rules.push(RuleReplay { name, observes, ..counted.unwrap_or_default() });
            }
        }
        found.not_replayed = self
            .left
            .iter()
            .map(|(why, requests)| Left { why: *why, requests: *requests, words: why.words() })
            .collect();
        self.found
    }
}

impl Then {
    /// What became of that request.
    pub fn of(request: &Request) -> Self {
        let approved = request.status() == Status::Approved;
        match (DecidedBy::of(request), approved) {
            (DecidedBy::Nobody, _) => Self::Pending,
            (DecidedBy::People, true) => Self::PeopleApproved,
            (DecidedBy::People, false) => Self::PeopleRejected,
            (DecidedBy::System, true) => Self::SystemApproved,
            (DecidedBy::System, false) => Self::SystemRejected,
            (DecidedBy::Policy, true) => Self::PolicyApproved,
            (DecidedBy::Policy, false) => Self::PolicyRejected,
            (DecidedBy::Deadline, _) => Self::Expired,
            (DecidedBy::Withdrawn, _) => Self::Withdrawn,
        }
    }
}

/// Whether what that rule would have done hangs on a total that nobody can know.
fn is_unclear(policy: &Policy, rule: &str, unclear: &BTreeSet<Gauge>) -> bool {
    let conditions = policy.rules.iter().filter(|one| one.name == rule).filter_map(|one| one.when.as_ref());
    !unclear.is_empty() && conditions.flat_map(Condition::gauges).any(|gauge| unclear.contains(&gauge))
}

/// How a request counted in running totals as it went; none where it never did.
fn counts_of(request: &Request, then: Then) -> Option<Counts> {
    match request.outcome() {
        None => Some(Counts::ForGood),
        Some(outcome) if outcome.status() == Status::Approved => Some(Counts::ForGood),
        Some(outcome) => then.asked().then_some(Counts::Until(outcome.decided_at)),
    }
}

#[expect(clippy::cast_precision_loss, reason = "the milliseconds of a year's work are far below 2^53")]
fn minutes(ms: i64) -> f64 {
    (ms as f64 / 600.0).round() / 100.0
}
