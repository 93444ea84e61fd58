//! Waiting for a change. DynamoDB does not call back, so a watch is a clock: nothing is read here.

use std::time::Duration;

use async_trait::async_trait;
use placet_gate::ports::Watch;

/// The first wait: somebody who decides at once is seen at once.
const FIRST: Duration = Duration::from_millis(50);

/// The longest wait: one read a second for each waiter.
const LONGEST: Duration = Duration::from_secs(1);

/// Says after a while that something may have changed, each time a little later.
///
/// Whoever is woken loads the request, and that load is the poll: a read of our own before it would find out nothing
/// that the load does not, and cost as much. A change is never missed, only seen up to a second later.
pub(crate) struct Poll {
    wait: Duration,
}

impl Poll {
    /// A watch from now on.
    pub(crate) const fn new() -> Self {
        Self { wait: FIRST }
    }
}

#[async_trait]
impl Watch for Poll {
    async fn changed(&mut self) {
        tokio::time::sleep(self.wait).await;
        self.wait = self.wait.saturating_mul(2).min(LONGEST);
    }
}
