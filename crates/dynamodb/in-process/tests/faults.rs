//! What goes wrong on the way to DynamoDB: lost answers, throttling, conflicts, and a clock that goes on meanwhile.

use std::sync::Arc;

use in_process::Mishap::{AnswerLost, Conflict, Refused, ServerError, Unreachable};
use in_process::{StandIn, store_in};
use placet_core::Timestamp;
use placet_core::request::{Request, Status};
use placet_dynamodb::DynamoStore;
use placet_gate::ports::{Commit, Committed, OutboxMessage, Quota, RequestWrite, Store};
use placet_testkit::{FixedClock, sample};

const START: Timestamp = FixedClock::START;
const DONE: Committed = Committed::Done { pending_twin: None };
const WRITE: &str = "TransactWriteItems";

async fn begin() -> (StandIn, DynamoStore, Arc<FixedClock>) {
    let (stand_in, clock) = (StandIn::new(), FixedClock::new());
    let store = store_in(&stand_in, clock.clone()).await;
    (stand_in, store, clock)
}

async fn inserted(store: &DynamoStore) -> Request {
    let asked = sample::asked("n8n", "r1", START);
    assert_eq!(store.commit(sample::insert(&asked)).await.unwrap(), DONE);
    store.load(asked.key()).await.unwrap().unwrap()
}

async fn everything_due(store: &DynamoStore) -> Vec<OutboxMessage> {
    store.due_messages(Timestamp::from_millis(i64::MAX), usize::MAX).await.unwrap()
}

fn ending(request: &Request) -> Commit {
    let pending = request.pending().unwrap();
    Commit {
        not_at_or_after: Some(pending.closes_at),
        ..sample::end(request, Status::Approved, START.plus_millis(5))
    }
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_ours_and_happened_once() {
    for lost in [AnswerLost, ServerError] {
        let (stand_in, store, _) = begin().await;
        let asked = sample::asked("n8n", "r1", START);
        let quota =
            Quota { client: sample::client("n8n"), minute: START.seconds() / 60, limit: 2, max_pending: 9 };
        let insert = Commit { quota: Some(quota.clone()), ..sample::insert(&asked) };
        stand_in.let_go_wrong(WRITE, [lost.clone(), lost.clone()]);
        assert_eq!(store.commit(insert).await.unwrap(), DONE, "{lost:?}");
        assert_eq!(stand_in.take_calls(), [WRITE; 3]);
        let request = store.load(asked.key()).await.unwrap().unwrap();
        stand_in.let_go_wrong(WRITE, [lost.clone()]);
        assert_eq!(store.commit(ending(&request)).await.unwrap(), DONE, "{lost:?}");
        assert_eq!(store.load(asked.key()).await.unwrap().unwrap().version(), 2);
        assert_eq!(store.audit_of(asked.approval_id.as_str()).await.unwrap().len(), 4);
        // The allowance of two has one left.
        let again = |name| Commit {
            quota: Some(quota.clone()),
            ..sample::insert(&sample::asked_to_pay("n8n", name, START, 21))
        };
        assert_eq!(store.commit(again("r2")).await.unwrap(), DONE);
        assert_eq!(store.commit(again("r3")).await.unwrap(), Committed::OverQuota);
    }
}

#[tokio::test]
async fn throttling_and_conflicts_are_waited_out() {
    let (stand_in, store, _) = begin().await;
    let request = inserted(&store).await;
    stand_in.take_calls();
    let mishaps = [
        Refused("ProvisionedThroughputExceededException"),
        Refused("ThrottlingException"),
        Refused("RequestLimitExceeded"),
        Refused("TransactionInProgressException"),
        Conflict,
        Unreachable,
    ];
    stand_in.let_go_wrong(WRITE, mishaps);
    assert_eq!(store.commit(ending(&request)).await.unwrap(), DONE);
    assert_eq!(stand_in.take_calls(), [WRITE; 7]);
}

#[tokio::test]
async fn whoever_loses_the_race_behind_a_conflict_gets_the_winner() {
    let (stand_in, store, _) = begin().await;
    let request = inserted(&store).await;
    assert_eq!(store.commit(ending(&request)).await.unwrap(), DONE);
    let winner = store.load(request.asked().key()).await.unwrap().unwrap();
    stand_in.let_go_wrong(WRITE, [Conflict, Unreachable]);
    let late = sample::end(&request, Status::Rejected, START.plus_millis(6));
    assert_eq!(store.commit(late).await.unwrap(), Committed::Lost(Box::new(winner)));
}

#[tokio::test]
async fn what_goes_on_for_too_long_is_a_fault_and_writes_nothing() {
    let (stand_in, store, _) = begin().await;
    let request = inserted(&store).await;
    stand_in.let_go_wrong(WRITE, vec![Conflict; 10]);
    assert!(store.commit(ending(&request)).await.is_err());
    assert_eq!(store.load(request.asked().key()).await.unwrap(), Some(request));
}

#[tokio::test]
async fn what_will_never_work_is_not_tried_again() {
    let (stand_in, store, _) = begin().await;
    stand_in.let_go_wrong(WRITE, [Refused("ResourceNotFoundException")]);
    let fault = store.commit(sample::insert(&sample::asked("n8n", "r1", START))).await.unwrap_err();
    assert_eq!(fault.to_string(), "the database could not be written");
    assert_eq!(stand_in.take_calls(), [WRITE]);
}

#[tokio::test]
async fn a_deadline_that_passes_between_two_tries_is_too_late() {
    let (stand_in, store, clock) = begin().await;
    let request = inserted(&store).await;
    let commit = ending(&request);
    let closes_at = commit.not_at_or_after.unwrap();
    stand_in.let_go_wrong(WRITE, [Conflict]);
    stand_in.on_arrival(move |_| clock.set(closes_at));
    stand_in.take_calls();
    assert_eq!(store.commit(commit).await.unwrap(), Committed::Late);
    assert_eq!(stand_in.take_calls(), [WRITE, "GetItem"]);
    assert_eq!(store.load(request.asked().key()).await.unwrap(), Some(request));
}

#[tokio::test]
async fn a_write_in_time_whose_answer_was_lost_is_done_though_the_deadline_has_passed() {
    let (stand_in, store, clock) = begin().await;
    let request = inserted(&store).await;
    let commit = ending(&request);
    let closes_at = commit.not_at_or_after.unwrap();
    stand_in.let_go_wrong(WRITE, [AnswerLost]);
    stand_in.on_arrival(move |_| clock.set(closes_at));
    assert_eq!(store.commit(commit).await.unwrap(), DONE);
    assert_eq!(store.load(request.asked().key()).await.unwrap().unwrap().status(), Status::Approved);
}

#[tokio::test]
async fn what_may_still_be_on_its_way_at_the_deadline_is_a_fault_and_not_late() {
    let (stand_in, store, clock) = begin().await;
    let request = inserted(&store).await;
    let commit = ending(&request);
    let closes_at = commit.not_at_or_after.unwrap();
    stand_in.let_go_wrong(WRITE, [Unreachable]);
    stand_in.on_arrival(move |_| clock.set(closes_at));
    let fault = store.commit(commit).await.unwrap_err();
    assert_eq!(fault.to_string(), "whether the database has written is not known");
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_ours() {
    for lost in [AnswerLost, ServerError] {
        let (stand_in, store, _) = begin().await;
        inserted(&store).await;
        let seen = everything_due(&store).await.remove(0);
        let lease = START.plus_millis(60_000);
        stand_in.let_go_wrong("UpdateItem", [lost]);
        assert!(store.claim(&seen, seen.attempt, lease).await.unwrap());
        // Another with the very same wish comes too late.
        assert!(!store.claim(&seen, seen.attempt, lease).await.unwrap());
        let left = everything_due(&store).await;
        assert_eq!(left, [OutboxMessage { due_at: lease, ..seen }]);
    }
}

#[tokio::test]
async fn an_end_is_final_even_against_a_wrong_rule() {
    let (_, store, _) = begin().await;
    let request = inserted(&store).await;
    assert_eq!(store.commit(ending(&request)).await.unwrap(), DONE);
    let ended = store.load(request.key()).await.unwrap().unwrap();
    let wrong = [
        sample::small_change(&request, START),
        sample::end(&request, Status::Rejected, START.plus_millis(5)),
        sample::end(&request, Status::Approved, START.plus_millis(6)),
    ];
    for mut commit in wrong {
        if let Some(RequestWrite::Update { from_version, .. }) = &mut commit.request {
            *from_version = ended.version();
        }
        let fault = store.commit(Commit { audit: Vec::new(), ..commit }).await.unwrap_err();
        assert_eq!(fault.to_string(), "a request that has ended never changes");
    }
    assert_eq!(store.load(ended.key()).await.unwrap(), Some(ended));
}

#[tokio::test]
async fn a_policy_that_comes_into_force_behind_a_conflict_stops_what_was_decided_before_it() {
    let (stand_in, store, _) = begin().await;
    let request = inserted(&store).await;
    let install = |version| Commit { policy: Some(sample::policy_record(version)), ..Commit::default() };
    for version in [1, 2] {
        assert_eq!(store.commit(install(version)).await.unwrap(), DONE);
    }
    stand_in.let_go_wrong(WRITE, [Conflict, Unreachable]);
    let under_the_first = Commit { policy_version: Some(1), ..ending(&request) };
    assert_eq!(store.commit(under_the_first).await.unwrap(), Committed::PolicyMoved);
    assert_eq!(store.load(request.key()).await.unwrap(), Some(request));
}

#[tokio::test]
async fn what_waits_is_counted_once_though_answers_are_lost() {
    let (stand_in, store, _) = begin().await;
    let quota = Quota { client: sample::client("n8n"), minute: 0, limit: 9, max_pending: 1 };
    let ask = |name| Commit {
        quota: Some(quota.clone()),
        ..sample::insert(&sample::asked_to_pay("n8n", name, START, 21))
    };
    stand_in.let_go_wrong(WRITE, [AnswerLost, ServerError]);
    assert_eq!(store.commit(ask("r1")).await.unwrap(), DONE);
    assert_eq!(store.commit(ask("r2")).await.unwrap(), Committed::TooManyPending);
    let request = store.load(sample::key("n8n", "r1")).await.unwrap().unwrap();
    stand_in.let_go_wrong(WRITE, [AnswerLost, ServerError]);
    assert_eq!(store.commit(ending(&request)).await.unwrap(), DONE);
    assert_eq!(store.commit(ask("r2")).await.unwrap(), DONE);
    assert_eq!(store.commit(ask("r3")).await.unwrap(), Committed::TooManyPending);
}

#[tokio::test]
async fn what_a_newer_version_wrote_is_named_as_that() {
    let (stand_in, store, _) = begin().await;
    let request = inserted(&store).await;
    store.add_hook(&sample::hook("n8n", 1)).await.unwrap();
    let policy = Commit { policy: Some(sample::policy_record(1)), ..Commit::default() };
    assert_eq!(store.commit(policy).await.unwrap(), DONE);
    let items = stand_in.items(&in_process::tables().requests);
    assert!(items.iter().all(|item| item["v"]["N"] == "1"), "{items:#?}");
    for item in items {
        stand_in.put(&in_process::tables().requests, &item, |item| item["v"]["N"] = "2".into());
    }
    let faults = [
        store.load(request.key()).await.unwrap_err(),
        store.due_messages(START.plus_millis(60_000), 9).await.unwrap_err(),
        store.hooks().await.unwrap_err(),
        store.policy().await.unwrap_err(),
        store.pending(None, 9).await.unwrap_err(),
    ];
    for fault in faults {
        assert_eq!(fault.to_string(), placet_gate::stored::NEWER);
    }
}

#[tokio::test]
async fn an_act_with_more_messages_than_a_transaction_takes_is_a_fault() {
    let (stand_in, store, _) = begin().await;
    let asked = sample::asked("n8n", "r1", START);
    let message = sample::notification(&asked, START);
    let outbox =
        (0..100).map(|number| OutboxMessage { id: format!("{}{number}", message.id), ..message.clone() });
    let commit = Commit { outbox: outbox.collect(), ..sample::insert(&asked) };
    assert!(store.commit(commit).await.is_err());
    assert_eq!(stand_in.take_calls(), Vec::<String>::new());
}
