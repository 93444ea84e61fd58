//! Conditions of rules: CEL expressions over one request (the `cel` crate; <https://cel.dev>).
//!
//! `matches` is CEL's, over `regex-lite`: linear in time, and `\d`, `\w` and `\b` are ASCII as in RE2, which CEL names.
//! Classes of Unicode (`\p{…}`) are refused; their tables would be a tenth of each Lambda.

use std::fmt;
use std::sync::{Arc, LazyLock, OnceLock};

use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue};
use cel::common::types::{CelBool, CelString};
use cel::objects::{Key, Value};
use cel::{Context, DeclarationError, Env, ExecutionError, Program};
use regex_lite::Regex;
use serde_json::Value as Json;

use super::Question;

/// What a condition may speak of.
pub const VARIABLES: [&str; 5] = ["action", "client", "metadata", "payload", "summary"];

/// The standard library, built once: building it costs more than evaluating a rule.
static STANDARD: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    // Refused only if the crate has a `matches` itself; then that one is used.
    let _ = env.add_extension(|env| -> Result<(), DeclarationError> {
        cel::add_overload!(env, fn matches: (CelString, CelString) -> Result<CelBool>, id = "matches")?;
        cel::add_member_overload!(env, fn matches: (CelString, CelString) -> Result<CelBool>)
    });
    Arc::new(env)
});

/// A condition.
pub struct Condition {
    source: String,
    /// Compiled at once, or by the first test.
    program: OnceLock<Result<Program, EvalError>>,
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
    #[error("a value is out of range")]
    OutOfRange,
    /// A text that should be a number, a time or a duration is none.
    #[error("a text cannot be read as the condition wants it")]
    Unreadable,
    /// Neither true nor false.
    #[error("the condition is neither true nor false")]
    NotBoolean,
    /// The budget of steps is used up.
    #[error("the condition needs more steps than it may take")]
    TooManySteps,
    /// The installed policy holds a condition that this version cannot read.
    #[error("this version cannot read the condition")]
    NotCompiled,
}

impl Condition {
    /// Compiles, and refuses variables and functions that do not exist.
    pub fn compile(source: &str) -> Result<Self, Vec<String>> {
        let program = program(source)?;
        let mut faults = Vec::new();
        check_names(program.expression(), &mut Vec::new(), &mut faults);
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Self { source: source.into(), program: OnceLock::from(Ok(program)) })
    }

    /// One that has been checked before, and is compiled when it is first tested.
    pub(super) fn unchecked(source: &str) -> Self {
        Self { source: source.into(), program: OnceLock::new() }
    }

    /// Evaluates it for that request.
    pub fn test(&self, facts: &Facts) -> Verdict {
        let compiled = self.program.get_or_init(|| program(&self.source).map_err(|_| EvalError::NotCompiled));
        let program = match compiled {
            Ok(program) => program,
            Err(error) => return Verdict::Error(*error),
        };
        let mut context = Context::with_env(Arc::clone(&STANDARD));
        for (name, value) in &facts.0 {
            if context.add_variable(*name, value.clone()).is_err() {
                return Verdict::Error(EvalError::NotCompiled);
            }
        }
        match program.execute(&context) {
            Ok(Value::Bool(true)) => Verdict::True,
            Ok(Value::Bool(false)) => Verdict::False,
            Ok(_) => Verdict::Error(EvalError::NotBoolean),
            Err(ExecutionError::NoSuchKey(_)) => Verdict::Error(EvalError::MissingField),
            Err(_) => Verdict::Error(EvalError::WrongType),
        }
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

/// One request, as conditions see it. Made once, however many rules are tested.
pub struct Facts(Vec<(&'static str, Value)>);

impl Facts {
    /// Prepares the request's fields.
    pub fn of(question: &Question<'_>) -> Self {
        let text = |value: &str| Value::String(Arc::new(value.to_owned()));
        let metadata = question.metadata.iter().map(|(key, value)| (Key::from(key.clone()), text(value)));
        Self(vec![
            ("action", text(question.action)),
            ("client", text(question.client)),
            ("summary", text(question.summary)),
            ("metadata", Value::Map(metadata.collect::<std::collections::HashMap<_, _>>().into())),
            ("payload", from_json(question.payload)),
        ])
    }
}

/// JSON as CEL sees it. Whole numbers are `int`, so that `payload.amount + 1` needs no cast.
fn from_json(value: &Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(n) => {
            n.as_i64().map_or_else(|| Value::Float(n.as_f64().unwrap_or(f64::NAN)), Value::Int)
        }
        Json::String(s) => Value::String(Arc::new(s.clone())),
        Json::Array(items) => Value::List(Arc::new(items.iter().map(from_json).collect())),
        Json::Object(object) => Value::Map(
            object
                .iter()
                .map(|(key, item)| (Key::from(key.clone()), from_json(item)))
                .collect::<std::collections::HashMap<_, _>>()
                .into(),
        ),
    }
}

/// What a text compiles to, or where it is not CEL.
fn program(source: &str) -> Result<Program, Vec<String>> {
    STANDARD.compile(source).map_err(|errors| {
        errors
            .errors
            .iter()
            .map(|error| format!("column {}: {}", error.pos.1, error.msg.trim_end_matches('.')))
            .collect()
    })
}

/// Whether the pattern is found anywhere in the text.
fn matches(text: &CelString<'_>, pattern: &CelString<'_>) -> Result<CelBool, ExecutionError> {
    match Regex::new(pattern.inner()) {
        Ok(regex) => Ok(CelBool::from(regex.is_match(text.inner()))),
        Err(error) => Err(ExecutionError::FunctionError {
            function: "matches".into(),
            message: format!("`{}` is no regular expression: {error}", pattern.inner()),
        }),
    }
}

/// Finds names that nothing defines, and patterns that are none: they would only fail at the first request that reaches
/// them.
fn check_names(expression: &IdedExpr, bound: &mut Vec<String>, faults: &mut Vec<String>) {
    match &expression.expr {
        Expr::Ident(name) => {
            let known = VARIABLES.contains(&name.as_str()) || bound.contains(name) || is_type_name(name);
            if !known {
                faults.push(format!("unknown variable `{name}`; there are {}", VARIABLES.join(", ")));
            }
        }
        Expr::Call(call) => {
            let name = &call.func_name;
            if !is_operator(name) && !is_standard(name) {
                faults.push(format!("unknown function `{name}`"));
            }
            if let ("matches", Some(Expr::Literal(LiteralValue::String(pattern)))) =
                (name.as_str(), call.args.last().map(|pattern| &pattern.expr))
                && let Err(error) = Regex::new(pattern.inner())
            {
                faults.push(format!("`{}` is no regular expression: {error}", pattern.inner()));
            }
            for part in call.target.iter().map(AsRef::as_ref).chain(&call.args) {
                check_names(part, bound, faults);
            }
        }
        Expr::Select(select) => check_names(&select.operand, bound, faults),
        Expr::List(list) => list.elements.iter().for_each(|item| check_names(item, bound, faults)),
        Expr::Map(map) => {
            for entry in &map.entries {
                if let EntryExpr::MapEntry(entry) = &entry.expr {
                    check_names(&entry.key, bound, faults);
                    check_names(&entry.value, bound, faults);
                }
            }
        }
        Expr::Struct(structure) => faults.push(format!("unknown type `{}`", structure.type_name)),
        Expr::Comprehension(loop_) => {
            check_names(&loop_.iter_range, bound, faults);
            let outer = bound.len();
            bound.extend([loop_.iter_var.clone(), loop_.accu_var.clone()]);
            bound.extend(loop_.iter_var2.clone());
            for part in [&loop_.accu_init, &loop_.loop_cond, &loop_.loop_step, &loop_.result] {
                check_names(part, bound, faults);
            }
            bound.truncate(outer);
        }
        Expr::Literal(_) | Expr::Unspecified => {}
    }
}

/// Whether the standard library has that function: it refuses to let anyone define it again.
fn is_standard(name: &str) -> bool {
    Context::with_env(Arc::clone(&STANDARD)).add_function(name, || true).is_err()
}

fn is_operator(name: &str) -> bool {
    name.starts_with(['_', '@', '!', '-'])
}

fn is_type_name(name: &str) -> bool {
    ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"].contains(&name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    fn test(source: &str, payload: &Json) -> Verdict {
        let metadata = BTreeMap::from([("run".to_owned(), "7".to_owned())]);
        let question = Question {
            client: "n8n",
            action: "refund.create",
            summary: "s",
            payload,
            metadata: &metadata,
            now: crate::Timestamp::from_millis(0),
        };
        Condition::compile(source).unwrap().test(&Facts::of(&question))
    }

    #[test]
    fn numbers_compare_across_their_spellings() {
        for (amount, holds) in [
            (json!(20), true),
            (json!(20.0), true),
            (json!(19.5), true),
            (json!(20.01), false),
            (json!(-1), true),
        ] {
            let expected = if holds { Verdict::True } else { Verdict::False };
            for source in ["payload.amount <= 20", "payload.amount <= 20.0"] {
                assert_eq!(test(source, &json!({"amount": amount})), expected, "{source} {amount}");
            }
        }
        assert_eq!(test("payload.amount + 1 == 21", &json!({"amount": 20})), Verdict::True);
    }

    #[test]
    fn what_cannot_be_evaluated_is_neither_yes_nor_no() {
        for (source, payload) in [
            ("payload.amount <= 20", json!({})),
            ("payload.amount <= 20", json!({"amount": "20"})),
            ("payload.amount <= 20", json!({"amount": null})),
            ("payload.amount", json!({"amount": 20})),
            ("1 / payload.n == 1", json!({"n": 0})),
        ] {
            assert!(matches!(test(source, &payload), Verdict::Error(_)), "{source} {payload}");
        }
        assert_eq!(test("has(payload.amount) && payload.amount <= 20", &json!({})), Verdict::False);
        assert_eq!(test("action == 'x' && payload.amount <= 20", &json!({})), Verdict::False);
    }

    #[test]
    fn patterns_are_found_anywhere_and_ascii_unless_they_say_otherwise() {
        let payload = json!({"to": "Åsa Öberg <asa@example.com>", "pattern": "(?i)ASA@", "broken": "("});
        for (source, expected) in [
            ("payload.to.matches('@example[.]com>$')", Verdict::True),
            ("matches(payload.to, '^asa')", Verdict::False),
            ("payload.to.matches(payload.pattern)", Verdict::True),
            ("payload.to.matches('^.sa .berg')", Verdict::True),
            ("payload.to.matches('^\\\\w')", Verdict::False),
        ] {
            assert_eq!(test(source, &payload), expected, "{source}");
        }
        for broken in
            ["payload.to.matches(payload.broken)", "payload.n.matches('x')", "payload.to.matches(1)"]
        {
            assert!(matches!(test(broken, &payload), Verdict::Error(_)), "{broken}");
        }
        for broken in ["payload.to.matches('(')", "matches(payload.to, '(')"] {
            let faults = Condition::compile(broken).map(|_| ()).unwrap_err();
            assert!(faults[0].starts_with("`(` is no regular expression: "), "{faults:?}");
        }
        assert!(Condition::compile("action.matches('\\\\pL')").is_err());
    }

    #[test]
    fn names_that_nothing_defines_are_found_at_load() {
        let faults = |source: &str| Condition::compile(source).map(|_| ()).unwrap_err();
        assert!(faults("amount <= 20")[0].starts_with("unknown variable `amount`"));
        assert_eq!(faults("action == 'x' && frobnicate(payload)"), ["unknown function `frobnicate`"]);
        assert!(faults("payload.amount <=")[0].starts_with("column "));
        for fine in [
            "payload.items.all(i, i.price < 10 && i.name.startsWith('a'))",
            "metadata.run == '7' && client == 'n8n' && size(summary) > 0",
            "payload.to in ['a', 'b'] || action.matches('^x')",
            "type(payload.amount) == int && !(payload.x ? true : -1 < 0)",
        ] {
            assert!(Condition::compile(fine).is_ok(), "{fine}: {:?}", Condition::compile(fine));
        }
    }
}
