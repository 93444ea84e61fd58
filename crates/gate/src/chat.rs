//! A button in a chat: the same decision as on the page, by whoever the chat's server says pressed it.

use std::sync::Arc;

use placet_core::audit::Channel;
use placet_core::chat::{ChannelSettings, ChatButton};
use placet_core::payload::sha256_hex;
use placet_core::policy::{ApprovalTerms, ChannelName, Policy};
use placet_core::refusal::Refusal;
use placet_core::request::{Given, Request, Status, VoteInput, VoteOutcome};
use serde::{Deserialize, Serialize};

use crate::commit::Step;
use crate::outbox::{OutboxMessage, OutboxPayload};
use crate::ports::{Commit, Dispatch, SentMessage, SentState};
use crate::refused::Attempt;
use crate::{Error, Fault, Gate};

/// How long a stranger's presses of one approval's buttons are one entry in the trail, in milliseconds: as long as a
/// request can wait.
pub(crate) const STRANGER_MS: i64 = 30 * placet_core::time::DAY_MS;

/// A press of a button, as a chat's server tells it. The server is verified; nothing of the rest is.
#[derive(Clone, Debug)]
pub struct ChatPress {
    /// Which chat: [`ChannelName::Slack`] or [`ChannelName::Telegram`].
    pub channel: ChannelName,
    /// The chat's id of whoever pressed.
    pub user: String,
    /// What the button says.
    pub button: String,
    /// Why, in their words.
    pub reason: Option<String>,
    /// Where the message with the button is, in the channel's own form.
    pub reference: Option<String>,
}

/// What came of a press.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChatAnswer {
    /// It is recorded, now or before: the message itself says so.
    Recorded,
    /// Nothing was recorded.
    Word(ChatWord),
}

/// What whoever pressed is told, alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChatWord {
    /// They are not one of the reviewers.
    NotYours,
    /// It has ended before: approved.
    Approved,
    /// It has ended before: rejected.
    Rejected,
    /// It has ended before: the last deadline passed.
    Expired,
    /// It has ended before: withdrawn.
    Withdrawn,
    /// Others are asked by now.
    MovedOn,
    /// They own the client that asks, so they may only reject.
    OwnClient,
    /// This rule wants more than a button: the page.
    ByLink,
    /// The request is long over, or the button is of another gate.
    Gone,
    /// The reason is too long.
    TooLong,
}

impl ChatWord {
    /// The same for people: at most 200 characters, as Telegram shows them.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::NotYours => {
                "This is not yours to decide: you are not one of this gate's reviewers. Nothing was recorded."
            }
            Self::Approved => "This was approved before. Your press was not recorded.",
            Self::Rejected => "This was rejected before. Your press was not recorded.",
            Self::Expired => "This has expired. Your press was not recorded.",
            Self::Withdrawn => "This was withdrawn. Your press was not recorded.",
            Self::MovedOn => "Others are asked by now. Your press was not recorded.",
            Self::OwnClient => {
                "This is asked by a program of your own, so somebody else has to approve it. You can reject it."
            }
            Self::ByLink => {
                "This needs more than a button. Please open the page: the link is in the message."
            }
            Self::Gone => "This request is long over, or it is not one of this gate's. Nothing was recorded.",
            Self::TooLong => {
                "The reason has more than 500 characters, so nothing was recorded. Please shorten it."
            }
        }
    }

    const fn of_end(status: Status) -> Self {
        match status {
            Status::Approved => Self::Approved,
            Status::Rejected => Self::Rejected,
            Status::Cancelled => Self::Withdrawn,
            // An outcome is never pending.
            Status::Expired | Status::Pending => Self::Expired,
        }
    }
}

/// The longest reason, in characters: that of the page.
const REASON_CHARS: usize = 500;

impl Gate {
    /// The channels that the operator has set up.
    pub async fn channel_settings(&self) -> Result<Arc<ChannelSettings>, Fault> {
        self.keys.channels().await
    }

    /// The keyring, as it was read last.
    pub async fn keyring(&self) -> Result<Arc<placet_core::keys::Keyring>, Fault> {
        self.keys.keyring().await
    }

    /// Somebody presses a button. The chat's server has been verified.
    pub async fn press(&self, press: &ChatPress) -> Result<ChatAnswer, Error> {
        let word = |word| Ok(ChatAnswer::Word(word));
        let Some(button) = ChatButton::parse(&press.button) else { return word(ChatWord::Gone) };
        let policy = self.policy().await?;
        let request = self.store.load(button.key).await?;
        let is_same = |request: &Request| request.asked().approval_id == button.approval_id;
        let Some(request) = request.filter(is_same) else { return word(ChatWord::Gone) };
        let Some(reviewer) = reviewer_of(press, &policy) else {
            self.refuse_stranger(request, press, &policy).await?;
            return word(ChatWord::NotYours);
        };
        self.keep_pressed(&request, press, &reviewer).await?;
        let channel = audit_channel(press.channel);
        let (by, decision) = (reviewer.to_string(), button.decision);
        let attempt = Attempt { by, decision, channel, request: &request };
        if let Some(outcome) = request.outcome() {
            let status = outcome.status();
            self.note_refused(&attempt, &policy, &Error::Ended(Box::new(request.clone()))).await;
            self.refresh(&request).await?;
            return word(ChatWord::of_end(status));
        }
        if request.asked().terms.as_ref().is_none_or(ApprovalTerms::needs_page) {
            self.note_opened(&request, &reviewer, &policy).await?;
            return word(ChatWord::ByLink);
        }
        if press.reason.as_ref().is_some_and(|reason| reason.chars().count() > REASON_CHARS) {
            self.note_opened(&request, &reviewer, &policy).await?;
            return word(ChatWord::TooLong);
        }
        let voted = self
            .change_loaded(request.clone(), &policy, |request, policy, now| {
                // Between two tries another policy may have come into force, or the request may have been asked anew.
                if !is_same(request) || reviewer_of(press, policy).as_ref() != Some(&reviewer) {
                    return Err(Refusal::LinkExpired);
                }
                let input = VoteInput {
                    reviewer: reviewer.clone(),
                    decision: button.decision,
                    reason: press.reason.clone(),
                    channel,
                    opened_at: None,
                    given: Given::default(),
                };
                Ok(match request.vote(&input, policy, now)? {
                    VoteOutcome::Changed(transition) => Step::Write(transition),
                    VoteOutcome::Unchanged => Step::Leave,
                })
            })
            .await;
        if let Err(error) = &voted {
            self.note_refused(&attempt, &policy, error).await;
        }
        match voted {
            Ok((_, true)) => Ok(ChatAnswer::Recorded),
            Ok((request, false)) => {
                self.refresh(&request).await?;
                Ok(ChatAnswer::Recorded)
            }
            Err(Error::Ended(ended)) => {
                self.refresh(&ended).await?;
                word(ChatWord::of_end(ended.status()))
            }
            Err(Error::Refused(Refusal::LinkExpired)) => {
                self.refresh(&request).await?;
                word(ChatWord::MovedOn)
            }
            Err(Error::Refused(Refusal::Forbidden(_))) => {
                self.note_opened(&request, &reviewer, &policy).await?;
                word(ChatWord::OwnClient)
            }
            Err(other) => Err(other),
        }
    }

    /// Whoever pressed in Slack is told, alone, what came of it: Slack does not show what an answer to a press says.
    pub async fn say_in_slack(&self, press: &ChatPress, place: &str, word: ChatWord) -> Result<(), Fault> {
        let now = self.clock.now();
        let payload = OutboxPayload::ChatWord {
            place: place.to_owned(),
            user: press.user.clone(),
            at: now.millis(),
            word,
        };
        self.tell(OutboxMessage::new(
            crate::outbox::OutboxSubject::Gate,
            payload,
            now,
            self.dispatcher.lease_ms(),
        ))
        .await
    }

    /// The messages about a request are brought up to date: one of them was pressed though it had nothing left to
    /// say, or could not be changed when it should have been.
    pub async fn refresh(&self, request: &Request) -> Result<(), Fault> {
        let payload = OutboxPayload::Refresh { look: self.clock.now().millis() };
        self.tell(self.about(request, payload)).await
    }

    async fn tell(&self, message: OutboxMessage) -> Result<(), Fault> {
        self.store.commit(Commit { outbox: vec![message.clone()], ..Commit::default() }).await?;
        self.dispatcher.dispatch(Dispatch { messages: vec![message], ..Dispatch::default() }).await;
        Ok(())
    }

    /// A message whose sender died before it was noted is known from now on.
    async fn keep_pressed(
        &self,
        request: &Request,
        press: &ChatPress,
        reviewer: &placet_core::id::ReviewerId,
    ) -> Result<(), Fault> {
        let Some(reference) = &press.reference else { return Ok(()) };
        let approval_id = request.asked().approval_id.clone();
        let known = self.store.sent(&approval_id).await?;
        let channel = press.channel.as_str();
        if known.iter().any(|sent| sent.channel == channel && sent.reference == *reference) {
            return Ok(());
        }
        self.store
            .keep_sent(&SentMessage {
                approval_id,
                reviewer: reviewer.clone(),
                channel: channel.to_owned(),
                stage: request.state().stage().unwrap_or(0),
                reference: reference.clone(),
                sent_at: self.clock.now(),
                shown: 0,
                state: SentState::Open,
            })
            .await
    }

    /// One entry for each stranger and approval, however often they press.
    async fn refuse_stranger(
        &self,
        request: Request,
        press: &ChatPress,
        policy: &Arc<Policy>,
    ) -> Result<(), Error> {
        let digest = sha256_hex(format!("{}\n{}", press.channel, press.user).as_bytes());
        let whom = digest.get(..16).unwrap_or_default().to_owned();
        let mark = format!("chat-refused/{}/{whom}", request.asked().approval_id);
        if !self.store.mark(&mark, self.clock.now().plus_millis(STRANGER_MS)).await? {
            return Ok(());
        }
        let approval = request.asked().approval_id.clone();
        let channel = audit_channel(press.channel);
        self.change_loaded(request, policy, |request, _, now| {
            if request.asked().approval_id != approval {
                return Ok(Step::Leave);
            }
            Ok(Step::Write(Box::new(request.refuse_press(&whom, channel, now))))
        })
        .await
        .map(drop)
    }
}

fn reviewer_of(press: &ChatPress, policy: &Policy) -> Option<placet_core::id::ReviewerId> {
    policy.reviewer_at(press.channel, &press.user).map(|reviewer| reviewer.id.clone())
}

const fn audit_channel(channel: ChannelName) -> Channel {
    match channel {
        ChannelName::Slack => Channel::Slack,
        ChannelName::Telegram => Channel::Telegram,
        ChannelName::Push
        | ChannelName::Webhook
        | ChannelName::Email
        | ChannelName::Sms
        | ChannelName::Terminal => Channel::Page,
    }
}
