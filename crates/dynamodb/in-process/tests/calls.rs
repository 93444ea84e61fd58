//! How often each operation calls DynamoDB: that is what it costs, and how long it takes.

use std::sync::Arc;

use in_process::{StandIn, store_in};
use placet_core::Timestamp;
use placet_core::request::Status;
use placet_gate::ports::{Commit, Committed, Quota, Store, StoreQuery};
use placet_testkit::{FixedClock, sample};

const START: Timestamp = FixedClock::START;
const WRITE: &str = "TransactWriteItems";

#[tokio::test]
async fn each_operation_makes_as_few_calls_as_it_can() {
    let (stand_in, clock) = (StandIn::new(), FixedClock::new());
    let store = store_in(&stand_in, Arc::clone(&clock)).await;
    let calls = async |expected: &[&str]| assert_eq!(stand_in.take_calls(), expected);
    let quota = |limit| Some(Quota { client: sample::client("n8n"), minute: 0, limit, max_pending: 9 });

    // Asking, asking again, and asking the same under another name.
    let asked = sample::asked("n8n", "r1", START);
    let insert = Commit { quota: quota(9), ..sample::insert(&asked) };
    store.commit(insert.clone()).await.unwrap();
    calls(&[WRITE]).await;
    assert!(matches!(store.commit(insert).await.unwrap(), Committed::Lost(_)));
    calls(&[WRITE]).await;
    store.commit(sample::insert(&sample::asked("n8n", "r2", START))).await.unwrap();
    calls(&[WRITE, "GetItem", WRITE]).await;
    let over = Commit { quota: quota(0), ..sample::insert(&sample::asked_to_pay("n8n", "r3", START, 21)) };
    assert_eq!(store.commit(over).await.unwrap(), Committed::OverQuota);
    calls(&[WRITE, "GetItem"]).await;

    // Deciding.
    let request = store.load(asked.key()).await.unwrap().unwrap();
    store.commit(sample::end(&request, Status::Approved, START)).await.unwrap();
    calls(&["GetItem", WRITE]).await;
    let late = Commit { not_at_or_after: Some(START), ..sample::end(&request, Status::Rejected, START) };
    assert!(matches!(store.commit(late).await.unwrap(), Committed::Lost(_)));
    calls(&["GetItem"]).await;

    // Sending and sweeping.
    // The index by time has eight partitions of each kind, which are asked at once.
    store.closing(START, 256).await.unwrap();
    calls(&["Query"; 8]).await;
    let message = store.due_messages(START.plus_millis(60_000), 256).await.unwrap().remove(0);
    calls(&["Query"; 8]).await;
    store.next_due().await.unwrap();
    calls(&["Query"; 16]).await;
    assert!(store.claim(&message, 1, START).await.unwrap());
    calls(&["UpdateItem"]).await;
    store.ack(&message.id).await.unwrap();
    calls(&["DeleteItem"]).await;
    assert!(store.mark("old-secret/n8n/1", START.plus_millis(60_000)).await.unwrap());
    assert!(!store.mark("old-secret/n8n/1", START.plus_millis(60_000)).await.unwrap());
    calls(&["PutItem", "PutItem"]).await;
    clock.set(START.plus_millis(60_000));
    assert!(store.mark("old-secret/n8n/1", START.plus_millis(120_000)).await.unwrap());
    clock.set(START);
    stand_in.take_calls();

    // Looking. A watch reads nothing by itself.
    let query = StoreQuery { client: Some(sample::client("n8n")), status: None, limit: 20, before: None };
    assert_eq!(store.list(&query).await.unwrap().len(), 2);
    calls(&["Query", "BatchGetItem"]).await;
    assert_eq!(store.pending(None, 20).await.unwrap().len(), 1);
    calls(&[&["Query"; 8][..], &["BatchGetItem"]].concat()).await;
    assert_eq!(store.list(&StoreQuery { client: None, ..query }).await.unwrap().len(), 2);
    calls(&["Scan", "BatchGetItem"]).await;
    store.watch(asked.key()).changed().await;
    calls(&[]).await;
    store.hooks().await.unwrap();
    store.policy().await.unwrap();
    store.chain("policy").await.unwrap();
    calls(&["Query", "Query", "Query"]).await;
}

#[tokio::test]
async fn long_lists_come_in_pages_and_whole() {
    let stand_in = StandIn::new();
    let store = store_in(&stand_in, FixedClock::new()).await;
    let mut names = Vec::new();
    for number in 0..230_i64 {
        let asked = sample::asked("n8n", &format!("r{number}"), START.plus_millis(number));
        let commit = sample::insert(&asked);
        let commit = Commit { outbox: Vec::new(), audit: Vec::new(), ..commit };
        store.commit(commit).await.unwrap();
        names.push(asked.request_id.to_string());
    }
    let found = store.pending(None, usize::MAX).await.unwrap();
    let found: Vec<String> = found.iter().map(|request| request.asked().request_id.to_string()).collect();
    assert_eq!(found, names);
    stand_in.take_calls();
    let query = StoreQuery {
        client: Some(sample::client("n8n")),
        status: Some(Status::Pending),
        limit: 110,
        before: None,
    };
    let listed = store.list(&query).await.unwrap();
    let listed: Vec<String> = listed.iter().map(|request| request.asked().request_id.to_string()).collect();
    names.reverse();
    assert_eq!(listed, names[..110]);
    assert_eq!(stand_in.take_calls(), ["Query", "BatchGetItem", "BatchGetItem"]);
}

/// The policy's newness is looked at in one of many places, so that acts do not meet at one item.
#[tokio::test]
async fn an_act_under_an_older_policy_is_stopped_wherever_it_looks() {
    let stand_in = StandIn::new();
    let store = store_in(&stand_in, FixedClock::new()).await;
    let install = |version| Commit { policy: Some(sample::policy_record(version)), ..Commit::default() };
    for version in [1, 2] {
        assert_eq!(store.commit(install(version)).await.unwrap(), Committed::Done { pending_twin: None });
    }
    // Each of the 80 marks is missed with a chance of one in three hundred thousand.
    for number in 0..1_000 {
        let asked = sample::asked("n8n", &format!("r{number}"), START);
        let commit = Commit { policy_version: Some(1), ..sample::insert(&asked) };
        assert_eq!(store.commit(commit).await.unwrap(), Committed::PolicyMoved);
    }
    let commit = Commit { policy_version: Some(2), ..sample::insert(&sample::asked("n8n", "r", START)) };
    assert_eq!(store.commit(commit).await.unwrap(), Committed::Done { pending_twin: None });
}
