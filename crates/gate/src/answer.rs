//! A decider answers for a request that waits in one of its queues.

use placet_core::audit::Channel;
use placet_core::id::{ClientId, RequestId, RequestKey};
use placet_core::policy::{ClientRole, Decision};
use placet_core::refusal::Refusal;
use placet_core::request::Request;

use crate::authenticate::Caller;
use crate::commit::Step;
use crate::refused::Attempt;
use crate::{Error, Gate};

impl Gate {
    /// A decider's word is the outcome of a request that waits in one of its queues; 404 for anything else.
    ///
    /// `client` says whose `request_id` is meant, if several clients use it.
    pub async fn answer(
        &self,
        caller: &Caller,
        request_id: &RequestId,
        client: Option<&ClientId>,
        decision: Decision,
        reason: Option<String>,
    ) -> Result<Request, Error> {
        caller.must_be(ClientRole::Decider)?;
        let request = self.in_a_queue_of(caller, request_id, client).await?;
        let answered = self
            .change_loaded(request.clone(), &caller.policy, |request, policy, now| {
                // The policy may have changed since the call was checked: the decider is asked for anew.
                let decider = policy.client(&caller.client.id).ok_or(Refusal::NotFound)?;
                let transition = request.answer(decider, decision, reason.clone(), policy, now)?;
                Ok(Step::Write(Box::new(transition)))
            })
            .await;
        if let Err(error) = &answered {
            let by = format!("client:{}", caller.client.id);
            let attempt = Attempt { by, decision, channel: Channel::Api, request: &request };
            self.note_refused(&attempt, &caller.policy, error).await;
        }
        Ok(answered?.0)
    }

    /// The request of that name that is, or ended, in a queue of this decider.
    async fn in_a_queue_of(
        &self,
        caller: &Caller,
        request_id: &RequestId,
        client: Option<&ClientId>,
    ) -> Result<Request, Error> {
        let askers = caller.policy.clients.iter().filter(|asker| asker.has(ClientRole::Requester));
        let askers = askers.filter(|asker| client.is_none_or(|client| asker.id == *client));
        let mut found = Vec::new();
        for asker in askers {
            let request = self.store.load(RequestKey::of(&asker.id, request_id)).await?;
            found.extend(request.filter(|request| {
                let queue = request.state().stage().and_then(|stage| request.asked().stage_queue(stage));
                queue.is_some_and(|queue| caller.client.answers_for(queue))
            }));
        }
        // Of several clients' requests, the one that waits is what a decider can mean.
        if found.len() > 1 && found.iter().any(|request| request.pending().is_some()) {
            found.retain(|request| request.pending().is_some());
        }
        match found.len() {
            0 => Err(Refusal::NotFound.into()),
            1 => found.pop().ok_or_else(|| Refusal::NotFound.into()),
            _ => Err(Refusal::field(
                "client",
                "must say whose request is meant: several clients use this name",
            )
            .into()),
        }
    }
}
