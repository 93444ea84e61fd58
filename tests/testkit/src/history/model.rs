//! The reference: what should become of each request, written down plainly. It calls none of the gate's rules.

use std::collections::{BTreeMap, BTreeSet};

use super::policy::{ApprovalTerms, Assignees, Evaluation, Executor, Owner, Rule, RuleAction, Stage, Table};
use super::{Answer, Ask, Attempt, By, Key, Link, Phase, Redeem, Seen};

/// Links of so many generations of somebody who has left are still told from links of nobody.
const GENERATIONS_OF_STRANGERS: u32 = 8;

/// What the model knows.
pub(super) struct Model {
    pub policy: Table,
    /// A policy has come into force, and what is open has not been looked at under it.
    pub is_new_policy: bool,
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
    /// The stage in which it ended, if it was asked of anybody.
    ended_in: Option<usize>,
    /// Whose attempts were refused, what they wanted, and why: each is one entry of the trail.
    refused: BTreeSet<(Attempt, &'static str)>,
    pub seen: Seen,
}

/// What somebody may do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Decide,
    RejectOnly,
    Nothing,
}

impl Model {
    pub(super) fn ask(&mut self, key: Key, ask: &Ask) -> Answer {
        if let Some(known) = self.records.get_mut(&key) {
            if (known.ask.action, known.ask.amount) != (ask.action, ask.amount) {
                return Answer::Refused("request_id_conflict");
            }
            known.settle(&self.policy, self.now);
            if let Some(url) =
                ask.callback.filter(|url| !known.seen.callbacks.iter().any(|other| other == url))
            {
                known.seen.callbacks.push(url.to_owned());
                known.seen.updated_at = known.clamp(self.now);
            }
            return Answer::Again(known.seen.clone());
        }
        let record = Record::open(key, ask, &self.policy, self.now);
        let seen = record.seen.clone();
        self.records.insert(key, record);
        Answer::New(seen)
    }

    /// Names of requests like this one, that wait as far as anything has been written down.
    pub(super) fn duplicates(&self, key: Key, ask: &Ask) -> Vec<String> {
        self.records
            .iter()
            .filter(|((client, _), _)| *client == key.0)
            .filter(|(other, _)| **other != key)
            .filter(|(_, record)| (record.ask.action, record.ask.amount) == (ask.action, ask.amount))
            .filter(|(_, record)| record.seen.is_pending())
            .map(|((_, name), _)| (*name).to_owned())
            .collect()
    }

    /// `link` is what somebody holds; none where the gate gives them none.
    pub(super) fn vote(
        &mut self,
        key: Key,
        who: &'static str,
        yes: bool,
        link: Option<Link>,
    ) -> Option<Answer> {
        let record = self.records.get_mut(&key)?;
        let Some(link) = link else { return Some(Answer::Refused("not_found")) };
        if link.epoch + 1 < self.epoch {
            return Some(Answer::Refused("link_expired"));
        }
        let generation = self.policy.reviewer(who).map(|known| known.generation);
        if generation != Some(link.generation) {
            let asked = record.seen.asked().is_some_and(|asked| asked.iter().any(|name| name == who));
            let voted = record.seen.votes.iter().any(|vote| vote.who == who);
            let is_recognised = link.generation <= generation.unwrap_or(GENERATIONS_OF_STRANGERS)
                && (generation.is_some() || asked || voted);
            return Some(Answer::Refused(if is_recognised { "link_expired" } else { "not_found" }));
        }
        if !record.seen.is_pending() {
            return Some(Answer::Ended(record.seen.clone()));
        }
        record.settle(&self.policy, self.now);
        Some(record.vote(who, yes, &self.policy, self.now))
    }

    pub(super) fn answer(&mut self, key: Key, decider: &'static str, yes: bool) -> Answer {
        if !matches!(decider, "jira" | "ops") {
            return Answer::Refused("forbidden");
        }
        let policy = &self.policy;
        let Some(record) = self.records.get_mut(&key) else { return Answer::Refused("not_found") };
        // What is not in one of its queues is not there for a decider, whatever it will come to.
        if !record.is_in_queue_of(decider, policy) {
            return Answer::Refused("not_found");
        }
        record.settle(policy, self.now);
        if !record.is_in_queue_of(decider, policy) {
            return Answer::Refused("not_found");
        }
        let Phase::Pending { stage, .. } = record.seen.phase else {
            return Answer::Ended(record.seen.clone());
        };
        if yes && policy.owner(decider).is_some_and(|owner| record.bars(owner, policy)) {
            return Answer::Refused("forbidden");
        }
        let at = record.clamp(self.now);
        let status = if yes { "approved" } else { "rejected" };
        record.end(status, vec![format!("client:{decider}")], at, at, Some(stage));
        Answer::Seen(record.seen.clone())
    }

    /// An attempt that was refused may have left one entry, and nothing else: the request was written at that moment. A
    /// deadline that had passed is written down before.
    pub(super) fn note_refused(
        &mut self,
        key: Key,
        attempt: Attempt,
        answer: &Answer,
        stored: Option<&Seen>,
    ) {
        let code = match (attempt, answer) {
            (Attempt::Vote(..), Answer::Ended(_)) => "already_decided",
            (Attempt::Vote(..), Answer::Refused(code @ ("link_expired" | "forbidden")))
            | (
                Attempt::Use(_),
                // The last one is said of another client's token.
                Answer::Refused(
                    code @ ("payload_mismatch" | "not_approved" | "already_redeemed" | "token_expired"
                    | "invalid_request"),
                ),
            ) => code,
            _ => return,
        };
        let (policy, now) = (&self.policy, self.now);
        let Some(record) = self.records.get_mut(&key) else { return };
        let is_first = !record.refused.contains(&(attempt, code));
        if stored == Some(&record.seen) || !is_first {
            return;
        }
        let mut noted = record.clone();
        noted.settle(policy, now);
        noted.seen.updated_at = noted.clamp(now);
        noted.refused.insert((attempt, code));
        if stored == Some(&noted.seen) {
            *record = noted;
        }
    }

    pub(super) fn cancel(&mut self, key: Key, by: &str) -> Answer {
        let Some(record) = self.records.get_mut(&key) else { return Answer::Refused("not_found") };
        record.settle(&self.policy, self.now);
        let Phase::Pending { stage, .. } = record.seen.phase else {
            return Answer::Ended(record.seen.clone());
        };
        let at = record.clamp(self.now);
        record.end("cancelled", vec![by.to_owned()], at, at, Some(stage));
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

    /// All messages are worked off; the one that a new policy leaves has what is open looked at.
    pub(super) fn deliver(&mut self) {
        if std::mem::take(&mut self.is_new_policy) {
            for record in self.records.values_mut() {
                record.reassign(&self.policy, self.now);
            }
        }
    }

    /// What somebody sees in their inbox, by deadline; those of one deadline are in the order of their keys.
    pub(super) fn inbox(&self, who: &str) -> Vec<Key> {
        let mut found: Vec<(i64, Key)> = Vec::new();
        for (key, record) in &self.records {
            if let Phase::Pending { stage, closes_at, .. } = record.seen.phase {
                let is_over = record.clamp(self.now) >= closes_at;
                if !is_over && record.standing(stage, who, &self.policy) != Standing::Nothing {
                    found.push((closes_at, *key));
                }
            }
        }
        found.sort_by_key(|(closes_at, (client, name))| (*closes_at, crate::sample::key(client, name)));
        found.into_iter().map(|(_, key)| key).collect()
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
        let may = match redeem.by {
            By::Asker => true,
            By::Other => false,
            By::Executor => key.0 == "n8n" && self.policy.executor == Executor::Named,
        };
        let record = self.records.get_mut(&key)?;
        if !may || token_epoch + 1 < self.epoch {
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
            ended_in: None,
            refused: BTreeSet::new(),
            seen: Seen {
                phase: Phase::Ended { status: String::new(), decided_by: Vec::new(), decided_at: now },
                votes: Vec::new(),
                redeemed: None,
                callbacks: ask.callback.into_iter().map(str::to_owned).collect(),
                updated_at: now,
            },
        };
        let alone = match &record.rule {
            Some(Rule { then: RuleAction::Approve, .. }) => Some(if doubt { "rejected" } else { "approved" }),
            Some(Rule { then: RuleAction::Reject, .. }) | None => Some("rejected"),
            Some(Rule { then: RuleAction::Ask(_), .. }) => None,
        };
        let opened = alone.is_none() && record.open_stage(0, policy, now);
        if !opened {
            let rule = record.rule.as_ref().map_or("default", |rule| rule.name);
            record.end(alone.unwrap_or("rejected"), vec![format!("policy:{rule}")], now, now, None);
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

    fn end(&mut self, status: &str, decided_by: Vec<String>, decided_at: i64, at: i64, stage: Option<usize>) {
        self.seen.phase = Phase::Ended { status: status.to_owned(), decided_by, decided_at };
        self.seen.updated_at = at;
        self.ended_in = stage;
    }

    /// Whether the stage that waits, or in which it ended, is a queue of that decider's.
    fn is_in_queue_of(&self, decider: &str, policy: &Table) -> bool {
        let stage = match self.seen.phase {
            Phase::Pending { stage, .. } => Some(stage),
            Phase::Ended { .. } => self.ended_in,
        };
        stage.and_then(|stage| self.stage(stage)).is_some_and(|stage| match stage.asks {
            Assignees::Queue(queue) => policy.answers_for(decider, queue),
            Assignees::Role(_) => false,
        })
    }

    /// Whom a stage asks.
    fn asked(&self, stage: usize, policy: &Table) -> Vec<&'static str> {
        match self.stage(stage).map(|stage| stage.asks) {
            Some(Assignees::Role(role)) => policy.asked(role),
            Some(Assignees::Queue(_)) | None => Vec::new(),
        }
    }

    /// Whether anybody may approve that stage.
    fn somebody_may(&self, stage: usize, policy: &Table) -> bool {
        match self.stage(stage).map(|stage| stage.asks) {
            Some(Assignees::Role(role)) => policy.asked(role).iter().any(|who| !self.bars(who, policy)),
            Some(Assignees::Queue(queue)) => policy.deciders.iter().any(|(_, _, of)| *of == queue),
            None => false,
        }
    }

    /// Opens the first stage from `from` on that still has time and somebody who may approve.
    fn open_stage(&mut self, from: usize, policy: &Table, at: i64) -> bool {
        let stages = self.terms().map_or(0, |terms| terms.stages.len());
        for stage in from..stages {
            let within: i64 =
                (0..=stage).filter_map(|index| self.stage(index)).map(|stage| stage.within_ms).sum();
            let closes_at = self.created_at + within;
            let closes_at = self.deadline.map_or(closes_at, |deadline| closes_at.min(deadline));
            if at >= closes_at || !self.somebody_may(stage, policy) {
                continue;
            }
            let asked = self.asked(stage, policy).into_iter().map(str::to_owned).collect();
            self.seen.phase = Phase::Pending { stage, closes_at, asked, deserted: false };
            self.seen.updated_at = at;
            return true;
        }
        false
    }

    /// Writes down every deadline that has passed.
    fn settle(&mut self, policy: &Table, now: i64) {
        let at = self.clamp(now);
        while let Phase::Pending { stage, closes_at, .. } = self.seen.phase {
            if at < closes_at {
                return;
            }
            if self.open_stage(stage + 1, policy, at) {
                continue;
            }
            let rule = self.rule.as_ref().map_or("default", |rule| rule.name);
            let decided_at = self.deadline.map_or(at, |deadline| deadline.min(at));
            self.end("expired", vec![format!("timeout:{rule}")], decided_at, at, Some(stage));
        }
    }

    /// Looks at what is open under a policy that has come into force.
    fn reassign(&mut self, policy: &Table, now: i64) {
        let at = self.clamp(now);
        let Phase::Pending { stage, closes_at, asked, deserted } = self.seen.phase.clone() else { return };
        if at >= closes_at {
            return;
        }
        let asked_now: Vec<String> = self.asked(stage, policy).into_iter().map(str::to_owned).collect();
        let may = self.somebody_may(stage, policy);
        if !may && self.open_stage(stage + 1, policy, at) {
            return;
        }
        let same = asked.iter().all(|who| asked_now.contains(who))
            && asked_now.iter().all(|who| asked.contains(who));
        if (may && same && !deserted) || (!may && deserted) {
            return;
        }
        self.seen.phase = Phase::Pending { stage, closes_at, asked: asked_now, deserted: !may };
        self.seen.updated_at = at;
    }

    /// Whether this person owns the asking client, when it asked or by now, and so may not approve.
    fn bars(&self, who: &str, policy: &Table) -> bool {
        let allowed = self.terms().is_some_and(|terms| terms.owner == Owner::MayApprove);
        !allowed && (self.owner == Some(who) || policy.owner(self.ask.client) == Some(who))
    }

    fn seat(&self, stage: usize, who: &str, policy: &Table) -> Option<&'static str> {
        match self.stage(stage).map(|stage| stage.asks) {
            Some(Assignees::Role(role)) => policy.seat(role, who),
            Some(Assignees::Queue(_)) | None => None,
        }
    }

    fn standing(&self, stage: usize, who: &str, policy: &Table) -> Standing {
        match self.seat(stage, who, policy) {
            None => Standing::Nothing,
            Some(seat) if self.bars(who, policy) || self.bars(seat, policy) => Standing::RejectOnly,
            Some(_) => Standing::Decide,
        }
    }

    fn vote(&mut self, who: &'static str, yes: bool, policy: &Table, now: i64) -> Answer {
        let Phase::Pending { stage, .. } = self.seen.phase else {
            return Answer::Ended(self.seen.clone());
        };
        match self.standing(stage, who, policy) {
            Standing::Nothing => return Answer::Refused("link_expired"),
            Standing::RejectOnly if yes => return Answer::Refused("forbidden"),
            Standing::RejectOnly | Standing::Decide => {}
        }
        let needed = self.terms().map_or(1, |terms| terms.approvals);
        let earlier = self.seen.votes.iter().position(|vote| vote.who == who);
        let says_the_same = earlier
            .and_then(|at| self.seen.votes.get(at))
            .is_some_and(|vote| vote.yes == yes && self.counts(vote, policy));
        if says_the_same && self.approvers(policy).len() < needed {
            return Answer::Seen(self.seen.clone());
        }
        let at = self.clamp(now);
        if let Some(earlier) = earlier {
            self.seen.votes.remove(earlier);
        }
        self.seen.votes.push(super::Vote { who: who.to_owned(), yes, at, stage });
        self.seen.updated_at = at;
        let approvers = self.approvers(policy);
        if !yes {
            self.end("rejected", vec![who.to_owned()], at, at, Some(stage));
        } else if approvers.len() >= needed {
            self.end("approved", approvers, at, at, Some(stage));
        }
        Answer::Seen(self.seen.clone())
    }

    /// Whether what was said then still has authority.
    fn counts(&self, vote: &super::Vote, policy: &Table) -> bool {
        match self.standing(vote.stage, &vote.who, policy) {
            Standing::Decide => true,
            Standing::RejectOnly => !vote.yes,
            Standing::Nothing => false,
        }
    }

    /// Who has approved, one for each seat: who is away and who stands in for them have one voice.
    fn approvers(&self, policy: &Table) -> Vec<String> {
        let mut seats = Vec::new();
        let mut approvers = Vec::new();
        for vote in self.seen.votes.iter().filter(|vote| vote.yes && self.counts(vote, policy)) {
            let seat = self.seat(vote.stage, &vote.who, policy);
            if !seats.contains(&seat) {
                seats.push(seat);
                approvers.push(vote.who.clone());
            }
        }
        approvers
    }
}
