//! Asking: check the question, let the policy decide or find who is asked, write it once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use placet_core::Timestamp;
use placet_core::id::{ApprovalId, ClientId, RequestId, RequestKey};
use placet_core::payload::Payload;
use placet_core::policy::{ClientRole, Earlier, Policy, Question};
use placet_core::refusal::Refusal;
use placet_core::request::{NewRequest, Request};
use placet_core::token::TokenKind;

use crate::authenticate::Caller;
use crate::commit::{Step, Written};
use crate::pause::refuse_paused;
use crate::ports::{Measurement, Quota};
use crate::{Error, Fault, Gate, MAX_RACES, random_bits};

/// A question whose fields have their form.
#[derive(Clone, Debug)]
pub struct RequestFields {
    /// The client's name for it.
    pub request_id: RequestId,
    /// The agent's words, 1–500 characters.
    pub summary: String,
    /// Dotted name of what will be done.
    pub action: String,
    /// What will be done.
    pub payload: Payload,
    /// The caller's own limit, in seconds.
    pub timeout_seconds: Option<u32>,
    /// Where the outcome is posted to.
    pub callback_url: Option<String>,
    /// The caller's labels.
    pub metadata: BTreeMap<String, String>,
}

/// What asking came to.
#[derive(Clone, Debug)]
pub struct Asking {
    /// The request: new, or the one that the same question made before.
    pub request: Request,
    /// Whether it is new.
    pub is_new: bool,
    /// An older request of this client, with the same action and payload, that still waits.
    pub pending_twin: Option<RequestId>,
}

/// How many pairs of client and action take turns at once before all begin anew.
const MOST_TURNS: usize = 10_000;

/// Whose turn it is, where people take turns: counted for each client and action, in this process.
///
/// Each process begins somewhere else, so that the first of a list is not asked by all of them.
#[derive(Default)]
pub(crate) struct Turns(Mutex<HashMap<(ClientId, String), u64>>);

impl Turns {
    fn next(&self, client: &ClientId, action: &str) -> Result<u64, Fault> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (client.clone(), action.to_owned());
        let turn = match turns.get(&key) {
            Some(turn) => turn.wrapping_add(1),
            #[expect(clippy::cast_possible_truncation, reason = "32 random bits are enough")]
            None => u64::from(random_bits()? as u32),
        };
        if turns.len() >= MOST_TURNS {
            turns.clear();
        }
        turns.insert(key, turn);
        Ok(turn)
    }
}

impl Gate {
    /// Takes a question, or joins the same one that was asked before under this name.
    ///
    /// Refuses with `forbidden`, `invalid_request`, `request_id_conflict` or `rate_limited`. While a reviewer has paused the
    /// client, only what was asked before is answered.
    pub async fn ask(&self, caller: &Caller, fields: RequestFields) -> Result<Asking, Error> {
        caller.must_be(ClientRole::Requester)?;
        let keyring = self.keys.keyring().await?;
        let policy = &caller.policy;
        let now = self.clock.now();
        let callback_url = fields.callback_url.clone();
        if let Err(paused) = refuse_paused(policy, &caller.client.id, now) {
            let key = RequestKey::of(&caller.client.id, &fields.request_id);
            let known = self.store.load(key).await?.ok_or(paused)?;
            if !known.asked().is_same_question(&fields.action, &fields.payload.sha256()) {
                return Err(Refusal::RequestIdConflict.into());
            }
            let request = self.join(caller, known, callback_url.as_deref()).await?;
            return Ok(Asking { request, is_new: false, pending_twin: None });
        }
        let new = NewRequest {
            approval_id: ApprovalId::from_parts(now, random_bits()?),
            request_id: fields.request_id,
            action: fields.action,
            summary: fields.summary,
            payload: fields.payload,
            metadata: fields.metadata,
            callback_url: fields.callback_url,
            timeout_ms: fields.timeout_seconds.map(|seconds| i64::from(seconds) * 1000),
            issuer: self.base_url(policy),
            epoch: match caller.client.token {
                TokenKind::Hs256 => caller.epoch,
                TokenKind::EdDsa => keyring.current.number,
            },
        };
        let (action, payload_sha256) = (new.action.clone(), new.payload.sha256());
        let quota = Quota {
            client: caller.client.id.clone(),
            minute: now.seconds().div_euclid(60),
            limit: caller.client.rate_per_minute,
            max_pending: caller.client.max_pending,
        };
        let turn = self.turns.next(&caller.client.id, &new.action)?;
        let mut written = Written::TotalsMoved;
        for _ in 0..MAX_RACES {
            // Each time anew: what was asked meanwhile counts, so that two halves of a payment never both pass below.
            let (earlier, seen) = self.earlier(&new, &caller.client.id, policy, now).await?;
            let opened = Request::open_after(new.clone(), &caller.client, policy, &earlier, turn, now);
            let prepared = self.prepare_new(opened, policy, quota.clone(), seen).await?;
            written = self.write(prepared).await?;
            if !matches!(written, Written::TotalsMoved) {
                break;
            }
        }
        match written {
            Written::Yes(request, pending_twin) => {
                self.metrics.record(&Measurement::Asked);
                Ok(Asking { request, is_new: true, pending_twin })
            }
            Written::Lost(winner) => {
                if !winner.asked().is_same_question(&action, &payload_sha256) {
                    return Err(Refusal::RequestIdConflict.into());
                }
                let request = self.join(caller, winner, callback_url.as_deref()).await?;
                Ok(Asking { request, is_new: false, pending_twin: None })
            }
            Written::OverQuota => {
                let into_minute = now.seconds().rem_euclid(60);
                let retry_after_seconds = u32::try_from(60 - into_minute).unwrap_or(60);
                Err(Refusal::RateLimited { retry_after_seconds }.into())
            }
            Written::TooManyPending => {
                Err(Refusal::TooManyPending { max_pending: caller.client.max_pending }.into())
            }
            Written::TotalsMoved => {
                Err(Fault::bare("too many of this client's requests are being added up at once").into())
            }
            Written::Late | Written::PolicyMoved => {
                Err(Fault::bare("a new request was refused for a condition that it does not have").into())
            }
        }
    }

    /// What earlier requests add up to, as far as the rule for this one depends on it, and how fresh that is.
    ///
    /// A question that meets no total on its way through the rules costs no read, and waits for no other that adds up.
    async fn earlier(
        &self,
        new: &NewRequest,
        client: &ClientId,
        policy: &Policy,
        now: Timestamp,
    ) -> Result<(Earlier, Vec<(String, u64)>), Error> {
        let mut earlier = Earlier::new();
        let mut seen = Vec::new();
        if policy.gauges().is_empty() {
            return Ok((earlier, seen));
        }
        let payload = new.payload.value();
        let question = Question {
            client: client.as_str(),
            action: &new.action,
            summary: &new.summary,
            payload: &payload,
            metadata: &new.metadata,
            now,
        };
        let deciding = policy.deciding_meters();
        loop {
            let _ = policy.evaluate_after(&question, &earlier);
            let unread = earlier.take_unread();
            let all = unread.deciding.into_iter().chain(unread.observing);
            let meters: BTreeSet<_> = all.map(|gauge| gauge.meter).collect();
            if meters.is_empty() {
                return Ok((earlier, seen));
            }
            for meter in meters {
                // One read for all of the meter's whiles: so an account is seen in one version.
                let of_one: Vec<_> =
                    policy.gauges().iter().filter(|gauge| gauge.meter == meter).cloned().collect();
                let account = meter.account(client, &question);
                let since: Vec<_> = of_one.iter().map(|gauge| now.plus_millis(-gauge.window_ms)).collect();
                let tallied = self.store.tallied(&account, &since).await?;
                for (gauge, sum) in of_one.into_iter().zip(tallied.sums) {
                    earlier.insert(gauge, sum);
                }
                // What only observes waits for no other question.
                if deciding.contains(&meter) {
                    seen.push((account, tallied.version));
                }
            }
        }
    }

    /// The same question again: its caller is called back too, also when the request has ended meanwhile.
    async fn join(
        &self,
        caller: &Caller,
        request: Request,
        callback_url: Option<&str>,
    ) -> Result<Request, Error> {
        let approval = request.asked().approval_id.clone();
        let (request, _) = self
            .change_loaded(request, &caller.policy, |request, _, now| {
                // Between two tries the request could have been purged and asked anew: then it is another question.
                if request.asked().approval_id != approval {
                    return Err(Refusal::RequestIdConflict);
                }
                let joined = request.join(callback_url, now)?;
                Ok(joined.map_or(Step::Leave, |transition| Step::Write(Box::new(transition))))
            })
            .await?;
        Ok(request)
    }
}
