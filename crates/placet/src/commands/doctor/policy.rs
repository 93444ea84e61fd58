//! What the policy says: the file, the one that is installed, whom it names and whether they can be reached.

use std::fs;
use std::path::Path;

use placet_core::chat::ChannelSettings;
use placet_core::policy::{Assignees, ChannelName, ClientRole, Policy, RuleAction};
use placet_gate::ports::{Clock as _, Store as _};

use super::super::{alert, channel, keys, serve};
use super::{Findings, is_local};
use crate::clock::SystemClock;
use crate::folder::Folder;
use crate::local::Parts;
use crate::mail;
use crate::text::span;

pub(super) fn check_policy_file(file: &Path, found: &mut Findings) -> Option<Policy> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => {
            found.fail(format!("the policy file `{}` cannot be read: {error}", file.display()));
            return None;
        }
    };
    let report = Policy::check(&text);
    for warning in &report.warnings {
        found.warn(format!("policy file, {warning}"));
    }
    match report.policy {
        Ok(policy) => {
            found.ok(format!("the policy file `{}` has no faults", file.display()));
            Some(policy)
        }
        Err(diagnostics) => {
            for diagnostic in diagnostics {
                found.fail(format!("policy file, {diagnostic}"));
            }
            None
        }
    }
}

pub(super) async fn check_records(parts: &Parts, found: &mut Findings) -> Option<Policy> {
    let store = parts.store();
    let record = match store.policy().await {
        Ok(Some(record)) => record,
        Ok(None) => {
            found.fail("no policy is installed, so nobody can ask: `placet policy push placet.toml`");
            return None;
        }
        Err(fault) => {
            found.fail(fault.chain());
            return None;
        }
    };
    let policy = match Policy::read(&record.text) {
        Ok(policy) => policy,
        Err(diagnostics) => {
            found.fail(format!(
                "the installed policy (version {}) cannot be read by this version of placet: {} faults; push it anew",
                record.version,
                diagnostics.len()
            ));
            return None;
        }
    };
    found.ok(format!("version {} of the policy is installed", record.version));
    for warning in Policy::check(&record.text).warnings {
        found.warn(format!("the installed policy, {warning}"));
    }
    match keys::older_than_recorded(&parts.keys().held(), store).await {
        Ok(Some(recorded)) => found.fail(format!(
            "the keyring is older than the records, which tell of epoch {recorded}: put the newer one back from your backup"
        )),
        Ok(None) => {}
        Err(fault) => found.fail(fault.chain()),
    }
    match store.newest_record().await {
        Ok(newest) => {
            let behind = newest.map_or(0, |newest| newest.millis_since(SystemClock.now()));
            if behind > serve::CLOCK_TOLERANCE_MS {
                found.fail(format!(
                    "the clock is {} behind the newest record: deadlines would pass late; set the clock",
                    span(behind)
                ));
            } else {
                found.ok("the clock agrees with the records");
            }
        }
        Err(fault) => found.fail(fault.chain()),
    }
    Some(policy)
}

pub(super) fn check_public_url(folder: &Folder, policy: &Policy, found: &mut Findings) {
    match folder.public_url().or_else(|| policy.issuer.clone()) {
        None => {
            found
                .warn("links have no public address: set `issuer` in the policy, or serve with --public-url");
        }
        Some(url) if url.starts_with("https://") => found.ok(format!("links open at {url}")),
        Some(url) if is_local(&url) => {
            found.warn(format!(
                "links open at {url}, which is on this machine only: set `issuer`, or serve with --public-url"
            ));
        }
        Some(url) => {
            found.fail(format!("links open at {url}, which is not https: they could be read on the way"));
        }
    }
}

/// Whom the gate cannot reach, whatever is asked.
pub(super) fn check_people(
    policy: &Policy,
    settings: &ChannelSettings,
    has_mail: bool,
    found: &mut Findings,
) {
    for reviewer in policy.reviewers.iter().filter(|reviewer| reviewer.channels() == [ChannelName::Terminal])
    {
        found.warn(format!(
            "reviewer `{}` has no address: they are told on the gate's terminal, if it has one, and in the outbox",
            reviewer.id
        ));
    }
    let place = channel::Place::one_machine(has_mail);
    for one in channel::unreached(policy, settings, place) {
        let (reviewer, is_all) = (&one.reviewer, one.is_all);
        match one.missing.as_slice() {
            missing if is_all && missing.contains(&ChannelName::Email) => found.warn(format!(
                "reviewer `{reviewer}` has a mail address, but no mail server is named: they are told in the outbox only"
            )),
            [ChannelName::Sms] if is_all => found.fail(format!(
                "reviewer `{reviewer}` can be reached by phone only, and a gate on one machine sends no texts: give them an `email`, and name a mail server with {}",
                mail::URL_VARIABLE
            )),
            _ => {
                let text = one.words(place);
                if is_all { found.fail(text) } else { found.warn(text) }
            }
        }
    }
}

/// By which ways operators hear nothing.
pub(super) fn check_ways(policy: &Policy, settings: &ChannelSettings, has_mail: bool, found: &mut Findings) {
    if policy.alerts.is_empty() {
        found.warn("alerts go to the log only: name who hears them with `[[alerts]]` in the policy");
        return;
    }
    let unset = alert::unset(policy, settings, has_mail);
    if unset.is_empty() {
        found.ok(format!("alerts go by {} way(s); `placet alert test` tries them", policy.alerts.len()));
    }
    for text in unset {
        found.fail(text);
    }
}

/// Who could approve what they ask, and whose request nobody could approve.
pub(in crate::commands) fn check_clients(policy: &Policy, found: &mut Findings) {
    for client in policy.clients.iter().filter(|client| client.has(ClientRole::Requester)) {
        if client.owner.is_none() {
            found.warn(format!(
                "client `{}` has no owner: whoever runs it could approve what it asks",
                client.id
            ));
        }
    }
    for rule in &policy.rules {
        let RuleAction::Ask(terms) = &rule.action else { continue };
        for (index, stage) in terms.stages.iter().enumerate() {
            let Assignees::Roles(roles) = &stage.assignees else { continue };
            let people: Vec<_> =
                policy.reviewers.iter().filter(|reviewer| reviewer.has_any(roles)).map(|r| &r.id).collect();
            for client in &policy.clients {
                let owner_only =
                    matches!((people.as_slice(), &client.owner), ([only], Some(owner)) if *only == owner);
                if owner_only && !terms.owner_may_approve && client.has(ClientRole::Requester) {
                    found.warn(format!(
                        "rule `{}`, stage {}: only `{}` is asked, who owns client `{}` and may not approve what it asks",
                        rule.name,
                        index + 1,
                        people.first().map_or("", |id| id.as_str()),
                        client.id
                    ));
                }
            }
        }
    }
}
