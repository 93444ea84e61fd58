//! The operator's page: what waits, what was decided, who can be reached, what the policy warns of. It only shows.

use super::layout::{Script, moment_near, page, span};
use super::text::line;
use maud::{Markup, html};
use placet_core::request::Status;

/// What the operator sees of a gate.
pub struct Operator {
    /// Whether it could record a request now.
    pub is_ready: bool,
    /// The server's time, in Unix milliseconds.
    pub now_ms: i64,
    /// When the link to this page ends, in Unix milliseconds.
    pub link_ends_ms: i64,
    /// What waits, the nearest deadline first.
    pub waiting: Vec<WaitingLine>,
    /// Whether more waits than is listed.
    pub more_waits: bool,
    /// What ended last, the newest first.
    pub ended: Vec<EndedLine>,
    /// The people of the policy.
    pub people: Vec<PersonLine>,
    /// The policy in force: its version, or 0.
    pub policy_version: u32,
    /// What `policy check` warns of, one sentence each.
    pub warnings: Vec<String>,
}

/// A request that waits.
pub struct WaitingLine {
    /// The client that asks.
    pub client: String,
    /// Its name for the request.
    pub request_id: String,
    /// What it wants to do. Untrusted.
    pub action: String,
    /// The people or the queue that it waits for.
    pub waits_for: Vec<String>,
    /// When its stage ends, in Unix milliseconds.
    pub closes_at_ms: i64,
}

/// A request that has ended.
pub struct EndedLine {
    /// The client that asked.
    pub client: String,
    /// Its name for the request.
    pub request_id: String,
    /// What it wanted to do. Untrusted.
    pub action: String,
    /// How it ended.
    pub status: Status,
    /// Who ended it: reviewers, or `policy:…`, `timeout:…`, `client:…`.
    pub by: Vec<String>,
    /// When, in Unix milliseconds.
    pub at_ms: i64,
}

/// A reviewer.
pub struct PersonLine {
    /// Display name.
    pub name: String,
    /// What stages ask for.
    pub roles: Vec<String>,
    /// The ways to this person, in the order in which they are tried.
    pub channels: Vec<String>,
    /// Whether they are away now.
    pub is_away: bool,
}

/// The operator's page.
pub fn operator(view: &Operator) -> Markup {
    let health = if view.is_ready {
        "This gate is ready."
    } else {
        "This gate cannot record requests now. Its log says why, and so does `placet doctor`."
    };
    let content = html! {
        h1 { "This gate" }
        p role="status" { (health) }
        p.hint {
            "The link to this page ends " (moment_near(view.link_ends_ms, view.now_ms))
            ". The page only shows: nothing is decided here."
        }
        section.card {
            h2 { "Waiting (" (view.waiting.len()) @if view.more_waits { " and more" } ")" }
            @if view.waiting.is_empty() { p { "Nothing waits." } }
            @for one in &view.waiting { (waiting(one, view.now_ms)) }
        }
        section.card {
            h2 { "Ended last" }
            @if view.ended.is_empty() { p { "Nothing has ended yet." } }
            @for one in &view.ended { (ended(one, view.now_ms)) }
        }
        section.card {
            h2 { "People" }
            @if view.people.is_empty() { p { "The policy names nobody." } }
            @for one in &view.people { (person(one)) }
        }
        section.card {
            h2 { "Policy" }
            @if view.policy_version == 0 {
                p { "No policy is in force: every request is refused." }
            } @else {
                p { "Version " (view.policy_version) "." }
            }
            @for warning in &view.warnings { p.notice { (line(warning)) } }
        }
    };
    page("Operator – Placet", None, Script::None, &content)
}

fn waiting(one: &WaitingLine, now_ms: i64) -> Markup {
    html! {
        p {
            strong { (line(&one.action)) } " " (line(&one.request_id))
            span.when {
                (line(&one.client)) " asks " (line(&one.waits_for.join(", "))) "; "
                @if one.closes_at_ms <= now_ms { "its time has passed" }
                @else { (span(one.closes_at_ms.saturating_sub(now_ms))) " left" }
            }
        }
    }
}

fn ended(one: &EndedLine, now_ms: i64) -> Markup {
    html! {
        p {
            strong { (one.status.as_str()) } " " (line(&one.action)) " " (line(&one.request_id))
            span.when {
                "asked by " (line(&one.client)) ", ended by " (line(&one.by.join(", "))) " "
                (moment_near(one.at_ms, now_ms))
            }
        }
    }
}

fn person(one: &PersonLine) -> Markup {
    html! {
        p {
            strong { (line(&one.name)) } @if one.is_away { " is away" }
            span.when {
                (line(&one.roles.join(", "))) "; "
                @if one.channels.is_empty() { "no address: told on the gate's terminal, if it has one" }
                @else { "told by " (line(&one.channels.join(", then "))) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_430_060_000;

    fn view() -> Operator {
        Operator {
            is_ready: true,
            now_ms: NOW,
            link_ends_ms: NOW + 900_000,
            waiting: vec![WaitingLine {
                client: "my-agent".to_owned(),
                request_id: "invoice-4711".to_owned(),
                action: "<b>\u{202e}".to_owned(),
                waits_for: vec!["bob".to_owned(), "carol".to_owned()],
                closes_at_ms: NOW + 600_000,
            }],
            more_waits: false,
            ended: vec![EndedLine {
                client: "my-agent".to_owned(),
                request_id: "invoice-4710".to_owned(),
                action: "payment.send".to_owned(),
                status: Status::Approved,
                by: vec!["bob".to_owned()],
                at_ms: NOW - 60_000,
            }],
            people: vec![PersonLine {
                name: "Bob".to_owned(),
                roles: vec!["finance".to_owned()],
                channels: Vec::new(),
                is_away: true,
            }],
            policy_version: 3,
            warnings: vec!["rule `x` approves everything that reaches it".to_owned()],
        }
    }

    #[test]
    fn it_shows_what_waits_what_ended_who_is_there_and_what_the_policy_warns_of() {
        let page = operator(&view()).into_string().replace("<bdi>", "").replace("</bdi>", "");
        for words in [
            "This gate is ready.",
            "Waiting (1)",
            "my-agent asks bob, carol; 10 min left",
            "<strong>approved</strong> payment.send invoice-4710",
            "ended by bob",
            "<strong>Bob</strong> is away",
            "no address",
            "Version 3.",
            "approves everything that reaches it",
        ] {
            assert!(page.contains(words), "{words}\n{page}");
        }
        assert!(page.contains("&lt;b&gt;<mark>U+202E</mark>"), "what an agent wrote is text");
        assert!(!page.contains("<form") && !page.contains("<script"));
    }

    #[test]
    fn an_empty_gate_that_cannot_write_says_so() {
        let empty = Operator {
            is_ready: false,
            waiting: Vec::new(),
            ended: Vec::new(),
            people: Vec::new(),
            policy_version: 0,
            warnings: Vec::new(),
            ..view()
        };
        let page = operator(&empty).into_string();
        for words in [
            "cannot record requests now",
            "Nothing waits.",
            "Nothing has ended yet.",
            "No policy is in force",
        ] {
            assert!(page.contains(words), "{words}");
        }
    }
}
