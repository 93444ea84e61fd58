//! What was sent is brought up to date: every message about a request says how it stands, whoever decided where.

use placet_core::policy::{ChannelName, Policy, Reviewer};
use placet_core::request::{Request, Standing};
use placet_core::words;
use placet_gate::Error;
use placet_gate::outbox::{OutboxMessage, OutboxSubject};
use placet_gate::ports::{SentMessage, SentState};

use crate::card::{Card, Stands};
use crate::channel::{Notification, SendOutcome, SettleOutcome};
use crate::notify::{address, thread};
use crate::retry::{LONGEST_ASKED_MS, wait_ms};
use crate::wording::{Message, letter};
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
        if sent.channel == ChannelName::Email.as_str() {
            return self.settle_mail(request, sent, policy).await;
        }
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

    /// A mail stays as it was sent: once its request has ended, another one in its thread says how, to whoever wants that.
    async fn settle_mail(
        &self,
        request: &Request,
        sent: &SentMessage,
        policy: &Policy,
    ) -> Result<SettleOutcome, Error> {
        let Some(_) = request.outcome() else {
            self.store().keep_sent(&SentMessage { shown: request.version(), ..sent.clone() }).await?;
            return Ok(SettleOutcome::Settled);
        };
        if let Some(person) = self.hears_the_end(request, sent, policy).await? {
            let notification = self.end_by_mail(request, sent, person, policy).await?;
            match self.parts.channels.send(&notification).await {
                SendOutcome::Delivered(_) => {}
                SendOutcome::Wait { in_ms, reason } => {
                    return Ok(SettleOutcome::Retry { in_ms: Some(in_ms), reason });
                }
                SendOutcome::Retry(reason) => return Ok(SettleOutcome::Retry { in_ms: None, reason }),
                // It asks for nothing, so nobody is alerted of it.
                SendOutcome::Unreachable(reason) => {
                    tracing::info!(channel = sent.channel, reason, "how a request ended was not mailed");
                }
            }
        }
        let noted = SentMessage { shown: request.version(), state: SentState::Closed, ..sent.clone() };
        self.store().keep_sent(&noted).await?;
        Ok(SettleOutcome::Settled)
    }

    /// The reviewer of that mail, if they are to be mailed how its request ended.
    ///
    /// They want that, have not answered, are not in their quiet hours, and have not got more mails this minute than they
    /// should. Of several mails about it, the last one is followed.
    async fn hears_the_end<'p>(
        &self,
        request: &Request,
        sent: &SentMessage,
        policy: &'p Policy,
    ) -> Result<Option<&'p Reviewer>, Error> {
        let now = self.gate.now();
        let person = policy.reviewer(&sent.reviewer).filter(|person| {
            person.settled_mail
                && sent.state.is_open()
                && person.quiet.as_ref().is_none_or(|quiet| !quiet.contains(now))
                && request.state().votes().iter().all(|vote| vote.reviewer != person.id)
        });
        let Some(person) = person else { return Ok(None) };
        let all = self.store().sent(&sent.approval_id).await?;
        let theirs = all.iter().filter(|one| one.reviewer == sent.reviewer && one.channel == sent.channel);
        let last = theirs.max_by_key(|one| (one.stage, one.sent_at, one.reference.as_str()));
        if last.is_some_and(|last| last.reference != sent.reference) {
            return Ok(None);
        }
        let is_paced = self.keeps_the_pace(&person.id, &sent.channel, now).await?;
        Ok(is_paced.then_some(person))
    }

    async fn end_by_mail(
        &self,
        request: &Request,
        sent: &SentMessage,
        person: &Reviewer,
        policy: &Policy,
    ) -> Result<Notification, Error> {
        let (asked, now) = (request.asked(), self.gate.now());
        let link = self.gate.link(asked, &person.id, policy).await?;
        let url = format!("{}/r/{link}", self.gate.base_url(policy));
        let client_name = policy
            .client(&asked.client)
            .map_or_else(|| asked.client.to_string(), |client| client.name.clone());
        let first = letter(
            &Message {
                asked,
                state: request.state(),
                stage: sent.stage,
                reviewer: person,
                standing: Standing::Decide,
                client_name: &client_name,
                url: &url,
                now,
            },
            &sent.channel,
        );
        let card = Card::of(request, Some(person), policy, now);
        let words = words::ended(&first, &card.headline, &card.standing_line().unwrap_or_default(), &url);
        let subject = OutboxSubject::Approval { key: request.key(), approval_id: asked.approval_id.clone() };
        Ok(Notification {
            // Its own, and the same on every try.
            id: format!("msg_{}_ended_{}_{}", asked.approval_id, sent.channel, person.id),
            follows: thread(&subject, sent.stage, &person.id, &sent.channel),
            approval_id: asked.approval_id.clone(),
            // What becomes of it is nobody's concern.
            key: None,
            stage: sent.stage.saturating_add(1),
            reviewer: person.id.clone(),
            channel: sent.channel.clone(),
            address: address(person, &sent.channel),
            subject: words.subject,
            text: words.text,
            html: words.html,
            url,
            card: card.into(),
        })
    }
}
