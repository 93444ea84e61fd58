//! The log's forms, beside other people's code: roots, proofs, tiles, notes.

use crate::support::{Log, lines, log_key};
use ed25519_dalek::SigningKey;
use placet_audit::note::{self, Algorithm, NoteProblem, Signer, VerifierKey};
use placet_audit::{
    Checkpoint, Edge, Hash, InclusionProof, Tiles, Wanted, check_consistency, check_inclusion, consistency,
    inclusion, leaf_hash, root,
};
use proptest::prelude::*;
use tlog_tiles::tlog;

fn leaves(count: usize) -> Vec<Hash> {
    (0..count).map(|number| leaf_hash(format!("leaf {number}").as_bytes())).collect()
}

/// Cloudflare's reckoning over the same leaves.
struct Oracle(Vec<tlog::Hash>);

impl tlog::HashReader for Oracle {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog::Hash>, tlog_tiles::Error> {
        Ok(indexes.iter().map(|index| self.0[*index as usize]).collect())
    }
}

impl Oracle {
    fn over(leaves: &[Hash]) -> Self {
        let mut oracle = Self(Vec::new());
        for (number, leaf) in leaves.iter().enumerate() {
            let hashes =
                tlog::stored_hashes_for_record_hash(number as u64, tlog::Hash(*leaf), &oracle).unwrap();
            oracle.0.extend(hashes);
        }
        oracle
    }
}

#[test]
fn roots_and_proofs_are_those_of_another_implementation() {
    for count in [1, 2, 3, 7, 8, 255, 256, 257, 511, 600, 1000] {
        let leaves = leaves(count);
        let (size, oracle, tiles) = (count as u64, Oracle::over(&leaves), tiles_of(&leaves));
        let head = root(size, &tiles).unwrap();
        assert_eq!(head, tlog::tree_hash(size, &oracle).unwrap().0);
        for index in (0..size).step_by(count / 7 + 1) {
            let path = inclusion(size, index, &tiles).unwrap();
            let theirs = tlog::prove_record(size, index, &oracle).unwrap();
            assert_eq!(path, theirs.iter().map(|hash| hash.0).collect::<Vec<_>>());
            assert!(check_inclusion(index, size, &leaves[index as usize], &path, &head));
            let old = index + 1;
            let path = consistency(old, size, &tiles).unwrap();
            let theirs = tlog::prove_tree(size, old, &oracle).unwrap();
            assert_eq!(path, theirs.iter().map(|hash| hash.0).collect::<Vec<_>>());
            assert!(check_consistency(old, &root(old, &tiles).unwrap(), size, &head, &path));
        }
    }
}

fn tiles_of(leaves: &[Hash]) -> Tiles {
    Log::over(&vec![String::new(); leaves.len()], leaves).hashes()
}

#[test]
fn a_log_of_no_leaves_has_the_root_of_nothing() {
    assert_eq!(root(0, &Tiles::default()), Ok(placet_audit::EMPTY_ROOT));
    assert_eq!(Edge::default().root(), placet_audit::EMPTY_ROOT);
    assert_eq!(root(1, &Tiles::default()), Err(Wanted { level: 0, number: 0 }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn appended_in_any_batches_a_log_is_the_same(sizes in prop::collection::vec(0_usize..400, 1..6)) {
        let all = leaves(sizes.iter().sum());
        let (mut edge, mut full, mut start) = (Edge::default(), Vec::new(), 0);
        for size in sizes {
            // Each batch begins from what was kept of the one before, as a sequencer does.
            edge = Edge::new(edge.leaves(), &edge.levels()).unwrap();
            full.extend(edge.append(all[start..start + size].iter().copied()));
            start += size;
        }
        let mut once = Edge::default();
        prop_assert_eq!(&full, &once.append(all.iter().copied()));
        prop_assert_eq!(&edge, &once);
        prop_assert_eq!(edge.root(), root(all.len() as u64, &tiles_of(&all)).unwrap());
    }

    #[test]
    fn a_proof_holds_for_its_own_leaf_and_place_alone(size in 2_u64..700, at in 0_u64..700, other in 0_u64..700) {
        let (at, other) = (at % size, other % size);
        let leaves = leaves(size as usize);
        let tiles = tiles_of(&leaves);
        let (head, path) = (root(size, &tiles).unwrap(), inclusion(size, at, &tiles).unwrap());
        prop_assert!(check_inclusion(at, size, &leaves[at as usize], &path, &head));
        if other != at {
            prop_assert!(!check_inclusion(at, size, &leaves[other as usize], &path, &head));
            prop_assert!(!check_inclusion(other, size, &leaves[at as usize], &path, &head));
        }
        let mut longer = path.clone();
        longer.push(head);
        prop_assert!(!check_inclusion(at, size, &leaves[at as usize], &longer, &head));
        prop_assert!(!check_inclusion(at, size, &leaves[at as usize], &path[1..], &head));
    }

    #[test]
    fn heads_are_consistent_only_with_what_they_grew_from(old in 1_u64..500, more in 1_u64..300, wrong in any::<u64>()) {
        let size = old + more;
        let leaves = leaves(size as usize);
        let tiles = tiles_of(&leaves);
        let (before, head) = (root(old, &tiles).unwrap(), root(size, &tiles).unwrap());
        let path = consistency(old, size, &tiles).unwrap();
        prop_assert!(check_consistency(old, &before, size, &head, &path));
        let mut forked = leaves.clone();
        forked[(wrong % old) as usize] = [3; 32];
        let fork = root(old, &tiles_of(&forked)).unwrap();
        prop_assert!(!check_consistency(old, &fork, size, &head, &path));
        prop_assert!(!check_consistency(size, &head, old, &before, &path));
    }

    #[test]
    fn a_flipped_bit_anywhere_in_a_proof_is_found(byte in 0_usize..10_000, bit in 0_u8..8) {
        let log = Log::of(&lines(300));
        let leaf = placet_audit::StoredEntry::new(log.lines[123].clone()).leaf_hash().unwrap();
        let proof = InclusionProof { index: 123, path: inclusion(300, 123, &log.hashes()).unwrap(), checkpoint: log.note.clone() };
        let text = proof.to_string();
        prop_assert!(proof.check(&leaf, &log_key().verifier()).unwrap().is_some());
        prop_assert_eq!(InclusionProof::parse(&text), Ok(proof));
        let mut bytes = text.clone().into_bytes();
        let place = byte % bytes.len();
        bytes[place] ^= 1 << bit;
        if let Ok(Ok(changed)) = String::from_utf8(bytes).map(|text| InclusionProof::parse(&text)) {
            prop_assert!(!matches!(changed.check(&leaf, &log_key().verifier()), Ok(Some(_))), "byte {} bit {}", place, bit);
        }
    }
}

#[test]
fn another_library_opens_our_notes_and_we_open_theirs() {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use signed_note::{Signer as _, Verifier as _};
    let ours = log_key();
    let theirs = signed_note::StandardVerifier::new(&ours.verifier().to_string()).unwrap();
    let note = ours.checkpoint(3, [1; 32]);
    let body = note.split_once("\n\n").unwrap().0.to_owned() + "\n";
    let bytes = STANDARD.decode(note.rsplit_once(' ').unwrap().1.trim_end()).unwrap();
    assert!(theirs.verify(body.as_bytes(), &bytes[4..]));
    assert_eq!(theirs.key_id().to_be_bytes(), bytes[..4]);

    let secret = SigningKey::from_bytes(&[5; 32]);
    let public = [&[1_u8], secret.verifying_key().as_bytes().as_slice()].concat();
    let id = format!("{:08x}", signed_note::key_id("placet/log/00", &public));
    let vkey = format!("placet/log/00+{id}+{}", STANDARD.encode(&public));
    let key = STANDARD.encode([&[1_u8], secret.as_bytes().as_slice()].concat());
    let signer = signed_note::StandardSigner::new(&format!("PRIVATE+KEY+placet/log/00+{id}+{key}")).unwrap();
    let text = "placet/log/00\n3\nAAAA\n";
    let line = [signer.key_id().to_be_bytes().to_vec(), signer.sign(text.as_bytes()).unwrap()].concat();
    let note = format!("{text}\n\u{2014} placet/log/00 {}\n", STANDARD.encode(line));
    assert_eq!(note::open(&note, &VerifierKey::parse(&vkey).unwrap()), Ok((text, None)));
}

#[test]
fn the_keys_of_tokens_are_signed_for_one_export() {
    let key = log_key();
    let (vkey, jwks) = (key.verifier(), br#"{"keys":[]}"#);
    let good = key.token_keys(300, jwks);
    let sha256 = "9638d11914735d0072002dd4d67c734a94ee7a0cd845e6dcbc984ee7581860a7";
    let opened = note::TokenKeys::open(&good, &vkey).unwrap();
    assert_eq!((opened.size, opened.sha256.as_str()), (300, sha256));
    assert_eq!(good.split_once("\n\n").unwrap().0, format!("{}\njwks.json 300 {sha256}", key.origin()));
    for (note, problem) in [
        (good.replace(" 300 ", " 301 "), NoteProblem::WrongSignature),
        (good.replace(&format!(" 300 {}", &sha256[..1]), " 300 x"), NoteProblem::WrongSignature),
        (good.replace('\u{2014}', "-"), NoteProblem::Malformed),
        (String::new(), NoteProblem::Malformed),
        // What the log has signed for something else says nothing of keys.
        (key.horizon(300), NoteProblem::Malformed),
        (key.checkpoint(300, [1; 32]), NoteProblem::Malformed),
    ] {
        assert_eq!(note::TokenKeys::open(&note, &vkey), Err(problem), "{note}");
    }
    // Nor do keys say anything of the log.
    assert_eq!(Checkpoint::open(&good, &vkey), Err(NoteProblem::NotACheckpoint));
    assert_eq!(note::open_horizon(&good, &vkey), Err(NoteProblem::Malformed));
}

#[test]
fn what_is_not_a_note_of_this_key_is_refused() {
    let key = log_key();
    let (vkey, good) = (key.verifier(), key.checkpoint(5, [1; 32]));
    let opened = Checkpoint::open(&good, &vkey).unwrap();
    assert_eq!((opened.size, opened.root, opened.origin.as_str()), (5, [1; 32], key.origin()));
    let other = Signer::witness("w", SigningKey::from_bytes(&[8; 32]), 77).unwrap();
    let cosigned = note::cosign(&good, &[&other]).unwrap();
    assert_eq!(Checkpoint::open(&cosigned, &vkey), Ok(opened.clone()));
    assert_eq!(note::open(&cosigned, other.key()).map(|(_, time)| time), Ok(Some(77)));
    assert_eq!(note::open(&good, other.key()), Err(NoteProblem::NotSigned));
    for (note, problem) in [
        (good.replace("\n5\n", "\n6\n"), NoteProblem::WrongSignature),
        (good.replace("\n5\n", "\n05\n"), NoteProblem::WrongSignature),
        (good.trim_end().to_owned(), NoteProblem::Malformed),
        (good.replace('\n', "\r\n"), NoteProblem::Malformed),
        (good.replace('\u{2014}', "-"), NoteProblem::Malformed),
        (String::new(), NoteProblem::Malformed),
        (format!("{good}\u{2014} x !\n"), NoteProblem::Malformed),
    ] {
        assert_eq!(Checkpoint::open(&note, &vkey), Err(problem), "{note}");
    }
    for text in ["a+b+c", "", "placet/log/00", &vkey.to_string().replace('+', " "), &format!("x{vkey}")] {
        assert_eq!(VerifierKey::parse(text), None, "{text}");
    }
    assert_eq!(VerifierKey::parse(&vkey.to_string()), Some(vkey));
    assert!(
        VerifierKey::new("a b", Algorithm::Ed25519, SigningKey::from_bytes(&[1; 32]).verifying_key())
            .is_none()
    );
    for body in ["o\n05\nAAAA\n", "o\n5\nAAAA\n", "\n5\nAAAA\n", "o\n5\n", "o\n+5\nAAAA\n"] {
        assert_eq!(Checkpoint::parse(body), None, "{body}");
    }
}
