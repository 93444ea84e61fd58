use placet_core::words::Title;
use placet_gate::Novelty;
use serde_json::json;

use super::*;

fn request(id: &str, payload: Value) -> InboxRequest {
    InboxRequest {
        id: id.to_owned(),
        version: 1,
        client: "n8n".to_owned(),
        request_id: format!("run-{id}"),
        action: "payment.send".to_owned(),
        summary: "pay <b>it</b>".to_owned(),
        title: Title::of(None, "payment.send", &payload),
        headline: Title::of(None, "payment.send", &payload).on_page(),
        needs_page: false,
        payload,
        urgent: false,
        link: format!("link{id}"),
        nonce: "1-2".to_owned(),
        url: format!("/gate/r/link{id}"),
        created_at_ms: 1_795_430_000_000,
        stage_deadline_ms: 1_795_430_600_000,
        approvals_needed: 2,
        approvals: 1,
        may: May::Both,
        voted: None,
        novelty: Novelty::default(),
    }
}

fn group(all: Vec<InboxRequest>) -> InboxGroup {
    InboxGroup { first: all[0].clone(), all }
}

fn view(groups: Vec<InboxGroup>) -> Inbox {
    Inbox {
        reviewer_name: "Bob".to_owned(),
        now_ms: 1_795_430_060_000,
        waiting: groups.iter().map(|group| group.all.len()).sum(),
        groups,
        more: 0,
        lately: vec![],
        said: vec![],
        notice: None,
        away: super::super::Away {
            backups: vec![("carol".to_owned(), "Carol".to_owned())],
            ..Default::default()
        },
        paused: vec![],
        nonce: "7-f".to_owned(),
        version: "v1".to_owned(),
        action: "/gate/inbox/abc".to_owned(),
        events: None,
        manifest: "/gate/inbox/abc/app.webmanifest".to_owned(),
        prefix: "/gate".to_owned(),
        push: None,
        nudged: false,
    }
}

fn html(view: &Inbox) -> String {
    inbox(view).into_string()
}

#[test]
fn a_row_says_what_who_and_until_when_and_is_a_form() {
    let page = html(&view(vec![group(vec![request("A", json!({"amount": 5, "to": "<b>\u{202e}"}))])]));
    assert!(page.contains("1 request waits for you.") && page.contains("<title>(1) Inbox – Placet</title>"));
    assert!(
        page.contains("Pay <b class=\"atom\"><bdi>5</bdi></b> to ")
            && page.contains("&lt;b&gt;&lt;U+202E&gt;")
            && page.contains("<mark>U+202E</mark>")
    );
    assert!(page.contains("9 min left</b> (by ") && page.contains("asked 1 min ago, 1 of 2 approvals"));
    assert!(page.contains("<form class=\"decide\" id=\"f-A\" method=\"post\" action=\"/gate/inbox/abc\">"));
    assert!(page.contains("<input type=\"hidden\" name=\"row\" value=\"linkA~1-2\">"));
    assert!(page.contains("href=\"/gate/r/linkA\"") && page.contains("data-worker=\"/gate/sw.js\""));
    assert!(!page.contains("<b>it</b>"));
}

#[test]
fn an_empty_inbox_says_so_and_refreshes_without_javascript_too() {
    let page = html(&view(vec![]));
    assert!(page.contains("Nothing waits for you.") && page.contains("<title>Inbox – Placet</title>"));
    assert!(page.contains("<noscript><meta http-equiv=\"refresh\" content=\"30\"></noscript>"));
}

#[test]
fn buttons_stand_beside_a_line_only_if_it_says_everything() {
    let place = |payload: Value| {
        let page = html(&view(vec![group(vec![request("A", payload)])]));
        let list = page.split("<ul class=\"inbox\"").nth(1).unwrap_or_default();
        match (list.find("name=\"decision\""), list.find("<details class=\"more\"")) {
            (Some(form), Some(details)) if form < details => "beside",
            (Some(_), Some(_)) => "within",
            (None, _) => "nowhere",
            (Some(_), None) => "alone",
        }
    };
    assert_eq!(place(json!({"amount": 5, "currency": "EUR", "to": "ACME GmbH"})), "beside");
    assert_eq!(place(json!({"amount": 5, "to": "x".repeat(60)})), "within");
    assert_eq!(place(json!({"amount": 5, "lines": [1, 2, 3]})), "within");
    assert_eq!(place(json!({"a".repeat(30): 5})), "within");
    let many: serde_json::Map<_, _> = (0..30).map(|n| (format!("field{n}"), json!(n))).collect();
    assert_eq!(place(Value::Object(many)), "within");
    assert_eq!(place(json!({"note": "x".repeat(3000)})), "nowhere");
}

#[test]
fn who_is_away_reads_it_first_and_can_come_back() {
    let mut view = view(vec![]);
    let page = html(&view);
    assert!(!page.contains("You are away") && page.contains("<option value=\"carol\">Carol</option>"));
    assert!(page.contains("action=\"/gate/inbox/abc/away\""));
    view.away.until_ms = Some(view.now_ms + 3_600_000);
    view.away.instead = Some("Carol".to_owned());
    let page = html(&view);
    assert!(page.contains("<b>You are away</b> until ") && page.contains("</b> is asked instead"));
    assert!(page.contains("name=\"hours\" value=\"0\">I am back"));
}

#[test]
fn push_is_there_only_for_whom_there_is_push_and_hidden_until_the_script_shows_it() {
    let mut view = view(vec![]);
    assert!(!html(&view).contains("id=\"push\""));
    view.push = Some(super::super::Push { key: "BKEY".to_owned(), devices: vec!["a1".into(), "b2".into()] });
    let page = html(&view);
    assert!(page.contains(
        "<div class=\"part\" id=\"push\" hidden data-key=\"BKEY\" data-devices=\"a1 b2\" data-nonce=\"7-f\" \
         data-action=\"/gate/inbox/abc/push\">"
    ));
}

#[test]
fn what_asks_the_same_is_one_row_and_asked_once_more() {
    let all = vec![request("A", json!({"amount": 5})), request("B", json!({"amount": 5}))];
    let view = view(vec![group(all.clone())]);
    let page = html(&view);
    assert!(page.contains("2 times the same") && page.contains("Approve all 2…"));
    assert_eq!(page.matches("class=\"card row-of\"").count(), 1);
    assert_eq!(page.matches("name=\"row\"").count(), 2);
    assert!(!page.contains("name=\"confirmed\""));
    let question =
        confirm_together(&view, &group(all.clone()), Choice::Reject, Goes::Alone, Some("no")).into_string();
    assert!(question.contains("Reject 2 requests that ask the same?"));
    assert!(question.contains("name=\"confirmed\" value=\"yes\"") && question.contains("run-B"));
    assert!(question.contains("name=\"reason\" value=\"no\"") && !question.contains("?pause"));
    let paused = confirm_together(&view, &group(all), Choice::Reject, Goes::WithPause, None).into_string();
    assert!(paused.contains("action=\"/gate/inbox/abc?pause\"") && paused.contains("is paused for an hour"));
}

#[test]
fn what_is_new_is_in_the_row_and_who_asks_often_can_be_paused_there() {
    let mut own = request("A", json!({"amount": 5, "to": "ACME"}));
    let row = |request: &InboxRequest| html(&view(vec![group(vec![request.clone()])]));
    assert!(!row(&own).contains("class=\"new\"") && !row(&own).contains("?pause"));
    own.novelty = Novelty { recipient: Some("<b>\u{202e}".into()), nth: Some(4), ..Novelty::default() };
    let page = row(&own);
    assert!(page.contains(
        "<p class=\"new\"><b>4th ask in 10 minutes</b> · New: nothing approved lately went to \
         <bdi>&lt;b&gt;<mark>U+202E</mark></bdi></p>"
    ));
    assert!(page.contains(
        "<button class=\"no\" form=\"f-A\" name=\"decision\" value=\"reject\" formaction=\"/gate/inbox/abc?pause\"><span>Reject, and pause <bdi>n8n</bdi></span></button>"
    ));
    own.novelty = Novelty { first: Some(First::Ever), ..Novelty::default() };
    assert!(row(&own).contains("<p class=\"new\">First time</p>") && !row(&own).contains("?pause"));
    own.voted = Some(Choice::Approve);
    assert!(!row(&own).contains("class=\"new\""));
}

#[test]
fn a_paused_client_is_said_and_lifted_by_who_paused_it() {
    let mut view = view(vec![]);
    let pause = |is_own| super::super::Paused { by: "Carol".to_owned(), is_own, until_ms: 1_795_433_600_000 };
    let client = |pause| super::super::PausedClient { id: "n8n".into(), name: "Invoices".into(), pause };
    view.paused = vec![client(pause(true))];
    let page = html(&view);
    assert!(
        page.contains("<bdi>Invoices</bdi> is paused</b> until ") && page.contains(" by you: nothing new")
    );
    assert!(page.contains("action=\"/gate/inbox/abc/resume\"") && page.contains("Lift the pause"));
    assert!(page.contains("name=\"client\" value=\"n8n\""));
    view.paused = vec![client(pause(false))];
    let page = html(&view);
    assert!(page.contains(" by <bdi>Carol</bdi>: nothing new") && !page.contains("Lift the pause"));
}
