//! The weekly report as operators get it: a short text and the link to its page.

use placet_core::Timestamp;
use placet_core::numbers::Report;
use placet_core::refusal::Refusal;
use placet_core::time::DAY_MS;
use placet_gate::alert::Alert;
use placet_gate::outbox::{OutboxMessage, OutboxSubject};
use placet_gate::{Error, Gate};

use crate::retry::Again;
use crate::ways::{AlertLetter, TRIED_FOR_MS};
use crate::worker::{Progress, Worker};

/// How many days it is about: those of the page behind its link.
const DAYS: u32 = 7;

/// A weekly report in words. It names no client, no request and nobody: whoever may see those opens the page.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportNotice {
    /// Names this message on every try.
    pub id: String,
    /// One line.
    pub title: String,
    /// The numbers, one sentence a line.
    pub lines: Vec<String>,
    /// The page. Whoever has it sees the numbers.
    pub link: String,
    /// The first moment that it is about.
    pub from: Timestamp,
    /// The first moment that it leaves out.
    pub until: Timestamp,
    /// The gate's own address.
    pub gate: String,
}

impl ReportNotice {
    /// The report of the seven days before that one, counted from 1970-01-01.
    pub async fn of(gate: &Gate, until_day: u32, id: String) -> Result<Self, Error> {
        let until = Timestamp::from_millis(i64::from(until_day).saturating_mul(DAY_MS));
        let report = gate.report_until(until, DAYS).await?;
        let base_url = gate.base_url(&*gate.policy().await?);
        let link = format!("{base_url}/report/{}", gate.report_link(until_day).await?);
        Ok(Self {
            id,
            title: title(&report),
            lines: lines(&report),
            link,
            from: report.from,
            until: report.until,
            gate: base_url,
        })
    }

    /// The words and the link, as plain text.
    pub fn text(&self) -> String {
        format!(
            "{}\n\nThe page with charts, the slowest and the doubtful ones:\n{}\nWhoever has this link sees the numbers.\n",
            self.lines.join("\n"),
            self.link
        )
    }

    /// As a mail.
    pub fn letter(&self) -> AlertLetter {
        AlertLetter {
            id: self.id.clone(),
            subject: format!("[Placet] {}", self.title),
            text: format!("{}\nGate: {}\n", self.text(), self.gate),
        }
    }
}

fn title(report: &Report) -> String {
    let day = |at: Timestamp| at.to_string().chars().take(10).collect::<String>();
    format!("Weekly report, {} to {}", day(report.from), day(report.until.plus_millis(-1)))
}

/// The numbers in plain sentences, each beside what it was in the four weeks before.
fn lines(report: &Report) -> Vec<String> {
    let totals = &report.totals;
    let value = |name: &str| report.changes.iter().find(|change| change.name == name);
    let before = |name: &str| value(name).and_then(|change| change.before);
    let mut lines = vec![format!(
        "{} asked ({}).",
        count(totals.asked, "request", "requests"),
        match before("asked_per_week") {
            Some(per_week) if per_week > 0.0 =>
                format!("in the four weeks before: {} a week", round(per_week)),
            Some(_) | None => "none in the four weeks before".to_owned(),
        }
    )];
    if totals.asked == 0 {
        return lines;
    }
    lines.push(format!(
        "{} approved, {} rejected, {} expired, {} withdrawn, {} still open; {} decided by people, {} by policy alone{}.",
        totals.approved,
        totals.rejected,
        totals.expired,
        totals.cancelled,
        totals.pending,
        totals.by_people,
        totals.by_policy,
        if totals.by_systems > 0 { format!(", {} by other systems", totals.by_systems) } else { String::new() },
    ));
    let waited = &report.times.decide;
    if let (Some(half), Some(most)) = (waited.p50_seconds, waited.p95_seconds) {
        let then = match (before("decide_p50_seconds"), before("decide_p95_seconds")) {
            (Some(half), Some(most)) => format!(" (before: {} and {})", time(half), time(most)),
            _ => String::new(),
        };
        lines.push(format!(
            "Half of the decisions came within {}, and 95 of 100 within {}{then}.",
            time(half),
            time(most)
        ));
    }
    let errors = &report.errors;
    let of_all = before("expired_share").map_or_else(String::new, |share| {
        let now = f64::from(totals.expired) / f64::from(totals.asked);
        format!(": {} of all (before: {})", percent(now), percent(share))
    });
    lines.push(format!("Nobody answered {} in time{of_all}.", count(errors.timeouts, "request", "requests")));
    if errors.undelivered > 0 || errors.callbacks_given_up > 0 {
        lines.push(format!(
            "{} ended before any message had arrived, and {} given up.",
            count(errors.undelivered, "request", "requests"),
            count(errors.callbacks_given_up, "callback was", "callbacks were"),
        ));
    }
    if let Some(most) =
        report.load.reviewers.iter().map(|one| one.busiest_hour).max().filter(|most| *most > 0)
    {
        lines.push(format!("The most that one person was asked within an hour: {}.", times(most)));
    }
    match report.doubtful.len() {
        0 => {}
        1 => lines.push("1 decision is worth a second look.".to_owned()),
        // The page lists so many, and no more.
        more => lines.push(format!("{more} decisions are worth a second look.")),
    }
    lines
}

fn count(number: u32, one: &str, more: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { more })
}

fn times(number: u32) -> String {
    match number {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        more => format!("{more} times"),
    }
}

/// Whole from ten on, and with one decimal below.
fn round(number: f64) -> String {
    if number >= 10.0 || number.fract() == 0.0 { format!("{number:.0}") } else { format!("{number:.1}") }
}

fn percent(share: f64) -> String {
    format!("{} %", round(share * 100.0))
}

/// A time in the unit that people would say it in.
fn time(seconds: f64) -> String {
    let said = |number: f64, one: &str, more: &str| {
        let number = round(number);
        format!("{number} {}", if number == "1" { one } else { more })
    };
    if seconds < 1.0 {
        "a second".to_owned()
    } else if seconds < 90.0 {
        said(seconds.round(), "second", "seconds")
    } else if seconds < 90.0 * 60.0 {
        said(seconds / 60.0, "minute", "minutes")
    } else if seconds < 36.0 * 3600.0 {
        said(seconds / 3600.0, "hour", "hours")
    } else {
        said(seconds / 86_400.0, "day", "days")
    }
}

impl Worker {
    /// Sends the weekly report by one way.
    pub(crate) async fn report(
        &self,
        message: &OutboxMessage,
        way: &str,
        until_day: u32,
    ) -> Result<Progress, Error> {
        let policy = match self.gate.policy().await {
            Ok(policy) => policy,
            Err(Error::Refused(Refusal::NoPolicy)) => return self.ack(message).await,
            Err(error) => return Err(error),
        };
        let is_wanted = policy.report.as_ref().is_some_and(|report| report.to.iter().any(|to| to == way));
        let Some(way) = policy.alert_way(way).filter(|_| is_wanted) else { return self.ack(message).await };
        // A gate that was down before the first try still makes it.
        if message.attempt > 0 && self.gate.now().millis_since(message.created_at) >= TRIED_FOR_MS {
            // Of tries that were cut off, operators have not heard.
            let reason = "the weekly report could not be sent for a day".to_owned();
            self.gate
                .saw_again(OutboxSubject::Gate, Alert::WayNotReached { way: way.name.clone(), reason })
                .await?;
            return self.ack(message).await;
        }
        // Counting takes a while. A try that is cut off in it has failed like any other: it is counted before it begins.
        let again = Again::after_failure(message.attempt);
        let due_at = message.due_at.max(self.gate.now()).plus_millis(again.in_ms);
        let Progress::RetryAt(begun) = self.put_off(message, again.attempt, due_at).await? else {
            return Ok(Progress::Done);
        };
        let notice = ReportNotice::of(&self.gate, until_day, message.id.clone()).await?;
        let outcome = self.parts.ways.send_report(way, &notice).await;
        self.after_sending(&begun, message.attempt, way, "weekly_report", outcome, false).await
    }
}

#[cfg(test)]
mod tests {
    use placet_core::numbers::{Change, Tally, Window};

    use super::*;

    fn week() -> Report {
        let until = Timestamp::parse("2026-11-30T00:00:00Z").unwrap();
        Report::of(Window::ending(until, DAYS), &Tally::default(), &Tally::default())
    }

    fn change(name: &'static str, before: f64) -> Change {
        Change { name, now: None, before: Some(before) }
    }

    #[test]
    fn a_week_in_which_nothing_was_asked_is_one_line() {
        let mut report = week();
        assert_eq!(title(&report), "Weekly report, 2026-11-23 to 2026-11-29");
        assert_eq!(lines(&report), ["0 requests asked (none in the four weeks before)."]);
        report.changes = vec![change("asked_per_week", 2.25)];
        assert_eq!(lines(&report), ["0 requests asked (in the four weeks before: 2.2 a week)."]);
    }

    #[test]
    fn each_number_is_beside_what_it_was() {
        let mut report = week();
        let totals = &mut report.totals;
        (totals.asked, totals.approved, totals.rejected, totals.expired) = (40, 30, 4, 5);
        (totals.pending, totals.by_people, totals.by_policy) = (1, 24, 10);
        report.errors.timeouts = 5;
        (report.times.decide.p50_seconds, report.times.decide.p95_seconds) = (Some(130.4), Some(7500.0));
        report.changes = vec![
            change("asked_per_week", 31.75),
            change("expired_share", 0.02),
            change("decide_p50_seconds", 59.6),
            change("decide_p95_seconds", 200_000.0),
        ];
        let reviewer = |name: &str, busiest_hour| placet_core::numbers::ReviewerLoad {
            reviewer: name.into(),
            asks: 9,
            hours: 3,
            busiest_hour,
        };
        report.load.reviewers = vec![reviewer("bob", 2), reviewer("carol", 7)];
        let said = lines(&report);
        assert_eq!(
            said,
            [
                "40 requests asked (in the four weeks before: 32 a week).",
                "30 approved, 4 rejected, 5 expired, 0 withdrawn, 1 still open; 24 decided by people, 10 by policy alone.",
                "Half of the decisions came within 2.2 minutes, and 95 of 100 within 2.1 hours (before: 60 seconds and 2.3 days).",
                "Nobody answered 5 requests in time: 12 % of all (before: 2 %).",
                "The most that one person was asked within an hour: 7 times.",
            ]
        );
        assert!(!said.join(" ").contains("carol"), "no person is named: {said:?}");
    }

    #[test]
    fn times_are_said_in_the_unit_that_suits_them() {
        for (seconds, expected) in [
            (0.2, "a second"),
            (1.0, "1 second"),
            (89.0, "89 seconds"),
            (90.0, "1.5 minutes"),
            (60.0 * 60.0, "60 minutes"),
            (36.0 * 3600.0, "1.5 days"),
            (15.0 * 86_400.0, "15 days"),
        ] {
            assert_eq!(time(seconds), expected);
        }
    }
}
