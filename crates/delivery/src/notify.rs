//! Asking a person: in the order of their channels, not in their quiet hours, no more than the channel bears, again by
//! the next channel when they have opened nothing, and once more before the stage closes.

use std::sync::Arc;

use placet_core::Timestamp;
use placet_core::id::{ApprovalId, ReviewerId};
use placet_core::policy::{ChannelName, Policy, Reviewer};
use placet_core::request::{Request, Standing};
use placet_gate::outbox::{OutboxMessage, OutboxPayload, OutboxSubject};
use placet_gate::ports::{SentMessage, SentState};
use placet_gate::{ChatWord, Error};

use crate::card::{Card, Stands};
use crate::channel::{Notification, SendOutcome};
use crate::later::Later;
use crate::retry::{Again, LONGEST_ASKED_MS, wait_ms};
use crate::wording::{Message, digest, letter, reminder};
use crate::worker::{Progress, Worker, waits_in};

/// The shortest stage that is reminded of, and the longest time before its end, in milliseconds.
const REMINDED_STAGE_MS: i64 = 30 * 60_000;
const LONGEST_LEAD_MS: i64 = 60 * 60_000;

/// How often telling one user something is tried: it is about a moment that passes.
const WHISPERS: u32 = 5;

/// Whom to ask, by which channel.
pub(crate) struct Ask<'a> {
    pub(crate) stage: usize,
    pub(crate) reviewer: &'a ReviewerId,
    pub(crate) channel: &'a str,
    pub(crate) why: Why,
}

/// Why somebody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Their stage has opened.
    Asked,
    /// They had opened nothing.
    Nudged,
    /// The stage closes soon.
    Reminded,
}

/// The ids of what the same person may have got by the same channel about the same request before this message.
///
/// They are functions of the request, the stage and the person, as every message's id is. One that was never sent is no
/// harm: mail programs join what names the same ids.
fn before(message: &OutboxMessage, ask: &Ask<'_>) -> Vec<String> {
    let all = thread(&message.subject, ask.stage, ask.reviewer, ask.channel);
    all.into_iter().take_while(|earlier| *earlier != message.id).collect()
}

/// The same up to the end of that stage.
pub(crate) fn thread(
    subject: &OutboxSubject,
    stage: usize,
    reviewer: &ReviewerId,
    channel: &str,
) -> Vec<String> {
    let id = |stage, make: fn(usize, ReviewerId, String) -> OutboxPayload| {
        OutboxMessage::id_of(subject, &make(stage, reviewer.clone(), channel.to_owned()))
    };
    let of_stage = |stage| {
        [
            id(stage, |stage, reviewer, channel| OutboxPayload::Notify { stage, reviewer, channel }),
            id(stage, |stage, reviewer, channel| OutboxPayload::Nudge { stage, reviewer, channel }),
            id(stage, |stage, reviewer, channel| OutboxPayload::Remind { stage, reviewer, channel }),
        ]
    };
    (0..=stage).flat_map(of_stage).collect()
}

impl Worker {
    /// Asks a reviewer, unless nobody needs them any more.
    pub(crate) async fn ask(
        &self,
        message: &OutboxMessage,
        request: &Request,
        ask: &Ask<'_>,
    ) -> Result<Progress, Error> {
        let policy = self.gate.policy().await?;
        let (Some(person), true) = (policy.reviewer(ask.reviewer), waits_in(request, ask.stage)) else {
            return self.ack(message).await;
        };
        let now = self.gate.now();
        let standing = request.standing(ask.reviewer, &policy, now);
        let has_spoken = request.state().votes().iter().any(|vote| vote.reviewer == *ask.reviewer);
        if standing == Standing::Nothing || (ask.why != Why::Asked && has_spoken) {
            return self.ack(message).await;
        }
        if ask.why == Why::Nudged && self.gate.has_opened(request, ask.stage, ask.reviewer).await? {
            return self.ack(message).await;
        }
        if let Some(quiet) = person.quiet.as_ref().filter(|quiet| !is_urgent(request) && quiet.contains(now))
        {
            return self.hold_until(message, quiet.end_after(now)).await;
        }
        if self.run_is_over_by_now(message, request).await? {
            return self.ack(message).await;
        }
        let channel = ChannelName::named(ask.channel);
        if ask.why != Why::Reminded && self.has_it_already(message, request, ask, channel).await? {
            // Perhaps sent by a process that died before it could say what follows.
            return self.told_and_followed(message, request, ask, person).await;
        }
        if let Some(digest) = self.over_the_pace(ask, now).await? {
            // They are told by the digest, and nudged and reminded as by a message of its own.
            let mut instead = self.follow(message, request, ask, person);
            instead.push(digest);
            self.store().replace(&message.id, &instead).await?;
            return Ok(Progress::Done);
        }
        let notification = self.notification(message, request, ask, person, &policy, standing).await?;
        // A reminder follows a message that did arrive: the channel that fails now is not worth another.
        let next =
            channel.filter(|_| ask.why != Why::Reminded).and_then(|channel| person.channel_after(channel));
        match self.parts.channels.send(&notification).await {
            SendOutcome::Delivered(reference) => {
                // A mail has no place, but whoever wants to hear how it ended is found by what was sent.
                let is_kept = person.settled_mail && channel == Some(ChannelName::Email);
                if let Some(reference) = reference.or_else(|| is_kept.then(|| message.id.clone())) {
                    self.note(request, ask, reference).await?;
                }
                self.told_and_followed(message, request, ask, person).await
            }
            SendOutcome::Wait { in_ms, reason } => {
                let left_ms = request.pending().map(|pending| pending.closes_at.millis_since(now));
                let again = Again::as_asked(message.attempt, in_ms, left_ms);
                match next.filter(|_| again.is_enough()) {
                    Some(next) => self.fail_over(message, ask, next, &reason).await,
                    None => self.try_again(message, again, &reason).await,
                }
            }
            SendOutcome::Retry(reason) => {
                let again = Again::after_failure(message.attempt);
                match next.filter(|_| again.is_enough()) {
                    Some(next) => self.fail_over(message, ask, next, &reason).await,
                    None => self.try_again(message, again, &reason).await,
                }
            }
            SendOutcome::Unreachable(_) if ask.why == Why::Reminded => self.ack(message).await,
            SendOutcome::Unreachable(reason) => match next {
                Some(next) => self.fail_over(message, ask, next, &reason).await,
                None => self.tell_later(message, &reason).await,
            },
        }
    }

    /// Whether this person has been sent this very ask in this channel, and can still see that it waits for them.
    ///
    /// A message of another stage is none of this ask, and neither is one from before this ask was made: it says by now,
    /// or did for a while, that nothing is left to do, and writing in it again makes no sound.
    async fn has_it_already(
        &self,
        message: &OutboxMessage,
        request: &Request,
        ask: &Ask<'_>,
        channel: Option<ChannelName>,
    ) -> Result<bool, Error> {
        if !channel.is_some_and(ChannelName::can_settle) {
            return Ok(false);
        }
        let sent = self.store().sent(&request.asked().approval_id).await?;
        Ok(sent.iter().any(|sent| {
            sent.reviewer == *ask.reviewer
                && sent.channel == ask.channel
                && sent.stage == ask.stage
                && sent.state.is_open()
                && sent.sent_at >= message.created_at
        }))
    }

    /// The digest that takes this message's place, if the person has got as many this minute as the channel bears.
    async fn over_the_pace(&self, ask: &Ask<'_>, now: Timestamp) -> Result<Option<OutboxMessage>, Error> {
        if self.keeps_the_pace(ask.reviewer, ask.channel, now).await? {
            return Ok(None);
        }
        let minute = now.seconds().div_euclid(60);
        let next = Timestamp::from_millis(minute.saturating_add(1).saturating_mul(60_000));
        let payload =
            OutboxPayload::Digest { reviewer: ask.reviewer.clone(), channel: ask.channel.to_owned(), minute };
        Ok(Some(OutboxMessage::of_the_gate(payload, now, next)))
    }

    async fn notification(
        &self,
        message: &OutboxMessage,
        request: &Request,
        ask: &Ask<'_>,
        person: &Reviewer,
        policy: &Arc<Policy>,
        standing: Standing,
    ) -> Result<Notification, Error> {
        let asked = request.asked();
        let link = self.gate.link(asked, ask.reviewer, policy).await?;
        let url = format!("{}/r/{link}", self.gate.base_url(policy));
        let client_name = policy
            .client(&asked.client)
            .map_or_else(|| asked.client.to_string(), |client| client.name.clone());
        let now = self.gate.now();
        let about = Message {
            asked,
            state: request.state(),
            stage: ask.stage,
            reviewer: person,
            standing,
            client_name: &client_name,
            url: &url,
            now,
        };
        let is_reminder = ask.why == Why::Reminded;
        let plain = letter(&about, ask.channel);
        let letter = if is_reminder && ask.channel != "sms" { reminder(&plain) } else { plain };
        Ok(Notification {
            id: message.id.clone(),
            follows: before(message, ask),
            approval_id: asked.approval_id.clone(),
            key: Some(request.key()),
            stage: ask.stage.saturating_add(1),
            reviewer: ask.reviewer.clone(),
            channel: ask.channel.to_owned(),
            address: address(person, ask.channel),
            subject: letter.subject,
            text: letter.text,
            html: letter.html,
            url,
            card: {
                let (request, person, policy) = (request.clone(), person.clone(), Arc::clone(policy));
                Later::new(move || Card { is_reminder, ..Card::of(&request, Some(&person), &policy, now) })
            },
        })
    }

    /// Whether one more message to that person is within what the channel bears this minute. It counts as one.
    pub(crate) async fn keeps_the_pace(
        &self,
        reviewer: &ReviewerId,
        channel: &str,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let Some(most) = self.parts.channels.per_minute(channel) else { return Ok(true) };
        let minute = now.seconds().div_euclid(60);
        let until = Timestamp::from_millis(minute.saturating_add(2).saturating_mul(60_000));
        let name = format!("pace/{channel}/{reviewer}/{minute}");
        Ok(self.store().tally(&name, until).await? <= most)
    }

    /// Notes where a message is; if the request has changed on the way, the message is brought up to date at once:
    /// whoever brought the others up to date may not have known this one.
    async fn note(&self, request: &Request, ask: &Ask<'_>, reference: String) -> Result<(), Error> {
        let sent = SentMessage {
            approval_id: request.asked().approval_id.clone(),
            reviewer: ask.reviewer.clone(),
            channel: ask.channel.to_owned(),
            stage: ask.stage,
            reference,
            sent_at: self.gate.now(),
            shown: request.version(),
            state: SentState::Open,
        };
        self.store().keep_sent(&sent).await?;
        self.catch_up(request, sent).await
    }

    /// The message was delivered: what follows it takes its place.
    async fn told_and_followed(
        &self,
        message: &OutboxMessage,
        request: &Request,
        ask: &Ask<'_>,
        person: &Reviewer,
    ) -> Result<Progress, Error> {
        let follow = self.follow(message, request, ask, person);
        if follow.is_empty() {
            return self.told(message).await;
        }
        // First what follows: whoever dies in between tells the same person again, who then has it already.
        if let Some(first) = follow.first() {
            self.store().replace(&first.id, &follow).await?;
        }
        self.told(message).await
    }

    /// The next channel after `nudge`, and a reminder: for people whose policy entry orders their channels.
    fn follow(
        &self,
        message: &OutboxMessage,
        request: &Request,
        ask: &Ask<'_>,
        person: &Reviewer,
    ) -> Vec<OutboxMessage> {
        let (Some(pending), Some(channel)) = (request.pending(), ChannelName::named(ask.channel)) else {
            return Vec::new();
        };
        if person.order.is_empty() || ask.why == Why::Reminded {
            return Vec::new();
        }
        let now = self.gate.now();
        let (stage, reviewer) = (ask.stage, ask.reviewer.clone());
        let mut follow = Vec::new();
        if let (Some(nudge_ms), Some(next)) = (person.nudge_ms, person.channel_after(channel)) {
            let due_at = now.plus_millis(nudge_ms);
            if due_at < pending.closes_at {
                let channel = next.as_str().to_owned();
                let payload = OutboxPayload::Nudge { stage, reviewer: reviewer.clone(), channel };
                follow.push(message.followed_by(payload, now, due_at));
            }
        }
        let left_ms = pending.closes_at.millis_since(now);
        if ask.why == Why::Asked && left_ms >= REMINDED_STAGE_MS {
            let lead_ms = (left_ms / 4).min(LONGEST_LEAD_MS);
            let payload = OutboxPayload::Remind { stage, reviewer, channel: ask.channel.to_owned() };
            follow.push(message.followed_by(payload, now, pending.closes_at.plus_millis(-lead_ms)));
        }
        follow
    }

    /// A channel does not get through: the next one takes over, and operators hear of it once.
    async fn fail_over(
        &self,
        message: &OutboxMessage,
        ask: &Ask<'_>,
        next: ChannelName,
        reason: &str,
    ) -> Result<Progress, Error> {
        let (stage, reviewer, channel) = (ask.stage, ask.reviewer.clone(), next.as_str().to_owned());
        let payload = match ask.why {
            Why::Nudged => OutboxPayload::Nudge { stage, reviewer, channel },
            Why::Asked | Why::Reminded => OutboxPayload::Notify { stage, reviewer, channel },
        };
        self.take_over(message, ask.channel, payload, reason).await
    }

    async fn take_over(
        &self,
        message: &OutboxMessage,
        channel: &str,
        payload: OutboxPayload,
        reason: &str,
    ) -> Result<Progress, Error> {
        let now = self.gate.now();
        // Still the same ask: it was due when the first channel should have told it.
        let follow =
            OutboxMessage { created_at: message.created_at, ..message.followed_by(payload, now, now) };
        tracing::warn!(
            message.id = %message.id,
            channel,
            next.id = %follow.id,
            error = reason,
            "a channel does not get through; the reviewer's next one takes over"
        );
        self.alert_not_told(message, message.attempt.saturating_add(1)).await?;
        self.store().replace(&message.id, std::slice::from_ref(&follow)).await?;
        Ok(Progress::RetryAt(follow))
    }

    /// One message for all that came too fast: how many wait, and the link of the inbox.
    pub(crate) async fn digest(
        &self,
        message: &OutboxMessage,
        reviewer: &ReviewerId,
        channel: &str,
        minute: i64,
    ) -> Result<Progress, Error> {
        let policy = self.gate.policy().await?;
        let Some(person) = policy.reviewer(reviewer) else { return self.ack(message).await };
        let inbox = self.gate.waiting_for(reviewer, &policy).await?;
        let unanswered: Vec<&Request> =
            inbox.items.iter().filter(|item| item.voted.is_none()).map(|item| &item.request).collect();
        let count = unanswered.len().saturating_add(inbox.more);
        if count == 0 {
            return self.ack(message).await;
        }
        let now = self.gate.now();
        let has_urgent = unanswered.iter().any(|request| is_urgent(request));
        if let Some(quiet) = person.quiet.as_ref().filter(|quiet| !has_urgent && quiet.contains(now)) {
            return self.hold_until(message, quiet.end_after(now)).await;
        }
        let link = self.gate.inbox_link(reviewer, &policy).await?;
        let url = format!("{}/inbox/{link}", self.gate.base_url(&policy));
        let letter = digest(person, count, &url);
        let text = if channel == "sms" { format!("{url}\n{}", letter.subject) } else { letter.text };
        let card = Card { headline: letter.subject.clone(), stands: Stands::Several, ..Card::default() };
        let notification = Notification {
            id: message.id.clone(),
            follows: Vec::new(),
            approval_id: ApprovalId::from_parts(message.created_at, 0),
            key: None,
            stage: 1,
            reviewer: reviewer.clone(),
            channel: channel.to_owned(),
            address: address(person, channel),
            subject: letter.subject,
            text,
            html: letter.html,
            url,
            card: card.into(),
        };
        let first_end = unanswered.iter().filter_map(|request| Some(request.pending()?.closes_at)).min();
        let (again, reason) = match self.parts.channels.send(&notification).await {
            SendOutcome::Delivered(_) => return self.ack(message).await,
            SendOutcome::Wait { in_ms, reason } => {
                let left_ms = first_end.map(|end| end.millis_since(now));
                (Again::as_asked(message.attempt, in_ms, left_ms), reason)
            }
            SendOutcome::Retry(reason) => (Again::after_failure(message.attempt), reason),
            SendOutcome::Unreachable(reason) => (Again::after_failure(message.attempt).at_last(), reason),
        };
        let next = ChannelName::named(channel).and_then(|channel| person.channel_after(channel));
        match next.filter(|_| again.is_enough()) {
            Some(next) => {
                let (reviewer, next) = (reviewer.clone(), next.as_str().to_owned());
                let payload = OutboxPayload::Digest { reviewer, channel: next, minute };
                self.take_over(message, channel, payload, &reason).await
            }
            None => self.try_again(message, again, &reason).await,
        }
    }

    /// Tells whoever pressed a button what came of it, soon or not at all.
    pub(crate) async fn whisper(
        &self,
        message: &OutboxMessage,
        place: &str,
        user: &str,
        word: ChatWord,
    ) -> Result<Progress, Error> {
        let now = self.gate.now();
        let (again_at, reason) =
            match self.parts.channels.whisper("slack", place, user, word.sentence()).await {
                SendOutcome::Delivered(_) => return self.ack(message).await,
                SendOutcome::Wait { in_ms, reason } => (now.plus_millis(in_ms.min(LONGEST_ASKED_MS)), reason),
                SendOutcome::Retry(reason) => {
                    (now.plus_millis(wait_ms(message.attempt.saturating_add(1))), reason)
                }
                SendOutcome::Unreachable(reason) => {
                    tracing::info!(reason, "whoever pressed a button could not be told what came of it");
                    return self.ack(message).await;
                }
            };
        if message.attempt.saturating_add(1) >= WHISPERS {
            tracing::info!(reason, "whoever pressed a button could not be told what came of it");
            return self.ack(message).await;
        }
        self.put_off(message, message.attempt.saturating_add(1), again_at).await
    }
}

/// Whether its rule asks in quiet hours too.
fn is_urgent(request: &Request) -> bool {
    request.asked().terms.as_ref().is_some_and(|terms| terms.urgent)
}

pub(crate) fn address(person: &Reviewer, channel: &str) -> Option<String> {
    ChannelName::named(channel).and_then(|channel| person.address(channel)).map(str::to_owned)
}
