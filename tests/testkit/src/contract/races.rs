//! Many at once.

use std::sync::Arc;

use placet_core::audit::{AuditEventKind, ChainHead};
use placet_core::request::{Request, Status};
use placet_gate::ports::{Commit, Committed};

use super::{START, all, first, inserted, load, outgoing, trail, updated};
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
    assert_eq!(outgoing(subject, &stored.asked).await.len(), 1);
}

/// Of many who change the same version at once, one wins, and the others get what it wrote.
pub async fn one_of_many_updates_wins_and_all_see_it(subject: &Subject) {
    let request = inserted(subject, "n8n", "r1", START).await;
    let outcomes = all((0..32).map(|number| {
        let store = Arc::clone(&subject.store);
        let status = if number % 2 == 0 { Status::Approved } else { Status::Rejected };
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
        let draft = sample::draft(AuditEventKind::KeysRotated, START.plus_millis(number));
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
                let end = sample::end(&first(&commit), Status::Approved, START);
                store.commit(end.clone()).await.unwrap();
                let request = store.load(asked.key()).await.unwrap();
                assert_eq!(request, Some(updated(&first(&commit), &end)));
                assert_eq!(store.outgoing_of(asked.key()).await.unwrap().len(), 2);
            }
        }
    }))
    .await;
}
