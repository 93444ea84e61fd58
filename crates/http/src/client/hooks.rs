//! `/v1/hooks`: subscribe a URL to events, and end that.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use placet_core::Refusal;
use placet_core::id::HookId;
use placet_gate::hooks::HookEvent;
use placet_gate::{Caller, Gate};

use super::{check_callback_url, json};
use crate::call::{Call, Endpoint, Name};
use crate::fields::Fields;
use crate::problem::Problem;
use crate::wire::{HookView, NewHook};

/// `/v1/hooks`.
pub(crate) struct Subscribing;

impl Endpoint for Subscribing {
    fn admit(caller: &Caller) -> Result<(), Refusal> {
        caller.may_subscribe()
    }
}

/// Subscribes a URL to events of the client's own requests; an auditor's hears of all.
#[utoipa::path(post, path = "/v1/hooks", tag = "hooks", request_body = NewHook,
    responses((status = 201, description = "subscribed", body = HookView)))]
pub(crate) async fn subscribe(
    State(gate): State<Arc<Gate>>,
    call: Call<Subscribing>,
) -> Result<Response, Problem> {
    let mut fields = Fields::read(&call.body)?;
    let url = fields.required_text("url", 1, 2048);
    let url = fields.parsed("url", url, |url| check_callback_url(url, &call.caller).map(|()| url.to_owned()));
    let mut events =
        fields.required_list("events", HookEvent::parse, "`approval.requested`, `approval.decided`");
    fields.finish()?;
    events.sort_unstable();
    events.dedup();
    let hook = gate.subscribe(&call.caller, url.unwrap_or_default(), events).await?;
    Ok(json(StatusCode::CREATED, &HookView::from(hook)))
}

/// Ends a subscription.
#[utoipa::path(delete, path = "/v1/hooks/{hook_id}", tag = "hooks",
    params(("hook_id" = String, Path, description = "its name")),
    responses((status = 204, description = "ended"),
        (status = 404, description = "`not_found`", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn unsubscribe(
    State(gate): State<Arc<Gate>>,
    Name(name): Name,
    call: Call,
) -> Result<Response, Problem> {
    let hook = HookId::parse(&name).map_err(|_| Refusal::NotFound)?;
    gate.unsubscribe(&call.caller, &hook).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
