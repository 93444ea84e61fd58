//! Calls whose values are written in the policy: what fails for them fails for every request, and is a fault here.

use std::ops::Range;

use jiff::tz;

use crate::policy::EvalError;
use crate::policy::cel::budget::{Budget, STEPS};
use crate::policy::cel::eval::literal_value;
use crate::policy::cel::library::{Function, Signature};
use crate::policy::cel::node::{Literal, Node};
use crate::policy::cel::syntax::ConditionFault;
use crate::policy::cel::types::Ty;
use crate::policy::cel::value::Value;
use crate::policy::diagnostic::closest;

/// The longest text that stands for one of the request, in characters.
const LONGEST_STAND_IN: i64 = 4096;

/// What is wrong with a call, if it fails whatever is asked. It is evaluated as the gate would do it.
pub(super) fn fault_of(
    signature: &Signature,
    arguments: &[(Node, Ty, Range<usize>)],
) -> Option<ConditionFault> {
    let budget = Budget::new(STEPS);
    let mut values: Vec<_> = arguments.iter().map(|(node, ..)| value(node, &budget)).collect();
    if let Some(first @ None) = values.first_mut() {
        *first = stand_in(signature.function, arguments);
    }
    let values: Vec<Value<'_>> = values.into_iter().collect::<Option<_>>()?;
    let failure = signature.function.call(&values, &budget).err()?;
    if !matches!(failure, EvalError::WrongType | EvalError::OutOfRange | EvalError::Unreadable) {
        return None;
    }
    let text = |at: usize| match arguments.get(at) {
        Some((Node::Literal(Literal::Text(text)), ..)) => Some(&**text),
        _ => None,
    };
    let span = |at: usize| arguments.get(at).map_or(0..0, |(.., span)| span.clone());
    let name = signature.name;
    if let (Function::Part(_), Some(zone)) = (signature.function, text(1)) {
        let fault = ConditionFault::new(span(1), format!("`{zone}` is not a time zone of the IANA database"));
        let known: Vec<_> = tz::db().available().collect();
        return Some(match closest(zone, known.iter().map(tz::TimeZoneName::as_str)) {
            Some(meant) => fault.help(format!("did you mean `{meant}`?")),
            None => {
                fault.help("write a name such as `Europe/Berlin` or `UTC`, or an offset such as `+02:00`")
            }
        });
    }
    let (what, help) = match signature.function {
        Function::ToTimestamp => {
            let day = text(0).map(|day| format!("{day}T00:00:00Z"));
            let day =
                day.filter(|day| Function::ToTimestamp.call(&[Value::made(day.as_str())], &budget).is_ok());
            let help = day.map_or_else(
                || "write date, time and zone, such as `2026-01-01T00:00:00Z`".to_owned(),
                |day| format!("did you mean `{day}`?"),
            );
            ("a date with its time and zone", help)
        }
        Function::ToDuration => {
            ("a duration", "write it in `h`, `m` and `s`, such as `1h30m`; a day is `24h`".to_owned())
        }
        Function::ToInt => ("a whole number", "write one such as `42`, without quotes".to_owned()),
        Function::ToUInt => {
            ("a whole number that is not negative", "write one such as `42u`, without quotes".to_owned())
        }
        Function::ToDouble => ("a number", "write one such as `4.5`, without quotes".to_owned()),
        Function::ToBool => ("true or false", "write `true` or `false`, without quotes".to_owned()),
        _ => {
            let whole = arguments.first().map_or(0, |(.., span)| span.start)
                ..arguments.last().map_or(0, |(.., span)| span.end);
            let message = format!("`{name}` fails for these values, whatever is asked");
            let fault = ConditionFault::new(whole, message);
            return Some(match signature.function {
                Function::CharAt | Function::Substring | Function::IndexOf | Function::LastIndexOf => {
                    fault.help("places in a text are counted from 0, and must lie within it")
                }
                _ => fault,
            });
        }
    };
    if failure == EvalError::OutOfRange {
        return Some(ConditionFault::new(span(0), format!("this is beyond what `{name}` can hold")));
    }
    let message = match text(0) {
        Some(text) => format!("`{text}` cannot be read as {what}"),
        None => format!("this can never be {what}"),
    };
    Some(ConditionFault::new(span(0), message).help(help))
}

/// The value of what is written in the policy; none where it depends on the request, or fails by itself.
fn value<'n>(node: &'n Node, budget: &Budget) -> Option<Value<'n>> {
    match node {
        Node::Literal(literal) => Some(literal_value(literal)),
        Node::Negate(operand) => match **operand {
            Node::Literal(Literal::Int(number)) => number.checked_neg().map(Value::Int),
            Node::Literal(Literal::Double(number)) => Some(Value::Double(-number)),
            _ => None,
        },
        Node::Call(function, arguments) => {
            let values: Vec<_> =
                arguments.iter().map(|argument| value(argument, budget)).collect::<Option<_>>()?;
            function.call(&values, budget).ok()
        }
        _ => None,
    }
}

/// A value for what comes with the request, for which the call is fine if it is for any.
fn stand_in(function: Function, arguments: &[(Node, Ty, Range<usize>)]) -> Option<Value<'static>> {
    match function {
        // Without a zone, it is what the request holds that decides.
        Function::Part(_) if arguments.len() > 1 => Some(Value::Timestamp(0)),
        Function::CharAt | Function::Substring | Function::IndexOf | Function::LastIndexOf => {
            let numbers = arguments.iter().filter_map(|(node, ..)| match node {
                Node::Literal(Literal::Int(number)) => Some(*number),
                _ => None,
            });
            let length = numbers.max().unwrap_or(0).max(0);
            let length = usize::try_from(length).ok().filter(|_| length <= LONGEST_STAND_IN)?;
            Some(Value::made(" ".repeat(length)))
        }
        _ => None,
    }
}
