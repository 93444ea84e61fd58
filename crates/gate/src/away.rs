//! A reviewer says that they are away, or back: another version of the policy in force, with its entry.
//!
//! So everything that asks the policy (who is told, who may decide, whose votes count, what a vote's commit depends on)
//! sees it as it would see a change of the file, and what is open is looked at again.

use placet_core::audit::{AuditEventKind, Channel};
use placet_core::id::ReviewerId;
use placet_core::policy::{LONGEST_ABSENCE_MS, said_away};
use placet_core::refusal::Refusal;

use crate::commit::GateAct;
use crate::outbox::OutboxPayload;
use crate::policy::SUBJECT;
use crate::ports::PolicyRecord;
use crate::{Error, Fault, Gate, MAX_RACES};

/// How often one reviewer may say so within a day: each time is a version of the policy.
const OFTEN: usize = 20;

/// What a reviewer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// They are away for so long, in milliseconds, and somebody may stand in.
    Away {
        /// For how long.
        for_ms: i64,
        /// Who is asked instead.
        backup: Option<ReviewerId>,
    },
    /// They are back.
    Back,
}

impl Gate {
    /// Records that the reviewer of that inbox is away or back.
    ///
    /// Refuses with `not_found`, `link_expired`, `rate_limited`, or `invalid_request` for a nonce that the inbox did not mint
    /// within a day, for more than four weeks, and for a stand-in whom the policy does not allow.
    pub async fn say_whereabouts(
        &self,
        unverified_inbox: &str,
        unverified_nonce: &str,
        whereabouts: Whereabouts,
    ) -> Result<(), Error> {
        self.check_inbox_nonce(unverified_inbox, unverified_nonce).await?;
        for _ in 0..MAX_RACES {
            let chain = self.store.chain(SUBJECT).await?;
            let policy = self.reload_policy().await?.ok_or(Refusal::NoPolicy)?;
            let reviewer = self.inbox_owner(unverified_inbox, &policy).await?;
            let latest = self.store.policy().await?.ok_or(Refusal::NoPolicy)?;
            if latest.version != policy.version {
                continue;
            }
            let now = self.clock.now();
            let (away, kind, detail) = match &whereabouts {
                Whereabouts::Away { for_ms, backup } => {
                    if !(1..=LONGEST_ABSENCE_MS).contains(for_ms) {
                        return Err(Refusal::field("hours", "must be from 1 hour to four weeks").into());
                    }
                    let person = policy.reviewer(&reviewer).ok_or(Refusal::NotFound)?;
                    let allowed = policy.backups_of(person);
                    if backup.as_ref().is_some_and(|backup| allowed.iter().all(|other| other.id != *backup)) {
                        return Err(
                            Refusal::field("backup", "must be somebody whom the policy allows").into()
                        );
                    }
                    let until = now.plus_millis(*for_ms);
                    let instead =
                        backup.as_ref().map_or_else(String::new, |backup| format!(", {backup} stands in"));
                    let detail = format!("away until {until}{instead}");
                    (Some((until, backup.clone())), AuditEventKind::ReviewerAway, detail)
                }
                Whereabouts::Back => {
                    if policy.own_absence(&reviewer, now).is_none() {
                        return Ok(());
                    }
                    (None, AuditEventKind::ReviewerBack, "back".to_owned())
                }
            };
            let today = |from: &placet_core::Timestamp| now.millis_since(*from) < placet_core::time::DAY_MS;
            let said = latest.away.iter().filter(|own| own.reviewer == reviewer && today(&own.from)).count();
            if away.is_some() && said >= OFTEN {
                return Err(Refusal::RateLimited { retry_after_seconds: 3600 }.into());
            }
            let version = latest.version.saturating_add(1);
            let act = GateAct {
                kind,
                actor: reviewer.to_string(),
                channel: Channel::Inbox,
                detail: format!("version {version}: {detail}"),
                policy: Some(PolicyRecord {
                    version,
                    away: said_away(&latest.away, &reviewer, away, now),
                    installed_at: now,
                    ..latest
                }),
                messages: vec![OutboxPayload::Reassign { policy: version, left: Vec::new() }],
            };
            if self.append(SUBJECT, chain, act, now).await? {
                self.reload_policy().await?;
                return Ok(());
            }
        }
        Err(Fault::bare("the policy is being changed too often by others").into())
    }
}
