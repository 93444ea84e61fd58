//! What is long over is forgotten. (DynamoDB does this by itself, with its TTL.)

use placet_core::Timestamp;
use placet_core::request::Status;
use placet_gate::ports::{Committed, Store as _, StoreQuery};
use placet_sqlite::SqliteStore;
use placet_testkit::{FixedClock, sample};

#[tokio::test]
async fn old_ends_are_forgotten_with_their_messages_and_the_trail_and_what_waits_never() {
    let start = FixedClock::START;
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("gate.db"), FixedClock::new()).unwrap();
    let mut requests = Vec::new();
    for (number, ends_at) in [(0, Some(100)), (1, Some(99)), (2, Some(98)), (3, None)] {
        let asked = sample::asked("n8n", &format!("r{number}"), start.plus_millis(number));
        let inserted = store.commit(sample::insert(&asked)).await.unwrap();
        assert!(matches!(inserted, Committed::Done { .. }));
        if let Some(ends_at) = ends_at {
            let request = store.load(asked.key()).await.unwrap().unwrap();
            let end = sample::end(&request, Status::Rejected, start.plus_millis(ends_at));
            assert!(matches!(store.commit(end).await.unwrap(), Committed::Done { .. }));
        }
        requests.push(asked);
    }
    let before = start.plus_millis(100);
    assert_eq!(store.purge(before, 1).await.unwrap(), 1);
    assert_eq!(store.purge(before, 10).await.unwrap(), 1);
    assert_eq!(store.purge(before, 10).await.unwrap(), 0);
    let outbox = store.due_messages(Timestamp::from_millis(i64::MAX), 100).await.unwrap();
    let mut left = Vec::new();
    for asked in &requests {
        left.push((
            store.load(asked.key()).await.unwrap().is_some(),
            outbox.iter().filter(|message| message.subject.key() == Some(asked.key())).count(),
            store.audit_of(asked.approval_id.as_str()).await.unwrap().len(),
        ));
    }
    assert_eq!(left, [(true, 2, 4), (false, 0, 4), (false, 0, 4), (true, 1, 2)]);
    let all = StoreQuery { client: Some(sample::client("n8n")), status: None, limit: 10, before: None };
    assert_eq!(store.list(&all).await.unwrap().len(), 2);
    // Its name is free again, and its chain belongs to the old approval.
    let again = sample::asked("n8n", "r1", start.plus_millis(5000));
    assert!(matches!(store.commit(sample::insert(&again)).await.unwrap(), Committed::Done { .. }));
    let found = store.load(again.key()).await.unwrap().unwrap();
    assert_eq!(**found.asked(), again);
    assert_ne!(again.approval_id, requests[1].approval_id);
    let reloaded = store.load(again.key()).await.unwrap().unwrap();
    assert!(
        std::sync::Arc::ptr_eq(found.asked(), reloaded.asked()),
        "what was asked a moment ago is not read again"
    );
}
