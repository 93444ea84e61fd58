//! Functions of conditions: CEL's standard ones, and the extension for strings.
//!
//! <https://github.com/google/cel-spec/blob/master/doc/langdef.md#list-of-standard-definitions>,
//! <https://github.com/google/cel-go/blob/master/ext/README.md#strings>

use super::super::EvalError;
use super::budget::Budget;
use super::time::{self, Part};
use super::types::Ty;
use super::value::{List, Map, Text, Value};

/// A function, whatever it is called on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Size,
    StartsWith,
    EndsWith,
    Contains,
    TypeOf,
    ToBool,
    ToBytes,
    ToDouble,
    ToDuration,
    ToDyn,
    ToInt,
    ToText,
    ToTimestamp,
    ToUInt,
    Part(Part),
    CharAt,
    IndexOf,
    LastIndexOf,
    Join,
    LowerAscii,
    UpperAscii,
    Replace,
    Reverse,
    Split,
    Substring,
    Trim,
}

/// How a function is called.
pub(super) struct Signature {
    pub(super) name: &'static str,
    /// `x.f(…)`: `x` is then the first of its arguments.
    pub(super) is_method: bool,
    pub(super) arguments: &'static [Ty],
    /// How many of the arguments must be there, at least.
    pub(super) required: usize,
    pub(super) result: Ty,
    pub(super) function: Function,
}

const fn global(name: &'static str, arguments: &'static [Ty], result: Ty, function: Function) -> Signature {
    Signature { name, is_method: false, arguments, required: arguments.len(), result, function }
}

const fn method(
    name: &'static str,
    arguments: &'static [Ty],
    required: usize,
    result: Ty,
    function: Function,
) -> Signature {
    Signature { name, is_method: true, arguments, required, result, function }
}

const fn part(name: &'static str, part: Part) -> Signature {
    method(name, &[Ty::Moment, Ty::Text], 1, Ty::Int, Function::Part(part))
}

/// Every function; `matches` and the macros are the compiler's.
pub(super) static SIGNATURES: &[Signature] = &[
    global("size", &[Ty::Sized], Ty::Int, Function::Size),
    method("size", &[Ty::Sized], 1, Ty::Int, Function::Size),
    method("startsWith", &[Ty::Text, Ty::Text], 2, Ty::Bool, Function::StartsWith),
    method("endsWith", &[Ty::Text, Ty::Text], 2, Ty::Bool, Function::EndsWith),
    method("contains", &[Ty::Text, Ty::Text], 2, Ty::Bool, Function::Contains),
    global("type", &[Ty::Dyn], Ty::Type, Function::TypeOf),
    global("bool", &[Ty::Dyn], Ty::Bool, Function::ToBool),
    global("bytes", &[Ty::Dyn], Ty::Bytes, Function::ToBytes),
    global("double", &[Ty::Dyn], Ty::Double, Function::ToDouble),
    global("duration", &[Ty::Dyn], Ty::Duration, Function::ToDuration),
    global("dyn", &[Ty::Dyn], Ty::Dyn, Function::ToDyn),
    global("int", &[Ty::Dyn], Ty::Int, Function::ToInt),
    global("string", &[Ty::Dyn], Ty::Text, Function::ToText),
    global("timestamp", &[Ty::Dyn], Ty::Timestamp, Function::ToTimestamp),
    global("uint", &[Ty::Dyn], Ty::UInt, Function::ToUInt),
    part("getFullYear", Part::FullYear),
    part("getMonth", Part::Month),
    part("getDate", Part::Date),
    part("getDayOfMonth", Part::DayOfMonth),
    part("getDayOfWeek", Part::DayOfWeek),
    part("getDayOfYear", Part::DayOfYear),
    part("getHours", Part::Hours),
    part("getMinutes", Part::Minutes),
    part("getSeconds", Part::Seconds),
    part("getMilliseconds", Part::Milliseconds),
    method("charAt", &[Ty::Text, Ty::Int], 2, Ty::Text, Function::CharAt),
    method("indexOf", &[Ty::Text, Ty::Text, Ty::Int], 2, Ty::Int, Function::IndexOf),
    method("lastIndexOf", &[Ty::Text, Ty::Text, Ty::Int], 2, Ty::Int, Function::LastIndexOf),
    method("join", &[Ty::List, Ty::Text], 1, Ty::Text, Function::Join),
    method("lowerAscii", &[Ty::Text], 1, Ty::Text, Function::LowerAscii),
    method("upperAscii", &[Ty::Text], 1, Ty::Text, Function::UpperAscii),
    method("replace", &[Ty::Text, Ty::Text, Ty::Text, Ty::Int], 3, Ty::Text, Function::Replace),
    method("reverse", &[Ty::Text], 1, Ty::Text, Function::Reverse),
    method("split", &[Ty::Text, Ty::Text, Ty::Int], 2, Ty::List, Function::Split),
    method("substring", &[Ty::Text, Ty::Int, Ty::Int], 2, Ty::Text, Function::Substring),
    method("trim", &[Ty::Text], 1, Ty::Text, Function::Trim),
];

/// What reading or writing a number, a time or a duration as text takes, in steps.
const TEXT_STEPS: usize = 12;

type Result<T> = std::result::Result<T, EvalError>;

impl Function {
    /// Calls it. Counts and places in texts are of characters (Unicode code points), as CEL says.
    pub(super) fn call<'a>(self, arguments: &[Value<'a>], budget: &Budget) -> Result<Value<'a>> {
        let first = arguments.first().ok_or(EvalError::WrongType)?;
        match self {
            Self::Size => size(first, budget),
            Self::StartsWith | Self::EndsWith | Self::Contains => self.look(text(first)?, arguments, budget),
            Self::TypeOf => Ok(Value::Type(first.type_name())),
            Self::ToDyn => Ok(first.clone()),
            Self::ToBool
            | Self::ToBytes
            | Self::ToDouble
            | Self::ToDuration
            | Self::ToInt
            | Self::ToText
            | Self::ToTimestamp
            | Self::ToUInt => {
                budget.spend(TEXT_STEPS)?;
                self.convert(first, budget)
            }
            Self::Part(part) => {
                // A zone is looked up by its name.
                budget.spend(if arguments.len() > 1 { 5 * TEXT_STEPS } else { 1 })?;
                part_of(first, part, arguments.get(1))
            }
            Self::Join => join(first, arguments.get(1), budget),
            Self::CharAt
            | Self::IndexOf
            | Self::LastIndexOf
            | Self::LowerAscii
            | Self::UpperAscii
            | Self::Replace
            | Self::Reverse
            | Self::Split
            | Self::Substring
            | Self::Trim => self.work_on_text(text(first)?, arguments, budget),
        }
    }

    fn look<'a>(self, whole: &str, arguments: &[Value<'a>], budget: &Budget) -> Result<Value<'a>> {
        let part = text_at(arguments, 1)?;
        budget.spend_bytes(whole.len() + part.len())?;
        Ok(Value::Bool(match self {
            Self::StartsWith => whole.starts_with(part),
            Self::EndsWith => whole.ends_with(part),
            _ => whole.contains(part),
        }))
    }

    fn convert<'a>(self, value: &Value<'a>, budget: &Budget) -> Result<Value<'a>> {
        if let Value::Text(text) = value {
            budget.spend_bytes(text.len())?;
        }
        match self {
            Self::ToBool => to_bool(value),
            Self::ToBytes => to_bytes(value, budget),
            Self::ToDouble => to_double(value),
            Self::ToDuration => to_duration(value),
            Self::ToInt => to_int(value),
            Self::ToTimestamp => to_timestamp(value),
            Self::ToUInt => to_uint(value),
            _ => to_text(value, budget),
        }
    }

    fn work_on_text<'a>(self, whole: &str, arguments: &[Value<'a>], budget: &Budget) -> Result<Value<'a>> {
        // Each of them walks through the text, and makes no more than it.
        budget.spend_bytes(whole.len() * 2)?;
        Ok(match self {
            Self::LowerAscii => Value::made(whole.to_ascii_lowercase()),
            Self::UpperAscii => Value::made(whole.to_ascii_uppercase()),
            // Unicode's `White_Space`, the blanks that the extension lists.
            Self::Trim => Value::made(whole.trim()),
            Self::Reverse => Value::made(whole.chars().rev().collect::<String>()),
            Self::CharAt => {
                let at = place(arguments, 1)?.ok_or(EvalError::WrongType)?;
                let length = whole.chars().count();
                if at > length {
                    return Err(EvalError::OutOfRange);
                }
                Value::made(whole.chars().nth(at).map(String::from).unwrap_or_default())
            }
            Self::Substring => {
                let from = place(arguments, 1)?.ok_or(EvalError::WrongType)?;
                let length = whole.chars().count();
                let until = place(arguments, 2)?.unwrap_or(length);
                if from > until || until > length {
                    return Err(EvalError::OutOfRange);
                }
                Value::made(whole.chars().skip(from).take(until - from).collect::<String>())
            }
            Self::IndexOf | Self::LastIndexOf => self.index_of(whole, arguments, budget)?,
            Self::Replace => replace(whole, arguments, budget)?,
            _ => split(whole, arguments, budget)?,
        })
    }

    fn index_of<'a>(self, whole: &str, arguments: &[Value<'a>], budget: &Budget) -> Result<Value<'a>> {
        let part = text_at(arguments, 1)?;
        budget.spend_bytes(part.len())?;
        let length = whole.chars().count();
        let limit = place(arguments, 2)?;
        if limit.is_some_and(|limit| limit > length) {
            return Err(EvalError::OutOfRange);
        }
        let byte_of = |at: usize| whole.char_indices().nth(at).map_or(whole.len(), |(byte, _)| byte);
        let found = if self == Self::IndexOf {
            let from = limit.map_or(0, byte_of);
            whole.get(from..).and_then(|rest| rest.find(part)).map(|byte| from + byte)
        } else {
            // The last that begins at that place or before it.
            let end = limit.map_or(whole.len(), |at| (byte_of(at) + part.len()).min(whole.len()));
            (0..=end)
                .rev()
                .find(|end| whole.is_char_boundary(*end))
                .and_then(|end| whole.get(..end))
                .and_then(|rest| rest.rfind(part))
        };
        let at = found.and_then(|byte| whole.get(..byte)).map(|before| before.chars().count());
        Ok(Value::Int(at.map_or(-1, |at| i64::try_from(at).unwrap_or(i64::MAX))))
    }
}

fn text<'v>(value: &'v Value<'_>) -> Result<&'v str> {
    match value {
        Value::Text(text) => Ok(text),
        _ => Err(EvalError::WrongType),
    }
}

fn text_at<'v>(arguments: &'v [Value<'_>], index: usize) -> Result<&'v str> {
    text(arguments.get(index).ok_or(EvalError::WrongType)?)
}

/// A place in a text; `None` where the argument is left out.
fn place(arguments: &[Value<'_>], index: usize) -> Result<Option<usize>> {
    match arguments.get(index) {
        None => Ok(None),
        Some(Value::Int(at)) => usize::try_from(*at).map(Some).map_err(|_| EvalError::OutOfRange),
        Some(_) => Err(EvalError::WrongType),
    }
}

fn count_of(length: usize) -> Value<'static> {
    Value::Int(i64::try_from(length).unwrap_or(i64::MAX))
}

fn size<'a>(value: &Value<'a>, budget: &Budget) -> Result<Value<'a>> {
    match value {
        Value::Text(text) => {
            budget.spend_bytes(text.len())?;
            Ok(count_of(text.chars().count()))
        }
        Value::Bytes(bytes) => Ok(count_of(bytes.len())),
        Value::List(list) => Ok(count_of(list.len())),
        Value::Map(map) => Ok(count_of(Map::len(map))),
        _ => Err(EvalError::WrongType),
    }
}

fn part_of<'a>(value: &Value<'a>, part: Part, zone: Option<&Value<'a>>) -> Result<Value<'a>> {
    let zone = zone.map(text).transpose()?;
    match (value, zone) {
        (Value::Timestamp(nanos), zone) => time::part_of_timestamp(*nanos, part, zone).map(Value::Int),
        (Value::Duration(nanos), None) => time::part_of_duration(*nanos, part).map(Value::Int),
        _ => Err(EvalError::WrongType),
    }
}

fn join<'a>(list: &Value<'a>, separator: Option<&Value<'a>>, budget: &Budget) -> Result<Value<'a>> {
    let Value::List(list) = list else { return Err(EvalError::WrongType) };
    let separator = separator.map_or(Ok(""), text)?;
    let mut joined = String::new();
    for (index, item) in List::iter(list).enumerate() {
        let item = text(&item)?.to_owned();
        budget.spend(1)?;
        budget.spend_bytes(item.len() + separator.len())?;
        if index > 0 {
            joined.push_str(separator);
        }
        joined.push_str(&item);
    }
    Ok(Value::made(joined))
}

/// A count that limits how often something is done: none if it is left out or negative.
fn limit(arguments: &[Value<'_>], index: usize) -> Result<Option<usize>> {
    match arguments.get(index) {
        None => Ok(None),
        Some(Value::Int(count)) => Ok(usize::try_from(*count).ok()),
        Some(_) => Err(EvalError::WrongType),
    }
}

fn replace<'a>(whole: &str, arguments: &[Value<'a>], budget: &Budget) -> Result<Value<'a>> {
    let (from, to) = (text_at(arguments, 1)?, text_at(arguments, 2)?);
    let limit = limit(arguments, 3)?.unwrap_or(usize::MAX);
    let found = whole.matches(from).take(limit).count();
    budget.spend(found)?;
    budget.spend_bytes(from.len() + found.saturating_mul(to.len()))?;
    Ok(Value::made(whole.replacen(from, to, found)))
}

fn split<'a>(whole: &str, arguments: &[Value<'a>], budget: &Budget) -> Result<Value<'a>> {
    let separator = text_at(arguments, 1)?;
    let limit = limit(arguments, 2)?;
    let parts: Vec<Value<'a>> = match (separator, limit) {
        (_, Some(0)) => Vec::new(),
        ("", limit) => {
            let cut = limit.map_or(usize::MAX, |limit| limit - 1);
            let mut rest = whole.chars();
            let mut parts: Vec<_> = rest.by_ref().take(cut).map(|c| Value::made(c.to_string())).collect();
            if !rest.as_str().is_empty() {
                parts.push(Value::made(rest.as_str()));
            }
            parts
        }
        (separator, None) => whole.split(separator).map(Value::made).collect(),
        (separator, Some(limit)) => whole.splitn(limit, separator).map(Value::made).collect(),
    };
    // Each part is a text of its own.
    budget.spend(parts.len() * 2)?;
    Ok(Value::list(parts))
}

fn to_bool<'a>(value: &Value<'a>) -> Result<Value<'a>> {
    match value {
        Value::Bool(flag) => Ok(Value::Bool(*flag)),
        Value::Text(text) => match &**text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => Err(EvalError::Unreadable),
        },
        _ => Err(EvalError::WrongType),
    }
}

fn to_bytes<'a>(value: &Value<'a>, budget: &Budget) -> Result<Value<'a>> {
    match value {
        Value::Bytes(bytes) => Ok(Value::Bytes(bytes.clone())),
        Value::Text(text) => {
            budget.spend_bytes(text.len())?;
            Ok(Value::Bytes(text.as_bytes().into()))
        }
        _ => Err(EvalError::WrongType),
    }
}

#[expect(clippy::cast_precision_loss, reason = "CEL's double() rounds")]
fn to_double<'a>(value: &Value<'a>) -> Result<Value<'a>> {
    match value {
        Value::Double(number) => Ok(Value::Double(*number)),
        Value::Int(number) => Ok(Value::Double(*number as f64)),
        Value::UInt(number) => Ok(Value::Double(*number as f64)),
        Value::Text(text) => {
            let number: f64 = text.parse().map_err(|_| EvalError::Unreadable)?;
            Ok(Value::Double(number))
        }
        _ => Err(EvalError::WrongType),
    }
}

/// Towards zero; out of range where the type cannot hold it.
fn to_int<'a>(value: &Value<'a>) -> Result<Value<'a>> {
    match value {
        Value::Int(number) => Ok(Value::Int(*number)),
        Value::UInt(number) => i64::try_from(*number).map(Value::Int).map_err(|_| EvalError::OutOfRange),
        Value::Double(number) => {
            // Both ends are left out, as cel-go does: a double that large has no certain last digit.
            let fits = *number > -9_223_372_036_854_775_808.0 && *number < 9_223_372_036_854_775_808.0;
            #[expect(clippy::cast_possible_truncation, reason = "truncation is what is asked for")]
            fits.then_some(Value::Int(*number as i64)).ok_or(EvalError::OutOfRange)
        }
        Value::Text(text) => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(EvalError::Unreadable);
            }
            text.parse().map(Value::Int).map_err(|_| EvalError::OutOfRange)
        }
        Value::Timestamp(nanos) => Ok(Value::Int(time::seconds(*nanos))),
        _ => Err(EvalError::WrongType),
    }
}

fn to_uint<'a>(value: &Value<'a>) -> Result<Value<'a>> {
    match value {
        Value::UInt(number) => Ok(Value::UInt(*number)),
        Value::Int(number) => u64::try_from(*number).map(Value::UInt).map_err(|_| EvalError::OutOfRange),
        Value::Double(number) => {
            let fits = *number > -1.0 && *number < 18_446_744_073_709_551_616.0;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it was checked to fit"
            )]
            fits.then_some(Value::UInt(*number as u64)).ok_or(EvalError::OutOfRange)
        }
        Value::Text(text) => {
            if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(EvalError::Unreadable);
            }
            text.parse().map(Value::UInt).map_err(|_| EvalError::OutOfRange)
        }
        _ => Err(EvalError::WrongType),
    }
}

fn to_text<'a>(value: &Value<'a>, budget: &Budget) -> Result<Value<'a>> {
    Ok(match value {
        Value::Text(text) => Value::Text(Text::clone(text)),
        Value::Bool(flag) => Value::made(flag.to_string()),
        Value::Int(number) => Value::made(number.to_string()),
        Value::UInt(number) => Value::made(number.to_string()),
        Value::Double(number) => Value::made(number_text(*number)),
        Value::Bytes(bytes) => {
            budget.spend_bytes(bytes.len())?;
            Value::made(std::str::from_utf8(bytes).map_err(|_| EvalError::Unreadable)?)
        }
        Value::Timestamp(nanos) => Value::made(time::show_timestamp(*nanos)?),
        Value::Duration(nanos) => Value::made(time::show_duration(*nanos)),
        Value::Null | Value::List(_) | Value::Map(_) | Value::Type(_) => return Err(EvalError::WrongType),
    })
}

/// A double as the canonical JSON of the payload spells it (RFC 8785), so that a text compared with it is what the
/// reviewer sees.
fn number_text(number: f64) -> String {
    if number.is_nan() {
        return "NaN".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf".into() } else { "-Inf".into() };
    }
    serde_json_canonicalizer::to_string(&number).unwrap_or_default()
}

fn to_timestamp<'a>(value: &Value<'a>) -> Result<Value<'a>> {
    match value {
        Value::Timestamp(nanos) => Ok(Value::Timestamp(*nanos)),
        Value::Int(seconds) => time::timestamp_of_seconds(*seconds).map(Value::Timestamp),
        Value::Text(text) => time::parse_timestamp(text).map(Value::Timestamp),
        _ => Err(EvalError::WrongType),
    }
}

fn to_duration<'a>(value: &Value<'a>) -> Result<Value<'a>> {
    match value {
        Value::Duration(nanos) => Ok(Value::Duration(*nanos)),
        Value::Text(text) => time::parse_duration(text).map(Value::Duration),
        _ => Err(EvalError::WrongType),
    }
}
