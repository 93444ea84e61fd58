//! A commit: one `TransactWriteItems`, tried until its answer is known, and the answer in the port's words.

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::builders::PutBuilder;
use aws_sdk_dynamodb::types::{
    CancellationReason, ConditionCheck, Delete, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
    Update,
};
use placet_core::request::Request;
use placet_core::tally::Tally;
use placet_gate::Fault;
use placet_gate::ports::{Commit, Committed, OutboxMessage, Quota, RequestWrite, TallyWrite};

use crate::duplicates::{self, DuplicateIndex, Lookup};
use crate::items::{
    self, COUNT, DUE_AT, DUE_PK, ENDED_AT, EXPIRES_AT, FORMAT_VERSION, Item, PENDING, PK, STATE, STATUS,
    SUBJECT, Stands, StateColumns, VERSION, WaitingRequest, address, number, text,
};
use crate::log;
use crate::parts::{check, put, update};
use crate::{Inner, pause_before, random_hex};

/// How many parts a transaction of DynamoDB's takes.
const MOST_PARTS: usize = 100;

/// How often a transaction is sent that was throttled, met another, or was not answered.
const TRIES: u32 = 10;

/// How often a new request looks at those like it, while they come and go, before it is written without counting among them.
const LOOKS: u32 = 4;

/// A counter is kept for so long after its minute, so that a clock that is set back does not renew the allowance.
const QUOTA_SECONDS: i64 = 60 * 60;

const UNWRITTEN: &str = "the database could not be written";

/// One item of a transaction, and what it means if its condition fails.
struct Part {
    of: Of,
    item: TransactWriteItem,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Request,
    /// An audit entry or a policy, whose place must be free.
    Record,
    Quota,
    Duplicates,
    /// The policy in force.
    Policy,
    /// How many of a client's requests wait.
    Waiting,
    /// A running total.
    Totals,
    /// Has no condition.
    Other,
}

/// How a transaction went.
enum Written {
    Yes,
    Stopped(Stop),
}

/// The condition that stopped it.
enum Stop {
    /// The request's. With what is there instead, if anything is.
    Request(Option<Item>),
    Late,
    Record,
    Quota,
    Duplicates(Vec<WaitingRequest>),
    Policy,
    Waiting,
    Totals,
}

/// What a failed try says.
enum Failure {
    /// Cancelled, for these reasons, in the order of the parts.
    Cancelled(Vec<CancellationReason>),
    /// Nothing was written: too much is going on.
    Busy,
    /// It may have been written.
    InDoubt,
    /// Nothing was written, and nothing will be.
    Hopeless,
}

impl Inner {
    pub(crate) async fn commit(&self, commit: Commit) -> Result<Committed, Fault> {
        let mut parts = self.parts(&commit)?;
        if let Some(policy) = &commit.policy
            && self.policy_text(&policy.sha256).await?.is_none()
        {
            let text = put(self.put_request(items::new_policy_text(policy)))?;
            parts.push(Part { of: Of::Other, item: text });
        }
        if parts.is_empty() {
            return Ok(Committed::Done { pending_twin: None });
        }
        let Some(RequestWrite::Insert { asked, state }) = &commit.request else {
            return self.write(&parts, &commit).await.and_then(|written| answer(written, None));
        };
        let index = DuplicateIndex::of(self, asked, state);
        let mut lookup = index.unseen()?;
        for _ in 0..LOOKS {
            let Lookup { duplicate, part } = lookup;
            let alone = parts.len();
            parts.extend(part.map(|item| Part { of: Of::Duplicates, item }));
            match self.write(&parts, &commit).await? {
                Written::Stopped(Stop::Duplicates(waiting)) => lookup = index.seen(self, &waiting).await?,
                written => return answer(written, duplicate),
            }
            parts.truncate(alone);
        }
        // They come and go faster than they can be counted. It is a hint, and no reason to refuse a question.
        self.write(&parts, &commit).await.and_then(|written| answer(written, lookup.duplicate))
    }

    /// Deletes a message and puts others in its place, in one transaction.
    pub(crate) async fn replace(&self, id: &str, others: &[OutboxMessage]) -> Result<(), Fault> {
        // DynamoDB takes no two parts about one item.
        let is_among_them = others.iter().any(|other| other.id == id);
        let commit = Commit { outbox: others.to_vec(), ..Commit::default() };
        let mut parts = self.parts(&commit)?;
        if !is_among_them {
            let delete = Delete::builder()
                .table_name(&self.tables.requests)
                .set_key(Some(items::message_address(id)?))
                .build()
                .map_err(|error| Fault::new(UNWRITTEN, error))?;
            let item = TransactWriteItem::builder().delete(delete).build();
            parts.push(Part { of: Of::Other, item });
        }
        self.write(&parts, &commit).await.map(drop)
    }

    /// Everything that the commit writes, but what depends on others like it.
    fn parts(&self, commit: &Commit) -> Result<Vec<Part>, Fault> {
        let mut parts = Vec::new();
        if let Some(request) = &commit.request {
            parts.push(Part { of: Of::Request, item: self.request_part(request)? });
        }
        for entry in &commit.audit {
            let item = items::new_entry(entry, self.keep.audit_seconds)?;
            let put = Put::builder().table_name(&self.tables.audit).set_item(Some(item));
            let item = self::put(put.condition_expression(format!("attribute_not_exists({SUBJECT})")))?;
            parts.push(Part { of: Of::Record, item });
        }
        if let Some(policy) = &commit.policy {
            let put = self.put_request(items::new_policy(policy)?);
            let item = self::put(put.condition_expression(format!("attribute_not_exists({PK})")))?;
            parts.push(Part { of: Of::Record, item });
            for mark in items::policy_marks(policy.version) {
                parts.push(Part { of: Of::Other, item: self::put(self.put_request(mark))? });
            }
        }
        if let Some(quota) = &commit.quota {
            parts.push(Part { of: Of::Quota, item: self.quota_part(quota)? });
        }
        if let Some(version) = commit.policy_version {
            parts.push(Part { of: Of::Policy, item: self.policy_part(version)? });
        }
        if let Some(part) = self.waiting_part(commit)? {
            parts.push(part);
        }
        for marker in log::markers(&commit.audit) {
            parts.push(Part { of: Of::Other, item: put(self.put_request(marker))? });
        }
        if let Some(request) = &commit.request {
            self.tally_parts(&commit.tallies, request, &mut parts)?;
        }
        if let (Some(reviewer), Some(RequestWrite::Update { asked, state, .. })) =
            (&commit.voted, &commit.request)
        {
            let item = items::new_vote(reviewer, asked.key(), state.updated_at(), self.keep.ended_seconds);
            parts.push(Part { of: Of::Other, item: put(self.put_request(item))? });
        }
        for message in &commit.outbox {
            let item = items::new_message(message, self.keep.ended_seconds)?;
            parts.push(Part { of: Of::Other, item: put(self.put_request(item))? });
        }
        if let Some(RequestWrite::Update { .. }) = &commit.request
            && let Some(item) = duplicates::leave(self, &commit.audit, self.clock.now())?
        {
            parts.push(Part { of: Of::Other, item });
        }
        // One place is left for the list of those like it.
        if parts.len() >= MOST_PARTS {
            return Err(Fault::bare("one act has more messages than a transaction takes"));
        }
        Ok(parts)
    }

    fn request_part(&self, request: &RequestWrite) -> Result<TransactWriteItem, Fault> {
        match request {
            RequestWrite::Insert { asked, state } => {
                let state = StateColumns::of(state, self.keep.ended_seconds)?;
                put(self
                    .put_request(items::new_request(asked, state)?)
                    .condition_expression(format!("attribute_not_exists({PK})"))
                    .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld))
            }
            RequestWrite::Update { asked, state, from_version } => {
                let state = StateColumns::of(state, self.keep.ended_seconds)?;
                let base = Update::builder()
                    .table_name(&self.tables.requests)
                    .set_key(Some(items::request_address(asked.key())))
                    .expression_attribute_names("#status", STATUS)
                    .expression_attribute_names("#state", STATE)
                    .expression_attribute_values(":v", items::format_version())
                    .expression_attribute_values(":from", number(from_version))
                    .expression_attribute_values(":next", number(from_version.saturating_add(1)))
                    .expression_attribute_values(":state", text(state.json))
                    .expression_attribute_values(":pending", text(PENDING))
                    .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
                // The rules see to it that an end is final; here it holds even against a wrong rule. The version says
                // that the stage still closes when the rule thought it does, so `closes_at` is in the condition too.
                update(match state.stands {
                    Stands::Closes(at) => base
                        .update_expression(format!(
                            "SET {VERSION} = :next, {FORMAT_VERSION} = :v, #state = :state, {DUE_AT} = :due_at"
                        ))
                        .condition_expression(format!("{VERSION} = :from AND #status = :pending"))
                        .expression_attribute_values(":due_at", number(at.millis())),
                    Stands::Ended { at, expires_at } => base
                        .update_expression(format!(
                            "SET {VERSION} = :next, {FORMAT_VERSION} = :v, #state = :state, #status = :status, \
                             {ENDED_AT} = :ended_at, {EXPIRES_AT} = :expires_at REMOVE {DUE_PK}, {DUE_AT}"
                        ))
                        .condition_expression(format!(
                            "{VERSION} = :from AND \
                             (#status = :pending OR (#status = :status AND {ENDED_AT} = :ended_at))"
                        ))
                        .expression_attribute_values(":status", text(state.status))
                        .expression_attribute_values(":ended_at", number(at.millis()))
                        .expression_attribute_values(":expires_at", number(expires_at)),
                })
            }
        }
    }

    fn quota_part(&self, quota: &Quota) -> Result<TransactWriteItem, Fault> {
        let condition =
            if quota.limit == 0 { "used < :limit" } else { "attribute_not_exists(used) OR used < :limit" };
        let expires_at = quota.minute.saturating_add(1).saturating_mul(60).saturating_add(QUOTA_SECONDS);
        update(
            Update::builder()
                .table_name(&self.tables.requests)
                .set_key(Some(address(format!("quota#{}", quota.client), quota.minute.to_string())))
                .update_expression(format!(
                    "ADD used :one SET {EXPIRES_AT} = :expires_at, {FORMAT_VERSION} = :v"
                ))
                .condition_expression(condition)
                .expression_attribute_values(":v", items::format_version())
                .expression_attribute_values(":one", number(1))
                .expression_attribute_values(":limit", number(quota.limit))
                .expression_attribute_values(":expires_at", number(expires_at)),
        )
    }

    /// Installed versions have no gaps, so the newest one is the one without a next. Any of the next one's marks says
    /// whether it is there.
    #[expect(clippy::disallowed_methods, reason = "which of the marks is looked at is drawn here")]
    fn policy_part(&self, version: u32) -> Result<TransactWriteItem, Fault> {
        let mark = getrandom::u32().map_err(|error| Fault::new("the system has no randomness", error))?;
        check(
            ConditionCheck::builder()
                .table_name(&self.tables.requests)
                .set_key(Some(items::policy_mark_address(mark, version.saturating_add(1))))
                .condition_expression(format!("attribute_not_exists({PK})")),
        )
    }

    /// Counts a client's requests that wait: one more with a new one, one less with the end.
    fn waiting_part(&self, commit: &Commit) -> Result<Option<Part>, Fault> {
        let (client, change) = match &commit.request {
            Some(RequestWrite::Insert { asked, state }) if state.pending().is_some() => (&asked.client, 1),
            Some(RequestWrite::Update { asked, .. }) if duplicates::end_among(&commit.audit).is_some() => {
                (&asked.client, -1)
            }
            Some(RequestWrite::Insert { .. } | RequestWrite::Update { .. }) | None => return Ok(None),
        };
        let count = Update::builder()
            .table_name(&self.tables.requests)
            .set_key(Some(items::waiting_count_address(client)))
            .update_expression(format!("ADD #count :change SET {FORMAT_VERSION} = :v"))
            .expression_attribute_names("#count", COUNT)
            .expression_attribute_values(":v", items::format_version())
            .expression_attribute_values(":change", number(change));
        let (of, count) = match &commit.quota {
            Some(quota) if change > 0 => {
                let condition = if quota.max_pending == 0 {
                    "#count < :most"
                } else {
                    "attribute_not_exists(#count) OR #count < :most"
                };
                let most = number(quota.max_pending);
                let count = count.condition_expression(condition).expression_attribute_values(":most", most);
                (Of::Waiting, count)
            }
            Some(_) | None => (Of::Other, count),
        };
        Ok(Some(Part { of, item: update(count)? }))
    }

    /// What is added to running totals only wins on the versions that the rule has read; taking back needs none.
    fn tally_parts(
        &self,
        tallies: &TallyWrite,
        request: &RequestWrite,
        parts: &mut Vec<Part>,
    ) -> Result<(), Fault> {
        let (RequestWrite::Insert { asked, .. } | RequestWrite::Update { asked, .. }) = request;
        let (key, at) = (asked.key(), asked.created_at);
        for (account, seen) in &tallies.seen {
            let address = items::tally_version_address(account);
            let condition = if *seen == 0 {
                format!("attribute_not_exists({PK}) OR {VERSION} = :seen")
            } else {
                format!("{VERSION} = :seen")
            };
            let adds = tallies.add.iter().any(|tally| tally.account == *account);
            let item = if adds {
                update(
                    Update::builder()
                        .table_name(&self.tables.requests)
                        .set_key(Some(address))
                        .update_expression(format!(
                            "SET {VERSION} = :next, {FORMAT_VERSION} = :v, {EXPIRES_AT} = :expires_at"
                        ))
                        .condition_expression(condition)
                        .expression_attribute_values(":seen", number(seen))
                        .expression_attribute_values(":next", number(seen.saturating_add(1)))
                        .expression_attribute_values(":v", items::format_version())
                        // Kept longer than what it counts, so that it never begins anew while something lies in it.
                        .expression_attribute_values(
                            ":expires_at",
                            number(at.seconds().saturating_add(2 * items::TALLY_SECONDS)),
                        ),
                )?
            } else {
                check(
                    ConditionCheck::builder()
                        .table_name(&self.tables.requests)
                        .set_key(Some(address))
                        .condition_expression(condition)
                        .expression_attribute_values(":seen", number(seen)),
                )?
            };
            parts.push(Part { of: Of::Totals, item });
        }
        let unseen = |tally: &&Tally| tallies.seen.iter().all(|(account, _)| *account != tally.account);
        for tally in tallies.add.iter().filter(unseen) {
            // The rule did not depend on it: whoever has read it meanwhile notices, and this one waits for nobody.
            let item = update(
                Update::builder()
                    .table_name(&self.tables.requests)
                    .set_key(Some(items::tally_version_address(&tally.account)))
                    .update_expression(format!(
                        "ADD {VERSION} :one SET {FORMAT_VERSION} = :v, {EXPIRES_AT} = :expires_at"
                    ))
                    .expression_attribute_values(":one", number(1))
                    .expression_attribute_values(":v", items::format_version())
                    .expression_attribute_values(
                        ":expires_at",
                        number(at.seconds().saturating_add(2 * items::TALLY_SECONDS)),
                    ),
            )?;
            parts.push(Part { of: Of::Other, item });
        }
        for tally in &tallies.add {
            let item = put(self.put_request(items::new_tally(tally, key, at)))?;
            parts.push(Part { of: Of::Other, item });
        }
        for tally in &tallies.remove {
            // Nothing is left of it, and no role may delete for that: it is written over.
            let nothing = Tally { account: tally.account.clone(), amount: 0.0 };
            let item = put(self.put_request(items::new_tally(&nothing, key, at)))?;
            parts.push(Part { of: Of::Other, item });
        }
        Ok(())
    }

    fn put_request(&self, item: Item) -> PutBuilder {
        Put::builder().table_name(&self.tables.requests).set_item(Some(item))
    }

    /// Sends the transaction until its answer is known, and finds out who was first if it was stopped.
    async fn write(&self, parts: &[Part], commit: &Commit) -> Result<Written, Fault> {
        let stop = match self.send(parts, commit).await? {
            Written::Stopped(stop) => stop,
            Written::Yes => return Ok(Written::Yes),
        };
        match (stop, &commit.request) {
            // A lost race comes first: then nothing else matters to the loser. What lost it is not asked of the
            // reasons alone, which do not promise to name every condition that fails.
            (
                stop
                @ (Stop::Late | Stop::Record | Stop::Quota | Stop::Policy | Stop::Waiting | Stop::Totals),
                Some(request),
            ) => Ok(Written::Stopped(self.lost(request).await?.unwrap_or(stop))),
            (Stop::Request(Some(item)), Some(RequestWrite::Update { from_version, .. }))
                if item.get(VERSION) == Some(&number(from_version)) =>
            {
                Err(Fault::bare("a request that has ended never changes"))
            }
            (stop, _) => Ok(Written::Stopped(stop)),
        }
    }

    async fn lost(&self, write: &RequestWrite) -> Result<Option<Stop>, Fault> {
        let found = self
            .client
            .get_item()
            .table_name(&self.tables.requests)
            .set_key(Some(items::request_address(key_of(write))))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| Fault::new("the database could not be read", error))?;
        Ok(match write {
            RequestWrite::Insert { .. } => found.item.map(|item| Stop::Request(Some(item))),
            RequestWrite::Update { from_version, .. } => {
                let stands =
                    found.item.as_ref().and_then(|item| item.get(VERSION)) == Some(&number(from_version));
                if stands { None } else { Some(Stop::Request(found.item)) }
            }
        })
    }

    /// Every try has the same token: where an earlier one was written and only its answer was lost, DynamoDB answers
    /// the next as it would have answered that one, and does nothing. So an act of ours is never taken for another's.
    ///
    /// DynamoDB does not know our clock. The limit is looked at right before each try, and the SDK makes no tries of
    /// its own, which would not look. What remains is the time that one try is on its way.
    async fn send(&self, parts: &[Part], commit: &Commit) -> Result<Written, Fault> {
        let token = random_hex()?;
        let items: Vec<TransactWriteItem> = parts.iter().map(|part| part.item.clone()).collect();
        let mut in_doubt = false;
        let mut last = None;
        for attempt in 0..TRIES {
            pause_before(attempt).await?;
            if commit.not_at_or_after.is_some_and(|end| self.clock.now() >= end) {
                if in_doubt {
                    return self.find_out(commit).await;
                }
                return Ok(Written::Stopped(Stop::Late));
            }
            let sent = self
                .client
                .transact_write_items()
                .set_transact_items(Some(items.clone()))
                .client_request_token(&token)
                .customize()
                .config_override(aws_sdk_dynamodb::Config::builder().retry_config(RetryConfig::disabled()))
                .send()
                .await;
            let Err(error) = sent else { return Ok(Written::Yes) };
            match failure(&error) {
                Failure::Cancelled(reasons) => {
                    if let Some(stop) = stop(parts, reasons)? {
                        return Ok(Written::Stopped(stop));
                    }
                }
                Failure::Busy => {}
                Failure::InDoubt => in_doubt = true,
                Failure::Hopeless => return Err(Fault::new(UNWRITTEN, error)),
            }
            last = Some(error);
        }
        Err(last.map_or(Fault::bare(UNWRITTEN), |error| Fault::new(UNWRITTEN, error)))
    }

    /// It is too late to try again, and an earlier try may have been written.
    async fn find_out(&self, commit: &Commit) -> Result<Written, Fault> {
        if let Some(write) = &commit.request
            && let Some(found) = self.load(key_of(write)).await?
            && is_of(write, &found)
        {
            return Ok(Written::Yes);
        }
        // It could still be on its way, so "too late" might turn out to be wrong.
        Err(Fault::bare("whether the database has written is not known"))
    }
}

/// The outcome, in the port's words.
fn answer(written: Written, pending_twin: Option<placet_core::id::RequestId>) -> Result<Committed, Fault> {
    Ok(match written {
        Written::Yes => Committed::Done { pending_twin },
        Written::Stopped(Stop::Request(winner)) => {
            let winner = winner.ok_or(Fault::bare("a request that is not there cannot be changed"))?;
            Committed::Lost(Box::new(items::request(&winner)?))
        }
        Written::Stopped(Stop::Late) => Committed::Late,
        Written::Stopped(Stop::Record) => Committed::ChainMoved,
        Written::Stopped(Stop::Quota) => Committed::OverQuota,
        Written::Stopped(Stop::Policy) => Committed::PolicyMoved,
        Written::Stopped(Stop::Waiting) => Committed::TooManyPending,
        Written::Stopped(Stop::Totals) => Committed::TotalsMoved,
        Written::Stopped(Stop::Duplicates(_)) => {
            return Err(Fault::bare("a request without a condition on those like it was stopped by one"));
        }
    })
}

fn key_of(write: &RequestWrite) -> placet_core::id::RequestKey {
    match write {
        RequestWrite::Insert { asked, .. } | RequestWrite::Update { asked, .. } => asked.key(),
    }
}

/// Whether that is what `write` writes.
fn is_of(write: &RequestWrite, found: &Request) -> bool {
    match write {
        RequestWrite::Insert { asked, .. } => found.asked().approval_id == asked.approval_id,
        RequestWrite::Update { state, from_version, .. } => {
            found.version() == from_version.saturating_add(1) && found.state() == state
        }
    }
}

fn failure(error: &SdkError<TransactWriteItemsError>) -> Failure {
    use TransactWriteItemsError as Refused;
    match error {
        SdkError::ServiceError(refused) => match refused.err() {
            Refused::TransactionCanceledException(cancelled) => {
                Failure::Cancelled(cancelled.cancellation_reasons().to_vec())
            }
            Refused::ProvisionedThroughputExceededException(_)
            | Refused::RequestLimitExceeded(_)
            | Refused::ThrottlingException(_) => Failure::Busy,
            // In progress: an earlier try of ours, with the same token.
            Refused::TransactionInProgressException(_) | Refused::InternalServerError(_) => Failure::InDoubt,
            _ if refused.raw().status().is_server_error() => Failure::InDoubt,
            _ => Failure::Hopeless,
        },
        SdkError::ConstructionFailure(_) => Failure::Hopeless,
        // Timeouts, broken connections, unreadable answers: what became of it there, nobody knows.
        _ => Failure::InDoubt,
    }
}

/// Which condition stopped a transaction; none if it should be tried again.
fn stop(parts: &[Part], reasons: Vec<CancellationReason>) -> Result<Option<Stop>, Fault> {
    let mut failed: Vec<(Of, Option<Item>)> = Vec::new();
    let mut busy = false;
    for (part, reason) in parts.iter().zip(reasons) {
        match reason.code.as_deref() {
            None | Some("None") => {}
            Some("ConditionalCheckFailed") => failed.push((part.of, reason.item)),
            Some("TransactionConflict" | "ProvisionedThroughputExceeded" | "ThrottlingError") => busy = true,
            // An item that is too long, say.
            Some(_) => return Err(Fault::new(UNWRITTEN, reason.message.unwrap_or_default())),
        }
    }
    let mut of = |kind: Of| {
        let place = failed.iter().position(|(of, _)| *of == kind)?;
        Some(failed.swap_remove(place).1)
    };
    if let Some(winner) = of(Of::Request) {
        return Ok(Some(Stop::Request(winner)));
    }
    // While others are at these items, the request's own condition has not been looked at.
    if busy {
        return Ok(None);
    }
    if of(Of::Policy).is_some() {
        return Ok(Some(Stop::Policy));
    }
    if of(Of::Record).is_some() {
        return Ok(Some(Stop::Record));
    }
    if of(Of::Totals).is_some() {
        return Ok(Some(Stop::Totals));
    }
    if of(Of::Quota).is_some() {
        return Ok(Some(Stop::Quota));
    }
    if of(Of::Waiting).is_some() {
        return Ok(Some(Stop::Waiting));
    }
    if let Some(item) = of(Of::Duplicates) {
        return Ok(Some(Stop::Duplicates(items::waiting_requests(&item.unwrap_or_default()))));
    }
    Err(Fault::bare("the database cancelled a transaction and does not say why"))
}
