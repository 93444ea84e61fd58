//! Asking: check the question, let the policy decide or find who is asked, write it once.

use std::collections::BTreeMap;
use std::sync::Arc;

use placet_core::id::{ApprovalId, RequestId};
use placet_core::payload::{Payload, sha256_hex};
use placet_core::policy::ClientRole;
use placet_core::refusal::Refusal;
use placet_core::request::{NewRequest, Request};
use placet_core::token::TokenKind;
use serde_json::json;

use crate::authenticate::Caller;
use crate::ports::{Commit, Committed, Measurement, Quota, RequestWrite};
use crate::{Error, Fault, Gate, random_bits, tokens};

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

impl RequestFields {
    /// Digest of the question: the same for a retry, another for another question under the same name.
    fn digest(&self) -> String {
        let question = json!({
            "summary": self.summary,
            "action": self.action,
            "payload": self.payload.sha256(),
            "timeout_seconds": self.timeout_seconds,
            "callback_url": self.callback_url,
            "metadata": self.metadata,
        });
        sha256_hex(question.to_string().as_bytes())
    }
}

impl Gate {
    /// Takes a question, or finds what the same question came to before.
    ///
    /// Refuses with `forbidden`, `invalid_request`, `request_id_conflict` or `rate_limited`.
    pub async fn ask(&self, caller: &Caller, fields: RequestFields) -> Result<Asking, Error> {
        caller.must_be(ClientRole::Requester)?;
        if let Some(url) = &fields.callback_url {
            self.check_url(caller, url).map_err(|why| Refusal::field("callback_url", why))?;
        }
        let digest = fields.digest();
        let keyring = self.keys.keyring().await?;
        let policy = &caller.policy;
        let now = self.clock.now();
        let ask = NewRequest {
            approval_id: ApprovalId::from_parts(now, random_bits()?),
            request_id: fields.request_id,
            question_sha256: digest.clone(),
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
        let (asked, mut change) = Request::open(ask, &caller.client, policy, now);
        let mut request = Request { asked, life: change.life.clone(), version: 1 };
        let token = tokens::mint(&request, policy, &keyring, None)?;
        let audit =
            change.chain(&request.asked, token.as_deref().map(placet_core::token::token_hash).as_deref());
        request.life = change.life.clone();
        let outgoing = self.messages(&request, &change.effects, policy, now).await?;
        let commit = Commit {
            request: Some(RequestWrite::Insert { asked: Arc::clone(&request.asked), life: change.life }),
            audit,
            outgoing: outgoing.clone(),
            quota: Some(Quota {
                client: caller.client.id.clone(),
                minute: now.seconds().div_euclid(60),
                limit: caller.client.rate_per_minute,
            }),
            ..Commit::default()
        };
        match self.store.commit(commit).await? {
            Committed::Done { pending_twin } => {
                self.meter.record(&Measurement::Asked);
                self.saw_end(&request);
                self.after(&request, outgoing).await;
                Ok(Asking { request, is_new: true, pending_twin })
            }
            Committed::Lost(winner) => {
                if winner.asked.question_sha256 != digest {
                    return Err(Refusal::RequestIdConflict.into());
                }
                let request = if winner.is_overdue(now) { self.settle(*winner).await? } else { *winner };
                Ok(Asking { request, is_new: false, pending_twin: None })
            }
            Committed::OverQuota => {
                let into_minute = now.seconds().rem_euclid(60);
                let retry_after_seconds = u32::try_from(60 - into_minute).unwrap_or(60);
                Err(Refusal::RateLimited { retry_after_seconds }.into())
            }
            Committed::Late | Committed::ChainMoved => {
                Err(Fault::bare("a new request met an audit chain that is not new").into())
            }
        }
    }
}
