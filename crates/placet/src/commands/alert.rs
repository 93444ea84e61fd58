//! `placet alert`: what ways of alerts are sent with, and a real test of each.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use placet_core::chat::{AlertSecret, ChannelSettings, SecretText};
use placet_core::policy::{AlertWay, Policy, WayKind};
use placet_delivery::{AlertNotice, AlertWays, SendOutcome};
use placet_gate::ports::Store as _;
use serde_json::{Value, json};
use url::{Host, Url};

use super::channel::{Kept, Wanted, read_secrets};
use crate::cli::{AlertCommand, AlertSet, Deployment, Globals, SecretWay};
use crate::console::{harmless, note, print};
use crate::failure::{Exit, Failure};
use crate::folder::Folder;
use crate::local::{LocalGate, broken_policy, read_policy_file};
use crate::mail::Mailer;
use crate::mail_channel::MailChannel;

/// Does what was typed.
pub(super) async fn run(globals: &Globals, command: AlertCommand) -> Result<Exit, Failure> {
    match command {
        AlertCommand::Test { name, on } => test(globals, name.as_deref(), &on).await,
        AlertCommand::Set(options) => set(globals, &options).await,
        AlertCommand::List { on } => list(globals, &on).await,
        AlertCommand::Remove { name, on } => remove(globals, &name, &on).await,
        AlertCommand::Secret { name, on } => secret(globals, &name, &on).await,
    }
}

/// Ways, and the policy that names them: the file's that was given, or else the installed one.
pub(super) async fn ways(globals: &Globals, on: &Deployment) -> Result<(AlertWays, Policy), Failure> {
    if on.aws {
        super::not_at_a_url(globals)?;
        return super::aws::ways(&on.stack).await;
    }
    super::no_url(globals)?;
    let local = LocalGate::for_command(Folder::existing(globals.data())?)?;
    let policy = policy(globals, &local).await?;
    let keys = Arc::clone(&local.keys) as _;
    let mail = Arc::new(MailChannel::new(Mailer::from_environment()?, keys));
    // What is said names the gate's address, which the policy in force has.
    let ways = local.ways(mail, crate::trust::webhook_sender()?);
    Ok((ways, policy))
}

async fn policy(globals: &Globals, local: &LocalGate) -> Result<Policy, Failure> {
    if let Some(file) = &globals.policy {
        let text = read_policy_file(file)?;
        return Policy::read(&text).map_err(|diagnostics| broken_policy(file, &diagnostics));
    }
    let installed = local.store.policy().await?;
    let text = installed.ok_or_else(|| crate::local::no_policy(local.folder.path()))?.text;
    let named = Path::new("the installed policy");
    Policy::read(&text).map_err(|diagnostics| broken_policy(named, &diagnostics))
}

/// The way of that name.
fn known<'p>(name: &str, policy: &'p Policy) -> Result<&'p AlertWay, Failure> {
    policy.alert_way(name).ok_or_else(|| {
        let names: Vec<&str> = policy.alerts.iter().map(|way| way.name.as_str()).collect();
        Failure::refused(format!("the policy has no way of alerts `{name}`")).advise(match names.as_slice() {
            [] => "it has no [[alerts]] at all".to_owned(),
            names => format!("its ways of alerts are: {}", names.join(", ")),
        })
    })
}

/// Sends a test by each way, and says what came of it.
async fn test(globals: &Globals, name: Option<&str>, on: &Deployment) -> Result<Exit, Failure> {
    let (ways, policy) = ways(globals, on).await?;
    let topic = AlertWay { name: "sns".into(), kind: WayKind::Sns, kinds: None };
    let tried: Vec<&AlertWay> = match name {
        None | Some("sns") if on.aws && policy.alerts.is_empty() => vec![&topic],
        Some(name) => vec![known(name, &policy)?],
        None => policy.alerts.iter().collect(),
    };
    if tried.is_empty() {
        return Err(Failure::refused("the policy names no way of alerts: they go to the log only").advise(
            "add one: [[alerts]] with name = \"ops\", way = \"mail\" and to = [\"ops@example.com\"]",
        ));
    }
    let (now, gate) = (ways.gate.now(), ways.gate.base_url(&policy));
    let mut came = Tried::default();
    for way in tried {
        let notice = AlertNotice::trial(&way.name, now, &gate);
        came.add(way, ways.send(way, &notice).await);
    }
    Ok(came.show(globals))
}

/// What came of a try by each way.
#[derive(Default)]
pub(super) struct Tried {
    lines: String,
    results: Vec<Value>,
    failed: bool,
}

impl Tried {
    pub(super) fn add(&mut self, way: &AlertWay, outcome: SendOutcome) {
        let problem = match outcome {
            SendOutcome::Delivered(_) => None,
            SendOutcome::Wait { reason, .. }
            | SendOutcome::Retry(reason)
            | SendOutcome::Unreachable(reason) => Some(reason),
        };
        self.failed |= problem.is_some();
        let kind = way.kind.as_str();
        let _ = match &problem {
            None => writeln!(self.lines, "ok    {} ({kind}): taken", way.name),
            Some(reason) => writeln!(self.lines, "fail  {} ({kind}): {}", way.name, harmless(reason)),
        };
        let sent = problem.is_none();
        self.results.push(json!({ "name": way.name, "way": kind, "sent": sent, "problem": problem }));
    }

    pub(super) fn show(self, globals: &Globals) -> Exit {
        if globals.json {
            print(&super::pretty(&json!({ "sent": !self.failed, "ways": self.results })));
        } else {
            print(&self.lines);
        }
        if self.failed { Exit::Refused } else { Exit::Done }
    }
}

/// Sets what a way is sent with.
async fn set(globals: &Globals, options: &AlertSet) -> Result<Exit, Failure> {
    let kept = Kept::open(globals, &options.on).await?;
    let name = &options.name;
    let in_policy = named(globals, &options.on).await;
    let way = match (options.way, in_policy.as_ref().and_then(|policy| policy.alert_way(name))) {
        (Some(SecretWay::Slack), _) => "slack",
        (Some(SecretWay::Pagerduty), _) => "pagerduty",
        (Some(SecretWay::Webhook), _) => "webhook",
        (None, Some(way)) if way.kind.needs_secret() => way.kind.as_str(),
        (None, Some(way)) => {
            return Err(Failure::refused(format!(
                "the way of alerts `{name}` ({}) needs no secret of yours",
                way.kind.as_str()
            )));
        }
        (None, None) => {
            return Err(Failure::usage(format!("no policy says what the way of alerts `{name}` is"))
                .advise("say it with --way slack, pagerduty or webhook, or give the file with --policy"));
        }
    };
    if options.api_url.is_some() && way != "pagerduty" {
        return Err(Failure::usage("--api-url is for a way to PagerDuty"));
    }
    let secret = match way {
        "pagerduty" => {
            let [key] = read_secrets(&[Wanted {
                name: "routing_key",
                prompt: "Integration key of PagerDuty (Events API v2)",
            }])?;
            if key.len() != 32 || !key.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                return Err(Failure::refused(
                    "this is not an integration key of PagerDuty: it has 32 letters and digits",
                )
                .advise("PagerDuty: the service, Integrations, Events API V2"));
            }
            AlertSecret::Pagerduty {
                routing_key: SecretText::new(key.as_str()),
                api_url: options.api_url.clone(),
            }
        }
        way => {
            let [url] = read_secrets(&[Wanted { name: "url", prompt: "URL of the webhook" }])?;
            check_url(&url)?;
            let url = SecretText::new(url.as_str());
            if way == "slack" { AlertSecret::Slack { url } } else { AlertSecret::Webhook { url } }
        }
    };
    kept.change(|settings| drop(settings.alerts.insert(name.clone(), secret.clone()))).await?;
    if globals.json {
        print(&super::pretty(&json!({ "name": name, "way": way, "set": true })));
    } else {
        let there = if options.on.aws { " --aws" } else { "" };
        print(&format!(
            "The way of alerts `{name}` ({way}) is set. Try it: placet alert test {name}{there}\n"
        ));
    }
    if in_policy.is_some_and(|policy| policy.alert_way(name).is_none()) {
        note(&format!(
            "the policy has no way of alerts `{name}` yet: [[alerts]] with this name and way = \"{way}\""
        ));
    }
    Ok(Exit::Done)
}

/// The policy at hand, if there is one that can be read.
async fn named(globals: &Globals, on: &Deployment) -> Option<Policy> {
    if on.aws {
        return match &globals.policy {
            Some(file) => Policy::read(&read_policy_file(file).ok()?).ok(),
            None => super::aws::ways(&on.stack).await.ok().map(|(_, policy)| policy),
        };
    }
    let local = LocalGate::for_command(Folder::existing(globals.data()).ok()?).ok()?;
    policy(globals, &local).await.ok()
}

/// https, or a listener on this machine. The cause quotes nothing: the address is the secret.
fn check_url(text: &str) -> Result<(), Failure> {
    let refused = || {
        Failure::refused("this is not the https URL of a webhook").advise(
            "for Slack: api.slack.com/apps, your app, Incoming Webhooks: https://hooks.slack.com/services/…",
        )
    };
    let url = Url::parse(text).map_err(|_| refused())?;
    let is_here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return Err(refused()),
    };
    let is_plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    if !is_plain || !(url.scheme() == "https" || (url.scheme() == "http" && is_here)) {
        return Err(refused());
    }
    Ok(())
}

async fn list(globals: &Globals, on: &Deployment) -> Result<Exit, Failure> {
    let (ways, policy) = ways(globals, on).await?;
    let settings = ways.gate.channel_settings().await?;
    let rows: Vec<(&AlertWay, Option<bool>)> = policy
        .alerts
        .iter()
        .map(|way| (way, way.kind.needs_secret().then(|| has_secret(way, &settings))))
        .collect();
    let unused: Vec<&String> =
        settings.alerts.keys().filter(|name| policy.alert_way(name).is_none()).collect();
    if globals.json {
        let ways: Vec<Value> = rows
            .iter()
            .map(|(way, is_set)| {
                let (kinds, report) = (way.kinds.as_deref().unwrap_or_default(), gets_report(way, &policy));
                json!({
                    "name": way.name, "way": way.kind.as_str(), "all_alerts": way.kinds.is_none(), "kinds": kinds,
                    "report": report, "secret_set": is_set,
                })
            })
            .collect();
        print(&super::pretty(&json!({ "ways": ways, "unused_secrets": unused })));
        return Ok(Exit::Done);
    }
    let mut text = String::new();
    for (way, is_set) in rows {
        let secret = match is_set {
            None => "",
            Some(true) => ", secret set",
            Some(false) => ", secret not set",
        };
        let _ = writeln!(text, "{:<12} {}{secret}: {}", way.name, way.kind.as_str(), gets(way, &policy));
    }
    for name in unused {
        let _ =
            writeln!(text, "{name:<12} is not in the policy, but has a secret: placet alert remove {name}");
    }
    if text.is_empty() {
        text.push_str("the policy names no way of alerts: they go to the log only\n");
    }
    print(&text);
    Ok(Exit::Done)
}

async fn remove(globals: &Globals, name: &str, on: &Deployment) -> Result<Exit, Failure> {
    let kept = Kept::open(globals, on).await?;
    if !kept.read().await?.alerts.contains_key(name) {
        return Err(Failure::refused(format!("no secret is kept for a way of alerts `{name}`")));
    }
    kept.change(|settings| drop(settings.alerts.remove(name))).await?;
    if globals.json {
        print(&super::pretty(&json!({ "name": name, "set": false })));
    } else {
        print(&format!("The way of alerts `{name}` is no longer set.\n"));
    }
    Ok(Exit::Done)
}

/// Prints the secret that a webhook way is signed with, alone on the last line.
async fn secret(globals: &Globals, name: &str, on: &Deployment) -> Result<Exit, Failure> {
    let (ways, policy) = ways(globals, on).await?;
    let way = known(name, &policy)?;
    if !matches!(way.kind, WayKind::Webhook { .. }) {
        return Err(Failure::refused(format!(
            "the way of alerts `{name}` ({}) is not signed by the gate: only a webhook is",
            way.kind.as_str()
        )));
    }
    let secret = ways.gate.keyring().await?.current.alert_secret(name);
    if globals.json {
        print(&super::pretty(&json!({ "name": name, "secret": secret.expose() })));
        return Ok(Exit::Done);
    }
    print(&format!(
        "Alerts by `{name}` are signed with this (Standard Webhooks). Keep it like a password.\n{}\n",
        secret.expose()
    ));
    Ok(Exit::Done)
}

fn has_secret(way: &AlertWay, settings: &ChannelSettings) -> bool {
    settings.alerts.get(&way.name).is_some_and(|secret| secret.way() == way.kind.as_str())
}

fn gets_report(way: &AlertWay, policy: &Policy) -> bool {
    policy.report.as_ref().is_some_and(|report| report.to.contains(&way.name))
}

/// What that way gets, in words.
pub(crate) fn gets(way: &AlertWay, policy: &Policy) -> String {
    let kinds = match &way.kinds {
        None => "all alerts".to_owned(),
        Some(kinds) => kinds.join(", "),
    };
    match (gets_report(way, policy), kinds.as_str()) {
        (false, "") => "nothing".to_owned(),
        (true, "") => "the weekly report".to_owned(),
        (false, _) => kinds,
        (true, _) => format!("{kinds}, the weekly report"),
    }
}

/// Why a gate on one machine cannot use that way as it is, if it cannot.
pub(crate) fn fault_of(way: &AlertWay, settings: &ChannelSettings, has_mail: bool) -> Option<String> {
    let name = &way.name;
    if let Some(fault) = way.fault_on_one_machine() {
        Some(fault)
    } else if let Some(fault) = no_secret(way, settings, "") {
        Some(fault)
    } else if matches!(way.kind, WayKind::Mail(_)) && !has_mail && settings.smtp.is_none() {
        Some(format!("the way of alerts `{name}` (mail) has no mail server: `placet channel set smtp`"))
    } else {
        None
    }
}

/// What that way is sent with is not set, in words, if it is not. `place` is what `placet alert set` is given to mean that
/// gate.
fn no_secret(way: &AlertWay, settings: &ChannelSettings, place: &str) -> Option<String> {
    let (name, kind) = (&way.name, way.kind.as_str());
    let is_missing = way.kind.needs_secret() && !has_secret(way, settings);
    is_missing.then(|| {
        format!("the way of alerts `{name}` ({kind}) has no secret: `placet alert set {name}{place}`")
    })
}

/// Which ways a gate on AWS cannot use as it is, in words.
pub(super) fn unset_on_aws(policy: &Policy, settings: &ChannelSettings) -> Vec<String> {
    policy.alerts.iter().filter_map(|way| no_secret(way, settings, " --aws")).collect()
}

/// Which ways a gate on one machine cannot use as it is, in words.
pub(super) fn unset(policy: &Policy, settings: &ChannelSettings, has_mail: bool) -> Vec<String> {
    policy.alerts.iter().filter_map(|way| fault_of(way, settings, has_mail)).collect()
}
