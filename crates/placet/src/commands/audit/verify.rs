//! `placet audit verify`: an export, a receipt or a file of entries, checked without a gate.

use std::fmt::Write as _;
use std::path::Path;

use placet_audit::note::{self, Checkpoint, TokenKeys};
use placet_audit::verify::{self, Finding, Intact, Seen};
use placet_audit::{Receipt, Trust};
use placet_core::payload::sha256_hex;
use serde_json::{Value, json};

use super::folder::{
    Export, LOG_KEY, TOKEN_KEYS, TOKEN_KEYS_NOTE, checkpoint_in, lines, parse_key, read_text,
};
use crate::cli::{AuditVerify, Globals};
use crate::console::{harmless, print};
use crate::failure::{Exit, Failure};

/// What was found out, in words and as JSON.
pub(super) struct Verdict {
    pub(super) valid: bool,
    pub(super) text: String,
    pub(super) json: Value,
}

pub(super) fn run(globals: &Globals, options: &AuditVerify) -> Result<Exit, Failure> {
    let verdict = if options.path.is_dir() {
        export(&Export(options.path.clone()), options)?
    } else {
        let is_lines = options.path.extension().is_some_and(|extension| extension == "jsonl");
        if is_lines { trail(&options.path)? } else { receipt(&options.path, options)? }
    };
    print(&if globals.json { super::super::pretty(&verdict.json) } else { verdict.text });
    Ok(if verdict.valid { Exit::Done } else { Exit::Refused })
}

fn invalid(code: &str, message: &str, more: Value) -> Verdict {
    let mut json = json!({ "valid": false, "problem": code, "message": message });
    if let (Some(json), Value::Object(more)) = (json.as_object_mut(), more) {
        json.extend(more);
    }
    Verdict { valid: false, text: format!("not valid: {}\n", harmless(message)), json }
}

fn found(finding: &Finding) -> Verdict {
    let more = json!({ "index": finding.index, "entry": finding.entry });
    invalid(finding.tampering.code(), &finding.to_string(), more)
}

fn export(export: &Export, options: &AuditVerify) -> Result<Verdict, Failure> {
    let pinned = options.key.as_deref().map(parse_key).transpose()?;
    let is_pinned = pinned.is_some();
    let key = match pinned {
        Some(key) => key,
        None => export.own_key()?,
    };
    let note = export.checkpoint()?;
    let checkpoint = match Checkpoint::open(&note, &key) {
        Ok(checkpoint) => checkpoint,
        Err(problem) => {
            return Ok(invalid("wrong_checkpoint", &format!("the checkpoint: {problem}"), json!({})));
        }
    };
    if !export.names(&key)? {
        let message = format!("`{LOG_KEY}` is not the key that was given: it was changed");
        return Ok(invalid("wrong_log_key", &message, json!({})));
    }
    let first = match export.first(&key)? {
        Ok(first) => first,
        Err(problem) => return Ok(invalid("wrong_horizon", &format!("the horizon: {problem}"), json!({}))),
    };
    let seen = match options.seen.as_deref() {
        None => None,
        Some(path) => match seen(path, options, &key)? {
            Ok(seen) => Some(seen),
            Err(verdict) => return Ok(*verdict),
        },
    };
    let intact = match verify::export(export, &checkpoint, first, seen.as_ref())? {
        Ok(intact) => intact,
        Err(finding) => return Ok(found(&finding)),
    };
    let has_token_keys = match token_keys(export, &checkpoint, &key)? {
        Ok(has_token_keys) => has_token_keys,
        Err(message) => return Ok(invalid("wrong_token_keys", &message, json!({}))),
    };
    Ok(whole(&intact, &checkpoint, &Whose { key, is_pinned }, has_token_keys, seen.as_ref()))
}

/// Whether the export has the keys of tokens, and they are those that its log has signed; otherwise what is wrong.
fn token_keys(
    export: &Export,
    checkpoint: &Checkpoint,
    key: &note::VerifierKey,
) -> Result<Result<bool, String>, Failure> {
    let (jwks, signed) = match (export.file(TOKEN_KEYS)?, export.file(TOKEN_KEYS_NOTE)?) {
        (None, None) => return Ok(Ok(false)),
        (None, Some(_)) => return Ok(Err(format!("`{TOKEN_KEYS}` is missing"))),
        (Some(_), None) => {
            let why = format!(
                "`{TOKEN_KEYS_NOTE}` is missing: nothing shows that the log has signed `{TOKEN_KEYS}`"
            );
            return Ok(Err(why));
        }
        (Some(jwks), Some(signed)) => (jwks, signed),
    };
    let signed = match TokenKeys::open(&String::from_utf8_lossy(&signed), key) {
        Ok(signed) => signed,
        Err(problem) => return Ok(Err(format!("`{TOKEN_KEYS_NOTE}`: {problem}"))),
    };
    Ok(if signed.size != checkpoint.size {
        Err(format!("`{TOKEN_KEYS_NOTE}` is of another export, of {} entries", signed.size))
    } else if signed.sha256 != sha256_hex(&jwks) {
        Err(format!("`{TOKEN_KEYS}` was changed: its digest is not the one that the log has signed"))
    } else {
        Ok(true)
    })
}

/// Whose log it is.
struct Whose {
    key: note::VerifierKey,
    /// Whether the key was given, and not found in the export itself.
    is_pinned: bool,
}

fn whole(
    intact: &Intact,
    checkpoint: &Checkpoint,
    Whose { key, is_pinned }: &Whose,
    has_token_keys: bool,
    seen: Option<&Seen>,
) -> Verdict {
    let root = verify::shown(&checkpoint.root);
    let mut text = format!("intact: {} entries of the log {}, root {root}\n", intact.size, checkpoint.origin);
    if intact.first > 0 {
        let _ = writeln!(
            text,
            "  entries 0 to {} are past their retention, which the log has signed; their hashes are there",
            intact.first - 1
        );
    }
    if let Some(seen) = seen {
        let _ = writeln!(text, "  it begins with the {} entries that were seen before", seen.checkpoint.size);
    }
    if !has_token_keys {
        let _ = writeln!(text, "  it has no `{TOKEN_KEYS}`, so it checks no token");
    }
    if !is_pinned {
        let _ = writeln!(
            text,
            "  the key is the export's own: {key}\n  --key compares it with the one that you know"
        );
    }
    let json = json!({
        "valid": true, "size": intact.size, "first": intact.first, "origin": checkpoint.origin, "root": root,
        "log_key": key.to_string(), "pinned": is_pinned, "token_keys": has_token_keys,
        "seen": seen.map(|seen| seen.checkpoint.size),
    });
    Verdict { valid: true, text, json }
}

/// An older head, whose signature is checked; of an export, with its leaves.
fn seen(
    path: &Path,
    options: &AuditVerify,
    key: &note::VerifierKey,
) -> Result<Result<Seen, Box<Verdict>>, Failure> {
    let note = checkpoint_in(path)?;
    let wrong = |problem: note::NoteProblem, whose: &str| {
        let message = format!("the older checkpoint in `{}`: {whose}: {problem}", path.display());
        Ok(Err(Box::new(invalid("wrong_seen", &message, json!({})))))
    };
    if let Some(witness) = options.witness.as_deref()
        && let Err(problem) = note::open(&note, &parse_key(witness)?)
    {
        return wrong(problem, "the witness's cosignature");
    }
    let checkpoint = match Checkpoint::open(&note, key) {
        Ok(checkpoint) => checkpoint,
        Err(problem) => return wrong(problem, "the log's signature"),
    };
    let leaves = if path.is_dir() {
        verify::leaves(&Export(path.to_owned()), checkpoint.size)?.unwrap_or_default()
    } else {
        Vec::new()
    };
    Ok(Ok(Seen { checkpoint, leaves }))
}

fn receipt(path: &Path, options: &AuditVerify) -> Result<Verdict, Failure> {
    let bytes = super::super::read_input(path)?;
    let payload_sha256 = match options.payload.as_deref() {
        None => None,
        Some(path) => {
            let payload = super::super::read_object(path)?;
            let fields = payload.as_object().cloned().unwrap_or_default();
            let payload = placet_core::payload::Payload::new(&fields)
                .map_err(|refusal| Failure::usage(format!("the payload: {refusal}")))?;
            Some(payload.sha256())
        }
    };
    let trust = Trust { log_key: options.key.as_deref().map(parse_key).transpose()?, payload_sha256 };
    let receipt = match Receipt::read(&bytes) {
        Ok(receipt) => receipt,
        Err(problem) => return Ok(invalid(problem.code(), &problem.to_string(), json!({}))),
    };
    let proven = match receipt.verify(&trust) {
        Ok(proven) => proven,
        Err(problem) => return Ok(invalid(problem.code(), &problem.to_string(), json!({}))),
    };
    if let Some(path) = options.seen.as_deref() {
        let known = checkpoint_in(path)?;
        let key = note::VerifierKey::parse(&receipt.log_key)
            .ok_or_else(|| Failure::fault("the key cannot be read"))?;
        let same_log = Checkpoint::open(&known, &key).is_ok();
        if !same_log {
            let message = format!("the checkpoint in `{}` is of another log", path.display());
            return Ok(invalid("wrong_seen", &message, json!({})));
        }
    }
    let of = |name: &str| proven.end.get(name).and_then(Value::as_str).unwrap_or_default();
    let by = if of("approved_by").is_empty() { of("actor") } else { of("approved_by") };
    let mut text = format!(
        "valid: {} of {} was {} by {} at {}\n  entry {} of {} in the log {}, root {}\n",
        harmless(&receipt.request_id),
        harmless(&receipt.client),
        proven.status,
        harmless(by),
        harmless(of("timestamp")),
        proven.index,
        proven.checkpoint.size,
        proven.checkpoint.origin,
        verify::shown(&proven.checkpoint.root)
    );
    if !proven.has_token {
        text.push_str(
            "  it holds no token, as an auditor's receipt: the entries alone prove the outcome, and nobody can act on it\n",
        );
    }
    if !proven.is_pinned {
        let _ = writeln!(
            text,
            "  the key is the receipt's own: {}\n  --key compares it with the one that you know",
            receipt.log_key
        );
    }
    let json = json!({
        "valid": true, "status": proven.status, "request_id": receipt.request_id, "client": receipt.client,
        "approved": proven.status == "approved", "decided_by": by, "timestamp": of("timestamp"),
        "payload_sha256": of("payload_sha256"), "has_token": proven.has_token, "index": proven.index, "size": proven.checkpoint.size,
        "origin": proven.checkpoint.origin, "log_key": receipt.log_key, "pinned": proven.is_pinned,
    });
    Ok(Verdict { valid: true, text, json })
}

/// A file of entries, as `placet audit show --format jsonl` and `GET /v1/audit` make one.
fn trail(path: &Path) -> Result<Verdict, Failure> {
    // An empty file is no trail: say so before it is taken for a whole one.
    if read_text(path).is_ok_and(|text| text.trim().is_empty()) {
        return Err(Failure::usage(format!("`{}` has no entries", path.display())));
    }
    Ok(match verify::entries(lines(path)?)? {
        Ok(count) => Verdict {
            valid: true,
            text: format!(
                "{count} entries are unchanged, and each follows the one before it\n  \
                 whether some are missing at the end of a chain shows only an export or a receipt\n"
            ),
            json: json!({ "valid": true, "entries": count, "complete": null }),
        },
        Err(finding) => found(&finding),
    })
}
