use super::*;
use placet_core::words::Title;
use serde_json::json;

use placet_core::Timestamp;
use placet_gate::{Difference, Novelty, Since};

use super::super::Wants;

fn payment() -> Value {
    json!({"amount": 5000, "currency": "EUR", "to": "acme@example.com", "reference": "INV-7"})
}

fn view(state: ReviewState) -> Review {
    Review {
        reviewer_name: "Bob".to_owned(),
        client: "n8n".to_owned(),
        action: "payment.send".to_owned(),
        title: Title::of(None, "payment.send", &payment()),
        summary: "Pay the October invoice".to_owned(),
        payload: payment(),
        payload_sha256: "0123456789abcdef".repeat(4),
        request_id: "run-1".to_owned(),
        rule: "payments".to_owned(),
        created_at_ms: 1_795_430_000_000,
        approvals_needed: 2,
        approvals: 0,
        hides_secrets: false,
        wants: Wants::default(),
        changes: vec![],
        novelty: Novelty::default(),
        paused: None,
        votes: vec![],
        state,
        nudged: false,
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

#[test]
fn what_is_new_is_said_above_the_facts_and_only_while_it_can_be_decided() {
    let page = |novelty: Novelty, state| review(&Review { novelty, ..view(state) }).into_string();
    assert!(!page(Novelty::default(), open(May::Both, None)).contains("What is new"));
    let new = || Novelty {
        first: Some(First::Ever),
        recipient: Some("<b>ACME</b>\u{202e}".to_owned()),
        nth: Some(4),
        since: Some(Since {
            approved_at: Timestamp::from_millis(1_795_422_800_000),
            fields: vec![
                Difference {
                    key: "amount".into(),
                    from: Some("4,000.00 EUR".into()),
                    to: Some("5,000.00 EUR".into()),
                },
                Difference { key: "note".into(), from: None, to: Some("<i>".into()) },
            ],
            more: 2,
        }),
    };
    let shown = page(new(), open(May::Both, None));
    for words in [
        "<b>4th ask in 10 minutes</b> by <bdi>n8n</bdi>.",
        "<b>First time: </b>nothing of this kind was approved for <bdi>n8n</bdi> lately.",
        "nothing approved lately went to <b><bdi>&lt;b&gt;ACME&lt;/b&gt;<mark>U+202E</mark></bdi></b>.",
        "Since the last approved one, 2 h ago:",
        "<del><bdi>4,000.00 EUR</bdi></del> → <ins><bdi>5,000.00 EUR</bdi></ins>",
        "<del>(nothing)</del> → <ins><bdi>&lt;i&gt;</bdi></ins>",
        "<li>and 2 more</li>",
    ] {
        assert!(shown.contains(words), "{words}\n{shown}");
    }
    let many = Novelty { first: Some(First::Lately), nth: Some(51), ..Novelty::default() };
    let shown = page(many, open(May::Both, None));
    assert!(shown.contains("<b>More than 50 asks in 10 minutes</b>") && !shown.contains("First time"));
    assert!(shown.contains("Of the last 50 requests of <bdi>n8n</bdi>, none of this kind was approved."));
    assert!(!page(new(), ended(Status::Approved, None)).contains("What is new"));
    let same = Novelty {
        since: Some(Since {
            approved_at: Timestamp::from_millis(1_795_429_700_000),
            fields: vec![],
            more: 0,
        }),
        ..Novelty::default()
    };
    assert!(page(same, open(May::Both, None)).contains("The same as the one that was approved 5 min ago."));
}

#[test]
fn who_asks_often_can_be_paused_with_the_rejection_and_is_shown_as_paused() {
    let mut view = view(open(May::Both, None));
    let offer = "name=\"decision\" value=\"reject\" formaction=\"?pause\"><span>Reject, and pause <bdi>n8n</bdi> for an hour</span>";
    assert!(!page(&view).contains("?pause"));
    view.novelty.nth = Some(4);
    assert!(page(&view).contains(offer), "{}", page(&view));
    let pause = |is_own| super::super::Paused { by: "Carol".to_owned(), is_own, until_ms: 1_795_433_600_000 };
    view.paused = Some(pause(false));
    let shown = page(&view);
    assert!(!shown.contains("?pause"), "it is paused already");
    assert!(
        shown.contains("</bdi> is paused</b> until ") && shown.contains("by <bdi>Carol</bdi>: nothing new")
    );
    view.state = ended(Status::Rejected, None);
    view.paused = Some(pause(true));
    assert!(page(&view).contains(" by you: nothing new is taken from it. Your inbox can lift that."));
}

#[test]
fn ordinals_end_as_they_are_said() {
    let words: Vec<String> = [1, 2, 3, 4, 11, 12, 13, 21, 22, 51].map(ordinal).to_vec();
    assert_eq!(words.join(" "), "1st 2nd 3rd 4th 11th 12th 13th 21st 22nd 51st");
}

fn ended(status: Status, late: Option<Choice>) -> ReviewState {
    ReviewState::Ended {
        status,
        by: vec!["Bob".to_owned(), "Carol".to_owned()],
        at_ms: 1_795_430_527_000,
        reason: Some("looks right".to_owned()),
        just_now: None,
        late,
        next: None,
    }
}

fn page(view: &Review) -> String {
    review(view).into_string()
}

#[test]
fn an_open_request_has_a_button_for_each_answer_and_every_form_has_its_nonce() {
    let page = page(&view(open(May::Both, None)));
    assert_eq!(page.matches("method=\"post\"").count(), 1);
    assert_eq!(page.matches("<input type=\"hidden\" name=\"nonce\" value=\"n-1\">").count(), 1);
    assert!(
        page.contains("<button class=\"yes\" name=\"decision\" value=\"approve\">")
            && page.contains("<button class=\"no\" name=\"decision\" value=\"reject\">")
            && page.contains(
                "<label class=\"chip\"><input type=\"radio\" name=\"because\" value=\"Wrong amount\">Wrong amount</label>"
            )
            && page
                .contains("<button class=\"quiet\" formaction=\"?later\">Not now</button>")
    );
    assert!(page.contains("maxlength=\"500\""));
    assert!(page.contains("<time datetime=\"2026-11-23T10:43:20Z\">10:43 UTC</time>"));
    assert!(page.contains(
        "<h1 class=\"title\" translate=\"no\">Pay <b class=\"atom\"><bdi>5,000.00 EUR</bdi></b> to \
         <b class=\"atom\"><bdi>acme@example.com</bdi></b></h1>"
    ));
    assert!(page.contains("<dt>Reference</dt><dd><bdi class=\"v\">INV-7</bdi></dd>"));
    assert!(page.contains("0 of 2 approvals"));
}

#[test]
fn the_owner_of_the_client_can_only_reject_and_is_told_why() {
    let page = page(&view(open(May::RejectOnly, None)));
    assert!(!page.contains("value=\"approve\"") && page.contains("value=\"reject\""));
    assert!(page.contains("so somebody else has to approve"));
    assert!(page.contains("<title>Reject? Pay 5,000.00 EUR to acme@example.com – Placet</title>"));
    assert!(
        page.contains("</bdi> asks for approval. You can only reject this<span")
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
        next: None,
    });
    view.approvals = 1;
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
            && page.contains("Reject instead")
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
        (Status::Expired, "Nobody decided in time, so it was not approved. <bdi>n8n</bdi> may not do this."),
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
            next: None,
        },
    ] {
        let mut view = view(state);
        view.title = Title::of(None, evil, &json!({evil: evil, "to": evil}));
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
fn an_ordinary_page_stays_under_20_kilobytes() {
    let page = page(&view(open(May::Both, None)));
    assert!(page.len() < 20_000, "{}", page.len());
}

#[test]
fn odd_payloads_have_a_page() {
    for payload in [json!({}), Value::Null, json!([1]), json!("x")] {
        let mut view = view(open(May::Both, None));
        view.payload = payload;
        assert!(page(&view).ends_with("</html>"));
    }
}
