//! The inbox: everything that waits for one reviewer, kept fresh by a small script.

use super::layout::{Script, moment_near, page, span};
use super::text::{line, titled};
use super::{Choice, Inbox, InboxItem};
use maud::{Markup, html};

/// Everything waiting for one reviewer, live.
pub fn inbox(view: &Inbox) -> Markup {
    let waiting = view.items.iter().filter(|item| item.voted.is_none()).count();
    let count = match waiting {
        0 => "Nothing waits for you.".to_owned(),
        1 => "1 request waits for you.".to_owned(),
        _ => format!("{waiting} requests wait for you."),
    };
    let title = match waiting {
        0 => "Inbox – Placet".to_owned(),
        _ => format!("({waiting}) Inbox – Placet"),
    };
    let content = html! {
        h1 { "Your inbox" }
        p #count role="status" { (count) }
        ul #list.inbox { @for item in &view.items { (entry(item, view.now_ms)) } }
        @if view.more > 0 {
            p.hint { "And " (view.more) " more, with later deadlines: they appear here as you decide." }
        }
        p #trouble.notice role="alert" hidden { "Connection lost. Trying again; this list may be out of date." }
        p.hint { "New requests appear here by themselves." }
    };
    page(&title, Some(&view.reviewer_name), Script::Inbox, &content)
}

fn entry(item: &InboxItem, now_ms: i64) -> Markup {
    html! {
        li {
            a.card href=(item.url) {
                span.eyebrow { (line(&item.client)) " asks: " (line(&item.action)) }
                strong.title translate="no" { (titled(&item.title)) }
                span.when {
                    @match item.voted {
                        Some(Choice::Approve) => "You approved; it waits for others. ",
                        Some(Choice::Reject) => "You rejected. ",
                        None => {}
                    }
                    "Answer by " (moment_near(item.stage_deadline_ms, now_ms))
                    " (" (span(item.stage_deadline_ms.saturating_sub(now_ms))) " left), asked "
                    (span(now_ms.saturating_sub(item.created_at_ms))) " ago"
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use placet_core::words::Title;
    use serde_json::json;

    use super::*;

    fn item(voted: Option<Choice>) -> InboxItem {
        InboxItem {
            client: "n8n".to_owned(),
            action: "payment.send".to_owned(),
            title: Title::of(None, "payment.send", &json!({"amount": 5, "to": "<b>\u{202e}"})),
            url: "/r/abc".to_owned(),
            created_at_ms: 1_795_430_000_000,
            stage_deadline_ms: 1_795_430_600_000,
            voted,
        }
    }

    fn html(items: Vec<InboxItem>) -> String {
        inbox(&Inbox { reviewer_name: "Bob".to_owned(), now_ms: 1_795_430_060_000, items, more: 0 })
            .into_string()
    }

    #[test]
    fn what_waits_is_listed_with_its_own_link() {
        let page = html(vec![item(None), item(Some(Choice::Approve))]);
        assert!(
            page.contains("1 request waits for you.") && page.contains("<title>(1) Inbox – Placet</title>")
        );
        assert_eq!(page.matches("<a class=\"card\" href=\"/r/abc\">").count(), 2);
        assert!(page.contains("Pay <b class=\"atom\"><bdi>5</bdi></b> to <b class=\"atom\"><bdi>&lt;b&gt;&lt;U+202E&gt;</bdi></b>"), "{page}");
        assert!(
            page.contains("(9 min left), asked 1 min ago")
                && page.contains("You approved; it waits for others.")
        );
    }

    #[test]
    fn an_empty_inbox_says_so_and_refreshes_without_javascript_too() {
        let page = html(vec![]);
        assert!(page.contains("Nothing waits for you.") && page.contains("<title>Inbox – Placet</title>"));
        assert!(page.contains("<noscript><meta http-equiv=\"refresh\" content=\"10\"></noscript>"));
    }
}
