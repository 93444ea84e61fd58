//! What every store promises, one promise a function. [`crate::store_contract`] makes a test of each.
//!
//! A store that is slower, or far away, passes the same ones: nothing here measures time, and only a wake-up that never
//! comes runs into a limit.

use std::sync::Arc;
use std::time::Duration;

use placet_core::Timestamp;
use placet_core::audit::{ChainHead, Event};
use placet_core::request::{EndStatus, Request};
use placet_gate::ports::{Closing, Commit, Committed, Outgoing, Quota, RequestWrite, StoreQuery};

use crate::{FixedClock, Subject, sample};

/// How long a wake-up may take before it counts as lost.
const LOST: Duration = Duration::from_secs(20);

const START: Timestamp = FixedClock::START;

/// Makes a test of each promise. `$make` is an `async fn(Arc<FixedClock>) -> Subject`.
#[macro_export]
macro_rules! store_contract {
    ($make:path) => {
        $crate::store_contract! { @each $make:
            what_was_inserted_is_loaded
            a_second_insert_gets_the_winner_and_leaves_nothing
            an_update_is_the_next_version
            a_stale_update_gets_the_winner_and_leaves_nothing
            an_update_of_nothing_is_a_fault
            a_taken_place_in_the_trail_stops_the_whole_commit
            a_commit_is_late_from_its_limit_on
            an_allowance_counts_what_was_written
            an_allowance_is_of_one_client_and_one_minute
            a_lost_insert_is_lost_though_late_and_over_quota
            an_older_twin_that_waits_is_named
            closing_requests_come_the_earliest_first
            due_messages_come_the_oldest_first
            the_next_due_time_is_the_earliest_of_all
            a_message_is_claimed_by_one_of_many
            what_was_moved_or_sent_cannot_be_claimed
            a_sent_message_is_forgotten
            messages_are_found_by_their_request
            lists_are_newest_first_and_go_on_where_they_stopped
            a_list_can_be_of_one_status
            pending_requests_come_the_oldest_first
            a_watch_wakes_when_its_request_changes
            a_change_between_the_watch_and_the_wait_is_not_lost
            no_wake_up_is_lost_in_a_crowd
            subscriptions_come_and_go
            a_policy_version_is_installed_once
            a_chain_ends_with_its_last_entry
            one_of_many_inserts_wins_and_all_see_it
            one_of_many_updates_wins_and_all_see_it
            one_of_many_entries_gets_a_place_in_the_trail
            a_read_sees_every_commit_that_returned
        }
    };
    (@each $make:path: $($promise:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $promise() {
            let subject = $make($crate::FixedClock::new()).await;
            $crate::contract::$promise(&subject).await;
        }
    )*};
}

/// What was inserted is what is loaded, and what hangs on it is there too.
pub async fn what_was_inserted_is_loaded(subject: &Subject) {
    let asked = sample::asked("n8n", "r1", START);
    assert_eq!(load(subject, &asked).await, None);
    let commit = sample::insert(&asked);
    done(subject, commit.clone()).await;
    assert_eq!(load(subject, &asked).await, Some(first(&commit)));
    assert_eq!(subject.trail.audit_of(asked.approval_id.as_str()).await, commit.audit);
    assert_eq!(outgoing(subject, &asked).await, commit.outgoing);
    assert_eq!(load(subject, &sample::asked("n8n", "r2", START)).await, None);
    assert_eq!(load(subject, &sample::asked("zapier", "r1", START)).await, None);
}

/// A second insert of a key is lost to the first, and nothing of it is written.
pub async fn a_second_insert_gets_the_winner_and_leaves_nothing(subject: &Subject) {
    let asked = sample::asked("n8n", "r1", START);
    let other = sample::asked_to_pay("n8n", "r1", START.plus_millis(1), 5000);
    let commit = sample::insert(&asked);
    done(subject, commit.clone()).await;
    let lost = subject.store.commit(sample::insert(&other)).await.unwrap();
    assert_eq!(lost, Committed::Lost(Box::new(first(&commit))));
    assert_eq!(load(subject, &asked).await, Some(first(&commit)));
    assert_eq!(outgoing(subject, &asked).await, commit.outgoing);
    assert_eq!(subject.trail.audit_of(other.approval_id.as_str()).await, []);
}

/// An update makes the next version; what was asked stays as it was.
pub async fn an_update_is_the_next_version(subject: &Subject) {
    let request = inserted(subject, "n8n", "r1", START).await;
    let commit = sample::end(&request, EndStatus::Approved, START.plus_millis(5));
    done(subject, commit.clone()).await;
    let next = updated(&request, &commit);
    assert_eq!(next.version, 2);
    assert_eq!(load(subject, &request.asked).await, Some(next));
    let events: Vec<Event> =
        subject.trail.audit_of(request.asked.approval_id.as_str()).await.iter().map(|e| e.event).collect();
    assert_eq!(events, [Event::Asked, Event::Approved]);
}

/// An update from another version than the stored one is lost, and nothing of it is written.
pub async fn a_stale_update_gets_the_winner_and_leaves_nothing(subject: &Subject) {
    let request = inserted(subject, "n8n", "r1", START).await;
    let winner = sample::end(&request, EndStatus::Rejected, START.plus_millis(5));
    done(subject, winner.clone()).await;
    let winner = updated(&request, &winner);
    let before = (outgoing(subject, &request.asked).await, trail(subject, &request.asked).await);
    let mut late = sample::end(&request, EndStatus::Approved, START.plus_millis(6));
    late.outgoing = vec![sample::letter(&sample::asked("n8n", "r9", START), START)];
    late.policy = Some(sample::policy_record(1));
    for from in [1, 3] {
        let mut late = late.clone();
        if let Some(RequestWrite::Update { from_version, .. }) = &mut late.request {
            *from_version = from;
        }
        let lost = subject.store.commit(late).await.unwrap();
        assert_eq!(lost, Committed::Lost(Box::new(winner.clone())));
    }
    assert_eq!(load(subject, &request.asked).await, Some(winner));
    assert_eq!((outgoing(subject, &request.asked).await, trail(subject, &request.asked).await), before);
    assert_eq!(subject.store.outgoing_of(sample::key("n8n", "r9")).await.unwrap(), []);
    assert_eq!(subject.store.policy().await.unwrap(), None);
}

/// An update of a request that is not there is our own fault, and writes nothing.
pub async fn an_update_of_nothing_is_a_fault(subject: &Subject) {
    let asked = sample::asked("n8n", "r1", START);
    let request = first(&sample::insert(&asked));
    let commit = sample::end(&request, EndStatus::Approved, START);
    assert!(subject.store.commit(commit).await.is_err());
    assert_eq!(load(subject, &asked).await, None);
    assert_eq!(outgoing(subject, &asked).await, []);
    assert_eq!(trail(subject, &asked).await, 0);
}

/// Where one entry's place is taken, nothing of the commit is written.
pub async fn a_taken_place_in_the_trail_stops_the_whole_commit(subject: &Subject) {
    let request = inserted(subject, "n8n", "r1", START).await;
    let mut commit = sample::end(&request, EndStatus::Approved, START.plus_millis(5));
    // The second entry is at the place of the first one, which the insert wrote.
    let mut chain = ChainHead::default();
    let draft = sample::draft(Event::Rejected, START);
    commit.audit.push(chain.append(request.asked.approval_id.as_str(), Some(&request.asked.about()), draft));
    commit.policy = Some(sample::policy_record(1));
    let before = outgoing(subject, &request.asked).await;
    assert_eq!(subject.store.commit(commit.clone()).await.unwrap(), Committed::ChainMoved);
    assert_eq!(load(subject, &request.asked).await, Some(request.clone()));
    assert_eq!(outgoing(subject, &request.asked).await, before);
    assert_eq!(trail(subject, &request.asked).await, 1);
    assert_eq!(subject.store.policy().await.unwrap(), None);
    commit.audit.truncate(1);
    done(subject, commit).await;
    assert_eq!(trail(subject, &request.asked).await, 2);
}

/// From `not_at_or_after` on, by the store's own clock, nothing is written.
pub async fn a_commit_is_late_from_its_limit_on(subject: &Subject) {
    let request = inserted(subject, "n8n", "r1", START).await;
    let closes_at = START.plus_millis(600_000);
    // What the commit itself says of the time does not matter.
    let mut commit = sample::end(&request, EndStatus::Approved, START);
    commit.not_at_or_after = Some(closes_at);
    for late in [closes_at, closes_at.plus_millis(1)] {
        subject.clock.set(late);
        assert_eq!(subject.store.commit(commit.clone()).await.unwrap(), Committed::Late);
        assert_eq!(load(subject, &request.asked).await, Some(request.clone()));
    }
    subject.clock.set(closes_at.plus_millis(-1));
    done(subject, commit).await;
}

/// An allowance is used up by requests that were written, and by nothing else.
pub async fn an_allowance_counts_what_was_written(subject: &Subject) {
    let within = |request_id: &str| {
        let mut commit = sample::insert(&sample::asked("n8n", request_id, START));
        commit.quota = Some(quota("n8n", 0, 2));
        commit
    };
    done(subject, within("r1")).await;
    for _ in 0..3 {
        let again = subject.store.commit(within("r1")).await.unwrap();
        assert!(matches!(again, Committed::Lost(_)), "{again:?}");
    }
    let mut late = within("r2");
    late.not_at_or_after = Some(START);
    assert_eq!(subject.store.commit(late).await.unwrap(), Committed::Late);
    done(subject, within("r3")).await;
    assert_eq!(subject.store.commit(within("r4")).await.unwrap(), Committed::OverQuota);
    assert_eq!(load(subject, &sample::asked("n8n", "r4", START)).await, None);
    assert_eq!(trail(subject, &sample::asked("n8n", "r4", START)).await, 0);
}

/// Another client, and another minute, have allowances of their own; no allowance is none.
pub async fn an_allowance_is_of_one_client_and_one_minute(subject: &Subject) {
    let mut number = 0;
    let mut take = async |client: &str, minute: i64, limit: u32| {
        number += 1;
        let mut commit = sample::insert(&sample::asked(client, &format!("r{number}"), START));
        commit.quota = Some(quota(client, minute, limit));
        subject.store.commit(commit).await.unwrap()
    };
    let mut outcomes = Vec::new();
    for (client, minute, limit) in [
        ("n8n", 0, 1),
        ("n8n", 0, 1),
        ("zapier", 0, 1),
        ("n8n", 1, 1),
        ("n8n", 1, 1),
        ("n8n", 1, 2),
        // The clock was set back: the minute before has been used up all the same.
        ("n8n", 0, 1),
        ("agent", 0, 0),
    ] {
        outcomes.push(matches!(take(client, minute, limit).await, Committed::Done { .. }));
    }
    assert_eq!(outcomes, [true, false, true, true, false, true, false, false]);
}

/// Whoever asks again learns what there is, however late and however often it asks.
pub async fn a_lost_insert_is_lost_though_late_and_over_quota(subject: &Subject) {
    let asked = sample::asked("n8n", "r1", START);
    let commit = sample::insert(&asked);
    done(subject, commit.clone()).await;
    let again = Commit {
        quota: Some(quota("n8n", 0, 0)),
        not_at_or_after: Some(START),
        ..sample::insert(&sample::asked("n8n", "r1", START))
    };
    let lost = subject.store.commit(again).await.unwrap();
    assert_eq!(lost, Committed::Lost(Box::new(first(&commit))));
}

/// A new request learns of an older one of the same client, action and payload that still waits.
pub async fn an_older_twin_that_waits_is_named(subject: &Subject) {
    let ask = async |client: &str, request_id: &str, amount: u32, action: &str| {
        let mut asked = sample::asked_to_pay(client, request_id, START, amount);
        asked.action = action.into();
        match subject.store.commit(sample::insert(&asked)).await.unwrap() {
            Committed::Done { pending_twin } => pending_twin.map(|twin| twin.to_string()),
            other => Some(format!("{other:?}")),
        }
    };
    assert_eq!(ask("n8n", "r1", 20, "payment.send").await, None);
    assert_eq!(ask("zapier", "r1", 20, "payment.send").await, None);
    assert_eq!(ask("n8n", "r2", 21, "payment.send").await, None);
    assert_eq!(ask("n8n", "r3", 20, "refund.create").await, None);
    assert_eq!(ask("n8n", "r4", 20, "payment.send").await, Some("r1".into()));
    for request_id in ["r1", "r4"] {
        let asked = sample::asked_to_pay("n8n", request_id, START, 20);
        let request = load(subject, &asked).await.unwrap();
        done(subject, sample::end(&request, EndStatus::Approved, START)).await;
    }
    assert_eq!(ask("n8n", "r5", 20, "payment.send").await, None);
}

/// What waits and closes at `until` or before comes the earliest first, with its time, no more than asked for.
pub async fn closing_requests_come_the_earliest_first(subject: &Subject) {
    let mut all = Vec::new();
    for (request_id, closes_in) in [("r1", 300), ("r2", 100), ("r3", 200), ("r4", 50), ("r5", 400)] {
        let asked = sample::asked("n8n", request_id, START);
        let closes_at = START.plus_millis(closes_in);
        done(subject, sample::insert_until(&asked, closes_at)).await;
        all.push(Closing { key: asked.key(), closes_at });
    }
    let ended = load(subject, &sample::asked("n8n", "r4", START)).await.unwrap();
    done(subject, sample::end(&ended, EndStatus::Cancelled, START)).await;
    let closing = async |until: i64, limit: usize| {
        subject.store.closing(START.plus_millis(until), limit).await.unwrap()
    };
    assert_eq!(closing(99, 10).await, []);
    assert_eq!(closing(100, 10).await, pick(&all, &[1]));
    assert_eq!(closing(399, 10).await, pick(&all, &[1, 2, 0]));
    assert_eq!(closing(9000, 10).await, pick(&all, &[1, 2, 0, 4]));
    assert_eq!(closing(9000, 2).await, pick(&all, &[1, 2]));
}

/// Due is what has not been sent and was due at `now` or before, the oldest first, no more than asked for.
pub async fn due_messages_come_the_oldest_first(subject: &Subject) {
    let mut letters = Vec::new();
    for (request_id, due_in) in [("r1", 300), ("r2", 100), ("r3", 200), ("r4", 50)] {
        let asked = sample::asked("n8n", request_id, START);
        let letter = sample::letter(&asked, START.plus_millis(due_in));
        done(subject, Commit { outgoing: vec![letter.clone()], ..sample::insert(&asked) }).await;
        letters.push(letter);
    }
    subject.store.sent(&letters.remove(3).id).await.unwrap();
    let due =
        async |at: i64, limit: usize| subject.store.due_outgoing(START.plus_millis(at), limit).await.unwrap();
    assert_eq!(due(99, 10).await, []);
    assert_eq!(due(100, 10).await, pick(&letters, &[1]));
    assert_eq!(due(9000, 10).await, pick(&letters, &[1, 2, 0]));
    assert_eq!(due(9000, 2).await, pick(&letters, &[1, 2]));
}

/// The next due time looks at deadlines and at messages.
pub async fn the_next_due_time_is_the_earliest_of_all(subject: &Subject) {
    let next = async || subject.store.next_due().await.unwrap().map(|at| at.millis_since(START));
    assert_eq!(next().await, None);
    let asked = sample::asked("n8n", "r1", START);
    let letter = sample::letter(&asked, START.plus_millis(100));
    done(
        subject,
        Commit { outgoing: vec![letter.clone()], ..sample::insert_until(&asked, START.plus_millis(50)) },
    )
    .await;
    assert_eq!(next().await, Some(50));
    let request = load(subject, &asked).await.unwrap();
    done(subject, Commit { outgoing: vec![], ..sample::end(&request, EndStatus::Expired, START) }).await;
    assert_eq!(next().await, Some(100));
    assert!(subject.store.reschedule(&letter, 1, START.plus_millis(700)).await.unwrap());
    assert_eq!(next().await, Some(700));
    let other = sample::asked("n8n", "r2", START);
    done(subject, sample::insert_until(&other, START.plus_millis(900))).await;
    subject.store.sent(&sample::letter(&other, START).id).await.unwrap();
    assert_eq!(next().await, Some(700));
    subject.store.sent(&letter.id).await.unwrap();
    assert_eq!(next().await, Some(900));
}

/// Of many who see the same message due, one moves it.
pub async fn a_message_is_claimed_by_one_of_many(subject: &Subject) {
    let request = inserted(subject, "n8n", "r1", START).await;
    let seen = outgoing(subject, &request.asked).await.remove(0);
    let lease = START.plus_millis(60_000);
    let claims = all((0..16).map(|_| {
        let (store, seen) = (Arc::clone(&subject.store), seen.clone());
        async move { store.reschedule(&seen, seen.attempt, lease).await.unwrap() }
    }))
    .await;
    assert_eq!(claims.iter().filter(|won| **won).count(), 1);
    assert_eq!(outgoing(subject, &request.asked).await, [Outgoing { due_at: lease, ..seen }]);
}

/// Whoever saw a message before it was moved or sent does not get it.
pub async fn what_was_moved_or_sent_cannot_be_claimed(subject: &Subject) {
    let request = inserted(subject, "n8n", "r1", START).await;
    let seen = outgoing(subject, &request.asked).await.remove(0);
    let later = START.plus_millis(60_000);
    assert!(subject.store.reschedule(&seen, 1, later).await.unwrap());
    let moved = Outgoing { attempt: 1, due_at: later, ..seen.clone() };
    assert_eq!(outgoing(subject, &request.asked).await, std::slice::from_ref(&moved));
    assert!(!subject.store.reschedule(&seen, 2, later).await.unwrap());
    subject.store.sent(&moved.id).await.unwrap();
    assert!(!subject.store.reschedule(&moved, 2, START).await.unwrap());
    assert_eq!(outgoing(subject, &request.asked).await, []);
}

/// What was sent is gone, and sending it twice is no fault.
pub async fn a_sent_message_is_forgotten(subject: &Subject) {
    let request = inserted(subject, "n8n", "r1", START).await;
    let other = inserted(subject, "n8n", "r2", START).await;
    let id = outgoing(subject, &request.asked).await.remove(0).id;
    subject.store.sent(&id).await.unwrap();
    subject.store.sent(&id).await.unwrap();
    assert_eq!(outgoing(subject, &request.asked).await, []);
    assert_eq!(outgoing(subject, &other.asked).await.len(), 1);
}

/// A request's messages are its own.
pub async fn messages_are_found_by_their_request(subject: &Subject) {
    let request = inserted(subject, "n8n", "r1", START).await;
    inserted(subject, "zapier", "r1", START).await;
    let end = sample::end(&request, EndStatus::Approved, START);
    done(subject, end.clone()).await;
    let mut ids: Vec<String> =
        outgoing(subject, &request.asked).await.into_iter().map(|message| message.id).collect();
    ids.sort();
    let approval = &request.asked.approval_id;
    assert_eq!(ids, [format!("msg_{approval}_callback"), format!("msg_{approval}_tell_0_email_bob")]);
}

/// A list has a client's own requests, newest first, and goes on behind the one it is given.
pub async fn lists_are_newest_first_and_go_on_where_they_stopped(subject: &Subject) {
    let mut requests = Vec::new();
    for number in 0..7 {
        let request = inserted(subject, "n8n", &format!("r{number}"), START.plus_millis(number)).await;
        inserted(subject, "zapier", &format!("r{number}"), START.plus_millis(number)).await;
        requests.push(request);
    }
    for (index, status) in [
        (1, EndStatus::Approved),
        (2, EndStatus::Rejected),
        (3, EndStatus::Expired),
        (4, EndStatus::Cancelled),
        (5, EndStatus::Approved),
    ] {
        let end = sample::end(pick(&requests, &[index]).first().unwrap(), status, START);
        done(subject, end).await;
    }
    let all = list(subject, None, 100, None).await;
    let ids: Vec<&str> = all.iter().map(|request| request.asked.request_id.as_str()).collect();
    assert_eq!(ids, ["r6", "r5", "r4", "r3", "r2", "r1", "r0"]);
    for request in &all {
        assert_eq!(load(subject, &request.asked).await.as_ref(), Some(request));
    }
    let mut paged = list(subject, None, 3, None).await;
    while let Some(last) = paged.last() {
        let before = last.asked.approval_id.clone();
        let page = list(subject, None, 3, Some(before)).await;
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, all);
}

/// A list of one status has nothing of another, and follows what happens.
pub async fn a_list_can_be_of_one_status(subject: &Subject) {
    for number in 0..5 {
        inserted(subject, "n8n", &format!("r{number}"), START.plus_millis(number)).await;
    }
    let ids = async |status: &str, limit: usize, before: Option<&Request>| {
        let before = before.map(|request| request.asked.approval_id.clone());
        let requests = list(subject, Some(status), limit, before).await;
        requests.iter().map(|request| request.asked.request_id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(ids("pending", 100, None).await, ["r4", "r3", "r2", "r1", "r0"]);
    for number in [1, 3] {
        let asked = sample::asked("n8n", &format!("r{number}"), START.plus_millis(number));
        let request = load(subject, &asked).await.unwrap();
        done(subject, sample::end(&request, EndStatus::Approved, START)).await;
    }
    assert_eq!(ids("pending", 100, None).await, ["r4", "r2", "r0"]);
    assert_eq!(ids("pending", 2, None).await, ["r4", "r2"]);
    assert_eq!(ids("approved", 100, None).await, ["r3", "r1"]);
    let third = load(subject, &sample::asked("n8n", "r3", START.plus_millis(3))).await.unwrap();
    assert_eq!(ids("approved", 100, Some(&third)).await, ["r1"]);
    assert_eq!(ids("rejected", 100, None).await, Vec::<String>::new());
}

/// What is pending, of all clients, the oldest first.
pub async fn pending_requests_come_the_oldest_first(subject: &Subject) {
    let mut requests = Vec::new();
    for (client, number) in [("n8n", 3), ("zapier", 1), ("n8n", 2), ("n8n", 0)] {
        requests.push(inserted(subject, client, &format!("r{number}"), START.plus_millis(number)).await);
    }
    let ended = requests.remove(2);
    done(subject, sample::end(&ended, EndStatus::Approved, START)).await;
    assert_eq!(subject.store.pending(10).await.unwrap(), pick(&requests, &[2, 1, 0]));
    assert_eq!(subject.store.pending(2).await.unwrap(), pick(&requests, &[2, 1]));
    assert_eq!(subject.store.pending(usize::MAX).await.unwrap().len(), 3);
}

/// A watch wakes when its request comes into being, and when it changes.
pub async fn a_watch_wakes_when_its_request_changes(subject: &Subject) {
    let asked = sample::asked("n8n", "r1", START);
    let mut watch = subject.store.watch(asked.key());
    let waiter = tokio::spawn(async move {
        watch.changed().await;
        watch
    });
    done(subject, sample::insert(&asked)).await;
    let mut watch = woken(waiter).await;
    let request = load(subject, &asked).await.unwrap();
    let waiter = tokio::spawn(async move { watch.changed().await });
    done(subject, sample::end(&request, EndStatus::Approved, START)).await;
    woken(waiter).await;
}

/// What changes after the watch was taken wakes whoever waits later.
pub async fn a_change_between_the_watch_and_the_wait_is_not_lost(subject: &Subject) {
    let asked = sample::asked("n8n", "r1", START);
    let mut watch = subject.store.watch(asked.key());
    done(subject, sample::insert(&asked)).await;
    tokio::time::timeout(LOST, watch.changed()).await.unwrap();
}

/// Many wait for one request while others come and go; all of them see its end.
pub async fn no_wake_up_is_lost_in_a_crowd(subject: &Subject) {
    for round in 0..20 {
        let request = inserted(subject, "n8n", &format!("r{round}"), START.plus_millis(round)).await;
        let key = request.asked.key();
        let waiters: Vec<_> = (0..8)
            .map(|waiter| {
                let store = Arc::clone(&subject.store);
                tokio::spawn(async move {
                    let mut watch = store.watch(key);
                    while store.load(key).await.unwrap().is_some_and(|request| request.pending().is_some()) {
                        // Others that leave must not take this one's place with them.
                        if waiter % 2 == 0 {
                            drop(store.watch(key));
                        }
                        watch.changed().await;
                    }
                })
            })
            .collect();
        tokio::task::yield_now().await;
        done(subject, sample::end(&request, EndStatus::Approved, START)).await;
        for waiter in waiters {
            woken(waiter).await;
        }
    }
}

/// Subscriptions are added, seen by all, and removed by their own client only.
pub async fn subscriptions_come_and_go(subject: &Subject) {
    assert_eq!(*subject.store.hooks().await.unwrap(), []);
    let (mine, theirs) = (sample::hook("n8n", 1), sample::hook("zapier", 2));
    for hook in [&mine, &theirs] {
        subject.store.add_hook(hook).await.unwrap();
    }
    let mut hooks = subject.store.hooks().await.unwrap().to_vec();
    hooks.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(hooks, [mine.clone(), theirs.clone()]);
    assert!(!subject.store.remove_hook(&mine.client, &theirs.id).await.unwrap());
    assert!(subject.store.remove_hook(&mine.client, &mine.id).await.unwrap());
    assert!(!subject.store.remove_hook(&mine.client, &mine.id).await.unwrap());
    assert_eq!(*subject.store.hooks().await.unwrap(), [theirs]);
}

/// A version is installed once, and the last one installed is the one there is.
pub async fn a_policy_version_is_installed_once(subject: &Subject) {
    let install = async |version: u32, text: &str| {
        let mut record = sample::policy_record(version);
        record.text = text.to_owned();
        subject.store.commit(Commit { policy: Some(record), ..Commit::default() }).await.unwrap()
    };
    let latest = async || subject.store.policy().await.unwrap().map(|policy| (policy.version, policy.text));
    assert_eq!(latest().await, None);
    let done = Committed::Done { pending_twin: None };
    assert_eq!(install(1, "first").await, done);
    assert_eq!(install(1, "other").await, Committed::ChainMoved);
    assert_eq!(latest().await, Some((1, "first".into())));
    for version in 2..=11 {
        assert_eq!(install(version, "next").await, done);
    }
    assert_eq!(latest().await, Some((11, "next".into())));
}

/// A chain that is no request's is found by its end.
pub async fn a_chain_ends_with_its_last_entry(subject: &Subject) {
    let mut chain = subject.store.chain("policy").await.unwrap();
    assert_eq!(chain, ChainHead::default());
    for seq in 1..=11 {
        let entry = chain.append("policy", None, sample::draft(Event::PolicyInstalled, START));
        done(subject, Commit { audit: vec![entry], ..Commit::default() }).await;
        assert_eq!(chain.seq, seq);
        assert_eq!(subject.store.chain("policy").await.unwrap(), chain);
    }
    assert_eq!(subject.store.chain("keys").await.unwrap(), ChainHead::default());
    assert_eq!(subject.trail.audit_of("policy").await.len(), 11);
}

/// Of many who insert the same key at once, one wins, and the others get what it wrote.
pub async fn one_of_many_inserts_wins_and_all_see_it(subject: &Subject) {
    let outcomes = all((0..32).map(|number| {
        let store = Arc::clone(&subject.store);
        let asked = sample::asked_to_pay("n8n", "r1", START.plus_millis(number.into()), number);
        async move { (number, store.commit(sample::insert(&asked)).await.unwrap()) }
    }))
    .await;
    let winners: Vec<u32> = outcomes
        .iter()
        .filter(|(_, outcome)| *outcome == Committed::Done { pending_twin: None })
        .map(|(number, _)| *number)
        .collect();
    assert_eq!(winners.len(), 1, "{outcomes:?}");
    let stored = load(subject, &sample::asked("n8n", "r1", START)).await.unwrap();
    for (number, outcome) in outcomes {
        if !winners.contains(&number) {
            assert_eq!(outcome, Committed::Lost(Box::new(stored.clone())));
        }
    }
    assert_eq!(outgoing(subject, &stored.asked).await.len(), 1);
}

/// Of many who change the same version at once, one wins, and the others get what it wrote.
pub async fn one_of_many_updates_wins_and_all_see_it(subject: &Subject) {
    let request = inserted(subject, "n8n", "r1", START).await;
    let outcomes = all((0..32).map(|number| {
        let store = Arc::clone(&subject.store);
        let status = if number % 2 == 0 { EndStatus::Approved } else { EndStatus::Rejected };
        let commit = sample::end(&request, status, START.plus_millis(number));
        let next = updated(&request, &commit);
        async move { (next, store.commit(commit).await.unwrap()) }
    }))
    .await;
    let winners: Vec<&Request> = outcomes
        .iter()
        .filter(|(_, outcome)| *outcome == Committed::Done { pending_twin: None })
        .map(|(next, _)| next)
        .collect();
    assert_eq!(winners.len(), 1, "{outcomes:?}");
    let stored = load(subject, &request.asked).await;
    assert_eq!(stored.as_ref(), winners.first().copied());
    for (_, outcome) in &outcomes {
        if let Committed::Lost(winner) = outcome {
            assert_eq!(Some(winner.as_ref()), stored.as_ref());
        } else {
            assert_eq!(*outcome, Committed::Done { pending_twin: None });
        }
    }
    assert_eq!(trail(subject, &request.asked).await, 2);
}

/// Of many who write the same place of a chain at once, one does.
pub async fn one_of_many_entries_gets_a_place_in_the_trail(subject: &Subject) {
    let outcomes = all((0..16).map(|number| {
        let store = Arc::clone(&subject.store);
        let mut chain = ChainHead::default();
        let draft = sample::draft(Event::KeysRotated, START.plus_millis(number));
        let commit = Commit { audit: vec![chain.append("keys", None, draft)], ..Commit::default() };
        async move { (chain, store.commit(commit).await.unwrap()) }
    }))
    .await;
    let winners: Vec<&ChainHead> = outcomes
        .iter()
        .filter(|(_, outcome)| *outcome != Committed::ChainMoved)
        .map(|(chain, _)| chain)
        .collect();
    assert_eq!(winners, [&subject.store.chain("keys").await.unwrap()]);
}

/// Whatever has been answered is seen by every read that begins afterwards.
pub async fn a_read_sees_every_commit_that_returned(subject: &Subject) {
    all((0..4).map(|task: i64| {
        let store = Arc::clone(&subject.store);
        async move {
            for number in 0..25 {
                let asked = sample::asked("n8n", &format!("r{task}-{number}"), START.plus_millis(number));
                let commit = sample::insert(&asked);
                store.commit(commit.clone()).await.unwrap();
                let request = store.load(asked.key()).await.unwrap();
                assert_eq!(request, Some(first(&commit)));
                let end = sample::end(&first(&commit), EndStatus::Approved, START);
                store.commit(end.clone()).await.unwrap();
                let request = store.load(asked.key()).await.unwrap();
                assert_eq!(request, Some(updated(&first(&commit), &end)));
                assert_eq!(store.outgoing_of(asked.key()).await.unwrap().len(), 2);
            }
        }
    }))
    .await;
}

async fn load(subject: &Subject, asked: &placet_core::request::Asked) -> Option<Request> {
    subject.store.load(asked.key()).await.unwrap()
}

async fn outgoing(subject: &Subject, asked: &placet_core::request::Asked) -> Vec<Outgoing> {
    subject.store.outgoing_of(asked.key()).await.unwrap()
}

async fn trail(subject: &Subject, asked: &placet_core::request::Asked) -> usize {
    subject.trail.audit_of(asked.approval_id.as_str()).await.len()
}

async fn list(
    subject: &Subject,
    status: Option<&str>,
    limit: usize,
    before: Option<placet_core::id::ApprovalId>,
) -> Vec<Request> {
    let query =
        StoreQuery { client: sample::client("n8n"), status: status.map(str::to_owned), limit, before };
    subject.store.list(&query).await.unwrap()
}

async fn done(subject: &Subject, commit: Commit) {
    let outcome = subject.store.commit(commit).await.unwrap();
    assert!(matches!(outcome, Committed::Done { .. }), "{outcome:?}");
}

/// Inserts a request that waits. No two of them are twins.
async fn inserted(subject: &Subject, client: &str, request_id: &str, at: Timestamp) -> Request {
    let commit = sample::insert(&sample::asked(client, request_id, at));
    done(subject, commit.clone()).await;
    first(&commit)
}

/// The request that an insert writes.
fn first(commit: &Commit) -> Request {
    match &commit.request {
        Some(RequestWrite::Insert { asked, life }) => {
            Request { asked: Arc::clone(asked), life: life.clone(), version: 1 }
        }
        Some(RequestWrite::Update { .. }) | None => unreachable!("this commit inserts nothing"),
    }
}

/// The request that an update writes.
fn updated(request: &Request, commit: &Commit) -> Request {
    match &commit.request {
        Some(RequestWrite::Update { life, .. }) => {
            Request { asked: Arc::clone(&request.asked), life: life.clone(), version: request.version + 1 }
        }
        Some(RequestWrite::Insert { .. }) | None => unreachable!("this commit updates nothing"),
    }
}

fn quota(client: &str, minutes: i64, limit: u32) -> Quota {
    Quota { client: sample::client(client), minute: START.seconds() / 60 + minutes, limit }
}

fn pick<T: Clone>(items: &[T], order: &[usize]) -> Vec<T> {
    order.iter().filter_map(|index| items.get(*index).cloned()).collect()
}

/// Runs all at once, each as a task of its own.
async fn all<T: Send + 'static>(
    tasks: impl Iterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let tasks: Vec<_> = tasks.map(tokio::spawn).collect();
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.unwrap());
    }
    results
}

async fn woken<T>(task: tokio::task::JoinHandle<T>) -> T {
    tokio::time::timeout(LOST, task).await.unwrap().unwrap()
}
