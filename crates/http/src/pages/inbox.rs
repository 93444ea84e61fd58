//! The inbox: everything that waits for one reviewer, decided in place, and what they decided lately.
//!
//! Each row is a form of its own, so that it works without scripts; the script only saves the round trip. Requests that
//! ask the very same are one row, and deciding them together is asked once more.

use super::layout::{Script, Shell, Sign, framed, moment_near, span};
use super::payload::rows_beside;
use super::review::ordinal;
use super::text::{LineEnds, hides_something, line, passage, revealed, titled};
use super::{Choice, Inbox, InboxGroup, InboxRequest, LateRow, May, Said};
use maud::{Markup, html};
use placet_core::payload::canonical_text;
use placet_core::request::Status;
use placet_core::words::FieldPath;
use placet_gate::{First, LOOK_BACK};
use serde_json::Value;

/// A payload whose canonical text is longer, in bytes, is decided on its own page: a row would hide its end.
const WHOLE_IN_A_ROW: usize = 2000;

/// Names and values up to so many characters are never shortened in a headline.
const SHORT_NAME: usize = 24;
const SHORT_VALUE: usize = 40;

/// What a rejection can say at a tap.
const REASONS: [&str; 3] = ["Wrong amount", "Not expected", "Ask me first"];

/// What goes with a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goes {
    /// Nothing.
    Alone,
    /// A pause of the client that asks.
    WithPause,
}

/// Everything waiting for one reviewer, live.
pub fn inbox(view: &Inbox) -> Markup {
    let waiting = view.waiting;
    let count = match waiting {
        0 => "Nothing waits for you.".to_owned(),
        1 => "1 request waits for you.".to_owned(),
        _ => format!("{waiting} requests wait for you."),
    };
    let title = match waiting {
        0 => "Inbox – Placet".to_owned(),
        _ => format!("({waiting}) Inbox – Placet"),
    };
    let (open, voted): (Vec<_>, Vec<_>) = view.groups.iter().partition(|group| group.first.voted.is_none());
    let content = html! {
        h1 { "Your inbox" }
        (away_now(view))
        (paused(view))
        p #count role="status" data-waiting=(waiting) { (count) }
        div #result role="status" { (said(view)) }
        @if open.is_empty() && voted.is_empty() {
            p #empty.card { "New requests appear here by themselves." }
        }
        ul #list.inbox { @for group in &open { (entry(view, group)) } }
        @if view.more > 0 {
            p #more.hint { "And " (view.more) " more, with later deadlines: they appear here as you decide." }
        }
        @if !voted.is_empty() {
            h2.part { "Waiting for others" }
            ul.inbox.quiet { @for group in &voted { (entry(view, group)) } }
        }
        @if !view.lately.is_empty() {
            h2.part { "Decided lately" }
            ul.lately { @for row in &view.lately { (late(row, view.now_ms)) } }
        }
        (away_form(view))
        (push(view))
        p #trouble.notice role="alert" hidden { "Connection lost. Trying again; this list may be out of date." }
        p.hint.keys { "Press " kbd { "?" } " for the keyboard." }
        (keys())
    };
    page(view, &title, &content)
}

/// Whether these are to be decided together, asked once more. Nothing is recorded yet.
pub fn confirm_together(
    view: &Inbox,
    group: &InboxGroup,
    choice: Choice,
    goes: Goes,
    reason: Option<&str>,
) -> Markup {
    let count = group.all.len();
    let verb = verb(choice);
    let action = match goes {
        Goes::Alone => view.action.clone(),
        Goes::WithPause => format!("{}?pause", view.action),
    };
    let content = html! {
        article.card {
            h1 tabindex="-1" { (verb) " " (count) " requests that ask the same?" }
            p.eyebrow { (line(&group.first.client)) " asks" }
            p.title translate="no" { (titled(&group.first.title)) }
            p { "Each is recorded on its own. This happens " (count) " times:" }
            ol.alike { @for request in &group.all { li { (of_one(request, view.now_ms)) } } }
            details { summary { "What will be done, in full" } div.payload translate="no" { (rows_beside(&group.first.payload, None)) } }
            @if goes == Goes::WithPause {
                p { "And " (line(&group.first.client)) " is paused for an hour: nothing new is taken from it." }
            }
            form method="post" action=(action) {
                @for request in &group.all { input type="hidden" name="row" value=(row_value(request)); }
                input type="hidden" name="confirmed" value="yes";
                @if let Some(reason) = reason { input type="hidden" name="reason" value=(reason); }
                div.buttons {
                    a.button href=(view.action) { "Back" }
                    button class=(class(choice)) name="decision" value=(value(choice)) {
                        (sign(choice).draw()) (verb) " all " (count)
                    }
                }
            }
        }
    };
    page(view, &format!("{verb} {count} requests? – Placet"), &content)
}

fn page(view: &Inbox, title: &str, content: &Markup) -> Markup {
    let shell = Shell {
        title,
        reviewer: Some(&view.reviewer_name),
        script: Script::Inbox,
        manifest: Some(&view.manifest),
        prefix: &view.prefix,
    };
    let content = html! {
        div #inbox data-version=(view.version) data-now=(view.now_ms) data-events=[view.events.as_deref()] data-nonce=(view.nonce)
            data-nudged[view.nudged]
            data-worker=(format!("{}/sw.js", view.prefix)) data-scope=(format!("{}/", view.prefix)) {
            (content)
        }
    };
    framed(&shell, &content)
}

fn entry(view: &Inbox, group: &InboxGroup) -> Markup {
    let first = &group.first;
    let count = group.all.len();
    let id = format!("r-{}", first.id);
    let title = format!("t-{}", first.id);
    let told_whole = is_told_whole(first);
    let fits = fits_a_row(first);
    html! {
        li #(id).card.row-of data-v=(state_of(group)) data-deadline=(first.stage_deadline_ms) tabindex="-1" aria-labelledby=(title) {
            p.eyebrow {
                @if first.urgent { strong.urgent { "Urgent" } " " }
                (line(&first.client)) " asks: " (line(&first.action))
                @if count > 1 { " " b { (count) " times the same" } }
            }
            a #(title).action href=(first.url) translate="no" { (titled(&first.title)) }
            p.when { (waits(first, view.now_ms)) }
            (news(&group.all))
            @if fits && first.voted.is_none() { (pause(view, group)) }
            @if first.voted.is_some() {
                (more(first, &group.all, view.now_ms, &html! {}))
            } @else if !fits {
                (more(first, &group.all, view.now_ms, &html! {}))
                p.hint { @if first.needs_page { "This is decided on its own page." } @else { "This is long: it is decided on its own page." } }
                div.buttons { a.button.open href=(first.url) { "Look at it" } }
            } @else if told_whole {
                (form(view, group))
                (more(first, &group.all, view.now_ms, &html! {}))
            } @else {
                (more(first, &group.all, view.now_ms, &form(view, group)))
            }
        }
    }
}

/// What is new, in a few words: its own page says more.
fn news(all: &[InboxRequest]) -> Markup {
    let Some(first) = all.first() else { return html! {} };
    let new = &first.novelty;
    let nth = most_asked(all);
    html! {
        @if first.voted.is_none() && (nth.is_some() || new.recipient.is_some() || new.first.is_some()) {
            p.new {
                @if let Some(nth) = nth {
                    b {
                        @if nth > LOOK_BACK { "More than " (LOOK_BACK) " asks in 10 minutes" }
                        @else { (ordinal(nth)) " ask in 10 minutes" }
                    }
                }
                @if new.recipient.is_some() || new.first.is_some() {
                    @if nth.is_some() { " · " }
                    @match (&new.recipient, new.first) {
                        (Some(recipient), _) => { "New: nothing approved lately went to " bdi { (revealed(recipient, LineEnds::Theirs)) } }
                        (None, Some(First::Ever)) => "First time",
                        (None, Some(First::Lately)) => { "None of this kind approved in the last " (LOOK_BACK) " requests" }
                        (None, None) => {}
                    }
                }
            }
        }
    }
}

/// Who asks again and again is stopped together with the rejection: a button of the row's form.
fn pause(view: &Inbox, group: &InboxGroup) -> Markup {
    let count = group.all.len();
    let (of, dots) = if count > 1 { (format!(" all {count}"), "…") } else { (String::new(), "") };
    let client = line(&group.first.client);
    html! {
        @if most_asked(&group.all).is_some() {
            details.pause {
                summary { "Pause " (client) }
                p.hint { "For an hour nothing new is taken from it. What it has asked already stays open." }
                button.no form=(form_of(&group.first)) name="decision" value="reject" formaction=(format!("{}?pause", view.action)) {
                    span { "Reject" (of) ", and pause " (client) (dots) }
                }
            }
        }
    }
}

fn form_of(request: &InboxRequest) -> String {
    format!("f-{}", request.id)
}

/// Which one of many the latest of a group is.
fn most_asked(all: &[InboxRequest]) -> Option<usize> {
    all.iter().filter_map(|request| request.novelty.nth).max()
}

/// A row differs from what a reader has before them exactly if this does.
fn state_of(group: &InboxGroup) -> String {
    let mut state = String::new();
    for request in &group.all {
        state.push_str(&request.id);
        state.push('.');
        state.push_str(&request.version.to_string());
        state.push(' ');
    }
    state
}

fn waits(request: &InboxRequest, now_ms: i64) -> Markup {
    html! {
        @match request.voted {
            Some(Choice::Approve) => "You approved; it waits for others. ",
            Some(Choice::Reject) => "You rejected. ",
            None => {}
        }
        b.left { (span(request.stage_deadline_ms.saturating_sub(now_ms))) " left" }
        " (by " (moment_near(request.stage_deadline_ms, now_ms)) "), asked "
        (span(now_ms.saturating_sub(request.created_at_ms))) " ago"
        @if request.approvals_needed > 1 {
            ", " (request.approvals) " of " (request.approvals_needed) " approvals"
        }
    }
}

/// What is folded away: the payload, the agent's words, the others of the group, and perhaps the form.
fn more(first: &InboxRequest, all: &[InboxRequest], now_ms: i64, form: &Markup) -> Markup {
    let fits = fits_a_row(first);
    html! {
        details.more {
            summary { @if form.0.is_empty() { "Details" } @else { "Look and decide" } }
            @if fits {
                div.payload translate="no" { (rows_beside(&first.payload, None)) }
                @if hides_something(&first.payload.to_string()) {
                    p.hint { "Boxes such as " mark { "U+202E" } " stand for hidden characters that are in the text." }
                }
            }
            p.hint { "In the agent’s own words, not verified:" }
            @if all.len() == 1 {
                blockquote { (passage(&first.summary, LineEnds::Theirs)) }
            } @else {
                ol.alike { @for request in all { li { (of_one(request, now_ms)) } } }
            }
            (form)
        }
    }
}

/// One of several that ask the same: what tells it from the others.
fn of_one(request: &InboxRequest, now_ms: i64) -> Markup {
    html! {
        a href=(request.url) { code { (revealed(&request.request_id, LineEnds::Theirs)) } }
        " asked " (span(now_ms.saturating_sub(request.created_at_ms))) " ago: "
        q { (line(&request.summary)) }
    }
}

fn form(view: &Inbox, group: &InboxGroup) -> Markup {
    let count = group.all.len();
    let of = if count > 1 { format!(" all {count}") } else { String::new() };
    let dots = if count > 1 { "…" } else { "" };
    let first = &group.first;
    let other = format!("w-{}", first.id);
    html! {
        form.decide #(form_of(first)) method="post" action=(view.action) {
            @for request in &group.all { input type="hidden" name="row" value=(row_value(request)); }
            @if first.may == May::RejectOnly {
                p.notice {
                    "You own " (line(&first.client)) ", so somebody else has to approve what it asks. You can reject it."
                }
            }
            div.choose {
                @if first.may == May::Both {
                    button.yes name="decision" value="approve" { (Sign::Check.draw()) "Approve" (of) (dots) }
                }
                details.no {
                    summary { (Sign::Cross.draw()) "Reject" (of) }
                    fieldset {
                        legend { "Why? " span.dim { "(optional; the agent reads it)" } }
                        div.reasons {
                            @for reason in REASONS {
                                label { input type="radio" name="why" value=(reason); " " (reason) }
                            }
                        }
                        label for=(other) { "In your own words" }
                        textarea #(other) name="reason" rows="2" maxlength="500" dir="auto" autocomplete="off" {}
                        button.no name="decision" value="reject" { (Sign::Cross.draw()) "Reject" (of) (dots) }
                    }
                }
            }
        }
    }
}

fn row_value(request: &InboxRequest) -> String {
    format!("{}~{}", request.link, request.nonce)
}

/// Whether the headline leaves nothing out and shortens nothing: only then the buttons stand beside it.
fn is_told_whole(request: &InboxRequest) -> bool {
    let is_short = |text: &str, most: usize| text.chars().nth(most).is_none();
    let Value::Object(fields) = &request.payload else { return false };
    let told = |key: &str| request.title.told.contains(&FieldPath::from_keys(&[key.to_owned()]));
    fields.iter().all(|(key, value)| {
        told(key)
            && is_short(key, SHORT_NAME)
            && match value {
                Value::String(text) => is_short(text, SHORT_VALUE),
                Value::Null | Value::Bool(_) | Value::Number(_) => true,
                Value::Array(_) | Value::Object(_) => false,
            }
    })
}

fn fits_a_row(request: &InboxRequest) -> bool {
    !request.needs_page && canonical_text(&request.payload).len() <= WHOLE_IN_A_ROW
}

fn said(view: &Inbox) -> Markup {
    html! {
        @if let Some(notice) = &view.notice { p.notice { (notice) } }
        @if !view.said.is_empty() {
            ul.said.notice {
                @for one in &view.said {
                    li {
                        @match &one.said {
                            Said::Recorded(choice) => {
                                span class=(class(*choice)) { (sign(*choice).draw()) }
                                span { "You " (past(*choice)) " " (named(one)) "." }
                            }
                            Said::Waiting => {
                                span.banner.yes { (Sign::Check.draw()) }
                                span { "You approved " (named(one)) "; it waits for others." }
                            }
                            Said::Ended { status, by } => {
                                span.banner.still { (Sign::Clock.draw()) }
                                span {
                                    (named(one)) " had already ended: " (outcome(*status)) @if !by.is_empty() { " by " (line(by)) }
                                    ". Your answer was not counted."
                                }
                            }
                            Said::Refused(why) => {
                                span.banner.no { (Sign::Cross.draw()) }
                                span { "Nothing was recorded for " (named(one)) ": " (why) "." }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn named(one: &super::SaidRow) -> Markup {
    html! { a href=(one.url) { b { (revealed(&one.headline, LineEnds::Theirs)) } } " (" code { (revealed(&one.request_id, LineEnds::Theirs)) } ")" }
}

fn late(row: &LateRow, now_ms: i64) -> Markup {
    html! {
        li {
            span class=(format!("banner {}", class(row.choice))) { (sign(row.choice).draw()) }
            div {
                a href=(row.url) translate="no" { (revealed(&row.headline, LineEnds::Theirs)) }
                span.when {
                    "You " (past(row.choice)) " " (moment_near(row.at_ms, now_ms))
                    @match row.status {
                        Status::Pending => "; it waits for others",
                        Status::Approved if row.choice == Choice::Reject => "; it was approved",
                        Status::Rejected if row.choice == Choice::Approve => "; it was rejected",
                        Status::Expired => "; it expired",
                        Status::Cancelled => "; it was withdrawn",
                        Status::Approved | Status::Rejected => {}
                    }
                    ". " (line(&row.client)) " asked"
                }
            }
        }
    }
}

/// The keyboard's help, which its own key opens.
fn keys() -> Markup {
    html! {
        dialog #help aria-labelledby="help-title" {
            h2 #help-title { "Keyboard" }
            dl {
                @for (key, does) in [
                    ("j", "next request"),
                    ("k", "the one before"),
                    ("a", "approve; opens the details first if the line does not say all"),
                    ("r", "reject: choose why, then r again"),
                    ("o", "open its own page"),
                    ("?", "this help"),
                ] {
                    div.row { dt { kbd { (key) } } dd { (does) } }
                }
            }
            form method="dialog" { button.plain { "Close" } }
        }
    }
}

/// For how long somebody can be away at a tap, in hours.
const SPANS: [(u32, &str); 7] = [
    (1, "1 hour"),
    (4, "4 hours"),
    (24, "1 day"),
    (72, "3 days"),
    (168, "1 week"),
    (336, "2 weeks"),
    (672, "4 weeks"),
];

fn away_now(view: &Inbox) -> Markup {
    html! {
        @if let Some(until_ms) = view.away.until_ms {
            form #away-now.notice method="post" action=(format!("{}/away", view.action)) {
                input type="hidden" name="nonce" value=(view.nonce);
                p {
                    b { "You are away" } " until " (moment_near(until_ms, view.now_ms)) ". New requests are not sent to you"
                    @if let Some(instead) = &view.away.instead { ": " b { (line(instead)) } " is asked instead" }
                    "."
                }
                button.plain name="hours" value="0" { "I am back" }
            }
        } @else if view.away.by_file {
            p #away-now.notice { b { "You are away" } " today, says the policy. New requests are not sent to you." }
        }
    }
}

/// The clients from which nothing new is taken. Who paused one can lift that.
fn paused(view: &Inbox) -> Markup {
    html! {
        @for client in &view.paused {
            form.notice method="post" action=(format!("{}/resume", view.action)) {
                input type="hidden" name="nonce" value=(view.nonce);
                input type="hidden" name="client" value=(client.id);
                p {
                    b { (line(&client.name)) " is paused" } " until " (moment_near(client.pause.until_ms, view.now_ms)) " by "
                    @if client.pause.is_own { "you" } @else { (line(&client.pause.by)) } ": nothing new is taken from it."
                }
                @if client.pause.is_own { button.plain { "Lift the pause" } }
            }
        }
    }
}

fn away_form(view: &Inbox) -> Markup {
    html! {
        details #away.part {
            summary { @if view.away.until_ms.is_some() { "Stay away longer" } @else { "Go away for a while" } }
            form.card method="post" action=(format!("{}/away", view.action)) {
                input type="hidden" name="nonce" value=(view.nonce);
                label for="hours" { "For" }
                select #hours name="hours" {
                    @for (hours, words) in SPANS { option value=(hours) selected[hours == 24] { (words) } }
                }
                label for="backup" { "Who is asked instead" }
                select #backup name="backup" {
                    option value="" { "Nobody: those of my role who are there" }
                    @for (id, name) in &view.away.backups { option value=(id) { (name) } }
                }
                @if view.away.backups.is_empty() {
                    p.hint { "The policy names nobody who may stand in for you." }
                }
                p.hint { "You can still decide here. It is kept in the audit trail." }
                button.plain { "I am away" }
            }
        }
    }
}

/// The script shows it where the browser can, and says what the button does.
fn push(view: &Inbox) -> Markup {
    html! {
        @if let Some(push) = &view.push {
            div #push.part hidden data-key=(push.key) data-devices=(push.devices.join(" ")) data-nonce=(view.nonce)
                data-action=(format!("{}/push", view.action)) {
                button.plain type="button" { "Push on this device" }
                p.hint role="status" {}
            }
        }
    }
}

fn verb(choice: Choice) -> &'static str {
    match choice {
        Choice::Approve => "Approve",
        Choice::Reject => "Reject",
    }
}

fn past(choice: Choice) -> &'static str {
    match choice {
        Choice::Approve => "approved",
        Choice::Reject => "rejected",
    }
}

fn value(choice: Choice) -> &'static str {
    match choice {
        Choice::Approve => "approve",
        Choice::Reject => "reject",
    }
}

fn class(choice: Choice) -> &'static str {
    match choice {
        Choice::Approve => "yes",
        Choice::Reject => "no",
    }
}

fn sign(choice: Choice) -> Sign {
    match choice {
        Choice::Approve => Sign::Check,
        Choice::Reject => Sign::Cross,
    }
}

fn outcome(status: Status) -> &'static str {
    match status {
        Status::Approved => "approved",
        Status::Rejected => "rejected",
        Status::Expired | Status::Pending => "expired",
        Status::Cancelled => "withdrawn",
    }
}

#[cfg(test)]
mod tests;
