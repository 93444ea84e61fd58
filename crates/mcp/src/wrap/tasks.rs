//! Calls that run as tasks (the extension `io.modelcontextprotocol/tasks`): the client asks for them by the approval's id.
//!
//! They live as long as the server that they are for: a wrapper that ends withdraws what still waits.

#![expect(clippy::disallowed_methods, reason = "a task says when it last changed")]

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use placet_core::Timestamp;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::message::{error, result};
use crate::gate::text;

/// What the wrapper's own task ids begin with; others are the server's.
const PREFIX: &str = "placet-";

/// Tasks that are kept, at most: the oldest that have ended go first.
const MOST: usize = 1000;

/// How often a client is to look, in milliseconds.
const POLL_MS: u64 = 1000;

enum Status {
    Waiting,
    Completed(Value),
    Failed(Value),
    Cancelled,
}

struct Task {
    created_at: String,
    changed_at: String,
    status: Status,
    stop: watch::Sender<bool>,
}

/// The tasks of one client, by their ids, which are in the order of their asking.
#[derive(Default)]
pub(super) struct Tasks(Mutex<BTreeMap<String, Task>>);

/// The task that a request is about, if it is one of the wrapper's own.
pub(super) fn own_id(params: &Map<String, Value>) -> Option<&str> {
    params.get("taskId").and_then(Value::as_str).filter(|id| id.starts_with(PREFIX))
}

impl Tasks {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Task>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens one for an approval that waits: its id, and what the client is told.
    pub(super) fn open(&self, approval: &Value) -> (String, Value) {
        let id = format!("{PREFIX}{}", text(approval, "approval_id"));
        let created_at = text(approval, "created_at").to_owned();
        let task = Task {
            changed_at: created_at.clone(),
            created_at,
            status: Status::Waiting,
            stop: watch::Sender::new(false),
        };
        let mut created = describe(&id, &task);
        if let Some(created) = created.as_object_mut() {
            created.insert("resultType".into(), "task".into());
        }
        let mut all = self.all();
        if all.len() >= MOST {
            let ended = all
                .iter()
                .find(|(_, task)| !matches!(task.status, Status::Waiting))
                .map(|(id, _)| id.clone());
            ended.and_then(|ended| all.remove(&ended));
        }
        all.insert(id.clone(), task);
        (id, created)
    }

    /// Hears when the task is cancelled.
    pub(super) fn stop_of(&self, id: &str) -> Option<watch::Receiver<bool>> {
        self.all().get(id).map(|task| task.stop.subscribe())
    }

    /// It has ended with that result.
    pub(super) fn complete(&self, id: &str, result: Value) {
        self.end(id, Status::Completed(result));
    }

    /// It has ended with what the server answered.
    pub(super) fn answered(&self, id: &str, answer: &Value) {
        let part = |name: &str| answer.get(name).cloned();
        self.end(
            id,
            match (part("result"), part("error")) {
                (Some(result), _) => Status::Completed(result),
                (None, Some(error)) => Status::Failed(error),
                (None, None) => {
                    Status::Failed(json!({ "code": -32603, "message": "the server's answer is empty" }))
                }
            },
        );
    }

    /// It was stopped.
    pub(super) fn cancelled(&self, id: &str) {
        self.end(id, Status::Cancelled);
    }

    fn end(&self, id: &str, status: Status) {
        if let Some(task) = self.all().get_mut(id)
            && matches!(task.status, Status::Waiting)
        {
            task.status = status;
            task.changed_at = now();
        }
    }

    /// Answers a request about one of them.
    pub(super) fn answer(&self, method: &str, task_id: &str, id: &Value, modern: bool) -> Value {
        let all = self.all();
        let Some(task) = all.get(task_id) else { return error(id, -32602, "no such task") };
        match method {
            "tasks/get" => result(id, modern, describe(task_id, task)),
            "tasks/cancel" => {
                // Whoever runs it says when it has stopped.
                task.stop.send_replace(true);
                result(id, modern, json!({}))
            }
            // Nothing is asked of a client within these tasks.
            "tasks/update" => result(id, modern, json!({})),
            _ => error(id, -32601, "a task is asked for with tasks/get"),
        }
    }
}

fn describe(id: &str, task: &Task) -> Value {
    let (status, said) = match &task.status {
        Status::Waiting => ("working", Some("a person was asked, or the tool runs")),
        Status::Completed(_) => ("completed", None),
        Status::Failed(_) => ("failed", None),
        Status::Cancelled => ("cancelled", None),
    };
    let mut described = json!({
        "taskId": id, "status": status, "createdAt": task.created_at, "lastUpdatedAt": task.changed_at, "ttlMs": null,
        "pollIntervalMs": POLL_MS,
    });
    if let Some(described) = described.as_object_mut() {
        if let Some(said) = said {
            described.insert("statusMessage".into(), said.into());
        }
        match &task.status {
            Status::Completed(result) => described.insert("result".into(), result.clone()),
            Status::Failed(error) => described.insert("error".into(), error.clone()),
            Status::Waiting | Status::Cancelled => None,
        };
    }
    described
}

fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)).to_string()
}
