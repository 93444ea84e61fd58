//! A gate before any MCP server's tools: lines of JSON-RPC between a client and a server, over standard input and output.
//!
//! Each `tools/call` is asked of the gate, and goes to the server only once its approval is redeemed; everything else
//! passes through unchanged. The client's lines are read here and written anew (`message.rs`); the server's pass as they
//! come. Not gated are resources, prompts and completions: by the protocol they only read.

mod call;
mod lines;
mod message;
mod pins;
mod session;
mod tasks;

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::lines::Lines;
use self::message::{CLIENT_LINE_BYTES, SERVER_LINE_BYTES};
pub use self::pins::Pins;
use self::session::Session;
use crate::gate::GateClient;

/// Lines that wait for a slow reader.
const BACKLOG: usize = 64;

/// How long calls and withdrawals that are under way may take at the end.
const END_TIMEOUT: Duration = Duration::from_secs(6);

/// How long the server may take to end by itself once its input is closed.
pub const SERVER_TIMEOUT: Duration = Duration::from_secs(2);

/// How a server is wrapped.
pub struct Wrap {
    /// The server's name in actions: `mcp.<name>.<tool>`. At most 40 of `A-Za-z0-9_-`.
    pub name: String,
    /// The gate that is asked.
    pub gate: GateClient,
    /// The definitions that were approved.
    pub pins: Pins,
    /// After so long a call that nobody has answered returns "still waiting": clients give up on a call after 60 seconds.
    pub answer_after: Duration,
    /// When a question expires at the latest, if not by the rule.
    pub timeout_seconds: Option<u64>,
}

/// Why the wrapper ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The client has closed its side.
    ClientGone,
    /// The server has closed its side.
    ServerGone,
    /// It was told to.
    Stopped,
}

impl Wrap {
    /// Serves until a side closes, or `stop` comes. Then everything that is still asked is withdrawn, and the server's
    /// input is closed.
    pub async fn serve(
        self,
        client: (impl AsyncRead + Unpin + Send + 'static, impl AsyncWrite + Unpin + Send + 'static),
        server: (impl AsyncRead + Unpin + Send + 'static, impl AsyncWrite + Unpin + Send + 'static),
        stop: impl Future<Output = ()>,
    ) -> Ended {
        let (to_client, client_lines) = mpsc::channel(BACKLOG);
        let (to_server, server_lines) = mpsc::channel(BACKLOG);
        let client_writer = tokio::spawn(lines::write(client_lines, client.1));
        let server_writer = tokio::spawn(lines::write(server_lines, server.1));
        let session = Arc::new(Session::new(self, to_client, to_server));
        let mut from_server = tokio::spawn(
            Arc::clone(&session).pass_on(Lines::new(BufReader::new(server.0), SERVER_LINE_BYTES)),
        );
        let mut from_client = Lines::new(BufReader::new(client.0), CLIENT_LINE_BYTES);
        let mut calls = JoinSet::new();
        tokio::pin!(stop);
        let ended = loop {
            tokio::select! {
                line = from_client.next() => match line {
                    Ok(Some(line)) => session.take(line, &mut calls).await,
                    Ok(None) | Err(_) => break Ended::ClientGone,
                },
                Some(_) = calls.join_next(), if !calls.is_empty() => {}
                _ = &mut from_server => break Ended::ServerGone,
                () = &mut stop => break Ended::Stopped,
            }
        };
        // Who waits for a person withdraws now; what is being done is waited for.
        session.close();
        let _ = tokio::time::timeout(END_TIMEOUT, async {
            while calls.join_next().await.is_some() {}
            session.withdraw_parked().await;
        })
        .await;
        calls.abort_all();
        session.close_server();
        // A task that has ended must not be waited for again.
        if ended != Ended::ServerGone && tokio::time::timeout(SERVER_TIMEOUT, &mut from_server).await.is_err()
        {
            from_server.abort();
            let _ = from_server.await;
        }
        server_writer.abort();
        while calls.join_next().await.is_some() {}
        drop(session);
        let _ = tokio::time::timeout(SERVER_TIMEOUT, client_writer).await;
        ended
    }
}
