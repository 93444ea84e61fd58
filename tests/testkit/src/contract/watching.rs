//! Waiting for a change.

use std::sync::Arc;

use placet_core::request::Status;

use super::{LOST, START, done, inserted, load, woken};
use crate::{Subject, sample};

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
    done(subject, sample::end(&request, Status::Approved, START)).await;
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
        let key = request.asked().key();
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
        done(subject, sample::end(&request, Status::Approved, START)).await;
        for waiter in waiters {
            woken(waiter).await;
        }
    }
}

/// A watch on everything wakes when a request comes, and when one ends.
pub async fn a_watch_of_all_wakes_with_every_change(subject: &Subject) {
    let mut watch = subject.store.watch_pending();
    let request = inserted(subject, "n8n", "r1", START).await;
    tokio::time::timeout(LOST, watch.changed()).await.unwrap();
    done(subject, sample::end(&request, Status::Approved, START)).await;
    tokio::time::timeout(LOST, watch.changed()).await.unwrap();
}

/// The digest of what waits stays while nothing happens, and changes when a request comes or ends.
pub async fn what_waits_has_another_digest_when_it_changes(subject: &Subject) {
    let digest = async || subject.store.pending_digest().await.unwrap();
    let nothing = digest().await;
    let first = inserted(subject, "n8n", "r1", START).await;
    let one = digest().await;
    assert_ne!(one, nothing);
    let second = inserted(subject, "n8n", "r2", START.plus_millis(1)).await;
    let two = digest().await;
    assert_ne!(two, one);
    assert_eq!(digest().await, two);
    done(subject, sample::end(&second, Status::Approved, START.plus_millis(2))).await;
    assert_eq!(digest().await, one);
    done(subject, sample::end(&first, Status::Cancelled, START.plus_millis(3))).await;
    assert_eq!(digest().await, nothing);
}

/// A reviewer's list has what they have voted on, the newest vote first, as it stands now, and nobody else's.
pub async fn a_reviewers_votes_are_found_the_newest_first(subject: &Subject) {
    let bob = sample::reviewer("bob");
    let mut voted = Vec::new();
    for number in 0..5 {
        let at = START.plus_millis(number);
        let request = inserted(subject, "n8n", &format!("r{number}"), at).await;
        let end = sample::end(&request, Status::Approved, at.plus_millis(10 * number));
        if number != 2 {
            let commit = placet_gate::ports::Commit { voted: Some(bob.clone()), ..end };
            voted.insert(0, sample::updated(&request, &commit));
            done(subject, commit).await;
        }
    }
    assert_eq!(subject.store.voted(&bob, 100).await.unwrap(), voted);
    voted.truncate(2);
    assert_eq!(subject.store.voted(&bob, 2).await.unwrap(), voted);
    assert_eq!(subject.store.voted(&sample::reviewer("alice"), 100).await.unwrap(), []);
    // The same vote once more, as after a change of mind: still one request.
    let again = sample::small_change(voted.first().unwrap(), START.plus_millis(500));
    done(subject, placet_gate::ports::Commit { voted: Some(bob.clone()), ..again }).await;
    assert_eq!(subject.store.voted(&bob, 100).await.unwrap().len(), 4);
}
