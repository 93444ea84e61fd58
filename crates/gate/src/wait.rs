//! Reading a request, or waiting for its end: the long poll.

use std::time::Duration;

use placet_core::id::{RequestId, RequestKey};
use placet_core::policy::ClientRole;
use placet_core::request::Request;
use tokio::time::Instant;

use crate::authenticate::Caller;
use crate::{Error, Gate};

/// The shortest and the longest pause between two looks of a client, in seconds.
const PAUSE_SECONDS: (i64, i64) = (2, 30);

/// By how many times a request is older than the pause before the next look at it.
const AGE_FACTOR: i64 = 20;

/// After how many seconds a client that looks again by itself had better do so, by the age of the request.
///
/// Whoever has waited for two minutes looks every seven seconds, after some forty looks.
pub fn look_again_seconds(age_ms: i64) -> u32 {
    let (shortest, longest) = PAUSE_SECONDS;
    let pause = age_ms.div_euclid(AGE_FACTOR * 1000).saturating_add(1).clamp(shortest, longest);
    u32::try_from(pause).unwrap_or(u32::MAX)
}

impl Gate {
    /// Whether a caller that looks again by itself is told when, instead of being held.
    pub const fn paces_looks(&self) -> bool {
        self.settings.paces_looks
    }

    /// When a caller that looks again by itself had better do so, in seconds; none once the request has ended.
    pub fn look_again_in(&self, request: &Request) -> Option<u32> {
        let pending = request.pending()?;
        let now = self.clock.now();
        let pause = look_again_seconds(now.millis_since(request.asked().created_at));
        // What ends with this stage is heard of soon after it.
        let left = pending.closes_at.millis_since(now).max(0) / 1000 + 1;
        Some(pause.min(u32::try_from(left).unwrap_or(u32::MAX)))
    }

    /// A client's own request: now, or as soon as it ends, at the latest after `wait`.
    pub async fn wait(
        &self,
        caller: &Caller,
        request_id: &RequestId,
        wait: Duration,
    ) -> Result<Request, Error> {
        caller.must_be(ClientRole::Requester)?;
        let key = RequestKey::of(&caller.client.id, request_id);
        if wait.is_zero() {
            return self.settled(key).await;
        }
        let until = Instant::now() + wait;
        let mut watch = self.store.watch(key);
        loop {
            let request = self.settled(key).await?;
            let Some(pending) = request.pending() else { return Ok(request) };
            if Instant::now() >= until {
                return Ok(request);
            }
            // The waiter also wakes at the deadline, and settles it: it need not wait for the sweep.
            let left_ms = pending.closes_at.millis_since(self.clock.now()).max(1);
            let closes = Instant::now() + Duration::from_millis(u64::try_from(left_ms).unwrap_or(1));
            tokio::select! {
                () = watch.changed() => {}
                () = tokio::time::sleep_until(until.min(closes)) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_become_rare_as_a_request_grows_old() {
        let pauses = [0, 39_999, 40_000, 60_000, 119_000, 120_000, 580_000, 3_600_000, i64::MAX, -5_000];
        assert_eq!(pauses.map(look_again_seconds), [2, 2, 3, 4, 6, 7, 30, 30, 30, 2]);
        let (mut age_s, mut looks) = (0, 0);
        while age_s < 125 {
            age_s += i64::from(look_again_seconds(age_s * 1000));
            looks += 1;
        }
        assert_eq!(looks, 40);
    }
}
