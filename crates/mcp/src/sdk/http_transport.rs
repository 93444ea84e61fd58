//! The Streamable HTTP transport. Who may call is checked before it, by whoever mounts it.

use std::sync::Arc;

use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};

use super::PlacetServer;
use crate::{MESSAGE_BYTES, Upstream};

/// The server as a tower service, to be mounted at `/mcp`.
///
/// It keeps no sessions: nothing is lost when the gate is restarted, and no session can be taken over. A `Host` is
/// not checked, for a gate stands behind proxies of any name, and a page that was bound to another name has no bearer
/// key to send. Browsers are refused by their `Origin`.
pub fn service(gate: Arc<dyn Upstream>) -> StreamableHttpService<PlacetServer, NeverSessionManager> {
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .disable_allowed_hosts()
        .enforce_origin_validation()
        .with_max_request_body_bytes(MESSAGE_BYTES);
    StreamableHttpService::new(
        move || Ok(PlacetServer::new(Arc::clone(&gate))),
        Arc::new(NeverSessionManager::default()),
        config,
    )
}
