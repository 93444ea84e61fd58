//! The transparency log: what every store seals, and how it is read.

use std::collections::HashSet;
use std::sync::Arc;

use placet_audit::{Edge, Hash, StoredEntry, TileName, Tiles, WIDTH, root};
use placet_core::audit::{AuditEventKind, ChainHead};
use placet_core::request::Status;
use placet_gate::ports::{Commit, LogHead, PlacedEntry, Store, TrailQuery};

use super::{START, all, done, inserted};
use crate::{Subject, sample};

/// Each entry becomes a leaf, once, and the head is the root over them, whatever the batches were.
pub async fn every_entry_is_sealed_once(subject: &Subject) {
    let store = &subject.store;
    assert_eq!(head(store).await, LogHead::default());
    assert_eq!(store.seal().await.unwrap().entries, 0);
    for number in 0..5 {
        let request = inserted(subject, "n8n", &format!("r{number}"), START.plus_millis(number)).await;
        if number % 2 == 0 {
            done(subject, sample::end(&request, Status::Approved, START.plus_millis(1000 + number))).await;
        }
        seal_all(store).await;
        check_log(store).await;
    }
    assert_eq!(head(store).await.leaves, 5 * 2 + 3 * 2);
    assert_eq!(store.seal().await.unwrap().entries, 0);
}

/// Of many sequencers beside each other, one writes each batch, while others go on committing.
pub async fn sequencers_beside_each_other_never_fork(subject: &Subject) {
    let commits = (0..40).map(|number| {
        let asked = sample::asked("n8n", &format!("r{number}"), START.plus_millis(number));
        let store = Arc::clone(&subject.store);
        async move { drop(store.commit(sample::insert(&asked)).await.unwrap()) }
    });
    let sealing = (0..4).map(|_| {
        let store = Arc::clone(&subject.store);
        async move {
            while store.log_head().await.unwrap().leaves < 80 {
                store.seal().await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    });
    let (_, _) = tokio::join!(all(commits), all(sealing));
    check_log(&subject.store).await;
    let names: HashSet<String> =
        trail(&subject.store).await.iter().map(|placed| placed.entry.text().to_owned()).collect();
    assert_eq!((head(&subject.store).await.leaves, names.len()), (80, 80));
}

/// A tile that is full never changes; tiles of all levels lead to the head, and to every head before it.
pub async fn a_log_of_many_tiles_proves_all_its_heads(subject: &Subject) {
    let mut chain = ChainHead::default();
    let mut heads = Vec::new();
    for _ in 0..9 {
        for _ in 0..2 {
            let audit: Vec<_> = (0..30)
                .map(|_| chain.append("policy", None, sample::event(AuditEventKind::PolicyInstalled, START)))
                .collect();
            done(subject, Commit { audit, ..Commit::default() }).await;
        }
        seal_all(&subject.store).await;
        heads.push(head(&subject.store).await);
    }
    check_log(&subject.store).await;
    let tiles = tiles(&subject.store, 540).await;
    for head in heads {
        assert_eq!(root(head.leaves, &tiles), Ok(head.root));
    }
    assert_eq!(tiles.get(0, 1).map(<[u8]>::len), Some(256 * 32));
    assert_eq!(subject.store.log_tile(0, 3).await.unwrap(), None);
    assert_eq!(subject.store.log_tile(3, 0).await.unwrap(), None);
}

/// The trail shows what is sealed in the log's order, and behind it what is not sealed yet.
pub async fn the_trail_is_paged_by_place_and_time(subject: &Subject) {
    let store = &subject.store;
    for number in 0..4 {
        inserted(subject, "n8n", &format!("r{number}"), START.plus_millis(number * 1000)).await;
    }
    seal_all(store).await;
    let request = inserted(subject, "n8n", "late", START.plus_millis(9000)).await;
    let whole = trail(store).await;
    assert_eq!(whole.len(), 10);
    let page =
        async |from, limit| store.trail(&TrailQuery { from, limit, since: None, until: None }).await.unwrap();
    let (first, second) = (page(0, 4).await, page(4, 4).await);
    assert_eq!((first.next, second.next, page(8, 4).await.next), (Some(4), Some(8), None));
    let paged: Vec<_> = [first.entries, second.entries, page(8, 4).await.entries].concat();
    assert_eq!(paged, whole);
    assert_eq!(page(50, 4).await.entries, []);
    let between = TrailQuery {
        from: 0,
        limit: 100,
        since: Some(START.plus_millis(1000)),
        until: Some(START.plus_millis(3000)),
    };
    let found = store.trail(&between).await.unwrap().entries;
    assert_eq!(found.iter().map(|placed| placed.index).collect::<Vec<_>>(), [2, 3, 4, 5]);
    let own = store.trail_of(request.asked().approval_id.as_str()).await.unwrap();
    assert_eq!(own, whole.iter().skip(8).map(|placed| placed.entry.clone()).collect::<Vec<StoredEntry>>());
}

/// Where an entry is, is known once it is sealed.
pub async fn an_entry_is_found_in_the_log(subject: &Subject) {
    let store = &subject.store;
    let first = inserted(subject, "n8n", "r1", START).await;
    let second = inserted(subject, "n8n", "r2", START.plus_millis(5)).await;
    done(subject, sample::end(&first, Status::Rejected, START.plus_millis(9))).await;
    seal_all(store).await;
    let names = [(&first, 4), (&second, 2)];
    let whole = trail(store).await;
    for (request, count) in names {
        let subject = request.asked().approval_id.as_str();
        let entries = store.trail_of(subject).await.unwrap();
        assert_eq!(entries.len(), count);
        for (seq, entry) in (1..).zip(&entries) {
            let index = store.log_index(subject, seq).await.unwrap().unwrap();
            assert_eq!(
                whole.iter().find(|placed| placed.index == index).map(|placed| &placed.entry),
                Some(entry)
            );
        }
        let beyond = u32::try_from(count).unwrap() + 1;
        assert_eq!(store.log_index(subject, beyond).await.unwrap(), None);
    }
    assert_eq!(store.log_index("nobody", 1).await.unwrap(), None);
}

async fn head(store: &Arc<dyn Store>) -> LogHead {
    store.log_head().await.unwrap()
}

async fn seal_all(store: &Arc<dyn Store>) {
    while store.seal().await.unwrap().more {}
}

async fn trail(store: &Arc<dyn Store>) -> Vec<PlacedEntry> {
    store.trail(&TrailQuery { from: 0, limit: usize::MAX, since: None, until: None }).await.unwrap().entries
}

/// The trail's entries are the leaves, in their order, and the tiles lead to the head.
async fn check_log(store: &Arc<dyn Store>) {
    let head = head(store).await;
    let entries = trail(store).await;
    let sealed: Vec<&PlacedEntry> = entries.iter().filter(|placed| placed.index < head.leaves).collect();
    let places: Vec<u64> = sealed.iter().map(|placed| placed.index).collect();
    assert_eq!(places, (0..head.leaves).collect::<Vec<_>>());
    let leaves: Vec<Hash> = sealed.iter().map(|placed| placed.entry.leaf_hash().unwrap()).collect();
    let mut edge = Edge::default();
    edge.append(leaves);
    assert_eq!(edge.root(), head.root);
    assert_eq!(root(head.leaves, &tiles(store, head.leaves).await), Ok(head.root));
}

async fn tiles(store: &Arc<dyn Store>, size: u64) -> Tiles {
    let mut tiles = Tiles::default();
    for name in TileName::all(size, size / WIDTH * WIDTH + WIDTH) {
        if let Some(level) = name.level {
            let hashes = store.log_tile(level, name.number).await.unwrap().unwrap();
            assert!(hashes.len() >= usize::from(name.width) * 32);
            tiles.insert(level, name.number, hashes);
        }
    }
    tiles
}
