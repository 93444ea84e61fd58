//! `placet policy replay`: what a policy would have done with what was asked, beside what people decided.

use std::fmt::Write as _;
use std::path::Path;

use placet_core::policy::Policy;
use placet_core::replay::{Case, Listed, ReplayReport};
use serde_json::{Value, json};

use super::Opened;
use crate::cli::{Globals, PolicyReplay};
use crate::console::{Style, harmless, print};
use crate::failure::{Exit, Failure};
use crate::local::{broken_policy, read_policy_file};
use crate::text::{clock_time, shorten, table};

/// Replays the history of the gate in the folder, or on AWS. Nothing is written.
pub(crate) async fn run(globals: &Globals, options: PolicyReplay) -> Result<Exit, Failure> {
    if !options.on.aws && globals.url.is_some() {
        return Err(Failure::usage(
            "a replay needs what was asked, with its payloads, and no client's route gives those of all clients",
        )
        .advise("name the gate's folder with --data DIR, or the stack with --aws"));
    }
    let file = &options.file;
    let text = read_policy_file(file)?;
    let replayed = Policy::read(&text).map_err(|diagnostics| broken_policy(file, &diagnostics))?;
    let Opened { gate, policy: in_force, .. } = Opened::of(globals, &options.on).await?;
    let now = gate.now();
    let since = options.since.before(now);
    if since >= now {
        return Err(Failure::usage("--since is not in the past"));
    }
    let listed = usize::try_from(options.list).unwrap_or(usize::MAX);
    let report = gate.replay(&replayed, since, now, listed).await?;
    let is_in_force = replayed.sha256 == in_force.sha256;
    if globals.json {
        let mut whole = json!({
            "policy": { "file": file, "sha256": replayed.sha256, "in_force": is_in_force },
        });
        let report = serde_json::to_value(&report)
            .map_err(|error| Failure::fault(format!("the comparison cannot be written as JSON: {error}")))?;
        if let (Some(whole), Value::Object(report)) = (whole.as_object_mut(), report) {
            whole.extend(report);
        }
        print(&super::pretty(&whole));
        return Ok(Exit::Done);
    }
    print(&words(&report, file, is_in_force, Style::of_stdout()));
    Ok(Exit::Done)
}

fn words(report: &ReplayReport, file: &Path, is_in_force: bool, style: Style) -> String {
    let mut text = format!(
        "{}\n",
        style.bold(&format!(
            "{} over what was asked from {} until {}",
            file.display(),
            clock_time(report.from),
            clock_time(report.until)
        ))
    );
    if is_in_force {
        text.push_str("  this is the policy in force: what differs was asked under another one\n");
    }
    let _ = writeln!(
        text,
        "  {} asked, {} of them replayed; {} would have gone otherwise",
        report.requests, report.replayed, report.changed
    );
    let asks = &report.asks;
    let _ = writeln!(
        text,
        "  asks: {} then, {} now; {} saved, {} new, {} to others or under other terms",
        asks.then, asks.now, asks.saved, asks.added, asks.otherwise
    );
    let saved = &report.saved;
    if asks.saved > 0 {
        let unknown = match saved.presses_unknown {
            0 => String::new(),
            presses => format!(", not counting {presses} presses outside a page"),
        };
        let _ = writeln!(
            text,
            "  saved: {} minutes of reviewers over {} presses{unknown}; callers would have waited {} minutes less",
            saved.reviewer_minutes, saved.presses, saved.waiting_minutes
        );
    }
    if !report.pairs.is_empty() {
        let mut rows = vec![["THEN", "WITH THIS POLICY", "REQUESTS"].map(str::to_owned).to_vec()];
        rows.extend(report.pairs.iter().map(|pair| {
            vec![pair.then.words().to_owned(), pair.now.words().to_owned(), pair.requests.to_string()]
        }));
        let _ = write!(text, "\n{}", table(&rows));
    }
    text.push_str(&rules(report));
    let warned = [
        ("rejected, and would pass alone", &report.rejected_would_pass),
        ("approved, called a mistake later, and would pass alone", &report.flagged_would_pass),
        ("decided by nobody, and would pass alone", &report.undecided_would_pass),
    ];
    for (heading, listed) in warned {
        text.push_str(&list(&style.bad(heading), listed));
    }
    text.push_str(&list(&style.bold("somebody would be asked who was not"), &report.newly_asked));
    text.push_str(&list(&style.bold("approved, and would be rejected at once"), &report.newly_denied));
    if report.used_too_late > 0 {
        let late = report.used_too_late;
        let _ = writeln!(text, "\n{late} approvals were used later than this policy's `valid_for` allows");
    }
    if report.conditions_failed > 0 {
        let failed = report.conditions_failed;
        let _ = writeln!(text, "\n{failed} requests meet a condition that cannot be evaluated for them");
    }
    if !report.not_replayed.is_empty() {
        let _ = writeln!(text, "\n{}", style.bold("not replayed"));
        for left in &report.not_replayed {
            let _ = writeln!(text, "  {:>6}  {}", left.requests, left.words);
        }
    }
    let _ = writeln!(text, "\n{}", style.dim("taken for granted"));
    for assumed in &report.assumes {
        let _ = writeln!(text, "  {}", style.dim(assumed));
    }
    text
}

fn rules(report: &ReplayReport) -> String {
    let names =
        ["RULE", "HITS", "PASS", "ASK", "REJECT", "WERE APPROVED", "REJECTED", "UNDECIDED", "NOT ASKED"];
    let mut rows = vec![names.map(str::to_owned).to_vec()];
    for rule in &report.rules {
        let counts = [
            rule.hits,
            rule.approves,
            rule.asks,
            rule.rejects,
            rule.were_approved,
            rule.were_rejected,
            rule.were_undecided,
            rule.were_decided_by_policy,
        ];
        let observes = if rule.observes { format!(" (observes: {})", rule.observed) } else { String::new() };
        let name = shorten(&harmless(&rule.name), 40) + &observes;
        rows.push(std::iter::once(name).chain(counts.map(|count| count.to_string())).collect());
    }
    if rows.len() > 1 { format!("\n{}", table(&rows)) } else { String::new() }
}

fn list(heading: &str, listed: &Listed) -> String {
    if listed.count == 0 {
        return String::new();
    }
    let mut text = format!("\n{heading}: {}\n", listed.count);
    let row = |case: &Case| {
        let rule = case.rule_now.as_deref().map_or_else(|| "no rule".to_owned(), harmless);
        vec![
            format!("  {}", clock_time(case.asked_at)),
            harmless(&case.request_id),
            harmless(&case.client),
            shorten(&harmless(&case.title), 60),
            case.then.words().to_owned(),
            format!("now `{rule}`"),
        ]
    };
    text.push_str(&table(&listed.requests.iter().map(row).collect::<Vec<_>>()));
    let named = u32::try_from(listed.requests.len()).unwrap_or(u32::MAX);
    if listed.count > named {
        let _ = writeln!(text, "  … and {} more; --list COUNT names more of them", listed.count - named);
    }
    text
}
