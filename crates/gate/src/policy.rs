//! The policy in force: read from the store, replaced only by one without faults.

use std::sync::{Arc, PoisonError, RwLock};

use placet_core::audit::{AuditEvent, AuditEventKind, Channel};
use placet_core::policy::{Diagnostic, Policy};
use placet_core::{Refusal, Timestamp};

use crate::ports::{Commit, Committed, PolicyRecord};
use crate::{Error, Fault, Gate, MAX_RACES};

/// The chain of policy changes in the audit trail.
const SUBJECT: &str = "policy";

#[derive(Default)]
pub(crate) struct PolicyInForce(RwLock<Held>);

#[derive(Default)]
struct Held {
    policy: Option<(u32, Arc<Policy>)>,
    checked_at: Option<Timestamp>,
}

/// What an installation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Installed {
    /// It is in force, under this version.
    New(u32),
    /// The same text was in force already.
    Same(u32),
}

impl Gate {
    /// The policy in force. Refuses with `no_policy` where there is none.
    pub async fn policy(&self) -> Result<Arc<Policy>, Error> {
        let (held, stale) = {
            let held = self.policy.0.read().unwrap_or_else(PoisonError::into_inner);
            let now = self.clock.now();
            let stale = match (self.settings.policy_max_age_ms, held.checked_at) {
                (_, None) => true,
                (Some(max), Some(at)) => now.millis_since(at).saturating_abs() > max,
                (None, Some(_)) => false,
            };
            (held.policy.clone(), stale)
        };
        match held {
            Some((_, policy)) if !stale => Ok(policy),
            held => {
                let reloaded = self.reload_policy().await;
                match (reloaded, held) {
                    // A store that cannot be read for a moment does not take the known policy away.
                    (Ok(Some(policy)), _) | (Err(_), Some((_, policy))) => Ok(policy),
                    (Ok(None), _) => Err(Refusal::NoPolicy.into()),
                    (Err(fault), None) => Err(fault.into()),
                }
            }
        }
    }

    /// Takes the policy that was installed last, if it is not in force yet.
    pub async fn reload_policy(&self) -> Result<Option<Arc<Policy>>, Fault> {
        let record = self.store.policy().await?;
        let now = self.clock.now();
        let mut held = self.policy.0.write().unwrap_or_else(PoisonError::into_inner);
        held.checked_at = Some(now);
        let Some(record) = record else {
            return Ok(held.policy.as_ref().map(|(_, policy)| Arc::clone(policy)));
        };
        if held.policy.as_ref().is_none_or(|(version, _)| *version != record.version) {
            match Policy::load_trusted(&record.text, record.version) {
                Ok(policy) => held.policy = Some((record.version, Arc::new(policy))),
                // Only checked texts are installed, but another version of the gate may have checked it.
                Err(diagnostics) => tracing::error!(
                    policy.version = record.version,
                    faults = %join(&diagnostics),
                    "the installed policy cannot be read; the one before it stays in force"
                ),
            }
        }
        Ok(held.policy.as_ref().map(|(_, policy)| Arc::clone(policy)))
    }

    /// Checks a policy and puts it in force, with an audit entry. A policy with faults changes nothing.
    pub async fn install_policy(
        &self,
        text: &str,
        actor: &str,
    ) -> Result<Result<Installed, Vec<Diagnostic>>, Fault> {
        let policy = match Policy::read(text) {
            Ok(policy) => policy,
            Err(diagnostics) => return Ok(Err(diagnostics)),
        };
        for _ in 0..MAX_RACES {
            let latest = self.store.policy().await?;
            if let Some(latest) = latest.as_ref().filter(|latest| latest.sha256 == policy.sha256) {
                let version = latest.version;
                self.reload_policy().await?;
                return Ok(Ok(Installed::Same(version)));
            }
            let version = latest.map_or(1, |latest| latest.version.saturating_add(1));
            let now = self.clock.now();
            let mut chain = self.store.chain(SUBJECT).await?;
            let entry = chain.append(
                SUBJECT,
                None,
                AuditEvent {
                    timestamp: now,
                    event: AuditEventKind::PolicyInstalled,
                    actor: actor.to_owned(),
                    channel: Channel::Operator,
                    approved: false,
                    token_hash: None,
                    detail: Some(format!("version {version}, sha256 {}", policy.sha256)),
                },
            );
            let record = PolicyRecord {
                version,
                text: text.to_owned(),
                sha256: policy.sha256.clone(),
                installed_at: now,
            };
            let commit = Commit { audit: vec![entry], policy: Some(record), ..Commit::default() };
            if let Committed::Done { .. } = self.store.commit(commit).await? {
                self.reload_policy().await?;
                return Ok(Ok(Installed::New(version)));
            }
        }
        Err(Fault::bare("the policy could not be installed: too many others are doing the same"))
    }
}

fn join(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
