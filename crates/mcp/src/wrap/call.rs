//! One call of a tool: asked of the gate, waited for, redeemed, and only then sent to the server.

use std::sync::Arc;
use std::time::Duration;

use placet_core::payload::canonical_text;
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::message::{self, error, is_modern, meta, not_done, own_meta, takes_tasks};
use super::session::{Definition, Listed, Session};
use crate::gate::{Denied, Question, is_pending, text, unique};
use crate::names::{action_within, digest};

/// How long one question to the gate waits, in seconds: a client that asked for progress hears of it that often.
const POLL_SECONDS: u64 = 5;

/// A step of progress: so small that whatever the server reports later is still more.
const STEP: f64 = 1e-6;

/// A tool's part of an action, in characters, at most.
const TOOL_CHARACTERS: usize = 60;

/// A definition that is shown when it has changed, in bytes of canonical text, at most; a longer one is named by its digest.
const SHOWN_BYTES: usize = 24 * 1024;

/// A call that the client has made.
pub(super) struct ToolCall {
    id: Value,
    params: Map<String, Value>,
    stop: watch::Receiver<bool>,
    modern: bool,
}

/// What is asked, and what it is about.
struct Asked {
    question: Question,
    /// The digest of the payload: the same call again finds the same question by it.
    about: String,
    tool: String,
    definition: Option<Definition>,
}

/// How a call that was not made ends.
enum Not {
    /// The client is told.
    Told(Value),
    /// Nobody is told: the client has cancelled it.
    Stopped,
}

impl ToolCall {
    pub(super) fn new(id: Value, params: Map<String, Value>, stop: watch::Receiver<bool>) -> Self {
        let modern = is_modern(&params);
        Self { id, params, stop, modern }
    }

    /// Does it, or says why not.
    pub(super) async fn run(mut self, session: Arc<Session>) {
        let (tool, definition) = match self.checked(&session).await {
            Ok(checked) => checked,
            Err(why) => {
                // Whoever has cancelled it hears no more of it.
                if session.release(&self.id) {
                    session.tell(&error(&self.id, -32602, &why)).await;
                }
                return;
            }
        };
        let mut task = None;
        let outcome = match self.asked(&session, tool, definition) {
            Ok(asked) => self.decided(&session, &asked, &mut task).await,
            Err(why) => Err(told(&why)),
        };
        // From here on a cancellation is the server's. A task has let its request go before.
        let may_go = task.is_none() && session.release(&self.id);
        match (outcome, task) {
            (Ok(()), None) if may_go => {
                session
                    .forward(json!({ "jsonrpc": "2.0", "id": self.id, "method": "tools/call", "params": self.params }))
                    .await;
            }
            (Ok(()), Some(task)) => self.run_as(&session, &task).await,
            (Err(Not::Told(result)), None) => {
                session.tell(&message::result(&self.id, self.modern, result)).await;
            }
            (Err(Not::Told(result)), Some(task)) => session.tasks.complete(&task, result),
            (Err(Not::Stopped), Some(task)) => session.tasks.cancelled(&task),
            (Ok(()) | Err(Not::Stopped), None) => {}
        }
    }

    /// The tool, where this is a call that the server could do at all: nobody is asked about another one.
    async fn checked(&mut self, session: &Session) -> Result<(String, Option<Definition>), String> {
        let Some(tool) = self.params.get("name").and_then(Value::as_str).map(str::to_owned) else {
            return Err("`params.name` must be the tool's name".to_owned());
        };
        match self.params.get("arguments") {
            None | Some(Value::Object(_)) => {}
            // The server is sent what people are shown.
            Some(Value::Null) => {
                self.params.insert("arguments".into(), json!({}));
            }
            Some(_) => return Err("`params.arguments` must be a JSON object".to_owned()),
        }
        match session.definition(&tool, &self.params).await {
            Listed::As(definition) => Ok((tool, Some(definition))),
            Listed::Unknown => Ok((tool, None)),
            Listed::Not => Err(format!("unknown tool `{tool}`: the MCP server does not list it")),
        }
    }

    /// What the gate is asked.
    fn asked(
        &self,
        session: &Session,
        tool: String,
        definition: Option<Definition>,
    ) -> Result<Asked, String> {
        let now = definition.as_ref().map(|definition| definition.digest.clone());
        let approved = session.wrap.pins.of(&tool)?;
        let changed = approved.is_some() && approved != now;
        let name = &session.wrap.name;
        let mut payload = json!({
            "server": name,
            "tool": tool,
            "arguments": self.params.get("arguments").unwrap_or(&json!({})),
            "definition_sha256": now,
        });
        let more: Map<String, Value> = self
            .params
            .iter()
            .filter(|(key, _)| !matches!(key.as_str(), "name" | "arguments" | "_meta" | "task"))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        if let Some(payload) = payload.as_object_mut() {
            if !more.is_empty() {
                payload.insert("more".into(), Value::Object(more));
            }
            if changed {
                payload.insert("approved_definition_sha256".into(), json!(approved));
                if let Some(definition) =
                    definition.as_ref().filter(|one| canonical_text(&one.value).len() <= SHOWN_BYTES)
                {
                    payload.insert("definition".into(), definition.value.clone());
                }
            }
        }
        let about = digest(canonical_text(&payload).as_bytes());
        let request_id = match session.unpark(&about) {
            Some(request_id) => request_id,
            None => unique("mcp")?,
        };
        // A rule for the tool as it was approved does not let another one pass under its name.
        let (kind, said) = if changed {
            ("mcp-changed", ", whose definition has changed since it was approved")
        } else {
            ("mcp", "")
        };
        let question = Question {
            request_id,
            action: format!("{kind}.{name}.{}", action_within(&tool, TOOL_CHARACTERS)),
            summary: format!("An agent wants to use `{tool}` of the MCP server {name}{said}"),
            payload,
            timeout_seconds: session.wrap.timeout_seconds,
        };
        Ok(Asked { question, about, tool, definition })
    }

    /// Asks, waits and redeems. `Ok`: the call may go ahead, once.
    async fn decided(&self, session: &Session, asked: &Asked, task: &mut Option<String>) -> Result<(), Not> {
        let gate = &session.wrap.gate;
        let Asked { question, .. } = asked;
        let approval = match gate.ask(question).await {
            Ok(approval) => approval,
            Err(why) => {
                // Whether it arrived is not known; its name is this call's own.
                if matches!(why, Denied::Away(_)) {
                    let _ = gate.clone().with_patience(Duration::ZERO).withdraw(&question.request_id).await;
                }
                return Err(told(&why.to_string()));
            }
        };
        if is_pending(&approval) && takes_tasks(&self.params) {
            let (id, created) = session.tasks.open(&approval);
            session.tell(&message::result(&self.id, self.modern, created)).await;
            // Its request has its answer; from now on the task's own id stops it.
            session.release(&self.id);
            *task = Some(id);
        }
        let approval = self.heard(session, asked, approval, task.as_deref()).await?;
        if approval.get("approved") != Some(&Value::Bool(true)) {
            let how = crate::gate::ended(&approval);
            return Err(Not::Told(not_done(&format!("Not approved, and not done: {how}"))));
        }
        // The definition is part of what was approved.
        if let Some(definition) = &asked.definition {
            session.wrap.pins.put(&asked.tool, &definition.digest).map_err(|why| told(&why))?;
        }
        gate.redeem(&approval, &question.action, &question.payload)
            .await
            .map_err(|why| told(&why.to_string()))
    }

    /// The approval once it has ended.
    async fn heard(
        &self,
        session: &Session,
        asked: &Asked,
        mut approval: Value,
        task: Option<&str>,
    ) -> Result<Value, Not> {
        let gate = &session.wrap.gate;
        let request_id = &asked.question.request_id;
        let progress =
            meta(&self.params).and_then(|meta| meta.get("progressToken")).filter(|_| task.is_none());
        let give_up = Instant::now() + session.wrap.answer_after;
        let mut steps = 0.0;
        let mut stop = match task {
            Some(task) => session.tasks.stop_of(task).unwrap_or_else(|| self.stop.clone()),
            None => self.stop.clone(),
        };
        while is_pending(&approval) {
            if let Some(token) = progress {
                steps += 1.0;
                session.tell(&waiting(token, steps, &approval)).await;
            }
            let withdraw = tokio::select! {
                heard = gate.listen(request_id, POLL_SECONDS) => match heard {
                    Ok(now) => {
                        approval = now;
                        continue;
                    }
                    Err(why) => Not::Told(not_done(&format!("Not done: {why}"))),
                },
                () = tokio::time::sleep_until(give_up), if task.is_none() => {
                    session.park(&asked.about, request_id.clone());
                    let said = format!(
                        "Not done yet: a person was asked ({request_id}) and has not answered so far. Call this tool again \
                         with exactly the same arguments to go on waiting, and do not try it another way."
                    );
                    return Err(Not::Told(not_done(&said)));
                }
                () = stopped(&mut stop) => Not::Stopped,
                () = session.closed() => told("the MCP server's wrapper ends"),
            };
            // Nobody is to approve what nobody will do. If a decision came first, it stands, and is not used.
            let _ = gate.clone().with_patience(Duration::from_secs(3)).withdraw(request_id).await;
            return Err(withdraw);
        }
        Ok(approval)
    }

    /// Makes the call as a task: under an id of the wrapper's own, for the client has its answer.
    async fn run_as(&self, session: &Session, task: &str) {
        let mut stop = session.tasks.stop_of(task).unwrap_or_else(|| self.stop.clone());
        if *stop.borrow() {
            return session.tasks.cancelled(task);
        }
        let mut params = self.params.clone();
        params.remove("task");
        match own_meta(&self.params) {
            Some(meta) => params.insert("_meta".into(), meta),
            None => params.remove("_meta"),
        };
        let Some((id, answer)) = session.ask_server("tools/call", Value::Object(params)).await else {
            return session.tasks.complete(task, not_done("Not done: the wrapper has no random bits"));
        };
        tokio::select! {
            answer = answer => match answer {
                Ok(answer) => session.tasks.answered(task, &answer),
                // It was sent: whether it was done is not known.
                Err(_) => session.tasks.complete(task, not_done("The MCP server ended; whether it was done is not known")),
            },
            () = stopped(&mut stop) => {
                let params = json!({ "requestId": id, "reason": "the task was cancelled" });
                session.forward(json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params })).await;
                session.tasks.cancelled(task);
            }
        }
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        // Whoever could have stopped it has let it go.
        std::future::pending::<()>().await;
    }
}

fn told(why: &str) -> Not {
    Not::Told(not_done(&format!("Not done: {why}")))
}

/// That it still waits, for a client that wants to hear of it.
fn waiting(token: &Value, steps: f64, approval: &Value) -> Value {
    let until = match text(approval, "deadline") {
        "" => "it is decided",
        deadline => deadline,
    };
    let params = json!({ "progressToken": token, "progress": steps * STEP, "message": format!("waiting for a person, until {until}") });
    json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params })
}
