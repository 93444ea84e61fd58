//! The four steps by which Secrets Manager rotates the keyring. Each may come again, and none out of order does harm.
//!
//! Source: <https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda-functions.html>.

#![expect(clippy::disallowed_methods, reason = "new keys are drawn here")]

use std::process::ExitCode;

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;
use lambda_runtime::{LambdaEvent, service_fn};
use placet_core::Fault;
use placet_core::keys::{Keyring, Secret};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::config::Base;
use crate::deadline_queue::DeadlineQueue;
use crate::keyring::read;
use crate::lambda::{failed, run, variable};
use crate::now;
use crate::rotation_job::{Envelope, RotationJob};

const CURRENT: &str = "AWSCURRENT";
const PENDING: &str = "AWSPENDING";

/// What Secrets Manager sends.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    step: Step,
    secret_id: String,
    client_request_token: String,
}

/// The steps, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Step {
    #[serde(rename = "createSecret")]
    Create,
    #[serde(rename = "setSecret")]
    Set,
    #[serde(rename = "testSecret")]
    Test,
    #[serde(rename = "finishSecret")]
    Finish,
}

impl Step {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "createSecret",
            Self::Set => "setSecret",
            Self::Test => "testSecret",
            Self::Finish => "finishSecret",
        }
    }
}

/// Nothing: Secrets Manager reads no answer.
#[derive(Debug, Serialize)]
struct Answer {}

/// The function's work.
struct Rotation {
    client: Client,
    queue: DeadlineQueue,
}

/// Answers Secrets Manager. It reaches the secret and the deadline queue, and nothing else: what must be recorded and
/// told is `timeout-sweep`'s.
pub fn rotate_secret() -> ExitCode {
    run(
        Base::read(variable),
        |base| base,
        async |base, sdk| {
            let rotation = Rotation {
                client: Client::new(&sdk),
                queue: DeadlineQueue::new(aws_sdk_sqs::Client::new(&sdk), base.deadline_queue_url),
            };
            lambda_runtime::run(service_fn(async |event: LambdaEvent<Event>| {
                rotation.answer(&event.payload).await.map_err(|fault| failed(&fault))
            }))
            .await
        },
    )
}

/// Where the version that is being made stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It is the current one already.
    Current,
    /// It is announced, and may have been made.
    Pending,
}

impl Rotation {
    /// Does one step. A failure is alerted, and Secrets Manager tries again.
    async fn answer(&self, event: &Event) -> Result<Answer, Fault> {
        match self.step(event).await {
            Ok(()) => Ok(Answer {}),
            Err(fault) => {
                let step = event.step.as_str().to_owned();
                let told = self.hand_over(&RotationJob::Failed { step, reason: fault.to_string() }).await;
                if let Err(untold) = told {
                    tracing::error!(error = untold.chain(), "a failed rotation could not be handed over");
                }
                Err(fault)
            }
        }
    }

    async fn step(&self, event: &Event) -> Result<(), Fault> {
        let standing = self.standing(event).await?;
        if standing == Standing::Current {
            tracing::info!(step = event.step.as_str(), "this version of the keyring is current already");
            // The last answer was lost, and what was handed over may be as well: a rotation is recorded once, however
            // often it is handed over. Where a first deployment tests its only version, there is nothing to record.
            return match event.step {
                Step::Finish => self.finished(event).await,
                Step::Create | Step::Set | Step::Test => Ok(()),
            };
        }
        match event.step {
            Step::Create => self.create(event).await,
            // Nobody else holds these keys: there is nothing to set anywhere.
            Step::Set => self.pending(event).await.map(drop),
            Step::Test => self.test(event).await,
            Step::Finish => self.finish(event).await,
        }
    }

    async fn standing(&self, event: &Event) -> Result<Standing, Fault> {
        let described = self.client.describe_secret().secret_id(&event.secret_id).send().await;
        let described = described.map_err(|error| Fault::new("the secret cannot be described", error))?;
        let versions = described.version_ids_to_stages.unwrap_or_default();
        let stages = versions
            .get(&event.client_request_token)
            .ok_or(Fault::bare("this version was not announced for a rotation of this secret"))?;
        let has = |stage: &str| stages.iter().any(|known| known == stage);
        if has(CURRENT) {
            return Ok(Standing::Current);
        }
        if has(PENDING) {
            return Ok(Standing::Pending);
        }
        Err(Fault::bare("this version is neither pending nor current: a later rotation has taken its place"))
    }

    /// Makes the next keyring, once: what was made is used by whoever comes again.
    async fn create(&self, event: &Event) -> Result<(), Fault> {
        if self.made(event).await?.is_some() {
            return Ok(());
        }
        let next = self.current(event).await?.rotated(random_secret()?, random_secret()?, now());
        let text = serde_json::to_string(&next)
            .map(Zeroizing::new)
            .map_err(|error| Fault::new("the next keyring cannot be written as JSON", error))?;
        self.client
            .put_secret_value()
            .secret_id(&event.secret_id)
            .client_request_token(&event.client_request_token)
            .secret_string(text.as_str())
            .version_stages(PENDING)
            .send()
            .await
            .map(drop)
            .map_err(|error| Fault::new("the next keyring cannot be written", error))
    }

    /// The next keyring must be the current one's successor: all that is out there stays good.
    async fn test(&self, event: &Event) -> Result<(), Fault> {
        let (current, next) = (self.current(event).await?, self.pending(event).await?);
        let follows = next.current.number == current.current.number.saturating_add(1);
        let keeps = next.previous.as_ref().is_some_and(|previous| {
            previous.number == current.current.number
                && previous.master.expose() == current.current.master.expose()
                && previous.signing_seed.expose() == current.current.signing_seed.expose()
        });
        let is_new = next.current.master.expose() != current.current.master.expose()
            && next.current.signing_seed.expose() != current.current.signing_seed.expose();
        if follows && keeps && is_new {
            return Ok(());
        }
        Err(Fault::bare(
            "the next keyring does not follow the current one: cancel this rotation, and begin another",
        ))
    }

    async fn finish(&self, event: &Event) -> Result<(), Fault> {
        // What was not made and tested must not become current.
        self.test(event).await?;
        let current = self.value(event, None).await?;
        let current = current.ok_or(Fault::bare("the secret has no current version"))?;
        self.client
            .update_secret_version_stage()
            .secret_id(&event.secret_id)
            .version_stage(CURRENT)
            .move_to_version_id(&event.client_request_token)
            .set_remove_from_version_id(current.version_id)
            .send()
            .await
            .map_err(|error| Fault::new("the next keyring cannot be made current", error))?;
        self.finished(event).await
    }

    /// Hands over that the version of this event is current.
    async fn finished(&self, event: &Event) -> Result<(), Fault> {
        let epoch = self.current(event).await?.current.number;
        self.hand_over(&RotationJob::Finished { epoch }).await
    }

    async fn hand_over(&self, job: &RotationJob) -> Result<(), Fault> {
        self.queue.put(&[(Envelope { rotation: job }, 0)]).await
    }

    async fn current(&self, event: &Event) -> Result<Keyring, Fault> {
        let value = self.value(event, None).await?;
        value.map(|value| value.keyring).ok_or(Fault::bare("the secret has no current version"))
    }

    async fn pending(&self, event: &Event) -> Result<Keyring, Fault> {
        self.made(event)
            .await?
            .ok_or(Fault::bare("the next keyring has not been made: `createSecret` comes first"))
    }

    async fn made(&self, event: &Event) -> Result<Option<Keyring>, Fault> {
        Ok(self.value(event, Some(&event.client_request_token)).await?.map(|value| value.keyring))
    }

    /// A version of the secret, the current one without a name. None where it has no value yet.
    async fn value(&self, event: &Event, version: Option<&str>) -> Result<Option<Version>, Fault> {
        let get = self.client.get_secret_value().secret_id(&event.secret_id);
        let get = match version {
            Some(version) => get.version_id(version).version_stage(PENDING),
            None => get.version_stage(CURRENT),
        };
        match get.send().await {
            Ok(value) => {
                let text = Zeroizing::new(value.secret_string.unwrap_or_default());
                if text.is_empty() {
                    return Ok(None);
                }
                let created_at = value.created_date.map_or(0, |at| at.secs());
                Ok(Some(Version { keyring: read(&text, created_at)?, version_id: value.version_id }))
            }
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(GetSecretValueError::is_resource_not_found_exception) =>
            {
                Ok(None)
            }
            Err(error) => Err(Fault::new("a version of the secret cannot be read", error)),
        }
    }
}

struct Version {
    keyring: Keyring,
    version_id: Option<String>,
}

fn random_secret() -> Result<Secret, Fault> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut())
        .map_err(|error| Fault::new("the system's random source failed", error))?;
    Ok(Secret::new(*bytes))
}
