//! The log on standard error: lines for people on a terminal, JSON elsewhere, from a level on that `PLACET_LOG` says.

#![expect(clippy::disallowed_methods, reason = "the environment says how much is logged, and how")]

use std::fmt;
use std::io::IsTerminal as _;

use placet_gate::ports::Clock as _;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::clock::SystemClock;
use crate::console::{LogLine, Lossy, Style, harmless};
use crate::failure::Failure;

/// Says from which level on is logged.
const VARIABLE: &str = "PLACET_LOG";

/// Says how: `json` or `text`.
const FORMAT_VARIABLE: &str = "PLACET_LOG_FORMAT";

/// Starts the log. Whoever reads it slowly misses lines, and is told so; the gate does not wait.
pub(crate) fn start(default: Level) -> Result<Lossy, Failure> {
    let level = match std::env::var(VARIABLE) {
        Ok(text) if !text.is_empty() => parse(&text).ok_or_else(|| {
            Failure::usage(format!("{VARIABLE} is `{text}`")).advise("it is one of error, warn, info, debug")
        })?,
        Ok(_) | Err(_) => default,
    };
    let on_terminal = std::io::stderr().is_terminal();
    let for_people = match std::env::var(FORMAT_VARIABLE).as_deref() {
        Ok("json") => false,
        Ok("text") => true,
        Ok("") | Err(_) => on_terminal,
        Ok(other) => {
            return Err(Failure::usage(format!("{FORMAT_VARIABLE} is `{other}`")).advise(
                "it is `json` or `text`; left out, it is text on a terminal and JSON everywhere else",
            ));
        }
    };
    let lines = Lossy::start("placet-log", std::io::stderr())
        .map_err(|error| Failure::fault(format!("the thread of the log cannot be started: {error}")))?;
    let writer = lines.clone();
    let log = tracing_subscriber::fmt().with_max_level(level).with_writer(move || LogLine(writer.clone()));
    if for_people {
        log.event_format(ForPeople { style: Style::of_stderr() }).init();
    } else {
        log.json().flatten_event(true).init();
    }
    Ok(lines)
}

fn parse(text: &str) -> Option<Level> {
    match text.to_ascii_lowercase().as_str() {
        "error" => Some(Level::ERROR),
        "warn" => Some(Level::WARN),
        "info" => Some(Level::INFO),
        "debug" => Some(Level::DEBUG),
        _ => None,
    }
}

/// One line an event: time, level, message, and its fields as `name=value`.
struct ForPeople {
    style: Style,
}

impl<S, N> FormatEvent<S, N> for ForPeople
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut said = Said::default();
        event.record(&mut said);
        let now = SystemClock.now().to_string();
        let time = now.split_once('T').map_or(now.as_str(), |(_, time)| time);
        let time = time.split_once('.').map_or(time, |(seconds, _)| seconds);
        let level = match *event.metadata().level() {
            Level::ERROR => self.style.bad("error"),
            Level::WARN => self.style.doubtful("warn "),
            Level::INFO => self.style.good("info "),
            _ => self.style.dim("debug"),
        };
        write!(to, "{}  {level}  {}", self.style.dim(time), harmless(&said.message))?;
        if !said.fields.is_empty() {
            write!(to, "  {}", self.style.dim(&harmless(said.fields.trim_end())))?;
        }
        writeln!(to)
    }
}

/// What an event says.
#[derive(Default)]
struct Said {
    message: String,
    fields: String,
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        use fmt::Write as _;
        match field.name() {
            "message" => {
                let _ = write!(self.message, "{value:?}");
            }
            // Where in a dependency's code it was said.
            name if name.starts_with("log.") => {}
            name => {
                let _ = write!(self.fields, "{name}={value:?} ");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_levels_are_the_four_of_the_manual() {
        assert_eq!(
            ["error", "WARN", "info", "debug", "trace"].map(parse),
            [Some(Level::ERROR), Some(Level::WARN), Some(Level::INFO), Some(Level::DEBUG), None]
        );
    }
}
