//! The texts that people get. All words about a payload come from `core::words`.

use placet_core::Timestamp;
use placet_core::policy::Reviewer;
use placet_core::request::{ApprovalRequest, RequestState, Standing};
use placet_core::words::{self, Letter, LetterFacts, May, Zone};

/// Who is told what.
pub(crate) struct Message<'a> {
    pub(crate) asked: &'a ApprovalRequest,
    pub(crate) state: &'a RequestState,
    pub(crate) stage: usize,
    pub(crate) reviewer: &'a Reviewer,
    pub(crate) standing: Standing,
    pub(crate) client_name: &'a str,
    pub(crate) url: &'a str,
    pub(crate) now: Timestamp,
}

/// What the subject of a reminder begins with.
pub const REMINDER: &str = "Reminder: ";

/// The words of a reminder: those of the letter, and that it is one.
pub(crate) fn reminder(letter: &Letter) -> Letter {
    let reminded = "Reminder: this still waits for you.";
    Letter {
        subject: format!("{REMINDER}{}", letter.subject),
        text: format!("{reminded}\n\n{}", letter.text),
        html: reminded_html(&letter.html, reminded),
    }
}

/// The page with that line at its beginning: some programs show only the page.
fn reminded_html(html: &str, line: &str) -> String {
    let parts = html.split_once("<body").and_then(|(head, rest)| Some((head, rest.split_once('>')?)));
    match parts {
        Some((head, (attributes, body))) => format!(
            "{head}<body{attributes}>\n<p style=\"max-width:600px;margin:0 auto 16px\"><b>{line}</b></p>{body}"
        ),
        None => html.to_owned(),
    }
}

/// The words of a digest: how many requests wait, and the link of the inbox.
pub(crate) fn digest(reviewer: &Reviewer, count: usize, url: &str) -> Letter {
    let subject = match count {
        1 => "1 request waits for you".to_owned(),
        count => format!("{count} requests wait for you"),
    };
    let name = words::text::plain(&reviewer.name);
    let text = format!(
        "Hello {name},\n\n{subject}. More were asked in one minute than you should get messages for, so this is one \
         for all of them. Your inbox shows them by deadline:\n{url}\n\n\
         This link is for you only. Please do not forward it. Opening it does not decide anything.\n"
    );
    let html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{subject}</title></head>\n\
         <body style=\"margin:0;padding:24px 12px;font:16px/1.5 system-ui,sans-serif\">\n<p>{subject}.</p>\n\
         <p><a href=\"{url}\">Open the inbox</a></p>\n\
         <p>This link is for you only. Please do not forward it. Opening it does not decide anything.</p>\n\
         </body></html>\n"
    );
    Letter { subject, text, html }
}

/// The words of a notification, for that channel.
pub(crate) fn letter(message: &Message<'_>, channel: &str) -> Letter {
    let Message { asked, state, stage, reviewer, standing, client_name, url, now } = message;
    let payload = asked.shown(state.payload(asked));
    let facts = LetterFacts {
        reviewer: &reviewer.name,
        may: match standing {
            Standing::Decide | Standing::Nothing => May::Decide,
            Standing::RejectOnly => May::RejectOnly,
        },
        client: client_name,
        action: &asked.action,
        payload: &payload,
        title: asked.wording.title.as_ref(),
        agents_words: asked.shown_summary(),
        rule: asked.rule.as_deref(),
        now: *now,
        closes_at: asked.stage_closes_at(*stage),
        zone: Zone::UTC,
        payload_sha256: state.payload_sha256(asked),
        url,
    };
    let letter = words::letter(&facts);
    match channel {
        "sms" => Letter { text: words::sms(&facts), ..letter },
        _ => letter,
    }
}
