//! The inbox: what it lists, and decisions in its rows.

use placet_core::id::ReviewerId;
use placet_core::policy::Decision;
use placet_core::request::Status;
use placet_gate::{Error, Inbox, RowResult, UnverifiedRow};
use placet_testkit::World;

use super::{approve, asked, code, link, of_action, pay, stored, world};

async fn inbox_link(world: &World, reviewer: &str) -> String {
    let policy = world.gate.policy().await.unwrap();
    world.gate.inbox_link(&ReviewerId::parse(reviewer).unwrap(), &policy).await.unwrap().to_string()
}

async fn inbox(world: &World, reviewer: &str) -> Inbox {
    world.gate.inbox(&inbox_link(world, reviewer).await).await.unwrap()
}

fn rows(inbox: &Inbox) -> Vec<UnverifiedRow> {
    let row = |item: &placet_gate::InboxItem| UnverifiedRow {
        link: item.link.to_string(),
        nonce: item.nonce.clone(),
    };
    inbox.items.iter().map(row).collect()
}

async fn decide(
    world: &World,
    reviewer: &str,
    rows: Vec<UnverifiedRow>,
    decision: Decision,
) -> Result<Vec<RowResult>, Error> {
    world.gate.decide_rows(&inbox_link(world, reviewer).await, rows, decision, Some("why".into())).await
}

fn outcomes(results: Vec<RowResult>) -> Vec<String> {
    results.into_iter().map(|row| code(row.outcome)).collect()
}

#[tokio::test]
async fn rows_that_ask_the_same_are_decided_together_and_each_on_its_own() {
    let (world, store) = world().await;
    let mut requests = Vec::new();
    for name in ["r1", "r2", "r3"] {
        requests.push(asked(&world, pay(name, 5)).await);
        world.clock.advance(1000);
    }
    // One of them ends while bob looks at the three.
    let seen = inbox(&world, "bob").await;
    assert_eq!(seen.items.len(), 3);
    approve(&world, &requests[1], "carol").await.unwrap();
    let results = decide(&world, "bob", rows(&seen), Decision::Reject).await.unwrap();
    assert_eq!(outcomes(results), ["ok", "ended approved", "ok"]);
    for (request, status, by) in [
        (&requests[0], Status::Rejected, "bob"),
        (&requests[1], Status::Approved, "carol"),
        (&requests[2], Status::Rejected, "bob"),
    ] {
        let now = stored(&world, request).await;
        let outcome = now.outcome().unwrap();
        assert_eq!((now.status(), outcome.decided_by[0].to_string().as_str()), (status, by));
        let trail = placet_testkit::Trail::audit_of(&*store, request.asked().approval_id.as_str()).await;
        let votes: Vec<_> = trail.iter().filter(|entry| entry.event.as_str() == "vote.cast").collect();
        assert_eq!(votes.len(), 1, "each has a vote of its own");
        let channel =
            if by == "bob" { placet_core::audit::Channel::Inbox } else { placet_core::audit::Channel::Page };
        assert_eq!(votes[0].channel, channel);
    }
}

#[tokio::test]
async fn rows_that_ask_something_else_are_never_decided_together() {
    let (world, _) = world().await;
    let requests = [
        asked(&world, pay("r1", 5)).await,
        asked(&world, pay("r2", 6)).await,
        asked(&world, of_action("r3", "pair")).await,
    ];
    let all = rows(&inbox(&world, "bob").await);
    for pair in [[0, 1], [0, 2], [1, 2]] {
        let two = pair.map(|at| all[at].clone()).to_vec();
        let refused = decide(&world, "bob", two, Decision::Approve).await;
        assert_eq!(code(refused), "invalid_request");
    }
    for request in &requests {
        assert_eq!(stored(&world, request).await.state().votes(), []);
    }
}

#[tokio::test]
async fn only_rows_of_ones_own_inbox_are_decided() {
    let (world, _) = world().await;
    let request = asked(&world, pay("r1", 5)).await;
    let of_carol = rows(&inbox(&world, "carol").await);
    assert_eq!(code(decide(&world, "bob", of_carol.clone(), Decision::Approve).await), "not_found");
    let forged = UnverifiedRow { link: "nobody".into(), nonce: "1-2".into() };
    assert_eq!(code(decide(&world, "bob", vec![forged], Decision::Approve).await), "not_found");
    assert_eq!(code(decide(&world, "bob", vec![], Decision::Approve).await), "invalid_request");
    assert_eq!(
        code(world.gate.decide_rows("nobody", of_carol.clone(), Decision::Approve, None).await),
        "not_found"
    );
    // A nonce of another row, or of another day, records nothing.
    let mut stale = of_carol.clone();
    stale[0].nonce = "1-00".into();
    let results = decide(&world, "carol", stale, Decision::Approve).await.unwrap();
    assert_eq!(outcomes(results), ["invalid_request"]);
    assert_eq!(stored(&world, &request).await.state().votes(), []);
    let results = decide(&world, "carol", of_carol, Decision::Approve).await.unwrap();
    assert_eq!(outcomes(results), ["ok"]);
}

#[tokio::test]
async fn what_was_decided_lately_is_listed_with_how_it_stands_now() {
    let (world, _) = world().await;
    let both = asked(&world, of_action("pair", "pair")).await;
    let paid = asked(&world, pay("paid", 5)).await;
    approve(&world, &both, "bob").await.unwrap();
    world.clock.advance(1000);
    approve(&world, &paid, "bob").await.unwrap();
    let names = |inbox: &Inbox| {
        inbox
            .lately
            .iter()
            .map(|late| format!("{} {}", late.request.asked().request_id, late.request.status()))
            .collect::<Vec<_>>()
    };
    let seen = inbox(&world, "bob").await;
    assert_eq!(names(&seen), ["paid approved", "pair pending"]);
    // What waits for others is still open.
    assert_eq!(seen.items.len(), 1);
    assert_eq!(seen.items[0].voted, Some(Decision::Approve));
    approve(&world, &both, "dave").await.unwrap();
    assert_eq!(names(&inbox(&world, "bob").await), ["paid approved", "pair approved"]);
    assert_eq!(names(&inbox(&world, "carol").await), [""; 0]);
    world.clock.advance(8 * placet_core::time::DAY_MS);
    assert_eq!(names(&inbox(&world, "bob").await), [""; 0]);
}

#[tokio::test]
async fn an_inbox_has_another_version_exactly_when_something_changes() {
    let (world, _) = world().await;
    let link_of_bob = inbox_link(&world, "bob").await;
    let version = async || world.gate.inbox_version(&link_of_bob).await.unwrap();
    let empty = version().await;
    assert_eq!(version().await, empty);
    let request = asked(&world, of_action("r1", "pair")).await;
    let one = version().await;
    assert_ne!(one, empty);
    assert_ne!(world.gate.inbox_version(&inbox_link(&world, "carol").await).await.unwrap(), one);
    approve(&world, &request, "bob").await.unwrap();
    approve(&world, &request, "dave").await.unwrap();
    let ended = version().await;
    assert!(ended != one && ended == empty);
    world.clock.advance(60_000);
    assert_ne!(version().await, ended, "what only time changes is seen within a minute");
    assert_eq!(code(world.gate.inbox_version("nobody").await), "not_found");
    let _ = link(&world, &request, "bob").await;
}

#[tokio::test]
async fn a_full_inbox_says_how_many_more_wait() {
    let (world, _) = world().await;
    for number in 0..103 {
        asked(&world, pay(&format!("r{number}"), number)).await;
    }
    let seen = inbox(&world, "bob").await;
    assert_eq!((seen.items.len(), seen.more), (placet_gate::INBOX_LIMIT, 3));
    let first = rows(&seen).remove(0);
    decide(&world, "bob", vec![first], Decision::Approve).await.unwrap();
    let seen = inbox(&world, "bob").await;
    assert_eq!((seen.items.len(), seen.more), (placet_gate::INBOX_LIMIT, 2));
}
