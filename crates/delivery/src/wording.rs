//! The texts that people get. All words about a payload come from `core::summary`.

use placet_core::policy::Reviewer;
use placet_core::request::{ApprovalRequest, Standing};
use placet_core::summary;

/// What a notification says.
pub(crate) struct Words {
    pub(crate) subject: String,
    pub(crate) text: String,
}

/// The words of a notification for a channel.
pub(crate) fn words(
    asked: &ApprovalRequest,
    stage: usize,
    reviewer: &Reviewer,
    standing: Standing,
    client_name: &str,
    channel: &str,
    url: &str,
) -> Words {
    let payload = asked.payload.value();
    let headline = summary::headline(&asked.action, &payload);
    let subject = match standing {
        Standing::Decide | Standing::Nothing => format!("Approve? {headline}"),
        Standing::RejectOnly => format!("You may reject: {headline}"),
    };
    let text = match channel {
        "sms" => summary::sms(client_name, &headline, url),
        _ => summary::letter(&summary::LetterFacts {
            reviewer: &reviewer.name,
            client: client_name,
            action: &asked.action,
            payload: &payload,
            agents_words: &asked.summary,
            rule: asked.rule.as_deref(),
            closes_at: asked.stage_closes_at(stage),
            payload_sha256: &asked.payload_sha256,
            url,
        }),
    };
    Words { subject, text }
}
