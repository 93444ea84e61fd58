//! The weekly numbers: what was asked in a span of days, and in the four weeks before.

use std::collections::{HashMap, VecDeque};

use placet_core::Timestamp;
use placet_core::id::{ApprovalId, ClientId};
use placet_core::keys::Epoch;
use placet_core::link::ReportLink;
use placet_core::numbers::{Ask, Fact, Report, Tally, Told, Window};
use placet_core::policy::ClientRole;
use placet_core::refusal::Refusal;
use placet_core::request::Request;
use placet_core::time::DAY_MS;

use crate::authenticate::Caller;
use crate::outbox::{MessageEnd, OutboxPayload, PastMessage};
use crate::ports::{Store, StoreQuery};
use crate::{Error, Fault, Gate};

/// How many requests of a client are read, and held, at once.
const PAGE: usize = 100;

/// How many days a report's page shows.
const DAYS_OF_A_LINK: u32 = 7;

/// A report as its page shows it.
#[derive(Clone, Debug)]
pub struct LinkedReport {
    /// The numbers.
    pub report: Report,
    /// For the page's forms.
    pub nonce: String,
}

impl Gate {
    /// The report of the days up to now, for an auditor.
    pub async fn report(&self, caller: &Caller, days: u32) -> Result<Report, Error> {
        caller.must_be(ClientRole::Auditor)?;
        self.report_until(self.clock.now(), days).await
    }

    /// The report of the days that end there.
    pub async fn report_until(&self, until: Timestamp, days: u32) -> Result<Report, Error> {
        let window = Window::ending(until, days);
        let (mut tally, mut before) = (Tally::default(), Tally::default());
        let earlier = window.before();
        let mut clients: Vec<_> = self
            .all_clients()
            .await?
            .into_iter()
            .map(|client| NewestFirst::of(self.store.as_ref(), client, first_of(window.until.day() + 1)))
            .collect();
        // Day by day: what was told of a day's requests is read once for all clients, and held no longer.
        for day in (earlier.from.day()..=window.until.plus_millis(-1).day()).rev() {
            let mut of_the_day = None;
            for client in &mut clients {
                while let Some(request) = client.next_from(&first_of(day)).await? {
                    let told = match &mut of_the_day {
                        Some(told) => told,
                        none => none.insert(told(self.store.past_messages(day).await?)),
                    };
                    let told = told.remove(&request.asked().approval_id).unwrap_or_default();
                    let fact = Fact::of(&request, told);
                    if window.contains(fact.asked_at) {
                        tally.add(&fact);
                    } else if earlier.contains(fact.asked_at) {
                        before.add(&fact);
                    }
                }
            }
        }
        Ok(Report::of(window, &tally, &before))
    }

    /// The report of that link.
    ///
    /// Refuses with `not_found` for a link that this gate never made, `link_expired` for one whose key is gone.
    pub async fn linked_report(&self, unverified_link: &str) -> Result<LinkedReport, Error> {
        let (link, epoch, until_day) = self.read_report_link(unverified_link).await?;
        let report = self.report_until(start_of(until_day), DAYS_OF_A_LINK).await?;
        Ok(LinkedReport { report, nonce: link.nonce(&epoch, self.clock.now()) })
    }

    /// The link to the report of the seven days before that day, counted from 1970-01-01.
    pub async fn report_link(&self, until_day: u32) -> Result<ReportLink, Fault> {
        Ok(ReportLink::mint(&self.keys.keyring().await?.current, until_day))
    }

    /// The days that a link's report is about.
    ///
    /// Refuses a link that this gate never made, and a nonce that its page did not mint within a day.
    pub(crate) async fn report_link_with_nonce(&self, link: &str, nonce: &str) -> Result<Window, Error> {
        let (link, epoch, until_day) = self.read_report_link(link).await?;
        if link.takes_nonce(&epoch, nonce, self.clock.now()) {
            return Ok(Window::ending(start_of(until_day), DAYS_OF_A_LINK));
        }
        Err(Refusal::field("nonce", "must be the one of the page, not older than a day").into())
    }

    async fn read_report_link(&self, unverified: &str) -> Result<(ReportLink, Epoch, u32), Error> {
        let link = ReportLink::parse(unverified).ok_or(Refusal::NotFound)?;
        let mut keyring = self.keys.keyring().await?;
        if keyring.epoch(link.epoch()).is_none() {
            keyring = self.keys.refreshed().await?;
        }
        let Some(epoch) = keyring.epoch(link.epoch()) else {
            let is_older = keyring.current.number > link.epoch();
            return Err(if is_older { Refusal::LinkExpired } else { Refusal::NotFound }.into());
        };
        let until_day = link.until_day(epoch).ok_or(Refusal::NotFound)?;
        Ok((link, epoch.clone(), until_day))
    }

    /// The clients of the policy in force: what a client asked that has left it is in the trail, not in the numbers.
    async fn all_clients(&self) -> Result<Vec<ClientId>, Error> {
        Ok(self.policy().await?.clients.iter().map(|client| client.id.clone()).collect())
    }
}

/// A client's requests, the newest first and a page at a time, as they are stored: a page's GET must not settle one.
struct NewestFirst<'s> {
    store: &'s dyn Store,
    query: StoreQuery,
    page: VecDeque<Request>,
    is_last: bool,
}

impl<'s> NewestFirst<'s> {
    /// Those before that one.
    fn of(store: &'s dyn Store, client: ClientId, before: ApprovalId) -> Self {
        let query = StoreQuery { client: Some(client), status: None, limit: PAGE, before: Some(before) };
        Self { store, query, page: VecDeque::new(), is_last: false }
    }

    /// The next one that is not older than `first`.
    async fn next_from(&mut self, first: &ApprovalId) -> Result<Option<Request>, Fault> {
        if self.page.is_empty() && !self.is_last {
            self.page = self.store.list(&self.query).await?.into();
            self.is_last = self.page.len() < PAGE;
            self.query.before = self.page.back().map(|last| last.asked().approval_id.clone());
        }
        let is_wanted = self.page.front().is_some_and(|next| next.asked().approval_id >= *first);
        Ok(if is_wanted { self.page.pop_front() } else { None })
    }
}

/// The first id that an approval of that day could have.
fn first_of(day: i64) -> ApprovalId {
    ApprovalId::from_parts(Timestamp::from_millis(day.saturating_mul(DAY_MS)), 0)
}

/// When a day begins that is counted from 1970-01-01.
fn start_of(day: u32) -> Timestamp {
    Timestamp::from_millis(i64::from(day).saturating_mul(DAY_MS))
}

/// What was told of each approval.
fn told(past: Vec<PastMessage>) -> HashMap<ApprovalId, Told> {
    let mut all: HashMap<ApprovalId, Told> = HashMap::new();
    for message in past {
        let told = all.entry(message.approval_id).or_default();
        match (message.payload, message.end) {
            (OutboxPayload::Notify { stage, reviewer, .. }, MessageEnd::Delivered) => {
                told.asks.push(Ask { reviewer, stage, at: message.ended_at });
            }
            (OutboxPayload::Publish { .. }, MessageEnd::Delivered) => {
                told.published_at = told.published_at.into_iter().chain([message.ended_at]).min();
            }
            (OutboxPayload::Callback { .. }, MessageEnd::Delivered) => {
                told.called_back_at = told.called_back_at.into_iter().chain([message.ended_at]).min();
            }
            (OutboxPayload::Callback { .. } | OutboxPayload::Hook { .. }, MessageEnd::GivenUp) => {
                told.given_up = told.given_up.saturating_add(1);
            }
            (
                OutboxPayload::Hook { .. }
                | OutboxPayload::Notify { .. }
                | OutboxPayload::Nudge { .. }
                | OutboxPayload::Remind { .. }
                | OutboxPayload::Digest { .. }
                | OutboxPayload::Refresh { .. }
                | OutboxPayload::ChatWord { .. }
                | OutboxPayload::Publish { .. }
                | OutboxPayload::Alert(_)
                | OutboxPayload::AlertOver(_)
                | OutboxPayload::AlertBy { .. }
                | OutboxPayload::AlertSummary { .. }
                | OutboxPayload::Report { .. }
                | OutboxPayload::StillOpen
                | OutboxPayload::LookAtRun
                | OutboxPayload::Reassign { .. },
                MessageEnd::Delivered | MessageEnd::GivenUp,
            ) => {}
        }
    }
    all
}
