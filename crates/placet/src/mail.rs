//! Letters by mail, where the operator has named a server.

#![expect(clippy::disallowed_methods, reason = "the mail server comes from the environment")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lettre::address::Envelope;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MessageBuilder, MultiPart};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use placet_delivery::{AlertLetter, Channel, Notification, REMINDER, SendOutcome, Stands};
use placet_gate::Fault;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
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
    post: Post,
    from: Mailbox,
}

/// The way to the server.
#[derive(Clone)]
struct Post {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    turns: Arc<Semaphore>,
}

impl Post {
    async fn send(&self, envelope: &Envelope, text: &[u8]) -> Result<(), String> {
        let turn = tokio::time::timeout(PATIENCE, self.turns.acquire()).await;
        let _turn = turn.map_err(|_| "the mail server is too slow for the letters that wait".to_owned())?;
        self.transport.send_raw(envelope, text).await.map(drop).map_err(|error| refusal(&error))
    }
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
        let transport = transport.timeout(Some(SERVER_TIMEOUT)).build();
        Ok(Self { post: Post { transport, turns: Arc::new(Semaphore::new(AT_ONCE)) }, from })
    }

    /// Connects, says EHLO, and logs in where the URL names a user. The cause is not told: it could quote the password.
    pub(crate) async fn check(&self) -> Result<(), Failure> {
        match tokio::time::timeout(PATIENCE, self.post.transport.test_connection()).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false) | Err(_)) | Err(_) => Err(Failure::refused(
                "the mail server cannot be used: it does not answer, or does not take the login",
            )
            .advise("`placet doctor` says more once it is set; --unchecked sets it without asking")),
        }
    }

    /// Mails a letter. A second try has the same `Message-ID`.
    async fn mail(&self, letter: &Notification, to: &str) -> Result<(), String> {
        let mail = self.compose(letter, to).map_err(|fault| fault.to_string())?;
        self.post.send(mail.envelope(), &mail.formatted()).await
    }

    /// Mails a text to all of those: they see each other, and each gets it by an envelope of their own, so that one address
    /// that is refused does not take it from the others.
    ///
    /// Fails only where nobody got it, or the next try would be a second mail for those who did. A second try has the same
    /// `Message-ID`.
    pub(crate) async fn mail_alert(&self, letter: &AlertLetter, to: &[String]) -> Result<(), String> {
        let mail = self.compose_alert(letter, to).map_err(|fault| fault.to_string())?;
        let text: Arc<[u8]> = mail.formatted().into();
        // All at once: together they may not take longer than a message's lease.
        let mut sending = JoinSet::new();
        for address in mail.envelope().to() {
            let envelope = Envelope::new(mail.envelope().from().cloned(), vec![address.clone()])
                .map_err(|_| "an envelope cannot be written".to_owned())?;
            let (post, text) = (self.post.clone(), Arc::clone(&text));
            sending.spawn(async move { post.send(&envelope, &text).await });
        }
        let sent = sending.join_all().await;
        let taken = sent.iter().filter(|sent| sent.is_ok()).count();
        let refused: Vec<String> = sent.into_iter().filter_map(Result::err).collect();
        let Some(reason) = refused.first() else { return Ok(()) };
        if taken == 0 {
            return Err(reason.clone());
        }
        tracing::error!(
            taken,
            refused = refused.len(),
            error = reason,
            "an alert was not taken for some of the addresses of a way; it is not tried again for them"
        );
        Ok(())
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

    fn compose_alert(&self, letter: &AlertLetter, to: &[String]) -> Result<Message, Fault> {
        let mut builder = self.begin(&letter.id, &letter.subject);
        for address in to {
            builder = builder.to(mailbox(address)?);
        }
        builder
            .header(lettre::message::header::ContentType::TEXT_PLAIN)
            .body(letter.text.clone())
            .map_err(|error| Fault::new("an alert cannot be written as mail", error))
    }

    fn compose(&self, letter: &Notification, to: &str) -> Result<Message, Fault> {
        let mut builder = self.begin(&letter.id, &subject(letter)).to(mailbox(to)?);
        // RFC 5322, section 3.6.4: what is about one request is one thread.
        let host = self.from.email.domain();
        let follows: Vec<String> = letter.follows.iter().map(|id| format!("<{id}@{host}>")).collect();
        if let Some(first) = follows.first() {
            builder = builder.in_reply_to(first.clone()).references(follows.join(" "));
        }
        // The card is made where somebody looks at it, so the subject comes first.
        if letter.subject.starts_with("Re: ") && matches!(letter.card.stands, Stands::Ended { .. }) {
            // It asks for nothing: mail programs that sort by it need not ring.
            for (name, value) in [("Importance", "low"), ("X-Priority", "5")] {
                let name = HeaderName::new_from_ascii_str(name);
                builder = builder.raw_header(HeaderValue::new(name, value.to_owned()));
            }
        }
        let both = MultiPart::alternative_plain_html(letter.text.clone(), letter.html.clone());
        builder.multipart(both).map_err(|error| Fault::new("a letter cannot be written as mail", error))
    }
}

/// The subject of a mail. Gmail joins mails into a thread only where their subjects are the same but for `Re:`, so a
/// reminder says in its first line that it is one.
fn subject(letter: &Notification) -> String {
    match letter.subject.strip_prefix(REMINDER) {
        Some(first) if letter.card.is_reminder => format!("Re: {first}"),
        Some(_) | None => letter.subject.clone(),
    }
}

/// Why a letter was not taken. A server's own words can quote an address or the sender's name: its code is told, no more.
fn refusal(error: &lettre::transport::smtp::Error) -> String {
    if let Some(code) = error.status() {
        return format!("the mail server answered {code}");
    }
    if error.is_timeout() {
        return "the mail server did not answer in time".to_owned();
    }
    if error.is_tls() {
        return "no encrypted connection to the mail server came about".to_owned();
    }
    "the mail server could not be reached, or broke off".to_owned()
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
            Err(reason) => SendOutcome::Retry(reason),
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

    fn letter_of_bob() -> Notification {
        Notification {
            id: "01J.1.bob.email".to_owned(),
            follows: Vec::new(),
            approval_id: ApprovalId::from_parts(placet_core::Timestamp::from_millis(0), 1),
            key: None,
            stage: 1,
            reviewer: ReviewerId::parse("bob").unwrap(),
            channel: "email".to_owned(),
            address: Some("bob@example.com".to_owned()),
            subject: "Approve? payment.send: to \"Müller\"".to_owned(),
            text: "Hello Bob,\nhttps://gate.example.com/r/abc\n".to_owned(),
            html: "<p>Hello Bob</p>".to_owned(),
            url: "https://gate.example.com/r/abc".to_owned(),
            card: placet_delivery::Card::default().into(),
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
        assert_eq!(
            Mailer::new(&url, FROM).unwrap().send(&letter_of_bob()).await,
            SendOutcome::Delivered(None)
        );
        server.await.unwrap()
    }

    #[test]
    fn mails_about_one_request_are_one_thread_and_the_first_follows_nothing() {
        let mailer = Mailer::new("smtp://127.0.0.1:2525", FROM).unwrap();
        let mail = |letter: &Notification| {
            let mail = mailer.compose(letter, "bob@example.com").unwrap().formatted();
            String::from_utf8(mail).unwrap().replace("\r\n ", " ")
        };
        let first = letter_of_bob();
        let heard = mail(&first);
        assert!(!heard.contains("References:") && !heard.contains("In-Reply-To:"), "{heard}");
        let reminder = Notification {
            id: "01J.2.bob.email".to_owned(),
            follows: vec![first.id.clone(), "01J.1b.bob.email".to_owned()],
            subject: "Reminder: Approve? x".to_owned(),
            card: placet_delivery::Card { is_reminder: true, ..Default::default() }.into(),
            ..first
        };
        let heard = mail(&reminder);
        for line in [
            "In-Reply-To: <01J.1.bob.email@example.com>\r\n",
            "References: <01J.1.bob.email@example.com> <01J.1b.bob.email@example.com>\r\n",
            "Subject: Re: Approve? x\r\n",
            "Message-ID: <01J.2.bob.email@example.com>\r\n",
        ] {
            assert!(heard.contains(line), "{line}: {heard}");
        }
        let quoted = Notification { card: placet_delivery::Card::default().into(), ..reminder };
        assert!(
            mail(&quoted).contains("Subject: Reminder: Approve? x\r\n"),
            "a title of such words is no reminder"
        );
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

    /// A mail server that takes connections for ever and refuses some addresses, quoting them: whom it took mail for.
    async fn picky(listener: TcpListener, taken: Arc<std::sync::Mutex<Vec<String>>>) {
        while let Ok((stream, _)) = listener.accept().await {
            let taken = Arc::clone(&taken);
            tokio::spawn(async move {
                let (read, mut write) = stream.into_split();
                let mut lines = BufReader::new(read).lines();
                let (mut to, mut in_data) = (Vec::new(), false);
                write.write_all(b"220 test ESMTP\r\n").await.unwrap();
                while let Ok(Some(line)) = lines.next_line().await {
                    let answer = match line.as_str() {
                        "." if in_data => {
                            in_data = false;
                            taken.lock().unwrap().append(&mut to);
                            "250 taken".to_owned()
                        }
                        _ if in_data => continue,
                        "DATA" if to.is_empty() => "554 no valid recipients".to_owned(),
                        "DATA" => {
                            in_data = true;
                            "354 go on".to_owned()
                        }
                        "RSET" => {
                            to.clear();
                            "250 ok".to_owned()
                        }
                        line if line.starts_with("RCPT TO:<gone") => format!("550 5.1.1 {line} unknown"),
                        line if line.starts_with("RCPT TO:") => {
                            to.push(line.replace("RCPT TO:", ""));
                            "250 ok".to_owned()
                        }
                        line if line.starts_with("EHLO") => "250 test".to_owned(),
                        _ => "250 ok".to_owned(),
                    };
                    write.write_all(format!("{answer}\r\n").as_bytes()).await.unwrap();
                }
            });
        }
    }

    #[tokio::test]
    async fn an_address_that_is_refused_takes_an_alert_from_no_other_and_is_not_named() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        let taken = Arc::default();
        let server = tokio::spawn(picky(listener, Arc::clone(&taken)));
        let mailer = Mailer::new(&url, FROM).unwrap();
        let (id, subject, text) = ("a".to_owned(), "Alert".to_owned(), "Words\n".to_owned());
        let letter = AlertLetter { id, subject, text };
        let to = |names: &[&str]| names.iter().map(|name| format!("{name}@example.com")).collect::<Vec<_>>();
        mailer.mail_alert(&letter, &to(&["gone", "ops", "night"])).await.unwrap();
        let mut got = std::mem::take(&mut *taken.lock().unwrap());
        got.sort();
        assert_eq!(
            got,
            ["<night@example.com>", "<ops@example.com>"],
            "each once, by an envelope of their own"
        );
        // Where nobody got it, the next try repeats it to nobody.
        let failed = mailer.mail_alert(&letter, &to(&["gone", "gone2"])).await;
        assert_eq!(failed, Err("the mail server answered 550".to_owned()));
        let bob = Notification { address: Some("gone@example.com".into()), ..letter_of_bob() };
        assert_eq!(mailer.send(&bob).await, SendOutcome::Retry("the mail server answered 550".into()));
        assert_eq!(*taken.lock().unwrap(), Vec::<String>::new());
        server.abort();
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_told_without_its_address() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        drop(listener);
        let failed = Mailer::new(&url, FROM).unwrap().send(&letter_of_bob()).await;
        assert_eq!(failed, SendOutcome::Retry("the mail server could not be reached, or broke off".into()));
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
