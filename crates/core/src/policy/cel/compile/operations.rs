//! Operators: what they take, and what can be known of their result.

use std::ops::Range;

use cel::common::ast::{Expr, IdedExpr};

use crate::policy::cel::eval::is_written_number;
use crate::policy::cel::syntax::ConditionFault;

use super::{BROKEN, Bound, Compiler, Read, Typed, literal_type};
use crate::policy::cel::node::{Arithmetic, Comparison, Literal, Node};
use crate::policy::cel::types::Ty;

impl Compiler<'_> {
    pub(super) fn logical(&mut self, left: &IdedExpr, right: &IdedExpr, sign: &str) -> Typed {
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

    pub(super) fn arithmetic(
        &mut self,
        operation: Arithmetic,
        sign: &str,
        left: &IdedExpr,
        right: &IdedExpr,
    ) -> Typed {
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

    pub(super) fn comparison(
        &mut self,
        comparison: Comparison,
        sign: &str,
        left: &IdedExpr,
        right: &IdedExpr,
    ) -> Typed {
        let first = self.cursor;
        let (a, x) = self.expression(left);
        let left_span = self.span_from(first);
        if !matches!(&left.expr, Expr::Ident(name) if name.starts_with('@')) {
            self.meet(sign);
        }
        let second = self.cursor;
        let (b, y) = self.expression(right);
        let right_span = self.span_from(second);
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
        if is_equality && (self.asks_json_for_int(&a, &b) || self.asks_json_for_int(&b, &a)) {
            let warning = ConditionFault::new(
                span.clone(),
                "this is never true: numbers of the payload are doubles, as CEL says of JSON",
            );
            let help =
                "compare with `double`; that a number is whole is asked by `payload.x == int(payload.x)`";
            self.findings.warnings.push(warning.help(help));
        }
        self.note_bound(comparison, (&a, left_span), (&b, right_span), &span);
        (Node::Comparison(comparison, Box::new(a), Box::new(b)), Ty::Bool)
    }

    /// `type(payload.x) == int`: never true.
    fn asks_json_for_int(&self, call: &Node, ty: &Node) -> bool {
        let Node::Call(crate::policy::cel::library::Function::TypeOf, arguments) = call else { return false };
        let from_json = arguments.first().is_some_and(|argument| {
            matches!(argument, Node::Select(..))
                && self.read(argument).is_some_and(|read| read.path.starts_with("payload."))
        });
        from_json && matches!(ty, Node::Literal(Literal::Type("int" | "uint")))
    }

    /// Notes which side a number of the request is held in from.
    fn note_bound(
        &mut self,
        comparison: Comparison,
        (a, left_span): (&Node, Range<usize>),
        (b, right_span): (&Node, Range<usize>),
        span: &Range<usize>,
    ) {
        let (node, own_span, is_left) = match (is_number(a), is_number(b)) {
            (false, true) => (a, left_span, true),
            (true, false) => (b, right_span, false),
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
        if let Node::Running(gauge) = node {
            let Some(field) = &gauge.meter.field else { return };
            // A total counts the request at hand, so its upper limit is one for the number itself. It has no lower one
            // to give: a number below zero adds nothing to it.
            self.hold(Read::whole(field), (false, upper), span);
            let written = self.source.get(own_span).unwrap_or_default();
            let start = written.find("total").unwrap_or_default();
            let total = written.get(start..).and_then(|total| total.split_inclusive(')').next());
            self.hold(Read::whole(total.unwrap_or(written)), (true, upper), span);
        } else if let Some(read) = self.read(node) {
            self.hold(read, (lower, upper), span);
        }
    }

    /// Notes that a value of the request is held in from those sides: from below, from above.
    fn hold(&mut self, read: Read, (lower, upper): (bool, bool), span: &Range<usize>) {
        if !read.is_every {
            return;
        }
        let bound = self.findings.bounds.entry(read.path).or_insert_with(|| Bound {
            span: span.clone(),
            shown: read.shown,
            ..Bound::default()
        });
        bound.lower |= lower;
        bound.upper |= upper;
    }

    pub(super) fn is_in(&mut self, item: &IdedExpr, container: &IdedExpr) -> Typed {
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
            if let Some(read) = self.read(&item) {
                self.hold(read, (true, true), &span);
            }
        }
        (Node::In(Box::new(item), Box::new(container)), Ty::Bool)
    }

    pub(super) fn index(&mut self, operand: &IdedExpr, index: &IdedExpr) -> Typed {
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

fn is_number(node: &Node) -> bool {
    match node {
        Node::Literal(literal) => matches!(literal, Literal::Int(_) | Literal::UInt(_) | Literal::Double(_)),
        Node::Negate(operand) => is_number(operand),
        _ => false,
    }
}
