//! What a replay says. Its JSON names are those of `placet policy replay --json`.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Serialize;

use crate::Timestamp;
use crate::id::ApprovalId;

/// What became of a request when it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// Reviewers approved it.
    PeopleApproved,
    /// A reviewer rejected it.
    PeopleRejected,
    /// A system approved it that answers for a queue.
    SystemApproved,
    /// A system rejected it that answers for a queue.
    SystemRejected,
    /// Somebody was asked, and nobody decided in time.
    Expired,
    /// Somebody was asked, and it was withdrawn.
    Withdrawn,
    /// Somebody was asked, and it still waits.
    Pending,
    /// A rule approved it alone.
    PolicyApproved,
    /// A rule rejected it alone, or none matched.
    PolicyRejected,
}

impl Then {
    /// Whether people or a system were asked.
    pub const fn asked(self) -> bool {
        !matches!(self, Self::PolicyApproved | Self::PolicyRejected)
    }

    /// Whether it was approved.
    pub const fn approved(self) -> bool {
        matches!(self, Self::PeopleApproved | Self::SystemApproved | Self::PolicyApproved)
    }

    /// Whether somebody or a rule said no.
    pub const fn rejected(self) -> bool {
        matches!(self, Self::PeopleRejected | Self::SystemRejected | Self::PolicyRejected)
    }

    /// For people who read the comparison.
    pub const fn words(self) -> &'static str {
        match self {
            Self::PeopleApproved => "approved by people",
            Self::PeopleRejected => "rejected by people",
            Self::SystemApproved => "approved by a system",
            Self::SystemRejected => "rejected by a system",
            Self::Expired => "asked, and nobody decided",
            Self::Withdrawn => "asked, and withdrawn",
            Self::Pending => "asked, and still open",
            Self::PolicyApproved => "approved by a rule",
            Self::PolicyRejected => "rejected by a rule",
        }
    }
}

/// What the policy at hand does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Now {
    /// A rule approves it alone.
    Approves,
    /// Somebody is asked.
    Asks,
    /// It is rejected at once.
    Rejects,
}

impl Now {
    /// For people who read the comparison.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Approves => "passes alone",
            Self::Asks => "somebody is asked",
            Self::Rejects => "is rejected at once",
        }
    }
}

/// How many requests ended this way, and what the policy at hand does with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// What became of them.
    pub then: Then,
    /// What would.
    pub now: Now,
    /// How many.
    pub requests: u32,
}

/// One request in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Case {
    /// The gate's name for it.
    pub approval_id: String,
    /// Who asked.
    pub client: String,
    /// The client's name for it.
    pub request_id: String,
    /// What for.
    pub action: String,
    /// The gate's own words for it, with secrets masked.
    pub title: String,
    /// When it was asked.
    #[serde(with = "crate::time::rfc3339")]
    pub asked_at: Timestamp,
    /// What became of it.
    pub then: Then,
    /// Under which rule; null where none matched.
    pub rule_then: Option<String>,
    /// What would.
    pub now: Now,
    /// By which rule; null where none matches.
    pub rule_now: Option<String>,
}

/// A list that knows how long it would be, and keeps the newest of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// All of them.
    pub count: u32,
    /// The newest, the newest first.
    pub requests: Vec<Case>,
}

impl Listed {
    pub(super) fn add(&mut self, keep: usize, case: impl FnOnce() -> Case) {
        self.count += 1;
        if keep == 0 {
            return;
        }
        self.requests.push(case());
        // Sorting now and then: a sort for each would be slow.
        if self.requests.len() >= keep.saturating_mul(4).max(64) {
            self.cut(keep);
        }
    }

    pub(super) fn cut(&mut self, keep: usize) {
        self.requests.sort_by(|one, other| {
            let of = |case: &Case| Reverse((case.asked_at, case.approval_id.clone()));
            of(one).cmp(&of(other))
        });
        self.requests.truncate(keep);
    }
}

/// What people are asked, by the policies that were in force and by the one at hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Asks {
    /// How many requests asked somebody.
    pub then: u32,
    /// How many would.
    pub now: u32,
    /// Those that would no longer.
    pub saved: u32,
    /// Those that would newly.
    pub added: u32,
    /// Those that asked and would ask, but under other terms: other roles, times or numbers of people.
    pub otherwise: u32,
}

/// The time that people spent on requests which the policy at hand would not put to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct TimeSaved {
    /// From opening the page to the press, of all whose page is known; ten minutes at most for each, because a page that
    /// stays open is not being read.
    pub reviewer_minutes: f64,
    /// How many presses that is.
    pub presses: u32,
    /// Presses without a known page, such as in a chat: their time is not in it.
    pub presses_unknown: u32,
    /// How long callers waited for those decisions, in minutes.
    pub waiting_minutes: f64,
}

/// What one rule would do, beside what became of the same requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RuleReplay {
    /// Its name; `default` where no rule matches.
    pub name: String,
    /// It only observes: it decides nothing, and has no hits.
    pub observes: bool,
    /// How many requests it would have decided or asked about, where it only observes.
    pub observed: u32,
    /// How many requests hit it.
    pub hits: u32,
    /// Of those, which it would approve alone,
    pub approves: u32,
    /// ask somebody about,
    pub asks: u32,
    /// or reject at once.
    pub rejects: u32,
    /// Of its hits, those that people or a system approved,
    pub were_approved: u32,
    /// rejected,
    pub were_rejected: u32,
    /// or did not decide.
    pub were_undecided: u32,
    /// Of its hits, those that policy decided alone.
    pub were_decided_by_policy: u32,
    /// Requests for which its condition could not be evaluated.
    pub conditions_failed: u32,
}

/// Why a request could not be replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NotReplayed {
    /// The trail knows it; its payload is gone.
    Gone,
    /// The policy at hand does not let its client ask.
    Client,
    /// The rule depends on a running total, and some of what it adds up would have been decided by people who were
    /// not asked.
    Total,
    /// The rule depends on a running total over a while that reaches back to where requests are gone.
    TotalGone,
}

impl NotReplayed {
    /// For people who read the comparison.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Gone => "only the trail still has them: their payloads are gone by retention",
            Self::Client => "their client is not in this policy, or may not ask",
            Self::Total => {
                "their rule depends on a running total of requests that people would have had to decide"
            }
            Self::TotalGone => {
                "their rule depends on a running total that reaches back to requests that are gone"
            }
        }
    }
}

/// Requests that could not be replayed for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Left {
    /// The reason.
    pub why: NotReplayed,
    /// How many.
    pub requests: u32,
    /// The reason in words.
    pub words: &'static str,
}

/// The comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReplayReport {
    /// The first moment.
    #[serde(with = "crate::time::rfc3339")]
    pub from: Timestamp,
    /// The first moment that is not in it.
    #[serde(with = "crate::time::rfc3339")]
    pub until: Timestamp,
    /// How many requests were asked in that time, as far as anything knows of them.
    pub requests: u32,
    /// How many of them were replayed.
    pub replayed: u32,
    /// How many would have been decided, or asked, otherwise: `pairs` says how.
    pub changed: u32,
    /// How many hit a rule of another name. That alone changes nothing.
    pub other_rule: u32,
    /// Asks, then and now.
    pub asks: Asks,
    /// The time that would be saved.
    pub saved: TimeSaved,
    /// Every way in which requests ended, with what the policy at hand does.
    pub pairs: Vec<Pair>,
    /// Rejected by people, a system or a rule, and it would pass alone.
    pub rejected_would_pass: Listed,
    /// Approved by people and later called a mistake, and it would pass alone.
    pub flagged_would_pass: Listed,
    /// Nobody had decided it (expired, withdrawn, open), and it would pass alone.
    pub undecided_would_pass: Listed,
    /// A rule decided it alone, and somebody would be asked.
    pub newly_asked: Listed,
    /// Approved, and it would be rejected at once.
    pub newly_denied: Listed,
    /// Approved with a token that was used later than the policy at hand allows.
    pub used_too_late: u32,
    /// Requests for which the condition of a rule could not be evaluated.
    pub conditions_failed: u32,
    /// By rule of the policy at hand, in its order; `default` last.
    pub rules: Vec<RuleReplay>,
    /// What could not be replayed.
    pub not_replayed: Vec<Left>,
    /// What the comparison takes for granted.
    pub assumes: Vec<&'static str>,
}

pub(super) fn pairs(counted: &BTreeMap<(Then, Now), u32>) -> Vec<Pair> {
    counted
        .iter()
        .map(|((then, now), requests)| Pair { then: *then, now: *now, requests: *requests })
        .collect()
}

pub(super) fn id_text(id: &ApprovalId) -> String {
    id.as_str().to_owned()
}
