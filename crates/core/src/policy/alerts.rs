//! `[[alerts]]`: by which ways operators are told. What a way is sent with lies beside the keyring, not here.

use crate::grammar::HostPattern;

use super::Policy;

/// What operators can hear of: the kinds of alerts, by their names. `too_many` is none: every way counts what it left out.
pub const ALERT_KINDS: [&str; 13] = [
    "expired",
    "open_too_long",
    "nobody_left",
    "callback_given_up",
    "not_told",
    "way_not_reached",
    "keys_rotated",
    "rotation_failed",
    "rotation_due",
    "old_secret",
    "bad_signatures",
    "fast_approvals",
    "client_paused",
];

/// One way to tell operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertWay {
    /// Its name: what its secret is kept under.
    pub name: String,
    /// What it is.
    pub kind: WayKind,
    /// The kinds of alerts that it gets; none named: all. An empty list is a way for the report alone.
    pub kinds: Option<Vec<String>>,
}

/// What a way is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WayKind {
    /// The topic of alerts of a gate on AWS.
    Sns,
    /// Mail to these addresses.
    Mail(Vec<String>),
    /// An incoming webhook of Slack.
    Slack,
    /// The Events API of `PagerDuty`, version 2.
    PagerDuty,
    /// A signed POST.
    Webhook {
        /// Where to; none where the address is kept as a secret.
        url: Option<String>,
        /// Hosts (or `host:port`) that may be private or plain http.
        callback_hosts: Vec<HostPattern>,
    },
}

impl WayKind {
    /// Every word that the policy knows.
    pub const WORDS: [&'static str; 5] = ["sns", "mail", "slack", "pagerduty", "webhook"];

    /// Its word in the policy.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Sns => "sns",
            Self::Mail(_) => "mail",
            Self::Slack => "slack",
            Self::PagerDuty => "pagerduty",
            Self::Webhook { .. } => "webhook",
        }
    }

    /// Whether it needs something that the policy does not hold: `placet alert set`.
    pub const fn needs_secret(&self) -> bool {
        matches!(self, Self::Slack | Self::PagerDuty | Self::Webhook { url: None, .. })
    }
}

impl AlertWay {
    /// Whether it gets alerts of that kind.
    pub fn hears(&self, kind: &str) -> bool {
        self.kinds.as_ref().is_none_or(|kinds| kinds.iter().any(|heard| heard == kind))
    }

    /// Why a gate on one machine cannot use it, if it cannot.
    pub fn fault_on_one_machine(&self) -> Option<String> {
        matches!(self.kind, WayKind::Sns).then(|| {
            format!(
                "a gate on one machine has no SNS topic, which the way of alerts `{}` needs: use mail, slack, \
                 pagerduty or a webhook here",
                self.name
            )
        })
    }
}

impl Policy {
    /// The way of alerts of that name.
    pub fn alert_way(&self, name: &str) -> Option<&AlertWay> {
        self.alerts.iter().find(|way| way.name == name)
    }
}
