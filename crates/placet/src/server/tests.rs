use axum::routing::{get, post};
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;

#[test]
fn a_listener_on_every_address_is_reached_by_the_local_one() {
    let urls = ["0.0.0.0:80", "[::]:81", "127.0.0.1:82"].map(|text| local_url(text.parse().unwrap()));
    assert_eq!(urls, ["http://127.0.0.1:80", "http://[::1]:81", "http://127.0.0.1:82"]);
}

#[test]
fn a_request_names_one_host() {
    let fault = |version: Version, hosts: &[&[u8]]| {
        let mut request = Request::builder().version(version).body(()).unwrap();
        for host in hosts {
            request.headers_mut().append(header::HOST, http::HeaderValue::from_bytes(host).unwrap());
        }
        host_fault(&request)
    };
    let fine: [&[u8]; 6] =
        [b"gate.example.com", b"127.0.0.1:8484", b"[::1]:8484", b"localhost", b"a_b.c", b""];
    for host in fine {
        assert_eq!(fault(Version::HTTP_11, &[host]), None, "{host:?}");
    }
    let bad: [&[u8]; 6] = [b"a b", b"u@h", b"a/b", b"a\xffb", b"[::1", b"a:b:c"];
    for host in bad {
        assert!(fault(Version::HTTP_11, &[host]).is_some(), "{host:?}");
    }
    assert!(fault(Version::HTTP_11, &[]).is_some() && fault(Version::HTTP_10, &[]).is_none());
    assert!(
        fault(Version::HTTP_11, &[b"a", b"a"]).is_some() && fault(Version::HTTP_10, &[b"a", b"b"]).is_some()
    );
}

#[test]
fn people_and_probes_have_places_of_their_own() {
    let paths = ["/v1/requests", "/v1/tokens/verify", "/mcp"];
    assert!(paths.into_iter().all(takes_client_place));
    let kept = [
        "/r/x",
        "/inbox/x",
        "/healthz",
        "/readyz",
        "/metrics",
        "/",
        "/v1/slack/interactions",
        "/v1/telegram/updates",
    ];
    assert!(!kept.into_iter().any(takes_client_place));
}

/// A gate of few places that answers `/healthz`, echoes what is posted to `/r/echo`, and never answers `/v1/wait`.
struct Served {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
}

impl Served {
    async fn start(change: impl FnOnce(&mut Limits)) -> Self {
        let app = Router::new()
            .route("/healthz", get(|| async { "well" }))
            .route("/r/echo", post(|body: Bytes| async { body }))
            .route("/r/large", get(|| async { vec![b'x'; 8 << 20] }))
            .route("/v1/wait", get(std::future::pending::<&str>));
        let mut limits = Limits::new(8, 60);
        change(&mut limits);
        let listener = listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        Self { address, stop, server: tokio::spawn(serve(listener, app, limits, stopped)) }
    }

    async fn sends(&self, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    async fn asks(&self, path: &str) -> String {
        read(&mut self.sends(&format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await)
            .await
    }
}

async fn read(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset is an end, too.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn is_well(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 200") && answer.ends_with("well")
}

#[tokio::test]
async fn a_newcomer_gets_the_place_of_whoever_has_been_silent_longest() {
    let served = Served::start(|_| {}).await;
    let half = "POST /r/echo HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf";
    let mut silent = Vec::new();
    for text in ["", "GET", half, "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"].into_iter().cycle().take(40) {
        silent.push(served.sends(text).await);
    }
    assert!(is_well(&served.asks("/healthz").await));
    // The first of them was closed; the last of them was not, and is still served.
    assert!(!read(&mut silent[0]).await.contains("200"));
    let mut last = silent.pop().unwrap();
    last.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    assert!(is_well(&read(&mut last).await));
}

#[tokio::test]
async fn clients_that_wait_leave_places_for_people_and_are_told_so() {
    let served = Served::start(|_| {}).await;
    let wait = "GET /v1/wait HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut waiting = Vec::new();
    for _ in 0..6 {
        waiting.push(served.sends(wait).await);
    }
    // They have been taken up when a further one is refused.
    let refused = loop {
        let mut stream = served.sends(wait).await;
        let mut byte = [0; 1];
        match tokio::time::timeout(Duration::from_millis(200), stream.read(&mut byte)).await {
            Ok(_) => break read(&mut stream).await,
            Err(_) => waiting.push(stream),
        }
    };
    assert!(refused.starts_with("TTP/1.1 503") && refused.contains("retry-after: 1"), "{refused}");
    assert!(is_well(&served.asks("/healthz").await));
}

#[tokio::test]
async fn whoever_does_not_read_an_answer_is_given_up() {
    let served = Served::start(|limits| limits.write = Duration::from_millis(100)).await;
    let mut deaf = served.sends("GET /r/large HTTP/1.1\r\nhost: x\r\n\r\n").await;
    deaf.readable().await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    let answer = read(&mut deaf).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.len() < 8 << 20, "{}", answer.len());
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let served = Served::start(|limits| limits.body = Duration::from_millis(100)).await;
    let mut slow = served.sends("POST /r/echo HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf").await;
    assert!(read(&mut slow).await.starts_with("HTTP/1.1 400"));
}

#[tokio::test]
async fn an_idle_connection_is_kept_as_long_as_was_said() {
    let served = Served::start(|limits| limits.keep_alive = Duration::from_millis(300)).await;
    let began = Instant::now();
    let mut idle = served.sends("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(is_well(&read(&mut idle).await));
    assert!(began.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn the_end_answers_what_takes_too_long() {
    let served = Served::start(|limits| limits.end = Duration::from_millis(50)).await;
    let mut waiting = served.sends("GET /v1/wait HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let idle = served.sends("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    idle.readable().await.unwrap();
    served.stop.send(true).unwrap();
    let answer = read(&mut waiting).await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 1"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    served.server.await.unwrap();
    assert!(TcpStream::connect(served.address).await.is_err());
}

#[tokio::test]
async fn the_end_lets_a_running_request_finish() {
    let listener = listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let running = Arc::new(Barrier::new(2));
    let begun = Arc::clone(&running);
    let app = Router::new().route(
        "/soon",
        get(move || async move {
            begun.wait().await;
            begun.wait().await;
            "done"
        }),
    );
    let (stop, stopped) = watch::channel(false);
    let server = tokio::spawn(serve(listener, app, Limits::new(8, 60), stopped));
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET /soon HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET /").await.unwrap();
    running.wait().await;
    stop.send(true).unwrap();
    running.wait().await;
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"), "{answer}");
    server.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}
