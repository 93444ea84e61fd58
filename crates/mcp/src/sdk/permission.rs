//! `permission_prompt`: what Claude Code calls, with `--permission-prompt-tool`, before it uses a tool.
//!
//! Here the caller is the executor: it acts at once on what this returns. So the approval is redeemed before it does,
//! and what is allowed is the input as it was asked, not as the caller has it by then.

use rmcp::RoleServer;
use rmcp::model::{CallToolResult, ContentBlock};
use rmcp::service::RequestContext;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{PlacetServer, Progress, stopped};
use crate::gate::{Denied, GateClient, Question, is_pending, unique};
use crate::names::action_of;
use crate::patience::PATIENCE;
use crate::tools;

/// What Claude Code sends.
#[derive(Debug, Deserialize)]
pub(super) struct PermissionPrompt {
    tool_name: String,
    input: Map<String, Value>,
    tool_use_id: Option<String>,
}

impl PlacetServer {
    /// Asks a person whether a tool may be used, and waits for the answer.
    pub(super) async fn permission_prompt(
        &self,
        asked: PermissionPrompt,
        context: &RequestContext<RoleServer>,
    ) -> CallToolResult {
        let verdict = match self.permit(context, &asked).await {
            Ok(()) => json!({ "behavior": "allow", "updatedInput": asked.input }),
            Err(why) => json!({ "behavior": "deny", "message": why }),
        };
        CallToolResult::success(vec![ContentBlock::text(verdict.to_string())])
    }

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
        let progress = Progress(context);
        let mut approval = gate.ask(question).await?;
        while is_pending(&approval) {
            let waited = tokio::select! {
                // A gate that is away is waited for: the question stays, whatever this client thinks of it.
                waited = tools::wait(gate, &question.request_id, None, &progress) => waited,
                () = context.ct.cancelled() => Err(stopped()),
            };
            match waited.map(|answer| answer.body) {
                Ok(body) if body.get("status").is_some_and(Value::is_string) => approval = body,
                Ok(_) | Err(_) => {
                    // Nobody is to approve what nobody will do.
                    approval = gate.withdraw(&question.request_id).await?;
                }
            }
        }
        if context.ct.is_cancelled() {
            return Err(stopped());
        }
        gate.redeem(&approval, &question.action, &question.payload).await
    }
}
