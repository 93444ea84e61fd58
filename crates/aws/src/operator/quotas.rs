//! What the account allows: texts in a month, and executions at once.

use std::collections::HashMap;

use aws_sdk_sns::Client as Sns;
use placet_core::policy::Policy;
use placet_gate::Fault;
use serde_json::Value;

use super::mail::get;
use super::{Finding, Stack};
use crate::signed_json::SignedJson;

/// Below this, clients that wait can take all executions, so that nobody reaches a reviewer's page. AWS lets nobody
/// reserve executions so that fewer than these are left.
/// Source: <https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html>.
const ENOUGH_EXECUTIONS: u64 = 100;

/// What AWS lets an account spend on texts in a month where it has not asked for more, in US dollars.
/// Source: <https://docs.aws.amazon.com/sns/latest/dg/channels-sms-awssupport-spend-threshold.html>.
const FIRST_SPEND_LIMIT: f64 = 1.0;

impl Stack {
    /// Looks at how many functions the account runs at once.
    pub(super) async fn check_executions(&self, found: &mut Vec<Finding>) {
        let asked = match SignedJson::lambda(&self.sdk, self.connector.clone()) {
            Ok(lambda) => get(&lambda, "/2016-08-19/account-settings/").await,
            Err(fault) => Err(fault),
        };
        found.push(match asked {
            Ok(said) => executions(&said),
            Err(fault) => Finding::Warn(format!(
                "how many functions this account runs at once cannot be asked: {}",
                fault.chain()
            )),
        });
    }

    /// Looks at whether texts reach the reviewers who have a phone.
    pub(super) async fn check_texts(&self, policy: &Policy, found: &mut Vec<Finding>) {
        let phones: Vec<&str> =
            policy.reviewers.iter().filter_map(|reviewer| reviewer.phone.as_deref()).collect();
        if phones.is_empty() {
            return;
        }
        let sns = Sns::new(&self.sdk);
        match sns.get_sms_sandbox_account_status().send().await {
            Ok(status) if status.is_in_sandbox => found.push(Finding::Fail(
                "the account is in the SMS sandbox: texts reach verified numbers only; ask AWS to move it out, or verify the reviewers' numbers".into(),
            )),
            Ok(_) => found.push(Finding::Ok("texts may be sent to every number".into())),
            Err(error) => found.push(Finding::Warn(
                Fault::new("whether the account is in the SMS sandbox cannot be asked", error).chain(),
            )),
        }
        match sns.get_sms_attributes().send().await {
            Ok(said) => found.extend(texts(&said.attributes.unwrap_or_default())),
            Err(error) => {
                found.push(Finding::Warn(Fault::new("the settings of texts cannot be asked", error).chain()));
            }
        }
        match sns.list_origination_numbers().send().await {
            Ok(said) => {
                let numbers = said.phone_numbers.unwrap_or_default().len();
                found.extend(origination(numbers, &phones));
            }
            Err(error) => found.push(Finding::Warn(
                Fault::new("the numbers that texts come from cannot be asked", error).chain(),
            )),
        }
    }
}

/// What `GetAccountSettings` says.
/// Source: <https://docs.aws.amazon.com/lambda/latest/api/API_GetAccountSettings.html>.
fn executions(said: &Value) -> Finding {
    match said.pointer("/AccountLimit/ConcurrentExecutions").and_then(Value::as_u64) {
        Some(limit) if limit <= ENOUGH_EXECUTIONS => Finding::Warn(format!(
            "this account runs {limit} functions at once: clients that wait can keep reviewers out; ask AWS to raise `Concurrent executions` (quota L-B99A9384), and deploy with DecideConcurrency then"
        )),
        Some(limit) => Finding::Ok(format!("this account runs {limit} functions at once")),
        None => Finding::Warn("Lambda does not say how many functions this account runs at once".into()),
    }
}

/// What `GetSMSAttributes` says.
/// Source: <https://docs.aws.amazon.com/sns/latest/api/API_SetSMSAttributes.html>.
fn texts(attributes: &HashMap<String, String>) -> Vec<Finding> {
    let set = |name: &str| attributes.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let limit = set("MonthlySpendLimit").and_then(|limit| limit.parse::<f64>().ok());
    let limit = limit.unwrap_or(FIRST_SPEND_LIMIT);
    let spent = "SNS drops the texts beyond it and says nothing to the gate";
    let mut found = vec![if limit <= FIRST_SPEND_LIMIT {
        Finding::Warn(format!(
            "texts may cost {limit} USD a month, some hundred texts at best: {spent}; ask AWS to raise it (SNS, `Account spend limit`)"
        ))
    } else {
        Finding::Ok(format!("texts may cost {limit} USD a month: {spent}"))
    }];
    found.push(if set("DeliveryStatusIAMRole").is_some() {
        Finding::Ok("whether texts arrive is in the logs of SNS".into())
    } else {
        Finding::Warn(
            "whether texts arrive is logged nowhere: switch on `Delivery status logging` for text messages in SNS".into(),
        )
    });
    found
}

/// Whether texts have a number to come from: in the US no text is delivered without one.
/// Source: <https://docs.aws.amazon.com/sns/latest/dg/channels-sms-originating-identities.html>.
fn origination(numbers: usize, phones: &[&str]) -> Option<Finding> {
    match numbers {
        0 if phones.iter().any(|phone| phone.starts_with("+1")) => Some(Finding::Warn(
            "this account has no number that texts can come from: numbers in the US get none; get a toll-free number or a 10DLC (AWS End User Messaging)".into(),
        )),
        0 => None,
        numbers => Some(Finding::Ok(format!("texts can come from {numbers} number(s) of this account"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_account_that_runs_too_few_functions_is_told_what_to_raise() {
        let of = |limit: u64| executions(&json!({"AccountLimit": {"ConcurrentExecutions": limit}}));
        for few in [10, 100] {
            let Finding::Warn(text) = of(few) else { panic!("{few}") };
            assert!(text.contains("L-B99A9384") && text.contains("DecideConcurrency"), "{text}");
        }
        assert_eq!(of(1000), Finding::Ok("this account runs 1000 functions at once".into()));
        assert!(matches!(executions(&json!({})), Finding::Warn(_)));
    }

    #[test]
    fn the_limits_of_texts_are_told_where_they_are_as_aws_sets_them() {
        let of = |set: &[(&str, &str)]| {
            texts(&set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
        };
        let role = ("DeliveryStatusIAMRole", "arn:aws:iam::111122223333:role/sns");
        for little in [&[][..], &[("MonthlySpendLimit", "1")], &[("MonthlySpendLimit", "")]] {
            let [Finding::Warn(limit), Finding::Warn(status)] = &of(little)[..] else { panic!() };
            assert!(limit.starts_with("texts may cost 1 USD a month"), "{limit}");
            assert!(status.contains("Delivery status logging"), "{status}");
        }
        let [Finding::Ok(limit), Finding::Ok(_)] = &of(&[("MonthlySpendLimit", "50"), role])[..] else {
            panic!()
        };
        assert!(limit.starts_with("texts may cost 50 USD a month"), "{limit}");
    }

    #[test]
    fn a_number_is_missing_where_a_reviewer_is_in_north_america() {
        assert!(matches!(origination(0, &["+4930123", "+15550100"]), Some(Finding::Warn(_))));
        assert_eq!(origination(0, &["+4930123"]), None);
        assert!(matches!(origination(2, &["+15550100"]), Some(Finding::Ok(_))));
    }
}
