//! Functions: of the library, running totals, patterns.

use std::ops::Range;

use cel::common::ast::CallExpr;

use crate::grammar::duration_ms;
use crate::policy::cel::library::{SIGNATURES, Signature};
use crate::policy::cel::node::{Literal, Node};
use crate::policy::cel::pattern::Pattern;
use crate::policy::cel::syntax::ConditionFault;
use crate::policy::diagnostic::closest;
use crate::policy::totals::{Gauge, LONGEST_WINDOW_MS, Meter, is_path};

use super::{BROKEN, Compiler, MACROS, Typed, constants};
use crate::policy::cel::types::Ty;

/// Running totals: their arguments are written in the policy, because what they add up must be known before anybody asks.
const RUNNING: [&str; 2] = ["total", "count"];

impl Compiler<'_> {
    pub(super) fn function(&mut self, call: &CallExpr) -> Typed {
        let name = call.func_name.as_str();
        let is_method = call.target.is_some();
        let first = self.cursor;
        let faults_before = self.faults.len();
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
        if self.tries_constants
            && self.faults.len() == faults_before
            && let Some(fault) = constants::fault_of(signature, &arguments)
        {
            self.faults.push(fault);
            return BROKEN;
        }
        let result = signature.result;
        let node =
            Node::Call(signature.function, arguments.into_iter().map(|(argument, ..)| argument).collect());
        (node, result)
    }

    pub(super) fn unknown_function(&mut self, name: &str, span: Range<usize>) {
        let known = SIGNATURES.iter().map(|known| known.name).chain(MACROS).chain(RUNNING).chain(["matches"]);
        let message = format!("unknown function `{name}`");
        match closest(name, known) {
            Some(meant) => self.fault_with_help(span, message, format!("did you mean `{meant}`?")),
            None => self.fault(span, message),
        }
    }

    /// `total("payload.amount", "24h", "payload.to")`, `count("1h", "payload.to")`.
    pub(super) fn running(
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

    pub(super) fn matches(
        &mut self,
        arguments: Vec<(Node, Ty, Range<usize>)>,
        name_span: Range<usize>,
    ) -> Typed {
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
