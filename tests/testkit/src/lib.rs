//! What Placet's tests share: a clock set by hand, ports that record, the store's contract, random histories.
//!
//! Nothing here is part of the gate. The contract and the histories know a store only through its port, so that every
//! store passes the same ones.

#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "all of this runs in tests, where a panic is a failed test"
)]

mod clock;
pub mod contract;
pub mod golden;
pub mod history;
mod memory;
mod ports;
pub mod sample;
mod world;

use std::sync::Arc;

use async_trait::async_trait;
use placet_core::audit::AuditEntry;
use placet_gate::ports::Store;

pub use clock::FixedClock;
pub use memory::{MemoryStore, a_store_in_memory};
pub use ports::{HandKeys, RecordingDispatcher};
pub use world::{World, question};

/// A new, empty store to be tested.
pub struct Subject {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Its audit trail, which the port does not show.
    pub trail: Arc<dyn Trail>,
    /// The clock that it was made with.
    pub clock: Arc<FixedClock>,
}

/// Reads a store's audit trail. Whatever the store lives in (a folder, a server) is kept until this is dropped.
#[async_trait]
pub trait Trail: Send + Sync {
    /// The entries of that chain, from the first.
    async fn audit_of(&self, subject: &str) -> Vec<AuditEntry>;
}
