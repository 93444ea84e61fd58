//! The link to the operator's page: a capability that ends by itself, minutes after it was made.
//!
//! A link is `<mac><expiry><epoch>`: 22 characters of base 62, the second in which it ends in 6, and the epoch's number.
//! The page decides nothing, so the link names no reviewer. What its forms send carries a nonce of the link's.

use std::fmt;

use subtle::ConstantTimeEq as _;

use crate::Timestamp;
use crate::keys::{Epoch, EpochNumber, Keyring};
use crate::link::{MAC_WIDTH, NONCE_MS, mac, split_second, to_base62, to_second, unbase62, unepoch};
use crate::payload::hex;

/// A link to the operator's page, not yet checked.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminLink {
    mac: [u8; 16],
    expires_second: u64,
    epoch: EpochNumber,
}

impl AdminLink {
    /// A link that opens the page until then, to the second. `None` for a time before 1970.
    pub fn mint(epoch: &Epoch, expires_at: Timestamp) -> Option<Self> {
        let expires_second = u64::try_from(expires_at.millis() / 1000).ok()?;
        Some(Self { mac: admin_mac(epoch, expires_second), expires_second, epoch: epoch.number })
    }

    /// Reads the text of a link.
    pub fn parse(unverified: &str) -> Option<Self> {
        let (mac, rest) = unverified.split_at_checked(MAC_WIDTH)?;
        let (expires_second, epoch) = split_second(rest)?;
        Some(Self { mac: unbase62(mac)?, expires_second, epoch: unepoch(epoch)? })
    }

    /// When it ends, if this gate made it and that is still ahead. The comparison takes constant time.
    pub fn open_until(&self, keys: &Keyring, now: Timestamp) -> Option<Timestamp> {
        let epoch = keys.epoch(self.epoch)?;
        let is_ours = bool::from(admin_mac(epoch, self.expires_second).ct_eq(&self.mac));
        let expires_at = i64::try_from(self.expires_second).ok()?.checked_mul(1000)?;
        let expires_at = Timestamp::from_millis(expires_at);
        (is_ours && now < expires_at).then_some(expires_at)
    }

    /// A nonce for the forms of the page that is shown at `now`. `None` where its epoch is over.
    pub fn nonce(&self, keys: &Keyring, now: Timestamp) -> Option<String> {
        let epoch = keys.epoch(self.epoch)?;
        Some(format!("{}-{}", now.millis(), hex(&nonce_mac(epoch, self, now))))
    }

    /// Whether that nonce was minted for this link's page within the last day. Constant time.
    pub fn takes_nonce(&self, keys: &Keyring, unverified: &str, now: Timestamp) -> bool {
        let Some(epoch) = keys.epoch(self.epoch) else { return false };
        let Some((minted, mac)) = unverified.split_once('-') else { return false };
        let Ok(minted) = minted.parse().map(Timestamp::from_millis) else { return false };
        let expected = hex(&nonce_mac(epoch, self, minted));
        now.millis_since(minted).saturating_abs() <= NONCE_MS
            && expected.as_bytes().ct_eq(mac.as_bytes()).into()
    }
}

impl fmt::Display for AdminLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (second, epoch) = (to_second(self.expires_second), base62::encode(u128::from(self.epoch)));
        write!(f, "{}{second}{epoch}", to_base62(self.mac))
    }
}

// A link is a secret: whoever has it reads what waits.
impl fmt::Debug for AdminLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminLink")
            .field("expires_second", &self.expires_second)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

fn admin_mac(epoch: &Epoch, expires_second: u64) -> [u8; 16] {
    mac(epoch, &["placet-admin-v1", &expires_second.to_string()])
}

fn nonce_mac(epoch: &Epoch, link: &AdminLink, minted: Timestamp) -> [u8; 16] {
    mac(epoch, &["placet-admin-nonce-v1", &link.to_string(), &minted.millis().to_string()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Secret;

    #[test]
    fn a_link_opens_until_its_second_and_for_its_own_gate_alone() {
        let ring = Keyring::first(Secret::new([7; 32]), Secret::new([8; 32]), Timestamp::from_millis(0));
        let end = Timestamp::from_millis(1_795_430_000_000);
        let link = AdminLink::mint(&ring.current, end).unwrap();
        let text = link.to_string();
        let read = AdminLink::parse(&text).unwrap();
        assert_eq!(read, link);
        assert_eq!(read.open_until(&ring, end.plus_millis(-1)), Some(end));
        assert_eq!(read.open_until(&ring, end), None);

        let later = AdminLink { expires_second: link.expires_second + 60, ..link.clone() };
        assert_eq!(later.open_until(&ring, end.plus_millis(-1)), None, "a later end is not what was signed");
        let other = Keyring::first(Secret::new([9; 32]), Secret::new([8; 32]), Timestamp::from_millis(0));
        assert_eq!(read.open_until(&other, end.plus_millis(-1)), None);
        // It lives through one rotation, as reviewers' links do.
        let next = ring.rotated(Secret::new([9; 32]), Secret::new([10; 32]), Timestamp::from_millis(1));
        assert_eq!(read.open_until(&next, end.plus_millis(-1)), Some(end));

        for bad in ["", "a", &text[1..], &text.replacen(&text[..1], "_", 1), &format!("{text}ä")] {
            assert_eq!(AdminLink::parse(bad), None, "{bad}");
        }
        assert!(!format!("{link:?}").contains(&text[..22]));
    }

    #[test]
    fn a_nonce_is_of_one_link_for_a_day() {
        let ring = Keyring::first(Secret::new([7; 32]), Secret::new([8; 32]), Timestamp::from_millis(0));
        let shown = Timestamp::from_millis(1_795_430_000_000);
        let link =
            |minutes: i64| AdminLink::mint(&ring.current, shown.plus_millis(minutes * 60_000)).unwrap();
        let nonce = link(15).nonce(&ring, shown).unwrap();
        assert!(link(15).takes_nonce(&ring, &nonce, shown.plus_millis(NONCE_MS)));
        assert!(!link(15).takes_nonce(&ring, &nonce, shown.plus_millis(NONCE_MS + 1)));
        assert!(!link(16).takes_nonce(&ring, &nonce, shown), "another link's");
        let other = Keyring::first(Secret::new([9; 32]), Secret::new([8; 32]), Timestamp::from_millis(0));
        assert!(!link(15).takes_nonce(&other, &nonce, shown), "another gate's");
        for bad in ["", "-", "1-", "x-y", &nonce[1..], &nonce.to_uppercase()] {
            assert!(!link(15).takes_nonce(&ring, bad, shown), "{bad}");
        }
    }

    #[test]
    fn a_link_of_another_kind_does_not_open_it() {
        let ring = Keyring::first(Secret::new([7; 32]), Secret::new([8; 32]), Timestamp::from_millis(0));
        let bob = crate::id::ReviewerId::parse("bob").unwrap();
        let inbox = crate::link::InboxLink::mint(&ring.current, &bob, 1).to_string();
        let opened =
            AdminLink::parse(&inbox).and_then(|link| link.open_until(&ring, Timestamp::from_millis(0)));
        assert_eq!(opened, None);
    }
}
