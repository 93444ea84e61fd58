//! How many callbacks are under way at once: few per host, so that a dead one holds up nobody else.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Posts to one host at once.
const PER_HOST: usize = 64;

/// Posts that may wait for one host; more are put off without waiting.
const QUEUE_PER_HOST: usize = 1024;

/// Posts at once.
const IN_ALL: usize = 512;

/// How long a post waits for its turn. With the time of one try it stays below the lease of a message.
const PATIENCE: Duration = Duration::from_secs(15);

/// The limiter to all hosts.
pub(crate) struct HostLimiter {
    hosts: Mutex<HashMap<String, Arc<HostSlots>>>,
    in_all: Arc<Semaphore>,
}

struct HostSlots {
    free: Arc<Semaphore>,
    here: AtomicUsize,
}

/// Leave to post; given back when it is dropped.
pub(crate) struct Permit<'l> {
    limiter: &'l HostLimiter,
    host: String,
    slots: Arc<HostSlots>,
    permits: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
}

impl Default for HostLimiter {
    fn default() -> Self {
        Self { hosts: Mutex::default(), in_all: Arc::new(Semaphore::new(IN_ALL)) }
    }
}

impl HostLimiter {
    /// Waits for its turn at that host. `None` where too many wait, or it takes too long.
    pub(crate) async fn enter(&self, host: &str) -> Option<Permit<'_>> {
        let slots = {
            let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            let slots = hosts.entry(host.to_owned()).or_insert_with(|| {
                Arc::new(HostSlots { free: Arc::new(Semaphore::new(PER_HOST)), here: AtomicUsize::new(0) })
            });
            slots.here.fetch_add(1, Ordering::Relaxed);
            Arc::clone(slots)
        };
        // From here on, its drop counts it out again.
        let mut pass = Permit { limiter: self, host: host.to_owned(), slots, permits: None };
        if pass.slots.here.load(Ordering::Relaxed) > PER_HOST + QUEUE_PER_HOST {
            return None;
        }
        let turn = async {
            // The host's turn first: who waits for a slow host must not hold a place that others could use.
            let of_host = Arc::clone(&pass.slots.free).acquire_owned().await.ok()?;
            let of_all = Arc::clone(&self.in_all).acquire_owned().await.ok()?;
            Some((of_host, of_all))
        };
        pass.permits = Some(tokio::time::timeout(PATIENCE, turn).await.ok().flatten()?);
        Some(pass)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.permits = None;
        let mut hosts = self.limiter.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if self.slots.here.fetch_sub(1, Ordering::Relaxed) == 1 {
            hosts.remove(&self.host);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_host_that_holds_every_lane_of_its_own_leaves_other_hosts_alone() {
        let limiter = HostLimiter::default();
        let mut held = Vec::new();
        for _ in 0..PER_HOST {
            held.push(limiter.enter("dead").await);
        }
        assert!(held.iter().all(Option::is_some));
        assert!(limiter.enter("alive").await.is_some());
        assert!(limiter.enter("dead").await.is_none());
        held.pop();
        assert!(limiter.enter("dead").await.is_some());
        drop(held);
        assert!(limiter.hosts.lock().unwrap().is_empty());
    }
}
