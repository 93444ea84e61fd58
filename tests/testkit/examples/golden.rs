//! Makes the next golden files in `tests/fixtures/stored` and `audit`, where the stored form has something new:
//! `cargo run -p placet-testkit --example golden`. It refuses to touch a file that is there.

#![expect(clippy::unwrap_used, reason = "run by hand, where a panic says what is wrong")]

use std::io::Write as _;
use std::path::{Path, PathBuf};

use placet_core::audit::{self, ChainHead};
use placet_core::request::stored as requests;
use placet_gate::stored;
use placet_testkit::golden;
use serde_json::{Value, json};

/// The set of files that this writes: to be raised with the format, or with what the sets lack.
const SET: u32 = 5;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(name)
}

fn main() {
    let requests: Vec<Value> = golden::requests()
        .iter()
        .map(|story| {
            json!({
                "name": story.name,
                "key": story.request.key().to_string(),
                "version": story.request.version(),
                "status": story.request.status().as_str(),
                "question": requests::write_question(story.request.asked()).unwrap(),
                "state": requests::write_state(story.request.state()).unwrap(),
            })
        })
        .collect();
    let outbox: Vec<Value> = golden::messages()
        .iter()
        .map(|message| {
            let payload = stored::write_payload(&message.payload).unwrap();
            json!({ "name": message.id, "v": stored::FORMAT, "payload": payload })
        })
        .collect();
    let hooks: Vec<Value> = golden::hooks()
        .iter()
        .map(|hook| {
            let written = stored::write_hook(hook).unwrap();
            json!({ "name": hook.id.to_string(), "v": stored::FORMAT, "hook": written })
        })
        .collect();
    let devices: Vec<Value> = golden::push_devices()
        .iter()
        .map(|device| {
            let written = stored::write_push_device(device).unwrap();
            json!({ "name": device.id(), "v": stored::FORMAT, "device": written })
        })
        .collect();
    let all = [("requests", requests), ("outbox", outbox), ("hooks", hooks), ("push_devices", devices)];
    for (name, rows) in all {
        let text = serde_json::to_string_pretty(&rows).unwrap() + "\n";
        write_new(&folder("stored").join(format!("{SET}-{name}.json")), &text);
    }
    for (name, entries) in golden::chains() {
        let lines: Vec<String> =
            entries.iter().map(|entry| serde_json::to_string(entry).unwrap() + "\n").collect();
        write_new(&folder("audit").join(format!("{SET}-{name}.jsonl")), &lines.concat());
    }
    write_new(&folder("audit").join(format!("{SET}-later.jsonl")), &later_trail());
}

/// A trail as a later version might write it: with a field that this one does not know, which its hashes cover.
fn later_trail() -> String {
    let mut previous = ChainHead::default().hash;
    let mut text = String::new();
    for entry in golden::trail() {
        let mut fields = serde_json::to_value(entry).unwrap();
        let fields = fields.as_object_mut().unwrap();
        fields.insert("opened_after_ms".into(), json!(1250));
        fields.insert("prev_hash".into(), previous.into());
        let unsealed = serde_json::to_string(&fields).unwrap();
        let hash = audit::stored_hash(&unsealed).unwrap();
        fields.insert("hash".into(), hash.clone().into());
        text.push_str(&serde_json::to_string(&fields).unwrap());
        text.push('\n');
        previous = hash;
    }
    text
}

/// Fails if the file is there.
fn write_new(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
    file.unwrap_or_else(|error| unreachable!("{}: {error}", path.display()))
        .write_all(text.as_bytes())
        .unwrap();
}
