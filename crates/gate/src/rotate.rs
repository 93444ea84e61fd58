//! What a rotation of the keys leaves behind: an audit entry and an alert. The keys themselves are the port's.

use placet_core::audit::{AuditEvent, AuditEventKind, Channel};
use placet_core::keys::EpochNumber;

use crate::alert::Alert;
use crate::ports::{Commit, Committed};
use crate::{Fault, Gate, MAX_RACES};

/// The chain of rotations in the audit trail.
const SUBJECT: &str = "keys";

impl Gate {
    /// Writes into the trail that an epoch began, and alerts the operator.
    pub async fn record_rotation(&self, epoch: EpochNumber, actor: &str) -> Result<(), Fault> {
        for _ in 0..MAX_RACES {
            let mut chain = self.store.chain(SUBJECT).await?;
            let entry = chain.append(
                SUBJECT,
                None,
                AuditEvent {
                    timestamp: self.clock.now(),
                    event: AuditEventKind::KeysRotated,
                    actor: actor.to_owned(),
                    channel: Channel::Operator,
                    approved: false,
                    token_hash: None,
                    detail: Some(format!("epoch {epoch} is current")),
                },
            );
            let commit = Commit { audit: vec![entry], ..Commit::default() };
            if let Committed::Done { .. } = self.store.commit(commit).await? {
                self.notify.alert(&Alert::KeysRotated { epoch }).await;
                return Ok(());
            }
        }
        Err(Fault::bare("the rotation could not be recorded: too many others are doing the same"))
    }
}
