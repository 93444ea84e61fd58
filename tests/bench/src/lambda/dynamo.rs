//! DynamoDB as a far end: two tables in memory, and what each call would be billed.
//!
//! It does what is asked and checks no condition: nothing races here, and that conditions hold is tested elsewhere,
//! against a DynamoDB. Expressions are read as far as the store writes them.
//!
//! Units: <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html>.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// Attributes by name, each as `{"S": …}`.
type Item = Map<String, Value>;

/// An index: its keys, and what else it holds.
struct Index {
    name: &'static str,
    keys: [&'static str; 2],
    holds: &'static [&'static str],
}

/// The template's indexes of the table of requests.
const INDEXES: [Index; 2] = [
    Index {
        name: "due",
        keys: ["due_pk", "due_at"],
        holds: &["request_key", "payload", "attempt", "created_at", "v"],
    },
    Index { name: "listed", keys: ["client", "approval_id"], holds: &["status"] },
];

/// What calls were billed for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Units {
    /// Read request units.
    pub(crate) read: f64,
    /// Write request units.
    pub(crate) write: f64,
}

/// Both tables.
#[derive(Default)]
pub(crate) struct Tables {
    requests: BTreeMap<[String; 2], Item>,
    audit: BTreeMap<[String; 2], Item>,
}

/// What an operation answers, what it is billed, and what it is called in the table of calls.
pub(crate) struct Done {
    pub(crate) answer: Value,
    pub(crate) units: Units,
    pub(crate) name: String,
}

/// A table by its name here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Requests,
    Audit,
}

impl Which {
    fn named(input: &Value) -> Option<Self> {
        match input.get("TableName")?.as_str()? {
            "requests" => Some(Self::Requests),
            "audit" => Some(Self::Audit),
            _ => None,
        }
    }

    const fn keys(self) -> [&'static str; 2] {
        match self {
            Self::Requests => ["pk", "sk"],
            Self::Audit => ["subject", "seq"],
        }
    }

    const fn indexes(self) -> &'static [Index] {
        match self {
            Self::Requests => &INDEXES,
            Self::Audit => &[],
        }
    }
}

impl Tables {
    /// Does what an operation asks for. `None` for what this far end does not know.
    pub(crate) fn answer(&mut self, operation: &str, input: &Value) -> Option<Done> {
        let mut name = operation.to_owned();
        let mut units = Units::default();
        let answer = match operation {
            "GetItem" => {
                let which = Which::named(input)?;
                let found = self.table(which).get(&address(which.keys(), input.get("Key")?)?).cloned();
                units.read = read_units(found.as_ref().map_or(0, size), input);
                found.map_or_else(|| json!({}), |item| json!({ "Item": item }))
            }
            "Query" => {
                let found = self.query(input)?;
                units.read = read_units(found.iter().map(size).sum(), input);
                json!({"Count": found.len(), "ScannedCount": found.len(), "Items": found})
            }
            "BatchGetItem" => {
                let (table, asked) = input.get("RequestItems")?.as_object()?.iter().next()?;
                let which = Which::named(&json!({ "TableName": table }))?;
                let mut found = Vec::new();
                for key in asked.get("Keys")?.as_array()? {
                    let item = self.table(which).get(&address(which.keys(), key)?).cloned();
                    units.read += read_units(item.as_ref().map_or(0, size), asked);
                    found.extend(item);
                }
                json!({"Responses": {table: found}, "UnprocessedKeys": {}})
            }
            "TransactWriteItems" => {
                let parts = input.get("TransactItems")?.as_array()?;
                name = format!("{operation} of {}", parts.len());
                for part in parts {
                    let (kind, part) = part.as_object()?.iter().next()?;
                    let written = self.write(kind, part, &mut units.write)?;
                    units.write += 2.0 * written;
                }
                json!({})
            }
            "PutItem" | "UpdateItem" | "DeleteItem" => {
                let kind = operation.strip_suffix("Item")?;
                let written = self.write(kind, input, &mut units.write)?;
                units.write += written;
                json!({})
            }
            _ => return None,
        };
        Some(Done { answer, units, name })
    }

    /// Puts an item, without being billed.
    pub(crate) fn put_request(&mut self, item: &Value) -> Option<()> {
        let item = item.as_object()?.clone();
        self.requests.insert(address(Which::Requests.keys(), &Value::Object(item.clone()))?, item);
        Some(())
    }

    /// How much is stored, in bytes, without the indexes.
    pub(crate) fn bytes(&self) -> usize {
        self.requests.values().chain(self.audit.values()).map(size).sum()
    }

    fn table(&mut self, which: Which) -> &mut BTreeMap<[String; 2], Item> {
        match which {
            Which::Requests => &mut self.requests,
            Which::Audit => &mut self.audit,
        }
    }

    fn query(&mut self, input: &Value) -> Option<Vec<Item>> {
        let which = Which::named(input)?;
        // A filter would be ignored, and the answer wrong.
        if input.get("FilterExpression").is_some() {
            return None;
        }
        let keys = match input.get("IndexName").and_then(Value::as_str) {
            Some(name) => which.indexes().iter().find(|index| index.name == name)?.keys,
            None => which.keys(),
        };
        let condition = Condition::read(input)?;
        let mut found: Vec<&Item> =
            self.table(which).values().filter(|item| condition.holds(item) == Some(true)).collect();
        found.sort_by_key(|item| keys.map(|key| item.get(key).map(scalar)));
        if input.get("ScanIndexForward") == Some(&Value::Bool(false)) {
            found.reverse();
        }
        let limit = input.get("Limit").and_then(Value::as_u64).and_then(|limit| usize::try_from(limit).ok());
        found.truncate(limit.unwrap_or(usize::MAX));
        Some(found.into_iter().cloned().collect())
    }

    /// Writes one item. Adds what the indexes are billed to `indexes`, and returns what the item is billed.
    fn write(&mut self, kind: &str, part: &Value, indexes: &mut f64) -> Option<f64> {
        let which = Which::named(part)?;
        let key = match kind {
            "Put" => part.get("Item")?,
            _ => part.get("Key")?,
        };
        let at = address(which.keys(), key)?;
        let table = self.table(which);
        let before = table.get(&at).cloned();
        let after = match kind {
            "Put" => part.get("Item")?.as_object().cloned(),
            "Delete" => None,
            "ConditionCheck" => before.clone(),
            "Update" => {
                let mut item = before.clone().or_else(|| key.as_object().cloned())?;
                update(&mut item, part)?;
                Some(item)
            }
            _ => return None,
        };
        for index in which.indexes() {
            *indexes += index_units(index, before.as_ref(), after.as_ref());
        }
        let bytes = before.as_ref().map_or(0, size).max(after.as_ref().map_or(0, size));
        match after {
            Some(item) => table.insert(at, item),
            None => table.remove(&at),
        };
        Some(kilobytes(bytes))
    }
}

/// What a change of an item is billed for an index that holds it: an entry written, an entry removed, or both.
fn index_units(index: &Index, before: Option<&Item>, after: Option<&Item>) -> f64 {
    let entry = |item: Option<&Item>| -> Option<Item> {
        let item = item?;
        if !index.keys.iter().all(|key| item.contains_key(*key)) {
            return None;
        }
        let held = |name: &str| {
            index.keys.contains(&name) || index.holds.contains(&name) || ["pk", "sk"].contains(&name)
        };
        Some(
            item.iter()
                .filter(|(name, _)| held(name))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        )
    };
    match (entry(before), entry(after)) {
        (None, None) => 0.0,
        (Some(only), None) | (None, Some(only)) => kilobytes(size(&only)),
        (Some(before), Some(after)) if before == after => 0.0,
        (Some(before), Some(after)) if index.keys.iter().all(|key| before.get(*key) == after.get(*key)) => {
            kilobytes(size(&before).max(size(&after)))
        }
        (Some(before), Some(after)) => kilobytes(size(&before)) + kilobytes(size(&after)),
    }
}

fn address(keys: [&str; 2], item: &Value) -> Option<[String; 2]> {
    let [hash, range] = keys.map(|key| item.get(key).map(scalar));
    Some([hash?, range?])
}

/// A text that sorts as the attribute does: numbers here are whole and not negative.
fn scalar(attribute: &Value) -> String {
    match (attribute.get("S"), attribute.get("N")) {
        (Some(Value::String(text)), _) => text.clone(),
        (_, Some(Value::String(number))) => format!("{number:0>24}"),
        _ => String::new(),
    }
}

/// An item's size as DynamoDB counts it: names and values.
/// Source: <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html>.
fn size(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + attribute_size(value)).sum()
}

fn attribute_size(attribute: &Value) -> usize {
    let Some((kind, value)) = attribute.as_object().and_then(|attribute| attribute.iter().next()) else {
        return 0;
    };
    match (kind.as_str(), value) {
        ("S", Value::String(text)) => text.len(),
        ("N", Value::String(number)) => number.len().div_ceil(2) + 1,
        ("SS", Value::Array(members)) => {
            3 + members.iter().filter_map(Value::as_str).map(|text| text.len() + 1).sum::<usize>()
        }
        _ => 1,
    }
}

/// Write units: one for each begun KB.
fn kilobytes(bytes: usize) -> f64 {
    f64::from(u32::try_from(bytes.div_ceil(1024).max(1)).unwrap_or(u32::MAX))
}

/// Read units: one for each begun 4 KB, half of that for a read that may be a little old.
fn read_units(bytes: usize, input: &Value) -> f64 {
    let whole = f64::from(u32::try_from(bytes.div_ceil(4096).max(1)).unwrap_or(u32::MAX));
    if input.get("ConsistentRead") == Some(&Value::Bool(true)) { whole } else { whole / 2.0 }
}

/// `name <operator> :value`, joined by `AND`.
struct Condition<'q>(Vec<(&'q str, &'q str, String)>);

impl<'q> Condition<'q> {
    fn read(input: &'q Value) -> Option<Self> {
        let values = input.get("ExpressionAttributeValues")?;
        let text = input.get("KeyConditionExpression")?.as_str()?;
        let parts = text.split(" AND ").map(|part| {
            let mut words = part.split_ascii_whitespace();
            let (name, operator, value) = (words.next()?, words.next()?, words.next()?);
            Some((name, operator, scalar(values.get(value)?)))
        });
        parts.collect::<Option<_>>().map(Self)
    }

    fn holds(&self, item: &Item) -> Option<bool> {
        for (name, operator, wanted) in &self.0 {
            let Some(is) = item.get(*name).map(scalar) else { return Some(false) };
            let holds = match *operator {
                "=" => is == *wanted,
                "<" => is < *wanted,
                "<=" => is <= *wanted,
                ">=" => is >= *wanted,
                _ => return None,
            };
            if !holds {
                return Some(false);
            }
        }
        Some(true)
    }
}

/// Carries out an update expression: `SET a = :v, b = if_not_exists(b, :v)`, `REMOVE a, b`, `ADD a :v`, `DELETE a :v`.
fn update(item: &mut Item, part: &Value) -> Option<()> {
    let names = part.get("ExpressionAttributeNames");
    let values = part.get("ExpressionAttributeValues");
    let attribute = |name: &str| -> String {
        names.and_then(|names| names.get(name)).and_then(Value::as_str).unwrap_or(name).to_owned()
    };
    let value = |name: &str| values.and_then(|values| values.get(name));
    let mut clause = "";
    let mut words =
        part.get("UpdateExpression")?.as_str()?.split([' ', ',', '(', ')']).filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        if ["SET", "REMOVE", "ADD", "DELETE"].contains(&word) {
            clause = word;
            continue;
        }
        let name = attribute(word);
        match clause {
            "SET" => {
                words.next().filter(|equals| *equals == "=")?;
                match words.next()? {
                    "if_not_exists" => {
                        let (other, fallback) = (attribute(words.next()?), value(words.next()?)?);
                        let kept = item.get(&other).unwrap_or(fallback).clone();
                        item.insert(name, kept);
                    }
                    plain => {
                        item.insert(name, value(plain)?.clone());
                    }
                }
            }
            "REMOVE" => {
                item.remove(&name);
            }
            "ADD" | "DELETE" => {
                let change = value(words.next()?)?;
                let changed = if clause == "ADD" {
                    Some(add(item.get(&name), change)?)
                } else {
                    take(item.get(&name), change)
                };
                match changed {
                    Some(changed) => item.insert(name, changed),
                    None => item.remove(&name),
                };
            }
            _ => return None,
        }
    }
    Some(())
}

fn add(to: Option<&Value>, change: &Value) -> Option<Value> {
    let number = |value: &Value| value.get("N")?.as_str()?.parse::<i64>().ok();
    if let Some(change) = number(change) {
        let sum = to.and_then(number).unwrap_or(0).checked_add(change)?;
        return Some(json!({"N": sum.to_string()}));
    }
    let mut members = members(to);
    members.extend(self::members(Some(change)));
    Some(json!({ "SS": members }))
}

fn take(from: Option<&Value>, change: &Value) -> Option<Value> {
    let gone = members(Some(change));
    let left: Vec<String> = members(from).into_iter().filter(|member| !gone.contains(member)).collect();
    (!left.is_empty()).then(|| json!({ "SS": left }))
}

fn members(set: Option<&Value>) -> Vec<String> {
    let members = set.and_then(|set| set.get("SS")).and_then(Value::as_array);
    members.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(tables: &mut Tables, item: &Value) -> Units {
        let input = json!({"TransactItems": [{"Put": {"TableName": "requests", "Item": item}}]});
        tables.answer("TransactWriteItems", &input).unwrap().units
    }

    #[test]
    fn a_transaction_is_billed_twice_and_its_indexes_once() {
        let mut tables = Tables::default();
        let item = json!({"pk": {"S": "r#1"}, "sk": {"S": "r"}, "due_pk": {"S": "closes#0"}, "due_at": {"N": "12"},
            "client": {"S": "a"}, "approval_id": {"S": "01J"}});
        // Two for the item, one for each of the two indexes.
        assert_eq!(put(&mut tables, &item), Units { read: 0.0, write: 4.0 });
        let update = json!({"TableName": "requests", "Key": {"pk": {"S": "r#1"}, "sk": {"S": "r"}},
            "UpdateExpression": "SET #s = :s, n = if_not_exists(n, :n) REMOVE due_pk, due_at",
            "ExpressionAttributeNames": {"#s": "status"}, "ExpressionAttributeValues": {":s": {"S": "approved"}, ":n": {"N": "7"}}});
        // One for the item, one for the entry that goes, one for the status that `listed` holds.
        assert_eq!(tables.answer("UpdateItem", &update).unwrap().units.write.to_string(), "3");
        let get = json!({"TableName": "requests", "Key": {"pk": {"S": "r#1"}, "sk": {"S": "r"}}, "ConsistentRead": true});
        let found = tables.answer("GetItem", &get).unwrap();
        assert_eq!(found.units.read.to_string(), "1");
        assert_eq!(
            found.answer["Item"],
            json!({"pk": {"S": "r#1"}, "sk": {"S": "r"}, "client": {"S": "a"}, "approval_id": {"S": "01J"},
                "status": {"S": "approved"}, "n": {"N": "7"}})
        );
    }

    #[test]
    fn a_query_finds_what_is_due_the_first_first() {
        let mut tables = Tables::default();
        for (sk, at) in [("a", "9"), ("b", "100"), ("c", "20")] {
            put(
                &mut tables,
                &json!({"pk": {"S": "m"}, "sk": {"S": sk}, "due_pk": {"S": "sends#3"}, "due_at": {"N": at}}),
            );
        }
        let query = json!({"TableName": "requests", "IndexName": "due", "Limit": 5,
            "KeyConditionExpression": "due_pk = :partition AND due_at <= :now",
            "ExpressionAttributeValues": {":partition": {"S": "sends#3"}, ":now": {"N": "20"}}});
        let found = tables.answer("Query", &query).unwrap();
        let names: Vec<&str> = found.answer["Items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["sk"]["S"].as_str().unwrap())
            .collect();
        assert_eq!((names, found.units.read.to_string()), (vec!["a", "c"], "0.5".to_owned()));
    }

    #[test]
    fn sets_and_numbers_grow_and_shrink() {
        let mut item = Item::new();
        let mut change = |expression: &str, value: Value| {
            update(
                &mut item,
                &json!({"UpdateExpression": expression, "ExpressionAttributeValues": {":v": value}}),
            )
            .unwrap();
            Value::Object(item.clone())
        };
        change("ADD used :v", json!({"N": "2"}));
        change("ADD used :v", json!({"N": "3"}));
        let both = change("ADD waiting :v", json!({"SS": ["x"]}));
        assert_eq!(both, json!({"used": {"N": "5"}, "waiting": {"SS": ["x"]}}));
        assert_eq!(change("DELETE waiting :v", json!({"SS": ["x"]})), json!({"used": {"N": "5"}}));
    }
}
