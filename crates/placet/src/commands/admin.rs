//! `placet admin link`: a link to the operator's page, which ends by itself.

use placet_core::admin_link::AdminLink;
use placet_gate::ports::Keys as _;
use serde_json::json;

use crate::cli::{AdminCommand, Globals};
use crate::console::{note, print};
use crate::failure::{Exit, Failure};
use crate::folder::Folder;
use crate::local::LocalGate;
use crate::text::{clock_time, span};

/// Prints the link, alone on the last line.
pub(crate) async fn run(globals: &Globals, command: AdminCommand) -> Result<Exit, Failure> {
    let AdminCommand::Link { valid_for } = command;
    super::no_url(globals)?;
    let local = LocalGate::for_command(Folder::existing(globals.data())?)?;
    let policy = local.policy().await?;
    let valid_ms = i64::try_from(valid_for.as_millis()).unwrap_or(i64::MAX);
    let ends = local.now().plus_millis(valid_ms);
    let keyring = local.keys.keyring().await?;
    let link =
        AdminLink::mint(&keyring.current, ends).ok_or_else(|| Failure::fault("the clock is before 1970"))?;
    let url = format!("{}/admin/{link}", local.gate.base_url(&policy));
    if globals.json {
        print(&super::pretty(&json!({ "link": url, "expires_at": ends.to_string() })));
        return Ok(Exit::Done);
    }
    if local.folder.served_by().is_none() {
        note("no gate serves from this folder: the page opens once one does (`placet serve`)");
    }
    note(&format!(
        "until {} ({}), whoever has this link sees what waits and can send tests",
        clock_time(ends),
        span(valid_ms)
    ));
    print(&format!("{url}\n"));
    Ok(Exit::Done)
}
