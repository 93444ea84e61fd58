//! The operator's page of the local gate: what is shown behind the link of `placet admin link`.

use std::sync::Arc;

use placet_core::admin_link::AdminLink;
use placet_core::policy::{Policy, Reviewer};
use placet_core::request::{Request, Status};
use placet_core::{Refusal, Timestamp};
use placet_gate::ports::{Keys as _, Store as _, StoreQuery};
use placet_gate::{Error, Fault, Gate};
use placet_http::pages;
use placet_sqlite::SqliteStore;

use crate::keys::FileKeys;

/// At most so many of each list.
const LISTED: usize = 50;

/// How many records are read to find those that have ended.
const LOOKED_AT: usize = 200;

/// What the page is made from.
pub(crate) struct OperatorPage {
    pub(crate) gate: Arc<Gate>,
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) keys: Arc<FileKeys>,
}

impl OperatorPage {
    /// The view behind that link. Refused as not found for a link that no gate made, or whose time is over: whoever holds an
    /// old one learns no more than a stranger.
    pub(crate) async fn view(&self, link: &str, is_ready: bool) -> Result<pages::Operator, Error> {
        let now = self.gate.now();
        let keyring = self.keys.keyring().await?;
        let open_until = AdminLink::parse(link).and_then(|link| link.open_until(&keyring, now));
        let link_ends = open_until.ok_or(Error::Refused(Refusal::NotFound))?;
        let mut waiting = self.gate.all_pending(LISTED.saturating_add(1)).await?;
        let more_waits = waiting.len() > LISTED;
        waiting.truncate(LISTED);
        let query = StoreQuery { client: None, status: None, limit: LOOKED_AT, before: None };
        let mut ended = self.store.list(&query).await?;
        ended.retain(|request| request.outcome().is_some());
        ended.sort_by_key(|request| std::cmp::Reverse(ended_at(request)));
        ended.truncate(LISTED);
        let (policy, warnings) = self.policy().await?;
        Ok(pages::Operator {
            is_ready,
            now_ms: now.millis(),
            link_ends_ms: link_ends.millis(),
            waiting: waiting.iter().map(waiting_line).collect(),
            more_waits,
            ended: ended.iter().map(ended_line).collect(),
            people: policy
                .as_deref()
                .map(|policy| policy.reviewers.iter().map(|one| person_line(one, now)).collect())
                .unwrap_or_default(),
            policy_version: policy.map_or(0, |policy| policy.version),
            warnings,
        })
    }

    /// The policy in force, and what a check of its text warns of.
    async fn policy(&self) -> Result<(Option<Arc<Policy>>, Vec<String>), Fault> {
        let Some(stored) = self.store.policy().await? else { return Ok((None, Vec::new())) };
        let report = Policy::check(&stored.text);
        let warnings = report.warnings.iter().map(|warning| warning.message.clone()).collect();
        Ok((self.gate.policy().await.ok(), warnings))
    }
}

fn ended_at(request: &Request) -> Option<Timestamp> {
    request.outcome().map(|outcome| outcome.decided_at)
}

fn waiting_line(request: &Request) -> pages::WaitingLine {
    let asked = request.asked();
    let (waits_for, closes_at) = request.pending().map_or((Vec::new(), None), |pending| {
        let whom = match asked.stage_queue(pending.stage) {
            Some(queue) => vec![format!("the queue {queue}")],
            None => pending.asked.iter().map(|one| one.reviewer.to_string()).collect(),
        };
        (whom, Some(pending.closes_at))
    });
    pages::WaitingLine {
        client: asked.client.to_string(),
        request_id: asked.request_id.to_string(),
        action: asked.action.clone(),
        waits_for,
        closes_at_ms: closes_at.map_or(0, Timestamp::millis),
    }
}

fn ended_line(request: &Request) -> pages::EndedLine {
    let asked = request.asked();
    let outcome = request.outcome();
    pages::EndedLine {
        client: asked.client.to_string(),
        request_id: asked.request_id.to_string(),
        action: asked.action.clone(),
        status: outcome.map_or(Status::Pending, |_| request.status()),
        by: outcome
            .map(|outcome| outcome.decided_by.iter().map(ToString::to_string).collect())
            .unwrap_or_default(),
        at_ms: ended_at(request).map_or(0, Timestamp::millis),
    }
}

fn person_line(person: &Reviewer, now: Timestamp) -> pages::PersonLine {
    let today = now.day();
    pages::PersonLine {
        name: person.name.clone(),
        roles: person.roles.iter().cloned().collect(),
        channels: person.channels().iter().map(ToString::to_string).collect(),
        is_away: person.away.iter().any(|away| (away.from_day..=away.until_day).contains(&today)),
    }
}
