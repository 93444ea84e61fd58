//! `placet mcp`: the MCP server over standard input and output, for one agent on this machine.

use std::sync::Arc;

use placet_mcp::PlacetServer;

use crate::api::Transport;
use crate::cli::{Globals, Mcp};
use crate::failure::{Exit, Failure};
use crate::folder::Folder;
use crate::local::LocalGate;
use crate::mcp::Signs;
use crate::signals::Signals;

/// Serves until the agent closes its side.
pub(crate) async fn run(globals: &Globals, options: Mcp) -> Result<Exit, Failure> {
    let mut signals = Signals::catch()?;
    let (api, _local) = if let Some(url) = &globals.url {
        super::api_at(url, globals, options.client.as_deref()).await?
    } else {
        let folder = Folder::existing(globals.data())?;
        let url = folder.served_at().ok_or_else(|| {
            Failure::refused("no gate serves from this data folder")
                .advise("start one with `placet serve`, or name a gate's address with --url")
        })?;
        let local = LocalGate::for_command(folder)?;
        let policy = local.policy().await?;
        let client = super::asking_client(options.client.as_deref(), &policy)?;
        (super::api_over(Transport::network(&url)?, &local, client), Some(local))
    };
    let mut server = PlacetServer::new(Arc::new(Signs(api)));
    if options.permission_prompt {
        server = server.with_permission_prompt();
    }
    let mut exit = Exit::Done;
    server.serve_stdio(async { exit = signals.next().await }).await.map_err(Failure::fault)?;
    Ok(exit)
}
