//! `placet mcp`: the MCP server over standard input and output, for one agent on this machine.

use std::sync::Arc;

use placet_mcp::PlacetServer;

use crate::api::{Api, Transport};
use crate::cli::{Globals, Mcp};
use crate::failure::{Exit, Failure};
use crate::folder::Folder;
use crate::local::LocalGate;
use crate::mcp::{FromFolder, Signs, Way};
use crate::signals::Signals;

/// Serves until the agent closes its side.
pub(crate) async fn run(globals: &Globals, options: Mcp) -> Result<Exit, Failure> {
    let mut signals = Signals::catch()?;
    let mut server = PlacetServer::new(Arc::new(upstream(globals, options.client.as_deref()).await?));
    if options.permission_prompt {
        server = server.with_permission_prompt();
    }
    let mut exit = Exit::Done;
    server.serve_stdio(async { exit = signals.next().await }).await.map_err(Failure::fault)?;
    Ok(exit)
}

/// The gate at `--url`, or the one that serves from the data folder, as that client.
pub(crate) async fn upstream(globals: &Globals, client: Option<&str>) -> Result<Way, Failure> {
    if let Some(url) = &globals.url {
        let (api, _) = super::api_at(url, globals, client).await?;
        return Ok(Way::Fixed(Signs(api)));
    }
    let path = globals.data().to_owned();
    let client = client.map(str::to_owned);
    let api = in_folder(&path, client.as_deref()).await?;
    Ok(Way::Folder(FromFolder::new(api, path, client)))
}

/// The gate that serves from a folder, with the folder's own secret of that client.
pub(crate) async fn in_folder(path: &std::path::Path, client: Option<&str>) -> Result<Api, Failure> {
    let folder = Folder::existing(path)?;
    let url = folder.served_at().ok_or_else(|| {
        Failure::refused("no gate serves from this data folder")
            .advise("start one with `placet serve`, or name a gate's address with --url")
    })?;
    let local = LocalGate::for_command(folder)?;
    let policy = local.policy().await?;
    let client = super::asking_client(client, &policy)?;
    Ok(super::api_over(Transport::network(&url)?, &local, client))
}
