//! Serving HTTP: connections, their limits, and an end without loose ends. What is answered is `placet-http`'s.
//!
//! No caller keeps the others out. Connections have a cap, and at the cap the one that has been waiting longest for its
//! peer is closed for a new one: idle, with half a request, or not reading its answer. Calls of clients have fewer places
//! than there are connections, so that a reviewer's page always has one.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::uri::Authority;
use http::{Request, Version, header};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use placet_http::Problem;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, Sleep};
use tower_service::Service as _;

use crate::failure::Failure;

/// Connections at once, where the system allows as many open files.
const CONNECTIONS: usize = 4096;

/// Open files that are left to the database, the folder and what is sent.
const OTHER_FILES: usize = 256;

/// How long an idle connection is kept if nobody says otherwise: longer than the 60 s after which common proxies stop to
/// use one again. Who closes first must be the proxy: it would send a request into a connection that is just closing.
pub(crate) const KEEP_ALIVE_SECONDS: u32 = 75;

/// The most that is buffered of a request's head, in bytes.
const BUFFER_BYTES: usize = 64 * 1024;

/// How much of bodies that have not arrived to their end is held at once, in bytes. Beyond it the oldest of them are cut.
const UNFINISHED_BYTES: usize = 32 * 1024 * 1024;

/// How long it waits after it could not accept: mostly the system is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What connections may take.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Connections at once.
    connections: usize,
    /// Calls of clients at once; the rest is for reviewers, and for those who ask whether the gate is well.
    client_calls: usize,
    /// How long an idle connection is kept, and how long the head of a request may take.
    keep_alive: Duration,
    /// How long the body of a request may take: 64 KiB and a little, on a bad line.
    body: Duration,
    /// How long a peer may read nothing of its answer.
    write: Duration,
    /// How long running calls may still take when the server ends, before they are answered with 503.
    end: Duration,
    /// How long those answers may take to go out.
    farewell: Duration,
}

impl Limits {
    /// The limits of a gate on this machine.
    pub(crate) fn of_this_machine(keep_alive_seconds: u32) -> Self {
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let files = files.map_or(CONNECTIONS, |files| usize::try_from(files).unwrap_or(CONNECTIONS));
        Self::new(files.saturating_sub(OTHER_FILES).clamp(64, CONNECTIONS), keep_alive_seconds)
    }

    fn new(connections: usize, keep_alive_seconds: u32) -> Self {
        Self {
            connections,
            client_calls: connections - connections / 4,
            keep_alive: Duration::from_secs(keep_alive_seconds.into()),
            body: Duration::from_secs(30),
            write: Duration::from_secs(30),
            end: Duration::from_millis(500),
            farewell: Duration::from_millis(500),
        }
    }
}

/// Listens at that address.
pub(crate) async fn listen(address: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        let advice = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                "another program has this port; take another one with --listen 127.0.0.1:PORT (port 0: any)"
            }
            std::io::ErrorKind::InvalidInput => "write it as ADDRESS:PORT, such as --listen 127.0.0.1:8484",
            _ => "the address must be one of this machine: --listen 127.0.0.1:8484",
        };
        let message = format!("cannot listen at `{address}`: {error}");
        let failure = match error.kind() {
            std::io::ErrorKind::InvalidInput => Failure::usage(message),
            _ => Failure::fault(message),
        };
        failure.with_code("cannot_listen").advise(advice)
    })
}

/// The address by which this machine reaches the listener.
pub(crate) fn local_url(address: SocketAddr) -> String {
    let ip = match address.ip() {
        std::net::IpAddr::V4(ip) if ip.is_unspecified() => std::net::Ipv4Addr::LOCALHOST.into(),
        std::net::IpAddr::V6(ip) if ip.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

/// Answers requests until `stop` says so, and then lets running ones finish, but not for long.
pub(crate) async fn serve(
    listener: TcpListener,
    app: Router,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) {
    let connections = Arc::new(Connections::new(&limits));
    let graceful = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.keep_alive).max_buf_size(BUFFER_BYTES);
    let calls = Calls {
        app,
        clients: Arc::new(Semaphore::new(limits.client_calls)),
        stop: stop.clone(),
        limits: limits.clone(),
    };
    loop {
        let accepted = async {
            let stream = listener.accept().await?.0;
            Ok::<_, io::Error>((stream, connections.place().await))
        };
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = accepted => accepted,
        };
        let (stream, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(error = %error, "a connection could not be accepted");
                connections.close_oldest();
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // An answer is one small packet: waiting for a fuller one would cost up to 40 ms.
        let _ = stream.set_nodelay(true);
        let stream = Guarded { stream, limit: limits.write, waits: None };
        let entry = connections.open();
        let (calls, connection) = (calls.clone(), Arc::clone(&entry.connection));
        let service = service_fn(move |request: Request<Incoming>| {
            let (mut calls, connection) = (calls.clone(), Arc::clone(&connection));
            async move {
                connection.works();
                let response = calls.answer(request, &connection).await;
                connection.waits(connection.since_start());
                Ok::<_, Infallible>(response)
            }
        });
        let served = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            tokio::select! {
                // A broken connection is its client's affair.
                _ = served => {}
                () = entry.connection.close.notified() => {}
            }
            drop(entry);
            drop(place);
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(limits.end + limits.farewell, graceful.shutdown()).await;
}

/// What the connections have in common.
struct Connections {
    places: Arc<Semaphore>,
    open: Mutex<HashMap<u64, Arc<Connection>>>,
    next: AtomicU64,
    began: Instant,
    unfinished_bytes: AtomicUsize,
}

/// One connection.
struct Connection {
    all: Arc<Connections>,
    /// Since when its peer is waited for, in milliseconds since the start; [`WORKS`] while the gate works for it.
    waits_since: AtomicU64,
    /// What is held of a body that has not arrived to its end, in bytes.
    unfinished_bytes: AtomicUsize,
    close: Notify,
}

const WORKS: u64 = u64::MAX;

impl Connections {
    fn new(limits: &Limits) -> Self {
        Self {
            places: Arc::new(Semaphore::new(limits.connections)),
            open: Mutex::default(),
            next: AtomicU64::new(0),
            began: Instant::now(),
            unfinished_bytes: AtomicUsize::new(0),
        }
    }

    /// A place for a new connection. Where all are taken, the oldest that waits for its peer is closed.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        loop {
            if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
                return Some(place);
            }
            self.close_oldest();
            tokio::select! {
                place = Arc::clone(&self.places).acquire_owned() => return place.ok(),
                // Nothing was idle: all are worked for, which does not take long.
                () = tokio::time::sleep(ACCEPT_PAUSE) => {}
            }
        }
    }

    fn open(self: &Arc<Self>) -> Entry {
        let connection = Arc::new(Connection {
            all: Arc::clone(self),
            waits_since: AtomicU64::new(0),
            unfinished_bytes: AtomicUsize::new(0),
            close: Notify::new(),
        });
        connection.waits(connection.since_start());
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(number, Arc::clone(&connection));
        Entry { number, connection }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the connection that has been waiting longest for its peer, if there is one.
    fn close_oldest(&self) {
        let open = self.lock();
        let waiting = open.values().filter(|connection| connection.is_waiting());
        if let Some(oldest) = waiting.min_by_key(|connection| connection.waits_since.load(Ordering::Relaxed))
        {
            oldest.cut();
        }
    }

    fn holds_too_much(&self) -> bool {
        self.unfinished_bytes.load(Ordering::Relaxed) > UNFINISHED_BYTES
    }

    /// Cuts the oldest bodies that are still on their way, until what is left fits.
    fn cut_unfinished(&self) {
        let open = self.lock();
        let mut unfinished: Vec<_> = open
            .values()
            .filter(|connection| {
                connection.is_waiting() && connection.unfinished_bytes.load(Ordering::Relaxed) > 0
            })
            .collect();
        unfinished.sort_by_key(|connection| connection.waits_since.load(Ordering::Relaxed));
        let mut held = self.unfinished_bytes.load(Ordering::Relaxed);
        for connection in unfinished {
            if held <= UNFINISHED_BYTES {
                break;
            }
            held = held.saturating_sub(connection.unfinished_bytes.load(Ordering::Relaxed));
            connection.cut();
        }
    }
}

impl Connection {
    fn since_start(&self) -> u64 {
        u64::try_from(self.all.began.elapsed().as_millis()).unwrap_or(WORKS - 1)
    }

    fn waits(&self, since: u64) {
        self.waits_since.store(since, Ordering::Relaxed);
    }

    fn works(&self) {
        self.waits_since.store(WORKS, Ordering::Relaxed);
    }

    fn is_waiting(&self) -> bool {
        self.waits_since.load(Ordering::Relaxed) != WORKS
    }

    /// Closes it, whatever it does.
    fn cut(&self) {
        // Not again: the next one that is looked for must be another.
        self.works();
        self.close.notify_one();
    }
}

/// A connection's entry among the open ones, until it is dropped.
struct Entry {
    number: u64,
    connection: Arc<Connection>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.connection.all.lock().remove(&self.number);
    }
}

/// How calls are answered.
#[derive(Clone)]
struct Calls {
    app: Router,
    clients: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
    limits: Limits,
}

impl Calls {
    async fn answer(&mut self, request: Request<Incoming>, connection: &Arc<Connection>) -> Response {
        if let Some(fault) = host_fault(&request) {
            return Problem::bad_request(fault).into_response();
        }
        let place = if takes_client_place(request.uri().path()) {
            match self.clients.try_acquire() {
                Ok(place) => Some(place),
                Err(_) => {
                    return Problem::busy("the gate has no place left for a client's call", 1)
                        .into_response();
                }
            }
        } else {
            None
        };
        let (app, limit) = (&mut self.app, self.limits.body);
        let response = tokio::select! {
            // In this order: most calls are answered at once, and never look at the other branch.
            biased;
            response = app.call(request.map(|body| Timed::new(body, limit, Arc::clone(connection)))) => {
                response.unwrap_or_else(|never| match never {})
            }
            () = ending(&mut self.stop, self.limits.end) => {
                Problem::busy("the gate is about to end, and has decided nothing; ask again", 1).into_response()
            }
        };
        drop(place);
        response
    }
}

/// Until the server ends, and what still runs has had its time.
async fn ending(stop: &mut watch::Receiver<bool>, patience: Duration) {
    // A sender that is gone has not said so: the call may take its time.
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(patience).await;
}

/// Whether a call takes one of the places that clients have. The others are a person's (the pages, the buttons in chats)
/// or a probe's.
fn takes_client_place(path: &str) -> bool {
    match path.strip_prefix("/v1/") {
        Some(rest) => !rest.starts_with("slack/") && !rest.starts_with("telegram/"),
        None => path.starts_with("/mcp"),
    }
}

/// What is wrong with the `Host` of a request (RFC 9112, section 3.2).
fn host_fault<B>(request: &Request<B>) -> Option<&'static str> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let Some(host) = hosts.next() else {
        let wanted = request.version() == Version::HTTP_11;
        return wanted.then_some("a request of HTTP/1.1 must have a `Host` header");
    };
    if hosts.next().is_some() {
        return Some("a request must have one `Host` header");
    }
    let text = host.as_bytes();
    let fine = text.is_empty() || Authority::try_from(text).is_ok_and(|host| !host.as_str().contains('@'));
    (!fine).then_some("the `Host` header must be a host, with or without a port")
}

/// A connection that is given up when its peer reads nothing for too long.
struct Guarded {
    stream: TcpStream,
    limit: Duration,
    waits: Option<Pin<Box<Sleep>>>,
}

impl Guarded {
    /// Passes on what a write came to; where it has to wait for the peer, not for ever.
    fn in_time<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waits = None;
            return written;
        }
        // Most writes never need the timer.
        let waits = self.waits.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.limit)));
        match waits.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.in_time(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.in_time(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A request's body that must arrive in time: one that drips would hold its connection for ever.
struct Timed {
    body: Incoming,
    limit: Duration,
    waits: Option<Pin<Box<Sleep>>>,
    connection: Arc<Connection>,
    began: u64,
    held: usize,
}

impl Timed {
    fn new(body: Incoming, limit: Duration, connection: Arc<Connection>) -> Self {
        let began = connection.since_start();
        Self { body, limit, waits: None, connection, began, held: 0 }
    }

    fn holds(&mut self, bytes: usize) {
        self.held = self.held.saturating_add(bytes);
        self.connection.unfinished_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.connection.all.unfinished_bytes.fetch_add(bytes, Ordering::Relaxed);
        if self.connection.all.holds_too_much() {
            self.connection.all.cut_unfinished();
        }
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        self.connection.unfinished_bytes.fetch_sub(self.held, Ordering::Relaxed);
        self.connection.all.unfinished_bytes.fetch_sub(self.held, Ordering::Relaxed);
    }
}

impl Body for Timed {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        // Those that were cut let go of what they hold when it is their turn. Whoever reads on before that, and there may be
        // hundreds after a standstill, would hold as much again.
        if this.connection.all.holds_too_much() {
            this.connection.waits(this.began);
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            this.connection.works();
            if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()).and_then(Frame::data_ref)
            {
                let bytes = data.len();
                this.holds(bytes);
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        // Since the body began, not since its last byte: one that drips is as old as one that stands still.
        this.connection.waits(this.began);
        // Most bodies come with their head, and never need the timer.
        let waits = this.waits.get_or_insert_with(|| Box::pin(tokio::time::sleep(this.limit)));
        match waits.as_mut().poll(context) {
            Poll::Ready(()) => {
                this.connection.works();
                Poll::Ready(Some(Err(io::Error::from(io::ErrorKind::TimedOut).into())))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Lets the process have as many open files as the system allows: each connection is one.
pub(crate) fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Where this is refused, the gate serves with fewer connections.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

#[cfg(test)]
mod tests {
    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::Barrier;
    use tokio::task::JoinHandle;

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
            fault(Version::HTTP_11, &[b"a", b"a"]).is_some()
                && fault(Version::HTTP_10, &[b"a", b"b"]).is_some()
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
            read(
                &mut self
                    .sends(&format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"))
                    .await,
            )
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
        for text in ["", "GET", half, "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"].into_iter().cycle().take(40)
        {
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
        let mut slow =
            served.sends("POST /r/echo HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf").await;
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
}
