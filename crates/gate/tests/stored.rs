//! What earlier versions of Placet have stored, and whether this one reads it: `tests/fixtures/stored` and `audit`.
//!
//! A golden file is never rewritten. Where the stored form has something new, `cargo run -p placet-testkit --example golden`
//! makes new files beside the old ones.

#![expect(clippy::unwrap_used, reason = "a fixture that is not as expected fails its test")]

use std::path::{Path, PathBuf};

use placet_core::audit::{self, AuditEntry, ChainHead};
use placet_core::request::stored::{self as requests, Unreadable};
use placet_gate::stored;
use placet_testkit::golden;
use serde_json::{Value, json};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures").join(name)
}

/// The names and texts of all files of a folder that end like that.
fn files(folder_name: &str, ending: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = std::fs::read_dir(folder(folder_name))
        .unwrap()
        .map(|file| file.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), path))
        .filter(|(name, _)| name.ends_with(ending))
        .map(|(name, path)| (name, std::fs::read_to_string(path).unwrap()))
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no file in {folder_name} ends with {ending}");
    found
}

fn rows(ending: &str) -> Vec<(String, Value)> {
    let files = files("stored", ending);
    files
        .into_iter()
        .flat_map(|(name, text)| {
            let rows: Vec<Value> = serde_json::from_str(&text).unwrap();
            rows.into_iter().map(move |row| (format!("{name}: {}", text_of(&row, "name")), row))
        })
        .collect()
}

fn text_of<'v>(row: &'v Value, field: &str) -> &'v str {
    row.get(field).and_then(Value::as_str).unwrap()
}

fn number_of(row: &Value, field: &str) -> u32 {
    u32::try_from(row.get(field).and_then(Value::as_u64).unwrap()).unwrap()
}

/// Whether this build writes a record of that version as it was: one of an earlier format it writes anew.
fn is_current(version: u32, format: u32) -> bool {
    assert!(version <= format);
    version == format
}

#[test]
fn every_stored_request_is_read_and_written_back_equal() {
    for (name, row) in rows("-requests.json") {
        let (question, state) = (text_of(&row, "question"), text_of(&row, "state"));
        let request = requests::read(question, state, u64::from(number_of(&row, "version"))).unwrap();
        let (status, key) = (request.status().as_str(), request.key().to_string());
        assert_eq!((status, key.as_str()), (text_of(&row, "status"), text_of(&row, "key")), "{name}");
        for (original, written) in [
            (question, requests::write_question(request.asked()).unwrap()),
            (state, requests::write_state(request.state()).unwrap()),
        ] {
            let version = number_of(&serde_json::from_str(original).unwrap(), "v");
            if is_current(version, requests::FORMAT) {
                assert_eq!(written, original, "{name}");
            }
        }
    }
}

#[test]
fn every_stored_message_is_read_and_written_back_equal() {
    for (name, row) in rows("-outbox.json") {
        let (version, original) = (number_of(&row, "v"), text_of(&row, "payload"));
        let payload = stored::read_payload(version, original).unwrap();
        if is_current(version, stored::FORMAT) {
            assert_eq!(stored::write_payload(&payload).unwrap(), original, "{name}");
        }
    }
}

#[test]
fn every_stored_subscription_is_read_and_written_back_equal() {
    for (name, row) in rows("-hooks.json") {
        let (version, original) = (number_of(&row, "v"), text_of(&row, "hook"));
        let hook = stored::read_hook(version, original).unwrap();
        if is_current(version, stored::FORMAT) {
            assert_eq!(stored::write_hook(&hook).unwrap(), original, "{name}");
        }
    }
}

#[test]
fn every_stored_device_is_read_and_written_back_equal() {
    for (name, row) in rows("-push_devices.json") {
        let (version, original) = (number_of(&row, "v"), text_of(&row, "device"));
        let device = stored::read_push_device(version, original).unwrap();
        assert_eq!(device.id(), text_of(&row, "name"), "{name}");
        if is_current(version, stored::FORMAT) {
            assert_eq!(stored::write_push_device(&device).unwrap(), original, "{name}");
        }
    }
}

#[test]
fn every_golden_trail_is_read_verifies_and_is_written_back_equal() {
    for (name, text) in files("audit", ".jsonl") {
        let mut head = ChainHead::default();
        for line in text.lines() {
            let entry: AuditEntry = serde_json::from_str(line).unwrap();
            assert_eq!((entry.seq, &entry.prev_hash), (head.seq + 1, &head.hash), "{name}: {line}");
            assert_eq!(audit::stored_hash(line).as_ref(), Some(&entry.hash), "{name}: {line}");
            if !name.contains("later") {
                assert_eq!(entry.computed_hash(), entry.hash, "{name}: {line}");
                assert_eq!(serde_json::to_string(&entry).unwrap(), line, "{name}");
            }
            head = ChainHead { seq: entry.seq, hash: entry.hash };
        }
        assert!(head.seq > 1, "{name} is no chain");
    }
}

#[test]
fn an_entry_with_fields_of_a_later_version_verifies_by_what_was_stored_and_a_changed_one_does_not() {
    let (_, later) = files("audit", "-later.jsonl").remove(0);
    for line in later.lines() {
        let entry: AuditEntry = serde_json::from_str(line).unwrap();
        // This build does not know the field, so its own reckoning of the entry would be another.
        assert_ne!(entry.computed_hash(), entry.hash);
        assert_eq!(audit::stored_hash(line), Some(entry.hash.clone()));
        let mut fields: Value = serde_json::from_str(line).unwrap();
        let field = fields.get_mut("opened_after_ms").unwrap();
        *field = json!(1);
        assert_ne!(audit::stored_hash(&fields.to_string()), Some(entry.hash));
    }
}

#[test]
fn what_a_newer_version_wrote_is_named_as_that_and_never_read() {
    let story = golden::requests().remove(0);
    let question = requests::write_question(story.request.asked()).unwrap();
    let state = requests::write_state(story.request.state()).unwrap();
    let newer = |text: &str| text.replacen("\"v\":1", "\"v\":2", 1);
    for (question, state) in [(newer(&question), state.clone()), (question, newer(&state))] {
        let unreadable = requests::read(&question, &state, 1).unwrap_err();
        assert!(matches!(unreadable, Unreadable::Newer(2)), "{unreadable:?}");
        assert_eq!(stored::fault(unreadable).to_string(), stored::NEWER);
    }
    // Whatever is in it: a newer form may look like this one and mean something else, or not look like it at all.
    assert!(matches!(stored::read_payload(2, "{\"reassign\":{\"policy\":3}}"), Err(Unreadable::Newer(2))));
    assert!(matches!(stored::read_payload(2, "?"), Err(Unreadable::Newer(2))));
    assert!(matches!(stored::read_hook(2, "?"), Err(Unreadable::Newer(2))));
    assert!(matches!(stored::read_push_device(2, "?"), Err(Unreadable::Newer(2))));
    assert!(matches!(stored::read_payload(1, "?"), Err(Unreadable::Malformed(_))));
}

#[test]
fn the_golden_files_have_one_of_everything() {
    let names = |rows: Vec<(String, Value)>| {
        rows.iter().map(|(_, row)| text_of(row, "name").to_owned()).collect::<Vec<_>>()
    };
    let requests = names(rows("-requests.json"));
    assert!(golden::requests().iter().all(|story| requests.contains(&story.name.to_owned())));
    let messages = names(rows("-outbox.json"));
    assert!(golden::messages().iter().all(|message| messages.contains(&message.id)));
    let devices = names(rows("-push_devices.json"));
    assert!(golden::push_devices().iter().all(|device| devices.contains(&device.id())));
    let (statuses, trails) = (rows("-requests.json"), files("audit", ".jsonl"));
    for status in placet_core::request::Status::ALL {
        assert!(statuses.iter().any(|(_, row)| text_of(row, "status") == status.as_str()), "{status}");
    }
    for event in ["asked", "joined", "approved"] {
        assert!(trails.iter().any(|(_, text)| text.contains(&format!("\"request.{event}\""))), "{event}");
    }
}
