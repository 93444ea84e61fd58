//! The three functions with a gate in them: what each is put together from.

use std::process::ExitCode;
use std::sync::Arc;

use aws_types::SdkConfig;
use axum::Router;
use lambda_http::Request;
use lambda_http::tower::ServiceExt;
#[cfg(feature = "deliver")]
use lambda_runtime::{LambdaEvent, service_fn};
#[cfg(feature = "deliver")]
use placet_delivery::{Bodies, Channels, Parts, ReviewerWebhook, Webhooks, Worker};
use placet_dynamodb::{DynamoStore, Keep, Tables};
use placet_gate::ports::{Clock, Dispatcher, Keys};
use placet_gate::{Gate, Ports, Settings};
#[cfg(feature = "deliver")]
use placet_http::wire;
#[cfg(feature = "deliver")]
use placet_webhook::{Options, Sender};

use crate::SystemClock;
use crate::answer::Answer;
#[cfg(feature = "deliver")]
use crate::channels::{AlertTopic, EmailTopic, Sms, SqsQueues};
use crate::config::GateConfig;
#[cfg(feature = "deliver")]
use crate::config::SweepConfig;
use crate::deadline_queue::DeadlineQueue;
use crate::dispatcher::SqsDispatcher;
use crate::keys::SecretKeys;
#[cfg(feature = "deliver")]
use crate::lambda::failed;
use crate::lambda::{run, variable};
#[cfg(feature = "deliver")]
use crate::sweeper::{self, EventDispatcher, Sweeper};
use crate::telemetry::EmfMetrics;

/// How long a policy is used before a newer one is asked for, in milliseconds.
const POLICY_MAX_AGE_MS: i64 = 10_000;

/// How long the list of subscriptions is used for new messages, in milliseconds.
const HOOKS_MAX_AGE_MS: i64 = 5_000;

/// How far ahead the sweep asks to be woken, in milliseconds: beyond the next sweep, which comes every minute but may be
/// some tens of seconds late.
const ARM_AHEAD_MS: i64 = 150_000;

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// Answers what clients call.
pub fn request() -> ExitCode {
    run(
        GateConfig::read(variable),
        |config| &config.base,
        async |config, sdk| serve(placet_http::client_app(deployed_gate(&config, &sdk))).await,
    )
}

/// Answers what reviewers' browsers call.
pub fn decide() -> ExitCode {
    run(
        GateConfig::read(variable),
        |config| &config.base,
        async |config, sdk| serve(placet_http::reviewer_app(deployed_gate(&config, &sdk))).await,
    )
}

/// Answers the schedule and the deadline queue.
#[cfg(feature = "deliver")]
pub fn timeout_sweep() -> ExitCode {
    run(
        SweepConfig::read(variable),
        |config| &config.gate.base,
        async |config, sdk| {
            let sweeper = sweeper(config, &sdk);
            lambda_runtime::run(service_fn(async |event: LambdaEvent<sweeper::Event>| {
                sweeper.answer(event.payload).await.map_err(|fault| failed(&fault))
            }))
            .await
        },
    )
}

async fn serve(app: Router) -> Result<(), lambda_runtime::Error> {
    lambda_http::run(ServiceExt::<Request>::map_response(app, Answer)).await
}

#[cfg(feature = "deliver")]
fn sweeper(config: SweepConfig, sdk: &SdkConfig) -> Sweeper {
    let dispatcher = Arc::new(EventDispatcher::new(deadline_queue(&config.gate, sdk)));
    let gate = gate_over(&config.gate, sdk, Arc::clone(&dispatcher) as _);
    let sns = aws_sdk_sns::Client::new(sdk);
    let sender = Sender::new(Options::default());
    let channels = Channels::default()
        .with(Arc::new(ReviewerWebhook::new(Arc::clone(&gate), sender.clone())))
        .with(Arc::new(EmailTopic { sns: sns.clone(), arn: config.email_topic_arn }))
        .with(Arc::new(Sms { sns: sns.clone(), sender_id: config.sms_sender_id }));
    let alerts = AlertTopic { sns, arn: config.alert_topic_arn, gate: config.gate.base.gate };
    let parts = Parts {
        channels,
        queues: Arc::new(SqsQueues { sqs: aws_sdk_sqs::Client::new(sdk), urls: config.queues }),
        webhooks: Webhooks::new(sender),
        alerts: vec![Arc::new(alerts)],
        bodies: Bodies { event: wire::event, queue_item: wire::queue_item },
    };
    Sweeper { worker: Arc::new(Worker::new(gate, parts)), dispatcher }
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
    SecretKeys::new(aws_sdk_secretsmanager::Client::new(sdk), config.keyring_secret.clone())
}

/// A gate that hands over what follows its commits to the deadline queue.
pub(crate) fn deployed_gate(config: &GateConfig, sdk: &SdkConfig) -> Arc<Gate> {
    gate_over(config, sdk, Arc::new(SqsDispatcher(deadline_queue(config, sdk))))
}

fn deadline_queue(config: &GateConfig, sdk: &SdkConfig) -> DeadlineQueue {
    DeadlineQueue::new(aws_sdk_sqs::Client::new(sdk), config.base.deadline_queue_url.clone())
}

fn gate_over(config: &GateConfig, sdk: &SdkConfig, dispatcher: Arc<dyn Dispatcher>) -> Arc<Gate> {
    let ports = Ports {
        store: Arc::new(store(config, sdk)),
        dispatcher,
        keys: Arc::new(keys(config, sdk)) as Arc<dyn Keys>,
        clock: Arc::new(SystemClock),
        metrics: Arc::new(EmfMetrics::new(&config.base.gate)),
    };
    let settings = Settings {
        public_url: config.public_url.clone(),
        policy_max_age_ms: Some(POLICY_MAX_AGE_MS),
        hooks_max_age_ms: Some(HOOKS_MAX_AGE_MS),
        arm_ahead_ms: ARM_AHEAD_MS,
    };
    Arc::new(Gate::new(ports, settings))
}
