//! A question as a task (MCP of 2026-07-28, extension `io.modelcontextprotocol/tasks`): a client that knows tasks gets the
//! approval's id at once, and asks for the outcome by it.
//!
//! Nothing about a task is kept here: it is the request in the gate's store. So a wait outlives the client, this server and
//! the gate's process, and another client of the same key may go on with it. A task belongs to whoever asked: it is looked
//! for among the caller's own requests.

use http::Method;
use rmcp::ErrorData;
use rmcp::RoleServer;
use rmcp::model::{
    CallToolResponse, CallToolResult, CreateTaskResult, DetailedTask, Task, TaskPayload, TaskStatus,
};
use rmcp::service::RequestContext;
use serde_json::Value;

use crate::PlacetServer;
use crate::gate::{Denied, encode, is_pending, text};

/// How often a client is to look, in milliseconds.
const POLL_MS: u64 = 2000;

/// The characters of an approval's id, a ULID, in their order (Crockford's base 32).
const ULID: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// What a call of `request_approval` returns: a task while it waits, if the client takes one.
pub(crate) fn response(result: CallToolResult, context: &RequestContext<RoleServer>) -> CallToolResponse {
    let takes_tasks = context.client_capabilities().is_some_and(|capabilities| capabilities.supports_tasks());
    match &result.structured_content {
        Some(approval) if takes_tasks && is_pending(approval) => {
            CallToolResponse::Task(CreateTaskResult::new(task(approval, TaskStatus::Working)))
        }
        _ => result.into(),
    }
}

impl PlacetServer {
    /// The task of that id, as it stands.
    pub(crate) async fn task(
        &self,
        context: &RequestContext<RoleServer>,
        id: &str,
    ) -> Result<DetailedTask, ErrorData> {
        let approval = self.approval(context, id).await?;
        let payload = match text(&approval, "status") {
            "pending" => TaskPayload::Working,
            "cancelled" => TaskPayload::Cancelled,
            _ => {
                let result =
                    serde_json::to_value(CallToolResult::structured(approval.clone())).unwrap_or_default();
                TaskPayload::Completed { result: result.as_object().cloned().unwrap_or_default() }
            }
        };
        Ok(DetailedTask::new(task(&approval, payload.status()), payload))
    }

    /// Withdraws what a task waits for. Where it has ended already, it stays as it ended.
    pub(crate) async fn withdraw_task(
        &self,
        context: &RequestContext<RoleServer>,
        id: &str,
    ) -> Result<(), ErrorData> {
        let approval = self.approval(context, id).await?;
        if !is_pending(&approval) {
            return Ok(());
        }
        self.gate_for(context)
            .withdraw(text(&approval, "request_id"))
            .await
            .map(drop)
            .map_err(|why| fault(&why))
    }

    /// The caller's own approval of that id.
    async fn approval(&self, context: &RequestContext<RoleServer>, id: &str) -> Result<Value, ErrorData> {
        let unknown = || ErrorData::invalid_params("no such task", None);
        // The gate lists what is older than an id: one more than this one's begins with it.
        let before = successor(id).ok_or_else(unknown)?;
        let gate = self.gate_for(context);
        let path = format!("/v1/requests?limit=1&cursor={before}");
        let page = gate.call(Method::GET, &path, None).await.map_err(|why| fault(&why))?;
        let found = page
            .get("requests")
            .and_then(|requests| requests.get(0))
            .filter(|one| text(one, "approval_id") == id);
        let request_id = found.map(|one| text(one, "request_id")).ok_or_else(unknown)?;
        let path = format!("/v1/requests/{}", encode(request_id));
        let approval = gate.call(Method::GET, &path, None).await.map_err(|why| fault(&why))?;
        if text(&approval, "approval_id") == id { Ok(approval) } else { Err(unknown()) }
    }
}

fn task(approval: &Value, status: TaskStatus) -> Task {
    let created_at = text(approval, "created_at");
    let changed_at = match text(approval, "decided_at") {
        "" => created_at,
        decided_at => decided_at,
    };
    let task = Task::new(text(approval, "approval_id"), status, created_at, changed_at)
        .with_poll_interval_ms(POLL_MS);
    match status {
        TaskStatus::Working => {
            let until = text(approval, "deadline");
            task.with_status_message(format!(
                "a person was asked, until {until}; request_id {}",
                text(approval, "request_id")
            ))
        }
        _ => task,
    }
}

fn fault(why: &Denied) -> ErrorData {
    ErrorData::internal_error(why.to_string(), None)
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
