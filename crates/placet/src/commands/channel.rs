//! `placet channel`: set up a chat or a mail server, try it with a real message, take it away.
//!
//! Secrets are read from a prompt that does not show them, or from standard input; never from the command line, which
//! other users of the machine can see.

#![expect(clippy::disallowed_methods, reason = "a new secret for Telegram is drawn here")]

use std::fmt::Write as _;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::sync::Arc;

use placet_core::chat::{ChannelSettings, SecretText, SlackSettings, SmtpSettings, TelegramSettings};
use placet_core::id::ReviewerId;
use placet_core::payload::hex;
use placet_core::policy::{ChannelName, Policy, Reviewer};
use placet_delivery::{SendOutcome, Slack, Telegram};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::cli::{ChannelSet, ChannelTest, Globals, SettableChannel};
use crate::console::{note, print};
use crate::failure::{Exit, Failure};
use crate::folder::Folder;
use crate::local::Parts;
use crate::mail::Mailer;

/// Where settings are kept.
pub(super) enum Kept {
    /// The data folder.
    Folder {
        /// What is in it.
        parts: Box<Parts>,
        /// The address that a gate serves it at.
        public_url: Option<String>,
    },
    /// The secret of a stack on AWS.
    Stack(Box<super::aws::Kept>),
}

impl Kept {
    pub(super) async fn open(globals: &Globals, on: &crate::cli::Deployment) -> Result<Self, Failure> {
        if on.aws {
            super::not_at_a_url(globals)?;
            return Ok(Self::Stack(Box::new(super::aws::kept(&on.stack).await?)));
        }
        super::no_url(globals)?;
        let folder = Folder::open(globals.data())?;
        let public_url = folder.public_url();
        Ok(Self::Folder { parts: Box::new(Parts::open(folder)?), public_url })
    }

    pub(super) async fn read(&self) -> Result<ChannelSettings, Failure> {
        match self {
            Self::Folder { parts, .. } => Ok(ChannelSettings::clone(&*parts.keys().channel_file().read()?)),
            Self::Stack(stack) => stack.read().await,
        }
    }

    /// Of those who change them at the same time, none is lost: on AWS the change may be made more than once.
    pub(super) async fn change(&self, change: impl Fn(&mut ChannelSettings) + Sync) -> Result<(), Failure> {
        match self {
            Self::Folder { parts, .. } => Ok(parts.keys().channel_file().change(change)?),
            Self::Stack(stack) => stack.change(&change).await,
        }
    }

    /// The address that chats reach the gate at, if it is known.
    async fn public_url(&self) -> Option<String> {
        match self {
            Self::Stack(stack) => Some(stack.url()),
            Self::Folder { public_url: Some(url), .. } => Some(url.clone()),
            Self::Folder { parts, public_url: None } => {
                let text = parts.installed_policy().await.ok()??;
                Policy::read(&text).ok()?.issuer
            }
        }
    }
}

/// Sets a channel's secrets, after the channel's own server has taken them.
pub(crate) async fn set(globals: &Globals, options: ChannelSet) -> Result<Exit, Failure> {
    if options.on.aws && options.channel == SettableChannel::Smtp {
        return Err(no_smtp_on_aws());
    }
    let kept = Kept::open(globals, &options.on).await?;
    match options.channel {
        SettableChannel::Slack => set_slack(globals, &kept, &options).await,
        SettableChannel::Telegram => set_telegram(globals, &kept, &options).await,
        SettableChannel::Smtp => set_smtp(globals, &kept, &options).await,
    }
}

/// On AWS, mail is what the stack was deployed with.
fn no_smtp_on_aws() -> Failure {
    Failure::usage("a gate on AWS mails through SES, not through a mail server of yours")
        .advise("deploy the stack with MailFrom, an address of a domain of yours")
}

async fn set_slack(globals: &Globals, kept: &Kept, options: &ChannelSet) -> Result<Exit, Failure> {
    let [token, secret] = read_secrets(&[
        Wanted { name: "bot_token", prompt: "Bot User OAuth Token (xoxb-…)" },
        Wanted { name: "signing_secret", prompt: "Signing Secret" },
    ])?;
    if !token.starts_with("xoxb-") {
        return Err(Failure::refused("this is not a bot token of Slack: it does not begin with xoxb-")
            .advise("api.slack.com/apps, your app, OAuth & Permissions: the Bot User OAuth Token"));
    }
    if secret.len() < 16 || !secret.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(Failure::refused("this is not a signing secret of Slack")
            .advise("api.slack.com/apps, your app, Basic Information: the Signing Secret"));
    }
    let mut slack = SlackSettings {
        bot_token: SecretText::new(token.as_str()),
        signing_secret: SecretText::new(secret.as_str()),
        team_id: None,
        app_id: options.app_id.clone(),
        api_url: options.api_url.clone(),
    };
    let mut team = None;
    if !options.unchecked {
        let channel =
            Slack::new(crate::trial::tried(&ChannelSettings::default()), crate::trust::webhook_sender()?);
        let (id, name) = channel.who_am_i(&slack).await.map_err(|why| refused_by("Slack", &why))?;
        slack.team_id = id;
        team = Some(name);
    }
    kept.change(|settings| settings.slack = Some(slack.clone())).await?;
    let url = kept.public_url().await;
    let requests = url.as_ref().map(|url| format!("{url}/v1/slack/interactions"));
    if globals.json {
        print(&super::pretty(&json!({ "channel": "slack", "team": team, "request_url": requests })));
        return Ok(Exit::Done);
    }
    print(&format!(
        "Slack is set{}. In the app's settings, under Interactivity & Shortcuts, the Request URL must be\n{}\n",
        team.map_or_else(String::new, |team| format!(" for {}", crate::console::harmless(&team))),
        requests.as_deref().unwrap_or("https://YOUR-GATE/v1/slack/interactions")
    ));
    warn_unless_reachable(url.as_deref(), "Slack");
    Ok(Exit::Done)
}

async fn set_telegram(globals: &Globals, kept: &Kept, options: &ChannelSet) -> Result<Exit, Failure> {
    let [token] = read_secrets(&[Wanted { name: "bot_token", prompt: "Token of the bot, from @BotFather" }])?;
    let is_token = token.split_once(':').is_some_and(|(id, key)| {
        id.bytes().all(|byte| byte.is_ascii_digit())
            && !id.is_empty()
            && key.len() >= 20
            && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
    });
    if !is_token {
        return Err(Failure::refused("this is not the token of a bot in Telegram")
            .advise("@BotFather shows it: a number, a colon, and 35 characters"));
    }
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut())
        .map_err(|error| Failure::fault(format!("the system's random source failed: {error}")))?;
    let telegram = TelegramSettings {
        bot_token: SecretText::new(token.as_str()),
        webhook_secret: SecretText::new(hex(bytes.as_ref())),
        api_url: options.api_url.clone(),
    };
    let url = kept.public_url().await;
    let updates = url.as_ref().map(|url| format!("{url}/v1/telegram/updates"));
    let reachable = updates.as_deref().filter(|url| url.starts_with("https://"));
    let mut bot = None;
    if !options.unchecked {
        let channel =
            Telegram::new(crate::trial::tried(&ChannelSettings::default()), crate::trust::webhook_sender()?);
        bot = Some(channel.who_am_i(&telegram).await.map_err(|why| refused_by("Telegram", &why))?);
    }
    // Kept first: Telegram may send an update as soon as it knows where to.
    kept.change(|settings| settings.telegram = Some(telegram.clone())).await?;
    let mut is_told = false;
    if let (false, Some(updates)) = (options.unchecked, reachable) {
        let channel =
            Telegram::new(crate::trial::tried(&ChannelSettings::default()), crate::trust::webhook_sender()?);
        channel.set_webhook(&telegram, updates).await.map_err(|why| refused_by("Telegram", &why))?;
        is_told = true;
    }
    if globals.json {
        print(&super::pretty(&json!({ "channel": "telegram", "bot": bot, "webhook": is_told })));
        return Ok(Exit::Done);
    }
    print(&format!(
        "Telegram is set{}. {}\nEach reviewer sends /start to the bot once; it answers with the number for `telegram` in the policy.\n",
        bot.map_or_else(String::new, |bot| format!(" for the bot @{}", crate::console::harmless(&bot))),
        if is_told {
            "Telegram sends presses of buttons to the gate."
        } else {
            "Telegram was not told where the gate is: set `issuer` to its https address, and run this again."
        }
    ));
    warn_unless_reachable(url.as_deref(), "Telegram");
    Ok(Exit::Done)
}

async fn set_smtp(globals: &Globals, kept: &Kept, options: &ChannelSet) -> Result<Exit, Failure> {
    let [url, from] = read_secrets(&[
        Wanted { name: "url", prompt: "Mail server (smtps://user:password@host:465)" },
        Wanted { name: "from", prompt: "Sender (Placet <gate@example.com>)" },
    ])?;
    let mailer = Mailer::new(&url, &from)?;
    if !options.unchecked {
        mailer.check().await?;
    }
    let smtp = SmtpSettings { url: SecretText::new(url.as_str()), from: from.to_string() };
    kept.change(|settings| settings.smtp = Some(smtp.clone())).await?;
    if globals.json {
        print(&super::pretty(&json!({ "channel": "smtp" })));
        return Ok(Exit::Done);
    }
    print("Mail is set: reviewers with an `email` are mailed from now on.\n");
    if std::env::var_os(crate::mail::URL_VARIABLE).is_some_and(|value| !value.is_empty()) {
        note(&format!(
            "{} is set here: a gate that is started with it uses that instead",
            crate::mail::URL_VARIABLE
        ));
    }
    Ok(Exit::Done)
}

/// Takes a channel's secrets away.
pub(crate) async fn remove(
    globals: &Globals,
    channel: SettableChannel,
    on: &crate::cli::Deployment,
) -> Result<Exit, Failure> {
    if on.aws && channel == SettableChannel::Smtp {
        return Err(no_smtp_on_aws());
    }
    let kept = Kept::open(globals, on).await?;
    kept.change(|settings| match channel {
        SettableChannel::Slack => settings.slack = None,
        SettableChannel::Telegram => settings.telegram = None,
        SettableChannel::Smtp => settings.smtp = None,
    })
    .await?;
    if globals.json {
        print(&super::pretty(&json!({ "channel": channel.as_str(), "set": false })));
    } else {
        print(&format!("{} is no longer set.\n", channel.as_str()));
    }
    Ok(Exit::Done)
}

/// Says which channels are set; no secret is shown.
pub(crate) async fn list(globals: &Globals, on: &crate::cli::Deployment) -> Result<Exit, Failure> {
    let settings = Kept::open(globals, on).await?.read().await?;
    let mut rows = vec![
        ("slack", settings.slack.is_some(), settings.slack.as_ref().and_then(|slack| slack.team_id.clone())),
        ("telegram", settings.telegram.is_some(), None),
    ];
    if !on.aws {
        let smtp = settings.smtp.as_ref();
        rows.push(("smtp", smtp.is_some(), smtp.map(|smtp| smtp.from.clone())));
    }
    if globals.json {
        let channels: Vec<Value> = rows
            .iter()
            .map(|(name, is_set, what)| json!({ "channel": name, "set": is_set, "is": what }))
            .collect();
        print(&super::pretty(&json!({ "channels": channels })));
        return Ok(Exit::Done);
    }
    let mut text = String::new();
    for (name, is_set, what) in rows {
        let what = what.map_or_else(String::new, |what| format!(" ({})", crate::console::harmless(&what)));
        let _ = writeln!(text, "{name:<9} {}{what}", if is_set { "set" } else { "not set" });
    }
    print(&text);
    Ok(Exit::Done)
}

/// Prints the secret that a reviewer's webhook is signed with, alone on the last line.
pub(crate) async fn secret(
    globals: &Globals,
    reviewer: &str,
    on: &crate::cli::Deployment,
) -> Result<Exit, Failure> {
    let opened = super::Opened::of(globals, on).await?;
    let person = known_reviewer(reviewer, &opened.policy)?;
    let keyring = opened.gate.keyring().await?;
    let secret = keyring.current.reviewer_secret(&person.id, person.generation);
    if globals.json {
        print(&super::pretty(&json!({ "reviewer": person.id.as_str(), "secret": secret.expose() })));
        return Ok(Exit::Done);
    }
    print(&format!(
        "Messages to the webhook of {} are signed with this (Standard Webhooks). Keep it like a password.\n{}\n",
        person.id,
        secret.expose()
    ));
    Ok(Exit::Done)
}

/// Sends a reviewer a real message by one channel.
pub(crate) async fn test(globals: &Globals, options: ChannelTest) -> Result<Exit, Failure> {
    let Some(channel) = ChannelName::named(&options.channel).or(match options.channel.as_str() {
        "smtp" => Some(ChannelName::Email),
        _ => None,
    }) else {
        return Err(Failure::usage(format!("`{}` is not a channel", options.channel))
            .advise("the channels are: slack, telegram, push, webhook, email, sms"));
    };
    let kept = Kept::open(globals, &options.on).await?;
    let settings = kept.read().await?;
    let opened = super::Opened::of(globals, &options.on).await?;
    let person = known_reviewer(&options.reviewer, &opened.policy)?.clone();
    if channel == ChannelName::Push && !person.takes_push() {
        return Err(Failure::refused(format!("reviewer `{}` has no `push` in their `channels`", person.id)));
    }
    let address = person.address(channel);
    if address.is_none() && channel != ChannelName::Push {
        return Err(Failure::refused(format!(
            "reviewer `{}` has no `{}` in the policy",
            person.id,
            channel.address_key()
        )));
    }
    let outcome = match &kept {
        Kept::Folder { .. } => {
            crate::trial::send(&opened.gate, &opened.policy, &person, channel, &settings).await?
        }
        Kept::Stack(stack) => {
            stack.send(&crate::trial::trial(&opened.gate, &opened.policy, &person, channel).await?).await?
        }
    };
    match outcome {
        SendOutcome::Delivered(_) => {
            if globals.json {
                print(&super::pretty(
                    &json!({ "channel": channel.as_str(), "reviewer": person.id.as_str(), "sent": true }),
                ));
            } else {
                print(&format!("sent to {} by {channel}: ask them whether it has come\n", person.id));
            }
            Ok(Exit::Done)
        }
        SendOutcome::Wait { reason, .. } | SendOutcome::Retry(reason) | SendOutcome::Unreachable(reason) => {
            Err(Failure::refused(format!("{channel} did not take a message for `{}`: {reason}", person.id)))
        }
    }
}

fn refused_by(name: &str, why: &str) -> Failure {
    Failure::refused(format!("{name} did not take the token: {}", crate::console::harmless(why))).advise(
        "nothing was changed; --unchecked sets it without asking, where this machine cannot reach the chat",
    )
}

fn warn_unless_reachable(url: Option<&str>, name: &str) {
    if !url.is_some_and(|url| url.starts_with("https://")) {
        note(&format!(
            "{name} can only send presses of buttons to a public https address: without one, people open the link in each message"
        ));
    }
}

pub(super) fn known_reviewer<'p>(id: &str, policy: &'p Policy) -> Result<&'p Reviewer, Failure> {
    ReviewerId::parse(id).ok().and_then(|id| policy.reviewer(&id)).ok_or_else(|| {
        let names: Vec<&str> = policy.reviewers.iter().map(|reviewer| reviewer.id.as_str()).collect();
        Failure::refused(format!("no reviewer `{id}` is in the policy"))
            .advise(format!("its reviewers are: {}", names.join(", ")))
    })
}

/// A secret that is asked for.
pub(super) struct Wanted {
    pub(super) name: &'static str,
    pub(super) prompt: &'static str,
}

/// Reads secrets: one after the other from a terminal that does not show them, or all from standard input, one a line,
/// as `name=value` or in their order.
pub(super) fn read_secrets<const N: usize>(wanted: &[Wanted; N]) -> Result<[Zeroizing<String>; N], Failure> {
    let stdin = std::io::stdin();
    let unreadable =
        |error: std::io::Error| Failure::fault(format!("standard input cannot be read: {error}"));
    let mut found: [Zeroizing<String>; N] = std::array::from_fn(|_| Zeroizing::new(String::new()));
    if stdin.is_terminal() {
        let _hidden = Hidden::begin();
        for (slot, wanted) in found.iter_mut().zip(wanted) {
            let mut err = std::io::stderr().lock();
            let _ = write!(err, "{}: ", wanted.prompt).and_then(|()| err.flush());
            stdin.lock().read_line(slot).map_err(unreadable)?;
            let _ = writeln!(err);
        }
    } else {
        let mut in_order = found.iter_mut();
        let mut named: Vec<(usize, Zeroizing<String>)> = Vec::new();
        for line in stdin.lock().lines() {
            let line = Zeroizing::new(line.map_err(unreadable)?);
            let text = line.trim();
            if text.is_empty() {
                continue;
            }
            let by_name = text.split_once('=').and_then(|(name, value)| {
                let at = wanted.iter().position(|wanted| wanted.name.eq_ignore_ascii_case(name.trim()))?;
                Some((at, Zeroizing::new(value.trim().to_owned())))
            });
            match by_name {
                Some(pair) => named.push(pair),
                None => match in_order.next() {
                    Some(slot) => *slot = Zeroizing::new(text.to_owned()),
                    None => return Err(Failure::usage("standard input has more lines than are asked for")),
                },
            }
        }
        drop(in_order);
        for (at, value) in named {
            if let Some(slot) = found.get_mut(at) {
                *slot = value;
            }
        }
    }
    for (slot, wanted) in found.iter_mut().zip(wanted) {
        *slot = Zeroizing::new(slot.trim().to_owned());
        if slot.is_empty() {
            return Err(Failure::usage(format!("`{}` is missing", wanted.name)).advise(
                "type it where you are asked, or give it on standard input, one a line, in the order of the prompts",
            ));
        }
    }
    Ok(found)
}

/// A terminal that does not show what is typed, until this is dropped.
struct Hidden(Option<rustix::termios::Termios>);

impl Hidden {
    fn begin() -> Self {
        let stdin = std::io::stdin();
        let Ok(before) = rustix::termios::tcgetattr(&stdin) else { return Self(None) };
        let mut hidden = before.clone();
        hidden.local_modes.remove(rustix::termios::LocalModes::ECHO);
        let _ = rustix::termios::tcsetattr(&stdin, rustix::termios::OptionalActions::Flush, &hidden);
        Self(Some(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let stdin = std::io::stdin();
            let _ = rustix::termios::tcsetattr(&stdin, rustix::termios::OptionalActions::Flush, before);
        }
    }
}

/// Why a gate on one machine does not reach people by that channel as it is, if it does not.
pub(crate) fn fault_of(
    channel: ChannelName,
    settings: &ChannelSettings,
    has_mail: bool,
) -> Option<&'static str> {
    match channel {
        ChannelName::Email if !has_mail && !settings.has(channel) => {
            Some("no mail server is set: `placet channel set smtp`")
        }
        ChannelName::Slack if !settings.has(channel) => Some("Slack is not set: `placet channel set slack`"),
        ChannelName::Telegram if !settings.has(channel) => {
            Some("Telegram is not set: `placet channel set telegram`")
        }
        ChannelName::Sms => Some("a gate on one machine sends no texts"),
        ChannelName::Email
        | ChannelName::Slack
        | ChannelName::Telegram
        | ChannelName::Push
        | ChannelName::Webhook
        | ChannelName::Terminal => None,
    }
}

/// Where a gate runs, as far as its channels differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// One machine, whose mail server is named in its environment.
    OneMachineWithMail,
    /// One machine, whose environment names no mail server.
    OneMachine,
    /// AWS.
    Aws,
}

impl Place {
    pub(super) const fn one_machine(has_mail: bool) -> Self {
        if has_mail { Self::OneMachineWithMail } else { Self::OneMachine }
    }

    /// Whether a gate there, with these settings, has that channel.
    fn has(self, channel: ChannelName, settings: &ChannelSettings) -> bool {
        match self {
            Self::OneMachineWithMail => fault_of(channel, settings, true).is_none(),
            Self::OneMachine => fault_of(channel, settings, false).is_none(),
            Self::Aws => match channel {
                ChannelName::Slack | ChannelName::Telegram => settings.has(channel),
                ChannelName::Email | ChannelName::Sms | ChannelName::Webhook => true,
                ChannelName::Push | ChannelName::Terminal => false,
            },
        }
    }

    /// How that channel is set up there.
    fn remedy(self, channel: ChannelName) -> &'static str {
        match (self, channel) {
            (Self::Aws, ChannelName::Slack) => "`placet channel set slack --aws`",
            (Self::Aws, ChannelName::Telegram) => "`placet channel set telegram --aws`",
            (_, ChannelName::Slack) => "`placet channel set slack`",
            (_, ChannelName::Telegram) => "`placet channel set telegram`",
            (Self::OneMachine | Self::OneMachineWithMail, ChannelName::Email) => "`placet channel set smtp`",
            (
                _,
                ChannelName::Email
                | ChannelName::Sms
                | ChannelName::Push
                | ChannelName::Webhook
                | ChannelName::Terminal,
            ) => "give them another address",
        }
    }
}

/// A reviewer whom a gate does not reach by all their channels.
pub(super) struct Unreached {
    pub(super) reviewer: ReviewerId,
    /// The channels that it has not got.
    pub(super) missing: Vec<ChannelName>,
    /// Whether they are all that the reviewer has.
    pub(super) is_all: bool,
}

/// Which of the reviewers' channels a gate there has not got: for the operator's eyes.
pub(super) fn unreached(policy: &Policy, settings: &ChannelSettings, place: Place) -> Vec<Unreached> {
    let mut found = Vec::new();
    for reviewer in &policy.reviewers {
        let channels = reviewer.channels();
        let missing: Vec<ChannelName> =
            channels.iter().copied().filter(|channel| !place.has(*channel, settings)).collect();
        if !missing.is_empty() {
            let is_all = missing.len() == channels.len();
            found.push(Unreached { reviewer: reviewer.id.clone(), missing, is_all });
        }
    }
    found
}

impl Unreached {
    /// The same in words.
    pub(super) fn words(&self, place: Place) -> String {
        let Self { reviewer, missing, is_all } = self;
        if missing.as_slice() == [ChannelName::Terminal] {
            return format!("reviewer `{reviewer}` has no address: nobody tells them of a request");
        }
        let names: Vec<&str> = missing.iter().map(|channel| channel.as_str()).collect();
        let names = names.join(" and ");
        let how = missing.first().map_or("give them another address", |channel| place.remedy(*channel));
        if *is_all {
            format!(
                "reviewer `{reviewer}` can be reached by {names} only, which this gate has not got: {how}"
            )
        } else {
            format!("reviewer `{reviewer}` is not reached by {names}, which this gate has not got: {how}")
        }
    }
}

/// A local gate's parts for what only looks at its folder.
pub(super) fn settings_of(folder: &Folder) -> Result<Arc<ChannelSettings>, Failure> {
    Ok(crate::channel_file::ChannelFile::of(folder.path()).read()?)
}
