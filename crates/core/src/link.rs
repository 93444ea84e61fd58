//! Reviewers' links: a capability for one reviewer and one request, short enough for one SMS.
//!
//! A link is `<request key><mac><epoch>`: two times 22 characters of base 62, then the epoch's number in base 62.
//! Base 62 has no `-` or `_`, which some phones leave out of a link that ends with one.

use std::fmt;

use subtle::ConstantTimeEq;

use crate::Timestamp;
use crate::id::{ApprovalId, RequestKey, ReviewerId};
use crate::keys::{Epoch, EpochNumber, Keyring, hmac_sha256};
use crate::payload::hex;

/// How long a form that was shown may be sent, in milliseconds: a day, either way of a clock that moves.
pub(crate) const NONCE_MS: i64 = crate::time::DAY_MS;

/// Characters that hold a day in base 62: enough for 600 years.
const DAY_WIDTH: usize = 3;

/// Characters that hold a second in base 62: enough for 1,800 years.
const SECOND_WIDTH: usize = 6;

/// Characters that hold 16 bytes in base 62.
const WIDTH: usize = 22;

/// Characters of a link's MAC.
pub(crate) const MAC_WIDTH: usize = WIDTH;

/// A reviewer's link to one request, not yet checked.
///
/// It names its request, so that one read finds the record; whose link it is shows only by [`Link::is_of`].
#[derive(Clone, PartialEq, Eq)]
pub struct Link {
    key: RequestKey,
    mac: [u8; 16],
    epoch: EpochNumber,
}

impl Link {
    /// The link of that reviewer, in that generation of their links, to that request.
    pub fn mint(
        epoch: &Epoch,
        key: RequestKey,
        approval: &ApprovalId,
        reviewer: &ReviewerId,
        generation: u32,
    ) -> Self {
        Self { key, mac: link_mac(epoch, approval, reviewer, generation), epoch: epoch.number }
    }

    /// Reads the text of a link. `None` if no gate ever wrote it.
    pub fn parse(unverified: &str) -> Option<Self> {
        let (key, rest) = unverified.split_at_checked(WIDTH)?;
        let (mac, epoch) = rest.split_at_checked(WIDTH)?;
        Some(Self {
            key: RequestKey::from_bytes(unbase62(key)?),
            mac: unbase62(mac)?,
            epoch: unepoch(epoch)?,
        })
    }

    /// Where its request is stored.
    pub const fn key(&self) -> RequestKey {
        self.key
    }

    /// The epoch it was made in.
    pub const fn epoch(&self) -> EpochNumber {
        self.epoch
    }

    /// Whether this is that reviewer's link to that approval. Constant time.
    ///
    /// The approval's id is in the text that is signed, so a link never opens a later request of the same name.
    pub fn is_of(
        &self,
        epoch: &Epoch,
        approval: &ApprovalId,
        reviewer: &ReviewerId,
        generation: u32,
    ) -> bool {
        self.epoch == epoch.number && link_mac(epoch, approval, reviewer, generation).ct_eq(&self.mac).into()
    }

    /// A nonce for the form that is shown at `now`: `<milliseconds>-<mac>`.
    pub fn nonce(&self, epoch: &Epoch, now: Timestamp) -> String {
        mint_nonce(epoch, self, now)
    }

    /// When that nonce was minted: the moment at which the page was shown. `None` unless it was minted for this link
    /// within the last day. Constant time.
    pub fn minted_nonce(&self, epoch: &Epoch, unverified: &str, now: Timestamp) -> Option<Timestamp> {
        minted_nonce(epoch, self, unverified, now)
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}{}{}",
            to_base62(*self.key.as_bytes()),
            to_base62(self.mac),
            base62::encode(u128::from(self.epoch))
        )
    }
}

// A link is a secret: whoever has it decides.
impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("key", &self.key).field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// A reviewer's link to everything that waits for them, not yet checked.
#[derive(Clone, PartialEq, Eq)]
pub struct InboxLink {
    mac: [u8; 16],
    epoch: EpochNumber,
}

impl InboxLink {
    /// The inbox link of that reviewer, in that generation of their links.
    pub fn mint(epoch: &Epoch, reviewer: &ReviewerId, generation: u32) -> Self {
        Self { mac: inbox_mac(epoch, reviewer, generation), epoch: epoch.number }
    }

    /// Reads the text of an inbox link.
    pub fn parse(unverified: &str) -> Option<Self> {
        let (mac, epoch) = unverified.split_at_checked(WIDTH)?;
        Some(Self { mac: unbase62(mac)?, epoch: unepoch(epoch)? })
    }

    /// The epoch it was made in.
    pub const fn epoch(&self) -> EpochNumber {
        self.epoch
    }

    /// A nonce for a form of the inbox itself, shown at `now`: as that of a [`Link`].
    pub fn nonce(&self, epoch: &Epoch, now: Timestamp) -> String {
        mint_nonce(epoch, self, now)
    }

    /// Whether that nonce was minted for this inbox within the last day. Constant time.
    pub fn takes_nonce(&self, epoch: &Epoch, unverified: &str, now: Timestamp) -> bool {
        minted_nonce(epoch, self, unverified, now).is_some()
    }

    /// Whose it is among those reviewers. Compares with all of them, each in constant time.
    pub fn owner<'r>(
        &self,
        keys: &Keyring,
        reviewers: impl Iterator<Item = (&'r ReviewerId, u32)>,
    ) -> Option<&'r ReviewerId> {
        let epoch = keys.epoch(self.epoch)?;
        reviewers
            .filter(|(reviewer, generation)| {
                bool::from(inbox_mac(epoch, reviewer, *generation).ct_eq(&self.mac))
            })
            .fold(None, |found, (reviewer, _)| found.or(Some(reviewer)))
    }
}

impl fmt::Display for InboxLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", to_base62(self.mac), base62::encode(u128::from(self.epoch)))
    }
}

/// A team's link to the report of the days before one day, not yet checked. It shows numbers; it decides nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct ReportLink {
    until_day: u32,
    mac: [u8; 16],
    epoch: EpochNumber,
}

impl ReportLink {
    /// The link to the report of the days before that one, counted from 1970-01-01.
    pub fn mint(epoch: &Epoch, until_day: u32) -> Self {
        Self { until_day, mac: report_mac(epoch, until_day), epoch: epoch.number }
    }

    /// Reads the text of a report's link.
    pub fn parse(unverified: &str) -> Option<Self> {
        let (mac, rest) = unverified.split_at_checked(WIDTH)?;
        let (day, epoch) = rest.split_at_checked(DAY_WIDTH)?;
        let until_day = base62::decode(day).ok().and_then(|day| u32::try_from(day).ok())?;
        (to_day(until_day) == day).then_some(())?;
        Some(Self { until_day, mac: unbase62(mac)?, epoch: unepoch(epoch)? })
    }

    /// The epoch it was made in.
    pub const fn epoch(&self) -> EpochNumber {
        self.epoch
    }

    /// The first day that its report leaves out, if this gate made it. Constant time.
    pub fn until_day(&self, epoch: &Epoch) -> Option<u32> {
        let is_ours =
            self.epoch == epoch.number && bool::from(report_mac(epoch, self.until_day).ct_eq(&self.mac));
        is_ours.then_some(self.until_day)
    }

    /// A nonce for the forms of the page that is shown at `now`.
    pub fn nonce(&self, epoch: &Epoch, now: Timestamp) -> String {
        format!("{}-{}", now.millis(), hex(&report_nonce_mac(epoch, self, now)))
    }

    /// Whether that nonce was minted for this link's page within the last day. Constant time.
    pub fn takes_nonce(&self, epoch: &Epoch, unverified: &str, now: Timestamp) -> bool {
        let Some((minted, mac)) = unverified.split_once('-') else { return false };
        let Ok(minted) = minted.parse().map(Timestamp::from_millis) else { return false };
        let expected = hex(&report_nonce_mac(epoch, self, minted));
        now.millis_since(minted).saturating_abs() <= NONCE_MS
            && expected.as_bytes().ct_eq(mac.as_bytes()).into()
    }
}

impl fmt::Display for ReportLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (day, epoch) = (to_day(self.until_day), base62::encode(u128::from(self.epoch)));
        write!(f, "{}{day}{epoch}", to_base62(self.mac))
    }
}

// Whoever has it reads the numbers.
impl fmt::Debug for ReportLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReportLink")
            .field("until_day", &self.until_day)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

/// What of a path's segment can be a link, as far as mail programs and people have glued something to it.
///
/// Links are letters and digits: `<abc>`, `abc.`, `abc%3E` and `abc)…` are all `abc`. The segment is as it was sent, not
/// decoded; whether the rest is anybody's link is still to be seen.
pub fn unglued(segment: &str) -> &str {
    let mut rest = segment;
    loop {
        rest = match rest.strip_prefix('%') {
            // A sign in its escaped form: `%3C`.
            Some(escaped) => escaped.get(2..).unwrap_or_default(),
            None => match rest.strip_prefix(|first: char| !first.is_ascii_alphanumeric()) {
                Some(after) => after,
                None => break,
            },
        };
    }
    rest.split(|character: char| !character.is_ascii_alphanumeric()).next().unwrap_or_default()
}

fn link_mac(epoch: &Epoch, approval: &ApprovalId, reviewer: &ReviewerId, generation: u32) -> [u8; 16] {
    mac(epoch, &["placet-link-v2", approval.as_str(), reviewer.as_str(), &generation.to_string()])
}

fn inbox_mac(epoch: &Epoch, reviewer: &ReviewerId, generation: u32) -> [u8; 16] {
    mac(epoch, &["placet-inbox-v2", reviewer.as_str(), &generation.to_string()])
}

fn report_mac(epoch: &Epoch, until_day: u32) -> [u8; 16] {
    mac(epoch, &["placet-report-v1", &until_day.to_string()])
}

fn report_nonce_mac(epoch: &Epoch, link: &ReportLink, minted: Timestamp) -> [u8; 16] {
    mac(epoch, &["placet-report-nonce-v1", &link.to_string(), &minted.millis().to_string()])
}

fn to_day(day: u32) -> String {
    format!("{:0>DAY_WIDTH$}", base62::encode(u128::from(day)))
}

pub(crate) fn to_second(second: u64) -> String {
    format!("{:0>SECOND_WIDTH$}", base62::encode(u128::from(second)))
}

/// The second that a text begins with, in its only spelling, and the rest of the text.
pub(crate) fn split_second(unverified: &str) -> Option<(u64, &str)> {
    let (text, rest) = unverified.split_at_checked(SECOND_WIDTH)?;
    let second = base62::decode(text).ok().and_then(|second| u64::try_from(second).ok())?;
    (to_second(second) == text).then_some((second, rest))
}

fn mint_nonce(epoch: &Epoch, link: &impl fmt::Display, now: Timestamp) -> String {
    format!("{}-{}", now.millis(), hex(&nonce_mac(epoch, link, now)))
}

fn minted_nonce(
    epoch: &Epoch,
    link: &impl fmt::Display,
    unverified: &str,
    now: Timestamp,
) -> Option<Timestamp> {
    let (minted, mac) = unverified.split_once('-')?;
    let minted = minted.parse().map(Timestamp::from_millis).ok()?;
    let expected = hex(&nonce_mac(epoch, link, minted));
    let is_ours = bool::from(expected.as_bytes().ct_eq(mac.as_bytes()));
    (is_ours && now.millis_since(minted).saturating_abs() <= NONCE_MS).then_some(minted)
}

fn nonce_mac(epoch: &Epoch, link: &impl fmt::Display, minted: Timestamp) -> [u8; 16] {
    mac(epoch, &["placet-nonce-v1", &link.to_string(), &minted.millis().to_string()])
}

/// 128 bits of an HMAC over lines; none of the lines can contain a newline.
pub(crate) fn mac(epoch: &Epoch, lines: &[&str]) -> [u8; 16] {
    let whole = hmac_sha256(epoch.link_key().expose(), &[lines.join("\n").as_bytes()]);
    let mut half = [0; 16];
    half.iter_mut().zip(whole).for_each(|(to, from)| *to = from);
    half
}

pub(crate) fn to_base62(bytes: [u8; 16]) -> String {
    format!("{:0>WIDTH$}", base62::encode(u128::from_be_bytes(bytes)))
}

pub(crate) fn unbase62(text: &str) -> Option<[u8; 16]> {
    let number = base62::decode(text).ok()?;
    let bytes = number.to_be_bytes();
    // One text per link: what decodes alike but is spelled otherwise is not a link.
    (to_base62(bytes) == text).then_some(bytes)
}

pub(crate) fn unepoch(text: &str) -> Option<EpochNumber> {
    // Epochs count from 1.
    let number = base62::decode(text).ok().filter(|number| *number > 0)?;
    (base62::encode(number) == text).then(|| u32::try_from(number).ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::{ClientId, RequestId};
    use crate::keys::Secret;

    fn ring() -> Keyring {
        Keyring::first(Secret::new([7; 32]), Secret::new([8; 32]), Timestamp::from_millis(0))
    }

    fn link(reviewer: &str) -> Link {
        let key = RequestKey::of(&ClientId::parse("n8n").unwrap(), &RequestId::parse("r1").unwrap());
        Link::mint(&ring().current, key, &approval(1), &ReviewerId::parse(reviewer).unwrap(), 1)
    }

    fn approval(n: u128) -> ApprovalId {
        ApprovalId::from_parts(Timestamp::from_millis(1_700_000_000_000), n)
    }

    #[test]
    fn a_report_s_link_is_of_one_day_and_its_nonce_of_one_link() {
        let ring = ring();
        let link = ReportLink::mint(&ring.current, 20_783);
        let text = link.to_string();
        let read = ReportLink::parse(&text).unwrap();
        assert_eq!(read.until_day(&ring.current), Some(20_783));
        let other = ReportLink::mint(&ring.current, 20_784);
        assert_eq!(ReportLink { until_day: 20_784, ..link.clone() }.until_day(&ring.current), None);
        assert_eq!(ReportLink::parse(&text.replacen(&text[..1], "_", 1)), None);
        let now = Timestamp::from_millis(1_795_430_000_000);
        let nonce = link.nonce(&ring.current, now);
        assert!(link.takes_nonce(&ring.current, &nonce, now.plus_millis(NONCE_MS)));
        assert!(!link.takes_nonce(&ring.current, &nonce, now.plus_millis(NONCE_MS + 1)));
        assert!(!other.takes_nonce(&ring.current, &nonce, now));
        for bad in ["", "-", "1-", "x-0", "1795430000000-00"] {
            assert!(!link.takes_nonce(&ring.current, bad, now), "{bad}");
        }
    }

    #[test]
    fn a_link_is_of_one_reviewer_and_one_approval() {
        let ring = ring();
        let (bob, carol) = (ReviewerId::parse("bob").unwrap(), ReviewerId::parse("carol").unwrap());
        let read = Link::parse(&link("bob").to_string()).unwrap();
        assert!(read.is_of(&ring.current, &approval(1), &bob, 1));
        assert!(!read.is_of(&ring.current, &approval(1), &carol, 1));
        assert!(!read.is_of(&ring.current, &approval(2), &bob, 1));
        assert!(!read.is_of(&ring.current, &approval(1), &bob, 2), "a raised generation voids the link");
        let next = ring.rotated(Secret::new([9; 32]), Secret::new([10; 32]), Timestamp::from_millis(1));
        assert!(!read.is_of(&next.current, &approval(1), &bob, 1));
    }

    #[test]
    fn a_text_with_the_longest_usual_address_fits_one_sms() {
        let url = format!("https://a1b2c3d4e5.execute-api.ap-southeast-1.amazonaws.com/r/{}", link("bob"));
        assert!(url.len() <= 110, "{}", url.len());
        assert!(link("bob").to_string().bytes().all(|b| b.is_ascii_alphanumeric()));
    }

    #[test]
    fn a_nonce_is_of_its_link_for_a_day() {
        let ring = ring();
        let minted = Timestamp::from_millis(1_700_000_000_000);
        let nonce = link("bob").nonce(&ring.current, minted);
        assert_eq!(
            link("bob").minted_nonce(&ring.current, &nonce, minted.plus_millis(NONCE_MS)),
            Some(minted)
        );
        assert_eq!(link("bob").minted_nonce(&ring.current, &nonce, minted.plus_millis(-5000)), Some(minted));
        assert_eq!(link("bob").minted_nonce(&ring.current, &nonce, minted.plus_millis(NONCE_MS + 1)), None);
        assert_eq!(link("carol").minted_nonce(&ring.current, &nonce, minted), None);
        for bad in ["", "-", "1-", "x-y", &nonce[1..], &nonce.to_uppercase().replace('-', "+")] {
            assert_eq!(link("bob").minted_nonce(&ring.current, bad, minted), None, "{bad}");
        }
    }

    #[test]
    fn what_programs_glue_to_a_link_is_left_out() {
        let link = link("bob").to_string();
        for glued in [
            "",
            ".",
            ",",
            ";",
            ":",
            "!",
            "?",
            ")",
            "]",
            ">",
            "&gt;",
            "\"",
            "'",
            "*",
            "_",
            "=",
            "=3D",
            "%3E",
            "%3e",
            "%20",
            "%0A",
            "%C2%A0",
            "%E2%80%9D",
            "%E2",
            "%",
            "%25",
            ").",
            "%22%3E",
            "。",
            "”",
            "</a>",
            "%3C/a%3E",
        ] {
            assert_eq!(unglued(&format!("{link}{glued}")), link, "{glued}");
        }
        for before in ["<", "(", "%3C", "%28", "%22", "%E2%80%9C"] {
            assert_eq!(unglued(&format!("{before}{link}>")), link, "{before}");
        }
        for nothing in ["", ".", "%", "%3", "%3E", "%3E%"] {
            assert_eq!(unglued(nothing), "", "{nothing}");
        }
        assert_eq!(unglued("abc.def"), "abc");
    }

    #[test]
    fn an_inboxs_nonce_is_of_that_inbox_for_a_day() {
        let ring = ring();
        let inbox = |id: &str| InboxLink::mint(&ring.current, &ReviewerId::parse(id).unwrap(), 1);
        let minted = Timestamp::from_millis(1_700_000_000_000);
        let nonce = inbox("bob").nonce(&ring.current, minted);
        assert!(nonce.starts_with("1700000000000-"), "{nonce}");
        for (who, nonce, later, takes) in [
            ("bob", &*nonce, 0, true),
            ("bob", &*nonce, NONCE_MS, true),
            ("bob", &*nonce, -NONCE_MS, true),
            ("bob", &*nonce, NONCE_MS + 1, false),
            ("bob", &*nonce, -NONCE_MS - 1, false),
            ("carol", &*nonce, 0, false),
            ("bob", "", 0, false),
            ("bob", "1700000000000-", 0, false),
        ] {
            let taken = inbox(who).takes_nonce(&ring.current, nonce, minted.plus_millis(later));
            assert_eq!(taken, takes, "{who} {nonce} {later}");
        }
    }

    #[test]
    fn no_link_is_of_epoch_0_or_of_one_that_is_spelled_otherwise() {
        let link = link("bob").to_string();
        let (stem, epoch) = link.split_at(2 * WIDTH);
        assert_eq!(epoch, "1");
        for bad in ["", "0", "00", "01", "4gfFC4"] {
            assert_eq!(Link::parse(&format!("{stem}{bad}")), None, "{bad}");
        }
        // The last epoch that there can be: 2^32 - 1.
        assert_eq!(Link::parse(&format!("{stem}4gfFC3")).map(|link| link.epoch()), Some(u32::MAX));
    }

    #[test]
    fn debug_shows_of_a_link_what_it_opens_and_not_its_secret() {
        let key = link("bob").key();
        assert_eq!(format!("{:?}", link("bob")), format!("Link {{ key: {key:?}, epoch: 1, .. }}"));
        let report = ReportLink::mint(&ring().current, 20_783);
        assert_eq!(format!("{report:?}"), "ReportLink { until_day: 20783, epoch: 1, .. }");
    }

    #[test]
    fn an_inbox_link_names_its_reviewer() {
        let ring = ring();
        let all = ["alice", "bob"].map(|id| ReviewerId::parse(id).unwrap());
        let read = InboxLink::parse(&InboxLink::mint(&ring.current, &all[1], 3).to_string()).unwrap();
        assert_eq!(read.owner(&ring, all.iter().map(|id| (id, 3))), Some(&all[1]));
        assert_eq!(read.owner(&ring, all.iter().map(|id| (id, 4))), None, "a raised generation voids it");
        assert_eq!(read.owner(&ring, all[..1].iter().map(|id| (id, 3))), None);
    }

    proptest! {
        #[test]
        fn no_text_panics_and_each_link_has_one_spelling(text in "\\PC{0,60}") {
            if let Some(link) = Link::parse(&text) {
                prop_assert_eq!(link.to_string(), text.clone());
            }
            let _ = InboxLink::parse(&text);
        }
    }
}
