//! Times in messages: short, in the gate's own zone, and how long that is from now.

use time::{OffsetDateTime, UtcOffset};

use crate::Timestamp;

/// The zone that messages name their times in. A page knows the reader's own; a message does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone<'a> {
    /// What people call it: `UTC`, `CET`.
    pub name: &'a str,
    /// Minutes east of UTC, at the time that is named.
    pub offset_minutes: i32,
}

impl Zone<'static> {
    /// Where no other is known.
    pub const UTC: Self = Self { name: "UTC", offset_minutes: 0 };
}

/// A deadline as people say it: `14:05 UTC today (in 10 minutes)`.
pub fn deadline(at: Timestamp, now: Timestamp, zone: Zone<'_>) -> String {
    let (Some(then), Some(today)) = (local(at, zone), local(now, zone)) else {
        return "an unknown time".to_owned();
    };
    let clock = format!("{:02}:{:02} {}", then.hour(), then.minute(), zone.name);
    let day = if then.date() == today.date() {
        " today".to_owned()
    } else if Some(then.date()) == today.date().next_day() {
        " tomorrow".to_owned()
    } else if then.year() == today.year() {
        format!(" on {}, {} {}", then.weekday(), then.day(), then.month())
    } else {
        format!(" on {} {} {}", then.day(), then.month(), then.year())
    };
    format!("{clock}{day} ({})", distance(at.millis_since(now)))
}

fn local(at: Timestamp, zone: Zone<'_>) -> Option<OffsetDateTime> {
    let offset = UtcOffset::from_whole_seconds(zone.offset_minutes.checked_mul(60)?).ok()?;
    let utc = OffsetDateTime::from_unix_timestamp(at.millis().div_euclid(1000)).ok()?;
    // Half a day from the ends of the calendar no zone can overflow it.
    (1..9999).contains(&utc.year()).then(|| utc.to_offset(offset))
}

/// A span ahead in its largest unit, rounded to the nearest.
fn distance(millis: i64) -> String {
    let minutes = millis.saturating_add(30_000) / 60_000;
    let hours = minutes.saturating_add(30) / 60;
    let days = hours.saturating_add(12) / 24;
    let say = |count: i64, unit: &str| {
        let plural = if count == 1 { "" } else { "s" };
        format!("in {count} {unit}{plural}")
    };
    match (minutes, hours) {
        (..1, _) => "in less than a minute".to_owned(),
        (..60, _) => say(minutes, "minute"),
        (_, ..36) => say(hours, "hour"),
        _ => say(days, "day"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-23, a Monday.
    const NOW: i64 = 1_795_430_527_000;
    const MINUTE: i64 = 60_000;

    #[test]
    fn a_deadline_is_said_as_people_say_it() {
        let now = Timestamp::from_millis(NOW);
        let says = |ahead: i64, zone| deadline(now.plus_millis(ahead), now, zone);
        for (ahead, expected) in [
            (0, "10:42 UTC today (in less than a minute)"),
            (10 * MINUTE - 9, "10:52 UTC today (in 10 minutes)"),
            (MINUTE, "10:43 UTC today (in 1 minute)"),
            (60 * MINUTE, "11:42 UTC today (in 1 hour)"),
            (100 * MINUTE, "12:22 UTC today (in 2 hours)"),
            (20 * 60 * MINUTE, "06:42 UTC tomorrow (in 20 hours)"),
            (4 * 24 * 60 * MINUTE, "10:42 UTC on Friday, 27 November (in 4 days)"),
            (60 * 24 * 60 * MINUTE, "10:42 UTC on 22 January 2027 (in 60 days)"),
        ] {
            assert_eq!(says(ahead, Zone::UTC), expected);
        }
        let india = Zone { name: "IST", offset_minutes: 330 };
        assert_eq!(says(14 * 60 * MINUTE, india), "06:12 IST tomorrow (in 14 hours)");
        for far in [i64::MAX, i64::MIN] {
            assert_eq!(deadline(Timestamp::from_millis(far), now, Zone::UTC), "an unknown time");
        }
    }
}
