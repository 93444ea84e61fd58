//! The report's page: numbers, charts and tables for a Monday morning. Plain numbers in, HTML out; no scripts.
//!
//! Every chart is also a table. Nobody is ranked: people stand in the order of their names, with how often they were asked.

use maud::{Markup, html};
use placet_core::numbers::{
    Change, Counts, DayCounts, Doubt, ENOUGH, Estimate, Group, ObservedRule, Percentiles, Report,
};
use placet_core::words::text::grouped;

use super::layout::{exact_moment, moment, report_page};
use super::text::line;

/// What is shown, and how it may be answered.
pub struct ReportView<'a> {
    /// The numbers.
    pub report: &'a Report,
    /// What the forms must bring back; without one, as in a file, there are no forms.
    pub nonce: Option<&'a str>,
    /// What was just done, if something was.
    pub notice: Option<&'a str>,
}

/// How wide a chart is, in its own units, and how high its bars may be.
const WIDTH: u32 = 640;
const HEIGHT: u32 = 150;

/// Room on the left for the scale, and below for the names.
const LEFT: u32 = 40;
const BELOW: u32 = 22;

/// The whole page.
pub fn report(view: &ReportView<'_>) -> Markup {
    let report = view.report;
    let content = html! {
        @if let Some(notice) = view.notice { p.notice role="status" { (notice) } }
        (summary(report))
        (days(&report.by_day))
        (times(report))
        (groups("Rules", "rules", "Rule", &report.rules))
        (observed(&report.observed))
        (groups("Clients", "clients", "Client", &report.clients))
        (troubles(report))
        (load(report))
        (mistakes(report))
        (doubts("Worth a second look", "doubtful", &report.doubtful, view.nonce,
            "Flagged, decided faster than the page can be read, or reviewers said different things."))
        (doubts("Slowest decisions", "slowest", &report.slowest, view.nonce, "The longest from question to decision."))
        (changes(report))
    };
    report_page("Approvals of the week – Placet", &content)
}

fn summary(report: &Report) -> Markup {
    let totals = &report.totals;
    html! {
        article.card {
            h1 { "Approvals, " (report.days) @if report.days == 1 { " day" } @else { " days" } }
            p.hint { "Asked from " (moment(report.from.millis())) " until " (moment(report.until.millis())) "." }
            ul.totals {
                (total(totals.asked, "asked"))
                (total(totals.approved, "approved"))
                (total(totals.rejected, "rejected"))
                (total(totals.expired, "expired"))
                (total(totals.pending, "still open"))
                (total(totals.by_people, "decided by people"))
                (total(totals.by_policy, "decided by policy"))
            }
        }
    }
}

fn total(count: u32, what: &str) -> Markup {
    html! { li { b { (number(count)) } (what) } }
}

/// The statuses in the order in which they are drawn and listed.
fn outcomes(counts: &Counts) -> [(&'static str, u32); 5] {
    [
        ("approved", counts.approved),
        ("rejected", counts.rejected),
        ("expired", counts.expired),
        ("cancelled", counts.cancelled),
        ("pending", counts.pending),
    ]
}

fn days(days: &[DayCounts]) -> Markup {
    let most = days.iter().map(|day| day.counts.asked).max().unwrap_or(0);
    let scale = Scale::up_to(most);
    let slot = (WIDTH - LEFT) / u32::try_from(days.len()).unwrap_or(1).max(1);
    html! {
        article.card aria-labelledby="days" {
            h2 #days { "By day" }
            ul.keys aria-hidden="true" {
                @for (name, _) in outcomes(&Counts::default()) { li { span class={ "key " (name) } {} (name) } }
            }
            svg.chart viewBox={ "0 0 " (WIDTH) " " (HEIGHT + BELOW + 10) } role="img" aria-label="Requests by day and outcome; the table below says the same" {
                (scale.grid())
                @for (index, day) in (0_u32..).zip(days) {
                    (stack(&day.counts, LEFT + index * slot + slot / 6, (slot * 2 / 3).max(2), &scale))
                    @if days.len() <= 10 || index % 5 == 0 {
                        text x=(LEFT + index * slot + slot / 2) y=(HEIGHT + BELOW) text-anchor="middle" { (short_day(day)) }
                    }
                }
            }
            details {
                summary { "As a table" }
                div.scroll tabindex="0" role="group" aria-label="Table" { table {
                    thead { tr { th { "Day (UTC)" } th { "Asked" } @for (name, _) in outcomes(&Counts::default()) { th { (capital(name)) } } } }
                    tbody {
                        @for day in days {
                            tr { th scope="row" { (short_day(day)) } td { (number(day.counts.asked)) }
                                @for (_, count) in outcomes(&day.counts) { td { (number(count)) } } }
                        }
                    }
                } }
            }
        }
    }
}

/// One bar of several outcomes, from the ground up.
fn stack(counts: &Counts, x: u32, width: u32, scale: &Scale) -> Markup {
    let mut below = 0;
    let parts: Vec<_> = outcomes(counts)
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| {
            let (low, high) = (scale.height(below), scale.height(below + count));
            below += count;
            (name, count, high, high.saturating_sub(low))
        })
        .collect();
    html! {
        @for (name, count, top, height) in parts {
            rect class=(name) x=(x) y=(HEIGHT + 10 - top) width=(width) height=(height) { title { (number(count)) " " (name) } }
        }
    }
}

/// A scale from nothing to a round number.
struct Scale {
    top: u32,
}

impl Scale {
    fn up_to(most: u32) -> Self {
        let mut step = 1_u32;
        loop {
            for factor in [4, 8, 20] {
                let top = step.saturating_mul(factor);
                if top >= most || top == u32::MAX {
                    return Self { top };
                }
            }
            step = step.saturating_mul(10);
        }
    }

    fn height(&self, count: u32) -> u32 {
        let height = u64::from(count) * u64::from(HEIGHT) / u64::from(self.top.max(1));
        u32::try_from(height).unwrap_or(HEIGHT)
    }

    fn grid(&self) -> Markup {
        html! {
            @for quarter in 0..=4_u32 {
                @let y = HEIGHT + 10 - HEIGHT * quarter / 4;
                line.grid x1=(LEFT) x2=(WIDTH) y1=(y) y2=(y) {}
                text x=(LEFT - 6) y=(y + 4) text-anchor="end" { (number(self.top / 4 * quarter)) }
            }
        }
    }
}

fn times(report: &Report) -> Markup {
    let rows = [
        ("Notify", "question to first message taken", report.times.notify),
        ("Open", "message to the page being opened", report.times.open),
        ("Decide", "question to decision", report.times.decide),
        ("Release", "end to callback taken or token used", report.times.release),
    ];
    html! {
        article.card aria-labelledby="times" {
            h2 #times { "How long it took" }
            div.scroll tabindex="0" role="group" aria-label="Table" { table {
                thead { tr { th { "Time" } th.left { "From … to …" } th { "Measured" } th { "Half within" } th { "95 % within" } th { "99 % within" } } }
                tbody {
                    @for (name, what, times) in rows {
                        tr { th scope="row" { (name) } td.left { (what) } td { (number(times.count)) } (percentiles(&times)) }
                    }
                }
            } }
        }
    }
}

fn percentiles(times: &Percentiles) -> Markup {
    html! { @for time in [times.p50_seconds, times.p95_seconds, times.p99_seconds] { td { (seconds(time)) } } }
}

fn groups(title: &str, id: &str, column: &str, groups: &[Group]) -> Markup {
    html! {
        article.card aria-labelledby=(id) {
            h2 id=(id) { (title) }
            @if groups.is_empty() { p.hint { "Nothing was asked." } } @else {
                div.scroll tabindex="0" role="group" aria-label="Table" { table {
                    thead { tr {
                        th { (column) } th { "Asked" } th { "Approved" } th { "Rejected" } th { "Expired" } th { "By policy" }
                        th { "Decide, half" } th { "95 %" }
                    } }
                    tbody { @for group in groups {
                        tr {
                            th scope="row" { (line(&group.name)) }
                            td { (number(group.counts.asked)) } td { (number(group.counts.approved)) }
                            td { (number(group.counts.rejected)) } td { (number(group.counts.expired)) }
                            td { (number(group.counts.by_policy)) }
                            td { (seconds(group.decide.p50_seconds)) } td { (seconds(group.decide.p95_seconds)) }
                        }
                    } }
                } }
            }
        }
    }
}

fn troubles(report: &Report) -> Markup {
    let errors = &report.errors;
    let rows = [
        ("Nobody decided in time", errors.timeouts),
        ("… though somebody had been told", errors.unanswered),
        ("Ended, and no message about it had arrived", errors.undelivered),
        ("Callbacks and hooks given up", errors.callbacks_given_up),
        ("Rejected because a rule’s condition failed", errors.conditions_failed),
    ];
    html! {
        article.card aria-labelledby="troubles" {
            h2 #troubles { "What went wrong" }
            div.scroll tabindex="0" role="group" aria-label="Table" { table { tbody { @for (what, count) in rows { tr { th scope="row" { (what) } td { (number(count)) } } } } } }
        }
    }
}

fn load(report: &Report) -> Markup {
    let hours = &report.load.by_hour_utc;
    let scale = Scale::up_to(hours.iter().copied().max().unwrap_or(0));
    let slot = (WIDTH - LEFT) / 24;
    html! {
        article.card aria-labelledby="load" {
            h2 #load { "How often people were asked" }
            svg.chart viewBox={ "0 0 " (WIDTH) " " (HEIGHT + BELOW + 10) } role="img" aria-label="Asks by hour of the day in UTC; the table below says the same" {
                (scale.grid())
                @for (hour, count) in (0_u32..).zip(hours) {
                    @let height = scale.height(*count);
                    rect.bar-fill x=(LEFT + hour * slot + 3) y=(HEIGHT + 10 - height) width=(slot - 6) height=(height) {
                        title { (number(*count)) " asks from " (hour) " UTC" }
                    }
                    @if hour % 3 == 0 { text x=(LEFT + hour * slot + slot / 2) y=(HEIGHT + BELOW) text-anchor="middle" { (format!("{hour:02}")) } }
                }
            }
            details {
                summary { "As a table" }
                div.scroll tabindex="0" role="group" aria-label="Table" { table {
                    thead { tr { th { "Hour (UTC)" } th { "Asks" } } }
                    tbody { @for (hour, count) in (0_u32..).zip(hours) { tr { th scope="row" { (format!("{hour:02}:00")) } td { (number(*count)) } } } }
                } }
            }
            @if !report.load.reviewers.is_empty() {
                div.scroll tabindex="0" role="group" aria-label="Table" { table {
                    caption { "Each reviewer who was told, by name. One request and stage is one ask." }
                    thead { tr { th { "Reviewer" } th { "Asks" } th { "In so many hours" } th { "Most in one hour" } } }
                    tbody { @for one in &report.load.reviewers {
                        tr { th scope="row" { (line(&one.reviewer)) } td { (number(one.asks)) } td { (number(one.hours)) } td { (number(one.busiest_hour)) } }
                    } }
                } }
            }
        }
    }
}

/// Rules that only observe; nothing where the policy has none.
fn observed(rules: &[ObservedRule]) -> Markup {
    html! {
        @if !rules.is_empty() {
            article.card aria-labelledby="observed" {
                h2 #observed { "Rules that only observe" }
                p.hint { "What each would have done, beside how the same requests ended. It decided none of them." }
                div.scroll tabindex="0" role="group" aria-label="Table" { table {
                    thead { tr {
                        th { "Rule" } th { "Would approve" } th { "Would ask" } th { "Would reject" }
                        th { "Were approved" } th { "Rejected" } th { "Expired" } th { "By people" }
                    } }
                    tbody { @for rule in rules { tr {
                        th scope="row" { (line(&rule.name)) }
                        @for count in [rule.would_approve, rule.would_ask, rule.would_reject] { td { (number(count)) } }
                        @let counts = &rule.counts;
                        @for count in [counts.approved, counts.rejected, counts.expired, counts.by_people] {
                            td { (number(count)) }
                        }
                    } } }
                } }
            }
        }
    }
}

fn mistakes(report: &Report) -> Markup {
    let fast = &report.fast_decisions;
    let rows = [
        ("Flags: approvals of people", &report.false_approvals.flags),
        ("Flags: approvals of rules alone", &report.false_approvals.flags_by_policy),
    ];
    html! {
        article.card aria-labelledby="mistakes" {
            h2 #mistakes { "Approvals that were mistakes" }
            p.hint {
                "Flagged by somebody afterwards; what nobody noticed is not in it. With the range that holds the true rate in 95 of "
                "100 cases. Below " (ENOUGH) " approvals no rate is given."
            }
            @for (name, estimate) in rows { (interval(name, estimate)) }
            div.scroll tabindex="0" role="group" aria-label="Table" { table {
                thead { tr { th { "Source" } th { "Mistakes" } th { "Of" } th { "Rate" } th { "95 % range" } } }
                tbody { @for (name, estimate) in rows {
                    tr { th scope="row" { (name) } td { (number(estimate.wrong)) } td { (number(estimate.of)) }
                        @match (estimate.rate, estimate.low, estimate.high) {
                            (Some(rate), Some(low), Some(high)) => { td { (percent(rate)) } td { (percent(low)) " – " (percent(high)) } }
                            _ => { td colspan="2" { "too few" } }
                        }
                    }
                } }
            } }
            p.hint {
                (number(fast.count)) " of " (number(fast.of)) " decisions on a page were made faster than the page can be read "
                "(a second, and a tenth of one for each word)."
            }
        }
    }
}

/// The range as a line with its rate as a dot, on a scale of its own.
fn interval(name: &str, estimate: &Estimate) -> Markup {
    let (Some(rate), Some(low), Some(high)) = (estimate.rate, estimate.low, estimate.high) else {
        return html! {};
    };
    let top = [0.05, 0.1, 0.25, 0.5, 1.0].into_iter().find(|top| high <= *top).unwrap_or(1.0);
    let x = |share: f64| format!("{:.1}", 20.0 + 580.0 * share / top);
    html! {
        svg.chart viewBox={ "0 0 " (WIDTH) " 46" } role="img" aria-label={ (name) ": " (percent(rate)) ", between " (percent(low)) " and " (percent(high)) } {
            line.grid x1="20" x2="600" y1="26" y2="26" {}
            line.range x1=(x(low)) x2=(x(high)) y1="26" y2="26" {}
            circle.dot cx=(x(rate)) cy="26" r="5" {}
            text x="20" y="12" { (name) }
            text x="20" y="43" { "0 %" }
            text x="600" y="43" text-anchor="end" { (percent(top)) }
        }
    }
}

fn doubts(title: &str, id: &str, doubts: &[Doubt], nonce: Option<&str>, hint: &str) -> Markup {
    html! {
        article.card aria-labelledby=(id) {
            h2 id=(id) { (title) }
            @if doubts.is_empty() { p.hint { "None." } } @else {
                p.hint { (hint) }
                div.scroll tabindex="0" role="group" aria-label="Table" { table {
                    thead { tr {
                        th { "Request" } th.left { "Client" } th.left { "Action" } th.left { "Asked" } th { "Took" } th.left { "Outcome" }
                        @if nonce.is_some() { th { span.dim { "Mistake?" } } }
                    } }
                    tbody { @for doubt in doubts {
                        tr {
                            td { code { (line(&doubt.request_id)) } @if !doubt.why.is_empty() { div.why.dim { (doubt.why.iter().map(|why| words_for(why)).collect::<Vec<_>>().join(", ")) } } }
                            td.left { (line(&doubt.client)) } td.left { (line(&doubt.action)) }
                            td.left { (exact_moment(doubt.asked_at.millis())) }
                            td { (milliseconds(doubt.decided_in_ms)) } td.left { (doubt.status) }
                            @if let Some(nonce) = nonce { td { (flag_form(doubt, nonce)) } }
                        }
                    } }
                } }
            }
        }
    }
}

fn flag_form(doubt: &Doubt, nonce: &str) -> Markup {
    html! {
        @if doubt.why.contains(&"flagged") { span.dim { "flagged" } }
        @else if doubt.status == "approved" {
            form method="post" {
                input type="hidden" name="nonce" value=(nonce);
                input type="hidden" name="client" value=(doubt.client);
                input type="hidden" name="flag" value=(doubt.request_id);
                button aria-label={ "It was a mistake: approving " (doubt.request_id) } { "It was a mistake" }
            }
        }
    }
}

fn words_for(why: &str) -> &'static str {
    match why {
        "flagged" => "flagged as a mistake",
        "fast" => "faster than it can be read",
        "split" => "reviewers disagreed",
        _ => "worth a look",
    }
}

fn changes(report: &Report) -> Markup {
    html! {
        article.card aria-labelledby="changes" {
            h2 #changes { "Against the four weeks before" }
            p.hint { (number(report.before.counts.asked)) " were asked from " (moment(report.before.from.millis())) " until " (moment(report.before.until.millis())) "." }
            div.scroll tabindex="0" role="group" aria-label="Table" { table {
                thead { tr { th { "Number" } th { "Now" } th { "Before" } } }
                tbody { @for change in &report.changes {
                    tr { th scope="row" { (name_of(change)) } td { (measured(change, change.now)) } td { (measured(change, change.before)) } }
                } }
            } }
        }
    }
}

/// What a change is called, for people.
pub fn name_of(change: &Change) -> &'static str {
    match change.name {
        "asked_per_week" => "Asked in a week",
        "approved_share" => "Approved",
        "rejected_share" => "Rejected",
        "expired_share" => "Expired",
        "by_policy_share" => "Decided by policy alone",
        "undelivered_share" => "Ended with nobody told",
        "notify_p95_seconds" => "Notified, 95 % within",
        "decide_p50_seconds" => "Decided, half within",
        "decide_p95_seconds" => "Decided, 95 % within",
        "fast_share" => "Faster than the page can be read",
        other => other,
    }
}

/// A change's number in its unit.
pub fn measured(change: &Change, value: Option<f64>) -> String {
    match value {
        None => "–".to_owned(),
        Some(share) if change.name.ends_with("_share") => percent(share),
        Some(_) if change.name.ends_with("_seconds") => seconds(value),
        Some(count) => format!("{count:.0}"),
    }
}

/// A time in the unit that suits it.
pub fn seconds(time: Option<f64>) -> String {
    match time {
        None => "–".to_owned(),
        Some(time) if time < 1.0 => format!("{:.0} ms", time * 1000.0),
        Some(time) if time < 120.0 => format!("{time:.1} s"),
        Some(time) if time < 7200.0 => format!("{:.0} min", time / 60.0),
        Some(time) if time < 172_800.0 => format!("{:.1} h", time / 3600.0),
        Some(time) => format!("{:.1} days", time / 86_400.0),
    }
}

fn milliseconds(ms: Option<i64>) -> String {
    // Whole seconds are enough here, and the reader's own unit follows.
    seconds(ms.map(|ms| f64::from(i32::try_from(ms / 1000).unwrap_or(i32::MAX))))
}

/// A share of 1 in percent.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn number(count: u32) -> String {
    grouped(usize::try_from(count).unwrap_or(usize::MAX))
}

fn capital(name: &str) -> String {
    let (first, rest) = name.split_at_checked(1).unwrap_or((name, ""));
    format!("{}{rest}", first.to_uppercase())
}

fn short_day(day: &DayCounts) -> String {
    let whole = day.day.to_string();
    whole.get(5..10).unwrap_or(&whole).to_owned()
}

#[cfg(test)]
mod tests {
    use placet_core::Timestamp;
    use placet_core::numbers::{Tally, Window};

    use super::*;

    fn empty() -> Report {
        let window = Window::ending(Timestamp::from_millis(1_795_392_000_000), 7);
        Report::of(window, &Tally::default(), &Tally::default())
    }

    #[test]
    fn a_week_without_requests_has_a_page_without_scripts_and_styles_of_elements() {
        let report = empty();
        let page = report_of(&report, Some("1-a"));
        assert!(page.ends_with("</html>") && page.contains("too few") && !page.contains("NaN"));
        assert!(!page.contains("<script") && !page.contains(" style=") && !page.contains(" onclick="));
        assert_eq!(page.matches("<style>").count(), 1);
        assert!(!page.contains("<form"));
    }

    fn report_of(report: &Report, nonce: Option<&str>) -> String {
        super::report(&ReportView { report, nonce, notice: None }).into_string()
    }

    #[test]
    fn untrusted_names_stay_text_and_an_approval_can_be_flagged_once() {
        let mut report = empty();
        let doubt = |status, why| Doubt {
            approval_id: "01K".into(),
            client: "n8n".into(),
            request_id: "r<1>".into(),
            rule: None,
            action: "<script>x</script>".into(),
            status,
            asked_at: report.from,
            decided_in_ms: Some(1500),
            why,
        };
        report.doubtful = vec![
            doubt("approved", vec!["fast"]),
            doubt("approved", vec!["flagged"]),
            doubt("rejected", vec!["split"]),
        ];
        let page = report_of(&report, Some("1-a"));
        assert!(!page.contains("<script") && page.contains("r&lt;1&gt;"));
        assert_eq!(page.matches("<form method=\"post\">").count(), 1);
        assert!(!report_of(&report, None).contains("<form"));
    }

    #[test]
    fn scales_end_at_a_round_number_above_the_most() {
        for (most, top) in [(0, 4), (4, 4), (5, 8), (9, 20), (21, 40), (100, 200), (u32::MAX, u32::MAX)] {
            assert_eq!(Scale::up_to(most).top, top, "{most}");
        }
    }

    #[test]
    fn times_come_in_the_unit_that_suits_them() {
        for (time, words) in [
            (0.25, "250 ms"),
            (1.5, "1.5 s"),
            (600.0, "10 min"),
            (10_800.0, "3.0 h"),
            (864_000.0, "10.0 days"),
        ] {
            assert_eq!(seconds(Some(time)), words);
        }
        assert_eq!(seconds(None), "–");
    }
}
