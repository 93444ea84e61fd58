//! What is open is looked at again when the policy, or who is away, has changed.

use placet_core::Timestamp;

use crate::commit::Step;
use crate::ports::Closing;
use crate::{Error, Gate};

/// How many open requests are read at once.
const PAGE: usize = 100;

/// A call that began under the policy before may write for so long, in milliseconds: a function runs no longer.
const CALL_MS: i64 = 30_000;

impl Gate {
    /// Looks at everything that is pending under the policy in force: asks who is new, drops who has left, passes on.
    ///
    /// Returns when to do so again: once nobody takes requests under the policy before any more, and when somebody goes
    /// away or comes back. `None` where neither is to be expected, or where `version` is no longer the policy in force,
    /// whose own look does it.
    pub async fn reassign_pending(&self, version: u32) -> Result<Option<Timestamp>, Error> {
        let Some(policy) = self.reload_policy().await? else { return Ok(None) };
        let installed = self.store.policy().await?.filter(|record| record.version == version);
        let Some(installed) = installed.filter(|_| policy.version == version) else { return Ok(None) };
        let mut after = None;
        loop {
            let page = self.store.pending(after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.pending().map(|pending| Closing { closes_at: pending.closes_at, key: last.key() });
            let is_last = page.len() < PAGE || after.is_none();
            for request in page {
                // Many requests are asked of people who have not changed: those are not written.
                if request.reassign(&policy, self.clock.now()).is_none() {
                    continue;
                }
                let result = self
                    .change_loaded(request, &policy, |request, policy, now| {
                        Ok(request
                            .reassign(policy, now)
                            .map_or(Step::Leave, |change| Step::Write(Box::new(change))))
                    })
                    .await;
                match result {
                    Ok(_) | Err(Error::Ended(_) | Error::Refused(_)) => {}
                    Err(fault @ Error::Fault(_)) => return Err(fault),
                }
            }
            if is_last {
                break;
            }
        }
        let now = self.clock.now();
        // Another process keeps a policy for so long, and asks those whom that one names.
        let taken_over = self
            .settings
            .policy_max_age_ms
            .map(|age| installed.installed_at.plus_millis(age.saturating_add(CALL_MS)))
            .filter(|at| *at > now);
        Ok([taken_over, policy.next_absence_change(now)].into_iter().flatten().min())
    }
}
