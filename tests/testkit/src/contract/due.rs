//! What closes and what must be sent, and who gets to do it.

use std::sync::Arc;

use placet_core::Timestamp;
use placet_core::request::Status;
use placet_core::time::DAY_MS;
use placet_gate::ports::{Closing, Commit, MessageEnd, OutboxMessage, PastMessage};

use super::{START, all, done, everything_due, inserted, load, outbox, pick};
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
    let mut messages = Vec::new();
    for (request_id, due_in) in [("r1", 300), ("r2", 100), ("r3", 200), ("r4", 50)] {
        let asked = sample::asked("n8n", request_id, START);
        let message = sample::notification(&asked, START.plus_millis(due_in));
        done(subject, Commit { outbox: vec![message.clone()], ..sample::insert(&asked) }).await;
        messages.push(message);
    }
    subject.store.ack(&messages.remove(3).id).await.unwrap();
    let due =
        async |at: i64, limit: usize| subject.store.due_messages(START.plus_millis(at), limit).await.unwrap();
    assert_eq!(due(99, 10).await, []);
    assert_eq!(due(100, 10).await, pick(&messages, &[1]));
    assert_eq!(due(9000, 10).await, pick(&messages, &[1, 2, 0]));
    assert_eq!(due(9000, 2).await, pick(&messages, &[1, 2]));
}

/// The next due time looks at deadlines and at messages.
pub async fn the_next_due_time_is_the_earliest_of_all(subject: &Subject) {
    let next = async || subject.store.next_due().await.unwrap().map(|at| at.millis_since(START));
    assert_eq!(next().await, None);
    let asked = sample::asked("n8n", "r1", START);
    let message = sample::notification(&asked, START.plus_millis(100));
    done(
        subject,
        Commit { outbox: vec![message.clone()], ..sample::insert_until(&asked, START.plus_millis(50)) },
    )
    .await;
    assert_eq!(next().await, Some(50));
    let request = load(subject, &asked).await.unwrap();
    done(subject, Commit { outbox: vec![], ..sample::end(&request, Status::Expired, START) }).await;
    assert_eq!(next().await, Some(100));
    assert!(subject.store.claim(&message, 1, START.plus_millis(700)).await.unwrap());
    assert_eq!(next().await, Some(700));
    let other = sample::asked("n8n", "r2", START);
    done(subject, sample::insert_until(&other, START.plus_millis(900))).await;
    subject.store.ack(&sample::notification(&other, START).id).await.unwrap();
    assert_eq!(next().await, Some(700));
    subject.store.ack(&message.id).await.unwrap();
    assert_eq!(next().await, Some(900));
}

/// Of many who see the same message due, one moves it.
pub async fn a_message_is_claimed_by_one_of_many(subject: &Subject) {
    let request = inserted(subject, "n8n", "r1", START).await;
    let seen = outbox(subject, request.asked()).await.remove(0);
    let lease = START.plus_millis(60_000);
    let claims = all((0..16).map(|_| {
        let (store, seen) = (Arc::clone(&subject.store), seen.clone());
        async move { store.claim(&seen, seen.attempt, lease).await.unwrap() }
    }))
    .await;
    assert_eq!(claims.iter().filter(|won| **won).count(), 1);
    assert_eq!(outbox(subject, request.asked()).await, [OutboxMessage { due_at: lease, ..seen }]);
}

/// Whoever saw a message before it was moved or sent does not get it.
pub async fn what_was_moved_or_acknowledged_cannot_be_claimed(subject: &Subject) {
    let request = inserted(subject, "n8n", "r1", START).await;
    let seen = outbox(subject, request.asked()).await.remove(0);
    let later = START.plus_millis(60_000);
    assert!(subject.store.claim(&seen, 1, later).await.unwrap());
    let moved = OutboxMessage { attempt: 1, due_at: later, ..seen.clone() };
    assert_eq!(outbox(subject, request.asked()).await, std::slice::from_ref(&moved));
    assert!(!subject.store.claim(&seen, 2, later).await.unwrap());
    subject.store.ack(&moved.id).await.unwrap();
    assert!(!subject.store.claim(&moved, 2, START).await.unwrap());
    assert_eq!(outbox(subject, request.asked()).await, []);
}

/// What was sent is gone, and sending it twice is no fault.
pub async fn an_acknowledged_message_is_forgotten(subject: &Subject) {
    let request = inserted(subject, "n8n", "r1", START).await;
    let other = inserted(subject, "n8n", "r2", START).await;
    let message = outbox(subject, request.asked()).await.remove(0);
    let id = message.id.clone();
    assert_eq!(subject.store.message(&id).await.unwrap(), Some(message));
    subject.store.ack(&id).await.unwrap();
    subject.store.ack(&id).await.unwrap();
    assert_eq!(outbox(subject, request.asked()).await, []);
    assert_eq!(subject.store.message(&id).await.unwrap(), None);
    assert_eq!(outbox(subject, other.asked()).await.len(), 1);
}

/// What follows a message comes in its place: the message is gone, and what was there of that id is replaced.
pub async fn others_come_in_the_place_of_a_message(subject: &Subject) {
    let request = inserted(subject, "n8n", "r1", START).await;
    let first = outbox(subject, request.asked()).await.remove(0);
    let next = sample::callback(request.asked(), START.plus_millis(5));
    let digest = sample::gate_message(1, START.plus_millis(7));
    subject.store.replace(&first.id, &[next.clone(), digest.clone()]).await.unwrap();
    assert_eq!(everything_due(subject).await, [next.clone(), digest.clone()]);
    // Again, as whoever died in between does; and with nothing in its place.
    let later = OutboxMessage { due_at: START.plus_millis(9), ..digest };
    subject.store.replace(&first.id, std::slice::from_ref(&later)).await.unwrap();
    assert_eq!(everything_due(subject).await, [next.clone(), later.clone()]);
    subject.store.replace(&next.id, &[]).await.unwrap();
    assert_eq!(everything_due(subject).await, [later]);
}

/// Messages about the gate as a whole are due, claimed and acknowledged like others, and belong to no request.
pub async fn messages_about_the_gate_are_kept_apart_from_requests(subject: &Subject) {
    let request = inserted(subject, "n8n", "r1", START).await;
    let (first, second) =
        (sample::gate_message(1, START.plus_millis(5)), sample::gate_message(2, START.plus_millis(10)));
    done(subject, Commit { outbox: vec![second.clone(), first.clone()], ..Commit::default() }).await;
    let due = subject.store.due_messages(START.plus_millis(10), 10).await.unwrap();
    assert_eq!(due, [first.clone(), second.clone()]);
    assert_eq!(outbox(subject, request.asked()).await.len(), 1);
    assert!(subject.store.claim(&first, 1, START.plus_millis(20)).await.unwrap());
    assert!(!subject.store.claim(&first, 1, START.plus_millis(30)).await.unwrap());
    subject.store.ack(&second.id).await.unwrap();
    let due = subject.store.due_messages(START.plus_millis(20), 10).await.unwrap();
    assert_eq!(due, [OutboxMessage { attempt: 1, due_at: START.plus_millis(20), ..first.clone() }]);
    assert_eq!(subject.store.message(&first.id).await.unwrap().as_ref(), due.first());
    // The same cause again is the same message.
    done(subject, Commit { outbox: vec![first.clone()], ..Commit::default() }).await;
    assert_eq!(subject.store.due_messages(START.plus_millis(20), 10).await.unwrap(), [first]);
}

/// Whatever a message says comes back as it was said.
pub async fn every_kind_of_message_comes_back_as_it_was(subject: &Subject) {
    let mut sent = crate::golden::messages();
    done(subject, Commit { outbox: sent.clone(), ..Commit::default() }).await;
    let mut found = everything_due(subject).await;
    sent.sort_by(|one, other| one.id.cmp(&other.id));
    found.sort_by(|one, other| one.id.cmp(&other.id));
    assert_eq!(found, sent);
}

/// A message that is over is gone from the outbox, and how it ended is remembered once, under its approval's day.
pub async fn how_a_message_ended_is_remembered_by_day_and_its_first_end_stays(subject: &Subject) {
    let day = START.day();
    let late = Timestamp::from_millis((day + 1) * DAY_MS - 1);
    let (early, late, next_day) = (
        inserted(subject, "n8n", "r1", Timestamp::from_millis(day * DAY_MS)).await,
        inserted(subject, "n8n", "r2", late).await,
        inserted(subject, "n8n", "r3", late.plus_millis(1)).await,
    );
    let mut expected = Vec::new();
    for (request, end) in
        [(&early, MessageEnd::Delivered), (&late, MessageEnd::GivenUp), (&next_day, MessageEnd::Delivered)]
    {
        let message = outbox(subject, request.asked()).await.remove(0);
        let past = PastMessage::of(&message, end, START.plus_millis(50)).unwrap();
        subject.store.end_message(&past).await.unwrap();
        assert_eq!(outbox(subject, request.asked()).await, []);
        // Told again by another process that had sent it, too: the first word stays.
        let again = PastMessage { ended_at: START.plus_millis(90), ..past.clone() };
        subject.store.end_message(&again).await.unwrap();
        expected.push(past);
    }
    let other_day = expected.split_off(2);
    expected.sort_by(|one, other| one.id.cmp(&other.id));
    assert_eq!(subject.store.past_messages(day).await.unwrap(), expected);
    assert_eq!(subject.store.past_messages(day + 1).await.unwrap(), other_day);
    assert_eq!(subject.store.past_messages(day - 1).await.unwrap(), []);
    // It is no request: no list has it.
    assert_eq!(super::list(subject, None, 10, None).await.len(), 3);
}
