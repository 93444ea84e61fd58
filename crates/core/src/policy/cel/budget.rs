//! The budget of steps that all conditions together may take for one request.

use std::cell::Cell;

use super::super::EvalError;

/// What a request's conditions may take. A plain condition takes about ten steps; the number is such that the worst
/// one takes a few milliseconds, and that a list as long as a payload can hold may be looked through.
pub(super) const STEPS: usize = 200_000;

/// Steps that are left.
#[derive(Debug)]
pub(super) struct Budget(Cell<usize>);

impl Budget {
    pub(super) fn new(steps: usize) -> Self {
        Self(Cell::new(steps))
    }

    /// Takes that many steps, or fails for good.
    pub(super) fn spend(&self, steps: usize) -> Result<(), EvalError> {
        if let Some(left) = self.0.get().checked_sub(steps) {
            self.0.set(left);
            return Ok(());
        }
        self.0.set(0);
        Err(EvalError::TooManySteps)
    }

    /// Takes the steps of reading or writing that many bytes.
    pub(super) fn spend_bytes(&self, bytes: usize) -> Result<(), EvalError> {
        self.spend(bytes / 16)
    }
}
