//! The log in a file: killed sequencers, several processes, a database of before, and what retention takes away.

#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_wrap,
    reason = "a panic is a failed test, and these logs are small"
)]

use std::path::Path;

use placet_audit::{Edge, WIDTH, inclusion};
use placet_core::audit::{AuditEventKind, ChainHead};
use placet_gate::ports::{Store as _, TrailQuery};
use placet_sqlite::SqliteStore;
use placet_testkit::{FixedClock, sample};

fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, FixedClock::new()).unwrap()
}

async fn seal_all(store: &SqliteStore) {
    while store.seal().await.unwrap().more {}
}

/// Writes so many entries of the gate's own, and two of a request's for each hundred.
async fn write(store: &SqliteStore, count: usize) {
    let mut chain = store.chain("policy").await.unwrap();
    for start in (0..count).step_by(100) {
        let asked = sample::asked(
            "n8n",
            &format!("r{}-{start}", chain.seq),
            FixedClock::START.plus_millis(start as i64),
        );
        let mut commit = sample::insert(&asked);
        commit.audit.extend((0..98.min(count - start)).map(|number| {
            let at = FixedClock::START.plus_millis((start + number) as i64);
            chain.append("policy", None, sample::event(AuditEventKind::PolicyInstalled, at))
        }));
        store.commit(commit).await.unwrap();
    }
}

async fn root_of(store: &SqliteStore) -> placet_audit::Hash {
    let all = TrailQuery { from: 0, limit: usize::MAX, since: None, until: None };
    let mut edge = Edge::default();
    edge.append(
        store.trail(&all).await.unwrap().entries.iter().map(|placed| placed.entry.leaf_hash().unwrap()),
    );
    edge.root()
}

#[tokio::test]
async fn a_database_of_before_the_log_is_sealed_from_its_first_entry() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gate.db");
    let before = rusqlite::Connection::open(&path).unwrap();
    before.execute_batch(include_str!("../src/schema.sql")).unwrap();
    let mut chain = ChainHead::default();
    for number in 1..=300 {
        let entry = chain.append("keys", None, sample::event(AuditEventKind::KeysRotated, FixedClock::START));
        before
            .execute(
                "INSERT INTO audit (subject, seq, recorded_at, entry) VALUES ('keys', ?1, 0, ?2)",
                rusqlite::params![number, serde_json::to_string(&entry).unwrap()],
            )
            .unwrap();
    }
    before.pragma_update(None, "application_id", 0x506c_6163).unwrap();
    before.pragma_update(None, "user_version", 1).unwrap();
    drop(before);
    let store = open(&path);
    seal_all(&store).await;
    let head = store.log_head().await.unwrap();
    assert_eq!((head.leaves, head.root), (300, root_of(&store).await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_seal_one_file_without_a_gap_or_a_fork() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gate.db");
    let (here, there) = (open(&path), open(&path));
    let sealing = |store: SqliteStore| {
        tokio::spawn(async move {
            while store.log_head().await.unwrap().leaves < 2000 {
                store.seal().await.unwrap();
                tokio::task::yield_now().await;
            }
        })
    };
    let (one, other) = (sealing(here.clone()), sealing(there));
    write(&here, 2000).await;
    one.await.unwrap();
    other.await.unwrap();
    let head = here.log_head().await.unwrap();
    assert_eq!((head.leaves, head.root), (2000, root_of(&here).await));
}

#[tokio::test]
async fn a_sequencer_that_died_left_nothing_and_the_next_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gate.db");
    for round in 1..=3_u32 {
        let store = open(&path);
        write(&store, 400).await;
        // Cut off while it seals: the future is dropped between its reading and its writing, at whichever point it is.
        let cut =
            tokio::time::timeout(std::time::Duration::from_micros(u64::from(300 * round)), store.seal())
                .await;
        drop((cut, store));
        let store = open(&path);
        seal_all(&store).await;
        let head = store.log_head().await.unwrap();
        assert_eq!(head.root, root_of(&store).await);
        assert_eq!(head.leaves, 400 * u64::from(round));
    }
}

#[tokio::test]
async fn retention_takes_entries_and_never_what_proves_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gate.db");
    let store = open(&path);
    write(&store, 1000).await;
    // Nothing goes that is not sealed.
    let far = FixedClock::START.plus_millis(1_000_000);
    assert_eq!(store.prune(far).await.unwrap(), (0, 0));
    seal_all(&store).await;
    let before = store.log_head().await.unwrap();
    let all = TrailQuery { from: 0, limit: usize::MAX, since: None, until: None };
    let entries = store.trail(&all).await.unwrap().entries;

    let (taken, horizon) = store.prune(FixedClock::START.plus_millis(600)).await.unwrap();
    assert_eq!((taken, horizon), (12, 512));
    let after = store.log_head().await.unwrap();
    assert_eq!((after.leaves, after.root, after.min_index), (before.leaves, before.root, 512));
    // The gate's own chains are whole, and the others from the horizon on.
    let left = store.trail(&all).await.unwrap().entries;
    assert!(entries.iter().all(|placed| {
        let is_gates = placed.entry.text().contains("\"subject\":\"policy\"");
        left.contains(placed) == (is_gates || placed.index >= horizon)
    }));
    // What is gone is still proven: its hash is there.
    let mut tiles = placet_audit::Tiles::default();
    for number in 0..before.leaves.div_ceil(WIDTH) {
        tiles.insert(0, number, store.log_tile(0, number).await.unwrap().unwrap());
    }
    tiles.insert(1, 0, store.log_tile(1, 0).await.unwrap().unwrap());
    for placed in entries.iter().step_by(37) {
        let path = inclusion(before.leaves, placed.index, &tiles).unwrap();
        let leaf = placed.entry.leaf_hash().unwrap();
        assert!(placet_audit::check_inclusion(placed.index, before.leaves, &leaf, &path, &before.root));
    }

    // However far, the last entry stays: positions go on from it. And the horizon never goes back.
    let (_, horizon) = store.prune(far).await.unwrap();
    assert_eq!(horizon, 768);
    assert_eq!(store.prune(FixedClock::START).await.unwrap(), (0, 768));
    write(&store, 10).await;
    seal_all(&store).await;
    let last = store.trail(&TrailQuery { from: 1000, ..all }).await.unwrap().entries;
    assert_eq!(last.first().map(|placed| placed.index), Some(1000));
}
