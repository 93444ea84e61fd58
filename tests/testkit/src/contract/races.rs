//! Many at once.

use std::sync::Arc;

use placet_core::audit::{AuditEventKind, ChainHead};
use placet_core::request::{Request, Status};
use placet_gate::ports::{Commit, Committed, Quota};

use super::{START, all, inserted, load, outbox, quota, trail};
use crate::{Subject, sample};

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
    assert_eq!(outbox(subject, stored.asked()).await.len(), 1);
}

/// Of many who change the same version at once, one wins, and the others get what it wrote.
pub async fn one_of_many_updates_wins_and_all_see_it(subject: &Subject) {
    let request = inserted(subject, "n8n", "r1", START).await;
    let outcomes = all((0..32).map(|number| {
        let store = Arc::clone(&subject.store);
        let status = if number % 2 == 0 { Status::Approved } else { Status::Rejected };
        let commit = sample::end(&request, status, START.plus_millis(number));
        let next = sample::updated(&request, &commit);
        async move { (next, store.commit(commit).await.unwrap()) }
    }))
    .await;
    let winners: Vec<&Request> = outcomes
        .iter()
        .filter(|(_, outcome)| *outcome == Committed::Done { pending_twin: None })
        .map(|(next, _)| next)
        .collect();
    assert_eq!(winners.len(), 1, "{outcomes:?}");
    let stored = load(subject, request.asked()).await;
    assert_eq!(stored.as_ref(), winners.first().copied());
    for (_, outcome) in &outcomes {
        if let Committed::Lost(winner) = outcome {
            assert_eq!(Some(winner.as_ref()), stored.as_ref());
        } else {
            assert_eq!(*outcome, Committed::Done { pending_twin: None });
        }
    }
    assert_eq!(trail(subject, request.asked()).await, 4);
}

/// Of many who write the same place of a chain at once, one does.
pub async fn one_of_many_entries_gets_a_place_in_the_trail(subject: &Subject) {
    let outcomes = all((0..16).map(|number| {
        let store = Arc::clone(&subject.store);
        let mut chain = ChainHead::default();
        let event = sample::event(AuditEventKind::KeysRotated, START.plus_millis(number));
        let commit = Commit { audit: vec![chain.append("keys", None, event)], ..Commit::default() };
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
                assert_eq!(request, Some(sample::inserted(&commit)));
                let end = sample::end(&sample::inserted(&commit), Status::Approved, START);
                store.commit(end.clone()).await.unwrap();
                let request = store.load(asked.key()).await.unwrap();
                assert_eq!(request, Some(sample::updated(&sample::inserted(&commit), &end)));
                let due = store.due_messages(START.plus_millis(90_000), usize::MAX).await.unwrap();
                assert_eq!(
                    due.iter().filter(|message| message.subject.key() == Some(asked.key())).count(),
                    2
                );
            }
        }
    }))
    .await;
}

/// Of many that ask at once, no more wait than may; and all that ended have made room.
pub async fn no_crowd_gets_past_the_limit_of_those_that_wait(subject: &Subject) {
    let crowd = async |round: i64| {
        let outcomes = all((0..12).map(|number: u32| {
            let store = Arc::clone(&subject.store);
            let name = format!("r{round}-{number}");
            let asked = sample::asked_to_pay("n8n", &name, START.plus_millis(round), number);
            let quota = Quota { max_pending: 5, ..quota("n8n", 0, 1000) };
            let commit = Commit { quota: Some(quota), ..sample::insert(&asked) };
            async move { store.commit(commit).await.unwrap() }
        }))
        .await;
        let written = outcomes.iter().filter(|outcome| matches!(outcome, Committed::Done { .. })).count();
        let refused = outcomes.iter().filter(|outcome| **outcome == Committed::TooManyPending).count();
        assert_eq!(written + refused, 12, "{outcomes:?}");
        written
    };
    for round in 0..3 {
        assert_eq!(crowd(round).await, 5);
        let waiting = subject.store.pending(None, 100).await.unwrap();
        assert_eq!(waiting.len(), 5);
        all(waiting.into_iter().map(|request| {
            let store = Arc::clone(&subject.store);
            let end = sample::end(&request, Status::Rejected, START.plus_millis(10));
            async move { store.commit(end).await.unwrap() }
        }))
        .await;
    }
}
