//! The policy: who may ask, who decides, and which rule a request hits (`placet.toml`).
//!
//! [`Policy::read`] makes one from text; everything else only looks things up in it.

mod condition;
mod read;
#[cfg(test)]
mod tests;
mod toml_tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use condition::{Condition, Facts, VARIABLES, Verdict};
pub use read::{Diagnostic, Report};

use crate::Timestamp;
use crate::id::{ClientId, ReviewerId};
use crate::token::TokenKind;

/// The longest that a request may wait, in milliseconds: 30 days.
pub const MAX_WAIT_MS: i64 = 30 * crate::time::DAY_MS;

/// A whole, valid policy.
#[derive(Debug)]
pub struct Policy {
    /// The gate's own address, `iss` of its tokens; none where the command line says it.
    pub issuer: Option<String>,
    /// The programs.
    pub clients: Vec<Client>,
    /// The people.
    pub reviewers: Vec<Reviewer>,
    /// The rules, in order: the first that matches decides.
    pub rules: Vec<Rule>,
    /// Lower-case hex SHA-256 of the text it was read from.
    pub sha256: String,
}

/// What a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClientRole {
    /// Ask, and follow its own requests.
    Requester,
    /// Answer requests that wait in a queue.
    Decider,
    /// Read the trail, and hook all events.
    Auditor,
}

/// A program that uses the gate.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its name.
    pub id: ClientId,
    /// What it may do; never both requester and decider.
    pub roles: BTreeSet<ClientRole>,
    /// Whose program it is: that reviewer cannot approve what it asks.
    pub owner: Option<ReviewerId>,
    /// How its tokens are signed.
    pub token: TokenKind,
    /// Hosts (or `host:port`) that its callbacks may reach although they are private or plain http.
    pub callback_hosts: Vec<String>,
    /// New requests per minute.
    pub rate_per_minute: u32,
    /// Whether it may send its secret as a bearer key instead of signing.
    pub bearer: bool,
    /// Raised to revoke its secret.
    pub generation: u32,
}

impl Client {
    /// Whether it has that role.
    pub fn has(&self, role: ClientRole) -> bool {
        self.roles.contains(&role)
    }
}

/// A person who decides.
#[derive(Clone, Debug)]
pub struct Reviewer {
    /// Their short name.
    pub id: ReviewerId,
    /// The name that others read.
    pub name: String,
    /// Where mail goes.
    pub email: Option<String>,
    /// Where texts go (E.164).
    pub phone: Option<String>,
    /// Their Slack member id.
    pub slack: Option<String>,
    /// What rules ask for.
    pub roles: BTreeSet<String>,
    /// When somebody else is asked.
    pub away: Vec<Absence>,
}

/// A time away, in whole UTC days, both included.
#[derive(Clone, Debug)]
pub struct Absence {
    /// First day, counted from 1970-01-01.
    pub from_day: i64,
    /// Last day.
    pub until_day: i64,
    /// Who is asked instead.
    pub backup: Option<ReviewerId>,
}

/// A rule.
#[derive(Debug)]
pub struct Rule {
    /// Its name, in tokens and in the trail.
    pub name: String,
    /// When it applies; without a condition, always.
    pub when: Option<Condition>,
    /// What it does.
    pub then: RuleAction,
    /// How long its approvals may be acted on, in seconds.
    pub valid_for_seconds: i64,
}

/// What a rule does.
#[derive(Debug)]
pub enum RuleAction {
    /// Decides alone.
    Decide(Decision),
    /// Asks.
    Ask(ApprovalTerms),
}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Yes.
    Approve,
    /// No.
    Reject,
}

impl Decision {
    /// `approve` or `reject`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
        }
    }

    /// Reads `approve` or `reject`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "approve" => Some(Self::Approve),
            "reject" => Some(Self::Reject),
            _ => None,
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a rule asks. A request keeps the terms that it was asked under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalTerms {
    /// How many distinct reviewers must approve.
    pub approvals: u32,
    /// Whom it asks, one after the other.
    pub stages: Vec<Stage>,
    /// What the last deadline means.
    pub on_timeout: Decision,
    /// Whether the client's owner may approve.
    pub owner_may_approve: bool,
}

/// One stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Whom it asks.
    pub ask: Assignees,
    /// For how long, in milliseconds.
    pub within_ms: i64,
}

/// Whom a stage asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Assignees {
    /// The reviewers who have one of these roles.
    Roles(Vec<String>),
    /// A system that reads this queue and answers through `/decision`.
    Queue(String),
}

/// The default for `valid_for`, in seconds.
pub const VALID_FOR_SECONDS: i64 = 60 * 60;

/// A request, as rules see it.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Who asks.
    pub client: &'a str,
    /// What for.
    pub action: &'a str,
    /// The agent's words.
    pub summary: &'a str,
    /// The payload, an object.
    pub payload: &'a Value,
    /// The caller's own labels.
    pub metadata: &'a BTreeMap<String, String>,
}

/// The rule that a request hits.
#[derive(Clone, Debug)]
pub struct RuleMatch<'p> {
    /// The rule.
    pub rule: &'p Rule,
    /// Why its condition could not be evaluated, if it could not: then nothing but a person may approve.
    pub doubt: Option<String>,
}

/// A reviewer who is asked, and for whom they stand in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignee {
    /// Who is asked.
    pub reviewer: ReviewerId,
    /// Who is away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_place_of: Option<ReviewerId>,
}

impl Policy {
    /// The client of that id.
    pub fn client(&self, id: &ClientId) -> Option<&Client> {
        self.clients.iter().find(|client| client.id == *id)
    }

    /// The reviewer of that id.
    pub fn reviewer(&self, id: &ReviewerId) -> Option<&Reviewer> {
        self.reviewers.iter().find(|reviewer| reviewer.id == *id)
    }

    /// The first rule that matches, or that cannot be evaluated.
    ///
    /// A condition that fails does not skip its rule: what follows might be more generous than its author meant.
    pub fn pick(&self, question: &Question<'_>) -> Option<RuleMatch<'_>> {
        let facts = Facts::of(question);
        self.rules.iter().find_map(|rule| match rule.truth(&facts) {
            Verdict::Yes => Some(RuleMatch { rule, doubt: None }),
            Verdict::No => None,
            Verdict::Unknown(why) => Some(RuleMatch { rule, doubt: Some(why) }),
        })
    }

    /// What each rule says of a request, down to the one that it hits.
    pub fn explain(&self, question: &Question<'_>) -> Vec<(&Rule, Verdict)> {
        let facts = Facts::of(question);
        let mut lines = Vec::new();
        for rule in &self.rules {
            let truth = rule.truth(&facts);
            let hit = truth != Verdict::No;
            lines.push((rule, truth));
            if hit {
                break;
            }
        }
        lines
    }

    /// The reviewers whom a stage with those roles asks at that time, each once, in the policy's order.
    ///
    /// Who is away is replaced by their backup (and that one's, if away too); without one, they are left out.
    pub fn asked(&self, roles: &[String], at: Timestamp) -> Vec<Assignee> {
        let mut asked: Vec<Assignee> = Vec::new();
        for holder in self.reviewers.iter().filter(|reviewer| reviewer.has_any(roles)) {
            let Some(present) = self.present(holder, at) else { continue };
            if asked.iter().all(|other| other.reviewer != present.id) {
                let in_place_of = (present.id != holder.id).then(|| holder.id.clone());
                asked.push(Assignee { reviewer: present.id.clone(), in_place_of });
            }
        }
        asked
    }

    /// Whether that asked reviewer still counts: still in the policy, and still with a role that is asked (or, as a
    /// backup, still standing in for someone).
    pub fn still_counts(&self, asked: &Assignee, roles: &[String]) -> bool {
        self.reviewer(&asked.reviewer)
            .is_some_and(|reviewer| asked.in_place_of.is_some() || reviewer.has_any(roles))
    }

    fn present<'p>(&'p self, reviewer: &'p Reviewer, at: Timestamp) -> Option<&'p Reviewer> {
        let mut candidate = reviewer;
        // As many steps as there are people: a circle of backups ends with nobody.
        for _ in 0..self.reviewers.len() {
            let Some(away) = candidate.away_at(at) else { return Some(candidate) };
            candidate = self.reviewer(away.backup.as_ref()?)?;
        }
        None
    }
}

impl Rule {
    fn truth(&self, facts: &Facts) -> Verdict {
        self.when.as_ref().map_or(Verdict::Yes, |condition| condition.test(facts))
    }
}

impl Reviewer {
    /// Whether they have one of those roles.
    pub fn has_any(&self, roles: &[String]) -> bool {
        roles.iter().any(|role| self.roles.contains(role))
    }

    fn away_at(&self, at: Timestamp) -> Option<&Absence> {
        let day = at.day();
        self.away.iter().find(|away| (away.from_day..=away.until_day).contains(&day))
    }
}
