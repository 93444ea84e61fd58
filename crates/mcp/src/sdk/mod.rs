//! The server over MCP's official SDK.

mod http_transport;
mod permission;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use http::header;
use http::request::Parts;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, CancelTaskParams, ContentBlock,
    CreateTaskResult, GetTaskParams, GetTaskResult, Implementation, ListToolsResult, PaginatedRequestParams,
    ProgressNotificationParam, ServerCapabilities, ServerConfig, Tool, UpdateTaskParams,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler, ServiceExt as _};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::RwLock;

use crate::gate::{Denied, GateClient, is_pending};
use crate::tasks::NoTask;
use crate::tools::{Listener, Said};
use crate::{Upstream, definitions, tasks, tools};

pub use http_transport::service;

/// How long the withdrawals at the end may take.
const WITHDRAW_TIMEOUT: Duration = Duration::from_secs(6);

/// The longest that one call of `wait_for_approval` takes, in seconds. Clients give up on a call after 60.
const MAX_WAIT_SECONDS: u64 = 45;

/// How long a gate that is away is tried again within one call: whoever calls gives up on it soon after.
const PATIENCE: Duration = Duration::from_secs(20);

static ASKING: LazyLock<Vec<Tool>> = LazyLock::new(|| {
    definitions::asking().into_iter().filter_map(|tool| serde_json::from_value(tool).ok()).collect()
});

const PERMISSION_PROMPT: &str = "permission_prompt";

/// The MCP server.
#[derive(Clone)]
pub struct PlacetServer {
    gate: Arc<dyn Upstream>,
    prompts: bool,
    /// Read by whoever has a question open that must be withdrawn when nobody waits for it any more.
    open: Arc<RwLock<()>>,
}

impl PlacetServer {
    /// With `request_approval`, `wait_for_approval` and `verify_token`.
    pub fn new(gate: Arc<dyn Upstream>) -> Self {
        Self { gate, prompts: false, open: Arc::default() }
    }

    /// With `permission_prompt` as well: what Claude Code's `--permission-prompt-tool` calls.
    #[must_use]
    pub fn with_permission_prompt(self) -> Self {
        Self { prompts: true, ..self }
    }

    /// Serves over standard input and output until the client closes them, or `stop` comes.
    ///
    /// Returns once the questions of prompts that nobody waits for any more are withdrawn.
    pub async fn serve_stdio(self, stop: impl Future<Output = ()>) -> Result<(), String> {
        let open = Arc::clone(&self.open);
        tokio::pin!(stop);
        let running = tokio::select! {
            running = self.serve(rmcp::transport::stdio()) => running.map_err(|error| error.to_string())?,
            () = &mut stop => return Ok(()),
        };
        let ending = running.cancellation_token();
        let ended = running.waiting();
        tokio::pin!(ended);
        let result = tokio::select! {
            result = &mut ended => result,
            () = &mut stop => {
                ending.cancel();
                ended.await
            }
        };
        let _ = tokio::time::timeout(WITHDRAW_TIMEOUT, open.write()).await;
        result.map(drop).map_err(|error| error.to_string())
    }

    fn tools(&self) -> Vec<Tool> {
        let mut tools = ASKING.clone();
        if self.prompts {
            tools.extend(serde_json::from_value(definitions::permission_prompt()));
            tools.sort_by(|one, other| one.name.cmp(&other.name));
        }
        tools
    }

    /// The gate, as whoever called this server.
    fn gate_for(&self, context: &RequestContext<RoleServer>) -> GateClient {
        let authorization = context
            .extensions
            .get::<Parts>()
            .and_then(|parts| parts.headers.get(header::AUTHORIZATION).cloned());
        GateClient::new(Arc::clone(&self.gate)).on_behalf_of(authorization).with_patience(PATIENCE)
    }
}

impl ServerHandler for PlacetServer {
    fn get_info(&self) -> ServerConfig {
        let mut info = ServerConfig::new(ServerCapabilities::builder().enable_tools().enable_tasks().build());
        info.server_info = Implementation::new(definitions::NAME, env!("CARGO_PKG_VERSION"));
        info.instructions = Some(definitions::INSTRUCTIONS.to_owned());
        info
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.tools().into_iter().find(|tool| tool.name == name)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.tools()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        if self.prompts && request.name == PERMISSION_PROMPT {
            return Ok(match serde_json::from_value(Value::Object(arguments)) {
                Ok(asked) => self.permission_prompt(asked, &context).await.into(),
                Err(error) => CallToolResult::error(vec![ContentBlock::text(error.to_string())]).into(),
            });
        }
        let (gate, listener) = (self.gate_for(&context), Progress(&context));
        let said = tokio::select! {
            said = tools::call(&gate, &request.name, arguments, MAX_WAIT_SECONDS, &listener) => said,
            () = context.ct.cancelled() => Some(tools::said(Err(stopped()))),
        };
        let said = said.ok_or_else(|| ErrorData::invalid_params(tools::UNKNOWN, None))?;
        let takes_tasks =
            context.client_capabilities().is_some_and(|capabilities| capabilities.supports_tasks());
        match &said {
            Said::Answer(approval)
                if takes_tasks && is_pending(approval) && request.name == "request_approval" =>
            {
                Ok(CallToolResponse::Task(CreateTaskResult::new(typed(tasks::fields(approval))?)))
            }
            _ => Ok(result(said).into()),
        }
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        let task =
            tasks::get(&self.gate_for(&context), &request.task_id).await.map_err(|why| no_task(&why))?;
        typed(task).map(GetTaskResult::new)
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        tasks::cancel(&self.gate_for(&context), &request.task_id).await.map_err(|why| no_task(&why))
    }

    /// Nothing is asked of a client within a task.
    async fn update_task(&self, _: UpdateTaskParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        Ok(())
    }
}

/// Tells the client that its call still waits, if it asked for progress.
struct Progress<'c>(&'c RequestContext<RoleServer>);

impl Listener for Progress<'_> {
    async fn still_waits(&self, waited: Duration, limit: Option<Duration>, approval: &Value) {
        let Some(token) = self.0.meta.get_progress_token() else { return };
        let deadline = approval.get("deadline").and_then(Value::as_str).unwrap_or("it is decided");
        let mut progress = ProgressNotificationParam::new(token, waited.as_secs_f64())
            .with_message(format!("waiting for a person, until {deadline}"));
        if let Some(limit) = limit {
            progress = progress.with_total(limit.as_secs_f64());
        }
        // A client that is gone is noticed by `ct`.
        let _ = self.0.peer.notify_progress(progress).await;
    }
}

fn stopped() -> Denied {
    Denied::Away("the client stopped waiting".to_owned())
}

fn result(said: Said) -> CallToolResult {
    match said {
        Said::Answer(body) => CallToolResult::structured(body),
        Said::Refusal(body) => CallToolResult::structured_error(body),
        Said::Nothing(why) => CallToolResult::error(vec![ContentBlock::text(Said::in_words(&why))]),
    }
}

fn typed<T: DeserializeOwned>(task: Value) -> Result<T, ErrorData> {
    serde_json::from_value(task).map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

fn no_task(why: &NoTask) -> ErrorData {
    match why {
        NoTask::Unknown => ErrorData::invalid_params(tasks::UNKNOWN, None),
        NoTask::Denied(why) => ErrorData::internal_error(why.to_string(), None),
    }
}
