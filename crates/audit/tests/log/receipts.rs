//! A receipt proves its request's end, and nothing once a letter of it is another.

use placet_audit::note::{NoteProblem, VerifierKey};
use placet_audit::{InclusionProof, LogKey, Receipt, ReceiptProblem, StoredEntry, Trust, inclusion};
use placet_core::Timestamp;
use placet_core::audit::{AuditEvent, AuditEventKind, ChainHead, Channel, RequestFacts};
use placet_core::keys::{Keyring, Secret};
use placet_core::payload::Payload;
use placet_core::token::{Claims, MintKey, mint, token_hash};
use serde_json::{Value, json};

use crate::support::{Log, lines, log_key};

const APPROVAL: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

fn digest() -> String {
    "5".repeat(64)
}

fn token() -> String {
    let ring = Keyring::first(Secret::new([1; 32]), Secret::new([2; 32]), Timestamp::from_millis(0));
    let claims: Claims = serde_json::from_value(json!({
        "iss": "https://gate.example.com", "sub": "invoice-4711", "aud": "n8n", "jti": APPROVAL,
        "iat": 1_700_000_000, "exp": 1_700_003_600, "status": "approved", "approved": true,
        "action": "payment.send", "payload_sha256": digest(), "decided_by": ["bob"], "rule": "payments", "policy": 3,
    }))
    .unwrap();
    mint(&claims, &MintKey::EdDsa(ring.current.signing_key(), ring.current.kid())).unwrap()
}

fn entries() -> Vec<StoredEntry> {
    let mut chain = ChainHead::default();
    let facts = RequestFacts {
        request_id: "invoice-4711".into(),
        client: "n8n".into(),
        action: "payment.send".into(),
        payload_sha256: digest(),
        rule: Some("payments".into()),
        policy: 3,
    };
    let kinds = [
        AuditEventKind::Asked,
        AuditEventKind::StageOpened,
        AuditEventKind::VoteCast,
        AuditEventKind::Approved,
    ];
    kinds
        .into_iter()
        .map(|kind| {
            let is_end = kind.is_end();
            let event = AuditEvent {
                timestamp: Timestamp::from_millis(1_700_000_000_000),
                kind,
                actor: "bob".into(),
                channel: Channel::Page,
                approved: is_end,
                approved_by: is_end.then(|| "bob".into()),
                token_hash: is_end.then(|| token_hash(&token())),
                detail: None,
            };
            StoredEntry::new(serde_json::to_string(&chain.append(APPROVAL, Some(&facts), event)).unwrap())
        })
        .collect()
}

fn receipt() -> Receipt {
    let mut all = lines(300);
    all.extend(entries().iter().map(|entry| entry.text().to_owned()));
    let log = Log::of(&all);
    let path = inclusion(304, 303, &log.hashes()).unwrap();
    let proof = InclusionProof { index: 303, path, checkpoint: log.note };
    Receipt::new(&entries(), &proof, &log_key().verifier(), Some(token())).unwrap()
}

fn problem(change: impl FnOnce(&mut Value)) -> ReceiptProblem {
    let mut value = serde_json::to_value(receipt()).unwrap();
    change(&mut value);
    let bytes = serde_json::to_vec(&value).unwrap();
    Receipt::read(&bytes).and_then(|receipt| receipt.verify(&Trust::default())).unwrap_err()
}

#[test]
fn a_receipt_proves_how_a_request_ended() {
    let text = serde_json::to_vec(&receipt()).unwrap();
    let read = Receipt::read(&text).unwrap();
    let trust = Trust { log_key: Some(log_key().verifier()), payload_sha256: Some(digest()) };
    let proven = read.verify(&trust).unwrap();
    assert_eq!(
        (proven.status, proven.index, proven.checkpoint.size, proven.is_pinned),
        ("approved", 303, 304, true)
    );
    assert_eq!(proven.end["approved_by"], "bob");
    let without = Receipt { token: None, ..read.clone() };
    let proven = without.verify(&Trust::default()).unwrap();
    assert!(!proven.is_pinned && !proven.has_token);
    // What stands beside the entries is proven by nothing.
    let mut beside = serde_json::to_value(&read).unwrap();
    beside["approved_by"] = json!("mallory");
    assert_eq!(Receipt::read(beside.to_string().as_bytes()).unwrap_err().code(), "malformed");
    assert!(text.len() < 6000, "{} bytes", text.len());
    let other = LogKey::from_key(ed25519_dalek::SigningKey::from_bytes(&[9; 32])).verifier();
    let wrong = |trust| read.verify(&trust).unwrap_err();
    assert_eq!(
        wrong(Trust { log_key: Some(other), ..Trust::default() }),
        ReceiptProblem::Checkpoint(NoteProblem::NotSigned)
    );
    assert_eq!(
        wrong(Trust { payload_sha256: Some("6".repeat(64)), ..Trust::default() }),
        ReceiptProblem::PayloadMismatch
    );
}

#[test]
fn whatever_is_changed_in_a_receipt_is_found() {
    let broken = |index: usize| ReceiptProblem::ChainBroken(index);
    assert_eq!(
        problem(|r| r["entries"][3]["approved_by"] = "mallory".into()),
        ReceiptProblem::EntryChanged(4)
    );
    assert_eq!(problem(|r| r["entries"][1]["detail"] = "x".into()), ReceiptProblem::EntryChanged(2));
    assert_eq!(problem(|r| r["entries"][0]["hash"] = "0".repeat(64).into()), ReceiptProblem::EntryChanged(1));
    assert_eq!(problem(|r| drop(r["entries"].as_array_mut().unwrap().remove(1))), broken(2));
    assert_eq!(problem(|r| drop(r["entries"].as_array_mut().unwrap().remove(0))), broken(1));
    assert_eq!(problem(|r| r["entries"].as_array_mut().unwrap().swap(1, 2)), broken(2));
    assert_eq!(
        problem(|r| drop(r["entries"].as_array_mut().unwrap().pop())),
        ReceiptProblem::Malformed("the last entry is not the request's end")
    );
    assert_eq!(problem(|r| r["entries"] = json!([])), ReceiptProblem::Malformed("it has no entries"));
    let names = ReceiptProblem::Malformed("its names are not those of its entries");
    assert_eq!(problem(|r| r["request_id"] = "other".into()), names);
    assert_eq!(problem(|r| r["client"] = "other".into()), names);
    assert_eq!(problem(|r| r["token"] = "a.b.c".into()), ReceiptProblem::TokenMismatch);
    let other = token().replace('.', ".e30");
    assert_eq!(problem(|r| r["token"] = other.into()), ReceiptProblem::TokenMismatch);
    let proof = |from: &str, to: &str| {
        let text = receipt().proof.replacen(from, to, 1);
        problem(move |r| r["proof"] = text.into())
    };
    assert_eq!(proof("index 303", "index 302"), ReceiptProblem::NotInLog);
    assert_eq!(proof("\n304\n", "\n305\n"), ReceiptProblem::Checkpoint(NoteProblem::WrongSignature));
    assert_eq!(proof("index 303", "index 0303"), ReceiptProblem::Malformed("`proof` is no tlog-proof"));
    assert_eq!(problem(|r| r["log_key"] = "x".into()), ReceiptProblem::Malformed("`log_key` is no vkey"));
    assert_eq!(
        problem(|r| r["type"] = "placet-receipt/v9".into()),
        ReceiptProblem::Malformed("another type")
    );
    assert_eq!(Receipt::read(b"{").unwrap_err().code(), "malformed");
    let text = serde_json::to_string(&receipt()).unwrap();
    let twice = text.replacen("\"approved\":true", "\"approved\":false,\"approved\":true", 1);
    assert_eq!(Receipt::read(twice.as_bytes()).unwrap_err(), ReceiptProblem::Malformed("not JSON"));
}

/// The receipts that the Python and TypeScript clients are held to as well; other people's libraries made them.
#[test]
fn receipts_are_judged_as_the_clients_judge_them() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/receipts.json");
    let fixtures: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let rows = fixtures["receipts"].as_array().unwrap();
    assert!(rows.len() > 40);
    for row in rows {
        let trust = Trust {
            log_key: row["log_key"].as_str().map(|key| VerifierKey::parse(key).unwrap()),
            payload_sha256: row["payload"].as_object().map(|payload| Payload::new(payload).unwrap().sha256()),
        };
        let receipt = Receipt::read(row["receipt"].as_str().unwrap().as_bytes());
        let judged = receipt.and_then(|receipt| receipt.verify(&trust));
        let problem = judged.as_ref().err().map(ReceiptProblem::code);
        assert_eq!(problem, row["problem"].as_str(), "{}: {judged:?}", row["name"]);
    }
}
