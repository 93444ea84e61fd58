//! The reads, and the writes of one item. What they mean is documented at the port.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;

use std::sync::PoisonError;

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{KeysAndAttributes, ReturnValue, ReturnValuesOnConditionCheckFailure};
use placet_core::Timestamp;
use placet_core::audit::{AuditEntry, ChainHead};
use placet_core::id::{ApprovalId, ClientId, HookId, RequestKey, ReviewerId};
use placet_core::request::{Request, Status};
use placet_gate::Fault;
use placet_gate::ports::{
    Closing, Hook, OutboxMessage, PastMessage, PolicyRecord, PushDevice, SentMessage, StoreQuery, Tallied,
};

use crate::items::{
    self, APPROVAL_ID, ATTEMPT, CLAIM, CLIENT, COUNT, DUE_AT, DUE_PK, Due, EXPIRES_AT, FORMAT_VERSION, HOOKS,
    Item, MARKS, PK, POLICY, SHARDS, SK, STATUS, SUBJECT, number, string, text,
};
use crate::tables::{DUE_INDEX, LISTED_INDEX};
use crate::{Inner, pause_before, random_hex};

/// How many items one `BatchGetItem` takes.
const BATCH: usize = 100;

/// How often what a batch left out is asked for again.
const BATCH_TRIES: u32 = 8;

/// How many index entries a filtered page looks at: most of them are filtered out, and they are small.
const FILTERED_PAGE: usize = 500;

/// Sorts after every ULID.
const AFTER_ALL: &str = "~";

const UNREAD: &str = "the database could not be read";
const UNWRITTEN: &str = "the database could not be written";

impl Inner {
    pub(crate) async fn load(&self, key: RequestKey) -> Result<Option<Request>, Fault> {
        let found = self
            .client
            .get_item()
            .table_name(&self.tables.requests)
            .set_key(Some(items::request_address(key)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| Fault::new(UNREAD, error))?;
        found.item.as_ref().map(items::request).transpose()
    }

    pub(crate) async fn closing(&self, until: Timestamp, limit: usize) -> Result<Vec<Closing>, Fault> {
        let mut all = Vec::new();
        for found in self.each_shard(|shard| up_to(limit, self.due(Due::Closes, shard, until))).await? {
            all.extend(found.iter().map(closing).collect::<Result<Vec<_>, _>>()?);
        }
        all.sort_unstable();
        all.truncate(limit);
        Ok(all)
    }

    pub(crate) async fn due_messages(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<OutboxMessage>, Fault> {
        let mut all = Vec::new();
        for found in self.each_shard(|shard| up_to(limit, self.due(Due::Sends, shard, now))).await? {
            all.extend(found.iter().map(items::message).collect::<Result<Vec<_>, _>>()?);
        }
        all.sort_by_key(|message| message.due_at);
        all.truncate(limit);
        Ok(all)
    }

    pub(crate) async fn message(&self, id: &str) -> Result<Option<OutboxMessage>, Fault> {
        let found = self
            .client
            .get_item()
            .table_name(&self.tables.requests)
            .set_key(Some(items::message_address(id)?))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| Fault::new(UNREAD, error))?;
        found.item.as_ref().map(items::message).transpose()
    }

    pub(crate) async fn next_due(&self) -> Result<Option<Timestamp>, Fault> {
        let ever = Timestamp::from_millis(i64::MAX);
        let (closes, sends) = tokio::try_join!(
            self.each_shard(|shard| up_to(1, self.due(Due::Closes, shard, ever))),
            self.each_shard(|shard| up_to(1, self.due(Due::Sends, shard, ever))),
        )?;
        let times: Result<Vec<_>, _> = closes.iter().chain(&sends).flatten().map(items::due_at).collect();
        Ok(times?.into_iter().min())
    }

    /// What a query finds in each partition of one kind, all asked at once.
    pub(crate) async fn each_shard<T: Send + 'static>(
        &self,
        query: impl Fn(u8) -> BoxedQuery<T>,
    ) -> Result<Vec<T>, Fault> {
        let mut asked = tokio::task::JoinSet::new();
        for shard in 0..SHARDS {
            asked.spawn(query(shard));
        }
        let mut found = Vec::new();
        while let Some(answer) = asked.join_next().await {
            found.push(answer.map_err(|error| Fault::new(UNREAD, error))??);
        }
        Ok(found)
    }

    fn due(&self, what: Due, shard: u8, now: Timestamp) -> QueryFluentBuilder {
        self.query(&self.tables.requests)
            .index_name(DUE_INDEX)
            .key_condition_expression(format!("{DUE_PK} = :partition AND {DUE_AT} <= :now"))
            .expression_attribute_values(":partition", text(what.partition(shard)))
            .expression_attribute_values(":now", number(now.millis()))
    }

    pub(crate) async fn claim(
        &self,
        seen: &OutboxMessage,
        attempt: u32,
        due_at: Timestamp,
    ) -> Result<bool, Fault> {
        // The mark tells our own claim, whose answer was lost and which the SDK has tried again, from another's.
        let claim = text(random_hex()?);
        let moved = self
            .client
            .update_item()
            .table_name(&self.tables.requests)
            .set_key(Some(items::message_address(&seen.id)?))
            .update_expression(format!(
                "SET {ATTEMPT} = :attempt, {DUE_AT} = :due_at, {EXPIRES_AT} = :expires_at, {CLAIM} = :claim"
            ))
            .condition_expression(format!("{ATTEMPT} = :seen_attempt AND {DUE_AT} = :seen_due_at"))
            .expression_attribute_values(":attempt", number(attempt))
            .expression_attribute_values(":due_at", number(due_at.millis()))
            .expression_attribute_values(
                ":expires_at",
                number(items::message_expires_at(due_at, self.keep.ended_seconds)),
            )
            .expression_attribute_values(":claim", claim.clone())
            .expression_attribute_values(":seen_attempt", number(seen.attempt))
            .expression_attribute_values(":seen_due_at", number(seen.due_at.millis()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let Err(error) = moved else { return Ok(true) };
        match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                Ok(failed.item().and_then(|item| item.get(CLAIM)) == Some(&claim))
            }
            Some(_) | None => Err(Fault::new(UNWRITTEN, error)),
        }
    }

    pub(crate) async fn ack(&self, id: &str) -> Result<(), Fault> {
        self.delete(items::message_address(id)?).await.map(drop)
    }

    /// Two writes: what is remembered comes first, and its first version stays. Whoever dies between the two sends the
    /// message again, which changes nothing here; one transaction would cost four times as much.
    pub(crate) async fn end_message(&self, past: &PastMessage) -> Result<(), Fault> {
        let remembered = self
            .client
            .put_item()
            .table_name(&self.tables.requests)
            .set_item(Some(items::new_past_message(past, self.keep.ended_seconds)?))
            .condition_expression(format!("attribute_not_exists({PK})"))
            .send()
            .await;
        match remembered {
            Ok(_) => {}
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(PutItemError::is_conditional_check_failed_exception) => {}
            Err(error) => return Err(Fault::new(UNWRITTEN, error)),
        }
        self.ack(&past.id).await
    }

    pub(crate) async fn past_messages(&self, day: i64) -> Result<Vec<PastMessage>, Fault> {
        let found = up_to(usize::MAX, self.partition(&items::past_messages_of(day))).await?;
        found.iter().map(items::past_message).collect()
    }

    pub(crate) async fn list(&self, query: &StoreQuery) -> Result<Vec<Request>, Fault> {
        let Some(client) = &query.client else { return self.list_all(query).await };
        let before = query.before.as_ref().map_or(AFTER_ALL, |approval| approval.as_str());
        let pages = self
            .query(&self.tables.requests)
            .index_name(LISTED_INDEX)
            .key_condition_expression(format!("{CLIENT} = :client AND {APPROVAL_ID} < :before"))
            .expression_attribute_values(":client", text(client.as_str()))
            .expression_attribute_values(":before", text(before))
            .scan_index_forward(false);
        let Some(status) = query.status else {
            return self.requests(pages.limit(page(query.limit)), query.limit, |_| true).await;
        };
        let pages = pages
            .filter_expression("#status = :status")
            .expression_attribute_names("#status", STATUS)
            .expression_attribute_values(":status", text(status.as_str()))
            .limit(page(FILTERED_PAGE));
        self.requests(pages, query.limit, |request| request.status() == status).await
    }

    /// The operator's list, and nobody else's: it goes through the whole index, which has few bytes of each request.
    ///
    /// No index has all clients' requests by age: it would be one partition for every write.
    async fn list_all(&self, query: &StoreQuery) -> Result<Vec<Request>, Fault> {
        let before = query.before.as_ref().map_or(AFTER_ALL, |approval| approval.as_str());
        let mut newest: BTreeMap<String, Item> = BTreeMap::new();
        let mut pages = self
            .client
            .scan()
            .table_name(&self.tables.requests)
            .index_name(LISTED_INDEX)
            .filter_expression(format!("{APPROVAL_ID} < :before"))
            .expression_attribute_values(":before", text(before))
            .into_paginator()
            .send();
        while let Some(found) = pages.next().await {
            for item in found.map_err(|error| Fault::new(UNREAD, error))?.items.into_iter().flatten() {
                let wanted = query.status.map(Status::as_str);
                if wanted.is_none_or(|wanted| string(&item, STATUS).is_ok_and(|status| status == wanted)) {
                    let address = items::request_key(&item).map(items::request_address)?;
                    newest.insert(string(&item, APPROVAL_ID)?.to_owned(), address);
                }
                if newest.len() > query.limit {
                    newest.pop_first();
                }
            }
        }
        let addresses: Vec<Item> = newest.into_values().rev().collect();
        let mut all = self.in_order(&addresses).await?;
        all.retain(|request| query.status.is_none_or(|status| request.status() == status));
        Ok(all)
    }

    /// What waits, by deadline, from the index of what closes.
    ///
    /// The index may be a moment behind: what it still has though it has ended is left out, and what has moved on to a
    /// later stage comes in its new place, or at the end of the last page.
    pub(crate) async fn pending(
        &self,
        mut after: Option<Closing>,
        limit: usize,
    ) -> Result<Vec<Request>, Fault> {
        let mut all: Vec<(Closing, Request)> = Vec::new();
        let mut moved: Vec<(Closing, Request)> = Vec::new();
        while all.len() < limit {
            let wanted = limit.saturating_sub(all.len());
            let places = self.places_after(after, wanted).await?;
            let is_last = places.len() < wanted;
            let addresses: Vec<Item> = places.iter().map(|place| items::request_address(place.key)).collect();
            for request in self.in_order(&addresses).await? {
                let Some(closes_at) = request.pending().map(|pending| pending.closes_at) else { continue };
                let place = Closing { closes_at, key: request.key() };
                if places.binary_search(&place).is_ok() { &mut all } else { &mut moved }
                    .push((place, request));
            }
            after = places.last().copied().or(after);
            if is_last {
                moved.retain(|(place, _)| all.iter().all(|(other, _)| other.key != place.key));
                all.append(&mut moved);
                break;
            }
        }
        all.sort_by_key(|(place, _)| *place);
        Ok(all.into_iter().map(|(_, request)| request).take(limit).collect())
    }

    /// The first `limit` places behind `after`, by deadline and key; fewer only if there are no more.
    async fn places_after(&self, after: Option<Closing>, limit: usize) -> Result<Vec<Closing>, Fault> {
        let from = after.map_or(i64::MIN, |after| after.closes_at.millis());
        let query = |shard| -> BoxedQuery<Vec<Closing>> {
            let query = self
                .query(&self.tables.requests)
                .index_name(DUE_INDEX)
                .key_condition_expression(format!("{DUE_PK} = :partition AND {DUE_AT} >= :from"))
                .expression_attribute_values(":partition", text(Due::Closes.partition(shard)))
                .expression_attribute_values(":from", number(from))
                .limit(page(limit.saturating_add(1)));
            Box::pin(first_places(query, after, limit))
        };
        let mut all: Vec<Closing> = self.each_shard(query).await?.into_iter().flatten().collect();
        all.sort_unstable();
        all.truncate(limit);
        Ok(all)
    }

    /// The requests that an index names, in its order, as they stand now, until there are `limit` of them.
    ///
    /// The index has their keys only: with all of a request in it, each vote would write the payload once more.
    async fn requests(
        &self,
        pages: QueryFluentBuilder,
        limit: usize,
        wanted: impl Fn(&Request) -> bool,
    ) -> Result<Vec<Request>, Fault> {
        let mut all = Vec::new();
        let mut pages = pages.into_paginator().send();
        while all.len() < limit
            && let Some(found) = pages.next().await
        {
            let found = found.map_err(|error| Fault::new(UNREAD, error))?;
            let addresses: Vec<Item> = found
                .items()
                .iter()
                .map(|item| items::request_key(item).map(items::request_address))
                .collect::<Result<_, _>>()?;
            for addresses in addresses.chunks(BATCH) {
                all.extend(self.in_order(addresses).await?.into_iter().filter(&wanted));
                if all.len() >= limit {
                    break;
                }
            }
        }
        all.truncate(limit);
        Ok(all)
    }

    /// The requests at those addresses that are there, in that order.
    async fn in_order(&self, addresses: &[Item]) -> Result<Vec<Request>, Fault> {
        let mut all = Vec::new();
        for addresses in addresses.chunks(BATCH) {
            let mut loaded = self.batch(addresses).await?;
            all.extend(addresses.iter().filter_map(|address| loaded.remove(string(address, PK).ok()?)));
        }
        Ok(all)
    }

    /// Loads up to [`BATCH`] requests, consistently, by their partition keys.
    async fn batch(&self, addresses: &[Item]) -> Result<HashMap<String, Request>, Fault> {
        let mut loaded = HashMap::new();
        let mut left = addresses.to_vec();
        for attempt in 0..BATCH_TRIES {
            pause_before(attempt).await?;
            let keys = KeysAndAttributes::builder()
                .set_keys(Some(left))
                .consistent_read(true)
                .build()
                .map_err(|error| Fault::new(UNREAD, error))?;
            let answer = self
                .client
                .batch_get_item()
                .request_items(&self.tables.requests, keys)
                .send()
                .await
                .map_err(|error| Fault::new(UNREAD, error))?;
            for item in answer.responses.into_iter().flatten().flat_map(|(_, items)| items) {
                loaded.insert(string(&item, PK)?.to_owned(), items::request(&item)?);
            }
            left = answer.unprocessed_keys.into_iter().flatten().flat_map(|(_, keys)| keys.keys).collect();
            if left.is_empty() {
                return Ok(loaded);
            }
        }
        Err(Fault::bare("the database reads too slowly"))
    }

    pub(crate) async fn keep_sent(&self, sent: &SentMessage) -> Result<(), Fault> {
        self.client
            .put_item()
            .table_name(&self.tables.requests)
            .set_item(Some(items::new_sent(sent, self.keep.ended_seconds)?))
            .send()
            .await
            .map(drop)
            .map_err(|error| Fault::new(UNWRITTEN, error))
    }

    pub(crate) async fn sent(&self, approval: &ApprovalId) -> Result<Vec<SentMessage>, Fault> {
        let found = up_to(usize::MAX, self.partition(&items::sent_partition(approval))).await?;
        found.iter().map(items::sent).collect()
    }

    /// A count whose answer was lost may be counted twice: whoever counts then stops a little early.
    pub(crate) async fn tally(&self, name: &str, until: Timestamp) -> Result<u32, Fault> {
        let counted = self
            .client
            .update_item()
            .table_name(&self.tables.requests)
            .set_key(Some(items::count_address(name)))
            .update_expression(format!(
                "SET {EXPIRES_AT} = :until, {FORMAT_VERSION} = :format ADD #count :one"
            ))
            .expression_attribute_names("#count", COUNT)
            .expression_attribute_values(":until", number(until.seconds()))
            .expression_attribute_values(":format", items::format_version())
            .expression_attribute_values(":one", number(1))
            .return_values(ReturnValue::UpdatedNew)
            .send()
            .await
            .map_err(|error| Fault::new(UNWRITTEN, error))?;
        items::parsed(&counted.attributes.unwrap_or_default(), COUNT)
    }

    /// The version is read first: what is added between the two makes the sums too great for it, and the commit is refused.
    pub(crate) async fn tallied(&self, account: &str, since: &[Timestamp]) -> Result<Tallied, Fault> {
        let version = self
            .client
            .get_item()
            .table_name(&self.tables.requests)
            .set_key(Some(items::tally_version_address(account)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| Fault::new(UNREAD, error))?;
        let version = items::tally_version(version.item.as_ref())?;
        let Some(earliest) = since.iter().min() else { return Ok(Tallied { version, sums: Vec::new() }) };
        let added = self
            .query(&self.tables.requests)
            .key_condition_expression(format!("{PK} = :pk AND {SK} BETWEEN :from AND :to"))
            .expression_attribute_values(":pk", text(items::tally_partition(account)))
            .expression_attribute_values(":from", text(items::tally_after(*earliest)))
            // Behind every time, and before the version.
            .expression_attribute_values(":to", text(":"))
            .consistent_read(true);
        let added = up_to(usize::MAX, added).await?;
        let mut sums = vec![0.0; since.len()];
        for item in &added {
            let (place, amount) = (string(item, SK)?, items::tally_amount(item)?);
            for (sum, since) in sums.iter_mut().zip(since) {
                if *place > *items::tally_after(*since) {
                    *sum += amount;
                }
            }
        }
        Ok(Tallied { version, sums })
    }

    /// A vote that was changed is there twice, so a few more are read than are wanted.
    pub(crate) async fn voted(&self, reviewer: &ReviewerId, limit: usize) -> Result<Vec<Request>, Fault> {
        let votes = self.partition(&items::votes_of(reviewer)).scan_index_forward(false);
        let mut addresses: Vec<Item> = Vec::new();
        for vote in up_to(limit.saturating_mul(2), votes).await? {
            let address = items::request_address(items::voted_on(&vote)?);
            if addresses.len() < limit && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        self.in_order(&addresses).await
    }

    pub(crate) async fn hooks(&self) -> Result<Vec<Hook>, Fault> {
        let found = up_to(usize::MAX, self.partition(HOOKS)).await?;
        found.iter().map(items::hook).collect()
    }

    pub(crate) async fn add_hook(&self, hook: &Hook) -> Result<(), Fault> {
        self.client
            .put_item()
            .table_name(&self.tables.requests)
            .set_item(Some(items::new_hook(hook)?))
            .send()
            .await
            .map_err(|error| Fault::new(UNWRITTEN, error))?;
        Ok(())
    }

    pub(crate) async fn remove_hook(&self, client: &ClientId, hook: &HookId) -> Result<bool, Fault> {
        self.delete(items::hook_address(client, hook)).await
    }

    pub(crate) async fn keep_push_device(&self, device: &PushDevice) -> Result<(), Fault> {
        self.client
            .put_item()
            .table_name(&self.tables.requests)
            .set_item(Some(items::new_push_device(device)?))
            .send()
            .await
            .map(drop)
            .map_err(|error| Fault::new(UNWRITTEN, error))
    }

    pub(crate) async fn push_devices(&self, reviewer: &ReviewerId) -> Result<Vec<PushDevice>, Fault> {
        let found = up_to(usize::MAX, self.partition(&items::push_partition(reviewer))).await?;
        found.iter().map(items::push_device).collect()
    }

    pub(crate) async fn remove_push_device(
        &self,
        reviewer: &ReviewerId,
        device: &str,
    ) -> Result<bool, Fault> {
        // An empty key is no key to DynamoDB.
        if device.is_empty() {
            return Ok(false);
        }
        self.delete(items::push_address(reviewer, device)).await
    }

    pub(crate) async fn policy(&self) -> Result<Option<PolicyRecord>, Fault> {
        let found = up_to(1, self.partition(POLICY).scan_index_forward(false)).await?;
        let Some(found) = found.first() else { return Ok(None) };
        let sha256 = items::policy_sha256(found)?;
        let text = self.policy_text(sha256).await?;
        let text = text.ok_or(Fault::bare("the text of the policy in force is not there"))?;
        items::policy(found, text).map(Some)
    }

    /// A text never changes under its digest, so the last one that was read is kept.
    pub(crate) async fn policy_text(&self, sha256: &str) -> Result<Option<String>, Fault> {
        let known = self.last_policy_text.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, text)) = known.filter(|(of, _)| of == sha256) {
            return Ok(Some(text));
        }
        let found = self
            .client
            .get_item()
            .table_name(&self.tables.requests)
            .set_key(Some(items::policy_text_address(sha256)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| Fault::new(UNREAD, error))?;
        let Some(found) = found.item else { return Ok(None) };
        let text = items::policy_text(&found, sha256)?;
        let mut last = self.last_policy_text.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some((sha256.to_owned(), text.clone()));
        Ok(Some(text))
    }

    pub(crate) async fn chain(&self, subject: &str) -> Result<ChainHead, Fault> {
        let found = up_to(1, self.entries(subject).scan_index_forward(false)).await?;
        let last = found.first().map(items::entry).transpose()?;
        Ok(last.map_or_else(ChainHead::default, |last| ChainHead { seq: last.seq, hash: last.hash }))
    }

    pub(crate) async fn audit_of(&self, subject: &str) -> Result<Vec<AuditEntry>, Fault> {
        let found = up_to(usize::MAX, self.entries(subject)).await?;
        found.iter().map(items::entry).collect()
    }

    pub(crate) fn entries(&self, subject: &str) -> QueryFluentBuilder {
        self.query(&self.tables.audit)
            .key_condition_expression(format!("{SUBJECT} = :subject"))
            .expression_attribute_values(":subject", text(subject))
            .consistent_read(true)
    }

    /// The time is in the condition too: DynamoDB's TTL deletes hours or days late. So is whose mark it is: the SDK tries
    /// again where the answer was lost.
    pub(crate) async fn mark(&self, name: &str, until: Timestamp) -> Result<bool, Fault> {
        let claim = text(random_hex()?);
        let mut mark = items::new_item(items::address(MARKS, name));
        mark.insert(CLAIM.to_owned(), claim.clone());
        mark.insert(EXPIRES_AT.to_owned(), number(until.seconds()));
        let put = self
            .client
            .put_item()
            .table_name(&self.tables.requests)
            .set_item(Some(mark))
            .condition_expression(format!(
                "attribute_not_exists({PK}) OR {EXPIRES_AT} <= :now OR {CLAIM} = :claim"
            ))
            .expression_attribute_values(":now", number(self.clock.now().seconds()))
            .expression_attribute_values(":claim", claim)
            .send()
            .await;
        match put {
            Ok(_) => Ok(true),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(PutItemError::is_conditional_check_failed_exception) =>
            {
                Ok(false)
            }
            Err(error) => Err(Fault::new(UNWRITTEN, error)),
        }
    }

    /// `false` if there was nothing.
    async fn delete(&self, address: Item) -> Result<bool, Fault> {
        let deleted = self
            .client
            .delete_item()
            .table_name(&self.tables.requests)
            .set_key(Some(address))
            .return_values(ReturnValue::AllOld)
            .send()
            .await
            .map_err(|error| Fault::new(UNWRITTEN, error))?;
        Ok(deleted.attributes.is_some())
    }

    pub(crate) fn partition(&self, pk: &str) -> QueryFluentBuilder {
        self.query(&self.tables.requests)
            .key_condition_expression(format!("{PK} = :pk"))
            .expression_attribute_values(":pk", text(pk))
            .consistent_read(true)
    }

    fn query(&self, table: &str) -> QueryFluentBuilder {
        self.client.query().table_name(table)
    }
}

/// A query that is under way, on its own.
pub(crate) type BoxedQuery<T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + Send>>;

/// What a query finds, at most `limit`.
pub(crate) fn up_to(limit: usize, query: QueryFluentBuilder) -> BoxedQuery<Vec<Item>> {
    Box::pin(async move {
        let mut all = Vec::new();
        let mut pages = query.limit(page(limit)).into_paginator().send();
        while all.len() < limit
            && let Some(found) = pages.next().await
        {
            all.extend(found.map_err(|error| Fault::new(UNREAD, error))?.items.into_iter().flatten());
        }
        all.truncate(limit);
        Ok(all)
    })
}

/// The first `limit` places behind `after` in one partition. An index does not sort those of one time by their keys, so
/// all of the last one's time are read.
async fn first_places(
    query: QueryFluentBuilder,
    after: Option<Closing>,
    limit: usize,
) -> Result<Vec<Closing>, Fault> {
    let mut places: Vec<Closing> = Vec::new();
    let mut pages = query.into_paginator().send();
    while let Some(found) = pages.next().await {
        for item in found.map_err(|error| Fault::new(UNREAD, error))?.items() {
            let place = closing(item)?;
            let is_later = places.last().is_some_and(|last| last.closes_at < place.closes_at);
            if places.len() >= limit && is_later {
                return Ok(places);
            }
            if after.is_none_or(|after| place > after) {
                places.push(place);
            }
        }
    }
    Ok(places)
}

/// The place of a request that waits, from the index.
fn closing(item: &Item) -> Result<Closing, Fault> {
    Ok(Closing { closes_at: items::due_at(item)?, key: items::request_key(item)? })
}

/// A page's size: as many as are wanted, within what is sensible.
fn page(limit: usize) -> i32 {
    i32::try_from(limit.clamp(1, 1000)).unwrap_or(1000)
}
