//! Push to a reviewer's devices, against a push service on a real socket and a store that breaks down.

#![expect(clippy::unwrap_used, reason = "all of this is tests, where a panic is a failed test")]

use std::sync::Arc;

use placet_core::id::ApprovalId;
use placet_delivery::{Card, Channel as _, Notification, Push, SendOutcome, push};
use placet_gate::ports::{Clock as _, NoopMetrics, PushDevice, Store as _};
use placet_gate::{Gate, Ports, Settings};
use placet_testkit::{FixedClock, HandKeys, MemoryStore, RecordingDispatcher, sample};
use placet_webhook::{Options, Sender};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

const POLICY: &str = r#"
issuer = "https://gate.example.com"
clients = [{ id = "agent" }]
reviewers = [
  { id = "bob", email = "bob@example.com", roles = ["finance"], channels = ["push", "email"], callback_hosts = ["127.0.0.1"] },
]
rules = [{ name = "all", stages = [{ ask = ["finance"], within = "10m" }] }]
"#;

/// A push service that takes everything, but calls `/gone` gone; the store breaks down in that moment.
async fn service(store: Arc<MemoryStore>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, Arc::clone(&store)));
        }
    });
    url
}

async fn answer(stream: TcpStream, store: Arc<MemoryStore>) {
    let mut stream = BufReader::new(stream);
    let (mut head, mut length) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        if line.trim().is_empty() {
            break;
        }
        if let Some(said) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = said.trim().parse().unwrap();
        }
        head.push(line);
    }
    stream.read_exact(&mut vec![0; length]).await.unwrap();
    let status = if head.first().unwrap().starts_with("POST /gone ") {
        store.break_down();
        "410 Gone"
    } else {
        "201 Created"
    };
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).await.unwrap();
}

#[tokio::test]
async fn a_device_that_cannot_be_forgotten_now_does_not_have_the_others_told_twice() {
    let clock = FixedClock::new();
    let store = MemoryStore::new(Arc::clone(&clock) as _);
    let keys = Arc::new(HandKeys::new(clock.now()));
    keys.take_push_key(push::new_key().unwrap());
    let ports = Ports {
        store: Arc::clone(&store) as _,
        dispatcher: Arc::new(RecordingDispatcher::default()),
        keys,
        clock: Arc::clone(&clock) as _,
        metrics: Arc::new(NoopMetrics),
    };
    let gate = Arc::new(Gate::new(ports, Settings::default()));
    gate.install_policy(POLICY, "operator").await.unwrap().unwrap();
    let url = service(Arc::clone(&store)).await;
    let generation = gate.policy().await.unwrap().reviewer(&sample::reviewer("bob")).unwrap().generation;
    let device = |path: &str| PushDevice {
        reviewer: sample::reviewer("bob"),
        endpoint: format!("{url}/{path}"),
        p256dh: push::new_key().unwrap().public,
        auth: "AAAAAAAAAAAAAAAAAAAAAA".into(),
        generation,
        added_at: clock.now(),
    };
    let (gone, phone, desk) = (device("gone"), device("phone"), device("desk"));
    for device in [&gone, &phone, &desk] {
        store.keep_push_device(device).await.unwrap();
    }
    let notification = Notification {
        id: "msg_1".into(),
        follows: Vec::new(),
        approval_id: ApprovalId::from_parts(clock.now(), 1),
        key: None,
        stage: 1,
        reviewer: sample::reviewer("bob"),
        channel: "push".into(),
        address: None,
        subject: "subject".into(),
        text: "text".into(),
        html: String::new(),
        url: "https://gate.example.com/r/LINK".into(),
        card: Card::default().into(),
    };
    let push = Push::new(gate, Sender::new(Options::default()));
    let mut got = [phone.id(), desk.id()];
    got.sort();
    let told = push.send(&notification).await;
    assert_eq!(told, SendOutcome::Delivered(Some(got.join(","))));
}
