//! Stages: which one opens, and whom it asks and tells.

use crate::Timestamp;
use crate::policy::{Assignee, Notify, Policy};
use crate::request::{ApprovalRequest, Effect, Pending};

impl ApprovalRequest {
    /// The first stage from `from` on that is not over, is within its hours, and has somebody who may approve.
    pub(super) fn open_stage_from(&self, from: usize, policy: &Policy, at: Timestamp) -> Option<Pending> {
        let stages = self.terms.iter().flat_map(|terms| &terms.stages).enumerate().skip(from);
        for (index, stage) in stages {
            let closes_at = self.stage_closes_at(index);
            if at >= closes_at || stage.hours.as_ref().is_some_and(|hours| !hours.contains(at)) {
                continue;
            }
            let asked = self.assignees(index, policy, at);
            if self.somebody_may_approve(index, &asked, policy) {
                return Some(Pending { stage: index, closes_at, asked, deserted: false });
            }
        }
        None
    }

    /// The people whom a stage asks at that time; none for a queue.
    pub(super) fn assignees(&self, stage: usize, policy: &Policy, at: Timestamp) -> Vec<Assignee> {
        let roles = self.stage_roles(stage);
        if roles.is_empty() { Vec::new() } else { policy.asked(roles, at) }
    }

    /// Whom a stage tells when it opens at that time. `turn` counts what was asked before, where people take turns.
    pub(super) fn opening_effects(
        &self,
        pending: &Pending,
        policy: &Policy,
        turn: u64,
        at: Timestamp,
    ) -> Vec<Effect> {
        let stage = pending.stage;
        if let Some(queue) = self.stage_queue(stage) {
            return vec![Effect::Publish { stage, queue: queue.to_owned() }];
        }
        let notify = self
            .terms
            .as_ref()
            .and_then(|terms| terms.stages.get(stage))
            .map_or(Notify::All, |stage| stage.notify);
        // Who may only reject is never the one whose turn it is.
        let (able, barred): (Vec<Assignee>, Vec<Assignee>) =
            pending.asked.iter().cloned().partition(|assignee| self.may_approve(assignee, policy));
        let needed = self.approvals_needed() as usize;
        if notify == Notify::All || able.len() <= needed {
            return vec![Effect::NotifyReviewers { stage, asked: pending.asked.clone() }];
        }
        let count = u64::try_from(able.len()).unwrap_or(1).max(1);
        let start =
            usize::try_from(turn.wrapping_mul(u64::from(self.approvals_needed())) % count).unwrap_or(0);
        let mut in_turn = able;
        in_turn.rotate_left(start);
        let later = in_turn.split_off(needed);
        let half = at.plus_millis(pending.closes_at.millis_since(at) / 2);
        vec![
            Effect::NotifyReviewers { stage, asked: in_turn },
            Effect::NotifyLater { stage, asked: later.into_iter().chain(barred).collect(), at: half },
        ]
    }

    /// A turn for a stage that opens by itself: as good as drawn, and the same whoever opens it.
    pub(super) fn drawn_turn(&self) -> u64 {
        let digest = crate::payload::sha256_hex(self.approval_id.as_str().as_bytes());
        digest.get(..12).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(0)
    }
}
