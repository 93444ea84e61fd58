//! The link to a practice round, and how far its holder is, which its forms carry.
//!
//! A link is `<mac><expiry><epoch>`, as the operator's is; here the reviewer's name is in the text that is signed.

use std::fmt;

use subtle::ConstantTimeEq as _;

use crate::Timestamp;
use crate::id::ReviewerId;
use crate::keys::{Epoch, EpochNumber, Keyring};
use crate::link::{MAC_WIDTH, mac, split_second, to_base62, to_second, unbase62, unepoch};
use crate::numbers::Answers;
use crate::payload::hex;
use crate::time::DAY_MS;

/// A reviewer's own link to practice, not yet checked. It opens for a day, and decides nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct PracticeLink {
    mac: [u8; 16],
    expires_second: u64,
    epoch: EpochNumber,
}

impl PracticeLink {
    /// A link of that reviewer's, made then, in that generation of their links. `None` for a time before 1970.
    pub fn mint(epoch: &Epoch, reviewer: &ReviewerId, generation: u32, now: Timestamp) -> Option<Self> {
        let expires_second = u64::try_from(now.plus_millis(DAY_MS).millis() / 1000).ok()?;
        let mac = link_mac(epoch, reviewer, generation, expires_second);
        Some(Self { mac, expires_second, epoch: epoch.number })
    }

    /// Reads the text of a link.
    pub fn parse(unverified: &str) -> Option<Self> {
        let (mac, rest) = unverified.split_at_checked(MAC_WIDTH)?;
        let (expires_second, epoch) = split_second(rest)?;
        Some(Self { mac: unbase62(mac)?, expires_second, epoch: unepoch(epoch)? })
    }

    /// The epoch it was made in.
    pub const fn epoch(&self) -> EpochNumber {
        self.epoch
    }

    /// When it ends.
    pub fn ends_at(&self) -> Timestamp {
        Timestamp::from_millis(i64::try_from(self.expires_second).unwrap_or(i64::MAX).saturating_mul(1000))
    }

    /// When it was made, to the second.
    pub fn made_at(&self) -> Timestamp {
        self.ends_at().plus_millis(-DAY_MS)
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
                bool::from(link_mac(epoch, reviewer, *generation, self.expires_second).ct_eq(&self.mac))
            })
            .fold(None, |found, (reviewer, _)| found.or(Some(reviewer)))
    }

    /// What the cases of a round are drawn by.
    pub fn seed(&self, epoch: &Epoch, round: u32) -> [u8; 16] {
        mac(epoch, &["placet-practice-seed-v1", &self.to_string(), &round.to_string()])
    }

    /// The text in which a form carries how far its holder is, and which case it shows.
    pub fn sign(&self, epoch: &Epoch, progress: &Progress, case_digest: &str) -> String {
        let text = progress.to_string();
        format!("{text}.{}", hex(&progress_mac(epoch, self, &text, case_digest)))
    }

    /// Whether that text was made for this link, by this gate, where it showed that case. Constant time.
    pub fn signed(&self, epoch: &Epoch, unverified: &str, case_digest: &str) -> bool {
        let Some((text, signature)) = unverified.rsplit_once('.') else { return false };
        hex(&progress_mac(epoch, self, text, case_digest)).as_bytes().ct_eq(signature.as_bytes()).into()
    }
}

impl fmt::Display for PracticeLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (second, epoch) = (to_second(self.expires_second), base62::encode(u128::from(self.epoch)));
        write!(f, "{}{second}{epoch}", to_base62(self.mac))
    }
}

// A link is a secret: it shows what the team has decided.
impl fmt::Debug for PracticeLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PracticeLink")
            .field("expires_second", &self.expires_second)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

/// How far somebody is: which case comes, and what they have answered by now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Which round, from 0.
    pub round: u32,
    /// Which case of it, from 0.
    pub case: u32,
    /// The answers of all rounds behind this link.
    pub answers: Answers,
}

impl Progress {
    /// Reads what a form brings back, before its signature is looked at: which case it speaks of.
    pub fn unverified(signed: &str) -> Option<Self> {
        let (text, _) = signed.rsplit_once('.')?;
        let numbers: Vec<u32> = text.split('.').map(|number| number.parse().ok()).collect::<Option<_>>()?;
        let &[round, case, wrong_cases, hits, right_cases, false_alarms] = numbers.as_slice() else {
            return None;
        };
        let answers = Answers { wrong_cases, hits, right_cases, false_alarms };
        let progress = Self { round, case, answers };
        (answers.are_possible() && progress.to_string() == text).then_some(progress)
    }

    /// After one more answer: the next case, or the first one of the next round.
    #[must_use]
    pub fn after(&self, was_wrong: bool, was_rejected: bool, cases: u32) -> Self {
        let answers = self.answers.with(was_wrong, was_rejected);
        let next = self.case.saturating_add(1);
        let (round, case) = if next < cases { (self.round, next) } else { (self.round.saturating_add(1), 0) };
        Self { round, case, answers }
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Answers { wrong_cases, hits, right_cases, false_alarms } = self.answers;
        write!(f, "{}.{}.{wrong_cases}.{hits}.{right_cases}.{false_alarms}", self.round, self.case)
    }
}

fn link_mac(epoch: &Epoch, reviewer: &ReviewerId, generation: u32, expires_second: u64) -> [u8; 16] {
    let (generation, second) = (generation.to_string(), expires_second.to_string());
    mac(epoch, &["placet-practice-v1", reviewer.as_str(), &generation, &second])
}

fn progress_mac(epoch: &Epoch, link: &PracticeLink, progress: &str, case_digest: &str) -> [u8; 16] {
    mac(epoch, &["placet-practice-progress-v1", &link.to_string(), progress, case_digest])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Secret;

    fn ring() -> Keyring {
        Keyring::first(Secret::new([7; 32]), Secret::new([8; 32]), Timestamp::from_millis(0))
    }

    fn reviewer(id: &str) -> ReviewerId {
        ReviewerId::parse(id).unwrap()
    }

    const NOW: Timestamp = Timestamp::from_millis(1_795_430_000_000);

    #[test]
    fn a_link_is_of_one_reviewer_in_one_generation_and_ends_after_a_day() {
        let ring = ring();
        let (bob, carol) = (reviewer("bob"), reviewer("carol"));
        let link = PracticeLink::mint(&ring.current, &bob, 2, NOW).unwrap();
        let read = PracticeLink::parse(&link.to_string()).unwrap();
        let owner = |link: &PracticeLink, ring: &Keyring, generation| {
            link.owner(ring, [(&carol, generation), (&bob, generation)].into_iter()).cloned()
        };
        assert_eq!(owner(&read, &ring, 2), Some(bob.clone()));
        assert_eq!(owner(&read, &ring, 3), None, "a raised generation voids the link");
        assert_eq!((read.made_at(), read.ends_at()), (NOW, NOW.plus_millis(DAY_MS)));

        let longer = PracticeLink { expires_second: link.expires_second + 60, ..link.clone() };
        assert_eq!(owner(&longer, &ring, 2), None, "a later end is not what was signed");
        let other = Keyring::first(Secret::new([9; 32]), Secret::new([8; 32]), Timestamp::from_millis(0));
        assert_eq!(owner(&read, &other, 2), None);
        for bad in ["", "a", &link.to_string()[1..], &format!("{link}ä"), "_____"] {
            assert_eq!(PracticeLink::parse(bad), None, "{bad}");
        }
        assert!(!format!("{link:?}").contains(&link.to_string()[..22]));
        assert_eq!(PracticeLink::mint(&ring.current, &bob, 1, Timestamp::from_millis(-2 * DAY_MS)), None);
    }

    #[test]
    fn no_other_link_opens_a_round_and_a_round_s_opens_nothing_else() {
        let ring = ring();
        let bob = reviewer("bob");
        let practice = PracticeLink::mint(&ring.current, &bob, 1, NOW).unwrap().to_string();
        let inbox = crate::link::InboxLink::mint(&ring.current, &bob, 1).to_string();
        let admin = crate::admin_link::AdminLink::mint(&ring.current, NOW.plus_millis(DAY_MS)).unwrap();
        for other in [inbox.clone(), admin.to_string()] {
            let opened = PracticeLink::parse(&other)
                .and_then(|link| link.owner(&ring, [(&bob, 1)].into_iter()).cloned());
            assert_eq!(opened, None, "{other}");
        }
        let opened = crate::link::InboxLink::parse(&practice)
            .and_then(|link| link.owner(&ring, [(&bob, 1)].into_iter()).cloned());
        assert_eq!(opened, None);
        let opened =
            crate::admin_link::AdminLink::parse(&practice).and_then(|link| link.open_until(&ring, NOW));
        assert_eq!(opened, None);
    }

    #[test]
    fn progress_counts_only_as_it_was_signed() {
        let ring = ring();
        let link = |id: &str| PracticeLink::mint(&ring.current, &reviewer(id), 1, NOW).unwrap();
        let mut progress = Progress::default();
        for case in 0..12 {
            progress = progress.after(case % 2 == 0, case % 3 == 0, 12);
        }
        let answers = Answers { wrong_cases: 6, hits: 2, right_cases: 6, false_alarms: 2 };
        assert_eq!(progress, Progress { round: 1, case: 0, answers });

        let signed = link("bob").sign(&ring.current, &progress, "case");
        assert_eq!(Progress::unverified(&signed), Some(progress));
        assert!(link("bob").signed(&ring.current, &signed, "case"));
        assert!(!link("bob").signed(&ring.current, &signed, "another case"));
        assert!(!link("carol").signed(&ring.current, &signed, "case"));
        let better = signed.replacen("1.0.6.2", "1.0.6.6", 1);
        assert!(
            Progress::unverified(&better).is_some() && !link("bob").signed(&ring.current, &better, "case")
        );
        for bad in
            ["", "1.0.6.2.6.2", "1.0.6.7.6.2.aa", "01.0.6.2.6.2.aa", "+1.0.6.2.6.2.aa", "1.0.6.2.6.aa", "a.b"]
        {
            assert_eq!(Progress::unverified(bad), None, "{bad}");
            assert!(!link("bob").signed(&ring.current, bad, "case"), "{bad}");
        }
    }

    #[test]
    fn each_round_and_each_link_draws_by_another_seed() {
        let ring = ring();
        let link = |seconds: i64| {
            PracticeLink::mint(&ring.current, &reviewer("bob"), 1, NOW.plus_millis(seconds * 1000)).unwrap()
        };
        let seeds =
            [link(0).seed(&ring.current, 0), link(0).seed(&ring.current, 1), link(1).seed(&ring.current, 0)];
        assert!(seeds[0] != seeds[1] && seeds[0] != seeds[2]);
        assert_eq!(seeds[0], link(0).seed(&ring.current, 0));
    }
}
