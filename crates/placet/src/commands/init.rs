//! `placet init`: a policy to start from.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;

use serde_json::json;

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
    let mut open = OpenOptions::new();
    open.write(true);
    if options.force {
        open.create(true).truncate(true);
    } else {
        open.create_new(true);
    }
    let written = open.open(&file).and_then(|mut to| to.write_all(SAMPLE.as_bytes()));
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Failure::refused(format!("`{}` is there already", file.display()))
                .advise("name another file, or overwrite it with --force")
        }
        _ => Failure::file("cannot write", &file, &error),
    })?;
    if globals.json {
        print(&super::pretty(&json!({ "file": file })));
    } else {
        let file = file.display();
        print(&format!(
            "{file} is written: two programs, three people, four rules. Next:\n\n  \
             placet policy check {file}\n  \
             placet serve --policy {file}\n  \
             placet client secret my-agent\n"
        ));
    }
    Ok(Exit::Done)
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
