//! What every store promises, one promise a function. [`crate::store_contract`] makes a test of each.
//!
//! A store that is slower, or far away, passes the same ones: nothing here measures time, and only a wake-up that never
//! comes runs into a limit.

mod commits;
mod due;
mod lists;
mod log;
mod races;
mod records;
mod totals;
mod watching;

use std::time::Duration;

use placet_core::Timestamp;
use placet_core::request::{ApprovalRequest, Request, Status};
use placet_gate::ports::{Commit, Committed, OutboxMessage, Quota, StoreQuery};

use crate::{FixedClock, Subject, sample};

pub use commits::*;
pub use due::*;
pub use lists::*;
pub use log::*;
pub use races::*;
pub use records::*;
pub use totals::*;
pub use watching::*;

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
            no_more_of_a_clients_requests_wait_than_it_may
            a_newer_policy_stops_what_an_older_one_decided
            an_ended_request_only_gets_what_leaves_its_end_alone
            an_older_duplicate_that_waits_is_named
            closing_requests_come_the_earliest_first
            due_messages_come_the_oldest_first
            the_next_due_time_is_the_earliest_of_all
            a_message_is_claimed_by_one_of_many
            what_was_moved_or_acknowledged_cannot_be_claimed
            an_acknowledged_message_is_forgotten
            others_come_in_the_place_of_a_message
            how_a_message_ended_is_remembered_by_day_and_its_first_end_stays
            messages_about_the_gate_are_kept_apart_from_requests
            every_kind_of_message_comes_back_as_it_was
            lists_are_newest_first_and_go_on_where_they_stopped
            a_list_can_be_of_one_status
            a_list_can_be_of_all_clients
            pending_requests_come_in_pages_by_deadline
            pages_of_pending_requests_split_one_deadline
            a_watch_wakes_when_its_request_changes
            a_change_between_the_watch_and_the_wait_is_not_lost
            no_wake_up_is_lost_in_a_crowd
            a_watch_of_all_wakes_with_every_change
            what_waits_has_another_digest_when_it_changes
            a_reviewers_votes_are_found_the_newest_first
            subscriptions_come_and_go
            a_policy_version_is_installed_once
            who_is_away_and_paused_is_kept_with_the_version
            a_chain_ends_with_its_last_entry
            a_name_is_marked_by_one_until_its_time
            what_was_sent_is_found_by_its_approval
            a_reviewers_devices_come_and_go
            a_tally_gives_each_a_number_of_its_own
            running_totals_add_up_and_are_taken_back
            what_was_judged_by_an_older_total_is_not_written
            no_crowd_adds_to_a_total_that_it_has_not_read
            one_of_many_inserts_wins_and_all_see_it
            one_of_many_updates_wins_and_all_see_it
            no_crowd_gets_past_the_limit_of_those_that_wait
            one_of_many_entries_gets_a_place_in_the_trail
            a_read_sees_every_commit_that_returned
            every_entry_is_sealed_once
            sequencers_beside_each_other_never_fork
            a_log_of_many_tiles_proves_all_its_heads
            the_trail_is_paged_by_place_and_time
            an_entry_is_found_in_the_log
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

async fn load(subject: &Subject, asked: &ApprovalRequest) -> Option<Request> {
    subject.store.load(asked.key()).await.unwrap()
}

/// The messages about a request that wait, by id.
async fn outbox(subject: &Subject, asked: &ApprovalRequest) -> Vec<OutboxMessage> {
    let mut messages = everything_due(subject).await;
    messages.retain(|message| message.subject.key() == Some(asked.key()));
    messages.sort_by(|one, other| one.id.cmp(&other.id));
    messages
}

async fn everything_due(subject: &Subject) -> Vec<OutboxMessage> {
    subject.store.due_messages(Timestamp::from_millis(i64::MAX), usize::MAX).await.unwrap()
}

async fn trail(subject: &Subject, asked: &ApprovalRequest) -> usize {
    subject.trail.audit_of(asked.approval_id.as_str()).await.len()
}

async fn list(
    subject: &Subject,
    status: Option<Status>,
    limit: usize,
    before: Option<placet_core::id::ApprovalId>,
) -> Vec<Request> {
    let query = StoreQuery { client: Some(sample::client("n8n")), status, limit, before };
    subject.store.list(&query).await.unwrap()
}

async fn done(subject: &Subject, commit: Commit) {
    let outcome = subject.store.commit(commit).await.unwrap();
    assert!(matches!(outcome, Committed::Done { .. }), "{outcome:?}");
}

/// Inserts a request that waits. No two of them are duplicates.
async fn inserted(subject: &Subject, client: &str, request_id: &str, at: Timestamp) -> Request {
    let commit = sample::insert(&sample::asked(client, request_id, at));
    done(subject, commit.clone()).await;
    sample::inserted(&commit)
}

/// An allowance of so many new requests, with no limit to those that wait.
fn quota(client: &str, minutes: i64, limit: u32) -> Quota {
    Quota {
        client: sample::client(client),
        minute: START.seconds() / 60 + minutes,
        limit,
        max_pending: u32::MAX,
    }
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
