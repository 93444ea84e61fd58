//! A request with what is made from it: all that the API's one shape of an approval needs.

use placet_core::request::{ApprovalRequest, Foreseen, Request, RequestState};

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
