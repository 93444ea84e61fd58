//! How long the gate takes from its start to the line that says it serves.

use std::path::Path;

use crate::failure::Result;
use crate::gate::Gate;
use crate::samples::Samples;

/// How often each kind of start is timed.
const STARTS: usize = 20;

/// Starts on a data folder that has been used.
pub(crate) fn again(binary: &Path, place: &Path, name: &str) -> Result<Samples> {
    // One that is not timed: it may find work that the load left behind.
    one(binary, place, name)?;
    (0..STARTS).map(|_| one(binary, place, name)).collect()
}

/// Starts without a data folder: keys, database and policy are made on the way.
pub(crate) fn anew(binary: &Path, place: &Path) -> Result<Samples> {
    (0..STARTS).map(|number| one(binary, place, &format!("new-{number}"))).collect()
}

fn one(binary: &Path, place: &Path, name: &str) -> Result<std::time::Duration> {
    let gate = Gate::start(binary, place, name)?;
    let ready_after = gate.server.ready_after;
    gate.server.stop()?;
    Ok(ready_after)
}
