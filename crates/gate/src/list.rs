//! A client's own requests, newest first.

use placet_core::id::{ApprovalId, ClientId};
use placet_core::policy::ClientRole;
use placet_core::request::{Request, Status};

use crate::authenticate::Caller;
use crate::ports::StoreQuery;
use crate::{Error, Gate};

/// Which of its requests a client wants to see.
#[derive(Clone, Debug)]
pub struct ListQuery {
    /// Only those with this status.
    pub status: Option<Status>,
    /// At most so many, 1–100.
    pub limit: usize,
    /// Only those older than this one.
    pub before: Option<ApprovalId>,
}

impl Gate {
    /// One page of a client's requests, and where the next page begins.
    pub async fn list(
        &self,
        caller: &Caller,
        query: ListQuery,
    ) -> Result<(Vec<Request>, Option<ApprovalId>), Error> {
        caller.must_be(ClientRole::Requester)?;
        self.page(Some(&caller.client.id), query).await
    }

    /// One page of all clients' requests, newest first: the operator's view.
    pub async fn list_all(&self, query: ListQuery) -> Result<(Vec<Request>, Option<ApprovalId>), Error> {
        self.page(None, query).await
    }

    async fn page(
        &self,
        client: Option<&ClientId>,
        query: ListQuery,
    ) -> Result<(Vec<Request>, Option<ApprovalId>), Error> {
        let limit = query.limit;
        let mut requests = self
            .store
            .list(&StoreQuery {
                client: client.cloned(),
                status: query.status,
                limit: limit.saturating_add(1),
                before: query.before,
            })
            .await?;
        let more = requests.len() > limit;
        requests.truncate(limit);
        let next = requests.last().filter(|_| more).map(|request| request.asked().approval_id.clone());
        // Whoever reads a request past its deadline settles it.
        let now = self.clock.now();
        for request in &mut requests {
            if request.is_overdue(now) {
                *request = self.settle(request.clone()).await?;
            }
        }
        if let Some(status) = query.status {
            requests.retain(|request| request.status() == status);
        }
        Ok((requests, next))
    }
}
