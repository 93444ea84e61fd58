//! Reviewers' subscriptions to the topic of mails: one for each address, filtered to whose it is.
//!
//! A message on the topic holds a reviewer's own link. So a subscription without a filter, or of somebody who is not in
//! the policy, is taken away.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_sns::Client;
use aws_sdk_sns::types::Subscription;
use placet_core::policy::{Policy, WayKind};
use placet_gate::Fault;
use serde_json::{Value, json};

use super::Stack;
use crate::channels::{REVIEWER, way_name};

const UNSUBSCRIBED: &str = "a subscription to the topic of mails could not be changed";
const FILTER: &str = "FilterPolicy";

/// How SNS names a subscription whose owner has not confirmed it.
const UNCONFIRMED: &str = "PendingConfirmation";

/// What was done so that the subscriptions match the policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Synced {
    /// Reviewers whose address was subscribed: AWS has sent it a mail to confirm.
    pub subscribed: Vec<String>,
    /// Reviewers whose address has a subscription that waits to be confirmed.
    pub unconfirmed: Vec<String>,
    /// How many subscriptions were taken away.
    pub removed: usize,
    /// How many that were never confirmed belong to nobody in the policy: SNS drops them by itself.
    pub lapsing: usize,
    /// How many had another filter than they should.
    pub refiltered: usize,
}

/// Addresses, in lower case, and the reviewers that each belongs to.
type Addresses = BTreeMap<String, BTreeSet<String>>;

/// One subscription to the topic, as it stands.
pub(super) struct Mailbox {
    pub(super) address: String,
    /// None while it waits to be confirmed.
    pub(super) arn: Option<String>,
}

impl Stack {
    /// Subscribes and unsubscribes addresses so that they match the policy.
    pub async fn sync_reviewers(&self, policy: &Policy) -> Result<Synced, Fault> {
        let sns = Client::new(&self.sdk);
        let topic = self.output("EmailTopicArn");
        // By SES nobody needs a subscription: who has one from before gets no more mails by it.
        let wanted = if self.mail().is_some() { Addresses::new() } else { addresses(policy) };
        let mut present = BTreeSet::new();
        let mut synced = Synced::default();
        for mailbox in mailboxes(&sns, topic).await? {
            match (wanted.get(&mailbox.address), &mailbox.arn) {
                (Some(reviewers), Some(arn)) => {
                    if filter_of(&sns, arn).await? != Some(filter(reviewers)) {
                        set_filter(&sns, arn, reviewers).await?;
                        synced.refiltered += 1;
                    }
                }
                (Some(reviewers), None) => synced.unconfirmed.extend(reviewers.iter().cloned()),
                (None, Some(arn)) => {
                    let removed = sns.unsubscribe().subscription_arn(arn).send().await;
                    removed.map_err(|error| Fault::new(UNSUBSCRIBED, error))?;
                    synced.removed += 1;
                }
                (None, None) => synced.lapsing += 1,
            }
            present.insert(mailbox.address);
        }
        for (address, reviewers) in wanted.iter().filter(|(address, _)| !present.contains(*address)) {
            sns.subscribe()
                .topic_arn(topic)
                .protocol("email")
                .endpoint(address)
                .attributes(FILTER, filter(reviewers).to_string())
                .send()
                .await
                .map_err(|error| Fault::new("a reviewer's address could not be subscribed", error))?;
            synced.subscribed.extend(reviewers.iter().cloned());
        }
        Ok(synced)
    }
}

/// All mail subscriptions of a topic.
pub(super) async fn mailboxes(sns: &Client, topic: &str) -> Result<Vec<Mailbox>, Fault> {
    let mut all = Vec::new();
    let mut pages = sns.list_subscriptions_by_topic().topic_arn(topic).into_paginator().send();
    while let Some(page) = pages.next().await {
        let page =
            page.map_err(|error| Fault::new("the subscriptions of a topic cannot be listed", error))?;
        all.extend(page.subscriptions.unwrap_or_default().into_iter().filter_map(mailbox));
    }
    Ok(all)
}

fn mailbox(subscription: Subscription) -> Option<Mailbox> {
    (subscription.protocol.as_deref() == Some("email")).then_some(())?;
    let arn = subscription.subscription_arn.filter(|arn| arn != UNCONFIRMED);
    Some(Mailbox { address: subscription.endpoint?.to_lowercase(), arn })
}

/// The filter of a confirmed subscription.
pub(super) async fn filter_of(sns: &Client, arn: &str) -> Result<Option<Value>, Fault> {
    let attributes = sns.get_subscription_attributes().subscription_arn(arn).send().await;
    let attributes = attributes.map_err(|error| Fault::new("a subscription cannot be looked at", error))?;
    let text = attributes.attributes.unwrap_or_default().remove(FILTER);
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

async fn set_filter(sns: &Client, arn: &str, reviewers: &BTreeSet<String>) -> Result<(), Fault> {
    sns.set_subscription_attributes()
        .subscription_arn(arn)
        .attribute_name(FILTER)
        .attribute_value(filter(reviewers).to_string())
        .send()
        .await
        .map(drop)
        .map_err(|error| Fault::new(UNSUBSCRIBED, error))
}

/// Only messages to these reviewers.
pub(super) fn filter(reviewers: &BTreeSet<String>) -> Value {
    json!({ REVIEWER: reviewers })
}

/// Who has which address.
pub(super) fn addresses(policy: &Policy) -> Addresses {
    let mut all = Addresses::new();
    for reviewer in &policy.reviewers {
        if let Some(email) = &reviewer.email {
            all.entry(email.to_lowercase()).or_default().insert(reviewer.id.to_string());
        }
    }
    for way in &policy.alerts {
        if let WayKind::Mail(to) = &way.kind {
            for email in to {
                all.entry(email.to_lowercase()).or_default().insert(way_name(&way.name));
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reviewer_and_a_way_of_one_address_share_a_subscription_that_hears_of_both() {
        let policy = Policy::read(
            r#"
            [[reviewers]]
            id = "bob"
            name = "Bob"
            email = "Team@example.com"
            roles = ["finance"]
            [[reviewers]]
            id = "ann"
            name = "Ann"
            email = "ann@example.com"
            roles = ["finance"]
            [[reviewers]]
            id = "carol"
            name = "Carol"
            phone = "+15550100"
            roles = ["finance"]
            [[alerts]]
            name = "ops"
            way = "mail"
            to = ["team@example.com", "ops@example.com"]
            "#,
        )
        .unwrap();
        let all = addresses(&policy);
        assert_eq!(
            all.keys().collect::<Vec<_>>(),
            ["ann@example.com", "ops@example.com", "team@example.com"]
        );
        let filter_of = |address: &str| filter(all.get(address).unwrap());
        assert_eq!(filter_of("team@example.com"), json!({"reviewer": ["alerts/ops", "bob"]}));
        assert_eq!(filter_of("ops@example.com"), json!({"reviewer": ["alerts/ops"]}));
    }
}
