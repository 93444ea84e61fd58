//! Questions that were asked a moment ago. Whoever waits and whoever decides load the same request again, and a question
//! never changes: it is neither read nor put into words twice.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use placet_core::id::ApprovalId;
use placet_core::request::ApprovalRequest;

/// How many are kept.
const KEPT: usize = 128;

/// A longer payload is not kept, in bytes: this is for speed, and must not take the memory that it is to save.
const LONGEST: usize = 4096;

/// The last questions, by their approval's id.
#[derive(Default)]
pub(crate) struct Lately(Mutex<Questions>);

#[derive(Default)]
struct Questions {
    by_id: HashMap<ApprovalId, Arc<ApprovalRequest>>,
    oldest_first: VecDeque<ApprovalId>,
}

impl Lately {
    /// Keeps a question; the oldest one makes room.
    pub(crate) fn keep(&self, asked: &Arc<ApprovalRequest>) {
        if asked.payload.as_str().len() > LONGEST {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let id = asked.approval_id.clone();
        if kept.by_id.insert(id.clone(), Arc::clone(asked)).is_some() {
            return;
        }
        kept.oldest_first.push_back(id);
        if kept.oldest_first.len() > KEPT
            && let Some(oldest) = kept.oldest_first.pop_front()
        {
            kept.by_id.remove(&oldest);
        }
    }

    /// The question of that approval, if it is still here.
    pub(crate) fn get(&self, id: &ApprovalId) -> Option<Arc<ApprovalRequest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).by_id.get(id).cloned()
    }
}

#[cfg(test)]
mod tests {
    use placet_core::Timestamp;
    use placet_core::payload::Payload;
    use placet_testkit::sample;

    use super::*;

    #[test]
    fn the_newest_are_kept_and_what_is_long_is_not() {
        let lately = Lately::default();
        let asked = |number: usize| {
            let at = Timestamp::from_millis(i64::try_from(number).unwrap());
            Arc::new(sample::asked("n8n", &format!("r{number}"), at))
        };
        let all: Vec<_> = (0..=KEPT).map(asked).collect();
        for asked in &all {
            lately.keep(asked);
            // Whoever loads it keeps it again: that makes it no younger, and takes no second place.
            lately.keep(asked);
        }
        assert_eq!(lately.get(&all[0].approval_id), None, "the oldest made room");
        for asked in &all[1..] {
            assert!(Arc::ptr_eq(&lately.get(&asked.approval_id).unwrap(), asked));
        }
        for (length, is_kept) in [(LONGEST, true), (LONGEST + 1, false)] {
            let text = serde_json::json!({ "a": "x".repeat(length - r#"{"a":""}"#.len()) });
            let mut long = (*asked(1000 + length)).clone();
            long.payload = Payload::new(text.as_object().unwrap()).unwrap();
            lately.keep(&Arc::new(long.clone()));
            assert_eq!(lately.get(&long.approval_id).is_some(), is_kept, "{length}");
        }
    }
}
