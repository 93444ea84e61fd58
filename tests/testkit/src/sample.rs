//! Samples: requests, states, entries and messages as the gate would make them, without a gate.
//!
//! A state cannot be built by hand, so each of these goes through the rules, under a policy that asks bob.

use std::convert::Infallible;
use std::sync::{Arc, LazyLock};

use placet_core::Timestamp;
use placet_core::audit::{AuditEvent, AuditEventKind, Channel};
use placet_core::id::{ApprovalId, ClientId, HookId, RequestId, RequestKey, ReviewerId};
use placet_core::payload::Payload;
use placet_core::policy::{Client, Decision, Policy};
use placet_core::request::{
    ApprovalRequest, Canceller, Given, GivenUp, NewRequest, Opened, Request, RequestState, Status,
    Transition, VoteInput, VoteOutcome,
};
use placet_gate::ports::{
    Closing, Commit, Hook, HookEvent, OutboxMessage, OutboxPayload, OutboxSubject, PolicyRecord, RequestWrite,
};
use serde_json::json;

/// How long a sample waits, in milliseconds.
pub const WAITS_MS: i64 = 600_000;

/// The summary with which policy approves a sample at once.
pub const AT_ONCE: &str = "no question at all";

const POLICY: &str = r#"
issuer = "https://gate.example.com"
[[clients]]
id = "n8n"
owner = "alice"
token = "HS256"
[[reviewers]]
id = "alice"
roles = ["finance"]
[[reviewers]]
id = "bob"
roles = ["finance"]
[[rules]]
name = "at once"
when = 'summary == "no question at all"'
decide = "approve"
[[rules]]
name = "payments"
stages = [{ ask = ["finance"], within = "20d" }]
"#;

static IN_FORCE: LazyLock<Policy> = LazyLock::new(|| Policy::load_trusted(POLICY, 1).unwrap());

/// The policy that the samples are made under, as version 1.
pub fn policy() -> &'static Policy {
    &IN_FORCE
}

/// A client's id.
pub fn client(id: &str) -> ClientId {
    ClientId::parse(id).unwrap()
}

/// A reviewer's id.
pub fn reviewer(id: &str) -> ReviewerId {
    ReviewerId::parse(id).unwrap()
}

/// Where the request of that name is stored.
pub fn key(client_id: &str, request_id: &str) -> RequestKey {
    RequestKey::of(&client(client_id), &RequestId::parse(request_id).unwrap())
}

/// What a client asked: to pay 20, with ten minutes for bob to say yes.
pub fn asked(client_id: &str, request_id: &str, created_at: Timestamp) -> ApprovalRequest {
    asked_to_pay(client_id, request_id, created_at, 20)
}

/// What a client asked: to pay that amount.
pub fn asked_to_pay(
    client_id: &str,
    request_id: &str,
    created_at: Timestamp,
    amount: u32,
) -> ApprovalRequest {
    let value = json!({ "amount": amount, "note": "Zoë \"quoted\" \u{1F4B6}" });
    let random = u128::from_le_bytes(*key(client_id, request_id).as_bytes());
    let new = NewRequest {
        approval_id: ApprovalId::from_parts(created_at, random),
        request_id: RequestId::parse(request_id).unwrap(),
        action: "payment.send".into(),
        summary: "pay the invoice".into(),
        payload: Payload::new(value.as_object().unwrap()).unwrap(),
        metadata: [("run".to_owned(), "7".to_owned())].into(),
        callback_url: Some("https://n8n.example.com/resume".into()),
        timeout_ms: Some(WAITS_MS),
        issuer: "https://gate.example.com".into(),
        epoch: 1,
    };
    Arc::unwrap_or_clone(open(new, client_id, created_at).asked)
}

/// Takes a question under [`policy`], from whichever client.
pub fn open(new: NewRequest, client_id: &str, now: Timestamp) -> Opened {
    let template = policy().clients.first().unwrap();
    let client = Client { id: client(client_id), ..template.clone() };
    Request::open(new, &client, policy(), now)
}

/// The same question taken anew, with what may have been changed in it by a test.
fn reopened(asked: &ApprovalRequest, timeout_ms: i64) -> Opened {
    let new = NewRequest {
        approval_id: asked.approval_id.clone(),
        request_id: asked.request_id.clone(),
        action: asked.action.clone(),
        summary: asked.summary.clone(),
        payload: asked.payload.clone(),
        metadata: asked.metadata.clone(),
        callback_url: Some("https://n8n.example.com/resume".into()),
        timeout_ms: Some(timeout_ms),
        issuer: asked.issuer.clone(),
        epoch: asked.epoch,
    };
    open(new, asked.client.as_str(), asked.created_at)
}

/// A new request that waits, with its first entries and a message to bob.
pub fn insert(asked: &ApprovalRequest) -> Commit {
    insert_until(asked, asked.created_at.plus_millis(WAITS_MS))
}

/// A new request that waits until then, with its first entries and a message to bob.
pub fn insert_until(asked: &ApprovalRequest, closes_at: Timestamp) -> Commit {
    let opened = reopened(asked, closes_at.millis_since(asked.created_at));
    let outbox = vec![notification(&opened.asked, asked.created_at.plus_millis(30_000))];
    let asked = Arc::clone(&opened.asked);
    let (state, audit) = chained(&asked, opened.transition);
    Commit { request: Some(RequestWrite::Insert { asked, state }), audit, outbox, ..Commit::default() }
}

/// The request that an insert writes.
pub fn inserted(commit: &Commit) -> Request {
    match &commit.request {
        Some(RequestWrite::Insert { asked, state }) => Request::inserted(Arc::clone(asked), state.clone()),
        Some(RequestWrite::Update { .. }) | None => unreachable!("this commit inserts nothing"),
    }
}

/// The request that an update writes.
pub fn updated(request: &Request, commit: &Commit) -> Request {
    match &commit.request {
        Some(RequestWrite::Update { state, .. }) => request.committed(state.clone()),
        Some(RequestWrite::Insert { .. }) | None => unreachable!("this commit updates nothing"),
    }
}

/// What a rule wants written, without messages.
pub fn update(request: &Request, transition: Transition) -> Commit {
    let asked = Arc::clone(request.asked());
    let (state, audit) = chained(&asked, transition);
    let request = Some(RequestWrite::Update { asked, state, from_version: request.version() });
    Commit { request, audit, ..Commit::default() }
}

/// Bob's word.
pub fn vote(request: &Request, decision: Decision, at: Timestamp) -> Commit {
    let input = VoteInput {
        reviewer: reviewer("bob"),
        decision,
        reason: Some("as agreed".into()),
        channel: Channel::Page,
        given: Given::default(),
        opened_at: None,
    };
    match request.vote(&input, policy(), at).unwrap() {
        VoteOutcome::Changed(transition) => update(request, *transition),
        VoteOutcome::Unchanged => unreachable!("one approval is enough"),
    }
}

/// The end of that request, with its entries and its callback. An expiry is at its deadline at the earliest.
pub fn end(request: &Request, status: Status, at: Timestamp) -> Commit {
    let commit = match status {
        Status::Approved => vote(request, Decision::Approve, at),
        Status::Rejected => vote(request, Decision::Reject, at),
        Status::Cancelled => update(request, request.cancel(Canceller::Asker, at).unwrap()),
        Status::Expired => {
            let at = request.pending().map_or(at, |pending| at.max(pending.closes_at));
            update(request, request.expire(policy(), at).unwrap())
        }
        Status::Pending => unreachable!("no request ends pending"),
    };
    Commit { outbox: vec![callback(request.asked(), at.plus_millis(30_000))], ..commit }
}

/// A change that ends nothing, and can be made as often as one likes.
pub fn small_change(request: &Request, at: Timestamp) -> Commit {
    let given_up = GivenUp {
        client: request.asked().client.clone(),
        message: format!("msg_{}_callback_0", request.asked().approval_id),
        reason: "410 Gone".into(),
    };
    update(request, request.give_up(given_up, at))
}

fn chained(
    asked: &Arc<ApprovalRequest>,
    transition: Transition,
) -> (RequestState, Vec<placet_core::audit::AuditEntry>) {
    let Ok(chained) = transition.chain(asked, |_| Ok::<_, Infallible>("a token".to_owned()));
    (chained.state, chained.entries)
}

/// What an entry says that is no request's.
pub fn event(kind: AuditEventKind, timestamp: Timestamp) -> AuditEvent {
    AuditEvent {
        timestamp,
        kind,
        actor: "operator".into(),
        channel: Channel::Operator,
        approved: false,
        approved_by: None,
        token_hash: None,
        detail: Some("a word".into()),
    }
}

/// A message to bob that is due then.
pub fn notification(asked: &ApprovalRequest, due_at: Timestamp) -> OutboxMessage {
    let payload = OutboxPayload::Notify { stage: 0, reviewer: reviewer("bob"), channel: "email".into() };
    message(asked, "notify_0_email_bob", payload, due_at)
}

/// A callback that is due then.
pub fn callback(asked: &ApprovalRequest, due_at: Timestamp) -> OutboxMessage {
    message(asked, "callback_0", OutboxPayload::Callback { number: 0 }, due_at)
}

fn message(asked: &ApprovalRequest, name: &str, payload: OutboxPayload, due_at: Timestamp) -> OutboxMessage {
    let subject = OutboxSubject::Approval { key: asked.key(), approval_id: asked.approval_id.clone() };
    OutboxMessage {
        id: format!("{}{name}", subject.prefix()),
        subject,
        payload,
        attempt: 0,
        created_at: asked.created_at,
        due_at,
    }
}

/// A message about the gate as a whole: look again at what is open, under that version of the policy.
pub fn gate_message(policy: u32, due_at: Timestamp) -> OutboxMessage {
    OutboxMessage {
        id: format!("{}reassign_{policy}", OutboxSubject::Gate.prefix()),
        subject: OutboxSubject::Gate,
        payload: OutboxPayload::Reassign { policy, left: Vec::new() },
        attempt: 0,
        created_at: crate::FixedClock::START,
        due_at,
    }
}

/// The place of a request among those that wait.
pub fn closing(request: &Request) -> Option<Closing> {
    request.pending().map(|pending| Closing { closes_at: pending.closes_at, key: request.key() })
}

/// A subscription of that client; `number` makes it another one.
pub fn hook(client_id: &str, number: u128) -> Hook {
    Hook {
        id: HookId::from_parts(crate::FixedClock::START, number),
        client: client(client_id),
        url: format!("https://hooks.example.com/{number}"),
        events: vec![HookEvent::Requested, HookEvent::Decided],
        created_at: crate::FixedClock::START,
    }
}

/// An installed policy of that version.
pub fn policy_record(version: u32) -> PolicyRecord {
    let text = format!("# version {version}\n");
    PolicyRecord {
        version,
        sha256: placet_core::payload::sha256_hex(text.as_bytes()),
        text,
        installed_at: crate::FixedClock::START,
        away: Vec::new(),
        paused: Vec::new(),
    }
}
