//! An inbox as its page shows it.

use axum::http::StatusCode;
use axum::response::Response;
use placet_core::Timestamp;
use placet_core::policy::{ApprovalTerms, Policy, Reviewer};
use placet_core::request::Request;
use placet_gate::{Error, Gate, Inbox, InboxItem, LateDecision, are_alike};

use super::{News, inbox_page};
use crate::pages;
use crate::reviewer::{choice, display_name, paused};

/// An inbox as it is shown.
pub(super) struct Shown {
    pub(super) inbox: Inbox,
    pub(super) view: pages::Inbox,
}

impl Shown {
    pub(super) async fn load(gate: &Gate, link: &str, news: &News, version: String) -> Result<Self, Error> {
        let inbox = gate.inbox(link).await?;
        let prefix = path_prefix(&gate.base_url(&inbox.policy));
        let action = format!("{prefix}/inbox/{link}");
        let mut groups: Vec<pages::InboxGroup> = Vec::new();
        let mut heads: Vec<&InboxItem> = Vec::new();
        for item in &inbox.items {
            let request = inbox_request(item, &inbox.policy, &prefix);
            let alike = heads.iter().position(|head| {
                are_alike(&head.request, &item.request)
                    && head.voted == item.voted
                    && head.may_approve == item.may_approve
            });
            if let Some(group) = alike.and_then(|at| groups.get_mut(at)) {
                group.all.push(request);
            } else {
                groups.push(pages::InboxGroup { first: request.clone(), all: vec![request] });
                heads.push(item);
            }
        }
        let waiting = inbox.items.iter().filter(|item| item.voted.is_none()).count() + inbox.more;
        let away = away_view(&inbox, gate.now());
        let view = pages::Inbox {
            away,
            paused: paused_clients(&inbox, gate.now()),
            nonce: inbox.nonce.clone(),
            reviewer_name: display_name(&inbox.policy, inbox.reviewer.as_str()),
            now_ms: gate.now().millis(),
            groups,
            waiting,
            more: inbox.more,
            lately: inbox.lately.iter().map(|late| late_row(late, &prefix)).collect(),
            said: Vec::new(),
            notice: None,
            version,
            nudged: inbox.policy.reviewer(&inbox.reviewer).is_some_and(Reviewer::is_nudged),
            events: news.are_told().then(|| format!("{action}/events")),
            manifest: format!("{action}/app.webmanifest"),
            action,
            prefix,
            push: inbox.push.as_ref().map(|switch| pages::Push {
                key: switch.public_key.clone(),
                devices: switch.devices.clone(),
            }),
        };
        Ok(Self { inbox, view })
    }

    pub(super) fn page(&self, status: StatusCode) -> Response {
        inbox_page(status, &pages::inbox(&self.view))
    }
}

/// Where the reviewer is, and who may stand in for them.
fn away_view(inbox: &Inbox, now: Timestamp) -> pages::Away {
    let policy = &inbox.policy;
    let Some(person) = policy.reviewer(&inbox.reviewer) else { return pages::Away::default() };
    let own = policy.own_absence(&inbox.reviewer, now);
    pages::Away {
        until_ms: own.map(|own| own.until.millis()),
        instead: own.and_then(|own| Some(display_name(policy, own.backup.as_ref()?.as_str()))),
        by_file: person.is_away_by_file(now),
        backups: policy
            .backups_of(person)
            .into_iter()
            .map(|other| (other.id.to_string(), other.name.clone()))
            .collect(),
    }
}

/// The paused clients that are the reviewer's business: those that they paused themselves, and their own.
fn paused_clients(inbox: &Inbox, now: Timestamp) -> Vec<pages::PausedClient> {
    let policy = &inbox.policy;
    let pauses = policy.pauses_at(now).filter_map(|pause| {
        let client = policy.client(&pause.client)?;
        let is_own = pause.by == inbox.reviewer;
        (is_own || client.owner.as_ref() == Some(&inbox.reviewer)).then(|| pages::PausedClient {
            id: client.id.to_string(),
            name: client.name.clone(),
            pause: paused(policy, pause, &inbox.reviewer),
        })
    });
    pauses.collect()
}

/// The path before the gate's own paths, as browsers see it: a proxy may have put the gate below one.
pub(crate) fn path_prefix(base_url: &str) -> String {
    let after_host = base_url.split_once("://").map_or(base_url, |(_, rest)| rest);
    after_host
        .split_once('/')
        .map_or_else(String::new, |(_, path)| format!("/{}", path.trim_end_matches('/')))
}

fn inbox_request(item: &InboxItem, policy: &Policy, prefix: &str) -> pages::InboxRequest {
    let InboxItem { request, link, nonce, may_approve, voted, novelty } = item;
    let asked = request.asked();
    pages::InboxRequest {
        id: asked.approval_id.to_string(),
        version: request.version(),
        client: asked.client.to_string(),
        request_id: asked.request_id.to_string(),
        action: asked.action.clone(),
        summary: asked.shown_summary().to_owned(),
        title: asked.title_of(request.state().payload(asked)).into_owned(),
        headline: headline(request),
        payload: asked.shown(request.state().payload(asked)).into_owned(),
        needs_page: asked.terms.as_ref().is_some_and(ApprovalTerms::needs_page),
        urgent: asked.terms.as_ref().is_some_and(|terms| terms.urgent),
        link: link.to_string(),
        nonce: nonce.clone(),
        url: format!("{prefix}/r/{link}"),
        created_at_ms: asked.created_at.millis(),
        stage_deadline_ms: request.pending().map_or(0, |pending| pending.closes_at.millis()),
        approvals_needed: asked.approvals_needed(),
        approvals: request.approvals_counted(policy),
        may: if *may_approve { pages::May::Both } else { pages::May::RejectOnly },
        voted: voted.map(choice),
        novelty: novelty.clone(),
    }
}

fn late_row(late: &LateDecision, prefix: &str) -> pages::LateRow {
    pages::LateRow {
        client: late.request.asked().client.to_string(),
        headline: headline(&late.request),
        url: format!("{prefix}/r/{}", late.link),
        choice: choice(late.decision),
        at_ms: late.voted_at.millis(),
        status: late.request.status(),
    }
}

pub(super) fn headline(request: &Request) -> String {
    let asked = request.asked();
    asked.title_of(request.state().payload(asked)).on_page()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_below_a_path_says_so() {
        for (base, prefix) in [
            ("https://gate.example.com", ""),
            ("https://example.com/gate", "/gate"),
            ("http://127.0.0.1:8484/a/b/", "/a/b"),
        ] {
            assert_eq!(path_prefix(base), prefix);
        }
    }
}
