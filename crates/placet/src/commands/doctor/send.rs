//! `placet doctor --send`: a real test message by every channel of the policy's reviewers, and by every way of alerts.
//!
//! It is what `placet channel test` and `placet alert test` do, for everybody at once. What is not set up is not tried.

use std::sync::Arc;

use placet_core::chat::ChannelSettings;
use placet_core::policy::{ChannelName, Policy, Reviewer};
use placet_delivery::{AlertNotice, SendOutcome};
use placet_gate::Gate;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::super::{Opened, alert, channel};
use super::Findings;
use crate::cli::{Deployment, Globals};
use crate::console::harmless;
use crate::failure::Failure;
use crate::mail::Mailer;
use crate::trial::{self, TEST_TIMEOUT};

/// What came of one test.
enum Came {
    Delivered,
    /// Why, in constant words and codes: no address.
    Refused(String),
    /// What is missing, with the command that sets it.
    NotSetUp(String),
}

impl Came {
    fn of(outcome: SendOutcome) -> Self {
        match outcome {
            SendOutcome::Delivered(_) => Self::Delivered,
            SendOutcome::Wait { reason, .. }
            | SendOutcome::Retry(reason)
            | SendOutcome::Unreachable(reason) => Self::Refused(reason),
        }
    }

    const fn as_str(&self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Refused(_) => "refused",
            Self::NotSetUp(_) => "not_set_up",
        }
    }

    fn problem(&self) -> Option<&str> {
        match self {
            Self::Delivered => None,
            Self::Refused(reason) | Self::NotSetUp(reason) => Some(reason),
        }
    }
}

/// Sends, and says of each test what came of it. With the same for programs.
///
/// To everybody of the installed policy, or to one reviewer: who names one asks about that person, and everybody on duty
/// would hear a test of alerts.
pub(super) async fn tests(
    globals: &Globals,
    only: Option<&str>,
    found: &mut Findings,
) -> Result<Value, Failure> {
    let on = Deployment::here();
    let Opened { gate, policy, .. } = Opened::of(globals, &on).await?;
    let settings = ChannelSettings::clone(&*gate.channel_settings().await?);
    let sending = Sending { gate, policy, settings, has_mail: Mailer::from_environment()?.is_some() };
    let people: Vec<&Reviewer> = match only {
        Some(id) => vec![channel::known_reviewer(id, &sending.policy)?],
        None => sending.policy.reviewers.iter().collect(),
    };
    let mut channels = Vec::new();
    for person in people {
        let mut tests = Vec::new();
        for channel in person.channels() {
            tests.push((channel, sending.by_channel(person, channel).await?));
        }
        say_of_person(person, &tests, found);
        channels.extend(tests.iter().map(|(channel, came)| {
            json!({
                "reviewer": person.id.as_str(), "channel": channel.as_str(),
                "result": came.as_str(), "problem": came.problem(),
            })
        }));
    }
    let ways = match only {
        Some(_) => Vec::new(),
        None => sending.by_ways(globals, &on, found).await?,
    };
    Ok(json!({ "channels": channels, "ways": ways }))
}

/// What is sent with.
struct Sending {
    gate: Arc<Gate>,
    policy: Arc<Policy>,
    settings: ChannelSettings,
    has_mail: bool,
}

impl Sending {
    async fn by_channel(&self, person: &Reviewer, channel: ChannelName) -> Result<Came, Failure> {
        let Self { gate, policy, settings, has_mail } = self;
        if let Some(fault) = channel::fault_of(channel, settings, *has_mail) {
            return Ok(Came::NotSetUp(fault.to_owned()));
        }
        if channel == ChannelName::Terminal {
            let missing = "they have no address in the policy; add an `email`, or another one";
            return Ok(Came::NotSetUp(missing.to_owned()));
        }
        if channel == ChannelName::Push && gate.push_devices(person).await?.is_empty() {
            let missing = format!(
                "push is on no device of theirs: they switch it on in their inbox (`placet inbox --reviewer {} --link`)",
                person.id
            );
            return Ok(Came::NotSetUp(missing));
        }
        Ok(Came::of(trial::tried_within(gate, policy, person, channel, settings).await))
    }

    async fn by_ways(
        &self,
        globals: &Globals,
        on: &Deployment,
        found: &mut Findings,
    ) -> Result<Vec<Value>, Failure> {
        let Self { policy, settings, has_mail, .. } = self;
        if policy.alerts.is_empty() {
            return Ok(Vec::new());
        }
        // The ways of the policy in force, as everything here: a file that is only looked at tells nobody.
        let mut installed = globals.clone();
        installed.policy = None;
        let (ways, _) = alert::ways(&installed, on).await?;
        let mut results = Vec::new();
        for way in &policy.alerts {
            let came = if let Some(fault) = alert::fault_of(way, settings, *has_mail) {
                Came::NotSetUp(fault)
            } else {
                let notice = AlertNotice::trial(&way.name, ways.gate.now(), &ways.gate.base_url(policy));
                let outcome = timeout(TEST_TIMEOUT, ways.send(way, &notice)).await;
                Came::of(outcome.unwrap_or_else(|_| trial::no_answer()))
            };
            let (name, kind) = (&way.name, way.kind.as_str());
            match &came {
                Came::Delivered => {
                    found.ok(format!(
                        "a test alert was sent by the way `{name}` ({kind}): look whether it has come"
                    ));
                }
                Came::Refused(reason) => found.fail(format!(
                    "a test alert by the way `{name}` ({kind}) was refused: {}",
                    harmless(reason)
                )),
                Came::NotSetUp(missing) => {
                    found.fail(format!("no test alert was sent by the way `{name}` ({kind}); {missing}"));
                }
            }
            results.push(json!({
                "name": name, "way": kind, "result": came.as_str(), "problem": came.problem(),
            }));
        }
        Ok(results)
    }
}

/// What is not set up is a failure only for who is reached by nothing else.
fn say_of_person(person: &Reviewer, tests: &[(ChannelName, Came)], found: &mut Findings) {
    let id = &person.id;
    let is_reached = tests.iter().any(|(_, came)| matches!(came, Came::Delivered));
    for (channel, came) in tests {
        match came {
            Came::Delivered => {
                found.ok(format!("a test was sent to `{id}` by {channel}: ask them whether it has come"));
            }
            Came::Refused(reason) => {
                found.fail(format!("a test to `{id}` by {channel} was refused: {}", harmless(reason)));
            }
            Came::NotSetUp(missing) => {
                let text = match channel {
                    ChannelName::Terminal => format!("no test was sent to `{id}`: {missing}"),
                    channel => format!("no test was sent to `{id}` by {channel}; {missing}"),
                };
                if is_reached { found.warn(text) } else { found.fail(text) }
            }
        }
    }
}
