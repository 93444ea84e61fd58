//! A reviewer rejects, and pauses the client that asks: for an hour, nothing new is taken from it.
//!
//! A pause is another version of the policy in force, with its entry, as somebody's absence is. What is open stays open,
//! and whoever asks once more what is known already gets its answer.

use placet_core::Timestamp;
use placet_core::audit::{AuditEventKind, Channel};
use placet_core::id::{ClientId, ReviewerId};
use placet_core::policy::{ClientPause, Decision, PAUSE_MS, Policy, with_pause, without_pause};
use placet_core::refusal::Refusal;
use placet_core::request::Standing;

use crate::alert::Alert;
use crate::commit::GateAct;
use crate::outbox::OutboxPayload;
use crate::policy::SUBJECT;
use crate::ports::PolicyRecord;
use crate::{Error, Fault, Gate, MAX_RACES, Review, RowResult, UnverifiedRow};

/// How often one reviewer may pause within a day: each time is a version of the policy.
const OFTEN: usize = 20;

impl Gate {
    /// A reviewer rejects on a page, and the client that asks is paused.
    ///
    /// It is paused first: whoever dies in between has stopped it, and can still reject. Somebody who may not decide the
    /// request, or is too late for it, pauses nothing. Refuses as [`Gate::decide`] does, and with `rate_limited`.
    pub async fn reject_and_pause(
        &self,
        unverified_link: &str,
        unverified_nonce: &str,
        reason: Option<String>,
    ) -> Result<Review, Error> {
        self.pause_asker(Channel::Page, unverified_link, unverified_nonce).await?;
        self.decide(unverified_link, unverified_nonce, Decision::Reject, reason).await
    }

    /// The same for rows of an inbox: all ask the very same, so one client is paused.
    pub async fn reject_rows_and_pause(
        &self,
        unverified_inbox: &str,
        rows: Vec<UnverifiedRow>,
        reason: Option<String>,
    ) -> Result<Vec<RowResult>, Error> {
        self.check_rows(unverified_inbox, &rows).await?;
        for row in &rows {
            match self.pause_asker(Channel::Inbox, &row.link, &row.nonce).await {
                // What is wrong with one row is said of that row.
                Ok(()) | Err(Error::Refused(Refusal::InvalidRequest(_))) => {}
                Err(error) => return Err(error),
            }
        }
        self.decide_rows(unverified_inbox, rows, Decision::Reject, reason).await
    }

    /// Lifts the pauses of a client that the reviewer of that inbox has made. Nothing changes where there is none.
    ///
    /// Refuses with `not_found`, `link_expired`, or `invalid_request` for a nonce that the inbox did not mint within a day.
    pub async fn resume_in_inbox(
        &self,
        unverified_inbox: &str,
        unverified_nonce: &str,
        client: &ClientId,
    ) -> Result<(), Error> {
        self.check_inbox_nonce(unverified_inbox, unverified_nonce).await?;
        for _ in 0..MAX_RACES {
            let policy = self.reload_policy().await?.ok_or(Refusal::NoPolicy)?;
            let reviewer = self.inbox_owner(unverified_inbox, &policy).await?;
            let lifting = Lifting { client, by: Some(&reviewer), channel: Channel::Inbox };
            if self.lift(&policy, &lifting).await?.is_some() {
                return Ok(());
            }
        }
        Err(too_often().into())
    }

    /// Lifts every pause of a client, as the operator; with those that held. Refuses with `not_found` for an unknown client.
    pub async fn resume(&self, client: &ClientId) -> Result<Vec<ClientPause>, Error> {
        for _ in 0..MAX_RACES {
            let policy = self.reload_policy().await?.ok_or(Refusal::NoPolicy)?;
            policy.client(client).ok_or(Refusal::NotFound)?;
            let lifting = Lifting { client, by: None, channel: Channel::Operator };
            if let Some(lifted) = self.lift(&policy, &lifting).await? {
                return Ok(lifted);
            }
        }
        Err(too_often().into())
    }

    /// Until when a client is paused, by the policy that was installed last; none if it is not.
    pub(crate) async fn paused_until(&self, client: &ClientId) -> Result<Option<Timestamp>, Fault> {
        let policy = self.reload_policy().await?;
        Ok(policy.and_then(|policy| policy.paused(client, self.clock.now()).map(|pause| pause.until)))
    }

    /// Pauses the client that asks, in the name of the link's reviewer, if they may decide what it asks.
    async fn pause_asker(
        &self,
        channel: Channel,
        unverified_link: &str,
        unverified_nonce: &str,
    ) -> Result<(), Error> {
        for _ in 0..MAX_RACES {
            let chain = self.store.chain(SUBJECT).await?;
            self.reload_policy().await?;
            let (request, policy, reviewer) = self.held_by(unverified_link, unverified_nonce).await?;
            let latest = self.store.policy().await?.ok_or(Refusal::NoPolicy)?;
            if latest.version != policy.version {
                continue;
            }
            let now = self.clock.now();
            let client = &request.asked().client;
            // Why they may not is said where they decide.
            if request.is_overdue(now) || request.standing(&reviewer, &policy, now) == Standing::Nothing {
                return Ok(());
            }
            let is_own = |pause: &&ClientPause| pause.client == *client && pause.by == reviewer;
            // A client that has left the policy cannot ask anyway.
            if policy.client(client).is_none() || policy.pauses_at(now).any(|pause| is_own(&pause)) {
                return Ok(());
            }
            let today = |pause: &&ClientPause| {
                pause.by == reviewer && now.millis_since(pause.from) < placet_core::time::DAY_MS
            };
            if latest.paused.iter().filter(today).count() >= OFTEN {
                return Err(Refusal::RateLimited { retry_after_seconds: 3600 }.into());
            }
            let version = latest.version.saturating_add(1);
            let until = now.plus_millis(PAUSE_MS);
            let paused = with_pause(&latest.paused, client, &reviewer, now);
            let alert =
                Alert::ClientPaused { client: client.clone(), by: reviewer.clone(), from: now, until };
            let act = GateAct {
                kind: AuditEventKind::ClientPaused,
                actor: reviewer.to_string(),
                channel,
                detail: format!("version {version}: {client} is paused until {until}"),
                policy: Some(PolicyRecord { version, paused, installed_at: now, ..latest }),
                // That it is over is looked at when it ends, or when somebody lifts it.
                messages: vec![
                    OutboxPayload::Reassign { policy: version, left: Vec::new() },
                    OutboxPayload::Alert(alert.clone()),
                    OutboxPayload::AlertOver(alert),
                ],
            };
            if self.append(SUBJECT, chain, act, now).await? {
                self.reload_policy().await?;
                return Ok(());
            }
        }
        Err(too_often().into())
    }

    /// Lifts pauses under that policy; none if it is no longer the newest, or somebody else was first.
    async fn lift(&self, policy: &Policy, lifting: &Lifting<'_>) -> Result<Option<Vec<ClientPause>>, Error> {
        let Lifting { client, by, channel } = *lifting;
        let chain = self.store.chain(SUBJECT).await?;
        let latest = self.store.policy().await?.ok_or(Refusal::NoPolicy)?;
        if latest.version != policy.version {
            return Ok(None);
        }
        let now = self.clock.now();
        let is_lifted = |pause: &&ClientPause| {
            pause.client == *client && by.is_none_or(|by| pause.by == *by) && pause.holds(now)
        };
        let lifted: Vec<ClientPause> = latest.paused.iter().filter(is_lifted).cloned().collect();
        let Some(last) = lifted.iter().max_by_key(|pause| pause.until).cloned() else {
            return Ok(Some(lifted));
        };
        let version = latest.version.saturating_add(1);
        let ClientPause { client, by: paused_by, from, until } = last;
        let actor = by.map_or_else(|| "operator".to_owned(), ToString::to_string);
        let act = GateAct {
            kind: AuditEventKind::ClientResumed,
            actor,
            channel,
            detail: format!("version {version}: {client} is no longer paused"),
            policy: Some(PolicyRecord {
                version,
                paused: without_pause(&latest.paused, &client, by, now),
                installed_at: now,
                ..latest
            }),
            messages: vec![
                OutboxPayload::Reassign { policy: version, left: Vec::new() },
                OutboxPayload::AlertOver(Alert::ClientPaused { client, by: paused_by, from, until }),
            ],
        };
        if !self.append(SUBJECT, chain, act, now).await? {
            return Ok(None);
        }
        self.reload_policy().await?;
        Ok(Some(lifted))
    }
}

/// Which pauses are lifted, and where that is said.
struct Lifting<'a> {
    client: &'a ClientId,
    /// Only those of this reviewer; none: all, as the operator.
    by: Option<&'a ReviewerId>,
    channel: Channel,
}

fn too_often() -> Fault {
    Fault::bare("the policy is being changed too often by others")
}

/// Refuses what a paused client asks anew.
pub(crate) fn refuse_paused(policy: &Policy, client: &ClientId, now: Timestamp) -> Result<(), Refusal> {
    match policy.paused(client, now) {
        Some(pause) => Err(Refusal::ClientPaused { by: pause.by.clone(), until: pause.until }),
        None => Ok(()),
    }
}
