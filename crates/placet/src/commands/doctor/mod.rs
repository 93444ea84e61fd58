//! `placet doctor`: is everything there that a gate needs? One line for each answer, in plain words.

#![expect(clippy::disallowed_methods, reason = "doctor looks at what the gate would read")]

mod disk;
mod policy;
mod send;
pub(super) mod told;

use std::fmt::Write as _;
use std::path::Path;

use placet_core::policy::Policy;
use serde_json::{Value, json};

use crate::cli::Globals;
use crate::console::{Style, note, print};
use crate::failure::{Exit, Failure};
use crate::folder::Folder;
use crate::mail;

pub(super) use policy::check_clients;

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

/// Whether tests are sent, and to whom.
pub(super) enum Tests {
    /// `doctor` alone tells nobody anything.
    None,
    /// To that reviewer, or to everybody.
    Send(Option<String>),
}

#[derive(Default)]
pub(super) struct Findings {
    found: Vec<(Grade, String)>,
    /// What came of the tests that were sent, for programs.
    sent: Option<Value>,
}

impl Findings {
    /// Prints them. Refused if one of them is a failure.
    pub(super) fn show(&self, globals: &Globals) -> Exit {
        let failed = self.found.iter().any(|(grade, _)| *grade == Grade::Fail);
        if globals.json {
            let mut said = json!({ "healthy": !failed, "checks": self.to_json() });
            if let (Some(sent), Some(said)) = (&self.sent, said.as_object_mut()) {
                said.insert("sent".to_owned(), sent.clone());
            }
            print(&super::pretty(&said));
        } else {
            let style = Style::of_stdout();
            let mut lines = String::new();
            for (grade, text) in &self.found {
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
        self.found.iter().map(|(grade, text)| json!({ "result": grade.as_str(), "text": text })).collect()
    }

    pub(super) fn ok(&mut self, text: impl Into<String>) {
        self.found.push((Grade::Ok, text.into()));
    }

    pub(super) fn warn(&mut self, text: impl Into<String>) {
        self.found.push((Grade::Warn, text.into()));
    }

    pub(super) fn fail(&mut self, text: impl Into<String>) {
        self.found.push((Grade::Fail, text.into()));
    }
}

/// Checks a deployment.
pub(crate) async fn run(globals: &Globals, report: Option<&Path>, tests: &Tests) -> Result<Exit, Failure> {
    if matches!(tests, Tests::Send(_)) {
        super::no_url(globals)?;
    }
    let mut found = Findings::default();
    let policy = match &globals.url {
        Some(url) => {
            check_address(url, &mut found).await;
            None
        }
        None => check_folder(globals, &mut found).await?,
    };
    if let Tests::Send(only) = tests {
        match send::tests(globals, only.as_deref(), &mut found).await {
            Ok(sent) => found.sent = Some(sent),
            Err(failure) => found.fail(format!("no test was sent: {}", one_line(&failure))),
        }
    }
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
    let file_policy = globals.policy.as_deref().and_then(|file| policy::check_policy_file(file, found));
    if !path.is_dir() {
        found.fail(format!(
            "there is no data folder `{}`: `placet serve --policy placet.toml` makes it, or name it with --data DIR",
            path.display()
        ));
        return Ok(None);
    }
    let folder = Folder::open(path)?;
    disk::check_access(&folder, found);
    disk::check_files(&folder, found);
    disk::check_space(&folder, found);
    disk::check_keyring(&folder, found);
    let parts = disk::check_database(&folder, found);
    let installed = match &parts {
        Some(parts) => policy::check_records(parts, found).await,
        None => None,
    };
    check_serving(&folder, found).await;
    let policy = file_policy.or(installed);
    if let Some(policy) = &policy {
        policy::check_public_url(&folder, policy, found);
        let has_mail = matches!(mail::Mailer::from_environment(), Ok(Some(_)));
        match super::channel::settings_of(&folder) {
            Ok(settings) => {
                told::check_chats(&settings, "", found).await;
                policy::check_people(policy, &settings, has_mail, found);
                policy::check_ways(policy, &settings, has_mail, found);
            }
            Err(failure) => found.fail(one_line(&failure)),
        }
        if let Some(parts) = &parts {
            super::devices::check(parts, policy, found).await;
        }
        check_clients(policy, found);
    }
    told::check_mail(&folder, found).await;
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

/// What `--aws` answers to `--send`: there, what sends has rights that the operator's credentials may not have.
pub(super) fn sends_nothing_on_aws() -> Failure {
    Failure::usage("`placet doctor --send` sends from a gate on one machine, and not yet from one on AWS").advise(
        "there, `placet channel test CHANNEL --reviewer ID --aws` and `placet alert test --aws` send one, and `placet doctor --aws` looks at what mails and texts need",
    )
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

fn is_local(url: &str) -> bool {
    url::Url::parse(url).is_ok_and(|url| crate::proxy::is_this_machine(&url))
}

pub(super) fn one_line(failure: &Failure) -> String {
    failure.to_string().trim_start_matches("placet: ").replace("\n ", ";")
}
