//! A value that is remembered for a while: one type for the policy, the subscriptions and the keys.

use std::sync::{Arc, PoisonError, RwLock};

use placet_core::Timestamp;

/// A value with the time at which it was last known to be current.
#[derive(Debug)]
pub struct Cached<T>(RwLock<Option<(Timestamp, Arc<T>)>>);

/// How a remembered value stands.
#[derive(Debug)]
pub enum Freshness<T> {
    /// It may be used.
    Fresh(Arc<T>),
    /// It is too old to be used without a look at the source.
    Stale(Arc<T>),
    /// There is none.
    Missing,
}

impl<T> Default for Cached<T> {
    fn default() -> Self {
        Self(RwLock::new(None))
    }
}

impl<T> Cached<T> {
    /// The value; fresh for `max_age_ms` after it was put, or for as long as nobody replaces it.
    ///
    /// A clock that was set back makes a value stale, not young.
    pub fn get(&self, now: Timestamp, max_age_ms: Option<i64>) -> Freshness<T> {
        match &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            None => Freshness::Missing,
            Some((put_at, value)) => {
                let young = max_age_ms.is_none_or(|max| now.millis_since(*put_at).saturating_abs() <= max);
                if young { Freshness::Fresh(Arc::clone(value)) } else { Freshness::Stale(Arc::clone(value)) }
            }
        }
    }

    /// The value, however old it is.
    pub fn last(&self) -> Option<Arc<T>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(_, value)| Arc::clone(value))
    }

    /// Remembers a value that is current now.
    pub fn put(&self, now: Timestamp, value: Arc<T>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some((now, value));
    }

    /// Forgets it.
    pub fn forget(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_fresh_for_its_time_whichever_way_the_clock_moves() {
        let cached = Cached::default();
        let at = Timestamp::from_millis;
        assert!(matches!(cached.get(at(0), Some(5)), Freshness::Missing));
        cached.put(at(100), Arc::new("v"));
        assert!(matches!(cached.get(at(105), Some(5)), Freshness::Fresh(_)));
        assert!(matches!(cached.get(at(106), Some(5)), Freshness::Stale(_)));
        assert!(matches!(cached.get(at(94), Some(5)), Freshness::Stale(_)));
        assert!(matches!(cached.get(at(9_999_999), None), Freshness::Fresh(_)));
        cached.forget();
        assert!(cached.last().is_none());
    }
}
