//! Whatever is done to an export, verification names the first entry that it was done to.

use std::sync::LazyLock;

use crate::support::{Log, lines};
use placet_audit::verify::{Finding, Intact, Seen, Tampering, export};
use placet_audit::{Hash, StoredEntry, TileName};
use proptest::prelude::*;

static LOG: LazyLock<Log> = LazyLock::new(|| Log::of(&lines(700)));

fn verify(log: &Log) -> Result<Intact, Finding> {
    match export(log, &LOG.checkpoint, 0, None) {
        Ok(result) => result,
        Err(never) => match never {},
    }
}

fn found(log: &Log) -> (Tampering, Option<u64>) {
    let finding = verify(log).unwrap_err();
    assert!(!finding.to_string().is_empty());
    (finding.tampering, finding.index)
}

fn changed(line: &str) -> String {
    // With care: the entry's own hash is right again.
    let mut entry: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
    entry.insert("actor".into(), "mallory".into());
    let text = serde_json::to_string(&entry).unwrap();
    let hash = placet_core::audit::stored_hash(&text).unwrap();
    entry.insert("hash".into(), hash.into());
    serde_json::to_string(&entry).unwrap()
}

#[test]
fn an_untouched_export_is_intact() {
    assert_eq!(verify(&LOG), Ok(Intact { size: 700, first: 0 }));
    for count in [0, 1, 255, 256, 257, 512] {
        let log = Log::of(&lines(count));
        let intact = export(&log, &log.checkpoint, 0, None).unwrap();
        assert_eq!(intact, Ok(Intact { size: count as u64, first: 0 }));
    }
}

#[test]
fn an_export_without_the_entries_past_their_retention_is_intact() {
    let mut log = LOG.clone();
    log.lines.drain(..256);
    log.tiles.remove(&TileName { level: None, number: 0, width: 256 });
    assert_eq!(export(&log, &LOG.checkpoint, 256, None).unwrap(), Ok(Intact { size: 700, first: 256 }));
    log.lines[10] = changed(&log.lines[10]);
    let finding = export(&log, &LOG.checkpoint, 256, None).unwrap().unwrap_err();
    assert_eq!((finding.tampering, finding.index), (Tampering::Changed, Some(266)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_changed_entry_is_named(at in 0_usize..700, with_care in any::<bool>()) {
        let mut log = LOG.clone();
        log.lines[at] = if with_care { changed(&log.lines[at]) } else { log.lines[at].replace("Zoë", "Zoe") };
        prop_assert_eq!(found(&log), (Tampering::Changed, Some(at as u64)));
    }

    #[test]
    fn a_changed_entry_with_its_tile_and_bundle_is_named(at in 0_usize..700) {
        let mut log = LOG.clone();
        log.lines[at] = changed(&log.lines[at]);
        let forged = Log::of(&log.lines);
        // The tiles of the first level alone: those above still lead to the signed head.
        for (name, bytes) in &forged.tiles {
            if name.level != Some(1) {
                log.tiles.insert(*name, bytes.clone());
            }
        }
        let (tampering, index) = found(&log);
        prop_assert!(matches!(tampering, Tampering::ChainBroken | Tampering::NotTheHead { .. }), "{:?}", tampering);
        // The next entry of its chain names the hash that it had: five chains, so at most five entries on. Where no
        // entry follows, a whole tile's is the block; in the last tile nothing above it says more.
        let index = index.unwrap();
        let in_block = index == at as u64 / 256 * 256 || at >= 512 && index == 0;
        prop_assert!(in_block || (index > at as u64 && index <= at as u64 + 5), "{} {}", at, index);
    }

    #[test]
    fn a_history_that_was_made_anew_does_not_lead_to_the_signed_head(at in 0_usize..700) {
        let mut lines = LOG.lines.clone();
        lines[at] = changed(&lines[at]);
        let forged = Log::of(&lines);
        prop_assert!(verify(&forged).is_err());
    }

    #[test]
    fn a_dropped_entry_is_named(at in 0_usize..699) {
        let mut log = LOG.clone();
        log.lines.remove(at);
        prop_assert_eq!(found(&log), (Tampering::Dropped, Some(at as u64)));
    }

    #[test]
    fn several_dropped_entries_are_named_by_the_first(at in 0_usize..690, count in 2_usize..9) {
        let mut log = LOG.clone();
        log.lines.drain(at..at + count);
        prop_assert_eq!(found(&log), (Tampering::Dropped, Some(at as u64)));
    }

    #[test]
    fn reordered_entries_are_named_by_the_first(one in 0_usize..700, other in 0_usize..700) {
        prop_assume!(one != other);
        let mut log = LOG.clone();
        log.lines.swap(one, other);
        prop_assert_eq!(found(&log), (Tampering::Reordered, Some(one.min(other) as u64)));
    }

    #[test]
    fn an_inserted_entry_is_named(at in 0_usize..=700, is_a_copy in any::<bool>(), from in 0_usize..700) {
        let mut log = LOG.clone();
        let line = if is_a_copy { log.lines[from].clone() } else { changed(&log.lines[from]) };
        log.lines.insert(at, line);
        let (tampering, index) = found(&log);
        if is_a_copy && from >= at {
            // A copy before its original: from here on nothing is in its place, and the first such entry is named.
            prop_assert!(matches!(tampering, Tampering::Inserted | Tampering::Reordered), "{:?}", tampering);
            prop_assert!(index >= Some(at as u64));
        } else {
            prop_assert_eq!((tampering, index), (Tampering::Inserted, Some(at as u64)));
        }
    }

    #[test]
    fn cut_off_entries_are_named_by_the_first(left in 0_usize..700) {
        let mut log = LOG.clone();
        log.lines.truncate(left);
        prop_assert_eq!(found(&log), (Tampering::CutOff { size: 700 }, Some(left as u64)));
    }

    #[test]
    fn a_changed_byte_of_any_tile_or_bundle_is_found(which in any::<prop::sample::Index>(), byte in any::<prop::sample::Index>()) {
        let mut log = LOG.clone();
        let names: Vec<TileName> = log.tiles.keys().copied().collect();
        let name = *which.get(&names);
        let tile = log.tiles.get_mut(&name).unwrap();
        let place = byte.index(tile.len());
        tile[place] ^= 1;
        let (tampering, index) = found(&log);
        prop_assert_eq!(tampering, Tampering::Tile(name));
        if name.level == Some(0) {
            prop_assert_eq!(index, Some(name.number * 256 + place as u64 / 32));
        }
    }

    #[test]
    fn a_missing_or_shortened_tile_is_found(which in any::<prop::sample::Index>(), is_gone in any::<bool>()) {
        let mut log = LOG.clone();
        let names: Vec<TileName> = log.tiles.keys().copied().collect();
        let name = *which.get(&names);
        if is_gone {
            log.tiles.remove(&name);
        } else {
            let tile = log.tiles.get_mut(&name).unwrap();
            tile.truncate(tile.len() - 1);
        }
        prop_assert_eq!(found(&log).0, Tampering::Tile(name));
    }

    #[test]
    fn a_log_of_the_same_key_that_is_another_is_known_by_the_older_head(at in 0_usize..400) {
        let mut lines = LOG.lines[..400].to_vec();
        let seen = Log::of(&lines);
        let leaves: Vec<Hash> =
            lines.iter().map(|line| StoredEntry::new(line.clone()).leaf_hash().unwrap()).collect();
        lines[at] = changed(&lines[at]);
        lines.extend_from_slice(&LOG.lines[400..]);
        // The key's holder signs the rewritten log: on its own it is whole, but for the chain.
        let rewritten = Log::of(&lines);
        let verify = |seen: &Seen| export(&rewritten, &rewritten.checkpoint, 0, Some(seen)).unwrap().unwrap_err();
        let with_leaves = Seen { checkpoint: seen.checkpoint.clone(), leaves };
        let finding = verify(&with_leaves);
        if finding.tampering != Tampering::ChainBroken {
            prop_assert_eq!((finding.tampering, finding.index), (Tampering::Rewritten { seen: 400 }, Some(at as u64)));
        }
        let finding = verify(&Seen { leaves: Vec::new(), ..with_leaves });
        let is_known = matches!(finding.tampering, Tampering::ChainBroken | Tampering::Rewritten { seen: 400 });
        prop_assert!(is_known, "{}", finding);
    }

    #[test]
    fn a_log_that_was_cut_off_and_signed_anew_is_known_by_the_older_head(left in 0_usize..700) {
        let shorter = Log::of(&LOG.lines[..left]);
        let seen = Seen { checkpoint: LOG.checkpoint.clone(), leaves: Vec::new() };
        let finding = export(&shorter, &shorter.checkpoint, 0, Some(&seen)).unwrap().unwrap_err();
        prop_assert_eq!((finding.tampering, finding.index), (Tampering::CutOff { size: 700 }, Some(left as u64)));
    }
}

#[test]
fn a_field_that_stands_twice_is_a_change() {
    let mut log = LOG.clone();
    log.lines[3] = log.lines[3].replacen('{', "{\"approved\":false,", 1);
    assert_eq!(found(&log), (Tampering::Changed, Some(3)));
}

#[test]
fn a_log_that_grew_from_the_seen_head_is_intact() {
    for left in [0, 1, 256, 400, 700] {
        let seen = Log::of(&LOG.lines[..left]);
        let seen = Seen { checkpoint: seen.checkpoint, leaves: Vec::new() };
        assert_eq!(
            export(&*LOG, &LOG.checkpoint, 0, Some(&seen)).unwrap(),
            Ok(Intact { size: 700, first: 0 })
        );
    }
}
