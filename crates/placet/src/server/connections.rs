//! The connections that are open, and which of them is closed for a new one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// How much of bodies that have not arrived to their end is held at once, in bytes. Beyond it the oldest of them are cut.
const UNFINISHED_BYTES: usize = 32 * 1024 * 1024;

/// How long it waits after it could not accept: mostly the system is out of file descriptors.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the connections have in common.
pub(super) struct Connections {
    places: Arc<Semaphore>,
    open: Mutex<HashMap<u64, Arc<Connection>>>,
    next: AtomicU64,
    began: Instant,
    unfinished_bytes: AtomicUsize,
}

/// One connection.
pub(super) struct Connection {
    all: Arc<Connections>,
    /// Since when its peer is waited for, in milliseconds since the start; [`WORKS`] while the gate works for it.
    waits_since: AtomicU64,
    /// What is held of a body that has not arrived to its end, in bytes.
    unfinished_bytes: AtomicUsize,
    close: Notify,
}

const WORKS: u64 = u64::MAX;

impl Connections {
    pub(super) fn new(most: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(most)),
            open: Mutex::default(),
            next: AtomicU64::new(0),
            began: Instant::now(),
            unfinished_bytes: AtomicUsize::new(0),
        }
    }

    /// A place for a new connection. Where all are taken, the oldest that waits for its peer is closed.
    pub(super) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        loop {
            if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
                return Some(place);
            }
            self.close_oldest();
            tokio::select! {
                place = Arc::clone(&self.places).acquire_owned() => return place.ok(),
                // Nothing was idle: all are worked for, which does not take long.
                () = tokio::time::sleep(ACCEPT_PAUSE) => {}
            }
        }
    }

    pub(super) fn open(self: &Arc<Self>) -> Entry {
        let connection = Arc::new(Connection {
            all: Arc::clone(self),
            waits_since: AtomicU64::new(0),
            unfinished_bytes: AtomicUsize::new(0),
            close: Notify::new(),
        });
        connection.waits_from_now();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(number, Arc::clone(&connection));
        Entry { number, connection }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the connection that has been waiting longest for its peer, if there is one.
    pub(super) fn close_oldest(&self) {
        let open = self.lock();
        let waiting = open.values().filter(|connection| connection.is_waiting());
        if let Some(oldest) = waiting.min_by_key(|connection| connection.waits_since.load(Ordering::Relaxed))
        {
            oldest.cut();
        }
    }

    fn holds_too_much(&self) -> bool {
        self.unfinished_bytes.load(Ordering::Relaxed) > UNFINISHED_BYTES
    }

    /// Cuts the oldest bodies that are still on their way, until what is left fits.
    fn cut_unfinished(&self) {
        let open = self.lock();
        let mut unfinished: Vec<_> = open
            .values()
            .filter(|connection| {
                connection.is_waiting() && connection.unfinished_bytes.load(Ordering::Relaxed) > 0
            })
            .collect();
        unfinished.sort_by_key(|connection| connection.waits_since.load(Ordering::Relaxed));
        let mut held = self.unfinished_bytes.load(Ordering::Relaxed);
        for connection in unfinished {
            if held <= UNFINISHED_BYTES {
                break;
            }
            held = held.saturating_sub(connection.unfinished_bytes.load(Ordering::Relaxed));
            connection.cut();
        }
    }
}

impl Connection {
    pub(super) fn since_start(&self) -> u64 {
        u64::try_from(self.all.began.elapsed().as_millis()).unwrap_or(WORKS - 1)
    }

    /// Its peer is waited for, since now.
    pub(super) fn waits_from_now(&self) {
        self.waits(self.since_start());
    }

    /// Its peer is waited for, since that time after the start, in milliseconds.
    pub(super) fn waits(&self, since: u64) {
        self.waits_since.store(since, Ordering::Relaxed);
    }

    pub(super) fn works(&self) {
        self.waits_since.store(WORKS, Ordering::Relaxed);
    }

    fn is_waiting(&self) -> bool {
        self.waits_since.load(Ordering::Relaxed) != WORKS
    }

    /// So many bytes more are held of a body that has not arrived to its end. Where that is too much, the oldest are cut.
    pub(super) fn holds(&self, bytes: usize) {
        self.unfinished_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.all.unfinished_bytes.fetch_add(bytes, Ordering::Relaxed);
        if self.all.holds_too_much() {
            self.all.cut_unfinished();
        }
    }

    /// So many bytes are held no longer: the body is whole, or given up.
    pub(super) fn lets_go(&self, bytes: usize) {
        self.unfinished_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.all.unfinished_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether so much is held of all bodies that none may be read on.
    pub(super) fn must_not_read(&self) -> bool {
        self.all.holds_too_much()
    }

    /// Until it is to be closed for others.
    pub(super) async fn closed(&self) {
        self.close.notified().await;
    }

    /// Closes it, whatever it does.
    fn cut(&self) {
        // Not again: the next one that is looked for must be another.
        self.works();
        self.close.notify_one();
    }
}

/// A connection's entry among the open ones, until it is dropped.
pub(super) struct Entry {
    number: u64,
    pub(super) connection: Arc<Connection>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.connection.all.lock().remove(&self.number);
    }
}
