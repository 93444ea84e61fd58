//! Duplicates: pending requests of one client with the same action and payload, named in one item.
//!
//! The item is a set of all that wait for exactly that. A new request joins it, and leaves it in the transaction that
//! ends it. Mostly the set is empty, which the condition of the joining says: so a question costs one transaction, and
//! only one that does have a duplicate costs a look at it and a second one.

use aws_sdk_dynamodb::types::builders::{ConditionCheckBuilder, UpdateBuilder};
use aws_sdk_dynamodb::types::{
    ConditionCheck, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use placet_core::Timestamp;
use placet_core::audit::{AuditEntry, RequestFacts};
use placet_core::id::{RequestId, RequestKey};
use placet_core::request::{ApprovalRequest, Phase, RequestState};
use placet_gate::Fault;

use crate::Inner;
use crate::items::{
    Item, WAITING, WaitingRequest, duplicates_address, duplicates_address_about, format_version, number,
};
use crate::parts::{check, update};

/// How many are remembered. A loop that asks the same without end must not fill its item; who comes later is told of
/// these, and not remembered itself.
const REMEMBERED: usize = 100;

/// Joins those who wait.
const ADD: &str = "ADD waiting :mine SET expires_at = :expires_at, v = :v";

/// Takes the place of those who waited.
const SET: &str = "SET waiting = :mine, expires_at = :expires_at, v = :v";

/// Leaves. The item expires with the last who joined; if it has, this makes one that expires as well.
const LEAVE: &str = "DELETE waiting :mine SET expires_at = if_not_exists(expires_at, :expires_at), v = :v";

/// What a new request has to do with those like it.
pub(crate) struct DuplicateIndex<'c> {
    table: &'c str,
    asked: &'c ApprovalRequest,
    address: Item,
    joins: Joins,
    expires_at: i64,
}

/// Whether a request will wait, or has ended as it was taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Joins {
    Yes,
    No,
}

/// What is known of the requests like a new one, and what the transaction must do about them.
pub(crate) struct Lookup {
    pub(crate) duplicate: Option<RequestId>,
    pub(crate) part: Option<TransactWriteItem>,
}

impl<'c> DuplicateIndex<'c> {
    pub(crate) fn of(inner: &'c Inner, asked: &'c ApprovalRequest, state: &RequestState) -> Self {
        let (joins, until) = match state.phase() {
            Phase::Pending(pending) => (Joins::Yes, asked.deadline.unwrap_or(pending.closes_at)),
            Phase::Ended(_) => (Joins::No, asked.created_at),
        };
        Self {
            table: &inner.tables.requests,
            asked,
            address: duplicates_address(asked.client.as_str(), &asked.payload_sha256, &asked.action),
            joins,
            expires_at: until.seconds().saturating_add(inner.keep.ended_seconds),
        }
    }

    /// The first try: nobody waits for the same.
    pub(crate) fn unseen(&self) -> Result<Lookup, Fault> {
        let condition = format!("attribute_not_exists({WAITING})");
        let part = match self.joins {
            Joins::Yes => update(self.join(ADD).condition_expression(condition))?,
            Joins::No => check(self.check().condition_expression(condition))?,
        };
        Ok(Lookup { duplicate: None, part: Some(part) })
    }

    /// The next try: those were seen to be there. Who of them still waits is looked up, so that the answer is right
    /// even where somebody was not taken off the list.
    pub(crate) async fn seen(&self, inner: &Inner, waiting: &[WaitingRequest]) -> Result<Lookup, Fault> {
        for other in waiting {
            let Some(request_id) = other.request_id() else { continue };
            let found = inner.load(RequestKey::of(&self.asked.client, &request_id)).await?;
            let waits = found.is_some_and(|request| {
                request.pending().is_some() && request.asked().approval_id.as_str() == other.approval_id()
            });
            if waits {
                return Ok(Lookup {
                    duplicate: Some(request_id),
                    part: Some(self.beside(other, waiting.len())?),
                });
            }
        }
        Ok(Lookup { duplicate: None, part: self.instead_of(waiting)? })
    }

    /// Joins one who waits, if it still does when this is written.
    fn beside(&self, duplicate: &WaitingRequest, count: usize) -> Result<TransactWriteItem, Fault> {
        let condition = format!("contains({WAITING}, :duplicate)");
        match self.joins {
            Joins::Yes if count < REMEMBERED => update(
                self.join(ADD)
                    .condition_expression(condition)
                    .expression_attribute_values(":duplicate", duplicate.member()),
            ),
            Joins::Yes | Joins::No => check(
                self.check()
                    .condition_expression(condition)
                    .expression_attribute_values(":duplicate", duplicate.member()),
            ),
        }
    }

    /// Takes the place of those who wait no more, if nobody has come or gone.
    fn instead_of(&self, gone: &[WaitingRequest]) -> Result<Option<TransactWriteItem>, Fault> {
        let Some(first) = gone.first() else { return self.unseen().map(|lookup| lookup.part) };
        match self.joins {
            Joins::Yes => update(
                self.join(SET)
                    .condition_expression(format!("size({WAITING}) = :count AND contains({WAITING}, :first)"))
                    .expression_attribute_values(":count", number(gone.len()))
                    .expression_attribute_values(":first", first.member()),
            )
            .map(Some),
            Joins::No => Ok(None),
        }
    }

    fn join(&self, expression: &str) -> UpdateBuilder {
        let mine = WaitingRequest::new(self.asked.approval_id.as_str(), self.asked.request_id.as_str());
        Update::builder()
            .table_name(self.table)
            .set_key(Some(self.address.clone()))
            .update_expression(expression)
            .expression_attribute_values(":mine", mine.set())
            .expression_attribute_values(":v", format_version())
            .expression_attribute_values(":expires_at", number(self.expires_at))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }

    fn check(&self) -> ConditionCheckBuilder {
        ConditionCheck::builder()
            .table_name(self.table)
            .set_key(Some(self.address.clone()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }
}

/// Takes a request off its list, if one of these entries ends it: they say what it asked for.
pub(crate) fn leave(
    inner: &Inner,
    audit: &[AuditEntry],
    now: Timestamp,
) -> Result<Option<TransactWriteItem>, Fault> {
    let Some((entry, about)) = end_among(audit) else { return Ok(None) };
    let expires_at = now.seconds().saturating_add(inner.keep.ended_seconds);
    let leaves = Update::builder()
        .table_name(&inner.tables.requests)
        .set_key(Some(duplicates_address_about(about)))
        .update_expression(LEAVE)
        .expression_attribute_values(":v", format_version())
        .expression_attribute_values(":mine", WaitingRequest::new(&entry.subject, &about.request_id).set())
        .expression_attribute_values(":expires_at", number(expires_at));
    update(leaves).map(Some)
}

/// The entry that ends a request, with what the request asked for.
pub(crate) fn end_among(audit: &[AuditEntry]) -> Option<(&AuditEntry, &RequestFacts)> {
    let mut ends = audit.iter().filter(|entry| entry.event.is_end());
    ends.find_map(|entry| Some((entry, entry.about.as_ref()?)))
}
