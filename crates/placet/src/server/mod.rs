//! Serving HTTP: connections, their limits, and an end without loose ends. What is answered is `placet-http`'s.
//!
//! No caller keeps the others out. Connections have a cap, and at the cap the one that has been waiting longest for its
//! peer is closed for a new one: idle, with half a request, or not reading its answer. Calls of clients have fewer places
//! than there are connections, so that a reviewer's page always has one.

mod body;
mod connections;
mod stream;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use http::uri::Authority;
use http::{Request, Version, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use placet_http::Problem;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tower_service::Service as _;

use self::body::Timed;
use self::connections::{ACCEPT_PAUSE, Connection, Connections};
use self::stream::Guarded;
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
    let connections = Arc::new(Connections::new(limits.connections));
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
        let stream = Guarded::new(stream, limits.write);
        let entry = connections.open();
        let (calls, connection) = (calls.clone(), Arc::clone(&entry.connection));
        let service = service_fn(move |request: Request<Incoming>| {
            let (mut calls, connection) = (calls.clone(), Arc::clone(&connection));
            async move {
                connection.works();
                let response = calls.answer(request, &connection).await;
                connection.waits_from_now();
                Ok::<_, Infallible>(response)
            }
        });
        let served = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            tokio::select! {
                // A broken connection is its client's affair.
                _ = served => {}
                () = entry.connection.closed() => {}
            }
            drop(entry);
            drop(place);
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(limits.end + limits.farewell, graceful.shutdown()).await;
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

/// Lets the process have as many open files as the system allows: each connection is one.
pub(crate) fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Where this is refused, the gate serves with fewer connections.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
