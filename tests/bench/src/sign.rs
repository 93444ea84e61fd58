//! Signing as a client does, and the questions that are asked: no two alike.

#![expect(clippy::disallowed_methods, reason = "a benchmark signs by the clock")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use placet_core::id::ClientId;
use placet_core::keys::{ClientSecret, Epoch};
use placet_core::signature::Signed;

use crate::wire::Message;

/// Counts the questions of this run.
static ASKED: AtomicU64 = AtomicU64::new(1);

/// A client that signs.
#[derive(Clone)]
pub(crate) struct Signer {
    client: String,
    secret: ClientSecret,
}

/// A signed message.
pub(crate) struct Proof<'m> {
    /// Upper-case method.
    pub(crate) method: &'m str,
    /// Path and query.
    pub(crate) path: &'m str,
    /// The body.
    pub(crate) body: &'m [u8],
    client: &'m str,
    timestamp: String,
    signature: String,
}

/// A question, with its name.
pub(crate) struct Question {
    /// The client's name for it.
    pub(crate) request_id: String,
    /// The body to send.
    pub(crate) body: String,
}

impl Signer {
    /// That client, with its secret of that epoch.
    pub(crate) fn new(epoch: &Epoch, client: &ClientId) -> Self {
        Self { client: client.to_string(), secret: epoch.client_secret(client, 1) }
    }

    /// The secret as it is printed.
    pub(crate) fn secret(&self) -> &str {
        self.secret.expose()
    }

    /// Signs a message.
    pub(crate) fn sign<'m>(&'m self, method: &'m str, path: &'m str, body: &'m [u8]) -> Proof<'m> {
        let timestamp = i64::try_from(since_epoch().as_secs()).unwrap_or_default();
        let signature = Signed { timestamp, method, path_and_query: path, body }.sign(&self.secret);
        Proof { method, path, body, client: &self.client, timestamp: timestamp.to_string(), signature }
    }
}

impl Proof<'_> {
    /// Its headers: what it is, and who says so.
    pub(crate) fn headers(&self) -> [(&str, &str); 4] {
        [
            ("content-type", "application/json"),
            ("x-placet-client", self.client),
            ("x-placet-timestamp", &self.timestamp),
            ("x-signature", &self.signature),
        ]
    }

    /// The whole of it, with those headers.
    pub(crate) fn message<'a>(&'a self, headers: &'a [(&'a str, &'a str)]) -> Message<'a> {
        Message { method: self.method, path: self.path, headers, body: self.body }
    }
}

impl Question {
    /// A payment: a person is asked.
    pub(crate) fn payment() -> Self {
        Self::new("payment.send", "Pay the invoice of Acme Parts, due on Friday", "1249.5")
    }

    /// A small refund: the policy decides alone.
    pub(crate) fn refund() -> Self {
        Self::new("refund.create", "Refund the shipping of a late parcel", "19.5")
    }

    fn new(action: &str, summary: &str, amount: &str) -> Self {
        let number = ASKED.fetch_add(1, Ordering::Relaxed);
        let request_id = format!("bench-{number}");
        let body = format!(
            concat!(
                r#"{{"request_id":"{}","summary":"{}","action":"{}","payload":{{"amount":{},"currency":"EUR","#,
                r#""invoice":"INV-{}","to":{{"name":"Acme Parts GmbH","iban":"DE89370400440532013000"}},"#,
                r#""memo":"Order 2231, delivered 3 November"}},"metadata":{{"workflow":"invoices","run":"{}"}}}}"#
            ),
            request_id, summary, action, amount, number, number
        );
        Self { request_id, body }
    }
}

/// Time since the Unix epoch.
pub(crate) fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_questions_have_one_name() {
        let (one, other) = (Question::payment(), Question::refund());
        assert_ne!(one.request_id, other.request_id);
        let body: serde_json::Value = serde_json::from_str(&one.body).unwrap();
        assert_eq!(body["request_id"], one.request_id);
        assert_eq!(body["action"], "payment.send");
    }
}
