//! A lean HTTP/1.1 client: one kept-alive connection, whole messages written at once, answers by `Content-Length`.
//!
//! It knows just enough for the servers measured here, so that it costs far less than they do.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::failure::{Failure, Result};

/// How much is read at once.
const CHUNK: usize = 16 * 1024;

/// One connection. One request at a time: send, then receive.
pub(crate) struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    inbox: Vec<u8>,
    answered: usize,
}

/// A request to send.
#[derive(Clone, Copy)]
pub(crate) struct Message<'a> {
    /// Upper-case method.
    pub(crate) method: &'a str,
    /// Path and query.
    pub(crate) path: &'a str,
    /// More headers.
    pub(crate) headers: &'a [(&'a str, &'a str)],
    /// The body; empty for none.
    pub(crate) body: &'a [u8],
}

/// An answer, as long as the connection is not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer<'a> {
    /// The status code.
    pub(crate) status: u16,
    /// How long the status line and the headers are, in bytes.
    pub(crate) head_bytes: usize,
    /// The body.
    pub(crate) body: &'a [u8],
}

impl Connection {
    /// Connects.
    pub(crate) async fn open(to: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(to).await.map_err(|error| Failure::new(format!("`{to}`"), error))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, request: Vec::with_capacity(2048), inbox: Vec::with_capacity(CHUNK), answered: 0 })
    }

    /// Sends a whole request in one write.
    pub(crate) async fn send(&mut self, message: Message<'_>) -> Result<()> {
        self.request.clear();
        write_message(&mut self.request, message);
        Ok(self.stream.write_all(&self.request).await?)
    }

    /// Waits for the answer to the request that was sent.
    pub(crate) async fn receive(&mut self) -> Result<Answer<'_>> {
        self.inbox.drain(..self.answered);
        self.answered = 0;
        let (status, head, length) = loop {
            if let Some(head) = read_head(&self.inbox)? {
                break head;
            }
            self.read_more().await?;
        };
        while self.inbox.len() < head + length {
            self.read_more().await?;
        }
        self.answered = head + length;
        let body = self.inbox.get(head..self.answered).unwrap_or_default();
        Ok(Answer { status, head_bytes: head, body })
    }

    /// Sends, and waits for the answer.
    pub(crate) async fn call(&mut self, message: Message<'_>) -> Result<Answer<'_>> {
        self.send(message).await?;
        self.receive().await
    }

    async fn read_more(&mut self) -> Result<()> {
        self.inbox.reserve(CHUNK);
        match self.stream.read_buf(&mut self.inbox).await? {
            0 => Err(Failure::bare("the server closed the connection instead of answering")),
            _ => Ok(()),
        }
    }
}

impl Answer<'_> {
    /// Refuses another status than that one, with what the server said.
    pub(crate) fn expect(self, status: u16) -> Result<Self> {
        if self.status == status {
            return Ok(self);
        }
        let said = String::from_utf8_lossy(self.body);
        let said: String = said.chars().take(300).collect();
        Err(Failure::bare(format!("the server answered {} where {status} was due: {said}", self.status)))
    }

    /// Refuses a body without that text.
    pub(crate) fn expect_text(self, text: &str) -> Result<Self> {
        if find(self.body, text.as_bytes()).is_some() {
            return Ok(self);
        }
        Err(Failure::bare(format!("an answer lacks `{text}`: {}", String::from_utf8_lossy(self.body))))
    }

    /// The text between `before` and the next double quote.
    pub(crate) fn text_after(&self, before: &str) -> Result<&str> {
        find(self.body, before.as_bytes())
            .and_then(|at| self.body.get(at + before.len()..))
            .and_then(|rest| rest.split(|byte| *byte == b'"').next())
            .and_then(|text| std::str::from_utf8(text).ok())
            .ok_or_else(|| Failure::bare(format!("an answer lacks `{before}`")))
    }
}

fn write_message(to: &mut Vec<u8>, message: Message<'_>) {
    let Message { method, path, headers, body } = message;
    for text in [method, " ", path, " HTTP/1.1\r\nhost: 127.0.0.1\r\n"] {
        to.extend_from_slice(text.as_bytes());
    }
    for (name, value) in headers {
        for text in [*name, ": ", *value, "\r\n"] {
            to.extend_from_slice(text.as_bytes());
        }
    }
    if method != "GET" {
        to.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
    }
    to.extend_from_slice(b"\r\n");
    to.extend_from_slice(body);
}

/// Status, length of the head and length of the body, once the whole head is there.
fn read_head(bytes: &[u8]) -> Result<Option<(u16, usize, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut answer = httparse::Response::new(&mut headers);
    let parsed = answer.parse(bytes).map_err(|error| Failure::new("an answer is not HTTP", error))?;
    let httparse::Status::Complete(head) = parsed else { return Ok(None) };
    let length = answer
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok())
        .ok_or_else(|| Failure::bare("an answer does not say its length"))?;
    Ok(Some((answer.code.unwrap_or_default(), head, length)))
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_written_as_http_wants_it() {
        let written = |method, body| {
            let mut to = Vec::new();
            write_message(&mut to, Message { method, path: "/a?b", headers: &[("x-c", "d")], body });
            String::from_utf8(to).unwrap()
        };
        assert_eq!(written("GET", b""), "GET /a?b HTTP/1.1\r\nhost: 127.0.0.1\r\nx-c: d\r\n\r\n");
        assert_eq!(
            written("POST", b"{}"),
            "POST /a?b HTTP/1.1\r\nhost: 127.0.0.1\r\nx-c: d\r\ncontent-length: 2\r\n\r\n{}"
        );
    }

    #[test]
    fn a_head_is_read_once_all_of_it_is_there() {
        let whole = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}";
        for cut in 0..whole.len() - 2 {
            assert_eq!(read_head(&whole[..cut]).unwrap(), None, "{cut}");
        }
        assert_eq!(read_head(whole).unwrap(), Some((201, 43, 2)));
    }

    #[test]
    fn an_answer_without_its_length_is_a_failure() {
        assert!(read_head(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
        assert!(read_head(b"SSH-2.0-x\r\n").is_err());
    }

    #[test]
    fn a_field_is_found_in_a_body() {
        let answer = Answer { status: 201, head_bytes: 0, body: br#"{"a":"1","approval_id":"01J","b":2}"# };
        assert_eq!(answer.text_after("\"approval_id\":\"").unwrap(), "01J");
        assert!(answer.text_after("\"c\":\"").is_err());
        assert!(answer.expect(200).is_err());
    }
}
