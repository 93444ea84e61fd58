//! Processes that are killed while they commit, and processes that share one file.
//!
//! Each test starts its own binary again with the same test's name; an environment variable tells the child what to do.

#![expect(clippy::disallowed_methods, reason = "the test starts itself as another process")]
#![expect(clippy::unwrap_used, reason = "a panic is a failed test")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use placet_core::Timestamp;
use placet_core::audit::ChainHead;
use placet_core::request::{Request, Status};
use placet_gate::ports::{Commit, Committed, Store, StoreQuery};
use placet_sqlite::SqliteStore;
use placet_testkit::{FixedClock, sample};
use tokio::runtime::Runtime;

const CHILD: &str = "PLACET_TEST_CHILD_OF";

/// How often the child is killed.
const KILLS: u32 = 8;

/// How many tasks of the child commit at once.
const TASKS: u32 = 8;

/// How many changes each of several processes makes to one request.
const CHANGES: u64 = 60;

#[test]
fn what_was_acknowledged_survives_a_kill_and_nothing_is_half_written() {
    if let Some(path) = std::env::var_os(CHILD) {
        commit_until_killed(Path::new(&path));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gate.db");
    let mut acknowledged = BTreeSet::new();
    for _ in 0..KILLS {
        let mut child = start("what_was_acknowledged_survives_a_kill_and_nothing_is_half_written", &path);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // The harness prints too; a first word from the child means that it is at work.
        let first = lines.by_ref().map(Result::unwrap).find(|line| line.starts_with("did ")).unwrap();
        acknowledged.insert(first);
        std::thread::sleep(Duration::from_millis(u64::from(random() % 150)));
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged.extend(lines.map_while(Result::ok).filter(|line| line.ends_with(" ok")));
        check(&path, &acknowledged);
    }
}

#[test]
fn several_processes_share_one_file_and_wake_each_other() {
    if let Some(path) = std::env::var_os(CHILD) {
        let store = SqliteStore::open(Path::new(&path), FixedClock::new()).unwrap();
        runtime().block_on(change_often(&store));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gate.db");
    let store = SqliteStore::open(&path, FixedClock::new()).unwrap();
    let asked = sample::asked("n8n", "shared", FixedClock::START);
    let runtime = runtime();
    runtime.block_on(store.commit(sample::insert(&asked))).unwrap();
    let children: Vec<Child> =
        (0..2).map(|_| start("several_processes_share_one_file_and_wake_each_other", &path)).collect();
    let all = 3 * CHANGES + 1;
    runtime.block_on(async {
        let waiting = {
            let (store, key) = (store.clone(), asked.key());
            tokio::spawn(async move {
                // Most of what it waits for is written by others: only the watch tells.
                let mut watch = store.watch(key);
                while store.load(key).await.unwrap().unwrap().version() < all {
                    watch.changed().await;
                }
            })
        };
        change_often(&store).await;
        tokio::time::timeout(Duration::from_mins(1), waiting).await.unwrap().unwrap();
    });
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let request = runtime.block_on(store.load(asked.key())).unwrap().unwrap();
    // The first two entries are of the insert, and each change has one.
    let entries = u64::from(request.state().chain_head().seq);
    assert_eq!((request.version(), entries), (all, all + 1));
    check_trail(&runtime, &store, &request);
}

/// Starts this test again, as a child.
fn start(test: &str, path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Inserts and ends requests, and says so after each commit, until somebody kills it.
fn commit_until_killed(path: &Path) {
    let store = SqliteStore::open(path, FixedClock::new()).unwrap();
    let run = random();
    runtime().block_on(async {
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let store = store.clone();
                tokio::spawn(async move {
                    for number in 0_u32.. {
                        let request_id = format!("run{run}-{task}-{number}");
                        let at = FixedClock::START.plus_millis(number.into());
                        let asked = sample::asked("n8n", &request_id, at);
                        let insert = sample::insert(&asked);
                        let request = sample::inserted(&insert);
                        assert!(matches!(store.commit(insert).await.unwrap(), Committed::Done { .. }));
                        say(&format!("insert {request_id}"));
                        let end = sample::end(&request, Status::Approved, at);
                        assert!(matches!(store.commit(end).await.unwrap(), Committed::Done { .. }));
                        say(&format!("end {request_id}"));
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

fn say(what: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "did {what} ok").unwrap();
    out.flush().unwrap();
}

/// Opens what a killed process left behind: everything acknowledged is there, and each commit is whole or absent.
fn check(path: &Path, acknowledged: &BTreeSet<String>) {
    let runtime = runtime();
    let store = SqliteStore::open(path, FixedClock::new()).unwrap();
    let requests = all_requests(&runtime, &store);
    let ever = Timestamp::from_millis(i64::MAX);
    let outbox = runtime.block_on(store.due_messages(ever, usize::MAX)).unwrap();
    let mut found = BTreeSet::new();
    let mut entries = 0;
    for request in &requests {
        let id = request.asked().request_id.as_str();
        found.insert(format!("did insert {id} ok"));
        if request.outcome().is_some() {
            found.insert(format!("did end {id} ok"));
        }
        let messages = outbox.iter().filter(|message| message.subject.key() == Some(request.key())).count();
        let (ended, entries_of) = (request.outcome().is_some(), request.state().chain_head().seq);
        assert_eq!((messages, entries_of), if ended { (2, 4) } else { (1, 2) }, "{id}");
        check_trail(&runtime, &store, request);
        entries += entries_of as usize;
    }
    let lost: Vec<_> = acknowledged.difference(&found).collect();
    assert!(lost.is_empty(), "acknowledged, but lost: {lost:?}");
    assert_eq!(runtime.block_on(store.audit_page(0, usize::MAX)).unwrap().len(), entries);
    drop(store);
    let connection = rusqlite::Connection::open(path).unwrap();
    let verdict: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
}

fn check_trail(runtime: &Runtime, store: &SqliteStore, request: &Request) {
    let trail = runtime.block_on(store.audit_of(request.asked().approval_id.as_str())).unwrap();
    let head = trail.iter().fold(ChainHead::default(), |head, entry| {
        assert_eq!((entry.seq, &entry.prev_hash), (head.seq + 1, &head.hash));
        ChainHead { seq: entry.seq, hash: entry.hash.clone() }
    });
    assert_eq!(head, *request.state().chain_head());
}

fn all_requests(runtime: &Runtime, store: &SqliteStore) -> Vec<Request> {
    let query =
        StoreQuery { client: Some(sample::client("n8n")), status: None, limit: usize::MAX, before: None };
    runtime.block_on(store.list(&query)).unwrap()
}

/// Changes the shared request so many times, however often others are first.
async fn change_often(store: &SqliteStore) {
    let key = sample::key("n8n", "shared");
    let mut won = 0;
    while won < CHANGES {
        let request = store.load(key).await.unwrap().unwrap();
        let at = request.state().updated_at().plus_millis(1);
        let commit = Commit { outbox: Vec::new(), ..sample::small_change(&request, at) };
        match store.commit(commit).await.unwrap() {
            Committed::Done { .. } => won += 1,
            Committed::Lost(winner) => assert!(winner.version() > request.version()),
            other => unreachable!("{other:?}"),
        }
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn random() -> u32 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().subsec_micros()
}
