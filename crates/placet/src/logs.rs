//! The log: JSON lines on standard error, from a level on that `PLACET_LOG` says.

use tracing::Level;

use crate::console::{LogLine, Lossy};
use crate::failure::Failure;

/// Says from which level on is logged.
const VARIABLE: &str = "PLACET_LOG";

/// Starts the log. Whoever reads it slowly misses lines, and is told so; the gate does not wait.
pub(crate) fn start(default: Level) -> Result<Lossy, Failure> {
    let level = match std::env::var(VARIABLE) {
        Ok(text) if !text.is_empty() => parse(&text).ok_or_else(|| {
            Failure::usage(format!("{VARIABLE} is `{text}`")).advise("it is one of error, warn, info, debug")
        })?,
        Ok(_) | Err(_) => default,
    };
    let lines = Lossy::start("placet-log", std::io::stderr())
        .map_err(|error| Failure::fault(format!("the thread of the log cannot be started: {error}")))?;
    let writer = lines.clone();
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_max_level(level)
        .with_writer(move || LogLine(writer.clone()))
        .init();
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
