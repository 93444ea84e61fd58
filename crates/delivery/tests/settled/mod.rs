//! Whoever was mailed about a request and did not answer is mailed how it ended, where the policy says so.

use super::*;

/// Bob wants to hear how it ended; Carol, who decides, does too; Dan does not.
const MAILED: &str = r#"
issuer = "https://gate.example.com"
clients = [{ id = "agent", bearer = true }]
reviewers = [
  { id = "bob", email = "bob@example.com", settled_mail = true, roles = ["finance"] },
  { id = "carol", email = "carol@example.com", settled_mail = true, roles = ["finance"] },
  { id = "dan", email = "dan@example.com", roles = ["finance"] },
]
rules = [
  { name = "two", when = 'action == "two"', approvals = 2, stages = [{ ask = ["finance"], within = "10m" }] },
  { name = "pay", stages = [{ ask = ["finance"], within = "10m" }] },
]
"#;

async fn scene_of(policy: &str) -> Scene {
    let scene = Scene::new().await;
    scene.install(policy).await;
    scene.work_off().await;
    scene
}

#[tokio::test]
async fn who_did_not_answer_is_mailed_the_end_once_in_the_thread_of_the_first_mail() {
    let scene = scene_of(MAILED).await;
    scene.ask("r1", "pay", None).await;
    scene.work_off().await;
    let first = scene.played.notified.lock().unwrap().clone();
    let first = first.into_iter().find(|one| one.reviewer.as_str() == "bob").unwrap();
    assert_eq!(scene.played.told(), ["bob by email", "carol by email", "dan by email"]);

    scene.vote("r1", "carol", Decision::Approve).await;
    scene.work_off().await;
    let last = scene.played.notified.lock().unwrap().last().cloned().unwrap();
    assert_eq!(scene.played.told(), ["bob by email"]);
    assert_eq!(last.address.as_deref(), Some("bob@example.com"));
    assert_eq!(last.subject, format!("Re: {}", first.subject));
    assert!(last.follows.contains(&first.id) && last.id != first.id, "{:?}", last.follows);
    assert!(
        last.text
            .starts_with("Approved by carol, 0 s after it was asked. There is nothing left for you to do.\n")
    );
    assert!(last.text.contains(&last.url) && last.html.contains(&last.url) && last.url == first.url);

    // What looks at it again says nothing again.
    scene.gate.refresh(&scene.stored("r1").await).await.unwrap();
    scene.work_off().await;
    assert_eq!(scene.played.told(), Vec::<String>::new());
    assert_eq!(scene.waiting().await, []);
}

#[tokio::test]
async fn who_has_answered_hears_nothing_and_a_vote_that_ends_nothing_is_not_mailed() {
    let scene = scene_of(MAILED).await;
    scene.ask("r1", "two", None).await;
    scene.work_off().await;
    scene.played.told();
    scene.vote("r1", "bob", Decision::Approve).await;
    scene.work_off().await;
    assert_eq!(scene.played.told(), Vec::<String>::new(), "one of two");
    scene.vote("r1", "dan", Decision::Reject).await;
    scene.work_off().await;
    assert_eq!(scene.played.told(), ["carol by email"]);
}

#[tokio::test]
async fn a_mail_server_that_is_down_is_tried_again_and_takes_one() {
    let scene = scene_of(MAILED).await;
    scene.ask("r1", "pay", None).await;
    scene.work_off().await;
    scene.played.told();
    scene.vote("r1", "carol", Decision::Approve).await;
    scene.played.broken.store(true, Ordering::SeqCst);
    let progress = scene.work_off().await;
    assert!(progress.iter().any(|one| matches!(one, Progress::RetryAt(_))), "{progress:?}");
    scene.played.broken.store(false, Ordering::SeqCst);
    scene.work_off().await;
    assert_eq!(scene.played.told(), ["bob by email"]);
    assert_eq!(scene.waiting().await, []);
    assert_eq!(scene.played.alert_kinds(), Vec::<&str>::new(), "nobody is alerted of what asks for nothing");
}

#[tokio::test]
async fn what_a_digest_told_of_has_no_mail_of_its_own_at_the_end() {
    let scene = scene_of(MAILED).await;
    scene.played.per_minute.store(1, Ordering::SeqCst);
    for request_id in ["r1", "r2", "r3"] {
        scene.ask(request_id, "pay", None).await;
    }
    scene.work_off().await;
    scene.played.told();
    scene.clock.advance(60_000);
    for request_id in ["r1", "r2", "r3"] {
        scene.vote(request_id, "carol", Decision::Approve).await;
    }
    scene.work_off().await;
    assert_eq!(scene.played.told(), ["bob by email"], "of the one that was mailed");
}

#[tokio::test]
async fn ends_are_mailed_within_the_pace_of_all_mail_and_the_rest_is_left_out() {
    let scene = scene_of(MAILED).await;
    scene.played.per_minute.store(2, Ordering::SeqCst);
    scene.ask("r1", "pay", None).await;
    scene.ask("r2", "pay", None).await;
    scene.work_off().await;
    scene.clock.advance(60_000);
    scene.ask("r3", "pay", None).await;
    scene.work_off().await;
    scene.played.told();
    for request_id in ["r1", "r2", "r3"] {
        scene.vote(request_id, "carol", Decision::Approve).await;
    }
    scene.work_off().await;
    assert_eq!(scene.played.told(), ["bob by email"], "with the mail of r3, the second of this minute");
    assert_eq!(scene.waiting().await, []);
}

#[tokio::test]
async fn nobody_is_mailed_the_end_in_their_quiet_hours() {
    let quiet = MAILED
        .replace("settled_mail = true", r#"settled_mail = true, quiet = "00:00-23:59 UTC""#)
        .replace(r#"name = "pay", "#, r#"name = "pay", urgent = true, "#);
    let scene = scene_of(&quiet).await;
    scene.ask("r1", "pay", None).await;
    scene.work_off().await;
    assert_eq!(scene.played.told(), ["bob by email", "carol by email", "dan by email"], "it is urgent");
    scene.vote("r1", "carol", Decision::Approve).await;
    scene.work_off().await;
    assert_eq!(scene.played.told(), Vec::<String>::new());
    assert_eq!(scene.waiting().await, []);
}
