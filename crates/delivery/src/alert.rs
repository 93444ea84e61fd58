//! The words of each alert: what happened, since when, and what to do. How they get to operators is `ways`.

use async_trait::async_trait;
use placet_core::Timestamp;
use placet_core::id::{ApprovalId, ReviewerId};
use placet_gate::alert::Alert;
use placet_gate::outbox::OutboxSubject;

use crate::ways::AlertLetter;

/// What a notice says of its matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertState {
    /// It is the matter.
    Open,
    /// It is over.
    Over,
    /// It is said for a try, and nothing is the matter.
    Test,
}

/// How much it matters: the words of `PagerDuty`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Somebody cannot ask, be told or decide.
    Error,
    /// Somebody should look.
    Warning,
    /// For whoever wants to know.
    Info,
}

impl Severity {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// An alert in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertNotice {
    /// Names this message on every try.
    pub id: String,
    /// Its name, for programs and filters.
    pub kind: &'static str,
    /// What it says of its matter.
    pub state: AlertState,
    /// Names the matter: what says that it is over has the same. `kind:subject`.
    pub matter: String,
    /// A few words.
    pub title: &'static str,
    /// What happened, in plain sentences.
    pub happened: String,
    /// What to do about it.
    pub to_do: Option<String>,
    /// Since when.
    pub since: Timestamp,
    /// How much it matters.
    pub severity: Severity,
    /// The gate's own address.
    pub gate: String,
}

/// Where alerts go.
#[async_trait]
pub trait AlertSink: Send + Sync + 'static {
    /// Takes one, or says why not: in constant words and codes, without an address.
    async fn alert(&self, notice: &AlertNotice) -> Result<(), String>;
}

/// A topic to which operators subscribe.
#[async_trait]
pub trait OperatorsTopic: AlertSink {
    /// Takes a text, or says why not: in constant words and codes, without an address.
    async fn publish(&self, letter: &AlertLetter) -> Result<(), String>;
}

/// The log of the process.
pub struct LogAlerts;

#[async_trait]
impl AlertSink for LogAlerts {
    async fn alert(&self, notice: &AlertNotice) -> Result<(), String> {
        tracing::warn!(alert = notice.kind, matter = notice.matter, "{}", notice.text());
        Ok(())
    }
}

/// The kind of what sums up others. No policy names it: each way gets it for what was left out there.
pub const TOO_MANY: &str = "too_many";

impl AlertNotice {
    /// That alert in words, as the matter of that subject.
    pub fn of(alert: &Alert, subject: &OutboxSubject, id: &str, since: Timestamp, gate: &str) -> Self {
        let (title, happened, to_do) = words(alert);
        Self {
            id: id.to_owned(),
            kind: alert.kind(),
            state: AlertState::Open,
            matter: alert.matter(subject),
            title,
            happened,
            to_do: to_do.map(str::to_owned),
            since: since_of(alert).unwrap_or(since),
            severity: severity(alert),
            gate: gate.to_owned(),
        }
    }

    /// That the matter of that alert is over, since then.
    pub fn over(alert: &Alert, subject: &OutboxSubject, id: &str, since: Timestamp, gate: &str) -> Self {
        Self {
            state: AlertState::Over,
            happened: over_words(alert),
            to_do: None,
            since,
            ..Self::of(alert, subject, id, since, gate)
        }
    }

    /// That there were so many more in one minute, that began then.
    pub fn summary(way: &str, more: u32, minute: i64, id: &str, gate: &str) -> Self {
        let since = Timestamp::from_millis(minute.saturating_mul(60_000));
        let happened = match more {
            1 => "Another message about alerts was left out here, because there were many within one minute."
                .to_owned(),
            more => format!(
                "{more} more messages about alerts were left out here, because there were many within one minute."
            ),
        };
        Self {
            id: id.to_owned(),
            kind: TOO_MANY,
            state: AlertState::Open,
            matter: format!("{TOO_MANY}:{way}:{minute}"),
            title: "Many alerts at once",
            happened,
            to_do: Some(
                "The log of the gate has all of them; `placet doctor` says what is wrong now.".into(),
            ),
            since,
            severity: Severity::Error,
            gate: gate.to_owned(),
        }
    }

    /// A trial: nothing is the matter.
    pub fn trial(way: &str, now: Timestamp, gate: &str) -> Self {
        Self {
            id: format!("msg_gate_alert_test_{}_{way}", now.millis()),
            kind: "test",
            state: AlertState::Test,
            matter: format!("test:{way}"),
            title: "Test of an alert",
            happened: format!("This is a test of the way of alerts `{way}`: the gate reaches you here."),
            to_do: Some("Nothing is to be done.".into()),
            since: now,
            severity: Severity::Info,
            gate: gate.to_owned(),
        }
    }

    /// What happened and what to do, in one text.
    pub fn text(&self) -> String {
        match &self.to_do {
            Some(to_do) => format!("{} {to_do}", self.happened),
            None => self.happened.clone(),
        }
    }

    /// One line that says what it is.
    pub fn headline(&self) -> String {
        match self.state {
            AlertState::Open | AlertState::Test => self.title.to_owned(),
            AlertState::Over => format!("Over: {}", self.title),
        }
    }

    /// The time that it has been so, as a line.
    pub fn since_line(&self) -> String {
        format!("Since {}.", self.since)
    }
}

/// When it began, where the alert itself knows it.
fn since_of(alert: &Alert) -> Option<Timestamp> {
    match alert {
        Alert::OpenTooLong { asked_at, .. } => Some(*asked_at),
        Alert::RotationDue { since, .. } | Alert::ClientPaused { from: since, .. } => Some(*since),
        Alert::Expired { .. }
        | Alert::NobodyLeft { .. }
        | Alert::CallbackGivenUp { .. }
        | Alert::KeysRotated { .. }
        | Alert::RotationFailed { .. }
        | Alert::OldSecret { .. }
        | Alert::BadSignatures { .. }
        | Alert::NotTold { .. }
        | Alert::DigestNotTold { .. }
        | Alert::MailReturned { .. }
        | Alert::WayNotReached { .. }
        | Alert::FastApprovals { .. } => None,
    }
}

const fn severity(alert: &Alert) -> Severity {
    match alert {
        Alert::NobodyLeft { .. }
        | Alert::RotationFailed { .. }
        | Alert::BadSignatures { .. }
        | Alert::NotTold { .. }
        | Alert::DigestNotTold { .. }
        | Alert::MailReturned { .. }
        | Alert::WayNotReached { .. } => Severity::Error,
        Alert::Expired { .. }
        | Alert::OpenTooLong { .. }
        | Alert::CallbackGivenUp { .. }
        | Alert::RotationDue { .. }
        | Alert::OldSecret { .. }
        | Alert::FastApprovals { .. }
        | Alert::ClientPaused { .. } => Severity::Warning,
        Alert::KeysRotated { .. } => Severity::Info,
    }
}

/// A title, what happened, and what to do.
fn words(alert: &Alert) -> (&'static str, String, Option<&'static str>) {
    match alert {
        Alert::Expired { client, request_id } => (
            "A request has expired",
            format!(
                "Nobody answered in time: the request {request_id} of {client} has expired. Nothing was approved."
            ),
            Some("If it still matters, have it asked again; see who was asked with `placet show`."),
        ),
        Alert::OpenTooLong { client, request_id, asked_at } => (
            "A request waits too long",
            format!("The request {request_id} of {client} has waited for an answer since {asked_at}."),
            Some("`placet show` says who is asked; remind them, or withdraw it with `placet cancel`."),
        ),
        Alert::NobodyLeft { client, request_id, stage } => (
            "Nobody is left to decide",
            format!(
                "Nobody who may approve stage {stage} of the request {request_id} of {client} is left in the policy."
            ),
            Some("Give somebody the role, or withdraw the request."),
        ),
        Alert::CallbackGivenUp { approval_id, client, reason, .. } => (
            "A callback was given up",
            format!(
                "A callback to {client} for the approval {approval_id} was given up: {reason}. The outcome stands."
            ),
            Some("Look at its receiver; the client can still ask for the outcome."),
        ),
        Alert::KeysRotated { epoch } => (
            "The keys were rotated",
            format!("The keys were rotated; epoch {epoch} is current."),
            Some("Give each client its new secret before the next rotation."),
        ),
        Alert::RotationFailed { step, reason } => (
            "The keys could not be rotated",
            format!("The keys could not be rotated ({step}: {reason}). The keys from before stay in force."),
            Some("Mend the cause; the rotation is tried again by itself on AWS."),
        ),
        Alert::RotationDue { epoch, since } => (
            "The keys should be rotated",
            format!("The keys of epoch {epoch} are in force since {since}, which is longer than 90 days."),
            Some("Rotate them with `placet keys rotate`; on AWS, see why the schedule does not."),
        ),
        Alert::OldSecret { client, .. } => (
            "A client uses an old secret",
            format!("{client} still uses its secret from before the last rotation."),
            Some("Give it the new one before the next rotation: `placet client secret`."),
        ),
        Alert::BadSignatures { client, count, .. } => (
            "Wrong signatures",
            match client {
                Some(client) => format!(
                    "{count} requests within a minute claimed to be {client}, with a wrong signature or key."
                ),
                None => format!(
                    "{count} requests within a minute claimed to be a known client, with a wrong signature or key."
                ),
            },
            Some(
                "Somebody may be guessing keys, or the client has a wrong secret: give it the right one, or raise its `generation`.",
            ),
        ),
        Alert::NotTold { reviewer, channel, approval_id, attempt, .. } => (
            "Somebody cannot be told",
            not_told(reviewer.as_ref(), channel.as_deref(), approval_id, *attempt),
            Some("The gate keeps trying; `placet doctor` and `placet channel test` say what is wrong."),
        ),
        Alert::DigestNotTold { reviewer, attempt, .. } => (
            "Somebody cannot be told",
            format!("{reviewer} could not be told in {attempt} tries that several requests wait for them."),
            Some("The gate keeps trying; `placet doctor` and `placet channel test` say what is wrong."),
        ),
        Alert::MailReturned { reviewer, approval_id, unwanted } => {
            returned_words(reviewer, approval_id, *unwanted)
        }
        Alert::WayNotReached { way, reason } => (
            "A way of alerts fails",
            format!("Alerts do not get through by the way `{way}`: {reason}."),
            Some("Mend it, and try it with `placet alert test`."),
        ),
        Alert::FastApprovals { reviewer, count, .. } => (
            "Approvals faster than they can be read",
            format!(
                "{reviewer} approved {count} requests within an hour, each sooner than its page can be read."
            ),
            Some("Look at them with `placet list`; if they need no person, let a rule decide."),
        ),
        Alert::ClientPaused { client, by, until, .. } => (
            "A client is paused",
            format!("{by} has paused {client}: nothing new is taken from it until {until}."),
            Some("See what it does; `placet client resume` lifts the pause before that."),
        ),
    }
}

/// Who could not be told of what.
fn not_told(
    reviewer: Option<&ReviewerId>,
    channel: Option<&str>,
    approval_id: &ApprovalId,
    attempt: u32,
) -> String {
    match (reviewer, channel) {
        (Some(reviewer), Some(channel)) => {
            format!(
                "{reviewer} could not be told by {channel} of the approval {approval_id} in {attempt} tries."
            )
        }
        (None, Some(queue)) => {
            format!("The queue {queue} did not take the approval {approval_id} in {attempt} tries.")
        }
        (Some(_) | None, None) => {
            format!("A reviewer or queue could not be told of the approval {approval_id} in {attempt} tries.")
        }
    }
}

/// Of a mail that came back: that it did not arrive, or that nobody wants it.
fn returned_words(
    reviewer: &ReviewerId,
    approval_id: &ApprovalId,
    unwanted: bool,
) -> (&'static str, String, Option<&'static str>) {
    if unwanted {
        let happened =
            format!("Somebody marked a mail to {reviewer} as spam: nothing more is sent to that address.");
        let to_do = "Ask them; then take the address from the suppression list of Amazon SES, or give them another one.";
        return ("Mail is unwanted", happened, Some(to_do));
    }
    let happened = format!(
        "The mail that asked {reviewer} about the approval {approval_id} came back: it did not arrive."
    );
    let to_do =
        "Correct the address in the policy; `placet doctor` lists the addresses that no mail reaches.";
    ("Mail came back", happened, Some(to_do))
}

fn over_words(alert: &Alert) -> String {
    match alert {
        Alert::OpenTooLong { client, request_id, .. } => {
            format!("The request {request_id} of {client} no longer waits.")
        }
        Alert::NobodyLeft { client, request_id, .. } => {
            format!("The request {request_id} of {client} has somebody to decide again, or has ended.")
        }
        Alert::RotationFailed { .. } | Alert::RotationDue { .. } => "The keys were rotated.".to_owned(),
        Alert::OldSecret { client, .. } => format!("{client} has not used its old secret for a whole day."),
        Alert::BadSignatures { client: Some(client), .. } => {
            format!("No more wrong signatures in the name of {client}.")
        }
        Alert::NotTold { reviewer: Some(reviewer), channel: Some(channel), .. }
        | Alert::DigestNotTold { reviewer, channel: Some(channel), .. } => {
            format!("Nothing more has failed to reach {reviewer} by {channel}.")
        }
        Alert::NotTold { reviewer: None, channel: Some(queue), .. } => {
            format!("Nothing more has failed to reach the queue {queue}.")
        }
        Alert::MailReturned { reviewer, .. } => {
            format!("Nothing more has failed to reach {reviewer} by email.")
        }
        Alert::WayNotReached { way, .. } => format!("Nothing more has failed by the way of alerts `{way}`."),
        Alert::FastApprovals { reviewer, .. } => {
            format!("No more bursts of approvals by {reviewer} that are faster than a page can be read.")
        }
        Alert::ClientPaused { client, .. } => format!("{client} is no longer paused."),
        Alert::Expired { .. }
        | Alert::CallbackGivenUp { .. }
        | Alert::KeysRotated { .. }
        | Alert::BadSignatures { client: None, .. }
        | Alert::NotTold { .. }
        | Alert::DigestNotTold { .. } => "It has not happened again.".to_owned(),
    }
}
