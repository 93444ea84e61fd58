//! `permission_prompt`: what Claude Code calls, with `--permission-prompt-tool`, before it uses a tool.
//!
//! Here the caller is the executor: it acts at once on what this returns. So the approval is redeemed before it does,
//! and what is allowed is the input as it was asked, not as the caller has it by then.

use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{CallToolResult, ContentBlock};
use rmcp::service::RequestContext;
use rmcp::{RoleServer, tool, tool_router};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::PlacetServer;
use crate::gate::{Denied, GateClient, Question, is_pending, unique};
use crate::names::action_of;
use crate::patience::PATIENCE;

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
        let request_id = match asked.tool_use_id.as_deref().filter(|id| !id.is_empty()) {
            Some(id) => format!("claude-{}", action_of(id)),
            None => unique("claude")?,
        };
        let question = Question {
            request_id,
            action: format!("claude.{}", action_of(&asked.tool_name)),
            summary: format!("Claude Code wants to use {}", asked.tool_name),
            payload: json!({ "tool": asked.tool_name, "input": asked.input }),
            timeout_seconds: None,
        };
        let gate = self.gate_for(context).with_patience(PATIENCE);
        self.decided(context, &gate, &question).await.map_err(|why| why.to_string())
    }

    async fn decided(
        &self,
        context: &RequestContext<RoleServer>,
        gate: &GateClient,
        question: &Question,
    ) -> Result<(), Denied> {
        let _open = self.open.read().await;
        let mut approval = gate.ask(question).await?;
        while is_pending(&approval) {
            // A gate that is away is waited for: the question stays, whatever this client thinks of it.
            match self.wait(context, gate, &question.request_id, None).await.map(|answer| answer.body) {
                Ok(body) if body.get("status").is_some_and(Value::is_string) => approval = body,
                Ok(_) | Err(_) => {
                    // Nobody is to approve what nobody will do.
                    approval = gate.withdraw(&question.request_id).await?;
                }
            }
        }
        if context.ct.is_cancelled() {
            return Err(Denied::Away("the client stopped waiting".to_owned()));
        }
        gate.redeem(&approval, &question.action, &question.payload).await
    }
}
