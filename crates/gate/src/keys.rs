//! What a rotation of the keys leaves behind: an audit entry and an alert. The keys themselves are the port's.

use placet_core::Timestamp;
use placet_core::audit::{AuditEventKind, Channel};
use placet_core::keys::EpochNumber;
use placet_core::time::DAY_MS;

use crate::alert::Alert;
use crate::commit::GateAct;
use crate::outbox::OutboxPayload;
use crate::{Fault, Gate, MAX_RACES};

/// The chain of rotations in the audit trail.
const SUBJECT: &str = "keys";

/// After how long the keys should have been rotated, in milliseconds: every 90 days, with some days for a schedule.
pub const ROTATION_DUE_MS: i64 = 95 * DAY_MS;

/// For how long it is remembered that a rotation was due, or failed, in milliseconds.
const REMEMBERED_MS: i64 = 400 * DAY_MS;

impl Gate {
    /// The keys could not be rotated. Said once for each step of a rotation, however often it is tried.
    pub async fn rotation_failed(&self, step: String, reason: String) -> Result<(), Fault> {
        let epoch = self.keys.keyring().await?.current.number;
        let until = self.clock.now().plus_millis(REMEMBERED_MS);
        let of_the_step = format!("{}/{step}", failed_mark(epoch));
        self.alert_once(&of_the_step, until, Alert::RotationFailed { step, reason }).await?;
        self.store.mark(&failed_mark(epoch), until).await?;
        Ok(())
    }

    /// Operators hear, once for each epoch, that its keys are old.
    pub(crate) async fn look_at_keys(&self, now: Timestamp) -> Result<(), Fault> {
        let keyring = self.keys.keyring().await?;
        let (epoch, since) = (keyring.current.number, keyring.current.created_at);
        if now.millis_since(since) < ROTATION_DUE_MS || self.alert_throttle.knows_due(epoch) {
            return Ok(());
        }
        let until = now.plus_millis(REMEMBERED_MS);
        self.alert_once(&due_mark(epoch), until, Alert::RotationDue { epoch, since }).await?;
        self.alert_throttle.remember_due(epoch);
        Ok(())
    }

    /// What is over now that this epoch has begun, of what operators were alerted of.
    async fn over_by_rotation(&self, epoch: EpochNumber) -> Result<Vec<OutboxPayload>, Fault> {
        let before = epoch.saturating_sub(1);
        let mut over = Vec::new();
        if self.is_marked(&failed_mark(before)).await? {
            let (step, reason) = (String::new(), String::new());
            over.push(OutboxPayload::AlertOver(Alert::RotationFailed { step, reason }));
        }
        if self.is_marked(&due_mark(before)).await? {
            let since = self.clock.now();
            over.push(OutboxPayload::AlertOver(Alert::RotationDue { epoch: before, since }));
        }
        Ok(over)
    }

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
                messages: [OutboxPayload::Alert(Alert::KeysRotated { epoch })]
                    .into_iter()
                    .chain(self.over_by_rotation(epoch).await?)
                    .collect(),
            };
            if self.append(SUBJECT, chain, act, self.clock.now()).await? {
                return Ok(());
            }
        }
        Err(Fault::bare("the rotation could not be recorded: too many others are doing the same"))
    }
}

fn failed_mark(epoch: EpochNumber) -> String {
    format!("rotation-failed/{epoch}")
}

fn due_mark(epoch: EpochNumber) -> String {
    format!("rotation-due/{epoch}")
}
