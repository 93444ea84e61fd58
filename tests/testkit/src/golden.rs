//! One of everything that a store keeps, always the same: what `tests/fixtures/stored` is made from.
//!
//! A golden row is never rewritten. What is new here becomes a new file there.

use placet_core::Timestamp;
use placet_core::id::HookId;
use placet_gate::alert::Alert;
use placet_gate::ports::{HookEvent, OutboxMessage, OutboxPayload, OutboxSubject};

use crate::{FixedClock, sample};

const START: Timestamp = FixedClock::START;

/// A message of every payload, about a request and about the gate.
pub fn messages() -> Vec<OutboxMessage> {
    let asked = sample::asked("n8n", "r1", START);
    let (client, request_id) = (asked.client.clone(), asked.request_id.clone());
    let approval = OutboxSubject::Approval { key: asked.key(), approval_id: asked.approval_id.clone() };
    let hook = HookId::from_parts(START, 7);
    let callback = format!("{}callback_3", approval.prefix());
    let payloads = [
        (
            "notify_0_email_bob",
            OutboxPayload::Notify { stage: 0, reviewer: sample::reviewer("bob"), channel: "email".into() },
        ),
        ("publish_1", OutboxPayload::Publish { stage: 1, queue: "backup".into() }),
        ("callback_3", OutboxPayload::Callback { number: 3 }),
        ("requested_hook", OutboxPayload::Hook { hook: hook.clone(), event: HookEvent::Requested }),
        ("decided_hook", OutboxPayload::Hook { hook, event: HookEvent::Decided }),
        (
            "alert_expired",
            OutboxPayload::Alert(Alert::Expired { client: client.clone(), request_id: request_id.clone() }),
        ),
        (
            "alert_nobody_left_2",
            OutboxPayload::Alert(Alert::NobodyLeft { client: client.clone(), request_id, stage: 2 }),
        ),
        (
            "alert_callback_given_up",
            OutboxPayload::Alert(Alert::CallbackGivenUp {
                approval_id: asked.approval_id.clone(),
                client: client.clone(),
                message: callback.clone(),
                reason: "410 Gone".into(),
            }),
        ),
        (
            "alert_not_told",
            OutboxPayload::Alert(Alert::NotTold {
                approval_id: asked.approval_id.clone(),
                message: callback,
                attempt: 4,
            }),
        ),
    ];
    let of_the_gate = [
        ("alert_keys_rotated_2", OutboxPayload::Alert(Alert::KeysRotated { epoch: 2 })),
        (
            "alert_rotation_failed_testSecret",
            OutboxPayload::Alert(Alert::RotationFailed {
                step: "testSecret".into(),
                reason: "the secret cannot be read".into(),
            }),
        ),
        ("alert_old_secret_1_n8n", OutboxPayload::Alert(Alert::OldSecret { client, epoch: 1 })),
        (
            "alert_bad_signatures_29923200",
            OutboxPayload::Alert(Alert::BadSignatures { count: 20, minute: 29_923_200 }),
        ),
        ("reassign_3", OutboxPayload::Reassign { policy: 3 }),
    ];
    let about_request = payloads.into_iter().map(|(name, payload)| (approval.clone(), name, payload));
    let about_gate = of_the_gate.into_iter().map(|(name, payload)| (OutboxSubject::Gate, name, payload));
    about_request
        .chain(about_gate)
        .map(|(subject, name, payload)| OutboxMessage {
            id: format!("{}{name}", subject.prefix()),
            subject,
            payload,
            attempt: 2,
            created_at: START,
            due_at: START.plus_millis(30_000),
        })
        .collect()
}
