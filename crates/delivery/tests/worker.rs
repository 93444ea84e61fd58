//! The outbox worker over a gate in memory, with played channels and a real receiver of callbacks.

#![expect(clippy::unwrap_used, reason = "all of this is tests, where a panic is a failed test")]

mod settled;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use placet_core::id::RequestId;
use placet_core::policy::Decision;
use placet_delivery::{
    AlertLetter, AlertMail, AlertNotice, AlertSink, AlertWays, Bodies, Channel, Channels, Notification,
    Parts, Progress, Queues, SendOutcome, Webhooks, Worker,
};
use placet_gate::alert::Alert;
use placet_gate::outbox::{OutboxPayload, OutboxSubject};
use placet_gate::ports::{Clock, NoopMetrics, OutboxMessage, Store};
use placet_gate::returned::{MailAbout, MailFate, ReturnedMail};
use placet_gate::{Credentials, Fault, Gate, Ports, Settings};
use placet_testkit::{FixedClock, HandKeys, MemoryStore, RecordingDispatcher, question, sample};
use placet_webhook::{Options, Sender};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const POLICY: &str = r#"
issuer = "https://gate.example.com"
clients = [
  { id = "agent", name = "Invoice flow", bearer = true, callback_hosts = ["127.0.0.1"] },
  { id = "audit", roles = ["auditor"], bearer = true, callback_hosts = ["127.0.0.1"] },
  { id = "desk", roles = ["decider"], queues = ["backup"], bearer = true },
]
reviewers = [
  { id = "bob", email = "bob@example.com", phone = "+15550100", roles = ["finance"] },
  { id = "carol", roles = ["finance"] },
]
rules = [
  { name = "pay", when = 'action == "pay"', stages = [{ ask = ["finance"], within = "10m" }] },
  { name = "queue", when = 'action == "queue"', stages = [{ queue = "backup", within = "10m" }] },
]
"#;

/// A channel, a queue and a sink of alerts that remember, and that can be made to fail.
#[derive(Default)]
struct Played {
    broken: AtomicBool,
    notified: Mutex<Vec<Notification>>,
    published: Mutex<Vec<(String, String)>>,
    alerts: Mutex<Vec<AlertNotice>>,
    letters: Mutex<Vec<(String, AlertLetter)>>,
    mute: AtomicBool,
    /// How many mails one person gets in a minute; 0: as many as there are.
    per_minute: AtomicU32,
    /// Whether mail is named by its carrier, which may say later that it came back.
    names_mail: AtomicBool,
    hangs: AtomicBool,
    reached: tokio::sync::Notify,
}

impl Played {
    fn told(&self) -> Vec<String> {
        let mut told: Vec<String> = std::mem::take(&mut *self.notified.lock().unwrap())
            .into_iter()
            .map(|notification| format!("{} by {}", notification.reviewer, notification.channel))
            .collect();
        told.sort();
        told
    }

    fn alert_kinds(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.alerts.lock().unwrap()).into_iter().map(|notice| notice.kind).collect()
    }

    fn is_broken(&self) -> bool {
        self.broken.load(Ordering::SeqCst)
    }
}

struct PlayedChannel(&'static str, Arc<Played>);

#[async_trait]
impl Channel for PlayedChannel {
    fn name(&self) -> &'static str {
        self.0
    }

    fn per_minute(&self) -> Option<u32> {
        let most = self.1.per_minute.load(Ordering::SeqCst);
        (self.0 == "email" && most > 0).then_some(most)
    }

    async fn send(&self, notification: &Notification) -> SendOutcome {
        if self.1.is_broken() {
            return SendOutcome::Retry("the server is down".into());
        }
        self.1.notified.lock().unwrap().push(notification.clone());
        let is_named = self.0 == "email" && self.1.names_mail.load(Ordering::SeqCst);
        SendOutcome::Delivered(is_named.then(|| format!("mail-of-{}", notification.reviewer)))
    }
}

struct Shared(Arc<Played>);

#[async_trait]
impl Queues for Shared {
    async fn publish(&self, queue: &str, _: &str, body: &str) -> Result<(), Fault> {
        if self.0.is_broken() {
            return Err(Fault::bare("the queue is down"));
        }
        self.0.published.lock().unwrap().push((queue.to_owned(), body.to_owned()));
        Ok(())
    }
}

#[async_trait]
impl AlertSink for Shared {
    async fn alert(&self, notice: &AlertNotice) -> Result<(), String> {
        self.0.alerts.lock().unwrap().push(notice.clone());
        Ok(())
    }
}

#[async_trait]
impl AlertMail for Shared {
    async fn mail(&self, way: &str, _to: &[String], letter: &AlertLetter) -> SendOutcome {
        if self.0.hangs.load(Ordering::SeqCst) {
            self.0.reached.notify_one();
            return std::future::pending().await;
        }
        if self.0.mute.load(Ordering::SeqCst) && way == "night" {
            return SendOutcome::Retry("the server is down".into());
        }
        self.0.letters.lock().unwrap().push((way.to_owned(), letter.clone()));
        SendOutcome::Delivered(None)
    }
}

struct Scene {
    gate: Arc<Gate>,
    worker: Worker,
    played: Arc<Played>,
    clock: Arc<FixedClock>,
    keys: Arc<HandKeys>,
    store: Arc<dyn Store>,
}

impl Scene {
    async fn new() -> Self {
        let clock = FixedClock::new();
        let store: Arc<dyn Store> = MemoryStore::new(Arc::clone(&clock) as _);
        let keys = Arc::new(HandKeys::new(clock.now()));
        let gate_ports = Ports {
            store: Arc::clone(&store),
            dispatcher: Arc::new(RecordingDispatcher::default()),
            keys: Arc::clone(&keys) as _,
            clock: Arc::clone(&clock) as _,
            metrics: Arc::new(NoopMetrics),
        };
        let gate = Arc::new(Gate::new(gate_ports, Settings::default()));
        let played = Arc::new(Played::default());
        let channels = ["email", "sms", "terminal"].into_iter().fold(Channels::default(), |all, name| {
            all.with(Arc::new(PlayedChannel(name, Arc::clone(&played))))
        });
        let parts = Parts {
            channels,
            queues: Arc::new(Shared(Arc::clone(&played))),
            webhooks: Webhooks::new(Sender::new(Options::default())),
            alerts: vec![Arc::new(Shared(Arc::clone(&played)))],
            ways: AlertWays {
                gate: Arc::clone(&gate),
                sender: Sender::new(Options::default()),
                mail: Arc::new(Shared(Arc::clone(&played))),
                topic: None,
            },
            bodies: Bodies {
                event: |event| {
                    json!({
                        "event": event.event.as_str(),
                        "status": event.view.state.status().as_str(),
                        "token": event.view.token.is_some(),
                    })
                    .to_string()
                },
                queue_item: |item| item.view.asked.request_id.to_string(),
            },
        };
        let scene = Self { worker: Worker::new(Arc::clone(&gate), parts), gate, played, clock, keys, store };
        scene.install(POLICY).await;
        scene.work_off().await;
        scene
    }

    async fn install(&self, policy: &str) {
        self.gate.install_policy(policy, "operator").await.unwrap().unwrap();
    }

    async fn caller(&self, client: &str) -> placet_gate::Caller {
        let ring = self.keys.ring();
        let secret = ring.current.client_secret(&placet_testkit::sample::client(client), 1);
        self.gate.authenticate(Credentials::Bearer(&format!("{client}.{}", secret.expose()))).await.unwrap()
    }

    async fn ask(&self, request_id: &str, action: &str, callback_url: Option<String>) {
        let mut fields = question(request_id, action, &json!({"amount": 5}));
        fields.callback_url = callback_url;
        self.gate.ask(&self.caller("agent").await, fields).await.unwrap();
    }

    async fn vote(&self, request_id: &str, reviewer: &str, decision: Decision) {
        let policy = self.gate.policy().await.unwrap();
        let request = self.stored(request_id).await;
        let reviewer = placet_testkit::sample::reviewer(reviewer);
        let link = self.gate.link(request.asked(), &reviewer, &policy).await.unwrap().to_string();
        let page = self.gate.review(&link).await.unwrap();
        self.gate.decide(&link, &page.nonce, decision, None).await.unwrap();
    }

    async fn stored(&self, request_id: &str) -> placet_core::request::Request {
        self.store.load(placet_testkit::sample::key("agent", request_id)).await.unwrap().unwrap()
    }

    async fn waiting(&self) -> Vec<OutboxMessage> {
        let ever = placet_core::Timestamp::from_millis(i64::MAX);
        self.store.due_messages(ever, 1000).await.unwrap()
    }

    /// Works off everything that waits, once. How each went.
    async fn work_off(&self) -> Vec<Progress> {
        let mut all = Vec::new();
        for message in self.waiting().await {
            all.push(self.worker.run(&message, None).await.unwrap());
        }
        all
    }
}

/// Answers every POST with that status; the bodies that it got.
async fn receiver(status: u16) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let bodies: Arc<Mutex<Vec<String>>> = Arc::default();
    let got = Arc::clone(&bodies);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = Vec::new();
            let mut chunk = [0; 4096];
            // The body is one JSON object: it is there when its last brace is.
            while !bytes.ends_with(b"}") {
                let read = stream.read(&mut chunk).await.unwrap_or(0);
                if read == 0 {
                    break;
                }
                bytes.extend_from_slice(chunk.get(..read).unwrap_or_default());
            }
            let text = String::from_utf8_lossy(&bytes).into_owned();
            got.lock().unwrap().push(text.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned());
            let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (url, bodies)
}

/// Plays an n8n that says the same of every run, and remembers the first line of each request.
struct PlayedN8n {
    url: String,
    says: Arc<Mutex<(u16, &'static str)>>,
    lines: Arc<Mutex<Vec<String>>>,
}

/// As n8n 2.40 answers.
const WAITS: (u16, &str) = (200, "<html>No action required</html>");
const RUNS: (u16, &str) = (409, r#"{"code":409,"message":"The execution \"17\" is running already."}"#);
const STOPPED: (u16, &str) =
    (409, r#"{"code":409,"message":"The execution \"17\" has finished with error."}"#);
const DELETED: (u16, &str) = (404, r#"{"code":404,"message":"The execution \"17\" does not exist."}"#);
const STARTS: (u16, &str) = (404, "<html>Cannot GET: the execution does not exist</html>");

impl PlayedN8n {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/webhook-waiting", listener.local_addr().unwrap());
        let played = Self { url, says: Arc::new(Mutex::new(WAITS)), lines: Arc::default() };
        let (says, lines) = (Arc::clone(&played.says), Arc::clone(&played.lines));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut bytes = Vec::new();
                let mut chunk = [0; 4096];
                while !bytes.windows(4).any(|end| end == b"\r\n\r\n") {
                    let read = stream.read(&mut chunk).await.unwrap_or(0);
                    if read == 0 {
                        break;
                    }
                    bytes.extend_from_slice(chunk.get(..read).unwrap_or_default());
                }
                let head = String::from_utf8_lossy(&bytes).into_owned();
                lines.lock().unwrap().push(head.lines().next().unwrap_or_default().to_owned());
                let (status, body) = *says.lock().unwrap();
                let answer = format!(
                    "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        played
    }

    fn step(&self) -> String {
        format!("{}/17/pay?signature=s", self.url)
    }

    fn says(&self, answer: (u16, &'static str)) {
        *self.says.lock().unwrap() = answer;
    }

    fn lines(&self) -> Vec<String> {
        std::mem::take(&mut *self.lines.lock().unwrap())
    }
}

/// A look at a run, as its line comes to n8n.
const LOOK: &str = "GET /webhook-waiting/17/pay?signature=s HTTP/1.1";

impl Scene {
    /// Runs the messages of that payload, once; how each went.
    async fn run_all(&self, of: impl Fn(&OutboxPayload) -> bool) -> Vec<Progress> {
        let mut all = Vec::new();
        for message in self.waiting().await.into_iter().filter(|one| of(&one.payload)) {
            all.push(self.worker.run(&message, None).await.unwrap());
        }
        all
    }

    async fn look_at_run(&self) -> Vec<Progress> {
        self.run_all(|payload| matches!(payload, OutboxPayload::LookAtRun)).await
    }

    async fn ended(&self, request_id: &str) -> Option<(Vec<String>, Option<String>)> {
        let request = self.stored(request_id).await;
        let outcome = request.outcome()?;
        assert_eq!(request.status(), placet_core::request::Status::Cancelled);
        Some((outcome.decided_by.iter().map(ToString::to_string).collect(), outcome.reason.clone()))
    }
}

#[tokio::test]
async fn a_request_is_withdrawn_when_n8n_says_that_its_run_is_over() {
    for over in [STOPPED, DELETED] {
        let (scene, n8n) = (Scene::new().await, PlayedN8n::start().await);
        scene.install(&POLICY.replace("10m", "1d")).await;
        scene.ask("n8n-17-0-Pay", "pay", Some(n8n.step())).await;
        scene.look_at_run().await;
        assert_eq!(n8n.lines(), Vec::<String>::new(), "it has only just asked");
        // It begins at once and becomes rare; nothing but n8n's word that the run is over changes anything.
        for (after_s, says) in
            [(30, RUNS), (60, WAITS), (120, STARTS), (240, (503, "busy")), (480, (401, "{}"))]
        {
            n8n.says(says);
            scene.clock.advance(after_s * 1000);
            let looked = scene.look_at_run().await;
            let next = scene.clock.now().plus_millis((after_s * 2000).min(1_800_000));
            let waits = matches!(&looked[..], [Progress::RetryAt(next_look)] if next_look.due_at == next);
            assert!(waits, "{says:?}: {looked:?}");
            assert_eq!(n8n.lines(), [LOOK], "{says:?}");
            assert_eq!(scene.ended("n8n-17-0-Pay").await, None, "{says:?}");
        }
        n8n.says(over);
        scene.look_at_run().await;
        let (by, why) = scene.ended("n8n-17-0-Pay").await.unwrap();
        assert_eq!(by, ["client:agent"]);
        assert!(why.unwrap().starts_with("The n8n run that asked is over: it was stopped"));
        n8n.lines();
        scene.work_off_twice().await;
        assert_eq!(n8n.lines(), ["POST /webhook-waiting/17/pay?signature=s HTTP/1.1"]);
        assert_eq!(scene.waiting().await, [], "n8n is told once, and nobody is alerted");
        assert_eq!(scene.played.alert_kinds(), Vec::<&str>::new());
    }
}

#[tokio::test]
async fn a_look_that_reaches_no_n8n_changes_nothing() {
    let scene = Scene::new().await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let private = "https://10.0.0.7/webhook-waiting/17/pay?signature=s".to_owned();
    for (name, url) in [
        ("n8n-17-0-Closed", format!("http://{closed}/webhook-waiting/17/pay?signature=s")),
        ("n8n-17-0-Barred", private),
    ] {
        scene.ask(name, "pay", Some(url)).await;
    }
    scene.clock.advance(30_000);
    let looked = scene.look_at_run().await;
    assert!(matches!(&looked[..], [Progress::RetryAt(_), Progress::RetryAt(_)]), "{looked:?}");
    assert_eq!((scene.ended("n8n-17-0-Closed").await, scene.ended("n8n-17-0-Barred").await), (None, None));
}

#[tokio::test]
async fn what_others_may_wait_for_too_is_not_withdrawn_for_one_run() {
    let (scene, n8n) = (Scene::new().await, PlayedN8n::start().await);
    n8n.says(DELETED);
    let step = |run: u32| Some(format!("{}/{run}/pay?signature=s", n8n.url));
    for (name, url) in [
        ("invoice-77", step(17)),
        ("n8n-177-0-Pay", step(17)),
        ("n8n-17", step(17)),
        // n8n's Wait node: a look would wake it.
        ("n8n-17-0-Wait", Some(format!("{}/17?signature=s", n8n.url))),
        ("n8n-17-0-Asks", None),
    ] {
        scene.ask(name, "pay", url).await;
    }
    scene.ask("n8n-17-0-Joined", "pay", step(17)).await;
    scene.ask("n8n-17-0-Joined", "pay", step(18)).await;
    scene.clock.advance(30_000);
    assert_eq!(scene.look_at_run().await, [Progress::Done], "of the one that another run has joined");
    let told = |payload: &OutboxPayload| matches!(payload, OutboxPayload::Notify { .. });
    scene.run_all(told).await;
    assert_eq!(n8n.lines(), Vec::<String>::new());
    assert_eq!(scene.played.told().len(), 6 * 3);
}

#[tokio::test]
async fn nobody_of_a_later_stage_is_asked_for_a_run_that_is_over() {
    let (scene, n8n) = (Scene::new().await, PlayedN8n::start().await);
    scene.install(&LATE.replace("bearer = true", r#"bearer = true, callback_hosts = ["127.0.0.1"]"#)).await;
    let told = |payload: &OutboxPayload| matches!(payload, OutboxPayload::Notify { .. });
    for name in ["n8n-17-0-Pay", "n8n-17-1-Pay"] {
        scene.ask(name, "pay", Some(n8n.step())).await;
    }
    scene.run_all(told).await;
    assert!(!scene.played.told().is_empty() && n8n.lines().is_empty(), "the first are told without a look");
    scene.clock.advance(21 * 60_000);
    scene.gate.wake(placet_testkit::sample::key("agent", "n8n-17-0-Pay")).await.unwrap();
    scene.run_all(told).await;
    assert_eq!(n8n.lines(), [LOOK]);
    assert_eq!(scene.played.told(), ["carol by terminal"], "it still waits");
    n8n.says(STOPPED);
    scene.gate.wake(placet_testkit::sample::key("agent", "n8n-17-1-Pay")).await.unwrap();
    scene.run_all(told).await;
    assert_eq!(n8n.lines(), [LOOK]);
    assert_eq!(scene.played.told(), Vec::<String>::new());
    assert!(scene.ended("n8n-17-1-Pay").await.is_some() && scene.ended("n8n-17-0-Pay").await.is_none());
}

#[tokio::test]
async fn each_reviewer_is_told_by_every_channel_of_theirs_with_a_link_of_their_own() {
    let scene = Scene::new().await;
    scene.ask("r1", "pay", None).await;
    scene.work_off().await;
    let notified = scene.played.notified.lock().unwrap().clone();
    let links: std::collections::BTreeSet<&str> = notified.iter().map(|one| one.url.as_str()).collect();
    assert_eq!(links.len(), 2, "a link a person, whatever the channel");
    for one in &notified {
        assert!(one.url.starts_with("https://gate.example.com/r/") && one.text.contains(&one.url));
        let sms = one.channel == "sms";
        assert_eq!(one.address.is_some(), one.channel != "terminal");
        assert!(!sms || one.address.as_deref() == Some("+15550100"));
    }
    assert_eq!(scene.played.told(), ["bob by email", "bob by sms", "carol by terminal"]);
    assert_eq!(scene.waiting().await, [], "what was told has left the outbox");
}

#[tokio::test]
async fn what_fails_is_retried_and_operators_hear_of_it_once() {
    let scene = Scene::new().await;
    scene.ask("r1", "queue", None).await;
    scene.played.broken.store(true, Ordering::SeqCst);
    let mut waits = Vec::new();
    for _ in 0..5 {
        let message =
            scene.waiting().await.into_iter().find(|m| matches!(m.payload, OutboxPayload::Publish { .. }));
        let now = scene.clock.now();
        match scene.worker.run(&message.unwrap(), None).await.unwrap() {
            Progress::RetryAt(next) => waits.push(next.due_at.millis_since(now)),
            Progress::Done => panic!("nobody was told"),
        }
    }
    assert_eq!(waits, [2000, 4000, 8000, 16_000, 32_000]);
    scene.played.broken.store(false, Ordering::SeqCst);
    scene.work_off().await;
    assert_eq!(scene.played.alert_kinds(), ["not_told"]);
    assert_eq!(*scene.played.published.lock().unwrap(), [("backup".to_owned(), "r1".to_owned())]);
    let left = scene.waiting().await;
    assert!(
        matches!(left.as_slice(), [OutboxMessage { payload: OutboxPayload::AlertOver(_), .. }]),
        "{left:?}"
    );
}

#[tokio::test]
async fn nobody_is_told_of_what_has_ended_or_no_longer_asks_them() {
    let scene = Scene::new().await;
    scene.ask("r1", "pay", None).await;
    scene.ask("r2", "pay", None).await;
    scene.vote("r1", "carol", Decision::Reject).await;
    scene
        .install(&POLICY.replace(r#"phone = "+15550100", roles = ["finance"]"#, r#"phone = "+15550100""#))
        .await;
    scene.work_off().await;
    // Of r1 nobody, of r2 only who still has the role.
    assert_eq!(scene.played.told(), ["carol by terminal"]);
}

#[tokio::test]
async fn the_caller_gets_the_token_and_an_auditor_does_not() {
    let scene = Scene::new().await;
    let (callback, called) = receiver(200).await;
    let (hook, hooked) = receiver(204).await;
    let auditor = scene.caller("audit").await;
    scene.gate.subscribe(&auditor, hook, vec![placet_gate::hooks::HookEvent::Decided]).await.unwrap();
    scene.ask("r1", "pay", Some(callback)).await;
    scene.vote("r1", "carol", Decision::Approve).await;
    scene.work_off().await;
    let told = |status: &str, token| {
        json!({"event": "approval.decided", "status": status, "token": token}).to_string()
    };
    assert_eq!(*called.lock().unwrap(), [told("approved", true)]);
    assert_eq!(*hooked.lock().unwrap(), [told("approved", false)]);
    assert_eq!(scene.waiting().await, []);
}

#[tokio::test]
async fn a_receiver_that_wants_no_more_is_given_up_with_an_entry_and_an_alert() {
    let scene = Scene::new().await;
    let (callback, called) = receiver(410).await;
    scene.ask("r1", "pay", Some(callback)).await;
    scene.vote("r1", "carol", Decision::Reject).await;
    let before = scene.stored("r1").await.state().chain_head().seq;
    scene.work_off().await;
    scene.work_off().await;
    let after = scene.stored("r1").await;
    assert_eq!(after.state().chain_head().seq, before + 1, "one entry says so");
    assert_eq!(after.status(), placet_core::request::Status::Rejected, "the outcome stands");
    assert_eq!(scene.played.alert_kinds(), ["callback_given_up"]);
    assert_eq!(scene.waiting().await, []);
    assert_eq!(called.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_receiver_that_fails_is_retried_and_the_decision_stands_meanwhile() {
    let scene = Scene::new().await;
    let (callback, _) = receiver(500).await;
    scene.ask("r1", "pay", Some(callback)).await;
    scene.vote("r1", "carol", Decision::Reject).await;
    let retries: Vec<u32> = scene
        .work_off()
        .await
        .into_iter()
        .filter_map(|progress| match progress {
            Progress::RetryAt(message) => Some(message.attempt),
            Progress::Done => None,
        })
        .collect();
    assert_eq!(retries, [1]);
    assert_eq!(scene.stored("r1").await.status(), placet_core::request::Status::Rejected);
}

#[tokio::test]
async fn a_new_policy_asks_whoever_is_new_and_comes_back_when_somebody_goes_away() {
    let scene = Scene::new().await;
    scene.ask("r1", "pay", None).await;
    scene.work_off().await;
    scene.played.told();
    let day = scene.clock.now().day() + 3;
    let first = placet_core::Timestamp::from_millis(day * placet_core::time::DAY_MS).to_string();
    let date = first.get(..10).unwrap();
    let with_erin = POLICY.replace(
        "  { id = \"carol\"",
        &format!("  {{ id = \"erin\", roles = [\"finance\"], away = [{{ from = {date}, until = {date} }}] }},\n  {{ id = \"carol\""),
    );
    scene.install(&with_erin).await;
    let progress = scene.work_off().await;
    scene.work_off().await;
    assert_eq!(scene.played.told(), ["erin by terminal"]);
    let again: Vec<i64> = progress
        .iter()
        .filter_map(|progress| match progress {
            Progress::RetryAt(message) => Some(message.due_at.millis() / placet_core::time::DAY_MS),
            Progress::Done => None,
        })
        .collect();
    assert_eq!(again, [day], "the same look again, when erin goes away");
    // A newer policy looks for itself: the look of the older one ends.
    scene.install(POLICY).await;
    let left = scene.work_off().await;
    assert!(left.iter().all(|progress| *progress == Progress::Done), "{left:?}");
}

const WAYS: &str = r#"
[[alerts]]
name = "ops"
way = "mail"
to = ["ops@example.com"]
[[alerts]]
name = "night"
way = "mail"
to = ["night@example.com"]
kinds = ["expired", "open_too_long", "not_told"]
"#;

impl Scene {
    /// An alert becomes a message for each way, and those are sent.
    async fn work_off_twice(&self) {
        self.work_off().await;
        self.work_off().await;
    }

    /// What was mailed since the last look: the way and the subject.
    fn letters(&self) -> Vec<String> {
        let letters = std::mem::take(&mut *self.played.letters.lock().unwrap());
        let mut said: Vec<String> = letters
            .into_iter()
            .map(|(way, letter)| format!("{way}: {}", letter.subject.trim_start_matches("[Placet] ")))
            .collect();
        said.sort();
        said
    }
}

#[tokio::test]
async fn each_way_hears_of_each_matter_once_and_a_way_that_fails_holds_up_no_other() {
    let scene = Scene::new().await;
    scene.install(&format!("{POLICY}{WAYS}")).await;
    let alert = |client: &str| Alert::OldSecret { client: sample::client(client), epoch: 1 };
    for _ in 0..3 {
        scene.gate.saw_again(OutboxSubject::Gate, alert("n8n")).await.unwrap();
    }
    scene.work_off_twice().await;
    assert_eq!(scene.letters(), ["ops: A client uses an old secret"], "`night` does not hear of this kind");

    scene.played.mute.store(true, Ordering::SeqCst);
    let expired =
        Alert::Expired { client: sample::client("n8n"), request_id: RequestId::parse("r1").unwrap() };
    scene.gate.alert(OutboxSubject::Gate, expired).await.unwrap();
    for _ in 0..6 {
        scene.work_off().await;
        scene.clock.advance(60_000);
    }
    assert_eq!(scene.letters(), ["ops: A request has expired", "ops: A way of alerts fails"]);
    scene.played.mute.store(false, Ordering::SeqCst);
    scene.work_off().await;
    assert_eq!(scene.letters(), ["night: A request has expired"]);
    // A whole span without a failure: it is over, said to whoever heard of it.
    scene.clock.advance(41 * 60_000);
    scene.work_off_twice().await;
    assert_eq!(scene.letters(), ["ops: Over: A way of alerts fails"]);
}

#[tokio::test]
async fn a_storm_is_ten_messages_and_one_that_counts_the_rest() {
    let scene = Scene::new().await;
    scene.install(&format!("{POLICY}{WAYS}")).await;
    for number in 0..25 {
        let client = sample::client(&format!("c{number}"));
        scene.gate.saw_again(OutboxSubject::Gate, Alert::OldSecret { client, epoch: 1 }).await.unwrap();
    }
    scene.work_off_twice().await;
    assert_eq!(scene.letters().len(), 10);
    scene.clock.advance(60_000);
    scene.work_off().await;
    let letters = scene.played.letters.lock().unwrap().clone();
    assert_eq!(letters.len(), 1);
    assert!(letters[0].1.text.starts_with("15 more messages"), "{}", letters[0].1.text);
}

/// What the worker's messages are, after their subject, in order.
fn named(messages: &[OutboxMessage]) -> Vec<String> {
    let mut names: Vec<String> = messages
        .iter()
        .map(|message| message.id.strip_prefix(&message.subject.prefix()).unwrap().to_owned())
        .collect();
    names.sort();
    names
}

const LATE: &str = r#"
issuer = "https://gate.example.com"
clients = [{ id = "agent", bearer = true }]
reviewers = [{ id = "bob", roles = ["finance"] }, { id = "carol", roles = ["chief"] }]
rules = [
  { name = "pay", alert_after = "20m", stages = [
    { ask = ["finance"], within = "10m" }, { ask = ["chief"], within = "60m" },
  ] },
]
"#;

impl Scene {
    /// Works off only what is due, as the sweep does, until nothing more is.
    async fn work_off_due(&self) {
        for _ in 0..4 {
            for message in self.store.due_messages(self.clock.now(), 1000).await.unwrap() {
                self.worker.claim_and_run(&message, None).await.unwrap();
            }
            // What was put into the outbox is leased to whoever did.
            self.clock.advance(placet_gate::LEASE_MS);
        }
    }
}

#[tokio::test]
async fn a_stage_that_has_closed_unseen_does_not_take_the_alert_that_its_request_waits() {
    let scene = Scene::new().await;
    scene.install(&format!("{LATE}{WAYS}")).await;
    scene.ask("r1", "pay", None).await;
    // Nobody has swept: the first stage is over by its time, the second has not been opened.
    scene.clock.advance(21 * 60_000);
    let look = scene.waiting().await.into_iter().find(|one| matches!(one.payload, OutboxPayload::StillOpen));
    scene.worker.run(&look.unwrap(), None).await.unwrap();
    assert_eq!(scene.stored("r1").await.pending().unwrap().stage, 1, "it was settled first");
    scene.work_off_twice().await;
    assert_eq!(scene.played.alert_kinds(), ["open_too_long"]);
    scene.letters();
    scene.vote("r1", "carol", Decision::Approve).await;
    scene.work_off_twice().await;
    assert_eq!(
        scene.letters(),
        ["night: Over: A request waits too long", "ops: Over: A request waits too long"]
    );
}

#[tokio::test]
async fn what_nobody_was_alerted_of_is_not_over() {
    let scene = Scene::new().await;
    scene.install(&format!("{LATE}{WAYS}")).await;
    scene.ask("r1", "pay", None).await;
    scene.clock.advance(9 * 60_000);
    scene.vote("r1", "bob", Decision::Approve).await;
    scene.ask("r2", "pay", None).await;
    scene.clock.advance(21 * 60_000);
    // The look is due and has not been taken when the answer comes.
    scene.gate.wake(placet_testkit::sample::key("agent", "r2")).await.unwrap();
    scene.vote("r2", "carol", Decision::Approve).await;
    assert!(named(&scene.waiting().await).contains(&"over_open_too_long".to_owned()));
    scene.work_off_twice().await;
    scene.work_off_twice().await;
    assert_eq!(scene.letters(), Vec::<String>::new());
    assert_eq!(scene.waiting().await, []);
}

#[tokio::test]
async fn what_is_over_before_a_way_could_say_it_is_said_by_none() {
    let scene = Scene::new().await;
    scene.install(&format!("{LATE}{WAYS}")).await;
    scene.ask("r1", "pay", None).await;
    scene.gate.wake(placet_testkit::sample::key("agent", "r1")).await.unwrap();
    scene.played.mute.store(true, Ordering::SeqCst);
    scene.clock.advance(21 * 60_000);
    scene.work_off_due().await;
    assert_eq!(scene.letters(), ["ops: A request waits too long"], "`night` fails");
    scene.vote("r1", "carol", Decision::Approve).await;
    scene.played.mute.store(false, Ordering::SeqCst);
    scene.clock.advance(60_000);
    scene.work_off_due().await;
    scene.work_off_due().await;
    assert_eq!(
        scene.letters(),
        ["night: Over: A request waits too long", "ops: Over: A request waits too long"],
        "no alert comes after the word that it is over"
    );
}

#[tokio::test]
async fn that_something_no_longer_goes_on_is_said_after_that_it_does() {
    let scene = Scene::new().await;
    let ways = WAYS.replace("\"not_told\"", "\"not_told\", \"bad_signatures\"");
    scene.install(&format!("{POLICY}{ways}")).await;
    let client = Some(sample::client("agent"));
    let alert = Alert::BadSignatures { client, count: 20, minute: 1 };
    scene.gate.saw_again(OutboxSubject::Gate, alert).await.unwrap();
    scene.played.mute.store(true, Ordering::SeqCst);
    // `night` is down for longer than it goes on.
    for _ in 0..25 {
        scene.work_off_due().await;
    }
    let said = scene.letters();
    assert!(said.contains(&"ops: Over: Wrong signatures".to_owned()), "{said:?}");
    let waiting = named(&scene.waiting().await);
    let of_night = |word: &str| waiting.iter().any(|id| id.starts_with(&format!("{word}_by_night_")));
    assert!(of_night("alert") && of_night("over"), "{waiting:?}");
    scene.played.mute.store(false, Ordering::SeqCst);
    for _ in 0..4 {
        scene.work_off_due().await;
    }
    let letters = scene.played.letters.lock().unwrap().clone();
    let heard: Vec<&str> =
        letters.iter().filter(|(way, _)| way == "night").map(|(_, letter)| letter.subject.as_str()).collect();
    assert_eq!(heard, ["[Placet] Wrong signatures", "[Placet] Over: Wrong signatures"]);
}

#[tokio::test]
async fn who_has_opened_a_request_is_not_nudged_by_the_next_channel() {
    let scene = Scene::new().await;
    let at = r#"phone = "+15550100", "#;
    scene.install(&POLICY.replace(at, &format!(r#"{at}channels = ["email", "sms"], nudge = "1m", "#))).await;
    scene.work_off().await;
    for request_id in ["only looked at", "opened by carol", "touched", "in the inbox"] {
        scene.ask(&request_id.replace(' ', "-"), "pay", None).await;
    }
    scene.work_off().await;
    let told = std::mem::take(&mut *scene.played.notified.lock().unwrap());
    assert_eq!(told.iter().filter(|one| one.reviewer.as_str() == "bob").count(), 4);

    let policy = scene.gate.policy().await.unwrap();
    let link = async |request_id: &str, reviewer: &str| {
        let request = scene.stored(request_id).await;
        let reviewer = placet_testkit::sample::reviewer(reviewer);
        scene.gate.link(request.asked(), &reviewer, &policy).await.unwrap().to_string()
    };
    let looked = link("only-looked-at", "bob").await;
    for _ in 0..3 {
        scene.gate.review(&looked).await.unwrap();
    }
    assert!(scene.gate.opened(&looked, "1-0").await.is_err());
    for (request_id, reviewer) in [("opened-by-carol", "carol"), ("touched", "bob")] {
        let link = link(request_id, reviewer).await;
        let nonce = scene.gate.review(&link).await.unwrap().nonce;
        scene.gate.opened(&link, &nonce).await.unwrap();
        scene.gate.opened(&link, &nonce).await.unwrap();
    }
    let bob = placet_testkit::sample::reviewer("bob");
    let inbox_link = scene.gate.inbox_link(&bob, &policy).await.unwrap().to_string();
    let inbox = scene.gate.inbox(&inbox_link).await.unwrap();
    let listed = scene.stored("in-the-inbox").await.asked().approval_id.to_string();
    let rows = [listed, "01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned(), String::new()];
    assert!(scene.gate.opened_in_inbox(&inbox_link, "1-0", &rows).await.is_err());
    scene.gate.opened_in_inbox(&inbox_link, &inbox.nonce, &rows).await.unwrap();

    scene.clock.advance(60_000);
    scene.work_off().await;
    let nudged = std::mem::take(&mut *scene.played.notified.lock().unwrap());
    let mut nudged: Vec<_> =
        nudged.into_iter().map(|one| (one.channel, one.reviewer.to_string(), one.approval_id)).collect();
    nudged.sort();
    let mut wanted = Vec::new();
    for request_id in ["only-looked-at", "opened-by-carol"] {
        let approval = scene.stored(request_id).await.asked().approval_id.clone();
        wanted.push(("sms".to_owned(), "bob".to_owned(), approval));
    }
    wanted.sort();
    assert_eq!(nudged, wanted);
    assert_eq!(scene.waiting().await, []);
    for request_id in ["only-looked-at", "opened-by-carol", "touched", "in-the-inbox"] {
        let request = scene.stored(request_id).await;
        assert!(request.pending().is_some() && request.state().votes().is_empty());
    }
}

const BY_MAIL_THEN_TEXT: &str = r#"channels = ["email", "sms"], nudge = "5m", roles = ["finance"]"#;

/// That bob's mail about r1 came back.
async fn returned(scene: &Scene, reference: &str, recipient: &str, fate: MailFate) -> ReturnedMail {
    let asked = scene.stored("r1").await;
    let about = MailAbout::Approval { key: asked.key(), approval_id: asked.asked().approval_id.clone() };
    ReturnedMail { about, reference: reference.to_owned(), recipients: vec![recipient.to_owned()], fate }
}

/// A gate whose bob has been mailed, and waits for nothing else.
async fn mailed() -> Scene {
    let scene = Scene::new().await;
    scene.played.names_mail.store(true, Ordering::SeqCst);
    scene.install(&POLICY.replacen(r#"roles = ["finance"]"#, BY_MAIL_THEN_TEXT, 1)).await;
    scene.work_off().await;
    scene.ask("r1", "pay", None).await;
    for message in scene.waiting().await {
        if matches!(message.payload, OutboxPayload::Notify { .. }) {
            scene.worker.run(&message, None).await.unwrap();
        }
    }
    assert_eq!(scene.played.told(), ["bob by email", "carol by terminal"]);
    scene
}

/// What is waiting for bob's phone.
async fn texts(scene: &Scene) -> Vec<OutboxMessage> {
    let mut all = scene.waiting().await;
    all.retain(
        |message| matches!(&message.payload, OutboxPayload::Nudge { channel, .. } if channel == "sms"),
    );
    all
}

#[tokio::test]
async fn whose_mail_bounces_is_told_by_the_next_channel_and_operators_hear_of_it_once() {
    let scene = mailed().await;
    let [nudge] = texts(&scene).await.try_into().unwrap();
    assert!(nudge.due_at.millis_since(scene.clock.now()) > 60_000, "the text would wait for the nudge");
    let mail = returned(&scene, "mail-of-bob", "BOB@example.com", MailFate::NoSuchAddress).await;
    assert!(scene.gate.mail_came_back(&mail).await.unwrap());
    assert!(scene.gate.mail_came_back(&mail).await.unwrap(), "the same again does nothing");
    let [text] = texts(&scene).await.try_into().unwrap();
    assert!(text.due_at.millis_since(scene.clock.now()) <= placet_gate::LEASE_MS, "{text:?}");
    scene.worker.run(&text, None).await.unwrap();
    assert_eq!(scene.played.told(), ["bob by sms"]);
    scene.work_off().await;
    assert_eq!(scene.played.alert_kinds(), ["not_told"]);
    assert!(scene.gate.mail_comes_back("bob@example.com").await.unwrap());
    assert!(!scene.gate.mail_comes_back("carol@example.com").await.unwrap());
    scene.clock.advance(15 * placet_core::time::DAY_MS);
    assert!(!scene.gate.mail_comes_back("bob@example.com").await.unwrap(), "then it is tried again");
}

#[tokio::test]
async fn a_mail_that_did_not_arrive_this_time_is_no_word_against_its_address() {
    let scene = mailed().await;
    let mail = returned(&scene, "mail-of-bob", "bob@example.com", MailFate::NotThisTime).await;
    assert!(scene.gate.mail_came_back(&mail).await.unwrap());
    let [text] = texts(&scene).await.try_into().unwrap();
    scene.worker.run(&text, None).await.unwrap();
    assert_eq!(scene.played.told(), ["bob by sms"]);
    assert!(!scene.gate.mail_comes_back("bob@example.com").await.unwrap());
}

#[tokio::test]
async fn whoever_marks_a_mail_as_spam_has_got_it_and_gets_no_more() {
    let scene = mailed().await;
    let before = texts(&scene).await;
    let mail = returned(&scene, "mail-of-bob", "bob@example.com", MailFate::Unwanted).await;
    assert!(scene.gate.mail_came_back(&mail).await.unwrap());
    assert_eq!(texts(&scene).await, before, "the nudge waits for its time");
    assert!(scene.gate.mail_comes_back("bob@example.com").await.unwrap());
}

#[tokio::test]
async fn a_mail_that_the_gate_has_not_sent_moves_nothing() {
    let scene = mailed().await;
    let before = scene.waiting().await;
    let forged = returned(&scene, "mail-of-somebody", "bob@example.com", MailFate::NoSuchAddress).await;
    assert!(!scene.gate.mail_came_back(&forged).await.unwrap());
    let other = placet_testkit::sample::key("agent", "r2");
    let mut foreign = returned(&scene, "mail-of-bob", "bob@example.com", MailFate::NoSuchAddress).await;
    let approval_id = placet_core::id::ApprovalId::from_parts(scene.clock.now(), 7);
    foreign.about = MailAbout::Approval { key: other, approval_id };
    assert!(!scene.gate.mail_came_back(&foreign).await.unwrap());
    foreign.about = MailAbout::Way("nobody".into());
    assert!(!scene.gate.mail_came_back(&foreign).await.unwrap());
    assert!(!scene.gate.mail_comes_back("bob@example.com").await.unwrap());
    assert_eq!(scene.waiting().await, before);
    // Of a mail that was sent, but to another address than bob has by now, only this mail is nobody's.
    let moved = returned(&scene, "mail-of-bob", "old@example.com", MailFate::NoSuchAddress).await;
    assert!(scene.gate.mail_came_back(&moved).await.unwrap());
    assert!(!scene.gate.mail_comes_back("bob@example.com").await.unwrap());
    assert!(!scene.gate.mail_comes_back("old@example.com").await.unwrap());
}

#[tokio::test]
async fn an_alert_that_comes_back_is_said_by_the_other_ways() {
    let scene = Scene::new().await;
    scene.install(&format!("{POLICY}{WAYS}")).await;
    scene.work_off().await;
    let mail = ReturnedMail {
        about: MailAbout::Way("night".into()),
        reference: "mail".into(),
        recipients: vec!["night@example.com".into()],
        fate: MailFate::NoSuchAddress,
    };
    assert!(scene.gate.mail_came_back(&mail).await.unwrap());
    scene.work_off_twice().await;
    assert_eq!(scene.letters(), ["ops: A way of alerts fails"]);
    let strange = ReturnedMail { recipients: vec!["ops@example.com".into()], ..mail };
    assert!(!scene.gate.mail_came_back(&strange).await.unwrap());
}

const WEEKLY: &str = r#"
[report]
to = ["ops", "night"]
at = "Thursday 09:00 UTC"
"#;

#[tokio::test]
async fn the_weekly_report_goes_out_by_each_way_until_it_is_taken_and_each_link_opens_its_page() {
    let scene = Scene::new().await;
    scene.install(&format!("{POLICY}{WAYS}{WEEKLY}")).await;
    scene.clock.set(placet_core::Timestamp::parse("2026-12-02T10:00:00Z").unwrap());
    scene.ask("r1", "pay", None).await;
    scene.vote("r1", "bob", Decision::Approve).await;
    scene.clock.set(placet_core::Timestamp::parse("2026-12-03T09:00:00Z").unwrap());
    scene.work_off().await;
    scene.played.mute.store(true, Ordering::SeqCst);
    scene.gate.sweep().await.unwrap();
    for _ in 0..5 {
        scene.work_off().await;
        scene.clock.advance(60_000);
        scene.gate.sweep().await.unwrap();
    }
    let title = "Weekly report, 2026-11-26 to 2026-12-02";
    let letters = scene.played.letters.lock().unwrap().clone();
    let (way, letter) = letters.iter().find(|(_, letter)| letter.subject.contains("Weekly")).unwrap();
    assert_eq!((way.as_str(), letter.subject.as_str()), ("ops", format!("[Placet] {title}").as_str()));
    assert!(
        letter.text.starts_with("1 request asked (none in the four weeks before).\n1 approved, "),
        "{}",
        letter.text
    );
    assert!(!letter.text.contains("bob") && !letter.text.contains("agent"), "{}", letter.text);
    let link = letter.text.split("https://gate.example.com/report/").nth(1).unwrap();
    let linked = scene.gate.linked_report(link.split_whitespace().next().unwrap()).await.unwrap();
    assert_eq!(linked.report.totals.approved, 1);
    assert_eq!(scene.letters(), ["ops: A way of alerts fails".to_owned(), format!("ops: {title}")]);
    scene.played.mute.store(false, Ordering::SeqCst);
    scene.work_off().await;
    assert_eq!(scene.letters(), [format!("night: {title}")]);
    scene.work_off().await;
    assert_eq!(scene.letters(), [""; 0]);
}

#[tokio::test]
async fn a_report_that_is_no_longer_wanted_is_not_sent_and_one_that_is_not_taken_for_a_day_is_dropped() {
    let scene = Scene::new().await;
    let weekly = format!("{POLICY}{WAYS}{WEEKLY}");
    scene.install(&weekly).await;
    scene.clock.set(placet_core::Timestamp::parse("2026-12-03T09:00:00Z").unwrap());
    scene.work_off().await;
    scene.gate.sweep().await.unwrap();
    scene.played.mute.store(true, Ordering::SeqCst);
    scene.install(&weekly.replace("[\"ops\", \"night\"]", "[\"night\"]")).await;
    let reports = async || {
        let waiting = scene.waiting().await;
        waiting.iter().filter(|one| matches!(one.payload, OutboxPayload::Report { .. })).count()
    };
    assert_eq!(reports().await, 2);
    scene.work_off().await;
    assert_eq!((scene.letters(), reports().await), (vec![], 1));
    scene.clock.advance(24 * 60 * 60_000);
    scene.work_off().await;
    assert_eq!(reports().await, 0);
}

#[tokio::test]
async fn a_try_of_the_report_that_is_cut_off_has_failed_like_any_other() {
    let scene = Scene::new().await;
    scene.install(&format!("{POLICY}{WAYS}{}", WEEKLY.replace("[\"ops\", \"night\"]", "[\"ops\"]"))).await;
    scene.clock.set(placet_core::Timestamp::parse("2026-12-03T09:00:00Z").unwrap());
    scene.work_off().await;
    scene.gate.sweep().await.unwrap();
    scene.played.hangs.store(true, Ordering::SeqCst);
    let report = async || {
        let waiting = scene.waiting().await;
        waiting.into_iter().find(|one| matches!(one.payload, OutboxPayload::Report { .. }))
    };
    let mut waits = Vec::new();
    for failed in 1..=8 {
        let message = report().await.unwrap();
        scene.clock.set(message.due_at);
        let claimed = scene.gate.claim(&message).await.unwrap().unwrap();
        tokio::select! {
            ended = scene.worker.run(&claimed, None) => panic!("{ended:?}"),
            () = scene.played.reached.notified() => {}
        }
        let cut_off = report().await.unwrap();
        assert_eq!(cut_off.attempt, failed);
        waits.push(cut_off.due_at.millis_since(claimed.due_at));
        assert!(scene.gate.claim(&message).await.unwrap().is_none(), "what was cut off is not taken twice");
    }
    assert_eq!(waits, [2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]);
    scene.played.hangs.store(false, Ordering::SeqCst);
    let mut late = report().await.unwrap();
    assert_eq!(scene.letters(), [""; 0]);
    late.created_at = scene.clock.now().plus_millis(-24 * 60 * 60_000);
    scene.worker.run(&late, None).await.unwrap();
    assert_eq!(report().await, None);
    scene.work_off().await;
    assert_eq!(scene.played.alert_kinds().last(), Some(&"way_not_reached"));
}
