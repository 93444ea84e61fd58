//! `permission_prompt`: what Claude Code calls, with `--permission-prompt-tool`, before it uses a tool.
//!
//! Here the caller is the executor: it acts at once on what this returns. So the approval is redeemed before it does,
//! and what is allowed is the input as it was asked, not as the caller has it by then.

#![expect(clippy::disallowed_methods, reason = "names of requests are drawn here")]

use http::Method;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{CallToolResult, ContentBlock};
use rmcp::service::RequestContext;
use rmcp::{RoleServer, tool, tool_router};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::PlacetServer;
use crate::upstream::Answer;

/// What Claude Code sends.
#[derive(Debug, Deserialize, JsonSchema)]
struct PermissionPrompt {
    /// The tool that is about to be used.
    tool_name: String,
    /// What it is about to be called with.
    input: Map<String, Value>,
    /// Claude Code's name for this one use.
    tool_use_id: Option<String>,
}

#[tool_router(router = permission_tools, vis = "pub(crate)")]
impl PlacetServer {
    /// Ask a person whether a tool may be used, and wait for the answer.
    #[tool(annotations(
        title = "Permission prompt",
        read_only_hint = false,
        destructive_hint = false,
        open_world_hint = true
    ))]
    async fn permission_prompt(
        &self,
        Parameters(asked): Parameters<PermissionPrompt>,
        context: RequestContext<RoleServer>,
    ) -> CallToolResult {
        let verdict = match self.permit(&context, &asked).await {
            Ok(()) => json!({ "behavior": "allow", "updatedInput": asked.input }),
            Err(why) => json!({ "behavior": "deny", "message": why }),
        };
        CallToolResult::success(vec![ContentBlock::text(verdict.to_string())])
    }
}

impl PlacetServer {
    async fn permit(
        &self,
        context: &RequestContext<RoleServer>,
        asked: &PermissionPrompt,
    ) -> Result<(), String> {
        let payload = json!({ "tool": asked.tool_name, "input": asked.input });
        let use_id = match &asked.tool_use_id {
            Some(id) => id.clone(),
            None => unique()?,
        };
        let request_id = format!("claude-{}", plain(&use_id, 100));
        let question = json!({
            "request_id": request_id,
            "action": format!("claude.{}", plain(&asked.tool_name, 100)),
            "summary": format!("Claude Code wants to use {}", plain(&asked.tool_name, 100)),
            "payload": payload,
        });
        accept(self.call(context, Method::POST, "/v1/requests".to_owned(), Some(question)).await)?;
        let approval = accept(self.wait(context, &request_id, None).await)?;
        let token = approval.get("token").and_then(Value::as_str);
        let (Some(Value::Bool(true)), Some(token)) = (approval.get("approved"), token) else {
            return Err(refused(&approval));
        };
        let redemption = json!({ "token": token, "payload": payload, "redeemed_by": unique()? });
        accept(self.call(context, Method::POST, "/v1/tokens/redeem".to_owned(), Some(redemption)).await)
            .map(|_| ())
    }
}

fn accept(reply: Result<Answer, String>) -> Result<Value, String> {
    match reply {
        Ok(Answer { status: 200..300, body }) => Ok(body),
        Ok(Answer { status, body }) => {
            let said = body.get("detail").and_then(Value::as_str);
            Err(said.map_or_else(|| format!("the gate answered {status}"), str::to_owned))
        }
        Err(why) => Err(why),
    }
}

fn refused(approval: &Value) -> String {
    let text = |key: &str| approval.get(key).and_then(Value::as_str);
    let status = text("status").unwrap_or("not approved");
    text("reason").map_or_else(|| status.to_owned(), |reason| format!("{status}: {reason}"))
}

/// The characters that the gate takes in names.
fn plain(text: &str, most: usize) -> String {
    let kept = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '-' };
    text.chars().take(most).map(kept).collect()
}

fn unique() -> Result<String, String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| format!("the system's random source failed: {error}"))?;
    Ok(format!("mcp-{:032x}", u128::from_le_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_outside_become_names_that_the_gate_takes() {
        assert_eq!(plain("mcp__mail__send now/ü", 18), "mcp__mail__send-no");
        assert_eq!(plain("a.b", 10), "a-b");
    }

    #[test]
    fn a_refusal_says_why() {
        assert_eq!(refused(&json!({"status": "rejected", "reason": "not today"})), "rejected: not today");
        assert_eq!(refused(&json!({"status": "expired", "reason": null})), "expired");
    }
}
