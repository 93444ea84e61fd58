//! The policy in force: read from the store, replaced only by one without faults.

use std::sync::Arc;

use placet_core::Refusal;
use placet_core::audit::{AuditEventKind, Channel};
use placet_core::id::ReviewerId;
use placet_core::policy::{Diagnostic, Policy};

use crate::cached::Freshness;
use crate::commit::GateAct;
use crate::outbox::OutboxPayload;
use crate::ports::PolicyRecord;
use crate::{Error, Fault, Gate, MAX_RACES};

/// The chain of policy changes in the audit trail.
pub(crate) const SUBJECT: &str = "policy";

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
                let policy = Arc::new(policy.with_absences(record.away).with_pauses(record.paused));
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
        for _ in 0..MAX_RACES {
            let chain = self.store.chain(SUBJECT).await?;
            let latest = self.store.policy().await?;
            if let Some(same) = latest.as_ref().filter(|latest| latest.sha256 == policy.sha256) {
                let version = same.version;
                self.reload_policy().await?;
                return Ok(Ok(Installed::Same(version)));
            }
            let away = latest.as_ref().map(|latest| latest.away.clone()).unwrap_or_default();
            let paused = latest.as_ref().map(|latest| latest.paused.clone()).unwrap_or_default();
            let left = latest.as_ref().map(|latest| left(latest, &policy)).unwrap_or_default();
            let version = latest.map_or(1, |latest| latest.version.saturating_add(1));
            let now = self.clock.now();
            let act = GateAct {
                kind: AuditEventKind::PolicyInstalled,
                actor: actor.to_owned(),
                channel: Channel::Operator,
                detail: format!("version {version}, sha256 {}", policy.sha256),
                policy: Some(PolicyRecord {
                    version,
                    text: text.to_owned(),
                    sha256: policy.sha256.clone(),
                    installed_at: now,
                    // A new text does not call anybody back, and lifts no pause.
                    away,
                    paused,
                }),
                messages: vec![OutboxPayload::Reassign { policy: version, left }],
            };
            if self.append(SUBJECT, chain, act, now).await? {
                self.reload_policy().await?;
                return Ok(Ok(Installed::New(version)));
            }
        }
        Err(Fault::bare("the policy could not be installed: too many others are doing the same"))
    }
}

/// Whom that policy had and the new one has not. One that this build cannot read told nobody.
fn left(before: &PolicyRecord, policy: &Policy) -> Vec<ReviewerId> {
    let before = Policy::load_trusted(&before.text, before.version).ok();
    let had = before.into_iter().flat_map(|before| before.reviewers).map(|person| person.id);
    had.filter(|id| policy.reviewer(id).is_none()).collect()
}

fn join(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
