//! `placet keys rotate`: a new epoch.

use serde_json::json;
use std::fmt::Write as _;

use crate::cli::Globals;
use crate::console::print;
use crate::failure::{Exit, Failure};
use crate::folder::Folder;
use crate::local::LocalGate;
use crate::text::{clock_time, span};

/// A rotation sooner than this after the last one ends what is still in use, in milliseconds.
const SOON_MS: i64 = placet_core::time::DAY_MS;

/// Rotates the keys, and says what that means.
pub(crate) async fn rotate(globals: &Globals) -> Result<Exit, Failure> {
    super::no_url(globals)?;
    let local = LocalGate::for_command(Folder::existing(globals.data())?)?;
    let before = local.keys.held();
    let keyring = local.keys.rotate(local.now())?;
    let epoch = keyring.current.number;
    local.gate.record_rotation(epoch, "operator").await?;
    let valid: Vec<_> = keyring.epochs().map(|epoch| epoch.number).collect();
    if globals.json {
        print(&super::pretty(&json!({ "epoch": epoch, "valid_epochs": valid })));
        return Ok(Exit::Done);
    }
    let mut text = format!(
        "Epoch {epoch} is current. What was made in epoch {} (secrets, links, tokens) stays valid until the next rotation.\n",
        before.current.number
    );
    if let Some(ended) = &before.previous {
        let _ = writeln!(text, "What was made in epoch {} has ended.", ended.number);
        let age = local.now().millis_since(before.current.created_at);
        if age < SOON_MS {
            let _ = writeln!(
                text,
                "The rotation before was only {} ago ({}): clients that have not changed since then are locked out.",
                span(age),
                clock_time(before.current.created_at)
            );
        }
    }
    text.push_str("Give each client its new secret: placet client secret ID\n");
    print(&text);
    Ok(Exit::Done)
}
