//! `placet policy`: check, explain, install.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use placet_core::chat::ChannelSettings;
use placet_core::policy::{
    Assignees, ClientRole, Decision, Diagnostic, Observed, Policy, Question, Report, RuleAction, RuleMatch,
    Verdict,
};
use placet_core::{Refusal, Timestamp};
use placet_gate::{Installed, RequestFields};
use serde_json::{Value, json};

use super::channel::Place;
use crate::cli::{Deployment, Globals};
use crate::clock::SystemClock;
use crate::console::{Style, print, revealed};
use crate::failure::{Exit, Failure};
use crate::folder::Folder;
use crate::local::{LocalGate, broken_policy, decode_policy_file, read_policy_file, refuse_ways};
use crate::text::span;

/// Finds every fault.
pub(crate) async fn check(
    globals: &Globals,
    file: Option<PathBuf>,
    on: &Deployment,
) -> Result<Exit, Failure> {
    let file = super::policy_file(file, globals)?;
    let report = match decode_policy_file(&file)? {
        Ok(text) => Policy::check(&text),
        Err(diagnostic) => Report { policy: Err(vec![*diagnostic]), warnings: Vec::new() },
    };
    let unreached = match &report.policy {
        Ok(policy) if on.aws => {
            super::not_at_a_url(globals)?;
            let kept = super::aws::kept(&on.stack).await?;
            untold_on_aws(policy, &kept.read().await?)
        }
        Ok(policy) => unreached(globals, policy),
        Err(_) => Vec::new(),
    };
    let faults = report.policy.as_ref().err().map(Vec::as_slice).unwrap_or_default();
    let exit = if faults.is_empty() { Exit::Done } else { Exit::Refused };
    if globals.json {
        print(&super::pretty(&json!({
            "file": file,
            "valid": faults.is_empty(),
            "faults": diagnostics_json(faults),
            "warnings": diagnostics_json(&report.warnings),
            "unreached": unreached,
        })));
        return Ok(exit);
    }
    let style = Style::of_stdout();
    let mut text = String::new();
    for fault in faults {
        show_diagnostic(&mut text, style, &style.bad("fault"), &file, fault);
    }
    for warning in &report.warnings {
        show_diagnostic(&mut text, style, &style.doubtful("warn "), &file, warning);
    }
    for warning in &unreached {
        let _ = writeln!(text, "{}  {}: {}\n", style.doubtful("warn "), file.display(), style.bold(warning));
    }
    let name = file.display();
    let _ = match &report.policy {
        Ok(policy) => {
            let noticed = match report.warnings.len() {
                0 => String::new(),
                number => format!("; {}", count(number, "warning")),
            };
            writeln!(
                text,
                "{}  {name}: {}, {}, {}{noticed}",
                style.good("ok   "),
                count(policy.clients.len(), "client"),
                count(policy.reviewers.len(), "reviewer"),
                count(policy.rules.len(), "rule")
            )
        }
        Err(faults) => {
            writeln!(
                text,
                "{} in {name}: a policy with faults is never put in force",
                count(faults.len(), "fault")
            )
        }
    };
    print(&text);
    Ok(exit)
}

/// Whom, and by which ways, a gate on AWS with those settings cannot tell, in words.
pub(super) fn untold_on_aws(policy: &Policy, settings: &ChannelSettings) -> Vec<String> {
    let people = super::channel::unreached(policy, settings, Place::Aws);
    let people = people.into_iter().map(|one| one.words(Place::Aws));
    people.chain(super::alert::unset_on_aws(policy, settings)).collect()
}

/// Whom the gate of the data folder could not reach; nobody where there is no folder, and so no gate.
fn unreached(globals: &Globals, policy: &Policy) -> Vec<String> {
    if !globals.data().is_dir() {
        return Vec::new();
    }
    let folder = Folder::at(globals.data());
    let Ok(settings) = super::channel::settings_of(&folder) else { return Vec::new() };
    // Which mail server a gate is started with, its environment says, and that is not known here.
    let place = Place::one_machine(true);
    let people = super::channel::unreached(policy, &settings, place);
    let people = people.into_iter().map(|one| one.words(place));
    people.chain(super::alert::unset(policy, &settings, true)).collect()
}

/// How much of a long line is shown, in characters.
const EXCERPT_WIDTH: usize = 110;

/// A diagnostic with the line that it is about, and a caret under what is meant.
fn show_diagnostic(text: &mut String, style: Style, grade: &str, file: &Path, diagnostic: &Diagnostic) {
    let Diagnostic { line, column, width, table_line, table, message, excerpt, help } = diagnostic;
    let name = file.display();
    let _ = writeln!(text, "{grade}  {name}: line {line}: {}", style.bold(&revealed(message)));
    let number = line.to_string();
    let margin = " ".repeat(number.len());
    let _ = writeln!(text, "{margin}{} {name}:{line}:{column}", style.dim("-->"));
    let bar = style.dim("|");
    if let Some(excerpt) = excerpt {
        let start =
            if *column + *width > EXCERPT_WIDTH { column.saturating_sub(EXCERPT_WIDTH / 2) } else { 0 };
        let visible = |c: char| if c == '\t' { ' ' } else { c };
        let part: String = excerpt.chars().map(visible).skip(start).take(EXCERPT_WIDTH).collect();
        let (before, after) = (
            if start > 0 { "…" } else { "" },
            if excerpt.chars().count() > start + EXCERPT_WIDTH { "…" } else { "" },
        );
        let indent = " ".repeat(column.saturating_sub(1 + start) + before.chars().count());
        let shown = EXCERPT_WIDTH.saturating_sub(column.saturating_sub(1 + start)).max(1);
        let carets = "^".repeat((*width).clamp(1, shown));
        let _ = writeln!(text, "{margin} {bar}");
        let _ = writeln!(text, "{} {bar} {before}{}{after}", style.dim(&number), revealed(&part));
        let _ = writeln!(text, "{margin} {bar} {indent}{}", style.bad(&carets));
    }
    let place = match (table, table_line) {
        (Some(name), Some(line)) => Some(format!("{}, from line {line}", revealed(name))),
        (Some(name), None) => Some(revealed(name)),
        (None, Some(line)) => Some(format!("the table of line {line}")),
        (None, None) => None,
    };
    if let Some(place) = place {
        let _ = writeln!(text, "{margin} {} {place}", style.dim("= in:"));
    }
    if let Some(help) = help {
        let _ = writeln!(text, "{margin} {} {}", style.dim("= help:"), revealed(help));
    }
    text.push('\n');
}

/// The request that `explain` is about: read as the gate reads it, by the client that asks.
///
/// The file may say which client asks (`client`); what only names a request (`request_id`, `summary`) may be left out.
fn read_question(policy: &Policy, request: &Path) -> Result<(String, RequestFields), Failure> {
    let mut body = super::read_object(request)?;
    let fields = body.as_object_mut().ok_or_else(|| Failure::usage("the request is not a JSON object"))?;
    let client = match fields.remove("client") {
        None => policy.clients.iter().find(|client| client.has(ClientRole::Requester)),
        Some(Value::String(id)) => {
            let client = policy.clients.iter().find(|client| client.id.as_str() == id).ok_or_else(|| {
                let ids: Vec<&str> = policy.clients.iter().map(|client| client.id.as_str()).collect();
                Failure::refused(format!("no client `{}` is in the policy", revealed(&id)))
                    .advise(format!("the clients are: {}", ids.join(", ")))
            })?;
            if !client.has(ClientRole::Requester) {
                return Err(Failure::refused(format!("client `{id}` does not have the role `requester`")));
            }
            Some(client)
        }
        Some(_) => return Err(Failure::usage("`client` of the request is not a string")),
    };
    fields.entry("request_id").or_insert_with(|| "explain".into());
    fields.entry("summary").or_insert_with(|| "an example".into());
    let callback_hosts = client.map(|client| client.callback_hosts.as_slice()).unwrap_or_default();
    let read = placet_http::read_request(body.to_string().as_bytes(), callback_hosts);
    let fields = read.map_err(|refusal| {
        let told = match &refusal {
            Refusal::InvalidRequest(errors) => {
                errors.iter().map(|error| format!("`{}` {}", error.field, error.message)).collect::<Vec<_>>()
            }
            other => vec![other.to_string()],
        };
        Failure::refused(format!("the gate refuses this request ({})", refusal.code()))
            .advise(told.iter().map(|line| revealed(line)).collect::<Vec<_>>().join("\n"))
    })?;
    Ok((client.map_or_else(|| "example".to_owned(), |client| client.id.to_string()), fields))
}

/// What a look at one request alone assumes of running totals.
const NOTHING_BEFORE: &str =
    "assumed of `total` and `count`: this client has asked nothing before, so only this request counts";

/// Says which rule a request hits.
pub(crate) fn explain(globals: &Globals, file: &Path, request: &Path) -> Result<Exit, Failure> {
    let policy =
        Policy::read(&read_policy_file(file)?).map_err(|diagnostics| broken_policy(file, &diagnostics))?;
    let (client, fields) = read_question(&policy, request)?;
    let payload = fields.payload.value();
    let question = Question {
        client: &client,
        action: &fields.action,
        summary: &fields.summary,
        payload: &payload,
        metadata: &fields.metadata,
        now: placet_gate::ports::Clock::now(&SystemClock),
    };
    let steps = policy.trace(&question);
    let (hit, observed) = (RuleMatch::of(&steps), Observed::of(&steps));
    let mut what = match hit {
        Some(hit) => consequence(&hit, &policy, &client, question.now),
        None => vec!["no rule matches: the request is rejected".to_owned()],
    };
    what.extend(observed.iter().map(|one| format!("`{}` only observes: it {}", one.rule, one.words())));
    if globals.json {
        let tested: Vec<Value> = steps
            .iter()
            .map(|(rule, verdict)| {
                let (result, why) = match verdict {
                    Verdict::True if rule.observes => ("observes", None),
                    Verdict::True => ("matches", None),
                    Verdict::False => ("does not match", None),
                    Verdict::Error(error) => ("cannot be evaluated", Some(error.to_string())),
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
            "rule": hit.map(|hit| &hit.rule.name),
            "observed": observed,
            "tested": tested,
            "consequence": what,
            "assumes": (!policy.gauges().is_empty()).then_some(NOTHING_BEFORE),
        })));
        return Ok(Exit::Done);
    }
    let style = Style::of_stdout();
    let mut text =
        format!("{} asked by {}\n\n", style.bold(&revealed(question.action)), revealed(question.client));
    for (rule, verdict) in &steps {
        let (sign, why) = match verdict {
            Verdict::True if rule.observes => (style.doubtful("observes"), String::new()),
            Verdict::True => (style.good("matches "), String::new()),
            Verdict::False => (style.dim("no      "), String::new()),
            Verdict::Error(error) => (style.doubtful("unclear "), format!("  ({error})")),
        };
        let when = rule.when.as_ref().map_or("always", |condition| condition.source());
        let _ = writeln!(text, "  {sign} {}: {}{why}", style.bold(&rule.name), style.dim(when));
    }
    text.push('\n');
    for line in what {
        text.push_str(&line);
        text.push('\n');
    }
    if !policy.gauges().is_empty() {
        let _ = writeln!(text, "{}", style.dim(NOTHING_BEFORE));
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
    let policy = report.policy.map_err(|diagnostics| broken_policy(&file, &diagnostics))?;
    refuse_ways(&file, &policy)?;
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
            "warnings": diagnostics_json(warnings),
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
fn consequence(hit: &RuleMatch<'_>, policy: &Policy, client: &str, now: Timestamp) -> Vec<String> {
    let name = &hit.rule.name;
    let terms = match (&hit.rule.action, hit.error) {
        (RuleAction::Decide(_), Some(_)) => {
            return vec![format!(
                "`{name}` cannot be evaluated, and has nobody to ask: the request is rejected"
            )];
        }
        (RuleAction::Decide(Decision::Approve), None) => {
            return vec![format!("`{name}` decides alone: approved")];
        }
        (RuleAction::Decide(Decision::Reject), None) => {
            return vec![format!("`{name}` decides alone: rejected")];
        }
        (RuleAction::Ask(terms), _) => terms,
    };
    let asker = policy.clients.iter().find(|asker| asker.id.as_str() == client);
    let owner = asker.and_then(|asker| asker.owner.as_ref());
    let mut lines = vec![match terms.approvals {
        1 => format!("`{name}` asks; one approval is enough"),
        several => format!("`{name}` asks; {several} different people must approve"),
    }];
    for (index, stage) in terms.stages.iter().enumerate() {
        let whom = match &stage.assignees {
            Assignees::Queue(queue) => format!("the queue `{queue}`"),
            Assignees::Roles(roles) => {
                let people: Vec<String> = policy
                    .asked(roles, now)
                    .into_iter()
                    .map(|asked| {
                        let barred = !terms.owner_may_approve && owner == Some(&asked.reviewer);
                        let only = if barred { " (owns the client: may only reject)" } else { "" };
                        match asked.in_place_of {
                            Some(away) => format!("{} (for {away}){only}", asked.reviewer),
                            None => format!("{}{only}", asked.reviewer),
                        }
                    })
                    .collect();
                match people.as_slice() {
                    [] => format!("nobody: everyone in {} is away", roles.join(", ")),
                    people => format!("{} ({})", people.join(", "), roles.join(", ")),
                }
            }
        };
        let hours = match &stage.hours {
            Some(hours) if hours.contains(now) => format!(" (asked from {hours}, as it is now)"),
            Some(hours) => format!(" (asked from {hours} only, which it is not now)"),
            None => String::new(),
        };
        lines.push(format!("  stage {}: {whom}, for {}{hours}", index + 1, span(stage.within_ms)));
    }
    lines.push("  nobody answers: expired, which is not approved".to_owned());
    lines
}

fn diagnostics_json(diagnostics: &[Diagnostic]) -> Value {
    diagnostics
        .iter()
        .map(|diagnostic| {
            json!({
                "line": diagnostic.line,
                "column": diagnostic.column,
                "width": diagnostic.width,
                "table_line": diagnostic.table_line,
                "table": diagnostic.table,
                "message": diagnostic.message,
                "excerpt": diagnostic.excerpt,
                "help": diagnostic.help,
            })
        })
        .collect()
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
