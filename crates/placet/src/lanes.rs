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

/// The lanes to all hosts.
pub(crate) struct Lanes {
    hosts: Mutex<HashMap<String, Arc<Lane>>>,
    in_all: Arc<Semaphore>,
}

struct Lane {
    free: Arc<Semaphore>,
    here: AtomicUsize,
}

/// Leave to post; given back when it is dropped.
pub(crate) struct Pass<'l> {
    lanes: &'l Lanes,
    host: String,
    lane: Arc<Lane>,
    permits: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
}

impl Default for Lanes {
    fn default() -> Self {
        Self { hosts: Mutex::default(), in_all: Arc::new(Semaphore::new(IN_ALL)) }
    }
}

impl Lanes {
    /// Waits for its turn at that host. `None` where too many wait, or it takes too long.
    pub(crate) async fn enter(&self, host: &str) -> Option<Pass<'_>> {
        let lane = {
            let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            let lane = hosts.entry(host.to_owned()).or_insert_with(|| {
                Arc::new(Lane { free: Arc::new(Semaphore::new(PER_HOST)), here: AtomicUsize::new(0) })
            });
            lane.here.fetch_add(1, Ordering::Relaxed);
            Arc::clone(lane)
        };
        // From here on, its drop counts it out again.
        let mut pass = Pass { lanes: self, host: host.to_owned(), lane, permits: None };
        if pass.lane.here.load(Ordering::Relaxed) > PER_HOST + QUEUE_PER_HOST {
            return None;
        }
        let turn = async {
            // The host's turn first: who waits for a slow host must not hold a place that others could use.
            let of_host = Arc::clone(&pass.lane.free).acquire_owned().await.ok()?;
            let of_all = Arc::clone(&self.in_all).acquire_owned().await.ok()?;
            Some((of_host, of_all))
        };
        pass.permits = Some(tokio::time::timeout(PATIENCE, turn).await.ok().flatten()?);
        Some(pass)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.permits = None;
        let mut hosts = self.lanes.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if self.lane.here.fetch_sub(1, Ordering::Relaxed) == 1 {
            hosts.remove(&self.host);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_host_that_holds_every_lane_of_its_own_leaves_other_hosts_alone() {
        let lanes = Lanes::default();
        let mut held = Vec::new();
        for _ in 0..PER_HOST {
            held.push(lanes.enter("dead").await);
        }
        assert!(held.iter().all(Option::is_some));
        assert!(lanes.enter("alive").await.is_some());
        assert!(lanes.enter("dead").await.is_none());
        held.pop();
        assert!(lanes.enter("dead").await.is_some());
        drop(held);
        assert!(lanes.hosts.lock().unwrap().is_empty());
    }
}
