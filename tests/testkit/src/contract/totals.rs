//! Running totals.

use std::sync::Arc;

use placet_core::request::Status;
use placet_core::tally::Tally;
use placet_gate::ports::{Commit, Committed, Tallied, TallyWrite};

use super::{START, all, done, load};
use crate::{Subject, sample};

/// An account adds up what was added since each time, keeps apart from others, and forgets what is taken back.
pub async fn running_totals_add_up_and_are_taken_back(subject: &Subject) {
    let read = async |account: &str, since: i64| {
        let times = [START.plus_millis(since), START.plus_millis(-1)];
        subject.store.tallied(account, &times).await.unwrap()
    };
    assert_eq!(read("a", 0).await, Tallied { version: 0, sums: vec![0.0, 0.0] });
    let mut requests = Vec::new();
    for (number, amount) in [(0, 1.5), (10, 2.25), (20, 4.0)] {
        let asked = sample::asked("n8n", &format!("r{number}"), START.plus_millis(number));
        let seen = read("a", 0).await.version;
        let add = vec![tally("a", amount), tally("b", 1.0)];
        let tallies = TallyWrite { seen: vec![("a".into(), seen)], add, remove: vec![] };
        let commit = Commit { tallies, ..sample::insert(&asked) };
        done(subject, commit.clone()).await;
        requests.push(sample::inserted(&commit));
    }
    assert_eq!(read("a", 0).await.sums, [6.25, 7.75]);
    assert_eq!(read("a", 10).await.sums, [4.0, 7.75]);
    assert_eq!(read("b", 10).await.sums, [1.0, 3.0]);
    assert_eq!(read("c", 10).await, Tallied { version: 0, sums: vec![0.0, 0.0] });
    let end = sample::end(requests.get(1).unwrap(), Status::Cancelled, START.plus_millis(30));
    let remove = vec![tally("a", 2.25), tally("b", 1.0)];
    done(subject, Commit { tallies: TallyWrite { remove, ..TallyWrite::default() }, ..end }).await;
    assert_eq!(read("a", 0).await.sums, [4.0, 5.5]);
    assert_eq!(read("b", 0).await.sums, [1.0, 2.0]);
}

/// A commit that has read an account wins only if nothing was added to it since.
pub async fn what_was_judged_by_an_older_total_is_not_written(subject: &Subject) {
    let seen = subject.store.tallied("a", &[]).await.unwrap().version;
    let commit = |name: &str, seen: u64, add: Vec<Tally>| Commit {
        tallies: TallyWrite { seen: vec![("a".into(), seen)], add, remove: vec![] },
        ..sample::insert(&sample::asked("n8n", name, START))
    };
    done(subject, commit("r1", seen, vec![tally("a", 1.0)])).await;
    // Whether it would add to it, or has only looked.
    for add in [vec![tally("a", 1.0)], vec![]] {
        let late = subject.store.commit(commit("r2", seen, add)).await.unwrap();
        assert_eq!(late, Committed::TotalsMoved);
    }
    assert_eq!(load(subject, &sample::asked("n8n", "r2", START)).await, None);
    let now = subject.store.tallied("a", &[START.plus_millis(-1)]).await.unwrap();
    assert!(now.version != seen && now.sums == [1.0]);
    done(subject, commit("r2", now.version, vec![tally("a", 1.0)])).await;
    // Whoever adds without having looked waits for nobody, and makes old what others have read.
    let read = subject.store.tallied("a", &[]).await.unwrap().version;
    let unseen = TallyWrite { seen: vec![], add: vec![tally("a", 1.0)], remove: vec![] };
    let asked = sample::asked("n8n", "r3", START);
    done(subject, Commit { tallies: unseen, ..sample::insert(&asked) }).await;
    let late = subject.store.commit(commit("r4", read, vec![])).await.unwrap();
    assert_eq!(late, Committed::TotalsMoved);
    assert_eq!(subject.store.tallied("a", &[START.plus_millis(-1)]).await.unwrap().sums, [3.0]);
    // A lost insert is lost, whatever its totals.
    let lost = subject.store.commit(commit("r1", seen, vec![])).await.unwrap();
    assert!(matches!(lost, Committed::Lost(_)), "{lost:?}");
}

/// Of many that have read the same total, one at a time adds to it.
pub async fn no_crowd_adds_to_a_total_that_it_has_not_read(subject: &Subject) {
    let tasks = (0..12).map(|number| {
        let store = Arc::clone(&subject.store);
        async move {
            let asked = sample::asked("n8n", &format!("r{number}"), START.plus_millis(number));
            for _ in 0..200 {
                let account = store.tallied("a", &[START.plus_millis(-1)]).await.unwrap();
                if account.sums.first().copied().unwrap_or_default() >= 5.0 {
                    return false;
                }
                let add = vec![tally("a", 1.0)];
                let tallies = TallyWrite { seen: vec![("a".into(), account.version)], add, remove: vec![] };
                match store.commit(Commit { tallies, ..sample::insert(&asked) }).await.unwrap() {
                    Committed::Done { .. } => return true,
                    Committed::TotalsMoved => {}
                    other => unreachable!("{other:?}"),
                }
            }
            unreachable!("one of them always comes through")
        }
    });
    let passed = all(tasks).await.into_iter().filter(|passed| *passed).count();
    assert_eq!(passed, 5);
}

fn tally(account: &str, amount: f64) -> Tally {
    Tally { account: account.into(), amount }
}
