//! What the operator's command does on AWS: find a stack, install a policy, print a secret, rotate, check.

mod checks;
mod mail;
mod quotas;
mod reviewers;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use aws_config::{BehaviorVersion, SdkConfig};
use aws_smithy_runtime_api::client::http::SharedHttpConnector;
use placet_core::chat::ChannelSettings;
use placet_core::keys::Keyring;
use placet_delivery::{AlertMail, AlertWays, Channels};
use placet_dynamodb::DynamoStore;
use placet_gate::ports::Keys as _;
use placet_gate::{Fault, Gate};
use placet_webhook::{Options, Sender};

pub use checks::Finding;
pub use reviewers::Synced;

use crate::channel_secret::ChannelSecret;
use crate::channels::AlertTopic;
use crate::config::{Access, Base, GateConfig, MailConfig, Roots};
use crate::connect::{client_of, connector, timeouts};
use crate::functions::{self, Mail, Means};
use crate::signed_json::SignedJson;

/// A deployed stack, found by its name, with the operator's own credentials.
pub struct Stack {
    config: GateConfig,
    /// URLs of the queues that a policy may name.
    queues: BTreeMap<String, String>,
    sdk: SdkConfig,
    /// What calls are sent by that no SDK makes.
    connector: SharedHttpConnector,
    outputs: HashMap<String, String>,
}

impl Stack {
    /// Finds the stack of that name: region and credentials come from the environment or the profile, as with any AWS tool.
    #[expect(clippy::disallowed_methods, reason = "the operator's environment, as the functions read theirs")]
    pub async fn find(name: &str) -> Result<Self, Fault> {
        // A fault in the region is the SDK's to report: a profile may name it.
        let roots = Access::read(|variable| match variable {
            "AWS_REGION" => Some("in-the-profile".to_owned()),
            variable => std::env::var(variable).ok(),
        })
        .map_err(|faults| Fault::new("the environment cannot be used", faults))?
        .roots;
        let connector = connector(&roots)?;
        let sdk = aws_config::defaults(BehaviorVersion::latest())
            .http_client(client_of(connector.clone()))
            .timeout_config(timeouts())
            .load()
            .await;
        if sdk.region().is_none() {
            return Err(Fault::bare("no AWS region is set: set AWS_REGION, or name a profile that has one"));
        }
        let cloud_formation = aws_sdk_cloudformation::Client::new(&sdk);
        let described = cloud_formation.describe_stacks().stack_name(name).send().await;
        let described = described.map_err(|error| Fault::new("the stack cannot be described", error))?;
        let stack = described.stacks.unwrap_or_default().into_iter().next();
        let stack = stack.ok_or(Fault::bare("there is no stack of that name in this region"))?;
        let outputs: HashMap<String, String> = stack
            .outputs
            .unwrap_or_default()
            .into_iter()
            .filter_map(|output| Some((output.output_key?, output.output_value?)))
            .collect();
        let (config, queues) = config(name, &outputs)?;
        Ok(Self { config, queues, sdk, connector, outputs })
    }

    /// A gate over the stack's tables and keys. What it puts off goes into the stack's own queue.
    pub fn gate(&self) -> Arc<Gate> {
        functions::deployed_gate(&self.config, &self.sdk)
    }

    /// The stack's store.
    pub fn store(&self) -> DynamoStore {
        functions::store(&self.config, &self.sdk)
    }

    /// The stack's keyring, as it stands.
    pub async fn keyring(&self) -> Result<Arc<Keyring>, Fault> {
        functions::keys(&self.config, &self.sdk).keyring().await
    }

    /// Asks Secrets Manager to rotate the keyring now. It calls the stack's function, which takes some seconds.
    pub async fn rotate(&self) -> Result<(), Fault> {
        aws_sdk_secretsmanager::Client::new(&self.sdk)
            .rotate_secret()
            .secret_id(&self.config.keyring_secret)
            .send()
            .await
            .map(drop)
            .map_err(|error| Fault::new("Secrets Manager does not rotate the keyring", error))
    }

    /// The gate's address.
    pub fn url(&self) -> &str {
        self.output("ApiUrl").trim_end_matches('/')
    }

    /// The ways by which the stack can tell operators, with the operator's own credentials.
    pub fn ways(&self) -> Result<AlertWays, Fault> {
        let gate = self.gate();
        let topic = AlertTopic {
            sns: aws_sdk_sns::Client::new(&self.sdk),
            arn: self.output("AlertTopicArn").to_owned(),
            gate: self.config.base.gate.clone(),
        };
        let (_, mail) = self.told(Arc::clone(&gate))?;
        let sender = Sender::new(Options::default());
        Ok(AlertWays { gate, sender, mail, topic: Some(Arc::new(topic)) })
    }

    /// The channels by which the stack can tell reviewers, with the operator's own credentials.
    pub fn channels(&self) -> Result<Channels, Fault> {
        Ok(self.told(self.gate())?.0)
    }

    /// What the operator has set for channels, as it stands.
    pub async fn channel_settings(&self) -> Result<Arc<ChannelSettings>, Fault> {
        self.channel_secret()?.read().await
    }

    /// Changes what is set for channels. It counts everywhere within a minute.
    pub async fn change_channel_settings(
        &self,
        change: &(dyn Fn(&mut ChannelSettings) + Sync),
    ) -> Result<(), Fault> {
        self.channel_secret()?.change(change).await
    }

    fn channel_secret(&self) -> Result<ChannelSecret, Fault> {
        let id = self.config.channels_secret.clone().ok_or(Fault::bare(
            "this stack is of an older template, without a secret for channels: deploy the present one first",
        ))?;
        Ok(ChannelSecret::new(aws_sdk_secretsmanager::Client::new(&self.sdk), id))
    }

    fn told(&self, gate: Arc<Gate>) -> Result<(Channels, Arc<dyn AlertMail>), Fault> {
        let mail = match self.mail() {
            Some(config) => Mail::Ses(self.ses()?, config),
            None => Mail::Topic(self.output("EmailTopicArn").to_owned()),
        };
        let means = Means {
            gate,
            keys: Arc::new(functions::keys(&self.config, &self.sdk)),
            sns: aws_sdk_sns::Client::new(&self.sdk),
            sender: Sender::new(Options::default()),
        };
        Ok(functions::channels(means, mail, None))
    }

    /// How the stack sends mail by SES, if it does.
    fn mail(&self) -> Option<MailConfig> {
        let from = self.outputs.get("MailFrom")?.clone();
        Some(MailConfig { from, configuration_set: self.output("MailConfigurationSet").to_owned() })
    }

    fn ses(&self) -> Result<SignedJson, Fault> {
        SignedJson::ses(&self.sdk, self.connector.clone())
    }

    fn output(&self, name: &str) -> &str {
        self.outputs.get(name).map_or("", String::as_str)
    }
}

/// The functions' configuration, as far as the operator needs it, from what the template puts out.
fn config(
    stack: &str,
    outputs: &HashMap<String, String>,
) -> Result<(GateConfig, BTreeMap<String, String>), Fault> {
    let mut missing = Vec::new();
    let mut output = |name: &'static str| {
        outputs.get(name).cloned().unwrap_or_else(|| {
            missing.push(name);
            String::new()
        })
    };
    let url = output("ApiUrl");
    let config = GateConfig {
        requests_table: output("RequestsTable"),
        audit_table: output("AuditTable"),
        keyring_secret: output("KeyringSecretArn"),
        // A stack of an older template has none.
        channels_secret: outputs.get("ChannelsSecretArn").cloned(),
        base: Base {
            gate: stack.to_owned(),
            deadline_queue_url: output("DeadlineQueueUrl"),
            log_level: tracing::Level::WARN,
            // The client has been made already, with the operator's own profile.
            access: Access {
                region: String::new(),
                endpoint_url: None,
                use_fips: false,
                roots: Roots::System,
            },
        },
        public_url: Some(url.trim_end_matches('/').to_owned()),
        request_retention_days: 90,
        audit_retention_days: 2557,
    };
    // Read where they are used; a stack that lacks one is told of it here.
    for name in ["EmailTopicArn", "AlertTopicArn"] {
        let _ = output(name);
    }
    let queues = BTreeMap::from([("backup".to_owned(), output("BackupQueueUrl"))]);
    if missing.is_empty() {
        return Ok((config, queues));
    }
    Err(Fault::new(
        "this stack is not one of Placet's template, or of an older one",
        format!("its outputs lack {}", missing.join(", ")),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_of_something_else_is_told_from_ours_by_its_outputs() {
        let outputs = HashMap::from([("ApiUrl".to_owned(), "https://x.example.com/".to_owned())]);
        let fault = config("shop", &outputs).err().unwrap();
        assert_eq!(
            fault.chain(),
            "this stack is not one of Placet's template, or of an older one: its outputs lack RequestsTable, AuditTable, \
             KeyringSecretArn, DeadlineQueueUrl, EmailTopicArn, AlertTopicArn, BackupQueueUrl"
        );
    }
}
