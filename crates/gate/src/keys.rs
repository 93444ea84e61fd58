//! What a rotation of the keys leaves behind: an audit entry and an alert. The keys themselves are the port's.

use placet_core::audit::{AuditEventKind, Channel};
use placet_core::keys::EpochNumber;

use crate::alert::Alert;
use crate::commit::GateAct;
use crate::outbox::OutboxPayload;
use crate::{Fault, Gate, MAX_RACES};

/// The chain of rotations in the audit trail.
const SUBJECT: &str = "keys";

impl Gate {
    /// Writes into the trail that an epoch began, and alerts operators. An epoch is recorded once.
    pub async fn record_rotation(&self, epoch: EpochNumber, actor: &str) -> Result<(), Fault> {
        for _ in 0..MAX_RACES {
            let chain = self.store.chain(SUBJECT).await?;
            // The first epoch is no rotation, so the chain is one entry shorter than the epochs. A rotation is recorded
            // at least once by whoever made it; what finds its entry there leaves it at that.
            if chain.seq >= epoch.saturating_sub(1) {
                return Ok(());
            }
            let act = GateAct {
                kind: AuditEventKind::KeysRotated,
                actor: actor.to_owned(),
                channel: Channel::Operator,
                detail: format!("epoch {epoch} is current"),
                policy: None,
                messages: vec![OutboxPayload::Alert(Alert::KeysRotated { epoch })],
            };
            if self.append(SUBJECT, chain, act, self.clock.now()).await? {
                return Ok(());
            }
        }
        Err(Fault::bare("the rotation could not be recorded: too many others are doing the same"))
    }
}
