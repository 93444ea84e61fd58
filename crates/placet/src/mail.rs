//! Letters by mail, where the operator has named a server.

#![expect(clippy::disallowed_methods, reason = "the mail server comes from the environment")]

use std::time::Duration;

use async_trait::async_trait;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MessageBuilder, MultiPart};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use placet_delivery::{AlertLetter, Channel, Notification, SendOutcome};
use placet_gate::Fault;
use tokio::sync::Semaphore;
use url::{Host, Url};

use crate::failure::Failure;

/// Where mail goes out: `smtps://user:password@host:465`, `smtp://host:587?tls=required`.
pub(crate) const URL_VARIABLE: &str = "PLACET_SMTP_URL";

/// Who mail is from: `Placet <gate@example.com>`.
pub(crate) const FROM_VARIABLE: &str = "PLACET_MAIL_FROM";

/// Mails at once.
const AT_ONCE: usize = 8;

/// How long one waits for its turn, and then for the server: together less than a message's lease.
const PATIENCE: Duration = Duration::from_secs(12);
const SERVER_TIMEOUT: Duration = Duration::from_secs(12);

/// Sends mail.
pub(crate) struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    turns: Semaphore,
}

impl Mailer {
    /// The mailer of the environment, if it names one. Connects to nothing yet.
    pub(crate) fn from_environment() -> Result<Option<Self>, Failure> {
        let Some(url) = read_variable(URL_VARIABLE)? else { return Ok(None) };
        let from = read_variable(FROM_VARIABLE)?.ok_or_else(|| {
            Failure::usage(format!("{URL_VARIABLE} is set, but {FROM_VARIABLE} is not"))
                .with_code("mail_settings")
                .advise(format!(
                    "set it to the sender's address: {FROM_VARIABLE}='Placet <gate@example.com>'"
                ))
        })?;
        Self::new(&url, &from).map(Some)
    }

    /// The mailer for that URL and sender. Connects to nothing yet.
    pub(crate) fn new(url: &str, from: &str) -> Result<Self, Failure> {
        let from = from
            .parse()
            .map_err(|error| Failure::usage(format!("{FROM_VARIABLE} is not a mail address: {error}")))?;
        refuse_plain_text(url)?;
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url).map_err(|_| not_a_url())?;
        Ok(Self {
            transport: transport.timeout(Some(SERVER_TIMEOUT)).build(),
            from,
            turns: Semaphore::new(AT_ONCE),
        })
    }

    /// Connects, says EHLO, and logs in where the URL names a user. The cause is not told: it could quote the password.
    pub(crate) async fn check(&self) -> Result<(), Failure> {
        match tokio::time::timeout(PATIENCE, self.transport.test_connection()).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false) | Err(_)) | Err(_) => Err(Failure::refused(
                "the mail server cannot be used: it does not answer, or does not take the login",
            )
            .advise("`placet doctor` says more once it is set; --unchecked sets it without asking")),
        }
    }

    /// Mails a letter. A second try has the same `Message-ID`.
    async fn mail(&self, letter: &Notification, to: &str) -> Result<(), Fault> {
        self.post(self.compose(letter, to)?).await
    }

    /// Mails a text to all of those, as one mail. A second try has the same `Message-ID`.
    pub(crate) async fn mail_alert(&self, letter: &AlertLetter, to: &[String]) -> Result<(), Fault> {
        let mut builder = self.begin(&letter.id, &letter.subject);
        for address in to {
            builder = builder.to(mailbox(address)?);
        }
        let mail = builder
            .header(lettre::message::header::ContentType::TEXT_PLAIN)
            .body(letter.text.clone())
            .map_err(|error| Fault::new("an alert cannot be written as mail", error))?;
        self.post(mail).await
    }

    async fn post(&self, mail: Message) -> Result<(), Fault> {
        let _turn = tokio::time::timeout(PATIENCE, self.turns.acquire())
            .await
            .map_err(|error| Fault::new("the mail server is too slow for the letters that wait", error))?;
        self.transport
            .send(mail)
            .await
            .map(drop)
            .map_err(|error| Fault::new("the mail server did not take a letter", error))
    }

    fn begin(&self, id: &str, subject: &str) -> MessageBuilder {
        let host = self.from.email.domain();
        let header =
            |name, value: &str| HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned());
        Message::builder()
            .from(self.from.clone())
            .subject(subject)
            .message_id(Some(format!("<{id}@{host}>")))
            // RFC 3834: no absence notice and no other program answers.
            .raw_header(header("Auto-Submitted", "auto-generated"))
            // The same for Exchange, which asks for a header of its own.
            .raw_header(header("X-Auto-Response-Suppress", "All"))
    }

    fn compose(&self, letter: &Notification, to: &str) -> Result<Message, Fault> {
        let builder = self.begin(&letter.id, &letter.subject).to(mailbox(to)?);
        let both = MultiPart::alternative_plain_html(letter.text.clone(), letter.html.clone());
        builder.multipart(both).map_err(|error| Fault::new("a letter cannot be written as mail", error))
    }
}

fn mailbox(address: &str) -> Result<Mailbox, Fault> {
    address
        .parse()
        .map(|address| Mailbox::new(None, address))
        .map_err(|error| Fault::new("a mail address is not one", error))
}

/// A password, and a link that decides, go over the network encrypted or not at all.
///
/// Opportunistic TLS does not count: whoever sits in between can ask for plain text.
fn refuse_plain_text(url: &str) -> Result<(), Failure> {
    let url = Url::parse(url).map_err(|_| not_a_url())?;
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost") || is_loopback_literal(name),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return Err(not_a_url()),
    };
    let wants_tls =
        url.query_pairs().find(|(key, _)| key == "tls").is_some_and(|(_, value)| value == "required");
    match url.scheme() {
        "smtps" => Ok(()),
        "smtp" if wants_tls || is_loopback => Ok(()),
        "smtp" => Err(Failure::usage(format!("{URL_VARIABLE} would send passwords and links unencrypted")).with_code("mail_settings")
            .advise("use smtps://…:465, or add ?tls=required to the smtp:// URL; without TLS only this machine is mailed to")),
        _ => Err(not_a_url()),
    }
}

/// `127.0.0.1`: an address stays text in a URL whose scheme the parser does not know.
fn is_loopback_literal(host: &str) -> bool {
    host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Says nothing of the cause: it could quote the URL, and with it the password.
fn not_a_url() -> Failure {
    Failure::usage(format!("{URL_VARIABLE} is not the URL of a mail server")).with_code("mail_settings").advise(
        "write it as smtps://user:password@host:465 or smtp://user:password@host:587?tls=required\n\
         signs such as @ : / # % in the user or the password must be percent-encoded: @ is %40, / is %2F, # is %23",
    )
}

#[async_trait]
impl Channel for Mailer {
    fn name(&self) -> &'static str {
        "email"
    }

    async fn send(&self, notification: &Notification) -> SendOutcome {
        let Some(address) = &notification.address else {
            return SendOutcome::Unreachable("the reviewer has no mail address".into());
        };
        match self.mail(notification, address).await {
            Ok(()) => SendOutcome::Delivered(None),
            Err(fault) => SendOutcome::Retry(fault.chain()),
        }
    }
}

fn read_variable(name: &str) -> Result<Option<String>, Failure> {
    match std::env::var(name) {
        Ok(text) if text.is_empty() => Ok(None),
        Ok(text) => Ok(Some(text)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(Failure::usage(format!("{name} is not UTF-8"))),
    }
}

#[cfg(test)]
mod tests {
    use placet_core::id::{ApprovalId, ReviewerId};
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::TcpListener;

    use super::*;

    const FROM: &str = "Placet <gate@example.com>";

    fn letter() -> Notification {
        Notification {
            id: "01J.1.bob.email".to_owned(),
            approval_id: ApprovalId::from_parts(placet_core::Timestamp::from_millis(0), 1),
            stage: 1,
            reviewer: ReviewerId::parse("bob").unwrap(),
            channel: "email".to_owned(),
            address: Some("bob@example.com".to_owned()),
            subject: "Approve? payment.send: to \"Müller\"".to_owned(),
            text: "Hello Bob,\nhttps://gate.example.com/r/abc\n".to_owned(),
            html: "<p>Hello Bob</p>".to_owned(),
            url: "https://gate.example.com/r/abc".to_owned(),
            card: placet_delivery::Card::default(),
        }
    }

    /// A mail server for one mail: what it was told, line by line.
    async fn receive_one(listener: TcpListener) -> String {
        let (stream, _) = listener.accept().await.unwrap();
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        let mut heard = String::new();
        let mut in_data = false;
        write.write_all(b"220 test ESMTP\r\n").await.unwrap();
        while let Some(line) = lines.next_line().await.unwrap() {
            heard.push_str(&line);
            heard.push('\n');
            let answer: &[u8] = match (in_data, line.as_str()) {
                (true, ".") => {
                    in_data = false;
                    b"250 taken\r\n"
                }
                (true, _) => continue,
                (false, "DATA") => {
                    in_data = true;
                    b"354 go on\r\n"
                }
                (false, "QUIT") => {
                    write.write_all(b"221 bye\r\n").await.unwrap();
                    break;
                }
                (false, line) if line.starts_with("EHLO") => b"250-test\r\n250 8BITMIME\r\n",
                (false, _) => b"250 ok\r\n",
            };
            write.write_all(answer).await.unwrap();
        }
        heard
    }

    async fn mailed() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(receive_one(listener));
        assert_eq!(Mailer::new(&url, FROM).unwrap().send(&letter()).await, SendOutcome::Delivered(None));
        server.await.unwrap()
    }

    #[tokio::test]
    async fn a_mail_has_text_and_html_and_asks_programs_not_to_answer() {
        let heard = mailed().await;
        for line in [
            "MAIL FROM:<gate@example.com>",
            "RCPT TO:<bob@example.com>",
            "Auto-Submitted: auto-generated\n",
            "X-Auto-Response-Suppress: All\n",
            "Message-ID: <01J.1.bob.email@example.com>\n",
            "Content-Type: multipart/alternative;",
            "Content-Type: text/plain; charset=utf-8\n",
            "Content-Type: text/html; charset=utf-8\n",
            "https://gate.example.com/r/abc\n",
            "<p>Hello Bob</p>\n",
        ] {
            assert!(heard.contains(line), "{line}: {heard}");
        }
        assert!(
            heard.find("text/plain").unwrap() < heard.find("text/html").unwrap(),
            "the richest comes last"
        );
        assert!(heard.is_ascii(), "the subject is encoded");
    }

    #[tokio::test]
    async fn a_second_try_has_the_same_message_id() {
        let (first, second) = (mailed().await, mailed().await);
        let id = |heard: &str| heard.lines().find(|line| line.starts_with("Message-ID")).unwrap().to_owned();
        assert_eq!(id(&first), id(&second));
    }

    #[test]
    fn a_wrong_url_is_refused_without_showing_its_password() {
        for url in ["https://user:hunter2@host", "smtp://user:hunter2/x@host", "hunter2", "smtps:hunter2"] {
            let failure = Mailer::new(url, FROM).err().unwrap();
            assert!(!failure.to_string().contains("hunter2"), "{failure}");
            assert!(failure.to_string().contains("percent-encoded"), "{failure}");
            assert_eq!(failure.code(), 2);
        }
    }

    #[test]
    fn mail_goes_encrypted_or_stays_on_this_machine() {
        for (url, is_taken) in [
            ("smtps://user:hunter2@host:465", true),
            ("smtp://user:hunter2@host:587?tls=required", true),
            ("smtp://127.0.0.1:25", true),
            ("smtp://user:hunter2@localhost:25", true),
            ("smtp://[::1]:25", true),
            ("smtp://user:hunter2@host:587", false),
            ("smtp://host:25", false),
            ("smtp://user:hunter2@host:587?tls=opportunistic", false),
            ("smtp://user:hunter2@10.0.0.5:25", false),
            ("smtp://user:hunter2@127.0.0.1.evil.example:25", false),
        ] {
            let made = Mailer::new(url, FROM);
            assert_eq!(made.is_ok(), is_taken, "{url}");
            if let Err(failure) = made {
                assert!(
                    failure.to_string().contains("unencrypted") && !failure.to_string().contains("hunter2"),
                    "{failure}"
                );
            }
        }
    }
}
