//! `placet completions` and `placet man`: made from the command line itself, so they never say something else.

use std::path::Path;

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use serde_json::json;

use crate::cli::{Cli, Globals};
use crate::console::print;
use crate::failure::{Exit, Failure};

/// Prints the completions for a shell.
pub(crate) fn completions(shell: Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut shown(), "placet", &mut script);
    print(&String::from_utf8_lossy(&script));
    Exit::Done
}

/// The command line without what no help names.
fn shown() -> Command {
    let all = Cli::command();
    let subcommands = all.get_subcommands().filter(|one| !one.is_hide_set()).cloned();
    Command::new("placet")
        .version(env!("CARGO_PKG_VERSION"))
        .propagate_version(true)
        .args(all.get_arguments().cloned())
        .subcommands(subcommands.collect::<Vec<_>>())
}

/// Prints one manual page, or writes all of them into a folder.
pub(crate) fn pages(globals: &Globals, words: &[String], all: Option<&Path>) -> Result<Exit, Failure> {
    let mut root = Cli::command();
    root.build();
    let Some(folder) = all else {
        print(&page(find(&root, words)?)?);
        return Ok(Exit::Done);
    };
    std::fs::create_dir_all(folder).map_err(|error| Failure::file("cannot make", folder, &error))?;
    let mut written = Vec::new();
    write_all(&root, folder, &mut written)?;
    if globals.json {
        print(&super::pretty(&json!({ "files": written })));
    } else {
        print(&format!("{} pages are written: man -l {}/placet.1\n", written.len(), folder.display()));
    }
    Ok(Exit::Done)
}

fn find<'c>(root: &'c Command, words: &[String]) -> Result<&'c Command, Failure> {
    let mut found = root;
    for word in words.iter().flat_map(|word| word.split([' ', '-'])).filter(|word| *word != "placet") {
        found = found.find_subcommand(word).ok_or_else(|| {
            let names: Vec<&str> =
                found.get_subcommands().filter(|one| !one.is_hide_set()).map(Command::get_name).collect();
            Failure::usage(format!("there is no command `{}`", words.join(" "))).advise(format!(
                "`{}` has: {}",
                found.get_name(),
                names.join(", ")
            ))
        })?;
    }
    Ok(found)
}

fn page(command: &Command) -> Result<String, Failure> {
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone())
        .source(concat!("placet ", env!("CARGO_PKG_VERSION")))
        .render(&mut text)
        .map_err(|error| Failure::fault(format!("the manual page cannot be made: {error}")))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn write_all(command: &Command, folder: &Path, written: &mut Vec<String>) -> Result<(), Failure> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let path = folder.join(format!("{name}.1"));
    std::fs::write(&path, page(command)?).map_err(|error| Failure::file("cannot write", &path, &error))?;
    written.push(format!("{name}.1"));
    for one in command.get_subcommands().filter(|one| one.get_name() != "help" && !one.is_hide_set()) {
        write_all(one, folder, written)?;
    }
    Ok(())
}
