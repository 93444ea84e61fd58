//! The review page: what will happen, who says so, and two buttons.
//!
//! Words and order only; how a payload is drawn is `payload`'s, what is safe to show is `text`'s.

use super::layout::{Script, Sign, exact_moment, moment, moment_near, page};
use super::payload::{digits, json, rows};
use super::text::{LineEnds, hides_something, line, passage, revealed};
use super::{Choice, Flagging, May, Reader, Review, ReviewState, VoteLine};
use maud::{Markup, html};
use placet_core::request::Status;
use placet_core::words::headline::{Fact, facts};
use placet_core::words::text::{elided, plain};

const TITLE_ACTION_CHARS: usize = 60;
const REASON_CHARS: u32 = 500;

/// The page behind a reviewer's link, and the answer to their press.
pub fn review(view: &Review) -> Markup {
    let (script, content) = match &view.state {
        ReviewState::Open { nonce, now_ms, stage_deadline_ms, may, .. } => {
            let answer = AnswerForm { nonce, now_ms: *now_ms, deadline_ms: *stage_deadline_ms };
            let approve = match may {
                May::Both => Some("Approve"),
                May::RejectOnly => None,
            };
            (Script::Review, answer.form(&sheet(view), approve, "Reject"))
        }
        ReviewState::Voted { nonce, now_ms, stage_deadline_ms, choice: Choice::Approve } => {
            let answer = AnswerForm { nonce, now_ms: *now_ms, deadline_ms: *stage_deadline_ms };
            (Script::Review, answer.form(&sheet(view), None, "Reject instead"))
        }
        ReviewState::Voted { choice: Choice::Reject, .. }
        | ReviewState::MovedOn { .. }
        | ReviewState::Ended { .. } => (Script::Review, sheet(view)),
    };
    page(&title(view), Some(&view.reviewer_name), script, &content)
}

fn title(view: &Review) -> String {
    let action = elided(&plain(&view.action), TITLE_ACTION_CHARS);
    let state = match &view.state {
        ReviewState::Open { may: May::Both, .. } => return format!("Approve {action}? – Placet"),
        ReviewState::Open { may: May::RejectOnly, .. } => return format!("Reject {action}? – Placet"),
        ReviewState::Voted { choice, .. } => you_chose(*choice),
        ReviewState::MovedOn { .. } => "Passed on",
        ReviewState::Ended { status, .. } => outcome(*status),
    };
    format!("{state}: {action} – Placet")
}

/// What an answer needs: the form around the sheet, and the buttons within a thumb's reach.
struct AnswerForm<'a> {
    nonce: &'a str,
    now_ms: i64,
    deadline_ms: i64,
}

impl AnswerForm<'_> {
    fn form(&self, sheet: &Markup, approve: Option<&str>, reject: &str) -> Markup {
        html! {
            form method="post" data-now=(self.now_ms) data-deadline=(self.deadline_ms) {
                input type="hidden" name="nonce" value=(self.nonce);
                (sheet)
                div.reason {
                    label for="reason" { "Reason " span.dim { "(optional; kept with the decision)" } }
                    textarea #reason name="reason" rows="2" maxlength=(REASON_CHARS) dir="auto" autocomplete="off" {}
                }
                div.bar role="group" aria-label="Your decision" {
                    p.clock { span { "Answer by " (moment_near(self.deadline_ms, self.now_ms)) } b #left {} }
                    p #said role="status" {}
                    div.buttons {
                        button.no name="decision" value="reject" { (Sign::Cross.draw()) (reject) }
                        @if let Some(approve) = approve {
                            button.yes name="decision" value="approve" { (Sign::Check.draw()) (approve) }
                        }
                    }
                }
            }
        }
    }
}

/// All there is to know about the request, what matters most first.
fn sheet(view: &Review) -> Markup {
    let is_open = matches!(view.state, ReviewState::Open { .. });
    let is_pending = is_open || matches!(view.state, ReviewState::Voted { .. });
    let mark_legend = hides_something(&view.payload.to_string()) || hides_something(&view.summary);
    html! {
        article.card {
            @if is_open {
                p.eyebrow { (line(&view.client)) (request_to(view)) }
                h1.action { (line(&view.action)) }
            } @else {
                (banner(view))
                p.eyebrow { (line(&view.client)) @if is_pending { " asks for" } @else { " asked for" } }
                h2.action { (line(&view.action)) }
            }
            (lead(view))
            (caution(view))
            section aria-labelledby="what" {
                h2 #what { @if is_pending { "What will be done" } @else { "What was asked" } }
                div.payload translate="no" { (rows(&view.payload)) }
                @if mark_legend {
                    p.hint { "Boxes such as " mark { "U+202E" } " stand for hidden characters that are in the text." }
                }
            }
            section.words aria-labelledby="words" {
                h2 #words { "In the agent’s own words" }
                p.hint { "Written by " (line(&view.client)) ". Not verified, and not part of what is approved." }
                blockquote { (passage(&view.summary, LineEnds::Theirs)) }
            }
            (votes(view))
            (flagging(&view.flagging))
            (about(view))
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

/// The gate's own summary, the same words as in the message that brought the reviewer here.
fn lead(view: &Review) -> Markup {
    let facts = facts(&view.action, &view.payload);
    html! {
        @if !facts.told.is_empty() {
            p.lead translate="no" {
                @for (index, fact) in facts.told.iter().enumerate() {
                    @if index > 0 { ", " }
                    span { bdi { (fact.name) } " " b { (stated(fact)) } }
                }
                @if facts.untold > 0 { span.dim { ", +" (facts.untold) " more" } }
            }
        }
    }
}

fn stated(fact: &Fact) -> Markup {
    html! { @if let Some(number) = &fact.number { (digits(number)) } @else { bdi { (fact.value) } } }
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
        ReviewState::Voted { choice, .. } => html! {
            (heading(sign_of_choice(*choice), class_of_choice(*choice), you_chose(*choice)))
            p.say role="status" { "Your vote is recorded. " (still_needed(view)) }
        },
        ReviewState::MovedOn { to } => html! {
            (heading(Sign::Clock, "banner still", "Passed on"))
            p.say role="status" {
                "Your time to answer has passed; others are asked now: " b { (line(to)) }
                ". You do not have to do anything."
            }
        },
        ReviewState::Ended { status, by, at_ms, reason, just_now, late } => html! {
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
            }
        },
    }
}

fn heading(sign: Sign, class: &str, words: &str) -> Markup {
    html! { h1 class=(class) { (sign.draw()) (words) } }
}

fn ending(view: &Review, status: Status, by: &[String], just_now: Option<Choice>) -> Markup {
    let client = line(&view.client);
    let by_whom = html! { @if !by.is_empty() { " by " (names(by)) } };
    match status {
        Status::Approved => html! {
            @if just_now.is_some() { "Your approval is recorded. " }
            "Approved" (by_whom) ". " (client) " may go ahead."
        },
        Status::Rejected => html! {
            @if just_now.is_some() { "Your rejection is recorded. " }
            "Rejected" (by_whom) ". " (client) " may not do this."
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
    let missing = view.approvals_needed.saturating_sub(approvals(view));
    html! {
        @match missing {
            0 => "It waits for the others.",
            1 => "It waits for one more approval.",
            _ => { "It waits for " (missing) " more approvals." }
        }
        " Until then you can still reject."
    }
}

fn approvals(view: &Review) -> u32 {
    let count = view.votes.iter().filter(|vote| vote.decision == Choice::Approve).count();
    u32::try_from(count).unwrap_or(u32::MAX)
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
    if view.votes.is_empty() && view.approvals_needed <= 1 {
        return html! {};
    }
    html! {
        section aria-labelledby="votes" {
            h2 #votes { "Votes" }
            p { (approvals(view)) " of " (view.approvals_needed) " approvals" }
            @if !view.votes.is_empty() { ul.votes { @for vote in &view.votes { (vote_line(vote)) } } }
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

fn about(view: &Review) -> Markup {
    let digest = &view.payload_sha256;
    html! {
        section aria-labelledby="about" {
            h2 #about { "About this request" }
            dl {
                div.row { dt { "Asked by" } dd { (line(&view.client)) } }
                div.row { dt { "Asked at" } dd { (exact_moment(view.created_at_ms)) } }
                @match &view.state {
                    ReviewState::Open { stage_deadline_ms, .. } | ReviewState::Voted { stage_deadline_ms, .. } => {
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
                        details { summary { "Payload as JSON (the text that is hashed)" } div.full translate="no" { (json(&view.payload)) } }
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
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn view(state: ReviewState) -> Review {
        Review {
            reviewer_name: "Bob".to_owned(),
            client: "n8n".to_owned(),
            action: "payment.send".to_owned(),
            summary: "Pay the October invoice".to_owned(),
            payload: json!({"amount": 5000, "currency": "EUR", "to": "acme@example.com"}),
            payload_sha256: "0123456789abcdef".repeat(4),
            request_id: "run-1".to_owned(),
            rule: "payments".to_owned(),
            created_at_ms: 1_795_430_000_000,
            approvals_needed: 2,
            votes: vec![],
            state,
            flagging: Flagging::No,
        }
    }

    fn open(may: May, notice: Option<&str>) -> ReviewState {
        ReviewState::Open {
            nonce: "n-1".to_owned(),
            now_ms: 1_795_430_000_000,
            stage_deadline_ms: 1_795_430_600_000,
            may,
            notice: notice.map(str::to_owned),
        }
    }

    fn ended(status: Status, late: Option<Choice>) -> ReviewState {
        ReviewState::Ended {
            status,
            by: vec!["Bob".to_owned(), "Carol".to_owned()],
            at_ms: 1_795_430_527_000,
            reason: Some("looks right".to_owned()),
            just_now: None,
            late,
        }
    }

    fn page(view: &Review) -> String {
        review(view).into_string()
    }

    #[test]
    fn an_open_request_has_one_form_with_its_nonce_and_both_buttons() {
        let page = page(&view(open(May::Both, None)));
        assert_eq!(page.matches("<form method=\"post\"").count(), 1);
        assert!(page.contains("<input type=\"hidden\" name=\"nonce\" value=\"n-1\">"));
        assert!(
            page.contains("name=\"decision\" value=\"approve\"")
                && page.contains("name=\"decision\" value=\"reject\"")
        );
        assert!(page.contains("maxlength=\"500\""));
        assert!(page.contains("<time datetime=\"2026-11-23T10:43:20Z\">10:43 UTC</time>"));
        assert!(page.contains("<span><bdi>amount</bdi> <b><span class=\"num\">5000</span></b></span>"));
        assert!(page.contains("0 of 2 approvals"));
    }

    #[test]
    fn the_owner_of_the_client_can_only_reject_and_is_told_why() {
        let page = page(&view(open(May::RejectOnly, None)));
        assert!(!page.contains("value=\"approve\"") && page.contains("value=\"reject\""));
        assert!(page.contains("so somebody else has to approve"));
        assert!(page.contains("<title>Reject payment.send? – Placet</title>"));
        assert!(
            page.contains("</bdi> asks for approval. You can only reject this</p>")
                && !page.contains("your approval")
        );
    }

    #[test]
    fn a_press_that_was_not_recorded_is_explained() {
        let page = page(&view(open(May::Both, Some("This page was out of date."))));
        assert!(page.contains("<p class=\"notice\" role=\"alert\">This page was out of date.</p>"));
    }

    #[test]
    fn who_has_approved_may_still_reject_but_not_approve_again() {
        let mut view = view(ReviewState::Voted {
            nonce: "n-2".to_owned(),
            now_ms: 0,
            stage_deadline_ms: 1000,
            choice: Choice::Approve,
        });
        view.votes = vec![VoteLine {
            name: "Bob".to_owned(),
            decision: Choice::Approve,
            at_ms: 0,
            reason: None,
            is_reader: Reader::Self_,
        }];
        let page = page(&view);
        assert!(page.contains("It waits for one more approval.") && page.contains("1 of 2 approvals"));
        assert!(
            !page.contains("value=\"approve\"")
                && page.contains("value=\"reject\"")
                && page.contains("value=\"n-2\"")
        );
    }

    #[test]
    fn after_the_end_nothing_can_be_pressed_and_the_record_is_plain() {
        for (status, expected) in [
            (
                Status::Approved,
                "Approved by <b><bdi>Bob</bdi></b> and <b><bdi>Carol</bdi></b>. <bdi>n8n</bdi> may go ahead.",
            ),
            (
                Status::Rejected,
                "Rejected by <b><bdi>Bob</bdi></b> and <b><bdi>Carol</bdi></b>. <bdi>n8n</bdi> may not do this.",
            ),
            (
                Status::Expired,
                "Nobody decided in time, so it was not approved. <bdi>n8n</bdi> may not do this.",
            ),
            (Status::Cancelled, "before it was decided. Nothing was approved."),
        ] {
            let page = page(&view(ended(status, None)));
            assert!(page.contains(expected), "{expected}");
            assert!(page.contains(">23 Nov 2026, 10:42 UTC</time>") && page.contains("looks right"));
            assert!(page.contains("<dt>Ended at</dt><dd><time class=\"utc\""));
            assert!(!page.contains("<button") && !page.contains("<form"));
        }
    }

    #[test]
    fn an_approval_can_be_called_a_mistake_once() {
        let mut view = view(ended(Status::Approved, None));
        view.flagging = Flagging::Possible { nonce: "n-3".to_owned() };
        let offered = page(&view);
        assert!(offered.contains("name=\"flag\" value=\"mistake\"") && offered.contains("value=\"n-3\""));
        view.flagging = Flagging::Flagged;
        let said = page(&view);
        assert!(said.contains("Somebody marked this approval as a mistake.") && !said.contains("<form"));
    }

    #[test]
    fn a_late_press_is_told_kindly_that_it_did_not_count() {
        let page = page(&view(ended(Status::Rejected, Some(Choice::Approve))));
        assert!(page.contains("You pressed <b>Approve</b>, but this request had already ended."));
    }

    #[test]
    fn who_is_no_longer_asked_is_told_who_is() {
        let page = page(&view(ReviewState::MovedOn { to: "owners".to_owned() }));
        assert!(page.contains("others are asked now: <b><bdi>owners</bdi></b>"));
        assert!(!page.contains("<button"));
    }

    #[test]
    fn untrusted_text_stays_text_wherever_it_stands() {
        let evil = "\"'><script>alert(1)</script><a href=https://evil.example>x</a>\u{202e}";
        let reason = || Some(evil.to_owned());
        for state in [
            open(May::RejectOnly, None),
            ReviewState::MovedOn { to: evil.to_owned() },
            ReviewState::Ended {
                status: Status::Rejected,
                by: vec![evil.to_owned()],
                at_ms: 0,
                reason: reason(),
                just_now: None,
                late: None,
            },
        ] {
            let mut view = view(state);
            for field in
                [&mut view.client, &mut view.action, &mut view.summary, &mut view.request_id, &mut view.rule]
            {
                evil.clone_into(field);
            }
            evil.clone_into(&mut view.reviewer_name);
            view.payload = json!({evil: evil, "url": "https://evil.example"});
            view.votes = vec![VoteLine {
                name: evil.to_owned(),
                decision: Choice::Reject,
                at_ms: 0,
                reason: reason(),
                is_reader: Reader::Other,
            }];
            let page = page(&view);
            assert!(!page.contains("<script>alert") && !page.contains("<a ") && !page.contains("</a>"));
            assert!(!page.contains('\u{202e}'));
            let links: Vec<_> =
                page.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
            assert!(links.iter().all(|link| link.starts_with("data:image/svg+xml,")), "{links:?}");
        }
    }

    #[test]
    fn an_ordinary_page_stays_under_15_kilobytes() {
        let page = page(&view(open(May::Both, None)));
        assert!(page.len() < 15_000, "{}", page.len());
    }

    #[test]
    fn odd_payloads_have_a_page() {
        for payload in [json!({}), Value::Null, json!([1]), json!("x")] {
            let mut view = view(open(May::Both, None));
            view.payload = payload;
            assert!(page(&view).ends_with("</html>"));
        }
    }
}
