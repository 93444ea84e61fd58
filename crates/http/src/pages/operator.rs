//! The operator's page: what waits, what was decided, who can be reached and how that has gone, which alerts stand, what
//! the policy warns of. Its only buttons send tests.

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
    /// Since when failures and alerts are remembered, in Unix milliseconds.
    pub started_ms: i64,
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
    /// Each way to each person.
    pub channels: Vec<ChannelLine>,
    /// The ways by which operators are told.
    pub ways: Vec<WayLine>,
    /// The alerts that stand.
    pub standing: Vec<AlertLine>,
    /// Alerts that came up since `started_ms` and do not stand, the newest first.
    pub past: Vec<AlertLine>,
    /// Where the report of the last seven days is: a relative path.
    pub report: String,
    /// The policy in force: its version, or 0.
    pub policy_version: u32,
    /// What `policy check` warns of, one sentence each.
    pub warnings: Vec<String>,
    /// For the page's forms.
    pub nonce: String,
    /// What a press came to, if there was one.
    pub said: Option<Tried>,
}

/// What a press came to.
pub struct Tried {
    /// Whether it went as it was meant.
    pub is_good: bool,
    /// In a sentence or two.
    pub text: String,
}

/// One way to one person, and how it has gone.
pub struct ChannelLine {
    /// The reviewer's id.
    pub reviewer: String,
    /// Display name.
    pub name: String,
    /// The channel.
    pub channel: String,
    /// Why nobody is reached by it as it is, if so.
    pub fault: Option<String>,
    /// Where a message fails now: after how many tries, and when the next one is, in Unix milliseconds.
    pub failing: Option<(u32, i64)>,
    /// When a message was taken last, in Unix milliseconds.
    pub sent_ms: Option<i64>,
    /// When one was not taken last, in Unix milliseconds, and why.
    pub failed: Option<(i64, String)>,
    /// Whether a test can be sent.
    pub can_try: bool,
}

/// One way by which operators are told.
pub struct WayLine {
    /// Its name.
    pub name: String,
    /// What it is: `mail`, `slack`, …
    pub kind: String,
    /// What it gets, in words: kinds of alerts, the report.
    pub gets: String,
    /// Why nothing gets through by it, if so.
    pub fault: Option<String>,
}

/// An alert.
pub struct AlertLine {
    /// A few words.
    pub title: String,
    /// What happened, and what to do.
    pub text: String,
    /// Since when, in Unix milliseconds.
    pub since_ms: i64,
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
            ". Nothing is decided here; the buttons send tests."
        }
        @if let Some(said) = &view.said {
            p.notice.no[!said.is_good] role="alert" { (line(&said.text)) }
        }
        section.card {
            h2 { "Alerts that stand" @if !view.standing.is_empty() { " (" (view.standing.len()) ")" } }
            @if view.standing.is_empty() { p { "None." } }
            @for one in &view.standing { (alert(one, view.now_ms)) }
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
            h2 { "Channels" }
            p.hint {
                "Failures are remembered since this gate started, " (moment_near(view.started_ms, view.now_ms)) "."
            }
            @for one in &view.channels { (channel(one, view)) }
        }
        section.card {
            h2 { "How operators are alerted" }
            @if view.ways.is_empty() {
                p { "Alerts go to the log only: the policy has no " code { "[[alerts]]" } "." }
            }
            @for one in &view.ways { (way(one, view)) }
        }
        section.card {
            h2 { "Alerts of before" }
            @if view.past.is_empty() {
                p { "None since this gate started, " (moment_near(view.started_ms, view.now_ms)) "." }
            }
            @for one in &view.past { (alert(one, view.now_ms)) }
        }
        section.card {
            h2 { "Report" }
            p { a.link href=(view.report) { "The numbers of the last seven days" } }
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
    page("Operator – Placet", None, Script::Operator, &content)
}

fn alert(one: &AlertLine, now_ms: i64) -> Markup {
    html! {
        p {
            strong { (line(&one.title)) }
            span.when { "since " (moment_near(one.since_ms, now_ms)) }
            (line(&one.text))
        }
    }
}

fn channel(one: &ChannelLine, view: &Operator) -> Markup {
    html! {
        div.line {
            div {
                strong { (line(&one.name)) } " by " (line(&one.channel))
                @if let Some(fault) = &one.fault { span.when.bad { (line(fault)) } }
                @if let Some((tries, next_ms)) = one.failing {
                    span.when.bad {
                        "a message has failed " (tries) " time" @if tries != 1 { "s" } "; the next try is "
                        @if next_ms <= view.now_ms { "due" } @else { "in " (span(next_ms.saturating_sub(view.now_ms))) }
                    }
                }
                span.when {
                    @match one.sent_ms {
                        // What such a channel took lies in the gate's folder.
                        Some(sent_ms) if one.fault.is_some() => {
                            "last written to the outbox " (moment_near(sent_ms, view.now_ms))
                        }
                        Some(sent_ms) => { "last sent " (moment_near(sent_ms, view.now_ms)) }
                        None => "nothing was sent yet",
                    }
                }
                @if let Some((failed_ms, reason)) = &one.failed {
                    span.when { "last failed " (moment_near(*failed_ms, view.now_ms)) ": " (line(reason)) }
                }
            }
            @if one.can_try {
                form method="post" {
                    input type="hidden" name="nonce" value=(view.nonce);
                    input type="hidden" name="reviewer" value=(one.reviewer);
                    input type="hidden" name="channel" value=(one.channel);
                    button aria-label=(format!("Send a test to {} by {}", one.name, one.channel)) { "Send a test" }
                }
            }
        }
    }
}

fn way(one: &WayLine, view: &Operator) -> Markup {
    html! {
        div.line {
            div {
                strong { (line(&one.name)) } " (" (line(&one.kind)) ")"
                @if let Some(fault) = &one.fault { span.when.bad { (line(fault)) } }
                span.when { "gets " (line(&one.gets)) }
            }
            form method="post" {
                input type="hidden" name="nonce" value=(view.nonce);
                input type="hidden" name="way" value=(one.name);
                button aria-label=(format!("Send a test by the way of alerts {}", one.name)) { "Send a test" }
            }
        }
    }
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
            started_ms: NOW - 7_200_000,
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
            channels: vec![ChannelLine {
                reviewer: "bob".to_owned(),
                name: "Bob".to_owned(),
                channel: "slack".to_owned(),
                fault: None,
                failing: Some((3, NOW + 60_000)),
                sent_ms: Some(NOW - 3_600_000),
                failed: Some((NOW - 60_000, "Slack says `channel_not_found`".to_owned())),
                can_try: true,
            }],
            ways: vec![WayLine {
                name: "ops".to_owned(),
                kind: "pagerduty".to_owned(),
                gets: "expired, not_told".to_owned(),
                fault: Some("it has no secret".to_owned()),
            }],
            standing: vec![alert_line("Somebody cannot be told")],
            past: vec![alert_line("A request has expired")],
            report: "../report/abc".to_owned(),
            policy_version: 3,
            warnings: vec!["rule `x` approves everything that reaches it".to_owned()],
            nonce: "n-1".to_owned(),
            said: None,
        }
    }

    fn alert_line(title: &str) -> AlertLine {
        AlertLine { title: title.to_owned(), text: "What to do.".to_owned(), since_ms: NOW - 600_000 }
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
        assert!(!page.contains("<script"));
    }

    #[test]
    fn it_shows_how_channels_have_gone_which_alerts_stand_and_buttons_for_tests() {
        let page = operator(&view()).into_string().replace("<bdi>", "").replace("</bdi>", "");
        for words in [
            "<strong>Bob</strong> by slack",
            "a message has failed 3 times; the next try is in 1 min",
            "last sent <time",
            "Slack says `channel_not_found`",
            "Alerts that stand (1)",
            "Somebody cannot be told",
            "A request has expired",
            "<strong>ops</strong> (pagerduty)",
            "it has no secret",
            "gets expired, not_told",
            "href=\"../report/abc\"",
        ] {
            assert!(page.contains(words), "{words}\n{page}");
        }
        // Each form posts to the page itself, with its nonce, and says who is meant.
        assert_eq!(page.matches("<form method=\"post\">").count(), 2);
        assert_eq!(page.matches("name=\"nonce\" value=\"n-1\"").count(), 2);
        let fault = || Some("no mail server is set".to_owned());
        let unset: Vec<ChannelLine> =
            view().channels.into_iter().map(|one| ChannelLine { fault: fault(), ..one }).collect();
        let unset = operator(&Operator { channels: unset, ..view() }).into_string();
        assert!(unset.contains("last written to the outbox <time") && !unset.contains("last sent"));
        assert!(page.contains("aria-label=\"Send a test to Bob by slack\""));
        assert!(!page.contains("role=\"alert\""));
        for (is_good, class) in [(true, "notice"), (false, "notice no")] {
            let said = Some(Tried { is_good, text: "What came of it.".to_owned() });
            let page = operator(&Operator { said, ..view() }).into_string();
            let said = format!("<p class=\"{class}\" role=\"alert\"><bdi>What came of it.</bdi></p>");
            assert!(page.contains(&said), "{said}\n{page}");
        }
    }

    #[test]
    fn an_empty_gate_that_cannot_write_says_so() {
        let empty = Operator {
            is_ready: false,
            waiting: Vec::new(),
            ended: Vec::new(),
            people: Vec::new(),
            channels: Vec::new(),
            ways: Vec::new(),
            standing: Vec::new(),
            past: Vec::new(),
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
            "None.",
            "None since this gate started",
            "Alerts go to the log only",
        ] {
            assert!(page.contains(words), "{words}");
        }
    }
}
