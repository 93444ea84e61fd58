//! Conditions of rules: expressions of the Common Expression Language over one request (<https://cel.dev>).

use std::fmt;
use std::sync::OnceLock;

use super::Question;
use super::cel::{Budget, Compiled, ConditionFault, Findings, compile, compile_checked_before};
use super::totals::{Earlier, Gauge};

/// A condition.
pub struct Condition {
    source: String,
    /// Compiled at once, or by the first test.
    compiled: OnceLock<Result<Compiled, EvalError>>,
}

/// What a condition says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    True,
    /// It does not.
    False,
    /// It could not be evaluated.
    Error(EvalError),
}

/// Why a condition could not be evaluated: constant words, so that nothing of a payload gets into a record by this way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// The request lacks what the condition reads.
    #[error("a field that the condition reads is missing")]
    MissingField,
    /// An operator or a function met a value of a type that it does not take.
    #[error("a value has a type that the condition cannot use")]
    WrongType,
    /// Division by zero, a number or a time out of range, an index beyond the list.
    #[error("a number, a time or a place in a list is out of range")]
    OutOfRange,
    /// A text that should be a number, a time or a duration is none.
    #[error("a text cannot be read as the condition needs it")]
    Unreadable,
    /// Neither true nor false.
    #[error("the condition is neither true nor false")]
    NotBoolean,
    /// The budget of steps is used up.
    #[error("the conditions need more steps than one request may take")]
    TooManySteps,
    /// The installed policy holds a condition that this version cannot read.
    #[error("this version cannot read the condition")]
    NotCompiled,
}

impl Condition {
    /// Compiles, and refuses what could never be evaluated. Also returns what was noticed.
    pub(super) fn compile(source: &str) -> Result<(Self, Findings), Vec<ConditionFault>> {
        let (compiled, findings) = compile(source)?;
        Ok((Self { source: source.into(), compiled: OnceLock::from(Ok(compiled)) }, findings))
    }

    /// One that has been checked before, and is compiled when it is first tested.
    pub(super) fn unchecked(source: &str) -> Self {
        Self { source: source.into(), compiled: OnceLock::new() }
    }

    /// Evaluates it for that request, with the steps that are left to it.
    pub(super) fn test(&self, question: &Question<'_>, earlier: &Earlier, budget: &Budget) -> Verdict {
        let tested = self.compiled().and_then(|compiled| compiled.test(question, earlier, budget));
        match tested {
            Ok(true) => Verdict::True,
            Ok(false) => Verdict::False,
            Err(error) => Verdict::Error(error),
        }
    }

    fn compiled(&self) -> Result<&Compiled, EvalError> {
        let compiled = self
            .compiled
            .get_or_init(|| compile_checked_before(&self.source).map_err(|_| EvalError::NotCompiled));
        compiled.as_ref().map_err(|error| *error)
    }

    /// The running totals that it speaks of. Compiles only a condition that may speak of one.
    pub(crate) fn gauges(&self) -> Vec<Gauge> {
        if !["total", "count"].into_iter().any(|name| self.source.contains(name)) {
            return Vec::new();
        }
        self.compiled().map(|compiled| compiled.gauges.clone()).unwrap_or_default()
    }

    /// The text in the policy.
    pub fn source(&self) -> &str {
        &self.source
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Condition({:?})", self.source)
    }
}
