//! The numbers of one gate for Prometheus: text in its open format, on a listener of its own.
//!
//! Labels are a rule, an outcome or a channel: few, and never a person, a client or a request.
//! Source: <https://prometheus.io/docs/specs/om/open_metrics_spec/>.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use placet_core::request::Status;
use placet_gate::ports::{Measurement, Metrics};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// How the rule is called where none matched, as in `decided_by`.
const NO_RULE: &str = "default";

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What machines take, in seconds.
const MACHINE_SECONDS: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 10.0, 60.0];

/// What people take, in seconds: up to a day.
const PEOPLE_SECONDS: [f64; 11] =
    [1.0, 5.0, 15.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 28_800.0, 86_400.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    rule: String,
    outcome: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChannelLabels {
    channel: String,
}

/// The numbers since this process began.
pub(crate) struct Numbers {
    registry: Registry,
    asked: Counter,
    outcomes: Family<OutcomeLabels, Counter>,
    notify: Family<ChannelLabels, Histogram, fn() -> Histogram>,
    open: Histogram,
    decide: Histogram,
    release: Histogram,
    bad_signatures: Counter,
    callbacks_given_up: Counter,
}

impl Numbers {
    /// Nothing measured yet.
    pub(crate) fn new() -> Self {
        let machine: fn() -> Histogram = || Histogram::new(MACHINE_SECONDS);
        let numbers = Self {
            registry: Registry::with_prefix("placet"),
            asked: Counter::default(),
            outcomes: Family::default(),
            notify: Family::new_with_constructor(machine),
            open: Histogram::new(PEOPLE_SECONDS),
            decide: Histogram::new(PEOPLE_SECONDS),
            release: machine(),
            bad_signatures: Counter::default(),
            callbacks_given_up: Counter::default(),
        };
        numbers.registered()
    }

    fn registered(mut self) -> Self {
        let registry = &mut self.registry;
        registry.register("requests", "New requests that were taken", self.asked.clone());
        registry.register("outcomes", "Requests that ended, by rule and outcome", self.outcomes.clone());
        registry.register(
            "bad_signatures",
            "Calls for a known client with a wrong signature or key",
            self.bad_signatures.clone(),
        );
        registry.register(
            "callbacks_given_up",
            "Callbacks and hooks that were given up",
            self.callbacks_given_up.clone(),
        );
        registry.register_with_unit(
            "time_to_notify",
            "From a message being committed until its channel took it",
            Unit::Seconds,
            self.notify.clone(),
        );
        registry.register_with_unit(
            "time_to_open",
            "From the question until the page was opened on which a reviewer pressed",
            Unit::Seconds,
            self.open.clone(),
        );
        registry.register_with_unit(
            "time_to_decide",
            "From the question until it was approved or rejected",
            Unit::Seconds,
            self.decide.clone(),
        );
        registry.register_with_unit(
            "time_to_release",
            "From the end until a caller's callback was taken",
            Unit::Seconds,
            self.release.clone(),
        );
        self
    }

    fn text(&self) -> Option<String> {
        let mut text = String::new();
        encode(&mut text, &self.registry).ok().map(|()| text)
    }
}

impl Metrics for Numbers {
    fn record(&self, measurement: &Measurement<'_>) {
        match measurement {
            Measurement::Asked => {
                self.asked.inc();
            }
            Measurement::Notified { channel, after_ms } => {
                let labels = ChannelLabels { channel: (*channel).to_owned() };
                self.notify.get_or_create(&labels).observe(seconds(*after_ms));
            }
            Measurement::Opened { after_ms } => self.open.observe(seconds(*after_ms)),
            Measurement::Released { after_ms } => self.release.observe(seconds(*after_ms)),
            Measurement::Ended { rule, status, after_ms } => {
                let rule = rule.unwrap_or(NO_RULE).to_owned();
                let labels = OutcomeLabels { rule, outcome: status.as_str().to_owned() };
                self.outcomes.get_or_create(&labels).inc();
                if matches!(status, Status::Approved | Status::Rejected) {
                    self.decide.observe(seconds(*after_ms));
                }
            }
            Measurement::BadSignature => {
                self.bad_signatures.inc();
            }
            Measurement::CallbackGivenUp => {
                self.callbacks_given_up.inc();
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "the milliseconds of a year are far below 2^53")]
fn seconds(ms: i64) -> f64 {
    ms.max(0) as f64 / 1000.0
}

/// `GET /metrics`, and nothing else: what is measured is not for whoever may reach the gate.
pub(crate) fn app(numbers: &Arc<Numbers>) -> Router {
    let numbers = Arc::clone(numbers);
    Router::new().route("/metrics", get(async move || scraped(&numbers)))
}

fn scraped(numbers: &Numbers) -> Response {
    match numbers.text() {
        Some(text) => {
            ([(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE))], text).into_response()
        }
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_is_in_the_text_under_few_labels() {
        let numbers = Numbers::new();
        for measurement in [
            Measurement::Asked,
            Measurement::Notified { channel: "email", after_ms: 3 },
            Measurement::Opened { after_ms: 4000 },
            Measurement::Ended { rule: Some("pay \"x\""), status: Status::Approved, after_ms: 9000 },
            Measurement::Ended { rule: None, status: Status::Expired, after_ms: 1 },
            Measurement::Released { after_ms: -1 },
        ] {
            numbers.record(&measurement);
        }
        let text = numbers.text().unwrap();
        for line in [
            "placet_requests_total 1",
            "placet_outcomes_total{rule=\"pay \\\"x\\\"\",outcome=\"approved\"} 1",
            "placet_outcomes_total{rule=\"default\",outcome=\"expired\"} 1",
            "placet_time_to_notify_seconds_bucket{le=\"0.005\",channel=\"email\"} 1",
            "placet_time_to_open_seconds_count 1",
            "placet_time_to_decide_seconds_sum 9.0",
            "placet_time_to_release_seconds_sum 0.0",
            "placet_bad_signatures_total 0",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
