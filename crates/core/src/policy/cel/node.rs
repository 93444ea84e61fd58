//! A condition, made ready for evaluation: names resolved, patterns compiled.

use super::super::totals::Gauge;
use super::library::Function;
use super::pattern::Pattern;

/// A field of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variable {
    Action,
    Client,
    Metadata,
    Now,
    Payload,
    Summary,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A value that is written in the policy.
#[derive(Clone, Debug)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Double(f64),
    Text(Box<str>),
    Bytes(Box<[u8]>),
    Type(&'static str),
}

/// One step of a condition.
#[derive(Debug)]
pub(super) enum Node {
    Literal(Literal),
    Variable(Variable),
    /// A name that a macro binds, by its place among them.
    Local(usize),
    Select(Box<Node>, Box<str>),
    Has(Box<Node>, Box<str>),
    Index(Box<Node>, Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Not(Box<Node>),
    NotStrictlyFalse(Box<Node>),
    Negate(Box<Node>),
    Conditional(Box<Node>, Box<Node>, Box<Node>),
    Arithmetic(Arithmetic, Box<Node>, Box<Node>),
    /// `accumulator + [items]`, as `map` and `filter` write it: the accumulator's list grows where it is.
    Append(usize, Vec<Node>),
    Comparison(Comparison, Box<Node>, Box<Node>),
    In(Box<Node>, Box<Node>),
    Matches(Box<Node>, Box<Pattern>),
    Call(Function, Vec<Node>),
    /// `total(…)` or `count(…)`.
    Running(Box<Gauge>),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    Loop(Box<Loop>),
}

/// What the macros `all`, `exists`, `exists_one`, `map` and `filter` become.
#[derive(Debug)]
pub(super) struct Loop {
    pub(super) range: Node,
    /// The place of the accumulator; the item's is the next, a second item's the one after that.
    pub(super) accumulator: usize,
    pub(super) has_second: bool,
    pub(super) initial: Node,
    pub(super) goes_on: Node,
    pub(super) step: Node,
    pub(super) result: Node,
}
