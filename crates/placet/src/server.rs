//! Serving HTTP: connections, their limits, and an end without loose ends. What is answered is `placet-http`'s.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use http::Request;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::Sleep;
use tower_service::Service as _;

use crate::failure::Failure;

/// Connections at once. Further ones wait in the system's queue.
const CONNECTIONS: usize = 4096;

/// How long a client may take for the head of a request, and how long an idle connection is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a client may take for the body of a request: 64 KiB and a little, on a bad line.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// The most that is buffered of a request's head, in bytes.
const BUFFER_BYTES: usize = 64 * 1024;

/// How long running requests may still take when the server ends. Long polls are cut: their callers ask again.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// How long it waits after it could not accept: mostly the system is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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
        Failure::fault(format!("cannot listen at `{address}`: {error}")).advise(advice)
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
pub(crate) async fn serve(listener: TcpListener, app: Router, mut stop: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(BUFFER_BYTES);
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await.ok()?;
            Some((place, listener.accept().await))
        };
        let (place, accepted) = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = accepted => match accepted {
                Some(accepted) => accepted,
                None => break,
            },
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(error = %error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // An answer is one small packet: waiting for a fuller one would cost up to 40 ms.
        let _ = stream.set_nodelay(true);
        let app = app.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let mut app = app.clone();
            async move { Ok::<_, Infallible>(app.call(request.map(Timed::new)).await.into_ok_or_never()) }
        });
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            // A broken connection is its client's affair.
            let _ = connection.await;
            drop(place);
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(END_TIMEOUT, graceful.shutdown()).await;
}

trait IntoOk<T> {
    fn into_ok_or_never(self) -> T;
}

impl<T> IntoOk<T> for Result<T, Infallible> {
    fn into_ok_or_never(self) -> T {
        match self {
            Ok(value) => value,
            Err(never) => match never {},
        }
    }
}

/// A request's body that must arrive in time: one that drips would hold its connection for ever.
struct Timed {
    body: Incoming,
    limit: Option<Pin<Box<Sleep>>>,
}

impl Timed {
    fn new(body: Incoming) -> Self {
        Self { body, limit: None }
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
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        // Most bodies come with their head, and never need the timer.
        let limit = this.limit.get_or_insert_with(|| Box::pin(tokio::time::sleep(BODY_TIMEOUT)));
        match limit.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Some(Err("the body did not arrive in time".into()))),
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
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    #[test]
    fn a_listener_on_every_address_is_reached_by_the_local_one() {
        let urls = ["0.0.0.0:80", "[::]:81", "127.0.0.1:82"].map(|text| local_url(text.parse().unwrap()));
        assert_eq!(urls, ["http://127.0.0.1:80", "http://[::1]:81", "http://127.0.0.1:82"]);
    }

    #[tokio::test]
    async fn the_end_lets_a_running_request_finish_and_cuts_what_takes_too_long() {
        let listener = listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let running = Arc::new(tokio::sync::Barrier::new(2));
        let begun = Arc::clone(&running);
        let app = Router::new().route(
            "/soon",
            axum::routing::get(move || async move {
                begun.wait().await;
                begun.wait().await;
                "done"
            }),
        );
        let (stop, stopped) = watch::channel(false);
        let server = tokio::spawn(serve(listener, app, stopped));
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
