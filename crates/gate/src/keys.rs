//! What a rotation of the keys leaves behind: an audit entry and an alert. The keys themselves are the port's.

use placet_core::audit::AuditEventKind;
use placet_core::keys::EpochNumber;

use crate::alert::Alert;
use crate::commit::{FutureAct, GateAct};
use crate::outbox::OutboxPayload;
use crate::{Fault, Gate};

/// The chain of rotations in the audit trail.
const SUBJECT: &str = "keys";

impl Gate {
    /// Writes into the trail that an epoch began, and alerts operators. An epoch is recorded once.
    pub async fn record_rotation(&self, epoch: EpochNumber, actor: &str) -> Result<(), Fault> {
        let act = GateAct {
            kind: AuditEventKind::KeysRotated,
            actor: actor.to_owned(),
            detail: format!("epoch {epoch} is current"),
            policy: None,
            messages: vec![OutboxPayload::Alert(Alert::KeysRotated { epoch })],
        };
        // The first epoch is no rotation, so the chain is one entry shorter than the epochs. A rotation is recorded at
        // least once by whoever made it; what finds its entry there leaves it at that.
        let unless_recorded = |_, recorded: u32| -> FutureAct<'_> {
            let act = (recorded < epoch.saturating_sub(1)).then(|| act.clone());
            Box::pin(std::future::ready(Ok(act)))
        };
        self.append(SUBJECT, unless_recorded).await.map(drop)
    }
}
