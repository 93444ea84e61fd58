//! Hours of a stage: a window of wall-clock time in an IANA zone, such as `07:00-20:00 Europe/Berlin`.
//!
//! The zones are those that the `jiff` crate carries (the IANA database); no file of the system is read, so the same
//! policy means the same on every machine.

use std::fmt;

use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Timestamp;

const DAY_MINUTES: u16 = 24 * 60;

/// A daily window, its first minute included and its last excluded; one that ends before it begins passes midnight.
#[derive(Clone)]
pub struct Hours {
    text: Box<str>,
    from_minute: u16,
    until_minute: u16,
    zone: TimeZone,
}

impl Hours {
    /// Reads `HH:MM-HH:MM Zone/Name`; `24:00` is the end of the day. `Err` says what is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        const SHAPE: &str = "hours are written as `07:00-20:00 Europe/Berlin`";
        let (window, zone) = text.split_once(' ').ok_or_else(|| format!("no time zone; {SHAPE}"))?;
        let (from, until) = window.split_once('-').ok_or(SHAPE)?;
        let minute = |text: &str| {
            minute_of_day(text).ok_or_else(|| format!("`{text}` is not a time from 00:00 to 24:00; {SHAPE}"))
        };
        let (from_minute, until_minute) = (minute(from)?, minute(until)?);
        if from_minute % DAY_MINUTES == until_minute % DAY_MINUTES {
            return Err("the hours begin and end at the same time; leave them out if any time will do".into());
        }
        if from_minute == DAY_MINUTES {
            return Err(format!("`24:00` can only end the hours; {SHAPE}"));
        }
        let zone = TimeZone::get(zone).map_err(|_| {
            format!("`{zone}` is not a time zone of the IANA database, such as `Europe/Berlin` or `UTC`")
        })?;
        let name = zone.iana_name().unwrap_or("UTC");
        Ok(Self { text: format!("{window} {name}").into(), from_minute, until_minute, zone })
    }

    /// The text, with the zone's name as the IANA database spells it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether that moment, on the zone's wall clocks, lies in the window.
    pub fn contains(&self, at: Timestamp) -> bool {
        // Outside the calendar's years there are no wall clocks.
        let Ok(moment) = jiff::Timestamp::from_millisecond(at.millis()) else { return false };
        let offset_seconds = i64::from(self.zone.to_offset(moment).seconds());
        let local_minute = at.seconds().saturating_add(offset_seconds).div_euclid(60);
        let minute = local_minute.rem_euclid(i64::from(DAY_MINUTES));
        let (from, until) = (i64::from(self.from_minute), i64::from(self.until_minute));
        if from < until { (from..until).contains(&minute) } else { minute >= from || minute < until }
    }
}

impl Hours {
    /// The first full minute after `at` that lies outside the window; `at` itself where it already does.
    ///
    /// Wall clocks jump, so minutes are tried one by one: two days of them hold the end of every window.
    pub fn end_after(&self, at: Timestamp) -> Timestamp {
        if !self.contains(at) {
            return at;
        }
        let minute = at.seconds().div_euclid(60);
        (1..=2 * i64::from(DAY_MINUTES))
            .map(|ahead| Timestamp::from_millis(minute.saturating_add(ahead).saturating_mul(60_000)))
            .find(|moment| !self.contains(*moment))
            .unwrap_or(at)
    }
}

/// `HH:MM`, two digits each, as minutes since midnight.
pub(super) fn minute_of_day(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let two_digits = |text: &str| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u16>().ok()).flatten()
    };
    let (hour, minute) = (two_digits(hour)?, two_digits(minute)?);
    (minute < 60).then_some(hour * 60 + minute).filter(|minutes| *minutes <= DAY_MINUTES)
}

impl PartialEq for Hours {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Hours {}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hours({:?})", self.text)
    }
}

impl Serialize for Hours {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Hours {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(hours: &str, at: &str) -> bool {
        Hours::parse(hours).unwrap().contains(Timestamp::parse(at).unwrap())
    }

    #[test]
    fn the_first_minute_counts_and_the_last_does_not() {
        for (at, inside) in [
            ("2026-11-26T06:59:59.999Z", false),
            ("2026-11-26T07:00:00Z", true),
            ("2026-11-26T19:59:59.999Z", true),
            ("2026-11-26T20:00:00Z", false),
        ] {
            assert_eq!(contains("07:00-20:00 UTC", at), inside, "{at}");
        }
    }

    #[test]
    fn a_window_may_pass_midnight() {
        for (at, inside) in [
            ("2026-11-26T21:59:59Z", false),
            ("2026-11-26T22:00:00Z", true),
            ("2026-11-26T23:59:59Z", true),
            ("2026-11-27T00:00:00Z", true),
            ("2026-11-27T06:59:59Z", true),
            ("2026-11-27T07:00:00Z", false),
            ("2026-11-27T12:00:00Z", false),
        ] {
            assert_eq!(contains("22:00-07:00 UTC", at), inside, "{at}");
        }
        assert!(contains("20:00-24:00 UTC", "2026-11-26T23:59:59Z"));
        assert!(!contains("20:00-24:00 UTC", "2026-11-27T00:00:00Z"));
    }

    #[test]
    fn the_zones_summer_time_moves_the_window() {
        // Berlin: UTC+1 until 2027-03-28T01:00Z, then UTC+2 until 2027-10-31T01:00Z. The rule holds for far years, too.
        for (at, inside) in [
            ("2027-03-27T06:30:00Z", true),
            ("2027-03-27T05:30:00Z", false),
            ("2027-03-28T05:30:00Z", true),
            ("2027-03-28T18:00:00Z", false),
            ("2027-10-30T05:00:00Z", true),
            ("2027-10-31T05:30:00Z", false),
            ("2061-07-01T05:30:00Z", true),
            ("2061-12-01T05:30:00Z", false),
        ] {
            assert_eq!(contains("07:00-20:00 Europe/Berlin", at), inside, "{at}");
        }
        // The hour that the clocks skip never comes; the one that they repeat comes twice.
        assert!(!contains("02:00-03:00 Europe/Berlin", "2027-03-28T01:00:00Z"));
        for twice in ["2027-10-31T00:30:00Z", "2027-10-31T01:30:00Z"] {
            assert!(contains("02:00-03:00 Europe/Berlin", twice), "{twice}");
        }
        // Zones with odd offsets, and on the other side of the globe.
        assert!(contains("05:45-05:46 Asia/Kathmandu", "2026-11-26T00:00:00Z"));
        assert!(contains("13:00-14:00 Pacific/Auckland", "2026-11-26T00:00:00Z"));
        assert!(contains("00:30-00:31 Asia/Kolkata", "1969-12-31T19:00:30Z"));
    }

    #[test]
    fn a_window_ends_at_its_own_wall_clock() {
        let end = |hours: &str, at: &str| {
            Hours::parse(hours).unwrap().end_after(Timestamp::parse(at).unwrap()).to_string()
        };
        assert_eq!(end("22:00-07:00 UTC", "2026-11-26T23:10:30Z"), "2026-11-27T07:00:00.000Z");
        assert_eq!(end("22:00-07:00 Europe/Berlin", "2026-11-26T23:10:30Z"), "2026-11-27T06:00:00.000Z");
        // The night in which the clocks go forward is an hour shorter.
        assert_eq!(end("22:00-07:00 Europe/Berlin", "2027-03-27T23:00:00Z"), "2027-03-28T05:00:00.000Z");
        // Outside the window there is nothing to wait for.
        assert_eq!(end("22:00-07:00 UTC", "2026-11-26T12:00:30Z"), "2026-11-26T12:00:30.000Z");
    }

    #[test]
    fn hours_are_written_one_way_and_mistakes_are_named() {
        for (text, told) in [
            ("07:00-20:00", "no time zone"),
            ("7:00-20:00 UTC", "`7:00` is not a time"),
            ("07:00-24:01 UTC", "`24:01` is not a time"),
            ("07:60-20:00 UTC", "`07:60` is not a time"),
            ("07:00-+9:00 UTC", "`+9:00` is not a time"),
            ("07:00 UTC", "hours are written as"),
            ("07:00-07:00 UTC", "begin and end at the same time"),
            ("00:00-24:00 UTC", "begin and end at the same time"),
            ("24:00-07:00 UTC", "`24:00` can only end"),
            ("07:00-20:00 Berlin", "`Berlin` is not a time zone"),
            ("07:00-20:00 +01:00", "`+01:00` is not a time zone"),
            ("07:00-20:00  UTC", "` UTC` is not a time zone"),
            ("07:00-20:00 ", "`` is not a time zone"),
            ("", "no time zone"),
        ] {
            let error = Hours::parse(text).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn the_zones_name_is_stored_as_the_database_spells_it() {
        let hours = Hours::parse("22:00-07:00 europe/berlin").unwrap();
        assert_eq!(hours.as_str(), "22:00-07:00 Europe/Berlin");
        assert_eq!(serde_json::to_string(&hours).unwrap(), "\"22:00-07:00 Europe/Berlin\"");
        assert_eq!(serde_json::from_str::<Hours>("\"22:00-07:00 Europe/Berlin\"").unwrap(), hours);
        assert!(serde_json::from_str::<Hours>("\"22:00\"").is_err());
        assert_ne!(hours, Hours::parse("22:00-07:00 Europe/Paris").unwrap());
    }
}
