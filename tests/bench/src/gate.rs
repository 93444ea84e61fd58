//! The gate that is measured: building it, starting it, and who asks and decides there.

#![expect(clippy::disallowed_methods, reason = "a benchmark draws names")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use placet_core::Timestamp;
use placet_core::id::{ApprovalId, ClientId, RequestId, RequestKey, ReviewerId};
use placet_core::keys::Keyring;
use placet_core::link::{InboxLink, Link};

use crate::failure::{Failure, Result};
use crate::server::{Says, Server};
use crate::sign::{Signer, since_epoch};

/// The policy that is measured: DESIGN's own example in small, with a limit that no load reaches.
const POLICY: &str = include_str!("policy.toml");

/// The client that asks.
const CLIENT: &str = "agent";

/// The reviewer who decides.
const REVIEWER: &str = "bob";

/// Builds the release binary of the gate with the cargo that runs this, and says where it is.
pub(crate) fn build() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--release", "--package", "placet", "--bin", "placet"])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()?;
    if !built.status.success() {
        return Err(Failure::bare("`placet` could not be built"));
    }
    let said = String::from_utf8_lossy(&built.stdout);
    said.lines()
        .find_map(|line| executable(line, "placet"))
        .ok_or_else(|| Failure::bare("cargo does not say where `placet` is"))
}

/// The path of a binary, from a line of cargo's messages about it.
pub(crate) fn executable(line: &str, name: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    let is_it = message.pointer("/target/name")?.as_str()? == name;
    is_it.then(|| message.get("executable")?.as_str().map(PathBuf::from))?
}

/// A gate that serves from a data folder.
pub(crate) struct Gate {
    /// Its process.
    pub(crate) server: Server,
    /// Its data folder.
    pub(crate) data: PathBuf,
}

impl Gate {
    /// Starts the gate on `place/name`, which is made if it is not there.
    pub(crate) fn start(binary: &Path, place: &Path, name: &str) -> Result<Self> {
        let policy = place.join("placet.toml");
        if !policy.exists() {
            std::fs::write(&policy, POLICY)?;
        }
        let data = place.join(name);
        let mut command = Command::new(binary);
        command.arg("serve").arg("--policy").arg(policy).arg("--data").arg(&data);
        command.args(["--listen", "127.0.0.1:0"]);
        let log = place.join(format!("{name}.log"));
        let server = Server::start(command, Says::OnStdout, &log, |line| {
            line.trim().strip_prefix("ready http://")?.parse().ok()
        })?;
        Ok(Self { server, data })
    }

    /// Who asks and who decides, with their keys.
    pub(crate) fn people(&self) -> Result<People> {
        let path = self.data.join("keyring.json");
        let text = std::fs::read(&path).map_err(|error| Failure::new(path.display(), error))?;
        let keyring: Keyring =
            serde_json::from_slice(&text).map_err(|error| Failure::new(path.display(), error))?;
        People::of(keyring)
    }

    /// Where the letter to the reviewer of a request's first stage will be.
    pub(crate) fn letter(&self, approval_id: &str) -> PathBuf {
        self.data.join("outbox").join(format!("{approval_id}.1.{REVIEWER}.email.json"))
    }
}
/// The client and the reviewer, with what proves who they are.
#[derive(Clone)]
pub(crate) struct People {
    /// What the client signs with.
    pub(crate) signer: Signer,
    keyring: Keyring,
    client: ClientId,
    reviewer: ReviewerId,
}

impl People {
    /// Those of a gate with that keyring.
    pub(crate) fn of(keyring: Keyring) -> Result<Self> {
        let client = ClientId::parse(CLIENT).map_err(|error| Failure::new(CLIENT, error))?;
        let reviewer = ReviewerId::parse(REVIEWER).map_err(|error| Failure::new(REVIEWER, error))?;
        let signer = Signer::new(&keyring.current, &client);
        Ok(Self { signer, keyring, client, reviewer })
    }

    /// The path of the reviewer's page for a request, and the body of an approving form with a nonce of now.
    ///
    /// Made from the keyring as the gate makes them, so that the client need not read a page each time.
    pub(crate) fn approving_form(&self, request_id: &str, approval_id: &str) -> Result<(String, String)> {
        let link = self.link(request_id, approval_id)?;
        let now = i64::try_from(since_epoch().as_millis()).unwrap_or_default();
        let nonce = link.nonce(&self.keyring.current, Timestamp::from_millis(now));
        Ok((format!("/r/{link}"), approve(&nonce)))
    }

    /// The path of the reviewer's page for a request.
    pub(crate) fn page(&self, request_id: &str, approval_id: &str) -> Result<String> {
        Ok(format!("/r/{}", self.link(request_id, approval_id)?))
    }

    /// The path of the reviewer's inbox.
    pub(crate) fn inbox(&self) -> String {
        format!("/inbox/{}", InboxLink::mint(&self.keyring.current, &self.reviewer, 1))
    }

    fn link(&self, request_id: &str, approval_id: &str) -> Result<Link> {
        let request_id = RequestId::parse(request_id).map_err(|error| Failure::new("`request_id`", error))?;
        let approval_id =
            ApprovalId::parse(approval_id).map_err(|error| Failure::new("`approval_id`", error))?;
        let key = RequestKey::of(&self.client, &request_id);
        Ok(Link::mint(&self.keyring.current, key, &approval_id, &self.reviewer, 1))
    }
}

/// The form that approves, with that nonce.
pub(crate) fn approve(nonce: &str) -> String {
    format!("nonce={nonce}&reason=&decision=approve")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gates_binary_is_found_among_cargos_messages() {
        let line = |name: &str, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","target":{{"name":"{name}"}},"executable":{executable}}}"#
            )
        };
        assert_eq!(executable(&line("placet", r#""/t/placet""#), "placet"), Some(PathBuf::from("/t/placet")));
        assert_eq!(executable(&line("serde", "null"), "placet"), None);
        assert_eq!(executable(&line("placet", "null"), "placet"), None);
        assert_eq!(executable(r#"{"reason":"build-finished","success":true}"#, "placet"), None);
    }
}
