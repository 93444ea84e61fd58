//! The gate as its own process: building it, starting it, stopping it by its own process id, and signing for it.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use placet_core::Timestamp;
use placet_core::id::{ApprovalId, ClientId, RequestId, RequestKey, ReviewerId};
use placet_core::keys::{ClientSecret, Keyring};
use placet_core::link::Link;
use placet_core::signature::Signed;

use crate::failure::{Failure, Result};
use crate::wire::Message;

/// The policy that is measured: DESIGN's own example in small, with a limit that no load reaches.
const POLICY: &str = include_str!("policy.toml");

/// The client that asks.
const CLIENT: &str = "agent";

/// The reviewer who decides.
const REVIEWER: &str = "bob";

/// How long a server may take to end before it is killed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server process. Killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// From before its start to the line that says it serves.
    pub(crate) ready_after: Duration,
}

impl Server {
    /// Starts a server and reads what it says until `ready` finds its address in a line.
    ///
    /// One of `stdout` and `stderr` is read, as `says` tells; the other goes to the file `log`.
    pub(crate) fn start(
        mut command: Command,
        says: Says,
        log: &Path,
        ready: impl Fn(&str) -> Option<SocketAddr>,
    ) -> Result<Self> {
        let quiet = File::create(log)?;
        match says {
            Says::OnStdout => command.stdout(Stdio::piped()).stderr(quiet),
            Says::OnStderr => command.stdout(quiet).stderr(Stdio::piped()),
        };
        let from = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .spawn()
            .map_err(|error| Failure::new(format!("`{}`", command.get_program().display()), error))?;
        let said: Box<dyn std::io::Read + Send> = match (child.stdout.take(), child.stderr.take()) {
            (Some(stdout), _) => Box::new(stdout),
            (None, Some(stderr)) => Box::new(stderr),
            (None, None) => return Err(Failure::bare("a server's output could not be read")),
        };
        let mut said = BufReader::new(said);
        let mut heard = String::new();
        loop {
            let before = heard.len();
            if said.read_line(&mut heard)? == 0 {
                let _ = child.kill();
                let _ = child.wait();
                let logged = std::fs::read_to_string(log).unwrap_or_default();
                return Err(Failure::new("a server ended before it was ready", heard + &logged));
            }
            if let Some(address) = ready(heard.get(before..).unwrap_or_default()) {
                let ready_after = from.elapsed();
                // What it says later must be read, or it would block.
                std::thread::spawn(move || std::io::copy(&mut said.by_ref(), &mut std::io::sink()));
                return Ok(Self { child, address, ready_after });
            }
        }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as Ctrl-C would, and waits until it has ended.
    pub(crate) fn stop(mut self) -> Result<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).map_err(std::io::Error::from)?;
        let from = Instant::now();
        while self.child.try_wait()?.is_none() {
            if from.elapsed() > PATIENCE {
                return Err(Failure::bare("a server did not end when it was asked to"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where a server says that it is ready.
#[derive(Clone, Copy)]
pub(crate) enum Says {
    /// The gate.
    OnStdout,
    /// uvicorn.
    OnStderr,
}

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
    said.lines().find_map(executable).ok_or_else(|| Failure::bare("cargo does not say where `placet` is"))
}

/// The path of the gate's binary, from a line of cargo's messages about it.
fn executable(line: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    let is_gate = message.pointer("/target/name")?.as_str()? == "placet";
    is_gate.then(|| message.get("executable")?.as_str().map(PathBuf::from))?
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
        let client = ClientId::parse(CLIENT).map_err(|error| Failure::new(CLIENT, error))?;
        let reviewer = ReviewerId::parse(REVIEWER).map_err(|error| Failure::new(REVIEWER, error))?;
        let secret = keyring.current.client_secret(&client, 1);
        Ok(People { keyring, client, reviewer, secret })
    }

    /// Where the letter to the reviewer of a request's first stage will be.
    pub(crate) fn letter(&self, approval_id: &str) -> PathBuf {
        self.data.join("outbox").join(format!("{approval_id}.1.{REVIEWER}.email.json"))
    }
}

/// The client and the reviewer, with what proves who they are.
#[derive(Clone)]
pub(crate) struct People {
    keyring: Keyring,
    client: ClientId,
    reviewer: ReviewerId,
    secret: ClientSecret,
}

impl People {
    /// Signs a message as the client, and gives the whole message to `send`.
    pub(crate) fn sign<'m>(&self, method: &'m str, path: &'m str, body: &'m [u8]) -> Proof<'m> {
        let timestamp = i64::try_from(since_epoch().as_secs()).unwrap_or_default();
        let signature = Signed { timestamp, method, path_and_query: path, body }.sign(&self.secret);
        Proof { method, path, body, timestamp: timestamp.to_string(), signature }
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

    fn link(&self, request_id: &str, approval_id: &str) -> Result<Link> {
        let request_id =
            RequestId::parse(request_id).map_err(|error| Failure::new("`request_id`", error))?;
        let approval_id =
            ApprovalId::parse(approval_id).map_err(|error| Failure::new("`approval_id`", error))?;
        let key = RequestKey::of(&self.client, &request_id);
        Ok(Link::mint(&self.keyring.current, key, &approval_id, &self.reviewer))
    }
}

/// The form that approves, with that nonce.
pub(crate) fn approve(nonce: &str) -> String {
    format!("nonce={nonce}&reason=&decision=approve")
}

/// A signed message.
pub(crate) struct Proof<'m> {
    method: &'m str,
    path: &'m str,
    body: &'m [u8],
    timestamp: String,
    signature: String,
}

impl Proof<'_> {
    /// Its three headers.
    pub(crate) fn headers(&self) -> [(&str, &str); 3] {
        [
            ("x-placet-client", CLIENT),
            ("x-placet-timestamp", &self.timestamp),
            ("x-signature", &self.signature),
        ]
    }

    /// The whole of it, with those headers.
    pub(crate) fn message<'a>(&'a self, headers: &'a [(&'a str, &'a str)]) -> Message<'a> {
        Message { method: self.method, path: self.path, headers, body: self.body }
    }
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
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
        assert_eq!(executable(&line("placet", r#""/t/placet""#)), Some(PathBuf::from("/t/placet")));
        assert_eq!(executable(&line("serde", "null")), None);
        assert_eq!(executable(&line("placet", "null")), None);
        assert_eq!(executable(r#"{"reason":"build-finished","success":true}"#), None);
    }
}
