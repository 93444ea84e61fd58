//! Requests that are alike, where the store's own bookkeeping must be right.

use std::sync::Arc;

use in_process::{StandIn, store_in, tables};
use placet_core::Timestamp;
use placet_core::request::Status;
use placet_dynamodb::DynamoStore;
use placet_gate::ports::{Commit, Committed, Store};
use placet_testkit::{FixedClock, sample};

const START: Timestamp = FixedClock::START;

async fn begin() -> (StandIn, DynamoStore) {
    let stand_in = StandIn::new();
    let store = store_in(&stand_in, FixedClock::new()).await;
    (stand_in, store)
}

/// Asks to pay 20, and returns which older request for the same waits.
async fn ask(store: &DynamoStore, request_id: &str, at: i64) -> Option<String> {
    let commit = sample::insert(&sample::asked("n8n", request_id, START.plus_millis(at)));
    match store.commit(commit).await.unwrap() {
        Committed::Done { pending_twin } => pending_twin.map(|duplicate| duplicate.to_string()),
        other => Some(format!("{other:?}")),
    }
}

async fn end(store: &DynamoStore, request_id: &str) -> Commit {
    let request = store.load(sample::key("n8n", request_id)).await.unwrap().unwrap();
    sample::end(&request, Status::Approved, START)
}

/// Who is remembered to wait.
fn waiting(stand_in: &StandIn) -> usize {
    let items = stand_in.items(&tables().requests);
    items.iter().filter_map(|item| item["waiting"]["SS"].as_array()).map(Vec::len).sum()
}

#[tokio::test]
async fn the_oldest_that_still_waits_is_named() {
    let (stand_in, store) = begin().await;
    assert_eq!(ask(&store, "r1", 1).await, None);
    assert_eq!(ask(&store, "r2", 2).await, Some("r1".into()));
    assert_eq!(ask(&store, "r3", 3).await, Some("r1".into()));
    store.commit(end(&store, "r1").await).await.unwrap();
    assert_eq!(ask(&store, "r4", 4).await, Some("r2".into()));
    for request_id in ["r2", "r3", "r4"] {
        store.commit(end(&store, request_id).await).await.unwrap();
    }
    assert_eq!(waiting(&stand_in), 0);
    assert_eq!(ask(&store, "r5", 5).await, None);
}

#[tokio::test]
async fn what_policy_decides_at_once_is_told_of_a_duplicate_and_is_none() {
    let (stand_in, store) = begin().await;
    let at_once = async |request_id: &str| {
        let mut asked = sample::asked("n8n", request_id, START);
        asked.summary = sample::AT_ONCE.into();
        store.commit(sample::insert(&asked)).await.unwrap()
    };
    assert_eq!(at_once("r1").await, Committed::Done { pending_twin: None });
    assert_eq!(waiting(&stand_in), 0);
    assert_eq!(ask(&store, "r2", 2).await, None);
    let duplicate = sample::asked("n8n", "r2", START).request_id;
    assert_eq!(at_once("r3").await, Committed::Done { pending_twin: Some(duplicate) });
    assert_eq!(waiting(&stand_in), 1);
}

#[tokio::test]
async fn one_that_was_not_taken_off_the_list_is_noticed() {
    let (stand_in, store) = begin().await;
    assert_eq!(ask(&store, "r1", 1).await, None);
    // Without its entry, nothing says what it asked for.
    store.commit(Commit { audit: Vec::new(), ..end(&store, "r1").await }).await.unwrap();
    assert_eq!(waiting(&stand_in), 1);
    assert_eq!(ask(&store, "r2", 2).await, None);
    assert_eq!(waiting(&stand_in), 1);
    assert_eq!(ask(&store, "r3", 3).await, Some("r2".into()));
}

#[tokio::test]
async fn a_loop_that_asks_the_same_without_end_does_not_fill_the_list() {
    let (stand_in, store) = begin().await;
    assert_eq!(ask(&store, "r0", 0).await, None);
    for number in 1..=103_i64 {
        assert_eq!(ask(&store, &format!("r{number}"), number).await, Some("r0".into()));
    }
    assert_eq!(waiting(&stand_in), 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_duplicates_that_come_at_once_all_but_one_are_told() {
    let (stand_in, store) = begin().await;
    let store = Arc::new(store);
    let tasks: Vec<_> = (0..8)
        .map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { ask(&store, &format!("r{number}"), number).await })
        })
        .collect();
    let mut alone = 0;
    for task in tasks {
        alone += usize::from(task.await.unwrap().is_none());
    }
    assert_eq!((alone, waiting(&stand_in)), (1, 8));
}
