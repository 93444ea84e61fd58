//! A function from its start to its last event: read the environment, put the gate together, answer.

use std::process::ExitCode;
use std::sync::Arc;

use aws_types::SdkConfig;
use axum::Router;
use lambda_http::Request;
use lambda_http::lambda_runtime::{self, Diagnostic, LambdaEvent, service_fn};
use lambda_http::tower::ServiceExt;
use placet_dynamodb::{DynamoStore, Keep, Tables};
use placet_gate::ports::{Clock, Keys, Notify, Store, Timers};
use placet_gate::{Fault, Gate, Ports, Settings};
use placet_webhook::{Options, Sender};

use crate::SystemClock;
use crate::alerts::{AlertTopic, OnlyAlerts};
use crate::answer::Answer;
use crate::config::{Config, ConfigFaults, Function};
use crate::connect::sdk_config;
use crate::errand::DeadlineQueue;
use crate::keys::SecretKeys;
use crate::notify::AwsNotify;
use crate::rotation::{self, Rotation};
use crate::sweeper::{self, HereAndNow, Sweeper};
use crate::telemetry::{self, EmfMeter};
use crate::timers::HandOver;

/// How long a policy is used before a newer one is asked for, in milliseconds.
const POLICY_MAX_AGE_MS: i64 = 10_000;

/// How long the list of subscriptions is used for new messages, in milliseconds.
const HOOKS_MAX_AGE_MS: i64 = 5_000;

/// How far ahead the sweep sets timers, in milliseconds: beyond the next sweep, which comes every minute.
const ARM_AHEAD_MS: i64 = 90_000;

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// Why a function could not start, or ended.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Config(#[from] ConfigFaults),
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error("the runtime failed: {0}")]
    Runtime(String),
}

/// Runs a function until Lambda ends it. Nothing of AWS is called before the first event.
///
/// Each function names its own way to serve, so that its binary holds nothing of the others.
pub fn run<F>(function: Function, serve: impl FnOnce(Deployed) -> F) -> ExitCode
where
    F: Future<Output = Result<(), lambda_runtime::Error>>,
{
    match start(function, serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            let cause = match &trouble {
                Trouble::Fault(fault) => fault.chain(),
                Trouble::Config(_) | Trouble::Runtime(_) => trouble.to_string(),
            };
            tracing::error!(error = cause, "the function cannot go on");
            ExitCode::FAILURE
        }
    }
}

fn start<F>(function: Function, serve: impl FnOnce(Deployed) -> F) -> Result<(), Trouble>
where
    F: Future<Output = Result<(), lambda_runtime::Error>>,
{
    let variable = |name: &str| std::env::var(name).ok();
    let read = Config::read(function, variable);
    match &read {
        Ok((config, _)) => telemetry::start(config.log_level, &config.gate),
        Err(_) => telemetry::start(tracing::Level::INFO, "placet"),
    }
    let (config, access) = read?;
    let sdk = sdk_config(&access, variable)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Trouble::Runtime(error.to_string()))?;
    runtime.block_on(serve(Deployed { config, sdk })).map_err(|error| Trouble::Runtime(error.to_string()))
}

/// Answers what clients call.
pub async fn request(deployed: Deployed) -> Result<(), lambda_runtime::Error> {
    serve(placet_http::client_app(deployed.gate())).await
}

/// Answers what reviewers' browsers call.
pub async fn decide(deployed: Deployed) -> Result<(), lambda_runtime::Error> {
    serve(placet_http::reviewer_app(deployed.gate())).await
}

async fn serve(app: Router) -> Result<(), lambda_runtime::Error> {
    lambda_http::run(ServiceExt::<Request>::map_response(app, Answer)).await
}

/// Answers the schedule and the deadline queue.
pub async fn timeout_sweep(deployed: Deployed) -> Result<(), lambda_runtime::Error> {
    let timers = HereAndNow::new(deployed.deadline_queue());
    let store: Arc<dyn Store> = Arc::new(deployed.store());
    let alerts = Arc::new(deployed.alert_topic());
    let notify = deployed.notify(Arc::clone(&alerts));
    let gate = deployed.gate_over(Arc::clone(&store), Arc::clone(&timers) as _, Arc::new(notify));
    timers.belong_to(&gate);
    let sweeper = Sweeper { gate, store, timers, alerts };
    lambda_runtime::run(service_fn(async |event: LambdaEvent<sweeper::Event>| {
        sweeper.answer(event.payload).await.map_err(|fault| failed(&fault))
    }))
    .await
}

/// Answers Secrets Manager.
pub async fn rotate_secret(deployed: Deployed) -> Result<(), lambda_runtime::Error> {
    let client = aws_sdk_secretsmanager::Client::new(&deployed.sdk);
    let notify = Arc::new(OnlyAlerts(deployed.alert_topic()));
    let timers = Arc::new(HandOver(deployed.deadline_queue()));
    let gate = deployed.gate_over(Arc::new(deployed.store()), timers, Arc::clone(&notify) as _);
    lambda_runtime::run(service_fn(async |event: LambdaEvent<rotation::Event>| {
        let rotation = Rotation { client: &client, gate: &gate, notify: &*notify };
        rotation.answer(&event.payload).await.map_err(|fault| failed(&fault))
    }))
    .await
}

/// Logs the cause, once; what Lambda is told ends in the caller's own log.
fn failed(fault: &Fault) -> Diagnostic {
    tracing::error!(error = fault.chain(), "an event could not be dealt with");
    Diagnostic { error_type: "Fault".to_owned(), error_message: fault.to_string() }
}

/// What a deployment is made of, and how to reach it.
pub struct Deployed {
    pub(crate) config: Config,
    pub(crate) sdk: SdkConfig,
}

impl Deployed {
    pub(crate) fn store(&self) -> DynamoStore {
        let tables =
            Tables { requests: self.config.requests_table.clone(), audit: self.config.audit_table.clone() };
        let keep = Keep {
            ended_seconds: i64::from(self.config.request_retention_days) * DAY_SECONDS,
            audit_seconds: i64::from(self.config.audit_retention_days) * DAY_SECONDS,
        };
        let client = aws_sdk_dynamodb::Client::new(&self.sdk);
        DynamoStore::new(client, tables, keep, Arc::new(SystemClock) as Arc<dyn Clock>)
    }

    pub(crate) fn keys(&self) -> SecretKeys {
        let client = aws_sdk_secretsmanager::Client::new(&self.sdk);
        SecretKeys::new(client, self.config.keyring_secret.clone())
    }

    fn alert_topic(&self) -> AlertTopic {
        AlertTopic {
            sns: aws_sdk_sns::Client::new(&self.sdk),
            arn: self.config.alert_topic_arn.clone().unwrap_or_default(),
            gate: self.config.gate.clone(),
        }
    }

    fn notify(&self, alerts: Arc<AlertTopic>) -> AwsNotify {
        AwsNotify {
            sns: aws_sdk_sns::Client::new(&self.sdk),
            sqs: aws_sdk_sqs::Client::new(&self.sdk),
            email_topic_arn: self.config.email_topic_arn.clone().unwrap_or_default(),
            alerts,
            queues: self.config.queues.clone(),
            sms_sender_id: self.config.sms_sender_id.clone(),
            sender: Sender::new(Options::default()),
        }
    }

    fn deadline_queue(&self) -> DeadlineQueue {
        // The rotation, which has no queue, puts nothing in.
        let url = self.config.deadline_queue_url.clone().unwrap_or_default();
        DeadlineQueue::new(aws_sdk_sqs::Client::new(&self.sdk), url)
    }

    /// A gate that hands over what happens later.
    pub(crate) fn gate(&self) -> Arc<Gate> {
        let timers = Arc::new(HandOver(self.deadline_queue()));
        let notify = Arc::new(OnlyAlerts(self.deadline_queue()));
        self.gate_over(Arc::new(self.store()), timers, notify)
    }

    fn gate_over(
        &self,
        store: Arc<dyn Store>,
        timers: Arc<dyn Timers>,
        notify: Arc<dyn Notify>,
    ) -> Arc<Gate> {
        let ports = Ports {
            store,
            notify,
            timers,
            keys: Arc::new(self.keys()) as Arc<dyn Keys>,
            clock: Arc::new(SystemClock),
            meter: Arc::new(EmfMeter::new(&self.config.gate)),
        };
        let settings = Settings {
            public_url: self.config.public_url.clone(),
            policy_max_age_ms: Some(POLICY_MAX_AGE_MS),
            hooks_max_age_ms: Some(HOOKS_MAX_AGE_MS),
            arm_ahead_ms: ARM_AHEAD_MS,
        };
        Arc::new(Gate::new(ports, settings))
    }
}
