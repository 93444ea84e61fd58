//! The three functions with a gate in them: what each is put together from.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use aws_types::SdkConfig;
use axum::Router;
use axum::response::IntoResponse as _;
use lambda_http::http::HeaderValue;
use lambda_http::request::LambdaRequest;
use lambda_http::service_fn as http_service_fn;
use lambda_http::tower::ServiceExt;
use lambda_http::{Request, RequestExt as _};
use lambda_runtime::LambdaEvent;
#[cfg(feature = "deliver")]
use lambda_runtime::service_fn;
#[cfg(feature = "deliver")]
use placet_core::Fault;
use placet_core::Refusal;
use placet_core::keys::SharedSecret;
#[cfg(feature = "deliver")]
use placet_delivery::alert::LogAlerts;
#[cfg(feature = "deliver")]
use placet_delivery::{
    AlertMail, AlertWays, Bodies, Channels, Parts, ReviewerWebhook, Slack, Telegram, Webhooks, Worker,
};
use placet_dynamodb::{DynamoStore, Keep, Tables};
use placet_gate::ports::{Clock, Dispatcher, Keys};
use placet_gate::{Gate, Ports, Settings};
use placet_http::Problem;
#[cfg(feature = "deliver")]
use placet_http::wire;
#[cfg(feature = "deliver")]
use placet_webhook::{Options, Sender};
use tokio::time::timeout;

use crate::answer::Answer;
#[cfg(feature = "deliver")]
use crate::channels::{AlertTopic, EmailTopic, Ses, Sms, SqsQueues};
use crate::config::{ApiConfig, GateConfig};
#[cfg(feature = "deliver")]
use crate::config::{MailConfig, SweepConfig};
#[cfg(feature = "deliver")]
use crate::connect::connector;
use crate::deadline_queue::DeadlineQueue;
use crate::dispatcher::SqsDispatcher;
use crate::event::presentable;
use crate::keys::SecretKeys;
#[cfg(feature = "deliver")]
use crate::lambda::failed;
use crate::lambda::{run, variable};
#[cfg(feature = "deliver")]
use crate::signed_json::SignedJson;
#[cfg(feature = "deliver")]
use crate::sweeper::{self, EventDispatcher, Sweeper};
use crate::telemetry::EmfMetrics;
use crate::{SystemClock, now};

/// How long a policy is used before a newer one is asked for, in milliseconds.
const POLICY_MAX_AGE_MS: i64 = 10_000;

/// How long the list of subscriptions is used for new messages, in milliseconds.
const HOOKS_MAX_AGE_MS: i64 = 5_000;

/// How far ahead the sweep asks to be woken, in milliseconds: beyond the next sweep, which comes every minute but may be
/// some tens of seconds late.
const ARM_AHEAD_MS: i64 = 150_000;

/// How long what is new about a request is remembered for inboxes, in milliseconds: reading it anew costs a hundred
/// requests of each client.
const NOVELTY_MAX_AGE_MS: i64 = 5 * 60_000;

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// Answers what clients call.
pub fn request() -> ExitCode {
    run(
        ApiConfig::read(variable),
        |config| &config.gate.base,
        async |config, sdk| {
            let app = crate::mcp::client_app(deployed_gate(&config.gate, &sdk));
            serve(app, config.origin_secret).await
        },
    )
}

/// Answers what reviewers' browsers call, and the servers of chats in which reviewers press buttons.
pub fn decide() -> ExitCode {
    run(
        ApiConfig::read(variable),
        |config| &config.gate.base,
        async |config, sdk| {
            let app = placet_http::reviewer_app(deployed_gate(&config.gate, &sdk));
            serve(app, config.origin_secret).await
        },
    )
}

/// Answers the schedule and the deadline queue.
#[cfg(feature = "deliver")]
pub fn timeout_sweep() -> ExitCode {
    run(
        SweepConfig::read(variable),
        |config| &config.gate.base,
        async |config, sdk| {
            let sweeper = sweeper(config, &sdk)?;
            lambda_runtime::run(service_fn(async |event: LambdaEvent<sweeper::Event>| {
                sweeper.answer(event.payload).await.map_err(|fault| failed(&fault))
            }))
            .await
        },
    )
}

/// The API's own limit for an answer, in milliseconds.
/// Source: <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html>.
const LONGEST_CALL_MS: u64 = 30_000;

/// What proves that a call came through whatever stands in front of the API.
const ORIGIN_HEADER: &str = "x-placet-origin";

async fn serve(app: Router, origin_secret: Option<SharedSecret>) -> Result<(), lambda_runtime::Error> {
    let origin = Arc::new(origin_secret);
    let answering = lambda_http::Adapter::from(http_service_fn(move |call: Request| {
        let (app, origin) = (app.clone(), Arc::clone(&origin));
        async move {
            if came_through(origin.as_ref().as_ref(), &call) {
                let (uri, headers) = (call.uri().clone(), call.headers().clone());
                let budget =
                    budget(call.lambda_context_ref().map(|context| context.deadline), now().millis());
                return match timeout(budget, app.oneshot(call)).await {
                    Ok(answered) => answered.map(Answer),
                    Err(_) => Ok(Answer(placet_http::too_slow(&uri, &headers))),
                };
            }
            let refused = Refusal::Forbidden("this address is not for direct calls");
            Ok(Answer(Problem::from(refused).into_response()))
        }
    }));
    let calls = ServiceExt::map_request(answering, |event: LambdaEvent<LambdaRequest>| LambdaEvent {
        payload: presentable(event.payload),
        context: event.context,
    });
    lambda_runtime::run(calls).await
}

/// For how long an answer may be worked on: Lambda would end a call that takes longer, and the API would answer for it in
/// words of its own.
fn budget(deadline_ms: Option<u64>, now_ms: i64) -> Duration {
    const TO_ANSWER_MS: u64 = 1_000;
    let now_ms = u64::try_from(now_ms).unwrap_or(0);
    let left_ms = deadline_ms.map_or(LONGEST_CALL_MS, |deadline| deadline.saturating_sub(now_ms));
    Duration::from_millis(left_ms.min(LONGEST_CALL_MS).saturating_sub(TO_ANSWER_MS))
}

fn came_through(origin: Option<&SharedSecret>, call: &Request) -> bool {
    let sent = || call.headers().get(ORIGIN_HEADER).map(HeaderValue::as_bytes).unwrap_or_default();
    origin.is_none_or(|secret| secret.matches(sent()))
}

#[cfg(feature = "deliver")]
fn sweeper(config: SweepConfig, sdk: &SdkConfig) -> Result<Sweeper, Fault> {
    let dispatcher = Arc::new(EventDispatcher::new(deadline_queue(&config.gate, sdk)));
    let keys: Arc<dyn Keys> = Arc::new(keys(&config.gate, sdk));
    let gate = gate_over(&config.gate, sdk, Arc::clone(&dispatcher) as _, Arc::clone(&keys));
    let sns = aws_sdk_sns::Client::new(sdk);
    let sender = Sender::new(Options::default());
    let configuration_set = config.mail.as_ref().map(|mail| mail.configuration_set.clone());
    let mail = match config.mail {
        Some(mail) => Mail::Ses(SignedJson::ses(sdk, connector(&config.gate.base.access.roots)?)?, mail),
        None => Mail::Topic(config.email_topic_arn),
    };
    let means = Means { gate: Arc::clone(&gate), keys, sns: sns.clone(), sender: sender.clone() };
    let (channels, mail) = channels(means, mail, config.sms_sender_id);
    let topic = AlertTopic { sns, arn: config.alert_topic_arn, gate: config.gate.base.gate };
    let ways =
        AlertWays { gate: Arc::clone(&gate), sender: sender.clone(), mail, topic: Some(Arc::new(topic)) };
    let parts = Parts {
        channels,
        queues: Arc::new(SqsQueues { sqs: aws_sdk_sqs::Client::new(sdk), urls: config.queues }),
        webhooks: Webhooks::new(sender),
        alerts: vec![Arc::new(LogAlerts)],
        ways,
        bodies: Bodies { event: wire::event, queue_item: wire::queue_item },
    };
    Ok(Sweeper { worker: Arc::new(Worker::new(gate, parts)), dispatcher, configuration_set })
}

/// What channels are put together from.
#[cfg(feature = "deliver")]
pub(crate) struct Means {
    pub(crate) gate: Arc<Gate>,
    pub(crate) keys: Arc<dyn Keys>,
    pub(crate) sns: aws_sdk_sns::Client,
    pub(crate) sender: Sender,
}

/// What mail goes by.
#[cfg(feature = "deliver")]
pub(crate) enum Mail {
    /// SES, from an address of the operator's.
    Ses(SignedJson, MailConfig),
    /// A topic of that ARN.
    Topic(String),
}

/// Every channel of a deployed gate, and what mails operators.
#[cfg(feature = "deliver")]
pub(crate) fn channels(
    means: Means,
    mail: Mail,
    sms_sender_id: Option<String>,
) -> (Channels, Arc<dyn AlertMail>) {
    let Means { gate, keys, sns, sender } = means;
    let (channels, mail): (_, Arc<dyn AlertMail>) = match mail {
        Mail::Ses(api, config) => {
            let ses = Arc::new(Ses { api, config, gate: Arc::clone(&gate) });
            (Channels::default().with(Arc::clone(&ses) as _), ses)
        }
        Mail::Topic(arn) => {
            let topic = Arc::new(EmailTopic { sns: sns.clone(), arn });
            (Channels::default().with(Arc::clone(&topic) as _), topic)
        }
    };
    let channels = channels
        .with(Arc::new(Sms { sns, sender_id: sms_sender_id }))
        .with(Arc::new(Slack::new(Arc::clone(&keys), sender.clone())))
        .with(Arc::new(Telegram::new(keys, sender.clone())))
        .with(Arc::new(ReviewerWebhook::new(gate, sender)));
    (channels, mail)
}

/// The store of that deployment.
pub(crate) fn store(config: &GateConfig, sdk: &SdkConfig) -> DynamoStore {
    let tables = Tables { requests: config.requests_table.clone(), audit: config.audit_table.clone() };
    let keep = Keep {
        ended_seconds: i64::from(config.request_retention_days) * DAY_SECONDS,
        audit_seconds: i64::from(config.audit_retention_days) * DAY_SECONDS,
    };
    let client = aws_sdk_dynamodb::Client::new(sdk);
    DynamoStore::new(client, tables, keep, Arc::new(SystemClock) as Arc<dyn Clock>)
}

/// The keys of that deployment.
pub(crate) fn keys(config: &GateConfig, sdk: &SdkConfig) -> SecretKeys {
    let client = aws_sdk_secretsmanager::Client::new(sdk);
    SecretKeys::new(client, config.keyring_secret.clone(), config.channels_secret.clone())
}

/// A gate that hands over what follows its commits to the deadline queue.
pub(crate) fn deployed_gate(config: &GateConfig, sdk: &SdkConfig) -> Arc<Gate> {
    let dispatcher = Arc::new(SqsDispatcher(deadline_queue(config, sdk)));
    gate_over(config, sdk, dispatcher, Arc::new(keys(config, sdk)))
}

fn deadline_queue(config: &GateConfig, sdk: &SdkConfig) -> DeadlineQueue {
    DeadlineQueue::new(aws_sdk_sqs::Client::new(sdk), config.base.deadline_queue_url.clone())
}

fn gate_over(
    config: &GateConfig,
    sdk: &SdkConfig,
    dispatcher: Arc<dyn Dispatcher>,
    keys: Arc<dyn Keys>,
) -> Arc<Gate> {
    let ports = Ports {
        store: Arc::new(store(config, sdk)),
        dispatcher,
        keys,
        clock: Arc::new(SystemClock),
        metrics: Arc::new(EmfMetrics::new(&config.base.gate)),
    };
    let settings = Settings {
        public_url: config.public_url.clone(),
        policy_max_age_ms: Some(POLICY_MAX_AGE_MS),
        hooks_max_age_ms: Some(HOOKS_MAX_AGE_MS),
        arm_ahead_ms: ARM_AHEAD_MS,
        paces_looks: true,
        novelty_max_age_ms: Some(NOVELTY_MAX_AGE_MS),
    };
    Arc::new(Gate::new(ports, settings))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_leaves_lambda_a_second() {
        let budget = |deadline| budget(deadline, 1_000_000).as_millis();
        assert_eq!(budget(Some(1_010_000)), 9_000);
        assert_eq!(budget(Some(1_000_500)), 0);
        assert_eq!(budget(Some(999_999)), 0);
        assert_eq!(budget(Some(9_999_999)), 29_000);
        assert_eq!(budget(None), 29_000);
    }

    #[test]
    fn a_call_that_did_not_come_through_the_front_is_not_answered() {
        let secret = SharedSecret::new("0123456789abcdef0123456789abcdef".into());
        let call = |header: Option<&str>| {
            let mut call = Request::default();
            if let Some(text) = header {
                call.headers_mut().insert(ORIGIN_HEADER, text.parse().unwrap());
            }
            call
        };
        assert!(came_through(Some(&secret), &call(Some("0123456789abcdef0123456789abcdef"))));
        for wrong in [
            None,
            Some(""),
            Some("0123456789abcdef0123456789abcdeF"),
            Some("0123456789abcdef0123456789abcdef0"),
        ] {
            assert!(!came_through(Some(&secret), &call(wrong)), "{wrong:?}");
            assert!(came_through(None, &call(wrong)), "{wrong:?}");
        }
        assert_eq!(format!("{secret:?}"), "SharedSecret(…)");
    }
}
