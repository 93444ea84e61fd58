//! A receiver of callbacks on loopback that behaves as badly as a test asks, and a name server that lies.
//!
//! Raw sockets, so that it can send what no HTTP library would. No assertions here.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http::{HeaderMap, HeaderName, HeaderValue};
use placet_webhook::{Resolve, Resolving};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// What every request is answered with.
#[derive(Clone)]
pub(crate) enum Answer {
    /// These bytes; the connection stays open for the next request.
    Bytes(String),
    /// These bytes, then the connection is closed.
    ThenClose(String),
    /// These bytes, then silence.
    ThenSilence(String),
    /// These bytes, then the second ones over and over.
    ThenEndless(String, String),
}

impl Answer {
    pub(crate) fn status(line: &str) -> Self {
        Self::Bytes(format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\n\r\n"))
    }

    pub(crate) fn json(line: &str, body: &str) -> Self {
        let length = body.len();
        Self::Bytes(format!("HTTP/1.1 {line}\r\ncontent-length: {length}\r\n\r\n{body}"))
    }
}

/// A request as it came over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) request_line: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// What has happened so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log {
    pub(crate) connections: usize,
    pub(crate) closed: usize,
    /// The server name of each TLS handshake that succeeded.
    pub(crate) server_names: Vec<Option<String>>,
    pub(crate) requests: Vec<Heard>,
}

pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    log: watch::Receiver<Log>,
}

impl Receiver {
    pub(crate) async fn plain(answer: Answer) -> Self {
        Self::start(answer, None).await
    }

    /// Speaks TLS with a certificate for `name`; also returns that certificate.
    pub(crate) async fn tls(name: &str, answer: Answer) -> (Self, Vec<u8>) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        let receiver = Self::start(answer, Some(TlsAcceptor::from(Arc::new(config)))).await;
        (receiver, certificate.to_vec())
    }

    async fn start(answer: Answer, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (record, log) = watch::channel(Log::default());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                record.send_modify(|log| log.connections += 1);
                let (answer, tls, record) = (answer.clone(), tls.clone(), record.clone());
                tokio::spawn(async move {
                    // How a connection ends is for the client's side to tell.
                    let _ = match tls {
                        None => serve(stream, &answer, &record).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => {
                                let name = stream.get_ref().1.server_name().map(str::to_owned);
                                record.send_modify(|log| log.server_names.push(name));
                                serve(stream, &answer, &record).await
                            }
                            Err(error) => Err(error),
                        },
                    };
                    record.send_modify(|log| log.closed += 1);
                });
            }
        });
        Self { address, log }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn log(&self) -> Log {
        self.log.borrow().clone()
    }

    pub(crate) async fn wait_until(&self, condition: impl FnMut(&Log) -> bool) {
        self.log.clone().wait_for(condition).await.unwrap();
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: &Answer,
    record: &watch::Sender<Log>,
) -> io::Result<()> {
    while let Some(heard) = read_request(&mut stream).await? {
        record.send_modify(|log| log.requests.push(heard));
        match answer {
            Answer::Bytes(bytes) => {
                stream.write_all(bytes.as_bytes()).await?;
                stream.flush().await?;
            }
            Answer::ThenClose(bytes) => {
                stream.write_all(bytes.as_bytes()).await?;
                return stream.shutdown().await;
            }
            Answer::ThenSilence(bytes) => {
                stream.write_all(bytes.as_bytes()).await?;
                stream.flush().await?;
                stream.read_u8().await?;
            }
            Answer::ThenEndless(first, again) => {
                stream.write_all(first.as_bytes()).await?;
                loop {
                    stream.write_all(again.as_bytes()).await?;
                }
            }
        }
    }
    Ok(())
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Heard>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && head.is_empty() => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.trim_end().split("\r\n");
    let request_line = lines.next().unwrap().to_owned();
    let headers: HeaderMap = lines
        .map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap())
        })
        .collect();
    let length: usize = headers["content-length"].to_str().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Some(Heard { request_line, headers, body }))
}

/// Gives its answers in turn, then has none, and counts the questions.
#[derive(Default)]
pub(crate) struct LyingResolver {
    answers: Mutex<VecDeque<io::Result<Vec<SocketAddr>>>>,
    asked: Mutex<Vec<(String, u16)>>,
}

impl LyingResolver {
    pub(crate) fn new(answers: impl IntoIterator<Item = Vec<SocketAddr>>) -> Arc<Self> {
        let answers = answers.into_iter().map(Ok).collect();
        Arc::new(Self { answers: Mutex::new(answers), asked: Mutex::default() })
    }

    pub(crate) fn asked(&self) -> Vec<(String, u16)> {
        self.asked.lock().unwrap().clone()
    }
}

impl Resolve for LyingResolver {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a> {
        self.asked.lock().unwrap().push((host.to_owned(), port));
        let answer = self.answers.lock().unwrap().pop_front();
        Box::pin(async move { answer.unwrap_or_else(|| Err(io::Error::other("no such name"))) })
    }
}
