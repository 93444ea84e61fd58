//! Push is switched on and off, per device, in a reviewer's inbox.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use placet_core::Refusal;
use placet_core::refusal::FieldError;
use placet_gate::push::UnverifiedDevice;
use placet_gate::{Error, Gate};
use serde::Serialize;

use crate::call::{LinkText, read_body};
use crate::client::{check_url, json};
use crate::problem::Problem;
use crate::wire::PushForm;

/// The largest form that is read, in bytes: an address of 2,048 characters, each of which may be escaped.
const FORM_LIMIT: usize = 16 * 1024;

/// The longest device id that is read.
const ID_CHARS: usize = 64;

/// How push stands on the device that asked.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct PushAnswer {
    /// Whether this device is told by push from now on.
    on: bool,
    /// What the gate calls the device: the first 32 hex digits of the SHA-256 of its address.
    device: String,
}

/// Switches push on or off for one device of the inbox's reviewer.
///
/// The inbox's script calls it. Only where the policy names `push` in the reviewer's `channels`.
#[utoipa::path(post, path = "/inbox/{link}/push", operation_id = "switch_push", tag = "reviewers", security(()),
    params(("link" = String, Path, description = "the reviewer's own inbox link")),
    request_body(content = PushForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "recorded", body = PushAnswer),
        (status = 404, description = "`not_found`: nobody's link, or no push for this reviewer", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "`link_expired`", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "`payload_too_large`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`invalid_request`: nothing was recorded", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`rate_limited`: switched too often today", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`no_policy` or `unavailable`", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn switch(
    State(gate): State<Arc<Gate>>,
    LinkText(link): LinkText,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let form = match read_body(&headers, body, FORM_LIMIT).await {
        Ok(body) => Form::read(&body),
        Err(problem) => return problem.into_response(),
    };
    match take(&gate, &link, form).await {
        Ok(answer) => json(StatusCode::OK, &answer),
        Err(error) => Problem::from(error).into_response(),
    }
}

async fn take(gate: &Gate, link: &str, form: Form) -> Result<PushAnswer, Error> {
    let person = gate.push_reviewer(link, &form.nonce).await?;
    if let Some(device) = form.off {
        if device.len() > ID_CHARS {
            return Err(Refusal::field("off", "must be the id of a device").into());
        }
        gate.switch_push_off(&person, &device).await?;
        return Ok(PushAnswer { on: false, device });
    }
    let mut errors = Vec::new();
    if let Err(why) = check_url(&form.device.endpoint, &person.callback_hosts) {
        errors.push(FieldError::new("endpoint", why));
    }
    let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
    let point = bytes(&form.device.p256dh);
    if point.len() != 65 || point.first() != Some(&4) {
        errors.push(FieldError::new("p256dh", "must be a point of P-256, 65 bytes in base64url"));
    }
    if bytes(&form.device.auth).len() != 16 {
        errors.push(FieldError::new("auth", "must be 16 bytes in base64url"));
    }
    if !errors.is_empty() {
        return Err(Refusal::InvalidRequest(errors).into());
    }
    let device = gate.switch_push_on(&person, form.device).await?;
    Ok(PushAnswer { on: true, device })
}

/// A form of the inbox's script.
struct Form {
    nonce: String,
    off: Option<String>,
    device: UnverifiedDevice,
}

impl Form {
    fn read(body: &[u8]) -> Self {
        let mut device =
            UnverifiedDevice { endpoint: String::new(), p256dh: String::new(), auth: String::new() };
        let (mut nonce, mut off) = (String::new(), None);
        for (key, value) in form_urlencoded::parse(body) {
            let value = value.into_owned();
            match key.as_ref() {
                "nonce" => nonce = value,
                "off" => off = Some(value),
                "endpoint" => device.endpoint = value,
                // Some browsers pad.
                "p256dh" => value.trim_end_matches('=').clone_into(&mut device.p256dh),
                "auth" => value.trim_end_matches('=').clone_into(&mut device.auth),
                _ => {}
            }
        }
        Self { nonce, off, device }
    }
}
