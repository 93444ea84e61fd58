//! `placet report`: the numbers of the last days, as text, as JSON, as a page, or as the link to one.

use std::fmt::Write as _;
use std::path::Path;

use http::Method;
use placet_delivery::ReportNotice;
use placet_http::pages::{ReportView, percent, report as page, seconds};
use serde_json::Value;

use super::Opened;
use super::alert::{Tried, ways};
use crate::cli::{Deployment, Globals, Report, ReportCommand};
use crate::console::{Style, harmless, note, print};
use crate::failure::{Exit, Failure};
use crate::text::table;

/// Shows the report of the gate in the folder, on AWS, or at an address.
pub(crate) async fn run(globals: &Globals, options: Report) -> Result<Exit, Failure> {
    if let Some(ReportCommand::Send { name, on }) = &options.command {
        return send(globals, name.as_deref(), on).await;
    }
    if let Some(url) = super::address(globals, options.on.aws)? {
        if options.html.is_some() || options.link {
            return Err(Failure::usage("the page is made from the gate's own records, not at its --url")
                .advise("name the gate's folder with --data DIR, or the stack with --aws"));
        }
        let (api, _) = super::api_at(url, globals, options.client.as_deref()).await?;
        let path = format!("/v1/report?days={}", options.days);
        let report = api.call(Method::GET, &path, None).await?.accept()?;
        show(globals, &report);
        return Ok(Exit::Done);
    }
    let Opened { gate, policy, .. } = Opened::of(globals, &options.on).await?;
    if options.link {
        let today = u32::try_from(gate.now().day()).unwrap_or(0);
        let link = gate.report_link(today).await?;
        print(&format!("{}/report/{link}\n", gate.base_url(&policy)));
        return Ok(Exit::Done);
    }
    let report = gate.report_until(gate.now(), options.days).await?;
    if let Some(file) = &options.html {
        let html = page(&ReportView { report: &report, nonce: None, notice: None }).into_string();
        if file == Path::new("-") {
            print(&html);
        } else {
            std::fs::write(file, html).map_err(|error| Failure::file("cannot write", file, &error))?;
            note(&format!("the report is in `{}`", file.display()));
        }
        return Ok(Exit::Done);
    }
    let report = serde_json::to_value(&report)
        .map_err(|error| Failure::fault(format!("the report cannot be written as JSON: {error}")))?;
    show(globals, &report);
    Ok(Exit::Done)
}

/// Sends the report by each way, and says what came of it.
async fn send(globals: &Globals, name: Option<&str>, on: &Deployment) -> Result<Exit, Failure> {
    let (ways, policy) = ways(globals, on).await?;
    let Some(report) = &policy.report else {
        return Err(Failure::refused("the policy has no [report]: the weekly report is sent to nobody")
            .advise("add it: [report] with to = [\"ops\"], the name of a way of [[alerts]]"));
    };
    let names = match name {
        None => report.to.clone(),
        Some(name) if report.to.iter().any(|to| to == name) => vec![name.to_owned()],
        Some(name) => {
            return Err(Failure::refused(format!("[report] does not name the way `{name}`"))
                .advise(format!("it names: {}", report.to.join(", "))));
        }
    };
    let now = ways.gate.now();
    let today = u32::try_from(now.day()).unwrap_or(0);
    let mut tried = Tried::default();
    for way in names.iter().filter_map(|name| policy.alert_way(name)) {
        let id = format!("msg_gate_report_by_hand_{}_{}", now.millis(), way.name);
        let notice = ReportNotice::of(&ways.gate, today, id).await?;
        tried.add(way, ways.send_report(way, &notice).await);
    }
    Ok(tried.show(globals))
}

fn show(globals: &Globals, report: &Value) {
    print(&if globals.json { super::pretty(report) } else { text(report) });
}

/// The report in words, from its JSON: the same from a folder and from an address.
fn text(report: &Value) -> String {
    let style = Style::of_stdout();
    let word = |value: &Value| harmless(value.as_str().unwrap_or_default());
    let count = |value: &Value| value.as_u64().unwrap_or(0).to_string();
    let mut text = format!(
        "{}\n",
        style.bold(&format!("asked from {} until {}", word(&report["from"]), word(&report["until"])))
    );
    let totals = &report["totals"];
    let _ = writeln!(
        text,
        "  {} asked: {} approved, {} rejected, {} expired, {} withdrawn, {} open; {} by people, {} by policy",
        count(&totals["asked"]),
        count(&totals["approved"]),
        count(&totals["rejected"]),
        count(&totals["expired"]),
        count(&totals["cancelled"]),
        count(&totals["pending"]),
        count(&totals["by_people"]),
        count(&totals["by_policy"]),
    );
    let time = |value: &Value| seconds(value.as_f64());
    let mut rows = vec![["TIME", "MEASURED", "HALF WITHIN", "95 %", "99 %"].map(str::to_owned).to_vec()];
    for (name, key) in
        [("to notify", "notify"), ("to open", "open"), ("to decide", "decide"), ("to release", "release")]
    {
        let times = at(report, &format!("/times/{key}"));
        rows.push(vec![
            name.to_owned(),
            count(&times["count"]),
            time(&times["p50_seconds"]),
            time(&times["p95_seconds"]),
            time(&times["p99_seconds"]),
        ]);
    }
    let _ = write!(text, "\n{}", table(&rows));
    for (heading, key) in [("RULE", "rules"), ("CLIENT", "clients")] {
        let names = [heading, "ASKED", "APPROVED", "REJECTED", "EXPIRED", "DECIDE, HALF", "95 %"];
        let mut rows = vec![names.map(str::to_owned).to_vec()];
        for group in report[key].as_array().into_iter().flatten() {
            let mut row = vec![word(&group["name"])];
            row.extend(["asked", "approved", "rejected", "expired"].map(|key| count(&group[key])));
            row.extend(["p50_seconds", "p95_seconds"].map(|key| time(at(group, &format!("/decide/{key}")))));
            rows.push(row);
        }
        if rows.len() > 1 {
            let _ = write!(text, "\n{}", table(&rows));
        }
    }
    text.push_str(&observed(report));
    text.push_str(&troubles(report, style));
    text.push_str(&mistakes(report, style));
    let doubtful = report["doubtful"].as_array().map_or(0, Vec::len);
    if doubtful > 0 {
        let _ = writeln!(text, "\n{}", style.bold("worth a second look"));
        for doubt in report["doubtful"].as_array().into_iter().flatten() {
            let why: Vec<String> = doubt["why"].as_array().into_iter().flatten().map(word).collect();
            let _ = writeln!(
                text,
                "  {} of {}: {} ({}); `placet show` says more",
                word(&doubt["request_id"]),
                word(&doubt["client"]),
                word(&doubt["status"]),
                why.join(", ")
            );
        }
    }
    text
}

/// Rules that only observe, beside how the same requests went.
fn observed(report: &Value) -> String {
    let names = [
        "ONLY OBSERVES",
        "WOULD APPROVE",
        "ASK",
        "REJECT",
        "WERE APPROVED",
        "REJECTED",
        "EXPIRED",
        "BY PEOPLE",
    ];
    let mut rows = vec![names.map(str::to_owned).to_vec()];
    for rule in report["observed"].as_array().into_iter().flatten() {
        let counts =
            ["would_approve", "would_ask", "would_reject", "approved", "rejected", "expired", "by_people"];
        let name = harmless(rule["name"].as_str().unwrap_or_default());
        let counts = counts.map(|key| rule[key].as_u64().unwrap_or(0).to_string());
        rows.push(std::iter::once(name).chain(counts).collect());
    }
    if rows.len() > 1 { format!("\n{}", table(&rows)) } else { String::new() }
}

/// What lies at that JSON pointer; null where nothing does.
fn at<'v>(value: &'v Value, pointer: &str) -> &'v Value {
    const NOTHING: &Value = &Value::Null;
    value.pointer(pointer).unwrap_or(NOTHING)
}

fn troubles(report: &Value, style: Style) -> String {
    let names = [
        ("timeouts", "nobody decided in time"),
        ("unanswered", "… though somebody had been told"),
        ("undelivered", "ended, and no message had arrived"),
        ("callbacks_given_up", "callbacks and hooks given up"),
        ("conditions_failed", "a rule's condition failed"),
    ];
    let mut text = format!("\n{}\n", style.bold("what went wrong"));
    for (key, words) in names {
        let _ =
            writeln!(text, "  {:>6}  {words}", at(report, &format!("/errors/{key}")).as_u64().unwrap_or(0));
    }
    text
}

fn mistakes(report: &Value, style: Style) -> String {
    let mut text = format!("\n{}\n", style.bold("approvals that were mistakes"));
    for (key, words) in [("flags", "of people, by flags"), ("flags_by_policy", "of rules alone, by flags")] {
        let estimate = at(report, &format!("/false_approvals/{key}"));
        let (wrong, of) = (&estimate["wrong"], &estimate["of"]);
        let rate = match (estimate["rate"].as_f64(), estimate["low"].as_f64(), estimate["high"].as_f64()) {
            (Some(rate), Some(low), Some(high)) => {
                format!("{} ({} to {})", percent(rate), percent(low), percent(high))
            }
            _ => "too few to say".to_owned(),
        };
        let _ = writeln!(text, "  {wrong} of {of} {words}: {rate}");
    }
    let fast = &report["fast_decisions"];
    let _ = writeln!(text, "  {} of {} decided faster than the page can be read", fast["count"], fast["of"]);
    text
}

#[cfg(test)]
mod tests {
    use placet_core::Timestamp;
    use placet_core::numbers::{Report, Tally, Window};

    #[test]
    fn a_week_without_requests_is_said_in_words() {
        let window = Window::ending(Timestamp::from_millis(1_795_392_000_000), 7);
        let report = Report::of(window, &Tally::default(), &Tally::default());
        let text = super::text(&serde_json::to_value(&report).unwrap());
        assert!(text.contains("0 asked: 0 approved"), "{text}");
        assert!(text.contains("0 of 0 of people, by flags: too few to say"), "{text}");
    }
}
