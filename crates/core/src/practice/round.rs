//! The cases of a round: which requests, in which order, and which of them have one field changed.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::Value;

use super::alter::{another, named_fields};
use super::samples::{SAMPLES, Sample};
use crate::payload::{Payload, sha256_hex};
use crate::request::ApprovalRequest;
use crate::words::title::field_in_words;
use crate::words::{FieldPath, Title};

/// How many cases a round has.
pub const CASES: u32 = 12;

/// At least so many of them have a field changed, and at least as many have not: so the last ones cannot be counted out.
const FEWEST_OF_A_KIND: u32 = 4;

/// So many of the team's requests must have a field that can be changed, or a round is made of samples.
const ENOUGH_CHANGEABLE: usize = 8;

/// What a case is made of.
#[derive(Clone, Debug)]
pub enum Material {
    /// A request of the team's that was approved as it was asked.
    Own(Arc<ApprovalRequest>),
    /// A made-up one.
    Sample(&'static Sample),
}

/// Where a round's cases come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The team's own requests.
    Own,
    /// Made up.
    Samples,
}

/// A case as it is shown, with its truth.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The client that would have asked: an id of the policy's, or words.
    pub client: String,
    /// Dotted name of what would be done.
    pub action: String,
    /// The agent's own words, as people may see them.
    pub summary: String,
    /// What would be done, in the gate's own words.
    pub title: Title,
    /// What would be done, as people may see it.
    pub payload: Value,
    /// Hex SHA-256 of the payload that is shown.
    pub payload_sha256: String,
    /// Whether parts of it are masked.
    pub hides_secrets: bool,
    /// The rule that would ask.
    pub rule: String,
    /// The field that was changed; none where all of it is right.
    pub altered: Option<Altered>,
}

/// A field that is not what the agent's own words say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Altered {
    /// Its last key.
    pub key: String,
    /// What it was, as people read it.
    pub from: String,
    /// What is shown.
    pub to: String,
}

impl Case {
    /// Names what is shown, so that an answer counts for no other case.
    pub fn digest(&self) -> String {
        let parts = [self.client.as_str(), &self.action, &self.summary, &self.payload_sha256];
        sha256_hex(Value::from(parts.as_slice()).to_string().as_bytes())
    }
}

/// The cases of the round with that seed, and where they come from. The same seed and material make the same cases.
pub fn cases(seed: [u8; 16], requests: &[Arc<ApprovalRequest>]) -> (Origin, Vec<Case>) {
    let mut known = HashSet::new();
    let own: Vec<Material> = requests
        .iter()
        .filter(|asked| known.insert((asked.action.as_str(), asked.payload_sha256.as_str())))
        .map(|asked| Material::Own(Arc::clone(asked)))
        .collect();
    let changeable = own.iter().filter(|material| material.is_changeable()).take(ENOUGH_CHANGEABLE).count();
    let enough = usize::try_from(CASES).is_ok_and(|cases| own.len() >= cases);
    if enough && changeable >= ENOUGH_CHANGEABLE {
        let drawn = drawn(seed, &own);
        // A field can turn out to have no other value that the words do not name.
        if u32::try_from(drawn.len()) == Ok(CASES) {
            return (Origin::Own, drawn);
        }
    }
    let samples: Vec<Material> = SAMPLES.iter().map(Material::Sample).collect();
    (Origin::Samples, drawn(seed, &samples))
}

fn drawn(seed: [u8; 16], materials: &[Material]) -> Vec<Case> {
    let mut draw = Draw::of(seed);
    let wanted = FEWEST_OF_A_KIND + draw.below(CASES - 2 * FEWEST_OF_A_KIND + 1);
    let mut order: Vec<&Material> = materials.iter().collect();
    draw.shuffle(&mut order);
    let mut cases = Vec::new();
    let mut left = Vec::new();
    for material in order {
        let changed = if cases.len() < as_index(wanted) { material.changed(&mut draw) } else { None };
        match changed {
            Some(case) => cases.push(case),
            None => left.push(material),
        }
    }
    if cases.len() < as_index(wanted) {
        return Vec::new();
    }
    let room = as_index(CASES).saturating_sub(cases.len());
    cases.extend(left.into_iter().take(room).filter_map(Material::unchanged));
    draw.shuffle(&mut cases);
    cases
}

fn as_index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

impl Material {
    fn is_changeable(&self) -> bool {
        match self {
            Self::Own(asked) => !own_fields(asked).is_empty(),
            Self::Sample(_) => true,
        }
    }

    fn unchanged(&self) -> Option<Case> {
        match self {
            Self::Own(asked) => Some(own_case(asked, &asked.payload, None)),
            Self::Sample(sample) => sample_case(sample, None),
        }
    }

    fn changed(&self, draw: &mut Draw) -> Option<Case> {
        match self {
            Self::Own(asked) => {
                let fields = own_fields(asked);
                let path = draw.one_of(&fields)?;
                let mut payload = asked.payload.value();
                let field = path.find_mut(&mut payload)?;
                *field = another(field, &asked.summary, draw)?;
                let payload = Payload::new(payload.as_object()?).ok()?;
                let altered = altered(path, &asked.shown(&asked.payload), &asked.shown(&payload));
                // What people cannot see, they cannot find.
                (altered.from != altered.to).then(|| own_case(asked, &payload, Some(altered)))
            }
            Self::Sample(sample) => {
                let (path, value) = draw.one_of(sample.wrong)?;
                sample_case(sample, Some((FieldPath::parse(path).ok()?, serde_json::from_str(value).ok()?)))
            }
        }
    }
}

/// The fields that the words name and that nobody masks.
fn own_fields(asked: &ApprovalRequest) -> Vec<FieldPath> {
    let (payload, shown) = (asked.payload.value(), asked.shown(&asked.payload));
    let mut fields = named_fields(&asked.summary, &payload);
    fields.retain(|path| path.find(&shown) == path.find(&payload));
    fields
}

fn altered(path: &FieldPath, before: &Value, after: &Value) -> Altered {
    Altered {
        key: path.last().to_owned(),
        from: field_in_words(path, before),
        to: field_in_words(path, after),
    }
}

fn own_case(asked: &ApprovalRequest, payload: &Payload, altered: Option<Altered>) -> Case {
    let (shown, summary) = (asked.shown(payload).into_owned(), asked.shown_summary().to_owned());
    Case {
        client: asked.client.to_string(),
        action: asked.action.clone(),
        title: asked.title_of(payload).into_owned(),
        hides_secrets: shown != payload.value() || summary != asked.summary,
        summary,
        payload_sha256: payload.sha256(),
        payload: shown,
        rule: asked.rule.clone().unwrap_or_default(),
        altered,
    }
}

fn sample_case(sample: &Sample, wrong: Option<(FieldPath, Value)>) -> Option<Case> {
    let before: Value = serde_json::from_str(sample.payload).ok()?;
    let mut shown = before.clone();
    let altered = match wrong {
        Some((path, value)) => {
            *path.find_mut(&mut shown)? = value;
            Some(altered(&path, &before, &shown))
        }
        None => None,
    };
    Some(Case {
        client: sample.client.to_owned(),
        action: sample.action.to_owned(),
        summary: sample.words.to_owned(),
        title: Title::of(None, sample.action, &shown),
        payload_sha256: Payload::new(shown.as_object()?).ok()?.sha256(),
        payload: shown,
        hides_secrets: false,
        rule: "practice".to_owned(),
        altered,
    })
}

/// Numbers that follow from a seed: `SplitMix64` (Steele, Lea, Flood 2014). They choose what is shown, and protect nothing.
#[derive(Clone, Debug)]
pub struct Draw {
    state: u64,
}

impl Draw {
    /// The numbers of that seed.
    pub fn of(seed: [u8; 16]) -> Self {
        let seed = u128::from_le_bytes(seed);
        #[expect(clippy::cast_possible_truncation, reason = "both halves are wanted")]
        let (low, high) = (seed as u64, (seed >> 64) as u64);
        let mut draw = Self { state: low };
        draw.state = draw.next() ^ high;
        draw
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below that one, which must not be 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        let scaled = (u128::from(self.next()) * u128::from(bound)) >> 64;
        u32::try_from(scaled).unwrap_or(0)
    }

    /// One of them, if there is one.
    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        let count = u32::try_from(all.len()).ok().filter(|count| *count > 0)?;
        all.get(as_index(self.below(count)))
    }

    /// Another order, each as likely as any (Fisher and Yates).
    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        for last in (1..all.len()).rev() {
            let bound = u32::try_from(last + 1).unwrap_or(u32::MAX);
            all.swap(last, as_index(self.below(bound)));
        }
    }
}

#[cfg(test)]
mod tests;
