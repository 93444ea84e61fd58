//! What DynamoDB's TTL forgets, and when.

use std::sync::Arc;

use in_process::{StandIn, store_in};
use placet_core::request::Status;
use placet_dynamodb::Keep;
use placet_gate::ports::{Clock as _, Committed, Hook, Store as _, StoreQuery};
use placet_testkit::{FixedClock, sample};

const DONE: Committed = Committed::Done { pending_twin: None };

#[tokio::test]
async fn old_ends_are_forgotten_before_the_trail_and_what_waits_never() {
    let clock = FixedClock::new();
    let stand_in = StandIn::with_clock(Arc::clone(&clock));
    let store = store_in(&stand_in, Arc::clone(&clock)).await;
    let keep = Keep::default();

    let (ended, waiting) =
        (sample::asked("n8n", "ended", clock.now()), sample::asked_to_pay("n8n", "waiting", clock.now(), 7));
    for asked in [&ended, &waiting] {
        assert_eq!(store.commit(sample::insert(asked)).await.unwrap(), DONE);
    }
    let request = store.load(ended.key()).await.unwrap().unwrap();
    let ends_at = clock.now().plus_millis(1000);
    assert_eq!(store.commit(sample::end(&request, Status::Rejected, ends_at)).await.unwrap(), DONE);
    let hook = sample::hook("auditor", 1);
    store.add_hook(&hook).await.unwrap();
    let entries = async |asked: &placet_core::request::ApprovalRequest| {
        store.audit_of(asked.approval_id.as_str()).await.unwrap().len()
    };

    clock.set(ends_at.plus_millis(keep.ended_seconds * 1000 - 1000));
    stand_in.expire();
    assert!(store.load(ended.key()).await.unwrap().is_some());

    clock.advance(2000);
    assert!(stand_in.expire() > 0);
    assert_eq!(store.load(ended.key()).await.unwrap(), None);
    assert!(store.load(waiting.key()).await.unwrap().is_some());
    assert_eq!((entries(&ended).await, entries(&waiting).await), (4, 2));
    let all = StoreQuery { client: Some(sample::client("n8n")), status: None, limit: 10, before: None };
    assert_eq!(store.list(&all).await.unwrap().len(), 1);
    // Its name is free again.
    assert_eq!(
        store.commit(sample::insert(&sample::asked("n8n", "ended", clock.now()))).await.unwrap(),
        DONE
    );

    clock.set(FixedClock::START.plus_millis((keep.audit_seconds + 7 * 86_400 + 2) * 1000));
    stand_in.expire();
    assert_eq!(entries(&ended).await, 0);
    assert!(store.load(waiting.key()).await.unwrap().is_some(), "what waits is never forgotten");
    let hooks: Vec<Hook> = store.hooks().await.unwrap().to_vec();
    assert_eq!(hooks, [hook]);
}
