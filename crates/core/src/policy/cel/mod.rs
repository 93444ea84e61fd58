//! The Common Expression Language, as far as conditions need it: parsed by the `cel` crate, then checked, compiled and
//! evaluated here.
//!
//! Its own evaluator for four reasons: a budget of steps, JSON numbers that are doubles and are never copied, errors
//! in constant words, and times without a second database of zones. The crate's evaluator is what it is tested against.

mod budget;
mod compile;
mod eval;
mod library;
mod node;
mod pattern;
mod syntax;
#[cfg(test)]
mod tests;
mod time;
mod types;
mod value;

use eval::Evaluation;
use value::Value;

use super::totals::Earlier;
use super::{EvalError, Question};

pub(super) use compile::{Compiled, Findings, compile, compile_checked_before};
pub(super) use syntax::ConditionFault;

/// The steps that one request's conditions may still take, all together.
pub(super) struct Budget(budget::Budget);

impl Budget {
    pub(super) fn of_one_request() -> Self {
        Self(budget::Budget::new(budget::STEPS))
    }
}

impl Compiled {
    /// Evaluates the condition for that request.
    pub(super) fn test(
        &self,
        question: &Question<'_>,
        earlier: &Earlier,
        budget: &Budget,
    ) -> Result<bool, EvalError> {
        match Evaluation::new(question, earlier, &budget.0).value(&self.root)? {
            Value::Bool(truth) => Ok(truth),
            _ => Err(EvalError::NotBoolean),
        }
    }
}
