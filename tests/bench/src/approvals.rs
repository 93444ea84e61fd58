//! Approvals from the question to the released waiter, and questions that policy answers alone.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::failure::{Failure, Result};
use crate::gate::{Gate, People, approve};
use crate::load::Cycle;
use crate::samples::Samples;
use crate::sign::Question;
use crate::wire::{Connection, Message};

/// How long a person seems to think, so that the waiter is waiting and the letter is out before they decide.
const THOUGHT: Duration = Duration::from_millis(3);

/// How many come before the first that counts.
const WARM_UP: usize = 50;

/// How often a letter is looked for.
const LOOK_EVERY: Duration = Duration::from_micros(20);

/// How long a letter is looked for.
const LETTER_PATIENCE: Duration = Duration::from_secs(10);

/// Everybody in one approval, each with a connection of their own: who asks, who waits, who decides.
pub(crate) struct Table {
    people: People,
    asker: Connection,
    waiter: Connection,
    reviewer: Connection,
}

/// A request that waits for its reviewer.
struct Pending {
    request_id: String,
    approval_id: String,
}

/// What each part of approvals took.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parts {
    /// Question to answer.
    pub(crate) ask: Samples,
    /// The review page, where it was opened.
    pub(crate) page: Samples,
    /// Decision to its answer.
    pub(crate) decide: Samples,
    /// Decision to the waiter's answer.
    pub(crate) release: Samples,
    /// The machine's part: the question, and the decision until both answers are there.
    pub(crate) whole: Samples,
}

/// How long reviewers wait to be told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Telling {
    /// From the question's answer to the letter in the outbox; zero where it was there before.
    pub(crate) after_answer: Samples,
    /// From the question.
    pub(crate) after_question: Samples,
}

/// How the reviewer comes by the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Made from the keys: what is measured is the decision alone.
    Derived,
    /// Read from the page, as a browser does.
    FromPage,
}

/// What a browser loads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weight {
    /// The page.
    pub(crate) body_bytes: usize,
    /// Its status line and headers.
    pub(crate) head_bytes: usize,
}

impl Parts {
    /// Adds another round.
    pub(crate) fn extend(&mut self, other: Self) {
        self.ask.extend(other.ask);
        self.page.extend(other.page);
        self.decide.extend(other.decide);
        self.release.extend(other.release);
        self.whole.extend(other.whole);
    }
}

impl Telling {
    /// Adds another round.
    pub(crate) fn extend(&mut self, other: Self) {
        self.after_answer.extend(other.after_answer);
        self.after_question.extend(other.after_question);
    }
}

impl Table {
    /// Connects everybody.
    pub(crate) async fn set(gate: &Gate) -> Result<Self> {
        let to = gate.server.address;
        Ok(Self {
            people: gate.people()?,
            asker: Connection::open(to).await?,
            waiter: Connection::open(to).await?,
            reviewer: Connection::open(to).await?,
        })
    }

    /// Approvals one after the other, for that long.
    pub(crate) async fn one_at_a_time(&mut self, form: Form, measured: Duration) -> Result<Parts> {
        for _ in 0..WARM_UP {
            self.timed(form, &mut Parts::default()).await?;
        }
        let mut parts = Parts::default();
        let until = Instant::now() + measured;
        while Instant::now() < until {
            self.timed(form, &mut parts).await?;
        }
        Ok(parts)
    }

    /// How long it takes until the reviewer's letter is out, so many times.
    pub(crate) async fn telling(&mut self, gate: &Gate, times: usize) -> Result<Telling> {
        let mut telling = Telling::default();
        for _ in 0..times {
            let asked_at = Instant::now();
            let pending = self.ask().await?;
            let answered_at = Instant::now();
            let out_at = seen(&gate.letter(&pending.approval_id))?;
            telling.after_answer.push(out_at - answered_at);
            telling.after_question.push(out_at - asked_at);
            self.decide(&pending, None).await?;
        }
        Ok(telling)
    }

    /// What a browser loads to show a request that waits.
    pub(crate) async fn weigh_page(&mut self) -> Result<Weight> {
        let pending = self.ask().await?;
        let path = self.people.page(&pending.request_id, &pending.approval_id)?;
        let page = self.reviewer.call(open(&path)).await?.expect(200)?;
        let weight = Weight { body_bytes: page.body.len(), head_bytes: page.head_bytes };
        self.decide(&pending, None).await?;
        Ok(weight)
    }

    async fn timed(&mut self, form: Form, parts: &mut Parts) -> Result<()> {
        let from = Instant::now();
        let pending = self.ask().await?;
        let asked = from.elapsed();
        self.wait(&pending).await?;
        tokio::time::sleep(THOUGHT).await;
        let nonce = match form {
            Form::Derived => None,
            Form::FromPage => {
                let path = self.people.page(&pending.request_id, &pending.approval_id)?;
                let from = Instant::now();
                let page = self.reviewer.call(open(&path)).await?;
                parts.page.push(from.elapsed());
                Some(page.expect(200)?.text_after("name=\"nonce\" value=\"")?.to_owned())
            }
        };
        let decided = self.decide_and_release(&pending, nonce).await?;
        parts.ask.push(asked);
        parts.decide.push(decided.answered);
        parts.release.push(decided.released);
        parts.whole.push(asked + decided.answered.max(decided.released));
        Ok(())
    }

    async fn ask(&mut self) -> Result<Pending> {
        let question = Question::payment();
        let proof = self.people.signer.sign("POST", "/v1/requests", question.body.as_bytes());
        let answer = self.asker.call(proof.message(&proof.headers())).await?.expect(201)?;
        let approval_id = answer.text_after("\"approval_id\":\"")?.to_owned();
        Ok(Pending { request_id: question.request_id, approval_id })
    }

    async fn wait(&mut self, pending: &Pending) -> Result<()> {
        let path = format!("/v1/requests/{}?wait_seconds=25", pending.request_id);
        let proof = self.people.signer.sign("GET", &path, b"");
        self.waiter.send(proof.message(&proof.headers())).await
    }

    async fn decide(&mut self, pending: &Pending, nonce: Option<String>) -> Result<()> {
        let (path, form) = self.form(pending, nonce)?;
        self.reviewer.call(decision(&path, &form)).await?.expect(200).map(drop)
    }

    async fn decide_and_release(&mut self, pending: &Pending, nonce: Option<String>) -> Result<Decided> {
        let (path, form) = self.form(pending, nonce)?;
        let from = Instant::now();
        self.reviewer.send(decision(&path, &form)).await?;
        let answered = async {
            self.reviewer.receive().await?.expect(200)?;
            Ok::<_, Failure>(from.elapsed())
        };
        let released = async {
            let answer = self.waiter.receive().await?;
            let took = from.elapsed();
            answer.expect(200)?.expect_text("\"status\":\"approved\"")?;
            Ok::<_, Failure>(took)
        };
        let (answered, released) = tokio::try_join!(answered, released)?;
        Ok(Decided { answered, released })
    }

    fn form(&self, pending: &Pending, nonce: Option<String>) -> Result<(String, String)> {
        let Pending { request_id, approval_id } = pending;
        match nonce {
            None => self.people.approving_form(request_id, approval_id),
            Some(nonce) => Ok((self.people.page(request_id, approval_id)?, approve(&nonce))),
        }
    }
}

struct Decided {
    answered: Duration,
    released: Duration,
}

/// A whole approval: asked, waited for, decided, released.
impl Cycle for Table {
    async fn once(&mut self) -> Result<()> {
        let pending = self.ask().await?;
        self.wait(&pending).await?;
        self.decide_and_release(&pending, None).await.map(drop)
    }
}

/// A client whose questions the policy answers alone.
pub(crate) struct PolicyCaller {
    people: People,
    connection: Connection,
}

impl PolicyCaller {
    /// Connects.
    pub(crate) async fn connect(gate: &Gate) -> Result<Self> {
        Ok(Self { people: gate.people()?, connection: Connection::open(gate.server.address).await? })
    }
}

impl Cycle for PolicyCaller {
    async fn once(&mut self) -> Result<()> {
        let question = Question::refund();
        let proof = self.people.signer.sign("POST", "/v1/requests", question.body.as_bytes());
        let answer = self.connection.call(proof.message(&proof.headers())).await?;
        answer.expect(201)?.expect_text("\"status\":\"approved\"").map(drop)
    }
}

fn open(path: &str) -> Message<'_> {
    Message { method: "GET", path, headers: &[("accept", "text/html")], body: b"" }
}

fn decision<'a>(path: &'a str, form: &'a str) -> Message<'a> {
    let headers = &[("accept", "application/json"), ("content-type", "application/x-www-form-urlencoded")];
    Message { method: "POST", path, headers, body: form.as_bytes() }
}

/// Looks for a file until it is there with something in it; returns when it was.
fn seen(path: &Path) -> Result<Instant> {
    let from = Instant::now();
    loop {
        if std::fs::metadata(path).is_ok_and(|file| file.len() > 0) {
            return Ok(Instant::now());
        }
        if from.elapsed() > LETTER_PATIENCE {
            return Err(Failure::bare(format!("no letter at `{}`", path.display())));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
