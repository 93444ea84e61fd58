//! Refused attempts are entries of the trail: votes that came too late or by whoever may not, uses of tokens, keys that are
//! tried.
//!
//! An attempt costs whoever makes it nothing, so none is an entry for each time: a vote is one for each request, person,
//! word and cause, a use of a token one for each request, client and cause, and bursts of wrong keys are entries at every tenfold within an hour.

use std::sync::Arc;

use placet_core::Timestamp;
use placet_core::audit::{AuditEventKind, Channel};
use placet_core::id::ClientId;
use placet_core::policy::{Decision, Policy};
use placet_core::refusal::Refusal;
use placet_core::request::{Decider, Request, Status};

use crate::authenticate::Caller;
use crate::chat::STRANGER_MS;
use crate::commit::{GateAct, Step};
use crate::{Error, Fault, Gate, MAX_RACES};

/// How many bursts of one hour are an entry, besides the first.
const STEPS: [u32; 6] = [1, 10, 100, 1_000, 10_000, 100_000];

const HOUR_MS: i64 = 60 * 60_000;

/// Who tried to decide, and what.
pub(crate) struct Attempt<'a> {
    /// A reviewer's id, or `client:<id>`.
    pub(crate) by: String,
    /// What they wanted.
    pub(crate) decision: Decision,
    /// By which way.
    pub(crate) channel: Channel,
    /// The request as it was when they tried.
    pub(crate) request: &'a Request,
}

impl Attempt<'_> {
    /// Whether they have said so before: who presses twice attempts nothing.
    fn repeats(&self, request: &Request) -> bool {
        let voted = request
            .state()
            .votes()
            .iter()
            .any(|vote| vote.reviewer.as_str() == self.by && vote.decision == self.decision);
        voted
            || request.outcome().is_some_and(|outcome| {
                let same = match self.decision {
                    Decision::Approve => Status::Approved,
                    Decision::Reject => Status::Rejected,
                };
                let is_theirs = |decider: &Decider| match decider {
                    Decider::Client(client) => self.by == format!("client:{client}"),
                    Decider::Reviewer(_) | Decider::Operator | Decider::Policy(_) | Decider::Timeout(_) => {
                        false
                    }
                };
                outcome.status() == same && outcome.decided_by.iter().any(is_theirs)
            })
    }
}

impl Gate {
    /// Notes what somebody who is known was refused: because it was too late, or because they may not. What cannot be
    /// noted is logged: they get the answer that they would get anyway.
    pub(crate) async fn note_refused(&self, attempt: &Attempt<'_>, policy: &Arc<Policy>, error: &Error) {
        let (request, why) = match error {
            Error::Ended(ended) => (ended.as_ref(), Refusal::AlreadyDecided),
            Error::Refused(why @ (Refusal::LinkExpired | Refusal::Forbidden(_))) => {
                (attempt.request, why.clone())
            }
            Error::Refused(_) | Error::Fault(_) => return,
        };
        if attempt.repeats(request) {
            return;
        }
        if let Err(error) = self.keep_refused(attempt, policy, request, &why).await {
            tracing::error!(error = error.chain(), "that a vote was refused could not be recorded");
        }
    }

    async fn keep_refused(
        &self,
        attempt: &Attempt<'_>,
        policy: &Arc<Policy>,
        request: &Request,
        why: &Refusal,
    ) -> Result<(), Error> {
        let Attempt { by, decision, channel, .. } = attempt;
        let approval = attempt.request.asked().approval_id.clone();
        let mark = format!("vote-refused/{approval}/{by}/{}/{}", decision.as_str(), why.code());
        if !self.store.mark(&mark, self.clock.now().plus_millis(STRANGER_MS)).await? {
            return Ok(());
        }
        self.change_loaded(request.clone(), policy, |request, _, now| {
            // It may have been purged and asked anew.
            if request.asked().approval_id != approval {
                return Ok(Step::Leave);
            }
            Ok(Step::Write(Box::new(request.refuse_vote(by, *decision, why, *channel, now))))
        })
        .await
        .map(drop)
    }

    /// Notes that a client was refused the use of that request's token. What cannot be noted is logged.
    ///
    /// `cause` names it for whoever tries again: what they call themselves is theirs to choose, and must not fill the trail.
    pub(crate) async fn note_refused_token(
        &self,
        caller: &Caller,
        request: &Request,
        redeemed_by: &str,
        cause: &str,
        why: &str,
    ) {
        let kept = async {
            let (approval, client) = (request.asked().approval_id.clone(), &caller.client.id);
            let mark = format!("token-refused/{approval}/{client}/{cause}");
            if !self.store.mark(&mark, self.clock.now().plus_millis(STRANGER_MS)).await? {
                return Ok(());
            }
            self.change_loaded(request.clone(), &caller.policy, |request, _, now| {
                // It may have been purged and asked anew.
                if request.asked().approval_id != approval {
                    return Ok(Step::Leave);
                }
                Ok(Step::Write(Box::new(request.refuse_token(client, redeemed_by, why, now))))
            })
            .await
            .map(drop)
        };
        if let Err(error) = kept.await {
            let error: Error = error;
            tracing::error!(error = error.chain(), "that a token was refused could not be recorded");
        }
    }

    /// Notes one more burst of wrong signatures or keys, of so many: the first, the tenth, the hundredth… of an hour.
    pub(crate) async fn note_burst(&self, client: &ClientId, size: u32, now: Timestamp) {
        if let Err(fault) = self.keep_burst(client, size, now).await {
            tracing::error!(error = fault.chain(), "wrong signatures could not be recorded");
        }
    }

    async fn keep_burst(&self, client: &ClientId, size: u32, now: Timestamp) -> Result<(), Fault> {
        let hour = now.millis().div_euclid(HOUR_MS);
        let over = Timestamp::from_millis(hour.saturating_add(2).saturating_mul(HOUR_MS));
        let bursts = self.store.tally(&format!("signatures-refused/{client}/{hour}"), over).await?;
        if !STEPS.contains(&bursts) {
            return Ok(());
        }
        let subject = format!("signatures-{client}");
        for _ in 0..MAX_RACES {
            let act = GateAct {
                kind: AuditEventKind::SignatureRefused,
                actor: "unknown".to_owned(),
                channel: Channel::Api,
                detail: format!(
                    "{} requests within an hour claimed to be {client}, with a wrong signature or key",
                    bursts.saturating_mul(size)
                ),
                policy: None,
                messages: Vec::new(),
            };
            let chain = self.store.chain(&subject).await?;
            if self.append(&subject, chain, act, now).await? {
                return Ok(());
            }
        }
        Err(Fault::bare("an audit chain is being written too often by others"))
    }
}
