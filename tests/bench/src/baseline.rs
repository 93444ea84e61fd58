//! The article's service: `FastAPI` on one uvicorn worker, one signed `POST /approve` that stores nothing.
//!
//! It is signed as the gate's clients sign, so that the same load client measures both.

use std::path::Path;
use std::process::Command;

use placet_core::Timestamp;
use placet_core::id::ClientId;
use placet_core::keys::{Keyring, Secret};

use crate::failure::{Failure, Result};
use crate::install;
use crate::load::Cycle;
use crate::server::{Says, Server};
use crate::sign::{Question, Signer};
use crate::wire::Connection;

const APP: &str = include_str!("../baseline/app.py");
const REQUIREMENTS: &str = include_str!("../baseline/requirements.txt");

/// The service, running.
pub(crate) struct Baseline {
    /// Its process.
    pub(crate) server: Server,
    signer: Signer,
}

impl Baseline {
    /// Installs what it needs, if that has not been done, and starts it.
    pub(crate) fn start(place: &Path) -> Result<Self> {
        let python = install::python("bench-venv", REQUIREMENTS)?;
        std::fs::write(place.join("app.py"), APP)?;
        // Nobody's secret: it signs nothing but this benchmark.
        let ring = Keyring::first(Secret::new([1; 32]), Secret::new([2; 32]), Timestamp::from_millis(0));
        let client = ClientId::parse("article").map_err(|error| Failure::new("`article`", error))?;
        let signer = Signer::new(&ring.current, &client);
        let mut command = Command::new(python);
        command.args(["-m", "uvicorn", "app:app", "--host", "127.0.0.1", "--port", "0", "--workers", "1"]);
        // What makes it slower is left out: it is the mark to be measured against.
        command.args(["--no-access-log", "--loop", "uvloop", "--http", "httptools"]);
        command.arg("--app-dir").arg(place).env("BASELINE_SECRET", signer.secret());
        let server = Server::start(command, Says::OnStderr, &place.join("baseline.log"), |line| {
            let (_, rest) = line.split_once("running on http://")?;
            rest.split_ascii_whitespace().next()?.parse().ok()
        })?;
        Ok(Self { server, signer })
    }

    /// So many of its clients.
    pub(crate) async fn callers(&self, count: u32) -> Result<Vec<Caller>> {
        let mut callers = Vec::new();
        for _ in 0..count {
            let connection = Connection::open(self.server.address).await?;
            callers.push(Caller { signer: self.signer.clone(), connection });
        }
        Ok(callers)
    }
}

/// One client of the article's service.
pub(crate) struct Caller {
    signer: Signer,
    connection: Connection,
}

impl Cycle for Caller {
    async fn once(&mut self) -> Result<()> {
        let question = Question::refund();
        let proof = self.signer.sign("POST", "/approve", question.body.as_bytes());
        let answer = self.connection.call(proof.message(&proof.headers())).await?;
        answer.expect(200)?.expect_text("\"approved\":true").map(drop)
    }
}
