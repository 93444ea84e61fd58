//! `placet link`: a reviewer's link to a request again.

use placet_core::id::{RequestId, RequestKey, ReviewerId};
use placet_core::policy::Policy;
use placet_core::request::{Request, Standing};
use serde_json::{Value, json};

use super::Opened;
use crate::cli::{Globals, Link};
use crate::console::{note, print};
use crate::failure::{Exit, Failure};

/// Prints the link, alone on the last line; on standard error, what it is good for.
pub(crate) async fn run(globals: &Globals, options: Link) -> Result<Exit, Failure> {
    let opened = Opened::of(globals, &options.on).await?;
    let again = again(opened, options.client.as_deref(), &options.request_id, &options.reviewer).await?;
    if globals.json {
        print(&super::pretty(&again.to_json()));
    } else {
        again.explain(&options.reviewer);
        print(&format!("{}\n", again.url));
    }
    Ok(Exit::Done)
}

/// A reviewer's link again, and what it is good for.
pub(super) struct LinkAgain {
    url: String,
    request: Request,
    overdue: bool,
    is_asked: bool,
    may_approve: bool,
}

/// The link of that reviewer to that request. `client` is the only one that asks, where none is named.
pub(super) async fn again(
    opened: Opened,
    client: Option<&str>,
    request_id: &str,
    reviewer: &str,
) -> Result<LinkAgain, Failure> {
    let Opened { gate, store, policy } = opened;
    let client = super::asking_client(client, &policy)?;
    let reviewer = super::inbox::known_reviewer(reviewer, &policy)?;
    let id = RequestId::parse(request_id)
        .map_err(|error| Failure::usage(format!("`{request_id}`: a request id {error}")))?;
    let request = store.load(RequestKey::of(&client.id, &id)).await?.ok_or_else(|| {
        Failure::refused(format!("client `{}` has no request `{id}`", client.id))
            .advise("`placet inbox` lists what waits; --client says whose request you mean")
    })?;
    let url =
        format!("{}/r/{}", gate.base_url(&policy), gate.link(request.asked(), &reviewer, &policy).await?);
    let overdue = request.is_overdue(gate.now());
    let standing = request.standing(&reviewer, &policy, gate.now());
    let is_asked = !overdue && standing != Standing::Nothing;
    let may_approve = is_asked && standing == Standing::Decide;
    if !is_asked && !was_asked(&request, &reviewer, &policy) {
        return Err(
            Failure::refused(format!("{reviewer} is not asked by this request")).advise(who_is(&request))
        );
    }
    Ok(LinkAgain { url, request, overdue, is_asked, may_approve })
}

impl LinkAgain {
    /// For programs.
    pub(super) fn to_json(&self) -> Value {
        json!({
            "link": self.url,
            "status": self.request.status().as_str(),
            "is_asked": self.is_asked,
            "may_approve": self.may_approve,
        })
    }

    /// Says what the link cannot do.
    fn explain(&self, reviewer: &str) {
        let Self { request, overdue, is_asked, may_approve, .. } = self;
        if request.outcome().is_some() {
            note(&format!("the request has ended ({}): the link only shows how", request.status()));
        } else if *overdue {
            note("the deadline has passed: the link only shows that");
        } else if !is_asked {
            note(&format!(
                "{reviewer} is not asked any more: the link shows the request, but takes no decision"
            ));
        } else if !may_approve {
            let client = &request.asked().client;
            note(&format!("{reviewer} owns the client `{client}`: the link can reject, but not approve"));
        }
    }
}

/// Whether they have voted, or one of the stages so far was theirs: then they had a link, and may have it again.
fn was_asked(request: &Request, reviewer: &ReviewerId, policy: &Policy) -> bool {
    let Some(person) = policy.reviewer(reviewer) else { return false };
    let voted = request.state().votes().iter().any(|vote| vote.reviewer == *reviewer);
    let stages = request.state().stage().map_or(0, |stage| stage.saturating_add(1));
    voted || (0..stages).any(|stage| person.has_any(request.asked().stage_roles(stage)))
}

fn who_is(request: &Request) -> String {
    let Some(pending) = request.pending() else {
        return format!("it has ended: {}", request.status());
    };
    if let Some(queue) = request.asked().stage_queue(pending.stage) {
        return format!("it waits in the queue `{queue}`");
    }
    let people: Vec<&str> = pending.asked.iter().map(|asked| asked.reviewer.as_str()).collect();
    format!("it asks: {}", people.join(", "))
}
