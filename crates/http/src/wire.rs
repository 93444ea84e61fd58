//! The JSON names: the one shape of an approval, and the bodies of callbacks, hooks and queue messages.

use std::collections::BTreeMap;

use placet_core::request::{ApprovalRequest, Decider, RequestState, Status, Vote};
use placet_core::token::Claims;
use placet_core::words::title::field_in_words;
use placet_gate::hooks::Hook;
use placet_gate::{ApprovalView, QueueItem, WebhookEvent};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::schema::Type;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};

/// An approval: what every response, callback and hook carries.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Approval {
    /// The client's name for the request.
    pub request_id: String,
    /// The gate's name for it, a ULID.
    pub approval_id: String,
    /// Who asked.
    pub client: String,
    /// `pending`, `approved`, `rejected`, `expired` or `cancelled`.
    #[schema(value_type = StatusName)]
    pub status: &'static str,
    /// True only for `approved`.
    pub approved: bool,
    /// Dotted name of what will be done.
    pub action: String,
    /// The gate's own words for it, made from the payload.
    pub title: String,
    /// The agent's own words.
    pub summary: String,
    /// Hex SHA-256 of the payload's canonical JSON (RFC 8785).
    pub payload_sha256: String,
    /// What is approved, where a reviewer has changed what was asked: act on this, and verify the token with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub payload: Option<Value>,
    /// What a reviewer has changed, in words, by the path of the field: only where one has.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(required = false)]
    pub changes: BTreeMap<String, String>,
    /// The caller's labels, as they came.
    pub metadata: BTreeMap<String, String>,
    /// The policy's rule that applied; null where none matched.
    pub rule: Option<String>,
    /// Number of the stage that asks, or asked last, from 1; null where policy decided alone.
    #[schema(minimum = 1)]
    pub stage: Option<usize>,
    /// When it was taken.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it ends at the latest; null where policy decided alone.
    #[schema(format = DateTime)]
    pub deadline: Option<String>,
    /// When it ended.
    #[schema(format = DateTime)]
    pub decided_at: Option<String>,
    /// Who ended it: reviewer ids, `policy:<rule>`, `timeout:<rule>` or `client:<id>`.
    pub decided_by: Vec<String>,
    /// Why, in the decider's words.
    pub reason: Option<String>,
    /// Who has spoken.
    pub votes: Vec<VoteView>,
    /// The decision token, once it has ended. An auditor's hook does not get it.
    pub token: Option<String>,
    /// Where the client can ask again.
    pub status_url: String,
    /// An older request of the same client, with the same action and payload, that still waits. Only in the answer to
    /// a new request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending_twin: Option<String>,
}

/// The states of a request, for the OpenAPI document: the list is [`Status::ALL`].
pub(crate) struct StatusName;

impl utoipa::PartialSchema for StatusName {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("Where a request stands."))
            .enum_values(Some(Status::ALL.map(Status::as_str)))
            .into()
    }
}

impl ToSchema for StatusName {
    fn name() -> std::borrow::Cow<'static, str> {
        "Status".into()
    }
}

/// What a reviewer has changed: the field's path, and what was asked and is approved in words.
fn changes(asked: &ApprovalRequest, state: &RequestState) -> BTreeMap<String, String> {
    let Some(change) = state.change() else { return BTreeMap::new() };
    let (before, after) = (asked.shown(&asked.payload), asked.shown(&change.payload));
    change
        .fields
        .iter()
        .map(|path| {
            let (was, now) = (field_in_words(path, &before), field_in_words(path, &after));
            (path.to_string(), format!("{was} became {now}, changed by {}", change.by))
        })
        .collect()
}

/// One reviewer's word.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VoteView {
    /// Who.
    pub reviewer: String,
    /// `approve` or `reject`.
    pub decision: &'static str,
    /// Why.
    pub reason: Option<String>,
    /// When.
    #[schema(format = DateTime)]
    pub voted_at: String,
}

impl From<&Vote> for VoteView {
    fn from(vote: &Vote) -> Self {
        Self {
            reviewer: vote.reviewer.to_string(),
            decision: vote.decision.as_str(),
            reason: vote.reason.clone(),
            voted_at: vote.voted_at.to_string(),
        }
    }
}

impl Approval {
    /// The shape of that request.
    pub fn of(view: &ApprovalView<'_>) -> Self {
        let ApprovalView { asked, state, token, base_url } = view;
        let (status, outcome) = (state.status(), state.outcome());
        Self {
            request_id: asked.request_id.to_string(),
            approval_id: asked.approval_id.to_string(),
            client: asked.client.to_string(),
            status: status.as_str(),
            approved: status == Status::Approved,
            action: asked.action.clone(),
            title: asked.headline_of(state.payload(asked)).into_owned(),
            summary: asked.shown_summary().to_owned(),
            payload_sha256: state.payload_sha256(asked).to_owned(),
            payload: state.change().map(|change| change.payload.value()),
            changes: changes(asked, state),
            metadata: asked.metadata.clone(),
            rule: asked.rule.clone(),
            stage: state.stage().map(|stage| stage.saturating_add(1)),
            created_at: asked.created_at.to_string(),
            deadline: asked.deadline.map(|at| at.to_string()),
            decided_at: outcome.map(|outcome| outcome.decided_at.to_string()),
            decided_by: outcome.map(|outcome| names(&outcome.decided_by)).unwrap_or_default(),
            reason: outcome.and_then(|outcome| outcome.reason.clone()),
            votes: state.votes().iter().map(VoteView::from).collect(),
            token: token.map(str::to_owned),
            status_url: format!("{base_url}/v1/requests/{}", asked.request_id),
            pending_twin: None,
        }
    }
}

fn names(deciders: &[Decider]) -> Vec<String> {
    deciders.iter().map(ToString::to_string).collect()
}

/// [`Approval`] as JSON.
pub fn approval(view: &ApprovalView<'_>) -> Value {
    json!(Approval::of(view))
}

/// The body of a callback or hook: Standard Webhooks' `type`, `timestamp` and `data`.
pub fn event(event: &WebhookEvent<'_>) -> String {
    json!({
        "type": event.event.as_str(),
        "timestamp": event.happened_at.to_string(),
        "data": approval(&event.view),
    })
    .to_string()
}

/// What a queue's reader gets: the approval, the payload, and where to answer.
pub fn queue_item(item: &QueueItem<'_>) -> String {
    let QueueItem { stage, view } = item;
    let asked = view.asked;
    json!({
        "approval": approval(view),
        // A system that acts on it needs it whole: what people must not see is masked for people only.
        "payload": view.state.payload(asked).value(),
        "stage": stage.saturating_add(1),
        "answer_until": asked.stage_closes_at(*stage).to_string(),
        "decision_url": format!("{}/v1/requests/{}/decision?client={}", view.base_url, asked.request_id, asked.client),
    })
    .to_string()
}

/// The answer to a list.
#[derive(Serialize, ToSchema)]
pub(crate) struct ApprovalList {
    /// Newest first.
    pub(crate) requests: Vec<Approval>,
    /// `cursor` of the next page; null on the last.
    pub(crate) next_cursor: Option<String>,
}

/// What is asked.
#[derive(Deserialize, ToSchema)]
#[expect(
    dead_code,
    reason = "describes the body in the OpenAPI document; `client::requests` reads it field by field"
)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRequest {
    /// The client's own name for it, and its idempotency key.
    #[schema(
        min_length = 1,
        max_length = 128,
        pattern = r"^(\.{0,2}[A-Za-z0-9_:-]|\.{3})[A-Za-z0-9._:-]*$",
        example = "invoice-4711"
    )]
    request_id: String,
    /// What the agent says it wants to do, for the reviewer: quoted, and marked as the agent's.
    #[schema(min_length = 1, max_length = 500, example = "Pay invoice 4711 of ACME")]
    summary: String,
    /// Dotted name of what will be done; `unspecified` if left out.
    #[schema(
        min_length = 1,
        max_length = 128,
        pattern = "^[A-Za-z0-9_:-]+([.][A-Za-z0-9_:-]+)*$",
        example = "invoice.pay"
    )]
    action: Option<String>,
    /// What will be done: at most 64 KiB of JSON. Its digest is in the token. Integers beyond 2^53-1 are refused.
    #[schema(nullable = false)]
    payload: Option<serde_json::Map<String, Value>>,
    /// How long the asker can wait for the outcome; the rule caps it.
    #[schema(minimum = 1, maximum = 2_592_000)]
    timeout_seconds: Option<u32>,
    /// Where the outcome is posted to.
    #[schema(max_length = 2048)]
    callback_url: Option<String>,
    /// How long this call may wait for the outcome.
    #[schema(minimum = 0, maximum = 25)]
    wait_seconds: Option<u32>,
    /// Returned as it came.
    metadata: Option<BTreeMap<String, String>>,
}

/// A decider's word.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "describes the body in the OpenAPI document")]
#[serde(deny_unknown_fields)]
pub(crate) struct NewDecision {
    decision: Word,
    /// Why.
    #[schema(max_length = 500)]
    reason: Option<String>,
    /// Whose request is meant, where several clients use this `request_id`.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,64}$")]
    client: Option<String>,
}

/// The body of a flag.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "describes the body in the OpenAPI document")]
#[serde(deny_unknown_fields)]
pub(crate) struct NewFlag {
    /// Why it was a mistake.
    #[schema(max_length = 500)]
    reason: Option<String>,
    /// Whose request is meant, where several clients use this `request_id`.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,64}$")]
    client: Option<String>,
}

/// The form of a report's page.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "describes the form in the OpenAPI document")]
pub(crate) struct FlagForm {
    /// The `request_id` of the approval that was a mistake.
    flag: String,
    /// Whose request it was.
    client: String,
    /// The one of the page.
    nonce: String,
}

/// The review page's form.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "describes the form in the OpenAPI document")]
pub(crate) struct DecisionForm {
    decision: Press,
    /// Why.
    #[schema(max_length = 500)]
    reason: Option<String>,
    /// A reason that one tap gives; `reason` follows it, after a colon.
    #[schema(max_length = 500)]
    because: Option<String>,
    /// The hidden one of the page, not older than a day.
    nonce: String,
    /// Where the rule says `confirm`: the last four characters of the digest of what is approved.
    #[schema(min_length = 4, max_length = 4)]
    confirm: Option<String>,
    /// Digest of the payload that was seen, where a reviewer may have changed it: an approval of anything else is refused.
    /// A field `edit:payload.…` for each one that is changed, where the rule says `editable`, comes beside these.
    payload_sha256: Option<String>,
}

/// A form of the inbox.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "describes the form in the OpenAPI document")]
pub(crate) struct InboxForm {
    decision: Word,
    /// What is decided: `<link>~<nonce>` of a row, as the inbox has it. Several must ask the very same.
    #[schema(min_items = 1, max_items = 100)]
    row: Vec<String>,
    /// `yes` where several are meant.
    confirmed: Option<String>,
    /// A reason that was tapped; taken for a rejection only.
    why: Option<String>,
    /// Why, in the reviewer's own words; after `why` where both are given.
    #[schema(max_length = 500)]
    reason: Option<String>,
}

/// The inbox's form that says where its reviewer is.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "describes the form in the OpenAPI document")]
pub(crate) struct AwayForm {
    /// The hidden one of the inbox, not older than a day.
    nonce: String,
    /// For how many hours they are away, at most four weeks; 0: they are back.
    #[schema(minimum = 0, maximum = 672)]
    hours: u32,
    /// Who is asked instead: somebody whom the policy allows.
    backup: Option<String>,
}

/// The inbox's form that lifts the reviewer's own pause of a client.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "describes the form in the OpenAPI document")]
pub(crate) struct ResumeForm {
    /// The hidden one of the inbox, not older than a day.
    nonce: String,
    /// Whose pause.
    client: String,
}

/// What the inbox's script says of the browser's push subscription.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "describes the form in the OpenAPI document")]
pub(crate) struct PushForm {
    /// The hidden one of the inbox, not older than a day.
    nonce: String,
    /// Where the push service takes messages for the device: https, not to a private address. To switch on.
    #[schema(max_length = 2048)]
    endpoint: Option<String>,
    /// The device's public key: an uncompressed point of P-256, 65 bytes in base64url. To switch on.
    p256dh: Option<String>,
    /// The secret that the device shares with this gate: 16 bytes in base64url. To switch on.
    auth: Option<String>,
    /// The id of the device that is told no more. To switch off.
    #[schema(max_length = 64)]
    off: Option<String>,
}

/// Yes or no.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Word {
    Approve,
    Reject,
}

/// A receipt: what proves one request's outcome offline.
#[derive(Serialize, ToSchema)]
pub(crate) struct ReceiptView {
    /// `placet-receipt/v1`.
    #[serde(rename = "type")]
    kind: String,
    /// The client's name for the request.
    request_id: String,
    /// Who asked.
    client: String,
    /// The decision token; null for an auditor, who may not have it. The last entry names it by its hash.
    token: Option<String>,
    /// The request's entries in the trail, from the first to its end.
    entries: Vec<serde_json::Map<String, Value>>,
    /// The C2SP `tlog-proof` that the last entry is in the log, with the checkpoint that it leads to.
    proof: String,
    /// The log's public key, as a `vkey` of C2SP `signed-note`.
    log_key: String,
}

/// What a reviewer presses; `change` shows what the edits would make of it, and decides nothing.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Press {
    Approve,
    Reject,
    Change,
}

/// A token to check.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "describes the body in the OpenAPI document")]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenQuestion {
    /// The token.
    token: String,
    /// The payload that is about to be used.
    #[schema(nullable = false)]
    payload: Option<serde_json::Map<String, Value>>,
}

/// What the gate says of a token.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenAnswer {
    /// Whether the token proves an approval that may be acted on now, by this client, with this payload.
    pub(crate) valid: bool,
    /// What is wrong with it.
    pub(crate) problem: Option<&'static str>,
    /// What it says, if its signature is good.
    #[schema(value_type = Option<ClaimsView>)]
    pub(crate) claims: Option<Claims>,
}

/// A token to use.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "describes the body in the OpenAPI document")]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRedemption {
    /// The token.
    token: String,
    /// The payload that is about to be used.
    #[schema(nullable = false)]
    payload: Option<serde_json::Map<String, Value>>,
    /// Who uses it: the run, or the machine. The same name again is a retry.
    #[schema(min_length = 1, max_length = 200)]
    redeemed_by: String,
}

/// What redeeming came to.
#[derive(Serialize, ToSchema)]
pub(crate) struct RedemptionAnswer {
    /// Whether this was the first time.
    pub(crate) first: bool,
    /// What the token says.
    #[schema(value_type = ClaimsView)]
    pub(crate) claims: Claims,
}

/// What a token says (RFC 7519).
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the claims of `placet_core` in the OpenAPI document")]
pub(crate) struct ClaimsView {
    iss: String,
    sub: String,
    aud: String,
    jti: String,
    iat: i64,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    status: String,
    approved: bool,
    action: String,
    payload_sha256: String,
    decided_by: Vec<String>,
    rule: Option<String>,
    /// Version of the policy that the rule is from.
    policy: u32,
}

/// A subscription to make.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "describes the body in the OpenAPI document")]
#[serde(deny_unknown_fields)]
pub(crate) struct NewHook {
    /// Where events are posted to.
    #[schema(min_length = 1, max_length = 2048)]
    url: String,
    /// Which events.
    #[schema(min_items = 1)]
    events: Vec<EventName>,
}

/// The events.
#[derive(Deserialize, ToSchema)]
pub(crate) enum EventName {
    #[serde(rename = "approval.requested")]
    Requested,
    #[serde(rename = "approval.decided")]
    Decided,
}

/// A subscription.
#[derive(Serialize, ToSchema)]
pub(crate) struct HookView {
    /// Its name, for removing it.
    pub(crate) hook_id: String,
    /// Where events are posted to.
    pub(crate) url: String,
    /// Which events.
    pub(crate) events: Vec<&'static str>,
    /// Since when.
    #[schema(format = DateTime)]
    pub(crate) created_at: String,
}

impl From<Hook> for HookView {
    fn from(hook: Hook) -> Self {
        Self {
            hook_id: hook.id.to_string(),
            url: hook.url,
            events: hook.events.iter().map(|event| event.as_str()).collect(),
            created_at: hook.created_at.to_string(),
        }
    }
}
