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

/// The words of a notification, for that channel.
pub(crate) fn letter(message: &Message<'_>, channel: &str) -> Letter {
    let Message { asked, state, stage, reviewer, standing, client_name, url, now } = message;
    let payload = asked.shown(state.payload(asked));
    let summary = asked.shown_summary();
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
        agents_words: &summary,
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
