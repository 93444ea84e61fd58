//! Ports that do nothing but remember what they were told.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use placet_core::Timestamp;
use placet_core::keys::{Keyring, PushKey, Secret};
use placet_gate::Fault;
use placet_gate::ports::{Closing, Dispatch, Dispatcher, Keys, OutboxMessage};

/// Delivers nothing, and remembers what it was handed.
#[derive(Default)]
pub struct RecordingDispatcher(Mutex<Vec<Dispatch>>);

impl RecordingDispatcher {
    /// Everything that was handed over since the last look.
    pub fn take(&self) -> Vec<Dispatch> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// The messages that were handed over since the last look.
    pub fn take_messages(&self) -> Vec<OutboxMessage> {
        self.take().into_iter().flat_map(|work| work.messages).collect()
    }

    /// What was to be looked at, and when, since the last look.
    pub fn take_closing(&self) -> Vec<Closing> {
        self.take().into_iter().filter_map(|work| work.closing).collect()
    }
}

#[async_trait]
impl Dispatcher for RecordingDispatcher {
    async fn dispatch(&self, work: Dispatch) {
        self.0.lock().unwrap().push(work);
    }
}

/// A keyring in memory, rotated by hand. Its secrets are not random.
pub struct HandKeys(Mutex<Arc<Keyring>>);

impl HandKeys {
    /// A keyring in its first epoch.
    pub fn new(now: Timestamp) -> Self {
        let (master, seed) = secrets(1);
        Self(Mutex::new(Arc::new(Keyring::first(master, seed, now))))
    }

    /// From now on pushes are signed with that key.
    pub fn take_push_key(&self, key: PushKey) {
        let mut ring = self.0.lock().unwrap();
        *ring = Arc::new(Keyring { push: Some(key), ..Keyring::clone(&ring) });
    }

    /// The keyring as it is.
    pub fn ring(&self) -> Arc<Keyring> {
        Arc::clone(&self.0.lock().unwrap())
    }

    /// Begins the next epoch.
    pub fn rotate(&self, now: Timestamp) -> Arc<Keyring> {
        let mut ring = self.0.lock().unwrap();
        let (master, seed) = secrets(ring.current.number + 1);
        *ring = Arc::new(ring.rotated(master, seed, now));
        Arc::clone(&ring)
    }
}

fn secrets(epoch: u32) -> (Secret, Secret) {
    let mut bytes = [0; 32];
    bytes.iter_mut().zip(epoch.to_le_bytes()).for_each(|(to, from)| *to = from);
    let master = Secret::new(bytes);
    bytes.reverse();
    (master, Secret::new(bytes))
}

#[async_trait]
impl Keys for HandKeys {
    async fn keyring(&self) -> Result<Arc<Keyring>, Fault> {
        Ok(self.ring())
    }

    async fn refreshed(&self) -> Result<Arc<Keyring>, Fault> {
        Ok(self.ring())
    }
}
