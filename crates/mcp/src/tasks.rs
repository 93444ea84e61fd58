//! A question as a task (MCP of 2026-07-28, extension `io.modelcontextprotocol/tasks`): a client that knows tasks gets the
//! approval's id at once, and asks for the outcome by it.
//!
//! Nothing about a task is kept here: it is the request in the gate's store. So a wait outlives the client, this server and
//! the gate's process, and another client of the same key may go on with it. A task belongs to whoever asked: it is looked
//! for among the caller's own requests.

use http::Method;
use serde_json::{Value, json};

use crate::gate::{Denied, GateClient, encode, is_pending, text};

/// How often a client is to look, in milliseconds.
const POLL_MS: u64 = 2000;

/// The characters of an approval's id, a ULID, in their order (Crockford's base 32).
const ULID: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Why there is nothing to tell of a task.
#[derive(Debug)]
pub(crate) enum NoTask {
    /// There is none of that id, or it is somebody else's.
    Unknown,
    /// The gate refused, or did not answer.
    Denied(Denied),
}

/// What a client is told of a task that there is not.
pub(crate) const UNKNOWN: &str = "no such task";

/// The task of that id, as it stands: the fields of MCP's `DetailedTask`.
pub(crate) async fn get(gate: &GateClient, id: &str) -> Result<Value, NoTask> {
    let approval = approval(gate, id).await?;
    let mut task = fields(&approval);
    let is_completed = text(&task, "status") == "completed";
    if let (true, Some(fields)) = (is_completed, task.as_object_mut()) {
        let result = json!({
            "resultType": "complete",
            "content": [{ "type": "text", "text": approval.to_string() }],
            "isError": false,
            "structuredContent": approval,
        });
        fields.insert("result".into(), result);
    }
    Ok(task)
}

/// Withdraws what a task waits for. Where it has ended already, it stays as it ended.
pub(crate) async fn cancel(gate: &GateClient, id: &str) -> Result<(), NoTask> {
    let approval = approval(gate, id).await?;
    if !is_pending(&approval) {
        return Ok(());
    }
    gate.withdraw(text(&approval, "request_id")).await.map(drop).map_err(NoTask::Denied)
}

/// The caller's own approval of that id.
async fn approval(gate: &GateClient, id: &str) -> Result<Value, NoTask> {
    // The gate lists what is older than an id: one more than this one's begins with it.
    let before = successor(id).ok_or(NoTask::Unknown)?;
    let path = format!("/v1/requests?limit=1&cursor={before}");
    let page = gate.call(Method::GET, &path, None).await.map_err(NoTask::Denied)?;
    let found = page
        .get("requests")
        .and_then(|requests| requests.get(0))
        .filter(|one| text(one, "approval_id") == id);
    let request_id = found.map(|one| text(one, "request_id")).ok_or(NoTask::Unknown)?;
    let path = format!("/v1/requests/{}", encode(request_id));
    let approval = gate.call(Method::GET, &path, None).await.map_err(NoTask::Denied)?;
    if text(&approval, "approval_id") == id { Ok(approval) } else { Err(NoTask::Unknown) }
}

/// The fields of MCP's `Task` for an approval.
pub(crate) fn fields(approval: &Value) -> Value {
    let status = match text(approval, "status") {
        "pending" => "working",
        "cancelled" => "cancelled",
        _ => "completed",
    };
    let created_at = text(approval, "created_at");
    let changed_at = match text(approval, "decided_at") {
        "" => created_at,
        decided_at => decided_at,
    };
    let mut task = json!({
        "taskId": text(approval, "approval_id"),
        "status": status,
        "createdAt": created_at,
        "lastUpdatedAt": changed_at,
        "ttlMs": null,
        "pollIntervalMs": POLL_MS,
    });
    if let ("working", Some(task)) = (status, task.as_object_mut()) {
        let (until, request_id) = (text(approval, "deadline"), text(approval, "request_id"));
        let message = format!("a person was asked, until {until}; request_id {request_id}");
        task.insert("statusMessage".into(), message.into());
    }
    task
}

/// The ULID after that one; none where it is no ULID, or the last one.
fn successor(id: &str) -> Option<String> {
    let mut digits = id
        .bytes()
        .map(|byte| ULID.iter().position(|digit| *digit == byte))
        .collect::<Option<Vec<usize>>>()?;
    if digits.len() != 26 || digits.first().is_none_or(|first| *first > 7) {
        return None;
    }
    let last = digits.iter().rposition(|digit| *digit < 31)?;
    for (place, digit) in digits.iter_mut().enumerate().skip(last) {
        *digit = if place == last { *digit + 1 } else { 0 };
    }
    let text = digits
        .into_iter()
        .map(|digit| ULID.get(digit).copied().map(char::from))
        .collect::<Option<String>>()?;
    // A first digit above 7 is none of 128 bits.
    (text.as_bytes().first() <= Some(&b'7')).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_id_is_one_more() {
        for (id, next) in [
            ("01ARZ3NDEKTSV4RRFFQ69G5FAV", Some("01ARZ3NDEKTSV4RRFFQ69G5FAW")),
            ("01ARZ3NDEKTSV4RRFFQ69G5FZZ", Some("01ARZ3NDEKTSV4RRFFQ69G5G00")),
            ("7ZZZZZZZZZZZZZZZZZZZZZZZZZ", None),
            ("8ZZZZZZZZZZZZZZZZZZZZZZZZA", None),
            ("01ARZ3NDEKTSV4RRFFQ69G5FA", None),
            ("01arz3ndektsv4rrffq69g5fav", None),
            ("01ARZ3NDEKTSV4RRFFQ69G5FA&", None),
            ("", None),
        ] {
            assert_eq!(successor(id).as_deref(), next, "{id}");
        }
    }
}
