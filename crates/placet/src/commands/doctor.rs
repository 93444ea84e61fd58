//! `placet doctor`: is everything there that a gate needs? One line for each answer, in plain words.

#![expect(clippy::disallowed_methods, reason = "doctor looks at what the gate would read")]

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lettre::{AsyncSmtpTransport, Tokio1Executor};
use placet_core::chat::ChannelSettings;
use placet_core::policy::{Assignees, ChannelName, ClientRole, Policy, RuleAction};
use placet_delivery::{Slack, Telegram};
use placet_gate::ports::{Clock as _, Store as _};
use rusqlite::{Connection, OpenFlags};
use serde_json::json;

use crate::cli::Globals;
use crate::clock::SystemClock;
use crate::console::{Style, note, print};
use crate::failure::{Exit, Failure};
use crate::folder::Folder;
use crate::keys;
use crate::local::Parts;
use crate::mail;
use crate::text::span;

/// How long the mail server may take to answer.
const MAIL_TIMEOUT: Duration = Duration::from_secs(10);

/// Free bytes below which the disk is nearly full, and full.
const LITTLE_SPACE: u64 = 256 * 1024 * 1024;
const NO_SPACE: u64 = 16 * 1024 * 1024;

/// How many files are looked at for their owner and mode, and how many are named.
const FILES_LOOKED_AT: usize = 10_000;
const FILES_NAMED: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grade {
    Ok,
    Warn,
    Fail,
}

impl Grade {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

#[derive(Default)]
pub(super) struct Findings(Vec<(Grade, String)>);

impl Findings {
    /// Prints them. Refused if one of them is a failure.
    pub(super) fn show(&self, globals: &Globals) -> Exit {
        let failed = self.0.iter().any(|(grade, _)| *grade == Grade::Fail);
        if globals.json {
            print(&super::pretty(&json!({ "healthy": !failed, "checks": self.to_json() })));
        } else {
            let style = Style::of_stdout();
            let mut lines = String::new();
            for (grade, text) in &self.0 {
                let sign = match grade {
                    Grade::Ok => style.good("ok  "),
                    Grade::Warn => style.doubtful("warn"),
                    Grade::Fail => style.bad("fail"),
                };
                let _ = writeln!(lines, "{sign}  {text}");
            }
            print(&lines);
        }
        if failed { Exit::Refused } else { Exit::Done }
    }

    /// For programs: each finding with its grade.
    pub(super) fn to_json(&self) -> serde_json::Value {
        self.0.iter().map(|(grade, text)| json!({ "result": grade.as_str(), "text": text })).collect()
    }

    pub(super) fn ok(&mut self, text: impl Into<String>) {
        self.0.push((Grade::Ok, text.into()));
    }

    pub(super) fn warn(&mut self, text: impl Into<String>) {
        self.0.push((Grade::Warn, text.into()));
    }

    pub(super) fn fail(&mut self, text: impl Into<String>) {
        self.0.push((Grade::Fail, text.into()));
    }
}

/// Checks a deployment.
pub(crate) async fn run(globals: &Globals, report: Option<&Path>) -> Result<Exit, Failure> {
    let mut found = Findings::default();
    let policy = match &globals.url {
        Some(url) => {
            check_address(url, &mut found).await;
            None
        }
        None => check_folder(globals, &mut found).await?,
    };
    if let Some(file) = report {
        super::support::write(file, globals, &found.to_json(), policy.as_ref())?;
        if !globals.json {
            note(&format!("the report is written to `{}`: read it before you pass it on", file.display()));
        }
    }
    Ok(found.show(globals))
}

pub(super) async fn check_address(url: &str, found: &mut Findings) {
    if super::asking::is_healthy(url).await {
        found.ok(format!("a gate answers at {url}"));
    } else {
        found.fail(format!("no gate answers at {url}: is it running, and is the address right?"));
    }
    if !url.starts_with("https://") && !is_local(url) {
        found.warn("its address is not https: links and tokens could be read on the way");
    }
}

/// The policy that was looked at, if there is one.
async fn check_folder(globals: &Globals, found: &mut Findings) -> Result<Option<Policy>, Failure> {
    let path = globals.data();
    let file_policy = globals.policy.as_deref().and_then(|file| check_policy_file(file, found));
    if !path.is_dir() {
        found.fail(format!(
            "there is no data folder `{}`: `placet serve --policy placet.toml` makes it, or name it with --data DIR",
            path.display()
        ));
        return Ok(None);
    }
    let folder = Folder::open(path)?;
    check_access(&folder, found);
    check_files(&folder, found);
    check_space(&folder, found);
    check_keyring(&folder, found);
    let parts = check_database(&folder, found);
    let installed = match &parts {
        Some(parts) => check_records(parts, found).await,
        None => None,
    };
    check_serving(&folder, found).await;
    let policy = file_policy.or(installed);
    if let Some(policy) = &policy {
        check_public_url(&folder, policy, found);
        let has_mail = matches!(mail::Mailer::from_environment(), Ok(Some(_)));
        match super::channel::settings_of(&folder) {
            Ok(settings) => {
                check_chats(&settings, found).await;
                check_people(policy, &settings, has_mail, found);
                check_ways(policy, &settings, has_mail, found);
            }
            Err(failure) => found.fail(one_line(&failure)),
        }
        if let Some(parts) = &parts {
            super::devices::check(parts, policy, found).await;
        }
        check_clients(policy, found);
    }
    check_mail(&folder, found).await;
    match crate::trust::extra_roots() {
        Ok(certificates) if certificates.is_empty() => {}
        Ok(certificates) => found.ok(format!(
            "{} certificates are trusted besides the built-in list (SSL_CERT_FILE, SSL_CERT_DIR, PLACET_TRUST)",
            certificates.len()
        )),
        Err(failure) => found.fail(one_line(&failure)),
    }
    Ok(policy)
}

async fn check_serving(folder: &Folder, found: &mut Findings) {
    let Some(by) = folder.served_by() else {
        found.warn("no gate serves from here at the moment: start one with `placet serve`");
        return;
    };
    let process = by.process.map_or_else(String::new, |process| format!(" (process {process})"));
    match by.url {
        Some(url) if super::asking::is_healthy(&url).await => {
            found.ok(format!("a gate serves from here at {url}{process}"));
            if !super::asking::answers(&url, "/readyz").await {
                found.fail(format!(
                    "the gate at {url} is not ready: it cannot record requests; its log says why"
                ));
            }
        }
        Some(url) => found.fail(format!("a gate{process} serves from here, but does not answer at {url}")),
        None => found.warn(format!("a gate{process} is starting here")),
    }
}

/// Connects, says EHLO, and logs in where the URL names a user, exactly as the gate would.
async fn check_mail(folder: &Folder, found: &mut Findings) {
    let named = super::channel::settings_of(folder).ok().and_then(|settings| settings.smtp.clone());
    match mail::Mailer::from_environment() {
        Ok(Some(_)) => {}
        Ok(None) if named.is_some() => {}
        Ok(None) => {
            found.warn(format!(
                "{} is not set here: reviewers are told on the terminal and in `{}` only",
                mail::URL_VARIABLE,
                folder.outbox().display()
            ));
            return;
        }
        Err(failure) => {
            found.fail(one_line(&failure));
            return;
        }
    }
    let text = match std::env::var(mail::URL_VARIABLE).ok().filter(|text| !text.is_empty()) {
        Some(text) => text,
        None => named.map(|smtp| smtp.url.expose().to_owned()).unwrap_or_default(),
    };
    let place = url::Url::parse(&text).ok().and_then(|url| {
        let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
        Some(format!("{}://{}{port}", url.scheme(), url.host_str()?))
    });
    let place = place.unwrap_or_else(|| "the mail server".to_owned());
    if would_show_its_password(&text) {
        found.fail(format!(
            "the mail server at {place} would get the password without TLS: write smtps://…:465, or smtp://…:587?tls=required"
        ));
        return;
    }
    // The cause could quote the URL, and with it the password.
    let Ok(builder) = AsyncSmtpTransport::<Tokio1Executor>::from_url(&text) else {
        found.fail(format!("{} is not the URL of a mail server", mail::URL_VARIABLE));
        return;
    };
    let transport: AsyncSmtpTransport<Tokio1Executor> = builder.timeout(Some(MAIL_TIMEOUT)).build();
    match tokio::time::timeout(MAIL_TIMEOUT * 2, transport.test_connection()).await {
        Ok(Ok(true)) => found.ok(format!("the mail server at {place} answers")),
        Ok(Ok(false)) => {
            found.fail(format!("the mail server at {place} ends the connection: no reviewer gets mail"));
        }
        Ok(Err(error)) => found.fail(format!(
            "the mail server at {place} cannot be used: {}{}",
            chain(&error),
            mail_advice(&text)
        )),
        Err(_) => {
            found.fail(format!("the mail server at {place} does not answer in time: no reviewer gets mail"));
        }
    }
}

/// Whether a login would go over the network as it is.
fn would_show_its_password(url: &str) -> bool {
    let Ok(url) = url::Url::parse(url) else { return false };
    let encrypted = url.query_pairs().any(|(name, value)| name == "tls" && value == "required");
    url.scheme() == "smtp" && url.password().is_some() && !encrypted
}

fn mail_advice(url: &str) -> &'static str {
    match url::Url::parse(url) {
        Ok(url) if url.password().is_some() => {
            "; if user or password hold `@`, `/`, `:` or `%`, they must be percent-encoded in the URL (`@` as %40)"
        }
        Ok(url) if url.scheme() == "smtps" => {
            "; port 465 speaks TLS at once, port 587 wants smtp:// and ?tls=required"
        }
        Ok(_) | Err(_) => "; is it running, and may this machine reach its port?",
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            let _ = write!(text, ": {cause_text}");
        }
        source = cause.source();
    }
    text
}

fn check_policy_file(file: &Path, found: &mut Findings) -> Option<Policy> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => {
            found.fail(format!("the policy file `{}` cannot be read: {error}", file.display()));
            return None;
        }
    };
    let report = Policy::check(&text);
    for warning in &report.warnings {
        found.warn(format!("policy file, {warning}"));
    }
    match report.policy {
        Ok(policy) => {
            found.ok(format!("the policy file `{}` has no faults", file.display()));
            Some(policy)
        }
        Err(diagnostics) => {
            for diagnostic in diagnostics {
                found.fail(format!("policy file, {diagnostic}"));
            }
            None
        }
    }
}

fn check_access(folder: &Folder, found: &mut Findings) {
    let path = folder.path();
    match folder.check_writable() {
        Ok(()) => found.ok(format!("the data folder `{}` can be written", path.display())),
        Err(error) => {
            found.fail(format!("the data folder `{}` cannot be written: {error}", path.display()));
        }
    }
    let mode = fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode() & 0o777);
    if mode & 0o077 != 0 {
        found.warn(format!(
            "others on this machine can look into the data folder (mode {mode:o}): chmod 700 {}",
            path.display()
        ));
    }
}

/// Everything here must be its owner's alone, and of one owner: a file of root's is one that the gate cannot read.
fn check_files(folder: &Folder, found: &mut Findings) {
    let Some(owner) = folder.owner() else { return };
    let (mut foreign, mut open) = (Vec::new(), Vec::new());
    let mut folders = vec![folder.path().to_owned()];
    let mut looked_at = 0_usize;
    while let Some(place) = folders.pop() {
        for entry in fs::read_dir(&place).into_iter().flatten().flatten() {
            looked_at = looked_at.saturating_add(1);
            let Ok(metadata) = entry.metadata() else { continue };
            if looked_at > FILES_LOOKED_AT || entry.file_name() == "lost+found" {
                continue;
            }
            if metadata.uid() != owner.user {
                foreign.push(entry.path());
            }
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if metadata.permissions().mode() & 0o077 != 0
                && entry.file_name() != crate::folder::KEYRING
            {
                open.push(entry.path());
            }
        }
    }
    if !foreign.is_empty() {
        found.fail(format!(
            "{} not belong to user {}, whose gate this is, and may not be readable for it: chown -R {}:{} {}",
            named(&foreign, "does", "do"),
            owner.user,
            owner.user,
            owner.group,
            folder.path().display()
        ));
    }
    let me = rustix::process::geteuid().as_raw();
    if me != owner.user && me != 0 {
        found.warn(format!(
            "the folder is user {}'s, and you are user {me}: run this as the user of the gate",
            owner.user
        ));
    }
    if !open.is_empty() {
        found.warn(format!(
            "{} readable for others on this machine: chmod -R go= {}",
            named(&open, "is", "are"),
            folder.path().display()
        ));
    }
}

fn named(paths: &[PathBuf], one: &str, many: &str) -> String {
    let names: Vec<String> =
        paths.iter().take(FILES_NAMED).map(|path| format!("`{}`", path.display())).collect();
    let rest = paths.len().saturating_sub(names.len());
    let rest = if rest == 0 { String::new() } else { format!(" and {rest} more") };
    let verb = if paths.len() == 1 { one } else { many };
    format!("{}{rest} {verb}", names.join(", "))
}

fn check_space(folder: &Folder, found: &mut Findings) {
    let Ok(disk) = rustix::fs::statvfs(folder.path()) else {
        found.warn("how much space the disk has left cannot be read");
        return;
    };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let mebibytes = free / 1024 / 1024;
    // Some file systems count no files.
    let no_files = disk.f_files > 0 && disk.f_favail == 0;
    if free < NO_SPACE || no_files {
        found.fail(format!("the disk is full ({mebibytes} MiB free): the gate cannot record anything"));
    } else if free < LITTLE_SPACE {
        found.warn(format!("the disk is nearly full: {mebibytes} MiB are free"));
    } else {
        found.ok(format!("the disk has {mebibytes} MiB free"));
    }
}

fn check_keyring(folder: &Folder, found: &mut Findings) {
    let path = folder.path();
    let file = path.join(crate::folder::KEYRING);
    let Ok(metadata) = fs::metadata(&file) else {
        // A database that cannot be read is told of where it is looked at.
        if placet_sqlite::has_records(&folder.database()).unwrap_or(false) {
            found.fail(one_line(&keys::lost(path)));
        } else {
            found.warn("there is no keyring yet; it is made when it is first needed");
        }
        return;
    };
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o177 != 0 {
        found.fail(format!(
            "the keyring has mode {mode:o}, so others may have read it: chmod 600 {}, and rotate with `placet keys rotate`",
            file.display()
        ));
    } else {
        found.ok(format!("the keyring is for its owner only (mode {mode:o})"));
    }
    let now = SystemClock.now();
    match keys::FileKeys::existing(path) {
        Ok(None) => {}
        Ok(Some(keys)) => {
            let current = keys.held().current.clone();
            let age = now.millis_since(current.created_at);
            if age > 120 * placet_core::time::DAY_MS {
                found.warn(format!("the keys are {} old: `placet keys rotate`", span(age)));
            }
        }
        Err(fault) => found.fail(format!("{}: put it back from your backup", fault.chain())),
    }
}

/// Whether the database is whole, asked read-only: a gate may be serving from it.
fn check_database(folder: &Folder, found: &mut Findings) -> Option<Parts> {
    let path = folder.database();
    if !path.exists() {
        found.warn("there is no database yet; a gate makes it when it starts");
        return None;
    }
    let quick_check = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .and_then(|file| file.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0)));
    match quick_check {
        Ok(result) if result == "ok" => found.ok("the database is whole"),
        Ok(result) => {
            found.fail(format!("the database is damaged ({result}): stop the gate, and restore your backup"));
            return None;
        }
        Err(error) => {
            found.fail(format!("the database cannot be read: {error}"));
            return None;
        }
    }
    if !folder.path().join(crate::folder::KEYRING).exists() {
        // That has been told, and here is none to be made.
        return None;
    }
    match Parts::open(folder.clone()) {
        Ok(parts) => Some(parts),
        Err(failure) => {
            found.fail(one_line(&failure));
            None
        }
    }
}

async fn check_records(parts: &Parts, found: &mut Findings) -> Option<Policy> {
    let store = parts.store();
    let record = match store.policy().await {
        Ok(Some(record)) => record,
        Ok(None) => {
            found.fail("no policy is installed, so nobody can ask: `placet policy push placet.toml`");
            return None;
        }
        Err(fault) => {
            found.fail(fault.chain());
            return None;
        }
    };
    let policy = match Policy::read(&record.text) {
        Ok(policy) => policy,
        Err(diagnostics) => {
            found.fail(format!(
                "the installed policy (version {}) cannot be read by this version of placet: {} faults; push it anew",
                record.version,
                diagnostics.len()
            ));
            return None;
        }
    };
    found.ok(format!("version {} of the policy is installed", record.version));
    for warning in Policy::check(&record.text).warnings {
        found.warn(format!("the installed policy, {warning}"));
    }
    match super::keys::older_than_recorded(&parts.keys().held(), store).await {
        Ok(Some(recorded)) => found.fail(format!(
            "the keyring is older than the records, which tell of epoch {recorded}: put the newer one back from your backup"
        )),
        Ok(None) => {}
        Err(fault) => found.fail(fault.chain()),
    }
    match store.newest_record().await {
        Ok(newest) => {
            let behind = newest.map_or(0, |newest| newest.millis_since(SystemClock.now()));
            if behind > super::serve::CLOCK_TOLERANCE_MS {
                found.fail(format!(
                    "the clock is {} behind the newest record: deadlines would pass late; set the clock",
                    span(behind)
                ));
            } else {
                found.ok("the clock agrees with the records");
            }
        }
        Err(fault) => found.fail(fault.chain()),
    }
    Some(policy)
}

fn check_public_url(folder: &Folder, policy: &Policy, found: &mut Findings) {
    match folder.public_url().or_else(|| policy.issuer.clone()) {
        None => {
            found
                .warn("links have no public address: set `issuer` in the policy, or serve with --public-url");
        }
        Some(url) if url.starts_with("https://") => found.ok(format!("links open at {url}")),
        Some(url) if is_local(&url) => {
            found.warn(format!(
                "links open at {url}, which is on this machine only: set `issuer`, or serve with --public-url"
            ));
        }
        Some(url) => {
            found.fail(format!("links open at {url}, which is not https: they could be read on the way"));
        }
    }
}

/// Whether the chats that are set take the gate's token.
async fn check_chats(settings: &ChannelSettings, found: &mut Findings) {
    let Ok(sender) = crate::trust::webhook_sender() else { return };
    let keys = || crate::trial::tried(settings);
    if let Some(slack) = &settings.slack {
        match Slack::new(keys(), sender.clone()).who_am_i(slack).await {
            Ok((_, team)) => {
                found.ok(format!("Slack takes the app's token, for {}", crate::console::harmless(&team)));
            }
            Err(why) => found.fail(format!(
                "Slack does not take the app's token: {}; set it anew with `placet channel set slack`",
                crate::console::harmless(&why)
            )),
        }
    }
    if let Some(telegram) = &settings.telegram {
        match Telegram::new(keys(), sender).who_am_i(telegram).await {
            Ok(bot) => {
                found.ok(format!("Telegram takes the bot's token, for @{}", crate::console::harmless(&bot)));
            }
            Err(why) => found.fail(format!(
                "Telegram does not take the bot's token: {}; set it anew with `placet channel set telegram`",
                crate::console::harmless(&why)
            )),
        }
    }
}

/// Whom the gate cannot reach, whatever is asked.
fn check_people(policy: &Policy, settings: &ChannelSettings, has_mail: bool, found: &mut Findings) {
    for reviewer in policy.reviewers.iter().filter(|reviewer| reviewer.channels() == [ChannelName::Terminal])
    {
        found.warn(format!(
            "reviewer `{}` has no address: they are told on the gate's terminal, if it has one, and in the outbox",
            reviewer.id
        ));
    }
    for (reviewer, missing, is_all) in super::channel::missing_channels(policy, settings, has_mail) {
        match missing.as_slice() {
            missing if is_all && missing.contains(&ChannelName::Email) => found.warn(format!(
                "reviewer `{reviewer}` has a mail address, but no mail server is named: they are told in the outbox only"
            )),
            [ChannelName::Sms] if is_all => found.fail(format!(
                "reviewer `{reviewer}` can be reached by phone only, and a gate on one machine sends no texts: give them an `email`, and name a mail server with {}",
                mail::URL_VARIABLE
            )),
            missing => {
                let text = super::channel::unreachable_words(&reviewer, missing, is_all);
                if is_all { found.fail(text) } else { found.warn(text) }
            }
        }
    }
}

/// By which ways operators hear nothing.
fn check_ways(policy: &Policy, settings: &ChannelSettings, has_mail: bool, found: &mut Findings) {
    if policy.alerts.is_empty() {
        found.warn("alerts go to the log only: name who hears them with `[[alerts]]` in the policy");
        return;
    }
    let unset = super::alert::unset(policy, settings, has_mail);
    if unset.is_empty() {
        found.ok(format!("alerts go by {} way(s); `placet alert test` tries them", policy.alerts.len()));
    }
    for text in unset {
        found.fail(text);
    }
}

/// Who could approve what they ask, and whose request nobody could approve.
pub(super) fn check_clients(policy: &Policy, found: &mut Findings) {
    for client in policy.clients.iter().filter(|client| client.has(ClientRole::Requester)) {
        if client.owner.is_none() {
            found.warn(format!(
                "client `{}` has no owner: whoever runs it could approve what it asks",
                client.id
            ));
        }
    }
    for rule in &policy.rules {
        let RuleAction::Ask(terms) = &rule.action else { continue };
        for (index, stage) in terms.stages.iter().enumerate() {
            let Assignees::Roles(roles) = &stage.assignees else { continue };
            let people: Vec<_> =
                policy.reviewers.iter().filter(|reviewer| reviewer.has_any(roles)).map(|r| &r.id).collect();
            for client in &policy.clients {
                let owner_only =
                    matches!((people.as_slice(), &client.owner), ([only], Some(owner)) if *only == owner);
                if owner_only && !terms.owner_may_approve && client.has(ClientRole::Requester) {
                    found.warn(format!(
                        "rule `{}`, stage {}: only `{}` is asked, who owns client `{}` and may not approve what it asks",
                        rule.name,
                        index + 1,
                        people.first().map_or("", |id| id.as_str()),
                        client.id
                    ));
                }
            }
        }
    }
}

fn is_local(url: &str) -> bool {
    url::Url::parse(url).is_ok_and(|url| crate::proxy::is_this_machine(&url))
}

pub(super) fn one_line(failure: &Failure) -> String {
    failure.to_string().trim_start_matches("placet: ").replace("\n ", ";")
}
