//! The reference: what should become of each request, written down plainly. It calls none of the gate's rules.

use std::collections::BTreeMap;

use super::policy::{ApprovalTerms, Assignees, Evaluation, Owner, Rule, RuleAction, Silence, Stage, Table};
use super::{Answer, Ask, Key, Phase, Redeem, Seen};

/// What the model knows.
pub(super) struct Model {
    pub policy: Table,
    pub now: i64,
    pub epoch: u32,
    pub records: BTreeMap<Key, Record>,
}

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub ask: Ask,
    created_at: i64,
    deadline: Option<i64>,
    owner: Option<&'static str>,
    rule: Option<Rule>,
    /// Silence can never approve it.
    silence_refuses: bool,
    pub seen: Seen,
    /// A stage was passed over unheard.
    unheard: bool,
    /// Stage and reviewer of every message that has not gone out; a queue is nobody.
    unsent: Vec<(usize, Option<&'static str>)>,
}

impl Model {
    pub(super) fn ask(&mut self, key: Key, ask: &Ask) -> Answer {
        if let Some(known) = self.records.get_mut(&key) {
            if known.ask != *ask {
                return Answer::Refused("request_id_conflict");
            }
            known.settle(&self.policy, self.now);
            return Answer::Again(known.seen.clone());
        }
        let record = Record::open(key, ask, &self.policy, self.now);
        let seen = record.seen.clone();
        self.records.insert(key, record);
        Answer::New(seen)
    }

    /// Names of requests like this one, that wait as far as anything has been written down.
    pub(super) fn twins(&self, key: Key, ask: &Ask) -> Vec<String> {
        self.records
            .iter()
            .filter(|((client, _), _)| *client == key.0)
            .filter(|(other, _)| **other != key)
            .filter(|(_, record)| (record.ask.action, record.ask.amount) == (ask.action, ask.amount))
            .filter(|(_, record)| record.seen.is_pending())
            .map(|((_, name), _)| (*name).to_owned())
            .collect()
    }

    pub(super) fn vote(&mut self, key: Key, who: &'static str, yes: bool, link_epoch: u32) -> Option<Answer> {
        let record = self.records.get_mut(&key)?;
        if link_epoch + 1 < self.epoch {
            return Some(Answer::Refused("link_expired"));
        }
        let asked = record.seen.asked().is_some_and(|asked| asked.iter().any(|name| name == who));
        let voted = record.seen.votes.iter().any(|(name, _, _)| name == who);
        if !self.policy.knows(who) {
            let known = asked || voted;
            return Some(Answer::Refused(if known { "link_expired" } else { "not_found" }));
        }
        record.settle(&self.policy, self.now);
        Some(record.vote(who, yes, &self.policy, self.now))
    }

    pub(super) fn answer(&mut self, key: Key, decider: &'static str, yes: bool) -> Answer {
        if !matches!(decider, "jira" | "ops") {
            return Answer::Refused("forbidden");
        }
        let Some(record) = self.records.get_mut(&key) else { return Answer::Refused("not_found") };
        record.settle(&self.policy, self.now);
        let Phase::Pending { stage, .. } = record.seen.phase else {
            return Answer::Ended(record.seen.clone());
        };
        let in_queue = record.stage(stage).is_some_and(|stage| matches!(stage.asks, Assignees::Queue));
        let owner = self.policy.owner(decider);
        let barred = owner.is_some_and(|owner| record.bars(key.0, owner, &self.policy));
        if !in_queue || (yes && barred) {
            return Answer::Refused("forbidden");
        }
        let at = record.clamp(self.now);
        record.end(if yes { "approved" } else { "rejected" }, vec![format!("client:{decider}")], at, at);
        Answer::Seen(record.seen.clone())
    }

    pub(super) fn cancel(&mut self, key: Key) -> Answer {
        let Some(record) = self.records.get_mut(&key) else { return Answer::Refused("not_found") };
        record.settle(&self.policy, self.now);
        if !record.seen.is_pending() {
            return Answer::Ended(record.seen.clone());
        }
        let at = record.clamp(self.now);
        record.end("cancelled", vec![format!("client:{}", key.0)], at, at);
        Answer::Seen(record.seen.clone())
    }

    pub(super) fn read(&mut self, key: Key) -> Answer {
        let Some(record) = self.records.get_mut(&key) else { return Answer::Refused("not_found") };
        record.settle(&self.policy, self.now);
        Answer::Seen(record.seen.clone())
    }

    /// A sweep goes by the clock on the wall.
    pub(super) fn sweep(&mut self) {
        for record in self.records.values_mut() {
            if matches!(record.seen.phase, Phase::Pending { closes_at, .. } if closes_at <= self.now) {
                record.settle(&self.policy, self.now);
            }
        }
    }

    /// All messages go out; in an outage only those that nobody needs any more are dropped.
    pub(super) fn deliver(&mut self, in_outage: bool) {
        for record in self.records.values_mut() {
            let waits = match record.seen.phase {
                Phase::Pending { stage, .. } => Some(stage),
                Phase::Ended { .. } => None,
            };
            let policy = &self.policy;
            record.unsent.retain(|(stage, who)| {
                in_outage && waits == Some(*stage) && who.is_none_or(|who| policy.knows(who))
            });
        }
    }

    fn expired(&self, key: Key) -> bool {
        self.records
            .get(&key)
            .and_then(Record::expires_at)
            .is_some_and(|end| self.now.div_euclid(1000) >= end)
    }

    /// When a request's stage closes, or its token's time is over.
    pub(super) fn edge(&self, key: Key) -> Option<i64> {
        let record = self.records.get(&key)?;
        match record.seen.phase {
            Phase::Pending { closes_at, .. } => Some(closes_at),
            Phase::Ended { .. } => record.expires_at().map(|seconds| seconds * 1000),
        }
    }

    pub(super) fn redeem(&mut self, key: Key, redeem: &Redeem, token_epoch: u32) -> Option<Answer> {
        let expired = self.expired(key);
        let record = self.records.get_mut(&key)?;
        if redeem.by_other_client || token_epoch + 1 < self.epoch {
            return Some(Answer::Refused("invalid_request"));
        }
        if redeem.wrong_payload && !expired {
            return Some(Answer::Refused("payload_mismatch"));
        }
        if record.seen.status() != "approved" {
            return Some(Answer::Refused("not_approved"));
        }
        Some(match &record.seen.redeemed {
            Some((by, _)) if by == redeem.redeemed_by => Answer::Redeemed { first: false },
            Some(_) => Answer::Refused("already_redeemed"),
            None if expired => Answer::Refused("token_expired"),
            None => {
                let at = record.clamp(self.now);
                record.seen.redeemed = Some((redeem.redeemed_by.to_owned(), at));
                record.seen.updated_at = at;
                Answer::Redeemed { first: true }
            }
        })
    }
}

impl Record {
    fn open(key: Key, ask: &Ask, policy: &Table, now: i64) -> Self {
        let rule = policy.rule(ask.action).cloned();
        let doubt = rule.as_ref().is_some_and(|rule| rule.evaluation == Evaluation::Fails);
        let natural = match &rule {
            Some(Rule { then: RuleAction::Ask(terms), .. }) => {
                Some(terms.stages.iter().map(|stage| stage.within_ms).sum::<i64>())
            }
            Some(_) | None => None,
        };
        let own_limit = ask.timeout_seconds.map(|seconds| i64::from(seconds) * 1000);
        let limit = natural.map(|natural| own_limit.map_or(natural, |own| own.min(natural)));
        let mut record = Self {
            ask: ask.clone(),
            created_at: now,
            deadline: limit.map(|limit| now + limit),
            owner: policy.owner(key.0),
            rule,
            silence_refuses: doubt || limit != natural,
            seen: Seen {
                phase: Phase::Ended { status: String::new(), decided_by: Vec::new(), decided_at: now },
                votes: Vec::new(),
                redeemed: None,
                updated_at: now,
            },
            unheard: false,
            unsent: Vec::new(),
        };
        let alone = match &record.rule {
            Some(Rule { then: RuleAction::Approve, .. }) => Some(if doubt { "rejected" } else { "approved" }),
            Some(Rule { then: RuleAction::Reject, .. }) | None => Some("rejected"),
            Some(Rule { then: RuleAction::Ask(_), .. }) => None,
        };
        let opened = alone.is_none() && record.open_stage(0, policy, now);
        if !opened {
            let rule = record.rule.as_ref().map_or("default", |rule| rule.name);
            record.end(alone.unwrap_or("rejected"), vec![format!("policy:{rule}")], now, now);
        }
        record
    }

    fn terms(&self) -> Option<&ApprovalTerms> {
        match self.rule.as_ref().map(|rule| &rule.then) {
            Some(RuleAction::Ask(terms)) => Some(terms),
            Some(RuleAction::Approve | RuleAction::Reject) | None => None,
        }
    }

    fn stage(&self, index: usize) -> Option<&Stage> {
        self.terms()?.stages.get(index)
    }

    fn clamp(&self, now: i64) -> i64 {
        now.max(self.seen.updated_at)
    }

    fn expires_at(&self) -> Option<i64> {
        let valid_for = self.rule.as_ref().map_or(3600, |rule| rule.valid_for_seconds);
        match self.seen.phase {
            Phase::Ended { decided_at, .. } => Some(decided_at.div_euclid(1000) + valid_for),
            Phase::Pending { .. } => None,
        }
    }

    fn end(&mut self, status: &str, decided_by: Vec<String>, decided_at: i64, at: i64) {
        self.seen.phase = Phase::Ended { status: status.to_owned(), decided_by, decided_at };
        self.seen.updated_at = at;
    }

    /// Opens the first stage from `from` on that still has time and somebody who may approve.
    fn open_stage(&mut self, from: usize, policy: &Table, at: i64) -> bool {
        let Some(terms) = self.terms().cloned() else { return false };
        let mut closes_at = self.created_at;
        let mut passed = false;
        for (index, stage) in terms.stages.iter().enumerate() {
            closes_at += stage.within_ms;
            let closes_at = self.deadline.map_or(closes_at, |deadline| closes_at.min(deadline));
            if index < from {
                continue;
            }
            let asked: Vec<&'static str> = match stage.asks {
                Assignees::Queue => Vec::new(),
                Assignees::Role(role) => policy
                    .reviewers
                    .iter()
                    .map(|(id, _)| *id)
                    .filter(|id| policy.has_role(id, role))
                    .collect(),
            };
            let somebody = matches!(stage.asks, Assignees::Queue)
                || asked.iter().any(|who| terms.owner == Owner::MayApprove || self.owner != Some(who));
            if at >= closes_at || !somebody {
                passed = true;
                continue;
            }
            self.unheard |= passed;
            self.unsent.extend(asked.iter().map(|who| (index, Some(*who))));
            if asked.is_empty() {
                self.unsent.push((index, None));
            }
            let asked = asked.into_iter().map(str::to_owned).collect();
            self.seen.phase = Phase::Pending { stage: index, closes_at, asked };
            self.seen.updated_at = at;
            return true;
        }
        false
    }

    /// Writes down every deadline that has passed.
    fn settle(&mut self, policy: &Table, now: i64) {
        let at = self.clamp(now);
        while let Phase::Pending { stage, closes_at, .. } = self.seen.phase {
            if at < closes_at || self.open_stage(stage + 1, policy, at) {
                if at < closes_at {
                    return;
                }
                continue;
            }
            let terms = self.terms();
            let last = terms.map_or(0, |terms| terms.stages.len() - 1);
            let approves = terms.is_some_and(|terms| terms.silence == Silence::Approves)
                && !self.silence_refuses
                && !self.unheard
                && self.unsent.is_empty()
                && self.somebody_is_left(policy)
                && stage == last;
            let rule = self.rule.as_ref().map_or("default", |rule| rule.name);
            let decided_at = self.deadline.map_or(at, |deadline| deadline.min(at));
            let status = if approves { "approved" } else { "expired" };
            self.end(status, vec![format!("timeout:{rule}")], decided_at, at);
        }
    }

    /// Whether one of those who are asked still has the role, or it is a queue that is asked.
    fn somebody_is_left(&self, policy: &Table) -> bool {
        let Phase::Pending { stage, asked, .. } = &self.seen.phase else { return false };
        self.stage(*stage).is_none_or(|stage| match stage.asks {
            Assignees::Role(role) => asked.iter().any(|who| policy.has_role(who, role)),
            Assignees::Queue => true,
        })
    }

    fn bars(&self, client: &str, who: &str, policy: &Table) -> bool {
        let allowed = self.terms().is_some_and(|terms| terms.owner == Owner::MayApprove);
        !allowed && (self.owner == Some(who) || policy.owner(client) == Some(who))
    }

    fn vote(&mut self, who: &'static str, yes: bool, policy: &Table, now: i64) -> Answer {
        let Phase::Pending { stage, asked, .. } = &self.seen.phase else {
            return Answer::Ended(self.seen.clone());
        };
        let still_asked = asked.iter().any(|name| name == who)
            && self.stage(*stage).is_some_and(|stage| match stage.asks {
                Assignees::Role(role) => policy.has_role(who, role),
                Assignees::Queue => false,
            });
        if !still_asked {
            return Answer::Refused("link_expired");
        }
        if yes && self.bars(self.ask.client, who, policy) {
            return Answer::Refused("forbidden");
        }
        let earlier = self.seen.votes.iter().position(|(name, _, _)| name == who);
        if earlier.and_then(|at| self.seen.votes.get(at)).is_some_and(|(_, said, _)| *said == yes) {
            return Answer::Seen(self.seen.clone());
        }
        let at = self.clamp(now);
        if let Some(earlier) = earlier {
            self.seen.votes.remove(earlier);
        }
        self.seen.votes.push((who.to_owned(), yes, at));
        self.seen.updated_at = at;
        if !yes {
            self.end("rejected", vec![who.to_owned()], at, at);
            return Answer::Seen(self.seen.clone());
        }
        let approvers: Vec<String> = self
            .seen
            .votes
            .iter()
            .filter(|(name, yes, _)| *yes && policy.knows(name) && !self.bars(self.ask.client, name, policy))
            .map(|(name, _, _)| name.clone())
            .collect();
        if approvers.len() >= self.terms().map_or(1, |terms| terms.approvals) {
            self.end("approved", approvers, at, at);
        }
        Answer::Seen(self.seen.clone())
    }
}
