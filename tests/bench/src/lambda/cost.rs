//! What that costs at list prices: the calls that were counted, times the prices of one file.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::far::Service;
use super::operations::{From, Operation};
use crate::failure::{Failure, Result};

const PRICES: &str = include_str!("../../lambda/prices.toml");

/// The prices, and what the sums assume.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PriceList {
    pub(crate) region: String,
    pub(crate) written: String,
    prices: BTreeMap<String, Price>,
    assumed: Assumed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Price {
    usd: f64,
    per: f64,
    source: String,
    checked: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Assumed {
    memory_mb: f64,
    request_memory_mb: f64,
    call_ms: f64,
    platform_log_bytes: f64,
    queue_calls: f64,
    idle_receives_per_minute: f64,
    minutes_per_month: f64,
    alarms: f64,
    dashboards: f64,
    secrets: f64,
    metrics: f64,
    metric_hours_share: f64,
    rotations_per_month: f64,
    long_polls: f64,
    inbox_minutes_per_month: f64,
    inbox_looks_per_minute: f64,
    inbox_news_per_minute: f64,
}

/// How much of what, by the name of its price.
#[derive(Default)]
struct Amounts(BTreeMap<&'static str, f64>);

/// A bill: what it is for, and dollars by what they are for, the dearest first.
pub(crate) struct Bill {
    pub(crate) what: &'static str,
    pub(crate) lines: Vec<(String, f64)>,
}

impl Bill {
    /// All of it.
    pub(crate) fn total(&self) -> f64 {
        self.lines.iter().map(|(_, usd)| usd).sum()
    }

    /// The dearest of its lines.
    pub(crate) fn dearest(&self, count: usize) -> String {
        let told = self.lines.iter().take(count).map(|(name, usd)| format!("{name} {usd:.4}"));
        told.collect::<Vec<_>>().join(", ")
    }
}

impl PriceList {
    /// The list in the repository.
    pub(crate) fn read() -> Result<Self> {
        let list: Self = toml::from_str(PRICES).map_err(|error| Failure::new("prices.toml", error))?;
        match list.prices.iter().find(|(_, price)| !price.source.starts_with("https://aws.amazon.com/")) {
            Some((name, _)) => {
                Err(Failure::bare(format!("prices.toml: `{name}` does not say where AWS lists it")))
            }
            None => Ok(list),
        }
    }

    /// How many prices nobody has checked, of how many.
    pub(crate) fn unchecked(&self) -> (usize, usize) {
        let unchecked = self.prices.values().filter(|price| price.checked.starts_with("not checked")).count();
        (unchecked, self.prices.len())
    }

    /// The bills, on that architecture (`arm64` or `x86_64`).
    pub(crate) fn bills(&self, operations: &[Operation], architecture: &str) -> Result<Vec<Bill>> {
        let polls = self.assumed.long_polls;
        let by = |tell: &'static str, wait: &[(&'static str, f64)]| {
            let mut all = vec![("ask: a person is asked", 1.0), (tell, 1.0), ("page", 1.0), ("decide", 1.0)];
            all.extend_from_slice(wait);
            all
        };
        let called_back = [("callback", 1.0), ("redeem a token", 1.0)];
        let polled = [("long poll of 25 s, still pending", polls), ("redeem a token", 1.0)];
        let paced = [("look, told when to look again", looks_within(polls * 25.0)), ("redeem a token", 1.0)];
        let (email, text) = ("tell a reviewer by email", "tell a reviewer by text");
        let stories = [
            ("1,000 approvals by email, called back", by(email, &called_back)),
            ("1,000 approvals by email, waited for by long polls", by(email, &polled)),
            ("1,000 approvals by email, waited for by clients that look again when told", by(email, &paced)),
            ("1,000 approvals by text (US), called back", by(text, &called_back)),
            ("1,000 requests that policy decides alone", vec![("ask: decided by policy", 1.0)]),
        ];
        let mut bills = Vec::new();
        for (what, story) in stories {
            let mut amounts = Amounts::default();
            for (name, times) in story {
                self.add(&mut amounts, named(operations, name)?, times * 1000.0, architecture);
            }
            bills.push(self.bill(what, &amounts)?);
        }
        bills.push(self.bill("an idle month", &self.idle(operations, architecture)?)?);
        bills.push(self.bill("a month of an open inbox", &self.inbox(operations, architecture)?)?);
        let mut metrics = Amounts::default();
        metrics.add("metric-month", self.assumed.metrics * self.assumed.metric_hours_share);
        bills.push(self.bill("a month's own metrics, if it is not idle", &metrics)?);
        Ok(bills)
    }

    fn add(&self, amounts: &mut Amounts, operation: &Operation, times: f64, architecture: &str) {
        let assumed = &self.assumed;
        let calls = of_len(operation.made.len());
        // A long poll is as long here as in AWS; all else waits for AWS only.
        let seconds = operation.took.as_secs_f64() + calls * assumed.call_ms / 1000.0;
        let events = if operation.from == From::SecretsManager { 4.0 } else { 1.0 };
        amounts.add("lambda-request", times * events);
        let memory_mb =
            if operation.function == "request" { assumed.request_memory_mb } else { assumed.memory_mb };
        amounts.add(gb_second(architecture), times * seconds * memory_mb / 1024.0);
        let logged = of_bytes(operation.logged_bytes) + events * assumed.platform_log_bytes;
        amounts.add("log-gb", times * logged / 1e9);
        let stored = times * of_len(operation.stored_bytes) / 1e9;
        amounts.add("dynamodb-stored-gb-month", stored);
        amounts.add("dynamodb-recovery-gb-month", stored);
        match operation.from {
            From::Api => amounts.add("http-api-request", times),
            From::Queue => amounts.add("sqs-request", times * assumed.queue_calls),
            From::Schedule => amounts.add("schedule-invocation", times),
            From::SecretsManager => {}
        }
        for made in &operation.made {
            amounts.add("dynamodb-write-unit", times * made.units.write);
            amounts.add("dynamodb-read-unit", times * made.units.read);
            match made.service {
                Service::DynamoDb => {}
                Service::SecretsManager => amounts.add("secret-call", times),
                Service::Sqs => amounts.add("sqs-request", times),
                Service::Sns => {
                    amounts.add("sns-publish", times);
                    amounts.add("sns-email", times);
                }
                Service::SnsSms => amounts.add("sns-text", times),
            }
        }
    }

    fn idle(&self, operations: &[Operation], architecture: &str) -> Result<Amounts> {
        let assumed = &self.assumed;
        let mut amounts = Amounts::default();
        let minutes = assumed.minutes_per_month;
        self.add(&mut amounts, named(operations, "sweep, nothing due")?, minutes, architecture);
        let rotation = named(operations, "rotation, all four steps")?;
        self.add(&mut amounts, rotation, assumed.rotations_per_month, architecture);
        amounts.add("sqs-request", minutes * assumed.idle_receives_per_minute);
        amounts.add("secret-month", assumed.secrets);
        amounts.add("alarm-month", assumed.alarms);
        amounts.add("dashboard-month", assumed.dashboards);
        Ok(amounts)
    }

    /// Each minute the page is sent once more, for what only time changes, and for news beside that.
    fn inbox(&self, operations: &[Operation], architecture: &str) -> Result<Amounts> {
        let assumed = &self.assumed;
        let mut amounts = Amounts::default();
        for (name, per_minute) in [
            ("inbox, unchanged", assumed.inbox_looks_per_minute),
            ("inbox, once more", 1.0),
            ("inbox, with news", assumed.inbox_news_per_minute),
        ] {
            let times = per_minute * assumed.inbox_minutes_per_month;
            self.add(&mut amounts, named(operations, name)?, times, architecture);
        }
        Ok(amounts)
    }

    fn bill(&self, what: &'static str, amounts: &Amounts) -> Result<Bill> {
        let mut lines = Vec::new();
        for (name, amount) in &amounts.0 {
            let price = self.prices.get(*name);
            let price = price.ok_or_else(|| Failure::bare(format!("prices.toml lacks `{name}`")))?;
            lines.push(((*name).to_owned(), amount * price.usd / price.per));
        }
        lines.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        Ok(Bill { what, lines })
    }
}

impl Amounts {
    fn add(&mut self, name: &'static str, amount: f64) {
        if amount > 0.0 {
            *self.0.entry(name).or_default() += amount;
        }
    }
}

/// How often a client looks in so many seconds, if it looks when it is told to.
fn looks_within(seconds: f64) -> f64 {
    let (mut age, mut looks) = (0_u32, 0_u32);
    while f64::from(age) < seconds {
        age += placet_gate::look_again_seconds(i64::from(age) * 1000);
        looks += 1;
    }
    f64::from(looks)
}

fn gb_second(architecture: &str) -> &'static str {
    if architecture == "arm64" { "lambda-gb-second-arm64" } else { "lambda-gb-second-x86_64" }
}

fn named<'o>(operations: &'o [Operation], name: &str) -> Result<&'o Operation> {
    let found = operations.iter().find(|operation| operation.name == name);
    found.ok_or_else(|| Failure::bare(format!("`{name}` was not counted")))
}

fn of_len(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

fn of_bytes(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::lambda::dynamo::Units;
    use crate::lambda::far::Made;

    #[test]
    fn each_price_says_whether_it_was_checked() {
        let list = PriceList::read().unwrap();
        for (name, price) in &list.prices {
            assert!(price.checked.starts_with("20") || price.checked.starts_with("not checked"), "{name}");
            assert!(price.usd > 0.0 && price.per >= 1.0, "{name}");
        }
    }

    #[test]
    fn an_operation_costs_what_it_calls_and_how_it_is_called() {
        let list = PriceList::read().unwrap();
        let call =
            |service, write| Made { service, operation: "x".into(), units: Units { read: 0.0, write } };
        let operation = Operation {
            name: "one",
            function: "request",
            from: From::Api,
            made: vec![call(Service::DynamoDb, 8.0), call(Service::Sqs, 0.0)],
            logged_bytes: 150,
            stored_bytes: 0,
            took: Duration::from_secs(1),
        };
        let mut amounts = Amounts::default();
        list.add(&mut amounts, &operation, 1_000_000.0, "arm64");
        let bill = list.bill("a million", &amounts).unwrap();
        let of = |name: &str| bill.lines.iter().find(|(line, _)| line == name).unwrap().1;
        assert!((of("dynamodb-write-unit") - 5.0).abs() < 1e-9);
        assert!((of("http-api-request") - 1.0).abs() < 1e-9);
        assert!((of("sqs-request") - 0.4).abs() < 1e-9);
        // 500 bytes a time, and 1.03 s of an eighth of a GB.
        assert!((of("log-gb") - 0.25).abs() < 1e-9);
        assert!((of("lambda-gb-second-arm64") - 1_030_000.0 * 0.125 * 0.000_013_333_4).abs() < 1e-6);
        assert!(bill.lines.is_sorted_by(|(_, one), (_, other)| one >= other));
    }
}
