//! Conditions of rules: CEL expressions over one request (the `cel` crate; <https://cel.dev>).

use std::fmt;
use std::sync::{Arc, LazyLock};

use cel::common::ast::{EntryExpr, Expr, IdedExpr};
use cel::objects::{Key, Value};
use cel::{Context, Env, Program};
use serde_json::Value as Json;

use super::Question;

/// What a condition may speak of.
pub const VARIABLES: [&str; 5] = ["action", "client", "metadata", "payload", "summary"];

/// The standard library, built once: building it costs more than evaluating a rule.
static STANDARD: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// A compiled condition.
pub struct Condition {
    source: String,
    program: Program,
}

/// What a condition says of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    Yes,
    /// It does not.
    No,
    /// It could not be evaluated; with the reason.
    Unknown(String),
}

impl Condition {
    /// Compiles, and refuses variables and functions that do not exist.
    pub fn compile(source: &str) -> Result<Self, Vec<String>> {
        let program = STANDARD.compile(source).map_err(|errors| {
            errors
                .errors
                .iter()
                .map(|error| format!("column {}: {}", error.pos.1, error.msg.trim_end_matches('.')))
                .collect::<Vec<_>>()
        })?;
        let mut faults = Vec::new();
        check_names(program.expression(), &mut Vec::new(), &mut faults);
        if faults.is_empty() { Ok(Self { source: source.into(), program }) } else { Err(faults) }
    }

    /// Evaluates it for that request.
    pub fn test(&self, facts: &Facts) -> Truth {
        let mut context = Context::with_env(Arc::clone(&STANDARD));
        for (name, value) in &facts.0 {
            if context.add_variable(*name, value.clone()).is_err() {
                return Truth::Unknown(format!("`{name}` cannot be represented"));
            }
        }
        match self.program.execute(&context) {
            Ok(Value::Bool(true)) => Truth::Yes,
            Ok(Value::Bool(false)) => Truth::No,
            Ok(_) => Truth::Unknown("the condition is neither true nor false".into()),
            Err(error) => Truth::Unknown(lower_first(&error.to_string())),
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

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// Finds names that nothing defines: they would only fail at the first request that reaches them.
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

    fn test(source: &str, payload: &Json) -> Truth {
        let metadata = BTreeMap::from([("run".to_owned(), "7".to_owned())]);
        let question =
            Question { client: "n8n", action: "refund.create", summary: "s", payload, metadata: &metadata };
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
            let expected = if holds { Truth::Yes } else { Truth::No };
            for source in ["payload.amount <= 20", "payload.amount <= 20.0"] {
                assert_eq!(test(source, &json!({"amount": amount})), expected, "{source} {amount}");
            }
        }
        assert_eq!(test("payload.amount + 1 == 21", &json!({"amount": 20})), Truth::Yes);
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
            assert!(matches!(test(source, &payload), Truth::Unknown(_)), "{source} {payload}");
        }
        assert_eq!(test("has(payload.amount) && payload.amount <= 20", &json!({})), Truth::No);
        assert_eq!(test("action == 'x' && payload.amount <= 20", &json!({})), Truth::No);
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
