//! `placet doctor`: is everything there that a gate needs? One line for each answer, in plain words.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use placet_core::policy::{Assignees, ClientRole, Policy, RuleAction};
use placet_gate::ports::{Clock as _, Store as _, StoreQuery};
use rusqlite::{Connection, OpenFlags};
use serde_json::json;

use crate::cli::Globals;
use crate::clock::SystemClock;
use crate::console::{Style, print};
use crate::failure::{Exit, Failure};
use crate::folder::Folder;
use crate::keys;
use crate::local::Parts;
use crate::mail;
use crate::text::span;

/// How far records may lie in the future before the clock is called wrong, in milliseconds.
const CLOCK_TOLERANCE_MS: i64 = 5_000;

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
            let checks: Vec<_> = self
                .0
                .iter()
                .map(|(grade, text)| json!({ "result": grade.as_str(), "text": text }))
                .collect();
            print(&super::pretty(&json!({ "healthy": !failed, "checks": checks })));
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
pub(crate) async fn run(globals: &Globals) -> Result<Exit, Failure> {
    let mut found = Findings::default();
    match &globals.url {
        Some(url) => check_address(url, &mut found).await,
        None => check_folder(globals, &mut found).await?,
    }
    Ok(found.show(globals))
}

pub(super) async fn check_address(url: &str, found: &mut Findings) {
    if super::request::is_healthy(url).await {
        found.ok(format!("a gate answers at {url}"));
    } else {
        found.fail(format!("no gate answers at {url}: is it running, and is the address right?"));
    }
    if !url.starts_with("https://") && !is_local(url) {
        found.warn("its address is not https: links and tokens could be read on the way");
    }
}

async fn check_folder(globals: &Globals, found: &mut Findings) -> Result<(), Failure> {
    let path = globals.data();
    let file_policy = globals.policy.as_deref().and_then(|file| check_policy_file(file, found));
    if !path.is_dir() {
        found.fail(format!(
            "there is no data folder `{}`: `placet serve --policy placet.toml` makes it, or name it with --data DIR",
            path.display()
        ));
        return Ok(());
    }
    let folder = Folder::open(path)?;
    check_access(&folder, found);
    check_keyring(path, found);
    let installed = match check_database(&folder, found) {
        Some(parts) => check_records(&parts, found).await,
        None => None,
    };
    let served_at = folder.served_at();
    match &served_at {
        Some(url) if super::request::is_healthy(url).await => {
            found.ok(format!("a gate serves from here at {url}"));
        }
        Some(url) => found.fail(format!("a gate serves from here, but does not answer at {url}")),
        None => found.warn("no gate serves from here at the moment: start one with `placet serve`"),
    }
    if let Some(policy) = file_policy.or(installed) {
        check_public_url(&folder, &policy, found);
        check_people(&policy, found);
        check_clients(&policy, found);
    }
    match mail::Mailer::from_environment() {
        Ok(Some(mailer)) => match mailer.check().await {
            Ok(()) => found.ok(format!("the mail server of {} answers", mail::URL_VARIABLE)),
            Err(fault) => found.fail(format!("{}: {}", mail::URL_VARIABLE, fault.chain())),
        },
        Ok(None) => found.warn(format!(
            "{} is not set here: reviewers are told on the terminal and in `{}` only",
            mail::URL_VARIABLE,
            folder.outbox().display()
        )),
        Err(failure) => found.fail(one_line(&failure)),
    }
    Ok(())
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
    let probe = path.join(format!(".doctor.{}", std::process::id()));
    match fs::write(&probe, b"").and_then(|()| fs::remove_file(&probe)) {
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

fn check_keyring(path: &Path, found: &mut Findings) {
    let file = path.join(keys::FILE);
    let Ok(metadata) = fs::metadata(&file) else {
        found.warn("there is no keyring yet; it is made when it is first needed");
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
    match keys::FileKeys::open(path, now) {
        Ok(keys) => {
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
    let mut newest = record.installed_at;
    for client in &policy.clients {
        let query = StoreQuery { client: client.id.clone(), status: None, limit: 1, before: None };
        let last = store.list(&query).await.ok().and_then(|requests| requests.into_iter().next());
        newest = last.map_or(newest, |request| newest.max(request.life.updated_at));
    }
    let ahead = newest.millis_since(SystemClock.now());
    if ahead > CLOCK_TOLERANCE_MS {
        found.fail(format!(
            "the clock is {} behind the newest record: deadlines would pass late; set the clock",
            span(ahead)
        ));
    } else {
        found.ok("the clock agrees with the records");
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

fn check_people(policy: &Policy, found: &mut Findings) {
    for reviewer in &policy.reviewers {
        if reviewer.email.is_none() && reviewer.phone.is_none() && reviewer.slack.is_none() {
            found.warn(format!(
                "reviewer `{}` has no address: they are told on the gate's terminal only",
                reviewer.id
            ));
        }
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
        let RuleAction::Ask(terms) = &rule.then else { continue };
        for (index, stage) in terms.stages.iter().enumerate() {
            let Assignees::Roles(roles) = &stage.ask else { continue };
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
    url::Url::parse(url).is_ok_and(|url| match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    })
}

pub(super) fn one_line(failure: &Failure) -> String {
    failure.to_string().trim_start_matches("placet: ").replace("\n ", ";")
}
