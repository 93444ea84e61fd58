//! One of everything that a store keeps, always the same: what `tests/fixtures/stored` is made from.
//!
//! A golden row is never rewritten. What is new here becomes a new file there.

use std::convert::Infallible;
use std::sync::{Arc, LazyLock};

use placet_core::Timestamp;
use placet_core::audit::{AuditEntry, AuditEventKind, ChainHead, Channel};
use placet_core::id::{ApprovalId, ClientId, HookId, RequestId};
use placet_core::payload::Payload;
use placet_core::policy::{Decision, Policy};
use placet_core::request::{
    Canceller, Given, GivenUp, NewRequest, Request, Transition, VoteInput, VoteOutcome,
};
use placet_gate::ChatWord;
use placet_gate::alert::Alert;
use placet_gate::ports::{Hook, HookEvent, OutboxMessage, OutboxPayload, OutboxSubject, PushDevice};
use serde_json::json;

use crate::{FixedClock, sample};

const START: Timestamp = FixedClock::START;

const POLICY: &str = r#"
[[clients]]
id = "n8n"
owner = "alice"
token = "HS256"
[[clients]]
id = "bot"
[[clients]]
id = "jira"
roles = ["decider"]
queues = ["backup"]
[[reviewers]]
id = "alice"
roles = ["finance"]
[[reviewers]]
id = "bob"
roles = ["finance"]
[[reviewers]]
id = "carol"
roles = ["finance", "owners"]
[[reviewers]]
id = "dave"
roles = ["ops"]
away = [{ from = 2026-11-01, until = 2026-12-31, backup = "erin" }]
[[reviewers]]
id = "erin"
[[rules]]
name = "watched"
mode = "observe"
when = 'action == "watched"'
stages = [{ ask = ["owners"], within = "5m" }]
[[rules]]
name = "denied"
mode = "observe"
when = 'action == "watched" && payload.missing > 1'
decide = "reject"
[[rules]]
name = "free"
when = 'action == "free" || action == "watched"'
decide = "approve"
[[rules]]
name = "payments"
when = 'action == "payment.send"'
approvals = 2
stages = [
  { ask = ["finance", "ops"], within = "10m", hours = "00:00-23:00 Europe/Berlin" },
  { ask = ["owners"], within = "1h" },
  { queue = "backup", within = "1d" },
]
valid_for = "2h"
[[rules]]
name = "own"
when = 'action == "own"'
owner_may_approve = true
alert_after = "2m"
stages = [{ ask = ["ops"], within = "5m" }]
"#;

static IN_FORCE: LazyLock<Policy> = LazyLock::new(|| Policy::load_trusted(POLICY, 7).unwrap());

/// The same without anybody who may approve for `ops`.
static DESERTED: LazyLock<Policy> =
    LazyLock::new(|| Policy::load_trusted(&POLICY.replace(", backup = \"erin\"", ""), 8).unwrap());

/// A request on its way, with its trail.
pub struct Story {
    /// What it shows.
    pub name: &'static str,
    /// The request as it stands.
    pub request: Request,
    /// Its trail.
    pub entries: Vec<AuditEntry>,
}

impl Story {
    fn ask(name: &'static str, client: &str, action: &str) -> Self {
        let payload = json!({ "amount": 12.5, "to": "Zoë \"quoted\" \u{1F4B6}", "list": [1, null, true] });
        let callback_url = (client == "n8n").then(|| "https://n8n.example.com/resume".to_owned());
        let new = NewRequest {
            approval_id: ApprovalId::from_parts(START, 77),
            request_id: RequestId::parse("run:17.a_b-c").unwrap(),
            action: action.into(),
            summary: "pay the invoice".into(),
            payload: Payload::new(payload.as_object().unwrap()).unwrap(),
            metadata: [("run".to_owned(), "7".to_owned()), ("mode".to_owned(), "test".to_owned())].into(),
            callback_url,
            timeout_ms: None,
            issuer: "https://gate.example.com".into(),
            epoch: 2,
        };
        let client = IN_FORCE.client(&sample::client(client)).unwrap();
        let opened = Request::open(new, client, &IN_FORCE, START);
        let Ok(chained) =
            opened.transition.chain(&opened.asked, |_| Ok::<_, Infallible>("a token".to_owned()));
        Self { name, request: Request::inserted(opened.asked, chained.state), entries: chained.entries }
    }

    fn then(mut self, rule: impl FnOnce(&Request, &Policy) -> Option<Transition>) -> Self {
        let transition = rule(&self.request, &IN_FORCE).unwrap();
        let Ok(chained) = transition
            .chain(&Arc::clone(self.request.asked()), |_| Ok::<_, Infallible>("a token".to_owned()));
        self.entries.extend(chained.entries);
        self.request = self.request.committed(chained.state);
        self
    }

    fn vote(self, who: &str, decision: Decision, seconds: i64) -> Self {
        let input = VoteInput {
            reviewer: sample::reviewer(who),
            decision,
            reason: (decision == Decision::Reject).then(|| "nicht so viel".to_owned()),
            channel: Channel::Page,
            given: Given::default(),
            opened_at: None,
        };
        self.then(|request, policy| match request.vote(&input, policy, at(seconds)) {
            Ok(VoteOutcome::Changed(transition)) => Some(*transition),
            Ok(VoteOutcome::Unchanged) | Err(_) => None,
        })
    }

    fn answer(self, decision: Decision, seconds: i64) -> Self {
        let jira = IN_FORCE.client(&sample::client("jira")).unwrap();
        self.then(|request, policy| {
            request.answer(jira, decision, Some("JIRA-7".into()), policy, at(seconds)).ok()
        })
    }

    fn time(self, seconds: i64) -> Self {
        self.then(|request, policy| request.expire(policy, at(seconds)))
    }

    fn cancel(self, by: Canceller) -> Self {
        self.then(|request, _| request.cancel(by, at(4)).ok())
    }
}

fn at(seconds: i64) -> Timestamp {
    START.plus_millis(seconds * 1000)
}

/// Requests in every phase, with everything that a state can have.
pub fn requests() -> Vec<Story> {
    let ask = |name| Story::ask(name, "n8n", "payment.send");
    vec![
        ask("pending, a stand-in is asked"),
        ask("pending, one of two has approved").vote("bob", Decision::Approve, 3),
        ask("pending in the second stage").vote("erin", Decision::Approve, 3).time(600),
        ask("pending in a queue").time(600).time(4200),
        Story::ask("pending, nobody is left", "bot", "own")
            .then(|request, _| request.reassign(&DESERTED, at(5))),
        ask("approved by two, redeemed")
            .vote("bob", Decision::Approve, 3)
            .vote("carol", Decision::Approve, 4)
            .then(|request, _| request.redeem("run-7", &sample::client("n8n"), at(9)).ok()?),
        Story::ask("approved by policy, without callbacks", "bot", "free"),
        ask("approved by a decider").time(600).time(4200).answer(Decision::Approve, 4300),
        ask("rejected, with a reason").vote("alice", Decision::Reject, 3),
        ask("rejected by a decider").time(600).time(4200).answer(Decision::Reject, 4300),
        Story::ask("rejected without a rule", "bot", "unheard.of"),
        ask("expired").time(90_600),
        Story::ask("approved by policy, two rules only observed", "bot", "watched"),
        ask("cancelled by its client, three callbacks")
            .then(|request, _| request.join(Some("https://n8n.example.com/2"), at(1)).ok()?)
            .cancel(Canceller::Asker)
            .then(|request, _| request.join(Some("https://n8n.example.com/3"), at(7)).ok()?),
        ask("cancelled by the operator").cancel(Canceller::Operator),
    ]
}

/// One request's whole trail, with every kind of entry that a request can have but for its other ends.
pub fn trail() -> Vec<AuditEntry> {
    let given_up = GivenUp {
        client: sample::client("n8n"),
        message: format!("msg_{}_callback_0", ApprovalId::from_parts(START, 77)),
        reason: "410 Gone".into(),
    };
    let joined = "https://n8n.example.com/2";
    Story::ask("all", "n8n", "payment.send")
        .then(|request, _| request.join(Some(joined), at(1)).ok()?)
        .then(|request, _| request.reassign(&DESERTED, at(2)))
        .vote("bob", Decision::Approve, 3)
        .time(600)
        .vote("carol", Decision::Approve, 700)
        .then(|request, _| request.redeem("run-7", &sample::client("n8n"), at(701)).ok()?)
        .then(|request, _| Some(request.give_up(given_up, at(90_000))))
        .entries
}

/// The chains that are no request's.
pub fn chains() -> Vec<(&'static str, Vec<AuditEntry>)> {
    let chain = |subject, kind| {
        let mut head = ChainHead::default();
        let entries = (0..3).map(|seconds| head.append(subject, None, sample::event(kind, at(seconds))));
        (subject, entries.collect())
    };
    vec![
        ("request", trail()),
        ("observed", Story::ask("observed", "bot", "watched").entries),
        chain("policy", AuditEventKind::PolicyInstalled),
        chain("keys", AuditEventKind::KeysRotated),
    ]
}

/// Subscriptions.
pub fn hooks() -> Vec<Hook> {
    let one = Hook { events: vec![HookEvent::Decided], ..sample::hook("auditor", 2) };
    vec![sample::hook("n8n", 1), one]
}

/// A device that is told by push.
pub fn push_devices() -> Vec<PushDevice> {
    vec![PushDevice {
        reviewer: sample::reviewer("bob"),
        endpoint: "https://push.example.com/wpush/v2/gAAAAABl".into(),
        p256dh: "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
            .into(),
        auth: "BTBZMqHH6r4Tts7J_aSIgg".into(),
        generation: 2,
        added_at: START,
    }]
}

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
        (
            "nudge_0_email_bob",
            OutboxPayload::Nudge { stage: 0, reviewer: sample::reviewer("bob"), channel: "email".into() },
        ),
        (
            "remind_0_slack_bob",
            OutboxPayload::Remind { stage: 0, reviewer: sample::reviewer("bob"), channel: "slack".into() },
        ),
        (
            "alert_open_too_long",
            OutboxPayload::Alert(Alert::OpenTooLong {
                client: client.clone(),
                request_id: request_id.clone(),
                asked_at: START,
            }),
        ),
        (
            "over_open_too_long",
            OutboxPayload::AlertOver(Alert::OpenTooLong {
                client: client.clone(),
                request_id: request_id.clone(),
                asked_at: START,
            }),
        ),
        ("still_open", OutboxPayload::StillOpen),
        ("look_at_run", OutboxPayload::LookAtRun),
        ("refresh_3", OutboxPayload::Refresh { look: 3 }),
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
                reviewer: Some(sample::reviewer("bob")),
                channel: Some("slack".into()),
                approval_id: asked.approval_id.clone(),
                message: callback,
                attempt: 4,
            }),
        ),
    ];
    let about_request = payloads.into_iter().map(|(name, payload)| (approval.clone(), name, payload));
    let about_gate =
        payloads_about_gate(client).into_iter().map(|(name, payload)| (OutboxSubject::Gate, name, payload));
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

/// What is sent about the gate itself, by the end of its message's id; `client` is who signed with an old secret.
fn payloads_about_gate(client: ClientId) -> Vec<(&'static str, OutboxPayload)> {
    vec![
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
            OutboxPayload::Alert(Alert::BadSignatures { client: None, count: 20, minute: 29_923_200 }),
        ),
        (
            "alert_not_told_29923200_slack_bob",
            OutboxPayload::Alert(Alert::DigestNotTold {
                reviewer: sample::reviewer("bob"),
                channel: Some("slack".into()),
                message: "msg_gate_digest_29923200_slack_bob".into(),
                attempt: 3,
            }),
        ),
        (
            "alert_bad_signatures_29923200_n8n",
            OutboxPayload::Alert(Alert::BadSignatures {
                client: Some(sample::client("n8n")),
                count: 20,
                minute: 29_923_200,
            }),
        ),
        ("alert_rotation_due_2", OutboxPayload::Alert(Alert::RotationDue { epoch: 2, since: START })),
        (
            "alert_by_ops_1795392000000_way_not_reached_night",
            OutboxPayload::AlertBy {
                way: "ops".into(),
                alert: Box::new(Alert::WayNotReached {
                    way: "night".into(),
                    reason: "PagerDuty answered 400".into(),
                }),
                over: false,
                since: START,
                opened: None,
            },
        ),
        (
            "over_by_ops_1795392000000_fast_approvals_498720_bob",
            OutboxPayload::AlertBy {
                way: "ops".into(),
                alert: Box::new(Alert::FastApprovals {
                    reviewer: sample::reviewer("bob"),
                    count: 5,
                    hour: 498_720,
                }),
                over: true,
                since: START,
                opened: None,
            },
        ),
        ("alerts_29923200_ops", OutboxPayload::AlertSummary { way: "ops".into(), minute: 29_923_200 }),
        ("report_20783_ops", OutboxPayload::Report { way: "ops".into(), until_day: 20_783 }),
        ("reassign_3", OutboxPayload::Reassign { policy: 3, left: Vec::new() }),
        ("reassign_4", OutboxPayload::Reassign { policy: 4, left: vec![sample::reviewer("bob")] }),
        (
            "digest_29923200_slack_bob",
            OutboxPayload::Digest {
                reviewer: sample::reviewer("bob"),
                channel: "slack".into(),
                minute: 29_923_200,
            },
        ),
        (
            "word_1795392000000_U012AB3CD",
            OutboxPayload::ChatWord {
                place: "D024BE91L".into(),
                user: "U012AB3CD".into(),
                at: 1_795_392_000_000,
                word: ChatWord::NotYours,
            },
        ),
    ]
}
