//! Evaluation of a compiled condition, step by step, within a budget.
//!
//! <https://github.com/google/cel-spec/blob/master/doc/langdef.md>; errors carry no values, because they end up in the
//! audit trail.

use std::rc::Rc;

use super::super::totals::{Earlier, Gauge};
use super::super::{EvalError, Question};
use super::budget::Budget;
use super::node::{Arithmetic, Comparison, Literal, Loop, Node, Variable};
use super::time;
use super::value::{List, Map, Text, Value};

/// What a running total costs, in steps: the field and the ones it is grouped by are looked up.
const RUNNING_STEPS: usize = 10;

type Outcome<'a> = Result<Value<'a>, EvalError>;

/// One evaluation.
pub(super) struct Evaluation<'a, 'b> {
    question: &'a Question<'a>,
    earlier: &'b Earlier,
    budget: &'b Budget,
    /// What macros bind: accumulators and items. An error is a value to them.
    locals: Vec<Outcome<'a>>,
}

impl<'a, 'b> Evaluation<'a, 'b> {
    pub(super) fn new(question: &'a Question<'a>, earlier: &'b Earlier, budget: &'b Budget) -> Self {
        Self { question, earlier, budget, locals: Vec::new() }
    }

    /// The value of an expression.
    pub(super) fn value(&mut self, node: &'a Node) -> Outcome<'a> {
        // What is only looked up costs nothing by itself: whatever uses it pays.
        match node {
            Node::Literal(literal) => return Ok(literal_value(literal)),
            Node::Variable(variable) => return Ok(self.variable(*variable)),
            Node::Local(place) => {
                return self.locals.get(*place).cloned().unwrap_or(Err(EvalError::NotCompiled));
            }
            _ => {}
        }
        self.budget.spend(1)?;
        self.operation(node)
    }

    fn operation(&mut self, node: &'a Node) -> Outcome<'a> {
        match node {
            Node::Literal(_) | Node::Variable(_) | Node::Local(_) => self.value(node),
            Node::Select(operand, field) => self.select(operand, field),
            Node::Has(operand, field) => self.has(operand, field),
            Node::Index(operand, index) => self.index(operand, index),
            Node::And(left, right) => self.logical(left, right, false),
            Node::Or(left, right) => self.logical(left, right, true),
            Node::Not(operand) => Ok(Value::Bool(!self.truth(operand)?)),
            // An error lets the loop go on: a later item may settle it. Out of steps, the next one fails.
            Node::NotStrictlyFalse(operand) => Ok(Value::Bool(self.truth(operand).unwrap_or(true))),
            Node::Negate(operand) => self.negate(operand),
            Node::Conditional(condition, then, otherwise) => {
                let branch = if self.truth(condition)? { then } else { otherwise };
                self.value(branch)
            }
            Node::Arithmetic(operation, left, right) => self.arithmetic(*operation, left, right),
            Node::Append(place, items) => self.append(*place, items),
            Node::Comparison(comparison, left, right) => self.comparison(*comparison, left, right),
            Node::In(item, container) => self.is_in(item, container),
            Node::Matches(operand, pattern) => match self.value(operand)? {
                Value::Text(text) => pattern.is_found_in(&text, self.budget).map(Value::Bool),
                _ => Err(EvalError::WrongType),
            },
            Node::Call(function, arguments) => {
                let arguments: Vec<_> =
                    arguments.iter().map(|argument| self.value(argument)).collect::<Result<_, _>>()?;
                function.call(&arguments, self.budget)
            }
            Node::Running(gauge) => self.running(gauge),
            Node::List(items) => {
                self.budget.spend(items.len())?;
                Ok(Value::list(items.iter().map(|item| self.value(item)).collect::<Result<_, _>>()?))
            }
            Node::Map(entries) => self.map(entries),
            Node::Loop(inner) => self.repeat(inner),
        }
    }

    /// What the requests of a while add up to, this one included.
    fn running(&self, gauge: &Gauge) -> Outcome<'a> {
        self.budget.spend(RUNNING_STEPS)?;
        let earlier = self.earlier.of(gauge);
        if gauge.meter.field.is_none() {
            // Requests are counted one by one: far fewer than a double counts exactly.
            #[expect(clippy::cast_possible_truncation, reason = "a count of requests")]
            return Ok(Value::Int(earlier as i64 + 1));
        }
        let own = gauge.meter.amount(self.question).ok_or(EvalError::WrongType)?;
        Ok(Value::Double(earlier + own))
    }

    fn truth(&mut self, node: &'a Node) -> Result<bool, EvalError> {
        match self.value(node)? {
            Value::Bool(truth) => Ok(truth),
            _ => Err(EvalError::WrongType),
        }
    }

    fn variable(&self, variable: Variable) -> Value<'a> {
        match variable {
            Variable::Action => Value::Text(Text::Borrowed(self.question.action)),
            Variable::Client => Value::Text(Text::Borrowed(self.question.client)),
            Variable::Summary => Value::Text(Text::Borrowed(self.question.summary)),
            Variable::Metadata => Value::Map(Map::Texts(self.question.metadata)),
            Variable::Payload => Value::of_json(self.question.payload),
            Variable::Now => Value::Timestamp(time::timestamp_of_millis(self.question.now.millis())),
        }
    }

    fn select(&mut self, operand: &'a Node, field: &str) -> Outcome<'a> {
        match self.value(operand)? {
            Value::Map(map) => map.get_text(field).ok_or(EvalError::MissingField),
            _ => Err(EvalError::WrongType),
        }
    }

    fn has(&mut self, operand: &'a Node, field: &str) -> Outcome<'a> {
        match self.value(operand)? {
            Value::Map(map) => Ok(Value::Bool(map.get_text(field).is_some())),
            _ => Err(EvalError::WrongType),
        }
    }

    fn index(&mut self, operand: &'a Node, index: &'a Node) -> Outcome<'a> {
        let (container, index) = (self.value(operand)?, self.value(index)?);
        match container {
            Value::Map(map) => map.get(&index, self.budget)?.ok_or(EvalError::MissingField),
            Value::List(list) => {
                let at = match index {
                    Value::Int(at) => usize::try_from(at).ok(),
                    Value::UInt(at) => usize::try_from(at).ok(),
                    #[expect(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        reason = "a whole number that is not negative; beyond the list's end it saturates"
                    )]
                    Value::Double(at) if at >= 0.0 && at.fract() == 0.0 => Some(at as usize),
                    Value::Double(_) => None,
                    _ => return Err(EvalError::WrongType),
                };
                at.and_then(|at| list.get(at)).ok_or(EvalError::OutOfRange)
            }
            _ => Err(EvalError::WrongType),
        }
    }

    /// `&&` and `||`: what one side settles stays settled, whatever the other side runs into.
    fn logical(&mut self, left: &'a Node, right: &'a Node, settles: bool) -> Outcome<'a> {
        let first = self.truth(left);
        if first == Ok(settles) || first == Err(EvalError::TooManySteps) {
            return first.map(Value::Bool);
        }
        match (first, self.truth(right)) {
            (_, Err(EvalError::TooManySteps)) => Err(EvalError::TooManySteps),
            (_, Ok(second)) if second == settles => Ok(Value::Bool(settles)),
            (Err(error), _) | (Ok(_), Err(error)) => Err(error),
            (Ok(_), Ok(second)) => Ok(Value::Bool(second)),
        }
    }

    fn negate(&mut self, operand: &'a Node) -> Outcome<'a> {
        match self.value(operand)? {
            Value::Int(number) => number.checked_neg().map(Value::Int).ok_or(EvalError::OutOfRange),
            Value::Double(number) => Ok(Value::Double(-number)),
            Value::Duration(nanos) => time::duration(-nanos).map(Value::Duration),
            _ => Err(EvalError::WrongType),
        }
    }

    fn arithmetic(&mut self, operation: Arithmetic, left: &'a Node, right: &'a Node) -> Outcome<'a> {
        let (mut a, mut b) = (self.value(left)?, self.value(right)?);
        // A whole number that is written in the policy is what its neighbour needs it to be: `payload.amount + 1`.
        match (&a, &b) {
            (Value::Double(_), Value::Int(number)) if is_written_number(right) => b = double_of(*number),
            (Value::Int(number), Value::Double(_)) if is_written_number(left) => a = double_of(*number),
            _ => {}
        }
        self.calculate(operation, a, b)
    }

    fn append(&mut self, place: usize, items: &'a [Node]) -> Outcome<'a> {
        self.budget.spend(items.len())?;
        let added: Vec<_> = items.iter().map(|item| self.value(item)).collect::<Result<_, _>>()?;
        let Some(slot) = self.locals.get_mut(place) else { return Err(EvalError::NotCompiled) };
        match std::mem::replace(slot, Err(EvalError::NotCompiled))? {
            Value::List(List::Made(mut list)) => {
                if Rc::get_mut(&mut list).is_none() {
                    self.budget.spend(list.len())?;
                }
                Rc::make_mut(&mut list).extend(added);
                Ok(Value::List(List::Made(list)))
            }
            other => self.calculate(Arithmetic::Add, other, Value::list(added)),
        }
    }

    fn calculate(&self, operation: Arithmetic, a: Value<'a>, b: Value<'a>) -> Outcome<'a> {
        match (a, b) {
            (Value::Int(a), Value::Int(b)) => int(operation, a, b),
            (Value::UInt(a), Value::UInt(b)) => uint(operation, a, b),
            (Value::Double(a), Value::Double(b)) => double(operation, a, b),
            (Value::Text(a), Value::Text(b)) if operation == Arithmetic::Add => {
                self.budget.spend_bytes(a.len() + b.len())?;
                let mut joined = String::with_capacity(a.len() + b.len());
                joined.push_str(&a);
                joined.push_str(&b);
                Ok(Value::made(joined))
            }
            (Value::Bytes(a), Value::Bytes(b)) if operation == Arithmetic::Add => {
                self.budget.spend_bytes(a.len() + b.len())?;
                Ok(Value::Bytes([a, b].concat().into()))
            }
            (Value::List(a), Value::List(b)) if operation == Arithmetic::Add => {
                self.budget.spend(a.len() + b.len())?;
                Ok(Value::list(a.iter().chain(b.iter()).collect()))
            }
            (Value::Timestamp(at), Value::Duration(by)) => match operation {
                Arithmetic::Add => time::timestamp(at + by).map(Value::Timestamp),
                Arithmetic::Subtract => time::timestamp(at - by).map(Value::Timestamp),
                _ => Err(EvalError::WrongType),
            },
            (Value::Duration(by), Value::Timestamp(at)) if operation == Arithmetic::Add => {
                time::timestamp(at + by).map(Value::Timestamp)
            }
            (Value::Timestamp(a), Value::Timestamp(b)) if operation == Arithmetic::Subtract => {
                time::duration(a - b).map(Value::Duration)
            }
            (Value::Duration(a), Value::Duration(b)) => match operation {
                Arithmetic::Add => time::duration(a + b).map(Value::Duration),
                Arithmetic::Subtract => time::duration(a - b).map(Value::Duration),
                _ => Err(EvalError::WrongType),
            },
            _ => Err(EvalError::WrongType),
        }
    }

    fn comparison(&mut self, comparison: Comparison, left: &'a Node, right: &'a Node) -> Outcome<'a> {
        let (a, b) = (self.value(left)?, self.value(right)?);
        let truth = match comparison {
            Comparison::Equal => a.equals(&b, self.budget)?,
            Comparison::NotEqual => !a.equals(&b, self.budget)?,
            Comparison::Less => a.compare(&b, self.budget)?.is_some_and(std::cmp::Ordering::is_lt),
            Comparison::LessOrEqual => a.compare(&b, self.budget)?.is_some_and(std::cmp::Ordering::is_le),
            Comparison::Greater => a.compare(&b, self.budget)?.is_some_and(std::cmp::Ordering::is_gt),
            Comparison::GreaterOrEqual => a.compare(&b, self.budget)?.is_some_and(std::cmp::Ordering::is_ge),
        };
        Ok(Value::Bool(truth))
    }

    fn is_in(&mut self, item: &'a Node, container: &'a Node) -> Outcome<'a> {
        let (item, container) = (self.value(item)?, self.value(container)?);
        match container {
            Value::List(list) => {
                for other in list.iter() {
                    if item.equals(&other, self.budget)? {
                        return Ok(Value::Bool(true));
                    }
                }
                Ok(Value::Bool(false))
            }
            Value::Map(map) => Ok(Value::Bool(map.get(&item, self.budget)?.is_some())),
            _ => Err(EvalError::WrongType),
        }
    }

    fn map(&mut self, entries: &'a [(Node, Node)]) -> Outcome<'a> {
        self.budget.spend(entries.len())?;
        let mut made: Vec<(Value<'a>, Value<'a>)> = Vec::new();
        for (key, value) in entries {
            let key = self.value(key)?;
            if !matches!(key, Value::Bool(_) | Value::Int(_) | Value::UInt(_) | Value::Text(_)) {
                return Err(EvalError::WrongType);
            }
            for (other, _) in &made {
                if key.equals(other, self.budget)? {
                    return Err(EvalError::WrongType);
                }
            }
            made.push((key, self.value(value)?));
        }
        Ok(Value::Map(Map::Made(Rc::new(made))))
    }

    fn repeat(&mut self, inner: &'a Loop) -> Outcome<'a> {
        let range = self.value(&inner.range)?;
        let (items, seconds): (List<'a>, Option<Vec<Value<'a>>>) = match range {
            Value::List(list) if inner.has_second => {
                self.budget.spend(list.len())?;
                let places = (0_i64..).take(list.len()).map(Value::Int).collect();
                (List::Made(Rc::new(places)), Some(list.iter().collect()))
            }
            Value::List(list) => (list, None),
            Value::Map(map) => {
                self.budget.spend(map.len())?;
                let keys = map.keys();
                let values = if inner.has_second {
                    let value = |key| map.get(key, self.budget)?.ok_or(EvalError::MissingField);
                    Some(keys.iter().map(value).collect::<Result<_, _>>()?)
                } else {
                    None
                };
                (List::Made(Rc::new(keys)), values)
            }
            _ => return Err(EvalError::WrongType),
        };
        let initial = self.value(&inner.initial);
        let (accumulator, item, second) = (inner.accumulator, inner.accumulator + 1, inner.accumulator + 2);
        self.locals.resize(accumulator + 3, Err(EvalError::NotCompiled));
        self.set(accumulator, initial);
        for index in 0..items.len() {
            self.budget.spend(1)?;
            self.set(item, items.get(index).ok_or(EvalError::OutOfRange));
            if let Some(seconds) = &seconds {
                self.set(second, seconds.get(index).cloned().ok_or(EvalError::OutOfRange));
            }
            if !self.truth(&inner.goes_on)? {
                break;
            }
            let next = self.value(&inner.step);
            if let Err(EvalError::TooManySteps) = next {
                return next;
            }
            self.set(accumulator, next);
        }
        self.value(&inner.result)
    }

    fn set(&mut self, place: usize, value: Outcome<'a>) {
        if let Some(slot) = self.locals.get_mut(place) {
            *slot = value;
        }
    }
}

pub(super) fn literal_value(literal: &Literal) -> Value<'_> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(flag) => Value::Bool(*flag),
        Literal::Int(number) => Value::Int(*number),
        Literal::UInt(number) => Value::UInt(*number),
        Literal::Double(number) => Value::Double(*number),
        Literal::Text(text) => Value::Text(Text::Borrowed(text)),
        Literal::Bytes(bytes) => Value::Bytes((**bytes).into()),
        Literal::Type(name) => Value::Type(name),
    }
}

/// Whether it is a whole number that is written in the policy.
pub(super) fn is_written_number(node: &Node) -> bool {
    match node {
        Node::Literal(Literal::Int(_)) => true,
        Node::Negate(operand) => matches!(**operand, Node::Literal(Literal::Int(_))),
        _ => false,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a double is what the other side is")]
fn double_of<'a>(number: i64) -> Value<'a> {
    Value::Double(number as f64)
}

fn int<'a>(operation: Arithmetic, a: i64, b: i64) -> Outcome<'a> {
    let result = match operation {
        Arithmetic::Add => a.checked_add(b),
        Arithmetic::Subtract => a.checked_sub(b),
        Arithmetic::Multiply => a.checked_mul(b),
        Arithmetic::Divide => a.checked_div(b),
        Arithmetic::Remainder => a.checked_rem(b),
    };
    result.map(Value::Int).ok_or(EvalError::OutOfRange)
}

fn uint<'a>(operation: Arithmetic, a: u64, b: u64) -> Outcome<'a> {
    let result = match operation {
        Arithmetic::Add => a.checked_add(b),
        Arithmetic::Subtract => a.checked_sub(b),
        Arithmetic::Multiply => a.checked_mul(b),
        Arithmetic::Divide => a.checked_div(b),
        Arithmetic::Remainder => a.checked_rem(b),
    };
    result.map(Value::UInt).ok_or(EvalError::OutOfRange)
}

/// As IEEE 754 says: a division by zero is infinite, and compares as such.
fn double<'a>(operation: Arithmetic, a: f64, b: f64) -> Outcome<'a> {
    Ok(Value::Double(match operation {
        Arithmetic::Add => a + b,
        Arithmetic::Subtract => a - b,
        Arithmetic::Multiply => a * b,
        Arithmetic::Divide => a / b,
        Arithmetic::Remainder => return Err(EvalError::WrongType),
    }))
}
