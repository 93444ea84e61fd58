//! The log, as JSON lines on standard output, and numbers in CloudWatch's embedded metric format.
//!
//! Source: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>.

#[cfg(feature = "gate")]
use placet_core::request::Status;
#[cfg(feature = "gate")]
use placet_gate::ports::{Measurement, Metrics};
use serde_json::{Map, Value, json};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::now;

/// The namespace of all metrics.
const NAMESPACE: &str = "Placet";

/// Writes numbers of one gate.
#[derive(Clone, Debug)]
pub(crate) struct EmfMetrics {
    gate: String,
}

/// Starts the log of that gate. Every error in it also counts as a `Faults`.
pub(crate) fn start(level: Level, gate: &str) {
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(std::io::stdout);
    // It can be started once a process; in tests it may have been.
    let _ = tracing_subscriber::registry()
        .with(ours(level))
        .with(lines)
        .with(FaultCounter(EmfMetrics::new(gate)))
        .try_init();
}

/// That level for Placet's own crates. Others' inner workings say nothing to an operator, and much: the functions'
/// manifests leave what is below `info` out of their binaries.
fn ours(level: Level) -> Targets {
    let others = LevelFilter::from_level(level).min(LevelFilter::WARN);
    Targets::new().with_default(others).with_target("placet", level)
}

struct FaultCounter(EmfMetrics);

impl<S: Subscriber> Layer<S> for FaultCounter {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() == Level::ERROR {
            self.0.count("Faults");
        }
    }
}

impl EmfMetrics {
    pub(crate) fn new(gate: &str) -> Self {
        Self { gate: gate.to_owned() }
    }

    fn count(&self, name: &'static str) {
        self.write(&[(name, "Count", 1)], &[]);
    }

    #[expect(clippy::print_stdout, reason = "the log is where CloudWatch reads metrics")]
    fn write(&self, metrics: &[(&'static str, &'static str, i64)], dimensions: &[(&'static str, &str)]) {
        println!("{}", self.line(metrics, dimensions, now().millis()));
    }

    fn line(
        &self,
        metrics: &[(&'static str, &'static str, i64)],
        dimensions: &[(&'static str, &str)],
        now_ms: i64,
    ) -> Value {
        let all = || [("Gate", self.gate.as_str())].into_iter().chain(dimensions.iter().copied());
        let names: Vec<&str> = all().map(|(name, _)| name).collect();
        let described: Vec<Value> =
            metrics.iter().map(|(name, unit, _)| json!({"Name": name, "Unit": unit})).collect();
        let mut line = Map::new();
        line.insert(
            "_aws".into(),
            json!({
                "Timestamp": now_ms,
                "CloudWatchMetrics": [{"Namespace": NAMESPACE, "Dimensions": [names], "Metrics": described}],
            }),
        );
        line.extend(all().map(|(name, value)| (name.to_owned(), value.into())));
        line.extend(metrics.iter().map(|(name, _, value)| ((*name).to_owned(), (*value).into())));
        Value::Object(line)
    }
}

/// A rule's name as CloudWatch takes a dimension's value: at most 1024 characters of ASCII, not all blank, not beginning
/// with a colon. A value of another form loses the whole line.
/// Source: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_Dimension.html>.
#[cfg(feature = "gate")]
fn dimension(text: &str) -> String {
    const MAX_CHARS: usize = 1024;
    let plain = text.chars().flat_map(|character| {
        let is_plain = matches!(character, ' '..='~');
        let escape = (!is_plain).then(|| character.escape_unicode());
        is_plain.then_some(character).into_iter().chain(escape.into_iter().flatten())
    });
    let plain: String = plain.take(MAX_CHARS).collect();
    let plain = plain.trim_start_matches([':', ' ']);
    if plain.is_empty() { "unnamed".to_owned() } else { plain.to_owned() }
}

#[cfg(feature = "gate")]
impl Metrics for EmfMetrics {
    fn record(&self, measurement: &Measurement<'_>) {
        match measurement {
            Measurement::Asked => self.count("Asked"),
            Measurement::Notified { channel: _, after_ms } => {
                self.write(&[("TimeToNotify", "Milliseconds", *after_ms)], &[]);
            }
            Measurement::Opened { after_ms } => {
                self.write(&[("TimeToOpen", "Milliseconds", *after_ms)], &[]);
            }
            Measurement::Released { after_ms } => {
                self.write(&[("TimeToRelease", "Milliseconds", *after_ms)], &[]);
            }
            Measurement::Ended { rule, status, after_ms } => {
                let rule = dimension(rule.unwrap_or("none"));
                let dimensions = [("Rule", rule.as_str()), ("Status", status.as_str())];
                self.write(&[("Outcomes", "Count", 1)], &dimensions);
                match status {
                    Status::Approved | Status::Rejected => {
                        self.write(&[("TimeToDecide", "Milliseconds", *after_ms)], &[]);
                    }
                    Status::Expired => self.count("Expired"),
                    Status::Cancelled | Status::Pending => {}
                }
            }
            Measurement::BadSignature => self.count("BadSignatures"),
            Measurement::CallbackGivenUp => self.count("CallbacksGivenUp"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_that_of_our_own_crates() {
        let info = ours(Level::INFO);
        assert!(info.would_enable("placet_gate::sweep", &Level::INFO));
        assert!(!info.would_enable("hyper_util::client", &Level::INFO));
        assert!(info.would_enable("hyper_util::client", &Level::WARN));
        assert!(!ours(Level::ERROR).would_enable("hyper_util::client", &Level::WARN));
    }

    #[cfg(feature = "gate")]
    #[test]
    fn a_rule_s_name_is_a_dimension_that_cloudwatch_takes() {
        for (name, value) in [
            ("small refunds", "small refunds"),
            ("Überweisungen", "\\u{dc}berweisungen"),
            ("a\tb", "a\\u{9}b"),
            (": all", "all"),
            ("  ", "unnamed"),
            ("", "unnamed"),
        ] {
            assert_eq!(dimension(name), value);
        }
        assert_eq!(dimension(&"ü".repeat(1000)).len(), 1024);
    }

    #[test]
    fn a_line_says_what_cloudwatch_wants_to_know() {
        let meter = EmfMetrics::new("prod");
        let line = meter.line(
            &[("Outcomes", "Count", 1)],
            &[("Rule", "small refunds"), ("Status", "approved")],
            1_700_000_000_123,
        );
        let expected = json!({
            "_aws": {
                "Timestamp": 1_700_000_000_123_i64,
                "CloudWatchMetrics": [{
                    "Namespace": "Placet",
                    "Dimensions": [["Gate", "Rule", "Status"]],
                    "Metrics": [{"Name": "Outcomes", "Unit": "Count"}],
                }],
            },
            "Gate": "prod",
            "Rule": "small refunds",
            "Status": "approved",
            "Outcomes": 1,
        });
        assert_eq!(line, expected);
    }
}
