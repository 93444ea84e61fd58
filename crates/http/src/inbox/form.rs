//! What an inbox's page sends.

use placet_core::Refusal;
use placet_core::id::{ClientId, ReviewerId};
use placet_core::policy::Decision;
use placet_core::refusal::FieldError;
use placet_gate::{UnverifiedRow, Whereabouts};

use crate::reviewer::{REASON_CHARS, tidied};

const HOUR_MS: i64 = 60 * 60 * 1000;

/// What the inbox's script says when it is touched.
pub(super) struct Listed {
    pub(super) nonce: String,
    pub(super) approvals: Vec<String>,
}

impl Listed {
    pub(super) fn read(body: &[u8]) -> Self {
        let mut listed = Self { nonce: String::new(), approvals: Vec::new() };
        for (key, value) in form_urlencoded::parse(body) {
            match key.as_ref() {
                "nonce" => listed.nonce = value.into_owned(),
                "row" => listed.approvals.push(value.into_owned()),
                _ => {}
            }
        }
        listed
    }
}

/// A decision on rows.
pub(super) struct Pressed {
    pub(super) rows: Vec<UnverifiedRow>,
    pub(super) decision: Decision,
    pub(super) reason: Option<String>,
    pub(super) confirmed: bool,
}

impl Pressed {
    pub(super) fn read(body: &[u8]) -> Result<Self, Refusal> {
        let mut rows = Vec::new();
        let (mut decision, mut why, mut reason, mut confirmed) = (None, None, None, None);
        let mut errors = Vec::new();
        for (key, value) in form_urlencoded::parse(body) {
            let slot = match key.as_ref() {
                "row" => {
                    let (link, nonce) = value.split_once('~').unwrap_or((&value, ""));
                    rows.push(UnverifiedRow { link: link.to_owned(), nonce: nonce.to_owned() });
                    continue;
                }
                "decision" => &mut decision,
                "why" => &mut why,
                "reason" => &mut reason,
                "confirmed" => &mut confirmed,
                _ => continue,
            };
            if slot.replace(value.into_owned()).is_some() {
                errors.push(FieldError::new(key, "must be given once"));
            }
        }
        let decision = decision.as_deref().and_then(Decision::parse);
        if decision.is_none() {
            errors.push(FieldError::new("decision", "must be `approve` or `reject`"));
        }
        if rows.is_empty() {
            errors.push(FieldError::new("row", "must be given at least once"));
        }
        // What was tapped explains a rejection; it is no word for an approval that was pressed instead.
        let why = tidied(why).filter(|_| decision == Some(Decision::Reject));
        let reason = match (why, tidied(reason)) {
            (Some(why), Some(words)) => Some(format!("{why}: {words}")),
            (why, words) => why.or(words),
        };
        if reason.as_ref().is_some_and(|text| text.chars().count() > REASON_CHARS) {
            errors.push(FieldError::new("reason", "must have at most 500 characters"));
        }
        match decision {
            Some(decision) if errors.is_empty() => {
                Ok(Self { rows, decision, reason, confirmed: confirmed.as_deref() == Some("yes") })
            }
            _ => Err(Refusal::InvalidRequest(errors)),
        }
    }
}

/// That the reviewer is away for a while, or back.
pub(super) struct AwaySaid {
    pub(super) nonce: String,
    pub(super) whereabouts: Whereabouts,
}

impl AwaySaid {
    pub(super) fn read(body: &[u8]) -> Result<Self, Refusal> {
        let (mut nonce, mut hours, mut backup) = (String::new(), None, None);
        for (key, value) in form_urlencoded::parse(body) {
            match key.as_ref() {
                "nonce" => nonce = value.into_owned(),
                "hours" => hours = value.parse::<u32>().ok(),
                "backup" if !value.is_empty() => {
                    let id = ReviewerId::parse(&value)
                        .map_err(|_| Refusal::field("backup", "must be somebody whom the policy allows"))?;
                    backup = Some(id);
                }
                _ => {}
            }
        }
        let whereabouts = match hours {
            None => return Err(Refusal::field("hours", "must be a whole number")),
            Some(0) => Whereabouts::Back,
            Some(hours) => Whereabouts::Away { for_ms: i64::from(hours) * HOUR_MS, backup },
        };
        Ok(Self { nonce, whereabouts })
    }
}

/// That a pause is lifted.
pub(super) struct Resumed {
    pub(super) nonce: String,
    pub(super) client: ClientId,
}

impl Resumed {
    pub(super) fn read(body: &[u8]) -> Result<Self, Refusal> {
        let (mut nonce, mut client) = (String::new(), None);
        for (key, value) in form_urlencoded::parse(body) {
            match key.as_ref() {
                "nonce" => nonce = value.into_owned(),
                "client" => client = ClientId::parse(&value).ok(),
                _ => {}
            }
        }
        let client = client.ok_or_else(|| Refusal::field("client", "must be the id of a client"))?;
        Ok(Self { nonce, client })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_says_what_is_wrong_with_it() {
        let fields = |body: &str| match Pressed::read(body.as_bytes()) {
            Err(Refusal::InvalidRequest(errors)) => {
                errors.iter().map(|e| e.field.clone()).collect::<Vec<_>>().join(",")
            }
            Err(other) => other.to_string(),
            Ok(form) => format!("{} {:?} {}", form.rows.len(), form.reason, form.confirmed),
        };
        assert_eq!(fields(""), "decision,row");
        assert_eq!(fields("decision=maybe&row=a~b"), "decision");
        assert_eq!(fields("decision=approve&decision=reject&row=a~b"), "decision");
        assert_eq!(fields(&format!("decision=approve&row=a~b&reason={}", "x".repeat(501))), "reason");
        assert_eq!(fields("decision=approve&row=a~b&row=c&confirmed=yes"), "2 None true");
        assert_eq!(
            fields("decision=reject&row=a&why=Not+expected&reason=+no%0D%0Aidea+"),
            "1 Some(\"Not expected: no\\nidea\") false"
        );
        assert_eq!(fields("decision=approve&row=a&why=Not+expected"), "1 None false");
    }
}
