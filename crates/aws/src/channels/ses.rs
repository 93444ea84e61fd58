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

/// As on one machine.
const PER_MINUTE: u32 = 20;

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

    fn per_minute(&self) -> Option<u32> {
        Some(PER_MINUTE)
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
    use std::sync::Mutex;

    use aws_credential_types::Credentials;
    use aws_credential_types::provider::SharedCredentialsProvider;
    use aws_types::SdkConfig;
    use aws_types::region::Region;
    use placet_core::id::{ApprovalId, RequestKey, ReviewerId};
    use placet_gate::ports::{Clock, NoopMetrics};
    use placet_gate::{Ports, Settings};
    use placet_testkit::{FixedClock, HandKeys, MemoryStore, RecordingDispatcher};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::config::Roots;
    use crate::connect::connector;

    /// An SES that gives these answers, one a call, and keeps what it was asked.
    struct Played {
        url: String,
        asked: Arc<Mutex<Vec<String>>>,
    }

    impl Played {
        async fn start(answers: Vec<(&'static str, &'static str)>) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let asked: Arc<Mutex<Vec<String>>> = Arc::default();
            let kept = Arc::clone(&asked);
            tokio::spawn(async move {
                for (head, body) in answers {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let mut text = String::new();
                    let mut chunk = [0; 8192];
                    // The body is one JSON object: it is there when its last brace is.
                    while !text.ends_with('}') {
                        let count = stream.read(&mut chunk).await.unwrap();
                        text.push_str(&String::from_utf8_lossy(&chunk[..count]));
                    }
                    kept.lock().unwrap().push(text);
                    let answer = format!(
                        "HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
            Self { url, asked }
        }

        fn ses(&self) -> Ses {
            let credentials = Credentials::new("AKID", "secret", Some("session".into()), None, "test");
            let sdk = SdkConfig::builder()
                .region(Region::new("eu-central-1"))
                .endpoint_url(&self.url)
                .credentials_provider(SharedCredentialsProvider::new(credentials))
                .build();
            let clock = FixedClock::new();
            let ports = Ports {
                store: MemoryStore::new(Arc::clone(&clock) as _),
                dispatcher: Arc::new(RecordingDispatcher::default()),
                keys: Arc::new(HandKeys::new(clock.now())),
                clock,
                metrics: Arc::new(NoopMetrics),
            };
            let api = SignedJson::ses(&sdk, connector(&Roots::Amazon).unwrap()).unwrap();
            let config = MailConfig { from: "gate@example.com".into(), configuration_set: "set".into() };
            Ses { api, config, gate: Arc::new(Gate::new(ports, Settings::default())) }
        }
    }

    fn notification() -> Notification {
        Notification {
            id: "msg_1".into(),
            follows: Vec::new(),
            approval_id: ApprovalId::from_parts(placet_core::Timestamp::from_millis(0), 1),
            key: Some(RequestKey::from_bytes([0xab; 16])),
            stage: 1,
            reviewer: ReviewerId::parse("bob").unwrap(),
            channel: "email".into(),
            address: Some("bob@example.com".into()),
            subject: "Approve?".into(),
            text: "words".into(),
            html: "<p>words</p>".into(),
            url: "https://gate.example.com/r/LINK".into(),
            card: placet_delivery::Card::default().into(),
        }
    }

    #[tokio::test]
    async fn a_mail_is_one_signed_call_and_is_known_by_what_ses_answers() {
        let played = Played::start(vec![("200 OK", r#"{"MessageId":"0107-x-000000"}"#)]).await;
        let told = played.ses().send(&notification()).await;
        assert_eq!(told, SendOutcome::Delivered(Some("0107-x-000000".into())));
        let asked = played.asked.lock().unwrap().concat();
        assert!(asked.starts_with("POST /v2/email/outbound-emails HTTP/1.1\r\n"), "{asked}");
        for part in [
            "content-type: application/json\r\n",
            "x-amz-security-token: session\r\n",
            "AWS4-HMAC-SHA256 Credential=AKID/",
            "/eu-central-1/ses/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, Signature=",
            r#"{"Name":"placet-request","Value":"abababababababababababababababab"}"#,
        ] {
            assert!(asked.contains(part), "{part}: {asked}");
        }
    }

    #[tokio::test]
    async fn what_ses_answers_decides_what_follows_and_its_words_stay_here() {
        let sandbox = r#"{"message":"Email address is not verified. The following identities failed the check in region EU-CENTRAL-1: bob@example.com"}"#;
        let played = Played::start(vec![
            ("400 Bad Request\r\nx-amzn-errortype: MessageRejected:http://internal.amazon.com/", sandbox),
            (
                "429 Slow\r\nx-amzn-errortype: TooManyRequestsException",
                r#"{"message":"Maximum sending rate exceeded."}"#,
            ),
            ("500 Oh", "<html>"),
        ])
        .await;
        let ses = played.ses();
        let letter = notification();
        let rejected = SendOutcome::Unreachable("SES answered MessageRejected".into());
        assert_eq!(ses.send(&letter).await, rejected);
        let reason = "SES answered TooManyRequestsException".to_owned();
        assert_eq!(ses.send(&letter).await, SendOutcome::Wait { in_ms: 1_000, reason });
        assert_eq!(ses.send(&letter).await, SendOutcome::Retry("SES answered 500".into()));
        let nobody = Notification { address: None, ..letter };
        let told = ses.send(&nobody).await;
        assert_eq!(told, SendOutcome::Unreachable("the reviewer has no mail address".into()));
    }

    #[tokio::test]
    async fn an_alert_goes_to_each_address_and_one_that_is_refused_takes_it_from_no_other() {
        let refused = ("400 Bad Request\r\nx-amzn-errortype: BadRequestException", r#"{"message":"no"}"#);
        let taken = ("200 OK", r#"{"MessageId":"0107-y-000000"}"#);
        let played = Played::start(vec![refused, taken, refused, refused]).await;
        let ses = played.ses();
        let to = ["gone@example.com".to_owned(), "ops@example.com".to_owned()];
        let letter = AlertLetter { id: "a".into(), subject: "Alert".into(), text: "Words\n".into() };
        assert_eq!(AlertMail::mail(&ses, "ops", &to, &letter).await, SendOutcome::Delivered(None));
        let failed = SendOutcome::Unreachable("SES answered BadRequestException".into());
        assert_eq!(AlertMail::mail(&ses, "ops", &to, &letter).await, failed);
        let asked = played.asked.lock().unwrap();
        assert_eq!(asked.len(), 4);
        assert!(
            asked
                .iter()
                .all(|call| call.contains(r#""Name":"placet-way","Value":"ops""#) && !call.contains("Html"))
        );
    }

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
