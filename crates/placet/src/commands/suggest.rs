//! `placet policy suggest`: rules that would pass what people have always approved, as a patch with its evidence.
//!
//! Nothing is applied, and a rule is suggested as one that only observes: a person decides when it decides.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use placet_core::policy::Policy;
use placet_core::replay::{ReplayReport, Suggestion, Suggestions};
use serde_json::{Value, json};

use super::Opened;
use crate::cli::{Globals, PolicySuggest};
use crate::console::{Style, harmless, print};
use crate::failure::{Exit, Failure};
use crate::local::{broken_policy, read_policy_file};
use crate::text::{clock_time, table};

/// How many unchanged lines a patch shows around what is new.
const CONTEXT: usize = 3;

/// Prints what the history of the gate in the folder, or on AWS, suggests. Nothing is written.
pub(crate) async fn run(globals: &Globals, options: PolicySuggest) -> Result<Exit, Failure> {
    if !options.on.aws && globals.url.is_some() {
        return Err(Failure::usage(
            "a suggestion needs what was asked, with its payloads, and no client's route gives those of all clients",
        )
        .advise("name the gate's folder with --data DIR, or the stack with --aws"));
    }
    let Opened { gate, store, .. } = Opened::of(globals, &options.on).await?;
    let file = options.file.or_else(|| globals.policy.clone());
    let text = match &file {
        Some(file) => read_policy_file(file)?,
        None => store.policy().await?.map(|record| record.text).unwrap_or_default(),
    };
    let file = file.unwrap_or_else(|| PathBuf::from("placet.toml"));
    let policy = Policy::read(&text).map_err(|diagnostics| broken_policy(&file, &diagnostics))?;
    let now = gate.now();
    let since = options.since.before(now);
    if since >= now {
        return Err(Failure::usage("--since is not in the past"));
    }
    let mut found = gate.suggest(&policy, since, now).await?;
    let mut saved = None;
    if !found.suggestions.is_empty() {
        // What they would let pass is looked up once more, by the whole function that the gate decides with.
        let enforced = policy_with(&policy, &text, &found.suggestions, Mode::Decide)?;
        let before = gate.replay(&policy, since, now, 0).await?;
        saved = Saved::of(&before, &gate.replay(&enforced, since, now, 0).await?);
        if saved.is_none() {
            found.take_back();
        }
    }
    let patch = if found.suggestions.is_empty() {
        None
    } else {
        policy_with(&policy, &text, &found.suggestions, Mode::Observe)?;
        Some(patch(&file, &text, &insertions(&policy, &text, &found.suggestions, Mode::Observe)?))
    };
    if globals.json {
        print(&super::pretty(&as_json(&found, patch.as_deref(), saved.as_ref(), (since, now))?));
    } else {
        print(&words(&found, patch.as_deref(), saved.as_ref(), (since, now), Style::of_stdout()));
    }
    Ok(Exit::Done)
}

/// What the suggestions in force would have saved, beside the policy as it is.
struct Saved {
    asks: u32,
    reviewer_minutes: f64,
}

impl Saved {
    /// None where they would let pass what was rejected or called a mistake, or reject what was approved: more of it
    /// than the policy as it is.
    fn of(before: &ReplayReport, after: &ReplayReport) -> Option<Self> {
        let count = |report: &ReplayReport| {
            [&report.rejected_would_pass, &report.flagged_would_pass, &report.newly_denied]
                .map(|list| list.count)
        };
        if count(before).into_iter().zip(count(after)).any(|(before, after)| after > before) {
            return None;
        }
        let minutes = after.saved.reviewer_minutes - before.saved.reviewer_minutes;
        Some(Self {
            asks: after.asks.saved.saturating_sub(before.asks.saved),
            reviewer_minutes: (minutes * 100.0).round() / 100.0,
        })
    }
}

/// How a suggested rule is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Observe,
    Decide,
}

type Moments = (placet_core::Timestamp, placet_core::Timestamp);

fn as_json(
    found: &Suggestions,
    patch: Option<&str>,
    saved: Option<&Saved>,
    (from, until): Moments,
) -> Result<Value, Failure> {
    let unwritable = |error| Failure::fault(format!("the suggestions cannot be written as JSON: {error}"));
    Ok(json!({
        "from": from.to_string(),
        "until": until.to_string(),
        "suggestions": serde_json::to_value(&found.suggestions).map_err(unwritable)?,
        "nothing": serde_json::to_value(&found.nothing).map_err(unwritable)?,
        "patch": patch,
        "asks_saved": saved.map(|saved| saved.asks),
        "reviewer_minutes_saved": saved.map(|saved| saved.reviewer_minutes),
    }))
}

fn words(
    found: &Suggestions,
    patch: Option<&str>,
    saved: Option<&Saved>,
    (from, until): Moments,
    style: Style,
) -> String {
    // The patch is the whole of what a program reads here, so all else is a comment to it.
    let mut text = format!("# what was asked from {} until {}\n", clock_time(from), clock_time(until));
    if found.suggestions.is_empty() {
        text.push_str("# nothing to suggest\n");
    }
    for one in &found.suggestions {
        let wrong = one.wrong.high.map_or_else(String::new, |high| {
            format!("; that so many were right leaves up to {:.1} % wrong ones possible", high * 100.0)
        });
        let doubt = one.doubt_from.map_or_else(String::new, |doubt| {
            format!("; from {doubt} on, something was rejected, called a mistake or left undecided")
        });
        let _ = writeln!(
            text,
            "# {}: people approved {} of {} up to {} {}{wrong}{doubt}",
            harmless(&one.before),
            one.approved,
            one.of,
            one.up_to,
            one.currency
        );
    }
    if let Some(saved) = saved {
        let _ = writeln!(
            text,
            "# all of it in force would have saved {} asks and {} minutes of reviewers, and let nothing more pass that was \
             rejected or called a mistake",
            saved.asks, saved.reviewer_minutes
        );
        text.push_str(
            "# the rules only observe until you remove their `mode`; a running total (`total`) also stops what is split up\n",
        );
    }
    let rows: Vec<Vec<String>> = found
        .nothing
        .iter()
        .map(|one| vec![format!("#   {}", harmless(&one.rule)), one.words.to_owned()])
        .collect();
    if !rows.is_empty() {
        let _ = write!(text, "{}\n{}", style.dim("# nothing to suggest for"), table(&rows));
    }
    if let Some(patch) = patch {
        text.push('\n');
        text.push_str(patch);
    }
    text
}

/// The policy with those rules in it, checked: it has all its rules, and each new one before the rule it is for.
fn policy_with(
    policy: &Policy,
    text: &str,
    suggestions: &[Suggestion],
    mode: Mode,
) -> Result<Policy, Failure> {
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    for (at, new) in insertions(policy, text, suggestions, mode)?.into_iter().rev() {
        lines.splice(at..at, new);
    }
    let patched = Policy::read(&lines.join("\n")).map_err(|_| unpatchable())?;
    let wanted: Vec<&str> = policy
        .rules
        .iter()
        .flat_map(|rule| {
            let new = suggestions.iter().filter(|one| one.before == rule.name).map(|one| one.name.as_str());
            new.chain([rule.name.as_str()])
        })
        .collect();
    let has: Vec<&str> = patched.rules.iter().map(|rule| rule.name.as_str()).collect();
    if has == wanted { Ok(patched) } else { Err(unpatchable()) }
}

fn unpatchable() -> Failure {
    Failure::refused("the rules of this policy cannot be added to line by line")
        .advise("write each rule under a line `[[rules]]` of its own")
}

/// What is to be put where: before that line, counted from 0.
fn insertions(
    policy: &Policy,
    text: &str,
    suggestions: &[Suggestion],
    mode: Mode,
) -> Result<Vec<(usize, Vec<String>)>, Failure> {
    let lines: Vec<&str> = text.split('\n').collect();
    let heads: Vec<usize> = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| line.trim_start().starts_with("[[rules]]"))
        .map(|(number, _)| number)
        .collect();
    if heads.len() != policy.rules.len() {
        return Err(unpatchable());
    }
    let mut all = Vec::new();
    for (rule, head) in policy.rules.iter().zip(heads) {
        let new: Vec<String> = suggestions
            .iter()
            .filter(|one| one.before == rule.name)
            .flat_map(|one| rule_lines(one, mode))
            .collect();
        if new.is_empty() {
            continue;
        }
        // A comment above a rule stays with it.
        let mut at = head;
        while at.checked_sub(1).and_then(|above| lines.get(above)).is_some_and(|line| line.starts_with('#')) {
            at = at.saturating_sub(1);
        }
        all.push((at, new));
    }
    Ok(all)
}

fn rule_lines(one: &Suggestion, mode: Mode) -> Vec<String> {
    let name = Value::from(one.name.as_str());
    let when = if one.when.contains(['\'', '\n', '\r']) {
        Value::from(one.when.as_str()).to_string()
    } else {
        format!("'{}'", one.when)
    };
    let mut lines = vec!["[[rules]]".to_owned(), format!("name = {name}")];
    if mode == Mode::Observe {
        lines.push("mode = \"observe\"".to_owned());
    }
    lines.extend([format!("when = {when}"), "decide = \"approve\"".to_owned(), String::new()]);
    lines
}

/// A unified diff that adds those lines.
fn patch(file: &Path, text: &str, insertions: &[(usize, Vec<String>)]) -> String {
    let lines: Vec<&str> = text.strip_suffix('\n').unwrap_or(text).split('\n').collect();
    let name =
        file.file_name().map_or_else(|| file.display().to_string(), |name| name.to_string_lossy().into());
    let mut diff = format!("--- a/{name}\n+++ b/{name}\n");
    let (mut added, mut rest) = (0, insertions);
    while let Some((first, _)) = rest.first() {
        // Neighbours whose surroundings touch share a hunk.
        let mut together: usize = 1;
        while let (Some((one, _)), Some((next, _))) =
            (rest.get(together.saturating_sub(1)), rest.get(together))
            && next.saturating_sub(*one) <= CONTEXT * 2
        {
            together += 1;
        }
        let (hunk, later) = rest.split_at(together);
        let last = hunk.last().map_or(*first, |(at, _)| *at);
        let (from, until) = (first.saturating_sub(CONTEXT), last.saturating_add(CONTEXT).min(lines.len()));
        let new: usize = hunk.iter().map(|(_, new)| new.len()).sum();
        let old = until.saturating_sub(from);
        let _ = writeln!(diff, "@@ -{},{old} +{},{} @@", from + 1, from + 1 + added, old + new);
        for (number, line) in lines.iter().enumerate().take(until).skip(from) {
            for (_, new) in hunk.iter().filter(|(at, _)| *at == number) {
                for line in new {
                    let _ = writeln!(diff, "+{line}");
                }
            }
            let _ = writeln!(diff, " {line}");
        }
        added += new;
        rest = later;
    }
    diff
}
