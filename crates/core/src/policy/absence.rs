//! Who is away: by the policy's file, or because they said so themselves.
//!
//! Both count alike, through the one predicate that says who is asked and who may decide. Who is away is not asked; they
//! still may decide. A stand-in whom a reviewer chooses must be one whom the policy allows: somebody whom the file names
//! as their backup on any day, or who holds all of their roles anyway. So nobody hands their authority to a stranger.

use serde::{Deserialize, Serialize};

use super::{Policy, Reviewer};
use crate::Timestamp;
use crate::id::ReviewerId;

/// The longest time that somebody can say they are away, in milliseconds: four weeks.
pub const LONGEST_ABSENCE_MS: i64 = 28 * crate::time::DAY_MS;

/// An absence that is over is remembered for so long, in milliseconds: votes of a stand-in count as long as a request can
/// wait.
const REMEMBERED_MS: i64 = super::MAX_WAIT_MS;

/// A time away that a reviewer has said themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnAbsence {
    /// Who.
    pub reviewer: ReviewerId,
    /// From then on.
    pub from: Timestamp,
    /// Until before then.
    pub until: Timestamp,
    /// Who is asked instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<ReviewerId>,
}

/// Whether a reviewer is there.
pub(super) enum Presence<'p> {
    /// They are.
    There,
    /// They are away; with who is asked instead, if anybody is.
    Away(Option<&'p ReviewerId>),
}

impl Policy {
    /// This policy, with what reviewers have said of themselves. Who is no longer in the policy is left out.
    #[must_use]
    pub fn with_absences(mut self, absences: Vec<OwnAbsence>) -> Self {
        self.own_absences = absences;
        self.own_absences.retain(|own| self.reviewers.iter().any(|known| known.id == own.reviewer));
        self
    }

    /// Until when that reviewer is away by their own word, and who is asked instead; none if they are not.
    pub fn own_absence(&self, reviewer: &ReviewerId, at: Timestamp) -> Option<&OwnAbsence> {
        self.own_absences
            .iter()
            .rev()
            .find(|own| own.reviewer == *reviewer && own.from <= at && at < own.until)
    }

    /// Whom a reviewer may choose to stand in for them.
    pub fn backups_of(&self, reviewer: &Reviewer) -> Vec<&Reviewer> {
        self.reviewers
            .iter()
            .filter(|other| other.id != reviewer.id)
            .filter(|other| {
                let named = reviewer.away.iter().any(|away| away.backup.as_ref() == Some(&other.id));
                named || !reviewer.roles.is_empty() && reviewer.roles.is_subset(&other.roles)
            })
            .collect()
    }

    /// Whether somebody is there at that time, and if not, who is asked instead.
    pub(super) fn presence<'p>(&'p self, reviewer: &'p Reviewer, at: Timestamp) -> Presence<'p> {
        let own = self.own_absence(&reviewer.id, at);
        let day = at.day();
        let by_file = reviewer.away.iter().find(|away| (away.from_day..=away.until_day).contains(&day));
        if own.is_none() && by_file.is_none() {
            return Presence::There;
        }
        let chosen = own.and_then(|own| {
            let backup = own.backup.as_ref()?;
            // Asked of the policy in force: a stand-in whom it no longer allows stands in no more.
            self.backups_of(reviewer).iter().any(|other| other.id == *backup).then_some(backup)
        });
        Presence::Away(chosen.or_else(|| by_file.and_then(|away| away.backup.as_ref())))
    }

    /// The next moment, after `now`, at which somebody goes away or comes back: the set of people who are asked changes.
    pub fn next_absence_change(&self, now: Timestamp) -> Option<Timestamp> {
        let absences = self.reviewers.iter().flat_map(|reviewer| &reviewer.away);
        let days = absences.flat_map(|away| [away.from_day, away.until_day.saturating_add(1)]);
        let of_the_file = days.map(|day| Timestamp::from_millis(day.saturating_mul(crate::time::DAY_MS)));
        let own = self.own_absences.iter().flat_map(|own| [own.from, own.until]);
        of_the_file.chain(own).filter(|at| *at > now).min()
    }
}

impl Reviewer {
    /// Whether the policy's file says that they are away.
    pub fn is_away_by_file(&self, at: Timestamp) -> bool {
        self.away.iter().any(|away| (away.from_day..=away.until_day).contains(&at.day()))
    }
}

/// The absences after somebody has said that they are away (`until` and `backup`), or back (none).
pub fn said_away(
    known: &[OwnAbsence],
    reviewer: &ReviewerId,
    away: Option<(Timestamp, Option<ReviewerId>)>,
    now: Timestamp,
) -> Vec<OwnAbsence> {
    let mut all: Vec<OwnAbsence> = known
        .iter()
        .filter(|own| own.until > now.plus_millis(-REMEMBERED_MS))
        .cloned()
        .map(|own| {
            let is_over = own.reviewer == *reviewer && own.until > now;
            if is_over { OwnAbsence { until: now, ..own } } else { own }
        })
        // What began and ended in the same moment never was.
        .filter(|own| own.from < own.until)
        .collect();
    if let Some((until, backup)) = away {
        all.push(OwnAbsence { reviewer: reviewer.clone(), from: now, until, backup });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::DAY_MS;

    const POLICY: &str = r#"
clients = [{ id = "n8n" }]
reviewers = [
  { id = "ann", roles = ["a"], away = [{ from = 1970-01-03, until = 1970-01-04, backup = "cid" }] },
  { id = "ben", roles = ["a", "b"] },
  { id = "cid", roles = ["c"] },
  { id = "dan" },
  { id = "eve", roles = ["e"], away = [{ from = 1970-01-03, until = 1970-01-03 }] },
]
rules = [{ name = "all", stages = [{ ask = ["a"], within = "1h" }] }]
"#;

    fn id(name: &str) -> ReviewerId {
        ReviewerId::parse(name).unwrap()
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn own(who: &str, from: i64, until: i64, backup: Option<&str>) -> OwnAbsence {
        OwnAbsence { reviewer: id(who), from: at(from), until: at(until), backup: backup.map(id) }
    }

    fn policy(absences: Vec<OwnAbsence>) -> Policy {
        Policy::read(POLICY).unwrap().with_absences(absences)
    }

    #[test]
    fn nobody_says_that_they_are_away_for_more_than_four_weeks() {
        assert_eq!(LONGEST_ABSENCE_MS, 4 * 7 * 24 * 60 * 60 * 1000);
    }

    /// `there`, or who is asked instead.
    fn asked_instead_of(policy: &Policy, who: &str, millis: i64) -> String {
        match policy.presence(policy.reviewer(&id(who)).unwrap(), at(millis)) {
            Presence::There => "there".to_owned(),
            Presence::Away(backup) => backup.map_or_else(|| "nobody".to_owned(), ToString::to_string),
        }
    }

    #[test]
    fn whoever_the_file_names_or_who_holds_all_their_roles_may_stand_in() {
        let policy = policy(Vec::new());
        let backups = |who: &str| -> Vec<String> {
            let found = policy.backups_of(policy.reviewer(&id(who)).unwrap());
            found.iter().map(|reviewer| reviewer.id.to_string()).collect()
        };
        assert_eq!(backups("ann"), ["ben", "cid"]);
        assert_eq!(backups("ben"), [""; 0], "Ann holds but one of his roles");
        assert_eq!(backups("dan"), [""; 0], "without a role there is none to stand in for");
    }

    #[test]
    fn the_file_says_who_is_away_by_whole_days() {
        let policy = policy(Vec::new());
        for (millis, ann, eve) in [
            (2 * DAY_MS - 1, "there", "there"),
            (2 * DAY_MS, "cid", "nobody"),
            (3 * DAY_MS - 1, "cid", "nobody"),
            (3 * DAY_MS, "cid", "there"),
            (4 * DAY_MS - 1, "cid", "there"),
            (4 * DAY_MS, "there", "there"),
        ] {
            assert_eq!(asked_instead_of(&policy, "ann", millis), ann, "{millis}");
            assert_eq!(asked_instead_of(&policy, "eve", millis), eve, "{millis}");
            let is_away = policy.reviewer(&id("ann")).unwrap().is_away_by_file(at(millis));
            assert_eq!(is_away, ann != "there", "{millis}");
        }
    }

    #[test]
    fn who_says_so_is_away_from_that_moment_until_before_the_other() {
        let policy = policy(vec![own("ann", 100, 200, Some("ben")), own("zoe", 100, 200, None)]);
        for (millis, instead) in [(99, "there"), (100, "ben"), (199, "ben"), (200, "there")] {
            assert_eq!(asked_instead_of(&policy, "ann", millis), instead, "{millis}");
            let known = policy.own_absence(&id("ann"), at(millis));
            assert_eq!(known, (instead == "ben").then(|| own("ann", 100, 200, Some("ben"))).as_ref());
        }
        assert_eq!(asked_instead_of(&policy, "ben", 150), "there");
        assert_eq!(policy.own_absence(&id("zoe"), at(150)), None, "she is no reviewer any more");
    }

    #[test]
    fn a_stand_in_whom_the_policy_does_not_allow_stands_in_no_more() {
        let instead = |backup, millis| {
            asked_instead_of(&policy(vec![own("ann", 0, 9 * DAY_MS, backup)]), "ann", millis)
        };
        assert_eq!(instead(Some("ben"), 0), "ben");
        assert_eq!(instead(Some("dan"), 0), "nobody");
        // On a day for which the file names somebody, that one is asked.
        assert_eq!(instead(Some("dan"), 2 * DAY_MS), "cid");
        assert_eq!(instead(None, 2 * DAY_MS), "cid");
        assert_eq!(instead(Some("ben"), 2 * DAY_MS), "ben");
    }

    #[test]
    fn the_next_change_is_the_first_moment_after_now_at_which_somebody_goes_or_comes() {
        let policy = policy(vec![own("ben", 100, 5 * DAY_MS, None)]);
        for (now, next) in [
            (0, Some(100)),
            (99, Some(100)),
            (100, Some(2 * DAY_MS)),
            (2 * DAY_MS, Some(3 * DAY_MS)),
            (3 * DAY_MS, Some(4 * DAY_MS)),
            (4 * DAY_MS, Some(5 * DAY_MS)),
            (5 * DAY_MS, None),
        ] {
            assert_eq!(policy.next_absence_change(at(now)), next.map(at), "{now}");
        }
    }

    #[test]
    fn what_somebody_says_of_themselves_takes_the_place_of_what_they_said_before() {
        let known = [own("ann", 100, 900, Some("ben")), own("ben", 100, 900, None)];
        let said = |known: &[OwnAbsence], away: Option<(i64, &str)>, now: i64| {
            let away = away.map(|(until, backup)| (at(until), Some(id(backup))));
            said_away(known, &id("ann"), away, at(now))
        };
        // Back at once, and away for another time: what is past is remembered.
        let back = [own("ann", 100, 300, Some("ben")), own("ben", 100, 900, None)];
        assert_eq!(said(&known, None, 300), back);
        let longer = [back[0].clone(), back[1].clone(), own("ann", 300, 1200, Some("cid"))];
        assert_eq!(said(&known, Some((1200, "cid")), 300), longer);
        // Whose time is over stays as it was; what began in this moment never was.
        assert_eq!(said(&known, None, 900), known);
        assert_eq!(said(&known, None, 100), known[1..]);
        // A vote of a stand-in counts as long as a request can wait, and so long their right is known.
        assert_eq!(said(&known, None, 899 + REMEMBERED_MS), known);
        assert_eq!(said(&known, None, 900 + REMEMBERED_MS), []);
    }
}
