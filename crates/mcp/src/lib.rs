//! Placet as an MCP server: an agent asks, waits and verifies. There is no tool that decides.
//!
//! It is a client of the gate's HTTP API and nothing more: what it may do is what its caller's credentials may do.
//! `sdk` serves over MCP's official SDK: over stdio it signs as one client; over Streamable HTTP it hands on each caller's
//! own bearer key. `stateless` answers the same over HTTP without that SDK, for a function that must stay small. What the
//! tools do and say is in `tools`, `tasks` and `definitions`, for both.

mod arguments;
mod definitions;
pub mod gate;
pub mod names;
pub mod patience;
#[cfg(feature = "sdk")]
mod sdk;
#[cfg(feature = "stateless")]
mod stateless;
mod tasks;
mod tools;
mod upstream;
pub mod wrap;

#[cfg(feature = "sdk")]
pub use sdk::{PlacetServer, service};
#[cfg(feature = "stateless")]
pub use stateless::{InProcess, Stateless};
pub use upstream::{Answer, Call, Reply, Upstream};

/// The largest message, in bytes: what the gate itself reads of a question, and the envelope.
#[cfg(any(feature = "sdk", feature = "stateless"))]
const MESSAGE_BYTES: usize = 576 * 1024;
