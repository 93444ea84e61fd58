//! What an act does to a request: the next state, what to write into the trail, and whom to tell.

use std::sync::Arc;

use super::{ApprovalRequest, RequestState};
use crate::Timestamp;
use crate::audit::{AuditEntry, AuditEvent, AuditEventKind, RequestFacts};
use crate::id::ClientId;
use crate::policy::Assignee;
use crate::token::{Claims, token_hash};

/// What an act does: to be committed as a whole, or not at all. Only the rules make one.
#[derive(Clone, Debug)]
pub struct Transition {
    pub(super) state: RequestState,
    pub(super) events: Vec<AuditEvent>,
    pub(super) effects: Vec<Effect>,
    pub(super) not_at_or_after: Option<Timestamp>,
    pub(super) policy: Option<u32>,
}

/// Whom to tell of a transition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// These reviewers of a stage are asked.
    NotifyReviewers {
        /// Index of the stage.
        stage: usize,
        /// Whom to ask.
        asked: Vec<Assignee>,
    },
    /// The others of a stage are told later, if it still waits then.
    NotifyLater {
        /// Index of the stage.
        stage: usize,
        /// Whom.
        asked: Vec<Assignee>,
        /// When.
        at: Timestamp,
    },
    /// The system behind this stage's queue gets the request.
    Publish {
        /// Index of the stage.
        stage: usize,
        /// Its queue.
        queue: String,
    },
    /// Subscribers hear that it waits for somebody.
    Requested,
    /// All callers and subscribers hear that it has ended.
    Decided,
    /// One caller that joined after the end is called back.
    CallBack {
        /// Index among [`RequestState::callbacks`].
        number: usize,
    },
    /// Operators are alerted.
    Alert(RequestAlert),
}

/// What operators must hear about one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestAlert {
    /// Nobody answered in time.
    Expired,
    /// Nobody who could decide the stage is left.
    NobodyLeft {
        /// Index of the stage.
        stage: usize,
    },
    /// A callback or hook was given up.
    CallbackGivenUp(GivenUp),
}

/// A callback or hook that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenUp {
    /// Who should have got it.
    pub client: ClientId,
    /// Its id.
    pub message: String,
    /// Why, in constant words and what the receiver answered.
    pub reason: String,
}

/// A transition whose events have their place in the audit chain: what a store writes.
#[derive(Clone, Debug)]
pub struct Chained {
    /// The next state, with the new end of the chain.
    pub state: RequestState,
    /// The entries, in order.
    pub entries: Vec<AuditEntry>,
}

impl Transition {
    /// Whether the request ends with it.
    pub fn ends(&self) -> bool {
        self.events.iter().any(|event| event.kind.is_end())
    }

    fn names_token(&self) -> bool {
        self.ends() || self.events.iter().any(|event| event.kind == AuditEventKind::Redeemed)
    }

    /// What it says in the trail.
    pub fn events(&self) -> &[AuditEvent] {
        &self.events
    }

    /// Whom to tell, once it is committed.
    pub fn effects(&self) -> &[Effect] {
        &self.effects
    }

    /// The first moment at which it must no longer be written; none where time does not matter.
    pub const fn not_at_or_after(&self) -> Option<Timestamp> {
        self.not_at_or_after
    }

    /// The version of the policy that must still be in force when it is written; none where it does not matter.
    pub const fn policy(&self) -> Option<u32> {
        self.policy
    }

    /// The next state, of which nothing is committed yet.
    pub const fn next(&self) -> &RequestState {
        &self.state
    }

    /// Puts the events at the end of the request's audit chain.
    ///
    /// `mint` signs the token that the committed request will have. Its digest goes to the entry of the end, and to
    /// that of a redemption; the token itself does not leave this function.
    pub fn chain<E>(
        self,
        asked: &Arc<ApprovalRequest>,
        mint: impl FnOnce(&Claims) -> Result<String, E>,
    ) -> Result<Chained, E> {
        let names_token = self.names_token();
        let Self { mut state, events, .. } = self;
        let token_hash = match state.outcome() {
            Some(outcome) if names_token => Some(token_hash(&mint(&asked.claims(&state, outcome))?)),
            Some(_) | None => None,
        };
        // What is told from here on is about what is asked by now: a token, its end and its use name the same payload.
        let facts = RequestFacts { payload_sha256: state.payload_sha256(asked).to_owned(), ..asked.facts() };
        let entries = events
            .into_iter()
            .map(|mut event| {
                if event.kind.is_end() || event.kind == AuditEventKind::Redeemed {
                    event.token_hash.clone_from(&token_hash);
                }
                state.chain.append(asked.approval_id.as_str(), Some(&facts), event)
            })
            .collect();
        Ok(Chained { state, entries })
    }
}
