//! What closes and what must be sent, and who gets to do it.

use std::sync::Arc;

use placet_core::request::Status;
use placet_gate::ports::{Closing, Commit, OutboxMessage};

use super::{START, all, done, inserted, load, outgoing, pick};
use crate::{Subject, sample};

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
    done(subject, sample::end(&ended, Status::Cancelled, START)).await;
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
    done(subject, Commit { outgoing: vec![], ..sample::end(&request, Status::Expired, START) }).await;
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
    assert_eq!(outgoing(subject, &request.asked).await, [OutboxMessage { due_at: lease, ..seen }]);
}

/// Whoever saw a message before it was moved or sent does not get it.
pub async fn what_was_moved_or_sent_cannot_be_claimed(subject: &Subject) {
    let request = inserted(subject, "n8n", "r1", START).await;
    let seen = outgoing(subject, &request.asked).await.remove(0);
    let later = START.plus_millis(60_000);
    assert!(subject.store.reschedule(&seen, 1, later).await.unwrap());
    let moved = OutboxMessage { attempt: 1, due_at: later, ..seen.clone() };
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
    let end = sample::end(&request, Status::Approved, START);
    done(subject, end.clone()).await;
    let mut ids: Vec<String> =
        outgoing(subject, &request.asked).await.into_iter().map(|message| message.id).collect();
    ids.sort();
    let approval = &request.asked.approval_id;
    assert_eq!(ids, [format!("msg_{approval}_callback"), format!("msg_{approval}_tell_0_email_bob")]);
}
