//! Small text: durations in and out, and tables.

use std::time::Duration;

use placet_core::Timestamp;

/// Reads `90s`, `10m`, `1h`, `2d`, `1h30m`, or a bare number of seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let fault = || format!("`{text}` is not a duration; write one such as 90s, 10m, 1h30m or 2d");
    let mut total: u64 = 0;
    let mut digits = String::new();
    if text.is_empty() {
        return Err(fault());
    }
    for c in text.chars() {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        let unit = match c {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return Err(fault()),
        };
        let count: u64 = std::mem::take(&mut digits).parse().map_err(|_| fault())?;
        total = count.checked_mul(unit).and_then(|part| total.checked_add(part)).ok_or_else(fault)?;
    }
    if !digits.is_empty() {
        if total > 0 {
            return Err(fault());
        }
        total = digits.parse().map_err(|_| fault())?;
    }
    Ok(Duration::from_secs(total))
}

/// Reads a time, or a date, which begins at midnight UTC.
pub(crate) fn parse_moment(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text)
        .or_else(|| Timestamp::parse(&format!("{text}T00:00:00Z")))
        .ok_or_else(|| "write a time such as 2026-01-31T08:00:00Z, or a date such as 2026-01-31".to_owned())
}

/// A span of time for people: `45 s`, `9 min 5 s`, `2 h 10 min`, `3 d 4 h`.
pub(crate) fn span(millis: i64) -> String {
    let seconds = millis.max(0) / 1000;
    let (days, hours, minutes, rest) =
        (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let parts = match (days, hours, minutes) {
        (0, 0, 0) => vec![(rest, "s")],
        (0, 0, _) => vec![(minutes, "min"), (rest, "s")],
        (0, _, _) => vec![(hours, "h"), (minutes, "min")],
        _ => vec![(days, "d"), (hours, "h")],
    };
    let mut words: Vec<String> = Vec::new();
    for (index, (count, unit)) in parts.into_iter().enumerate() {
        if index == 0 || count > 0 {
            words.push(format!("{count} {unit}"));
        }
    }
    words.join(" ")
}

/// Milliseconds with as many digits as mean something.
pub(crate) fn millis(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1000.0;
    if ms < 10.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}

/// A time without its milliseconds, for people.
pub(crate) fn clock_time(at: Timestamp) -> String {
    let text = at.to_string();
    let (date, time) = text.split_once('T').unwrap_or((&text, ""));
    format!("{date} {} UTC", time.split_once('.').map_or(time, |(seconds, _)| seconds))
}

/// At most that many characters; what is left out shows as `…`.
pub(crate) fn shorten(text: &str, characters: usize) -> String {
    if text.chars().count() <= characters {
        return text.to_owned();
    }
    let kept: String = text.chars().take(characters.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// Columns, each as wide as its widest cell; the first row is the heading.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat(width.saturating_sub(cell.chars().count()) + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_and_without_units() {
        for (text, seconds) in [("90s", 90), ("10m", 600), ("1h30m", 5400), ("2d", 172_800), ("45", 45)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "m", "10x", "1h30", "-5", "5 m", "99999999999999999999d"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn spans_read_like_words() {
        let spans = [-1, 45_900, 545_000, 600_000, 7_800_000, 273_600_000].map(span);
        assert_eq!(spans, ["0 s", "45 s", "9 min 5 s", "10 min", "2 h 10 min", "3 d 4 h"]);
    }

    #[test]
    fn a_table_lines_its_columns_up() {
        let rows = [["a", "bb"], ["ccc", "d"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows), "a    bb\nccc  d\n");
        assert_eq!(shorten("abcdef", 4), "abc…");
        assert_eq!(clock_time(Timestamp::from_millis(1_795_392_000_007)), "2026-11-23 00:00:00 UTC");
    }
}
