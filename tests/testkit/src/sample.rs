//! Samples: requests, lives, entries and messages as the gate would make them, without a gate.

use std::sync::Arc;

use placet_core::Timestamp;
use placet_core::audit::{AuditEntry, AuditEvent, AuditEventKind, ChainHead, Channel};
use placet_core::id::{ApprovalId, ClientId, HookId, RequestId, RequestKey, ReviewerId};
use placet_core::payload::Payload;
use placet_core::policy::{ApprovalTerms, Assignee, Assignees, Decision, Stage};
use placet_core::request::{
    ApprovalRequest, Decider, Outcome, Pending, Request, RequestState, State, Status, Vote,
};
use placet_core::token::TokenKind;
use placet_gate::ports::{Commit, Hook, HookEvent, Message, OutboxMessage, PolicyRecord, RequestWrite, Via};
use serde_json::json;

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
    let payload = Payload::new(value.as_object().unwrap()).unwrap();
    let random = u128::from_le_bytes(*key(client_id, request_id).as_bytes());
    ApprovalRequest {
        approval_id: ApprovalId::from_parts(created_at, random),
        client: client(client_id),
        request_id: RequestId::parse(request_id).unwrap(),
        question_sha256: payload.sha256(),
        action: "payment.send".into(),
        summary: "pay the invoice".into(),
        payload_sha256: payload.sha256(),
        payload,
        metadata: [("run".to_owned(), "7".to_owned())].into(),
        callback_url: Some("https://n8n.example.com/resume".into()),
        created_at,
        deadline: Some(created_at.plus_millis(600_000)),
        issuer: "https://gate.example.com".into(),
        owner: Some(reviewer("alice")),
        token: TokenKind::Hs256,
        epoch: 1,
        rule: Some("payments".into()),
        terms: Some(ApprovalTerms {
            approvals: 1,
            stages: vec![Stage {
                hours: None,
                assignees: Assignees::Roles(vec!["finance".into()]),
                within_ms: 600_000,
            }],
            owner_may_approve: false,
        }),
        first_stage: 0,
        valid_for_seconds: 3600,
        silence_refuses: false,
    }
}

/// The life of a request that waits for bob until then.
pub fn waiting(asked: &ApprovalRequest, closes_at: Timestamp) -> RequestState {
    RequestState {
        state: State::Pending(Pending {
            stage: 0,
            closes_at,
            asked: vec![Assignee { reviewer: reviewer("bob"), in_place_of: None }],
            unheard: false,
        }),
        votes: Vec::new(),
        redeemed: None,
        chain: ChainHead::default(),
        updated_at: asked.created_at,
    }
}

/// That life, ended by bob.
pub fn ended(life: &RequestState, status: Status, at: Timestamp) -> RequestState {
    let decision = if status == Status::Approved { Decision::Approve } else { Decision::Reject };
    RequestState {
        state: State::Ended(Outcome {
            status,
            decided_at: at,
            decided_by: vec![Decider::Reviewer(reviewer("bob"))],
            reason: Some("as agreed".into()),
            stage: Some(0),
        }),
        votes: vec![Vote { reviewer: reviewer("bob"), decision, reason: None, voted_at: at }],
        updated_at: at,
        ..life.clone()
    }
}

/// Puts an entry at the end of a life's chain.
pub fn record(
    asked: &ApprovalRequest,
    life: &mut RequestState,
    event: AuditEventKind,
    at: Timestamp,
) -> AuditEntry {
    life.chain.append(asked.approval_id.as_str(), Some(&asked.about()), draft(event, at))
}

/// What an entry says.
pub fn draft(event: AuditEventKind, timestamp: Timestamp) -> AuditEvent {
    AuditEvent {
        timestamp,
        event,
        actor: "bob".into(),
        channel: Channel::Page,
        approved: event == AuditEventKind::Approved,
        token_hash: None,
        detail: Some("a word".into()),
    }
}

/// A new request that waits, with its first entry and a letter to bob.
pub fn insert(asked: &ApprovalRequest) -> Commit {
    insert_until(asked, asked.created_at.plus_millis(600_000))
}

/// A new request that waits until then, with its first entry and a letter to bob.
pub fn insert_until(asked: &ApprovalRequest, closes_at: Timestamp) -> Commit {
    let mut life = waiting(asked, closes_at);
    let audit = vec![record(asked, &mut life, AuditEventKind::Asked, asked.created_at)];
    Commit {
        request: Some(RequestWrite::Insert { asked: Arc::new(asked.clone()), life }),
        audit,
        outgoing: vec![letter(asked, asked.created_at.plus_millis(30_000))],
        ..Commit::default()
    }
}

/// The end of that request, with its entry and its callback.
pub fn end(request: &Request, status: Status, at: Timestamp) -> Commit {
    let event = match status {
        Status::Approved => AuditEventKind::Approved,
        Status::Rejected => AuditEventKind::Rejected,
        Status::Expired => AuditEventKind::Expired,
        Status::Cancelled => AuditEventKind::Cancelled,
    };
    let mut life = ended(&request.life, status, at);
    let audit = vec![record(&request.asked, &mut life, event, at)];
    Commit {
        request: Some(RequestWrite::Update { key: request.asked.key(), life, from_version: request.version }),
        audit,
        outgoing: vec![callback(&request.asked, at.plus_millis(30_000))],
        ..Commit::default()
    }
}

/// A letter to bob that is due then.
pub fn letter(asked: &ApprovalRequest, due_at: Timestamp) -> OutboxMessage {
    let what = Message::Tell { stage: 0, reviewer: reviewer("bob"), channel: Via::Email };
    message(asked, "tell_0_email_bob", what, due_at)
}

/// A callback that is due then.
pub fn callback(asked: &ApprovalRequest, due_at: Timestamp) -> OutboxMessage {
    message(asked, "callback", Message::Callback, due_at)
}

fn message(asked: &ApprovalRequest, name: &str, what: Message, due_at: Timestamp) -> OutboxMessage {
    OutboxMessage {
        id: format!("msg_{}_{name}", asked.approval_id),
        key: asked.key(),
        approval_id: asked.approval_id.clone(),
        what,
        attempt: 0,
        created_at: asked.created_at,
        due_at,
    }
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
    }
}
