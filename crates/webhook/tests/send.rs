//! What one attempt does on the wire, against a receiver on loopback.
//!
//! The address table and the reading of URLs are tested where they live; here, that nothing gets around them.

#![expect(clippy::disallowed_methods, reason = "the receiver checks signatures by the clock")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

mod receiver;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::HeaderMap;
use placet_core::grammar::HostPattern;
use placet_webhook::{Attempt, Message, Options, Sender, Target};
use standardwebhooks::Webhook;

use receiver::{Answer, LyingResolver, Receiver};

const NEW_SECRET: &str = "whsec_00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const OLD_SECRET: &str = "whsec_ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100";
const BODY: &[u8] = r#"{"type":"approval.decided","data":{"summary":"Überweisung"}}"#.as_bytes();

/// Longer than anything here takes; what must time out is given less.
const PATIENCE: Duration = Duration::from_secs(30);
const IMPATIENCE: Duration = Duration::from_millis(500);

/// Global unicast by the registry, but handed out to nobody (the old 6bone), so nothing answers there.
const PUBLIC_NOWHERE: Ipv6Addr = Ipv6Addr::new(0x3ffe, 0, 0, 0, 0, 0, 0, 1);

fn patient() -> Options {
    Options { connect_timeout: PATIENCE, total_timeout: PATIENCE, ..Options::default() }
}

fn secrets() -> Vec<String> {
    vec![NEW_SECRET.to_owned(), OLD_SECRET.to_owned()]
}

fn hosts(entries: &[&str]) -> Vec<HostPattern> {
    entries.iter().map(|entry| HostPattern::parse(entry).unwrap()).collect()
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

async fn post(sender: &Sender, url: &str, parsed_under: &[&str], sent_under: &[&str]) -> Attempt {
    let target = Target::parse(url, &hosts(parsed_under)).unwrap();
    let secrets = secrets();
    let message = Message { id: "msg_01", timestamp: now(), body: BODY, secrets: &secrets };
    sender.send(&target, &hosts(sent_under), &message).await
}

/// Posts to `receiver` by its address, which the policy exempts.
async fn post_to(receiver: &Receiver, options: Options) -> Attempt {
    let url = format!("http://{}/hook?run=7", receiver.address);
    post(&Sender::new(options), &url, &["127.0.0.1"], &["127.0.0.1"]).await
}

/// Posts to a name that `resolver` answers for, over https.
async fn post_by_name(
    resolver: &Arc<LyingResolver>,
    port: u16,
    exempt: &[&str],
    options: Options,
) -> Attempt {
    let sender = Sender::new(Options { resolver: Arc::<LyingResolver>::clone(resolver), ..options });
    post(&sender, &format!("https://hooks.test:{port}/hook"), exempt, exempt).await
}

fn refused(status: u16) -> Attempt {
    Attempt::Refused { status, retry_after: None, body: Bytes::new() }
}

fn unreachable_because(attempt: &Attempt) -> &str {
    match attempt {
        Attempt::Unreachable { reason } => reason,
        other => panic!("{other:?}"),
    }
}

fn forbidden(reason: &str) -> Attempt {
    Attempt::Forbidden { reason: reason.to_owned() }
}

const NAME_IS_LOOPBACK: &str =
    "`hooks.test` resolves to a loopback address, which is only for hosts named in `callback_hosts`";

#[tokio::test]
async fn a_callback_arrives_whole_and_signed_with_every_key() {
    let receiver = Receiver::plain(Answer::json("200 OK", r#"{"resumed":true}"#)).await;

    let attempt = post_to(&receiver, patient()).await;

    let body = Bytes::from_static(br#"{"resumed":true}"#);
    assert_eq!(attempt, Attempt::Delivered { status: 200, body });
    let [heard] = &receiver.log().requests[..] else { panic!("one request") };
    assert_eq!(heard.request_line, "POST /hook?run=7 HTTP/1.1");
    assert_eq!(heard.body, BODY);
    for secret in [NEW_SECRET, OLD_SECRET] {
        Webhook::new(secret).unwrap().verify(&heard.body, &heard.headers).unwrap();
    }
    let stranger = Webhook::new(&format!("whsec_{}", "0".repeat(64))).unwrap();
    stranger.verify(&heard.body, &heard.headers).unwrap_err();

    let mut headers: Vec<(&str, &str)> =
        heard.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    headers.sort_unstable();
    let (host, length) = (receiver.address.to_string(), BODY.len().to_string());
    let version = concat!("Placet/", env!("CARGO_PKG_VERSION"));
    assert_eq!(
        headers,
        [
            ("content-length", length.as_str()),
            ("content-type", "application/json"),
            ("host", host.as_str()),
            ("user-agent", version),
            ("webhook-id", "msg_01"),
            ("webhook-signature", heard.headers["webhook-signature"].to_str().unwrap()),
            ("webhook-timestamp", heard.headers["webhook-timestamp"].to_str().unwrap()),
        ]
    );
}

#[tokio::test]
async fn the_signature_is_the_one_of_the_standard() {
    let receiver = Receiver::plain(Answer::status("204 No Content")).await;
    let exempt = hosts(&["127.0.0.1"]);
    let target = Target::parse(&format!("http://{}/", receiver.address), &exempt).unwrap();
    let secrets = ["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD".to_owned()];
    let message = Message {
        id: "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
        timestamp: 1_649_367_553,
        body: br#"{"email":"test@example.com","username":"test_user"}"#,
        secrets: &secrets,
    };

    let attempt = Sender::new(patient()).send(&target, &exempt, &message).await;

    assert_eq!(attempt, Attempt::Delivered { status: 204, body: Bytes::new() });
    let headers: HeaderMap = receiver.log().requests[0].headers.clone();
    assert_eq!(headers["webhook-timestamp"], "1649367553");
    assert_eq!(headers["webhook-signature"], "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
}

#[tokio::test]
async fn a_message_that_cannot_be_signed_is_not_sent() {
    let receiver = Receiver::plain(Answer::status("200 OK")).await;
    let exempt = hosts(&["127.0.0.1"]);
    let target = Target::parse(&format!("http://{}/", receiver.address), &exempt).unwrap();
    let sender = Sender::new(patient());
    let (none, bad) = (vec![], vec![NEW_SECRET.to_owned(), "whsec_***".to_owned()]);
    let (id, timestamp) = ("msg_01", now());
    for (message, reason) in [
        (Message { id, timestamp, body: BODY, secrets: &none }, "there is no secret to sign with"),
        (Message { id, timestamp, body: BODY, secrets: &bad }, "the message could not be signed"),
        (Message { id, timestamp, body: b"\xff", secrets: &secrets() }, "the message could not be signed"),
        (
            Message { id: "a\r\nb: c", timestamp, body: BODY, secrets: &secrets() },
            "a header's value does not fit in a header",
        ),
    ] {
        let attempt = sender.send(&target, &exempt, &message).await;
        assert_eq!(attempt, Attempt::Unreachable { reason: reason.to_owned() });
    }
    assert_eq!(receiver.log().connections, 0);
}

#[tokio::test]
async fn an_answer_of_410_ends_it() {
    let receiver = Receiver::plain(Answer::json("410 Gone", "bye")).await;
    assert_eq!(post_to(&receiver, patient()).await, Attempt::Gone);
}

#[tokio::test]
async fn a_redirect_is_refused_and_its_target_sees_nothing() {
    for status in [300, 301, 302, 303, 307, 308] {
        let elsewhere = Receiver::plain(Answer::status("200 OK")).await;
        let location = format!("http://{}/stolen", elsewhere.address);
        let receiver = Receiver::plain(Answer::Bytes(format!(
            "HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"
        )))
        .await;

        assert_eq!(post_to(&receiver, patient()).await, refused(status));

        assert_eq!(receiver.log().requests.len(), 1);
        assert_eq!(elsewhere.log().connections, 0);
    }
}

#[tokio::test]
async fn an_error_status_is_refused_with_what_the_receiver_said() {
    for (line, status) in [
        ("400 Bad Request", 400),
        ("404 Not Found", 404),
        ("409 Conflict", 409),
        ("500 Internal Server Error", 500),
        ("599 What", 599),
    ] {
        let receiver = Receiver::plain(Answer::json(line, r#"{"message":"is running already"}"#)).await;
        let body = Bytes::from_static(br#"{"message":"is running already"}"#);
        let expected = Attempt::Refused { status, retry_after: None, body };
        assert_eq!(post_to(&receiver, patient()).await, expected);
    }
}

#[tokio::test]
async fn retry_after_is_read_as_seconds_and_as_a_date() {
    let date = "date: Wed, 21 Oct 2015 07:28:00 GMT\r\n";
    for (headers, expected) in [
        ("retry-after: 120\r\n".to_owned(), Some(Duration::from_mins(2))),
        (format!("{date}retry-after: Wed, 21 Oct 2015 07:29:30 GMT\r\n"), Some(Duration::from_secs(90))),
        (format!("{date}retry-after: Wed, 21 Oct 2015 07:27:00 GMT\r\n"), Some(Duration::ZERO)),
        ("retry-after: Wed, 21 Oct 2015 07:27:00 GMT\r\n".to_owned(), Some(Duration::ZERO)),
        ("retry-after: soon\r\n".to_owned(), None),
        ("retry-after: -1\r\n".to_owned(), None),
    ] {
        let receiver = Receiver::plain(Answer::Bytes(format!(
            "HTTP/1.1 503 Busy\r\n{headers}content-length: 0\r\n\r\n"
        )))
        .await;
        let expected = Attempt::Refused { status: 503, retry_after: expected, body: Bytes::new() };
        assert_eq!(post_to(&receiver, patient()).await, expected, "{headers}");
    }
}

#[tokio::test]
async fn a_receiver_that_never_answers_is_given_up_and_hung_up_on() {
    let receiver = Receiver::plain(Answer::ThenSilence(String::new())).await;

    let attempt = post_to(&receiver, Options { total_timeout: IMPATIENCE, ..patient() }).await;

    assert_eq!(unreachable_because(&attempt), "`127.0.0.1` did not answer within 500 ms");
    receiver.wait_until(|log| log.closed == 1).await;
    assert_eq!(receiver.log().requests.len(), 1);
}

#[tokio::test]
async fn headers_that_never_end_are_given_up() {
    let endless =
        Answer::ThenEndless("HTTP/1.1 200 OK\r\n".to_owned(), format!("x: {}\r\n", "y".repeat(999)));
    let receiver = Receiver::plain(endless).await;

    let attempt = post_to(&receiver, patient()).await;

    assert_eq!(unreachable_because(&attempt), "`127.0.0.1` could not be reached: message head is too large");
    receiver.wait_until(|log| log.closed == 1).await;
}

#[tokio::test]
async fn interim_answers_without_end_are_given_up() {
    let endless = Answer::ThenEndless(String::new(), "HTTP/1.1 102 Processing\r\n\r\n".to_owned());
    let receiver = Receiver::plain(endless).await;

    let attempt = post_to(&receiver, Options { total_timeout: IMPATIENCE, ..patient() }).await;

    assert_eq!(unreachable_because(&attempt), "`127.0.0.1` did not answer within 500 ms");
    receiver.wait_until(|log| log.closed == 1).await;
}

#[tokio::test]
async fn of_a_huge_body_only_the_beginning_is_read() {
    let options = Options { max_response_bytes: 1000, ..patient() };
    let chunk = format!("64\r\n{}\r\n", "a".repeat(100));
    for answer in [
        Answer::json("200 OK", &"a".repeat(5_000_000)),
        Answer::ThenEndless("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_owned(), chunk),
        Answer::ThenEndless("HTTP/1.1 200 OK\r\n\r\n".to_owned(), "a".repeat(64)),
    ] {
        let receiver = Receiver::plain(answer).await;

        let attempt = post_to(&receiver, options.clone()).await;

        assert_eq!(attempt, Attempt::Delivered { status: 200, body: Bytes::from("a".repeat(1000)) });
        receiver.wait_until(|log| log.closed == 1).await;
    }
}

#[tokio::test]
async fn a_body_that_stalls_or_breaks_off_leaves_the_status_standing() {
    let started = "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"re".to_owned();
    for answer in [Answer::ThenSilence(started.clone()), Answer::ThenClose(started)] {
        let receiver = Receiver::plain(answer).await;

        let attempt = post_to(&receiver, Options { total_timeout: IMPATIENCE, ..patient() }).await;

        assert_eq!(attempt, Attempt::Delivered { status: 200, body: Bytes::from_static(b"{\"re") });
        receiver.wait_until(|log| log.closed == 1).await;
    }
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_no_answer() {
    for (bytes, reason) in [
        ("", "connection closed before message completed"),
        ("SSH-2.0-OpenSSH_9.6\r\n", "invalid HTTP version parsed"),
        ("HTTP/1.1 200", "connection closed before message completed"),
    ] {
        let receiver = Receiver::plain(Answer::ThenClose(bytes.to_owned())).await;
        let attempt = post_to(&receiver, patient()).await;
        assert_eq!(
            unreachable_because(&attempt),
            format!("`127.0.0.1` could not be reached: {reason}"),
            "{bytes}"
        );
    }
}

#[tokio::test]
async fn a_closed_port_is_unreachable() {
    let address = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("http://{address}/");

    let attempt = post(&Sender::new(patient()), &url, &["127.0.0.1"], &["127.0.0.1"]).await;

    assert!(unreachable_because(&attempt).contains("refused"), "{attempt:?}");
}

#[tokio::test]
async fn a_host_that_takes_the_connection_and_no_more_is_given_up_in_the_handshake() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", silent.local_addr().unwrap());
    let sender = Sender::new(Options { connect_timeout: IMPATIENCE, ..patient() });

    let attempt = post(&sender, &url, &["127.0.0.1"], &["127.0.0.1"]).await;

    let reason = "`127.0.0.1` could not be reached: no connection within 500 ms";
    assert_eq!(unreachable_because(&attempt), reason);
}

#[tokio::test]
async fn a_connection_is_used_again_for_the_same_host() {
    let receiver = Receiver::plain(Answer::json("200 OK", "ok")).await;
    let url = format!("http://{}/", receiver.address);
    let sender = Sender::new(patient());

    for _ in 0..3 {
        let attempt = post(&sender, &url, &["127.0.0.1"], &["127.0.0.1"]).await;
        assert_eq!(attempt, Attempt::Delivered { status: 200, body: Bytes::from_static(b"ok") });
    }

    let log = receiver.log();
    assert_eq!((log.connections, log.requests.len()), (1, 3));
}

#[tokio::test]
async fn an_exemption_that_is_withdrawn_or_is_for_another_port_holds_nothing_open() {
    let receiver = Receiver::plain(Answer::status("200 OK")).await;
    let sender = Sender::new(patient());
    let url = format!("http://{}/", receiver.address);
    let same_port = receiver.address.to_string();
    let delivered = Attempt::Delivered { status: 200, body: Bytes::new() };
    let plain = forbidden("plain http is only for hosts named in `callback_hosts`: use https");

    assert_eq!(post(&sender, &url, &["127.0.0.1"], &[&same_port]).await, delivered);
    assert_eq!(post(&sender, &url, &["127.0.0.1"], &[]).await, plain);
    assert_eq!(post(&sender, &url, &["127.0.0.1"], &["127.0.0.1:1"]).await, plain);
    assert_eq!(post(&sender, &url, &["127.0.0.1"], &["localhost"]).await, plain);

    let secure = format!("https://{}/", receiver.address);
    assert_eq!(
        post(&sender, &secure, &["127.0.0.1"], &[]).await,
        forbidden("a loopback address is only for hosts named in `callback_hosts`: use a public host")
    );
    assert_eq!(receiver.log().connections, 1);
}

#[tokio::test]
async fn a_name_that_leads_to_this_machine_is_forbidden() {
    let receiver = Receiver::plain(Answer::status("200 OK")).await;
    let mapped = SocketAddr::new(Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(), receiver.port());
    for address in [receiver.address, mapped] {
        let resolver = LyingResolver::new([vec![address]]);

        let attempt = post_by_name(&resolver, receiver.port(), &[], patient()).await;

        assert_eq!(attempt, forbidden(NAME_IS_LOOPBACK));
        assert_eq!(resolver.asked(), [("hooks.test".to_owned(), receiver.port())]);
    }
    assert_eq!(receiver.log().connections, 0);
}

#[tokio::test]
async fn one_private_answer_among_public_ones_bars_them_all() {
    let receiver = Receiver::plain(Answer::status("200 OK")).await;
    let public = SocketAddr::new(PUBLIC_NOWHERE.into(), receiver.port());
    let metadata = SocketAddr::from(([169, 254, 169, 254], 443));
    let link_local = NAME_IS_LOOPBACK.replace("loopback", "link-local");
    for (answer, reason) in [
        (vec![public, receiver.address], NAME_IS_LOOPBACK),
        (vec![receiver.address, public], NAME_IS_LOOPBACK),
        (vec![public, public, metadata], link_local.as_str()),
    ] {
        let resolver = LyingResolver::new([answer]);
        let attempt = post_by_name(&resolver, receiver.port(), &[], patient()).await;
        assert_eq!(attempt, forbidden(reason));
    }
    assert_eq!(receiver.log().connections, 0);
}

#[tokio::test]
async fn a_name_that_changes_after_the_check_gains_nothing() {
    let receiver = Receiver::plain(Answer::status("200 OK")).await;
    let public = SocketAddr::new(PUBLIC_NOWHERE.into(), receiver.port());
    let resolver = LyingResolver::new([vec![public], vec![receiver.address], vec![receiver.address]]);
    let options = Options { connect_timeout: IMPATIENCE, ..patient() };

    let attempt = post_by_name(&resolver, receiver.port(), &[], options).await;

    unreachable_because(&attempt);
    assert_eq!(resolver.asked().len(), 1);
    assert_eq!(receiver.log().connections, 0);

    // The next try asks again, and is judged by that answer.
    let options = Options { connect_timeout: IMPATIENCE, ..patient() };
    let attempt = post_by_name(&resolver, receiver.port(), &[], options).await;
    assert_eq!(attempt, forbidden(NAME_IS_LOOPBACK));
    assert_eq!(receiver.log().connections, 0);
}

#[tokio::test]
async fn a_name_without_an_address_is_unreachable() {
    for (resolver, cause) in
        [(LyingResolver::new([vec![]]), "no address"), (LyingResolver::new([]), "no such name")]
    {
        let attempt = post_by_name(&resolver, 443, &[], patient()).await;
        let reason = format!("`hooks.test` could not be reached: {cause}");
        assert_eq!(attempt, Attempt::Unreachable { reason });
    }
}

#[tokio::test]
async fn over_tls_the_server_name_and_the_host_header_are_the_name() {
    let (receiver, certificate) = Receiver::tls("hooks.test", Answer::status("202 Accepted")).await;
    let resolver = LyingResolver::new([vec![receiver.address]]);
    let options = Options { extra_roots: vec![certificate], ..patient() };

    let attempt = post_by_name(&resolver, receiver.port(), &["hooks.test"], options).await;

    assert_eq!(attempt, Attempt::Delivered { status: 202, body: Bytes::new() });
    let log = receiver.log();
    assert_eq!(log.server_names, [Some("hooks.test".to_owned())]);
    assert_eq!(log.requests[0].headers["host"], format!("hooks.test:{}", receiver.port()));
}

#[tokio::test]
async fn a_certificate_that_is_untrusted_or_for_another_name_gets_nothing() {
    let (untrusted, _) = Receiver::tls("hooks.test", Answer::status("200 OK")).await;
    let (misnamed, certificate) = Receiver::tls("elsewhere.test", Answer::status("200 OK")).await;
    for (receiver, extra_roots, reason) in [
        (&untrusted, vec![], "UnknownIssuer"),
        (&untrusted, vec![b"not a certificate".to_vec()], "UnknownIssuer"),
        (&misnamed, vec![certificate], "not valid for name"),
    ] {
        let resolver = LyingResolver::new([vec![receiver.address]]);
        let options = Options { extra_roots, ..patient() };

        let attempt = post_by_name(&resolver, receiver.port(), &["hooks.test"], options).await;

        assert!(unreachable_because(&attempt).contains(reason), "{attempt:?}");
        assert_eq!(receiver.log().requests, []);
    }
}

#[tokio::test]
async fn a_connection_opened_by_exemption_is_not_lent_to_a_client_without_it() {
    let (receiver, certificate) = Receiver::tls("hooks.test", Answer::json("200 OK", "ok")).await;
    let resolver = LyingResolver::new(vec![vec![receiver.address]; 2]);
    let sender = Sender::new(Options {
        resolver: Arc::<LyingResolver>::clone(&resolver),
        extra_roots: vec![certificate],
        ..patient()
    });
    let url = format!("https://hooks.test:{}/", receiver.port());
    let delivered = Attempt::Delivered { status: 200, body: Bytes::from_static(b"ok") };

    assert_eq!(post(&sender, &url, &[], &["hooks.test"]).await, delivered);
    assert_eq!(post(&sender, &url, &[], &[]).await, forbidden(NAME_IS_LOOPBACK));
    assert_eq!(post(&sender, &url, &[], &["hooks.test"]).await, delivered);

    let log = receiver.log();
    assert_eq!((log.connections, log.requests.len()), (1, 2));
    assert_eq!(resolver.asked().len(), 2);
}
