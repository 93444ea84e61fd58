//! `/v1/tokens`: check one, use one.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use placet_core::Refusal;
use placet_core::payload::Payload;
use placet_gate::Gate;

use super::json;
use crate::call::Call;
use crate::fields::Fields;
use crate::problem::Problem;
use crate::wire::{NewRedemption, RedemptionAnswer, TokenAnswer, TokenQuestion};

/// Checks a token: signature, audience, time, payload, outcome, and the gate's own record.
#[utoipa::path(post, path = "/v1/tokens/verify", tag = "tokens", request_body = TokenQuestion,
    responses((status = 200, description = "what the gate says of it", body = TokenAnswer),
        (status = 413, description = "`payload_too_large`", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn verify(State(gate): State<Arc<Gate>>, call: Call) -> Result<Response, Problem> {
    let mut fields = Fields::read(&call.body)?;
    let (token, digest) = token_and_digest(&mut fields)?;
    fields.finish()?;
    let answer = gate.verify_token(&call.caller, &token, digest.as_deref()).await?;
    let body = TokenAnswer {
        valid: answer.problem.is_none(),
        problem: answer.problem.map(placet_core::token::TokenProblem::code),
        claims: answer.claims,
    };
    Ok(json(StatusCode::OK, &body))
}

/// Uses a token, once: what an executor does right before it acts.
#[utoipa::path(post, path = "/v1/tokens/redeem", tag = "tokens", request_body = NewRedemption,
    responses((status = 200, description = "it may be acted on", body = RedemptionAnswer),
        (status = 409, description = "`already_redeemed`, `not_approved`, `payload_mismatch` or `token_expired`", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "`payload_too_large`", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn redeem(State(gate): State<Arc<Gate>>, call: Call) -> Result<Response, Problem> {
    let mut fields = Fields::read(&call.body)?;
    let (token, digest) = token_and_digest(&mut fields)?;
    let redeemed_by = fields.required_text("redeemed_by", 1, 200);
    fields.finish()?;
    let redeemed_by = redeemed_by.unwrap_or_default();
    let redeemed = gate.redeem_token(&call.caller, &token, digest.as_deref(), &redeemed_by).await?;
    let body = RedemptionAnswer { first: redeemed.first, claims: redeemed.claims };
    Ok(json(StatusCode::OK, &body))
}

fn token_and_digest(fields: &mut Fields) -> Result<(String, Option<String>), Refusal> {
    let token = fields.required_text("token", 0, usize::MAX).unwrap_or_default();
    let digest = match fields.object_or_absent("payload") {
        Some(payload) => fields.absorb(Payload::new(&payload))?.map(|payload| payload.sha256()),
        None => None,
    };
    Ok((token, digest))
}
