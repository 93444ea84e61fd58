//! Tokens: for what is recorded, for the asker and its executors, and for one use.

use placet_core::audit::AuditEventKind;
use placet_core::token::TokenProblem;

use super::{approve, asked, code, of_action, pay, world};

#[tokio::test]
async fn the_token_is_the_askers_and_its_executors_alone() {
    let (world, _) = world().await;
    let request = asked(&world, pay("r1", 5)).await;
    let asker = world.caller("n8n").await;
    assert_eq!(world.gate.token(&request, &asker).await.unwrap(), None, "it waits");
    approve(&world, &request, "bob").await.unwrap();
    let ended = super::stored(&world, &request).await;
    for (client, has) in [
        ("n8n", true),
        ("payments", true),
        ("stranger", false),
        ("zapier", false),
        ("jira", false),
        ("auditor", false),
    ] {
        let caller = world.caller(client).await;
        assert_eq!(world.gate.token(&ended, &caller).await.unwrap().is_some(), has, "{client}");
    }
}

#[tokio::test]
async fn an_executor_verifies_and_redeems_once_for_the_client_that_names_it() {
    let (world, store) = world().await;
    let request = asked(&world, pay("r1", 5)).await;
    approve(&world, &request, "bob").await.unwrap();
    let ended = super::stored(&world, &request).await;
    let asker = world.caller("n8n").await;
    let token = world.gate.token(&ended, &asker).await.unwrap().unwrap();
    let digest = ended.asked().payload_sha256.clone();
    for (client, problem) in [
        ("n8n", None),
        ("payments", None),
        ("stranger", Some(TokenProblem::WrongAudience)),
        ("zapier", Some(TokenProblem::WrongAudience)),
    ] {
        let caller = world.caller(client).await;
        let verified = world.gate.verify_token(&caller, &token, Some(&digest)).await.unwrap();
        assert_eq!(verified.problem, problem, "{client}");
    }
    let redeem = async |client: &str, by: &str, digest: &str| {
        let caller = world.caller(client).await;
        world.gate.redeem_token(&caller, &token, Some(digest), by).await
    };
    assert_eq!(code(redeem("stranger", "run-1", &digest).await), "invalid_request");
    assert_eq!(code(redeem("payments", "run-1", &"0".repeat(64)).await), "payload_mismatch");
    assert!(redeem("payments", "run-1", &digest).await.unwrap().first);
    assert!(!redeem("payments", "run-1", &digest).await.unwrap().first);
    assert!(!redeem("n8n", "run-1", &digest).await.unwrap().first);
    assert_eq!(code(redeem("n8n", "run-2", &digest).await), "already_redeemed");
    let trail = placet_testkit::Trail::audit_of(&*store, ended.asked().approval_id.as_str()).await;
    let redeemed = trail.iter().find(|entry| entry.event == AuditEventKind::Redeemed).unwrap();
    assert_eq!(redeemed.actor, "client:payments");
    assert!(redeemed.token_hash.is_some());
}

#[tokio::test]
async fn only_what_is_recorded_as_approved_can_be_used() {
    let (world, _) = world().await;
    let request = asked(&world, of_action("r1", "chief")).await;
    let asker = world.caller("n8n").await;
    let cancelled = world.gate.cancel(&asker, &super::name("r1")).await.unwrap();
    let token = world.gate.token(&cancelled, &asker).await.unwrap().unwrap();
    assert_eq!(code(world.gate.redeem_token(&asker, &token, None, "run-1").await), "not_approved");
    // The client could sign such a token itself: the record tells.
    let mut claims = cancelled.claims().unwrap();
    claims.approved = true;
    claims.status = "approved".into();
    let ring = world.keys.ring();
    let secret = ring.current.client_secret(&request.asked().client, 1);
    let forged = placet_core::token::mint(&claims, &placet_core::token::MintKey::Hs256(&secret)).unwrap();
    assert_eq!(code(world.gate.redeem_token(&asker, &forged, None, "run-1").await), "invalid_request");
    let verified = world.gate.verify_token(&asker, &forged, None).await.unwrap();
    assert_eq!(verified.problem, Some(TokenProblem::UnknownApproval));
}

#[tokio::test]
async fn a_token_outlives_one_rotation_of_the_keys_and_not_two() {
    let (world, _) = world().await;
    let request = asked(&world, of_action("r1", "free")).await;
    let asker = world.caller("n8n").await;
    let token = world.gate.token(&request, &asker).await.unwrap().unwrap();
    let valid = async || {
        let caller = world.caller("n8n").await;
        world.gate.verify_token(&caller, &token, None).await.unwrap().problem
    };
    assert_eq!(valid().await, None);
    world.keys.rotate(world.gate.now());
    assert_eq!(valid().await, None);
    world.keys.rotate(world.gate.now());
    assert_eq!(valid().await, Some(TokenProblem::InvalidSignature));
}
