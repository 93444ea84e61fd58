//! The table: what was measured, the goal where DESIGN section 10 has one, and whether it was met.

use std::time::Duration;

use serde::Serialize;
use serde_json::json;

/// A number with its unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Measured {
    /// A time, shown in milliseconds.
    Time(Duration),
    /// Processor time for one of many, in microseconds.
    CpuMicros(f64),
    /// So many per second.
    PerSecond(f64),
    /// So many times as much.
    Times(f64),
    /// Processors.
    Processors(f64),
    /// Memory or files, in bytes, shown in MB.
    Megabytes(u64),
    /// What goes over the wire, in bytes.
    Bytes(usize),
    /// So many calls.
    Calls(usize),
    /// Money.
    Dollars(f64),
}

/// What DESIGN section 10 wants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    /// Less than that, in the unit that is shown.
    Under(f64),
    /// That or more.
    AtLeast(f64),
}

/// One line.
#[derive(Clone, Debug)]
struct Row {
    part: &'static str,
    what: String,
    goal: Option<Goal>,
    measured: Measured,
    note: String,
}

/// All lines, with what the machine was like.
#[derive(Debug, Default)]
pub(crate) struct Report {
    facts: Vec<String>,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct JsonRow<'a> {
    part: &'a str,
    what: &'a str,
    measured: f64,
    unit: &'a str,
    goal: Option<String>,
    met: Option<bool>,
    note: &'a str,
}

impl Measured {
    /// The number, in the unit that is shown.
    pub(crate) fn number(self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "no size here comes near 2^53 bytes")]
        match self {
            Self::Time(time) => time.as_secs_f64() * 1e3,
            Self::CpuMicros(number)
            | Self::PerSecond(number)
            | Self::Times(number)
            | Self::Processors(number)
            | Self::Dollars(number) => number,
            Self::Megabytes(bytes) => bytes as f64 / 1e6,
            Self::Bytes(count) | Self::Calls(count) => count as f64,
        }
    }

    const fn unit(self) -> &'static str {
        match self {
            Self::Time(_) => "ms",
            Self::CpuMicros(_) => "µs",
            Self::PerSecond(_) => "/s",
            Self::Times(_) => "×",
            Self::Processors(_) => "CPUs",
            Self::Megabytes(_) => "MB",
            Self::Bytes(_) => "B",
            Self::Calls(1) => "call",
            Self::Calls(_) => "calls",
            Self::Dollars(_) => "USD",
        }
    }

    fn text(self) -> String {
        let number = self.number();
        let digits = match self {
            Self::Time(_) if number < 10.0 => 3,
            Self::Dollars(_) => 4,
            Self::Times(_) | Self::Processors(_) => 2,
            Self::Time(_) | Self::Megabytes(_) => 1,
            Self::CpuMicros(_) | Self::PerSecond(_) | Self::Bytes(_) | Self::Calls(_) => 0,
        };
        format!("{number:.digits$} {}", self.unit())
    }
}

impl Goal {
    fn is_met(self, measured: Measured) -> bool {
        match self {
            Self::Under(most) => measured.number() < most,
            Self::AtLeast(least) => measured.number() >= least,
        }
    }

    fn text(self, unit: &str) -> String {
        match self {
            Self::Under(most) => format!("< {most} {unit}"),
            Self::AtLeast(least) => format!(">= {least} {unit}"),
        }
    }
}

impl Report {
    /// Adds something about the machine or the run.
    pub(crate) fn fact(&mut self, fact: impl Into<String>) {
        self.facts.push(fact.into());
    }

    /// Adds a line.
    pub(crate) fn row(
        &mut self,
        part: &'static str,
        what: impl Into<String>,
        goal: Option<Goal>,
        measured: Measured,
        note: impl Into<String>,
    ) {
        self.rows.push(Row { part, what: what.into(), goal, measured, note: note.into() });
    }

    /// The table as text.
    pub(crate) fn table(&self) -> String {
        let lines: Vec<[String; 6]> = self
            .rows
            .iter()
            .map(|row| {
                let goal = row.goal.map(|goal| goal.text(row.measured.unit())).unwrap_or_default();
                let verdict = match row.goal.map(|goal| goal.is_met(row.measured)) {
                    Some(true) => "ok",
                    Some(false) => "short",
                    None => "",
                };
                let note = row.note.clone();
                [row.part.to_owned(), row.what.clone(), goal, row.measured.text(), verdict.to_owned(), note]
            })
            .collect();
        let heads = ["part", "what", "goal", "measured", "", "note"].map(str::to_owned);
        let mut widths = [0; 6];
        for line in lines.iter().chain([&heads]) {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = cell.chars().count().max(*width);
            }
        }
        let mut text = self.facts.join("\n") + "\n\n";
        let mut part = "";
        for line in [&heads].into_iter().chain(&lines) {
            if part != line[0] && part != heads[0] && !part.is_empty() {
                text.push('\n');
            }
            part = &line[0];
            let [_, what, goal, measured, verdict, note] = line;
            let [part_width, what_width, goal_width, measured_width, verdict_width, _] = widths;
            let shown = format!(
                "{part:part_width$}  {what:what_width$}  {goal:>goal_width$}  {measured:>measured_width$}  {verdict:verdict_width$}  {note}"
            );
            text.push_str(shown.trim_end());
            text.push('\n');
        }
        text
    }

    /// The same as JSON.
    pub(crate) fn json(&self) -> String {
        let rows: Vec<JsonRow<'_>> = self
            .rows
            .iter()
            .map(|row| JsonRow {
                part: row.part,
                what: &row.what,
                measured: row.measured.number(),
                unit: row.measured.unit(),
                goal: row.goal.map(|goal| goal.text(row.measured.unit())),
                met: row.goal.map(|goal| goal.is_met(row.measured)),
                note: &row.note,
            })
            .collect();
        format!("{:#}\n", json!({ "facts": self.facts, "rows": rows }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_whether_its_goal_was_met() {
        let mut report = Report::default();
        report.fact("two processors");
        report.row("a", "fast", Some(Goal::Under(2.0)), Measured::Time(Duration::from_micros(1250)), "");
        report.row("a", "many", Some(Goal::AtLeast(2000.0)), Measured::PerSecond(1999.0), "so close");
        report.row("b", "big", None, Measured::Megabytes(12_345_678), "");
        assert_eq!(
            report.table(),
            "two processors\n\
             \n\
             part  what        goal  measured         note\n\
             a     fast      < 2 ms  1.250 ms  ok\n\
             a     many  >= 2000 /s   1999 /s  short  so close\n\
             \n\
             b     big                12.3 MB\n"
        );
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(json["rows"][1]["met"], false);
        assert_eq!(json["rows"][2]["goal"], serde_json::Value::Null);
    }
}
