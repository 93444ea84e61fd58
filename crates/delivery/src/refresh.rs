//! What was sent is brought up to date: every message about a request says how it stands, whoever decided where.

use placet_core::policy::Policy;
use placet_core::request::Request;
use placet_gate::Error;
use placet_gate::outbox::OutboxMessage;
use placet_gate::ports::{SentMessage, SentState};

use crate::card::{Card, Stands};
use crate::channel::{Notification, SettleOutcome};
use crate::retry::{LONGEST_ASKED_MS, wait_ms};
use crate::worker::{Progress, Worker};

/// How often it is looked whether the request has changed on the way.
const LOOKS: usize = 16;

/// How often messages that cannot be changed are tried again: for about two hours.
const TRIES: u32 = 120;

impl Worker {
    /// Brings every message about a request up to date.
    ///
    /// Two of these may run at once, and the slower one may write what is old by then: so each looks again after it has
    /// written. One that was put off leaves out what shows this version already; one that begins does not, since an
    /// earlier process may have died after it wrote something old.
    pub(crate) async fn refresh(
        &self,
        message: &OutboxMessage,
        request: &Request,
    ) -> Result<Progress, Error> {
        let policy = self.gate.policy().await?;
        let approval = request.asked().approval_id.clone();
        let mut request = self.store().load(request.key()).await?.unwrap_or_else(|| request.clone());
        let attempt = message.attempt.saturating_add(1);
        let mut trusts_notes = message.attempt > 0;
        let mut failed: Option<(i64, String)> = None;
        for _ in 0..LOOKS {
            if request.asked().approval_id != approval {
                return self.ack(message).await;
            }
            failed = None;
            for sent in self.store().sent(&approval).await? {
                let is_shown = trusts_notes && sent.shown >= request.version();
                if is_shown || sent.state == SentState::Gone {
                    continue;
                }
                match self.settle(&request, &sent, &policy).await? {
                    SettleOutcome::Settled | SettleOutcome::Gone => {}
                    SettleOutcome::Retry { in_ms, reason } => {
                        // The soonest: one medium that asks for long does not hold the others up.
                        let in_ms = in_ms.map_or_else(|| wait_ms(attempt), |ms| ms.min(LONGEST_ASKED_MS));
                        if failed.as_ref().is_none_or(|(soonest, _)| in_ms < *soonest) {
                            failed = Some((in_ms, reason));
                        }
                    }
                    SettleOutcome::Impossible(reason) => {
                        tracing::warn!(
                            approval.id = %approval,
                            channel = sent.channel,
                            reason,
                            "a message cannot be brought up to date"
                        );
                    }
                }
            }
            let Some(again) = self.store().load(request.key()).await? else { break };
            if again.version() == request.version() {
                break;
            }
            request = again;
            trusts_notes = true;
        }
        let Some((in_ms, reason)) = failed else { return self.ack(message).await };
        if attempt >= TRIES {
            tracing::warn!(approval.id = %approval, reason, "messages are left as they are: they cannot be changed");
            return self.ack(message).await;
        }
        let due_at = self.gate.now().plus_millis(in_ms);
        self.put_off(message, attempt, due_at).await
    }

    /// A message that was just noted: if its request has changed since it was written, it is written anew.
    ///
    /// Best effort. Whoever changed the request has a look of its own on the way, which now finds this message, unless
    /// it was over before the message was noted: then this is the last one who can see to it.
    pub(crate) async fn catch_up(&self, request: &Request, mut sent: SentMessage) -> Result<(), Error> {
        for _ in 0..LOOKS {
            let Some(now) = self.store().load(request.key()).await? else { return Ok(()) };
            if now.asked().approval_id != sent.approval_id || now.version() <= sent.shown {
                return Ok(());
            }
            let policy = self.gate.policy().await?;
            match self.settle(&now, &sent, &policy).await? {
                SettleOutcome::Settled => sent.shown = now.version(),
                SettleOutcome::Gone => return Ok(()),
                SettleOutcome::Retry { .. } | SettleOutcome::Impossible(_) => {
                    return Ok(self.gate.refresh(&now).await?);
                }
            }
        }
        Ok(())
    }

    /// Brings one message up to date, and notes what it is by then.
    async fn settle(
        &self,
        request: &Request,
        sent: &SentMessage,
        policy: &Policy,
    ) -> Result<SettleOutcome, Error> {
        let now = self.gate.now();
        let person = policy.reviewer(&sent.reviewer);
        let url = match person {
            Some(person) => {
                let link = self.gate.link(request.asked(), &person.id, policy).await?;
                format!("{}/r/{link}", self.gate.base_url(policy))
            }
            // Whoever has left gets no link.
            None => self.gate.base_url(policy),
        };
        let card = Card::of(request, person, policy, now);
        let as_written = match card.stands {
            Stands::Open { .. } | Stands::Approved | Stands::Several => SentState::Open,
            Stands::MovedOn | Stands::Ended { .. } => SentState::Closed,
        };
        let approval = &request.asked().approval_id;
        let notification = Notification {
            id: format!("msg_{approval}_{}_{}", sent.name(), card.version),
            follows: Vec::new(),
            approval_id: approval.clone(),
            key: Some(request.key()),
            stage: sent.stage.saturating_add(1),
            reviewer: sent.reviewer.clone(),
            channel: sent.channel.clone(),
            address: None,
            subject: card.headline.clone(),
            text: card.standing_line().unwrap_or_else(|| card.headline.clone()),
            html: String::new(),
            url,
            card: card.into(),
        };
        let outcome = self.parts.channels.settle(&sent.reference, &notification).await;
        let noted = match &outcome {
            SettleOutcome::Settled => {
                SentMessage { shown: request.version(), state: as_written, ..sent.clone() }
            }
            SettleOutcome::Gone => SentMessage { state: SentState::Gone, ..sent.clone() },
            SettleOutcome::Impossible(_) => SentMessage { state: SentState::Closed, ..sent.clone() },
            SettleOutcome::Retry { .. } => return Ok(outcome),
        };
        self.store().keep_sent(&noted).await?;
        Ok(outcome)
    }
}
