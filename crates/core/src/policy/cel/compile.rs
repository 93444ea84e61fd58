//! From the syntax tree to a condition that can be evaluated, with everything that can be known of it beforehand.
//!
//! What could never be evaluated, whatever is asked, is a fault here, at its place; what is probably not meant, a
//! warning.

use std::collections::BTreeMap;
use std::ops::Range;

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators,
};
use cel::parser::pratt_parser::TokenKind;

use crate::grammar::duration_ms;

use super::super::diagnostic::closest;
use super::super::totals::{Gauge, LONGEST_WINDOW_MS, Meter, is_path};
use super::eval::is_written_number;
use super::library::{SIGNATURES, Signature};
use super::node::{Arithmetic, Comparison, Literal, Loop, Node, Variable};
use super::pattern::Pattern;
use super::syntax::{ConditionFault, Syntax, Token, parse};
use super::types::Ty;

/// What a condition may speak of.
const VARIABLES: [(&str, Variable, Ty); 6] = [
    ("action", Variable::Action, Ty::Text),
    ("client", Variable::Client, Ty::Text),
    ("metadata", Variable::Metadata, Ty::Metadata),
    ("now", Variable::Now, Ty::Timestamp),
    ("payload", Variable::Payload, Ty::Payload),
    ("summary", Variable::Summary, Ty::Text),
];

const TYPES: [(&str, &str); 12] = [
    ("bool", "bool"),
    ("bytes", "bytes"),
    ("double", "double"),
    ("duration", "google.protobuf.Duration"),
    ("int", "int"),
    ("list", "list"),
    ("map", "map"),
    ("null_type", "null_type"),
    ("string", "string"),
    ("timestamp", "google.protobuf.Timestamp"),
    ("type", "type"),
    ("uint", "uint"),
];

/// Running totals: their arguments are written in the policy, because what they add up must be known before anybody asks.
const RUNNING: [&str; 2] = ["total", "count"];

const MACROS: [&str; 6] = ["all", "exists", "exists_one", "filter", "has", "map"];

/// A condition that can be evaluated.
#[derive(Debug)]
pub(in super::super) struct Compiled {
    pub(super) root: Node,
    /// The running totals in it.
    pub(in super::super) gauges: Vec<Gauge>,
}

/// What was noticed about a condition that can be evaluated.
#[derive(Debug, Default)]
pub(in super::super) struct Findings {
    /// What is probably not meant.
    pub(in super::super) warnings: Vec<ConditionFault>,
    /// Fields of the payload that are compared with a number, by their path (`payload.amount`).
    pub(in super::super) bounds: BTreeMap<String, Bound>,
    /// Every field of the request that is read, by its path.
    pub(in super::super) paths: Vec<String>,
}

/// How a number is held in.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Bound {
    /// From below, or to one value.
    pub(in super::super) lower: bool,
    /// From above, or to one value.
    pub(in super::super) upper: bool,
    /// Where it is read first, in bytes of the condition.
    pub(in super::super) span: Range<usize>,
}

/// Compiles a condition, and returns what was noticed. `Err` holds every fault that was found.
pub(in super::super) fn compile(source: &str) -> Result<(Compiled, Findings), Vec<ConditionFault>> {
    let Syntax { tree, tokens } = parse(source)?;
    let mut compiler = Compiler {
        source,
        tokens,
        cursor: 0,
        locals: Vec::new(),
        faults: Vec::new(),
        findings: Findings::default(),
        gauges: Vec::new(),
        negated: false,
    };
    let (root, ty) = compiler.expression(&tree);
    if compiler.faults.is_empty() && !ty.may_be(Ty::Bool) {
        compiler.faults.push(ConditionFault::new(
            0..source.len(),
            format!("a condition must be true or false, but this is {}", ty.name()),
        ));
    }
    if matches!(root, Node::Literal(Literal::Bool(false))) {
        let warning = ConditionFault::new(0..source.len(), "this condition never holds");
        compiler.findings.warnings.push(warning.help("take the rule out if it is not needed"));
    }
    if !compiler.faults.is_empty() {
        return Err(compiler.faults);
    }
    let Compiler { findings, gauges, .. } = compiler;
    Ok((Compiled { root, gauges }, findings))
}

struct Local {
    name: String,
    place: usize,
    ty: Ty,
}

struct Compiler<'s> {
    source: &'s str,
    tokens: Vec<Token>,
    /// The first token that has not been met yet.
    cursor: usize,
    locals: Vec<Local>,
    faults: Vec<ConditionFault>,
    findings: Findings,
    gauges: Vec<Gauge>,
    /// Whether what is compiled stands under an odd number of `!`.
    negated: bool,
}

type Typed = (Node, Ty);

/// What stands for an expression with a fault: nothing more is said about it.
const BROKEN: Typed = (Node::Literal(Literal::Null), Ty::Dyn);

impl Compiler<'_> {
    fn text_of(&self, token: &Token) -> &str {
        self.source.get(token.span.clone()).unwrap_or_default()
    }

    /// Goes to that word, and returns where it is.
    fn meet(&mut self, word: &str) -> Range<usize> {
        let at = |from: usize| {
            let met = |token: &Token| self.text_of(token).trim_matches('`') == word;
            (from..self.tokens.len()).find(|index| self.tokens.get(*index).is_some_and(met))
        };
        match at(self.cursor).or_else(|| at(0)) {
            Some(index) => {
                self.cursor = self.cursor.max(index + 1);
                self.tokens.get(index).map_or(0..0, |token| token.span.clone())
            }
            None => 0..self.source.len(),
        }
    }

    /// Goes past a literal, if one is next.
    fn meet_literal(&mut self) {
        let opening = |token: &Token| matches!(self.text_of(token), "(" | "[" | "{" | "," | "-" | "!");
        let mut index = self.cursor;
        while self.tokens.get(index).is_some_and(opening) {
            index += 1;
        }
        let is_literal = self.tokens.get(index).is_some_and(|token| {
            matches!(
                token.kind,
                TokenKind::TokInt
                    | TokenKind::TokUint
                    | TokenKind::TokFloat
                    | TokenKind::TokString
                    | TokenKind::TokBytes
                    | TokenKind::TokTrue
                    | TokenKind::TokFalse
                    | TokenKind::TokNull
            )
        });
        if is_literal {
            self.cursor = index + 1;
        }
    }

    /// From that token to the last one that was met.
    fn span_from(&self, first: usize) -> Range<usize> {
        let opening = |token: &Token| matches!(self.text_of(token), "&&" | "||" | "," | ")" | "?" | ":");
        let mut first = first;
        while first + 1 < self.cursor && self.tokens.get(first).is_some_and(opening) {
            first += 1;
        }
        let start = self.tokens.get(first).map_or(0, |token| token.span.start);
        // Brackets that were opened in it are closed in it.
        let brackets = |tokens: &[Token]| {
            tokens.iter().fold(0_i32, |open, token| match self.text_of(token) {
                "(" | "[" | "{" => open + 1,
                ")" | "]" | "}" => open - 1,
                _ => open,
            })
        };
        let mut open = brackets(self.tokens.get(first..self.cursor).unwrap_or_default());
        let mut after = self.cursor;
        while open > 0
            && self.tokens.get(after).is_some_and(|token| matches!(self.text_of(token), ")" | "]" | "}"))
        {
            open -= 1;
            after += 1;
        }
        let last = after.checked_sub(1).and_then(|last| self.tokens.get(last));
        let end = last.map_or(self.source.len(), |token| token.span.end);
        if start < end { start..end } else { 0..self.source.len() }
    }

    fn fault(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.faults.push(ConditionFault::new(span, message));
    }

    fn fault_with_help(&mut self, span: Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        self.faults.push(ConditionFault::new(span, message).help(help));
    }

    fn expression(&mut self, expression: &IdedExpr) -> Typed {
        match &expression.expr {
            Expr::Literal(literal) => {
                self.meet_literal();
                self.literal(literal)
            }
            Expr::Ident(name) => self.identifier(name),
            Expr::Select(select) => self.select(select),
            Expr::Call(call) => self.call(call),
            Expr::List(list) => {
                let items = list.elements.iter().map(|item| self.expression(item).0).collect();
                (Node::List(items), Ty::List)
            }
            Expr::Map(map) => {
                let mut entries = Vec::new();
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        let (key, _) = self.expression(&entry.key);
                        let (value, _) = self.expression(&entry.value);
                        entries.push((key, value));
                    }
                }
                (Node::Map(entries), Ty::Map)
            }
            Expr::Comprehension(inner) => self.comprehension(inner),
            Expr::Struct(structure) => {
                let name = structure.type_name.clone();
                let span = self.meet(name.rsplit('.').next().unwrap_or(&name));
                self.fault(span, format!("unknown type `{name}`"));
                BROKEN
            }
            Expr::Unspecified => {
                self.fault(0..self.source.len(), "the condition cannot be read");
                BROKEN
            }
        }
    }

    fn literal(&mut self, literal: &LiteralValue) -> Typed {
        match literal {
            LiteralValue::Boolean(flag) => (Node::Literal(Literal::Bool(*flag.inner())), Ty::Bool),
            LiteralValue::Int(number) => (Node::Literal(Literal::Int(*number.inner())), Ty::Int),
            LiteralValue::UInt(number) => (Node::Literal(Literal::UInt(*number.inner())), Ty::UInt),
            LiteralValue::Double(number) => {
                if !number.inner().is_finite() {
                    self.fault(self.span_from(self.cursor.saturating_sub(1)), "this number is too large");
                }
                (Node::Literal(Literal::Double(*number.inner())), Ty::Double)
            }
            LiteralValue::String(text) => (Node::Literal(Literal::Text(text.inner().into())), Ty::Text),
            LiteralValue::Bytes(bytes) => (Node::Literal(Literal::Bytes(bytes.inner().into())), Ty::Bytes),
            LiteralValue::Null => (Node::Literal(Literal::Null), Ty::Null),
        }
    }

    fn identifier(&mut self, name: &str) -> Typed {
        if let Some(local) = self.locals.iter().rev().find(|local| local.name == name) {
            let typed = (Node::Local(local.place), local.ty);
            if !name.starts_with('@') {
                self.meet(name);
            }
            return typed;
        }
        let span = self.meet(name);
        if let Some((_, variable, ty)) = VARIABLES.iter().find(|(known, ..)| *known == name) {
            self.findings.paths.push(name.to_owned());
            return (Node::Variable(*variable), *ty);
        }
        if let Some((_, type_name)) = TYPES.iter().find(|(known, _)| *known == name) {
            return (Node::Literal(Literal::Type(type_name)), Ty::Type);
        }
        let known = VARIABLES.map(|(known, ..)| known);
        let locals =
            self.locals.iter().map(|local| local.name.as_str()).filter(|name| !name.starts_with('@'));
        let help = closest(name, known.into_iter().chain(locals)).map_or_else(
            || {
                format!(
                    "expected one of {}; a field of the payload is read as `payload.{name}`",
                    known.join(", ")
                )
            },
            |meant| format!("did you mean `{meant}`?"),
        );
        self.fault_with_help(span, format!("unknown variable `{name}`"), help);
        BROKEN
    }

    fn select(&mut self, select: &SelectExpr) -> Typed {
        if let Some(type_name) = protobuf_type(select) {
            self.meet(&select.field);
            return (Node::Literal(Literal::Type(type_name)), Ty::Type);
        }
        let first = self.cursor;
        let (operand, ty) = self.expression(&select.operand);
        self.meet(&select.field);
        if !ty.may_be(Ty::Map) {
            let span = self.span_from(first);
            self.fault(
                span,
                format!("`.{}` reads a field, but what it is read of is {}", select.field, ty.name()),
            );
            return BROKEN;
        }
        let field = select.field.as_str().into();
        if select.test {
            return (Node::Has(Box::new(operand), field), Ty::Bool);
        }
        let node = Node::Select(Box::new(operand), field);
        self.note_path(&node);
        (node, ty.inner())
    }

    fn note_path(&mut self, node: &Node) {
        if let Some(path) = path(node) {
            self.findings.paths.push(path);
        }
    }

    fn call(&mut self, call: &CallExpr) -> Typed {
        let operands = call.args.as_slice();
        match (call.func_name.as_str(), operands) {
            (operators::LOGICAL_AND, [left, right]) => self.logical(left, right, "&&"),
            (operators::LOGICAL_OR, [left, right]) => self.logical(left, right, "||"),
            (operators::LOGICAL_NOT, [operand]) => {
                let first = self.cursor;
                self.negated = !self.negated;
                let (node, ty) = self.expression(operand);
                self.negated = !self.negated;
                self.must_be(first, ty, Ty::Bool, "`!`");
                (Node::Not(Box::new(node)), Ty::Bool)
            }
            (operators::NOT_STRICTLY_FALSE, [operand]) => {
                let (node, _) = self.expression(operand);
                (Node::NotStrictlyFalse(Box::new(node)), Ty::Bool)
            }
            (operators::NEGATE, [operand]) => {
                let first = self.cursor;
                let (node, ty) = self.expression(operand);
                if !ty.may_be_number() && ty != Ty::Duration || ty == Ty::UInt {
                    let span = self.span_from(first);
                    self.fault(span, format!("`-` needs a number, but this is {}", ty.name()));
                }
                (Node::Negate(Box::new(node)), if ty == Ty::Json { Ty::Double } else { ty })
            }
            (operators::CONDITIONAL, [condition, then, otherwise]) => {
                let first = self.cursor;
                let (condition, ty) = self.expression(condition);
                self.must_be(first, ty, Ty::Bool, "`? :`");
                let ((then, a), (otherwise, b)) = (self.expression(then), self.expression(otherwise));
                let node = Node::Conditional(Box::new(condition), Box::new(then), Box::new(otherwise));
                (node, if a == b { a } else { Ty::Dyn })
            }
            (operators::ADD, [left, right]) => self.arithmetic(Arithmetic::Add, "+", left, right),
            (operators::SUBSTRACT, [left, right]) => self.arithmetic(Arithmetic::Subtract, "-", left, right),
            (operators::MULTIPLY, [left, right]) => self.arithmetic(Arithmetic::Multiply, "*", left, right),
            (operators::DIVIDE, [left, right]) => self.arithmetic(Arithmetic::Divide, "/", left, right),
            (operators::MODULO, [left, right]) => self.arithmetic(Arithmetic::Remainder, "%", left, right),
            (operators::EQUALS, [left, right]) => self.comparison(Comparison::Equal, "==", left, right),
            (operators::NOT_EQUALS, [left, right]) => {
                self.comparison(Comparison::NotEqual, "!=", left, right)
            }
            (operators::LESS, [left, right]) => self.comparison(Comparison::Less, "<", left, right),
            (operators::LESS_EQUALS, [left, right]) => {
                self.comparison(Comparison::LessOrEqual, "<=", left, right)
            }
            (operators::GREATER, [left, right]) => self.comparison(Comparison::Greater, ">", left, right),
            (operators::GREATER_EQUALS, [left, right]) => {
                self.comparison(Comparison::GreaterOrEqual, ">=", left, right)
            }
            (operators::IN, [item, container]) => self.is_in(item, container),
            (operators::INDEX, [operand, index]) => self.index(operand, index),
            _ => self.function(call),
        }
    }

    fn must_be(&mut self, first: usize, ty: Ty, wanted: Ty, by: &str) {
        if !ty.may_be(wanted) {
            let span = self.span_from(first);
            self.fault(span, format!("{by} needs {}, but this is {}", wanted.name(), ty.name()));
        }
    }

    fn logical(&mut self, left: &IdedExpr, right: &IdedExpr, sign: &str) -> Typed {
        let by = format!("`{sign}`");
        let first = self.cursor;
        let (a, ty) = self.expression(left);
        self.must_be(first, ty, Ty::Bool, &by);
        let generated = matches!(&left.expr, Expr::Ident(name) if name.starts_with('@'));
        if !generated {
            self.meet(sign);
        }
        let first = self.cursor;
        let (b, ty) = self.expression(right);
        self.must_be(first, ty, Ty::Bool, &by);
        let (a, b) = (Box::new(a), Box::new(b));
        (if sign == "&&" { Node::And(a, b) } else { Node::Or(a, b) }, Ty::Bool)
    }

    fn arithmetic(&mut self, operation: Arithmetic, sign: &str, left: &IdedExpr, right: &IdedExpr) -> Typed {
        if let (Expr::Ident(name), Expr::List(list)) = (&left.expr, &right.expr)
            && name.starts_with('@')
            && let (Node::Local(place), _) = self.identifier(name)
        {
            let items = list.elements.iter().map(|item| self.expression(item).0).collect();
            return (Node::Append(place, items), Ty::List);
        }
        let first = self.cursor;
        let (a, left_ty) = self.expression(left);
        let generated = matches!(&left.expr, Expr::Ident(name) if name.starts_with('@'));
        if !generated {
            self.meet(sign);
        }
        let (b, right_ty) = self.expression(right);
        // A whole number that is written down is a double beside one.
        let adapt = |node: &Node, own: Ty, other: Ty| {
            let beside_double = matches!(other, Ty::Json | Ty::Double);
            if beside_double && is_written_number(node) && operation != Arithmetic::Remainder {
                Ty::Double
            } else {
                own
            }
        };
        let (x, y) = (adapt(&a, left_ty, right_ty), adapt(&b, right_ty, left_ty));
        let result = result_type(operation, x, y);
        if result.is_none() {
            let span = self.span_from(first);
            let message = format!("`{sign}` cannot take {} and {}", left_ty.name(), right_ty.name());
            let json = [x, y].contains(&Ty::Json) || [x, y].contains(&Ty::Double);
            let whole = [x, y].iter().any(|ty| matches!(ty, Ty::Int | Ty::UInt));
            let clock = [x, y].iter().any(|ty| matches!(ty, Ty::Timestamp | Ty::Duration));
            if operation == Arithmetic::Remainder && json {
                let help =
                    "numbers of the payload are doubles, and `%` is for whole numbers: write `int(…) % …`";
                self.fault_with_help(span, message, help);
            } else if json && whole {
                let help = "numbers of the payload are doubles: write `double(…)` around the whole number, or `int(…)` \
                            around the other";
                self.fault_with_help(span, message, help);
            } else if clock {
                let help = "write `timestamp(…)` or `duration(…)` around a text";
                self.fault_with_help(span, message, help);
            } else {
                self.fault(span, message);
            }
        }
        (Node::Arithmetic(operation, Box::new(a), Box::new(b)), result.unwrap_or(Ty::Dyn))
    }

    fn comparison(&mut self, comparison: Comparison, sign: &str, left: &IdedExpr, right: &IdedExpr) -> Typed {
        let first = self.cursor;
        let (a, x) = self.expression(left);
        if !matches!(&left.expr, Expr::Ident(name) if name.starts_with('@')) {
            self.meet(sign);
        }
        let (b, y) = self.expression(right);
        let span = self.span_from(first);
        let is_equality = matches!(comparison, Comparison::Equal | Comparison::NotEqual);
        let fine = if is_equality { x.may_equal(y) } else { x.may_compare(y) };
        if !fine {
            let message = format!("`{sign}` compares {} with {}, which are never alike", x.name(), y.name());
            let clock = [x, y].iter().any(|ty| matches!(ty, Ty::Timestamp | Ty::Duration));
            if clock {
                let help = "write `timestamp(…)` or `duration(…)` around a text";
                self.fault_with_help(span.clone(), message, help);
            } else {
                self.fault(span.clone(), message);
            }
        }
        if is_equality && (asks_json_for_int(&a, &b) || asks_json_for_int(&b, &a)) {
            let warning = ConditionFault::new(
                span.clone(),
                "this is never true: numbers of the payload are doubles, as CEL says of JSON",
            );
            let help =
                "compare with `double`; that a number is whole is asked by `payload.x == int(payload.x)`";
            self.findings.warnings.push(warning.help(help));
        }
        self.note_bound(comparison, &a, &b, &span);
        (Node::Comparison(comparison, Box::new(a), Box::new(b)), Ty::Bool)
    }

    /// Notes which side a number of the payload is held in from.
    fn note_bound(&mut self, comparison: Comparison, a: &Node, b: &Node, span: &Range<usize>) {
        let (path, is_left) = match (path(a), is_number(b), path(b), is_number(a)) {
            (Some(path), true, ..) => (path, true),
            (.., Some(path), true) => (path, false),
            _ => return,
        };
        let (lower, upper) = match (comparison, is_left) {
            (Comparison::Equal, _) => (true, true),
            (Comparison::NotEqual, _) => return,
            (Comparison::Less | Comparison::LessOrEqual, true)
            | (Comparison::Greater | Comparison::GreaterOrEqual, false) => (false, true),
            (Comparison::Greater | Comparison::GreaterOrEqual, true)
            | (Comparison::Less | Comparison::LessOrEqual, false) => (true, false),
        };
        let (lower, upper) = if self.negated && lower != upper { (upper, lower) } else { (lower, upper) };
        let bound = self
            .findings
            .bounds
            .entry(path)
            .or_insert_with(|| Bound { span: span.clone(), ..Bound::default() });
        bound.lower |= lower;
        bound.upper |= upper;
    }

    fn is_in(&mut self, item: &IdedExpr, container: &IdedExpr) -> Typed {
        let first = self.cursor;
        let (item, item_ty) = self.expression(item);
        self.meet("in");
        let (container, ty) = self.expression(container);
        let span = self.span_from(first);
        if !ty.may_be(Ty::List) && !ty.may_be(Ty::Map) {
            self.fault(span.clone(), format!("`in` looks into a list or a map, but this is {}", ty.name()));
        } else if let Node::List(items) = &container {
            let alike = |item: &Node| literal_type(item).is_none_or(|ty| item_ty.may_equal(ty));
            if !items.is_empty() && !items.iter().any(alike) {
                let message = format!("this is never true: {} is none of them", item_ty.name());
                self.fault(span.clone(), message);
            }
            if let Some(path) = path(&item) {
                let bound =
                    self.findings.bounds.entry(path).or_insert_with(|| Bound { span, ..Bound::default() });
                (bound.lower, bound.upper) = (true, true);
            }
        }
        (Node::In(Box::new(item), Box::new(container)), Ty::Bool)
    }

    fn index(&mut self, operand: &IdedExpr, index: &IdedExpr) -> Typed {
        let first = self.cursor;
        let (operand, ty) = self.expression(operand);
        self.meet("[");
        let (index, index_ty) = self.expression(index);
        let span = self.span_from(first);
        if !ty.may_be(Ty::List) && !ty.may_be(Ty::Map) {
            self.fault(span, format!("`[…]` reads from a list or a map, but this is {}", ty.name()));
            return BROKEN;
        }
        let texts = matches!(ty, Ty::Payload | Ty::Metadata);
        if texts && !index_ty.may_be(Ty::Text) || ty == Ty::List && !index_ty.may_be_number() {
            self.fault(span, format!("`[…]` cannot look {} up with {}", ty.name(), index_ty.name()));
            return BROKEN;
        }
        let inner = ty.inner();
        if let Node::Literal(Literal::Text(field)) = index {
            // The same as `.field`, so that what is noticed of the one is noticed of the other.
            let node = Node::Select(Box::new(operand), field);
            self.note_path(&node);
            return (node, inner);
        }
        (Node::Index(Box::new(operand), Box::new(index)), inner)
    }

    fn comprehension(&mut self, inner: &ComprehensionExpr) -> Typed {
        let first = self.cursor;
        let (range, range_ty) = self.expression(&inner.iter_range);
        if !range_ty.may_be(Ty::List) && !range_ty.may_be(Ty::Map) {
            let span = self.span_from(first);
            self.fault(span, format!("only lists and maps have items, but this is {}", range_ty.name()));
        }
        let accumulator = self.locals.iter().map(|local| local.place + 1).max().unwrap_or(0);
        let accumulator = accumulator.next_multiple_of(3);
        let (initial, accumulator_ty) = self.expression(&inner.accu_init);
        let keys = range_ty.is_map();
        let item_ty = if keys { Ty::Text } else { range_ty.inner() };
        let outer = self.locals.len();
        let local = |name: &str, place: usize, ty: Ty| Local { name: name.to_owned(), place, ty };
        self.locals.push(local(&inner.accu_var, accumulator, accumulator_ty));
        self.locals.push(local(&inner.iter_var, accumulator + 1, item_ty));
        let has_second = inner.iter_var2.is_some();
        if let Some(second) = &inner.iter_var2 {
            self.locals.push(local(second, accumulator + 2, range_ty.inner()));
        }
        let goes_on = self.expression(&inner.loop_cond).0;
        let step = self.expression(&inner.loop_step).0;
        // The result speaks of the accumulator alone.
        let (result, result_ty) = self.expression(&inner.result);
        self.locals.truncate(outer);
        let made = Loop { range, accumulator, has_second, initial, goes_on, step, result };
        (Node::Loop(Box::new(made)), result_ty)
    }

    fn function(&mut self, call: &CallExpr) -> Typed {
        let name = call.func_name.as_str();
        let is_method = call.target.is_some();
        let first = self.cursor;
        if MACROS.contains(&name) {
            // With the right number of arguments, the parser would have made a loop of it.
            let span = self.meet(name);
            let shape = match name {
                "has" => "has(payload.field)".to_owned(),
                "map" => "list.map(item, value)".to_owned(),
                _ => format!("list.{name}(item, condition)"),
            };
            self.fault_with_help(
                span,
                format!("`{name}` is not called like this"),
                format!("write `{shape}`"),
            );
            return BROKEN;
        }
        let mut arguments = Vec::new();
        if let Some(target) = &call.target {
            let start = self.cursor;
            let (node, ty) = self.expression(target);
            arguments.push((node, ty, self.span_from(start)));
        }
        let name_span = self.meet(name);
        self.meet("(");
        for argument in &call.args {
            let start = self.cursor;
            let (node, ty) = self.expression(argument);
            arguments.push((node, ty, self.span_from(start)));
        }
        if name == "matches" {
            return self.matches(arguments, name_span);
        }
        if RUNNING.contains(&name) && !is_method {
            return self.running(name, arguments, name_span);
        }
        let named: Vec<&Signature> = SIGNATURES.iter().filter(|known| known.name == name).collect();
        let Some(signature) = named.iter().find(|known| known.is_method == is_method) else {
            if let Some(other) = named.first() {
                let message = if other.is_method {
                    format!("`{name}` is called on a value: `x.{name}(…)`")
                } else {
                    format!("`{name}` is not called on a value: write `{name}(…)`")
                };
                self.fault(name_span, message);
            } else {
                self.unknown_function(name, name_span);
            }
            return BROKEN;
        };
        let given = arguments.len();
        if given < signature.required || given > signature.arguments.len() {
            let target = usize::from(is_method);
            let (least, most) = (signature.required - target, signature.arguments.len() - target);
            let wanted = if least == most { least.to_string() } else { format!("{least} to {most}") };
            let span = self.span_from(first);
            let given = given - target;
            self.fault(span, format!("`{name}` takes {wanted} arguments, but here are {given}"));
            return BROKEN;
        }
        for ((_, ty, span), wanted) in arguments.iter().zip(signature.arguments) {
            if !ty.may_be(*wanted) {
                let message = format!("`{name}` needs {}, but this is {}", wanted.name(), ty.name());
                let mut fault = ConditionFault::new(span.clone(), message);
                match (ty, wanted) {
                    (Ty::Json, Ty::Int) => {
                        fault = fault.help("numbers of the payload are doubles: write `int(…)`");
                    }
                    (Ty::Json | Ty::Text, Ty::Moment) => {
                        fault = fault.help("write `timestamp(…)` or `duration(…)` around the text");
                    }
                    _ => {}
                }
                self.faults.push(fault);
            }
        }
        let result = signature.result;
        let node =
            Node::Call(signature.function, arguments.into_iter().map(|(argument, ..)| argument).collect());
        (node, result)
    }

    fn unknown_function(&mut self, name: &str, span: Range<usize>) {
        let known = SIGNATURES.iter().map(|known| known.name).chain(MACROS).chain(RUNNING).chain(["matches"]);
        let message = format!("unknown function `{name}`");
        match closest(name, known) {
            Some(meant) => self.fault_with_help(span, message, format!("did you mean `{meant}`?")),
            None => self.fault(span, message),
        }
    }

    /// `total("payload.amount", "24h", "payload.to")`, `count("1h", "payload.to")`.
    fn running(
        &mut self,
        name: &str,
        arguments: Vec<(Node, Ty, Range<usize>)>,
        name_span: Range<usize>,
    ) -> Typed {
        let adds_up = name == "total";
        let shape = if adds_up {
            "write `total(\"payload.amount\", \"24h\")`; fields after the while must be the same: `\"payload.to\"`"
        } else {
            "write `count(\"1h\")`; fields after the while must be the same: `\"payload.to\"`"
        };
        let mut texts = Vec::new();
        for (node, _, span) in arguments {
            let Node::Literal(Literal::Text(text)) = node else {
                self.fault_with_help(
                    span,
                    format!("what `{name}` takes must be written in the policy as text"),
                    shape,
                );
                return BROKEN;
            };
            texts.push((text, span));
        }
        let mut texts = texts.into_iter();
        let field = if adds_up { texts.next() } else { None };
        let (Some((window, window_span)), false) = (texts.next(), adds_up && field.is_none()) else {
            self.fault_with_help(name_span, format!("`{name}` lacks what it needs"), shape);
            return BROKEN;
        };
        let by: Vec<_> = texts.collect();
        let before = self.faults.len();
        for (path, span) in field.iter().chain(&by) {
            let in_payload = path.starts_with("payload.");
            if !is_path(path) || !in_payload && field.as_ref().is_some_and(|(field, _)| field == path) {
                self.fault_with_help(span.clone(), format!("`{path}` is not a field of the request"), shape);
            } else {
                self.findings.paths.push(path.to_string());
            }
        }
        let window_ms = match duration_ms(&window) {
            Ok(window_ms) if (60_000..=LONGEST_WINDOW_MS).contains(&window_ms) => window_ms,
            Ok(_) => {
                self.fault(window_span, "the while of a total must be from 1 minute to 30 days");
                0
            }
            Err(why) => {
                self.fault_with_help(window_span, why, shape);
                0
            }
        };
        if self.faults.len() > before {
            return BROKEN;
        }
        let meter = Meter {
            field: field.map(|(field, _)| field.into()),
            by: by.into_iter().map(|(path, _)| path.into()).collect(),
        };
        let gauge = Gauge { meter, window_ms };
        self.gauges.push(gauge.clone());
        (Node::Running(Box::new(gauge)), if adds_up { Ty::Double } else { Ty::Int })
    }

    fn matches(&mut self, arguments: Vec<(Node, Ty, Range<usize>)>, name_span: Range<usize>) -> Typed {
        let Ok([(text, text_ty, text_span), (pattern, _, pattern_span)]) = <[_; 2]>::try_from(arguments)
        else {
            let shape = "`matches` takes a text and a pattern: `payload.to.matches('@example[.]com$')`";
            self.fault(name_span, shape);
            return BROKEN;
        };
        if !text_ty.may_be(Ty::Text) {
            self.fault(text_span, format!("`matches` needs a text, but this is {}", text_ty.name()));
        }
        let Node::Literal(Literal::Text(pattern)) = pattern else {
            let help = "a pattern that comes with the request would let its sender choose what it matches";
            self.fault_with_help(
                pattern_span,
                "the pattern of `matches` must be written in the policy",
                help,
            );
            return BROKEN;
        };
        match Pattern::compile(&pattern) {
            Ok(pattern) => (Node::Matches(Box::new(text), Box::new(pattern)), Ty::Bool),
            Err(why) => {
                self.fault(pattern_span, why);
                BROKEN
            }
        }
    }
}

/// What an operation makes of values of two types; none where it takes none such.
fn result_type(operation: Arithmetic, a: Ty, b: Ty) -> Option<Ty> {
    use Arithmetic::{Add, Divide, Multiply, Remainder, Subtract};
    match (a, b) {
        (Ty::Int, Ty::Int | Ty::Dyn) | (Ty::Dyn, Ty::Int) => Some(if a == b { Ty::Int } else { Ty::Dyn }),
        (Ty::UInt, Ty::UInt | Ty::Dyn) | (Ty::Dyn, Ty::UInt) => Some(if a == b { Ty::UInt } else { Ty::Dyn }),
        (Ty::Dyn, _) | (_, Ty::Dyn) => Some(Ty::Dyn),
        (Ty::Json | Ty::Double, Ty::Json | Ty::Double) => match operation {
            Remainder => None,
            Add if a == Ty::Json && b == Ty::Json => Some(Ty::Json),
            Add | Subtract | Multiply | Divide => Some(Ty::Double),
        },
        (Ty::Text | Ty::Json, Ty::Text | Ty::Json) if operation == Add => Some(Ty::Text),
        (Ty::List | Ty::Json, Ty::List | Ty::Json) if operation == Add => Some(Ty::List),
        (Ty::Bytes, Ty::Bytes) if operation == Add => Some(Ty::Bytes),
        (Ty::Timestamp, Ty::Duration) if matches!(operation, Add | Subtract) => Some(Ty::Timestamp),
        (Ty::Duration, Ty::Timestamp) if operation == Add => Some(Ty::Timestamp),
        (Ty::Timestamp, Ty::Timestamp) if operation == Subtract => Some(Ty::Duration),
        (Ty::Duration, Ty::Duration) if matches!(operation, Add | Subtract) => Some(Ty::Duration),
        _ => None,
    }
}

/// `payload.a.b`, also where a conversion is around it; none for what is not a field of the request.
fn path(node: &Node) -> Option<String> {
    match node {
        Node::Variable(Variable::Payload) => Some("payload".into()),
        Node::Variable(Variable::Metadata) => Some("metadata".into()),
        Node::Select(operand, field) => Some(format!("{}.{field}", path(operand)?)),
        Node::Call(super::library::Function::ToDouble | super::library::Function::ToInt, arguments) => {
            arguments.first().and_then(path)
        }
        _ => None,
    }
}

fn is_number(node: &Node) -> bool {
    match node {
        Node::Literal(literal) => matches!(literal, Literal::Int(_) | Literal::UInt(_) | Literal::Double(_)),
        Node::Negate(operand) => is_number(operand),
        _ => false,
    }
}

fn literal_type(node: &Node) -> Option<Ty> {
    match node {
        Node::Literal(literal) => Some(match literal {
            Literal::Null => Ty::Null,
            Literal::Bool(_) => Ty::Bool,
            Literal::Int(_) => Ty::Int,
            Literal::UInt(_) => Ty::UInt,
            Literal::Double(_) => Ty::Double,
            Literal::Text(_) => Ty::Text,
            Literal::Bytes(_) => Ty::Bytes,
            Literal::Type(_) => Ty::Type,
        }),
        _ => None,
    }
}

/// `type(payload.x) == int`: never true.
fn asks_json_for_int(call: &Node, ty: &Node) -> bool {
    let Node::Call(super::library::Function::TypeOf, arguments) = call else { return false };
    let from_json = arguments.first().is_some_and(|argument| {
        matches!(argument, Node::Select(..))
            && path(argument).is_some_and(|path| path.starts_with("payload."))
    });
    from_json && matches!(ty, Node::Literal(Literal::Type("int" | "uint")))
}

/// `google.protobuf.Timestamp` and `google.protobuf.Duration`: what `type()` gives for times and durations.
fn protobuf_type(select: &SelectExpr) -> Option<&'static str> {
    let Expr::Select(package) = &select.operand.expr else { return None };
    let Expr::Ident(root) = &package.operand.expr else { return None };
    match (root.as_str(), package.field.as_str(), select.field.as_str()) {
        ("google", "protobuf", "Timestamp") => Some("google.protobuf.Timestamp"),
        ("google", "protobuf", "Duration") => Some("google.protobuf.Duration"),
        _ => None,
    }
}
