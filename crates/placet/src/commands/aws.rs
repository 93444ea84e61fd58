//! `--aws`: the same commands for a gate that is deployed on AWS.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use placet_aws::operator::{Finding, Stack, Synced};
use placet_core::chat::ChannelSettings;
use placet_core::policy::Policy;
use placet_delivery::{AlertWays, Notification, SendOutcome};
use placet_gate::ports::Store as _;
use serde_json::json;

use super::Opened;
use super::channel::Place;
use super::doctor::Findings;
use crate::cli::Globals;
use crate::console::{note, print};
use crate::failure::{Exit, Failure};
use crate::local::{broken_policy, read_policy_file};

/// Installs a policy, and makes the reviewers' subscriptions match it.
pub(super) async fn push(globals: &Globals, file: Option<PathBuf>, stack: &str) -> Result<Exit, Failure> {
    let file = super::policy_file(file, globals)?;
    let text = read_policy_file(&file)?;
    let report = Policy::check(&text);
    let policy = report.policy.map_err(|diagnostics| broken_policy(&file, &diagnostics))?;
    refuse_push(&policy)?;
    let found = find(stack).await?;
    let gate = found.gate();
    let installed = gate
        .install_policy(&text, "operator")
        .await?
        .map_err(|diagnostics| broken_policy(&file, &diagnostics))?;
    let taken_up = format!("; the gate at {} takes it up within ten seconds", found.url());
    super::policy::show_installed(globals, &file, &installed, &report.warnings, &taken_up);
    let synced = found.sync_reviewers(&policy).await.map_err(|fault| {
        Failure::from(fault).advise("the policy is in force; run this again to finish the subscriptions")
    })?;
    if !globals.json {
        print(&in_words(&synced));
    }
    match found.channel_settings().await {
        Ok(settings) => super::policy::untold_on_aws(&policy, &settings).iter().for_each(|one| note(one)),
        Err(fault) => note(&fault.chain()),
    }
    Ok(Exit::Done)
}

/// What a stack keeps for its channels.
pub(super) struct Kept(Stack);

/// Opens what that stack keeps.
pub(super) async fn kept(stack: &str) -> Result<Kept, Failure> {
    Ok(Kept(find(stack).await?))
}

impl Kept {
    pub(super) async fn read(&self) -> Result<ChannelSettings, Failure> {
        Ok(ChannelSettings::clone(&*self.0.channel_settings().await?))
    }

    pub(super) async fn change(&self, change: &(dyn Fn(&mut ChannelSettings) + Sync)) -> Result<(), Failure> {
        Ok(self.0.change_channel_settings(change).await?)
    }

    /// The gate's address.
    pub(super) fn url(&self) -> String {
        self.0.url().to_owned()
    }

    /// Sends a message by the channel that it names, as the stack would.
    pub(super) async fn send(&self, notification: &Notification) -> Result<SendOutcome, Failure> {
        Ok(self.0.channels()?.send(notification).await)
    }
}

/// A gate on AWS has no push: nobody may wait for a message that never comes.
fn refuse_push(policy: &Policy) -> Result<(), Failure> {
    let Some(person) = policy.reviewers.iter().find(|person| person.takes_push()) else { return Ok(()) };
    Err(Failure::refused(format!(
        "reviewer `{}` has `push` in their `channels`, which a gate on AWS has not got",
        person.id
    ))
    .with_code("no_such_channel")
    .advise("take `push` out of `channels`; slack, telegram, email, sms and webhook are there"))
}

/// Prints a client's secret, alone on the last line.
pub(super) async fn secret(globals: &Globals, id: &str, stack: &str) -> Result<Exit, Failure> {
    let id = super::client::parse_id(id)?;
    let found = find(stack).await?;
    let policy = installed(&found).await?;
    let client = match &policy {
        Some(policy) => Some(super::known_client(id.as_str(), policy)?),
        None => None,
    };
    super::client::show(globals, &id, client, &*found.keyring().await?);
    Ok(Exit::Done)
}

/// Has Secrets Manager rotate the keys. Refused while what the last rotation left behind is still in use.
pub(super) async fn rotate(globals: &Globals, stack: &str, force: bool) -> Result<Exit, Failure> {
    let found = find(stack).await?;
    let keyring = found.keyring().await?;
    let policy = installed(&found).await.ok().flatten();
    super::keys::refuse_if_in_use(&keyring, &found.store(), policy.as_ref(), force).await?;
    let before = keyring.current.number;
    found.rotate().await?;
    if globals.json {
        print(&super::pretty(&json!({ "rotating_from_epoch": before })));
        return Ok(Exit::Done);
    }
    print(&format!(
        "Secrets Manager rotates the keys; the alert topic says when it is done. What was made in epoch {before} (secrets, links, tokens) stays valid until the rotation after that.\nThen give each client its new secret: placet client secret ID --aws --stack {stack}\n"
    ));
    Ok(Exit::Done)
}

/// Checks a stack.
pub(super) async fn doctor(globals: &Globals, stack: &str) -> Result<Exit, Failure> {
    let mut findings = Findings::default();
    let found = match find(stack).await {
        Ok(found) => found,
        Err(failure) => {
            findings.fail(super::doctor::one_line(&failure));
            return Ok(findings.show(globals));
        }
    };
    findings.ok(format!("the stack `{stack}` is there"));
    super::doctor::check_address(found.url(), &mut findings).await;
    let policy = match installed(&found).await {
        Ok(Some(policy)) => {
            findings.ok("a policy is installed");
            Some(policy)
        }
        Ok(None) => {
            findings
                .fail("no policy is installed, so nobody can ask: `placet policy push placet.toml --aws`");
            None
        }
        Err(failure) => {
            findings.fail(super::doctor::one_line(&failure));
            None
        }
    };
    for finding in found.check(policy.as_ref()).await {
        match finding {
            Finding::Ok(text) => findings.ok(text),
            Finding::Warn(text) => findings.warn(text),
            Finding::Fail(text) => findings.fail(text),
        }
    }
    if let Some(policy) = &policy {
        match found.channel_settings().await {
            Ok(settings) => {
                super::doctor::told::check_chats(&settings, " --aws", &mut findings).await;
                for one in super::channel::unreached(policy, &settings, Place::Aws) {
                    let text = one.words(Place::Aws);
                    if one.is_all { findings.fail(text) } else { findings.warn(text) }
                }
                for text in super::alert::unset_on_aws(policy, &settings) {
                    findings.fail(text);
                }
            }
            Err(fault) => findings.fail(fault.chain()),
        }
        super::doctor::check_clients(policy, &mut findings);
    }
    Ok(findings.show(globals))
}

/// Opens a stack's gate.
pub(super) async fn open(stack: &str) -> Result<Opened, Failure> {
    let found = find(stack).await?;
    let policy = installed(&found).await?.ok_or_else(|| {
        Failure::refused("no policy is installed, so nobody can ask")
            .advise("placet policy push placet.toml --aws")
    })?;
    Ok(Opened { gate: found.gate(), store: Arc::new(found.store()), policy: Arc::new(policy) })
}

/// A stack's ways of alerts, with its policy.
pub(super) async fn ways(stack: &str) -> Result<(AlertWays, Policy), Failure> {
    let found = find(stack).await?;
    let policy = installed(&found).await?.ok_or_else(|| {
        Failure::refused("no policy is installed").advise("placet policy push placet.toml --aws")
    })?;
    Ok((found.ways()?, policy))
}

async fn find(stack: &str) -> Result<Stack, Failure> {
    Stack::find(stack).await.map_err(|fault| {
        Failure::from(fault).advise(format!(
            "is `{stack}` the stack's name (--stack NAME), in the region of AWS_REGION, and may these credentials see it?"
        ))
    })
}

async fn installed(found: &Stack) -> Result<Option<Policy>, Failure> {
    let Some(record) = found.store().policy().await? else { return Ok(None) };
    Policy::read(&record.text).map(Some).map_err(|diagnostics| {
        Failure::fault(format!(
            "the installed policy (version {}) cannot be read by this version of placet: {} faults; push it anew",
            record.version,
            diagnostics.len()
        ))
    })
}

fn in_words(synced: &Synced) -> String {
    let mut text = String::new();
    let people = |ids: &[String]| ids.join(", ");
    if !synced.subscribed.is_empty() {
        let _ = writeln!(
            text,
            "subscribed: {}. AWS has mailed each of them a link to confirm; until then they get no mail",
            people(&synced.subscribed)
        );
    }
    if !synced.unconfirmed.is_empty() {
        let _ = writeln!(text, "not confirmed yet: {}", people(&synced.unconfirmed));
    }
    if synced.refiltered > 0 {
        let _ = writeln!(text, "{} subscription(s) got the right filter", synced.refiltered);
    }
    if synced.removed > 0 {
        let _ = writeln!(text, "{} subscription(s) of nobody in the policy were removed", synced.removed);
    }
    if synced.lapsing > 0 {
        note(&format!(
            "{} subscription(s) of nobody in the policy were never confirmed; AWS drops them by itself",
            synced.lapsing
        ));
    }
    text
}
