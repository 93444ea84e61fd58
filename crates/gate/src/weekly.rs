//! The weekly report goes out: once for each week, by the ways that the policy names.

use placet_core::Timestamp;
use placet_core::audit::{AuditEventKind, ChainHead, Channel};
use placet_core::policy::WeeklyReport;
use placet_core::refusal::Refusal;
use placet_core::time::DAY_MS;

use crate::commit::GateAct;
use crate::outbox::OutboxPayload;
use crate::{Error, Gate};

/// For how long after its moment a report is still sent, in milliseconds: a gate that was down, or whose policy names
/// ways only now. What is later than that waits for the next week.
const LATE_MS: i64 = 2 * DAY_MS;

impl Gate {
    /// Puts the report of this week into the outbox, if its moment has come and nobody has.
    ///
    /// The first entry of the week's own chain is what is written once, in one transaction with the messages: of two
    /// gates, or of one that was killed and started again, or whose clock was set back, one finds the entry there.
    pub(crate) async fn send_report(&self, now: Timestamp) -> Result<(), Error> {
        let policy = match self.policy().await {
            Ok(policy) => policy,
            Err(Error::Refused(Refusal::NoPolicy)) => return Ok(()),
            Err(error) => return Err(error),
        };
        let Some(WeeklyReport { to, at }) = &policy.report else { return Ok(()) };
        let Some(week) = at.last(now) else { return Ok(()) };
        if now.millis_since(week.at) > LATE_MS || self.alert_throttle.knows_report(&week.name) {
            return Ok(());
        }
        let Ok(until_day) = u32::try_from(week.at.day()) else { return Ok(()) };
        let act = GateAct {
            kind: AuditEventKind::ReportSent,
            actor: "gate".to_owned(),
            channel: Channel::Gate,
            detail: format!("the report of {}, to {}", week.name, to.join(", ")),
            policy: None,
            messages: to.iter().map(|way| OutboxPayload::Report { way: way.clone(), until_day }).collect(),
        };
        // Where another one was first, this writes nothing.
        self.append(&format!("report-{}", week.name), ChainHead::default(), act, now).await?;
        self.alert_throttle.remember_report(week.name);
        Ok(())
    }
}
