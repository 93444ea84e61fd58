//! A reviewer rejects and pauses the client that asks: what that refuses, what it leaves alone, and how it ends.

use placet_core::audit::{AuditEventKind, Channel};
use placet_core::id::{ClientId, ReviewerId};
use placet_core::policy::{Decision, PAUSE_MS};
use placet_core::refusal::Refusal;
use placet_core::request::Request;
use placet_gate::alert::MatterNow;
use placet_gate::ports::{OutboxPayload, OutboxSubject};
use placet_gate::{Error, UnverifiedRow};
use placet_testkit::{FixedClock, MemoryStore, Trail as _, World};

use super::{POLICY, alerts, approve, ask, asked, code, link, of_action, pay, stored, world};

fn n8n() -> ClientId {
    ClientId::parse("n8n").unwrap()
}

async fn pause(world: &World, request: &Request, reviewer: &str) -> String {
    let link = link(world, request, reviewer).await;
    let nonce = match world.gate.review(&link).await {
        Ok(review) => review.nonce,
        Err(_) => "1-00".to_owned(),
    };
    code(world.gate.reject_and_pause(&link, &nonce, Some("not so often".into())).await)
}

async fn inbox_link(world: &World, reviewer: &str) -> String {
    let policy = world.gate.policy().await.unwrap();
    world.gate.inbox_link(&ReviewerId::parse(reviewer).unwrap(), &policy).await.unwrap().to_string()
}

async fn lift(world: &World, reviewer: &str) -> String {
    let link = inbox_link(world, reviewer).await;
    let nonce = world.gate.inbox(&link).await.unwrap().nonce;
    code(world.gate.resume_in_inbox(&link, &nonce, &n8n()).await)
}

async fn is_taken(world: &World, name: &str) -> bool {
    let answer = code(ask(world, "n8n", pay(name, 5)).await);
    assert!(answer == "ok" || answer == "forbidden", "{answer}");
    answer == "ok"
}

async fn trail(store: &MemoryStore) -> Vec<(AuditEventKind, String, Channel)> {
    let trail = store.audit_of("policy").await;
    trail.into_iter().skip(1).map(|entry| (entry.event, entry.actor, entry.channel)).collect()
}

#[tokio::test]
async fn a_paused_client_asks_nothing_new_and_gets_the_answers_to_what_it_asked() {
    let (world, store) = world().await;
    let open = asked(&world, pay("open", 5)).await;
    let last = asked(&world, pay("last", 6)).await;
    assert_eq!(pause(&world, &last, "bob").await, "ok");
    let ended = stored(&world, &last).await;
    assert_eq!(
        (ended.status().as_str(), ended.outcome().unwrap().reason.as_deref()),
        ("rejected", Some("not so often"))
    );
    // Also what the policy would decide alone.
    for fields in [pay("new", 5), of_action("free", "free"), of_action("queue", "queue")] {
        let refused = ask(&world, "n8n", fields).await;
        match refused {
            Err(Error::Refused(Refusal::ClientPaused { by, until })) => {
                assert_eq!((by.as_str(), until), ("bob", FixedClock::START.plus_millis(PAUSE_MS)));
            }
            other => panic!("{}", code(other)),
        }
    }
    assert_eq!(code(ask(&world, "zapier", pay("other", 5)).await), "ok", "another client asks as ever");
    // What is known is answered, and stays what it is; a name that was used for something else stays taken.
    let joined = ask(&world, "n8n", pay("open", 5)).await.unwrap();
    assert!(!joined.is_new && joined.request.asked().approval_id == open.asked().approval_id);
    assert!(!ask(&world, "n8n", pay("last", 6)).await.unwrap().is_new);
    assert_eq!(code(ask(&world, "n8n", pay("open", 7)).await), "request_id_conflict");
    approve(&world, &open, "carol").await.unwrap();
    assert_eq!(stored(&world, &open).await.status().as_str(), "approved");
    assert_eq!(trail(&store).await, [(AuditEventKind::ClientPaused, "bob".to_owned(), Channel::Page)]);
}

#[tokio::test]
async fn a_pause_ends_by_itself_and_a_new_text_does_not_lift_it() {
    let (world, _) = world().await;
    let request = asked(&world, pay("r1", 5)).await;
    assert_eq!(pause(&world, &request, "bob").await, "ok");
    world.install(&format!("{POLICY}\n# a comment\n")).await;
    world.clock.advance(PAUSE_MS - 1);
    assert!(!is_taken(&world, "r2").await);
    world.clock.advance(1);
    assert!(is_taken(&world, "r2").await);
}

#[tokio::test]
async fn only_who_may_decide_the_request_pauses_and_only_with_the_pages_nonce() {
    let (world, store) = world().await;
    let request = asked(&world, pay("r1", 5)).await;
    let bobs = link(&world, &request, "bob").await;
    assert_eq!(code(world.gate.reject_and_pause(&bobs, "1-00", None).await), "invalid_request");
    assert_eq!(code(world.gate.reject_and_pause("nobody", "1-00", None).await), "not_found");
    assert_eq!(pause(&world, &request, "dave").await, "link_expired", "his stage has not begun");
    approve(&world, &request, "carol").await.unwrap();
    assert_eq!(pause(&world, &request, "bob").await, "ended approved");
    let late = asked(&world, of_action("late", "pair")).await;
    world.clock.advance(11 * 60_000);
    assert_eq!(pause(&world, &late, "bob").await, "ended expired");
    assert!(is_taken(&world, "r2").await && trail(&store).await.is_empty());
}

/// Who owns the client may only reject: so they may pause it, too.
#[tokio::test]
async fn the_clients_owner_may_pause_it() {
    let clock = FixedClock::new();
    let store = MemoryStore::new(clock.clone());
    let policy = POLICY.replacen("id = \"n8n\"\n", "id = \"n8n\"\nowner = \"bob\"\n", 1);
    let world = World::with_policy(store, clock, &policy).await;
    let request = asked(&world, pay("r1", 5)).await;
    assert_eq!(pause(&world, &request, "bob").await, "ok");
    assert!(!is_taken(&world, "r2").await);
}

#[tokio::test]
async fn one_lifts_ones_own_pause_and_the_operator_lifts_all() {
    let (world, store) = world().await;
    let requests = [asked(&world, pay("r1", 5)).await, asked(&world, pay("r2", 5)).await];
    assert_eq!(pause(&world, &requests[0], "bob").await, "ok");
    assert_eq!(pause(&world, &requests[1], "carol").await, "ok");
    assert_eq!(lift(&world, "dave").await, "ok");
    assert_eq!(lift(&world, "bob").await, "ok");
    assert!(!is_taken(&world, "r3").await, "carol's pause stands");
    let version = world.gate.policy().await.unwrap().version;
    assert_eq!(lift(&world, "bob").await, "ok");
    assert_eq!(world.gate.policy().await.unwrap().version, version, "nothing is left to lift");
    let lifted = world.gate.resume(&n8n()).await.unwrap();
    assert_eq!(lifted.iter().map(|pause| pause.by.as_str()).collect::<Vec<_>>(), ["carol"]);
    assert!(is_taken(&world, "r3").await);
    assert_eq!(world.gate.resume(&n8n()).await.unwrap(), []);
    assert_eq!(code(world.gate.resume(&ClientId::parse("nobody").unwrap()).await), "not_found");
    let inbox = inbox_link(&world, "bob").await;
    assert_eq!(code(world.gate.resume_in_inbox(&inbox, "1-00", &n8n()).await), "invalid_request");
    assert_eq!(code(world.gate.resume_in_inbox("nobody", "1-00", &n8n()).await), "not_found");
    assert_eq!(
        trail(&store).await,
        [
            (AuditEventKind::ClientPaused, "bob".to_owned(), Channel::Page),
            (AuditEventKind::ClientPaused, "carol".to_owned(), Channel::Page),
            (AuditEventKind::ClientResumed, "bob".to_owned(), Channel::Inbox),
            (AuditEventKind::ClientResumed, "operator".to_owned(), Channel::Operator),
        ]
    );
}

#[tokio::test]
async fn rows_are_rejected_together_and_their_client_is_paused_once() {
    let (world, store) = world().await;
    for name in ["r1", "r2", "r3"] {
        asked(&world, pay(name, 5)).await;
    }
    let link = inbox_link(&world, "bob").await;
    let seen = world.gate.inbox(&link).await.unwrap();
    let rows: Vec<UnverifiedRow> = seen
        .items
        .iter()
        .map(|item| UnverifiedRow { link: item.link.to_string(), nonce: item.nonce.clone() })
        .collect();
    let mut stale = rows.clone();
    stale[0].nonce = "1-00".into();
    let outcomes = |results: Vec<placet_gate::RowResult>| -> Vec<String> {
        results.into_iter().map(|row| code(row.outcome)).collect()
    };
    let results = world.gate.reject_rows_and_pause(&link, stale, None).await.unwrap();
    assert_eq!(outcomes(results), ["invalid_request", "ok", "ok"]);
    assert_eq!(trail(&store).await, [(AuditEventKind::ClientPaused, "bob".to_owned(), Channel::Inbox)]);
    assert!(!is_taken(&world, "r4").await);
    let results = world.gate.reject_rows_and_pause(&link, rows.clone(), None).await.unwrap();
    assert_eq!(outcomes(results), ["ok", "ended rejected", "ended rejected"]);
    assert_eq!(trail(&store).await.len(), 1);
    let carols = inbox_link(&world, "carol").await;
    assert_eq!(code(world.gate.reject_rows_and_pause(&carols, rows, None).await), "not_found");
    assert_eq!(code(world.gate.reject_rows_and_pause(&carols, vec![], None).await), "invalid_request");
}

#[tokio::test]
async fn operators_hear_of_a_pause_and_when_it_is_over() {
    let (world, _) = world().await;
    let request = asked(&world, pay("r1", 5)).await;
    world.deliver_all().await;
    assert_eq!(pause(&world, &request, "bob").await, "ok");
    let said = world.deliver_all().await;
    assert_eq!(alerts(&said), ["client_paused"]);
    let alert = said
        .iter()
        .find_map(|message| match &message.payload {
            OutboxPayload::Alert(alert) => Some(alert.clone()),
            _ => None,
        })
        .unwrap();
    let over = said.iter().filter(|one| matches!(one.payload, OutboxPayload::AlertOver(_))).count();
    assert_eq!((alert.matter(&OutboxSubject::Gate).as_str(), over), ("client_paused:n8n", 1));
    let until = FixedClock::START.plus_millis(PAUSE_MS);
    let look = async || world.gate.look_whether_over(&OutboxSubject::Gate, &alert).await.unwrap();
    assert_eq!(look().await, MatterNow::GoesOn(until));
    assert!(world.gate.still_holds(&OutboxSubject::Gate, &alert, FixedClock::START).await.unwrap());
    assert_eq!(lift(&world, "bob").await, "ok");
    assert_eq!(look().await, MatterNow::Over);
    assert!(!world.gate.still_holds(&OutboxSubject::Gate, &alert, FixedClock::START).await.unwrap());
    let said = world.deliver_all().await;
    assert!(said.iter().any(|one| matches!(one.payload, OutboxPayload::AlertOver(_))));
}

#[tokio::test]
async fn nobody_pauses_without_end() {
    let (world, _) = world().await;
    let mut said = Vec::new();
    for number in 0..22 {
        let request = asked(&world, pay(&format!("r{number}"), 5)).await;
        said.push(pause(&world, &request, "bob").await);
        lift(&world, "bob").await;
        world.clock.advance(1000);
    }
    assert_eq!(said.iter().filter(|one| *one == "ok").count(), 20);
    assert_eq!(said.last().map(String::as_str), Some("rate_limited"));
    // Nothing was recorded for the last: a plain rejection still goes through.
    let last = world.stored("n8n", "r21").await.unwrap();
    let bobs = link(&world, &last, "bob").await;
    world.decide(&bobs, Decision::Reject, None).await.unwrap();
}

/// A process that keeps an older policy for a while learns of the pause before it writes the next one.
#[tokio::test]
async fn two_processes_do_not_overwrite_each_others_pauses() {
    let (world, _) = world().await;
    let other = super::another(&world, Some(10_000));
    let requests = [asked(&world, pay("r1", 5)).await, asked(&world, pay("r2", 5)).await];
    other.gate.policy().await.unwrap();
    assert_eq!(pause(&world, &requests[0], "bob").await, "ok");
    let carols = link(&world, &requests[1], "carol").await;
    let nonce = other.gate.review(&carols).await.unwrap().nonce;
    other.gate.reject_and_pause(&carols, &nonce, None).await.unwrap();
    let by: Vec<String> =
        world.gate.resume(&n8n()).await.unwrap().iter().map(|pause| pause.by.to_string()).collect();
    assert_eq!(by, ["bob", "carol"]);
}

/// Where reading costs, it is read once for a row, until it is old or the row asks something else.
#[tokio::test]
async fn what_is_new_about_a_row_is_remembered_for_a_while() {
    let (plain, store) = world().await;
    let settings =
        placet_gate::Settings { novelty_max_age_ms: Some(60_000), ..placet_gate::Settings::default() };
    let world = placet_testkit::World::with_settings(store, std::sync::Arc::clone(&plain.clock), settings);
    let first = asked(&world, pay("r1", 1)).await;
    world.clock.advance(1000);
    asked(&world, pay("r2", 2)).await;
    let firsts = async || {
        let inbox = world.gate.inbox(&inbox_link(&world, "bob").await).await.unwrap();
        inbox.items.iter().map(|item| item.novelty.first.is_some()).collect::<Vec<_>>()
    };
    assert_eq!(firsts().await, [true, true]);
    super::approve(&world, &first, "bob").await.unwrap();
    super::approve(&world, &first, "carol").await.ok();
    assert_eq!(world.stored("n8n", "r1").await.unwrap().status(), placet_core::request::Status::Approved);
    assert_eq!(firsts().await, [true], "as it was read");
    // A row that was not there yet is read, and says what is true now.
    world.clock.advance(1000);
    asked(&world, pay("r3", 3)).await;
    assert_eq!(firsts().await, [true, false]);
    world.clock.advance(60_000);
    assert_eq!(firsts().await, [false, false]);
}

#[tokio::test]
async fn a_row_says_what_is_new_as_its_page_does() {
    let (world, _) = world().await;
    for number in 0..5 {
        asked(&world, pay(&format!("r{number}"), number)).await;
        world.clock.advance(1000);
    }
    let inbox = world.gate.inbox(&inbox_link(&world, "bob").await).await.unwrap();
    assert_eq!(inbox.items.len(), 5);
    for item in &inbox.items {
        let review = world.gate.review(&item.link.to_string()).await.unwrap();
        assert_eq!(item.novelty, world.gate.novelty(&review).await.unwrap());
    }
    let nth: Vec<_> = inbox.items.iter().map(|item| item.novelty.nth).collect();
    assert_eq!(nth, [None, None, None, Some(4), Some(5)]);
    // So many have come since that the list no longer reaches back far enough: nothing is better than half of it.
    for number in 10..110 {
        asked(&world, of_action(&format!("r{number}"), "free")).await;
        world.clock.advance(10);
    }
    let inbox = world.gate.inbox(&inbox_link(&world, "bob").await).await.unwrap();
    assert!(inbox.items.iter().all(|item| item.novelty == placet_gate::Novelty::default()));
}
