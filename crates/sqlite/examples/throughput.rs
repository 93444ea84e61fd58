//! How many approvals a second the store alone takes, next to what the disk can do.
//!
//! `cargo run --release -p placet-sqlite --example throughput [FOLDER]`

#![expect(clippy::unwrap_used, reason = "a measurement that fails should stop")]

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use placet_core::request::{Request, Status};
use placet_gate::ports::{Commit, Store};
use placet_sqlite::SqliteStore;
use placet_testkit::{FixedClock, sample};

const APPROVALS: i64 = 20_000;

const LOADS: u32 = 20_000;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let folder = match std::env::args_os().nth(1) {
        Some(parent) => tempfile::tempdir_in(parent).unwrap(),
        None => tempfile::tempdir().unwrap(),
    };
    println!("a synced append of 512 bytes takes {:?}", synced_append(folder.path()));
    for in_flight in [1, 32] {
        let path = folder.path().join(format!("{in_flight}.db"));
        let store = SqliteStore::open(&path, FixedClock::new()).unwrap();
        let each = APPROVALS / if in_flight == 1 { 10 } else { in_flight };
        let begin = Instant::now();
        let tasks: Vec<_> = (0..in_flight)
            .map(|task| {
                let store = store.clone();
                tokio::spawn(async move { approve(&store, task, each).await })
            })
            .collect();
        let mut times = Vec::new();
        for task in tasks {
            times.extend(task.await.unwrap());
        }
        let took = begin.elapsed();
        times.sort();
        let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or_default();
        let per_second = |count: u128| count * 1_000_000 / took.as_micros();
        let written = store.written();
        println!(
            "{in_flight} in flight: {} approvals/s, {} commits/s, {} in a batch; one approval p50 {:?}, p99 {:?}, max {:?}",
            per_second(times.len() as u128),
            per_second(written.ops.into()),
            written.ops / written.batches,
            at(50),
            at(99),
            times.last().copied().unwrap_or_default(),
        );
        let begin = Instant::now();
        for _ in 0..LOADS {
            store.load(sample::key("n8n", "r0-7")).await.unwrap();
        }
        println!("a load takes {:?}", begin.elapsed() / LOADS);
        drop(store);
        let begin = Instant::now();
        drop(SqliteStore::open(&path, FixedClock::new()).unwrap());
        println!("to open and close takes {:?}", begin.elapsed());
    }
}

/// What one approval costs the store: insert, two messages sent, update, and the reads in between.
async fn approve(store: &SqliteStore, task: i64, count: i64) -> Vec<Duration> {
    let mut times = Vec::new();
    for number in 0..count {
        let at = FixedClock::START.plus_millis(number);
        let asked = sample::asked_to_pay("n8n", &format!("r{task}-{number}"), at, 7);
        let key = asked.key();
        let begin = Instant::now();
        let insert = sample::insert(&asked);
        let message = insert.outbox.first().unwrap().id.clone();
        store.commit(insert).await.unwrap();
        let sender = {
            let store = store.clone();
            tokio::spawn(async move { store.ack(&message).await.unwrap() })
        };
        let request = store.load(key).await.unwrap().unwrap();
        store.hooks().await.unwrap();
        let end = Commit { outbox: Vec::new(), ..sample::end(&request, Status::Approved, at) };
        store.commit(end).await.unwrap();
        let request: Request = store.load(key).await.unwrap().unwrap();
        assert!(request.outcome().is_some());
        times.push(begin.elapsed());
        sender.await.unwrap();
    }
    times
}

fn synced_append(folder: &Path) -> Duration {
    const APPENDS: u32 = 1000;
    let mut file = std::fs::File::create(folder.join("baseline")).unwrap();
    let begin = Instant::now();
    for _ in 0..APPENDS {
        file.write_all(&[7; 512]).unwrap();
        file.sync_data().unwrap();
    }
    begin.elapsed() / APPENDS
}
