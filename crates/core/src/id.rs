//! Typed identifiers. Each has one parser; nothing else makes one from text.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Timestamp;

/// Text that is not an identifier of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be {0}")]
pub struct NotAnId(pub &'static str);

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $shape:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// Checks the shape and takes the text.
            pub fn parse(text: &str) -> Result<Self, NotAnId> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) { Ok(Self(text.into())) } else { Err(NotAnId($shape)) }
            }

            /// The text as it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NotAnId;
            fn try_from(text: String) -> Result<Self, NotAnId> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.into()
            }
        }
    };
}

fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

text_id! {
    /// A program that asks, answers or audits: 1–64 of `A-Za-z0-9_-` (no dot: a bearer key is `<client id>.<secret>`).
    ClientId, "1 to 64 of `A-Za-z0-9_-`", is_name
}

text_id! {
    /// A person who decides: 1–64 of `A-Za-z0-9_-` (no colon: `policy:` and `timeout:` are not people).
    ReviewerId, "1 to 64 of `A-Za-z0-9_-`", is_name
}

text_id! {
    /// The client's own name for a request, its idempotency key: 1–128 of `A-Za-z0-9._:-`.
    RequestId, "1 to 128 of `A-Za-z0-9._:-`", |text| (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-'))
}

text_id! {
    /// The gate's name for one approval: a ULID (26 characters of Crockford's base 32).
    ApprovalId, "a ULID", |text| text.len() == 26 && ulid::Ulid::from_string(text).is_ok()
}

text_id! {
    /// A webhook subscription: `hook_` and a ULID.
    HookId, "`hook_` and a ULID", |text| text.strip_prefix("hook_")
        .is_some_and(|rest| rest.len() == 26 && ulid::Ulid::from_string(rest).is_ok())
}

impl RequestId {
    /// The name of a new request. `.` and `..` are refused: URL libraries fold `/v1/requests/..` into another path.
    pub fn chosen(text: &str) -> Result<Self, NotAnId> {
        if matches!(text, "." | "..") {
            return Err(NotAnId("neither `.` nor `..`: in a URL they stand for another path"));
        }
        Self::parse(text)
    }
}

impl ApprovalId {
    /// A ULID of that time and those random bits (80 of them are used).
    pub fn from_parts(at: Timestamp, random: u128) -> Self {
        Self(ulid_text(at, random).into())
    }

    /// When it was drawn: the time in the ULID, to the millisecond.
    pub fn drawn_at(&self) -> Timestamp {
        let millis = ulid::Ulid::from_string(&self.0).map_or(0, |ulid| ulid.timestamp_ms());
        Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
    }
}

impl HookId {
    /// A subscription id of that time and those random bits.
    pub fn from_parts(at: Timestamp, random: u128) -> Self {
        Self(format!("hook_{}", ulid_text(at, random)).into())
    }
}

fn ulid_text(at: Timestamp, random: u128) -> String {
    ulid::Ulid::from_parts(u64::try_from(at.millis()).unwrap_or(0), random).to_string()
}

/// Where a request is stored: 16 bytes made from its client and `request_id`.
///
/// Being derived, it lets a client's question, a retry of it and a reviewer's link all reach the record with one read,
/// and makes "one record per client and `request_id`" a property of the primary key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestKey([u8; 16]);

impl RequestKey {
    /// The key of that client's request of that name.
    pub fn of(client: &ClientId, request_id: &RequestId) -> Self {
        // Neither id may contain a newline, so no two pairs share their text.
        let digest = Sha256::new()
            .chain_update(b"placet-request-v1\n")
            .chain_update(client.as_str())
            .chain_update(b"\n")
            .chain_update(request_id.as_str())
            .finalize();
        let mut key = [0; 16];
        key.iter_mut().zip(digest.iter()).for_each(|(to, from)| *to = *from);
        Self(key)
    }

    /// From the bytes of a stored key or a link.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes to store.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for RequestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RequestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_take_their_own_shape_only() {
        assert!(ClientId::parse("n8n").is_ok());
        for bad in ["", "a.b", "a b", "ä", &"a".repeat(65)] {
            assert!(ClientId::parse(bad).is_err(), "{bad}");
        }
        assert!(RequestId::parse("wf.1:run-2_3").is_ok());
        for bad in ["", "a/b", "a\n", &"a".repeat(129)] {
            assert!(RequestId::parse(bad).is_err(), "{bad}");
        }
        for bad in [".", "..", "", "a/b"] {
            assert!(RequestId::chosen(bad).is_err(), "{bad}");
        }
        for good in ["...", ".a", "a.", "..-"] {
            assert!(RequestId::chosen(good).is_ok(), "{good}");
        }
        let id = ApprovalId::from_parts(Timestamp::from_millis(1_700_000_000_000), 7);
        assert_eq!(id.drawn_at(), Timestamp::from_millis(1_700_000_000_000));
        assert_eq!(ApprovalId::parse(id.as_str()), Ok(id));
    }

    #[test]
    fn two_clients_may_use_the_same_request_id() {
        let id = RequestId::parse("r1").unwrap();
        let a = RequestKey::of(&ClientId::parse("a").unwrap(), &id);
        let b = RequestKey::of(&ClientId::parse("b").unwrap(), &id);
        assert_ne!(a, b);
    }
}
