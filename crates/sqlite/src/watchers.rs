//! Who waits for which request. Nothing of this is stored.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use placet_core::id::RequestKey;
use placet_gate::ports::Watch;
use tokio::sync::watch;

/// All watches that are held right now, by request, and those of everything.
#[derive(Default)]
pub(crate) struct Watchers {
    by_request: Mutex<HashMap<RequestKey, watch::Sender<()>>>,
    all: watch::Sender<()>,
}

/// A watch on everything.
pub(crate) struct PendingWatch(watch::Receiver<()>);

/// One watch. Its place is cleared when the last watch on the same request is dropped.
pub(crate) struct RequestWatch {
    all: Arc<Watchers>,
    key: RequestKey,
    changes: watch::Receiver<()>,
}

impl Watchers {
    /// Watches from now on.
    pub(crate) fn watch(self: &Arc<Self>, key: RequestKey) -> RequestWatch {
        let changes = self.lock().entry(key).or_insert_with(|| watch::Sender::new(())).subscribe();
        RequestWatch { all: Arc::clone(self), key, changes }
    }

    /// Watches everything from now on.
    pub(crate) fn watch_pending(&self) -> PendingWatch {
        PendingWatch(self.all.subscribe())
    }

    /// Wakes who waits for one of these.
    pub(crate) fn wake(&self, keys: impl IntoIterator<Item = RequestKey>) {
        let watched = self.lock();
        let mut some = false;
        for key in keys {
            some = true;
            if let Some(sender) = watched.get(&key) {
                sender.send_replace(());
            }
        }
        if some {
            self.all.send_replace(());
        }
    }

    /// Wakes everybody: somebody else has written, and there is no knowing what.
    pub(crate) fn wake_all(&self) {
        self.all.send_replace(());
        for sender in self.lock().values() {
            sender.send_replace(());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RequestKey, watch::Sender<()>>> {
        self.by_request.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Watch for PendingWatch {
    async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl Watch for RequestWatch {
    async fn changed(&mut self) {
        if self.changes.changed().await.is_err() {
            // Only a store that is gone has no sender, and nothing will ever change in it again.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for RequestWatch {
    fn drop(&mut self) {
        let mut watched = self.all.lock();
        // Nobody can subscribe while the lock is held, so the count is exact; it still counts this watch.
        if watched.get(&self.key).is_some_and(|sender| sender.receiver_count() <= 1) {
            watched.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_place_is_cleared_with_its_last_watch() {
        let all = Arc::new(Watchers::default());
        let key = RequestKey::from_bytes([1; 16]);
        let mut first = all.watch(key);
        let second = all.watch(key);
        drop(second);
        all.wake([key]);
        first.changed().await;
        assert_eq!(all.lock().len(), 1);
        drop(first);
        assert_eq!(all.lock().len(), 0);
    }
}
