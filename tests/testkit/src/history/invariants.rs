//! What must hold after every step of every history, whoever raced whom.

use std::collections::{BTreeSet, HashMap};

use placet_core::audit::{AuditEventKind, ChainHead};
use placet_core::request::{Decider, Request, Status};

use super::KEYS;
use super::acts::Actor;
use super::policy::{self, Evaluation, Owner, RuleAction};
use crate::Subject;

/// Remembers what it has seen, so that it notices what must not change.
#[derive(Default)]
pub(super) struct Watchdog(HashMap<String, Request>);

impl Watchdog {
    /// Looks at every request that has changed since the last look.
    pub(super) async fn check(&mut self, subject: &Subject, actor: &Actor) -> Result<(), String> {
        for (client, name) in KEYS {
            let Some(request) = actor.world.stored(client, name).await else { continue };
            let approval = request.asked().approval_id.to_string();
            let before = self.0.get(&approval);
            if before == Some(&request) {
                continue;
            }
            if let Some(before) = before {
                compare(before, &request)?;
            }
            check_outcome(&request)?;
            check_trail(subject, &request).await?;
            self.0.insert(approval, request);
        }
        Ok(())
    }

    /// When all is said, every message has been worked off: whoever is asked was told, and every caller was called back.
    pub(super) async fn check_end(&mut self, subject: &Subject, actor: &Actor) -> Result<(), String> {
        // Looking again at what is open makes new messages.
        while actor.deliver().await > 0 {}
        self.check(subject, actor).await?;
        let left = actor.world.store.next_due().await.map_err(|fault| fault.chain())?;
        let waiting =
            self.0.values().filter_map(|request| request.pending()).map(|pending| pending.closes_at);
        ensure(left == waiting.min(), || "a message stayed behind".to_owned())?;
        let ids: BTreeSet<String> = actor.delivered().into_iter().map(|message| message.id).collect();
        for request in self.0.values() {
            let approval = &request.asked().approval_id;
            for number in 0..request.state().callbacks().len() {
                let called = ids.contains(&format!("msg_{approval}_callback_{number}"));
                ensure(called == request.outcome().is_some(), || {
                    format!("{approval} is {}, and caller {number} was told otherwise", request.status())
                })?;
            }
            let Some(pending) = request.pending() else { continue };
            for asked in &pending.asked {
                let id = format!("msg_{approval}_notify_{}_terminal_{}", pending.stage, asked.reviewer);
                ensure(ids.contains(&id), || format!("{} was not told of {approval}", asked.reviewer))?;
            }
            let queue = request.asked().stage_queue(pending.stage);
            let published = ids.contains(&format!("msg_{approval}_publish_{}", pending.stage));
            ensure(queue.is_none() || published, || format!("{approval} is in no queue"))?;
        }
        Ok(())
    }
}

fn compare(before: &Request, after: &Request) -> Result<(), String> {
    ensure(before.asked() == after.asked(), || "what was asked has changed".to_owned())?;
    ensure(before.version() < after.version(), || "a change has no version of its own".to_owned())?;
    ensure(before.state().updated_at() <= after.state().updated_at(), || {
        "a request runs backwards".to_owned()
    })?;
    if before.outcome().is_some() {
        ensure(
            before.outcome() == after.outcome() && before.state().votes() == after.state().votes(),
            || format!("an ended request has changed: {before:#?} {after:#?}"),
        )?;
    }
    ensure(after.state().callbacks().starts_with(before.state().callbacks()), || {
        "a caller was forgotten".to_owned()
    })?;
    if before.state().redemption().is_some() {
        ensure(before.state().redemption() == after.state().redemption(), || {
            "a token was redeemed twice".to_owned()
        })?;
    }
    Ok(())
}

/// An approval has the reviewers that its rule wants, in time; or a rule that approves alone.
fn check_outcome(request: &Request) -> Result<(), String> {
    let asked = request.asked();
    let deadline = asked.deadline;
    let in_time = request.state().votes().iter().all(|vote| deadline.is_none_or(|end| vote.voted_at < end));
    ensure(in_time, || format!("a vote came after the deadline: {request:#?}"))?;
    let Some(outcome) = request.outcome() else { return Ok(()) };
    if outcome.status() != Status::Approved {
        return Ok(());
    }
    let [table, ..] = policy::tables();
    let rule = table.rules.iter().find(|rule| asked.rule.as_deref() == Some(rule.name)).cloned();
    let rule = rule.ok_or("approved without a rule")?;
    let terms = match &rule.then {
        RuleAction::Ask(terms) => Some(terms),
        RuleAction::Approve | RuleAction::Reject => None,
    };
    let mut people = BTreeSet::new();
    for decider in &outcome.decided_by {
        let allowed = match decider {
            Decider::Policy(_) => {
                matches!(rule.then, RuleAction::Approve) && rule.evaluation == Evaluation::Sound
            }
            // Silence is never consent, and whoever withdraws does not approve.
            Decider::Timeout(_) | Decider::Operator => false,
            Decider::Client(id) => {
                matches!(id.as_str(), "jira" | "ops") && deadline.is_some_and(|end| outcome.decided_at < end)
            }
            Decider::Reviewer(id) => {
                let owner_allowed = terms.is_some_and(|terms| terms.owner == Owner::MayApprove);
                people.insert(id.clone());
                deadline.is_some_and(|end| outcome.decided_at < end)
                    && (owner_allowed || asked.owner.as_ref() != Some(id))
            }
        };
        ensure(allowed, || format!("{decider} may not have approved {request:#?}"))?;
    }
    let enough = people.is_empty() || people.len() >= asked.approvals_needed() as usize;
    ensure(enough && !outcome.decided_by.is_empty(), || format!("too few have approved {request:#?}"))
}

async fn check_trail(subject: &Subject, request: &Request) -> Result<(), String> {
    let trail = subject.trail.audit_of(request.asked().approval_id.as_str()).await;
    let mut head = ChainHead::default();
    for entry in &trail {
        let fits = entry.seq == head.seq + 1
            && entry.prev_hash == head.hash
            && entry.computed_hash() == entry.hash
            && entry.about.as_ref() == Some(&request.asked().facts());
        ensure(fits, || format!("the trail breaks at {entry:#?}"))?;
        head = ChainHead { seq: entry.seq, hash: entry.hash.clone() };
    }
    ensure(head == *request.state().chain_head(), || {
        "the trail does not end where its request says".to_owned()
    })?;
    let ends: Vec<AuditEventKind> =
        trail.iter().map(|entry| entry.event).filter(|event| event.is_end()).collect();
    let expected: Vec<AuditEventKind> = request
        .outcome()
        .and_then(|outcome| match outcome.status() {
            Status::Approved => Some(AuditEventKind::Approved),
            Status::Rejected => Some(AuditEventKind::Rejected),
            Status::Expired => Some(AuditEventKind::Expired),
            Status::Cancelled => Some(AuditEventKind::Cancelled),
            Status::Pending => None,
        })
        .into_iter()
        .collect();
    ensure(ends == expected, || format!("the trail ends with {ends:?}, the request with {expected:?}"))?;
    let redemptions = trail.iter().filter(|entry| entry.event == AuditEventKind::Redeemed).count();
    ensure(redemptions == usize::from(request.state().redemption().is_some()), || {
        format!("the trail has {redemptions} redemptions")
    })
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}
