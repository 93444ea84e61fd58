//! What a stack lacks, in plain words.

use std::collections::BTreeSet;

use aws_sdk_sns::Client as Sns;
use placet_core::policy::{Assignees, Policy, RuleAction};
use placet_core::time::DAY_MS;
use placet_gate::Fault;
use placet_gate::ports::Clock as _;

use super::{Stack, reviewers};
use crate::SystemClock;

/// How old keys may be: rotated every 90 days, with a month for an operator who is away.
const OLD_KEYS_MS: i64 = 120 * DAY_MS;

/// One answer of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// As it should be.
    Ok(String),
    /// The gate works, but something is missing.
    Warn(String),
    /// Somebody cannot ask, be told or decide.
    Fail(String),
}

impl Stack {
    /// Looks at the stack, and at whether it can reach everybody whom the policy names.
    pub async fn check(&self, policy: Option<&Policy>) -> Vec<Finding> {
        let mut found = Vec::new();
        self.check_tables(&mut found).await;
        self.check_keys(&mut found).await;
        self.check_alerts(&mut found).await;
        self.check_dead_letters(&mut found).await;
        self.check_executions(&mut found).await;
        if let Some(policy) = policy {
            self.check_mail(policy, &mut found).await;
            self.check_texts(policy, &mut found).await;
            self.check_queues(policy, &mut found);
        }
        found
    }

    async fn check_tables(&self, found: &mut Vec<Finding>) {
        match self.store().lacks().await {
            Ok(lacks) if lacks.is_empty() => {
                found.push(Finding::Ok(
                    "both tables have TTL, point-in-time recovery and protection from deletion".into(),
                ));
            }
            Ok(lacks) => found.extend(lacks.into_iter().map(Finding::Warn)),
            Err(fault) => found.push(Finding::Fail(fault.chain())),
        }
    }

    async fn check_keys(&self, found: &mut Vec<Finding>) {
        match self.keyring().await {
            Ok(keyring) => {
                let age = SystemClock.now().millis_since(keyring.current.created_at);
                found.push(if age > OLD_KEYS_MS {
                    Finding::Warn(format!(
                        "the keys are {} days old: `placet keys rotate --aws`",
                        age / DAY_MS
                    ))
                } else {
                    Finding::Ok(format!(
                        "the keyring can be read, epoch {} is current",
                        keyring.current.number
                    ))
                });
            }
            Err(fault) => found.push(Finding::Fail(fault.chain())),
        }
        let client = aws_sdk_secretsmanager::Client::new(&self.sdk);
        match client.describe_secret().secret_id(&self.config.keyring_secret).send().await {
            Ok(secret) if secret.rotation_enabled == Some(true) => {
                found.push(Finding::Ok("the keyring is rotated by a schedule".into()));
            }
            Ok(_) => found.push(Finding::Warn(
                "the keyring is not rotated by a schedule: deploy the stack with rotation switched on".into(),
            )),
            Err(error) => {
                found.push(Finding::Fail(Fault::new("the secret cannot be described", error).chain()));
            }
        }
    }

    async fn check_alerts(&self, found: &mut Vec<Finding>) {
        let client = Sns::new(&self.sdk);
        let attributes = client.get_topic_attributes().topic_arn(self.output("AlertTopicArn")).send().await;
        match attributes {
            Ok(attributes) => {
                let count = |name: &str| -> u32 {
                    let all = attributes.attributes.as_ref();
                    all.and_then(|all| all.get(name)?.parse().ok()).unwrap_or(0)
                };
                found.push(match (count("SubscriptionsConfirmed"), count("SubscriptionsPending")) {
                    (0, 0) => Finding::Warn(
                        "nobody hears alerts: deploy with an alert address, or subscribe one to the alert topic".into(),
                    ),
                    (0, _) => Finding::Warn(
                        "nobody hears alerts yet: their subscription waits to be confirmed by the mail that AWS sent".into(),
                    ),
                    (confirmed, _) => Finding::Ok(format!("{confirmed} subscription(s) hear alerts")),
                });
            }
            Err(error) => {
                found.push(Finding::Fail(Fault::new("the alert topic cannot be looked at", error).chain()));
            }
        }
    }

    async fn check_dead_letters(&self, found: &mut Vec<Finding>) {
        use aws_sdk_sqs::types::QueueAttributeName::ApproximateNumberOfMessages;
        let url = self.output("DeadlineDeadLetterQueueUrl");
        if url.is_empty() {
            return;
        }
        let asked = aws_sdk_sqs::Client::new(&self.sdk)
            .get_queue_attributes()
            .queue_url(url)
            .attribute_names(ApproximateNumberOfMessages)
            .send()
            .await;
        match asked {
            Ok(answer) => {
                let waiting =
                    answer.attributes.as_ref().and_then(|all| all.get(&ApproximateNumberOfMessages));
                if let Some(count) = waiting.filter(|count| *count != "0") {
                    found.push(Finding::Warn(format!(
                        "{count} message(s) of the deadline queue failed again and again: look at the log of the timeout-sweep function; the sweep has taken over what they were for"
                    )));
                }
            }
            Err(error) => found
                .push(Finding::Fail(Fault::new("the dead-letter queue cannot be looked at", error).chain())),
        }
    }

    async fn check_mail(&self, policy: &Policy, found: &mut Vec<Finding>) {
        let checked = if let Some(mail) = self.mail() {
            self.check_ses(&mail, policy, found).await
        } else {
            found.push(Finding::Warn(
                "mail goes by SNS, which is for a first try: each reviewer must confirm it, and anybody who has one of the mails can unsubscribe them; deploy with MailFrom".into(),
            ));
            self.check_mailboxes(&Sns::new(&self.sdk), policy, found).await
        };
        if let Err(fault) = checked {
            found.push(Finding::Fail(fault.chain()));
        }
    }

    async fn check_mailboxes(
        &self,
        sns: &Sns,
        policy: &Policy,
        found: &mut Vec<Finding>,
    ) -> Result<(), Fault> {
        let wanted = reviewers::addresses(policy);
        let present = reviewers::mailboxes(sns, self.output("EmailTopicArn")).await?;
        for (address, ids) in &wanted {
            let who = names(ids);
            match present.iter().find(|mailbox| mailbox.address == *address) {
                None => found.push(Finding::Fail(format!(
                    "{who} cannot get mail: the address is not subscribed; `placet policy push placet.toml --aws`"
                ))),
                Some(mailbox) => match &mailbox.arn {
                    None => found.push(Finding::Fail(format!(
                        "{who} cannot get mail yet: they must confirm the subscription in the mail that AWS sent"
                    ))),
                    Some(arn) if reviewers::filter_of(sns, arn).await? != Some(reviewers::filter(ids)) => {
                        found.push(Finding::Fail(format!(
                            "{who} gets the wrong mails: the subscription's filter is not theirs; `placet policy push placet.toml --aws`"
                        )));
                    }
                    Some(_) => found.push(Finding::Ok(format!("{who} gets mail"))),
                },
            }
        }
        let strangers = present
            .iter()
            .filter(|mailbox| mailbox.arn.is_some() && !wanted.contains_key(&mailbox.address))
            .count();
        if strangers > 0 {
            found.push(Finding::Fail(format!(
                "{strangers} address(es) of nobody in the policy are subscribed to reviewers' mails: `placet policy push placet.toml --aws` removes them"
            )));
        }
        Ok(())
    }

    fn check_queues(&self, policy: &Policy, found: &mut Vec<Finding>) {
        let mut named = BTreeSet::new();
        for rule in &policy.rules {
            let RuleAction::Ask(terms) = &rule.action else { continue };
            for stage in &terms.stages {
                if let Assignees::Queue(queue) = &stage.assignees {
                    named.insert(queue.as_str());
                }
            }
        }
        for queue in named {
            if !self.queues.contains_key(queue) {
                found.push(Finding::Fail(format!(
                    "the policy names the queue `{queue}`, which this stack does not have: it has {}",
                    self.queues.keys().cloned().collect::<Vec<_>>().join(", ")
                )));
            }
        }
    }
}

pub(super) fn names(ids: &BTreeSet<String>) -> String {
    let named = |id: &String| match id.strip_prefix("alerts/") {
        Some(way) => format!("the way of alerts `{way}`"),
        None => format!("reviewer `{id}`"),
    };
    let all: Vec<String> = ids.iter().map(named).collect();
    all.join(" and ")
}
