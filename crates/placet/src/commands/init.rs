//! `placet init`: a policy to start from. On a terminal it asks; elsewhere, and with `--sample`, it writes the commented sample.

use std::fs::OpenOptions;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use placet_core::policy::Policy;
use serde_json::json;

use super::interview::{self, Answers};
use crate::cli::{Globals, Init};
use crate::console::print;
use crate::failure::{Exit, Failure};

/// The name that a policy has where nobody says otherwise.
pub(crate) const FILE: &str = "placet.toml";

/// A commented policy: two programs, three people, four rules.
pub(crate) const SAMPLE: &str = include_str!("../sample.toml");

/// Writes the sample policy.
pub(crate) fn run(globals: &Globals, options: Init) -> Result<Exit, Failure> {
    let file = options.file.or_else(|| globals.policy.clone()).unwrap_or_else(|| PathBuf::from(FILE));
    if !options.force && file.exists() {
        return Err(there_already(&file));
    }
    let asks =
        !options.sample && !globals.json && std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    let answers = if asks { Some(answers()?) } else { None };
    let text = answers.as_ref().map_or_else(|| SAMPLE.to_owned(), Answers::policy);
    let mut open = OpenOptions::new();
    open.write(true);
    if options.force {
        open.create(true).truncate(true);
    } else {
        open.create_new(true);
    }
    let written = open.open(&file).and_then(|mut to| to.write_all(text.as_bytes()));
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => there_already(&file),
        _ => Failure::file("cannot write", &file, &error),
    })?;
    if globals.json {
        print(&super::pretty(&json!({ "file": file })));
    } else {
        let what = match &answers {
            Some(_) => "",
            None => ": two programs, three people, four rules",
        };
        let client = answers.as_ref().map_or("my-agent", Answers::client);
        let file = file.display();
        print(&format!(
            "{file} is written{what}. Next:\n\n  \
             placet policy check {file}\n  \
             placet serve --policy {file}\n  \
             placet client secret {client}\n"
        ));
    }
    Ok(Exit::Done)
}

fn there_already(file: &Path) -> Failure {
    Failure::refused(format!("`{}` is there already", file.display()))
        .with_code("file_exists")
        .advise("name another file, or overwrite it with --force")
}

/// Asks on the terminal; the questions are no result, so they go to standard error.
fn answers() -> Result<Answers, Failure> {
    let asked = interview::ask(&mut std::io::stdin().lock(), &mut std::io::stderr().lock())
        .map_err(|error| Failure::fault(format!("the terminal cannot be read: {error}")))?;
    let answers = asked.ok_or_else(|| {
        Failure::refused("the questions were not answered, so nothing is written")
            .advise("`placet init --sample` writes a commented policy without asking")
    })?;
    // A policy that does not work is never written: each answer was checked, and this is their sum.
    let report = Policy::check(&answers.policy());
    match report.policy {
        Ok(_) => Ok(answers),
        Err(faults) => Err(crate::local::broken_policy(Path::new(FILE), &faults)),
    }
}

#[cfg(test)]
mod tests {
    use placet_core::policy::Policy;

    #[test]
    fn the_sample_is_a_policy_without_faults_or_warnings() {
        let report = Policy::check(super::SAMPLE);
        let policy = report.policy.unwrap();
        assert_eq!(report.warnings, []);
        assert_eq!((policy.clients.len(), policy.reviewers.len(), policy.rules.len()), (2, 3, 4));
    }
}
