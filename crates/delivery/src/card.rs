//! A message by its parts, for the channels that lay it out themselves and can change it later.
//!
//! All words are safe in a chat: what hides is named, and nothing that a caller wrote becomes a link or a mention.

use placet_core::Timestamp;
use placet_core::chat::ChatButton;
use placet_core::policy::{Decision, Policy, Reviewer};
use placet_core::request::{Decider, Outcome, Request, Standing, Status};
use placet_core::words::{self, May, Zone, unlinked_in_chat};

/// What a message says, by its parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Card {
    /// The gate's own one line for what will be done.
    pub headline: String,
    /// What exactly, line by line, from the payload.
    pub details: String,
    /// Who asks.
    pub client: String,
    /// The asking program's words, not checked.
    pub agents_words: String,
    /// Why a person is asked: the rule's name.
    pub rule: String,
    /// What for, as the client named it.
    pub action: String,
    /// How many approvals there are, of how many; none where one is enough.
    pub approvals: Option<(usize, u32)>,
    /// Until when an answer counts, and the same in words.
    pub until: Option<(Timestamp, String)>,
    /// How it stands for this reviewer.
    pub stands: Stands,
    /// The version of the request that this shows.
    pub version: u64,
    /// Whether the rule says that it is urgent.
    pub urgent: bool,
    /// Whether the rule allows its headline on a locked screen.
    pub preview: bool,
    /// Whether this is said a second time, because nobody has answered.
    pub is_reminder: bool,
}

/// How a request stands for the reviewer who is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stands {
    /// Several wait: the link is that of their inbox.
    #[default]
    Several,
    /// They may decide.
    Open {
        /// What.
        may: May,
        /// What the buttons stand for; none where the link is the only way.
        buttons: Option<Buttons>,
    },
    /// They have approved, and others must too.
    Approved,
    /// Others are asked by now.
    MovedOn,
    /// It has ended.
    Ended {
        /// How.
        status: Status,
        /// The same in words: `Approved by Carol, 12 s after it was asked`.
        words: String,
        /// Why, in the decider's words.
        reason: Option<String>,
    },
}

/// What the buttons of a message send back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buttons {
    /// Approve; none for whoever may only reject.
    pub approve: Option<String>,
    /// Reject.
    pub reject: String,
}

impl Card {
    /// The card of a request for that reviewer, as it stands.
    pub(crate) fn of(
        request: &Request,
        reviewer: Option<&Reviewer>,
        policy: &Policy,
        now: Timestamp,
    ) -> Self {
        let (asked, state) = (request.asked(), request.state());
        let payload = asked.shown(state.payload(asked));
        let client = policy.client(&asked.client).map_or(asked.client.as_str(), |client| &client.name);
        let needed = asked.approvals_needed();
        let foreseen = placet_core::request::Foreseen::from(request.clone());
        let counted = foreseen.approvals_counted(policy);
        Self {
            headline: in_chat(&asked.headline_of(state.payload(asked))),
            details: in_chat(words::payload_text(&payload).trim_end()),
            client: unlinked_in_chat(client),
            agents_words: unlinked_in_chat(asked.shown_summary()),
            rule: unlinked_in_chat(asked.rule.as_deref().unwrap_or("none")),
            action: unlinked_in_chat(&asked.action),
            approvals: (needed > 1).then_some((counted, needed)),
            until: state
                .pending()
                .map(|pending| (pending.closes_at, words::deadline(pending.closes_at, now, Zone::UTC))),
            stands: stands(request, reviewer, policy, now),
            version: request.version(),
            urgent: asked.terms.as_ref().is_some_and(|terms| terms.urgent),
            preview: asked.wording.preview,
            is_reminder: false,
        }
    }

    /// One line that says how it stands, for notices and for chats that show only text.
    pub fn standing_line(&self) -> Option<String> {
        match &self.stands {
            Stands::Several | Stands::Open { .. } => None,
            Stands::Approved => {
                let (counted, needed) = self.approvals.unwrap_or((1, 1));
                Some(format!("You approved this. {counted} of {needed} approvals."))
            }
            Stands::MovedOn => {
                Some("Others are asked by now. There is nothing left for you to do.".to_owned())
            }
            Stands::Ended { words, reason: None, .. } => Some(format!("{words}.")),
            Stands::Ended { words, reason: Some(reason), .. } => Some(format!("{words}: “{reason}”")),
        }
    }
}

fn stands(request: &Request, reviewer: Option<&Reviewer>, policy: &Policy, now: Timestamp) -> Stands {
    if let Some(outcome) = request.outcome() {
        return Stands::Ended {
            status: outcome.status(),
            words: ended(request, outcome, policy),
            reason: outcome.reason.as_deref().map(unlinked_in_chat),
        };
    }
    let standing = reviewer.map_or(Standing::Nothing, |person| request.standing(&person.id, policy, now));
    let may = match standing {
        Standing::Nothing => return Stands::MovedOn,
        Standing::RejectOnly => May::RejectOnly,
        Standing::Decide => May::Decide,
    };
    if may == May::Decide && reviewer.is_some_and(|person| request.has_approved(&person.id, policy)) {
        return Stands::Approved;
    }
    let asked = request.asked();
    let button = |decision| {
        ChatButton { key: request.key(), approval_id: asked.approval_id.clone(), decision }.write()
    };
    let in_chat = asked.terms.as_ref().is_some_and(|terms| !terms.needs_page());
    let buttons = in_chat.then(|| Buttons {
        approve: (may == May::Decide).then(|| button(Decision::Approve)),
        reject: button(Decision::Reject),
    });
    Stands::Open { may, buttons }
}

/// `Approved by Carol, 12 s after it was asked`.
fn ended(request: &Request, outcome: &Outcome, policy: &Policy) -> String {
    let by: Vec<String> = outcome.decided_by.iter().map(|decider| name(decider, policy)).collect();
    let by = by.join(" and ");
    let after = span(outcome.decided_at.millis_since(request.asked().created_at));
    match outcome.status() {
        Status::Approved => format!("Approved by {by}, {after} after it was asked"),
        Status::Rejected => format!("Rejected by {by}, {after} after it was asked"),
        Status::Cancelled => format!("Withdrawn by {by}, {after} after it was asked"),
        // An outcome is never pending.
        Status::Expired | Status::Pending => format!("Expired: nobody answered within {after}"),
    }
}

fn name(decider: &Decider, policy: &Policy) -> String {
    unlinked_in_chat(&match decider {
        Decider::Reviewer(id) => {
            policy.reviewer(id).map_or_else(|| id.to_string(), |known| known.name.clone())
        }
        Decider::Client(id) => policy.client(id).map_or_else(|| id.to_string(), |known| known.name.clone()),
        Decider::Operator => "the operator".to_owned(),
        Decider::Policy(rule) => format!("the rule {}", rule.as_deref().unwrap_or("none")),
        Decider::Timeout(_) => "its deadline".to_owned(),
    })
}

/// A span of time in its two largest units: `12 s`, `4 min 5 s`, `2 h 10 min`, `3 d 4 h`.
fn span(millis: i64) -> String {
    let seconds = millis.max(0) / 1000;
    let (days, hours, minutes, rest) =
        (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let (large, small) = match (days, hours, minutes) {
        (0, 0, 0) => (format!("{rest} s"), None),
        (0, 0, _) => (format!("{minutes} min"), (rest > 0).then(|| format!("{rest} s"))),
        (0, _, _) => (format!("{hours} h"), (minutes > 0).then(|| format!("{minutes} min"))),
        _ => (format!("{days} d"), (hours > 0).then(|| format!("{hours} h"))),
    };
    small.map_or(large.clone(), |small| format!("{large} {small}"))
}

/// Lines of words that are safe in a mail, made safe for a chat.
fn in_chat(lines: &str) -> String {
    lines.lines().map(chat_line).collect::<Vec<_>>().join("\n")
}

/// The indentation of a line says what belongs to what: it stays.
fn chat_line(line: &str) -> String {
    let words = line.trim_start_matches(' ');
    let indent = line.len().saturating_sub(words.len());
    format!("{}{}", " ".repeat(indent), unlinked_in_chat(words))
}

/// At most that many characters; what is left out shows as `…`.
pub(crate) fn cut(text: &str, characters: usize) -> String {
    if text.chars().count() <= characters {
        return text.to_owned();
    }
    let kept: String = text.chars().take(characters.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// [`cut`] for a medium that counts in UTF-16 units, of which an emoji is two.
pub(crate) fn cut_units(text: &str, units: usize) -> String {
    if units_in(text) <= units {
        return text.to_owned();
    }
    let mut left = units.saturating_sub(1);
    let kept: String = text
        .chars()
        .take_while(|character| match left.checked_sub(character.len_utf16()) {
            Some(rest) => {
                left = rest;
                true
            }
            None => false,
        })
        .collect();
    format!("{kept}…")
}

/// How many UTF-16 units a text has.
pub(crate) fn units_in(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_like_words() {
        let spans = [-1, 12_900, 245_000, 600_000, 7_800_000, 273_600_000].map(span);
        assert_eq!(spans, ["0 s", "12 s", "4 min 5 s", "10 min", "2 h 10 min", "3 d 4 h"]);
    }

    #[test]
    fn a_cut_is_seen() {
        assert_eq!((cut("abcdef", 4).as_str(), cut("äöü", 3).as_str()), ("abc…", "äöü"));
        assert_eq!((cut_units("🦀🦀🦀", 6), cut_units("🦀🦀🦀", 5)), ("🦀🦀🦀".into(), "🦀🦀…".into()));
        assert_eq!(cut_units("🦀🦀🦀", 4), "🦀…", "no half of a character");
    }
}
