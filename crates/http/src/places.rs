//! How many calls of one client may wait at the same time, so that no client takes the connections of all.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use placet_core::id::ClientId;

/// How many calls of one client may wait for an outcome at the same time.
///
/// More than a client has pending requests by default (200), and an eighth of the local gate's connections.
pub(crate) const WAITS_PER_CLIENT: usize = 512;

/// Who waits, and how often.
#[derive(Default)]
pub(crate) struct Places {
    waiting: Mutex<HashMap<ClientId, usize>>,
}

impl Places {
    /// A place to wait in; none if all places of this client are taken.
    pub(crate) fn wait(self: &Arc<Self>, client: &ClientId) -> Option<WaitPlace> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let count = waiting.entry(client.clone()).or_default();
        if *count >= WAITS_PER_CLIENT {
            return None;
        }
        *count += 1;
        Some(WaitPlace(Some((Arc::clone(self), client.clone()))))
    }
}

/// One place, given back when it is dropped: also when the caller hangs up.
pub(crate) struct WaitPlace(Option<(Arc<Places>, ClientId)>);

impl WaitPlace {
    /// A place that nobody counts.
    pub(crate) const fn uncounted() -> Self {
        Self(None)
    }
}

impl Drop for WaitPlace {
    fn drop(&mut self) {
        let Some((places, client)) = self.0.take() else { return };
        let mut waiting = places.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = waiting.entry(client) {
            let left = entry.get().saturating_sub(1);
            if left == 0 {
                entry.remove();
            } else {
                entry.insert(left);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_takes_its_own_places_and_gives_them_back() {
        let places = Arc::new(Places::default());
        let (a, b) = (ClientId::parse("a").unwrap(), ClientId::parse("b").unwrap());
        let mut taken: Vec<_> = (0..WAITS_PER_CLIENT).map(|_| places.wait(&a).unwrap()).collect();
        assert!(places.wait(&a).is_none());
        assert!(places.wait(&b).is_some());
        taken.pop();
        taken.push(places.wait(&a).unwrap());
        assert!(places.wait(&a).is_none());
        taken.clear();
        assert!(places.waiting.lock().unwrap().is_empty());
    }
}
