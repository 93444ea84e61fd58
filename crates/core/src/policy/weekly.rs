//! `[report]`: by which ways, and at which moment of the week, the weekly report goes out.

use std::fmt;

use jiff::ToSpan as _;
use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;

use super::hours::minute_of_day;
use crate::Timestamp;

/// The weekly report, as the policy has it sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeeklyReport {
    /// Names of ways of `[[alerts]]`.
    pub to: Vec<String>,
    /// When.
    pub at: Weekly,
}

/// A moment that comes once a week, on a zone's wall clocks: `Monday 09:00 Europe/Berlin`.
#[derive(Clone)]
pub struct Weekly {
    text: Box<str>,
    day: Weekday,
    time: Time,
    zone: TimeZone,
}

/// One week's moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Week {
    /// The ISO week in which it is, by the zone's own calendar: `2026-W48`.
    pub name: String,
    /// When it came.
    pub at: Timestamp,
}

const DAYS: [(&str, Weekday); 7] = [
    ("Monday", Weekday::Monday),
    ("Tuesday", Weekday::Tuesday),
    ("Wednesday", Weekday::Wednesday),
    ("Thursday", Weekday::Thursday),
    ("Friday", Weekday::Friday),
    ("Saturday", Weekday::Saturday),
    ("Sunday", Weekday::Sunday),
];

impl Weekly {
    /// The moment where the policy names none.
    pub const DEFAULT: &'static str = "Monday 09:00 UTC";

    /// Reads `Weekday HH:MM Zone/Name`. `Err` says what is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        const SHAPE: &str = "a moment of the week is written as `Monday 09:00 Europe/Berlin`";
        let (day, rest) = text.split_once(' ').ok_or(SHAPE)?;
        let (clock, zone) = rest.split_once(' ').ok_or_else(|| format!("no time zone; {SHAPE}"))?;
        let (day_name, day) = DAYS
            .into_iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(day))
            .ok_or_else(|| format!("`{day}` is not a day of the week; {SHAPE}"))?;
        let minute =
            minute_of_day(clock).and_then(|minute| i8::try_from(minute / 60).ok().zip(Some(minute % 60)));
        let time = minute
            .and_then(|(hour, minute)| Time::new(hour, i8::try_from(minute).ok()?, 0, 0).ok())
            .ok_or_else(|| format!("`{clock}` is not a time from 00:00 to 23:59; {SHAPE}"))?;
        let zone = TimeZone::get(zone).map_err(|_| {
            format!("`{zone}` is not a time zone of the IANA database, such as `Europe/Berlin` or `UTC`")
        })?;
        let zone_name = zone.iana_name().unwrap_or("UTC");
        Ok(Self { text: format!("{day_name} {clock} {zone_name}").into(), day, time, zone })
    }

    /// The text, spelled as days and zones are.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The last of these moments that has come by then. None at the ends of the calendar.
    ///
    /// A time that the zone's clocks skip comes as much later as they jump; one that they repeat comes the first time.
    pub fn last(&self, at: Timestamp) -> Option<Week> {
        let now = jiff::Timestamp::from_millisecond(at.millis()).ok()?;
        let today = now.to_zoned(self.zone.clone()).date();
        let ago = i64::from(today.weekday().since(self.day));
        [ago, ago + 7].into_iter().find_map(|days| {
            let day = today.checked_sub(days.days()).ok()?;
            let moment = day.to_datetime(self.time).to_zoned(self.zone.clone()).ok()?.timestamp();
            let week = day.iso_week_date();
            (moment <= now).then(|| Week {
                name: format!("{:04}-W{:02}", week.year(), week.week()),
                at: Timestamp::from_millis(moment.as_millisecond()),
            })
        })
    }
}

impl PartialEq for Weekly {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Weekly {}

impl fmt::Debug for Weekly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Weekly({:?})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The last moment of that kind by then: its week and its time.
    fn last(weekly: &str, at: &str) -> String {
        let week = Weekly::parse(weekly).unwrap().last(Timestamp::parse(at).unwrap()).unwrap();
        format!("{} {}", week.name, week.at.to_string().replace(":00.000Z", "Z"))
    }

    #[test]
    fn the_moment_itself_is_the_new_weeks_and_the_one_before_it_the_old_ones() {
        for (at, expected) in [
            ("2026-11-30T08:59:59.999Z", "2026-W48 2026-11-23T09:00Z"),
            ("2026-11-30T09:00:00Z", "2026-W49 2026-11-30T09:00Z"),
            ("2026-12-06T23:59:59Z", "2026-W49 2026-11-30T09:00Z"),
            ("2026-12-07T08:59:00Z", "2026-W49 2026-11-30T09:00Z"),
            ("2026-12-07T09:00:00Z", "2026-W50 2026-12-07T09:00Z"),
        ] {
            assert_eq!(last("Monday 09:00 UTC", at), expected, "{at}");
        }
    }

    #[test]
    fn nine_in_the_zone_is_another_moment_when_its_clocks_change() {
        // Berlin goes forward on 2027-03-28 and back on 2027-10-31, both Sundays.
        for (at, expected) in [
            ("2027-03-22T08:00:00Z", "2027-W12 2027-03-22T08:00Z"),
            ("2027-03-29T06:59:59Z", "2027-W12 2027-03-22T08:00Z"),
            ("2027-03-29T07:00:00Z", "2027-W13 2027-03-29T07:00Z"),
            ("2027-10-25T07:00:00Z", "2027-W43 2027-10-25T07:00Z"),
            ("2027-11-01T07:59:59Z", "2027-W43 2027-10-25T07:00Z"),
            ("2027-11-01T08:00:00Z", "2027-W44 2027-11-01T08:00Z"),
        ] {
            assert_eq!(last("Monday 09:00 Europe/Berlin", at), expected, "{at}");
        }
    }

    #[test]
    fn an_hour_that_is_skipped_comes_later_and_one_that_is_repeated_comes_once() {
        assert_eq!(last("Sunday 02:30 Europe/Berlin", "2027-03-28T01:30:00Z"), "2027-W12 2027-03-28T01:30Z");
        assert_eq!(last("Sunday 02:30 Europe/Berlin", "2027-03-28T01:29:59Z"), "2027-W11 2027-03-21T01:30Z");
        for at in ["2027-10-31T00:30:00Z", "2027-10-31T01:00:00Z", "2027-10-31T01:30:00Z"] {
            assert_eq!(last("Sunday 02:30 Europe/Berlin", at), "2027-W43 2027-10-31T00:30Z", "{at}");
        }
    }

    #[test]
    fn the_week_is_that_of_the_zones_own_calendar() {
        // In Auckland it is Monday while it is Sunday in UTC, and in Honolulu the other way round.
        assert_eq!(
            last("Monday 09:00 Pacific/Auckland", "2026-11-29T20:00:00Z"),
            "2026-W49 2026-11-29T20:00Z"
        );
        assert_eq!(
            last("Sunday 23:00 Pacific/Honolulu", "2026-11-30T09:00:00Z"),
            "2026-W48 2026-11-30T09:00Z"
        );
        // 2026 has 53 weeks: its last one ends in January.
        assert_eq!(last("Friday 09:00 UTC", "2027-01-01T09:00:00Z"), "2026-W53 2027-01-01T09:00Z");
        assert_eq!(last("Monday 09:00 UTC", "2027-01-04T09:00:00Z"), "2027-W01 2027-01-04T09:00Z");
    }

    #[test]
    fn it_is_written_one_way_and_mistakes_are_named() {
        let read = Weekly::parse("monday 09:00 europe/berlin").unwrap();
        assert_eq!(read.as_str(), "Monday 09:00 Europe/Berlin");
        assert_eq!(Weekly::parse(Weekly::DEFAULT).unwrap().as_str(), Weekly::DEFAULT);
        for (text, told) in [
            ("Monday", "is written as"),
            ("Monday 09:00", "no time zone"),
            ("Mon 09:00 UTC", "`Mon` is not a day of the week"),
            ("Monday 9:00 UTC", "`9:00` is not a time"),
            ("Monday 24:00 UTC", "`24:00` is not a time"),
            ("Monday 09:60 UTC", "`09:60` is not a time"),
            ("Monday 09:00 Berlin", "`Berlin` is not a time zone"),
            ("Monday 09:00 +01:00", "`+01:00` is not a time zone"),
            ("Monday  09:00 UTC", "`` is not a time"),
            ("", "is written as"),
        ] {
            let error = Weekly::parse(text).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn before_the_calendar_begins_there_is_no_week() {
        let weekly = Weekly::parse(Weekly::DEFAULT).unwrap();
        assert_eq!(weekly.last(Timestamp::from_millis(i64::MIN)), None);
        assert_eq!(weekly.last(Timestamp::from_millis(i64::MAX)), None);
    }
}
