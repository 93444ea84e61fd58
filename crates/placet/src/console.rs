//! What goes to the terminal: never slower than the gate, never with somebody else's control characters.

#![expect(clippy::disallowed_methods, reason = "the environment says whether a terminal wants colours")]

use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// How many lines wait for a slow reader before further ones are left out.
const BACKLOG: usize = 4096;

/// How much is written at once.
const BATCH_BYTES: usize = 64 * 1024;

/// Writes from a thread of its own, and leaves out what its reader is too slow for.
///
/// A terminal that is scrolled back, or a pipe that nobody reads, blocks whoever writes to it.
#[derive(Clone)]
pub(crate) struct Lossy {
    lines: SyncSender<Line>,
    lost: Arc<AtomicU64>,
}

enum Line {
    Text(String),
    Drained(SyncSender<()>),
}

impl Lossy {
    /// Starts the thread.
    pub(crate) fn start(name: &str, to: impl Write + Send + 'static) -> std::io::Result<Self> {
        let (lines, inbox) = sync_channel(BACKLOG);
        let lost = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&lost);
        std::thread::Builder::new()
            .name(name.to_owned())
            .stack_size(128 * 1024)
            .spawn(move || write_lines(&inbox, &counter, to))?;
        Ok(Self { lines, lost })
    }

    /// Writes that text, which ends with a line end, as soon as the reader takes it.
    pub(crate) fn put(&self, text: String) {
        if self.lines.try_send(Line::Text(text)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until everything so far is written, but not longer than that.
    pub(crate) fn drain(&self, at_most: Duration) {
        let (done, waits) = sync_channel(1);
        if self.lines.try_send(Line::Drained(done)).is_ok() {
            let _ = waits.recv_timeout(at_most);
        }
    }
}

fn write_lines(inbox: &Receiver<Line>, lost: &AtomicU64, mut to: impl Write) {
    while let Ok(first) = inbox.recv() {
        let mut batch = String::new();
        let mut drained = Vec::new();
        let mut next = Some(first);
        while let Some(line) = next {
            match line {
                Line::Text(text) => batch.push_str(&text),
                Line::Drained(done) => drained.push(done),
            }
            next = if batch.len() < BATCH_BYTES { inbox.try_recv().ok() } else { None };
        }
        let left_out = lost.swap(0, Ordering::Relaxed);
        if left_out > 0 {
            let _ = writeln!(batch, "(the reader of this output is slow: {left_out} messages were left out)");
        }
        // A closed pipe is not the gate's trouble.
        let _ = to.write_all(batch.as_bytes());
        let _ = to.flush();
        for done in drained {
            let _ = done.try_send(());
        }
    }
}

/// One line of the log on its way to a [`Lossy`].
pub(crate) struct LogLine(pub(crate) Lossy);

impl Write for LogLine {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.put(String::from_utf8_lossy(bytes).into_owned());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Prints a command's result. A reader that has gone (`| head`) is no fault.
pub(crate) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

/// Prints what is not the result: progress, advice.
pub(crate) fn note(text: &str) {
    let mut err = std::io::stderr().lock();
    let _ = writeln!(err, "{text}");
}

/// Text of the operator's own files: hidden characters are marked, and nothing else changes.
pub(crate) fn revealed(text: &str) -> String {
    placet_core::words::text::plain_lines(text)
}

/// One line of untrusted text for a terminal: what hides or steers is named, and nothing can be clicked.
pub(crate) fn harmless(text: &str) -> String {
    placet_core::words::unlinked(text)
}

/// Whether, and how, text is set off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// On a terminal.
    Coloured,
    /// Anywhere else, and where `NO_COLOR` is set (<https://no-color.org>).
    Plain,
}

impl Style {
    /// For standard output.
    pub(crate) fn of_stdout() -> Self {
        Self::of(std::io::stdout().is_terminal())
    }

    /// For standard error.
    pub(crate) fn of_stderr() -> Self {
        Self::of(std::io::stderr().is_terminal())
    }

    fn of(terminal: bool) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        if terminal && !refused { Self::Coloured } else { Self::Plain }
    }

    /// Heavier.
    pub(crate) fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    /// Lighter.
    pub(crate) fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    /// For what is good.
    pub(crate) fn good(self, text: &str) -> String {
        self.with("1;32", text)
    }

    /// For what is bad.
    pub(crate) fn bad(self, text: &str) -> String {
        self.with("1;31", text)
    }

    /// For what needs a look.
    pub(crate) fn doubtful(self, text: &str) -> String {
        self.with("1;33", text)
    }

    /// For a link.
    pub(crate) fn link(self, text: &str) -> String {
        self.with("4;36", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        match self {
            Self::Coloured => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            Self::Plain => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Condvar, Mutex};

    use super::*;

    #[test]
    fn untrusted_text_cannot_steer_the_terminal() {
        assert_eq!(
            harmless("a\u{1b}[2Jb\u{202e}c\nd\u{9b} https://evil.com"),
            "a<U+001B>[2Jb<U+202E>c / d<U+009B> https[:]//evil[.]com"
        );
    }

    /// Blocks until it is opened; then keeps what is written.
    #[derive(Clone, Default)]
    struct Gateway(Arc<(Mutex<(bool, String)>, Condvar)>);

    impl Gateway {
        fn open(&self) {
            self.0.0.lock().unwrap().0 = true;
            self.0.1.notify_all();
        }
    }

    impl Write for Gateway {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let state = self.0.0.lock().unwrap();
            let mut state = self.0.1.wait_while(state, |state| !state.0).unwrap();
            state.1.push_str(std::str::from_utf8(bytes).unwrap());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_stops_reading_stops_nobody_and_hears_how_much_it_missed() {
        let gateway = Gateway::default();
        let lossy = Lossy::start("test", gateway.clone()).unwrap();
        for _ in 0..3 * BACKLOG {
            lossy.put("x\n".into());
        }
        gateway.open();
        while !gateway.0.0.lock().unwrap().1.contains("were left out)") {
            lossy.put("y\n".into());
            lossy.drain(Duration::from_secs(10));
        }
        let written = gateway.0.0.lock().unwrap().1.clone();
        assert!(written.starts_with("x\nx\n"));
    }
}
