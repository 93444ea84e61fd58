//! `placet mcp wrap -- COMMAND…`: starts an MCP server and stands before its tools.
//!
//! What is passed on, and what is asked first, is `placet_mcp::wrap`'s; here are the process, its environment and its end.

#![expect(
    clippy::disallowed_methods,
    reason = "a wrapped server gets this process's environment, but for Placet's own"
)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use placet_mcp::gate::GateClient;
use placet_mcp::names::action_of;
use placet_mcp::wrap::{Ended, Pins, SERVER_TIMEOUT, Wrap};
use tokio::net::unix::pipe;

use crate::cli::{Globals, McpWrap};
use crate::console::note;
use crate::failure::{Exit, Failure};
use crate::signals::{Mask, Signals};

/// The longest name of a server, in characters: with a tool's it has to fit into an action.
const NAME_CHARACTERS: usize = 40;

/// Programs that run another one, which is what the server is called by.
const LAUNCHERS: &[&str] = &[
    "npx", "bunx", "pnpm", "dlx", "node", "deno", "bun", "uvx", "uv", "pipx", "run", "python", "python3",
    "env", "exec",
];

/// Serves until a side closes, or a signal comes.
pub(crate) async fn run(globals: &Globals, options: McpWrap) -> Result<Exit, Failure> {
    let mut signals = Signals::catch_with_hangup()?;
    let mask = Mask::remember();
    let name = match &options.name {
        Some(name) => checked_name(name)?,
        None => name_of(&options.command),
    };
    let upstream = super::mcp::upstream(globals, options.client.as_deref()).await?;
    let pins = options.pins.clone().map_or_else(|| pins_file(globals, &name), Ok)?;
    let wrap = Wrap {
        gate: GateClient::new(Arc::new(upstream)),
        pins: Pins::open(pins).map_err(|why| {
            Failure::refused(why)
                .advise("mend that file, or remove it: then every tool is pinned anew when it is approved")
        })?,
        name,
        answer_after: options.answer_after,
        timeout_seconds: options.timeout.map(|timeout| timeout.as_secs()),
    };
    mask.restore();
    let mut server = Server::start(&options)?;
    let pipes = server.pipes().map_err(|error| Failure::fault(format!("the server's pipes: {error}")))?;
    let mut exit = Exit::Done;
    let stop = async {
        exit = signals.next().await;
    };
    let ended = wrap.serve((tokio::io::stdin(), tokio::io::stdout()), pipes, stop).await;
    let status = server.end().map_err(|error| Failure::fault(format!("the server's end: {error}")))?;
    match (ended, status) {
        (Ended::ServerGone, Some(status)) if !status.success() => {
            Err(Failure::fault(format!("the MCP server ended with {status}")))
        }
        _ => Ok(exit),
    }
}

/// The server's process; killed when this is dropped.
struct Server(Child);

impl Server {
    fn start(options: &McpWrap) -> Result<Self, Failure> {
        let (program, arguments) =
            options.command.split_first().ok_or_else(|| Failure::usage("no command is named"))?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        // With the client's secret the server could ask in its name.
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PLACET_"))
        {
            command.env_remove(name);
        }
        for file in &options.env_files {
            command.envs(read_env_file(file)?);
        }
        let started = command.spawn().map_err(|error| {
            let code = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
            Failure::fault(format!("`{}` cannot be started: {error}", program.to_string_lossy()))
                .exiting_with(code)
        })?;
        Ok(Self(started))
    }

    /// What it says, and what it is told.
    fn pipes(&mut self) -> io::Result<(pipe::Receiver, pipe::Sender)> {
        let (Some(output), Some(input)) = (self.0.stdout.take(), self.0.stdin.take()) else {
            return Err(io::Error::other("they are taken"));
        };
        let output = pipe::Receiver::from_owned_fd(OwnedFd::from(output))?;
        Ok((output, pipe::Sender::from_owned_fd(OwnedFd::from(input))?))
    }

    /// Waits a little for its end, and then ends it. None where it had to be ended.
    fn end(&mut self) -> io::Result<Option<ExitStatus>> {
        let begun = Instant::now();
        while begun.elapsed() < SERVER_TIMEOUT {
            if let Some(status) = self.0.try_wait()? {
                return Ok(Some(status));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        note("the MCP server did not end by itself, and is killed");
        self.0.kill()?;
        self.0.wait()?;
        Ok(None)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn checked_name(name: &str) -> Result<String, Failure> {
    if name.len() <= NAME_CHARACTERS && action_of(name) == name {
        return Ok(name.to_owned());
    }
    Err(Failure::usage(format!("`{name}` is no name for a server")).advise(format!(
        "it is 1 to {NAME_CHARACTERS} of `A-Za-z0-9_-`; rules name its tools as mcp.NAME.TOOL"
    )))
}

/// What a server is called that nobody has named: by the first word of its command that is neither a launcher nor an
/// option, without folders and endings.
fn name_of(command: &[OsString]) -> String {
    let words = command.iter().map(|word| word.to_string_lossy());
    let file = |word: &str| {
        let file = word.rsplit('/').next().unwrap_or_default();
        let file = file.split('@').next().unwrap_or_default();
        file.trim_end_matches(".js")
            .trim_end_matches(".mjs")
            .trim_end_matches(".py")
            .trim_end_matches(".ts")
            .to_owned()
    };
    let name = words
        .map(|word| if word.starts_with('-') { String::new() } else { file(&word) })
        .find(|word| !word.is_empty() && !LAUNCHERS.contains(&word.as_str()))
        .unwrap_or_else(|| "server".to_owned());
    let kept = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '-' };
    name.chars().take(NAME_CHARACTERS).map(kept).collect()
}

/// Where the approved definitions of that server's tools are kept: in the data folder, or where programs keep such things.
fn pins_file(globals: &Globals, name: &str) -> Result<PathBuf, Failure> {
    if globals.data().is_dir() {
        return Ok(globals.data().join("mcp").join(format!("{name}.json")));
    }
    let folder =
        |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = folder("XDG_STATE_HOME").or_else(|| folder("HOME").map(|home| home.join(".local/state")));
    match state {
        Some(state) => Ok(state.join("placet/mcp").join(format!("{name}.json"))),
        None => Err(Failure::usage("there is no place for the tools that were approved")
            .advise("name a file with --pins")),
    }
}

/// The variables of a file: `NAME=VALUE` lines, as `docker run --env-file` reads them.
fn read_env_file(path: &Path) -> Result<BTreeMap<String, String>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::file("cannot read", path, &error))?;
    let mut variables = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, value)) = line.split_once('=').filter(|(name, _)| is_variable(name)) else {
            // The line could be a secret: it is not quoted.
            return Err(Failure::usage(format!(
                "`{}`, line {}: this is not NAME=VALUE",
                path.display(),
                number + 1
            )));
        };
        variables.insert(name.to_owned(), value.to_owned());
    }
    Ok(variables)
}

fn is_variable(name: &str) -> bool {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    first && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_called_by_what_it_is() {
        for (command, name) in [
            ("npx -y @modelcontextprotocol/server-filesystem@1.2.3 /tmp", "server-filesystem"),
            ("uvx mcp-server-git --repository x", "mcp-server-git"),
            ("node dist/index.js", "index"),
            ("python3 -u servers/mail.py", "mail"),
            ("/opt/tools/github-mcp", "github-mcp"),
            ("npx", "server"),
            ("./über!", "-ber-"),
        ] {
            let command: Vec<OsString> = command.split(' ').map(Into::into).collect();
            assert_eq!(name_of(&command), name, "{command:?}");
            assert!(checked_name(name).is_ok());
        }
        for bad in ["", "a.b", "a b", &"a".repeat(41)] {
            assert_eq!(checked_name(bad).unwrap_err().code(), 2, "{bad}");
        }
    }

    #[test]
    fn an_env_file_is_names_and_values() {
        let path = std::env::temp_dir().join(format!("placet-env-{}", std::process::id()));
        std::fs::write(&path, "# keys\nTOKEN=a=b c\n\n  EMPTY=\n_X1='q'\n").unwrap();
        let read = read_env_file(&path).unwrap();
        let expected = [("EMPTY", ""), ("TOKEN", "a=b c"), ("_X1", "'q'")];
        assert_eq!(read, expected.into_iter().map(|(name, value)| (name.into(), value.into())).collect());
        for bad in ["secret-token", "=x", "1A=x", "A B=x"] {
            std::fs::write(&path, bad).unwrap();
            let refused = read_env_file(&path).unwrap_err().to_string();
            assert!(refused.contains("line 1") && !refused.contains(bad), "{refused}");
        }
        std::fs::remove_file(path).unwrap();
    }
}
