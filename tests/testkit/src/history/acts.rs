//! Doing the acts of a history to the real gate, and telling what came of it.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use placet_core::id::RequestId;
use placet_core::policy::Decision;
use placet_core::request::{Phase as StatePhase, Request, RequestState};
use placet_core::{Refusal, Timestamp};
use placet_gate::ports::OutboxMessage;
use placet_gate::{Caller, Error};
use serde_json::{Value, json};

use super::{AT_ONCE, Act, Answer, Ask, By, Key, Link, Phase, Redeem, SecretOf, Seen, Vote, Which, policy};
use crate::{World, sample, world};

/// Whoever acts in a history: all clients and reviewers, with what they keep.
pub(super) struct Actor {
    pub world: World,
    /// The first link that each reviewer got to each request.
    links: Mutex<HashMap<(Key, &'static str), DatedLink>>,
    /// The first token that was made of each request, and its epoch.
    tokens: Mutex<HashMap<Key, (String, u32)>>,
    /// Every message that was worked off.
    delivered: Mutex<Vec<OutboxMessage>>,
}

/// A link's text, and when it was made.
type DatedLink = (String, Link);

/// What an act came to.
#[derive(Default)]
pub(super) struct Performed {
    /// The answer; none for acts that get none, or that there was nothing for.
    pub answer: Option<Answer>,
    /// The epoch of the token that was used.
    pub epoch: u32,
    /// The link that was used; none where the gate gave none.
    pub link: Option<Link>,
    /// Names of requests in an inbox, in order.
    pub inbox: Option<Vec<Key>>,
    /// The duplicate that an answer named.
    pub duplicate: Option<String>,
}

impl Actor {
    pub(super) fn new(world: World) -> Self {
        Self { world, links: Mutex::default(), tokens: Mutex::default(), delivered: Mutex::default() }
    }

    /// Does it. `Err` for a fault of the gate.
    pub(super) async fn perform(&self, act: &Act) -> Result<Performed, String> {
        let world = &self.world;
        let answered = |answer| Performed { answer: Some(answer), ..Performed::default() };
        match act {
            Act::Ask(ask, secret) => self.ask(ask, *secret).await,
            Act::Vote { key, who, yes, link } => self.vote(*key, who, decision(*yes), *link).await,
            Act::Answer { key, decider, yes } => {
                let (caller, client) = (self.caller(decider).await?, sample::client(key.0));
                let result =
                    world.gate.answer(&caller, &name(*key), Some(&client), decision(*yes), None).await;
                Ok(answered(changed(result)?))
            }
            Act::Cancel(key) => {
                let caller = self.caller(key.0).await?;
                Ok(answered(changed(world.gate.cancel(&caller, &name(*key)).await)?))
            }
            Act::CancelAsOperator(key) => {
                let result = world.gate.cancel_by_operator(&sample::client(key.0), &name(*key)).await;
                Ok(answered(changed(result)?))
            }
            Act::Inbox(who) => self.inbox(who).await,
            Act::Read(key) => {
                let caller = self.caller(key.0).await?;
                Ok(answered(changed(world.gate.wait(&caller, &name(*key), Duration::ZERO).await)?))
            }
            Act::Redeem(key, redeem, which) => self.redeem(*key, redeem, *which).await,
            Act::Sweep => quietly(world.gate.sweep().await.map(drop)),
            Act::Deliver => {
                self.deliver().await;
                Ok(Performed::default())
            }
            Act::Rotate => {
                let epoch = world.keys.rotate(world.gate.now()).current.number;
                quietly(world.gate.record_rotation(epoch, "operator").await.map_err(Error::from))
            }
            Act::Install(index) => {
                if let Some(table) = policy::tables().get(*index) {
                    world.install(&table.toml()).await;
                }
                Ok(Performed::default())
            }
            Act::MoveClock(millis) => {
                world.clock.advance(*millis);
                Ok(Performed::default())
            }
            Act::MoveTo(key, millis) => {
                if let Some(edge) = world.stored(key.0, key.1).await.and_then(|request| edge(&request)) {
                    world.clock.set(edge.plus_millis(*millis));
                }
                Ok(Performed::default())
            }
        }
    }

    /// Works off what waits; how much it was.
    pub(super) async fn deliver(&self) -> usize {
        let delivered = self.world.deliver_all().await;
        let count = delivered.len();
        self.delivered.lock().unwrap().extend(delivered);
        count
    }

    /// Everything that was worked off so far.
    pub(super) fn delivered(&self) -> Vec<OutboxMessage> {
        self.delivered.lock().unwrap().clone()
    }

    async fn caller(&self, client: &str) -> Result<Caller, String> {
        let mut result = Err(Error::Refused(Refusal::InvalidSignature));
        // Among acts at once, two rotations can make a secret void between its reading and its use: then the next is
        // taken. One act at a time, the first try counts.
        for _ in 0..AT_ONCE {
            let epoch = self.world.keys.ring().current.number;
            result = self.world.caller_of_epoch(client, epoch).await;
            if !matches!(result, Err(Error::Refused(Refusal::InvalidSignature)))
                || epoch == self.world.keys.ring().current.number
            {
                break;
            }
        }
        result.map_err(|error| told(&error))
    }

    async fn ask(&self, ask: &Ask, secret: SecretOf) -> Result<Performed, String> {
        let current = self.world.keys.ring().current.number;
        let held = match secret {
            SecretOf::ThisEpoch => current,
            SecretOf::TheOneBefore => current.saturating_sub(1).max(1),
        };
        let caller = match self.world.caller_of_epoch(ask.client, held).await {
            Ok(caller) => caller,
            // Two rotations at once have made that secret void.
            Err(Error::Refused(refusal)) => {
                return Ok(Performed {
                    answer: Some(Answer::Refused(refusal.code())),
                    ..Performed::default()
                });
            }
            Err(error) => return Err(told(&error)),
        };
        let mut fields = world::question(ask.name, ask.action, &payload(ask.amount));
        fields.timeout_seconds = ask.timeout_seconds;
        fields.callback_url = ask.callback.map(str::to_owned);
        let asking = self.world.gate.ask(&caller, fields).await;
        let duplicate =
            asking.as_ref().ok().and_then(|asking| asking.pending_twin.as_ref().map(ToString::to_string));
        let answer = match asking {
            Ok(asking) if asking.is_new => Answer::New(seen(&asking.request)),
            Ok(asking) => Answer::Again(seen(&asking.request)),
            Err(error) => refused(error)?,
        };
        Ok(Performed { answer: Some(answer), epoch: held, duplicate, ..Performed::default() })
    }

    async fn vote(
        &self,
        key: Key,
        who: &'static str,
        decision: Decision,
        which: Which,
    ) -> Result<Performed, String> {
        let gate = &self.world.gate;
        let Some(request) = self.world.stored(key.0, key.1).await else { return Ok(Performed::default()) };
        let (policy, reviewer) = (gate.policy().await.map_err(|error| told(&error))?, sample::reviewer(who));
        let first = self.links.lock().unwrap().get(&(key, who)).cloned();
        let used = match (which, first) {
            (Which::First, Some(first)) => first,
            (Which::First, None) | (Which::Fresh, _) => {
                let link = match gate.link(request.asked(), &reviewer, &policy).await {
                    Ok(link) => link,
                    Err(error) => {
                        return Ok(Performed { answer: Some(refused(error)?), ..Performed::default() });
                    }
                };
                let generation = policy.reviewer(&reviewer).map_or(0, |known| known.generation);
                let fresh = (link.to_string(), Link { epoch: link.epoch(), generation });
                self.links.lock().unwrap().entry((key, who)).or_insert_with(|| fresh.clone());
                fresh
            }
        };
        let answer = match self.world.decide(&used.0, decision, None).await {
            Ok(review) => Answer::Seen(seen_of(review.request.state())),
            Err(error) => refused(error)?,
        };
        Ok(Performed { answer: Some(answer), link: Some(used.1), ..Performed::default() })
    }

    async fn inbox(&self, who: &str) -> Result<Performed, String> {
        let gate = &self.world.gate;
        let policy = gate.policy().await.map_err(|error| told(&error))?;
        let found = gate.waiting_for(&sample::reviewer(who), &policy).await.map_err(|error| told(&error))?;
        let keys = super::KEYS.iter().copied();
        let key_of = |request: &Request| {
            let asked = request.asked();
            keys.clone()
                .find(|(client, name)| asked.client.as_str() == *client && asked.request_id.as_str() == *name)
        };
        let inbox = found.items.iter().filter_map(|item| key_of(&item.request)).collect();
        Ok(Performed { inbox: Some(inbox), ..Performed::default() })
    }

    async fn redeem(&self, key: Key, redeem: &Redeem, which: Which) -> Result<Performed, String> {
        let world = &self.world;
        let Some(request) = world.stored(key.0, key.1).await else { return Ok(Performed::default()) };
        let asker = self.caller(key.0).await?;
        let token = world.gate.token(&request, &asker).await.map_err(|error| told(&error))?;
        let Some(token) = token else { return Ok(Performed::default()) };
        let ring = world.keys.ring();
        let wanted = if key.0 == "bot" { request.asked().epoch } else { asker.epoch };
        let fresh = (token, ring.epoch(wanted).unwrap_or(&ring.current).number);
        let first = self.tokens.lock().unwrap().entry(key).or_insert_with(|| fresh.clone()).clone();
        let (token, epoch) = match which {
            Which::Fresh => fresh,
            Which::First => first,
        };
        let presenter = self.caller(presenter(key, redeem.by)).await?;
        // What is said of a token that is wrong in two ways is not for a history to settle.
        let in_time = request.claims().is_some_and(|claims| world.gate.now().seconds() < claims.exp);
        let payload_sha256 = if redeem.wrong_payload && in_time {
            "0".repeat(64)
        } else {
            request.asked().payload_sha256.clone()
        };
        let answer = match world
            .gate
            .redeem_token(&presenter, &token, Some(&payload_sha256), redeem.redeemed_by)
            .await
        {
            Ok(redeemed) => Answer::Redeemed { first: redeemed.first },
            Err(error) => refused(error)?,
        };
        Ok(Performed { answer: Some(answer), epoch, ..Performed::default() })
    }
}

/// A request, as the model tells it.
pub(super) fn seen(request: &Request) -> Seen {
    seen_of(request.state())
}

fn seen_of(state: &RequestState) -> Seen {
    Seen {
        phase: match state.phase() {
            StatePhase::Pending(pending) => Phase::Pending {
                stage: pending.stage,
                closes_at: pending.closes_at.millis(),
                asked: pending.asked.iter().map(|asked| asked.reviewer.to_string()).collect(),
                deserted: pending.deserted,
            },
            StatePhase::Ended(outcome) => Phase::Ended {
                status: outcome.status().as_str().to_owned(),
                decided_by: outcome.decided_by.iter().map(ToString::to_string).collect(),
                decided_at: outcome.decided_at.millis(),
            },
        },
        votes: state
            .votes()
            .iter()
            .map(|vote| Vote {
                who: vote.reviewer.to_string(),
                yes: vote.decision == Decision::Approve,
                at: vote.voted_at.millis(),
                stage: vote.stage,
            })
            .collect(),
        redeemed: state
            .redemption()
            .map(|redemption| (redemption.redeemed_by.clone(), redemption.redeemed_at.millis())),
        callbacks: state.callbacks().to_vec(),
        updated_at: state.updated_at().millis(),
    }
}

/// When its stage closes, or its token's time is over.
fn edge(request: &Request) -> Option<Timestamp> {
    match (request.pending(), request.claims()) {
        (Some(pending), _) => Some(pending.closes_at),
        (None, Some(claims)) => Some(Timestamp::from_millis(claims.exp * 1000)),
        (None, None) => None,
    }
}

fn changed(result: Result<Request, Error>) -> Result<Answer, String> {
    result.map_or_else(refused, |request| Ok(Answer::Seen(seen(&request))))
}

fn refused(error: Error) -> Result<Answer, String> {
    match error {
        Error::Refused(refusal) => Ok(Answer::Refused(refusal.code())),
        Error::Ended(request) => Ok(Answer::Ended(seen(&request))),
        Error::Fault(_) => Err(told(&error)),
    }
}

fn told(error: &Error) -> String {
    match error {
        Error::Fault(fault) => fault.chain(),
        Error::Refused(_) | Error::Ended(_) => error.to_string(),
    }
}

fn quietly(result: Result<(), Error>) -> Result<Performed, String> {
    result.map(|()| Performed::default()).map_err(|error| told(&error))
}

fn decision(yes: bool) -> Decision {
    if yes { Decision::Approve } else { Decision::Reject }
}

fn name(key: Key) -> RequestId {
    RequestId::parse(key.1).unwrap()
}

/// The client that shows a token.
pub(super) fn presenter(key: Key, by: By) -> &'static str {
    match by {
        By::Asker => key.0,
        By::Other => other(key.0),
        By::Executor => "payments",
    }
}

fn other(client: &str) -> &'static str {
    if client == "n8n" { "bot" } else { "n8n" }
}

fn payload(amount: u32) -> Value {
    json!({ "amount": amount })
}
