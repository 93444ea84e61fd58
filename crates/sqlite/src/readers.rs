//! A few connections that only read, shared by all threads.

use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};

use placet_gate::Fault;
use rusqlite::Connection;

use crate::{rows, schema};

/// Connections that only read. Each read takes one, and sees every commit that returned before.
pub(crate) struct Readers {
    idle: Mutex<Vec<Connection>>,
    returned: Condvar,
}

impl Readers {
    /// Opens so many connections.
    pub(crate) fn open(path: &Path, count: usize) -> Result<Self, Fault> {
        let idle = (0..count).map(|_| schema::open_to_read(path)).collect::<Result<_, _>>()?;
        Ok(Self { idle: Mutex::new(idle), returned: Condvar::new() })
    }

    /// Reads with one of the connections; waits for one if all are in use.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Fault> {
        let taken = self.take();
        let Some(connection) = &taken.connection else {
            return Err(Fault::bare("no database connection is left"));
        };
        read(connection).map_err(|error| rows::fault("the database could not be read", &error))
    }

    fn take(&self) -> Taken<'_> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let mut idle =
            self.returned.wait_while(idle, |idle| idle.is_empty()).unwrap_or_else(PoisonError::into_inner);
        Taken { from: self, connection: idle.pop() }
    }
}

/// A connection that goes back when its reader is done, or panics.
struct Taken<'r> {
    from: &'r Readers,
    connection: Option<Connection>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.from.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            self.from.returned.notify_one();
        }
    }
}
