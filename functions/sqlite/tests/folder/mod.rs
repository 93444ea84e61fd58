//! A database in a folder of its own, which goes away with it.

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
#[expect(clippy::unused_async, reason = "other stores are made over a network")]
pub(crate) async fn store_in_a_folder(clock: Arc<FixedClock>) -> Subject {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("gate.db"), clock.clone()).unwrap();
    Subject { store: Arc::new(store.clone()), trail: Arc::new(InFolder { store, _folder: folder }), clock }
}
