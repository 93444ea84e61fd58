//! Mail by SES v2: one mail for each recipient, whose bounces and complaints come back as events (`ses_event`).

use std::sync::Arc;

use async_trait::async_trait;
use placet_delivery::{AlertLetter, AlertMail, Channel, Notification, SendOutcome};
use placet_gate::Gate;
use serde_json::{Value, json};

use crate::config::MailConfig;
use crate::signed_json::{Answered, SignedJson};

/// The tags by which an event says what its mail was about.
pub(crate) const APPROVAL: &str = "placet-approval";
pub(crate) const REQUEST: &str = "placet-request";
pub(crate) const WAY: &str = "placet-way";

/// How long to wait where SES says that mails come too fast: it counts by the second.
/// Source: <https://docs.aws.amazon.com/ses/latest/dg/manage-sending-quotas-errors.html>.
const TOO_FAST_MS: i64 = 1_000;

/// Mail by SES.
pub(crate) struct Ses {
    pub(crate) api: SignedJson,
    pub(crate) config: MailConfig,
    /// It knows which addresses mail came back from.
    pub(crate) gate: Arc<Gate>,
}

/// A mail to one address.
struct Mail<'a> {
    to: &'a str,
    subject: &'a str,
    text: &'a str,
    html: Option<&'a str>,
    tags: Vec<(&'static str, String)>,
}

#[async_trait]
impl Channel for Ses {
    fn name(&self) -> &'static str {
        "email"
    }

    async fn send(&self, notification: &Notification) -> SendOutcome {
        let Some(to) = notification.address.as_deref() else {
            return SendOutcome::Unreachable("the reviewer has no mail address".into());
        };
        let mut tags = vec![(APPROVAL, notification.approval_id.to_string())];
        tags.extend(notification.key.map(|key| (REQUEST, key.to_string())));
        let Notification { subject, text, html, .. } = notification;
        self.mail(&Mail { to, subject, text, html: Some(html), tags }).await
    }
}

#[async_trait]
impl AlertMail for Ses {
    /// An address that is refused takes the alert from no other; where nobody got it, all are tried again.
    async fn mail(&self, way: &str, to: &[String], letter: &AlertLetter) -> SendOutcome {
        let mut failed = SendOutcome::Unreachable("the way has no mail address".into());
        let mut is_delivered = false;
        for to in to {
            let AlertLetter { subject, text, .. } = letter;
            let tags = vec![(WAY, way.to_owned())];
            match self.mail(&Mail { to, subject, text, html: None, tags }).await {
                SendOutcome::Delivered(_) => is_delivered = true,
                refused => failed = refused,
            }
        }
        if is_delivered { SendOutcome::Delivered(None) } else { failed }
    }
}

impl Ses {
    async fn mail(&self, mail: &Mail<'_>) -> SendOutcome {
        match self.gate.mail_comes_back(mail.to).await {
            Ok(false) => {}
            Ok(true) => return SendOutcome::Unreachable("mail to this address came back".into()),
            Err(fault) => return SendOutcome::Retry(fault.to_string()),
        }
        let body = body(&self.config, mail);
        outcome(self.api.call("POST", "/v2/email/outbound-emails", Some(&body)).await)
    }
}

/// What `SendEmail` takes.
/// Source: <https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html>.
fn body(config: &MailConfig, mail: &Mail<'_>) -> Value {
    let words = |data: &str| json!({"Data": data, "Charset": "UTF-8"});
    let mut parts = json!({"Text": words(mail.text)});
    if let (Some(html), Some(parts)) = (mail.html, parts.as_object_mut()) {
        parts.insert("Html".to_owned(), words(html));
    }
    let tags: Vec<Value> =
        mail.tags.iter().map(|(name, value)| json!({"Name": name, "Value": value})).collect();
    json!({
        "FromEmailAddress": format!("Placet <{}>", config.from),
        "Destination": {"ToAddresses": [mail.to]},
        "Content": {"Simple": {
            "Subject": words(mail.subject),
            "Body": parts,
            // So that no absence and no list answers.
            "Headers": [
                {"Name": "Auto-Submitted", "Value": "auto-generated"},
                {"Name": "X-Auto-Response-Suppress", "Value": "All"},
            ],
        }},
        "EmailTags": tags,
        "ConfigurationSetName": config.configuration_set,
    })
}

/// What that answer means for the mail. SES's own words can name an address: only its code is passed on.
/// Source: <https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html#API_SendEmail_Errors>.
fn outcome(answered: Answered) -> SendOutcome {
    match answered {
        Answered::Done(value) => {
            SendOutcome::Delivered(value.get("MessageId").and_then(Value::as_str).map(str::to_owned))
        }
        Answered::Silent => SendOutcome::Retry("SES could not be reached".into()),
        Answered::Refused { status, code, message } => {
            let reason = match code.as_str() {
                "" => format!("SES answered {status}"),
                code => format!("SES answered {code}"),
            };
            match code.as_str() {
                // The quota of a day is not back within the time that a reviewer has.
                "TooManyRequestsException" | "LimitExceededException" | "ThrottlingException"
                    if message.to_ascii_lowercase().contains("daily") =>
                {
                    SendOutcome::Unreachable(format!("{reason}: the day's quota is used up"))
                }
                "TooManyRequestsException" | "ThrottlingException" => {
                    SendOutcome::Wait { in_ms: TOO_FAST_MS, reason }
                }
                // As it stands, this mail is never taken: another try says the same, another channel does not.
                _ if (400..500).contains(&status) => SendOutcome::Unreachable(reason),
                _ => SendOutcome::Retry(reason),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, code: &str, message: &str) -> SendOutcome {
        outcome(Answered::Refused { status, code: code.into(), message: message.into() })
    }

    #[test]
    fn what_ses_refuses_for_good_is_for_the_next_channel_and_what_it_puts_off_is_not() {
        for (status, code) in [
            (400, "MessageRejected"),
            (400, "BadRequestException"),
            (400, "MailFromDomainNotVerifiedException"),
            (400, "AccountSuspendedException"),
            (400, "SendingPausedException"),
            (404, "NotFoundException"),
            (403, "AccessDeniedException"),
        ] {
            let outcome = refused(status, code, "Email address is not verified: bob@example.com");
            assert_eq!(outcome, SendOutcome::Unreachable(format!("SES answered {code}")));
        }
        assert_eq!(
            refused(429, "TooManyRequestsException", "Maximum sending rate exceeded."),
            SendOutcome::Wait { in_ms: 1_000, reason: "SES answered TooManyRequestsException".into() }
        );
        assert_eq!(
            refused(429, "TooManyRequestsException", "Daily message quota exceeded."),
            SendOutcome::Unreachable(
                "SES answered TooManyRequestsException: the day's quota is used up".into()
            )
        );
        assert_eq!(
            refused(500, "InternalFailure", ""),
            SendOutcome::Retry("SES answered InternalFailure".into())
        );
        assert_eq!(refused(503, "", ""), SendOutcome::Retry("SES answered 503".into()));
        assert_eq!(outcome(Answered::Silent), SendOutcome::Retry("SES could not be reached".into()));
    }

    #[test]
    fn what_ses_takes_is_known_by_its_message_id() {
        let taken = outcome(Answered::Done(json!({"MessageId": "0100-x"})));
        assert_eq!(taken, SendOutcome::Delivered(Some("0100-x".into())));
    }

    #[test]
    fn a_mail_is_to_one_address_and_says_what_it_is_about() {
        let config = MailConfig { from: "gate@example.com".into(), configuration_set: "set".into() };
        let mail = Mail {
            to: "bob@example.com",
            subject: "Approve? Zahle Müller 12 €",
            text: "words",
            html: Some("<p>words</p>"),
            tags: vec![(APPROVAL, "01J".into()), (REQUEST, "00ff".into())],
        };
        let words = |data: &str| json!({"Data": data, "Charset": "UTF-8"});
        assert_eq!(
            body(&config, &mail),
            json!({
                "FromEmailAddress": "Placet <gate@example.com>",
                "Destination": {"ToAddresses": ["bob@example.com"]},
                "Content": {"Simple": {
                    "Subject": words("Approve? Zahle Müller 12 €"),
                    "Body": {"Text": words("words"), "Html": words("<p>words</p>")},
                    "Headers": [
                        {"Name": "Auto-Submitted", "Value": "auto-generated"},
                        {"Name": "X-Auto-Response-Suppress", "Value": "All"},
                    ],
                }},
                "EmailTags": [
                    {"Name": "placet-approval", "Value": "01J"},
                    {"Name": "placet-request", "Value": "00ff"},
                ],
                "ConfigurationSetName": "set",
            })
        );
    }
}
