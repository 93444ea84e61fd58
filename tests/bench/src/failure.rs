//! Why a measurement could not be made. No time, however long, is a failure.

use std::fmt;

/// A result of this program.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// What went wrong, in one line for whoever ran the program.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    /// What could not be done, and why.
    pub(crate) fn new(what: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self(format!("{what}: {why}"))
    }

    /// What is wrong, where there is no cause to add.
    pub(crate) fn bare(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}
