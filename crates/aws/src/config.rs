//! The configuration: environment variables, read once, all faults reported together.

use std::collections::BTreeMap;
use std::fmt;

use placet_core::keys::SharedSecret;
use tracing::Level;

/// How a function, or the operator's command, reaches AWS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// `AWS_REGION`.
    pub region: String,
    /// `AWS_ENDPOINT_URL`: another address for every service.
    pub endpoint_url: Option<String>,
    /// `AWS_USE_FIPS_ENDPOINT`: the endpoints whose cryptography is validated to FIPS 140.
    pub use_fips: bool,
    /// Whose certificates are trusted.
    pub roots: Roots,
}

/// Whose certificates are trusted on the way to AWS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Roots {
    /// Amazon's own, built in: reading the system's would be the longest part of a start.
    Amazon,
    /// The system's (`PLACET_TLS_ROOTS=system`).
    System,
    /// Those in a file of PEM certificates (`AWS_CA_BUNDLE`), and no others.
    File(String),
}

/// What every function needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// The gate's name in metrics and alerts.
    pub gate: String,
    /// Where jobs are handed over.
    pub deadline_queue_url: String,
    /// From which level on is logged.
    pub log_level: Level,
    /// How AWS is reached.
    pub access: Access,
}

/// What a function with a gate in it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateConfig {
    /// What every function needs.
    pub base: Base,
    /// The table of requests.
    pub requests_table: String,
    /// The table of the audit trail.
    pub audit_table: String,
    /// The keyring's secret: ARN or name.
    pub keyring_secret: String,
    /// The secret of channels: ARN or name. Only who sends to chats, or verifies their presses, has it.
    pub channels_secret: Option<String>,
    /// What links and `iss` say.
    pub public_url: Option<String>,
    /// How long an ended request is kept, in days.
    pub request_retention_days: u16,
    /// How long the trail of a request is kept, in days.
    pub audit_retention_days: u16,
}

/// What `request` and `decide` need: a gate, and whom they answer.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// Its gate.
    pub gate: GateConfig,
    /// What stands in front of the API proves by this that a call came through it.
    pub origin_secret: Option<SharedSecret>,
}

/// What `timeout-sweep` needs: a gate, and everybody whom it tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SweepConfig {
    /// Its gate.
    pub gate: GateConfig,
    /// URLs of the queues that a policy may name.
    pub queues: BTreeMap<String, String>,
    /// The topic of reviewers' mails.
    pub email_topic_arn: String,
    /// The topic of alerts.
    pub alert_topic_arn: String,
    /// The sender that a text shows, where the country allows one.
    pub sms_sender_id: Option<String>,
    /// How mail is sent by SES; none: by the topic of mails.
    pub mail: Option<MailConfig>,
}

/// How mail is sent by SES.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailConfig {
    /// The address that mails are from.
    pub from: String,
    /// The configuration set, which says where bounces and complaints are told.
    pub configuration_set: String,
}

/// Everything that is wrong with the environment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigFaults(pub Vec<String>);

impl fmt::Display for ConfigFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the environment has faults: {}", self.0.join("; "))
    }
}

impl Access {
    /// Reads the environment by `variable`.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigFaults> {
        let mut reader = Reader::new(variable);
        let access = access(&mut reader);
        reader.finish(access)
    }
}

impl Base {
    /// Reads the environment by `variable`: all that `rotate-secret` needs.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigFaults> {
        let mut reader = Reader::new(variable);
        let base = base(&mut reader);
        reader.finish(base)
    }
}

impl GateConfig {
    /// Reads the environment by `variable`.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigFaults> {
        let mut reader = Reader::new(variable);
        let config = gate(&mut reader);
        reader.finish(config)
    }
}

impl ApiConfig {
    /// Reads the environment by `variable`.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigFaults> {
        let mut reader = Reader::new(variable);
        let config = Self {
            gate: gate(&mut reader),
            origin_secret: reader.optional("PLACET_ORIGIN_SECRET").map(SharedSecret::new),
        };
        reader.finish(config)
    }
}

impl SweepConfig {
    /// Reads the environment by `variable`.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigFaults> {
        let mut reader = Reader::new(variable);
        let config = Self {
            gate: gate(&mut reader),
            queues: reader.queues("PLACET_QUEUES"),
            email_topic_arn: reader.required("PLACET_EMAIL_TOPIC_ARN"),
            alert_topic_arn: reader.required("PLACET_ALERT_TOPIC_ARN"),
            sms_sender_id: reader.optional("PLACET_SMS_SENDER_ID"),
            mail: reader.optional("PLACET_MAIL_FROM").map(|from| MailConfig {
                from,
                configuration_set: reader.required("PLACET_MAIL_CONFIGURATION_SET"),
            }),
        };
        reader.finish(config)
    }
}

fn base<V: Fn(&str) -> Option<String>>(reader: &mut Reader<V>) -> Base {
    Base {
        gate: reader.optional("PLACET_GATE").unwrap_or_else(|| "placet".to_owned()),
        deadline_queue_url: reader.required_url("PLACET_DEADLINE_QUEUE_URL"),
        log_level: reader.level("PLACET_LOG"),
        access: access(reader),
    }
}

fn gate<V: Fn(&str) -> Option<String>>(reader: &mut Reader<V>) -> GateConfig {
    GateConfig {
        base: base(reader),
        requests_table: reader.required("PLACET_REQUESTS_TABLE"),
        audit_table: reader.required("PLACET_AUDIT_TABLE"),
        keyring_secret: reader.required("PLACET_KEYRING_SECRET"),
        channels_secret: reader.optional("PLACET_CHANNELS_SECRET"),
        public_url: reader.url("PLACET_PUBLIC_URL"),
        request_retention_days: reader.days("PLACET_REQUEST_RETENTION_DAYS", 90),
        audit_retention_days: reader.days("PLACET_AUDIT_RETENTION_DAYS", 2557),
    }
}

fn access<V: Fn(&str) -> Option<String>>(reader: &mut Reader<V>) -> Access {
    let system = reader.optional("PLACET_TLS_ROOTS");
    let file = reader.optional("AWS_CA_BUNDLE");
    let roots = match (system.as_deref(), file) {
        (Some("system"), _) => Roots::System,
        (Some(other), _) => {
            reader.fault(format!("PLACET_TLS_ROOTS is `{other}`: it may be `system`, or not be set"));
            Roots::System
        }
        (None, Some(path)) => Roots::File(path),
        (None, None) => Roots::Amazon,
    };
    let use_fips = match reader.optional("AWS_USE_FIPS_ENDPOINT").as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => {
            reader.fault(format!("AWS_USE_FIPS_ENDPOINT is `{other}`: it is `true` or `false`"));
            false
        }
    };
    let region = reader.required("AWS_REGION");
    Access { region, endpoint_url: reader.url("AWS_ENDPOINT_URL"), use_fips, roots }
}

struct Reader<V> {
    variable: V,
    faults: Vec<String>,
}

impl<V: Fn(&str) -> Option<String>> Reader<V> {
    const fn new(variable: V) -> Self {
        Self { variable, faults: Vec::new() }
    }

    fn finish<T>(self, read: T) -> Result<T, ConfigFaults> {
        if self.faults.is_empty() { Ok(read) } else { Err(ConfigFaults(self.faults)) }
    }

    fn fault(&mut self, text: String) {
        self.faults.push(text);
    }

    fn optional(&self, name: &str) -> Option<String> {
        (self.variable)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    fn required(&mut self, name: &str) -> String {
        self.optional(name).unwrap_or_else(|| {
            self.fault(format!("{name} is not set"));
            String::new()
        })
    }

    fn required_url(&mut self, name: &str) -> String {
        if self.optional(name).is_none() {
            return self.required(name);
        }
        self.url(name).unwrap_or_default()
    }

    fn url(&mut self, name: &str) -> Option<String> {
        let value = self.optional(name)?;
        if is_url(&value) {
            return Some(value.trim_end_matches('/').to_owned());
        }
        self.fault(format!("{name} is `{value}`: it must be an address such as https://example.com"));
        None
    }

    fn days(&mut self, name: &str, default: u16) -> u16 {
        let Some(value) = self.optional(name) else { return default };
        value.parse().ok().filter(|days| *days > 0).unwrap_or_else(|| {
            self.fault(format!("{name} is `{value}`: it must be a number of days from 1 to 65535"));
            default
        })
    }

    fn level(&mut self, name: &str) -> Level {
        match self.optional(name).as_deref() {
            None | Some("info") => Level::INFO,
            Some("error") => Level::ERROR,
            Some("warn") => Level::WARN,
            Some(other) => {
                self.fault(format!("{name} is `{other}`: it is one of error, warn, info"));
                Level::INFO
            }
        }
    }

    fn queues(&mut self, name: &str) -> BTreeMap<String, String> {
        let Some(value) = self.optional(name) else { return BTreeMap::new() };
        let mut queues = BTreeMap::new();
        for pair in value.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            match pair.split_once('=').map(|(queue, url)| (queue.trim(), url.trim())) {
                Some((queue, url)) if !queue.is_empty() && is_url(url) => {
                    if queues.insert(queue.to_owned(), url.to_owned()).is_some() {
                        self.fault(format!("{name} names the queue `{queue}` twice"));
                    }
                }
                Some(_) | None => {
                    self.fault(format!("{name} has `{pair}`: it must be a list such as backup=https://…"));
                }
            }
        }
        queues
    }
}

fn is_url(text: &str) -> bool {
    ["http://", "https://"]
        .iter()
        .any(|scheme| text.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPLETE: [(&str, &str); 9] = [
        ("AWS_REGION", "eu-central-1"),
        ("PLACET_REQUESTS_TABLE", "requests"),
        ("PLACET_AUDIT_TABLE", "audit"),
        ("PLACET_KEYRING_SECRET", "keyring"),
        ("PLACET_DEADLINE_QUEUE_URL", "https://sqs.example.com/1/deadlines"),
        ("PLACET_QUEUES", "backup=https://sqs.example.com/1/backup, jira=https://sqs.example.com/1/jira"),
        ("PLACET_EMAIL_TOPIC_ARN", "arn:aws:sns:eu-central-1:1:email"),
        ("PLACET_ALERT_TOPIC_ARN", "arn:aws:sns:eu-central-1:1:alerts"),
        ("PLACET_PUBLIC_URL", "https://gate.example.com/"),
    ];

    fn complete(name: &str) -> Option<String> {
        COMPLETE.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn a_complete_environment_is_read() {
        let config = SweepConfig::read(complete).unwrap();
        assert_eq!(config.queues.keys().collect::<Vec<_>>(), ["backup", "jira"]);
        assert_eq!(config.gate.public_url.as_deref(), Some("https://gate.example.com"));
        assert_eq!((config.gate.request_retention_days, config.gate.audit_retention_days), (90, 2557));
        let access = Access {
            region: "eu-central-1".into(),
            endpoint_url: None,
            use_fips: false,
            roots: Roots::Amazon,
        };
        assert_eq!(config.gate.base.access, access);
        assert_eq!(config.mail, None);
        assert_eq!(config.gate.channels_secret, None);
        assert_eq!(GateConfig::read(complete).unwrap(), config.gate);
        let api = ApiConfig::read(complete).unwrap();
        assert_eq!(api.gate, config.gate);
        assert!(api.origin_secret.is_none());
        assert_eq!(Base::read(complete).unwrap(), config.gate.base);
    }

    #[test]
    fn all_faults_are_reported_together_and_name_their_variable() {
        let broken = |name: &str| match name {
            "PLACET_DEADLINE_QUEUE_URL" => Some("sqs.example.com".to_owned()),
            "PLACET_QUEUES" => Some("backup,a=https://x/1,a=https://x/2".to_owned()),
            "PLACET_LOG" => Some("loud".to_owned()),
            "PLACET_AUDIT_RETENTION_DAYS" => Some("0".to_owned()),
            "PLACET_TLS_ROOTS" => Some("mine".to_owned()),
            "AWS_USE_FIPS_ENDPOINT" => Some("yes".to_owned()),
            "PLACET_MAIL_FROM" => Some("gate@example.com".to_owned()),
            "AWS_REGION" | "PLACET_ALERT_TOPIC_ARN" => None,
            name => complete(name),
        };
        let ConfigFaults(faults) = SweepConfig::read(broken).unwrap_err();
        let starts: Vec<&str> = faults.iter().filter_map(|fault| fault.split(' ').next()).collect();
        assert_eq!(
            starts,
            [
                "PLACET_DEADLINE_QUEUE_URL",
                "PLACET_LOG",
                "PLACET_TLS_ROOTS",
                "AWS_USE_FIPS_ENDPOINT",
                "AWS_REGION",
                "PLACET_AUDIT_RETENTION_DAYS",
                "PLACET_QUEUES",
                "PLACET_QUEUES",
                "PLACET_ALERT_TOPIC_ARN",
                "PLACET_MAIL_CONFIGURATION_SET",
            ]
        );
    }

    #[test]
    fn the_secret_of_channels_is_named_to_those_who_may_read_it() {
        let config = ApiConfig::read(|name| match name {
            "PLACET_CHANNELS_SECRET" => Some("channels".to_owned()),
            name => complete(name),
        })
        .unwrap();
        assert_eq!(config.gate.channels_secret.as_deref(), Some("channels"));
    }

    #[test]
    fn mail_goes_by_ses_where_it_has_an_address_to_be_from() {
        let config = SweepConfig::read(|name| match name {
            "PLACET_MAIL_FROM" => Some("gate@example.com".to_owned()),
            "PLACET_MAIL_CONFIGURATION_SET" => Some("placet-mail".to_owned()),
            name => complete(name),
        })
        .unwrap();
        let mail = MailConfig { from: "gate@example.com".into(), configuration_set: "placet-mail".into() };
        assert_eq!(config.mail, Some(mail));
    }
}
