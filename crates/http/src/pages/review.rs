//! The review page: what will happen, who says so, and two buttons.
//!
//! Words and order only; how a payload is drawn is `payload`'s, what is safe to show is `text`'s.

use super::layout::{Script, Sign, exact_moment, moment, moment_near, page, span};
use super::payload::{attachments, facts, json, lines, needs_a_look, rows_beside, texts};
use super::text::{LineEnds, hides_something, line, passage, revealed, titled};
use super::{Choice, EditableField, Flagging, May, Next, Reader, Review, ReviewState, VoteLine};
use maud::{Markup, html};
use placet_core::payload::canonical_text;
use placet_core::request::Status;
use placet_core::words::text::elided;
use placet_core::words::{FieldPath, top_facts};
use placet_gate::{First, LOOK_BACK};
use serde_json::Value;

const TAB_CHARS: usize = 80;
const REASON_CHARS: u32 = 500;
/// How many facts stand beside the title.
const FACTS: usize = 3;
/// A list no longer than this stands open.
const SHORT_LIST: usize = 5;
/// A text that the title tells and that is no longer than this is told whole there.
const TOLD_CHARS: usize = 72;

/// The reasons that one tap gives. The agent reads them in `reason`.
const REASONS: [&str; 3] = ["Wrong amount", "Not expected", "Ask me first"];
/// The same, where no amount is asked for.
const REASONS_WITHOUT_MONEY: [&str; 3] = ["Wrong details", "Not expected", "Ask me first"];

/// The page behind a reviewer's link, and the answer to their press.
pub fn review(view: &Review) -> Markup {
    let script = match &view.state {
        ReviewState::Later { .. } => Script::None,
        _ => Script::Review,
    };
    page(&title(view), Some(&view.reviewer_name), script, &html! { (sheet(view)) (bar(view, Leave::Later)) })
}

fn title(view: &Review) -> String {
    let words = elided(&view.title.on_page(), TAB_CHARS);
    let state = match &view.state {
        ReviewState::Open { may: May::Both, .. } => "Approve?",
        ReviewState::Open { may: May::RejectOnly, .. } => "Reject?",
        ReviewState::Voted { choice: Choice::Approve, .. } => "You approved:",
        ReviewState::Voted { choice: Choice::Reject, .. } => "You rejected:",
        ReviewState::Later { .. } => "Not decided:",
        ReviewState::MovedOn { .. } => "Passed on:",
        ReviewState::Ended { status: Status::Approved, .. } => "Approved:",
        ReviewState::Ended { status: Status::Rejected, .. } => "Rejected:",
        ReviewState::Ended { status: Status::Expired | Status::Pending, .. } => "Expired:",
        ReviewState::Ended { status: Status::Cancelled, .. } => "Withdrawn:",
    };
    format!("{state} {words} – Placet")
}

/// Whether the page can be left without an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    /// By a button that records nothing.
    Later,
    /// It is not offered.
    Nothing,
}

/// The buttons, within a thumb's reach.
pub(super) fn bar(view: &Review, leave: Leave) -> Markup {
    let (nonce, now_ms, deadline_ms) = match &view.state {
        ReviewState::Open { nonce, now_ms, stage_deadline_ms, .. }
        | ReviewState::Voted { nonce, now_ms, stage_deadline_ms, choice: Choice::Approve, .. } => {
            (nonce, *now_ms, *stage_deadline_ms)
        }
        ReviewState::Voted { choice: Choice::Reject, .. }
        | ReviewState::Later { .. }
        | ReviewState::MovedOn { .. }
        | ReviewState::Ended { .. } => return html! {},
    };
    let is_open = matches!(view.state, ReviewState::Open { .. });
    let may_approve = matches!(view.state, ReviewState::Open { may: May::Both, .. });
    html! {
        div.bar role="group" aria-label="Your decision" data-now=(now_ms) data-deadline=(deadline_ms) data-nudged[view.nudged] {
            p.clock { span { "Answer by " (moment_near(deadline_ms, now_ms)) } b #left {} }
            p #said role="status" {}
            form method="post" {
                // The first button is what Enter in a field presses: this one, which does nothing.
                button hidden disabled {}
                input type="hidden" name="nonce" value=(nonce);
                @if may_approve {
                    @for (path, text) in &view.wants.edits { input type="hidden" name=(format!("edit:{path}")) value=(text); }
                    @if view.wants.names_digest { input type="hidden" name="payload_sha256" value=(view.payload_sha256); }
                    @if view.wants.confirm { (digest_to_type(&view.payload_sha256)) }
                }
                div.buttons {
                    (reject(view, if is_open { "Reject" } else { "Reject instead" }))
                    @if may_approve {
                        button.yes name="decision" value="approve" { (Sign::Check.draw()) "Approve" }
                    }
                }
                // No name: it is no answer, and goes to an address of its own.
                @if is_open && leave == Leave::Later { button.quiet formaction="?later" { "Not now" } }
            }
        }
    }
}

/// The digest, with the four characters that who approves types.
fn digest_to_type(digest: &str) -> Markup {
    let cut = digest.len().saturating_sub(4);
    html! {
        p.confirm {
            label for="confirm" { "To approve, type the end of the digest: " code { (digest.get(..4).unwrap_or_default()) "…" b { (digest.get(cut..).unwrap_or_default()) } } }
            input #confirm type="text" name="confirm" maxlength="4" placeholder="4 characters" autocomplete="off" autocapitalize="off"
                spellcheck="false";
        }
    }
}

/// The fields that the reader may change, folded. What they type is shown to them in the gate's words before it counts.
fn edit(view: &Review) -> Markup {
    let ReviewState::Open { nonce, may: May::Both, .. } = &view.state else { return html! {} };
    if view.wants.editable.is_empty() {
        return html! {};
    }
    html! {
        details.fold.edit open[!view.wants.edits.is_empty()] {
            summary { "Change before you approve" }
            form method="post" {
                input type="hidden" name="nonce" value=(nonce);
                @for (index, field) in view.wants.editable.iter().enumerate() {
                    label for=(format!("edit-{index}")) { (super::payload::short_name(&field.key)) }
                    (input(field, index))
                }
                button.chip name="decision" value="change" { "Show me the change" }
            }
        }
    }
}

fn input(field: &EditableField, index: usize) -> Markup {
    let (id, name) = (format!("edit-{index}"), format!("edit:{}", field.path));
    match &field.value {
        Value::Bool(yes) => html! {
            select id=(id) name=(name) {
                option value="yes" selected[*yes] { "yes" }
                option value="no" selected[!*yes] { "no" }
            }
        },
        Value::String(text) if text.contains('\n') || text.chars().nth(60).is_some() => html! {
            textarea id=(id) name=(name) rows="6" dir="auto" { (text) }
        },
        Value::String(text) => {
            html! { input type="text" id=(id) name=(name) value=(text) dir="auto" autocomplete="off"; }
        }
        other => html! {
            input type="text" id=(id) name=(name) value=(canonical_text(other)) inputmode="decimal" autocomplete="off";
        },
    }
}

/// What differs from what was asked.
fn changes(view: &Review) -> Markup {
    if view.changes.is_empty() {
        return html! {};
    }
    html! {
        div.changed role="note" {
            @match view.changes.first().and_then(|change| change.by.as_ref()) {
                Some(by) => p { b { (line(by)) } " changed what was asked:" },
                None => p { b { "You change what was asked." } " Approve to record it." },
            }
            ul {
                @for change in &view.changes {
                    li { (super::payload::short_name(&change.key)) ": " del { bdi { (change.from) } } " → " ins { bdi { (change.to) } } }
                }
            }
        }
    }
}

/// What is new about it: in few lines, above the facts.
fn novelty(view: &Review) -> Markup {
    let ReviewState::Open { now_ms, .. } = &view.state else { return html! {} };
    let new = &view.novelty;
    let client = line(&view.client);
    let said = |text: &str| html! { bdi { (revealed(text, LineEnds::Theirs)) } };
    let value = |text: &Option<String>| text.as_deref().map_or_else(|| html! { "(nothing)" }, said);
    html! {
        @if new.first.is_some() || new.recipient.is_some() || new.since.is_some() || new.nth.is_some() {
            div.changed.news role="note" aria-label="What is new" {
                @if let Some(nth) = new.nth {
                    p {
                        b {
                            @if nth > LOOK_BACK { "More than " (LOOK_BACK) " asks in 10 minutes" }
                            @else { (ordinal(nth)) " ask in 10 minutes" }
                        }
                        " by " (client) "."
                    }
                }
                @match new.first {
                    Some(First::Ever) => p { b { "First time: " } "nothing of this kind was approved for " (client) " lately." },
                    Some(First::Lately) => {
                        p { "Of the last " (LOOK_BACK) " requests of " (client) ", none of this kind was approved." }
                    }
                    None => {}
                }
                @if let Some(recipient) = &new.recipient {
                    p { b { "New: " } "nothing approved lately went to " b { (said(recipient)) } "." }
                }
                @if let Some(since) = &new.since {
                    @if since.fields.is_empty() {
                        p { "The same as the one that was approved " (span(now_ms.saturating_sub(since.approved_at.millis()))) " ago." }
                    } @else {
                        p { "Since the last approved one, " (span(now_ms.saturating_sub(since.approved_at.millis()))) " ago:" }
                        ul {
                            @for field in &since.fields {
                                li { (super::payload::short_name(&field.key)) ": " del { (value(&field.from)) } " → " ins { (value(&field.to)) } }
                            }
                            @if since.more > 0 { li { "and " (since.more) " more" } }
                        }
                    }
                }
            }
        }
    }
}

/// That nothing new is taken from the client.
fn paused(view: &Review) -> Markup {
    html! {
        @if let Some(pause) = &view.paused {
            p.notice {
                b { (line(&view.client)) " is paused" } " until " (moment(pause.until_ms)) " by "
                @if pause.is_own { "you" } @else { (line(&pause.by)) } ": nothing new is taken from it."
                @if pause.is_own { " Your inbox can lift that." }
            }
        }
    }
}

/// `4th`, `21st`.
pub(super) fn ordinal(number: usize) -> String {
    let ending = match (number % 10, number % 100) {
        (1, rest) if rest != 11 => "st",
        (2, rest) if rest != 12 => "nd",
        (3, rest) if rest != 13 => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// What opens a short sheet of reasons: one more tap, and the agent knows why. Without scripts, it is one tap more.
fn reject(view: &Review, words: &str) -> Markup {
    let client = line(&view.client);
    let has_money = view.title.told.iter().any(|path| placet_core::words::fields::is_amount(path.last()));
    let reasons = if has_money { REASONS } else { REASONS_WITHOUT_MONEY };
    html! {
        details.sheet {
            summary.no role="button" { (Sign::Cross.draw()) (words) }
            div role="group" aria-label="Why you reject" {
                p { b { "Why?" } " " (client) " reads it." }
                div.chips {
                    @for reason in reasons {
                        label.chip { input type="radio" name="because" value=(reason); (reason) }
                    }
                    // Who asks again and again is stopped at a tap, too.
                    @if view.novelty.nth.is_some() && view.paused.is_none() {
                        button.chip.pause name="decision" value="reject" formaction="?pause" { span { "Reject, and pause " (client) " for an hour" } }
                    }
                }
                label for="reason" { "Other reason " span.dim { "(optional)" } }
                textarea #reason name="reason" rows="2" maxlength=(REASON_CHARS) dir="auto" autocomplete="off" {}
                button.no name="decision" value="reject" { (Sign::Cross.draw()) "Reject" }
            }
        }
    }
}

/// All there is to know about the request, what matters most first.
pub(super) fn sheet(view: &Review) -> Markup {
    let is_open = matches!(view.state, ReviewState::Open { .. });
    html! {
        article.card {
            @if is_open {
                p.eyebrow { (line(&view.client)) (request_to(view)) (progress(view)) }
                h1.title translate="no" { (titled(&view.title)) }
            } @else {
                (banner(view))
                p.eyebrow { (line(&view.client)) (asked_for(view)) (progress(view)) }
                h2.title translate="no" { (titled(&view.title)) }
            }
            (caution(view))
            (paused(view))
            (changes(view))
            (novelty(view))
            (matters(view))
            (words(view))
            (edit(view))
            (votes(view))
            (flagging(&view.flagging))
            (details(view))
        }
    }
}

/// What the reader is asked for.
fn request_to(view: &Review) -> &'static str {
    match view.state {
        ReviewState::Open { may: May::RejectOnly, .. } => " asks for approval. You can only reject this",
        _ => " asks for your approval",
    }
}

fn asked_for(view: &Review) -> &'static str {
    match view.state {
        ReviewState::Open { .. } | ReviewState::Voted { .. } | ReviewState::Later { .. } => " asks",
        ReviewState::MovedOn { .. } | ReviewState::Ended { .. } => " asked",
    }
}

/// How far a quorum is.
fn progress(view: &Review) -> Markup {
    html! {
        @if view.approvals_needed > 1 {
            span.progress { (view.approvals) " of " (view.approvals_needed) " approvals" }
        }
    }
}

/// The few facts beside the title, and the texts that are approved, whole.
fn matters(view: &Review) -> Markup {
    let beside = top_facts(&view.payload, &view.title.told, FACTS);
    let is_told = |path: &FieldPath, text: &str| {
        view.title.told.contains(path) && text.chars().nth(TOLD_CHARS).is_none() && !text.contains('\n')
    };
    let list = lines(&view.payload);
    html! {
        @if !beside.is_empty() { div.beside translate="no" { (facts(&view.payload, &beside)) } }
        (texts(&view.payload, is_told))
        (attachments(&view.payload))
        @if let Some(list) = list {
            details.lines open[list.count <= SHORT_LIST] { summary { "All " (list.count) " lines" } (list.table) }
        }
    }
}

fn words(view: &Review) -> Markup {
    html! {
        section.words aria-labelledby="words" {
            h2 #words { "In the agent’s own words" }
            p.hint { "Not verified, and not part of what is approved." }
            blockquote { (passage(&view.summary, LineEnds::Theirs)) }
        }
        p.why { "Rule " b { (line(&view.rule)) } " asks you." }
    }
}

fn caution(view: &Review) -> Markup {
    let ReviewState::Open { may, notice, .. } = &view.state else {
        return html! {};
    };
    html! {
        @if let Some(notice) = notice {
            p.notice role="alert" { (notice) }
        }
        @if *may == May::RejectOnly {
            p.notice {
                "You own " (line(&view.client)) ", so somebody else has to approve what it asks. You can reject it."
            }
        }
    }
}

fn banner(view: &Review) -> Markup {
    match &view.state {
        ReviewState::Open { .. } => html! {},
        ReviewState::Voted { choice, next, .. } => html! {
            (heading(sign_of_choice(*choice), class_of_choice(*choice), you_chose(*choice)))
            p.say role="status" { "Your vote is recorded. " (still_needed(view)) }
            (next_one(next.as_ref()))
        },
        ReviewState::Later { now_ms, stage_deadline_ms, url, next } => html! {
            (heading(Sign::Clock, "banner still", "Not decided"))
            p.say role="status" {
                "Nothing was recorded. It waits for you until " (moment_near(*stage_deadline_ms, *now_ms))
                "; your link opens it again. You can close this page."
            }
            p.say { a.link href=(url) { "Back to it" } }
            (next_one(next.as_ref()))
        },
        ReviewState::MovedOn { to } => html! {
            (heading(Sign::Clock, "banner still", "Passed on"))
            p.say role="status" {
                "Your time to answer has passed; others are asked now: " b { (line(to)) }
                ". You do not have to do anything."
            }
        },
        ReviewState::Ended { status, by, at_ms, reason, just_now, late, next } => html! {
            (heading(sign_of_end(*status), class_of_end(*status), outcome(*status)))
            div.say role="status" {
                @if let Some(choice) = late {
                    p {
                        "You pressed " b { (pressed(*choice)) } ", but this request had already ended. "
                        "Your answer was not counted and changed nothing. This is on record:"
                    }
                }
                p { (ending(view, *status, by, *just_now)) }
                p.when { (moment(*at_ms)) }
                @if let Some(reason) = reason { (quoted_reason(reason)) }
                @if just_now.is_some() && next.is_none() { p { "Nothing else waits for you. You can close this page." } }
            }
            (next_one(next.as_ref()))
        },
    }
}

/// What waits next, one tap away.
fn next_one(next: Option<&Next>) -> Markup {
    html! {
        @if let Some(next) = next {
            a.next href=(next.url) {
                span.eyebrow { "Next: " (line(&next.client)) " asks" }
                b.title { (titled(&next.title)) }
                span.when { "Answer by " (moment(next.stage_deadline_ms)) }
            }
        }
    }
}

pub(super) fn heading(sign: Sign, class: &str, words: &str) -> Markup {
    html! { h1 class=(class) { (sign.draw()) (words) } }
}

fn ending(view: &Review, status: Status, by: &[String], just_now: Option<Choice>) -> Markup {
    let client = line(&view.client);
    let by_whom = html! { @if !by.is_empty() { " by " (names(by)) } };
    match status {
        Status::Approved => html! {
            @if just_now.is_some() { "Your approval is recorded. " }
            "Approved" (by_whom) ". " (client) " may go ahead" @if just_now.is_some() { ", and is told now" } "."
        },
        Status::Rejected => html! {
            @if just_now.is_some() { "Your rejection is recorded. " }
            "Rejected" (by_whom) ". " (client) " may not do this" @if just_now.is_some() { ", and is told now" } "."
        },
        Status::Expired | Status::Pending => {
            html! { "Nobody decided in time, so it was not approved. " (client) " may not do this." }
        }
        Status::Cancelled => html! { "Withdrawn" (by_whom) " before it was decided. Nothing was approved." },
    }
}

fn names(names: &[String]) -> Markup {
    html! {
        @for (index, name) in names.iter().enumerate() {
            @if index > 0 { @if index + 1 == names.len() { " and " } @else { ", " } }
            b { (line(name)) }
        }
    }
}

fn still_needed(view: &Review) -> Markup {
    let missing = view.approvals_needed.saturating_sub(view.approvals);
    html! {
        @match missing {
            // Since the policy has changed.
            0 => "Enough people have approved it; one more press of Approve ends it.",
            1 => "It waits for one more approval.",
            _ => { "It waits for " (missing) " more approvals." }
        }
        " Until then you can still reject."
    }
}

/// What is said of an approval afterwards. It changes nothing about the outcome.
fn flagging(flagging: &Flagging) -> Markup {
    match flagging {
        Flagging::No => html! {},
        Flagging::Flagged => html! {
            section { p.notice { "Somebody marked this approval as a mistake. The outcome stands." } }
        },
        Flagging::Possible { nonce } => html! {
            section aria-labelledby="mistake" {
                h2 #mistake { "Was approving this a mistake?" }
                p.hint { "Saying so does not take anything back. It is counted in the weekly report." }
                form.flag method="post" {
                    input type="hidden" name="nonce" value=(nonce);
                    button.no name="flag" value="mistake" { "It was a mistake" }
                }
            }
        },
    }
}

fn votes(view: &Review) -> Markup {
    if view.votes.is_empty() {
        return html! {};
    }
    html! {
        section aria-labelledby="votes" {
            h2 #votes { "Votes" }
            ul.votes { @for vote in &view.votes { (vote_line(vote)) } }
        }
    }
}

fn vote_line(vote: &VoteLine) -> Markup {
    html! {
        li {
            span class=(class_of_choice(vote.decision)) { (sign_of_choice(vote.decision).draw()) }
            div {
                b { @match vote.is_reader { Reader::Self_ => "You", Reader::Other => (line(&vote.name)) } }
                @match vote.decision { Choice::Approve => " approved", Choice::Reject => " rejected" }
                span.when { (moment(vote.at_ms)) }
                @if let Some(reason) = &vote.reason { (quoted_reason(reason)) }
            }
        }
    }
}

fn quoted_reason(reason: &str) -> Markup {
    html! { @if !reason.trim().is_empty() { blockquote.why { (passage(reason, LineEnds::Theirs)) } } }
}

/// Everything else, folded: all fields, the exact times in UTC, the digest, the text that is hashed.
fn details(view: &Review) -> Markup {
    let digest = &view.payload_sha256;
    let mark_legend = hides_something(&view.payload.to_string()) || hides_something(&view.summary);
    html! {
        details.fold open[mark_legend || needs_a_look(&view.payload)] {
            summary { "All details" }
            div.payload translate="no" { (rows_beside(&view.payload, lines(&view.payload).map(|list| list.key))) }
            @if view.hides_secrets {
                p.hint { "What looks like a secret is hidden, here and in every message: " code { "[hidden 01234567]" } " stands for it." }
            }
            @if mark_legend {
                p.hint { "Boxes such as " mark { "U+202E" } " stand for hidden characters that are in the text." }
            }
        }
        details.fold {
            summary { "About this request" }
            dl {
                div.row { dt { "Asked by" } dd { (line(&view.client)) } }
                div.row { dt { "Action" } dd { (line(&view.action)) } }
                div.row { dt { "Asked at" } dd { (exact_moment(view.created_at_ms)) } }
                @match &view.state {
                    ReviewState::Open { stage_deadline_ms, .. }
                    | ReviewState::Voted { stage_deadline_ms, .. }
                    | ReviewState::Later { stage_deadline_ms, .. } => {
                        div.row { dt { "Answer by" } dd { (exact_moment(*stage_deadline_ms)) } }
                    }
                    ReviewState::Ended { at_ms, .. } => { div.row { dt { "Ended at" } dd { (exact_moment(*at_ms)) } } }
                    ReviewState::MovedOn { .. } => {}
                }
                div.row { dt { "Rule" } dd { (line(&view.rule)) } }
                div.row { dt { "Request" } dd { code { (revealed(&view.request_id, LineEnds::Theirs)) } } }
                div.row {
                    dt { "Digest" }
                    dd {
                        code.groups {
                            @for from in [0, 4, 8] { span { (digest.get(from..from + 4).unwrap_or_default()) } }
                        }
                        details { summary { "Whole digest (SHA-256 of the payload)" } div.full { code { (digest) } } }
                        details { summary { @if view.hides_secrets { "Payload as JSON (secrets hidden)" } @else { "Payload as JSON (the text that is hashed)" } } div.full translate="no" { (json(&view.payload)) } }
                    }
                }
            }
        }
    }
}

fn you_chose(choice: Choice) -> &'static str {
    match choice {
        Choice::Approve => "You approved",
        Choice::Reject => "You rejected",
    }
}

fn pressed(choice: Choice) -> &'static str {
    match choice {
        Choice::Approve => "Approve",
        Choice::Reject => "Reject",
    }
}

fn outcome(status: Status) -> &'static str {
    match status {
        Status::Approved => "Approved",
        Status::Rejected => "Rejected",
        Status::Expired | Status::Pending => "Expired",
        Status::Cancelled => "Withdrawn",
    }
}

fn sign_of_choice(choice: Choice) -> Sign {
    match choice {
        Choice::Approve => Sign::Check,
        Choice::Reject => Sign::Cross,
    }
}

fn class_of_choice(choice: Choice) -> &'static str {
    match choice {
        Choice::Approve => "banner yes",
        Choice::Reject => "banner no",
    }
}

fn sign_of_end(status: Status) -> Sign {
    match status {
        Status::Approved => Sign::Check,
        Status::Rejected => Sign::Cross,
        Status::Expired | Status::Pending => Sign::Clock,
        Status::Cancelled => Sign::Back,
    }
}

fn class_of_end(status: Status) -> &'static str {
    match status {
        Status::Approved => "banner yes",
        Status::Rejected => "banner no",
        Status::Expired | Status::Cancelled | Status::Pending => "banner still",
    }
}

#[cfg(test)]
mod tests;
