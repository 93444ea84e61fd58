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
