//! The policy in force: read from the store, replaced only by one without faults.

use std::sync::Arc;

use placet_core::audit::AuditEventKind;
use placet_core::policy::{Diagnostic, Policy};
use placet_core::{Refusal, Timestamp};

use crate::cached::Freshness;
use crate::commit::{FutureAct, GateAct};
use crate::outbox::OutboxPayload;
use crate::ports::PolicyRecord;
use crate::{Error, Fault, Gate};

/// The chain of policy changes in the audit trail.
const SUBJECT: &str = "policy";

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
    ///
    /// A policy that is older than the settings allow is read anew; where it cannot be, this fails: an outage of the
    /// store must not keep a person in office whom a newer policy has removed.
    pub async fn policy(&self) -> Result<Arc<Policy>, Error> {
        match self.policy.get(self.clock.now(), self.settings.policy_max_age_ms) {
            Freshness::Fresh(policy) => Ok(policy),
            Freshness::Stale(_) | Freshness::Missing => {
                Ok(self.reload_policy().await?.ok_or(Refusal::NoPolicy)?)
            }
        }
    }

    /// Takes the policy that was installed last, if it is not in force yet.
    pub async fn reload_policy(&self) -> Result<Option<Arc<Policy>>, Fault> {
        let record = self.store.policy().await?;
        let now = self.clock.now();
        let known = self.policy.last();
        let Some(record) = record else { return Ok(known) };
        if let Some(known) = known.as_ref().filter(|known| known.version == record.version) {
            self.policy.put(now, Arc::clone(known));
            return Ok(Some(Arc::clone(known)));
        }
        match Policy::load_trusted(&record.text, record.version) {
            Ok(policy) => {
                let policy = Arc::new(policy);
                self.policy.put(now, Arc::clone(&policy));
                Ok(Some(policy))
            }
            // Only checked texts are installed, but another version of the gate may have checked it.
            Err(diagnostics) => {
                tracing::error!(
                    policy.version = record.version,
                    faults = %join(&diagnostics),
                    "the installed policy cannot be read; the one before it stays in force"
                );
                Ok(known)
            }
        }
    }

    /// Checks a policy and puts it in force, with an audit entry. A policy with faults changes nothing.
    ///
    /// What is open is looked at again by a message of the same transaction.
    pub async fn install_policy(
        &self,
        text: &str,
        actor: &str,
    ) -> Result<Result<Installed, Vec<Diagnostic>>, Fault> {
        let policy = match Policy::read(text) {
            Ok(policy) => policy,
            Err(diagnostics) => return Ok(Err(diagnostics)),
        };
        let act = |now, _| -> FutureAct<'_> { Box::pin(self.installation(&policy, text, actor, now)) };
        let installed = self.append(SUBJECT, act).await?;
        let in_force = self.reload_policy().await?.map_or(0, |policy| policy.version);
        let new = installed.and_then(|act| act.policy).map(|record| record.version);
        Ok(Ok(new.map_or(Installed::Same(in_force), Installed::New)))
    }
}

impl Gate {
    /// What installing that policy writes now; nothing where the same text is in force.
    async fn installation(
        &self,
        policy: &Policy,
        text: &str,
        actor: &str,
        now: Timestamp,
    ) -> Result<Option<GateAct>, Fault> {
        let latest = self.store.policy().await?;
        if latest.as_ref().is_some_and(|latest| latest.sha256 == policy.sha256) {
            return Ok(None);
        }
        let version = latest.map_or(1, |latest| latest.version.saturating_add(1));
        Ok(Some(GateAct {
            kind: AuditEventKind::PolicyInstalled,
            actor: actor.to_owned(),
            detail: format!("version {version}, sha256 {}", policy.sha256),
            policy: Some(PolicyRecord {
                version,
                text: text.to_owned(),
                sha256: policy.sha256.clone(),
                installed_at: now,
            }),
            messages: vec![OutboxPayload::Reassign { policy: version }],
        }))
    }
}

fn join(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
