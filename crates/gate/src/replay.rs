//! The time machine: reads what was asked, and hands it to a replay of another policy. Nothing is written.
//!
//! Little is held at once, whatever was asked: one page of requests, and the place at which each page begins.

use std::collections::{BTreeMap, BTreeSet};

use placet_core::Timestamp;
use placet_core::audit::AuditEventKind;
use placet_core::id::{ApprovalId, ClientId};
use placet_core::policy::Policy;
use placet_core::replay::{Replay, ReplayReport, Suggestions};
use placet_core::request::Request;
use placet_core::time::DAY_MS;
use serde_json::Value;

use crate::ports::{StoreQuery, TrailQuery};
use crate::{Error, Fault, Gate};

/// How many requests are read at once.
const PAGE: usize = 200;

/// How many entries of the trail are read at once.
const ENTRIES: usize = 1000;

/// How many requests, by the UTC day on which they were asked, and whether they are of the time that is replayed.
type ByDay = BTreeMap<(i64, bool), u32>;

impl Gate {
    /// What that policy would have done with what was asked from `from` on and before `until`; its lists name the newest
    /// `listed` requests.
    ///
    /// Requests of clients that have left the policy in force are found by the trail, which keeps what was asked when
    /// the request itself is gone.
    pub async fn replay(
        &self,
        policy: &Policy,
        from: Timestamp,
        until: Timestamp,
        listed: usize,
    ) -> Result<ReplayReport, Error> {
        let mut replay = Replay::new(policy, from, until, listed);
        self.replay_all(&mut replay, policy, from, until).await?;
        Ok(replay.report())
    }

    /// What was decided in that time under that policy suggests for it.
    pub async fn suggest(
        &self,
        policy: &Policy,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Suggestions, Error> {
        let mut replay = Replay::new(policy, from, until, 0).with_evidence();
        self.replay_all(&mut replay, policy, from, until).await?;
        let none = Suggestions { suggestions: Vec::new(), nothing: Vec::new() };
        Ok(replay.suggestions().unwrap_or(none))
    }

    async fn replay_all(
        &self,
        replay: &mut Replay<'_>,
        policy: &Policy,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<(), Error> {
        let begin = replay.begins_at();
        let traced = self.traced(begin, from, until).await?;
        let in_force = self.policy().await?;
        let named = in_force.clients.iter().chain(&policy.clients).map(|client| client.id.clone());
        let clients: BTreeSet<ClientId> = named.chain(traced.keys().cloned()).collect();
        for client in &clients {
            let traced = traced.get(client).cloned().unwrap_or_default();
            let gone = if replay.needs_order() {
                self.replay_in_order(replay, client, (begin, from, until), &traced).await?
            } else {
                let mut found = ByDay::new();
                let mut pages = Pages::of(client, begin, until);
                while let Some(page) = pages.next(self).await? {
                    for request in &page {
                        *found.entry(slot(request, from)).or_default() += 1;
                        replay.add(request);
                    }
                }
                missing(&traced, &found)
            };
            let in_time = gone.iter().filter(|((_, is_meant), _)| *is_meant);
            replay.add_gone(in_time.map(|(_, count)| *count).sum());
        }
        Ok(())
    }

    /// The same, the oldest first, and twice through the list: stores read it from its newest end.
    async fn replay_in_order(
        &self,
        replay: &mut Replay<'_>,
        client: &ClientId,
        (begin, from, until): (Timestamp, Timestamp, Timestamp),
        traced: &ByDay,
    ) -> Result<ByDay, Error> {
        let mut pages = Pages::of(client, begin, until);
        let mut found = ByDay::new();
        let mut ends = Vec::new();
        loop {
            let end = pages.before.clone();
            let Some(page) = pages.next(self).await? else { break };
            for request in &page {
                *found.entry(slot(request, from)).or_default() += 1;
            }
            ends.push(end);
        }
        let gone = missing(traced, &found);
        replay.begin_client(gone.keys().next_back().map(|(day, _)| start_of(day.saturating_add(1))));
        for before in ends.into_iter().rev() {
            let mut page = Pages { before, ..Pages::of(client, begin, until) };
            for request in page.next(self).await?.iter().flatten().rev() {
                replay.add(request);
            }
        }
        Ok(gone)
    }

    /// How many requests each client asked on each day, by the trail.
    async fn traced(
        &self,
        since: Timestamp,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<BTreeMap<ClientId, ByDay>, Fault> {
        let mut all: BTreeMap<ClientId, ByDay> = BTreeMap::new();
        let mut next = 0;
        loop {
            let query = TrailQuery { from: next, limit: ENTRIES, since: Some(since), until: Some(until) };
            let page = self.store.trail(&query).await?;
            for placed in &page.entries {
                let fields = placed.entry.fields();
                let text = |name: &str| fields.get(name).and_then(Value::as_str);
                if text("event") != Some(AuditEventKind::Asked.as_str()) {
                    continue;
                }
                let client = text("client").and_then(|client| ClientId::parse(client).ok());
                let at = text("timestamp").and_then(Timestamp::parse);
                if let (Some(client), Some(at)) = (client, at) {
                    *all.entry(client).or_default().entry((at.day(), at >= from)).or_default() += 1;
                }
            }
            match page.next {
                Some(further) if further > next => next = further,
                Some(_) | None => return Ok(all),
            }
        }
    }
}

/// A client's requests of a while, page by page from the newest, as they are stored: a look at the past settles nothing.
struct Pages {
    client: ClientId,
    first: ApprovalId,
    before: ApprovalId,
    is_over: bool,
}

impl Pages {
    fn of(client: &ClientId, begin: Timestamp, until: Timestamp) -> Self {
        Self {
            client: client.clone(),
            first: ApprovalId::from_parts(begin, 0),
            before: ApprovalId::from_parts(until, 0),
            is_over: false,
        }
    }

    async fn next(&mut self, gate: &Gate) -> Result<Option<Vec<Request>>, Fault> {
        if self.is_over {
            return Ok(None);
        }
        let query = StoreQuery {
            client: Some(self.client.clone()),
            status: None,
            limit: PAGE,
            before: Some(self.before.clone()),
        };
        let mut page = gate.store.list(&query).await?;
        self.is_over = page.len() < PAGE;
        if let Some(last) = page.last() {
            self.before = last.asked().approval_id.clone();
        }
        let found = page.len();
        page.retain(|request| request.asked().approval_id >= self.first);
        self.is_over |= page.len() < found;
        Ok((!page.is_empty()).then_some(page))
    }
}

/// How many of the requests that the trail knows of are not there any more.
fn missing(traced: &ByDay, found: &ByDay) -> ByDay {
    let left = |(slot, count): (&(i64, bool), &u32)| {
        let gone = count.saturating_sub(found.get(slot).copied().unwrap_or(0));
        (gone > 0).then_some((*slot, gone))
    };
    traced.iter().filter_map(left).collect()
}

fn slot(request: &Request, from: Timestamp) -> (i64, bool) {
    let at = request.asked().created_at;
    (at.day(), at >= from)
}

fn start_of(day: i64) -> Timestamp {
    Timestamp::from_millis(day.saturating_mul(DAY_MS))
}
