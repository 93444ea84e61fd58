//! A request with what is made from it: all that the API's one shape of an approval needs.

use placet_core::Timestamp;
use placet_core::request::{ApprovalRequest, Foreseen, Request, RequestState};

use crate::hooks::HookEvent;

/// A request as it is shown to somebody.
#[derive(Clone, Copy, Debug)]
pub struct ApprovalView<'a> {
    /// The question.
    pub asked: &'a ApprovalRequest,
    /// What became of it, or what will.
    pub state: &'a RequestState,
    /// Its token, for those who may hold it: never for what is only foreseen.
    pub token: Option<&'a str>,
    /// The gate's public address, without a slash at the end.
    pub base_url: &'a str,
}

impl<'a> ApprovalView<'a> {
    /// A committed request.
    pub fn of(request: &'a Request, token: Option<&'a str>, base_url: &'a str) -> Self {
        Self { asked: request.asked(), state: request.state(), token, base_url }
    }

    /// What a request will be once its passed deadlines are recorded: without a token.
    pub fn foreseen(request: &'a Foreseen, base_url: &'a str) -> Self {
        Self { asked: request.asked(), state: request.state(), token: None, base_url }
    }
}

/// What a callback or hook says.
#[derive(Clone, Copy, Debug)]
pub struct WebhookEvent<'a> {
    /// What happened.
    pub event: HookEvent,
    /// When.
    pub happened_at: Timestamp,
    /// The approval.
    pub view: ApprovalView<'a>,
}

/// A request for the system behind a queue.
#[derive(Clone, Copy, Debug)]
pub struct QueueItem<'a> {
    /// Index of the stage.
    pub stage: usize,
    /// The request.
    pub view: ApprovalView<'a>,
}
