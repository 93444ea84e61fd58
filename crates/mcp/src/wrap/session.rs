//! What is known while a wrapped server runs: who waits for what, which tools there are, and where each line goes.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use placet_core::payload::canonical_text;
use serde_json::{Map, Value, json};
use tokio::io::AsyncBufRead;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::Wrap;
use super::call::ToolCall;
use super::lines::{Lines, Read};
use super::message::{self, TASKS, Unreadable, error, is_modern, own_meta, takes_tasks};
use super::tasks::{self, Tasks};
use crate::gate::unique;
use crate::names::digest;

/// How long the server may take to list its tools.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);

/// Pages of one list of tools, at most.
const MOST_PAGES: usize = 100;

/// How often the tools are listed for one call, where they change meanwhile.
const MOST_LISTS: usize = 3;

/// A tool's definition.
#[derive(Clone, Debug)]
pub(super) struct Definition {
    /// As the server gave it.
    pub(super) value: Value,
    /// Hex SHA-256 of its canonical text.
    pub(super) digest: String,
}

/// What is known of a tool when it is called.
#[derive(Debug)]
pub(super) enum Listed {
    /// The server lists it.
    As(Definition),
    /// The server has listed its tools, and this is none of them.
    Not,
    /// The server has not said which tools it has.
    Unknown,
}

/// What an answer of the server is looked at for, before it passes.
#[derive(Clone, Copy, Debug)]
enum Look {
    /// Definitions of tools.
    Tools,
    /// The server's capabilities: tasks are the wrapper's, whatever the server can.
    Capabilities,
}

#[derive(Default)]
struct State {
    /// Calls that have not gone to the server yet, by the client's id; their ends of "stop".
    held: HashMap<String, watch::Sender<bool>>,
    /// Questions that a call has asked and nobody waits for just now, by the digest of what they are about.
    parked: HashMap<String, VecDeque<String>>,
    /// The tools, as far as they were listed since the server last said that they have changed.
    definitions: HashMap<String, Definition>,
    /// How often the server has said that they have changed.
    changes: u64,
    looks: HashMap<String, Look>,
    /// The wrapper's own requests to the server.
    own: HashMap<String, oneshot::Sender<Value>>,
}

/// One client, one server.
pub(super) struct Session {
    pub(super) wrap: Wrap,
    pub(super) tasks: Tasks,
    to_client: mpsc::Sender<Vec<u8>>,
    to_server: Mutex<Option<mpsc::Sender<Vec<u8>>>>,
    closing: watch::Sender<bool>,
    state: Mutex<State>,
}

impl Session {
    pub(super) fn new(
        wrap: Wrap,
        to_client: mpsc::Sender<Vec<u8>>,
        to_server: mpsc::Sender<Vec<u8>>,
    ) -> Self {
        Self {
            wrap,
            tasks: Tasks::default(),
            to_client,
            to_server: Mutex::new(Some(to_server)),
            closing: watch::Sender::new(false),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a line of the client.
    pub(super) async fn take(self: &Arc<Self>, line: Read, calls: &mut JoinSet<()>) {
        let message = match line {
            Read::Line(line) if line.iter().all(u8::is_ascii_whitespace) => return,
            Read::Line(line) => message::read(&line),
            Read::TooLong => Err(Unreadable(error(&Value::Null, -32600, "the message is too long"))),
        };
        let message = match message {
            Ok(message) => message,
            Err(Unreadable(answer)) => return self.tell(&answer).await,
        };
        let method = message.get("method").and_then(Value::as_str);
        let id = message.get("id");
        let params = message.get("params").and_then(Value::as_object);
        match (method, id) {
            (Some("tools/call"), Some(id)) => match self.hold(id) {
                Some(stop) => {
                    let call = ToolCall::new(id.clone(), params.cloned().unwrap_or_default(), stop);
                    calls.spawn(call.run(Arc::clone(self)));
                }
                None => self.tell(&error(id, -32600, "another call has this id")).await,
            },
            // A call that wants no answer could not be told that it is refused: it is not made.
            (Some("tools/call"), None) => {}
            (Some("notifications/cancelled"), None) if self.stop(params) => {}
            (Some(method), Some(id)) if method.starts_with("tasks/") => {
                match params.and_then(|params| tasks::own_id(params)) {
                    Some(task) => {
                        let modern = params.is_some_and(is_modern);
                        let answer = self.tasks.answer(method, task, id, modern);
                        self.tell(&answer).await;
                    }
                    None => self.forward(Value::Object(message)).await,
                }
            }
            (Some("tools/list"), Some(id)) => {
                self.state().looks.insert(id.to_string(), Look::Tools);
                self.forward(Value::Object(message)).await;
            }
            (Some("server/discover"), Some(id)) => {
                if params.is_some_and(takes_tasks) {
                    self.state().looks.insert(id.to_string(), Look::Capabilities);
                }
                self.forward(Value::Object(message)).await;
            }
            _ => self.forward(Value::Object(message)).await,
        }
    }

    /// Passes on what the server says, until it closes its side.
    pub(super) async fn pass_on<R: AsyncBufRead + Unpin>(self: Arc<Self>, mut lines: Lines<R>) {
        while let Ok(Some(read)) = lines.next().await {
            // No message is so long; the client could not read what is left of it.
            let Read::Line(mut line) = read else { continue };
            if let Ok(message) = serde_json::from_slice::<Value>(&line) {
                match self.look(message) {
                    Passed::AsItCame => {}
                    Passed::Changed(message) => line = message::line(&message),
                    Passed::Ours => continue,
                }
            }
            if !line.ends_with(b"\n") {
                line.push(b'\n');
            }
            if self.to_client.send(line).await.is_err() {
                return;
            }
        }
        // Nobody will answer these any more.
        self.state().own.clear();
    }

    /// Looks at a message of the server.
    fn look(&self, mut message: Value) -> Passed {
        if message.get("method").is_some() {
            if message.get("method").and_then(Value::as_str) == Some("notifications/tools/list_changed") {
                let mut state = self.state();
                state.definitions.clear();
                state.changes = state.changes.wrapping_add(1);
            }
            return Passed::AsItCame;
        }
        let Some(id) = message.get("id") else { return Passed::AsItCame };
        let mut state = self.state();
        if let Some(waiting) = id.as_str().and_then(|id| state.own.remove(id)) {
            let _ = waiting.send(message);
            return Passed::Ours;
        }
        match state.looks.remove(&id.to_string()) {
            None => Passed::AsItCame,
            Some(Look::Tools) => {
                learn(&mut state.definitions, &message);
                Passed::AsItCame
            }
            Some(Look::Capabilities) => {
                let Some(Value::Object(capabilities)) =
                    message.get_mut("result").and_then(|result| result.get_mut("capabilities"))
                else {
                    return Passed::AsItCame;
                };
                let extensions = capabilities.entry("extensions").or_insert_with(|| json!({}));
                match extensions.as_object_mut() {
                    Some(extensions) if !extensions.contains_key(TASKS) => {
                        extensions.insert(TASKS.to_owned(), json!({}));
                        Passed::Changed(message)
                    }
                    _ => Passed::AsItCame,
                }
            }
        }
    }

    /// A tool's definition: as it was listed last, or by asking the server now.
    pub(super) async fn definition(&self, tool: &str, params: &Map<String, Value>) -> Listed {
        let known = self.state().definitions.get(tool).cloned();
        if let Some(known) = known {
            return Listed::As(known);
        }
        for _ in 0..MOST_LISTS {
            let changes = self.state().changes;
            let is_whole = self.list(params).await.is_some();
            let state = self.state();
            match state.definitions.get(tool).cloned() {
                Some(definition) => return Listed::As(definition),
                // What was listed before the change is forgotten: the tool may have been among it.
                None if is_whole && state.changes != changes => {}
                None if is_whole => return Listed::Not,
                None => return Listed::Unknown,
            }
        }
        Listed::Unknown
    }

    /// Learns all tools of the server. None where it did not list them to the end.
    async fn list(&self, params: &Map<String, Value>) -> Option<()> {
        let mut cursor: Option<Value> = None;
        for _ in 0..MOST_PAGES {
            let mut asked = Map::new();
            if let Some(cursor) = cursor.take() {
                asked.insert("cursor".into(), cursor);
            }
            if let Some(meta) = own_meta(params) {
                asked.insert("_meta".into(), meta);
            }
            let (_, answer) = self.ask_server("tools/list", Value::Object(asked)).await?;
            let answer = tokio::time::timeout(LIST_TIMEOUT, answer).await.ok()?.ok()?;
            answer.get("result").and_then(|result| result.get("tools")).and_then(Value::as_array)?;
            learn(&mut self.state().definitions, &answer);
            cursor = answer.get("result").and_then(|result| result.get("nextCursor")).cloned();
            if !matches!(cursor, Some(Value::String(_))) {
                return Some(());
            }
        }
        None
    }

    /// Sends the server a request of the wrapper's own: its id, and what will be answered.
    pub(super) async fn ask_server(
        &self,
        method: &str,
        params: Value,
    ) -> Option<(String, oneshot::Receiver<Value>)> {
        let id = unique("placet").ok()?;
        let (answer, answered) = oneshot::channel();
        self.state().own.insert(id.clone(), answer);
        self.forward(json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })).await;
        Some((id, answered))
    }

    /// Sends a message to the server.
    pub(super) async fn forward(&self, message: Value) {
        let to_server = self.to_server.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(to_server) = to_server {
            let _ = to_server.send(message::line(&message)).await;
        }
    }

    /// Sends a message to the client.
    pub(super) async fn tell(&self, message: &Value) {
        let _ = self.to_client.send(message::line(message)).await;
    }

    /// Holds a call back; none where one of that id is held already.
    fn hold(&self, id: &Value) -> Option<watch::Receiver<bool>> {
        let mut state = self.state();
        if state.held.contains_key(&id.to_string()) {
            return None;
        }
        let (stop, stopped) = watch::channel(false);
        state.held.insert(id.to_string(), stop);
        Some(stopped)
    }

    /// Stops the call that a notification names, if it is held. Else the notification is the server's.
    fn stop(&self, params: Option<&Map<String, Value>>) -> bool {
        let Some(id) = params.and_then(|params| params.get("requestId")) else { return false };
        let state = self.state();
        let Some(held) = state.held.get(&id.to_string()) else { return false };
        held.send_replace(true);
        true
    }

    /// Lets a call go. False where it was stopped before.
    pub(super) fn release(&self, id: &Value) -> bool {
        self.state().held.remove(&id.to_string()).is_some_and(|stop| !*stop.borrow())
    }

    /// A question about the same that a call has left.
    pub(super) fn unpark(&self, about: &str) -> Option<String> {
        let mut state = self.state();
        let waiting = state.parked.get_mut(about)?;
        let found = waiting.pop_front();
        if waiting.is_empty() {
            state.parked.remove(about);
        }
        found
    }

    /// Leaves a question open for the next call about the same.
    pub(super) fn park(&self, about: &str, request_id: String) {
        self.state().parked.entry(about.to_owned()).or_default().push_back(request_id);
    }

    /// Withdraws what calls have left open.
    pub(super) async fn withdraw_parked(&self) {
        let parked: Vec<String> = self.state().parked.drain().flat_map(|(_, waiting)| waiting).collect();
        for request_id in parked {
            let _ = self.wrap.gate.withdraw(&request_id).await;
        }
    }

    /// From now on nobody waits for a person.
    pub(super) fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Returns once [`close`](Self::close) was called.
    pub(super) async fn closed(&self) {
        let mut closing = self.closing.subscribe();
        let _ = closing.wait_for(|closing| *closing).await;
    }

    /// Closes the server's input, once everything is written.
    pub(super) fn close_server(&self) {
        self.to_server.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// What becomes of a message of the server.
enum Passed {
    AsItCame,
    Changed(Value),
    /// It is the answer to a request of the wrapper's own.
    Ours,
}

fn learn(definitions: &mut HashMap<String, Definition>, answer: &Value) {
    let tools = answer.get("result").and_then(|result| result.get("tools")).and_then(Value::as_array);
    for tool in tools.into_iter().flatten() {
        if let Some(name) = tool.get("name").and_then(Value::as_str) {
            let digest = digest(canonical_text(tool).as_bytes());
            definitions.insert(name.to_owned(), Definition { value: tool.clone(), digest });
        }
    }
}
