//! How people, systems and operators are told on AWS: one file each, each with the one client it needs.

mod alert_topic;
mod email;
mod queues;
pub(crate) mod ses;
mod sms;

use aws_sdk_sns::error::ProvideErrorMetadata;
use aws_sdk_sns::types::MessageAttributeValue;

pub(crate) use alert_topic::AlertTopic;
pub(crate) use email::EmailTopic;
#[cfg(feature = "operator")]
pub(crate) use email::{REVIEWER, way_name};
pub(crate) use queues::SqsQueues;
pub(crate) use ses::Ses;
pub(crate) use sms::Sms;

/// SNS takes a subject of less than 100 characters of ASCII.
/// Source: <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>.
const SUBJECT_CHARS: usize = 99;

/// What SNS answered, for whoever reads it: its code. Its words can name an address or a topic.
fn refused(error: &impl ProvideErrorMetadata) -> String {
    match error.code() {
        Some(code) => format!("SNS answered {code}"),
        None => "SNS could not be reached".to_owned(),
    }
}

fn attribute(value: &str) -> Result<MessageAttributeValue, String> {
    MessageAttributeValue::builder()
        .data_type("String")
        .string_value(value)
        .build()
        .map_err(|_| "a message's attribute cannot be made".to_owned())
}

/// A subject as SNS takes it. The whole words are in the text.
fn subject(text: &str) -> String {
    let plain = |character: char| match character {
        ' '..='~' => character,
        _ => '?',
    };
    text.chars().map(plain).take(SUBJECT_CHARS).collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use aws_sdk_sns::error::ErrorMetadata;
    use aws_sdk_sns::operation::publish::PublishError;

    use super::*;

    #[test]
    fn a_refusal_is_told_by_its_code_alone() {
        let said = ErrorMetadata::builder()
            .code("AuthorizationError")
            .message("User arn:aws:sts::123456789012:x is not authorized to perform SNS:Publish")
            .build();
        assert_eq!(refused(&PublishError::generic(said)), "SNS answered AuthorizationError");
        assert_eq!(refused(&PublishError::unhandled("no route")), "SNS could not be reached");
    }

    #[test]
    fn a_subject_is_short_printable_ascii() {
        assert_eq!(subject("Approve? Pay 5,000 EUR"), "Approve? Pay 5,000 EUR");
        assert_eq!(subject("Approve? Zahle Müller\n12 €"), "Approve? Zahle M?ller?12 ?");
        let long = subject(&"é".repeat(300));
        assert_eq!((long.len(), long.is_ascii()), (99, true));
    }
}
