//! Refused attempts are entries of the trail, however often they are made; nothing else changes.

use std::sync::Arc;

use placet_core::audit::{AuditEntry, AuditEventKind};
use placet_core::policy::Decision;
use placet_core::refusal::Refusal;
use placet_core::request::Request;
use placet_gate::{Credentials, Gate};
use placet_testkit::{MemoryStore, Trail as _};
use tokio::task::JoinSet;

use super::{POLICY, another, approve, asked, code, link, name, of_action, pay, stored, world};

/// What was refused of a request: `who (channel): what`.
async fn refused(store: &MemoryStore, request: &Request) -> Vec<String> {
    let trail = store.audit_of(request.asked().approval_id.as_str()).await;
    let refused = trail.iter().filter(|entry| entry.event == AuditEventKind::VoteRefused);
    refused.map(line).collect()
}

fn line(entry: &AuditEntry) -> String {
    assert!(!entry.approved && entry.approved_by.is_none() && entry.token_hash.is_none());
    format!("{} ({:?}): {}", entry.actor, entry.channel, entry.detail.as_deref().unwrap_or_default())
}

const TOO_LATE: &str = "the request has already ended";
const EXPIRED: &str = "this link no longer takes a decision";

async fn press(gate: &Gate, link: &str, decision: Decision) -> String {
    let nonce = gate.review(link).await.map(|page| page.nonce).unwrap_or_default();
    code(gate.decide(link, &nonce, decision, Some("a reason".into())).await)
}

#[tokio::test]
async fn a_vote_after_the_end_is_one_entry_for_each_person_and_word() {
    let (world, store) = world().await;
    let request = asked(&world, pay("r1", 5)).await;
    let (bobs, carols) = (link(&world, &request, "bob").await, link(&world, &request, "carol").await);
    assert_eq!(press(&world.gate, &bobs, Decision::Approve).await, "ok");
    world.deliver_all().await;
    let ended = stored(&world, &request).await;
    // Who presses twice attempts nothing.
    assert_eq!(press(&world.gate, &bobs, Decision::Approve).await, "ended approved");
    assert_eq!(stored(&world, &request).await, ended);
    let other = another(&world, None);
    for gate in [&world, &other, &world] {
        assert_eq!(press(&gate.gate, &bobs, Decision::Reject).await, "ended approved");
        assert_eq!(press(&gate.gate, &carols, Decision::Approve).await, "ended approved");
    }
    assert_eq!(
        refused(&store, &request).await,
        [
            format!("bob (Page): reject, refused: {TOO_LATE}"),
            format!("carol (Page): approve, refused: {TOO_LATE}"),
        ]
    );
    let after = stored(&world, &request).await;
    assert_eq!((after.outcome(), after.claims()), (ended.outcome(), ended.claims()));
    assert_eq!(after.state().votes(), ended.state().votes());
    assert_eq!(world.deliver_all().await, [], "nobody is told");
}

#[tokio::test]
async fn many_who_press_at_once_are_one_entry_each_and_all_get_their_answer() {
    let (world, store) = world().await;
    let request = asked(&world, of_action("r1", "pair")).await;
    let mut links = Vec::new();
    for reviewer in ["bob", "carol", "dave"] {
        links.push(link(&world, &request, reviewer).await);
    }
    assert_eq!(press(&world.gate, &links[2], Decision::Reject).await, "ok");
    let world = Arc::new(world);
    let mut answers = JoinSet::new();
    for link in links.iter().take(2).flat_map(|link| [link; 8]) {
        let (world, link) = (Arc::clone(&world), link.clone());
        answers.spawn(async move { press(&world.gate, &link, Decision::Approve).await });
    }
    let answers = answers.join_all().await;
    assert!(answers.len() == 16 && answers.iter().all(|answer| answer == "ended rejected"), "{answers:?}");
    let mut entries = refused(&store, &request).await;
    entries.sort();
    let of = |who: &str| format!("{who} (Page): approve, refused: {TOO_LATE}");
    assert_eq!(entries, [of("bob"), of("carol")]);
}

#[tokio::test]
async fn who_may_not_approve_their_own_who_is_no_longer_asked_and_who_has_left_are_entries() {
    let (world, store) = world().await;
    let own = POLICY.replace("id = \"n8n\"\n", "id = \"n8n\"\nowner = \"bob\"\n");
    world.install(&own).await;
    let request = asked(&world, pay("r1", 5)).await;
    let (bobs, carols) = (link(&world, &request, "bob").await, link(&world, &request, "carol").await);
    for _ in 0..3 {
        assert_eq!(press(&world.gate, &bobs, Decision::Approve).await, "forbidden");
    }
    let four_eyes = "your own client asks this, and the policy wants somebody else to approve it";
    let mut expected = vec![format!("bob (Page): approve, refused: {four_eyes}")];
    assert_eq!(refused(&store, &request).await, expected);
    // The second stage asks the chief.
    world.clock.advance(10 * 60_000);
    for _ in 0..2 {
        assert_eq!(press(&world.gate, &carols, Decision::Reject).await, "link_expired");
    }
    expected.push(format!("carol (Page): reject, refused: {EXPIRED}"));
    assert_eq!(refused(&store, &request).await, expected);
    // A link that was voided is known by whom it was for.
    let raised = own.replace("id = \"carol\"\n", "id = \"carol\"\ngeneration = 2\n");
    world.install(&raised).await;
    assert_eq!(code(world.gate.decide(&carols, "", Decision::Approve, None).await), "link_expired");
    expected.push(format!("carol (Page): approve, refused: {EXPIRED}"));
    assert_eq!(refused(&store, &request).await, expected);
    assert!(stored(&world, &request).await.pending().is_some());
}

#[tokio::test]
async fn a_link_that_is_nobodys_and_a_form_that_is_not_the_pages_are_none() {
    let (world, store) = world().await;
    let request = asked(&world, pay("r1", 5)).await;
    let bobs = link(&world, &request, "bob").await;
    let mut forged: Vec<char> = bobs.chars().collect();
    let last = forged.pop().unwrap();
    forged.push(if last == 'A' { 'B' } else { 'A' });
    let forged: String = forged.into_iter().collect();
    for (link, nonce) in [(forged.as_str(), "x"), ("nobody's", "x"), (bobs.as_str(), "1-2")] {
        let answer = code(world.gate.decide(link, nonce, Decision::Approve, None).await);
        assert!(["not_found", "invalid_request"].contains(&answer.as_str()), "{answer}");
    }
    assert_eq!(stored(&world, &request).await, request);
    assert_eq!(refused(&store, &request).await, [""; 0]);
}

#[tokio::test]
async fn a_system_that_answers_too_late_is_an_entry_unless_it_says_what_it_said() {
    let (world, store) = world().await;
    let request = asked(&world, of_action("r1", "queue")).await;
    let jira = world.caller("jira").await;
    let answer = async |decision| code(world.gate.answer(&jira, &name("r1"), None, decision, None).await);
    assert_eq!(answer(Decision::Approve).await, "ok");
    for _ in 0..2 {
        assert_eq!(answer(Decision::Approve).await, "ended approved");
        assert_eq!(answer(Decision::Reject).await, "ended approved");
    }
    let expected = [format!("client:jira (Api): reject, refused: {TOO_LATE}")];
    assert_eq!(refused(&store, &request).await, expected);
}

/// What was refused of a request's token.
async fn refused_tokens(store: &MemoryStore, request: &Request) -> Vec<String> {
    let trail = store.audit_of(request.asked().approval_id.as_str()).await;
    trail.iter().filter(|entry| entry.event == AuditEventKind::TokenRefused).map(line).collect()
}

#[tokio::test]
async fn a_refused_use_of_a_token_is_one_entry_for_each_client_and_cause() {
    let (world, store) = world().await;
    let request = asked(&world, pay("r1", 5)).await;
    approve(&world, &request, "bob").await.unwrap();
    world.deliver_all().await;
    let ended = stored(&world, &request).await;
    let asker = world.caller("n8n").await;
    let token = world.gate.token(&ended, &asker).await.unwrap().unwrap();
    let redeem = async |client: &str, by: &str, digest: Option<&str>| {
        code(world.gate.redeem_token(&world.caller(client).await, &token, digest, by).await)
    };
    for by in ["run-1", "run-2"] {
        assert_eq!(redeem("stranger", by, None).await, "invalid_request");
        assert_eq!(redeem("payments", by, Some(&"0".repeat(64))).await, "payload_mismatch");
    }
    assert_eq!(redeem("payments", "run-1", None).await, "ok");
    assert_eq!(redeem("payments", "run-1", None).await, "ok");
    for by in ["run-2", "run-3"] {
        assert_eq!(redeem("payments", by, None).await, "already_redeemed");
        assert_eq!(redeem("n8n", by, None).await, "already_redeemed");
    }
    let foreign = "it is the token of another client, whose executor this one is not";
    let used = "the token was already redeemed by `run-1`";
    let entries = refused_tokens(&store, &request).await;
    assert_eq!(entries.len(), 4, "{entries:?}");
    assert_eq!(entries[0], format!("client:stranger (Api): run-1, refused: {foreign}"));
    assert_eq!(entries[1], format!("client:payments (Api): run-1, refused: {}", Refusal::PayloadMismatch));
    assert_eq!(entries[2], format!("client:payments (Api): run-2, refused: {used}"));
    assert_eq!(entries[3], format!("client:n8n (Api): run-2, refused: {used}"));
    let after = stored(&world, &request).await;
    assert_eq!((after.outcome(), after.claims()), (ended.outcome(), ended.claims()));
    assert_eq!(world.deliver_all().await, [], "nobody is told");
}

#[tokio::test]
async fn a_token_that_says_no_or_is_over_is_an_entry_and_a_forged_one_is_none() {
    let (world, store) = world().await;
    let request = asked(&world, pay("r1", 5)).await;
    let asker = world.caller("n8n").await;
    let bobs = link(&world, &request, "bob").await;
    assert_eq!(press(&world.gate, &bobs, Decision::Reject).await, "ok");
    let rejected = stored(&world, &request).await;
    let says_no = world.gate.token(&rejected, &asker).await.unwrap().unwrap();
    assert_eq!(code(world.gate.redeem_token(&asker, &says_no, None, "run-1").await), "not_approved");
    assert_eq!(refused_tokens(&store, &request).await.len(), 1);
    let mut forged = says_no.clone();
    let last = forged.pop().unwrap();
    forged.push(if last == 'A' { 'B' } else { 'A' });
    let before = stored(&world, &request).await;
    for client in ["n8n", "payments", "stranger", "zapier"] {
        for token in [forged.as_str(), "", "x.y.z"] {
            let caller = world.caller(client).await;
            assert_eq!(code(world.gate.redeem_token(&caller, token, None, "run-1").await), "invalid_request");
        }
    }
    assert_eq!(stored(&world, &request).await, before);

    let late = asked(&world, pay("r2", 6)).await;
    approve(&world, &late, "bob").await.unwrap();
    let ended = stored(&world, &late).await;
    let token = world.gate.token(&ended, &asker).await.unwrap().unwrap();
    world.clock.advance(48 * 60 * 60_000);
    for _ in 0..2 {
        assert_eq!(code(world.gate.redeem_token(&asker, &token, None, "run-1").await), "token_expired");
    }
    assert_eq!(refused_tokens(&store, &late).await.len(), 1);
}

#[tokio::test]
async fn many_who_use_a_token_at_once_are_one_use_and_one_entry() {
    let (world, store) = world().await;
    let request = asked(&world, pay("r1", 5)).await;
    approve(&world, &request, "bob").await.unwrap();
    let asker = world.caller("n8n").await;
    let ended = stored(&world, &request).await;
    let token = world.gate.token(&ended, &asker).await.unwrap().unwrap();
    let world = Arc::new(world);
    let mut redeeming = JoinSet::new();
    for number in 0..16 {
        let (world, token) = (Arc::clone(&world), token.clone());
        redeeming.spawn(async move {
            let caller = world.caller("n8n").await;
            code(world.gate.redeem_token(&caller, &token, None, &format!("run-{number}")).await)
        });
    }
    let mut answers = redeeming.join_all().await;
    answers.sort();
    let (first, refused) = answers.split_last().unwrap();
    assert_eq!(first, "ok");
    assert!(refused.iter().all(|answer| answer == "already_redeemed"), "{answers:?}");
    assert_eq!(refused_tokens(&store, &request).await.len(), 1);
}

#[tokio::test]
async fn wrong_keys_are_entries_at_every_tenfold_of_an_hour() {
    let (world, store) = world().await;
    let knock = async |key: &str, times: u32| {
        for _ in 0..times {
            let answer = code(world.gate.authenticate(Credentials::Bearer(key)).await);
            assert!(["invalid_signature", "unknown_client"].contains(&answer.as_str()), "{answer}");
        }
    };
    let entries = async |client: &str| {
        let trail = store.audit_of(&format!("signatures-{client}")).await;
        assert!(trail.iter().all(|entry| entry.event == AuditEventKind::SignatureRefused));
        trail.iter().map(line).collect::<Vec<_>>()
    };
    let said = |count: u32, client: &str| {
        format!(
            "unknown (Api): {count} requests within an hour claimed to be {client}, with a wrong signature or key"
        )
    };
    knock("nobody.wrong", 100).await;
    knock("n8n.wrong", 19).await;
    assert_eq!((entries("nobody").await, entries("n8n").await), (vec![], vec![]));
    knock("n8n.wrong", 1).await;
    assert_eq!(entries("n8n").await, [said(20, "n8n")]);
    knock("n8n.wrong", 179).await;
    assert_eq!(entries("n8n").await, [said(20, "n8n")]);
    knock("n8n.wrong", 801).await;
    knock("zapier.wrong", 20).await;
    assert_eq!(entries("n8n").await, [said(20, "n8n"), said(200, "n8n")]);
    assert_eq!(entries("zapier").await, [said(20, "zapier")]);
    // Slowly, below twenty in a minute, is no burst.
    for _ in 0..10 {
        world.clock.advance(60_000);
        knock("zapier.wrong", 19).await;
    }
    assert_eq!(entries("zapier").await.len(), 1);
    world.clock.advance(60 * 60_000);
    knock("zapier.wrong", 20).await;
    assert_eq!(entries("zapier").await, [said(20, "zapier"), said(20, "zapier")]);
}
