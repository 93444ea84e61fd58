//! The far end: what stands for DynamoDB, Secrets Manager, SQS and SNS, for timing and counting only.
//!
//! It answers at once, over plain HTTP on the loopback, the same for everybody who is compared. What AWS itself
//! costs, in time and TLS, is not in any number here; that the functions are right is tested elsewhere.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use placet_core::Timestamp;
use placet_core::keys::Keyring;
use placet_core::payload::sha256_hex;
use serde_json::{Value, json};

use super::dynamo::{Done, Tables, Units};
use super::http::{Call, Listener, Reply};
use crate::failure::Result;

/// The policy that it holds from the start.
const POLICY: &str = include_str!("../../lambda/policy.toml");

/// The seed of the keyring, as the template makes one. Nobody's secret.
const SEED: &str = "bench0123456789bench0123456789bench0123456789bench0123456789abcd";

/// When the secret was made, in Unix seconds.
const MADE_AT: i64 = 1_795_564_800;

/// The stages of a version of the secret.
const CURRENT: &str = "AWSCURRENT";
const PENDING: &str = "AWSPENDING";

/// One call that a function made.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    /// The service.
    pub(crate) service: Service,
    /// The operation, and of how many items where that matters.
    pub(crate) operation: String,
    /// What DynamoDB bills.
    pub(crate) units: Units,
}

/// A service of AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    DynamoDb,
    SecretsManager,
    Sqs,
    /// SNS, to a topic or to a phone.
    Sns,
    SnsSms,
}

/// Everything that the functions of one gate reach.
pub(crate) struct FarEnd {
    listener: Listener,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    tables: Tables,
    versions: BTreeMap<String, Version>,
    jobs: Vec<String>,
    made: Vec<Made>,
    unknown: Vec<String>,
}

/// A version of the secret; it may have no value yet.
struct Version {
    stage: &'static str,
    value: Option<String>,
}

impl FarEnd {
    /// Starts it, with a policy and a keyring.
    pub(crate) fn start() -> Result<Self> {
        let mut state = State::default();
        // As `crates/dynamodb/src/items/policies.rs` lays it out; no act here is checked against the marks.
        let sha256 = sha256_hex(POLICY.as_bytes());
        let policy = json!({
            "pk": {"S": "policy"}, "sk": {"S": "0000000001"}, "v": {"N": "1"}, "sha256": {"S": sha256},
            "installed_at": {"N": (MADE_AT * 1000).to_string()},
        });
        let text = json!({
            "pk": {"S": "policytext"}, "sk": {"S": sha256}, "v": {"N": "1"}, "text": {"S": POLICY},
        });
        for item in [policy, text] {
            let _ = state.tables.put_request(&item);
        }
        let seed = json!({"placet_seed_version": 1, "seed": SEED}).to_string();
        state.versions.insert("first".to_owned(), Version { stage: CURRENT, value: Some(seed) });
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let listener = Listener::serve(move |call| {
            Some(shared.lock().unwrap_or_else(PoisonError::into_inner).answer(&call))
        })?;
        Ok(Self { listener, state })
    }

    /// The keyring that the functions derive.
    pub(crate) fn keyring() -> Keyring {
        Keyring::from_seed(SEED, Timestamp::from_millis(MADE_AT * 1000))
    }

    /// The variables that make functions use it: those that the template sets, and another endpoint.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        let address = format!("http://{}", self.listener.address);
        [
            ("AWS_ENDPOINT_URL", address.clone()),
            ("PLACET_GATE", "bench".to_owned()),
            ("PLACET_REQUESTS_TABLE", "requests".to_owned()),
            ("PLACET_AUDIT_TABLE", "audit".to_owned()),
            ("PLACET_KEYRING_SECRET", "keyring".to_owned()),
            ("PLACET_DEADLINE_QUEUE_URL", format!("{address}/123456789012/deadlines")),
            ("PLACET_QUEUES", format!("backup={address}/123456789012/backup")),
            ("PLACET_EMAIL_TOPIC_ARN", "arn:aws:sns:us-east-1:123456789012:email".to_owned()),
            ("PLACET_ALERT_TOPIC_ARN", "arn:aws:sns:us-east-1:123456789012:alerts".to_owned()),
            ("PLACET_PUBLIC_URL", "https://gate.example.com".to_owned()),
        ]
        .into()
    }

    /// The calls since this was asked last, in their order.
    pub(crate) fn calls(&self) -> Vec<Made> {
        std::mem::take(&mut self.state().made)
    }

    /// What was put into the deadline queue since this was asked last.
    pub(crate) fn jobs(&self) -> Vec<String> {
        std::mem::take(&mut self.state().jobs)
    }

    /// What was asked that this far end does not know: must be nothing.
    pub(crate) fn unknown(&self) -> Vec<String> {
        self.state().unknown.clone()
    }

    /// How much the tables hold, in bytes.
    pub(crate) fn stored_bytes(&self) -> usize {
        self.state().tables.bytes()
    }

    /// Announces a version for a rotation, as Secrets Manager does before it calls the function.
    pub(crate) fn announce(&self, token: &str) {
        self.state().versions.insert(token.to_owned(), Version { stage: PENDING, value: None });
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn answer(&mut self, call: &Call) -> Reply {
        let reply = match call.target.as_deref().and_then(|target| target.rsplit_once('.')) {
            Some((service, operation)) => {
                let input = serde_json::from_slice(&call.body).unwrap_or_default();
                match service.split_once('_').map_or(service, |(name, _)| name) {
                    "DynamoDB" => self.dynamo(operation, &input),
                    "secretsmanager" => self.secret(operation, &input),
                    "AmazonSQS" => self.queue(operation, &input),
                    _ => None,
                }
            }
            None => self.publish(&call.body),
        };
        reply.unwrap_or_else(|| {
            let asked = call.target.as_deref().unwrap_or(&call.path);
            self.unknown.push(format!("{asked}: {}", String::from_utf8_lossy(&call.body)));
            refused("ValidationException", "this far end does not know that")
        })
    }

    fn made(&mut self, service: Service, operation: impl Into<String>, units: Units) {
        self.made.push(Made { service, operation: operation.into(), units });
    }

    fn dynamo(&mut self, operation: &str, input: &Value) -> Option<Reply> {
        let Done { answer, units, name } = self.tables.answer(operation, input)?;
        self.made(Service::DynamoDb, name, units);
        Some(json_reply(&answer, "application/x-amz-json-1.0"))
    }

    fn secret(&mut self, operation: &str, input: &Value) -> Option<Reply> {
        let text = |name: &str| input.get(name).and_then(Value::as_str);
        let current = || self.versions.iter().find(|(_, version)| version.stage == CURRENT);
        let answer = match operation {
            "GetSecretValue" => {
                let found = match text("VersionId") {
                    Some(id) => self.versions.get_key_value(id),
                    None => current(),
                };
                let Some((id, value)) = found.and_then(|(id, version)| Some((id, version.value.as_ref()?)))
                else {
                    self.made(Service::SecretsManager, operation, Units::default());
                    return Some(refused("ResourceNotFoundException", "no such version"));
                };
                json!({"Name": "keyring", "VersionId": id, "SecretString": value, "CreatedDate": MADE_AT})
            }
            "DescribeSecret" => {
                let stages: BTreeMap<_, _> =
                    self.versions.iter().map(|(id, version)| (id.as_str(), [version.stage])).collect();
                json!({"Name": "keyring", "VersionIdsToStages": stages})
            }
            "PutSecretValue" => {
                let (token, value) = (text("ClientRequestToken")?, text("SecretString")?);
                self.versions.get_mut(token)?.value = Some(value.to_owned());
                json!({"Name": "keyring", "VersionId": token})
            }
            "UpdateSecretVersionStage" => {
                self.versions.retain(|_, version| version.stage != CURRENT);
                self.versions.get_mut(text("MoveToVersionId")?)?.stage = CURRENT;
                json!({"Name": "keyring"})
            }
            _ => return None,
        };
        self.made(Service::SecretsManager, operation, Units::default());
        Some(json_reply(&answer, "application/x-amz-json-1.1"))
    }

    fn queue(&mut self, operation: &str, input: &Value) -> Option<Reply> {
        let answer = match operation {
            "SendMessageBatch" => {
                let entries = input.get("Entries")?.as_array()?;
                let bodies = entries.iter().filter_map(|entry| entry.get("MessageBody")?.as_str());
                self.jobs.extend(bodies.map(str::to_owned));
                let taken: Vec<Value> = entries
                    .iter()
                    .map(|entry| json!({"Id": entry.get("Id"), "MessageId": "m", "MD5OfMessageBody": ""}))
                    .collect();
                json!({"Successful": taken, "Failed": []})
            }
            "SendMessage" => json!({"MessageId": "m", "MD5OfMessageBody": ""}),
            _ => return None,
        };
        self.made(Service::Sqs, operation, Units::default());
        Some(json_reply(&answer, "application/x-amz-json-1.0"))
    }

    /// SNS speaks the older protocol of forms and XML.
    fn publish(&mut self, body: &[u8]) -> Option<Reply> {
        let form = std::str::from_utf8(body).ok().filter(|form| form.starts_with("Action=Publish&"))?;
        let service = if form.contains("&PhoneNumber=") { Service::SnsSms } else { Service::Sns };
        self.made(service, "Publish", Units::default());
        let answer = "<PublishResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><PublishResult>\
            <MessageId>m</MessageId></PublishResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata>\
            </PublishResponse>";
        Some(Reply {
            status: 200,
            headers: vec![("content-type", "text/xml".to_owned())],
            body: answer.into(),
        })
    }
}

fn json_reply(answer: &Value, kind: &str) -> Reply {
    let headers = vec![("content-type", kind.to_owned()), ("x-amzn-requestid", "bench".to_owned())];
    Reply { status: 200, headers, body: answer.to_string().into_bytes() }
}

fn refused(kind: &str, message: &str) -> Reply {
    let mut reply = json_reply(&json!({"__type": kind, "message": message}), "application/x-amz-json-1.1");
    reply.status = 400;
    reply
}
