//! `placet link`: a reviewer's link to a request again.

use placet_core::id::{RequestId, RequestKey, ReviewerId};
use placet_core::policy::Policy;
use placet_core::request::{Request, Standing};
use serde_json::json;

use super::Opened;
use crate::cli::{Globals, Link};
use crate::console::{note, print};
use crate::failure::{Exit, Failure};

/// Prints the link, alone on the last line; on standard error, what it is good for.
pub(crate) async fn run(globals: &Globals, options: Link) -> Result<Exit, Failure> {
    let Opened { gate, store, policy } = Opened::of(globals, &options.on).await?;
    let client = super::asking_client(options.client.as_deref(), &policy)?;
    let reviewer = super::inbox::known_reviewer(&options.reviewer, &policy)?;
    let id = RequestId::parse(&options.request_id)
        .map_err(|error| Failure::usage(format!("`{}`: a request id {error}", options.request_id)))?;
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
    if globals.json {
        print(&super::pretty(&json!({
            "link": url,
            "status": request.status().as_str(),
            "is_asked": is_asked,
            "may_approve": may_approve,
        })));
        return Ok(Exit::Done);
    }
    if request.outcome().is_some() {
        note(&format!("the request has ended ({}): the link only shows how", request.status()));
    } else if overdue {
        note("the deadline has passed: the link only shows that");
    } else if !is_asked {
        note(&format!("{reviewer} is not asked any more: the link shows the request, but takes no decision"));
    } else if !may_approve {
        note(&format!("{reviewer} owns the client `{}`: the link can reject, but not approve", client.id));
    }
    print(&format!("{url}\n"));
    Ok(Exit::Done)
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
