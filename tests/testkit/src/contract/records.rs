//! Subscriptions, policies and chains.

use std::sync::Arc;

use placet_core::audit::{AuditEventKind, ChainHead};
use placet_core::policy::{ClientPause, OwnAbsence};
use placet_gate::ports::{Commit, Committed, PolicyRecord, PushDevice, SentMessage, SentState};

use super::{START, all, done};
use crate::{Subject, sample};

/// Subscriptions are added, seen by all, and removed by their own client only.
pub async fn subscriptions_come_and_go(subject: &Subject) {
    assert_eq!(*subject.store.hooks().await.unwrap(), []);
    let (mine, theirs) = (sample::hook("n8n", 1), sample::hook("zapier", 2));
    for hook in [&mine, &theirs] {
        subject.store.add_hook(hook).await.unwrap();
    }
    let mut hooks = subject.store.hooks().await.unwrap().to_vec();
    hooks.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(hooks, [mine.clone(), theirs.clone()]);
    assert!(!subject.store.remove_hook(&mine.client, &theirs.id).await.unwrap());
    assert!(subject.store.remove_hook(&mine.client, &mine.id).await.unwrap());
    assert!(!subject.store.remove_hook(&mine.client, &mine.id).await.unwrap());
    assert_eq!(*subject.store.hooks().await.unwrap(), [theirs]);
}

/// A version is installed once, and the last one installed is the one there is.
pub async fn a_policy_version_is_installed_once(subject: &Subject) {
    let install = async |version: u32, text: &str| {
        let mut record = sample::policy_record(version);
        record.text = text.to_owned();
        record.sha256 = placet_core::payload::sha256_hex(text.as_bytes());
        subject.store.commit(Commit { policy: Some(record), ..Commit::default() }).await.unwrap()
    };
    let latest = async || subject.store.policy().await.unwrap().map(|policy| (policy.version, policy.text));
    assert_eq!(latest().await, None);
    let done = Committed::Done { pending_twin: None };
    assert_eq!(install(1, "first").await, done);
    assert_eq!(install(1, "other").await, Committed::ChainMoved);
    assert_eq!(latest().await, Some((1, "first".into())));
    for version in 2..=11 {
        assert_eq!(install(version, "next").await, done);
    }
    assert_eq!(latest().await, Some((11, "next".into())));
}

/// A version says who is away and which clients are paused, and may have the text of the one before.
pub async fn who_is_away_and_paused_is_kept_with_the_version(subject: &Subject) {
    let first = sample::policy_record(1);
    let until = START.plus_millis(3_600_000);
    let away = OwnAbsence { reviewer: sample::reviewer("bob"), from: START, until, backup: None };
    let pause =
        ClientPause { client: sample::client("n8n"), by: sample::reviewer("carol"), from: START, until };
    let second = PolicyRecord { version: 2, away: vec![away], ..first.clone() };
    let third = PolicyRecord { version: 3, paused: vec![pause], ..second.clone() };
    let fourth = PolicyRecord { version: 4, away: Vec::new(), paused: Vec::new(), ..first.clone() };
    for record in [first, second, third, fourth] {
        done(subject, Commit { policy: Some(record.clone()), ..Commit::default() }).await;
        assert_eq!(subject.store.policy().await.unwrap(), Some(record));
    }
}

/// A chain that is no request's is found by its end.
pub async fn a_chain_ends_with_its_last_entry(subject: &Subject) {
    let mut chain = subject.store.chain("policy").await.unwrap();
    assert_eq!(chain, ChainHead::default());
    for seq in 1..=11 {
        let entry = chain.append("policy", None, sample::event(AuditEventKind::PolicyInstalled, START));
        done(subject, Commit { audit: vec![entry], ..Commit::default() }).await;
        assert_eq!(chain.seq, seq);
        assert_eq!(subject.store.chain("policy").await.unwrap(), chain);
    }
    assert_eq!(subject.store.chain("keys").await.unwrap(), ChainHead::default());
    assert_eq!(subject.trail.audit_of("policy").await.len(), 11);
}

/// A name is remembered for whoever marks it first, until its time; then it is free again.
pub async fn a_name_is_marked_by_one_until_its_time(subject: &Subject) {
    let until = START.plus_millis(60_000);
    let marks = all((0..8).map(|_| {
        let store = Arc::clone(&subject.store);
        async move { store.mark("old-secret/n8n/1", until).await.unwrap() }
    }))
    .await;
    assert_eq!(marks.iter().filter(|is_first| **is_first).count(), 1);
    assert!(subject.store.mark("old-secret/n8n/2", until).await.unwrap());
    // A mark that ends now only asks: it takes the name from nobody.
    assert!(subject.store.mark("asked", START).await.unwrap());
    assert!(subject.store.mark("asked", until).await.unwrap());
    assert!(!subject.store.mark("asked", START).await.unwrap());
    // Whoever comes later does not make it longer.
    assert!(!subject.store.mark("old-secret/n8n/1", START.plus_millis(600_000)).await.unwrap());
    subject.clock.set(until);
    assert!(subject.store.mark("old-secret/n8n/1", START.plus_millis(600_000)).await.unwrap());
    assert!(!subject.store.mark("old-secret/n8n/1", START.plus_millis(900_000)).await.unwrap());
}

/// What was sent is found by its approval; the same message is noted once, with what it shows by now.
pub async fn what_was_sent_is_found_by_its_approval(subject: &Subject) {
    let (one, other) = (sample::asked("n8n", "r1", START), sample::asked("n8n", "r2", START));
    let sent =
        |asked: &placet_core::request::ApprovalRequest, reviewer: &str, reference: &str, shown| SentMessage {
            approval_id: asked.approval_id.clone(),
            reviewer: sample::reviewer(reviewer),
            channel: "slack".into(),
            stage: 0,
            reference: reference.into(),
            sent_at: START,
            shown,
            state: SentState::Open,
        };
    assert_eq!(subject.store.sent(&one.approval_id).await.unwrap(), []);
    for noted in
        [sent(&one, "bob", "D1:1.1", 1), sent(&one, "carol", "D2:1.2", 1), sent(&other, "bob", "D1:1.3", 1)]
    {
        subject.store.keep_sent(&noted).await.unwrap();
    }
    subject.store.keep_sent(&sent(&one, "bob", "D1:1.1", 7)).await.unwrap();
    let mut found = subject.store.sent(&one.approval_id).await.unwrap();
    found.sort_by(|a, b| a.reference.cmp(&b.reference));
    assert_eq!(found, [sent(&one, "bob", "D1:1.1", 7), sent(&one, "carol", "D2:1.2", 1)]);
    let gone = SentMessage { state: SentState::Gone, ..sent(&other, "bob", "D1:1.3", 1) };
    subject.store.keep_sent(&gone).await.unwrap();
    assert_eq!(subject.store.sent(&other.approval_id).await.unwrap(), [gone]);
}

/// A device is one reviewer's, known by its address, and replaced by itself; another's stays when it goes.
pub async fn a_reviewers_devices_come_and_go(subject: &Subject) {
    let device = |reviewer: &str, endpoint: &str, generation| PushDevice {
        reviewer: sample::reviewer(reviewer),
        endpoint: endpoint.into(),
        p256dh: "BAAA".into(),
        auth: "c2VjcmV0".into(),
        generation,
        added_at: START,
    };
    let store = &subject.store;
    let (bob, carol) = (sample::reviewer("bob"), sample::reviewer("carol"));
    assert_eq!(store.push_devices(&bob).await.unwrap(), []);
    let (phone, desk) =
        (device("bob", "https://push.example/1", 1), device("bob", "https://push.example/2", 1));
    // The same browser can be two people's.
    let shared = device("carol", "https://push.example/1", 1);
    for new in [&phone, &desk, &shared] {
        store.keep_push_device(new).await.unwrap();
    }
    let newer = device("bob", "https://push.example/1", 2);
    store.keep_push_device(&newer).await.unwrap();
    let mut found = store.push_devices(&bob).await.unwrap();
    found.sort_by(|a, b| a.endpoint.cmp(&b.endpoint));
    assert_eq!(found, [newer.clone(), desk.clone()]);
    assert!(store.remove_push_device(&bob, &newer.id()).await.unwrap());
    assert!(!store.remove_push_device(&bob, &newer.id()).await.unwrap());
    assert!(!store.remove_push_device(&bob, "").await.unwrap());
    assert_eq!(store.push_devices(&bob).await.unwrap(), [desk]);
    assert_eq!(store.push_devices(&carol).await.unwrap(), [shared]);
}

/// Of those who count at the same time, each gets a number of its own; after its time it begins anew.
pub async fn a_tally_gives_each_a_number_of_its_own(subject: &Subject) {
    let until = START.plus_millis(60_000);
    let mut numbers = all((0..8).map(|_| {
        let store = Arc::clone(&subject.store);
        async move { store.tally("pace/slack/bob/1", until).await.unwrap() }
    }))
    .await;
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=8).collect::<Vec<u32>>());
    assert_eq!(subject.store.tally("pace/slack/carol/1", until).await.unwrap(), 1);
}
