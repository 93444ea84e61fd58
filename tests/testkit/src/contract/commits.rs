//! What one commit writes, or leaves, and what it is told.

use placet_core::audit::{AuditEventKind, ChainHead};
use placet_core::request::Status;
use placet_gate::ports::{Commit, Committed, Quota, RequestWrite};

use super::{START, done, inserted, load, outbox, quota, trail};
use crate::{Subject, sample};

/// What was inserted is what is loaded, and what hangs on it is there too.
pub async fn what_was_inserted_is_loaded(subject: &Subject) {
    let asked = sample::asked("n8n", "r1", START);
    assert_eq!(load(subject, &asked).await, None);
    let commit = sample::insert(&asked);
    done(subject, commit.clone()).await;
    assert_eq!(load(subject, &asked).await, Some(sample::inserted(&commit)));
    assert_eq!(subject.trail.audit_of(asked.approval_id.as_str()).await, commit.audit);
    assert_eq!(outbox(subject, &asked).await, commit.outbox);
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
    assert_eq!(lost, Committed::Lost(Box::new(sample::inserted(&commit))));
    assert_eq!(load(subject, &asked).await, Some(sample::inserted(&commit)));
    assert_eq!(outbox(subject, &asked).await, commit.outbox);
    assert_eq!(subject.trail.audit_of(other.approval_id.as_str()).await, []);
}

/// An update makes the next version; what was asked stays as it was.
pub async fn an_update_is_the_next_version(subject: &Subject) {
    let request = inserted(subject, "n8n", "r1", START).await;
    let commit = sample::end(&request, Status::Approved, START.plus_millis(5));
    done(subject, commit.clone()).await;
    let next = sample::updated(&request, &commit);
    assert_eq!(next.version(), 2);
    assert_eq!(load(subject, request.asked()).await, Some(next));
    let entries = subject.trail.audit_of(request.asked().approval_id.as_str()).await;
    let events: Vec<AuditEventKind> = entries.iter().map(|entry| entry.event).collect();
    let (asked, opened) = (AuditEventKind::Asked, AuditEventKind::StageOpened);
    assert_eq!(events, [asked, opened, AuditEventKind::VoteCast, AuditEventKind::Approved]);
}

/// An update from another version than the stored one is lost, and nothing of it is written.
pub async fn a_stale_update_gets_the_winner_and_leaves_nothing(subject: &Subject) {
    let request = inserted(subject, "n8n", "r1", START).await;
    let winner = sample::end(&request, Status::Rejected, START.plus_millis(5));
    done(subject, winner.clone()).await;
    let winner = sample::updated(&request, &winner);
    let before = (outbox(subject, request.asked()).await, trail(subject, request.asked()).await);
    let mut late = sample::end(&request, Status::Approved, START.plus_millis(6));
    late.outbox = vec![sample::notification(&sample::asked("n8n", "r9", START), START)];
    late.policy = Some(sample::policy_record(1));
    for from in [1, 3] {
        let mut late = late.clone();
        if let Some(RequestWrite::Update { from_version, .. }) = &mut late.request {
            *from_version = from;
        }
        let lost = subject.store.commit(late).await.unwrap();
        assert_eq!(lost, Committed::Lost(Box::new(winner.clone())));
    }
    assert_eq!(load(subject, request.asked()).await, Some(winner));
    assert_eq!((outbox(subject, request.asked()).await, trail(subject, request.asked()).await), before);
    assert_eq!(outbox(subject, &sample::asked("n8n", "r9", START)).await, []);
    assert_eq!(subject.store.policy().await.unwrap(), None);
}

/// An update of a request that is not there is our own fault, and writes nothing.
pub async fn an_update_of_nothing_is_a_fault(subject: &Subject) {
    let asked = sample::asked("n8n", "r1", START);
    let request = sample::inserted(&sample::insert(&asked));
    let commit = sample::end(&request, Status::Approved, START);
    assert!(subject.store.commit(commit).await.is_err());
    assert_eq!(load(subject, &asked).await, None);
    assert_eq!(outbox(subject, &asked).await, []);
    assert_eq!(trail(subject, &asked).await, 0);
}

/// Where one entry's place is taken, nothing of the commit is written.
pub async fn a_taken_place_in_the_trail_stops_the_whole_commit(subject: &Subject) {
    let request = inserted(subject, "n8n", "r1", START).await;
    let mut commit = sample::end(&request, Status::Approved, START.plus_millis(5));
    // The last entry is at the place of the first one, which the insert wrote.
    let mut chain = ChainHead::default();
    let event = sample::event(AuditEventKind::Rejected, START);
    let facts = request.asked().facts();
    commit.audit.push(chain.append(request.asked().approval_id.as_str(), Some(&facts), event));
    commit.policy = Some(sample::policy_record(1));
    let before = outbox(subject, request.asked()).await;
    assert_eq!(subject.store.commit(commit.clone()).await.unwrap(), Committed::ChainMoved);
    assert_eq!(load(subject, request.asked()).await, Some(request.clone()));
    assert_eq!(outbox(subject, request.asked()).await, before);
    assert_eq!(trail(subject, request.asked()).await, 2);
    assert_eq!(subject.store.policy().await.unwrap(), None);
    commit.audit.truncate(2);
    done(subject, commit).await;
    assert_eq!(trail(subject, request.asked()).await, 4);
}

/// From `not_at_or_after` on, by the store's own clock, nothing is written.
pub async fn a_commit_is_late_from_its_limit_on(subject: &Subject) {
    let request = inserted(subject, "n8n", "r1", START).await;
    let closes_at = START.plus_millis(600_000);
    // What the commit itself says of the time does not matter.
    let mut commit = sample::end(&request, Status::Approved, START);
    commit.not_at_or_after = Some(closes_at);
    for late in [closes_at, closes_at.plus_millis(1)] {
        subject.clock.set(late);
        assert_eq!(subject.store.commit(commit.clone()).await.unwrap(), Committed::Late);
        assert_eq!(load(subject, request.asked()).await, Some(request.clone()));
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
    assert_eq!(lost, Committed::Lost(Box::new(sample::inserted(&commit))));
}

/// A new request learns of an older one of the same client, action and payload that still waits.
pub async fn an_older_duplicate_that_waits_is_named(subject: &Subject) {
    let ask = async |client: &str, request_id: &str, amount: u32, action: &str| {
        let mut asked = sample::asked_to_pay(client, request_id, START, amount);
        asked.action = action.into();
        match subject.store.commit(sample::insert(&asked)).await.unwrap() {
            Committed::Done { pending_twin } => pending_twin.map(|duplicate| duplicate.to_string()),
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
        done(subject, sample::end(&request, Status::Approved, START)).await;
    }
    assert_eq!(ask("n8n", "r5", 20, "payment.send").await, None);
}

/// A request that would wait is refused where as many of its client's wait as may; what ends makes room.
pub async fn no_more_of_a_clients_requests_wait_than_it_may(subject: &Subject) {
    let ask = |client: &str, request_id: &str, summary: Option<&str>| {
        let mut asked = sample::asked(client, request_id, START);
        if let Some(summary) = summary {
            asked.summary = summary.into();
        }
        let quota = Quota { max_pending: 2, ..quota(client, 0, 100) };
        Commit { quota: Some(quota), ..sample::insert(&asked) }
    };
    done(subject, ask("n8n", "r1", None)).await;
    done(subject, ask("n8n", "r2", None)).await;
    assert_eq!(subject.store.commit(ask("n8n", "r3", None)).await.unwrap(), Committed::TooManyPending);
    let refused = sample::asked("n8n", "r3", START);
    assert_eq!(load(subject, &refused).await, None);
    assert_eq!((trail(subject, &refused).await, outbox(subject, &refused).await), (0, vec![]));
    // Whoever asks the same again is told of it, another client has its own limit, and what does not wait needs none.
    let again = subject.store.commit(ask("n8n", "r2", None)).await.unwrap();
    assert!(matches!(again, Committed::Lost(_)), "{again:?}");
    done(subject, ask("zapier", "r1", None)).await;
    done(subject, ask("n8n", "r4", Some(sample::AT_ONCE))).await;
    // An end makes room for one, whatever is changed in that request afterwards.
    let request = load(subject, &sample::asked("n8n", "r1", START)).await.unwrap();
    done(subject, sample::end(&request, Status::Approved, START)).await;
    let ended = load(subject, request.asked()).await.unwrap();
    done(subject, sample::small_change(&ended, START)).await;
    done(subject, ask("n8n", "r3", None)).await;
    assert_eq!(subject.store.commit(ask("n8n", "r5", None)).await.unwrap(), Committed::TooManyPending);
    // A change that does not end it makes no room.
    let request = load(subject, &sample::asked("n8n", "r2", START)).await.unwrap();
    done(subject, sample::small_change(&request, START)).await;
    assert_eq!(subject.store.commit(ask("n8n", "r5", None)).await.unwrap(), Committed::TooManyPending);
}

/// What was decided under a policy is not written once a newer one is installed.
pub async fn a_newer_policy_stops_what_an_older_one_decided(subject: &Subject) {
    let request = inserted(subject, "n8n", "r1", START).await;
    let under = |version| Commit {
        policy_version: Some(version),
        ..sample::end(&request, Status::Approved, START.plus_millis(5))
    };
    let install = |version| Commit { policy: Some(sample::policy_record(version)), ..Commit::default() };
    done(subject, install(1)).await;
    done(subject, install(2)).await;
    let before = (outbox(subject, request.asked()).await, trail(subject, request.asked()).await);
    assert_eq!(subject.store.commit(under(1)).await.unwrap(), Committed::PolicyMoved);
    assert_eq!(load(subject, request.asked()).await, Some(request.clone()));
    assert_eq!((outbox(subject, request.asked()).await, trail(subject, request.asked()).await), before);
    done(subject, under(2)).await;
    // A lost race comes first: then nothing else matters to the loser.
    let lost = subject.store.commit(under(1)).await.unwrap();
    assert!(matches!(lost, Committed::Lost(_)), "{lost:?}");
}

/// The store holds an end against a wrong rule, too: no other end, no other time, and no waiting again.
pub async fn an_ended_request_only_gets_what_leaves_its_end_alone(subject: &Subject) {
    let request = inserted(subject, "n8n", "r1", START).await;
    let end = sample::end(&request, Status::Rejected, START.plus_millis(5));
    done(subject, end).await;
    let ended = load(subject, request.asked()).await.unwrap();
    // Entries of their own are not what keeps these out: without any, each of them is a fault all the same.
    let wrong = [
        sample::small_change(&request, START),
        sample::end(&request, Status::Approved, START.plus_millis(5)),
        sample::end(&request, Status::Rejected, START.plus_millis(6)),
    ];
    for mut commit in wrong {
        if let Some(RequestWrite::Update { from_version, .. }) = &mut commit.request {
            *from_version = ended.version();
        }
        let commit = Commit { audit: Vec::new(), outbox: Vec::new(), ..commit };
        assert!(subject.store.commit(commit).await.is_err());
    }
    assert_eq!(load(subject, ended.asked()).await, Some(ended.clone()));
    let change = sample::small_change(&ended, START);
    done(subject, change.clone()).await;
    assert_eq!(load(subject, ended.asked()).await, Some(sample::updated(&ended, &change)));
}
