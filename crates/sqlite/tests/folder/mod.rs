//! A database in a folder of its own, which goes away with it.

#![expect(clippy::unwrap_used, reason = "a panic is a failed test")]

use std::sync::Arc;

use async_trait::async_trait;
use placet_core::audit::AuditEntry;
use placet_sqlite::SqliteStore;
use placet_testkit::{FixedClock, Subject, Trail};
use tempfile::TempDir;

struct InFolder {
    store: SqliteStore,
    _folder: TempDir,
}

#[async_trait]
impl Trail for InFolder {
    async fn audit_of(&self, subject: &str) -> Vec<AuditEntry> {
        self.store.audit_of(subject).await.unwrap()
    }
}

/// A new store.
pub(crate) fn store_in_a_folder(clock: Arc<FixedClock>) -> impl Future<Output = Subject> {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("gate.db"), clock.clone()).unwrap();
    let trail = Arc::new(InFolder { store: store.clone(), _folder: folder });
    std::future::ready(Subject { store: Arc::new(store), trail, clock })
}
