//! The verbs, one file each.

#![expect(clippy::disallowed_methods, reason = "a client's secret may come from the environment")]

mod admin;
mod alert;
mod asking;
mod audit;
#[cfg(feature = "aws")]
mod aws;
#[cfg(not(feature = "aws"))]
#[path = "aws_absent.rs"]
mod aws;
mod backup;
mod channel;
mod client;
mod demo;
mod devices;
mod doctor;
mod inbox;
mod init;
mod interview;
mod keys;
mod link;
mod list;
mod manual;
mod mcp;
mod policy;
mod replay;
mod report;
mod request;
mod run;
mod serve;
mod show;
mod suggest;
mod support;
mod testgate;
mod token;
mod wrap;

pub(crate) use alert::{fault_of as alert_fault, gets as alert_way_gets};
pub(crate) use channel::fault_of as channel_fault;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use placet_core::id::ClientId;
use placet_core::payload::parse_strict;
use placet_core::policy::{Client, ClientRole, Policy};
use placet_gate::Gate;
use placet_gate::ports::Store;
use serde_json::Value;

use crate::api::{Api, Transport};
use crate::cli::{
    ChannelCommand, Cli, ClientCommand, Command, Deployment, Globals, KeysCommand, Mcp, McpCommand,
    PolicyCommand, TokenCommand,
};
use crate::console::note;
use crate::failure::{Exit, Failure};
use crate::folder::Folder;
use crate::local::{LocalGate, broken_policy, read_policy_file};

/// A client's secret, for a gate that is reached by its address.
const SECRET_VARIABLE: &str = "PLACET_SECRET";

/// The client whose secret that is, where `--client` does not name it.
const CLIENT_VARIABLE: &str = "PLACET_CLIENT";

pub(crate) use self::mcp::in_folder as gate_in_folder;

/// Runs what was typed.
pub(crate) async fn run(cli: Cli) -> Result<Exit, Failure> {
    let globals = &cli.globals;
    // Those take back what they began; all others end where they are.
    if !matches!(
        cli.command,
        Command::Demo(_)
            | Command::Mcp(_)
            | Command::Request(_)
            | Command::Run(_)
            | Command::Serve(_)
            | Command::Testgate(_)
    ) {
        crate::signals::end_at_once()?;
    }
    match cli.command {
        Command::Demo(options) => demo::run(globals, options).await,
        Command::Serve(options) => serve::run(globals, options).await,
        Command::Testgate(options) => testgate::run(globals, options).await,
        Command::Init(options) => init::run(globals, options),
        Command::Policy(PolicyCommand::Check { file, on }) => policy::check(globals, file, &on).await,
        Command::Policy(PolicyCommand::Explain { file, request }) => {
            policy::explain(globals, &file, &request)
        }
        Command::Policy(PolicyCommand::Replay(options)) => replay::run(globals, options).await,
        Command::Policy(PolicyCommand::Suggest(options)) => suggest::run(globals, options).await,
        Command::Policy(PolicyCommand::Push { file, on }) if on.aws => {
            not_at_a_url(globals)?;
            aws::push(globals, file, &on.stack).await
        }
        Command::Policy(PolicyCommand::Push { file, .. }) => policy::push(globals, file).await,
        Command::Client(ClientCommand::Resume { id, on }) => client::resume(globals, &id, &on).await,
        Command::Client(ClientCommand::Secret { id, on }) if on.aws => {
            not_at_a_url(globals)?;
            aws::secret(globals, &id, &on.stack).await
        }
        Command::Client(ClientCommand::Secret { id, .. }) => client::secret(globals, &id).await,
        Command::Keys(KeysCommand::Rotate { force, on }) if on.aws => {
            not_at_a_url(globals)?;
            aws::rotate(globals, &on.stack, force).await
        }
        Command::Keys(KeysCommand::Rotate { force, .. }) => keys::rotate(globals, force).await,
        Command::Channel(ChannelCommand::Set(options)) => channel::set(globals, options).await,
        Command::Channel(ChannelCommand::Test(options)) => channel::test(globals, options).await,
        Command::Channel(ChannelCommand::List { on }) => channel::list(globals, &on).await,
        Command::Channel(ChannelCommand::Remove { channel, on }) => {
            channel::remove(globals, channel, &on).await
        }
        Command::Channel(ChannelCommand::Secret { reviewer, on }) => {
            channel::secret(globals, &reviewer, &on).await
        }
        Command::Alert(command) => alert::run(globals, command).await,
        Command::Request(options) => request::run(globals, options).await,
        Command::Run(options) => run::run(globals, options).await,
        Command::Inbox(options) => inbox::run(globals, options).await,
        Command::Link(options) => link::run(globals, options).await,
        Command::Mcp(Mcp { command: Some(McpCommand::Wrap(options)), .. }) => {
            wrap::run(globals, options).await
        }
        Command::Mcp(options) => mcp::run(globals, options).await,
        Command::Token(TokenCommand::Verify { token, of }) => token::verify(globals, &token, &of).await,
        Command::Token(TokenCommand::Redeem { token, of, by }) => {
            token::redeem(globals, &token, &of, &by).await
        }
        Command::Show(options) => show::run(globals, options).await,
        Command::Cancel(options) => show::cancel(globals, options).await,
        Command::List(options) => list::run(globals, options).await,
        Command::Audit(command) => audit::run(globals, command).await,
        Command::Report(options) => report::run(globals, options).await,
        Command::Backup(options) => backup::write(globals, &options),
        Command::Admin(command) => admin::run(globals, command).await,
        Command::Restore { file } => backup::restore(globals, &file),
        Command::Completions { shell } => Ok(manual::completions(shell)),
        Command::Man { command, all } => manual::pages(globals, &command, all.as_deref()),
        Command::Doctor { send: true, on, .. } if on.aws => Err(doctor::sends_nothing_on_aws()),
        Command::Doctor { on, .. } if on.aws => {
            not_at_a_url(globals)?;
            aws::doctor(globals, &on.stack).await
        }
        Command::Doctor { report, send, reviewer, .. } => {
            let tests = if send { doctor::Tests::Send(reviewer) } else { doctor::Tests::None };
            doctor::run(globals, report.as_deref(), &tests).await
        }
    }
}

/// The policy file that a command means.
fn policy_file(named: Option<PathBuf>, globals: &Globals) -> Result<PathBuf, Failure> {
    named.or_else(|| globals.policy.clone()).ok_or_else(|| {
        Failure::usage("no policy file is named").advise(format!("name one, such as {}", init::FILE))
    })
}

/// A gate as its operator looks into it: the one of the data folder, or one on AWS.
struct Opened {
    gate: Arc<Gate>,
    store: Arc<dyn Store>,
    policy: Arc<Policy>,
}

impl Opened {
    async fn of(globals: &Globals, on: &Deployment) -> Result<Self, Failure> {
        if on.aws {
            not_at_a_url(globals)?;
            return aws::open(&on.stack).await;
        }
        no_url(globals)?;
        let local = LocalGate::for_command(Folder::existing(globals.data())?)?;
        let policy = local.policy().await?;
        Ok(Self { gate: local.gate, store: local.store, policy })
    }
}

/// Only a serving gate tells anybody. Says so, where none serves: what was committed waits for one.
fn say_who_will_tell(folder: &Folder) {
    if folder.served_by().is_none() {
        note(&format!(
            "no gate serves from `{}`: everybody concerned is told when one starts (`placet serve`)",
            folder.path().display()
        ));
    }
}

/// Commands that only the operator of the folder can do. An address that is given is never passed over: whoever names
/// one gate must not change another.
fn no_url(globals: &Globals) -> Result<(), Failure> {
    if globals.url.is_none() {
        return Ok(());
    }
    Err(Failure::usage("this needs the gate's data folder, not its --url")
        .advise("leave --url out, and name the folder with --data DIR"))
}

/// `--aws` and `--url` name two gates.
fn not_at_a_url(globals: &Globals) -> Result<(), Failure> {
    if globals.url.is_none() {
        return Ok(());
    }
    Err(Failure::usage("--aws and --url name two gates").advise("leave one of them out"))
}

/// A file's content; `-` is standard input.
fn read_input(path: &Path) -> Result<Vec<u8>, Failure> {
    let content = if path == Path::new("-") {
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut content).map(|_| content)
    } else {
        std::fs::read(path)
    };
    content.map_err(|error| Failure::file("cannot read", path, &error))
}

/// A file's JSON object.
fn read_object(path: &Path) -> Result<Value, Failure> {
    let value = parse_strict(&read_input(path)?)
        .map_err(|error| Failure::usage(format!("`{}` is not JSON: {error}", path.display())))?;
    if value.is_object() {
        return Ok(value);
    }
    Err(Failure::usage(format!("`{}` is not a JSON object", path.display()))
        .advise(r#"write it with braces, such as {"amount": 5000}"#))
}

/// The client that asks: the named one, or the only one that may.
fn asking_client<'p>(wanted: Option<&str>, policy: &'p Policy) -> Result<&'p Client, Failure> {
    let requesters: Vec<&Client> =
        policy.clients.iter().filter(|client| client.has(ClientRole::Requester)).collect();
    let names = || requesters.iter().map(|client| client.id.as_str()).collect::<Vec<_>>().join(", ");
    match (wanted, requesters.as_slice()) {
        (Some(wanted), _) => known_client(wanted, policy),
        (None, [only]) => Ok(only),
        (None, []) => Err(Failure::refused("no client of the policy has the role `requester`")
            .advise("add one: [[clients]] with id = \"ci\"")),
        (None, _) => {
            Err(Failure::usage("several clients may ask")
                .advise(format!("name one with --client: {}", names())))
        }
    }
}

/// The client of that name.
fn known_client<'p>(id: &str, policy: &'p Policy) -> Result<&'p Client, Failure> {
    ClientId::parse(id).ok().and_then(|id| policy.client(&id)).ok_or_else(|| {
        let names: Vec<&str> = policy.clients.iter().map(|client| client.id.as_str()).collect();
        Failure::refused(format!("no client `{id}` is in the policy")).with_code("no_such_client").advise(
            match names.as_slice() {
                [] => "it has no [[clients]] at all".to_owned(),
                names => format!("its clients are: {}", names.join(", ")),
            },
        )
    })
}

/// The gate at `--url`, if one is given. Beside a data folder, the client's own secret must be given too: the folder's
/// operator sees and does more than a client at an address, so that neither may stand in for the other.
fn address(globals: &Globals, on_aws: bool) -> Result<Option<&str>, Failure> {
    let Some(url) = globals.url.as_deref() else { return Ok(None) };
    if on_aws {
        not_at_a_url(globals)?;
    }
    if secret_of_environment().is_none() && globals.data().is_dir() {
        return Err(Failure::usage(format!(
            "{SECRET_VARIABLE} is not set: the gate at --url is asked with a client's secret"
        ))
        .with_code("secret_missing")
        .advise(format!(
            "set it to what `placet client secret ID` prints on its last line; or leave --url out, to use the folder `{}`",
            globals.data().display()
        )));
    }
    Ok(Some(url))
}

fn secret_of_environment() -> Option<String> {
    std::env::var(SECRET_VARIABLE).ok().filter(|secret| !secret.is_empty())
}

/// Beside the secret, the name of the client that it belongs to.
fn client_of_environment() -> Option<String> {
    secret_of_environment()?;
    std::env::var(CLIENT_VARIABLE).ok().filter(|client| !client.is_empty())
}

/// The API of the gate at `--url`, as that client: with the secret of the environment, or else of the data folder.
async fn api_at(
    url: &str,
    globals: &Globals,
    client: Option<&str>,
) -> Result<(Api, Option<LocalGate>), Failure> {
    let transport = Transport::network(url)?;
    if let Some(secret) = secret_of_environment() {
        let named = client_of_environment();
        let client = client.or(named.as_deref()).ok_or_else(|| {
            Failure::usage(format!("{SECRET_VARIABLE} is set, but not whose secret it is"))
                .advise(format!("name the client with --client ID, or in {CLIENT_VARIABLE}"))
        })?;
        return Ok((Api::new(transport, client, &secret), None));
    }
    if !globals.data().is_dir() {
        return Err(Failure::usage(format!("{SECRET_VARIABLE} is not set")).with_code("secret_missing").advise(format!(
            "set it to what `placet client secret {}` prints on its last line, or name the gate's folder with --data DIR",
            client.unwrap_or("ID")
        )));
    }
    let local = LocalGate::for_command(Folder::open(globals.data())?)?;
    let policy = match &globals.policy {
        Some(file) => {
            let text = read_policy_file(file)?;
            Arc::new(Policy::read(&text).map_err(|diagnostics| broken_policy(file, &diagnostics))?)
        }
        None => local.policy().await?,
    };
    let api = api_over(transport, &local, asking_client(client, &policy)?);
    Ok((api, Some(local)))
}

/// The API of a gate in this process, as that client.
fn api_here(local: &LocalGate, client: &Client) -> Api {
    let transport = Transport::Here(placet_http::app(Arc::clone(&local.gate)));
    api_over(transport, local, client)
}

/// The API over that transport, with the folder's own secret of that client.
fn api_over(transport: Transport, local: &LocalGate, client: &Client) -> Api {
    let secret = local.keys.held().current.client_secret(&client.id, client.generation);
    Api::new(transport, client.id.as_str(), secret.expose())
}

/// A result as JSON, over several lines. What hides is escaped: the same value for a program, harmless on a terminal.
fn pretty(value: &Value) -> String {
    let mut text = placet_core::words::escaped_json(&format!("{value:#}"));
    text.push('\n');
    text
}
