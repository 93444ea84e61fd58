//! Starts, first and warm invocations, and memory, round by round, so that what is compared is measured side by side.

use std::path::Path;

use serde_json::Value;

use super::contenders::{Contender, FUNCTIONS};
use super::events;
use super::far::FarEnd;
use super::runtime::Process;
use crate::failure::{Failure, Result};
use crate::gate::People;
use crate::samples::Samples;
use crate::sign::Question;

/// How many warm invocations go before those that are measured.
const WARM_UP: u32 = 20;

/// What was measured of one contender.
pub(crate) struct Timed {
    pub(crate) contender: Contender,
    pub(crate) polled: Samples,
    pub(crate) first: Samples,
    pub(crate) warm: Samples,
    pub(crate) peak_bytes: u64,
    far: FarEnd,
    work: Work,
}

/// What a contender does with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Takes a question that a person is asked.
    Ask,
    /// Takes a reviewer's decision.
    Decide,
    /// Sweeps, with nothing due.
    Sweep,
    /// Makes the next keyring.
    Rotate,
}

impl Work {
    /// What that is called in the table.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ask => "an ask",
            Self::Decide => "a decision",
            Self::Sweep => "a sweep, nothing due",
            Self::Rotate => "a rotation's createSecret",
        }
    }
}

impl Timed {
    /// A contender with a far end of its own.
    pub(crate) fn new(contender: Contender, work: Work) -> Result<Self> {
        Ok(Self {
            contender,
            polled: Samples::default(),
            first: Samples::default(),
            warm: Samples::default(),
            peak_bytes: 0,
            far: FarEnd::start()?,
            work,
        })
    }

    /// Whether it is one of our functions.
    pub(crate) fn is_ours(&self) -> bool {
        FUNCTIONS.contains(&self.contender.name)
    }

    /// What it does with an event.
    pub(crate) const fn work(&self) -> Work {
        self.work
    }

    /// Forgets its starts so far.
    pub(crate) fn forget(&mut self) {
        (self.polled, self.first) = (Samples::default(), Samples::default());
    }

    /// One new process, up to its answer to a first event.
    pub(crate) fn start_once(&mut self, place: &Path, asker: &Contender, people: &People) -> Result<()> {
        let events = self.events(1, place, asker, people)?;
        let process = self.start(place, people)?;
        self.polled.push(process.polled_after);
        for event in &events {
            self.first.push(self.invoke(&process, event)?);
        }
        Ok(())
    }

    /// One process and so many invocations, and the most memory it had.
    pub(crate) fn keep_warm(
        &mut self,
        count: u32,
        place: &Path,
        asker: &Contender,
        people: &People,
    ) -> Result<()> {
        let events = self.events(WARM_UP + count, place, asker, people)?;
        let process = self.start(place, people)?;
        for (number, event) in (0..).zip(&events) {
            let took = self.invoke(&process, event)?;
            if number >= WARM_UP {
                self.warm.push(took);
            }
        }
        self.peak_bytes = self.peak_bytes.max(process.peak_bytes()?);
        Ok(())
    }

    /// Fails if something was asked of the far end that it does not know: then nothing here would be true.
    pub(crate) fn check(&self) -> Result<()> {
        let unknown = self.far.unknown();
        if unknown.is_empty() {
            Ok(())
        } else {
            Err(Failure::new("unknown to the far end", unknown.join("\n")))
        }
    }

    fn start(&self, place: &Path, people: &People) -> Result<Process> {
        let log = place.join(format!("{}.log", self.contender.name));
        let mut variables = self.far.variables();
        variables.push(("BENCH_SECRET", people.signer.secret().to_owned()));
        Process::start(self.contender.command(), &variables, &log)
    }

    fn invoke(&self, process: &Process, event: &Value) -> Result<std::time::Duration> {
        let answer = process.invoke(event)?;
        let right = match self.work {
            Work::Ask => answer.body.get("statusCode") == Some(&201.into()),
            Work::Decide => answer.body.get("statusCode") == Some(&200.into()),
            Work::Sweep | Work::Rotate => answer.body.is_object(),
        };
        if right { Ok(answer.took) } else { Err(Failure::new("a wrong answer", answer.body)) }
    }

    /// So many events, and behind them what they are about.
    fn events(&self, count: u32, place: &Path, asker: &Contender, people: &People) -> Result<Vec<Value>> {
        let asks = |count: u32| (0..count).map(|_| ask(people));
        Ok(match self.work {
            Work::Ask => asks(count).map(|(_, event)| event).collect(),
            Work::Decide => {
                let log = place.join("asker.log");
                let process = Process::start(asker.command(), &self.far.variables(), &log)?;
                let mut forms = Vec::new();
                for (request_id, event) in asks(count) {
                    let approval_id = text_in_body(&process.invoke(&event)?.body, "approval_id")?;
                    let (path, body) = people.approving_form(&request_id, &approval_id)?;
                    forms.push(events::form(&path, &body));
                }
                forms
            }
            Work::Sweep => (0..count).map(|_| events::schedule()).collect(),
            Work::Rotate => {
                let tokens: Vec<String> = (0..count).map(|_| Question::payment().request_id).collect();
                for token in &tokens {
                    self.far.announce(token);
                }
                tokens.iter().map(|token| events::rotation("createSecret", token)).collect()
            }
        })
    }
}

/// A question that a person is asked, and its name.
fn ask(people: &People) -> (String, Value) {
    let question = Question::payment();
    let event = events::signed(&people.signer.sign("POST", "/v1/requests", question.body.as_bytes()));
    (question.request_id, event)
}

/// A text of the JSON in an answer's body.
pub(crate) fn text_in_body(answer: &Value, name: &str) -> Result<String> {
    let body = answer.get("body").and_then(Value::as_str).unwrap_or_default();
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let text = body.get(name).and_then(Value::as_str);
    text.map(str::to_owned).ok_or_else(|| Failure::new(format!("an answer lacks `{name}`"), answer))
}
