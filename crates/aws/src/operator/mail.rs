//! Whether mail by SES arrives: the account, the domain, and each address.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use placet_core::policy::Policy;
use placet_gate::Fault;
use serde_json::Value;

use super::checks::names;
use super::{Finding, Stack, reviewers};
use crate::config::MailConfig;
use crate::signed_json::{Answered, SignedJson};

/// From which share of the day's quota on operators should know, in percent.
const NEARLY_USED: f64 = 80.0;

impl Stack {
    /// Looks at SES, and at every address that is mailed to.
    pub(super) async fn check_ses(
        &self,
        mail: &MailConfig,
        policy: &Policy,
        found: &mut Vec<Finding>,
    ) -> Result<(), Fault> {
        let ses = self.ses()?;
        found.extend(account(&get(&ses, "/v2/email/account").await?));
        let domain = mail.from.rsplit('@').next().unwrap_or_default();
        found.push(match get(&ses, &format!("/v2/email/identities/{}", encoded(domain))).await {
            Ok(identity) => self::identity(domain, &identity),
            Err(fault) => Finding::Fail(fault.chain()),
        });
        let gate = self.gate();
        for (address, ids) in reviewers::addresses(policy) {
            let who = names(&ids);
            let comes_back = gate.mail_comes_back(&address).await?;
            let path = format!("/v2/email/suppression/addresses/{}", encoded(&address));
            let suppressed = match ses.call("GET", &path, None).await {
                Answered::Done(value) => Some(word(&value, &["SuppressedDestination", "Reason"])),
                Answered::Refused { status: 404, .. } => None,
                other => return Err(unanswered(&other)),
            };
            found.push(match (suppressed, comes_back) {
                (Some(reason), _) => Finding::Fail(format!(
                    "{who} gets no mail: SES suppresses the address ({reason}); correct it in the policy, or take it from the list: `aws sesv2 delete-suppressed-destination`"
                )),
                (None, true) => Finding::Fail(format!(
                    "{who} gets no mail: the last one came back; correct the address in the policy, or wait: it is tried again 14 days after"
                )),
                (None, false) => Finding::Ok(format!("{who} gets mail")),
            });
        }
        Ok(())
    }
}

pub(super) async fn get(api: &SignedJson, path: &str) -> Result<Value, Fault> {
    match api.call("GET", path, None).await {
        Answered::Done(value) => Ok(value),
        other => Err(unanswered(&other)),
    }
}

fn unanswered(answered: &Answered) -> Fault {
    const UNSEEN: &str = "AWS does not say how it stands";
    match answered {
        Answered::Refused { status, code, .. } => Fault::new(UNSEEN, format!("it answered {status} {code}")),
        Answered::Done(_) | Answered::Silent => Fault::bare(UNSEEN),
    }
}

/// What `GetAccount` says.
/// Source: <https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_GetAccount.html>.
fn account(said: &Value) -> Vec<Finding> {
    let is = |name: &str| said.get(name).and_then(Value::as_bool);
    let quota = |name: &str| said.pointer(&format!("/SendQuota/{name}")).and_then(Value::as_f64);
    let mut found = Vec::new();
    if is("ProductionAccessEnabled") == Some(false) {
        found.push(Finding::Fail(
            "the account is in the SES sandbox: mail reaches verified addresses only; ask AWS for production access (SES, Account dashboard)".into(),
        ));
    }
    if is("SendingEnabled") == Some(false) {
        found.push(Finding::Fail(
            "SES sends nothing for this account: AWS, or somebody here, has paused it".into(),
        ));
    }
    let standing = word(said, &["EnforcementStatus"]);
    if !matches!(standing.as_str(), "" | "HEALTHY") {
        found.push(Finding::Warn(format!(
            "AWS says of this account's mail: {standing}. Too many mails bounce or are marked as spam"
        )));
    }
    if let (Some(most), Some(sent)) = (quota("Max24HourSend"), quota("SentLast24Hours"))
        && most > 0.0
        && sent * 100.0 >= most * NEARLY_USED
    {
        found.push(Finding::Warn(format!(
            "{sent:.0} of the {most:.0} mails that SES sends in a day are used up: ask AWS to raise the quota"
        )));
    }
    if found.is_empty() {
        found.push(Finding::Ok("SES sends mail for this account".into()));
    }
    found
}

/// What `GetEmailIdentity` says of the domain.
/// Source: <https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_GetEmailIdentity.html>.
fn identity(domain: &str, said: &Value) -> Finding {
    if said.get("VerifiedForSendingStatus").and_then(Value::as_bool) == Some(true) {
        return Finding::Ok(format!("mail may be from {domain}"));
    }
    let status = word(said, &["DkimAttributes", "Status"]);
    Finding::Fail(format!(
        "no mail can be sent from {domain} yet ({status}): put the outputs MailDkimRecord1 to 3 into its DNS"
    ))
}

fn word(value: &Value, path: &[&str]) -> String {
    let found = path.iter().try_fold(value, |value, name| value.get(name));
    found.and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// A part of a path, with everything encoded that is not unreserved (RFC 3986).
fn encoded(text: &str) -> String {
    const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, &RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_account_is_judged_by_what_ses_says_of_it() {
        let of = |changed: Value| {
            let mut said = json!({
                "ProductionAccessEnabled": true, "SendingEnabled": true, "EnforcementStatus": "HEALTHY",
                "SendQuota": {"Max24HourSend": 50000.0, "MaxSendRate": 14.0, "SentLast24Hours": 12.0},
            });
            for (name, value) in changed.as_object().unwrap() {
                said[name] = value.clone();
            }
            account(&said)
        };
        assert_eq!(of(json!({})), [Finding::Ok("SES sends mail for this account".into())]);
        let one = |changed: Value| match of(changed).as_slice() {
            [Finding::Fail(text)] => format!("fail {text}"),
            [Finding::Warn(text)] => format!("warn {text}"),
            other => panic!("{other:?}"),
        };
        assert!(
            one(json!({"ProductionAccessEnabled": false}))
                .starts_with("fail the account is in the SES sandbox")
        );
        assert!(one(json!({"SendingEnabled": false})).starts_with("fail SES sends nothing"));
        assert!(one(json!({"EnforcementStatus": "PROBATION"})).starts_with("warn AWS says"));
        let used = json!({"SendQuota": {"Max24HourSend": 200.0, "SentLast24Hours": 160.0}});
        assert!(one(used).starts_with("warn 160 of the 200 mails"));
    }

    #[test]
    fn a_domain_that_is_not_verified_is_told_with_what_to_do() {
        assert_eq!(
            identity("example.com", &json!({"VerifiedForSendingStatus": true})),
            Finding::Ok("mail may be from example.com".into())
        );
        let said = json!({"VerifiedForSendingStatus": false, "DkimAttributes": {"Status": "PENDING"}});
        let Finding::Fail(text) = identity("example.com", &said) else { panic!() };
        assert!(text.contains("(PENDING)") && text.contains("MailDkimRecord1"), "{text}");
    }

    #[test]
    fn an_address_is_one_part_of_a_path() {
        assert_eq!(encoded("bob+x/y@example.com"), "bob%2Bx%2Fy%40example.com");
    }
}
