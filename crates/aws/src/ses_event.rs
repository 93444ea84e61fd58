//! What SES tells of a mail after it took it: the events of its configuration set, by SNS and the deadline queue.
//!
//! Source: <https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html>.

use std::collections::BTreeMap;

use placet_core::id::{ApprovalId, RequestKey};
use placet_gate::returned::{MailAbout, MailFate, ReturnedMail};
use serde::Deserialize;

use crate::channels::ses::{APPROVAL, REQUEST, WAY};

/// The tag in which SES itself says by which configuration set a mail went.
const CONFIGURATION_SET: &str = "ses:configuration-set";

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "eventType")]
    kind: String,
    mail: Mail,
    #[serde(default)]
    bounce: Option<Bounce>,
    #[serde(default)]
    complaint: Option<Complaint>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mail {
    message_id: String,
    #[serde(default)]
    destination: Vec<String>,
    #[serde(default)]
    tags: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bounce {
    bounce_type: String,
    #[serde(default)]
    bounced_recipients: Vec<Recipient>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Complaint {
    #[serde(default)]
    complained_recipients: Vec<Recipient>,
    #[serde(default)]
    complaint_feedback_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Recipient {
    email_address: String,
}

/// What an entry of the deadline queue turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SesEvent {
    /// A mail of this gate came back.
    Returned(ReturnedMail),
    /// An event of SES that is not this gate's, or that says nothing of interest.
    Foreign(&'static str),
}

impl SesEvent {
    /// Reads an entry of the queue. None where it is no event of SES at all.
    pub(crate) fn read(unverified: &str, configuration_set: Option<&str>) -> Option<Self> {
        let event: Event = serde_json::from_str(unverified).ok()?;
        Some(event.meaning(configuration_set))
    }
}

impl Event {
    fn meaning(self, configuration_set: Option<&str>) -> SesEvent {
        let by = self.mail.tag(CONFIGURATION_SET);
        if configuration_set.is_none() || by != configuration_set {
            return SesEvent::Foreign("it is of another configuration set");
        }
        let Some(about) = self.mail.about() else {
            return SesEvent::Foreign("it does not say what its mail was about");
        };
        let reached = |recipients: Vec<Recipient>| {
            recipients.into_iter().map(|recipient| recipient.email_address).collect()
        };
        let (fate, recipients) = match (self.kind.as_str(), self.bounce, self.complaint) {
            ("Bounce", Some(bounce), _) if bounce.bounce_type == "Permanent" => {
                (MailFate::NoSuchAddress, reached(bounce.bounced_recipients))
            }
            ("Bounce", Some(bounce), _) => (MailFate::NotThisTime, reached(bounce.bounced_recipients)),
            ("Complaint", _, Some(complaint))
                if complaint.complaint_feedback_type.as_deref() == Some("not-spam") =>
            {
                return SesEvent::Foreign("it says that a mail is no spam");
            }
            ("Complaint", _, Some(complaint)) => {
                (MailFate::Unwanted, reached(complaint.complained_recipients))
            }
            ("Reject", _, _) => (MailFate::NotThisTime, self.mail.destination),
            _ => return SesEvent::Foreign("it says nothing of a mail that came back"),
        };
        SesEvent::Returned(ReturnedMail { about, reference: self.mail.message_id, recipients, fate })
    }
}

impl Mail {
    fn tag(&self, name: &str) -> Option<&str> {
        self.tags.get(name)?.first().map(String::as_str)
    }

    fn about(&self) -> Option<MailAbout> {
        if let Some(way) = self.tag(WAY) {
            return Some(MailAbout::Way(way.to_owned()));
        }
        let approval_id = ApprovalId::parse(self.tag(APPROVAL)?).ok()?;
        Some(MailAbout::Approval { key: key_of(self.tag(REQUEST)?)?, approval_id })
    }
}

/// A key from its 32 hexadecimal digits.
fn key_of(text: &str) -> Option<RequestKey> {
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(text, 16).ok().map(|number| RequestKey::from_bytes(number.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use placet_core::id::{ClientId, RequestId};
    use serde_json::{Value, json};

    use super::*;

    const APPROVAL_ID: &str = "01JDN3W9K7000000000000000A";

    fn key() -> RequestKey {
        RequestKey::of(&ClientId::parse("agent").unwrap(), &RequestId::parse("r-1").unwrap())
    }

    /// An event as SES's guide shows it, of a mail of this gate.
    fn event(kind: &str, part: &Value) -> Value {
        let mut event = json!({
            "eventType": kind,
            "mail": {
                "timestamp": "2026-11-27T00:40:02.012Z",
                "source": "Placet <gate@example.com>",
                "sourceArn": "arn:aws:ses:eu-central-1:123456789012:identity/example.com",
                "sendingAccountId": "123456789012",
                "messageId": "0107-x-000000",
                "destination": ["bob@example.com"],
                "headersTruncated": false,
                "headers": [{"name": "From", "value": "Placet <gate@example.com>"}],
                "commonHeaders": {"from": ["Placet <gate@example.com>"], "messageId": "0107-x-000000"},
                "tags": {
                    "ses:configuration-set": ["placet-mail"],
                    "ses:source-ip": ["192.0.2.0"],
                    "ses:from-domain": ["example.com"],
                    "placet-approval": [APPROVAL_ID],
                    "placet-request": [key().to_string()],
                },
            },
        });
        event.as_object_mut().unwrap().insert(kind.to_lowercase(), part.clone());
        event
    }

    fn bounce(kind: &str) -> Value {
        event(
            "Bounce",
            &json!({
                "bounceType": kind,
                "bounceSubType": "General",
                "bouncedRecipients": [{
                    "emailAddress": "bob@example.com", "action": "failed", "status": "5.1.1",
                    "diagnosticCode": "smtp; 550 5.1.1 user unknown",
                }],
                "timestamp": "2026-11-27T00:41:02.669Z",
                "feedbackId": "0107-f-000000",
                "reportingMTA": "dsn; mta.example.com",
            }),
        )
    }

    fn complaint(kind: &str) -> Value {
        event(
            "Complaint",
            &json!({
                "complainedRecipients": [{"emailAddress": "bob@example.com"}],
                "timestamp": "2026-11-27T00:41:02.669Z",
                "feedbackId": "0107-f-000000",
                "userAgent": "Amazon SES Mailbox Simulator",
                "complaintFeedbackType": kind,
            }),
        )
    }

    fn read(event: &Value) -> Option<SesEvent> {
        SesEvent::read(&event.to_string(), Some("placet-mail"))
    }

    fn fate(event: &Value) -> MailFate {
        let Some(SesEvent::Returned(mail)) = read(event) else { panic!("{event}") };
        assert_eq!(mail.reference, "0107-x-000000");
        assert_eq!(mail.recipients, ["bob@example.com"]);
        let approval_id = ApprovalId::parse(APPROVAL_ID).unwrap();
        assert_eq!(mail.about, MailAbout::Approval { key: key(), approval_id });
        mail.fate
    }

    #[test]
    fn bounces_complaints_and_rejections_are_read_as_ses_documents_them() {
        assert_eq!(fate(&bounce("Permanent")), MailFate::NoSuchAddress);
        assert_eq!(fate(&bounce("Transient")), MailFate::NotThisTime);
        assert_eq!(fate(&bounce("Undetermined")), MailFate::NotThisTime);
        assert_eq!(fate(&complaint("abuse")), MailFate::Unwanted);
        assert_eq!(fate(&event("Reject", &json!({"reason": "Bad content"}))), MailFate::NotThisTime);
    }

    #[test]
    fn what_is_not_of_this_gate_is_foreign() {
        let foreign = |event: &Value| matches!(read(event), Some(SesEvent::Foreign(_)));
        let with = |name: &str, value: Value| {
            let mut event = bounce("Permanent");
            event["mail"]["tags"][name] = value;
            event
        };
        assert!(foreign(&with("ses:configuration-set", json!(["another"]))));
        assert!(foreign(&with("ses:configuration-set", json!([]))));
        assert!(foreign(&with("placet-approval", json!(["not an id"]))));
        for key in ["", "00", "zz", &"0".repeat(31), &"+".repeat(32), &"é".repeat(16)] {
            assert!(foreign(&with("placet-request", json!([key]))), "{key}");
        }
        assert!(foreign(&complaint("not-spam")));
        assert!(foreign(&event("Delivery", &json!({}))));
        // Of a gate whose mail goes by SNS there is no such event.
        let said = bounce("Permanent").to_string();
        assert!(matches!(SesEvent::read(&said, None), Some(SesEvent::Foreign(_))));
        // What is no event of SES is none of this module's.
        assert_eq!(read(&json!({"wake": {"key": "x", "at": 1}})), None);
    }

    #[test]
    fn a_mail_to_operators_is_told_by_its_way() {
        let mut event = bounce("Permanent");
        event["mail"]["tags"] = json!({"ses:configuration-set": ["placet-mail"], "placet-way": ["ops"]});
        let Some(SesEvent::Returned(mail)) = read(&event) else { panic!("{event}") };
        assert_eq!(mail.about, MailAbout::Way("ops".into()));
    }
}
