//! How operators are told, and the words of each alert: what happened, and what to do.

use async_trait::async_trait;
use placet_gate::Fault;
use placet_gate::alert::Alert;

/// An alert in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertNotice {
    /// Its name, for programs and filters.
    pub kind: &'static str,
    /// What happened and what to do, in plain sentences.
    pub text: String,
}

/// Where alerts go.
#[async_trait]
pub trait AlertSink: Send + Sync + 'static {
    /// Takes one.
    async fn alert(&self, notice: &AlertNotice) -> Result<(), Fault>;
}

/// The log of the process.
pub struct LogAlerts;

#[async_trait]
impl AlertSink for LogAlerts {
    async fn alert(&self, notice: &AlertNotice) -> Result<(), Fault> {
        tracing::warn!(alert = notice.kind, "{}", notice.text);
        Ok(())
    }
}

impl AlertNotice {
    /// That alert in words.
    pub fn of(alert: &Alert) -> Self {
        let text = match alert {
            Alert::Expired { client, request_id } => format!(
                "Nobody answered in time: the request {request_id} of {client} has expired. Nothing was approved."
            ),
            Alert::NobodyLeft { client, request_id, stage } => format!(
                "Nobody who may approve stage {stage} of the request {request_id} of {client} is left in the policy. \
                 Give somebody the role, or withdraw the request."
            ),
            Alert::CallbackGivenUp { approval_id, client, reason, .. } => format!(
                "A callback to {client} for the approval {approval_id} was given up: {reason}. The outcome stands; \
                 {client} can still ask for it."
            ),
            Alert::KeysRotated { epoch } => format!(
                "The keys were rotated; epoch {epoch} is current. Give each client its new secret before the next \
                 rotation."
            ),
            Alert::RotationFailed { step, reason } => format!(
                "The keys could not be rotated ({step}: {reason}). The keys from before stay in force."
            ),
            Alert::OldSecret { client, .. } => format!(
                "{client} still uses its secret from before the last rotation. Give it the new one before the next \
                 rotation."
            ),
            Alert::BadSignatures { count, .. } => format!(
                "{count} requests within a minute claimed to be a known client, with a wrong signature or key. \
                 Somebody may be guessing keys, or a client has a wrong secret."
            ),
            Alert::NotTold { approval_id, attempt, .. } => format!(
                "A reviewer or queue could not be told of the approval {approval_id} in {attempt} tries. The gate \
                 keeps trying."
            ),
            Alert::DigestNotTold { reviewer, attempt, .. } => format!(
                "{reviewer} could not be told in {attempt} tries that several requests wait for them. The gate keeps \
                 trying."
            ),
        };
        Self { kind: alert.kind(), text }
    }
}
