//! From text to the `cel` crate's syntax tree. What would take the parser too deep is refused before it is parsed.

use std::ops::Range;

use cel::common::ast::IdedExpr;
use cel::parser::PrattParser;
use cel::parser::pratt_parser::{Lexer, TokenKind};

/// The longest condition, in bytes.
const MAX_BYTES: usize = 8 * 1024;

/// The deepest a condition may nest, counting brackets and the operators, fields and calls that hang on one another.
///
/// A debug build reads and evaluates that much on a thread with a stack of 256 KB.
pub(super) const MAX_DEPTH: usize = 32;

/// The most names, operators, numbers and texts in a condition.
const MAX_TOKENS: usize = 1500;

/// One thing wrong with a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct ConditionFault {
    /// Where, in bytes of the condition.
    pub(in super::super) span: Range<usize>,
    /// What: lower case, no full stop.
    pub(in super::super) message: String,
    /// What to do about it.
    pub(in super::super) help: Option<String>,
}

impl ConditionFault {
    pub(super) fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), help: None }
    }

    #[must_use]
    pub(super) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

/// A word, number, text or sign of a condition.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) span: Range<usize>,
}

/// A condition's syntax tree, with its words and where they are.
pub(super) struct Syntax {
    pub(super) tree: IdedExpr,
    pub(super) tokens: Vec<Token>,
}

/// Parses a condition, or says everything that is wrong with its form.
pub(super) fn parse(source: &str) -> Result<Syntax, Vec<ConditionFault>> {
    if source.trim().is_empty() {
        let fault = ConditionFault::new(0..source.len(), "the condition is empty");
        return Err(vec![fault.help("leave `when` out for a rule that always matches")]);
    }
    if source.len() > MAX_BYTES {
        let message = format!("the condition is longer than {MAX_BYTES} bytes");
        return Err(vec![ConditionFault::new(0..source.len(), message)]);
    }
    let tokens = tokens(source).map_err(|fault| vec![fault])?;
    check_depth(source, &tokens).map_err(|fault| vec![fault])?;
    let faults = words_of_other_languages(source, &tokens);
    if !faults.is_empty() {
        return Err(faults);
    }
    let parser = PrattParser::new().enable_ident_escape_syntax(true);
    match parser.parse(source) {
        Ok(tree) => Ok(Syntax { tree, tokens }),
        Err(errors) => Err(errors
            .errors
            .iter()
            .map(|error| {
                let at = offset(source, error.pos.0, error.pos.1);
                let span = tokens.iter().map(|token| token.span.clone()).find(|span| span.start >= at);
                ConditionFault::new(span.unwrap_or(source.len()..source.len()), plain(&error.msg))
            })
            .collect()),
    }
}

fn text_of<'s>(source: &'s str, token: &Token) -> &'s str {
    source.get(token.span.clone()).unwrap_or_default()
}

fn tokens(source: &str) -> Result<Vec<Token>, ConditionFault> {
    // The lexer works on bytes and calls letters beyond ASCII unknown one byte at a time.
    let mut lexer = Lexer::new(source);
    let mut tokens = Vec::new();
    loop {
        let token = lexer.lex();
        let span = token.start..token.end;
        match token.kind {
            TokenKind::TokEnd => return Ok(tokens),
            TokenKind::TokWhitespace | TokenKind::TokComment => {}
            TokenKind::TokError => {
                let rest = source.get(span.start..).unwrap_or_default();
                return Err(unknown_token(rest, span.start));
            }
            kind => {
                if source.get(span.clone()).is_none() || span.is_empty() {
                    return Err(ConditionFault::new(span, "the condition cannot be read from here on"));
                }
                tokens.push(Token { kind, span });
            }
        }
        if tokens.len() > MAX_TOKENS {
            let message = format!("the condition has more than {MAX_TOKENS} words and signs");
            return Err(ConditionFault::new(0..source.len(), message));
        }
    }
}

fn unknown_token(rest: &str, at: usize) -> ConditionFault {
    let c = rest.chars().next().unwrap_or(' ');
    let span = at..at + c.len_utf8();
    match c {
        '=' => {
            ConditionFault::new(span, "`=` is not an operator of conditions").help("write `==` to compare")
        }
        '&' => ConditionFault::new(span, "`&` is not an operator of conditions").help("write `&&` for “and”"),
        '|' => ConditionFault::new(span, "`|` is not an operator of conditions").help("write `||` for “or”"),
        '"' | '\'' => {
            ConditionFault::new(span, "this text is not closed, or has an escape that CEL does not know")
                .help("texts are written as 'text' or \"text\"; a backslash in them is `\\\\`")
        }
        '“' | '”' | '„' | '‘' | '’' => {
            ConditionFault::new(span, format!("`{c}` is a typographic quotation mark"))
                .help("texts are written as 'text' or \"text\"")
        }
        '≤' => ConditionFault::new(span, "`≤` is not an operator of conditions").help("write `<=`"),
        '≥' => ConditionFault::new(span, "`≥` is not an operator of conditions").help("write `>=`"),
        '≠' => ConditionFault::new(span, "`≠` is not an operator of conditions").help("write `!=`"),
        c if c.is_alphanumeric() && !c.is_ascii() => {
            ConditionFault::new(span, format!("`{c}` cannot be part of a name"))
                .help("write such a field as `payload['…']`, and texts in quotation marks")
        }
        c => ConditionFault::new(span, format!("`{}` means nothing in a condition", c.escape_debug())),
    }
}

/// An upper bound of how deep the tree is, from the tokens alone.
fn check_depth(source: &str, tokens: &[Token]) -> Result<(), ConditionFault> {
    // For each open bracket: what hangs on one another since the last `&&`, `||` or comma, and the `?` so far, whose
    // branches nest to the right whatever is between them.
    let mut levels = vec![(0_usize, 0_usize)];
    for token in tokens {
        let text = text_of(source, token);
        match text {
            "(" | "[" | "{" => {
                if let Some((chain, _)) = levels.last_mut() {
                    *chain += 1;
                }
                levels.push((0, 0));
            }
            ")" | "]" | "}" => {
                levels.pop();
                if levels.is_empty() {
                    levels.push((0, 0));
                }
            }
            "," => {
                if let Some(level) = levels.last_mut() {
                    *level = (0, 0);
                }
            }
            "&&" | "||" => {
                if let Some((chain, _)) = levels.last_mut() {
                    *chain = 0;
                }
            }
            "?" => {
                if let Some((_, branches)) = levels.last_mut() {
                    *branches += 1;
                }
            }
            "." | "!" | "-" | "+" | "*" | "/" | "%" | "==" | "!=" | "<" | "<=" | ">" | ">=" | "in" => {
                if let Some((chain, _)) = levels.last_mut() {
                    *chain += 1;
                }
            }
            _ => {}
        }
        let depth: usize = levels.iter().map(|(chain, branches)| chain + branches).sum();
        if depth > MAX_DEPTH {
            return Err(ConditionFault::new(
                token.span.clone(),
                format!("the condition nests more than {MAX_DEPTH} deep from here on"),
            )
            .help("split it into several rules"));
        }
    }
    Ok(())
}

/// What people write who come from SQL, Python or TOML.
fn words_of_other_languages(source: &str, tokens: &[Token]) -> Vec<ConditionFault> {
    let mut faults = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let word = text_of(source, token);
        let before = index.checked_sub(1).and_then(|index| tokens.get(index));
        let after = tokens.get(index + 1);
        let ends_value = before.is_some_and(|token| {
            matches!(text_of(source, token), ")" | "]" | "}")
                || matches!(
                    token.kind,
                    TokenKind::TokIdent
                        | TokenKind::TokString
                        | TokenKind::TokInt
                        | TokenKind::TokFloat
                        | TokenKind::TokUint
                        | TokenKind::TokBytes
                        | TokenKind::TokTrue
                        | TokenKind::TokFalse
                        | TokenKind::TokNull
                )
        });
        let is_field = before.is_some_and(|token| text_of(source, token) == ".");
        let told = match word {
            "=" => Some("write `==` to compare"),
            "and" | "AND" | "And" if ends_value => Some("write `&&`"),
            "or" | "OR" | "Or" if ends_value => Some("write `||`"),
            "not" | "NOT" | "Not"
                if !is_field
                    && after.is_some_and(|token| {
                        token.kind == TokenKind::TokIdent
                            || matches!(
                                token.kind,
                                TokenKind::TokIn | TokenKind::TokTrue | TokenKind::TokFalse
                            )
                            || text_of(source, token) == "("
                    }) =>
            {
                Some("write `!` before what must not hold, such as `!(a in b)`")
            }
            "True" | "TRUE" if !is_field => Some("write `true`"),
            "False" | "FALSE" if !is_field => Some("write `false`"),
            "None" | "NULL" | "nil" if !is_field => Some("write `null`"),
            _ => None,
        };
        if let Some(help) = told {
            let fault =
                ConditionFault::new(token.span.clone(), format!("`{word}` means nothing in a condition"));
            faults.push(fault.help(help));
        }
    }
    faults
}

/// The byte that the parser's line and column mean.
fn offset(source: &str, line: isize, column: isize) -> usize {
    let line = usize::try_from(line).unwrap_or(1).saturating_sub(1);
    let start: usize = source.split_inclusive('\n').take(line).map(str::len).sum();
    start + usize::try_from(column).unwrap_or(1).saturating_sub(1)
}

/// The parser's message, in plainer words.
fn plain(message: &str) -> String {
    let message = message.trim_end_matches('.');
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    if let Some(rest) = message.strip_prefix("mismatched input ") {
        let found = rest.split(" expecting").next().unwrap_or(rest).trim_matches('\'');
        if found == "<EOF>" {
            return "the condition ends too early".into();
        }
        return format!("`{found}` was not expected here");
    }
    if message.starts_with("expected '") {
        return message.replace('\'', "`");
    }
    let mut chars = message.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}
