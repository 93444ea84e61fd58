//! The page of `placet demo`: what a chat shows and what a phone shows, side by side. No gate but a demo's serves it.
//!
//! The chat draws the blocks that the gate sent (Slack's Block Kit), as far as the gate uses them.

use std::sync::LazyLock;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;

use super::layout::{packed, source_hash};

static STYLE: LazyLock<String> = LazyLock::new(|| packed(include_str!("demo.css")));
static CHAT_STYLE: LazyLock<String> = LazyLock::new(|| packed(include_str!("demo-chat.css")));
static SCRIPT: LazyLock<String> = LazyLock::new(|| packed(include_str!("demo.js")));

static POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; style-src {}; script-src {}; connect-src 'self'; frame-src 'self'; form-action 'none'; \
         frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        source_hash(&STYLE),
        source_hash(&SCRIPT)
    )
});
static CHAT_POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; style-src {}; script-src 'none'; form-action 'self'; frame-ancestors 'self'; base-uri 'none'",
        source_hash(&CHAT_STYLE)
    )
});

/// The `Content-Security-Policy` of the page with both.
pub fn demo_content_security_policy() -> &'static str {
    &POLICY
}

/// The `Content-Security-Policy` of the chat alone.
pub fn demo_chat_content_security_policy() -> &'static str {
    &CHAT_POLICY
}

/// The page with both: the chat at that path, and the phone's page at that one. `version` is what the chat shows now; the
/// page asks its own path with `/version` for a newer one.
pub fn demo(chat: &str, phone: &str, version: &str) -> Markup {
    document(
        "Placet demo",
        &STYLE,
        &html! {
            header {
                h1 { "One request, in a chat and on a phone" }
                p { "Decide in either: the other one follows. The first decision counts, and it is signed." }
            }
            main data-version=(version) {
                section aria-labelledby="chat-title" {
                    h2 #chat-title { "In Bob’s chat" }
                    iframe.chat src=(chat) title="Bob’s chat" {}
                }
                section aria-labelledby="phone-title" {
                    h2 #phone-title { "On Bob’s phone" }
                    iframe.phone src=(phone) title="Bob’s phone" {}
                }
            }
            script { (PreEscaped(SCRIPT.as_str())) }
        },
    )
}

/// The chat, with the message of those blocks; its buttons post to its own path.
pub fn demo_chat(blocks: Option<&Value>) -> Markup {
    let blocks = blocks.and_then(Value::as_array);
    document(
        "Bob’s chat",
        &CHAT_STYLE,
        &html! {
            main {
                h1 { "Placet " span.tag { "App" } }
                @match blocks {
                    None => p.quiet { "The message is on its way." },
                    Some(blocks) => form method="post" {
                        @for one in blocks { (block(one)) }
                    },
                }
            }
        },
    )
}

/// Whether a message of those blocks has a button that decides.
pub fn is_decidable(blocks: &Value) -> bool {
    let blocks = blocks.as_array().into_iter().flatten();
    let mut elements =
        blocks.filter_map(|block| block.get("elements")?.as_array()).flatten().filter(|one| is_press(one));
    elements.next().is_some()
}

fn is_press(element: &Value) -> bool {
    element.get("type").and_then(Value::as_str) == Some("button") && element.get("url").is_none()
}

fn document(title: &str, style: &str, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { (title) }
                meta name="viewport" content="width=device-width,initial-scale=1";
                meta name="robots" content="noindex,nofollow";
                meta name="referrer" content="no-referrer";
                meta name="color-scheme" content="light dark";
                style { (PreEscaped(style)) }
            }
            body { (content) }
        }
    }
}

fn block(block: &Value) -> Markup {
    let elements = block.get("elements").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    match block.get("type").and_then(Value::as_str) {
        Some("header") => html! { h2 { (text(block.get("text"))) } },
        Some("section") => html! { p { (text(block.get("text"))) } },
        Some("context") => html! { @for one in elements { p.quiet { (text(Some(one))) } } },
        Some("input") => html! {
            label { (text(block.get("label"))) " " span.quiet { "(optional)" } input type="text" name="reason" maxlength="500" autocomplete="off"; }
        },
        Some("actions") => html! { div.buttons { @for one in elements { (button(one)) } } },
        _ => html! {},
    }
}

fn button(element: &Value) -> Markup {
    let field = |name: &str| element.get(name).and_then(Value::as_str).unwrap_or_default();
    if !is_press(element) {
        // Beside this chat the page is open already.
        return html! { span.opened { (text(element.get("text"))) " →" } };
    }
    html! {
        button .(field("style")) name="action" value=(field("action_id")) { (text(element.get("text"))) }
    }
}

/// What a text object reads as. The gate's only markup is a date, which is shown by its own words for it.
fn text(object: Option<&Value>) -> String {
    let field = |name: &str| object.and_then(|object| object.get(name)?.as_str()).unwrap_or_default();
    let text = field("text");
    if field("type") != "mrkdwn" {
        return text.to_owned();
    }
    let shown = match text.split_once("<!date^") {
        None => text.to_owned(),
        Some((before, rest)) => {
            let (date, after) = rest.split_once('>').unwrap_or((rest, ""));
            let words = date.rsplit_once('|').map_or(date, |(_, words)| words);
            format!("{before}{words}{after}")
        }
    };
    shown.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn blocks() -> Value {
        json!([
            { "type": "header", "text": { "type": "plain_text", "text": "Send <5,000> EUR" } },
            { "type": "section", "text": { "type": "plain_text", "text": "to: ACME" } },
            { "type": "context", "elements": [
                { "type": "mrkdwn", "text": "Please answer by <!date^1^{time}|10:42 &amp; UTC>." },
            ] },
            { "type": "input", "label": { "type": "plain_text", "text": "Reason" } },
            { "type": "actions", "elements": [
                { "type": "button", "action_id": "placet.approve", "style": "primary",
                  "text": { "type": "plain_text", "text": "Approve" }, "value": "secret" },
                { "type": "button", "action_id": "placet.open", "url": "https://gate.example.com/r/x",
                  "text": { "type": "plain_text", "text": "Open the page" } },
            ] },
        ])
    }

    #[test]
    fn the_chat_draws_the_blocks_and_says_nothing_of_links_and_values() {
        let page = demo_chat(Some(&blocks())).into_string();
        for words in [
            "<h2>Send &lt;5,000&gt; EUR</h2>",
            "<p>to: ACME</p>",
            "Please answer by 10:42 &amp; UTC.",
            "name=\"reason\"",
            "<button class=\"primary\" name=\"action\" value=\"placet.approve\">Approve</button>",
            "Open the page →",
        ] {
            assert!(page.contains(words), "{words}\n{page}");
        }
        assert!(!page.contains("secret") && !page.contains("/r/x") && !page.contains("<script"));
        assert!(demo_chat(None).into_string().contains("on its way"));
    }

    #[test]
    fn a_message_without_a_pressing_button_decides_nothing() {
        assert!(is_decidable(&blocks()));
        let mut ended = blocks();
        ended.as_array_mut().unwrap().truncate(4);
        assert!(!is_decidable(&ended));
        assert!(!is_decidable(&json!(null)));
    }

    #[test]
    fn the_policies_name_the_bytes_that_the_pages_carry() {
        let between = |page: &str, open: &str, close: &str| {
            page.split_once(open).unwrap().1.split_once(close).unwrap().0.to_owned()
        };
        let page = demo("/demo/k/chat", "/r/x", "1").into_string();
        for (tag, directive) in [("style", "style-src"), ("script", "script-src")] {
            let source = between(&page, &format!("<{tag}>"), &format!("</{tag}>"));
            assert!(
                demo_content_security_policy().contains(&format!("{directive} {};", source_hash(&source)))
            );
        }
        let chat = demo_chat(None).into_string();
        let style = between(&chat, "<style>", "</style>");
        assert!(demo_chat_content_security_policy().contains(&format!("style-src {};", source_hash(&style))));
        for policy in [demo_content_security_policy(), demo_chat_content_security_policy()] {
            assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"));
        }
    }
}
