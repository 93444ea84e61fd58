//! Timestamps and durations of CEL, in nanoseconds, and their parts.

use jiff::tz::TimeZone;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::EvalError;

const NANOS: i128 = 1_000_000_000;
/// Years 1 to 9999, as CEL's specification wants it.
const FIRST: i128 = -62_135_596_800 * NANOS;
const LAST: i128 = 253_402_300_800 * NANOS - 1;
/// About 10,000 years, as protobuf's `Duration` has it.
const LONGEST: i128 = 315_576_000_000 * NANOS;

/// That time, if it is one that CEL can hold.
pub(super) fn timestamp(nanos: i128) -> Result<i128, EvalError> {
    (FIRST..=LAST).contains(&nanos).then_some(nanos).ok_or(EvalError::OutOfRange)
}

/// That duration, if it is one that CEL can hold.
pub(super) fn duration(nanos: i128) -> Result<i128, EvalError> {
    (-LONGEST..=LONGEST).contains(&nanos).then_some(nanos).ok_or(EvalError::OutOfRange)
}

pub(super) fn timestamp_of_millis(millis: i64) -> i128 {
    (i128::from(millis) * 1_000_000).clamp(FIRST, LAST)
}

pub(super) fn timestamp_of_seconds(seconds: i64) -> Result<i128, EvalError> {
    timestamp(i128::from(seconds) * NANOS)
}

pub(super) fn seconds(nanos: i128) -> i64 {
    i64::try_from(nanos.div_euclid(NANOS)).unwrap_or_default()
}

/// Reads RFC 3339.
pub(super) fn parse_timestamp(text: &str) -> Result<i128, EvalError> {
    let at = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| EvalError::Unreadable)?;
    timestamp(at.unix_timestamp_nanos())
}

/// RFC 3339 in UTC, with as many digits of the second as it needs.
pub(super) fn show_timestamp(nanos: i128) -> Result<String, EvalError> {
    let at = OffsetDateTime::from_unix_timestamp_nanos(nanos).map_err(|_| EvalError::OutOfRange)?;
    at.format(&Rfc3339).map_err(|_| EvalError::OutOfRange)
}

/// Reads a duration such as `1h30m`, `-1.5s` or `250ms`.
pub(super) fn parse_duration(text: &str) -> Result<i128, EvalError> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() || rest.len() > 64 {
        return Err(EvalError::Unreadable);
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let (whole, after) = rest.split_at(digits(rest));
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => after.split_at(digits(after)),
            None => ("", after),
        };
        let unit_length = after.bytes().take_while(|b| !b.is_ascii_digit() && *b != b'.').count();
        let (unit, after) = after.split_at(unit_length);
        let unit_nanos: i128 = match unit {
            "h" => 3600 * NANOS,
            "m" => 60 * NANOS,
            "s" => NANOS,
            "ms" => 1_000_000,
            "us" | "µs" | "μs" => 1000,
            "ns" => 1,
            _ => return Err(EvalError::Unreadable),
        };
        if whole.is_empty() && fraction.is_empty() || whole.len() > 18 {
            return Err(EvalError::Unreadable);
        }
        total += whole.parse::<i128>().unwrap_or(0) * unit_nanos;
        let mut place = unit_nanos;
        for digit in fraction.bytes() {
            place /= 10;
            total += i128::from(digit - b'0') * place;
        }
        rest = after;
    }
    duration(sign * total)
}

/// Seconds, with as many digits as it needs: `5400s`, `-1.5s`.
pub(super) fn show_duration(nanos: i128) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let (whole, part) = (nanos.abs() / NANOS, nanos.abs() % NANOS);
    if part == 0 {
        return format!("{sign}{whole}s");
    }
    let part = format!("{part:09}");
    format!("{sign}{whole}.{}s", part.trim_end_matches('0'))
}

/// A part of a timestamp or a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    FullYear,
    Month,
    Date,
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    Hours,
    Minutes,
    Seconds,
    Milliseconds,
}

/// A part of a timestamp, on the clocks of that zone (UTC where none is given).
pub(super) fn part_of_timestamp(nanos: i128, part: Part, zone: Option<&str>) -> Result<i64, EvalError> {
    let offset = zone.map_or(Ok(0), |zone| offset_seconds(nanos, zone))?;
    let local = OffsetDateTime::from_unix_timestamp_nanos(nanos + i128::from(offset) * NANOS)
        .map_err(|_| EvalError::OutOfRange)?;
    Ok(match part {
        Part::FullYear => i64::from(local.year()),
        Part::Month => i64::from(u8::from(local.month())) - 1,
        Part::Date => i64::from(local.day()),
        Part::DayOfMonth => i64::from(local.day()) - 1,
        Part::DayOfWeek => i64::from(local.weekday().number_days_from_sunday()),
        Part::DayOfYear => i64::from(local.ordinal()) - 1,
        Part::Hours => i64::from(local.hour()),
        Part::Minutes => i64::from(local.minute()),
        Part::Seconds => i64::from(local.second()),
        Part::Milliseconds => i64::from(local.millisecond()),
    })
}

/// A duration as a whole number of a unit; its milliseconds are those of the last second.
pub(super) fn part_of_duration(nanos: i128, part: Part) -> Result<i64, EvalError> {
    let units = match part {
        Part::Hours => nanos / (3600 * NANOS),
        Part::Minutes => nanos / (60 * NANOS),
        Part::Seconds => nanos / NANOS,
        Part::Milliseconds => nanos % NANOS / 1_000_000,
        Part::FullYear | Part::Month | Part::Date | Part::DayOfMonth | Part::DayOfWeek | Part::DayOfYear => {
            return Err(EvalError::WrongType);
        }
    };
    i64::try_from(units).map_err(|_| EvalError::OutOfRange)
}

/// How far that zone's clocks are ahead of UTC: an IANA name, or an offset such as `+02:00`.
fn offset_seconds(nanos: i128, zone: &str) -> Result<i32, EvalError> {
    if let Some(offset) = fixed_offset(zone) {
        return Ok(offset);
    }
    let zone = TimeZone::get(zone).map_err(|_| EvalError::Unreadable)?;
    let at = jiff::Timestamp::from_second(seconds(nanos)).map_err(|_| EvalError::OutOfRange)?;
    Ok(zone.to_offset(at).seconds())
}

fn fixed_offset(zone: &str) -> Option<i32> {
    let (sign, digits) = match zone.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, zone.strip_prefix('+').unwrap_or(zone)),
    };
    let (hours, minutes) = digits.split_once(':')?;
    let two = |text: &str| {
        let fine = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        fine.then(|| text.parse::<i32>().ok()).flatten()
    };
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}
