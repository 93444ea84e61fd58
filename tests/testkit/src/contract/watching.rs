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
