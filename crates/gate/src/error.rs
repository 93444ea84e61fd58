//! The two ways in which a use case fails: the caller's fault, and ours.

pub use placet_core::Fault;
use placet_core::Refusal;

/// Why a use case did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller's fault. Nothing has changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too late: it has ended. With the recorded outcome.
    #[error("the request has already ended")]
    Ended(Box<placet_core::request::Request>),
    /// Our fault. Nothing was approved.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Error {
    /// What failed, with all its causes, in one line for the log.
    pub fn chain(&self) -> String {
        match self {
            Self::Fault(fault) => fault.chain(),
            Self::Refused(_) | Self::Ended(_) => self.to_string(),
        }
    }
}
