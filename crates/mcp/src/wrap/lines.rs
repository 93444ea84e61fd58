//! Lines in and out: never longer than a limit, and read so that a reader may be dropped between two of them.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc::Receiver;

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// A line, without its end.
    Line(Vec<u8>),
    /// One that is longer than it may be; it was read to its end, and forgotten.
    TooLong,
}

/// Reads lines.
pub(super) struct Lines<R> {
    from: R,
    most: usize,
    line: Vec<u8>,
    too_long: bool,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    /// Of at most so many bytes each.
    pub(super) const fn new(from: R, most: usize) -> Self {
        Self { from, most, line: Vec::new(), too_long: false }
    }

    /// The next one; none at the end. What comes after the last line end is no line.
    ///
    /// May be dropped while it waits: nothing is lost then.
    pub(super) async fn next(&mut self) -> io::Result<Option<Read>> {
        loop {
            let block = self.from.fill_buf().await?;
            if block.is_empty() {
                return Ok(None);
            }
            let (part, rest) = match block.iter().position(|byte| *byte == b'\n') {
                Some(end) => (block.get(..end).unwrap_or_default(), Some(end)),
                None => (block, None),
            };
            if self.line.len() + part.len() > self.most {
                self.too_long = true;
                self.line = Vec::new();
            } else if !self.too_long {
                self.line.extend_from_slice(part);
            }
            let count = rest.map_or(block.len(), |end| end + 1);
            self.from.consume(count);
            if rest.is_some() {
                let line = std::mem::take(&mut self.line);
                return Ok(Some(if std::mem::take(&mut self.too_long) {
                    Read::TooLong
                } else {
                    Read::Line(line)
                }));
            }
        }
    }
}

/// Writes what comes until nobody can send any more; then closes what it writes to.
pub(super) async fn write(mut lines: Receiver<Vec<u8>>, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
    while let Some(line) = lines.recv().await {
        to.write_all(&line).await?;
        if lines.is_empty() {
            to.flush().await?;
        }
    }
    to.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_come_one_by_one_and_a_long_one_is_left_out() {
        let mut lines = Lines::new(&b"ab\n\nabcdef\r\ncd\nrest"[..], 4);
        let mut all = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            all.push(line);
        }
        let line = |text: &str| Read::Line(text.into());
        assert_eq!(all, [line("ab"), line(""), Read::TooLong, line("cd")]);
    }
}
