//! Where in the text of a condition something stands: its tokens are met in the order of the tree.

use std::ops::Range;

use cel::parser::pratt_parser::TokenKind;

use super::Compiler;
use crate::policy::cel::syntax::{ConditionFault, Token};

impl Compiler<'_> {
    /// Goes to that word, and returns where it is.
    pub(super) fn meet(&mut self, word: &str) -> Range<usize> {
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
    pub(super) fn meet_literal(&mut self) {
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
    pub(super) fn span_from(&self, first: usize) -> Range<usize> {
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

    pub(super) fn fault(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.faults.push(ConditionFault::new(span, message));
    }

    pub(super) fn fault_with_help(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.faults.push(ConditionFault::new(span, message).help(help));
    }
}
