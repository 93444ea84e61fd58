//! A lean blocking HTTP/1.1 server on the loopback: a thread for each connection, bodies by `Content-Length`.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use crate::failure::{Failure, Result};

/// How much is read at once.
const CHUNK: usize = 16 * 1024;

/// What was asked.
pub(crate) struct Call {
    /// Upper-case method.
    pub(crate) method: String,
    /// Path and query.
    pub(crate) path: String,
    /// `X-Amz-Target`: the service and the operation, in AWS's JSON protocols.
    pub(crate) target: Option<String>,
    /// The body.
    pub(crate) body: Vec<u8>,
    /// When all of it was there.
    pub(crate) at: Instant,
}

/// What is answered.
pub(crate) struct Reply {
    /// The status code.
    pub(crate) status: u16,
    /// More headers.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// An answer without headers of its own.
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }
}

/// A server on a port that the system chose. Takes no new connections once it is dropped.
pub(crate) struct Listener {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    ended: Arc<AtomicBool>,
}

impl Listener {
    /// Answers every call with `answer`, which may block. No answer closes the connection.
    pub(crate) fn serve(answer: impl Fn(Call) -> Option<Reply> + Send + Sync + 'static) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let ended = Arc::new(AtomicBool::new(false));
        let (answer, end) = (Arc::new(answer), Arc::clone(&ended));
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if end.load(Ordering::Relaxed) {
                    return;
                }
                let answer = Arc::clone(&answer);
                thread::spawn(move || talk(stream, &*answer));
            }
        });
        Ok(Self { address, ended })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts, so that it sees the end.
        let _ = TcpStream::connect(self.address);
    }
}

/// One connection, until its other end closes it.
fn talk(mut stream: TcpStream, answer: &dyn Fn(Call) -> Option<Reply>) {
    let _ = stream.set_nodelay(true);
    let mut inbox = Vec::with_capacity(CHUNK);
    loop {
        match receive(&mut stream, &mut inbox) {
            Ok(Some(call)) => {
                let Some(reply) = answer(call) else { return };
                if stream.write_all(&written(&reply)).is_err() {
                    return;
                }
            }
            Ok(None) => return,
            Err(failure) => {
                // A reset is how a process that was killed ends its connection.
                let _ = stream.write_all(&written(&Reply::new(400, failure.to_string())));
                return;
            }
        }
    }
}

fn receive(stream: &mut TcpStream, inbox: &mut Vec<u8>) -> Result<Option<Call>> {
    loop {
        if let Some((mut call, head, length)) = read_head(inbox)? {
            while inbox.len() < head + length {
                if !read_more(stream, inbox)? {
                    return Ok(None);
                }
            }
            call.body = inbox.get(head..head + length).unwrap_or_default().to_vec();
            call.at = Instant::now();
            inbox.drain(..head + length);
            return Ok(Some(call));
        }
        if !read_more(stream, inbox)? {
            return Ok(None);
        }
    }
}

fn read_more(stream: &mut TcpStream, inbox: &mut Vec<u8>) -> Result<bool> {
    let mut chunk = [0; CHUNK];
    let count = stream.read(&mut chunk)?;
    inbox.extend_from_slice(chunk.get(..count).unwrap_or_default());
    Ok(count > 0)
}

/// The call without its body, the length of the head and that of the body, once the whole head is there.
fn read_head(bytes: &[u8]) -> Result<Option<(Call, usize, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request.parse(bytes).map_err(|error| Failure::new("a call is not HTTP", error))?;
    let httparse::Status::Complete(head) = parsed else { return Ok(None) };
    let header = |name: &str| {
        let found = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(found.value).ok()
    };
    if header("transfer-encoding").is_some() {
        return Err(Failure::bare("a call does not say its length"));
    }
    let length = header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let call = Call {
        method: request.method.unwrap_or_default().to_owned(),
        path: request.path.unwrap_or_default().to_owned(),
        target: header("x-amz-target").map(str::to_owned),
        body: Vec::new(),
        at: Instant::now(),
    };
    Ok(Some((call, head, length)))
}

fn written(reply: &Reply) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {} -\r\ncontent-length: {}\r\n", reply.status, reply.body.len());
    for (name, value) in &reply.headers {
        for part in [name, ": ", value, "\r\n"] {
            bytes.push_str(part);
        }
    }
    bytes.push_str("\r\n");
    let mut bytes = bytes.into_bytes();
    bytes.extend_from_slice(&reply.body);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_on_one_connection_are_answered_in_turn() {
        let listener = Listener::serve(|call| {
            Some(Reply::new(200, format!("{} {} {}", call.method, call.path, call.body.len())))
        })
        .unwrap();
        let mut stream = TcpStream::connect(listener.address).unwrap();
        stream.write_all(b"POST /a HTTP/1.1\r\ncontent-length: 3\r\n\r\nabcGET /b HTTP/1.1\r\n\r\n").unwrap();
        let expected = "HTTP/1.1 200 -\r\ncontent-length: 9\r\n\r\nPOST /a 3HTTP/1.1 200 -\r\ncontent-length: 8\r\n\r\nGET /b 0";
        let mut said = vec![0; expected.len()];
        stream.read_exact(&mut said).unwrap();
        assert_eq!(String::from_utf8(said).unwrap(), expected);
    }
}
