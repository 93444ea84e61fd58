//! The policy: who may ask, who decides, and which rule a request hits (`placet.toml`).
//!
//! `Policy::read` makes one from text; everything else only looks things up in it. What reads and evaluates needs the
//! feature `conditions`; a program that only looks things up does without its dependencies.

mod absence;
mod alerts;
#[cfg(feature = "conditions")]
mod cel;
#[cfg(feature = "conditions")]
mod condition;
#[cfg(feature = "conditions")]
mod dead_ends;
#[cfg(feature = "conditions")]
mod diagnostic;
mod hours;
#[cfg(feature = "conditions")]
mod not_toml;
mod observing;
mod pause;
#[cfg(feature = "conditions")]
mod read;
#[cfg(all(test, feature = "conditions"))]
mod tests;
#[cfg(feature = "conditions")]
mod toml_tree;
#[cfg(feature = "conditions")]
mod totals;
mod weekly;

#[cfg(feature = "conditions")]
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
#[cfg(feature = "conditions")]
use serde_json::Value;

use absence::Presence;
pub use absence::{LONGEST_ABSENCE_MS, OwnAbsence, said_away};
pub use alerts::{ALERT_KINDS, AlertWay, WayKind};
#[cfg(feature = "conditions")]
pub use condition::{Condition, EvalError, Verdict};
#[cfg(feature = "conditions")]
pub use diagnostic::{Diagnostic, decode};
pub use hours::Hours;
pub use observing::{Observed, Would};
pub use pause::{ClientPause, PAUSE_MS, with_pause, without_pause};
#[cfg(feature = "conditions")]
pub use read::Report;
#[cfg(feature = "conditions")]
pub use totals::{Earlier, Gauge, LONGEST_WINDOW_MS, Meter, Unread, tallies};
pub use weekly::{Week, Weekly, WeeklyReport};

use crate::Timestamp;
use crate::grammar::HostPattern;
use crate::id::{ClientId, ReviewerId};
use crate::token::TokenKind;
use crate::words::{FieldPath, TitleTemplate};

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
    /// By which ways operators are told; none: as the gate does by itself.
    pub alerts: Vec<AlertWay>,
    /// How the weekly report goes out; none: it does not.
    pub report: Option<WeeklyReport>,
    /// Lower-case hex SHA-256 of the text it was read from.
    pub sha256: String,
    /// Counts the policies that were installed, from 1; 0 until this one is.
    pub version: u32,
    /// Who is away by their own word.
    pub(crate) own_absences: Vec<OwnAbsence>,
    /// Which clients are paused, and were in the last day.
    pub(crate) pauses: Vec<ClientPause>,
    #[cfg(feature = "conditions")]
    pub(crate) gauges: std::sync::OnceLock<Vec<Gauge>>,
}

/// What a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClientRole {
    /// Ask, and follow its own requests.
    Requester,
    /// Verify and redeem tokens of the clients that name it.
    Executor,
    /// Answer requests that wait in one of its queues.
    Decider,
    /// Read the trail, and hook all events.
    Auditor,
}

impl ClientRole {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Requester, Self::Executor, Self::Decider, Self::Auditor];

    /// Its word in the policy.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requester => "requester",
            Self::Executor => "executor",
            Self::Decider => "decider",
            Self::Auditor => "auditor",
        }
    }
}

impl fmt::Display for ClientRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A program that uses the gate.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its identifier.
    pub id: ClientId,
    /// The name that people read; the id where the policy gives none.
    pub name: String,
    /// What it may do; never both requester and decider.
    pub roles: BTreeSet<ClientRole>,
    /// Whose program it is: that reviewer cannot approve what it asks.
    pub owner: Option<ReviewerId>,
    /// Clients with the role `executor` that may verify and redeem its tokens.
    pub executors: BTreeSet<ClientId>,
    /// The queues that it answers for; empty unless it is a decider.
    pub queues: BTreeSet<String>,
    /// How its tokens are signed.
    pub token: TokenKind,
    /// Hosts (or `host:port`) that its callbacks may reach although they are private or plain http.
    pub callback_hosts: Vec<HostPattern>,
    /// New requests per minute.
    pub rate_per_minute: u32,
    /// How many of its requests may wait at one time.
    pub max_pending: u32,
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
    /// Their user id in Slack, such as `U012AB3CD`.
    pub slack: Option<String>,
    /// Their user id in Telegram: a whole number.
    pub telegram: Option<String>,
    /// A URL that gets a signed POST: a workflow of the operator's own.
    pub webhook: Option<String>,
    /// Hosts (or `host:port`) that their `webhook` may reach although they are private or plain http.
    pub callback_hosts: Vec<HostPattern>,
    /// By which channels they are told, one after the other; empty: by every address that they have, at once.
    pub order: Vec<ChannelName>,
    /// After how long without a sign of them the next channel is tried, in milliseconds.
    pub nudge_ms: Option<i64>,
    /// When they are not told, unless the rule is urgent.
    pub quiet: Option<Hours>,
    /// Whether they are mailed how a request ended that they were asked about by mail and did not answer.
    pub settled_mail: bool,
    /// What rules ask for.
    pub roles: BTreeSet<String>,
    /// When somebody else is asked.
    pub away: Vec<Absence>,
    /// Raised to void every link of this person's.
    pub generation: u32,
}

/// A way to tell a reviewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChannelName {
    /// A direct message in Slack.
    Slack,
    /// A message of a Telegram bot.
    Telegram,
    /// A push to the devices on which they have switched it on.
    Push,
    /// A signed POST.
    Webhook,
    /// Mail.
    Email,
    /// A text.
    Sms,
    /// The operator's terminal: for whoever has no address.
    Terminal,
}

impl ChannelName {
    /// Every channel to which a policy can give an address.
    pub const ADDRESSED: [Self; 5] = [Self::Slack, Self::Telegram, Self::Webhook, Self::Email, Self::Sms];

    /// Every channel that `channels` can name: push has no address in the policy, devices say theirs themselves.
    pub const NAMED: [Self; 6] =
        [Self::Slack, Self::Telegram, Self::Push, Self::Webhook, Self::Email, Self::Sms];

    /// Its word in the policy, in outbox rows and in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Slack => "slack",
            Self::Telegram => "telegram",
            Self::Push => "push",
            Self::Webhook => "webhook",
            Self::Email => "email",
            Self::Sms => "sms",
            Self::Terminal => "terminal",
        }
    }

    /// The key of `[[reviewers]]` that holds its address.
    pub const fn address_key(self) -> &'static str {
        match self {
            Self::Sms => "phone",
            other => other.as_str(),
        }
    }

    /// The channel of that word, of those that a policy can name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::NAMED.into_iter().find(|channel| channel.as_str() == text)
    }

    /// The channel of that word, as outbox rows have it.
    pub fn named(text: &str) -> Option<Self> {
        Self::parse(text).or_else(|| (text == Self::Terminal.as_str()).then_some(Self::Terminal))
    }

    /// Whether a message that was sent by it can be changed, or followed by a quiet word, when the request ends.
    pub const fn can_settle(self) -> bool {
        match self {
            Self::Slack | Self::Telegram | Self::Push | Self::Webhook => true,
            Self::Email | Self::Sms | Self::Terminal => false,
        }
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
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
    #[cfg(feature = "conditions")]
    pub when: Option<Condition>,
    /// Whether it only observes: what it would have done is recorded, and the next rule that matches decides.
    pub observes: bool,
    /// What it does.
    pub action: RuleAction,
    /// How long its approvals may be acted on, in seconds.
    pub valid_for_seconds: i64,
    /// How its requests are put to people.
    pub wording: Wording,
}

/// How a request is put to people. It keeps the wording of the rule that it hit when it was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wording {
    /// Its title; without one, the gate makes it from action and payload.
    pub title: Option<TitleTemplate>,
    /// The fields that nobody may see.
    pub mask: Vec<FieldPath>,
    /// Whether a push may say the title, which a locked screen then shows.
    pub preview: bool,
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
    /// Whether the client's owner may approve.
    pub owner_may_approve: bool,
    /// Whether reviewers are told in their quiet hours, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub urgent: bool,
    /// Whether who approves types the digest's last four characters.
    #[serde(default)]
    pub confirm: bool,
    /// The fields of the payload that who approves may change.
    #[serde(default)]
    pub editable: Vec<FieldPath>,
    /// After how long operators hear that it still waits, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert_after_ms: Option<i64>,
}

impl ApprovalTerms {
    /// Whether an approval needs the page: a button in a chat has no room for what else must be given.
    pub fn needs_page(&self) -> bool {
        self.confirm || !self.editable.is_empty()
    }

    /// Whether people are asked the same way: when operators hear of it does not change what anybody is asked.
    pub fn asks_like(&self, other: &Self) -> bool {
        Self { alert_after_ms: other.alert_after_ms, ..self.clone() } == *other
    }
}

/// One stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Whom it asks.
    #[serde(rename = "ask")]
    pub assignees: Assignees,
    /// For how long, in milliseconds.
    pub within_ms: i64,
    /// When it may open; outside these hours the next stage opens instead. None: at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours: Option<Hours>,
    /// Whom of those it asks it tells at once.
    #[serde(default, skip_serializing_if = "Notify::is_all")]
    pub notify: Notify,
}

/// Whom of the people that a stage asks it tells at once. All of them may decide in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notify {
    /// All.
    #[default]
    All,
    /// As many as must approve, in turn; the others when half of the stage's time is over and it still waits.
    Rotate,
}

impl Notify {
    /// Reads `all` or `rotate`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "all" => Some(Self::All),
            "rotate" => Some(Self::Rotate),
            _ => None,
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    pub(crate) const fn is_all(&self) -> bool {
        matches!(self, Self::All)
    }
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
#[cfg(feature = "conditions")]
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
    /// When it was asked.
    pub now: Timestamp,
}

/// The rule that a request hits.
#[cfg(feature = "conditions")]
#[derive(Clone, Copy, Debug)]
pub struct RuleMatch<'p> {
    /// The rule.
    pub rule: &'p Rule,
    /// Why its condition could not be evaluated, if it could not: then nothing but a person may approve.
    pub error: Option<EvalError>,
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

    /// The one reviewer who has that address for that channel.
    pub fn reviewer_at(&self, channel: ChannelName, address: &str) -> Option<&Reviewer> {
        self.reviewers.iter().find(|reviewer| reviewer.address(channel) == Some(address))
    }

    /// Whether somebody may be told by push: then this gate needs a key of its own for it.
    pub fn uses_push(&self) -> bool {
        self.reviewers.iter().any(Reviewer::takes_push)
    }

    /// Whether somebody may be told by a channel whose messages are brought up to date, or is mailed how it ended.
    pub fn settles(&self) -> bool {
        let hears = |reviewer: &Reviewer| {
            reviewer.settled_mail || reviewer.channels().into_iter().any(ChannelName::can_settle)
        };
        self.reviewers.iter().any(hears)
    }

    /// The first rule that matches, or that cannot be evaluated. None: the request is rejected.
    ///
    /// A condition that fails does not skip its rule: what follows might be more generous than its author meant.
    #[cfg(feature = "conditions")]
    pub fn evaluate(&self, question: &Question<'_>) -> Option<RuleMatch<'_>> {
        self.evaluate_after(question, &Earlier::new())
    }

    /// [`Policy::evaluate`], where earlier requests of this client add up to that.
    #[cfg(feature = "conditions")]
    pub fn evaluate_after(&self, question: &Question<'_>, earlier: &Earlier) -> Option<RuleMatch<'_>> {
        RuleMatch::of(&self.trace_after(question, earlier))
    }

    /// What each rule says of a request, down to the one that it hits: the steps of [`Policy::evaluate`].
    #[cfg(feature = "conditions")]
    pub fn trace(&self, question: &Question<'_>) -> Vec<(&Rule, Verdict)> {
        self.trace_after(question, &Earlier::new())
    }

    /// [`Policy::trace`], where earlier requests of this client add up to that.
    ///
    /// Rules that only observe are among the steps, and decide nothing.
    #[cfg(feature = "conditions")]
    pub fn trace_after(&self, question: &Question<'_>, earlier: &Earlier) -> Vec<(&Rule, Verdict)> {
        // One budget for all conditions: a policy of many rules costs a request no more than one of few.
        // What only observes has one of its own: it must not use up what rules that decide need.
        let (deciding, observing) = (cel::Budget::of_one_request(), cel::Budget::of_one_request());
        let mut steps = Vec::new();
        for rule in &self.rules {
            let budget = if rule.observes { &observing } else { &deciding };
            earlier.set_observing(rule.observes);
            let verdict = rule
                .when
                .as_ref()
                .map_or(Verdict::True, |condition| condition.test(question, earlier, budget));
            steps.push((rule, verdict));
            if verdict != Verdict::False && !rule.observes {
                break;
            }
        }
        steps
    }

    /// The running totals that its conditions speak of, each once.
    #[cfg(feature = "conditions")]
    pub fn gauges(&self) -> &[Gauge] {
        self.gauges.get_or_init(|| {
            let conditions = self.rules.iter().filter_map(|rule| rule.when.as_ref());
            let all: std::collections::BTreeSet<Gauge> = conditions.flat_map(Condition::gauges).collect();
            all.into_iter().collect()
        })
    }

    /// What adds up where it decides something: without what only observes.
    #[cfg(feature = "conditions")]
    pub fn deciding_meters(&self) -> std::collections::BTreeSet<Meter> {
        let deciding = self.rules.iter().filter(|rule| !rule.observes);
        let gauges = deciding.filter_map(|rule| rule.when.as_ref()).flat_map(Condition::gauges);
        gauges.map(|gauge| gauge.meter).collect()
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

    fn present<'p>(&'p self, reviewer: &'p Reviewer, at: Timestamp) -> Option<&'p Reviewer> {
        let mut candidate = reviewer;
        // As many steps as there are people: a circle of backups ends with nobody.
        for _ in 0..self.reviewers.len() {
            match self.presence(candidate, at) {
                Presence::There => return Some(candidate),
                Presence::Away(backup) => candidate = self.reviewer(backup?)?,
            }
        }
        None
    }
}

impl Reviewer {
    /// Whether they have one of those roles.
    pub fn has_any(&self, roles: &[String]) -> bool {
        roles.iter().any(|role| self.roles.contains(role))
    }

    /// Whether their next channel waits for a sign of them.
    pub fn is_nudged(&self) -> bool {
        self.nudge_ms.is_some()
    }

    /// The channels by which they are told at first: the first of their order, or every address; at worst the
    /// operator's terminal.
    pub fn first_channels(&self) -> Vec<ChannelName> {
        if let Some(first) = self.order.first() {
            return vec![*first];
        }
        let addressed = ChannelName::ADDRESSED.into_iter().filter(|channel| self.address(*channel).is_some());
        let channels: Vec<ChannelName> = addressed.collect();
        if channels.is_empty() { vec![ChannelName::Terminal] } else { channels }
    }

    /// All channels by which they may be told.
    pub fn channels(&self) -> Vec<ChannelName> {
        if self.order.is_empty() { self.first_channels() } else { self.order.clone() }
    }

    /// The channel after that one in their order; none where they have none, or it is the last.
    pub fn channel_after(&self, channel: ChannelName) -> Option<ChannelName> {
        let at = self.order.iter().position(|known| *known == channel)?;
        self.order.get(at.saturating_add(1)).copied()
    }

    /// Whether they may be told by push: only where their `channels` say so.
    pub fn takes_push(&self) -> bool {
        self.order.contains(&ChannelName::Push)
    }

    /// Their address for that channel; none for the terminal, and for push, whose devices are in the store.
    pub fn address(&self, channel: ChannelName) -> Option<&str> {
        match channel {
            ChannelName::Slack => self.slack.as_deref(),
            ChannelName::Telegram => self.telegram.as_deref(),
            ChannelName::Webhook => self.webhook.as_deref(),
            ChannelName::Email => self.email.as_deref(),
            ChannelName::Sms => self.phone.as_deref(),
            ChannelName::Push | ChannelName::Terminal => None,
        }
    }
}
