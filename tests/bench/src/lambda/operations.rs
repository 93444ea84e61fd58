//! What each operation calls: every one goes once through the real functions, and the far end counts.

use std::path::Path;
use std::time::Duration;

use placet_core::id::ClientId;
use serde_json::{Value, json};

use super::contenders::Contender;
use super::events;
use super::far::{FarEnd, Made};
use super::http::{Listener, Reply};
use super::runtime::Process;
use super::timing::text_in_body;
use crate::failure::{Failure, Result};
use crate::gate::People;
use crate::sign::Signer;

/// An operation, as it was counted.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    /// What it is called in the tables.
    pub(crate) name: &'static str,
    /// The function that did it.
    pub(crate) function: &'static str,
    /// Where its event comes from.
    pub(crate) from: From,
    /// The calls it made.
    pub(crate) made: Vec<Made>,
    /// What it logged, in bytes.
    pub(crate) logged_bytes: u64,
    /// How much more the tables hold after it, in bytes.
    pub(crate) stored_bytes: usize,
    /// How long the function was busy with it here.
    pub(crate) took: Duration,
}

/// Where an event comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Api,
    Queue,
    Schedule,
    SecretsManager,
}

/// The four functions over one far end.
struct Deployment {
    far: FarEnd,
    request: Process,
    decide: Process,
    sweep: Process,
    rotate: Process,
    people: People,
    subscriber: Signer,
    jira: Signer,
    receiver: Listener,
    counted: Vec<Operation>,
}

/// Counts every operation. `[request, decide, timeout-sweep, rotate-secret]`; takes as long as a long poll.
pub(crate) fn count(ours: [&Contender; 4], place: &Path) -> Result<Vec<Operation>> {
    let [request, decide, sweep, rotate] = ours;
    let far = FarEnd::start()?;
    let start = |contender: &Contender| {
        let log = place.join(format!("{}.counted.log", contender.name));
        Process::start(contender.command(), &far.variables(), &log)
    };
    let keyring = FarEnd::keyring();
    let client = |id| ClientId::parse(id).map_err(|error| Failure::new(id, error));
    let mut deployment = Deployment {
        request: start(request)?,
        decide: start(decide)?,
        sweep: start(sweep)?,
        rotate: start(rotate)?,
        subscriber: Signer::new(&keyring.current, &client("subscriber")?),
        jira: Signer::new(&keyring.current, &client("jira")?),
        people: People::of(keyring)?,
        receiver: Listener::serve(|_| Some(Reply::new(200, "")))?,
        counted: Vec::new(),
        far,
    };
    let counted = deployment.all();
    // First: what the far end did not know is why a function could not answer.
    let unknown = deployment.far.unknown();
    if !unknown.is_empty() {
        return Err(Failure::new("unknown to the far end", unknown.join("\n")));
    }
    counted?;
    Ok(deployment.counted)
}

impl Deployment {
    fn all(&mut self) -> Result<()> {
        let agent = self.people.signer.clone();
        // What a new process does once, and each again when it is older: keys 5 min, policy 10 s, hooks 5 s.
        let first = self.ask("ask, first of a process", &agent, "cold", "payment.send", &json!({}))?;
        self.jobs("tell, first of a process", "deliver")?;

        let approval = self.ask("ask: a person is asked", &agent, "r1", "payment.send", &self.callback())?;
        self.jobs("tell a reviewer by email", "deliver")?;
        self.ask("ask: a person is asked", &agent, "r2", "payment.send", &json!({}))?;
        self.jobs("tell a reviewer by email", "deliver")?;
        self.ask("ask: a person is asked by text", &agent, "page", "page.restart", &json!({}))?;
        self.jobs("tell a reviewer by text", "deliver")?;
        self.ask("ask: decided by policy", &agent, "refund", "refund.create", &json!({}))?;
        self.signed("get", &agent, "GET", "/v1/requests/r2", "", 200)?;
        self.signed("list", &agent, "GET", "/v1/requests?limit=20", "", 200)?;

        let page = self.people.page("r1", &approval)?;
        self.reviewer("page, first of a process", &events::http("GET", &page, &[], ""))?;
        self.reviewer("page", &events::http("GET", &page, &[], ""))?;
        // The subscriptions are looked up, which another decision need not do for five seconds.
        let (path, body) = self.people.approving_form("cold", &first)?;
        self.reviewer("decide, first of a process", &events::form(&path, &body))?;
        let (path, body) = self.people.approving_form("r1", &approval)?;
        self.reviewer("decide", &events::form(&path, &body))?;
        self.jobs("callback", "deliver")?;

        let decided = self.signed("get", &agent, "GET", "/v1/requests/r1", "", 200)?;
        let token = text_in_body(&decided, "token")?;
        let body = json!({ "token": token }).to_string();
        self.signed("verify a token", &agent, "POST", "/v1/tokens/verify", &body, 200)?;
        let body = json!({"token": token, "redeemed_by": "executor"}).to_string();
        self.signed("redeem a token", &agent, "POST", "/v1/tokens/redeem", &body, 200)?;
        self.signed("cancel", &agent, "POST", "/v1/requests/r2/cancel", "", 200)?;

        self.ask("ask: published to a queue", &agent, "ticket", "ticket.close", &json!({}))?;
        self.jobs("publish to a queue", "deliver")?;
        let jira = self.jira.clone();
        let body = r#"{"decision":"approve"}"#;
        self.signed("decision by a decider", &jira, "POST", "/v1/requests/ticket/decision", body, 200)?;

        let hook = json!({"url": self.url(), "events": ["approval.requested"]}).to_string();
        let subscriber = self.subscriber.clone();
        self.signed("subscribe a hook", &subscriber, "POST", "/v1/hooks", &hook, 201)?;
        self.ask("ask: a person is asked, one hook", &subscriber, "hooked", "payment.send", &json!({}))?;
        self.jobs("tell a reviewer and one hook", "deliver")?;

        self.ask("ask: a person is asked", &agent, "late", "payment.send", &json!({"timeout_seconds": 1}))?;
        self.jobs("deadline: the request expires", "wake")?;
        // The first one seals what all of this has recorded; an idle gate has nothing to seal.
        self.sweep("sweep, what was recorded is sealed")?;
        self.sweep("sweep, nothing due")?;
        self.rotation()?;
        self.jobs("rotation: recorded and told", "rotation")?;

        self.ask("ask: a person is asked", &agent, "poll", "payment.send", &json!({}))?;
        self.signed(
            "long poll of 25 s, still pending",
            &agent,
            "GET",
            "/v1/requests/poll?wait_seconds=25",
            "",
            200,
        )?;
        let path = "/v1/requests/poll?wait_seconds=25";
        let mut event = events::signed(&agent.sign("GET", path, b""));
        if let Some(headers) = event.get_mut("headers").and_then(Value::as_object_mut) {
            headers.insert("prefer".into(), "respond-async".into());
        }
        for _ in 0..2 {
            self.counted(
                "look, told when to look again",
                "request",
                From::Api,
                std::slice::from_ref(&event),
                200,
            )?;
        }
        self.inbox(&agent)
    }

    /// An inbox in which twenty rows wait, of a client that has asked a hundred times.
    fn inbox(&mut self, agent: &Signer) -> Result<()> {
        for number in 0..100 {
            let (name, action) =
                (format!("row{number}"), if number < 80 { "refund.create" } else { "payment.send" });
            self.ask("ask, for the inbox", agent, &name, action, &json!({}))?;
        }
        let path = self.people.inbox();
        let page = events::http("GET", &path, &[], "");
        self.counted("inbox, keys and policy read", "decide", From::Api, std::slice::from_ref(&page), 200)?;
        self.ask("ask, for the inbox", agent, "news", "payment.send", &json!({}))?;
        let shown =
            self.counted("inbox, with news", "decide", From::Api, std::slice::from_ref(&page), 200)?;
        self.counted("inbox, once more", "decide", From::Api, &[page], 200)?;
        let version = shown.pointer("/headers/etag").and_then(Value::as_str).unwrap_or_default();
        let unchanged = events::http("GET", &path, &[("if-none-match", version)], "");
        self.counted("inbox, unchanged", "decide", From::Api, &[unchanged], 304)?;
        Ok(())
    }

    fn url(&self) -> String {
        format!("http://{}/done", self.receiver.address)
    }

    fn callback(&self) -> Value {
        json!({ "callback_url": self.url() })
    }

    /// Asks, and says the approval's id.
    fn ask(
        &mut self,
        name: &'static str,
        signer: &Signer,
        request_id: &str,
        action: &str,
        more: &Value,
    ) -> Result<String> {
        let mut body = json!({
            "request_id": request_id,
            "summary": "Pay the invoice of Acme Parts, due on Friday",
            "action": action,
            "payload": {
                "amount": 19.5, "currency": "EUR", "invoice": request_id, "memo": "Order 2231, delivered 3 November",
                "to": {"name": "Acme Parts GmbH", "iban": "DE89370400440532013000"},
            },
            "metadata": {"workflow": "invoices", "run": request_id},
        });
        if let (Some(body), Some(more)) = (body.as_object_mut(), more.as_object()) {
            body.extend(more.clone());
        }
        let answer = self.signed(name, signer, "POST", "/v1/requests", &body.to_string(), 201)?;
        text_in_body(&answer, "approval_id")
    }

    fn signed(
        &mut self,
        name: &'static str,
        signer: &Signer,
        method: &str,
        path: &str,
        body: &str,
        status: u16,
    ) -> Result<Value> {
        let event = events::signed(&signer.sign(method, path, body.as_bytes()));
        self.counted(name, "request", From::Api, &[event], status)
    }

    fn reviewer(&mut self, name: &'static str, event: &Value) -> Result<Value> {
        self.counted(name, "decide", From::Api, std::slice::from_ref(event), 200)
    }

    /// Delivers the jobs of that kind that the last operation put into the queue.
    fn jobs(&mut self, name: &'static str, kind: &str) -> Result<()> {
        let jobs = self.far.jobs();
        self.deliver(name, &jobs, kind)
    }

    fn deliver(&mut self, name: &'static str, jobs: &[String], kind: &str) -> Result<()> {
        let head = format!("{{\"{kind}\":");
        let chosen: Vec<String> = jobs.iter().filter(|body| body.starts_with(&head)).cloned().collect();
        if chosen.is_empty() {
            return Err(Failure::bare(format!("`{name}`: no job `{kind}` was put into the queue")));
        }
        let answer = self.counted(name, "timeout-sweep", From::Queue, &[events::queue(&chosen)], 0)?;
        let failed =
            answer.get("batchItemFailures").and_then(Value::as_array).is_none_or(|all| !all.is_empty());
        if failed { Err(Failure::new(format!("`{name}`: the job failed"), answer)) } else { Ok(()) }
    }

    fn sweep(&mut self, name: &'static str) -> Result<Value> {
        self.counted(name, "timeout-sweep", From::Schedule, &[events::schedule()], 0)
    }

    fn rotation(&mut self) -> Result<Value> {
        const TOKEN: &str = "the-next-version-of-the-secret";
        self.far.announce(TOKEN);
        let steps = ["createSecret", "setSecret", "testSecret", "finishSecret"];
        let events = steps.map(|step| events::rotation(step, TOKEN));
        self.counted("rotation, all four steps", "rotate-secret", From::SecretsManager, &events, 0)
    }

    /// Invokes, counts, and refuses another status; `0` where the answer has none. The last answer is returned.
    fn counted(
        &mut self,
        name: &'static str,
        function: &'static str,
        from: From,
        events: &[Value],
        status: u16,
    ) -> Result<Value> {
        let process = match function {
            "request" => &self.request,
            "decide" => &self.decide,
            "timeout-sweep" => &self.sweep,
            _ => &self.rotate,
        };
        let (logged, stored) = (process.logged_bytes()?, self.far.stored_bytes());
        self.far.calls();
        let (mut last, mut took) = (Value::Null, Duration::ZERO);
        for event in events {
            let answer = process.invoke(event)?;
            took += answer.took;
            last = answer.body;
        }
        if status != 0 && last.get("statusCode") != Some(&status.into()) {
            return Err(Failure::new(format!("`{name}` was answered wrongly"), last));
        }
        let operation = Operation {
            name,
            function,
            from,
            made: self.far.calls(),
            logged_bytes: process.logged_bytes()?.saturating_sub(logged),
            stored_bytes: self.far.stored_bytes().saturating_sub(stored),
            took,
        };
        // Some are done again on the way to others: the last one counts, when everything is warm.
        match self.counted.iter_mut().find(|counted| counted.name == name) {
            Some(counted) => *counted = operation,
            None => self.counted.push(operation),
        }
        Ok(last)
    }
}
