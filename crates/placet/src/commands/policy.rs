//! `placet policy`: check, explain, install.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use placet_core::policy::{Assignees, Decision, Diagnostic, Policy, Question, Rule, RuleAction, Verdict};
use placet_gate::Installed;
use serde_json::{Value, json};

use crate::cli::Globals;
use crate::clock::SystemClock;
use crate::console::{Style, harmless, print};
use crate::failure::{Exit, Failure};
use crate::folder::Folder;
use crate::local::{LocalGate, broken_policy, read_policy_file};
use crate::text::span;

/// Finds every fault.
pub(crate) fn check(globals: &Globals, file: Option<PathBuf>) -> Result<Exit, Failure> {
    let file = super::policy_file(file, globals)?;
    let report = Policy::check(&read_policy_file(&file)?);
    let faults = report.policy.as_ref().err().map(Vec::as_slice).unwrap_or_default();
    let exit = if faults.is_empty() { Exit::Done } else { Exit::Refused };
    if globals.json {
        print(&super::pretty(&json!({
            "file": file,
            "valid": faults.is_empty(),
            "faults": flaws_json(faults),
            "warnings": flaws_json(&report.warnings),
        })));
        return Ok(exit);
    }
    let style = Style::of_stdout();
    let mut text = String::new();
    for fault in faults {
        let _ = writeln!(text, "{}  {}: {fault}", style.bad("fault"), file.display());
    }
    for warning in &report.warnings {
        let _ = writeln!(text, "{}  {}: {warning}", style.doubtful("warn "), file.display());
    }
    let name = file.display();
    let _ = match &report.policy {
        Ok(policy) => writeln!(
            text,
            "{}  {name}: {}, {}, {}",
            style.good("ok   "),
            count(policy.clients.len(), "client"),
            count(policy.reviewers.len(), "reviewer"),
            count(policy.rules.len(), "rule")
        ),
        Err(faults) => {
            writeln!(text, "{} in {name}: such a policy is never put in force", count(faults.len(), "fault"))
        }
    };
    print(&text);
    Ok(exit)
}

/// Says which rule a request hits.
pub(crate) fn explain(globals: &Globals, file: &Path, request: &Path) -> Result<Exit, Failure> {
    let policy =
        Policy::read(&read_policy_file(file)?).map_err(|diagnostics| broken_policy(file, &diagnostics))?;
    let request = super::read_object(request)?;
    let word = |key: &str, default: &'static str| request.get(key).and_then(Value::as_str).unwrap_or(default);
    let payload = request.get("payload").cloned().unwrap_or_else(|| json!({}));
    if !payload.is_object() {
        return Err(Failure::usage("`payload` of the request is not a JSON object"));
    }
    let metadata: BTreeMap<String, String> = request
        .get("metadata")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect();
    let asks_by_itself = policy.clients.first().map_or("", |client| client.id.as_str());
    let question = Question {
        client: request.get("client").and_then(Value::as_str).unwrap_or(asks_by_itself),
        action: word("action", "unspecified"),
        summary: word("summary", ""),
        payload: &payload,
        metadata: &metadata,
        now: placet_gate::ports::Clock::now(&SystemClock),
    };
    let lines = policy.trace(&question);
    let hit = lines.last().filter(|(_, truth)| *truth != Verdict::False);
    let what = match hit {
        Some((rule, truth)) => consequence(rule, truth, &policy),
        None => vec!["no rule matches: the request is rejected".to_owned()],
    };
    if globals.json {
        let tested: Vec<Value> = lines
            .iter()
            .map(|(rule, truth)| {
                let (result, why) = match truth {
                    Verdict::True => ("matches", None),
                    Verdict::False => ("does not match", None),
                    Verdict::Error(why) => ("cannot be evaluated", Some(why.to_string())),
                };
                json!({
                    "rule": rule.name,
                    "when": rule.when.as_ref().map(placet_core::policy::Condition::source),
                    "result": result,
                    "why": why,
                })
            })
            .collect();
        print(&super::pretty(&json!({
            "action": question.action,
            "client": question.client,
            "rule": hit.map(|(rule, _)| &rule.name),
            "tested": tested,
            "consequence": what,
        })));
        return Ok(Exit::Done);
    }
    let style = Style::of_stdout();
    let mut text =
        format!("{} asked by {}\n\n", style.bold(&harmless(question.action)), harmless(question.client));
    for (rule, truth) in &lines {
        let (sign, why) = match truth {
            Verdict::True => (style.good("matches "), String::new()),
            Verdict::False => (style.dim("no      "), String::new()),
            Verdict::Error(why) => {
                (style.doubtful("unclear "), format!("  ({})", harmless(&why.to_string())))
            }
        };
        let when = rule.when.as_ref().map_or("always", |condition| condition.source());
        let _ = writeln!(text, "  {sign} {}: {}{why}", style.bold(&rule.name), style.dim(when));
    }
    text.push('\n');
    for line in what {
        text.push_str(&line);
        text.push('\n');
    }
    print(&text);
    Ok(Exit::Done)
}

/// Installs a policy in the data folder.
pub(crate) async fn push(globals: &Globals, file: Option<PathBuf>) -> Result<Exit, Failure> {
    super::no_url(globals)?;
    let file = super::policy_file(file, globals)?;
    let text = read_policy_file(&file)?;
    let report = Policy::check(&text);
    report.policy.map_err(|diagnostics| broken_policy(&file, &diagnostics))?;
    let folder = Folder::open(globals.data())?;
    let served_at = folder.served_at();
    let local = LocalGate::for_command(folder)?;
    let installed = local
        .gate
        .install_policy(&text, "operator")
        .await?
        .map_err(|diagnostics| broken_policy(&file, &diagnostics))?;
    let gate = match served_at {
        Some(url) => format!("; the gate at {url} takes it up within a second"),
        None => String::new(),
    };
    show_installed(globals, &file, &installed, &report.warnings, &gate);
    Ok(Exit::Done)
}

/// Says what an installation did. `taken_up` follows where something is new.
pub(super) fn show_installed(
    globals: &Globals,
    file: &Path,
    installed: &Installed,
    warnings: &[Diagnostic],
    taken_up: &str,
) {
    let (version, is_new) = match installed {
        Installed::New(version) => (version, true),
        Installed::Same(version) => (version, false),
    };
    if globals.json {
        print(&super::pretty(&json!({
            "version": version,
            "changed": is_new,
            "warnings": flaws_json(warnings),
        })));
        return;
    }
    let style = Style::of_stdout();
    let mut lines = String::new();
    for warning in warnings {
        let _ = writeln!(lines, "{}  {}: {warning}", style.doubtful("warn "), file.display());
    }
    let version = if is_new {
        format!("version {version} of the policy is installed{taken_up}")
    } else {
        format!("this is version {version} of the policy, which is installed already")
    };
    print(&format!("{lines}{version}\n"));
}

/// What a rule does with the request, in words.
fn consequence(rule: &Rule, truth: &Verdict, policy: &Policy) -> Vec<String> {
    let terms = match &rule.action {
        RuleAction::Decide(_) if matches!(truth, Verdict::Error(_)) => {
            return vec![format!(
                "`{}` cannot be evaluated, and has nobody to ask: the request is rejected",
                rule.name
            )];
        }
        RuleAction::Decide(decision) => {
            let word = match decision {
                Decision::Approve => "approved",
                Decision::Reject => "rejected",
            };
            return vec![format!("`{}` decides alone: {word}", rule.name)];
        }
        RuleAction::Ask(terms) => terms,
    };
    let now = placet_gate::ports::Clock::now(&SystemClock);
    let mut lines = vec![match terms.approvals {
        1 => format!("`{}` asks; one approval is enough", rule.name),
        several => format!("`{}` asks; {several} different people must approve", rule.name),
    }];
    for (index, stage) in terms.stages.iter().enumerate() {
        let whom = match &stage.assignees {
            Assignees::Queue(queue) => format!("the queue `{queue}`"),
            Assignees::Roles(roles) => {
                let people: Vec<String> = policy
                    .asked(roles, now)
                    .into_iter()
                    .map(|asked| match asked.in_place_of {
                        Some(away) => format!("{} (for {away})", asked.reviewer),
                        None => asked.reviewer.to_string(),
                    })
                    .collect();
                match people.as_slice() {
                    [] => format!("nobody: everyone in {} is away", roles.join(", ")),
                    people => format!("{} ({})", people.join(", "), roles.join(", ")),
                }
            }
        };
        lines.push(format!("  stage {}: {whom}, for {}", index + 1, span(stage.within_ms)));
    }
    lines.push("  nobody answers: expired, which is not approved".to_owned());
    lines
}

fn flaws_json(diagnostics: &[Diagnostic]) -> Value {
    diagnostics
        .iter()
        .map(|diagnostic| json!({ "line": diagnostic.line, "message": diagnostic.message }))
        .collect()
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
