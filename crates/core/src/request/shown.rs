//! What people may see of a request, made once for each request that is held: a message, a page and an answer ask for it
//! several times.

use std::borrow::Cow;
use std::sync::OnceLock;

use serde_json::Value;

use super::ApprovalRequest;
use crate::payload::Payload;
use crate::words::{Title, mask};

/// What people may see of a request as it was asked. It follows from the request, so it is no part of what makes two alike.
#[derive(Debug, Default)]
pub(super) struct Shown(OnceLock<Box<Parts>>);

#[derive(Debug)]
struct Parts {
    payload: Value,
    title: Title,
    /// The title as a line in which nothing becomes a link.
    headline: String,
    summary: String,
}

/// A clone makes its own: it can be changed before anybody sees it.
impl Clone for Shown {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Shown {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Shown {}

impl ApprovalRequest {
    /// What will be done, in the gate's own words.
    pub fn title(&self) -> &Title {
        &self.parts().title
    }

    /// The same of a payload that a reviewer may have changed.
    pub fn title_of(&self, payload: &Payload) -> Cow<'_, Title> {
        match self.parts_of(payload) {
            Some(parts) => Cow::Borrowed(&parts.title),
            None => Cow::Owned(self.made_title(&self.seen(payload))),
        }
    }

    /// That title as one line of plain text in which nothing becomes a link.
    pub fn headline_of(&self, payload: &Payload) -> Cow<'_, str> {
        match self.parts_of(payload) {
            Some(parts) => Cow::Borrowed(&parts.headline),
            None => Cow::Owned(self.made_title(&self.seen(payload)).line()),
        }
    }

    /// What people may see of a payload of this request: secrets are masked.
    pub fn shown(&self, payload: &Payload) -> Cow<'_, Value> {
        match self.parts_of(payload) {
            Some(parts) => Cow::Borrowed(&parts.payload),
            None => Cow::Owned(self.seen(payload)),
        }
    }

    /// What people may see of the agent's own words.
    pub fn shown_summary(&self) -> &str {
        &self.parts().summary
    }

    /// What is held, if it is of that payload.
    fn parts_of(&self, payload: &Payload) -> Option<&Parts> {
        (*payload == self.payload).then(|| self.parts())
    }

    fn parts(&self) -> &Parts {
        self.shown.0.get_or_init(|| {
            let payload = self.payload.value();
            let salt = self.approval_id.as_str();
            let summary = mask::masked_words(&self.summary, payload.clone(), &self.wording.mask, salt);
            let payload = mask::masked(payload, &self.wording.mask, salt);
            let title = self.made_title(&payload);
            Box::new(Parts { headline: title.line(), payload, title, summary })
        })
    }

    fn seen(&self, payload: &Payload) -> Value {
        mask::masked(payload.value(), &self.wording.mask, self.approval_id.as_str())
    }

    fn made_title(&self, seen: &Value) -> Title {
        Title::of(self.wording.title.as_ref(), &self.action, seen)
    }
}
