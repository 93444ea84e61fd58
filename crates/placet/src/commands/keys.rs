//! `placet keys rotate`: a new epoch; and the keyring that is made anew where one is lost.

use std::fmt::Write as _;
use std::sync::Arc;

use placet_core::Timestamp;
use placet_core::keys::Keyring;
use placet_core::policy::Policy;
use placet_gate::Fault;
#[cfg(feature = "aws")]
use placet_gate::ports::Closing;
use placet_gate::ports::{Clock as _, Store};
use placet_sqlite::{OpenFromBefore, SqliteStore};
use serde_json::json;

use crate::cli::Globals;
use crate::clock::SystemClock;
use crate::console::{note, print};
use crate::failure::{Exit, Failure};
use crate::folder::Folder;
use crate::folder::KEYRING;
use crate::keys::{FileKeys, NotRotated};
use crate::local::LocalGate;
use crate::text::{clock_time, span};

/// How long clients have at least to take their new secret, in milliseconds.
const AT_LEAST_MS: i64 = placet_core::time::DAY_MS;

/// The chain of rotations in the audit trail.
const SUBJECT: &str = "keys";

/// The epoch that the records say is current at least, where the keyring's is an older one: somebody has put an old
/// keyring beside newer records. A rotation writes the keyring first, so the records are never ahead of it.
pub(super) async fn older_than_recorded(
    keyring: &Keyring,
    store: &SqliteStore,
) -> Result<Option<u32>, Fault> {
    let recorded = store.chain(SUBJECT).await?.seq.saturating_add(1);
    Ok((keyring.current.number < recorded).then_some(recorded))
}

/// What a rotation would end although it is still in use.
#[derive(Debug, PartialEq, Eq)]
struct InUse {
    age_ms: i64,
    wanted_age_ms: i64,
    open: OpenFromBefore,
}

/// A rotation that was done.
pub(super) struct Rotated {
    before: Arc<Keyring>,
    keyring: Arc<Keyring>,
    /// What it ended although it was in use.
    in_use: Option<InUse>,
}

impl Rotated {
    /// The epoch that is current now.
    pub(super) fn epoch(&self) -> u32 {
        self.keyring.current.number
    }
}

/// Rotates that gate's keys, and records it. Refused while what the last rotation left behind is still in use.
pub(super) async fn rotate_gate(local: &LocalGate, force: bool) -> Result<Rotated, Failure> {
    let before = local.keys.held();
    let policy = local.gate.reload_policy().await.ok().flatten();
    let in_use = what_is_in_use(&before, &local.store, policy.as_deref(), local.now()).await?;
    if let (Some(in_use), false) = (&in_use, force) {
        return Err(refusal(in_use, &before));
    }
    let keyring = local.keys.rotate(before.current.number, local.now()).map_err(|error| match error {
        NotRotated::BelongsTo(user) => Failure::refused(format!(
            "`{KEYRING}` belongs to user {user}, whose gate could not read one that you make"
        ))
        .advise(format!("run this as that user: sudo -u '#{user}' placet keys rotate")),
        NotRotated::Overtaken => Failure::refused("somebody else rotated the keys at the same moment")
            .advise("`placet doctor` says which epoch is current"),
        NotRotated::Fault(fault) => fault.into(),
    })?;
    local.gate.record_rotation(keyring.current.number, "operator").await?;
    Ok(Rotated { before, keyring, in_use })
}

/// Rotates the keys, and says what that means. Refused while what the last rotation left behind is still in use.
pub(crate) async fn rotate(globals: &Globals, force: bool) -> Result<Exit, Failure> {
    super::no_url(globals)?;
    let local = LocalGate::for_command(Folder::existing(globals.data())?)?;
    let Rotated { before, keyring, in_use } = rotate_gate(&local, force).await?;
    let epoch = keyring.current.number;
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
    }
    if let Some(in_use) = &in_use {
        let _ = writeln!(text, "{}", consequences(in_use));
    }
    text.push_str("Give each client its new secret: placet client secret ID\n");
    print(&text);
    Ok(Exit::Done)
}

/// Refuses a rotation, wherever the keyring is, while what the last one left behind is still in use.
#[cfg(feature = "aws")]
pub(super) async fn refuse_if_in_use(
    keyring: &Keyring,
    store: &dyn Store,
    policy: Option<&Policy>,
    force: bool,
) -> Result<(), Failure> {
    const PAGE: usize = 200;
    let rotated_at = keyring.current.created_at;
    if keyring.previous.is_none() || force {
        return Ok(());
    }
    let mut open = OpenFromBefore { requests: 0, until: None };
    let mut after = None;
    loop {
        let page = store.pending(after, PAGE).await?;
        let older = page.iter().filter(|request| request.asked().created_at < rotated_at);
        open.requests =
            open.requests.saturating_add(u32::try_from(older.clone().count()).unwrap_or(u32::MAX));
        open.until = open.until.max(older.filter_map(|request| Some(request.pending()?.closes_at)).max());
        after = page
            .last()
            .and_then(|last| Some(Closing { closes_at: last.pending()?.closes_at, key: last.key() }));
        if page.len() < PAGE || after.is_none() {
            break;
        }
    }
    let age = SystemClock.now().millis_since(rotated_at);
    in_use(age, longest_valid_for(policy), open).map_or(Ok(()), |in_use| Err(refusal(&in_use, keyring)))
}

/// The next rotation ends the previous epoch: its secrets, its links, its tokens.
async fn what_is_in_use(
    keyring: &Keyring,
    store: &SqliteStore,
    policy: Option<&Policy>,
    now: Timestamp,
) -> Result<Option<InUse>, Failure> {
    if keyring.previous.is_none() {
        return Ok(None);
    }
    let rotated_at = keyring.current.created_at;
    let open = store.open_from_before(rotated_at).await?;
    Ok(in_use(now.millis_since(rotated_at), longest_valid_for(policy), open))
}

fn in_use(age_ms: i64, valid_for_ms: i64, open: OpenFromBefore) -> Option<InUse> {
    let wanted_age_ms = AT_LEAST_MS.max(valid_for_ms);
    (age_ms < wanted_age_ms || open.requests > 0).then_some(InUse { age_ms, wanted_age_ms, open })
}

/// How long a token of before may still be acted on.
fn longest_valid_for(policy: Option<&Policy>) -> i64 {
    let rules = policy.map(|policy| policy.rules.as_slice()).unwrap_or_default();
    rules.iter().map(|rule| rule.valid_for_seconds.saturating_mul(1000)).max().unwrap_or(0)
}

fn refusal(in_use: &InUse, keyring: &Keyring) -> Failure {
    Failure::refused(format!(
        "the last rotation was {} ago ({}), and what was made before it is still in use",
        span(in_use.age_ms),
        clock_time(keyring.current.created_at)
    ))
    .advise(format!(
        "{}\nwait until the last rotation is {} old{}, or say --force",
        consequences(in_use),
        span(in_use.wanted_age_ms),
        if in_use.open.requests > 0 { " and those requests have ended" } else { "" },
    ))
}

fn consequences(in_use: &InUse) -> String {
    let requests = match (in_use.open.requests, in_use.open.until) {
        (0, _) => String::new(),
        (count, until) => format!(
            "the links of {count} open {} end{}; ",
            if count == 1 { "request" } else { "requests" },
            until.map_or_else(String::new, |until| format!(
                " (the last of them closes {})",
                clock_time(until)
            ))
        ),
    };
    format!(
        "{requests}clients that have not changed their secret since the last rotation are locked out, and tokens of before it are not valid any more"
    )
}

/// Makes a keyring beside records that have lost theirs, and says what is void now.
pub(super) async fn make_anew(globals: &Globals) -> Result<(), Failure> {
    let folder = Folder::open(globals.data())?;
    // While this is held no gate serves that still has the lost keys in its memory.
    let claim = folder.claim()?;
    let file = folder.path().join(KEYRING);
    if file.exists() {
        return Err(Failure::usage(format!(
            "`{}` is there: --new-keyring is for one that is lost",
            file.display()
        ))
        .advise("to change the keys, use `placet keys rotate`; one that is damaged, move away first"));
    }
    let now = SystemClock.now();
    let store = SqliteStore::open(&folder.database(), Arc::new(SystemClock))?;
    let epoch = store.chain(SUBJECT).await?.seq.saturating_add(2);
    let waiting = store.count_pending().await?;
    drop(store);
    FileKeys::open_or_make(folder.path(), epoch, now)?;
    let local = LocalGate::for_command(folder)?;
    local.gate.record_rotation(epoch, "operator").await?;
    note(&format!(
        "A new keyring is made (epoch {epoch}). Void are now:\n\
         \x20 - every client's secret: give each its new one, placet client secret ID\n\
         \x20 - every reviewer's link and inbox: {waiting} {} wait; placet link prints a link again\n\
         \x20 - every token of before: what was approved and not yet done must be asked again\n\
         Requests, decisions and the audit trail are as they were.",
        if waiting == 1 { "request" } else { "requests" }
    ));
    drop(claim);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_waits_for_a_day_for_tokens_and_for_what_is_open() {
        let none = OpenFromBefore { requests: 0, until: None };
        let one = OpenFromBefore { requests: 1, until: None };
        let day = AT_LEAST_MS;
        for (age, valid_for, open, refused) in [
            (0, 0, none, true),
            (day - 1, 0, none, true),
            (day, 0, none, false),
            (day, 2 * day, none, true),
            (2 * day, 2 * day, none, false),
            (40 * day, 0, one, true),
        ] {
            assert_eq!(in_use(age, valid_for, open).is_some(), refused, "{age} {valid_for} {open:?}");
        }
    }
}
