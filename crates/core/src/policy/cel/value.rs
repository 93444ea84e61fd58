//! Values of conditions. JSON is looked at where it lies, never copied; its numbers are doubles, as CEL says.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::rc::Rc;

use serde_json::Value as Json;

use super::super::EvalError;
use super::budget::Budget;

/// A text: of the request or the policy, or made by the condition.
#[derive(Clone, Debug)]
pub(super) enum Text<'a> {
    Borrowed(&'a str),
    Made(Rc<str>),
}

impl Deref for Text<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Made(text) => text,
        }
    }
}

/// A list: of the request, or made by the condition.
#[derive(Clone, Debug)]
pub(super) enum List<'a> {
    Json(&'a [Json]),
    Made(Rc<Vec<Value<'a>>>),
}

impl<'a> List<'a> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Json(items) => items.len(),
            Self::Made(items) => items.len(),
        }
    }

    pub(super) fn get(&self, index: usize) -> Option<Value<'a>> {
        match self {
            Self::Json(items) => items.get(index).map(Value::of_json),
            Self::Made(items) => items.get(index).cloned(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Value<'a>> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

/// A map: of the request, or made by the condition.
#[derive(Clone, Debug)]
pub(super) enum Map<'a> {
    Json(&'a serde_json::Map<String, Json>),
    Texts(&'a BTreeMap<String, String>),
    Made(Rc<Vec<(Value<'a>, Value<'a>)>>),
}

impl<'a> Map<'a> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Json(entries) => entries.len(),
            Self::Texts(entries) => entries.len(),
            Self::Made(entries) => entries.len(),
        }
    }

    pub(super) fn get_text(&self, key: &str) -> Option<Value<'a>> {
        match self {
            Self::Json(entries) => entries.get(key).map(Value::of_json),
            Self::Texts(entries) => entries.get(key).map(|text| Value::Text(Text::Borrowed(text))),
            Self::Made(entries) => entries.iter().find_map(|(own, value)| match own {
                Value::Text(own) if **own == *key => Some(value.clone()),
                _ => None,
            }),
        }
    }

    /// The value of a key of any type.
    pub(super) fn get(&self, key: &Value<'a>, budget: &Budget) -> Result<Option<Value<'a>>, EvalError> {
        if let Value::Text(key) = key {
            budget.spend(1 + if let Self::Made(entries) = self { entries.len() } else { 0 })?;
            return Ok(self.get_text(key));
        }
        if !matches!(key, Value::Bool(_) | Value::Int(_) | Value::UInt(_) | Value::Double(_)) {
            return Err(EvalError::WrongType);
        }
        let Self::Made(entries) = self else { return Ok(None) };
        for (own, value) in entries.iter() {
            if own.equals(key, budget)? {
                return Ok(Some(value.clone()));
            }
        }
        Ok(None)
    }

    pub(super) fn keys(&self) -> Vec<Value<'a>> {
        match self {
            Self::Json(entries) => entries.keys().map(|key| Value::Text(Text::Borrowed(key))).collect(),
            Self::Texts(entries) => entries.keys().map(|key| Value::Text(Text::Borrowed(key))).collect(),
            Self::Made(entries) => entries.iter().map(|(key, _)| key.clone()).collect(),
        }
    }
}

/// A value of CEL.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Double(f64),
    Text(Text<'a>),
    Bytes(Rc<[u8]>),
    List(List<'a>),
    Map(Map<'a>),
    /// Nanoseconds since the Unix epoch.
    Timestamp(i128),
    /// Nanoseconds.
    Duration(i128),
    Type(&'static str),
}

impl<'a> Value<'a> {
    pub(super) fn of_json(json: &'a Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(flag) => Self::Bool(*flag),
            Json::Number(number) => Self::Double(number.as_f64().unwrap_or(f64::NAN)),
            Json::String(text) => Self::Text(Text::Borrowed(text)),
            Json::Array(items) => Self::List(List::Json(items)),
            Json::Object(entries) => Self::Map(Map::Json(entries)),
        }
    }

    pub(super) fn made(text: impl Into<Rc<str>>) -> Self {
        Self::Text(Text::Made(text.into()))
    }

    pub(super) fn list(items: Vec<Self>) -> Self {
        Self::List(List::Made(Rc::new(items)))
    }

    /// Its type, by the name that `type()` gives.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::UInt(_) => "uint",
            Self::Double(_) => "double",
            Self::Text(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Timestamp(_) => "google.protobuf.Timestamp",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::Type(_) => "type",
        }
    }

    /// `==`: numbers by their value, whatever their type; other values of two types are different.
    pub(super) fn equals(&self, other: &Self, budget: &Budget) -> Result<bool, EvalError> {
        budget.spend(1)?;
        Ok(match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Text(a), Self::Text(b)) => {
                budget.spend_bytes(a.len().min(b.len()))?;
                **a == **b
            }
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::Timestamp(a), Self::Timestamp(b)) | (Self::Duration(a), Self::Duration(b)) => a == b,
            (Self::Type(a), Self::Type(b)) => a == b,
            (Self::List(a), Self::List(b)) => {
                if a.len() != b.len() {
                    return Ok(false);
                }
                for (a, b) in a.iter().zip(b.iter()) {
                    if !a.equals(&b, budget)? {
                        return Ok(false);
                    }
                }
                true
            }
            (Self::Map(a), Self::Map(b)) => {
                if a.len() != b.len() {
                    return Ok(false);
                }
                for key in a.keys() {
                    let (Some(own), Some(others)) = (a.get(&key, budget)?, b.get(&key, budget)?) else {
                        return Ok(false);
                    };
                    if !own.equals(&others, budget)? {
                        return Ok(false);
                    }
                }
                true
            }
            _ => self.compare_numbers(other) == Some(Ordering::Equal),
        })
    }

    /// The order of two values that have one; `None` where one of them is not a number (NaN).
    pub(super) fn compare(&self, other: &Self, budget: &Budget) -> Result<Option<Ordering>, EvalError> {
        budget.spend(1)?;
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => Ok(Some(a.cmp(b))),
            (Self::Text(a), Self::Text(b)) => {
                budget.spend_bytes(a.len().min(b.len()))?;
                Ok(Some(a.cmp(b)))
            }
            (Self::Bytes(a), Self::Bytes(b)) => Ok(Some(a.cmp(b))),
            (Self::Timestamp(a), Self::Timestamp(b)) | (Self::Duration(a), Self::Duration(b)) => {
                Ok(Some(a.cmp(b)))
            }
            _ if self.is_number() && other.is_number() => Ok(self.compare_numbers(other)),
            _ => Err(EvalError::WrongType),
        }
    }

    fn is_number(&self) -> bool {
        matches!(self, Self::Int(_) | Self::UInt(_) | Self::Double(_))
    }

    fn compare_numbers(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(b)),
            (Self::UInt(a), Self::UInt(b)) => Some(a.cmp(b)),
            (Self::Int(a), Self::UInt(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
            (Self::UInt(a), Self::Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
            (Self::Double(a), Self::Double(b)) => a.partial_cmp(b),
            (Self::Double(a), Self::Int(b)) => compare_double(*a, i128::from(*b)),
            (Self::Double(a), Self::UInt(b)) => compare_double(*a, i128::from(*b)),
            (Self::Int(a), Self::Double(b)) => compare_double(*b, i128::from(*a)).map(Ordering::reverse),
            (Self::UInt(a), Self::Double(b)) => compare_double(*b, i128::from(*a)).map(Ordering::reverse),
            _ => None,
        }
    }
}

/// Exact: no whole number is rounded to a double.
fn compare_double(double: f64, whole: i128) -> Option<Ordering> {
    const BEYOND: f64 = 1e20;
    if double.is_nan() {
        return None;
    }
    if double >= BEYOND {
        return Some(Ordering::Greater);
    }
    if double <= -BEYOND {
        return Some(Ordering::Less);
    }
    #[expect(clippy::cast_possible_truncation, reason = "within ±1e20, which i128 holds exactly")]
    let floor = double.floor() as i128;
    Some(floor.cmp(&whole).then(if double > double.floor() { Ordering::Greater } else { Ordering::Equal }))
}
