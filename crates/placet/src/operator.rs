//! The operator's page of the local gate: what is shown behind the link of `placet admin link`, and its tests of channels.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use placet_core::admin_link::AdminLink;
use placet_core::chat::ChannelSettings;
use placet_core::policy::{AlertWay, ChannelName, Policy, Reviewer};
use placet_core::request::{Request, Status};
use placet_core::{Refusal, Timestamp};
use placet_delivery::{AlertNotice, SendOutcome};
use placet_gate::alert::Alert;
use placet_gate::ports::{Keys as _, OutboxMessage, OutboxPayload, OutboxSubject, Store as _, StoreQuery};
use placet_gate::{Error, Fault, Gate, ROTATION_DUE_MS};
use placet_http::pages;
use placet_sqlite::SqliteStore;
use tokio::time::timeout;

use crate::commands::{alert_fault, alert_way_gets, channel_fault};
use crate::health::Health;
use crate::keys::FileKeys;
use crate::local::LocalGate;
use crate::mail::Mailer;
use crate::mail_channel::MailChannel;
use crate::press_limit::PressLimit;
use crate::trial::{self, TEST_TIMEOUT};

/// At most so many of each list.
const LISTED: usize = 50;

/// How many records are read to find those that have ended, wait too long, or fail.
const LOOKED_AT: usize = 200;

/// What the page is made from.
pub(crate) struct OperatorPage {
    gate: Arc<Gate>,
    store: Arc<SqliteStore>,
    keys: Arc<FileKeys>,
    health: Arc<Health>,
    local: LocalGate,
    pressed: PressLimit,
}

/// What a press of one of the page's buttons came to.
pub(crate) enum Pressed {
    /// A test was tried: what came of it.
    Tried(pages::Tried),
    /// The form was not this page's, or was too old.
    TooOld,
    /// There is nobody and no way of that name, or not by that channel.
    Unknown,
    /// Too many within a short time: again after so many seconds.
    TooSoon(u64),
}

impl OperatorPage {
    /// The page of that gate.
    pub(crate) fn new(local: &LocalGate) -> Self {
        Self {
            gate: Arc::clone(&local.gate),
            store: Arc::clone(&local.store),
            keys: Arc::clone(&local.keys),
            health: Arc::clone(&local.health),
            local: local.clone(),
            pressed: PressLimit::default(),
        }
    }

    /// The view behind that link. Refused as not found for a link that no gate made, or whose time is over: whoever holds an
    /// old one learns no more than a stranger.
    pub(crate) async fn view(
        &self,
        link: &str,
        is_ready: bool,
        said: Option<pages::Tried>,
    ) -> Result<pages::Operator, Error> {
        let now = self.gate.now();
        let (link_ends, nonce) = self.opened(link, now).await?;
        let pending = self.gate.all_pending(LOOKED_AT).await?;
        let query = StoreQuery { client: None, status: None, limit: LOOKED_AT, before: None };
        let mut ended = self.store.list(&query).await?;
        ended.retain(|request| request.outcome().is_some());
        ended.sort_by_key(|request| std::cmp::Reverse(ended_at(request)));
        ended.truncate(LISTED);
        let (policy, warnings) = self.policy().await?;
        let settings = self.gate.channel_settings().await?;
        let today = u32::try_from(now.day()).unwrap_or(0);
        let report = self.gate.report_link(today).await?;
        let standing = self.standing(&pending, now).await?;
        let matters: HashSet<&str> = standing.iter().map(|notice| notice.matter.as_str()).collect();
        let past = self.health.alerts();
        let past = past.iter().filter(|notice| !matters.contains(notice.matter.as_str())).map(alert_line);
        let past = past.take(LISTED).collect();
        let (channels, ways) = match policy.as_deref() {
            Some(policy) => (
                self.channels(policy, &settings, now).await?,
                policy.alerts.iter().map(|way| way_line(way, policy, &settings, &standing)).collect(),
            ),
            None => (Vec::new(), Vec::new()),
        };
        Ok(pages::Operator {
            is_ready,
            now_ms: now.millis(),
            started_ms: self.health.started_at().millis(),
            link_ends_ms: link_ends.millis(),
            waiting: pending.iter().take(LISTED).map(waiting_line).collect(),
            more_waits: pending.len() > LISTED,
            ended: ended.iter().map(ended_line).collect(),
            people: policy
                .as_deref()
                .map(|policy| policy.reviewers.iter().map(|one| person_line(one, now)).collect())
                .unwrap_or_default(),
            channels,
            ways,
            standing: standing.iter().map(alert_line).collect(),
            past,
            // Relative: the gate may lie below a path of a proxy's.
            report: format!("../report/{report}"),
            policy_version: policy.map_or(0, |policy| policy.version),
            warnings,
            nonce,
            said,
        })
    }

    /// Tries what was pressed, once: a reviewer's channel, or a way of alerts.
    pub(crate) async fn press(&self, link: &str, body: &[u8]) -> Result<Pressed, Error> {
        let value = |name: &str| {
            let mut values = url::form_urlencoded::parse(body).filter(|(key, _)| key == name);
            values.next().map(|(_, value)| value.into_owned()).unwrap_or_default()
        };
        let now = self.gate.now();
        let link = self.read(link, now).await?.0;
        if !link.takes_nonce(&*self.keys.keyring().await?, &value("nonce"), now) {
            return Ok(Pressed::TooOld);
        }
        let policy = self.gate.policy().await?;
        let (way, reviewer, channel) = (value("way"), value("reviewer"), value("channel"));
        let said = if let Some(way) = policy.alert_way(&way) {
            if let Some(seconds) = self.pressed.refuses(&format!("way/{}", way.name)) {
                return Ok(Pressed::TooSoon(seconds));
            }
            self.try_way(way, &policy).await
        } else {
            let person = policy.reviewers.iter().find(|person| person.id.as_str() == reviewer);
            let known = ChannelName::parse(&channel);
            let known = known.and_then(|channel| Some((person?, channel)));
            let Some((person, channel)) = known.filter(|(person, name)| can_try(person, *name)) else {
                return Ok(Pressed::Unknown);
            };
            if let Some(seconds) = self.pressed.refuses(&format!("{}/{channel}", person.id)) {
                return Ok(Pressed::TooSoon(seconds));
            }
            self.try_channel(person, channel, &policy).await?
        };
        Ok(Pressed::Tried(said))
    }

    async fn try_channel(
        &self,
        person: &Reviewer,
        channel: ChannelName,
        policy: &Policy,
    ) -> Result<pages::Tried, Error> {
        let settings = self.gate.channel_settings().await?;
        let outcome = trial::tried_within(&self.gate, policy, person, channel, &settings).await;
        self.health.note(person.id.as_str(), channel.as_str(), &outcome);
        Ok(match problem(outcome) {
            None => pages::Tried {
                is_good: true,
                text: format!("A test went to {} by {channel}. Ask them whether it has come.", person.name),
            },
            Some(reason) => pages::Tried {
                is_good: false,
                text: format!("The test for {} by {channel} was not taken: {reason}.", person.name),
            },
        })
    }

    async fn try_way(&self, way: &AlertWay, policy: &Policy) -> pages::Tried {
        let notice = AlertNotice::trial(&way.name, self.gate.now(), &self.gate.base_url(policy));
        let outcome = match (Mailer::from_environment(), crate::trust::webhook_sender()) {
            (Ok(mailer), Ok(sender)) => {
                let mail = Arc::new(MailChannel::new(mailer, Arc::clone(&self.keys) as _));
                let ways = self.local.ways(mail, sender);
                timeout(TEST_TIMEOUT, ways.send(way, &notice)).await.unwrap_or_else(|_| trial::no_answer())
            }
            (Err(failure), _) | (_, Err(failure)) => SendOutcome::Unreachable(failure.message().to_owned()),
        };
        match problem(outcome) {
            None => pages::Tried {
                is_good: true,
                text: format!("The way of alerts {} took a test. Ask whether it has come.", way.name),
            },
            Some(reason) => pages::Tried {
                is_good: false,
                text: format!("The way of alerts {} did not take a test: {reason}.", way.name),
            },
        }
    }

    /// When that link ends, and a nonce for its page.
    async fn opened(&self, link: &str, now: Timestamp) -> Result<(Timestamp, String), Error> {
        let (link, ends) = self.read(link, now).await?;
        let nonce = link.nonce(&*self.keys.keyring().await?, now);
        Ok((ends, nonce.ok_or(Error::Refused(Refusal::NotFound))?))
    }

    async fn read(&self, link: &str, now: Timestamp) -> Result<(AdminLink, Timestamp), Error> {
        let keyring = self.keys.keyring().await?;
        let link = AdminLink::parse(link);
        let read = link.and_then(|link| Some((link.open_until(&keyring, now)?, link)));
        read.map(|(ends, link)| (link, ends)).ok_or(Error::Refused(Refusal::NotFound))
    }

    /// The policy in force, and what a check of its text warns of.
    async fn policy(&self) -> Result<(Option<Arc<Policy>>, Vec<String>), Fault> {
        let Some(stored) = self.store.policy().await? else { return Ok((None, Vec::new())) };
        let report = Policy::check(&stored.text);
        let warnings = report.warnings.iter().map(|warning| warning.message.clone()).collect();
        Ok((self.gate.policy().await.ok(), warnings))
    }

    /// What operators were alerted of and goes on, as far as the store and the keys tell.
    async fn standing(&self, pending: &[Request], now: Timestamp) -> Result<Vec<AlertNotice>, Error> {
        let mut standing = Vec::new();
        for message in self.store.alerts_to_end(LISTED).await? {
            if let OutboxPayload::AlertOver(alert) = &message.payload
                && alert.goes_on()
            {
                standing.push(AlertNotice::of(alert, &message.subject, &message.id, message.created_at, ""));
            }
        }
        for request in pending {
            let subject = OutboxSubject::Approval {
                key: request.key(),
                approval_id: request.asked().approval_id.clone(),
            };
            let alerts = alerts_of(request, now);
            standing.extend(
                alerts.map(|alert| AlertNotice::of(&alert, &subject, "", request.asked().created_at, "")),
            );
        }
        let current = self.keys.keyring().await?.current.clone();
        if now.millis_since(current.created_at) >= ROTATION_DUE_MS {
            let due = Alert::RotationDue { epoch: current.number, since: current.created_at };
            standing.push(AlertNotice::of(&due, &OutboxSubject::Gate, "", now, ""));
        }
        standing.truncate(LISTED);
        Ok(standing)
    }

    /// Each channel of each person, and how it has gone.
    async fn channels(
        &self,
        policy: &Policy,
        settings: &ChannelSettings,
        now: Timestamp,
    ) -> Result<Vec<pages::ChannelLine>, Error> {
        let has_mail = Mailer::from_environment().ok().flatten().is_some();
        let told: BTreeMap<(String, String), Timestamp> = self
            .store
            .last_sent(now)
            .await?
            .into_iter()
            .map(|sent| ((sent.reviewer, sent.channel), sent.at))
            .collect();
        let failing = self.store.failing_messages(LOOKED_AT).await?;
        let mut lines = Vec::new();
        for person in &policy.reviewers {
            for channel in person.channels() {
                let seen = self.health.channel(person.id.as_str(), channel.as_str());
                let stored = told.get(&(person.id.to_string(), channel.to_string())).copied();
                let fails = failing.iter().filter(|message| is_to(message, person, channel));
                let fails = fails.map(|message| (message.attempt, message.due_at.millis())).max();
                lines.push(pages::ChannelLine {
                    reviewer: person.id.to_string(),
                    name: person.name.clone(),
                    channel: channel.to_string(),
                    fault: channel_fault(channel, settings, has_mail).map(str::to_owned),
                    failing: fails,
                    sent_ms: seen.sent_at.max(stored).map(Timestamp::millis),
                    failed: seen.failed.map(|(at, reason)| (at.millis(), reason)),
                    can_try: can_try(person, channel),
                });
            }
        }
        Ok(lines)
    }
}

/// Whether a test can be sent there: not by text, which only a gate on AWS has, nor on a terminal that a server may lack.
fn can_try(person: &Reviewer, channel: ChannelName) -> bool {
    person.channels().contains(&channel) && !matches!(channel, ChannelName::Sms | ChannelName::Terminal)
}

fn problem(outcome: SendOutcome) -> Option<String> {
    match outcome {
        SendOutcome::Delivered(_) => None,
        SendOutcome::Wait { reason, .. } | SendOutcome::Retry(reason) | SendOutcome::Unreachable(reason) => {
            Some(reason)
        }
    }
}

fn is_to(message: &OutboxMessage, person: &Reviewer, name: ChannelName) -> bool {
    match &message.payload {
        OutboxPayload::Notify { reviewer, channel, .. }
        | OutboxPayload::Nudge { reviewer, channel, .. }
        | OutboxPayload::Remind { reviewer, channel, .. }
        | OutboxPayload::Digest { reviewer, channel, .. } => {
            *reviewer == person.id && channel == name.as_str()
        }
        _ => false,
    }
}

/// What is the matter with a request that waits.
fn alerts_of(request: &Request, now: Timestamp) -> impl Iterator<Item = Alert> + use<> {
    let asked = request.asked();
    let (client, request_id) = (asked.client.clone(), asked.request_id.clone());
    let deserted = request.pending().filter(|pending| pending.deserted).map(|pending| Alert::NobodyLeft {
        client: client.clone(),
        request_id: request_id.clone(),
        stage: pending.stage.saturating_add(1),
    });
    let alert_after = asked.terms.as_ref().and_then(|terms| terms.alert_after_ms);
    let asked_at = asked.created_at;
    let too_long = alert_after
        .filter(|after| now.millis_since(asked_at) >= *after)
        .map(|_| Alert::OpenTooLong { client, request_id, asked_at });
    deserted.into_iter().chain(too_long)
}

fn alert_line(notice: &AlertNotice) -> pages::AlertLine {
    pages::AlertLine { title: notice.title.to_owned(), text: notice.text(), since_ms: notice.since.millis() }
}

fn way_line(
    way: &AlertWay,
    policy: &Policy,
    settings: &ChannelSettings,
    standing: &[AlertNotice],
) -> pages::WayLine {
    let has_mail = Mailer::from_environment().ok().flatten().is_some();
    let matter = format!("way_not_reached:{}", way.name);
    let failing = standing.iter().find(|notice| notice.matter == matter);
    pages::WayLine {
        name: way.name.clone(),
        kind: way.kind.as_str().to_owned(),
        gets: alert_way_gets(way, policy),
        fault: alert_fault(way, settings, has_mail).or_else(|| failing.map(|notice| notice.happened.clone())),
    }
}

fn ended_at(request: &Request) -> Option<Timestamp> {
    request.outcome().map(|outcome| outcome.decided_at)
}

fn waiting_line(request: &Request) -> pages::WaitingLine {
    let asked = request.asked();
    let (waits_for, closes_at) = request.pending().map_or((Vec::new(), None), |pending| {
        let whom = match asked.stage_queue(pending.stage) {
            Some(queue) => vec![format!("the queue {queue}")],
            None => pending.asked.iter().map(|one| one.reviewer.to_string()).collect(),
        };
        (whom, Some(pending.closes_at))
    });
    pages::WaitingLine {
        client: asked.client.to_string(),
        request_id: asked.request_id.to_string(),
        action: asked.action.clone(),
        waits_for,
        closes_at_ms: closes_at.map_or(0, Timestamp::millis),
    }
}

fn ended_line(request: &Request) -> pages::EndedLine {
    let asked = request.asked();
    let outcome = request.outcome();
    pages::EndedLine {
        client: asked.client.to_string(),
        request_id: asked.request_id.to_string(),
        action: asked.action.clone(),
        status: outcome.map_or(Status::Pending, |_| request.status()),
        by: outcome
            .map(|outcome| outcome.decided_by.iter().map(ToString::to_string).collect())
            .unwrap_or_default(),
        at_ms: ended_at(request).map_or(0, Timestamp::millis),
    }
}

fn person_line(person: &Reviewer, now: Timestamp) -> pages::PersonLine {
    let today = now.day();
    pages::PersonLine {
        name: person.name.clone(),
        roles: person.roles.iter().cloned().collect(),
        channels: person.channels().iter().map(ToString::to_string).collect(),
        is_away: person.away.iter().any(|away| (away.from_day..=away.until_day).contains(&today)),
    }
}
