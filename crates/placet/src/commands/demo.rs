//! `placet demo`: the whole story on one screen, over real HTTP.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use placet_core::id::ClientId;
use serde_json::{Value, json};

use super::init::SAMPLE;
use super::request::{deciders, status, text};
use super::token::describe_claims;
use crate::api::{Api, CallFailure, Transport};
use crate::cli::{Demo, Globals, Verdict};
use crate::console::{Style, harmless, note, print};
use crate::demo_chat::{DemoChat, SLACK_USER};
use crate::failure::{Exit, Failure};
use crate::folder::{Folder, Scratch};
use crate::local::{Parts, Voices};
use crate::serve::{Options, PolicySource, Running, start};
use crate::signals::Signals;
use crate::text::{millis, span};

/// The sample policy's asker and first reviewer.
const CLIENT: &str = "my-agent";
const REVIEWER: &str = "bob";

/// The agent's own words.
const SUMMARY: &str = "Pay ACME's invoice 4711. I compared it with the order, and it is due today.";

/// How long the demo waits for the letter to its reviewer.
const LETTER_TIMEOUT: Duration = Duration::from_secs(10);

/// Asks, shows the link, waits, shows the decision and what its token proves. A signal ends it at once.
pub(crate) async fn run(globals: &Globals, options: Demo) -> Result<Exit, Failure> {
    // Before anything else: process 1 of a container has no default for signals.
    let mut signals = Signals::catch_with_hangup()?;
    tokio::select! {
        shown = show(globals, options) => shown,
        exit = signals.next() => {
            note("\nstopped: nothing was approved");
            Ok(exit)
        }
    }
}

async fn show(globals: &Globals, options: Demo) -> Result<Exit, Failure> {
    if globals.url.is_some() {
        return Err(Failure::usage("--url is for a gate that runs; this starts one")
            .advise("say where with --listen"));
    }
    let scratch = match globals.named_data() {
        Some(_) => None,
        None => Some(
            Scratch::new("demo")
                .map_err(|error| Failure::fault(format!("no folder for the demo can be made: {error}")))?,
        ),
    };
    let data: PathBuf = match (&scratch, globals.named_data()) {
        (Some(scratch), _) => scratch.path().to_owned(),
        (None, named) => named.unwrap_or(globals.data()).to_owned(),
    };
    refuse_real_gate(&data).await?;
    // A folder that stays keeps no chat that ends with the demo; and where the demo decides, nobody looks.
    let chat = match (&scratch, options.decide) {
        (Some(_), None) => Some(DemoChat::new()?),
        (Some(_) | None, _) => None,
    };
    let policy = if chat.is_some() { with_slack() } else { SAMPLE.to_owned() };
    let running = start(Options {
        data,
        policy: Some(PolicySource::Text(policy)),
        listen: options.listen.clone(),
        public_url: None,
        keep_alive_seconds: crate::server::KEEP_ALIVE_SECONDS,
        voices: Voices::default(),
        metrics: None,
        demo_chat: chat.clone(),
    })
    .await?;
    if let Some(chat) = &chat {
        let slack = chat.settings(&running.url);
        running.local.keys.channel_file().change(|settings| settings.slack = Some(slack))?;
    }
    let told = tell(globals, &options, &running, chat.as_deref()).await;
    if let Some(chat) = chat.filter(|_| told.is_ok()) {
        chat.shown_to_the_end().await;
    }
    running.stop().await;
    told
}

/// The sample policy, with its reviewer in the demo's chat.
fn with_slack() -> String {
    SAMPLE.replacen(&format!("# slack = \"{SLACK_USER}\""), &format!("slack = \"{SLACK_USER}\""), 1)
}

/// The demo installs its own policy: never over somebody's real one.
async fn refuse_real_gate(data: &std::path::Path) -> Result<(), Failure> {
    let folder = Folder::open(data)?;
    if !folder.database().exists() {
        return Ok(());
    }
    match Parts::open(folder)?.installed_policy().await? {
        Some(text) if text != SAMPLE => {
            Err(Failure::usage(format!("`{}` holds a gate with a policy of its own", data.display()))
                .advise("leave out --data for a demo in a temporary folder"))
        }
        Some(_) | None => Ok(()),
    }
}

async fn tell(
    globals: &Globals,
    options: &Demo,
    running: &Running,
    chat: Option<&DemoChat>,
) -> Result<Exit, Failure> {
    let style = Style::of_stdout();
    let say = |text: &str| {
        if !globals.json {
            print(text);
        }
    };
    let transport = Transport::network(&running.url)?;
    let api = api(running, transport.clone()).await?;
    say(&format!(
        "\n{}\n\n{}  A gate serves at {}, with the sample policy of `placet init`.\n",
        style.bold("Placet demo: a program wants to act, a person decides"),
        style.bold("1"),
        running.url
    ));

    // A connection that is there already, as an agent's would be: what is measured is the gate.
    transport.send(get("/healthz")?).await?;
    let request_id = format!("demo-{}", running.local.now().millis());
    let payload = json!({ "to": "ACME GmbH", "amount": 5000, "currency": "EUR", "invoice": "4711" });
    let begun = Instant::now();
    let asked = api
        .ask(&json!({
            "request_id": request_id,
            "action": "payment.send",
            "summary": SUMMARY,
            "payload": payload,
        }))
        .await?;
    let asking_took = begun.elapsed();
    let link = link(running, text(&asked, "approval_id")).await?;
    say(&describe_question(style, &asked, &payload, asking_took, &link));
    if globals.json {
        note(&format!("{REVIEWER}'s link: {link}"));
    }
    if let Some(chat) = chat {
        let page = chat.show_beside(&running.url, path_of(&link));
        say(&format!("     Bob's chat and his phone side by side:\n\n     {}\n\n", style.link(&page)));
    }

    let client = tokio::spawn({
        let (api, request_id) = (api.clone(), request_id.clone());
        async move { wait(&api, &request_id).await.map(|approval| (approval, Instant::now())) }
    });
    let pressed_at = if let Some(verdict) = options.decide {
        say(&format!("     Posting the page's form as {REVIEWER} would: {}.\n", verdict.as_str()));
        Some(press(&transport, &link, verdict).await?)
    } else {
        let decide = style.bold(if chat.is_some() { "Open one and decide." } else { "Open it and decide." });
        say(&format!("     {decide} Waiting {} at most.\n", span(until(&asked, running))));
        None
    };
    let (approval, released_at) =
        client.await.map_err(|error| Failure::fault(format!("the waiting client failed: {error}")))??;
    let released = pressed_at.map(|at| released_at.saturating_duration_since(at));
    say(&describe_decision(style, &approval, asking_took, released));

    let approved = approval.get("approved").and_then(Value::as_bool) == Some(true);
    let proof = prove(&api, &approval, &payload).await?;
    say(&proof.describe(style, approved));
    if globals.json {
        let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
        print(&super::pretty(&json!({
            "approval": approval,
            "verified": proof.verified,
            "redeemed": proof.redeemed,
            "asked_in_ms": ms(asking_took),
            "released_in_ms": released.map(ms),
        })));
    }
    Ok(if approved { Exit::Done } else { Exit::Refused })
}

fn describe_question(style: Style, asked: &Value, payload: &Value, took: Duration, link: &str) -> String {
    let (status, action, rule) = (text(asked, "status"), text(asked, "action"), text(asked, "rule"));
    format!(
        "\n{}  The client `{CLIENT}` asked, and had its answer ({status}) in {}:\n\
         \x20    {}  {}\n     {}  {payload}\n     {}  “{SUMMARY}”\n\
         \n{}  The rule `{rule}` asks {REVIEWER}, who got this link:\n\n     {}\n\n     {}\n",
        style.bold("2"),
        millis(took),
        style.dim("action "),
        style.bold(action),
        style.dim("payload"),
        style.dim("summary"),
        style.bold("3"),
        style.link(link),
        style.dim("Only Bob should use it. Opening it decides nothing, so a mail scanner may open it: only its buttons decide.")
    )
}

fn describe_decision(style: Style, approval: &Value, asking: Duration, released: Option<Duration>) -> String {
    let reason = match text(approval, "reason") {
        "" => String::new(),
        reason => format!(", “{}”", harmless(reason)),
    };
    let asking = millis(asking);
    let machine = match released {
        Some(released) => format!(
            "The machine's share: {asking} to ask, {} from the button to the waiting client.",
            millis(released)
        ),
        None => format!("The machine's share: {asking} to ask; the client that waited was told at once."),
    };
    format!(
        "\n{}  {} by {}{reason}\n     {}\n",
        style.bold("4"),
        status(style, approval),
        deciders(approval),
        style.dim(&machine)
    )
}

/// The API with the sample client's own secret.
async fn api(running: &Running, transport: Transport) -> Result<Api, Failure> {
    let policy = running.local.policy().await?;
    let client = ClientId::parse(CLIENT).ok().and_then(|id| policy.client(&id).cloned());
    let client = client.ok_or_else(|| Failure::fault("the sample policy has lost its client"))?;
    Ok(super::api_over(transport, &running.local, &client))
}

/// The link in the letter that the reviewer got.
async fn link(running: &Running, approval_id: &str) -> Result<String, Failure> {
    let begun = Instant::now();
    let start = format!("{approval_id}.1.{REVIEWER}.");
    while begun.elapsed() < LETTER_TIMEOUT {
        let letters = std::fs::read_dir(running.local.folder.outbox()).into_iter().flatten().flatten();
        for letter in letters.filter(|letter| letter.file_name().to_string_lossy().starts_with(&start)) {
            let content = std::fs::read(letter.path()).unwrap_or_default();
            let letter: Value = serde_json::from_slice(&content).unwrap_or_default();
            if let Some(url) = letter.get("url").and_then(Value::as_str) {
                return Ok(url.to_owned());
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Err(Failure::fault("the reviewer's letter did not come")
        .advise("the log above says why; PLACET_LOG=debug says more"))
}

/// How long the reviewers have.
fn until(asked: &Value, running: &Running) -> i64 {
    super::request::time(asked, "deadline").map_or(0, |deadline| deadline.millis_since(running.local.now()))
}

async fn wait(api: &Api, request_id: &str) -> Result<Value, Failure> {
    loop {
        match api.wait(request_id, Duration::from_secs(25)).await {
            Ok((approval, pause)) if text(&approval, "status") == "pending" => {
                tokio::time::sleep(pause.unwrap_or_default()).await;
            }
            Ok((approval, _)) => return Ok(approval),
            Err(CallFailure::Final(failure)) => return Err(failure),
            Err(CallFailure::Passing { why, .. }) => return Err(Failure::fault(why)),
        }
    }
}

/// Does what a reviewer's browser does: opens the page, and posts its form. Returns when the button was pressed.
async fn press(transport: &Transport, link: &str, verdict: Verdict) -> Result<Instant, Failure> {
    let path = path_of(link);
    let page = transport.send(get(&path)?).await?;
    let nonce = nonce_of(&page.body)
        .ok_or_else(|| Failure::fault(format!("the review page ({}) has no form", page.status)))?;
    let form: String = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("nonce", &nonce)
        .append_pair("decision", verdict.as_str())
        .append_pair("reason", "")
        .finish();
    let request = Request::post(path)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("accept", "text/html")
        .body(Full::new(Bytes::from(form)))
        .map_err(|error| Failure::fault(error.to_string()))?;
    let pressed_at = Instant::now();
    let answer = transport.send(request).await?;
    if answer.status == 200 {
        return Ok(pressed_at);
    }
    Err(Failure::fault(format!("the review page answered {} to its form", answer.status)))
}

fn get(path: &str) -> Result<Request<Full<Bytes>>, Failure> {
    Request::get(path)
        .header("accept", "text/html")
        .body(Full::default())
        .map_err(|error| Failure::fault(error.to_string()))
}

fn path_of(link: &str) -> String {
    url::Url::parse(link).map_or_else(|_| link.to_owned(), |url| url.path().to_owned())
}

/// The value of the form's hidden field.
fn nonce_of(page: &str) -> Option<String> {
    page.split('<').find_map(|tag| {
        let tag = tag.split_once('>')?.0;
        if !tag.starts_with("input") || !tag.contains(r#"name="nonce""#) {
            return None;
        }
        let value = tag.split_once(r#"value=""#)?.1;
        Some(value.split_once('"')?.0.to_owned())
    })
}

/// What the executor finds out about the token.
struct Proof {
    token: String,
    verified: Value,
    redeemed: Value,
    second_use: Option<String>,
}

async fn prove(api: &Api, approval: &Value, payload: &Value) -> Result<Proof, Failure> {
    let token = text(approval, "token").to_owned();
    let verified = api.verify(&token, Some(payload)).await?;
    if verified.get("valid").and_then(Value::as_bool) != Some(true) {
        return Ok(Proof { token, verified, redeemed: Value::Null, second_use: None });
    }
    let redeemed = api.redeem(&token, Some(payload), "demo-executor").await?.accept()?;
    let again = api.redeem(&token, Some(payload), "somebody-else").await?;
    let code = again.json().get("code").and_then(Value::as_str).unwrap_or("accepted").to_owned();
    Ok(Proof { token, verified, redeemed, second_use: Some(code) })
}

impl Proof {
    fn describe(&self, style: Style, approved: bool) -> String {
        let claims = self.verified.get("claims").cloned().unwrap_or_default();
        let claims = describe_claims(style, &claims).replace("\n  ", "\n     ");
        let problem = self.verified.get("problem").and_then(Value::as_str).unwrap_or_default();
        let result = match (&self.second_use, approved) {
            (Some(code), true) => format!(
                "{}: signed, in time, and for exactly this payload. The executor redeemed it and may act;\n     \
                 whoever comes second is refused ({code}).",
                style.good("verified")
            ),
            (Some(_) | None, _) => format!(
                "{} ({problem}): the token proves the decision, and an executor that checks it does not act.",
                style.bad("not valid for acting")
            ),
        };
        format!(
            "\n{}  The client got this token:\n\n{}\n\n     It says:\n   {claims}\n     {result}\n\n",
            style.bold("5"),
            style.dim(&self.token)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_s_policy_is_the_sample_with_its_reviewer_in_the_chat() {
        let policy = placet_core::policy::Policy::read(&with_slack()).unwrap();
        let bob = policy.reviewers.iter().find(|reviewer| reviewer.id.as_str() == REVIEWER).unwrap();
        assert_eq!(bob.slack.as_deref(), Some(SLACK_USER));
        assert_eq!(with_slack().len() + 2, SAMPLE.len());
    }

    #[test]
    fn the_nonce_is_found_wherever_the_page_puts_it() {
        let page = r#"<form><input type="text" name="x" value="1"><input value="n-1" type="hidden" name="nonce"></form>"#;
        assert_eq!(nonce_of(page).as_deref(), Some("n-1"));
        assert_eq!(nonce_of("<p>nonce</p>"), None);
    }
}
