//! From the syntax tree to a condition that can be evaluated, with everything that can be known of it beforehand.
//!
//! What could never be evaluated, whatever is asked, is a fault here, at its place; what is probably not meant, a
//! warning.

mod constants;
mod functions;
mod operations;
mod places;

use std::collections::BTreeMap;
use std::ops::Range;

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators,
};

use super::super::diagnostic::closest;
use super::super::totals::Gauge;
use super::node::{Arithmetic, Comparison, Literal, Loop, Node, Variable};
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
    /// What is compared with a number: fields of the request, by their path (`payload.amount`, `payload.items[].price`),
    /// and running totals.
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
    /// How the condition calls it: `item.price`.
    pub(in super::super) shown: String,
    /// Where it is read first, in bytes of the condition.
    pub(in super::super) span: Range<usize>,
}

/// Compiles a condition, and returns what was noticed. `Err` holds every fault that was found.
pub(in super::super) fn compile(source: &str) -> Result<(Compiled, Findings), Vec<ConditionFault>> {
    compile_with(source, true)
}

/// Compiles a condition that was checked when its policy was installed, maybe by a version that overlooked what its
/// constants come to: those keep failing when they are evaluated, and what stands beside them keeps its meaning.
pub(in super::super) fn compile_checked_before(source: &str) -> Result<Compiled, Vec<ConditionFault>> {
    compile_with(source, false).map(|(compiled, _)| compiled)
}

fn compile_with(source: &str, tries_constants: bool) -> Result<(Compiled, Findings), Vec<ConditionFault>> {
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
        tries_constants,
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
    /// The path of what it takes its values from; none where those are written in the policy.
    path: Option<String>,
    /// Whether what is asked of it is asked of every item, as `all` does.
    is_every: bool,
}

/// A value of the request that a condition reads.
struct Read {
    /// What it is the same as elsewhere in the condition: `payload.items[].price`.
    path: String,
    /// As it is written: `item.price`.
    shown: String,
    /// Whether a comparison with it holds for every value that it stands for.
    is_every: bool,
}

impl Read {
    fn whole(name: &str) -> Self {
        Self { path: name.to_owned(), shown: name.to_owned(), is_every: true }
    }

    /// A part of it, by what is written behind it.
    fn part(mut self, suffix: &str) -> Self {
        self.path.push_str(suffix);
        self.shown.push_str(suffix);
        self
    }
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
    /// Whether a call that fails for its constants is a fault.
    tries_constants: bool,
}

type Typed = (Node, Ty);

/// What stands for an expression with a fault: nothing more is said about it.
const BROKEN: Typed = (Node::Literal(Literal::Null), Ty::Dyn);

impl Compiler<'_> {
    fn text_of(&self, token: &Token) -> &str {
        self.source.get(token.span.clone()).unwrap_or_default()
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
        if let Some(read) = self.read(node) {
            self.findings.paths.push(read.path);
        }
    }

    /// `payload.a.b`, also where a conversion is around it, and an item of a list; none for what the request does not hold.
    fn read(&self, node: &Node) -> Option<Read> {
        match node {
            Node::Variable(Variable::Payload) => Some(Read::whole("payload")),
            Node::Variable(Variable::Metadata) => Some(Read::whole("metadata")),
            Node::Local(place) => {
                let local = self.local(*place)?;
                let (path, shown) = (local.path.clone()?, local.name.clone());
                Some(Read { path, shown, is_every: local.is_every })
            }
            Node::Select(operand, field) => Some(self.read(operand)?.part(&format!(".{field}"))),
            Node::Index(operand, index) => {
                let operand = self.read(operand)?;
                match &**index {
                    Node::Literal(Literal::Int(index)) => Some(operand.part(&format!("[{index}]"))),
                    Node::Local(place) => {
                        let local = self.local(*place)?;
                        let part = operand.part(&format!("[{}]", local.name));
                        Some(Read { is_every: part.is_every && local.is_every, ..part })
                    }
                    _ => None,
                }
            }
            Node::Call(super::library::Function::ToDouble | super::library::Function::ToInt, arguments) => {
                self.read(arguments.first()?)
            }
            _ => None,
        }
    }

    fn local(&self, place: usize) -> Option<&Local> {
        self.locals.iter().find(|local| local.place == place)
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
        // `all` begins with true and `exists` with false, and under a `!` each is the other.
        let asks_every = match &inner.accu_init.expr {
            Expr::Literal(LiteralValue::Boolean(flag)) => *flag.inner() != self.negated,
            _ => false,
        };
        let (path, is_every) = match (self.read(&range), &range) {
            (Some(read), _) => (Some(format!("{}[]", read.path)), asks_every && read.is_every),
            (None, Node::List(items)) if items.iter().all(|item| matches!(item, Node::Literal(_))) => {
                (None, asks_every)
            }
            // What a function makes of them has no path, and is the same where it is made the same.
            (None, _) => (Some(format!("{range:?}[]")), asks_every),
        };
        let outer = self.locals.len();
        let local = |name: &str, place: usize, ty: Ty| {
            let path = path.clone();
            Local { name: name.to_owned(), place, ty, path, is_every }
        };
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
